"""Personal models: fine-tune with a decision at the end, go back, and put the gate to the test."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from talaria_bridge.errors import ModelContractError, RecordingError, TalariaError
from talaria_edge.dashboard.band import BAND_FILE
from talaria_edge.kinematics import CHAIN_SLOTS
from talaria_edge.labels.attach import label_session
from talaria_edge.printing import print_labels
from talaria_edge.spec import HeldOut, ModelSpec
from talaria_training import artefacts, gate_study, personal_tables, shelf
from talaria_training.acceptance import About, document
from talaria_training.acceptance_page import page
from talaria_training.commands.app import app
from talaria_training.commands.common import (
    AddressOption,
    DataOption,
    EngineOption,
    JsonOption,
    OutOption,
    WorkersOption,
    bar,
    err,
    load_people,
    names_in,
    out,
    prepare_loaded,
    prepare_people,
    training_bar,
)
from talaria_training.commands.files import write_report
from talaria_training.data.recording import Recording
from talaria_training.engine import open_engine
from talaria_training.gate import errors_on_others, joint_errors_deg
from talaria_training.intervals import personal_intervals
from talaria_training.networks import GaitNet
from talaria_training.personal import Options, Outcome, personalise
from talaria_training.scoring import write_json
from talaria_training.train import FINETUNE, MULTI_USER
from talaria_training.trials import Trial

_REFUSED = 1
"""Exit code where the base stays: nothing went wrong, but there is no new model."""


@dataclass(frozen=True, slots=True)
class _Source:
    """What to load, of whom, how much of each recording, and where its labels are from."""

    path: Path
    people: list[str] | None
    share: float
    labels: str = ""


@app.command()
def finetune(
    base: Annotated[Path, typer.Option(help="Model folder to start from.")],
    folder: OutOption,
    data: Annotated[
        Path | None, typer.Option("--data", help="CapSense tree or zips, or plain folders.")
    ] = None,
    session: Annotated[
        Path | None, typer.Option(help="A recorded session, instead of --data.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Angles measured beside the session: .mot, .sto or .csv; aligned here."),
    ] = None,
    unit: Annotated[
        Literal["deg", "rad"] | None, typer.Option(help="Of these angles, if the file is silent.")
    ] = None,
    lag: Annotated[
        float | None, typer.Option(help="Seconds to add to the file's times, if you know better.")
    ] = None,
    person: Annotated[str | None, typer.Option(help="Whose recordings.")] = None,
    part: Annotated[
        float | None,
        typer.Option(help="Share of each recording to use; 0.2, but all of a session."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Learn from the first so many labelled seconds only.")
    ] = None,
    strides: Annotated[
        int | None, typer.Option(help="Learn from the first so many strides only.")
    ] = None,
    trust_zero: Annotated[
        bool, typer.Option("--trust-zero", help="Take the labels' zero too, unverified.")
    ] = False,
    others: Annotated[
        Path | None, typer.Option(help="Labelled recordings of other people: what is forgotten?")
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps at most.")] = FINETUNE.steps,
) -> None:
    """Fine-tune on one person; the result replaces what is in --out only if it is surely better."""
    _check_budget(seconds, strides)
    source = _source(data, session, person, part)
    net, spec = artefacts.load(base)
    shelf.recover(folder)
    previous = artefacts.load(folder)[0] if shelf.holds_model(folder) else None
    if reference is not None:
        source = _labelled(source, session, reference, unit, lag)
    groups = load_people(source.path, source.people)
    if _unlabelled(groups):
        out.print(
            f"{source.path} has no labels, so all that adapts to its wearer is the calibration, which the "
            "recording's own first steps or 'talaria calibrate' have seen to: nothing was written."
        )
        return
    trials = _one_person(prepare_loaded(groups, source.path, spec=spec).trials)
    trials = tuple(t.part(0.0, source.share) for t in trials)
    options = Options(seconds, strides, trust_zero)
    with training_bar("Fine-tuning") as report:
        config = replace(FINETUNE, steps=steps)
        outcome = personalise(net, trials, config, options, previous, report)
    about = About(
        folder.name,
        spec.model_id,
        trials[0].person,
        datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        tuple(t.name for t in outcome.division.used),
        source.labels or _labels_of(trials),
        trust_zero,
        _forgotten(net, outcome, others, spec, trials[0].person),
    )
    found = document(outcome, about)
    out.print(*personal_tables.outcome(found), soft_wrap=True)
    if outcome.net is None or not outcome.shipped:
        _write_report(folder, "refused", found)
        raise typer.Exit(_REFUSED)
    with err.status("Exporting, and comparing torch with onnxruntime step by step …"):
        made = _provenance(about, spec, outcome, trials, base)
        _ship(folder, outcome.net, base, made, found, trials)
    out.print(f"Wrote {folder} (model, card, acceptance.html, acceptance.json).")


@app.command()
def rollback(
    folder: Annotated[Path, typer.Argument(help="A personal model's folder.")],
) -> None:
    """Put the version before the present one back; again, and the present one is back."""
    shelf.rollback(folder)
    out.print(f"{folder} is the version before again; the other one is kept in its place.")


@app.command("gate-check")
def gate_check(
    data: DataOption,
    trials: Annotated[int, typer.Option(help="Randomised fine-tunings.")] = 200,
    people: Annotated[
        str | None, typer.Option(help="Fine-tune only these people, comma-separated.")
    ] = None,
    steps: Annotated[
        int, typer.Option(help="Optimiser steps of each fine-tuning.")
    ] = gate_study.QUICK.steps,
    base_steps: Annotated[
        int, typer.Option(help="Optimiser steps of each held-out base.")
    ] = MULTI_USER.steps,
    seed: int = 0,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Fine-tune on labels spoiled at random and count how often a worse model is handed out."""
    prepared = prepare_people(data, None, workers).trials
    everybody = sorted({t.person for t in prepared if t.reference != "none"})
    chosen = [p for p in everybody if people is None or p in (names_in(people) or [])]
    if not chosen or len(everybody) < 2:
        raise TalariaError(
            f"{data} has labelled recordings of {', '.join(everybody) or 'nobody'}, and the check needs "
            "one of these to hold out and others to learn from: choose --people among them."
        )
    with bar("Bases without one person", len(chosen)) as done:
        bases = gate_study.held_out_bases(
            prepared, chosen, replace(MULTI_USER, steps=base_steps), done
        )
    plan = gate_study.Plan(bases, replace(gate_study.QUICK, steps=steps), seed=seed)
    with bar("Fine-tunings", trials) as done:
        results = gate_study.study(
            prepared, plan, trials, open_engine(engine, workers, address), done
        )
    found = gate_study.document(results, plan)
    out.print(*personal_tables.gate(found))
    write_report(json_file, found)


