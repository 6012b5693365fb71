"""What walkers are worth to an angle model that has 1, 2, 4 or 7 real people to learn from.

At equal effort: as many optimiser steps from nothing as with walkers first. The walkers are drawn by a model
that has not seen whoever is tested; it has seen others, whose angles the poorer of the angle models lack.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from talaria_edge.generate.generator import Generator
from talaria_edge.generate.walkers import Outing, draw_walkers
from talaria_training.engine import Engine, Store, run_jobs
from talaria_training.evaluate import NET_CODE, run_key
from talaria_training.generate.walker_files import trials_of
from talaria_training.pretrain_study import Effort, Start, base_from
from talaria_training.scoring import Row, judged_rows, report
from talaria_training.train import predict
from talaria_training.trials import Trial

COUNTS = (1, 2, 4, 7)
_STARTS: Mapping[str, Start] = {"nothing": "nothing", "walkers": "virtual"}
_CODE = (
    *NET_CODE,
    "pretrain",
    "pretrain_study",
    "scoring",
    "splits",
    "talaria_edge.generate.body",
    "talaria_edge.generate.walkers",
)


@dataclass(frozen=True, slots=True)
class GainProtocol:
    """How many walkers, how long, and the effort of every base."""

    walkers: int = 60
    outing: Outing = field(default_factory=lambda: Outing(20.0))
    effort: Effort = field(default_factory=Effort)
    counts: tuple[int, ...] = COUNTS


def study(
    people: Sequence[str],
    trials: Sequence[Trial],
    model_for: Callable[[str], str],
    protocol: GainProtocol,
    engine: Engine,
    done: Callable[[str], object] = lambda name: None,
) -> dict[str, Any]:
    """Hold people out in turn, and learn from some of the others with and without walkers first.

    Parameters
    ----------
    people : sequence of str
        Whom to test.
    trials : sequence of Trial
        Everybody's.
    model_for : callable
        Names the folder of a generative model that has not seen somebody.
    protocol : GainProtocol
    engine : Engine
    done : callable

    Returns
    -------
    dict
        As of `scoring.report`; approaches ``nothing, 1 real`` to ``walkers, 7 real``.
    """
    everybody = sorted({trial.person for trial in trials})
    cases = {
        f"{person} {start} {count}": (person, start, count)
        for person in people
        for start in _STARTS
        for count in protocol.counts
    }
    models = {person: model_for(person) for person in people}
    drawn_by = sorted({Path(folder).name for folder in models.values()})
    store = Store.cached("generate", run_key(trials, repr((protocol, drawn_by)), *_CODE))
    left = {person for name, (person, *_) in cases.items() if store.read(name) is None}
    folders = sorted({models[person] for person in left})
    shared = {"trials": trials, "protocol": protocol}
    with tempfile.TemporaryDirectory() as scratch:
        files = {folder: f"{scratch}/{i}.pickle" for i, folder in enumerate(folders)}
        drawing = {folder: (draw, folder, file, protocol) for folder, file in files.items()}
        run_jobs(drawing, Store(Path(scratch), "drawn"), engine)
        jobs: dict[str, tuple[Any, ...]] = {
            name: (
                compare,
                person,
                tuple(learned_from(person, everybody)[:count]),
                start,
                files.get(models[person], ""),
            )
            for name, (person, start, count) in cases.items()
        }
        results = run_jobs(jobs, store, engine, shared, done)
    rows = [Row(**row) for name in jobs for row in results[name]]
    extra = {"walkers": protocol.walkers, "steps": protocol.effort.base.steps}
    return report("walkers first", rows, (), extra)


def learned_from(person: str, everybody: Sequence[str]) -> list[str]:
    """Order the others by the alphabet, from who follows on, so that everyone is somebody's first."""
    at = list(everybody).index(person)
    return [*everybody[at + 1 :], *everybody[:at]]


def draw(folder: str, file: str, protocol: GainProtocol) -> int:
    """Draw one model's walkers as trials into a file; returns how many there are."""
    walkers = draw_walkers(Generator.open(folder), protocol.walkers, 0, protocol.outing)
    trials, _ = trials_of(walkers)
    Path(file).write_bytes(pickle.dumps(trials))
    return len(trials)


def compare(
    person: str,
    others: tuple[str, ...],
    start: str,
    file: str,
    *,
    trials: Sequence[Trial],
    protocol: GainProtocol,
) -> list[Row]:
    """Train one base and score it on one person, on the last 60 % of each recording."""
    real = [trial for trial in trials if trial.person in others]
    virtual: list[Trial] = pickle.loads(Path(file).read_bytes()) if start == "walkers" else []
    base = base_from(_STARTS[start], real, virtual, protocol.effort)
    mine = [trial for trial in trials if trial.person == person]
    said = [predict(base, trial.features) for trial in mine]
    return judged_rows(f"{start}, {len(others)} real", mine, said, None, None)
