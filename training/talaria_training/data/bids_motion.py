"""BIDS-Motion data sets: Talaria's own exports and other people's.

One tracking system is read per recording, the one with the most sensors on known segments and on an
even clock. Joint angles of that same system are estimates from those very sensors and no reference;
angles of another tracking system are, once its clock has been laid on the sensors'.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import SLOTS
from talaria_edge.kinematics import rotate
from talaria_edge.labels.columns import read_column
from talaria_edge.labels.reference import ReferenceMotion
from talaria_edge.tables.textfile import Floats
from talaria_training.data.bids_channels import BidsChannel, by_point, read_channels
from talaria_training.data.bids_table import Clocked, read_motion, read_people
from talaria_training.data.files import Progress, Skip, log_skip
from talaria_training.data.health import check_sensors
from talaria_training.data.opensim import bridge_turns
from talaria_training.data.placement_names import KNOWN
from talaria_training.data.recording import DataIssue, Recording
from talaria_training.data.reference_lag import put_on_clock

SHORTEST_RECORDING_S = 5.0
_FILE = re.compile(
    r"^sub-(?P<sub>[^_]+)_(?P<before>.*?)_?tracksys-(?P<tracksys>[^_]+)(?P<after>.*)_motion\.tsv$"
)
_MOST_TILT_RAD = float(np.radians(25.0))


@dataclass(frozen=True, slots=True)
class Track:
    """One tracking system's files.

    Attributes
    ----------
    name : str
        The ``tracksys`` label.
    motion : Path
        The table.
    """

    name: str
    motion: Path

    def beside(self, ending: str) -> Path:
        """Return the file of the same name with another ending, such as ``channels.tsv``."""
        return self.motion.with_name(self.motion.name.removesuffix("motion.tsv") + ending)


@dataclass(frozen=True, slots=True)
class Take:
    """Everything recorded of one person at one go.

    Attributes
    ----------
    person, condition : str
        The ``sub`` label, and the labels that say what was done.
    tracks : tuple of Track
    """

    person: str
    condition: str
    tracks: tuple[Track, ...]

    @property
    def name(self) -> str:
        """The recording's name."""
        return f"{self.person}/{self.condition}"


def find_bids(path: str | Path) -> list[Take]:
    """Return the recordings at or under `path`, by name; empty where there is no motion table."""
    root = Path(path)
    takes: dict[tuple[Path, str, str], list[Track]] = defaultdict(list)
    for file in sorted(root.rglob("sub-*_motion.tsv")) if root.is_dir() else []:
        match = _FILE.match(file.name)
        if match:
            labels = f"{match['before']}{match['after']}".strip("_")
            condition = re.sub(r"(?:task|acq)-", "", labels).replace("_", " ") or "motion"
            key = (_data_set(file, match["sub"]), match["sub"], condition)
            takes[key].append(Track(match["tracksys"], file))
    said = [(person, condition) for _, person, condition in takes]
    found = [
        # Several data sets side by side may use the same labels.
        Take(who, f"{home.name} {what}" if said.count((who, what)) > 1 else what, tuple(tracks))
        for (home, who, what), tracks in takes.items()
    ]
    return sorted(found, key=lambda take: take.name)


def _data_set(file: Path, person: str) -> Path:
    """Return the folder that holds the subject's."""
    above = [p.parent for p in file.resolve().parents if p.name == f"sub-{person}"]
    return above[0] if above else file.resolve().parent


def iter_bids(
    path: str | Path,
    people: Collection[str] | None = None,
    conditions: Collection[str] | None = None,
    progress: Progress | None = None,
    on_skip: Skip = log_skip,
) -> Iterator[Recording]:
    """Load recordings one at a time.

    Parameters
    ----------
    path : path
        A data set, or one subject's folder in it.
    people, conditions : collection of str, optional
        Names to keep: ``sub`` labels, and tasks.
    progress, on_skip
        As in `talaria_training.data.capsense.iter_capsense`; one that cannot be read is skipped.

    Raises
    ------
    RecordingError
        If a person asked for is not there.
    """
    takes = find_bids(path)
    have = sorted({take.person for take in takes})
    unknown = sorted(set(people or ()) - set(have))
    if unknown:
        raise RecordingError(
            f"{path} holds no person '{unknown[0]}': choose from {', '.join(have)}."
        )
    facts = read_people(Path(path))
    chosen = [
        take
        for take in takes
        if (people is None or take.person in people)
        and (conditions is None or take.condition in conditions)
    ]
    for done, take in enumerate(chosen):
        if progress:
            progress(done, len(chosen), take.name)
        try:
            height_m, mass_kg = facts.get(take.person, (None, None))
            yield replace(_load(take), height_m=height_m, mass_kg=mass_kg)
        except RecordingError as err:
            on_skip(DataIssue(take.name, str(err).rstrip("."), "the recording is skipped"))
    if progress:
        progress(len(chosen), len(chosen), "")


