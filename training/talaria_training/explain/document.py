"""Whose gait, what kind, and why: everything the page shows, as plain numbers and sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_training.classify import protocol
from talaria_training.classify.models import LINEAR
from talaria_training.classify.splits import FOLDS, Kind
from talaria_training.classify.tasks import Labelled
from talaria_training.engine import Engine
from talaria_training.explain import words
from talaria_training.explain.faithful import perturbation
from talaria_training.explain.plain import plain
from talaria_training.explain.runs import Bar, Run, run
from talaria_training.relevance.perturbation import PerturbationParams
from talaria_training.relevance.rules import USUAL, preset
from talaria_training.relevance.stability import stability
from talaria_training.relevance.summary import (
    Convention,
    PersonMaps,
    Share,
    Summary,
    percent_per_person,
    person_maps,
    phase_mask,
    summarise,
)
from talaria_training.strides.table import Channel, StrideTable

Floats = NDArray[np.float64]

MOST_GROUPS = 4
"""More classes than this, or people as classes, are drawn as one mean curve."""
_CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
_PACKAGES = ("talaria", "numpy", "scipy", "scikit-learn", "torch")


@dataclass(frozen=True, slots=True)
class Question:
    """What to explain, and how.

    Attributes
    ----------
    task : str
        As it was asked; see `talaria_training.classify.tasks.Task.parse`.
    split : Kind
    model, rules : str
    permutations : int
        Times labels are dealt anew; 0 for no p.
    seeds : int
        Times everything is done, from `seed` on; 1 says nothing of stability.
    seed, folds : int
    where : str
        Which strides were chosen, in words such as ``side=l``; empty for all of them.
    """

    task: str
    split: Kind
    model: str
    rules: str = USUAL
    permutations: int = 200
    seeds: int = 1
    seed: int = 0
    folds: int = FOLDS
    where: str = ""

    def plan(self, nth: int = 0) -> protocol.Plan:
        """Plan the nth time; labels are dealt anew in the first only."""
        deals = 0 if nth else self.permutations
        return protocol.Plan(self.split, (self.model,), deals, self.folds, self.seed + nth)


def document(
    question: Question, table: StrideTable, strides: Labelled, engine: Engine, bar: Bar
) -> dict[str, Any]:
    """Judge, explain and sum up.

    Parameters
    ----------
    question : Question
    table : StrideTable
        Whose channels the strides have.
    strides : Labelled
    engine : Engine
    bar : callable
        Opens a progress bar.

    Returns
    -------
    dict
        Of plain numbers, texts, lists and None, ready for JSON; curves are in the channels' units and
        relevance in percent.

    Raises
    ------
    ConfigError
        If there is no such model or rules, or the strides cannot be split so.
    RecordingError
        If the relevance has no shares.
    """
    rules, spoil = preset(question.rules), PerturbationParams()
    first = run(strides, question.plan(), rules, spoil, engine, bar)
    again = [
        run(strides, question.plan(k), rules, None, engine, bar) for k in range(1, question.seeds)
    ]
    labels = strides.labels[first.rows]
    groups = None if _as_one(strides) else labels
    maps = person_maps(first.relevance, strides.person[first.rows], groups)
    found = {
        "about": _about(question, table, strides),
        "result": first.study["models"][question.model],
        "trial_wise": _beside(question, strides, engine, bar),
        "folds": first.study["folds"],
        "groups": _groups(strides, first, maps),
        "summary": _summary(strides, first, table.channels, table.cycle),
        "perturbation": perturbation(first.spoiled, spoil, question.seed),
        "seeds": _seeds([first, *again], question, strides, table.channels),
        "versions": _versions(),
    }
    numbers = dict(plain(found))
    return numbers | {"said": _said(numbers)}


def _said(numbers: Mapping[str, Any]) -> dict[str, Any]:
    decision, is_shown = words.decision(numbers)
    faithful, is_faithful = words.faithful(numbers)
    return {
        "decision": decision,
        "is_shown": is_shown,
        "judged_on": words.judged_on(numbers),
        "trial_wise": words.trial_wise(numbers),
        "where": words.where(numbers),
        "faithful": faithful,
        "is_faithful": is_faithful,
        "stable": words.stable(numbers),
        "methods": words.methods(numbers),
    }


def _beside(
    question: Question, strides: Labelled, engine: Engine, bar: Bar
) -> dict[str, Any] | None:
    """Judge trial by trial too where people are held out: the published way, for comparison."""
    if question.split != "person":
        return None
    plan = protocol.Plan("trial", (question.model,), 0, question.folds, question.seed)
    with bar(f"Judging {question.model} trial-wise", len(protocol.jobs_of(strides, plan))) as done:
        study = protocol.study(strides, plan, engine, done)
    return dict(study["models"][question.model])


def _about(question: Question, table: StrideTable, strides: Labelled) -> dict[str, Any]:
    return asdict(question) | {
        "is_identity": strides.identity,
        "is_linear": question.model in LINEAR,
        "source": table.source,
        "cycle": table.cycle,
        "points": strides.values.shape[2],
        "channels": [asdict(channel) for channel in table.channels],
        "strides": len(strides.labels),
        "people": len(np.unique(strides.person)),
        "sessions": len(np.unique(strides.session)),
        "classes": np.unique(strides.labels).tolist(),
    }


def _as_one(strides: Labelled) -> bool:
    return strides.identity or len(np.unique(strides.labels)) > MOST_GROUPS


def _groups(strides: Labelled, first: Run, maps: PersonMaps) -> list[dict[str, Any]]:
    """Mean curve, its spread over people, and where the relevance lay, of each class or of all."""
    person, labels = strides.person[first.rows], strides.labels[first.rows]
    names = np.unique(maps.groups).tolist()
    found = []
    for name in names:
        rows = first.rows if name == "" else first.rows[labels == name]
        mean, spread = over_people(
            strides.values[rows], person if name == "" else person[labels == name]
        )
        share = maps.of(name)
        found.append(
            {
                "name": name or "everybody",
                "strides": len(rows),
                "people": len(share.people),
                "mean": mean,
                "sd": spread,
                "relevance_percent": 100.0 * share.maps.mean(axis=0),
            }
        )
    return found


def over_people(values: NDArray[np.float32], person: NDArray[np.str_]) -> tuple[Floats, Floats]:
    """Mean and standard deviation (channels, points) over people of each one's mean curve."""
    means = np.array([values[person == one].mean(axis=0) for one in np.unique(person)], float)
    return means.mean(axis=0), means.std(axis=0, ddof=1 if len(means) > 1 else 0)


