"""Virtual sensors read what physics says, and features computed from them start level."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import random_params, simulate_walk
from talaria_bridge.virtual_imu import GRAVITY_MS2, SensorParams, nominal_mount, quaternions
from talaria_edge.kinematics import ANGLES, joint_angles_rad
from talaria_edge.tables.motion import MotionTable, read_table
from talaria_training.data.load import load_recordings
from talaria_training.virtual import Movement, from_motion, leg_chain, read, trial_of

HEIGHT_M = 1.7
PERFECT = SensorParams.perfect()


def movement_of(
    angles_rad: Mapping[str, NDArray[np.float64]], t_s: NDArray[np.float64]
) -> Movement:
    pelvis = Rotation.from_matrix(
        np.tile([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]], (len(t_s), 1, 1))
    )
    full = {name: angles_rad.get(name, np.zeros(len(t_s))) for name in ANGLES}
    pose, origin = leg_chain(full, pelvis, np.zeros((len(t_s), 3)), HEIGHT_M)
    return Movement("P", "walk", "P/walk", HEIGHT_M, t_s, pose, origin, full)


def swing(t_s: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.4 * np.sin(2 * np.pi * 0.8 * t_s))


T_S = np.arange(0.0, 4.0, 0.01)


def test_a_still_leg_reads_gravity_along_its_length() -> None:
    features = trial_of(read(movement_of({}, T_S), PERFECT)).features
    for slot in range(len(LEG_SLOTS)):
        own = features[:, 9 * slot : 9 * slot + 9]
        assert np.allclose(own, [0, GRAVITY_MS2, 0, 0, 0, 0, 0, 1, 0], atol=1e-3)


def test_a_swinging_thigh_reads_its_rate_and_its_centripetal_pull() -> None:
    recording = read(movement_of({"hip_flexion_r": swing(T_S)}, T_S), PERFECT)
    row = LEG_SLOTS.index("femur_r")
    to_segment = nominal_mount("femur_r")[0]
    acc = to_segment.apply(recording.acc_ms2[:, row])
    gyr = to_segment.apply(recording.gyr_rads[:, row])
    angle = swing(recording.t_s)
    w = 2 * np.pi * 0.8
    rate, pull = 0.4 * w * np.cos(w * recording.t_s), -0.4 * w * w * np.sin(w * recording.t_s)
    inner = slice(20, -20)
    assert np.allclose(gyr[inner], np.stack([0 * rate, 0 * rate, rate], 1)[inner], atol=2e-3)
    place = nominal_mount("femur_r")[1] * HEIGHT_M
    x = GRAVITY_MS2 * np.sin(angle) - pull * place[1] - rate**2 * place[0]
    y = GRAVITY_MS2 * np.cos(angle) + pull * place[0] - rate**2 * place[1]
    assert np.allclose(acc[inner, :2], np.stack([x, y], 1)[inner], atol=0.02)


def test_the_chain_gives_back_the_angles_it_was_made_from() -> None:
    random = np.random.default_rng(3)
    angles = {name: random.uniform(-0.5, 0.5, 50) for name in ANGLES}
    moved = movement_of(angles, np.arange(50) / 100)
    back = joint_angles_rad({slot: quaternions(pose) for slot, pose in moved.pose.items()})
    for name in ANGLES:
        assert np.allclose(back[name], angles[name], atol=1e-9), name


def test_readings_agree_with_the_simulators_own() -> None:
    params = replace(random_params(5), sensors=PERFECT, stand_s=1.0)
    walk = simulate_walk(seed=5, params=params, seconds=8.0)
    pose = {s: Rotation.from_quat(q, scalar_first=True) for s, q in walk.q_world_segment.items()}
    height = walk.params.height_m
    moved = Movement("S", "walk", "S", height, walk.t_s, pose, walk.origin_m, walk.angles_rad)
    mine = read(moved, PERFECT)
    rows = [walk.slots.index(slot) for slot in LEG_SLOTS]
    inner = slice(20, -20)
    off = (mine.acc_ms2 - walk.acc_ms2[:, rows])[inner]
    assert np.sqrt(np.mean(off**2)) < 0.1
    off = (mine.gyr_rads - walk.gyr_rads[:, rows])[inner]
    assert np.sqrt(np.mean(off**2)) < 0.02


def test_when_a_movement_happened_changes_no_reading() -> None:
    moved = movement_of({"knee_angle_l": 1.0 + swing(T_S)}, T_S)
    later = replace(moved, t_s=moved.t_s + 32.0)
    one, other = read(moved, seed=1), read(later, seed=1)
    assert np.allclose(one.acc_ms2, other.acc_ms2, atol=1e-5)
    assert np.allclose(one.gyr_rads, other.gyr_rads, atol=1e-5)


def test_soft_tissue_moves_the_thigh_more_than_the_foot() -> None:
    moved = movement_of({"hip_flexion_r": swing(T_S), "ankle_angle_r": swing(T_S) / 2}, T_S)
    firm = read(moved, PERFECT)
    soft = read(moved, replace(PERFECT, soft_tissue=1.0))
    off = np.sqrt(np.mean((soft.gyr_rads - firm.gyr_rads)[50:-50] ** 2, axis=(0, 2)))
    assert off[LEG_SLOTS.index("femur_r")] > off[LEG_SLOTS.index("calcn_r")] > 0


def test_features_start_with_the_true_attitude_in_mid_stride() -> None:
    late = T_S + 0.3
    moved = movement_of({"hip_flexion_r": swing(late), "hip_flexion_l": -swing(late)}, late)
    trial = trial_of(read(moved, PERFECT))
    for slot in ("femur_r", "femur_l"):
        row = LEG_SLOTS.index(slot)
        up = trial.features[:, 9 * row + 6 : 9 * row + 9] * ([1, 1, -1] if slot[-1] == "l" else 1)
        true = moved.pose[slot].inv().apply([0.0, 0.0, 1.0])[: len(up)]
        assert np.degrees(np.arccos(np.clip((up * true).sum(1), -1, 1))).max() < 2.5
    assert trial.reference == "given"


def test_a_measured_recording_is_not_taken_for_a_virtual_one() -> None:
    measured = replace(read(movement_of({}, T_S[:50])), calibration=None)
    with pytest.raises(RecordingError, match="no known mounting"):
        trial_of(measured)


def table(knee: float) -> MotionTable:
    names = ("pelvis_tilt", "pelvis_list", "pelvis_rotation", *ANGLES)
    values = np.zeros((len(T_S), len(names) + 3))
    values[:, 0] = 10.0
    values[:, names.index("hip_flexion_r")] = 30.0
    for side in "rl":
        values[:, names.index(f"knee_angle_{side}")] = knee
    values[:, -2] = 0.95
    names = (*names, "pelvis_tx", "pelvis_ty", "pelvis_tz")
    return MotionTable("walk.mot", names, T_S, values, True, {})


def test_knees_that_bend_below_zero_are_turned_round() -> None:
    one = from_motion(table(40.0), "P", "walk", HEIGHT_M)
    other = from_motion(table(-40.0), "P", "walk", HEIGHT_M)
    for moved in (one, other):
        assert np.allclose(np.degrees(moved.angles_rad["knee_angle_r"]), 40.0, atol=0.1)


def test_opensims_pelvis_tilts_back_and_its_height_points_up() -> None:
    moved = from_motion(table(40.0), "P", "walk", HEIGHT_M)
    forward = moved.pose["pelvis"].apply([1.0, 0.0, 0.0]).mean(axis=0)
    assert np.allclose(forward, [np.cos(np.radians(10)), 0, np.sin(np.radians(10))], atol=1e-6)
    assert np.allclose(moved.origin_m["pelvis"], [0, 0, 0.95], atol=1e-6)
    # Facing along x, the right is towards -y.
    assert moved.origin_m["femur_r"][0, 1] < -0.05 < 0.05 < moved.origin_m["femur_l"][0, 1]
    thigh = moved.pose["femur_r"].apply([0.0, -1.0, 0.0]).mean(axis=0)
    assert np.degrees(np.arctan2(thigh[0], -thigh[2])) == pytest.approx(40.0, abs=0.1)


def test_virtual_sensors_move_like_sub02s_real_ones(data_root: Path) -> None:
    archive = data_root / "capsense_sub02_optical.zip"
    person = data_root / "capsense" / "Sub02.zip"
    if not archive.exists() or not person.exists():
        pytest.skip(f"{data_root} lacks Sub02 and its optical angles")
    name = "CSOptimalControl/OutputData/IKoutput_20to65secs.mot"
    with zipfile.ZipFile(archive) as opened:
        moved = from_motion(read_table((name, opened.read(name))), "Sub02", "walk", 1.65)
    virtual = read(moved)
    real = load_recordings(data_root / "capsense", people={"Sub02"}, conditions={"CSBaseline"})[0]
    real = real.part(virtual.t_s[0] - 1e-6, virtual.t_s[-1] + 1e-6)
    for slot in LEG_SLOTS:
        rates = [np.linalg.norm(r.gyr(slot), axis=1) for r in (real, virtual)]
        forces = [np.linalg.norm(r.acc(slot), axis=1) for r in (real, virtual)]
        foot = slot.startswith("calcn")
        assert np.corrcoef(rates)[0, 1] > (0.90 if foot else 0.60), slot
        assert np.corrcoef(forces)[0, 1] > (0.65 if foot else 0.50), slot
        assert 0.6 < np.std(forces[1]) / np.std(forces[0]) < 1.6, slot
