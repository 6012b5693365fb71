"""Where the ground pushes, measured, and told moments beside measured ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from talaria_edge.generate.motion import (
    CHANNELS,
    FORCES,
    RATE_HZ,
    WINDOW,
    Conditions,
    Motion,
    columns,
)
from talaria_training.generate.moments import PEAKS, ROLL_OVER, SHARES, stance_moments
from talaria_training.generate.moments_judged import (
    Stance,
    change_rows,
    joint_rows,
    peak_rows,
    stances_beside,
)
from talaria_training.generate.roll_over import roll_overs
from talaria_training.kinetics.belt import MIDDLE, Belt
from talaria_training.kinetics.moment_data import MomentWalk
from talaria_training.kinetics.segments import ANKLE_AHEAD, FOOT_LENGTH

_HEIGHT_M, _SPEED_MS = 1.7, 0.8


def _walk(force_bw: np.ndarray, moment_nm_kg: np.ndarray) -> MomentWalk:
    walk = SimpleNamespace(force_bw=force_bw, rate_hz=RATE_HZ)
    return cast("MomentWalk", SimpleNamespace(walk=walk, moment_nm_kg=moment_nm_kg))


def test_the_roll_over_is_the_path_of_the_push_on_the_belt() -> None:
    n, run = 200, slice(40, 120)
    force = np.zeros((n, 6), np.float32)
    force[run, 2] = 1.0
    force[40:50, 2] = force[110:120, 2] = 0.1  # too light to say where
    rolled = np.linspace(-0.02, 0.20, 80)
    press = np.zeros(n)
    press[run] = 0.7 + rolled - _SPEED_MS * np.arange(80) / RATE_HZ  # the belt takes the foot back
    press[40:50] += 5.0
    belt = Belt({"r": press, "l": np.zeros(n)}, _SPEED_MS)
    found = roll_overs(_walk(force, np.zeros((n, 6))), belt, _HEIGHT_M)
    assert len(found) == 1
    held = np.clip(rolled, rolled[10], rolled[69])
    middle = (held[0] + held[-1]) / 2
    usual = (MIDDLE - ANKLE_AHEAD) * FOOT_LENGTH
    wanted = np.interp(SHARES, np.linspace(0, 1, 80), (held - middle) / _HEIGHT_M + usual)
    np.testing.assert_allclose(found[0], wanted, atol=1e-6)
    impossible = np.zeros((n, 6))
    impossible[60, :3] = np.nan
    assert roll_overs(_walk(force, impossible), belt, _HEIGHT_M) == []


def test_windows_stand_beside_their_own_part_of_the_recording() -> None:
    n, start = 2 * WINDOW, 37
    values = np.zeros((n, len(CHANNELS)), np.float32)
    for first in (20, 20 + WINDOW):
        values[first : first + 80, CHANNELS.index("grf_vertical_l")] = 1.0
    values[WINDOW:, columns(FORCES)] *= 0.8
    conditions = Conditions(_SPEED_MS, np.nan, _HEIGHT_M, 70.0, "walking")
    motion = Motion("anna", "walk", "made up", values, conditions)
    moments = np.full((start + n, 6), np.nan)
    moments[start:] = stance_moments(values, conditions)
    found = stances_beside(motion, _walk(np.zeros((start + n, 6)), moments), start, ROLL_OVER)
    assert [(one.person, one.side, one.style) for one in found] == [("anna", "l", "walking")] * 2
    for one in found:
        np.testing.assert_allclose(one.told, one.measured, atol=1e-6)
    assert np.ptp(found[0].told) > 1.2 * np.ptp(found[1].told)


def _stance(person: str, style: str, measured: float, told: float, side: str = "r") -> Stance:
    ones = np.ones((101, 3))
    return Stance(person, side, style, measured * ones, told * ones)


def test_errors_are_beside_those_of_the_other_peoples_mean() -> None:
    stances = [_stance("a", "walking", 1.0, 1.1)] * 3 + [_stance("b", "walking", 3.0, 3.0)]
    stances.append(_stance("c", "walking", 5.0, 5.0))
    rows = {(row.person, row.joint): row for row in joint_rows(stances)}
    assert len(rows) == 9
    assert rows["a", "knee_angle"].rmse_nm_kg == pytest.approx(0.1)
    assert rows["a", "knee_angle"].mean_curve_nm_kg == pytest.approx(3.0)
    assert rows["c", "knee_angle"].mean_curve_nm_kg == pytest.approx(3.0)  # each person counts once
    peak = next(row for row in peak_rows(stances) if row.peak == "peak knee extension moment")
    assert (peak.measured_nm_kg, peak.told_nm_kg) == pytest.approx((-1.0, -1.1))
    assert (peak.error_nm_kg, peak.mean_peak_nm_kg) == pytest.approx((0.1, 3.0))


def test_a_stiff_knee_is_set_against_the_same_legs_usual_walk() -> None:
    stances = [_stance("a", "walking", 1.0, 1.0), _stance("a", "stiff_knee_l", 1.5, 1.4)]
    stances += [_stance("a", "stiff_knee_l", 9.0, 9.0, side="l")]  # whose usual walk nobody saw
    stances += [_stance("b", "stiff_knee_r", 2.0, 2.0)]
    rows = change_rows(stances)
    assert [(row.person, row.side, row.peak) for row in rows] == [
        ("a", "r", peak) for peak in PEAKS
    ]
    flexion = next(row for row in rows if row.peak == "peak knee flexion moment")
    assert (flexion.measured_nm_kg, flexion.told_nm_kg) == pytest.approx((0.5, 0.4))
