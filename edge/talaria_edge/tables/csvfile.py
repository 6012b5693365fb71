"""Columns out of a CSV file, by name, with complaints that name the line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.tables.textfile import TextFile

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file of separated values with one line of column names.

    Commas, semicolons and tabs are told apart by the header; lines that start with ``#`` and
    empty lines are passed over.

    Attributes
    ----------
    text : TextFile
    names : tuple of str
    cells : list of list of str
        One list per row.
    lines : list of int
        Each row's line number.
    """

    text: TextFile
    names: tuple[str, ...]
    cells: list[list[str]]
    lines: list[int]

    @classmethod
    def open(cls, path: Path) -> CsvFile:
        """Split a file into cells; `RecordingError` for a ragged or an empty one."""
        text = TextFile.open(path)
        used = [
            (at, line)
            for at, line in enumerate(text.lines, start=1)
            if line.strip() and not line.startswith("#")
        ]
        if len(used) < 2:
            raise text.error(1, "is not followed by a row of data", "write a header and rows")
        separator = max(",;\t", key=used[0][1].count)
        names = tuple(c.strip().strip('"') for c in used[0][1].split(separator))
        rows = [line.split(separator) for _, line in used[1:]]
        for row, (at, _) in zip(rows, used[1:], strict=True):
            if len(row) != len(names):
                raise text.error(
                    at,
                    f"has {len(row)} values where the header names {len(names)} columns",
                    "repair or delete that line",
                )
        return cls(text, names, rows, [at for at, _ in used[1:]])

    def column(self, name: str) -> int:
        """Return a column's place; `RecordingError` if there is no such one."""
        if name not in self.names:
            raise RecordingError(
                f"{self.text.name} has no column '{name}': it has {', '.join(self.names)}; rename "
                "one, or say in session.toml which columns to use."
            )
        return self.names.index(name)

    def numbers(self, names: Sequence[str]) -> Floats:
        """Return columns as numbers, shape (T, len(names)); an empty cell is NaN.

        Raises
        ------
        RecordingError
            If a column is missing or a cell is no number.
        """
        places = [self.column(name) for name in names]
        out = np.empty((len(self.cells), len(places)))
        for row, cells in enumerate(self.cells):
            for k, place in enumerate(places):
                out[row, k] = self._number(row, cells[place].strip(), names[k])
        return out

    def _number(self, row: int, cell: str, name: str) -> float:
        try:
            return float(cell or "nan")
        except ValueError:
            raise self.text.error(
                self.lines[row],
                f"holds '{cell}' in column {name}",
                "put a number there (with a decimal point), or leave it empty",
            ) from None

    def time(self, name: str, unit_s: float) -> Floats | None:
        """Return the time column in seconds, shape (T,), or None if the file has none.

        Raises
        ------
        RecordingError
            If time does not increase from row to row.
        """
        if name not in self.names:
            return None
        t_s = self.numbers([name])[:, 0] * unit_s
        back = np.flatnonzero(~(np.diff(t_s) > 0))
        if len(back):
            row = int(back[0]) + 1
            raise self.text.error(
                self.lines[row],
                f"has time {t_s[row]:g} s after {t_s[row - 1]:g} s",
                "make the time column increase, or delete the repeated rows",
            )
        return t_s
