"""Xsens text files with a mapping and OpenSim results are read as recordings, gaps as gaps."""

from __future__ import annotations

import functools
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import RecordingError
from talaria_bridge.simulator import SimulatedWalk, random_params, simulate_walk
from talaria_edge.kinematics import ANGLES, rotate
from talaria_training.data.load import load_recordings
from talaria_training.data.opensense import iter_opensense
from talaria_training.data.opensense_files import read_mapping
from talaria_training.data.placement_names import slot_of
from talaria_training.data.recording import DataIssue, Recording
from talaria_training.data.xsens import rates_from_orientation, read_xsens

IDS = {"femur_r": "00B4227C", "femur_l": "00B421EE", "calcn_r": "00B421EF", "calcn_l": "00B421E6"}
PREFIX = "MT_012005D6_009-001"
LAG_S = 1.7


@pytest.fixture(scope="module")
def walk() -> SimulatedWalk:
    return simulate_walk(seed=31, seconds=20.0)


@functools.cache
def export(walk: SimulatedWalk, slot: str, start: int = 472, *, gyr: bool = True) -> list[str]:
    """Write one sensor's rows as MT Manager would."""
    i = walk.slots.index(slot)
    turns = Rotation.from_quat(walk.q_world_sensor[slot], scalar_first=True).as_matrix()
    names = [f"Acc_{a}" for a in "XYZ"] + ([f"Gyr_{a}" for a in "XYZ"] if gyr else [])
    columns = [walk.acc_ms2[:, i]] + ([walk.gyr_rads[:, i]] if gyr else [])
    names += [f"Mat[{r}][{c}]" for c in (1, 2, 3) for r in (1, 2, 3)]
    table = np.hstack([*columns, turns.transpose(0, 2, 1).reshape(-1, 9)])
    head = [
        "// Start Time: Unknown",
        f"// Update Rate: {walk.rate_hz:.1f}Hz",
        "// Firmware Version: 4.0.2",
        "\t".join(["PacketCounter", "SampleTimeFine", "Year", *names]),
    ]
    rows = [
        "\t".join([f"{(start + k) % 65536:05d}", "", "", *(f"{x:.6f}" for x in row)])
        for k, row in enumerate(table)
    ]
    return head + rows


def mapping(prefix: str = PREFIX, ids: dict[str, str] = IDS) -> str:
    sensors = "".join(
        f'<ExperimentalSensor name="_{sensor}"><name_in_model>{slot}_imu</name_in_model>'
        "</ExperimentalSensor>"
        for slot, sensor in ids.items()
    )
    return (
        '<?xml version="1.0"?><OpenSimDocument Version="40000"><XsensDataReaderSettings>'
        f"<trial_prefix>{prefix}</trial_prefix><ExperimentalSensors>{sensors}"
        "</ExperimentalSensors></XsensDataReaderSettings></OpenSimDocument>"
    )


def inverse_kinematics(walk: SimulatedWalk, lag_s: float = LAG_S) -> str:
    """Write the true angles in degrees, on a clock that is `lag_s` behind the sensors'."""
    rows = [
        "\t".join(
            [
                f"{t - lag_s:.4f}",
                "0.9",
                *(f"{np.degrees(walk.angles_rad[a][k]):.5f}" for a in ANGLES),
            ]
        )
        for k, t in enumerate(walk.t_s)
        if t >= lag_s
    ]
    head = ["walking", "version=1", f"nRows={len(rows)}", f"nColumns={len(ANGLES) + 2}"]
    return "\n".join(
        [*head, "inDegrees=yes", "endheader", "\t".join(["time", "pelvis_ty", *ANGLES]), *rows]
    )


def layout(root: Path, walk: SimulatedWalk, *, gyr: bool = True, motion: bool = True) -> Path:
    """Lay a person's walk out as Al Borno's set does; return the folder of the text files."""
    trial = root / "Subject03" / "walking"
    imu = trial / "IMU" / "xsens"
    imu.mkdir(parents=True)
    for slot, sensor in IDS.items():
        (imu / f"{PREFIX}_{sensor}.txt").write_text("\r\n".join(export(walk, slot, gyr=gyr)))
    (trial / "IMU" / "myIMUMappings.xml").write_text(mapping())
    if motion:
        (trial / "Mocap" / "ikResults").mkdir(parents=True)
        (trial / "Mocap" / "ikResults" / "walking_IK.mot").write_text(inverse_kinematics(walk))
    return imu


