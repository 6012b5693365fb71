"""Which kind of gait a stride was: still, one of the kinds the model knows, or none that it knows.

People differ more than their gaits do: what is one wearer's usual knee looks stiff beside another's. So
where it is known how far this wearer's knees usually move in a stride, a stride counts as stiff-knee only
if the network says so *and* one of the knees moves clearly less than usual.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from talaria_edge.gait import SIDES, EventKind, GaitClass, GaitEvent


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
    held : float
        Share of its usual range below which a knee counts as held stiff. Chosen on CapSense Sub01, Sub04
        and Sub07, where anything from 0.82 to 0.90 did equally well.
    held_blur : float
        How far a stride's share strays in the same gait: over so much the verdict goes from sure to sure.
    """

    still_rads: float = 0.5
    still_s: float = 0.6
    fresh_s: float = 2.5
    shortest_stride_s: float = 0.4
    held: float = 0.85
    held_blur: float = 0.03


@dataclass(frozen=True, slots=True)
class ClassMemory:
    """What the classifier carries from tick to tick.

    `sums` holds, per side, the class log-likelihoods and the novelty summed since that side's last
    initial contact, and `counts` the ticks in them. `lowest` and `highest` are the knees' angles since
    then, rad, and `shares` how far each knee moved in its last stride, as a share of the usual.
    """

    still_since_s: float
    sums: tuple[tuple[float, ...], ...]
    counts: tuple[int, int]
    since_s: tuple[float, float]
    lowest: tuple[float, float]
    highest: tuple[float, float]
    shares: tuple[float, float]
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
    usual_rad : mapping of side to float, optional
        How far the wearer's knees usually move in a stride; without it the network's word stands alone.
    """

    def __init__(
        self,
        classes: Sequence[str],
        limit: float | None,
        params: ClassParams | None = None,
        usual_rad: Mapping[str, float] | None = None,
    ) -> None:
        self.classes = tuple(GaitClass(name) for name in classes)
        self.usual_rad = usual_rad
        self.limit = math.inf if limit is None else limit
        self.params = params or ClassParams()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._still_since_s = math.inf
        self._sums = [[0.0] * (len(self.classes) + 1) for _ in SIDES]
        self._counts = [0, 0]
        self._since_s = [math.nan, math.nan]
        self._lowest, self._highest = [math.inf, math.inf], [-math.inf, -math.inf]
        self._shares = [math.nan, math.nan]
        self._verdict, self._confidence = GaitClass.UNKNOWN, 0.0
        self._judged_s = -math.inf

    @property
    def state(self) -> ClassMemory:
        """What is carried; assign it back to resume."""
        return ClassMemory(
            self._still_since_s,
            tuple(map(tuple, self._sums)),
            (self._counts[0], self._counts[1]),
            (self._since_s[0], self._since_s[1]),
            (self._lowest[0], self._lowest[1]),
            (self._highest[0], self._highest[1]),
            (self._shares[0], self._shares[1]),
            self._verdict,
            self._confidence,
            self._judged_s,
        )

    @state.setter
    def state(self, value: ClassMemory) -> None:
        self._still_since_s = value.still_since_s
        self._sums = list(map(list, value.sums))
        self._counts, self._since_s = list(value.counts), list(value.since_s)
        self._lowest, self._highest = list(value.lowest), list(value.highest)
        self._shares = list(value.shares)
        self._verdict, self._confidence = value.verdict, value.confidence
        self._judged_s = value.judged_s

    def update(
        self,
        t_s: float,
        foot_rads: float,
        said: Sequence[float],
        novelty: float,
        events: Sequence[GaitEvent],
        knees_rad: tuple[float, float] = (math.nan, math.nan),
    ) -> tuple[GaitClass, float]:
        """Advance by one tick.

        Parameters
        ----------
        t_s : float
            Instant of the tick, seconds.
        foot_rads : float
            Fastest rate of any foot (or thigh, where there is no foot) that is there, rad/s.
        said : sequence of float, one per class
            The network's log-likelihoods.
        novelty : float
            The network's distance from its training; NaN where it gives none.
        events : sequence of GaitEvent
            Those announced on this tick.
        knees_rad : (float, float)
            Angle of the right and the left knee; NaN where it is not to be relied on, and that knee then
            has no say about the stride.

        Returns
        -------
        gait_class : GaitClass
        confidence : float
            Chance of the class among those known, 0 to 1; of being still, 1; 0 when unknown.
        """
        more = [*said, 0.0 if math.isnan(novelty) else novelty]
        self._sums = [[a + b for a, b in zip(sums, more, strict=True)] for sums in self._sums]
        self._counts = [count + 1 for count in self._counts]
        for side, angle_rad in enumerate(knees_rad):
            # A NaN stays until the stride is over, which min and max alone would not see to.
            known = not math.isnan(angle_rad + self._lowest[side])
            self._lowest[side] = min(self._lowest[side], angle_rad) if known else math.nan
            self._highest[side] = max(self._highest[side], angle_rad) if known else math.nan
        for event in events:
            if event.kind is EventKind.INITIAL_CONTACT:
                self._finish_stride(SIDES.index(event.side), t_s)
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
        mean = [value / self._counts[side] for value in self._sums[side]]
        self._sums[side] = [0.0] * len(mean)
        self._counts[side] = 0
        self._since_s[side] = t_s
        range_rad = self._highest[side] - self._lowest[side]
        self._lowest[side], self._highest[side] = math.inf, -math.inf
        whole = self.params.shortest_stride_s <= length_s <= self.params.fresh_s
        usual_rad = (self.usual_rad or {}).get(SIDES[side], math.nan)
        self._shares[side] = range_rad / usual_rad if whole and usual_rad > 0.0 else math.nan
        if whole and self.classes:
            self._verdict, self._confidence = self._judge(mean)
            self._judged_s = t_s

    def _judge(self, mean: Sequence[float]) -> tuple[GaitClass, float]:
        *known, novelty = mean
        if novelty > self.limit:
            return GaitClass.UNKNOWN, 0.0
        chances = self._weigh_knees(_chances(known), known)
        best = max(range(len(chances)), key=chances.__getitem__)
        return self.classes[best], chances[best]

    def _weigh_knees(self, chances: list[float], said: Sequence[float]) -> list[float]:
        """Let a stiff knee be no likelier than the knee that moves least, against its usual, makes it."""
        known = [share for share in self._shares if not math.isnan(share)]
        if not known or GaitClass.STIFF_KNEE not in self.classes:
            return chances
        stiff = self.classes.index(GaitClass.STIFF_KNEE)
        beyond = (min(known) - self.params.held) / self.params.held_blur
        held = 0.5 - 0.5 * math.tanh(0.5 * beyond)
        if held >= chances[stiff] or len(self.classes) == 1:
            return chances
        others = _chances([value for k, value in enumerate(said) if k != stiff])
        weighed = [(1.0 - held) * chance for chance in others]
        return [*weighed[:stiff], held, *weighed[stiff:]]


def _chances(said: Sequence[float]) -> list[float]:
    top = max(said)
    likely = [math.exp(value - top) for value in said]
    total = sum(likely)
    return [value / total for value in likely]
