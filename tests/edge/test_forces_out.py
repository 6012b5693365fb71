"""Forces reach every listener, a recording, OpenSim and a report; a session without them is as it was."""

from __future__ import annotations

import csv
import json
import math
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from talaria_bridge.errors import ConfigError, ModelContractError, RecordingError
from talaria_bridge.recorder import read_session_log
from talaria_edge.__main__ import app
from talaria_edge.alignment import SlotStatus
from talaria_edge.app import run_session
from talaria_edge.belief import Validity
from talaria_edge.config import Config, load_config
from talaria_edge.dashboard.server import Board
from talaria_edge.dashboard.sink import DashboardSink
from talaria_edge.force_band import FORCE_BAND_FILE, load_force_band
from talaria_edge.force_log import ForceLog, plain_reason
from talaria_edge.force_session import load_forces
from talaria_edge.forces import Loads
from talaria_edge.gait import GaitClass, LegState
from talaria_edge.output_spec import beside, parse_output
from talaria_edge.pipeline import GaitState
from talaria_edge.profile import load_profile
from talaria_edge.sanitiser import SlotFlag
from talaria_edge.sinks.csv_table import CsvTable
from talaria_edge.sinks.external_loads import LOAD_COLUMNS, ExternalLoadsSink
from talaria_edge.sinks.fields import gait_fields
from talaria_edge.sinks.message import Stream, hello_message, state_message
from talaria_edge.sinks.osc import osc_bundle
from talaria_edge.sinks.outputs import open_outputs
from talaria_edge.sinks.recording import FORCES_TOPIC, GAIT_TOPIC
from talaria_edge.stances import FORCE_AXES, METRICS, Stance, StanceMetrics
from talaria_edge.tables.motion import read_table

NAMES = tuple(f"grf_{axis}_{side}" for side in "rl" for axis in FORCE_AXES)
STANCE = Stance(
    side="l",
    start_s=99.2,
    end_s=99.9,
    metrics=StanceMetrics(1.1, 1.2, 1.2, 8.0, 0.5, -0.02, 0.03, -0.04),
    validity=Validity.GOOD,
    reason="",
)
SPOILT = replace(
    STANCE,
    metrics=StanceMetrics(),
    validity=Validity.INVALID,
    reason="no data from femur_l for 0.20 s",
)


