"""Sensors over Bluetooth LE, through bleak as it ships, with a radio made of software."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from talaria_bridge.backoff import Backoff
from talaria_bridge.ble import (
    NUS_WRITE,
    OWN_PROFILE,
    Backend,
    BleParams,
    BleSource,
    family_of,
    scan,
)
from talaria_bridge.device import VirtualTalaria
from talaria_bridge.errors import SourceError
from talaria_bridge.frames import Capability
from talaria_bridge.link import Item, Link, LinkEvent, LinkNews
from talaria_bridge.receiver import Receiver
from talaria_bridge.samples import LEG_SLOTS, ImuSample
from talaria_bridge.vendors import FAMILIES
from talaria_bridge.vendors.virtual.devices import VIRTUAL

QUICK = BleParams(
    find_s=3.0,
    listen_s=0.2,
    connect_s=3.0,
    silence_s=0.6,
    first_wait_s=0.05,
    longest_wait_s=0.2,
    first_timeout_s=10.0,
    battery_s=60.0,
)


class Reader:
    """What a session does with a source: decode, answer, and remember."""

    def __init__(self, source: BleSource) -> None:
        self.source = source
        self.items: list[Item] = []
        self.samples: list[ImuSample] = []
        self.receiver = Receiver(source.links)

    def events(self, link: str | None = None) -> list[LinkNews]:
        news = {LinkNews.CONNECTED, LinkNews.LOST, LinkNews.FAILED}
        return [
            i.news
            for i in self.items
            if isinstance(i, LinkEvent) and i.news in news and link in {None, i.link}
        ]

    async def until(self, done: Callable[[], bool], seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not done():
                item = await anext(self.source)
                self.items.append(item)
                self.samples += self.receiver.push(item)
                for link, data in self.receiver.outgoing(item.t_s):
                    self.source.send(link, data)

    def of(self, slot: str) -> list[ImuSample]:
        return [sample for sample in self.samples if sample.slot == slot]


async def four(radio: Any, params: BleParams = QUICK) -> tuple[BleSource, list[Any]]:
    peripherals = [await radio.add(VirtualTalaria(slot)) for slot in LEG_SLOTS]
    links = {p.address: link_of(p.address) for p in peripherals}
    return BleSource(links, params, radio.backend), peripherals


def link_of(address: str) -> Link:
    return Link(f"ble:talaria/{address}", transport="ble")


async def test_four_sensors_stream_at_100_hz_without_loss(radio: Any) -> None:
    source, peripherals = await four(radio)
    async with source:
        reader = Reader(source)
        await reader.until(lambda: all(len(reader.of(s)) >= 200 for s in LEG_SLOTS))
    assert all(sum(link.lost.values()) == 0 for link in reader.receiver.reports())
    assert reader.events() == [LinkNews.CONNECTED] * 4
    assert radio.most_connecting == 1
    assert radio.clashes == 0  # never scanning while connecting
    told = [i for i in reader.items if isinstance(i, LinkEvent)]
    assert sum(i.news is LinkNews.SIGNAL and i.value is not None for i in told) == 4
    assert all("244 bytes" in i.detail for i in told if i.news is LinkNews.CONNECTED)
    for peripheral in peripherals:
        log = [event for event in peripheral.log if event != "written"]
        assert log[:3] == ["connected", "subscribed data", "started"]
        assert log[-1] == "disconnected"


async def test_the_charge_is_read_and_told_again_and_again(radio: Any) -> None:
    peripherals = [await radio.add(VirtualTalaria(slot), battery=64) for slot in LEG_SLOTS]
    links = {p.address: link_of(p.address) for p in peripherals}
    params = replace(QUICK, silence_s=2.0, battery_s=0.3)
    async with BleSource(links, params, radio.backend) as source:
        reader = Reader(source)

        def told(link: Link) -> list[float | None]:
            events = [i for i in reader.items if isinstance(i, LinkEvent) and i.link == link.name]
            return [event.value for event in events if event.news is LinkNews.BATTERY]

        await reader.until(lambda: all(len(told(link)) >= 2 for link in links.values()))
        assert all(set(told(link)) == {0.64} for link in links.values())


@pytest.mark.parametrize("step", ["connected", "subscribed data", "started"])
async def test_a_disconnection_at_any_step_is_survived(radio: Any, step: str) -> None:
    source, peripherals = await four(radio)
    sick, dropped = peripherals[0], []

    def hang_up(event: str) -> None:
        if event == step and not dropped:
            dropped.append(asyncio.create_task(sick.drop()))

    sick.on_event = hang_up
    async with source:
        reader = Reader(source)
        await reader.until(lambda: all(len(reader.of(s)) >= 50 for s in LEG_SLOTS))
    assert dropped
    assert sick.log.count("connected") == 2
    seen = reader.events(f"ble:talaria/{sick.address}")
    assert seen[-1] is LinkNews.CONNECTED
    assert {LinkNews.LOST, LinkNews.FAILED} & set(seen[:-1])
    for other in peripherals[1:]:
        assert other.log.count("connected") == 1


class Once:
    """One fault at one step of the host's stack, the first time a sensor gets there."""

    def __init__(self, radio: Any, sick: Any, step: str, how: str) -> None:
        self.reached = asyncio.Event()
        self._sick, self._step, self._how = sick, step, how
        radio.at = self

    async def __call__(self, step: str, address: str) -> None:
        if self.reached.is_set() or (step, address) != (self._step, self._sick.address):
            return
        self.reached.set()
        if self._how == "hangs":
            await asyncio.Event().wait()
        if self._how == "raises":
            raise RuntimeError("some library's error\nwith a second line")
        await self._sick.drop()
        if self._how == "cancels":
            raise asyncio.CancelledError


