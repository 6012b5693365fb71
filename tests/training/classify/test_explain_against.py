"""Holding a person against a group: what is planted is found, where it is, and little else is."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_training.explain.against.band import _greatest, _moments, false_alarms, hold
from talaria_training.explain.against.compare import compare
from talaria_training.explain.against.document import document
from talaria_training.explain.against.page import page
from talaria_training.strides.table import Channel, StrideTable

CHANNELS = (
    Channel("hip_flexion", "hip", "sagittal", "deg"),
    Channel("knee_angle", "knee", "sagittal", "deg"),
    Channel("femur_acc_x", "femur", "x", "m/s2"),
)
KNEE, POINTS, EACH = 1, 101, 6
WINDOW = slice(62, 82)


def people(count: int, seed: int) -> NDArray[np.float64]:
    """Smooth curves of people's legs (people, legs, channels, points), scattering by 5."""
    rng = np.random.default_rng(seed)
    bell = np.exp(-0.5 * (np.arange(-30, 31) / 10.0) ** 2)
    noise = rng.normal(size=(count, 2, len(CHANNELS), POINTS + 60))
    smooth = np.apply_along_axis(np.convolve, 3, noise, bell / np.linalg.norm(bell), "valid")
    return 30.0 + 5.0 * smooth


@cache
def group(count: int = 30, seed: int = 3) -> StrideTable:
    """So many people, six strides of each leg."""
    rng = np.random.default_rng(seed)
    curves = np.repeat(people(count, seed).reshape(2 * count, len(CHANNELS), POINTS), EACH, axis=0)
    values = (curves + rng.normal(size=curves.shape)).astype(np.float32)
    who = np.repeat([f"P{k:02d}" for k in range(count)], 2 * EACH)
    side = np.tile(np.repeat(["l", "r"], EACH), count)
    columns = {
        "person": who,
        "session": np.full(len(who), "1"),
        "side": side,
        "condition": np.full(len(who), "normal"),
    }
    return StrideTable(values, CHANNELS, columns, np.arange(len(who)), "stride", "Made for a test.")


def stiff(name: str, side: str = "r", table: StrideTable | None = None) -> StrideTable:
    """One of the group, bending one knee 40 degrees less around 72 % of the stride."""
    table = table or group()
    mine = table.select(table.column("person") == name)
    values = mine.values.copy()
    points = np.arange(POINTS)
    bump = 40.0 * np.exp(-0.5 * ((points - 72) / 4.0) ** 2)
    values[mine.column("side") == side, KNEE] -= bump.astype(np.float32)
    return replace(mine, values=values)


def test_what_is_planted_is_found_at_its_leg_joint_and_moment() -> None:
    found = compare(stiff("P04"), group())
    span = found.legs.spans[0]
    assert (found.sides[span.row], CHANNELS[span.channel].name) == ("r", "knee_angle")
    assert span.peak == pytest.approx(72, abs=4)
    assert 62 <= span.begin < span.end <= 82
    assert {s.channel for s in found.legs.spans} == {KNEE}


def test_the_other_leg_is_not_accused() -> None:
    found = compare(stiff("P04", side="l"), group())
    assert {found.sides[span.row] for span in found.legs.spans} == {"l"}


def test_asymmetry_is_found_with_the_sign_of_right_less_left() -> None:
    found = compare(stiff("P04", side="l"), group())
    assert found.symmetry is not None
    span = found.symmetry.spans[0]
    assert span.channel == KNEE
    assert span.difference > 0


def test_the_person_is_left_out_of_the_group() -> None:
    inside, outside = stiff("P04"), stiff("P04")
    outside = replace(outside, columns={**outside.columns, "person": np.full(len(outside), "X")})
    others = group().select(group().column("person") != "P04")
    alone, among = compare(outside, others), compare(inside, group())
    np.testing.assert_allclose(among.legs.z, alone.legs.z)
    assert among.was_inside
    assert not alone.was_inside


def test_people_are_the_unit_however_many_strides_each_has() -> None:
    table = group()
    many = np.concatenate(
        [np.arange(len(table)), *([np.flatnonzero(table.column("person") == "P01")] * 50)]
    )
    once, often = (compare(stiff("P04"), t) for t in (table, table.select(many)))
    np.testing.assert_allclose(often.legs.mean, once.legs.mean, rtol=1e-5)
    np.testing.assert_allclose(often.legs.sd, once.legs.sd, rtol=1e-4)


@pytest.mark.parametrize("count", [8, 40])
def test_somebody_like_the_group_seldom_leaves_the_band(count: int) -> None:
    curves = people(count + 40, seed=8)
    others, strangers = curves[:count], curves[count:]
    out = sum(bool(np.abs(hold_quickly(one, others)).max() > 1.0) for one in strangers)
    assert out <= 10  # of 40, where 4 are expected


