"""How good the stride parameters are: against a treadmill's belt, optical markers, and force plates.

Every recording is calibrated by the live session's own collector and streamed through the live stages
(rule-based events, so that no network is judged here). The thresholds of `TravelParams` were chosen on
CapSense Sub01 to Sub04; everybody else, and both foot-sensor examples, are reported only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import Calibration, CalibrationCollector, average
from talaria_edge.features import FeatureStage
from talaria_edge.gait import GaitClass, GaitStage
from talaria_edge.strides import Stride, StrideParams, StrideStage
from talaria_training.data.capsense import find_trials, iter_capsense
from talaria_training.data.gaitmap import (
    GAITMAP_ARCHIVE,
    XIO_ARCHIVE,
    Loop,
    MarkedWalk,
    find_archive,
    load_gaitmap,
    load_xio,
)
from talaria_training.data.plates import SIDES, contacts
from talaria_training.data.recording import Contact, Recording

Floats = NDArray[np.float64]

CHOSEN_ON = ("Sub01", "Sub02", "Sub03", "Sub04")
"""The people whose recordings the thresholds were chosen on."""

# A mid-stance stretch in which a heel marker lies still; after the contact, seconds.
_FLAT_S = (0.20, 0.35)
# A foot that turned by more than this walked a curve, and heel and instep travel differently.
_STRAIGHT_RAD = np.deg2rad(15.0)
_SAME_CONTACT_S = 0.15


@dataclass(frozen=True, slots=True)
class BeltRow:
    """One foot of one treadmill trial against the speed of the belt.

    ``length_error_sd_m`` is the spread of stride length about belt speed times stride time, which
    holds the walker's own drifting forward and back beside the error.
    """

    person: str
    condition: str
    side: str
    chosen_on: bool
    strides: int
    belt_ms: float
    speed_ms: float
    speed_error_percent: float
    length_error_sd_m: float


def stream_strides(
    recording: Recording, calibration: Calibration, params: StrideParams | None = None
) -> list[Stride]:
    """Run a recording's feet through the live stages, in order."""
    slots = tuple(slot for slot in LEG_SLOTS if slot in recording.slots)
    rows = [recording.slots.index(slot) for slot in slots]
    feet: dict[str, int] = {
        side: slots.index(f"calcn_{side}") for side in SIDES if f"calcn_{side}" in slots
    }
    features = FeatureStage(recording.rate_hz, calibration, slots)
    gait = GaitStage(recording.rate_hz)
    stage = StrideStage(recording.rate_hz, feet, params)
    found: list[Stride] = []
    for t_s, acc, gyr in zip(
        recording.t_s.tolist(), recording.acc_ms2[:, rows], recording.gyr_rads[:, rows], strict=True
    ):
        features.update(acc, gyr)
        segment = features.segment
        assert segment is not None  # set by every update
        _, events = gait.update(t_s, {side: segment.gyr_rads[i] for side, i in feet.items()})
        found += stage.update(t_s, events, segment, {}, GaitClass.UNKNOWN)
    return found


def calibrate_alone(recording: Recording) -> Calibration | None:
    """Calibrate from a recording's first still moment and walk; None if it holds none."""
    slots = tuple(slot for slot in LEG_SLOTS if slot in recording.slots)
    rows = [recording.slots.index(slot) for slot in slots]
    collector = CalibrationCollector(recording.rate_hz, slots)
    readings = zip(recording.acc_ms2[:, rows], recording.gyr_rads[:, rows], strict=True)
    return next(filter(None, (collector.update(acc, gyr) for acc, gyr in readings)), None)


