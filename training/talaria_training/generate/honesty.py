"""Whether generated gait is like real gait of people the model never saw, and whether it returns anybody's own.

Everything is over cycles (`talaria_training.generate.gait_cycles`). Real cycles must be of people who were
held out, except where training people are asked for; intervals resample whole people, as a person's cycles are
alike. Generated cycles may carry the person whose conditions they were asked for; cycles of nobody are each
their own.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError
from talaria_training.classify.worth import Interval
from talaria_training.generate.gait_cycles import Cycles, statistics

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

NOBODY = ""
"""The person of a generated cycle that was asked for without one."""
RESAMPLES = 500
CLOSE_QUANTILE = 0.01
"""Generated cycles nearer to a training cycle than this share of one person's cycles are to one another's."""
FEWEST = 8
"""Cycles of which a number is compared."""


@dataclass(frozen=True, slots=True)
class Distance:
    """How one number of the generated cycles differs from the real ones'.

    Attributes
    ----------
    name : str
    real, generated : float
        Means.
    shift : Interval
        Difference of the means, in standard deviations of the real.
    spread : Interval
        Standard deviation of the generated over that of the real.
    """

    name: str
    real: float
    generated: float
    shift: Interval
    spread: Interval


@dataclass(frozen=True, slots=True)
class Covered:
    """Share of real cycles that a generated one resembles more than any other real person's does.

    Attributes
    ----------
    style : int
        Of the real cycles: index into `STYLES`, -1 unknown; None is all of them.
    cycles : int
    share : Interval
        0.5 is what as many cycles of one more real person would give, roughly; 0 is "not covered".
    """

    style: int | None
    cycles: int
    share: Interval


@dataclass(frozen=True, slots=True)
class Privacy:
    """How near generated cycles come to training ones, root mean square of standardised channels.

    Attributes
    ----------
    generated, held_out, own : tuple of float
        1st, 10th and 50th percentile of the distance to the nearest training cycle: of generated
        cycles, of held-out people's, and of each training cycle to its own person's other ones.
    too_close : float
        Share of generated cycles nearer to a training cycle than the 1st percentile of `own`; 0.01 or
        less is what people do to themselves.
    """

    generated: tuple[float, float, float]
    held_out: tuple[float, float, float]
    own: tuple[float, float, float]
    too_close: float


def distances(real: Cycles, generated: Cycles, seed: int = 0) -> list[Distance]:
    """Compare every number of `statistics` that both know in at least eight cycles."""
    ours, theirs = statistics(real), statistics(generated)
    random = np.random.default_rng(seed)
    names = [
        name
        for name, a in ours.items()
        if min(np.isfinite(a).sum(), np.isfinite(theirs[name]).sum()) >= FEWEST and np.nanstd(a) > 0
    ]
    means, deviations = zip(
        *(
            _moments(np.column_stack([known[name] for name in names]), each_own(cycles), random)
            for known, cycles in ((ours, real), (theirs, generated))
        ),
        strict=True,
    )
    shift = (means[1] - means[0]) / deviations[0]
    spread = deviations[1] / deviations[0]
    return [
        Distance(
            name,
            float(means[0][0, k]),
            float(means[1][0, k]),
            interval(float(shift[0, k]), shift[1:, k]),
            interval(float(spread[0, k]), spread[1:, k]),
        )
        for k, name in enumerate(names)
    ]


def _moments(
    x: Floats, person: NDArray[np.str_], random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return means and standard deviations, (1 + RESAMPLES, K): of all rows, then of resampled people's."""
    weights = np.concatenate([np.ones((1, len(x))), resampled(person, random)])
    known = np.isfinite(x)
    middle = np.nanmean(x, axis=0)
    off = np.where(known, x - middle, 0.0)
    count = np.maximum(weights @ known, 1e-9)  # a draw may know nothing of it
    mean = weights @ off / count
    return mean + middle, np.sqrt(np.maximum(weights @ off**2 / count - mean**2, 1e-24))


