"""What pays: variants of the network and of its training, each against the recipe as it is.

Everything is measured on three people held out, the ones settings may be chosen on; what is chosen is then
confirmed by `evaluate` on all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.table import Table

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_training.cores import CORES, MATCHED
from talaria_training.engine import Engine, Store, run_jobs
from talaria_training.evaluate import NET_CODE, held_out_net, run_key
from talaria_training.networks import GaitNet
from talaria_training.scoring import judged_rows, summarise
from talaria_training.splits import first_walk
from talaria_training.train import FINETUNE, MULTI_USER, TrainConfig, finetune, predict
from talaria_training.trials import Trial

TUNING_PEOPLE = ("Sub01", "Sub04", "Sub07")
"""People on whose folds settings may be chosen."""
_LOST_FOOT = LEG_SLOTS.index("calcn_l")


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing done differently.

    Attributes
    ----------
    name : str
    base : TrainConfig
        Of the multi-user network.
    finetune : TrainConfig or None
        Of the personal one; None where the base is what is judged.
    budget_s : float or None
        Seconds of own walking.
    """

    name: str
    base: TrainConfig
    finetune: TrainConfig | None = None
    budget_s: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Mean error of the six sagittal angles on one person, with all sensors and without the left foot."""

    variant: str
    budget_s: float | None
    person: str
    rmse_deg: float
    rmse_offset_removed_deg: float
    lost_foot_rmse_deg: float


def base_variants(steps: int) -> list[Variant]:
    """Variants of the multi-user network, all trained for as many steps."""
    now = replace(MULTI_USER, steps=steps)
    shapes = {core: MATCHED[core] for core in CORES if core != now.core}
    return [
        Variant("as it is (GRU)", now),
        *(
            Variant(f"{core} memory", replace(now, core=core, hidden=hidden, layers=layers))
            for core, (hidden, layers) in shapes.items()
        ),
        Variant("no sensor ever silent", replace(now, absent=0.0)),
        Variant("angles only, no heads", replace(now, heads_weight=0.0)),
        Variant("legs not swapped", replace(now, swap_legs=False)),
        Variant("no turned mounting", replace(now, tilt_deg=0.0)),
        Variant("mounting turned twice as far", replace(now, tilt_deg=2 * now.tilt_deg)),
        Variant("pace varied by 12 %", replace(now, pace=0.12)),
    ]


_SMALL = MappingProxyType({"affine": 2e-2, "norm": 1e-2, "low_rank": 1e-2, "head": 4e-3})
"""Rates for the parts of a network: the fewer numbers learn, the faster they may."""


def finetune_variants(budgets_s: Sequence[float]) -> list[Variant]:
    """Variants of fine-tuning the multi-user network as it is, per budget."""
    made = {
        "everything": FINETUNE,
        "no sensor ever silent": replace(FINETUNE, absent=0.0),
        "sensors silent as in the base": replace(FINETUNE, absent=MULTI_USER.absent),
        "half the rate": replace(FINETUNE, lr=FINETUNE.lr / 2),
        "half the steps": replace(FINETUNE, steps=FINETUNE.steps // 2),
        "affine": replace(FINETUNE, tune="affine", lr=_SMALL["affine"]),
        "norm": replace(FINETUNE, tune="norm", lr=_SMALL["norm"]),
        "low_rank": replace(FINETUNE, tune="low_rank", lr=_SMALL["low_rank"]),
        "head": replace(FINETUNE, tune="head", lr=_SMALL["head"]),
    }
    return [
        Variant(name, MULTI_USER, config, budget_s)
        for budget_s in budgets_s
        for name, config in made.items()
    ]


def run(
    trials: Sequence[Trial],
    variants: Sequence[Variant],
    engine: Engine,
    done: Callable[[str], None] = lambda name: None,
    people: Sequence[str] = TUNING_PEOPLE,
) -> list[Outcome]:
    """Measure every variant on every one of a few people, each held out; finished ones are kept.

    Raises
    ------
    RecordingError
        If one of these people is not there.
    """
    missing = sorted(set(people) - {trial.person for trial in trials})
    if missing:
        raise RecordingError(
            f"{', '.join(missing)} is not in the data, and settings are chosen on {', '.join(people)} alone: "
            "give the whole set."
        )
    jobs = {
        f"{variant.name}, {variant.budget_s}, {person}": (_measure, variant, person)
        for variant in variants
        for person in people
    }
    # A job's key is its own: one variant more must not make all others run again.
    key = run_key(trials, "".join(sorted(people)), *NET_CODE, "ablation", "splits", "scoring")
    keys = {name: f"{name}, {job[1]!r}" for name, job in jobs.items()}
    store = Store.cached("ablation", key)
    found = run_jobs(
        {keys[name]: job for name, job in jobs.items()}, store, engine, {"trials": trials}, done
    )
    return [Outcome(**found[keys[name]]) for name in jobs]


def _measure(variant: Variant, person: str, *, trials: Sequence[Trial]) -> Outcome:
    mine = [trial for trial in trials if trial.person == person]
    net = held_out_net(trials, (person,), variant.base)
    if variant.finetune is not None and variant.budget_s is not None:
        net = finetune(net, first_walk(mine, variant.budget_s), variant.finetune)
    whole, lost = _error(net, mine), _error(net, [_without(trial, _LOST_FOOT) for trial in mine])
    return Outcome(variant.name, variant.budget_s, person, *whole, lost[0])


def _error(net: GaitNet, trials: Sequence[Trial]) -> tuple[float, float]:
    rows = judged_rows("variant", trials, [predict(net, trial.features) for trial in trials], None)
    mean = next(iter(summarise(rows).values()))["sagittal_mean"]
    return mean["rmse_deg_mean"], mean["rmse_offset_removed_deg_mean"]


def _without(trial: Trial, slot: int) -> Trial:
    features = trial.features.copy()
    features[:, 9 * slot : 9 * slot + 9] = 0.0
    features[:, 9 * len(LEG_SLOTS) + slot] = 0.0
    return replace(trial, features=features)


def document(outcomes: Sequence[Outcome], steps: int) -> dict[str, Any]:
    """Put the outcomes as JSON says them."""
    return {
        "people": sorted({one.person for one in outcomes}),
        "base_steps": steps,
        "outcomes": [asdict(one) for one in outcomes],
    }


def table(found: Mapping[str, Any]) -> Table:
    """Show mean over people, variants down."""
    people = found["people"]
    shown = Table(title=f"Mean of the six sagittal angles on {', '.join(people)}, each held out, °")
    shown.add_column("variant")
    for heading in ("own seconds", "RMSE", "offset removed", "left foot lost"):
        shown.add_column(heading, justify="right")
    groups: dict[tuple[str, float | None], list[Mapping[str, Any]]] = {}
    for one in found["outcomes"]:
        groups.setdefault((one["variant"], one["budget_s"]), []).append(one)
    for (name, budget_s), group in groups.items():
        fields = ("rmse_deg", "rmse_offset_removed_deg", "lost_foot_rmse_deg")
        means = (f"{np.mean([one[field] for one in group]):.2f}" for field in fields)
        shown.add_row(name, "–" if budget_s is None else f"{budget_s:g}", *means)
    return shown
