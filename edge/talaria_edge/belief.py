"""How far the numbers of one tick may be believed: one rule for angles, forces and moments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Validity(StrEnum):
    """How far a number may be believed."""

    GOOD = "good"
    DEGRADED = "degraded"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is wrong with the sensors at one tick.

    Attributes
    ----------
    sides : frozenset of str
        Sides (``"r"``, ``"l"``) a sensor of which is not to be believed fully.
    reasons : tuple of str
        Why.
    complete : bool
        Whether every sensor gave a reading.
    """

    sides: frozenset[str]
    reasons: tuple[str, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class Belief:
    """The numbers of one tick and what they are worth.

    Attributes
    ----------
    values, widths : dict of output name to float
        NaN where *invalid*; half-widths in the unit of the values.
    validity : dict of output name to Validity
    overall : Validity
        *Good* if every number is, *invalid* if none can be given.
    reason : str
        Why it is not good; empty when it is.
    """

    values: dict[str, float]
    widths: dict[str, float]
    validity: dict[str, Validity]
    overall: Validity
    reason: str


def believe(
    values: dict[str, float], widths: dict[str, float], limits: Mapping[str, float], doubt: Doubt
) -> Belief:
    """Judge every number by its interval and by the sensors of its side.

    A number is refused whose interval is wider than its limit, or unknown while a sensor is missing; it is
    degraded where a sensor of its side is in doubt.

    Parameters
    ----------
    values, widths : dict of output name to float
        Names end in the side; both become the belief's own.
    limits : mapping of output name to float
        Half-width above which a number is not shown.
    doubt : Doubt
    """
    degraded, good = Validity.DEGRADED, Validity.GOOD
    validity = {name: degraded if name[-1] in doubt.sides else good for name in values}
    vague = []
    for name, width in widths.items():
        if width > limits[name] or (math.isnan(width) and not doubt.complete):
            vague.append(name)
            validity[name] = Validity.INVALID
            values[name] = widths[name] = math.nan
    reasons = list(doubt.reasons)
    if vague and doubt.complete:
        reasons.append("too uncertain: " + ", ".join(vague))
    overall = degraded if reasons else good
    if len(vague) == len(validity):
        overall = Validity.INVALID
    return Belief(values, widths, validity, overall, "; ".join(reasons))


def nothing(names: Sequence[str], reason: str) -> Belief:
    """Give no number at all, and say why."""
    unknown = dict.fromkeys(names, math.nan)
    invalid = dict.fromkeys(names, Validity.INVALID)
    return Belief(unknown, dict(unknown), invalid, Validity.INVALID, reason)
