"""What the orientation filter promises, by physics rather than by its own formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_edge.orientation import OrientationFilter, level_quaternion, track, up_in_sensor

RATE_HZ = 100.0
G = np.array([0.0, 0.0, 9.81])


@pytest.mark.parametrize("acc", [G, -G, [9.81, 0, 0], [3.0, -4.0, 8.0]])
def test_first_reading_levels_the_sensor(acc: object) -> None:
    up = up_in_sensor(level_quaternion(np.array(acc, dtype=float)))
    np.testing.assert_allclose(up, np.array(acc) / np.linalg.norm(acc), atol=1e-9)


def test_quarter_turn_is_followed() -> None:
    rate = np.zeros((100, 3))
    rate[:, 0] = np.pi / 2  # a quarter turn about x within the second
    turned = Rotation.from_rotvec(np.outer(np.arange(1, 101) / RATE_HZ, [np.pi / 2, 0, 0]))
    acc = turned.inv().apply(G)
    up = up_in_sensor(track(np.vstack([G, acc]), np.vstack([np.zeros(3), rate]), RATE_HZ)[-1])
    np.testing.assert_allclose(up, [0.0, 1.0, 0.0], atol=0.02)


def test_zero_rate_does_not_freeze_a_wrong_attitude() -> None:
    filter_ = OrientationFilter(RATE_HZ)
    filter_.state = np.array(
        [np.cos(0.2), np.sin(0.2), 0.0, 0.0, 100.0]
    )  # 23 degrees off, long run
    for _ in range(3000):
        q = filter_.update(G, np.zeros(3))
    np.testing.assert_allclose(up_in_sensor(q), [0, 0, 1], atol=0.01)


def test_a_start_in_full_swing_is_worked_off_within_three_seconds() -> None:
    filter_ = OrientationFilter(RATE_HZ)
    filter_.update(np.array([5.0, 0.0, 8.4]), np.zeros(3))  # a shock, 30 degrees off
    for _ in range(300):
        q = filter_.update(G, np.zeros(3))
    np.testing.assert_allclose(up_in_sensor(q), [0, 0, 1], atol=0.03)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_poisoned_reading_changes_nothing(poison: float) -> None:
    filter_ = OrientationFilter(RATE_HZ)
    filter_.update(G, np.array([0.1, 0.0, 0.0]))
    before = filter_.state
    filter_.update(np.array([poison, 0.0, 9.81]), np.zeros(3))
    filter_.update(G, np.array([0.0, poison, 0.0]))
    np.testing.assert_array_equal(filter_.state, before)


def test_resumed_equals_continuous() -> None:
    random = np.random.default_rng(1)
    acc, gyr = G + random.normal(size=(200, 3)), random.normal(size=(200, 3))
    whole = track(acc, gyr, RATE_HZ)
    first, second = OrientationFilter(RATE_HZ), OrientationFilter(RATE_HZ)
    for a, g in zip(acc[:120], gyr[:120], strict=True):
        first.update(a, g)
    second.state = first.state
    resumed = [second.update(a, g) for a, g in zip(acc[120:], gyr[120:], strict=True)]
    np.testing.assert_array_equal(resumed, whole[120:])
