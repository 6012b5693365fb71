"""What a session's stances came to, per leg: means, variation, symmetry, and what had to be left out."""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from talaria_edge.belief import Validity
from talaria_edge.forces import Loads
from talaria_edge.gait import SIDES
from talaria_edge.stances import METRICS, Stance
from talaria_edge.variability import Spread, spread_of, symmetry_percent

KEPT_STANCES = 4000
"""More than half an hour of walking; the statistics of a longer session are those of its last part."""


@dataclass(frozen=True, slots=True)
class StanceStatistics:
    """Some stances of both legs in a few numbers.

    Attributes
    ----------
    used, left_out : dict of side to int
        Only stances whose forces are all *good* count.
    reasons : dict of reason to int
        Why stances were left out, the commonest first.
    spread : dict of metric to dict of side to Spread
        Metrics are `talaria_edge.stances.METRICS`.
    symmetry_percent : dict of metric to float
        Symmetry index of the two means; see `talaria_edge.variability.StrideStatistics`.
    """

    used: dict[str, int]
    left_out: dict[str, int]
    reasons: dict[str, int]
    spread: dict[str, dict[str, Spread]]
    symmetry_percent: dict[str, float]


@dataclass(frozen=True, slots=True)
class ForceSummary:
    """A session's forces.

    Attributes
    ----------
    statistics : StanceStatistics
    disagreeing_s : dict of side to float
        How long force and contact contradicted each other, beyond the first moment of each time.
    """

    statistics: StanceStatistics
    disagreeing_s: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``session.toml`` keeps them; what is not known is left out."""
        found = self.statistics
        means = {
            name: {side: one.mean for side, one in row.items() if one.count}
            for name, row in found.spread.items()
        }
        return {
            "stances": dict(found.used),
            "left_out": dict(found.left_out),
            "disagreeing_s": dict(self.disagreeing_s),
            "mean": means,
            "symmetry_percent": {
                n: v for n, v in found.symmetry_percent.items() if math.isfinite(v)
            },
        }


class ForceLog:
    """Collector of a session's stances.

    Parameters
    ----------
    rate_hz : float
        Rate of the ticks.
    """

    def __init__(self, rate_hz: float) -> None:
        self._tick_s = 1.0 / rate_hz
        self._stances: deque[Stance] = deque(maxlen=KEPT_STANCES)
        self._disagreeing = dict.fromkeys(SIDES, 0)

    def add(self, loads: Loads) -> None:
        """Take in one tick."""
        self._stances.extend(loads.stances)
        for side in loads.disagreeing:
            self._disagreeing[side] += 1

    def summary(self) -> ForceSummary:
        """Say what there was so far."""
        seconds = {side: ticks * self._tick_s for side, ticks in self._disagreeing.items()}
        return ForceSummary(stance_statistics(self._stances), seconds)


def stance_statistics(stances: Iterable[Stance]) -> StanceStatistics:
    """Reduce stances to their means and spreads, per leg."""
    used: dict[str, list[Stance]] = {side: [] for side in SIDES}
    left_out = dict.fromkeys(SIDES, 0)
    reasons: Counter[str] = Counter()
    for stance in stances:
        if stance.validity is Validity.GOOD:
            used[stance.side].append(stance)
        else:
            left_out[stance.side] += 1
            reasons[plain_reason(stance.reason)] += 1
    spread = {
        name: {
            side: spread_of([getattr(stance.metrics, name) for stance in found])
            for side, found in used.items()
        }
        for name in METRICS
    }
    return StanceStatistics(
        {side: len(found) for side, found in used.items()},
        left_out,
        dict(reasons.most_common()),
        spread,
        {name: symmetry_percent(row["r"].mean, row["l"].mean) for name, row in spread.items()},
    )


def plain_reason(reason: str) -> str:
    """Keep the first of several reasons, without what differs from stance to stance: how long, how much."""
    first = reason.partition(";")[0]
    return re.sub(r"\d+% of", "part of", re.sub(r" for [0-9.]+ s\b", "", first))
