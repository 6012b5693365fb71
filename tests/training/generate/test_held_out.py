"""What a study of a generative model learns from, and what it makes of rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talaria_bridge.errors import RecordingError
from talaria_edge.generate import generator
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import CHANNELS, FORCES, WINDOW, Conditions, Motion, columns
from talaria_training.generate import held_out, release
from talaria_training.generate.batches import Draw, FitConfig
from talaria_training.generate.denoiser import DenoiserConfig
from talaria_training.generate.gaps import GapRow
from talaria_training.generate.held_out_tables import remarks, tables
from talaria_training.generate.judge import (
    FillRow,
    ForceFillRow,
    judge_fill,
    judge_forces,
)
from talaria_training.generate.release import (
    denoise_of,
    forces_of,
    load_denoiser,
    load_forces,
)
from talaria_training.generate.speed import runners
from talaria_training.generate.widening import intervals, widening_of
from talaria_training.generate.windows import Windows


def _windows(speeds_ms: list[float]) -> Windows:
    count = len(speeds_ms)
    values = np.random.default_rng(0).standard_normal((count, WINDOW, len(CHANNELS)))
    numbers = np.tile(np.array([0.0, 1.0, 1.7, 70.0], np.float32), (count, 1))
    numbers[:, 0] = speeds_ms
    names = np.array([f"p{i % 2}" for i in range(count)])
    zero = np.zeros(count, np.int64)
    return Windows(values.astype(np.float32), numbers, zero, names, names, zero)


def test_whoever_moves_at_the_speed_left_out_teaches_nothing() -> None:
    kept = held_out.learnable(_windows([3.5, 4.0, 5.0, 5.19, float("nan")]))
    assert kept.numbers[:2, 0].tolist() == [3.5, 4.0]
    assert np.isnan(kept.numbers[2, 0])
    assert len(kept) == 3


def test_data_sets_are_drawn_by_their_shares_whoever_many_their_people_are() -> None:
    windows = _windows([1.0] * 4)
    weights = held_out.weights_of(windows, {"p0": "CapSense: belts", "p1": "BMC-RIC: runners"})
    assert weights["p0"] / weights["p1"] == pytest.approx(0.55 / 0.1)
    with pytest.raises(RecordingError, match="has no share"):
        held_out.weights_of(windows, {"p0": "CapSense", "p1": "somebody's"})


def test_only_runners_measured_at_both_speeds_are_asked() -> None:
    windows = _windows([3.0, 3.0, 5.0, 1.0])
    assert runners(windows, (3.0, 5.0)) == ["p0"]
    windows.values[2][:, columns(FORCES)] = np.nan
    assert runners(windows, (3.0, 5.0)) == []


def test_angles_are_shifted_and_stretched_and_nothing_else_is() -> None:
    windows = _windows([1.0] * 4)
    swing = np.sin(np.linspace(0.0, 4.0 * np.pi, WINDOW))
    windows.values[:] = 0.5 * swing[None, :, None]
    windows.values[:, :20, 3] = np.nan
    draw = Draw(windows, FitConfig(batch=400, shift_rad=0.045, stretch=0.06), None)
    batch = draw(np.random.default_rng(3))
    x = batch.x.numpy() * draw.scale.std + draw.scale.mean
    angles, forces = np.delete(x[:, :, :10], 3, axis=2), x[:, :, columns(FORCES)]
    half_mirrored = np.abs(np.ptp(forces, axis=1) - np.ptp(0.5 * swing))
    assert half_mirrored.max() < 1e-5
    assert angles.mean(axis=1).std() == pytest.approx(0.045, rel=0.1)
    assert np.log(np.ptp(angles, axis=1)).std() == pytest.approx(0.06, rel=0.1)
    hidden = [CHANNELS[i] for i in np.flatnonzero((batch.measured[:, :20] == 0).any(dim=(0, 1)))]
    assert set(hidden) == {CHANNELS[3], f"{CHANNELS[3][:-1]}r"}


def test_a_document_means_over_people_apart_by_data_set() -> None:
    rows = [
        FillRow(who, "walking", "knee r", "knee_angle_r", "model", rmse, rmse, 0.9, 3, [])
        for who, rmse in (("a", 2.0), ("a", 4.0), ("b", 5.0), ("c", 9.0))
    ]
    forces = [
        ForceFillRow("a", "walking", "nothing", "model", "vertical", 3.0, float("nan"), 3, [])
    ]
    gaps = [
        GapRow("a", "walk", "knee r", "knee_angle_r", approach, 2.0, held)
        for approach, held in (("model", 0.9), ("own regression", float("nan")))
    ]
    found = held_out.Found(rows, forces, [], gaps)
    said = held_out.document(found, held_out.Protocol(), {"a": "X", "b": "X", "c": "Y"})
    (one, other) = said["fills"]
    assert (one["source"], one["people"], one["rmse"]) == ("X", 2, 4.0)
    assert (other["source"], other["rmse"]) == ("Y", 9.0)
    assert said["forces"][0]["peak_bw_pct"] is None
    assert said["rows"]["forces"][0]["peak_bw_pct"] is None
    assert [(row["source"], row["held"]) for row in said["gaps"]] == [("X", 0.9), ("X", None)]
    assert (
        "* X: ten seconds without a sensor filled, after rehearsals, 2.0 to 2.0° off."
        in remarks(said)
    )
    assert remarks({"intervals": []}) == "## Measured on people held out\n"
    said["fills"] = said["forces"] = []
    gap = next(table for table in tables(said) if "ten seconds" in str(table.title))
    assert [list(column.cells) for column in gap.columns[2:]] == [["2.00"], ["2.00"], ["90%"]]


_TINY = DenoiserConfig(patch=10, width=16, layers=1, heads=2, feed_forward=32)
_PROTOCOL = held_out.Protocol(2, FitConfig(steps=2, batch=2), _TINY, 2, most=1, steps=1)


def _walkers() -> list[Motion]:
    """Four people who swing their legs and step now on one foot, now on the other."""
    t_s = np.arange(2 * WINDOW)[:, None] / 100.0
    later = np.array([0.5 * name.endswith("_l") for name in CHANNELS])
    found = []
    for i in range(4):
        values = (0.3 + 0.05 * i) * np.sin(2 * np.pi * (t_s + later + 0.1 * np.arange(22)))
        values[:, columns(FORCES)] = np.clip(values[:, columns(FORCES)], 0.0, None)
        who = Conditions(1.0 + 0.1 * i, 1.0, 1.7, 70.0, "walking")
        source = "CapSense: made up"
        found.append(Motion(f"p{i}", f"walk{i}", source, values.astype(np.float32), who))
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _one_cache(cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALARIA_CACHE", cache)


@pytest.fixture(scope="module")
def studied(new_engine: Callable[[], Any], cache: str) -> Iterator[tuple[Any, ...]]:
    """Train two folds of denoisers, then of networks of forces, in an empty cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALARIA_CACHE", cache)
        # Exporting takes ten seconds each time, and is tested elsewhere: weights are opened instead.
        patch.setattr(release, "write_onnx", lambda *args, **_: args[4].write_bytes(b"graph"))
        for module in (release, generator):
            patch.setattr(module, "open_denoiser", lambda f: denoise_of(load_denoiser(f.parent)[0]))
            patch.setattr(module, "open_forces", lambda f: forces_of(load_forces(f.parent)[0]))
        patch.setattr(held_out, "fit_refiner", _tiny_refiner)
        alone = held_out.train_folds(_walkers(), _PROTOCOL, new_engine())
        files = {folder: _contents(folder) for folder in alone.unseen}
        both = held_out.train_forces(_walkers(), alone, _PROTOCOL, new_engine())
        yield alone, files, both


