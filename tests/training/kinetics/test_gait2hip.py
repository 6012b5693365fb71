"""Gait2Hip-60's layout: read strictly, split by person, learned from; and one's own walks brought into it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from talaria_bridge.errors import ConfigError, RecordingError, TalariaError
from talaria_edge.kinematics import ANGLES
from talaria_training.commands.app import app
from talaria_training.commands.kinetics_published import kinetics_app
from talaria_training.kinetics import cycle_tables, cycles, gait_cycles
from talaria_training.kinetics.cycle_models import CycleSpec
from talaria_training.kinetics.gait2hip import (
    INPUTS,
    POINTS,
    load_cycles,
    paper_split,
    person_folds,
)
from talaria_training.trials import Trial

OUTPUTS = [f"hip_{axis}_r_moment" for axis in ("flexion", "adduction", "rotation")]
TEST_PEOPLE = {f"H{k:02d}" for k in (29, 56, 19, 25, 8, 18, 28, 51, 60, 40, 45, 6)}
TINY = {
    "lstm": {"hidden": 12, "layers": 1},
    "transformer": {"d_model": 8, "nhead": 2, "num_layers": 1, "dim_feedforward": 8},
    "mamba": {"d_model": 4, "d_state": 2, "layers": 1},
}


def twin(people: int = 6, trials: int = 3, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Synthetic people whose moments follow their angles; some do a trial more than others."""
    random, around = np.random.default_rng(seed), np.linspace(0.0, 2.0 * np.pi, POINTS)
    x, y, who, mass = [], [], [], []
    for person in range(people):
        size, kg = random.uniform(0.7, 1.3), random.uniform(50.0, 90.0)
        for _ in range(trials + person % 2):
            phase = random.normal(0.0, 0.2)
            wave = np.stack([np.cos(around + phase), np.sin(around + phase)], axis=-1)
            x.append(5.0 + 20.0 * size * wave @ np.linspace(-1.0, 1.0, 20).reshape(2, 10))
            y.append(kg * size * wave @ np.array([[1.0, 0.2, 0.0], [0.0, 0.5, 0.1]]))
            who.append(f"H{person + 1:02d}")
            mass.append(kg)
    return {
        "X": np.array(x, np.float32),
        "Y": np.array(y, np.float32),
        "subject_id": np.array(who),
        "height_m": np.full(len(who), 1.7),
        "weight_kg": np.array(mass),
        "speed_label": np.array(["slow", "med", "fast"] * len(who))[: len(who)],
        "in_cols": np.array(INPUTS),
        "out_cols": np.array(OUTPUTS),
    }


def stored(path: Path, **arrays: Any) -> Path:
    np.savez(path, **{k: v for k, v in (twin() | arrays).items() if v is not None})
    return path


def test_targets_are_per_kilogram_of_the_person(tmp_path: Path) -> None:
    loaded, raw = load_cycles(stored(tmp_path / "t.npz")), twin()
    assert len(loaded) == 21
    assert loaded.unit == "Nm/kg"
    np.testing.assert_allclose(
        loaded.y_per_kg[4], raw["Y"][4] / np.float32(raw["weight_kg"][4]), rtol=1e-6
    )
    np.testing.assert_array_equal(loaded.x_deg, raw["X"])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"weight_kg": None}, "has no array weight_kg"),
        ({"X": twin()["X"][:, :101]}, r"X of shape \(21, 101, 10\) instead of \(21, 180, 10\)"),
        ({"Y": twin()["Y"][:-1]}, r"Y of shape \(20, 180, 3\) instead of \(21, 180, 3\)"),
        ({"X": np.deg2rad(twin()["X"])}, "are not degrees"),
        ({"X": np.float32(10.0) * twin()["X"]}, "are not degrees"),
        ({"X": np.full_like(twin()["X"], np.nan)}, "has gaps in X"),
        ({"in_cols": np.array(INPUTS[::-1])}, "reorder the columns of X"),
        ({"subject_id": np.array(["H01"] * 21, dtype=object)}, "stored as Python objects"),
        ({"weight_kg": np.full(21, 0.07)}, "body mass of 0.07 kg"),
        ({"weight_kg": np.full(21, np.nan)}, "body mass of nan kg"),
        ({"X": np.float32(1.0)}, "holds no cycles"),
    ],
)
def test_a_table_that_is_not_what_it_claims_is_refused_in_one_sentence(
    tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecordingError, match=said) as caught:
        load_cycles(stored(tmp_path / "t.npz", **arrays))
    assert str(caught.value).startswith(str(tmp_path / "t.npz"))


def test_the_papers_test_people_are_drawn_again(tmp_path: Path) -> None:
    loaded = load_cycles(stored(tmp_path / "t.npz", **twin(people=60, trials=1)))
    fold = paper_split(loaded)
    assert set(loaded.person[fold.test]) == TEST_PEOPLE
    assert len(set(loaded.person[fold.train])) == 48


