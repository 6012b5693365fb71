"""``talaria calibrate`` from bytes to profile: what is kept, what is refused, and what it says."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from talaria_bridge.errors import CalibrationError, ConfigError
from talaria_bridge.link import Chunk
from talaria_bridge.recorder import SessionLogWriter
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk, simulate_walk
from talaria_bridge.virtual import schedule_frames
from talaria_edge.__main__ import app
from talaria_edge.again import walk_of
from talaria_edge.alignment import SlotStatus, Tick
from talaria_edge.app import run_live, run_session
from talaria_edge.calibrate_session import CalibrateOptions, CalibrateSession
from talaria_edge.calibration import Calibration, CalibrationProgress
from talaria_edge.config import Config
from talaria_edge.findings import Grade, Symptom
from talaria_edge.gait import GaitClass
from talaria_edge.profile import load_profile
from talaria_edge.sanitiser import SlotFlag
from talaria_edge.session import Session


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALARIA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def stroll() -> SimulatedWalk:
    return simulate_walk(seed=3, seconds=13.0)


def write_log(path: Path, t_s: np.ndarray, acc: np.ndarray, gyr: np.ndarray) -> Path:
    with SessionLogWriter(path) as log:
        for at_s, block in schedule_frames(LEG_SLOTS, t_s, acc, gyr, 100.0, samples_per_frame=5):
            log.write(Chunk(at_s, block))
    return path


def config(source: str, **more: object) -> Config:
    fields: dict[str, object] = {"user": "anna", "record_dir": None, "display": False}
    return Config.model_validate({"source": source} | fields | more)


def swapped_log(walk: SimulatedWalk, folder: Path) -> Path:
    order = [1, 0, 3, 2]
    return write_log(
        folder / "swapped.mcap", walk.t_s, walk.acc_ms2[:, order], walk.gyr_rads[:, order]
    )


def test_a_good_calibration_is_kept_with_its_grade_and_its_recording(
    stroll: SimulatedWalk, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "walk.mcap", stroll.t_s, stroll.acc_ms2, stroll.gyr_rads)
    result = CliRunner().invoke(
        app,
        [
            *("calibrate", "--user", "anna", "--source", f"replay:{log}?pace=fast"),
            *("--quiet", "--record", str(tmp_path / "sessions")),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "grade A" in result.output
    profile = load_profile("anna")
    assert profile.calibration is not None
    assert profile.origin is not None
    assert profile.origin.grade["overall"] == "A"
    folder = Path(profile.session or "")
    recorded = (folder / "session.mcap").read_bytes()
    assert profile.origin.session_sha256 == hashlib.sha256(recorded).hexdigest()
    about = tomllib.loads((folder / "session.toml").read_text())
    assert about["grade"]["overall"] == "A"
    kept = Calibration.from_dict(about["calibration"]).slots["calcn_r"].r_segment_sensor
    assert np.array_equal(kept, profile.calibration.slots["calcn_r"].r_segment_sensor)


def test_swapped_legs_are_refused_and_force_keeps_them(
    stroll: SimulatedWalk, tmp_path: Path
) -> None:
    log = swapped_log(stroll, tmp_path)
    ask = ["calibrate", "--user", "anna", "--source", f"replay:{log}?pace=fast"]
    ask += ["--quiet", "--no-record"]
    refused = CliRunner().invoke(app, ask)
    assert refused.exit_code == 2
    assert "graded F" in refused.stderr
    assert "Swap" in refused.stderr
    assert load_profile("anna").calibration is None
    forced = CliRunner().invoke(app, [*ask, "--force"])
    assert forced.exit_code == 0, forced.output
    origin = load_profile("anna").origin
    assert origin is not None
    assert origin.grade["overall"] == "F"
    assert any("swapped" in text for text in origin.grade["findings"])


def test_a_stricter_grade_can_be_asked_for(stroll: SimulatedWalk, tmp_path: Path) -> None:
    gyr = stroll.gyr_rads.copy()
    gyr[:, 0] += 0.08 * np.sin(2 * np.pi * 2.0 * stroll.t_s)[:, None] / np.sqrt(3)
    log = write_log(tmp_path / "restless.mcap", stroll.t_s, stroll.acc_ms2, gyr)
    source = f"replay:{log}?pace=fast"
    strict = CalibrateSession(config(source), CalibrateOptions(min_grade=Grade.A))
    with pytest.raises(CalibrationError, match=r"graded B and at least A.*femur_r"):
        run_live(strict)
    easy = CalibrateSession(config(source), CalibrateOptions(min_grade=Grade.B))
    run_live(easy)
    assert easy.profile is not None


def test_rates_in_degrees_end_the_session_while_standing(
    stroll: SimulatedWalk, tmp_path: Path
) -> None:
    gyr = stroll.gyr_rads.copy()
    gyr[:, 2] = (gyr[:, 2] + 0.01) * 180 / np.pi
    standing = stroll.t_s < 2.0
    t_s = np.arange(300) / 100.0
    rows = np.flatnonzero(standing)[np.arange(300) % standing.sum()]
    log = write_log(tmp_path / "degrees.mcap", t_s, stroll.acc_ms2[rows], gyr[rows])
    session = CalibrateSession(config(f"replay:{log}?pace=fast"))
    with pytest.raises(CalibrationError, match=r"calcn_r.*°/s"):
        run_live(session)
    assert session.report is not None
    assert session.report.has(Symptom.UNITS_GYR)


def test_walking_without_standing_is_explained(stroll: SimulatedWalk, tmp_path: Path) -> None:
    late = stroll.t_s > 6.0
    log = write_log(
        tmp_path / "late.mcap", stroll.t_s[late], stroll.acc_ms2[late], stroll.gyr_rads[late]
    )
    with pytest.raises(CalibrationError, match="never still"):
        run_live(CalibrateSession(config(f"replay:{log}?pace=fast")))


def test_a_calibration_needs_a_wearer() -> None:
    with pytest.raises(ConfigError, match="--user"):
        CalibrateSession(config("sim:", user=None))


def test_a_session_runs_on_what_was_kept_and_announces_a_sensor_moved_since(
    stroll: SimulatedWalk, tmp_path: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = write_log(tmp_path / "walk.mcap", stroll.t_s, stroll.acc_ms2, stroll.gyr_rads)
    run_live(CalibrateSession(config(f"replay:{log}?pace=fast")))
    acc, gyr = stroll.acc_ms2.copy(), stroll.gyr_rads.copy()
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    acc[:, 3], gyr[:, 3] = acc[:, 3] @ turn.T, gyr[:, 3] @ turn.T
    moved = write_log(tmp_path / "moved.mcap", stroll.t_s, acc, gyr)
    summary = run_session(config(f"replay:{log}?pace=fast", model=tiny_model))
    assert summary.states == summary.ticks  # from the very first: nothing had to be calibrated
    assert "Moved since" not in caplog.text
    run_session(config(f"replay:{moved}?pace=fast", model=tiny_model))
    assert "Moved since the calibration: calcn_l" in caplog.text


def calibrate(log: Path, model: Path, *more: str) -> None:
    ask = ["calibrate", "--user", "anna", "--source", f"replay:{log}?pace=fast", "--quiet"]
    result = CliRunner().invoke(app, [*ask, "--no-record", "--model", str(model), *more])
    assert result.exit_code == 0, result.output


def test_the_usual_knees_go_from_the_calibration_into_the_sessions_with_that_model(
    stroll: SimulatedWalk, tmp_path: Path, tiny_model: Path, make_model: Callable[..., Path]
) -> None:
    log = write_log(tmp_path / "walk.mcap", stroll.t_s, stroll.acc_ms2, stroll.gyr_rads)
    calibrate(log, tiny_model)
    walk = load_profile("anna").walk
    assert walk is not None
    assert walk.knees is not None
    judging = Session(config(f"replay:{log}?pace=fast", model=tiny_model))
    assert judging._pipeline is not None
    assert judging._pipeline._class.usual_rad == walk.knees.range_rad
    other = make_model(tmp_path / "other.onnx", model_id="other")
    alone = Session(config(f"replay:{log}?pace=fast", model=other))
    assert alone._pipeline is not None
    assert alone._pipeline._class.usual_rad is None


def test_an_impeded_calibration_walk_is_kept_as_nobody_s_usual(
    stroll: SimulatedWalk, tmp_path: Path, tiny_model: Path
) -> None:
    log = write_log(tmp_path / "walk.mcap", stroll.t_s, stroll.acc_ms2, stroll.gyr_rads)
    calibrate(log, tiny_model, "--usual-gait", "stiff_knee")
    walk = load_profile("anna").walk
    assert walk is not None
    assert (walk.gait, walk.knees) == (GaitClass.STIFF_KNEE, None)
    assert set(walk.stance_up) == set(LEG_SLOTS)


def test_a_session_that_calibrates_itself_measures_the_usual_knees_too(
    stroll: SimulatedWalk, tmp_path: Path, tiny_model: Path
) -> None:
    log = write_log(tmp_path / "walk.mcap", stroll.t_s, stroll.acc_ms2, stroll.gyr_rads)
    live = run_session(
        config(f"replay:{log}?pace=fast", model=tiny_model, record_dir=tmp_path / "sessions")
    )
    walk = load_profile("anna").walk
    assert walk is not None
    assert walk.knees is not None
    assert live.folder is not None
    assert walk_of(live.folder) == walk
    saved = run_session(
        config(f"replay:{log}?pace=fast", model=tiny_model, record_dir=tmp_path / "sessions")
    )
    assert saved.folder is not None
    assert walk_of(saved.folder) == walk


def tick(index: int, acc: np.ndarray, gyr: np.ndarray) -> Tick:
    return Tick(
        index,
        index / 100.0,
        LEG_SLOTS,
        acc,
        gyr,
        (SlotStatus.MEASURED,) * 4,
        (0.0,) * 4,
        (0.0,) * 4,
        (SlotFlag.NONE,) * 4,
    )


@pytest.mark.parametrize(("first", "symptom"), [("r", None), ("l", Symptom.SWAPPED_LEGS)])
def test_swings_decide_the_sides(
    stroll: SimulatedWalk, first: str, symptom: Symptom | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wearer is asked for the right leg first; if the left sensors move, they are swapped."""
    session = CalibrateSession(config("sim:"), CalibrateOptions(swing=True))
    monkeypatch.setattr(session, "_rates_hz", dict)
    monkeypatch.setattr(session, "_shares", dict)
    asked: list[CalibrationProgress] = []
    monkeypatch.setattr(session, "_show", asked.append)
    index = 0
    for acc, gyr in zip(stroll.acc_ms2, stroll.gyr_rads, strict=True):
        if session._stretch is not None:
            break
        session._take_tick(tick(index, acc, gyr))
        index += 1
    rng = np.random.default_rng(0)
    for leg in (first, "l" if first == "r" else "r"):
        for k in range(600):
            gyr = rng.normal(0.0, 0.05, (4, 3))
            moving = [i for i, slot in enumerate(LEG_SLOTS) if slot.endswith(leg)]
            gyr[moving, 2] += 2.0 * np.sin(2 * np.pi * k / 100.0)
            hints = [p.hint for p in asked if p.stage == "swinging"]
            wanted = "right" if leg == first else "left"
            if hints and wanted not in hints[-1]:
                break
            if session.report is not None:
                break
            session._take_tick(tick(index, stroll.acc_ms2[0], gyr))
            index += 1
    assert session.report is not None
    found = {f.symptom for f in session.report.findings if f.grade is Grade.F}
    assert found == (set() if symptom is None else {symptom})
    assert session.finished == (symptom is None)
