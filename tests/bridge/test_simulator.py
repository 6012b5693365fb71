from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import ConfigError
from talaria_bridge.samples import LEG_SLOTS, SLOTS
from talaria_bridge.simulator import (
    SensorParams,
    SimulatedWalk,
    WalkerParams,
    random_params,
    simulate_walk,
)
from talaria_bridge.virtual_imu import quaternions

G_MS2 = 9.80665
PERFECT = WalkerParams(seconds=12.0, rate_hz=400.0, sensors=SensorParams.perfect())
WORN = replace(
    PERFECT,
    sensors=SensorParams(
        acc_noise_ms2=0.0, gyr_noise_rads=0.0, acc_bias_ms2=0.0, gyr_bias_rads=0.0
    ),
)
EVEN = replace(
    PERFECT,
    seconds=20.0,
    rate_hz=100.0,
    asymmetry=0.0,
    cadence_drift=0.0,
    stride_variability=0.0,
    amplitude_variability=0.0,
    sway_deg=0.0,
    heading_wander_deg=0.0,
)
JOINTS = ("hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle")


@pytest.fixture(scope="module")
def perfect() -> SimulatedWalk:
    return simulate_walk(1, PERFECT, slots=SLOTS)


@pytest.fixture(scope="module")
def worn() -> SimulatedWalk:
    return simulate_walk(1, WORN, slots=SLOTS)


@pytest.fixture(scope="module")
def even() -> SimulatedWalk:
    return simulate_walk(1, EVEN, slots=SLOTS)


def rotation(q: np.ndarray) -> Rotation:
    return Rotation.from_quat(q, scalar_first=True)


def drift_deg(walk: SimulatedWalk, slot: str) -> float:
    """Largest angle between the integrated gyroscope and the true orientation over 10 s."""
    rate = walk.gyr_rads[:, walk.slots.index(slot)]
    truth = rotation(walk.q_world_sensor[slot])
    steps = Rotation.from_rotvec((rate[1:] + rate[:-1]) / 2 / walk.rate_hz)
    now, worst = truth[0], 0.0
    for k in range(int(10 * walk.rate_hz)):
        now = now * steps[k]
        if k % 40 == 0:
            worst = max(worst, float((now.inv() * truth[k + 1]).magnitude()))
    return float(np.degrees(worst))


@pytest.mark.parametrize("slot", ["femur_r", "calcn_l", "pelvis"])
def test_gyroscope_integrates_to_the_true_orientation(perfect: SimulatedWalk, slot: str) -> None:
    assert drift_deg(perfect, slot) < 0.1


@pytest.mark.parametrize("slot", ["femur_l", "calcn_r"])
def test_gyroscope_sees_wobble_and_mounting_too(worn: SimulatedWalk, slot: str) -> None:
    assert drift_deg(worn, slot) < 0.1


