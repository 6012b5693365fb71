"""CapSense: treadmill walking with eight Xsens sensors and two force plates.

The data set (Pearl et al. 2022, opearl-cmu/CapacitiveSensingDataset, MIT) is taken in whatever
shape it is at hand: the unpacked tree at any level, a folder of per-person zips, or one zip. Trials
are recognised by their file names alone (``OpenSim_<person>_<condition>_<what>.<ext>``). Faults are
found in the data, never looked up by person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import SLOTS
from talaria_edge.tables.motion import read_table
from talaria_training.data.files import Member, Progress, Skip, Trial, find_members, log_skip
from talaria_training.data.health import check_sensors, longest_run
from talaria_training.data.metadata import PersonFacts, read_people
from talaria_training.data.opensim import (
    OrientationTable,
    TrcTable,
    read_orientations,
    read_trc,
)
from talaria_training.data.plates import SIDES, synchronise
from talaria_training.data.recording import DataIssue, Plates, Recording, Side

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SHORTEST_TRIAL_S = 5.0
"""A trial shorter than this holds no calibration and no strides, and is skipped."""
# Files of one trial may end a few samples apart; a file that ends this much earlier is not used.
_LOOSE_END_S = 1.0
# Across a longer stretch the shortest way from end to end is no longer the way the leg went.
_LONGEST_BRIDGE_S = 0.25


def load_capsense(
    path: str | Path,
    people: Collection[str] | None = None,
    conditions: Collection[str] | None = None,
    progress: Progress | None = None,
    on_skip: Skip = log_skip,
) -> list[Recording]:
    """Load every trial under `path`; see `iter_capsense`."""
    return list(iter_capsense(path, people, conditions, progress, on_skip))


def iter_capsense(
    path: str | Path,
    people: Collection[str] | None = None,
    conditions: Collection[str] | None = None,
    progress: Progress | None = None,
    on_skip: Skip = log_skip,
) -> Iterator[Recording]:
    """Load trials one at a time, by person and condition.

    Parameters
    ----------
    path : path
        The unpacked tree at any level, a folder of zips, or one zip.
    people, conditions : collection of str, optional
        Names to keep, e.g. ``{"Sub02"}``, ``{"CSBaseline"}``.
    progress : callable (done, total, name), optional
        Called before each trial and once at the end.
    on_skip : callable (DataIssue), optional
        Called for a trial that cannot be used at all; logs a warning by default.

    Raises
    ------
    RecordingError
        If a zip cannot be read, or a person or condition asked for is not there.
    """
    trials, facts, notes = find_trials(path)
    chosen = select(Path(path), trials, people, conditions)
    for done, trial in enumerate(chosen):
        if progress:
            progress(done, len(chosen), trial.name)
        try:
            yield _load(trial, facts.get(trial.person), notes)
        except RecordingError as err:
            on_skip(DataIssue(trial.name, str(err).rstrip("."), "the trial is skipped"))
    if progress:
        progress(len(chosen), len(chosen), "")


def find_trials(
    path: str | Path,
) -> tuple[list[Trial], dict[str, PersonFacts], tuple[str, ...]]:
    """Return the trials under `path`, what is known of each person, and notes on the latter.

    Reads directories and the indexes of zips only. No trials means: this is not CapSense.
    """
    trials, sheet = find_members(Path(path))
    if not trials:
        return [], {}, ()
    facts, notes = read_people(sheet)
    return trials, facts, notes


def select(
    path: Path,
    trials: list[Trial],
    people: Collection[str] | None,
    conditions: Collection[str] | None,
) -> list[Trial]:
    """Keep the trials asked for; `RecordingError` if a name asked for does not occur."""
    for what, asked, have in (
        ("person", people, {t.person for t in trials}),
        ("condition", conditions, {t.condition for t in trials}),
    ):
        unknown = sorted(set(asked or ()) - have)
        if unknown:
            raise RecordingError(
                f"{path} holds no {what} '{unknown[0]}': choose from {', '.join(sorted(have))}."
            )
    return [
        t
        for t in trials
        if (people is None or t.person in people)
        and (conditions is None or t.condition in conditions)
    ]


def _load(trial: Trial, facts: PersonFacts | None, notes: tuple[str, ...]) -> Recording:
    absent = [kind for kind in ("Accel", "Gyro") if kind not in trial.files]
    if absent:
        raise RecordingError(
            f"there is no {' and no '.join(absent)} file, so its sensors are unknown"
        )
    acc, gyr = (read_trc(trial.files[kind].source()) for kind in ("Accel", "Gyro"))
    slots, columns, issues = _slots(trial.name, acc, gyr)
    length = _common_length(trial.name, acc, gyr, issues)
    if length < SHORTEST_TRIAL_S * acc.rate_hz:
        raise RecordingError(
            f"it lasts {length / acc.rate_hz:.1f} s, less than {SHORTEST_TRIAL_S:g} s"
        )
    acc_ms2, gyr_rads, dead, sick = check_sensors(
        trial.name,
        acc.rate_hz,
        slots,
        acc.values[:length, columns],
        gyr.values[:length, [gyr.names.index(acc.names[c]) for c in columns]],
    )
    issues += sick
    t_s = acc.t_s[:length]
    return Recording(
        person=trial.person,
        condition=trial.condition,
        name=trial.name,
        rate_hz=acc.rate_hz,
        t_s=t_s,
        slots=slots,
        acc_ms2=acc_ms2,
        gyr_rads=gyr_rads,
        orientation=_orientation(trial, t_s, issues),
        plates=_plates(trial, t_s, slots, dead, (acc_ms2, gyr_rads), issues),
        height_m=facts.height_m if facts else None,
        mass_kg=facts.mass_kg if facts else None,
        leg_m=facts.leg_m if facts else None,
        dead_slots=dead,
        issues=(*issues, *_unknown_person(trial, facts, notes)),
        mounting=_mounting(trial),
    )


def _mounting(trial: Trial) -> str:
    """Name the mounting: the sensors stayed on within the CS trials, and within the EMG trials."""
    return f"{trial.person}/{'EMG' if trial.condition.startswith('EMG') else 'CS'}"


def _unknown_person(
    trial: Trial, facts: PersonFacts | None, notes: tuple[str, ...]
) -> list[DataIssue]:
    if facts is not None:
        return []
    what = notes[0] if notes else f"MetaData.xlsx has no row for {trial.person}"
    return [DataIssue(trial.person, what, "height, mass and leg length are unknown")]


def _slot_of(label: str) -> str:
    """Map ``toes_r_imu_offset_imu`` to ``calcn_r``: the foot sensor plays the heel bone."""
    return label.split("_imu", maxsplit=1)[0].replace("toes_", "calcn_")


def _slots(
    name: str, acc: TrcTable, gyr: TrcTable
) -> tuple[tuple[str, ...], list[int], list[DataIssue]]:
    """Return the slots both files know, their columns in `acc`, and what is missing."""
    known = {_slot_of(label): i for i, label in enumerate(acc.names) if label in gyr.names}
    slots = tuple(s for s in SLOTS if s in known)
    if not slots:
        raise RecordingError(
            f"{acc.name} and {gyr.name} share no sensor on a known slot ({', '.join(SLOTS)})"
        )
    issues = [
        DataIssue(
            f"{name}, {slot}", "is in no file", "what needs this sensor leaves this trial out"
        )
        for slot in SLOTS
        if slot not in known
    ]
    return slots, [known[s] for s in slots], issues


def _common_length(name: str, acc: TrcTable, gyr: TrcTable, issues: list[DataIssue]) -> int:
    length = min(len(acc.t_s), len(gyr.t_s))
    if not _same_clock(acc.t_s[:length], gyr.t_s[:length], acc.rate_hz):
        raise RecordingError(f"{acc.name} and {gyr.name} have different time columns")
    lost = max(len(acc.t_s), len(gyr.t_s)) - length
    if lost:
        what = f"Accel and Gyro differ in length by {lost} samples"
        issues.append(DataIssue(name, what, "the longer one is cut"))
    return length


def _same_clock(a: Floats, b: Floats, rate_hz: float) -> bool:
    return bool((np.abs(a - b) < 0.5 / rate_hz).all())


def _orientation(trial: Trial, t_s: Floats, issues: list[DataIssue]) -> dict[str, Floats] | None:
    gone = "angles from the full chain leave this trial out"
    try:
        table = _matching_orientations(trial, t_s)
    except RecordingError as err:
        what = str(err).rstrip(".")
        issues.append(DataIssue(f"{trial.name}, orientations", what, gone))
        return None
    found: dict[str, Floats] = {}
    by_slot = {_slot_of(label): i for i, label in enumerate(table.names)}
    # A loose end of a few samples stands still rather than leave the whole trial out.
    rows = np.minimum(np.arange(len(t_s)), len(table.t_s) - 1)
    for slot in (s for s in SLOTS if s in by_slot):
        where = f"{trial.name}, orientation of {slot}"
        doubtful = table.doubtful[rows, by_slot[slot]]
        longest_s = longest_run(doubtful)[1] * float(np.median(np.diff(t_s)))
        if longest_s > _LONGEST_BRIDGE_S:
            what = f"is no unit quaternion for {longest_s:.1f} s on end"
            issues.append(DataIssue(where, what, gone))
            continue
        if doubtful.any():
            what = f"{doubtful.mean():.1%} of the quaternions are not of length 1"
            done = "those instants are bridged from their neighbours"
            issues.append(DataIssue(where, what, done))
        found[slot] = table.q[rows, by_slot[slot]]
    return found


def _matching_orientations(trial: Trial, t_s: Floats) -> OrientationTable:
    if "Orientations" not in trial.files:
        raise RecordingError("there is no Orientations file")
    table = read_orientations(trial.files["Orientations"].source())
    rate_hz = (len(t_s) - 1) / float(t_s[-1] - t_s[0])
    length = min(len(t_s), len(table.t_s))
    if not _same_clock(t_s[:length], table.t_s[:length], rate_hz):
        raise RecordingError("the time column differs from the sensors'")
    if len(t_s) - length > _LOOSE_END_S * rate_hz:
        raise RecordingError(f"they end {(len(t_s) - length) / rate_hz:.1f} s before the sensors")
    return table


def _plates(
    trial: Trial,
    t_s: Floats,
    slots: tuple[str, ...],
    dead: tuple[str, ...],
    sensors: tuple[Floats, Floats],
    issues: list[DataIssue],
) -> Plates | None:
    if "GRF" not in trial.files:
        issues.append(
            DataIssue(f"{trial.name}, plates", "there is no GRF file", "no plate is used")
        )
        return None
    try:
        plates = _read_plates(trial.files["GRF"])
    except RecordingError as err:
        what = str(err).rstrip(".")
        issues.append(DataIssue(f"{trial.name}, plates", what, "no plate is used"))
        return None
    acc, gyr = sensors
    feet: dict[Side, tuple[Floats, Floats]] = {}
    for side in SIDES:
        slot = f"calcn_{side}"
        if slot in slots and slot not in dead:
            feet[side] = (acc[:, slots.index(slot)], gyr[:, slots.index(slot)])
    plates, found = synchronise(trial.name, plates, t_s, feet)
    issues += found
    return plates


def _read_plates(member: Member) -> Plates:
    table = read_table(member.source())
    force_n: dict[str, Floats] = {
        side: np.column_stack([table.column(f"{side}F{axis}") for axis in "xyz"]) for side in SIDES
    }
    ok: dict[str, Bools] = {
        side: np.asarray(np.isfinite(f).all(axis=1)) for side, f in force_n.items()
    }
    return Plates(table.t_s, force_n, ok)
