"""The generative model of gait: `talaria-train generate` and its verbs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table

from talaria_bridge.errors import ConfigError, TalariaError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.generate.generator import ForcesTold, Generator
from talaria_edge.generate.motion import FORCES, STYLES, Conditions, Motion
from talaria_edge.generate.repair import Fills, read_motion, repair_file, words_of
from talaria_edge.generate.walkers import AT_ONCE, Outing
from talaria_edge.kinematics import ANGLES
from talaria_training import tables
from talaria_training.commands.app import app
from talaria_training.commands.common import (
    JsonOption,
    OutOption,
    WorkersOption,
    bar,
    err,
    names_in,
    note,
    out,
    prepare_people,
    training_bar,
)
from talaria_training.commands.files import write_report
from talaria_training.engine import open_engine
from talaria_training.generate import check, check_tables, gain, held_out, held_out_tables
from talaria_training.generate.ask import ask, change_of, windows_of
from talaria_training.generate.batches import FitConfig
from talaria_training.generate.fit import fit, fit_refiner
from talaria_training.generate.release import About, Forces, release, seen_in
from talaria_training.generate.sources import read_motions
from talaria_training.generate.walker_files import write_walkers
from talaria_training.generate.whatif import Effect
from talaria_training.generate.widening import widening_of
from talaria_training.generate.windows import Windows
from talaria_training.pretrain_study import Effort
from talaria_training.train import MULTI_USER

generate_app = typer.Typer(
    no_args_is_help=True,
    help="A generative model of gait: fill what is missing, ask what if, make walkers.",
)
app.add_typer(generate_app, name="generate")

_STEPS = FitConfig().steps
DataSetsOption = Annotated[
    Path, typer.Option("--data", help="Folder with the data sets, zips or folders.")
]
SessionArgument = Annotated[Path, typer.Argument(help="A session's folder, or a .mot of angles.")]
ModelOption = Annotated[Path, typer.Option("--model", help="A generative model's folder.")]
SpeedOption = Annotated[float | None, typer.Option("--speed-ms", help="How fast they walk.")]
HeightOption = Annotated[float | None, typer.Option("--height-m", help="Body height.")]
MassOption = Annotated[float | None, typer.Option("--mass-kg", help="Body mass.")]
ForceStepsOption = Annotated[
    int,
    typer.Option(min=0, help="Steps of the network that tells forces; 0 leaves it out."),
]
StyleOption = Annotated[str | None, typer.Option(help=f"One of {', '.join(STYLES)}.")]
SamplesOption = Annotated[int, typer.Option(min=2, help="Draws; more make intervals steadier.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Same seed, same draws.")]


@generate_app.command("train")
def train_(
    data: DataSetsOption,
    folder: OutOption,
    hold_out: Annotated[
        str | None, typer.Option(help="Leave these people out, comma-separated.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Where the training's state is kept, so that it can go on."),
    ] = None,
    evaluated: Annotated[
        Path | None,
        typer.Option(help="Report of 'generate evaluate': by what intervals are widened."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = _STEPS,
    forces_steps: ForceStepsOption = held_out.FORCE_STEPS,
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0 means all.")] = 0,
    seed: SeedOption = 0,
) -> None:
    """Train a generative model on every data set that is there, and export it."""
    widening, told, remarks = {}, {}, ""
    if evaluated is not None:
        widening, told = widening_of(evaluated), widening_of(evaluated, "refined")
        remarks = held_out_tables.remarks(json.loads(evaluated.read_text(encoding="utf-8")))
    torch.set_num_threads(threads or os.cpu_count() or 1)
    with err.status("Reading data sets …"):
        motions = read_motions(data, note)
        windows = held_out.learnable(held_out.windows_of(motions).without(names_in(hold_out) or []))
    if not len(windows):
        raise TalariaError("Everybody was held out, so nobody is left to learn from.")
    config = replace(FitConfig(), steps=steps, seed=seed)
    weights = held_out.weights_of(windows, {m.person: m.source for m in motions})
    with training_bar("Training") as report:
        net, scale = fit(windows, config, None, checkpoint, weights, report)
    forces = _forces(windows, config, forces_steps, checkpoint, weights)
    people = tuple(dict.fromkeys(windows.person.tolist()))
    sources = "; ".join(sorted({motion.source for motion in motions}))
    about = About(
        folder.name,
        sources,
        people,
        held_out.NEVER_SEEN,
        remarks,
        seen_in(windows),
        widening=widening,
        force_widening=told,
    )
    with err.status("Exporting, and comparing torch with onnxruntime …"):
        worst = release(net, scale, about, folder, forces)
    out.print(f"Wrote {folder} (torch and onnxruntime differ by {worst:.1e} at most).")


@generate_app.command("evaluate")
def evaluate_(
    data: DataSetsOption,
    folds: Annotated[int, typer.Option(min=2, help="Trainings; each holds a share out.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of each.")] = _STEPS,
    forces_steps: ForceStepsOption = held_out.FORCE_STEPS,
    most: Annotated[int, typer.Option(min=1, help="Windows judged of every recording.")] = 4,
    workers: WorkersOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Judge fillings and forces on people held out, beside a mean curve and a linear regression."""
    motions, protocol, trained = _trained(data, folds, steps, workers)
    protocol = replace(protocol, refiner_steps=forces_steps, most=most)
    engine = open_engine("local", workers)
    if forces_steps:
        with bar("Networks of forces trained", folds) as done:
            trained = held_out.train_forces(motions, trained, protocol, engine, done)
    with err.status("Filling and telling forces, person by person …"):
        found = held_out.study(motions, trained, protocol, engine)
    document = held_out.document(found, protocol, {m.person: m.source for m in motions})
    out.print(*held_out_tables.tables(document))
    write_report(json_file, document)


