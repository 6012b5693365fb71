"""The golden vectors hold in both directions, and for an encoder that shares nothing with ours.

Their schema is in ``firmware-bridge/README.md``; the C library reads the same files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from talaria_bridge.commands import (
    AskHello,
    Command,
    CommandDecoder,
    Identify,
    Ping,
    SetRate,
    Start,
    Stop,
    encode_command,
)
from talaria_bridge.decoder import DecoderCounters, FrameDecoder, cobs_decode
from talaria_bridge.frames import (
    MAX_BLOCK,
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
    cobs_encode,
    encode_answer,
    encode_frame,
    encode_hello,
    encode_status,
)
from talaria_bridge.samples import SLOTS, SampleFlag

FOLDER = Path(__file__).parents[2] / "firmware-bridge" / "vectors"
ERRORS = ("crc_errors", "cobs_errors", "too_long", "unknown", "malformed", "duplicates")


def load(name: str) -> list[dict[str, Any]]:
    return json.loads((FOLDER / name).read_text())["vectors"]


VALID, INVALID, STREAMS = load("valid.json"), load("invalid.json"), load("streams.json")
COMMANDS = load("commands.json")
SOUND = [v for v in COMMANDS if "message" in v and v["message"]["type"] != "nack"]
BY_NAME = {vector["name"]: vector for vector in VALID}


def named(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[v["name"] for v in vectors])


def data_of(told: dict[str, Any]) -> ImuFrame:
    return ImuFrame(
        SLOTS[told.pop("slot")],
        counts=tuple(tuple(row) for row in told.pop("counts")),
        flags=SampleFlag(told.pop("flags")),
        **told,
    )


def hello_of(told: dict[str, Any]) -> Hello:
    mask = told.pop("slots")
    return Hello(
        device_id=int(told.pop("device_id"), 16),
        slots=tuple(slot for n, slot in enumerate(SLOTS) if mask >> n & 1),
        capabilities=Capability(told.pop("capabilities")),
        **told,
    )


def status_of(told: dict[str, Any]) -> Status:
    percent = told.pop("battery")
    battery = None if percent == 255 else percent / 100
    return Status(state=DeviceState(told.pop("state")), battery=battery, **told)


KINDS: dict[str, Callable[..., Message | Command]] = {
    "pong": Pong,
    "ack": Ack,
    "nack": lambda reason, **told: Nack(reason=NackReason(reason), **told),
    "ask_hello": AskHello,
    "ping": Ping,
    "set_rate": SetRate,
    "start": Start,
    "stop": Stop,
    "identify": Identify,
}
NESTED = {"data": data_of, "hello": hello_of, "status": status_of}


def message_of(vector: dict[str, Any]) -> Any:
    told = dict(vector["message"])
    kind = told.pop("type")
    return NESTED[kind](told) if kind in NESTED else KINDS[kind](**told)


def encode(message: Message | Command) -> bytes:
    match message:
        case ImuFrame():
            return encode_frame(message)
        case Hello():
            return encode_hello(message)
        case Status():
            return encode_status(message)
        case Pong() | Ack() | Nack():
            return encode_answer(message)
    return encode_command(message)


def errors(counters: DecoderCounters) -> dict[str, int]:
    return {name: count for name in ERRORS if (count := getattr(counters, name))}


def slow_crc32(data: bytes) -> int:
    """Bit by bit, as the polynomial is written."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = (rest >> 1) ^ (0xEDB88320 if rest & 1 else 0)
    return rest ^ 0xFFFFFFFF


def slow_cobs(data: bytes) -> bytes:
    """Byte by byte, by looking for the next zero."""
    padded, out = data + b"\0", []
    start = 0
    while start < len(padded):
        zero = padded.index(0, start)
        out += [zero - start + 1, *padded[start:zero]]
        start = zero + 1
    return bytes(out)


@named(VALID + SOUND)
def test_encoder_gives_the_golden_bytes(vector: dict[str, Any]) -> None:
    assert encode(message_of(vector)).hex() == vector["wire"]


@named(VALID)
def test_decoder_gives_the_golden_fields(vector: dict[str, Any]) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(bytes.fromhex(vector["wire"])) == [message_of(vector)]
    assert errors(decoder.counters) == {}


@named(VALID + [v for v in COMMANDS if "body" in v])
def test_golden_bytes_are_those_of_an_independent_encoder(vector: dict[str, Any]) -> None:
    body = bytes.fromhex(vector["body"])
    assert int.from_bytes(body[-4:], "little") == slow_crc32(body[:-4])
    assert (slow_cobs(body) + b"\0").hex() == vector["wire"]


