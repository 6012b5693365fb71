from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from talaria_bridge.errors import ConfigError, TalariaError
from talaria_training.classify import choosing, learning
from talaria_training.classify.choosing import learn, simplest
from talaria_training.classify.models import fit_each, fit_together
from talaria_training.classify.protocol import Plan, jobs_of, run_fold, study
from talaria_training.classify.splits import Fold, inner, split
from talaria_training.classify.stored import load
from talaria_training.classify.tables import sentences
from talaria_training.classify.tasks import Task, labelled
from talaria_training.commands import app
from talaria_training.engine import Job, LocalEngine, Outcome, attempt
from talaria_training.strides.table import Channel, StrideTable


class Inline:
    """Runs jobs here, so that a test of what comes out need start no process."""

    def outcomes(self, jobs: dict[str, Job], shared: dict[str, Any]) -> Any:
        for name, job in jobs.items():
            yield self._one(name, job, shared)

    @staticmethod
    def _one(name: str, job: Job, shared: dict[str, Any]) -> Outcome:
        import pickle

        return attempt(name, pickle.dumps(job), shared)


def table(
    people: int = 8, each: int = 10, sessions: int = 2, effect: float = 0.0, own: float = 1.0
) -> StrideTable:
    """People with curves of their own; every other one is of group b, which may change all of them."""
    random = np.random.default_rng(0)
    t = np.linspace(0.0, 1.0, 24)
    waves = np.array([np.sin(2 * np.pi * k * t) for k in range(1, 11)])
    count = people * sessions * each
    person = np.repeat(np.arange(people), sessions * each)
    signature = own * random.normal(size=(people, 2, 10)) @ waves
    values = signature[person] + 0.3 * random.normal(size=(count, 2, 10)) @ waves
    values[:, 1] += effect * (person % 2)[:, None] * waves[0]
    columns: dict[str, NDArray[np.str_]] = {
        "person": np.array([f"P{p:02d}" for p in person]),
        "session": np.tile(np.repeat([f"S{s}" for s in range(sessions)], each), people),
        "side": np.full(count, "r"),
        "condition": np.full(count, "walk"),
        "group": np.array(["ab"[p % 2] for p in person]),
        "age": np.array([f"{20.5 + p}" for p in person]),
    }
    order = np.tile(np.arange(each), people * sessions)
    channels = (
        Channel("knee", "knee", "sagittal", "deg"),
        Channel("hip", "hip", "sagittal", "deg"),
    )
    return StrideTable(values.astype(np.float32), channels, columns, order, "stride", "Simulated.")


def test_people_are_told_apart_across_sessions() -> None:
    strides = labelled(table(), Task.parse("identity"))
    found = study(strides, Plan("across-sessions", ("svm",), 50), Inline(), lambda name: None)
    svm = found["models"]["svm"]
    assert svm["balanced"]["value"] > 0.95
    assert svm["p"] == pytest.approx(1 / 51)
    assert svm["resampled"] == "strides"
    assert [fold["name"] for fold in found["folds"]] == ["S1 to S0", "S0 to S1"]


def test_people_recognised_are_not_groups_told_apart() -> None:
    strides = labelled(table(people=24, each=6, sessions=1, own=2.0), Task.parse("group"))
    plans = Plan("person", ("svm",), 10, folds=4), Plan("trial", ("svm",), 2, folds=4)
    by_person, by_trial = (study(strides, plan, Inline(), lambda name: None) for plan in plans)
    fair, easy = (one["models"]["svm"] for one in (by_person, by_trial))
    assert easy["balanced"]["value"] > 0.95
    assert np.mean(easy["permuted"]) > 0.85  # labels that say nothing are learned as well
    assert fair["balanced"]["value"] < 0.75
    assert fair["p"] > 0.05
    assert fair["resampled"] == "people"
    said = sentences({"task": "group", "studies": [by_person, by_trial]})
    assert "comes from recognising the people" in said[-1]


def test_a_real_difference_holds_for_people_held_out() -> None:
    strides = labelled(table(people=20, each=6, sessions=1, effect=8.0), Task.parse("group"))
    found = study(strides, Plan("person", ("svm",), 10, folds=4), Inline(), lambda name: None)
    svm = found["models"]["svm"]
    assert svm["balanced"]["low"] > 0.8
    assert svm["p"] == pytest.approx(1 / 11)


def test_nothing_of_the_judged_strides_reaches_the_answers_of_others() -> None:
    strides = labelled(table(people=8), Task.parse("group"))
    fold = split("person", strides, 0, 4)[0]
    before = run_fold("svm", "person", fold, 0, strides=strides)
    strides.values[fold.test[1:]] *= 50.0
    strides.labels[fold.test] = "b"
    after = run_fold("svm", "person", fold, 0, strides=strides)
    assert before["answers"][0] == after["answers"][0]
    assert before["settings"] == after["settings"]


