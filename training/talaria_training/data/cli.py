"""``talaria-train data``: which recordings are there, and what is wrong with them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from talaria_bridge.errors import ExportError, TalariaError
from talaria_training.data.check import check_set, to_json
from talaria_training.data.faults import Fault, Severity
from talaria_training.data.files import Progress as Report
from talaria_training.data.load import load_recordings
from talaria_training.data.recording import DataIssue, Recording

app = typer.Typer(help="Look at recordings.", no_args_is_help=True)

PathArgument = Annotated[
    Path,
    typer.Argument(
        help="CapSense tree or zips, plain folders, recorded sessions, BIDS-Motion, or OpenSense's layout."
    ),
]
PeopleOption = Annotated[
    str | None, typer.Option(help="Only these people, comma-separated, e.g. Sub01,Sub02.")
]


@app.command()
def info(
    path: PathArgument,
    people: PeopleOption = None,
) -> None:
    """List the recordings under PATH and every fault found in loading them."""
    out, err = Console(), Console(stderr=True)
    skipped: list[DataIssue] = []
    with _one_sentence(err):
        found = load_with_bar(path, _names(people), skipped, err)
    out.print(overview(found))
    issues = unique([i for r in found for i in r.issues] + skipped)
    out.print(f"{len(issues)} issues" if issues else "no issues", style="bold")
    for issue in issues:
        out.print(f"  {issue}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def check(
    path: PathArgument,
    people: PeopleOption = None,
    file: Annotated[
        Path | None, typer.Option("--json", help="Where to write what was found.")
    ] = None,
) -> None:
    """Find what is wrong with a set: units, axes, swapped sensors, lags, gaps; exit code 1 if it is spoilt."""
    out, err = Console(), Console(stderr=True)
    with _one_sentence(err):
        with _bar(err) as report:
            faults, count = check_set(path, _names(people), report)
        if file is not None:
            _write_json(file, to_json(faults, count))
    if faults:
        out.print(fault_table(faults, count))
    else:
        out.print(f"{count} recordings, and nothing is wrong with them")
    if any(fault.severity is Severity.SPOILS for fault in faults):
        raise typer.Exit(1)


def fault_table(faults: Sequence[Fault], count: int) -> Table:
    """Return the faults, worst first; the same one in several recordings is one row with the first's values."""
    alike: dict[tuple[Severity, str, str], list[Fault]] = {}
    for fault in faults:
        kind = (fault.severity, fault.part, re.sub(r"[-+]?[0-9]+([.][0-9]+)?", "0", fault.what))
        alike.setdefault(kind, []).append(fault)
    table = Table(title=f"{len(faults)} faults in {count} recordings")
    table.add_column("")
    table.add_column("where", max_width=24, overflow="fold")
    table.add_column("what is wrong, and what to do", overflow="fold")
    styles = {Severity.SPOILS: "red", Severity.WEAKENS: "yellow", Severity.NOTE: "dim"}
    for first, *more in alike.values():
        others = f" and {len(more)} more" if more else ""
        where = f"{first.recording}{others}" + (f": {first.part}" if first.part else "")
        row = (first.severity.word, where, f"{first.what}: {first.action}.")
        table.add_row(*map(escape, row), style=styles[first.severity])
    return table


def load_with_bar(
    path: Path, people: set[str] | None, skipped: list[DataIssue], console: Console
) -> list[Recording]:
    """Load recordings behind a progress bar that vanishes when it is done."""
    with _bar(console) as report:
        return load_recordings(path, people=people, progress=report, on_skip=skipped.append)


@contextmanager
def _bar(console: Console) -> Iterator[Report]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def report(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=name)

        yield report


@contextmanager
def _one_sentence(console: Console) -> Iterator[None]:
    try:
        yield
    except TalariaError as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None


def _write_json(file: Path, about: dict[str, object]) -> None:
    try:
        file.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as err:
        raise ExportError(
            f"{file} cannot be written ({err.strerror}): give another path with --json."
        ) from None


def _names(people: str | None) -> set[str] | None:
    return None if people is None else {p.strip() for p in people.split(",") if p.strip()}


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
