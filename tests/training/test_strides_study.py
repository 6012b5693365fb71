from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import RecordingError
from talaria_bridge.simulator import SensorParams, WalkerParams, simulate_walk
from talaria_training.data.gaitmap import (
    GAITMAP_ARCHIVE,
    XIO_ARCHIVE,
    MarkedWalk,
    find_archive,
    load_gaitmap,
    load_xio,
)
from talaria_training.data.recording import Recording
from talaria_training.strides_study import (
    belt_rows,
    by_person,
    calibrate_alone,
    check,
    optical_errors,
    stream_strides,
)
from talaria_training.strides_tables import strides_tables

SENSORS = ("left_sensor", "right_sensor")
AXES = [f"{kind}_{axis}" for kind in ("acc", "gyr") for axis in "xyz"]


def gaitmap_files() -> dict[str, str]:
    """Three samples whose numbers say where they belong: left 1.., right 2.., markers in mm."""
    heading = [(s, a) for a in AXES for s in SENSORS]
    imu = "sensor," + ",".join(s for s, _ in heading) + "\naxis," + ",".join(a for _, a in heading)
    cells = [10 * (SENSORS.index(s) + 1) + AXES.index(a) for s, a in heading]
    imu += "".join(f"\n{k}," + ",".join(map(str, cells)) for k in range(3)) + "\n"
    labels = ["L_TOE", "R_TOE", "L_FCC", "R_FCC"]
    mocap = "," + ",".join(x for x in labels for _ in "xyz") + "\n," + ",".join("xyz" * 4)
    cells = [1000 * i + 100 * j for i in range(4) for j in range(3)]
    mocap += "".join(f"\n{k}," + ",".join(map(str, cells)) for k in range(2)) + "\n"
    return {"imu_sample.csv": imu, "mocap_sample.csv": mocap}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def packed(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"example_data/{name}", text)
    return path


def test_gaitmap_columns_end_up_where_they_belong(tmp_path):
    for path in (write(tmp_path, gaitmap_files()), packed(tmp_path / "a.zip", gaitmap_files())):
        walk = load_gaitmap(path)
        recording = walk.recording
        assert recording.acc("calcn_l")[0].tolist() == [10, 11, 12]
        assert recording.acc("calcn_r")[0].tolist() == [20, 21, 22]
        assert np.rad2deg(recording.gyr("calcn_r")[2]) == pytest.approx([23, 24, 25])
        assert walk.heel_m["r"][0] == pytest.approx([3.0, 3.1, 3.2])
        assert walk.toe_m["l"][1] == pytest.approx([0.0, 0.1, 0.2])
        assert recording.t_s[1] == pytest.approx(1 / 204.8)


def test_a_missing_column_or_file_is_named(tmp_path):
    files = gaitmap_files()
    broken = {**files, "imu_sample.csv": files["imu_sample.csv"].replace("gyr_z", "gyr_w")}
    with pytest.raises(RecordingError, match="right_sensor gyr_z"):
        load_gaitmap(write(tmp_path, broken))
    with pytest.raises(RecordingError, match=r"no short_walk\.csv"):
        load_xio(tmp_path)
    with pytest.raises(RecordingError, match="no table of numbers"):
        load_gaitmap(write(tmp_path, {**files, "mocap_sample.csv": "a\nb\nc,d\n"}))
    with pytest.raises(RecordingError, match="rows of 2 values under a heading of 3"):
        load_xio(write(tmp_path, {"short_walk.csv": "a,b,c\n1,2\n"}))
    with pytest.raises(RecordingError, match="2 columns and not time and two vectors"):
        load_xio(write(tmp_path, {"short_walk.csv": "a,b\n1,2\n"}))
    unmarked = files["mocap_sample.csv"].replace("R_FCC", "R_XXX")
    with pytest.raises(RecordingError, match="R_FCC"):
        load_gaitmap(write(tmp_path, {**files, "mocap_sample.csv": unmarked}))


def test_xio_stamps_may_repeat_and_the_clock_is_even(tmp_path):
    rows = [(0.0, 1), (0.0, 3), (0.01, 4), (0.02, 6), (0.03, 8)]
    text = "Time,gx,gy,gz,ax,ay,az\n"
    text += "".join(f"{t},{x},0,0,0,0,1\n" for t, x in rows)
    short, long = load_xio(write(tmp_path, {"short_walk.csv": text, "long_walk.csv": text}))
    assert (short.path_m, long.path_m) == (25.0, 60.0)
    recording = short.recording
    assert recording.t_s == pytest.approx(np.arange(6) / 200)
    assert np.rad2deg(recording.gyr("calcn_r")[:, 0]) == pytest.approx([2, 3, 4, 5, 6, 7])
    assert recording.acc("calcn_r")[:, 2] == pytest.approx(9.80665)


