"""Recordings from wherever they are: look at what is there and pick the reader."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from talaria_bridge.errors import RecordingError
from talaria_training.data.bids_motion import find_bids, iter_bids
from talaria_training.data.capsense import iter_capsense
from talaria_training.data.files import Progress, Skip, holds_trials, log_skip
from talaria_training.data.opensense import iter_opensense
from talaria_training.data.opensense_files import find_opensense
from talaria_training.data.plain import find_sessions, iter_plain
from talaria_training.data.recorded import find_recorded, iter_recorded
from talaria_training.data.recording import DataIssue, Recording


def load_recordings(
    path: str | Path,
    *,
    people: Collection[str] | None = None,
    conditions: Collection[str] | None = None,
    progress: Progress | None = None,
    on_skip: Skip = log_skip,
) -> list[Recording]:
    """Load every recording under `path`.

    Parameters
    ----------
    path : path
        A CapSense tree, its zips, plain PERSON/SESSION/session.toml folders, sessions that
        ``talaria run`` or ``talaria record`` made, a BIDS-Motion data set, or Xsens text files in
        the OpenSense layout.
    people, conditions : collection of str, optional
        Names to keep; nothing else is read.
    progress : callable (done, total, name), optional
    on_skip : callable (DataIssue), optional
        Called for a recording that cannot be used at all; logs a warning by default.

    Raises
    ------
    RecordingError
        If there is nothing to read, nothing usable, or no person or condition of that name.
    """
    root = Path(path)
    if not root.exists():
        raise RecordingError(f"{root} does not exist: check the path.")
    skipped: list[DataIssue] = []

    def skip(issue: DataIssue) -> None:
        skipped.append(issue)
        on_skip(issue)

    if find_sessions(root):
        found = list(iter_plain(root, people, conditions, progress, skip))
    elif find_recorded(root):
        found = list(iter_recorded(root, people, conditions, progress, skip))
    elif holds_trials(root):
        found = list(iter_capsense(root, people, conditions, progress, skip))
    elif find_bids(root):
        found = list(iter_bids(root, people, conditions, progress, skip))
    elif find_opensense(root):
        found = list(iter_opensense(root, people, conditions, progress, skip))
    else:
        raise RecordingError(
            f"{root} holds no recordings: give a CapSense tree, its zips, "
            "PERSON/SESSION/session.toml folders, recorded sessions, a BIDS-Motion data set, or Xsens "
            "text files with their mapping, see training/README.md."
        )
    if not found:
        reason = str(skipped[0]).rstrip(".") if skipped else "none is left after the filters"
        raise RecordingError(f"{root} holds no usable recording ({reason}): give another path.")
    return found
