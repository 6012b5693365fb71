"""Which strides are learned from and which are judged, and the checks that keep the two apart.

========================  =========================================================================
``trial``                 Any strides, ten parts, every class in each: the published way. Strides of
                          one person, even neighbours, are on both sides.
``first-last``            The first 70 % in time of each recording against its last 30 %.
``across-sessions``       Every session in turn, by what was learned in the others.
``person``                People, in parts that hold every class: the only one that says anything
                          about people nobody has seen.
========================  =========================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError
from talaria_training.classify.tasks import Labelled

Rows = NDArray[np.intp]
Kind = Literal["trial", "first-last", "across-sessions", "person"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FOLDS = 10
INNER_FOLDS = 3
"""Parts that strides to learn from are split into once more, single strides; people are split into `FOLDS`."""
_FIRST = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Rows to learn from and rows to be judged on."""

    name: str
    train: Rows
    test: Rows


def kind_of(text: str | None, strides: Labelled) -> Kind:
    """Read the name of a split; without one, the strictest that the strides and the labels allow.

    Raises
    ------
    ConfigError
        If there is no such split.
    """
    if text is None:
        if not strides.identity:
            return "person"
        return "across-sessions" if len(np.unique(strides.session)) > 1 else "first-last"
    for kind in KINDS:
        if kind == text:
            return kind
    raise ConfigError(f"There is no split {text}: choose of {', '.join(KINDS)}.")


def split(kind: Kind, strides: Labelled, seed: int, parts: int = FOLDS) -> list[Fold]:
    """Split strides, and check the result.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    strides : Labelled
    seed : int
        Of the draw of strides or people into parts.
    parts : int
        Folds of ``trial`` and ``person``; fewer where the rarest class has fewer strides or people.

    Returns
    -------
    list of Fold
        Whose test rows do not overlap.

    Raises
    ------
    ConfigError
        If the strides cannot be split so, or a fold does not pass `check`.
    """
    if kind not in KINDS:
        raise ConfigError(f"There is no split {kind}: choose of {', '.join(KINDS)}.")
    if kind == "person" and strides.identity:
        raise ConfigError(
            "People nobody has learned from cannot be told by name, so identity has no split by person: "
            "choose across-sessions or first-last."
        )
    random = np.random.default_rng(seed)
    if kind == "first-last":
        folds = [_first_last(strides)]
    elif kind == "across-sessions":
        folds = _across_sessions(strides)
    elif kind == "person":
        folds = _by_person(strides, random, parts)
    else:
        folds = _by_trial(strides, random, parts)
    for fold in folds:
        check(fold, strides, by_person=kind == "person")
    return folds


def inner(kind: Kind, strides: Labelled, seed: int) -> tuple[list[Fold], Kind]:
    """Split training strides once more to choose settings by, the same way where they allow it.

    Returns
    -------
    folds : list of Fold
    kind : str
        How they were split: in time where one session is left or a class has one person, and as single
        trials where recordings are too short for that.
    """
    kinds: tuple[Kind, ...] = (kind, "first-last")
    for tried in kinds:
        with suppress(ConfigError):
            parts = FOLDS if tried == "person" else INNER_FOLDS
            return split(tried, strides, seed, parts), tried
    return split("trial", strides, seed, INNER_FOLDS), "trial"


def check(fold: Fold, strides: Labelled, *, by_person: bool) -> None:
    """Refuse a fold from which nothing true could be read.

    Raises
    ------
    ConfigError
        If either side is empty, a stride is on both, a person is on both although the split is by
        person, one class only is learned from, or a class is judged that was not.
    """
    said = f"The split {fold.name}"
    if not len(fold.train) or not len(fold.test):
        raise ConfigError(
            f"{said} has {len(fold.train)} strides to learn from and {len(fold.test)} to judge: take another "
            "split, or more strides."
        )
    both = np.intersect1d(fold.train, fold.test)
    if len(both):
        raise ConfigError(
            f"{said} has {len(both)} strides on both sides, so what is learned would be judged: put each "
            "on one side."
        )
    people = np.intersect1d(strides.person[fold.train], strides.person[fold.test])
    if by_person and len(people):
        raise ConfigError(
            f"{said} has {people[0]} on both sides, so people would be recognised where groups should be "
            "told apart: put all strides of a person on one side."
        )
    _check_classes(said, strides.labels[fold.train], strides.labels[fold.test])


