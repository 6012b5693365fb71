"""Bluetooth LE as a source: the only module that imports bleak.

Several sensors at once, each looked after by a task of its own: found, connected, subscribed to *before*
it is told to start, watched, and found again when it goes. The radio does one thing at a time: it listens
for all that are sought, or it connects one (BlueZ cannot connect two at once). What is lost is marked by a
`LinkEvent`, and the others do not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from bleak import BleakAdapter, BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner

from talaria_bridge.backoff import Backoff
from talaria_bridge.errors import SourceError
from talaria_bridge.inbox import Inbox
from talaria_bridge.link import OWN_FAMILY, Chunk, Item, Link, LinkEvent, LinkNews
from talaria_bridge.vendors import FAMILIES
from talaria_bridge.vendors.family import BleProfile, Write

T = TypeVar("T")
NUS_WRITE = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
OWN_PROFILE = BleProfile(
    service="6e400001-b5a3-f393-e0a9-e50e24dcca9e",
    notify={"data": "6e400003-b5a3-f393-e0a9-e50e24dcca9e"},
    names=("Talaria",),
    battery="00002a19-0000-1000-8000-00805f9b34fb",
)
"""Our own frames over the Nordic UART Service: the same bytes as on a serial line."""
_UNKNOWN_DBM = -127
_MAX_WRITES = 32
"""Writes waiting at once; a device that takes none of them gets no more."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Classes to use instead of the platform's own, as a test with a radio of software does."""

    scanner: type[BaseBleakScanner]
    client: type[BaseBleakClient]


@dataclass(frozen=True, slots=True)
class BleParams:
    """How patient the radio is.

    Attributes
    ----------
    find_s : float
        How long to listen for one sensor before an attempt has failed.
    listen_s : float
        How often listening is begun anew: BlueZ tells of a sensor once, and again only when its
        signal has changed a lot.
    connect_s : float
        For connecting one sensor, and once more for subscribing to it and starting it.
    silence_s : float
        A connected sensor that says nothing for so long is taken for lost: neither BlueZ nor a
        virtual radio can be trusted to tell.
    first_wait_s, longest_wait_s : float
        Between attempts to connect.
    first_timeout_s : float
        If not one sensor has been connected by then, the source fails.
    battery_s : float
        How often the charge is asked for.
    """

    find_s: float = 5.0
    listen_s: float = 1.0
    connect_s: float = 10.0
    silence_s: float = 2.0
    first_wait_s: float = 0.1
    longest_wait_s: float = 4.0
    first_timeout_s: float = 30.0
    battery_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    """A sensor in reach.

    Attributes
    ----------
    family : str
        `OWN_FAMILY` or a key of ``FAMILIES``.
    address, name : str
    rssi_dbm : int
        Received signal strength.
    battery : float or None
        Charge, 0 to 1, where it was asked for and told.
    """

    family: str
    address: str
    name: str
    rssi_dbm: int
    battery: float | None = None


def profile_of(family: str) -> BleProfile | None:
    """How a family is reached over Bluetooth LE; None if it is not."""
    return OWN_PROFILE if family == OWN_FAMILY else FAMILIES[family].ble


def family_of(name: str | None, services: list[str], companies: list[int]) -> str | None:
    """Tell the family of an advertisement: by its service, else by its maker, else by its name."""
    if name and not name.startswith(OWN_PROFILE.names):
        # Anybody's device may have the Nordic UART Service: there the name decides.
        services = [service for service in services if service != OWN_PROFILE.service]
    profiles = [(family, profile_of(family)) for family in (OWN_FAMILY, *FAMILIES)]
    known = [(family, profile) for family, profile in profiles if profile is not None]
    signs: tuple[Callable[[BleProfile], bool], ...] = (
        lambda profile: profile.service in services,
        lambda profile: profile.company_id in companies,
        lambda profile: bool(name) and (name or "").startswith(profile.names or ("\0",)),
    )
    for sign in signs:
        for family, profile in known:
            if sign(profile):
                return family
    return None


