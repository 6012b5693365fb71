"""How far joint moments said live are from inverse dynamics: rows per person, joint and kind of walking.

Errors are in N·m/kg, both legs together, on the last 60 % of every recording, wherever the targets are known,
swing included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_training.kinetics.dynamics import JOINTS, MOMENTS
from talaria_training.kinetics.export import over_stance
from talaria_training.kinetics.force_scores import EVERYTHING, ForceEvidence
from talaria_training.kinetics.moment_data import MomentWalk, known_stances
from talaria_training.kinetics.pooled import CycleErrors, cycle_errors, errors
from talaria_training.networks import GAIT_CLASSES
from talaria_training.splits import TEST_PART
from talaria_training.train import class_of

Floats = NDArray[np.floating]
_GRID = np.linspace(0.0, 1.0, 101)
_WIDE = len(JOINTS)


@dataclass(frozen=True, slots=True)
class MomentRow:
    """One approach on one person, one joint, one kind of walking.

    Attributes
    ----------
    approach : str
        ``mean_curve``, or a core's name.
    seed : int
    person, condition, joint : str
        `condition` is one of `GAIT_CLASSES` or ``all``; `joint` one of `JOINTS` or ``pooled``: all three about
        one mean, as Gait2Hip-60's paper pools its outputs, which inflates R².
    rmse_nm_kg, mae_nm_kg : float
    r2 : float or None
    level_rmse_nm_kg : float or None
        Root of the mean square once the mean error of each leg in each recording is taken out: what is left if
        neither the targets' nor the network's level counts. It looks at the truth. None for ``pooled``.
    highest_nm_kg, lowest_nm_kg : float or None
        Mean absolute error of the greatest and of the least value of whole stances; None for ``pooled``, and
        where there is no whole stance.
    """

    approach: str
    seed: int
    person: str
    condition: str
    joint: str
    rmse_nm_kg: float
    mae_nm_kg: float
    r2: float | None
    level_rmse_nm_kg: float | None
    highest_nm_kg: float | None
    lowest_nm_kg: float | None


def score_moments(
    approach: str, seed: int, walks: Sequence[MomentWalk], said: Sequence[Floats]
) -> list[MomentRow]:
    """Score one person's predictions.

    Parameters
    ----------
    approach : str
    seed : int
    walks : sequence of MomentWalk
        One person's.
    said : sequence of ndarray, shape (T, 6)
        N·m/kg for the whole of each walk; NaN where nothing was said, which is not judged.
    """
    pairs = [_tested(walk, y) for walk, y in zip(walks, said, strict=True)]
    rows = []
    for kind in (EVERYTHING, *GAIT_CLASSES):
        mine = [(w, y) for w, y in pairs if kind == EVERYTHING or kind == _kind(w)]
        if any(np.isfinite(walk.moment_nm_kg).any() for walk, _ in mine):
            rows += _rows(approach, seed, kind, mine)
    return rows


def _tested(walk: MomentWalk, said: Floats) -> tuple[MomentWalk, Floats]:
    """Cut out the test part, the truth unknown where nothing was said."""
    part = walk.part(*TEST_PART)
    y = said[slice(*(round(edge * len(said)) for edge in TEST_PART))]
    true = np.where(np.isfinite(y), part.moment_nm_kg, np.nan)
    return MomentWalk(part.walk, true), np.nan_to_num(y)


def _kind(walk: MomentWalk) -> str:
    kind = class_of(walk.walk.trial.condition)
    return GAIT_CLASSES[kind] if kind >= 0 else ""


def _rows(
    approach: str, seed: int, kind: str, pairs: Sequence[tuple[MomentWalk, Floats]]
) -> list[MomentRow]:
    true = np.concatenate([walk.moment_nm_kg.reshape(-1, _WIDE) for walk, _ in pairs])
    y = np.concatenate([y.reshape(-1, _WIDE) for _, y in pairs])
    off = [_without_level(y - walk.moment_nm_kg) for walk, y in pairs]
    level = np.sqrt(np.nanmean(np.concatenate(off).reshape(-1, _WIDE) ** 2, axis=0)).tolist()
    peaks = {found.output: found for found in _peaks(pairs)}
    person = pairs[0][0].person
    return [
        MomentRow(
            *(approach, seed, person, kind, found.output, found.rmse, found.mae, found.r2),
            dict(zip(JOINTS, level, strict=True)).get(found.output),
            peak.peak_mae if (peak := peaks.get(found.output)) else None,
            peak.trough_mae if peak else None,
        )
        for found in errors(true, y, JOINTS)
    ]


def _without_level(error: Floats) -> Floats:
    """Take the mean of each column of errors (T, 6) out of it."""
    known = np.isfinite(error)
    count = np.maximum(known.sum(axis=0), 1)
    return np.asarray(error - np.where(known, error, 0.0).sum(axis=0) / count)


def _peaks(pairs: Sequence[tuple[MomentWalk, Floats]]) -> tuple[CycleErrors, ...]:
    """Compare greatest and least values stance by stance, both legs together."""
    true, said = [], []
    for walk, y in pairs:
        for column in range(len(MOMENTS) // _WIDE):
            mine = slice(_WIDE * column, _WIDE * (column + 1))
            for stance in known_stances(walk.walk, walk.moment_nm_kg, column):
                true.append(over_stance(walk.moment_nm_kg[stance, mine]))
                said.append(over_stance(y[stance, mine]))
    return cycle_errors(np.array(true), np.array(said), JOINTS) if true else ()


def moment_evidence(
    approach: str,
    seed: int,
    walks: Sequence[MomentWalk],
    said: Sequence[Floats],
    spread: Sequence[Floats],
) -> list[ForceEvidence]:
    """Gather one person's errors over the network's own scale, on the same samples as `score_moments`.

    What is made of them (`talaria_training.kinetics.force_summary.coverage`) knows no unit: the scale is in
    N·m/kg here.

    Parameters
    ----------
    approach, seed, walks, said
        As there.
    spread : sequence of ndarray, shape (T, 6)
        Logarithm of the scale of each error, N·m/kg.
    """
    parts = [walk.part(*TEST_PART) for walk in walks]
    cuts = [slice(*(round(edge * len(y)) for edge in TEST_PART)) for y in said]
    pairs = list(zip(parts, said, spread, cuts, strict=True))
    error = np.concatenate([np.abs(y[c] - w.moment_nm_kg) for w, y, _, c in pairs])
    scale = np.exp(np.concatenate([s[c] for _, _, s, c in pairs]))
    found = []
    for j, output in enumerate(MOMENTS):
        known = np.isfinite(error[:, j])
        if known.any():
            scores = np.quantile(error[known, j] / scale[known, j], _GRID).tolist()
            width = float(scale[known, j].mean())
            found.append(ForceEvidence(approach, seed, walks[0].person, output, scores, width))
    return found
