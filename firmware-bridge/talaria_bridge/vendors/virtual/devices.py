"""One sensor of each family made of software, for tests, demonstrations and the fault lab.

Written from the same documents as the decoders but on its own, so that the two check each other. Each
streams only after it has been started the way its family is started.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from talaria_bridge.link import Transport
from talaria_bridge.samples import Vec3
from talaria_bridge.vendors import dot, metawear, nano33, witmotion
from talaria_bridge.vendors.family import Family
from talaria_bridge.vendors.numbers import (
    RAD_PER_DEG,
    STANDARD_GRAVITY_MS2,
    to_i16,
)
from talaria_bridge.vendors.virtual.capture2go import VirtualCapture2Go, VirtualCapture2GoBle
from talaria_bridge.vendors.virtual.device import Outgoing, VirtualDevice

_IDENTITY = (1.0, 0.0, 0.0, 0.0)


def _dps(gyr_rads: Vec3) -> Vec3:
    x, y, z = gyr_rads
    return (x / RAD_PER_DEG, y / RAD_PER_DEG, z / RAD_PER_DEG)


def _g(acc_ms2: Vec3) -> Vec3:
    x, y, z = acc_ms2
    return (x / STANDARD_GRAVITY_MS2, y / STANDARD_GRAVITY_MS2, z / STANDARD_GRAVITY_MS2)


def _counts(values: Vec3, per_count: float) -> list[int]:
    return [to_i16(value, per_count) for value in values]


class VirtualDot:
    """A Movella DOT: subscribe, then start mode 26."""

    def __init__(self) -> None:
        self.streaming = False
        self.rate_hz = 60

    def write(self, data: bytes, characteristic: str = "") -> Outgoing:
        """Obey the device and measurement control characteristics."""
        if characteristic == dot.CONTROL and len(data) == 32 and data[0] & 0x10:
            (self.rate_hz,) = struct.unpack_from("<H", data, 24)
        if characteristic == dot.MEASUREMENT and len(data) == 3 and data[2] == dot.MODE:
            self.streaming = data[1] == 1
        return []

    def sample(self, device_s: float, acc_ms2: Vec3, gyr_rads: Vec3) -> Outgoing:
        """Send one measurement, padded to 63 bytes."""
        if not self.streaming:
            return []
        time_us = round(device_s * 1e6) % 2**32
        numbers = (*_IDENTITY, *acc_ms2, *_dps(gyr_rads))
        return [("data", struct.pack("<I10f", time_us, *numbers).ljust(63, b"\0"))]


class VirtualWitSerial:
    """A WitMotion on a wire: always sends; commands change its rate once it is unlocked."""

    def __init__(self) -> None:
        self.streaming = True
        self.rate_code = 0x06
        self._unlocked = False

    def write(self, data: bytes, characteristic: str = "") -> Outgoing:
        """Obey five-byte commands."""
        for at in range(0, len(data) - 4, 5):
            command = data[at : at + 5]
            self._unlocked |= command == witmotion.UNLOCK
            if command[:3] == b"\xff\xaa\x03" and self._unlocked:
                self.rate_code = command[3]
        return []

    def sample(self, device_s: float, acc_ms2: Vec3, gyr_rads: Vec3) -> Outgoing:
        """Send acceleration, angular rate and an angle nobody needs."""
        acc = _counts(acc_ms2, 16 * STANDARD_GRAVITY_MS2 / 32768)
        gyr = _counts(gyr_rads, 2000 * RAD_PER_DEG / 32768)
        frames = [self._frame(0x51, *acc), self._frame(0x52, *gyr), self._frame(0x53, 0, 0, 0)]
        return [("", b"".join(frames))]

    def _frame(self, kind: int, x: int, y: int, z: int) -> bytes:
        body = struct.pack("<BBhhhh", 0x55, kind, x, y, z, 2500)
        return body + bytes([sum(body) % 256])


class VirtualWitBle(VirtualWitSerial):
    """A WitMotion over BLE 5."""

    def sample(self, device_s: float, acc_ms2: Vec3, gyr_rads: Vec3) -> Outgoing:
        """Send one combined frame."""
        acc = _counts(acc_ms2, 16 * STANDARD_GRAVITY_MS2 / 32768)
        gyr = _counts(gyr_rads, 2000 * RAD_PER_DEG / 32768)
        return [("data", struct.pack("<BB9h", 0x55, 0x61, *acc, *gyr, 0, 0, 0))]


class VirtualXimu3:
    """An x-IMU3: JSON commands in, stuffed binary messages out."""

    def __init__(self) -> None:
        self.streaming = False
        self.divisor = 0

    def write(self, data: bytes, characteristic: str = "") -> Outgoing:
        """Obey and echo the settings."""
        replies: Outgoing = []
        for line in data.split(b"\n"):
            name = b'{"inertial_message_rate_divisor":'
            if line.startswith(name):
                self.divisor = int(line[len(name) : -1])
            if line == b'{"apply":null}':
                self.streaming = self.divisor > 0
            if line:
                replies.append(("", line + b"\n"))
        return replies

    def sample(self, device_s: float, acc_ms2: Vec3, gyr_rads: Vec3) -> Outgoing:
        """Send one inertial message."""
        if not self.streaming:
            return []
        numbers = (*_dps(gyr_rads), *_g(acc_ms2))
        payload = struct.pack("<Q6f", round(device_s * 1e6), *numbers)
        stuffed = payload.replace(b"\xdb", b"\xdb\xdd").replace(b"\n", b"\xdb\xdc")
        return [("", b"\xc9" + stuffed + b"\n")]


class VirtualMetaWear:
    """A MetaWear with a BMI160 at 16 g and 2000 °/s."""

    _NEEDED = frozenset(
        {b"\x03\x04\x01", b"\x13\x05\x01", b"\x03\x01\x01", b"\x13\x01\x01", b"\x03\x02\x01\x00"}
    )

    def __init__(self) -> None:
        self.streaming = False
        self._seen: set[bytes] = set()

    def write(self, data: bytes, characteristic: str = "") -> Outgoing:
        """Obey commands; stream once both sensors are on, enabled and subscribed to."""
        if characteristic == metawear.COMMAND:
            self._seen.add(data)
            if data in {b"\x03\x01\x00", b"\x13\x01\x00"}:
                self._seen.clear()
        self.streaming = self._seen >= self._NEEDED
        return []

    def sample(self, device_s: float, acc_ms2: Vec3, gyr_rads: Vec3) -> Outgoing:
        """Send acceleration and angular rate, each on its own."""
        if not self.streaming:
            return []
        acc = _counts(acc_ms2, STANDARD_GRAVITY_MS2 / 2048)
        gyr = _counts(gyr_rads, RAD_PER_DEG / 16.4)
        return [
            ("data", struct.pack("<BB3h", 0x03, 0x04, *acc)),
            ("data", struct.pack("<BB3h", 0x13, 0x05, *gyr)),
        ]


class VirtualXbus:
    """An MTi: configured, then measuring."""

    def __init__(self) -> None:
        self.streaming = False
        self._counter = 0

    def write(self, data: bytes, characteristic: str = "") -> Outgoing:
        """Obey whole messages and acknowledge them."""
        replies: Outgoing = []
        while len(data) >= 5:
            size = data[3] + 5
            one, data = data[:size], data[size:]
            if one[:2] != b"\xfa\xff" or len(one) != size or sum(one[1:]) % 256:
                break
            if one[2] in {0x10, 0x30}:
                self.streaming = one[2] == 0x10
            replies.append(("", self._message(one[2] + 1, b"")))
        return replies

    def sample(self, device_s: float, acc_ms2: Vec3, gyr_rads: Vec3) -> Outgoing:
        """Send one MTData2 message."""
        if not self.streaming:
            return []
        time = round(device_s * 1e4) % 2**32
        items = struct.pack(">HBHHBI", 0x1020, 2, self._counter, 0x1060, 4, time)
        items += struct.pack(">HB3f", 0x4020, 12, *acc_ms2)
        items += struct.pack(">HB3f", 0x8020, 12, *gyr_rads)
        self._counter = (self._counter + 1) % 2**16
        return [("", self._message(0x36, items))]

    def _message(self, mid: int, data: bytes) -> bytes:
        body = bytes([0xFF, mid, len(data)]) + data
        return b"\xfa" + body + bytes([-sum(body) % 256])


class VirtualNano33:
    """An Arduino Nano 33 BLE Sense, which streams whenever somebody listens."""

    def __init__(self) -> None:
        self.streaming = True

    def write(self, data: bytes, characteristic: str = "") -> Outgoing:  # noqa: D102
        return []

    def sample(self, device_s: float, acc_ms2: Vec3, gyr_rads: Vec3) -> Outgoing:
        """Send acceleration and angular rate, each on its own characteristic."""
        return [
            (nano33.ACC, struct.pack("<3f", *_g(acc_ms2))),
            (nano33.GYR, struct.pack("<3f", *_dps(gyr_rads))),
        ]


VIRTUAL: dict[tuple[str, Transport], Callable[[], VirtualDevice]] = {
    ("dot", "ble"): VirtualDot,
    ("witmotion", "serial"): VirtualWitSerial,
    ("witmotion", "ble"): VirtualWitBle,
    ("ximu3", "serial"): VirtualXimu3,
    ("ximu3", "tcp"): VirtualXimu3,
    ("capture2go", "serial"): VirtualCapture2Go,
    ("capture2go", "ble"): VirtualCapture2GoBle,
    ("metawear", "ble"): VirtualMetaWear,
    ("xbus", "serial"): VirtualXbus,
    ("nano33", "ble"): VirtualNano33,
}
"""Family and transport -> a device of it."""


def started(family: Family, transport: Transport) -> VirtualDevice:
    """Make a device of a family and start it at its default rate, the way its family is started."""
    device, rate_hz = VIRTUAL[family.name, transport](), family.rates_hz[-1]
    if transport == "ble" and family.ble is not None:
        for write in family.ble.start(rate_hz):
            device.write(write.data, write.characteristic)
    elif family.serial is not None:
        for message in family.serial.start(rate_hz):
            device.write(message)
    return device
