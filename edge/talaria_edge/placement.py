"""Which sensor sits where, told by how it moves: thigh or foot, right or left, and on whose body.

A foot lies flat once in every stride and a thigh never does. A leg's rolling and turning (about x and
y) is the mirror image of the other leg's, so read in mirrored axes both follow the same curve, and a
sensor on the wrong side follows its negative. A thigh bends forward quickly in its own leg's swing;
paired with the other leg's foot it seems to do the opposite. The sensors of one body keep one time.

The three rules' weights were fitted on the walks of CapSense Sub01, Sub04 and Sub07 alone (treadmill,
0.75 m/s, normal and mock stiff-knee; `talaria_training.planted` fits them again) and use rates of turn
and thigh accelerations that are scaled to unit power, so neither pace nor sensor gain enters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

HARMONICS = 4
FLATNESS_LIMIT = 0.12
"""Between feet (at most 0.119 in 440 windows of eight people) and thighs (at least 0.160)."""

_MIRROR_GYR = np.array([-1.0, -1.0, 1.0])
_MIRROR_ACC = np.array([1.0, 1.0, -1.0])

_NO = (0j, 0j, 0j)
# Rows are harmonics of the stride, columns x, y, z; a zero is an entry that the rule leaves out because
# the mistake would not turn its sign.
FOOT_SIDE: ComplexArray = np.array(
    [[1.87 + 0.76j, -0.19 - 3.48j, 0], [-0.17 - 1.06j, -1.37 - 2.32j, 0], _NO, _NO]
)
THIGH_SIDE: ComplexArray = np.array(
    [[1.11 - 4.06j, 0.68 - 2.20j, 0], [-0.22 - 0.34j, 0.92 - 1.16j, 0], _NO, _NO]
)
PAIR_GYR: ComplexArray = np.array(
    [_NO, [0, 0, 1.47 + 3.03j], _NO, [0, 0, -0.33 - 0.39j]],
)
PAIR_ACC: ComplexArray = np.array(
    [
        [0, -0.14 + 0.92j, 0],
        [-1.85 - 1.57j, 0, 0],
        [0, 0.20 + 0.69j, 0],
        [0.90 + 0.27j, 0, 0],
    ]
)


@dataclass(frozen=True, slots=True)
class SideScores:
    """How well a walk fits the sides its sensors are said to be on; nan where there is no such sensor.

    Attributes
    ----------
    feet, thighs : float
        Above zero if right and left are as stated, below if they are exchanged. `thighs` means
        something only where `pairing` is above zero.
    pairing : float
        Above zero if each thigh is of the same leg as the foot of its stated side.
    pairing_of : mapping of side to float
        The same for one leg: the parts of that sum.
    """

    feet: float
    thighs: float
    pairing: float
    pairing_of: Mapping[str, float]


def flatness(gyr_rads: FloatArray) -> FloatArray:
    """Rate of turn in the calmest tenth over that in the liveliest, per sensor: low for a foot.

    Parameters
    ----------
    gyr_rads : ndarray, shape (T, S, 3)
        A walk, in any frame.

    Returns
    -------
    ndarray, shape (S,)
    """
    low, high = np.percentile(np.linalg.norm(gyr_rads, axis=2), [10, 90], axis=0)
    return np.asarray(low / np.maximum(high, 1e-9))


def stride_period(gyr_rads: FloatArray, rate_hz: float) -> float:
    """Length of a stride in samples, from the autocorrelation of all sensors' rates; nan if none.

    Parameters
    ----------
    gyr_rads : ndarray, shape (T, S, 3)
        A walk, each sensor in any frame fixed to it.
    rate_hz : float
    """
    rates = gyr_rads.reshape(len(gyr_rads), -1)
    rates = rates - rates.mean(axis=0)
    count = len(rates)
    spectrum = np.fft.rfft(rates, 2 * count, axis=0)
    likeness = np.fft.irfft((np.abs(spectrum) ** 2).sum(axis=1), 2 * count)[:count]
    likeness = likeness / np.arange(count, 0, -1)
    # No adult takes fewer than 24 or more than 120 strides a minute.
    low, high = round(0.5 * rate_hz), min(round(2.5 * rate_hz), count // 2)
    peaks = [
        k
        for k in range(low, high)
        if likeness[k] >= likeness[k - 1] and likeness[k] >= likeness[k + 1]
    ]
    if not peaks or likeness[peaks].max() <= 0.0:
        return float("nan")
    # Two strides are as alike as one: the shortest of the good ones is the stride.
    best = next(k for k in peaks if likeness[k] > 0.85 * likeness[peaks].max())
    before, here, after = likeness[best - 1 : best + 2]
    bend = before - 2 * here + after
    return float(best + (0.5 * (before - after) / bend if bend else 0.0))


def harmonics(x: FloatArray, period: float, count: int = HARMONICS) -> ComplexArray:
    """Amplitudes of the first harmonics of the stride over all whole strides.

    Parameters
    ----------
    x : ndarray, shape (T, ...)
    period : float
        Samples in a stride.
    count : int

    Returns
    -------
    ndarray of complex, shape (count, ...)
    """
    whole = int(int(len(x) // period) * period)
    turns = np.outer(np.arange(1, count + 1), np.arange(whole)) / period
    kernel = np.exp(-2j * np.pi * turns)
    return np.asarray(2.0 / whole * np.tensordot(kernel, x[:whole], (1, 0)))


def side_scores(
    slots: Sequence[str], acc_ms2: FloatArray, gyr_rads: FloatArray, period: float
) -> SideScores:
    """Score the stated sides and pairs of a walk.

    Parameters
    ----------
    slots : sequence of str
        ``femur_*`` and ``calcn_*``; a thigh needs the foot of its stated side.
    acc_ms2, gyr_rads : ndarray, shape (T, S, 3)
        In the segment frames that a calibration under the stated names gives.
    period : float
        Samples in a stride; see `stride_period`.
    """
    feet: list[float] = []
    thighs: list[float] = []
    pairing: dict[str, float] = {}
    for slot, (turn, push) in side_curves(slots, acc_ms2, gyr_rads, period).items():
        if slot.startswith("calcn"):
            feet.append(_fit(FOOT_SIDE, turn))
        else:
            thighs.append(_fit(THIGH_SIDE, turn))
            pairing[slot[-1]] = _fit(PAIR_GYR, turn) + _fit(PAIR_ACC, push)
    return SideScores(_sum(feet), _sum(thighs), _sum(pairing.values()), pairing)


def side_curves(
    slots: Sequence[str], acc_ms2: FloatArray, gyr_rads: FloatArray, period: float
) -> Mapping[str, tuple[ComplexArray, ComplexArray]]:
    """Mirrored unit harmonics of rate and specific force of each slot, (HARMONICS, 3): what rules see."""
    index = {slot: i for i, slot in enumerate(slots)}
    curves = {}
    for slot, i in index.items():
        phase = _phase(gyr_rads[:, index[f"calcn_{slot[-1]}"]], period)
        curves[slot] = (
            _curve(gyr_rads[:, i], period, phase, slot, _MIRROR_GYR),
            _curve(acc_ms2[:, i], period, phase, slot, _MIRROR_ACC),
        )
    return curves


def _phase(gyr_rads: FloatArray, period: float) -> float:
    """Where in the stride a foot's rate has its middle, radians: the same for every mounting."""
    rate = np.linalg.norm(gyr_rads, axis=1)
    return float(np.angle(harmonics(rate - rate.mean(), period, 1)[0]))