@pytest.mark.parametrize("how", ["hangs", "raises", "cancels", "drops"])
@pytest.mark.parametrize("step", ["connecting", "discovering", "subscribing", "reading", "writing"])
async def test_a_stack_that_fails_at_any_step_costs_one_sensor_a_moment(
    radio: Any, step: str, how: str
) -> None:
    sick, well = [await radio.add(VirtualTalaria(slot)) for slot in LEG_SLOTS[:2]]
    links = {p.address: link_of(p.address) for p in (sick, well)}
    fault = Once(radio, sick, step, how)
    async with BleSource(links, replace(QUICK, connect_s=1.0), radio.backend) as source:
        reader = Reader(source)
        await reader.until(fault.reached.is_set)
        before = sick.log.count("started")
        await reader.until(lambda: len(reader.of(LEG_SLOTS[1])) >= 20)
        await reader.until(
            lambda: sick.log.count("started") > before or step in {"reading", "writing"}
        )
        since = len(reader.of(LEG_SLOTS[0]))
        await reader.until(lambda: len(reader.of(LEG_SLOTS[0])) >= since + 20)
    seen = reader.events(f"ble:talaria/{sick.address}")
    assert seen[-1] is LinkNews.CONNECTED
    if step in {"connecting", "discovering", "subscribing"} and (step, how) != (
        "connecting",
        "drops",
    ):
        assert seen == [LinkNews.FAILED, LinkNews.CONNECTED]
    assert all("\n" not in i.detail for i in reader.items if isinstance(i, LinkEvent))
    assert reader.events(f"ble:talaria/{well.address}") == [LinkNews.CONNECTED]
    assert well.log.count("connected") == 1


async def test_a_disconnect_that_never_returns_does_not_keep_a_sensor_away(radio: Any) -> None:
    sick = await radio.add(VirtualTalaria("femur_r"))
    fault = Once(radio, sick, "disconnecting", "hangs")
    async with BleSource({sick.address: link_of(sick.address)}, QUICK, radio.backend) as source:
        reader = Reader(source)
        await reader.until(lambda: len(reader.samples) > 20)
        await sick.drop()
        await reader.until(fault.reached.is_set)
        since = len(reader.samples)
        await reader.until(lambda: len(reader.samples) > since + 20)


async def test_a_radio_that_cannot_listen_for_a_while_is_waited_for(radio: Any) -> None:
    refusals = 0

    async def refuse(step: str, address: str) -> None:
        nonlocal refusals
        refusals += step == "scanning"
        if step == "scanning" and 2 <= refusals <= 4:  # the first is the look on entering
            raise RuntimeError("org.bluez.Error.NotReady")

    radio.at = refuse
    only = await radio.add(VirtualTalaria("femur_r"))
    async with BleSource({only.address: link_of(only.address)}, QUICK, radio.backend) as source:
        reader = Reader(source)
        await reader.until(lambda: len(reader.samples) > 20)
    assert reader.events() == [*[LinkNews.FAILED] * 3, LinkNews.CONNECTED]
    failed = next(i for i in reader.items if isinstance(i, LinkEvent) and i.news is LinkNews.FAILED)
    assert "NotReady" in failed.detail


