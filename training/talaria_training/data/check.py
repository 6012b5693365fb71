"""``talaria-train data check``: what is wrong with a set, worst first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_training.data.check_frames import check_axes, check_orientations
from talaria_training.data.check_reference import check_reference
from talaria_training.data.check_signals import check_channels, check_clock, check_units
from talaria_training.data.check_walk import check_places
from talaria_training.data.faults import Fault, Severity
from talaria_training.data.files import Progress
from talaria_training.data.load import load_recordings
from talaria_training.data.plain import find_sessions
from talaria_training.data.plates import SIDE_NAMES
from talaria_training.data.recording import DataIssue, Recording


def check_recording(recording: Recording) -> list[Fault]:
    """Find everything that is wrong with one recording, worst first.

    Where clock, channels or units are wrong, what is measured with them is not looked at any further.
    """
    found = [*check_clock(recording), *check_channels(recording), *check_units(recording)]
    if not any(fault.severity is Severity.SPOILS for fault in found):
        found += check_axes(recording)
        found += check_orientations(recording)
        found += check_places(recording)
        found += check_reference(recording)
    return worst_first(found + [_noted(recording, issue) for issue in recording.issues])


def check_set(
    path: Path, people: Collection[str] | None = None, progress: Progress | None = None
) -> tuple[list[Fault], int]:
    """Check every recording under `path`.

    Parameters
    ----------
    path : Path
    people : collection of str, optional
    progress : callable (done, total, name), optional

    Returns
    -------
    faults : list of Fault
        Worst first. A recording that cannot be read is one of them.
    count : int
        Recordings that were looked at.

    Raises
    ------
    RecordingError
        If there is nothing to read at `path`, or nobody of that name.
    """
    faults: list[Fault] = []
    recordings = _load(path, people, progress, faults)
    for done, recording in enumerate(recordings):
        if progress:
            progress(done, len(recordings), f"checking {recording.name}")
        faults += check_recording(recording)
    return worst_first(faults), len(recordings)


def worst_first(faults: Iterable[Fault]) -> list[Fault]:
    """Return each fault once, sorted by severity and then by recording."""
    return sorted(dict.fromkeys(faults), key=lambda f: (-f.severity, f.recording))


def to_json(faults: Sequence[Fault], count: int) -> dict[str, object]:
    """Return plain values for a file."""
    return {
        "recordings": count,
        "spoiled": any(fault.severity is Severity.SPOILS for fault in faults),
        "faults": [
            {
                "severity": fault.severity.word,
                "recording": fault.recording,
                "part": fault.part,
                "what": fault.what,
                "action": fault.action,
            }
            for fault in faults
        ],
    }


def _load(
    path: Path, people: Collection[str] | None, progress: Progress | None, faults: list[Fault]
) -> list[Recording]:
    def skip(issue: DataIssue) -> None:
        faults.append(Fault(Severity.WEAKENS, issue.where, "", issue.what, issue.consequence))

    sessions = find_sessions(path)
    if not sessions:
        return load_recordings(path, people=people, progress=progress, on_skip=skip)
    # One session that cannot be read must not hide what is wrong with the others.
    found: list[Recording] = []
    for done, file in enumerate(sessions):
        name = f"{file.resolve().parent.parent.name}/{file.resolve().parent.name}"
        if people is not None and name.split("/", maxsplit=1)[0] not in people:
            continue
        if progress:
            progress(done, len(sessions), name)
        try:
            found += load_recordings(file, on_skip=skip)
        except RecordingError as err:
            what, _, action = str(err).rstrip(".").rpartition(": ")
            fault = Fault(Severity.SPOILS, name, "", what or str(err), action)
            if not any(f.recording == name for f in faults):
                faults.append(fault)
    if not found and not faults:
        raise RecordingError(
            f"{path} holds nobody of that name: 'talaria-train data info' lists who is there."
        )
    return found


def _noted(recording: Recording, issue: DataIssue) -> Fault:
    """Turn what the loader dealt with into a fault: it weakens where a leg or a plate is lost."""
    name, _, part = issue.where.partition(", ")
    lost = part in recording.dead_slots and part in LEG_SLOTS
    plates = recording.plates
    for side, word in SIDE_NAMES.items():
        if part == f"{word} plate":
            lost = plates is None or not plates.ok[side].all()
    severity = Severity.WEAKENS if lost else Severity.NOTE
    return Fault(severity, name, part, issue.what, issue.consequence)
