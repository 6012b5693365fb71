from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from talaria_bridge.simulator import SensorParams, WalkerParams, simulate_walk
from talaria_edge.gait import EventKind, GaitStage, Phase

RATE = 100.0
INITIAL, FINAL = EventKind.INITIAL_CONTACT, EventKind.FINAL_CONTACT


def run(stage, t_s, right, left):
    phases, events = [], []
    for t, r, left_rate in zip(t_s, right, left, strict=True):
        phase, found = stage.update(float(t), {"r": r, "l": left_rate})
        phases.append(phase)
        events += found
    return phases, events


@pytest.fixture(scope="module")
def walked():
    """Segment-frame foot rates of a walker, and the true contacts."""
    params = WalkerParams(sensors=SensorParams.perfect(), seconds=30.0)
    walk = simulate_walk(3, params)
    from scipy.spatial.transform import Rotation

    feet = {}
    for side in "rl":
        slot = f"calcn_{side}"
        to_world = Rotation.from_quat(walk.q_world_sensor[slot], scalar_first=True)
        to_segment = Rotation.from_quat(walk.q_world_segment[slot], scalar_first=True).inv()
        sensor = walk.gyr_rads[:, walk.slots.index(slot)]
        feet[side] = (to_segment * to_world).apply(sensor)
    return walk, feet


def test_a_walkers_contacts_are_found_in_time(walked):
    walk, feet = walked
    _, events = run(GaitStage(RATE), walk.t_s, feet["r"], feet["l"])
    for side in "rl":
        for kind in EventKind:
            true = np.array([t for t, s, k in walk.contacts if s == side and k == kind])
            true = true[(true > 7) & (true < 29)]
            found = np.array([e.t_s for e in events if e.side == side and e.kind is kind])
            error = [np.abs(found - t).min() for t in true]
            assert max(error) < 0.1, (side, kind, max(error))
            inside = found[(found > 7.2) & (found < 28.8)]
            assert abs(len(inside) - len(true)) <= 1, (side, kind)


def test_contacts_of_a_foot_alternate(walked):
    walk, feet = walked
    _, events = run(GaitStage(RATE), walk.t_s, feet["r"], feet["l"])
    for side in "rl":
        kinds = [e.kind for e in events if e.side == side]
        assert len(kinds) > 40
        assert all(a is not b for a, b in pairwise(kinds))


def test_phase_changes_exactly_where_an_event_is_announced(walked):
    walk, feet = walked
    stage = GaitStage(RATE)
    before = Phase.UNKNOWN
    for t, rate in zip(walk.t_s, feet["r"], strict=True):
        phase, events = stage.update(float(t), {"r": rate})
        if before is not Phase.UNKNOWN:
            assert (phase["r"] is not before) == bool(events)
        before = phase["r"]
    assert before is not Phase.UNKNOWN


def test_a_still_foot_is_in_stance_and_makes_no_event():
    t_s = np.arange(300) / RATE
    rates = np.random.default_rng(0).normal(0, 0.02, (300, 3))
    phases, events = run(GaitStage(RATE), t_s, rates, rates)
    assert phases[0]["r"] is Phase.UNKNOWN
    assert phases[-1] == {"r": Phase.STANCE, "l": Phase.STANCE}
    assert events == []


def test_a_foot_put_down_without_a_heel_strike_is_still_found():
    # Push-off and swing, and then simply nothing.
    pitch = np.concatenate(
        [
            np.zeros(50),
            np.linspace(0, -5, 10),
            np.linspace(-5, 4, 10),
            np.full(20, 3.0),
            np.zeros(50),
        ]
    )
    rates = np.stack([0 * pitch, 0 * pitch, pitch], axis=1)
    t_s = np.arange(len(pitch)) / RATE
    phases, events = run(GaitStage(RATE), t_s, rates, rates * 0)
    assert [e.kind for e in events] == [FINAL, INITIAL]
    assert events[1].t_s == pytest.approx(0.90, abs=0.02)
    assert phases[-1]["r"] is Phase.STANCE


def test_an_unseen_foot_has_no_phase(walked):
    walk, feet = walked
    stage = GaitStage(RATE)
    run(stage, walk.t_s[:1000], feet["r"][:1000], feet["l"][:1000])
    phase, events = stage.update(10.0, {"r": None, "l": feet["l"][1000]})
    assert phase["r"] is Phase.UNKNOWN
    assert phase["l"] is not Phase.UNKNOWN
    assert all(e.side == "l" for e in events)


def test_resumed_equals_continuous(walked):
    walk, feet = walked
    whole = run(GaitStage(RATE), walk.t_s, feet["r"], feet["l"])
    first, second = GaitStage(RATE), GaitStage(RATE)
    a = run(first, walk.t_s[:1234], feet["r"][:1234], feet["l"][:1234])
    second.state = first.state
    b = run(second, walk.t_s[1234:], feet["r"][1234:], feet["l"][1234:])
    assert (a[0] + b[0], a[1] + b[1]) == whole


def test_time_may_begin_anywhere(walked):
    walk, feet = walked
    _, events = run(GaitStage(RATE), walk.t_s, feet["r"], feet["l"])
    _, shifted = run(GaitStage(RATE), walk.t_s + 1e6, feet["r"], feet["l"])
    assert [e.kind for e in shifted] == [e.kind for e in events]
    assert all(math.isfinite(e.t_s) for e in shifted)
