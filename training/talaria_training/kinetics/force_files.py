"""What the card of a force model says that its network cannot know: whose, and how good on others."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from talaria_bridge.errors import RecordingError
from talaria_edge.spec import Intervals
from talaria_training.kinetics.force_scores import EVERYTHING


@dataclass(frozen=True, slots=True)
class ForceProvenance:
    """Where a force model comes from.

    Attributes
    ----------
    model_id : str
    trained_on : str
        Data set, licence and source, in one line.
    people : tuple of str
        Whose recordings were used.
    rate_hz : float
    intervals : Intervals or None
        Of the forces, measured on people held out.
    held_out_bw_pct : tuple of (axis, error)
        Mean absolute error on people held out, % of body weight.
    """

    model_id: str
    trained_on: str
    people: tuple[str, ...]
    rate_hz: float
    intervals: Intervals | None = None
    held_out_bw_pct: tuple[tuple[str, float], ...] = ()


def known_of(report: Path, approach: str, about: ForceProvenance) -> ForceProvenance:
    """Add what a study found of one approach on people held out: its errors and its intervals.

    Raises
    ------
    RecordingError
        If the file is no such report, or says nothing of the approach.
    """
    try:
        found = json.loads(report.read_text(encoding="utf-8"))
        errors = {
            e["axis"]: e["mae_bw_pct"]
            for e in found["summary"]
            if (e["approach"], e["condition"]) == (approach, EVERYTHING)
        }
        rows = [row for row in found["intervals"] if row["approach"] == approach]
        factors = {row["output"]: row["factor"] for row in rows}
        who = ", ".join(found["people"])
    except (OSError, ValueError, KeyError, TypeError):
        errors, factors, who = {}, {}, ""
    if not errors or not factors:
        raise RecordingError(
            f"{report} does not say how good {approach} is on people held out: run 'talaria-train kinetics "
            f"evaluate --cores {approach} --json' on three people or more."
        )
    protocol = f"models of the same recipe, each tested on a person it was trained without ({who})"
    intervals = Intervals(level=rows[0]["level"], factor=factors, protocol=protocol)
    return replace(about, intervals=intervals, held_out_bw_pct=tuple(errors.items()))
