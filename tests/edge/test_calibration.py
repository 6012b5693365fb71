"""Calibration against a walker whose true mounting is known."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import CalibrationError
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk, random_params, simulate_walk
from talaria_edge.calibration import (
    Calibration,
    CalibrationCollector,
    SlotCalibration,
    average,
    segment_axes,
)


@pytest.fixture(scope="module")
def walk() -> SimulatedWalk:
    return simulate_walk(seed=5, params=random_params(5), seconds=18)


def collect(acc: np.ndarray, gyr: np.ndarray, rate_hz: float = 100.0) -> Calibration | None:
    collector = CalibrationCollector(rate_hz, LEG_SLOTS)
    for a, g in zip(acc, gyr, strict=True):
        calibration = collector.update(a, g)
        if calibration is not None:
            assert collector.progress.stage == "done"
            return calibration
    return None


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    return float(
        np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))
    )


def test_segment_axes_are_found_from_standing_and_walking(walk: SimulatedWalk) -> None:
    calibration = collect(walk.acc_ms2, walk.gyr_rads)
    assert calibration is not None
    for slot in LEG_SLOTS:
        sensor = Rotation.from_quat(walk.q_world_sensor[slot][100], scalar_first=True)
        bone = Rotation.from_quat(walk.q_world_segment[slot][100], scalar_first=True)
        truth = (bone.inv() * sensor).as_matrix()  # rows: segment axes seen from the sensor
        found = calibration.slots[slot].r_segment_sensor
        assert angle_deg(found[1], truth[1]) < 4.0, f"{slot} long axis"
        assert angle_deg(found[2], truth[2]) < 15.0, f"{slot} flexion axis"


def test_any_mounting_gives_the_same_segment_axes(walk: SimulatedWalk) -> None:
    """Strap every sensor on in another rotation: after calibration nobody can tell."""
    acc, gyr = walk.acc_ms2[:1500], walk.gyr_rads[:1500]
    turns = Rotation.random(len(LEG_SLOTS), rng=np.random.default_rng(4)).as_matrix()
    other_acc = np.einsum("sij,tsj->tsi", turns, acc)
    other_gyr = np.einsum("sij,tsj->tsi", turns, gyr)
    one, other = collect(acc, gyr), collect(other_acc, other_gyr)
    assert one is not None
    assert other is not None
    for i, slot in enumerate(LEG_SLOTS):
        found = other.slots[slot].r_segment_sensor @ turns[i]
        for axis in range(3):
            assert angle_deg(found[axis], one.slots[slot].r_segment_sensor[axis]) < 1.5, slot


def test_hints_lead_from_standing_to_walking_to_done(walk: SimulatedWalk) -> None:
    collector = CalibrationCollector(100.0, LEG_SLOTS)
    stages = []
    for a, g in zip(walk.acc_ms2, walk.gyr_rads, strict=True):
        done = collector.update(a, g)
        stages.append(collector.progress.stage)
        if done is not None:
            break
    assert list(dict.fromkeys(stages)) == ["standing", "walking", "done"]


def test_walking_without_standing_first_is_refused_with_the_reason(walk: SimulatedWalk) -> None:
    collector = CalibrationCollector(100.0, LEG_SLOTS)
    for a, g in zip(walk.acc_ms2[800:1200], walk.gyr_rads[800:1200], strict=True):
        assert collector.update(a, g) is None
    assert "stop, and stand still" in collector.progress.hint
    with pytest.raises(CalibrationError, match="never still"):
        collector.finish()


def test_too_little_walking_is_refused_with_the_seconds_seen(walk: SimulatedWalk) -> None:
    collector = CalibrationCollector(100.0, LEG_SLOTS)
    for a, g in zip(walk.acc_ms2[:900], walk.gyr_rads[:900], strict=True):
        assert collector.update(a, g) is None
    with pytest.raises(CalibrationError, match=r"Only \d\.\d s of the 8 s of walking"):
        collector.finish()


def test_a_thigh_without_its_foot_starts_over_and_says_so(walk: SimulatedWalk) -> None:
    slots = ("femur_r", "calcn_l")
    rows = [LEG_SLOTS.index(slot) for slot in slots]
    collector = CalibrationCollector(100.0, slots)
    hints = set()
    for a, g in zip(walk.acc_ms2[:, rows], walk.gyr_rads[:, rows], strict=True):
        assert collector.update(a, g) is None
        hints.add(collector.progress.hint)
    assert any("calcn_r" in hint for hint in hints)


def test_a_profile_survives_its_own_text(walk: SimulatedWalk) -> None:
    calibration = collect(walk.acc_ms2, walk.gyr_rads)
    assert calibration is not None
    text = "\n".join(
        f"[{slot}]\n" + "\n".join(f"{key} = {value}" for key, value in entry.items())
        for slot, entry in calibration.to_dict().items()
    )
    again = Calibration.from_dict(tomllib.loads(text))
    for slot in LEG_SLOTS:
        np.testing.assert_array_equal(
            again.slots[slot].r_segment_sensor, calibration.slots[slot].r_segment_sensor
        )


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"r_segment_sensor": [[1, 0], [0, 1]], "gyr_bias_rads": [0, 0, 0]},
        {"r_segment_sensor": [[2, 0, 0], [0, 1, 0], [0, 0, 1]], "gyr_bias_rads": [0, 0, 0]},
        {"r_segment_sensor": np.eye(3).tolist(), "gyr_bias_rads": "none"},
    ],
)
def test_a_damaged_profile_is_refused(entry: dict[str, object]) -> None:
    with pytest.raises(CalibrationError, match="damaged"):
        Calibration.from_dict({"femur_r": entry})


def test_a_slot_that_was_never_calibrated_is_named(walk: SimulatedWalk) -> None:
    calibration = collect(walk.acc_ms2, walk.gyr_rads)
    assert calibration is not None
    with pytest.raises(CalibrationError, match="nothing of tibia_r"):
        calibration.stacked(("femur_r", "tibia_r"))


def test_calmer_stances_count_more_in_an_average() -> None:
    def tilted(tilt: float, weight: float) -> Calibration:
        axes = segment_axes(np.array([np.sin(tilt), np.cos(tilt), 0.0]), np.array([0.0, 0.0, 1.0]))
        return Calibration({"femur_r": SlotCalibration("femur_r", axes, np.zeros(3), weight)})

    merged = average([tilted(0.0, 9.0), tilted(0.2, 1.0)])
    up = merged.slots["femur_r"].r_segment_sensor[1]
    assert np.arctan2(up[0], up[1]) == pytest.approx(0.02, abs=0.003)


def test_an_average_of_nothing_is_refused() -> None:
    with pytest.raises(CalibrationError, match="no calibration to average"):
        average([])
