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
    held_out_nm_kg : tuple of (joint, error)
        The same of joint moments, N·m/kg; empty where there are none.
    """

    model_id: str
    trained_on: str
    people: tuple[str, ...]
    rate_hz: float
    intervals: Intervals | None = None
    held_out_bw_pct: tuple[tuple[str, float], ...] = ()
    held_out_nm_kg: tuple[tuple[str, float], ...] = ()


def known_of(report: Path, approach: str, about: ForceProvenance) -> ForceProvenance:
    """Add what a study found of one approach on people held out: its errors and its intervals.

    Raises
    ------
    RecordingError
        If the file is no such report, or says nothing of the approach.
    """
    errors, factors, level, who = _read(report, approach, "axis", "mae_bw_pct")
    if not errors or not factors:
        raise RecordingError(
            f"{report} does not say how good {approach} is on people held out: run 'talaria-train kinetics "
            f"evaluate --cores {approach} --json' on three people or more."
        )
    protocol = f"models of the same recipe, each tested on a person it was trained without ({who})"
    intervals = Intervals(level=level, factor=factors, protocol=protocol)
    return replace(about, intervals=intervals, held_out_bw_pct=tuple(errors.items()))


def moments_known_of(report: Path, approach: str, about: ForceProvenance) -> ForceProvenance:
    """Add what a study of moments found of one approach, beside what is known of its forces.

    Raises
    ------
    RecordingError
        If the file is no such report, says nothing of the approach, or is of another level of intervals.
    """
    errors, factors, level, who = _read(report, approach, "joint", "mae_nm_kg")
    if not errors or not factors:
        raise RecordingError(
            f"{report} does not say how good {approach}'s joint moments are on people held out: run "
            f"'talaria-train kinetics moments --core {approach} --json' on three people or more."
        )
    known = about.intervals
    if known is not None and known.level != level:
        raise RecordingError(
            f"{report} is about {level:.0%} intervals and the report of the forces about {known.level:.0%}: "
            "make both with one version."
        )
    protocol = f"models of the same recipe, each tested on a person it was trained without ({who})"
    if known is not None:
        factors = known.factor | factors
        protocol = known.protocol
    intervals = Intervals(level=level, factor=factors, protocol=protocol)
    return replace(about, intervals=intervals, held_out_nm_kg=tuple(errors.items()))


def _read(
    report: Path, approach: str, of: str, error: str
) -> tuple[dict[str, float], dict[str, float], float, str]:
    """Read errors by axis or joint, factors by output, their level, and who was held out; empty if in vain."""
    try:
        found = json.loads(report.read_text(encoding="utf-8"))
        errors = {
            e[of]: e[error]
            for e in found["summary"]
            if (e["approach"], e["condition"]) == (approach, EVERYTHING)
        }
        rows = [row for row in found["intervals"] if row["approach"] == approach]
        factors = {row["output"]: row["factor"] for row in rows}
        level = rows[0]["level"] if rows else 0.0
        return errors, factors, level, ", ".join(found["people"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}, {}, 0.0, ""
