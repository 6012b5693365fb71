"""What is to be told apart: people, or the groups that a column of a stride table puts strides in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError
from talaria_training.strides.checks import as_numbers
from talaria_training.strides.table import COLUMNS, StrideTable

Texts = NDArray[np.str_]
Rows = NDArray[np.intp]

IDENTITY = "identity"
_MOST_NUMBERS = 10
"""More classes than this, all of them numbers, are a measurement rather than groups."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Strides, and what a study may know of each; every array has one entry per stride.

    Attributes
    ----------
    values : ndarray, shape (N, channels, points)
        In the channels' own units.
    labels : ndarray of str
        What is to be told.
    person, session : ndarray of str
    recording : ndarray of str
        Strides of one recording and side follow one another in time.
    order : ndarray of int
        Running number in the recording.
    identity : bool
        Whether the labels are the people.
    """

    values: NDArray[np.float32]
    labels: Texts
    person: Texts
    session: Texts
    recording: Texts
    order: NDArray[np.int64]
    identity: bool

    def take(self, rows: Rows) -> Labelled:
        """Keep some strides."""
        return replace(
            self,
            values=self.values[rows],
            labels=self.labels[rows],
            person=self.person[rows],
            session=self.session[rows],
            recording=self.recording[rows],
            order=self.order[rows],
        )

    def without_values(self) -> Labelled:
        """Forget the strides themselves, of which a split has no need."""
        return replace(self, values=np.empty((len(self.labels), 0, 0), np.float32))


@dataclass(frozen=True, slots=True)
class Task:
    """A column, and which of its values make which class.

    Attributes
    ----------
    column : str
        ``identity`` for the people themselves.
    groups : tuple of tuples of str
        Values that count as one class; empty if each value is a class of its own.
    """

    column: str
    groups: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Task:
        """Read ``identity``, ``COLUMN``, or ``COLUMN:a,b|c``, which are two classes, a or b against c.

        Raises
        ------
        ConfigError
            If fewer than two groups are given, or a value is in two of them.
        """
        column, _, said = text.partition(":")
        if not said:
            return cls(column.strip())
        groups = tuple(
            tuple(value.strip() for value in group.split(",") if value.strip())
            for group in said.split("|")
        )
        every = [value for group in groups for value in group]
        if len(groups) < 2 or not all(groups) or len(set(every)) < len(every):
            raise ConfigError(
                f"--task {text} does not make classes: give at least two groups of different values, such "
                "as volume:low|middle,high."
            )
        return cls(column.strip(), groups)

    @property
    def is_identity(self) -> bool:
        """Whether people are to be told apart."""
        return self.column == IDENTITY or (self.column == "person" and not self.groups)

    def classes(self, values: Texts) -> Texts:
        """Give each stride's class from its value in the column; empty for those in no group."""
        if not self.groups:
            return values
        names = {value: " or ".join(group) for group in self.groups for value in group}
        return np.array([names.get(value, "") for value in values.tolist()])


def labelled(
    table: StrideTable, task: Task, where: Mapping[str, Sequence[str]] | None = None
) -> Labelled:
    """Pick the strides of a task out of a table.

    Parameters
    ----------
    table : StrideTable
    task : Task
        Strides without a value in its column are left out.
    where : mapping of column to values, optional
        Strides with other values are left out.

    Raises
    ------
    ConfigError
        If a column or a value is not in the table, nothing is left, one class only is, or the column
        holds a measurement.
    """
    keep = np.ones(len(table.values), dtype=bool)
    for column, allowed in (where or {}).items():
        keep &= np.isin(_values_of(table, column, allowed), list(allowed))
    wanted = [value for group in task.groups for value in group]
    column = "person" if task.is_identity else task.column
    labels = task.classes(_values_of(table, column, wanted))
    keep &= labels != ""
    rows = np.flatnonzero(keep)
    _check_classes(labels[rows], task)
    chosen = Labelled(
        table.values,
        labels,
        table.columns["person"],
        table.columns["session"],
        _recordings(table),
        table.order,
        task.is_identity,
    )
    return chosen if len(rows) == len(keep) else chosen.take(rows)


def _values_of(table: StrideTable, column: str, wanted: Sequence[str]) -> Texts:
    if column not in table.columns:
        raise ConfigError(
            f"The strides have no column {column}: choose of {', '.join(table.columns)}, or identity."
        )
    values = table.columns[column]
    known = np.unique(values).tolist()
    strange = [value for value in wanted if value not in known]
    if strange:
        raise ConfigError(
            f"No stride has {strange[0]!r} in column {column}: choose of "
            f"{', '.join(repr(value) for value in known[:_MOST_NUMBERS])}."
        )
    return values


def _recordings(table: StrideTable) -> Texts:
    parts = [table.columns[name] for name in COLUMNS]
    return np.array(["/".join(row) for row in zip(*(part.tolist() for part in parts), strict=True)])


def _check_classes(labels: Texts, task: Task) -> None:
    classes = np.unique(labels).tolist()
    if not classes:
        raise ConfigError(
            f"No stride is left with a value in column {task.column}: choose another column, or look at the "
            "strides with talaria-train strides info."
        )
    if len(classes) == 1:
        raise ConfigError(
            f"All {len(labels)} strides have {classes[0]!r} in column {task.column}, and one class cannot be "
            "told from another: choose another column, or --where that leaves two."
        )
    if not task.is_identity and len(classes) > _MOST_NUMBERS and as_numbers(labels) is not None:
        raise ConfigError(
            f"Column {task.column} holds {len(classes)} different numbers stored as text ({classes[0]}, "
            f"{classes[1]}, ...), which are a measurement and not groups: name the groups, "
            f"--task {task.column}:{classes[0]}|{classes[1]}, or add a column that does."
        )
