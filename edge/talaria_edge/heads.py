"""What the columns of a model's output mean, beyond the outputs themselves; see `talaria_edge.spec.Head`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from talaria_edge.gait import SIDES
from talaria_edge.spec import ModelSpec

_LARGEST = 80.0  # past this the exponential of a width tells nothing more, and at 710 it overflows


class Heads:
    """Reader of a network's output, given as plain floats.

    Parameters
    ----------
    spec : ModelSpec
        Where the heads lie. What the model does not have reads as NaN.

    Attributes
    ----------
    delay_s : float
        How far back the contact head looks.
    classes : tuple of str
        Names of the classes, in the order of `classes_of`.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._names = tuple(output.name for output in spec.outputs)
        self._spread = spec.columns("spread")
        self._contact = spec.columns("contact")
        self._cycle = spec.columns("cycle")
        self._classes = spec.columns("gait_class") or slice(0, 0)
        self._novelty = spec.columns("novelty")
        contact, classes = spec.head("contact"), spec.head("gait_class")
        self.delay_s = 0.0 if contact is None else contact.delay_s
        self.classes = () if classes is None else classes.columns
        given = {} if spec.intervals is None else spec.intervals.factor
        self._factor = [given.get(name, math.nan) for name in self._names]
        self._unmeasured = spec.intervals is None
        self._unknown = dict.fromkeys(SIDES, math.nan)
        knees = [f"knee_angle_{side}" for side in SIDES]
        known = set(knees) <= set(self._names)
        self._knees = [self._names.index(knee) for knee in knees] if known else None

    def half_widths(self, y: Sequence[float], widened: float = 1.0) -> dict[str, float]:
        """Half-width of every output's interval, in its unit; NaN where the model has not been measured."""
        if self._spread is None or self._unmeasured:
            return dict.fromkeys(self._names, math.nan)
        widths = zip(self._names, self._factor, y[self._spread], strict=True)
        return {name: widened * factor * math.exp(min(v, _LARGEST)) for name, factor, v in widths}

    def contact(self, y: Sequence[float]) -> dict[str, float]:
        """Chance that each foot was on the ground `delay_s` ago."""
        if self._contact is None:
            return self._unknown
        return dict(zip(SIDES, map(_chance, y[self._contact]), strict=True))

    def cycle(self, y: Sequence[float]) -> dict[str, float]:
        """Position of each leg in its cycle, 0 to 1."""
        if self._cycle is None:
            return self._unknown
        cos_r, sin_r, cos_l, sin_l = y[self._cycle]
        turns = (math.atan2(sin_r, cos_r), math.atan2(sin_l, cos_l))
        return {s: (turn / (2.0 * math.pi)) % 1.0 for s, turn in zip(SIDES, turns, strict=True)}

    def classes_of(self, y: Sequence[float]) -> list[float]:
        """Log-likelihoods of the classes; zeros where the network gave no numbers."""
        return [0.0 if math.isnan(value) else value for value in y[self._classes]]

    def knees(self, y: Sequence[float]) -> tuple[float, float]:
        """Angle of the right and the left knee, rad; NaN where the model does not give both."""
        if self._knees is None:
            return math.nan, math.nan
        right, left = self._knees
        return y[right], y[left]

    def novelty(self, y: Sequence[float]) -> float:
        """Distance from anything seen in training."""
        return math.nan if self._novelty is None else y[self._novelty][0]


class Widening:
    """By how much intervals grow while the legs do what no training walk did.

    A network's own scale was learned on familiar gait and says too little of any other. So beyond the
    novelty limit, above which a stride is *unknown*, intervals grow in proportion to the novelty.

    Parameters
    ----------
    rate_hz : float
        Rate of the ticks.
    limit : float or None
        The model's novelty limit; without one nothing grows.

    Attributes
    ----------
    state : float
        Novelty of about the last second; assign it back to resume.
    """

    def __init__(self, rate_hz: float, limit: float | None) -> None:
        self._limit = limit
        self._share = -math.expm1(-1.0 / (_NOVELTY_S * rate_hz))
        self.state = 0.0

    def reset(self) -> None:
        """Forget what was seen."""
        self.state = 0.0

    def update(self, novelty: float) -> float:
        """Take in one tick's novelty, which may be NaN, and return the factor, 1 or more."""
        if self._limit is None:
            return 1.0
        if math.isfinite(novelty):
            self.state += self._share * (novelty - self.state)
        return max(1.0, self.state / self._limit)


_NOVELTY_S = 1.0
"""About a stride: novelty swings within each."""


def _chance(log_odds: float) -> float:
    if log_odds < 0.0:  # so that the exponential cannot overflow
        return math.exp(log_odds) / (1.0 + math.exp(log_odds))
    return 1.0 / (1.0 + math.exp(-log_odds))
