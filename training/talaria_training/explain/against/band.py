"""The band that a reference group makes, and where somebody's curves leave it.

A curve is held against the group's mean, in units of the standard deviation with which one more person of the
group would scatter about it. Hundreds of points in many channels would cry wolf by chance alone, so the bound
is one for all of them together: the greatest departure anywhere that people of the group show when each is held
against the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.9
"""Chance of one more person like the group to stay within the band everywhere."""
_BORROWED = 10.0
"""People's worth of weight that a channel's mean variance has in the variance at a point."""
LARGE = 19
"""People from whom the bound can be read off without supposing a distribution."""
_DRAWN = 400
_LEAST = float(np.finfo(np.float32).eps)
_MOST_TRIED = 60
"""People of a large group on whom the false alarms are counted."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the cycle in which somebody lies outside the group's band.

    Attributes
    ----------
    row, channel : int
        Which leg (or 0 for the difference of the legs), and which channel.
    begin, end, peak : int
        First and last point, and that of the greatest departure.
    difference : float
        From the group's mean at the peak, in the channel's unit.
    z : float
        The same in standard deviations of one more person.
    mass : float
        Sum of the z over the span, without sign: what spans are ranked by.
    """

    row: int
    channel: int
    begin: int
    end: int
    peak: int
    difference: float
    z: float
    mass: float


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Somebody's curves held against a group's.

    Attributes
    ----------
    curves, mean, sd, z : ndarray, shape (rows, channels, points)
        The person's; the group's mean; the standard deviation of one more person; departures in it.
    bound : float
        The group's band is the mean and so many standard deviations either way.
    alarms : tuple of int
        Which people of the group left the band that the others made, each tried in turn.
    tried : int
        How many were.
    spans : tuple of Span
        Outside the band, the gravest first.
    """

    curves: Floats
    mean: Floats
    sd: Floats
    z: Floats
    bound: float
    alarms: tuple[int, ...]
    tried: int
    spans: tuple[Span, ...]


def hold(curves: Floats, group: Floats) -> Held:
    """Hold curves (rows, channels, points) against those of a group (people, rows, channels, points)."""
    bound = _bound(group)
    mean, sd = _moments(group)
    z = (curves - mean) / sd
    return Held(curves, mean, sd, z, bound, *false_alarms(group), _spans(z, curves - mean, bound))


def _moments(group: Floats) -> tuple[Floats, Floats]:
    """Mean, and standard deviation of one more person about it."""
    return group.mean(axis=0), _spread(group.var(axis=0, ddof=1), len(group))


def _spread(variance: Floats, people: int) -> Floats:
    """Find the standard deviation of one more person about the mean of so many.

    `variance` is that over them, shape (..., points).

    The variance at a point is drawn towards its channel's mean over the cycle: that of a handful of people
    is tiny somewhere by chance, and there anybody would stand out.
    """
    own = people - 1.0
    pooled = variance.mean(axis=-1, keepdims=True)
    drawn = (own * variance + _BORROWED * pooled) / (own + _BORROWED)
    # In a channel in which all are the same, whoever differs is outside, by a number all the same.
    return np.asarray(np.sqrt(np.maximum(drawn, _LEAST) * (1.0 + 1.0 / people)))


def _greatest(group: Floats) -> Floats:
    """Greatest departure anywhere of each of a group's people (people,) from all the others."""
    people = len(group)
    from_mean = group - group.mean(axis=0)
    from_others = from_mean * (people / (people - 1.0))
    squares = (from_mean**2).sum(axis=0)
    variance = np.maximum(squares - from_mean * from_others, 0.0) / (people - 2.0)
    z = np.abs(from_others / _spread(variance, people - 1))
    return np.asarray(z.reshape(people, -1).max(axis=1))


def _bound(group: Floats) -> float:
    """Find the greatest departure anywhere that one more person like these stays below, at `LEVEL`.

    A group of `LARGE` people or more says so itself: the bound is the right one of their own greatest
    departures, each from the others, whatever their distribution. Fewer have no such percentile. There
    people are drawn from a normal distribution with the group's covariance, again and again so many and
    one more, who is held against them.
    """
    people = len(group)
    if people >= LARGE:
        return float(np.sort(_greatest(group))[int(np.ceil(LEVEL * (people + 1))) - 1])
    random = np.random.default_rng(0)
    scatter = (group - group.mean(axis=0)) / np.sqrt(people - 1.0)
    found = np.empty(_DRAWN)
    for k in range(_DRAWN):
        drawn = np.tensordot(random.standard_normal((people + 1, people)), scatter, axes=1)
        mean, sd = _moments(drawn[1:])
        found[k] = np.abs((drawn[0] - mean) / sd).max()
    return float(np.quantile(found, LEVEL))


def false_alarms(group: Floats) -> tuple[tuple[int, ...], int]:
    """Find the people of a group who leave the band that the others make, and how many were tried."""
    people = len(group)
    tried = np.unique(np.linspace(0, people - 1, min(people, _MOST_TRIED)).round().astype(int))
    alarms = []
    for k in tried.tolist():
        others = np.delete(group, k, axis=0)
        mean, sd = _moments(others)
        if np.abs((group[k] - mean) / sd).max() > _bound(others):
            alarms.append(k)
    return tuple(alarms), len(tried)


def _spans(z: Floats, difference: Floats, bound: float) -> tuple[Span, ...]:
    """Stretches beyond the bound on one side, the gravest first."""
    found = []
    for row, channel in np.ndindex(z.shape[:2]):
        line = z[row, channel]
        outside = np.sign(line) * (np.abs(line) > bound)
        begin = 0
        for sign, run in groupby(outside.tolist()):
            end = begin + len(list(run)) - 1
            if sign:
                peak = begin + int(np.abs(line[begin : end + 1]).argmax())
                found.append(
                    Span(
                        row,
                        channel,
                        begin,
                        end,
                        peak,
                        float(difference[row, channel, peak]),
                        float(line[peak]),
                        float(np.abs(line[begin : end + 1]).sum()),
                    )
                )
            begin = end + 1
    return tuple(sorted(found, key=lambda span: -span.mass))
