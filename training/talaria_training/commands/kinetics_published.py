"""Published models of whole gait cycles: `talaria-train kinetics import`, `apply` and `cycles`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_training.commands.common import (
    AddressOption,
    EngineOption,
    JsonOption,
    PeopleOption,
    WorkersOption,
    bar,
    err,
    load_people,
    names_in,
    note,
    out,
    prepare_loaded,
)
from talaria_training.commands.files import write_report
from talaria_training.commands.kinetics import kinetics_app
from talaria_training.engine import open_engine
from talaria_training.kinetics import cycle_tables, cycles, gait_cycles
from talaria_training.kinetics.cycle_models import CycleModel, release
from talaria_training.kinetics.gait2hip import FOLDS, load_cycles
from talaria_training.kinetics.pooled import cycle_errors, errors, person_mean
from talaria_training.kinetics.published import read_checkpoints


@kinetics_app.command(name="import")
def import_checkpoints(
    checkpoint: Annotated[
        Path, typer.Argument(help="A checkpoint (.pt) of Gait2Hip-60, or a zip or folder of them.")
    ],
    folder: Annotated[
        Path, typer.Option("--out", help="Where to put one model folder per checkpoint.")
    ] = Path("cycle-models"),
) -> None:
    """Turn published checkpoints into weights, ONNX, a card and checksums."""
    found = read_checkpoints(checkpoint)
    table = Table("model", "outputs", "torch against onnxruntime")
    for one in found:
        with err.status(f"{one.name}: exporting, and comparing torch with onnxruntime …"):
            worst = release(one, folder / one.name)
        table.add_row(one.name, f"{len(one.outputs)}, {one.unit}", f"{worst:.1e} of the largest")
    out.print(table)
    out.print(f"Wrote {len(found)} models to {folder}.", highlight=False, soft_wrap=True)


@kinetics_app.command(name="cycles")
def compare(
    table: Annotated[Path, typer.Argument(help="Table in Gait2Hip-60's layout, .npz.")],
    model: Annotated[
        str, typer.Option(help=f"Comma-separated, of {', '.join(cycles.MODELS)}.")
    ] = ",".join(cycles.MODELS),
    split: Annotated[
        str, typer.Option(help="people: everybody in folds; paper: the paper's test people.")
    ] = "people",
    folds: Annotated[int, typer.Option(help="Of --split people.")] = FOLDS,
    seeds: Annotated[int, typer.Option(min=1, help="Times every network is trained.")] = 3,
    epochs: Annotated[
        int, typer.Option(min=1, help="Times through the cycles, at most.")
    ] = cycles.Budget().epochs,
    json_file: JsonOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = 0,
) -> None:
    """Train LSTM, Transformer and Mamba on whole cycles under one protocol, and rank them."""
    protocol = cycles.Protocol(
        tuple(dict.fromkeys(names_in(model) or ())),
        tuple(range(seeds)),
        split,
        folds,
        cycles.Budget(epochs=epochs),
    )
    runner, data = open_engine(engine, workers, address), load_cycles(table)
    with bar("Models, folds and seeds", len(cycles.jobs_of(data, protocol))) as done:
        document = cycles.study(data, protocol, runner, done)
    document |= {
        "ranking": cycle_tables.ranking(document),
        "summary": cycle_tables.summarise(document),
    }
    out.print(*cycle_tables.tables(document))
    write_report(json_file, document)


@kinetics_app.command(name="apply")
def apply(
    model: Annotated[Path, typer.Argument(help="Model folder that 'kinetics import' has written.")],
    data: Annotated[
        Path, typer.Argument(help="Table in Gait2Hip-60's layout (.npz), or recordings.")
    ],
    people: PeopleOption = None,
    json_file: JsonOption = None,
) -> None:
    """Apply a published model to a table, judged, or to recordings of one's own, as a demonstration."""
    opened = CycleModel.load(model)
    if data.suffix == ".npz":
        if people is not None:
            raise ConfigError(
                f"--people chooses among recordings, and {data} is a table: leave it."
            )
        document = _judged(opened, data)
    else:
        document = _demonstrated(opened, data, names_in(people))
    write_report(json_file, document)


