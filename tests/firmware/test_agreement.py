"""What C writes Python reads, and what Python writes C reads, to the last field."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talaria_bridge.commands import (
    ASK_HELLO,
    IDENTIFY,
    PING,
    SET_RATE,
    START,
    STOP,
    AskHello,
    CommandDecoder,
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
    Nack,
    NackReason,
    Pong,
    Status,
    encode_answer,
    encode_frame,
    encode_hello,
    encode_status,
    seal,
)
from talaria_bridge.samples import SLOTS, SampleFlag

FRAME_BYTES = 244


class CHello(ctypes.Structure):
    _fields_ = (
        ("device_id", ctypes.c_uint64),
        ("rate_millihz", ctypes.c_uint32),
        ("slot_mask", ctypes.c_uint16),
        ("capabilities", ctypes.c_uint16),
        ("protocol", ctypes.c_uint8),
        ("acc_scale", ctypes.c_uint8),
        ("gyr_scale", ctypes.c_uint8),
        ("name", ctypes.c_char_p),
    )


class CData(ctypes.Structure):
    _fields_ = (
        ("device_us", ctypes.c_uint32),
        ("seq", ctypes.c_uint32),
        ("period_us", ctypes.c_uint32),
        ("slot", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("acc_scale", ctypes.c_uint8),
        ("gyr_scale", ctypes.c_uint8),
        ("count", ctypes.c_uint8),
    )


class CStatus(ctypes.Structure):
    _fields_ = (
        ("device_us", ctypes.c_uint32),
        ("dropped", ctypes.c_uint32),
        ("refused", ctypes.c_uint16),
        ("state", ctypes.c_uint8),
        ("battery", ctypes.c_uint8),
    )


class CCommand(ctypes.Structure):
    _fields_ = (
        ("host_us", ctypes.c_uint64),
        ("rate_millihz", ctypes.c_uint32),
        ("type", ctypes.c_uint8),
        ("tag", ctypes.c_uint8),
        ("duration_s", ctypes.c_uint8),
        ("reason", ctypes.c_uint8),
    )


class CParser:
    """The C parser with the face of `CommandDecoder`."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._c = library
        self._parser = ctypes.create_string_buffer(library.shim_parser_size())
        library.talaria_parser_init(self._parser)

    @property
    def refused(self) -> int:
        return int(self._c.shim_refused(self._parser))

    def feed(self, data: bytes) -> list[Any]:
        found, command = [], CCommand()
        for byte in data:
            byte_c = ctypes.c_uint8(byte)
            if self._c.talaria_parser_feed(self._parser, byte_c, ctypes.byref(command)):
                found.append(as_python(command))
        return found


def as_python(command: CCommand) -> Any:
    if command.reason:
        return Nack(command.type, command.tag, NackReason(command.reason))
    made: dict[int, Any] = {
        ASK_HELLO: AskHello(command.tag),
        PING: Ping(command.host_us),
        SET_RATE: SetRate(command.tag, command.rate_millihz),
        START: Start(command.tag),
        STOP: Stop(command.tag),
        IDENTIFY: Identify(command.tag, command.duration_s),
    }
    return made[command.type]


u8, u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
tiny_u32 = st.sampled_from([0, 1, 255, 256, 65535, 65536, 2**31, 2**32 - 1]) | u32
count = st.sampled_from([0, 1, -1, 32767, -32768]) | st.integers(-32768, 32767)
scales = st.integers(0, 4)
rates = st.integers(1, 1_000_000_000)

hellos = st.builds(
    Hello,
    device_id=u64,
    name=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=32),
    slots=st.sets(st.sampled_from(SLOTS), min_size=1).map(
        lambda chosen: tuple(slot for slot in SLOTS if slot in chosen)
    ),
    rate_millihz=rates,
    acc_scale=scales,
    gyr_scale=scales,
    protocol=st.integers(1, 255),
    capabilities=st.integers(0, 31).map(Capability),
)
frames = st.builds(
    ImuFrame,
    slot=st.sampled_from(SLOTS),
    seq=tiny_u32,
    device_us=tiny_u32,
    period_us=st.integers(1, 1_000_000),
    counts=st.lists(st.tuples(*[count] * 6), min_size=1, max_size=18).map(tuple),
    acc_scale=scales,
    gyr_scale=scales,
    flags=st.integers(0, 31).map(SampleFlag),
)
statuses = st.builds(
    Status,
    device_us=tiny_u32,
    state=st.sampled_from(DeviceState),
    battery=st.none() | st.integers(0, 100).map(lambda percent: percent / 100),
    dropped=tiny_u32,
    refused=u16,
)
commands = st.one_of(
    st.builds(AskHello, u8),
    st.builds(Ping, u64),
    st.builds(SetRate, u8, rates),
    st.builds(Start, u8),
    st.builds(Stop, u8),
    st.builds(Identify, u8, u8),
)
# The right CRC is beyond chance, so most blocks are sealed; types near the real ones come often.
sealed = st.builds(
    lambda kind, version, rest: seal(bytes([kind, version]) + rest),
    st.integers(0, 8) | st.integers(0x7E, 0x90) | u8,
    st.sampled_from([1, 1, 1, 0, 2]),
    st.binary(max_size=28),
)
pieces = st.one_of(commands.map(encode_command), sealed, st.binary(max_size=50), st.just(b"\0"))


