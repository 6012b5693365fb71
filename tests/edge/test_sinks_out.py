"""States reach whoever listens, whole and in order; who does not listen costs nothing."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import socket
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_edge.__main__ import app
from talaria_edge.alignment import SlotStatus
from talaria_edge.app import run_session
from talaria_edge.calibration import Calibration
from talaria_edge.config import Config, load_config
from talaria_edge.gait import EventKind, GaitClass, GaitEvent, LegState, Phase, SubPhase
from talaria_edge.output_spec import OutputSpec, parse_output
from talaria_edge.pipeline import GaitState, Validity
from talaria_edge.sanitiser import SlotFlag
from talaria_edge.sinks.background import Background
from talaria_edge.sinks.csv_table import CsvTable
from talaria_edge.sinks.message import Stream, state_message
from talaria_edge.sinks.osc import OscSender, osc_bundle
from talaria_edge.sinks.outputs import close_outputs, open_outputs
from talaria_edge.sinks.websocket import WebSocketServer
from talaria_edge.strides import Stride

NAMES = ("knee_angle_r", "knee_angle_l")
STREAM = Stream(NAMES, ("femur_r", "calcn_r"), 100.0, "tiny-ann")
SECRET = "0123456789abcdef"
STRIDE = Stride(
    side="l",
    start_s=98.9,
    end_s=100.0,
    stance_s=0.7,
    step_time_s=0.55,
    cadence_spm=109.1,
    stance_ratio=0.64,
    double_support_ratio=0.25,
    length_m=1.31,
    speed_ms=math.nan,
    rom_rad={"knee_angle_l": 1.0},
    gait_class=GaitClass.WALKING,
)


def state(index: int = 0, angle_rad: float = 0.5, **more: object) -> GaitState:
    good = math.isfinite(angle_rad)
    fields: dict[str, object] = {
        "index": index,
        "t_s": 100.0 + 0.01 * index,
        "angles_rad": {"knee_angle_r": angle_rad, "knee_angle_l": -0.25},
        "interval_rad": {"knee_angle_r": 0.1 if good else math.nan, "knee_angle_l": 0.05},
        "angle_validity": {
            "knee_angle_r": Validity.GOOD if good else Validity.INVALID,
            "knee_angle_l": Validity.GOOD,
        },
        "legs": {
            "r": LegState(Phase.STANCE, SubPhase.MID_STANCE, 0.25, 0.75),
            "l": LegState(Phase.SWING, SubPhase.SWING, math.nan, 0.5),
        },
        "events": (),
        "gait_class": GaitClass.WALKING,
        "class_confidence": 0.875,
        "strides": (),
        "slot_status": (SlotStatus.MEASURED,) * 2,
        "slot_loss": (0.0, 0.25),
        "slot_flags": (SlotFlag.NONE, SlotFlag.STUCK),
        "validity": Validity.GOOD,
        "reason": "",
    }
    return GaitState(**(fields | more))


def eventful(index: int = 3) -> GaitState:
    event = GaitEvent(100.0 + 0.01 * index - 0.02, "l", EventKind.INITIAL_CONTACT)
    return state(index, math.nan, events=(event,), strides=(STRIDE,), validity=Validity.DEGRADED)


def until(what: object, seconds: float = 10.0) -> None:
    """Wait for a callable to say yes."""
    end_s = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.005)


# What may be asked for


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("csv:a/b.csv", OutputSpec("csv", "a/b.csv")),
        ("mot:a.mot", OutputSpec("mot", "a.mot")),
        ("osc:9000", OutputSpec("osc", "127.0.0.1", 9000)),
        ("osc:10.0.0.7:9000", OutputSpec("osc", "10.0.0.7", 9000)),
        ("ws:8766", OutputSpec("ws", "127.0.0.1", 8766)),
        ("ws:[::1]:8766", OutputSpec("ws", "::1", 8766)),
        (f"ws:0.0.0.0:8766?token={SECRET}", OutputSpec("ws", "0.0.0.0", 8766, SECRET)),
        ("lsl:", OutputSpec("lsl", "Talaria")),
        ("lsl:Lab3", OutputSpec("lsl", "Lab3")),
    ],
)
def test_a_sink_is_one_word(text: str, spec: OutputSpec) -> None:
    assert parse_output(text) == spec


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("tape:", "is no sink"),
        ("csv", "is no sink"),
        ("csv:", "names no file"),
        ("osc:here", "names no port"),
        ("osc:1.2.3.4:70000", "names no port"),
        ("osc:1.2.3.4:9000?rate=3", "takes no options"),
        ("ws:0.0.0.0:8766", "add ?token="),
        ("ws:pi.local:8766", "add ?token="),
        ("ws:8766?token=short", "16 are the least"),
        ("ws:8766?key=a", "the option 'key' is unknown"),
    ],
)
def test_a_wrong_sink_is_refused_before_anything_starts(text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, source="sim:", sinks=[text])
    assert hint in str(caught.value)


def test_a_secret_in_a_wrong_sink_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, source="sim:", sinks=["ws:1.2.3.4:x?token=mysecret"])
    assert "names no port" in str(caught.value)
    assert "mysecret" not in str(caught.value)


def test_paths_of_sinks_in_a_file_are_meant_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text('source = "sim:"\nsinks = ["csv:a.csv", "osc:9000"]\n')
    assert load_config(tmp_path / "device.toml").sinks == (f"csv:{tmp_path / 'a.csv'}", "osc:9000")


# Files


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_table_says_what_the_states_say(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "a.csv", NAMES)
    table.show(state(0, reason="one, two"))
    table.show(eventful())
    table.close()
    table.close()
    first, second = rows_of(tmp_path / "a.csv")
    assert first["t_s"] == "100.000000"
    assert first["reason"] == "one, two"
    assert float(first["knee_angle_r_deg"]) == pytest.approx(math.degrees(0.5), abs=1e-4)
    assert float(first["knee_angle_r_interval_deg"]) == pytest.approx(math.degrees(0.1), abs=1e-4)
    assert (first["phase_r"], first["sub_phase_r"], first["cycle_r"]) == (
        "stance",
        "mid_stance",
        "0.2500",
    )
    assert (second["knee_angle_r_deg"], second["knee_angle_r_validity"]) == ("", "invalid")
    assert second["cycle_l"] == ""
    assert second["events"] == "l:initial@100.0100"
    (stride,) = rows_of(tmp_path / "a-strides.csv")
    assert (stride["side"], stride["length_m"], stride["speed_ms"]) == ("l", "1.31", "")
    assert float(stride["knee_angle_l_range_deg"]) == pytest.approx(math.degrees(1.0), abs=1e-3)
    assert stride["knee_angle_r_range_deg"] == ""


def test_a_file_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        for kind in ("csv", "mot"):
            outputs = open_outputs([f"{kind}:{tmp_path / f'a.{kind}'}"], STREAM)
            outputs[0].show(state())
            assert close_outputs(outputs)[0].dropped == 0
    assert len(rows_of(tmp_path / "a.csv")) == len(rows_of(tmp_path / "a-2.csv")) == 1
    assert (tmp_path / "a.mot").read_text() == (tmp_path / "a-2.mot").read_text()
    assert "0.000000\t28.647890\t-14.323945" in (tmp_path / "a.mot").read_text()


def test_a_file_that_cannot_be_made_is_refused_and_closes_the_rest(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be made"):
        open_outputs([f"csv:{tmp_path / 'b.csv'}", f"csv:{tmp_path / 'none' / 'a.csv'}"], STREAM)
    assert not any(t.name.startswith("csv:") for t in threading.enumerate())
    with pytest.raises(ConfigError, match="is a folder"):
        open_outputs([f"csv:{tmp_path}"], STREAM)


class Slow:
    """A sink that waits to be let go."""

    def __init__(self, fail: bool = False) -> None:
        self.go = threading.Event()
        self.seen: list[int] = []
        self.closed = 0
        self.fail = fail

    def show(self, state: GaitState) -> None:
        self.go.wait()
        if self.fail:
            raise OSError(28, "No space left on device")
        self.seen.append(state.index)

    def close(self) -> None:
        self.closed += 1


def test_a_slow_sink_loses_the_oldest_and_counts_them() -> None:
    inner = Slow()
    output = Background("slow", inner, kept=10)
    output.show(state(0))
    until(lambda: not output._waiting)  # the thread holds the first one and waits
    for i in range(1, 101):
        output.show(state(i))
    assert output.dropped == 90
    inner.go.set()
    output.close()
    assert inner.seen == [0, *range(91, 101)]
    assert (inner.closed, output.dropped, output.trouble) == (1, 90, "")


def test_a_sink_that_fails_is_given_up_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    inner = Slow(fail=True)
    inner.go.set()
    output = Background("full", inner)
    output.show(state(0))
    until(lambda: output.trouble)
    for i in range(5):
        output.show(state(i))
    output.close()
    assert output.dropped == 6
    assert "No space left" in output.trouble
    assert sum("is given up" in record.message for record in caplog.records) == 1
    assert inner.closed == 1


# OSC


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(5.0)
        yield udp


def test_osc_arrives_as_another_library_reads_it(listener: socket.socket) -> None:
    osc = pytest.importorskip("pythonosc.osc_bundle", reason="python-osc is not installed")
    sender = OscSender("127.0.0.1", listener.getsockname()[1], wall_clock=lambda: 1.7e9)
    for one in (state(0), eventful()):
        sender.show(one)
    first, second = (osc.OscBundle(listener.recv(4096)) for _ in range(2))
    sender.close()
    sender.close()
    assert first.timestamp == pytest.approx(1.7e9, abs=1e-3)
    assert second.timestamp == pytest.approx(1.7e9 + 0.03, abs=1e-3)
    said = {m.address: m.params for m in first}
    assert said["/talaria/state"] == [0, "good", ""]
    assert said["/talaria/angle/knee_angle_r"] == [
        pytest.approx(math.degrees(0.5)),
        pytest.approx(math.degrees(0.1)),
        "good",
    ]
    assert said["/talaria/leg/r"] == ["stance", "mid_stance", 0.25, 0.75]
    assert said["/talaria/class"] == ["walking", 0.875]
    assert len(said) == 6
    told = {m.address: m.params for m in second}
    assert math.isnan(told["/talaria/angle/knee_angle_r"][0])
    assert told["/talaria/angle/knee_angle_r"][2] == "invalid"
    assert told["/talaria/event/l"] == ["initial", pytest.approx(0.02, abs=1e-6)]
    assert told["/talaria/stride/l"][4] == pytest.approx(1.31)
    assert sender.dropped == 0


def test_osc_is_laid_out_as_the_specification_says() -> None:
    bundle = osc_bundle(state(7, reason="äh"), 0.0)
    assert bundle[:8] == b"#bundle\0"
    assert len(bundle) % 4 == 0
    size = int.from_bytes(bundle[16:20], "big")
    first = bundle[20 : 20 + size]
    assert first == b"/talaria/state\0\0,iss\0\0\0\0\0\0\0\x07good\0\0\0\0?h\0\0"
    assert b"/talaria/leg/l\0\0,ssff\0\0\0" in bundle


def test_nobody_listening_to_osc_costs_nothing() -> None:
    sender = OscSender("127.0.0.1", 9)
    for i in range(50):
        sender.show(state(i))
    sender.close()
    assert sender.dropped == 0
    sender.show(state())  # the port is gone: counted, and never raised
    assert sender.dropped == 1
    assert sender.trouble


def test_a_host_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ConfigError, match="leads nowhere"):
        OscSender("nowhere.invalid", 9000)


# WebSocket


@pytest.fixture
def server() -> Iterator[WebSocketServer]:
    pytest.importorskip("websockets", reason="websockets is not installed")
    made = WebSocketServer("127.0.0.1", 0, STREAM)
    yield made
    made.close()


async def test_every_client_gets_every_state(server: WebSocketServer) -> None:
    from websockets.asyncio.client import connect

    url = f"ws://127.0.0.1:{server.port}"
    async with connect(url) as one, connect(url) as two:
        for client in (one, two):
            hello = json.loads(await client.recv())
            assert hello["kind"] == "hello"
            assert hello["angles"] == list(NAMES)
            assert hello["rate_hz"] == 100.0
        await asyncio.to_thread(until, lambda: len(server._clients) == 2)
        sent = [*map(state, range(20)), eventful(20)]
        for each in sent:
            server.show(each)
        for client in (one, two):
            got = [json.loads(await client.recv()) for _ in sent]
            assert [g["index"] for g in got] == [*range(20), 20]
            assert got[0]["angles_deg"]["knee_angle_r"] == pytest.approx(28.648)
            assert got[20]["angles_deg"]["knee_angle_r"] is None
            assert got[20]["events"][0]["side"] == "l"
            assert got[20]["strides"][0]["speed_ms"] is None
            assert got[20]["legs"]["l"]["cycle"] is None
    await asyncio.to_thread(until, lambda: not server._clients)
    assert server.dropped == 0


async def test_a_client_that_does_not_read_never_stalls_the_loop(server: WebSocketServer) -> None:
    from websockets.asyncio.client import connect

    url = f"ws://127.0.0.1:{server.port}"
    async with connect(url, max_queue=1) as lazy, connect(url, max_queue=None) as quick:
        await lazy.recv()
        await quick.recv()
        await asyncio.to_thread(until, lambda: len(server._clients) == 2)
        lazy.transport.pause_reading()

        def flood() -> None:
            # Far more than any socket buffer holds, in portions that a client who reads keeps up with.
            for i in range(3000):
                server.show(state(i, reason="x" * 10_000))
                if i % 50 == 49:
                    until(lambda: min(len(c._box) for c in tuple(server._clients)) < 10)

        flooding = asyncio.create_task(asyncio.to_thread(flood))
        last = -1
        while last < 2999:
            last = json.loads(await quick.recv())["index"]
        await flooding
        assert server.dropped > 500
        assert max(len(c._box) for c in tuple(server._clients)) <= 100
        lazy.transport.abort()


async def test_a_foreign_web_page_is_not_served(server: WebSocketServer) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    url = f"ws://127.0.0.1:{server.port}"
    with pytest.raises(InvalidStatus, match="403"):
        await connect(url, origin="https://evil.example")
    with pytest.raises(InvalidStatus, match="403"):
        await connect(url, origin="http://localhost.evil.example")
    async with connect(url, origin="http://localhost:3000") as own:
        assert json.loads(await own.recv())["kind"] == "hello"


async def test_a_token_is_asked_for() -> None:
    pytest.importorskip("websockets", reason="websockets is not installed")
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    server = await asyncio.to_thread(WebSocketServer, "127.0.0.1", 0, STREAM, SECRET)
    try:
        url = f"ws://127.0.0.1:{server.port}"
        for wrong in ("", "/?token=", "/?token=0123456789abcdeX"):
            with pytest.raises(InvalidStatus, match="401"):
                await connect(url + wrong)
        async with connect(f"{url}/?token={SECRET}", origin="https://game.example") as known:
            assert json.loads(await known.recv())["source"] == "tiny-ann"
    finally:
        await asyncio.to_thread(server.close)
        await asyncio.to_thread(server.close)


def test_a_port_in_use_is_refused_in_one_sentence() -> None:
    pytest.importorskip("websockets", reason="websockets is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="take another port"):
            WebSocketServer("127.0.0.1", taken.getsockname()[1], STREAM)
    assert not any(t.name.startswith("ws:") for t in threading.enumerate())


def test_the_documented_message_is_the_message() -> None:
    readme = (Path(__file__).parents[2] / "edge" / "README.md").read_text(encoding="utf-8")
    shown = [json.loads(block.split("```")[0]) for block in readme.split("```json\n")[1:]]
    (documented,) = [message for message in shown if message["kind"] == "state"]
    sent = json.loads(state_message(eventful()))
    assert shape(documented) == shape(sent)


def shape(value: object) -> object:
    """Return keys all the way down; lists by their first item; names of angles and sides as one."""
    if isinstance(value, dict):
        if set(value) <= {"r", "l"} or any(k.startswith("knee") for k in value):
            return {"*": shape(next(iter(value.values())))} if value else {}
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


# LSL


def test_lsl_receivers_get_states_events_and_metadata() -> None:
    pylsl = pytest.importorskip("pylsl", reason="pylsl or liblsl is not installed")
    from talaria_edge.sinks.lsl import LslOutlet

    name = f"Talaria-{time.monotonic_ns()}"
    outlet = LslOutlet(name, STREAM)
    try:
        found = pylsl.resolve_byprop("name", name, timeout=5.0)
        marks = pylsl.resolve_byprop("name", f"{name}-events", timeout=5.0)
        if not found or not marks:
            pytest.skip("this machine's network does not let LSL streams be found")
        inlet, markers = pylsl.StreamInlet(found[0]), pylsl.StreamInlet(marks[0])
        inlet.open_stream(5.0)
        markers.open_stream(5.0)
        until(lambda: outlet._angles.have_consumers() and outlet._markers.have_consumers())
        now_s = time.monotonic()
        event = GaitEvent(now_s - 0.02, "l", EventKind.INITIAL_CONTACT)
        outlet.show(state(0, t_s=now_s, events=(event,), validity=Validity.DEGRADED))
        sample, t_s = inlet.pull_sample(5.0)
        assert sample == [pytest.approx(math.degrees(0.5)), pytest.approx(math.degrees(-0.25)), 0.5]
        assert t_s == pytest.approx(now_s, abs=1e-6)
        assert markers.pull_sample(5.0) == (["l:initial"], pytest.approx(now_s - 0.02, abs=1e-6))
        info = inlet.info(5.0)
        assert (info.type(), info.nominal_srate()) == ("MoCap", 100.0)
        assert info.source_id() == "talaria-tiny-ann"
        channel = info.desc().child("channels").child("channel")
        assert channel.child_value("label") == "knee_angle_r"
        assert channel.child_value("unit") == "degrees"
        assert info.desc().child("acquisition").child_value("manufacturer") == "Talaria"
        inlet.close_stream()
        markers.close_stream()
    finally:
        outlet.close()
        outlet.close()


def test_without_lsl_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pylsl", None)
    with pytest.raises(ConfigError, match=r"talaria\[lsl\]"):
        open_outputs(["lsl:"], STREAM)


# A whole session


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALARIA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("own_home")
def test_a_session_feeds_its_sinks_and_tells_what_became_of_them(
    tiny_model: Path, upright: Calibration, listener: socket.socket, tmp_path: Path
) -> None:
    sinks = (f"csv:{tmp_path / 'a.csv'}", f"osc:{listener.getsockname()[1]}")
    settings = Config(
        source=("sim:?seconds=4&pace=fast",),
        model=tiny_model,
        record_dir=tmp_path / "s",
        display=False,
        sinks=sinks,
    )
    states: list[GaitState] = []
    summary = run_session(settings, states.append, calibration=upright)
    assert len(states) > 300
    assert [o.name for o in summary.outputs] == [
        f"csv:{tmp_path / 'a.csv'}",
        f"osc:127.0.0.1:{listener.getsockname()[1]}",
    ]
    written = rows_of(tmp_path / "a.csv")
    assert len(written) + summary.outputs[0].dropped == len(states)
    assert [int(row["index"]) for row in written] == [s.index for s in states][-len(written) :]
    assert listener.recv(4096).startswith(b"#bundle\0")
    assert summary.folder is not None
    ended = tomllib.loads((summary.folder / "session.toml").read_text())["ended"]
    assert set(ended["sinks"]) == {o.name for o in summary.outputs}


@pytest.mark.usefixtures("own_home")
def test_a_wrong_sink_on_the_command_line_ends_in_one_sentence(tiny_model: Path) -> None:
    result = CliRunner().invoke(
        app, ["run", "--source", "sim:", "--model", str(tiny_model), "--sink", "ws:0.0.0.0:1"]
    )
    assert result.exit_code == 2
    assert "token" in result.stderr
    assert "Traceback" not in result.stderr
