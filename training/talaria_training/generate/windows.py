"""Motions cut into the windows that a generative model learns from, and who is held out when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import count

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_edge.generate.motion import (
    NUMBERS,
    RATE_HZ,
    STYLES,
    WINDOW,
    Conditions,
    Motion,
    columns,
)

Floats = NDArray[np.floating]

LEAST_KNOWN = 0.2
"""A window of which less was measured teaches little; the five angles of one leg are a shade more."""
# Each repeats once a stride; pelvis and velocity repeat with every step.
_PERIODIC = (
    "knee_angle_r",
    "knee_angle_l",
    "hip_flexion_r",
    "hip_flexion_l",
    "grf_vertical_r",
    "grf_vertical_l",
)
_SHORTEST_S, _LONGEST_S = 0.45, 2.5
"""Strides from a sprint's to a very slow walk's."""
_AROUND_S = 4.5  # what is looked at around a window: two slow strides and a half
_OVERLAP_S = 0.4
_LEAST_R, _AS_GOOD = 0.7, 0.8
_APART = (
    1.35  # nobody's pace changes by more within a motion: two strides were taken for one, or a half
)


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows of gait, one row each.

    Attributes
    ----------
    values : ndarray of float32, shape (N, WINDOW, channels)
        NaN where not measured.
    numbers : ndarray of float32, shape (N, len(NUMBERS))
        NaN where not known; `stride_hz` is the window's own.
    style : ndarray of int64, shape (N,)
        Index into `STYLES`, -1 unknown.
    person, name : ndarray of str, shape (N,)
    start : ndarray of int64, shape (N,)
        First sample within its `Motion`.
    """

    values: NDArray[np.float32]
    numbers: NDArray[np.float32]
    style: NDArray[np.int64]
    person: NDArray[np.str_]
    name: NDArray[np.str_]
    start: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.values)

    def of(self, people: Iterable[str]) -> Windows:
        """Keep these people's windows."""
        return self.select(np.isin(self.person, list(people)))

    def without(self, people: Iterable[str]) -> Windows:
        """Keep everybody else's windows."""
        return self.select(~np.isin(self.person, list(people)))

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Windows:
        """Keep the windows that `rows`, a mask or indices, names."""
        return Windows(*(getattr(self, field.name)[rows] for field in fields(self)))


def cut(motions: Sequence[Motion], stride: int = 25, least: int = 1) -> Windows:
    """Cut motions into windows of `WINDOW` samples, one every `stride` samples.

    Motions too short for `least` windows are cut more closely: a single step on a plate would be seen at one
    phase only.

    Windows of which less than `LEAST_KNOWN` was measured are left out. A window's strides per second are
    read from the four and a half seconds around it (see `stride_hz`), or are the motion's where those do not
    tell or differ by a third; a motion that does not know its own, such as one without a clock, gives its
    windows none.

    Raises
    ------
    RecordingError
        If no window is left.
    """
    parts = [part for motion in motions if (part := _cut_one(motion, stride, least)) is not None]
    if not parts:
        raise RecordingError(
            f"None of the {len(motions)} motions holds {WINDOW / RATE_HZ:g} s of which {LEAST_KNOWN:.0%} was "
            "measured: give longer recordings, or more of their channels."
        )
    return Windows(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Windows)
        )
    )


