"""What the force under a foot did from its landing to its lifting off: peaks, loading rate, impulses.

A stance lies between two contacts of the gait detector and is given out once the force up to its end is
known. A stance in which any force could not be given has no numbers; nothing is guessed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from talaria_edge.belief import Validity
from talaria_edge.gait import SIDES, EventKind, GaitEvent

OUTWARDS = {"r": 1.0, "l": -1.0}
"""Where the outer side of each foot lies along an axis that points to the person's right."""
FORCE_AXES = ("anterior", "lateral", "vertical")
"""Of the force on one foot, body weights: what pushes the person forwards, towards the outer side of
that very foot, and up."""
Force = tuple[float, float, float]
"""Anterior, lateral and vertical, body weights."""

# Between which shares of the first peak the rise is taken as straight (Milner et al. 2006).
_RISE = (0.2, 0.8)
_MOST_GAPS = 0.1
"""Share of a stance's samples that may be missing; a tick lost now and then moves no peak."""


@dataclass(frozen=True, slots=True)
class StanceMetrics:
    """What one stance holds; a number that is not there is NaN.

    Attributes
    ----------
    first_peak_bw, second_peak_bw : float
        Highest maximum of the vertical force in the first and in the second half. A run, and a very
        slow walk, may have only one.
    peak_bw : float
        Highest vertical force.
    loading_rate_bw_s : float
        Slope of the vertical force between 20 and 80 % of its first maximum, body weights a second.
    impulse_bw_s : float
        Vertical force over the stance.
    braking_bw_s, propulsion_bw_s : float
        Backward (negative) and forward part of the force along the walk, over the stance.
    lateral_bw_s : float
        Force towards the outer side of the foot; negative where the ground pushes inwards.
    """

    first_peak_bw: float = math.nan
    second_peak_bw: float = math.nan
    peak_bw: float = math.nan
    loading_rate_bw_s: float = math.nan
    impulse_bw_s: float = math.nan
    braking_bw_s: float = math.nan
    propulsion_bw_s: float = math.nan
    lateral_bw_s: float = math.nan


