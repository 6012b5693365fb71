"""The command as a process: it is stopped, it is played to, and what it recorded is complete."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from talaria_bridge.link import Chunk
from talaria_bridge.recorder import SessionLogWriter, read_session_log
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk
from talaria_bridge.virtual import schedule_frames
from talaria_edge.calibration import Calibration
from talaria_edge.profile import UserProfile, save_profile

TALARIA = (sys.executable, "-m", "talaria_edge")


@pytest.fixture
def environment(tmp_path: Path, upright: Calibration) -> dict[str, str]:
    home = tmp_path / "home"
    save_profile(UserProfile("anna", upright), home)
    return os.environ | {"TALARIA_HOME": str(home), "COLUMNS": "200"}


@pytest.fixture
def log(tmp_path: Path, walk: SimulatedWalk) -> Path:
    frames = schedule_frames(LEG_SLOTS, walk.t_s, walk.acc_ms2, walk.gyr_rads, walk.rate_hz)
    with SessionLogWriter(tmp_path / "walk.mcap") as writer:
        for t_s, data in frames:
            writer.write(Chunk(t_s, data))
    return tmp_path / "walk.mcap"


def recorded_bytes(folder: Path) -> int:
    log = folder / "session.mcap"
    return log.stat().st_size if log.exists() else 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_session_is_complete(
    tiny_model: Path, environment: dict[str, str], log: Path, tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "out"
    command = (*TALARIA, "run", "--source", f"replay:{log}?pace=real", "--model", str(tiny_model))
    process = subprocess.Popen(
        [*command, "--user", "anna", "--record", str(out), "--quiet"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        folders = list(out.glob("*")) if out.exists() else []
        if folders and recorded_bytes(folders[0]) > 10_000:
            break
        time.sleep(0.05)
    process.send_signal(how)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert "gait states" in stdout
    (folder,) = out.iterdir()
    ended = tomllib.loads((folder / "session.toml").read_text())["ended"]
    reader = read_session_log(folder / "session.mcap")
    chunks = [item for item in reader if isinstance(item, Chunk)]
    (link,) = ended["links"].values()
    assert sum(len(chunk.data) for chunk in chunks) == link["bytes_in"]
    assert (reader.damaged, reader.torn_bytes) == (0, 0)
    head, _, body = (folder / "angles.mot").read_text().partition("endheader\n")
    rows = body.splitlines()[1:]
    assert len(rows) == ended["states"] > 0
    assert f"nRows={len(rows):012}" in head


def test_a_recording_is_played_as_a_device_and_run_live(
    tiny_model: Path, environment: dict[str, str], log: Path
) -> None:
    with subprocess.Popen(
        [*TALARIA, "play", str(log)],
        env=environment | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as player:
        assert player.stdout is not None
        port = player.stdout.readline().strip()
        run = (*TALARIA, "run", "--source", f"serial:{port}", "--model", str(tiny_model))
        done = subprocess.run(
            [*run, "--user", "anna", "--no-record", "--quiet", "--seconds", "3"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=40,
        )
        player.send_signal(signal.SIGINT)
        player.wait(timeout=20)
    assert done.returncode == 0, done.stderr
    assert "samples, 0 lost" in done.stdout


def test_the_version_is_printed() -> None:
    done = subprocess.run([*TALARIA, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("talaria ")


def healthz(port: int) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as err:
        with err:
            return err.code, json.load(err)
    except OSError:
        return 0, {}


def told(manager: socket.socket) -> list[str]:
    words = []
    while True:
        try:
            words.append(manager.recv(4096).decode())
        except BlockingIOError:
            return words


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.setblocking(False)
        yield line


def test_a_service_tells_its_manager_answers_who_asks_and_stops_when_told(
    tiny_model: Path,
    environment: dict[str, str],
    log: Path,
    tmp_path: Path,
    manager: socket.socket,
) -> None:
    port = free_port()
    device = tmp_path / "device.toml"
    device.write_text(
        f'source = "replay:{log}?pace=real"\nmodel = "{tiny_model}"\nuser = "anna"\n'
        f'record_dir = "out"\ndisplay = false\nmetrics = {port}\n'
    )
    process = subprocess.Popen(
        [*TALARIA, "run", "--config", str(device)],
        env=environment
        | {
            "NOTIFY_SOCKET": str(manager.getsockname()),
            "WATCHDOG_USEC": "2000000",
            "JOURNAL_STREAM": "8:1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: healthz(port)[0] == 200)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        page = answer.read().decode()
    assert 'talaria_samples_total{slot="femur_r"}' in page
    assert "talaria_recording 1" in page
    time.sleep(0.6)  # a quarter of the watchdog's limit, and a look
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    words = told(manager)
    assert words[0] == "READY=1"
    assert words.count("WATCHDOG=1") >= 2
    assert words[-1].startswith("STOPPING=1")
    assert "<6>Recording in " in stderr
    (folder,) = (tmp_path / "out").iterdir()
    assert read_session_log(folder / "session.mcap").damaged == 0
    assert "[ended]" in (folder / "session.toml").read_text()


def test_a_service_that_waits_for_its_sensors_lives_and_stops_without_complaint(
    tiny_model: Path, environment: dict[str, str], tmp_path: Path, manager: socket.socket
) -> None:
    port = free_port()
    master, slave = pty.openpty()  # a sensor that is plugged in and says nothing
    try:
        out = tmp_path / "out"
        run = (*TALARIA, "run", "--source", f"serial:{os.ttyname(slave)}", "--record", str(out))
        with subprocess.Popen(
            [*run, "--model", str(tiny_model), "--quiet", "--metrics", f"{port}"],
            env=environment
            | {"NOTIFY_SOCKET": str(manager.getsockname()), "WATCHDOG_USEC": "2000000"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            until(lambda: "WATCHDOG=1" in told(manager))
            until(lambda: "WATCHDOG=1" in told(manager))  # and again
            assert healthz(port)[0] == 503
            assert healthz(port)[1]["life"] == "waiting"
            process.send_signal(signal.SIGTERM)
            _, stderr = process.communicate(timeout=30)
        assert process.returncode == 0, stderr
        assert "Traceback" not in stderr
        assert list(out.iterdir()) == []  # nothing came, nothing is kept
    finally:
        os.close(master)
        os.close(slave)
