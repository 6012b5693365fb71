"""Every planted fault is named, and a sound recording has none."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from talaria_bridge.errors import RecordingError
from talaria_bridge.simulator import simulate_walk
from talaria_training.data.check import check_recording, check_set
from talaria_training.data.check_frames import AXES, check_axes, check_orientations
from talaria_training.data.check_reference import check_reference
from talaria_training.data.check_signals import check_channels, check_clock, check_units
from talaria_training.data.check_walk import check_places
from talaria_training.data.cli import app, fault_table
from talaria_training.data.faults import Fault, Severity
from talaria_training.data.recording import DataIssue, Plates, Recording
from talaria_training.data.reference_lag import calibrate_anywhere

SLOTS = ("femur_r", "femur_l", "tibia_r", "tibia_l", "calcn_r", "calcn_l")
Check = Callable[[Recording], list[Fault]]


@pytest.fixture(scope="module")
def sound() -> Recording:
    walk = simulate_walk(seed=12, seconds=24.0, slots=SLOTS)
    return Recording(
        person="Sim12",
        condition="walk",
        name="Sim12/walk",
        rate_hz=walk.rate_hz,
        t_s=walk.t_s,
        slots=SLOTS,
        acc_ms2=walk.acc_ms2,
        gyr_rads=walk.gyr_rads,
        orientation=dict(walk.q_world_sensor),
        angles_rad=dict(walk.angles_rad),
    )


@pytest.fixture(scope="module")
def calibrated(sound: Recording) -> Recording:
    return replace(sound, calibration=calibrate_anywhere(sound))


def with_sensor(
    r: Recording,
    slot: str,
    acc: Callable[[np.ndarray], np.ndarray] | None = None,
    gyr: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Recording:
    """Change one sensor's numbers."""
    i = r.slots.index(slot)
    a, g = r.acc_ms2.copy(), r.gyr_rads.copy()
    a[:, i] = acc(a[:, i]) if acc else a[:, i]
    g[:, i] = gyr(g[:, i]) if gyr else g[:, i]
    return replace(r, acc_ms2=a, gyr_rads=g)


def exchanged(r: Recording, one: str, other: str) -> Recording:
    order = list(range(len(r.slots)))
    i, k = r.slots.index(one), r.slots.index(other)
    order[i], order[k] = k, i
    return replace(r, acc_ms2=r.acc_ms2[:, order], gyr_rads=r.gyr_rads[:, order], orientation=None)


def with_angles(r: Recording, change: Callable[[str, np.ndarray], np.ndarray]) -> Recording:
    assert r.angles_rad is not None
    return replace(r, angles_rad={n: change(n, a) for n, a in r.angles_rad.items()})


def with_turns(r: Recording, slot: str, change: Callable[[np.ndarray], np.ndarray]) -> Recording:
    assert r.orientation is not None
    return replace(r, orientation={**r.orientation, slot: change(r.orientation[slot])})


def only(faults: list[Fault]) -> Fault:
    (fault,) = faults
    assert re.fullmatch(r"[^\n]+\.", str(fault))
    return fault


def test_a_sound_recording_has_no_fault(sound: Recording) -> None:
    assert check_recording(sound) == []


def _half_rows(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.repeat(x[::2], 2, axis=0)[: len(x)])


def _clipped(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(x, -4.0, 4.0))


def _constant(x: np.ndarray) -> np.ndarray:
    return np.column_stack([x[:, 0], np.full(len(x), 0.5), x[:, 2]])


def _frozen(x: np.ndarray) -> np.ndarray:
    out = x.copy()
    out[900:1100] = out[900]
    return out


def _lost(x: np.ndarray) -> np.ndarray:
    out = x.copy()
    out[900:1100] = np.nan
    return out


def _doubled_axis(x: np.ndarray) -> np.ndarray:
    return np.asarray(x[:, [0, 0, 2]])


def _without_gravity(r: Recording) -> Recording:
    assert r.orientation is not None
    up = Rotation.from_quat(r.orientation["calcn_r"], scalar_first=True).inv().apply([0, 0, 9.81])
    return with_sensor(r, "calcn_r", acc=lambda a: a - up)


