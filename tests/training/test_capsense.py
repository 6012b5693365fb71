"""CapSense is read in any shape, and every fault of a trial is found in its data and named."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import SLOTS
from talaria_training.data.capsense import iter_capsense, load_capsense
from talaria_training.data.files import find_members
from talaria_training.data.load import load_recordings
from talaria_training.data.metadata import read_people
from talaria_training.data.plates import contacts
from talaria_training.data.recording import DataIssue

LABELS = ("torso", "pelvis", "tibia_r", "femur_r", "tibia_l", "femur_l", "toes_r", "toes_l")
STRIDE_S, STANCE = 1.2, 0.6


@dataclass
class Walk:
    """A made-up trial; what is wrong with it is said here."""

    seconds: float = 40.0
    lag_s: dict[str, float] = field(default_factory=lambda: {"r": 0.0, "l": 0.0})
    jump_at_s: float = np.inf
    jump_s: float = 0.0
    leave_out: tuple[str, ...] = ()
    edit: dict[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)


def phase(t: np.ndarray, side: str) -> np.ndarray:
    """Share of the stride since this foot's landing."""
    return ((t / STRIDE_S) + (0.5 if side == "l" else 0.0)) % 1.0


def sensors(walk: Walk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    t = np.arange(round(walk.seconds * 100)) / 100
    acc = rng.normal(0, 0.1, (len(t), 8, 3)) + np.array([0, 9.81, 0])
    gyr = rng.normal(0, 0.05, (len(t), 8, 3))
    for k, label in enumerate(LABELS):
        p = phase(t, label[-1])
        swing = np.where(p > STANCE, np.sin(np.pi * (p - STANCE) / (1 - STANCE)), 0.0)
        rolling = np.where((p > 0.45) & (p <= STANCE), (p - 0.45) / (STANCE - 0.45), 0.0)
        gyr[:, k, 2] += 5 * swing - 3 * rolling
        # The jolt comes one sample after the ground is touched.
        acc[:, k, 1] += np.where((p > 0.01) & (p < 0.02), 15.0, 0.0)
    return t, acc, gyr


def forces(t: np.ndarray, walk: Walk) -> np.ndarray:
    columns = []
    for side in "lr":
        lag = walk.lag_s[side] + np.where(t >= walk.jump_at_s, walk.jump_s, 0.0)
        p = phase(t - lag, side)
        vertical = np.where(p < STANCE, 700 * np.abs(np.sin(np.pi * p / STANCE)) ** 0.5, 0.0)
        columns += [0 * t, vertical, 0 * t]
    return np.column_stack(columns)


def table(rows: np.ndarray) -> str:
    return "".join("\t".join(f"{x:.6g}" for x in row) + "\n" for row in rows)


def trc(t: np.ndarray, vectors: np.ndarray) -> str:
    names = "\t".join(f"{n}_imu_offset_imu" for n in LABELS)
    body = np.column_stack([np.arange(1, len(t) + 1), t, vectors.reshape(len(t), -1)])
    return (
        "PathFileType\t4\t(X/Y/Z)\tx\nDataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\n"
        f"100\t100\t{len(t)}\t8\tm\nFrame#\tTime\t{names}\n\t\tX1\n\n" + table(body)
    )


def sto(t: np.ndarray, q: np.ndarray) -> str:
    names = "\t".join(f"{n}_imu_offset_imu" for n in LABELS)
    rows = "".join(
        f"{at:.2f}\t" + "\t".join(",".join(f"{x:.5g}" for x in s) for s in row) + "\n"
        for at, row in zip(t, q, strict=True)
    )
    return f"DataType=Quaternion\nversion=3\nendheader\ntime\t{names}\n{rows}"


def grf(t: np.ndarray, force: np.ndarray) -> str:
    names = "\t".join(f"{s}F{a}" for s in "lr" for a in "xyz")
    head = f"x.mot\nversion=1\nnRows={len(t)}\ninDegrees=no\nendheader\ntime\t{names}\n"
    return head + table(np.column_stack([t, force]))


def write_trial(root: Path, person: str, condition: str, walk: Walk | None = None) -> Path:
    walk = walk or Walk()
    t, acc, gyr = sensors(walk)
    q = np.tile([1.0, 0.0, 0.0, 0.0], (len(t), 8, 1))
    data = {"Accel": acc, "Gyro": gyr, "Orientations": q, "GRF": forces(t, walk)}
    data.update({kind: change(data[kind]) for kind, change in walk.edit.items()})
    kinds = {"Accel": (trc, "trc"), "Gyro": (trc, "trc"), "Orientations": (sto, "sto")}
    kinds["GRF"] = (grf, "mot")
    folder = root / "ShankAndThighExperiments" / person / condition
    folder.mkdir(parents=True, exist_ok=True)
    for kind in set(kinds) - set(walk.leave_out):
        write, suffix = kinds[kind]
        name = f"OpenSim_{person}_{condition}_{kind}.{suffix}"
        (folder / name).write_text(write(t[: len(data[kind])], data[kind]))
    return folder


def one(root: Path, walk: Walk):
    write_trial(root, "Sub01", "CSBaseline", walk)
    skipped: list[DataIssue] = []
    found = load_capsense(root, on_skip=skipped.append)
    return (found[0] if found else None), skipped


def said(recording, where: str) -> str:
    return " | ".join(str(i) for i in recording.issues if where in i.where)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("capsense")
    for person in ("Sub01", "Sub02"):
        write_trial(root, person, "CSBaseline", Walk(seconds=12))
    return root / "ShankAndThighExperiments"


def zipped(folder: Path, to: Path, prefix: str) -> Path:
    with zipfile.ZipFile(to, "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, f"{prefix}/{file.relative_to(folder.parent)}")
    return to


def test_any_level_of_the_tree_reads_alike(tree: Path) -> None:
    whole = [r.name for r in load_capsense(tree.parent)]
    assert whole == ["Sub01/CSBaseline", "Sub02/CSBaseline"]
    assert [r.name for r in load_capsense(tree)] == whole
    assert [r.name for r in load_capsense(tree / "Sub02")] == whole[1:]
    assert [r.name for r in load_capsense(tree / "Sub02" / "CSBaseline")] == whole[1:]


def test_zips_of_any_shape_read_like_the_tree(tree: Path, tmp_path: Path) -> None:
    plain = load_capsense(tree)
    people = tmp_path / "people"
    people.mkdir()
    for person in ("Sub01", "Sub02"):
        zipped(tree / person, people / f"{person}.zip", "ShankAndThighExperiments")
    whole = zipped(tree, tmp_path / "repo.zip", "CapacitiveSensingDataset-main/data")
    for path in (people, whole):
        other = load_capsense(path)
        assert [r.name for r in other] == [r.name for r in plain]
        np.testing.assert_array_equal(other[1].gyr_rads, plain[1].gyr_rads)
    assert [r.person for r in load_capsense(people / "Sub02.zip")] == ["Sub02"]


def test_a_trial_holds_every_sensor_in_its_slot(tree: Path) -> None:
    recording = load_capsense(tree)[0]
    assert (recording.person, recording.condition) == ("Sub01", "CSBaseline")
    assert recording.slots == SLOTS
    assert recording.rate_hz == 100.0
    _, acc, gyr = sensors(Walk(seconds=12))
    for slot, label in (("calcn_r", "toes_r"), ("femur_l", "femur_l"), ("pelvis", "pelvis")):
        np.testing.assert_allclose(recording.acc(slot), acc[:, LABELS.index(label)], atol=1e-4)
        np.testing.assert_allclose(recording.gyr(slot), gyr[:, LABELS.index(label)], atol=1e-4)
    assert recording.orientation is not None
    assert set(recording.orientation) == set(SLOTS)


def test_people_and_conditions_are_filtered_before_anything_is_read(tree: Path) -> None:
    seen: list[str] = []
    found = list(
        iter_capsense(tree, people={"Sub02"}, progress=lambda _d, _n, name: seen.append(name))
    )
    assert [r.person for r in found] == ["Sub02"]
    assert seen == ["Sub02/CSBaseline", ""]
    with pytest.raises(RecordingError, match="no person 'Sub09': choose from Sub01, Sub02"):
        load_capsense(tree, people={"Sub09"})
    with pytest.raises(RecordingError, match="no condition 'Run'"):
        load_capsense(tree, conditions={"Run"})


def test_a_missing_orientation_file_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    recording, _ = one(tmp_path, Walk(seconds=12, leave_out=("Orientations",)))
    assert recording.orientation is None
    assert "no Orientations file" in said(recording, "orientations")
    recording.require(slots=SLOTS)
    with pytest.raises(RecordingError, match="no orientation of pelvis"):
        recording.require(orientations=["pelvis"])


@pytest.mark.parametrize("kind", ["Accel", "Gyro"])
def test_a_trial_without_gyroscope_or_accelerometer_is_skipped_by_name(
    tmp_path: Path, kind: str
) -> None:
    recording, skipped = one(tmp_path, Walk(seconds=12, leave_out=(kind,)))
    assert recording is None
    assert [i.where for i in skipped] == ["Sub01/CSBaseline"]
    assert f"no {kind} file" in skipped[0].what


def test_a_skipped_trial_is_logged_if_nobody_listens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_trial(tmp_path, "Sub01", "CSBaseline", Walk(seconds=12, leave_out=("Gyro",)))
    assert load_capsense(tmp_path) == []
    assert "Sub01/CSBaseline" in caplog.text


def test_a_short_trial_is_skipped_by_name(tmp_path: Path) -> None:
    recording, skipped = one(tmp_path, Walk(seconds=4))
    assert recording is None
    assert "4.0 s" in skipped[0].what


def test_missing_plates_cost_the_plates_only(tmp_path: Path) -> None:
    recording, _ = one(tmp_path, Walk(seconds=12, leave_out=("GRF",)))
    assert recording.plates is None
    assert "no GRF file" in said(recording, "plates")


def test_a_truncated_file_costs_the_trial_and_says_which_line(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, "Sub01", "CSBaseline", Walk(seconds=12))
    gyro = next(folder.glob("*Gyro.trc"))
    gyro.write_text(gyro.read_text()[:-40])
    skipped: list[DataIssue] = []
    assert load_capsense(tmp_path, on_skip=skipped.append) == []
    assert "Gyro.trc, line" in skipped[0].what


def test_a_zip_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "Sub01.zip").write_bytes(b"PK no more")
    with pytest.raises(RecordingError, match=r"Sub01\.zip cannot be opened as a zip"):
        load_capsense(tmp_path)


def still(k: int, start: int = 0, stop: int | None = None) -> Callable[[np.ndarray], np.ndarray]:
    def change(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        x[start:stop, k] = x[start, k]
        return x

    return change


def lost(k: int, start: int, stop: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        x[start:stop, k] = np.nan
        return x

    return change


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"Gyro": still(6)}, "gyroscope always says"),
        ({"Accel": still(6)}, "accelerometer always says"),
        ({"Accel": still(6, 300, 600)}, "frozen for 3.0 s from 3.0 s on"),
        ({"Gyro": lost(6, 200, 300)}, "no numbers for 1.0 s from 2.0 s on"),
        ({"Gyro": lost(6, 0, 1200)}, "never delivers"),
    ],
)
def test_a_dead_sensor_is_named_and_refused_where_it_is_needed(tmp_path: Path, edit, says) -> None:
    recording, _ = one(tmp_path, Walk(seconds=12, edit=edit))
    assert recording.dead_slots == ("calcn_r",)
    assert says in said(recording, "calcn_r")
    recording.require(slots=["calcn_l", "femur_r"])
    with pytest.raises(RecordingError, match=r"no working sensor on calcn_r \("):
        recording.require(slots=["calcn_r"])
    with pytest.raises(RecordingError, match=says):
        recording.gyr("calcn_r")


