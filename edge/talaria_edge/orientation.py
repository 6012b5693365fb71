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
"""At a rate of exactly zero ahrs returns the attitude as it was; this much rate keeps it levelling."""


@dataclass(frozen=True, slots=True)
class OrientationParams:
    """How hard the accelerometer pulls the attitude level.

    Attributes
    ----------
    gain_rads : float
        The pull in the long run: ahrs' own default.
    start_gain_rads : float
        The pull at the first reading, falling linearly to `gain_rads`. A start in mid-stride is off by
        10° to 20°, which the long-run gain alone takes ten seconds to work off.
    start_s : float
        How long the fall takes.
    """

    gain_rads: float = 0.033
    start_gain_rads: float = 0.5
    start_s: float = 3.0


class OrientationFilter:
    """A 6-axis Madgwick filter with a quick start, safe against zero rates and missing readings.

    Parameters
    ----------
    rate_hz : float
        Nominal rate; each update advances by one period.
    params : OrientationParams, optional

    Notes
    -----
    Deviations from `ahrs.filters.Madgwick.updateIMU`: the first reading sets the attitude from the
    accelerometer instead of starting at identity; the gain is larger at first; an exactly zero rate does
    not freeze the attitude; a non-finite reading, or one without any specific force, leaves the state as
    it was.

    References
    ----------
    S. Madgwick, A. Harrison, R. Vaidyanathan: Estimation of IMU and MARG orientation using a
    gradient descent algorithm. IEEE ICORR 2011.
    """

    __slots__ = ("_age_s", "_filter", "_params", "_period_s", "_q")

    def __init__(self, rate_hz: float, params: OrientationParams | None = None) -> None:
        self._params = params or OrientationParams()
        self._period_s = 1.0 / rate_hz
        self._filter = Madgwick(gain=self._params.gain_rads, frequency=rate_hz)
        self._q: FloatArray | None = None
        self._age_s = 0.0

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
        self._filter.gain = self._gain_rads()
        self._age_s += self._period_s
        rate = gyr_rads if gyr_rads.any() else np.full(3, _TINY_RATE_RADS)
        turned = self._filter.updateIMU(self._q, gyr=rate, acc=acc_ms2, dt=self._period_s)
        self._q = np.asarray(turned, dtype=float)
        return self._q

    def _gain_rads(self) -> float:
        left = 1.0 - self._age_s / self._params.start_s
        long_run, start = self._params.gain_rads, self._params.start_gain_rads
        return long_run if left <= 0.0 else long_run + left * (start - long_run)

    def reset(self) -> None:
        """Forget the attitude; the next reading sets it anew."""
        self._q = None
        self._age_s = 0.0

    @property
    def state(self) -> FloatArray | None:
        """Attitude and age in seconds, shape (5,), to save; None before the first reading."""
        return None if self._q is None else np.append(self._q, self._age_s)

    @state.setter
    def state(self, value: FloatArray | None) -> None:
        self._q = None if value is None else np.array(value[:4], dtype=float)
        self._age_s = 0.0 if value is None else float(value[4])


def level_quaternion(acc_ms2: FloatArray) -> FloatArray:
    """Find the shortest rotation that turns a specific force, shape (3,), to world up."""
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
