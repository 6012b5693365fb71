"""OpenSim's text formats are read exactly, or refused by file, line and remedy."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.errors import RecordingError
from talaria_edge.tables.motion import read_table
from talaria_training.data.opensim import read_orientations, read_trc

TRC = (
    "PathFileType\t4\t(X/Y/Z)\twalk.trc\n"
    "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\n"
    "100\t100\t3\t2\tm\t100\n"
    "Frame#\tTime\theel\ttoe\n"
    "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n"
    "\n"
    "1\t0.00\t1\t2\t3\t4\t5\t6\n"
    "2\t0.01\t1.5\t2\t3\t4\t5\t6\n"
    "3\t0.02\t2\t2\t3\t4\t5\t6\n"
)
STO = (
    "DataRate=100.000000\nDataType=Quaternion\nversion=3\nOpenSimVersion=4.4\nendheader\n"
    "time\tpelvis_imu\tfemur_r_imu\n"
    "0\t1,0,0,0\t0,1,0,0\n"
    "0.01\t0.98,0,0,0\t0,0,1.02,0\n"
)


def mot(in_degrees: str | None, knee: list[float], head: str = "", end: str = "endheader") -> bytes:
    degrees = "" if in_degrees is None else f"inDegrees={in_degrees}\n"
    rows = "".join(f"{0.01 * i:.2f}\t{k}\t{k / 2}\t0.9\n" for i, k in enumerate(knee))
    lines = f"Coordinates\nversion=1\nnRows={len(knee)}\n{head}{degrees}\nUnits are S.I.\n{end}\n"
    return (lines + "time\tknee_angle_r\thip_flexion_r\tpelvis_ty\n" + rows).encode()


WALK_DEG = [5.0, 20.0, 62.0, 30.0]
WALK_RAD = np.deg2rad(WALK_DEG).tolist()


def test_trc_gives_vectors_rate_and_units() -> None:
    table = read_trc(("walk.trc", TRC.encode()))
    assert table.names == ("heel", "toe")
    assert (table.rate_hz, table.units) == (100.0, "m")
    np.testing.assert_array_equal(table.t_s, [0.0, 0.01, 0.02])
    np.testing.assert_array_equal(table.vector("heel"), [[1, 2, 3], [1.5, 2, 3], [2, 2, 3]])
    np.testing.assert_array_equal(table.vector("toe")[0], [4, 5, 6])


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.replace("\n", "\r\n"),
        lambda s: "\n" + s,
        lambda s: "\ufeff" + s,
        lambda s: s.replace("6\n", "6\t\n"),
        lambda s: s.replace("heel\ttoe", "heel\t\t\ttoe\t\t"),
        lambda s: s.replace("Z2\n\n1", "Z2\n1"),
        lambda s: s + "\n\n",
    ],
)
def test_trc_dialects_read_alike(change) -> None:
    plain = read_trc(("walk.trc", TRC.encode()))
    other = read_trc(("walk.trc", change(TRC).encode()))
    assert other.names == plain.names
    np.testing.assert_array_equal(other.values, plain.values)


def test_an_empty_trc_cell_is_a_missing_marker() -> None:
    table = read_trc(("walk.trc", TRC.replace("2\t0.01\t1.5\t2\t3", "2\t0.01\t\t\t").encode()))
    assert np.isnan(table.vector("heel")[1]).all()
    assert np.isfinite(table.vector("toe")).all()


@pytest.mark.parametrize(
    ("old", "new", "line", "hint"),
    [
        ("PathFileType", "Nonsense", 1, "give a .trc"),
        ("Frame#", "Marker", 4, "label line"),
        ("\theel\ttoe", "", 4, "name them"),
        ("100\t100\t3", "fast\t100\t3", 3, "DataRate"),
        ("100\t100\t3", "200\t100\t3", 3, "100.00 Hz"),
        ("100\t100\t3", "100\t100\t9", 3, "cut short"),
        ("100\t100\t3", "100\t100\tnan", 3, "NumFrames"),
        ("2\t0.01\t1.5\t2", "2\t0.01\t1.5", 8, "7 values"),
        ("2\t0.01\t1.5", "2\t0.01\tx", 8, "'x' in column 3"),
        ("2\t0.01", "2\t0.00", 8, "increase"),
        ("2\t0.01", "2\tnan", 8, "increase"),
        ("3\t0.02\t2\t2\t3\t4\t5\t6", "3\t0.02\t2\t2", 9, "cut short"),
    ],
)
def test_a_broken_trc_names_file_line_and_fix(old: str, new: str, line: int, hint: str) -> None:
    with pytest.raises(RecordingError) as caught:
        read_trc(("walk.trc", TRC.replace(old, new).encode()))
    assert f"walk.trc, line {line} " in str(caught.value)
    assert hint in str(caught.value)


def test_windows_line_ends_do_not_shift_line_numbers() -> None:
    broken = TRC.replace("2\t0.01\t1.5", "2\t0.01\tx").replace("\n", "\r\n")
    with pytest.raises(RecordingError, match=r"walk\.trc, line 8 "):
        read_trc(("walk.trc", broken.encode()))


def test_a_missing_column_lists_those_there_are() -> None:
    with pytest.raises(RecordingError, match=r"no column 'knee'.*heel, toe"):
        read_trc(("walk.trc", TRC.encode())).vector("knee")


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be read"):
        read_trc(tmp_path / "none.trc")


def test_degrees_become_radians_and_radians_stay() -> None:
    deg = read_table(("a.mot", mot("yes", WALK_DEG)))
    rad = read_table(("a.mot", mot("no", WALK_RAD)))
    assert (deg.in_degrees, rad.in_degrees) == (True, False)
    names = ["hip_flexion_r", "knee_angle_r"]
    np.testing.assert_allclose(deg.angles_rad(names), rad.angles_rad(names), atol=1e-12)
    np.testing.assert_allclose(deg.angles_rad(names)[:, 1], WALK_RAD)
    np.testing.assert_allclose(deg.column("pelvis_ty"), 0.9)


def test_without_in_degrees_the_caller_must_declare() -> None:
    with pytest.raises(RecordingError, match=r"no inDegrees line.*angles="):
        read_table(("a.mot", mot(None, WALK_DEG))).angles_rad(["knee_angle_r"])
    for unit, values in (("deg", WALK_DEG), ("rad", WALK_RAD)):
        table = read_table(("a.mot", mot(None, values)), angles=unit)  # type: ignore[arg-type]
        np.testing.assert_allclose(table.angles_rad(["knee_angle_r"])[:, 0], WALK_RAD)


@pytest.mark.parametrize(
    ("header", "declared", "values", "looks"),
    [
        ("yes", None, WALK_RAD, "looks like radians"),
        ("no", None, WALK_DEG, "looks like degrees"),
        (None, "deg", WALK_RAD, "looks like radians"),
        (None, "rad", WALK_DEG, "looks like degrees"),
    ],
)
def test_angles_are_never_silently_57_times_off(header, declared, values, looks) -> None:
    table = read_table(("a.mot", mot(header, values)), angles=declared)
    with pytest.raises(RecordingError, match=looks):
        table.angles_rad(["knee_angle_r"])


def test_header_and_caller_agreeing_is_final() -> None:
    table = read_table(("a.mot", mot("yes", WALK_RAD)), angles="deg")
    np.testing.assert_allclose(table.angles_rad(["knee_angle_r"])[:, 0], np.deg2rad(WALK_RAD))


def test_header_and_caller_contradicting_is_an_error() -> None:
    with pytest.raises(RecordingError, match="inDegrees=yes but was declared"):
        read_table(("a.mot", mot("yes", WALK_DEG)), angles="rad").angles_rad(["knee_angle_r"])


def test_standing_still_in_degrees_is_not_mistaken_for_radians() -> None:
    table = read_table(("a.mot", mot("yes", [1.1, 1.2, 1.3, 1.2])))
    assert np.abs(table.angles_rad(["knee_angle_r"])).max() < 0.03


@pytest.mark.parametrize(
    ("name", "hint"), [("pelvis_ty", "translation"), ("knee_angle_r_beta", "coupled")]
)
def test_what_is_no_independent_angle_is_refused_as_one(name: str, hint: str) -> None:
    table = read_table(("a.mot", mot("yes", WALK_DEG)))
    with pytest.raises(RecordingError, match=hint):
        table.angles_rad([name])


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.replace(b"\n", b"\r\n"),
        lambda b: b"\n" + b,
        lambda b: b.replace(b"endheader", b"  endheader "),
        lambda b: b.replace(b"0.9\n", b"0.9\t\n").replace(b"pelvis_ty\n", b"pelvis_ty\t\n"),
        lambda b: b.replace(b"\t", b"   "),
        lambda b: b.replace(b"inDegrees=yes", b"indegrees = Yes"),
        lambda b: b"name something\ndatarows 99\n" + b,
    ],
)
def test_mot_dialects_read_alike(change) -> None:
    plain = read_table(("a.mot", mot("yes", WALK_DEG)))
    other = read_table(("a.mot", change(mot("yes", WALK_DEG))))
    assert (other.names, other.in_degrees) == (plain.names, plain.in_degrees)
    np.testing.assert_array_equal(other.values, plain.values)


@pytest.mark.parametrize(
    ("old", "new", "line", "hint"),
    [
        (b"endheader", b"end", 13, "endheader"),
        (b"nRows=4", b"nRows=9", 3, "9 but 4 rows"),
        (b"inDegrees=yes", b"inDegrees=maybe", 4, "inDegrees=yes or =no"),
        (b"time\tknee", b"t\tknee", 8, "'time'"),
        (b"hip_flexion_r", b"knee_angle_r", 8, "unique"),
        (b"0.01\t20.0", b"0.01\tabc", 10, "'abc' in column 2"),
        (b"0.01\t20.0\t", b"0.01\t", 10, "3 values"),
        (b"0.02\t", b"0.005\t", 11, "increase"),
        (b"version=1", b"DataType=Vec3", 2, "Vec3"),
    ],
)
def test_a_broken_mot_names_file_line_and_fix(old: bytes, new: bytes, line: int, hint: str) -> None:
    with pytest.raises(RecordingError) as caught:
        read_table(("a.mot", mot("yes", WALK_DEG).replace(old, new)))
    assert f"a.mot, line {line} " in str(caught.value)
    assert hint in str(caught.value)


def test_random_bytes_are_no_mot() -> None:
    noise = np.random.default_rng(1).bytes(4000)
    for read in (read_trc, read_table, read_orientations):
        with pytest.raises(RecordingError, match=r"noise.bin, line \d+"):
            read(("noise.bin", noise))


def test_orientations_are_renormalised_scalar_first() -> None:
    table = read_orientations(("o.sto", STO.encode()))
    assert table.names == ("pelvis_imu", "femur_r_imu")
    np.testing.assert_allclose(table.q[0], [[1, 0, 0, 0], [0, 1, 0, 0]])
    np.testing.assert_allclose(np.linalg.norm(table.q, axis=2), 1.0)
    assert not table.doubtful.any()


def test_an_empty_first_line_before_an_orientation_header_is_passed_over() -> None:
    table = read_orientations(("o.sto", ("\n" + STO).encode()))
    assert table.q.shape == (2, 2, 4)


def test_quaternions_resampled_through_zero_are_bridged_and_marked() -> None:
    angle = np.linspace(0.0, 1.0, 11)
    q = np.c_[np.cos(angle / 2), np.sin(angle / 2), 0 * angle, 0 * angle]
    # The sign flips after row 5, and the resampling pulled rows 4 to 6 through zero.
    filed = q * np.r_[1, 1, 1, 1, 0.6, 0.05, -0.6, -1, -1, -1, -1][:, None]
    filed[5, 2] = 0.2
    rows = "".join(
        f"{0.01 * i:.2f}\t" + ",".join(f"{x:.8f}" for x in r) + "\n" for i, r in enumerate(filed)
    )
    head = "DataType=Quaternion\nendheader\ntime\tfemur_l_imu\n"
    table = read_orientations(("o.sto", (head + rows).encode()))
    assert np.flatnonzero(table.doubtful[:, 0]).tolist() == [4, 5, 6]
    apart = 2 * np.arccos(np.clip(np.abs(np.sum(table.q[:, 0] * q, axis=1)), 0, 1))
    assert apart.max() < np.deg2rad(0.2)


@pytest.mark.parametrize(
    ("old", "new", "line", "hint"),
    [
        ("DataType=Quaternion", "DataType=double", 2, "read_table"),
        ("0.01\t0.98,0,0,0", "0.01\t0.98,0,0", 8, "8 values"),
        ("1,0,0,0", "1,x,0,0", 7, "'x' in column 3"),
        ("1,0,0,0", "90,0,0,0", 7, "length 90"),
        ("DataRate=100", "DataRate=50", 1, "50 Hz"),
    ],
)
def test_a_broken_orientation_file_names_file_line_and_fix(
    old: str, new: str, line: int, hint: str
) -> None:
    with pytest.raises(RecordingError) as caught:
        read_orientations(("o.sto", STO.replace(old, new).encode()))
    assert f"o.sto, line {line} " in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.data
def test_published_files_of_three_kinds_are_read(data_root: Path) -> None:
    with zipfile.ZipFile(data_root / "opensim_running.zip") as z:
        name = "data/osim/HamnerMultipleTrials/run300_ik.mot"
        knee = read_table((name, z.read(name))).angles_rad(["knee_angle_r"])
        # This model flexes its knee negatively, and its file is in radians.
        assert -110 < np.rad2deg(knee).min() < -95
        name = "data/osim/Sprinter/run0500cms.mot"
        assert np.rad2deg(read_table((name, z.read(name))).angles_rad(["knee_angle_r"])).max() > 120
        name = "data/osim/Sprinter/run0500cms.trc"
        assert read_trc((name, z.read(name))).values.shape == (569, 53, 3)
    with zipfile.ZipFile(data_root / "opensense_example.zip") as z:
        names = [n for n in z.namelist() if n.endswith("RHJCSwinger.sto")]
        assert read_orientations((names[0], z.read(names[0]))).q.shape == (1401, 8, 4)
