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
from talaria_edge.sanitiser import SlotFlag

SLOTS = ("femur_r", "calcn_r")
HELD, MEASURED, GONE = SlotStatus.HELD, SlotStatus.MEASURED, SlotStatus.GONE


def sample(slot: str, seq: int, t_s: float, value: float | None = None) -> ImuSample:
    v = 0.1 * seq if value is None else value
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
    assert ticks[10].acc_ms2[1, 0] == pytest.approx(1.0)
    assert ticks[10].age_s[1] == pytest.approx(0.01)
    assert ticks[9].status == ticks[11].status == (MEASURED, MEASURED)
    assert alignment.counters["calcn_r"].lost == 1
    assert alignment.counters["femur_r"].lost == 0


def test_a_dead_sensor_is_held_then_gone_and_does_not_stop_the_clock():
    dead = [s for s in rounds(0, 150) if s.slot == "femur_r" or s.seq < 20]
    alignment = Alignment(SLOTS, 100.0)
    announced_s: dict[int, float] = {}
    ticks = []
    for item in dead:
        for tick in alignment.push(item):
            announced_s[tick.index] = item.t_s
            ticks.append(tick)
    status = [tick.status[1] for tick in ticks]
    assert status[:20] == [MEASURED] * 20
    assert status[20:26] == [HELD] * 6
    assert set(status[29:]) == {GONE}
    assert ticks[25].acc_ms2[1, 0] == pytest.approx(1.9), "held repeats the last value"
    assert [tick.loss[1] for tick in ticks[121:]] == [1.0] * len(ticks[121:])
    # Announced within 150 ms of the last sample, by the samples' own clock.
    first_gone = status.index(GONE)
    assert announced_s[first_gone] - (50.0 + 19 * 0.01) <= 0.15
    # Once it is gone nobody waits for it any more.
    assert announced_s[90] == pytest.approx(50.0 + 0.90)


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("late_s", [0.0, 0.008])
def test_a_dead_sensor_is_announced_within_150_ms_whatever_its_phase(
    phase: float, late_s: float
) -> None:
    alignment = Alignment(SLOTS, 100.0)
    arrivals = [(50.0 + k * 0.01 + late_s, "femur_r", k, 50.0 + k * 0.01) for k in range(100)]
    for k in range(30):
        t_s = 50.0 + (k + phase) * 0.01
        arrivals.append((t_s + late_s, "calcn_r", k, t_s))
    last_s = 50.0 + (29 + phase) * 0.01
    for arrival_s, slot, k, t_s in sorted(arrivals):
        for tick in alignment.push(sample(slot, k, t_s)):
            if tick.status[1] is GONE:
                assert arrival_s - last_s <= 0.15
                return
    raise AssertionError("it was never announced")


def test_a_gap_whose_ends_have_both_come_is_bridged_by_a_line_up_to_its_limit():
    for lost, expected in ((9, HELD), (14, HELD), (20, GONE)):
        samples = [s for s in rounds(0, 80) if not 30 <= s.seq < 30 + lost]
        ticks = {tick.index: tick for tick in run(samples)}
        middle = ticks[30 + lost - 1]
        assert middle.status == (expected, expected)
        if expected is HELD:
            assert middle.acc_ms2[0, 0] == pytest.approx(0.1 * (30 + lost - 1))


def turning(k: int) -> float:
    """Angular rate about z of a sensor that speeds up and slows down, rad/s."""
    return 3.0 * math.sin(k / 12) + 0.4 * math.sin(k / 3)


def spinning(slots: tuple[str, ...], count: int) -> list[ImuSample]:
    return [
        ImuSample(
            slot, k, 50.0 + k * 0.01, (0.1, 9.8, 0.01 * (k % 5)), (0.0, 0.01 * (k % 3), turning(k))
        )
        for k in range(count)
        for slot in slots
    ]


def turned_rad(ticks: list[Tick], slot: int) -> float:
    """Rotation about z that a reader of the ticks has added up."""
    said = sum(tick.gyr_rads[slot, 2] for tick in ticks) / 100.0
    made_up = sum(tick.turn_rad[slot, 2] for tick in ticks if tick.turn_rad is not None)
    return float(said + made_up)


