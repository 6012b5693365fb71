"""One model judged, and every stride that judged it explained by the network that had not seen it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_training.classify import protocol
from talaria_training.classify.models import Classifier, fit
from talaria_training.classify.splits import Fold, split
from talaria_training.classify.tasks import Labelled
from talaria_training.engine import Engine
from talaria_training.relevance.explain import class_index, explain
from talaria_training.relevance.perturbation import (
    ORDERS,
    PerturbationParams,
    Spoiled,
    faithfulness,
)
from talaria_training.relevance.rules import Rules

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Bar = Callable[[str, int], AbstractContextManager[Callable[..., object]]]
"""Opens a progress bar of a name and a number of steps; what it yields takes one step."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One model on one split.

    Attributes
    ----------
    study : dict
        What `talaria_training.classify.protocol.study` found.
    rows : ndarray of int, shape (n,)
        The strides that were judged, fold by fold.
    relevance : ndarray, shape (n, channels, points)
        Theirs, for their true class.
    spoiled : tuple of PersonSpoiled
        One per person and fold; empty where that was not asked.
    """

    study: dict[str, Any]
    rows: Rows
    relevance: NDArray[np.float32]
    spoiled: tuple[PersonSpoiled, ...]


def run(
    strides: Labelled,
    plan: protocol.Plan,
    rules: Rules,
    spoil: PerturbationParams | None,
    engine: Engine,
    bar: Bar,
) -> Run:
    """Judge the plan's first model, then explain the strides that judged it.

    Parameters
    ----------
    strides : Labelled
    plan : Plan
    rules : Rules
    spoil : PerturbationParams or None
        How to replace points; None does not. ``strides`` is of everybody, as many of each person.
    engine : Engine
    bar : callable

    Raises
    ------
    ConfigError
        If the strides cannot be split so.
    TalariaError
        If a fold failed.
    """
    model = plan.models[0]
    with bar(f"Judging {model}", len(protocol.jobs_of(strides, plan))) as done:
        study = protocol.study(strides, plan, engine, done)
    folds = split(plan.split, strides, plan.seed, plan.folds)
    relevance, spoiled = [], []
    with bar(f"Explaining {model}", len(folds)) as done:
        for fold, settings in zip(folds, study["models"][model]["settings"], strict=True):
            classifier = learned(model, strides, fold, settings, plan.seed)
            target = class_index(classifier.classes, strides.labels[fold.test])
            found = explain(classifier, strides.values[fold.test], target, rules)
            if spoil is not None:
                spoiled += _spoiled(classifier, strides, fold, found, target, spoil)
            relevance.append(found)
            done()
    rows = np.concatenate([fold.test for fold in folds])
    return Run(study, rows, np.concatenate(relevance), tuple(spoiled))


def learned(
    model: str, strides: Labelled, fold: Fold, settings: Mapping[str, Any], seed: int
) -> Classifier:
    """Learn once more what a study judged: same strides, settings and seed, so the same network."""
    told = {name: value for name, value in settings.items() if name != "chosen_by"}
    part = strides.take(fold.train)
    return fit(model, part.values, part.labels, seed, **told)


def _spoiled(
    classifier: Classifier,
    strides: Labelled,
    fold: Fold,
    relevance: NDArray[np.float32],
    target: Rows,
    params: PerturbationParams,
) -> list[PersonSpoiled]:
    """Spoil each person's strides by themselves, so that folds can be put together over people."""
    person = strides.person[fold.test]
    names = np.unique(person).tolist()
    each = replace(params, strides=max(1, params.strides // len(np.unique(strides.person))))
    found = []
    for k, name in enumerate(names):
        mine = np.flatnonzero(person == name)
        of_one = Spoiled(
            strides.values[fold.test[mine]],
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


def by_person(spoiled: tuple[PersonSpoiled, ...]) -> tuple[Floats, Floats]:
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
