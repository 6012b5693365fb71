"""Data sets as motions: signs, units, clocks, and what nobody measured stays unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import RecordingError
from talaria_bridge.simulator import random_params, simulate_walk
from talaria_bridge.walker import UPRIGHT
from talaria_edge.generate.motion import (
    CHANNELS,
    PELVIS,
    RATE_HZ,
    Conditions,
    Motion,
    check_values,
)
from talaria_edge.kinematics import ANGLES, CHAIN_SLOTS
from talaria_training.data.recording import Recording
from talaria_training.generate import sources, sources_cycles
from talaria_training.generate.sources_c3d import force_of, motion_of, turned_rad
from talaria_training.generate.sources_capsense import (
    pelvis_angles,
    styles_of,
    velocity_ms,
    walk_of,
)
from talaria_training.generate.sources_curves import forces_at, pelvis_curves, slow_heading_rad
from talaria_training.generate.sources_cycles import chains_of, on_a_clock
from talaria_training.generate.sources_opensim import read_opensim
from talaria_training.generate.windows import cut
from talaria_training.kinetics.overground import GroundStep
from talaria_training.reference import walking_samples
from talaria_training.strides.running import CHANNELS as STRIDE_CHANNELS
from talaria_training.strides.table import POINTS, StrideTable
from talaria_training.virtual import Movement

G_MS2 = 9.80665


def channel(motion: Motion, name: str) -> np.ndarray:
    return motion.values[:, CHANNELS.index(name)].astype(float)


# The body's velocity from plates.


def walked_bw(t_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forces of both feet that move a body as (T, 3) says, forward, up, right."""
    hz = 0.8
    turn = 2 * np.pi * hz * t_s
    velocity = np.column_stack(
        [0.06 * np.sin(2 * turn), 0.08 * np.cos(2 * turn), 0.12 * np.sin(turn)]
    )
    push = np.gradient(velocity, t_s, axis=0) / G_MS2
    share = 0.5 + 0.5 * np.sin(turn)
    force = np.zeros((len(t_s), 6))
    for first, part, outwards in ((0, share, 1.0), (3, 1 - share, -1.0)):
        force[:, first] = part * push[:, 0]
        force[:, first + 1] = part * push[:, 2] * outwards
        force[:, first + 2] = part * (1.0 + push[:, 1])
    return force, velocity


def test_newton_gives_the_velocity_that_the_forces_came_from_around_the_belts() -> None:
    force, velocity = walked_bw(np.arange(2000) / RATE_HZ)
    found = velocity_ms(force, 0.75)
    assert np.isnan(found[:100]).all()
    assert np.isnan(found[-100:]).all()
    inner = slice(200, -200)
    np.testing.assert_allclose(found[inner] - [0.75, 0.0, 0.0], velocity[inner], atol=0.01)


def test_an_offset_of_a_plate_is_gone_from_the_first_sample_on() -> None:
    force, velocity = walked_bw(np.arange(4000) / RATE_HZ)
    force[:, 0] += 0.1
    known = slice(100, -100)
    found = velocity_ms(force, 0.75)[known]
    np.testing.assert_allclose(found - [0.75, 0.0, 0.0], velocity[known], atol=0.025)


def test_a_drift_of_a_plate_makes_none_of_the_velocity() -> None:
    force, velocity = walked_bw(np.arange(4000) / RATE_HZ)
    force[:, 5] += 0.02 * np.sin(2 * np.pi * 0.02 * np.arange(4000) / RATE_HZ)
    found = velocity_ms(force, 0.75)[300:-300]
    np.testing.assert_allclose(found - [0.75, 0.0, 0.0], velocity[300:-300], atol=0.05)


def test_where_a_plate_is_not_trusted_nobody_knows_the_velocity() -> None:
    force, _ = walked_bw(np.arange(2000) / RATE_HZ)
    force[900:950, 4] = np.nan
    lost = np.isnan(velocity_ms(force, 0.75)[:, 0])
    assert lost[800:1050].all()
    assert not lost[101:799].any()
    assert not lost[1051:1899].any()


