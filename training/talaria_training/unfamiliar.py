"""What intervals are worth where nobody was trained: walks at another pace, or backwards, of people held out.

Nobody recorded such walks. They are made of recorded ones by mechanics: played k times as fast, a leg turns
k times as fast and what accelerates it grows with k²; played backwards, it turns the other way and its
accelerations stay. The angles are those that were measured, and remain known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_edge.heads import Widening
from talaria_edge.kinematics import ANGLES, SAGITTAL
from talaria_training.evaluate import held_out_net
from talaria_training.gait_study import calibrated, look
from talaria_training.networks import GaitNet, head_columns
from talaria_training.train import TrainConfig, outputs
from talaria_training.trials import Trial

Floats = NDArray[np.float64]
_PER_SLOT = 9
_G_MS2 = 9.81
_SETTLE_S = 2.5
_COLUMNS = [ANGLES.index(a) for a in SAGITTAL]


def faster(trial: Trial, times: float) -> Trial:
    """Play a walk `times` as fast, as a body that really moved so would be measured."""
    rows = np.arange(0.0, len(trial.features) - 1, times)
    features, angles = _at(trial.features, rows), _at(trial.angles_rad, rows)
    for slot in range(trial.features.shape[1] // (_PER_SLOT + 1)):
        first = _PER_SLOT * slot
        weight = _G_MS2 * features[:, first + 6 : first + 9]
        moving = features[:, first : first + 3] - weight
        features[:, first : first + 3] = weight + times**2 * moving
        features[:, first + 3 : first + 6] *= times
    return _made(trial, features, angles)


def backwards(trial: Trial) -> Trial:
    """Play a walk from its end to its start."""
    features = trial.features[::-1].copy()
    for slot in range(trial.features.shape[1] // (_PER_SLOT + 1)):
        features[:, _PER_SLOT * slot + 3 : _PER_SLOT * slot + 6] *= -1.0
    return _made(trial, features, trial.angles_rad[::-1])


def _at(values: NDArray[np.float32], rows: Floats) -> NDArray[np.float32]:
    whole = np.arange(len(values))
    return np.stack([np.interp(rows, whole, c) for c in values.T], axis=1).astype(np.float32)


def _made(trial: Trial, features: NDArray[np.float32], angles_rad: NDArray[np.float32]) -> Trial:
    unknown = np.full((len(features), 2), np.nan, np.float32)
    return replace(
        trial,
        features=features,
        angles_rad=np.ascontiguousarray(angles_rad),
        contact=unknown,
        cycle=unknown,
        contacts=(),
    )


WALKS: Mapping[str, Callable[[Trial], Trial]] = {
    "as recorded": lambda trial: trial,
    "0.7 x the pace": lambda trial: faster(trial, 0.7),
    "1.3 x the pace": lambda trial: faster(trial, 1.3),
    "1.6 x the pace": lambda trial: faster(trial, 1.6),
    "2 x the pace": lambda trial: faster(trial, 2.0),
    "backwards": backwards,
}


@dataclass(frozen=True, slots=True)
class Walked:
    """One person's walks of one kind: error, the network's scale, by how much the runtime widens it.

    `error_rad`, `scale_rad`: shape (T, 6), the sagittal angles; `widened`: shape (T,); `novelty` its mean.
    """

    error_rad: Floats
    scale_rad: Floats
    widened: Floats
    novelty: float


def walked(net: GaitNet, trials: Sequence[Trial], limit: float) -> Walked:
    """Run a network over walks and widen its intervals as the runtime does."""
    errors, scales, widened, novelty = [], [], [], []
    for trial in trials:
        y = outputs(net, trial.features).astype(float)
        strange = y[:, head_columns("novelty")][:, 0]
        widening = Widening(trial.rate_hz, limit)
        factors = np.array([widening.update(n) for n in strange.tolist()])
        settled = round(_SETTLE_S * trial.rate_hz)
        errors.append(np.abs(y[:, : len(ANGLES)] - trial.angles_rad)[settled:, _COLUMNS])
        scales.append(np.exp(y[:, head_columns("spread")])[settled:, _COLUMNS])
        widened.append(factors[settled:])
        novelty.append(strange[settled:])
    error, scale, wide, strange = map(np.concatenate, (errors, scales, widened, novelty))
    return Walked(error, scale, wide, float(strange.mean()))


def study(
    trials: Sequence[Trial],
    config: TrainConfig,
    done: Callable[[str], object] = lambda person: None,
) -> list[dict[str, Any]]:
    """Measure every kind of walk on every person, by a network, factors and a limit of all the others.

    Returns
    -------
    list of dict
        Per kind: coverage without and with widening (means over people, and the worst with it), mean
        half-widths, RMSE and novelty; angles are the six sagittal ones.
    """
    people = sorted({t.person for t in trials if t.reference != "none"})
    looks = {person: look(trials, person, config) for person in people}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WALKS}
    for person in people:
        others = [looks[p] for p in people if p != person]
        intervals, familiarity = calibrated(others, "the others")
        factor = np.array([intervals.factor[a] for a in SAGITTAL])
        net = held_out_net(trials, (person,), config)
        mine = [t for t in trials if t.person == person and t.reference != "none"]
        for name, make in WALKS.items():
            walks = [make(t) for t in mine]
            found[name].append(_summed(walked(net, walks, familiarity.limit), factor))
        done(person)
    return [{"walk": name, **_mean(rows)} for name, rows in found.items()]


def _summed(walk: Walked, factor: Floats) -> dict[str, float]:
    plain = walk.scale_rad * factor
    wide = plain * walk.widened[:, None]
    return {
        "rmse_deg": float(np.degrees(np.sqrt((walk.error_rad**2).mean(axis=0)).mean())),
        "coverage": float((walk.error_rad <= plain).mean()),
        "half_width_deg": float(np.degrees(plain.mean())),
        "coverage_widened": float((walk.error_rad <= wide).mean()),
        "half_width_widened_deg": float(np.degrees(wide.mean())),
        "novelty": walk.novelty,
    }


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return means | {"coverage_widened_worst": min(row["coverage_widened"] for row in rows)}
