"""The decoder survives any bytes in any pieces, and counts what it could not use."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talaria_bridge.decoder import FrameDecoder, SampleAssembler
from talaria_bridge.frames import (
    Ack,
    DeviceState,
    Hello,
    ImuFrame,
    Message,
    Nack,
    NackReason,
    Pong,
    Status,
    encode_answer,
    encode_frame,
    encode_hello,
    encode_status,
)
from talaria_bridge.samples import LEG_SLOTS, SLOTS, SampleFlag

HELLO = encode_hello(Hello(1, "hub", LEG_SLOTS, 100_000))
STATUS = Status(7_000_000, DeviceState.STREAMING, 0.87, 0, 0)
ANSWERS = (Pong(2**64 - 1, 2**32 - 1, 0), Ack(0x84, 1), Nack(0x83, 2, NackReason.VALUE))
TALK = encode_status(STATUS) + b"".join(map(encode_answer, ANSWERS))


def frame(seq: int, slot: str = "femur_r", n: int = 1, **changes: object) -> ImuFrame:
    counts = tuple((seq % 100, k, -seq % 7, 0, 256, -1) for k in range(n))
    made = ImuFrame(slot, seq % 2**32, seq * 10_000 % 2**32, 10_000, counts)
    return replace(made, **changes)


def walk(n: int) -> list[ImuFrame]:
    return [frame(seq, slot) for seq in range(n) for slot in LEG_SLOTS]


def wire(*frames: ImuFrame) -> bytes:
    return b"".join(map(encode_frame, frames))


STREAM = HELLO + wire(*walk(3), frame(3, n=18)) + TALK
CHUNKS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([STREAM, STREAM[5:60], STREAM[:70], b"\0", b"\1" * 300, HELLO, TALK]),
    ),
    max_size=12,
)


def everything(chunks: list[bytes]) -> tuple[list[Message], object]:
    decoder = FrameDecoder()
    messages = [message for chunk in chunks for message in decoder.feed(chunk)]
    return messages, decoder.counters


@given(CHUNKS)
def test_no_bytes_ever_raise(chunks: list[bytes]) -> None:
    decoder, assembler = FrameDecoder(), SampleAssembler()
    for k, chunk in enumerate(chunks):
        for sample in assembler.push(decoder.feed(chunk), float(k)):
            assert sample.slot in SLOTS
    assert decoder.counters.bytes_in == sum(map(len, chunks))


@given(CHUNKS, st.randoms(use_true_random=False))
def test_decoder_survives_any_split(chunks: list[bytes], rng: random.Random) -> None:
    stream = b"".join(chunks)
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randrange(20)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = everything([stream])
    assert everything(pieces) == whole
    assert everything([stream[k : k + 1] for k in range(len(stream))]) == whole


def test_every_block_is_counted_exactly_once() -> None:
    rng = random.Random(5)
    decoder = FrameDecoder()
    decoder.feed(bytes(rng.choice((0, 1, 2, 3, 200)) for _ in range(20_000)) + b"\0" + STREAM)
    count = decoder.counters
    blocks = count.crc_errors + count.cobs_errors + count.too_long + count.unknown
    rng = random.Random(5)
    noise = bytes(rng.choice((0, 1, 2, 3, 200)) for _ in range(20_000))
    assert blocks == sum(bool(block) for block in noise.split(b"\0"))
    assert count.frames == 18


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_damaged_frames_cost_little_more_than_themselves(share: float) -> None:
    rng = random.Random(11)
    stream, injured = bytearray(), 0
    for intact in walk(500):
        data = bytearray(encode_frame(intact))
        if rng.random() < share:
            injured += 1
            at = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[at] ^= 1 << rng.randrange(8)
                case 1:
                    del data[at]
                case 2:
                    data.insert(at, rng.randrange(256))
        stream += data
    decoder = FrameDecoder()
    kept = decoder.feed(bytes(stream))
    assert set(kept) <= set(walk(500))  # nothing that was not sent
    # only a lost delimiter reaches the next frame
    assert injured * 0.8 <= 2000 - len(kept) <= injured * 1.15 + 1
    # what the decoder says is lost is what is missing before the last frame of each slot
    lost = sum(decoder.counters.lost_samples.values())
    last = {f.slot: f.seq for f in kept if isinstance(f, ImuFrame)}
    assert lost + len(kept) == sum(seq + 1 for seq in last.values()) - sum(
        min(f.seq for f in kept if isinstance(f, ImuFrame) and f.slot == slot) for slot in last
    )


def test_memory_stays_bounded_without_a_delimiter() -> None:
    decoder = FrameDecoder()
    noise = b"\x55" * 65_536
    decoder.feed(noise)
    tracemalloc.start()
    for _ in range(50):
        decoder.feed(noise)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10_000
    assert decoder.counters.too_long == 1
    assert decoder.feed(b"\0" + wire(frame(0))) == [frame(0)]


def test_counters_are_a_snapshot() -> None:
    decoder = FrameDecoder()
    before = decoder.counters
    decoder.feed(STREAM)
    assert before.frames == 0
    assert before.lost_samples == {}


def test_skipped_numbers_are_lost_samples_of_their_slot() -> None:
    decoder = FrameDecoder()
    decoder.feed(wire(frame(0, n=4), frame(4, n=4), frame(10, n=4), frame(5, "calcn_l")))
    assert decoder.counters.lost_samples == {"femur_r": 2, "calcn_l": 0}


def test_numbers_wrap_without_loss() -> None:
    decoder = FrameDecoder()
    decoder.feed(wire(frame(2**32 - 2, n=2), frame(0), frame(1)))
    assert decoder.counters.lost_samples == {"femur_r": 0}
    assert decoder.counters.frames == 3


def test_repeated_frames_are_given_once() -> None:
    decoder = FrameDecoder()
    frames = [frame(k) for k in range(5)]
    assert decoder.feed(wire(*frames, frames[4], frames[3], frame(5))) == [*frames, frame(5)]
    assert decoder.counters.duplicates == 2
    assert decoder.counters.lost_samples == {"femur_r": 0}


def test_status_and_answers_come_between_data_in_their_order() -> None:
    decoder = FrameDecoder()
    talk = decoder.feed(wire(frame(0)) + TALK + wire(frame(1)) + TALK)
    assert talk == [frame(0), STATUS, *ANSWERS, frame(1), STATUS, *ANSWERS]
    assert decoder.counters.duplicates == 0


def test_restarted_device_is_no_loss_and_no_repeat() -> None:
    decoder = FrameDecoder()
    boot = frame(0, flags=SampleFlag.RESET)
    messages = decoder.feed(wire(frame(1000), boot, frame(1), frame(2)))
    assert messages == [frame(1000), boot, frame(1), frame(2)]
    decoder.feed(wire(frame(3000), frame(0)))  # without the flag, far back
    assert decoder.counters.restarts == 2
    assert decoder.counters.duplicates == 0
    assert decoder.counters.lost_samples == {"femur_r": 2997}


def test_reset_forgets_the_stream() -> None:
    decoder = FrameDecoder()
    decoder.feed(wire(frame(0)) + STREAM[:10])
    decoder.reset()
    assert decoder.counters == FrameDecoder().counters
    assert decoder.feed(wire(frame(0))) == [frame(0)]
