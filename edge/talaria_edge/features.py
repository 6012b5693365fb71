"""From calibrated readings to the network's input: the only place it is computed, live or offline.

Everything here is free of heading: two 6-axis filters share none. The left leg is mirrored into the
right leg's frame, so one set of weights serves both and swapping the legs is a valid augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import Calibration
from talaria_edge.orientation import OrientationFilter, up_in_sensor
from talaria_edge.spec import Channel

FloatArray = NDArray[np.float64]

FEATURE_VERSION = 2
"""Raise it whenever a number below changes: a model trained on other features is then refused."""

_AXES = ("x", "y", "z")
_MIRROR_VECTOR = np.array([1.0, 1.0, -1.0])  # a polar vector through the sagittal plane: z turns
_MIRROR_ROTATION = np.array([-1.0, -1.0, 1.0])  # an axial vector: x and y turn


def channels(slots: Sequence[str] = LEG_SLOTS) -> tuple[Channel, ...]:
    """Name the feature channels: per slot specific force, angular rate, world up; then who is there."""
    per_slot = (("acc", "m/s^2"), ("gyr", "rad/s"), ("up", "1"))
    motion = tuple(
        Channel(name=f"{slot}.{kind}_{axis}", unit=unit, frame="segment, left mirrored")
        for slot in slots
        for kind, unit in per_slot
        for axis in _AXES
    )
    return motion + tuple(Channel(name=f"{s}.present", unit="1", frame="none") for s in slots)


@dataclass(frozen=True, slots=True)
class SegmentState:
    """The legs at one tick, in segment frames (not mirrored).

    Attributes
    ----------
    acc_ms2, gyr_rads, up : ndarray, shape (S, 3)
        Specific force, angular rate with the bias removed, world up as a unit vector.
    """

    acc_ms2: FloatArray
    gyr_rads: FloatArray
    up: FloatArray


class FeatureStage:
    """Calibrated segment motion and features, one tick at a time.

    Parameters
    ----------
    rate_hz : float
        Tick rate.
    calibration : Calibration
        Must hold every slot of `slots`.
    slots : sequence of str
        Order of the rows given to `update`.

    Raises
    ------
    CalibrationError
        If the calibration lacks a slot.
    """

    def __init__(
        self, rate_hz: float, calibration: Calibration, slots: Sequence[str] = LEG_SLOTS
    ) -> None:
        self.slots = tuple(slots)
        self._to_segment, self._bias_rads = calibration.stacked(self.slots)
        self._filters = [OrientationFilter(rate_hz) for _ in self.slots]
        self._rate_hz = rate_hz
        left = np.array([slot.endswith("_l") for slot in self.slots])[:, None]
        vector = np.where(left, _MIRROR_VECTOR, 1.0)
        rotation = np.where(left, _MIRROR_ROTATION, 1.0)
        self._mirror = np.concatenate([vector, rotation, vector], axis=1).astype(np.float32)
        self.segment: SegmentState | None = None
        self.attitude: FloatArray | None = None  # (S, 4), segment to world, of the last tick

    def update(
        self,
        acc_ms2: FloatArray,
        gyr_rads: FloatArray,
        turn_rad: FloatArray | None = None,
        present: Sequence[bool] | None = None,
    ) -> NDArray[np.float32]:
        """Advance by one tick.

        Parameters
        ----------
        acc_ms2, gyr_rads : ndarray, shape (S, 3)
            Readings in sensor frames, rows in the order of `slots`, finite.
        turn_rad : ndarray, shape (S, 3), optional
            Rotation that earlier readings failed to tell; see `Tick.turn_rad`. Only the attitudes
            take it up: no leg turned like that within this tick.
        present : sequence of S bool, optional
            Which rows are readings and not stand-ins; all, if absent. A network does not look at the
            others.

        Returns
        -------
        ndarray of float32, shape (10 S,)
            Channels as named by `channels(slots)`.
        """
        acc = np.einsum("sij,sj->si", self._to_segment, acc_ms2)
        gyr = np.einsum("sij,sj->si", self._to_segment, gyr_rads - self._bias_rads)
        rate = gyr
        if turn_rad is not None:
            rate = gyr + np.einsum("sij,sj->si", self._to_segment, turn_rad) * self._rate_hz
        q = np.array([f.update(a, g) for f, a, g in zip(self._filters, acc, rate, strict=True)])
        up = up_in_sensor(q)
        self.attitude = q
        self.segment = SegmentState(acc, gyr, up)
        motion: NDArray[np.float32] = np.concatenate([acc, gyr, up], axis=1, dtype=np.float32)
        there = np.ones(len(acc), np.float32)
        if present is not None:
            there[:] = present
            motion[there == 0.0] = 0.0  # a slot never heard of holds no number at all
        return np.concatenate([(motion * self._mirror).ravel(), there])

    def restart(self, row: int) -> None:
        """Forget one slot's attitude: its sensor has been away for too long to know how it turned."""
        self._filters[row].reset()

    def reset(self) -> None:
        """Forget all attitudes."""
        for filter_ in self._filters:
            filter_.reset()
        self.segment = None
        self.attitude = None

    @property
    def state(self) -> list[FloatArray | None]:
        """Filter state of every slot, to save and restore."""
        return [f.state for f in self._filters]

    @state.setter
    def state(self, states: list[FloatArray | None]) -> None:
        for filter_, q in zip(self._filters, states, strict=True):
            filter_.state = q
