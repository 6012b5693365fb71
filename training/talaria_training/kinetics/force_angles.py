"""Where the error comes from: the same network fed with joint angles, the reference's and our own model's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from talaria_edge.kinematics import ANGLES, SIDES
from talaria_training.engine import Engine, Store, run_jobs
from talaria_training.evaluate import held_out_net
from talaria_training.kinetics.force_data import Walk
from talaria_training.kinetics.force_folds import study_key
from talaria_training.kinetics.force_net import (
    FORCES,
    ForceConfig,
    aligned,
    force_outputs,
    train_forces,
)
from talaria_training.kinetics.force_scores import ForceRow, score_forces
from talaria_training.train import MULTI_USER, TrainConfig, predict
from talaria_training.trials import Trial

REFERENCE, ESTIMATED = "reference angles", "estimated angles"
Angles = Mapping[str, NDArray[np.float32]]
_PER_SLOT = 9
_SLOTS_OF_SIDE = {"r": (0, 2), "l": (1, 3)}


def estimated_angles(
    trials: Sequence[Trial],
    config: TrainConfig = MULTI_USER,
    done: Callable[[str], object] = lambda person: None,
) -> dict[str, NDArray[np.float32]]:
    """Estimate every trial's angles (T, 10) by the released recipe, trained without its person."""
    found: dict[str, NDArray[np.float32]] = {}
    for person in sorted({trial.person for trial in trials}):
        net = held_out_net(trials, (person,), config)
        found |= {t.name: predict(net, t.features) for t in trials if t.person == person}
        done(person)
    return found


def with_angles(walk: Walk, angles_rad: NDArray[np.float32]) -> Walk:
    """Put angles and their rates in the place of the sensors' features.

    A leg's five angles and five rates fill the channels of its two slots, so that mirrored legs
    change places as before; the other channels are zero.

    Parameters
    ----------
    walk : Walk
    angles_rad : ndarray, shape (T, 10)
        In the order of `ANGLES`. The rate is the change since the last sample: nothing looks ahead.
    """
    features = np.zeros_like(walk.trial.features)
    slots = sum(len(slots) for slots in _SLOTS_OF_SIDE.values())
    features[:, _PER_SLOT * slots :] = 1.0
    rates = np.diff(angles_rad, axis=0, prepend=angles_rad[:1]) * walk.trial.rate_hz
    for side in SIDES:
        mine = [j for j, name in enumerate(ANGLES) if name.endswith(f"_{side}")]
        both = np.concatenate([angles_rad[:, mine], rates[:, mine]], axis=1)
        first, second = (_PER_SLOT * slot for slot in _SLOTS_OF_SIDE[side])
        features[:, first : first + _PER_SLOT] = both[:, :_PER_SLOT]
        features[:, second : second + both.shape[1] - _PER_SLOT] = both[:, _PER_SLOT:]
    return replace(walk, trial=replace(walk.trial, features=features))


def angle_study(
    walks: Sequence[Walk],
    estimated: Angles,
    config: ForceConfig,
    engine: Engine,
    done: Callable[[str], object] = lambda name: None,
) -> list[ForceRow]:
    """Hold everybody out: train on reference angles, test on the person's reference and estimated ones.

    Parameters
    ----------
    walks : sequence of Walk
        Those without reference angles are passed over.
    estimated : mapping of recording to ndarray, shape (T, 10)
        As `estimated_angles` gives them.
    config : ForceConfig
    engine : Engine
    done : callable
        Told each finished job's name.
    """
    known = [walk for walk in walks if np.isfinite(walk.trial.angles_rad).all()]
    people = sorted({walk.trial.person for walk in known})
    digest = hashlib.sha256()
    for walk in known:
        digest.update(estimated[walk.trial.name].tobytes())
    jobs = {
        f"angles {p}": (
            angle_fold,
            p,
            config,
            {w.trial.name: estimated[w.trial.name] for w in known if w.trial.person == p},
        )
        for p in people
    }
    key = study_key(
        known, f"{config!r}{digest.hexdigest()}", "talaria_training.kinetics.force_angles"
    )
    results = run_jobs(jobs, Store.cached("kinetics", key), engine, {"walks": known}, done)
    return [ForceRow(**row) for name in jobs for row in results[name]]


def angle_fold(
    person: str, config: ForceConfig, estimated: Angles, *, walks: Sequence[Walk]
) -> list[ForceRow]:
    """Train on the others' reference angles, and score one person from both kinds of angles."""
    # Angles know no mounting that could be off, and no sensor that falls silent.
    plain = replace(config, windows=replace(config.windows, tilt_deg=0.0, absent=0.0))
    others = [with_angles(w, w.trial.angles_rad) for w in walks if w.trial.person != person]
    net = train_forces(others, plain)
    mine = [walk for walk in walks if walk.trial.person == person]
    rows = []
    for approach in (REFERENCE, ESTIMATED):
        said = []
        for walk in mine:
            given = walk.trial.angles_rad if approach == REFERENCE else estimated[walk.trial.name]
            features = with_angles(walk, given).trial.features
            said.append(aligned(force_outputs(net, features), config.delay)[:, FORCES])
        rows += score_forces(approach, config.windows.seed, mine, said)
    return rows
