"""A calibration that was done badly says so, and says what to do; one that was done well does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import simulate_walk
from talaria_edge.calibration import CalibrationCollector, Stretch
from talaria_edge.findings import Grade, Symptom
from talaria_edge.grading import grade_calibration
from talaria_edge.mounting import check_mounting, mounting_seen, moved_slots, stance_up_of
from talaria_edge.mounting_watch import MountingWatch
from talaria_edge.placement import out_of_time_s, side_scores, stride_period
from talaria_edge.sensor_checks import examine_stream, resting_units
from talaria_edge.strap_checks import turn_between_halves
from talaria_edge.swing_checks import examine_swings

FEMUR_R, FEMUR_L, CALCN_R, CALCN_L = range(4)


def stretch_of(seed: int) -> Stretch:
    walk = simulate_walk(seed=seed, seconds=13.0)
    collector = CalibrationCollector(walk.rate_hz, LEG_SLOTS)
    for acc, gyr in zip(walk.acc_ms2, walk.gyr_rads, strict=True):
        stretch = collector.collect(acc, gyr)
        if stretch is not None:
            return stretch
    raise AssertionError("the walker did not walk long enough")


@pytest.fixture(scope="module")
def good() -> Stretch:
    return stretch_of(3)


@pytest.fixture(scope="module")
def other() -> Stretch:
    return stretch_of(8)


def reordered(stretch: Stretch, *order: int) -> Stretch:
    """Give sensor order[i] the name of slot i."""
    rows = list(order)
    return replace(stretch, acc_ms2=stretch.acc_ms2[:, rows], gyr_rads=stretch.gyr_rads[:, rows])


def scaled(stretch: Stretch, slot: int, acc: float = 1.0, gyr: float = 1.0) -> Stretch:
    readings = stretch.acc_ms2.copy(), stretch.gyr_rads.copy()
    readings[0][:, slot] *= acc
    readings[1][:, slot] *= gyr
    return replace(stretch, acc_ms2=readings[0], gyr_rads=readings[1])


def turned(stretch: Stretch, slot: int, rotation: Rotation, start: int = 0) -> Stretch:
    acc, gyr = stretch.acc_ms2.copy(), stretch.gyr_rads.copy()
    acc[start:, slot] = rotation.apply(acc[start:, slot])
    gyr[start:, slot] = rotation.apply(gyr[start:, slot])
    return replace(stretch, acc_ms2=acc, gyr_rads=gyr)


def rattling(stretch: Stretch, slot: int) -> Stretch:
    """Swing by 10° at 8 Hz for a moment, four times in three seconds, while walking."""
    t_s = (np.arange(len(stretch.gyr_rads)) - stretch.walking.start) / stretch.rate_hz
    since_s = t_s % 0.75
    angle_rad = np.radians(10.0) * np.exp(-since_s / 0.2) * np.sin(2 * np.pi * 8.0 * since_s)
    angle_rad[t_s < 0.0] = 0.0
    axis = np.array([0.6, 0.0, 0.8])
    rates = np.gradient(angle_rad, 1.0 / stretch.rate_hz)
    back = Rotation.from_rotvec(angle_rad[:, None] * axis).inv()
    acc, gyr = stretch.acc_ms2.copy(), stretch.gyr_rads.copy()
    acc[:, slot] = back.apply(acc[:, slot])
    gyr[:, slot] = back.apply(gyr[:, slot]) + rates[:, None] * axis
    return replace(stretch, acc_ms2=acc, gyr_rads=gyr)


def lying(stretch: Stretch, slot: int) -> Stretch:
    rng = np.random.default_rng(0)
    acc, gyr = stretch.acc_ms2.copy(), stretch.gyr_rads.copy()
    acc[:, slot] = np.array([0.0, 0.0, 9.81]) + rng.normal(0, 0.03, acc[:, slot].shape)
    gyr[:, slot] = rng.normal(0, 0.003, gyr[:, slot].shape)
    return replace(stretch, acc_ms2=acc, gyr_rads=gyr)


def exchanged(stretch: Stretch, slot: int, donor: Stretch) -> Stretch:
    acc, gyr = stretch.acc_ms2.copy(), stretch.gyr_rads.copy()
    for part in ("still", "walking"):
        here, there = getattr(stretch, part), getattr(donor, part)
        acc[here, slot] = donor.acc_ms2[there, slot]
        gyr[here, slot] = donor.gyr_rads[there, slot]
    return replace(stretch, acc_ms2=acc, gyr_rads=gyr)


@pytest.mark.parametrize("seed", [0, 3, 8])
def test_a_good_walk_is_graded_a_and_nothing_is_to_be_repeated(seed: int) -> None:
    found = grade_calibration(stretch_of(seed))
    assert found.grade is Grade.A, found.findings
    assert found.step == ""
    assert found.calibration is not None
    assert set(found.slots) == set(LEG_SLOTS)


def test_swapped_thighs_are_named(good: Stretch) -> None:
    found = grade_calibration(reordered(good, FEMUR_L, FEMUR_R, CALCN_R, CALCN_L))
    assert found.has(Symptom.SWAPPED_THIGHS), found.findings
    assert found.grade is Grade.F
    assert found.slots["femur_r"].grade is Grade.F
    assert found.slots["calcn_r"].grade is Grade.A


def test_swapped_feet_are_named(good: Stretch) -> None:
    found = grade_calibration(reordered(good, FEMUR_R, FEMUR_L, CALCN_L, CALCN_R))
    assert found.has(Symptom.SWAPPED_FEET), found.findings
    assert "Swap" in found.step


def test_swapped_legs_are_named(good: Stretch) -> None:
    found = grade_calibration(reordered(good, FEMUR_L, FEMUR_R, CALCN_L, CALCN_R))
    assert found.has(Symptom.SWAPPED_LEGS), found.findings


def test_swapped_thigh_and_foot_are_named(good: Stretch) -> None:
    found = grade_calibration(reordered(good, CALCN_R, FEMUR_L, FEMUR_R, CALCN_L))
    assert found.has(Symptom.SWAPPED_THIGH_FOOT), found.findings
    assert "calcn_r and femur_r" in found.step


@pytest.mark.parametrize("slot", range(4))
@pytest.mark.parametrize("factor", [1 / 9.80665, 1e3 / 9.80665])
def test_acceleration_in_another_unit_is_named(good: Stretch, slot: int, factor: float) -> None:
    found = grade_calibration(scaled(good, slot, acc=factor))
    assert [f.symptom for f in found.findings] == [Symptom.UNITS_ACC]
    assert found.findings[0].slots == (LEG_SLOTS[slot],)
    assert ("in g" if factor < 1 else "in mg") in found.findings[0].text


@pytest.mark.parametrize("slot", range(4))
@pytest.mark.parametrize("factor", [180 / np.pi, np.pi / 180])
def test_rates_in_another_unit_are_named(good: Stretch, slot: int, factor: float) -> None:
    found = grade_calibration(scaled(good, slot, gyr=factor))
    assert [f.symptom for f in found.findings] == [Symptom.UNITS_GYR]
    assert found.findings[0].slots == (LEG_SLOTS[slot],)


def test_rates_in_degrees_are_told_before_anybody_walks(good: Stretch) -> None:
    rest = good.acc_ms2[good.still], good.gyr_rads[good.still]
    assert resting_units(good.slots, *rest) == []
    wrong = resting_units(good.slots, rest[0], rest[1] * [[1.0], [57.3 * 3], [1.0], [1.0]])
    assert [(f.symptom, f.slots) for f in wrong] == [(Symptom.UNITS_GYR, ("femur_l",))]


@pytest.mark.parametrize("slot", range(4))
def test_a_sensor_left_on_the_table_is_named(good: Stretch, slot: int) -> None:
    found = grade_calibration(lying(good, slot))
    assert [(f.symptom, f.slots) for f in found.findings] == [
        (Symptom.NOT_WORN, (LEG_SLOTS[slot],))
    ]


@pytest.mark.parametrize("slot", range(4))
def test_a_sensor_on_somebody_else_is_named(good: Stretch, other: Stretch, slot: int) -> None:
    found = grade_calibration(exchanged(good, slot, other))
    assert found.has(Symptom.OTHER_BODY), found.findings


@pytest.mark.parametrize("slot", range(4))
def test_a_rattling_strap_is_named(good: Stretch, slot: int) -> None:
    found = grade_calibration(rattling(good, slot))
    assert found.has(Symptom.LOOSE), found.findings
    assert found.step.startswith(f"Tighten the strap of {LEG_SLOTS[slot]}")


@pytest.mark.parametrize("slot", range(4))
def test_a_sensor_that_slips_is_named(good: Stretch, slot: int) -> None:
    middle = (good.walking.start + good.walking.stop) // 2
    found = grade_calibration(turned(good, slot, Rotation.from_rotvec([0.4, 0.3, 0.2]), middle))
    assert found.has(Symptom.SLIPPED), found.findings


def test_a_slip_is_measured_to_a_few_degrees(good: Stretch) -> None:
    slip = Rotation.from_rotvec(np.radians(25.0) * np.array([0.0, 0.6, 0.8]))
    middle = (good.walking.stop - good.walking.start) // 2
    for slot in range(4):
        walk = turned(good, slot, slip, good.walking.start + middle)
        acc, gyr = walk.acc_ms2[good.walking], walk.gyr_rads[good.walking]
        period = stride_period(gyr, good.rate_hz)
        found = turn_between_halves(acc[:, slot], gyr[:, slot], period)
        assert np.degrees(found[0]) == pytest.approx(25.0, abs=5.0), LEG_SLOTS[slot]
        assert found[1] > 0.9


def test_a_walk_that_changes_is_called_uneven_and_nobody_is_accused(good: Stretch) -> None:
    gyr, acc = good.gyr_rads.copy(), good.acc_ms2.copy()
    late = slice(good.walking.start + 420, good.walking.stop)
    gyr[late], acc[late] = gyr[late][::-1].copy(), acc[late][::-1].copy()
    found = grade_calibration(replace(good, acc_ms2=acc, gyr_rads=gyr))
    assert found.has(Symptom.UNEVEN), found.findings
    assert not found.has(Symptom.SLIPPED)


def test_a_foot_that_does_not_stand_flat_is_told(good: Stretch) -> None:
    acc = good.acc_ms2.copy()
    acc[good.still, CALCN_L] = Rotation.from_rotvec([0.2, 0.0, 0.2]).apply(acc[good.still, CALCN_L])
    found = grade_calibration(replace(good, acc_ms2=acc))
    assert found.has(Symptom.FOOT_NOT_FLAT), found.findings
    assert found.grade is Grade.C


def test_moving_while_standing_costs_the_grade(good: Stretch) -> None:
    gyr = good.gyr_rads.copy()
    t_s = np.arange(good.still.start, good.still.stop) / good.rate_hz
    gyr[good.still, FEMUR_R, 0] += 0.15 * np.sin(2 * np.pi * 2.0 * t_s)
    found = grade_calibration(replace(good, gyr_rads=gyr))
    assert found.slots["femur_r"].grade is Grade.B
    assert found.has(Symptom.RESTLESS)
    assert found.has(Symptom.NO_BIAS)
    assert found.slots["femur_l"].grade is Grade.A


def test_an_accelerometer_that_is_off_is_told(good: Stretch) -> None:
    found = grade_calibration(scaled(good, CALCN_L, acc=1.24))
    assert [f.symptom for f in found.findings] == [Symptom.GRAVITY_OFF]
    assert found.grade is Grade.C


def test_a_slow_or_saturated_sensor_is_told() -> None:
    found = examine_stream({"femur_r": 60.0, "calcn_r": 99.0}, {"calcn_l": 0.05}, 100.0)
    assert [(f.symptom, f.slots) for f in found] == [
        (Symptom.RATE, ("femur_r",)),
        (Symptom.SATURATED, ("calcn_l",)),
    ]


def test_a_sensor_upside_down_is_known_only_against_the_last_calibration(good: Stretch) -> None:
    up = good.acc_ms2[good.still, FEMUR_R].mean(axis=0)
    level = np.cross(up, [0.3, 0.5, 0.7])
    flipped = turned(good, FEMUR_R, Rotation.from_rotvec(np.pi * level / np.linalg.norm(level)))
    alone = grade_calibration(flipped)
    assert alone.grade is Grade.A, alone.findings
    against = grade_calibration(flipped, previous=grade_calibration(good).calibration)
    assert [(f.symptom, f.slots) for f in against.findings] == [(Symptom.TURNED, ("femur_r",))]
    assert "180°" in against.findings[0].text
    assert against.grade is Grade.B


def test_no_mounting_changes_the_grade(good: Stretch) -> None:
    turns = Rotation.random(4, rng=np.random.default_rng(2))
    for slot in range(4):
        good = turned(good, slot, turns[slot])
    assert grade_calibration(good).grade is Grade.A


def test_too_few_steps_cost_the_grade(good: Stretch) -> None:
    short = replace(good, walking=slice(good.walking.start, good.walking.start + 420))
    found = grade_calibration(short)
    assert found.has(Symptom.FEW_STEPS), found.findings
    assert found.grade in {Grade.B, Grade.C}


def test_an_ambiguous_axis_costs_the_grade(good: Stretch) -> None:
    """A thigh that turns as much sideways as forward leaves its flexion axis open."""
    calibration = good.calibrate()
    sideways = calibration.slots["femur_r"].r_segment_sensor[0]
    gyr = good.gyr_rads.copy()
    flexing = gyr[good.walking, FEMUR_R] @ calibration.slots["femur_r"].r_segment_sensor[2]
    gyr[good.walking, FEMUR_R] += 0.95 * np.roll(flexing, 30)[:, None] * sideways
    found = grade_calibration(replace(good, gyr_rads=gyr))
    assert found.has(Symptom.AXIS_UNCLEAR), found.findings


def test_feet_alone_are_told_right_from_left(good: Stretch) -> None:
    feet = replace(
        good,
        slots=("calcn_r", "calcn_l"),
        acc_ms2=good.acc_ms2[:, 2:],
        gyr_rads=good.gyr_rads[:, 2:],
    )
    assert grade_calibration(feet).grade is Grade.A
    assert grade_calibration(reordered(feet, 1, 0)).has(Symptom.SWAPPED_LEGS)


def test_a_walk_that_gives_no_axes_fails_with_the_reason(good: Stretch) -> None:
    alone = replace(
        good,
        slots=("femur_r", "femur_l", "calcn_r"),
        acc_ms2=good.acc_ms2[:, :3],
        gyr_rads=good.gyr_rads[:, :3],
    )
    found = grade_calibration(alone)
    assert found.calibration is None
    assert found.has(Symptom.NO_AXES)
    assert found.grade is Grade.F


def test_sides_are_mirror_images(good: Stretch) -> None:
    """Exchanging the names of the legs turns both scores of sides round, and leaves the pairing."""
    calibration = good.calibrate()
    rotations, _ = calibration.stacked(good.slots)
    acc = np.einsum("sij,tsj->tsi", rotations, good.acc_ms2[good.walking])
    gyr = np.einsum("sij,tsj->tsi", rotations, good.gyr_rads[good.walking])
    period = stride_period(gyr, good.rate_hz)
    order = [FEMUR_L, FEMUR_R, CALCN_L, CALCN_R]
    one = side_scores(good.slots, acc, gyr, period)
    mirrored = side_scores(good.slots, acc[:, order], gyr[:, order], period)
    assert mirrored.feet == pytest.approx(-one.feet)
    assert mirrored.thighs == pytest.approx(-one.thighs)
    assert mirrored.pairing == pytest.approx(one.pairing)


def test_a_stride_is_not_mistaken_for_two(good: Stretch, other: Stretch) -> None:
    for stretch in (good, other):
        gyr = stretch.gyr_rads[stretch.walking]
        seconds = stride_period(gyr, stretch.rate_hz) / stretch.rate_hz
        assert 0.9 < seconds < 1.4
    assert np.isnan(stride_period(np.zeros((800, 4, 3)), 100.0))


def test_sensors_of_one_body_keep_time(good: Stretch, other: Stretch) -> None:
    together = out_of_time_s(good.gyr_rads[good.walking], 100.0)
    assert together.max() < 0.015
    apart = out_of_time_s(exchanged(good, CALCN_R, other).gyr_rads[good.walking], 100.0)
    assert np.argmax(apart) == CALCN_R
    assert apart[CALCN_R] > 0.05


def swinging(leg: str) -> np.ndarray:
    rates = np.random.default_rng(1).normal(0, 0.05, (300, 4, 3))
    t_s = np.arange(300) / 100.0
    for slot, name in enumerate(LEG_SLOTS):
        if name.endswith(leg):
            rates[:, slot, 2] += 2.0 * np.sin(2 * np.pi * t_s)
    return rates


def test_swung_legs_settle_the_sides() -> None:
    assert examine_swings(LEG_SLOTS, {"r": swinging("r"), "l": swinging("l")}) == []
    crossed = examine_swings(LEG_SLOTS, {"r": swinging("l"), "l": swinging("r")})
    assert [f.symptom for f in crossed] == [Symptom.SWAPPED_LEGS]
    both = swinging("l")[:, [FEMUR_L, FEMUR_R, CALCN_R, CALCN_L]]
    own = swinging("r")[:, [FEMUR_L, FEMUR_R, CALCN_R, CALCN_L]]
    thighs = examine_swings(LEG_SLOTS, {"r": own, "l": both})
    assert [(f.symptom, f.slots) for f in thighs] == [
        (Symptom.SWAPPED_THIGHS, ("femur_r", "femur_l"))
    ]


def test_both_legs_swung_at_once_tell_nothing() -> None:
    mixed = swinging("r") + swinging("l")
    found = examine_swings(LEG_SLOTS, {"r": mixed, "l": mixed})
    assert [f.symptom for f in found] == [Symptom.SIDES_UNSURE]


def test_a_moved_sensor_is_seen_against_its_calibration(good: Stretch) -> None:
    calibration = good.calibrate()
    assert moved_slots(mounting_seen(calibration, good)) == {}
    for slot, name in enumerate(LEG_SLOTS):
        up = good.acc_ms2[good.still, slot].mean(axis=0)
        level = np.cross(up, [0.2, 0.9, 0.4])
        tilt = Rotation.from_rotvec(np.radians(30) * level / np.linalg.norm(level))
        seen = moved_slots(mounting_seen(calibration, turned(good, slot, tilt)))
        assert list(seen) == [name]
        assert np.degrees(seen[name].tilt_rad) == pytest.approx(30.0, abs=3.0)
        turn = Rotation.from_rotvec(np.radians(60) * up / np.linalg.norm(up))
        seen = moved_slots(mounting_seen(calibration, turned(good, slot, turn)))
        assert list(seen) == [name]
        assert abs(np.degrees(seen[name].turn_rad)) == pytest.approx(60.0, abs=10.0)


def test_a_thigh_sensor_turned_back_to_front_is_seen(good: Stretch) -> None:
    up = good.acc_ms2[good.still, FEMUR_L].mean(axis=0)
    half = Rotation.from_rotvec(np.pi * up / np.linalg.norm(up))
    seen = moved_slots(mounting_seen(good.calibrate(), turned(good, FEMUR_L, half)))
    assert list(seen) == ["femur_l"]


def test_standing_alone_shows_tilts(good: Stretch) -> None:
    tilted = turned(good, CALCN_R, Rotation.from_rotvec([0.5, 0.5, 0.0]))
    changes = check_mounting(good.calibrate(), good.slots, tilted.acc_ms2[good.still])
    assert list(moved_slots(changes)) == ["calcn_r"]
    assert "tilted by" in str(changes["calcn_r"])


def test_the_watch_answers_once(good: Stretch) -> None:
    calibration = good.calibrate()
    moved = turned(good, FEMUR_R, Rotation.from_rotvec([0.8, 0.0, 0.8]))
    watch = MountingWatch(calibration, good.rate_hz, good.slots)
    answers = [watch.update(a, g) for a, g in zip(moved.acc_ms2, moved.gyr_rads, strict=True)]
    assert watch.done
    assert [list(answer) for answer in answers if answer] == [["femur_r"]]


def restood(
    stretch: Stretch, slot: int, rotation: Rotation, walk: Rotation | None = None
) -> Stretch:
    """Stand in another posture of one segment, and walk as before or somewhat otherwise."""
    acc = stretch.acc_ms2.copy()
    acc[stretch.still, slot] = rotation.apply(acc[stretch.still, slot])
    if walk is not None:
        acc[stretch.walking, slot] = walk.apply(acc[stretch.walking, slot])
    return replace(stretch, acc_ms2=acc)


def level_turn(stretch: Stretch, slot: int, angle_deg: float) -> Rotation:
    level = np.cross(stretch.acc_ms2[stretch.still, slot].mean(axis=0), [0.2, 0.9, 0.4])
    return Rotation.from_rotvec(np.radians(angle_deg) * level / np.linalg.norm(level))


def test_who_stands_otherwise_but_walks_alike_has_moved_no_sensor(good: Stretch) -> None:
    calibration, before = good.calibrate(), stance_up_of(good)
    for slot in range(4):
        now = restood(good, slot, level_turn(good, slot, 20.0))
        assert moved_slots(mounting_seen(calibration, now, before)) == {}
        assert list(moved_slots(mounting_seen(calibration, now))) == (
            [LEG_SLOTS[slot]] if slot in (FEMUR_R, FEMUR_L) else []
        )


@pytest.mark.parametrize("walk_deg", [3.0, -15.0])
def test_a_walk_that_hardly_follows_a_stance_or_goes_against_it_says_nothing_moved(
    good: Stretch, walk_deg: float
) -> None:
    calibration, before = good.calibrate(), stance_up_of(good)
    for slot in range(4):
        walk = level_turn(good, slot, walk_deg)
        now = restood(good, slot, level_turn(good, slot, 20.0), walk)
        assert moved_slots(mounting_seen(calibration, now, before)) == {}


def test_a_tilt_that_stance_and_walk_agree_on_is_seen_though_it_is_small(good: Stretch) -> None:
    calibration, before = good.calibrate(), stance_up_of(good)
    for slot, name in enumerate(LEG_SLOTS):
        now = turned(good, slot, level_turn(good, slot, 12.0))
        seen = moved_slots(mounting_seen(calibration, now, before))
        assert list(seen) == [name]
        assert seen[name].agreed
        assert np.degrees(seen[name].tilt_rad) == pytest.approx(12.0, abs=3.0)


@pytest.mark.parametrize("angle_deg", [60.0, 120.0, 175.0, 180.0])
def test_a_large_turn_is_never_taken_for_disagreement(good: Stretch, angle_deg: float) -> None:
    calibration, before = good.calibrate(), stance_up_of(good)
    for slot, name in enumerate(LEG_SLOTS):
        now = turned(good, slot, level_turn(good, slot, angle_deg))
        seen = moved_slots(mounting_seen(calibration, now, before))
        # A thigh that swings against its foot may make others look odd; the one moved is among them.
        assert name in seen
        assert np.degrees(seen[name].tilt_rad) > 0.5 * angle_deg


def test_the_watch_compares_with_the_walk_it_is_given(good: Stretch) -> None:
    now = restood(good, FEMUR_L, level_turn(good, FEMUR_L, 20.0))
    for stance_up, expected in ((None, ["femur_l"]), (stance_up_of(good), [])):
        watch = MountingWatch(good.calibrate(), good.rate_hz, good.slots, stance_up=stance_up)
        answers = [watch.update(a, g) for a, g in zip(now.acc_ms2, now.gyr_rads, strict=True)]
        assert watch.done
        assert [slot for answer in answers for slot in answer] == expected
