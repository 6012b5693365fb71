"""Stride tables: make them from recordings and published sets, and see what is inside."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_training import artefacts
from talaria_training.commands.app import app
from talaria_training.commands.common import (
    PeopleOption,
    bar,
    err,
    load_people,
    names_in,
    note,
    out,
)
from talaria_training.commands.files import writing
from talaria_training.networks import GaitNet
from talaria_training.strides.c3d_events import C3dCutting, read_c3d
from talaria_training.strides.cut import Cutting, cut_strides, session_of
from talaria_training.strides.look import Look, look_at
from talaria_training.strides.published import read_mat
from talaria_training.strides.running import read_running
from talaria_training.strides.signals import Signals
from talaria_training.strides.simulated import Planted, Population, simulate_strides
from talaria_training.strides.table import CYCLES, StrideTable
from talaria_training.strides.unlabelled import unlabelled_trial
from talaria_training.trials import Trial, prepare

strides_app = typer.Typer(help="Strides as data: one table to classify.", no_args_is_help=True)
app.add_typer(strides_app, name="strides")


class Kind(StrEnum):
    """Where strides come from."""

    CAPSENSE = "capsense"
    SESSION = "session"
    RUNNING = "running"
    MAT = "mat"
    C3D = "c3d"
    SIMULATED = "simulated"


@strides_app.command()
def make(
    file: Annotated[Path, typer.Option("--out", help="Table to write, .npz.")],
    kind: Annotated[
        Kind,
        typer.Option(
            "--from",
            help="CapSense or other recordings, recorded sessions, the BMC-RIC running set, a published .mat, "
            "C3D with events, or simulated.",
        ),
    ],
    path: Annotated[
        Path | None, typer.Argument(help="Folder, zip or file; none for simulated.")
    ] = None,
    signals: Annotated[
        Signals,
        typer.Option(help="Recordings: reference angles, a model's estimate, or sensor axes."),
    ] = Signals.ANGLES,
    both_legs: Annotated[
        bool, typer.Option("--both-legs", help="Recordings: the other leg's channels too.")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            help="Recordings: model folder that estimates, or finds steps nobody measured.",
        ),
    ] = None,
    condition: Annotated[
        str, typer.Option(help="Recordings: call the condition this, such as normal.")
    ] = "",
    people: PeopleOption = None,
    feature: Annotated[str, typer.Option(help=".mat: which array, such as JA_Lower.")] = "",
    cycle: Annotated[str, typer.Option(help="C3D: stride or stance.")] = "stride",
    force: Annotated[
        bool, typer.Option("--force", help="C3D: vertical force too; only steps on a plate.")
    ] = False,
    walkers: Annotated[int, typer.Option(help="Simulated: people.")] = 20,
    sessions: Annotated[int, typer.Option(help="Simulated: sessions of each.")] = 1,
    strides: Annotated[int, typer.Option(help="Simulated: strides of each session.")] = 20,
    difference: Annotated[
        str | None, typer.Option(help="Simulated: CHANNEL at which two groups differ at 20-30 %.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Simulated.")] = 0,
) -> None:
    """Cut or read strides into one table."""
    if cycle not in CYCLES:
        raise ConfigError(f"--cycle is {cycle!r}: choose {' or '.join(CYCLES)}.")
    if kind is Kind.SIMULATED:
        planted = None if difference is None else Planted(difference)
        about = Population(walkers, sessions, strides, planted=planted, seed=seed)
        with err.status("Simulating …"):
            table = simulate_strides(about)
    elif path is None:
        raise ConfigError(f"--from {kind} needs a path to read: give it after the command.")
    elif kind in {Kind.CAPSENSE, Kind.SESSION}:
        table = from_recordings(
            path, Recordings(Cutting(signals, both_legs, condition), people, model)
        )
    else:
        table = _from_files(kind, path, feature, C3dCutting(cycle, force))
    _write(table, file)
    show(table, file)


@strides_app.command()
def info(
    file: Annotated[Path, typer.Argument(help="Stride table, .npz.")],
) -> None:
    """Say what is inside a table, and what a classifier would stumble over."""
    show(StrideTable.load(file), file)


@dataclass(frozen=True, slots=True)
class Recordings:
    """What to take of recordings."""

    how: Cutting
    people: str | None = None
    model: Path | None = None


def from_recordings(path: Path, wanted: Recordings) -> StrideTable:
    """Load recordings and cut their strides."""
    groups = load_people(path, names_in(wanted.people))
    with bar("Calibrating and computing features", len(groups)) as done:
        prepared = prepare(groups, os.cpu_count() or 1, done)
    for said in prepared.notes:
        note(said)
    trials = list(prepared.trials)
    known = {trial.name for trial in trials}
    recordings = [recording for group in groups for recording in group]
    # Learning leaves out what has neither angles nor contacts; strides can still be cut there.
    bare = (unlabelled_trial(r, note) for r in recordings if r.name not in known)
    trials += [trial for trial in bare if trial is not None]
    net = _net(wanted.model, trials)
    sessions = {recording.name: session_of(recording) for recording in recordings}
    with err.status("Cutting strides …"):
        return cut_strides(trials, sessions, wanted.how, net, note)


def _net(model: Path | None, trials: list[Trial]) -> GaitNet | None:
    if model is None:
        return None
    net, spec = artefacts.load(model)
    other = next((t for t in trials if t.rate_hz != spec.rate_hz), None)
    if other is not None:
        raise RecordingError(
            f"{other.name} runs at {other.rate_hz:g} Hz and {spec.model_id} at {spec.rate_hz:g} Hz: give a "
            "model of that rate, or leave the recording out with --people."
        )
    seen = sorted({t.person for t in trials} & set(spec.people))
    if seen:
        note(
            f"{spec.model_id} was trained on {', '.join(seen)}: its angles of them are no test of it"
        )
    return net


def _from_files(kind: Kind, path: Path, feature: str, how: C3dCutting) -> StrideTable:
    if kind is Kind.MAT:
        return read_mat(path, feature)
    with _counting("Reading files") as report:
        if kind is Kind.RUNNING:
            return read_running(path, report)
        return read_c3d(path, how, report, note)


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _write(table: StrideTable, file: Path) -> None:
    if file.suffix != ".npz":
        raise ConfigError(f"--out {file} must end in .npz: strides are kept as a numpy archive.")
    with writing(file):
        table.save(file)


def show(table: StrideTable, file: Path) -> None:
    """Print what is inside a table."""
    found = look_at(table)
    fewest, middle, most = found.strides_per_person
    out.print(f"[bold]{escape(str(file))}[/bold]: {len(table)} strides", highlight=False)
    out.print(escape(table.source), highlight=False)
    facts = Table(show_header=False)
    low, high = found.sessions_per_person
    facts.add_row("people", str(found.people))
    facts.add_row("strides per person", f"{fewest} to {most}, half have {middle} or more")
    facts.add_row("sessions per person", f"{low}" if low == high else f"{low} to {high}")
    facts.add_row("one row is", f"a {table.cycle} of {table.values.shape[2]} points")
    for group, names in _groups(table).items():
        facts.add_row(f"channels: {escape(group)}", escape(", ".join(names)))
    out.print(facts)
    out.print(_labels(found))
    for warning in found.warnings:
        out.print(f"note: {warning}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def _groups(table: StrideTable) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for channel in table.channels:
        unit = "" if channel.unit == "1" else f" ({channel.unit})"
        groups.setdefault(channel.group, []).append(f"{channel.name}{unit}")
    return groups


def _labels(found: Look) -> Table:
    shown = Table("label", "value", title="labels")
    shown.add_column("strides", justify="right")
    shown.add_column("people", justify="right")
    for name, values in found.labels.items():
        if not values:
            shown.add_row(escape(name), f"{found.distinct[name]} different ones", "", "")
        for i, value in enumerate(values):
            text = escape(value.text) or "[dim]not known[/dim]"
            shown.add_row(
                escape(name) if not i else "", text, str(value.strides), str(value.people)
            )
    return shown
