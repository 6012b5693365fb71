"""Sensors without a common clock, brought together by one shared shake.

Held together in one hand and shaken for a few seconds, all sensors turn alike, so the magnitude of their
angular rate is the same curve wherever each is and however it lies; only its time differs by what their
links and clocks are apart. Cross-correlation of these curves tells how much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import CalibrationError
from talaria_bridge.samples import ImuSample

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ShakeParams:
    """What counts as a shake.

    Attributes
    ----------
    max_offset_s : float
        The most two sensors can be apart.
    min_rate_rads : float
        Root mean square of the angular rate while shaking; walking and holding stay below.
    min_match : float
        Normalised correlation of two sensors that were really held together.
    min_lead : float
        By how much the best match must beat the next one; an even shake matches itself a period off.
    grid_hz : float
        Rate at which the curves are compared.
    """

    max_offset_s: float = 1.0
    min_rate_rads: float = 2.0
    min_match: float = 0.8
    min_lead: float = 0.05
    grid_hz: float = 200.0


@dataclass(frozen=True, slots=True)
class ShakeOffset:
    """How far a sensor's time is ahead of the reference's.

    Attributes
    ----------
    offset_s : float
        Subtract it from the sensor's times.
    match : float
        Normalised correlation at that offset, 0 to 1.
    lead : float
        By how much that beats the next best offset.
    """

    offset_s: float
    match: float
    lead: float


def shake_offsets(
    readings: Mapping[str, tuple[_Array, _Array]],
    reference: str,
    params: ShakeParams | None = None,
) -> dict[str, ShakeOffset]:
    """Find how far each sensor's time is ahead of the reference sensor's.

    Parameters
    ----------
    readings : mapping of slot to (t_s, gyr_rads)
        While shaking: times, shape (T,), seconds, rising; angular rates, shape (T, 3), rad/s. The
        sensors may have different rates and different numbers of samples.
    reference : str
        The slot whose time is taken for right.

    Returns
    -------
    dict of slot to ShakeOffset
        The reference's own is zero.

    Raises
    ------
    CalibrationError
        If a sensor was not shaken, or one offset cannot be told from another.
    """
    params = params or ShakeParams()
    start_s = max(t_s[0] for t_s, _ in readings.values())
    end_s = min(t_s[-1] for t_s, _ in readings.values())
    if end_s - start_s < 4 * params.max_offset_s:
        raise CalibrationError(
            f"The sensors were recorded together for {max(0.0, end_s - start_s):.1f} s only, too short "
            f"to compare: shake them for {4 * params.max_offset_s:.0f} s or longer."
        )
    grid_s = np.arange(start_s, end_s, 1.0 / params.grid_hz)
    curves = {slot: _curve(slot, *readings[slot], grid_s, params) for slot in readings}
    found = {}
    for slot, curve in curves.items():
        found[slot] = _compare(slot, curves[reference], curve, params)
    return found


def by_slot(samples: Iterable[ImuSample]) -> tuple[dict[str, tuple[_Array, _Array]], str]:
    """Sort samples into what `shake_offsets` takes: readings by slot, and the slot heard first.

    Raises
    ------
    CalibrationError
        If there are fewer than two sensors.
    """
    lanes: dict[str, list[ImuSample]] = {}
    for sample in samples:
        lanes.setdefault(sample.slot, []).append(sample)
    if len(lanes) < 2:
        raise CalibrationError(
            f"There are readings of {len(lanes)} sensor, and one alone cannot be compared: record all "
            "of them while shaking."
        )
    readings = {
        slot: (np.array([s.t_s for s in lane]), np.array([s.gyr_rads for s in lane]))
        for slot, lane in lanes.items()
    }
    return readings, next(iter(readings))


def _curve(slot: str, t_s: _Array, gyr_rads: _Array, grid_s: _Array, params: ShakeParams) -> _Array:
    """Magnitude of the angular rate on the common grid, without its mean."""
    magnitude = np.interp(grid_s, t_s, np.linalg.norm(gyr_rads, axis=1))
    rms = float(np.sqrt(np.mean(np.square(magnitude))))
    if not rms >= params.min_rate_rads:
        raise CalibrationError(
            f"The sensor {slot} was hardly shaken ({rms:.1f} rad/s): hold all sensors together in one "
            "hand and shake them hard, in no even rhythm."
        )
    return np.asarray(magnitude - magnitude.mean(), dtype=float)


def _compare(slot: str, reference: _Array, curve: _Array, params: ShakeParams) -> ShakeOffset:
    # scipy.signal takes 60 MB and a second, and only this command needs it.
    from scipy.signal import correlate, correlation_lags, find_peaks  # noqa: PLC0415

    scores = correlate(curve, reference, mode="full")
    scores /= np.linalg.norm(curve) * np.linalg.norm(reference)
    lags = correlation_lags(len(curve), len(reference))
    near = np.abs(lags) <= params.max_offset_s * params.grid_hz
    scores, lags = scores[near], lags[near]
    best = int(np.argmax(scores))
    peaks, _ = find_peaks(scores)
    others = scores[[p for p in peaks if p != best]]
    match = float(scores[best])
    lead = match - float(others.max()) if len(others) else match
    if match < params.min_match or lead < params.min_lead or best in {0, len(scores) - 1}:
        raise CalibrationError(
            f"The time of {slot} could not be told from the shake (match {match:.2f}, {lead:.2f} better "
            "than the next): hold all sensors together and shake them in no even rhythm."
        )
    offset = lags[best] + _vertex(scores[best - 1 : best + 2])
    return ShakeOffset(float(offset) / params.grid_hz, match, lead)


def _vertex(three: _Array) -> float:
    """Where the parabola through three neighbours has its top, in steps from the middle one."""
    left, middle, right = three.tolist()
    bend = left - 2 * middle + right
    return 0.0 if bend == 0.0 else 0.5 * (left - right) / bend
