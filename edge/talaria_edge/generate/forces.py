"""Forces under both feet: a network that tells them from kinematics, and feet in the air that carry none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, maximum

from talaria_edge.generate.contract import KINEMATICS, ForceSpec, SayForces
from talaria_edge.generate.motion import (
    CHANNELS,
    FORCES,
    WINDOW,
    Conditions,
    columns,
    mirrored,
)
from talaria_edge.generate.sampler import Floats
from talaria_edge.kinematics import SIDES
from talaria_edge.stances import FORCE_AXES

Bools = NDArray[np.bool_]

_STRIDE = WINDOW // 2
_AT_ONCE = 32
_KINEMATIC = columns(KINEMATICS)
_AIR_BW = 0.03
"""Less than this is no load: plates count as loaded from 20 N, which is 0.03 of most people's weight."""
_STANDS_BW = 0.1
"""What never reaches this while it is more than that is no step: a step passes it within 0.03 s."""
_ALONG_TIME = np.zeros((3, 3), int)
_ALONG_TIME[1] = 1


class ForceNetwork:
    """A network that tells the forces under both feet from kinematics, whole or with gaps.

    Parameters
    ----------
    say : SayForces
    spec : ForceSpec
    """

    def __init__(self, say: SayForces, spec: ForceSpec) -> None:
        self._say = say
        self._scale = spec.scale

    def __call__(self, values: NDArray[np.floating], conditions: Sequence[Conditions]) -> Floats:
        """Tell the forces of recordings of one length, `WINDOW` or more.

        Parameters
        ----------
        values : ndarray, shape (B, T, len(CHANNELS))
            In the channels' units, NaN where not known; forces are not looked at.
        conditions : sequence of Conditions
            One per recording.

        Returns
        -------
        ndarray of float32, shape (B, T, len(FORCES))
            In body weights. Windows overlap by half and are faded into each other; told of the recordings and
            of their mirror images, whose mean it is.
        """
        other = np.zeros(values.shape, np.float32)
        at = columns(FORCES)
        other[..., at] = self._tell(mirrored(values), [one.mirrored() for one in conditions])
        both = (self._tell(values, conditions) + mirrored(other)[..., at]) / 2
        return both.astype(np.float32)

    def _tell(self, values: NDArray[np.floating], conditions: Sequence[Conditions]) -> Floats:
        length = values.shape[1]
        known = np.isfinite(values[..., _KINEMATIC])
        given = np.where(known, self._scale.normalised(values)[..., _KINEMATIC], 0.0)
        ramp = np.minimum(np.arange(WINDOW), np.arange(WINDOW)[::-1])[:, None] + 1.0
        total, weight = np.zeros((len(values), length, len(FORCES))), np.zeros((length, 1))
        for start in window_starts(length):
            span = slice(start, start + WINDOW)
            said = self._window(given[:, span], known[:, span], conditions)
            total[:, span] += ramp * said
            weight[span] += ramp
        at = columns(FORCES)
        told: Floats = (total / weight * self._scale.std[at] + self._scale.mean[at]).astype(
            np.float32
        )
        return told

    def _window(
        self, given: NDArray[np.floating], known: Bools, conditions: Sequence[Conditions]
    ) -> Floats:
        parts = []
        for first in range(0, len(given), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            asked = self._scale.asked_of(conditions[some])
            shown = (given[some].astype(np.float32), known[some].astype(np.float32))
            parts.append(self._say(*shown, asked.numbers, asked.numbers_known, asked.style))
        return np.concatenate(parts)


def window_starts(length: int) -> list[int]:
    """First samples of windows that overlap by half and end with the recording."""
    return [*range(0, length - WINDOW, _STRIDE), length - WINDOW]


def lifted(values: Floats, known: Bools) -> Floats:
    """Take the forces off feet that are in the air.

    Whatever draws gait leaves some hundredths of a body weight under a swinging foot, up and down, in no
    step. A foot is on the ground while its vertical force is above 0.03 of a body weight, if it passes 0.1
    meanwhile or the recording begins or ends there.

    Parameters
    ----------
    values : ndarray, shape (B, T, len(CHANNELS))
    known : ndarray of bool, shape (B, T, len(CHANNELS))
        What was measured, and stays.

    Returns
    -------
    ndarray, shape (B, T, len(CHANNELS))
    """
    clean = values.copy()
    for side in SIDES:
        vertical = values[..., CHANNELS.index(f"grf_vertical_{side}")]
        air = ~_on_ground(vertical)
        for axis in FORCE_AXES:
            at = CHANNELS.index(f"grf_{axis}_{side}")
            clean[..., at][air & ~known[..., at]] = 0.0
    return clean


def _on_ground(vertical: Floats) -> Bools:
    """Tell when feet stand, shape (B, T)."""
    # The first and the last sample stand for what may have come before and may follow.
    peak = vertical.copy()
    peak[:, [0, -1]] = np.inf
    run, count = label(vertical > _AIR_BW, _ALONG_TIME)
    tops = np.array([0.0, *maximum(peak, run, np.arange(1, count + 1))])
    stands: Bools = tops[run] > _STANDS_BW
    return stands
