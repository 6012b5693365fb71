"""Forces live from thigh and foot sensors: `talaria-train kinetics train` and `kinetics evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from talaria_bridge.errors import ConfigError, RecordingError, TalariaError
from talaria_edge.force_band import FORCE_BAND_FILE
from talaria_training import artefacts
from talaria_training.commands.common import (
    AddressOption,
    DataOption,
    EngineOption,
    JsonOption,
    OutOption,
    PeopleOption,
    WorkersOption,
    bar,
    err,
    load_people,
    names_in,
    note,
    out,
    prepare_loaded,
    training_bar,
)
from talaria_training.commands.files import write_report
from talaria_training.commands.kinetics import kinetics_app
from talaria_training.cores import CoreName
from talaria_training.data.recording import Recording
from talaria_training.engine import open_engine
from talaria_training.kinetics import (
    export,
    force_angles,
    force_costs,
    force_files,
    force_study,
    force_tables,
    moment_release,
)
from talaria_training.kinetics.force_data import Walk, walks_of
from talaria_training.kinetics.force_net import (
    MATCHED,
    ForceConfig,
    ForceNet,
    train_forces,
    with_core,
)
from talaria_training.kinetics.moment_data import moment_walks
from talaria_training.kinetics.moment_net import MomentConfig, MomentNet, train_moments
from talaria_training.kinetics.moment_study import people_of
from talaria_training.networks import GAIT_CLASSES
from talaria_training.train import class_of
from talaria_training.trials import Trial

_STEPS = ForceConfig().windows.steps


@kinetics_app.command("train")
def train_(
    data: DataOption,
    folder: OutOption,
    people: PeopleOption = None,
    hold_out: Annotated[
        str | None, typer.Option(help="Leave these people out, comma-separated.")
    ] = None,
    core: Annotated[str, typer.Option(help=f"One of {', '.join(MATCHED)}.")] = "lstm",
    trained_on: Annotated[
        str, typer.Option(help="Data set, licence and source, for the card.")
    ] = "",
    evaluated: Annotated[
        Path | None,
        typer.Option(help="Report of 'kinetics evaluate': the card's errors and intervals."),
    ] = None,
    moments: Annotated[
        bool, typer.Option("--moments", help="Read joint moments off the forces' memory, too.")
    ] = False,
    moments_evaluated: Annotated[
        Path | None,
        typer.Option(help="Report of 'kinetics moments', for --moments as --evaluated is."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = _STEPS,
    seed: int = 0,
) -> None:
    """Train a network from thigh and foot sensors to forces, and export it."""
    if moments_evaluated is not None and not moments:
        raise ConfigError("--moments-evaluated is about moments: add --moments.")
    chosen = core_of(core)
    left_out = names_in(hold_out) or []
    loaded = walks_in(data, people, 0)
    walks = [w for w in loaded.walks if w.trial.person not in left_out]
    if not walks:
        raise TalariaError(
            "Everybody was held out, so nobody is left to train on: hold out fewer people."
        )
    config = with_core(config_of(steps), chosen, seed)
    with training_bar("Training") as report:
        net = train_forces(walks, config, report)
    about = force_files.ForceProvenance(
        folder.name,
        trained_on or f"recordings in {data.name}",
        artefacts.names_of([w.trial.person for w in walks]),
        walks[0].trial.rate_hz,
    )
    if evaluated is not None:
        about = force_files.known_of(evaluated, chosen, about)
    if moments_evaluated is not None:
        about = force_files.moments_known_of(moments_evaluated, chosen, about)
    reader = _moments(net, data, walks, loaded, steps) if moments else None
    with err.status("Exporting, and comparing torch with onnxruntime step by step …"):
        seen = [w.trial.features for w in walks[:2]]
        band = {FORCE_BAND_FILE: export.force_band(_usual(walks), _who(walks))}
        if reader is None:
            worst = export.release_forces(net, config.delay, about, folder, seen, band)
        else:
            worst = moment_release.release_moments(reader, about, folder, seen, band)
    out.print(f"Wrote {folder} (torch and onnxruntime differ by {worst:.1e} at most).")


@kinetics_app.command("evaluate")
def evaluate_(
    data: DataOption,
    people: PeopleOption = None,
    cores: Annotated[
        str, typer.Option(help=f"Comma-separated, of {', '.join(MATCHED)}.")
    ] = "lstm,transformer,ssm",
    seeds: Annotated[int, typer.Option(help="Trainings of every core and fold.")] = 2,
    steps: Annotated[int, typer.Option(help="Optimiser steps of every training.")] = _STEPS,
    angles: Annotated[
        bool,
        typer.Option("--angles", help="Feed an LSTM joint angles too: measured, and our model's."),
    ] = False,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Hold everybody out in turn: forces from thigh and foot sensors against the plates."""
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds} trains nothing: give 1 or more.")
    runner = open_engine(engine, workers, address)
    chosen = cores_of(cores)
    protocol = force_study.Protocol(cores=chosen, seeds=seeds, base=config_of(steps))
    loaded = walks_in(data, people, workers)
    walks, trials = loaded.walks, loaded.trials
    names = sorted({w.trial.person for w in walks})
    with bar("Folds", len(force_study.jobs_of(names, protocol))) as done:
        found = force_study.study(walks, protocol, runner, done)
    rows = list(found.rows)
    if angles:
        config = with_core(protocol.base, "lstm", 0)
        with bar("Angles estimated, and folds fed with them", 2 * len(names)) as done:
            estimated = force_angles.estimated_angles(trials, done=done)
            rows += force_angles.angle_study(walks, estimated, config, runner, done)
    document = force_study.document(rows, found.evidence, protocol)
    with err.status("Timing steps …"):
        document["costs"] = [asdict(force_costs.cost(core, protocol.base)) for core in chosen]
    out.print(*force_tables.tables(document))
    write_report(json_file, document)


