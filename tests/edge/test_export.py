"""A recorded session in formats other programs read."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bids_validator import BIDSValidator
from pyarrow import parquet
from typer.testing import CliRunner

from talaria_bridge.errors import ConfigError, ExportError, RecordingError
from talaria_bridge.recorder import SessionLogWriter, read_session_log
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk
from talaria_bridge.virtual import schedule_chunks
from talaria_edge.__main__ import app
from talaria_edge.app import record_session, run_session
from talaria_edge.config import Config
from talaria_edge.export import export_session, load_session
from talaria_edge.kinematics import ANGLES
from talaria_edge.pipeline import GaitState
from talaria_edge.sinks.fields import gait_fields
from talaria_edge.sinks.recording import GAIT_TOPIC


@pytest.fixture(scope="module")
def session(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated session, calibrated on the way."""
    out = tmp_path_factory.mktemp("sessions")
    config = Config(
        source="sim:?seed=2&seconds=16", model=tiny_model, record_dir=out, display=False
    )
    folder = run_session(config).folder
    assert folder is not None
    return folder


def rows_of(path: Path, delimiter: str = ",") -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=delimiter))


def test_csv_holds_every_tick_and_nothing_invented(session: Path, tmp_path: Path) -> None:
    path, events = export_session(session, "csv", tmp_path)
    head, *rows = rows_of(path)
    loaded = load_session(session)
    assert len(rows) == len(loaded.t_s)
    at = {name: k for k, name in enumerate(head)}
    assert float(rows[100][at["t_s"]]) == pytest.approx(1.0, abs=1e-3)
    assert rows[10][at["knee_angle_r_deg"]] == "n/a"  # not calibrated yet
    assert rows[10][at["validity"]] == ""
    assert abs(float(rows[-1][at["knee_angle_r_deg"]])) < 180
    assert rows[50][at["femur_r_status"]] == "measured"
    assert rows_of(events)[0] == ["t_s", "side", "kind"]


def test_sto_reads_like_opensim_reads(session: Path, tmp_path: Path) -> None:
    angles, acc, gyr = export_session(session, "sto", tmp_path)
    lines = angles.read_text().splitlines()
    assert "inDegrees=yes" in lines
    assert lines[lines.index("endheader") + 1].split("\t") == ["time", *ANGLES]
    for path in (acc, gyr):
        lines = path.read_text().splitlines()
        end = lines.index("endheader")
        header = dict(line.split("=") for line in lines[:end] if "=" in line)
        assert header["inDegrees"] == "no"
        assert int(header["nRows"]) == len(lines) - end - 2
        names = lines[end + 1].split("\t")
        assert names[:2] == ["time", "femur_r_imu_x"]
        assert int(header["nColumns"]) == len(names) == len(lines[-1].split("\t"))


def test_parquet_has_the_same_columns_as_csv(session: Path, tmp_path: Path) -> None:
    (path,) = export_session(session, "parquet", tmp_path)
    table = parquet.read_table(path)
    loaded = load_session(session)
    assert table.column_names == list(loaded.columns())
    np.testing.assert_allclose(table["calcn_l_gyr_rads_z"], loaded.gyr_rads[:, 3, 2])


def test_bids_is_valid_and_every_clock_is_a_tracking_system(session: Path, tmp_path: Path) -> None:
    files = export_session(session, "bids", tmp_path)
    validator = BIDSValidator()
    for path in files:
        assert validator.is_bids("/" + path.relative_to(tmp_path).as_posix()), path
    tracks = sorted(path.name.split("_")[2] for path in files if path.name.endswith("_motion.tsv"))
    assert tracks == ["tracksys-imu", "tracksys-raw1"]
    for path in files:
        if not path.name.endswith("_motion.tsv"):
            continue
        channels = rows_of(path.with_name(path.name.replace("_motion.tsv", "_channels.tsv")), "\t")
        about = json.loads(path.with_suffix(".json").read_text())
        rows = rows_of(path, "\t")
        assert channels[0][:5] == ["name", "component", "type", "tracked_point", "units"]
        assert len(rows[0]) == len(channels) - 1 == about["MotionChannelCount"]
        assert about["SamplingFrequency"] == pytest.approx(100.0, abs=0.1)
        for kind in ("ACCEL", "GYRO"):
            assert sum(row[2] == kind for row in channels) == about[f"{kind}ChannelCount"] == 12
        assert {row[4] for row in channels if row[2] == "JNTANG"} <= {"deg"}
    events = next(path for path in files if path.name.endswith("_events.tsv"))
    head, *rows = rows_of(events, "\t")
    assert head == ["onset", "duration", "trial_type"]
    assert {row[2] for row in rows} <= {"initial_r", "initial_l", "final_r", "final_l"}
    assert rows


def test_the_raw_track_is_what_the_sensors_said(session: Path, tmp_path: Path) -> None:
    files = export_session(session, "bids", tmp_path)
    raw = next(path for path in files if "raw1_motion.tsv" in path.name)
    table = np.array(rows_of(raw, "\t"), dtype=float)
    assert table.shape == (1600, 1 + 6 * len(LEG_SLOTS))
    np.testing.assert_allclose(np.diff(table[:, 0]), 0.01, atol=1e-4)