def _check_budget(seconds: float | None, strides: int | None) -> None:
    if seconds is not None and seconds < 1.0:
        raise TalariaError(f"--seconds {seconds:g} is too little to learn from: give 1 or more.")
    if strides is not None and strides < 1:
        raise TalariaError(f"--strides {strides} is too little to learn from: give 1 or more.")


def _source(
    data: Path | None, session: Path | None, person: str | None, part: float | None
) -> _Source:
    """Say what to load, of whom, and how much of it to use."""
    if part is not None and not 0.0 < part <= 1.0:
        raise TalariaError(
            f"--part {part:g} is no share of a recording: give more than 0, at most 1."
        )
    if session is not None and data is None:
        people = None if person is None else [person]
        return _Source(session, people, 1.0 if part is None else part)
    if data is None or session is not None or person is None:
        raise TalariaError(
            "Fine-tuning needs the recordings of one person: give either --data with --person, or "
            "--session with a labelled session's folder."
        )
    return _Source(data, [person], 0.2 if part is None else part)


def _labelled(
    source: _Source,
    session: Path | None,
    reference: Path,
    unit: Literal["deg", "rad"] | None,
    lag: float | None,
) -> _Source:
    """Align the reference with the session and keep it there, or say why it does not fit."""
    if session is None:
        raise TalariaError(
            f"--reference {reference} belongs to one session, and --data has many: give --session."
        )
    labels = label_session(session, reference, unit, lag)
    print_labels(labels)
    how = "as given" if labels.given else f"found with a lead of {labels.lag.lead:.2f}"
    said = (
        f"{reference.name}, {labels.covered_s:.1f} s, aligned at a lag of {labels.lag.lag_s:.3f} s, {how} "
        f"(match {labels.lag.match:.3f} over {labels.lag.overlap_s:.1f} s of walking)"
    )
    return replace(source, labels=said)


