"""x-IMU3 by x-io: a stream of messages that end with a line feed, on serial, Bluetooth serial and TCP.

After *x-IMU3-User-Manual*, "Communication protocol". Binary data messages are stuffed like SLIP, so that
a line feed ends a message and nothing else. Acceleration is in g, angular rate in °/s, time in
microseconds of 64 bits. There is no checksum: a damaged byte that keeps its message's length is not seen.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Sequence

from talaria_bridge.clock import Ticks
from talaria_bridge.link import Transport
from talaria_bridge.samples import Reading
from talaria_bridge.vendors.family import Decoder, Family, Fault, SerialProfile
from talaria_bridge.vendors.numbers import (
    RAD_PER_DEG,
    STANDARD_GRAVITY_MS2,
    clip_flags,
    is_finite,
    unit_quaternion,
    vector,
)

END, ESCAPE = b"\n", 0xDB
_ESCAPED_END, _ESCAPED_ESCAPE = b"\xdb\xdc", b"\xdb\xdd"
MAX_MESSAGE = 4096
"""As the maker's own receiver has it."""
SAMPLE_RATE_HZ = 400.0
ACC_RANGE_G, GYR_RANGE_DPS = 24.0, 2000.0
FACTORY_DIVISOR = 8
RATES_HZ = (50.0, 80.0, 100.0, 200.0, 400.0)

_TIME = struct.Struct("<Q")
_MAX_DIGITS = 20
_ARGUMENTS = {
    "I": 6, "M": 3, "H": 3, "Q": 4, "R": 9, "A": 3, "L": 7, "E": 7, "U": 4, "T": 1, "B": 3, "W": 2,
}  # fmt: skip
"""Message letter -> its numbers, where they are all numbers."""
_TEXT = frozenset("SYCONF")
_FLOATS = {letter: struct.Struct(f"<{n}f") for letter, n in _ARGUMENTS.items()}
_MUX, _COMMAND = 0x5E, 0x7B
_IMPOSSIBLE = 1.5
"""Times the range: beyond what the device's own calibration could make of a full-scale count."""


class Ximu3Decoder:
    """The stream of one sensor."""

    def __init__(self) -> None:
        self.faults: Counter[Fault] = Counter()
        self._buffer = bytearray()
        self._skipping = False

    def feed(self, data: bytes, stream: str = "") -> list[Reading]:
        """Take in the next bytes; return the readings they complete."""
        readings: list[Reading] = []
        head, *rest = data.split(END)
        self._extend(head)
        for piece in rest:
            readings += self._end()
            self._extend(piece)
        return readings

    def reset(self) -> None:
        """Forget an unfinished message; keep the counts."""
        self._buffer.clear()
        self._skipping = False

    def _extend(self, piece: bytes) -> None:
        if self._skipping:
            return
        if len(self._buffer) + len(piece) > MAX_MESSAGE:
            self.faults[Fault.TOO_LONG] += 1
            self._buffer.clear()
            self._skipping = True
        else:
            self._buffer += piece

    def _end(self) -> list[Reading]:
        skipped, self._skipping = self._skipping, False
        message = bytes(self._buffer)
        self._buffer.clear()
        if skipped or not message:
            return []
        found = _read(message)
        if isinstance(found, Fault):
            self.faults[found] += 1
            return []
        return [found]


def _read(message: bytes) -> Reading | Fault:
    first = message[0]
    if first == _COMMAND:
        return Fault.UNUSED if message.endswith(b"}") else Fault.MALFORMED
    if first == _MUX:
        return Fault.UNUSED if len(message) > 2 else Fault.LENGTH
    if first & 0x80:
        return _read_binary(chr(first & 0x7F), message[1:])
    return _read_text(message)


def _read_binary(letter: str, stuffed: bytes) -> Reading | Fault:
    if letter in _TEXT:
        return Fault.UNUSED
    layout = _FLOATS.get(letter)
    if layout is None:
        return Fault.UNKNOWN
    payload = unstuff(stuffed)
    if payload is None:
        return Fault.MALFORMED
    if len(payload) != _TIME.size + layout.size:
        return Fault.LENGTH
    return _reading(letter, _TIME.unpack_from(payload)[0], layout.unpack_from(payload, _TIME.size))


