"""The default filter, written out in plain floats, against `ahrs`' own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ahrs.filters import Mahony as AhrsMahony

from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import simulate_walk
from talaria_edge.mahony import Mahony
from talaria_edge.orientation import (
    MahonyParams,
    OrientationFilter,
    level_quaternion,
    track,
    up_in_sensor,
    up_of,
)

RATE_HZ = 100.0
CLOSE = 1e-9
Stream = tuple[np.ndarray, np.ndarray, np.ndarray]


class Reference:
    """`ahrs`' filter under the same start, falling gain and averaging, in numpy."""

    def __init__(self, params: MahonyParams) -> None:
        self.params = params
        self.filter = AhrsMahony(k_P=params.gain_per_s, k_I=params.bias_gain_per_s2)
        self.q: np.ndarray | None = None
        self.age_s = 0.0
        self.mean = np.zeros(3)

    def update(self, acc: np.ndarray, gyr: np.ndarray, dt_s: float) -> np.ndarray:
        p = self.params
        if not np.isfinite([*acc, *gyr]).all() or not acc.any():
            return np.array([1.0, 0.0, 0.0, 0.0]) if self.q is None else self.q
        if self.q is None:
            self.q = level_quaternion(acc)
        else:
            left = max(0.0, 1.0 - self.age_s / p.start_s)
            self.filter.k_P = p.gain_per_s + left * (p.start_gain_per_s - p.gain_per_s)
            pull = matrix(self.q).T @ self.mean if p.average_s else acc
            rate = gyr if gyr.any() else np.full(3, 1e-9)
            self.q = np.asarray(self.filter.updateIMU(self.q, gyr=rate, acc=pull, dt=dt_s))
            self.age_s += dt_s
        share = dt_s / max(dt_s, min(p.average_s, 0.25 * (self.age_s + dt_s)))
        self.mean = self.mean + share * (matrix(self.q) @ acc - self.mean)
        return self.q


def matrix(q: np.ndarray) -> np.ndarray:
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def both(stream: Stream, params: MahonyParams) -> tuple[np.ndarray, np.ndarray]:
    ours, theirs = OrientationFilter(RATE_HZ, params), Reference(params)
    rows = [
        (ours.update(a, g, dt), theirs.update(a, g, dt)) for a, g, dt in zip(*stream, strict=True)
    ]
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])


@pytest.fixture(scope="module")
def shaken() -> Stream:
    """Any force and any rate, uneven times, and everything a filter must survive."""
    random = np.random.default_rng(4)
    acc = np.array([0.0, 0.0, 9.81]) + 8 * random.normal(size=(1500, 3))
    gyr = 4 * random.normal(size=(1500, 3))
    acc[0], gyr[0] = np.nan, 0.0
    gyr[100:160] = 0.0
    acc[200] = 0.0
    acc[300, 1] = np.inf
    gyr[400, 2] = np.nan
    return acc, gyr, random.uniform(0.001, 0.03, size=1500)


def test_one_update_is_that_of_ahrs() -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        q = random.normal(size=4)
        q /= np.linalg.norm(q)
        acc, gyr, bias = random.normal(size=(3, 3)) * [[9.0], [5.0], [0.1]]
        gain, bias_gain, dt_s = random.uniform(0.0, [3.0, 0.5, 0.05])
        theirs = AhrsMahony(k_P=gain, k_I=bias_gain)
        theirs.b = bias.copy()
        ours = Mahony(gain, bias_gain)
        ours.bias_rads = tuple(bias.tolist())
        found = ours.update(tuple(q), tuple(acc), tuple(gyr), dt_s)
        np.testing.assert_allclose(found, theirs.updateIMU(q, gyr, acc, dt_s), rtol=0, atol=1e-12)
        np.testing.assert_allclose(ours.bias_rads, theirs.b, rtol=0, atol=1e-12)


def test_without_force_only_the_gyroscope_is_followed() -> None:
    q, gyr = np.array([0.6, 0.0, 0.8, 0.0]), np.array([0.3, -0.2, 0.1])
    theirs, ours = AhrsMahony(k_P=1.0, k_I=0.3), Mahony(1.0, 0.3)
    found = ours.update(tuple(q), (0.0, 0.0, 0.0), tuple(gyr), 0.01)
    np.testing.assert_allclose(found, theirs.updateIMU(q, gyr, np.zeros(3), 0.01), atol=1e-12)
    assert ours.bias_rads == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("average_s", [0.0, 1.5])
def test_a_random_stream_gives_the_attitudes_of_ahrs(shaken: Stream, average_s: float) -> None:
    ours, theirs = both(shaken, MahonyParams(average_s=average_s))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=CLOSE)


def test_a_simulated_walk_gives_the_attitudes_of_ahrs() -> None:
    walk = simulate_walk(seed=3, seconds=15.0)
    for row in range(len(LEG_SLOTS)):
        stream = (walk.acc_ms2[:, row], walk.gyr_rads[:, row], np.diff(walk.t_s, prepend=-0.01))
        ours, theirs = both(stream, MahonyParams())
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=CLOSE)


def test_a_real_walk_gives_the_attitudes_of_ahrs(data_root: Path) -> None:
    capsense = pytest.importorskip("talaria_training.data.capsense")
    (walk,) = capsense.load_capsense(data_root, people={"Sub01"}, conditions={"CSBaseline"})
    acc, gyr = walk.acc_ms2[3000:6000], walk.gyr_rads[3000:6000]
    dt_s = np.full(len(acc), 1.0 / walk.rate_hz)
    for slot in LEG_SLOTS:
        row = walk.slots.index(slot)
        ours, theirs = both((acc[:, row], gyr[:, row], dt_s), MahonyParams())
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=CLOSE)


def test_plain_floats_and_arrays_are_one_filter(shaken: Stream) -> None:
    acc, gyr, dt_s = (values[1:100] for values in shaken)
    arrays, floats = OrientationFilter(RATE_HZ), OrientationFilter(RATE_HZ)
    for a, g, dt in zip(acc, gyr, dt_s, strict=True):
        q = arrays.update(a, g, float(dt))
        assert tuple(q.tolist()) == floats.step(tuple(a.tolist()), tuple(g.tolist()), float(dt))
        np.testing.assert_allclose(up_of(tuple(q.tolist())), up_in_sensor(q), atol=1e-15)


def test_the_bias_that_was_learnt_is_saved_and_forgotten() -> None:
    acc, gyr = np.tile([0.0, 0.0, 9.81], (400, 1)), np.tile([0.05, 0.0, 0.0], (400, 1))
    filter_ = OrientationFilter(RATE_HZ)
    for a, g in zip(acc, gyr, strict=True):
        q = filter_.update(a, g)
    state = filter_.state
    assert state is not None
    assert np.abs(state[8:]).max() > 1e-4
    filter_.reset()
    np.testing.assert_array_equal(
        [filter_.update(a, g) for a, g in zip(acc, gyr, strict=True)][-1], q
    )
    np.testing.assert_array_equal(q, track(acc, gyr, RATE_HZ)[-1])
