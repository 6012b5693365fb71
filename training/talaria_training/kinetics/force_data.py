"""Features of a walk beside the forces under both feet, as networks learn them and are judged on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talaria_edge.kinematics import ANGLES, SIDES
from talaria_training.data.recording import Recording
from talaria_training.kinetics.targets import OUTPUTS, force_trial
from talaria_training.splits import TUNE_END, walk_start
from talaria_training.trials import Trial

VERTICAL = [OUTPUTS.index(f"grf_vertical_{side}") for side in SIDES]
"""Columns of the vertical forces, right and left."""
CARRIED = [
    ANGLES.index(f"{angle}_{side}")
    for side in SIDES
    for angle in ("hip_flexion", "hip_adduction", "hip_rotation")
]
"""Columns of a trial's angles in which `carried` puts the forces, in the order of `OUTPUTS`."""


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """One recording with force plates, as a force network sees it.

    Attributes
    ----------
    trial : Trial
        Inputs; its angles are of no account here.
    force_bw : ndarray of float32, shape (T, 6)
        Columns `OUTPUTS`, body weights; NaN where no plate can be trusted.
    mass_kg : float
    """

    trial: Trial
    force_bw: NDArray[np.float32]
    mass_kg: float

    @property
    def person(self) -> str:
        """Whose it is."""
        return self.trial.person

    @property
    def rate_hz(self) -> float:
        """Of the sensors, and so of the forces here."""
        return self.trial.rate_hz

    def part(self, start: float, stop: float) -> Walk:
        """Cut out the samples between two fractions of the walk's length."""
        n = len(self.force_bw)
        cut = slice(round(start * n), round(stop * n))
        return replace(self, trial=self.trial.part(start, stop), force_bw=self.force_bw[cut])


def walks_of(trials: Sequence[Trial], recordings: Sequence[Recording]) -> list[Walk]:
    """Set measured forces beside the trials of those recordings whose plates can be used."""
    by_name = {recording.name: recording for recording in recordings}
    found = []
    for trial in trials:
        force = force_trial(by_name[trial.name], None)
        if force is not None and np.isfinite(force.force_bw).any():
            found.append(Walk(trial, force.force_bw, force.mass_kg))
    return found


def carried(walk: Walk, delay: int) -> Trial:
    """Put the forces of `delay` samples ago in a trial's columns of hip angles.

    What cuts, mirrors and turns windows of angles then does the same to forces: a hip's three angles
    change places with the other hip's just as a foot's three forces do, and no sign changes.
    """
    force = np.full((len(walk.force_bw), len(ANGLES)), np.nan, np.float32)
    force[delay:, CARRIED] = walk.force_bw[: len(walk.force_bw) - delay]
    return replace(walk.trial, angles_rad=force)


def first_forces(walks: Sequence[Walk], seconds: float) -> list[Walk]:
    """Cut the first so many seconds of walking on plates out of one person's recordings.

    Parameters
    ----------
    walks : sequence of Walk
        One person's.
    seconds : float
        In all, shared evenly by the recordings, within the first 40 % of each.
    """
    parts = []
    for walk in walks:
        length = len(walk.force_bw)
        start = walk_start(walk.trial)
        wanted = math.ceil(seconds * walk.trial.rate_hz / len(walks))
        stop = min(start + wanted, math.floor(TUNE_END * length))
        if stop > start:
            parts.append(walk.part(start / length, stop / length))
    return parts
