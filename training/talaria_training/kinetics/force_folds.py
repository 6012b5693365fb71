"""One fold of a force study: trained without one person, judged on that person, and once more fine-tuned."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talaria_training.evaluate import NET_CODE, run_key
from talaria_training.kinetics.force_curve import force_at, mean_force
from talaria_training.kinetics.force_data import Walk, first_forces
from talaria_training.kinetics.force_net import (
    FORCES,
    SPREAD,
    ForceConfig,
    ForceNet,
    aligned,
    force_outputs,
    train_forces,
    tune_forces,
)
from talaria_training.kinetics.force_scores import (
    ForceEvidence,
    ForceRow,
    force_evidence,
    score_forces,
)

MEAN_CURVE = "mean_curve"
_CODE = (
    *NET_CODE,
    "splits",
    *(
        f"talaria_training.kinetics.{m}"
        for m in (
            "force_curve",
            "force_data",
            "force_folds",
            "force_net",
            "force_scores",
            "stances",
        )
    ),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What one job found, or all of them."""

    rows: list[ForceRow]
    evidence: list[ForceEvidence]


def baseline(person: str, *, walks: Sequence[Walk]) -> Found:
    """Score what knows nothing but the phase of the stride: the others' mean force at it."""
    curve = mean_force([walk for walk in walks if walk.trial.person != person])
    mine = [walk for walk in walks if walk.trial.person == person]
    said = [force_at(curve, walk) for walk in mine]
    return Found(score_forces(MEAN_CURVE, 0, mine, said), [])


def fold(
    person: str,
    config: ForceConfig,
    budget: tuple[float, int] | None,
    *,
    walks: Sequence[Walk],
) -> Found:
    """Train without one person, score on that person, and once more after fine-tuning if asked to.

    Parameters
    ----------
    person : str
    config : ForceConfig
    budget : (seconds, steps), optional
        Of fine-tuning.
    walks : sequence of Walk
        Everybody's.
    """
    base = train_forces([walk for walk in walks if walk.trial.person != person], config)
    mine = [walk for walk in walks if walk.trial.person == person]
    found = _judged(config.windows.core, base, mine, config)
    own = [] if budget is None else first_forces(mine, budget[0])
    if budget is not None and own:
        tuned = tune_forces(base, own, tuning(config, budget[1]))
        more = _judged(f"{config.windows.core}, tuned", tuned, mine, config)
        found = Found(found.rows + more.rows, found.evidence + more.evidence)
    return found


def tuning(config: ForceConfig, steps: int) -> ForceConfig:
    """Return the configuration that fine-tunes what `config` trained."""
    windows = replace(
        config.windows, steps=steps, batch=8, lr=2e-3, swap_legs=False, tilt_deg=1.0, absent=0.1
    )
    return replace(config, windows=windows)


def _judged(approach: str, net: ForceNet, walks: Sequence[Walk], config: ForceConfig) -> Found:
    said = [aligned(force_outputs(net, walk.trial.features), config.delay) for walk in walks]
    seed = config.windows.seed
    force: list[NDArray[np.float32]] = [y[:, FORCES] for y in said]
    spread = [y[:, SPREAD] for y in said]
    return Found(
        score_forces(approach, seed, walks, force),
        force_evidence(approach, seed, walks, force, spread),
    )


def study_key(walks: Sequence[Walk], said: str, *code: str) -> str:
    """Digest walks, settings and code; what a job's name says (core, seed) may be left out of `said`."""
    digest = hashlib.sha256()
    for walk in walks:
        digest.update(walk.force_bw.tobytes())
    return run_key([walk.trial for walk in walks], said + digest.hexdigest(), *_CODE, *code)
