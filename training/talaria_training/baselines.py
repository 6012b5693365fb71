"""What knows nothing of a sensor: the mean curve over the gait cycle, read at a person's own phase."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from talaria_edge.kinematics import ANGLES
from talaria_training.trials import Trial

_CURVE_POINTS = 101
_FOOT_MOVING_RADS = 1.0
_FOOT_OF_SIDE = {"r": 2, "l": 3}


def cycle_phase(features: NDArray[np.float32], foot: int) -> NDArray[np.float64]:
    """Gait phase 0 to 1 of one leg from the moments its foot starts to roll; NaN outside whole strides.

    Looks ahead to the end of the stride, which favours the baseline that uses it.
    """
    rate = np.linalg.norm(features[:, 9 * foot + 3 : 9 * foot + 6], axis=1)
    moving = np.convolve(rate, np.ones(9) / 9, "same") > _FOOT_MOVING_RADS
    starts = np.flatnonzero(np.diff(moving.astype(int)) == 1)
    kept: list[int] = []
    for start in starts:
        if not kept or start - kept[-1] > 60:  # nobody strides in under 0.6 s at these speeds
            kept.append(int(start))
    phase = np.full(len(features), np.nan)
    for a, b in pairwise(kept):
        if b - a < 300:
            phase[a:b] = np.arange(b - a) / (b - a)
    return phase


def mean_curve(trials: Sequence[Trial]) -> NDArray[np.float64]:
    """Mean angle over the gait cycle of its own leg, shape (101, len(ANGLES)), over all given trials."""
    sums = np.zeros((_CURVE_POINTS, len(ANGLES)))
    counts = np.zeros_like(sums)
    for trial in trials:
        for j, joint in enumerate(ANGLES):
            phase = cycle_phase(trial.features, _FOOT_OF_SIDE[joint[-1]])
            known = np.isfinite(phase) & np.isfinite(trial.angles_rad[:, j])
            bins = np.round(phase[known] * (_CURVE_POINTS - 1)).astype(int)
            np.add.at(sums[:, j], bins, trial.angles_rad[known, j])
            np.add.at(counts[:, j], bins, 1)
    return np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)


def curve_at(curve: NDArray[np.float64], features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Read the mean curve at a recording's phases; its overall mean where no phase is known."""
    out = np.tile(curve.mean(axis=0), (len(features), 1))
    for j, joint in enumerate(ANGLES):
        phase = cycle_phase(features, _FOOT_OF_SIDE[joint[-1]])
        known = np.isfinite(phase)
        out[known, j] = np.interp(phase[known], np.linspace(0, 1, _CURVE_POINTS), curve[:, j])
    return out
