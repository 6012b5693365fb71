"""Measuring: every study that prints a table and can write it as JSON."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from talaria_bridge.errors import TalariaError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.model import StreamingModel
from talaria_training import (
    fusion,
    gait_study,
    inclination,
    optical,
    planted,
    planted_tables,
    rotated,
    strides_study,
    strides_tables,
    tables,
    unfamiliar,
)
from talaria_training.commands.app import app
from talaria_training.commands.common import (
    DataOption,
    JsonOption,
    PeopleOption,
    WorkersOption,
    bar,
    err,
    load_people,
    names_in,
    out,
    prepare_people,
)
from talaria_training.commands.files import write_report
from talaria_training.data import broad
from talaria_training.train import TrainConfig
from talaria_training.trials import prepare


@app.command()
def events(
    data: DataOption,
    people: PeopleOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where to write everything.")
    ] = None,
    workers: WorkersOption = 0,
    steps: Annotated[
        int, typer.Option(help="Optimiser steps of every fold.")
    ] = TrainConfig().steps,
) -> None:
    """Stream people held out through the runtime: contacts, cycle, gait class, intervals, losses."""
    workers = workers or os.cpu_count() or 1
    groups = load_people(data, names_in(people))
    with bar("Calibrating and computing features", len(groups)) as done:
        prepared = prepare(groups, workers, done)
    recordings = [recording for group in groups for recording in group]
    folds = len({trial.person for trial in prepared.trials})
    if folds < 2:
        raise TalariaError(
            f"{data} holds {folds} people that can be used, and holding one out leaves nobody to learn "
            "from: give recordings of at least two."
        )
    with bar("People held out, two passes", 2 * folds) as done:
        config = replace(TrainConfig(), steps=steps)
        results = gait_study.study(prepared.trials, recordings, config, workers, done)
    report = gait_study.document(*results)
    out.print(*tables.gait(report))
    write_report(json_file, report)


@app.command()
def reference(
    data: DataOption,
    optical_file: Annotated[
        Path | None,
        typer.Option("--optical", help=f"{optical.ARCHIVE}; found beside the data if there."),
    ] = None,
) -> None:
    """Compare the full-chain reference with Sub02's optical angles, beside the authors' OpenSense result."""
    archive = optical_file or optical.find_optical(data)
    if archive is None:
        raise TalariaError(
            f"{optical.ARCHIVE} is not beside {data}: say where it is with --optical."
        )
    truth = optical.load_optical(archive)
    person = optical.RECORDING.split("/", maxsplit=1)[0]
    out.print(tables.reference(load_people(data, [person])[0], truth))


@app.command("unfamiliar")
def unfamiliar_(
    data: DataOption,
    json_file: JsonOption = None,
    steps: Annotated[
        int, typer.Option(help="Optimiser steps of every fold.")
    ] = TrainConfig().steps,
) -> None:
    """Measure intervals of people held out on walks made strange: other paces, and backwards."""
    prepared = prepare_people(data)
    names = {t.person for t in prepared.trials if t.reference != "none"}
    if len(names) < 3:
        raise TalariaError(
            f"{data} has labelled recordings of {len(names)} people, and each is measured by what two "
            "others or more have shown: give recordings of at least three."
        )
    config = replace(TrainConfig(), steps=steps)
    with bar("People held out", len(names)) as done:
        rows = unfamiliar.study(prepared.trials, config, done)
    out.print(tables.unfamiliar(rows))
    write_report(json_file, {"people": sorted(names), "walks": rows})


@app.command("strides-check")
def strides_check(
    data: DataOption,
    json_file: JsonOption = None,
) -> None:
    """Compare stride length and speed with a treadmill's belt and with optical markers."""
    with err.status("Streaming every recording through the live stages …") as status:
        document = strides_study.check(data, lambda what: status.update(f"{what} done …"))
    out.print(*strides_tables.strides_tables(document))
    write_report(json_file, document)


@app.command("planted")
def planted_(
    data: DataOption,
    people: PeopleOption = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Also see what turned sensors do to this model's angles."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where to write the summary and all failures.")
    ] = None,
    count: Annotated[int, typer.Option(help="Stretches of each recording.")] = 5,
    workers: WorkersOption = 0,
) -> None:
    """Plant mistakes into real calibrations and count which are noticed."""
    groups = load_people(data, names_in(people))
    made = planted.cases(groups, count)
    with bar("Planting mistakes", len(made)) as done:
        outcomes = planted.run_study(made, workers or os.cpu_count() or 1, done)
    effects: list[rotated.MountingEffect] = []
    if model is not None:
        net = StreamingModel.load(model, slots=LEG_SLOTS, rate_hz=groups[0][0].rate_hz)
        effects = list(rotated.mounting_effects([r for group in groups for r in group], net))
    out.print(planted_tables.mistakes(planted.summarise(outcomes)))
    if effects:
        out.print(planted_tables.mountings(effects))
    if json_file:
        planted.write_study(json_file, outcomes, effects)
        out.print(f"Wrote {json_file}.")


@app.command("fusion")
def fusion_(
    data: DataOption,
    broad_data: Annotated[
        Path | None, typer.Option("--broad", help="BROAD trials; found beside the data if there.")
    ] = None,
    people: PeopleOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where to write all scores.")
    ] = None,
    workers: WorkersOption = 0,
) -> None:
    """Measure the orientation filters against CapSense's devices and BROAD's cameras."""
    recordings = [r for group in load_people(data, names_in(people)) for r in group]
    stretches = inclination.walking_stretches(recordings)
    if not stretches:
        raise TalariaError(
            f"{data} has no orientations from its devices to compare with: give CapSense recordings."
        )
    place = broad_data or broad.find_broad(data)
    if place is None:
        err.print(f"note: {broad.ARCHIVE} is not beside {data}; say where with --broad.")
    else:
        stretches += inclination.optical_stretches(broad.load_broad(place))
    with bar("Filters run", fusion.jobs_of(stretches)) as done:
        results = fusion.run(stretches, workers or os.cpu_count() or 1, done)
    document = fusion.report(results, stretches[0])
    out.print(fusion.table(document))
    write_report(json_file, document)