# The pelvis.


def pose_of(tilt: float, list_: float, rotation: float, heading: float, rows: int = 5) -> Rotation:
    turn = Rotation.from_euler("z", heading)
    turned = turn * UPRIGHT * Rotation.from_euler("ZXY", [tilt, list_, rotation])
    return Rotation.concatenate([turned] * rows)


@pytest.mark.parametrize("heading", [0.0, 1.0, 3.0, -2.0])
def test_a_pelvis_has_the_same_angles_whatever_way_it_walks(heading: float) -> None:
    curves = pelvis_curves(pose_of(0.1, -0.05, 0.2, heading), np.array(heading))
    for name, angle in zip(curves, (0.1, -0.05, 0.2), strict=True):
        np.testing.assert_allclose(curves[name], angle, atol=1e-9)


def test_a_pelvis_leans_back_and_turns_left_positively() -> None:
    back = pose_of(0.1, 0.0, 0.0, 0.0)
    assert back.apply([1.0, 0.0, 0.0])[0, 2] > 0  # its front rises
    left = pose_of(0.0, 0.0, 0.1, 0.0)
    assert left.apply([1.0, 0.0, 0.0])[0, 1] > 0  # facing world x, left is world y
    assert pelvis_curves(left, np.array(0.0))["pelvis_rotation"][0] == pytest.approx(0.1)


def test_a_drifting_heading_goes_and_the_turn_of_every_step_stays() -> None:
    t_s = np.arange(6000) / RATE_HZ
    step = 0.08 * np.sin(2 * np.pi * 0.8 * t_s)
    drift = 0.5 + 0.02 * t_s
    pose = (
        Rotation.from_euler("z", drift[:, None]) * UPRIGHT * Rotation.from_euler("Y", step[:, None])
    )
    found = pelvis_curves(pose, slow_heading_rad(pose))["pelvis_rotation"]
    np.testing.assert_allclose(found[800:-800], step[800:-800], atol=0.01)


# CapSense's people, here one who never lived.


@pytest.fixture(scope="module")
def walked() -> tuple[Recording, Rotation]:
    """Somebody who stands, walks and has a sensor on every segment; and where the pelvis really was."""
    walk = simulate_walk(seed=4, params=random_params(4), seconds=26.0, slots=CHAIN_SLOTS)
    made = Recording(
        person="Nobody",
        condition="walk",
        name="Nobody/walk",
        rate_hz=walk.rate_hz,
        t_s=walk.t_s,
        slots=CHAIN_SLOTS,
        acc_ms2=walk.acc_ms2,
        gyr_rads=walk.gyr_rads,
        orientation=dict(walk.q_world_sensor),
    )
    return made, Rotation.from_quat(walk.q_world_segment["pelvis"], scalar_first=True)


def test_a_pelvis_is_measured_by_the_sensor_on_it(walked: tuple[Recording, Rotation]) -> None:
    made, pose = walked
    found = pelvis_angles([made])[made.name]
    truth = pelvis_curves(pose, slow_heading_rad(pose))
    for name in PELVIS:
        wrong = np.degrees(found[name] - truth[name])[1000:-500]
        assert np.sqrt(np.mean(wrong**2)) < 4.0, name
        assert wrong.std() < 1.5, name
        assert np.corrcoef(found[name][1000:-500], truth[name][1000:-500])[0, 1] > 0.8, name


def test_a_pelvis_stands_level_where_the_angles_have_their_zero(
    walked: tuple[Recording, Rotation],
) -> None:
    found = pelvis_angles([walked[0]])["Nobody/walk"]
    for name in ("pelvis_tilt", "pelvis_list"):
        assert np.degrees(found[name][50:200].mean()) == pytest.approx(0.0, abs=1.0)


