"""What a host asks arrives as it was asked, or is refused as the wire format says."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talaria_bridge.commands import (
    MAX_COMMAND_BLOCK,
    AskHello,
    Command,
    CommandDecoder,
    Identify,
    Ping,
    SetRate,
    Start,
    Stop,
    encode_command,
    read_command,
)
from talaria_bridge.decoder import FrameDecoder
from talaria_bridge.errors import FrameFormatError
from talaria_bridge.frames import (
    Ack,
    DeviceState,
    Nack,
    NackReason,
    Status,
    encode_answer,
    encode_status,
    seal,
)

TAG = st.integers(0, 255)
ASKED = st.one_of(
    st.builds(AskHello, TAG),
    st.builds(Ping, st.integers(0, 2**64 - 1)),
    st.builds(SetRate, TAG, st.integers(1, 10**9)),
    st.builds(Start, TAG),
    st.builds(Stop, TAG),
    st.builds(Identify, TAG, TAG),
)
START = encode_command(Start(1))
CHUNKS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        ASKED.map(encode_command),
        st.binary(min_size=2, max_size=40).map(seal),  # intact, whatever it says
        st.sampled_from([b"\0", b"\1" * 100, START[:-1], encode_answer(Ack(0x84, 1))]),
    ),
    max_size=12,
)


def everything(chunks: list[bytes]) -> tuple[list[Command | Nack], int]:
    decoder = CommandDecoder()
    found = [outcome for chunk in chunks for outcome in decoder.feed(chunk)]
    return found, decoder.refused


@given(ASKED)
def test_every_command_survives_the_wire(command: Command) -> None:
    wire = encode_command(command)
    assert wire.count(0) == 1
    assert len(wire) - 1 <= MAX_COMMAND_BLOCK
    assert everything([wire]) == ([command], 0)


@given(CHUNKS, st.randoms(use_true_random=False))
def test_command_decoder_survives_any_bytes_in_any_split(
    chunks: list[bytes], rng: random.Random
) -> None:
    stream = b"".join(chunks)
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randrange(20)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = everything([stream])
    assert everything(pieces) == whole
    assert everything([stream[k : k + 1] for k in range(len(stream))]) == whole


@given(CHUNKS)
def test_every_answer_to_any_bytes_can_be_sent(chunks: list[bytes]) -> None:
    found, _ = everything(chunks)
    for refusal in (outcome for outcome in found if isinstance(outcome, Nack)):
        assert FrameDecoder().feed(encode_answer(refusal)) == [refusal]


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (AskHello(256), "tag"),
        (Start(-1), "tag"),
        (Stop(1.5), "tag"),
        (Ping(2**64), "host_us"),
        (Ping(-1), "host_us"),
        (SetRate(256, 1), "tag"),
        (SetRate(0, 0), "rate_millihz"),
        (SetRate(0, 10**9 + 1), "rate_millihz"),
        (Identify(-1, 0), "tag"),
        (Identify(0, 256), "duration_s"),
    ],
)
def test_command_field_out_of_range_is_not_sent(command: Command, field: str) -> None:
    with pytest.raises(FrameFormatError, match=field):
        encode_command(command)


def test_damage_is_counted_and_never_answered() -> None:
    for at in range(len(START) - 1):
        for bit in range(8):
            damaged = bytearray(START)
            damaged[at] ^= 1 << bit
            found, refused = everything([bytes(damaged), START])
            assert found == [Start(1)]
            assert refused >= 1


def test_type_and_version_are_judged_before_length_and_length_before_value() -> None:
    assert read_command(bytes([0x84, 2, 7, 9, 9])) == Nack(0x84, 7, NackReason.UNKNOWN)
    assert read_command(bytes([0x83, 1, 7, 0, 0])) == Nack(0x83, 7, NackReason.LENGTH)
    assert read_command(bytes([0x83, 1, 7, 0, 0, 0, 0])) == Nack(0x83, 7, NackReason.VALUE)


def test_line_that_echoes_does_not_talk_with_itself() -> None:
    decoder = CommandDecoder()
    said = encode_status(Status(0, DeviceState.IDLE, None, 0, 0))
    for _ in range(5):  # what was said comes back; what is answered comes back too
        said = b"".join(encode_answer(refusal) for refusal in decoder.feed(said))
    assert said == b""
    assert decoder.refused == 1


def test_unended_block_waits_for_its_end() -> None:
    decoder = CommandDecoder()
    assert decoder.feed(START[:-1]) == []
    assert decoder.feed(b"\0\0\0") == [Start(1)]
    assert decoder.refused == 0


def test_count_of_the_refused_stays_where_its_field_ends() -> None:
    decoder = CommandDecoder()
    decoder.feed(b"\1\0" * 65_534)
    assert decoder.refused == 65_534
    decoder.feed(b"\1\0" * 10)
    assert decoder.refused == 65_535


def test_noise_without_a_delimiter_costs_no_memory_and_one_count() -> None:
    decoder = CommandDecoder()
    noise = b"\x55" * 65_536
    decoder.feed(noise)
    tracemalloc.start()
    for _ in range(50):
        decoder.feed(noise)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10_000
    assert decoder.refused == 1
    assert decoder.feed(b"\0" + START) == [Start(1)]
