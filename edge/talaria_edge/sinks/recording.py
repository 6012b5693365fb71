"""A session on disk: one folder that can be replayed, opened in OpenSim, and traced to its model.

``<out>/<YYYYmmdd-HHMMSS>-<user>/`` holds

=================  ==============================================================================
``session.mcap``   every byte the sensors sent, with its arrival time: replays bit for bit; and the
                   ticks, gait states and forces made of them, for Foxglove and for ``talaria export``
``angles.mot``     the angles in degrees, OpenSim's names, from the end of calibration on; absent
                   where there was no model
``events.csv``     ``t_s,side,kind`` of every contact
``marks.csv``      ``t_s,note`` of every mark somebody set while it ran; absent where nobody did
``session.toml``   source, model and its checksum, calibration; counters once it has ended
=================  ==============================================================================

Times in ``angles.mot``, ``events.csv`` and ``marks.csv`` count from ``t0_s`` of ``session.toml``, the
instant of the first gait state. A recording that was begun while the session ran names the one before
it as ``continues``; the counters of ``ended`` count from the session's start.
"""

from __future__ import annotations

import csv
import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from talaria_bridge.errors import RecordingError
from talaria_bridge.link import Chunk, Item, Link
from talaria_bridge.recorder import LOG_FILE, SessionLogWriter
from talaria_edge.alignment import Tick
from talaria_edge.pipeline import GaitState
from talaria_edge.sinks.fields import (
    FORCES_SCHEMA,
    GAIT_SCHEMA,
    MARK_SCHEMA,
    TICK_SCHEMA,
    force_fields,
    gait_fields,
    tick_fields,
)
from talaria_edge.sinks.opensim import MotWriter
from talaria_edge.toml_out import write_toml

log = logging.getLogger("talaria")

ANGLES_FILE = "angles.mot"
EVENTS_FILE = "events.csv"
MARKS_FILE = "marks.csv"
SESSION_FILE = "session.toml"
SESSION_VERSION = 1
TICKS_TOPIC = "/ticks"
GAIT_TOPIC = "/gait"
FORCES_TOPIC = "/forces"
MARKS_TOPIC = "/marks"
_LOOK_S = 1.0
"""How often the free space is looked at: a second of four sensors is a few kilobytes."""


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
    links : sequence of Link
        Of the source.
    now : datetime, optional
        Wall clock at the start, for the folder's name.
    keep_free_bytes : float
        When less is free, the recording is closed whole and what comes after is not kept.

    Attributes
    ----------
    folder : Path
    empty : bool
        Whether no sensor has sent anything yet.

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
        links: Sequence[Link] = (),
        now: datetime | None = None,
        keep_free_bytes: float = 0.0,
    ) -> None:
        now = now or datetime.now().astimezone()
        self._about: dict[str, Any] = {
            "version": SESSION_VERSION,
            "started": now.isoformat(timespec="seconds"),
            **about,
        }
        self._t0_s: float | None = None
        self._closed = False
        self.empty = True
        self._keep_free_bytes = keep_free_bytes
        self._looked_s = -math.inf
        try:
            self.folder = _fresh_folder(out, f"{now:%Y%m%d-%H%M%S}-{user}")
            self._events = (self.folder / EVENTS_FILE).open("w", buffering=1, encoding="utf-8")
            self._events.write("t_s,side,kind\n")
            self._log = SessionLogWriter(self.folder / LOG_FILE, links, int(now.timestamp() * 1e9))
        except OSError as err:
            raise RecordingError(
                f"No session can be recorded in {out} ({err.strerror}): choose another folder with "
                "--record, or give --no-record."
            ) from None
        self._angles = (
            MotWriter(self.folder / ANGLES_FILE, names, self.folder.name) if names else None
        )
        self.note({})

    @property
    def closed(self) -> bool:
        """Whether it takes nothing any more: the session has ended, or the disk is nearly full."""
        return self._closed

    def write_raw(self, item: Item) -> None:
        """Record what the sensors sent, before anything is made of it."""
        if self._closed:
            return
        if abs(item.t_s - self._looked_s) > _LOOK_S:
            self._looked_s = item.t_s
            self._look_at_disk()
        if not self._closed:
            self.empty = self.empty and not isinstance(item, Chunk)
            self._log.write(item)

    def tick(self, tick: Tick) -> None:
        """Record one instant of the common clock."""
        if self._closed:
            return
        self.empty = False
        self._log.write_json(TICKS_TOPIC, tick.t_s, tick_fields(tick), TICK_SCHEMA)

    def note(self, more: Mapping[str, Any]) -> None:
        """Add to ``session.toml`` and rewrite it."""
        if self._closed and self.empty:
            return
        self._about |= more
        try:
            write_toml(self.folder / SESSION_FILE, self._about)
        except OSError as err:
            raise RecordingError(
                f"{self.folder / SESSION_FILE} cannot be written ({err.strerror}): free the disk."
            ) from None

    def show(self, state: GaitState) -> None:
        """Record one gait state."""
        if self._closed:
            return
        self.empty = False
        if self._t0_s is None:
            self._t0_s = state.t_s
            self.note({"t0_s": state.t_s})
        self._log.write_json(GAIT_TOPIC, state.t_s, gait_fields(state), GAIT_SCHEMA)
        if state.loads:
            self._log.write_json(FORCES_TOPIC, state.t_s, force_fields(state), FORCES_SCHEMA)
        if self._angles is not None:
            self._angles.write(state.t_s - self._t0_s, state.angles_rad)
        try:
            for event in state.events:
                self._events.write(f"{event.t_s - self._t0_s:.4f},{event.side},{event.kind}\n")
        except OSError as err:
            raise RecordingError(
                f"{self.folder / EVENTS_FILE} cannot be written ({err.strerror}): free the disk."
            ) from None

    def mark(self, t_s: float, note: str) -> bool:
        """Note an instant; say whether it could be, which it cannot before the first gait state."""
        if self._closed or self._t0_s is None:
            return False
        self._log.write_json(MARKS_TOPIC, t_s, {"t_s": t_s, "note": note}, MARK_SCHEMA)
        file = self.folder / MARKS_FILE
        try:
            begun = file.exists()
            with file.open("a", encoding="utf-8", newline="") as out:
                rows = csv.writer(out, lineterminator="\n")
                if not begun:
                    rows.writerow(["t_s", "note"])
                rows.writerow([f"{t_s - self._t0_s:.3f}", note])
        except OSError as err:
            raise RecordingError(
                f"{file} cannot be written ({err.strerror}): free the disk."
            ) from None
        return True

    def close(self) -> None:
        """Finish every file; a second call does nothing. What nothing came to is not kept."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._angles is not None:
                self._angles.close()
        finally:
            self._events.close()
            self._log.close()
        if self.empty:
            # Sensors that stay in their case while a service waits for them must not fill the disk.
            shutil.rmtree(self.folder, ignore_errors=True)

    def _look_at_disk(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free >= self._keep_free_bytes:
            return
        why = f"the disk had only {free / 1e9:.2f} GB left"
        self.note({"closed_early": why})
        self.close()
        log.warning(
            "%s was closed because %s (disk.keep_free_gb): what was recorded is whole, and the session "
            "goes on unrecorded; free the disk and start again.",
            self.folder,
            why,
        )


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
