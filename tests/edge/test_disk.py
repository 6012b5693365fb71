"""The disk never fills up, and nothing is removed that was not offered."""

from __future__ import annotations

import logging
import shutil
import tomllib
from collections import namedtuple
from pathlib import Path

import pytest

from talaria_bridge.errors import RecordingError
from talaria_bridge.link import Chunk
from talaria_bridge.recorder import read_session_log
from talaria_edge import disk
from talaria_edge.app import record_session, run_session
from talaria_edge.calibration import Calibration
from talaria_edge.config import Config, DiskConfig
from talaria_edge.disk import calibrated_from, free_bytes, make_room, remove_oldest, sessions_in
from talaria_edge.profile import UserProfile, save_profile
from talaria_edge.sinks.recording import SessionRecording

Usage = namedtuple("Usage", "total used free")
KB = 1e-6  # in gigabytes


def session(out: Path, day: int, *, ended: bool = True, kilobytes: int = 100) -> Path:
    folder = out / f"202611{day:02}-120000-anna"
    folder.mkdir(parents=True)
    (folder / "session.mcap").write_bytes(bytes(1000 * kilobytes))
    end = "[ended]\nticks = 1\n" if ended else ""
    (folder / "session.toml").write_text(f'started = "2026-11-{day:02}T12:00:00+00:00"\n{end}')
    return folder


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALARIA_HOME", str(tmp_path / "home"))


@pytest.fixture
def nearly_full(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    free = [10_000_000_000]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free[0]))
    return free


def test_the_oldest_finished_sessions_make_room(tmp_path: Path) -> None:
    first, second, third = (session(tmp_path, day) for day in (3, 1, 2))
    removed = remove_oldest(tmp_path, 150 * KB)
    assert removed == [second, third]
    assert list(tmp_path.iterdir()) == [first]


def test_nothing_is_removed_while_it_fits_or_where_nobody_asked(tmp_path: Path) -> None:
    kept = {session(tmp_path, day) for day in (1, 2)}
    assert remove_oldest(tmp_path, 300 * KB) == []
    make_room(tmp_path, DiskConfig(keep_free_gb=0))
    assert set(tmp_path.iterdir()) == kept


def test_only_finished_sessions_of_ours_are_ever_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("talaria"), "propagate", True)
    elsewhere = session(tmp_path / "elsewhere", 1)
    out = tmp_path / "sessions"
    cut_off = session(out, 1, ended=False)
    spared = session(out, 2)
    (out / "notes").mkdir()
    (out / "notes" / "thesis.txt").write_text("precious" * 1000)
    (out / "loose.mcap").write_bytes(bytes(100_000))
    (out / "linked").symlink_to(elsewhere)
    broken = session(out, 3)
    (broken / "session.toml").write_text("= not toml")
    gone = session(out, 4)
    assert out / "linked" not in [one.folder for one in sessions_in(out)]
    assert remove_oldest(out, 1 * KB, spare=[spared]) == [gone]
    assert all(path.exists() for path in (cut_off, spared, broken, elsewhere / "session.mcap"))
    assert (out / "notes" / "thesis.txt").exists()
    assert "none of them may be removed" in caplog.text


def test_recordings_that_calibrations_came_from_are_spared(
    tmp_path: Path, upright: Calibration
) -> None:
    out = tmp_path / "sessions"
    calibration, other = session(out, 1), session(out, 2)
    save_profile(UserProfile("anna", upright, session=str(calibration)))
    assert calibrated_from() == [calibration]
    make_room(out, DiskConfig(keep_free_gb=0, max_gb=150 * KB))
    assert calibration.exists()
    assert not other.exists()


def test_what_exports_added_counts_and_goes_too(tmp_path: Path) -> None:
    old = session(tmp_path, 1)
    (old / "csv").mkdir()
    (old / "csv" / "angles.csv").write_bytes(bytes(500_000))
    session(tmp_path, 2)
    assert sessions_in(tmp_path)[0].size_bytes > 600_000
    assert remove_oldest(tmp_path, 500 * KB) == [old]


def test_a_recording_is_not_begun_on_a_full_disk(tmp_path: Path, nearly_full: list[int]) -> None:
    make_room(tmp_path / "not" / "yet", DiskConfig())
    nearly_full[0] = 400_000_000
    with pytest.raises(RecordingError, match=r"Only 0\.40 GB are free .*keep_free_gb"):
        make_room(tmp_path / "not" / "yet", DiskConfig())


def test_old_sessions_go_before_a_new_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = session(tmp_path, 1)
    monkeypatch.setattr(disk, "free_bytes", lambda _: 0 if old.exists() else 10**10)
    make_room(tmp_path, DiskConfig(max_gb=1 * KB))
    assert not old.exists()


def test_free_space_is_that_of_the_folder_that_will_be(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a" / "b") == pytest.approx(free_bytes(tmp_path), rel=0.1)


def test_a_recording_closes_whole_when_the_disk_is_nearly_full(
    tmp_path: Path,
    nearly_full: list[int],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("talaria"), "propagate", True)
    recording = SessionRecording(tmp_path, "anna", (), {}, keep_free_bytes=5e8)
    for i in range(300):
        if i == 200:
            nearly_full[0] = 400_000_000
        recording.write_raw(Chunk(i / 50, b"abc"))
    assert recording.closed
    recording.note({"ended": {"ticks": 0}})  # as the session does at its end
    recording.close()
    reader = read_session_log(recording.folder)
    chunks = list(reader)
    assert 200 <= len(chunks) <= 251  # the disk is looked at once a second
    assert (reader.complete, reader.damaged, reader.torn_bytes) == (True, 0, 0)
    assert "closed_early" in (recording.folder / "session.toml").read_text()
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "0.40 GB" in caplog.text


@pytest.fixture
def filling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is found nearly full at the third look."""
    looks = iter([10**10, 10**10])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, next(looks, 4 * 10**8)))


@pytest.mark.usefixtures("filling")
def test_the_live_run_goes_on_when_the_disk_fills_up(
    tmp_path: Path, tiny_model: Path, upright: Calibration
) -> None:
    config = Config(
        source="sim:?seed=1&seconds=5", model=tiny_model, record_dir=tmp_path, display=False
    )
    summary = run_session(config, calibration=upright)
    assert summary.states > 450
    assert summary.folder is not None
    about = tomllib.loads((summary.folder / "session.toml").read_text())
    assert "0.40 GB" in about["closed_early"]
    assert about["ended"]["states"] == summary.states
    rows = (summary.folder / "angles.mot").read_text().partition("endheader\n")[2].splitlines()
    assert 50 < len(rows) < 300
    assert read_session_log(summary.folder).damaged == 0


@pytest.mark.usefixtures("filling")
def test_a_mere_recording_ends_when_the_disk_fills_up(tmp_path: Path) -> None:
    config = Config(source="sim:?seed=1&seconds=60", record_dir=tmp_path, display=False)
    assert 0.5 < record_session(config).seconds < 3.0
