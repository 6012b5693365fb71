"""Readings of other people's sensors become samples: paired, numbered, on the host's time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talaria_bridge.assembler import CountClock, ReadingAssembler
from talaria_bridge.clock import Ticks
from talaria_bridge.link import Transport
from talaria_bridge.samples import Reading, SampleFlag
from talaria_bridge.vendors.family import Decoder, Family, Fault

ACC, GYR = (0.0, 9.8, 0.0), (0.1, 0.2, 0.3)


class NoDecoder:
    def __init__(self) -> None:
        self.faults: Counter[Fault] = Counter()

    def feed(self, data: bytes, stream: str = "") -> list[Reading]:
        raise NotImplementedError

    def reset(self) -> None:
        raise NotImplementedError


def no_decoder(transport: Transport) -> Decoder:
    return NoDecoder()


def family(ticks: Ticks | None = None, seq_bits: int | None = None) -> Family:
    return Family("x", "X", no_decoder, (50.0, 100.0), ticks, seq_bits)


def test_readings_with_a_clock_keep_its_spacing_whatever_their_arrival() -> None:
    assembler = ReadingAssembler("femur_r", family(Ticks(1e-6, 32)))
    rng = np.random.default_rng(0)
    start_us = 2**32 - 300_000  # wraps on the way
    samples = []
    for k in range(2000):
        reading = Reading(ACC, GYR, ticks=(start_us + 10_000 * k) % 2**32)
        samples += assembler.push([reading], 5.0 + k / 100 + float(rng.exponential(0.005)))
    assert [s.seq for s in samples] == list(range(2000))
    assert np.diff([s.t_s for s in samples])[500:] == pytest.approx(0.01, rel=0.02)
    assert (assembler.lost, assembler.duplicates, assembler.restarts) == (0, 0, 0)


@pytest.mark.parametrize("true_rate_hz", [92.0, 100.0, 108.0])
def test_losses_show_in_the_spacing_even_at_a_wrong_rate(true_rate_hz: float) -> None:
    assembler = ReadingAssembler("femur_r", family(Ticks(1e-6, 32)))
    numbers = []
    for k in range(1000):
        if k % 10 in {7, 8} and k > 50:
            continue
        reading = Reading(ACC, GYR, ticks=round(k / true_rate_hz * 1e6))
        numbers += [s.seq for s in assembler.push([reading], k / true_rate_hz)]
    assert numbers == [k for k in range(1000) if not (k % 10 in {7, 8} and k > 50)]
    assert assembler.lost == 190


def test_numbers_show_losses_across_their_wrap() -> None:
    assembler = ReadingAssembler("femur_r", family(Ticks(1e-4, 32), seq_bits=16))
    kept = [k for k in range(200) if k not in {90, 91, 92}]
    samples = [
        s
        for k in kept
        for s in assembler.push(
            [Reading(ACC, GYR, ticks=100 * k, seq=(65_500 + k) % 65_536)], k / 100
        )
    ]
    assert [s.seq for s in samples] == kept
    assert assembler.lost == 3


def test_the_same_reading_twice_is_one_sample() -> None:
    assembler = ReadingAssembler("femur_r", family(Ticks(1e-6, 32)))
    reading = Reading(ACC, GYR, ticks=10_000)
    assert len(assembler.push([reading, reading, reading], 0.0)) == 1
    assert assembler.duplicates == 2


def test_a_clock_that_begins_again_is_a_restart_and_is_flagged() -> None:
    assembler = ReadingAssembler("femur_r", family(Ticks(1e-6, 32)))
    for k in range(300):
        assembler.push([Reading(ACC, GYR, ticks=9_000_000 + 10_000 * k)], k / 100)
    (sample,) = assembler.push([Reading(ACC, GYR, ticks=0)], 4.0)
    assert SampleFlag.RESET in sample.flags
    assert (sample.seq, assembler.restarts) == (300, 1)
    assert sample.t_s == pytest.approx(4.0)


def test_halves_are_joined_either_way_round_and_orphans_counted() -> None:
    assembler = ReadingAssembler("femur_r", family())
    acc, gyr = Reading(acc_ms2=ACC), Reading(gyr_rads=GYR, flags=SampleFlag.GYR_CLIP)
    samples = assembler.push([acc, gyr, gyr, acc, acc, acc, gyr], 0.0)
    assert len(samples) == 3
    assert all((s.acc_ms2, s.gyr_rads) == (ACC, GYR) for s in samples)
    assert samples[0].flags & SampleFlag.GYR_CLIP
    assert assembler.unpaired == 1


def test_orientation_and_battery_alone_make_no_sample() -> None:
    assembler = ReadingAssembler("femur_r", family())
    assert (
        assembler.push([Reading(quat_wxyz=(1.0, 0.0, 0.0, 0.0)), Reading(battery=0.4)], 0.0) == []
    )
    assert assembler.battery == 0.4


def test_the_first_sample_after_a_lost_link_says_so_and_goes_on_counting() -> None:
    assembler = ReadingAssembler("femur_r", family())
    assembler.push([Reading(ACC, GYR)], 0.0)
    assembler.link_lost()
    first, second = assembler.push([Reading(ACC, GYR), Reading(ACC, GYR)], 0.02)
    assert (first.flags, second.flags) == (SampleFlag.TIME_GAP, SampleFlag.NONE)
    assert (first.seq, second.seq) == (1, 2)


@pytest.mark.parametrize("true_rate_hz", [92.0, 100.0, 109.0])
def test_counted_time_is_even_though_readings_come_in_bursts(true_rate_hz: float) -> None:
    counted = CountClock(100.0)
    true_s = np.arange(6000) / true_rate_hz
    arrival_s = np.repeat(true_s[3::4], 4)  # four at a time, when the last of them is taken
    served = np.array([counted.time(float(t))[0] for t in arrival_s])
    error_s = served - true_s
    settled = slice(3000, None)
    assert np.abs(error_s[settled]).max() < 0.012
    assert np.diff(served)[settled] == pytest.approx(1 / true_rate_hz, rel=0.03)
    assert np.diff(served).min() > 0.0


def test_a_silence_is_a_gap_of_unknown_size_and_time_goes_on_after_it() -> None:
    counted = CountClock(100.0)
    times = [counted.time(k / 100) for k in range(500)]
    after = [counted.time(8.0 + k / 100) for k in range(500)]
    assert not any(gap for _, gap in times)
    assert [gap for _, gap in after].index(True) == 0
    assert sum(gap for _, gap in after) == 1
    assert after[0][0] == pytest.approx(8.0, abs=0.02)
    assert after[-1][0] == pytest.approx(12.99, abs=0.02)


def test_a_stall_is_not_taken_for_a_loss() -> None:
    counted = CountClock(100.0)
    for k in range(500):
        counted.time(k / 100)
    backlog = [counted.time(6.0)[0] for _ in range(100)]
    after = [counted.time(6.0 + k / 100)[0] for k in range(1, 300)]
    assert max(backlog) < 6.02  # nothing is stamped in the future
    assert after[-1] == pytest.approx(8.99, abs=0.02)
    assert (np.diff([*backlog, *after]) > 0).all()


readings = st.builds(
    Reading,
    acc_ms2=st.none() | st.just(ACC),
    gyr_rads=st.none() | st.just(GYR),
    ticks=st.none() | st.integers(0, 2**32 - 1),
    seq=st.none() | st.integers(0, 65_535),
)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(readings, st.floats(-1e6, 1e6)), max_size=40),
    st.sampled_from([None, Ticks(1e-6, 32), Ticks(1 / 32768, 24)]),
    st.sampled_from([None, 16]),
)
def test_no_readings_in_any_order_break_it(
    sequence: list[tuple[Reading, float]], ticks: Ticks | None, seq_bits: int | None
) -> None:
    assembler = ReadingAssembler("femur_r", family(ticks, seq_bits))
    numbers = [s.seq for r, t in sequence for s in assembler.push([r], t)]
    assert numbers == sorted(set(numbers))
