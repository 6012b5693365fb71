"""What knows nothing of a sensor: the mean force over the stride, read at the plates' own phase."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from talaria_edge.kinematics import SIDES
from talaria_training.kinetics.force_data import Walk
from talaria_training.kinetics.stances import whole_stances
from talaria_training.kinetics.targets import FORCE_AXES, OUTPUTS

_POINTS = 101
_LONGEST_STRIDE_S = 2.5
_WIDE = len(FORCE_AXES)


def stride_phase(walk: Walk) -> NDArray[np.float64]:
    """Phase 0 to 1 of each foot's stride, shape (T, 2), from landing to landing on its plate.

    NaN outside whole strides. It is read off the very forces to be told, which favours who uses it.
    """
    phase = np.full((len(walk.force_bw), len(SIDES)), np.nan)
    for i in range(len(SIDES)):
        foot = walk.force_bw[:, _WIDE * i : _WIDE * (i + 1)]
        landings = [s.start for s in whole_stances(foot, walk.trial.rate_hz, walk.mass_kg)]
        for a, b in pairwise(landings):
            if b - a < _LONGEST_STRIDE_S * walk.trial.rate_hz:
                phase[a:b, i] = np.arange(b - a) / (b - a)
    return phase


def mean_force(walks: Sequence[Walk]) -> NDArray[np.float64]:
    """Average the forces over the stride of their own foot: shape (101, 6), feet apart, walks by length."""
    total = np.zeros((_POINTS, len(OUTPUTS)))
    count = np.zeros_like(total)
    for walk in walks:
        phase = np.repeat(stride_phase(walk), _WIDE, axis=1)
        for j in range(len(OUTPUTS)):
            known = np.isfinite(phase[:, j]) & np.isfinite(walk.force_bw[:, j])
            at = np.round(phase[known, j] * (_POINTS - 1)).astype(int)
            np.add.at(total[:, j], at, walk.force_bw[known, j])
            np.add.at(count[:, j], at, 1)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def force_at(curve: NDArray[np.float64], walk: Walk) -> NDArray[np.float64]:
    """Read the mean force (101, 6) at a walk's phases, shape (T, 6); NaN where there is no phase."""
    phase = np.repeat(stride_phase(walk), _WIDE, axis=1)
    grid = np.linspace(0.0, 1.0, _POINTS)
    read = [np.interp(phase[:, j], grid, curve[:, j]) for j in range(len(OUTPUTS))]
    return np.where(np.isfinite(phase), np.stack(read, axis=1), np.nan)
