"""All links of a session: items in, samples out, and what to write back to the devices.

Sans-IO: a live session, a recording of it and a replay go through the same `Receiver`, so that a
replay gives the same samples bit for bit; only what a replay would write to devices goes nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from talaria_bridge.assembler import ReadingAssembler
from talaria_bridge.clock import DeviceClock
from talaria_bridge.decoder import FrameDecoder, SampleAssembler
from talaria_bridge.errors import SourceError
from talaria_bridge.frames import DELIMITER
from talaria_bridge.host import HostLink
from talaria_bridge.link import OWN_FAMILY, Chunk, Item, Link, LinkEvent, LinkNews
from talaria_bridge.samples import ImuSample, SampleFlag
from talaria_bridge.vendors import FAMILIES
from talaria_bridge.vendors.family import Family

Outgoing = tuple[str, bytes]
"""Name of a link, and bytes to write to it."""


@dataclass(frozen=True, slots=True)
class LinkReport:
    """How one link has been doing since the session began.

    Attributes
    ----------
    name, family : str
        As in `Link`.
    connected : bool
        Whether bytes may come; a link that never said either counts as connected once they do.
    reconnects : int
        Times it came back.
    bytes_in, messages : int
        What came, and how many messages or readings it held.
    faults : mapping of str to int
        Bytes and messages that gave nothing, by kind; only kinds that occurred.
    duplicates, restarts : int
        Messages seen twice, and times the device began again.
    lost : mapping of slot to int
        Samples missing from the device's own numbering.
    longest_burst : mapping of slot to int
        Most samples lost in a row.
    battery : float or None
        Charge, 0 to 1.
    signal_dbm : float or None
        Received signal strength.
    jitter_s, drift : float
        Spread of arrival around the device's own time, and relative error of its clock.
    refusals : tuple of str
        Commands the device refused, one sentence each.
    """

    name: str
    family: str
    connected: bool
    reconnects: int
    bytes_in: int
    messages: int
    faults: Mapping[str, int]
    duplicates: int
    restarts: int
    lost: Mapping[str, int]
    longest_burst: Mapping[str, int]
    battery: float | None
    signal_dbm: float | None
    jitter_s: float
    drift: float
    refusals: tuple[str, ...]


class Receiver:
    """Decode, time and number what several links bring.

    Parameters
    ----------
    links : sequence of Link
        The links of the source. A chunk of another link is taken for our own frames.
    """

    def __init__(self, links: Sequence[Link] = ()) -> None:
        self._lanes = {link.name: _lane(link) for link in links}

    def push(self, item: Item) -> list[ImuSample]:
        """Take in one item; return its samples in the order of their instants."""
        lane = self._lanes.get(item.link)
        if lane is None:
            lane = self._lanes[item.link] = _lane(Link(item.link))
        if isinstance(item, LinkEvent):
            lane.hear(item)
            return []
        # A frame of several samples comes slot by slot; whoever aligns wants instant by instant.
        return sorted(lane.take(item), key=_instant)

    def outgoing(self, now_s: float) -> list[Outgoing]:
        """Return what is due to be written; call it after each item and ten times a second."""
        return [(name, data) for name, lane in self._lanes.items() if (data := lane.due(now_s))]

    def closing(self) -> list[Outgoing]:
        """Return what to write before the links are closed."""
        return [(name, data) for name, lane in self._lanes.items() if (data := lane.closing())]

    def reports(self) -> tuple[LinkReport, ...]:
        """How every link has been doing."""
        return tuple(lane.report() for lane in self._lanes.values())


def _instant(sample: ImuSample) -> float:
    return sample.t_s


class _Protocol(Protocol):
    """What differs between our own frames and a vendor's messages."""

    clock: DeviceClock

    def take(self, chunk: Chunk) -> list[ImuSample]: ...
    def opened(self, now_s: float) -> bytes: ...
    def lost_link(self) -> None: ...
    def due(self, now_s: float) -> bytes: ...
    def closing(self) -> bytes: ...
    def messages(self) -> int: ...
    def faults(self) -> Iterator[tuple[str, int]]: ...
    def duplicates(self) -> int: ...
    def restarts(self) -> int: ...
    def lost(self) -> Mapping[str, int]: ...
    def battery(self) -> float | None: ...
    def refusals(self) -> tuple[str, ...]: ...


