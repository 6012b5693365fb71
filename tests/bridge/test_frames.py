"""SI values become counts as the wire format says, and what cannot be sent is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talaria_bridge.decoder import FrameDecoder
from talaria_bridge.errors import FrameFormatError
from talaria_bridge.frames import (
    ACC_FULL_SCALE_G,
    ACC_MS2_PER_COUNT,
    GYR_FULL_SCALE_DPS,
    GYR_RADS_PER_COUNT,
    MAX_BODY,
    MAX_SAMPLES,
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
    encode_data,
    encode_frame,
    encode_hello,
    encode_status,
)
from talaria_bridge.samples import SLOTS, SampleFlag

FRAME = ImuFrame("femur_r", 0, 0, 10_000, ((0, 2048, 0, 0, 0, 0),))
HELLO = Hello(1, "left", ("femur_l",), 100_000)
STATUS = Status(5, DeviceState.STREAMING, 0.5, 0, 0)
U32 = st.integers(0, 2**32 - 1)
COUNT = st.integers(-32768, 32767)
FRAMES = st.builds(
    ImuFrame,
    slot=st.sampled_from(SLOTS),
    seq=U32,
    device_us=U32,
    period_us=st.integers(1, 1_000_000),
    counts=st.lists(st.tuples(*[COUNT] * 6), min_size=1, max_size=MAX_SAMPLES).map(tuple),
    acc_scale=st.sampled_from(sorted(ACC_FULL_SCALE_G)),
    gyr_scale=st.sampled_from(sorted(GYR_FULL_SCALE_DPS)),
    flags=st.integers(0, 31).map(SampleFlag),
)
HELLOS = st.builds(
    Hello,
    device_id=st.integers(0, 2**64 - 1),
    name=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=32),
    slots=st.sets(st.sampled_from(SLOTS), min_size=1).map(
        lambda s: tuple(sorted(s, key=SLOTS.index))
    ),
    rate_millihz=st.integers(1, 10**9),
    acc_scale=st.sampled_from(sorted(ACC_FULL_SCALE_G)),
    gyr_scale=st.sampled_from(sorted(GYR_FULL_SCALE_DPS)),
    protocol=st.integers(1, 255),
    capabilities=st.integers(0, 31).map(Capability),
)
STATUSES = st.builds(
    Status,
    device_us=U32,
    state=st.sampled_from(DeviceState),
    battery=st.none() | st.integers(0, 100).map(lambda percent: percent / 100),
    dropped=U32,
    refused=st.integers(0, 65_535),
)
U8 = st.integers(0, 255)
ANSWERS = st.one_of(
    st.builds(Pong, st.integers(0, 2**64 - 1), U32, U32),
    st.builds(Ack, U8, U8),
    st.builds(Nack, U8, U8, st.sampled_from(NackReason)),
)


def encode(message: Message) -> bytes:
    match message:
        case ImuFrame():
            return encode_frame(message)
        case Hello():
            return encode_hello(message)
        case Status():
            return encode_status(message)
    return encode_answer(message)


def sent(**changes: Any) -> ImuFrame:
    """Encode SI values, decode the frame."""
    arguments = {
        "slot": "femur_r",
        "seq": 7,
        "device_us": 5,
        "period_us": 10_000,
        "acc_ms2": (0.0, 9.80665, 0.0),
        "gyr_rads": (0.0, 0.0, 0.0),
        **changes,
    }
    (frame,) = FrameDecoder().feed(encode_data(**arguments))
    assert isinstance(frame, ImuFrame)
    return frame


@given(st.one_of(FRAMES, HELLOS, STATUSES, ANSWERS))
def test_every_message_survives_the_wire(message: Message) -> None:
    wire = encode(message)
    assert wire.count(0) == 1
    assert len(wire) <= 244
    assert FrameDecoder().feed(wire) == [message]


@given(st.binary(max_size=MAX_BODY))
def test_cobs_costs_one_byte_and_leaves_no_zero(body: bytes) -> None:
    block = cobs_encode(body)
    assert len(block) == len(body) + 1
    assert 0 not in block


def test_one_g_is_2048_counts_at_16_g() -> None:
    assert sent(acc_scale=3).counts == ((0, 2048, 0, 0, 0, 0),)


def test_half_the_full_scale_is_half_the_counts_on_every_scale() -> None:
    for scale, full_g in ACC_FULL_SCALE_G.items():
        assert ACC_MS2_PER_COUNT[scale] * 16384 == pytest.approx(full_g / 2 * 9.80665, rel=1e-12)
    for scale, full_dps in GYR_FULL_SCALE_DPS.items():
        rads = math.radians(full_dps / 2)
        assert GYR_RADS_PER_COUNT[scale] * 16384 == pytest.approx(rads, rel=1e-12)
        assert sent(gyr_rads=(rads, -rads, 0), gyr_scale=scale).counts[0][3:] == (16384, -16384, 0)


def test_values_come_back_within_half_a_count() -> None:
    rng = np.random.default_rng(3)
    acc, gyr = rng.uniform(-150, 150, (18, 3)), rng.uniform(-34, 34, (18, 3))
    counts = np.array(sent(acc_ms2=acc, gyr_rads=gyr).counts)
    np.testing.assert_allclose(counts[:, :3] * ACC_MS2_PER_COUNT[3], acc, atol=0.0024)
    np.testing.assert_allclose(counts[:, 3:] * GYR_RADS_PER_COUNT[3], gyr, atol=0.00054)


def test_value_beyond_full_scale_is_clipped_and_flagged() -> None:
    frame = sent(acc_ms2=(0, 200.0, -200.0))
    assert frame.counts[0][:3] == (0, 32767, -32768)
    assert frame.flags == SampleFlag.ACC_CLIP
    frame = sent(gyr_rads=[(0, 0, 0), (0, -50.0, 0)], acc_ms2=np.zeros((2, 3)))
    assert frame.counts[1][4] == -32768
    assert frame.flags == SampleFlag.GYR_CLIP


def test_clipping_keeps_the_flags_it_was_given() -> None:
    frame = sent(acc_ms2=(0, 200.0, 0), flags=SampleFlag.RESET)
    assert frame.flags == SampleFlag.RESET | SampleFlag.ACC_CLIP


def test_largest_value_that_fits_is_not_flagged() -> None:
    per_count = ACC_MS2_PER_COUNT[3]
    frame = sent(acc_ms2=(32767 * per_count, -32768 * per_count, 0))
    assert frame.flags == SampleFlag.NONE


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["acc_ms2", "gyr_rads"])
def test_value_that_is_not_finite_is_refused(field: str, bad: float) -> None:
    with pytest.raises(FrameFormatError, match="not finite"):
        sent(**{field: (0.0, bad, 0.0)})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slot", "shin"),
        ("seq", -1),
        ("seq", 2**32),
        ("device_us", 2**32),
        ("device_us", 1.5),
        ("period_us", 0),
        ("period_us", 1_000_001),
        ("acc_scale", 5),
        ("gyr_scale", -1),
        ("counts", ()),
        ("counts", ((0,) * 6,) * 19),
        ("counts", ((0,) * 5,)),
        ("counts", ((40_000, 0, 0, 0, 0, 0),)),
    ],
)
def test_data_field_out_of_range_is_refused(field: str, value: object) -> None:
    with pytest.raises(FrameFormatError):
        encode_frame(replace(FRAME, **{field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("device_id", 2**64),
        ("name", "x" * 33),
        ("name", "\x1b[2J"),
        ("name", "Fuß"),
        ("name", "\udcff"),
        ("slots", ()),
        ("slots", ("shin",)),
        ("rate_millihz", 0),
        ("acc_scale", 9),
        ("protocol", 0),
        ("protocol", 256),
    ],
)
def test_hello_field_out_of_range_is_refused(field: str, value: object) -> None:
    with pytest.raises(FrameFormatError):
        encode_hello(replace(HELLO, **{field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("device_us", -1),
        ("device_us", 2**32),
        ("state", 3),
        ("battery", -0.01),
        ("battery", 1.01),
        ("battery", math.nan),
        ("dropped", 2**32),
        ("refused", 65_536),
    ],
)
def test_status_field_out_of_range_is_refused(field: str, value: object) -> None:
    with pytest.raises(FrameFormatError, match=field):
        encode_status(replace(STATUS, **{field: value}))


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        (Pong(2**64, 0, 0), "host_us"),
        (Pong(-1, 0, 0), "host_us"),
        (Pong(0, 2**32, 0), "device_us"),
        (Pong(0, 0, 2**32), "hold_us"),
        (Ack(256, 0), "command"),
        (Ack(0x84, -1), "tag"),
        (Nack(0x84, 256, NackReason.BUSY), "tag"),
        (Nack(0x84, 0, 0), "reason"),
        (Nack(0x84, 0, 6), "reason"),
    ],
)
def test_answer_field_out_of_range_is_refused(answer: Pong | Ack | Nack, field: str) -> None:
    with pytest.raises(FrameFormatError, match=field):
        encode_answer(answer)


def test_capabilities_nobody_knows_are_sent_as_zero() -> None:
    told = replace(HELLO, capabilities=Capability.PING | 0x8000)
    assert encode_hello(told) == encode_hello(replace(HELLO, capabilities=Capability.PING))


def test_battery_is_sent_in_whole_percent() -> None:
    (status,) = FrameDecoder().feed(encode_status(replace(STATUS, battery=0.666)))
    assert status == replace(STATUS, battery=0.67)


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(FrameFormatError, match="shape"):
        sent(acc_ms2=np.zeros((2, 3)), gyr_rads=np.zeros((1, 3)))
    with pytest.raises(FrameFormatError, match="shape"):
        sent(acc_ms2=np.zeros(4), gyr_rads=np.zeros(4))
