"""Where bytes come from: one contract, and one line of text that names any source."""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self
from urllib.parse import parse_qsl

import numpy as np

from talaria_bridge.errors import SourceError
from talaria_bridge.inbox import Inbox
from talaria_bridge.link import OWN_FAMILY, Item, Link, Transport
from talaria_bridge.replay import PacedSource, replay_source
from talaria_bridge.samples import LEG_SLOTS, SLOTS
from talaria_bridge.vendors import FAMILIES
from talaria_bridge.vendors.family import Family, SerialProfile

_DEVICE = ("slot", "rate", "offset", "retry")
KINDS = {
    "serial": ("serial:/dev/ttyACM0?baud=921600", ("baud", "family", *_DEVICE)),
    "tcp": ("tcp:192.168.1.1:7000?family=ximu3&slot=calcn_l", ("family", *_DEVICE)),
    "ble": ("ble:dot/D4:22:CD:00:11:22?slot=femur_r", ("slot", "rate", "offset")),
    "replay": ("replay:SESSION?pace=real", ("pace",)),
    "sim": ("sim:?seed=1&seconds=60&pace=fast", ("seed", "seconds", "pace")),
}
"""Kind of source -> an example of its spec, and the options it takes."""


class Source(Protocol):
    """Items in order of arrival: ``async with open_source(spec) as s: async for item in s: ...``.

    Iteration ends with the recording, or raises `SourceError` when a device goes for good.
    """

    @property
    def name(self) -> str:
        """What to call it in messages."""

    @property
    def links(self) -> Sequence[Link]:
        """The devices behind it; known once it has been entered."""

    @property
    def dropped_chunks(self) -> int:
        """Chunks lost because their reader was too slow."""

    def send(self, link: str, data: bytes) -> None:
        """Write to one device, without waiting; nothing happens where there is none."""

    async def __aenter__(self) -> Self:
        """Open it."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""

    def __aiter__(self) -> Self:
        """Iterate over its items."""

    async def __anext__(self) -> Item:
        """Wait for the next item."""


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source as text, taken apart: ``kind:target?option=value&...``."""

    text: str
    kind: str
    target: str
    options: Mapping[str, str]

    @property
    def name(self) -> str:
        """The spec without its options."""
        return f"{self.kind}:{self.target}"

    def number(self, option: str, default: float, low: float, high: float) -> float:
        """Value of a numeric option, or its default."""
        text = self.options.get(option)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise self.refuse(option, f"a number from {low:g} to {high:g}")
        return value

    def whole(self, option: str, default: int, low: int, high: int) -> int:
        """Value of a whole-number option, or its default."""
        text = self.options.get(option)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
            raise self.refuse(option, f"a whole number from {low} to {high}")
        return int(text)

    def pace(self) -> Literal["real", "fast"]:
        """Value of the option ``pace``; fast by default."""
        text = self.options.get("pace", "fast")
        if text == "real":
            return "real"
        if text == "fast":
            return "fast"
        raise self.refuse("pace", "real or fast")

    def refuse(self, option: str, wanted: str) -> SourceError:
        """Return the error that says what an option must be."""
        return SourceError(
            f"option {option}={self.options[option]!r} of source {self.text!r} is not usable: "
            f"give {wanted}, as in {KINDS[self.kind][0]!r}."
        )