class _Lane:
    """One link: its protocol, and what is counted whatever the protocol."""

    def __init__(self, link: Link, protocol: _Protocol) -> None:
        self._link = link
        self._protocol = protocol
        self._connected = False
        self._connections = 0
        self._bytes_in = 0
        self._battery: float | None = None
        self._signal_dbm: float | None = None
        self._next_seq: dict[str, int] = {}
        self._bursts: dict[str, int] = {}
        self._opening = b""

    def take(self, chunk: Chunk) -> Iterable[ImuSample]:
        self._connected = True
        self._bytes_in += len(chunk.data)
        samples = self._protocol.take(chunk)
        link = self._link
        if link.offset_s or (link.slot is not None and any(s.slot != link.slot for s in samples)):
            samples = [
                replace(s, slot=link.slot or s.slot, t_s=s.t_s - link.offset_s) for s in samples
            ]
        for sample in samples:
            self._note_burst(sample)
        return samples

    def hear(self, event: LinkEvent) -> None:
        if event.news is LinkNews.CONNECTED:
            self._connections += 1
            self._connected = True
            self._opening = self._protocol.opened(event.t_s)
        elif event.news in {LinkNews.LOST, LinkNews.FAILED}:
            self._connected = False
            self._protocol.lost_link()
        elif event.news is LinkNews.BATTERY:
            self._battery = event.value
        elif event.news is LinkNews.SIGNAL:
            self._signal_dbm = event.value

    def due(self, now_s: float) -> bytes:
        if not self._connected:
            return b""
        opening, self._opening = self._opening, b""
        return opening + self._protocol.due(now_s)

    def closing(self) -> bytes:
        return self._protocol.closing() if self._connected else b""

    def report(self) -> LinkReport:
        protocol = self._protocol
        told = protocol.battery()
        return LinkReport(
            name=self._link.name,
            family=self._link.family,
            connected=self._connected,
            reconnects=max(0, self._connections - 1),
            bytes_in=self._bytes_in,
            messages=protocol.messages(),
            faults=MappingProxyType({kind: n for kind, n in protocol.faults() if n}),
            duplicates=protocol.duplicates(),
            restarts=protocol.restarts(),
            lost=protocol.lost(),
            longest_burst=MappingProxyType(dict(self._bursts)),
            battery=self._battery if told is None else told,
            signal_dbm=self._signal_dbm,
            jitter_s=protocol.clock.jitter_s,
            drift=protocol.clock.drift,
            refusals=protocol.refusals(),
        )

    def _note_burst(self, sample: ImuSample) -> None:
        expected = self._next_seq.get(sample.slot, sample.seq)
        if sample.seq > expected and SampleFlag.RESET not in sample.flags:
            burst = sample.seq - expected
            self._bursts[sample.slot] = max(burst, self._bursts.get(sample.slot, 0))
        self._next_seq[sample.slot] = max(expected, sample.seq + 1)


class _OwnFrames:
    """The protocol of ``wire-format.md``."""

    def __init__(self, link: Link) -> None:
        self._decoder = FrameDecoder()
        self._assembler = SampleAssembler()
        self._host = HostLink(link.rate_hz)
        self._answers = b""
        self.clock = self._assembler.clock

    def take(self, chunk: Chunk) -> list[ImuSample]:
        messages = self._decoder.feed(chunk.data)
        self._answers += self._host.heard(messages, chunk.t_s)
        return self._assembler.push(messages, chunk.t_s)

    def opened(self, now_s: float) -> bytes:
        self._answers = b""
        # What was cut off by the loss ends here, so that it cannot spoil the first frame after it.
        self._decoder.feed(DELIMITER)
        return self._host.opened(now_s)

    def lost_link(self) -> None:
        self._answers = b""

    def due(self, now_s: float) -> bytes:
        answers, self._answers = self._answers, b""
        return answers + self._host.due(now_s)

    def closing(self) -> bytes:
        return self._host.closing()

    def messages(self) -> int:
        return self._decoder.counters.frames

    def faults(self) -> Iterator[tuple[str, int]]:
        counters = self._decoder.counters
        yield "crc_errors", counters.crc_errors
        yield "cobs_errors", counters.cobs_errors
        yield "too_long", counters.too_long
        yield "unknown", counters.unknown
        yield "malformed", counters.malformed

    def duplicates(self) -> int:
        return self._decoder.counters.duplicates

    def restarts(self) -> int:
        return self._decoder.counters.restarts

    def lost(self) -> Mapping[str, int]:
        return self._decoder.counters.lost_samples

    def battery(self) -> float | None:
        status = self._assembler.status
        return None if status is None else status.battery

    def refusals(self) -> tuple[str, ...]:
        return tuple(self._host.refusals)


class _VendorMessages:
    """The protocol of a family of `talaria_bridge.vendors`."""

    def __init__(self, link: Link, family: Family, slot: str) -> None:
        self._link = link
        self._family = family
        self._slot = slot
        self._decoder = family.decoder(link.transport)
        self._assembler = ReadingAssembler(slot, family, link.rate_hz)
        self._readings = 0
        self.clock = self._assembler.clock

    def take(self, chunk: Chunk) -> list[ImuSample]:
        readings = self._decoder.feed(chunk.data, chunk.stream)
        self._readings += len(readings)
        return self._assembler.push(readings, chunk.t_s)

    def opened(self, now_s: float) -> bytes:
        return self._commands("start")

    def lost_link(self) -> None:
        self._decoder.reset()
        self._assembler.link_lost()

    def due(self, now_s: float) -> bytes:
        return b""

    def closing(self) -> bytes:
        return self._commands("stop")

    def messages(self) -> int:
        return self._readings

    def faults(self) -> Iterator[tuple[str, int]]:
        yield from self._decoder.faults.items()
        yield "unpaired", self._assembler.unpaired

    def duplicates(self) -> int:
        return self._assembler.duplicates

    def restarts(self) -> int:
        return self._assembler.restarts

    def lost(self) -> Mapping[str, int]:
        return {self._slot: self._assembler.lost}

    def battery(self) -> float | None:
        return self._assembler.battery

    def refusals(self) -> tuple[str, ...]:
        return ()

    def _commands(self, which: str) -> bytes:
        # Over BLE the start belongs to the connection: subscribe first, then start (see `ble`).
        serial = self._family.serial
        if self._link.transport == "ble" or serial is None:
            return b""
        rate_hz = self._link.rate_hz or self._family.rates_hz[-1]
        make = serial.start if which == "start" else serial.stop
        return b"".join(make(rate_hz))


def _lane(link: Link) -> _Lane:
    if link.family == OWN_FAMILY:
        return _Lane(link, _OwnFrames(link))
    family = FAMILIES.get(link.family)
    if family is None or link.slot is None:
        raise SourceError(
            f"link {link.name} is of family {link.family!r} at slot {link.slot!r}, which this "
            "Talaria cannot read: update it, or name the family and slot in the source."
        )
    return _Lane(link, _VendorMessages(link, family, link.slot))
