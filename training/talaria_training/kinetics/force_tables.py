"""Tables of a force study, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from talaria_training.kinetics.force_scores import EVERYTHING
from talaria_training.kinetics.targets import FORCE_AXES, OUTPUTS

_COLUMNS = (
    ("all samples", "mae_bw_pct"),
    ("on the plate", "stance_mae_bw_pct"),
    ("same clock", "same_clock_mae_bw_pct"),
    ("peak", "peak_bw_pct"),
)
_FITS = (
    ("RMSE", "rmse_bw_pct"),
    ("R²", "r2"),
    ("impulse, % BW s", "impulse_bw_pct_s"),
    ("R² pooled", "pooled_r2"),
)


def tables(document: Mapping[str, Any]) -> Sequence[Table]:
    """Build the tables of a study: errors, by condition, ranking, intervals, costs."""
    people = len(document["people"])
    title = f"Error in % of body weight, {people} people held out"
    shown = [_errors(document["summary"], title, (EVERYTHING,), document["delay_samples"])]
    shown.append(_fits(document["summary"]))
    others = document["summary_others"]
    if others:
        title = f"The same without {', '.join(document['chosen_on'])}, on whom settings were chosen"
        shown.append(_errors(others, title, (EVERYTHING,), document["delay_samples"]))
    kinds = [
        k for k in dict.fromkeys(e["condition"] for e in document["summary"]) if k != EVERYTHING
    ]
    if len(kinds) > 1:
        shown.append(
            _errors(document["summary"], "By kind of walking", kinds, document["delay_samples"])
        )
    shown.append(_ranking(document["ranking"]))
    if document["intervals"]:
        shown.append(_intervals(document["intervals"]))
    if document.get("costs"):
        shown.append(costs(document["costs"]))
    return shown


def _errors(
    entries: Sequence[Mapping[str, Any]], title: str, kinds: Sequence[str], delay: int
) -> Table:
    table = Table(title=title)
    table.caption = (
        "Mean absolute error, mean over people and seeds ± standard deviation of people. Same clock: after one "
        "shift per recording and plate that fits best. What the "
        f"networks say was so {delay} samples ago."
    )
    for name in ("approach", "walking", "axis"):
        table.add_column(name, no_wrap=True)
    for name, _ in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    last = None
    for entry in sorted(
        (e for e in entries if e["condition"] in kinds),
        key=lambda e: list(kinds).index(e["condition"]),
    ):
        here = (entry["condition"], entry["approach"])
        if last is not None and here != last:
            table.add_section()
        last = here
        cells = (_pair(entry[what], entry[f"{what}_sd_people"]) for _, what in _COLUMNS)
        table.add_row(entry["approach"], entry["condition"], entry["axis"], *cells)
    return table


def _fits(entries: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="The same people: root mean square, share explained, impulse of a stance")
    table.caption = (
        "R²: about each person's own mean of the axis; pooled: of all axes, which inflates it."
    )
    for name in ("approach", "axis"):
        table.add_column(name, no_wrap=True)
    for name, _ in _FITS:
        table.add_column(name, justify="right")
    for entry in (e for e in entries if e["condition"] == EVERYTHING):
        cells = (_pair(entry[what], entry[f"{what}_sd_people"]) for _, what in _FITS)
        table.add_row(entry["approach"], entry["axis"], *cells)
    return table


def _ranking(entries: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="Ranking: error over all samples in % of body weight, 95 % intervals")
    table.caption = "Over people and seeds; above the best: 95 % interval of the difference."
    for name in ("axis", "approach"):
        table.add_column(name)
    for name in ("mean", "interval", "above the best", "first in"):
        table.add_column(name, justify="right")
    for axis in FORCE_AXES:
        for entry in (e for e in entries if e["axis"] == axis):
            low, high = entry["interval"]
            less, more = entry["above_best"]
            table.add_row(
                axis,
                entry["approach"],
                f"{entry['mean']:.2f}",
                f"{low:.2f} to {high:.2f}",
                f"{less:+.2f} to {more:+.2f}",
                f"{entry['first']:.0%}",
            )
        table.add_section()
    return table


def _intervals(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=f"{rows[0]['level']:.0%} intervals: share held (worst person), half-width")
    table.caption = "Factors from the other people; half-width in % of body weight."
    table.add_column("output", no_wrap=True)
    approaches = list(dict.fromkeys(row["approach"] for row in rows))
    for approach in approaches:
        table.add_column(approach, justify="right")
    found = {(row["approach"], row["output"]): row for row in rows}
    for output in OUTPUTS:
        cells = (found.get((approach, output)) for approach in approaches)
        table.add_row(output, *("–" if cell is None else _held(cell) for cell in cells))
    return table


def costs(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Show what a network of each core costs."""
    table = Table(title="Cost of a step")
    table.caption = "Median of onnxruntime steps on one thread."
    table.add_column("core")
    for name in ("size", "parameters", "state", "step µs", "ONNX kB"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["core"],
            f"{row['hidden']} × {row['layers']}",
            f"{row['parameters']:,}",
            f"{row['state_values']:,}",
            f"{row['step_us']:.0f}",
            f"{row['onnx_bytes'] / 1e3:.0f}",
        )
    return table


def _held(row: Mapping[str, Any]) -> str:
    return f"{row['held']:.1%} ({row['worst']:.0%}), ±{row['half_width_bw_pct']:.1f}"


def _pair(value: float | None, sd: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if sd is None else f"{value:.2f} ± {sd:.2f}"
