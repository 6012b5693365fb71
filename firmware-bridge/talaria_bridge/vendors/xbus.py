"""Xsens MTi over its Xbus protocol: USB and RS-232.

After the vendor's low-level documentation and its published example packets. Big endian. Items of an
MTData2 message that are not listed here are passed over, and so are numbers of other than single
precision and orientations against a world whose z points down.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from talaria_bridge.clock import Ticks
from talaria_bridge.link import Transport
from talaria_bridge.samples import Quat, Reading, SampleFlag, Vec3
from talaria_bridge.vendors.family import Decoder, Family, Fault, SerialProfile
from talaria_bridge.vendors.numbers import at_least, is_finite, unit_quaternion
from talaria_bridge.vendors.stream import MarkedStream

RATES_HZ = (50.0, 100.0, 200.0, 400.0)
GO_TO_CONFIG, GO_TO_MEASUREMENT, SET_OUTPUT, MT_DATA_2 = 0x30, 0x10, 0xC0, 0x36
COUNTER, FINE_TIME, QUATERNION, ACCELERATION, ANGULAR_RATE = 0x1020, 0x1060, 0x2010, 0x4020, 0x8020
STATUS = 0xE020

_SHORT_HEAD, _LONG_HEAD = 4, 6
_LONG = 255
_MAX_DATA = 2048
_ITEM = struct.Struct(">HB")
_U16, _U32, _F3, _F4 = (struct.Struct(f) for f in (">H", ">I", ">3f", ">4f"))
_LAYOUT = {
    COUNTER: _U16, FINE_TIME: _U32, STATUS: _U32,
    QUATERNION: _F4, ACCELERATION: _F3, ANGULAR_RATE: _F3,
}  # fmt: skip
_ENU, _NED, _NWU = 0x0, 0x4, 0x8
"""What an id says of the world it is given in; its two lowest bits are 0 for single precision."""
_WANTED = {
    kind | world: (kind, layout)
    for kind, layout in _LAYOUT.items()
    for world in (_ENU, _NED, _NWU)
    if (kind, world) != (QUATERNION, _NED)
}
"""Id as sent -> what it is and how it is laid out."""
_ACC_CLIPPED, _GYR_CLIPPED = 0x0700, 0x3800
"""Bits of the status word, three axes each, as in the vendor's ``xsstatusflag.h``."""


class XbusDecoder(MarkedStream):
    """The stream of one MTi."""

    mark = b"\xfa\xff"
    head = _LONG_HEAD - 1

    def size(self, buffer: bytearray, at: int) -> int:
        """Tell a message's length by its length field, short or long."""
        length = buffer[at + 3]
        if length != _LONG:
            return _SHORT_HEAD + length + 1
        if len(buffer) - at < _LONG_HEAD:
            return _LONG_HEAD  # not all there yet
        (length,) = _U16.unpack_from(buffer, at + 4)
        return _LONG_HEAD + length + 1 if length <= _MAX_DATA else 0

    def read(self, message: bytes) -> list[Reading] | Fault:
        """Read one message."""
        if sum(message[1:]) & 0xFF:
            return Fault.CHECKSUM
        if message[2] != MT_DATA_2:
            return Fault.UNUSED
        head = _LONG_HEAD if message[3] == _LONG else _SHORT_HEAD
        items = _items(message[head:-1])
        return items if isinstance(items, Fault) else _reading(items)


def _items(data: bytes) -> dict[int, tuple[float, ...]] | Fault:
    """Take the items of an MTData2 message apart, by kind."""
    found: dict[int, tuple[float, ...]] = {}
    at = 0
    while at < len(data):
        if at + _ITEM.size > len(data):
            return Fault.LENGTH
        name, size = _ITEM.unpack_from(data, at)
        at += _ITEM.size
        if at + size > len(data):
            return Fault.LENGTH
        if name in _WANTED:
            kind, layout = _WANTED[name]
            if size != layout.size:
                return Fault.LENGTH
            found[kind] = layout.unpack_from(data, at)
        at += size
    return found


def _reading(items: dict[int, tuple[float, ...]]) -> list[Reading] | Fault:
    if not is_finite([sum(values) for values in items.values()]):
        return Fault.MALFORMED
    quat: Quat | None = None
    if QUATERNION in items:
        w, x, y, z = items[QUATERNION]
        quat = unit_quaternion(w, x, y, z)
        if quat is None:
            return Fault.MALFORMED
    acc, gyr = _vector(items, ACCELERATION), _vector(items, ANGULAR_RATE)
    if acc is None and gyr is None and quat is None:
        return Fault.UNUSED
    ticks, seq = _number(items, FINE_TIME), _number(items, COUNTER)
    return [Reading(acc, gyr, quat, ticks, seq, _flags(_number(items, STATUS) or 0))]


def _vector(items: dict[int, tuple[float, ...]], kind: int) -> Vec3 | None:
    if kind not in items:
        return None
    x, y, z = items[kind]
    return (x, y, z)


def _number(items: dict[int, tuple[float, ...]], kind: int) -> int | None:
    return int(items[kind][0]) if kind in items else None


def _flags(status: int) -> SampleFlag:
    flags = SampleFlag.NONE
    if status & _ACC_CLIPPED:
        flags |= SampleFlag.ACC_CLIP
    if status & _GYR_CLIPPED:
        flags |= SampleFlag.GYR_CLIP
    return flags


def message(mid: int, data: bytes = b"") -> bytes:
    """Frame a message: bus id, message id, length, data, and a sum that makes it all 0."""
    body = bytes([0xFF, mid, len(data)]) + data
    return b"\xfa" + body + bytes([-sum(body) & 0xFF])


def set_output(rate_hz: float) -> bytes:
    """Make the configuration message for counter, time, acceleration, angular rate and status."""
    rate = round(at_least(rate_hz, RATES_HZ))
    always = 0xFFFF  # with every message, whatever the rate
    rates = {
        COUNTER: always, FINE_TIME: always, ACCELERATION: rate, ANGULAR_RATE: rate, STATUS: always
    }  # fmt: skip
    return message(SET_OUTPUT, b"".join(struct.pack(">HH", *item) for item in rates.items()))


def _start(rate_hz: float) -> Sequence[bytes]:
    return (message(GO_TO_CONFIG), set_output(rate_hz), message(GO_TO_MEASUREMENT))


def _stop(rate_hz: float) -> Sequence[bytes]:
    return (message(GO_TO_CONFIG),)


def _decoder(transport: Transport) -> Decoder:
    return XbusDecoder()


FAMILY = Family(
    name="xbus",
    title="Xsens MTi (Xbus)",
    decoder=_decoder,
    rates_hz=RATES_HZ[:2],
    ticks=Ticks(1e-4, 32),
    seq_bits=16,
    serial=SerialProfile(baud=115200, start=_start, stop=_stop),
)
