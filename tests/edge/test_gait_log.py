"""What is told of a session's walking at its end."""

from __future__ import annotations

import math

import numpy as np
import pytest

from talaria_edge.gait import GaitClass
from talaria_edge.gait_log import GaitLog
from talaria_edge.strides import Stride

SLOTS = ("femur_r", "femur_l", "calcn_r", "calcn_l")


def stride(side: str, time_s: float, length_m: float = math.nan) -> Stride:
    return Stride(
        side=side,
        start_s=1.0,
        end_s=1.0 + time_s,
        stance_s=0.6 * time_s,
        step_time_s=time_s / 2,
        cadence_spm=120.0 / time_s,
        stance_ratio=0.6,
        double_support_ratio=0.2,
        length_m=length_m,
        speed_ms=length_m / time_s,
        rom_rad={f"knee_angle_{side}": 1.0},
        gait_class=GaitClass.WALKING,
    )


def test_strides_are_counted_averaged_and_compared() -> None:
    log = GaitLog(100.0, SLOTS)
    for time_s in (1.0, 1.2):
        log.add((stride("r", time_s), stride("l", 1.0)), None)
    summary = log.summary()
    told = summary.to_dict()
    assert told["strides"] == {"r": 2, "l": 2}
    assert told["classes"] == {"walking": 4}
    assert told["mean"]["time_s"]["r"] == pytest.approx(1.1)
    assert told["symmetry_percent"]["time_s"] == pytest.approx(100 * 0.1 / 1.05)
    assert told["mean"]["knee_angle_rom_rad"] == {"r": 1.0, "l": 1.0}


def test_what_is_not_known_is_left_out() -> None:
    log = GaitLog(100.0, SLOTS)
    log.add((stride("r", 1.0),), None)
    told = log.summary().to_dict()
    assert told["mean"]["length_m"] == {}
    assert told["cv_percent"]["time_s"] == {}
    assert told["heading_drift_rads"] == {}


def test_a_heading_that_runs_away_is_told_by_its_slot() -> None:
    log = GaitLog(100.0, SLOTS)
    for i in range(6000):
        turn = np.radians(0.05 * i / 100.0 * np.array([0.0, 0.0, 0.0, 60.0]))
        # The flexion axis z is level, and turns about the vertical.
        q = np.stack([np.cos(turn / 2), 0 * turn, 0 * turn, np.sin(turn / 2)], axis=1)
        level = np.array([math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0])
        w, x = level[0], level[1]
        q = np.stack([q[:, 0] * w, q[:, 0] * x, q[:, 3] * x, q[:, 3] * w], axis=1)
        log.add((), q)
    drift = log.summary().heading_drift_rads
    assert math.degrees(drift["calcn_l"]) == pytest.approx(3.0, abs=0.1)
    assert abs(math.degrees(drift["femur_r"])) < 0.1
