"""How good it is on people held out: `evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from talaria_bridge.errors import TalariaError
from talaria_training import artefacts, evaluate, intervals, optical, scoring, tables
from talaria_training.commands.app import app
from talaria_training.commands.common import (
    AddressOption,
    DataOption,
    EngineOption,
    JsonOption,
    PeopleOption,
    WorkersOption,
    bar,
    load_people,
    names_in,
    out,
    prepare_loaded,
)
from talaria_training.commands.files import write_report
from talaria_training.engine import open_engine
from talaria_training.trials import Trial


@app.command("evaluate")
def evaluate_(
    data: DataOption,
    protocol: Annotated[str, typer.Option(help="loso or unseen.")] = "loso",
    compare: Annotated[
        str | None, typer.Option(help="hur2025: the published recipe on the same splits.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Released model folder, for 'unseen'.")] = None,
    people: PeopleOption = None,
    budgets: Annotated[
        str | None,
        typer.Option(help="Seconds of a person's own walking to learn from, comma-separated."),
    ] = None,
    json_file: JsonOption = None,
    optical_file: Annotated[
        Path | None,
        typer.Option("--optical", help=f"{optical.ARCHIVE}; found beside the data if there."),
    ] = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = 0,
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps of every run; for a quick look.")
    ] = None,
) -> None:
    """Measure multi-user, fine-tuned and single-user error on people held out."""
    _check(protocol, compare, model)
    recipe = _recipe(steps, budgets)
    runner = open_engine(engine, workers, address)
    groups = load_people(data, names_in(people))
    released = artefacts.load(model) if model is not None and protocol == "unseen" else None
    prepared = prepare_loaded(groups, data, workers, released[1] if released else None)
    archive = optical_file or optical.find_optical(data)
    truth = optical.load_optical(archive) if archive else None
    names = sorted({trial.person for trial in prepared.trials})
    extra: dict[str, Any] = {}
    with bar("People held out", len(names)) as done:
        if released is None:
            found = evaluate.leave_one_out(prepared.trials, recipe, truth, runner, done)
        else:
            net, spec = released
            _refuse_known(spec.model_id, spec.people, prepared.trials)
            found = evaluate.unseen(net, prepared.trials, recipe, truth, runner, done)
            extra = {"model": spec.model_id}
    if compare:
        with bar("The published recipe", len(names)) as done:
            recordings = [recording for group in groups for recording in group]
            theirs = evaluate.published(recordings, prepared.trials, truth, runner, done)
            found.rows.extend(theirs)
    extra["intervals"] = intervals.document(found.evidence)
    document = scoring.report(protocol, found.rows, prepared.notes, extra)
    out.print(*tables.evaluation(document))
    write_report(json_file, document)


def _check(protocol: str, compare: str | None, model: Path | None) -> None:
    if protocol not in ("loso", "unseen"):
        raise TalariaError(f"--protocol {protocol} is unknown: give loso or unseen.")
    if protocol == "unseen" and model is None:
        raise TalariaError(
            "--protocol unseen measures a released model: name it with --model models/ID."
        )
    if compare not in (None, "hur2025"):
        raise TalariaError(
            f"--compare {compare} is unknown: hur2025 is the only published recipe here."
        )
    if compare and protocol != "loso":
        raise TalariaError(
            "--compare trains the published recipe on the people who are not held out: use --protocol loso."
        )


def _recipe(steps: int | None, budgets: str | None) -> evaluate.Recipe:
    try:
        seconds = evaluate.BUDGETS_S if budgets is None else tuple(map(float, budgets.split(",")))
    except ValueError:
        raise TalariaError(
            f"--budgets {budgets} is not a list of seconds: give, say, 10,60."
        ) from None
    if not all(0.0 < budget_s < float("inf") for budget_s in seconds):
        raise TalariaError(f"--budgets {budgets} must be seconds above zero: give, say, 10,60.")
    return evaluate.Recipe.of(steps, seconds)


def _refuse_known(model_id: str, known: Sequence[str], trials: Sequence[Trial]) -> None:
    both = sorted({trial.person for trial in trials} & set(known))
    if both:
        raise TalariaError(
            f"{model_id} was trained on {', '.join(both)}, so they are not unseen: "
            "leave them out with --people."
        )
