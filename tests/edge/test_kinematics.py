"""Signs and geometry of the joint angles, against rotations one can picture."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_bridge.simulator import simulate_walk
from talaria_edge.kinematics import (
    ANGLES,
    CHAIN_SLOTS,
    align_headings,
    joint_angles_rad,
    rotate,
    sagittal_tilt_rad,
)
from talaria_edge.orientation import up_in_sensor

# Segment x forward, y up, z right, standing in a z-up world and facing +x.
STANDING = Rotation.from_matrix([[1, 0, 0], [0, 0, -1], [0, 1, 0]])


def posed(**turns: Rotation) -> dict[str, np.ndarray]:
    return {
        slot: (STANDING * turns.get(slot, Rotation.identity())).as_quat(scalar_first=True)[None]
        for slot in CHAIN_SLOTS
    }


def test_rotating_vectors_agrees_with_scipy_and_conjugates_back() -> None:
    rng = np.random.default_rng(3)
    q = Rotation.random(50, rng=rng).as_quat(scalar_first=True)
    vectors = rng.normal(size=(50, 3))
    turned = rotate(q, vectors)
    expected = Rotation.from_quat(q, scalar_first=True).apply(vectors)
    np.testing.assert_allclose(turned, expected, atol=1e-12)
    np.testing.assert_allclose(rotate(q * [1.0, -1.0, -1.0, -1.0], turned), vectors, atol=1e-12)


def about(axis: str, degrees: float) -> Rotation:
    return Rotation.from_euler(axis, degrees, degrees=True)


# A whole leg turns with the hip, so the tibia and foot are given the femur's turn as well.
@pytest.mark.parametrize("side", ["r", "l"])
@pytest.mark.parametrize(
    ("name", "bones", "turn"),
    [
        ("hip_flexion", ("femur", "tibia", "calcn"), about("z", 20)),
        ("knee_angle", ("tibia", "calcn"), about("z", -20)),
        ("ankle_angle", ("calcn",), about("z", 20)),
    ],
)
def test_flexion_is_positive_on_both_sides(
    side: str, name: str, bones: tuple[str, ...], turn: Rotation
) -> None:
    angles = joint_angles_rad(posed(**{f"{bone}_{side}": turn for bone in bones}))
    expected = dict.fromkeys(ANGLES, 0.0) | {f"{name}_{side}": 20.0}
    assert {k: np.degrees(v[0]) for k, v in angles.items()} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("side", "sign"), [("r", 1), ("l", -1)])
@pytest.mark.parametrize(("axis", "name"), [("x", "hip_adduction"), ("y", "hip_rotation")])
def test_adduction_and_internal_rotation_are_positive_on_both_sides(
    side: str, sign: int, axis: str, name: str
) -> None:
    turn = about(axis, 10 * sign)  # toward the midline is the other way round on the other leg
    angles = joint_angles_rad(posed(**{f"{b}_{side}": turn for b in ("femur", "tibia", "calcn")}))
    assert np.degrees(angles[f"{name}_{side}"][0]) == pytest.approx(10.0)


def test_tilt_of_a_flexed_thigh_is_its_flexion_whatever_its_heading() -> None:
    for heading in (0.0, 70.0, -160.0):
        q = (about("z", heading) * STANDING * about("z", 25)).as_quat(scalar_first=True)
        assert np.degrees(sagittal_tilt_rad(up_in_sensor(q))) == pytest.approx(25.0)


def test_angles_of_a_simulated_walker_are_the_ones_it_walked_with() -> None:
    walk = simulate_walk(seed=2, seconds=6, slots=CHAIN_SLOTS)
    angles = joint_angles_rad({slot: walk.q_world_segment[slot] for slot in CHAIN_SLOTS})
    for name in ANGLES:
        np.testing.assert_allclose(angles[name], walk.angles_rad[name], atol=1e-6)


def test_foreign_headings_and_slow_drift_leave_the_sagittal_angles_alone() -> None:
    walk = simulate_walk(seed=3, seconds=12, slots=CHAIN_SLOTS)
    drifted = {}
    for i, slot in enumerate(CHAIN_SLOTS):
        heading = np.radians(50.0 * i + 1.0 * walk.t_s)  # its own heading, and a degree a second
        turn = Rotation.from_euler("z", heading[:, None])
        q = Rotation.from_quat(walk.q_world_segment[slot], scalar_first=True)
        drifted[slot] = (turn * q).as_quat(scalar_first=True)
    angles = joint_angles_rad(align_headings(drifted, walk.rate_hz))
    inner = slice(500, -500)  # the sliding window is cut at the ends
    for name in ("hip_flexion_r", "knee_angle_l", "ankle_angle_r"):
        error = np.degrees(angles[name] - walk.angles_rad[name])[inner]
        assert np.sqrt(np.mean(error**2)) < 1.5
