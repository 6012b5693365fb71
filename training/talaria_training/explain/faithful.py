"""How faithful the relevance is, over all the folds of a study: persons first, then their mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_training.classify.models import Classifier
from talaria_training.classify.tasks import Labelled
from talaria_training.classify.worth import RESAMPLES
from talaria_training.relevance.perturbation import (
    ORDERS,
    PerturbationParams,
    Spoiled,
    estimate,
    faithfulness,
)

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class PersonSpoiled:
    """What replacing points did to one person's strides.

    Attributes
    ----------
    person : str
    strides : int
    curves : ndarray, shape (2, orders, steps + 1)
        Share named rightly, and score of the true class; orders as in `ORDERS`.
    areas : ndarray, shape (2, orders)
        Mean heights of the curves.
    """

    person: str
    strides: int
    curves: Floats
    areas: Floats


def spoiled(
    classifier: Classifier,
    strides: Labelled,
    rows: Rows,
    relevance: NDArray[np.float32],
    target: Rows,
    params: PerturbationParams,
) -> list[PersonSpoiled]:
    """Spoil each person's strides by themselves, so that folds can be put together over people.

    Parameters
    ----------
    classifier : Classifier
        That has not learned from `rows`.
    strides : Labelled
        All there are: ``params.strides`` is of everybody in them, as many of each person.
    rows : ndarray of int, shape (n,)
        Which to spoil.
    relevance : ndarray, shape (n, channels, points)
    target : ndarray of int, shape (n,)
        The true class's place among the classifier's.
    params : PerturbationParams
    """
    person = strides.person[rows]
    each = replace(params, strides=max(1, params.strides // len(np.unique(strides.person))))
    found = []
    for k, name in enumerate(np.unique(person).tolist()):
        mine = np.flatnonzero(person == name)
        of_one = Spoiled(
            strides.values[rows[mine]],
            relevance[mine],
            target[mine],
            person[mine],
            classifier.mean,
            classifier.scale,
        )
        done = faithfulness(classifier.scores, of_one, each, seed=k)
        curves = np.array([[by[o] for o in ORDERS] for by in (done.accuracy, done.score)])
        areas = np.array(
            [[by[o].value for o in ORDERS] for by in (done.accuracy_area, done.score_area)]
        )
        found.append(PersonSpoiled(name, done.strides, curves, areas))
    return found


def by_person(spoiled: Sequence[PersonSpoiled]) -> tuple[Floats, Floats]:
    """Put each person's folds together, strides weighing the same.

    Returns
    -------
    curves : ndarray, shape (people, 2, orders, steps + 1)
    areas : ndarray, shape (people, 2, orders)
    """
    people: dict[str, list[PersonSpoiled]] = defaultdict(list)
    for one in spoiled:
        people[one.person].append(one)
    weights = [[one.strides for one in several] for several in people.values()]
    several = list(zip(people.values(), weights, strict=True))
    curves = [np.average([one.curves for one in ones], axis=0, weights=w) for ones, w in several]
    areas = [np.average([one.areas for one in ones], axis=0, weights=w) for ones, w in several]
    return np.array(curves), np.array(areas)


def perturbation(
    spoiled: Sequence[PersonSpoiled], params: PerturbationParams, seed: int
) -> dict[str, Any]:
    """Sum up over people.

    Returns
    -------
    dict
        ``fraction`` (of the blocks replaced, per step), ``people``, ``strides``, and for ``accuracy`` and
        ``score``, per order: ``curve``, and with 95 % intervals over people its ``area`` and how far that
        lies ``below_random``.
    """
    curves, areas = by_person(spoiled)
    below = areas[:, :, [ORDERS.index("random")]] - areas
    drawn = np.random.default_rng(seed).integers(len(areas), size=(RESAMPLES, len(areas)))
    found: dict[str, Any] = {
        "orders": ORDERS,
        "fraction": np.linspace(0.0, params.upto, params.steps + 1),
        "block_points": params.block_points,
        "people": len(areas),
        "strides": sum(one.strides for one in spoiled),
    }
    for k, what in enumerate(("accuracy", "score")):
        found[what] = {
            order: {
                "curve": curves[:, k, o].mean(axis=0),
                "area": asdict(estimate(areas[:, k, o], drawn)),
                "below_random": asdict(estimate(below[:, k, o], drawn)),
            }
            for o, order in enumerate(ORDERS)
        }
    return found