def load_one(root: Path) -> Recording:
    (recording,) = load_recordings(root)
    return recording


def refusal(root: Path) -> str:
    skipped: list[DataIssue] = []
    assert list(iter_opensense(root, on_skip=skipped.append)) == []
    (issue,) = skipped
    assert "\n" not in str(issue)
    return str(issue)


def edit(file: Path, rows: slice, new: list[str] | None = None) -> None:
    lines = file.read_text().splitlines()
    lines[4:] = [r for k, r in enumerate(lines[4:]) if k not in range(*rows.indices(len(lines)))]
    file.write_text("\n".join(lines if new is None else lines + new))


def test_a_walk_comes_back_as_it_was_written(tmp_path: Path, walk: SimulatedWalk) -> None:
    layout(tmp_path, walk)
    r = load_one(tmp_path)
    assert (r.person, r.condition, r.rate_hz) == ("Subject03", "walking", 100.0)
    order = [walk.slots.index(s) for s in r.slots]
    np.testing.assert_allclose(r.acc_ms2, walk.acc_ms2[:, order], atol=1e-6)
    np.testing.assert_allclose(r.gyr_rads, walk.gyr_rads[:, order], atol=1e-6)
    np.testing.assert_allclose(r.t_s, walk.t_s, atol=1e-9)
    assert r.orientation is not None
    for slot in r.slots:
        q, true = r.orientation[slot], walk.q_world_sensor[slot]
        np.testing.assert_allclose(np.abs(np.sum(q * true, axis=1)), 1.0, atol=1e-5)


def test_the_angles_are_laid_on_the_sensors_clock(tmp_path: Path, walk: SimulatedWalk) -> None:
    layout(tmp_path, walk)
    r = load_one(tmp_path)
    assert r.angles_rad is not None
    assert set(r.angles_rad) == set(ANGLES)
    known = np.isfinite(r.angles_rad["knee_angle_r"])
    assert known.mean() > 0.9
    off = r.angles_rad["knee_angle_r"] - walk.angles_rad["knee_angle_r"]
    assert np.degrees(np.sqrt(np.mean(off[known] ** 2))) < 1.0
    (said,) = [issue.what for issue in r.issues if "clock is" in issue.what]
    assert float(said.split()[3]) == pytest.approx(LAG_S, abs=0.015)


def test_inverse_kinematics_of_the_sensors_is_no_reference(
    tmp_path: Path, walk: SimulatedWalk
) -> None:
    imu = layout(tmp_path, walk, motion=False)
    (imu / "ik_walking_orientations.mot").write_text(inverse_kinematics(walk))
    assert load_one(tmp_path).angles_rad is None


def test_another_persons_angles_are_not_used(tmp_path: Path, walk: SimulatedWalk) -> None:
    imu = layout(tmp_path, walk)
    other = inverse_kinematics(simulate_walk(seed=77, seconds=20.0))
    (imu.parents[1] / "Mocap" / "ikResults" / "walking_IK.mot").write_text(other)
    r = load_one(tmp_path)
    assert r.angles_rad is None
    assert any(i.consequence == "its angles are not used" for i in r.issues)


def test_lost_packets_stay_gaps(tmp_path: Path, walk: SimulatedWalk) -> None:
    imu = layout(tmp_path, walk, motion=False)
    edit(imu / f"{PREFIX}_{IDS['calcn_r']}.txt", slice(900, 905))
    r = load_one(tmp_path)
    assert len(r.t_s) == len(walk.t_s)
    at = walk.slots.index("calcn_r")
    # What follows the gap is where it was: closed up, it would be five samples early.
    np.testing.assert_allclose(r.gyr("calcn_r")[905:], walk.gyr_rads[905:, at], atol=1e-6)
    assert any(i.what == "5 of 2000 packets were lost" for i in r.issues)
    assert any("misses 5 samples" in i.what for i in r.issues)


def test_a_long_gap_leaves_the_longest_part(tmp_path: Path, walk: SimulatedWalk) -> None:
    imu = layout(tmp_path, walk, motion=False)
    edit(imu / f"{PREFIX}_{IDS['femur_l']}.txt", slice(1500, 1560))
    r = load_one(tmp_path)
    assert (len(r.t_s), r.t_s[-1]) == (1500, pytest.approx(14.99))
    assert r.dead_slots == ()
    assert any("from 0.0 to 15.0 s" in i.consequence for i in r.issues)