def parse_source(text: str) -> SourceSpec:
    """Take a source spec apart, and refuse what no source could understand.

    Raises
    ------
    SourceError
        If the kind or an option is unknown, an option is given twice, or a part is missing.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in KINDS:
        examples = ", ".join(example for example, _ in KINDS.values())
        raise SourceError(f"{text!r} names no source Talaria knows: write one like {examples}.")
    example, known = KINDS[kind]
    target, _, query = rest.partition("?")
    if (kind == "sim") != (target == ""):
        raise SourceError(
            f"source {text!r} {'names a file or port it does not need' if target else 'lacks one'}"
            f": write it like {example!r}."
        )
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise SourceError(
            f"the options {query!r} of source {text!r} are not of the form name=value: "
            f"write them like {example!r}."
        ) from None
    for name, _ in pairs:
        if name not in known or sum(name == other for other, _ in pairs) > 1:
            raise SourceError(
                f"option {name!r} of source {text!r} is unknown or given twice: "
                f"a {kind} source takes {', '.join(known)}."
            )
    return SourceSpec(text, kind, target, dict(pairs))


def link_of(spec: SourceSpec) -> Link:
    """Say who is at the other end of a ``serial``, ``tcp`` or ``ble`` spec.

    Raises
    ------
    SourceError
        If the family, the slot or the rate is not one there is, or a slot is missing.
    """
    family = spec.target.partition("/")[0] if spec.kind == "ble" else spec.options.get("family")
    family = family or OWN_FAMILY
    if family != OWN_FAMILY and family not in FAMILIES:
        raise SourceError(
            f"{family!r} in source {spec.text!r} is no family of sensors Talaria knows: use "
            f"{', '.join((OWN_FAMILY, *FAMILIES))}."
        )
    slot = spec.options.get("slot")
    if slot is not None and slot not in SLOTS:
        raise spec.refuse("slot", f"one of {', '.join(SLOTS)}")
    if slot is None and family != OWN_FAMILY:
        raise SourceError(
            f"source {spec.text!r} does not say where its sensor is worn, and a {family} sensor "
            f"does not know: add slot=femur_r or another of {', '.join(SLOTS)}."
        )
    rate_hz = spec.number("rate", 0.0, 1.0, 1000.0) or None
    offset_s = spec.number("offset", 0.0, -10.0, 10.0)
    transports: dict[str, Transport] = {"serial": "serial", "tcp": "tcp", "ble": "ble"}
    return Link(spec.name, family, slot, rate_hz, transports[spec.kind], offset_s)


def open_source(*texts: str) -> Source:
    """Make the source that one or several specs name together; entering it opens it.

    Raises
    ------
    SourceError
        If a spec is wrong, or a device is named twice. What cannot be opened raises it on entering.
    """
    specs = [parse_source(text) for text in texts]
    if not specs:
        raise SourceError("no source is named: give one like serial:/dev/ttyACM0 or sim:.")
    names = [spec.name for spec in specs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SourceError(f"source {twice!r} is named twice: name each device once.")
    if len(specs) > 1 and any(spec.kind in {"replay", "sim"} for spec in specs):
        raise SourceError(
            f"{', '.join(texts)} cannot be read together, because a recording or a simulation has "
            "a time of its own: give it alone."
        )
    radio = [spec for spec in specs if spec.kind == "ble"]
    sources = [_open_one(spec) for spec in specs if spec.kind != "ble"]
    if radio:
        sources.append(_open_ble(radio))
    return sources[0] if len(sources) == 1 else MergedSource(sources)


class MergedSource:
    """Several sources as one; it ends when the first of them does.

    Parameters
    ----------
    sources : sequence of Source
        At least one, of live devices.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self.name = ", ".join(source.name for source in sources)
        self._inbox: Inbox | None = None

    @property
    def links(self) -> tuple[Link, ...]:
        """The devices behind all of them."""
        return tuple(link for source in self._sources for link in source.links)

    @property
    def dropped_chunks(self) -> int:
        """Chunks lost because their reader was too slow."""
        own = 0 if self._inbox is None else self._inbox.dropped_chunks
        return own + sum(source.dropped_chunks for source in self._sources)

    def send(self, link: str, data: bytes) -> None:
        """Write to whichever source has the link."""
        for source in self._sources:
            source.send(link, data)

    async def __aenter__(self) -> Self:
        self._inbox = Inbox()
        self._stack = contextlib.AsyncExitStack()
        try:
            for source in self._sources:
                await self._stack.enter_async_context(source)
        except BaseException:
            await self._stack.aclose()
            raise
        self._pumps = [asyncio.create_task(_pump(source, self._inbox)) for source in self._sources]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        await self._stack.aclose()
        assert self._inbox is not None  # entered
        self._inbox.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        assert self._inbox is not None  # entered
        return await self._inbox.get()


async def _pump(source: Source, inbox: Inbox) -> None:
    try:
        async for item in source:
            inbox.put(item)
    except SourceError as err:
        inbox.fail(str(err))
    else:
        inbox.close()


