"""What a session leaves behind is whole at any moment, and what it shows is honest."""

from __future__ import annotations

import io
import math
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from talaria_bridge.errors import RecordingError
from talaria_bridge.link import Chunk
from talaria_bridge.receiver import LinkReport
from talaria_bridge.recorder import read_session_log
from talaria_edge.alignment import SlotStatus
from talaria_edge.calibration import CalibrationProgress
from talaria_edge.gait import EventKind, GaitClass, GaitEvent, LegState, Phase, SubPhase
from talaria_edge.pipeline import GaitState, Validity
from talaria_edge.sanitiser import SlotFlag
from talaria_edge.sinks.opensim import MotWriter
from talaria_edge.sinks.recording import SessionRecording
from talaria_edge.sinks.terminal import LiveStats, TerminalView, angle_bar

NAMES = ("knee_angle_r", "knee_angle_l")
NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def state(t_s: float, angle_rad: float = 0.5, **more: object) -> GaitState:
    fields: dict[str, object] = {
        "index": 0,
        "t_s": t_s,
        "angles_rad": {"knee_angle_r": angle_rad, "knee_angle_l": -angle_rad},
        "interval_rad": {"knee_angle_r": 0.1, "knee_angle_l": math.nan},
        "angle_validity": dict.fromkeys(NAMES, Validity.GOOD),
        "legs": {
            "r": LegState(Phase.STANCE, SubPhase.MID_STANCE, 0.25, 0.9),
            "l": LegState(Phase.SWING, SubPhase.SWING, 0.75, 0.9),
        },
        "gait_class": GaitClass.WALKING,
        "class_confidence": 0.8,
        "strides": (),
        "events": (),
        "slot_status": (SlotStatus.MEASURED, SlotStatus.GONE),
        "slot_loss": (0.0, 0.25),
        "slot_flags": (SlotFlag.NONE, SlotFlag.STUCK),
        "validity": Validity.GOOD,
        "reason": "",
    }
    return GaitState(**(fields | more))


def read_mot(path: Path) -> tuple[int, list[list[float]]]:
    lines = path.read_text().splitlines()
    end = lines.index("endheader")
    header = dict(line.split("=") for line in lines[1:end])
    assert lines[end + 1].split("\t") == ["time", *NAMES]
    assert header["inDegrees"] == "yes"
    assert int(header["nColumns"]) == 3
    rows = [[float(cell) for cell in line.split("\t")] for line in lines[end + 2 :]]
    assert all(len(row) == 3 for row in rows)
    return int(header["nRows"]), rows


def test_a_motion_file_is_in_degrees(tmp_path: Path) -> None:
    with MotWriter(tmp_path / "a.mot", NAMES) as mot:
        mot.write(0.0, {"knee_angle_r": math.pi / 3, "knee_angle_l": -0.1})
    count, rows = read_mot(tmp_path / "a.mot")
    assert count == 1
    assert rows == [[0.0, 60.0, pytest.approx(math.degrees(-0.1), abs=1e-6)]]


def test_a_motion_file_is_whole_at_every_moment(tmp_path: Path) -> None:
    mot = MotWriter(tmp_path / "a.mot", NAMES, flush_s=0.05)
    for k in range(100):
        mot.write(k * 0.01, dict.fromkeys(NAMES, 0.1))
        count, rows = read_mot(tmp_path / "a.mot")
        assert count == len(rows)
        assert count >= k - 5
    mot.close()
    mot.close()
    assert read_mot(tmp_path / "a.mot")[0] == 100