def belt_rows(
    recordings: Iterable[Recording], belt_ms: dict[str, float]
) -> tuple[list[BeltRow], list[dict[str, Any]]]:
    """Measure one person's treadmill trials: against the belt, and against the plates.

    Parameters
    ----------
    recordings : iterable of Recording
        All of one person, so that a trial without a still moment can use its neighbour's calibration.
    belt_ms : dict of person to float

    Returns
    -------
    belt : list of BeltRow
    plates : list of dict
        Per trial and side with plate contacts; see `_against_plates`.
    """
    usable = [r for r in recordings if not r.missing(LEG_SLOTS)]
    own = {r.name: calibrate_alone(r) for r in usable}
    pools: dict[str, list[Calibration]] = defaultdict(list)
    for recording in usable:
        calibration = own[recording.name]
        if calibration is not None:
            pools[recording.mounting].append(calibration)
    everything = [c for pool in pools.values() for c in pool]
    belt: list[BeltRow] = []
    plates: list[dict[str, Any]] = []
    for recording in usable if everything else ():
        calibration = average(pools[recording.mounting] or everything)
        strides = stream_strides(recording, calibration)
        belt += [_belt_row(recording, side, strides, belt_ms[recording.person]) for side in SIDES]
        truth = contacts(recording.plates) if recording.plates is not None else ()
        plates += [
            {"name": recording.name, "side": side} | _against_plates(side, strides, truth)
            for side in SIDES
        ]
    return belt, plates


def _belt_row(recording: Recording, side: str, strides: Sequence[Stride], belt: float) -> BeltRow:
    table = np.array([(s.length_m, s.time_s) for s in strides if s.side == side])
    length, time = table[np.isfinite(table[:, 0])].T
    speed = float(length.sum() / time.sum())
    return BeltRow(
        recording.person,
        recording.condition,
        side,
        recording.person in CHOSEN_ON,
        len(length),
        belt,
        speed,
        100.0 * (speed / belt - 1.0),
        float(np.std(length - belt * time)),
    )


def _against_plates(
    side: str, strides: Sequence[Stride], truth: Sequence[Contact]
) -> dict[str, float]:
    """Median and median absolute error of the times a plate also knows."""
    errors: dict[str, list[float]] = defaultdict(list)
    for stride in strides:
        if stride.side != side:
            continue
        start, end = (_near(truth, side, t_s) for t_s in (stride.start_s, stride.end_s))
        off = _near(truth, side, stride.start_s + stride.stance_s, "final")
        errors["stride_time"].append(stride.time_s - (end - start))
        errors["stance_ratio"].append(stride.stance_ratio - (off - start) / (end - start))
    figures: dict[str, float] = {}
    for name, values in errors.items():
        known = np.array(values)[np.isfinite(values)]
        if len(known):
            figures[f"{name}_bias"] = float(np.median(known))
            figures[f"{name}_mad"] = float(np.median(np.abs(known)))
            figures["strides"] = len(known)
    return figures


def _near(truth: Sequence[Contact], side: str, t_s: float, kind: str = "initial") -> float:
    times = [c.t_s for c in truth if c.side == side and c.kind == kind]
    nearest = min(times, key=lambda t: abs(t - t_s), default=np.nan)
    return nearest if abs(nearest - t_s) < _SAME_CONTACT_S else np.nan


def by_person(rows: Iterable[BeltRow]) -> dict[str, dict[str, Any]]:
    """Pool feet and trials of each person, every stride counting once."""
    grouped: dict[str, list[BeltRow]] = defaultdict(list)
    for row in rows:
        grouped[row.person].append(row)
    people = {}
    for person, same in sorted(grouped.items()):
        weights = [row.strides for row in same]
        errors = [row.speed_error_percent for row in same]
        people[person] = {
            "chosen_on": same[0].chosen_on,
            "belt_ms": same[0].belt_ms,
            "strides": sum(weights),
            "speed_error_percent": float(np.average(errors, weights=weights)),
            "worst_foot_and_trial_percent": max(errors, key=abs),
            "length_error_sd_m": float(
                np.average([row.length_error_sd_m for row in same], weights=weights)
            ),
        }
    return people


def optical_errors(walk: MarkedWalk) -> dict[str, Any]:
    """Stride length and speed against the heel marker, all strides and those on the straight."""
    calibration = calibrate_alone(walk.recording)
    if calibration is None:
        raise RecordingError(
            f"{walk.recording.name} holds no still moment followed by walking, so its feet cannot be "
            "told apart from their sensors: download it again."
        )
    rows = []
    for stride in stream_strides(walk.recording, calibration):
        here, there = (_flat(walk, stride.side, t) for t in (stride.start_s, stride.end_s))
        length_m = float(np.hypot(*(there[0] - here[0])))
        turned = abs(np.angle(np.exp(1j * (there[1] - here[1]))))
        error_m = stride.length_m - length_m
        rows.append((error_m, error_m / stride.time_s, length_m, turned))
    table = np.array(rows)
    known = table[np.isfinite(table).all(axis=1)]
    straight = known[known[:, 3] < _STRAIGHT_RAD]
    unknown = len(table) - len(known)
    return {"unknown": unknown, "all": _spread(known), "straight": _spread(straight)}


