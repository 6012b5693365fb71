"""One model judged, and every stride that judged it explained by the network that had not seen it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_training.classify import protocol
from talaria_training.classify.models import Classifier, fit
from talaria_training.classify.splits import Fold, split
from talaria_training.classify.tasks import Labelled
from talaria_training.engine import Engine
from talaria_training.explain.faithful import PersonSpoiled, spoiled
from talaria_training.relevance.explain import class_index, explain
from talaria_training.relevance.perturbation import PerturbationParams
from talaria_training.relevance.rules import Rules

Rows = NDArray[np.intp]
Bar = Callable[[str, int], AbstractContextManager[Callable[..., object]]]
"""Opens a progress bar of a name and a number of steps; what it yields takes one step."""


@dataclass(frozen=True, slots=True, eq=False)
class FoldRelevance:
    """Strides that judged one fold, and why they were answered so.

    Attributes
    ----------
    classifier : Classifier
    rows : ndarray of int, shape (n,)
        The strides.
    target : ndarray of int, shape (n,)
        Their true class's place among the classifier's.
    relevance : ndarray, shape (n, channels, points)
        For the true class.
    """

    classifier: Classifier
    rows: Rows
    target: Rows
    relevance: NDArray[np.float32]


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
    parts, found = [], []
    for fold in _folds(strides, plan, study, rules, bar):
        parts.append(fold)
        if spoil is not None:
            found += _spoiled(strides, fold, spoil)
    return Run(
        study,
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.relevance for part in parts]),
        tuple(found),
    )


def spoiled_by(
    strides: Labelled,
    plan: protocol.Plan,
    study: Mapping[str, Any],
    rules: Rules,
    spoil: PerturbationParams,
    bar: Bar,
) -> list[PersonSpoiled]:
    """Explain a plan's first model as a study of it judged, and spoil its strides, one fold at a time."""
    return [
        one
        for fold in _folds(strides, plan, study, rules, bar)
        for one in _spoiled(strides, fold, spoil)
    ]


def _folds(
    strides: Labelled,
    plan: protocol.Plan,
    study: Mapping[str, Any],
    rules: Rules,
    bar: Bar,
) -> Iterator[FoldRelevance]:
    model = plan.models[0]
    folds = split(plan.split, strides, plan.seed, plan.folds)
    with bar(f"Explaining {model}", len(folds)) as done:
        for fold, settings in zip(folds, study["models"][model]["settings"], strict=True):
            classifier = learned(model, strides, fold, settings, plan.seed)
            target = class_index(classifier.classes, strides.labels[fold.test])
            found = explain(classifier, strides.values[fold.test], target, rules)
            yield FoldRelevance(classifier, fold.test, target, found)
            done()


def _spoiled(
    strides: Labelled, fold: FoldRelevance, spoil: PerturbationParams
) -> list[PersonSpoiled]:
    return spoiled(fold.classifier, strides, fold.rows, fold.relevance, fold.target, spoil)


def learned(
    model: str, strides: Labelled, fold: Fold, settings: Mapping[str, Any], seed: int
) -> Classifier:
    """Learn once more what a study judged: same strides, settings and seed, so the same network."""
    told = {name: value for name, value in settings.items() if name != "chosen_by"}
    part = strides.take(fold.train)
    return fit(model, part.values, part.labels, seed, **told)
