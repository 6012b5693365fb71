"""What travels from a device to its reader: bytes with their arrival time, and news of the link."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Transport = Literal["ble", "serial", "tcp"]
"""What carries the bytes."""

OWN_FAMILY = "talaria"
"""The family of devices that speak ``wire-format.md``."""


@dataclass(frozen=True, slots=True)
class Link:
    """One device at the other end of one connection.

    Attributes
    ----------
    name : str
        The source spec without its options, such as ``ble:dot/D4:22:CD:00:11:22``; unique within
        a session, and the same after a reconnection and in a recording.
    family : str
        Key of `talaria_bridge.vendors.FAMILIES`, or `OWN_FAMILY`.
    slot : str or None
        Where its sensor sits; None only where the frames say so themselves.
    rate_hz : float or None
        The rate it was asked for; None if it was not asked.
    offset_s : float
        How far its times are ahead of the others', as a shared shake told; it is subtracted.
    transport : Transport
        Some families frame their bytes differently on each.
    """

    name: str
    family: str = OWN_FAMILY
    slot: str | None = None
    rate_hz: float | None = None
    transport: Transport = "serial"
    offset_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes as they came off a link.

    Attributes
    ----------
    t_s : float
        Host seconds of arrival, on a clock that never goes back.
    data : bytes
        Any number of bytes, cut anywhere; over BLE exactly one notification.
    link : str
        `Link.name` of the device they came from.
    stream : str
        Which of the device's streams, where it has several: a key of its family's
        ``BleProfile.notify``. Empty on a serial line or a socket.
    """

    t_s: float
    data: bytes
    link: str = ""
    stream: str = ""


class LinkNews(StrEnum):
    """What can happen to a link."""

    CONNECTED = "connected"
    LOST = "lost"
    FAILED = "failed"
    BATTERY = "battery"
    SIGNAL = "signal"


@dataclass(frozen=True, slots=True)
class LinkEvent:
    """Something that happened to a link, in order with its chunks.

    Attributes
    ----------
    t_s : float
        Host seconds, the clock of `Chunk.t_s`.
    link : str
        `Link.name`.
    news : LinkNews
        *connected*: bytes may come. *lost*: none will come until it is connected again. *failed*:
        an attempt to connect failed. *battery*: `value` is the charge, 0 to 1. *signal*: `value` is
        the received signal strength, dBm.
    detail : str
        One sentence for a person.
    value : float or None
    """

    t_s: float
    link: str
    news: LinkNews
    detail: str = ""
    value: float | None = None


Item = Chunk | LinkEvent
"""What a source gives."""
