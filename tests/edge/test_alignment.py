from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talaria_bridge.errors import ConfigError
from talaria_bridge.samples import ImuSample, SampleFlag
from talaria_edge.alignment import Alignment, AlignmentParams, SlotStatus, Tick

SLOTS = ("femur_r", "calcn_r")
HELD, MEASURED, GONE = SlotStatus.HELD, SlotStatus.MEASURED, SlotStatus.GONE


def sample(slot: str, seq: int, t_s: float, value: float | None = None) -> ImuSample:
    v = float(seq) if value is None else value
    return ImuSample(slot, seq, t_s, (v, 2 * v, 3 * v), (-v, 0.1 * v, 5.0))


def rounds(start: int, stop: int, slots: tuple[str, ...] = SLOTS) -> list[ImuSample]:
    return [sample(slot, k, 50.0 + k * 0.01) for k in range(start, stop) for slot in slots]


def run(samples: list[ImuSample], alignment: Alignment | None = None) -> list[Tick]:
    alignment = alignment or Alignment(SLOTS, 100.0)
    return [tick for item in samples for tick in alignment.push(item)]


def test_samples_on_the_grid_pass_through_unchanged():
    rng = np.random.default_rng(0)
    acc, gyr = rng.normal(size=(2, 200, 2, 3))
    samples = [
        ImuSample(slot, k, 50.0 + k * 0.01, tuple(acc[k, i]), tuple(gyr[k, i]))
        for k in range(200)
        for i, slot in enumerate(SLOTS)
    ]
    ticks = run(samples)
    assert len(ticks) == 200
    assert np.array_equal([t.acc_ms2 for t in ticks], acc)
    assert np.array_equal([t.gyr_rads for t in ticks], gyr)
    assert all(t.status == (MEASURED, MEASURED) and t.age_s == (0.0, 0.0) for t in ticks)


def test_the_clock_has_an_exact_period_whatever_the_samples_do():
    samples = [
        sample(slot, k, 3.0 + k * 0.0101 + 0.002 * (i + math.sin(k)))
        for k in range(300)
        for i, slot in enumerate(SLOTS)
    ]
    ticks = run(samples)
    t = np.array([tick.t_s for tick in ticks])
    assert len(ticks) > 290
    assert np.allclose(t, t[0] + np.arange(len(t)) / 100.0, rtol=0, atol=1e-9)
    assert [tick.index for tick in ticks] == list(range(len(ticks)))


def test_off_grid_samples_are_interpolated_on_a_straight_line():
    # Both values are linear in time, so any instant's true value is known.
    samples = []
    for k in range(100):
        samples.append(sample("femur_r", k, k * 0.01, value=k * 0.01))
        samples.append(sample("calcn_r", k, k * 0.01 + 0.004, value=k * 0.01 + 0.004))
    ticks = run(samples)
    assert len(ticks) > 95
    for tick in ticks:
        assert tick.acc_ms2[:, 0] == pytest.approx([tick.t_s, tick.t_s], abs=1e-12)
        assert tick.status == (MEASURED, MEASURED)


def test_a_lost_sample_is_bridged_and_flagged_held():
    samples = [s for s in rounds(0, 30) if not (s.slot == "calcn_r" and s.seq == 10)]
    alignment = Alignment(SLOTS, 100.0)
    ticks = run(samples, alignment)
    assert len(ticks) == 30
    assert ticks[10].status == (MEASURED, HELD)
    assert ticks[10].acc_ms2[1, 0] == pytest.approx(10.0)
    assert ticks[10].age_s[1] == pytest.approx(0.01)
    assert ticks[9].status == ticks[11].status == (MEASURED, MEASURED)
    assert alignment.counters["calcn_r"].lost == 1
    assert alignment.counters["femur_r"].lost == 0


def test_a_dead_sensor_is_held_then_gone_and_does_not_stop_the_clock():
    dead = [s for s in rounds(0, 100) if s.slot == "femur_r" or s.seq < 20]
    alignment = Alignment(SLOTS, 100.0)
    announced_s: dict[int, float] = {}
    ticks = []
    for item in dead:
        for tick in alignment.push(item):
            announced_s[tick.index] = item.t_s
            ticks.append(tick)
    status = [tick.status[1] for tick in ticks]
    assert status[:20] == [MEASURED] * 20
    assert status[20:27] == [HELD] * 7
    assert set(status[29:]) == {GONE}
    assert ticks[25].acc_ms2[1, 0] == 19.0, "held repeats the last value"
    # Announced within 150 ms of the last sample, by the samples' own clock.
    first_gone = status.index(GONE)
    assert announced_s[first_gone] - (50.0 + 19 * 0.01) <= 0.15
    # Once it is gone nobody waits for it any more.
    assert announced_s[90] == pytest.approx(50.0 + 0.90)


def test_a_returning_sensor_is_measured_again_at_once():
    samples = [s for s in rounds(0, 100) if s.slot == "femur_r" or not 20 <= s.seq < 60]
    status = [tick.status[1] for tick in run(samples)]
    assert status[59] is GONE
    assert set(status[61:]) == {MEASURED}


