"""The sensor-combination study: `talaria-train sensors`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from talaria_bridge.errors import TalariaError
from talaria_training import sensor_study, sensor_tables
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
)
from talaria_training.commands.files import write_report
from talaria_training.engine import open_engine
from talaria_training.sensor_chain import gather
from talaria_training.sensor_sets import StudySettings
from talaria_training.trials import prepare


@app.command()
def sensors(
    data: DataOption,
    people: PeopleOption = None,
    json_file: JsonOption = None,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", help="Where to draw it: .png, .svg or .pdf.")
    ] = None,
    sets: Annotated[
        str | None,
        typer.Option(help="Only these sets of P, T, F, C, comma-separated, e.g. F_C,C."),
    ] = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = 0,
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps of every run; for a quick look.")
    ] = None,
) -> None:
    """Measure what each set of sensors is worth: pelvis, shank, thigh, foot, on both legs and on one."""
    settings = StudySettings() if steps is None else StudySettings.quick(steps)
    if sets is not None:
        settings = settings.only(names_in(sets) or [])
    runner = open_engine(engine, workers, address)
    groups = load_people(data, names_in(people))
    with bar("Calibrating thighs and feet", len(groups)) as done:
        trials = prepare(groups, 1, done).trials
    with bar("Calibrating every sensor", len(groups)) as done:
        walks = gather(groups, trials, done)
    if not walks:
        raise TalariaError(
            f"No recording in {data} has sensors with orientations on pelvis, thighs, shanks and feet beside "
            "reference angles, so sets of sensors cannot be compared: give CapSense recordings."
        )
    cells = len(sensor_study.jobs_of([walk.person for walk in walks], settings))
    with bar("Sets of sensors and people held out", cells) as done:
        document = sensor_study.study(walks, settings, runner, done)
    out.print(*sensor_tables.tables(document["summary"]))
    for line in sensor_tables.verdict(document["summary"]):
        out.print(line, highlight=False, soft_wrap=True)
    if plot_file:
        sensor_tables.plot(document["summary"], plot_file)
        out.print(f"Wrote {plot_file}.")
    write_report(json_file, document)