def _check_classes(said: str, learned: NDArray[np.str_], judged: NDArray[np.str_]) -> None:
    classes = np.unique(learned)
    if len(classes) < 2:
        raise ConfigError(
            f"{said} has only {str(classes[0])!r} to learn from, and one class cannot be told from another: "
            "take another split, or more people."
        )
    unknown = np.setdiff1d(judged, classes)
    if len(unknown):
        raise ConfigError(
            f"{said} judges strides of {str(unknown[0])!r}, of which there are none to learn from: take "
            "another split, or leave that class out."
        )


def _first_last(strides: Labelled) -> Fold:
    train, test = [], []
    for name in np.unique(strides.recording):
        rows = np.flatnonzero(strides.recording == name)
        rows = rows[np.argsort(strides.order[rows], kind="stable")]
        cut = int(np.ceil(_FIRST * len(rows)))
        train.append(rows[:cut])
        test.append(rows[cut:])
    return Fold("first 70 % / last 30 %", _sorted(train), _sorted(test))


def _across_sessions(strides: Labelled) -> list[Fold]:
    sessions = np.unique(strides.session)
    if len(sessions) < 2:
        raise ConfigError(
            f"All strides are of one session ({str(sessions[0])!r}), so nothing can be learned in one and "
            "judged in another: choose first-last, and say that it is the same session."
        )
    folds = []
    for session in sessions:
        there = strides.session == session
        known = np.isin(strides.labels, np.unique(strides.labels[~there]))
        if strides.identity:  # whoever has no stride to be judged would only be a wrong answer more
            known &= np.isin(strides.labels, np.unique(strides.labels[there]))
        others = " and ".join(str(other) for other in sessions if other != session)
        name = f"{others} to {session}"
        folds.append(Fold(name, np.flatnonzero(~there & known), np.flatnonzero(there & known)))
    return folds


def _by_trial(strides: Labelled, random: np.random.Generator, parts: int) -> list[Fold]:
    rarest = int(np.unique(strides.labels, return_counts=True)[1].min())
    parts = min(parts, rarest)
    if parts < 2:
        raise ConfigError(
            "A class has one stride, which cannot be both learned and judged: leave that class out."
        )
    part = _dealt([np.flatnonzero(strides.labels == c) for c in np.unique(strides.labels)], random)
    return _folds(part % parts, parts, "trials")


def _by_person(strides: Labelled, random: np.random.Generator, parts: int) -> list[Fold]:
    parts = min(parts, _fewest_people(strides))
    if parts < 2:
        raise ConfigError(
            f"The class {_rarest(strides)!r} has one person, who cannot be both learned from and judged: "
            "leave that class out, or join it to another (--task COLUMN:a,b|c)."
        )
    people, index = np.unique(strides.person, return_inverse=True)
    kinds = np.array(["/".join(np.unique(strides.labels[strides.person == p])) for p in people])
    part = _dealt([np.flatnonzero(kinds == kind) for kind in np.unique(kinds)], random)
    return _folds((part % parts)[index], parts, "people")


def _dealt(groups: Iterable[Rows], random: np.random.Generator) -> Rows:
    """Shuffle each group and number its members, going on where the last group ended."""
    order = np.concatenate([random.permutation(group) for group in groups])
    dealt = np.empty(len(order), dtype=np.intp)
    dealt[order] = np.arange(len(order))
    return dealt


def _folds(part: Rows, parts: int, what: str) -> list[Fold]:
    return [
        Fold(f"{what} {k + 1} of {parts}", np.flatnonzero(part != k), np.flatnonzero(part == k))
        for k in range(parts)
    ]


def _people_of(strides: Labelled) -> dict[str, int]:
    return {
        str(label): len(np.unique(strides.person[strides.labels == label]))
        for label in np.unique(strides.labels)
    }


def _fewest_people(strides: Labelled) -> int:
    return min(_people_of(strides).values())


def _rarest(strides: Labelled) -> str:
    people = _people_of(strides)
    return min(people, key=lambda label: people[label])


def _sorted(parts: list[Rows]) -> Rows:
    return np.sort(np.concatenate(parts))
