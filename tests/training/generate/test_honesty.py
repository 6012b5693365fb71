"""Generated gait that is like real gait passes, what is not is caught, and copies of people are found."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError
from talaria_edge.generate.motion import CHANNELS, VELOCITY, WINDOW, columns
from talaria_edge.kinematics import SIDES
from talaria_training.generate.gait_cycles import POINTS, Cycles, first_cycles, statistics
from talaria_training.generate.honesty import coverage, distances, privacy
from talaria_training.generate.sanity import MEASURES, beside, sanity
from talaria_training.generate.telling import told_apart
from talaria_training.generate.windows import Windows

Floats = NDArray[np.float64]

RARE = 1


def gait(
    random: np.random.Generator, size: float, stride_s: float, rare: bool = False
) -> NDArray[np.float32]:
    """One window: sines for angles, half a sine of force in each stance; a rare one bends no knee."""
    t_s = np.arange(WINDOW) / 100
    phase = t_s / stride_s + random.uniform()
    values = np.zeros((WINDOW, len(CHANNELS)))
    for side, shift in (("r", 0.0), ("l", 0.5)):
        own = (phase + shift) % 1
        bend = 0.2 if rare else 1.0
        values[:, columns([f"hip_flexion_{side}"])[0]] = 0.4 * size * np.cos(2 * np.pi * own)
        values[:, columns([f"knee_angle_{side}"])[0]] = (
            0.5 * size * bend * (1.1 + np.sin(2 * np.pi * (own + 0.5)))
        )
        stance = np.where(own < 0.6, np.sin(np.pi * own / 0.6), 0.0)
        values[:, columns([f"grf_vertical_{side}"])[0]] = 1.3 * stance
    values[:, columns(["velocity_forward"])] = size
    return (values * random.normal(1.0, 0.02, len(CHANNELS))).astype(np.float32)


def windows_of(
    seed: int, people: int = 12, each: int = 8, larger: float = 1.0, rare: int = 0, prefix: str = ""
) -> Windows:
    random = np.random.default_rng(seed)
    values, person, style = [], [], []
    for who in range(people):
        size, stride_s = larger * random.normal(1.0, 0.1), random.uniform(0.9, 1.0)
        for _ in range(each):
            values.append(gait(random, size, stride_s, who < rare))
            person.append(f"{prefix}{who}" if prefix else "")
            style.append(RARE if who < rare else 0)
    count = len(values)
    return Windows(
        np.array(values),
        np.tile(np.float32([1.2, 1.0, 1.75, 70.0]), (count, 1)),
        np.array(style),
        np.array(person),
        np.array([f"{seed} {i}" for i in range(count)]),
        np.zeros(count, np.int64),
    )


def cycles_of(seed: int, **asked: int | float | str) -> Cycles:
    return first_cycles(windows_of(seed, **asked))  # type: ignore[arg-type]


@cache
def real() -> Cycles:
    return cycles_of(1, prefix="P")


def test_a_cycle_runs_from_one_landing_to_the_next() -> None:
    cycles = real()
    assert len(cycles) > 40
    assert cycles.values.shape[1:] == (POINTS, len(CHANNELS))
    force = cycles.values[:, :, columns(["grf_vertical_r"])[0]]
    assert np.abs(force[:, [0, -1]] - 0.03).max() < 0.01
    assert force[:, 30].min() > 1.0
    assert 0.88 < cycles.stride_s.min() < cycles.stride_s.max() < 1.02


def test_overlapping_windows_give_a_cycle_once() -> None:
    one = windows_of(3, people=1, each=1).values[0]
    long = np.concatenate([gait(np.random.default_rng(0), 1.0, 0.95), one])[: WINDOW + 5]
    twice = np.stack([long[:WINDOW], long[5 : WINDOW + 5]])
    both = Windows(
        twice,
        np.ones((2, 4), np.float32),
        np.zeros(2, np.int64),
        np.array(["P", "P"]),
        np.array(["walk", "walk"]),
        np.array([0, 5]),
    )
    assert len(first_cycles(both)) == 1


def test_numbers_of_a_cycle_are_what_the_cycle_was_made_of() -> None:
    cycles = real()
    numbers = statistics(cycles)
    assert np.allclose(numbers["cadence_steps_min"], 120 / cycles.stride_s)
    assert np.allclose(numbers["stance_share_r"], 0.6, atol=0.03)
    assert np.allclose(numbers["peak_vertical_l BW"], 1.3, atol=0.15)
    assert np.abs(numbers["knee_angle_excess range %"]).mean() < 10


def test_gait_of_the_same_kind_has_the_same_numbers() -> None:
    found = distances(real(), cycles_of(2, prefix="G"))
    assert len(found) > 15
    assert np.mean([d.shift.low <= 0 <= d.shift.high for d in found]) > 0.75
    assert all(0.3 < d.spread.value < 3.0 for d in found)


def test_larger_movements_show_in_their_numbers() -> None:
    found = {d.name: d for d in distances(real(), cycles_of(2, larger=1.5))}
    assert found["knee_angle_r range"].shift.low > 2.0
    assert found["knee_angle_r range"].generated > 1.3 * found["knee_angle_r range"].real
    assert abs(found["stance_share_r"].shift.value) < 1.0


def test_gait_of_the_same_kind_is_not_told_apart() -> None:
    for told in told_apart(real(), cycles_of(2)):
        assert told.accuracy.value < 0.70, told
        assert told.accuracy.low < 0.55, told


def test_another_gait_is_told_apart_by_both_classifiers() -> None:
    for told in told_apart(real(), cycles_of(2, larger=1.5)):
        assert told.accuracy.low > 0.75, told


def test_a_classifier_never_learns_from_the_people_it_is_asked_about() -> None:
    # Everybody's cycles are alike and nobody's like another's: only knowing the person would help.
    random = np.random.default_rng(0)
    mine, theirs = cycles_of(1, prefix="P", people=20), cycles_of(2, prefix="P", people=20)
    for cycles in (mine, theirs):
        cycles.values[:] = 0.0
        for who in np.unique(cycles.person):
            cycles.values[cycles.person == who] = random.normal(size=(1, 1, len(CHANNELS)))
    for told in told_apart(mine, theirs):
        assert told.accuracy.value < 0.75, told


def test_too_few_people_are_refused() -> None:
    with pytest.raises(ConfigError, match="too few to tell apart"):
        told_apart(cycles_of(1, people=1, prefix="P"), cycles_of(2))


def test_gait_of_the_same_kind_covers_real_people_and_misses_a_rare_kind() -> None:
    everyone = cycles_of(1, prefix="P", people=16, rare=4)
    common = {c.style: c for c in coverage(everyone, cycles_of(2, people=16, rare=0))}
    assert set(common) == {None, 0, RARE}
    assert 0.3 < common[0].share.value < 0.8
    assert common[RARE].share.high < 0.15
    with_rare = {c.style: c for c in coverage(everyone, cycles_of(2, people=16, rare=4))}
    assert with_rare[RARE].share.value > 0.25


def test_returned_people_are_found_and_new_ones_are_not() -> None:
    training, others = cycles_of(1, prefix="P"), cycles_of(5, prefix="Q")
    fresh = privacy(training, others, cycles_of(2))
    assert fresh.too_close < 0.05
    assert fresh.generated[2] == pytest.approx(fresh.held_out[2], rel=0.3)
    copied = windows_of(1, prefix="P")
    copied.values[:] += np.float32(1e-4) * (copied.values != 0)
    stolen = privacy(training, others, first_cycles(copied))
    assert stolen.too_close > 0.95
    assert stolen.generated[2] < 0.1 * stolen.held_out[2]


def standing() -> Floats:
    values = np.zeros((WINDOW, len(CHANNELS)))
    values[:, columns([f"grf_vertical_{side}" for side in SIDES])] = 0.5
    return values


def measured(change: Callable[[Floats], object]) -> dict[str, float]:
    values = standing()
    change(values)
    one = windows_of(0, people=1, each=1)
    one.values[:] = values
    return {name: float(found[0]) for name, found in sanity(one).items()}


def put(values: Floats, name: str, value: float) -> None:
    values[:, columns([name])] = value


def put_speed(values: Floats) -> None:
    put(values, "velocity_forward", 1.2)  # as `windows_of` says, on feet that stand


def lift_left(values: Floats) -> None:
    for name, value in (("hip_flexion_l", 0.8), ("knee_angle_l", 1.6), ("ankle_angle_l", 0.8)):
        put(values, name, value)


def only_right(values: Floats) -> None:
    put(values, "grf_vertical_r", 1.0)
    put(values, "grf_vertical_l", 0.0)


def test_standing_still_breaks_no_law() -> None:
    found = measured(lambda values: None)
    assert found["under_ground_mm"] < 1.0
    assert found["force_without_contact"] == found["hyperextension_deg"] == 0.0
    assert found["impulse_off_ms"] < 1e-6
    assert np.isnan(found["mean_force_off_bw"])  # no stride


def test_feet_that_stand_while_the_body_goes_skate() -> None:
    assert measured(put_speed)["skating_mm_s"] == pytest.approx(1200, rel=0.02)


def test_a_foot_that_rolls_over_its_ball_does_not_skate() -> None:
    values = standing()
    only_right(values)
    values[:, columns(VELOCITY)] = np.nan
    turn = np.sin(2 * np.pi * np.arange(WINDOW) / 100)
    values[:, columns(["ankle_angle_r"])[0]] = -0.5 + 0.15 * turn
    one = windows_of(0, people=1, each=1)
    one.values[:], one.numbers[:, 0] = values, 0.0
    assert float(sanity(one)["skating_mm_s"][0]) < 30.0


def test_a_lifted_foot_that_carries_is_caught() -> None:
    found = measured(lift_left)
    assert found["force_without_contact"] == pytest.approx(0.5, abs=0.05)
    assert found["under_ground_mm"] > 50.0


def test_a_foot_on_the_ground_that_carries_nothing_is_caught() -> None:
    def stay(values: Floats) -> None:
        only_right(values)
        values[:, columns(VELOCITY)] = 0.0

    one = windows_of(0, people=1, each=1)
    values = standing()
    stay(values)
    one.values[:], one.numbers[:, 0] = values, 0.0
    assert float(sanity(one)["contact_without_force"][0]) == pytest.approx(0.5, abs=0.02)


def test_forces_that_do_not_move_the_body_are_caught() -> None:
    def push(values: Floats) -> None:
        values[50:80, columns(["grf_anterior_r"])] = 0.3

    assert measured(push)["impulse_off_ms"] > 0.05


def test_vertical_force_over_strides_is_held_against_the_weight() -> None:
    found = sanity(windows_of(1, people=2, each=3))
    mean = 2 * 1.3 * 0.6 * 2 / np.pi
    assert np.nanmedian(found["mean_force_off_bw"]) == pytest.approx(abs(mean - 1), abs=0.05)


def test_knees_that_bend_backwards_are_measured() -> None:
    found = measured(lambda values: put(values, "knee_angle_l", np.radians(-6.0)))
    assert found["hyperextension_deg"] == pytest.approx(6.0, abs=0.01)


def test_real_stands_beside_generated() -> None:
    rows = beside(sanity(windows_of(1, people=1, each=2)), sanity(windows_of(2, people=1, each=2)))
    assert tuple(row.measure for row in rows) == MEASURES
    assert all(row.real_95 >= row.real for row in rows if np.isfinite(row.real))