def test_a_walk_is_taken_without_the_standing_before_it(walked: tuple[Recording, Rotation]) -> None:
    walking = walk_of(walked[0])
    assert walking is not None
    moving = np.flatnonzero(walking_samples(walked[0]))
    # The belt takes three seconds to its speed, and from it.
    assert walking == slice(int(moving[0]) + 300, int(moving[-1]) + 1 - 300)
    assert walk_of(walked[0].part(0.0, 3.0)) is None
    assert walk_of(replace(walked[0], rate_hz=60.0)) is None


# CapSense's styles.


def shaken(condition: str, right: float, left: float) -> Recording:
    slots = ("tibia_r", "tibia_l", "calcn_r", "calcn_l")
    gyr = np.zeros((1000, 4, 3))
    gyr[:, :, 2] = 3.0 * np.array([right, left, 1.0, 1.0])
    return Recording(
        "Ann", condition, condition, 100.0, np.arange(1000) / 100, slots, np.zeros_like(gyr), gyr
    )


def test_the_stiff_knee_is_the_one_whose_shank_turns_less_than_it_used_to() -> None:
    group = [
        shaken("CSBaseline", 1.0, 1.5),
        shaken("CSStiffKnee", 1.0, 1.1),
        shaken("EMGStiffKnee", 0.7, 1.5),
        shaken("FogStiffKnee", 0.95, 1.4),
        shaken("Dance", 1.0, 1.0),
    ]
    assert styles_of(group) == {
        "CSBaseline": "walking",
        "CSStiffKnee": "stiff_knee_l",
        "EMGStiffKnee": "stiff_knee_r",
        "FogStiffKnee": None,
        "Dance": None,
    }


def test_without_usual_walking_nobody_knows_which_knee_is_stiff() -> None:
    assert styles_of([shaken("CSStiffKnee", 1.0, 0.2)]) == {"CSStiffKnee": None}


# Forces.


def test_forces_sampled_fast_keep_their_peak_and_are_zero_in_the_air() -> None:
    t_s = np.arange(2000) / 1000.0
    at = (t_s / 0.7) % 1.0 / 0.4
    up = np.where(at < 1, 2.5 * np.sin(np.pi * np.clip(at, 0, 1)), 0.003)
    hum = 0.3 * np.sin(2 * np.pi * 310.0 * t_s) * (at < 1)
    force = np.column_stack([np.zeros(2000), np.zeros(2000), up + hum])
    at_s = np.arange(-5, 190) / 100.0
    found = forces_at(t_s, force, at_s, 0.03, 0.015)
    assert np.isnan(found[:5]).all()
    assert np.isfinite(found[5:]).all()
    assert np.nanmax(found[:, 2]) == pytest.approx(2.5, abs=0.05)
    air = (at_s > 0.3) & (at_s < 0.69)
    assert (found[air] == 0.0).all()
    held = (at_s > 0.03) & (at_s < 0.25)
    wanted = 2.5 * np.sin(np.pi * at_s[held] / 0.28)
    np.testing.assert_allclose(found[held, 2], wanted, atol=0.06)


def ground_step(start_s: float, side: str = "r") -> GroundStep:
    arch = np.sin(np.pi * np.linspace(0.01, 0.99, 60))
    force = np.column_stack([0.1 * arch, -0.05 * arch, 1.1 * arch])
    right_or_left = "r" if side == "r" else "l"
    return GroundStep("Ann", "walk", "straight", right_or_left, 100.0, 50.0, start_s, force)


def ankle_pace() -> np.ndarray:
    """Two steps of a foot, each 60 rows from 50 and 160 on: fast in the air, pressing fast at the end."""
    pace = np.full(260, 2.8)
    for first in (50, 160):
        pace[first : first + 60] = np.concatenate([np.full(40, 0.1), np.linspace(0.1, 1.9, 20)])
        pace[first + 60 : first + 65] = 2.0
        pace[first - 5 : first] = 1.2
    return pace


def test_a_measured_step_lies_where_it_was_and_its_swings_are_zero() -> None:
    said: list[str] = []
    force = force_of([ground_step(0.5)], ankle_pace(), "walk", said.append)
    np.testing.assert_allclose(force[50:110], ground_step(0.5).force_bw)
    assert (force[:50] == 0.0).all()
    assert (force[110:155] == 0.0).all()
    # Nobody measured the second step, nor what lies between it and a sure swing.
    assert np.isnan(force[155:225]).all()
    assert (force[225:] == 0.0).all()
    assert not said


