"""What is inside a stride table, and what a classifier would stumble over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_training.strides.checks import as_numbers
from talaria_training.strides.table import COLUMNS, StrideTable

_ABOUT_THE_CUT = {"session", "side", "recording", "events"}
"""Columns that nobody classifies by."""
_MOST_CLASSES = 12
"""A column of more values than this is listed by their number only."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a column: its text, strides, and people who have it."""

    text: str
    strides: int
    people: int


@dataclass(frozen=True, slots=True)
class Look:
    """What is inside a table.

    Attributes
    ----------
    strides_per_person : tuple of three int
        Fewest, median (rounded down), most.
    sessions_per_person : tuple of two int
        Fewest and most.
    labels : mapping of str to tuple of Value
        Every column but the person's, in the table's order; empty where it has too many to list.
    distinct : mapping of str to int
        How many values each column has.
    warnings : tuple of str
        One sentence each.
    """

    people: int
    strides_per_person: tuple[int, int, int]
    sessions_per_person: tuple[int, int]
    labels: Mapping[str, tuple[Value, ...]]
    distinct: Mapping[str, int]
    warnings: tuple[str, ...]


def look_at(table: StrideTable) -> Look:
    """Count what is inside, and find what a classifier would stumble over."""
    person = table.column("person")
    counts = np.unique(person, return_counts=True)[1]
    sessions = _sessions(table)
    columns = {name: column for name, column in table.columns.items() if name != "person"}
    return Look(
        len(counts),
        (int(counts.min()), int(np.median(counts)), int(counts.max())),
        (min(sessions.values()), max(sessions.values())),
        {name: _values(column, person) for name, column in columns.items()},
        {name: len(np.unique(column)) for name, column in columns.items()},
        tuple(_warnings(table, sessions)),
    )


def _sessions(table: StrideTable) -> dict[str, int]:
    pairs = np.unique(np.stack([table.column("person"), table.column("session")]), axis=1)
    people, counts = np.unique(pairs[0], return_counts=True)
    return dict(zip(people.tolist(), counts.tolist(), strict=True))


def _values(column: NDArray[np.str_], person: NDArray[np.str_]) -> tuple[Value, ...]:
    texts = np.unique(column).tolist()
    if len(texts) > _MOST_CLASSES:
        return ()
    return tuple(
        Value(text, int((column == text).sum()), len(np.unique(person[column == text])))
        for text in texts
    )


def _warnings(table: StrideTable, sessions: Mapping[str, int]) -> list[str]:
    found = [w for name, column in table.columns.items() for w in _of_column(name, column, table)]
    once = sorted(person for person, count in sessions.items() if count == 1)
    if once:
        who = "Everybody" if len(once) == len(sessions) else _some(once)
        found.append(
            f"{who} has one session only: telling people apart there is telling one session from another."
        )
    still = [
        c.name
        for c, span in zip(table.channels, np.ptp(table.values, (0, 2)), strict=True)
        if not span
    ]
    if still:
        found.append(f"Channel {', '.join(still)} never changes: nothing can be told by it.")
    return found


def _some(names: Sequence[str]) -> str:
    others = len(names) - 1
    return f"{names[0]} and {others} other{'s' * (others > 1)}" if others else names[0]


def _of_column(name: str, column: NDArray[np.str_], table: StrideTable) -> list[str]:
    given = column != ""
    texts = np.unique(column[given])
    found = []
    if len(texts) == 1 and name not in _ABOUT_THE_CUT:
        found.append(
            f"Column {name} holds one class only ({texts[0]}): there is nothing to tell apart."
        )
    if name not in COLUMNS and len(texts) > 1:
        if as_numbers(column) is not None:
            found.append(
                f"Column {name} holds numbers stored as text: its {len(texts)} values would be classes without "
                "an order, so write a column of named ranges where that is not meant."
            )
        if not given.all():
            known = len(np.unique(table.column("person")[given]))
            found.append(
                f"Column {name} is empty for {(~given).sum()} of {len(column)} strides: it is known of {known} "
                "people."
            )
    if name == "person" and not given.all():
        found.append(f"{(~given).sum()} strides have no person: they would all be one.")
    return found
