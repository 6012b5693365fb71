"""One contract for every source; a recorded session replays bit for bit."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.decoder import FrameDecoder, SampleAssembler
from talaria_bridge.errors import RecordingError, SourceError
from talaria_bridge.link import Chunk, Link
from talaria_bridge.recorder import SessionLogWriter
from talaria_bridge.replay import PacedSource
from talaria_bridge.samples import LEG_SLOTS, ImuSample
from talaria_bridge.source import KINDS, link_of, open_source, parse_source
from talaria_bridge.virtual import schedule_frames


def live_chunks() -> list[Chunk]:
    """Two seconds as a real link delivers them: late by chance, cut anywhere."""
    rng = np.random.default_rng(4)
    t_s = np.arange(200) / 100
    signal = rng.normal(0, 5, (200, 4, 3))
    frames = schedule_frames(LEG_SLOTS, t_s, signal, signal, 100.0)
    stream = b"".join(data for _, data in frames)
    cuts = np.sort(rng.integers(0, len(stream), 150)).tolist()
    arrival = np.sort(rng.uniform(500.0, 502.0, 151)).tolist()
    pieces = zip([0, *cuts], [*cuts, len(stream)], arrival, strict=True)
    return [Chunk(t, stream[a:b]) for a, b, t in pieces if b > a]


async def samples_of(spec: str) -> tuple[list[ImuSample], list[Chunk]]:
    decoder, assembler = FrameDecoder(), SampleAssembler()
    samples, chunks = [], []
    async with open_source(spec) as source:
        async for chunk in source:
            assert isinstance(chunk, Chunk)
            chunks.append(chunk)
            samples += assembler.push(decoder.feed(chunk.data), chunk.t_s)
    return samples, chunks


async def test_replay_equals_live_exactly(tmp_path: Path) -> None:
    decoder, assembler = FrameDecoder(), SampleAssembler()
    live, chunks = [], live_chunks()
    with SessionLogWriter(tmp_path / "walk.mcap") as log:
        for chunk in chunks:
            log.write(chunk)
            live += assembler.push(decoder.feed(chunk.data), chunk.t_s)
    replayed, again = await samples_of(f"replay:{tmp_path}/walk.mcap")
    assert len(live) == 800
    assert replayed == live  # times included, to the last bit
    assert again == chunks


async def test_replay_of_a_torn_log_gives_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "walk.mcap"
    with SessionLogWriter(path) as log:
        for chunk in live_chunks():
            log.write(chunk)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    _, chunks = await samples_of(f"replay:{path}")
    assert 0 < len(chunks) < len(live_chunks())
    assert chunks == live_chunks()[: len(chunks)]


async def test_real_pace_waits_as_long_as_the_recording_did() -> None:
    chunks = [Chunk(500.0, b"a"), Chunk(500.02, b"b"), Chunk(500.04, b"c")]
    source = PacedSource("test", lambda: chunks, "real")
    loop = asyncio.get_running_loop()
    async with source:
        times = [loop.time() async for _ in source]
    assert times[2] - times[0] >= 0.039


async def test_fast_pace_lets_others_run() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    async with PacedSource("test", lambda: [Chunk(0.0, b"")] * 50, "fast") as source:
        async for _ in source:
            pass
    task.cancel()
    assert turns >= 50


async def test_simulated_walk_is_the_same_for_the_same_seed() -> None:
    first, _ = await samples_of("sim:?seed=3&seconds=4")
    second, _ = await samples_of("sim:?seed=3&seconds=4&pace=fast")
    other, _ = await samples_of("sim:?seed=4&seconds=4")
    assert first == second != other
    assert {sample.slot for sample in first} == set(LEG_SLOTS)
    assert len(first) == 4 * 400


async def test_a_simulator_that_cannot_run_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SourceError, match="simulated walker ended with status 1"):
        await samples_of("sim:?seed=3&seconds=4")


@pytest.mark.parametrize(
    "spec",
    ["", "walk.mcap", "usb:/dev/ttyACM0", "Serial:/dev/ttyACM0", ":", "C:\\walk.mcap"],
)
def test_unknown_kind_lists_the_known_ones(spec: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(spec)
    for example, _ in KINDS.values():
        assert example in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("serial:", "lacks one"),
        ("replay:?pace=fast", "lacks one"),
        ("sim:walker", "does not need"),
        ("serial:/dev/ttyACM0?speed=9600", "takes baud"),
        ("serial:/dev/ttyACM0?family=fitbit", "no family of sensors"),
        ("serial:/dev/ttyACM0?slot=hand", "one of torso"),
        ("serial:/dev/ttyACM0?rate=0", "number from 1"),
        ("serial:/dev/ttyACM0?retry=soon", "number from 0"),
        ("tcp:nowhere", "host or a port"),
        ("tcp:host:port", "host or a port"),
        ("tcp::7000", "host or a port"),
        ("tcp:host:99999", "host or a port"),
        ("ble:talaria", "names no device"),
        ("ble:talaria/", "names no device"),
        ("ble:fitbit/F1:F1?slot=femur_r", "no family of sensors"),
        ("ble:dot/F1:F1", "where its sensor is worn"),
        ("ble:xbus/F1:F1?slot=femur_r", "cannot be read by ble"),
        ("serial:/dev/ttyACM0?family=dot&slot=femur_r", "cannot be read by serial"),
        ("serial:/dev/ttyACM0?baud=9600&baud=19200", "given twice"),
        ("serial:/dev/ttyACM0?baud=fast", "whole number"),
        ("serial:/dev/ttyACM0?baud=0", "whole number"),
        ("serial:/dev/ttyACM0?baud=", "whole number"),
        ("serial:/dev/ttyACM0?baud", "name=value"),
        ("sim:?seed=-1", "whole number"),
        ("sim:?seed=" + "9" * 5000, "whole number"),
        ("sim:?seconds=nan", "number from"),
        ("sim:?seconds=1e9", "number from"),
        ("sim:?pace=slow", "real or fast"),
        ("replay:/none/walk.mcap", "no recording at"),
        ("replay:/none/walk.mcap?pace=2x", "real or fast"),
    ],
)
def test_unusable_spec_is_refused_in_one_sentence(spec: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as caught:
        open_source(spec)
    assert "\n" not in str(caught.value)


def test_every_example_spec_is_a_spec() -> None:
    for kind, (example, _) in KINDS.items():
        assert parse_source(example).kind == kind


def test_sources_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(SourceError, match="named twice"):
        open_source("serial:/dev/ttyACM0", "serial:/dev/ttyACM0?baud=9600")
    with pytest.raises(SourceError, match="a time of its own"):
        open_source("serial:/dev/ttyACM0", "sim:")
    with pytest.raises(SourceError, match="one address twice"):
        open_source("ble:dot/F1:f1?slot=femur_r", "ble:talaria/F1:F1")
    with pytest.raises(SourceError, match="no source is named"):
        open_source()


def test_the_link_says_who_is_there_and_where_it_is_worn() -> None:
    link = link_of(parse_source("ble:dot/D4:22:CD:00:11:22?slot=femur_r&rate=60"))
    assert link == Link("ble:dot/D4:22:CD:00:11:22", "dot", "femur_r", 60.0, "ble")
    assert link_of(parse_source("serial:/dev/ttyACM0")) == Link("serial:/dev/ttyACM0")


async def test_replay_of_another_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "angles.csv"
    path.write_text("time,knee\n")
    with pytest.raises(RecordingError, match="not a Talaria session log"):
        async with open_source(f"replay:{path}"):
            pass


def test_importing_sources_loads_no_port_and_no_simulator() -> None:
    code = (
        "import sys, talaria_bridge.source, talaria_bridge.decoder; "
        "print([m for m in ('serial', 'scipy', 'talaria_bridge.simulator') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
