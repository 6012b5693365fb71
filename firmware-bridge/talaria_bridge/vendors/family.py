"""What Talaria must know about a family of sensors that somebody else makes.

A family is a sans-IO decoder plus the facts a transport needs to find and start such a device. The
contract of every decoder: *any bytes give readings or a counted fault; never an exception, never
more memory than one message; byte by byte equals all at once* (over BLE the notification is the
unit, so there it holds from notification to notification).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from talaria_bridge.clock import Ticks
from talaria_bridge.link import Transport
from talaria_bridge.samples import Reading


class Fault(StrEnum):
    """Why bytes gave no reading; the keys of a decoder's `faults`."""

    CHECKSUM = "bad_checksum"
    LENGTH = "bad_length"
    UNKNOWN = "unknown"
    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    SKIPPED = "skipped_bytes"
    UNUSED = "unused"


class Decoder(Protocol):
    """Bytes of one device to readings.

    Attributes
    ----------
    faults : Counter of Fault to int
        *bad_checksum*, *bad_length*, *malformed* (an impossible value: NaN, a quaternion far from
        unit length), *unknown* (an intact message of a kind that is not known), *too_long* (a
        message that does not end), *skipped_bytes* (bytes, not messages, passed over to find the
        next message), *unused* (intact and known, but neither acceleration nor angular rate).
    """

    faults: Counter[Fault]

    def feed(self, data: bytes, stream: str = "") -> list[Reading]:
        """Take in the next bytes, or one notification of `stream`; return what they complete."""

    def reset(self) -> None:
        """Forget an unfinished message, as after a lost connection; keep the counts."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write to a GATT characteristic."""

    characteristic: str
    data: bytes
    response: bool = True


def _nothing(rate_hz: float) -> Sequence[Write]:
    return ()


@dataclass(frozen=True, slots=True)
class BleProfile:
    """How to find, start and stop a device over Bluetooth LE.

    Attributes
    ----------
    service : str
        UUID (128-bit, lower case) of the service that marks the family, advertised or discovered.
    notify : mapping of stream name to UUID
        Characteristics to subscribe to, in this order, before `start`.
    names : tuple of str
        What the advertised name begins with.
    company_id : int or None
        Of the manufacturer's data in the advertisement.
    start, stop : callable
        From the wanted rate (hertz) to the writes that start or stop the stream.
    battery : str or None
        UUID of a readable characteristic whose first byte is the charge in percent.
    """

    service: str
    notify: Mapping[str, str]
    names: tuple[str, ...] = ()
    company_id: int | None = None
    start: Callable[[float], Sequence[Write]] = _nothing
    stop: Callable[[float], Sequence[Write]] = _nothing
    battery: str | None = None


@dataclass(frozen=True, slots=True)
class SerialProfile:
    """How to start and stop a device on a serial line or a socket.

    Attributes
    ----------
    baud : int
        What it is set to when it leaves the factory.
    start, stop : callable
        From the wanted rate (hertz) to the messages to send.
    """

    baud: int
    start: Callable[[float], Sequence[bytes]] = field(default=lambda rate_hz: ())
    stop: Callable[[float], Sequence[bytes]] = field(default=lambda rate_hz: ())


@dataclass(frozen=True, slots=True)
class Family:
    """One family of sensors.

    Attributes
    ----------
    name : str
        What specs call it.
    title : str
        What people call it.
    decoder : callable
        From the transport to a new decoder.
    rates_hz : tuple of float
        Rates it can stream at, rising; the last is the default.
    ticks : Ticks or None
        Its clock; None if its readings carry no time (then time is made of arrival and count).
    seq_bits : int or None
        Width of `Reading.seq`; None if its readings are not numbered, so that losses between the
        sensor and the host cannot be seen in them.
    ble : BleProfile or None
    serial : SerialProfile or None
        For a serial line, and for ``tcp``.
    tcp_port : int or None
        Port it listens on, if it has TCP.
    caveat : str
        One sentence to warn with when it is opened; empty if there is nothing to warn of.
    """

    name: str
    title: str
    decoder: Callable[[Transport], Decoder]
    rates_hz: tuple[float, ...]
    ticks: Ticks | None = None
    seq_bits: int | None = None
    ble: BleProfile | None = None
    serial: SerialProfile | None = None
    tcp_port: int | None = None
    caveat: str = ""
