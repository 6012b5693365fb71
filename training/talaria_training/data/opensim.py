"""Readers for OpenSim's text formats: ``.trc``, ``.mot``/``.sto`` tables, orientation ``.sto``.

Formats as OpenSim 4.x writes them (opensim-core, ``TRCFileAdapter`` and ``STOFileAdapter``) and as
older tools do: an empty first line, Windows line ends, trailing tabs, spaces instead of tabs and
free text before ``endheader`` are all met in published files and all accepted. Whatever cannot be
read with certainty ends in a `RecordingError` that names file, line and remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_training.data.storage import (
    StorageHeader,
    check_count,
    check_rate,
    check_storage,
    checked_time,
    storage_header,
)
from talaria_training.data.textfile import Floats, Source, TextFile

AngleUnit = Literal["deg", "rad"]

SAGITTAL = ("hip_flexion_", "knee_angle_", "ankle_angle_")
_TRANSLATIONS = ("_tx", "_ty", "_tz")
# No hip, knee or ankle passes half a turn, so a larger "radian" is a degree.
_MOST_RAD = np.pi
# Walking bends a knee by more than 0.35 rad; a leg whose six angles move by that many *degrees*
# while none ever passes 2.7 degrees does not walk, so such "degrees" are radians.
_MOVES_RAD, _BENDS_RAD = 0.35, 2.7


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
        return self.values[:, _column(self.name, self.names, column)]


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


@dataclass(frozen=True, slots=True, eq=False)
class MotionTable:
    """Scalars over time, unconverted.

    Attributes
    ----------
    name : str
        The file, for messages.
    names : tuple of str
        Column names without ``time``, C of them.
    t_s : ndarray, shape (T,)
    values : ndarray, shape (T, C)
        As in the file.
    in_degrees : bool or None
        The header's ``inDegrees``; None where the header does not say.
    header : dict
        Every ``key=value`` line of the header.
    declared : {"deg", "rad"} or None
        What the caller of `read_table` said the angles are in.
    """

    name: str
    names: tuple[str, ...]
    t_s: Floats
    values: Floats
    in_degrees: bool | None
    header: dict[str, str]
    declared: AngleUnit | None = None

    def column(self, name: str) -> Floats:
        """Return one column as it stands, shape (T,); `RecordingError` if there is no such one."""
        return self.values[:, _column(self.name, self.names, name)]

    def angles_rad(self, names: Sequence[str]) -> Floats:
        """Return rotational columns in radians, shape (T, len(names)).

        Raises
        ------
        RecordingError
            If a column is missing or is no independent angle, if neither the header nor the caller
            says the unit, if they contradict each other, or if one of them says a unit that the
            values deny. Header and caller agreeing is taken as final.
        """
        for name in names:
            _refuse_non_angle(self.name, name)
        unit = self._unit()
        if self.in_degrees is None or self.declared is None:
            check_angle_unit(self.name, self.names, self.values, unit, "its inDegrees line")
        out = np.column_stack([self.column(name) for name in names])
        return np.deg2rad(out) if unit == "deg" else out

    def _unit(self) -> AngleUnit:
        said: AngleUnit | None = None
        if self.in_degrees is not None:
            said = "deg" if self.in_degrees else "rad"
        if said and self.declared and said != self.declared:
            raise RecordingError(
                f"{self.name} says inDegrees={'yes' if self.in_degrees else 'no'} but was declared "
                f"to be in {self.declared}: correct the header line or the declaration."
            )
        unit = said or self.declared
        if unit is None:
            raise RecordingError(
                f"{self.name} has no inDegrees line, so its angles could be degrees or radians: "
                'add inDegrees=yes or inDegrees=no to its header, or declare angles="deg" or "rad".'
            )
        return unit


def check_angle_unit(
    where: str, names: Sequence[str], values: Floats, unit: AngleUnit, said_by: str
) -> None:
    """Refuse hip, knee and ankle angles whose size denies the unit they are said to be in.

    Parameters
    ----------
    where : str
        The file, for the message.
    names : sequence of str
        Column names; only hip flexion, knee and ankle angles are judged.
    values : ndarray, shape (T, len(names))
    unit : {"deg", "rad"}
    said_by : str
        What to correct, for the message.

    Raises
    ------
    RecordingError
        If "radians" pass half a turn, or if "degrees" move like a walk but never pass 2.7.
    """
    judged = [i for i, n in enumerate(names) if n.startswith(SAGITTAL) and not _is_coupled(n)]
    seen = values[:, judged]
    if not np.isfinite(seen).any():
        return
    largest = float(np.nanmax(np.abs(seen)))
    moves = max(float(np.ptp(c[np.isfinite(c)])) for c in seen.T if np.isfinite(c).any())
    if unit == "rad" and largest > _MOST_RAD:
        other, meant = "degrees", "radians"
    elif unit == "deg" and largest < _BENDS_RAD and moves > _MOVES_RAD:
        other, meant = "radians", "degrees"
    else:
        return
    raise RecordingError(
        f"{where} is said to be in {meant}, but its largest hip, knee or ankle angle is "
        f"{largest:.3g}, which looks like {other}: correct {said_by}, or, if it is right, state "
        "the unit both in the header (inDegrees) and in the call (angles)."
    )


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


def read_table(source: Source, angles: AngleUnit | None = None) -> MotionTable:
    """Read a ``.mot`` or ``.sto`` file of scalars.

    Parameters
    ----------
    source : path, or (name, bytes)
    angles : {"deg", "rad"}, optional
        The unit of rotational columns, for files whose header does not say; see
        `MotionTable.angles_rad`.

    Raises
    ------
    RecordingError
        If the header, a row, a cell or the time column is not what the format says.
    """
    text = TextFile.open(source)
    head = storage_header(text)
    kind = head.values.get("DataType", "double")
    if kind.casefold() != "double":
        raise text.error(
            head.lines.get("DataType", 1),
            f"says DataType={kind}, not a table of scalars",
            "read quaternions with read_orientations, or export scalars",
        )
    values, at = text.rows(head.labels + 1, 1 + len(head.names), head.separator)
    t_s = checked_time(text, values[:, 0], at)
    check_storage(text, head, t_s)
    return MotionTable(
        text.name, head.names, t_s, values[:, 1:], _in_degrees(text, head), head.values, angles
    )


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
    whole = np.stack([_bridged(q[:, i], doubtful[:, i]) for i in range(len(head.names))], axis=1)
    return OrientationTable(text.name, head.names, t_s, whole, doubtful)


def _bridged(q: Floats, doubtful: NDArray[np.bool_]) -> Floats:
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


def _in_degrees(text: TextFile, head: StorageHeader) -> bool | None:
    said = next((k for k in head.values if k.casefold() == "indegrees"), None)
    if said is None:
        return None
    answer = head.values[said].casefold()
    if answer not in {"yes", "no"}:
        raise text.error(
            head.lines[said], f"says inDegrees={head.values[said]}", "write inDegrees=yes or =no"
        )
    return answer == "yes"


def _refuse_non_angle(where: str, name: str) -> None:
    if _is_coupled(name):
        raise RecordingError(
            f"{name} in {where} is a coupled coordinate, which OpenSim writes in radians or in "
            f"degrees whatever inDegrees says: use {name.removesuffix('_beta')}."
        )
    if name.endswith(_TRANSLATIONS):
        raise RecordingError(
            f"{name} in {where} is a translation in metres, not an angle: read it with column()."
        )


def _is_coupled(name: str) -> bool:
    return name.endswith("_beta")


def _column(where: str, names: tuple[str, ...], name: str) -> int:
    if name not in names:
        raise RecordingError(
            f"{where} has no column '{name}': it has {', '.join(names)}; rename one or leave out "
            "what needs it."
        )
    return names.index(name)
