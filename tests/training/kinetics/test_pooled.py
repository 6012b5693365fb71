"""What pooled figures hide, and what peaks and impulses are."""

from __future__ import annotations

import numpy as np
import pytest

from talaria_bridge.errors import RecordingError
from talaria_training.kinetics.pooled import cycle_errors, errors, person_mean


def test_one_global_mean_makes_a_predictor_that_knows_nothing_look_good() -> None:
    around = np.linspace(0.0, 2.0 * np.pi, 181)[:-1]
    true = np.stack([10.0 + np.sin(around), 1.0 + np.sin(2.0 * around)], axis=-1)[None]
    knows_levels_alone = np.broadcast_to(true.mean(axis=(0, 1)), true.shape)
    first, second, pooled = errors(true, knows_levels_alone, ("strong", "weak"))
    assert first.r2 == pytest.approx(0.0)
    assert second.r2 == pytest.approx(0.0)
    # Levels 9 apart: variance between 20.25, within 0.5.
    assert pooled.r2 == pytest.approx(20.25 / 20.75)
    assert pooled.rmse == pytest.approx(np.sqrt(0.5))


def test_figures_are_what_they_say_and_gaps_in_the_truth_are_left_out() -> None:
    true = np.array([[[0.0], [2.0], [4.0], [np.nan]]])
    said = np.array([[[1.0], [2.0], [2.0], [9.0]]])
    own, pooled = errors(true, said, ("a",))
    assert own.rmse == pytest.approx(np.sqrt(5.0 / 3.0))
    assert own.mae == pytest.approx(1.0)
    assert own.r2 == pytest.approx(1.0 - 5.0 / 8.0)
    assert (pooled.output, pooled.rmse) == ("pooled", own.rmse)


def test_a_truth_that_does_not_vary_has_no_r2() -> None:
    assert errors(np.ones((2, 3, 1)), np.zeros((2, 3, 1)), ("a",))[0].r2 is None


def test_every_person_counts_once() -> None:
    true = np.zeros((4, 2, 1)) + np.array([0.0, 1.0])[None, :, None]
    said = true + np.array([1.0, 1.0, 1.0, 3.0])[:, None, None]
    mean = person_mean(true, said, ["a", "a", "a", "b"], ("x",))[0]
    assert mean.rmse == pytest.approx(2.0)
    assert mean.r2 == pytest.approx((1.0 - 4.0 + 1.0 - 36.0) / 2.0)


def test_peaks_and_impulses_are_per_cycle_and_in_seconds() -> None:
    ramp = np.linspace(0.0, 1.0, 101)
    true = np.stack([2.0 * ramp, 4.0 * ramp])[..., None]
    said = np.stack([3.0 * ramp, 4.0 * ramp - 0.5])[..., None]
    plain = cycle_errors(true, said, ("a",))[0]
    assert (plain.peak_mae, plain.trough_mae) == (pytest.approx(0.75), pytest.approx(0.25))
    assert plain.impulse_mae == pytest.approx(0.5)
    timed = cycle_errors(true, said, ("a",), np.array([2.0, 1.0]))[0]
    assert timed.impulse_mae == pytest.approx((1.0 + 0.5) / 2.0)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(RecordingError, match="cannot be scored against"):
        errors(np.zeros((2, 3, 1)), np.zeros((2, 4, 1)), ("a",))
    with pytest.raises(RecordingError, match="Nothing is known of a"):
        errors(np.full((2, 3, 1), np.nan), np.zeros((2, 3, 1)), ("a",))
