"""Is the relevance faithful? Replace the most relevant points first and see whether accuracy falls fastest.

After Samek et al. 2017 (IEEE TNNLS 28:2660-2673), as Horst et al. 2019 (Sci Rep 9:2391) did with gait. A stride
is cut into blocks, a few points of one channel each, which are replaced step by step in three orders: most
relevant first, least relevant first (so, first what spoke against the class), and at random. The area under
an order's curve is the mean accuracy on the way; how far it lies below random's is the measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_training.classify.worth import RESAMPLES
from talaria_training.relevance.explain import batches

Floats = NDArray[np.float64]
Score = Callable[[NDArray[np.float32]], Floats]
Order = Literal["most", "random", "least"]
ORDERS: tuple[Order, ...] = ("most", "random", "least")

_BATCH = 1000
_EDGES_PERCENT = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class PerturbationParams:
    """How strides are spoiled.

    Attributes
    ----------
    block_points : int
        Points of one channel that are replaced together; the last block of a channel may be shorter.
    steps : int
    upto : float
        Share of the blocks replaced after the last step.
    noise : bool
        Replace by draws from the training's mean and spread, instead of by the mean itself.
    random_orders : int
        Random orders drawn per stride.
    strides : int
        No more are spoiled: of a larger table, so many are drawn of each person that it comes to this.
    """

    block_points: int = 5
    steps: int = 10
    upto: float = 0.5
    noise: bool = False
    random_orders: int = 1
    strides: int = 6000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over people, with its 95 % bootstrap interval over people."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Faithfulness:
    """What replacing blocks did.

    Attributes
    ----------
    fraction : ndarray, shape (steps + 1,)
        Of the blocks replaced.
    accuracy, score : mapping of order to ndarray, shape (steps + 1,)
        Mean over people of the share of strides named rightly, and of their class's score.
    accuracy_area, score_area : mapping of order to Estimate
        Mean height of the curve.
    accuracy_below_random, score_below_random : mapping of order to Estimate
        Random's area less this order's, per person: above 0 where the order does more harm than chance.
    people, strides : int
    """

    fraction: Floats
    accuracy: Mapping[Order, Floats]
    score: Mapping[Order, Floats]
    accuracy_area: Mapping[Order, Estimate]
    score_area: Mapping[Order, Estimate]
    accuracy_below_random: Mapping[Order, Estimate]
    score_below_random: Mapping[Order, Estimate]
    people: int
    strides: int


@dataclass(frozen=True, slots=True, eq=False)
class Spoiled:
    """Strides, what they are, and what to put in place of them.

    Attributes
    ----------
    values, relevance : ndarray, shape (N, channels, points)
        Values in their own units, and the relevance for `target`.
    target : ndarray of int, shape (N,)
        The true class.
    people : ndarray of str, shape (N,)
    mean, scale : ndarray, broadcasting against (channels, points)
        Of the training strides alone.
    """

    values: NDArray[np.float32]
    relevance: NDArray[np.float32]
    target: NDArray[np.intp]
    people: NDArray[np.str_]
    mean: NDArray[np.floating]
    scale: NDArray[np.floating]


def faithfulness(
    score: Score,
    strides: Spoiled,
    params: PerturbationParams | None = None,
    seed: int = 0,
    tick: Callable[[int], None] = lambda strides: None,
) -> Faithfulness:
    """Spoil strides step by step in three orders, and measure what is left.

    Parameters
    ----------
    score : callable
        Takes values (n, channels, points), gives scores (n, classes).
    strides : Spoiled
        Of people or trials that the classifier was not trained on.
    params : PerturbationParams, optional
    seed : int
    tick : callable
        Told after each batch how many strides it had.

    Raises
    ------
    ConfigError
        If the parameters leave nothing to replace.
    RecordingError
        If there are no strides.
    """
    params = params or PerturbationParams()
    blocks = _blocks(strides.values.shape, params)
    fraction = np.linspace(0.0, params.upto, params.steps + 1)
    counts = np.round(fraction * (blocks.max() + 1)).astype(int)
    rng = np.random.default_rng(seed)
    rows = _drawn(strides.people, params.strides, rng)
    found = np.zeros((len(ORDERS), 2, len(counts), len(rows)))
    for part in batches(len(rows), _BATCH):
        found[..., part] = _spoil(score, strides, rows[part], blocks, counts, params, rng)
        tick(part.stop - part.start)
    return _measured(fraction, found, strides.people[rows], seed)


def _drawn(people: NDArray[np.str_], most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw rows so that there are about `most` of them, of every person as many (or all there are)."""
    unique, index = np.unique(people, return_inverse=True)
    each = max(1, most // len(unique))
    if len(people) <= most:
        return np.arange(len(people))
    shuffled = rng.permutation(len(people))
    by_person = shuffled[np.argsort(index[shuffled], kind="stable")]
    counts = np.bincount(index)
    nth = np.arange(len(people)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(by_person[nth < each])


def _blocks(shape: tuple[int, ...], params: PerturbationParams) -> NDArray[np.intp]:
    """Give every point (channels, points) the number of its block."""
    count, channels, points = shape
    if not count:
        raise RecordingError("There are no strides to replace points of: give some held out.")
    fits = 1 <= params.block_points <= points and 0 < params.upto <= 1
    if not (fits and min(params.steps, params.random_orders, params.strides) >= 1):
        raise ConfigError(
            f"{params} cannot be done to strides of {points} points: give blocks of 1 to {points} points, "
            "a step, a random order and a stride or more, and a share above 0 up to 1."
        )
    per_channel = -(-points // params.block_points)
    within = np.arange(points) // params.block_points
    return np.asarray(within + per_channel * np.arange(channels)[:, None])


def _spoil(
    score: Score,
    strides: Spoiled,
    part: NDArray[np.intp],
    blocks: NDArray[np.intp],
    counts: NDArray[np.int_],
    params: PerturbationParams,
    rng: np.random.Generator,
) -> Floats:
    """Return (orders, 2, steps + 1, n): whether named rightly, and the class's score."""
    values, target = strides.values[part], strides.target[part]
    instead = _instead(values, strides, params, rng)
    summed = _block_sums(strides.relevance[part], blocks)

    def look(gone: NDArray[np.bool_]) -> Floats:
        scores = score(np.where(gone, instead, values))
        return np.stack([scores.argmax(axis=1) == target, scores[np.arange(len(target)), target]])

    whole = look(np.zeros((1, 1, 1), dtype=bool))

    def curve(ranks: NDArray[np.intp]) -> Floats:
        kept = [look((ranks < count)[:, blocks]) for count in counts[1:]]
        return np.stack([whole, *kept], axis=1)

    most = _ranks(-summed)
    drawn = [curve(_ranks(rng.random(summed.shape))) for _ in range(params.random_orders)]
    # The same ranks backwards, so that ties are broken against both orders alike.
    least = summed.shape[1] - 1 - most
    return np.stack([curve(most), np.mean(drawn, axis=0), curve(least)])


def _instead(
    values: NDArray[np.float32],
    strides: Spoiled,
    params: PerturbationParams,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    spread = rng.standard_normal(values.shape) if params.noise else np.zeros(values.shape)
    return np.asarray(strides.mean + strides.scale * spread, dtype=np.float32)


def _block_sums(relevance: NDArray[np.float32], blocks: NDArray[np.intp]) -> Floats:
    starts = np.flatnonzero(np.diff(blocks.reshape(-1), prepend=-1))
    return np.add.reduceat(relevance.reshape(len(relevance), -1).astype(float), starts, axis=1)


def _ranks(values: Floats) -> NDArray[np.intp]:
    """Place (n, blocks) of each block when the smallest comes first."""
    return np.argsort(np.argsort(values, axis=1), axis=1)


def _measured(fraction: Floats, found: Floats, people: NDArray[np.str_], seed: int) -> Faithfulness:
    """Average over each person's strides, then over people, and resample people."""
    unique, index = np.unique(people, return_inverse=True)
    counts = np.bincount(index)
    firsts = np.cumsum(counts) - counts
    curves = np.add.reduceat(found[..., np.argsort(index)], firsts, axis=-1) / counts
    areas = 0.5 * (curves[:, :, 1:] + curves[:, :, :-1]).mean(axis=2)
    below = areas[ORDERS.index("random")] - areas
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(unique), size=(RESAMPLES, len(unique)))

    def named(values: Floats) -> dict[Order, Estimate]:
        return {order: estimate(row, drawn) for order, row in zip(ORDERS, values, strict=True)}

    mean = curves.mean(axis=-1)
    accuracy, score = (dict(zip(ORDERS, mean[:, k], strict=True)) for k in range(2))
    return Faithfulness(
        fraction,
        accuracy,
        score,
        named(areas[:, 0]),
        named(areas[:, 1]),
        named(below[:, 0]),
        named(below[:, 1]),
        people=len(unique),
        strides=len(people),
    )


def estimate(values: Floats, drawn: NDArray[np.int64]) -> Estimate:
    """Mean over people (people,), and its interval over resamples (times, people) of them by number."""
    low, high = np.percentile(values[drawn].mean(axis=1), _EDGES_PERCENT)
    return Estimate(float(values.mean()), float(low), float(high))
