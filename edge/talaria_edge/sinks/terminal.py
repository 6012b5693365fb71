"""The legs in a terminal: angles, phases, and how far to trust them, a few times a second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from talaria_bridge.receiver import LinkReport
from talaria_edge.alignment import SlotStatus, Tick
from talaria_edge.calibration import CalibrationProgress
from talaria_edge.forces import SIDE_WORDS, Loads
from talaria_edge.gait import SIDES, LegState, Phase, SubPhase
from talaria_edge.pipeline import GaitState, Validity
from talaria_edge.sanitiser import SlotFlag, names_of

REDRAW_S = 0.2
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
    """What the view shows beside the gait: how the links do, and step times, ms."""

    links: Sequence[LinkReport]
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
        links = self._read_stats().links
        self._draw(render_silence(seconds, links, self._title))

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


class SensorView:
    """A live view of sensors alone, for recording without a model.

    Parameters
    ----------
    title : str
        Heading of the panel.
    read_links : callable
        Asked for the links at each redraw.
    console : Console, optional
        Where to draw.
    """

    def __init__(
        self,
        title: str,
        read_links: Callable[[], Sequence[LinkReport]],
        console: Console | None = None,
    ) -> None:
        self._title = title
        self._read_links = read_links
        self._next_draw_s = -math.inf
        self._live = Live(console=console or Console(), auto_refresh=False, transient=False)
        self._live.start()

    def show(self, tick: Tick) -> None:
        """Show how the sensors are at one tick, if it is time to draw."""
        now_s = time.monotonic()
        if now_s >= self._next_draw_s:
            self._next_draw_s = now_s + REDRAW_S
            self._live.update(render_tick(tick, self._read_links(), self._title), refresh=True)

    def silence(self, seconds: float) -> None:
        """Say that no sensor has spoken for a while."""
        self._live.update(render_silence(seconds, self._read_links(), self._title), refresh=True)

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()


def render_tick(tick: Tick, links: Sequence[LinkReport], title: str) -> Panel:
    """Picture of the sensors at one tick: what each measures, and how it and its link do."""
    table = Table("sensor", "specific force, m/s²", "angular rate, °/s", "")
    for i, slot in enumerate(tick.slots):
        acc = " ".join(f"{v:7.2f}" for v in tick.acc_ms2[i])
        gyr = " ".join(f"{math.degrees(v):7.1f}" for v in tick.gyr_rads[i])
        row = slice(i, i + 1)
        how = render_slots((slot,), tick.status[row], tick.loss[row], tick.flags[row])
        table.add_row(slot, acc, gyr, how)
    return Panel(Group(table, *(_link_text(link) for link in links)), title=title)


def render_calibration(progress: CalibrationProgress, title: str) -> Panel:
    """Picture of a calibration under way."""
    bar = ProgressBar(total=1.0, completed=progress.fraction, width=40)
    text = Text(f"{progress.stage}: {progress.hint}", style="bold")
    return Panel(Group(text, bar), title=f"{title} · calibrating")


def render_state(state: GaitState, slots: tuple[str, ...], stats: LiveStats, title: str) -> Panel:
    """Picture of one gait state with its phases, slots and losses."""
    angles = Table.grid(padding=(0, 1))
    for name, value in state.angles_rad.items():
        shown = f"{math.degrees(value):7.1f}°" if math.isfinite(value) else "      –°"
        width = state.interval_rad[name]
        within = f"±{math.degrees(width):4.1f}" if math.isfinite(width) else ""
        good = state.angle_validity[name] is Validity.GOOD
        bar = angle_bar(math.degrees(value))
        angles.add_row(name, shown, within, bar, style=None if good else "dim")
    phases = Text("   ").join(_leg_text(side, state.legs[side]) for side in SIDES)
    phases.append(f"   {state.gait_class}", style="bold")
    loads = [_loads_text(state.loads)] if state.loads else []
    slots_and_links = [
        render_slots(slots, state.slot_status, state.slot_loss, state.slot_flags),
        *(_link_text(link) for link in stats.links),
    ]
    belief = Text(f"{state.validity} {state.reason}".strip(), style=_COLOURS[state.validity])
    cost = Text(f"step p50 {stats.p50_ms:.2f} ms, p99 {stats.p99_ms:.2f} ms", style="dim")
    return Panel(Group(angles, Text(), phases, *loads, *slots_and_links, belief, cost), title=title)


def render_silence(seconds: float, links: Sequence[LinkReport], title: str) -> Panel:
    """Picture of a session in which no sensor speaks."""
    text = Text(f"No data from any sensor for {seconds:.1f} s.", style="bold red")
    return Panel(Group(text, *(_link_text(link) for link in links)), title=title)


def render_slots(
    slots: Sequence[str],
    status: Sequence[SlotStatus],
    loss: Sequence[float],
    flags: Sequence[SlotFlag],
) -> Text:
    """Say of each sensor whether it was measured, what was lost, and what is odd about it."""
    parts = []
    for slot, how, lost, odd in zip(slots, status, loss, flags, strict=True):
        notes = [f"{lost:.0%} lost", *names_of(odd)]
        parts.append(Text(f"{slot} {how} ({', '.join(notes)})", style=_COLOURS[how]))
    return Text("   ").join(parts)


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


def _link_text(link: LinkReport) -> Text:
    damaged = sum(link.faults.values())
    notes = [
        f"jitter {link.jitter_s * 1e3:.0f} ms",
        f"{sum(link.lost.values())} lost (at most {max(link.longest_burst.values(), default=0)} in a row)",
    ]
    if damaged:
        notes.append(f"{damaged} damaged")
    if link.reconnects:
        notes.append(f"{link.reconnects} reconnections")
    if link.restarts:
        notes.append(f"{link.restarts} restarts")
    if link.battery is not None:
        notes.append(f"battery {link.battery:.0%}")
    if link.signal_dbm is not None:
        notes.append(f"signal {link.signal_dbm:.0f} dBm")
    notes += link.refusals
    how = "" if link.connected else "not connected: "
    style = "dim" if link.connected else "bold red"
    return Text(f"{link.name or 'link'}: {how}{', '.join(notes)}", style=style)


def _loads_text(loads: Loads) -> Text:
    """Say in one line what each foot carries and each ankle does; dim what is not good."""
    values, halves = loads.values, loads.half_widths
    kinds = (("foot, BW", "grf_vertical"), ("ankle moment, N m/kg", "ankle_angle_moment"))
    parts = []
    for label, stem in kinds:
        if f"{stem}_{SIDES[0]}" not in values:
            continue
        parts.append(Text(label, style="dim"))
        for side in SIDES:
            name = f"{stem}_{side}"
            value, half = values[name], halves[name]
            shown = f"{value:5.2f}" if math.isfinite(value) else "    –"
            within = f" ±{half:.2f}" if math.isfinite(half) else ""
            good = loads.output_validity[name] is Validity.GOOD
            parts.append(Text(f"{SIDE_WORDS[side]} {shown}{within}", style="" if good else "dim"))
    return Text("   ").join(parts)


def _leg_text(side: str, leg: LegState) -> Text:
    colour = {Phase.STANCE: "cyan", Phase.SWING: "magenta"}.get(leg.phase, "dim")
    part = leg.phase if leg.sub_phase is SubPhase.UNKNOWN else leg.sub_phase.replace("_", " ")
    at = f" {leg.cycle:4.0%}" if math.isfinite(leg.cycle) else ""
    return Text(f"{SIDE_WORDS[side]} {part}{at}", style=colour)
