"""What an accuracy is worth: its interval, its classes one by one, and what chance would have given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_training.classify.tasks import Labelled

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]

RESAMPLES = 2000
_LEVEL = 95.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, and its 95 % bootstrap percentile interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Worth:
    """How good some answers were.

    Attributes
    ----------
    strides, people : int
        Judged.
    accuracy : Interval
        Share of strides answered right.
    balanced : Interval
        Mean over classes of the share of their strides answered right.
    resampled : str
        What the intervals' resamples draw: ``people``, or ``strides`` of each person.
    classes : list of str
        Judged or answered.
    recall : list of float or None
        Per class; None for one that was only ever answered.
    confusion : list of list of int
        Strides of each class (rows) by what was answered (columns).
    """

    strides: int
    people: int
    accuracy: Interval
    balanced: Interval
    resampled: str
    classes: list[str]
    recall: list[float | None]
    confusion: list[list[int]]


def worth(strides: Labelled, rows: Rows, answers: NDArray[np.str_], seed: int) -> Worth:
    """Judge answers.

    Parameters
    ----------
    strides : Labelled
    rows : ndarray of int, shape (n,)
        The strides that were judged.
    answers : ndarray of str, shape (n,)
        The class each was given.
    seed : int

    Notes
    -----
    A person's strides go together, so for groups whole people are resampled. Where people are the
    classes, strides are resampled within each person: that interval speaks of these people only.
    """
    classes = np.union1d(strides.labels[rows], answers)
    true, given = (np.searchsorted(classes, names) for names in (strides.labels[rows], answers))
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (true, given), 1)
    judged, right, people = _counted(strides, rows, true, given, len(classes))
    random = np.random.default_rng(seed)
    draw = _strides_drawn if strides.identity else _people_drawn
    drawn = [draw(judged, right, random) for _ in range(RESAMPLES)]
    recall = shares(confusion.diagonal(), confusion.sum(axis=1))
    return Worth(
        len(rows),
        people,
        _interval(float((true == given).mean()), [a for a, _ in drawn]),
        _interval(float(np.nanmean(recall)), [b for _, b in drawn]),
        "strides" if strides.identity else "people",
        classes.tolist(),
        [float(share) if np.isfinite(share) else None for share in recall],
        confusion.tolist(),
    )


def balanced_accuracy(true: NDArray[Any], given: NDArray[Any]) -> float:
    """Mean over the classes that occur of the share of their strides answered right."""
    _, index = np.unique(true, return_inverse=True)
    return float(np.mean(np.bincount(index, weights=true == given) / np.bincount(index)))


def shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Floats:
    """Divide, NaN where there is nothing to divide by."""
    out = np.full(len(whole), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _counted(
    strides: Labelled, rows: Rows, true: Rows, given: Rows, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Count each person's strides of each class (people, classes): those judged, and those right."""
    names, person = np.unique(strides.person[rows], return_inverse=True)
    judged = np.zeros((len(names), classes), dtype=np.int64)
    right = np.zeros_like(judged)
    np.add.at(judged, (person, true), 1)
    np.add.at(right, (person, true), true == given)
    return judged, right, len(names)


def _people_drawn(
    judged: NDArray[np.int64], right: NDArray[np.int64], random: np.random.Generator
) -> tuple[float, float]:
    times = np.bincount(random.integers(len(judged), size=len(judged)), minlength=len(judged))
    return _both(times @ right, times @ judged)


def _strides_drawn(
    judged: NDArray[np.int64], right: NDArray[np.int64], random: np.random.Generator
) -> tuple[float, float]:
    rate = np.divide(right, judged, out=np.zeros(judged.shape), where=judged > 0)
    return _both(random.binomial(judged, rate).sum(axis=0), judged.sum(axis=0))


def _both(right: NDArray[np.int64], judged: NDArray[np.int64]) -> tuple[float, float]:
    return float(right.sum() / judged.sum()), float(np.nanmean(shares(right, judged)))


def _interval(value: float, drawn: list[float]) -> Interval:
    edge = (100.0 - _LEVEL) / 2.0
    low, high = np.percentile(drawn, [edge, 100.0 - edge])
    return Interval(value, float(low), float(high))


def relabelled(strides: Labelled, seed: int) -> Labelled:
    """Deal the labels anew, at the level of people, so that they say nothing about a gait any more.

    People of one label swap theirs with one another. Within a person of several labels (a condition
    that everybody walked in) the labels swap places, all strides of one label together: what is left
    is that these strides belong together.
    """
    random = np.random.default_rng(seed)
    people = np.unique(strides.person)
    own = {p: np.unique(strides.labels[strides.person == p]) for p in people.tolist()}
    single = [p for p, labels in own.items() if len(labels) == 1]
    handed: list[str] = random.permutation([own[p][0] for p in single]).tolist() if single else []
    swap = {p: {str(own[p][0]): new} for p, new in zip(single, handed, strict=True)}
    for p in own.keys() - set(single):
        swap[p] = dict(zip(own[p].tolist(), random.permutation(own[p]).tolist(), strict=True))
    pairs = zip(strides.person.tolist(), strides.labels.tolist(), strict=True)
    return replace(strides, labels=np.array([swap[p][label] for p, label in pairs]))


def names_swapped(confusion: list[list[int]], times: int, seed: int) -> list[float]:
    """Balanced accuracies if the people learned from had each other's names.

    A classifier fitted to swapped names gives swapped answers, so no fit is needed: the columns of the
    confusion matrix change places.

    Parameters
    ----------
    confusion : list of list of int
        As of `Worth`.
    times : int
    seed : int
    """
    random = np.random.default_rng(seed)
    counts = np.array(confusion)
    judged = counts.sum(axis=1)
    seen = judged > 0
    found = []
    for _ in range(times):
        right = counts[np.arange(len(counts)), random.permutation(len(counts))]
        found.append(float((right[seen] / judged[seen]).mean()))
    return found


def chance(figure: float, permuted: list[float]) -> float:
    """Find the p of a figure as good as this or better by chance, itself counted: never 0."""
    return (1 + sum(other >= figure - 1e-12 for other in permuted)) / (1 + len(permuted))
