"""Scores, intervals and ranking of force studies, and the study itself on made-up walks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import ANGLES
from talaria_training.commands import kinetics_forces
from talaria_training.commands.kinetics import kinetics_app
from talaria_training.kinetics import (
    force_angles,
    force_curve,
    force_folds,
    force_scores,
    force_study,
    force_summary,
    force_tables,
)
from talaria_training.kinetics.force_data import Walk
from talaria_training.kinetics.force_net import ForceConfig
from talaria_training.kinetics.force_scores import ForceEvidence, ForceRow
from talaria_training.kinetics.targets import FORCE_AXES, OUTPUTS
from talaria_training.train import SWAP_X, TrainConfig
from talaria_training.trials import Trial

_TINY = ForceConfig(
    windows=TrainConfig(hidden=8, layers=1, steps=2, batch=2, window=64, dropout=0.0, warmup=8)
)


def _stances(length: int, period: int = 120) -> np.ndarray:
    """Half sines of one body weight, right and left in turn, with a tenth of it forwards and a twentieth in."""
    force = np.zeros((length, 6), np.float32)
    for foot in range(2):
        phase = (np.arange(length) + foot * period // 2) % period
        load = np.where(phase < 70, np.sin(np.pi * (phase + 0.5) / 70), 0.0)
        force[:, 3 * foot : 3 * foot + 3] = load[:, None] * [0.1, -0.05, 1.0]
    return force


@pytest.fixture
def walk(trials: list[Trial]) -> Walk:
    return Walk(trials[0], _stances(len(trials[0].features)), 70.0)


@pytest.fixture
def walks(trials: list[Trial]) -> list[Walk]:
    made = (Walk(trial, _stances(len(trial.features)), 70.0) for trial in trials)
    return [walk.part(0.1, 0.4) for walk in made]


def _row(rows: list[ForceRow], axis: str, condition: str = "all") -> ForceRow:
    return next(r for r in rows if (r.axis, r.condition) == (axis, condition))


def test_the_truth_scores_nought(walk: Walk) -> None:
    rows = force_scores.score_forces("truth", 0, [walk], [walk.force_bw])
    shares = ("r2", "pooled_r2")
    sizes = [what for what in force_summary.MEASURES if what not in shares]
    assert {r.axis for r in rows} == set(FORCE_AXES)
    assert max(getattr(r, what) for r in rows for what in sizes) == 0.0
    assert {getattr(r, what) for r in rows for what in shares} == {1.0}


def test_errors_are_in_per_cent_of_body_weight_over_the_last_three_fifths(walk: Walk) -> None:
    said = walk.force_bw.copy()
    said[: round(0.4 * len(said))] += 5.0
    said[round(0.4 * len(said)) :, 2] += 0.02
    rows = force_scores.score_forces("off", 0, [walk], [said])
    assert _row(rows, "vertical").mae_bw_pct == pytest.approx(1.0, rel=1e-4)  # one foot of two
    assert _row(rows, "anterior").mae_bw_pct == 0.0


def test_what_is_said_of_levels_alone_explains_nothing_but_pooled_much(walk: Walk) -> None:
    test_part = walk.force_bw[round(0.4 * len(walk.force_bw)) :]
    said = np.tile(
        np.tile(test_part.reshape(-1, 2, 3).mean(axis=(0, 1)), 2), (len(walk.force_bw), 1)
    )
    rows = force_scores.score_forces("mean", 0, [walk], [said])
    assert _row(rows, "vertical").r2 == pytest.approx(0.0, abs=1e-6)
    assert _row(rows, "vertical").pooled_r2 > 0.1
    spread = 100.0 * test_part[:, [2, 5]].std()
    assert _row(rows, "vertical").rmse_bw_pct == pytest.approx(spread, rel=1e-4)


def test_an_impulse_is_force_times_the_length_of_the_stance(walk: Walk) -> None:
    said = np.where(walk.force_bw > 0, walk.force_bw + 0.1, walk.force_bw)
    row = _row(force_scores.score_forces("heavy", 0, [walk], [said]), "vertical")
    stance_s = row.impulse_bw_pct_s / 10.0
    assert 0.3 < stance_s < 1.0
    assert row.peak_bw_pct == pytest.approx(10.0, rel=1e-4)


def test_stance_counts_only_samples_on_the_plate(walk: Walk) -> None:
    said = np.where(walk.force_bw == 0.0, 0.3, walk.force_bw)
    rows = force_scores.score_forces("swings", 0, [walk], [said])
    assert _row(rows, "vertical").stance_mae_bw_pct == 0.0
    assert _row(rows, "vertical").mae_bw_pct == pytest.approx(30.0 * 50 / 120, rel=0.01)


def test_a_clock_that_is_off_costs_nothing_on_the_same_clock(walk: Walk) -> None:
    said = np.roll(walk.force_bw, 3, axis=0)
    row = _row(force_scores.score_forces("late", 0, [walk], [said]), "vertical")
    assert row.same_clock_mae_bw_pct == pytest.approx(0.0, abs=1e-6)
    assert row.mae_bw_pct > 2.0
    much = np.roll(walk.force_bw, 12, axis=0)
    later = _row(force_scores.score_forces("late", 0, [walk], [much]), "vertical")
    assert later.same_clock_mae_bw_pct > 2.0


def test_a_peak_is_judged_by_its_height_and_not_its_moment(walk: Walk) -> None:
    late = np.roll(walk.force_bw, 2, axis=0)
    assert _row(
        force_scores.score_forces("late", 0, [walk], [late]), "vertical"
    ).peak_bw_pct == pytest.approx(0.0, abs=1e-4)
    high = walk.force_bw * 1.03
    peak = walk.force_bw[:, 2].max()
    assert _row(
        force_scores.score_forces("high", 0, [walk], [high]), "vertical"
    ).peak_bw_pct == pytest.approx(3.0 * peak, rel=1e-3)


def test_kinds_of_walking_are_scored_apart(walk: Walk) -> None:
    stiff = replace(walk, trial=replace(walk.trial, condition="StiffKnee"))
    said = [walk.force_bw, walk.force_bw + np.float32(0.01)]
    rows = force_scores.score_forces("x", 0, [walk, stiff], said)
    assert _row(rows, "vertical", "walking").mae_bw_pct == 0.0
    assert _row(rows, "vertical", "stiff_knee").mae_bw_pct == pytest.approx(1.0, rel=1e-4)
    assert _row(rows, "vertical").mae_bw_pct == pytest.approx(0.5, rel=1e-4)


def test_untrusted_plates_are_left_out(walk: Walk) -> None:
    force = walk.force_bw.copy()
    force[-1000:, :3] = np.nan
    said = walk.force_bw.copy()
    said[-1000:, :3] += 0.5
    rows = force_scores.score_forces("x", 0, [replace(walk, force_bw=force)], [said])
    assert _row(rows, "vertical").mae_bw_pct == 0.0


def _evidence(person: str, size: float) -> ForceEvidence:
    scores = (size * np.linspace(0.0, 1.0, 101)).tolist()
    return ForceEvidence("lstm", 0, person, OUTPUTS[2], scores, 0.02)


def test_intervals_hold_on_the_next_person_alike() -> None:
    rows = force_summary.coverage([_evidence(p, 2.0) for p in "abcd"])
    assert rows[0]["held"] == pytest.approx(0.9, abs=0.02)
    assert rows[0]["half_width_bw_pct"] == pytest.approx(100 * rows[0]["factor"] * 0.02, rel=0.02)


def test_a_persons_own_errors_do_not_widen_the_own_interval() -> None:
    found = [_evidence("a", 10.0), *(_evidence(p, 1.0) for p in "bcd")]
    assert force_summary.coverage(found)[0]["worst"] < 0.2
    assert force_summary.coverage(found[:2]) == []


def _rows(approach: str, errors: Mapping[str, tuple[float, ...]]) -> list[ForceRow]:
    return [
        ForceRow(approach, seed, person, "all", "vertical", value, value, value, value, value)
        for person, values in errors.items()
        for seed, value in enumerate(values)
    ]


def test_a_ranking_that_people_agree_on_is_sure_and_one_they_do_not_is_not() -> None:
    people = "abcdefgh"
    good = _rows("good", {p: (3.0 + i, 3.1 + i) for i, p in enumerate(people)})
    bad = _rows("bad", {p: (4.0 + i, 4.1 + i) for i, p in enumerate(people)})
    first, second = force_summary.ranking([*bad, *good], "vertical")
    assert (first["approach"], second["approach"]) == ("good", "bad")
    assert first["first"] == 1.0
    # People differ by far more than the two approaches: only the paired difference can tell.
    assert first["interval"][1] > second["interval"][0]
    assert 0.8 < second["above_best"][0] < second["above_best"][1] < 1.2
    torn = _rows("torn", {p: (2.0 + i + 2.2 * (i % 2),) * 2 for i, p in enumerate(people)})
    unsure = force_summary.ranking([*torn, *good], "vertical")[1]
    assert unsure["above_best"][0] < 0.0 < unsure["above_best"][1]


def test_a_number_nobody_has_is_left_blank_and_not_averaged() -> None:
    row = _rows("x", {"a": (3.0,)})[0]
    blind = replace(row, peak_bw_pct=float("nan"))
    (entry,) = force_summary.summarise([blind])
    assert entry["peak_bw_pct"] is None
    assert entry["mae_bw_pct"] == 3.0
    document = force_study.document([blind], [], replace(_PROTOCOL, cores=("lstm",)))
    json.dumps(document["summary"] + document["rows"], allow_nan=False)


_PROTOCOL = force_study.Protocol(
    cores=("lstm", "ssm"), seeds=1, base=_TINY, tuned=("lstm",), tune_steps=2
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(config: ForceConfig, core: Any, seed: int) -> ForceConfig:
        return replace(config, windows=replace(config.windows, core=core, seed=seed))

    monkeypatch.setattr(force_study, "with_core", small)


@pytest.mark.usefixtures("tiny")
def test_a_study_judges_every_core_on_everybody_and_goes_on_where_it_stopped(
    new_engine: Callable[[], Any],
    walks: list[Walk],
) -> None:
    engine = new_engine()
    found = force_study.study(walks, _PROTOCOL, engine)
    document = force_study.document(found.rows, found.evidence, _PROTOCOL)
    approaches = {row["approach"] for row in document["rows"]}
    assert approaches == {"mean_curve", "lstm", "lstm, tuned", "ssm"}
    assert {row["person"] for row in document["rows"]} == {"Sim11", "Sim12"}
    assert {entry["approach"] for entry in document["ranking"]} == {"lstm", "ssm"}
    console = Console(record=True, width=160)
    console.print(*force_tables.tables(document))
    assert "Ranking" in console.export_text()
    again = new_engine()
    assert force_study.study(walks, replace(_PROTOCOL, seeds=2), again).rows
    assert {name.split()[1] for name in again.ran} == {"1"}  # the first seed was kept


@pytest.mark.usefixtures("tiny")
def test_nothing_is_learned_from_the_person_held_out(
    walks: list[Walk], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    train = force_folds.train_forces

    def watched(given: list[Walk], config: ForceConfig) -> Any:
        seen.append({walk.trial.person for walk in given})
        return train(given, config)

    monkeypatch.setattr(force_folds, "train_forces", watched)
    force_folds.fold("Sim11", _TINY, None, walks=walks)
    assert seen == [{"Sim12"}]


def test_the_mean_curve_of_the_others_fits_who_walks_like_them(walks: list[Walk]) -> None:
    found = force_folds.baseline("Sim11", walks=walks)
    assert found.evidence == []
    assert {row.approach for row in found.rows} == {"mean_curve"}
    assert max(row.mae_bw_pct for row in found.rows) < 0.5


def test_a_stride_lasts_from_landing_to_landing(walk: Walk) -> None:
    phase = force_curve.stride_phase(walk)
    known = np.isfinite(phase[:, 0])
    assert known.mean() > 0.95
    assert np.nanmax(phase) < 1.0
    assert (np.diff(np.flatnonzero(np.diff(phase[known, 0]) < 0)) == 120).all()
    gap = walk.force_bw.copy()
    gap[1000:1500] = np.nan
    assert np.isnan(force_curve.stride_phase(replace(walk, force_bw=gap))[1100:1400]).all()


def test_angles_take_the_sensors_place_side_by_side(walk: Walk) -> None:
    walk = walk.part(0.0, 3 / len(walk.force_bw))
    angles = np.arange(30, dtype=np.float32).reshape(3, 10)
    features = force_angles.with_angles(walk, angles).trial.features
    assert (features[:, 36:] == 1.0).all()
    mirror = {"r": "l", "l": "r"}
    swapped = angles[:, [ANGLES.index(name[:-1] + mirror[name[-1]]) for name in ANGLES]]
    assert np.array_equal(
        features[:, SWAP_X], force_angles.with_angles(walk, swapped).trial.features
    )
    assert set(angles[1]) <= set(features[1])
    later = np.vstack([angles[:2], angles[2:] + 5.0])
    assert np.array_equal(features[:2], force_angles.with_angles(walk, later).trial.features[:2])


def test_the_same_network_is_judged_from_measured_and_from_estimated_angles(
    new_engine: Callable[[], Any],
    walks: list[Walk],
) -> None:
    off = {w.trial.name: w.trial.angles_rad + np.float32(0.1) for w in walks}
    rows = force_angles.angle_study(walks, off, _TINY, new_engine())
    assert {(r.approach, r.person) for r in rows} == {
        (approach, person)
        for approach in ("reference angles", "estimated angles")
        for person in ("Sim11", "Sim12")
    }
    same = {w.trial.name: w.trial.angles_rad for w in walks}
    rows = force_angles.angle_study(walks, same, _TINY, new_engine())
    first, second = (
        [r.mae_bw_pct for r in rows if r.approach == approach]
        for approach in ("reference angles", "estimated angles")
    )
    assert first == second


def test_one_person_alone_cannot_be_held_out(new_engine: Callable[[], Any], walk: Walk) -> None:
    with pytest.raises(RecordingError, match="at least two"):
        force_study.study([walk], _PROTOCOL, new_engine())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--cores", "gru,abacus"], "abacus"),
        (["--seeds", "0"], "--seeds 0"),
        (["--steps", "0"], "--steps 0"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(given: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(kinetics_app, ["evaluate", "--data", str(tmp_path), *given])
    assert said in str(result.exception)


def test_recordings_without_plates_are_refused(
    trials: list[Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinetics_forces, "load_people", lambda *_: [])
    monkeypatch.setattr(kinetics_forces, "prepare_loaded", lambda *_: _Prepared())
    result = CliRunner().invoke(kinetics_app, ["evaluate", "--data", str(tmp_path)])
    assert "force plates" in str(result.exception)


class _Prepared:
    trials: tuple[Trial, ...] = ()