def _curve(
    x: FloatArray, period: float, phase: float, slot: str, mirror: FloatArray
) -> ComplexArray:
    found = harmonics(x, period) * (mirror if slot.endswith("_l") else 1.0)
    found = found * np.exp(-1j * np.arange(1, HARMONICS + 1) * phase)[:, None]
    return np.asarray(found / max(float(np.linalg.norm(found)), 1e-9))


def _fit(weights: ComplexArray, curve: ComplexArray) -> float:
    return float((weights.conj() * curve).sum().real)


def _sum(parts: Collection[float]) -> float:
    return sum(parts) if parts else float("nan")


def stride_shifts(gyr_rads: FloatArray, period: float) -> FloatArray:
    """How much sooner or later than on average each stride came, for one sensor, samples.

    Parameters
    ----------
    gyr_rads : ndarray, shape (T, 3)
        A walk of at least two strides, in any frame fixed to the sensor.
    period : float

    Returns
    -------
    ndarray, shape (whole strides,)
        Mean zero.
    """
    length, count = round(period), int(len(gyr_rads) // period)
    windows = np.lib.stride_tricks.sliding_window_view(gyr_rads, length, axis=0)
    windows = windows - windows.mean(axis=2, keepdims=True)  # from each start on: (T', 3, length)
    starts = np.minimum(np.round(np.arange(count) * period).astype(int), len(windows) - 1)
    mean = windows[starts].mean(axis=0)
    misfit = (windows**2).sum(axis=(1, 2)) - 2.0 * np.tensordot(windows, mean, ((1, 2), (0, 1)))
    reach = int(0.2 * period)
    shifts = np.empty(count)
    for k, start in enumerate(starts):
        first = max(0, start - reach)
        shifts[k] = first + np.argmin(misfit[first : start + reach + 1]) - k * period
    return np.asarray(shifts - shifts.mean())


def out_of_time_s(gyr_rads: FloatArray, rate_hz: float) -> FloatArray:
    """How far each sensor's strides stray from the other sensors' in time, RMS seconds, shape (S,).

    The sensors of one body speed up and slow down together; nan for fewer than three sensors or no
    stride.

    Parameters
    ----------
    gyr_rads : ndarray, shape (T, S, 3)
        A walk, each sensor in any frame fixed to it.
    rate_hz : float
    """
    sensors = gyr_rads.shape[1]
    found = np.full(sensors, np.nan)
    for i in range(sensors) if sensors > 2 else ():
        others = [k for k in range(sensors) if k != i]
        period = stride_period(gyr_rads[:, others], rate_hz)
        if not len(gyr_rads) >= 2 * period:
            continue
        kept = np.median([stride_shifts(gyr_rads[:, k], period) for k in others], axis=0)
        stray = stride_shifts(gyr_rads[:, i], period) - kept
        found[i] = np.sqrt(np.mean((stray - stray.mean()) ** 2)) / rate_hz
    return found
