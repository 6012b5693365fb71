"""What pays and what does not: `ablate`."""

from __future__ import annotations

from typing import Annotated

import typer

from talaria_bridge.errors import TalariaError
from talaria_training import ablation
from talaria_training.commands.app import app
from talaria_training.commands.common import (
    AddressOption,
    DataOption,
    EngineOption,
    JsonOption,
    WorkersOption,
    bar,
    out,
    prepare_people,
)
from talaria_training.commands.files import write_report
from talaria_training.engine import open_engine
from talaria_training.train import MULTI_USER


@app.command()
def ablate(
    data: DataOption,
    what: Annotated[str, typer.Option(help="base, or finetune.")] = "base",
    only: Annotated[str | None, typer.Option(help="Variants whose name contains this.")] = None,
    json_file: JsonOption = None,
    steps: Annotated[
        int, typer.Option(help="Steps of every multi-user network.")
    ] = MULTI_USER.steps,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = 0,
) -> None:
    """Train variants of the network, or of its fine-tuning, and measure each on the tuning people."""
    if what not in ("base", "finetune"):
        raise TalariaError(f"--what {what} is unknown: give base or finetune.")
    made = (
        ablation.base_variants(steps)
        if what == "base"
        else ablation.finetune_variants((10.0, 60.0))
    )
    variants = [v for v in made if only is None or only in v.name]
    if not variants:
        raise TalariaError(
            f"--only {only} fits none of: {', '.join(sorted({v.name for v in made}))}."
        )
    trials = prepare_people(data, workers=workers).trials
    with bar("Variants", len(variants) * len(ablation.TUNING_PEOPLE)) as done:
        outcomes = ablation.run(trials, variants, open_engine(engine, workers, address), done)
    document = ablation.document(outcomes, steps)
    out.print(ablation.table(document))
    write_report(json_file, document)
