"""All links of a session: samples out, devices talked to, and what happened counted by link."""

from __future__ import annotations

import math
import random

import pytest

from talaria_bridge import faults
from talaria_bridge.device import VirtualTalaria
from talaria_bridge.errors import SourceError
from talaria_bridge.frames import Capability
from talaria_bridge.link import Chunk, Item, Link, LinkEvent, LinkNews
from talaria_bridge.receiver import LinkReport, Receiver
from talaria_bridge.samples import ImuSample
from talaria_bridge.vendors import FAMILIES
from talaria_bridge.vendors.virtual.devices import VIRTUAL, started

OWN = Link("ble:talaria/F1", transport="ble")
DOT = Link("ble:dot/F2", "dot", "femur_l", 60.0, "ble")


def signal(k: int) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    return (0.01 * (k % 7), 9.8, 0.0), (0.1 * math.sin(k / 9), 0.0, 0.01 * (k % 3))


def stream(link: Link, count: int, rate_hz: float = 100.0) -> list[Chunk]:
    """What a started device of the link's family sends."""
    if link.family == "talaria":
        device = VirtualTalaria(link.slot or "femur_r", capabilities=Capability.NONE)
    else:
        device = started(FAMILIES[link.family], link.transport)
    return [
        Chunk(10.0 + k / rate_hz, data, link.name, name)
        for k in range(count)
        for name, data in device.sample(k / rate_hz, *signal(k))
    ]


def run(links: list[Link], items: list[Item]) -> tuple[list[ImuSample], dict[str, LinkReport]]:
    receiver = Receiver(links)
    samples = [s for item in sorted(items, key=lambda i: i.t_s) for s in receiver.push(item)]
    return samples, {report.name: report for report in receiver.reports()}


def test_links_of_different_families_become_samples_of_their_slots() -> None:
    samples, reports = run([OWN, DOT], [*stream(OWN, 100), *stream(DOT, 60, 60.0)])
    assert sum(s.slot == "femur_r" for s in samples) == 100
    assert sum(s.slot == "femur_l" for s in samples) == 60
    assert (reports[OWN.name].family, reports[DOT.name].family) == ("talaria", "dot")
    assert all(not r.faults and r.connected for r in reports.values())
    assert all(
        abs(s.t_s - 10.0 - k / 60) < 1e-3
        for k, s in enumerate(s for s in samples if s.slot == "femur_l")
    )


def test_a_slot_in_the_spec_overrides_the_devices_own() -> None:
    link = Link(OWN.name, slot="calcn_l", transport="ble")
    chunks = stream(OWN, 10)
    samples, _ = run([link], list(chunks))
    assert {s.slot for s in samples} == {"calcn_l"}


def test_an_offset_in_the_spec_is_taken_off_every_time() -> None:
    plain, _ = run([DOT], list(stream(DOT, 20, 60.0)))
    moved, _ = run(
        [Link(DOT.name, "dot", "femur_l", 60.0, "ble", 0.125)], list(stream(DOT, 20, 60.0))
    )
    assert [s.t_s + 0.125 for s in moved] == pytest.approx([s.t_s for s in plain])
    assert {s.slot for s in moved} == {"femur_l"}


def test_losses_and_their_longest_run_are_told() -> None:
    chunks = [c for k, c in enumerate(stream(OWN, 200)) if k not in {20, 50, 51, 52, 53, 120}]
    _, reports = run([OWN], list(chunks))
    assert reports[OWN.name].lost == {"femur_r": 6}
    assert reports[OWN.name].longest_burst == {"femur_r": 4}


def test_a_lost_link_does_not_spoil_the_first_frame_after_it() -> None:
    chunks = stream(OWN, 100)
    half = Chunk(chunks[49].t_s, chunks[49].data[:20], OWN.name)
    items: list[Item] = [LinkEvent(9.9, OWN.name, LinkNews.CONNECTED), *chunks[:49], half]
    items += [
        LinkEvent(10.495, OWN.name, LinkNews.LOST),
        LinkEvent(10.499, OWN.name, LinkNews.CONNECTED),
    ]
    items += chunks[50:]
    samples, reports = run([OWN], items)
    assert len(samples) == 99
    report = reports[OWN.name]
    assert (report.reconnects, sum(report.lost.values()), sum(report.faults.values())) == (1, 1, 1)


def test_a_link_that_was_lost_is_not_connected() -> None:
    items: list[Item] = [*stream(OWN, 5), LinkEvent(20.0, OWN.name, LinkNews.LOST)]
    _, reports = run([OWN], items)
    assert not reports[OWN.name].connected


def test_battery_and_signal_are_the_last_that_were_told() -> None:
    items: list[Item] = [
        LinkEvent(1.0, DOT.name, LinkNews.BATTERY, value=0.5),
        LinkEvent(2.0, DOT.name, LinkNews.BATTERY, value=0.4),
        LinkEvent(2.0, DOT.name, LinkNews.SIGNAL, value=-70.0),
    ]
    _, reports = run([DOT], items)
    assert (reports[DOT.name].battery, reports[DOT.name].signal_dbm) == (0.4, -70.0)


