"""What a running session answers to those who ask how it is."""

from __future__ import annotations

import asyncio
import json
import math
import re
import socket
from pathlib import Path

import pytest

from talaria_bridge.errors import ConfigError
from talaria_bridge.receiver import LinkReport
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge import endpoint
from talaria_edge.alignment import SlotStatus
from talaria_edge.endpoint import MetricsServer
from talaria_edge.gait import GaitClass
from talaria_edge.metrics import STEP_BOUNDS_S, StepTimes, Vitals, health_json, render
from talaria_edge.pipeline import GaitState, Validity
from talaria_edge.sanitiser import SlotFlag
from talaria_edge.service import Health, Life
from talaria_edge.summary import RunSummary

FLOWING = Health(Life.FLOWING)
SAMPLE = re.compile(
    r'[a-z_]+(\{([a-z_]+="([^"\\\n]|\\.)*",?)+\})? (\d[\d.e+-]*|NaN|\+Inf|-[\d.e+]+)'
)


def link(name: str, **more: object) -> LinkReport:
    fields: dict[str, object] = {
        "name": name,
        "family": "dot",
        "connected": True,
        "reconnects": 2,
        "bytes_in": 123_456_789_012,
        "messages": 400,
        "faults": {"crc": 3},
        "duplicates": 0,
        "restarts": 0,
        "lost": {"femur_r": 4},
        "longest_burst": {},
        "battery": 0.8,
        "signal_dbm": -61.0,
        "jitter_s": 0.001,
        "drift": 0.0,
        "refusals": (),
    }
    return LinkReport(**(fields | more))


def vitals(*links: LinkReport, **more: object) -> Vitals:
    summary = RunSummary(
        ticks=1000,
        states=900,
        seconds=10.0,
        validity={"good": 800, "degraded": 100},
        received=dict.fromkeys(LEG_SLOTS, 990),
        lost=dict.fromkeys(LEG_SLOTS, 10),
        links=links or (link("ble:dot/D4:22"),),
        dropped_chunks=7,
        p50_ms=math.nan,
        p99_ms=math.nan,
        folder=None,
    )
    fields: dict[str, object] = {"records": True, "model": "legs-1", "state": state()}
    return Vitals(summary, **(fields | more))


def state() -> GaitState:
    return GaitState(
        index=0,
        t_s=0.0,
        angles_rad={},
        interval_rad={},
        angle_validity={},
        legs={},
        events=(),
        gait_class=GaitClass.UNKNOWN,
        class_confidence=0.0,
        strides=(),
        slot_status=(SlotStatus.MEASURED, SlotStatus.HELD, SlotStatus.GONE, SlotStatus.MEASURED),
        slot_loss=(0.0, 0.02, 1.0, 0.0),
        slot_flags=(SlotFlag.NONE,) * 4,
        validity=Validity.INVALID,
        reason="no data from calcn_r",
    )


def samples(page: str) -> dict[str, float]:
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_every_line_is_a_sample_of_a_family_that_was_announced() -> None:
    page = render(vitals(), FLOWING)
    assert page.endswith("\n")
    family = kind = ""
    for line in page.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
        elif line.startswith("# TYPE "):
            assert line.split()[2] == family
            kind = line.split()[3]
        else:
            assert SAMPLE.fullmatch(line), line
            parts = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            assert re.split(r"[{ ]", line)[0] in {family + part for part in parts}
            assert family.endswith("_total") == (kind == "counter")


def test_the_numbers_are_the_sessions() -> None:
    found = samples(render(vitals(), FLOWING))
    assert found["talaria_ticks_total"] == 1000
    assert found['talaria_states_total{validity="good"}'] == 800
    assert found['talaria_samples_lost_total{slot="calcn_l"}'] == 10
    assert found["talaria_dropped_chunks_total"] == 7
    assert [found[f'talaria_slot_up{{slot="{slot}"}}'] for slot in LEG_SLOTS] == [1, 1, 0, 1]
    assert found['talaria_slot_loss_ratio{slot="calcn_r"}'] == 1.0
    assert found['talaria_link_battery_ratio{link="ble:dot/D4:22"}'] == 0.8
    assert found['talaria_link_bytes_total{link="ble:dot/D4:22"}'] == 123_456_789_012
    assert found['talaria_link_faults_total{link="ble:dot/D4:22",kind="crc"}'] == 3
    assert found["talaria_flowing"] == found["talaria_recording"] == 1
    assert found["talaria_disk_free_bytes"] > 0
    assert found["process_resident_memory_bytes"] > 10e6


