"""A Capture2Go made of software, on USB and over Bluetooth LE.

Written from the maker's protocol on its own, so that it and the decoder check each other.
"""

from __future__ import annotations

import struct
from zlib import crc32

from talaria_bridge.samples import Vec3
from talaria_bridge.vendors.numbers import RAD_PER_DEG, to_i16
from talaria_bridge.vendors.virtual.device import Outgoing

_ACC_MS2, _GYR_RADS = 16 * 9.81 / 32768, 2000 * RAD_PER_DEG / 32768
_LEVEL = 0x80000 | 0x80000 << 20 | 0x80000 << 40
"""Packed orientation: nothing turned, to a millionth."""
_WITHOUT_MAG = 29
_FULL_FIXED_MODE = 9
"""Where these stand in the payload that sets the measurement mode."""


def _frame(header: int, payload: bytes) -> bytes:
    body = struct.pack("<H", header) + payload
    return struct.pack("<BIB", 0x02, crc32(body), len(payload)) + body


class VirtualCapture2Go:
    """On USB: says nothing until it was asked who it is, and streams in the mode it was set to.

    Attributes
    ----------
    streaming : bool
    battery : int
        Percent, told once a second.
    """

    stream = ""

    def __init__(self) -> None:
        self.streaming = False
        self.battery = 80
        self._greeted = False
        self._mode = b""
        self._status_s = float("-inf")

    def write(self, data: bytes, characteristic: str = "") -> Outgoing:
        """Obey whole messages and acknowledge them."""
        replies: Outgoing = []
        while len(data) >= 8 and data[0] == 0x02:
            size = 8 + data[5]
            one, data = data[:size], data[size:]
            if len(one) < size or crc32(one[6:]) != int.from_bytes(one[1:5], "little"):
                break
            header = int.from_bytes(one[6:8], "little")
            self._greeted |= header == 0x0070
            if self._greeted:
                replies.append((self.stream, self._sent(self._obey(header, one[8:]))))
        return replies

    def sample(self, device_s: float, acc_ms2: Vec3, gyr_rads: Vec3) -> Outgoing:
        """Send one package, and once a second the status behind it."""
        if not self.streaming:
            return []
        data = self._package(device_s, acc_ms2, gyr_rads)
        if device_s >= self._status_s + 1.0:
            self._status_s = device_s
            state = (round(device_s * 1e9), 2, 2, 0, 0, 0, 1, self.battery | 0x80, 90)
            data += _frame(0x0201, struct.pack("<qBB3hBBB", *state))
        return [(self.stream, self._sent(data))]

    def _obey(self, header: int, payload: bytes) -> bytes:
        if header == 0x0120 and len(payload) == 30:
            self._mode = payload
            return _frame(0x0122, payload)
        if header in {0x0150, 0x0152, 0x0158}:
            self.streaming = header == 0x0150 and bool(self._mode)
            return _frame(header + 1, b"")
        return _frame(0x0071, bytes(47)) if header == 0x0070 else _frame(0xFFFF, b"")

    def _package(self, device_s: float, acc_ms2: Vec3, gyr_rads: Vec3) -> bytes:
        with_mag = not self._mode[_WITHOUT_MAG]
        counts = [to_i16(value, _GYR_RADS) for value in gyr_rads]
        counts += [to_i16(value, _ACC_MS2) for value in acc_ms2] + [0, 0, 0] * with_mag
        family = 0x0240 if with_mag else 0x0250
        payload = struct.pack("<q", round(device_s * 1e9))
        payload += struct.pack(f"<{len(counts)}hQhB", *counts, _LEVEL, 0, 0)
        return _frame(family + self._mode[_FULL_FIXED_MODE], payload)

    def _sent(self, data: bytes) -> bytes:
        return data


class VirtualCapture2GoBle(VirtualCapture2Go):
    """Over Bluetooth LE: each notification counts its real-time packages first, of which it has none."""

    stream = "data"

    def _sent(self, data: bytes) -> bytes:
        return b"\xff" + data