def foot(
    acc: Callable[[np.ndarray], np.ndarray] | None = None,
    gyr: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Callable[[Recording], Recording]:
    return lambda r: with_sensor(r, "calcn_r", acc, gyr)


def jump(by_s: float) -> Callable[[Recording], Recording]:
    return lambda r: replace(r, t_s=r.t_s + by_s * (r.t_s > 10))


@pytest.mark.parametrize(
    ("check", "plant", "severity", "said"),
    [
        (check_units, foot(acc=lambda a: a / 9.80665), "spoils", "as if it were in g"),
        (check_units, foot(acc=lambda a: a * 102.0), "spoils", "cm/s² or mg"),
        (check_units, foot(acc=lambda a: a * 208.8), "spoils", "as raw counts would"),
        (check_units, foot(acc=lambda a: a * 1.24), "weakens", "instead of 9.8"),
        (check_units, _without_gravity, "spoils", "gravity has been taken out"),
        (check_units, foot(gyr=np.degrees), "spoils", "as if its rates were in °/s"),
        (check_units, foot(gyr=np.radians), "spoils", "converted twice"),
        (check_channels, foot(_half_rows, _half_rows), "weakens", "repeat the one before"),
        (check_channels, foot(gyr=_clipped), "weakens", "at the end of its range (4 on"),
        (check_channels, foot(gyr=_constant), "spoils", "always says 0.5 on its y axis"),
        (check_channels, foot(_frozen), "spoils", "is frozen for 2.0 s"),
        (check_channels, foot(_lost), "spoils", "no numbers for 2.0 s"),
        (check_channels, foot(gyr=_doubled_axis), "spoils", "gyr_x and gyr_y hold the same"),
        (check_clock, jump(0.3), "weakens", "about 30 samples are missing"),
        (check_clock, jump(-0.3), "spoils", "does not increase at 1 places"),
        (check_clock, lambda r: replace(r, t_s=r.t_s * 1.28), "spoils", "runs at 78.12 Hz"),
    ],
)
def test_a_fault_of_one_channel_is_named_and_nothing_else(
    sound: Recording,
    check: Check,
    plant: Callable[[Recording], Recording],
    severity: str,
    said: str,
) -> None:
    fault = only(check(plant(sound)))
    assert said in fault.what
    assert fault.severity.word == severity


def test_a_copied_sensor_is_named(sound: Recording) -> None:
    i, k = sound.slots.index("femur_r"), sound.slots.index("femur_l")
    acc, gyr = sound.acc_ms2.copy(), sound.gyr_rads.copy()
    acc[:, k], gyr[:, k] = acc[:, i], gyr[:, i]
    fault = only(check_channels(replace(sound, acc_ms2=acc, gyr_rads=gyr)))
    assert (fault.part, fault.severity) == ("femur_r and femur_l", Severity.SPOILS)


def test_what_rests_on_a_wrong_unit_is_not_complained_of_too(sound: Recording) -> None:
    fault = only(check_recording(with_sensor(sound, "calcn_r", gyr=np.degrees)))
    assert fault.part == "calcn_r"


@pytest.mark.parametrize("slot", ["calcn_r", "calcn_l"])
@pytest.mark.parametrize("modality", ["gyr", "both"])
def test_left_handed_axes_are_named(sound: Recording, slot: str, modality: str) -> None:
    mirror = [1.0, 1.0, -1.0]
    # Which axis flexes depends on the mounting, so all are reversed, or one of both.
    if modality == "gyr":
        spoilt = with_sensor(sound, slot, gyr=np.negative)
    else:
        spoilt = with_sensor(sound, slot, acc=lambda a: a * mirror, gyr=lambda g: g * mirror)
    fault = only(check_axes(spoilt))
    assert (fault.part, fault.severity) == (slot, Severity.SPOILS)
    assert "left-handed" in fault.action


def _through(axes: np.ndarray, gyr: np.ndarray) -> np.ndarray:
    return np.asarray(gyr @ axes.T)


def test_exchanged_axes_of_a_gyroscope_are_named(sound: Recording) -> None:
    faults = [
        check_axes(with_sensor(sound, "calcn_l", gyr=functools.partial(_through, axes)))
        for axes in AXES[[8, 16, 24, 32, 40]]
    ]
    # An exchange that leaves the flexion axis where it is cannot be seen in a walk.
    assert sum(bool(found) for found in faults) >= 4


def test_axes_are_not_judged_by_how_a_sensor_is_mounted(sound: Recording) -> None:
    turn = Rotation.from_rotvec([0.4, 2.0, -1.1])
    assert check_axes(with_sensor(sound, "calcn_r", turn.apply, turn.apply)) == []


def _late(q: np.ndarray) -> np.ndarray:
    return np.concatenate((np.repeat(q[:1], 6, axis=0), q[:-6]))


def _shrunk(q: np.ndarray) -> np.ndarray:
    out = q.copy()
    out[500:560] *= np.linspace(1.0, 0.4, 60)[:, None]
    return out


def _y_up(q: np.ndarray) -> np.ndarray:
    turned = Rotation.from_euler("x", -90, degrees=True) * Rotation.from_quat(q, scalar_first=True)
    return np.asarray(turned.as_quat(scalar_first=True))


def _other_axes(q: np.ndarray) -> np.ndarray:
    turned = Rotation.from_quat(q, scalar_first=True) * Rotation.from_euler("z", 90, degrees=True)
    return np.asarray(turned.as_quat(scalar_first=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_shrunk, "not of length 1"),
        (lambda q: q * [1, -1, -1, -1], "world to sensor: invert it"),
        (lambda q: q[:, [1, 2, 3, 0]], "its scalar comes last: put it first"),
        (_late, "0.06 s behind its own gyroscope"),
        (_y_up, "nearest y"),
        (_other_axes, "of the gyroscope fit"),
        (lambda q: q[::-1], "belongs to this sensor"),
    ],
    ids=["length", "inverted", "order", "late", "y up", "axes", "foreign"],
)
def test_an_orientation_that_denies_its_sensor_is_named(
    sound: Recording, change: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    fault = only(check_orientations(with_turns(sound, "femur_l", change)))
    assert fault.part == "orientation of femur_l"
    assert said in f"{fault.what}: {fault.action}"


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("femur_r", "calcn_r", "are swapped"),
        ("calcn_r", "calcn_l", "right and left"),
        ("tibia_r", "tibia_l", "feet of the other side"),
    ],
)
def test_swapped_sensors_are_named(sound: Recording, one: str, other: str, said: str) -> None:
    found = check_places(exchanged(sound, one, other))
    assert any(
        said in f.what.casefold()
        and f.severity is Severity.SPOILS
        and {one, other} <= set(f.part.split(", "))
        for f in found
    )