_fit_refiner = held_out.fit_refiner


def _tiny_refiner(*args: Any, **options: Any) -> Any:
    return _fit_refiner(*args, size=_TINY, **options)


def _contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_networks_of_forces_are_trained_beside_the_denoisers_and_leave_them_as_they_are(
    studied: tuple[Any, ...],
) -> None:
    alone, files, both = studied
    for (folder, group), (with_forces, same) in zip(
        alone.unseen.items(), both.unseen.items(), strict=True
    ):
        assert group == same
        assert _contents(folder) == files[folder]
        model, more = Generator.open(folder), Generator.open(with_forces)
        assert not model.tells_forces
        assert more.tells_forces
        assert not set(group) & set(more.spec.people)
        assert more.spec.people == model.spec.people
        gap = np.full((WINDOW, len(CHANNELS)), np.nan)
        drawn = [
            one.fill(gap, Conditions(), 1, np.random.default_rng(0), 2) for one in (model, more)
        ]
        np.testing.assert_array_equal(*drawn)


def test_a_study_that_goes_on_trains_only_what_is_not_there(
    new_engine: Callable[[], Any], studied: tuple[Any, ...]
) -> None:
    alone, _, both = studied
    here = new_engine()
    assert held_out.train_folds(_walkers(), _PROTOCOL, here).key == alone.key
    assert held_out.train_forces(_walkers(), alone, _PROTOCOL, here).unseen == both.unseen
    assert here.ran == []
    longer = replace(_PROTOCOL, refiner_steps=3)
    assert held_out.train_folds(_walkers(), longer, here).key == alone.key
    again = held_out.train_forces(_walkers(), alone, longer, here)
    assert here.ran == ["forces 0", "forces 1"]
    assert not set(again.unseen) & set(both.unseen)


