"""What a check of generated gait found, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

_FARTHEST = 12


def tables(document: Mapping[str, Any]) -> Sequence[Table]:
    """Show how well real and generated are told apart, what differs most, what is physical, and whose it is."""
    return [_told(document), _distances(document), _sanity(document), _privacy(document)]


def _told(document: Mapping[str, Any]) -> Table:
    table = _table(
        "Real people held out against generated ones: 50 % is no difference", "", "share", "95 %"
    )
    for one in document["told"]:
        table.add_row(f"told apart by {one['classifier']}", *_share(one["accuracy"]))
    for one in document["coverage"]:
        name = f"real cycles ({one['style']}) nearer to a generated one than to another person's"
        table.add_row(name, *_share(one["share"]))
    return table


def _distances(document: Mapping[str, Any]) -> Table:
    table = _table(
        "What differs most, in standard deviations of the real cycles",
        "", "real", "generated", "difference, 95 %", "spread, generated over real",
    )  # fmt: skip
    ranked = sorted(document["distances"], key=lambda one: -abs(one["shift"]["value"]))
    for one in ranked[:_FARTHEST]:
        shift, spread = one["shift"], one["spread"]
        table.add_row(
            one["name"],
            f"{one['real']:.3f}",
            f"{one['generated']:.3f}",
            f"{shift['value']:+.2f} ({shift['low']:+.2f} to {shift['high']:+.2f})",
            f"{spread['value']:.2f}",
        )
    return table


def _sanity(document: Mapping[str, Any]) -> Table:
    table = _table("Physical? Medians (95th percentiles)", "", "real", "generated")
    for row in document["sanity"]:
        cells = (
            "–" if row[kind] is None else f"{row[kind]:.3g} ({row[f'{kind}_95']:.3g})"
            for kind in ("real", "generated")
        )
        table.add_row(row["measure"].replace("_", " "), *cells)
    return table


def _privacy(document: Mapping[str, Any]) -> Table:
    table = _table(
        "Distance to the nearest cycle trained on: 1st percentile (median)",
        "model", "generated", "people held out", "one's own other cycles", "too close",
    )  # fmt: skip
    for number, one in enumerate(document["privacy"]):
        cells = (f"{one[k][0]:.2f} ({one[k][2]:.2f})" for k in ("generated", "held_out", "own"))
        table.add_row(f"fold {number}", *cells, f"{one['too_close']:.1%}")
    return table


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title)
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left")
    return table


def _share(interval: Mapping[str, float]) -> tuple[str, str]:
    return f"{interval['value']:.0%}", f"{interval['low']:.0%} to {interval['high']:.0%}"