def coverage(real: Cycles, generated: Cycles, seed: int = 0) -> list[Covered]:
    """Ask of each real cycle whether a generated one is nearer than any real one of somebody else.

    As many generated cycles are drawn as there are real ones of other people, and as many again: more would
    be nearer by number alone.
    """
    near_real, near_generated = np.full((2, len(real)), np.nan)
    a, b = np.split(common(*(_scaled(c, real) for c in (real, generated))), [len(real)])
    random = np.random.default_rng(seed)
    for who in np.unique(real.person):
        own, others = real.person == who, np.flatnonzero(real.person != who)
        count = min(len(others), len(generated))
        if count:
            near_real[own] = _nearest(a[own], a[random.choice(others, count, replace=False)])
            chosen = random.choice(len(generated), count, replace=False)
            near_generated[own] = _nearest(a[own], b[chosen])
    nearer = np.where(np.isfinite(near_real), near_generated < near_real, np.nan)
    groups = [None, *np.unique(real.style).tolist()]
    found = []
    for style in groups:
        rows = np.flatnonzero(np.isfinite(nearer) & ((real.style == style) | (style is None)))
        if len(rows):
            weights = resampled(real.person[rows], random)
            means = weights @ nearer[rows] / weights.sum(axis=1)
            found.append(Covered(style, len(rows), interval(float(nearer[rows].mean()), means)))
    return found


def privacy(training: Cycles, held_out: Cycles, generated: Cycles) -> Privacy:
    """Ask whether the model returns cycles of the people it was trained on.

    Parameters
    ----------
    training, held_out, generated : Cycles
        A person's neighbours of its own come from other stretches of the same recordings.

    Raises
    ------
    ConfigError
        If no training person has two cycles.
    """
    groups = (training, held_out, generated)
    x = common(*(_scaled(c, training) for c in groups))
    a, b, c = np.split(x, np.cumsum([len(training), len(held_out)]))
    own = np.concatenate(
        [_nearest_other(a[training.person == who]) for who in np.unique(training.person)]
    )
    if not len(own):
        raise ConfigError(
            "No training person has two cycles, so nothing says how alike one person's cycles are: give "
            "longer recordings."
        )
    to_training = _nearest(c, a)
    limit = np.quantile(own, CLOSE_QUANTILE)
    return Privacy(
        _percentiles(to_training),
        _percentiles(_nearest(b, a)),
        _percentiles(own),
        float((to_training < limit).mean()),
    )


def _percentiles(values: Floats) -> tuple[float, float, float]:
    first, tenth, middle = np.quantile(values, [0.01, 0.1, 0.5])
    return float(first), float(tenth), float(middle)


def interval(value: float, drawn: Floats) -> Interval:
    """Set the 95 % percentile interval of resamples beside a figure."""
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def each_own(cycles: Cycles) -> NDArray[np.str_]:
    """Return who each cycle is of; those of nobody are each somebody else."""
    own = np.array([f"{NOBODY}#{i}" for i in range(len(cycles))])
    return np.where(cycles.person == NOBODY, own, cycles.person)


def resampled(person: NDArray[np.str_], random: np.random.Generator) -> Floats:
    """Draw people with replacement: how often each row, (RESAMPLES, M), comes with its person."""
    _, index = np.unique(person, return_inverse=True)
    people = int(index.max()) + 1
    drawn = random.multinomial(people, np.full(people, 1 / people), size=RESAMPLES)
    return np.asarray(drawn[:, index], dtype=np.float64)


def _scaled(cycles: Cycles, by: Cycles) -> Floats:
    """Standardise by the spread of each channel over `by`; a distance is then per channel and point."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a channel that nobody measured
        deviation = np.nanstd(by.values, axis=(0, 1))
    scaled = cycles.values / np.where(deviation > 0, deviation, np.nan)
    return scaled.reshape(len(cycles), -1)


def common(*groups: Floats) -> Floats:
    """Stack rows and keep the columns that all of them know."""
    x = np.concatenate(groups)
    known = np.isfinite(x).all(axis=0)
    if not known.any():
        raise ConfigError(
            "The cycles have no channel that all of them know, so they cannot be compared: give cycles of "
            "the same data set, or leave out those of another."
        )
    return x[:, known]


def _nearest(x: Floats, among: Floats) -> Floats:
    """Return the root mean square difference of each row to the nearest of others."""
    from scipy.spatial.distance import cdist  # noqa: PLC0415  (slow to load)

    parts = [cdist(part, among).min(axis=1) for part in np.array_split(x, len(x) // 500 + 1)]
    return np.asarray(np.concatenate(parts) / np.sqrt(x.shape[1]))


def _nearest_other(x: Floats) -> Floats:
    if len(x) < 2:
        return np.empty(0)
    return np.array([_nearest(x[[i]], np.delete(x, i, axis=0))[0] for i in range(len(x))])