def state(index: int = 0, vertical: float = 0.5, **more: Any) -> GaitState:
    t_s = 100.0 + 0.01 * index
    force = dict(zip(NAMES, (0.1, -0.05, vertical, 0.02, 0.03, 0.6), strict=True))
    good = math.isfinite(vertical)
    loads = Loads(
        t_s=t_s - 0.03,
        force_bw=force,
        force_interval_bw={n: 0.04 if math.isfinite(v) else math.nan for n, v in force.items()},
        output_validity={
            n: Validity.GOOD if math.isfinite(v) else Validity.INVALID for n, v in force.items()
        },
        validity=Validity.GOOD if good else Validity.DEGRADED,
        reason="" if good else "too uncertain: grf_vertical_r",
    )
    return GaitState(
        index=index,
        t_s=t_s,
        angles_rad={"knee_angle_r": 0.5},
        interval_rad={"knee_angle_r": 0.1},
        angle_validity={"knee_angle_r": Validity.GOOD},
        legs={"r": LegState(), "l": LegState()},
        events=(),
        gait_class=GaitClass.WALKING,
        class_confidence=0.9,
        strides=(),
        slot_status=(SlotStatus.MEASURED,) * 4,
        slot_loss=(0.0,) * 4,
        slot_flags=(SlotFlag.NONE,) * 4,
        validity=Validity.GOOD,
        reason="",
        loads=replace(loads, **more),
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def stream(**more: Any) -> Stream:
    return Stream(("knee_angle_r",), ("femur_r",), 100.0, "tiny-ann", **({"forces": NAMES} | more))


# Listeners


def test_a_message_has_forces_only_where_there_are_some() -> None:
    told = json.loads(state_message(state(3, math.nan, stances=(STANCE,))))["forces"]
    assert told["t_s"] == 100.0
    assert told["force_bw"]["grf_vertical_l"] == 0.6
    assert told["force_bw"]["grf_vertical_r"] is None
    assert told["not_good"] == {"grf_vertical_r": "invalid"}
    assert told["stances"][0]["loading_rate_bw_s"] == 8.0
    without = replace(state(), loads=Loads())
    assert json.loads(state_message(without)) == {"kind": "state", **gait_fields(without)}
    assert json.loads(hello_message(stream(mass_kg=70.0)))["forces"] == list(NAMES)
    assert "forces" not in json.loads(hello_message(stream(forces=())))


def test_osc_says_how_long_ago_a_force_was() -> None:
    bundle = osc_bundle(state(stances=(STANCE,)), 0.0)
    assert bundle.count(b"/talaria/force/grf_") == 6
    assert b"/talaria/stance/l\0\0\0,fffffffff" in bundle
    assert b"/talaria/force" not in osc_bundle(replace(state(), loads=Loads()), 0.0)


def test_a_table_has_a_column_per_force_and_a_row_per_stance(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "a.csv", ("knee_angle_r",), NAMES)
    table.show(state(0, math.nan, stances=(STANCE, SPOILT)))
    table.close()
    (row,) = rows_of(tmp_path / "a.csv")
    assert (row["forces_t_s"], row["grf_vertical_l_bw"]) == ("99.970000", "0.6000")
    assert (row["grf_vertical_r_bw"], row["grf_vertical_r_validity"]) == ("", "invalid")
    good, spoilt = rows_of(tmp_path / "a-stances.csv")
    assert (good["peak_bw"], spoilt["peak_bw"]) == ("1.2", "")
    assert spoilt["reason"] == SPOILT.reason


def test_a_table_without_forces_is_as_it_was(tmp_path: Path) -> None:
    CsvTable(tmp_path / "a.csv", ("knee_angle_r",)).close()
    assert "forces" not in (tmp_path / "a.csv").read_text()
    assert not (tmp_path / "a-stances.csv").exists()


def test_external_loads_are_newtons_in_opensims_frame_at_the_forces_own_time(
    tmp_path: Path,
) -> None:
    sink = ExternalLoadsSink(tmp_path / "walk_grf.mot", 70.0)
    for index, vertical in enumerate([0.5] * 5 + [math.nan] + [0.5]):
        sink.show(state(index, vertical))
    sink.close()
    weight_n = 70.0 * 9.80665
    found = read_table(tmp_path / "walk_grf.mot")
    assert found.names == LOAD_COLUMNS
    # Three states' forces lie before the first state, and one is not known.
    assert found.t_s.tolist() == pytest.approx([0.0, 0.01, 0.03])
    first = dict(zip(found.names, found.values[0], strict=True))
    assert first["ground_force_r_vx"] == pytest.approx(0.1 * weight_n)
    assert first["ground_force_r_vy"] == pytest.approx(0.5 * weight_n)
    assert first["ground_force_r_vz"] == pytest.approx(-0.05 * weight_n)  # outwards is to the right
    assert first["ground_force_l_vz"] == pytest.approx(-0.03 * weight_n)  # and here to the left
    assert first["ground_force_l_px"] == first["ground_torque_r_y"] == 0.0
    text = (tmp_path / "walk_grf.mot").read_text()
    assert "nan" not in text
    assert "points of application and free moments unknown" in text
    applied = (tmp_path / "walk_grf.xml").read_text()
    assert "<datafile>walk_grf.mot</datafile>" in applied
    assert "<point_expressed_in_body>calcn_l</point_expressed_in_body>" in applied


@pytest.mark.parametrize(
    ("more", "says"),
    [({"forces": ()}, "--kinetics"), ({"mass_kg": None}, "--mass-kg")],
)
def test_newtons_need_a_force_model_and_a_mass(
    tmp_path: Path, more: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        open_outputs([f"grf:{tmp_path / 'a.mot'}"], stream(**({"mass_kg": 70.0} | more)))


def test_a_path_of_external_loads_is_meant_from_the_toml() -> None:
    assert parse_output("grf:a.mot").target == "a.mot"
    assert beside("grf:a.mot", Path("/x")) == "grf:/x/a.mot"


# The dashboard


class Pipe:
    alive = True

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def ready(self) -> bool:
        return True

    def send(self, line: bytes) -> None:
        self.lines.append(json.loads(line))


def shown(force_names: tuple[str, ...], states: list[GaitState]) -> dict[str, Any]:
    pipe, now = Pipe(), [0.0]
    sink = DashboardSink(pipe, "t", (), tuple, force_names=force_names, clock=lambda: now[0])
    for one in states:
        sink.show(one)
    now[0] = 1.0
    sink._send_if_due()
    merged: dict[str, Any] = {}
    for line in pipe.lines:
        for key, value in line.items():
            merged[key] = merged.get(key, []) + value if isinstance(value, list) else value
    return merged


def test_the_page_is_told_forces_at_the_cycle_of_their_own_instant() -> None:
    states = []
    for index in range(30):
        one = state(index, stances=(STANCE,) if index == 20 else ())
        states.append(replace(one, legs={"r": LegState(cycle=index / 100), "l": LegState()}))
    told = shown(NAMES, states)
    assert told["force_names"] == list(NAMES)
    assert told["state"]["loads"]["force_bw"]["grf_vertical_l"] == 0.6
    assert told["stances"][0]["first_peak_bw"] == 1.1
    for row in told["forces"][4:]:
        assert len(row) == 3 + 12
        assert row[1] == pytest.approx(row[0] - 100.0, abs=0.0101)  # the cycle is the time, here


def test_a_page_without_a_force_model_is_told_nothing_of_forces() -> None:
    told = shown((), [replace(state(i), loads=Loads()) for i in range(5)])
    assert not {"force_names", "forces", "stances"} & set(told)
    assert "loads" not in told["state"]


def test_a_page_that_comes_late_is_told_the_last_stances() -> None:
    board = Board()
    board.tell(json.dumps({"kind": "news", "stances": [{"side": "r"}], "forces": [[1.0]]}))
    assert json.loads(board.present())["stances"] == [{"side": "r"}]
    assert "forces" not in json.loads(board.present())


# A session


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_forces: Path) -> Path:
    config = Config(
        source="sim:?seed=4&seconds=16",
        model=tiny_model,
        kinetics=tiny_forces,
        mass_kg=70.0,
        record_dir=tmp_path_factory.mktemp("sessions"),
        display=False,
    )
    folder = run_session(config).folder
    assert folder is not None
    return folder


def test_a_recording_names_the_force_model_and_keeps_every_instant(
    recorded: Path, tiny_forces: Path
) -> None:
    about = tomllib.loads((recorded / "session.toml").read_text())
    assert about["kinetics"]["path"] == str(tiny_forces.absolute())
    assert about["kinetics"]["delay_s"] == pytest.approx(0.03)
    assert about["mass_kg"] == 70.0
    log = read_session_log(recorded)
    gait, forces = (list(log.messages(topic)) for topic in (GAIT_TOPIC, FORCES_TOPIC))
    assert [row["index"] for row in gait] == [row["index"] for row in forces]
    assert all("force_bw" not in row for row in gait)
    assert forces[5]["t_s"] == pytest.approx(gait[5]["t_s"] - 0.03)
    assert set(about["ended"]["forces"]) >= {"stances", "left_out", "disagreeing_s"}


def test_a_replay_gives_the_same_forces(recorded: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["replay", str(recorded), "--fast", "--quiet", "--sink", f"csv:{tmp_path / 'a.csv'}"]
    )
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "a.csv")
    kept = list(read_session_log(recorded).messages(FORCES_TOPIC))
    assert [r["grf_vertical_r_bw"] for r in rows[-50:]] == [
        "" if k["force_bw"]["grf_vertical_r"] is None else f"{k['force_bw']['grf_vertical_r']:.4f}"
        for k in kept[-50:]
    ]


