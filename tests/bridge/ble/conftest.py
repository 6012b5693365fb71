"""A radio made of software: bleak's client side on google/bumble, and peripherals to talk to.

Only what is below bleak's backend interface is ours and only for tests: `talaria_bridge.ble` and bleak
itself run as they ship. The virtual link loses nothing, knows no supervision timeout and never delivers
scan responses, so advertisements carry all there is and disconnections are made by hand.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDeviceNotFoundError, BleakError
from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData
from bumble.device import Device, Peer
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink

from talaria_bridge.ble import NUS_WRITE, OWN_PROFILE, Backend
from talaria_bridge.vendors.family import BleProfile
from talaria_bridge.vendors.virtual.device import VirtualDevice

_LONG_PACKETS = 251  # or every notification would be cut into 27-byte pieces
_PROPERTIES = {2: "read", 4: "write-without-response", 8: "write", 16: "notify", 32: "indicate"}


def node(link: LocalLink, name: str, address: str) -> tuple[Controller, Device]:
    controller = Controller(name, link=link, public_address=address)
    controller.le_acl_data_packet_length = _LONG_PACKETS
    host = Host(controller, AsyncPipeSink(controller))
    return controller, Device(address=Address(address), host=host, name=name)


@dataclass
class Peripheral:
    """One virtual sensor behind GATT; `log` holds what the host did, in order."""

    link: LocalLink
    address: str
    name: str
    device: VirtualDevice
    profile: BleProfile
    battery: int | None = 80
    writable: tuple[str, ...] = (NUS_WRITE,)
    log: list[str] = field(default_factory=list)
    on_event: Callable[[str], None] = lambda event: None
    rate_hz: float = 100.0
    silent: bool = False
    lose: Callable[[int], bool] = lambda number: False
    written: list[tuple[str, bytes]] = field(default_factory=list)
    sent: int = 0

    async def start(self) -> None:
        self._idle = self.device.streaming
        self.controller, self.node = node(self.link, self.name, self.address)
        self._chars = {
            stream: Characteristic(
                uuid_, Characteristic.Properties.NOTIFY, Characteristic.READABLE, b""
            )
            for stream, uuid_ in self.profile.notify.items()
        }
        for stream, characteristic in self._chars.items():
            characteristic.on("subscription", self._subscribed(stream))
        writes = [self._writable(uuid_) for uuid_ in self.writable]
        self.node.add_service(Service(self.profile.service, [*self._chars.values(), *writes]))
        if self.profile.battery is not None and self.battery is not None:
            level = Characteristic(
                self.profile.battery,
                Characteristic.Properties.READ,
                Characteristic.READABLE,
                bytes([self.battery]),
            )
            self.node.add_service(Service("0000180f-0000-1000-8000-00805f9b34fb", [level]))
        self.node.on("connection", self._connected)
        await self.node.power_on()
        await self.advertise()
        self._pump = asyncio.create_task(self._stream())

    async def advertise(self) -> None:
        service = UUID(self.profile.service).to_bytes()
        parts = [
            (AdvertisingData.FLAGS, bytes([6])),
            (AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, service),
            (AdvertisingData.SHORTENED_LOCAL_NAME, self.name.encode()[:8]),
        ]
        self.node.advertising_data = bytes(AdvertisingData(parts))
        await self.node.start_advertising(
            auto_restart=True, advertising_interval_min=50, advertising_interval_max=50
        )

    async def stop(self) -> None:
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        await self.drop()

    async def drop(self) -> None:
        """Hang up from this side."""
        for connection in list(self.node.connections.values()):
            await connection.disconnect()

    def _note(self, event: str) -> None:
        self.log.append(event)
        self.on_event(event)

    def _connected(self, connection: Any) -> None:
        self._note("connected")
        connection.on("disconnection", self._disconnected)

    def _disconnected(self, *_: Any) -> None:
        self.device.streaming = self._idle  # a link that ends means stop
        self._note("disconnected")

    def _subscribed(self, stream: str) -> Callable[..., None]:
        def note(*arguments: Any) -> None:
            if any(arguments[-2:]):
                self._note(f"subscribed {stream}")

        return note

    def _writable(self, uuid_: str) -> Characteristic:
        def write(_: Any, value: bytes) -> None:
            was = self.device.streaming
            self.written.append((uuid_, bytes(value)))
            for reply in self.device.write(bytes(value), uuid_):
                self._replies.append(reply)
            self._note("started" if self.device.streaming and not was else "written")

        properties = (
            Characteristic.Properties.WRITE | Characteristic.Properties.WRITE_WITHOUT_RESPONSE
        )
        return Characteristic(
            uuid_, properties, Characteristic.WRITEABLE, CharacteristicValue(write=write)
        )

    async def _stream(self) -> None:
        self._replies: list[tuple[str, bytes]] = []
        loop = asyncio.get_running_loop()
        start_s, k = loop.time(), 0
        while True:
            k += 1
            await asyncio.sleep(max(0.0, start_s + k / self.rate_hz - loop.time()))
            acc, gyr = (0.01 * (k % 7), 9.8, 0.0), (0.01 * (k % 5), 0.0, 0.002 * (k % 3))
            replies, self._replies = self._replies, []
            for stream, data in [*replies, *self.device.sample(k / self.rate_hz, acc, gyr)]:
                self.sent += 1
                if not self.silent and not self.lose(self.sent):
                    await self.node.notify_subscribers(self._chars[stream], data)


class Radio:
    """One virtual air: peripherals, and the backend of the host that talks to them.

    `at` is awaited at each step of the host's stack, with the step and the address (empty when
    scanning): what it raises the stack raises, where it waits the stack hangs.
    """

    def __init__(self) -> None:
        self.link = LocalLink()
        self.peripherals: list[Peripheral] = []
        self.connecting = self.most_connecting = 0
        self.scanning = False
        self.clashes = 0
        self.at: Callable[[str, str], Awaitable[None]] = _nothing_at

    async def start(self) -> None:
        self.controller, self.central = node(self.link, "host", "F0:F0:F0:F0:F0:F0")
        await self.central.power_on()

    async def add(
        self, device: VirtualDevice, profile: BleProfile = OWN_PROFILE, **more: Any
    ) -> Peripheral:
        number = len(self.peripherals) + 1
        address = ":".join([f"F{number}"] * 6)
        name = more.pop("name", f"Talaria {number}")
        peripheral = Peripheral(self.link, address, name, device, profile, **more)
        self.peripherals.append(peripheral)
        await peripheral.start()
        return peripheral

    async def stop(self) -> None:
        for peripheral in self.peripherals:
            await peripheral.stop()

    @property
    def backend(self) -> Backend:
        scanner = type("BumbleScanner", (_Scanner,), {"radio": self})
        client = type("BumbleClient", (_Client,), {"radio": self})
        return Backend(scanner, client)


async def _nothing_at(step: str, address: str) -> None:
    pass


async def _whole(command: Awaitable[None]) -> None:
    """Let a command to the virtual controller end before giving up on it, or it never takes another."""
    running = asyncio.ensure_future(command)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await running
        raise


def _uuid_text(value: Any) -> str:
    return str(uuid.UUID(bytes=bytes(reversed(value.to_bytes(force_128=True)))))


class _Scanner(BaseBleakScanner):
    radio: Radio

    def __init__(
        self, detection_callback: Any, service_uuids: Any, scanning_mode: Any = "active", **_: Any
    ) -> None:
        super().__init__(detection_callback, service_uuids)

    async def start(self) -> None:
        radio = self.radio
        await radio.at("scanning", "")
        self.seen_devices = {}
        radio.scanning = True
        radio.clashes += radio.connecting
        radio.central.on("advertisement", self._heard)
        try:
            await _whole(radio.central.start_scanning(filter_duplicates=False))
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def stop(self) -> None:
        self.radio.scanning = False
        self.radio.central.remove_listener("advertisement", self._heard)
        await _whole(self.radio.central.stop_scanning())

    def _heard(self, heard: Any) -> None:
        kind = AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
        services = [
            str(uuid.UUID(bytes=bytes(reversed(raw)))) for raw in heard.data.get_all(kind, raw=True)
        ]
        raw_name = heard.data.get(AdvertisingData.SHORTENED_LOCAL_NAME, raw=True)
        name = None if raw_name is None else raw_name.decode()
        address = heard.address.to_string(with_type_qualifier=False)
        advert = AdvertisementData(name, {}, {}, services, None, heard.rssi, (heard,))
        device = self.create_or_update_device(address, address, name, heard.address, advert)
        self.call_detection_callbacks(device, advert)


class _Client(BaseBleakClient):
    radio: Radio

    def __init__(self, device: BLEDevice, services: Any = None, **more: Any) -> None:
        super().__init__(
            device,
            disconnected_callback=more.get("disconnected_callback"),
            timeout=more.get("timeout", 10.0),
        )
        self._target = device.details
        self._connection: Any = None
        self._callbacks: dict[int, Callable[[bytes], None]] = {}

    @property
    def name(self) -> str:
        return self.address

    @property
    def mtu_size(self) -> int:
        return 23 if self._connection is None else int(self._connection.att_mtu)

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool = False, **_: Any) -> None:
        radio = self.radio
        radio.connecting += 1
        radio.most_connecting = max(radio.most_connecting, radio.connecting)
        radio.clashes += radio.scanning
        try:
            await radio.at("connecting", self.address)
            # The library's own timeout never returns on a virtual controller.
            connecting = radio.central.connect(self._target, timeout=None)
            self._connection = await asyncio.wait_for(connecting, self._timeout)
        except Exception as err:
            raise BleakDeviceNotFoundError(self.address, str(err)) from err
        finally:
            radio.controller.pending_le_connection = None
            radio.connecting -= 1
        self._connection.on("disconnection", self._lost)
        self._peer = Peer(self._connection)
        await self._peer.request_mtu(247)
        await radio.at("discovering", self.address)
        await self._discover()

    async def _discover(self) -> None:
        found = BleakGATTServiceCollection()
        await self._peer.discover_services()
        for raw in self._peer.services:
            service = BleakGATTService(raw, raw.handle, _uuid_text(raw.uuid))
            found.add_service(service)
            for char in await raw.discover_characteristics():
                names = [name for bit, name in _PROPERTIES.items() if int(char.properties) & bit]
                characteristic = BleakGATTCharacteristic(
                    char,
                    char.handle,
                    _uuid_text(char.uuid),
                    names,
                    lambda: self.mtu_size - 3,
                    service,
                )
                found.add_characteristic(characteristic)
                for one in await char.discover_descriptors():
                    uuid_ = _uuid_text(one.type)
                    found.add_descriptor(
                        BleakGATTDescriptor(one, one.handle, uuid_, characteristic)
                    )
        self.services = found

    def _lost(self, *_: Any) -> None:
        self._connection = self.services = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        await self.radio.at("disconnecting", self.address)
        if self._connection is not None:
            await self._connection.disconnect()

    async def pair(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    async def unpair(self) -> None:
        raise NotImplementedError

    async def _step(self, step: str) -> None:
        await self.radio.at(step, self.address)
        if self._connection is None:
            raise BleakError("not connected")

    async def read_gatt_char(self, characteristic: Any, **_: Any) -> bytearray:
        await self._step("reading")
        return bytearray(await self._peer.read_value(characteristic.obj))

    async def read_gatt_descriptor(self, descriptor: Any, **_: Any) -> bytearray:
        raise NotImplementedError

    async def write_gatt_char(self, characteristic: Any, data: Any, response: bool) -> None:
        await self._step("writing")
        await self._peer.write_value(characteristic.obj, bytes(data), with_response=response)

    async def write_gatt_descriptor(self, descriptor: Any, data: Any) -> None:
        raise NotImplementedError

    async def start_notify(self, characteristic: Any, callback: Any, **_: Any) -> None:
        await self._step("subscribing")
        await self._peer.subscribe(characteristic.obj, lambda value: callback(bytearray(value)))

    async def stop_notify(self, characteristic: Any) -> None:
        raise NotImplementedError


@pytest.fixture
async def radio() -> AsyncIterator[Radio]:
    radio = Radio()
    await radio.start()
    yield radio
    await radio.stop()
