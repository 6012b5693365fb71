"""Joint moments reach the page, the terminal, an export and the report; without them nothing changes."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from talaria_edge.app import run_session
from talaria_edge.belief import Validity
from talaria_edge.config import Config
from talaria_edge.dashboard.sink import DashboardSink
from talaria_edge.export import export_session, load_session
from talaria_edge.force_report import force_page
from talaria_edge.force_session import ForceSession, load_forces
from talaria_edge.forces import MOMENT_JOINTS, Loads
from talaria_edge.gait import SIDES, GaitClass, LegState
from talaria_edge.pipeline import GaitState
from talaria_edge.sinks.terminal import LiveStats, TerminalView
from talaria_edge.spec import Head, Intervals, Output
from talaria_edge.stances import FORCE_AXES, Stance, StanceMetrics

FORCES = tuple(f"grf_{axis}_{side}" for side in SIDES for axis in FORCE_AXES)
MOMENTS = tuple(f"{joint}_moment_{side}" for side in SIDES for joint in MOMENT_JOINTS)
ALL = FORCES + MOMENTS


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of forces and moments with made-up weights."""
    units = ["BW"] * 6 + ["N m/kg"] * 6
    outputs = [
        Output(name=name, unit=unit, sign="+", kind="inferred", certainty="normal")
        for name, unit in zip(ALL, units, strict=True)
    ]
    return make_model(
        tmp_path_factory.mktemp("moments") / "model.onnx",
        model_id="tiny-moments",
        outputs=outputs,
        heads=(
            Head(name="spread", columns=tuple(f"spread_{name}" for name in ALL)),
            Head(name="contact", columns=("contact_r", "contact_l")),
        ),
        intervals=Intervals(level=0.9, factor=dict.fromkeys(ALL, 0.05), protocol="made up"),
    )


