"""The stride check as tables, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def strides_tables(document: Mapping[str, Any]) -> list[Table]:
    """Build one table per reference of `talaria_training.strides_study.check`'s document."""
    tables = []
    if "people" in document:
        tables.append(_belt(document["people"]))
    if "optical" in document:
        tables.append(_optical(document["optical"]))
    if "loops" in document:
        tables.append(_loops(document["loops"]))
    return tables


def _table(title: str, caption: str, *columns: str) -> Table:
    table = Table(title=title, caption=caption)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table


def _belt(people: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table(
        "Walking speed against the treadmill's belt",
        "* thresholds were chosen on these people; the spread also holds the walker's own drifting",
        "person",
        "strides",
        "belt m/s",
        "error %",
        "worst foot and trial %",
        "length spread cm",
    )
    for person, row in people.items():
        table.add_row(
            person + (" *" if row["chosen_on"] else ""),
            str(row["strides"]),
            f"{row['belt_ms']:.3f}",
            f"{row['speed_error_percent']:+.1f}",
            f"{row['worst_foot_and_trial_percent']:+.1f}",
            f"{100 * row['length_error_sd_m']:.1f}",
        )
    return table


def _optical(optical: Mapping[str, Any]) -> Table:
    table = _table(
        "Stride length and speed against the optical heel marker (one person, both feet)",
        f"{optical['unknown']} strides without a length",
        "strides",
        "count",
        "mean m",
        "bias cm",
        "SD cm",
        "MAE cm",
        "speed bias m/s",
        "SD m/s",
    )
    for name in ("all", "straight"):
        row = optical[name]
        table.add_row(
            name,
            str(row["strides"]),
            f"{row['mean_length_m']:.2f}",
            f"{100 * row['length_bias_m']:+.1f}",
            f"{100 * row['length_sd_m']:.1f}",
            f"{100 * row['length_mae_m']:.1f}",
            f"{row['speed_bias_ms']:+.3f}",
            f"{row['speed_sd_ms']:.3f}",
        )
    return table


def _loops(loops: list[Mapping[str, Any]]) -> Table:
    table = _table(
        "Sum of stride lengths beside a loop's published, approximate length",
        "the first and the last step are no strides and are not in the sum",
        "walk",
        "strides",
        "sum m",
        "about m",
    )
    for row in loops:
        table.add_row(
            row["name"],
            str(row["strides"]),
            f"{row['sum_of_strides_m']:.1f}",
            f"{row['about_m']:.0f}",
        )
    return table
