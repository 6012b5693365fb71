"""What OpenSim's text formats have in common: headers, row counts, rates and time columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talaria_edge.tables.textfile import Floats, TextFile

_RATE_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class StorageHeader:
    """The head of a ``.mot`` or ``.sto`` file.

    Attributes
    ----------
    values : dict of str to str
        Every ``key=value`` line.
    lines : dict of str to int
        The line each key stands on.
    labels : int
        The line of the column labels.
    names : tuple of str
        The labels after ``time``.
    separator : str or None
        A tab, or None for any white space.
    """

    values: dict[str, str]
    lines: dict[str, int]
    labels: int
    names: tuple[str, ...]
    separator: str | None


def storage_header(text: TextFile) -> StorageHeader:
    """Read everything up to the column labels.

    Raises
    ------
    RecordingError
        If ``endheader`` or the labels are missing, or a label is missing or repeated.
    """
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    for at, line in enumerate(text.lines, start=1):
        if line.strip().casefold() == "endheader":
            return _storage_labels(text, values, lines, at + 1)
        key, equals, value = line.partition("=")
        if equals:
            values[key.strip()] = value.strip()
            lines[key.strip()] = at
    raise text.error(
        len(text.lines),
        "is reached without an 'endheader' line",
        "give a .mot or .sto file as OpenSim writes it",
    )


def _storage_labels(
    text: TextFile, values: dict[str, str], lines: dict[str, int], at: int
) -> StorageHeader:
    while at <= len(text.lines) and not text.lines[at - 1].strip():
        at += 1
    if at > len(text.lines):
        raise text.error(len(text.lines), "is reached without column labels", "export it again")
    separator = "\t" if "\t" in text.lines[at - 1] else None
    labels = [c.strip() for c in text.lines[at - 1].rstrip().split(separator)]
    if labels[0].casefold() != "time":
        raise text.error(at, f"starts with '{labels[0]}'", "make 'time' the first column label")
    twice = sorted({n for n in labels if labels.count(n) > 1 or not n})
    if twice:
        raise text.error(at, f"repeats or omits a column label ({twice[0]!r})", "make them unique")
    return StorageHeader(values, lines, at, tuple(labels[1:]), separator)


def check_storage(text: TextFile, head: StorageHeader, t_s: Floats) -> None:
    """Hold the rows against the header's ``nRows`` and ``DataRate``, where it has them."""
    line = head.lines.get("nRows", 1)
    check_count(text, line, "nRows", head.values.get("nRows"), len(t_s))
    if "DataRate" in head.values:
        line = head.lines["DataRate"]
        check_rate(text, line, text.number(line, head.values["DataRate"], "DataRate"), t_s)


def check_count(text: TextFile, line: int, key: str, said: str | None, found: int) -> None:
    """Refuse a file with more or fewer rows than it promises."""
    if said is not None and text.number(line, said, key) != found:
        raise text.error(
            line,
            f"promises {key}={said} but {found} rows follow",
            f"the file was cut short or edited, copy it again, or correct {key} if that is all",
        )


def check_rate(text: TextFile, line: int, rate_hz: float, t_s: Floats) -> None:
    """Refuse a rate that the time column contradicts by more than 1 %."""
    if len(t_s) < 2:
        return
    found = 1.0 / float(np.median(np.diff(t_s)))
    if abs(found - rate_hz) > _RATE_TOLERANCE * found:
        raise text.error(
            line,
            f"says {rate_hz:g} Hz but the time column runs at {found:.2f} Hz",
            "correct whichever is wrong",
        )


def checked_time(text: TextFile, t_s: Floats, at: list[int]) -> Floats:
    """Return the time column; `RecordingError` unless it increases from row to row."""
    back = np.flatnonzero(~(np.diff(t_s) > 0))
    if len(back):
        row = int(back[0]) + 1
        raise text.error(
            at[row],
            f"has time {t_s[row]:g} s after {t_s[row - 1]:g} s",
            "make the time column increase, or delete the repeated rows",
        )
    return t_s
