"""The full-chain reference against a walker whose true angles are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_bridge.simulator import random_params, simulate_walk
from talaria_edge.kinematics import CHAIN_SLOTS, SAGITTAL
from talaria_training.data.recording import Recording
from talaria_training.reference import find_stance, full_chain_reference


def recording(seed: int = 4, seconds: float = 25.0) -> tuple[Recording, dict[str, np.ndarray]]:
    walk = simulate_walk(seed=seed, params=random_params(seed), seconds=seconds, slots=CHAIN_SLOTS)
    headings = np.random.default_rng(seed).uniform(-np.pi, np.pi, len(CHAIN_SLOTS))
    orientation = {}
    for slot, heading in zip(CHAIN_SLOTS, headings, strict=True):
        turn = heading if slot.startswith("calcn") else 0.0  # magnets in the floor turn the feet
        q = Rotation.from_quat(walk.q_world_sensor[slot], scalar_first=True)
        orientation[slot] = (Rotation.from_euler("z", turn) * q).as_quat(scalar_first=True)
    made = Recording(
        person="Nobody",
        condition="walk",
        name="Nobody/walk",
        rate_hz=walk.rate_hz,
        t_s=walk.t_s,
        slots=CHAIN_SLOTS,
        acc_ms2=walk.acc_ms2,
        gyr_rads=walk.gyr_rads,
        orientation=orientation,
        mounting="Nobody/one",
    )
    return made, walk.angles_rad


@pytest.fixture(scope="module")
def walked() -> tuple[Recording, dict[str, np.ndarray]]:
    return recording()


def without_still_start(whole: Recording, name: str, mounting: str) -> Recording:
    cut = whole.part(10.0, 25.0)
    return replace(cut, name=name, mounting=mounting)


def test_sagittal_angles_are_close_to_the_truth(
    walked: tuple[Recording, dict[str, np.ndarray]],
) -> None:
    whole, truth = walked
    (result,) = full_chain_reference([whole])
    assert result.angles_rad is not None
    for name in SAGITTAL:
        error = np.degrees(result.angles_rad[name] - truth[name])
        assert np.sqrt(np.mean(error**2)) < 5.0, name
        assert np.corrcoef(result.angles_rad[name], truth[name])[0, 1] > 0.95, name


def test_a_trial_without_still_start_takes_the_zero_of_its_mounting(
    walked: tuple[Recording, dict[str, np.ndarray]],
) -> None:
    whole, _ = walked
    moving = without_still_start(whole, "Nobody/moving", "Nobody/one")
    assert find_stance(moving) is None
    with_zero, borrowed = full_chain_reference([whole, moving])
    assert borrowed.angles_rad is not None
    assert with_zero.angles_rad is not None
    assert "another recording of the same mounting" in borrowed.note
    difference = borrowed.angles_rad["knee_angle_r"] - with_zero.angles_rad["knee_angle_r"][1000:]
    assert abs(np.degrees(difference).mean()) < 0.5


def test_a_mounting_without_any_still_start_borrows_and_says_so(
    walked: tuple[Recording, dict[str, np.ndarray]],
) -> None:
    whole, _ = walked
    other = without_still_start(whole, "Nobody/other", "Nobody/two")
    note = full_chain_reference([whole, other])[1].note
    assert "zero from another mounting" in note


def test_a_person_who_never_stood_still_is_left_out_with_the_reason(
    walked: tuple[Recording, dict[str, np.ndarray]],
) -> None:
    alone = without_still_start(walked[0], "Nobody/moving", "")
    (result,) = full_chain_reference([alone])
    assert result.angles_rad is None
    assert "nobody stood still" in result.note


def test_missing_orientations_and_dead_sensors_are_named(
    walked: tuple[Recording, dict[str, np.ndarray]],
) -> None:
    whole, _ = walked
    results = full_chain_reference(
        [replace(whole, orientation=None), replace(whole, dead_slots=("tibia_l",))]
    )
    assert [r.angles_rad for r in results] == [None, None]
    assert "orientations of all sensors" in results[0].note
    assert "living sensors at tibia_l" in results[1].note