def test_a_killed_writer_leaves_a_whole_motion_file(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from talaria_edge.sinks.opensim import MotWriter
mot = MotWriter(Path({str(tmp_path / "a.mot")!r}), {NAMES!r})
for k in range(1234):
    mot.write(k * 0.01, dict.fromkeys({NAMES!r}, 0.1))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    count, rows = read_mot(tmp_path / "a.mot")
    assert count == len(rows)
    assert 1134 <= count < 1234


def test_an_invalid_tick_is_a_gap_and_never_an_old_number(tmp_path: Path) -> None:
    with MotWriter(tmp_path / "a.mot", NAMES) as mot:
        mot.write(0.0, dict.fromkeys(NAMES, 0.3))
        mot.write(0.01, dict.fromkeys(NAMES, math.nan))
    _, rows = read_mot(tmp_path / "a.mot")
    assert math.isnan(rows[1][1])


def test_a_session_folder_holds_bytes_angles_and_events(tmp_path: Path) -> None:
    session = SessionRecording(tmp_path / "out", "anna", NAMES, {"source": "sim:"}, now=NOON)
    session.write_raw(Chunk(5.0, b"\x01\x02\x00"))
    session.show(state(100.0))
    event = GaitEvent(100.008, "l", EventKind.INITIAL_CONTACT)
    session.show(state(100.01, events=(event,)))
    session.note({"ended": {"ticks": 2}})
    session.close()
    session.close()
    assert session.folder == tmp_path / "out" / "20261121-120000-anna"
    assert list(read_session_log(session.folder / "session.mcap")) == [Chunk(5.0, b"\x01\x02\x00")]
    assert [row[0] for row in read_mot(session.folder / "angles.mot")[1]] == [0.0, 0.01]
    assert (session.folder / "events.csv").read_text() == "t_s,side,kind\n0.0080,l,initial\n"
    about = tomllib.loads((session.folder / "session.toml").read_text())
    assert about["t0_s"] == 100.0
    assert about["source"] == "sim:"
    assert about["ended"]["ticks"] == 2


def test_sessions_of_the_same_second_do_not_share_a_folder(tmp_path: Path) -> None:
    first = SessionRecording(tmp_path, "anna", NAMES, {}, now=NOON)
    second = SessionRecording(tmp_path, "anna", NAMES, {}, now=NOON)
    assert first.folder != second.folder
    first.close()
    second.close()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="--no-record"):
        SessionRecording(tmp_path / "file", "anna", NAMES, {})


@pytest.fixture
def screen() -> Console:
    return Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None)


def shown(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def link_report(**more: object) -> LinkReport:
    fields: dict[str, object] = {
        "name": "ble:talaria/F1",
        "family": "talaria",
        "connected": True,
        "reconnects": 2,
        "bytes_in": 1000,
        "messages": 30,
        "faults": {"crc_errors": 3},
        "duplicates": 0,
        "restarts": 1,
        "lost": {"femur_r": 7},
        "longest_burst": {"femur_r": 4},
        "battery": 0.81,
        "signal_dbm": -60.0,
        "jitter_s": 0.004,
        "drift": 2e-5,
        "refusals": (),
    }
    return LinkReport(**(fields | more))


def view(screen: Console) -> TerminalView:
    return TerminalView(
        "T", ("femur_r", "calcn_r"), lambda: LiveStats((link_report(),), 0.4, 1.2), screen
    )


def test_the_view_shows_angles_phases_losses_and_times(screen: Console) -> None:
    terminal = view(screen)
    terminal.show(state(0.0, math.radians(30)))
    terminal.close()
    text = shown(screen)
    for part in (
        "30.0° ± 5.7",
        "-30.0°",
        "right mid stance  25%",
        "left swing  75%",
        "walking",
        "calcn_r gone (25% lost, stuck)",
    ):
        assert part in text
    assert "p50 0.40 ms, p99 1.20 ms" in text
    words = " ".join(text.split())
    assert "ble:talaria/F1: jitter 4 ms, 7 lost (at most 4 in a row), 3 damaged" in words
    assert "2 reconnections, 1 restarts, battery 81%, signal -60 dBm" in words


def test_the_view_shows_no_number_it_does_not_believe(screen: Console) -> None:
    terminal = view(screen)
    why = "no data from calcn_r for 0.20 s"
    terminal.show(state(0.0, math.nan, validity=Validity.INVALID, reason=why))
    terminal.close()
    assert why in shown(screen)
    assert "nan" not in shown(screen)


def test_the_view_draws_at_most_five_times_a_second(screen: Console) -> None:
    asked = []

    def stats() -> LiveStats:
        asked.append(1)
        return LiveStats((), 0.0, 0.0)

    terminal = TerminalView("T", ("femur_r", "calcn_r"), stats, screen)
    for k in range(50):
        terminal.show(state(k * 0.01))
    terminal.close()
    assert 2 <= len(asked) <= 10


def test_the_view_tells_the_wearer_what_to_do(screen: Console) -> None:
    terminal = view(screen)
    terminal.calibrating(CalibrationProgress("standing", 0.5, "Stand still."))
    terminal.silence(3.0)
    terminal.close()
    assert "Stand still." in shown(screen)
    assert "No data from any sensor for 3.0 s" in shown(screen)


@pytest.mark.parametrize("degrees", [-1e9, -40.0, -3.0, 0.0, 55.0, 100.0, 1e9, math.nan])
def test_a_bar_always_fits(degrees: float) -> None:
    assert len(angle_bar(degrees)) == len(angle_bar(0.0))


def test_a_bar_grows_with_its_angle() -> None:
    lengths = [angle_bar(d).count("█") for d in (0.0, 20.0, 60.0, 100.0)]
    assert lengths == sorted(set(lengths))
    assert angle_bar(-30.0).index("█") < angle_bar(30.0).index("█")
