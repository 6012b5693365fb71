"""How fast each sensor's heading drifts away from the others', found while the wearer moves.

Without a magnetometer every filter's world turns slowly about the vertical. Nothing downstream uses
absolute heading, so nothing is corrected here: the rate is a symptom, of a gyroscope whose bias was
not removed or of a filter that is too strong, and is written down for whoever reads the recording.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeadingParams:
    """How headings are compared.

    Attributes
    ----------
    settle_s : float
        What filters do this soon after a start is no drift.
    block_s : float
        A heading is the mean over this long, some seven strides, so that what a leg does within a
        stride is averaged out.
    window_s : float
        The drift is the mean over this long.
    level : float
        A flexion axis whose mean is less horizontal than this (1 is level and steady) has no heading.
    jump_rad : float
        A heading that changes by more than this within a block did not drift: the filter began anew.
    """

    settle_s: float = 5.0
    block_s: float = 10.0
    window_s: float = 120.0
    level: float = 0.3
    jump_rad: float = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class HeadingState:
    """Everything a `HeadingDrift` carries.

    Attributes
    ----------
    axis_sum : ndarray, shape (S, 2)
        Sum of the level parts of the flexion axes over the block so far.
    count : int
        Ticks in it; negative while the filters settle.
    heading_rad : ndarray, shape (S,)
        Headings of the last whole block; NaN where there was none.
    steps_rad : ndarray, shape (N, S)
        Changes from block to block within the window, oldest first.
    """

    axis_sum: FloatArray
    count: int
    heading_rad: FloatArray
    steps_rad: FloatArray


class HeadingDrift:
    """Slow changes of the flexion axes' headings, one tick at a time.

    Parameters
    ----------
    rate_hz : float
    sensors : int
        How many, S.
    params : HeadingParams, optional

    Notes
    -----
    A walker who turns takes all sensors along, so each is measured against the median of all. What
    the median does itself, `common_rads`, is the walker's turning and whatever drift all sensors share:
    on a treadmill only the latter.
    """

    def __init__(self, rate_hz: float, sensors: int, params: HeadingParams | None = None) -> None:
        self._params = params or HeadingParams()
        self._block = max(1, round(self._params.block_s * rate_hz))
        self._settle = round(self._params.settle_s * rate_hz)
        self._rows = max(1, round(self._params.window_s / self._params.block_s))
        self._sensors = sensors
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        nothing = np.full(self._sensors, math.nan)
        self.state = HeadingState(
            np.zeros((self._sensors, 2)), -self._settle, nothing, np.empty((0, self._sensors))
        )

    @property
    def state(self) -> HeadingState:
        """Save, and assign back to resume."""
        return HeadingState(
            np.array(self._axis_sum), self._count, self._heading_rad.copy(), self._steps_rad.copy()
        )

    @state.setter
    def state(self, value: HeadingState) -> None:
        self._axis_sum: list[list[float]] = value.axis_sum.tolist()
        self._count = value.count
        self._heading_rad = value.heading_rad.copy()
        self._steps_rad = value.steps_rad.copy()

    def update(self, q_world_segment: FloatArray) -> None:
        """Take in one tick.

        Parameters
        ----------
        q_world_segment : ndarray, shape (S, 4)
            Scalar-first attitudes; the segments' z is the flexion axis. A row that is not finite makes
            that sensor sit out one block.
        """
        self._count += 1
        if self._count <= 0:
            return
        # On four rows of four numbers plain floats take a quarter of what numpy takes.
        for row, (w, x, y, z) in zip(self._axis_sum, q_world_segment.tolist(), strict=True):
            row[0] += 2.0 * (x * z + w * y)
            row[1] += 2.0 * (y * z - w * x)
        if self._count == self._block:
            self._close_block()

    def _close_block(self) -> None:
        mean = np.array(self._axis_sum) / self._count
        level = np.linalg.norm(mean, axis=1) > self._params.level  # not so where it is NaN
        heading = np.where(level, np.arctan2(mean[:, 1], mean[:, 0]), math.nan)
        step = _wrapped(heading - self._heading_rad)
        jumped = np.abs(_wrapped(step - _median(step))) > self._params.jump_rad
        step = np.where(jumped, math.nan, step)
        self._steps_rad = np.vstack([self._steps_rad, step])[-self._rows :]
        self._heading_rad = heading
        self._axis_sum = [[0.0, 0.0] for _ in self._axis_sum]
        self._count = 0

    @property
    def drift_rads(self) -> FloatArray:
        """Drift of each sensor against the median of all, shape (S,); NaN while unknown."""
        own = [_wrapped(step - _median(step)) for step in self._steps_rad]
        return np.array([_mean(column) for column in np.reshape(own, (-1, self._sensors)).T]) / (
            self._params.block_s
        )

    @property
    def common_rads(self) -> float:
        """Turning of the median sensor; NaN while unknown."""
        return _mean(np.array([_median(step) for step in self._steps_rad])) / self._params.block_s


def _wrapped(angle_rad: FloatArray) -> FloatArray:
    return np.asarray((angle_rad + math.pi) % (2.0 * math.pi) - math.pi)


def _mean(values: FloatArray) -> float:
    """Mean of what is finite; NaN of nothing, without numpy's warning."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _median(angle_rad: FloatArray) -> float:
    """Median of what is finite, taken around the first of them, so that ±180° is no edge."""
    known = angle_rad[np.isfinite(angle_rad)]
    if not known.size:
        return math.nan
    return float(known[0] + np.median(_wrapped(known - known[0])))
