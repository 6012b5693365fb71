"""Strides as numbers: time, cadence, stance, double support, length, speed and range of motion.

A stride runs from one initial contact of a foot to the next. It is given out once its length is
known, which takes until that foot has come to rest again and begins to roll on: at the latest when it
lifts off. What cannot be known is NaN; nothing is guessed.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.samples import Vec3
from talaria_edge.features import SegmentState
from talaria_edge.gait import SIDES, EventKind, GaitClass, GaitEvent
from talaria_edge.travel import FootReading, FootTravel, TravelMemory, TravelParams

_MOST_EVENTS = 24
"""Contacts kept: six strides of two feet, where a stride and the other foot's contacts in it need one."""


@dataclass(frozen=True, slots=True)
class Stride:
    """One stride of one leg; a number that could not be measured is NaN.

    Attributes
    ----------
    side : str
        ``"r"`` or ``"l"``.
    start_s, end_s : float
        The two initial contacts, host seconds.
    stance_s : float
        From the first contact to the foot's leaving the ground.
    step_time_s : float
        From the other foot's initial contact to the one that ends the stride.
    cadence_spm : float
        Steps per minute at this stride's pace.
    stance_ratio, double_support_ratio : float
        Share of the stride with this foot, and with both feet, on the ground.
    length_m : float
        Horizontal distance from flat foot to flat foot; on a treadmill, along the belt.
    speed_ms : float
        That length over the time of the stride.
    rom_rad : dict of OpenSim name to float
        Largest minus smallest angle, for the angles of this side.
    gait_class : GaitClass
        The commonest one during the stride.
    """

    side: str
    start_s: float
    end_s: float
    stance_s: float
    step_time_s: float
    cadence_spm: float
    stance_ratio: float
    double_support_ratio: float
    length_m: float
    speed_ms: float
    rom_rad: dict[str, float]
    gait_class: GaitClass

    @property
    def time_s(self) -> float:
        """Stride time."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class StrideParams:
    """What counts as a stride.

    Attributes
    ----------
    longest_s : float
        Initial contacts further apart have a pause between them and not a stride.
    shortest_s : float
        Closer ones are a fault of the detector.
    travel : TravelParams
    """

    longest_s: float = 3.0
    shortest_s: float = 0.4
    travel: TravelParams = field(default_factory=TravelParams)


@dataclass(frozen=True, slots=True)
class _Moment:
    """The angles and the class of gait at one tick."""

    t_s: float
    angles_rad: dict[str, float]
    gait_class: GaitClass


@dataclass(frozen=True, slots=True)
class StrideMemory:
    """Everything the stage carries from tick to tick."""

    events: tuple[GaitEvent, ...]
    open: dict[str, tuple[float, float]]
    moments: tuple[_Moment, ...]
    travel: dict[str, TravelMemory]


class StrideStage:
    """Streaming stride parameters of both legs.

    Parameters
    ----------
    rate_hz : float
        Rate of the ticks.
    feet : mapping of side to int
        Row of each foot in the segment state; a side that is absent gets no length and no speed.
    params : StrideParams, optional
    """

    def __init__(
        self, rate_hz: float, feet: Mapping[str, int], params: StrideParams | None = None
    ) -> None:
        self.params = params or StrideParams()
        self._rows = dict(feet)
        self._kept = round(2.0 * self.params.longest_s * rate_hz)
        self._travel = {side: FootTravel(rate_hz, self.params.travel) for side in SIDES}
        self.reset()

    def reset(self) -> None:
        """Forget both legs."""
        self._events: deque[GaitEvent] = deque(maxlen=_MOST_EVENTS)
        self._moments: deque[_Moment] = deque(maxlen=self._kept)
        self._open: dict[str, tuple[float, float]] = {}  # strides whose end has been seen, by side
        for travel in self._travel.values():
            travel.reset()

    @property
    def state(self) -> StrideMemory:
        """What the stage carries; assign it back to resume."""
        return StrideMemory(
            tuple(self._events),
            dict(self._open),
            tuple(self._moments),
            {side: travel.state for side, travel in self._travel.items()},
        )

    @state.setter
    def state(self, value: StrideMemory) -> None:
        self._events = deque(value.events, maxlen=_MOST_EVENTS)
        self._moments = deque(value.moments, maxlen=self._kept)
        self._open = dict(value.open)
        for side, travel in self._travel.items():
            travel.state = value.travel[side]

    def update(
        self,
        t_s: float,
        events: Iterable[GaitEvent],
        segment: SegmentState | None,
        angles_rad: Mapping[str, float],
        gait_class: GaitClass,
        present: Sequence[bool] | None = None,
    ) -> tuple[Stride, ...]:
        """Advance by one tick.

        Parameters
        ----------
        t_s : float
            Instant of the tick, seconds.
        events : iterable of GaitEvent
            Contacts announced on this tick, with their own times.
        segment : SegmentState or None
            The legs in segment frames; a row that is not finite is a foot nobody sees.
        angles_rad : mapping of OpenSim name to float
            Joint angles, NaN where invalid.
        gait_class : GaitClass
        present : sequence of bool, optional
            Which rows of `segment` are readings and not stand-ins; all, if absent. A stand-in must
            not be taken for a foot at rest.

        Returns
        -------
        tuple of Stride
            Those completed on this tick; usually none.
        """
        self._moments.append(_Moment(t_s, dict(angles_rad), gait_class))
        done = [stride for event in events for stride in self._take(event)]
        for side, travel in self._travel.items():
            travel.update(self._reading(side, t_s, segment, present))
            if side in self._open and self._is_due(side, t_s):
                done.append(self._close(side))
        return tuple(done)

    def _reading(
        self,
        side: str,
        t_s: float,
        segment: SegmentState | None,
        present: Sequence[bool] | None,
    ) -> FootReading | None:
        row = self._rows.get(side)
        if segment is None or row is None or (present is not None and not present[row]):
            return None
        acc, gyr, up = segment.acc_ms2[row], segment.gyr_rads[row], segment.up[row]
        return FootReading(t_s, _vec3(acc), _vec3(gyr), _vec3(up))

    def _take(self, event: GaitEvent) -> list[Stride]:
        """Note one contact; the foot's open stride, if any, cannot wait any longer."""
        done = [self._close(event.side)] if event.side in self._open else []
        before = [e for e in self._events if e.side == event.side]
        self._events.append(event)
        travel = self._travel[event.side]
        if event.kind is EventKind.FINAL_CONTACT:
            travel.lift()
            return done
        travel.land()
        start_s = max((e.t_s for e in before if e.kind is event.kind), default=-math.inf)
        lifts = sum(e.kind is not event.kind and e.t_s > start_s for e in before)
        # Two lift-offs without a landing between them: one was missed, and this is no single stride.
        if self.params.shortest_s <= event.t_s - start_s <= self.params.longest_s and lifts < 2:
            self._open[event.side] = (start_s, event.t_s)
        return done

    def _is_due(self, side: str, t_s: float) -> bool:
        # A rest takes longer to settle than the other foot's contacts take to be announced.
        waited_s = t_s - self._open[side][1]
        return self._travel[side].settled or waited_s >= self.params.longest_s

    def _close(self, side: str) -> Stride:
        start_s, end_s = self._open.pop(side)
        time_s = end_s - start_s
        off_s = self._only(side, EventKind.FINAL_CONTACT, start_s, end_s)
        other = "l" if side == "r" else "r"
        other_on_s = self._only(other, EventKind.INITIAL_CONTACT, start_s, end_s)
        other_off_s = self._only(other, EventKind.FINAL_CONTACT, start_s, end_s)
        length_m = self._travel[side].length_m
        moments = [m for m in self._moments if start_s <= m.t_s <= end_s]
        classes = Counter(m.gait_class for m in moments).most_common(1)
        return Stride(
            side=side,
            start_s=start_s,
            end_s=end_s,
            stance_s=off_s - start_s,
            step_time_s=end_s - other_on_s,
            cadence_spm=120.0 / time_s,
            stance_ratio=(off_s - start_s) / time_s,
            double_support_ratio=_shared_s(start_s, off_s, other_on_s, other_off_s) / time_s,
            length_m=length_m,
            speed_ms=length_m / time_s,
            rom_rad=_ranges(side, moments),
            gait_class=classes[0][0] if classes else GaitClass.UNKNOWN,
        )

    def _only(self, side: str, kind: EventKind, start_s: float, end_s: float) -> float:
        """Time of the one such contact within a stride; NaN if there is none, or more than one."""
        found = [
            e.t_s
            for e in self._events
            if e.side == side and e.kind is kind and start_s < e.t_s < end_s
        ]
        return found[0] if len(found) == 1 else math.nan


def _vec3(row: NDArray[np.float64]) -> Vec3:
    x, y, z = row.tolist()
    return x, y, z


def _shared_s(on_s: float, off_s: float, other_on_s: float, other_off_s: float) -> float:
    """Time both feet stand, given this foot's stance and the other's two contacts in the stride."""
    if math.isnan(on_s + off_s + other_on_s + other_off_s):
        return math.nan
    if other_off_s < other_on_s:  # walking: the other foot stands when the stride begins and ends
        return max(0.0, min(off_s, other_off_s) - on_s) + max(0.0, off_s - other_on_s)
    return max(0.0, min(off_s, other_off_s) - other_on_s)  # running: its stance lies within


def _ranges(side: str, moments: Sequence[_Moment]) -> dict[str, float]:
    """Range of each angle of one side; NaN where an instant is missing, for it may be the extreme."""
    names = [
        name for name in (moments[-1].angles_rad if moments else ()) if name[-2:] == f"_{side}"
    ]
    if not names:
        return {}
    table = np.array([[m.angles_rad.get(name, math.nan) for name in names] for m in moments])
    return dict(zip(names, np.ptp(table, axis=0).tolist(), strict=True))