def test_a_step_during_which_the_foot_flies_is_not_this_walks() -> None:
    said: list[str] = []
    force = force_of([ground_step(1.0)], ankle_pace(), "walk", said.append)
    assert not np.nansum(force)
    assert "its foot does not stand" in said[0]


def straight(heading: float, bend: float = 0.0) -> Movement:
    """Two seconds at 1.2 m/s with the pelvis turned 0.1 to the left of the way and rising 0.05 m/s."""
    t_s = np.arange(200) / 100.0
    way = heading + np.where(t_s < 1.0, 0.0, bend)
    step = 1.2 * np.column_stack([np.cos(way), np.sin(way)]) / 100.0
    place = np.column_stack([np.cumsum(step, axis=0), 0.9 + 0.05 * t_s])
    pose = {"pelvis": pose_of(0.0, 0.0, 0.1, heading, 200)}
    origin = {"pelvis": place, "calcn_r": place, "calcn_l": place}
    angles = {name: np.full(200, 0.1 * i) for i, name in enumerate(ANGLES)}
    return Movement("Ann", "straight", "Ann/walk", 1.5, t_s, pose, origin, angles)


@pytest.mark.parametrize("heading", [0.0, 2.0, -1.5])
def test_a_walk_over_ground_goes_forwards_whatever_way_it_goes(heading: float) -> None:
    motion = motion_of(straight(heading), [], 50.0, print)
    assert channel(motion, "velocity_forward")[20:-20] == pytest.approx(1.2, abs=1e-3)
    assert channel(motion, "velocity_right")[20:-20] == pytest.approx(0.0, abs=1e-3)
    assert channel(motion, "velocity_up")[20:-20] == pytest.approx(0.05, abs=1e-3)
    assert channel(motion, "pelvis_rotation")[20:-20] == pytest.approx(0.1, abs=1e-3)
    assert motion.conditions.speed_ms == pytest.approx(1.2, abs=0.01)
    for i, name in enumerate(ANGLES):
        assert channel(motion, name)[20:-20] == pytest.approx(0.1 * i, abs=1e-4)


def test_a_turn_is_told_from_a_straight_walk() -> None:
    assert turned_rad(straight(2.0)) < 0.01
    assert turned_rad(straight(2.0, bend=0.5)) == pytest.approx(0.5, abs=0.01)
    assert turned_rad(straight(3.1, bend=-0.5)) == pytest.approx(0.5, abs=0.01)


# OpenSim's runs.


def write_table(file: Path, t_s: np.ndarray, columns: dict[str, np.ndarray], unit: str) -> None:
    head = f"run\nversion=1\nnRows={len(t_s)}\nnColumns={1 + len(columns)}\ninDegrees={unit}\nendheader\n"
    rows = np.column_stack([t_s, *columns.values()])
    text = "\n".join("\t".join(f"{v:.6f}" for v in row) for row in rows)
    file.write_text(head + "\t".join(["time", *columns]) + "\n" + text + "\n")