def test_a_device_of_ours_is_started_once_connected_and_asked_for_its_clock() -> None:
    device, receiver = VirtualTalaria("femur_r"), Receiver([OWN])
    receiver.push(LinkEvent(0.0, OWN.name, LinkNews.CONNECTED))
    samples, t_s = [], 0.0
    for k in range(500):
        t_s = k / 100
        replies = [
            reply
            for link, data in receiver.outgoing(t_s)
            for reply in device.write(data)
            if link == OWN.name
        ]
        for name, data in [*replies, *device.sample(t_s, *signal(k))]:
            samples += receiver.push(Chunk(t_s + 0.004, data, OWN.name, name))
    assert device.streaming
    assert len(samples) > 450
    (report,) = receiver.reports()
    assert report.battery == 0.9
    for _, data in receiver.closing():
        device.write(data)
    assert not device.streaming


def test_nothing_is_written_to_a_link_that_is_not_there() -> None:
    receiver = Receiver([OWN])
    assert receiver.outgoing(0.0) == receiver.closing() == []


def test_a_vendor_on_a_wire_is_started_once_connected() -> None:
    link = Link("serial:/dev/ttyUSB0", "xbus", "femur_r", 100.0)
    device, receiver = VIRTUAL["xbus", "serial"](), Receiver([link])
    receiver.push(LinkEvent(0.0, link.name, LinkNews.CONNECTED))
    for _, data in receiver.outgoing(0.0):
        device.write(data)
    assert device.streaming
    for _, data in receiver.closing():
        device.write(data)
    assert not device.streaming


def test_a_recording_of_a_family_this_talaria_lacks_is_refused_in_one_sentence() -> None:
    with pytest.raises(SourceError, match="cannot read"):
        Receiver([Link("ble:newer/F1", "newer", "femur_r")])


def test_bytes_of_an_unnamed_link_are_taken_for_our_frames() -> None:
    chunks = [Chunk(c.t_s, c.data) for c in stream(OWN, 10)]
    samples, _ = run([], list(chunks))
    assert len(samples) == 10


CHUNKS = stream(OWN, 400)


def test_faults_do_what_they_say() -> None:
    n = len(CHUNKS)
    assert 0.02 < 1 - len(list(faults.lose(CHUNKS, 0.05, 1))) / n < 0.09
    burst = list(faults.lose_bursts(CHUNKS, 10.0, 2.0, 0.1))
    assert n - len(burst) == pytest.approx(20, abs=2)
    assert len(list(faults.repeat(CHUNKS, 0.1, 1))) > n
    late = list(faults.overtake(CHUNKS, 0.1, 1))
    assert sorted(c.data for c in late) == sorted(c.data for c in CHUNKS)
    assert [c.data for c in late] != [c.data for c in CHUNKS]
    assert b"".join(c.data for c in faults.split(CHUNKS, 20)) == b"".join(c.data for c in CHUNKS)
    assert max(len(c.data) for c in faults.split(CHUNKS, 20)) == 20
    delayed = [c.t_s for c in faults.delay(CHUNKS, 0.01, 1)]
    assert delayed == sorted(delayed)
    assert all(a >= c.t_s for a, c in zip(delayed, CHUNKS, strict=True))
    stalled = [c.t_s for c in faults.stall(CHUNKS, (11.0, 0.5))]
    assert stalled.count(11.5) >= 50
    assert not any(11.0 <= c.t_s < 11.5 for c in faults.silence(CHUNKS, (11.0, 0.5)))
    items = list(faults.disconnect(CHUNKS, (11.0, 1.0), failed=2))
    news = [i.news for i in items if isinstance(i, LinkEvent)]
    assert news == [LinkNews.LOST, LinkNews.FAILED, LinkNews.FAILED, LinkNews.CONNECTED]
    assert [i.t_s for i in items] == sorted(i.t_s for i in items)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_becomes_of_the_bytes_samples_are_in_order_and_true(seed: int) -> None:
    rng = random.Random(seed)
    chunks: list[Chunk] = CHUNKS
    for fault in rng.sample(
        [
            lambda c: faults.lose(c, 0.05, seed),
            lambda c: faults.repeat(c, 0.1, seed),
            lambda c: faults.truncate(c, 0.05, seed),
            lambda c: faults.flip_bits(c, 0.05, seed),
            lambda c: faults.split(c, 13),
        ],
        3,
    ):
        chunks = list(fault(chunks))
    samples, _ = run([OWN], list(chunks))
    assert len(samples) > 200
    assert [s.seq for s in samples] == sorted({s.seq for s in samples})
    for sample in samples:
        acc, gyr = signal(sample.seq)
        assert sample.acc_ms2 == pytest.approx(acc, abs=3e-3)
        assert sample.gyr_rads == pytest.approx(gyr, abs=6e-4)