def test_what_is_unknown_is_left_out_and_not_told_as_zero(tmp_path: Path) -> None:
    deaf = link("serial:/dev/ttyACM0", battery=None, signal_dbm=None, faults={})
    page = render(vitals(deaf, state=None, records=False), Health(Life.WAITING, "no"), tmp_path)
    assert "battery" not in page
    assert "signal" not in page
    assert "talaria_slot_up" not in page
    assert "temperature" not in page
    assert samples(page)["talaria_flowing"] == 0
    (tmp_path / "sys/class/thermal/thermal_zone0").mkdir(parents=True)
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").write_text("61500\n")
    assert samples(render(vitals(), FLOWING, tmp_path))["talaria_temperature_celsius"] == 61.5


def test_names_are_escaped() -> None:
    page = render(vitals(link('a"b\\c\nd')), FLOWING)
    assert r'talaria_link_up{link="a\"b\\c\nd"} 1' in page.splitlines()


def test_the_histogram_is_cumulative_and_ends_with_all_steps() -> None:
    steps = StepTimes()
    for step_s in (0.0001, 0.0005, 0.0025, 0.004, 7.0):
        steps.add(step_s)
    found = samples(render(vitals(steps=steps), FLOWING))
    bounds = [*(f"{bound:g}" for bound in STEP_BOUNDS_S), "+Inf"]
    counts = [found[f'talaria_step_seconds_bucket{{le="{bound}"}}'] for bound in bounds]
    assert counts == [2, 2, 2, 3, 4, 4, 4, 4, 4, 5]  # a bound belongs to its own bucket
    assert found["talaria_step_seconds_count"] == 5
    assert found["talaria_step_seconds_sum"] == pytest.approx(7.0071)


def test_health_says_why() -> None:
    told = json.loads(health_json(vitals(), Health(Life.STUCK, "bytes come, but")))
    assert told == {
        "life": "stuck",
        "reason": "bytes come, but",
        "ticks": 1000,
        "recording": True,
        "validity": "invalid",
        "validity_reason": "no data from calcn_r",
    }


async def ask(port: int, request: str) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    length = re.search(r"Content-Length: (\d+)", head)
    if length is not None and not request.startswith("HEAD"):
        assert int(length[1]) == len(body.encode())
    return head.split("\r\n")[0].removeprefix("HTTP/1.1 "), body


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"


async def test_the_server_answers_with_the_newest_numbers() -> None:
    now = [FLOWING]
    async with MetricsServer(("127.0.0.1", 0), lambda: (vitals(), now[0])) as server:
        status, body = await ask(server.port, get("/metrics"))
        assert status == "200 OK"
        assert samples(body)["talaria_ticks_total"] == 1000
        assert (await ask(server.port, get("/healthz")))[0] == "200 OK"
        now[0] = Health(Life.WAITING, "no data from any sensor for 12 s")
        status, body = await ask(server.port, get("/healthz?verbose"))
        assert status == "503 Service Unavailable"
        assert json.loads(body)["reason"] == "no data from any sensor for 12 s"
        assert (await ask(server.port, "HEAD /metrics HTTP/1.1\r\n\r\n")) == ("200 OK", "")
        assert (await ask(server.port, get("/etc/passwd")))[0].startswith("404")
        assert (await ask(server.port, "POST /metrics HTTP/1.1\r\n\r\n"))[0].startswith("405")


async def test_rude_clients_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_PATIENCE_S", 0.2)
    async with MetricsServer(("127.0.0.1", 0), lambda: (vitals(), FLOWING)) as server:
        assert await ask(server.port, "\x00\xff\r\n\r\n") == (
            "405 Method Not Allowed",
            "GET only.\n",
        )
        assert await ask(server.port, "GET " + "x" * 100_000) == ("", "")
        assert await ask(server.port, "GET /metrics") == ("", "")  # and then no more
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
        await asyncio.sleep(0.4)
        assert (await ask(server.port, get("/healthz")))[0] == "200 OK"
        for _, writer in silent:
            writer.close()


async def test_the_session_does_not_wait_for_clients_when_it_ends() -> None:
    loop = asyncio.get_running_loop()
    async with MetricsServer(("127.0.0.1", 0), lambda: (vitals(), FLOWING)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.sleep(0.05)
        begun_s = loop.time()
    assert loop.time() - begun_s < 0.5 * endpoint._PATIENCE_S
    assert await reader.read() == b""
    writer.close()


async def test_a_port_that_is_taken_is_refused_in_one_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}.*another port"):
            async with MetricsServer(("127.0.0.1", port), lambda: (vitals(), FLOWING)):
                pass


async def test_nothing_is_served_unless_it_is_asked_for() -> None:
    async with MetricsServer(None, lambda: (vitals(), FLOWING)) as server:
        assert server._server is None