def _judged(model: CycleModel, file: Path) -> dict[str, Any]:
    data, spec = load_cycles(file), model.spec
    if data.outputs != spec.outputs:
        raise RecordingError(
            f"{file} has the outputs {', '.join(data.outputs)}, but {spec.model_id} gives "
            f"{', '.join(spec.outputs)}: give the other of Gait2Hip-60's two tables."
        )
    said = model.answer(data.x_deg)
    mean = person_mean(data.y_per_kg, said, data.person.tolist(), data.outputs)
    table = Table(title=f"{spec.model_id}, {spec.unit}, mean of {len(set(data.person))} people")
    table.caption = "Pooled R2 is about one mean of all outputs, which inflates it."
    table.add_column("output")
    for name in ("RMSE", "MAE", "R2"):
        table.add_column(name, justify="right")
    for row in mean:
        r2 = "–" if row.r2 is None else f"{row.r2:.3f}"
        table.add_row(row.output, f"{row.rmse:.3f}", f"{row.mae:.3f}", r2)
    out.print(table)
    learned = sorted(set(data.person.tolist()) - set(spec.test_people))
    if learned:
        note(
            f"{spec.model_id} may have been trained on {len(learned)} of these people ({learned[0]} …): "
            "its figures on them are no test of it"
        )
    return {
        "model": spec.model_id,
        "unit": spec.unit,
        "people_mean": [asdict(row) for row in mean],
        "all": [asdict(row) for row in errors(data.y_per_kg, said, data.outputs)],
        "per_cycle": [asdict(row) for row in cycle_errors(data.y_per_kg, said, data.outputs)],
        "not_held_out": learned,
    }


def _demonstrated(model: CycleModel, data: Path, people: list[str] | None) -> dict[str, Any]:
    groups = load_people(data, people)
    trials = prepare_loaded(groups, data).trials
    recordings = [recording for group in groups for recording in group]
    with err.status("Cutting cycles and applying the model …"):
        moments = gait_cycles.hip_moments(data, recordings, trials, note)
        own = gait_cycles.cut_cycles(trials, moments, note)
        found = gait_cycles.demonstrate(model, own)
    found["gap"] = [asdict(row) for row in found["gap"]]
    out.print(*(shown for shown in (_peaks(found), _against(found), _gap(found)) if shown.rows))
    note(
        "a demonstration: these angles have other zeros than those the model was trained on, so that no figure "
        "here is this person's moment or muscle force"
    )
    return found


def _peaks(found: Mapping[str, Any]) -> Table:
    table = Table(title=f"{found['model']}: mean curve's least and greatest value, {found['unit']}")
    table.caption = "levelled: each angle's mean moved to that of the people it was trained on."
    for name in ("recording", "output"):
        table.add_column(name)
    for name in ("cycles", "as is", "levelled"):
        table.add_column(name, justify="right")
    curves = {(row["recording"], row["input"]): row for row in found["curves"]}
    for name in dict.fromkeys(row["recording"] for row in found["curves"]):
        rows = [curves[name, how] for how in ("as_is", "levelled")]
        for output in found["outputs"]:
            spans = (row["mean"][output] for row in rows)
            cells = (f"{np.min(curve):.2f} to {np.max(curve):.2f}" for curve in spans)
            table.add_row(name, output, str(rows[0]["cycles"]), *cells)
    return table


def _against(found: Mapping[str, Any]) -> Table:
    table = Table(title="Hip flexion moment beside our inverse dynamics, Nm/kg")
    table.add_column("person")
    table.add_column("angles")
    for name in ("cycles", "RMSE", "MAE", "R2", "r of mean curves"):
        table.add_column(name, justify="right")
    for row in found["against"]:
        figures = (row["rmse"], row["mae"], row["r2"], row["r_of_mean_curves"])
        cells = ("–" if v is None else f"{v:.2f}" for v in figures)
        table.add_row(row["person"], row["input"].replace("_", " "), str(row["cycles"]), *cells)
    return table


def _gap(found: Mapping[str, Any]) -> Table:
    table = Table(title="Mean angles beside those the model was trained on, °")
    table.add_column("angle")
    for name in ("here", "trained on", "apart, SD"):
        table.add_column(name, justify="right")
    for row in found["gap"]:
        numbers = (row["mean_deg"], row["trained_deg"], row["apart_sd"])
        table.add_row(row["angle"], *(f"{v:.1f}" for v in numbers))
    return table
