"""Stance, swing, sub-phases and position in the cycle of each leg, from the network and from rules.

Two detectors watch every leg. The network says how likely it is that a foot was on the ground a fixed
moment ago, from all sensors that are there; the rules of `talaria_edge.gait` look at that foot's own
turning only. The network's events are given out; where its file has no such head, the rules'. They are
each other's check: a leg on which they disagree is believed less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from talaria_edge.gait import (
    SIDES,
    EventKind,
    GaitEvent,
    LegState,
    Phase,
    SubPhase,
)


@dataclass(frozen=True, slots=True)
class LegParams:
    """When a leg's phase turns, and how far it is believed.

    Attributes
    ----------
    hysteresis : float
        The chance of contact must pass one half by so much before a phase turns; the event's time is
        that of the half.
    min_swing_s, min_stance_s : float
        No phase is shorter.
    heel_rise_rads : float
        Toes-down rate of a loaded foot that is the heel rising.
    apart_s : float
        The two detectors may see one event so far apart without being in disagreement.
    longest_stride_s : float
        Without an initial contact for so long there is no gait cycle to be in.
    """

    hysteresis: float = 0.1
    min_swing_s: float = 0.15
    min_stance_s: float = 0.2
    heel_rise_rads: float = 0.6
    apart_s: float = 0.12
    longest_stride_s: float = 2.5


@dataclass(frozen=True, slots=True)
class LegView:
    """What one tick says about one leg; NaN where nothing is known.

    Attributes
    ----------
    contact : float
        Chance that the foot was on the ground `delay_s` ago.
    cycle : float
        Share of the gait cycle, 0 to 1.
    rule_phase : Phase
        What the rules say of this foot.
    foot_pitch_rads : float
        Rate of the foot, positive toes-up.
    """

    contact: float = math.nan
    cycle: float = math.nan
    rule_phase: Phase = Phase.UNKNOWN
    foot_pitch_rads: float = math.nan


@dataclass(frozen=True, slots=True)
class LegMemory:
    """What is carried from tick to tick for one leg."""

    phase: Phase = Phase.UNKNOWN
    sub_phase: SubPhase = SubPhase.UNKNOWN
    since_s: float = -math.inf  # start of the phase, when it was announced
    last_t_s: float = math.nan
    last_contact: float = math.nan
    half_at_s: float = math.nan  # when the chance of contact last passed one half
    initial_s: float = math.nan  # last initial contact
    stride_s: float = math.nan  # the stride before
    agreed_s: float = -math.inf  # when both detectors last said the same


class LegStage:
    """Streaming phase of both legs.

    Parameters
    ----------
    rate_hz : float
        Rate of the ticks; times are taken from the ticks themselves.
    delay_s : float
        How far back the network's contact lies.
    params : LegParams, optional
    """

    def __init__(
        self, rate_hz: float, delay_s: float = 0.0, params: LegParams | None = None
    ) -> None:
        self.rate_hz = rate_hz
        self.delay_s = delay_s
        self.params = params or LegParams()
        self.reset()

    def reset(self) -> None:
        """Forget both legs."""
        self._legs = {side: LegMemory() for side in SIDES}

    @property
    def state(self) -> dict[str, LegMemory]:
        """What is carried, per side; assign it back to resume."""
        return dict(self._legs)

    @state.setter
    def state(self, value: Mapping[str, LegMemory]) -> None:
        self._legs = dict(value)

    def update(
        self, t_s: float, views: Mapping[str, LegView], rule_events: Sequence[GaitEvent] = ()
    ) -> tuple[dict[str, LegState], tuple[GaitEvent, ...]]:
        """Advance by one tick.

        Parameters
        ----------
        t_s : float
            Instant of the tick, seconds.
        views : mapping of side to LegView
            A side that is missing is a leg nobody knows anything about; it is forgotten.
        rule_events : sequence of GaitEvent
            What the rules announced on this tick.

        Returns
        -------
        legs : dict of side to LegState
        events : tuple of GaitEvent
            Announced on this tick, each with the time it happened at.
        """
        events: list[GaitEvent] = []
        for side in SIDES:
            view = views.get(side)
            if view is None:
                self._legs[side] = LegMemory()
            elif math.isnan(view.contact):
                mine = [event for event in rule_events if event.side == side]
                self._follow(side, t_s, view, mine)
                events += mine
            else:
                events += self._decide(side, t_s, view)
        for event in events:
            self._note(event)
        return {side: self._describe(side, t_s, views.get(side)) for side in SIDES}, tuple(events)

    def _decide(self, side: str, t_s: float, view: LegView) -> list[GaitEvent]:
        """Turn the phase when the network's chance of contact has clearly passed one half."""
        leg, p = self._legs[side], self.params
        half_at_s = _half_passed_at(leg, t_s, view.contact)
        down = view.contact > 0.5 + p.hysteresis
        up = view.contact < 0.5 - p.hysteresis
        phase = Phase.STANCE if down else Phase.SWING if up else leg.phase
        shortest_s = p.min_swing_s if leg.phase is Phase.SWING else p.min_stance_s
        if phase is leg.phase or t_s - leg.since_s < shortest_s:
            self._legs[side] = self._moved(leg, leg.phase, leg.since_s, t_s, view, half_at_s)
            return []
        self._legs[side] = self._moved(leg, phase, t_s, t_s, view, half_at_s)
        if leg.phase is Phase.UNKNOWN:
            return []
        kind = EventKind.INITIAL_CONTACT if down else EventKind.FINAL_CONTACT
        at_s = t_s if math.isnan(half_at_s) else half_at_s
        return [GaitEvent(at_s - self.delay_s, side, kind)]

    def _follow(self, side: str, t_s: float, view: LegView, events: Sequence[GaitEvent]) -> None:
        """Take over the rules' phase, where there is no network to ask."""
        leg = self._legs[side]
        turned = bool(events) or view.rule_phase is not leg.phase
        since_s = t_s if turned else leg.since_s
        self._legs[side] = self._moved(leg, view.rule_phase, since_s, t_s, view, math.nan)

    def _moved(
        self,
        leg: LegMemory,
        phase: Phase,
        since_s: float,
        t_s: float,
        view: LegView,
        half_at_s: float,
    ) -> LegMemory:
        agree = view.rule_phase is phase or view.rule_phase is Phase.UNKNOWN
        return LegMemory(
            phase,
            self._risen(phase, leg.sub_phase, view),
            since_s,
            t_s,
            view.contact,
            half_at_s,
            leg.initial_s,
            leg.stride_s,
            t_s if agree else leg.agreed_s,
        )

    def _risen(self, phase: Phase, before: SubPhase, view: LegView) -> SubPhase:
        if phase is Phase.UNKNOWN:
            return SubPhase.UNKNOWN
        rising = view.foot_pitch_rads < -self.params.heel_rise_rads
        if before is SubPhase.MID_STANCE and rising:
            return SubPhase.TERMINAL_STANCE
        return before

    def _note(self, event: GaitEvent) -> None:
        """Let an event move both legs on: its own, and the other, whose stance it divides."""
        mine, other = event.side, "l" if event.side == "r" else "r"
        leg, opposite = self._legs[mine], self._legs[other]
        if event.kind is EventKind.INITIAL_CONTACT:
            stride_s = event.t_s - leg.initial_s
            leg = replace(
                leg,
                sub_phase=SubPhase.LOADING_RESPONSE,
                initial_s=event.t_s,
                stride_s=stride_s if stride_s < self.params.longest_stride_s else math.nan,
            )
            if opposite.sub_phase in (SubPhase.MID_STANCE, SubPhase.TERMINAL_STANCE):
                opposite = replace(opposite, sub_phase=SubPhase.PRE_SWING)
        else:
            leg = replace(leg, sub_phase=SubPhase.SWING)
            if opposite.sub_phase is SubPhase.LOADING_RESPONSE:
                opposite = replace(opposite, sub_phase=SubPhase.MID_STANCE)
        self._legs[mine], self._legs[other] = leg, opposite

    def _describe(self, side: str, t_s: float, view: LegView | None) -> LegState:
        leg = self._legs[side]
        if view is None or leg.phase is Phase.UNKNOWN:
            return LegState()
        elapsed_s = t_s - leg.initial_s
        if not elapsed_s < self.params.longest_stride_s:  # also before the first contact
            return LegState(leg.phase, SubPhase.UNKNOWN, math.nan, self._confidence(leg, view, t_s))
        cycle = view.cycle
        if math.isnan(cycle) and leg.stride_s > 0.0:
            cycle = min(elapsed_s / leg.stride_s, 1.0)
        return LegState(leg.phase, leg.sub_phase, cycle, self._confidence(leg, view, t_s))

    def _confidence(self, leg: LegMemory, view: LegView, t_s: float) -> float:
        """Chance that the phase is right by the network's own word, halved while the rules object."""
        sure = 0.9 if math.isnan(view.contact) else max(view.contact, 1.0 - view.contact)
        return sure if t_s - leg.agreed_s <= self.params.apart_s else 0.5 * sure


def _half_passed_at(leg: LegMemory, t_s: float, contact: float) -> float:
    """When the chance of contact passed one half, between the last tick and this one or before."""
    before = leg.last_contact
    if math.isnan(before) or (before - 0.5) * (contact - 0.5) > 0 or before == contact:
        return leg.half_at_s
    return leg.last_t_s + (0.5 - before) / (contact - before) * (t_s - leg.last_t_s)