def test_folds_are_those_of_group_k_fold_and_nobody_is_on_both_sides(tmp_path: Path) -> None:
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("scikit-learn is not installed: pip install -e '.[classify]'")
    from sklearn.model_selection import GroupKFold

    loaded = load_cycles(stored(tmp_path / "t.npz", **twin(people=13)))
    rows = paper_split(loaded).train
    theirs = GroupKFold(5).split(rows, groups=loaded.person[rows])
    for mine, (train, test) in zip(person_folds(loaded, rows), theirs, strict=True):
        np.testing.assert_array_equal(mine.train, rows[train])
        np.testing.assert_array_equal(mine.test, rows[test])
        assert not set(loaded.person[mine.train]) & set(loaded.person[mine.test])


def test_too_few_people_are_refused(tmp_path: Path) -> None:
    loaded = load_cycles(stored(tmp_path / "t.npz", **twin(people=1)))
    with pytest.raises(RecordingError, match="nobody to test on"):
        paper_split(loaded)
    with pytest.raises(RecordingError, match="1 people cannot be dealt to 5 folds"):
        person_folds(loaded, np.arange(len(loaded)))


def protocol(**changes: Any) -> cycles.Protocol:
    budget = cycles.Budget(epochs=30, patience=30, batch=4, rate=2e-2)
    usual: dict[str, Any] = {"seeds": (0,), "folds": 2, "budget": budget, "settings": TINY}
    return cycles.Protocol(**usual | changes)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_cycles(stored(tmp_path_factory.mktemp("twin") / "t.npz"))


def test_three_architectures_learn_under_one_protocol_and_finished_jobs_are_kept(
    new_engine: Callable[[], Any],
    loaded: Any,
) -> None:
    first, again = new_engine(), new_engine()
    document = cycles.study(loaded, protocol(), first, lambda name: None)
    assert len(first.ran) == 4 * 2
    assert cycles.study(loaded, protocol(), again, lambda name: None) == document
    assert again.ran == []
    ranked = cycle_tables.ranking(document)
    rmse = {row["model"]: row["rmse"] for row in ranked}
    assert all(rmse[name] < 0.8 * rmse[cycles.MEAN_CURVE] for name in TINY)
    assert ranked[-1]["model"] == cycles.MEAN_CURVE
    assert ranked[-1]["above_best"][0] > 0.0
    assert ranked[0]["above_best"] == [0.0, 0.0]


def test_everybody_is_judged_once_by_every_model_and_seed(
    new_engine: Callable[[], Any], loaded: Any
) -> None:
    budget = cycles.Budget(epochs=1)
    document = cycles.study(
        loaded,
        protocol(models=("lstm",), seeds=(0, 1), budget=budget),
        new_engine(),
        lambda name: None,
    )
    judged = sorted((row["person"], row["seed"]) for row in document["rows"])
    assert judged == [(f"H{k:02d}", seed) for k in range(1, 7) for seed in (0, 1)]
    table = cycle_tables.summarise(document)
    assert [row["output"] for row in table] == [*OUTPUTS, "pooled"]
    own = [row["errors"][-1]["rmse"] for row in document["rows"]]
    assert table[-1]["rmse"] == pytest.approx(np.mean(own))


def test_nothing_of_the_judged_people_reaches_what_learns(loaded: Any) -> None:
    fold = cycles.folds_of(loaded, protocol())[0]
    x, y = loaded.x_deg.copy(), loaded.y_per_kg.copy()
    x[fold.test], y[fold.test] = 1e3, 1e3
    spoiled = replace(loaded, x_deg=x, y_per_kg=y)
    nets = []
    for data in (loaded, spoiled):
        cycles.torch.manual_seed(0)
        settings = {**cycles.PUBLISHED["lstm"], **TINY["lstm"]}
        nets.append(cycles.learn("lstm", settings, data, fold.train, cycles.Budget(epochs=2))[0])
    for a, b in zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_the_people_who_stop_a_training_do_not_scale_it(loaded: Any) -> None:
    rows = np.arange(len(loaded))
    held = person_folds(loaded, rows)[0].test
    x = loaded.x_deg[np.setdiff1d(rows, held)].reshape(-1, 10)
    net, _ = cycles.learn(
        "lstm",
        {**cycles.PUBLISHED["lstm"], **TINY["lstm"]},
        loaded,
        rows,
        cycles.Budget(epochs=1),
    )
    np.testing.assert_allclose(net.mean_deg.numpy(), x.mean(axis=0), rtol=1e-5)


def test_a_protocol_that_names_nothing_known_is_refused(loaded: Any) -> None:
    with pytest.raises(ConfigError, match="gru is nothing to compare"):
        cycles.folds_of(loaded, protocol(models=("gru",)))
    with pytest.raises(ConfigError, match="no split 'trial'"):
        cycles.folds_of(loaded, protocol(split="trial"))


