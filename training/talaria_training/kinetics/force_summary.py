"""A force study in few numbers: means over people and seeds, what intervals held, and who is best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_training.intervals import LEVEL, factor
from talaria_training.kinetics.force_scores import EVERYTHING, ForceEvidence, ForceRow

MEASURES = (
    "mae_bw_pct",
    "stance_mae_bw_pct",
    "same_clock_mae_bw_pct",
    "peak_bw_pct",
    "rmse_bw_pct",
    "r2",
    "impulse_bw_pct_s",
    "pooled_r2",
)
"""The numbers of a `ForceRow`."""
_DRAWS = 4000


def coverage(found: Sequence[ForceEvidence]) -> list[dict[str, Any]]:
    """Measure intervals on each person with factors from the others; needs three people or more.

    Returns
    -------
    list of dict
        Per approach and output, over people and seeds: ``held``, ``worst``, ``half_width_bw_pct``, and the
        ``factor`` that a further person would get.
    """
    rows = []
    for approach, output in dict.fromkeys((e.approach, e.output) for e in found):
        mine = [e for e in found if (e.approach, e.output) == (approach, output)]
        if len({e.person for e in mine}) < 3:
            continue
        held, widths = [], []
        for one in mine:
            others = [np.array(e.scores) for e in mine if e.person != one.person]
            chosen = factor(others)
            held.append(float((np.array(one.scores) <= chosen).mean()))
            widths.append(100.0 * chosen * one.scale_bw)
        rows.append(
            {
                "approach": approach,
                "output": output,
                "level": LEVEL,
                "held": float(np.mean(held)),
                "worst": min(held),
                "half_width_bw_pct": float(np.mean(widths)),
                "factor": factor([np.array(e.scores) for e in mine]),
            }
        )
    return rows


def summarise(rows: Sequence[ForceRow]) -> list[dict[str, Any]]:
    """Average over people, seeds first; with the standard deviations over people and over seeds."""
    table = []
    keys = dict.fromkeys((r.approach, r.condition, r.axis) for r in rows)
    for approach, condition, axis in keys:
        mine = [r for r in rows if (r.approach, r.condition, r.axis) == (approach, condition, axis)]
        entry: dict[str, Any] = {"approach": approach, "condition": condition, "axis": axis}
        entry |= {"people": len({r.person for r in mine}), "seeds": len({r.seed for r in mine})}
        for what in MEASURES:
            entry |= _spread(what, by_person_and_seed(mine, what))
        table.append(entry)
    return table


def _spread(what: str, grid: NDArray[np.float64]) -> dict[str, float | None]:
    """Average over people and seeds, of whom everything is known; None where nobody is left."""
    known = grid[np.isfinite(grid).all(axis=1)]
    if not len(known):
        return dict.fromkeys((what, f"{what}_sd_people", f"{what}_sd_seeds"))
    return {
        what: _number(known.mean()),
        f"{what}_sd_people": _number(_sd(known.mean(axis=1))),
        f"{what}_sd_seeds": _number(_sd(known.mean(axis=0))),
    }


def by_person_and_seed(rows: Sequence[ForceRow], what: str) -> NDArray[np.float64]:
    """Lay one number of rows of one approach, condition and axis out by person and seed."""
    people, seeds = sorted({r.person for r in rows}), sorted({r.seed for r in rows})
    grid = np.full((len(people), len(seeds)), np.nan)
    for row in rows:
        grid[people.index(row.person), seeds.index(row.seed)] = getattr(row, what)
    return grid


def ranking(rows: Sequence[ForceRow], axis: str, what: str = "mae_bw_pct") -> list[dict[str, Any]]:
    """Rank approaches on one axis, with 95 % intervals over people and seeds.

    People are drawn with replacement, then for each of them, and each approach by itself, seeds (a bootstrap
    of two levels, 4000 draws); all approaches meet the same people in a draw. ``first`` is in how many draws
    an approach had the least error; ``above_best`` is how far it was above the one that is first overall.
    """
    mine = [r for r in rows if r.condition == EVERYTHING and r.axis == axis]
    names = list(dict.fromkeys(r.approach for r in mine))
    if not names:
        return []
    grids = [by_person_and_seed([r for r in mine if r.approach == n], what) for n in names]
    random = np.random.default_rng(0)
    means = np.stack([_draws(grid, random.spawn(1)[0]) for grid in grids])
    overall = [float(np.nanmean(grid)) for grid in grids]
    best = int(np.argmin(overall))
    first = np.bincount(means.argmin(axis=0), minlength=len(names)) / means.shape[1]
    found = []
    for i in np.argsort(overall):
        low, high = np.percentile(means[i], [2.5, 97.5])
        apart = np.percentile(means[i] - means[best], [2.5, 97.5])
        found.append(
            {
                "approach": names[i],
                "axis": axis,
                "mean": overall[i],
                "interval": [float(low), float(high)],
                "above_best": [float(v) for v in apart],
                "first": float(first[i]),
            }
        )
    return found


def _draws(grid: NDArray[np.float64], seeds: np.random.Generator) -> NDArray[np.float64]:
    """Draw means of a (people, seeds) grid; the people drawn depend on nothing but their number."""
    people, width = grid.shape
    who = np.random.default_rng(0).integers(people, size=(_DRAWS, people))
    which = seeds.integers(width, size=(_DRAWS, people, width))
    drawn = np.take_along_axis(grid[who], which, axis=2)
    return np.asarray(np.nanmean(drawn, axis=(1, 2)))


def _sd(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _number(value: float | np.floating[Any]) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
