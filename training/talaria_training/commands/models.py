"""Making models: train, single, export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from talaria_bridge.errors import TalariaError
from talaria_edge.dashboard.band import BAND_FILE
from talaria_training import artefacts, evaluate, gait_study, intervals, scoring
from talaria_training.band import normal_band
from talaria_training.commands.app import app
from talaria_training.commands.common import (
    DataOption,
    LogDirOption,
    OutOption,
    PeopleOption,
    names_in,
    prepare_people,
    release_net,
    training_bar,
    training_log,
)
from talaria_training.train import SINGLE_USER, TrainConfig
from talaria_training.train import train as train_net


@app.command()
def train(
    data: DataOption,
    folder: OutOption,
    people: PeopleOption = None,
    hold_out: Annotated[
        str | None, typer.Option(help="Leave these people out, comma-separated.")
    ] = None,
    trained_on: Annotated[
        str, typer.Option(help="Data set, licence and source, for the card.")
    ] = "",
    held_out_json: Annotated[
        Path | None,
        typer.Option(
            help="Report of 'evaluate --protocol loso': the card's errors, and personal models' intervals."
        ),
    ] = None,
    gait_json: Annotated[
        Path | None,
        typer.Option(
            help="Report of 'events' whose intervals and novelty limit the model carries."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = TrainConfig().steps,
    seed: int = 0,
    log_dir: LogDirOption = None,
) -> None:
    """Train a multi-user model and export it."""
    prepared = prepare_people(data, names_in(people))
    left_out = names_in(hold_out) or []
    trials = tuple(t for t in prepared.trials if t.person not in left_out)
    if not trials:
        raise TalariaError(
            "Everybody was held out, so nobody is left to train on: hold out fewer people."
        )
    known = gait_study.known_of(gait_json, left_out) if gait_json else (None, None)
    config = replace(TrainConfig(), steps=steps, seed=seed)
    with (
        training_bar("Training") as report,
        training_log(report, log_dir, folder.name, config) as progress,
    ):
        net = evaluate.held_out_net(prepared.trials, left_out, config, progress)
    about = artefacts.Provenance(
        model_id=folder.name,
        trained_on=trained_on or f"recordings in {data.name}",
        people=artefacts.names_of([t.person for t in trials]),
        rate_hz=trials[0].rate_hz,
        held_out=scoring.held_out(held_out_json, left_out) if held_out_json else None,
        intervals=known[0],
        familiarity=known[1],
    )
    beside: dict[str, Any] = {BAND_FILE: normal_band(trials)}
    if held_out_json:
        beside[intervals.PERSONAL_FILE] = intervals.personal_of(held_out_json, left_out)
    release_net(net, trials, folder, about, beside)


@app.command()
def single(
    data: DataOption,
    person: Annotated[str, typer.Option(help="Whose recordings.")],
    folder: OutOption,
    part: Annotated[
        float, typer.Option(help="Share of each recording, from its start, to learn from.")
    ] = 0.2,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = SINGLE_USER.steps,
) -> None:
    """Train a single-user model from nothing and export it."""
    trials = tuple(t.part(0.0, part) for t in prepare_people(data, [person]).trials)
    with training_bar("Training") as report:
        net = train_net(trials, replace(SINGLE_USER, steps=steps), report)
    trained_on = f"the first {part:.0%} of {person}'s recordings alone"
    about = artefacts.Provenance(folder.name, trained_on, (person,), trials[0].rate_hz)
    release_net(net, trials, folder, about)


@app.command()
def export(
    weights: Annotated[Path, typer.Argument(help="Model folder with model.safetensors.")],
    data: DataOption,
    folder: OutOption,
    person: Annotated[
        str, typer.Option(help="Whose recordings to compare torch and onnxruntime on.")
    ],
) -> None:
    """Export trained weights to ONNX again, checked on somebody's whole recordings."""
    net, spec = artefacts.load(weights)
    trials = prepare_people(data, [person], spec=spec).trials
    about = artefacts.Provenance(
        folder.name, spec.trained_on, spec.people, spec.rate_hz, spec.held_out
    )
    release_net(net, trials, folder, about)
