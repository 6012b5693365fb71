"""Orientation of one sensor from its gyroscope and accelerometer: the `ahrs` filters, and `vqf`.

The only file that knows `ahrs` and `vqf`. Their types do not leave it: quaternions go out as plain
numbers, scalar first, mapping sensor coordinates to a z-up world whose heading is arbitrary and drifts.
`docs/accuracy.md` has the table the default gains were chosen by. Mahony, the default, runs live for
every sensor and so is not called from `ahrs` but written out in `talaria_edge.mahony`.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from ahrs.filters import EKF, Madgwick
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError
from talaria_bridge.samples import Quat, Vec3
from talaria_edge.mahony import Mahony

FloatArray = NDArray[np.float64]

_TINY_RATE_RADS = 1e-9
"""At a rate of exactly zero ahrs returns the attitude as it was; this much rate keeps it levelling."""
_FRESH = 0.25
_HEAD = 8  # what every state begins with: attitude (4), age in seconds, mean specific force (3)
_IDENTITY: Quat = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class MadgwickParams:
    """How hard the accelerometer pulls the attitude level, whatever the error.

    Attributes
    ----------
    gain_rads : float
        The pull in the long run.
    start_gain_rads : float
        The pull at the first reading, falling linearly to `gain_rads`. A start in mid-stride is off by
        10° to 20°, which the long-run gain alone takes ten seconds to work off.
    start_s : float
        How long the fall takes.
    average_s : float
        Time constant over which the specific force is averaged; 0 gives ahrs every reading as it is.
    """

    gain_rads: float = 0.02
    start_gain_rads: float = 1.0
    start_s: float = 3.0
    average_s: float = 2.0


@dataclass(frozen=True, slots=True)
class MahonyParams:
    """How hard the accelerometer pulls the attitude level and the gyroscope's bias to its value.

    Attributes
    ----------
    gain_per_s : float
        Rate of levelling per radian of error in the long run (ahrs: ``k_P``).
    bias_gain_per_s2 : float
        Growth of the bias estimate per radian of error (ahrs: ``k_I``). Much more of it turns the
        heading of a walking foot by hundreds of degrees a minute.
    start_gain_per_s, start_s : float
        As for Madgwick.
    average_s : float
        As for Madgwick.
    """

    gain_per_s: float = 0.7
    bias_gain_per_s2: float = 0.03
    start_gain_per_s: float = 2.0
    start_s: float = 3.0
    average_s: float = 1.5


@dataclass(frozen=True, slots=True)
class EkfParams:
    """How far the extended Kalman filter trusts either sensor.

    Attributes
    ----------
    gyr_var : float
        Variance of the angular rate, (rad/s)².
    acc_var : float
        Variance of the direction of the specific force, dimensionless.
    average_s : float
        As for Madgwick.
    """

    gyr_var: float = 0.09
    acc_var: float = 0.05
    average_s: float = 2.0


@dataclass(frozen=True, slots=True)
class VqfParams:
    """How slowly `vqf` follows the accelerometer.

    Attributes
    ----------
    tau_acc_s : float
        Time constant of its low-pass filter on the specific force.
    """

    tau_acc_s: float = 3.0


Params = MadgwickParams | MahonyParams | EkfParams | VqfParams

DEFAULT_PARAMS: Params = MahonyParams()
"""The filter of whoever does not ask for one. Another one changes the features: see FEATURE_VERSION."""


class OrientationFilter:
    """A 6-axis attitude filter with a quick start, safe against zero rates and missing readings.

    Parameters
    ----------
    rate_hz : float
        Nominal rate: the period of an update that does not give its own.
    params : MadgwickParams, MahonyParams, EkfParams or VqfParams, optional
        Which filter, and how strong.

    Raises
    ------
    ConfigError
        If `vqf` is asked for and not installed.

    Notes
    -----
    Deviations from ``ahrs``: the first reading sets the attitude from the accelerometer instead of
    starting at identity; the gain is larger at first; an exactly zero rate does not freeze the
    attitude; a reading that is not finite, has no specific force or takes no time leaves the state as
    it was. With ``average_s`` the filter is not shown the specific force of the moment but its running
    mean, formed in the filter's own world and turned back into the sensor: the accelerations of a
    stride average out there, gravity does not, and the sensor's turning does not smear it. The idea is
    that of VQF's first stage, with a simpler low-pass filter.

    References
    ----------
    S. Madgwick, A. Harrison, R. Vaidyanathan: Estimation of IMU and MARG orientation using a
    gradient descent algorithm. IEEE ICORR 2011.
    R. Mahony, T. Hamel, J.-M. Pflimlin: Nonlinear complementary filters on the special orthogonal
    group. IEEE Trans. Automatic Control 53, 2008.
    D. Laidig, T. Seel: VQF: Highly accurate IMU orientation estimation with bias estimation and
    magnetic disturbance rejection. Information Fusion 91, 2023.
    """

    __slots__ = ("_age_s", "_average_s", "_mean_ms2", "_method", "_period_s", "_q")

    def __init__(self, rate_hz: float, params: Params | None = None) -> None:
        self._period_s = 1.0 / rate_hz
        self._method, self._average_s = _build(params or DEFAULT_PARAMS, self._period_s)
        self._q: Quat | None = None
        self._age_s = 0.0
        self._mean_ms2: Vec3 = (0.0, 0.0, 0.0)

    def update(
        self, acc_ms2: FloatArray, gyr_rads: FloatArray, dt_s: float | None = None
    ) -> FloatArray:
        """Advance by one reading and return the attitude.

        Parameters
        ----------
        acc_ms2, gyr_rads : ndarray, shape (3,)
            Specific force and angular rate in the sensor (or any frame fixed to it).
        dt_s : float, optional
            Time since the last reading; one nominal period if not given.

        Returns
        -------
        ndarray, shape (4,)
            Unit quaternion, scalar first, sensor to world (z up).
        """
        return np.array(self.step(_vec3(acc_ms2), _vec3(gyr_rads), dt_s))

    def step(self, acc_ms2: Vec3, gyr_rads: Vec3, dt_s: float | None = None) -> Quat:
        """Do what `update` does, on plain floats: for whoever has them, and no time for arrays."""
        step_s = self._period_s if dt_s is None else dt_s
        usable = math.isfinite(sum(acc_ms2) + sum(gyr_rads) + step_s)
        if not (usable and any(acc_ms2) and step_s > 0.0):
            return self._q or _IDENTITY
        if self._q is None:
            q = self._method.start(_level(acc_ms2), acc_ms2, gyr_rads)
        else:
            q = self._advance(self._q, acc_ms2, gyr_rads, step_s)
            self._age_s += step_s
        self._q = q
        if self._average_s:
            self._average(q, acc_ms2, step_s)
        return q

    def _advance(self, q: Quat, acc_ms2: Vec3, gyr_rads: Vec3, step_s: float) -> Quat:
        if not any(gyr_rads):
            gyr_rads = (_TINY_RATE_RADS, _TINY_RATE_RADS, _TINY_RATE_RADS)
        if self._average_s:
            w, x, y, z = q
            acc_ms2 = _turned((w, -x, -y, -z), self._mean_ms2)  # the mean, back in the sensor
        return self._method.advance(q, acc_ms2, gyr_rads, step_s, self._age_s)

    def _average(self, q: Quat, acc_ms2: Vec3, step_s: float) -> None:
        """Take a reading into the mean: over a quarter of the age at first, over `average_s` later.

        While the attitude is still being put right, older readings lie in a world that was wrong: a
        mean of them all would carry the attitude 10° beyond its mark.
        """
        share = step_s / max(step_s, min(self._average_s, _FRESH * (self._age_s + step_s)))
        a, b, c = _turned(q, acc_ms2)
        x, y, z = self._mean_ms2
        self._mean_ms2 = (x + share * (a - x), y + share * (b - y), z + share * (c - z))

    def reset(self) -> None:
        """Forget everything; the next reading sets the attitude anew."""
        self._q = None
        self._age_s = 0.0
        self._mean_ms2 = (0.0, 0.0, 0.0)
        self._method.reset()

    @property
    def state(self) -> FloatArray | None:
        """Everything the filter carries, one row of numbers; None before the first reading.

        Attitude (4), age in seconds, mean specific force in the world (3), and what the kind of filter
        adds. Only a filter with the same parameters can take it up.
        """
        if self._q is None:
            return None
        return np.array([*self._q, self._age_s, *self._mean_ms2, *self._method.memory])

    @state.setter
    def state(self, value: FloatArray | None) -> None:
        self.reset()
        if value is None:
            return
        w, x, y, z, self._age_s, *mean = np.asarray(value[:_HEAD], dtype=float).tolist()
        self._q = (w, x, y, z)
        self._mean_ms2 = (mean[0], mean[1], mean[2])
        self._method.memory = np.array(value[_HEAD:], dtype=float)


class _Method(Protocol):
    """What the kinds of filter differ in."""

    def start(self, level: Quat, acc_ms2: Vec3, gyr_rads: Vec3, /) -> Quat: ...

    def advance(
        self, q: Quat, acc_ms2: Vec3, gyr_rads: Vec3, dt_s: float, age_s: float, /
    ) -> Quat: ...

    def reset(self) -> None: ...

    @property
    def memory(self) -> FloatArray: ...

    @memory.setter
    def memory(self, value: FloatArray) -> None: ...


class _Levelled:
    """What most filters share: they start from the attitude they are given."""

    def start(self, level: Quat, acc_ms2: Vec3, gyr_rads: Vec3) -> Quat:
        return level


class _Madgwick(_Levelled):
    def __init__(self, params: MadgwickParams) -> None:
        self._params = params
        self._filter = Madgwick(gain=params.gain_rads)

    def advance(self, q: Quat, acc_ms2: Vec3, gyr_rads: Vec3, dt_s: float, age_s: float) -> Quat:
        p = self._params
        self._filter.gain = _fall(p.start_gain_rads, p.gain_rads, p.start_s, age_s)
        at, gyr, acc = np.array(q), np.array(gyr_rads), np.array(acc_ms2)
        return _quat(self._filter.updateIMU(at, gyr=gyr, acc=acc, dt=dt_s))

    def reset(self) -> None:
        pass

    @property
    def memory(self) -> FloatArray:
        return np.empty(0)

    @memory.setter
    def memory(self, value: FloatArray) -> None:
        pass


class _Mahony(_Levelled):
    def __init__(self, params: MahonyParams) -> None:
        self._params = params
        self._filter = Mahony(params.gain_per_s, params.bias_gain_per_s2)

    def advance(self, q: Quat, acc_ms2: Vec3, gyr_rads: Vec3, dt_s: float, age_s: float) -> Quat:
        p = self._params
        self._filter.gain_per_s = _fall(p.start_gain_per_s, p.gain_per_s, p.start_s, age_s)
        return self._filter.update(q, acc_ms2, gyr_rads, dt_s)

    def reset(self) -> None:
        self._filter.reset()

    @property
    def memory(self) -> FloatArray:
        return np.array(self._filter.bias_rads)

    @memory.setter
    def memory(self, value: FloatArray) -> None:
        self._filter.bias_rads = _vec3(value)


class _Ekf(_Levelled):
    def __init__(self, params: EkfParams) -> None:
        noises = [params.gyr_var, params.acc_var, 1.0]
        # What ahrs calls NED has the specific force of rest along +z; any dip spares it a magnetic map.
        self._filter = EKF(frame="NED", noises=noises, magnetic_ref=60.0)

    def advance(self, q: Quat, acc_ms2: Vec3, gyr_rads: Vec3, dt_s: float, age_s: float) -> Quat:
        at, gyr, acc = np.array(q), np.array(gyr_rads), np.array(acc_ms2)
        return _quat(self._filter.update(at, gyr, acc, dt=dt_s))

    def reset(self) -> None:
        self._filter.P = np.identity(4)

    @property
    def memory(self) -> FloatArray:
        return np.array(self._filter.P, dtype=float).ravel()

    @memory.setter
    def memory(self, value: FloatArray) -> None:
        self._filter.P = value.reshape(4, 4)


class _Vqf:
    """`vqf` keeps its own attitude, and one sample time: other times stretch the angular rate."""

    def __init__(self, params: VqfParams, period_s: float) -> None:
        self._period_s = period_s
        self._filter = _installed_vqf().VQF(period_s, tauAcc=params.tau_acc_s)

    def start(self, level: Quat, acc_ms2: Vec3, gyr_rads: Vec3) -> Quat:
        return self.advance(level, acc_ms2, gyr_rads, self._period_s, 0.0)

    def advance(self, q: Quat, acc_ms2: Vec3, gyr_rads: Vec3, dt_s: float, age_s: float) -> Quat:
        rate = np.array(gyr_rads) * (dt_s / self._period_s)
        self._filter.update(rate, np.array(acc_ms2))
        return _quat(self._filter.getQuat6D())

    def reset(self) -> None:
        self._filter.resetState()

    @property
    def memory(self) -> FloatArray:
        state = self._filter.state
        return np.concatenate([np.ravel(np.asarray(state[k], dtype=float)) for k in sorted(state)])

    @memory.setter
    def memory(self, value: FloatArray) -> None:
        state, at = self._filter.state, 0
        for key in sorted(state):
            old = np.asarray(state[key])
            part = value[at : at + old.size].reshape(old.shape).astype(old.dtype)
            state[key] = part if part.ndim else part.item()
            at += old.size
        self._filter.state = state


def _installed_vqf() -> Any:
    try:
        return importlib.import_module("vqf")
    except ImportError as error:
        raise ConfigError(
            "The orientation filter 'vqf' is not installed: install it with pip install "
            "'talaria[vqf]', or choose madgwick, mahony or ekf."
        ) from error


def _build(params: Params, period_s: float) -> tuple[_Method, float]:
    """Return the kind of filter the parameters belong to, and how long it averages."""
    if isinstance(params, VqfParams):
        return _Vqf(params, period_s), 0.0
    method: _Method
    if isinstance(params, MadgwickParams):
        method = _Madgwick(params)
    elif isinstance(params, MahonyParams):
        method = _Mahony(params)
    else:
        method = _Ekf(params)
    return method, params.average_s


PARAMS: dict[str, type[Params]] = {
    "madgwick": MadgwickParams,
    "mahony": MahonyParams,
    "ekf": EkfParams,
    "vqf": VqfParams,
}
"""The filters by name."""


def make_filter(name: str, rate_hz: float, params: Params | None = None) -> OrientationFilter:
    """Build a filter by name: madgwick, mahony, ekf or vqf.

    Raises
    ------
    ConfigError
        If there is no filter of that name, the parameters are another filter's, or `vqf` is not
        installed.
    """
    if name not in PARAMS:
        raise ConfigError(
            f"There is no orientation filter '{name}': choose from {', '.join(PARAMS)}."
        )
    params = params or PARAMS[name]()
    if not isinstance(params, PARAMS[name]):
        raise ConfigError(
            f"The filter '{name}' cannot use {type(params).__name__}: give it {PARAMS[name].__name__}."
        )
    return OrientationFilter(rate_hz, params)


def _fall(start: float, long_run: float, start_s: float, age_s: float) -> float:
    """Fall linearly from `start` to `long_run` within `start_s`."""
    left = 1.0 - age_s / start_s
    return long_run if left <= 0.0 else long_run + left * (start - long_run)


def _vec3(vector: FloatArray) -> Vec3:
    x, y, z = vector.tolist()
    return x, y, z


def _quat(q: FloatArray) -> Quat:
    w, x, y, z = np.asarray(q).tolist()
    return w, x, y, z


def _turned(q: Quat, v: Vec3) -> Vec3:
    """Turn a vector by a unit quaternion; in plain floats, because numpy takes ten times as long."""
    w, x, y, z = q
    a, b, c = v
    tx, ty, tz = 2.0 * (y * c - z * b), 2.0 * (z * a - x * c), 2.0 * (x * b - y * a)
    return (
        a + w * tx + y * tz - z * ty,
        b + w * ty + z * tx - x * tz,
        c + w * tz + x * ty - y * tx,
    )


def _level(acc_ms2: Vec3) -> Quat:
    return _quat(level_quaternion(np.array(acc_ms2)))


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


def up_of(q_world_sensor: Quat) -> Vec3:
    """Do what `up_in_sensor` does, for one attitude and on plain floats."""
    w, x, y, z = q_world_sensor
    return (2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z)


def track(
    acc_ms2: FloatArray, gyr_rads: FloatArray, rate_hz: float, params: Params | None = None
) -> FloatArray:
    """Run a fresh filter over a whole recording of one sensor, sample by sample.

    Parameters
    ----------
    acc_ms2, gyr_rads : ndarray, shape (T, 3)
    rate_hz : float
    params : MadgwickParams, MahonyParams, EkfParams or VqfParams, optional

    Returns
    -------
    ndarray, shape (T, 4)
        The same attitudes a live filter would have given.
    """
    filter_ = OrientationFilter(rate_hz, params)
    return np.array([filter_.update(a, g) for a, g in zip(acc_ms2, gyr_rads, strict=True)])
