"""What pays: variants of the network and of its training, each against the recipe as it is.

Everything is measured on three people held out, the ones settings may be chosen on; what is chosen is then
confirmed by `evaluate` on all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy.signal import lfilter

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.features import channels
from talaria_edge.kinematics import ANGLES, SAGITTAL
from talaria_training.cores import MATCHED
from talaria_training.engine import Engine, Store, run_jobs
from talaria_training.evaluate import NET_CODE, held_out_net, run_key
from talaria_training.networks import GaitNet
from talaria_training.scoring import judged_rows, summarise
from talaria_training.splits import first_walk
from talaria_training.train import FINETUNE, MULTI_USER, TrainConfig, finetune, predict, train
from talaria_training.trials import Trial

Floats = NDArray[np.float32]

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
    silent : {"acc", "gyr", "up"} or None
        Features that neither training nor test has.
    teachers : tuple of TrainConfig
        Networks whose mean is judged, or learned from.
    taught : bool
        Train a network of `base` on the mean of its teachers instead of the reference.
    low_pass_hz : float or None
        Corner of a causal one-pole filter behind the network.
    """

    name: str
    base: TrainConfig
    finetune: TrainConfig | None = None
    budget_s: float | None = None
    silent: Literal["acc", "gyr", "up"] | None = None
    teachers: tuple[TrainConfig, ...] = ()
    taught: bool = False
    low_pass_hz: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Mean error of the six sagittal angles on one person, with all sensors and without the left foot.

    Roughness is the root mean square of the angular acceleration said, over the reference's.
    """

    variant: str
    budget_s: float | None
    person: str
    rmse_deg: float
    rmse_offset_removed_deg: float
    lost_foot_rmse_deg: float
    roughness: float


def base_variants(steps: int) -> list[Variant]:
    """Variants of the multi-user network, all trained for as many steps."""
    now = replace(MULTI_USER, steps=steps)
    cores = {
        core: replace(now, core=core, hidden=hidden, layers=layers)
        for core, (hidden, layers) in MATCHED.items()
        if core != now.core
    }
    varied = replace(now, pace=0.12)
    three = (now, varied, cores["lstm"])
    return [
        Variant("as it is (GRU)", now),
        *(Variant(f"{core} memory", config) for core, config in cores.items()),
        Variant("mean of three networks", now, teachers=three),
        Variant("one network taught by these three", now, teachers=three, taught=True),
        Variant("no specific force", now, silent="acc"),
        Variant("no angular rate", now, silent="gyr"),
        Variant("no inclination", now, silent="up"),
        Variant("angles through a low-pass of 6 Hz", now, low_pass_hz=6.0),
        Variant("no sensor ever silent", replace(now, absent=0.0)),
        Variant("angles only, no heads", replace(now, heads_weight=0.0)),
        Variant("legs not swapped", replace(now, swap_legs=False)),
        Variant("no turned mounting", replace(now, tilt_deg=0.0)),
        Variant("mounting turned twice as far", replace(now, tilt_deg=2 * now.tilt_deg)),
        Variant("pace varied by 12 %", varied),
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
    keys = {
        name: f"{name}, {hashlib.sha256(repr(job[1]).encode()).hexdigest()[:16]}"
        for name, job in jobs.items()
    }
    store = Store.cached("ablation", key)
    found = run_jobs(
        {keys[name]: job for name, job in jobs.items()}, store, engine, {"trials": trials}, done
    )
    return [Outcome(**found[keys[name]]) for name in jobs]


def _measure(variant: Variant, person: str, *, trials: Sequence[Trial]) -> Outcome:
    trials = [_silenced(trial, variant.silent) for trial in trials]
    mine = [trial for trial in trials if trial.person == person]
    nets = _nets(variant, trials, person)
    lost = [_without(trial, _LOST_FOOT) for trial in mine]
    said, said_lost = (
        [_said(nets, trial, variant.low_pass_hz) for trial in those] for those in (mine, lost)
    )
    roughness = _acceleration(said) / _acceleration([trial.angles_rad for trial in mine])
    return Outcome(
        variant.name,
        variant.budget_s,
        person,
        *_error(mine, said),
        _error(lost, said_lost)[0],
        roughness,
    )


def _nets(variant: Variant, trials: Sequence[Trial], person: str) -> list[GaitNet]:
    """Train what a variant consists of; the mean of what these say is judged."""
    nets = [held_out_net(trials, (person,), each) for each in variant.teachers or (variant.base,)]
    if variant.taught:
        others = [trial for trial in trials if trial.person != person]
        lessons = [replace(trial, angles_rad=_said(nets, trial, None)) for trial in others]
        return [train(lessons, variant.base).eval()]
    if variant.finetune is not None and variant.budget_s is not None:
        mine = [trial for trial in trials if trial.person == person]
        return [finetune(nets[0], first_walk(mine, variant.budget_s), variant.finetune)]
    return nets


def _said(nets: Sequence[GaitNet], trial: Trial, low_pass_hz: float | None) -> Floats:
    said: Floats = np.mean([predict(net, trial.features) for net in nets], axis=0)
    if low_pass_hz is not None:
        gain = 1.0 - np.exp(-2.0 * np.pi * low_pass_hz / trial.rate_hz)
        # Begins as if the first angles had always been there.
        said = lfilter([gain], [1.0, gain - 1.0], said, axis=0, zi=said[:1] * (1.0 - gain))[0]
    return said.astype(np.float32)


def _acceleration(angles_rad: Sequence[Floats]) -> float:
    """Root mean square second difference of the sagittal angles, per sample squared."""
    columns = [ANGLES.index(name) for name in SAGITTAL]
    turns = np.concatenate([np.diff(each[:, columns], n=2, axis=0).ravel() for each in angles_rad])
    return float(np.sqrt(np.nanmean(turns**2)))


def _error(trials: Sequence[Trial], said: Sequence[Floats]) -> tuple[float, float]:
    mean = next(iter(summarise(judged_rows("variant", trials, said, None)).values()))
    sagittal = mean["sagittal_mean"]
    return sagittal["rmse_deg_mean"], sagittal["rmse_offset_removed_deg_mean"]


def _silenced(trial: Trial, kind: str | None) -> Trial:
    if kind is None:
        return trial
    features = trial.features.copy()
    features[:, [f".{kind}_" in channel.name for channel in channels()]] = 0.0
    return replace(trial, features=features)


def _without(trial: Trial, slot: int) -> Trial:
    features = trial.features.copy()
    features[:, [c.name.startswith(f"{LEG_SLOTS[slot]}.") for c in channels()]] = 0.0
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
    for heading in ("own seconds", "RMSE", "offset removed", "left foot lost", "roughness"):
        shown.add_column(heading, justify="right")
    groups: dict[tuple[str, float | None], list[Mapping[str, Any]]] = {}
    for one in found["outcomes"]:
        groups.setdefault((one["variant"], one["budget_s"]), []).append(one)
    for (name, budget_s), group in groups.items():
        fields = ("rmse_deg", "rmse_offset_removed_deg", "lost_foot_rmse_deg", "roughness")
        means = (f"{np.mean([one[field] for one in group]):.2f}" for field in fields)
        shown.add_row(name, "–" if budget_s is None else f"{budget_s:g}", *means)
    return shown
