"""Capture2Go: frames with a CRC-32, on a USB serial port and over Bluetooth LE.

After *capture2go_sdk*, "Capture2Go Communication Protocol". A notification over Bluetooth begins with one
byte that tells how many real-time packages follow, each whole; what comes after them is a piece of the
same byte stream as on USB, cut anywhere.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from talaria_bridge.clock import Ticks
from talaria_bridge.link import Transport
from talaria_bridge.samples import Quat, Reading, SampleFlag
from talaria_bridge.vendors.family import (
    BleProfile,
    Decoder,
    Family,
    Fault,
    SerialProfile,
    Write,
)
from talaria_bridge.vendors.numbers import RAD_PER_DEG, at_least, vector
from talaria_bridge.vendors.stream import MarkedStream

ACC_MS2 = 16.0 * 9.81 / 32768
"""The protocol says 9.81, not the standard 9.80665."""
GYR_RADS = 2000.0 * RAD_PER_DEG / 32768
SERVICE = "80030001-e629-4c98-9324-aa7fc0c66de7"
WRITE = "80030002-e629-4c98-9324-aa7fc0c66de7"
NOTIFY = "80030003-e629-4c98-9324-aa7fc0c66de7"
RATES_HZ = (25.0, 50.0, 100.0, 200.0)
GET_DEVICE_INFO, SET_MODE = 0x0070, 0x0120
START_STREAMING, STOP_STREAMING, STOP_AND_CLEAR = 0x0150, 0x0152, 0x0158

_FRAME = struct.Struct("<BIBH")
"""Mark, CRC of header and payload, payload size, header: 8 bytes before the payload."""
_CRC_FROM = 6
_MAX_PAYLOAD = 236
_MODE_OF = {200.0: 1, 100.0: 2, 50.0: 3, 25.0: 4, 10.0: 5, 1.0: 6}
"""Hertz -> sampling mode, and last digit of the header of what is sampled in it."""
_MODE = struct.Struct("<q8BHBQ3B")
_STATUS, _STATUS_LAYOUT, _CHARGING = 0x0201, struct.Struct("<qBB3h3B"), 0x80
_NO_REAL_TIME = 0xFF

_PROCESSING_ISSUE = 0x10
_GAP, _GYR, _ACC = SampleFlag.TIME_GAP, SampleFlag.GYR_CLIP, SampleFlag.ACC_CLIP
_NONE = SampleFlag.NONE
_FLAGS = (_NONE, _GAP, _GYR, _GAP | _GYR, _ACC, _GAP | _ACC, _GYR | _ACC, _GAP | _GYR | _ACC)
"""By the lowest three error flags: irregular time, gyroscope and accelerometer clipped."""

_COMPONENT_MASK = (1 << 20) - 1
_SQRT_HALF = math.sqrt(0.5)
_COMPONENT = math.sqrt(2.0) / _COMPONENT_MASK


@dataclass(frozen=True, slots=True)
class _Kind:
    """A package with measurements: nanoseconds, counts, one orientation, heading offset, error flags.

    The counts are x, y, z of the gyroscope, `samples` times, then of the accelerometer, and then
    perhaps of the magnetometer.
    """

    layout: struct.Struct
    samples: int
    period_ns: int = 0


def _kind(sensors: int, samples: int, period_ns: int = 0) -> _Kind:
    return _Kind(struct.Struct(f"<q{3 * sensors * samples}hQhB"), samples, period_ns)


def _kinds() -> dict[int, _Kind]:
    orientation, six, nine = _Kind(struct.Struct("<qQhB"), 0), _kind(2, 1), _kind(3, 1)
    kinds = {0x0247: nine, 0x0287: orientation}
    for rate_hz, digit in _MODE_OF.items():
        period_ns = round(1e9 / rate_hz)
        kinds[0x0220 + digit] = _kind(3, 8, period_ns)
        kinds[0x0230 + digit] = _kind(2, 8, period_ns)
        kinds |= {0x0240 + digit: nine, 0x0250 + digit: six, 0x0280 + digit: orientation}
    return kinds


_KINDS = _kinds()
"""Header -> what is in such a package."""
_ANSWERS = (0x0071, 0x0122, 0x0151, 0x0153, 0x0159, 0x0162, 0x0164, 0x0171, 0xFFFF)
_OTHER_DATA = (
    0x0172,
    0x0261,
    *range(0x0271, 0x0277),
    *range(0x0291, 0x0297),
    0x0300,
    0x0301,
    0x0400,
)
_UNUSED = frozenset((*_ANSWERS, *_OTHER_DATA))


class Capture2GoStream(MarkedStream):
    """The byte stream, as on USB."""

    mark = b"\x02"
    head = 6

    def size(self, buffer: bytearray | bytes, at: int) -> int:
        """Tell a frame's length by its size field."""
        payload = buffer[at + 5]
        return _FRAME.size + payload if payload <= _MAX_PAYLOAD else 0

    def read(self, message: bytes) -> list[Reading] | Fault:
        """Read one frame."""
        _, crc, _, header = _FRAME.unpack_from(message)
        if zlib.crc32(message[_CRC_FROM:]) != crc:
            return Fault.CHECKSUM
        payload = message[_FRAME.size :]
        kind = _KINDS.get(header)
        if kind is not None:
            return _measured(kind, payload)
        if header == _STATUS:
            return _status(payload)
        return Fault.UNUSED if header in _UNUSED else Fault.UNKNOWN


