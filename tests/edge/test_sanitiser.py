"""What gets past the sanitiser can poison nothing; what does not is counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talaria_bridge.frames import ACC_MS2_PER_COUNT, GYR_RADS_PER_COUNT
from talaria_bridge.samples import ImuSample, SampleFlag
from talaria_bridge.simulator import SimulatedWalk
from talaria_edge.sanitiser import Refusal, Sanitiser, SanitiserParams, SlotFlag, names_of

anything = st.floats(allow_nan=True, allow_infinity=True)
triples = st.tuples(anything, anything, anything)


def moving(k: int, **more: object) -> ImuSample:
    fields: dict[str, object] = {
        "slot": "femur_r",
        "seq": k,
        "t_s": 0.01 * k,
        "acc_ms2": (0.01 * (k % 3), 9.8, 0.0),
        "gyr_rads": (0.001 * (k % 5), 0.0, 0.0),
    }
    return ImuSample(**(fields | more))  # type: ignore[arg-type]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(anything, triples, triples, st.sampled_from(list(SampleFlag))), max_size=30)
)
def test_whatever_passes_is_finite_and_possible(samples: list[tuple]) -> None:
    sanitiser = Sanitiser()
    limits = SanitiserParams()
    passed = 0
    for k, (t_s, acc, gyr, flags) in enumerate(samples):
        sample = ImuSample("femur_r", k, t_s, acc, gyr, flags)
        if sanitiser.check(sample):
            passed += 1
            assert all(map(math.isfinite, (t_s, *acc, *gyr)))
            assert max(map(abs, acc)) <= limits.max_acc_ms2
            assert max(map(abs, gyr)) <= limits.max_gyr_rads
    assert passed + sanitiser.refused.total() == len(samples)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"acc_ms2": (math.nan, 0.0, 0.0)}, Refusal.NOT_FINITE),
        ({"gyr_rads": (0.0, math.inf, 0.0)}, Refusal.NOT_FINITE),
        ({"t_s": math.nan}, Refusal.NOT_FINITE),
        ({"t_s": 1e12}, Refusal.NOT_FINITE),
        ({"acc_ms2": (0.0, -400.0, 0.0)}, Refusal.IMPOSSIBLE),
        ({"gyr_rads": (0.0, 0.0, 80.0)}, Refusal.IMPOSSIBLE),
    ],
)
def test_one_bad_number_is_refused_counted_and_flagged(change: dict, why: Refusal) -> None:
    sanitiser = Sanitiser()
    assert not sanitiser.check(moving(0, **change))
    assert sanitiser.refused == {why: 1}
    assert sanitiser.take_flags() == SlotFlag.NOT_FINITE
    assert sanitiser.take_flags() == SlotFlag.NONE
    assert sanitiser.check(moving(1))


def test_full_scale_of_the_widest_ranges_passes() -> None:
    acc, gyr = 32767 * ACC_MS2_PER_COUNT[4], 32768 * GYR_RADS_PER_COUNT[4]
    assert Sanitiser().check(moving(0, acc_ms2=(acc, -acc, acc), gyr_rads=(gyr, -gyr, gyr)))


@pytest.mark.parametrize("frozen", ["acc_ms2", "gyr_rads"])
def test_one_half_of_a_sensor_that_freezes_is_stuck(frozen: str) -> None:
    sanitiser = Sanitiser()
    passed = [sanitiser.check(moving(k, **{frozen: (0.5, 0.5, 0.5)})) for k in range(60)]
    assert passed[:25] == [True] * 25
    assert passed[27:] == [False] * 33
    assert sanitiser.take_flags() == SlotFlag.STUCK
    assert sanitiser.check(moving(60))


def test_a_live_sensor_lying_still_is_not_stuck() -> None:
    rng = np.random.default_rng(0)
    # The quietest parts on the market, at the coarsest scale a foot needs.
    acc_noise, gyr_noise = 0.004, np.radians(0.03)
    acc_count, gyr_count = ACC_MS2_PER_COUNT[3], GYR_RADS_PER_COUNT[3]
    sanitiser = Sanitiser()
    for k in range(60_000):
        acc = np.rint((np.array([0.0, 9.81, 0.0]) + rng.normal(0, acc_noise, 3)) / acc_count)
        gyr = np.rint(rng.normal(0, gyr_noise, 3) / gyr_count)
        a, g = tuple((acc * acc_count).tolist()), tuple((gyr * gyr_count).tolist())
        assert sanitiser.check(moving(k, acc_ms2=a, gyr_rads=g)), k


def test_a_simulated_walker_is_never_refused(walk: SimulatedWalk) -> None:
    for i, slot in enumerate(walk.slots):
        sanitiser = Sanitiser()
        for k, t_s in enumerate(walk.t_s):
            acc, gyr = tuple(walk.acc_ms2[k, i]), tuple(walk.gyr_rads[k, i])
            assert sanitiser.check(ImuSample(slot, k, float(t_s), acc, gyr))


def test_what_a_sensor_says_of_itself_is_passed_on() -> None:
    sanitiser = Sanitiser()
    said = SampleFlag.GYR_CLIP | SampleFlag.RESET | SampleFlag.LOW_BATTERY
    assert sanitiser.check(moving(0, flags=said))
    flags = sanitiser.take_flags()
    assert flags == SlotFlag.CLIP | SlotFlag.GAP | SlotFlag.LOW_BATTERY
    assert names_of(flags) == ["clip", "gap", "low battery"]
