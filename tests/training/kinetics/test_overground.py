"""Steps on plates: whole ones, of the right foot, in the person's own directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from talaria_bridge.errors import RecordingError
from talaria_training.commands.kinetics import kinetics_app
from talaria_training.kinetics.overground import GroundStep, read_steps
from talaria_training.kinetics.target_tables import step_rows, steps_table

G_MS2 = 9.80665
RATE_HZ = 100


def arch(rows: int) -> np.ndarray:
    return np.sin(np.pi * np.linspace(0.01, 0.99, rows))


def write_c3d(
    path: Path, heading_deg: float, mass_kg: float | None = 50.0, cut: bool = False
) -> None:
    """A right step of 60 rows from row 20 on, of somebody who walks in that direction of the laboratory."""
    ezc3d = pytest.importorskip("ezc3d")
    t_s = np.arange(120) / RATE_HZ
    way = np.array([np.cos(np.radians(heading_deg)), np.sin(np.radians(heading_deg)), 0.0])
    right = np.array([way[1], -way[0], 0.0])
    force = np.full((120, 3), np.nan)
    inside = slice(20, 50 if cut else 80)
    share = np.linspace(0, 1, 60)[: inside.stop - 20]
    force[inside] = (
        -0.2 * np.sin(2 * np.pi * share)[:, None] * way
        - 0.05 * np.sin(np.pi * share)[:, None] * right
        + arch(60)[: inside.stop - 20, None] * [0, 0, 1.1]
    ) * G_MS2
    points = np.ones((4, 2, 120))
    points[:3, 0] = 1000 * (t_s[:, None] * way).T
    points[:3, 1] = force.T
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [float(RATE_HZ)]
    file["parameters"]["POINT"]["LABELS"]["value"] = ("PELO", "RGroundReactionForce")
    file["data"]["points"] = points
    if mass_kg is not None:
        file.add_parameter("PROCESSING", "Bodymass", [mass_kg])
    file.add_parameter("SUBJECTS", "NAMES", ["Ann"])
    path.parent.mkdir(exist_ok=True)
    file.write(str(path))


def test_forward_is_where_the_pelvis_goes_whatever_way_the_laboratory_lies(tmp_path: Path) -> None:
    for heading in (0.0, 90.0, 215.0):
        folder = tmp_path / f"{heading:.0f}"
        write_c3d(folder / "walk.c3d", heading)
        (step,) = read_steps(folder)
        assert (step.person, step.recording, step.side) == ("Ann", "walk", "r")
        assert step.start_s == pytest.approx(0.2)
        along, outside, up = step.force_bw.T
        assert along[15] == pytest.approx(-0.2, abs=0.01)
        assert along[45] == pytest.approx(0.2, abs=0.01)
        assert outside[30] == pytest.approx(-0.05, abs=0.005)
        assert up.max() == pytest.approx(1.1, abs=0.01)


def test_a_step_that_leaves_the_plate_half_way_is_none(tmp_path: Path) -> None:
    write_c3d(tmp_path / "half.c3d", 0.0, cut=True)
    with pytest.raises(RecordingError, match="holds no step"):
        read_steps(tmp_path)


def test_a_copy_counts_once_and_a_file_without_a_mass_is_named(tmp_path: Path) -> None:
    write_c3d(tmp_path / "straight" / "walk.c3d", 90.0)
    (tmp_path / "copy.c3d").write_bytes((tmp_path / "straight" / "walk.c3d").read_bytes())
    write_c3d(tmp_path / "light.c3d", 90.0, mass_kg=None)
    said: list[str] = []
    (step,) = read_steps(tmp_path, said.append)
    assert step.condition == "straight"
    assert len(said) == 1
    assert "light.c3d does not say how heavy" in said[0]


def write_run(folder: Path, swapped: bool = False, markers: bool = True) -> None:
    """Five seconds of running at 80 kg, feet 0.2 m apart; `swapped`: the first force is the left foot's."""
    t_s = np.arange(500) / RATE_HZ
    columns, names = [], []
    for number, side in enumerate("lr" if swapped else "rl", 1):
        at = (t_s / 0.7 + (0.5 if side == "l" else 0.0)) % 1.0 / 0.35
        up = np.where(at < 1, np.sin(np.pi * np.clip(at, 0, 1)), 0.0)
        up = up * 80.0 * G_MS2 / (2 * 0.35 * 2 / np.pi)
        outward = -0.05 * up * (1 if side == "r" else -1)
        place = np.tile([0.5, 0.0, 0.1 if side == "r" else -0.1], (500, 1))
        columns += [np.zeros(500), up, outward, *place.T]
        names += [f"ground_force_{number}_{what}{axis}" for what in "vp" for axis in "xyz"]
    head = f"run\nversion=1\nnRows=500\nnColumns={1 + len(names)}\ninDegrees=no\nendheader\n"
    rows = np.column_stack([t_s, *columns])
    text = "\n".join("\t".join(f"{v:.6f}" for v in row) for row in rows)
    folder.mkdir(exist_ok=True)
    (folder / "run_grf.mot").write_text(head + "\t".join(["time", *names]) + "\n" + text + "\n")
    if markers:
        head = (
            "PathFileType\t4\t(X/Y/Z)\trun.trc\n"
            "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\n"
            "100\t100\t500\t2\tmm\t100\n"
            "Frame#\tTime\tRCAL\t\t\tLCAL\t\t\n\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n"
        )
        line = "450.0\t40.0\t100.0\t450.0\t40.0\t-100.0"
        rows_text = "\n".join(f"{k + 1}\t{t:.2f}\t{line}" for k, t in enumerate(t_s))
        (folder / "run.trc").write_text(head + rows_text + "\n")


