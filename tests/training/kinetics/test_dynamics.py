"""Planar joint moments: closed forms, conserved quantities, and the treadmill's approximation."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_bridge.samples import SLOTS
from talaria_training.data.recording import Recording
from talaria_training.kinetics import belt as treadmill
from talaria_training.kinetics.belt import Belt, moments_of
from talaria_training.kinetics.dynamics import Ground, Leg, cross, joint_loads
from talaria_training.kinetics.opensim_check import check_dynamics
from talaria_training.kinetics.segments import FOOT, SHANK, THIGH
from talaria_training.kinetics.target_tables import moments_table
from talaria_training.kinetics.targets import ForceTrial

G_MS2 = 9.80665
MASS_KG = 70.0
RATE_HZ = 500.0
CHAIN = ((THIGH, "hip", "knee"), (SHANK, "knee", "ankle"), (FOOT, "heel", "toe"))


def hanging(thigh: np.ndarray, shank: np.ndarray, foot: np.ndarray, hip: np.ndarray) -> Leg:
    """A leg at tilts (T,) from straight down, toes forward at a foot tilt of zero."""

    def along(tilt: np.ndarray, length: float) -> np.ndarray:
        return length * np.column_stack([np.sin(tilt), -np.cos(tilt)])

    knee = hip + along(thigh, 0.43)
    ankle = knee + along(shank, 0.43)
    heel = ankle + along(foot, 0.07) - along(foot + np.pi / 2, 0.06)
    return Leg(RATE_HZ, hip, knee, ankle, heel, heel + along(foot + np.pi / 2, 0.27))


def no_ground(leg: Leg) -> Ground:
    return Ground(np.zeros_like(leg.hip_m), np.full_like(leg.hip_m, np.nan))


def centres(leg: Leg) -> list[np.ndarray]:
    points = {name: getattr(leg, f"{name}_m") for name in ("hip", "knee", "ankle", "heel", "toe")}
    return [points[a] + s.centre * (points[b] - points[a]) for s, a, b in CHAIN]


def test_standing_still_the_moments_are_the_arms_of_force_and_weight() -> None:
    still = np.zeros(20)
    leg = hanging(still + 0.2, still - 0.1, still, np.zeros((20, 2)))
    force = np.tile([15.0, MASS_KG * G_MS2 / 2], (20, 1))
    at = leg.ankle_m + np.array([0.05, -0.07])
    moments = joint_loads(leg, Ground(force, at), MASS_KG).moment_nm[10]
    thigh, shank, foot = centres(leg)
    weight = [np.array([0.0, -s.mass * MASS_KG * G_MS2]) for s in (THIGH, SHANK, FOOT)]
    below = [(thigh, weight[0]), (shank, weight[1]), (foot, weight[2]), (at, force)]
    for joint, first, sign, moment in (
        (leg.hip_m, 0, 1.0, moments[0]),
        (leg.knee_m, 1, -1.0, moments[1]),
        (leg.ankle_m, 2, 1.0, moments[2]),
    ):
        outer = sum(cross(place - joint, pull)[10] for place, pull in below[first:])
        assert moment == pytest.approx(-sign * outer, abs=1e-9)


def test_a_push_off_is_a_plantarflexion_moment_and_negative() -> None:
    still = np.zeros(20)
    leg = hanging(still, still, still, np.zeros((20, 2)))
    force = np.tile([0.0, MASS_KG * G_MS2], (20, 1))
    moments = joint_loads(leg, Ground(force, leg.ankle_m + np.array([0.12, -0.07])), MASS_KG)
    assert moments.moment_nm[10, 2] == pytest.approx(-0.12 * MASS_KG * G_MS2, rel=0.01)
    # The same force ahead of the knee straightens it: the muscles have to flex it.
    assert moments.moment_nm[10, 1] > 0


def test_in_free_fall_no_joint_carries_anything() -> None:
    t_s = np.arange(100) / RATE_HZ
    hip = np.column_stack([1.3 * t_s, 2.0 * t_s - 0.5 * G_MS2 * t_s**2])
    still = np.zeros(100)
    leg = hanging(still + 0.3, still - 0.2, still + 0.1, hip)
    loads = joint_loads(leg, no_ground(leg), MASS_KG)
    assert np.abs(loads.moment_nm).max() < 1e-6
    assert np.abs(loads.force_n).max() < 1e-6


def test_a_stiff_leg_that_swings_freely_needs_no_hip_moment_but_knee_and_ankle_ones() -> None:
    rest = hanging(*np.zeros((3, 3)), np.zeros((3, 2)))
    inertia, arm = 0.0, np.zeros(2)
    for (segment, a, b), centre in zip(CHAIN, centres(rest), strict=True):
        axis = getattr(rest, f"{b}_m")[0] - getattr(rest, f"{a}_m")[0]
        own = segment.gyration**2 * (axis @ axis)
        inertia += segment.mass * (own + centre[0] @ centre[0])
        arm += segment.mass * centre[0]
    length, lean = np.linalg.norm(arm), np.arctan2(arm[0], -arm[1])
    t_s = np.arange(0, 1.2, 1 / RATE_HZ)

    def swing(_: float, y: np.ndarray) -> list[float]:
        return [y[1], -G_MS2 * length / inertia * np.sin(y[0] + lean)]

    tilt = solve_ivp(swing, (0, 1.2), [0.5, 0.0], t_eval=t_s, rtol=1e-10, atol=1e-12).y[0]
    leg = hanging(tilt, tilt, tilt, np.zeros((len(t_s), 2)))
    moment = joint_loads(leg, no_ground(leg), MASS_KG).moment_nm[5:-5]
    assert np.abs(moment[:, 0]).max() < 0.01
    assert np.abs(moment[:, 1]).max() > 1.0


def test_the_joints_work_is_the_change_of_energy() -> None:
    t_s = np.arange(0, 1.5, 1 / RATE_HZ)
    tilts = np.stack([0.4 * np.sin(5 * t_s), 0.5 * np.sin(5 * t_s - 0.8), 0.3 * np.cos(7 * t_s)])
    hip = np.column_stack([0.1 * np.sin(3 * t_s), 0.05 * np.cos(6 * t_s)])
    leg = hanging(*tilts, hip)
    push = np.column_stack([20 * np.sin(4 * t_s), 300 + 50 * np.cos(9 * t_s)])
    at = leg.toe_m  # where it pushes moves with the foot, so that it does work, too
    loads = joint_loads(leg, Ground(push, at), MASS_KG)

    def rate(values: np.ndarray) -> np.ndarray:
        return np.gradient(values, 1 / RATE_HZ, axis=0, edge_order=2)

    energy = np.zeros(len(t_s))
    for (segment, a, b), centre, tilt in zip(CHAIN, centres(leg), tilts, strict=True):
        axis = getattr(leg, f"{b}_m")[0] - getattr(leg, f"{a}_m")[0]
        mass, speed = segment.mass * MASS_KG, rate(centre)
        energy += mass * (0.5 * (speed**2).sum(axis=1) + G_MS2 * centre[:, 1])
        energy += 0.5 * mass * segment.gyration**2 * (axis @ axis) * rate(tilt) ** 2
    turning = [rate(tilts[0]), rate(tilts[0]) - rate(tilts[1]), rate(tilts[2]) - rate(tilts[1])]
    power = sum(loads.moment_nm[:, k] * turning[k] for k in range(3))
    power = power + (loads.force_n[:, 0] * rate(hip)).sum(axis=1) + (push * rate(at)).sum(axis=1)
    inner = slice(10, -10)
    assert np.abs(power - rate(energy))[inner].max() < 0.01 * np.abs(power[inner]).max()


def test_smoothing_keeps_the_walk_and_its_time() -> None:
    t_s = np.arange(0, 4, 1 / RATE_HZ)
    slow, fast = 0.3 * np.sin(2 * np.pi * t_s), 0.02 * np.sin(2 * np.pi * 40 * t_s)
    still = np.zeros(len(t_s))
    noisy = hanging(slow + fast, still, still, np.zeros((len(t_s), 2))).smoothed(6.0)
    clean = hanging(slow, still, still, np.zeros((len(t_s), 2)))
    assert np.abs(noisy.knee_m - clean.knee_m)[500:-500].max() < 0.001


def standing_on_a_belt(cop_ahead_m: float) -> tuple[Recording, ForceTrial, dict[str, Any], Belt]:
    """Somebody carried backwards by the belt, upright on flat feet, right stance from 1 to 2 s."""
    t_s = np.arange(400) / 100
    upright = np.tile(
        Rotation.from_matrix([[1, 0, 0], [0, 0, -1], [0, 1, 0]]).as_quat(scalar_first=True),
        (400, 1),
    )  # segment axes: x forward, y up, z right
    recording = Recording(
        person="Made",
        condition="walk",
        name="Made/walk",
        rate_hz=100.0,
        t_s=t_s,
        slots=SLOTS,
        acc_ms2=np.zeros((400, 8, 3)),
        gyr_rads=np.zeros((400, 8, 3)),
        orientation=dict.fromkeys(SLOTS, upright),
        height_m=1.8,
        mass_kg=MASS_KG,
    )
    force = np.zeros((400, 6), np.float32)
    force[100:200, 2] = 1.0
    force[250:300, 5] = 1.0
    force[350:] = np.nan
    angles = {
        f"{joint}_{s}": np.zeros(400) for joint in ("knee_angle", "ankle_angle") for s in "rl"
    }
    # The path of pressure spans +- 0.08 m around its middle, jumping from heel to toes half way.
    path = np.where(t_s < 1.5, -0.08, 0.08) + cop_ahead_m
    press = np.where((t_s >= 1) & (t_s < 2), 1.0 + path - 0.7 * (t_s - 1), 0.0)
    still = np.where((t_s >= 2.5) & (t_s < 3), 1.0 - 0.7 * (t_s - 2.5), 0.0)
    belt = Belt({"r": press, "l": still}, 0.7)
    lag = (0.0, 0.0)
    return (
        recording,
        ForceTrial("Made", "Made/walk", "walk", 100.0, MASS_KG, force, lag, ()),
        angles,
        belt,
    )


def test_on_a_belt_the_ankle_moment_is_the_arm_of_the_pressure(monkeypatch: Any) -> None:
    right = {f"calcn_{s}": np.array([0.0, 0.0, 1.0]) for s in "rl"}
    monkeypatch.setattr(treadmill, "right_axes", lambda recording: right)
    length = 0.152 * 1.8
    ankle_at = (0.475 - 0.25) * length  # from the ankle to the middle of the path
    for place in (0.0, 0.3):  # where on the belt somebody stands does not matter
        moments = moments_of(*standing_on_a_belt(place))
        early, late = moments[130, 2], moments[170, 2]
        assert early == pytest.approx(-G_MS2 * (ankle_at - 0.08), rel=0.03, abs=0.02)
        assert late == pytest.approx(-G_MS2 * (ankle_at + 0.08), rel=0.03)
        assert np.isnan(moments[350:]).all()
        assert np.abs(moments[210:240]).max() < 0.05  # hangs straight down, at rest


def test_without_a_height_there_is_no_arm() -> None:
    recording, trial, angles, belt = standing_on_a_belt(0.0)
    nobody = Recording(
        **{
            **{name: getattr(recording, name) for name in Recording.__dataclass_fields__},
            "height_m": None,
        }
    )
    with pytest.raises(RecordingError, match="height of Made is not known"):
        moments_of(nobody, trial, angles, belt)


def test_without_pyopensim_the_extra_is_named(monkeypatch: Any, tmp_path: Path) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyopensim"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"talaria\[opensim\]"):
        check_dynamics(tmp_path)


@pytest.mark.data
def test_opensim_finds_the_same_moments_in_running(data_root: Path) -> None:
    pytest.importorskip(
        "pyopensim", reason="needs pyopensim (extra 'opensim')", exc_type=ImportError
    )
    rows = check_dynamics(data_root / "opensim_running.zip")
    assert {row.joint for row in rows} >= {"hip_flexion_r", "knee_angle_l", "ankle_angle_r"}
    assert max(row.rms_nm_kg for row in rows) < 0.13
    assert min(row.r for row in rows) > 0.98
    assert moments_table(rows).row_count == len(rows)