METRICS = tuple(field.name for field in fields(StanceMetrics))
"""The numbers of a stance, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Stance:
    """One stance of one foot.

    Attributes
    ----------
    side : str
        ``"r"`` or ``"l"``.
    start_s, end_s : float
        Its two contacts, host seconds.
    metrics : StanceMetrics
        All NaN where `validity` is *invalid*.
    validity : Validity
        The worst of the forces in it.
    reason : str
        Why it is not good; empty when it is.
    """

    side: str
    start_s: float
    end_s: float
    metrics: StanceMetrics
    validity: Validity
    reason: str


@dataclass(frozen=True, slots=True)
class StanceParams:
    """What counts as a stance.

    Attributes
    ----------
    shortest_s : float
        Less than any stance of a run.
    longest_s : float
        Longer than that somebody stood.
    """

    shortest_s: float = 0.1
    longest_s: float = 2.0


@dataclass(frozen=True, slots=True)
class _Sample:
    """The force under one foot at one instant."""

    t_s: float
    force_bw: Force
    validity: Validity
    reason: str


@dataclass(frozen=True, slots=True)
class StanceMemory:
    """What is carried from tick to tick for one foot."""

    landed_s: float = -math.inf
    due: tuple[float, float] | None = None
    samples: tuple[_Sample, ...] = ()


class StanceStage:
    """Streaming stances of both feet.

    Parameters
    ----------
    rate_hz : float
        Rate of the ticks.
    params : StanceParams, optional
    """

    def __init__(self, rate_hz: float, params: StanceParams | None = None) -> None:
        self.rate_hz = rate_hz
        self.params = params or StanceParams()
        # Beyond the longest stance, because its end is announced late.
        self._kept = round((self.params.longest_s + 1.0) * rate_hz)
        self.reset()

    def reset(self) -> None:
        """Forget both feet."""
        self.state = {side: StanceMemory() for side in SIDES}

    @property
    def state(self) -> dict[str, StanceMemory]:
        """What is carried, per side; assign it back to resume."""
        return {
            side: StanceMemory(self._landed_s[side], self._due[side], tuple(self._samples[side]))
            for side in SIDES
        }

    @state.setter
    def state(self, value: Mapping[str, StanceMemory]) -> None:
        self._landed_s = {side: value[side].landed_s for side in SIDES}
        self._due = {side: value[side].due for side in SIDES}
        self._samples = {side: deque(value[side].samples, self._kept) for side in SIDES}

    def update(
        self,
        t_s: float,
        forces_bw: Mapping[str, Force],
        validity: Mapping[str, Validity],
        reason: str,
        events: Sequence[GaitEvent],
    ) -> tuple[Stance, ...]:
        """Advance by one tick.

        Parameters
        ----------
        t_s : float
            Instant of the forces, host seconds.
        forces_bw : mapping of side to (anterior, lateral, vertical)
        validity : mapping of side to Validity
            Of the worst of the three.
        reason : str
            Why they are not good.
        events : sequence of GaitEvent
            Contacts announced on this tick.

        Returns
        -------
        tuple of Stance
            Those completed on this tick; usually none.
        """
        done = []
        for side, samples in self._samples.items():
            samples.append(_Sample(t_s, forces_bw[side], validity[side], reason))
        for event in events:
            self._note(event)
        for side, due in self._due.items():
            if due is not None and t_s >= due[1]:
                self._due[side] = None
                done.append(self._close(side, *due))
        return tuple(done)

    def _note(self, event: GaitEvent) -> None:
        side = event.side
        if event.kind is EventKind.INITIAL_CONTACT:
            self._landed_s[side] = event.t_s
            return
        start_s, self._landed_s[side] = self._landed_s[side], -math.inf
        if self.params.shortest_s <= event.t_s - start_s <= self.params.longest_s:
            self._due[side] = (start_s, event.t_s)

    def _close(self, side: str, start_s: float, end_s: float) -> Stance:
        inside = [s for s in self._samples[side] if start_s <= s.t_s <= end_s]
        wanted = (end_s - start_s) * self.rate_hz
        if len(inside) < (1.0 - _MOST_GAPS) * wanted:
            missing = 1.0 - len(inside) / wanted
            reason = f"{missing:.0%} of the stance is missing"
            return Stance(side, start_s, end_s, StanceMetrics(), Validity.INVALID, reason)
        for worst in (Validity.INVALID, Validity.DEGRADED):
            odd = next((s for s in inside if s.validity is worst), None)
            if odd is not None:
                metrics = StanceMetrics() if worst is Validity.INVALID else self._measure(inside)
                return Stance(side, start_s, end_s, metrics, worst, odd.reason)
        return Stance(side, start_s, end_s, self._measure(inside), Validity.GOOD, "")

    def _measure(self, inside: Sequence[_Sample]) -> StanceMetrics:
        return measure(np.array([s.force_bw for s in inside]), self.rate_hz)


def measure(force_bw: NDArray[np.float64], rate_hz: float) -> StanceMetrics:
    """Reduce the force on one foot over one stance, shape (T, 3), `FORCE_AXES`, to its metrics."""
    along, lateral, vertical = force_bw.T
    tops = _maxima(vertical)
    half = len(vertical) / 2
    return StanceMetrics(
        first_peak_bw=_highest(vertical[tops[tops < half]]),
        second_peak_bw=_highest(vertical[tops[tops >= half]]),
        peak_bw=float(vertical.max()),
        loading_rate_bw_s=_rise(vertical, tops, rate_hz),
        impulse_bw_s=_over(vertical, rate_hz),
        braking_bw_s=_over(np.minimum(along, 0.0), rate_hz),
        propulsion_bw_s=_over(np.maximum(along, 0.0), rate_hz),
        lateral_bw_s=_over(lateral, rate_hz),
    )


def _maxima(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where a curve rises and then falls; the first sample of a level top."""
    turns = np.flatnonzero(np.diff(values, prepend=np.nan))  # NaN differs from anything
    steps = np.sign(np.diff(values[turns]))
    return turns[1:-1][(steps[:-1] > 0) & (steps[1:] < 0)]


def _highest(values: NDArray[np.float64]) -> float:
    return float(values.max()) if len(values) else math.nan


def _over(values: NDArray[np.float64], rate_hz: float) -> float:
    return float((values[1:] + values[:-1]).sum() / (2.0 * rate_hz))  # trapezoids


def _rise(vertical: NDArray[np.float64], tops: NDArray[np.intp], rate_hz: float) -> float:
    top = int(tops[0]) if len(tops) else int(vertical.argmax())
    if top < 1:
        return math.nan
    # Rising on the way to the first maximum, but for noise: what was reached stays reached.
    climb = np.maximum.accumulate(vertical[: top + 1])
    low, high = (
        float(np.interp(share * climb[-1], climb, np.arange(top + 1.0))) for share in _RISE
    )
    share = _RISE[1] - _RISE[0]
    return float(share * climb[-1] * rate_hz / (high - low)) if high > low else math.nan