def _unlabelled(groups: list[list[Recording]]) -> bool:
    """Say whether no recording has angles, nor the sensors to compute them from."""
    return not any(
        r.angles_rad is not None or set(CHAIN_SLOTS) <= set(r.orientation or {})
        for group in groups
        for r in group
    )


def _one_person(trials: tuple[Trial, ...]) -> tuple[Trial, ...]:
    people = sorted({t.person for t in trials})
    if len(people) > 1:
        raise RecordingError(
            f"These are recordings of {', '.join(people)}, and a personal model is of one person: choose "
            "one with --person."
        )
    return trials


def _labels_of(trials: tuple[Trial, ...]) -> str:
    words = {
        "full_chain": "computed from the full sensor chain, zero at quiet standing",
        "given": "angles that came with the recordings, measured by something else",
    }
    kinds = sorted({t.reference for t in trials} - {"none"})
    return "; ".join(words[kind] for kind in kinds)


def _forgotten(
    base: GaitNet, outcome: Outcome, others: Path | None, spec: ModelSpec, person: str
) -> tuple[tuple[str, float, float], ...]:
    if others is None or outcome.net is None:
        return ()
    trials = [t for t in prepare_people(others, spec=spec).trials if t.person != person]
    if not trials:
        raise RecordingError(
            f"{others} holds recordings of {person} alone, so nothing shows what was forgotten: give other "
            "people's."
        )
    return errors_on_others(base, outcome.net, trials)


def _provenance(
    about: About, spec: ModelSpec, outcome: Outcome, trials: tuple[Trial, ...], base: Path
) -> artefacts.Provenance:
    zero = "The zero is the base model's." if outcome.zero == "base" else "The zero is the labels'."
    learned = f"{outcome.division.learn_s:.0f} s of {about.person}'s walking"
    kept_out = HeldOut(
        protocol=f"{outcome.division.decide_strides} strides of {about.person}'s own, kept out",
        reference=about.labels,
        rmse_deg={
            joint: round(error, 2)
            for joint, error in joint_errors_deg(
                outcome.division.decide, outcome.predictions["personal"]
            ).items()
        },
    )
    # With the base's zero its offset stays, and so does the room its intervals leave for that.
    own = personal_intervals(base, outcome.division.learn_s) if outcome.zero == "labels" else None
    return artefacts.Provenance(
        about.model_id,
        f"{spec.model_id}, fine-tuned on {learned}",
        artefacts.names_of([*spec.people, about.person]),
        trials[0].rate_hz,
        held_out=kept_out,
        remarks=f"Labels: {about.labels}. {zero} {outcome.decision}",
        intervals=own or spec.intervals,
        familiarity=spec.familiarity,
    )


def _ship(
    folder: Path,
    net: GaitNet,
    base: Path,
    about: artefacts.Provenance,
    found: dict[str, Any],
    trials: tuple[Trial, ...],
) -> None:
    file = (base if base.is_dir() else base.parent) / BAND_FILE
    band = {BAND_FILE: json.loads(file.read_text(encoding="utf-8"))} if file.is_file() else None

    def write(new: Path) -> None:
        artefacts.release(net, about, new, [t.features for t in trials[:2]], band)
        _write_report(new, artefacts.ACCEPTED, found)

    shelf.ship(folder, write)


def _write_report(folder: Path, name: str, found: dict[str, Any]) -> None:
    try:
        write_json(folder / f"{name}.json", found)
        (folder / f"{name}.html").write_text(page(found), encoding="utf-8")
    except OSError as error:
        raise ModelContractError(
            f"{folder} cannot be written to ({error}): give another folder with --out."
        ) from None
    if name == "refused":
        out.print(f"Wrote {folder / 'refused.html'} with the reasons.")
