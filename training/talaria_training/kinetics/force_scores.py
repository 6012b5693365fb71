"""How far forces said live are from the plates: rows per person, and their summary over people and seeds.

Errors are in per cent of body weight, both feet pooled, on the last 60 % of every recording. ``all`` is
over every sample of walking, as GaitDynamics counts it (whole gait cycles, swing included, in its published
evaluation code); ``stance`` is over the samples in which the plate carries the foot. A peak is the largest
size of an axis within a stance, and its error the mean absolute difference of the peaks, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talaria_training.kinetics.force_data import Walk
from talaria_training.kinetics.pooled import errors
from talaria_training.kinetics.stances import whole_stances
from talaria_training.kinetics.targets import FORCE_AXES, OUTPUTS
from talaria_training.networks import GAIT_CLASSES
from talaria_training.splits import TEST_PART
from talaria_training.train import class_of

EVERYTHING = "all"
_SHIFT_S = 0.06
_GRID = np.linspace(0.0, 1.0, 101)
Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class ForceRow:
    """One approach on one person, one axis, one kind of walking.

    Attributes
    ----------
    approach : str
        ``mean_curve``, or a core's name, followed by ``, tuned`` after fine-tuning.
    seed : int
    person, condition, axis : str
        `condition` is one of `GAIT_CLASSES` or ``all``; `axis` one of `FORCE_AXES`.
    mae_bw_pct, stance_mae_bw_pct : float
        Over all samples, and over those on the plate.
    same_clock_mae_bw_pct : float
        Over all samples after one shift per recording and plate, of at most 60 ms, that brings the vertical
        forces nearest: what is left if the error of the plate's own lag is taken out. It looks at the truth.
    peak_bw_pct : float
        Mean absolute error of the peaks of whole stances.
    impulse_bw_pct_s : float
        Mean absolute error of the impulses, the force over whole stances, % of body weight times seconds.
    rmse_bw_pct, r2 : float
        Over all samples; `r2` about the mean of this person's axis.
    pooled_r2 : float
        Of all three axes about one mean of them, the same in each axis' row: inflated, and there to be
        compared with Gait2Hip-60's.
    """

    approach: str
    seed: int
    person: str
    condition: str
    axis: str
    mae_bw_pct: float
    stance_mae_bw_pct: float
    same_clock_mae_bw_pct: float
    peak_bw_pct: float
    impulse_bw_pct_s: float
    rmse_bw_pct: float = float("nan")
    r2: float = float("nan")
    pooled_r2: float = float("nan")


@dataclass(frozen=True, slots=True)
class ForceEvidence:
    """Errors of one output on one person, in units of the network's own scale: what intervals come from."""

    approach: str
    seed: int
    person: str
    output: str
    scores: list[float]
    scale_bw: float


def score_forces(
    approach: str, seed: int, walks: Sequence[Walk], said: Sequence[Floats]
) -> list[ForceRow]:
    """Score one person's predictions.

    Parameters
    ----------
    approach : str
    seed : int
    walks : sequence of Walk
        One person's.
    said : sequence of ndarray, shape (T, 6)
        Body weights for the whole of each walk, NaN where nothing was said.
    """
    parts = [_Part.of(walk, y) for walk, y in zip(walks, said, strict=True)]
    kinds = [EVERYTHING, *GAIT_CLASSES]
    rows = []
    for kind in kinds:
        mine = [p for p in parts if kind in (EVERYTHING, p.kind)]
        if not mine:
            continue
        _, pooled_r2 = _fits([pairs for p in mine for pairs in p.pairs])
        for k, axis in enumerate(FORCE_AXES):
            numbers = (_mean([getattr(p, what)[k] for p in mine]) for what in _MEASURES)
            rmse, r2 = _fits([p.pairs[k] for p in mine])
            row = ForceRow(approach, seed, walks[0].trial.person, kind, axis, *numbers)
            rows.append(replace(row, rmse_bw_pct=rmse, r2=r2, pooled_r2=pooled_r2))
    return rows


_MEASURES = ("error", "on_plate", "same_clock", "peaks", "impulses")


def _fits(pairs: Sequence[Floats]) -> tuple[float, float]:
    """Return root mean square error and R² of true and said values, arrays of shape (n, 2)."""
    both = np.concatenate(list(pairs))
    if not len(both):
        return float("nan"), float("nan")
    scored, *_ = errors(both[:, :1], both[:, 1:], ("force",))
    return scored.rmse, float("nan") if scored.r2 is None else scored.r2


