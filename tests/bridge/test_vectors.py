"""The golden vectors hold in both directions, and for an encoder that shares nothing with ours."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from talaria_bridge.decoder import DecoderCounters, FrameDecoder, cobs_decode
from talaria_bridge.frames import (
    MAX_BLOCK,
    Hello,
    ImuFrame,
    Message,
    cobs_encode,
    encode_frame,
    encode_hello,
)
from talaria_bridge.samples import SLOTS, SampleFlag

FOLDER = Path(__file__).parents[2] / "firmware-bridge" / "vectors"
ERRORS = ("crc_errors", "cobs_errors", "too_long", "unknown", "malformed", "duplicates")


def load(name: str) -> list[dict[str, Any]]:
    return json.loads((FOLDER / name).read_text())["vectors"]


VALID, INVALID, STREAMS = load("valid.json"), load("invalid.json"), load("streams.json")
BY_NAME = {vector["name"]: vector for vector in VALID}


def named(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[v["name"] for v in vectors])


def message_of(fields: dict[str, Any]) -> Message:
    scales = fields["acc_scale"], fields["gyr_scale"]
    if fields["type"] == "data":
        return ImuFrame(
            SLOTS[fields["slot"]],
            fields["seq"],
            fields["device_us"],
            fields["period_us"],
            tuple(tuple(row) for row in fields["counts"]),
            *scales,
            SampleFlag(fields["flags"]),
        )
    slots = tuple(slot for n, slot in enumerate(SLOTS) if fields["slots"] >> n & 1)
    return Hello(
        int(fields["device_id"], 16),
        fields["name"],
        slots,
        fields["rate_millihz"],
        *scales,
        fields["protocol"],
    )


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


@named(VALID)
def test_encoder_gives_the_golden_bytes(vector: dict[str, Any]) -> None:
    message = message_of(vector["message"])
    wire = encode_frame(message) if isinstance(message, ImuFrame) else encode_hello(message)
    assert wire.hex() == vector["wire"]


@named(VALID)
def test_decoder_gives_the_golden_fields(vector: dict[str, Any]) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(bytes.fromhex(vector["wire"])) == [message_of(vector["message"])]
    assert errors(decoder.counters) == {}


@named(VALID)
def test_golden_bytes_are_those_of_an_independent_encoder(vector: dict[str, Any]) -> None:
    body = bytes.fromhex(vector["body"])
    assert int.from_bytes(body[-4:], "little") == slow_crc32(body[:-4])
    assert (slow_cobs(body) + b"\0").hex() == vector["wire"]


def test_crc_and_cobs_give_their_published_check_values() -> None:
    assert slow_crc32(b"123456789") == 0xCBF43926
    for raw, coded in (("00", "0101"), ("0000", "010101"), ("11220033", "0311220233")):
        assert cobs_encode(bytes.fromhex(raw)).hex() == coded
        assert cobs_decode(bytes.fromhex(coded)).hex() == raw


def test_a_golden_frame_reads_as_computed_by_hand() -> None:
    # 02 01 | 40420f00 = 1 000 000 us | seq 0 | 10270000 = 10 000 us | slot 2 | flags 0 | ids 3, 3 |
    # one sample: 0, 0x0800 = 2048 counts = 2048 · 16 / 32768 g = 1 g, then zeros
    by_hand = "020140420f000000000010270000020003030100000008"
    assert BY_NAME["data_still"]["body"][:-8] == by_hand + "0000" * 4


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
    assert messages == [message_of(v["message"]) for v in good]


@named(STREAMS)
def test_stream_gives_its_messages_and_counters(vector: dict[str, Any]) -> None:
    decoder = FrameDecoder()
    expected = [message_of(BY_NAME[name]["message"]) for name in vector["messages"]]
    assert decoder.feed(bytes.fromhex(vector["wire"])) == expected
    assert errors(decoder.counters) == vector["counters"]


def test_vectors_cover_every_error_counter_and_the_longest_block() -> None:
    seen = {vector["counter"] for vector in INVALID} | {n for s in STREAMS for n in s["counters"]}
    assert seen == set(ERRORS)
    assert set(ERRORS) <= {field.name for field in fields(DecoderCounters)}
    longest = max(len(vector["wire"]) // 2 for vector in VALID)
    assert longest == 241 <= MAX_BLOCK + 1
