"""What the orientation filters promise, by physics rather than by their own formulas."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import ConfigError
from talaria_bridge.simulator import simulate_walk
from talaria_edge.orientation import (
    PARAMS,
    EkfParams,
    MadgwickParams,
    MahonyParams,
    OrientationFilter,
    Params,
    VqfParams,
    level_quaternion,
    make_filter,
    track,
    up_in_sensor,
)

RATE_HZ = 100.0
G = np.array([0.0, 0.0, 9.81])
PLAIN = MadgwickParams(gain_rads=0.033, average_s=0.0)


@pytest.fixture(params=[*PARAMS, "plain"])
def params(request: pytest.FixtureRequest) -> Params:
    """Every kind of filter, and one that does not average."""
    if request.param == "vqf":
        pytest.importorskip("vqf", reason="the optional vqf is not installed")
    return PLAIN if request.param == "plain" else PARAMS[request.param]()


def tilt_deg(q: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Angle between where the filter says up is and where it is."""
    return np.rad2deg(np.arccos(np.clip((up_in_sensor(q) * up).sum(axis=-1), -1, 1)))


@pytest.mark.parametrize("acc", [G, -G, [9.81, 0, 0], [3.0, -4.0, 8.0]])
def test_first_reading_levels_the_sensor(acc: object, params: Params) -> None:
    acc_ms2 = np.array(acc, dtype=float)
    up = acc_ms2 / np.linalg.norm(acc_ms2)
    np.testing.assert_allclose(up_in_sensor(level_quaternion(acc_ms2)), up, atol=1e-9)
    q = OrientationFilter(RATE_HZ, params).update(acc_ms2, np.zeros(3))
    np.testing.assert_allclose(up_in_sensor(q), up, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quarter_turn_is_followed_about_every_axis(params: Params, axis: int) -> None:
    way = np.eye(3)[axis] * np.pi / 2  # a quarter turn within the second
    tilted = Rotation.from_rotvec([0.3, -0.2, 0.1])
    turned = tilted * Rotation.from_rotvec(np.outer(np.arange(101) / 100, way))
    acc = turned.inv().apply(G)
    rate = np.vstack([np.zeros(3), np.tile(way, (100, 1))])
    q = track(acc, rate, RATE_HZ, params)
    assert tilt_deg(q, acc / 9.81).max() < 2.0  # Madgwick trembles by its gain


def test_zero_rate_does_not_freeze_a_wrong_attitude(params: Params) -> None:
    filter_ = OrientationFilter(RATE_HZ, params)
    filter_.update(np.array([4.0, 0.0, 9.0]), np.zeros(3))  # 24 degrees off
    for _ in range(3000):
        q = filter_.update(G, np.zeros(3))
    np.testing.assert_allclose(up_in_sensor(q), [0, 0, 1], atol=0.01)


def test_a_start_in_full_swing_is_worked_off_within_three_seconds(params: Params) -> None:
    filter_ = OrientationFilter(RATE_HZ, params)
    filter_.update(np.array([5.0, 0.0, 8.4]), np.zeros(3))  # a shock, 30 degrees off
    for _ in range(300):
        q = filter_.update(G, np.zeros(3))
    np.testing.assert_allclose(up_in_sensor(q), [0, 0, 1], atol=0.03)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_poisoned_reading_changes_nothing(poison: float, params: Params) -> None:
    filter_ = OrientationFilter(RATE_HZ, params)
    for _ in range(3):
        q = filter_.update(G, np.array([0.1, 0.0, 0.0]))
    before = filter_.state
    for acc, gyr, dt_s in (
        (np.array([poison, 0.0, 9.81]), np.zeros(3), None),
        (G, np.array([0.0, poison, 0.0]), None),
        (np.zeros(3), np.zeros(3), None),
        (G, np.ones(3), poison),
        (G, np.ones(3), 0.0),
        (G, np.ones(3), -0.01),
    ):
        np.testing.assert_array_equal(filter_.update(acc, gyr, dt_s), q)
    np.testing.assert_array_equal(filter_.state, before)


def test_poison_as_the_very_first_reading_is_waited_out(params: Params) -> None:
    filter_ = OrientationFilter(RATE_HZ, params)
    np.testing.assert_array_equal(filter_.update(np.full(3, np.nan), np.zeros(3)), [1, 0, 0, 0])
    assert filter_.state is None
    np.testing.assert_allclose(
        up_in_sensor(filter_.update(np.array([9.81, 0, 0]), np.zeros(3))), [1, 0, 0], atol=1e-6
    )


@pytest.fixture(scope="module")
def shaken() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return G + 3 * random.normal(size=(200, 3)), random.normal(size=(200, 3))


def test_resumed_equals_continuous(shaken: tuple[np.ndarray, np.ndarray], params: Params) -> None:
    acc, gyr = shaken
    whole = track(acc, gyr, RATE_HZ, params)
    first, second = OrientationFilter(RATE_HZ, params), OrientationFilter(RATE_HZ, params)
    for a, g in zip(acc[:120], gyr[:120], strict=True):
        first.update(a, g)
    second.state = first.state
    resumed = [second.update(a, g) for a, g in zip(acc[120:], gyr[120:], strict=True)]
    np.testing.assert_array_equal(resumed, whole[120:])
    # What has been saved is not what goes on: the first filter is where it was.
    after = [first.update(a, g) for a, g in zip(acc[120:], gyr[120:], strict=True)]
    np.testing.assert_array_equal(after, whole[120:])


def test_reset_forgets_everything(shaken: tuple[np.ndarray, np.ndarray], params: Params) -> None:
    acc, gyr = shaken
    filter_ = OrientationFilter(RATE_HZ, params)
    for _ in range(2):
        q = [filter_.update(a, g) for a, g in zip(acc, gyr, strict=True)]
        filter_.reset()
        assert filter_.state is None
    np.testing.assert_array_equal(q, track(acc, gyr, RATE_HZ, params))


def test_the_time_between_readings_is_the_one_given(params: Params) -> None:
    way = np.array([np.pi / 2, 0.0, 0.0])
    filter_ = OrientationFilter(RATE_HZ, params)
    filter_.update(G, np.zeros(3))
    t_s = 0.0
    for dt_s in np.tile([0.005, 0.015, 0.02, 0.01], 20):
        t_s += dt_s
        up = Rotation.from_rotvec(way * t_s).inv().apply([0.0, 0.0, 1.0])
        q = filter_.update(9.81 * up, way, float(dt_s))
    assert t_s == pytest.approx(1.0)
    assert tilt_deg(q, up) < 2.0


@pytest.mark.parametrize("name", ["mahony", "ekf"])
def test_mahony_and_the_kalman_filter_do_not_care_how_a_sensor_is_turned(name: str) -> None:
    walk = simulate_walk(seed=5, seconds=8.0)
    acc, gyr = walk.acc_ms2[:, 2], walk.gyr_rads[:, 2]
    up = up_in_sensor(track(acc, gyr, walk.rate_hz, PARAMS[name]()))
    for mounting in Rotation.random(3, random_state=2):
        q = track(mounting.apply(acc), mounting.apply(gyr), walk.rate_hz, PARAMS[name]())
        assert tilt_deg(q, mounting.apply(up)).max() < 1e-3


def test_averaging_keeps_the_accelerations_of_a_stride_out_of_the_vertical() -> None:
    """A sensor kept level and shaken to and fro at stride pace, as a foot is, once a second by 1 g."""
    t_s = np.arange(2000) / RATE_HZ
    acc = np.tile(G, (2000, 1))
    acc[:, 0] += 9.81 * np.sin(2 * np.pi * t_s)
    gyr = np.zeros((2000, 3))
    worst = {
        average_s: tilt_deg(track(acc, gyr, RATE_HZ, MahonyParams(average_s=average_s)), G / 9.81)[
            500:
        ].max()
        for average_s in (0.0, 1.5)
    }
    assert worst[0.0] > 3.0
    assert worst[1.5] < 1.0


def test_mahony_learns_the_bias_of_the_gyroscope() -> None:
    bias = np.deg2rad([2.0, -1.0, 0.0])
    acc, gyr = np.tile(G, (6000, 1)), np.tile(bias, (6000, 1))
    error = {
        gain: tilt_deg(track(acc, gyr, RATE_HZ, MahonyParams(bias_gain_per_s2=gain))[-1], G / 9.81)
        for gain in (MahonyParams().bias_gain_per_s2, 1e-6)
    }
    assert error[MahonyParams().bias_gain_per_s2] < 0.3
    assert error[1e-6] > 3.0


@pytest.mark.parametrize("name", PARAMS)
def test_filters_are_made_by_name(name: str) -> None:
    if name == "vqf":
        pytest.importorskip("vqf", reason="the optional vqf is not installed")
    q = make_filter(name, RATE_HZ).update(G, np.zeros(3))
    np.testing.assert_allclose(q, [1, 0, 0, 0], atol=1e-9)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'kalman': choose from madgwick, mahony, ekf, vqf"):
        make_filter("kalman", RATE_HZ)


def test_the_parameters_of_another_filter_are_refused() -> None:
    with pytest.raises(ConfigError, match="'mahony' cannot use EkfParams: give it MahonyParams"):
        make_filter("mahony", RATE_HZ, EkfParams())


def test_vqf_not_installed_is_one_sentence_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "vqf", None)
    with pytest.raises(ConfigError, match=r"not installed: .*talaria\[vqf\].*or choose madgwick"):
        OrientationFilter(RATE_HZ, VqfParams())
