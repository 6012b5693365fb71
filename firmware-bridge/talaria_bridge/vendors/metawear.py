"""MbientLab MetaWear over Bluetooth LE, with the BMI160 of the MetaMotion R, RL and C.

After the vendor's *MetaWear-SDK-Cpp*. Messages are ``module register payload``; acceleration and angular
rate come apart, without time or number.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence

from talaria_bridge.link import Transport
from talaria_bridge.samples import Reading, Vec3
from talaria_bridge.vendors.family import BleProfile, Decoder, Family, Fault, Write
from talaria_bridge.vendors.numbers import (
    RAD_PER_DEG,
    STANDARD_GRAVITY_MS2,
    at_least,
    is_finite,
    unit_quaternion,
    vector,
)

ACC_COUNTS_PER_G = {2: 16384, 4: 8192, 8: 4096, 16: 2048}
GYR_COUNTS_PER_DPS = {2000: 16.4, 1000: 32.8, 500: 65.6, 250: 131.2, 125: 262.4}
RATES_HZ = (25.0, 50.0, 100.0)
COMMAND = "326a9001-85cb-9195-d9dd-464cfbbae75a"
NOTIFY = "326a9006-85cb-9195-d9dd-464cfbbae75a"

_ACC, _GYR, _FUSION = 0x03, 0x13, 0x19
_ONE, _THREE, _FLOATS, _QUAT = (struct.Struct(f) for f in ("<3h", "<9h", "<3f", "<4f"))
_MILLI_G = STANDARD_GRAVITY_MS2 / 1000
_ODR_ACC = {25.0: 0x06, 50.0: 0x07, 100.0: 0x08}
_RANGE_ACC_16G, _RANGE_GYR_2000 = 0x0C, 0x00


class MetaWearDecoder:
    """Notifications to readings.

    Parameters
    ----------
    acc_range_g, gyr_range_dps : int
        What the sensor is set to; `FAMILY`'s start sets 16 g and 2000 °/s.
    """

    def __init__(self, acc_range_g: int = 16, gyr_range_dps: int = 2000) -> None:
        self.faults: Counter[Fault] = Counter()
        self._acc = STANDARD_GRAVITY_MS2 / ACC_COUNTS_PER_G[acc_range_g]
        self._gyr = RAD_PER_DEG / GYR_COUNTS_PER_DPS[gyr_range_dps]
        self._readers = {
            (_ACC, 0x04): self._accelerations,
            (_ACC, 0x1C): self._accelerations,
            (_GYR, 0x05): self._rates,
            (_GYR, 0x07): self._rates,
            (_FUSION, 0x04): self._fused_acceleration,
            (_FUSION, 0x05): self._fused_rate,
            (_FUSION, 0x07): self._fused_quaternion,
        }

    def feed(self, data: bytes, stream: str = "") -> list[Reading]:
        """Read one notification."""
        found: list[Reading] | Fault = Fault.LENGTH
        if len(data) >= 2:
            reader = self._readers.get((data[0], data[1]))
            found = Fault.UNKNOWN if reader is None else reader(data[2:])
        if isinstance(found, Fault):
            self.faults[found] += 1
            return []
        return found

    def reset(self) -> None:
        """Do nothing: a notification is never unfinished."""

    def _accelerations(self, payload: bytes) -> list[Reading] | Fault:
        found = [Reading(acc_ms2=vector(*c, self._acc)) for c in _triples(payload)]
        return found or Fault.LENGTH

    def _rates(self, payload: bytes) -> list[Reading] | Fault:
        found = [Reading(gyr_rads=vector(*c, self._gyr)) for c in _triples(payload)]
        return found or Fault.LENGTH

    def _fused_acceleration(self, payload: bytes) -> list[Reading] | Fault:
        values = _floats(payload)
        if isinstance(values, Fault):
            return values
        return [Reading(acc_ms2=vector(*values, _MILLI_G))]

    def _fused_rate(self, payload: bytes) -> list[Reading] | Fault:
        values = _floats(payload)
        if isinstance(values, Fault):
            return values
        return [Reading(gyr_rads=vector(*values, RAD_PER_DEG))]

    def _fused_quaternion(self, payload: bytes) -> list[Reading] | Fault:
        if len(payload) != _QUAT.size:
            return Fault.LENGTH
        quat = unit_quaternion(*_QUAT.unpack(payload))
        return Fault.MALFORMED if quat is None else [Reading(quat_wxyz=quat)]


def _triples(payload: bytes) -> list[Vec3]:
    """One reading or a packet of three; none if it is neither."""
    if len(payload) == _ONE.size:
        return [_ONE.unpack(payload)]
    if len(payload) == _THREE.size:
        flat = _THREE.unpack(payload)
        return [flat[0:3], flat[3:6], flat[6:9]]
    return []


def _floats(payload: bytes) -> Vec3 | Fault:
    """Three numbers and a byte that tells how well they are calibrated."""
    if len(payload) != _FLOATS.size + 1:
        return Fault.LENGTH
    x, y, z = _FLOATS.unpack_from(payload)
    return (x, y, z) if is_finite((x, y, z)) else Fault.MALFORMED


def _start(rate_hz: float) -> Sequence[Write]:
    odr = _ODR_ACC[at_least(rate_hz, RATES_HZ)]
    commands = (
        bytes([_ACC, 0x03, 0x20 | odr, _RANGE_ACC_16G]),
        bytes([_GYR, 0x03, 0x20 | odr, _RANGE_GYR_2000]),
        bytes([_ACC, 0x04, 0x01]),
        bytes([_GYR, 0x05, 0x01]),
        bytes([_ACC, 0x02, 0x01, 0x00]),
        bytes([_GYR, 0x02, 0x01, 0x00]),
        bytes([_ACC, 0x01, 0x01]),
        bytes([_GYR, 0x01, 0x01]),
    )
    return tuple(Write(COMMAND, command, response=False) for command in commands)


def _stop(rate_hz: float) -> Sequence[Write]:
    commands = (
        bytes([_ACC, 0x01, 0x00]),
        bytes([_GYR, 0x01, 0x00]),
        bytes([_ACC, 0x02, 0x00, 0x01]),
        bytes([_GYR, 0x02, 0x00, 0x01]),
    )
    return tuple(Write(COMMAND, command, response=False) for command in commands)


def _decoder(transport: Transport) -> Decoder:
    return MetaWearDecoder()


FAMILY = Family(
    name="metawear",
    title="MbientLab MetaWear (BMI160)",
    decoder=_decoder,
    rates_hz=RATES_HZ,
    ble=BleProfile(
        service="326a9000-85cb-9195-d9dd-464cfbbae75a",
        notify={"data": NOTIFY},
        names=("MetaWear",),
        start=_start,
        stop=_stop,
        battery="00002a19-0000-1000-8000-00805f9b34fb",
    ),
    caveat="A MetaWear streams no time and no number: losses on the air cannot be seen.",
)
