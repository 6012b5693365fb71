"""From calibrated readings to the network's input: the only place it is computed, live or offline.

Everything here is free of heading: two 6-axis filters share none. The left leg is mirrored into the
right leg's frame, so one set of weights serves both and swapping the legs is a valid augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.samples import LEG_SLOTS, Quat, Vec3
from talaria_edge.calibration import Calibration
from talaria_edge.orientation import OrientationFilter, up_of
from talaria_edge.spec import Channel

FloatArray = NDArray[np.float64]

FEATURE_VERSION = 2
"""Raise it whenever a number below changes: a model trained on other features is then refused."""

_AXES = ("x", "y", "z")
_MIRROR_VECTOR = (1.0, 1.0, -1.0)  # a polar vector through the sagittal plane: z turns
_MIRROR_ROTATION = (-1.0, -1.0, 1.0)  # an axial vector: x and y turn
_MIRROR = (*_MIRROR_VECTOR, *_MIRROR_ROTATION, *_MIRROR_VECTOR)
_ABSENT = (0.0,) * len(_MIRROR)  # a slot never heard of holds no number at all


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
        self._seats = _seats(calibration, self.slots)
        self._filters = [OrientationFilter(rate_hz) for _ in self.slots]
        self._rate_hz = rate_hz
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
        there = [True] * len(self.slots) if present is None else present
        turns = None if turn_rad is None else turn_rad.tolist()
        attitudes: list[Quat] = []
        rows: list[tuple[float, ...]] = []
        x: list[float] = []
        readings = zip(self._seats, acc_ms2.tolist(), gyr_rads.tolist(), strict=True)
        for i, (seat, acc, gyr) in enumerate(readings):
            force, rate = seat.turned(*acc), seat.rate(*gyr)
            told = rate if turns is None else self._caught_up(rate, seat.turned(*turns[i]))
            q = self._filters[i].step(force, told)
            row = (*force, *rate, *up_of(q))
            attitudes.append(q)
            rows.append(row)
            x += [a * b for a, b in zip(row, seat.mirror, strict=True)] if there[i] else _ABSENT
        self.attitude = np.array(attitudes)
        motion = np.array(rows)
        self.segment = SegmentState(motion[:, 0:3], motion[:, 3:6], motion[:, 6:9])
        return np.array([*x, *there], np.float32)

    def _caught_up(self, rate: Vec3, turn: Vec3) -> Vec3:
        x, y, z = (a + b * self._rate_hz for a, b in zip(rate, turn, strict=True))
        return x, y, z

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


@dataclass(frozen=True, slots=True)
class _Seat:
    """How one sensor sits, in plain floats: on four of them numpy takes longer.

    `rows` are those of the rotation to the segment, `mirror` what makes a left leg a right one.
    """

    rows: tuple[Vec3, Vec3, Vec3]
    bias_rads: Vec3
    mirror: tuple[float, ...]

    def turned(self, x: float, y: float, z: float) -> Vec3:
        """Turn a vector from the sensor's frame into the segment's."""
        (a, b, c), (d, e, f), (g, h, i) = self.rows
        return (a * x + b * y + c * z, d * x + e * y + f * z, g * x + h * y + i * z)

    def rate(self, x: float, y: float, z: float) -> Vec3:
        """Do the same with an angular rate, less the bias."""
        a, b, c = self.bias_rads
        return self.turned(x - a, y - b, z - c)


def _seats(calibration: Calibration, slots: Sequence[str]) -> list[_Seat]:
    rotations, biases = (part.tolist() for part in calibration.stacked(slots))
    mirrors = [_MIRROR if slot.endswith("_l") else (1.0,) * len(_MIRROR) for slot in slots]
    return [_Seat(*seat) for seat in zip(rotations, biases, mirrors, strict=True)]