@pytest.mark.parametrize("swapped", [False, True])
def test_a_force_belongs_to_the_heel_it_is_near_and_the_run_weighs_the_runner(
    tmp_path: Path, swapped: bool
) -> None:
    write_run(tmp_path / "Bob", swapped)
    steps = read_steps(tmp_path)
    assert {s.person for s in steps} == {"Bob"}
    assert steps[0].mass_kg == pytest.approx(80.0, rel=0.01)
    for side, right_foot_lands in (("r", True), ("l", False)):
        mine = [s for s in steps if s.side == side]
        assert len(mine) >= 5
        assert all(s.force_bw[:, 1].mean() < -0.02 for s in mine)
        lands = np.array([s.start_s / 0.7 % 1.0 for s in mine])
        late = np.minimum(lands, 1 - lands)
        assert (late.max() < 0.1) == right_foot_lands


def test_forces_without_markers_have_no_foot(tmp_path: Path) -> None:
    write_run(tmp_path / "Bob", markers=False)
    said: list[str] = []
    with pytest.raises(RecordingError):
        read_steps(tmp_path, said.append)
    assert "no Bob/run.trc beside it" in said[0]


def test_the_table_counts_steps_by_recording_and_foot() -> None:
    force = np.column_stack([np.zeros(60), np.zeros(60), 1.1 * arch(60)])
    step = GroundStep("Ann", "walk", "straight", "r", 100.0, 50.0, 0.2, force)
    rows = step_rows([step, step])
    assert rows[0]["stances"] == 2
    assert rows[0]["first_peak_bw"] == pytest.approx(1.1, abs=0.01)
    assert steps_table(rows).row_count == 1


def test_the_command_says_in_one_sentence_what_is_missing(tmp_path: Path) -> None:
    result = CliRunner().invoke(kinetics_app, ["steps", str(tmp_path)])
    assert isinstance(result.exception, RecordingError)
    assert "give C3D files" in str(result.exception)


@pytest.mark.data
def test_real_runs_weigh_the_model_they_were_made_for(data_root: Path) -> None:
    """The scaled model of run200 and run300 weighs 72.84 kg."""
    steps = read_steps(data_root / "opensim_running.zip", lambda said: None)
    mine = [s for s in steps if s.person == "HamnerMultipleTrials"]
    assert len(mine) == 12
    assert {round(s.mass_kg) for s in mine} == {73}
    assert all(2.0 < s.force_bw[:, 2].max() < 2.8 for s in mine)
