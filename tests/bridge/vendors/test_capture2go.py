"""Capture2Go: what its vectors cannot say, because it takes several messages or flags."""

from __future__ import annotations

import struct
import zlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talaria_bridge.samples import Reading, SampleFlag
from talaria_bridge.vendors.capture2go import FAMILY, NOTIFY, SERVICE, WRITE, unpack_quaternion
from talaria_bridge.vendors.virtual.capture2go import VirtualCapture2Go, VirtualCapture2GoBle

ACC, GYR = (1.25, -9.5, 3.0), (0.5, -2.0, 4.0)
LEVEL = 0x80000 | 0x80000 << 20 | 0x80000 << 40


def frame(header: int, payload: bytes) -> bytes:
    body = struct.pack("<H", header) + payload
    return struct.pack("<BIB", 2, zlib.crc32(body), len(payload)) + body


def six(ticks: int, flags: int = 0) -> bytes:
    return frame(0x0251, struct.pack("<q6hQhB", ticks, 0, 0, 0, 0, 0, 2048, LEVEL, 0, flags))


def real_time(ticks: int) -> bytes:
    return frame(0x0247, struct.pack("<q9hQhB", ticks, *[0] * 9, LEVEL, 0, 0))


def ticks_of(readings: list[Reading]) -> list[int | None]:
    return [reading.ticks for reading in readings]


@given(
    cuts=st.lists(st.integers(1, 38), min_size=1, max_size=4, unique=True),
    counts=st.lists(st.integers(0, 3), min_size=5, max_size=5),
)
def test_real_time_packages_amid_a_cut_package_break_neither(
    cuts: list[int], counts: list[int]
) -> None:
    decoder = FAMILY.decoder("ble")
    package, found = six(10_000), []
    edges = [0, *sorted(cuts), len(package)]
    sent = 0
    for start, end, count in zip(edges, edges[1:], counts, strict=False):
        fast = b"".join(real_time(sent + k) for k in range(count))
        sent += count
        found += decoder.feed(bytes([0xFF - count]) + fast + package[start:end], "data")
    assert ticks_of(found)[:-1] == list(range(sent))
    assert ticks_of(found)[-1] == 10_000
    assert not +decoder.faults


def test_a_damaged_real_time_package_costs_only_itself() -> None:
    decoder = FAMILY.decoder("ble")
    bad = bytearray(real_time(1))
    bad[12] ^= 4
    found = decoder.feed(b"\xfd" + bytes(bad) + real_time(2) + six(3), "data")
    assert ticks_of(found) == [2, 3]
    assert +decoder.faults == Counter(bad_checksum=1)


def test_a_lost_notification_costs_what_it_held_and_is_counted() -> None:
    decoder = FAMILY.decoder("ble")
    stream = b"".join(six(k) for k in range(12))
    parts = [b"\xff" + stream[at : at + 60] for at in range(0, len(stream), 60)]
    found = [r for k, part in enumerate(parts) if k != 3 for r in decoder.feed(part, "data")]
    seen = ticks_of(found)
    assert len(seen) >= 9
    assert seen == sorted(seen, key=lambda t: t or 0)
    assert sum(decoder.faults.values()) > 0


@pytest.mark.parametrize("bits", range(16))
def test_error_flags_become_the_flags_of_the_sample(bits: int) -> None:
    (reading,) = FAMILY.decoder("serial").feed(six(0, bits))
    assert (SampleFlag.TIME_GAP in reading.flags) == bool(bits & 1)
    assert (SampleFlag.GYR_CLIP in reading.flags) == bool(bits & 2)
    assert (SampleFlag.ACC_CLIP in reading.flags) == bool(bits & 4)


def test_a_gap_before_eight_packed_samples_is_before_the_first_of_them() -> None:
    counts = [*[100, 0, 0] * 8, *[0, 0, 2048] * 8]
    payload = struct.pack("<q48hQhB", 0, *counts, LEVEL, 0, 1 | 4)
    first, *others = FAMILY.decoder("serial").feed(frame(0x0231, payload))
    assert first.flags == SampleFlag.TIME_GAP | SampleFlag.ACC_CLIP
    assert len(others) == 7
    assert {reading.flags for reading in others} == {SampleFlag.ACC_CLIP}


def test_packed_samples_are_taken_apart_in_order() -> None:
    gyr = [value for k in range(8) for value in (k, 10 + k, 20 + k)]
    acc = [value for k in range(8) for value in (-k, 30 + k, 40 + k)]
    payload = struct.pack("<q48hQhB", 500, *gyr, *acc, LEVEL, 0, 0)
    readings = FAMILY.decoder("serial").feed(frame(0x0233, payload))
    for k, reading in enumerate(readings):
        assert reading.ticks == 500 + k * 20_000_000
        assert reading.gyr_rads is not None
        assert reading.acc_ms2 is not None
        assert [v / 0.0010652644 for v in reading.gyr_rads] == pytest.approx([k, 10 + k, 20 + k])
        assert [v / 0.0047900391 for v in reading.acc_ms2] == pytest.approx([-k, 30 + k, 40 + k])


