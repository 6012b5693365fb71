"""Joint moments from thigh and foot sensors on people held out, beside the mean curve at the plates' phase."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_training.cores import CoreName
from talaria_training.engine import Engine, Store, run_jobs
from talaria_training.kinetics.dynamics import JOINTS, MOMENTS
from talaria_training.kinetics.force_curve import stride_phase
from talaria_training.kinetics.force_folds import MEAN_CURVE, study_key
from talaria_training.kinetics.force_net import ForceConfig, train_forces, with_core
from talaria_training.kinetics.force_scores import ForceEvidence
from talaria_training.kinetics.force_study import CHOSEN_ON
from talaria_training.kinetics.force_summary import coverage
from talaria_training.kinetics.moment_data import LegTargets, MomentWalk
from talaria_training.kinetics.moment_net import (
    MOMENT,
    MOMENT_SPREAD,
    MomentConfig,
    moment_outputs,
    train_moments,
)
from talaria_training.kinetics.moment_scores import MomentRow, moment_evidence, score_moments

MEASURES = (
    "rmse_nm_kg",
    "mae_nm_kg",
    "r2",
    "level_rmse_nm_kg",
    "highest_nm_kg",
    "lowest_nm_kg",
)
"""The numbers of a `MomentRow`."""
_CODE = tuple(
    f"talaria_training.kinetics.{m}"
    for m in ("moment_data", "moment_net", "moment_scores", "moment_study", "pooled")
)
_POINTS = 101
_GRID = np.linspace(0.0, 1.0, _POINTS)


@dataclass(frozen=True, slots=True)
class MomentProtocol:
    """What a study of moments trains."""

    core: CoreName = "lstm"
    seeds: int = 1
    forces: ForceConfig = field(default_factory=ForceConfig)
    moments: MomentConfig = field(default_factory=MomentConfig)


@dataclass(frozen=True, slots=True)
class Found:
    """What one job found, or all of them."""

    rows: list[MomentRow]
    evidence: list[ForceEvidence]


def study(
    walks: Sequence[MomentWalk],
    protocol: MomentProtocol,
    engine: Engine,
    done: Callable[[str], object] = lambda name: None,
) -> Found:
    """Hold out every person who has moments; finished folds are kept and not run again.

    Parameters
    ----------
    walks : sequence of MomentWalk
        Those without moments teach forces.
    protocol : MomentProtocol
    engine : Engine
    done : callable
        Told each finished job's name.

    Raises
    ------
    RecordingError
        If not two people have moments.
    TalariaError
        If a job failed.
    """
    people = people_of(walks)
    if len(people) < 2:
        raise RecordingError(
            f"Joint moments are known of {len(people)} people, and holding one out leaves nobody to learn "
            "from: give recordings with force plates and orientations of at least two."
        )
    jobs = jobs_of(people, protocol)
    both = list(chain.from_iterable((walk.walk, walk.as_forces()) for walk in walks))
    # Without core and seeds, which jobs are named by: more of them can be added later.
    key = study_key(both, repr((protocol.forces, protocol.moments)), *_CODE)
    results = run_jobs(jobs, Store.cached("kinetics", key), engine, {"walks": walks}, done)
    rows = [MomentRow(**row) for name in jobs for row in results[name]["rows"]]
    evidence = [ForceEvidence(**one) for name in jobs for one in results[name]["evidence"]]
    return Found(rows, evidence)


def people_of(walks: Sequence[MomentWalk]) -> list[str]:
    """Return who has moments."""
    return sorted({walk.person for walk in walks if np.isfinite(walk.moment_nm_kg).any()})


def jobs_of(people: Sequence[str], protocol: MomentProtocol) -> dict[str, tuple[Any, ...]]:
    """Name every job of a study: the mean curve once per person, the network with every seed."""
    jobs: dict[str, tuple[Any, ...]] = {f"moments {MEAN_CURVE} {p}": (baseline, p) for p in people}
    for seed in range(protocol.seeds):
        config = with_core(protocol.forces, protocol.core, seed)
        for person in people:
            name = f"moments {protocol.core} {seed} {person}"
            jobs[name] = (fold, person, config, protocol.moments)
    return jobs


def fold(
    person: str, forces: ForceConfig, moments: MomentConfig, *, walks: Sequence[MomentWalk]
) -> Found:
    """Train forces, then moments, without one person, and score the moments on that person."""
    others = [walk for walk in walks if walk.person != person]
    base = train_forces([walk.walk for walk in others], forces)
    net = train_moments(base, others, moments)
    mine = [walk for walk in walks if walk.person == person]
    said = [moment_outputs(net, walk.walk.trial.features) for walk in mine]
    about = (forces.windows.core, forces.windows.seed, mine, [y[:, MOMENT] for y in said])
    return Found(
        score_moments(*about), moment_evidence(*about, [y[:, MOMENT_SPREAD] for y in said])
    )


def baseline(person: str, *, walks: Sequence[MomentWalk]) -> Found:
    """Score the others' mean moment over the stride, read at the plates' own phase, which favours it."""
    curve = mean_moment([walk for walk in walks if walk.person != person])
    mine = [walk for walk in walks if walk.person == person]
    said = [moment_at(curve, walk) for walk in mine]
    return Found(score_moments(MEAN_CURVE, 0, mine, said), [])


def mean_moment(walks: Sequence[MomentWalk]) -> NDArray[np.float64]:
    """Average the moments over the stride of their own leg: shape (101, 6), walks by length."""
    total = np.zeros((_POINTS, len(MOMENTS)))
    count = np.zeros_like(total)
    for walk in walks:
        phase = _phase(walk)
        for j in range(len(MOMENTS)):
            known = np.isfinite(phase[:, j]) & np.isfinite(walk.moment_nm_kg[:, j])
            at = np.round(phase[known, j] * (_POINTS - 1)).astype(int)
            np.add.at(total[:, j], at, walk.moment_nm_kg[known, j])
            np.add.at(count[:, j], at, 1)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def moment_at(curve: NDArray[np.float64], walk: MomentWalk) -> NDArray[np.float64]:
    """Read the mean moment (101, 6) at a walk's phases, shape (T, 6); NaN where there is no phase."""
    phase = _phase(walk)
    read = [np.interp(phase[:, j], _GRID, curve[:, j]) for j in range(len(MOMENTS))]
    return np.where(np.isfinite(phase), np.stack(read, axis=1), np.nan)


