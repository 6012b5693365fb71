"""Orientation of one sensor from its gyroscope and accelerometer, by the `ahrs` filters.

The only file that knows `ahrs`. Its types do not leave it: quaternions go out as plain arrays,
scalar first, mapping sensor coordinates to a z-up world whose heading is arbitrary and drifts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from ahrs.filters import Madgwick
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_TINY_RATE_RADS = 1e-9
"""ahrs returns the attitude unchanged when the rate is exactly zero; this much rate keeps it levelling."""


@dataclass(frozen=True, slots=True)
class OrientationParams:
    """`gain_rads`: the rate at which the accelerometer pulls the attitude level (ahrs' own default)."""

    gain_rads: float = 0.033


class OrientationFilter:
    """A 6-axis Madgwick filter with a level start, safe against zero rates and missing readings.

    Parameters
    ----------
    rate_hz : float
        Nominal rate; each update advances by one period.
    params : OrientationParams, optional

    Notes
    -----
    Deviations from `ahrs.filters.Madgwick.updateIMU`: the first reading sets the attitude from the
    accelerometer instead of starting at identity; an exactly zero rate does not freeze the attitude;
    a non-finite reading, or one without any specific force, leaves the state as it was.

    References
    ----------
    S. Madgwick, A. Harrison, R. Vaidyanathan: Estimation of IMU and MARG orientation using a gradient
    descent algorithm. IEEE ICORR 2011.
    """

    __slots__ = ("_filter", "_period_s", "_q")

    def __init__(self, rate_hz: float, params: OrientationParams | None = None) -> None:
        gain = (params or OrientationParams()).gain_rads
        self._period_s = 1.0 / rate_hz
        self._filter = Madgwick(gain=gain, frequency=rate_hz)
        self._q: FloatArray | None = None

    def update(self, acc_ms2: FloatArray, gyr_rads: FloatArray) -> FloatArray:
        """Advance by one period and return the attitude.

        Parameters
        ----------
        acc_ms2, gyr_rads : ndarray, shape (3,)
            Specific force and angular rate in the sensor (or any frame fixed to it).

        Returns
        -------
        ndarray, shape (4,)
            Unit quaternion, scalar first, sensor to world (z up).
        """
        usable = math.isfinite(acc_ms2.sum() + gyr_rads.sum()) and bool(acc_ms2.any())
        if not usable:
            return self._q if self._q is not None else np.array([1.0, 0.0, 0.0, 0.0])
        if self._q is None:
            self._q = level_quaternion(acc_ms2)
            return self._q
        rate = gyr_rads if gyr_rads.any() else np.full(3, _TINY_RATE_RADS)
        self._q = np.asarray(
            self._filter.updateIMU(self._q, gyr=rate, acc=acc_ms2, dt=self._period_s), dtype=float
        )
        return self._q

    def reset(self) -> None:
        """Forget the attitude; the next reading sets it anew."""
        self._q = None

    @property
    def state(self) -> FloatArray | None:
        """The attitude, to save; None before the first reading."""
        return None if self._q is None else self._q.copy()

    @state.setter
    def state(self, q: FloatArray | None) -> None:
        self._q = None if q is None else np.array(q, dtype=float)


def level_quaternion(acc_ms2: FloatArray) -> FloatArray:
    """Return the shortest rotation that turns a specific force, shape (3,), to point along world up."""
    x, y, z = acc_ms2 / np.linalg.norm(acc_ms2)
    if z < -0.999999:  # upside down: any half turn about a horizontal axis will do
        return np.array([0.0, 1.0, 0.0, 0.0])
    q = np.array([1.0 + z, y, -x, 0.0])
    return np.asarray(q / np.linalg.norm(q))


def up_in_sensor(q_world_sensor: FloatArray) -> FloatArray:
    """World up seen from the sensor: the last row of the rotation matrix.

    Parameters
    ----------
    q_world_sensor : ndarray, shape (..., 4)
        Scalar-first unit quaternions.

    Returns
    -------
    ndarray, shape (..., 3)
    """
    w, x, y, z = np.moveaxis(np.asarray(q_world_sensor, dtype=float), -1, 0)
    return np.stack(
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z], axis=-1
    )


def track(acc_ms2: FloatArray, gyr_rads: FloatArray, rate_hz: float) -> FloatArray:
    """Run a fresh filter over a whole recording of one sensor, sample by sample.

    Parameters
    ----------
    acc_ms2, gyr_rads : ndarray, shape (T, 3)
    rate_hz : float

    Returns
    -------
    ndarray, shape (T, 4)
        The same attitudes a live filter would have given.
    """
    filter_ = OrientationFilter(rate_hz)
    return np.array([filter_.update(a, g) for a, g in zip(acc_ms2, gyr_rads, strict=True)])
