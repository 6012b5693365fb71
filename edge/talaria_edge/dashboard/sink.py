"""The session's end of the dashboard: shows states without ever waiting, and brings wishes back."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from talaria_bridge.receiver import LinkReport
from talaria_edge.calibration import CalibrationProgress
from talaria_edge.dashboard.band import NormalBand
from talaria_edge.dashboard.commands import Command
from talaria_edge.dashboard.picture import (
    event_fields,
    force_row,
    link_fields,
    report_fields,
    stance_fields,
    state_fields,
    stride_fields,
    trace_row,
)
from talaria_edge.dashboard.process import DashboardProcess
from talaria_edge.kinematics import SAGITTAL
from talaria_edge.pipeline import GaitState

if TYPE_CHECKING:
    from talaria_edge.grading import CalibrationReport

log = logging.getLogger("talaria")

FRAME_S = 0.05
"""Between two messages to the page: more than twenty a second no eye needs."""
TRACE_S = 0.02
"""Between two points of a trace."""
LINKS_S = 1.0
_CYCLES_KEPT = 16
"""Places in the cycle that are remembered, a third of a second: forces are told of a moment ago."""
_KEPT = 500
"""Trace points, events and strides that wait while the pipe is full: ten seconds of the first."""


def _queue() -> deque[Any]:
    return deque(maxlen=_KEPT)


@dataclass(slots=True)
class _Waiting:
    """What the page has not been told yet; the newest state, and all that happened on the way."""

    state: GaitState | None = None
    news: dict[str, Any] = field(default_factory=dict)
    trace: deque[list[float | None]] = field(default_factory=_queue)
    events: deque[dict[str, Any]] = field(default_factory=_queue)
    strides: deque[dict[str, Any]] = field(default_factory=_queue)
    forces: deque[list[float | None]] = field(default_factory=_queue)
    stances: deque[dict[str, Any]] = field(default_factory=_queue)


class DashboardSink:
    """Feed the dashboard's process; a `Sink`.

    At most one message is on its way. While it is, newer states replace older ones that wait, and
    are counted as dropped; events and strides wait in line.

    Parameters
    ----------
    process : DashboardProcess
    title : str
        Heading of the page.
    slots : sequence of str
        Order of ``GaitState.slot_status``.
    read_links : callable
        Asked for the links about once a second.
    band : mapping, optional
        How people usually walk, by angle.
    force_names : sequence of str, optional
        The forces and moments that are shown beside the angles, if any.
    clock : callable, optional
        Seconds, never going back.

    Attributes
    ----------
    dropped : int
        Messages that were due and found the last one still in the pipe.
    """

    def __init__(
        self,
        process: DashboardProcess,
        title: str,
        slots: Sequence[str],
        read_links: Callable[[], Sequence[LinkReport]],
        *,
        band: Mapping[str, NormalBand] | None = None,
        force_names: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dropped = 0
        self._process = process
        self._read_links = read_links
        self._clock = clock
        self._next_frame_s = self._next_links_s = self._next_trace_s = -math.inf
        self._waiting = _Waiting()
        self._force_names = tuple(force_names)
        self._cycles: deque[list[float | None]] = deque(maxlen=_CYCLES_KEPT)
        self._gone_said = self._silent = False
        bands = {
            name: {
                "mean_deg": [round(value, 2) for value in row.mean_deg],
                "sd_deg": [round(value, 2) for value in row.sd_deg],
            }
            for name, row in (band or {}).items()
        }
        self._tell(title=title, slot_names=list(slots), trace_names=list(SAGITTAL), band=bands)
        if force_names:
            self._tell(force_names=list(force_names))

    def show(self, state: GaitState) -> None:
        """Take one state; never waits for the page."""
        waiting = self._waiting
        waiting.state = state
        self._speaks_again()
        waiting.events.extend(map(event_fields, state.events))
        waiting.strides.extend(map(stride_fields, state.strides))
        waiting.stances.extend(map(stance_fields, state.loads.stances))
        if not -TRACE_S < state.t_s - self._next_trace_s < 0.0:  # also when time was set back
            self._next_trace_s = state.t_s + TRACE_S * 0.999
            row = trace_row(state, SAGITTAL)
            waiting.trace.append(row)
            if state.loads and self._force_names:
                self._trace_forces(state, row)
        self._send_if_due()

    def calibrating(self, progress: CalibrationProgress) -> None:
        """Show how far the calibration is and what the wearer should do."""
        self._speaks_again()
        self._tell(
            calibration={
                "stage": progress.stage,
                "fraction": round(progress.fraction, 3),
                "hint": progress.hint,
            }
        )
        self._send_if_due()

    def calibrated(self, report: CalibrationReport | None = None) -> None:
        """Show that the calibration has ended and, where it was graded, how good it is."""
        self._tell(calibration=None, grades=None if report is None else report_fields(report))

    def recording(self, folder: str | None, *, possible: bool) -> None:
        """Say what is being recorded into, and whether anything can be."""
        self._tell(recording=folder, can_record=possible)

    def note(self, text: str) -> None:
        """Tell the page's user something once, such as that a mark was set."""
        self._tell(note={"text": text, "at_s": round(self._clock(), 3)})

    def silence(self, seconds: float) -> None:
        """Say that no sensor has spoken for a while."""
        self._silent = True
        self._tell(silence_s=round(seconds, 1))

    def poll(self) -> list[Command]:
        """Send what waits, and return what the page has asked for; call it many times a second."""
        self._send_if_due()
        return self._process.commands() if self._process.alive else []

    def close(self) -> None:
        """Tell the page that this is the end, and see the server out; may be called twice."""
        self._tell(ended=True)
        self._process.close(self._message())

    def _trace_forces(self, state: GaitState, row: list[float | None]) -> None:
        """Add a point to forces and moments, at the place in the cycle where the legs were then."""
        self._cycles.append(row[:3])
        at_s = state.loads.t_s
        then = min(self._cycles, key=lambda known: abs((known[0] or 0.0) - at_s))
        self._waiting.forces.append(force_row(state, self._force_names, then[1:]))

    def _speaks_again(self) -> None:
        if self._silent:
            self._silent = False
            self._tell(silence_s=None)

    def _tell(self, **news: Any) -> None:
        self._waiting.news |= news

    def _send_if_due(self) -> None:
        now_s = self._clock()
        waiting = self._waiting
        if now_s < self._next_frame_s or not (waiting.state or waiting.news):
            return
        self._next_frame_s = now_s + FRAME_S
        if now_s >= self._next_links_s:
            self._next_links_s = now_s + LINKS_S
            self._tell(links=[link_fields(link) for link in self._read_links()])
        if self._process.ready():
            self._process.send(self._message())
            self._waiting = _Waiting()
        elif self._process.alive:
            self.dropped += 1
        elif not self._gone_said:
            self._gone_said = True
            log.warning("The dashboard's process has ended: the session goes on without its page.")

    def _message(self) -> bytes:
        waiting = self._waiting
        message: dict[str, Any] = {"kind": "news", "dropped": self.dropped, **waiting.news}
        if waiting.state is not None:
            message["state"] = state_fields(waiting.state)
        for key in ("trace", "events", "strides", "forces", "stances"):
            rows = getattr(waiting, key)
            if rows:
                message[key] = list(rows)
        return json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"
