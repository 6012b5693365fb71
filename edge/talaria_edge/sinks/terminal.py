"""The legs in a terminal: angles, phases, and how far to trust them, a few times a second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from talaria_edge.alignment import SlotStatus
from talaria_edge.calibration import CalibrationProgress
from talaria_edge.gait import SIDES, Phase
from talaria_edge.pipeline import GaitState, Validity

REDRAW_S = 0.2
_SIDE_NAMES = {"r": "right", "l": "left"}
_COLOURS = {
    Validity.GOOD: "green",
    Validity.DEGRADED: "yellow",
    Validity.INVALID: "red",
    SlotStatus.MEASURED: "green",
    SlotStatus.HELD: "yellow",
    SlotStatus.GONE: "red",
}
_BAR_RANGE_DEG = (-40.0, 100.0)
"""What a bar spans: the sagittal angles of walking and running with room to spare."""
_BAR_CELLS = 35


@dataclass(frozen=True, slots=True)
class LiveStats:
    """What the view shows beside the gait: losses per slot (share, 0..1) and step times, ms."""

    loss: Mapping[str, float]
    p50_ms: float
    p99_ms: float


class TerminalView:
    """A live view of one session; a `Sink`.

    Parameters
    ----------
    title : str
        Heading of the panel.
    slots : sequence of str
        Order of ``GaitState.slot_status``.
    read_stats : callable
        Asked for the statistics at each redraw, never more often.
    console : Console, optional
        Where to draw.
    """

    def __init__(
        self,
        title: str,
        slots: tuple[str, ...],
        read_stats: Callable[[], LiveStats],
        console: Console | None = None,
    ) -> None:
        self._title = title
        self._slots = slots
        self._read_stats = read_stats
        self._next_draw_s = -math.inf
        self._state: GaitState | None = None
        self._live = Live(console=console or Console(), auto_refresh=False, transient=False)
        self._live.start()

    def calibrating(self, progress: CalibrationProgress) -> None:
        """Show how far the calibration is and what the wearer should do."""
        if self._due():
            self._draw(render_calibration(progress, self._title))

    def show(self, state: GaitState) -> None:
        """Show one state, if it is time to draw."""
        self._state = state
        if self._due():
            self._draw(render_state(state, self._slots, self._read_stats(), self._title))

    def silence(self, seconds: float) -> None:
        """Say that no sensor has spoken for a while."""
        text = Text(f"No data from any sensor for {seconds:.0f} s.", style="bold red")
        self._draw(Panel(text, title=self._title))

    def close(self) -> None:
        """Draw the last state and give the terminal back."""
        if self._state is not None:
            state, self._state = self._state, None
            self._draw(render_state(state, self._slots, self._read_stats(), self._title))
        self._live.stop()

    def _due(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._next_draw_s:
            return False
        self._next_draw_s = now_s + REDRAW_S
        return True

    def _draw(self, picture: Panel) -> None:
        self._live.update(picture, refresh=True)


def render_calibration(progress: CalibrationProgress, title: str) -> Panel:
    """Picture of a calibration under way."""
    bar = ProgressBar(total=1.0, completed=progress.fraction, width=40)
    text = Text(f"{progress.stage}: {progress.hint}", style="bold")
    return Panel(Group(text, bar), title=f"{title} · calibrating")


def render_state(state: GaitState, slots: tuple[str, ...], stats: LiveStats, title: str) -> Panel:
    """Picture of one gait state with its phases, slots and losses."""
    believed = state.validity is not Validity.INVALID
    angles = Table.grid(padding=(0, 1))
    for name, value in state.angles_rad.items():
        shown = f"{math.degrees(value):7.1f}°" if math.isfinite(value) else "      –°"
        angles.add_row(
            name, shown, angle_bar(math.degrees(value)), style=None if believed else "dim"
        )
    phases = Text("   ").join(_phase_text(side, state.phase.get(side)) for side in SIDES)
    sensors = Text("   ").join(
        Text(f"{slot} {status} ({stats.loss.get(slot, 0.0):.1%} lost)", style=_COLOURS[status])
        for slot, status in zip(slots, state.slot_status, strict=True)
    )
    belief = Text(f"{state.validity} {state.reason}".strip(), style=_COLOURS[state.validity])
    cost = Text(f"step p50 {stats.p50_ms:.2f} ms, p99 {stats.p99_ms:.2f} ms", style="dim")
    return Panel(Group(angles, Text(), phases, sensors, belief, cost), title=title)


def angle_bar(degrees: float) -> str:
    """Draw an angle as a bar from zero; empty for NaN, clipped at the ends of the scale."""
    low, high = _BAR_RANGE_DEG
    cells = [" "] * _BAR_CELLS

    def cell(value: float) -> int:
        share = (min(max(value, low), high) - low) / (high - low)
        return min(int(share * _BAR_CELLS), _BAR_CELLS - 1)

    zero = cell(0.0)
    if math.isfinite(degrees):
        tip = cell(degrees)
        for i in range(min(zero, tip), max(zero, tip) + 1):
            cells[i] = "█"
    cells[zero] = "│"
    return "".join(cells)


def _phase_text(side: str, phase: Phase | None) -> Text:
    colour = {Phase.STANCE: "cyan", Phase.SWING: "magenta"}.get(phase or Phase.UNKNOWN, "dim")
    return Text(f"{_SIDE_NAMES[side]} {phase or Phase.UNKNOWN}", style=colour)
