"""The `talaria-train` command: recordings to models, offline."""

from __future__ import annotations

import os
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from talaria_bridge.errors import TalariaError
from talaria_bridge.link import Chunk
from talaria_bridge.recorder import SessionLogWriter
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.virtual import schedule_frames
from talaria_edge.model import StreamingModel
from talaria_edge.spec import ModelSpec
from talaria_training import (
    artefacts,
    evaluate,
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
)
from talaria_training import demo as demonstration
from talaria_training.band import normal_band
from talaria_training.data import broad
from talaria_training.data.cli import app as data_app
from talaria_training.data.cli import load_with_bar, unique
from talaria_training.data.recording import DataIssue, Recording
from talaria_training.networks import GaitNet
from talaria_training.train import FINETUNE, SINGLE_USER, TrainConfig
from talaria_training.train import Progress as Report
from talaria_training.train import finetune as finetune_net
from talaria_training.train import train as train_net
from talaria_training.trials import Prepared, Trial, prepare

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False
)
app.add_typer(data_app, name="data")
out = Console()
err = Console(stderr=True)

DataOption = Annotated[
    Path, typer.Option("--data", help="CapSense tree or zips, or plain folders.")
]
PeopleOption = Annotated[str | None, typer.Option(help="Only these people, comma-separated.")]
OutOption = Annotated[Path, typer.Option("--out", help="Model folder to write.")]
WorkersOption = Annotated[int, typer.Option(help="Processes to use; 0 means all cores.")]


@contextmanager
def _bar(what: str, total: int) -> Iterator[Any]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
    )
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err) as progress:
        task = progress.add_task(what, total=total)
        yield lambda *_: progress.advance(task)


@contextmanager
def _training_bar(what: str) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
    )
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err) as progress:
        task = progress.add_task(what, total=None)

        def report(step: int, steps: int, loss: float) -> None:
            progress.update(
                task, completed=step, total=steps, description=f"{what}, loss {loss:.3f}"
            )

        yield report


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _load(data: Path, people: list[str] | None) -> list[list[Recording]]:
    skipped: list[DataIssue] = []
    recordings = load_with_bar(data, set(people) if people else None, skipped, err)
    grouped: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        grouped[recording.person].append(recording)
    for issue in unique([i for r in recordings for i in r.issues] + skipped):
        err.print(f"note: {issue}", highlight=False, style="dim", soft_wrap=True)
    return list(grouped.values())


def _prepare(
    data: Path,
    people: list[str] | None = None,
    workers: int = 0,
    spec: ModelSpec | None = None,
) -> Prepared:
    groups = _load(data, people)
    with _bar("Calibrating and computing features", len(groups)) as done:
        prepared = prepare(groups, workers or os.cpu_count() or 1, done)
    for note in prepared.notes:
        err.print(f"note: {note}", highlight=False, style="dim", soft_wrap=True)
    if not prepared.trials:
        raise TalariaError(
            f"No recording in {data} has everything training needs (thigh and foot sensors, a still start, "
            "reference angles): see the notes above."
        )
    rates = {trial.rate_hz for trial in prepared.trials} | ({spec.rate_hz} if spec else set())
    if len(rates) > 1:
        raise TalariaError(
            f"The recordings and the model run at {' and '.join(f'{r:g}' for r in sorted(rates))} Hz, and one "
            "network knows one rate: bring them to the same rate first, or choose --people of one rate."
        )
    return prepared


