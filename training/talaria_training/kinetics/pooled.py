"""How far predicted curves are off: per output, and pooled over all as Gait2Hip-60's paper pools them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of one set of values, in the outputs' unit.

    Attributes
    ----------
    output : str
        Whose; ``pooled`` for all together.
    rmse, mae : float
    r2 : float or None
        Share of the variance about the mean that is explained; None where the truth does not vary.
    """

    output: str
    rmse: float
    mae: float
    r2: float | None


def errors(true: Floats, predicted: Floats, outputs: Sequence[str]) -> tuple[Errors, ...]:
    """Score every output by itself, then all pooled about ONE mean.

    Outputs differ in level, and about one mean of them all that difference counts as explained: a predictor
    that knows only each output's mean scores 0 on each and may score 0.8 pooled. The pooled figure is there
    to be compared with the paper's, the others to be believed.

    Parameters
    ----------
    true, predicted : ndarray, shape (..., len(outputs))
        Same unit; NaN in the truth is left out.
    outputs : sequence of str

    Returns
    -------
    tuple of Errors
        One per output, in order, and ``pooled`` last.

    Raises
    ------
    RecordingError
        If the shapes differ, or nothing is known of an output.
    """
    if true.shape != predicted.shape or true.shape[-1:] != (len(outputs),):
        raise RecordingError(
            f"Curves of shape {predicted.shape} cannot be scored against {true.shape} for {len(outputs)} "
            "outputs: give the same trials, points and outputs for both."
        )
    t, p = (v.reshape(-1, len(outputs)).astype(np.float64) for v in (true, predicted))
    rows = [_scored(name, t[:, k], p[:, k]) for k, name in enumerate(outputs)]
    return (*rows, _scored("pooled", t.ravel(), p.ravel()))


def _scored(output: str, true: Floats, predicted: Floats) -> Errors:
    known = np.isfinite(true)
    if not known.any():
        raise RecordingError(
            f"Nothing is known of {output}, so it cannot be scored: leave it out of the outputs."
        )
    t, off = true[known], predicted[known] - true[known]
    spread = float(np.sum((t - t.mean()) ** 2))
    r2 = 1.0 - float(np.sum(off**2)) / spread if spread > 0.0 else None
    return Errors(output, float(np.sqrt(np.mean(off**2))), float(np.mean(np.abs(off))), r2)


def person_mean(
    true: Floats, predicted: Floats, people: Sequence[str], outputs: Sequence[str]
) -> tuple[Errors, ...]:
    """Average each person's `errors`, every person counting once, as the paper's tables do.

    Parameters
    ----------
    true, predicted : ndarray, shape (N, T, len(outputs))
    people : sequence of str, length N
    outputs : sequence of str
    """
    who = np.asarray(people)
    each = [errors(true[who == p], predicted[who == p], outputs) for p in np.unique(who)]
    return tuple(_averaged(same) for same in zip(*each, strict=True))


def _averaged(same: Sequence[Errors]) -> Errors:
    known = [row.r2 for row in same if row.r2 is not None]
    return Errors(
        same[0].output,
        float(np.mean([row.rmse for row in same])),
        float(np.mean([row.mae for row in same])),
        float(np.mean(known)) if known else None,
    )


@dataclass(frozen=True, slots=True)
class CycleErrors:
    """How far peaks and impulses of cycles are off, one output.

    Attributes
    ----------
    output : str
    peak_mae, trough_mae : float
        Mean absolute error of each cycle's greatest and least value, in the output's unit.
    impulse_mae : float
        Mean absolute error of the integral over the cycle, in the output's unit times seconds; times cycles
        where no durations were given.
    """

    output: str
    peak_mae: float
    trough_mae: float
    impulse_mae: float


def cycle_errors(
    true: Floats,
    predicted: Floats,
    outputs: Sequence[str],
    duration_s: Floats | None = None,
) -> tuple[CycleErrors, ...]:
    """Compare peaks, troughs and impulses cycle by cycle.

    Parameters
    ----------
    true, predicted : ndarray, shape (N, T, len(outputs))
        Whole cycles, evenly sampled from start to end.
    outputs : sequence of str
    duration_s : ndarray, shape (N,), optional
        How long each cycle took.
    """
    long = np.ones(len(true)) if duration_s is None else np.asarray(duration_s)
    figures = (
        np.abs(of_said - of_true).mean(axis=0).tolist()
        for of_true, of_said in zip(_measures(true, long), _measures(predicted, long), strict=True)
    )
    return tuple(CycleErrors(*row) for row in zip(outputs, *figures, strict=True))


def _measures(curves: Floats, duration_s: Floats) -> tuple[Floats, Floats, Floats]:
    """Peak, trough and integral of each cycle and output, (N, outputs) each."""
    middles = (curves[:, 1:] + curves[:, :-1]) / 2.0
    integral = middles.mean(axis=1) * duration_s[:, None]
    return curves.max(axis=1), curves.min(axis=1), integral