def test_somebody_who_never_stands_still_is_named(sound: Recording) -> None:
    fault = only(check_places(sound.part(8.0, 24.0)))
    assert fault.part == "calibration"
    assert "never still" in fault.what


def _shifted(r: Recording, lag_s: float) -> Recording:
    return with_angles(r, lambda _, a: np.interp(r.t_s + lag_s, r.t_s, a, np.nan, np.nan))


@pytest.mark.parametrize(
    ("lag_s", "severity"), [(0.15, "spoils"), (-0.03, "weakens"), (0.7, "spoils")]
)
def test_a_lag_of_the_reference_is_measured(
    calibrated: Recording, lag_s: float, severity: str
) -> None:
    fault = only(check_reference(_shifted(calibrated, lag_s)))
    found = float(fault.action.split()[1])
    assert found == pytest.approx(lag_s, abs=0.012)
    assert fault.severity.word == severity
    assert "match 1.00, lead 0." in fault.what


def _sides(r: Recording) -> Recording:
    assert r.angles_rad is not None
    other = {"r": "l", "l": "r"}
    return replace(r, angles_rad={n[:-1] + other[n[-1]]: a for n, a in r.angles_rad.items()})


def _jumping(name: str, a: np.ndarray) -> np.ndarray:
    out = a.copy()
    if name == "knee_angle_r":
        out[1000:1003] += 0.8
    return out


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lambda r: with_angles(r, lambda _, a: np.degrees(a)), "they are in degrees"),
        (lambda r: with_angles(r, lambda _, a: np.radians(a)), "taken for degrees"),
        (lambda r: with_angles(r, lambda n, a: -a if n == "knee_angle_l" else a), "extension counts positive"),
        (_sides, "right leg moves as the left"),
        (lambda r: with_angles(r, lambda n, a: a + 1.2 if n == "ankle_angle_r" else a), "is outside"),
        (lambda r: with_angles(r, _jumping), "it jumps 2 times"),
        (lambda r: with_angles(r, lambda _, a: a[::-1]), "do not move with"),
        (lambda r: with_angles(r, lambda _, a: np.full_like(a, np.nan)), "hardly any"),
    ],
    ids=["degrees", "radians", "knee", "sides", "range", "jump", "foreign", "empty"],
)  # fmt: skip
def test_a_reference_that_cannot_be_right_is_named(
    calibrated: Recording, plant: Callable[[Recording], Recording], said: str
) -> None:
    assert said in only(check_reference(plant(calibrated))).what


