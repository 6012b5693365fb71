"""`talaria run` and a Cortex-M4 in qemu: the firmware talks to the runtime that ships."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from talaria_bridge.link import LinkEvent, LinkNews
from talaria_bridge.receiver import Receiver
from talaria_bridge.recorder import read_session_log
from talaria_bridge.samples import LEG_SLOTS, ImuSample, SampleFlag
from talaria_bridge.source import open_source

MODEL = Path(__file__).parents[2] / "models" / "talaria-legs-2"


@pytest.mark.parametrize("rate_hz", [100, 200])
def test_talaria_runs_on_the_firmware(qemu_board: Any, tmp_path: Path, rate_hz: int) -> None:
    options = {
        "--source": f"tcp:{qemu_board.host}:{qemu_board.port}?rate={rate_hz}",
        "--model": str(MODEL),
        "--record": str(tmp_path),
        "--seconds": "18",  # five of standing, eight of walking, three to settle
    }
    command = [sys.executable, "-m", "talaria_edge", "run", "--quiet"]
    done = subprocess.run(
        [*command, *(word for option in options.items() for word in option)],
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    ended = tomllib.loads((folder / "session.toml").read_text())["ended"]
    (link,) = ended["links"].values()
    assert ended["lost"] == dict.fromkeys(LEG_SLOTS, 0)
    assert all(n > 17 * rate_hz for n in ended["received"].values())
    assert (link["faults"], link["restarts"], link["refusals"]) == ({}, 0, [])
    assert ended["validity"]["good"] > 20
    assert abs(link["drift"]) < 0.12
    states = list(read_session_log(folder).messages("/gait"))
    angles = [s["angles_deg"]["knee_angle_r"] for s in states if s["validity"] == "good"]
    assert all(math.isfinite(angle) for angle in angles)


async def test_a_killed_and_restarted_board_is_streamed_again(qemu_board: Any) -> None:
    source = open_source(f"tcp:{qemu_board.host}:{qemu_board.port}?rate=200")
    samples: list[ImuSample] = []
    news: list[LinkNews] = []

    async def until_samples(count: int) -> None:
        async with asyncio.timeout(25):
            while len(samples) < count:
                item = await anext(source)
                if isinstance(item, LinkEvent):
                    news.append(item.news)
                samples.extend(receiver.push(item))
                for link, data in receiver.outgoing(time.monotonic()):
                    source.send(link, data)

    async with source:
        receiver = Receiver(source.links)
        await until_samples(800)
        qemu_board.kill()
        restart = threading.Timer(0.5, qemu_board.restart)
        restart.start()
        before = len(samples)
        await until_samples(before + 1200)
        await asyncio.to_thread(restart.join)
    assert news == [LinkNews.CONNECTED, LinkNews.LOST, LinkNews.CONNECTED]
    after = [s for s in samples[before:] if SampleFlag.RESET in s.flags]
    assert {s.slot for s in after} == set(LEG_SLOTS)
    (report,) = receiver.reports()
    assert report.reconnects == 1
    for slot in LEG_SLOTS:
        times = [s.t_s for s in samples if s.slot == slot]
        assert times == sorted(times)