def write_run(folder: Path, rate_hz: int = 200) -> None:
    """Three seconds at 3 m/s of somebody whose model has extension of the knee positive; plates at 1 kHz."""
    folder.mkdir(parents=True)
    t_s = np.arange(3 * rate_hz) / rate_hz
    turn = 2 * np.pi * t_s / 0.7
    columns = {
        name: np.zeros(len(t_s)) for name in ("pelvis_tilt", "pelvis_list", "pelvis_rotation")
    }
    columns |= {
        f"pelvis_t{axis}": np.full(len(t_s), at)
        for axis, at in zip("xyz", (1.0, 0.95, 0.1), strict=True)
    }
    columns["pelvis_tx"] = 1.0 + 0.01 * np.sin(2 * turn)
    for name in ANGLES:
        columns[name] = np.full(len(t_s), 5.0)
    columns["hip_flexion_r"] = 20.0 + 25.0 * np.cos(turn)
    columns["knee_angle_r"] = -(40.0 + 35.0 * np.cos(turn))
    columns["knee_angle_l"] = -(40.0 - 35.0 * np.cos(turn))
    write_table(folder / "run300_ik.mot", t_s, columns, "yes")
    fast_s = np.arange(3000) / 1000.0
    forces: dict[str, np.ndarray] = {}
    for number, side in enumerate("lr", 1):
        at = (fast_s / 0.7 + (0.5 if side == "l" else 0.0)) % 1.0 / 0.35
        up = np.where(at < 1, np.sin(np.pi * np.clip(at, 0, 1)), 0.0) * 80.0 * G_MS2 / 0.4456
        z = 0.1 if side == "r" else -0.1
        push = (0.1 * up, up, -0.05 * up * np.sign(z))
        forces |= {f"ground_force_{number}_v{axis}": v for axis, v in zip("xyz", push, strict=True)}
        place = np.tile([0.5, 0.0, z], (3000, 1)).T
        forces |= {
            f"ground_force_{number}_p{axis}": v for axis, v in zip("xyz", place, strict=True)
        }
    write_table(folder / "run300_grf.mot", fast_s, forces, "no")
    head = (
        "PathFileType\t4\t(X/Y/Z)\trun.trc\nDataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\n"
        "100\t100\t300\t2\tmm\t100\nFrame#\tTime\tRCAL\t\t\tLCAL\t\t\n\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n"
    )
    line = "450.0\t40.0\t100.0\t450.0\t40.0\t-100.0"
    rows = "\n".join(f"{k + 1}\t{k / 100:.2f}\t{line}" for k in range(300))
    (folder / "run300.trc").write_text(head + rows + "\n")


def test_a_run_has_our_signs_our_units_our_rate_and_each_foot_its_force(tmp_path: Path) -> None:
    write_run(tmp_path / "Bob")
    said: list[str] = []
    (motion,) = read_opensim(tmp_path, said.append)
    assert (motion.person, motion.name) == ("Bob", "Bob/run300")
    assert len(motion.values) == 300
    check_values(motion.values, motion.name)
    t_s = np.arange(300) / 100
    knee = np.radians(40.0 + 35.0 * np.cos(2 * np.pi * t_s / 0.7))
    np.testing.assert_allclose(channel(motion, "knee_angle_r")[20:-20], knee[20:-20], atol=0.01)
    hip = np.degrees(channel(motion, "hip_flexion_r")[20:-20])
    assert (hip.min(), hip.max()) == pytest.approx((-5.0, 45.0), abs=0.5)
    forward = channel(motion, "velocity_forward")[20:-20]
    assert forward.mean() == pytest.approx(3.0, abs=0.01)
    assert np.ptp(forward) == pytest.approx(2 * 0.01 * 4 * np.pi / 0.7, rel=0.1)
    # The right foot lands at 0, 0.7, ... s and carries its load for a quarter of a second.
    right, left = channel(motion, "grf_vertical_r"), channel(motion, "grf_vertical_l")
    assert right[5:20].min() > 0.5
    assert (left[5:20] == 0.0).all()
    assert left[40:55].min() > 0.5
    assert right.max() == pytest.approx(2.24, abs=0.1)
    for side in "rl":
        assert channel(motion, f"grf_lateral_{side}").min() == pytest.approx(-0.112, abs=0.01)
        assert channel(motion, f"grf_anterior_{side}").max() == pytest.approx(0.224, abs=0.01)
    assert motion.conditions.speed_ms == 3.0
    assert motion.conditions.mass_kg == pytest.approx(80.0, rel=0.02)
    assert motion.conditions.stride_hz == pytest.approx(1 / 0.7, rel=0.01)


