"""The firmware runs on an emulated Cortex-M4 and keeps to the wire format there."""

from __future__ import annotations

import itertools
import os
import socket
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from talaria_bridge.commands import (
    AskHello,
    Identify,
    Ping,
    SetRate,
    Start,
    Stop,
    encode_command,
)
from talaria_bridge.decoder import FrameDecoder, SampleAssembler
from talaria_bridge.frames import (
    Ack,
    Capability,
    DeviceState,
    Hello,
    ImuFrame,
    Message,
    Nack,
    NackReason,
    Pong,
    Status,
    seal,
)
from talaria_bridge.samples import LEG_SLOTS, SampleFlag

PATIENCE_S = 20.0
"""For an emulator on a machine that is busy with other things; nothing here waits so long."""


class Host:
    """The other end of the board's UART."""

    def __init__(self, receive: Callable[[], bytes], send: Callable[[bytes], object]) -> None:
        self._receive = receive
        self._send = send
        self.decoder = FrameDecoder()
        self.heard: list[Message] = []
        self._mark = 0

    def say(self, *commands: Any) -> None:
        self._send(b"".join(c if isinstance(c, bytes) else encode_command(c) for c in commands))

    def until(self, enough: Callable[[list[Message]], Any]) -> list[Message]:
        """Listen until what was heard since the mark is enough, and return that."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not enough(self.heard[self._mark :]):
            assert time.monotonic() < deadline_s, f"in vain; heard {self.heard[-5:]}"
            data = self._receive()
            assert data, "the board is gone"
            self.heard += self.decoder.feed(data)
        return self.heard[self._mark :]

    def hear(self, kind: type, **fields: Any) -> Any:
        """Listen for one message of a kind with these fields; the mark goes behind it."""

        def fits(message: Message) -> bool:
            return isinstance(message, kind) and all(
                getattr(message, name) == value for name, value in fields.items()
            )

        messages = self.until(lambda heard: any(fits(message) for message in heard))
        place = next(k for k, message in enumerate(messages) if fits(message))
        self._mark += place + 1
        return messages[place]

    def samples(self, each: int) -> dict[str, list[ImuFrame]]:
        """Listen until every leg slot has sent so many samples; the mark goes behind them."""

        def enough(heard: list[Message]) -> bool:
            frames = [m for m in heard if isinstance(m, ImuFrame)]
            return all(
                sum(len(f.counts) for f in frames if f.slot == slot) >= each for slot in LEG_SLOTS
            )

        frames = [m for m in self.until(enough) if isinstance(m, ImuFrame)]
        self._mark = len(self.heard)
        return {slot: [frame for frame in frames if frame.slot == slot] for slot in LEG_SLOTS}

    @property
    def lost(self) -> int:
        return sum(self.decoder.counters.lost_samples.values())

    @property
    def damaged(self) -> int:
        counters = self.decoder.counters
        return counters.crc_errors + counters.cobs_errors + counters.too_long + counters.malformed


@contextmanager
def connected(board: Any) -> Iterator[Host]:
    with socket.create_connection((board.host, board.port), timeout=PATIENCE_S) as wire:
        host = Host(lambda: wire.recv(4096), wire.sendall)
        host.say(b"\0")  # whatever the board had half heard ends here
        yield host


@pytest.fixture
def host(qemu_board: Any) -> Iterator[Host]:
    with connected(qemu_board) as host:
        yield host


def test_board_says_who_it_is_and_waits(host: Host) -> None:
    host.say(AskHello(1))
    hello = host.hear(Hello)
    assert hello.name == "qemu legs"
    assert set(hello.slots) == set(LEG_SLOTS)
    assert hello.rate_millihz == 100_000
    assert hello.capabilities == Capability(0x1F)
    status = host.hear(Status)
    assert status.state is DeviceState.IDLE
    assert not any(isinstance(message, ImuFrame) for message in host.heard)


def test_board_streams_four_slots_at_100_hz_without_a_gap(host: Host) -> None:
    host.say(Start(7))
    assert host.hear(Ack) == Ack(0x84, 7)
    for frames in host.samples(150).values():
        assert frames[0].flags == SampleFlag.RESET
        assert frames[0].seq == 0
        assert all(frame.flags == SampleFlag.NONE for frame in frames[1:])
        for before, after in itertools.pairwise(frames):
            n = len(before.counts)
            assert after.seq == before.seq + n
            assert (after.device_us - before.device_us) % (1 << 32) == n * 10_000
            assert before.period_us == 10_000
    assert host.lost == host.damaged == 0
    assert host.hear(Status).state is DeviceState.STREAMING


def test_rate_changes_while_streaming(host: Host) -> None:
    host.say(Start(1))
    host.samples(20)
    host.say(SetRate(2, 200_000))
    assert host.hear(Ack, command=0x83).tag == 2
    host.hear(Hello, rate_millihz=200_000)
    changed = [f for fs in host.samples(300).values() for f in fs if f.period_us == 5_000]
    assert {frame.slot for frame in changed} == set(LEG_SLOTS)
    frames = [m for m in host.heard if isinstance(m, ImuFrame)]
    for slot in LEG_SLOTS:
        mine = [frame for frame in frames if frame.slot == slot]
        first = next(k for k, frame in enumerate(mine) if frame.period_us == 5_000)
        assert all(frame.period_us == 10_000 for frame in mine[:first])
        assert all(frame.period_us == 5_000 for frame in mine[first:])
        assert mine[first].flags == SampleFlag.TIME_GAP
        assert all(frame.flags == SampleFlag.NONE for frame in mine[first + 1 :])
    assert host.lost == host.damaged == 0


def test_board_refuses_what_it_cannot_do(host: Host) -> None:
    host.say(SetRate(3, 104_170))
    assert host.hear(Nack) == Nack(0x83, 3, NackReason.VALUE)
    host.say(seal(bytes([0x90, 1, 4])))
    assert host.hear(Nack) == Nack(0x90, 4, NackReason.UNKNOWN)
    host.say(seal(bytes([0x84, 1, 5, 0])))
    assert host.hear(Nack) == Nack(0x84, 5, NackReason.LENGTH)
    host.say(AskHello(6))
    assert host.hear(Hello).rate_millihz == 100_000


def test_board_counts_damage_and_does_not_answer_it(host: Host) -> None:
    damaged = bytearray(encode_command(Start(9)))
    damaged[3] ^= 1
    before = host.hear(Status).refused
    host.say(bytes(damaged), b"\x55" * 500 + b"\0", AskHello(1))
    host.hear(Hello)
    host.hear(Status, refused=before + 2)
    assert not any(isinstance(message, (Ack, Nack, ImuFrame)) for message in host.heard)


def test_ping_comes_back_with_the_boards_clock(host: Host) -> None:
    host.say(Ping(0x0102030405060708))
    first = host.hear(Pong)
    host.say(Ping(2**64 - 1))
    second = host.hear(Pong)
    assert (first.host_us, second.host_us) == (0x0102030405060708, 2**64 - 1)
    assert 0 < second.device_us - first.device_us < PATIENCE_S * 1e6
    assert first.hold_us < 500_000


def test_identify_is_obeyed(host: Host) -> None:
    host.say(Identify(1, 2), Identify(2, 0))
    assert [host.hear(Ack, tag=tag).command for tag in (1, 2)] == [0x86, 0x86]


def test_stop_ends_the_stream_and_the_next_start_goes_on_numbering(host: Host) -> None:
    host.say(Start(1))
    host.samples(20)
    host.say(Stop(2))
    host.hear(Ack, command=0x85)
    host.hear(Status, state=DeviceState.IDLE)
    since = len(host.heard)
    host.hear(Status)
    assert not any(isinstance(message, ImuFrame) for message in host.heard[since:])
    host.say(Start(3))
    firsts = [frames[0] for frames in host.samples(5).values()]
    assert all(frame.flags == SampleFlag.TIME_GAP and frame.seq >= 20 for frame in firsts)
    assert host.lost == 0


def test_a_power_cut_is_seen_and_survived(qemu_board: Any) -> None:
    assembler = SampleAssembler()
    with connected(qemu_board) as host:
        host.say(Start(1))
        host.samples(30)
        assembler.push(host.heard, 100.0)
        qemu_board.kill()
        with pytest.raises((AssertionError, ConnectionResetError), match=r"gone|reset"):
            host.until(lambda heard: False)
    qemu_board.restart()
    with connected(qemu_board) as host:
        host.say(Start(1))
        firsts = [frames[0] for frames in host.samples(10).values()]
        assert all(frame.flags == SampleFlag.RESET and frame.seq == 0 for frame in firsts)
        samples = assembler.push(host.heard, 103.0)
    resets = [sample for sample in samples if SampleFlag.RESET in sample.flags]
    assert {sample.slot for sample in resets} == set(LEG_SLOTS)
    assert all(sample.seq >= 30 for sample in resets)  # numbered on, from where it was cut


def test_the_boards_clock_wraps_without_a_step(start_board: Callable[..., Any]) -> None:
    board = start_board(clock_start_us=2**32 - 2_000_000)
    with connected(board) as host:
        host.say(Start(1))
        crossed = host.until(
            lambda heard: (
                {m.slot for m in heard if isinstance(m, ImuFrame) and m.device_us < 5e5}
                == set(LEG_SLOTS)
            )
        )
    frames = [m for m in crossed if isinstance(m, ImuFrame)]
    for slot in LEG_SLOTS:
        mine = [frame for frame in frames if frame.slot == slot]
        assert mine[0].device_us > 2**31 > mine[-1].device_us
        for before, after in itertools.pairwise(mine):
            assert (after.device_us - before.device_us) % 2**32 == 10_000 * len(before.counts)
        assert all(frame.flags == SampleFlag.NONE for frame in mine[1:])


def test_every_sample_a_slow_host_loses_is_confessed(start_board: Callable[..., Any]) -> None:
    board = start_board(serial="pty")
    fd = os.open(board.tty, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(fd)
        host = Host(lambda: os.read(fd, 4096), lambda data: os.write(fd, data))
        host.say(b"\0", SetRate(1, 400_000), Start(2))
        host.samples(50)
        time.sleep(1.5)  # the terminal's buffer fills, then the UART's, then the library's
        host.until(
            lambda heard: any(isinstance(m, Status) and 0 < m.dropped == host.lost for m in heard)
        )
        assert host.damaged == 0
    finally:
        os.close(fd)
