"""Which kind of gait a stride was: still, one of the kinds the model knows, or none that it knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.gait import EventKind, GaitClass, GaitEvent


@dataclass(frozen=True, slots=True)
class ClassParams:
    """When nobody walks, and when a verdict is out of date.

    Attributes
    ----------
    still_rads, still_s : float
        No foot turning faster than this for this long is standing (or sitting) still.
    fresh_s : float
        Without a whole stride for so long, and not still, the kind of gait is unknown.
    shortest_stride_s : float
        Initial contacts of one foot closer than this are no stride.
    """

    still_rads: float = 0.5
    still_s: float = 0.6
    fresh_s: float = 2.5
    shortest_stride_s: float = 0.4


@dataclass(frozen=True, slots=True)
class ClassMemory:
    """What the classifier carries from tick to tick.

    `sums` holds, per side, the class log-likelihoods and the novelty summed since that side's last
    initial contact, and `counts` the ticks in them.
    """

    still_since_s: float
    sums: NDArray[np.float64]
    counts: tuple[int, int]
    since_s: tuple[float, float]
    verdict: GaitClass
    confidence: float
    judged_s: float


class ClassStage:
    """Streaming class of gait, renewed with every stride of either leg.

    Parameters
    ----------
    classes : sequence of str
        Names of the model's classes, in the order of its columns; values of `GaitClass`.
    limit : float or None
        Mean novelty above which a stride is unlike anything in training; None where the model does
        not say, and every stride then counts as known.
    params : ClassParams, optional
    """

    def __init__(
        self, classes: Sequence[str], limit: float | None, params: ClassParams | None = None
    ) -> None:
        self.classes = tuple(GaitClass(name) for name in classes)
        self.limit = math.inf if limit is None else limit
        self.params = params or ClassParams()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._still_since_s = math.inf
        self._sums = np.zeros((2, len(self.classes) + 1))
        self._counts = [0, 0]
        self._since_s = [math.nan, math.nan]
        self._verdict, self._confidence = GaitClass.UNKNOWN, 0.0
        self._judged_s = -math.inf

    @property
    def state(self) -> ClassMemory:
        """What is carried; assign it back to resume."""
        return ClassMemory(
            self._still_since_s,
            self._sums.copy(),
            (self._counts[0], self._counts[1]),
            (self._since_s[0], self._since_s[1]),
            self._verdict,
            self._confidence,
            self._judged_s,
        )

    @state.setter
    def state(self, value: ClassMemory) -> None:
        self._still_since_s = value.still_since_s
        self._sums = value.sums.copy()
        self._counts, self._since_s = list(value.counts), list(value.since_s)
        self._verdict, self._confidence = value.verdict, value.confidence
        self._judged_s = value.judged_s

    def update(
        self,
        t_s: float,
        foot_rads: float,
        said: NDArray[np.float32],
        novelty: float,
        events: Sequence[GaitEvent],
    ) -> tuple[GaitClass, float]:
        """Advance by one tick.

        Parameters
        ----------
        t_s : float
            Instant of the tick, seconds.
        foot_rads : float
            Fastest rate of any foot (or thigh, where there is no foot) that is there, rad/s.
        said : ndarray, shape (classes,)
            The network's log-likelihoods; ignored without classes.
        novelty : float
            The network's distance from its training; NaN where it gives none.
        events : sequence of GaitEvent
            Those announced on this tick.

        Returns
        -------
        gait_class : GaitClass
        confidence : float
            Chance of the class among those known, 0 to 1; of being still, 1; 0 when unknown.
        """
        self._sums[:, :-1] += said
        self._sums[:, -1] += 0.0 if math.isnan(novelty) else novelty
        self._counts = [count + 1 for count in self._counts]
        for event in events:
            if event.kind is EventKind.INITIAL_CONTACT:
                self._finish_stride("rl".index(event.side), t_s)
        p = self.params
        moving = not foot_rads < p.still_rads
        self._still_since_s = math.inf if moving else min(self._still_since_s, t_s)
        if t_s - self._still_since_s >= p.still_s:
            return GaitClass.STILL, 1.0
        if t_s - self._judged_s > p.fresh_s:
            return GaitClass.UNKNOWN, 0.0
        return self._verdict, self._confidence

    def _finish_stride(self, side: int, t_s: float) -> None:
        length_s = t_s - self._since_s[side]
        mean = self._sums[side] / self._counts[side]
        self._sums[side] = 0.0
        self._counts[side] = 0
        self._since_s[side] = t_s
        if self.params.shortest_stride_s <= length_s <= self.params.fresh_s and self.classes:
            self._verdict, self._confidence = self._judge(mean)
            self._judged_s = t_s

    def _judge(self, mean: NDArray[np.float64]) -> tuple[GaitClass, float]:
        if mean[-1] > self.limit:
            return GaitClass.UNKNOWN, 0.0
        likely = np.exp(mean[:-1] - mean[:-1].max())
        best = int(likely.argmax())
        return self.classes[best], float(likely[best] / likely.sum())