async def test_an_absent_sensor_does_not_keep_another_from_coming_back(radio: Any) -> None:
    present = await radio.add(VirtualTalaria("femur_r"))
    absent = "F9:F9:F9:F9:F9:F9"
    links = {address: link_of(address) for address in (absent, present.address)}
    forever = replace(QUICK, find_s=1e6)  # it is sought all the time
    async with BleSource(links, forever, radio.backend) as source:
        reader = Reader(source)
        for _ in range(2):
            since = len(reader.samples)
            await reader.until(lambda since=since: len(reader.samples) > since + 20)
            await present.drop()
        await reader.until(lambda: present.log.count("started") == 3)
    assert LinkNews.FAILED not in reader.events()


async def test_all_sensors_lost_at_once_come_back(radio: Any) -> None:
    source, peripherals = await four(radio)
    async with source:
        reader = Reader(source)
        await reader.until(lambda: all(len(reader.of(s)) >= 10 for s in LEG_SLOTS))
        await asyncio.gather(*(peripheral.drop() for peripheral in peripherals))
        await reader.until(lambda: all(p.log.count("started") == 2 for p in peripherals))
    assert reader.events().count(LinkNews.LOST) == 4
    assert radio.most_connecting == 1


async def test_a_sensor_that_connects_but_never_speaks_is_asked_ever_more_seldom(
    radio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []

    class Noted(Backoff):
        def next_s(self) -> float:
            waits.append(super().next_s())
            return waits[-1]

    monkeypatch.setattr("talaria_bridge.ble.Backoff", Noted)
    mute = await radio.add(VirtualTalaria("femur_r"), silent=True)
    params = replace(QUICK, silence_s=0.2)
    async with BleSource({mute.address: link_of(mute.address)}, params, radio.backend) as source:
        reader = Reader(source)
        await reader.until(lambda: len(waits) >= 3)
        mute.silent = False
        await reader.until(lambda: len(reader.samples) > 20)
        asked = len(waits)
        await mute.drop()
        await reader.until(lambda: len(waits) > asked)
    assert waits[:3] == [0.05, 0.1, 0.2]
    assert waits[-1] == 0.05  # it had spoken


async def test_a_write_that_hangs_does_not_stop_those_after_it(radio: Any) -> None:
    talks_anyway = VirtualTalaria("femur_r", capabilities=Capability.PING)
    only = await radio.add(talks_anyway)
    hung = Once(radio, only, "writing", "hangs")
    async with BleSource({only.address: link_of(only.address)}, QUICK, radio.backend) as source:
        reader = Reader(source)
        await reader.until(hung.reached.is_set)
        await reader.until(lambda: len(only.written) > 0)
    assert reader.events() == [LinkNews.CONNECTED]


async def test_listening_ends_as_soon_as_one_is_heard(radio: Any) -> None:
    source, _ = await four(radio, replace(QUICK, listen_s=1e6))
    async with source:
        reader = Reader(source)
        await reader.until(lambda: all(len(reader.of(s)) >= 10 for s in LEG_SLOTS))


async def test_a_device_that_takes_no_writes_is_not_written_to_without_end(radio: Any) -> None:
    async def never(step: str, address: str) -> None:
        if step == "writing":
            await asyncio.Event().wait()

    radio.at = never
    deaf = await radio.add(VirtualTalaria("femur_r"))
    name = f"ble:talaria/{deaf.address}"
    async with BleSource({deaf.address: link_of(deaf.address)}, QUICK, radio.backend) as source:
        reader = Reader(source)
        await reader.until(lambda: LinkNews.CONNECTED in reader.events(name))
        before = len(asyncio.all_tasks())
        for _ in range(1000):
            source.send(name, b"\0")
        assert len(asyncio.all_tasks()) < before + 100


async def test_a_fault_of_ours_is_said_and_not_sat_out(radio: Any) -> None:
    class Broken(radio.backend.client):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **more: Any) -> None:
            raise KeyError("path")

    one = await radio.add(VirtualTalaria("femur_r"))
    backend = Backend(radio.backend.scanner, Broken)
    async with BleSource({one.address: link_of(one.address)}, QUICK, backend) as source:
        with pytest.raises(SourceError, match=r"broke off \(KeyError: 'path'\)"):
            await Reader(source).until(lambda: False)


