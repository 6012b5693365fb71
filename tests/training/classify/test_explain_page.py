"""An explanation finds what is planted, says what it is worth, and is one page that loads nothing."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from talaria_bridge.errors import ConfigError, RecordingError, TalariaError
from talaria_training.classify.choosing import answered
from talaria_training.classify.protocol import Plan
from talaria_training.classify.splits import split
from talaria_training.classify.tasks import Task, labelled
from talaria_training.classify.worth import balanced_accuracy
from talaria_training.commands import app
from talaria_training.engine import Job, Outcome, attempt
from talaria_training.explain.document import Question, _as_one, document, plain
from talaria_training.explain.faithful import PersonSpoiled, by_person
from talaria_training.explain.page import page
from talaria_training.explain.runs import learned, run
from talaria_training.relevance.rules import preset
from talaria_training.strides.table import Channel, StrideTable

CHANNELS = (
    Channel("hip_sagittal", "hip", "sagittal", "deg"),
    Channel("hip_frontal", "hip", "frontal", "deg"),
    Channel("knee_sagittal", "knee", "sagittal", "deg"),
    Channel("ankle_sagittal", "ankle", "sagittal", "deg"),
)
KNEE, POINTS, EACH = 2, 41, 6
PLANTED = slice(8, 13)  # 20 to 30 % of the cycle


class Inline:
    """Runs jobs here, so that a test need start no process."""

    def outcomes(self, jobs: dict[str, Job], shared: dict[str, Any]) -> Iterator[Outcome]:
        for name, job in jobs.items():
            yield attempt(name, pickle.dumps(job), shared)


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[..., object]]:
    yield lambda *_: None


def table(people: int = 12, effect: float = 8.0) -> StrideTable:
    """People with curves of their own; every other one's knee is different in a fifth of the cycle."""
    rng = np.random.default_rng(4)
    waves = np.array([np.sin(np.linspace(0.0, 2 * np.pi * k, POINTS) + k) for k in range(1, 9)])
    person = np.repeat(np.arange(people), EACH)
    values = 20.0 + (rng.normal(size=(people, 4, 8)) @ waves)[person]
    values += 0.3 * rng.normal(size=(len(person), 4, 8)) @ waves
    values[:, KNEE, PLANTED] += effect * (person % 2)[:, None]
    columns: dict[str, NDArray[np.str_]] = {
        "person": np.array([f"P{p:02d}" for p in person]),
        "session": np.full(len(person), "1"),
        "side": np.full(len(person), "r"),
        "condition": np.full(len(person), "walk"),
        "group": np.where(person % 2, "<bent>", "straight"),
        "all": np.full(len(person), "one"),
    }
    order = np.tile(np.arange(EACH), people)
    return StrideTable(values.astype(np.float32), CHANNELS, columns, order, "stride", "A <test>.")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Groups told apart by the support vector machine, two seeds."""
    return explain(
        Question("group", "person", "svm", permutations=19, seeds=2, folds=2), tmp_path_factory
    )


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """People told apart by the first strides of each."""
    question = Question("identity", "first-last", "svm", permutations=50)
    return explain(question, tmp_path_factory)


def explain(question: Question, folder: pytest.TempPathFactory) -> dict[str, Any]:
    strides = table()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALARIA_CACHE", str(folder.mktemp("cache")))
        data = labelled(strides, Task.parse(question.task))
        return document(question, strides, data, Inline(), bar)


def test_the_planted_joint_and_moment_get_the_relevance(planted: dict[str, Any]) -> None:
    joints = {s["name"]: s["percent"] for s in planted["summary"]["by"]["positive"]["joints"]}
    assert joints["knee"] > 45.0  # of which even shares would give 25
    assert "stands out most with" in planted["said"]["where"]
    assert "lies at knee" in planted["said"]["where"].split(",")[1]
    for group in planted["groups"]:
        where = np.array(group["relevance_percent"])[KNEE]
        assert where[PLANTED].mean() > 3.0 * np.delete(where, np.r_[PLANTED]).mean()


def test_the_decision_states_accuracy_interval_chance_and_p(planted: dict[str, Any]) -> None:
    said = planted["said"]
    assert said["is_shown"]
    assert re.search(
        r"tells <bent> and straight apart in \d+\.\d % of strides .*interval .*guessing 50\.0 %; p = 0\.05 by",
        said["decision"],
    )
    assert "people of whom nothing was learned" in said["judged_on"]
    assert "the published way" in said["trial_wise"]


def test_a_difference_that_is_not_there_is_not_explained_away() -> None:
    strides = table(people=20, effect=0.0)
    question = Question("group", "person", "svm", permutations=0, folds=2)
    data = labelled(strides, Task.parse("group"))
    found = document(question, strides, data, Inline(), bar)
    assert not found["said"]["is_shown"]
    assert "not shown to be more than chance" in found["said"]["decision"]
    assert 'class="decision"' in page(found)


def test_what_is_explained_is_the_network_that_was_judged() -> None:
    strides = labelled(table(), Task.parse("group"))
    plan = Plan("person", ("svm",), 0, 3)
    found = run(strides, plan, preset("epsilon"), None, Inline(), bar).study["models"]["svm"]
    for fold, settings, balanced in zip(
        split("person", strides, 0, 3), found["settings"], found["folds"], strict=True
    ):
        again = learned("svm", strides, fold, settings, 0)
        answers = answered(again, strides.values, fold.test)
        assert balanced_accuracy(strides.labels[fold.test], answers) == balanced


def test_relevance_lies_beside_the_stride_it_explains() -> None:
    strides = labelled(table(), Task.parse("group"))
    plan = Plan("person", ("svm",), 0, 3)
    found = run(strides, plan, preset("epsilon"), None, Inline(), bar)
    assert sorted(found.rows.tolist()) == list(range(len(strides.labels)))
    study = found.study["models"]["svm"]
    begin = 0
    for fold, settings in zip(split("person", strides, 0, 3), study["settings"], strict=True):
        again = learned("svm", strides, fold, settings, 0)
        target = [again.classes.index(label) for label in strides.labels[fold.test].tolist()]
        scores = again.scores(strides.values[fold.test])[np.arange(len(target)), target]
        net: Any = again.net
        bias = net[1].bias.numpy()[target]
        part = found.relevance[begin : begin + len(target)]
        np.testing.assert_allclose(part.sum(axis=(1, 2)) + bias, scores, atol=1e-3)
        begin += len(target)


def test_groups_are_drawn_by_people_and_many_classes_as_one(
    planted: dict[str, Any], identity: dict[str, Any]
) -> None:
    assert [(g["name"], g["people"]) for g in planted["groups"]] == [("<bent>", 6), ("straight", 6)]
    assert [(g["name"], g["people"]) for g in identity["groups"]] == [("everybody", 12)]
    strides = table()
    means = np.array(
        [
            strides.values[strides.column("person") == f"P{k:02d}"].mean(axis=0)
            for k in range(1, 12, 2)
        ]
    )
    np.testing.assert_allclose(planted["groups"][0]["mean"], means.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(planted["groups"][0]["sd"], means.std(axis=0, ddof=1), rtol=1e-3)


def test_relevance_is_faithful_where_it_is_planted(planted: dict[str, Any]) -> None:
    assert planted["said"]["is_faithful"]
    found = planted["perturbation"]["accuracy"]
    assert found["most"]["below_random"]["low"] > 0.0
    assert found["most"]["area"]["value"] < found["random"]["area"]["value"]
    assert found["most"]["curve"][0] == found["random"]["curve"][0]
    # Everybody has as many strides, so the mean over people is that over strides.
    assert found["most"]["curve"][0] == pytest.approx(planted["result"]["accuracy"]["value"])
    assert min(planted["perturbation"]["score"]["most"]["curve"]) < 0.0


def test_a_faithful_explanation_is_one_whose_interval_is_above_nothing(
    planted: dict[str, Any],
) -> None:
    from talaria_training.explain.words import faithful

    for low, high, start in (
        (0.1, 0.3, "The explanation is faithful"),
        (-0.1, 0.3, "The explanation is not shown"),
        (-0.3, -0.1, "The explanation is not faithful"),
    ):
        doubtful = json.loads(json.dumps(planted))
        doubtful["perturbation"]["accuracy"]["most"]["below_random"].update(low=low, high=high)
        assert faithful(doubtful)[0].startswith(start)


def test_folds_of_one_person_are_put_together_by_their_strides() -> None:
    def one(person: str, strides: int, value: float) -> PersonSpoiled:
        return PersonSpoiled(person, strides, np.full((2, 3, 4), value), np.full((2, 3), value))

    curves, areas = by_person((one("a", 1, 0.0), one("b", 5, 0.5), one("a", 3, 1.0)))
    assert curves.shape == (2, 2, 3, 4)
    np.testing.assert_allclose(areas[:, 0, 0], [0.75, 0.5])
    np.testing.assert_allclose(curves[0], 0.75)


def test_even_shares_are_those_of_the_number_of_channels_and_points(
    planted: dict[str, Any],
) -> None:
    by = planted["summary"]["by"]["positive"]
    assert {s["name"]: s["even"] for s in by["joints"]} == {
        "hip": 50.0,
        "knee": 25.0,
        "ankle": 25.0,
    }
    assert {s["name"]: s["even"] for s in by["planes"]} == {"sagittal": 75.0, "frontal": 25.0}
    assert [s["even"] for s in by["phases"]] == pytest.approx(
        [100 * 19 / 41, 100 * 22 / 41], rel=1e-4
    )


def test_stability_is_told_over_seeds(planted: dict[str, Any], identity: dict[str, Any]) -> None:
    assert planted["seeds"]["networks"] == 2
    assert len(planted["seeds"]["joints"]["knee"]) == 2
    assert "Spearman correlation" in planted["said"]["stable"]
    assert identity["seeds"] is None
    assert identity["said"]["stable"] == ""


def test_numbers_are_plain_and_never_nan(planted: dict[str, Any]) -> None:
    assert json.loads(json.dumps(planted, allow_nan=False)) == planted
    assert plain({"a": np.array([1.0, np.nan]), "b": (float("inf"), 1.23456789)}) == {
        "a": [1.0, None],
        "b": [None, 1.23457],
    }


class Outside(HTMLParser):
    """Whatever a page would run or load, and tags that were not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        loads = {"script", "link", "img", "iframe", "object", "embed", "image", "use"}
        self.found += [tag] if tag in loads else []
        self.found += [
            name for name, _ in attrs if name in {"src", "href"} or name.startswith("on")
        ]
        if tag not in {"meta", "rect", "path", "stop"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open = [name for name in self.open if name not in {"rect", "path", "stop"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_loads_nothing_and_is_well_formed(
    planted: dict[str, Any], identity: dict[str, Any]
) -> None:
    for found in (planted, identity):
        text = page(found)
        reader = Outside()
        reader.feed(text)
        assert reader.found == []
        assert reader.open == []
        assert "http" not in text
        assert not re.search(r"url\((?!#g[0-9a-f]{12}\))", text)
        assert set(re.findall(r"url\(#(\w+)\)", text)) <= set(re.findall(r'id="(\w+)"', text))


def test_names_from_a_file_cannot_write_into_the_page(planted: dict[str, Any]) -> None:
    text = page(planted)
    assert "<bent>" not in text
    assert "&lt;bent&gt;" in text
    assert "A &lt;test&gt;." in text


def test_the_page_has_every_part(planted: dict[str, Any]) -> None:
    text = page(planted)
    for part in (
        "Where in the movement",
        "Channel by time",
        "by plane or axis",
        "48-100 % of stride",
        "Right and wrong",
        "Is the explanation faithful?",
        "From seed to seed",
        "For a methods section",
    ):
        assert part in text
    assert text.count("<svg") >= len(CHANNELS) + 2 + 4 + 2


def test_the_methods_text_has_what_a_reader_would_ask(planted: dict[str, Any]) -> None:
    said = planted["said"]["methods"]
    for part in (
        "72 strides of 12 people",
        "4 channels (hip_sagittal, hip_frontal, knee_sagittal, ankle_sagittal)",
        "Cross-validation over 2 groups of people",
        "36 strides learned from, 36 judged per fold",
        "within one standard error of the best: C ",
        "dealt anew to people 19 times",
        "its own term of the score",
        "blocks of 5 points",
        "seeds 0 to 1",
        "numpy ",
        "torch ",
    ):
        assert part in said


def command(*arguments: str | int | Path) -> Any:
    runner = CliRunner(env={"COLUMNS": "200"})
    return runner.invoke(app, ["explain", *map(str, arguments)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    table().save(tmp_path / "strides.npz")
    return tmp_path / "strides.npz"


def test_the_command_writes_page_and_numbers(file: Path, tmp_path: Path) -> None:
    report, numbers = tmp_path / "deep" / "out.html", tmp_path / "other" / "out.json"
    options = ("--permutations", 9, "--workers", 1, "--where", "group=straight")
    done = command(file, "--report", report, "--json", numbers, *options)
    assert done.exit_code == 0, done.exception
    assert "tells 6 people apart" in done.stdout
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")
    found = json.loads(numbers.read_text(encoding="utf-8"))
    assert found["about"]["split"] == "first-last"
    assert "6 classes, strides with group=straight." in found["said"]["methods"]


def test_the_command_holds_a_person_against_a_population(file: Path, tmp_path: Path) -> None:
    report = tmp_path / "out.html"
    done = command(file, "--against", file, "--person", "P03", "--report", report)
    assert done.exit_code == 0, done.exception
    assert "P03 against 11 people" in report.read_text(encoding="utf-8")
    assert "people of the group did" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "all"), "one class cannot be told from another"),
        (("--task", "group:straight|<bent>", "--split", "sideways"), "There is no split sideways"),
        (("--model", "svm,mlp"), "one page, one model"),
        (("--rules", "gut"), "There are no rules called 'gut'"),
        (("--where", "group"), "names no values"),
        (("--split", "person"), "identity has no split by person"),
    ],
)
def test_what_cannot_be_explained_is_said_in_a_sentence(
    file: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = command(file, "--report", tmp_path / "out.html", *arguments)
    assert isinstance(done.exception, TalariaError)
    assert said in str(done.exception)
    assert not (tmp_path / "out.html").exists()


def test_a_report_that_is_no_page_is_refused_before_any_work(file: Path, tmp_path: Path) -> None:
    done = command(file, "--report", tmp_path / "out.pdf")
    assert isinstance(done.exception, ConfigError)
    assert "must end in .html" in str(done.exception)


def test_gaps_are_refused_with_the_channel_named(tmp_path: Path) -> None:
    strides = table()
    values = strides.values.copy()
    values[3, KNEE, 7] = np.nan
    np.savez(
        tmp_path / "gaps.npz",
        values=values,
        channel_name=np.array([channel.name for channel in CHANNELS]),
        column_person=strides.column("person"),
    )
    done = command(tmp_path / "gaps.npz", "--report", tmp_path / "out.html")
    assert isinstance(done.exception, RecordingError)
    assert "knee_sagittal is not a number in 1 of 72 strides" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "strides of 12 people"),
        (("--person", "Nemo"), "no stride with 'Nemo' as person"),
        (("--person", "P01", "--condition", "hop"), "no stride with 'hop' as condition"),
        (("--person", "P01", "--where", "person=P01,P02,P03"), "has 2 people beside P01"),
    ],
)
def test_who_cannot_be_compared_is_said_in_a_sentence(
    file: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = command(file, "--against", file, "--report", tmp_path / "out.html", *arguments)
    assert isinstance(done.exception, TalariaError)
    assert said in str(done.exception)


def test_two_conditions_at_once_are_refused_on_either_side(tmp_path: Path) -> None:
    strides = table()
    mixed = dict(strides.columns) | {"condition": np.tile(["walk", "limp"], len(strides) // 2)}
    StrideTable(strides.values, CHANNELS, mixed, strides.order, "stride", "Made for a test.").save(
        tmp_path / "mixed.npz"
    )
    file = tmp_path / "mixed.npz"
    for arguments, said in (
        ((), "--where condition=limp"),
        (("--where", "condition=walk"), "--condition limp"),
    ):
        done = command(
            file, "--against", file, "--person", "P01", "--report", tmp_path / "o.html", *arguments
        )
        assert isinstance(done.exception, ConfigError)
        assert said in str(done.exception)


def test_more_than_four_groups_are_drawn_as_one_curve() -> None:
    strides = labelled(table(), Task.parse("group"))
    assert not _as_one(strides)
    assert _as_one(labelled(table(), Task.parse("identity")))
