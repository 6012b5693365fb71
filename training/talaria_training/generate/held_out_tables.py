"""A study of a generative model as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

_WORTH_BEATING_DEG = 3.0


def tables(document: Mapping[str, Any]) -> Sequence[Table]:
    """Set fillings and forces beside the simple approaches, one pair of tables per data set."""
    rows = (*document["fills"], *document["gaps"], *document["forces"])
    sources = dict.fromkeys(row["source"] for row in rows)
    each = [show(document, source) for source in sources for show in (_fills, _gaps, _forces)]
    found = (*each, _intervals(document), _speeds(document))
    return [table for table in found if table.row_count]


def short(source: str) -> str:
    """Name a data set without what it holds."""
    return source.partition(" (")[0]


def remarks(document: Mapping[str, Any]) -> str:
    """Say in a few lines of Markdown, for a model's card, what was measured on people held out.

    Reports from before gaps were judged say nothing of them.
    """
    lines = ["## Measured on people held out", ""]
    filled = [row for row in document.get("gaps", ()) if row["approach"] == "model"]
    for source, rows in _by_source(filled).items():
        off = [row["rmse_deg"] for row in rows]
        lines.append(
            f"* {source}: ten seconds without a sensor filled, after rehearsals, {min(off):.1f} to "
            f"{max(off):.1f}° off."
        )
    told = [
        row
        for row in document.get("forces", ())
        if (row["missing"], row["approach"]) == ("nothing", "refined")
    ]
    for source, rows in _by_source(told).items():
        axes = ", ".join(row["axis"] for row in rows)
        figures = ", ".join(f"{row['mae_bw_pct']:.1f}" for row in rows)
        lines.append(f"* {source}: forces from all angles {figures} % of body weight off ({axes}).")
    return "\n".join(lines)


def _by_source(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(short(row["source"]), []).append(row)
    return found


def _fills(document: Mapping[str, Any], source: str) -> Table:
    rows = {
        (r["missing"], r["channel"], r["approach"]): r
        for r in document["fills"]
        if r["source"] == source
    }
    table = Table(
        title=f"{short(source)}: missing channels filled, RMSE in degrees, people held out"
    )
    for head in (
        "missing",
        "channel",
        "model",
        "mean curve",
        "regression",
        "below the better",
        "held by 90 %",
    ):
        table.add_column(head, justify="left" if head in ("missing", "channel") else "right")
    for missing, channel in dict.fromkeys((m, c) for m, c, _ in rows):
        model, curve, regression = (
            rows[missing, channel, approach] for approach in ("model", "mean curve", "regression")
        )
        simple = [v for v in (curve["rmse"], regression["rmse"]) if v is not None]
        better = min(simple, default=float("nan"))
        gain = f"{1 - model['rmse'] / better:.0%}" if better > _WORTH_BEATING_DEG else "–"
        table.add_row(
            missing,
            channel,
            f"{model['rmse']:.2f}",
            _cell(curve["rmse"]),
            _cell(regression["rmse"]),
            gain,
            f"{model['held']:.0%}",
        )
    return table


def _gaps(document: Mapping[str, Any], source: str) -> Table:
    rows = {
        (r["missing"], r["channel"], r["approach"]): r
        for r in document["gaps"]
        if r["source"] == source
    }
    approaches = tuple(dict.fromkeys(approach for *_, approach in rows))
    table = Table(
        title=f"{short(source)}: ten seconds without a sensor, filled after rehearsals, RMSE in degrees"
    )
    for head in ("missing", "channel", *approaches, "held by 90 %"):
        table.add_column(head, justify="left" if head in ("missing", "channel") else "right")
    for missing, channel in dict.fromkeys((m, c) for m, c, _ in rows):
        found = [rows[missing, channel, approach] for approach in approaches]
        held = next(row["held"] for row in found if row["held"] is not None)
        table.add_row(missing, channel, *(_cell(row["rmse_deg"]) for row in found), f"{held:.0%}")
    return table


def _forces(document: Mapping[str, Any], source: str) -> Table:
    rows = {
        (r["missing"], r["approach"], r["axis"]): r
        for r in document["forces"]
        if r["source"] == source
    }
    table = Table(
        title=f"{short(source)}: forces from kinematics, mean absolute error in % of body weight"
    )
    for head in ("missing", "approach", "vertical", "anterior", "lateral", "peak vertical"):
        table.add_column(head, justify="left" if head in ("missing", "approach") else "right")
    for missing, approach in dict.fromkeys((m, a) for m, a, _ in rows):
        of = {axis: rows[missing, approach, axis] for axis in ("vertical", "anterior", "lateral")}
        table.add_row(
            missing,
            approach,
            *(_cell(of[axis]["mae_bw_pct"]) for axis in of),
            _cell(of["vertical"]["peak_bw_pct"]),
        )
    return table


def _intervals(document: Mapping[str, Any]) -> Table:
    table = Table(title="90 % intervals of what is drawn: share held on people held out")
    for head in ("", "people", "as drawn", "widened", "worst person", "factor"):
        table.add_column(head, justify="right" if head else "left")
    for row in document["intervals"]:
        shares = (f"{row[what]:.0%}" for what in ("own", "held", "worst"))
        what = row["what"] if row["approach"] == "model" else f"{row['what']}, {row['approach']}"
        table.add_row(what, str(row["people"]), *shares, f"{row['factor']:.1f}")
    return table


def _speeds(document: Mapping[str, Any]) -> Table:
    table = Table(
        title="Forces of running at a speed that was left out: change from the lower one, in %"
    )
    for head in ("runner", "seen", "", "measured", "told", "90 %"):
        table.add_column(head, justify="right" if head in ("measured", "told", "90 %") else "left")
    for row in document["speeds"]:
        table.add_row(
            row["person"],
            "at other speeds" if row["seen"] else "no",
            row["what"],
            f"{row['measured_pct']:+.0f}",
            f"{row['told_pct']:+.0f}",
            f"{row['low_pct']:+.0f} to {row['high_pct']:+.0f}",
        )
    return table


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
