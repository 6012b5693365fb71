"""Messages become samples in SI units, numbered without wrap and stamped with host time."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from talaria_bridge.clock import DeviceClock
from talaria_bridge.decoder import FrameDecoder, SampleAssembler
from talaria_bridge.frames import (
    Ack,
    DeviceState,
    Hello,
    ImuFrame,
    Nack,
    NackReason,
    Pong,
    Status,
    encode_data,
)
from talaria_bridge.samples import LEG_SLOTS, SampleFlag

U32 = 2**32


def frame(seq: int, device_us: int, slot: str = "femur_r", n: int = 1, flags: int = 0) -> ImuFrame:
    counts = ((0, 2048, 0, 0, 0, 0),) * n
    return ImuFrame(slot, seq % U32, device_us % U32, 10_000, counts, flags=SampleFlag(flags))


def test_sample_is_in_si_units() -> None:
    wire = encode_data("calcn_l", 3, 0, 10_000, (0, 9.80665, -4.903325), (math.pi, 0, -0.5))
    (sample,) = SampleAssembler().push(FrameDecoder().feed(wire), 12.0)
    assert sample.slot == "calcn_l"
    assert sample.acc_ms2 == pytest.approx((0, 9.80665, -4.903325), abs=1e-9)
    assert sample.gyr_rads == pytest.approx((math.pi, 0, -0.5), abs=6e-4)


def test_arrival_is_that_of_the_last_sample_in_the_frame() -> None:
    samples = SampleAssembler().push([frame(40, 1_000_000, n=5)], 100.0)
    assert [s.seq for s in samples] == [40, 41, 42, 43, 44]
    assert [s.t_s for s in samples] == pytest.approx([99.96, 99.97, 99.98, 99.99, 100.0])


def test_numbers_and_times_go_on_through_both_wraps() -> None:
    assembler = SampleAssembler()
    samples = []
    for k in range(20):
        message = frame(U32 - 10 + 2 * k, U32 - 100_000 + 20_000 * k, n=2)
        samples += assembler.push([message], 50 + 0.02 * k)
    assert [s.seq for s in samples] == list(range(U32 - 10, U32 + 30))
    steps = [b.t_s - a.t_s for a, b in pairwise(samples)]
    assert steps == pytest.approx([0.01] * 39, abs=1e-7)


def test_lost_frame_shows_as_a_jump_of_the_number() -> None:
    assembler = SampleAssembler()
    samples = assembler.push([frame(0, 0, n=2), frame(5, 50_000, n=2)], 1.0)
    assert [s.seq for s in samples] == [0, 1, 5, 6]


def test_flags_go_to_the_samples_they_hold_for() -> None:
    flags = SampleFlag.ACC_CLIP | SampleFlag.TIME_GAP | SampleFlag.RESET | SampleFlag.LOW_BATTERY
    first, second = SampleAssembler().push([frame(0, 0, n=2, flags=flags)], 1.0)
    assert first.flags == flags
    assert second.flags == SampleFlag.ACC_CLIP | SampleFlag.LOW_BATTERY


def test_restart_keeps_numbers_and_times_rising_and_flags_each_slot_once() -> None:
    assembler = SampleAssembler()
    samples = []
    for k in range(300):
        for slot in LEG_SLOTS:
            samples += assembler.push([frame(k, 9_000_000 + 10_000 * k, slot)], k / 100)
    for k in range(3):
        for slot in LEG_SLOTS:
            samples += assembler.push([frame(k, 10_000 * k, slot)], 5 + k / 100)
    for slot in LEG_SLOTS:
        mine = [s for s in samples if s.slot == slot]
        assert [s.seq for s in mine] == list(range(303))
        assert all(a.t_s < b.t_s for a, b in pairwise(mine))
        assert [s.seq for s in mine if s.flags] == [300]
        assert mine[300].flags == SampleFlag.RESET
        assert mine[300].t_s == pytest.approx(5.0, abs=1e-6)


def test_slots_of_one_instant_share_one_time() -> None:
    assembler = SampleAssembler()
    for k in range(50):
        messages = [frame(k, 10_000 * k, slot) for slot in LEG_SLOTS]
        samples = [
            assembler.push([message], k / 100 + 0.003 * i)[0] for i, message in enumerate(messages)
        ]
        assert max(s.t_s for s in samples) - min(s.t_s for s in samples) < 1e-4


def test_hello_is_kept_and_gives_no_sample() -> None:
    assembler = SampleAssembler()
    hello = Hello(7, "left", ("calcn_l",), 100_000)
    assert assembler.push([hello], 0.0) == []
    assert assembler.hello == hello
    assembler.reset()
    assert assembler.hello is None


def test_last_status_is_kept_and_gives_no_sample() -> None:
    assembler = SampleAssembler()
    assert assembler.status is None
    idle = Status(0, DeviceState.IDLE, None, 0, 0)
    walking = Status(1_000_000, DeviceState.STREAMING, 0.87, 3, 0)
    assert assembler.push([idle, walking], 0.0) == []
    assert assembler.status == walking
    assembler.reset()
    assert assembler.status is None


def test_pong_reaches_the_clock_with_its_arrival() -> None:
    noted: list[tuple[float, ...]] = []

    class Listening(DeviceClock):
        def note_pong(self, host_us: int, device_us: int, hold_us: int, arrival_s: float) -> None:
            noted.append((host_us, device_us, hold_us, arrival_s))

    assembler = SampleAssembler(Listening())
    messages = [frame(0, 0), Pong(1_000_000, 5, 7), frame(1, 10_000)]
    assert len(assembler.push(messages, 1.25)) == 2
    assert noted == [(1_000_000, 5, 7, 1.25)]


def test_answers_change_no_sample() -> None:
    plain, talking = SampleAssembler(), SampleAssembler()
    for k in range(50):
        data = frame(k, 10_000 * k)
        answers = [Ack(0x84, k), Nack(0x83, k, NackReason.VALUE)]
        assert talking.push([*answers, data, *answers], k / 100) == plain.push([data], k / 100)


def test_slots_with_frames_of_different_length_agree_on_the_time() -> None:
    assembler = SampleAssembler()
    samples = []
    for k in range(100):
        samples += assembler.push([frame(k, 10_000 * k, "femur_r")], k / 100)
        if k % 10 == 9:
            first = k - 9
            samples += assembler.push([frame(first, 10_000 * first, "calcn_r", n=10)], k / 100)
    for sample in samples:
        assert sample.t_s == pytest.approx(sample.seq / 100, abs=1e-6)
