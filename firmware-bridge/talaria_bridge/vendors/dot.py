"""Movella (Xsens) DOT over Bluetooth LE: "Custom mode 5", all that Talaria wants in one notification.

After Movella's *DOT BLE Services Specifications*, XD0506P rev. C. Little endian throughout. There is no
number in a measurement, so losses show in the spacing of its time, which wraps after 71.6 min.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence

from talaria_bridge.clock import Ticks
from talaria_bridge.link import Transport
from talaria_bridge.samples import Reading
from talaria_bridge.vendors.family import BleProfile, Decoder, Family, Fault, Write
from talaria_bridge.vendors.numbers import (
    RAD_PER_DEG,
    at_least,
    clip_flags,
    is_finite,
    unit_quaternion,
    vector,
)

MODE = 26
RATES_HZ = (1.0, 4.0, 10.0, 12.0, 15.0, 20.0, 30.0, 60.0)
COMPANY_ID = 2182
ACC_RANGE_G, GYR_RANGE_DPS = 16.0, 2000.0


def uuid(short: str) -> str:
    """Complete one of the vendor's four-digit UUIDs."""
    return f"1517{short}-4947-11e9-8646-d663bd873d93"


CONTROL = uuid("1002")
MEASUREMENT = uuid("2001")
BATTERY = uuid("3001")

_MEASURED = struct.Struct("<I10f")
"""Microseconds, quaternion w x y z, acceleration (m/s²), angular rate (°/s): 44 bytes of up to 63."""
_LONGEST = 63


class DotDecoder:
    """Notifications of the long measurement characteristic to readings."""

    def __init__(self) -> None:
        self.faults: Counter[Fault] = Counter()

    def feed(self, data: bytes, stream: str = "") -> list[Reading]:
        """Read one notification."""
        if not _MEASURED.size <= len(data) <= _LONGEST:
            self.faults[Fault.LENGTH] += 1
            return []
        ticks, w, x, y, z, ax, ay, az, gx, gy, gz = _MEASURED.unpack_from(data)
        quat = unit_quaternion(w, x, y, z)
        if quat is None or not is_finite((ax, ay, az, gx, gy, gz)):
            self.faults[Fault.MALFORMED] += 1
            return []
        acc, gyr = (ax, ay, az), vector(gx, gy, gz, RAD_PER_DEG)
        flags = clip_flags(acc, gyr, ACC_RANGE_G, GYR_RANGE_DPS)
        return [Reading(acc, gyr, quat, ticks, flags=flags)]

    def reset(self) -> None:
        """Do nothing: a notification is never unfinished."""


def message(mid: int, data: bytes) -> bytes:
    """Frame a message of the message service: id, length, data, and a sum that makes it all 0."""
    body = bytes([mid, len(data)]) + data
    return body + bytes([-sum(body) & 0xFF])


def is_message(data: bytes) -> bool:
    """Tell whether bytes are one whole message of the message service."""
    return len(data) >= 3 and len(data) == data[1] + 3 and sum(data) & 0xFF == 0


def set_rate(rate_hz: float) -> bytes:
    """Device control message that sets the output rate and nothing else."""
    rate = round(at_least(rate_hz, RATES_HZ))
    return bytes([0x10]) + bytes(23) + struct.pack("<H", rate) + bytes(6)


def _start(rate_hz: float) -> Sequence[Write]:
    return (Write(CONTROL, set_rate(rate_hz)), Write(MEASUREMENT, bytes([1, 1, MODE])))


def _stop(rate_hz: float) -> Sequence[Write]:
    return (Write(MEASUREMENT, bytes([1, 0, MODE])),)


def _decoder(transport: Transport) -> Decoder:
    return DotDecoder()


FAMILY = Family(
    name="dot",
    title="Movella DOT",
    decoder=_decoder,
    rates_hz=RATES_HZ,
    ticks=Ticks(1e-6, 32),
    ble=BleProfile(
        service=uuid("1000"),
        notify={"data": uuid("2002")},
        names=("Movella DOT", "Xsens DOT"),
        company_id=COMPANY_ID,
        start=_start,
        stop=_stop,
        battery=BATTERY,
    ),
    caveat="A Movella DOT streams at 60 Hz at most, and a change of mode may need a power cycle.",
)
