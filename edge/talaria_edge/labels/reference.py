"""A file of joint angles that something else measured: OpenSim, OpenCap, a mocap export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

from talaria_bridge.errors import RecordingError
from talaria_edge.labels.columns import AngleColumn, read_column, read_time
from talaria_edge.tables.csvfile import CsvFile
from talaria_edge.tables.motion import AngleUnit, check_angle_unit, read_table, unit_of_values
from talaria_edge.tables.textfile import Floats

LONGEST_BRIDGE_S = 0.1
"""A wider gap stays a gap: a leg in mid-swing turns by a quarter of its range in that time."""
_BENT_RAD = 0.35
"""No knee bends this far the wrong way, so one that does is counted the other way round."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceMotion:
    """Angles on their own clock.

    Attributes
    ----------
    name : str
        The file, for messages.
    t_s : ndarray, shape (T,)
        Rising, seconds; the zero and the rate are the file's own.
    angles_rad : dict of OpenSim name to ndarray, shape (T,)
        OpenSim's signs; NaN where the file has nothing.
    notes : tuple of str
        What had to be concluded because the file does not say it.
    """

    name: str
    t_s: Floats
    angles_rad: dict[str, Floats]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """What either kind of file comes to: labels, numbers, and the unit its header names."""

    name: str
    labels: tuple[str, ...]
    t_s: Floats
    values: Floats
    unit: AngleUnit | None


def read_reference(path: Path, unit: AngleUnit | None = None) -> ReferenceMotion:
    """Read a ``.mot``, ``.sto`` or ``.csv`` of joint angles.

    Parameters
    ----------
    path : Path
    unit : {"deg", "rad"}, optional
        Of the angles, for files that do not say.

    Raises
    ------
    RecordingError
        If the file is none of these, holds no angle of hip, knee or ankle, holds one twice, or does
        not tell its unit.
    """
    readers = {".mot": _read_motion, ".sto": _read_motion, ".csv": _read_csv}
    suffix = path.suffix.casefold()
    if suffix not in readers:
        raise RecordingError(
            f"{path} is no .mot, .sto or .csv, so it cannot be read as joint angles: export the "
            "angles as one of these."
        )
    table = readers[suffix](path)
    if table.unit and unit and table.unit != unit:
        raise RecordingError(
            f"{path} says in its header that its angles are in {table.unit}, and --unit says "
            f"{unit}: leave --unit out, or correct the header."
        )
    columns = _columns(table)
    notes: list[str] = []
    said = _units(table, columns, unit, notes)
    angles = {
        c.name: table.values[:, i] * c.sign * (np.pi / 180.0 if said[i] == "deg" else 1.0)
        for i, c in columns.items()
    }
    return ReferenceMotion(table.name, table.t_s, _knees_forward(angles, notes), tuple(notes))


def resample(t_s: Floats, values: Floats, at_s: Floats) -> Floats:
    """Read a curve with gaps at other instants.

    Parameters
    ----------
    t_s, values : ndarray, shape (T,)
        Rising times; NaN where there is no value.
    at_s : ndarray, shape (K,)

    Returns
    -------
    ndarray, shape (K,)
        Cubic between samples at most `LONGEST_BRIDGE_S` apart; NaN elsewhere.
    """
    out = np.full(len(at_s), np.nan)
    sound = np.flatnonzero(np.isfinite(values))
    if not len(sound):
        return out
    breaks = np.flatnonzero(np.diff(t_s[sound]) > LONGEST_BRIDGE_S) + 1
    for run in np.split(sound, breaks):
        if len(run) < 4:
            continue
        inside = (at_s >= t_s[run[0]]) & (at_s <= t_s[run[-1]])
        out[inside] = CubicSpline(t_s[run], values[run])(at_s[inside])
    return out


def _read_motion(path: Path) -> _Table:
    table = read_table(path)
    said: dict[bool | None, AngleUnit | None] = {True: "deg", False: "rad", None: None}
    return _Table(str(path), table.names, table.t_s, table.values, said[table.in_degrees])


def _read_csv(path: Path) -> _Table:
    table = CsvFile.open(path)
    times = [name for name in table.names if read_time(name) is not None]
    if not times:
        raise RecordingError(
            f"{path} has no time column (it has {', '.join(table.names)}): name one 'time', in "
            "seconds."
        )
    t_s = table.time(times[0], read_time(times[0]) or 1.0)
    labels = tuple(name for name in table.names if read_column(name) is not None)
    values = table.numbers(labels)
    assert t_s is not None  # the column has just been seen
    if not np.isfinite(t_s).all():
        raise RecordingError(f"{path} has an empty cell in {times[0]}: fill in or delete that row.")
    return _Table(str(path), labels, t_s, values, None)


def _columns(table: _Table) -> dict[int, AngleColumn]:
    """Return what each angle column means, by its place."""
    found = {i: c for i, label in enumerate(table.labels) if (c := read_column(label)) is not None}
    if not found:
        raise RecordingError(
            f"{table.name} holds no angle of a hip, knee or ankle that is known by name: rename its "
            "columns to OpenSim's, such as hip_flexion_r, knee_angle_r and ankle_angle_r."
        )
    places: dict[str, int] = {}
    for i, column in found.items():
        first = places.setdefault(column.name, i)
        if first != i:
            raise RecordingError(
                f"{table.name} holds {column.name} twice, as '{table.labels[first]}' and as "
                f"'{table.labels[i]}': delete or rename one."
            )
    return found


def _units(
    table: _Table, columns: dict[int, AngleColumn], unit: AngleUnit | None, notes: list[str]
) -> dict[int, AngleUnit]:
    """Return each angle column's unit: as it, the header or the caller says, or its size allows."""
    said = {i: c.unit or table.unit or unit for i, c in columns.items()}
    silent = [i for i, known in said.items() if known is None]
    if silent:
        concluded = unit_of_values(*_named(table, columns, silent))
        if concluded is None:
            raise RecordingError(
                f"{table.name} does not say whether its angles are in degrees or radians, and their "
                "size allows both: add --unit deg or --unit rad."
            )
        notes.append(f"in {concluded} by the size of the angles: the file does not say")
        said |= dict.fromkeys(silent, concluded)
    known: dict[int, AngleUnit] = {i: u for i, u in said.items() if u is not None}
    for one in sorted(set(known.values())):
        chosen = [i for i, u in known.items() if u == one]
        check_angle_unit(table.name, *_named(table, columns, chosen), one, "its header or --unit")
    return known


def _named(
    table: _Table, columns: dict[int, AngleColumn], chosen: Iterable[int]
) -> tuple[Sequence[str], Floats]:
    places = list(chosen)
    return [columns[i].name for i in places], table.values[:, places]


def _knees_forward(angles_rad: dict[str, Floats], notes: list[str]) -> dict[str, Floats]:
    """Turn knees that bend backwards: some models count extension positive."""
    turned = dict(angles_rad)
    for name, values in angles_rad.items():
        seen = values[np.isfinite(values)]
        if not name.startswith("knee") or not len(seen):
            continue
        if seen.min() < -_BENT_RAD and seen.max() < _BENT_RAD:
            turned[name] = -values
            notes.append(f"{name} turned round: the file counts extension positive")
    return turned
