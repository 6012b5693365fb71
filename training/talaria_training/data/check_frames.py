"""Whether a sensor's accelerometer, gyroscope and orientation speak of the same axes.

Over a whole number of strides a body returns to its pace, so its acceleration averages to nothing and
what is left of the specific force is gravity: read in a frame that is carried along by the gyroscope,
its mean has the length of gravity. Where the gyroscope turns the other way than the accelerometer
does, the frame goes astray and the mean falls short. Walking turns a sensor about one axis mostly, and a
thigh by so little that its own pendulum hides it; so what this finds is the axis that a foot flexes
about, and in brisk walking a shank. Where there is an orientation, all axes of all sensors are compared
with it.
"""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import correlate, correlation_lags
from scipy.spatial.transform import Rotation

from talaria_edge.kinematics import rotate
from talaria_edge.placement import stride_period
from talaria_training.data.check_signals import rest_level
from talaria_training.data.faults import Fault, Severity
from talaria_training.data.recording import Recording

Floats = NDArray[np.float64]

AXES: Floats = np.array(
    [
        np.diag(signs)[list(order)]
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]
)
"""All 48 ways to exchange and reverse three axes; the first changes nothing."""
# Right axes fall short of gravity by at most 0.02 on CapSense Sub01, Sub04 and Sub07; a foot whose
# flexion is reversed falls short by 0.10 to 0.37.
_SHORT = 0.06
_BETTER = 0.4
_WINDOWS = 24
_WALK_RADS = 0.7
_LEAST_STRIDES = 6
_NORM_OFF, _NORM_SHARE = 0.02, 0.001
_TILT_RAD = float(np.radians(20.0))
# Sound orientations of CapSense differ from their gyroscopes by at most 0.17 below 5 Hz.
_AGREE, _DISAGREE = 0.2, 0.3
_SMOOTH_S = 0.03
_LAG_REACH_S, _LAG_S = 0.5, 0.015
_LIVELY_RADS = 0.3


def check_axes(recording: Recording) -> list[Fault]:
    """Hold each sensor's gyroscope against its accelerometer, over strides."""
    slots = [slot for slot in recording.slots if not recording.missing(slots=(slot,))]
    walk = _walking_part(recording, slots)
    if walk is None:
        return []
    cut, period = walk
    found = []
    for slot in slots:
        acc, gyr = recording.acc(slot), recording.gyr(slot)
        level = rest_level(acc[np.isfinite(acc).all(axis=1)], recording.rate_hz)
        walk_of = (acc[cut], gyr[cut], recording.rate_hz, period)
        as_is = _shortfall(_carried_mean(AXES[:1], *walk_of), level)[0]
        if as_is <= _SHORT:
            continue
        best = float(_shortfall(_carried_mean(AXES, *walk_of), level).min())
        if best < _BETTER * as_is:
            found.append(
                Fault(
                    Severity.SPOILS,
                    recording.name,
                    slot,
                    "its gyroscope and its accelerometer disagree about which way it turns (gravity "
                    f"comes out {as_is:.0%} off, and {best:.0%} with other axes)",
                    "its axes are left-handed, or one of them is reversed or exchanged in the gyroscope or "
                    "the accelerometer: correct its columns and signs",
                )
            )
    return found


def check_orientations(recording: Recording) -> list[Fault]:
    """Hold each orientation against the sensor's own gyroscope and accelerometer."""
    found = []
    for slot, q in (recording.orientation or {}).items():
        part = f"orientation of {slot}"
        off = np.abs(np.linalg.norm(q, axis=1) - 1.0)
        if np.mean(~(off <= _NORM_OFF)) > _NORM_SHARE:
            share = np.mean(~(off <= _NORM_OFF))
            found.append(
                Fault(
                    Severity.SPOILS if share > 0.01 else Severity.WEAKENS,
                    recording.name,
                    part,
                    f"{share:.1%} of its quaternions are not of length 1",
                    "export the orientation again; do not filter or interpolate its components one by one",
                )
            )
        elif not recording.missing(slots=(slot,)):
            found += _against_sensor(recording, slot, q)
    return found


