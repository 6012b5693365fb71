"""A text file that knows its line numbers, so that whoever reads it can complain precisely."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError

Floats = NDArray[np.float64]
Source = str | Path | tuple[str, bytes]
"""A path, or a name and the bytes behind it (a member of a zip)."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """The lines of a file, which knows how to complain about one of them (counted from 1)."""

    name: str
    lines: list[str]

    @classmethod
    def open(cls, source: Source) -> TextFile:
        """Read and split a file; `RecordingError` if it cannot be read."""
        name, raw = source if isinstance(source, tuple) else (str(source), _read(Path(source)))
        text = raw.decode("utf-8-sig", errors="replace")
        return cls(name, text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))

    def error(self, line: int, what: str, fix: str) -> RecordingError:
        """Return (not raise) a complaint about one line: what it does, and how to mend it."""
        return RecordingError(f"{self.name}, line {line} {what}: {fix}.")

    def cells(self, line: int) -> list[str]:
        """Split one line at its tabs."""
        return [c.strip() for c in self.lines[line - 1].split("\t")]

    def number(self, line: int, cell: str, what: str) -> float:
        """Return a header's number; `RecordingError` if it is none."""
        try:
            return float(cell)
        except ValueError:
            raise self.error(
                line, f"gives {what} as '{cell}'", f"put a number for {what}"
            ) from None

    def first_data_line(self, line: int) -> int:
        """Skip the X1 Y1 Z1 line and blank lines: a row starts with a frame number."""
        for at in range(line, len(self.lines) + 1):
            if self.cells(at)[0]:
                return at
        raise self.error(len(self.lines), "is reached without a row of data", "export it again")

    def rows(
        self,
        first: int,
        width: int,
        separator: str | None,
        *,
        empty_is_nan: bool = False,
        commas: bool = False,
    ) -> tuple[Floats, list[int]]:
        """Return the numbers from line `first` on, shape (T, width), and each row's line."""
        rows: list[list[float]] = []
        at: list[int] = []
        for line, text in enumerate(self.lines[first - 1 :], start=first):
            if not text.strip():
                continue
            cells = (text.replace(",", "\t") if commas else text).split(separator)
            while len(cells) > width and not cells[-1].strip():
                cells.pop()
            if len(cells) != width:
                raise self._ragged(line, len(cells), width)
            rows.append(self._numbers(line, cells, empty_is_nan))
            at.append(line)
        if not rows:
            raise self.error(len(self.lines), "is reached without a row of data", "export it again")
        return np.array(rows), at

    def _ragged(self, line: int, found: int, width: int) -> RecordingError:
        last = not any(later.strip() for later in self.lines[line:])
        why = "the file was cut short there, copy it again or delete that line"
        fix = why if last else "repair or delete that line"
        return self.error(line, f"has {found} values where the header promises {width}", fix)

    def _numbers(self, line: int, cells: list[str], empty_is_nan: bool) -> list[float]:
        try:
            return list(map(float, cells))
        except ValueError:
            return [self._number(line, n, c, empty_is_nan) for n, c in enumerate(cells, start=1)]

    def _number(self, line: int, column: int, cell: str, empty_is_nan: bool) -> float:
        try:
            return float(cell.strip() or ("nan" if empty_is_nan else ""))
        except ValueError:
            what = f"holds '{cell.strip()}' in column {column}"
            raise self.error(line, what, "put a number there, or nan") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise RecordingError(
            f"{path} cannot be read ({err.strerror}): check the path and its permissions."
        ) from None
