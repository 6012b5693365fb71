"""x-IMU3: what its vectors cannot say."""

from __future__ import annotations

import json
import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talaria_bridge.samples import SampleFlag
from talaria_bridge.vendors.virtual.devices import VirtualXimu3
from talaria_bridge.vendors.ximu3 import FAMILY, MAX_MESSAGE, divisor, stuff, unstuff

ACC, GYR = (1.25, -9.5, 3.0), (0.5, -2.0, 4.0)


def inertial(ticks: int, *numbers: float) -> bytes:
    return b"\xc9" + stuff(struct.pack("<Q6f", ticks, *numbers)) + b"\n"


@given(st.binary(max_size=60))
def test_stuffing_hides_every_line_feed_and_is_undone(payload: bytes) -> None:
    stuffed = stuff(payload)
    assert b"\n" not in stuffed
    assert unstuff(stuffed) == payload


@given(ticks=st.integers(0, 2**64 - 1))
def test_every_time_of_64_bits_survives_binary_and_text(ticks: int) -> None:
    decoder = FAMILY.decoder("tcp")
    binary, text = decoder.feed(inertial(ticks, 1, 2, 3, 0, 0, 1) + b"I,%d,1,2,3,0,0,1\n" % ticks)
    assert binary.ticks == text.ticks == ticks
    assert binary.acc_ms2 == text.acc_ms2 == (0.0, 0.0, 9.80665)
    assert binary.gyr_rads == text.gyr_rads


@pytest.mark.parametrize(
    ("numbers", "flags"),
    [
        ((0, 0, 1999.9, 0, 0, 1), SampleFlag.GYR_CLIP),
        ((0, 0, 0, 0, -24, 1), SampleFlag.ACC_CLIP),
        ((0, -2000, 0, 24, 0, 1), SampleFlag.ACC_CLIP | SampleFlag.GYR_CLIP),
        ((0, 0, 1900, 0, 0, 23), SampleFlag.NONE),
    ],
)
def test_a_value_at_the_end_of_its_range_is_flagged(
    numbers: tuple[float, ...], flags: SampleFlag
) -> None:
    (reading,) = FAMILY.decoder("serial").feed(inertial(0, *numbers))
    assert reading.flags == flags


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 3001.0, 1e38])
@pytest.mark.parametrize("place", range(6))
def test_an_impossible_number_is_counted_not_read(number: float, place: int) -> None:
    numbers = [0.0] * 6
    numbers[place] = number
    decoder = FAMILY.decoder("serial")
    assert decoder.feed(inertial(0, *numbers)) == []
    assert +decoder.faults == Counter(malformed=1)


@pytest.mark.parametrize("text", [b"-1", b"+1", b"1.5", b" 1", b"1_0", b"", b"9" * 4000])
def test_text_whose_time_is_no_whole_number_is_refused(text: bytes) -> None:
    decoder = FAMILY.decoder("serial")
    assert decoder.feed(b"I," + text + b",0,0,0,0,0,1\n") == []
    assert +decoder.faults == Counter(malformed=1)


@pytest.mark.parametrize("letter", "IMHQRALEUTBWSYCONF")
def test_every_message_of_the_manual_is_known_as_binary_and_as_text(letter: str) -> None:
    decoder = FAMILY.decoder("serial")
    decoder.feed(bytes([0x80 + ord(letter)]) + bytes(8) + b"\n" + letter.encode() + b",0\n")
    assert set(+decoder.faults) <= {"bad_length", "unused"}


@pytest.mark.parametrize("letter", "PDKGJVXZ")
def test_a_letter_without_a_message_is_unknown(letter: str) -> None:
    decoder = FAMILY.decoder("serial")
    decoder.feed(bytes([0x80 + ord(letter)]) + bytes(8) + b"\n" + letter.encode() + b",0\n")
    assert +decoder.faults == Counter(unknown=2)


def test_a_message_that_does_not_end_is_let_go_and_the_next_one_read() -> None:
    decoder = FAMILY.decoder("serial")
    for _ in range(100):
        decoder.feed(b"\xc9" * MAX_MESSAGE)
    (reading,) = decoder.feed(b"\n" + inertial(7, 0, 0, 0, 0, 0, 1))
    assert reading.ticks == 7
    assert +decoder.faults == Counter(too_long=1)


@pytest.mark.parametrize(
    ("rate_hz", "wanted"), [(50, 8), (60, 6), (80, 5), (100, 4), (150, 2), (200, 2), (400, 1)]
)
def test_the_divisor_gives_the_wanted_rate_or_more(rate_hz: float, wanted: int) -> None:
    assert divisor(rate_hz) == wanted
    assert 400 / divisor(rate_hz) >= rate_hz


def test_settings_are_json_lines_of_one_key_and_take_effect_at_once() -> None:
    assert FAMILY.serial is not None
    for messages in (FAMILY.serial.start(100.0), FAMILY.serial.stop(100.0)):
        assert all(message.count(b"\n") == 1 and message.endswith(b"\n") for message in messages)
        settings = [json.loads(message) for message in messages]
        assert all(len(setting) == 1 for setting in settings)
        assert settings[-1] == {"apply": None}


def test_stopping_does_not_leave_it_mute_for_the_next_program() -> None:
    assert FAMILY.serial is not None
    device = VirtualXimu3()
    device.write(b"".join(FAMILY.serial.start(100.0)))
    device.write(b"".join(FAMILY.serial.stop(100.0)))
    assert device.divisor == 8
    assert device.sample(0.0, ACC, GYR) != []