@pytest.mark.parametrize("step", ["connecting", "discovering", "subscribing", "reading", "writing"])
async def test_leaving_in_the_middle_of_any_step_ends(radio: Any, step: str) -> None:
    only = await radio.add(VirtualTalaria("femur_r"))
    before = asyncio.all_tasks()
    stuck = Once(radio, only, step, "hangs")
    async with BleSource({only.address: link_of(only.address)}, QUICK, radio.backend) as source:
        await Reader(source).until(stuck.reached.is_set) if step == "writing" else (
            await asyncio.wait_for(stuck.reached.wait(), 10)
        )
    assert not {t for t in asyncio.all_tasks() - before if "ble.py" in repr(t.get_coro())}
    assert not only.node.connections


async def test_a_sensor_lost_in_the_middle_is_found_again_and_the_gap_is_marked(
    radio: Any,
) -> None:
    source, peripherals = await four(radio)
    sick = peripherals[2]
    name = f"ble:talaria/{sick.address}"
    async with source:
        reader = Reader(source)
        await reader.until(lambda: all(len(reader.of(s)) >= 50 for s in LEG_SLOTS))
        await sick.drop()
        before = len(reader.of(LEG_SLOTS[2]))
        await reader.until(lambda: len(reader.of(LEG_SLOTS[2])) >= before + 50)
    assert reader.events(name) == [LinkNews.CONNECTED, LinkNews.LOST, LinkNews.CONNECTED]
    report = next(r for r in reader.receiver.reports() if r.name == name)
    assert report.reconnects == 1
    assert all(
        reader.events(f"ble:talaria/{p.address}") == [LinkNews.CONNECTED]
        for p in peripherals
        if p is not sick
    )


async def test_a_connected_sensor_that_falls_silent_is_noticed(radio: Any) -> None:
    source, peripherals = await four(radio)
    async with source:
        reader = Reader(source)
        await reader.until(lambda: all(len(reader.of(s)) >= 20 for s in LEG_SLOTS))
        peripherals[1].silent = True
        name = f"ble:talaria/{peripherals[1].address}"
        await reader.until(lambda: LinkNews.LOST in reader.events(name))
        peripherals[1].silent = False
        before = len(reader.of(LEG_SLOTS[1]))
        await reader.until(lambda: len(reader.of(LEG_SLOTS[1])) > before + 20)
    lost = next(i for i in reader.items if isinstance(i, LinkEvent) and i.news is LinkNews.LOST)
    assert "said nothing" in lost.detail


async def test_a_sensor_that_comes_late_joins_the_others(radio: Any) -> None:
    present = await radio.add(VirtualTalaria("femur_r"))
    absent = "F2:F2:F2:F2:F2:F2"
    params = replace(QUICK, find_s=0.3)
    links = {address: link_of(address) for address in (present.address, absent)}
    async with BleSource(links, params, radio.backend) as source:
        reader = Reader(source)
        await reader.until(lambda: LinkNews.FAILED in reader.events(f"ble:talaria/{absent}"))
        await reader.until(lambda: len(reader.of("femur_r")) > 20)
        await radio.add(VirtualTalaria("femur_l"))
        await reader.until(lambda: len(reader.of("femur_l")) > 20)
    failed = next(i for i in reader.items if isinstance(i, LinkEvent) and i.news is LinkNews.FAILED)
    assert absent in failed.detail
    assert "\n" not in failed.detail


async def test_nobody_in_reach_ends_in_one_sentence(radio: Any) -> None:
    params = replace(QUICK, find_s=0.2, first_timeout_s=0.6)
    async with BleSource({"F9:F9:F9:F9:F9:F9": link_of("x")}, params, radio.backend) as source:
        with pytest.raises(SourceError, match=r"none of .* was reached") as caught:
            await Reader(source).until(lambda: False, 10)
    assert "talaria scan" in str(caught.value)