class Capture2GoBle(Capture2GoStream):
    """The notifications over Bluetooth LE."""

    def feed(self, data: bytes, stream: str = "") -> list[Reading]:
        """Take in one notification; return the readings it completes."""
        readings: list[Reading] = []
        at = 1
        for _ in range(_NO_REAL_TIME - data[0] if data else 0):
            size = self._whole(data, at)
            if not size:
                self.faults[Fault.LENGTH] += 1
                break
            found = self.read(data[at : at + size])
            if isinstance(found, Fault):
                self.faults[found] += 1
            else:
                readings += found
            at += size
        return readings + super().feed(data[at:], stream)

    def _whole(self, data: bytes, at: int) -> int:
        """Length of the frame at `at`; 0 if there is none, or only its beginning."""
        if not data.startswith(self.mark, at) or len(data) - at < self.head:
            return 0
        size = self.size(data, at)
        return size if size <= len(data) - at else 0


def _measured(kind: _Kind, payload: bytes) -> list[Reading] | Fault:
    if len(payload) != kind.layout.size:
        return Fault.LENGTH
    fields = kind.layout.unpack(payload)
    first_ns, bits = fields[0], fields[-1]
    if bits & _PROCESSING_ISSUE:
        return Fault.MALFORMED  # the device itself says that its numbers cannot be trusted
    quat: Quat | None = unpack_quaternion(fields[-3])
    flags, later = _FLAGS[bits & 7], _FLAGS[bits & 6]
    if not kind.samples:
        return [Reading(quat_wxyz=quat, ticks=first_ns % 2**64, flags=flags)]
    readings = []
    for k in range(kind.samples):
        gyr = 1 + 3 * k
        acc = gyr + 3 * kind.samples
        (gx, gy, gz), (ax, ay, az) = fields[gyr : gyr + 3], fields[acc : acc + 3]
        acc_ms2, gyr_rads = vector(ax, ay, az, ACC_MS2), vector(gx, gy, gz, GYR_RADS)
        ticks = (first_ns + k * kind.period_ns) % 2**64
        readings.append(Reading(acc_ms2, gyr_rads, quat, ticks, flags=flags))
        quat, flags = None, later
    return readings


def _status(payload: bytes) -> list[Reading] | Fault:
    if len(payload) != _STATUS_LAYOUT.size:
        return Fault.LENGTH
    ticks, *_, battery, _ = _STATUS_LAYOUT.unpack(payload)
    charge = min((battery & ~_CHARGING) / 100.0, 1.0)
    return [Reading(ticks=ticks % 2**64, battery=charge)]


def unpack_quaternion(packed: int) -> Quat:
    """Undo the packing that leaves out the largest component and keeps 20 bits of each other.

    The three follow each other from the one before the omitted downwards, each spanning ±1/√2.
    """
    omitted = packed >> 60 & 3
    a = (packed & _COMPONENT_MASK) * _COMPONENT - _SQRT_HALF
    b = (packed >> 20 & _COMPONENT_MASK) * _COMPONENT - _SQRT_HALF
    c = (packed >> 40 & _COMPONENT_MASK) * _COMPONENT - _SQRT_HALF
    rest = 1.0 - a * a - b * b - c * c
    largest = math.sqrt(rest) if rest > 0.0 else 0.0
    norm = math.sqrt(a * a + b * b + c * c + largest * largest)
    # From the one after the omitted upwards, which is how they come out of the shifts backwards.
    ring = (largest / norm, c / norm, b / norm, a / norm)
    w, x, y, z = ring[-omitted:] + ring[:-omitted] if omitted else ring
    return (w, x, y, z)


def frame(header: int, payload: bytes = b"") -> bytes:
    """Frame a package."""
    body = struct.pack("<H", header) + payload
    return struct.pack("<BIB", 2, zlib.crc32(body), len(payload)) + body


def measurement_mode(rate_hz: float) -> bytes:
    """Make the message that asks for single samples without magnetometer, and a status every second."""
    mode = _MODE_OF[at_least(rate_hz, RATES_HZ)]
    at_once, no_sync, status_s, without_mag = 0, 0, 1, 1
    modes = (0, mode, 0, 0, 0, 0, status_s, 0)
    return frame(SET_MODE, _MODE.pack(at_once, *modes, 0, no_sync, 0, 0, 0, without_mag))


def _start(rate_hz: float) -> Sequence[bytes]:
    # A device that was still streaming refuses a new mode and would first send what it had kept.
    first, last = (GET_DEVICE_INFO, STOP_AND_CLEAR), START_STREAMING
    return (*(frame(header) for header in first), measurement_mode(rate_hz), frame(last))


def _stop(rate_hz: float) -> Sequence[bytes]:
    return (frame(STOP_STREAMING),)


def _start_writes(rate_hz: float) -> Sequence[Write]:
    return tuple(Write(WRITE, message) for message in _start(rate_hz))


def _stop_writes(rate_hz: float) -> Sequence[Write]:
    return tuple(Write(WRITE, message) for message in _stop(rate_hz))


def _decoder(transport: Transport) -> Decoder:
    return Capture2GoBle() if transport == "ble" else Capture2GoStream()


FAMILY = Family(
    name="capture2go",
    title="Capture2Go",
    decoder=_decoder,
    rates_hz=RATES_HZ[:-1],
    ticks=Ticks(1e-9, 64),
    ble=BleProfile(
        service=SERVICE, notify={"data": NOTIFY}, start=_start_writes, stop=_stop_writes
    ),
    serial=SerialProfile(baud=115200, start=_start, stop=_stop),
    caveat="A Capture2Go sends late what the air held up, rather than losing it: watch its delay.",
)
