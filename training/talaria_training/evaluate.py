"""How good it is on people it never saw: protocols that hold people out.

Every approach is tested on the last 60 % of every recording. Personal approaches see so many seconds of
walking, shared evenly by the person's recordings, from each one's first step on and never beyond its first
40 %. Input calibration uses the first 20 %.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import ANGLES
from talaria_training.baselines import curve_at, mean_curve
from talaria_training.cache import cache_folder, source_digest
from talaria_training.data.recording import Recording
from talaria_training.engine import Engine, Store, run_jobs
from talaria_training.hur2025 import HurSettings, hur_rows
from talaria_training.intervals import Evidence, evidence
from talaria_training.networks import GaitNet
from talaria_training.optical import RECORDING as OPTICAL_RECORDING
from talaria_training.optical import Optical
from talaria_training.scoring import Row, judged_rows, score
from talaria_training.splits import first_walk
from talaria_training.train import (
    FINETUNE,
    MULTI_USER,
    SINGLE_USER,
    Progress,
    TrainConfig,
    finetune,
    new_net,
    outputs,
    predict,
    train,
)
from talaria_training.trials import Trial

BUDGETS_S = (5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
"""Seconds of labelled walking a personal approach is given."""
OPTICAL_BUDGET_S = 9.0
"""Seconds of optical labels; the rest of the optical stretch is what all approaches are judged on."""
NET_CODE = ("networks", "cores", "attention", "selective", "adapters", "adapt", "train")
"""Modules a trained network depends on."""
_PUBLISHED_CODE = ("hur2025", "hur2025_data", "hur2025_net", "scoring", "splits")


@dataclass(frozen=True, slots=True)
class Scored:
    """What one or more folds found: errors, and what intervals can be read off."""

    rows: list[Row] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)

    def __iadd__(self, other: Scored) -> Self:
        """Take in what another found."""
        self.rows.extend(other.rows)
        self.evidence.extend(other.evidence)
        return self


@dataclass(frozen=True, slots=True)
class Recipe:
    """The training runs of a fold."""

    base: TrainConfig = MULTI_USER
    finetune: TrainConfig = FINETUNE
    single: TrainConfig = SINGLE_USER
    budgets_s: tuple[float, ...] = BUDGETS_S

    @classmethod
    def of(cls, steps: int | None, budgets_s: tuple[float, ...]) -> Recipe:
        """Choose the budgets, and cut all runs to `steps` for a look at the plumbing, not the numbers."""
        if steps is None:
            return cls(budgets_s=budgets_s)
        base, tune, single = (replace(c, steps=steps) for c in (MULTI_USER, FINETUNE, SINGLE_USER))
        return cls(base, tune, single, budgets_s)


def held_out_net(
    trials: Sequence[Trial],
    left_out: Sequence[str],
    config: TrainConfig,
    progress: Progress | None = None,
) -> GaitNet:
    """Train on everybody but some people, or find the network that was trained so before."""
    others = [trial for trial in trials if trial.person not in left_out]
    file = cache_folder("nets") / f"{run_key(others, repr(config), *NET_CODE)}.safetensors"
    if not file.exists():
        net = train(others, config, progress)
        scratch = file.with_suffix(f".{os.getpid()}")
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, scratch)
        scratch.replace(file)
    net = new_net(others[0].features.shape[1], config)
    net.load_state_dict(load_file(file))
    return net.eval()


def personal(
    base: GaitNet, trials: Sequence[Trial], recipe: Recipe, optical: Optical | None = None
) -> Scored:
    """Score one unseen person: the base as it is, and per budget fine-tuned and single-user."""
    found = _scored("multi_user", base, trials, optical)
    for budget_s in recipe.budgets_s:
        first = first_walk(trials, budget_s)
        if not first:
            continue
        tuned, alone = finetune(base, first, recipe.finetune), train(first, recipe.single)
        found += _scored("fine_tuned", tuned, trials, optical, budget_s)
        found += _scored("single_user", alone, trials, optical, budget_s)
        mean = np.nanmean(np.concatenate([trial.angles_rad for trial in first]), axis=0)
        guess = [np.broadcast_to(mean, trial.angles_rad.shape) for trial in trials]
        found.rows.extend(judged_rows("person_mean", trials, guess, optical, budget_s))
    return found


def fold(
    person: str, *, trials: Sequence[Trial], recipe: Recipe, optical: Optical | None = None
) -> Scored:
    """Hold one person out: train on all others, then score every approach on that person."""
    base = held_out_net(trials, (person,), recipe.base)
    others = [trial for trial in trials if trial.person != person]
    mine = [trial for trial in trials if trial.person == person]
    found = _person(base, mine, recipe, optical)
    curve = mean_curve(others)
    guess = [curve_at(curve, trial.features) for trial in mine]
    found.rows.extend(judged_rows("train_mean", mine, guess, _rest(mine, optical)))
    return found


def unseen_fold(
    person: str,
    *,
    trials: Sequence[Trial],
    recipe: Recipe,
    optical: Optical | None,
    weights: Mapping[str, Any],
    config: TrainConfig,
) -> Scored:
    """Score a released network, given by its weights, on a person it never saw."""
    base = new_net(trials[0].features.shape[1], config)
    base.load_state_dict(dict(weights))
    mine = [trial for trial in trials if trial.person == person]
    return _person(base.eval(), mine, recipe, optical)


def _person(
    base: GaitNet, trials: Sequence[Trial], recipe: Recipe, optical: Optical | None
) -> Scored:
    found = personal(base, trials, recipe, _rest(trials, optical))
    if optical is not None and any(t.name == OPTICAL_RECORDING for t in trials):
        found.rows.extend(_optical_rows(base, trials, recipe, optical))
    return found


def _rest(trials: Sequence[Trial], optical: Optical | None) -> Optical | None:
    """Keep of the optical stretch what nothing is learned from, for the person who has one."""
    if optical is None or all(trial.name != OPTICAL_RECORDING for trial in trials):
        return None
    return optical.rest(OPTICAL_BUDGET_S)


def _scored(
    approach: str,
    net: GaitNet,
    trials: Sequence[Trial],
    optical: Optical | None,
    budget_s: float | None = None,
) -> Scored:
    said = [outputs(net, trial.features) for trial in trials]
    angles = [y[:, : len(ANGLES)] for y in said]
    return Scored(
        judged_rows(approach, trials, angles, optical, budget_s),
        evidence(approach, trials, said, budget_s),
    )


def _optical_rows(
    base: GaitNet, trials: Sequence[Trial], recipe: Recipe, optical: Optical
) -> list[Row]:
    """Fine-tune on the first seconds of optical labels, and set OpenSense beside it on all others."""
    trial = next(trial for trial in trials if trial.name == OPTICAL_RECORDING)
    t_s = np.arange(len(trial.features)) / trial.rate_hz
    mine, theirs = optical.overlap(t_s)
    seen = slice(mine.start, mine.start + round(OPTICAL_BUDGET_S * trial.rate_hz))
    labels = np.full_like(trial.angles_rad, np.nan)
    labels[mine] = optical.angles_rad[theirs]
    length = len(trial.features)
    first = replace(trial, angles_rad=labels).part(seen.start / length, seen.stop / length)
    rest = optical.rest(OPTICAL_BUDGET_S)
    judged, truth = rest.overlap(t_s)
    said: dict[str, NDArray[Any]] = {
        "fine_tuned_optical": predict(finetune(base, [first], recipe.finetune), trial.features)[
            judged
        ],
        "opensense": rest.opensense_rad[truth],
    }
    rows: list[Row] = []
    for approach, output in said.items():
        budget_s = OPTICAL_BUDGET_S if approach == "fine_tuned_optical" else None
        pairs = [(output, rest.angles_rad[truth])]
        rows += score(approach, "optical", trial.person, pairs, budget_s)
    return rows


def leave_one_out(
    trials: Sequence[Trial],
    recipe: Recipe,
    optical: Optical | None,
    engine: Engine,
    done: Callable[[str], None] = lambda person: None,
) -> Scored:
    """Run every fold, several at a time; finished folds are kept and not run again.

    Raises
    ------
    RecordingError
        If there are not two people.
    TalariaError
        If a fold failed.
    """
    people = sorted({trial.person for trial in trials})
    if len(people) < 2:
        raise RecordingError(
            f"Leaving one person out of {len(people)} leaves nobody to train on: give recordings of "
            "at least two people."
        )
    shared = {"trials": trials, "recipe": recipe, "optical": optical}
    jobs = {person: (fold, person) for person in people}
    return _all(jobs, rows_key(trials, recipe, optical), engine, shared, done)


def unseen(
    base: GaitNet,
    trials: Sequence[Trial],
    recipe: Recipe,
    optical: Optical | None,
    engine: Engine,
    done: Callable[[str], None] = lambda person: None,
) -> Scored:
    """Score a released model on people it never saw: as it is, fine-tuned, and against single-user."""
    jobs = {person: (unseen_fold, person) for person in sorted({trial.person for trial in trials})}
    shared = {
        "trials": trials,
        "recipe": recipe,
        "optical": optical,
        "weights": base.state_dict(),
        "config": replace(recipe.base, hidden=base.hidden, layers=base.layers, core=base.core),
    }
    weights = b"".join(v.numpy().tobytes() for v in base.state_dict().values())
    return _all(jobs, rows_key(trials, recipe, optical, weights), engine, shared, done)


def published(
    recordings: Sequence[Recording],
    trials: Sequence[Trial],
    optical: Optical | None,
    engine: Engine,
    done: Callable[[str], None] = lambda person: None,
    settings: HurSettings | None = None,
) -> list[Row]:
    """Score the recipe of Hur et al. 2025 on the same people, splits and samples."""
    settings = settings or HurSettings()
    people = sorted({trial.person for trial in trials if trial.reference != "none"})
    shared = {
        "recordings": recordings,
        "trials": trials,
        "settings": settings,
        "optical": optical.rest(OPTICAL_BUDGET_S) if optical else None,
    }
    key = run_key(trials, f"{settings!r}{optical is not None}", *_PUBLISHED_CODE)
    jobs = {person: (hur_rows, person) for person in people}
    results = run_jobs(jobs, Store.cached("folds", key), engine, shared, done)
    return [Row(**row) for person in jobs for row in results[person]]


def _all(
    jobs: Mapping[str, tuple[Any, ...]],
    key: str,
    engine: Engine,
    shared: Mapping[str, Any],
    done: Callable[[str], None],
) -> Scored:
    results = run_jobs(jobs, Store.cached("folds", key), engine, shared, done)
    found = Scored()
    for person in jobs:
        found.rows.extend(Row(**row) for row in results[person]["rows"])
        found.evidence.extend(Evidence(**one) for one in results[person]["evidence"])
    return found


def rows_key(
    trials: Sequence[Trial], recipe: Recipe, optical: Optical | None, weights: bytes = b""
) -> str:
    """Digest everything the rows of a protocol depend on."""
    said = f"{recipe!r}{optical is not None}{hashlib.sha256(weights).hexdigest()}"
    return run_key(
        trials, said, *NET_CODE, "evaluate", "splits", "scoring", "baselines", "intervals"
    )


def run_key(trials: Sequence[Trial], said: str, *code: str) -> str:
    """Digest trials, settings and our own modules, so that no result outlives what it came from."""
    digest = hashlib.sha256(said.encode() + source_digest(*code).encode())
    for trial in trials:
        digest.update(trial.name.encode())
        for array in (trial.features, trial.angles_rad, trial.contact, trial.cycle):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]