def _read_text(message: bytes) -> Reading | Fault:
    try:
        letter, *fields = message.decode("ascii").rstrip("\r").split(",")
    except UnicodeDecodeError:
        return Fault.MALFORMED
    if letter in _TEXT:
        return Fault.UNUSED
    count = _ARGUMENTS.get(letter)
    if count is None:
        return Fault.UNKNOWN
    if len(fields) != count + 1:
        return Fault.LENGTH
    ticks = int(fields[0]) if fields[0].isdigit() and len(fields[0]) <= _MAX_DIGITS else 1 << 64
    try:
        values = tuple(float(field) for field in fields[1:])
    except ValueError:
        return Fault.MALFORMED
    return _reading(letter, ticks, values) if ticks < 1 << 64 else Fault.MALFORMED


def _reading(letter: str, ticks: int, values: Sequence[float]) -> Reading | Fault:
    if not is_finite(values):
        return Fault.MALFORMED
    if letter == "I":
        return _inertial(ticks, values)
    if letter == "Q":
        quat = unit_quaternion(*values)
        return Fault.MALFORMED if quat is None else Reading(quat_wxyz=quat, ticks=ticks)
    if letter == "B":
        return Reading(ticks=ticks, battery=min(max(values[0] / 100.0, 0.0), 1.0))
    return Fault.UNUSED


def _inertial(ticks: int, values: Sequence[float]) -> Reading | Fault:
    gx, gy, gz, ax, ay, az = values
    gyr_dps, acc_g = max(abs(gx), abs(gy), abs(gz)), max(abs(ax), abs(ay), abs(az))
    if gyr_dps > _IMPOSSIBLE * GYR_RANGE_DPS or acc_g > _IMPOSSIBLE * ACC_RANGE_G:
        return Fault.MALFORMED
    gyr, acc = vector(gx, gy, gz, RAD_PER_DEG), vector(ax, ay, az, STANDARD_GRAVITY_MS2)
    return Reading(acc, gyr, ticks=ticks, flags=clip_flags(acc, gyr, ACC_RANGE_G, GYR_RANGE_DPS))


def stuff(payload: bytes) -> bytes:
    """Replace what would end a message."""
    return payload.replace(b"\xdb", _ESCAPED_ESCAPE).replace(END, _ESCAPED_END)


def unstuff(stuffed: bytes) -> bytes | None:
    """Undo `stuff`; None if an escape is followed by nothing it can mean."""
    if ESCAPE not in stuffed:
        return stuffed
    first, *rest = stuffed.split(b"\xdb")
    out = bytearray(first)
    for piece in rest:
        if not piece or piece[0] not in {0xDC, 0xDD}:
            return None
        out.append(0x0A if piece[0] == 0xDC else ESCAPE)
        out += piece[1:]
    return bytes(out)


def divisor(rate_hz: float) -> int:
    """How many 400 Hz samples the sensor averages into one, to send at the wanted rate or above."""
    return max(1, math.floor(SAMPLE_RATE_HZ / rate_hz))


def _start(rate_hz: float) -> Sequence[bytes]:
    return (
        b'{"binary_mode_enabled":true}\n',
        b'{"inertial_message_rate_divisor":%d}\n' % divisor(rate_hz),
        b'{"apply":null}\n',
    )


def _stop(rate_hz: float) -> Sequence[bytes]:
    # There is no command to stop, and the device keeps its settings when it is switched off: one set
    # to send nothing would be found mute by the next program. So it is left as the maker ships it.
    return (b'{"inertial_message_rate_divisor":%d}\n' % FACTORY_DIVISOR, b'{"apply":null}\n')


def _decoder(transport: Transport) -> Decoder:
    return Ximu3Decoder()


FAMILY = Family(
    name="ximu3",
    title="x-IMU3",
    decoder=_decoder,
    rates_hz=RATES_HZ[:3],
    ticks=Ticks(1e-6, 64),
    serial=SerialProfile(baud=115200, start=_start, stop=_stop),
    tcp_port=7000,
    caveat="An x-IMU3 sends no checksum: a damaged number is not seen unless it is impossible.",
)