def _load(take: Take) -> Recording:
    channels = {track: read_channels(track.beside("channels.tsv")) for track in take.tracks}
    track = _sensor_track(channels)
    sensors, left_out = by_point(channels[track])
    slots = tuple(slot for slot in SLOTS if slot in sensors)
    if not slots:
        reasons = "; ".join(f"'{point}' {why}" for point, why in left_out) or "there are none"
        raise RecordingError(
            f"no sensor of {track.motion.name} can be used ({reasons}): name tracked points like {KNOWN}"
        )
    clocked, gaps = read_motion(take.name, track.motion, channels[track], _sidecar(track))
    if len(clocked.t_s) < SHORTEST_RECORDING_S * clocked.rate_hz:
        seconds = len(clocked.t_s) / clocked.rate_hz
        raise RecordingError(f"it lasts {seconds:.1f} s, less than {SHORTEST_RECORDING_S:g} s")
    acc_ms2, gyr_rads, dead, sick = check_sensors(
        take.name,
        clocked.rate_hz,
        slots,
        *(
            np.stack([clocked.of(sensors[slot][kind]) for slot in slots], axis=1)
            for kind in ("ACCEL", "GYRO")
        ),
    )
    issues = [
        DataIssue(f"{take.name}, {p}", f"'{p}' {why}", "it is not used") for p, why in left_out
    ]
    recording = Recording(
        person=take.person,
        condition=take.condition,
        name=take.name,
        rate_hz=clocked.rate_hz,
        t_s=clocked.t_s,
        slots=slots,
        acc_ms2=acc_ms2,
        gyr_rads=gyr_rads,
        dead_slots=dead,
        issues=(*issues, *gaps, *_estimates(take.name, channels[track]), *sick),
    )
    recording = _with_orientation(recording, clocked, sensors)
    return _with_reference(recording, {t: c for t, c in channels.items() if t is not track})


def _sensor_track(channels: dict[Track, list[BidsChannel]]) -> Track:
    """Return the tracking system with the most usable sensors; of equals, one on an even clock."""

    def worth(track: Track) -> tuple[int, bool]:
        uneven = any(c.kind == "LATENCY" for c in channels[track])
        return len(by_point(channels[track])[0]), not uneven

    return max(channels, key=worth)


def _sidecar(track: Track) -> dict[str, Any]:
    """Read ``*_motion.json``; `RecordingError` if there is none that can be read."""
    path = track.beside("motion.json")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as err:
        raise RecordingError(
            f"{path.name} cannot be read ({err}), so the rate is unknown: put it beside the table"
        ) from None
    if not isinstance(about, dict):
        raise RecordingError(f"{path.name} holds no object: write SamplingFrequency in one")
    return about


def _estimates(name: str, channels: list[BidsChannel]) -> list[DataIssue]:
    """Say that angles estimated from the sensors themselves are no labels."""
    if not any(c.kind == "JNTANG" for c in channels):
        return []
    what = "its joint angles are of the same tracking system as its sensors, so estimated from them"
    return [DataIssue(name, what, "they are not used as a reference")]


def _with_orientation(
    recording: Recording, clocked: Clocked, sensors: dict[str, dict[str, list[BidsChannel]]]
) -> Recording:
    """Add orientations whose world is z up by the accelerometer's own word."""
    found: dict[str, Floats] = {}
    issues: list[DataIssue] = []
    for i, slot in enumerate(recording.slots):
        if "ORNT" not in sensors[slot]:
            continue
        q = clocked.of(sensors[slot]["ORNT"])
        wrong = np.asarray(~(np.abs(np.linalg.norm(q, axis=1) - 1.0) <= 0.1))
        if wrong.mean() > 1 / 3:
            fault = "is no unit quaternion in a third of the rows"
        else:
            q = bridge_turns(q, wrong)
            up = rotate(q, recording.acc_ms2[:, i])
            up = np.nanmean(up, axis=0)
            tilt = float(np.arccos(np.clip(up[2] / np.linalg.norm(up), -1.0, 1.0)))
            if tilt <= _MOST_TILT_RAD:
                found[slot] = q
                continue
            fault = f"puts gravity {np.degrees(tilt):.0f}° off its z axis, so its world is not z up"
        issues.append(
            DataIssue(f"{recording.name}, orientation of {slot}", fault, "it is not used")
        )
    return replace(recording, orientation=found or None, issues=(*recording.issues, *issues))


def _with_reference(recording: Recording, others: dict[Track, list[BidsChannel]]) -> Recording:
    """Add joint angles that another tracking system measured."""
    angular = {t: c for t, c in others.items() if any(one.kind == "JNTANG" for one in c)}
    if not angular:
        return recording
    if len(angular) > 1:
        names = ", ".join(track.name for track in angular)
        issue = DataIssue(
            f"{recording.name}, reference", f"any of {names} could be it", "none is used: keep one"
        )
        return replace(recording, issues=(*recording.issues, issue))
    track, channels = next(iter(angular.items()))
    clocked, gaps = read_motion(recording.name, track.motion, channels, _sidecar(track))
    angles: dict[str, Floats] = {}
    for channel in channels:
        column = read_column(channel.name) or read_column(channel.point)
        if channel.kind == "JNTANG" and column is not None and column.name not in angles:
            angles[column.name] = clocked.of([channel])[:, 0] * column.sign
    reference = ReferenceMotion(track.motion.name, clocked.t_s, angles, ())
    found, issues = put_on_clock(recording, reference)
    return replace(recording, angles_rad=found, issues=(*recording.issues, *gaps, *issues))
