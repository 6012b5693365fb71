"""Measuring what a start that has seen movement before is worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from talaria_bridge.errors import TalariaError
from talaria_training import pretrain_study, tables
from talaria_training.commands.app import app
from talaria_training.commands.common import (
    AddressOption,
    DataOption,
    EngineOption,
    JsonOption,
    WorkersOption,
    bar,
    err,
    names_in,
    note,
    out,
    prepare_people,
)
from talaria_training.commands.files import write_report
from talaria_training.data.movements import load_movements
from talaria_training.engine import open_engine
from talaria_training.train import MULTI_USER
from talaria_training.virtual import read, trial_of


@app.command("pretrain-study")
def pretrain_study_(
    data: DataOption,
    movements: Annotated[
        list[Path],
        typer.Option(
            help="Folder or zip of OpenSim .mot and C3D, of nobody who is tested; more than once."
        ),
    ],
    hold_out: Annotated[str, typer.Option(help="Whom to test, one at a time.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps of every base.")] = 1200,
    before: Annotated[int, typer.Option(help="How many of them are pre-training.")] = 400,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Compare bases that start from nothing, from virtual sensors, and from filling in silent ones."""
    if not 0 < before < steps:
        raise TalariaError(
            f"--before {before} leaves no step for one of the two trainings: give 1 to {steps - 1}."
        )
    runner = open_engine(engine, workers, address)
    trials = prepare_people(data, workers=workers).trials
    tested = names_in(hold_out) or []
    known = {trial.person for trial in trials}
    unknown = [name for name in tested if name not in known]
    if unknown or not tested:
        raise TalariaError(
            f"--hold-out {hold_out!r} names nobody in {data} ({', '.join(unknown) or 'it is empty'}): give "
            f"some of {', '.join(sorted(known))}."
        )
    with err.status("Strapping virtual sensors on …"):
        found = [moved for path in movements for moved in load_movements(path, note)]
        virtual = [trial_of(read(moved, seed=i)) for i, moved in enumerate(found)]
    effort = pretrain_study.Effort(before, replace(MULTI_USER, steps=steps))
    with bar("Bases trained", len(tested) * len(pretrain_study.STARTS)) as done:
        document = pretrain_study.study(tested, trials, virtual, effort, runner, done)
    out.print(*tables.evaluation(document))
    write_report(json_file, document)
