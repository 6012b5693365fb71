"""What a session's walking came to: strides of each leg, kinds of gait, and how far headings drifted."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_edge.heading import HeadingDrift
from talaria_edge.strides import Stride
from talaria_edge.variability import Spread, StrideStatistics, stride_statistics

KEPT_STRIDES = 2000
"""Half an hour of walking; the statistics of a longer session are those of its last half hour."""


@dataclass(frozen=True, slots=True)
class GaitSummary:
    """A session's walking.

    Attributes
    ----------
    statistics : StrideStatistics
    classes : dict of gait class to number of strides
    heading_drift_rads : dict of slot to float
        Against the median of all sensors; NaN while too short to tell. Nothing depends on it.
    """

    statistics: StrideStatistics
    classes: dict[str, int]
    heading_drift_rads: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``session.toml`` keeps them; what is not known is left out."""
        spread = self.statistics.spread
        return {
            "strides": dict(self.statistics.strides),
            "classes": dict(self.classes),
            "heading_drift_rads": _known(self.heading_drift_rads),
            "mean": {
                name: _known({s: v.mean for s, v in row.items()}) for name, row in spread.items()
            },
            "cv_percent": {
                name: _known({s: v.cv_percent for s, v in row.items()})
                for name, row in spread.items()
            },
            "symmetry_percent": _known(self.statistics.symmetry_percent),
        }

    def spread(self, name: str) -> dict[str, Spread]:
        """One parameter of both legs; empty where there was no stride."""
        return self.statistics.spread.get(name, {})


class GaitLog:
    """Collector of a session's strides and headings.

    Parameters
    ----------
    rate_hz : float
    slots : sequence of str
        Rows of the attitudes.
    """

    def __init__(self, rate_hz: float, slots: Sequence[str]) -> None:
        self._slots = tuple(slots)
        self._strides: deque[Stride] = deque(maxlen=KEPT_STRIDES)
        self._classes: Counter[str] = Counter()
        self._heading = HeadingDrift(rate_hz, len(self._slots))

    def add(self, strides: Sequence[Stride], attitude: NDArray[np.float64] | None) -> None:
        """Take in one tick: the strides completed on it, and the segments' attitudes (S, 4)."""
        self._strides.extend(strides)
        self._classes.update(stride.gait_class.value for stride in strides)
        if attitude is not None:
            self._heading.update(attitude)

    def summary(self) -> GaitSummary:
        """Say what there was so far."""
        drift = dict(zip(self._slots, self._heading.drift_rads.tolist(), strict=True))
        return GaitSummary(stride_statistics(self._strides), dict(self._classes), drift)


def _known(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
