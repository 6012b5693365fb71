"""Movements are found in folders and zips, and a C3D's angles are zero where its person stood still."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import RecordingError
from talaria_bridge.walker import UPRIGHT
from talaria_edge.kinematics import ANGLES
from talaria_training.data.movements import load_movements
from talaria_training.virtual import leg_chain

HEIGHT_M = 1.7
BONES = {"femur": "FE", "tibia": "TI", "calcn": "FO"}
DISTAL = {"femur": "tibia", "tibia": "calcn"}


def write_c3d(file: Path, angles_deg: dict[str, NDArray[np.float64]], gap: slice) -> None:
    """Plug-in Gait's bones of a person whose bones are turned against the segments by 7° about z."""
    ezc3d = pytest.importorskip("ezc3d")
    length = len(next(iter(angles_deg.values())))
    angles = {n: np.radians(angles_deg.get(n, np.zeros(length))) for n in ANGLES}
    pelvis = UPRIGHT * Rotation.from_euler("Y", np.full((length, 1), 0.5))
    pose, joints = leg_chain(angles, pelvis, np.tile([0.0, 0.0, 0.95], (length, 1)), HEIGHT_M)
    at = {"LFHD": np.tile([0.0, 0.0, HEIGHT_M - 0.08], (length, 1))}
    askew = Rotation.from_euler("z", 7.0, degrees=True)
    places = {"PEL": ("pelvis", joints["pelvis"])}
    for side in "rl":
        for bone, short in BONES.items():
            slot = f"{bone}_{side}"
            ends = joints.get(f"{DISTAL.get(bone)}_{side}", joints[slot])
            places[f"{side.upper()}{short}"] = (slot, ends)
    for name, (slot, origin) in places.items():
        bone_pose = pose[slot] * (Rotation.identity() if name[1:] == "FE" else askew)
        at[f"{name}O"] = origin
        for axis, along in (("A", [0.1, 0, 0]), ("L", [0, 0, -0.1])):
            at[f"{name}{axis}"] = origin + bone_pose.apply(along)
        far = 0.245 * HEIGHT_M if name[1:] == "FE" else 0.1  # the femur's ends in the hip
        at[f"{name}P"] = origin + bone_pose.apply([0, far, 0])
    points = np.ones((4, len(at), length))
    points[:3] = 1000.0 * np.stack([v.T for v in at.values()], axis=1)
    points[:3, :, gap] = np.nan
    written = ezc3d.c3d()
    written["parameters"]["POINT"]["RATE"]["value"] = [100.0]
    written["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    written["parameters"]["POINT"]["LABELS"]["value"] = list(at)
    written["data"]["points"] = points
    file.parent.mkdir(parents=True)
    written.write(str(file))


T_S = np.arange(250) / 100
SWING_DEG = 20.0 * np.sin(2 * np.pi * 0.8 * T_S)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    write_c3d(folder / "P1" / "Static" / "a.c3d", {"knee_angle_r": np.zeros(60)}, slice(0, 0))
    walk = {
        "hip_flexion_r": SWING_DEG,
        "knee_angle_l": 30.0 + SWING_DEG,
        "ankle_angle_r": SWING_DEG,
    }
    write_c3d(folder / "P1" / "Straight" / "b.c3d", walk, slice(200, 210))
    return folder


def test_a_c3ds_angles_count_from_quiet_standing(study: Path) -> None:
    (walk,) = load_movements(study)
    n = len(walk.t_s)
    for name, true in (("hip_flexion_r", SWING_DEG), ("knee_angle_l", 30 + SWING_DEG)):
        assert np.allclose(np.degrees(walk.angles_rad[name]), true[:n], atol=0.5), name
    assert (walk.person, walk.condition, walk.name) == ("P1", "straight", "P1/b")
    assert walk.height_m == pytest.approx(HEIGHT_M, abs=0.01)


def test_a_c3ds_walk_ends_where_markers_are_lost(study: Path) -> None:
    (walk,) = load_movements(study)
    assert len(walk.t_s) == 200


def test_a_c3ds_thigh_hangs_from_the_hip(study: Path) -> None:
    (walk,) = load_movements(study)
    thigh = np.linalg.norm(walk.origin_m["tibia_r"] - walk.origin_m["femur_r"], axis=1)
    assert np.allclose(thigh, 0.245 * HEIGHT_M, atol=0.002)
    assert (walk.origin_m["femur_r"][:, 2] > walk.origin_m["tibia_r"][:, 2]).all()


def test_somebody_who_never_stands_is_left_out_and_named(tmp_path: Path) -> None:
    write_c3d(tmp_path / "P2" / "Straight" / "b.c3d", {"hip_flexion_r": SWING_DEG}, slice(0, 0))
    said: list[str] = []
    with pytest.raises(RecordingError, match="no movement of both legs"):
        load_movements(tmp_path, said.append)
    assert any("P2" in line for line in said)


MOT = "walk\nnRows={rows}\nnColumns={columns}\ninDegrees=yes\nendheader\n"


def write_mot(file: Path, seconds: float) -> None:
    t_s = np.arange(0.0, seconds, 0.01)
    place = ("pelvis_tx", "pelvis_ty", "pelvis_tz")
    names = ("pelvis_tilt", "pelvis_list", "pelvis_rotation", *ANGLES, *place)
    values = np.tile(20.0 * np.sin(t_s)[:, None], len(names))
    rows = ["\t".join(f"{v:.6f}" for v in (t, *row)) for t, row in zip(t_s, values, strict=True)]
    text = MOT.format(rows=len(t_s), columns=len(names) + 1)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\t".join(("time", *names)) + "\n" + "\n".join(rows) + "\n")


def test_a_zip_is_read_like_the_folder_in_it_and_force_plates_are_passed_over(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "set"
    write_mot(folder / "Ann" / "walk.mot", 3.0)
    write_mot(folder / "Ann" / "blink.mot", 0.5)
    plates = MOT.format(rows=2, columns=2) + "time\tground_force_vx\n0.0\t1.0\n0.1\t1.0\n"
    (folder / "Ann" / "grf.mot").write_text(plates)
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in folder.rglob("*.mot"):
            packed.write(file, file.relative_to(tmp_path))
    for path in (folder, archive):
        said: list[str] = []
        (found,) = load_movements(path, said.append)
        assert (found.person, found.condition) == ("Ann", "walk")
        assert len(said) == 2
        assert any("0.5 s" in line for line in said)


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for path, why in ((tmp_path / "no", "does not exist"), (tmp_path / "a.txt", "neither")):
        with pytest.raises(RecordingError, match=why):
            load_movements(path)


def test_without_ezc3d_the_extra_is_named(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ezc3d", None)
    said: list[str] = []
    with pytest.raises(RecordingError):
        load_movements(study, said.append)
    assert any("talaria[c3d]" in line for line in said)
