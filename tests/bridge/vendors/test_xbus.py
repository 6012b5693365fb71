"""Xbus: what its vectors cannot say."""

from __future__ import annotations

import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talaria_bridge.samples import SampleFlag
from talaria_bridge.vendors.virtual.devices import VirtualXbus
from talaria_bridge.vendors.xbus import FAMILY, message, set_output

ACC, GYR = (1.25, -9.5, 3.0), (0.5, -2.0, 4.0)


def item(name: int, data: bytes) -> bytes:
    return struct.pack(">HB", name, len(data)) + data


def three(name: int, *values: float) -> bytes:
    return item(name, struct.pack(">3f", *values))


MEASURED = three(0x4020, *ACC) + three(0x8020, *GYR)


@pytest.mark.parametrize("bit", range(32))
def test_the_status_word_tells_of_clipping(bit: int) -> None:
    data = MEASURED + item(0xE020, struct.pack(">I", 1 << bit))
    (reading,) = FAMILY.decoder("serial").feed(message(0x36, data))
    wanted = {8: SampleFlag.ACC_CLIP, 11: SampleFlag.GYR_CLIP}
    first_of_three = 8 + 3 * ((bit - 8) // 3)
    assert reading.flags == wanted.get(first_of_three, SampleFlag.NONE)


@given(st.permutations([0x1020, 0x1060, 0x2010, 0x4020, 0x8020, 0xE020, 0xC020, 0x7777]))
def test_the_order_of_items_means_nothing(names: list[int]) -> None:
    items = {
        0x1020: struct.pack(">H", 7),
        0x1060: struct.pack(">I", 8),
        0x2010: struct.pack(">4f", 1, 0, 0, 0),
        0x4020: struct.pack(">3f", *ACC),
        0x8020: struct.pack(">3f", *GYR),
        0xE020: bytes(4),
        0xC020: bytes(12),
        0x7777: bytes(9),
    }
    data = b"".join(item(name, items[name]) for name in names)
    (reading,) = FAMILY.decoder("serial").feed(message(0x36, data))
    assert (reading.seq, reading.ticks) == (7, 8)
    assert (reading.acc_ms2, reading.gyr_rads, reading.quat_wxyz) == (ACC, GYR, (1, 0, 0, 0))


@pytest.mark.parametrize("precision", [1, 2, 3])
@pytest.mark.parametrize("name", [0x4020, 0x8020])
def test_another_precision_is_passed_over_not_misread(name: int, precision: int) -> None:
    size = {1: 12, 2: 18, 3: 24}[precision]
    other = {0x4020: 0x8020, 0x8020: 0x4020}[name]
    data = item(name | precision, bytes(size)) + three(other, *ACC)
    (reading,) = FAMILY.decoder("serial").feed(message(0x36, data))
    assert (reading.acc_ms2 is None) == (name == 0x4020)
    assert (reading.gyr_rads is None) == (name == 0x8020)


@pytest.mark.parametrize("name", [0x1020, 0x1060, 0x2010, 0x4020, 0x8020, 0xE020])
def test_an_item_of_the_wrong_size_spoils_its_message(name: int) -> None:
    decoder = FAMILY.decoder("serial")
    assert decoder.feed(message(0x36, MEASURED + item(name, bytes(5)))) == []
    assert decoder.faults["bad_length"] >= 1


def test_an_orientation_that_is_none_is_counted() -> None:
    decoder = FAMILY.decoder("serial")
    decoder.feed(message(0x36, item(0x2010, struct.pack(">4f", 3, 0, 0, 0))))
    assert +decoder.faults == Counter(malformed=1)


def test_a_length_that_cannot_be_does_not_swallow_what_follows() -> None:
    decoder = FAMILY.decoder("serial")
    good = message(0x36, MEASURED)
    assert len(decoder.feed(b"\xfa\xff\x36\xff\xff\xff" + good)) == 1
    assert decoder.faults["bad_length"] == 1


def test_a_damaged_length_delays_the_next_messages_but_loses_only_its_own() -> None:
    decoder, device = FAMILY.decoder("serial"), VirtualXbus()
    device.streaming = True
    sent = [data for k in range(20) for _, data in device.sample(k / 100, ACC, GYR)]
    bad = bytearray(sent[4])
    bad[3] = 250
    found = decoder.feed(b"".join([*sent[:4], bytes(bad), *sent[5:]]))
    assert [reading.seq for reading in found] == [k for k in range(20) if k != 4]


def test_outputs_are_asked_for_with_the_next_rate_there_is() -> None:
    for asked, given_ in ((50, 50), (60, 100), (100, 100), (200, 200), (1000, 400)):
        data = set_output(asked)
        assert data[:3] == b"\xfa\xff\xc0"
        assert sum(data[1:]) % 256 == 0
        pairs = dict(struct.iter_unpack(">HH", data[4:-1]))
        assert pairs == {
            0x1020: 0xFFFF,
            0x1060: 0xFFFF,
            0xE020: 0xFFFF,
            0x4020: given_,
            0x8020: given_,
        }


def test_it_is_configured_before_it_measures_and_its_answers_are_not_damage() -> None:
    assert FAMILY.serial is not None
    device, decoder = VirtualXbus(), FAMILY.decoder("serial")
    replies = device.write(b"".join(FAMILY.serial.start(100.0)))
    assert device.streaming
    for _, data in replies:
        assert decoder.feed(data) == []
    assert +decoder.faults == Counter(unused=3)
    device.write(b"".join(FAMILY.serial.stop(100.0)))
    assert device.sample(0.0, ACC, GYR) == []


def test_counter_and_time_wrap_where_the_family_says() -> None:
    device, decoder = VirtualXbus(), FAMILY.decoder("serial")
    device.streaming, device._counter = True, 65534
    sent = [device.sample(2**32 / 1e4 + (k - 2) / 1e4, ACC, GYR) for k in range(4)]
    readings = [r for ((_, data),) in sent for r in decoder.feed(data)]
    assert [r.seq for r in readings] == [65534, 65535, 0, 1]
    assert [r.ticks for r in readings] == [2**32 - 2, 2**32 - 1, 0, 1]
    assert FAMILY.seq_bits == 16
    assert FAMILY.ticks is not None
    assert (FAMILY.ticks.tick_s, FAMILY.ticks.bits) == (1e-4, 32)
