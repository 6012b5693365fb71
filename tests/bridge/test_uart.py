"""The serial source on a pseudo-terminal, with a virtual device behind it."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import numpy as np
import pytest
import serial

from talaria_bridge.decoder import FrameDecoder, SampleAssembler
from talaria_bridge.errors import SourceError
from talaria_bridge.link import Chunk, Link, LinkEvent, LinkNews
from talaria_bridge.recorder import SessionLogWriter, read_session_log
from talaria_bridge.samples import LEG_SLOTS, ImuSample
from talaria_bridge.source import Source, open_source
from talaria_bridge.uart import SerialSource
from talaria_bridge.virtual import VirtualSerialDevice, schedule_frames

T_S = np.arange(200) / 100
SIGNAL = np.random.default_rng(2).normal(0, 5, (200, 4, 3))
FRAMES = schedule_frames(LEG_SLOTS, T_S, SIGNAL, SIGNAL, 100.0)
N_BYTES = sum(len(data) for _, data in FRAMES)


async def read_all(source: Source, n_bytes: int = N_BYTES) -> list[Chunk]:
    chunks: list[Chunk] = []
    async for item in source:
        if isinstance(item, Chunk):
            chunks.append(item)
            n_bytes -= len(item.data)
            if n_bytes <= 0:
                break
    return chunks


def joined(chunks: list[Chunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


async def next_event(source: Source) -> LinkEvent:
    async for item in source:
        if isinstance(item, LinkEvent):
            return item
    raise AssertionError("the source ended without news")


def decode(chunks: list[Chunk]) -> tuple[list[ImuSample], FrameDecoder]:
    decoder, assembler = FrameDecoder(), SampleAssembler()
    samples = [s for c in chunks for s in assembler.push(decoder.feed(c.data), c.t_s)]
    return samples, decoder


async def test_a_packet_makes_one_chunk() -> None:
    packets = [(0.02 * k, bytes([k]) * 40) for k in range(20)]
    with VirtualSerialDevice(packets) as device:
        async with open_source(f"serial:{device.port}") as source:
            chunks = await asyncio.wait_for(read_all(source, 800), 20)
    assert joined(chunks) == b"".join(data for _, data in packets)
    assert len(chunks) <= len(packets)


async def test_frames_cross_the_serial_line_without_loss(tmp_path: Path) -> None:
    with VirtualSerialDevice(FRAMES, pace=10) as device:
        async with open_source(f"serial:{device.port}?baud=921600") as source:
            chunks = await asyncio.wait_for(read_all(source), 20)
            assert source.dropped_chunks == 0
        assert device.wait(5)
    samples, decoder = decode(chunks)
    assert b"".join(c.data for c in chunks) == b"".join(data for _, data in FRAMES)
    assert len(samples) == 800
    assert set(decoder.counters.lost_samples.values()) == {0}
    with SessionLogWriter(tmp_path / "a.mcap") as log:
        for chunk in chunks:
            log.write(chunk)
    assert list(read_session_log(log.path)) == chunks


async def test_every_byte_value_crosses_the_line_unchanged() -> None:
    data = bytes(range(256)) * 8
    with VirtualSerialDevice([(0.0, data)]) as device:
        async with open_source(f"serial:{device.port}") as source:
            chunks = await asyncio.wait_for(read_all(source, len(data)), 20)
    assert b"".join(chunk.data for chunk in chunks) == data


async def test_arrival_times_rise() -> None:
    with VirtualSerialDevice(FRAMES[:400], pace=20) as device:
        async with open_source(f"serial:{device.port}") as source:
            n = sum(len(data) for _, data in FRAMES[:400])
            chunks = await asyncio.wait_for(read_all(source, n), 20)
    times = [chunk.t_s for chunk in chunks]
    assert times == sorted(times)
    assert times[-1] - times[0] >= 0.04  # one second, twenty times as fast


async def test_unplugged_device_that_may_not_come_back_is_a_source_error() -> None:
    got: list[Chunk] = []
    with VirtualSerialDevice(FRAMES[:40], pace=100) as device:
        async with open_source(f"serial:{device.port}?retry=0") as source:
            assert await asyncio.to_thread(device.wait, 20)
            got += await asyncio.wait_for(read_all(source, sum(len(d) for _, d in FRAMES[:40])), 20)
            await asyncio.to_thread(device.unplug)
            assert (await asyncio.wait_for(next_event(source), 20)).news is LinkNews.LOST
            with pytest.raises(SourceError, match="unplugged") as caught:
                await asyncio.wait_for(anext(source), 20)
    assert device.port in str(caught.value)
    assert len(decode(got)[0]) == 39


async def test_a_device_that_is_plugged_in_again_is_read_again(tmp_path: Path) -> None:
    port = tmp_path / "port"  # as udev does: the same name for whatever is plugged in
    with VirtualSerialDevice([(0.0, b"one")]) as first:
        port.symlink_to(first.port)
        async with open_source(f"serial:{port}") as source:
            assert joined(await asyncio.wait_for(read_all(source, 3), 20)) == b"one"
            await asyncio.to_thread(first.unplug)
            lost = await asyncio.wait_for(next_event(source), 20)
            with VirtualSerialDevice([(0.0, b"two")]) as second:
                port.unlink()
                port.symlink_to(second.port)
                back = await asyncio.wait_for(next_event(source), 20)
                assert joined(await asyncio.wait_for(read_all(source, 3), 20)) == b"two"
    assert (lost.news, back.news) == (LinkNews.LOST, LinkNews.CONNECTED)


async def test_what_is_sent_reaches_the_device() -> None:
    master, slave = os.openpty()
    try:
        async with open_source(f"serial:{os.ttyname(slave)}") as source:
            source.send(source.name, b"start")
            source.send("serial:another", b"stop")
            assert await asyncio.to_thread(os.read, master, 100) == b"start"
    finally:
        os.close(master)
        os.close(slave)


async def test_slow_reader_loses_the_oldest_and_is_told() -> None:
    with VirtualSerialDevice([(0.05 * k, bytes([k])) for k in range(20)], pace=5) as device:
        link = Link(f"serial:{device.port}")
        async with SerialSource(link, device.port, max_items=5) as source:
            assert await asyncio.to_thread(device.wait, 20)
            await asyncio.sleep(0.2)
            kept = await asyncio.wait_for(read_all(source, 4), 20)
            assert source.dropped_chunks >= 10
    data = b"".join(chunk.data for chunk in kept)
    assert data == bytes(range(20))[-len(data) :]


async def test_leaving_ends_the_iteration_and_frees_the_port() -> None:
    with VirtualSerialDevice([(0.0, b"a")]) as device:
        for _ in range(2):
            async with open_source(f"serial:{device.port}") as source:
                pass
            assert [item.news async for item in source] == [LinkNews.CONNECTED]


async def test_port_in_use_is_said_so() -> None:
    with VirtualSerialDevice([]) as device:
        async with open_source(f"serial:{device.port}"):
            with pytest.raises(SourceError, match="another program has it open"):
                async with open_source(f"serial:{device.port}"):
                    pass


async def test_missing_port_says_where_to_look() -> None:
    with pytest.raises(SourceError, match=r"/dev/ttyNONE9 .*no such port.*ls /dev/ttyACM"):
        async with open_source("serial:/dev/ttyNONE9"):
            pass


async def test_denied_port_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise serial.SerialException(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(serial, "Serial", denied)
    with pytest.raises(SourceError, match=r"/dev/ttyACM0 .*dialout"):
        async with open_source("serial:/dev/ttyACM0"):
            pass


async def test_file_that_is_no_port_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "port"
    path.write_text("no port")
    with pytest.raises(SourceError, match="check that it is a serial port") as caught:
        async with open_source(f"serial:{path}"):
            pass
    assert "\n" not in str(caught.value)


def test_device_nobody_listens_to_can_be_taken_away() -> None:
    with VirtualSerialDevice(FRAMES) as device:
        assert Path(device.port).exists()
    assert not device.wait(0)