def test_crc_and_cobs_give_their_published_check_values() -> None:
    assert slow_crc32(b"123456789") == 0xCBF43926
    for raw, coded in (("00", "0101"), ("0000", "010101"), ("11220033", "0311220233")):
        assert cobs_encode(bytes.fromhex(raw)).hex() == coded
        assert cobs_decode(bytes.fromhex(coded)).hex() == raw


def test_golden_frames_read_as_computed_by_hand() -> None:
    # 02 01 | 40420f00 = 1 000 000 us | seq 0 | 10270000 = 10 000 us | slot 2 | flags 0 | ids 3, 3 |
    # one sample: 0, 0x0800 = 2048 counts = 2048 · 16 / 32768 g = 1 g, then zeros
    by_hand = "020140420f000000000010270000020003030100000008"
    assert BY_NAME["data_still"]["body"][:-8] == by_hand + "0000" * 4
    # 03 01 | 40c9a203 = 61 000 000 us | streaming | 0x57 = 87 % | 3 dropped | 2 refused
    assert BY_NAME["status_walking"]["body"][:-8] == "0301" + "40c9a203" + "0157" + "030000000200"
    # 83 01 | tag 2 | a0860100 = 100 000 mHz
    rate = next(v for v in COMMANDS if v["name"] == "set_rate")
    assert rate["body"][:-8] == "830102a0860100"


@named(INVALID)
def test_bad_frame_raises_its_counter_and_no_other(vector: dict[str, Any]) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(bytes.fromhex(vector["wire"])) == []
    assert errors(decoder.counters) == {vector["counter"]: 1}


@named(INVALID)
def test_bad_frame_costs_its_neighbours_nothing(vector: dict[str, Any]) -> None:
    good = BY_NAME["data_still"], BY_NAME["data_next"]
    first, last = (bytes.fromhex(v["wire"]) for v in good)
    messages = FrameDecoder().feed(first + bytes.fromhex(vector["wire"]) + last)
    assert messages == [message_of(v) for v in good]


@named(STREAMS)
def test_stream_gives_its_messages_and_counters(vector: dict[str, Any]) -> None:
    decoder = FrameDecoder()
    expected = [message_of(BY_NAME[name]) for name in vector["messages"]]
    assert decoder.feed(bytes.fromhex(vector["wire"])) == expected
    assert errors(decoder.counters) == vector["counters"]


@named(COMMANDS)
def test_device_obeys_refuses_or_ignores_the_golden_command(vector: dict[str, Any]) -> None:
    decoder = CommandDecoder()
    expected = [message_of(vector)] if "message" in vector else []
    assert decoder.feed(bytes.fromhex(vector["wire"])) == expected
    assert decoder.refused == (0 if vector in SOUND else 1)


def test_golden_commands_in_a_row_cost_each_other_nothing() -> None:
    decoder = CommandDecoder()
    wire = b"".join(bytes.fromhex(v["wire"]) for v in COMMANDS)
    assert decoder.feed(wire) == [message_of(v) for v in COMMANDS if "message" in v]
    assert decoder.refused == len(COMMANDS) - len(SOUND)


def test_vectors_cover_every_error_counter_and_the_longest_block() -> None:
    seen = {vector["counter"] for vector in INVALID} | {n for s in STREAMS for n in s["counters"]}
    assert seen == set(ERRORS)
    assert set(ERRORS) <= {field.name for field in fields(DecoderCounters)}
    longest = max(len(vector["wire"]) // 2 for vector in VALID)
    assert longest == 241 <= MAX_BLOCK + 1


def test_vectors_cover_every_message_state_capability_and_reason() -> None:
    told = [vector["message"] for vector in VALID]
    assert {m["type"] for m in told} == {*NESTED, "pong", "ack", "nack"}
    assert {v["message"]["type"] for v in SOUND} == set(KINDS) - {"pong", "ack", "nack"}
    assert {m["state"] for m in told if m["type"] == "status"} == set(DeviceState)
    assert {m["reason"] for m in told if m["type"] == "nack"} == set(NackReason)
    with_some = [m["capabilities"] for m in told if m["type"] == "hello"]
    for capability in Capability:
        assert {bool(bits & capability) for bits in with_some} == {True, False}


@pytest.mark.parametrize("vectors", [VALID, INVALID, STREAMS, COMMANDS])
def test_vectors_keep_to_their_schema(vectors: list[dict[str, Any]]) -> None:
    names = [vector["name"] for vector in vectors]
    assert len(set(names)) == len(names)
    for vector in vectors:
        assert {"name", "why", "wire"} < set(vector)
        assert ("message" in vector) + ("counter" in vector) + ("messages" in vector) == 1
