"""Tell whether each sensor is alive, quiet at rest, and in our units, without knowing how people walk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.calibration import Stretch
from talaria_edge.findings import Finding, Grade, Symptom

FloatArray = NDArray[np.float64]
STANDARD_GRAVITY_MS2 = 9.80665

_ACC_UNITS = {"g": 1.0 / STANDARD_GRAVITY_MS2, "mg": 1e3 / STANDARD_GRAVITY_MS2}
_STAND = "Stand still again."


@dataclass(frozen=True, slots=True)
class SensorParams:
    """What a sensor reads when all is well.

    Attributes
    ----------
    gravity_ratio : (float, float)
        Specific force at rest over standard gravity; outside, the unit is wrong.
    gravity_b_ms2, gravity_c_ms2 : float
        Errors of gravity that cost a B and a C: 1 m/s² sideways tilts the vertical by 6°.
    steady_ms2 : float
        Spread of the specific force below which a sensor rests, whatever its gyroscope says.
    resting_rads : float
        Rate above which the gyroscope of a resting sensor must be in another unit.
    fastest_rads : float
        No segment of a walking person turns faster (2300 °/s).
    slowest_rads : float
        Rate that every thigh and foot exceeds a tenth of the time while walking.
    shaken_ms2 : float
        Spread of the specific force of a sensor that does take part in the walk.
    calm_rads, restless_rads, bad_rads : float
        Mean rate while standing, up to which the vertical is good, fair and poor.
    bias_rads : float
        Spread below which the gyroscope's mean at rest is its bias.
    saturated : float
        Share of samples at the end of the range that costs a C.
    rate_off : float
        Relative error of the sample rate that is mentioned.
    """

    gravity_ratio: tuple[float, float] = (0.7, 1.4)
    gravity_b_ms2: float = 0.5
    gravity_c_ms2: float = 1.5
    steady_ms2: float = 0.4
    resting_rads: float = 0.5
    fastest_rads: float = 40.0
    slowest_rads: float = 0.4
    shaken_ms2: float = 0.5
    calm_rads: float = 0.06
    restless_rads: float = 0.12
    bad_rads: float = 0.25
    bias_rads: float = 0.01
    saturated: float = 0.01
    rate_off: float = 0.1


def examine_sensors(stretch: Stretch, params: SensorParams | None = None) -> list[Finding]:
    """Look for sensors that do not measure what they should.

    Parameters
    ----------
    stretch : Stretch
    params : SensorParams, optional

    Returns
    -------
    list of Finding
    """
    params = params or SensorParams()
    found = []
    for i, slot in enumerate(stretch.slots):
        acc, gyr = stretch.acc_ms2[:, i], stretch.gyr_rads[:, i]
        rest = acc[stretch.still], gyr[stretch.still]
        walk = acc[stretch.walking], gyr[stretch.walking]
        units = [_acc_unit(slot, rest[0], params), _gyr_unit(slot, rest, walk, params)]
        wrong = [finding for finding in units if finding is not None]
        found += wrong
        if not wrong:
            found += [
                finding
                for finding in (_gravity(slot, rest[0], params), *_rest(slot, rest[1], params))
                if finding is not None
            ]
    return found


def examine_stream(
    rates_hz: Mapping[str, float],
    saturated: Mapping[str, float],
    expected_hz: float,
    params: SensorParams | None = None,
) -> list[Finding]:
    """Look at how the samples came.

    Parameters
    ----------
    rates_hz : mapping of slot to float
        Samples received per second.
    saturated : mapping of slot to float
        Share of the ticks at which the sensor was at the end of its range.
    expected_hz : float
        Rate of the common clock.
    params : SensorParams, optional
    """
    params = params or SensorParams()
    found = [
        Finding(
            Symptom.RATE,
            (slot,),
            Grade.C if rate_hz < 0.5 * expected_hz else Grade.B,
            f"{slot} sends {rate_hz:.1f} samples a second and the session runs at {expected_hz:g} Hz.",
            f"Set {slot} to {expected_hz:g} Hz, or bring it closer if its link loses samples.",
        )
        for slot, rate_hz in rates_hz.items()
        if abs(rate_hz / expected_hz - 1.0) > params.rate_off
    ]
    return found + [
        Finding(
            Symptom.SATURATED,
            (slot,),
            Grade.C,
            f"{slot} was at the end of its range in {share:.1%} of the samples.",
            f"Set {slot} to a wider range (feet need ±16 g and ±2000 °/s) and walk again.",
        )
        for slot, share in saturated.items()
        if share > params.saturated
    ]


def resting_units(
    slots: tuple[str, ...],
    acc_ms2: FloatArray,
    gyr_rads: FloatArray,
    params: SensorParams | None = None,
) -> list[Finding]:
    """Judge the units of sensors that may be at rest, before there is any walk.

    Parameters
    ----------
    slots : tuple of str
    acc_ms2, gyr_rads : ndarray, shape (T, S, 3)
        About a second.
    params : SensorParams, optional
    """
    params = params or SensorParams()
    found = []
    for i, slot in enumerate(slots):
        unit = _acc_unit(slot, acc_ms2[:, i], params)
        turning = _turns_at_rest(acc_ms2[:, i], gyr_rads[:, i], params)
        found += [unit] if unit is not None else []
        found += [_degrees(slot, turning)] if turning is not None else []
    return found


def _acc_unit(slot: str, acc_ms2: FloatArray, params: SensorParams) -> Finding | None:
    size = _size(acc_ms2)
    low, high = params.gravity_ratio
    if low <= size / STANDARD_GRAVITY_MS2 <= high:
        return None
    near = [unit for unit, scale in _ACC_UNITS.items() if 0.7 < size / 9.81 / scale < 1.4]
    guess = f"as if it were in {near[0]}" if near else "which is no unit of acceleration we know"
    return Finding(
        Symptom.UNITS_ACC,
        (slot,),
        Grade.F,
        f"{slot} reads {size:.3g} instead of 9.81 m/s² while standing, {guess}.",
        f"Set the accelerometer unit of {slot} to m/s² where its samples are made.",
    )


def _gyr_unit(
    slot: str,
    rest: tuple[FloatArray, FloatArray],
    walk: tuple[FloatArray, FloatArray],
    params: SensorParams,
) -> Finding | None:
    turning = _turns_at_rest(*rest, params)
    usual, fastest = np.percentile(np.linalg.norm(walk[1], axis=1), [90, 99])
    if fastest > params.fastest_rads or turning is not None:
        return _degrees(slot, max(float(fastest), turning or 0.0))
    if usual >= params.slowest_rads:
        return None
    # In units of gravity at rest, so that a wrong unit of the one does not excuse the other.
    shaken = np.linalg.norm(walk[0], axis=1).std() * STANDARD_GRAVITY_MS2 / _size(rest[0])
    if shaken > params.shaken_ms2:
        return Finding(
            Symptom.UNITS_GYR,
            (slot,),
            Grade.F,
            f"{slot} is shaken by the walk but says it turns at only {usual:.2g} rad/s, as if degrees "
            "had been turned into radians twice.",
            f"Set the gyroscope unit of {slot} to rad/s where its samples are made.",
        )
    return Finding(
        Symptom.NOT_WORN,
        (slot,),
        Grade.F,
        f"{slot} lay still ({usual:.2f} rad/s) while the others walked.",
        f"Strap on {slot}, or look whether another sensor carries its name.",
    )


def _turns_at_rest(acc: FloatArray, gyr_rads: FloatArray, params: SensorParams) -> float | None:
    size = np.linalg.norm(acc, axis=1)
    steady = float((acc / max(size.mean(), 1e-9)).std(axis=0).max()) * STANDARD_GRAVITY_MS2
    rate_rads = float(np.linalg.norm(gyr_rads, axis=1).mean())
    return rate_rads if steady < params.steady_ms2 and rate_rads > params.resting_rads else None


def _degrees(slot: str, rate: float) -> Finding:
    return Finding(
        Symptom.UNITS_GYR,
        (slot,),
        Grade.F,
        f"{slot} says it turns at {rate:.3g} rad/s, faster than a leg can or while it rests, as if "
        "its rates were in °/s.",
        f"Set the gyroscope unit of {slot} to rad/s where its samples are made.",
    )


def _gravity(slot: str, acc_ms2: FloatArray, params: SensorParams) -> Finding | None:
    size = _size(acc_ms2)
    off = abs(size - STANDARD_GRAVITY_MS2)
    if off <= params.gravity_b_ms2:
        return None
    return Finding(
        Symptom.GRAVITY_OFF,
        (slot,),
        Grade.C if off > params.gravity_c_ms2 else Grade.B,
        f"{slot} reads {size:.1f} instead of 9.8 m/s² while standing: its accelerometer is off "
        "(scale or bias), and its inclination may be.",
        f"Let {slot} calibrate its accelerometer, or replace it.",
    )


def _rest(slot: str, gyr_rads: FloatArray, params: SensorParams) -> tuple[Finding | None, ...]:
    restless = float(np.linalg.norm(gyr_rads, axis=1).mean())
    spread = float(np.linalg.eigvalsh(np.cov(gyr_rads.T))[-1]) ** 0.5
    moved = bias = None
    if restless > params.calm_rads:
        steps = ((params.restless_rads, Grade.B), (params.bad_rads, Grade.C))
        grade = next((grade for limit, grade in steps if restless <= limit), Grade.F)
        moved = Finding(
            Symptom.RESTLESS,
            (slot,),
            grade,
            f"{slot} moved while standing ({restless:.2f} rad/s), so the vertical is uncertain.",
            _STAND,
        )
    if spread >= params.bias_rads:
        bias = Finding(
            Symptom.NO_BIAS,
            (slot,),
            Grade.B,
            f"{slot} was never calm enough to measure its gyroscope's bias.",
            _STAND,
        )
    return moved, bias


def _size(acc: FloatArray) -> float:
    return float(np.linalg.norm(acc, axis=1).mean())
