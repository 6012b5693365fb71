"""A stand-in for bluetoothd on a private D-Bus: our own virtual sensors behind org.bluez.

Run as a program: it answers bleak's own BlueZ backend, so that the code path of a Raspberry Pi runs
without a radio. ``DBUS_SYSTEM_BUS_ADDRESS`` says which bus. The walk it streams is simulated.
Extra on each device: ``talaria.Hook.Drop`` hangs up from the sensor's side. As with bluetoothd, a connection
outlives the program that asked for it.
"""

# No postponed annotations here: dbus-fast reads D-Bus signatures from them.
import argparse
import asyncio
import contextlib
import random
import socket

from dbus_fast import BusType
from dbus_fast.aio import MessageBus
from dbus_fast.constants import PropertyAccess
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from talaria_bridge.ble import NUS_WRITE, OWN_PROFILE
from talaria_bridge.device import VirtualTalaria
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import simulate_walk

READ = PropertyAccess.READ
ADAPTER = "/org/bluez/hci0"
MTU = 247


class Adapter(ServiceInterface):
    def __init__(self) -> None:
        super().__init__("org.bluez.Adapter1")
        self.discovering = False
        self.sensors: list["Sensor"] = []

    @dbus_property(READ)
    def Address(self) -> "s":
        return "00:11:22:33:44:55"

    @dbus_property(READ)
    def Powered(self) -> "b":
        return True

    @dbus_property(READ)
    def Discovering(self) -> "b":
        return self.discovering

    @dbus_property(READ)
    def Roles(self) -> "as":
        return ["central"]

    @dbus_method()
    def SetDiscoveryFilter(self, wanted: "a{sv}"):
        pass

    @dbus_method()
    def StartDiscovery(self):
        self.discovering = True
        self.emit_properties_changed({"Discovering": True})
        self._advertising = asyncio.ensure_future(self._advertise())

    async def _advertise(self) -> None:
        """Tell of each sensor once: bluetoothd does not repeat one whose signal stays much the same."""
        told: set[Sensor] = set()
        while self.discovering:
            for sensor in self.sensors:
                if sensor not in told and sensor.announce():
                    told.add(sensor)
            await asyncio.sleep(0.1)

    @dbus_method()
    def StopDiscovery(self):
        self.discovering = False
        self.emit_properties_changed({"Discovering": False})


class GattService(ServiceInterface):
    def __init__(self, sensor: "Sensor") -> None:
        super().__init__("org.bluez.GattService1")
        self._sensor = sensor

    @dbus_property(READ)
    def UUID(self) -> "s":
        return OWN_PROFILE.service

    @dbus_property(READ)
    def Primary(self) -> "b":
        return True

    @dbus_property(READ)
    def Device(self) -> "o":
        return self._sensor.path


class GattCharacteristic(ServiceInterface):
    def __init__(self, sensor: "Sensor", uuid: str, flags: list[str]) -> None:
        super().__init__("org.bluez.GattCharacteristic1")
        self._sensor = sensor
        self._uuid = uuid
        self._flags = flags
        self.value = b""
        self.notifying = False
        self.pipe: tuple[socket.socket, socket.socket] | None = None

    @dbus_property(READ)
    def UUID(self) -> "s":
        return self._uuid

    @dbus_property(READ)
    def Service(self) -> "o":
        return self._sensor.path + "/service0010"

    @dbus_property(READ)
    def Flags(self) -> "as":
        return self._flags

    @dbus_property(READ)
    def Value(self) -> "ay":
        return self.value

    @dbus_property(READ)
    def Notifying(self) -> "b":
        return self.notifying

    @dbus_property(READ)
    def NotifyAcquired(self) -> "b":
        return self.pipe is not None

    @dbus_property(READ)
    def MTU(self) -> "q":
        return MTU

    @dbus_method()
    def WriteValue(self, value: "ay", options: "a{sv}"):
        self._sensor.wrote(bytes(value))

    @dbus_method()
    def StartNotify(self):
        self.notifying = True
        self.emit_properties_changed({"Notifying": True})

    @dbus_method()
    def StopNotify(self):
        self.end()

    @dbus_method()
    def AcquireNotify(self, options: "a{sv}") -> "hq":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self.pipe = (ours, theirs)
        return [theirs.fileno(), MTU]

    def notify(self, data: bytes) -> None:
        if self.pipe is not None:
            with contextlib.suppress(OSError):
                self.pipe[0].send(data)
        elif self.notifying:
            self.value = data
            self.emit_properties_changed({"Value": data})

    def end(self) -> None:
        self.notifying = False
        if self.pipe is not None:
            for end in self.pipe:
                end.close()
            self.pipe = None


