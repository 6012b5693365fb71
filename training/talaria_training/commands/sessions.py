"""Recordings as sessions: frames to play, and the demo from calibration to live angles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from talaria_bridge.errors import TalariaError
from talaria_bridge.link import Chunk
from talaria_bridge.recorder import SessionLogWriter
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.virtual import schedule_frames
from talaria_training import demo as demonstration
from talaria_training import tables
from talaria_training.commands.app import app
from talaria_training.commands.common import DataOption, bar, err, load_people, out, training_bar
from talaria_training.train import FINETUNE
from talaria_training.train import finetune as finetune_net
from talaria_training.trials import prepare


@app.command()
def frames(
    data: DataOption,
    recording: Annotated[
        str, typer.Option(help="Name of the recording, such as Sub02/CSBaseline.")
    ],
    file: Annotated[Path, typer.Option("--out", help="Session log to write (.mcap).")],
) -> None:
    """Turn a recording into the frames a device would have sent, for 'talaria run' or 'talaria play'."""
    person = recording.split("/", maxsplit=1)[0]
    found = [r for group in load_people(data, [person]) for r in group if r.name == recording]
    if not found:
        raise TalariaError(
            f"{data} has no recording {recording}: 'talaria-train data info' lists them."
        )
    chosen = found[0]
    rows = [chosen.slot_index(slot) for slot in LEG_SLOTS]
    schedule = schedule_frames(
        LEG_SLOTS, chosen.t_s, chosen.acc_ms2[:, rows], chosen.gyr_rads[:, rows], chosen.rate_hz
    )
    with SessionLogWriter(file) as log:
        for t_s, block in schedule:
            log.write(Chunk(t_s, block))
    out.print(
        f"Wrote {len(schedule)} frames to {file}; play them with: talaria run --source replay:{file}"
    )


@app.command()
def demo(
    models: Annotated[Path, typer.Option(help="Folder of released models.")] = Path("models"),
    data: Annotated[
        Path | None, typer.Option("--data", help="Real recordings instead of a made-up walker.")
    ] = None,
    person: Annotated[str | None, typer.Option(help="Whom of the real people.")] = None,
    simulator: Annotated[
        bool,
        typer.Option("--simulator", help="A walker made by formula, and not drawn by a model."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Which made-up walker.")] = 7,
    live_seconds: Annotated[float, typer.Option(help="Length of the live stream.")] = 30.0,
    folder: Annotated[
        Path, typer.Option("--out", help="Where the session and the model go.")
    ] = Path("sessions/demo"),
) -> None:
    """Calibrate, fine-tune, export and stream one walker live, and show what it was worth."""
    if data is None:
        walk = _made_up_walk(None if simulator else models, seed, live_seconds)
    elif simulator:
        raise TalariaError("--data and --simulator ask for two walkers: give one of them.")
    elif person is None:
        raise TalariaError("Real data needs a person to hold out: give --person, such as Sub02.")
    else:
        walk = demonstration.real_walk(load_people(data, [person])[0], live_seconds)
    base = demonstration.choose_base(models, walk.person) or _trained_base(models, data, walk)
    out.print(f"Walker: {walk.about}", highlight=False)
    out.print(f"Base model: {base.name}, {demonstration.seen_by(base, walk)}.", highlight=False)
    with training_bar("Fine-tuning on the first minute") as report:
        personal = finetune_net(base.net, walk.first, FINETUNE, report)
    with err.status("Exporting, and comparing torch with onnxruntime step by step …"):
        files = demonstration.export_pair(base, personal, walk, folder)
    with bar("Live stream through a serial port (seconds)", round(live_seconds)) as tick:
        result = demonstration.live(walk, files, folder, tick)
    out.print(tables.demo(walk, base.name, result))
    out.print(f"Session and personal model are in {folder}.")


def _made_up_walk(models: Path | None, seed: int, live_s: float) -> demonstration.Walk:
    """Draw a walker with the models' generative one, or simulate one where no folder or no such model is."""
    generator = None if models is None else demonstration.choose_generator(models)
    if generator is not None:
        with err.status("Drawing a walker …"):
            return demonstration.drawn_walk(generator, seed, live_s)
    if models is not None:
        err.print(f"{models} holds no generative model of gait, so the simulator's walker walks.")
    with err.status("Simulating a walker …"):
        return demonstration.simulated_walk(seed, live_s)


def _trained_base(models: Path, data: Path | None, walk: demonstration.Walk) -> demonstration.Base:
    """Train a base on the other people, where every released one has seen the walker."""
    if data is None:
        raise TalariaError(f"{models} holds no released model: say where they are with --models.")
    err.print(f"Every released model has seen {walk.person}: training one on the others.")
    others = [group for group in load_people(data, None) if group[0].person != walk.person]
    if not others:
        raise TalariaError(
            f"{data} holds nobody but {walk.person}, so nobody is left to train a base model on: "
            "give recordings of more people, or a --models folder with a model that has not seen them."
        )
    with bar("Calibrating and computing features", len(others)) as done:
        trials = prepare(others, os.cpu_count() or 1, done).trials
    with training_bar("Training a base model without " + walk.person) as report:
        return demonstration.quick_base(trials, report)
