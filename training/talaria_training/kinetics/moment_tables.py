"""Tables of joint moments as targets and as outputs, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from talaria_training.kinetics.force_scores import EVERYTHING

_COLUMNS = (
    ("RMSE", "rmse_nm_kg"),
    ("MAE", "mae_nm_kg"),
    ("R²", "r2"),
    ("RMSE, levelled", "level_rmse_nm_kg"),
    ("highest", "highest_nm_kg"),
    ("lowest", "lowest_nm_kg"),
)
_PEAKS = (
    ("push-off", "push_off_nm_kg"),
    ("knee ext.", "knee_extension_nm_kg"),
    ("knee flex.", "knee_flexion_nm_kg"),
    ("hip ext.", "hip_extension_nm_kg"),
    ("hip flex.", "hip_flexion_nm_kg"),
)


def tables(document: Mapping[str, Any]) -> Sequence[Table]:
    """Build the tables of a study of moments: targets, errors, by condition, intervals."""
    summary = document["summary"]
    people = len(document["people"])
    shown = [_targets(document["targets"])]
    shown.append(_errors(summary, f"Joint moments, {people} people held out", (EVERYTHING,)))
    if document["summary_others"]:
        chosen = ", ".join(document["chosen_on"])
        title = f"The same without {chosen}, on whom settings were chosen"
        shown.append(_errors(document["summary_others"], title, (EVERYTHING,)))
    kinds = [k for k in dict.fromkeys(e["condition"] for e in summary) if k != EVERYTHING]
    if len(kinds) > 1:
        shown.append(_errors(summary, "By kind of walking", kinds))
    if document["intervals"]:
        shown.append(_intervals(document["intervals"]))
    return shown


def _targets(legs: Sequence[Mapping[str, Any]]) -> Table:
    out = sum(leg["left_out"] for leg in legs)
    table = Table(title=f"Moments by inverse dynamics: {out} of {_stances(legs)} stances left out")
    table.caption = (
        "Medians of the stances' peaks, N m/kg; under hip, knee, ankle: stances whose peak cannot be. A "
        "leg with more than half of them is left out whole."
    )
    for name in ("recording", "leg"):
        table.add_column(name, no_wrap=True)
    for name in ("stances", "hip", "knee", "ankle", "left out", *(name for name, _ in _PEAKS)):
        table.add_column(name, justify="right", no_wrap=True)
    for leg in legs:
        counts = (str(leg[name]) for name in ("stances", "hip", "knee", "ankle", "left_out"))
        peaks = (f"{leg[name]:.2f}" for _, name in _PEAKS)
        table.add_row(leg["recording"], leg["side"], *counts, *peaks)
    return table


def _stances(legs: Sequence[Mapping[str, Any]]) -> int:
    return sum(leg["stances"] for leg in legs)


def _errors(entries: Sequence[Mapping[str, Any]], title: str, kinds: Sequence[str]) -> Table:
    table = Table(title=f"{title}, N m/kg")
    table.caption = (
        "Mean over people ± their standard deviation. Pooled: about one mean of all joints, which inflates R². "
        "Levelled: each leg's mean error in each recording taken out. Highest, lowest: of whole stances."
    )
    for name in ("approach", "walking", "joint"):
        table.add_column(name, no_wrap=True)
    for name, _ in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    last = None
    for kind in kinds:
        for entry in (e for e in entries if e["condition"] == kind):
            here = (kind, entry["approach"])
            if last is not None and here != last:
                table.add_section()
            last = here
            cells = (_pair(entry[what], entry[f"{what}_sd_people"]) for _, what in _COLUMNS)
            table.add_row(entry["approach"], kind, entry["joint"], *cells)
    return table


def _intervals(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(
        title=f"{rows[0]['level']:.0%} intervals of moments, factors from the other people"
    )
    for name in ("approach", "output"):
        table.add_column(name, no_wrap=True)
    for name in ("held", "worst person", "half-width, N m/kg"):
        table.add_column(name, justify="right")
    for row in rows:
        cells = (f"{row['held']:.1%}", f"{row['worst']:.0%}", f"±{row['half_width_nm_kg']:.2f}")
        table.add_row(row["approach"], row["output"], *cells)
    return table


def _pair(value: float | None, sd: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if sd is None else f"{value:.3f} ± {sd:.3f}"