def _release(
    net: GaitNet,
    trials: tuple[Trial, ...],
    folder: Path,
    about: artefacts.Provenance,
    band: dict[str, dict[str, list[float]]] | None = None,
) -> None:
    with err.status("Exporting, and comparing torch with onnxruntime step by step …"):
        artefacts.release(net, about, folder, [trial.features for trial in trials[:2]], band)
    out.print(f"Wrote {folder} (model.onnx, model.safetensors, card.md, SHA256SUMS).")


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
        typer.Option(help="Report of 'evaluate --protocol loso' whose errors the card quotes."),
    ] = None,
    gait_json: Annotated[
        Path | None,
        typer.Option(
            help="Report of 'events' whose intervals and novelty limit the model carries."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = TrainConfig().steps,
    seed: int = 0,
) -> None:
    """Train a multi-user model and export it."""
    prepared = _prepare(data, _names(people))
    left_out = _names(hold_out) or []
    trials = tuple(t for t in prepared.trials if t.person not in left_out)
    if not trials:
        raise TalariaError(
            "Everybody was held out, so nobody is left to train on: hold out fewer people."
        )
    known = gait_study.known_of(gait_json, left_out) if gait_json else (None, None)
    with _training_bar("Training") as report:
        config = replace(TrainConfig(), steps=steps, seed=seed)
        net = evaluate.held_out_net(prepared.trials, left_out, config, report)
    about = artefacts.Provenance(
        model_id=folder.name,
        trained_on=trained_on or f"recordings in {data.name}",
        people=artefacts.names_of([t.person for t in trials]),
        rate_hz=trials[0].rate_hz,
        held_out=evaluate.held_out(held_out_json, left_out) if held_out_json else None,
        intervals=known[0],
        familiarity=known[1],
    )
    _release(net, trials, folder, about, normal_band(trials))


@app.command()
def finetune(
    base: Annotated[Path, typer.Option(help="Model folder to start from.")],
    folder: OutOption,
    data: Annotated[
        Path | None, typer.Option("--data", help="CapSense tree or zips, or plain folders.")
    ] = None,
    session: Annotated[
        Path | None, typer.Option(help="A recorded session with labels, instead of --data.")
    ] = None,
    person: Annotated[str | None, typer.Option(help="Whose recordings.")] = None,
    part: Annotated[
        float | None,
        typer.Option(
            help="Share of each recording, from its start, to learn from; 0.2, but all of a session."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = FINETUNE.steps,
) -> None:
    """Fine-tune a multi-user model on one person and export it."""
    source, whom, share = _finetune_source(data, session, person, part)
    net, spec = artefacts.load(base)
    prepared = _prepare(source, whom, spec=spec)
    trials = tuple(t.part(0.0, share) for t in prepared.trials)
    with _training_bar("Fine-tuning") as report:
        personal = finetune_net(net, trials, replace(FINETUNE, steps=steps), report)
    who = trials[0].person
    trained_on = f"{spec.model_id}, fine-tuned on the first {share:.0%} of {who}'s recordings"
    people = artefacts.names_of([*spec.people, who])
    about = artefacts.Provenance(
        folder.name,
        trained_on,
        people,
        trials[0].rate_hz,
        remarks=_given_reference(trials),
        intervals=spec.intervals,
        familiarity=spec.familiarity,
    )
    _release(personal, trials, folder, about)


def _given_reference(trials: Sequence[Trial]) -> str:
    """Say on the card where a person's own angles came from something else than the sensor chain."""
    given = sorted({t.name for t in trials if t.reference == "given"})
    if not given:
        return ""
    return (
        f"Fine-tuned on angles that something else measured beside the sensors ({', '.join(given)}), with "
        "that reference's own zero."
    )


def _finetune_source(
    data: Path | None, session: Path | None, person: str | None, part: float | None
) -> tuple[Path, list[str] | None, float]:
    """Say what to load, of whom, and how much of it to learn from."""
    if session is not None and data is None:
        return session, None if person is None else [person], 1.0 if part is None else part
    if data is None or session is not None or person is None:
        raise TalariaError(
            "Fine-tuning needs the recordings of one person: give either --data with --person, or "
            "--session with a labelled session's folder."
        )
    return data, [person], 0.2 if part is None else part


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
    trials = tuple(t.part(0.0, part) for t in _prepare(data, [person]).trials)
    with _training_bar("Training") as report:
        net = train_net(trials, replace(SINGLE_USER, steps=steps), report)
    trained_on = f"the first {part:.0%} of {person}'s recordings alone"
    about = artefacts.Provenance(folder.name, trained_on, (person,), trials[0].rate_hz)
    _release(net, trials, folder, about)


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
    trials = _prepare(data, [person], spec=spec).trials
    about = artefacts.Provenance(
        folder.name, spec.trained_on, spec.people, spec.rate_hz, spec.held_out
    )
    _release(net, trials, folder, about)


@app.command("evaluate")
def evaluate_(
    data: DataOption,
    protocol: Annotated[str, typer.Option(help="loso or unseen.")] = "loso",
    model: Annotated[Path | None, typer.Option(help="Released model folder, for 'unseen'.")] = None,
    people: PeopleOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where to write all rows.")
    ] = None,
    optical_file: Annotated[
        Path | None,
        typer.Option("--optical", help=f"{optical.ARCHIVE}; found beside the data if there."),
    ] = None,
    workers: WorkersOption = 0,
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps of every run; for a quick look.")
    ] = None,
) -> None:
    """Measure multi-user, fine-tuned and single-user error on people held out."""
    if protocol not in ("loso", "unseen"):
        raise TalariaError(f"--protocol {protocol} is unknown: give loso or unseen.")
    if protocol == "unseen" and model is None:
        raise TalariaError(
            "--protocol unseen measures a released model: name it with --model models/ID."
        )
    workers = workers or os.cpu_count() or 1
    net, spec = (
        artefacts.load(model) if model is not None and protocol == "unseen" else (None, None)
    )
    prepared = _prepare(data, _names(people), workers, spec)
    archive = optical_file or optical.find_optical(data)
    truth = optical.load_optical(archive) if archive else None
    recipe = evaluate.Recipe() if steps is None else evaluate.Recipe.quick(steps)
    names = sorted({trial.person for trial in prepared.trials})
    with _bar("People held out", len(names)) as done:
        if net is None or spec is None:
            rows = evaluate.leave_one_out(prepared.trials, recipe, truth, workers, done)
            extra: dict[str, Any] = {}
        else:
            known = sorted(set(names) & set(spec.people))
            if known:
                raise TalariaError(
                    f"{spec.model_id} was trained on {', '.join(known)}, so they are not unseen: "
                    "leave them out with --people."
                )
            rows = evaluate.unseen(net, prepared.trials, recipe, truth, workers, done)
            extra = {"model": spec.model_id}
    document = evaluate.report(protocol, rows, prepared.notes, extra)
    out.print(*tables.evaluation(document))
    if json_file:
        evaluate.write_json(json_file, document)
        out.print(f"Wrote {json_file}.")


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
    groups = _load(data, _names(people))
    with _bar("Calibrating and computing features", len(groups)) as done:
        prepared = prepare(groups, workers, done)
    recordings = [recording for group in groups for recording in group]
    folds = len({trial.person for trial in prepared.trials})
    if folds < 2:
        raise TalariaError(
            f"{data} holds {folds} people that can be used, and holding one out leaves nobody to learn "
            "from: give recordings of at least two."
        )
    with _bar("People held out, two passes", 2 * folds) as done:
        config = replace(TrainConfig(), steps=steps)
        results = gait_study.study(prepared.trials, recordings, config, workers, done)
    report = gait_study.document(*results)
    out.print(*tables.gait(report))
    if json_file:
        evaluate.write_json(json_file, report)
        out.print(f"Wrote {json_file}.")


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
    out.print(tables.reference(_load(data, [person])[0], truth))


@app.command("strides-check")
def strides_check(
    data: DataOption,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where to write all rows.")
    ] = None,
) -> None:
    """Compare stride length and speed with a treadmill's belt and with optical markers."""
    with err.status("Streaming every recording through the live stages …") as status:
        document = strides_study.check(data, lambda what: status.update(f"{what} done …"))
    out.print(*strides_tables.strides_tables(document))
    if json_file:
        evaluate.write_json(json_file, document)
        out.print(f"Wrote {json_file}.")


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
    groups = _load(data, _names(people))
    made = planted.cases(groups, count)
    with _bar("Planting mistakes", len(made)) as done:
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
    recordings = [r for group in _load(data, _names(people)) for r in group]
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
    with _bar("Filters run", fusion.jobs_of(stretches)) as done:
        results = fusion.run(stretches, workers or os.cpu_count() or 1, done)
    document = fusion.report(results, stretches[0])
    out.print(fusion.table(document))
    if json_file:
        evaluate.write_json(json_file, document)
        out.print(f"Wrote {json_file}.")


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
    found = [r for group in _load(data, [person]) for r in group if r.name == recording]
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
        Path | None, typer.Option("--data", help="Real recordings instead of the simulator.")
    ] = None,
    person: Annotated[str | None, typer.Option(help="Whom of the real people.")] = None,
    seed: Annotated[int, typer.Option(help="Which simulated walker.")] = 7,
    live_seconds: Annotated[float, typer.Option(help="Length of the live stream.")] = 30.0,
    folder: Annotated[
        Path, typer.Option("--out", help="Where the session and the model go.")
    ] = Path("sessions/demo"),
) -> None:
    """Calibrate, fine-tune, export and stream one walker live, and show what it was worth."""
    if data is not None:
        if person is None:
            raise TalariaError(
                "Real data needs a person to hold out: give --person, such as Sub02."
            )
        walk = demonstration.real_walk(_load(data, [person])[0], live_seconds)
    else:
        with err.status("Simulating a walker …"):
            walk = demonstration.simulated_walk(seed, live_seconds)
    base = demonstration.choose_base(models, walk.person)
    if base is None:
        if data is None:
            raise TalariaError(
                f"{models} holds no released model: say where they are with --models."
            )
        err.print(f"Every released model has seen {walk.person}: training one on the others.")
        others = [group for group in _load(data, None) if group[0].person != walk.person]
        if not others:
            raise TalariaError(
                f"{data} holds nobody but {walk.person}, so nobody is left to train a base model on: "
                "give recordings of more people, or a --models folder with a model that has not seen them."
            )
        with _bar("Calibrating and computing features", len(others)) as done:
            trials = prepare(others, os.cpu_count() or 1, done).trials
        with _training_bar("Training a base model without " + walk.person) as report:
            base = demonstration.quick_base(trials, report)
    out.print(f"Walker: {walk.about}", highlight=False)
    out.print(f"Base model: {base.name}, which has never seen this walker.", highlight=False)
    with _training_bar("Fine-tuning on the first minute") as report:
        personal = finetune_net(base.net, walk.first, FINETUNE, report)
    with err.status("Exporting, and comparing torch with onnxruntime step by step …"):
        files = demonstration.export_pair(base, personal, walk, folder)
    with _bar("Live stream through a serial port (seconds)", round(live_seconds)) as tick:
        result = demonstration.live(walk, files, folder, tick)
    out.print(tables.demo(walk, base.name, result))
    out.print(f"Session and personal model are in {folder}.")


def main() -> None:
    """Run the command; anything wrong ends in one sentence and exit code 2."""
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    torch.set_num_threads(
        1
    )  # a recurrent step is too small to share: more threads only burn more power
    try:
        app()
    except TalariaError as error:
        err.print(
            f"talaria-train: {error}", highlight=False, markup=False, style="red", soft_wrap=True
        )
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("talaria-train: stopped.")
        sys.exit(130)


if __name__ == "__main__":
    main()