def written(library: ctypes.CDLL, encoder: str, *arguments: Any) -> bytes:
    frame = ctypes.create_string_buffer(FRAME_BYTES)
    size = ctypes.c_size_t(FRAME_BYTES)
    length = getattr(library, encoder)(frame, size, *arguments)
    return frame.raw[:length]


@given(hellos)
def test_hello_of_c_is_hello_of_python(talaria_c: ctypes.CDLL, hello: Hello) -> None:
    mask = sum(1 << SLOTS.index(slot) for slot in hello.slots)
    c = CHello(
        hello.device_id,
        hello.rate_millihz,
        mask,
        int(hello.capabilities),
        hello.protocol,
        hello.acc_scale,
        hello.gyr_scale,
        hello.name.encode(),
    )
    wire = written(talaria_c, "talaria_encode_hello", ctypes.byref(c))
    assert FrameDecoder().feed(wire) == [hello]
    assert wire == encode_hello(hello)


@given(frames)
def test_data_of_c_is_data_of_python(talaria_c: ctypes.CDLL, frame: ImuFrame) -> None:
    n = len(frame.counts)
    c = CData(
        frame.device_us,
        frame.seq,
        frame.period_us,
        SLOTS.index(frame.slot),
        int(frame.flags),
        frame.acc_scale,
        frame.gyr_scale,
        n,
    )
    counts = ((ctypes.c_int16 * 6) * n)(*frame.counts)
    wire = written(talaria_c, "talaria_encode_data", ctypes.byref(c), counts)
    assert FrameDecoder().feed(wire) == [frame]
    assert wire == encode_frame(frame)


@given(statuses)
def test_status_of_c_is_status_of_python(talaria_c: ctypes.CDLL, status: Status) -> None:
    battery = 255 if status.battery is None else round(status.battery * 100)
    c = CStatus(status.device_us, status.dropped, status.refused, int(status.state), battery)
    wire = written(talaria_c, "talaria_encode_status", ctypes.byref(c))
    assert FrameDecoder().feed(wire) == [status]
    assert wire == encode_status(status)


@given(u64, tiny_u32, tiny_u32)
def test_pong_of_c_is_pong_of_python(
    talaria_c: ctypes.CDLL, host_us: int, device_us: int, hold_us: int
) -> None:
    arguments = ctypes.c_uint64(host_us), ctypes.c_uint32(device_us), ctypes.c_uint32(hold_us)
    wire = written(talaria_c, "talaria_encode_pong", *arguments)
    assert FrameDecoder().feed(wire) == [Pong(host_us, device_us, hold_us)]


@given(u8, u8, st.sampled_from(NackReason))
def test_ack_and_nack_of_c_are_those_of_python(
    talaria_c: ctypes.CDLL, command: int, tag: int, reason: NackReason
) -> None:
    names = ctypes.c_uint8(command), ctypes.c_uint8(tag)
    ack, nack = Ack(command, tag), Nack(command, tag, reason)
    assert written(talaria_c, "talaria_encode_ack", *names) == encode_answer(ack)
    why = ctypes.c_uint8(reason)
    assert written(talaria_c, "talaria_encode_nack", *names, why) == encode_answer(nack)


@given(st.lists(commands, max_size=6))
def test_c_reads_every_command_of_python(talaria_c: ctypes.CDLL, asked: list[Any]) -> None:
    parser = CParser(talaria_c)
    assert parser.feed(b"".join(map(encode_command, asked))) == asked
    assert parser.refused == 0


@given(st.lists(pieces, max_size=12).map(b"".join))
def test_c_and_python_agree_on_any_bytes(talaria_c: ctypes.CDLL, stream: bytes) -> None:
    c, python = CParser(talaria_c), CommandDecoder()
    assert c.feed(stream) == python.feed(stream)
    assert c.refused == python.refused


@pytest.mark.parametrize("offset", range(8))
def test_encoders_need_no_aligned_buffer(talaria_c: ctypes.CDLL, offset: int) -> None:
    room = ctypes.create_string_buffer(FRAME_BYTES + 8)
    at = ctypes.byref(room, offset)
    arguments = ctypes.c_uint64(2**63), ctypes.c_uint32(2**31), ctypes.c_uint32(7)
    n = talaria_c.talaria_encode_pong(at, ctypes.c_size_t(FRAME_BYTES), *arguments)
    assert FrameDecoder().feed(room.raw[offset : offset + n]) == [Pong(2**63, 2**31, 7)]