@generate_app.command("check")
def check_(
    data: DataSetsOption,
    folds: Annotated[int, typer.Option(min=2, help="As of evaluate, whose models draw.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="As of evaluate.")] = _STEPS,
    most: Annotated[int, typer.Option(min=1, help="Stretches of every recording.")] = 10,
    workers: WorkersOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Compare generated gait with that of people held out: alike, physical, and nobody's own."""
    motions, protocol, trained = _trained(data, folds, steps, workers)
    with bar("Models asked", folds) as done:
        document = check.check(motions, trained.unseen, most, protocol.steps, done)
    out.print(*check_tables.tables(document))
    write_report(json_file, document)


@generate_app.command("gain")
def gain_(
    data: DataSetsOption,
    people: Annotated[
        str, typer.Option(help="Whom to test, comma-separated.")
    ] = "Sub01,Sub04,Sub07",
    folds: Annotated[int, typer.Option(min=2, help="As of evaluate, whose models draw.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="As of evaluate.")] = _STEPS,
    angle_steps: Annotated[
        int,
        typer.Option(min=3, help="Optimiser steps of every angle model; a third for walkers."),
    ] = MULTI_USER.steps,
    workers: WorkersOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Measure what walkers are worth to an angle model that has 1, 2, 4 or 7 real people."""
    _, _, trained = _trained(data, folds, steps, workers)
    engine = open_engine("local", workers)
    trials = prepare_people(data / "capsense", workers=workers).trials
    tested = names_in(people) or []
    unknown = sorted(set(tested) - {trial.person for trial in trials})
    if unknown or not tested:
        raise ConfigError(
            f"--people {people!r} names nobody in {data / 'capsense'} ({', '.join(unknown) or 'it is empty'})."
        )
    effort = Effort(angle_steps // 3, replace(MULTI_USER, steps=angle_steps))
    protocol = gain.GainProtocol(effort=effort)
    with bar("Angle models trained", 2 * len(protocol.counts) * len(tested)) as done:
        document = gain.study(tested, trials, trained.without, protocol, engine, done)
    out.print(*tables.evaluation(document))
    write_report(json_file, document)


@generate_app.command("fill")
def fill_(
    session: SessionArgument,
    model: ModelOption,
    folder: OutOption,
    speed_ms: SpeedOption = None,
    height_m: HeightOption = None,
    mass_kg: MassOption = None,
    style: StyleOption = None,
    samples: SamplesOption = 10,
    seed: SeedOption = 0,
) -> None:
    """Fill missing angles of a recording: a joint, a leg, the minutes that a sensor was dead."""
    _fill(
        session,
        Generator.open(model),
        folder,
        _conditions(speed_ms, height_m, mass_kg, style),
        samples,
        seed,
        ANGLES,
    )


@generate_app.command("forces")
def forces_(
    session: SessionArgument,
    model: ModelOption,
    folder: OutOption,
    speed_ms: SpeedOption = None,
    height_m: HeightOption = None,
    mass_kg: MassOption = None,
    style: StyleOption = None,
    samples: SamplesOption = 10,
    drawn: Annotated[
        bool,
        typer.Option("--drawn", help="Forces as drawn, not as the model's second network tells."),
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Give the forces under both feet that go with whatever angles there are."""
    generator = Generator.open(model)
    _fill(
        session,
        ForcesTold(generator) if generator.tells_forces and not drawn else generator,
        folder,
        _conditions(speed_ms, height_m, mass_kg, style),
        samples,
        seed,
        (*ANGLES, *FORCES),
    )


@generate_app.command("edit")
def edit_(
    session: SessionArgument,
    model: ModelOption,
    speed: Annotated[float | None, typer.Option(help="What if they walked at so many m/s?")] = None,
    cadence: Annotated[
        str | None, typer.Option(help="What if they took more steps? +10%, -5%.")
    ] = None,
    knee: Annotated[
        str | None, typer.Option(help="What if a knee was stiff? stiff:0.3, stiff:0.3:r.")
    ] = None,
    speed_ms: SpeedOption = None,
    height_m: HeightOption = None,
    mass_kg: MassOption = None,
    style: StyleOption = None,
    samples: SamplesOption = 10,
    windows: Annotated[int, typer.Option(min=1, help="Windows of it that are changed.")] = 6,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Change speed, cadence or a knee, and tell what else would change."""
    change = change_of(speed, cadence, knee)
    motion = read_motion(session, _conditions(speed_ms, height_m, mass_kg, style))
    chosen, conditions = windows_of(motion, windows)
    generator = Generator.open(model)
    with err.status("Drawing …"):
        *_, found = ask(
            generator, list(chosen.values), conditions, change, samples, np.random.default_rng(seed)
        )
    table = Table(
        title=f"{motion.name}: {len(chosen)} windows, {samples} draws of each. Drawn, not measured.",
        caption=_caption(found),
    )
    for head in ("", "unit", "before", "after", "change, 90 % of windows"):
        table.add_column(head, justify="left" if not head else "right")
    for effect in found:
        table.add_row(
            effect.what,
            effect.unit,
            f"{effect.before:.2f}",
            f"{effect.after:.2f}",
            f"{effect.low:+.2f} to {effect.high:+.2f}",
        )
    out.print(table)
    write_report(
        json_file, {"change": asdict(change), "effects": [asdict(effect) for effect in found]}
    )


def _caption(found: Sequence[Effect]) -> str:
    """Say where forces and moments come from."""
    forces = "Forces before are drawn from the angles, as those after."
    if not any(effect.unit == "N·m/kg" for effect in found):
        return f"{forces} No moments: they need --height-m, and walking with whole stances."
    return (
        f"{forces} Moments are internal, of whole stances, under feet that roll over as usual: off by 0.1 to "
        "0.2 N·m/kg. The push-off's change cannot be told and is left out."
    )


@generate_app.command("walkers")
def walkers_(
    model: ModelOption,
    folder: OutOption,
    number: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 10,
    seconds: Annotated[float, typer.Option(help="Of each, 3 s of standing included.")] = 20.0,
    style: Annotated[str, typer.Option(help=f"One of {', '.join(STYLES)}.")] = "walking",
    slots: Annotated[
        str | None, typer.Option(help="Sensors, comma-separated; thighs and feet if absent.")
    ] = None,
    workers: WorkersOption = 0,
    seed: SeedOption = 0,
) -> None:
    """Draw people who do not exist: movement, forces, and what sensors on them would read."""
    outing = Outing(seconds, style=style, slots=tuple(names_in(slots) or LEG_SLOTS))
    engine = open_engine("local", workers)
    with bar(f"Walkers, {AT_ONCE} at a time", math.ceil(number / AT_ONCE)) as done:
        write_walkers(model, number, seed, outing, folder, engine, done)
    out.print(
        f"Wrote {folder}: {number} people who do not exist, as recordings that every command reads."
    )


def _trained(
    data: Path, folds: int, steps: int, workers: int
) -> tuple[list[Motion], held_out.Protocol, held_out.Trained]:
    """Read the data sets and train a model per fold, or find those that are trained."""
    with err.status("Reading data sets …"):
        motions = read_motions(data, note)
    protocol = held_out.Protocol(folds, replace(FitConfig(), steps=steps))
    engine = open_engine("local", workers)
    with bar("Models trained", folds) as done:
        return motions, protocol, held_out.train_folds(motions, protocol, engine, done)


def _forces(
    windows: Windows,
    config: FitConfig,
    steps: int,
    checkpoint: Path | None,
    weights: Mapping[str, float],
) -> Forces | None:
    """Train the network of forces, unless it is to be left out."""
    if not steps:
        return None
    kept = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}.forces")
    with training_bar("Training the network of forces") as report:
        net, scale = fit_refiner(
            windows,
            replace(config, steps=steps),
            checkpoint=kept,
            weights=weights,
            progress=report,
        )
    return Forces(net, scale)


def _fill(
    session: Path,
    model: Fills,
    folder: Path,
    conditions: Conditions,
    samples: int,
    seed: int,
    names: tuple[str, ...],
) -> None:
    with err.status("Drawing …"):
        files, done = repair_file(session, model, folder, conditions, samples, seed, names)
    for path in files:
        out.print(f"Wrote {path}")
    out.print(words_of(done))


def _conditions(
    speed_ms: float | None, height_m: float | None, mass_kg: float | None, style: str | None
) -> Conditions:
    if style is not None and style not in STYLES:
        raise ConfigError(f"There is no style {style!r}: give one of {', '.join(STYLES)}.")
    speed, height, mass = (
        float("nan") if value is None else value for value in (speed_ms, height_m, mass_kg)
    )
    return Conditions(speed, height_m=height, mass_kg=mass, style=style)