def test_a_sensor_that_never_spoke_is_gone_and_the_rest_start_without_it():
    ticks = run([s for s in rounds(0, 150) if s.slot == "femur_r"])
    assert ticks
    assert all(t.status == (MEASURED, GONE) and t.age_s[1] == math.inf for t in ticks)
    assert all(np.isfinite(t.acc_ms2).all() for t in ticks)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_no_poisoned_number_reaches_a_tick(poison):
    samples = rounds(0, 50)
    samples[40] = replace(samples[40], acc_ms2=(0.0, poison, 0.0))
    samples[61] = replace(samples[61], gyr_rads=(poison, 0.0, 0.0))
    samples[71] = replace(samples[71], t_s=poison)
    alignment = Alignment(SLOTS, 100.0)
    ticks = run(samples, alignment)
    assert len(ticks) == 50
    assert all(np.isfinite(t.acc_ms2).all() and np.isfinite(t.gyr_rads).all() for t in ticks)
    assert ticks[20].status == (HELD, MEASURED)
    assert ticks[30].status == ticks[35].status == (MEASURED, HELD)
    assert alignment.counters["femur_r"].bad == 1
    assert alignment.counters["calcn_r"].bad == 2


def test_repeated_and_backward_samples_are_counted_and_change_nothing():
    clean = run(rounds(0, 40))
    samples = rounds(0, 40)
    twisted = [*samples[:50], samples[49], samples[20], *samples[50:]]
    alignment = Alignment(SLOTS, 100.0)
    ticks = run(twisted, alignment)
    assert np.array_equal([t.acc_ms2 for t in ticks], [t.acc_ms2 for t in clean])
    assert sum(c.late for c in alignment.counters.values()) == 2


def test_a_pause_of_all_sensors_is_jumped_not_filled():
    later = [replace(s, t_s=s.t_s + 3600.0) for s in rounds(50, 100)]
    alignment = Alignment(SLOTS, 100.0)
    ticks = run([*rounds(0, 50), *later], alignment)
    assert len(ticks) < 110
    assert alignment.jumps == 1
    gap = np.diff([t.t_s for t in ticks]).max()
    assert gap == pytest.approx(3600.0, abs=0.2)
    assert all(status is MEASURED for status in ticks[-1].status)
    offsets = (np.array([t.t_s for t in ticks]) - ticks[0].t_s) * 100
    assert np.allclose(offsets, np.round(offsets), atol=1e-4), "still on the same grid"


def test_one_sensor_with_a_wild_time_does_not_move_the_clock():
    samples = [
        replace(s, t_s=s.t_s + 1e6) if s.slot == "calcn_r" and s.seq >= 20 else s
        for s in rounds(0, 100)
    ]
    alignment = Alignment(SLOTS, 100.0)
    ticks = run(samples, alignment)
    assert len(ticks) == 100
    assert max(t.t_s for t in ticks) < 60
    assert alignment.counters["calcn_r"].far == 80
    assert ticks[-1].status == (MEASURED, GONE)


def test_a_restarted_sensor_is_not_a_flood_of_losses():
    restarted = [replace(s, seq=s.seq + 10_000) for s in rounds(50, 80)]
    restarted[0] = replace(restarted[0], flags=SampleFlag.RESET)
    restarted[1] = replace(restarted[1], flags=SampleFlag.RESET)
    alignment = Alignment(SLOTS, 100.0)
    assert len(run([*rounds(0, 50), *restarted], alignment)) == 80
    assert all(c.lost == 0 for c in alignment.counters.values())


def test_a_host_clock_may_count_from_1970():
    ticks = run([replace(s, t_s=s.t_s + 1.8e9) for s in rounds(0, 50)])
    assert len(ticks) == 50
    assert all(t.status == (MEASURED, MEASURED) for t in ticks)


def test_other_slots_are_ignored_and_counted():
    alignment = Alignment(SLOTS, 100.0)
    run([*rounds(0, 5), sample("pelvis", 0, 50.0)], alignment)
    assert alignment.ignored == 1


@pytest.mark.parametrize(
    ("slots", "rate"), [((), 100.0), (("calcn_r", "calcn_r"), 100.0), (SLOTS, 0.0), (SLOTS, -1.0)]
)
def test_an_impossible_clock_is_refused(slots, rate):
    with pytest.raises(ConfigError):
        Alignment(slots, rate)


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(
        st.tuples(
            st.sampled_from(SLOTS),
            st.one_of(st.floats(0, 3), st.floats(allow_nan=True, allow_infinity=True)),
            st.one_of(st.floats(-50, 50), st.just(math.nan)),
        ),
        max_size=80,
    )
)
def test_any_samples_give_finite_ticks_in_order(times):
    alignment = Alignment(SLOTS, 100.0, AlignmentParams())
    samples = [sample(slot, k, t, value) for k, (slot, t, value) in enumerate(times)]
    ticks = run(samples, alignment)
    assert all(np.isfinite(t.acc_ms2).all() and np.isfinite(t.gyr_rads).all() for t in ticks)
    assert all(a.index < b.index and a.t_s < b.t_s for a, b in itertools.pairwise(ticks))
    assert len(ticks) <= 400
    assert [repr(t) for t in ticks] == [repr(t) for t in run(samples)], "deterministic"
