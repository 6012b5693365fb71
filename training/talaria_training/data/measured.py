"""What something else measured beside the sensors: joint angles and ground contacts, as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.tables.csvfile import CsvFile
from talaria_edge.tables.motion import check_angle_unit
from talaria_training.data.recording import Contact, Side
from talaria_training.data.session import Session

Floats = NDArray[np.float64]
Word = TypeVar("Word", bound=str)

ANGLES_FILE, CONTACTS_FILE = "angles.csv", "contacts.csv"
_SIDES: dict[str, Side] = {"r": "r", "right": "r", "l": "l", "left": "l"}
_KINDS: dict[str, Literal["initial", "final"]] = {"initial": "initial", "final": "final"}


def read_angles(path: Path, session: Session, t_s: Floats) -> dict[str, Floats] | None:
    """Read ``angles.csv``, putting each row at the sample nearest to it in time.

    Parameters
    ----------
    path : Path
    session : Session
    t_s : ndarray, shape (T,)
        Sensor times.

    Returns
    -------
    dict of OpenSim name to ndarray, shape (T,), or None
        Radians, NaN where the file has no row; None if there is no file.

    Raises
    ------
    RecordingError
        If the unit is not declared or the values deny it, or the rows are not at the samples.
    """
    if not path.exists():
        return None
    if session.angles_unit is None:
        raise RecordingError(
            f'{path} could be in degrees or radians: say angles_unit = "deg" or "rad" in '
            "session.toml."
        )
    table = CsvFile.open(path)
    names = [n for n in table.names if n != session.time_column]
    values = table.numbers(names)
    check_angle_unit(str(path), names, values, session.angles_unit, "angles_unit in session.toml")
    if session.angles_unit == "deg":
        values = np.deg2rad(values)
    rows = _rows_in(table, session, t_s)
    out = np.full((len(t_s), len(names)), np.nan)
    out[rows[rows >= 0]] = values[rows >= 0]
    return dict(zip(names, out.T.copy(), strict=True))


def _rows_in(table: CsvFile, session: Session, t_s: Floats) -> NDArray[np.intp]:
    """Return each row's sample, or -1 for rows before the first or after the last sample."""
    own = table.time(session.time_column, session.seconds_per_time_unit)
    if own is None:
        if len(table.cells) != len(t_s):
            raise RecordingError(
                f"{table.text.name} has {len(table.cells)} rows for {len(t_s)} samples and no "
                f"'{session.time_column}' column: add the column, on the sensors' clock."
            )
        return np.arange(len(t_s))
    near = _nearest(own, t_s)
    half = 0.5 / session.rate_hz
    inside = (own > t_s[0] - half) & (own < t_s[-1] + half)
    _check_angle_clock(table, own[inside], near[inside], t_s, session)
    return np.where(inside, near, -1)


def _nearest(own: Floats, t_s: Floats) -> NDArray[np.intp]:
    after = np.clip(np.searchsorted(t_s, own), 1, len(t_s) - 1)
    return np.asarray(after - (own - t_s[after - 1] < t_s[after] - own))


def _check_angle_clock(
    table: CsvFile, own: Floats, near: NDArray[np.intp], t_s: Floats, session: Session
) -> None:
    if not len(own):
        raise RecordingError(
            f"{table.text.name} covers no instant of the sensors' {t_s[0]:g} to {t_s[-1]:g} s: put "
            "its time column on the sensors' clock."
        )
    off = np.abs(own - t_s[near]).max()
    if off > 0.25 / session.rate_hz or (np.diff(near) != 1).any():
        raise RecordingError(
            f"{table.text.name} is not sampled at the sensors' instants: resample the angles to "
            "the time column of the sensors."
        )


def read_contacts(path: Path, session: Session) -> tuple[Contact, ...] | None:
    """Read ``contacts.csv`` (time, side, kind) in time order; None if there is no file.

    Raises
    ------
    RecordingError
        If a time is no number, or a side or kind is none of the words for it.
    """
    if not path.exists():
        return None
    table = CsvFile.open(path)
    t_s = table.numbers([session.time_column])[:, 0] * session.seconds_per_time_unit
    side, kind = table.column("side"), table.column("kind")
    found = [
        Contact(
            float(t),
            _word(table, row, cells[side], "side", _SIDES),
            _word(table, row, cells[kind], "kind", _KINDS),
        )
        for row, (t, cells) in enumerate(zip(t_s, table.cells, strict=True))
    ]
    return tuple(sorted(found, key=lambda c: c.t_s))


def _word(table: CsvFile, row: int, cell: str, name: str, words: dict[str, Word]) -> Word:
    word = words.get(cell.strip().casefold())
    if word is None:
        raise table.text.error(
            table.lines[row],
            f"holds '{cell.strip()}' in column {name}",
            f"write one of {', '.join(words)}",
        )
    return word
