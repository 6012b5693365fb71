"""BIDS-Motion data sets are read, our own exports and other people's, or refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk, simulate_walk
from talaria_edge.app import record_session
from talaria_edge.bids import write_bids
from talaria_edge.config import Config
from talaria_edge.export import Exported, export_session, load_session
from talaria_edge.kinematics import ANGLES
from talaria_training.data.bids_motion import iter_bids
from talaria_training.data.load import load_recordings
from talaria_training.data.recording import DataIssue, Recording

Row = tuple[str, str, str, str, str]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = Config(
        source=("sim:?seed=2&seconds=8",), record_dir=tmp_path_factory.mktemp("s"), display=False
    )
    folder = record_session(config).folder
    assert folder is not None
    return folder


@pytest.fixture(scope="module")
def walk() -> SimulatedWalk:
    return simulate_walk(seed=31, seconds=20.0)


def rows(point: str, kind: str, units: str, axes: Sequence[str] = "xyz") -> list[Row]:
    return [(f"{point}_{kind}_{a}", a, kind, point, units) for a in axes]


def write(
    root: Path,
    channels: list[Row],
    table: np.ndarray,
    tracksys: str = "shimmer",
    about: dict[str, object] | None = None,
) -> Path:
    """Write one tracking system as somebody else would; return the motion table."""
    folder = root / "sub-07" / "ses-1" / "motion"
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"sub-07_ses-1_task-tenMetre_tracksys-{tracksys}_run-2"
    head = ("name", "component", "type", "tracked_point", "units")
    lines = ["\t".join(row) for row in [head, *channels]]
    Path(f"{stem}_channels.tsv").write_text("\n".join(lines) + "\n")
    motion = Path(f"{stem}_motion.tsv")
    cells = ["\t".join("n/a" if np.isnan(x) else f"{x:.8g}" for x in row) for row in table]
    motion.write_text("\n".join(cells) + "\n")
    Path(f"{stem}_motion.json").write_text(json.dumps(about or {"SamplingFrequency": 100}))
    return motion


def theirs(root: Path, walk: SimulatedWalk) -> Path:
    """Write thighs and feet in g and °/s, under other names and in another order."""
    points = {
        "RightFoot": "calcn_r",
        "left_thigh": "femur_l",
        "thigh R": "femur_r",
        "heel_l": "calcn_l",
    }
    channels: list[Row] = []
    columns = []
    for point, slot in points.items():
        i = walk.slots.index(slot)
        channels += rows(point, "GYRO", "deg/s", "zyx") + rows(point, "ACCEL", "g")
        columns += [np.degrees(walk.gyr_rads[:, i, ::-1]), walk.acc_ms2[:, i] / 9.80665]
    channels.append(("battery", "n/a", "MISC", "n/a", "%"))
    columns.append(np.full((len(walk.t_s), 1), 80.0))
    return write(root, channels, np.hstack(columns))


def load_one(root: Path) -> Recording:
    (recording,) = load_recordings(root)
    return recording


def refusal(root: Path) -> str:
    skipped: list[DataIssue] = []
    assert list(iter_bids(root, on_skip=skipped.append)) == []
    (issue,) = skipped
    assert "\n" not in str(issue)
    return str(issue)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def channels_of(motion: Path) -> Path:
    return motion.with_name(motion.name.replace("_motion.tsv", "_channels.tsv"))


def test_a_session_comes_back_as_it_was_exported(session: Path, tmp_path: Path) -> None:
    export_session(session, "bids", tmp_path)
    was, r = load_session(session), load_one(tmp_path)
    assert (r.person, r.condition) == ("anyone", "walk")
    assert (r.slots, r.rate_hz) == (was.slots, was.rate_hz)
    np.testing.assert_allclose(r.t_s, was.t_s, atol=1e-6)
    np.testing.assert_allclose(r.acc_ms2, was.acc_ms2, atol=1e-6)
    np.testing.assert_allclose(np.degrees(r.gyr_rads), np.degrees(was.gyr_rads), atol=1e-6)
    assert (r.issues, r.dead_slots) == ((), ())


def _exported(walk: SimulatedWalk, folder: Path) -> Exported:
    acc = walk.acc_ms2.copy()
    acc[700:704, 1] = np.nan
    return Exported(
        folder=folder,
        about={"user": "Ann"},
        rate_hz=walk.rate_hz,
        slots=walk.slots,
        t_s=walk.t_s,
        acc_ms2=acc,
        gyr_rads=walk.gyr_rads,
        status=[["measured"] * 4] * len(walk.t_s),
        angles_deg={name: np.degrees(values) for name, values in walk.angles_rad.items()},
        validity=["valid"] * len(walk.t_s),
        events=[],
        links={},
        origin_s=0.0,
    )


def test_angles_estimated_live_are_no_labels_and_gaps_are_gaps(
    walk: SimulatedWalk, tmp_path: Path
) -> None:
    write_bids(_exported(walk, tmp_path), tmp_path / "set")
    r = load_one(tmp_path / "set")
    assert (r.person, r.angles_rad) == ("Ann", None)
    said = [str(issue) for issue in r.issues]
    assert any("not used as a reference" in one for one in said)
    assert any("misses 4 samples" in one for one in said)
    np.testing.assert_allclose(r.acc_ms2[710:], walk.acc_ms2[710:], atol=1e-6)


def test_other_peoples_units_names_and_orders_are_understood(
    walk: SimulatedWalk, tmp_path: Path
) -> None:
    theirs(tmp_path, walk)
    (tmp_path / "participants.tsv").write_text("participant_id\theight\tweight\nsub-07\t181\t77\n")
    r = load_one(tmp_path)
    assert (r.person, r.condition) == ("07", "ses-1 tenMetre run-2")
    assert r.slots == LEG_SLOTS
    assert (r.height_m, r.mass_kg) == (1.81, 77.0)
    order = [walk.slots.index(slot) for slot in r.slots]
    np.testing.assert_allclose(r.acc_ms2, walk.acc_ms2[:, order], atol=1e-4)
    np.testing.assert_allclose(r.gyr_rads, walk.gyr_rads[:, order], atol=1e-4)


def test_one_subjects_folder_is_enough(walk: SimulatedWalk, tmp_path: Path) -> None:
    theirs(tmp_path, walk)
    (tmp_path / "participants.tsv").write_text("participant_id\theight\nsub-07\t1.81\n")
    (recording,) = load_recordings(tmp_path / "sub-07")
    assert recording.height_m == 1.81


def test_angles_of_another_system_are_laid_on_the_sensors_clock(
    walk: SimulatedWalk, tmp_path: Path
) -> None:
    theirs(tmp_path, walk)
    channels = [(f"{name}", "n/a", "JNTANG", name, "deg") for name in ANGLES]
    table = np.degrees(np.column_stack([walk.angles_rad[name] for name in ANGLES]))
    write(tmp_path, channels, table[150:], "vicon")
    r = load_one(tmp_path)
    assert r.angles_rad is not None
    off = r.angles_rad["knee_angle_l"] - walk.angles_rad["knee_angle_l"]
    assert np.isfinite(off).mean() > 0.9
    assert np.degrees(np.sqrt(np.nanmean(off**2))) < 1.0


def test_orientations_count_only_where_their_world_is_z_up(
    walk: SimulatedWalk, tmp_path: Path
) -> None:
    parts = ("quat_x", "quat_y", "quat_z", "quat_w")
    channels: list[Row] = []
    columns = []
    for point, slot in (("foot_r", "calcn_r"), ("foot_l", "calcn_l")):
        i = walk.slots.index(slot)
        q = walk.q_world_sensor[slot][:, [1, 2, 3, 0]]
        if slot == "calcn_l":  # as the world would see it from the sensor
            q = q * [-1, -1, -1, 1]
        channels += rows(point, "ACCEL", "m/s^2") + rows(point, "GYRO", "rad/s")
        channels += rows(point, "ORNT", "n/a", parts)
        columns += [walk.acc_ms2[:, i], walk.gyr_rads[:, i], q]
    write(tmp_path, channels, np.hstack(columns))
    r = load_one(tmp_path)
    assert r.orientation is not None
    assert set(r.orientation) == {"calcn_r"}
    np.testing.assert_allclose(r.orientation["calcn_r"], walk.q_world_sensor["calcn_r"], atol=1e-6)
    assert any("its world is not z up" in issue.what for issue in r.issues)


def test_uneven_samples_are_put_on_an_even_clock_and_gaps_stay_gaps(
    walk: SimulatedWalk, tmp_path: Path
) -> None:
    i = walk.slots.index("femur_r")
    rng = np.random.default_rng(3)
    late_s = walk.t_s + rng.uniform(0.0, 0.004, len(walk.t_s))
    kept = np.r_[:800, 805 : len(late_s)]
    curve = np.column_stack([np.interp(late_s, walk.t_s, c) for c in walk.gyr_rads[:, i].T])
    table = np.column_stack([late_s, walk.acc_ms2[:, i], curve])[kept]
    channels = [("t", "n/a", "LATENCY", "n/a", "s")]
    channels += rows("thigh_r", "ACCEL", "m/s^2") + rows("thigh_r", "GYRO", "rad/s")
    write(tmp_path, channels, table)
    r = load_one(tmp_path)
    np.testing.assert_allclose(np.diff(r.t_s), 0.01, atol=1e-9)
    there = np.column_stack([np.interp(r.t_s, walk.t_s, c) for c in walk.gyr_rads[:, i].T])
    off = np.delete(r.gyr("femur_r") - there, np.s_[795:810], axis=0)
    assert np.sqrt(np.mean(off**2)) < 0.05 * walk.gyr_rads[:, i].std()
    assert any("not evenly spaced" in issue.what for issue in r.issues)
    assert any("misses" in issue.what for issue in r.issues)


def test_a_point_on_no_known_segment_is_left_out_by_name(
    walk: SimulatedWalk, tmp_path: Path
) -> None:
    motion = theirs(tmp_path, walk)
    change(channels_of(motion), "left_thigh", "left_wrist")
    r = load_one(tmp_path)
    assert r.slots == ("femur_r", "calcn_r", "calcn_l")
    (issue,) = [issue for issue in r.issues if "left_wrist" in issue.what]
    assert "no segment that is known" in issue.what


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("deg/s", "rpm", "gives GYRO in 'rpm': write one of rad/s"),
        ("\tg\n", "\tn/a\n", "gives ACCEL in 'n/a': write one of m/s^2"),
        ("tracked_point", "placement", "names no column 'tracked_point'"),
        ("battery\tn/a\tMISC\tn/a\t%\n", "", "has 25 cells and channels.tsv names 24"),
        ("battery\tn/a", "battery", "has 4 of 5 cells"),
        ("GYRO\t", "VEL\t", "no sensor of"),
    ],
)
def test_channels_that_are_unclear_are_refused(
    walk: SimulatedWalk, tmp_path: Path, old: str, new: str, hint: str
) -> None:
    short = replace(
        walk, t_s=walk.t_s[:600], acc_ms2=walk.acc_ms2[:600], gyr_rads=walk.gyr_rads[:600]
    )
    change(channels_of(theirs(tmp_path, short)), old, new)
    assert hint in refusal(tmp_path)


def test_a_table_without_its_rate_or_with_a_word_is_refused(
    walk: SimulatedWalk, tmp_path: Path
) -> None:
    motion = theirs(tmp_path, walk)
    about = motion.with_suffix(".json")
    about.write_text("{}")
    assert "gives no SamplingFrequency" in refusal(tmp_path)
    about.unlink()
    assert "put it beside the table" in refusal(tmp_path)
    about.write_text('{"SamplingFrequency": 100}')
    change(motion, "\t80\n", "\tfull\n")
    assert "line 1 holds what is no number" in refusal(tmp_path)


def test_two_data_sets_side_by_side_are_two_recordings(walk: SimulatedWalk, tmp_path: Path) -> None:
    theirs(tmp_path / "monday", walk)
    theirs(tmp_path / "tuesday", walk)
    found = load_recordings(tmp_path)
    assert [r.condition.split()[0] for r in found] == ["monday", "tuesday"]
