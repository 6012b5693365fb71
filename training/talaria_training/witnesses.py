"""What measured movement says of labelled angles, a few strides at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.samples import LEG_SLOTS
from talaria_training.trials import Trial

Floats = NDArray[np.float64]

PIECE_S = 4.0
"""Two to four strides: long enough to correlate, short enough to find the part that went wrong."""
PER_SLOT = 9
_REACH_S = 0.3
_WALKING_RAD = np.radians(4.0)


@dataclass(frozen=True, slots=True)
class Facts:
    """What one curve says of another over one piece; `zero_rad` and `rest_rad` of label less witness."""

    r: float
    slope: float
    rest_rad: float
    lag_s: float
    zero_rad: float


def compare(witness: Floats, label: Floats, rate_hz: float) -> Facts:
    """Compare a labelled curve with a witness's of the same movement, both shape (T,), finite."""
    w, y = witness - witness.mean(), label - label.mean()
    power = float(w @ w)
    size = float(np.sqrt(power * (y @ y)))
    return Facts(
        r=float(w @ y) / size if size > 0 else 0.0,
        slope=float(w @ y) / power if power > 0 else float("nan"),
        rest_rad=float(np.sqrt(np.mean((y - w) ** 2))),
        lag_s=_lag(w, y, rate_hz),
        zero_rad=float(np.mean(label - witness)),
    )


def _lag(witness: Floats, label: Floats, rate_hz: float) -> float:
    """How much later the label is, seconds, by the top of the correlation within the reach."""
    reach = round(_REACH_S * rate_hz)
    inner = slice(reach, len(witness) - reach)
    shifts = np.arange(-reach, reach + 1)
    score = np.array(
        [_correlation(witness[inner], label[inner.start + k : inner.stop + k]) for k in shifts]
    )
    best = int(score.argmax())
    if not 0 < best < len(score) - 1:
        return float(shifts[best]) / rate_hz
    left, middle, right = score[best - 1 : best + 2].tolist()
    bend = left - 2.0 * middle + right
    return (float(shifts[best]) + (0.5 * (left - right) / bend if bend < 0 else 0.0)) / rate_hz


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def segment_pitch(trial: Trial, slot: str) -> Floats:
    """Return a segment's measured pitch against upright stance, rad, shape (T,), flexing positive."""
    first = PER_SLOT * LEG_SLOTS.index(slot) + 6
    up = trial.features[:, first : first + 2].astype(float)
    return np.asarray(np.arctan2(up[:, 0], up[:, 1]))


def pieces(trial: Trial, witness: Floats, label: Floats) -> Iterator[Facts]:
    """Compare piece by piece, where there is walking and the label is known nearly throughout."""
    count = max(1, int(len(label) / trial.rate_hz / PIECE_S))
    edges = np.linspace(0, len(label), count + 1).astype(int).tolist()
    for a, b in pairwise(edges):
        w, y = witness[a:b], label[a:b]
        known = np.isfinite(y)
        if known.mean() < 0.8 or w.std() < _WALKING_RAD or b - a <= 3 * _REACH_S * trial.rate_hz:
            continue
        rows = np.flatnonzero(known)
        inside = slice(int(rows[0]), int(rows[-1]) + 1)  # beyond the last label nothing is known
        whole = np.interp(np.arange(inside.start, inside.stop), rows, y[known])
        yield compare(w[inside], whole, trial.rate_hz)