def _cut_one(motion: Motion, stride: int, least: int) -> Windows | None:
    if len(motion.values) < WINDOW:
        return None
    if least > 1:
        stride = min(stride, max(1, (len(motion.values) - WINDOW) // (least - 1)))
    views = np.lib.stride_tricks.sliding_window_view(motion.values, WINDOW, axis=0)
    values = np.ascontiguousarray(np.swapaxes(views[::stride], 1, 2), dtype=np.float32)
    start = np.arange(0, len(views), stride, dtype=np.int64)
    known = np.isfinite(values).mean(axis=(1, 2)) >= LEAST_KNOWN
    values, start = values[known], start[known]
    if not len(values):
        return None
    numbers = np.tile(_numbers(motion.conditions), (len(values), 1))
    if np.isfinite(motion.conditions.stride_hz):
        numbers[:, NUMBERS.index("stride_hz")] = [_own_hz(motion, at) for at in start]
    style = motion.conditions.style
    return Windows(
        values,
        numbers,
        np.full(len(values), -1 if style is None else STYLES.index(style), np.int64),
        np.full(len(values), motion.person),
        np.full(len(values), motion.name),
        start,
    )


def _numbers(conditions: Conditions) -> NDArray[np.float32]:
    return np.array([getattr(conditions, name) for name in NUMBERS], np.float32)


def _own_hz(motion: Motion, start: int) -> float:
    usual_hz = motion.conditions.stride_hz
    reach = round(_AROUND_S * RATE_HZ / 2)
    middle = start + WINDOW // 2
    found_hz = stride_hz(motion.values[max(0, middle - reach) : middle + reach], usual_hz)
    return found_hz if 1 / _APART < found_hz / usual_hz < _APART else usual_hz


def stride_hz(values: Floats, otherwise: float = np.nan) -> float:
    """Return how many strides a second a stretch of gait has, by autocorrelation.

    The first peak that is nearly as high as the highest counts, in that channel of knees, hips and vertical
    forces, known throughout, that repeats itself best. A stride is told if 0.4 s of it are seen again.

    Parameters
    ----------
    values : ndarray, shape (T, len(CHANNELS))
    otherwise : float
        Returned where no channel repeats itself.
    """
    best_r, best = _LEAST_R, otherwise
    for column in columns(_PERIODIC):
        curve = values[:, column].astype(float)
        if not np.isfinite(curve).all():
            continue
        r, period_s = _period_s(curve - curve.mean())
        if r > best_r:
            best_r, best = r, 1.0 / period_s
    return best


def usual_stride_hz(values: Floats) -> float:
    """Return the median of `stride_hz` over a motion, stretch by stretch; NaN where none tells."""
    length = round(_AROUND_S * RATE_HZ)
    found = [stride_hz(values[at : at + length]) for at in range(0, len(values), length)]
    told = [hz for hz in found if np.isfinite(hz)]
    return float(np.median(told)) if told else np.nan


def _period_s(curve: Floats) -> tuple[float, float]:
    """Return how well a curve of mean zero repeats itself, and after how long; (0, nan) if it does not."""
    longest = min(round(_LONGEST_S * RATE_HZ), len(curve) - round(_OVERLAP_S * RATE_HZ))
    shortest = round(_SHORTEST_S * RATE_HZ)
    if longest <= shortest + 1:
        return 0.0, np.nan
    lags = np.arange(longest + 1)
    spectrum = np.fft.rfft(curve, 2 * len(curve))
    product = np.fft.irfft(np.abs(spectrum) ** 2)[: longest + 1]
    energy = np.concatenate([[0.0], np.cumsum(curve**2)])
    both = energy[len(curve) - lags] * (energy[-1] - energy[lags])
    r = product / np.sqrt(np.maximum(both, 1e-12))
    inner = np.arange(shortest, longest)
    peaks = inner[(r[inner] >= r[inner - 1]) & (r[inner] > r[inner + 1])]
    if not len(peaks) or r[peaks].max() <= 0.0:
        return 0.0, np.nan
    at = int(peaks[r[peaks] >= _AS_GOOD * r[peaks].max()][0])
    bend = r[at - 1] - 2 * r[at] + r[at + 1]
    shift = 0.5 * (r[at - 1] - r[at + 1]) / bend if bend else 0.0
    return float(r[at]), float((at + shift) / RATE_HZ)


def folds(people_by_source: Mapping[str, Iterable[str]], n: int = 4) -> list[tuple[str, ...]]:
    """Deal people into `n` groups to be held out in turn, the people of each data set in turn to each.

    Everybody is in exactly one group, also who is in two data sets.

    Raises
    ------
    ConfigError
        If there are fewer people than groups.
    """
    groups: list[list[str]] = [[] for _ in range(n)]
    turn = count()
    dealt: set[str] = set()
    for source in sorted(people_by_source):
        for person in sorted(set(people_by_source[source]) - dealt):
            groups[next(turn) % n].append(person)
            dealt.add(person)
    if len(dealt) < n:
        raise ConfigError(
            f"{len(dealt)} people cannot be held out in {n} groups: ask for at most {len(dealt)} groups."
        )
    return [tuple(group) for group in groups]