def test_nothing_is_replaced(session: Path, tmp_path: Path) -> None:
    export_session(session, "csv", tmp_path)
    with pytest.raises(ExportError, match="not replaced"):
        export_session(session, "csv", tmp_path)


def test_an_unknown_format_and_an_empty_folder_are_one_sentence(
    session: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="bids, sto, csv, parquet"):
        export_session(session, "xlsx", tmp_path)
    with pytest.raises(RecordingError, match="holds no session"):
        export_session(tmp_path, "csv", tmp_path)


def test_a_recording_without_a_model_can_be_exported(tmp_path: Path) -> None:
    config = Config(source="sim:?seed=2&seconds=4", record_dir=tmp_path / "s", display=False)
    summary = record_session(config)
    assert summary.states == 0
    assert summary.folder is not None
    assert not (summary.folder / "angles.mot").exists()
    loaded = load_session(summary.folder)
    assert loaded.angles_deg == {}
    assert len(loaded.t_s) == summary.ticks > 390
    assert not math.isnan(loaded.acc_ms2.sum())
    assert len(export_session(summary.folder, "bids", tmp_path / "out")) > 8


def test_what_a_dead_sensor_did_not_say_is_not_in_the_files(
    walk: SimulatedWalk, tmp_path: Path
) -> None:
    rows = [i for i, slot in enumerate(LEG_SLOTS) if slot != "calcn_r"]
    slots = tuple(LEG_SLOTS[i] for i in rows)
    readings = (walk.t_s, walk.acc_ms2[:, rows], walk.gyr_rads[:, rows])
    with SessionLogWriter(tmp_path / "three.mcap") as log:
        for chunk in schedule_chunks(slots, *readings, walk.rate_hz):
            log.write(chunk)
    config = Config(
        source=f"replay:{tmp_path / 'three.mcap'}", record_dir=tmp_path / "s", display=False
    )
    folder = record_session(config).folder
    assert folder is not None
    loaded = load_session(folder)
    dead = LEG_SLOTS.index("calcn_r")
    assert np.isnan(loaded.acc_ms2[:, dead]).all()
    assert not np.isnan(np.delete(loaded.acc_ms2, dead, axis=1)).any()
    head, first, *_ = rows_of(export_session(folder, "csv", tmp_path / "out")[0])
    assert first[head.index("calcn_r_acc_ms2_x")] == "n/a"
    assert first[head.index("calcn_r_status")] == "gone"


def test_record_replay_and_export_from_the_command_line(tiny_model: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    out = tmp_path / "sessions"
    recorded = runner.invoke(
        app, ["record", "--source", "sim:?seed=2&seconds=16", "--out", str(out), "--quiet"]
    )
    assert recorded.exit_code == 0, recorded.output
    (folder,) = out.iterdir()
    none = runner.invoke(app, ["replay", str(folder), "--fast", "--quiet"])
    assert none.exit_code == 2
    assert "No model is named" in none.output
    again = runner.invoke(
        app, ["replay", str(folder), "--model", str(tiny_model), "--fast", "--quiet"]
    )
    assert again.exit_code == 0, again.output
    assert "gait states" in again.output
    written = runner.invoke(app, ["export", str(folder), "--to", "csv"])
    assert written.exit_code == 0, written.output
    assert (folder / "csv" / "session.csv").exists()


def test_a_replayed_session_gives_the_same_states_with_nothing_said_but_its_folder(
    session: Path,
) -> None:
    from talaria_edge.again import config_of

    first = load_session(session)
    config, calibration = config_of(session, None, "fast", display=False)
    states = []
    run_session(config, states.append, calibration)
    again = [math.degrees(state.angles_rad["knee_angle_r"]) for state in states]
    before = first.angles_deg["knee_angle_r"]
    np.testing.assert_allclose(again, before[~np.isnan(before)], atol=6e-4)  # it keeps three digits


def test_every_stride_is_in_the_recording(tiny_model: Path, tmp_path: Path) -> None:
    states: list[GaitState] = []
    config = Config(
        source="sim:?seed=2&seconds=18", model=tiny_model, record_dir=tmp_path, display=False
    )
    folder = run_session(config, states.append).folder
    assert folder is not None
    shown = [stride for state in states for stride in state.strides]
    messages = read_session_log(folder).messages(GAIT_TOPIC)
    kept = [stride for message in messages for stride in message["strides"]]
    assert shown
    assert [(s["side"], s["start_s"], s["end_s"]) for s in kept] == [
        (s.side, s.start_s, s.end_s) for s in shown
    ]
    assert set(kept[0]["rom_deg"]) == {name for name in ANGLES if name[-1] == kept[0]["side"]}


def test_a_recording_of_before_there_were_strides_is_read_all_the_same(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def before(state: GaitState) -> dict[str, Any]:
        return {key: value for key, value in gait_fields(state).items() if key != "strides"}

    monkeypatch.setattr("talaria_edge.sinks.recording.gait_fields", before)
    config = Config(
        source="sim:?seed=2&seconds=14", model=tiny_model, record_dir=tmp_path, display=False
    )
    folder = run_session(config).folder
    assert folder is not None
    assert all(
        "strides" not in message for message in read_session_log(folder).messages(GAIT_TOPIC)
    )
    assert np.isfinite(load_session(folder).angles_deg["knee_angle_r"]).any()
    assert export_session(folder, "csv", tmp_path / "csv")