@pytest.fixture(scope="module")
def marked() -> MarkedWalk:
    """A simulated walker whose true sensor places stand in for the optical markers."""
    slots = ("calcn_r", "calcn_l")
    walk = simulate_walk(5, WalkerParams(sensors=SensorParams.perfect(), seconds=16.0), slots=slots)
    recording = Recording(
        "Sim", "walk", "Sim/walk", walk.rate_hz, walk.t_s, slots, walk.acc_ms2, walk.gyr_rads
    )
    heel = {slot[-1]: walk.sensor_m[slot] for slot in slots}
    toe = {}
    for slot in slots:
        segment = Rotation.from_quat(walk.q_world_segment[slot], scalar_first=True)
        toe[slot[-1]] = heel[slot[-1]] + segment.apply([0.2, 0.0, 0.0])
    return MarkedWalk(recording, walk.t_s, heel, toe)


def test_perfect_sensors_on_a_known_walker_are_right_to_two_centimetres(marked):
    figures = optical_errors(marked)
    assert figures["unknown"] == 0
    assert figures["all"]["strides"] > 14
    assert figures["all"]["length_mae_m"] < 0.02
    assert abs(figures["all"]["speed_bias_ms"]) < 0.02


def test_a_reference_that_is_a_tenth_longer_shows_as_a_tenth(marked):
    longer = {side: 1.1 * place for side, place in marked.heel_m.items()}
    stretched = MarkedWalk(marked.recording, marked.t_s, longer, marked.toe_m)
    bias = optical_errors(stretched)["all"]["length_bias_percent"]
    assert bias == pytest.approx(-100 / 11, abs=1.5)


def test_speed_is_measured_against_the_belt(marked):
    slots = marked.recording.slots
    names = ("femur_r", "femur_l", *slots)
    # The thighs only have to be there: no length comes from them.
    acc, gyr = (np.concatenate([x, x], axis=1) for x in vectors(marked.recording))
    recording = Recording(
        "Sim", "walk", "Sim/walk", 100.0, marked.recording.t_s, names, acc, gyr, mounting="Sim/x"
    )
    strides = stream_strides(marked.recording, calibrated(marked.recording))
    speed = sum(s.length_m for s in strides) / sum(s.time_s for s in strides)
    rows, plates = belt_rows([recording], {"Sim": speed / 1.05})
    assert {row.side for row in rows} == {"r", "l"}
    assert [row.speed_error_percent for row in rows] == pytest.approx([5.0, 5.0], abs=1.0)
    assert not any(row.chosen_on for row in rows)
    person = by_person(rows)["Sim"]
    assert person["strides"] == len(strides)
    assert person["speed_error_percent"] == pytest.approx(5.0, abs=0.5)
    assert plates == [{"name": "Sim/walk", "side": side} for side in ("r", "l")]


def vectors(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    return recording.acc_ms2, recording.gyr_rads


def calibrated(recording: Recording):
    calibration = calibrate_alone(recording)
    assert calibration is not None
    return calibration


def test_nothing_to_check_is_said(tmp_path):
    with pytest.raises(RecordingError, match="nothing to check strides against"):
        check(tmp_path)


def test_archives_are_found_at_in_and_beside_a_path(tmp_path):
    inside = tmp_path / "data"
    inside.mkdir()
    archive = packed(tmp_path / GAITMAP_ARCHIVE, gaitmap_files())
    assert find_archive(inside, GAITMAP_ARCHIVE) == archive
    assert find_archive(tmp_path, GAITMAP_ARCHIVE) == archive
    assert find_archive(archive, GAITMAP_ARCHIVE) == archive
    assert find_archive(inside, XIO_ARCHIVE) is None


def test_a_real_walker_is_within_five_centimetres_of_the_markers(data_root):
    archive = data_root / GAITMAP_ARCHIVE
    if not archive.exists():
        pytest.skip(f"no {GAITMAP_ARCHIVE} in {data_root}")
    walk = load_gaitmap(archive)
    out = replace(walk, recording=walk.recording.part(0.0, 17.0))  # until the turn
    figures = optical_errors(out)
    assert figures["unknown"] == 0
    assert figures["all"]["strides"] > 20
    assert abs(figures["all"]["length_bias_m"]) < 0.03
    assert figures["all"]["length_mae_m"] < 0.05
    (table,) = strides_tables({"optical": figures})
    assert table.row_count == 2
