"""What the columns of a model's output mean, beyond the angles; see `talaria_edge.spec.Head`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from talaria_edge.gait import SIDES
from talaria_edge.spec import ModelSpec


class Heads:
    """Reader of a network's output.

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
        self._factor = np.array([given.get(name, math.nan) for name in self._names])
        self._unmeasured = spec.intervals is None
        self._unknown = dict.fromkeys(SIDES, math.nan)

    def half_widths_rad(self, y: NDArray[np.float32]) -> dict[str, float]:
        """Half-width of every angle's interval; NaN where the model has not been measured."""
        if self._spread is None or self._unmeasured:
            return dict.fromkeys(self._names, math.nan)
        widths = self._factor * np.exp(y[self._spread])
        return dict(zip(self._names, widths.tolist(), strict=True))

    def contact(self, y: NDArray[np.float32]) -> dict[str, float]:
        """Chance that each foot was on the ground `delay_s` ago."""
        if self._contact is None:
            return self._unknown
        odds = y[self._contact].tolist()
        chances = [math.nan if math.isnan(v) else _chance(v) for v in odds]
        return dict(zip(SIDES, chances, strict=True))

    def cycle(self, y: NDArray[np.float32]) -> dict[str, float]:
        """Position of each leg in its cycle, 0 to 1."""
        if self._cycle is None:
            return self._unknown
        cos_r, sin_r, cos_l, sin_l = y[self._cycle].tolist()
        turns = (math.atan2(sin_r, cos_r), math.atan2(sin_l, cos_l))
        return {s: (turn / (2.0 * math.pi)) % 1.0 for s, turn in zip(SIDES, turns, strict=True)}

    def classes_of(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-likelihoods of the classes; zeros where the network gave no numbers."""
        return np.nan_to_num(y[self._classes])

    def novelty(self, y: NDArray[np.float32]) -> float:
        """Distance from anything seen in training."""
        return math.nan if self._novelty is None else float(y[self._novelty][0])


def _chance(log_odds: float) -> float:
    if log_odds < 0:  # so that the exponential cannot overflow
        return math.exp(log_odds) / (1.0 + math.exp(log_odds))
    return 1.0 / (1.0 + math.exp(-log_odds))
