"""Sessions that ``talaria run`` or ``talaria record`` made, as recordings to learn from.

Labels come from ``reference.mot``, which ``talaria label`` puts beside a session, or, where pelvis and
shanks wore sensors too, from the full chain.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import CalibrationError, RecordingError
from talaria_edge.calibration import Calibration
from talaria_edge.export import Exported, load_session
from talaria_edge.labels.attach import REFERENCE_FILE, calibration_of
from talaria_edge.tables.motion import read_table
from talaria_training.data.files import Progress, Skip, log_skip
from talaria_training.data.health import check_sensors
from talaria_training.data.recording import DataIssue, Recording
from talaria_training.data.session import SESSION_FILE, is_recorded
from talaria_training.headings import facing_orientations

Floats = NDArray[np.float64]

SHORTEST_SESSION_S = 5.0
_NOBODY = "anyone"
"""The person of a session that was recorded without a user."""


def find_recorded(path: str | Path) -> list[Path]:
    """Return the folder of every recorded session at or under `path`, sorted."""
    root = Path(path)
    files = [root / SESSION_FILE, *sorted(root.rglob(SESSION_FILE))] if root.is_dir() else [root]
    found = [f.parent for f in files if f.name == SESSION_FILE and is_recorded(f)]
    return list(dict.fromkeys(found))


def iter_recorded(
    path: str | Path,
    people: Collection[str] | None = None,
    conditions: Collection[str] | None = None,
    progress: Progress | None = None,
    on_skip: Skip = log_skip,
) -> Iterator[Recording]:
    """Load recorded sessions one at a time; the person is the session's user, the condition its folder.

    Parameters
    ----------
    path : path
        One session's folder, or a folder of sessions.
    people, conditions : collection of str, optional
        Names to keep.
    progress, on_skip
        As in `talaria_training.data.capsense.iter_capsense`.

    Raises
    ------
    RecordingError
        If a session or its labels cannot be read.
    """
    folders = [f for f in find_recorded(path) if conditions is None or f.name in conditions]
    for done, folder in enumerate(folders):
        if progress:
            progress(done, len(folders), folder.name)
        if people is not None and _person(_about(folder)) not in people:
            continue
        loaded = _load(folder)
        if isinstance(loaded, Recording):
            yield loaded
        else:
            on_skip(loaded)
    if progress:
        progress(len(folders), len(folders), "")


def _about(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / SESSION_FILE).read_text(encoding="utf-8"))


def _person(about: dict[str, Any]) -> str:
    return str(about.get("user") or _NOBODY)


def _load(folder: Path) -> Recording | DataIssue:
    """Return the recording, or why it is none."""
    session = load_session(folder, links=False)
    person = _person(session.about)
    name = f"{person}/{folder.resolve().name}"
    if session.t_s[-1] < SHORTEST_SESSION_S:
        what = f"lasts {session.t_s[-1]:.1f} s, less than {SHORTEST_SESSION_S:g} s"
        return DataIssue(name, what, "the session is skipped")
    acc_ms2, gyr_rads, dead, sick = check_sensors(
        name, session.rate_hz, session.slots, session.acc_ms2, session.gyr_rads
    )
    calibration, issues = _calibration(name, session)
    recording = Recording(
        person=person,
        condition=folder.resolve().name,
        name=name,
        rate_hz=session.rate_hz,
        t_s=session.t_s,
        slots=session.slots,
        acc_ms2=acc_ms2,
        gyr_rads=gyr_rads,
        angles_rad=_labels(session),
        dead_slots=dead,
        issues=(*sick, *issues),
        calibration=calibration,
    )
    if recording.angles_rad is not None:
        return recording
    return replace(recording, orientation=facing_orientations(recording))


def _calibration(name: str, session: Exported) -> tuple[Calibration | None, tuple[DataIssue, ...]]:
    try:
        return calibration_of(session), ()
    except CalibrationError as err:
        return None, (DataIssue(name, str(err).rstrip("."), "it cannot be learnt from"),)


def _labels(session: Exported) -> dict[str, Floats] | None:
    """Read ``reference.mot``, each row at its tick; None where the session was not labelled."""
    about = session.about.get("reference")
    if about is None:
        return None
    table = read_table(session.folder / REFERENCE_FILE)
    t_s = table.t_s + float(about["t0_s"]) - session.origin_s
    rows = np.searchsorted(session.t_s, t_s - 0.5 / session.rate_hz)
    inside = rows < len(session.t_s)
    off = np.abs(session.t_s[rows[inside]] - t_s[inside])
    if not inside.all() or (off > 0.25 / session.rate_hz).any():
        raise RecordingError(
            f"{table.name} does not lie on the instants of its session: label the session again with "
            "'talaria label'."
        )
    out = np.full((len(session.t_s), len(table.names)), np.nan)
    out[rows] = table.angles_rad(table.names)
    return dict(zip(table.names, out.T.copy(), strict=True))