def test_quaternions_never_flip_their_sign_between_instants() -> None:
    q = np.array([[1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    q[2, 0] = -0.1
    smooth = quaternions(Rotation.from_quat(q, scalar_first=True))
    assert np.all(np.sum(smooth[1:] * smooth[:-1], axis=1) > 0)


@pytest.mark.parametrize("which", ["perfect", "worn"])
def test_accelerometer_is_the_second_derivative_of_position_minus_gravity(
    which: str, request: pytest.FixtureRequest
) -> None:
    walk: SimulatedWalk = request.getfixturevalue(which)
    for i, slot in enumerate(walk.slots):
        p = walk.sensor_m[slot]
        # fourth-order central second difference
        weights = (-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12)
        curve = sum(w * p[k : len(p) - 4 + k] for k, w in enumerate(weights)) * walk.rate_hz**2
        force = rotation(walk.q_world_sensor[slot][2:-2]).apply(walk.acc_ms2[2:-2, i])
        assert np.abs(force - curve - [0, 0, G_MS2]).max() < 0.05, slot


def test_sensor_rides_on_its_segment_at_a_fixed_place(perfect: SimulatedWalk) -> None:
    for slot in SLOTS:
        arm = perfect.sensor_m[slot] - perfect.origin_m[slot]
        held = rotation(perfect.q_world_segment[slot]).inv().apply(arm)
        assert np.ptp(held, axis=0).max() < 1e-9
        assert 0.03 < np.linalg.norm(held[0]) < 0.5


def test_quiet_standing_reads_gravity_along_up_and_no_turn(even: SimulatedWalk) -> None:
    still = even.t_s < 2.9
    assert np.allclose(np.linalg.norm(even.acc_ms2[still], axis=2), G_MS2, atol=1e-6)
    assert np.abs(even.gyr_rads[still]).max() < 1e-6
    for i, slot in enumerate(SLOTS):
        to_segment = rotation(even.q_world_segment[slot]).inv() * rotation(
            even.q_world_sensor[slot]
        )
        up = to_segment[0].apply(even.acc_ms2[0, i])
        assert np.allclose(up, [0, G_MS2, 0], atol=1e-6), slot


def test_standing_pose_is_all_angles_zero_unless_asked_otherwise(even: SimulatedWalk) -> None:
    assert max(abs(angle[0]) for angle in even.angles_rad.values()) < 1e-9
    bent = simulate_walk(1, replace(EVEN, seconds=5.0, standing_flexion_deg=10.0))
    for side in "rl":
        assert np.degrees(bent.angles_rad[f"knee_angle_{side}"][0]) == pytest.approx(10.0)
        assert np.degrees(bent.angles_rad[f"ankle_angle_{side}"][0]) == pytest.approx(5.0)
        sole = rotation(bent.q_world_segment[f"calcn_{side}"])[0]
        assert np.allclose(sole.apply([0, 1, 0]), [0, 0, 1], atol=1e-9)


def test_people_sway_while_they_stand() -> None:
    walk = simulate_walk(1, replace(PERFECT, seconds=3.0))
    rate = np.degrees(np.linalg.norm(walk.gyr_rads[:, 0], axis=1))
    assert 0.02 < rate.std() < 2.0
    for name in ("hip_flexion_r", "hip_adduction_l"):
        assert 0.03 < np.degrees(walk.angles_rad[name].std()) < 1.0


def test_angles_recomputed_from_the_segments_equal_the_true_angles(worn: SimulatedWalk) -> None:
    q = {slot: rotation(worn.q_world_segment[slot]) for slot in SLOTS}
    for side, sign in (("r", 1.0), ("l", -1.0)):
        hip = (q["pelvis"].inv() * q[f"femur_{side}"]).as_euler("ZXY")
        knee = (q[f"femur_{side}"].inv() * q[f"tibia_{side}"]).as_euler("ZXY")
        ankle = (q[f"tibia_{side}"].inv() * q[f"calcn_{side}"]).as_euler("ZXY")
        found = {
            "hip_flexion": hip[:, 0],
            "hip_adduction": sign * hip[:, 1],
            "hip_rotation": sign * hip[:, 2],
            "knee_angle": -knee[:, 0],
            "ankle_angle": ankle[:, 0],
        }
        for name, angle in found.items():
            assert np.allclose(angle, worn.angles_rad[f"{name}_{side}"], atol=1e-9), name
        assert np.abs(knee[:, 1:]).max() < 1e-9  # the knee is a hinge


def test_positive_angles_move_both_legs_as_opensim_says(even: SimulatedWalk) -> None:
    pelvis = rotation(even.q_world_segment["pelvis"]).inv()
    for side, rightwards in (("r", 1.0), ("l", -1.0)):
        angles = {name: even.angles_rad[f"{name}_{side}"] for name in JOINTS}
        thigh = even.origin_m[f"tibia_{side}"] - even.origin_m[f"femur_{side}"]
        thigh /= np.linalg.norm(thigh, axis=1, keepdims=True)
        shank = even.origin_m[f"calcn_{side}"] - even.origin_m[f"tibia_{side}"]
        in_pelvis = pelvis.apply(thigh)
        in_femur = rotation(even.q_world_segment[f"femur_{side}"]).inv().apply(shank)
        far_forward = np.argmax(angles["hip_flexion"])
        assert in_pelvis[far_forward, 0] > 0.3  # flexion: knee forward
        most_in = np.argmax(angles["hip_adduction"])
        assert rightwards * in_pelvis[most_in, 2] < -0.05  # adduction: knee to the midline
        bent = np.argmax(angles["knee_angle"])
        assert in_femur[bent, 0] < -0.3  # knee flexion: shank backward
        toes = rotation(even.q_world_segment[f"calcn_{side}"]).apply([1.0, 0.0, 0.0])
        toes_in_tibia = rotation(even.q_world_segment[f"tibia_{side}"]).inv().apply(toes)
        assert toes_in_tibia[np.argmax(angles["ankle_angle"]), 1] > 0.1  # dorsiflexion: toes up
        front = rotation(even.q_world_segment[f"femur_{side}"]).apply([1.0, 0.0, 0.0])
        most_turned = np.argmax(angles["hip_rotation"])
        assert rightwards * pelvis.apply(front)[most_turned, 2] < 0  # internal: kneecap inward


def test_left_leg_is_the_right_leg_half_a_cycle_later(even: SimulatedWalk) -> None:
    starts = [t for t, side, kind in even.contacts if side == "r" and kind == "initial"][2:6]
    cycle_s = np.mean(np.diff(starts))
    t_s = np.arange(starts[0], starts[2], 0.01)
    for name in JOINTS:
        right = np.interp(t_s, even.t_s, even.angles_rad[f"{name}_r"])
        left = np.interp(t_s + cycle_s / 2, even.t_s, even.angles_rad[f"{name}_l"])
        assert np.degrees(np.abs(right - left).max()) < 0.6, name


def test_joint_curves_look_like_walking(even: SimulatedWalk) -> None:
    steady = even.t_s > 8
    reach = {name: np.degrees(angle[steady]) for name, angle in even.angles_rad.items()}
    for side in "rl":
        assert 26 < reach[f"hip_flexion_{side}"].max() < 34
        assert -14 < reach[f"hip_flexion_{side}"].min() < -7
        assert 55 < reach[f"knee_angle_{side}"].max() < 65
        assert 0 < reach[f"knee_angle_{side}"].min() < 8
        assert 9 < reach[f"ankle_angle_{side}"].max() < 16
        assert -22 < reach[f"ankle_angle_{side}"].min() < -14


def middle_of_stance(walk: SimulatedWalk, side: str) -> np.ndarray:
    starts = [t for t, foot, kind in walk.contacts if foot == side and kind == "initial"]
    share = np.interp(walk.t_s, starts, np.arange(len(starts)), left=-0.5, right=-0.5) % 1.0
    return (share > 0.13) & (share < 0.31)


@pytest.mark.parametrize("side", ["r", "l"])
def test_foot_is_flat_and_still_in_the_middle_of_stance(perfect: SimulatedWalk, side: str) -> None:
    i, still = SLOTS.index(f"calcn_{side}"), middle_of_stance(perfect, side)
    assert still.sum() > 400
    assert np.linalg.norm(perfect.gyr_rads[still, i], axis=1).max() < np.radians(1.0)
    assert np.abs(np.linalg.norm(perfect.acc_ms2[still, i], axis=1) - G_MS2).max() < 0.3
    up = rotation(perfect.q_world_segment[f"calcn_{side}"])[still].apply([0.0, 1.0, 0.0])
    assert up[:, 2].min() > 1 - 1e-6
    runs = np.split(np.flatnonzero(still), np.flatnonzero(np.diff(np.flatnonzero(still)) > 1) + 1)
    for run in runs:  # and does not slip
        assert np.ptp(perfect.origin_m[f"calcn_{side}"][run], axis=0).max() < 0.0006


def test_worn_foot_sensor_still_shows_stance() -> None:
    walk = simulate_walk(2, WalkerParams(seconds=20.0))
    for side in "rl":
        i, still = LEG_SLOTS.index(f"calcn_{side}"), middle_of_stance(walk, side)
        assert np.linalg.norm(walk.gyr_rads[still, i], axis=1).max() < np.radians(5.0)


def test_walker_walks_forward_at_a_human_speed_and_height(perfect: SimulatedWalk) -> None:
    pelvis = perfect.origin_m["pelvis"]
    last = perfect.t_s > 7
    x = pelvis[last, 0]
    assert 0.8 < (x[-1] - x[0]) / 5.0 < 1.5
    assert 0.01 < np.ptp(pelvis[last, 2]) < 0.08
    assert 0.4 < pelvis[:, 2].min() / PERFECT.height_m < 0.6


def test_readings_have_the_size_of_real_ones() -> None:
    walk = simulate_walk(5, WalkerParams(seconds=30.0))
    steady = walk.t_s > 6
    acc = np.linalg.norm(walk.acc_ms2[steady], axis=2).max(axis=0) / G_MS2
    gyr = np.degrees(np.linalg.norm(walk.gyr_rads[steady], axis=2).max(axis=0))
    thigh, foot = [0, 1], [2, 3]
    assert np.all((acc[thigh] > 1.2) & (acc[thigh] < 3.0))
    assert np.all((acc[foot] > 2.0) & (acc[foot] < 7.0))
    assert np.all((gyr[thigh] > 120) & (gyr[thigh] < 300))
    assert np.all((gyr[foot] > 300) & (gyr[foot] < 600))


def test_contacts_alternate_at_the_asked_cadence(even: SimulatedWalk) -> None:
    initial = [(t, side) for t, side, kind in even.contacts if kind == "initial"]
    assert all(a[1] != b[1] for a, b in pairwise(initial))
    steps_s = np.diff([t for t, _ in initial])
    assert np.allclose(steps_s, 60 / EVEN.cadence_steps_min, atol=1e-3)
    assert even.contacts == tuple(sorted(even.contacts))
    assert even.contacts[0][0] > EVEN.stand_s
    right = [(t, kind) for t, side, kind in even.contacts if side == "r"]
    stance = [b[0] - a[0] for a, b in pairwise(right) if a[1] == "initial"]
    assert np.allclose(stance, 0.62 * 120 / EVEN.cadence_steps_min, atol=1e-3)


def test_same_seed_gives_the_same_walk_and_another_seed_another() -> None:
    first, again, other = (simulate_walk(seed, seconds=8.0) for seed in (11, 11, 12))
    assert np.array_equal(first.acc_ms2, again.acc_ms2)
    assert np.array_equal(first.gyr_rads, again.gyr_rads)
    assert first.params == again.params
    assert first.params != other.params
    assert not np.allclose(first.gyr_rads, other.gyr_rads, atol=0.1)


def test_one_person_walks_differently_with_another_seed() -> None:
    a, b = (simulate_walk(seed, WalkerParams(seconds=12.0)) for seed in (0, 1))
    gap = np.abs(a.angles_rad["knee_angle_r"] - b.angles_rad["knee_angle_r"])
    assert np.degrees(gap[-200:].max()) > 0.5


def test_wearing_more_sensors_changes_none_of_the_others() -> None:
    few = simulate_walk(3, seconds=6.0, slots=("calcn_l",))
    many = simulate_walk(3, seconds=6.0, slots=SLOTS)
    i = SLOTS.index("calcn_l")
    assert np.array_equal(few.acc_ms2[:, 0], many.acc_ms2[:, i])
    assert few.gyr_rads.shape == (600, 1, 3)
    assert many.gyr_rads.shape == (600, 8, 3)
    assert set(many.angles_rad) == {f"{name}_{side}" for name in JOINTS for side in "rl"}


def test_sensor_axes_are_the_nominal_placement_when_mounting_is_perfect(
    perfect: SimulatedWalk,
) -> None:
    up, right, front = [0, 1, 0], [0, 0, 1], [1, 0, 0]
    left, back = [0, 0, -1], [-1, 0, 0]
    instep = [np.cos(np.radians(25)), -np.sin(np.radians(25)), 0]  # forward and down
    nominal = {  # sensor x and z axes in the segment
        "torso": (up, front),
        "pelvis": (up, back),
        "femur_r": (up, right),
        "femur_l": (up, left),
        "tibia_r": (up, front),
        "tibia_l": (up, front),
        "calcn_r": (instep, None),
        "calcn_l": (instep, None),
    }
    for slot, (x, z) in nominal.items():
        placed = rotation(perfect.q_world_segment[slot]).inv() * rotation(
            perfect.q_world_sensor[slot]
        )
        assert np.allclose(placed.apply([1, 0, 0]), x, atol=1e-9), slot
        if z is not None:
            assert np.allclose(placed.apply([0, 0, 1]), z, atol=1e-9), slot


def test_mounting_rotation_stays_within_its_limit_and_differs_per_slot() -> None:
    limit = 25.0
    loose = replace(
        PERFECT, seconds=1.0, rate_hz=100.0, sensors=replace(PERFECT.sensors, mounting_deg=limit)
    )
    tight = simulate_walk(0, replace(loose, sensors=SensorParams.perfect()), slots=SLOTS)
    extra = []
    for seed in range(5):
        walk = simulate_walk(seed, loose, slots=SLOTS)
        for slot in SLOTS:
            body = rotation(walk.q_world_segment[slot][:1]).inv()
            ideal = rotation(tight.q_world_segment[slot][:1]).inv()
            worn = body * rotation(walk.q_world_sensor[slot][:1])
            nominal = ideal * rotation(tight.q_world_sensor[slot][:1])
            extra.append(np.degrees((nominal.inv() * worn).magnitude()[0]))
    assert max(extra) <= limit
    assert max(extra) > limit / 2
    assert len(np.unique(np.round(extra, 3))) == len(extra)


def test_soft_tissue_moves_the_thigh_more_than_the_foot() -> None:
    sensors = replace(SensorParams.perfect(), soft_tissue=1.0)
    walk = simulate_walk(1, replace(EVEN, sensors=sensors))
    moved = {}
    for slot in LEG_SLOTS:
        turn = rotation(walk.q_world_segment[slot]).inv() * rotation(walk.q_world_sensor[slot])
        moved[slot] = np.degrees((turn[0].inv() * turn).magnitude().max())
    assert 1.0 < moved["femur_r"] < 15.0
    assert moved["femur_r"] > 1.5 * moved["calcn_r"]


@pytest.mark.parametrize(("side", "sign"), [("r", 1.0), ("l", -1.0)])
def test_skin_of_the_thigh_follows_the_bone_only_in_part(side: str, sign: float) -> None:
    sensors = replace(SensorParams.perfect(), skin_slide=1.0)
    walk = simulate_walk(1, replace(EVEN, sensors=sensors))
    bone = rotation(walk.q_world_segment[f"femur_{side}"])
    slid = bone.inv() * rotation(walk.q_world_sensor[f"femur_{side}"])
    lag = (slid * slid[0].inv()).as_rotvec()[:, 1:]
    assert np.corrcoef(lag[:, 0], sign * walk.angles_rad[f"hip_rotation_{side}"])[0, 1] < -0.9
    assert np.corrcoef(lag[:, 1], walk.angles_rad[f"hip_flexion_{side}"])[0, 1] < -0.9


def test_heel_strike_shakes_the_foot_just_after_contact() -> None:
    calm = simulate_walk(1, EVEN)
    hard = simulate_walk(
        1, replace(EVEN, sensors=replace(SensorParams.perfect(), heel_strike_ms2=45.0))
    )
    i = LEG_SLOTS.index("calcn_r")
    shock = np.linalg.norm(hard.acc_ms2[:, i] - calm.acc_ms2[:, i], axis=1)
    first = next(t for t, side, kind in hard.contacts if (side, kind) == ("r", "initial"))
    after = (hard.t_s > first - 0.005) & (hard.t_s < first + 0.06)
    assert shock[hard.t_s < first - 0.02].max() < 0.5
    assert shock[after].max() > 10.0


def test_noise_and_bias_are_as_asked() -> None:
    sensors = replace(SensorParams.perfect(), acc_noise_ms2=0.05, gyr_noise_rads=0.01)
    params = replace(EVEN, seconds=3.0, sensors=sensors)
    noisy = simulate_walk(1, params)
    assert noisy.gyr_rads.std() == pytest.approx(0.01, rel=0.1)
    assert (noisy.acc_ms2 - noisy.acc_ms2.mean(axis=0)).std() == pytest.approx(0.05, rel=0.1)
    biased = replace(params, sensors=replace(SensorParams.perfect(), gyr_bias_rads=0.02))
    rate = simulate_walk(1, biased).gyr_rads
    assert np.ptp(rate, axis=0).max() < 1e-6
    assert 0.002 < np.abs(rate[0]).mean() < 0.06


def test_readings_are_clipped_at_the_sensors_range() -> None:
    sensors = replace(SensorParams.perfect(), acc_range_ms2=15.0, gyr_range_rads=2.0)
    walk = simulate_walk(1, replace(EVEN, sensors=sensors))
    assert np.abs(walk.acc_ms2).max() == 15.0
    assert np.abs(walk.gyr_rads).max() == 2.0


def test_stiff_knee_reduces_the_knees_range_and_nothing_else_much(even: SimulatedWalk) -> None:
    stiff = simulate_walk(1, replace(EVEN, stiff_knee=1.0))
    steady = even.t_s > 8
    for side in "rl":
        knee, hip = f"knee_angle_{side}", f"hip_flexion_{side}"
        assert np.ptp(stiff.angles_rad[knee][steady]) < 0.3 * np.ptp(even.angles_rad[knee][steady])
        assert np.allclose(stiff.angles_rad[hip], even.angles_rad[hip])
        abduct = f"hip_adduction_{side}"
        assert stiff.angles_rad[abduct].min() < even.angles_rad[abduct].min() - np.radians(3)


def test_turn_turns_the_walker_and_keeps_the_foot_planted() -> None:
    params = replace(EVEN, seconds=16.0, turn_deg=90.0, turn_start_s=7.0, turn_s=6.0)
    walk = simulate_walk(1, params, slots=SLOTS)
    front = rotation(walk.q_world_segment["pelvis"][-400:]).apply([1.0, 0.0, 0.0]).mean(axis=0)
    assert np.degrees(np.arctan2(front[1], front[0])) == pytest.approx(90.0, abs=6.0)
    still = middle_of_stance(walk, "l")
    foot = walk.gyr_rads[still, SLOTS.index("calcn_l")]
    assert np.linalg.norm(foot, axis=1).max() < np.radians(1.0)
    assert np.degrees(np.abs(walk.angles_rad["hip_rotation_l"]).max()) < 20


@pytest.mark.parametrize("seed", range(6))
def test_every_drawn_person_is_plausible(seed: int) -> None:
    params = random_params(seed)
    walk = simulate_walk(seed, seconds=10.0)
    assert walk.params == replace(params, seconds=10.0)
    assert params.stiff_knee == 0.0
    assert 80 < params.cadence_steps_min < 130
    knee = np.degrees(walk.angles_rad["knee_angle_r"])
    assert knee.min() > -4
    assert 45 < knee.max() < 78
    assert np.isfinite(walk.acc_ms2).all()
    assert np.linalg.norm(walk.gyr_rads, axis=2).max() < np.radians(800)


@pytest.mark.parametrize("rate_hz", [50.0, 100.0, 128.0])
def test_length_and_time_follow_rate_and_seconds(rate_hz: float) -> None:
    walk = simulate_walk(0, WalkerParams(rate_hz=rate_hz), seconds=4.0)
    assert len(walk.t_s) == 4 * rate_hz
    assert np.allclose(np.diff(walk.t_s), 1 / rate_hz)
    assert walk.t_s[0] == 0.0
    assert all(len(angle) == len(walk.t_s) for angle in walk.angles_rad.values())


@pytest.mark.parametrize("slots", [(), ("femur_r", "femur_r"), ("thigh",)])
def test_unknown_or_repeated_slots_are_refused_in_one_sentence(slots: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"choose from torso, .*calcn_l\.$"):
        simulate_walk(0, slots=slots)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seconds", 0.0), ("seconds", 0.05), ("rate_hz", -1.0), ("seconds", float("nan")),
     ("cadence_steps_min", 0.0), ("height_m", float("inf"))],
)  # fmt: skip
def test_impossible_walks_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        simulate_walk(0, WalkerParams(**{name: value}))