def _walking_part(recording: Recording, slots: list[str]) -> tuple[slice, float] | None:
    """Return the longest walk, at most a minute of it, and its stride in samples."""
    if not slots:
        return None
    rates = np.stack([recording.gyr(slot) for slot in slots], axis=1)
    width = round(2.0 * recording.rate_hz)
    level = np.linalg.norm(np.nan_to_num(rates), axis=2).mean(axis=1)
    if len(level) <= width:
        return None
    walking = np.convolve(level, np.ones(width) / width, "same") > _WALK_RADS
    walking &= np.isfinite(rates).all(axis=(1, 2))
    edges = np.flatnonzero(np.diff(np.concatenate(([0], walking.astype(np.int8), [0]))))
    if not len(edges):
        return None
    longest = int(np.argmax(edges[1::2] - edges[::2]))
    start, stop = int(edges[2 * longest]), int(edges[2 * longest + 1])
    stop = min(stop, start + round(60.0 * recording.rate_hz))
    period = stride_period(rates[start:stop], recording.rate_hz)
    if not stop - start > _LEAST_STRIDES * period:
        return None
    return slice(start, stop), period


def _shortfall(mean: Floats, level: float) -> Floats:
    """How far off gravity the usual stride is, as a share of it, per choice of axes."""
    return np.asarray(np.median(np.abs(mean / level - 1.0), axis=1))


def _carried_mean(axes: Floats, acc: Floats, gyr: Floats, rate_hz: float, period: float) -> Floats:
    """Length of the mean specific force over single strides, in the frame the gyroscope carries.

    Returns
    -------
    ndarray, shape (A, W)
        For each of `axes` (A, 3, 3) put on the gyroscope, and each of some strides.
    """
    length = round(period)
    starts = np.linspace(0, len(acc) - length, _WINDOWS).astype(int)
    rows = starts[:, None] + np.arange(length)
    turn = np.einsum("mij,wtj->tmwi", axes, gyr[rows]).reshape(length, -1, 3) / rate_hz
    force = np.tile(acc[rows].transpose(1, 0, 2), (1, len(axes), 1))
    now = Rotation.identity(turn.shape[1])
    total = np.zeros((turn.shape[1], 3))
    for theta, here in zip(turn, force, strict=True):
        total += now.apply(here)
        now = now * Rotation.from_rotvec(theta)
    return np.asarray(np.linalg.norm(total / length, axis=1).reshape(len(axes), _WINDOWS))


def _against_sensor(recording: Recording, slot: str, q: Floats) -> list[Fault]:
    part = f"orientation of {slot}"
    gyr = recording.gyr(slot)
    if np.nanpercentile(np.linalg.norm(gyr, axis=1), 90) < _LIVELY_RADS:
        return []
    fits, lag = _misfits(q, gyr, recording.rate_hz)
    as_is = float(fits[0])
    if as_is > _DISAGREE:
        what = f"it turns differently than its own gyroscope (misfit {as_is:.0%})"
        how = _explanation(q, gyr, recording.rate_hz)
        return [Fault(Severity.SPOILS, recording.name, part, what, how)]
    if abs(lag) > _LAG_S:
        what = f"it is {abs(lag):.2f} s {'behind' if lag > 0 else 'ahead of'} its own gyroscope"
        how = "shift it by that, or export both from one recording"
        return [Fault(Severity.WEAKENS, recording.name, part, what, how)]
    up = np.nanmean(rotate(q, recording.acc(slot)), axis=0)
    up /= np.linalg.norm(up)
    tilt = float(np.arccos(np.clip(up[2], -1.0, 1.0)))
    if tilt > _TILT_RAD:
        axis = int(np.argmax(np.abs(up)))
        points = f"{'-' if up[axis] < 0 else ''}{'xyz'[axis]}"
        what = f"gravity comes out {np.degrees(tilt):.0f}° off its z axis (nearest {points})"
        how = "turn its world so that z is up, or look whether it is sensor to world"
        return [Fault(Severity.SPOILS, recording.name, part, what, how)]
    return []


