"""Forces from thigh and foot sensors on people held out: three architectures, one protocol.

Everybody is held out in turn. What is trained on the others is judged on the last 60 % of every
recording; fine-tuning sees so many seconds of the person's own plates within the first 40 %, and
inputs are calibrated on the first 20 %. Same people, same windows, same number of optimiser steps and
about the same parameters for every core; settings were chosen on Sub01, Sub04 and Sub07.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from talaria_bridge.errors import RecordingError
from talaria_training.cores import CoreName
from talaria_training.engine import Engine, Store, run_jobs
from talaria_training.kinetics.force_data import Walk
from talaria_training.kinetics.force_folds import MEAN_CURVE, Found, baseline, fold, study_key
from talaria_training.kinetics.force_net import ForceConfig, with_core
from talaria_training.kinetics.force_scores import ForceEvidence, ForceRow
from talaria_training.kinetics.force_summary import coverage, ranking, summarise
from talaria_training.kinetics.targets import FORCE_AXES

CHOSEN_ON = ("Sub01", "Sub04", "Sub07")
"""Whose folds settings were chosen on; the others are reported by themselves."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a study trains, and how often."""

    cores: tuple[CoreName, ...] = ("lstm", "transformer", "ssm")
    seeds: int = 2
    base: ForceConfig = field(default_factory=ForceConfig)
    tuned: tuple[CoreName, ...] = ("lstm",)
    tune_s: float = 30.0
    tune_steps: int = 150


def study(
    walks: Sequence[Walk],
    protocol: Protocol,
    engine: Engine,
    done: Callable[[str], object] = lambda name: None,
) -> Found:
    """Run every fold, core and seed; finished ones are kept and not run again.

    Parameters
    ----------
    walks : sequence of Walk
    protocol : Protocol
    engine : Engine
    done : callable
        Told each finished job's name.

    Raises
    ------
    RecordingError
        If there are not two people.
    TalariaError
        If a job failed.
    """
    people = sorted({walk.trial.person for walk in walks})
    if len(people) < 2:
        raise RecordingError(
            f"Forces were measured under {len(people)} people, and holding one out leaves nobody to learn "
            "from: give recordings with force plates of at least two."
        )
    jobs = jobs_of(people, protocol)
    # Without cores and seeds, which jobs are named by: more of them can be added later.
    said = repr((protocol.base, protocol.tune_s, protocol.tune_steps, protocol.tuned))
    store = Store.cached("kinetics", study_key(walks, said))
    results = run_jobs(jobs, store, engine, {"walks": walks}, done)
    rows = [ForceRow(**row) for name in jobs for row in results[name]["rows"]]
    evidence = [ForceEvidence(**one) for name in jobs for one in results[name]["evidence"]]
    return Found(rows, evidence)


def jobs_of(people: Sequence[str], protocol: Protocol) -> dict[str, tuple[Any, ...]]:
    """Name every job of a study: the mean curve once per person, every core with every seed."""
    jobs: dict[str, tuple[Any, ...]] = {f"{MEAN_CURVE} {p}": (baseline, p) for p in people}
    for seed in range(protocol.seeds):
        for core in protocol.cores:
            config = with_core(protocol.base, core, seed)
            budget = (protocol.tune_s, protocol.tune_steps) if core in protocol.tuned else None
            jobs |= {f"{core} {seed} {p}": (fold, p, config, budget) for p in people}
    return jobs


def document(
    rows: Sequence[ForceRow], evidence: Sequence[ForceEvidence], protocol: Protocol
) -> dict[str, Any]:
    """Put a study together as JSON says it.

    Returns
    -------
    dict
        ``rows``, ``summary``, ``summary_others`` (of the people that no setting was chosen on), ``ranking``
        of the cores, ``intervals``, ``protocol``.
    """
    others = [row for row in rows if row.person not in CHOSEN_ON]
    ranked = [r for r in rows if r.approach in protocol.cores]
    return {
        "protocol": asdict(protocol),
        "delay_samples": protocol.base.delay,
        "people": sorted({row.person for row in rows}),
        "chosen_on": list(CHOSEN_ON),
        "summary": summarise(rows),
        "summary_others": summarise(others),
        "ranking": [entry for axis in FORCE_AXES for entry in ranking(ranked, axis)],
        "intervals": coverage(evidence),
        "rows": [_plain(row) for row in rows],
    }


def _plain(row: ForceRow) -> dict[str, Any]:
    """Return a row as JSON can say it: a number that there was nothing to make of is None."""
    return {name: None if value != value else value for name, value in asdict(row).items()}  # noqa: PLR0124