@dataclass(frozen=True, slots=True)
class _Part:
    """Errors of one walk's test part in % BW, per axis, both feet in one array each; pairs are (n, 2)."""

    kind: str
    error: list[Floats]
    on_plate: list[Floats]
    same_clock: list[Floats]
    peaks: list[Floats]
    impulses: list[Floats]
    pairs: list[Floats]

    @classmethod
    def of(cls, walk: Walk, said: Floats) -> _Part:
        cut = slice(*(round(edge * len(said)) for edge in TEST_PART))
        true, y = walk.force_bw[cut].astype(float), np.asarray(said[cut], dtype=float)
        rate_hz = walk.trial.rate_hz
        feet = [slice(0, 3), slice(3, 6)]
        stances = [whole_stances(true[:, foot], rate_hz, walk.mass_kg) for foot in feet]
        moved = [_nearest(true[:, foot], y[:, foot], round(_SHIFT_S * rate_hz)) for foot in feet]
        columns = [[k, k + 3] for k in range(3)]
        error = 100.0 * np.abs(y - true)
        on_plate = np.where(np.repeat(true[:, [2, 5]] > 0, 3, axis=1), error, np.nan)
        same_clock = 100.0 * np.abs(np.concatenate(moved, axis=1))
        kind = class_of(walk.trial.condition)
        return cls(
            GAIT_CLASSES[kind] if kind >= 0 else "",
            [_known(error[:, c]) for c in columns],
            [_known(on_plate[:, c]) for c in columns],
            [_known(same_clock[:, c]) for c in columns],
            [_of_stances(_peak, true[:, c], y[:, c], stances) for c in columns],
            [_of_stances(_impulse(rate_hz), true[:, c], y[:, c], stances) for c in columns],
            [_pairs(true[:, c], y[:, c]) for c in columns],
        )


def _nearest(true: Floats, said: Floats, reach: int) -> Floats:
    """Return the errors (T, 3) of one foot at the shift whose vertical ones are least."""
    shifts = range(-reach, reach + 1)
    tried = [_shifted(said, shift) - true for shift in shifts]
    sizes = [_mean([_known(np.abs(e[reach : len(e) - reach, 2]))]) for e in tried]
    return tried[int(np.nanargmin(sizes))] if np.isfinite(sizes).any() else tried[reach]


def _shifted(values: Floats, by: int) -> Floats:
    out = np.full_like(values, np.nan)
    out[max(by, 0) : len(values) + min(by, 0)] = values[max(-by, 0) : len(values) + min(-by, 0)]
    return out


def _of_stances(
    told: Callable[[Floats], float], true: Floats, said: Floats, stances: Sequence[Sequence[slice]]
) -> Floats:
    """Return how far one number of each whole stance is off, % of body weight, of both feet's (T, 2)."""
    off = [
        100.0 * abs(told(true[s, foot]) - told(said[s, foot]))
        for foot, mine in enumerate(stances)
        for s in mine
        if np.isfinite(said[s, foot]).all()
    ]
    return np.array(off)


def _peak(force: Floats) -> float:
    return float(np.abs(force).max())


def _impulse(rate_hz: float) -> Callable[[Floats], float]:
    return lambda force: float(force.sum()) / rate_hz


def _pairs(true: Floats, said: Floats) -> Floats:
    both: Floats = 100.0 * np.column_stack([true.ravel(), said.ravel()])
    return both[np.asarray(np.isfinite(both).all(axis=1))]


def _known(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _mean(values: Iterable[Floats]) -> float:
    flat = np.concatenate(list(values))
    return float(flat.mean()) if len(flat) else float("nan")


def force_evidence(
    approach: str,
    seed: int,
    walks: Sequence[Walk],
    said: Sequence[Floats],
    spread: Sequence[Floats],
) -> list[ForceEvidence]:
    """Gather one person's errors over the network's own scale, on the same samples as `score_forces`.

    Parameters
    ----------
    approach, seed, walks, said
        As there.
    spread : sequence of ndarray, shape (T, 6)
        Logarithm of the scale of each error, BW.
    """
    cuts = [slice(*(round(edge * len(y)) for edge in TEST_PART)) for y in said]
    pairs = list(zip(walks, said, spread, cuts, strict=True))
    error = np.concatenate([np.abs(y[c] - w.force_bw[c]) for w, y, _, c in pairs])
    scale = np.exp(np.concatenate([s[c] for _, _, s, c in pairs]))
    found = []
    for j, output in enumerate(OUTPUTS):
        known = np.isfinite(error[:, j]) & np.isfinite(scale[:, j])
        if known.any():
            scores = np.quantile(error[known, j] / scale[known, j], _GRID).tolist()
            width = float(scale[known, j].mean())
            person = walks[0].trial.person
            found.append(ForceEvidence(approach, seed, person, output, scores, width))
    return found
