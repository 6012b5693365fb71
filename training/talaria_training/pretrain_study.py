"""Does a start that has seen movement before beat a start from nothing? Measured at equal effort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from talaria_training.engine import Engine, Store, run_jobs
from talaria_training.evaluate import NET_CODE, run_key
from talaria_training.networks import GaitNet
from talaria_training.pretrain import MaskConfig, masked, on_virtual
from talaria_training.scoring import Row, judged_rows, report
from talaria_training.splits import first_walk
from talaria_training.train import FINETUNE, MULTI_USER, TrainConfig, finetune, predict, train
from talaria_training.trials import Trial

Start = Literal["nothing", "virtual", "masked"]
STARTS: tuple[Start, ...] = get_args(Start)
BUDGET_S = 10.0
"""Seconds of the wearer's own labelled walking, shared by all recordings."""
_CODE = (*NET_CODE, "pretrain", "pretrain_study", "scoring", "splits")


@dataclass(frozen=True, slots=True)
class Effort:
    """Training of every base, of which the first `before` steps are pre-training.

    Who starts from nothing trains on reference angles all the time, so that all cost the same.
    """

    before: int = 400
    base: TrainConfig = MULTI_USER
    tuning: TrainConfig = FINETUNE


def study(
    people: Sequence[str],
    trials: Sequence[Trial],
    virtual: Sequence[Trial],
    effort: Effort,
    engine: Engine,
    done: Callable[[str], object] = lambda name: None,
) -> dict[str, Any]:
    """Hold each of some people out, train a base from every start, and score it; finished runs are kept.

    Parameters
    ----------
    people : sequence of str
        Whom to test, one at a time.
    trials : sequence of Trial
        Everybody's.
    virtual : sequence of Trial
        Nobody's who is tested.
    effort : Effort
    engine : Engine
    done : callable
        Told each finished run's name.

    Returns
    -------
    dict
        A report as of `scoring.report`.
    """
    shared = {"trials": trials, "virtual": virtual, "effort": effort}
    jobs = {f"{p} {start}": (compare, p, start) for p in people for start in STARTS}
    store = Store.cached("pretrain", run_key([*trials, *virtual], repr(effort), *_CODE))
    results = run_jobs(jobs, store, engine, shared, done)
    rows = [Row(**row) for name in jobs for row in results[name]]
    extra = {"steps": effort.base.steps, "of which before": effort.before}
    return report("pretrain", rows, (), extra)


def compare(
    person: str,
    start: Start,
    *,
    trials: Sequence[Trial],
    virtual: Sequence[Trial],
    effort: Effort,
) -> list[Row]:
    """Score one start on one person held out, as it is and fine-tuned on `BUDGET_S`.

    Returns
    -------
    list of Row
        Approaches ``START`` and ``START, tuned``, on the last 60 % of each recording.
    """
    others = [trial for trial in trials if trial.person != person]
    mine = [trial for trial in trials if trial.person == person]
    base = base_from(start, others, virtual, effort)
    tuned = finetune(base, first_walk(mine, BUDGET_S), effort.tuning)
    rows: list[Row] = []
    for approach, net, budget_s in ((start, base, None), (f"{start}, tuned", tuned, BUDGET_S)):
        said = [predict(net, trial.features) for trial in mine]
        rows += judged_rows(approach, mine, said, None, budget_s)
    return rows


def base_from(
    start: Start, real: Sequence[Trial], virtual: Sequence[Trial], effort: Effort
) -> GaitNet:
    """Train a base on real trials from one of the starts."""
    if start == "nothing":
        return train(real, effort.base)
    before = replace(effort.base, steps=effort.before)
    after = replace(effort.base, steps=effort.base.steps - effort.before)
    if start == "virtual":
        return train(real, after, start=on_virtual(virtual, real, before))
    config = MaskConfig(train=replace(before, absent=0.0))
    return train(real, after, start=masked(real, config))
