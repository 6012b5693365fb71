"""Arduino Nano 33 BLE Sense with Arduino's dashboard sketch: demonstration grade.

After *arduino/ArduinoAI*. Two characteristics, three float32 each, without time, number or check; the
LSM9DS1 behind them runs at about 119 Hz.
"""

from __future__ import annotations

import struct
from collections import Counter

from talaria_bridge.link import Transport
from talaria_bridge.samples import Reading
from talaria_bridge.vendors.family import BleProfile, Decoder, Family, Fault
from talaria_bridge.vendors.numbers import RAD_PER_DEG, STANDARD_GRAVITY_MS2, is_finite, vector

ACC, GYR = "acc", "gyr"
_FLOATS = struct.Struct("<3f")


def uuid(short: str) -> str:
    """Complete one of the sketch's four-digit UUIDs."""
    return f"6fbe1da7-{short}-44de-92c4-bb6e04fb0212"


class Nano33Decoder:
    """Notifications of two characteristics to readings."""

    def __init__(self) -> None:
        self.faults: Counter[Fault] = Counter()

    def feed(self, data: bytes, stream: str = "") -> list[Reading]:
        """Read one notification of `stream`."""
        if stream not in {ACC, GYR}:
            self.faults[Fault.UNKNOWN] += 1
            return []
        if len(data) != _FLOATS.size:
            self.faults[Fault.LENGTH] += 1
            return []
        x, y, z = _FLOATS.unpack(data)
        if not is_finite((x, y, z)):
            self.faults[Fault.MALFORMED] += 1
            return []
        if stream == ACC:
            return [Reading(acc_ms2=vector(x, y, z, STANDARD_GRAVITY_MS2))]
        return [Reading(gyr_rads=vector(x, y, z, RAD_PER_DEG))]

    def reset(self) -> None:
        """Do nothing: a notification is never unfinished."""


def _decoder(transport: Transport) -> Decoder:
    return Nano33Decoder()


FAMILY = Family(
    name="nano33",
    title="Arduino Nano 33 BLE Sense",
    decoder=_decoder,
    rates_hz=(119.0,),
    ble=BleProfile(
        service=uuid("0000"),
        notify={ACC: uuid("3001"), GYR: uuid("3002")},
        names=("BLESense-",),
    ),
    caveat=(
        "An Arduino Nano 33 BLE Sense has no clock, no number and no check in what it sends: good for a "
        "demonstration, not for a measurement."
    ),
)