def test_a_short_gap_is_bridged_and_reported(tmp_path: Path) -> None:
    recording, _ = one(tmp_path, Walk(seconds=12, edit={"Accel": lost(3, 500, 505)}))
    assert recording.dead_slots == ()
    assert "misses 5 samples" in said(recording, "femur_r")
    assert np.isfinite(recording.acc("femur_r")).all()


def test_broken_quaternions_are_bridged_if_few_and_left_out_if_long(tmp_path: Path) -> None:
    def shrink(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        x[300:303, LABELS.index("femur_l")] *= 0.3
        x[300:400, LABELS.index("torso")] *= 0.3
        return x

    recording, _ = one(tmp_path, Walk(seconds=12, edit={"Orientations": shrink}))
    np.testing.assert_allclose(np.linalg.norm(recording.orientation["femur_l"], axis=1), 1.0)
    assert "bridged" in said(recording, "orientation of femur_l")
    assert "torso" not in recording.orientation
    assert "1.0 s on end" in said(recording, "orientation of torso")


def test_plates_in_step_have_no_lag(tmp_path: Path) -> None:
    recording, _ = one(tmp_path, Walk())
    assert said(recording, "plate") == ""
    for side in "rl":
        assert abs(recording.plates.lag_s[side]) <= 0.02
        assert recording.plates.valid_until_s[side] == np.inf
        assert recording.plates.ok[side].all()


@pytest.mark.parametrize("lag_s", [0.1, -0.12])
def test_a_plate_off_by_a_constant_is_reported_and_put_right(tmp_path: Path, lag_s: float) -> None:
    recording, _ = one(tmp_path, Walk(lag_s={"r": lag_s, "l": 0.0}))
    assert recording.plates.lag_s["r"] == pytest.approx(lag_s, abs=0.021)
    assert abs(recording.plates.lag_s["l"]) <= 0.02
    assert ("late" if lag_s > 0 else "early") in said(recording, "right plate")
    initial = [c.t_s for c in contacts(recording.plates) if c.side == "r" and c.kind == "initial"]
    assert len(initial) > 20
    off = (np.array(initial) + STRIDE_S / 2) % STRIDE_S - STRIDE_S / 2
    assert np.abs(off).max() <= 0.031
    # On the sensors' clock the foot is loaded in mid-stance and free in mid-swing.
    strides = STRIDE_S * np.arange(5, 25)
    assert (recording.plates.vertical_n("r", strides + 0.06) > 100).all()
    assert (recording.plates.vertical_n("r", strides - 0.06) < 1).all()


def test_a_plate_that_jumps_is_used_up_to_there(tmp_path: Path) -> None:
    recording, _ = one(tmp_path, Walk(seconds=60, jump_at_s=40.0, jump_s=0.2))
    for side, name in (("r", "right plate"), ("l", "left plate")):
        assert 30.0 <= recording.plates.valid_until_s[side] <= 40.0
        assert abs(recording.plates.lag_s[side]) <= 0.02
        assert "jumps" in said(recording, name)
    late = np.arange(42.0, 58.0, 0.01)
    assert np.isnan(recording.plates.vertical_n("r", late)).all()
    assert all(c.t_s < 40.0 for c in contacts(recording.plates))


def test_a_plate_without_its_foot_sensor_is_not_used(tmp_path: Path) -> None:
    recording, _ = one(tmp_path, Walk(seconds=20, edit={"Gyro": still(LABELS.index("toes_l"))}))
    assert "could not be aligned" in said(recording, "left plate")
    assert not recording.plates.ok["l"].any()
    assert np.isnan(recording.plates.vertical_n("l", recording.t_s)).all()
    assert recording.plates.ok["r"].all()


def test_a_part_keeps_times_and_cuts_everything(tmp_path: Path) -> None:
    recording, _ = one(tmp_path, Walk(seconds=12))
    part = recording.part(2.0, 5.0)
    assert (part.t_s[0], part.t_s[-1], len(part.t_s)) == (2.0, 4.99, 300)
    np.testing.assert_array_equal(part.acc_ms2, recording.acc_ms2[200:500])
    assert all(len(q) == 300 for q in part.orientation.values())
    assert 1.0 <= part.plates.t_s[0] < part.plates.t_s[-1] < 6.0
    with pytest.raises(RecordingError, match="no samples from 20 to 30 s"):
        recording.part(20.0, 30.0)


def test_a_spreadsheet_that_is_none_costs_the_facts_only(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "Sub01", tmp_path / "Sub01")
    (tmp_path / "MetaData.xlsx").write_bytes(b"no spreadsheet")
    recording = load_capsense(tmp_path)[0]
    assert recording.height_m is None
    assert "cannot be read as a spreadsheet" in said(recording, "Sub01")


def test_load_recordings_finds_capsense_and_says_what_else_it_wants(
    tree: Path, tmp_path: Path
) -> None:
    assert [r.person for r in load_recordings(tree, people=["Sub01"])] == ["Sub01"]
    (tmp_path / "walk.tlog").write_bytes(b"\x00" * 50)
    for path in (tmp_path, tmp_path / "walk.tlog"):
        with pytest.raises(RecordingError, match=r"holds no recordings: give .*session\.toml"):
            load_recordings(path)
    with pytest.raises(RecordingError, match="does not exist"):
        load_recordings(tmp_path / "none")


def test_nothing_usable_is_an_error_that_says_why(tmp_path: Path) -> None:
    write_trial(tmp_path, "Sub01", "CSBaseline", Walk(seconds=4))
    with pytest.raises(RecordingError, match=r"no usable recording .*4\.0 s"):
        load_recordings(tmp_path, on_skip=lambda _: None)


@pytest.mark.data
def test_the_published_faults_are_found_in_the_data(data_root: Path) -> None:
    skipped: list[DataIssue] = []
    root = data_root / "capsense"
    five = {r.condition: r for r in load_capsense(root, {"Sub05"}, on_skip=skipped.append)}
    assert five["CSStiffKnee"].orientation is None
    assert five["CSBaseline"].orientation is not None
    assert five["CSBaseline"].plates.lag_s["r"] == pytest.approx(0.09, abs=0.03)
    assert [i.where for i in skipped] == ["Sub05/EMGBaseline"]
    assert (five["CSBaseline"].height_m, five["CSBaseline"].mass_kg) == (1.9, 81.6)


@pytest.mark.data
def test_the_published_jumps_are_found_in_the_data(data_root: Path) -> None:
    root = data_root / "capsense"
    (seven,) = load_capsense(root, {"Sub07"}, {"EMGStiffKnee"})
    (six,) = load_capsense(root, {"Sub06"}, {"CSStiffKnee"})
    (whole,) = load_capsense(root, {"Sub04"}, {"EMGBaseline"})
    for side in "rl":
        assert 35 <= seven.plates.valid_until_s[side] <= 45
        assert 45 <= six.plates.valid_until_s[side] <= 60
        assert whole.plates.valid_until_s[side] == np.inf


@pytest.mark.data
def test_the_published_spreadsheet_is_read(data_root: Path) -> None:
    _, sheet = find_members(data_root / "capsense")
    people, notes = read_people(sheet)
    assert notes == ()
    assert people["Sub01"].height_m == 1.81
    assert people["Sub08"].mass_kg == 54.7
    assert people["Sub02"].leg_m == 0.88
