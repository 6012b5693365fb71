"""What a study of cycle models found: averages over people, a ranking with intervals, and both as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

POOLED = "pooled"
_DRAWS = 4000
Row = Mapping[str, Any]


def summarise(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Average a study's rows over people, seeds first: per model and output, ``pooled`` last.

    Each entry has ``rmse``, ``mae``, ``r2`` and, but for ``pooled``, ``peak_mae`` and ``impulse_mae``.
    """
    table = []
    for model, rows in _by_model(document).items():
        for k, output in enumerate((*document["outputs"], POOLED)):
            entry: dict[str, Any] = {"model": model, "output": output}
            for what in ("rmse", "mae", "r2"):
                entry[what] = _mean(rows, "errors", k, what)
            for what in () if output == POOLED else ("peak_mae", "impulse_mae"):
                entry[what] = _mean(rows, "cycles", k, what)
            table.append(entry)
    return table


def ranking(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Order models by pooled RMSE, each with 95 % intervals over people and seeds.

    People are drawn with replacement, the same for all models in a draw, and for each of them and each model a
    seed (4000 draws). ``above_best`` is how far a model is above the one that is first overall; an interval
    that holds 0 does not tell the two apart.
    """
    random = np.random.default_rng(0)
    grids = {model: _grid(rows) for model, rows in _by_model(document).items()}
    people = len(next(iter(grids.values())))
    who = random.integers(people, size=(_DRAWS, people))
    drawn = {
        model: grid[who, random.integers(grid.shape[1], size=who.shape)].mean(axis=1)
        for model, grid in grids.items()
    }
    order = sorted(grids, key=lambda model: float(grids[model].mean()))
    found = []
    for model in order:
        apart = np.percentile(drawn[model] - drawn[order[0]], [2.5, 97.5])
        found.append(
            {
                "model": model,
                "rmse": float(grids[model].mean()),
                "interval": np.percentile(drawn[model], [2.5, 97.5]).tolist(),
                "above_best": apart.tolist(),
            }
        )
    return found


def tables(document: Mapping[str, Any]) -> tuple[Table, Table]:
    """Lay a study out: the ranking, and every model's figures per output."""
    unit = document["unit"]
    ranked = Table(title=f"Pooled RMSE, {unit}, 95 % intervals over people and seeds")
    ranked.add_column("model")
    for name in ("RMSE", "interval", "above the best"):
        ranked.add_column(name, justify="right")
    for row in document["ranking"]:
        low, high = row["interval"]
        less, more = row["above_best"]
        ranked.add_row(
            row["model"],
            f"{row['rmse']:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{less:+.3f} to {more:+.3f}",
        )
    each = Table(title=f"Per output and pooled, {unit}")
    each.caption = "Pooled R2 is about one mean of all outputs, which inflates it."
    for name in ("model", "output"):
        each.add_column(name)
    for name in ("RMSE", "MAE", "R2", "peak", "impulse"):
        each.add_column(name, justify="right")
    for row in document["summary"]:
        cells = (row.get(what) for what in ("rmse", "mae", "r2", "peak_mae", "impulse_mae"))
        each.add_row(
            row["model"], row["output"], *("–" if c is None else f"{c:.3f}" for c in cells)
        )
    return ranked, each


def _by_model(document: Mapping[str, Any]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in document["rows"]:
        found.setdefault(row["model"], []).append(row)
    return found


def _by_person(rows: Sequence[Row], kind: str, k: int, what: str) -> dict[str, list[float]]:
    people: dict[str, list[float]] = {}
    for row in sorted(rows, key=lambda r: (r["person"], r["seed"])):
        figure = row[kind][k][what]
        if figure is not None:
            people.setdefault(row["person"], []).append(figure)
    return people


def _mean(rows: Sequence[Row], kind: str, k: int, what: str) -> float | None:
    people = _by_person(rows, kind, k, what)
    return float(np.mean([np.mean(v) for v in people.values()])) if people else None


def _grid(rows: Sequence[Row]) -> NDArray[np.float64]:
    """Pooled RMSE by person and seed; every person was judged with every seed."""
    return np.array(list(_by_person(rows, "errors", -1, "rmse").values()))
