"""The plain folder convention: anybody's recordings as CSV files and one ``session.toml``.

``PERSON/SESSION/session.toml`` says rate, units and which columns belong to which sensor; see
``training/README.md``. Nothing is resampled: all sensors share one clock, and a time column that
contradicts the declared rate is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import SLOTS
from talaria_edge.tables.csvfile import CsvFile
from talaria_training.data.files import Progress, Skip, log_skip
from talaria_training.data.health import check_sensors
from talaria_training.data.measured import (
    ANGLES_FILE,
    CONTACTS_FILE,
    read_angles,
    read_contacts,
)
from talaria_training.data.recording import DataIssue, Recording
from talaria_training.data.session import (
    SESSION_FILE,
    SensorFile,
    Session,
    is_recorded,
    read_session,
)

Floats = NDArray[np.float64]

SHORTEST_SESSION_S = 5.0
_G_MS2 = 9.80665
_RATE_TOLERANCE = 0.01
# At rest an accelerometer shows 9.8 m/s², and a walk averages to about that.
_MEDIAN_ACC_MS2 = (5.0, 16.0)
# A running foot turns at 6 rad/s on average (r.m.s.), so more than this is degrees; and a sensor
# shaken by more than 1 m/s² that turns by less than 0.1 rad/s is one whose rad/s were scaled down.
_LARGEST_GYR_RADS, _LEAST_GYR_RADS, _SHAKEN_MS2 = 20.0, 0.1, 1.0


def find_sessions(path: str | Path) -> list[Path]:
    """Return every ``session.toml`` at or under `path` that a person wrote, sorted."""
    root = Path(path)
    files = [root] if root.is_file() else sorted(root.rglob(SESSION_FILE))
    return [file for file in files if file.name == SESSION_FILE and not is_recorded(file)]


def load_plain(
    path: str | Path,
    people: Collection[str] | None = None,
    conditions: Collection[str] | None = None,
    progress: Progress | None = None,
    on_skip: Skip = log_skip,
) -> list[Recording]:
    """Load a root of people, one person, or one session; see `iter_plain`."""
    return list(iter_plain(path, people, conditions, progress, on_skip))


def iter_plain(
    path: str | Path,
    people: Collection[str] | None = None,
    conditions: Collection[str] | None = None,
    progress: Progress | None = None,
    on_skip: Skip = log_skip,
) -> Iterator[Recording]:
    """Load plain sessions one at a time, by person and session.

    A session that is too short is skipped and named; anything that cannot be read is an error,
    since whoever wrote the folder can correct it.

    Parameters
    ----------
    path : path
        A root of people, one person's folder, or one session's.
    people, conditions : collection of str, optional
        Names to keep: folder names of people, and declared conditions.
    progress, on_skip
        As in `talaria_training.data.capsense.iter_capsense`.

    Raises
    ------
    RecordingError
        If a file cannot be read as what ``session.toml`` says it is.
    """
    sessions = [(f, read_session(f)) for f in _of_people(path, people)]
    chosen = [(f, s) for f, s in sessions if conditions is None or _condition(f, s) in conditions]
    if sessions and not chosen:
        have = ", ".join(sorted({_condition(f, s) for f, s in sessions}))
        raise RecordingError(
            f"{path} holds no condition '{next(iter(conditions or []), '')}': choose from {have}."
        )
    for done, (file, session) in enumerate(chosen):
        if progress:
            progress(done, len(chosen), _name(file))
        loaded = _load(file.resolve(), session)
        if isinstance(loaded, Recording):
            yield loaded
        else:
            on_skip(loaded)
    if progress:
        progress(len(chosen), len(chosen), "")


def _of_people(path: str | Path, people: Collection[str] | None) -> list[Path]:
    files = find_sessions(path)
    have = {_person(f) for f in files}
    unknown = sorted(set(people or ()) - have)
    if unknown:
        raise RecordingError(
            f"{path} holds no person '{unknown[0]}': choose from {', '.join(sorted(have))}."
        )
    return [f for f in files if people is None or _person(f) in people]


def _person(file: Path) -> str:
    return file.resolve().parent.parent.name


def _name(file: Path) -> str:
    return f"{_person(file)}/{file.resolve().parent.name}"


def _condition(file: Path, session: Session) -> str:
    return session.condition or file.resolve().parent.name


def _load(file: Path, session: Session) -> Recording | DataIssue:
    """Return the recording, or why it is none."""
    name, folder = _name(file), file.parent
    slots = tuple(s for s in SLOTS if s in session.sensors)
    tables = {s.file: CsvFile.open(folder / s.file) for s in session.sensors.values()}
    t_s, length, issues = _clock(name, session, tables)
    if length < SHORTEST_SESSION_S * session.rate_hz:
        what = f"lasts {length / session.rate_hz:.1f} s, less than {SHORTEST_SESSION_S:g} s"
        return DataIssue(name, what, "the session is skipped")
    acc_ms2, gyr_rads = _sensors(session, slots, tables, length)
    acc_ms2, gyr_rads, dead, sick = check_sensors(name, session.rate_hz, slots, acc_ms2, gyr_rads)
    for i, slot in enumerate(slots):
        if slot not in dead:
            _check_units(file, slot, session, acc_ms2[:, i], gyr_rads[:, i])
    return Recording(
        person=_person(file),
        condition=_condition(file, session),
        name=name,
        rate_hz=session.rate_hz,
        t_s=t_s,
        slots=slots,
        acc_ms2=acc_ms2,
        gyr_rads=gyr_rads,
        angles_rad=read_angles(folder / ANGLES_FILE, session, t_s),
        contacts=read_contacts(folder / CONTACTS_FILE, session),
        height_m=session.height_m,
        mass_kg=session.mass_kg,
        leg_m=session.leg_m,
        dead_slots=dead,
        issues=(*issues, *sick),
        mounting=f"{_person(file)}/{session.mounting}" if session.mounting else "",
    )


def _clock(
    name: str, session: Session, tables: dict[str, CsvFile]
) -> tuple[Floats, int, list[DataIssue]]:
    """Return the common time (T,), T, and what had to be cut or is missing."""
    lengths = {file: len(table.cells) for file, table in tables.items()}
    length = min(lengths.values())
    spare = max(lengths.values()) - length
    if spare > session.rate_hz:
        raise RecordingError(
            f"the files of {name} differ in length by {spare} rows, more than a second "
            f"({', '.join(f'{file} has {n}' for file, n in lengths.items())}): resample all of "
            "them to one clock first."
        )
    issues = []
    if spare:
        what = f"its files end up to {spare} samples apart"
        issues.append(DataIssue(name, what, "the longer ones are cut"))
    t_s = _common_time(session, tables, length)
    if t_s is None:
        return np.arange(length) / session.rate_hz, length, issues
    return t_s, length, issues + _gaps(name, t_s, session.rate_hz)


def _common_time(session: Session, tables: dict[str, CsvFile], length: int) -> Floats | None:
    t_s: Floats | None = None
    of = ""
    for file, table in tables.items():
        own = table.time(session.time_column, session.seconds_per_time_unit)
        if own is None:
            continue
        _check_rate(table.text.name, session, own)
        if t_s is None:
            t_s, of = own[:length], file
        elif np.abs(own[:length] - t_s).max() > 0.5 / session.rate_hz:
            raise RecordingError(
                f"{table.text.name} and {of} disagree about time by more than half a sample: "
                "resample all sensors to one clock first."
            )
    return t_s


def _gaps(name: str, t_s: Floats, rate_hz: float) -> list[DataIssue]:
    steps = np.diff(t_s, prepend=t_s[0] - 1.0 / rate_hz)
    gaps = steps > 1.5 / rate_hz
    if not gaps.any():
        return []
    lost = round(float(np.sum(steps[gaps] * rate_hz - 1.0)))
    what = f"about {lost} samples are missing, the longest gap lasts {steps.max():.2f} s"
    return [DataIssue(name, what, "the rest is taken as if it followed at once")]


def _check_rate(file: str, session: Session, t_s: Floats) -> None:
    if len(t_s) < 2:
        return
    # The mean over the middle steps: rounding makes single steps coarse, gaps make some long.
    steps = np.sort(np.diff(t_s))
    inner = steps[len(steps) // 4 : len(steps) - len(steps) // 4]
    found = 1.0 / float(inner.mean())
    if abs(found - session.rate_hz) > _RATE_TOLERANCE * session.rate_hz:
        raise RecordingError(
            f"{file} runs at {found:.2f} Hz by its '{session.time_column}' column but session.toml "
            f"says rate_hz = {session.rate_hz:g}: correct rate_hz or time_unit there."
        )


def _sensors(
    session: Session, slots: tuple[str, ...], tables: dict[str, CsvFile], length: int
) -> tuple[Floats, Floats]:
    acc, gyr = [], []
    for slot in slots:
        sensor: SensorFile = session.sensors[slot]
        values = tables[sensor.file].numbers([*sensor.acc, *sensor.gyr])[:length]
        acc.append(values[:, :3] * (_G_MS2 if session.acc_unit == "g" else 1.0))
        gyr.append(np.deg2rad(values[:, 3:]) if session.gyr_unit == "deg/s" else values[:, 3:])
    return np.stack(acc, axis=1), np.stack(gyr, axis=1)


def _check_units(file: Path, slot: str, session: Session, acc: Floats, gyr: Floats) -> None:
    """Refuse a declared unit that the numbers deny, before a model sees them 9.8 or 57 times off."""
    size = float(np.median(np.linalg.norm(acc, axis=1)))
    low, high = _MEDIAN_ACC_MS2
    if not low < size < high:
        raise RecordingError(
            f"{file} says acc_unit = '{session.acc_unit}', but {slot} then measures {size:.2f} "
            "m/s² where gravity alone is 9.8: correct acc_unit, or take gravity back in."
        )
    turn = float(np.sqrt(np.mean(np.sum(gyr**2, axis=1))))
    shaken = float(np.linalg.norm(acc, axis=1).std()) > _SHAKEN_MS2
    if turn > _LARGEST_GYR_RADS or (shaken and turn < _LEAST_GYR_RADS):
        raise RecordingError(
            f"{file} says gyr_unit = '{session.gyr_unit}', but {slot} then turns at {turn:.3g} "
            "rad/s on average, which no leg does: correct gyr_unit."
        )
