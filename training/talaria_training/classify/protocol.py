"""One protocol for all classifiers: split, choose settings inside, learn, judge, and weigh against chance.

Nothing of a stride that is judged reaches what judges it: not its label, not a scaling statistic, not the
choice of a setting or of the moment to stop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from talaria_training.cache import source_digest
from talaria_training.classify.choosing import answered, learn
from talaria_training.classify.splits import FOLDS, Fold, Kind, split
from talaria_training.classify.tasks import Labelled
from talaria_training.classify.worth import (
    balanced_accuracy,
    chance,
    names_swapped,
    relabelled,
    worth,
)
from talaria_training.engine import Engine, Job, Store, run_jobs

_MODULES = ("choosing", "learning", "models", "nets", "protocol", "splits", "worth")
_CODE = tuple(f"talaria_training.classify.{name}" for name in _MODULES)
_PER_JOB = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """How to judge.

    Attributes
    ----------
    split : str
        One of `talaria_training.classify.splits.KINDS`.
    models : tuple of str
    permutations : int
        Times that labels are dealt anew; 0 for no test.
    folds : int
        At most, where there is a choice.
    seed : int
    """

    split: Kind
    models: tuple[str, ...]
    permutations: int = 200
    folds: int = FOLDS
    seed: int = 0


def study(
    strides: Labelled, plan: Plan, engine: Engine, done: Callable[[str], object]
) -> dict[str, Any]:
    """Judge every model of a plan.

    Parameters
    ----------
    strides : Labelled
    plan : Plan
    engine : Engine
    done : callable
        Told each of `jobs_of` when it is settled.

    Returns
    -------
    dict
        ``split``, ``folds`` (names and sizes), ``left_out`` (strides neither learned from nor judged), and
        ``models``: per model its `Worth`, ``p``, ``permuted`` (balanced accuracies by chance), ``folds``
        and ``settings``.

    Raises
    ------
    ConfigError
        If the strides cannot be split so.
    TalariaError
        If a fold failed.
    """
    folds = split(plan.split, strides, plan.seed, plan.folds)
    store = Store.cached("classify", _key(strides, plan))
    results = run_jobs(jobs_of(strides, plan), store, engine, {"strides": strides}, done)
    return {
        "split": plan.split,
        "seed": plan.seed,
        "folds": [{"name": f.name, "learned": len(f.train), "judged": len(f.test)} for f in folds],
        "left_out": _left_out(len(strides.labels), folds),
        "models": {model: _judged(model, strides, plan, folds, results) for model in plan.models},
    }


def _left_out(strides: int, folds: Sequence[Fold]) -> int:
    return strides - len(np.unique(np.concatenate([r for f in folds for r in (f.train, f.test)])))


def jobs_of(strides: Labelled, plan: Plan) -> dict[str, Job]:
    """All that has to be run, by name: folds, and where labels are dealt anew, handfuls of deals."""
    folds = split(plan.split, strides, plan.seed, plan.folds)
    jobs: dict[str, Job] = {}
    for model in plan.models:
        for fold in folds:
            jobs[f"{model}, {fold.name}"] = (run_fold, model, plan.split, fold, plan.seed)
        for first in () if strides.identity else range(0, plan.permutations, _PER_JOB):
            deals = range(first, min(first + _PER_JOB, plan.permutations))
            jobs[f"{model}, dealt {deals[0] + 1} to {deals[-1] + 1}"] = (
                run_permutations,
                model,
                plan,
                deals,
            )
    return jobs


def run_fold(model: str, kind: Kind, fold: Fold, seed: int, *, strides: Labelled) -> dict[str, Any]:
    """Choose settings within a fold's training strides, learn, and answer its test strides."""
    classifier, chosen = learn(model, kind, strides.take(fold.train), seed)
    answers = answered(classifier, strides.values, fold.test)
    return {"answers": answers.tolist(), "settings": chosen}


def run_permutations(
    model: str, plan: Plan, deals: Sequence[int], *, strides: Labelled
) -> list[float]:
    """Balanced accuracies with labels dealt anew, everything else as in earnest."""
    found = []
    for deal in deals:
        dealt = relabelled(strides, plan.seed + 1 + deal)
        folds = split(plan.split, dealt, plan.seed, plan.folds)
        answers = [
            run_fold(model, plan.split, fold, plan.seed, strides=dealt)["answers"] for fold in folds
        ]
        judged = np.concatenate([fold.test for fold in folds])
        found.append(balanced_accuracy(dealt.labels[judged], np.concatenate(answers)))
    return found


def _judged(
    model: str,
    strides: Labelled,
    plan: Plan,
    folds: Sequence[Fold],
    results: Mapping[str, Any],
) -> dict[str, Any]:
    runs = [results[f"{model}, {fold.name}"] for fold in folds]
    rows = np.concatenate([fold.test for fold in folds])
    found = worth(strides, rows, np.concatenate([run["answers"] for run in runs]), plan.seed)
    if strides.identity:
        permuted = names_swapped(found.confusion, plan.permutations, plan.seed)
    else:
        start = f"{model}, dealt "
        permuted = [f for name, run in results.items() if name.startswith(start) for f in run]
    each = [
        balanced_accuracy(strides.labels[fold.test], np.array(run["answers"]))
        for fold, run in zip(folds, runs, strict=True)
    ]
    return asdict(found) | {
        "p": chance(found.balanced.value, permuted) if permuted else None,
        "permuted": permuted,
        "folds": each,
        "settings": [run["settings"] for run in runs],
    }


def _key(strides: Labelled, plan: Plan) -> str:
    """Digest of everything the results depend on but the models' names, which the jobs carry."""
    digest = hashlib.sha256(source_digest(*_CODE).encode())
    digest.update(repr((plan.split, plan.folds, plan.seed, strides.identity)).encode())
    digest.update(np.ascontiguousarray(strides.values).data)
    digest.update(strides.order.tobytes())
    for column in (strides.labels, strides.person, strides.session, strides.recording):
        digest.update("\n".join(column.tolist()).encode())
    return digest.hexdigest()[:32]