@pytest.mark.parametrize("lost", [3, 9, 25])
def test_the_rotation_a_gap_hid_is_made_up_for_when_it_ends(lost: int) -> None:
    whole = spinning(SLOTS, 300)
    gappy = [s for s in whole if s.slot == "femur_r" or not 100 <= s.seq < 100 + lost]
    true_rad = turned_rad(run(whole), 1)
    ticks = run(gappy)
    without_rad = sum(tick.gyr_rads[1, 2] for tick in ticks) / 100.0
    # A line across the gap is all that can be known of it.
    ends = np.interp(
        np.arange(100, 100 + lost), [99, 100 + lost], [turning(99), turning(100 + lost)]
    )
    best_rad = true_rad + (ends.sum() - sum(map(turning, range(100, 100 + lost)))) / 100.0
    assert turned_rad(ticks, 1) == pytest.approx(best_rad, abs=1e-9)
    if lost > 3:
        assert abs(without_rad - true_rad) > 2 * abs(best_rad - true_rad)


def test_samples_that_come_too_late_for_their_ticks_still_count_as_rotation() -> None:
    # At the end it lies still, so that what is not settled yet is nothing.
    whole = [
        replace(s, gyr_rads=(0.01 * (s.seq % 7), 0.0, 0.0)) if s.seq >= 240 else s
        for s in spinning(SLOTS, 300)
    ]
    late_s = {"femur_r": 0.0, "calcn_r": 0.12}
    ticks = run(sorted(whole, key=lambda s: s.t_s + (late_s[s.slot] if s.seq >= 100 else 0.0)))
    held = sum(tick.status[1] is not MEASURED for tick in ticks)
    assert held > 100
    assert turned_rad(ticks, 1) == pytest.approx(turned_rad(run(whole), 1), abs=2e-3)


def test_a_clean_stream_owes_nothing() -> None:
    assert all(tick.turn_rad is None for tick in run(spinning(SLOTS, 100)))


def test_loss_is_the_share_of_the_last_second():
    samples = [
        s for s in rounds(0, 400) if not (s.slot == "calcn_r" and s.seq >= 100 and s.seq % 5 == 0)
    ]
    ticks = run(samples)
    assert ticks[90].loss == (0.0, 0.0)
    assert ticks[150].loss[1] == pytest.approx(0.1, abs=0.02)
    assert ticks[350].loss == (0.0, pytest.approx(0.2, abs=0.02))


def test_what_is_odd_about_a_slot_is_told_once_at_its_tick():
    samples = rounds(0, 60)
    samples[41] = replace(samples[41], flags=SampleFlag.ACC_CLIP)
    samples[61] = replace(samples[61], acc_ms2=(math.nan, 0.0, 0.0))
    ticks = run(samples)
    told = [(t.index, t.flags[1]) for t in ticks if t.flags[1]]
    assert [flags for _, flags in told] == [SlotFlag.CLIP, SlotFlag.NOT_FINITE]
    assert all(abs(index - wanted) <= 1 for (index, _), wanted in zip(told, (20, 30), strict=True))
    assert not any(t.flags[0] for t in ticks)


def test_a_sensor_at_the_end_of_its_range_for_long_is_saturated():
    samples = [
        replace(s, flags=SampleFlag.GYR_CLIP) if s.slot == "calcn_r" and 100 <= s.seq < 150 else s
        for s in rounds(0, 300)
    ]
    flags = [t.flags[1] for t in run(samples)]
    assert SlotFlag.SATURATED not in flags[110]
    assert SlotFlag.SATURATED in flags[145]
    assert SlotFlag.SATURATED not in flags[280]


def test_a_sensor_that_repeats_itself_is_gone_until_it_moves_again():
    samples = [
        replace(s, acc_ms2=(1.0, 2.0, 3.0), gyr_rads=(0.1, 0.2, 0.3))
        if s.slot == "calcn_r" and 100 <= s.seq < 200
        else s
        for s in rounds(0, 300)
    ]
    ticks = run(samples)
    assert ticks[150].status == (MEASURED, GONE)
    assert any(SlotFlag.STUCK in t.flags[1] for t in ticks[125:150])
    assert ticks[201].status == (MEASURED, MEASURED)


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