def _moments(
    net: ForceNet, data: Path, walks: Sequence[Walk], loaded: Loaded, steps: int
) -> MomentNet:
    with err.status("Solving for joint moments …"):
        known, _ = moment_walks(data, walks, loaded.recordings, note)
    if not people_of(known):
        raise RecordingError(
            f"No recording in {data} has all that joint moments take (plates, orientations, the body height "
            "and the belt's speed): leave --moments."
        )
    config = replace(MomentConfig(), steps=steps)
    with training_bar("Moments") as report:
        return train_moments(net, known, config, report)


def _usual(walks: Sequence[Walk]) -> list[Walk]:
    """Keep normal walking where any recording says that it is: a mock limp is nobody's norm."""
    usual = [w for w in walks if class_of(w.trial.condition) == GAIT_CLASSES.index("walking")]
    return usual or list(walks)


def _who(walks: Sequence[Walk]) -> str:
    people = artefacts.names_of([w.person for w in _usual(walks)])
    return f"{len(people)} people on a treadmill with force plates ({', '.join(people)})"


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """Walks on force plates, and the trials and recordings that they were made of."""

    walks: list[Walk]
    trials: Sequence[Trial]
    recordings: list[Recording]


def walks_in(data: Path, people: str | None, workers: int) -> Loaded:
    """Load what has force plates that can be used.

    Raises
    ------
    RecordingError
        If nothing has.
    """
    groups = load_people(data, names_in(people))
    recordings = [recording for group in groups for recording in group]
    prepared = prepare_loaded(groups, data, workers)
    with err.status("Aligning force plates with the sensors …"):
        walks = walks_of(prepared.trials, recordings)
    if not walks:
        raise RecordingError(
            f"No recording in {data} has force plates that can be aligned with its sensors: forces can only "
            "be learned from recordings with plates, such as CapSense's."
        )
    return Loaded(walks, prepared.trials, recordings)


def cores_of(text: str) -> tuple[CoreName, ...]:
    """Understand an option that names cores, separated by commas.

    Raises
    ------
    ConfigError
        If it names none, or one that is not known.
    """
    known = {str(core): core for core in MATCHED}
    names = names_in(text) or []
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ConfigError(
            f"{text!r} names no core ({', '.join(unknown) or 'it is empty'}): give some of {', '.join(known)}."
        )
    return tuple(known[name] for name in dict.fromkeys(names))


def core_of(text: str) -> CoreName:
    """Understand an option that names one core.

    Raises
    ------
    ConfigError
        If it names none that is known, or several.
    """
    cores = cores_of(text)
    if len(cores) > 1:
        raise ConfigError(f"--core {text} names {len(cores)} cores: give one.")
    return cores[0]


def config_of(steps: int) -> ForceConfig:
    """Return the usual configuration with another number of steps.

    Raises
    ------
    ConfigError
        If that is not positive.
    """
    if steps < 1:
        raise ConfigError(f"--steps {steps} trains nothing: give 1 or more.")
    config = ForceConfig()
    return replace(config, windows=replace(config.windows, steps=steps))
