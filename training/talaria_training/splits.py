"""Which samples of a person's recordings a study may learn from, and which it is judged on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from talaria_training.trials import Trial

TUNE_END = 0.4
"""Nothing is learned from later than this share of a recording."""
TEST_PART = (0.4, 1.0)
TUNE_PART = (0.0, 0.2)
"""What studies with one budget learn a person from."""
_FEET = (slice(21, 24), slice(30, 33))  # angular rates of both feet among the features
_STEPPING_RADS = 1.5
"""Feet that turn faster than this, both, on average over a second, are walking."""


def walk_start(trial: Trial) -> int:
    """Find the sample at which somebody starts to walk; 0 where nobody is seen to."""
    rates = [np.linalg.norm(trial.features[:, foot], axis=1) for foot in _FEET]
    second = round(trial.rate_hz)
    slower = np.minimum(*(np.convolve(r, np.ones(second) / second, "valid") for r in rates))
    walking = np.flatnonzero(slower > _STEPPING_RADS)
    return int(walking[0]) if len(walking) else 0


def first_walk(trials: Sequence[Trial], seconds: float) -> list[Trial]:
    """Cut the first so many seconds of labelled walking out of one person's recordings.

    Parameters
    ----------
    trials : sequence of Trial
        One person's; those without reference angles are passed over.
    seconds : float
        In all, shared evenly by the recordings. A recording whose first 40 % hold less gives what it has.

    Returns
    -------
    list of Trial
        At most one per recording.
    """
    labelled = [trial for trial in trials if trial.reference != "none"]
    parts = []
    for trial in labelled:
        length = len(trial.features)
        start = walk_start(trial)
        wanted = math.ceil(seconds * trial.rate_hz / len(labelled))
        stop = min(start + wanted, math.floor(TUNE_END * length))
        if stop > start:
            parts.append(trial.part(start / length, stop / length))
    return parts