def hold_quickly(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    key = len(others)
    if key not in BOUNDS:
        BOUNDS[key] = hold(one, others).bound
    z: NDArray[np.float64] = (one - others.mean(axis=0)) / hold_sd(others)
    return z / BOUNDS[key]


def hold_sd(others: NDArray[np.float64]) -> NDArray[np.float64]:
    return _moments(others)[1]


BOUNDS: dict[int, float] = {}


def test_an_uncorrected_bound_would_cry_wolf() -> None:
    curves = people(60, seed=9)
    others, strangers = curves[:40], curves[40:]
    out = sum(
        bool((np.abs(one - others.mean(axis=0)) > 1.96 * hold_sd(others)).any())
        for one in strangers
    )
    assert out > 10  # of 20: which is why the band is one for all points together


def test_the_spread_is_that_of_one_more_person() -> None:
    offsets = np.array([1.0, 4.0, 2.0, 7.0, 6.0])
    flat = np.broadcast_to(offsets[:, None, None, None], (5, 1, 1, POINTS))
    mean, sd = _moments(flat)
    np.testing.assert_allclose(mean, 4.0)
    np.testing.assert_allclose(sd**2, offsets.var(ddof=1) * (1.0 + 1.0 / 5.0))


def test_the_band_of_a_large_group_holds_nine_of_ten_of_its_own_people() -> None:
    curves = people(40, seed=6)
    assert (_greatest(curves) > hold(curves[0], curves).bound).sum() == 3  # 37 of 40: 0.9 of 41


def test_departures_from_the_others_are_those_found_one_by_one() -> None:
    curves = people(9, seed=2)
    one_by_one = []
    for k in range(9):
        mean, sd = _moments(np.delete(curves, k, axis=0))
        one_by_one.append(np.abs((curves[k] - mean) / sd).max())
    np.testing.assert_allclose(_greatest(curves), one_by_one)


def test_the_one_who_is_odd_is_named_as_a_false_alarm() -> None:
    curves = people(24, seed=5)
    curves[7, 1, KNEE, WINDOW] -= 80.0
    alarms, tried = false_alarms(curves)
    assert 7 in alarms
    assert len(alarms) <= 4
    assert tried == 24


def test_sentences_say_leg_joint_direction_amount_and_moment() -> None:
    said = document(stiff("P04"), group())["said"]
    assert "at the right knee" in said["decision"]
    first = said["legs"][0]
    assert first.startswith("The right knee is up to ")
    assert "° less flexed than the group's mean between " in first
    assert "of the stride (most at 7" in first
    assert "The right knee is " in said["symmetry"][0]
    assert "less flexed than the left" in said["symmetry"][0]


def test_nothing_is_said_to_be_different_where_nothing_is() -> None:
    table = group()
    mean = np.stack([table.values[table.column("side") == s].mean(axis=0) for s in "lr"])
    mine = table.select(table.column("person") == "P04")
    values = mean[(mine.column("side") == "r").astype(int)].astype(np.float32)
    said = document(replace(mine, values=values), table)["said"]
    assert not said["is_different"]
    assert said["decision"].startswith("Nothing in the gait of P04 lies outside")


def test_where_the_two_were_measured_differently_the_page_warns() -> None:
    other = replace(stiff("P04"), source="By another instrument.")
    assert "not measured the same way" in page(document(other, group()))
    assert "not measured the same way" not in page(document(stiff("P04"), group()))


def test_without_sides_all_strides_of_a_person_count_together() -> None:
    mine = stiff("P04")
    nowhere = replace(mine, columns={**mine.columns, "side": np.full(len(mine), "")})
    found = compare(nowhere, group())
    assert found.sides == ("",)
    assert found.symmetry is None
    assert found.legs.z.shape == (1, len(CHANNELS), POINTS)


def test_somebody_without_one_leg_is_left_out_of_the_group_by_name() -> None:
    table = group()
    keep = ~((table.column("person") == "P09") & (table.column("side") == "l"))
    found = compare(stiff("P04"), table.select(keep))
    assert found.dropped == ("P09",)
    assert "P09" not in found.people


def test_too_few_people_are_refused() -> None:
    few = group().select(np.isin(group().column("person"), ["P00", "P01", "P02", "P04"]))
    with pytest.raises(RecordingError, match="has 3 people beside P04"):
        compare(stiff("P04"), few)


def test_several_people_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"strides of 30 people .* choose one with --person"):
        compare(group(), group())


def test_other_channels_are_refused_by_name() -> None:
    renamed = replace(group(), channels=(CHANNELS[0], replace(CHANNELS[1], name="x"), CHANNELS[2]))
    with pytest.raises(ConfigError, match="There is no channel knee_angle in the population"):
        compare(stiff("P04"), renamed)


def test_the_same_channels_in_another_order_are_refused() -> None:
    turned = replace(group(), channels=CHANNELS[::-1])
    with pytest.raises(ConfigError, match="another order, joint or unit"):
        compare(stiff("P04"), turned)


def test_strides_of_another_length_or_cycle_are_refused() -> None:
    short = replace(group(), values=group().values[:, :, ::2])
    with pytest.raises(
        ConfigError, match="strides of 101 points and the population's strides of 51"
    ):
        compare(stiff("P04"), short)
    with pytest.raises(ConfigError, match="the population's stances of 101"):
        compare(stiff("P04"), replace(group(), cycle="stance"))