def test_a_counter_that_begins_anew_goes_on(tmp_path: Path, walk: SimulatedWalk) -> None:
    imu = layout(tmp_path, walk, motion=False)
    for slot, sensor in IDS.items():
        start = 65530 if slot != "calcn_l" else 65536 + 2  # the left foot's first packets were lost
        part = walk if slot != "calcn_l" else _from(walk, 8)
        (imu / f"{PREFIX}_{sensor}.txt").write_text("\n".join(export(part, slot, start)))
    r = load_one(tmp_path)
    assert len(r.t_s) == len(walk.t_s) - 8
    at = walk.slots.index("calcn_l")
    np.testing.assert_allclose(r.acc("calcn_l"), walk.acc_ms2[8:, at], atol=1e-6)
    np.testing.assert_allclose(
        r.acc("femur_r"), walk.acc_ms2[8:, walk.slots.index("femur_r")], atol=1e-6
    )


def _from(walk: SimulatedWalk, first: int) -> SimulatedWalk:
    q = {slot: turns[first:] for slot, turns in walk.q_world_sensor.items()}
    return replace(
        walk, acc_ms2=walk.acc_ms2[first:], gyr_rads=walk.gyr_rads[first:], q_world_sensor=q
    )


def test_forty_hertz_is_forty_hertz(tmp_path: Path) -> None:
    params = replace(random_params(31), rate_hz=40.0)
    slow = simulate_walk(seed=31, params=params, seconds=20.0)
    layout(tmp_path, slow)
    r = load_one(tmp_path)
    assert r.rate_hz == 40.0
    assert r.t_s[-1] == pytest.approx(19.975)
    assert r.angles_rad is not None
    off = r.angles_rad["knee_angle_r"] - slow.angles_rad["knee_angle_r"]
    assert np.degrees(np.sqrt(np.nanmean(off**2))) < 1.0


def test_rates_come_from_the_orientation_where_there_is_no_gyroscope(
    tmp_path: Path, walk: SimulatedWalk
) -> None:
    layout(tmp_path, walk, gyr=False, motion=False)
    r = load_one(tmp_path)
    i = walk.slots.index("femur_r")
    # Half a sample late, so beside the mean of this sample and the one before.
    there = 0.5 * (walk.gyr_rads[1:, i] + walk.gyr_rads[:-1, i])
    off = r.gyr("femur_r")[1:] - there
    assert np.sqrt(np.mean(off**2)) < 0.1 * np.sqrt(np.mean(there**2))
    assert any("no gyroscope" in issue.what for issue in r.issues)


def test_a_known_turn_gives_its_rate() -> None:
    angle = 0.02 * np.arange(50)
    q = Rotation.from_euler("y", angle[:, None]).as_quat(scalar_first=True)
    q[20] = np.nan
    rates = rates_from_orientation(q, 100.0)
    assert np.isnan(rates[20:22]).all()
    known = np.delete(rates, [20, 21], axis=0)
    np.testing.assert_allclose(known, np.tile([0.0, 2.0, 0.0], (48, 1)), atol=1e-9)