def test_the_mass_is_kept_with_its_wearer(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALARIA_HOME", str(tmp_path))
    base = {"source": "sim:?seed=4&seconds=2", "model": tiny_model, "record_dir": None}
    from talaria_edge.session import Session

    Session(Config(**base, display=False, user="ann", mass_kg=61.5))
    assert load_profile("ann").mass_kg == 61.5
    assert Session(Config(**base, display=False, user="ann"))._stream().mass_kg == 61.5


def test_a_model_in_the_wrong_place_ends_a_session_in_one_sentence(
    tiny_model: Path, tiny_forces: Path
) -> None:
    for model, kinetics in ((tiny_forces, None), (tiny_model, tiny_model)):
        config = load_config(
            None, source="sim:?seconds=1", model=model, kinetics=kinetics, record_dir=False
        )
        with pytest.raises(ModelContractError, match="was named where a model that gives"):
            run_session(config)


def test_doctor_looks_at_the_force_model(tiny_forces: Path, tmp_path: Path) -> None:
    for path, verdict in ((tiny_forces, "ok"), (tmp_path / "none", "fail")):
        done = CliRunner().invoke(app, ["doctor", "--kinetics", str(path), "--json"])
        (check,) = (c for c in json.loads(done.output)["checks"] if c["name"] == "force model")
        assert check["verdict"] == verdict


# The report


def test_only_good_stances_count_and_the_others_are_said_why() -> None:
    log = ForceLog(100.0)
    right = replace(STANCE, side="r", metrics=replace(STANCE.metrics, peak_bw=1.0))
    log.add(replace(state().loads, stances=(STANCE, right, SPOILT), disagreeing=("l",)))
    found = log.summary()
    assert (found.statistics.used, found.statistics.left_out) == (
        {"r": 1, "l": 1},
        {"r": 0, "l": 1},
    )
    assert found.statistics.reasons == {"no data from femur_l": 1}
    assert found.statistics.spread["peak_bw"]["l"].mean == 1.2
    assert found.statistics.symmetry_percent["peak_bw"] == pytest.approx(-100.0 * 0.2 / 1.1)
    assert found.disagreeing_s == {"r": 0.0, "l": 0.01}


@pytest.mark.parametrize(
    ("reason", "plain"),
    [
        ("no data from calcn_l for 0.23 s (stuck)", "no data from calcn_l (stuck)"),
        ("12% of calcn_r lost", "part of calcn_r lost"),
        (
            "settling after a start; force and contact disagree on the left foot",
            "settling after a start",
        ),
    ],
)
def test_reasons_that_differ_only_in_how_much_are_one(reason: str, plain: str) -> None:
    assert plain_reason(reason) == plain


def write_band(folder: Path, mean: float = 1.1, points: int = 101) -> Path:
    curve = {"mean_bw": [0.5] * points, "sd_bw": [0.1] * points}
    band = {
        "protocol": "four made-up people",
        "curves": dict.fromkeys(FORCE_AXES, curve),
        "metrics": {name: {"mean": mean, "sd": 0.01} for name in METRICS},
    }
    folder.mkdir(exist_ok=True)
    (folder / FORCE_BAND_FILE).write_text(json.dumps(band))
    return folder


@pytest.fixture
def walked(tmp_path: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recorded session with stances as a trained model would have given them."""
    from talaria_edge import force_report

    session = load_forces(recorded)
    start = float(session.t_s[300])
    stances = []
    for i in range(8):
        a = start + 0.6 * i
        peak = 1.1 + 0.01 * i
        metrics = replace(STANCE.metrics, peak_bw=peak)
        stances.append(replace(STANCE, side="rl"[i % 2], start_s=a, end_s=a + 0.5, metrics=metrics))
    monkeypatch.setattr(
        force_report, "load_forces", lambda folder: replace(session, stances=(*stances, SPOILT))
    )
    return tmp_path / "report.html"


def test_a_report_stands_alone_and_says_what_it_left_out(recorded: Path, walked: Path) -> None:
    table = walked.with_suffix(".csv")
    arguments = ["forces", str(recorded), "--out", str(walked), "--csv", str(table)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    page = walked.read_text()
    assert "4 right, 4 left stances are counted; 1 were left out" in page
    assert "1 × no data from femur_l" in page
    assert "1 BW is 686 N (70 kg)" in page
    assert "no band of usual walking lies beside the model" in page
    assert page.count("<svg") == 6
    assert "http" not in page
    assert "src=" not in page
    assert len(rows_of(table)) == 9
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert "name another file after --csv" in again.output


def test_a_report_marks_what_is_far_from_the_usual(
    recorded: Path, walked: Path, tmp_path: Path
) -> None:
    arguments = ["forces", str(recorded), "--out", str(walked), "--kinetics"]
    for mean, odd in ((1.2, False), (1.5, True)):
        folder = write_band(tmp_path / "m", mean)
        done = CliRunner().invoke(app, [*arguments, str(folder)])
        assert done.exit_code == 0, done.output
        row = next(r for r in walked.read_text().splitlines() if "second peak" in r)
        assert ("class=odd" in row) is odd
        assert f"{mean:.3f} ± 0.010" in row


def test_a_damaged_band_and_a_session_without_forces_are_one_sentence(
    tmp_path: Path, tiny_model: Path
) -> None:
    assert load_force_band(tmp_path) is None
    with pytest.raises(ConfigError, match="50 means and 50 spreads"):
        load_force_band(write_band(tmp_path / "m", points=50))
    config = Config(
        source="sim:?seed=4&seconds=1", model=tiny_model, record_dir=tmp_path / "s", display=False
    )
    from talaria_bridge.errors import CalibrationError

    with pytest.raises(CalibrationError):
        run_session(config)
    (folder,) = (tmp_path / "s").iterdir()
    with pytest.raises(RecordingError, match="holds no forces: record it with"):
        load_forces(folder)