@given(packed=st.integers(0, 2**64 - 1))
def test_any_packed_orientation_has_unit_length(packed: int) -> None:
    assert sum(part**2 for part in unpack_quaternion(packed)) == pytest.approx(1.0)


def test_the_ends_of_the_packed_range_are_the_square_root_of_a_half() -> None:
    low_z = unpack_quaternion(0x80000 << 40 | 0x80000 << 20)
    assert low_z == pytest.approx((0.5**0.5, 0, 0, -(0.5**0.5)), abs=2e-6)
    high_z = unpack_quaternion(0x80000 << 40 | 0x80000 << 20 | 0xFFFFF)
    assert high_z == pytest.approx((0.5**0.5, 0, 0, 0.5**0.5), abs=2e-6)


def test_an_intact_package_of_another_length_is_not_guessed_at() -> None:
    decoder = FAMILY.decoder("serial")
    assert ticks_of(decoder.feed(frame(0x0251, bytes(30)) + six(5))) == [5]
    assert decoder.faults["bad_length"] >= 1


def test_start_stops_an_old_stream_then_asks_for_single_samples_without_magnetometer() -> None:
    assert FAMILY.serial is not None
    info, stop, mode, start = FAMILY.serial.start(100.0)
    headers = [int.from_bytes(message[6:8], "little") for message in (info, stop, mode, start)]
    assert headers == [0x0070, 0x0158, 0x0120, 0x0150]
    payload = mode[8:]
    assert len(payload) == 30
    assert payload[9] == 2  # one sample a package, 100 Hz
    assert payload[14] == 1  # a status every second
    assert payload[29] == 1  # no magnetometer
    assert sum(payload) == 4  # and nothing else


@pytest.mark.parametrize(("asked", "digit"), [(20, 4), (25, 4), (60, 2), (200, 1), (1000, 1)])
def test_it_is_asked_for_the_next_rate_it_has(asked: float, digit: int) -> None:
    assert FAMILY.serial is not None
    device = VirtualCapture2Go()
    for message in FAMILY.serial.start(asked):
        device.write(message)
    ((_, data),) = device.sample(0.0, ACC, GYR)
    assert int.from_bytes(data[6:8], "little") == 0x0250 + digit


def test_over_usb_one_write_starts_it_and_one_stops_it() -> None:
    assert FAMILY.serial is not None
    device, decoder = VirtualCapture2Go(), FAMILY.decoder("serial")
    replies = device.write(b"".join(FAMILY.serial.start(100.0)))
    assert device.streaming
    assert [r for _, data in replies for r in decoder.feed(data)] == []
    assert +decoder.faults == Counter(unused=4)
    readings = [
        r
        for k in range(150)
        for _, data in device.sample(k / 100, ACC, GYR)
        for r in decoder.feed(data)
    ]
    assert [r.battery for r in readings if r.battery is not None] == [0.8, 0.8]
    samples = [r for r in readings if r.acc_ms2 is not None]
    assert ticks_of(samples) == [k * 10_000_000 for k in range(150)]
    assert all(r.acc_ms2 == pytest.approx(ACC, abs=3e-3) for r in samples)
    assert all(r.gyr_rads == pytest.approx(GYR, abs=6e-4) for r in samples)
    device.write(b"".join(FAMILY.serial.stop(100.0)))
    assert device.sample(2.0, ACC, GYR) == []


def test_over_ble_each_command_is_a_write_of_its_own() -> None:
    assert FAMILY.ble is not None
    assert FAMILY.ble.service == SERVICE
    assert dict(FAMILY.ble.notify) == {"data": NOTIFY}
    device, decoder = VirtualCapture2GoBle(), FAMILY.decoder("ble")
    for write in FAMILY.ble.start(50.0):
        assert write.characteristic == WRITE
        for stream, data in device.write(write.data, write.characteristic):
            assert decoder.feed(data, stream) == []
    assert device.streaming
    sent = [part for k in range(50) for part in device.sample(k / 50, ACC, GYR)]
    readings = [r for stream, data in sent for r in decoder.feed(data, stream)]
    assert len([r for r in readings if r.gyr_rads is not None]) == 50
    for write in FAMILY.ble.stop(50.0):
        device.write(write.data, write.characteristic)
    assert not device.streaming


def test_a_device_that_was_not_greeted_says_nothing() -> None:
    assert FAMILY.serial is not None
    _, *others = FAMILY.serial.start(100.0)
    assert VirtualCapture2Go().write(b"".join(others)) == []
