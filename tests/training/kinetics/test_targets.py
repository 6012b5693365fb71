"""Plates become forces per foot on the sensors' clock, and only where that can be known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_training.data.capsense import load_capsense
from talaria_training.data.metadata import PersonFacts
from talaria_training.kinetics.plate_lags import vertical_acceleration_ms2
from talaria_training.kinetics.segments import MASSES
from talaria_training.kinetics.stances import loaded_runs, runs_of, stance_forces, whole_stances
from talaria_training.kinetics.target_tables import trial_rows, trials_table
from talaria_training.kinetics.targets import ForceTrial, force_trial, settle

G_MS2 = 9.80665


def trial(walk: Any) -> ForceTrial:
    found = force_trial(walk.recording(), None)
    assert found is not None
    return found


def truth_bw(walk: Any, t_s: np.ndarray) -> np.ndarray:
    right, left = (walk.push_n(t_s, side) / (walk.mass_kg * G_MS2) for side in "rl")
    return np.column_stack(
        [right[:, 0], right[:, 2], right[:, 1], left[:, 0], -left[:, 2], left[:, 1]]
    )


def test_no_plates_no_forces(plate_walk: Any) -> None:
    assert force_trial(replace(plate_walk().recording(), plates=None), None) is None


def test_each_plate_gets_its_own_lag_from_the_motion_of_the_body(plate_walk: Any) -> None:
    walk = plate_walk(lag_s={"r": 0.095, "l": -0.02})
    found = trial(walk)
    assert found.lag_s == pytest.approx((0.095, -0.02), abs=0.003)
    inner = slice(200, -200)
    error = found.force_bw - truth_bw(walk, walk.recording().t_s)
    assert np.abs(error[inner]).mean(axis=0).max() < 0.01


def test_lateral_is_the_outer_side_of_either_foot_and_forward_drives_late(plate_walk: Any) -> None:
    found = trial(plate_walk())
    for column in (0, 3):
        first = whole_stances(found.force_bw[:, column : column + 3], 100.0, found.mass_kg)[2]
        along, lateral, up = found.force_bw[first, column : column + 3].T
        half = len(along) // 2
        assert along[:half].mean() < -0.05 < 0.05 < along[half:].mean()
        assert lateral.mean() < -0.02
        assert up.max() > 0.9


def test_offset_and_drift_leave_with_the_swings(plate_walk: Any) -> None:
    def hum(force: dict[str, np.ndarray], t_s: np.ndarray) -> None:
        for side in "rl":
            force[side] += np.random.default_rng(1).normal(0.0, 0.5, force[side].shape)

    walk = plate_walk(offset_n={"l": (-8.0, -13.0, -20.0)}, drift_n=6.0, edit=hum)
    found = trial(walk)
    error = found.force_bw - truth_bw(walk, walk.recording().t_s)
    inner = np.abs(error[300:-300])
    assert np.nanmax(np.median(inner, axis=0)) * walk.mass_kg * G_MS2 < 1.0
    swing = walk.push_n(walk.recording().t_s, "l")[:, 1] == 0.0
    assert (found.force_bw[swing, 5] == 0.0).mean() > 0.95
    assert any("left plate was off by up to" in note for note in found.notes)


def test_what_comes_after_a_jump_of_the_clock_is_not_a_number(plate_walk: Any) -> None:
    found = trial(plate_walk(jump_at_s=24.0, lag_s={"r": 0.02, "l": 0.02}))
    assert found.lag_s == pytest.approx((0.02, 0.02), abs=0.003)
    known = np.isfinite(found.force_bw).all(axis=1)
    assert known[200:1700].all()
    assert not known[2500:].any()
    assert any("clock jumps" in note for note in found.notes)


def test_a_plate_of_another_walk_is_left_out_altogether(plate_walk: Any) -> None:
    def scramble(force: dict[str, np.ndarray], t_s: np.ndarray) -> None:
        late = 0.25 * np.sin(2 * np.pi * t_s / 7.0)
        for side in "rl":
            force[side][:] = plate_walk().push_n(t_s - late, side)

    found = trial(plate_walk(edit=scramble))
    assert not np.isfinite(found.force_bw).any()
    assert np.isnan(found.lag_s).all()
    assert any("clock is lost" in note for note in found.notes)


def test_the_other_foot_on_a_plate_costs_both_feet_that_stretch(plate_walk: Any) -> None:
    def cross(force: dict[str, np.ndarray], t_s: np.ndarray) -> None:
        stays = (t_s > 18.0) & (t_s < 19.2)  # through a swing of the right foot
        force["r"][stays] += force["l"][stays]
        force["l"][stays] = 0.0

    found = trial(plate_walk(edit=cross))
    lost = ~np.isfinite(found.force_bw).all(axis=1)
    assert lost[1820:1900].all()
    assert not lost[300:1500].any()
    assert any("the other foot is on the right plate" in note for note in found.notes)


def test_without_the_trunk_the_lag_of_the_feet_is_taken_and_said(plate_walk: Any) -> None:
    found = trial(plate_walk(slots=LEG_SLOTS))
    assert found.lag_s == (0.01, 0.01)
    assert any("aligned by the feet alone" in note for note in found.notes)


def test_an_unknown_mass_is_weighed_on_the_plates(plate_walk: Any) -> None:
    found = trial(plate_walk(known_mass=False))
    assert found.mass_kg == pytest.approx(60.0, rel=0.02)
    facts = PersonFacts(mass_kg=61.0)
    told = force_trial(plate_walk(known_mass=False).recording(), facts)
    assert told is not None
    assert told.mass_kg == 61.0


def test_an_empty_plate_cannot_weigh_anybody(plate_walk: Any) -> None:
    def empty(force: dict[str, np.ndarray], t_s: np.ndarray) -> None:
        for side in "rl":
            force[side][:] = 0.0

    with pytest.raises(RecordingError, match="give the mass"):
        force_trial(plate_walk(known_mass=False, edit=empty).recording(), None)


def test_the_segments_make_up_the_body_and_absent_ones_are_spread() -> None:
    assert sum(MASSES.values()) == pytest.approx(1.0)


def test_sensors_without_orientations_are_tracked(plate_walk: Any) -> None:
    recording = plate_walk(seconds=12.0).recording()
    known = vertical_acceleration_ms2(recording)
    tracked = vertical_acceleration_ms2(
        replace(recording, orientation=None, gyr_rads=np.zeros_like(recording.gyr_rads))
    )
    assert np.abs(known - tracked).max() < 0.1


def test_a_stance_needs_its_threshold_and_its_length() -> None:
    force = np.zeros(200)
    force[20:80] = 700.0
    force[19] = force[80] = 12.0
    force[120:140] = 15.0  # never reaches 20 N
    assert loaded_runs(force) == [slice(19, 81)]
    assert runs_of(np.array([True, False, True])) == [slice(0, 1), slice(2, 3)]


def test_stances_that_the_recording_cuts_are_not_whole() -> None:
    force = np.zeros((300, 3))
    for start, stop in ((0, 40), (100, 160), (180, 185), (220, 260)):
        force[start:stop, 2] = 1.0
    force[261:] = np.nan
    force[260] = np.nan
    assert whole_stances(force, 100.0, 60.0) == [slice(100, 160)]
    (only,) = stance_forces(force, 100.0, 60.0)
    assert (only.start_s, only.stop_s) == (1.0, 1.59)
    assert only.metrics.impulse_bw_s == pytest.approx(0.59)


def test_a_plate_that_is_never_free_keeps_its_force() -> None:
    force = np.tile([0.0, 300.0, 0.0], (500, 1))
    left, off = settle(force, 100.0)
    assert off is None
    np.testing.assert_array_equal(left, force)


def test_the_table_has_a_row_per_foot(plate_walk: Any) -> None:
    rows = trial_rows(trial(plate_walk()))
    assert [row["side"] for row in rows] == ["r", "l"]
    assert rows[0]["stances"] > 25
    assert trials_table(rows).row_count == 2


@pytest.mark.data
def test_a_real_walk_carries_its_weight_and_brakes_before_it_drives(data_root: Path) -> None:
    """Sub08's right plate is 0.1 s late against the left one."""
    (recording,) = load_capsense(data_root / "capsense", {"Sub08"}, {"CSBaseline"})
    found = force_trial(recording, None)
    assert found is not None
    assert found.lag_s == pytest.approx((0.085, -0.015), abs=0.01)
    total = found.force_bw[:, 2] + found.force_bw[:, 5]
    assert np.nanmean(total) == pytest.approx(1.0, abs=0.01)
    assert np.nanstd(total) < 0.1
    for column in (0, 3):
        force = found.force_bw[:, column : column + 3]
        metrics = [s.metrics for s in stance_forces(force, 100.0, found.mass_kg)]
        assert np.median([m.lateral_bw_s for m in metrics]) < -0.03
        assert np.median([m.braking_bw_s for m in metrics]) < -0.01
        assert np.median([m.propulsion_bw_s for m in metrics]) > 0.01