def _summary(
    strides: Labelled, first: Run, channels: Sequence[Channel], cycle: str
) -> dict[str, Any]:
    person = strides.person[first.rows]
    found: dict[str, Any] = {"by": {}, "by_group": {}}
    for convention in _CONVENTIONS:
        maps = person_maps(first.relevance, person, None, convention)
        # Where more spoke against than for, there are no net shares.
        with suppress(*([RecordingError] if convention == "net" else [])):
            found["by"][convention] = _shares(summarise(maps, channels, cycle), channels)
        if convention == "positive":
            found["people"] = maps.people
            found["per_person"] = dict(percent_per_person(maps, channels))
    if not _as_one(strides):
        maps = person_maps(first.relevance, person, strides.labels[first.rows])
        for name in np.unique(maps.groups).tolist():
            found["by_group"][name] = _shares(summarise(maps.of(name), channels, cycle), channels)
    return found


def _shares(summary: Summary, channels: Sequence[Channel]) -> dict[str, Any]:
    """Shares, each beside what it would be if every channel and point had the same."""
    early = float(phase_mask(summary.curve.shape[1]).mean())
    count = len(channels)
    joints, planes = Counter(c.group for c in channels), Counter(c.axis for c in channels)
    even = {
        "channels": [1.0 / count for _ in summary.channels],
        "joints": [joints[share.name] / count for share in summary.joints],
        "planes": [planes[share.name] / count for share in summary.planes],
        "phases": [early, 1.0 - early],
    }
    found: dict[str, Any] = {"curve_percent": summary.curve}
    for name, parts in even.items():
        shares: tuple[Share, ...] = getattr(summary, name)
        found[name] = [
            asdict(share) | {"even": 100.0 * part}
            for share, part in zip(shares, parts, strict=True)
        ]
    return found


def _seeds(
    runs: Sequence[Run], question: Question, strides: Labelled, channels: Sequence[Channel]
) -> dict[str, Any] | None:
    if len(runs) < 2:
        return None
    each = [person_maps(one.relevance, strides.person[one.rows]) for one in runs]
    whole = np.array([maps.maps.mean(axis=0) for maps in each])
    joints = [percent_per_person(maps, channels) for maps in each]
    return asdict(stability(whole, channels)) | {
        "same": bool(np.allclose(whole, whole[0])),
        "seeds": [question.seed + k for k in range(len(runs))],
        "balanced": [one.study["models"][question.model]["balanced"]["value"] for one in runs],
        "joints": {name: [float(one[name].mean()) for one in joints] for name in joints[0]},
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
