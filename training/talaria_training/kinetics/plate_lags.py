"""Where a plate's clock stands, from Newton's second law.

The vertical forces of both plates together must move the body's centre of mass. Eight sensors, each
standing for its segment's share of the mass (`segments.MASSES`), give that centre's acceleration; the
two lags at which the plates explain it best are found in short windows. On CapSense the two agree with
r = 0.95 to 0.99, the lags of the windows of a recording to about 0.005 s, and a stretch where
the plates' clock skips shows as windows that fit nowhere. Aligning by single landings, as
`talaria_training.data.plates` does with the feet alone, is off by up to 0.03 s, which is a fifth of a body
weight while a foot lands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from talaria_edge.orientation import track, up_in_sensor
from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_training.data.plates import SIDES
from talaria_training.data.recording import Plates, Recording
from talaria_training.kinetics.segments import MASSES

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SEARCH_S = 0.35
"""Lags are looked for this far either way: less than half a stride."""
LEAST_R = 0.9
"""A window in which the plates explain the acceleration worse than this is not trusted."""
APART_S = 0.015
"""Nor is one whose lag differs by more than this from that of the recording."""
TRUNK = ("pelvis", "torso")
"""Without these sensors most of the mass is not seen."""

_STEP_S = 0.0025
_WINDOW_S, _HOP_S, _EDGE_S = 6.0, 3.0, 1.0
# Steps and their harmonics; gravity's error and drift lie below, the ringing of soft tissue above.
_BAND_HZ = (0.6, 8.0)
# A body that is moved by less than this share of its weight stands: nothing to align by.
_STANDS = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class PlateLags:
    """The lags of a recording, and where they hold.

    Attributes
    ----------
    lag_s : (right, left)
        How much later the plate's file shows a force than the sensors do.
    trusted : ndarray of bool, shape (T,)
        Sensor samples in no window that disagrees; standing, where there is nothing to align, is trusted.
    r : float
        Median correlation of force and acceleration over the trusted windows.
    """

    lag_s: tuple[float, float]
    trusted: Bools
    r: float


def newton_lags(recording: Recording, plates: Plates, mass_kg: float) -> PlateLags | None:
    """Find the lags of both plates; None without a trunk sensor, or where no window fits.

    Parameters
    ----------
    recording : Recording
        Its world orientations are taken from the file, or else tracked from the sensors themselves.
    plates : Plates
        Their `lag_s` and `ok` are not used.
    mass_kg : float
    """
    if recording.missing(slots=TRUNK):
        return None
    rise = _band(vertical_acceleration_ms2(recording), recording.rate_hz)
    shifts = np.arange(-SEARCH_S, SEARCH_S + _STEP_S / 2, _STEP_S)
    right, left = (_pushes(plates, side, recording, mass_kg, shifts) for side in SIDES)
    # The filters are not themselves at the ends of a recording.
    edge = round(_EDGE_S * recording.rate_hz)
    whole = range(edge, len(rise) - edge)
    found = []
    for window in _windows(len(rise), recording.rate_hz):
        part = whole[max(0, window.start - edge) : max(0, window.stop - edge)]
        rows = slice(part.start, part.stop)
        fit = _fit(right[:, rows], left[:, rows], rise[rows], shifts) if len(part) else None
        if fit is not None:
            found.append((window, fit))
    if not found:
        return None
    fits = np.array([fit for _, fit in found])
    good = fits[:, 2] >= LEAST_R
    if not good.any():
        return None
    middle = np.median(fits[good, :2], axis=0)
    good &= (np.abs(fits[:, :2] - middle) <= APART_S).all(axis=1)
    if not good.any():
        return None
    trusted = np.ones(len(rise), dtype=bool)
    for (window, _), fine in zip(found, good, strict=True):
        trusted[window] &= bool(fine)
    if not trusted.any():
        return None
    right_s, left_s, r = np.median(fits[good], axis=0).tolist()
    return PlateLags((round(right_s, 4), round(left_s, 4)), trusted, round(r, 3))


def vertical_acceleration_ms2(recording: Recording) -> Floats:
    """Return the upward acceleration of the centre of mass from all working sensors, shape (T,).

    Each sensor stands for its segment; the shares of absent ones are spread over the rest.
    """
    known = recording.orientation or {}
    total, share = np.zeros(len(recording.t_s)), 0.0
    for slot, mass in MASSES.items():
        if recording.missing(slots=(slot,)):
            continue
        acc = recording.acc(slot)
        q = known.get(slot)
        if q is None:
            q = track(acc, recording.gyr(slot), recording.rate_hz)
        total += mass * np.einsum("ij,ij->i", up_in_sensor(q), acc)
        share += mass
    return total / share if share else total


def _pushes(
    plates: Plates, side: str, recording: Recording, mass_kg: float, shifts: Floats
) -> Floats:
    """Return what a plate gives to the acceleration at every lag, shape (lags, T)."""
    force = plates.force_n[side][:, 1]
    sound = np.isfinite(force)
    if sound.sum() < 2:
        return np.zeros((len(shifts), len(recording.t_s)))
    rate_hz = (len(force) - 1) / float(plates.t_s[-1] - plates.t_s[0])
    whole = np.interp(plates.t_s, plates.t_s[sound], force[sound])
    push = _band(whole / mass_kg, rate_hz)
    return np.stack([np.interp(recording.t_s + shift, plates.t_s, push) for shift in shifts])


def _fit(
    right: Floats, left: Floats, rise: Floats, shifts: Floats
) -> tuple[float, float, float] | None:
    """Return the lags that leave the least unexplained, and the correlation there.

    Over all pairs of lags at once: |a + b - y|² is made of the inner products of the rows.
    """
    energy = float(rise @ rise)
    if np.sqrt(energy / len(rise)) < _STANDS * STANDARD_GRAVITY_MS2:
        return None
    total = (right**2).sum(1)[:, None] + (left**2).sum(1)[None] + 2.0 * right @ left.T
    along = (right @ rise)[:, None] + (left @ rise)[None]
    i, j = np.unravel_index(int(np.argmin(total - 2.0 * along)), total.shape)
    if total[i, j] <= 0.0:
        return None
    return float(shifts[i]), float(shifts[j]), float(along[i, j] / np.sqrt(total[i, j] * energy))


def _windows(length: int, rate_hz: float) -> list[slice]:
    width, hop = round(_WINDOW_S * rate_hz), round(_HOP_S * rate_hz)
    starts = list(range(0, max(1, length - width + 1), hop))
    if starts[-1] + width < length:
        starts.append(length - width)
    return [slice(start, min(start + width, length)) for start in starts]


def _band(values: Floats, rate_hz: float) -> Floats:
    sections = butter(2, _BAND_HZ, "bandpass", fs=rate_hz, output="sos")
    return np.asarray(sosfiltfilt(sections, values, axis=-1))