def test_a_run_without_forces_is_a_motion_all_the_same(tmp_path: Path) -> None:
    write_run(tmp_path / "Bob")
    (tmp_path / "Bob" / "run300_grf.mot").unlink()
    said: list[str] = []
    (motion,) = read_opensim(tmp_path, said.append)
    assert np.isnan(channel(motion, "grf_vertical_r")).all()
    assert np.isfinite(channel(motion, "knee_angle_r")).all()
    assert "holds no step" in said[0]


# Running strides without a clock.


def strides(numbers: list[int], jump: dict[int, float] | None = None) -> StrideTable:
    """Strides that rise by one degree each, so that only neighbours join."""
    n = len(numbers)
    share = np.linspace(0.0, 1.0, POINTS)
    values = np.zeros((n, len(STRIDE_CHANNELS), POINTS), np.float32)
    names = [c.name for c in STRIDE_CHANNELS]
    values[:, names.index("hip_sagittal")] = -30.0 * np.cos(2 * np.pi * share)
    values[:, names.index("knee_sagittal")] = 50.0 - 40.0 * np.cos(2 * np.pi * share)
    values[:, names.index("ankle_sagittal")] = -10.0 * np.sin(2 * np.pi * share)
    for row, number in enumerate(numbers):
        values[row, names.index("hip_frontal")] = -(number + share)
        values[row, names.index("hip_frontal")] += (jump or {}).get(number, 0.0)
    columns = {name: np.full(n, "") for name in ("session", "side", "condition")}
    columns["person"] = np.full(n, "g01s01")
    return StrideTable(values, STRIDE_CHANNELS, columns, np.array(numbers), "stride", "made up")


def test_strides_that_follow_one_another_are_joined_in_order() -> None:
    (chain,) = chains_of(strides([3, 1, 2, 4]))
    adduction = np.degrees(chain[:, 1])
    np.testing.assert_allclose(adduction[:, 0], [1, 2, 3, 4], atol=1e-4)
    np.testing.assert_allclose(adduction[:, -1], [2, 3, 4, 5], atol=1e-4)


def test_a_chain_ends_at_a_gap_a_jump_and_a_fault() -> None:
    lengths = [len(c) for c in chains_of(strides([1, 2, 4, 5, 6]))]
    assert lengths == [2, 3]
    assert [len(c) for c in chains_of(strides([1, 2, 3, 4], {3: 5.0, 4: 5.0}))] == [2, 2]
    assert [len(c) for c in chains_of(strides([1, 2, 3, 4], {2: 300.0}))] == [1, 2]


def test_joined_strides_have_our_signs_and_run_on_across_their_joins() -> None:
    (chain,) = chains_of(strides([1, 2, 3]))
    values = on_a_clock(chain)
    assert len(values) == int(300 / sources_cycles.ASSUMED_STRIDE_HZ) + 1
    motion = Motion("g", "g/0", "made up", values)
    hip, knee = channel(motion, "hip_flexion_r"), channel(motion, "knee_angle_r")
    ankle, adduction = channel(motion, "ankle_angle_r"), channel(motion, "hip_adduction_r")
    assert np.degrees(hip[0]) == pytest.approx(30.0, abs=0.1)
    assert np.degrees([knee.min(), knee.max()]) == pytest.approx([10.0, 90.0], abs=0.2)
    assert np.degrees(ankle[19]) == pytest.approx(10.0, abs=0.1)
    np.testing.assert_allclose(np.degrees(np.diff(adduction)), 0.0133, atol=2e-3)
    assert np.isnan(channel(motion, "hip_flexion_l")).all()
    assert len(cut([motion])) > 0


# All of them.


def one_motion(path: Path, note: Callable[[str], None]) -> list[Motion]:
    note(f"{path.name} was read")
    values = np.full((200, len(CHANNELS)), np.nan, np.float32)
    values[:, 0] = 0.1
    return [Motion("Ann", path.stem, "made up", values, Conditions(speed_ms=5.0, style="running"))]


