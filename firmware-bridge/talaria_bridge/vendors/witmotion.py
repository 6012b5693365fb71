"""WitMotion: the 11-byte frames of its serial sensors, and the 20-byte ones of its BLE 5 sensors.

After the vendor's protocol documents and register header. BLE frames carry neither checksum nor number
nor time; serial ones have a one-byte sum, and time only if it is switched on. Where sources disagree
about the order of a quaternion, the vendor's register order is taken: w first.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from talaria_bridge.link import Transport
from talaria_bridge.samples import Reading
from talaria_bridge.vendors.family import (
    BleProfile,
    Decoder,
    Family,
    Fault,
    SerialProfile,
    Write,
)
from talaria_bridge.vendors.numbers import (
    RAD_PER_DEG,
    STANDARD_GRAVITY_MS2,
    at_least,
    clip_flags,
    unit_quaternion,
    vector,
)
from talaria_bridge.vendors.stream import MarkedStream

ACC_MS2 = 16.0 * STANDARD_GRAVITY_MS2 / 32768
GYR_RADS = 2000.0 * RAD_PER_DEG / 32768
QUAT = 1.0 / 32768
RATES_HZ = (10.0, 20.0, 50.0, 100.0, 200.0)
_RATE_CODES = {10.0: 0x06, 20.0: 0x07, 50.0: 0x08, 100.0: 0x09, 200.0: 0x0B}
_SUFFIX = "-0000-1000-8000-00805f9a34fb"
"""Not the Bluetooth base, which ends in 9b34fb: these UUIDs must never be shortened."""
NOTIFY, WRITE = f"0000ffe4{_SUFFIX}", f"0000ffe9{_SUFFIX}"
UNLOCK, SAVE = bytes.fromhex("FFAA6988B5"), bytes.fromhex("FFAA000000")

_FOUR = struct.Struct("<4h")
_NINE = struct.Struct("<9h")
_ACC, _GYR, _QUAT = 0x51, 0x52, 0x59
_KNOWN_SERIAL = {0x50, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x5A, 0x5F}
_BLE_DATA, _BLE_REGISTERS, _QUAT_REGISTER = 0x61, 0x71, 0x51


class WitSerial(MarkedStream):
    """The stream of a serial sensor."""

    mark = b"\x55"
    head = 2

    def size(self, buffer: bytearray, at: int) -> int:
        """All frames are alike."""
        return 11

    def read(self, message: bytes) -> list[Reading] | Fault:
        """Read one frame."""
        if sum(message[:10]) & 0xFF != message[10]:
            return Fault.CHECKSUM
        kind = message[1]
        a, b, c, d = _FOUR.unpack_from(message, 2)
        if kind == _ACC:
            return [Reading(acc_ms2=vector(a, b, c, ACC_MS2))]
        if kind == _GYR:
            return [Reading(gyr_rads=vector(a, b, c, GYR_RADS))]
        if kind == _QUAT:
            quat = unit_quaternion(a * QUAT, b * QUAT, c * QUAT, d * QUAT)
            return Fault.MALFORMED if quat is None else [Reading(quat_wxyz=quat)]
        return Fault.UNUSED if kind in _KNOWN_SERIAL else Fault.UNKNOWN


class WitBle(MarkedStream):
    """The notifications of a BLE 5 sensor, which hold whole frames or pieces of them."""

    mark = b"\x55"
    head = 2

    def size(self, buffer: bytearray, at: int) -> int:
        """Both kinds of frame are equally long; anything else is none."""
        return 20 if buffer[at + 1] in {_BLE_DATA, _BLE_REGISTERS} else 0

    def read(self, message: bytes) -> list[Reading] | Fault:
        """Read one frame; nothing in it tells damage."""
        if message[1] == _BLE_REGISTERS:
            return self._registers(message)
        ax, ay, az, gx, gy, gz, *_ = _NINE.unpack_from(message, 2)
        acc, gyr = vector(ax, ay, az, ACC_MS2), vector(gx, gy, gz, GYR_RADS)
        return [Reading(acc, gyr, flags=clip_flags(acc, gyr, 16.0, 2000.0))]

    def _registers(self, message: bytes) -> list[Reading] | Fault:
        if message[2] != _QUAT_REGISTER:
            return Fault.UNUSED
        w, x, y, z = _FOUR.unpack_from(message, 4)
        quat = unit_quaternion(w * QUAT, x * QUAT, y * QUAT, z * QUAT)
        return Fault.MALFORMED if quat is None else [Reading(quat_wxyz=quat)]


def set_rate(rate_hz: float) -> bytes:
    """Command that sets the output rate; it must be unlocked first."""
    return bytes([0xFF, 0xAA, 0x03, _RATE_CODES[at_least(rate_hz, RATES_HZ)], 0x00])


def _commands(rate_hz: float) -> Sequence[bytes]:
    return (UNLOCK, set_rate(rate_hz))


def _writes(rate_hz: float) -> Sequence[Write]:
    return tuple(Write(WRITE, command, response=False) for command in _commands(rate_hz))


def _decoder(transport: Transport) -> Decoder:
    return WitBle() if transport == "ble" else WitSerial()


FAMILY = Family(
    name="witmotion",
    title="WitMotion",
    decoder=_decoder,
    rates_hz=RATES_HZ[:-1],
    ble=BleProfile(
        service=f"0000ffe5{_SUFFIX}", notify={"data": NOTIFY}, names=("WT",), start=_writes
    ),
    serial=SerialProfile(baud=115200, start=_commands),
    caveat="A WitMotion sends no time and no number: losses on the air cannot be seen.",
)
