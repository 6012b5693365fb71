"""How the people of a training set usually walk: mean and spread of each angle over the gait cycle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from talaria_edge.dashboard.band import BAND_POINTS
from talaria_edge.gait import SIDES
from talaria_edge.kinematics import ANGLES
from talaria_training.networks import GAIT_CLASSES
from talaria_training.train import class_of
from talaria_training.trials import Trial

_USUAL = GAIT_CLASSES.index("walking")


def normal_band(trials: Sequence[Trial]) -> dict[str, dict[str, list[float]]]:
    """Average whole strides of unhindered walking.

    Parameters
    ----------
    trials : sequence of Trial
        Those that are not plain walking are left out, as are strides no force plate bounds.

    Returns
    -------
    dict of OpenSim name to {"mean_deg": 101 floats, "sd_deg": 101 floats}
        Both legs pooled, so that no angle has a left and a right norm. People count alike; the spread
        is that of a stride of a person taken at random. Empty without strides.
    """
    band: dict[str, dict[str, list[float]]] = {}
    for joint in dict.fromkeys(name[:-2] for name in ANGLES):
        people = _strides(trials, joint)
        if not people:
            continue
        means = np.array([strides.mean(axis=0) for strides in people])
        within = np.mean([strides.var(axis=0) for strides in people], axis=0)
        curve = {
            "mean_deg": np.degrees(means.mean(axis=0)).round(2).tolist(),
            "sd_deg": np.degrees(np.sqrt(means.var(axis=0) + within)).round(2).tolist(),
        }
        band |= {f"{joint}_{side}": curve for side in SIDES}
    return band


def _strides(trials: Sequence[Trial], joint: str) -> list[NDArray[np.float64]]:
    """Strides of each person, shape (N, 101), rad."""
    found: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for trial in trials:
        if class_of(trial.condition) != _USUAL:
            continue
        for column, side in enumerate(SIDES):
            angle = trial.angles_rad[:, ANGLES.index(f"{joint}_{side}")]
            for rows in _whole(trial.cycle[:, column]):
                if np.isfinite(angle[rows]).all():
                    grid = np.linspace(0.0, 1.0, BAND_POINTS)
                    found[trial.person].append(
                        np.interp(grid, trial.cycle[rows, column], angle[rows])
                    )
    return [np.array(strides) for strides in found.values()]


def _whole(cycle: NDArray[np.float32]) -> Iterator[slice]:
    """Sample ranges of whole strides."""
    starts = np.flatnonzero(np.diff(cycle, prepend=np.nan) < 0)
    for a, b in pairwise(starts.tolist()):
        if np.isfinite(cycle[a:b]).all():
            yield slice(a, b)
