"""What lies between sensor and bone is found again where it is known, and Sub02's sensors are met better."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_bridge.virtual_imu import SensorParams
from talaria_bridge.walker import UPRIGHT, WalkerParams, move
from talaria_edge.generate.body import Body, body_of
from talaria_edge.generate.motion import CHANNELS, PELVIS, Conditions, columns
from talaria_edge.generate.worn import SUB02, Tissue
from talaria_edge.kinematics import ANGLES
from talaria_training.data.recording import Recording
from talaria_training.generate.soft_tissue import (
    BEFORE,
    NONE,
    SEGMENTS,
    distance_db,
    find,
    likeness,
    part_of,
    real_norms,
    virtual_norms,
)
from talaria_training.generate.sub02 import load_both
from talaria_training.kinetics.targets import OUTPUTS, force_trial

SLOTS = ("femur_r", "calcn_r")


@cache
def walker() -> Body:
    moved = move(
        WalkerParams(stand_s=0.0, start_s=0.5), np.arange(800) / 100, np.random.default_rng(1)
    )
    landed = {side: np.arange(0.6 + shift, 7.9, 1.1) for side, shift in (("r", 0.0), ("l", 0.55))}
    return Body(1.72, moved.t_s, moved.world_segment, moved.origin_m, moved.angles_rad, landed)


def worn(**segments: Tissue) -> dict[tuple[str, str], NDArray[np.float64]]:
    return virtual_norms(walker(), dict.fromkeys(SEGMENTS, BEFORE) | segments, SLOTS)


def test_tissue_that_is_there_is_found_again() -> None:
    there = {"femur": Tissue(1.5, 2.0, 10.0), "calcn": Tissue(0.5, 1.0, 80.0)}
    assert find(walker(), worn(**there)) == there


def test_the_same_tissue_gives_the_same_readings_and_another_does_not() -> None:
    real = worn()
    same = likeness(walker(), real, dict.fromkeys(SEGMENTS, BEFORE))
    assert distance_db(same) == 0.0
    assert all(one.rms < 1e-9 and one.r > 0.999 for one in same)
    assert distance_db(likeness(walker(), real, dict.fromkeys(SEGMENTS, NONE))) > 1.0


def test_tissue_changes_only_what_is_between_sensor_and_bone() -> None:
    sensors = SensorParams(acc_noise_ms2=0.7)
    assert Tissue(2.0, 0.0, 5.0).worn(sensors) == SensorParams(
        acc_noise_ms2=0.7, soft_tissue=2.0, skin_slide=0.0, heel_strike_ms2=5.0
    )


def test_a_part_of_a_body_is_the_same_body() -> None:
    body, norms = part_of(walker(), worn(), 0.5, 1.0)
    assert len(body.t_s) == len(next(iter(norms.values()))) == 400
    assert body.t_s[0] == 0.0
    assert np.array_equal(body.origin_m["femur_r"], walker().origin_m["femur_r"][400:])
    assert np.allclose(body.contacts_s["r"] + 4.0, [t for t in walker().contacts_s["r"] if t >= 4])


def test_recordings_without_cameras_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="only Sub02"):
        load_both(tmp_path)


@pytest.fixture(scope="module")
def sub02(data_root: Path) -> tuple[Body, Recording]:
    try:
        return load_both(data_root)
    except RecordingError as missing:
        pytest.skip(str(missing))


def test_the_tissue_found_is_nearer_to_sub02s_sensors_than_none_and_than_that_set_by_hand(
    sub02: tuple[Body, Recording],
) -> None:
    body, norms = part_of(sub02[0], real_norms(sub02[1]), 0.5, 1.0)
    found, hand, none = (
        likeness(body, norms, tissue)
        for tissue in (SUB02, dict.fromkeys(SEGMENTS, BEFORE), dict.fromkeys(SEGMENTS, NONE))
    )
    assert distance_db(found) < distance_db(hand) < 0.6 * distance_db(none)
    for mine, other in zip(found, hand, strict=True):
        if mine.slot.startswith("femur"):
            assert mine.r > other.r, mine
            assert mine.rms < other.rms, mine


def test_forces_alone_carry_sub02s_pelvis_where_the_cameras_saw_it(
    sub02: tuple[Body, Recording],
) -> None:
    seen, recording = sub02
    length = min(len(seen.t_s), len(recording.t_s))
    values = np.full((length, len(CHANNELS)), np.nan)
    for name in ANGLES:
        values[:, columns([name])[0]] = seen.angles_rad[name][:length]
    turns = (UPRIGHT.inv() * seen.pose["pelvis"]).as_euler("ZXY")
    values[:, columns(PELVIS)] = turns[:length]
    forces = force_trial(recording, None)
    assert forces is not None
    values[:, columns(OUTPUTS)] = forces.force_bw[:length]
    body = body_of(values, Conditions(height_m=1.65, mass_kg=56.0, speed_ms=0.73))
    width = 140  # a stride; what is slower is drift on the belt
    for axis, least in zip(range(3), (0.9, 0.97, 0.9), strict=True):
        a, b = (
            p[:length, axis] - np.convolve(p[:length, axis], np.ones(width) / width, "same")
            for p in (seen.origin_m["pelvis"], body.origin_m["pelvis"])
        )
        assert np.corrcoef(a[200:-200], b[200:-200])[0, 1] > least, axis