def _flat(walk: MarkedWalk, side: str, contact_s: float) -> tuple[Floats, float]:
    """Return the heel's place (x, y) and the shoe's direction while it lies flat after a contact."""
    flat = (walk.t_s > contact_s + _FLAT_S[0]) & (walk.t_s < contact_s + _FLAT_S[1])
    if not flat.any():
        return np.full(2, np.nan), np.nan
    heel, toe = (marker[side][flat, :2].mean(axis=0) for marker in (walk.heel_m, walk.toe_m))
    ahead = toe - heel
    return heel, float(np.arctan2(ahead[1], ahead[0]))


def _spread(table: Floats) -> dict[str, float]:
    error_m, error_ms, length_m = table[:, :3].T
    return {
        "strides": len(table),
        "mean_length_m": float(length_m.mean()),
        "length_bias_m": float(error_m.mean()),
        "length_sd_m": float(error_m.std(ddof=1)),
        "length_mae_m": float(np.abs(error_m).mean()),
        "length_bias_percent": float(100.0 * error_m.sum() / length_m.sum()),
        "speed_bias_ms": float(error_ms.mean()),
        "speed_sd_ms": float(error_ms.std(ddof=1)),
    }


def loop_errors(loop: Loop) -> dict[str, Any]:
    """Sum of the stride lengths of a loop beside its published, approximate length."""
    calibration = calibrate_alone(loop.recording)
    strides = stream_strides(loop.recording, calibration) if calibration is not None else []
    lengths = np.array([stride.length_m for stride in strides])
    return {
        "name": loop.recording.name,
        "about_m": loop.path_m,
        "sum_of_strides_m": float(np.nansum(lengths)),
        "strides": len(lengths),
        "unknown": int(np.isnan(lengths).sum()),
    }


def check(data: Path, done: Callable[[str], None] = lambda what: None) -> dict[str, Any]:
    """Measure everything that is at hand.

    Parameters
    ----------
    data : Path
        A CapSense tree or zips, and beside or inside it the two foot-sensor archives.
    done : callable
        Told what is ready.

    Raises
    ------
    RecordingError
        If there is none of it, or a file cannot be read.
    """
    document: dict[str, Any] = {
        "chosen_on": list(CHOSEN_ON),
        "params": asdict(StrideParams()),
        "events": "rules (talaria_edge.gait), no network",
    }
    _, facts, _ = find_trials(data)
    belt_ms = {p: f.speed_ms for p, f in facts.items() if f.speed_ms is not None}
    recordings: dict[str, list[Recording]] = defaultdict(list)
    for recording in iter_capsense(data, on_skip=lambda issue: None):
        if recording.person in belt_ms:
            recordings[recording.person].append(recording)
    belt: list[BeltRow] = []
    plates: list[dict[str, Any]] = []
    for person, own in recordings.items():
        rows, timing = belt_rows(own, belt_ms)
        belt, plates = belt + rows, plates + timing
        done(person)
    if belt:
        document |= {"belt": [asdict(r) for r in belt], "people": by_person(belt), "plates": plates}
    for name, measure in ((GAITMAP_ARCHIVE, _gaitmap), (XIO_ARCHIVE, _xio)):
        archive = find_archive(data, name)
        if archive is not None:
            document |= measure(archive)
            done(name)
    if not document.keys() & {"belt", "optical", "loops"}:
        raise RecordingError(
            f"{data} holds nothing to check strides against: give a CapSense folder with its "
            f"MetaData.xlsx, or put {GAITMAP_ARCHIVE} or {XIO_ARCHIVE} beside it."
        )
    return document


def _gaitmap(archive: Path) -> dict[str, Any]:
    return {"optical": optical_errors(load_gaitmap(archive))}


def _xio(archive: Path) -> dict[str, Any]:
    return {"loops": [loop_errors(loop) for loop in load_xio(archive)]}
