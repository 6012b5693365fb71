"""The dashboard: it never holds the session up, lets nobody in who may not be, and shows what is true."""

from __future__ import annotations

import http.client
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from talaria_bridge.errors import ConfigError
from talaria_bridge.link import Chunk
from talaria_bridge.receiver import LinkReport
from talaria_bridge.recorder import SessionLogWriter
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk, simulate_walk
from talaria_bridge.virtual import schedule_frames
from talaria_edge.alignment import SlotStatus
from talaria_edge.app import run_session
from talaria_edge.calibration import Calibration, CalibrationCollector, CalibrationProgress
from talaria_edge.config import Config, load_config
from talaria_edge.dashboard import charts
from talaria_edge.dashboard.band import BAND_FILE, load_normal_band
from talaria_edge.dashboard.commands import Command, Wish, command_line, parse_command
from talaria_edge.dashboard.process import DashboardProcess
from talaria_edge.dashboard.server import STRIDES_SHOWN, Board
from talaria_edge.dashboard.sink import DashboardSink
from talaria_edge.findings import Finding, Grade, Symptom
from talaria_edge.gait import EventKind, GaitClass, GaitEvent, LegState, Phase, SubPhase
from talaria_edge.grading import CalibrationReport, SlotGrade
from talaria_edge.kinematics import SAGITTAL
from talaria_edge.pipeline import GaitState, Validity
from talaria_edge.sanitiser import SlotFlag
from talaria_edge.session import Session
from talaria_edge.strides import Stride

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TOKEN = "correct-horse-battery"
PATIENCE_S = 45.0
PAGE = Path(charts.__file__).parent / "page"


def gait_state(index: int, **changes: Any) -> GaitState:
    """Both legs swinging, at 100 Hz."""
    t_s = 100.0 + 0.01 * index
    swing = math.sin(2 * math.pi * 0.9 * t_s)
    angles = {n: 0.3 * swing * (1 if n.endswith("r") else -1) for n in SAGITTAL}
    leg = LegState(Phase.STANCE, SubPhase.MID_STANCE, (0.9 * t_s) % 1.0, 0.9)
    state = GaitState(
        index=index,
        t_s=t_s,
        angles_rad=angles,
        interval_rad=dict.fromkeys(SAGITTAL, 0.05),
        angle_validity=dict.fromkeys(SAGITTAL, Validity.GOOD),
        legs={"r": leg, "l": leg},
        events=(),
        gait_class=GaitClass.WALKING,
        class_confidence=0.97,
        strides=(),
        slot_status=(SlotStatus.MEASURED,) * 4,
        slot_loss=(0.0,) * 4,
        slot_flags=(SlotFlag.NONE,) * 4,
        validity=Validity.GOOD,
        reason="",
    )
    return replace(state, **changes)


def stride(number: int) -> Stride:
    end_s = 101.0 + number
    rom = {"knee_angle_r": 1.0, "hip_flexion_r": math.nan}
    args = (end_s - 1.1, end_s, 0.66, 0.55, 109.0, 0.6, 0.2, math.nan, math.nan)
    return Stride("r", *args, rom, GaitClass.WALKING)


def no_links() -> tuple[LinkReport, ...]:
    return ()


class PipeOfTests:
    """Stands in for the process: takes lines only while told to."""

    def __init__(self) -> None:
        self.alive = True
        self.open = True
        self.lines: list[dict[str, Any]] = []

    def ready(self) -> bool:
        return self.open

    def send(self, line: bytes) -> None:
        self.lines.append(json.loads(line))

    def commands(self) -> list[Command]:
        return []

    def close(self, last: bytes = b"") -> None:
        self.lines.append(json.loads(last))


def sink_of(process: Any, **more: Any) -> DashboardSink:
    return DashboardSink(process, "Talaria · anna", LEG_SLOTS, no_links, **more)


@pytest.fixture
def process() -> Iterator[DashboardProcess]:
    process = DashboardProcess("127.0.0.1", 0, None)
    yield process
    process.close()