async def test_leaving_stops_every_task_and_connection(radio: Any) -> None:
    before = asyncio.all_tasks()
    source, peripherals = await four(radio)
    pumps = asyncio.all_tasks() - before
    async with source:
        reader = Reader(source)
        await reader.until(lambda: all(len(reader.of(s)) > 5 for s in LEG_SLOTS))
    await asyncio.sleep(0.05)
    ours = {t for t in asyncio.all_tasks() - before - pumps if "ble.py" in repr(t.get_coro())}
    assert not ours
    assert not any(p.node.connections for p in peripherals)


async def test_the_asked_rate_is_set(radio: Any) -> None:
    device = VirtualTalaria("femur_r")
    peripheral = await radio.add(device)
    link = Link(f"ble:talaria/{peripheral.address}", rate_hz=200.0, transport="ble")
    async with BleSource({peripheral.address: link}, QUICK, radio.backend) as source:
        reader = Reader(source)
        await reader.until(lambda: len(reader.samples) > 50)
    assert device.rate_hz == 200.0


async def test_a_scan_lists_what_is_in_reach(radio: Any) -> None:
    await radio.add(VirtualTalaria("femur_r"), battery=55)
    stranger = replace(OWN_PROFILE, service="0000180d-0000-1000-8000-00805f9b34fb")
    await radio.add(VirtualTalaria("femur_l"), stranger, name="Heart")
    (found,) = await scan(0.4, backend=radio.backend)
    assert (found.family, found.address, found.battery) == ("talaria", "F1:F1:F1:F1:F1:F1", None)
    assert -127 <= found.rssi_dbm <= 20
    (asked,) = await scan(0.4, read_battery=True, backend=radio.backend)
    assert asked.battery == 0.55


def test_families_are_told_by_service_first_and_name_last() -> None:
    assert family_of(None, [OWN_PROFILE.service], []) == "talaria"
    assert family_of("Talaria femur_r", [], []) == "talaria"
    assert family_of("Somebody's UART", [OWN_PROFILE.service], []) is None
    assert family_of("Heart rate", ["0000180d-0000-1000-8000-00805f9b34fb"], [76]) is None
    assert family_of(None, [], []) is None


def test_the_service_is_written_in_full() -> None:
    assert NUS_WRITE.split("-")[1:] == OWN_PROFILE.service.split("-")[1:]


@pytest.mark.parametrize("family", [name for name, about in FAMILIES.items() if about.ble])
async def test_every_family_with_a_radio_is_read_through_it(radio: Any, family: str) -> None:
    profile = FAMILIES[family].ble
    assert profile is not None
    rate_hz = FAMILIES[family].rates_hz[-1]
    writes = (*profile.start(rate_hz), *profile.stop(rate_hz))
    uuids = {write.characteristic for write in writes}
    peripheral = await radio.add(
        VIRTUAL[family, "ble"](),
        profile,
        name=(profile.names or ("x",))[0],
        writable=tuple(sorted(uuids)),
        rate_hz=rate_hz,
    )
    link = Link(f"ble:{family}/{peripheral.address}", family, "femur_l", transport="ble")
    async with BleSource({peripheral.address: link}, QUICK, radio.backend) as source:
        reader = Reader(source)
        await reader.until(lambda: len(reader.of("femur_l")) >= 30)
    for sample in reader.samples:
        assert sample.acc_ms2 == pytest.approx((sample.acc_ms2[0], 9.8, 0.0), abs=6e-3)
        assert sample.gyr_rads[1] == pytest.approx(0.0, abs=1e-3)
    (report,) = reader.receiver.reports()
    # Accelerations that come while the rates are not yet subscribed to have no partner.
    assert (report.family, set(report.faults) <= {"unused", "unpaired"}) == (family, True)
    subscribed = [event for event in peripheral.log if event.startswith("subscribed")]
    assert subscribed == [f"subscribed {stream}" for stream in profile.notify]
    wanted = [*profile.start(rate_hz), *profile.stop(rate_hz)]
    assert peripheral.written == [(write.characteristic, write.data) for write in wanted]
    if "started" in peripheral.log:
        assert peripheral.log.index("started") > peripheral.log.index(subscribed[-1])