def _open_one(spec: SourceSpec) -> Source:
    # Each kind brings its own dependencies (pyserial, scipy), which the others must not need.
    if spec.kind == "serial":
        from talaria_bridge.uart import DEFAULT_BAUD, SerialSource  # noqa: PLC0415

        link = link_of(spec)
        baud = DEFAULT_BAUD if link.family == OWN_FAMILY else _wired(spec, link).baud
        baud = spec.whole("baud", baud, 1, 20_000_000)
        return SerialSource(link, spec.target, baud, _retry_s(spec))
    if spec.kind == "tcp":
        return _open_tcp(spec)
    if spec.kind == "replay":
        return replay_source(spec.target, spec.pace())
    return _simulation(spec)


def _open_tcp(spec: SourceSpec) -> Source:
    from talaria_bridge.tcp import TcpSource  # noqa: PLC0415

    link = link_of(spec)
    host, colon, port = spec.target.rpartition(":")
    if not colon:
        default = FAMILIES[link.family].tcp_port if link.family in FAMILIES else None
        host, port = spec.target, "" if default is None else str(default)
    if not host or not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise SourceError(
            f"source {spec.text!r} lacks a host or a port from 1 to 65535: write it like "
            f"{KINDS['tcp'][0]!r}."
        )
    if link.family != OWN_FAMILY:
        _wired(spec, link)
    return TcpSource(link, host, int(port), _retry_s(spec))


def _open_ble(specs: Sequence[SourceSpec]) -> Source:
    from talaria_bridge.ble import BleSource  # noqa: PLC0415

    for spec in specs:
        family, slash, address = spec.target.partition("/")
        if not slash or not address:
            raise SourceError(
                f"source {spec.text!r} names no device: write family/address, like "
                f"{KINDS['ble'][0]!r}; 'talaria scan' lists what is in reach."
            )
        known = FAMILIES.get(family)
        if known is not None and known.ble is None:
            raise _no_transport(spec, known)
    links = {spec.target.partition("/")[2].upper(): link_of(spec) for spec in specs}
    if len(links) < len(specs):
        raise SourceError(
            f"{', '.join(spec.text for spec in specs)} name one address twice: name each device once."
        )
    return BleSource(links)


def _wired(spec: SourceSpec, link: Link) -> SerialProfile:
    family = FAMILIES[link.family]
    if family.serial is None:
        raise _no_transport(spec, family)
    return family.serial


def _no_transport(spec: SourceSpec, family: Family) -> SourceError:
    has = [kind for kind, there in (("ble", family.ble), ("serial", family.serial)) if there]
    return SourceError(
        f"{family.title} sensors cannot be read by {spec.kind} ({spec.text!r}): they have "
        f"{' and '.join(has)}."
    )


def _retry_s(spec: SourceSpec) -> float:
    # A session worn on a body must outlive a loose plug.
    return spec.number("retry", math.inf, 0.0, 86_400.0)


def _simulation(spec: SourceSpec) -> Source:
    from talaria_bridge.virtual import schedule_chunks  # noqa: PLC0415

    seed = spec.whole("seed", 0, 0, 2**32 - 1)
    seconds = spec.number("seconds", 60.0, 1.0, 3_600.0)

    def items() -> Sequence[Item]:
        with np.load(io.BytesIO(_simulated(seed, seconds))) as walk:
            readings = (walk["t_s"], walk["acc_ms2"], walk["gyr_rads"])
            return schedule_chunks(LEG_SLOTS, *readings, float(walk["rate_hz"]), spec.name)

    return PacedSource(spec.text, items, spec.pace())


def _simulated(seed: int, seconds: float) -> bytes:
    """Let another process simulate: the walker needs 100 MB of scipy, and no session needs it after."""
    program = [sys.executable, "-P", "-m", "talaria_bridge.simulator", f"{seed}", f"{seconds!r}"]
    done = subprocess.run(program, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise SourceError(
            f"The simulated walker ended with status {done.returncode} ({said[-1]}): see whether "
            "'pip check' finds this installation whole."
        )
    return done.stdout
