"""Why a classifier decided so, and where a person's gait differs: `talaria-train explain`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from talaria_bridge.errors import ConfigError
from talaria_training import scoring
from talaria_training.classify import models, splits
from talaria_training.classify.tasks import Labelled, Task, labelled
from talaria_training.commands.app import app
from talaria_training.commands.common import (
    AddressOption,
    EngineOption,
    JsonOption,
    WorkersOption,
    bar,
    conditions_of,
    out,
)
from talaria_training.commands.files import writing
from talaria_training.commands.strides import Recordings, from_recordings
from talaria_training.engine import open_engine
from talaria_training.explain import document as explained
from talaria_training.explain import page as explained_page
from talaria_training.explain.against import document as against_document
from talaria_training.explain.against import page as against_page
from talaria_training.relevance.rules import PRESETS, USUAL
from talaria_training.strides.cut import Cutting
from talaria_training.strides.signals import Signals
from talaria_training.strides.table import StrideTable

_DEALS, _DEALS_OF_A_NETWORK = 200, 20
"""Times labels are dealt anew by default: a network learns from the beginning each time."""
_SENSOR_UNITS = {"m/s2", "rad/s"}
_SAID = ("decision", "judged_on", "trial_wise", "where", "faithful", "stable")


@app.command()
def explain(
    strides: Annotated[
        Path, typer.Argument(help="Stride table, .npz; with --against also recordings.")
    ],
    report: Annotated[Path, typer.Option(help="Page to write, .html.")],
    task: Annotated[
        str, typer.Option(help="identity, COLUMN, or COLUMN:a,b|c for a or b against c.")
    ] = "identity",
    split: Annotated[
        str | None, typer.Option(help=f"{', '.join(splits.KINDS)}; by default as in classify.")
    ] = None,
    model: Annotated[str, typer.Option(help=f"One of {', '.join(models.MODELS)}.")] = "svm",
    rules: Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = USUAL,
    where: Annotated[
        list[str] | None, typer.Option(help="Only strides with COLUMN=a,b; may be given again.")
    ] = None,
    permutations: Annotated[
        int | None,
        typer.Option(
            min=0, help="Times labels are dealt anew for p; by default 200, or 20 for a network."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Do it so many times, and say how alike the relevance is.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    against: Annotated[
        Path | None,
        typer.Option(help="Population, .npz: say where one person differs from it instead."),
    ] = None,
    person: Annotated[
        str | None, typer.Option(help="--against: whose strides, if there are several people's.")
    ] = None,
    condition: Annotated[
        str | None,
        typer.Option(help="--against: only this person's strides of it; --where is for the group."),
    ] = None,
    estimator: Annotated[
        Path | None,
        typer.Option(help="--against: model folder that estimates a session's angles."),
    ] = None,
    json_file: JsonOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = 0,
) -> None:
    """Say what told people or groups apart, or (--against) where a person differs from a group."""
    _check(
        report, strides, against, {"person": person, "condition": condition, "estimator": estimator}
    )
    if against is not None:
        group = _narrowed(StrideTable.load(against), where, "the population", "--where condition=")
        mine = _one_of(_strides_of(strides, group, estimator), person, condition)
        document = against_document.document(mine, group)
        _write(report, against_page.page(document), document, json_file, _told(document))
        return
    table = StrideTable.load(strides)
    data = labelled(table, Task.parse(task), conditions_of(where))
    question = explained.Question(
        task,
        splits.kind_of(split, data),
        _model(model),
        rules,
        _deals(model, data) if permutations is None else permutations,
        seeds,
        seed,
        where=" and ".join(where or ()),
    )
    document = explained.document(question, table, data, open_engine(engine, workers, address), bar)
    said = [document["said"][name] for name in _SAID]
    _write(report, explained_page.page(document), document, json_file, said)


def _strides_of(path: Path, group: StrideTable, estimator: Path | None) -> StrideTable:
    """Read a stride table, or cut recordings into strides of the group's kind."""
    if path.suffix == ".npz":
        return StrideTable.load(path)
    signals = Signals.ANGLES if estimator is None else Signals.ESTIMATE
    if all(channel.unit in _SENSOR_UNITS for channel in group.channels):
        signals = Signals.IMU
    return from_recordings(path, Recordings(Cutting(signals), model=estimator))


def _one_of(table: StrideTable, person: str | None, condition: str | None) -> StrideTable:
    """Choose a person's strides."""
    if person is not None:
        table = _having(table, "person", [person], "this table")
    if condition is not None:
        table = _having(table, "condition", [condition], "these strides")
    return _narrowed(table, None, "this person", "--condition ")


def _narrowed(table: StrideTable, where: Sequence[str] | None, whose: str, how: str) -> StrideTable:
    """Keep what `where` allows; several conditions at once would be a gait that nobody walks."""
    for column, values in conditions_of(where).items():
        table = _having(table, column, values, whose)
    walks = np.unique(table.column("condition")).tolist()
    if len(walks) > 1:
        raise ConfigError(
            f"There are strides of {' and '.join(repr(walk) for walk in walks[:3])} in {whose}, whose mean is "
            f"no gait: choose with {how}{walks[0]}."
        )
    return table


def _having(table: StrideTable, column: str, values: Sequence[str], whose: str) -> StrideTable:
    there = np.unique(table.column(column)).tolist()
    strange = [value for value in values if value not in there]
    if strange:
        raise ConfigError(
            f"There is no stride with {strange[0]!r} as {column} in {whose}: choose of "
            f"{', '.join(repr(value) for value in there[:10])}."
        )
    return table.select(np.isin(table.column(column), list(values)))


def _told(document: Mapping[str, Any]) -> list[str]:
    said = document["said"]
    return [said["decision"], *said["legs"], *said["symmetry"], *said["alarms"], *said["caveats"]]


def _write(
    report: Path,
    page: str,
    document: Mapping[str, Any],
    json_file: Path | None,
    sentences: Sequence[str],
) -> None:
    for sentence in sentences:
        if sentence:
            out.print(sentence, highlight=False, markup=False, soft_wrap=True)
    with writing(report):
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(page, encoding="utf-8")
        if json_file:
            scoring.write_json(json_file, document)
    out.print(f"Wrote {report}{f' and {json_file}' if json_file else ''}.", soft_wrap=True)


def _check(report: Path, strides: Path, against: Path | None, of_one: Mapping[str, object]) -> None:
    """Refuse, before any work, a page that is none and options that would do nothing."""
    if report.suffix != ".html":
        raise ConfigError(f"--report {report} must end in .html: it is a page.")
    given = [name for name, value in of_one.items() if value is not None]
    if against is None and given:
        raise ConfigError(
            f"--{given[0]} is about the person held --against a population: give the population, or choose "
            "strides with --where."
        )
    if "estimator" in given and strides.suffix == ".npz":
        raise ConfigError(
            f"--estimator is for recordings, and {strides} is a stride table, whose channels are what they "
            "are: leave it out."
        )


def _model(name: str) -> str:
    if name not in models.MODELS:
        raise ConfigError(
            f"There is no model {name}: choose one of {', '.join(models.MODELS)} (one page, one model)."
        )
    return name


def _deals(model: str, data: Labelled) -> int:
    return _DEALS if model in models.LINEAR or data.identity else _DEALS_OF_A_NETWORK