@pytest.fixture
def guarded() -> Iterator[DashboardProcess]:
    process = DashboardProcess("127.0.0.1", 0, TOKEN)
    yield process
    process.close()


def listen(port: int, **headers: str) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/live", additional_headers=headers, max_size=None)


def get(port: int, path: str = "/", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


def until(true: Callable[[], Any], doing: Callable[[], object] = lambda: None) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := true():
            return found
        doing()
        time.sleep(0.02)
    raise AssertionError(f"it did not happen in {PATIENCE_S:g} s")


# What the page is told


def test_the_page_is_told_degrees_and_null_for_what_is_unknown() -> None:
    pipe = PipeOfTests()
    sink = sink_of(pipe)
    angles = {"knee_angle_r": math.pi / 3, "knee_angle_l": math.nan}
    interval = {"knee_angle_r": math.nan, "knee_angle_l": math.nan}
    sink.show(gait_state(0, angles_rad=angles, interval_rad=interval, strides=(stride(0),)))
    told = pipe.lines[-1]
    assert told["state"]["angles_deg"] == {"knee_angle_r": 60.0, "knee_angle_l": None}
    assert told["state"]["interval_deg"] == {"knee_angle_r": None, "knee_angle_l": None}
    assert told["strides"][0]["length_m"] is None
    assert told["strides"][0]["stride_s"] == pytest.approx(1.1)
    assert told["trace"][0][3 + SAGITTAL.index("knee_angle_r")] == 60.0


def test_a_hundred_states_a_second_make_twenty_messages_and_fifty_trace_points() -> None:
    pipe, now_s = PipeOfTests(), [0.0]
    sink = sink_of(pipe, clock=lambda: now_s[0])
    for i in range(300):
        now_s[0] = 0.01 * i
        sink.show(gait_state(i))
    assert 58 <= len(pipe.lines) <= 61
    rows = [row for line in pipe.lines for row in line.get("trace", ())]
    assert 148 <= len(rows) <= 151
    assert sink.dropped == 0


def test_no_event_and_no_stride_is_lost_while_the_pipe_is_full() -> None:
    pipe, now_s = PipeOfTests(), [0.0]
    sink = sink_of(pipe, clock=lambda: now_s[0])
    pipe.open = False
    for i in range(200):
        now_s[0] = 0.01 * i
        events = (GaitEvent(100.0 + i, "r", EventKind.INITIAL_CONTACT),) if i % 50 == 0 else ()
        sink.show(gait_state(i, events=events, strides=(stride(i),) if i % 50 == 0 else ()))
    assert sink.dropped > 30
    pipe.open = True
    now_s[0] += 1.0
    sink.poll()
    (line,) = pipe.lines
    assert [event["t_s"] for event in line["events"]] == [100.0, 150.0, 200.0, 250.0]
    assert len(line["strides"]) == 4
    assert line["state"]["t_s"] == pytest.approx(101.99)  # and of the states the newest
    assert line["dropped"] == sink.dropped


def test_silence_is_told_and_taken_back_with_the_next_state() -> None:
    pipe, now_s = PipeOfTests(), [0.0]
    sink = sink_of(pipe, clock=lambda: now_s[0])
    sink.show(gait_state(0))
    for step, act in enumerate((lambda: sink.silence(2.0), lambda: sink.show(gait_state(1)))):
        now_s[0] = 1.0 + step
        act()
        sink.poll()
    told = [line["silence_s"] for line in pipe.lines if "silence_s" in line]
    assert told == [2.0, None]


def test_a_calibration_is_told_with_its_grades() -> None:
    pipe, now_s = PipeOfTests(), [0.0]
    sink = sink_of(pipe, clock=lambda: now_s[0])
    sink.calibrating(CalibrationProgress("walking", 0.5, "Walk."))
    now_s[0] = 1.0
    slots = {"femur_r": SlotGrade(Grade.C, ("moved while standing", "few steps"))}
    why = Finding(Symptom.RESTLESS, ("femur_r",), Grade.C, "It moved.", "Stand still.")
    sink.calibrated(CalibrationReport(Grade.C, slots, (why,), None))
    sink.poll()
    assert pipe.lines[0]["calibration"] == {"stage": "walking", "fraction": 0.5, "hint": "Walk."}
    assert pipe.lines[1]["calibration"] is None
    assert pipe.lines[1]["grades"]["repeat"] == "Stand still."
    (line,) = pipe.lines[1]["grades"]["lines"]
    assert line == {"slot": "femur_r", "grade": "C", "reason": "moved while standing; few steps"}


def test_a_band_is_read_where_there_is_one_and_refused_where_it_is_none(tmp_path: Path) -> None:
    assert load_normal_band(tmp_path) == {}
    row = {"mean_deg": [1.0] * 101, "sd_deg": [2.0] * 101}
    (tmp_path / BAND_FILE).write_text(json.dumps({"knee_angle_r": row}))
    (tmp_path / "model.onnx").touch()
    assert load_normal_band(tmp_path / "model.onnx")["knee_angle_r"].sd_deg[100] == 2.0
    for broken in ('{"knee_angle_r": {"mean_deg": [1]}}', "[]", "{", '{"a": {"mean_deg": 1}}'):
        (tmp_path / BAND_FILE).write_text(broken)
        with pytest.raises(ConfigError, match="not a normal band"):
            load_normal_band(tmp_path)
    for bad in ([math.nan] * 101, [1.0] * 100):
        (tmp_path / BAND_FILE).write_text(json.dumps({"knee_angle_r": {**row, "sd_deg": bad}}))
        with pytest.raises(ConfigError, match="not a normal band"):
            load_normal_band(tmp_path)


# The process and its pipe


@pytest.mark.timeout(20)
def test_a_server_that_hangs_never_holds_the_session_up(process: DashboardProcess) -> None:
    sink = sink_of(process)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        now_s = time.monotonic()
        sink._clock = lambda: now_s  # every state is due
        for i in range(3000):
            now_s += 0.06
            sink.show(gait_state(i, strides=(stride(i),) if i % 500 == 0 else ()))
        assert sink.dropped > 1000
        assert all(rows.maxlen for rows in (sink._waiting.trace, sink._waiting.events))
    finally:
        os.kill(process.pid, signal.SIGCONT)
    with listen(process.port) as page:
        strides = []
        while len(strides) < 6:
            strides += json.loads(page.recv(timeout=10)).get("strides", [])
            now_s += 0.06
            sink.poll()
    assert [row["end_s"] for row in strides] == [101.0 + 500 * k for k in range(6)]


def test_a_page_that_does_not_read_slows_no_other(process: DashboardProcess) -> None:
    sink = sink_of(process)
    now_s = 0.0
    sink._clock = lambda: now_s
    upgrade = (
        f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{process.port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with socket.socket() as slow, listen(process.port) as quick:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", process.port))
        slow.sendall(upgrade.encode())
        assert slow.recv(12) == b"HTTP/1.1 101"
        quick.recv(timeout=10)
        for i in range(2000):
            now_s += 0.06
            until(process.ready)
            sink.show(gait_state(i))
            told = json.loads(quick.recv(timeout=10))
            assert told["state"]["t_s"] == pytest.approx(100.0 + 0.01 * i)
    assert sink.dropped == 0


async def test_a_page_too_far_behind_starts_over_from_the_present() -> None:
    board = Board()
    with board.reader() as reader:
        assert json.loads(await reader.next())["kind"] == "hello"
        for i in range(100):
            line = {"kind": "news", "state": {"t_s": i}, "strides": [i], "trace": [[i]]}
            board.tell(json.dumps(line))
        first = json.loads(await reader.next())
    assert first["kind"] == "hello"
    assert first["state"] == {"t_s": 99}
    assert first["strides"] == list(range(100 - STRIDES_SHOWN, 100))
    assert "trace" not in first


def test_wishes_of_the_page_arrive_and_nothing_else_does(process: DashboardProcess) -> None:
    sink = sink_of(process)
    with listen(process.port) as page:
        page.recv(timeout=10)
        for text in ("", "[]", '{"wish": "rm"}', '{"wish": "mark", "note": 3}', "[" * 3000):
            page.send(text)
        page.send(json.dumps({"wish": "stop"}))
        page.send(json.dumps({"wish": "mark", "note": " left\n turn " + "x" * 500}))
        got: list[Command] = []
        until(lambda: len(got) >= 2, lambda: got.extend(sink.poll()))
    assert got[0] == Command(Wish.STOP)
    assert got[1].wish is Wish.MARK
    assert got[1].note.startswith("left turn x")
    assert len(got[1].note) == 200


@pytest.mark.parametrize("wish", list(Wish))
def test_a_command_survives_its_line(wish: Wish) -> None:
    assert parse_command(command_line(Command(wish, "größer"))) == Command(wish, "größer")


def test_a_server_that_dies_is_said_once_and_the_session_goes_on(
    process: DashboardProcess, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("talaria_edge.dashboard.sink.log.propagate", True)
    sink = sink_of(process)
    os.kill(process.pid, signal.SIGKILL)
    process._child.wait()
    now_s = time.monotonic()
    sink._clock = lambda: now_s
    for i in range(50):
        now_s += 0.06
        sink.show(gait_state(i))
        assert sink.poll() == []
    sink.close()
    assert caplog.text.count("the session goes on without its page") == 1


def test_the_server_ends_with_the_session(process: DashboardProcess) -> None:
    with listen(process.port) as page:
        page.recv(timeout=10)
        sink_of(process).close()
        assert any(json.loads(line).get("ended") for line in page)
    assert process._child.returncode == 0
    process.close()


def test_a_port_in_use_is_one_sentence() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigError, match="choose another with --dashboard-host"),
    ):
        DashboardProcess("127.0.0.1", taken.getsockname()[1], None)


def test_missing_packages_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    known = charts.find_spec
    monkeypatch.setattr(charts, "find_spec", lambda n: None if n == "nicegui" else known(n))
    with pytest.raises(ConfigError, match=r"because nicegui is not installed: pip install"):
        DashboardProcess("127.0.0.1", 0, None)


def test_neither_process_loads_what_only_the_other_needs() -> None:
    heavy = "{'numpy', 'scipy', 'onnxruntime', 'ahrs', 'pydantic', 'nicegui', 'mcap', 'rich'}"
    light = "{'starlette', 'uvicorn', 'nicegui', 'websockets'}"
    for module, unwanted in (("dashboard.server", heavy), ("session", light)):
        code = f"import sys, talaria_edge.{module}; print(sorted({unwanted} & set(sys.modules)))"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "[]", done.stderr


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for file in PAGE.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in text.replace("// ", "").replace('"}://${', ""), file
        assert file.suffix in {".html", ".css", ".js", ".svg"}


# Who gets in


def test_page_and_charts_are_served(process: DashboardProcess) -> None:
    for path in ("/", "/page/page.js", "/page/page.css", "/charts/index.js"):
        response = get(process.port, path)
        assert response.status == 200, path
        assert "default-src 'self'" in response.headers["content-security-policy"]
    assert get(process.port, "/page/..%2fserver.py").status == 404


def test_without_the_token_nothing_is_served(guarded: DashboardProcess) -> None:
    for path in ("/", "/page/page.js", "/charts/index.js", "/?token=", f"/?token={TOKEN}x"):
        assert get(guarded.port, path).status == 401, path
    assert get(guarded.port, "/", Cookie="talaria_token=wrong").status == 401
    assert get(guarded.port, "/", Authorization="Bearer größer").status == 401
    for headers in ({}, {"Cookie": "talaria_token=" + TOKEN[:-1]}):
        with pytest.raises(InvalidStatus, match="403"):
            listen(guarded.port, **headers)


def test_the_token_is_taken_out_of_the_address_and_kept_in_a_cookie(
    guarded: DashboardProcess,
) -> None:
    response = get(guarded.port, f"/?token={TOKEN}")
    assert (response.status, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    kept = cookie.partition(";")[0]
    assert get(guarded.port, "/", Cookie=kept).status == 200
    assert get(guarded.port, "/", Authorization=f"Bearer {TOKEN}").status == 200
    with listen(guarded.port, Cookie=kept) as page:
        assert json.loads(page.recv(timeout=10))["kind"] == "hello"


def test_a_foreign_page_or_name_gets_nowhere(process: DashboardProcess) -> None:
    assert get(process.port, "/", Host="evil.example").status == 403
    assert get(process.port, "/", Host="localhost:80").status == 200
    assert get(process.port, "/", Origin="http://evil.example").status == 403
    with pytest.raises(InvalidStatus, match="403"):
        listen(process.port, Origin="http://evil.example")
    with listen(process.port, Origin=f"http://127.0.0.1:{process.port}") as page:
        assert page.recv(timeout=10)


def test_beyond_this_machine_a_token_is_made_up() -> None:
    def dashboard(**fields: Any) -> Any:
        return load_config(None, source="sim:", dashboard=fields).dashboard

    assert dashboard(on=True).token is None
    assert dashboard(host="::1").token is None
    first, second = (dashboard(host="0.0.0.0").token for _ in range(2))
    assert len(first) >= 20
    assert first != second
    assert dashboard(host="0.0.0.0", token=TOKEN).token == TOKEN
    assert dashboard(host="192.168.1.7", port=80, token=TOKEN).url == (
        f"http://192.168.1.7:80/?token={TOKEN}"
    )
    with pytest.raises(ConfigError) as refusal:
        dashboard(token="sesame")
    assert "sesame" not in str(refusal.value)
    with pytest.raises(ConfigError, match=r"dashboard\.prot"):
        load_config(None, source="sim:", dashboard={"prot": 1})


# What a session does with a wish


class Desk:
    """A dashboard that wishes what it is told to and remembers what it was told."""

    def __init__(self) -> None:
        self.wishes: list[Command] = []
        self.notes: list[str] = []
        self.folders: list[str | None] = []
        self.shown = 0

    def poll(self) -> list[Command]:
        wishes, self.wishes = self.wishes, []
        return wishes

    def show(self, state: GaitState) -> None:
        self.shown += 1

    def note(self, text: str) -> None:
        self.notes.append(text)

    def recording(self, folder: str | None, *, possible: bool) -> None:
        self.folders.append(folder)

    def calibrating(self, progress: CalibrationProgress) -> None: ...
    def calibrated(self, *_: Any) -> None: ...
    def silence(self, seconds: float) -> None: ...
    def close(self) -> None: ...


@pytest.fixture(scope="module")
def calibration(walk: SimulatedWalk) -> Calibration:
    return calibration_of(walk)


def calibration_of(walk: SimulatedWalk) -> Calibration:
    collector = CalibrationCollector(walk.rate_hz, walk.slots)
    found = (collector.update(*row) for row in zip(walk.acc_ms2, walk.gyr_rads, strict=True))
    return next(calibration for calibration in found if calibration is not None)


def test_a_page_records_marks_and_calibrates_anew(
    walk: SimulatedWalk,
    calibration: Calibration,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    monkeypatch.setattr(Session, "_open_dashboard", lambda _: desk)
    fields = {"source": "sim:", "model": tiny_model, "record_dir": tmp_path, "display": False}
    session = Session(Config.model_validate(fields), calibration=calibration)
    session.start(())
    wishes = {
        2.0: Command(Wish.MARK, "turn, left"),
        3.0: Command(Wish.STOP),
        3.5: Command(Wish.MARK),
        4.0: Command(Wish.START),
        6.0: Command(Wish.RECALIBRATE),
    }
    frames = schedule_frames(LEG_SLOTS, walk.t_s, walk.acc_ms2, walk.gyr_rads, walk.rate_hz)
    for t_s, data in frames:
        session.take(Chunk(t_s, data))
        for due in [due for due in wishes if due <= t_s - frames[0][0]]:
            desk.wishes.append(wishes.pop(due))
        session.poll()
    session.close()
    first, second, third = (Path(folder) for folder in desk.folders if folder)
    assert desk.folders == [str(first), None, str(second), None, str(third)]
    assert desk.notes == ["Marked.", "Not marked: no angles are being recorded."]
    assert (first / "marks.csv").read_text().splitlines()[0] == "t_s,note"
    mark_s, note = (first / "marks.csv").read_text().splitlines()[1].split(",", 1)
    assert float(mark_s) == pytest.approx(2.0, abs=0.1)
    assert note == '"turn, left"'
    told = [tomllib.loads((f / "session.toml").read_text()) for f in (first, second, third)]
    assert all("ended" in about for about in told)
    assert [about.get("continues") for about in told] == [None, first.name, second.name]
    assert "calibration" in told[1]
    assert "calibration" not in told[2] or told[2]["calibrated_live"]
    sizes = [len((f / "events.csv").read_text()) for f in (first, second)]
    assert all(size > len("t_s,side,kind\n") for size in sizes[1:])


def test_a_recording_that_cannot_be_begun_is_told_to_who_asked(
    calibration: Calibration, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, out = Desk(), tmp_path / "out"
    monkeypatch.setattr(Session, "_open_dashboard", lambda _: desk)
    fields = {"source": "sim:", "model": tiny_model, "record_dir": out, "display": False}
    session = Session(Config.model_validate(fields), calibration=calibration)
    session.start(())
    session.stop_recording()
    shutil.rmtree(out)
    out.touch()  # a file where the folder should be
    desk.wishes.append(Command(Wish.START))
    session.poll()
    session.close()
    assert desk.notes == [
        f"No session can be recorded in {out} (File exists): choose another "
        "folder with --record, or give --no-record."
    ]


def test_finish_ends_a_session_whose_sensors_are_silent(
    walk: SimulatedWalk,
    calibration: Calibration,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = schedule_frames(LEG_SLOTS, walk.t_s, walk.acc_ms2, walk.gyr_rads, walk.rate_hz)
    with SessionLogWriter(tmp_path / "walk.mcap") as log:
        for t_s, data in frames[:20]:
            log.write(Chunk(t_s, data))
        log.write(Chunk(frames[0][0] + 3600.0, frames[-1][1]))  # an hour later
    desk = Desk()
    monkeypatch.setattr(Session, "_open_dashboard", lambda _: desk)
    monkeypatch.setattr(Desk, "silence", lambda self, _: self.wishes.append(Command(Wish.FINISH)))
    source = f"replay:{tmp_path / 'walk.mcap'}?pace=real"
    fields = {"source": source, "model": tiny_model, "record_dir": False, "display": False}
    summary = run_session(Config.model_validate(fields), calibration=calibration)
    assert summary.states == desk.shown > 0


# In a browser


class Browser:
    """A headless Chromium's page, spoken to through its DevTools."""

    def __init__(self, line: ClientConnection) -> None:
        self._line = line
        self._number = 0
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> Any:
        self._number += 1
        self._line.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._line.recv(timeout=20))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            if answer["method"] in {"Runtime.exceptionThrown", "Log.entryAdded"}:
                self.complaints.append(json.dumps(answer["params"]))

    def run(self, script: str) -> Any:
        result = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector('{selector}')?.textContent ?? ''"))

    def open(self, url: str) -> None:
        self.ask("Page.navigate", url=url)


def page_of(folder: Path) -> str:
    """Wait for Chromium to tell where its page is spoken to."""
    told = folder / "DevToolsActivePort"
    port = until(lambda: told.exists() and told.read_text().split())[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as response:
        page = next(page for page in json.load(response) if page["type"] == "page")
    return str(page["webSocketDebuggerUrl"])


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt install chromium")
    folder = tmp_path / "chromium"
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
    process = subprocess.Popen(
        [CHROMIUM, *options, f"--user-data-dir={folder}", "--window-size=1280,800"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with connect(page_of(folder), max_size=None) as line:
            browser = Browser(line)
            yield browser
            assert browser.complaints == []
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.timeout(150)  # a busy machine takes its time to simulate, and the walk is in real time
def test_a_browser_sees_a_simulated_walk_and_stops_it(
    browser: Browser, tiny_model: Path, tmp_path: Path
) -> None:
    calibration = calibration_of(simulate_walk(1, seconds=20.0))
    port = free_port()
    fields = {
        "source": "sim:?seed=1&seconds=20&pace=real",
        "model": tiny_model,
        "record_dir": tmp_path / "out",
        "display": False,
        "dashboard": {"on": True, "port": port},
    }
    summaries = []
    session = threading.Thread(
        target=lambda: summaries.append(
            run_session(Config.model_validate(fields), calibration=calibration)
        )
    )
    session.start()
    try:
        until(lambda: answers(port))
        browser.open(f"http://127.0.0.1:{port}/")
        knee = "[data-angle=knee_angle_r]"
        seen = set()
        until(lambda: seen.add(browser.text(knee)) or len(seen - {"no value", ""}) > 3)
        until(lambda: browser.text("#stride-rows .r") == "right")
        assert browser.text(".slot b") == "Right thigh"
        assert browser.run("document.querySelectorAll('.plot canvas').length") == 3
        browser.run("document.getElementById('mark').click()")
        until(lambda: browser.text("#toast") == "Marked.")
        browser.run("document.getElementById('record').click()")
        until(lambda: browser.text("#record") == "Start")
        browser.run("window.confirm = () => true; document.getElementById('finish').click()")
        until(lambda: browser.text("#banner") == "The session has ended.")
    finally:
        session.join(30)
    (folder,) = (tmp_path / "out").iterdir()
    assert (folder / "marks.csv").exists()
    assert "ended" in tomllib.loads((folder / "session.toml").read_text())
    assert summaries[0].states > 100


def test_a_browser_greys_what_is_not_believed_and_says_why(
    browser: Browser, process: DashboardProcess
) -> None:
    sink = sink_of(process)
    browser.open(f"http://127.0.0.1:{process.port}/")
    count = [0]

    def feed(**changes: Any) -> Callable[[], None]:
        def show() -> None:
            for _ in range(4):
                count[0] += 1
                sink.show(gait_state(count[0], **changes))
            time.sleep(0.03)

        return show

    knee, belief = "document.querySelector('[data-angle=knee_angle_l]')?.className", "#belief"
    until(lambda: browser.run(knee) == "value l good" and browser.text(belief) == "good", feed())
    lost = dict.fromkeys(SAGITTAL, Validity.GOOD) | {"knee_angle_l": Validity.INVALID}
    gone = feed(
        angles_rad=dict.fromkeys(SAGITTAL, 0.1) | {"knee_angle_l": math.nan},
        angle_validity=lost,
        slot_status=(SlotStatus.MEASURED,) * 3 + (SlotStatus.GONE,),
        validity=Validity.DEGRADED,
        reason="no data from calcn_l for 2.00 s",
    )
    until(lambda: browser.run(knee) == "value l invalid", gone)
    assert browser.text("[data-angle=knee_angle_l]") == "no value"
    assert browser.text("[data-angle=knee_angle_r]").startswith("5.7°")
    assert browser.text(belief) == "degraded: no data from left foot for 2.00 s"
    assert browser.run("document.querySelectorAll('.slot.gone').length") == 1
    assert browser.run("document.querySelectorAll('#skeleton .l .bone.unsure').length") == 2
    assert browser.run("document.querySelectorAll('#skeleton .r .bone.unsure').length") == 0
    sink.calibrating(CalibrationProgress("standing", 0.4, "Stand still."))
    until(lambda: browser.text("#hint") == "Stand still.", sink.poll)
    assert browser.run("document.getElementById('wizard').hidden") is False
    assert browser.run(knee) == "value l invalid"
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: browser.text("#banner") == "The connection to the device is lost.")
    browser.complaints.clear()  # of the connection that we cut
