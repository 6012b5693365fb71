"""A calibration in a terminal: what to do now, and how good it was."""

from __future__ import annotations

import logging
import math
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from talaria_edge.calibration import CalibrationProgress
from talaria_edge.findings import Grade
from talaria_edge.grading import CalibrationReport
from talaria_edge.sinks.terminal import REDRAW_S, render_calibration

log = logging.getLogger("talaria")
_COLOURS = {Grade.A: "green", Grade.B: "green", Grade.C: "yellow", Grade.F: "bold red"}


def log_report(report: CalibrationReport) -> None:
    """Write every finding to the log: as a warning where it costs more than a B."""
    for finding in report.findings:
        level = logging.WARNING if finding.grade > Grade.B else logging.INFO
        log.log(level, "Calibration: %s", finding)


class CalibrationView:
    """A live view of one calibration session.

    Parameters
    ----------
    title : str
        Heading of the panel.
    console : Console, optional
        Where to draw.
    """

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = title
        self._next_draw_s = -math.inf
        self._report: CalibrationReport | None = None
        self._live = Live(console=console or Console(), auto_refresh=False, transient=False)
        self._live.start()

    def calibrating(self, progress: CalibrationProgress) -> None:
        """Show how far it is, and the grade of the attempt before, if there was one."""
        now_s = time.monotonic()
        if now_s < self._next_draw_s and progress.stage != "done":
            return
        self._next_draw_s = now_s + REDRAW_S
        panel: RenderableType = render_calibration(progress, self._title)
        if self._report is not None:
            panel = Group(render_report(self._report), panel)
        self._live.update(panel, refresh=True)

    def graded(self, report: CalibrationReport) -> None:
        """Keep the grade in sight."""
        self._report = report

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()


def render_report(report: CalibrationReport) -> Group:
    """Picture of a graded calibration: the grade, each sensor's and its reasons, and the step to repeat."""
    table = Table("sensor", "grade", "why")
    for slot, one in report.slots.items():
        why = "\n".join(one.reasons) if one.reasons else "nothing to complain of"
        table.add_row(slot, Text(one.grade, style=_COLOURS[one.grade]), Text(why))
    parts: list[RenderableType] = [
        Text(f"Calibration: grade {report.grade}", style=_COLOURS[report.grade]),
        table,
    ]
    parts += [Text(finding.text) for finding in report.findings if not finding.slots]
    if report.step:
        parts.append(Text(f"To do: {report.step}", style="bold"))
    return Group(*parts)
