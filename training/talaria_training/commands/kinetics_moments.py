"""Joint moments live from thigh and foot sensors: `talaria-train kinetics moments`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from talaria_bridge.errors import ConfigError
from talaria_training.commands.common import (
    AddressOption,
    DataOption,
    EngineOption,
    JsonOption,
    PeopleOption,
    WorkersOption,
    bar,
    err,
    note,
    out,
)
from talaria_training.commands.files import write_report
from talaria_training.commands.kinetics import kinetics_app
from talaria_training.commands.kinetics_forces import config_of, core_of, walks_in
from talaria_training.engine import open_engine
from talaria_training.kinetics import moment_study, moment_tables
from talaria_training.kinetics.force_net import MATCHED, ForceConfig
from talaria_training.kinetics.moment_data import moment_walks
from talaria_training.kinetics.moment_net import MomentConfig


@kinetics_app.command("moments")
def moments(
    data: DataOption,
    people: PeopleOption = None,
    core: Annotated[str, typer.Option(help=f"One of {', '.join(MATCHED)}.")] = "lstm",
    seeds: Annotated[int, typer.Option(help="Trainings of every fold.")] = 1,
    steps: Annotated[
        int, typer.Option(help="Optimiser steps of the forces, and then of the moments.")
    ] = ForceConfig().windows.steps,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Hold everybody out in turn: joint moments from thigh and foot sensors against inverse dynamics."""
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds} trains nothing: give 1 or more.")
    runner = open_engine(engine, workers, address)
    chosen, read = core_of(core), replace(MomentConfig(), steps=steps)
    protocol = moment_study.MomentProtocol(chosen, seeds, config_of(steps), read)
    loaded = walks_in(data, people, workers)
    with err.status("Solving for joint moments …"):
        walks, legs = moment_walks(data, loaded.walks, loaded.recordings, note)
    names = moment_study.people_of(walks)
    with bar("Folds", len(moment_study.jobs_of(names, protocol))) as done:
        found = moment_study.study(walks, protocol, runner, done)
    document = moment_study.document(found, legs, protocol)
    out.print(*moment_tables.tables(document))
    write_report(json_file, document)
