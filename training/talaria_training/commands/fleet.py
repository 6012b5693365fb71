"""What one more user costs: a fleet of simulated wearers, fine-tuned one by one."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from talaria_training import artefacts
from talaria_training import fleet as fleet_study
from talaria_training.commands.app import app
from talaria_training.commands.common import (
    AddressOption,
    EngineOption,
    JsonOption,
    WorkersOption,
    bar,
    out,
)
from talaria_training.commands.files import write_report
from talaria_training.engine import attempt_jobs, open_engine
from talaria_training.fleet_walks import Visit


@app.command()
def fleet(
    base: Annotated[Path, typer.Option(help="Model folder to start from.")],
    users: Annotated[int, typer.Option(help="How many users to simulate.")] = 1000,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = 0,
    steps: Annotated[
        int, typer.Option(help="Optimiser steps per user.")
    ] = fleet_study.FLEET_TUNE.steps,
    seed: int = 0,
    price: Annotated[
        float, typer.Option(help="Assumed price of one core for one hour, in dollars.")
    ] = fleet_study.PRICE_PER_CORE_HOUR,
    json_file: JsonOption = None,
) -> None:
    """Fine-tune a fleet of simulated users: errors, failures, processor seconds, cost of a million."""
    net, spec = artefacts.load(base)
    visit = Visit(spec.rate_hz, seed=seed)
    plan = fleet_study.Plan(visit, replace(fleet_study.FLEET_TUNE, steps=steps))
    jobs, store = fleet_study.user_jobs(users), fleet_study.results_of(net, plan)
    kept = sum(store.read(name) is not None for name in jobs)
    shared = fleet_study.shared_of(net, plan)
    start = time.monotonic()
    with bar("Simulated users", users) as done:
        results = attempt_jobs(jobs, store, open_engine(engine, workers, address), shared, done)
    about = {
        "model": spec.model_id,
        "engine": engine,
        "wall_s": time.monotonic() - start,
        "kept_from_before": kept,
    }
    document = fleet_study.report(results, plan, price, about)
    table = Table(
        "", "", title=f"A fleet from {spec.model_id} (SIMULATED users)", show_header=False
    )
    for row in fleet_study.rows_of(document):
        table.add_row(*row)
    out.print(table)
    write_report(json_file, document)
