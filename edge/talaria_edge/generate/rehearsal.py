"""What fills a gap best on one person, found where the truth is known: the same gap, rehearsed.

Before a gap is filled, stretches of the same recording in which everything was measured lose the same
channels for a while and are filled too: by the model, less what it misses on average (a zero that is this
person's own), and by a regression of those channels on the others, learned from the rest of the recording.
What comes nearer fills the gap, and how far it was off is the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from talaria_edge.generate.motion import WINDOW, Conditions
from talaria_edge.generate.ridge import REACH, Ridge

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

FEWEST = 3
"""Rehearsals without which nothing is said: each is judged by what the others found."""
_MOST = 6
DRAWS = 4
"""Of each; a gap is filled with more, whose mean is steadier."""
_LONGEST = 3 * WINDOW
"""Samples hidden at most: a gap that lasts longer is no harder in its middle."""
_ENOUGH = 1000
"""Samples from which a regression is learned, at least."""
_EDGE = WINDOW // 2
"""Samples over which what is measured beside a gap still tells the person's own zero."""
_Q90 = 0.9


class Draws(Protocol):
    """A model that fills what is NaN."""

    def fill_long(
        self, values: Floats, conditions: Conditions, count: int, rng: np.random.Generator
    ) -> Floats:
        """Return `count` draws of values (T, channels), what is known as it is."""
        ...


class Gap(NamedTuple):
    """What lacks.

    Attributes
    ----------
    gone, given : ndarray of int
        Columns that lack, and those known throughout.
    length : int
        Samples.
    """

    gone: NDArray[np.intp]
    given: NDArray[np.intp]
    length: int


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsed:
    """What filling missed where the truth was known.

    Attributes
    ----------
    shift : ndarray of float32, shape (C,)
        To add to the model's draws away from a gap's ends, for each of the channels asked about.
    half_width : ndarray of float32, shape (C,)
        Of an interval that holds nine of ten true values after that, if as many or more are drawn then.
    times : int
        Rehearsals.
    ridge : Ridge or None
        The person's own regression of these channels on what is known in the gap.
    by_ridge : ndarray of bool, shape (C,)
        Which channels it told better than the model.
    """

    shift: Floats
    half_width: Floats
    times: int
    ridge: Ridge | None
    by_ridge: Bools


def rehearse(
    values: Floats,
    gap: Gap,
    good: Bools,
    conditions: Conditions,
    model: Draws,
    rng: np.random.Generator,
) -> Rehearsed | None:
    """Fill stretches of a recording whose truth is known.

    Parameters
    ----------
    values : ndarray, shape (T, channels)
        The recording, NaN where not known.
    gap : Gap
    good : ndarray of bool, shape (T,)
        Where the person walks.
    conditions : Conditions
    model : Draws
    rng : Generator

    Returns
    -------
    Rehearsed or None
        None where too little of the recording is whole.
    """
    gone, given = gap.gone, gap.given
    hidden = min(gap.length, _LONGEST)
    whole = np.isfinite(values[:, [*gone, *given]]).all(axis=1) & good
    starts = _places(whole, hidden + 2 * _EDGE)
    if len(starts) < FEWEST:
        return None
    drawn, told = [], []
    for start in starts:
        part = values[start : start + hidden + 2 * _EDGE].copy()
        true = part[_EDGE:-_EDGE, gone].copy()
        inside = slice(start + _EDGE, start + _EDGE + hidden)
        ridge = _own(values, whole, given, gone, inside)
        if ridge is not None:
            told.append(true - ridge.at(part)[_EDGE:-_EDGE])
        part[_EDGE:-_EDGE, gone] = np.nan
        filled = model.fill_long(part, conditions, DRAWS, rng)[:, _EDGE:-_EDGE, gone]
        drawn.append(true - filled.mean(axis=0))
    if len(told) < len(starts):
        return _judged(np.stack(drawn))
    return _judged(np.stack(drawn), np.stack(told), _own(values, whole, given, gone))


def _own(
    values: Floats,
    whole: Bools,
    given: NDArray[np.intp],
    gone: NDArray[np.intp],
    without: slice | None = None,
) -> Ridge | None:
    """Learn a person's own regression from what is whole, but for a stretch and what touches it."""
    known = whole.copy()
    if without is not None:
        known[max(0, without.start - REACH) : without.stop + REACH] = False
    runs = [run for (run,) in find_objects(label(known)[0]) if run.stop - run.start > 2 * REACH]
    if not len(given) or sum(run.stop - run.start for run in runs) < _ENOUGH:
        return None
    return Ridge.of([values[run] for run in runs], given.tolist(), gone.tolist())


def faded(length: int, before: bool = True, after: bool = True) -> Floats:
    """Say how much of a shift holds at each sample of a gap: all, but where something was measured beside it.

    Parameters
    ----------
    length : int
    before, after : bool
        Whether the recording goes on there.
    """
    at = np.arange(length, dtype=np.float32) + 1
    rises, falls = at if before else np.inf, at[::-1] if after else np.inf
    share = np.clip(np.minimum(rises, falls) / _EDGE, 0.0, 1.0)
    return np.broadcast_to(share, length).astype(np.float32)


def _places(whole: Bools, length: int) -> list[int]:
    """Choose at most so many stretches of a length within runs, apart, evenly over them."""
    starts = [
        start
        for (run,) in find_objects(label(whole)[0])
        for start in range(run.start, run.stop - length + 1, length)
    ]
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(_MOST, len(starts))).round().astype(int))
    return [starts[i] for i in chosen]


def _judged(drawn: Floats, told: Floats | None = None, ridge: Ridge | None = None) -> Rehearsed:
    """Weigh what draws and what a regression missed, each (times, T, C).

    The draws' mean miss is taken away, for each time the mean of the others.
    """
    times = len(drawn)
    weight = faded(drawn.shape[1])[:, None]
    level = (drawn * weight).sum(axis=1) / weight.sum(axis=0)
    others = (level.sum(axis=0) - level) / (times - 1)
    left = np.abs(drawn - weight * others[:, None])
    inner = left[:, weight[:, 0] == weight.max()]  # beside what is known, errors are another matter
    half, off = _half(inner), np.square(inner).mean(axis=(0, 1))
    better = np.zeros(len(half), bool)
    if told is not None:
        better = np.square(told).mean(axis=(0, 1)) < off
        half = np.where(better, _half(np.abs(told)), half)
    shift = level.mean(axis=0).astype(np.float32)
    return Rehearsed(shift, half.astype(np.float32), times, ridge, better)


def _half(off: Floats) -> Floats:
    return np.asarray(np.quantile(off.reshape(-1, off.shape[-1]), _Q90, axis=0))
