"""A person against a reference group: where in the cycle, and in which channel, their gait is different.

People are the unit: everybody counts with one mean curve per leg.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_training.explain.against.band import Held, hold
from talaria_training.strides.table import StrideTable

Floats = NDArray[np.float64]

FEWEST_PEOPLE = 5
"""In a group; a spread of fewer is no spread."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A person held against a group.

    Attributes
    ----------
    sides : tuple of str
        Legs compared, each with the group's same leg: "l" and "r", or "" where a table does not say.
    legs : Held
    symmetry : Held or None
        Right less left; None unless both legs are known.
    people : tuple of str
        The group.
    dropped : tuple of str
        Who was left out of it for lack of a leg.
    was_inside : bool
        Whether the person was in the group, and has been taken out.
    """

    sides: tuple[str, ...]
    legs: Held
    symmetry: Held | None
    people: tuple[str, ...]
    dropped: tuple[str, ...]
    was_inside: bool


def compare(person: StrideTable, group: StrideTable) -> Comparison:
    """Hold a person against a group, out of which the person is taken first.

    Parameters
    ----------
    person : StrideTable
        Strides of one person.
    group : StrideTable

    Raises
    ------
    ConfigError
        If the channels, their length or the cycle differ, or `person` is several.
    RecordingError
        If the group has too few people.
    """
    _check_alike(person, group)
    name = _only_one(person)
    everybody = np.unique(group.column("person")).tolist()
    sides = _sides(person, group)
    means = {one: _means(group, one, sides) for one in everybody if one != name}
    curves = {one: found for one, found in means.items() if found is not None}
    if len(curves) < FEWEST_PEOPLE:
        raise RecordingError(
            f"The group has {len(curves)} people beside {name}, and a spread over fewer than {FEWEST_PEOPLE} "
            "is none: give a population of more people, or widen --where."
        )
    mine = _means(person, name, sides)
    assert mine is not None  # the sides are the person's own
    others = np.array(list(curves.values()))
    symmetry = None
    if sides == ("l", "r"):
        symmetry = hold(mine[1:] - mine[:1], others[:, 1:] - others[:, :1])
    dropped = tuple(one for one in means if one not in curves)
    return Comparison(
        sides, hold(mine, others), symmetry, tuple(curves), dropped, name in everybody
    )


def _check_alike(person: StrideTable, group: StrideTable) -> None:
    mine, theirs = ([c.name for c in table.channels] for table in (person, group))
    strange = [n for n in mine if n not in theirs] or [n for n in theirs if n not in mine]
    if strange:
        where = "the population" if strange[0] in mine else "this person's strides"
        raise ConfigError(
            f"There is no channel {strange[0]} in {where}: cut both into the same channels "
            "(talaria-train strides make)."
        )
    if mine != theirs or person.channels != group.channels:
        raise ConfigError(
            "The channels of this person and of the population have the same names but another order, joint or "
            "unit: cut both the same way (talaria-train strides make)."
        )
    if person.values.shape[2] != group.values.shape[2] or person.cycle != group.cycle:
        raise ConfigError(
            f"This person's strides are {person.cycle}s of {person.values.shape[2]} points and the "
            f"population's {group.cycle}s of {group.values.shape[2]}: cut both the same way."
        )


def _only_one(person: StrideTable) -> str:
    names = np.unique(person.column("person")).tolist()
    if len(names) > 1:
        raise ConfigError(
            f"These are strides of {len(names)} people ({names[0]}, {names[1]}, ...): choose one with --person."
        )
    return str(names[0])


def _sides(person: StrideTable, group: StrideTable) -> tuple[str, ...]:
    mine = np.unique(person.column("side")).tolist()
    theirs = np.unique(group.column("side")).tolist()
    if "" in mine or any(side not in theirs for side in mine):
        return ("",)
    return tuple(mine)


def _means(table: StrideTable, name: str, sides: Sequence[str]) -> Floats | None:
    """One person's mean curve of each leg (sides, channels, points); None if a leg is lacking."""
    is_theirs = table.column("person") == name
    rows = [is_theirs & ((table.column("side") == side) | (side == "")) for side in sides]
    if not all(row.any() for row in rows):
        return None
    return np.array([table.values[row].mean(axis=0, dtype=np.float64) for row in rows])
