"""The code path of a Raspberry Pi: bleak's BlueZ backend, with a double of bluetoothd on a private bus."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>
"""

# In a process of its own: bleak keeps one D-Bus connection per event loop for good.
CLIENT = """
import asyncio, sys
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus
from talaria_bridge.ble import BleParams, BleSource, scan
from talaria_bridge.link import Link, LinkEvent
from talaria_bridge.receiver import Receiver

async def drop(address):
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    path = "/org/bluez/hci0/dev_" + address.replace(":", "_")
    await bus.call(Message(destination="org.bluez", path=path, interface="talaria.Hook", member="Drop"))
    bus.disconnect()

async def main():
    found = await scan(0.5)
    print("found", len(found), sorted({f.family for f in found}), all(-52 < f.rssi_dbm < -49 for f in found))
    absent = "F9:F9:F9:F9:F9:F9"  # sought all the time
    addresses = [*(f.address for f in found), absent]
    links = {a: Link("ble:talaria/" + a, transport="ble") for a in addresses}
    sick, before = found[0].address, None
    async with BleSource(links, BleParams(find_s=60.0, first_wait_s=0.05, silence_s=1.0)) as source:
        receiver = Receiver(source.links)
        count, news = {}, []
        async with asyncio.timeout(30):
            async for item in source:
                for sample in receiver.push(item):
                    count[sample.slot] = count.get(sample.slot, 0) + 1
                for link, data in receiver.outgoing(item.t_s):
                    source.send(link, data)
                if isinstance(item, LinkEvent) and item.news in {"connected", "lost", "failed"}:
                    news.append((item.link[-17:], str(item.news)))
                if before is None and len(count) == 4 and min(count.values()) >= 100:
                    before = dict(count)
                    print("lost", sum(sum(r.lost.values()) for r in receiver.reports()))
                    await drop(sick)
                if before is not None and min(count[s] - before[s] for s in count) >= 100:
                    break
    print("news", [what for address, what in news if address == sick])
    print("others", sorted({what for address, what in news if address != sick}))
    print("reconnects", sum(r.reconnects for r in receiver.reports()))
asyncio.run(main())
"""

STREAM = """
import asyncio, os, signal, sys
from talaria_bridge.ble import BleParams, BleSource
from talaria_bridge.link import Link, LinkEvent
from talaria_bridge.receiver import Receiver

async def main():
    addresses = [":".join([f"F{n}"] * 6) for n in (1, 2, 3, 4)]
    links = {a: Link("ble:talaria/" + a, transport="ble") for a in addresses}
    async with BleSource(links, BleParams(first_wait_s=0.05, first_timeout_s=8.0)) as source:
        receiver, count, news = Receiver(source.links), {}, set()
        async for item in source:
            for sample in receiver.push(item):
                count[sample.slot] = count.get(sample.slot, 0) + 1
            for link, data in receiver.outgoing(item.t_s):
                source.send(link, data)
            if isinstance(item, LinkEvent):
                news.add(str(item.news))
            if len(count) == 4 and min(count.values()) >= 20:
                break
        print("streaming", sorted(news & {"signal", "failed", "lost"}), flush=True)
        if sys.argv[1] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.fixture
def bluez(tmp_path: Path) -> Iterator[dict[str, str]]:
    if shutil.which("dbus-daemon") is None or shutil.which("bluetoothctl") is None:
        pytest.skip(
            "dbus-daemon or bluetoothctl (which bleak asks for its version) is not installed"
        )
    bus = tmp_path / "bus"
    config = tmp_path / "bus.conf"
    config.write_text(BUS.format(path=bus))
    environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
    command = [
        "dbus-daemon",
        f"--config-file={config}",
        "--nofork",
        "--nopidfile",
        "--print-address",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        program = [sys.executable, str(Path(__file__).with_name("fake_bluez.py"))]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as fake:
            assert fake.stdout is not None
            assert fake.stdout.readline().strip() == "ready"
            yield environment
            fake.kill()
        daemon.terminate()


async def test_four_sensors_are_found_streamed_lost_and_found_again(bluez: dict[str, str]) -> None:
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, env=bluez, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(client.communicate(), 50)
    said = dict(line.split(" ", 1) for line in out.decode().splitlines())
    assert client.returncode == 0, err.decode()
    assert said["found"] == "4 ['talaria'] True"
    assert said["lost"] == "0"
    assert said["news"] == "['connected', 'lost', 'connected']"
    assert said["others"] == "['connected']"
    assert said["reconnects"] == "1"


def test_a_killed_session_does_not_take_its_sensors_with_it(bluez: dict[str, str]) -> None:
    said = []
    for end, status in (("die", -9), ("leave", 0), ("leave", 0)):
        done = subprocess.run(
            [sys.executable, "-c", STREAM, end],
            env=bluez,
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
        )
        assert done.returncode == status, done.stderr
        said.append(done.stdout.strip())
    # BlueZ kept the connections, so the second session heard no advertisement; the third did again.
    assert said == ["streaming ['signal']", "streaming []", "streaming ['signal']"]


def test_no_bluetooth_at_all_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "talaria_edge", "scan", "--seconds", "0.1"],
        env=os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/bus"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("talaria: there is no Bluetooth to listen with")
    assert len(done.stderr.strip().splitlines()) == 1
