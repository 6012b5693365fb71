"""What the commands share: options, progress bars, loading and preparing recordings, releasing a network."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from talaria_bridge.errors import ConfigError, TalariaError
from talaria_edge.spec import ModelSpec
from talaria_training import artefacts
from talaria_training.data.cli import load_with_bar, unique
from talaria_training.data.recording import DataIssue, Recording
from talaria_training.networks import GaitNet
from talaria_training.runlog import open_run
from talaria_training.train import Progress as Report
from talaria_training.train import TrainConfig
from talaria_training.trials import Prepared, Trial, prepare

out = Console()
err = Console(stderr=True)

DataOption = Annotated[
    Path, typer.Option("--data", help="CapSense tree or zips, or plain folders.")
]
PeopleOption = Annotated[str | None, typer.Option(help="Only these people, comma-separated.")]
OutOption = Annotated[Path, typer.Option("--out", help="Model folder to write.")]
EngineOption = Annotated[str, typer.Option(help="local processes, or ray.")]
AddressOption = Annotated[
    str | None, typer.Option(help="An existing Ray cluster: ray://host:10001 or host:port.")
]
LogDirOption = Annotated[
    Path | None, typer.Option("--log-dir", help="Write the run's curves there for TensorBoard.")
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Where to write all rows.")]
WorkersOption = Annotated[int, typer.Option(min=0, help="Processes to use; 0 means all cores.")]


def note(said: str) -> None:
    """Tell on the error stream what was left out, and why."""
    err.print(f"note: {said}", highlight=False, markup=False, style="dim", soft_wrap=True)


@contextmanager
def bar(what: str, total: int) -> Iterator[Any]:
    """Show a bar of `total` steps; what it yields advances it by one, whatever it is told."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
    )
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err) as progress:
        task = progress.add_task(what, total=total)
        yield lambda *_: progress.advance(task)


@contextmanager
def training_bar(what: str) -> Iterator[Report]:
    """Show a training's steps and its running loss."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
    )
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err) as progress:
        task = progress.add_task(what, total=None)

        def report(step: int, steps: int, loss: float) -> None:
            progress.update(
                task, completed=step, total=steps, description=f"{what}, loss {loss:.3f}"
            )

        yield report


@contextmanager
def training_log(
    report: Report, folder: Path | None, name: str, config: TrainConfig
) -> Iterator[Report]:
    """Show a training's steps and, where a folder is given, write them as a run for TensorBoard."""
    if folder is None:
        yield report
        return
    with open_run(folder, name, config) as run:

        def both(step: int, steps: int, loss: float) -> None:
            report(step, steps, loss)
            run.progress(step, steps, loss)

        yield both


def names_in(text: str | None) -> list[str] | None:
    """Names in a comma-separated option; None where the option was not given."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def load_people(data: Path, people: list[str] | None) -> list[list[Recording]]:
    """Load recordings, person by person, saying what was left out."""
    skipped: list[DataIssue] = []
    recordings = load_with_bar(data, set(people) if people else None, skipped, err)
    grouped: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        grouped[recording.person].append(recording)
    for issue in unique([i for r in recordings for i in r.issues] + skipped):
        note(str(issue))
    return list(grouped.values())


def prepare_people(
    data: Path,
    people: list[str] | None = None,
    workers: int = 0,
    spec: ModelSpec | None = None,
) -> Prepared:
    """Load recordings and make them ready for learning; see `prepare_loaded`."""
    return prepare_loaded(load_people(data, people), data, workers, spec)


def prepare_loaded(
    groups: list[list[Recording]], data: Path, workers: int = 0, spec: ModelSpec | None = None
) -> Prepared:
    """Make people's recordings, loaded from `data`, ready for learning at one rate (that of a `spec`).

    Raises
    ------
    TalariaError
        If nothing can be learned from, or the rates differ.
    """
    with bar("Calibrating and computing features", len(groups)) as done:
        prepared = prepare(groups, workers or os.cpu_count() or 1, done)
    for said in prepared.notes:
        note(said)
    if not prepared.trials:
        raise TalariaError(
            f"No recording in {data} has everything training needs (thigh and foot sensors, a still start, "
            "reference angles): see the notes above."
        )
    rates = {trial.rate_hz for trial in prepared.trials} | ({spec.rate_hz} if spec else set())
    if len(rates) > 1:
        raise TalariaError(
            f"The recordings and the model run at {' and '.join(f'{r:g}' for r in sorted(rates))} Hz, and one "
            "network knows one rate: bring them to the same rate first, or choose --people of one rate."
        )
    return prepared


def release_net(
    net: GaitNet,
    trials: tuple[Trial, ...],
    folder: Path,
    about: artefacts.Provenance,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder, checked against the first two trials."""
    with err.status("Exporting, and comparing torch with onnxruntime step by step …"):
        artefacts.release(net, about, folder, [trial.features for trial in trials[:2]], beside)
    out.print(f"Wrote {folder} (model.onnx, model.safetensors, card.md, SHA256SUMS).")


def conditions_of(texts: Sequence[str] | None) -> dict[str, list[str]]:
    """Read every ``--where COLUMN=a,b``: values by column.

    Raises
    ------
    ConfigError
        If one names no values.
    """
    found = {}
    for text in texts or ():
        column, equals, values = text.partition("=")
        if not equals or not names_in(values):
            raise ConfigError(
                f"--where {text} names no values: write --where condition=normal, or COLUMN=a,b."
            )
        found[column.strip()] = names_in(values) or []
    return found