def test_settings_are_chosen_from_strides_held_out_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(
        model: str, values: Any, labels: Any, settings: Any, held: NDArray[np.bool_]
    ) -> Any:
        seen.append((len(labels), int(held.sum()), len(settings)))
        yield from fit_each(model, values, labels, settings, held)

    monkeypatch.setattr(choosing, "fit_each", watched)
    strides = labelled(table(people=6), Task.parse("group"))
    _, settings = learn("svm", "person", strides, 0)
    assert [total for total, _, _ in seen] == [120, 120, 120]
    assert sum(held for _, held, _ in seen) == 120
    assert settings["chosen_by"] == "person"
    assert settings["C"] in choosing.GRIDS["svm"]["C"]


def test_every_person_is_a_part_of_their_own_where_people_are_held_out() -> None:
    mixed = table(people=5, sessions=2)
    walks = dict(mixed.columns) | {"condition": np.tile(["walk", "limp"], len(mixed) // 2)}
    strides = labelled(replace(mixed, columns=walks), Task.parse("condition"))
    folds, by = inner("person", strides, 0)
    assert by == "person"
    assert [len(np.unique(strides.person[fold.test])) for fold in folds] == [1] * 5


def test_of_settings_that_are_as_good_the_most_regularised_is_taken() -> None:
    sure = np.array([[0.7, 0.7, 0.7], [0.88, 0.88, 0.88], [0.91, 0.89, 0.93], [0.5, 0.5, 0.5]])
    assert simplest(sure) == 2  # 0.91 with an error of 0.0115
    assert simplest(sure + np.array([0.1, 0.0, -0.1])) == 1
    doubtful = np.array([[0.7, 0.9], [0.8, 0.8], [1.0, 0.7]])
    assert simplest(doubtful) == 0
    assert simplest(doubtful.mean(axis=1, keepdims=True)) == 2
    assert simplest(np.array([[0.5], [1.0], [np.nan]])) == 1


@pytest.mark.parametrize("model", ["svm", "cnn-c3"])
def test_the_error_over_parts_decides_between_people_only(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(figures: NDArray[np.float64]) -> int:
        seen.append(figures.shape[1])
        return simplest(figures)

    monkeypatch.setattr(choosing, "simplest", watched)
    strides = labelled(table(people=6, each=3, effect=3.0), Task.parse("group"))
    for kind in ("person", "trial"):
        learn(model, kind, strides, 0)
    assert seen == [3, 1]


def test_networks_side_by_side_stop_together_where_their_mean_error_is_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = {0: iter([0.5, 0.1, 0.4, *[0.4] * 50]), 1: iter([0.1, 0.2, 0.2, *[0.2] * 50])}
    losses = iter([1.0, 9.0, 0.9, 9.0, 0.1, *[5.0] * 200])
    strides = labelled(table(people=4, each=3), Task.parse("group"))
    folds = [
        Fold("a", np.arange(12), np.arange(12, 24)),
        Fold("b", np.arange(12, 24), np.arange(12)),
    ]

    def watched(course: Any, values: Any, targets: Any) -> Any:
        return learning._Watched(next(losses), next(told[int(course.lesson.train[0] > 0)]))

    monkeypatch.setattr(learning._Course, "watched", watched)
    nets = fit_together("mlp", strides.values, strides.labels, 0, folds, {"width": 4})
    assert [net.hyper["epochs"] for net in nets] == [2, 2]
    losses = iter([1.0, 0.9, 0.1, *[5.0] * 50])
    told[0] = iter([0.5] * 60)
    (alone,) = fit_together("mlp", strides.values, strides.labels, 0, folds[:1], {"width": 4})
    assert alone.hyper["epochs"] == 3


def test_no_further_setting_is_tried_after_one_that_was_always_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def watched(*arguments: Any) -> Any:
        for classifier in fit_each(*arguments):
            tried.append(classifier.hyper["C"])
            yield classifier

    monkeypatch.setattr(choosing, "fit_each", watched)
    strides = labelled(table(people=3, sessions=1, own=3.0), Task.parse("identity"))
    _, settings = learn("svm", "first-last", strides, 0)
    assert tried == [settings["C"]] == [choosing.GRIDS["svm"]["C"][0]]


def test_a_network_learns_again_from_all_training_strides_for_as_long_as_it_took() -> None:
    strides = labelled(table(people=3, sessions=1), Task.parse("identity"))
    classifier, settings = learn("cnn-c3", "first-last", strides, 0)
    assert settings["chosen_by"] == "first-last"
    assert classifier.hyper["epochs"] == settings["epochs"]
    np.testing.assert_allclose(classifier.mean, strides.values.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_finished_folds_are_kept_and_other_strides_do_not_meet_them() -> None:
    plan = Plan("first-last", ("svm",), 0)
    ran = []

    class Counting(Inline):
        def outcomes(self, jobs: dict[str, Job], shared: dict[str, Any]) -> Any:
            ran.append(list(jobs))
            yield from super().outcomes(jobs, shared)

    strides = labelled(table(people=3), Task.parse("identity"))
    first = study(strides, plan, Counting(), lambda name: None)
    again = study(strides, plan, Counting(), lambda name: None)
    assert first == again
    strides.values[0, 0, 0] += 1.0
    study(strides, plan, Counting(), lambda name: None)
    assert len(ran) == 2


def test_processes_give_what_one_process_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    strides = labelled(table(people=4), Task.parse("group"))
    plan = Plan("person", ("svm",), 3)
    here = study(strides, plan, Inline(), lambda name: None)
    monkeypatch.setenv("TALARIA_CACHE", str(tmp_path / "elsewhere"))
    settled: list[str] = []
    there = study(strides, plan, LocalEngine(1), settled.append)
    assert here == there
    assert sorted(settled) == sorted(jobs_of(strides, plan))


def test_a_task_names_groups_of_values() -> None:
    task = Task.parse("volume: low, middle | high")
    assert task == Task("volume", (("low", "middle"), ("high",)))
    given = np.array(["low", "high", "middle", ""])
    assert task.classes(given).tolist() == ["low or middle", "high", "low or middle", ""]


def test_the_column_person_is_identity() -> None:
    assert labelled(table(people=3), Task.parse("person")).identity
    assert not labelled(table(people=3), Task.parse("person:P00|P01,P02")).identity


def test_strides_of_no_group_are_left_out() -> None:
    whole = table(people=4)
    ages = labelled(whole, Task.parse("age:20.5,21.5|22.5"), {"session": ["S0"]})
    assert set(ages.labels) == {"20.5 or 21.5", "22.5"}
    assert len(ages.labels) == 30
    assert set(ages.session) == {"S0"}


def test_a_task_that_cannot_be_is_one_sentence() -> None:
    whole = table(people=12)
    cases = [
        ("colour", {}, "no column colour"),
        ("group:a|c", {}, "No stride has 'c'"),
        ("condition", {}, "one class"),
        ("group", {"person": ["P00"]}, "one class"),
        ("age", {}, "12 different numbers stored as text"),
        ("group", {"session": ["S9"]}, "No stride has 'S9'"),
    ]
    for text, where, said in cases:
        with pytest.raises(ConfigError, match=said) as caught:
            labelled(whole, Task.parse(text), where)
        assert "\n" not in str(caught.value)
    for text in ("group:a", "group:a|", "group:a|a"):
        with pytest.raises(ConfigError, match="does not make classes"):
            Task.parse(text)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["classify", *arguments])
    if isinstance(result.exception, TalariaError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_judges_and_writes_a_model_of_the_chosen_channels(tmp_path: Path) -> None:
    file, model, said = tmp_path / "t.npz", tmp_path / "model", tmp_path / "all.json"
    table(people=4).save(file)
    files = ("--out", str(model), "--json", str(said))
    output = run(str(file), "--channels", "hip", "--workers", "1", *files)
    assert "across-sessions" in output
    assert json.loads(said.read_text())["channels"] == ["hip"]
    classifier, about = load(model)
    assert classifier.classes == ("P00", "P01", "P02", "P03")
    assert classifier.mean.shape == (1, 24)
    assert about["channels"] == ["hip"]


def test_faithfulness_of_every_model_comes_with_its_interval(tmp_path: Path) -> None:
    file, said = tmp_path / "t.npz", tmp_path / "all.json"
    table(people=6, each=3, effect=4.0).save(file)
    quick = ("--permutations", "0", "--workers", "1", "--folds", "3", "--json", str(said))
    output = run(str(file), "--task", "group", "--model", "svm,logistic", "--faithful", *quick)
    by_person, by_trial = json.loads(said.read_text())["studies"]
    for model in ("svm", "logistic"):
        found = by_person["models"][model]["perturbation"]
        most, random = found["accuracy"]["most"], found["accuracy"]["random"]
        below = most["below_random"]
        gap = random["area"]["value"] - most["area"]["value"]
        assert below["value"] == pytest.approx(gap, abs=1e-5)
        assert 0.0 < below["low"] <= below["value"] <= below["high"]
        assert found["people"] == 6
        assert f"{model}: The explanation is faithful" in output.replace("\n", " ")
    assert "perturbation" not in by_trial["models"]["svm"]


def test_bad_options_are_one_sentence_each(tmp_path: Path) -> None:
    file = tmp_path / "t.npz"
    table(people=4).save(file)
    cases = [
        (("--model", "forest"), "no model 'forest'"),
        (("--split", "sideways"), "no split sideways"),
        (("--where", "group"), "names no values"),
        (("--channels", "nose"), "no channel 'nose'"),
        (("--model", "svm,logistic", "--out", str(tmp_path / "m")), "for one model"),
        (("--split", "person"), "cannot be told by name"),
        (("--task", "group", "--engine", "steam"), "steam is unknown"),
    ]
    for options, said in cases:
        with pytest.raises(TalariaError, match=said):
            run(str(file), *options)
