"""A session on disk: one folder that can be replayed, opened in OpenSim, and traced to its model.

``<out>/<YYYYmmdd-HHMMSS>-<user>/`` holds

=================  ==============================================================================
``frames.tlog``    every byte the sensors sent, with its arrival time: replays bit for bit
``angles.mot``     the angles in degrees, OpenSim's names, from the end of calibration on
``events.csv``     ``t_s,side,kind`` of every contact
``session.toml``   source, model and its checksum, calibration; counters once it has ended
=================  ==============================================================================

Times in ``angles.mot`` and ``events.csv`` count from ``t0_s`` of ``session.toml``, the instant of
the first gait state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from talaria_bridge.errors import RecordingError
from talaria_bridge.recorder import Chunk, FrameLogWriter
from talaria_edge.pipeline import GaitState
from talaria_edge.sinks.opensim import MotWriter
from talaria_edge.toml_out import write_toml

FRAMES_FILE = "frames.tlog"
ANGLES_FILE = "angles.mot"
EVENTS_FILE = "events.csv"
SESSION_FILE = "session.toml"
SESSION_VERSION = 1


class SessionRecording:
    """Write one session folder.

    Parameters
    ----------
    out : Path
        Where session folders go; made if absent.
    user : str
        Part of the folder's name.
    names : sequence of str
        The angles, in column order.
    about : mapping
        What ``session.toml`` says from the start.
    now : datetime, optional
        Wall clock at the start, for the folder's name.

    Raises
    ------
    RecordingError
        If the folder or a file in it cannot be written.
    """

    def __init__(
        self,
        out: Path,
        user: str,
        names: Sequence[str],
        about: Mapping[str, Any],
        now: datetime | None = None,
    ) -> None:
        now = now or datetime.now().astimezone()
        self._about: dict[str, Any] = {
            "version": SESSION_VERSION,
            "started": now.isoformat(timespec="seconds"),
            **about,
        }
        self._t0_s: float | None = None
        self._closed = False
        try:
            self.folder = _fresh_folder(out, f"{now:%Y%m%d-%H%M%S}-{user}")
            self._events = (self.folder / EVENTS_FILE).open("w", buffering=1, encoding="utf-8")
            self._events.write("t_s,side,kind\n")
            self._frames = FrameLogWriter(self.folder / FRAMES_FILE)
        except OSError as err:
            raise RecordingError(
                f"No session can be recorded in {out} ({err.strerror}): choose another folder with "
                "--record, or give --no-record."
            ) from None
        self._angles = MotWriter(self.folder / ANGLES_FILE, names, self.folder.name)
        self.note({})

    def write_raw(self, chunk: Chunk) -> None:
        """Record what the sensors sent, before anything is made of it."""
        self._frames.write(chunk)

    def note(self, more: Mapping[str, Any]) -> None:
        """Add to ``session.toml`` and rewrite it."""
        self._about |= more
        try:
            write_toml(self.folder / SESSION_FILE, self._about)
        except OSError as err:
            raise RecordingError(
                f"{self.folder / SESSION_FILE} cannot be written ({err.strerror}): free the disk."
            ) from None

    def show(self, state: GaitState) -> None:
        """Record one gait state."""
        if self._t0_s is None:
            self._t0_s = state.t_s
            self.note({"t0_s": state.t_s})
        self._angles.write(state.t_s - self._t0_s, state.angles_rad)
        try:
            for event in state.events:
                self._events.write(f"{event.t_s - self._t0_s:.4f},{event.side},{event.kind}\n")
        except OSError as err:
            raise RecordingError(
                f"{self.folder / EVENTS_FILE} cannot be written ({err.strerror}): free the disk."
            ) from None

    def close(self) -> None:
        """Finish every file; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._angles.close()
        finally:
            self._frames.close()
            self._events.close()


def _fresh_folder(out: Path, name: str) -> Path:
    """Make a folder that did not exist: two sessions may start in the same second."""
    out.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        folder = out / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise RecordingError(f"{out} already holds 999 sessions named {name}: choose another folder.")