@pytest.fixture(scope="module")
def recorded(model: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = Config(
        source="sim:?seed=4&seconds=14",
        model=tiny_model,
        kinetics=model,
        record_dir=tmp_path_factory.mktemp("sessions"),
        display=False,
    )
    folder = run_session(config).folder
    assert folder is not None
    return folder


def state(index: int = 0, ankle: float = -1.05, *, moments: bool = True) -> GaitState:
    t_s = 100.0 + 0.01 * index
    force = dict(zip(FORCES, (0.1, -0.05, 0.97, 0.0, 0.0, 0.02), strict=True))
    moment = dict(zip(MOMENTS, (0.3, 0.2, ankle, -0.2, 0.1, 0.03), strict=True))
    known = {name: math.isfinite(value) for name, value in moment.items()}
    loads = Loads(
        t_s=t_s,
        force_bw=force,
        force_interval_bw=dict.fromkeys(FORCES, 0.06),
        moment_nm_kg=moment if moments else {},
        moment_interval_nm_kg={n: 0.21 if known[n] else math.nan for n in moment}
        if moments
        else {},
        output_validity=dict.fromkeys(FORCES, Validity.GOOD)
        | {n: Validity.GOOD if ok else Validity.INVALID for n, ok in known.items()},
        validity=Validity.GOOD,
    )
    return GaitState(
        index=index,
        t_s=t_s,
        angles_rad={},
        interval_rad={},
        angle_validity={},
        legs={side: LegState() for side in SIDES},
        events=(),
        gait_class=GaitClass.WALKING,
        class_confidence=0.9,
        strides=(),
        slot_status=(),
        slot_loss=(),
        slot_flags=(),
        validity=Validity.GOOD,
        reason="",
        loads=loads,
    )


# The terminal


def drawn(one: GaitState) -> str:
    screen = Console(file=io.StringIO(), width=140, force_terminal=True, color_system=None)
    view = TerminalView("T", (), lambda: LiveStats((), 0.1, 0.2), screen)
    view.show(one)
    view.close()
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_the_terminal_says_in_one_line_what_feet_carry_and_ankles_do() -> None:
    (line, *_) = [row for row in drawn(state()).splitlines() if "foot, BW" in row]
    words = " ".join(line.split())
    assert "foot, BW right 0.97 ±0.06 left 0.02 ±0.06" in words
    assert "ankle moment, N m/kg right -1.05 ±0.21 left 0.03 ±0.21" in words


def test_the_terminal_shows_no_moment_it_does_not_believe() -> None:
    words = " ".join(drawn(state(ankle=math.nan)).split())
    assert "N m/kg right – left 0.03" in words
    assert "nan" not in words


def test_the_terminal_is_as_it_was_without_moments_and_without_forces() -> None:
    assert "ankle moment" not in drawn(state(moments=False))
    assert "foot, BW" in drawn(state(moments=False))
    assert "foot, BW" not in drawn(replace(state(), loads=Loads()))


# The page


class Pipe:
    alive = True

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def ready(self) -> bool:
        return True

    def send(self, line: bytes) -> None:
        self.lines.append(json.loads(line))


def test_the_page_is_told_moments_beside_forces_with_their_intervals() -> None:
    pipe, now = Pipe(), [0.0]
    sink = DashboardSink(pipe, "t", (), tuple, force_names=ALL, clock=lambda: now[0])
    for index in range(3):
        sink.show(state(index, math.nan if index == 2 else -1.05))
    now[0] = 1.0
    sink._send_if_due()
    told = {key: value for line in pipe.lines for key, value in line.items()}
    assert told["force_names"] == list(ALL)
    loads = told["state"]["loads"]
    assert loads["moment_nm_kg"]["hip_flexion_moment_r"] == 0.3
    assert loads["moment_interval_nm_kg"]["hip_flexion_moment_r"] == 0.21
    row = told["forces"][-1]
    assert len(row) == 3 + 2 * len(ALL)
    ankle = 3 + ALL.index("ankle_angle_moment_r")
    assert (row[ankle], row[ankle + len(ALL)]) == (None, None)
    assert (row[ankle - 1], row[ankle - 1 + len(ALL)]) == (0.2, 0.21)


# A session


def test_an_export_has_every_force_and_moment_of_the_session(
    recorded: Path, tmp_path: Path
) -> None:
    session = load_session(recorded)
    kept = load_forces(recorded)
    columns = session.columns()
    for name in MOMENTS:
        assert f"{name}_nm_kg" in columns
        assert f"{name}_interval_nm_kg" in columns
    known = np.isfinite(session.loads["forces_t_s"])
    assert known.sum() == len(kept.t_s)
    assert np.allclose(session.loads["forces_t_s"][known] + session.origin_s, kept.t_s, atol=1e-5)
    assert np.allclose(
        session.loads["forces_t_s"][known], session.t_s[known], atol=1e-5
    )  # no delay
    ankle = session.loads["ankle_angle_moment_l_nm_kg"][known]
    assert np.array_equal(ankle, kept.moment_nm_kg["l"][:, 2], equal_nan=True)
    assert np.isfinite(ankle).any()
    vertical = session.loads["grf_vertical_r_bw"][known]
    assert np.array_equal(vertical, kept.force_bw["r"][:, 2], equal_nan=True)
    for to in ("csv", "sto"):
        export_session(recorded, to, tmp_path / to)
    with (tmp_path / "csv" / "session.csv").open() as file:
        assert set(session.loads) <= set(next(csv.reader(file)))
    table = (tmp_path / "sto" / "forces.sto").read_text()
    assert f"nRows={known.sum()}\n" in table
    assert "nColumns=25\n" in table


def walked(moments: dict[str, np.ndarray]) -> ForceSession:
    """Ten seconds of stances, right and left in turn, whose moments are given."""
    t_s = np.arange(1000) / 100
    force = {side: np.tile([0.0, 0.0, 1.0], (1000, 1)) for side in SIDES}
    stances = tuple(
        Stance("rl"[i % 2], 0.6 * i, 0.6 * i + 0.5, StanceMetrics(1.0), Validity.GOOD, "")
        for i in range(12)
    )
    nothing = dict.fromkeys(SIDES, 0.0)
    return ForceSession(Path("walk"), {}, t_s, force, moments, stances, nothing)


def test_a_report_has_the_moments_curves_and_peaks_per_joint() -> None:
    right = np.tile([0.5, -0.3, -1.2], (1000, 1))
    left = np.tile([0.4, -0.3, -0.8], (1000, 1))
    page = force_page(walked({"r": right, "l": left}), None)
    assert page.count("<svg") == 9
    row = next(line for line in page.splitlines() if "ankle plantarflexion" in line)
    assert "1.200" in row
    assert "0.800" in row
    assert "+40.0 %" in row
    assert "Hip, flexion + (6 right, 6 left)" in page


def test_a_stance_with_a_moment_not_believed_is_left_out_of_them_alone() -> None:
    right = np.tile([0.5, -0.3, -1.2], (1000, 1))
    right[10, 0] = np.nan
    left = np.tile([0.5, -0.3, -1.2], (1000, 1))
    page = force_page(walked({"r": right, "l": left}), None)
    assert "Hip, flexion + (5 right, 6 left)" in page
    assert "Knee, flexion + (6 right, 6 left)" in page
    assert "nan" not in page


def test_a_report_of_a_session_without_moments_has_none() -> None:
    unknown = np.full((1000, 3), np.nan)
    page = force_page(walked({"r": unknown, "l": unknown}), None)
    assert "Joint moments" not in page
    assert page.count("<svg") == 6