def test_the_command_ranks_and_writes(tmp_path: Path) -> None:
    file, report = stored(tmp_path / "t.npz"), tmp_path / "report.json"
    arguments = ["kinetics", "cycles", str(file), "--model", "mean_curve", "--folds", "3"]
    done = CliRunner().invoke(
        app, [*arguments, "--json", str(report), "--workers", "1"], catch_exceptions=False
    )
    assert done.exit_code == 0
    document = json.loads(report.read_text(encoding="utf-8"))
    assert document["people"] == 6
    assert document["ranking"][0]["model"] == "mean_curve"
    assert {row["output"] for row in document["summary"]} == {*OUTPUTS, "pooled"}


def test_own_walks_become_cycles_from_right_contact_to_right_contact(trials: list[Trial]) -> None:
    moments = {trials[0].name: np.rad2deg(trials[0].angles_rad[:, 0].astype(float))}
    own = gait_cycles.cut_cycles(trials, moments, lambda said: None)
    starts = [c.t_s for c in trials[0].contacts if c.side == "r" and c.kind == "initial"]
    mine = np.array(own.recording) == trials[0].name
    rows = [round(t * trials[0].rate_hz) for t in starts]
    hip, knee = ANGLES.index("hip_flexion_r"), ANGLES.index("knee_angle_l")
    for angle, column in ((hip, 0), (knee, INPUTS.index("knee_angle_l"))):
        truth = np.rad2deg(trials[0].angles_rad[rows[3], angle])
        assert np.abs(own.x_deg[mine][:, 0, column] - truth).min() < 1.5
    assert own.x_deg.shape[1:] == (POINTS, 10)
    assert np.isfinite(own.moment_nm_kg[mine]).all()
    np.testing.assert_allclose(own.moment_nm_kg[mine], own.x_deg[mine][..., 0], atol=1e-3)
    assert np.isnan(own.moment_nm_kg[~mine]).all()
    assert 0.5 < own.duration_s.mean() < 2.0


def test_a_moment_of_another_length_is_refused(trials: list[Trial]) -> None:
    with pytest.raises(RecordingError, match="give one per sample"):
        gait_cycles.cut_cycles(trials, {trials[0].name: np.zeros(3)}, lambda said: None)


def test_walks_without_angles_are_left_out_by_name(trials: list[Trial]) -> None:
    bare = replace(trials[0], angles_rad=np.full_like(trials[0].angles_rad, np.nan))
    said: list[str] = []
    with pytest.raises(RecordingError, match="no whole cycle with all ten angles"):
        gait_cycles.cut_cycles([bare], None, said.append)
    assert said == [f"{bare.name}: left out, it has no whole right cycle with all ten angles"]


class _Model:
    """A model that answers with the right hip's angle, in the place of the flexion moment."""

    def __init__(self, mean_deg: tuple[float, ...]) -> None:
        outputs, ones = tuple(OUTPUTS), (1.0,) * 10
        self.spec = CycleSpec(
            "m", "lstm", {}, POINTS, INPUTS, outputs, "Nm/kg", "", (), {}, mean_deg, ones
        )

    def answer(self, x_deg: NDArray[np.float32]) -> NDArray[np.float32]:
        return x_deg[..., :3]


def test_a_demonstration_says_how_far_the_angles_are_and_what_levelling_changes(
    trials: list[Trial],
) -> None:
    moments = {t.name: np.rad2deg(t.angles_rad[:, ANGLES.index("hip_flexion_r")]) for t in trials}
    own = gait_cycles.cut_cycles(trials, moments, lambda said: None)
    model: Any = _Model((100.0,) * 10)
    found = gait_cycles.demonstrate(model, own)
    assert found["gap"][0].mean_deg == pytest.approx(own.x_deg[..., 0].mean(), rel=1e-5)
    assert found["gap"][0].apart_sd == pytest.approx(found["gap"][0].mean_deg - 100.0)
    as_is, levelled = (
        [r for r in found["against"] if r["input"] == h] for h in ("as_is", "levelled")
    )
    assert all(row["rmse"] < 1e-3 and row["r_of_mean_curves"] > 0.99 for row in as_is)
    assert all(row["rmse"] > 50.0 for row in levelled)
    curve = next(row for row in found["curves"] if row["input"] == "levelled")
    assert np.mean(curve["mean"][OUTPUTS[0]]) == pytest.approx(100.0, abs=1e-2)


def test_bad_input_to_the_commands_is_a_sentence(tmp_path: Path) -> None:
    assert kinetics_app.registered_commands
    for arguments in (
        ["import", str(tmp_path / "none.pt")],
        ["cycles", str(tmp_path / "none.npz")],
        ["apply", str(tmp_path), str(tmp_path / "none.npz")],
    ):
        done = CliRunner().invoke(app, ["kinetics", *arguments])
        assert isinstance(done.exception, TalariaError)