def test_forces_drawn_and_told_are_judged_side_by_side(
    new_engine: Callable[[], Any], studied: tuple[Any, ...]
) -> None:
    alone, _, both = studied
    here = new_engine()
    found = held_out.study(_walkers(), both, _PROTOCOL, here)
    approaches = {row.approach for row in found.forces}
    assert approaches == {"model", "refined", "mean curve"}
    drawn, told = (
        {(r.person, r.missing, r.axis): r.mae_bw_pct for r in found.forces if r.approach == name}
        for name in ("model", "refined")
    )
    assert drawn.keys() == told.keys()
    assert {person for person, *_ in told} == {"p0", "p1", "p2", "p3"}
    assert all(drawn[at] != told[at] for at in told)
    # Draws are the denoiser's, whether a network of forces is there or not.
    folder, group = next(iter(alone.unseen.items()))
    without = judge_forces(Path(folder), group, 1, windows=alone.windows, steps=1)
    with_both = [r for r in found.forces if r.approach != "refined" and r.person in group]
    assert repr(with_both) == repr(without)
    # Whose intervals are whose: neither is widened by the other's errors.
    known = {(row["what"], row["approach"]) for row in intervals(found.fills, found.forces)}
    assert {("grf_vertical", "model"), ("grf_vertical", "refined")} <= known
    said = held_out.document(found, _PROTOCOL, dict.fromkeys(["p0", "p1", "p2", "p3"], "CapSense"))
    assert any("refined" in list(table.columns[1].cells) for table in tables(said))


def test_the_simple_approaches_learn_from_nobody_of_the_fold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    windows = _windows([1.0] * 6)
    windows.person[:] = ["p0", "p1", "p2"] * 2
    windows.values[windows.person == "p1", :, 0] = np.nan  # of the fold, and not asked about
    asked: list[Any] = []

    def judged(folder: Path, people: list[str], most: int, **options: Any) -> list[Any]:
        asked.append((people, set(options["windows"].without(people).person)))
        return []

    monkeypatch.setattr(held_out, "judge_fill", judged)
    monkeypatch.setattr(held_out, "judge_forces", judged)
    for job in (held_out.fill_job, held_out.force_job):
        job("folder", ("p0", "p1"), windows=windows, protocol=_PROTOCOL)
    assert asked == [(["p0"], {"p2"})] * 2


def test_people_judged_together_are_judged_as_each_alone(studied: tuple[Any, ...]) -> None:
    *_, both = studied
    folder, group = next(iter(both.unseen.items()))
    options = {"windows": both.windows, "steps": 1}
    together = judge_forces(Path(folder), group, 1, **options)
    rows = judge_fill(Path(folder), group, 1, **options)
    each_force, each_fill = [], []
    for who in group:
        options["windows"] = both.windows.without([p for p in group if p != who])
        each_force += judge_forces(Path(folder), [who], 1, **options)
        each_fill += judge_fill(Path(folder), [who], 1, **options)
    assert repr(together) == repr(each_force)
    assert sorted(map(repr, rows)) == sorted(map(repr, each_fill))


def test_intervals_too_narrow_by_half_are_widened_to_twice(tmp_path: Path) -> None:
    grid = np.linspace(
        0.0, 2.0 / 0.9, 21
    ).tolist()  # 90 % of the errors are below twice the half-width
    rows = [
        FillRow(who, "walking", "knee r", f"knee_angle_{side}", "model", 1.0, 1.0, 0.4, 3, grid)
        for who in "abcd"
        for side in "rl"
    ]
    (found,) = intervals(rows, [])
    assert (found["what"], found["people"]) == ("knee_angle", 4)
    assert found["own"] == pytest.approx(0.45, abs=0.05)
    assert found["held"] >= 0.9
    assert found["factor"] == pytest.approx(2.0, abs=0.15)
    file = tmp_path / "report.json"
    file.write_text(json.dumps({"intervals": [found]}))
    assert set(widening_of(file)) == {"knee_angle_r", "knee_angle_l"}
    told = found | {"what": "grf_vertical", "approach": "refined", "factor": 7.0}
    file.write_text(json.dumps({"intervals": [found, told]}))
    assert set(widening_of(file)) == {"knee_angle_r", "knee_angle_l"}
    assert widening_of(file, "refined") == {"grf_vertical_r": 7.0, "grf_vertical_l": 7.0}
    file.write_text("{}")
    with pytest.raises(RecordingError, match="no report of"):
        widening_of(file)
