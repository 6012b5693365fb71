"""A whole device in C, on a board made of Python: what it says is what the wire format asks for."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talaria_bridge.commands import (
    AskHello,
    Identify,
    Ping,
    SetRate,
    Start,
    Stop,
    encode_command,
)
from talaria_bridge.decoder import FrameDecoder
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
from talaria_bridge.samples import SampleFlag

P = ctypes.c_void_p
BYTES = ctypes.POINTER(ctypes.c_uint8)
NOW = ctypes.CFUNCTYPE(ctypes.c_uint32, P)
MOVE = ctypes.CFUNCTYPE(ctypes.c_size_t, P, BYTES, ctypes.c_size_t)
RATE = ctypes.CFUNCTYPE(ctypes.c_bool, P, ctypes.c_uint32)
STREAM = ctypes.CFUNCTYPE(None, P, ctypes.c_bool)
IDENTIFY = ctypes.CFUNCTYPE(None, P, ctypes.c_uint8)

SLOTS = {2: "femur_r", 6: "calcn_r"}
CAPACITY = 8
WRAP = 1 << 32


class CBoard(ctypes.Structure):
    _fields_ = (
        ("now_us", NOW),
        ("write", MOVE),
        ("read", MOVE),
        ("set_rate", RATE),
        ("set_streaming", STREAM),
        ("identify", IDENTIFY),
    )


class CConfig(ctypes.Structure):
    _fields_ = (
        ("board", CBoard),
        ("context", P),
        ("device_id", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("rate_millihz", ctypes.c_uint32),
        ("slot_mask", ctypes.c_uint8),
        ("acc_scale", ctypes.c_uint8),
        ("gyr_scale", ctypes.c_uint8),
        ("samples_per_frame", ctypes.c_uint8),
        ("storage", P),
        ("capacity", ctypes.c_uint32),
    )


class Board:
    """A board whose clock, link and sensors are the test's to move.

    Attributes
    ----------
    now : int
        Microseconds, not wrapped.
    room : int
        Bytes the link still takes.
    rates : tuple of int
        Thousandths of a hertz its sensors can do.
    """

    def __init__(
        self, library: ctypes.CDLL, start: int = 0, without: str = "", **config: Any
    ) -> None:
        self.c = library
        self.now = start
        self.room = 1 << 30
        self.rates: tuple[int, ...] = (100_000, 200_000)
        self.streaming: list[bool] = []
        self.identified: list[int] = []
        self.from_host = bytearray()
        self.decoder = FrameDecoder()
        self.raw = bytearray()
        given: dict[str, Any] = {
            "now_us": NOW(lambda _: self.now % WRAP),
            "write": MOVE(self._write),
            "read": MOVE(self._read),
            "set_rate": RATE(lambda _, rate: rate in self.rates),
            "set_streaming": STREAM(lambda _, on: self.streaming.append(on)),
            "identify": IDENTIFY(lambda _, seconds: self.identified.append(seconds)),
        }
        self._kept = [given, ctypes.create_string_buffer(library.shim_sample_size() * CAPACITY * 8)]
        for name in without.split():
            del given[name]
        values = {
            "board": CBoard(**given),
            "device_id": 0x1122334455667788,
            "name": b"test",
            "rate_millihz": 100_000,
            "slot_mask": 0x44,
            "acc_scale": 3,
            "gyr_scale": 3,
            "samples_per_frame": 1,
            "storage": ctypes.cast(self._kept[1], P),
            "capacity": CAPACITY,
        }
        self.device = ctypes.create_string_buffer(library.shim_device_size())
        self.good = library.talaria_init(self.device, ctypes.byref(CConfig(**values | config)))

    def _write(self, _: Any, data: Any, length: int) -> int:
        n = min(length, self.room)
        self.room -= n
        self.raw += bytes(data[:n])
        return n

    def _read(self, _: Any, data: Any, size: int) -> int:
        n = min(size, len(self.from_host))
        for i in range(n):
            data[i] = self.from_host[i]
        del self.from_host[:n]
        return n

    def poll(self, *commands: Any, after_us: int = 0) -> list[Message]:
        """Let time pass and the host speak; return what the device says."""
        self.now += after_us
        for command in commands:
            self.from_host += command if isinstance(command, bytes) else encode_command(command)
        self.c.talaria_poll(self.device)
        data = bytes(self.raw)
        self.raw.clear()
        return self.decoder.feed(data)

    def push(self, slot: int = 2, counts: tuple[int, ...] = (0, 2048, 0, 0, 0, 0)) -> bool:
        time_us = ctypes.c_uint32(self.now % WRAP)
        values = (ctypes.c_int16 * 6)(*counts)
        args = ctypes.c_uint8(slot), time_us, values, ctypes.c_uint8(0)
        return bool(self.c.talaria_push(self.device, *args))

    def stream(self, n: int, period_us: int = 10_000) -> list[Message]:
        """Take n samples of each slot, polling after each; return what the device says."""
        heard = []
        for _ in range(n):
            self.now += period_us
            for slot in SLOTS:
                self.push(slot)
            heard += self.poll()
        return heard


Make = Callable[..., Board]


@pytest.fixture
def make(talaria_c: ctypes.CDLL) -> Make:
    return lambda **options: Board(talaria_c, **options)


@pytest.fixture
def board(make: Make) -> Board:
    """A board that has said its first words."""
    board = make()
    board.poll()
    return board


@pytest.fixture
def walking(board: Board) -> Board:
    """A board that has streamed ten samples of each slot."""
    board.poll(Start(1))
    board.stream(10)
    return board


def frames(heard: list[Message]) -> list[ImuFrame]:
    return [message for message in heard if isinstance(message, ImuFrame)]


def only(heard: list[Message], kind: type) -> Any:
    found = [message for message in heard if isinstance(message, kind)]
    assert len(found) == 1, heard
    return found[0]


def test_first_words_are_a_delimiter_hello_and_status(make: Make) -> None:
    board = make()
    board.c.talaria_poll(board.device)
    assert board.raw[0] == 0
    hello, status = board.poll()
    assert hello == Hello(
        0x1122334455667788,
        "test",
        tuple(SLOTS.values()),
        100_000,
        capabilities=Capability(0x1F),
    )
    assert status == Status(0, DeviceState.IDLE, None, 0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"without": "now_us"},
        {"without": "write"},
        {"slot_mask": 0},
        {"rate_millihz": 0},
        {"rate_millihz": 999},
        {"rate_millihz": 1_000_000_001},
        {"acc_scale": 5},
        {"gyr_scale": 5},
        {"name": b"caf\xc3\xa9"},
        {"name": b"x" * 33},
        {"samples_per_frame": 0},
        {"samples_per_frame": 19},
        {"samples_per_frame": 8},
        {"capacity": 6},
        {"capacity": 0},
        {"storage": None},
    ],
    ids=str,
)
def test_a_configuration_beyond_a_limit_is_refused(make: Make, wrong: dict[str, Any]) -> None:
    assert make().good
    assert not make(**wrong).good


def test_nothing_is_sampled_before_start(board: Board) -> None:
    assert not board.push()
    assert board.poll() == []
    heard = board.poll(Start(9))
    assert Ack(0x84, 9) in heard
    assert board.streaming == [True]
    assert only(heard, Status).state is DeviceState.STREAMING
    first = board.stream(1)
    assert [(f.slot, f.seq, f.flags) for f in frames(first)] == [
        ("femur_r", 0, SampleFlag.RESET),
        ("calcn_r", 0, SampleFlag.RESET),
    ]


def test_samples_arrive_as_they_were_pushed(walking: Board) -> None:
    walking.now += 10_000
    walking.push(2, (1, -2, 3, -4, 32767, -32768))
    frame = only(walking.poll(), ImuFrame)
    assert frame == ImuFrame(
        "femur_r",
        10,
        110_000,
        10_000,
        ((1, -2, 3, -4, 32767, -32768),),
        flags=SampleFlag.GYR_CLIP,
    )
    assert not walking.push(slot=3)  # not in the mask


def test_start_while_streaming_changes_nothing(walking: Board) -> None:
    assert walking.poll(Start(2)) == [Ack(0x84, 2)]
    assert walking.streaming == [True]
    assert all(frame.flags == SampleFlag.NONE for frame in frames(walking.stream(2)))


def test_after_stop_numbers_go_on_with_a_time_gap(walking: Board) -> None:
    heard = walking.poll(Stop(2))
    assert Ack(0x85, 2) in heard
    assert only(heard, Status).state is DeviceState.IDLE
    assert walking.streaming == [True, False]
    assert frames(walking.stream(20)) == []
    walking.poll(Start(3))
    restarted = frames(walking.stream(2))
    assert [(f.seq, f.flags) for f in restarted if f.slot == "calcn_r"] == [
        (10, SampleFlag.TIME_GAP),
        (11, SampleFlag.NONE),
    ]
    assert sum(walking.decoder.counters.lost_samples.values()) == 0


def test_even_a_stop_too_short_to_miss_a_sample_is_marked(walking: Board) -> None:
    walking.poll(Stop(2), Start(3))
    assert [frame.flags for frame in frames(walking.stream(1))] == [SampleFlag.TIME_GAP] * 2


def test_rate_change_is_told_and_marked(walking: Board) -> None:
    heard = walking.poll(SetRate(4, 200_000))
    assert Ack(0x83, 4) in heard
    assert only(heard, Hello).rate_millihz == 200_000
    changed = [f for f in frames(walking.stream(2, 5_000)) if f.slot == "femur_r"]
    assert [(f.period_us, f.flags) for f in changed] == [
        (5_000, SampleFlag.TIME_GAP),
        (5_000, SampleFlag.NONE),
    ]


def test_samples_taken_before_a_rate_change_keep_their_period(walking: Board) -> None:
    walking.room = 0
    walking.stream(3)
    walking.poll(SetRate(4, 200_000))
    walking.stream(3, 5_000)
    walking.room = 1 << 30
    periods = [(f.period_us, len(f.counts)) for f in frames(walking.poll()) if f.slot == "femur_r"]
    assert sum(n for period, n in periods if period == 10_000) == 3
    assert sum(n for period, n in periods if period == 5_000) == 3


@pytest.mark.parametrize("rate_millihz", [1, 999, 123_456, 1_000_000_000])
def test_a_rate_the_sensors_do_not_have_is_refused(walking: Board, rate_millihz: int) -> None:
    assert walking.poll(SetRate(5, rate_millihz)) == [Nack(0x83, 5, NackReason.VALUE)]
    frame = frames(walking.stream(1))[0]
    assert (frame.period_us, frame.flags) == (10_000, SampleFlag.NONE)


def test_identify_reaches_the_board(board: Board) -> None:
    assert board.poll(Identify(1, 9), Identify(2, 0)) == [Ack(0x86, 1), Ack(0x86, 2)]
    assert board.identified == [9, 0]


@pytest.mark.parametrize(
    ("missing", "capability", "command"),
    [
        ("set_rate", Capability.SET_RATE, SetRate(7, 100_000)),
        ("identify", Capability.IDENTIFY, Identify(7, 1)),
        ("set_streaming", Capability.START_STOP, Stop(7)),
    ],
)
def test_what_the_board_lacks_is_not_offered(
    make: Make, missing: str, capability: Capability, command: Any
) -> None:
    board = make(without=missing)
    hello, _ = board.poll()
    assert isinstance(hello, Hello)
    assert hello.capabilities == Capability(0x1F) & ~capability
    answer = only(board.poll(command), Nack)
    assert (answer.tag, answer.reason) == (7, NackReason.UNSUPPORTED)


def test_a_board_that_cannot_stop_streams_from_the_start(make: Make) -> None:
    board = make(without="set_streaming")
    heard = board.stream(1)
    assert only(heard, Status).state is DeviceState.STREAMING
    assert len(frames(heard)) == 2


def test_a_board_that_cannot_hear_offers_only_status(make: Make) -> None:
    board = make(without="read")
    hello, status = board.poll()
    assert isinstance(hello, Hello)
    assert hello.capabilities == Capability.STATUS
    assert isinstance(status, Status)
    assert status.state is DeviceState.STREAMING


def test_hello_and_status_come_once_a_second_across_the_wrap(make: Make) -> None:
    board = make(start=WRAP - 5_500_000)
    board.poll()
    heard = [message for _ in range(1000) for message in board.poll(after_us=10_000)]
    assert sum(isinstance(message, Hello) for message in heard) == 10
    times = [message.device_us for message in heard if isinstance(message, Status)]
    assert [(b - a) % WRAP for a, b in itertools.pairwise(times)] == [1_000_000] * 9


def test_status_tells_of_a_failed_sensor_and_the_battery(board: Board) -> None:
    board.c.talaria_set_battery(board.device, ctypes.c_uint8(42))
    board.c.talaria_set_failed(board.device, ctypes.c_bool(True))
    status = only(board.poll(), Status)
    assert (status.state, status.battery) == (DeviceState.FAULT, 0.42)
    board.c.talaria_set_battery(board.device, ctypes.c_uint8(101))
    board.c.talaria_set_failed(board.device, ctypes.c_bool(False))
    status = only(board.poll(), Status)
    assert (status.state, status.battery) == (DeviceState.IDLE, None)


def test_pong_tells_how_long_it_was_held(board: Board) -> None:
    assert board.poll(Ping(77), after_us=123) == [Pong(77, 123, 0)]
    board.room = 0
    assert board.poll(Ping(78), after_us=1_000) == []
    board.poll(after_us=40_000)
    board.room = 1 << 30
    assert board.poll(after_us=2_000) == [Pong(78, 1_123, 42_000)]


def test_commands_that_find_no_room_wait_and_are_answered_in_order(board: Board) -> None:
    board.room = 0
    board.poll(*(Identify(tag, 1) for tag in range(12)))
    assert len(board.identified) == 4
    assert len(board.from_host) > 0
    board.room = 1 << 30
    heard = [message for _ in range(12) for message in board.poll()]
    assert heard == [Ack(0x86, tag) for tag in range(12)]


def test_damage_is_counted_and_not_answered(board: Board) -> None:
    damaged = bytearray(encode_command(Start(1)))
    damaged[3] ^= 0x10
    assert board.poll(bytes(damaged), b"\x11" * 40 + b"\0") == []
    assert only(board.poll(after_us=1_000_000), Status).refused == 2
    assert board.streaming == []


def test_own_messages_that_come_back_are_not_answered(walking: Board) -> None:
    for _ in range(20):
        walking.now += 100_000
        walking.push()
        walking.c.talaria_poll(walking.device)
        walking.from_host += walking.raw  # a line that echoes
        heard = walking.poll()
        assert not any(isinstance(message, (Ack, Nack, Pong)) for message in heard)


def test_drops_are_told_exactly(walking: Board) -> None:
    walking.room = 0
    walking.stream(50)
    walking.room = 1 << 30
    walking.stream(5)
    lost = walking.decoder.counters.lost_samples
    assert set(lost) == set(SLOTS.values())
    assert min(lost.values()) >= 40
    status = only(walking.poll(after_us=1_000_000), Status)
    assert status.dropped == sum(lost.values())


def test_a_late_link_is_caught_up_with_in_few_frames(walking: Board) -> None:
    walking.room = 0
    walking.stream(6)
    walking.room = 1 << 30
    late = [frame for frame in frames(walking.poll()) if frame.slot == "calcn_r"]
    assert sum(len(frame.counts) for frame in late) == 6
    assert len(late) <= 2


def test_frames_wait_for_as_many_samples_as_the_board_wants(make: Make) -> None:
    board = make(samples_per_frame=4)
    board.poll(Start(1))
    heard = frames(board.stream(8))
    # RESET holds for a frame's first sample, so it cuts nothing off.
    assert [len(frame.counts) for frame in heard] == [4] * 4
    board.stream(2)
    rest = frames(board.poll(Stop(2)))
    assert [len(frame.counts) for frame in rest] == [2, 2]


def test_no_slot_is_held_back_by_another_on_a_slow_link(walking: Board) -> None:
    walking.room = 0
    walking.stream(6)
    order = []
    for _ in range(600):
        walking.room = 1
        order += [frame.slot for frame in frames(walking.poll())]
    assert set(order[:2]) == set(SLOTS.values())


def test_a_lost_link_means_stop_and_nothing_stale_is_sent(walking: Board) -> None:
    walking.room = 5
    walking.stream(4)
    walking.poll(Ping(1))
    walking.from_host += b"\x09\x84\x01"  # half a command
    walking.poll()
    walking.c.talaria_link_lost(walking.device)
    assert walking.streaming == [True, False]
    walking.room = 1 << 30
    walking.raw.clear()
    walking.decoder = FrameDecoder()
    walking.now += 50_000
    walking.c.talaria_poll(walking.device)
    assert walking.raw[0] == 0
    heard = walking.poll()
    assert [type(message) for message in heard] == [Hello, Status]
    walking.poll(Start(5))
    fresh = frames(walking.stream(1))
    assert [frame.flags for frame in fresh] == [SampleFlag.TIME_GAP] * 2


@given(room=st.lists(st.integers(0, 60), min_size=200, max_size=200))
def test_how_the_link_takes_the_bytes_changes_nothing(
    talaria_c: ctypes.CDLL, room: list[int]
) -> None:
    board = Board(talaria_c)
    heard = board.poll(Start(1), Identify(2, 3))
    for bytes_taken in room:
        board.room = bytes_taken
        board.now += 10_000
        for slot in SLOTS:
            board.push(slot)
        heard += board.poll()
    board.room = 1 << 30
    for _ in range(3):
        board.now += 1_000_000
        heard += board.poll()
    counters = board.decoder.counters
    assert counters.crc_errors == counters.cobs_errors == counters.too_long == 0
    assert counters.malformed == counters.unknown == counters.duplicates == 0
    told = [message.dropped for message in heard if isinstance(message, Status)][-1]
    taken = sum(len(frame.counts) for frame in frames(heard))
    assert taken + told == 2 * len(room)
    assert {Ack(0x84, 1), Ack(0x86, 2)} <= {m for m in heard if isinstance(m, Ack)}


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(1, 9))
def test_how_the_commands_are_cut_changes_nothing(
    talaria_c: ctypes.CDLL, noise: list[bytes], step: int
) -> None:
    asked = [AskHello(1), Start(2), SetRate(3, 200_000), seal(b"\x99\x01\x04"), Stop(5)]
    stream = b"".join(piece + b"\0" for piece in noise)
    stream += b"".join(c if isinstance(c, bytes) else encode_command(c) for c in asked)
    answers = []
    for cut in (len(stream), step):
        board = Board(talaria_c)
        heard = board.poll()
        for at in range(0, len(stream), cut):
            heard += board.poll(stream[at : at + cut])
        for _ in range(len(stream) // 64 + 1):
            heard += board.poll()
        answers.append([m for m in heard if isinstance(m, (Ack, Nack))])
    assert answers[0] == answers[1]
    assert answers[0][-4:] == [
        Ack(0x84, 2),
        Ack(0x83, 3),
        Nack(0x99, 4, NackReason.UNKNOWN),
        Ack(0x85, 5),
    ]