def test_what_the_loader_dealt_with_is_listed_and_a_lost_foot_weakens(sound: Recording) -> None:
    issues = (
        DataIssue("Sim12/walk, calcn_r", "the gyroscope is frozen", "this sensor is not used"),
        DataIssue("Sim12/walk, tibia_r", "the gyroscope is frozen", "this sensor is not used"),
    )
    spoilt = replace(sound, dead_slots=("calcn_r", "tibia_r"), issues=issues, angles_rad=None)
    words = {f.part: f.severity for f in check_recording(spoilt)}
    assert words["calcn_r"] is Severity.WEAKENS
    assert words["tibia_r"] is Severity.NOTE


def test_one_fault_in_many_recordings_is_one_row() -> None:
    faults = [
        Fault(Severity.WEAKENS, f"Sub0{k}/walk", "calcn_l", f"it reads 12.{k} m/s²", "calibrate it")
        for k in range(5)
    ]
    table = fault_table([*faults, replace(faults[0], part="calcn_r")], 5)
    assert table.row_count == 2
    assert next(iter(table.columns[1].cells)) == "Sub00/walk and 4 more: calcn_l"


def test_a_foot_that_shakes_at_every_landing_agrees_with_its_orientation(sound: Recording) -> None:
    landing = np.abs(np.sin(sound.t_s * 5.5)) ** 9
    shaking = 8.0 * landing * np.sin(2 * np.pi * 25.0 * sound.t_s)
    faster = with_sensor(sound, "calcn_l", gyr=lambda g: g + shaking[:, None] * [1, 0, 0])
    assert check_orientations(faster) == []


def test_a_plate_that_cannot_be_used_throughout_weakens(sound: Recording) -> None:
    t_s = np.arange(100) / 10.0
    half = {"r": t_s >= 0, "l": t_s < 5.0}
    plates = Plates(t_s, {side: np.zeros((100, 3)) for side in "rl"}, half)
    issues = (
        DataIssue("Sim12/walk, right plate", "is 0.10 s late", "the lag is taken out"),
        DataIssue("Sim12/walk, left plate", "jumps", "it is used until 5 s only"),
    )
    spoilt = with_sensor(replace(sound, plates=plates, issues=issues), "calcn_r", gyr=np.degrees)
    words = {f.part: f.severity for f in check_recording(spoilt)}
    assert words["left plate"] is Severity.WEAKENS
    assert words["right plate"] is Severity.NOTE


TOML = """
rate_hz = 100.0
acc_unit = "m/s^2"
gyr_unit = "rad/s"

[sensors.calcn_r]
file = "foot.csv"
"""


def plain(root: Path, name: str, r: Recording, unit: str = "m/s^2") -> None:
    folder = root / "Ann" / name
    folder.mkdir(parents=True)
    (folder / "session.toml").write_text(TOML.replace("m/s^2", unit))
    rows = np.column_stack([r.t_s, r.acc("calcn_r"), r.gyr("calcn_r")])
    head = "time,acc_x,acc_y,acc_z,gyr_x,gyr_y,gyr_z\n"
    (folder / "foot.csv").write_text(
        head + "".join(",".join(f"{x:.6g}" for x in row) + "\n" for row in rows)
    )


def test_one_session_that_cannot_be_read_does_not_hide_the_others(
    sound: Recording, tmp_path: Path
) -> None:
    plain(tmp_path, "walk1", sound, unit="g")
    plain(tmp_path, "walk2", with_sensor(sound, "calcn_r", lambda a: a * 1.24))
    faults, count = check_set(tmp_path)
    assert count == 1
    assert [(f.recording, f.severity) for f in faults] == [
        ("Ann/walk1", Severity.SPOILS),
        ("Ann/walk2", Severity.WEAKENS),
    ]
    assert faults[0].action.startswith("correct acc_unit")
    with pytest.raises(RecordingError, match="nobody of that name"):
        check_set(tmp_path, people={"Bob"})


def test_the_command_says_by_its_exit_code_whether_a_set_is_spoilt(
    sound: Recording, tmp_path: Path
) -> None:
    plain(tmp_path / "good", "walk", sound)
    plain(tmp_path / "bad", "walk", sound, unit="g")
    runner = CliRunner(env={"COLUMNS": "200"})
    good = runner.invoke(app, ["check", str(tmp_path / "good")])
    assert (good.exit_code, "nothing is wrong" in good.output) == (0, True)
    report = tmp_path / "faults.json"
    bad = runner.invoke(app, ["check", str(tmp_path / "bad"), "--json", str(report)])
    assert bad.exit_code == 1
    assert "Ann/walk" in bad.output
    about = json.loads(report.read_text())
    assert about["spoiled"] is True
    assert about["faults"][0]["severity"] == "spoils"
    none = runner.invoke(app, ["check", str(tmp_path / "nowhere")])
    assert none.exit_code == 2
    assert "does not exist" in none.output
