"""What a run of strides has in common and how far they vary: for a display, and for a summary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from talaria_edge.gait import SIDES
from talaria_edge.strides import Stride

_PARAMETERS = (
    "time_s",
    "stance_s",
    "step_time_s",
    "cadence_spm",
    "stance_ratio",
    "double_support_ratio",
    "length_m",
    "speed_ms",
)


@dataclass(frozen=True, slots=True)
class Spread:
    """One parameter of one leg over some strides.

    Attributes
    ----------
    count : int
        Strides in which it was known.
    mean : float
        NaN without any.
    sd : float
        Standard deviation of the sample (n - 1); NaN below two strides.
    cv_percent : float
        Coefficient of variation, ``100 sd / |mean|``; NaN where the mean is zero.
    """

    count: int
    mean: float
    sd: float
    cv_percent: float


@dataclass(frozen=True, slots=True)
class StrideStatistics:
    """Some strides of both legs in a few numbers.

    Attributes
    ----------
    strides : dict of side to int
        How many were looked at.
    spread : dict of (parameter) to dict of side to Spread
        Parameters are the fields of `Stride` that are numbers, ``time_s``, and one
        ``<joint>_rom_rad`` per angle (``knee_angle_rom_rad``).
    symmetry_percent : dict of parameter to float
        Symmetry index of the two means, ``100 (right - left) / ((right + left) / 2)``: 0 is symmetric,
        positive is a larger right side; NaN where a side is unknown or the sum is zero. Robinson,
        Herzog and Nigg (1987), J. Manipulative Physiol. Ther. 10(4).
    """

    strides: dict[str, int]
    spread: dict[str, dict[str, Spread]]
    symmetry_percent: dict[str, float]


def stride_statistics(strides: Iterable[Stride]) -> StrideStatistics:
    """Reduce strides (say, a ``deque`` of the last twenty) to their means and spreads, per leg."""
    by_side: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for stride in strides:
        by_side[stride.side].append(_numbers(stride))
    names = dict.fromkeys(name for rows in by_side.values() for row in rows for name in row)
    spread = {
        name: {
            side: spread_of([row[name] for row in rows if name in row])
            for side, rows in by_side.items()
        }
        for name in names
    }
    return StrideStatistics(
        {side: len(rows) for side, rows in by_side.items()},
        spread,
        {
            name: symmetry_percent(sides["r"].mean, sides["l"].mean)
            for name, sides in spread.items()
        },
    )


def _numbers(stride: Stride) -> dict[str, float]:
    numbers: dict[str, float] = {name: getattr(stride, name) for name in _PARAMETERS}
    # One name for both legs, or they could not be compared.
    ranges = {f"{name[:-2]}_rom_rad": value for name, value in stride.rom_rad.items()}
    return numbers | ranges


def spread_of(values: Sequence[float]) -> Spread:
    """Reduce one parameter of one leg to its mean and spread; NaN is left out."""
    known = [value for value in values if math.isfinite(value)]
    count = len(known)
    mean = math.fsum(known) / count if known else math.nan
    if count < 2:
        return Spread(count, mean, math.nan, math.nan)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (count - 1))
    return Spread(count, mean, sd, 100.0 * sd / abs(mean) if mean else math.nan)


def symmetry_percent(right: float, left: float) -> float:
    """Return the symmetry index of a right and a left mean; see `StrideStatistics`."""
    total = right + left
    return 200.0 * (right - left) / total if total else math.nan