def _misfits(q: Floats, gyr: Floats, rate_hz: float) -> tuple[Floats, float]:
    """Compare an orientation's rate with a gyroscope.

    Returns
    -------
    misfits : ndarray, shape (48,)
        Relative RMS difference at the best lag, with each of `AXES` put on the gyroscope.
    lag_s : float
        Positive where the orientation is late.
    """
    turns = Rotation.from_quat(q, scalar_first=True)
    seen = (turns[:-1].inv() * turns[1:]).as_rotvec() * rate_hz
    felt = np.nan_to_num(0.5 * (gyr[:-1] + gyr[1:]))
    # A landing shakes a foot faster than a filter's orientation can show: the leg's own turning is below.
    seen, felt = (gaussian_filter1d(x, _SMOOTH_S * rate_hz, axis=0) for x in (seen, felt))
    lag = _lag(np.linalg.norm(seen, axis=1), np.linalg.norm(felt, axis=1), rate_hz)
    shift = round(lag * rate_hz)
    seen, felt = (
        (seen[shift:], felt[: len(felt) - shift]) if shift >= 0 else (seen[:shift], felt[-shift:])
    )
    # A jump between two quaternions must not outweigh the walk.
    known = np.linalg.norm(seen, axis=1) < 2.0 * np.linalg.norm(felt, axis=1).max()
    power = float((felt[known] ** 2).sum())
    cross = seen[known].T @ felt[known]
    fits = ((seen[known] ** 2).sum() + power - 2.0 * np.einsum("mij,ij->m", AXES, cross)) / power
    return np.sqrt(np.maximum(fits, 0.0)), lag


def _lag(seen: Floats, felt: Floats, rate_hz: float) -> float:
    lags = correlation_lags(len(seen), len(felt))
    near = np.abs(lags) <= _LAG_REACH_S * rate_hz
    likeness = correlate(seen - seen.mean(), felt - felt.mean(), "full", "fft")[near]
    best = int(likeness.argmax())
    if not 0 < best < len(likeness) - 1:
        return float(lags[near][best]) / rate_hz
    left, here, right = likeness[best - 1 : best + 2].tolist()
    bend = left - 2 * here + right
    return float(lags[near][best] + (0.5 * (left - right) / bend if bend else 0.0)) / rate_hz


def _explanation(q: Floats, gyr: Floats, rate_hz: float) -> str:
    """Say what would make the two agree best, if anything does."""
    fits, _ = _misfits(q, gyr, rate_hz)
    best = int(fits.argmin())
    axes = (
        f"its axes are not the gyroscope's ({_said(AXES[best])} of the gyroscope fit): correct one"
    )
    known = {axes: float(fits[best])}
    for meaning, turned in {
        "it is world to sensor: invert it": q * [1, -1, -1, -1],
        "its scalar comes last: put it first": q[:, [3, 0, 1, 2]],
        "it is world to sensor and its scalar comes last": q[:, [3, 0, 1, 2]] * [1, -1, -1, -1],
    }.items():
        known[meaning] = float(_misfits(turned, gyr, rate_hz)[0][0])
    likely = min(known, key=lambda meaning: known[meaning])
    if known[likely] < _AGREE:
        return likely
    return "look whether it belongs to this sensor and this recording"


def _said(axes: Floats) -> str:
    names = []
    for row in axes:
        axis = int(np.argmax(np.abs(row)))
        names.append(f"{'-' if row[axis] < 0 else ''}{'xyz'[axis]}")
    return ", ".join(names)