def test_opensims_own_example_is_read(data_root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(data_root / "opensense_example.zip") as archive:
        for name in archive.namelist():
            if "OpenSenseExample/IMUData/" in name or name.endswith(
                "OpenSenseExample/myIMUMappings.xml"
            ):
                archive.extract(name, tmp_path)
    r = load_one(tmp_path)
    assert len(r.slots) == 8
    assert (r.rate_hz, r.dead_slots, r.angles_rad) == (100.0, (), None)
    assert r.orientation is not None
    for slot in r.slots:
        up = rotate(r.orientation[slot], r.acc(slot)).mean(axis=0)
        assert np.linalg.norm(up - [0, 0, 9.81]) < 0.6  # the matrix maps sensor to a z-up world


@pytest.mark.parametrize(
    ("line", "new", "hint"),
    [
        (1, "// no rate here", "write '// Update Rate"),
        (3, "PacketCounter\tGyr_X\tGyr_Y\tGyr_Z", "Acc_X, Acc_Y and Acc_Z"),
        (3, "Frame\tAcc_X", "names no PacketCounter column"),
        (9, "00480", "has 1 cells"),
        (9, None, "holds what is no number"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, walk: SimulatedWalk, line: int, new: str | None, hint: str
) -> None:
    lines = export(walk, "femur_r")[:200]
    lines[line] = lines[line].replace(".", ",") if new is None else new
    (tmp_path / "MT_x_00B4227C.txt").write_text("\n".join(lines))
    with pytest.raises(RecordingError) as caught:
        read_xsens(tmp_path / "MT_x_00B4227C.txt")
    assert hint in str(caught.value)


def test_two_recordings_in_one_file_are_refused(tmp_path: Path, walk: SimulatedWalk) -> None:
    head = export(walk, "femur_r", 5000)[:300]
    (tmp_path / "MT_x_00B4227C.txt").write_text(
        "\n".join(head + export(walk, "femur_r", 100)[4:300])
    )
    with pytest.raises(RecordingError, match="counts back"):
        read_xsens(tmp_path / "MT_x_00B4227C.txt")


def test_a_mapping_may_be_a_table(tmp_path: Path, walk: SimulatedWalk) -> None:
    imu = layout(tmp_path, walk, motion=False)
    (imu.parent / "myIMUMappings.xml").unlink()
    rows = "".join(f"{sensor},{slot}\n" for slot, sensor in IDS.items())
    (imu / "sensors.csv").write_text("sensor,segment\n" + rows)
    assert load_one(tmp_path).slots == ("femur_r", "femur_l", "calcn_r", "calcn_l")


def test_a_missing_or_doubtful_mapping_is_refused(tmp_path: Path, walk: SimulatedWalk) -> None:
    imu = layout(tmp_path, walk, motion=False)
    file = imu.parent / "myIMUMappings.xml"
    for prefix in ("one", "two"):
        (imu / f"{prefix}.xml").write_text(mapping(prefix))
    assert "2 mappings" in refusal(tmp_path)
    (imu / "one.xml").write_text(mapping())
    assert load_one(tmp_path).slots[0] == "femur_r"
    for each in (imu / "one.xml", imu / "two.xml", file):
        each.unlink()
    assert "no mapping says" in refusal(tmp_path)


def test_a_sensor_on_no_known_segment_is_named_and_left_out(
    tmp_path: Path, walk: SimulatedWalk
) -> None:
    imu = layout(tmp_path, walk, motion=False)
    ids = {"femur_r": IDS["femur_r"], "radius_l": IDS["femur_l"], "calcn_r": IDS["calcn_r"]}
    (imu.parent / "myIMUMappings.xml").write_text(mapping(ids=ids))
    r = load_one(tmp_path)
    assert r.slots == ("femur_r", "calcn_r")
    said = {i.where.rsplit(" ", 1)[-1]: i.what for i in r.issues}
    assert "'radius_l_imu'" in said[IDS["femur_l"]]
    assert "does not name it" in said[IDS["calcn_l"]]


def test_people_are_chosen_by_name(tmp_path: Path, walk: SimulatedWalk) -> None:
    layout(tmp_path, walk, motion=False)
    assert len(load_recordings(tmp_path, people={"Subject03"})) == 1
    with pytest.raises(RecordingError, match="no person 'Subject09'"):
        load_recordings(tmp_path, people={"Subject09"})


def test_what_is_no_mapping_is_none(tmp_path: Path) -> None:
    for name, text in (("a.xml", "<IMUPlacer/>"), ("b.xml", "<broken"), ("c.csv", "time,x\n1,2\n")):
        (tmp_path / name).write_text(text)
        assert read_mapping(tmp_path / name) is None


@pytest.mark.parametrize(
    ("words", "slot"),
    [
        ("femur_r_imu", "femur_r"),
        ("toes_l_imu_offset_imu", "calcn_l"),
        ("left_thigh", "femur_l"),
        ("RightFoot", "calcn_r"),
        ("LeftUpperLeg", "femur_l"),
        ("shank L", "tibia_l"),
        ("rfoot", "calcn_r"),
        ("LowerBack", "pelvis"),
        ("lower_back", "pelvis"),
        ("Sternum", "torso"),
        ("left_wrist", None),
        ("thigh", None),
        ("left right foot", None),
        ("left_pelvis", None),
        ("pelvis_thigh_r", None),
        ("", None),
    ],
)
def test_names_of_places_are_understood_or_left_alone(words: str, slot: str | None) -> None:
    assert slot_of(words) == slot
