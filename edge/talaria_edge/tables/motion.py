"""Scalars over time, as OpenSim's ``.mot`` and ``.sto`` tables hold them, and the unit of their angles.

Formats as OpenSim 4.x writes them (opensim-core, ``STOFileAdapter``) and as older tools do; whatever
cannot be read with certainty ends in a `RecordingError` that names file, line and remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from talaria_bridge.errors import RecordingError
from talaria_edge.tables.storage import StorageHeader, check_storage, checked_time, storage_header
from talaria_edge.tables.textfile import Floats, Source, TextFile

AngleUnit = Literal["deg", "rad"]

SAGITTAL = ("hip_flexion_", "knee_angle_", "ankle_angle_")
_TRANSLATIONS = ("_tx", "_ty", "_tz")
# No hip, knee or ankle passes half a turn, so a larger "radian" is a degree.
_MOST_RAD = np.pi
# Walking bends a knee by more than 0.35 rad; a leg whose six angles move by that many *degrees*
# while none ever passes 2.7 degrees does not walk, so such "degrees" are radians.
_MOVES_RAD, _BENDS_RAD = 0.35, 2.7


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
        return self.values[:, table_column(self.name, self.names, name)]

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
    largest, moves = _judged(names, values)
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


def unit_of_values(names: Sequence[str], values: Floats) -> AngleUnit | None:
    """Return the only unit that hip, knee and ankle angles of this size can be in, if there is one.

    Parameters
    ----------
    names : sequence of str
        OpenSim names of the columns.
    values : ndarray, shape (T, len(names))
    """
    largest, moves = _judged(names, values)
    if largest > _MOST_RAD:
        return "deg"
    return "rad" if largest < _BENDS_RAD and moves > _MOVES_RAD else None


def _judged(names: Sequence[str], values: Floats) -> tuple[float, float]:
    """Return the largest hip flexion, knee or ankle angle, and the widest range of one; or zeros."""
    judged = [i for i, n in enumerate(names) if n.startswith(SAGITTAL) and not _is_coupled(n)]
    columns = [c[np.isfinite(c)] for c in values.T[judged]]
    seen = [c for c in columns if len(c)]
    if not seen:
        return 0.0, 0.0
    return max(float(np.abs(c).max()) for c in seen), max(float(np.ptp(c)) for c in seen)


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


def table_column(where: str, names: tuple[str, ...], name: str) -> int:
    """Return a column's place; `RecordingError` if there is no such one."""
    if name not in names:
        raise RecordingError(
            f"{where} has no column '{name}': it has {', '.join(names)}; rename one or leave out "
            "what needs it."
        )
    return names.index(name)
