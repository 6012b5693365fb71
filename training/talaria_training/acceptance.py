"""The acceptance report of a personal model: all its numbers as one document, and as one page to read.

The page needs nothing but itself: no script, no font and no picture from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_edge.kinematics import ANGLES, SAGITTAL
from talaria_training.gate import mean_stride_error_deg
from talaria_training.held_strides import Kept
from talaria_training.personal import Outcome
from talaria_training.scoring import score

_POINTS = 101
_RESIDUAL_POINTS = 300


@dataclass(frozen=True, slots=True)
class About:
    """What a report must say and the outcome cannot know.

    Attributes
    ----------
    model_id, base_id, person : str
    when : str
        Date and time of the fine-tuning.
    recordings : tuple of str
    labels : str
        Where the labels came from, and how well they were aligned.
    trust_zero : bool
        Whether the wearer asked for the labels' zero.
    others : tuple of (person, base's degrees, personal model's degrees)
        The forgetting check; empty where no other people's recordings were given.
    """

    model_id: str
    base_id: str
    person: str
    when: str
    recordings: tuple[str, ...]
    labels: str
    trust_zero: bool = False
    others: tuple[tuple[str, float, float], ...] = ()


def document(outcome: Outcome, about: About) -> dict[str, Any]:
    """Collect everything the report says.

    Returns
    -------
    dict
        Plain JSON, no NaN: a number nobody could measure is None.
    """
    division = outcome.division
    errors = {
        name: mean_stride_error_deg(division.decide, angles)
        for name, angles in outcome.predictions.items()
    }
    plain = asdict(about)
    plain["others"] = [{"person": p, "base_deg": b, "personal_deg": m} for p, b, m in about.others]
    return {
        **plain,
        "decision": outcome.decision,
        "shipped": outcome.shipped,
        "zero": outcome.zero,
        "zero_off_deg": dict(outcome.zero_off_deg),
        "learned": {"seconds": division.learn_s, "strides": division.learn_strides},
        "stopping_strides": sum(len(kept.strides) for kept in division.stop),
        "deciding_strides": division.decide_strides,
        "stride_error_deg": errors,
        "rivals": [
            {**asdict(r), "worse": [{"joint": j, "by_deg": d} for j, d in r.worse]}
            for r in outcome.rivals
        ],
        "joints": _joints(outcome),
        "checks": [
            {**asdict(check), "value": _finite(check.value), "passed": check.passed}
            for check in outcome.belief.checks
        ],
        "fault": outcome.belief.fault,
        "learning_curve": [list(point) for point in outcome.curve],
        "kept_steps": outcome.kept_steps,
        "cycles": _cycles(outcome),
        "residuals": _residuals(outcome),
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _joints(outcome: Outcome) -> list[dict[str, Any]]:
    """RMSE, the same with the offset removed, and correlation, per labelled angle and model."""
    table: dict[str, dict[str, Any]] = {}
    for name, angles in outcome.predictions.items():
        pairs = [
            (a[kept.rows], kept.trial.angles_rad[kept.rows])
            for a, kept in zip(angles, outcome.division.decide, strict=True)
        ]
        for row in score(name, "", "", pairs):
            table.setdefault(row.joint, {"joint": row.joint})[name] = {
                "rmse_deg": row.rmse_deg,
                "rmse_offset_removed_deg": row.rmse_offset_removed_deg,
                "r": row.r,
            }
    return list(table.values())


def _cycles(outcome: Outcome) -> dict[str, dict[str, list[float]]]:
    """Mean curve of every labelled sagittal angle over its own leg's deciding strides, degrees."""
    found: dict[str, dict[str, list[float]]] = {}
    for joint in SAGITTAL:
        labels = _over_cycle(
            outcome.division.decide,
            [kept.trial.angles_rad for kept in outcome.division.decide],
            joint,
        )
        if not len(labels):
            continue
        spread = labels.std(axis=0)
        curves = {"labels": labels.mean(axis=0).tolist(), "labels_sd": spread.tolist()}
        for name, angles in outcome.predictions.items():
            cut = _over_cycle(outcome.division.decide, angles, joint)
            curves[name] = cut.mean(axis=0).tolist()
        found[joint] = curves
    return found


def _over_cycle(
    decide: Sequence[Kept], angles_rad: Sequence[NDArray[np.float32]], joint: str
) -> NDArray[np.float64]:
    """Each deciding stride of the joint's leg at 101 points, shape (strides, 101), degrees."""
    column, curves = ANGLES.index(joint), []
    for kept, angles in zip(decide, angles_rad, strict=True):
        for stride in kept.strides:
            known = np.isfinite(kept.trial.angles_rad[stride.start : stride.stop, column]).all()
            if stride.side != joint[-1] or not known:
                continue
            curve = np.degrees(angles[stride.start : stride.stop, column].astype(float))
            at = np.linspace(0, len(curve) - 1, _POINTS)
            curves.append(np.interp(at, np.arange(len(curve)), curve))
    return np.array(curves)


def _residuals(outcome: Outcome) -> dict[str, Any]:
    """Model less label over the first recording's deciding strides, thinned out for drawing, degrees."""
    if not outcome.predictions:
        return {}
    kept = outcome.division.decide[0]
    rows = np.arange(kept.rows.start, kept.rows.stop)
    rows = rows[:: max(1, len(rows) // _RESIDUAL_POINTS)]
    found: dict[str, Any] = {"t_s": (rows / kept.trial.rate_hz).tolist(), "joints": {}}
    for joint in SAGITTAL:
        j = ANGLES.index(joint)
        label = kept.trial.angles_rad[rows, j]
        if np.isfinite(label).any():
            found["joints"][joint] = {
                name: [_finite(v) for v in np.degrees(angles[0][rows, j] - label)]
                for name, angles in outcome.predictions.items()
            }
    return found
