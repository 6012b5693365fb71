"""What-if in numbers, and the simple fillers models are measured against."""

from __future__ import annotations

import numpy as np
import pytest

from talaria_edge.generate.motion import CHANNELS, RATE_HZ, WINDOW, Conditions
from talaria_training.generate.simple_fill import KINEMATIC, MeanCurve, regression, stride_phase
from talaria_training.generate.whatif import effects, numbers_of, stiff_knee
from talaria_training.generate.windows import Windows

_STRIDE_HZ = 0.8


def _window(seed: int = 0, gain: float = 1.0) -> np.ndarray:
    """A window in which everything swings at the stride's rate, right foot down in its first half."""
    rng = np.random.default_rng(seed)
    phase = (np.arange(WINDOW) / RATE_HZ * _STRIDE_HZ + rng.random()) % 1.0
    values = np.empty((WINDOW, len(CHANNELS)), np.float32)
    for i, name in enumerate(CHANNELS):
        mine = (phase + 0.5 * name.endswith("_l")) % 1.0
        values[:, i] = gain * 0.3 * np.sin(2 * np.pi * mine + i)
        if name.startswith("grf_"):
            values[:, i] = np.where(mine < 0.6, np.sin(np.pi * mine / 0.6), 0.0)
    return values


def _windows(count: int) -> Windows:
    values = np.stack([_window(i) for i in range(count)])
    numbers = np.tile(np.array([1.0, _STRIDE_HZ, 1.7, 70.0], np.float32), (count, 1))
    names = np.array([f"p{i}" for i in range(count)])
    zero = np.zeros(count, np.int64)
    return Windows(values, numbers, zero, names, names, zero)


def test_phase_begins_where_the_foot_lands() -> None:
    values = _window()
    phase = stride_phase(values, _STRIDE_HZ)
    force = values[:, CHANNELS.index("grf_vertical_r")]
    landing = int(np.flatnonzero((force[1:] > 0.05) & (force[:-1] <= 0.05))[0]) + 1
    assert phase[landing, 0] == 0.0
    apart = (phase[:, 0] - phase[:, 1]) % 1.0
    np.testing.assert_allclose(apart, 0.5, atol=0.03)
    assert np.isnan(stride_phase(values, float("nan"))).all()
    values[:, CHANNELS.index("grf_vertical_l")] = np.nan  # then it is half a stride from the other
    np.testing.assert_allclose(stride_phase(values, _STRIDE_HZ)[:, 1], (phase[:, 0] + 0.5) % 1.0)


def test_a_mean_curve_tells_what_repeats() -> None:
    windows = _windows(30)
    new = _window(99)
    said = MeanCurve.of(windows).at(new, _STRIDE_HZ, 0)
    assert np.abs(said - new)[:, : len(CHANNELS) - 6].max() < 0.1


def test_a_regression_tells_a_joint_from_the_others() -> None:
    gone = [CHANNELS.index("knee_angle_r")]
    given = [c for c in KINEMATIC if c not in gone]
    fitted = regression(_windows(20), given, gone)
    new = _window(99)
    hidden = new.copy()
    hidden[:, gone] = np.nan  # it must not look
    assert np.abs(fitted.at(hidden) - new[:, gone]).max() < 0.05


def test_effects_tell_size_and_direction() -> None:
    before = [np.stack([_window(i)] * 3) for i in range(5)]
    after = [np.stack([_window(i, gain=1.5)] * 3) for i in range(5)]
    found = {effect.what: effect for effect in effects(before, after)}
    assert found["knee, range, right"].percent == pytest.approx(50.0, abs=0.5)
    assert found["knee, range, right"].low > 0
    assert found["peak vertical force, left"].percent == pytest.approx(0.0, abs=1e-6)


def test_numbers_that_nobody_measured_are_left_out() -> None:
    values = _window()
    values[:, CHANNELS.index("grf_vertical_r") :] = np.nan
    values[:, [CHANNELS.index(f"grf_{a}_r") for a in ("anterior", "lateral")]] = np.nan
    assert np.isnan(numbers_of(values)["peak vertical force, right"][0])
    assert all("force" not in effect.what for effect in effects([values[None]], [values[None]]))


def test_samples_are_compared_one_by_one() -> None:
    """Two samples of one window, out of step: the peak of their mean is lower than both of theirs."""
    samples = np.stack([_window(), np.roll(_window(), WINDOW // 4, axis=0)])
    assert numbers_of(samples.mean(axis=0))["peak vertical force, right"][0] < 0.9
    found = {effect.what: effect for effect in effects([samples], [samples])}
    same = found["peak vertical force, right"]
    assert same.before == same.after == pytest.approx(1.0, abs=1e-3)
    assert same.low == same.high == 0.0


_WHO = Conditions(1.0, _STRIDE_HZ, 1.7, 70.0, "walking")
_MOMENT = "peak hip extension moment, right"


def _standing_steps(load_bw: float) -> np.ndarray:
    """A body upright, whose right foot carries a load for 0.8 s."""
    values = np.zeros((WINDOW, len(CHANNELS)), np.float32)
    values[30:110, CHANNELS.index("grf_vertical_r")] = load_bw
    return values


def test_moments_are_told_before_and_after_of_who_has_a_height() -> None:
    light, heavy = _standing_steps(0.6)[None], _standing_steps(1.2)[None]
    effect = {e.what: e for e in effects([light], [heavy], [(_WHO, _WHO)])}[_MOMENT]
    assert effect.unit == "N·m/kg"
    assert effect.percent == pytest.approx(100.0, abs=1.0)
    assert effect.low == effect.high == pytest.approx(effect.after - effect.before)
    assert effect.before == pytest.approx(numbers_of(light[0], _WHO)[_MOMENT][0])
    assert all("moment" not in e.what for e in effects([light], [heavy]))


def test_a_window_without_a_stance_on_either_side_of_the_change_counts_on_neither() -> None:
    light, heavy = _standing_steps(0.6), _standing_steps(1.2)
    cut = np.roll(heavy, WINDOW - 110 + 20, axis=0)  # its stance runs over the end
    before, after = np.stack([light, heavy]), np.stack([heavy, cut])
    effect = {e.what: e for e in effects([before], [after], [(_WHO, _WHO)])}[_MOMENT]
    assert effect.before == pytest.approx(numbers_of(light, _WHO)[_MOMENT][0])
    assert effect.after == pytest.approx(numbers_of(heavy, _WHO)[_MOMENT][0])


def test_what_becomes_a_run_has_no_moments() -> None:
    steps = _standing_steps(0.6)[None]
    running = Conditions(3.0, np.nan, 1.7, 70.0)
    assert all("moment" not in e.what for e in effects([steps], [steps], [(_WHO, running)]))


def test_a_stiff_knee_bends_by_the_share_asked_for() -> None:
    values = _window()
    held = stiff_knee(values, 0.3, ("r",))
    assert list(held) == ["knee_angle_r"]
    was = values[:, CHANNELS.index("knee_angle_r")]
    assert held["knee_angle_r"].min() == pytest.approx(was.min())  # straight stays as straight
    assert np.ptp(held["knee_angle_r"]) == pytest.approx(0.3 * np.ptp(was), rel=1e-5)
