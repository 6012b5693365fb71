"""The command as a process: it is stopped, it is played to, and what it recorded is complete."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
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
