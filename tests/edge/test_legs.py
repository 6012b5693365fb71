"""Phases of each leg: hindsight in the event's time, sub-phases bounded by the other foot."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from talaria_edge.gait import EventKind, GaitEvent, LegState, Phase, SubPhase
from talaria_edge.legs import LegStage, LegView

RATE = 100.0
DELAY_S = 0.03
STRIDE_S, STANCE_S = 1.2, 0.75


def down(t_s: float, side: str) -> bool:
    """A made-up walk: left half a stride behind right; on the ground for the first part of it."""
    since = (t_s - (0.0 if side == "r" else STRIDE_S / 2)) % STRIDE_S
    return since < STANCE_S


def chance(t_s: float, side: str) -> float:
    """What a network with hindsight would say: the truth of a moment ago, over some ticks."""
    near = [down(t_s - DELAY_S + k * 0.002, side) for k in range(-10, 11)]
    return 0.02 + 0.96 * sum(near) / len(near)


def view(t_s: float, side: str, **more: float) -> LegView:
    rising = (t_s - (0.0 if side == "r" else STRIDE_S / 2)) % STRIDE_S > 0.5
    rule = Phase.STANCE if down(t_s, side) else Phase.SWING
    pitch = -1.0 if rising else 0.0
    fields = {"contact": chance(t_s, side), "cycle": math.nan, "foot_pitch_rads": pitch}
    return LegView(rule_phase=rule, **(fields | more))


def walk(
    stage: LegStage, start: int = 0, stop: int = 600, sides: str = "rl"
) -> tuple[list[dict[str, LegState]], list[GaitEvent]]:
    legs, events = [], []
    for i in range(start, stop):
        t_s = i / RATE
        now, found = stage.update(t_s, {side: view(t_s, side) for side in sides})
        legs.append(now)
        events += found
    return legs, events


def test_an_event_carries_the_time_it_happened_and_not_that_of_its_discovery() -> None:
    _, events = walk(LegStage(RATE, DELAY_S))
    contacts = [e.t_s for e in events if e.side == "l" and e.kind is EventKind.INITIAL_CONTACT]
    np.testing.assert_allclose(np.array(contacts) % STRIDE_S, STRIDE_S / 2, atol=0.004)
    lifts = [e.t_s for e in events if e.side == "l" and e.kind is EventKind.FINAL_CONTACT]
    np.testing.assert_allclose((np.array(lifts) + STRIDE_S / 2) % STRIDE_S, STANCE_S, atol=0.004)


def test_contacts_of_one_foot_alternate() -> None:
    _, events = walk(LegStage(RATE, DELAY_S))
    kinds = [e.kind for e in events if e.side == "r"]
    assert len(kinds) >= 8
    assert all(a is not b for a, b in pairwise(kinds))


def test_sub_phases_follow_each_other_in_the_order_of_the_cycle() -> None:
    legs, _ = walk(LegStage(RATE, DELAY_S))
    seen = [legs[i]["r"].sub_phase for i in range(250, 600)]
    changes = [b for a, b in pairwise(seen) if a is not b]
    order = [
        SubPhase.LOADING_RESPONSE,
        SubPhase.MID_STANCE,
        SubPhase.TERMINAL_STANCE,
        SubPhase.PRE_SWING,
        SubPhase.SWING,
    ]
    first = order.index(changes[0])
    assert changes == [order[(first + k) % 5] for k in range(len(changes))]
    assert len(changes) > 10


@pytest.mark.parametrize("start", [290, 350])  # in stance, and in swing
def test_a_doubtful_foot_does_not_flicker(start: int) -> None:
    stage = LegStage(RATE, DELAY_S)
    walk(stage, stop=start)
    random = np.random.default_rng(0)
    before = stage.state["r"].phase
    for i in range(start, start + 100):
        doubt = 0.5 + 0.09 * float(random.uniform(-1, 1))
        _, events = stage.update(i / RATE, {"r": view(i / RATE, "r", contact=doubt)})
        assert not events
    assert stage.state["r"].phase is before


def test_a_twitch_is_neither_a_step_nor_a_landing() -> None:
    stage = LegStage(RATE, DELAY_S)
    walk(stage, stop=245)  # just after a landing of the right foot
    for i in range(245, 250):
        _, events = stage.update(i / RATE, {"r": view(i / RATE, "r", contact=0.1)})
        assert not events


def test_nothing_is_remembered_of_a_leg_that_was_away() -> None:
    stage = LegStage(RATE, DELAY_S)
    walk(stage, stop=290)  # the right foot stands
    stage.update(2.9, {})
    _, events = stage.update(3.5, {"r": view(3.5, "r")})  # and swings when it is seen again
    assert not events


def test_without_a_network_the_rules_are_followed() -> None:
    stage = LegStage(RATE)
    event = GaitEvent(0.995, "r", EventKind.INITIAL_CONTACT)
    stage.update(0.99, {"r": LegView(rule_phase=Phase.SWING)})
    legs, events = stage.update(1.0, {"r": LegView(rule_phase=Phase.STANCE)}, (event,))
    assert events == (event,)
    assert legs["r"].phase is Phase.STANCE
    again = GaitEvent(2.195, "r", EventKind.INITIAL_CONTACT)
    stage.update(2.2, {"r": LegView(rule_phase=Phase.STANCE)}, (again,))
    legs, _ = stage.update(2.495, {"r": LegView(rule_phase=Phase.STANCE)})
    assert legs["r"].cycle == pytest.approx(0.25)  # a quarter of the stride before


def test_a_leg_on_which_the_detectors_disagree_is_believed_less() -> None:
    stage = LegStage(RATE, DELAY_S)
    legs, _ = walk(stage, stop=280)  # in the middle of right stance
    assert legs[-1]["r"].phase is Phase.STANCE
    for i in range(280, 300):
        objecting = LegView(chance(2.8, "r"), rule_phase=Phase.SWING)
        now, _ = stage.update(i / RATE, {"r": objecting})
    assert now["r"].confidence < 0.6 * legs[-1]["r"].confidence


def test_a_leg_nobody_sees_is_unknown_and_the_other_goes_on() -> None:
    stage = LegStage(RATE, DELAY_S)
    walk(stage, stop=300)
    legs, events = walk(stage, 300, 500, "l")
    assert all(now["r"] == LegState() for now in legs)
    assert {e.side for e in events} == {"l"}


def test_who_stops_walking_has_no_place_in_a_cycle() -> None:
    stage = LegStage(RATE, DELAY_S)
    walk(stage, stop=330)
    for i in range(330, 650):
        legs, _ = stage.update(i / RATE, {"r": LegView(0.98, rule_phase=Phase.STANCE, cycle=0.4)})
    assert legs["r"].phase is Phase.STANCE
    assert legs["r"].sub_phase is SubPhase.UNKNOWN
    assert math.isnan(legs["r"].cycle)


def test_resumed_equals_continuous() -> None:
    whole, _ = walk(LegStage(RATE, DELAY_S))
    first, second = LegStage(RATE, DELAY_S), LegStage(RATE, DELAY_S)
    walk(first, stop=337)
    second.state = first.state
    assert repr(walk(second, 337)[0]) == repr(whole[337:])