def _phase(walk: MomentWalk) -> NDArray[np.float64]:
    return np.repeat(stride_phase(walk.walk), len(JOINTS), axis=1)


def document(found: Found, legs: Sequence[LegTargets], protocol: MomentProtocol) -> dict[str, Any]:
    """Put a study together as JSON says it.

    Returns
    -------
    dict
        ``targets`` (what was left out), ``rows``, ``summary``, ``summary_others`` (of the people that no
        setting was chosen on), ``intervals``, ``protocol``.
    """
    others = [row for row in found.rows if row.person not in CHOSEN_ON]
    return {
        "protocol": asdict(protocol),
        "people": sorted({row.person for row in found.rows}),
        "chosen_on": list(CHOSEN_ON),
        "targets": [asdict(leg) for leg in legs],
        "summary": summarise(found.rows),
        "summary_others": summarise(others),
        "intervals": [_in_nm_kg(row) for row in coverage(found.evidence)],
        "rows": [asdict(row) for row in found.rows],
    }


def _in_nm_kg(row: dict[str, Any]) -> dict[str, Any]:
    """Say a half-width in N·m/kg that was counted in hundredths of the scale's unit."""
    half = row.pop("half_width_bw_pct") / 100.0
    return row | {"half_width_nm_kg": half}


def summarise(rows: Sequence[MomentRow]) -> list[dict[str, Any]]:
    """Average over people, and over each one's seeds first; with the standard deviation over people."""
    table = []
    for approach, condition, joint in dict.fromkeys(
        (r.approach, r.condition, r.joint) for r in rows
    ):
        mine = [
            r for r in rows if (r.approach, r.condition, r.joint) == (approach, condition, joint)
        ]
        people = sorted({r.person for r in mine})
        entry: dict[str, Any] = {"approach": approach, "condition": condition, "joint": joint}
        entry["people"] = len(people)
        for what in MEASURES:
            each = [_mean([getattr(r, what) for r in mine if r.person == p]) for p in people]
            known = [value for value in each if value is not None]
            entry[what] = _mean(known)
            entry[f"{what}_sd_people"] = float(np.std(known, ddof=1)) if len(known) > 1 else None
        table.append(entry)
    return table


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
