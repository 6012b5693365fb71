"""Joint moments of windows: statics, Newton and Euler with a known centre, and when there are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from talaria_edge.generate.motion import CHANNELS, RATE_HZ, WINDOW, Conditions, columns, mirrored
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_training.generate.moments import (
    CHANGING,
    PEAKS,
    SHARES,
    peak_moments,
    stance_moments,
    stances_of,
)
from talaria_training.kinetics.belt import CUTOFF_HZ
from talaria_training.kinetics.dynamics import MOMENTS, Ground, Leg, joint_loads
from talaria_training.kinetics.segments import (
    ANKLE_AHEAD,
    ANKLE_HEIGHT,
    BALL_AHEAD,
    FOOT,
    FOOT_LENGTH,
    SHANK_LENGTH,
    THIGH_LENGTH,
)

_HEIGHT_M = 1.7
_WHO = Conditions(1.0, 0.9, _HEIGHT_M, 70.0, "walking")
_STANCE = slice(30, 120)
_AHEAD = 0.05


def _standing(load_bw: float = 0.6) -> np.ndarray:
    """All angles zero; both feet are loaded in `_STANCE`."""
    values = np.zeros((WINDOW, len(CHANNELS)))
    for side in SIDES:
        values[_STANCE, columns([f"grf_vertical_{side}"])] = load_bw
    return values


def _everywhere(ahead: float) -> np.ndarray:
    return np.full(len(SHARES), ahead)


def test_a_standing_body_has_the_moments_of_statics() -> None:
    found = stance_moments(_standing(), _WHO, _everywhere(_AHEAD))[_STANCE]
    foot_ahead = (FOOT.centre - ANKLE_AHEAD) * FOOT_LENGTH
    push = STANDARD_GRAVITY_MS2 * _HEIGHT_M * (0.6 * _AHEAD - FOOT.mass * foot_ahead)
    # The push turns all three joints by the same arm: foot up, knee straight, hip bent; muscles resist.
    wanted = np.tile([-push, push, -push], 2)
    np.testing.assert_allclose(found, np.tile(wanted, (len(found), 1)), atol=1e-9)


def test_moments_grow_with_height_and_not_with_mass() -> None:
    usual = stance_moments(_standing(), _WHO)[_STANCE]
    taller = stance_moments(_standing(), replace(_WHO, height_m=2 * _HEIGHT_M))[_STANCE]
    np.testing.assert_allclose(taller, 2 * usual)
    unknown = stance_moments(_standing(), replace(_WHO, mass_kg=np.nan))[_STANCE]
    np.testing.assert_array_equal(unknown, usual)


def test_a_walking_leg_has_the_moments_of_newton_and_euler_about_a_known_centre() -> None:
    """The right foot rests flat while hip and knee bend; places by hand, in one plane."""
    t_s = np.arange(WINDOW) / RATE_HZ
    thigh, shank = 0.3 * np.cos(2 * np.pi * t_s), -0.2 * np.sin(2 * np.pi * t_s)
    values = _standing()
    values[:, CHANNELS.index("hip_flexion_r")] = thigh
    values[:, CHANNELS.index("knee_angle_r")] = thigh - shank
    values[:, CHANNELS.index("ankle_angle_r")] = -shank
    values[_STANCE, CHANNELS.index("grf_anterior_r")] = 0.1

    roll_over = np.linspace(-0.02, 0.08, len(SHARES))
    hip = np.zeros((WINDOW, 2))
    knee = hip + _HEIGHT_M * THIGH_LENGTH * np.column_stack([np.sin(thigh), -np.cos(thigh)])
    ankle = knee + _HEIGHT_M * SHANK_LENGTH * np.column_stack([np.sin(shank), -np.cos(shank)])
    heel = ankle + _HEIGHT_M * np.array([-ANKLE_AHEAD * FOOT_LENGTH, -ANKLE_HEIGHT])
    toe = heel + _HEIGHT_M * np.array([FOOT_LENGTH, 0.0])
    leg = Leg(RATE_HZ, hip, knee, ankle, heel, toe).smoothed(CUTOFF_HZ)
    ahead = np.interp(np.arange(WINDOW), np.linspace(30, 119, len(SHARES)), roll_over)
    arm = _HEIGHT_M * np.column_stack([ahead, np.full(WINDOW, -ANKLE_HEIGHT)])
    push_n_kg = STANDARD_GRAVITY_MS2 * values[:, columns(["grf_anterior_r", "grf_vertical_r"])]
    wanted = joint_loads(leg, Ground(push_n_kg, leg.ankle_m + arm), 1.0).moment_nm

    found = stance_moments(values, _WHO, roll_over)
    np.testing.assert_allclose(found[_STANCE, :3], wanted[_STANCE], atol=1e-9)
    assert np.ptp(wanted[_STANCE], axis=0).min() > 0.2  # something moves


def test_a_foot_with_its_heel_up_is_pushed_where_its_ball_rests() -> None:
    values, tilt = _standing(), np.radians(-30.0)
    late = slice(85, WINDOW)  # well after mid-stance
    values[late, CHANNELS.index("ankle_angle_r")] = tilt
    ball = (BALL_AHEAD - ANKLE_AHEAD) * FOOT_LENGTH
    found = stance_moments(values, _WHO, _everywhere(ball))
    arm = ball * np.cos(tilt) + ANKLE_HEIGHT * np.sin(tilt)
    foot_ahead = (FOOT.centre - ANKLE_AHEAD) * FOOT_LENGTH
    weight = FOOT.mass * (foot_ahead * np.cos(tilt) + ANKLE_HEIGHT * np.sin(tilt))
    wanted = -STANDARD_GRAVITY_MS2 * _HEIGHT_M * (0.6 * arm - weight)
    assert found[110, MOMENTS.index("ankle_angle_moment_r")] == pytest.approx(wanted, abs=1e-3)


def test_another_zero_of_the_pelvis_changes_nothing() -> None:
    usual = stance_moments(_standing(), _WHO)
    leaning = _standing()
    leaning[:, CHANNELS.index("pelvis_tilt")] = 0.1
    np.testing.assert_allclose(stance_moments(leaning, _WHO)[_STANCE], usual[_STANCE], atol=1e-9)


def test_a_mirror_exchanges_the_legs() -> None:
    values = _standing()
    turned = columns([*ANGLES, "pelvis_list", "pelvis_rotation"])
    values[:, turned] = 0.2 * np.random.default_rng(0).standard_normal(len(turned))
    values[_STANCE, CHANNELS.index("grf_anterior_l")] = -0.1
    found, other = stance_moments(values, _WHO), stance_moments(mirrored(values), _WHO)
    np.testing.assert_allclose(other[_STANCE], np.roll(found, 3, axis=1)[_STANCE], atol=1e-9)


def test_stances_that_the_window_cuts_have_no_moments() -> None:
    vertical = np.zeros(WINDOW)
    vertical[:20] = vertical[50:100] = vertical[130:] = 1.0
    vertical[110:113] = 0.3  # nobody stands on that
    assert stances_of(vertical) == [slice(50, 100)]
    vertical[49] = np.nan  # and what was before it is not known
    assert stances_of(vertical) == []
    found = stance_moments(_standing(), _WHO)
    assert np.isfinite(found[_STANCE]).all()
    assert np.isnan(found[: _STANCE.start]).all()
    assert np.isnan(found[_STANCE.stop :]).all()


@pytest.mark.parametrize(
    ("channel", "conditions"),
    [
        ("pelvis_tilt", _WHO),
        ("knee_angle_l", _WHO),
        (None, replace(_WHO, height_m=np.nan)),
        (None, replace(_WHO, style="running")),
        (None, replace(_WHO, speed_ms=3.0)),
    ],
)
def test_what_is_not_known_or_no_walk_has_no_moments(
    channel: str | None, conditions: Conditions
) -> None:
    values = _standing()
    if channel is not None:
        values[70, CHANNELS.index(channel)] = np.nan
    assert np.isnan(stance_moments(values, conditions)).all()
    assert all(
        np.isnan(list(one.values())).all() for one in peak_moments(values, conditions).values()
    )


def test_peaks_are_means_over_whole_stances_by_direction() -> None:
    values = np.zeros((400, len(CHANNELS)))
    values[30:90, CHANNELS.index("grf_vertical_r")] = 0.6
    values[150:210, CHANNELS.index("grf_vertical_r")] = 1.2
    found = peak_moments(values, _WHO, tuple(PEAKS))
    moments = stance_moments(values, _WHO)
    pushes = [-moments[s, 2].min() for s in (slice(30, 90), slice(150, 210))]
    assert found["r"]["peak ankle push-off moment"] == pytest.approx(np.mean(pushes))
    assert pushes[1] > 1.5 * pushes[0] > 0
    assert np.isnan(list(found["l"].values())).all()  # never stood
    assert tuple(peak_moments(values, _WHO)["r"]) == CHANGING
    assert "peak ankle push-off moment" not in CHANGING
