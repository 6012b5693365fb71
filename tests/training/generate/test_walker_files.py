"""Walkers written as recordings are read as what they were, and calibrated as people are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.virtual_imu import SensorParams
from talaria_edge.generate.body import body_of
from talaria_edge.generate.motion import RATE_HZ, Conditions
from talaria_edge.generate.walkers import Walker, standing_first
from talaria_edge.generate.worn import SUB02, sense_body
from talaria_edge.kinematics import ANGLES
from talaria_training.data.plain import load_plain
from talaria_training.generate.walker_files import trials_of, write_walker


@pytest.fixture
def walker_of(striding: Callable[..., np.ndarray]) -> Callable[[float], Walker]:
    def walks(seconds: float) -> Walker:
        who = Conditions(1.2, 0.9, 1.7, 70.0, "walking")
        phase = np.arange(round(seconds * RATE_HZ)) / RATE_HZ * who.stride_hz
        values = standing_first(striding(phase, who.speed_ms), 3.0)
        body = body_of(values, Conditions(height_m=1.7, mass_kg=70.0), "W0001")
        worn = {segment: tissue.worn(SensorParams()) for segment, tissue in SUB02.items()}
        return Walker("W0001", who, values, body, sense_body(body, worn, 1, LEG_SLOTS))

    return walks


def test_a_walker_is_read_back_as_a_recording(
    tmp_path: Path, walker_of: Callable[[float], Walker]
) -> None:
    walker = walker_of(14.0)
    write_walker(walker, "made-up", tmp_path)
    (read,) = load_plain(tmp_path)
    assert (read.person, read.height_m, read.mass_kg) == ("W0001", 1.7, 70.0)
    for slot, reading in walker.readings.items():
        np.testing.assert_allclose(read.acc(slot), reading.acc_ms2, atol=1e-5)
    assert read.angles_rad is not None
    for name in ANGLES:
        np.testing.assert_allclose(read.angles_rad[name], walker.body.angles_rad[name], atol=1e-5)
    assert read.contacts is not None
    assert len(read.contacts) > 20
    assert (tmp_path / "W0001" / "walk" / "forces.csv").exists()


def test_a_walker_is_calibrated_as_people_are(walker_of: Callable[[float], Walker]) -> None:
    trials, notes = trials_of([walker_of(14.0)])
    assert notes == []
    assert len(trials) == 1
    assert np.isfinite(trials[0].features).all()


def test_a_walker_who_never_walks_long_enough_is_named(
    walker_of: Callable[[float], Walker],
) -> None:
    trials, notes = trials_of([walker_of(5.0)])
    assert trials == []
    assert notes == ["W0001/walk: left out, its calibration never completed"]