def test_a_set_is_read_once_and_then_kept_until_its_files_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def reader(path: Path, note: Callable[[str], None]) -> list[Motion]:
        read.append(path)
        return one_motion(path, note)

    monkeypatch.setattr(sources, "SETS", {"first": reader, "absent": reader})
    (tmp_path / "first.zip").write_text("some bytes")
    said: list[str] = []
    (one,) = sources.read_motions(tmp_path, said.append)
    (again,) = sources.read_motions(tmp_path, said.append)
    assert len(read) == 1
    np.testing.assert_array_equal(one.values, again.values)
    assert (one.person, one.name, one.source) == (again.person, again.name, again.source)
    assert again.conditions.style == "running"
    assert np.isnan(again.conditions.mass_kg)
    assert said[0] == "first.zip was read"
    assert said[:2] == said[2:]
    assert "has no absent" in said[1]
    (tmp_path / "first.zip").write_text("some more bytes")
    sources.read_motions(tmp_path, said.append)
    assert len(read) == 2


def test_a_set_that_cannot_be_read_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, note: Callable[[str], None]) -> list[Motion]:
        raise RecordingError(f"{path.name} is broken: copy it again.")

    monkeypatch.setattr(sources, "SETS", {"bad": broken, "good": one_motion})
    (tmp_path / "bad").mkdir()
    (tmp_path / "good").mkdir()
    said: list[str] = []
    assert len(sources.read_motions(tmp_path, said.append)) == 1
    assert "bad is left out: bad is broken: copy it again." in said


def test_a_reader_that_gives_degrees_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def degrees(path: Path, note: Callable[[str], None]) -> list[Motion]:
        return [Motion("Ann", "walk", "", np.full((200, len(CHANNELS)), 30.0, np.float32))]

    monkeypatch.setattr(sources, "SETS", {"bad": degrees})
    (tmp_path / "bad").mkdir()
    with pytest.raises(RecordingError, match="holds no gait"):
        sources.read_motions(tmp_path, lambda said: None)


def test_an_empty_folder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="holds no gait to learn from: give the folder"):
        sources.read_motions(tmp_path, lambda said: None)


# What the real sets give.


@pytest.mark.data
def test_the_runs_are_all_there_and_look_like_runs(data_root: Path) -> None:
    motions = {m.name: m for m in read_opensim(data_root / "opensim_running.zip", lambda s: None)}
    assert len(motions) == 13
    for name, speed in (("HamnerMultipleTrials/run300", 3.0), ("Sprinter/run0900cms", 9.48)):
        motion = motions[name]
        check_values(motion.values, name)
        assert motion.conditions.speed_ms == pytest.approx(speed, abs=0.01)
        assert np.degrees(channel(motion, "knee_angle_r").max()) > 90
    run = motions["HamnerMultipleTrials/run300"]
    assert 2.2 < np.nanmax(channel(run, "grf_vertical_r")) < 2.8
    masses = [
        motions[f"{who}/run300"].conditions.mass_kg for who in ("HamnerMultipleTrials", "subject04")
    ]
    assert masses == pytest.approx([72.8, 81.9], abs=0.1)
    # The belt's speed that nobody wrote down: the ankles agree between both runners of that laboratory.
    assert motions["welk002/manual"].conditions.speed_ms == pytest.approx(2.8, abs=0.2)


@pytest.mark.data
def test_the_strides_bend_as_running_legs_do(data_root: Path) -> None:
    notes: list[str] = []
    motions = sources_cycles.read_cycles(data_root / "bmc_ric_running.zip", notes.append)
    assert len({m.person for m in motions}) == 46
    assert all(np.isnan(m.conditions.stride_hz) for m in motions)
    assert all(2.4 < m.conditions.speed_ms < 2.6 for m in motions)
    whole = np.degrees(np.concatenate([m.values for m in motions]))
    for name, least, most in (
        ("hip_flexion_r", -15.0, 45.0),
        ("knee_angle_r", 5.0, 105.0),
        ("ankle_angle_r", -25.0, 30.0),
    ):
        low, high = np.percentile(whole[:, CHANNELS.index(name)], [2, 98])
        assert (low, high) == pytest.approx((least, most), abs=12.0), name
