"""Readers for OpenSim's vectors and orientations: ``.trc`` and orientation ``.sto``.

Formats as OpenSim 4.x writes them (opensim-core, ``TRCFileAdapter`` and ``STOFileAdapter``) and as
older tools do: an empty first line, Windows line ends, trailing tabs, spaces instead of tabs and
free text before ``endheader`` are all met in published files and all accepted. Whatever cannot be
read with certainty ends in a `RecordingError` that names file, line and remedy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.tables.motion import table_column
from talaria_edge.tables.storage import (
    check_count,
    check_rate,
    check_storage,
    checked_time,
    storage_header,
)
from talaria_edge.tables.textfile import Floats, Source, TextFile


@dataclass(frozen=True, slots=True, eq=False)
class TrcTable:
    """Vectors over time.

    Attributes
    ----------
    name : str
        The file, for messages.
    names : tuple of str
        Column names (markers or sensors), N of them.
    rate_hz : float
        As the header declares it, checked against the time column.
    units : str
        As the header declares them (CapSense says ``m`` for everything).
    t_s : ndarray, shape (T,)
    values : ndarray, shape (T, N, 3)
        NaN where a cell is empty.
    """

    name: str
    names: tuple[str, ...]
    rate_hz: float
    units: str
    t_s: Floats
    values: Floats

    def vector(self, column: str) -> Floats:
        """Return one column's vectors, shape (T, 3); `RecordingError` if there is no such one."""
        return self.values[:, table_column(self.name, self.names, column)]


@dataclass(frozen=True, slots=True, eq=False)
class OrientationTable:
    """Orientations over time.

    Attributes
    ----------
    name : str
        The file, for messages.
    names : tuple of str
        Sensor names, N of them.
    t_s : ndarray, shape (T,)
    q : ndarray, shape (T, N, 4)
        Unit quaternions, scalar first, sensor to world, in a continuous sign.
    doubtful : ndarray of bool, shape (T, N)
        Where the file's quaternion was no unit quaternion and `q` was bridged.
    """

    name: str
    names: tuple[str, ...]
    t_s: Floats
    q: Floats
    doubtful: NDArray[np.bool_]


def read_trc(source: Source) -> TrcTable:
    """Read a ``.trc`` file of markers or of three-axis sensors.

    Raises
    ------
    RecordingError
        If the header, a row, a cell or the time column is not what the format says.
    """
    text = TextFile.open(source)
    keys, numbers, labels = _trc_header(text)
    header = dict(zip(text.cells(keys), text.cells(numbers), strict=False))
    names = tuple(c for c in text.cells(labels)[2:] if c)
    if not names:
        raise text.error(labels, "names no columns after 'Frame#' and 'Time'", "name them")
    rate_hz = text.number(numbers, header.get("DataRate", ""), "DataRate")
    first = text.first_data_line(labels + 1)
    values, at = text.rows(first, 2 + 3 * len(names), "\t", empty_is_nan=True)
    t_s = checked_time(text, values[:, 1], at)
    check_count(text, numbers, "NumFrames", header.get("NumFrames"), len(t_s))
    check_rate(text, numbers, rate_hz, t_s)
    vectors = values[:, 2:].reshape(len(t_s), len(names), 3)
    return TrcTable(text.name, names, rate_hz, header.get("Units", ""), t_s, vectors)


def read_orientations(source: Source) -> OrientationTable:
    """Read an orientation ``.sto``: one ``w,x,y,z`` cell per sensor, renormalised.

    Published files hold stretches that were filtered component by component across a change of the
    quaternion's sign; there the length is not 1 and the direction cannot be trusted. Such rows are
    bridged from their sound neighbours and marked `doubtful`.

    Raises
    ------
    RecordingError
        If the file is no quaternion table, or a third of a sensor's cells are no unit quaternions.
    """
    text = TextFile.open(source)
    head = storage_header(text)
    kind = head.values.get("DataType", "none")
    if kind.casefold() != "quaternion":
        raise text.error(
            head.lines.get("DataType", 1),
            f"says DataType={kind}, not Quaternion",
            "give the orientation file (DataType=Quaternion), or read scalars with read_table",
        )
    width = 1 + 4 * len(head.names)
    values, at = text.rows(head.labels + 1, width, head.separator, commas=True)
    t_s = checked_time(text, values[:, 0], at)
    check_storage(text, head, t_s)
    q = values[:, 1:].reshape(len(t_s), len(head.names), 4)
    norm = np.linalg.norm(q, axis=2)
    doubtful = ~(np.abs(norm - 1.0) <= 0.1)  # also where it is no number
    hopeless = doubtful.mean(axis=0) > 1 / 3
    if hopeless.any():
        sensor = int(hopeless.argmax())
        row = int(doubtful[:, sensor].argmax())
        raise text.error(
            at[row],
            f"gives {head.names[sensor]} a quaternion of length {norm[row, sensor]:.3g} instead "
            f"of 1, as do {doubtful[:, sensor].mean():.0%} of its rows",
            "export the orientations again as w,x,y,z",
        )
    whole = np.stack(
        [bridge_turns(q[:, i], doubtful[:, i]) for i in range(len(head.names))], axis=1
    )
    return OrientationTable(text.name, head.names, t_s, whole, doubtful)


def bridge_turns(q: Floats, doubtful: NDArray[np.bool_]) -> Floats:
    """Replace doubtful rows of one sensor, (T, 4), by interpolation between the sound ones."""
    sound = np.flatnonzero(~doubtful)
    known = q[sound] / np.linalg.norm(q[sound], axis=1, keepdims=True)
    agree = np.sum(known[1:] * known[:-1], axis=1)
    # q and -q are one rotation: follow the sign, or the bridge would pass through nothing.
    known[1:] *= np.where(np.cumsum(agree < 0) % 2 == 1, -1.0, 1.0)[:, None]
    rows = np.arange(len(q))
    full = np.stack([np.interp(rows, sound, known[:, k]) for k in range(4)], axis=1)
    return np.asarray(full / np.linalg.norm(full, axis=1, keepdims=True))


def _trc_header(text: TextFile) -> tuple[int, int, int]:
    """Return the lines of the header's keys, its numbers, and the column labels."""
    used = [at for at, line in enumerate(text.lines, start=1) if line.strip()][:4]
    if not used or not text.lines[used[0] - 1].startswith("PathFileType"):
        raise text.error(1, "does not start with 'PathFileType'", "give a .trc file")
    if len(used) < 4 or not text.cells(used[3])[0].casefold().startswith("frame"):
        raise text.error(
            used[-1],
            "is not the label line ('Frame#', 'Time', names) that should stand here",
            "export the .trc again",
        )
    return used[1], used[2], used[3]