class Sensor(ServiceInterface):
    def __init__(self, bus: MessageBus, number: int, slot: str) -> None:
        super().__init__("org.bluez.Device1")
        self._bus = bus
        self._device = VirtualTalaria(slot)
        self._name = f"Talaria {slot}"
        self._address = ":".join([f"F{number}"] * 6)
        self.path = f"{ADAPTER}/dev_{self._address.replace(':', '_')}"
        self._connected = self._resolved = self._known = False
        self._replies: list[bytes] = []
        self._rssi_dbm = -50
        self._data: GattCharacteristic | None = None

    def announce(self) -> bool:
        if self._connected:
            return False  # who is connected does not advertise
        if not self._known:
            self._bus.export(self.path, self)
            self._bus.export(self.path, Hook(self))
            self._known = True
        self._rssi_dbm = -51 if self._rssi_dbm == -50 else -50  # BlueZ tells of changes only
        self.emit_properties_changed({"RSSI": self._rssi_dbm})
        return True

    def wrote(self, data: bytes) -> None:
        self._replies += [reply for _, reply in self._device.write(data)]

    async def stream(self, walk, slot: str, lose: float) -> None:
        """Play the walk round and round, in real time, and lose a share of it on the way."""
        lost = random.Random(slot)
        loop = asyncio.get_running_loop()
        start_s, k, row = loop.time(), 0, walk.slots.index(slot)
        while True:
            await asyncio.sleep(max(0.0, start_s + k / walk.rate_hz - loop.time()))
            at = k % len(walk.t_s)
            acc, gyr = walk.acc_ms2[at, row].tolist(), walk.gyr_rads[at, row].tolist()
            replies, self._replies = self._replies, []
            sent = [
                data for _, data in self._device.sample(k / walk.rate_hz, tuple(acc), tuple(gyr))
            ]
            for data in [*replies, *sent]:
                if self._data is not None and self._connected and lost.random() >= lose:
                    self._data.notify(data)
            k += 1

    @dbus_property(READ)
    def Address(self) -> "s":
        return self._address

    @dbus_property(READ)
    def AddressType(self) -> "s":
        return "random"

    @dbus_property(READ)
    def Name(self) -> "s":
        return self._name

    @dbus_property(READ)
    def Alias(self) -> "s":
        return self._name

    @dbus_property(READ)
    def Adapter(self) -> "o":
        return ADAPTER

    @dbus_property(READ)
    def UUIDs(self) -> "as":
        return [OWN_PROFILE.service]

    @dbus_property(READ)
    def RSSI(self) -> "n":
        return self._rssi_dbm

    @dbus_property(READ)
    def Connected(self) -> "b":
        return self._connected

    @dbus_property(READ)
    def ServicesResolved(self) -> "b":
        return self._resolved

    @dbus_property(READ)
    def Paired(self) -> "b":
        return False

    @dbus_method()
    async def Connect(self):
        await asyncio.sleep(0.02)
        self._connected = True
        self.emit_properties_changed({"Connected": True})
        if self._data is None:
            self._data = GattCharacteristic(self, OWN_PROFILE.notify["data"], ["notify"])
            written = GattCharacteristic(self, NUS_WRITE, ["write", "write-without-response"])
            self._bus.export(f"{self.path}/service0010", GattService(self))
            self._bus.export(f"{self.path}/service0010/char0011", self._data)
            self._bus.export(f"{self.path}/service0010/char0014", written)
        await asyncio.sleep(0.02)
        self._resolved = True
        self.emit_properties_changed({"ServicesResolved": True})

    @dbus_method()
    async def Disconnect(self):
        self.drop()

    def drop(self) -> None:
        if self._data is not None:
            self._data.end()
        self._device.streaming = False
        self._connected = self._resolved = False
        self.emit_properties_changed({"ServicesResolved": False, "Connected": False})


class Hook(ServiceInterface):
    def __init__(self, sensor: Sensor) -> None:
        super().__init__("talaria.Hook")
        self._sensor = sensor

    @dbus_method()
    def Drop(self):
        self._sensor.drop()


async def main(seconds: float, lose: float) -> None:
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    adapter = Adapter()
    bus.export(ADAPTER, adapter)
    adapter.sensors = [Sensor(bus, i + 1, slot) for i, slot in enumerate(LEG_SLOTS)]
    walk = simulate_walk(seed=1, seconds=seconds)
    await bus.request_name("org.bluez")
    print("ready", flush=True)
    streams = zip(adapter.sensors, LEG_SLOTS, strict=True)
    await asyncio.gather(*(sensor.stream(walk, slot, lose) for sensor, slot in streams))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--lose", type=float, default=0.0)
    options = parser.parse_args()
    asyncio.run(main(options.seconds, options.lose))
