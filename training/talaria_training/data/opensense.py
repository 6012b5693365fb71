"""The OpenSense layout: Xsens text files, a mapping of sensors to segments, and OpenSim's ``.mot``.

Al Borno et al. 2022 (J NeuroEng Rehabil 19:22) and OpenSim's own example keep recordings this way: one
``<trial>_<sensor id>.txt`` per sensor; a mapping, OpenSim's ``myIMUMappings.xml`` or a CSV of id and
segment, in the same folder or above; and, where there was motion capture, inverse kinematics as a
``.mot`` in the person's folder. Folder names vary, so nothing but these files is relied on. Lost
packets stay gaps: every sensor is laid on the packet counter that all of them share.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import SLOTS
from talaria_edge.labels.reference import read_reference
from talaria_edge.tables.textfile import Floats
from talaria_training.data.files import Progress, Skip, log_skip
from talaria_training.data.health import LONGEST_BRIDGED_GAP_S, check_sensors
from talaria_training.data.opensense_files import (
    SensorTrial,
    find_opensense,
    mapping_of,
    reference_files,
)
from talaria_training.data.opensim import bridge_turns
from talaria_training.data.packets import Laid, lay_on_counter
from talaria_training.data.placement_names import slot_of
from talaria_training.data.recording import DataIssue, Recording
from talaria_training.data.reference_lag import put_on_clock
from talaria_training.data.xsens import XsensText, rates_from_orientation, read_xsens

SHORTEST_TRIAL_S = 5.0


def iter_opensense(
    path: str | Path,
    people: Collection[str] | None = None,
    conditions: Collection[str] | None = None,
    progress: Progress | None = None,
    on_skip: Skip = log_skip,
) -> Iterator[Recording]:
    """Load trials one at a time.

    Parameters
    ----------
    path : path
        A folder of people, one person's, or one trial's.
    people, conditions : collection of str, optional
        Names to keep, from the folders' names.
    progress, on_skip
        As in `talaria_training.data.capsense.iter_capsense`; a trial that cannot be read is skipped.

    Raises
    ------
    RecordingError
        If a person asked for is not there.
    """
    trials = find_opensense(path)
    have = sorted({trial.person for trial in trials})
    unknown = sorted(set(people or ()) - set(have))
    if unknown:
        raise RecordingError(
            f"{path} holds no person '{unknown[0]}': choose from {', '.join(have)}."
        )
    chosen = [
        trial
        for trial in trials
        if (people is None or trial.person in people)
        and (conditions is None or trial.condition in conditions)
    ]
    for done, trial in enumerate(chosen):
        if progress:
            progress(done, len(chosen), trial.name)
        try:
            yield _load(trial, Path(path))
        except RecordingError as err:
            on_skip(DataIssue(trial.name, str(err).rstrip("."), "the trial is skipped"))
    if progress:
        progress(len(chosen), len(chosen), "")


def _load(trial: SensorTrial, root: Path) -> Recording:
    segments, issues = _slots(trial, root)
    texts = {slot: read_xsens(trial.files[sensor]) for slot, sensor in segments.items()}
    rates_hz = {text.rate_hz for text in texts.values()}
    if len(rates_hz) > 1:
        said = " and ".join(f"{rate:g}" for rate in sorted(rates_hz))
        raise RecordingError(f"its sensors run at {said} Hz: export them at one rate")
    rate_hz = rates_hz.pop()
    laid, cuts = lay_on_counter(trial.name, texts, round(LONGEST_BRIDGED_GAP_S * rate_hz))
    if len(laid.rows) < SHORTEST_TRIAL_S * rate_hz:
        raise RecordingError(
            f"{len(laid.rows) / rate_hz:.1f} s are whole, less than {SHORTEST_TRIAL_S:g} s"
        )
    issues += cuts
    slots = tuple(texts)
    q = _orientations(texts, laid)
    gyr_rads, derived = _rates(trial.name, texts, laid, q)
    acc_ms2, gyr_rads, dead, sick = check_sensors(
        trial.name,
        rate_hz,
        slots,
        np.stack([laid.take(slot, texts[slot].acc_ms2) for slot in slots], axis=1),
        gyr_rads,
    )
    recording = Recording(
        person=trial.person,
        condition=trial.condition,
        name=trial.name,
        rate_hz=rate_hz,
        t_s=laid.rows / rate_hz,
        slots=slots,
        acc_ms2=acc_ms2,
        gyr_rads=gyr_rads,
        orientation=_whole(q),
        dead_slots=dead,
        issues=(*issues, *derived, *sick),
    )
    return _with_reference(recording, trial, root)


def _slots(trial: SensorTrial, root: Path) -> tuple[dict[str, str], list[DataIssue]]:
    """Return the sensor on each slot, in the order of SLOTS, and which sensors are left out."""
    segments = mapping_of(trial, root)
    by_slot: dict[str, str] = {}
    issues: list[DataIssue] = []
    for sensor in trial.files:
        segment = segments.get(sensor)
        slot = None if segment is None else slot_of(segment)
        if slot is None or slot in by_slot:
            why = (
                "the mapping does not name it"
                if segment is None
                else f"it is on '{segment}', no segment that is known"
                if slot is None
                else f"it is on {slot}, as is {by_slot[slot]}"
            )
            issues.append(DataIssue(f"{trial.name}, sensor {sensor}", why, "it is not used"))
        else:
            by_slot[slot] = sensor
    if not by_slot:
        raise RecordingError(
            f"the mapping names none of its sensors ({', '.join(trial.files)}): correct it"
        )
    return {slot: by_slot[slot] for slot in SLOTS if slot in by_slot}, issues


def _orientations(texts: dict[str, XsensText], laid: Laid) -> dict[str, Floats]:
    return {slot: laid.take(slot, text.q) for slot, text in texts.items() if text.q is not None}


def _rates(
    name: str, texts: dict[str, XsensText], laid: Laid, q: dict[str, Floats]
) -> tuple[Floats, list[DataIssue]]:
    """Return angular rates (T, S, 3), from the orientation where the export has no gyroscope."""
    rates, derived = [], []
    for slot, text in texts.items():
        if text.gyr_rads is not None:
            rates.append(laid.take(slot, text.gyr_rads))
        else:
            rates.append(rates_from_orientation(q[slot], text.rate_hz))
            derived.append(slot)
    if not derived:
        return np.stack(rates, axis=1), []
    what = f"the export has no gyroscope ({', '.join(derived)})"
    how = "rates of turn are the orientation's, and lag by half a sample"
    return np.stack(rates, axis=1), [DataIssue(name, what, how)]


def _whole(q: dict[str, Floats]) -> dict[str, Floats] | None:
    """Bridge what lost packets left open; the longer gaps have been cut away."""
    whole = {}
    for slot, turns in q.items():
        lost = np.asarray(~np.isfinite(turns).all(axis=1))
        if lost.mean() < 1 / 3:
            whole[slot] = bridge_turns(turns, lost)
    return whole or None


def _with_reference(recording: Recording, trial: SensorTrial, root: Path) -> Recording:
    """Add the angles of motion capture, where there is one ``.mot`` of them."""
    files = reference_files(trial, root)
    if not files:
        return recording
    where = f"{recording.name}, reference"
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        issues = [DataIssue(where, f"any of {names} could be it", "none is used: keep one")]
        return replace(recording, issues=(*recording.issues, *issues))
    angles, issues = None, []
    try:
        angles, issues = put_on_clock(recording, read_reference(files[0]))
    except RecordingError as err:
        issues = [DataIssue(where, str(err).rstrip("."), "its angles are not used")]
    return replace(recording, angles_rad=angles, issues=(*recording.issues, *issues))
