"""Anybody's CSV files are read as their session.toml says, or refused in one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from talaria_bridge.errors import RecordingError
from talaria_training.data.cli import app
from talaria_training.data.load import load_recordings
from talaria_training.data.plain import load_plain
from talaria_training.data.recording import Contact, DataIssue

HOME = Path(__file__).parents[2]
EXAMPLE = HOME / "docs" / "examples" / "plain"
TOML = """
rate_hz = 50.0
acc_unit = "m/s^2"
gyr_unit = "rad/s"

[sensors.femur_r]
file = "thigh.csv"
"""
HEADER = "time,acc_x,acc_y,acc_z,gyr_x,gyr_y,gyr_z\n"


def sensor(rows: int = 300, rate_hz: float = 50.0, seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(rows) / rate_hz
    acc = rng.normal(0, 2.0, (rows, 3)) + np.array([0, 9.81, 0])
    return np.column_stack([t, acc, rng.normal(0, 1.0, (rows, 3))])


def csv(values: np.ndarray, header: str = HEADER) -> str:
    return header + "".join(",".join(f"{x:.6g}" for x in row) + "\n" for row in values)


def session(tmp_path: Path, toml: str = TOML, **files: str) -> Path:
    folder = tmp_path / "Ann" / "walk1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "session.toml").write_text(toml)
    for name, content in {"thigh": csv(sensor()), **files}.items():
        (folder / f"{name}.csv").write_text(content)
    return folder


def refusal(path: Path) -> str:
    with pytest.raises(RecordingError) as caught:
        load_plain(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_the_documented_example_is_read_as_documented() -> None:
    slow, walk = load_recordings(EXAMPLE)
    assert [r.name for r in (slow, walk)] == ["P01/slow", "P01/walk"]
    assert (walk.person, walk.condition, slow.condition) == ("P01", "level walking", "slow")
    assert (walk.height_m, walk.mass_kg, walk.rate_hz) == (1.72, 68.0, 20.0)
    assert walk.slots == slow.slots == ("femur_r", "calcn_r")
    assert (len(walk.t_s), len(slow.t_s)) == (120, 100)
    assert walk.angles_rad is not None
    assert set(walk.angles_rad) == {"hip_flexion_r", "knee_angle_r", "ankle_angle_r"}
    assert 0.6 < walk.angles_rad["knee_angle_r"].max() < 0.9
    assert walk.contacts is not None
    assert walk.contacts[:2] == (Contact(0.3, "r", "initial"), Contact(1.02, "r", "final"))
    assert (slow.angles_rad, slow.contacts) == (None, None)
    assert walk.issues == slow.issues == ()
    for r in (slow, walk):
        size = np.linalg.norm(r.acc_ms2, axis=2).mean()
        assert 9.5 < size < 10.5
    # In degrees per second the thigh of the slow session would turn by 50 times as much.
    assert 0.5 < np.abs(slow.gyr("femur_r")[:, 2]).max() < 2.0
    np.testing.assert_allclose(slow.t_s, np.arange(100) / 20.0)


def test_the_example_in_the_readme_is_the_example_in_the_folder() -> None:
    shown = re.findall(r"```toml\n(.*?)```", (HOME / "training" / "README.md").read_text(), re.S)
    filed = [(EXAMPLE / "P01" / s / "session.toml").read_text() for s in ("walk", "slow")]
    assert [f in shown for f in filed] == [True, True]


def test_root_person_and_session_read_alike(tmp_path: Path) -> None:
    folder = session(tmp_path)
    for path in (tmp_path, folder.parent, folder, folder / "session.toml"):
        (recording,) = load_plain(path)
        assert (recording.name, recording.condition) == ("Ann/walk1", "walk1")
        np.testing.assert_allclose(recording.acc("femur_r"), sensor()[:, 1:4], rtol=1e-4, atol=1e-4)


def test_units_are_converted_once_on_the_way_in(tmp_path: Path) -> None:
    values = sensor()
    values[:, 1:4] /= 9.80665
    values[:, 4:] = np.rad2deg(values[:, 4:])
    toml = TOML.replace("m/s^2", "g").replace("rad/s", "deg/s")
    (recording,) = load_plain(session(tmp_path, toml, thigh=csv(values)))
    np.testing.assert_allclose(recording.acc("femur_r"), sensor()[:, 1:4], atol=1e-3)
    np.testing.assert_allclose(recording.gyr("femur_r"), sensor()[:, 4:], atol=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("rate_hz = 50.0", "rate_hz = 50.0\nheigth_m = 1.8", "unknown key 'heigth_m'"),
        ('file = "thigh.csv"', 'file = "thigh.csv"\nfiles = 1', "'sensors.femur_r.files'"),
        ("rate_hz = 50.0", "", "lacks the key 'rate_hz'"),
        ("rate_hz = 50.0", "rate_hz = -1", "rate_hz"),
        ("rate_hz = 50.0", "rate_hz = 50.0\nheight_m = 180", "height_m"),
        ("rad/s", "rpm", "gyr_unit"),
        ("femur_r", "thigh", "'thigh' is no place for a sensor"),
        ("rate_hz = 50.0", "rate_hz = ", "cannot be read as TOML"),
        ("thigh.csv", "none.csv", "cannot be read"),
        ("50.0", "100.0", "runs at 50.00 Hz by its 'time' column"),
        ("50.0", "51.0", "runs at 50.00 Hz"),
        ("m/s^2", "g", "correct acc_unit"),
        ("rad/s", "deg/s", "correct gyr_unit"),
    ],
)
def test_a_wrong_session_file_is_refused_by_key(
    tmp_path: Path, old: str, new: str, hint: str
) -> None:
    assert hint in refusal(session(tmp_path, TOML.replace(old, new)))


def test_degrees_per_second_said_to_be_radians_are_refused(tmp_path: Path) -> None:
    values = sensor()
    values[:, 4:] = np.rad2deg(values[:, 4:])
    assert "correct gyr_unit" in refusal(session(tmp_path, thigh=csv(values)))


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda s: s.replace("gyr_y", "gy"), "no column 'gyr_y': it has time, acc_x"),
        (lambda s: re.sub(r"(?m)^0.04,[^,]*", "0.04,x", s), "line 4 holds 'x' in column acc_x"),
        (lambda s: s.replace("\n0.04,", "\n0.04,9,"), "line 4 has 8 values"),
        (lambda s: s.replace("\n0.04,", "\n0.01,"), "line 4 has time 0.01 s after 0.02 s"),
        (lambda s: s[: s.rindex(",")] + "\n", "line 301 has 6 values"),
        (lambda s: s.splitlines()[0], "not followed by a row"),
        (lambda _: "", "not followed by a row"),
        (lambda _: "\x00\x01\x02" * 50, "thigh.csv"),
    ],
)
def test_a_broken_csv_names_file_and_line(tmp_path: Path, change, hint: str) -> None:
    message = refusal(session(tmp_path, thigh=change(csv(sensor()))))
    assert "thigh.csv" in message
    assert hint in message


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.replace(",", ";"),
        lambda s: s.replace(",", "\t"),
        lambda s: s.replace("\n", "\r\n"),
        lambda s: "\ufeff" + s,
        lambda s: "# made by hand\n\n" + s,
        lambda s: s.replace("time", "note,time").replace("\n", "\nhello,", 300),
        lambda s: re.sub(r"(?m)^[^,\n]*,", "", s),
    ],
)
def test_csv_dialects_read_alike(tmp_path: Path, change) -> None:
    text = csv(sensor())
    (plain,) = load_plain(session(tmp_path / "a", thigh=text))
    (other,) = load_plain(session(tmp_path / "b", thigh=change(text)))
    np.testing.assert_array_equal(other.acc_ms2, plain.acc_ms2)
    np.testing.assert_allclose(other.t_s, plain.t_s, atol=1e-9)


def test_time_in_microseconds_is_read_as_seconds(tmp_path: Path) -> None:
    values = sensor()
    lines = csv(values).replace("time,", "Time (us),").splitlines()
    rows = [f"{round(t * 1e6)},{line.split(',', 1)[1]}" for t, line in zip(values[:, 0], lines[1:])]  # noqa: B905
    toml = 'time_column = "Time (us)"\ntime_unit = "us"\n' + TOML
    text = "\n".join([lines[0], *rows]) + "\n"
    (recording,) = load_plain(session(tmp_path, toml, thigh=text))
    np.testing.assert_allclose(recording.t_s, values[:, 0])


def test_a_gap_in_time_is_reported_and_not_filled(tmp_path: Path) -> None:
    values = np.delete(sensor(), slice(100, 110), axis=0)
    (recording,) = load_plain(session(tmp_path, thigh=csv(values)))
    assert len(recording.t_s) == 290
    (issue,) = recording.issues
    assert "about 10 samples are missing" in issue.what


TWO = TOML + '\n[sensors.calcn_r]\nfile = "foot.csv"\n'


def test_sensors_on_two_clocks_are_refused(tmp_path: Path) -> None:
    late = sensor()
    late[:, 0] += 0.5
    assert "disagree about time" in refusal(session(tmp_path, TWO, foot=csv(late)))
    longer = csv(sensor(rows=400))
    assert "differ in length by 100 rows" in refusal(session(tmp_path, TWO, foot=longer))


def test_files_a_few_samples_apart_are_cut_and_reported(tmp_path: Path) -> None:
    (recording,) = load_plain(session(tmp_path, TWO, foot=csv(sensor(rows=297))))
    assert len(recording.t_s) == 297
    assert "3 samples apart" in recording.issues[0].what


def test_a_dead_sensor_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    dead = sensor()
    dead[:, 4:] = 0.0
    (recording,) = load_plain(session(tmp_path, TWO, foot=csv(dead)))
    assert recording.dead_slots == ("calcn_r",)
    recording.require(slots=["femur_r"])
    with pytest.raises(RecordingError, match=r"calcn_r .the gyroscope always says 0 on its x axis"):
        recording.require(slots=["femur_r", "calcn_r"])


def test_a_short_session_is_skipped_by_name(tmp_path: Path) -> None:
    skipped: list[DataIssue] = []
    folder = session(tmp_path, thigh=csv(sensor(rows=100)))
    assert load_plain(folder, on_skip=skipped.append) == []
    assert (skipped[0].where, skipped[0].what[:10]) == ("Ann/walk1", "lasts 2.0 ")


def angles(knee_deg: np.ndarray, t: np.ndarray, unit: str = "deg") -> str:
    knee = knee_deg if unit == "deg" else np.deg2rad(knee_deg)
    return csv(np.column_stack([t, knee]), "time,knee_angle_r\n")


KNEE = 30 + 25 * np.sin(np.arange(300) / 8)
T_S = np.arange(300) / 50.0


@pytest.mark.parametrize("unit", ["deg", "rad"])
def test_angles_are_radians_whatever_was_declared(tmp_path: Path, unit: str) -> None:
    folder = session(tmp_path, f'angles_unit = "{unit}"\n' + TOML, angles=angles(KNEE, T_S, unit))
    (recording,) = load_plain(folder)
    np.testing.assert_allclose(recording.angles_rad["knee_angle_r"], np.deg2rad(KNEE), atol=1e-4)


def test_angles_of_an_undeclared_or_a_denied_unit_are_refused(tmp_path: Path) -> None:
    assert "say angles_unit" in refusal(session(tmp_path, angles=angles(KNEE, T_S)))
    for said, are in (("deg", "rad"), ("rad", "deg")):
        toml = f'angles_unit = "{said}"\n' + TOML
        message = refusal(session(tmp_path, toml, angles=angles(KNEE, T_S, are)))
        assert "angles.csv" in message
        assert "correct angles_unit in session.toml" in message


def test_angles_may_cover_a_part_and_are_nan_elsewhere(tmp_path: Path) -> None:
    folder = session(
        tmp_path, 'angles_unit = "deg"\n' + TOML, angles=angles(KNEE[50:90], T_S[50:90])
    )
    knee = load_plain(folder)[0].angles_rad["knee_angle_r"]
    assert np.flatnonzero(np.isfinite(knee)).tolist() == list(range(50, 90))
    np.testing.assert_allclose(knee[50:90], np.deg2rad(KNEE[50:90]), atol=1e-4)


@pytest.mark.parametrize(
    ("t_s", "hint"),
    [(T_S + 0.009, "sensors' instants"), (T_S * 2, "sensors' instants"), (T_S + 90, "no instant")],
)
def test_angles_on_another_clock_are_refused(tmp_path: Path, t_s: np.ndarray, hint: str) -> None:
    folder = session(tmp_path, 'angles_unit = "deg"\n' + TOML, angles=angles(KNEE, t_s))
    assert hint in refusal(folder)


def test_contacts_are_sorted_and_their_words_checked(tmp_path: Path) -> None:
    text = "time,side,kind\n1.5,Right,final\n1.0,l,initial\n"
    (recording,) = load_plain(session(tmp_path, contacts=text))
    assert recording.contacts == (Contact(1.0, "l", "initial"), Contact(1.5, "r", "final"))
    for bad, hint in (("Right", "line 2 holds 'middle' in column side"), ("final", "column kind")):
        folder = session(tmp_path, contacts=text.replace(bad, "middle"))
        assert hint in refusal(folder)


def test_one_mounting_word_stays_within_its_person(tmp_path: Path) -> None:
    (recording,) = load_plain(session(tmp_path, 'mounting = "monday"\n' + TOML))
    assert recording.mounting == "Ann/monday"


def test_people_and_conditions_not_there_are_named(tmp_path: Path) -> None:
    session(tmp_path)
    assert len(load_recordings(tmp_path, people={"Ann"}, conditions={"walk1"})) == 1
    with pytest.raises(RecordingError, match="no person 'Bob': choose from Ann"):
        load_recordings(tmp_path, people={"Bob"})
    with pytest.raises(RecordingError, match="no condition 'run': choose from walk1"):
        load_recordings(tmp_path, conditions={"run"})


def test_info_lists_recordings_and_issues() -> None:
    result = CliRunner().invoke(app, ["info", str(EXAMPLE)], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    assert "P01/walk" in result.output
    assert "no issues" in result.output


def test_info_names_a_dead_sensor(tmp_path: Path) -> None:
    dead = sensor()
    dead[:, 4:] = 0.0
    session(tmp_path, TWO, foot=csv(dead))
    result = CliRunner().invoke(app, ["info", str(tmp_path)], env={"COLUMNS": "160"})
    assert "2 (1 dead)" in result.output
    assert "Ann/walk1, calcn_r: the gyroscope always says 0 on its x axis" in result.output


@pytest.mark.parametrize("path", ["none", "session.toml", "empty", "walk.tlog"])
def test_info_on_a_bad_path_ends_with_2_and_one_sentence(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "walk.tlog").write_bytes(b"\x00\xff" * 20)
    (tmp_path / "session.toml").write_text("rate_hz = 1\nfoo = 2\n")
    result = CliRunner().invoke(app, ["info", str(tmp_path / path)])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    said = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(said) == 1