async def scan(
    seconds: float, *, read_battery: bool = False, backend: Backend | None = None
) -> list[Found]:
    """Listen for sensors of families Talaria knows.

    Parameters
    ----------
    seconds : float
        How long.
    read_battery : bool
        Whether to connect to each and ask for its charge.

    Raises
    ------
    SourceError
        If there is no Bluetooth to listen with.
    """
    heard: dict[str, tuple[BLEDevice, Found]] = {}

    def note(device: BLEDevice, advert: AdvertisementData) -> None:
        name = advert.local_name or device.name
        family = family_of(name, advert.service_uuids, list(advert.manufacturer_data))
        if family is not None:
            found = Found(family, device.address, name or "", advert.rssi)
            heard[device.address] = (device, found)

    try:
        async with _scanner(note, backend):
            await asyncio.sleep(seconds)
    except Exception as err:  # noqa: BLE001  whatever it is, there is no Bluetooth for us
        raise _no_bluetooth(err) from None
    if not read_battery:
        return [found for _, found in heard.values()]
    return [await _with_battery(device, found, backend) for device, found in heard.values()]


class BleSource:
    """Read several sensors over Bluetooth LE, and keep at it.

    Parameters
    ----------
    links : mapping of address to Link
    params : BleParams, optional
    backend : Backend, optional
        Instead of the platform's own.

    Raises
    ------
    SourceError
        On entering, if there is no Bluetooth; on reading, if not one sensor is reached at first.
    """

    def __init__(
        self,
        links: Mapping[str, Link],
        params: BleParams | None = None,
        backend: Backend | None = None,
    ) -> None:
        self.name = ", ".join(link.name for link in links.values())
        self.links = tuple(links.values())
        self._params = params or BleParams()
        self._backend = backend
        self._peers = {
            link.name: _Peer(address, link, number)
            for number, (address, link) in enumerate(links.items())
        }
        self._inbox: Inbox | None = None

    @property
    def dropped_chunks(self) -> int:
        """Notifications the reader of this source came too late for."""
        return 0 if self._inbox is None else self._inbox.dropped_chunks

    def send(self, link: str, data: bytes) -> None:
        """Write to a device of our own family; nothing happens while it is not connected."""
        peer = self._peers.get(link)
        if peer is None or peer.client is None or peer.link.family != OWN_FAMILY:
            return
        if len(peer.writes) < _MAX_WRITES:
            task = asyncio.create_task(peer.write(data, self._params.silence_s))
            peer.writes.add(task)
            task.add_done_callback(peer.writes.discard)

    async def __aenter__(self) -> Self:
        try:
            async with _scanner(None, self._backend):
                pass
        except Exception as err:  # noqa: BLE001  as in `scan`
            raise _no_bluetooth(err) from None
        self._inbox = Inbox()
        self._lock = asyncio.Lock()
        self._ear = _Ear(self._lock, self._params, self._backend)
        work = [self._ear.listen(), self._give_up(), *map(self._keep, self._peers.values())]
        self._tasks = [asyncio.create_task(one) for one in work]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        last_words = [task for peer in self._peers.values() for task in peer.writes]
        if last_words:
            await asyncio.wait(last_words, timeout=self._params.silence_s)
        await asyncio.gather(*(self._leave(peer) for peer in self._peers.values()))
        self._box.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return await self._box.get()

    @property
    def _box(self) -> Inbox:
        assert self._inbox is not None  # entered
        return self._inbox

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Never go on in silence without one of the tasks."""
        err = None if task.cancelled() else task.exception()
        if err is not None:
            self._box.fail(
                f"reading {self.name} broke off ({type(err).__name__}: {_why(err)}), which is a fault "
                "of Talaria: start again, and report it."
            )

    async def _keep(self, peer: _Peer) -> None:
        """Connect one sensor, watch it until it goes, and begin again."""
        name, params = peer.link.name, self._params
        backoff = Backoff(params.first_wait_s, params.longest_wait_s)
        while True:
            try:
                await self._reach(peer)
            except SourceError as err:
                self._say(peer, LinkNews.FAILED, f"{name} was not reached: {err}")
            else:
                if await self._watch(peer):
                    backoff.reset()
            await self._leave(peer)
            # Not all at the same instant again: the one radio would make them wait in vain.
            await asyncio.sleep(backoff.next_s() * (1.0 + 0.1 * peer.number))

    async def _reach(self, peer: _Peer) -> None:
        """Find, connect, subscribe, and only then start."""
        device = await self._held(peer)
        if device is None:
            device, rssi_dbm = await self._ear.find(peer.address)
            if rssi_dbm > _UNKNOWN_DBM:
                self._say(peer, LinkNews.SIGNAL, value=float(rssi_dbm))
        client = self._client(peer, device)
        async with self._lock:
            await _bounded(client.connect(), self._params.connect_s)
        size = await _bounded(self._start(peer, client), self._params.connect_s)
        peer.connected_s = time.monotonic()
        peer.reached = True
        self._say(
            peer, LinkNews.CONNECTED, f"{peer.link.name} is connected, {size} bytes to a packet"
        )

    def _client(self, peer: _Peer, device: BLEDevice) -> BleakClient:
        # An event of its own: an earlier connection may still report its end.
        lost = peer.lost = asyncio.Event()
        peer.client = BleakClient(
            device,
            lambda _: lost.set(),
            timeout=self._params.connect_s,
            **_backend_of(self._backend, "client"),
        )
        return peer.client

    async def _held(self, peer: _Peer) -> BLEDevice | None:
        """Find a sensor that is connected already.

        BlueZ keeps the connections of a program that was killed. Such a sensor does not advertise, so
        no scan would ever find it.
        """
        profile = profile_of(peer.link.family)
        if self._backend is not None or profile is None:
            return None
        with contextlib.suppress(SourceError):
            adapter = await _bounded(BleakAdapter.get(), self._params.connect_s)
            asked = adapter.get_connected_devices([profile.service])
            for device in await _bounded(asked, self._params.connect_s):
                if device.address.lower() == peer.address.lower():
                    return device
        return None

    async def _start(self, peer: _Peer, client: BleakClient) -> int:
        """Subscribe, then start; return how many bytes a notification can hold."""
        profile = profile_of(peer.link.family)
        assert profile is not None  # specs of families without it are refused
        size = 0
        for stream, uuid in profile.notify.items():
            await client.start_notify(uuid, self._listener(peer, client, stream))
            characteristic = client.services.get_characteristic(uuid)
            if characteristic is not None:
                size = characteristic.max_write_without_response_size
        for write in _writes(peer.link, "start"):
            await client.write_gatt_char(write.characteristic, write.data, write.response)
        return size

    def _listener(
        self, peer: _Peer, client: BleakClient, stream: str
    ) -> Callable[[BleakGATTCharacteristic, bytearray], None]:
        def listen(_: BleakGATTCharacteristic, data: bytearray) -> None:
            if peer.client is client:  # not one of a connection that has been given up
                peer.heard_s = time.monotonic()
                self._box.put(Chunk(peer.heard_s, bytes(data), peer.link.name, stream))

        return listen

    async def _watch(self, peer: _Peer) -> bool:
        """Wait until the sensor is lost, and tell; return whether it ever said anything."""
        silence_s = self._params.silence_s
        battery_due_s = peer.connected_s
        why = "was disconnected"
        while not peer.lost.is_set():
            now_s = time.monotonic()
            if now_s - max(peer.heard_s, peer.connected_s) > silence_s:
                why = f"has said nothing for {silence_s:g} s"
                break
            if now_s >= battery_due_s:
                battery_due_s = now_s + self._params.battery_s
                await self._ask_battery(peer)
            await _wait(peer.lost, silence_s / 8)
        self._say(peer, LinkNews.LOST, f"{peer.link.name} {why}")
        return peer.heard_s >= peer.connected_s

    async def _ask_battery(self, peer: _Peer) -> None:
        client = peer.client
        assert client is not None  # connected
        # One that does not answer, or has nothing to tell, is no reason to lose the link.
        with contextlib.suppress(SourceError):
            asked = _battery(client, peer.link.family)
            charge = await _bounded(asked, self._params.silence_s / 4)
            if charge is not None:
                self._say(peer, LinkNews.BATTERY, value=charge)

    async def _leave(self, peer: _Peer) -> None:
        """Stop the stream and let go, in bounded time and whatever happens."""
        within_s = self._params.silence_s
        for task in peer.writes:
            task.cancel()
        await asyncio.gather(*peer.writes, return_exceptions=True)
        client, peer.client = peer.client, None
        if client is None:
            return
        with contextlib.suppress(SourceError):
            await _bounded(_stop(client, peer.link), within_s)
        with contextlib.suppress(SourceError):
            await _bounded(client.disconnect(), within_s)

    async def _give_up(self) -> None:
        """Fail if not one sensor has been reached in good time."""
        await asyncio.sleep(self._params.first_timeout_s)
        if not any(peer.reached for peer in self._peers.values()):
            self._box.fail(
                f"none of {self.name} was reached within {self._params.first_timeout_s:g} s: "
                "switch the sensors on, come closer, and see what 'talaria scan' lists."
            )

    def _say(
        self, peer: _Peer, news: LinkNews, detail: str = "", value: float | None = None
    ) -> None:
        self._box.put(LinkEvent(time.monotonic(), peer.link.name, news, detail, value))


class _Peer:
    """One sensor, and what is known of its connection."""

    def __init__(self, address: str, link: Link, number: int) -> None:
        self.address = address
        self.link = link
        self.number = number
        self.client: BleakClient | None = None
        self.lost = asyncio.Event()
        self.connected_s = self.heard_s = 0.0
        self.reached = False
        self.writes: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()

    async def write(self, data: bytes, within_s: float) -> None:
        """Write in pieces the connection can carry; what does not arrive is lost, as on a wire."""
        async with self._writing:
            if self.client is not None:
                with contextlib.suppress(SourceError):
                    await _bounded(_write(self.client, data), within_s)


class _Ear:
    """Listens for all sensors that are sought, in turn with whoever connects one.

    Parameters
    ----------
    lock : asyncio.Lock
        Whoever has it has the radio.
    params : BleParams
    backend : Backend or None
    """

    def __init__(self, lock: asyncio.Lock, params: BleParams, backend: Backend | None) -> None:
        self._lock = lock
        self._params = params
        self._backend = backend
        self._sought: dict[str, _Sought] = {}
        self._anyone = asyncio.Event()

    async def find(self, address: str) -> tuple[BLEDevice, int]:
        """Wait until a sensor is heard; return it and its signal strength, dBm.

        Raises
        ------
        SourceError
            If it was not heard, or the radio cannot listen.
        """
        sought = self._sought[address.lower()] = _Sought(self._params.find_s)
        self._anyone.set()
        try:
            found = await sought.heard
        finally:
            del self._sought[address.lower()]
        if isinstance(found, SourceError):
            raise found
        return found

    async def listen(self) -> None:
        """Listen whenever a sensor is sought, for good."""
        while True:
            await self._anyone.wait()
            async with self._lock:
                began_s = time.monotonic()
                failure = None
                try:
                    within_s = self._params.listen_s + self._params.connect_s
                    await _bounded(self._listen_once(), within_s)
                except SourceError as err:
                    failure = str(err)
            self._settle(time.monotonic() - began_s, failure)

    async def _listen_once(self) -> None:
        """Listen until one of those sought is heard, or for `listen_s`."""
        heard = asyncio.Event()

        def note(device: BLEDevice, advert: AdvertisementData) -> None:
            sought = self._sought.get(device.address.lower())
            if sought is not None and not sought.heard.done():
                sought.heard.set_result((device, advert.rssi))
                heard.set()

        async with _scanner(note, self._backend):
            await _wait(heard, self._params.listen_s)

    def _settle(self, listened_s: float, failure: str | None) -> None:
        """End the waits of those sought for long enough, or of all if the radio cannot listen."""
        waiting = [sought for sought in self._sought.values() if not sought.heard.done()]
        for sought in waiting:
            sought.left_s -= listened_s
            if failure is not None:
                sought.heard.set_result(SourceError(failure))
            elif sought.left_s <= 0:
                why = f"it was not heard for {self._params.find_s:g} s"
                sought.heard.set_result(SourceError(why))
        if all(sought.heard.done() for sought in self._sought.values()):
            self._anyone.clear()


class _Sought:
    """A sensor that is listened for."""

    def __init__(self, left_s: float) -> None:
        self.left_s = left_s
        self.heard: asyncio.Future[tuple[BLEDevice, int] | SourceError] = (
            asyncio.get_running_loop().create_future()
        )


async def _write(client: BleakClient, data: bytes) -> None:
    characteristic = client.services.get_characteristic(NUS_WRITE)
    if characteristic is not None:
        size = characteristic.max_write_without_response_size
        for start in range(0, len(data), size):
            await client.write_gatt_char(characteristic, data[start : start + size], False)


async def _stop(client: BleakClient, link: Link) -> None:
    if client.is_connected:
        for write in _writes(link, "stop"):
            await client.write_gatt_char(write.characteristic, write.data, write.response)


async def _with_battery(device: BLEDevice, found: Found, backend: Backend | None) -> Found:
    async def ask() -> float | None:
        async with BleakClient(device, timeout=5.0, **_backend_of(backend, "client")) as client:
            return await _battery(client, found.family)

    try:
        return replace(found, battery=await _bounded(ask(), 10.0))
    except SourceError:
        return found


async def _battery(client: BleakClient, family: str) -> float | None:
    """Ask for the charge; None where the device has none to tell."""
    profile = profile_of(family)
    if profile is None or profile.battery is None:
        return None
    if client.services.get_characteristic(profile.battery) is None:
        return None
    data = await client.read_gatt_char(profile.battery)
    return min(data[0], 100) / 100 if data else None


async def _bounded(work: Awaitable[T], within_s: float) -> T:
    """Do something with the radio in bounded time.

    Raises
    ------
    SourceError
        If it failed, in whatever way: radios know more than their libraries have classes for, and
        some libraries cancel what was waiting for a link that ended.
    """
    try:
        async with asyncio.timeout(within_s):
            return await work
    except Exception as err:  # noqa: BLE001  see above
        raise SourceError(_why(err)) from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # it is us who are to stop
        raise SourceError("it hung up") from None


async def _wait(event: asyncio.Event, within_s: float) -> None:
    # Not wait_for: until Python 3.12 it loses a cancellation that comes together with the event.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()


def _scanner(
    note: Callable[[BLEDevice, AdvertisementData], None] | None, backend: Backend | None
) -> BleakScanner:
    return BleakScanner(note, **_backend_of(backend, "scanner"))


def _backend_of(backend: Backend | None, which: str) -> dict[str, Any]:
    return {} if backend is None else {"backend": getattr(backend, which)}


def _writes(link: Link, which: Literal["start", "stop"]) -> Sequence[Write]:
    """Return what starts or stops a vendor's device; whoever reads our own tells it."""
    if link.family == OWN_FAMILY:
        return ()
    family = FAMILIES[link.family]
    assert family.ble is not None  # specs of families without it are refused
    make = family.ble.start if which == "start" else family.ble.stop
    return make(link.rate_hz or family.rates_hz[-1])


def _no_bluetooth(err: BaseException) -> SourceError:
    return SourceError(
        f"there is no Bluetooth to listen with ({_why(err)}): switch the adapter on "
        "('bluetoothctl power on') and see that the bluetooth service runs."
    )


def _why(err: BaseException) -> str:
    text = " ".join(str(err).split())
    return text or {"TimeoutError": "no answer in time"}.get(type(err).__name__, type(err).__name__)
