"""A session as a BIDS-Motion data set (BIDS 1.9, *Motion*): one tracking system per clock.

``tracksys-imu`` holds what is on Talaria's common clock: the sensors' readings and the joint angles.
Each link's own samples, on the link's own clock and unevenly spaced, are a tracking system of their
own with a LATENCY channel.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.samples import ImuSample
from talaria_edge.export import Exported, fresh, write_rows

_BIDS_VERSION = "1.9.0"
_TASK = "walk"
_FRAME = {
    "SpatialAxes": "n/a",
    "RotationOrder": "n/a",
    "RotationRule": "right-hand",
    "Description": "The frame of each sensor's own axes, as mounted.",
}


@dataclass(frozen=True, slots=True)
class _Channel:
    name: str
    component: str
    kind: str
    point: str
    units: str


@dataclass(frozen=True, slots=True)
class _Track:
    """One tracking system: its name, channels and table."""

    name: str
    channels: list[_Channel]
    table: NDArray[np.float64]
    rate_hz: float
    note: str


def write_bids(session: Exported, out: Path) -> list[Path]:
    """Write a data set with this one session in it.

    Parameters
    ----------
    session : Exported
    out : Path
        The data set's root.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ExportError
        If a file is there already.
    """
    subject = f"sub-{_label(str(session.about.get('user') or 'anyone'))}"
    started = str(session.about.get("started", ""))
    folder = out / subject / "motion"
    written = [*_write_root(session, out, subject)]
    acquired = []
    for track in [_common(session), *_raw(session)]:
        stem = f"{subject}_task-{_TASK}_tracksys-{track.name}"
        written += _write_track(track, folder, stem)
        acquired.append((f"motion/{stem}_motion.tsv", _time_of(started)))
    stem = f"{subject}_task-{_TASK}_tracksys-imu"
    events = [("onset", "duration", "trial_type"), *_events(session)]
    written.append(write_rows(folder / f"{stem}_events.tsv", iter(events), "\t"))
    columns = {
        "trial_type": {
            "Description": "Contact of a foot as detected live, with the foot's side",
        }
    }
    written.append(_write_json(folder / f"{stem}_events.json", columns))
    scans = iter([("filename", "acq_time"), *acquired])
    written.append(write_rows(out / subject / f"{subject}_scans.tsv", scans, "\t"))
    return written


def _write_root(session: Exported, out: Path, subject: str) -> list[Path]:
    description = {
        "Name": f"Talaria session {session.folder.name}",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "Talaria"}],
    }
    readme = fresh(out / "README.md")
    readme.write_text(
        f"# {session.folder.name}\n\nA walking session recorded by Talaria with inertial sensors at "
        f"{', '.join(session.slots)}. Joint angles follow OpenSim's names and signs.\n",
        encoding="utf-8",
    )
    people = iter([("participant_id",), (subject,)])
    return [
        _write_json(out / "dataset_description.json", description),
        readme,
        write_rows(out / "participants.tsv", people, "\t"),
    ]


def _common(session: Exported) -> _Track:
    channels, columns = [], []
    for i, slot in enumerate(session.slots):
        channels += _imu_channels(slot)
        columns += [session.acc_ms2[:, i], np.degrees(session.gyr_rads[:, i])]
    for name, values in session.angles_deg.items():
        channels.append(_Channel(name, "n/a", "JNTANG", name, "deg"))
        columns.append(values[:, np.newaxis])
    note = "Talaria's common clock; joint angles as estimated live"
    return _Track("imu", channels, np.hstack(columns), session.rate_hz, note)


def _raw(session: Exported) -> Iterator[_Track]:
    for number, (link, samples) in enumerate(session.links.items(), start=1):
        slots = sorted({sample.slot for sample in samples})
        table = _unaligned(samples, slots, session.origin_s)
        latency = _Channel("latency", "n/a", "LATENCY", "n/a", "s")
        channels = [latency, *(c for slot in slots for c in _imu_channels(slot))]
        span_s = table[-1, 0] - table[0, 0]
        rate_hz = (len(table) - 1) / span_s if span_s > 0 else session.rate_hz
        note = f"The samples of {link or 'the only link'} on its own clock, before alignment"
        yield _Track(f"raw{number}", channels, table, round(float(rate_hz), 3), note)


def _unaligned(
    samples: Sequence[ImuSample], slots: Sequence[str], origin_s: float
) -> NDArray[np.float64]:
    """One row per sample number: seconds, then the slots' readings, NaN where one is missing."""
    numbers = sorted({sample.seq for sample in samples})
    row_of = {seq: row for row, seq in enumerate(numbers)}
    table = np.full((len(numbers), 1 + 6 * len(slots)), math.nan)
    for sample in samples:
        row, at = row_of[sample.seq], 1 + 6 * slots.index(sample.slot)
        table[row, 0] = sample.t_s - origin_s
        table[row, at : at + 3] = sample.acc_ms2
        table[row, at + 3 : at + 6] = np.degrees(sample.gyr_rads)
    return table


def _imu_channels(slot: str) -> list[_Channel]:
    kinds = (("ACCEL", "m/s^2"), ("GYRO", "deg/s"))
    return [
        _Channel(f"{slot}_{kind.lower()}_{axis}", axis, kind, slot, units)
        for kind, units in kinds
        for axis in "xyz"
    ]


def _events(session: Exported) -> Iterator[tuple[float, str, str]]:
    for event in session.events:
        yield max(0.0, float(event["t_s"])), "n/a", f"{event['kind']}_{event['side']}"


def _write_track(track: _Track, folder: Path, stem: str) -> list[Path]:
    units = ("units", "sampling_frequency", "reference_frame")
    head = ("name", "component", "type", "tracked_point", *units)
    rows = [
        (c.name, c.component, c.kind, c.point, c.units, str(track.rate_hz), _frame_of(c))
        for c in track.channels
    ]
    levels = {"sensor": _FRAME}
    frames = {"reference_frame": {"Description": "Axes of a channel", "Levels": levels}}
    return [
        write_rows(folder / f"{stem}_motion.tsv", iter(track.table.tolist()), "\t"),
        _write_json(folder / f"{stem}_motion.json", _sidecar(track)),
        write_rows(folder / f"{stem}_channels.tsv", iter([head, *rows]), "\t"),
        _write_json(folder / f"{stem}_channels.json", frames),
    ]


def _frame_of(channel: _Channel) -> str:
    return "sensor" if channel.kind in {"ACCEL", "GYRO"} else "n/a"


def _sidecar(track: _Track) -> dict[str, Any]:
    kinds = [channel.kind for channel in track.channels]
    points = {channel.point for channel in track.channels if channel.point != "n/a"}
    return {
        "TaskName": _TASK,
        "TrackingSystemName": track.name,
        "TaskDescription": track.note,
        "SamplingFrequency": track.rate_hz,
        "SamplingFrequencyEffective": track.rate_hz,
        "RecordingDuration": round(len(track.table) / track.rate_hz, 3),
        "RecordingType": "continuous",
        "MotionChannelCount": len(kinds),
        "TrackedPointsCount": len(points),
        "MissingValues": "n/a",
        **{f"{kind}ChannelCount": kinds.count(kind) for kind in sorted(set(kinds))},
    }


def _write_json(path: Path, value: dict[str, Any]) -> Path:
    fresh(path).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    return path


def _label(text: str) -> str:
    """BIDS labels are letters and digits."""
    return re.sub(r"[^A-Za-z0-9]", "", text) or "anyone"


def _time_of(started: str) -> str:
    try:
        return datetime.fromisoformat(started).replace(tzinfo=None).isoformat()
    except ValueError:
        return "n/a"
