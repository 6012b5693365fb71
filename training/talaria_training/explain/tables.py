"""How faithful the explanations of several models are, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def faithfulness(models: Mapping[str, Any]) -> Table:
    """One row per model of a study whose entries have their ``perturbation``."""
    first = next(iter(models.values()))["perturbation"]
    table = Table(
        title=f"area under the accuracy curve, {first['strides']} strides of {first['people']} people spoiled"
    )
    table.add_column("model", no_wrap=True)
    for column in ("most relevant first", "at random", "below random's", "95 %"):
        table.add_column(column, justify="right", no_wrap=True)
    for model, found in models.items():
        by = found["perturbation"]["accuracy"]
        below = by["most"]["below_random"]
        table.add_row(
            model,
            f"{by['most']['area']['value']:.3f}",
            f"{by['random']['area']['value']:.3f}",
            f"{below['value']:.3f}",
            f"{below['low']:.3f} to {below['high']:.3f}",
        )
    return table
