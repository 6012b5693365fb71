"""``talaria-train data``: which recordings are there, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from talaria_bridge.errors import TalariaError
from talaria_training.data.load import load_recordings
from talaria_training.data.recording import DataIssue, Recording

app = typer.Typer(help="Look at recordings.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look at recordings."""  # a callback keeps `info` a subcommand while it is the only one


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="CapSense tree or zips, or plain folders.")],
    people: Annotated[
        str | None, typer.Option(help="Only these people, comma-separated, e.g. Sub01,Sub02.")
    ] = None,
) -> None:
    """List the recordings under PATH and every fault found in them."""
    out, err = Console(), Console(stderr=True)
    skipped: list[DataIssue] = []
    names = None if people is None else {p.strip() for p in people.split(",") if p.strip()}
    try:
        found = load_with_bar(path, names, skipped, err)
    except TalariaError as error:
        err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    out.print(overview(found))
    issues = unique([i for r in found for i in r.issues] + skipped)
    out.print(f"{len(issues)} issues" if issues else "no issues", style="bold")
    for issue in issues:
        out.print(f"  {issue}", markup=False, highlight=False, soft_wrap=True)


def load_with_bar(
    path: Path, people: set[str] | None, skipped: list[DataIssue], console: Console
) -> list[Recording]:
    """Load recordings behind a progress bar that vanishes when it is done."""
    columns = (TextColumn("reading {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def report(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=name)

        return load_recordings(path, people=people, progress=report, on_skip=skipped.append)


def overview(recordings: Sequence[Recording]) -> Table:
    """Return one row per recording."""
    table = Table(title=f"{len(recordings)} recordings, {_minutes(recordings):.1f} minutes")
    table.add_column("recording", no_wrap=True)
    for name in ("s", "Hz", "IMUs", "quat", "plates", "angles", "steps", "faults"):
        table.add_column(name, justify="right")
    for r in recordings:
        dead = f" ({len(r.dead_slots)} dead)" if r.dead_slots else ""
        table.add_row(
            r.name,
            f"{r.duration_s:.1f}",
            f"{r.rate_hz:g}",
            f"{len(r.slots)}{dead}",
            _count(r.orientation),
            _plates(r),
            _count(r.angles_rad),
            _count(r.contacts),
            str(len(r.issues)) if r.issues else "–",
        )
    return table


def unique(issues: Sequence[DataIssue]) -> list[DataIssue]:
    """Return each issue once, in order."""
    return list(dict.fromkeys(issues))


def _minutes(recordings: Sequence[Recording]) -> float:
    return sum(r.duration_s for r in recordings) / 60.0


def _count(things: Sequence[object] | dict[str, object] | object) -> str:
    return str(len(things)) if isinstance(things, dict | tuple) else "–"


def _plates(recording: Recording) -> str:
    if recording.plates is None:
        return "–"
    whole = [side for side, ok in recording.plates.ok.items() if ok.all()]
    part = [side for side, ok in recording.plates.ok.items() if ok.any() and side not in whole]
    return " ".join([*sorted(whole), *(f"({side})" for side in sorted(part))]) or "–"
