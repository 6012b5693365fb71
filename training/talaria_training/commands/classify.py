"""Telling people and groups apart by their strides: `talaria-train classify`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from talaria_bridge.errors import ConfigError
from talaria_training.classify import choosing, models, protocol, splits, stored, tables
from talaria_training.classify.tasks import Labelled, Task, labelled
from talaria_training.commands.app import app
from talaria_training.commands.common import (
    AddressOption,
    EngineOption,
    JsonOption,
    WorkersOption,
    bar,
    conditions_of,
    names_in,
    out,
)
from talaria_training.commands.files import write_report, writing
from talaria_training.engine import Engine, open_engine
from talaria_training.explain import words
from talaria_training.explain.faithful import perturbation
from talaria_training.explain.plain import plain
from talaria_training.explain.runs import spoiled_by
from talaria_training.explain.tables import faithfulness
from talaria_training.relevance.perturbation import PerturbationParams
from talaria_training.relevance.rules import USUAL, preset
from talaria_training.strides.table import StrideTable

_DEALS_BESIDE = 20
"""Deals of the trial-wise split that is run beside the one by person: for their mean, not for a p."""


@app.command()
def classify(
    strides: Annotated[Path, typer.Argument(help="Stride table, .npz.")],
    task: Annotated[
        str,
        typer.Option(help="identity, COLUMN, or COLUMN:a,b|c for a or b against c."),
    ] = "identity",
    split: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(splits.KINDS)}; as a rule across-sessions (or first-last) for identity and "
            "person for groups, beside which trial is run too."
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help=f"Comma-separated, of {', '.join(models.MODELS)}.")
    ] = "svm",
    where: Annotated[
        list[str] | None, typer.Option(help="Only strides with COLUMN=a,b; may be given again.")
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="Only these channels or groups of channels, comma-separated.")
    ] = None,
    permutations: Annotated[
        int,
        typer.Option(min=0, help="Times labels are dealt anew for p; a network learns each time."),
    ] = 200,
    folds: Annotated[int, typer.Option(min=2, help="At most, of trial and person.")] = splits.FOLDS,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    faithful: Annotated[
        bool,
        typer.Option(
            "--faithful",
            help="Explain every model too, and say how much faster accuracy falls where the most relevant "
            "points go first than where points go at random.",
        ),
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--out", help="Folder for a model learned from all strides.")
    ] = None,
    json_file: JsonOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = 0,
) -> None:
    """Tell people or groups apart by their strides, and say what the accuracy is worth."""
    wanted, chosen = Task.parse(task), _models(model, save)
    runner = open_engine(engine, workers, address)
    table = StrideTable.load(strides)
    table = table if channels is None else _only(table, names_in(channels) or [])
    data = labelled(table, wanted, conditions_of(where))
    kind = splits.kind_of(split, data)
    plans = [protocol.Plan(kind, chosen, permutations, folds, seed)]
    if kind == "person":
        deals = min(permutations, _DEALS_BESIDE)
        plans.append(protocol.Plan("trial", chosen, deals, folds, seed))
    document = _document(table, data, task, plans, runner)
    lines = tables.sentences(document)
    out.print(*tables.tables(document))
    if faithful:
        found = _spoil(data, plans[0], document["studies"][0])
        out.print(faithfulness(found))
        lines += [f"{name}: {words.faithful(one)[0]}" for name, one in found.items()]
    for line in lines:
        out.print(line, highlight=False, soft_wrap=True)
    if save:
        _save(data, table, (chosen[0], kind, seed), task, save)
    write_report(json_file, document)


def _document(
    table: StrideTable, data: Labelled, task: str, plans: list[protocol.Plan], runner: Engine
) -> dict[str, Any]:
    out.print(
        f"{len(data.labels)} strides of {len(np.unique(data.person))} people, {len(table.channels)} "
        f"channels x {table.values.shape[2]} points. {table.source}",
        highlight=False,
        soft_wrap=True,
    )
    jobs = sum(len(protocol.jobs_of(data, plan)) for plan in plans)
    with bar("Splits, models and labels dealt anew", jobs) as done:
        studies = [protocol.study(data, plan, runner, done) for plan in plans]
    return {
        "task": task,
        "source": table.source,
        "channels": [channel.name for channel in table.channels],
        "studies": studies,
    }


def _spoil(data: Labelled, plan: protocol.Plan, study: dict[str, Any]) -> dict[str, Any]:
    """Add to every model of a study what replacing points did, and return the models."""
    how, rules = PerturbationParams(), preset(USUAL)
    for model, found in study["models"].items():
        spoiled = spoiled_by(data, replace(plan, models=(model,)), study, rules, how, bar)
        found["perturbation"] = plain(perturbation(spoiled, how, plan.seed))
    return dict(study["models"])


def _models(text: str, save: Path | None) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(names_in(text) or ()))
    strange = [name for name in chosen if name not in models.MODELS]
    if strange or not chosen:
        raise ConfigError(
            f"There is no model {strange[0] if strange else text!r}: choose of {', '.join(models.MODELS)}."
        )
    if save and len(chosen) > 1:
        raise ConfigError(
            f"--out is for one model, but {len(chosen)} are to be judged: give one --model."
        )
    return chosen


def _only(table: StrideTable, wanted: list[str]) -> StrideTable:
    known = {name for channel in table.channels for name in (channel.name, channel.group)}
    strange = [name for name in wanted if name not in known]
    if strange or not wanted:
        raise ConfigError(
            f"The strides have no channel {strange[0] if strange else ''!r}: choose of "
            f"{', '.join(sorted(known))}."
        )
    rows = [k for k, c in enumerate(table.channels) if c.name in wanted or c.group in wanted]
    return StrideTable(
        table.values[:, rows],
        tuple(table.channels[k] for k in rows),
        table.columns,
        table.order,
        table.cycle,
        table.source,
    )


def _save(
    data: Labelled,
    table: StrideTable,
    how: tuple[str, splits.Kind, int],
    task: str,
    folder: Path,
) -> None:
    model, kind, seed = how
    classifier, settings = choosing.learn(model, kind, data, seed)
    about: Mapping[str, Any] = {
        "task": task,
        "channels": [channel.name for channel in table.channels],
        "cycle": table.cycle,
        "source": table.source,
        "strides": len(data.labels),
        "people": len(np.unique(data.person)),
        "settings": settings,
        "seed": seed,
    }
    with writing(folder):
        stored.save(classifier, folder, about)
    out.print(f"Wrote {folder}.")
