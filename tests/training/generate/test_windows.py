"""Windows: cut where enough was measured, with strides of their own, and dealt out by person."""

from __future__ import annotations

import numpy as np
import pytest

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_edge.generate.motion import CHANNELS, NUMBERS, STYLES, WINDOW, Conditions, Motion
from talaria_edge.kinematics import ANGLES
from talaria_training.generate.windows import cut, folds, stride_hz, usual_stride_hz

HZ = NUMBERS.index("stride_hz")


def gait(length: int, hz: float | np.ndarray, first: int = 0) -> np.ndarray:
    """A knee that bends twice a stride, once far and once a little, and other joints beside it."""
    phase = np.cumsum(np.broadcast_to(hz, length)) / 100.0
    values = np.full((length, len(CHANNELS)), np.nan, np.float32)
    for i in range(len(ANGLES)):
        turn = 2 * np.pi * (phase + i / 7)
        values[:, i] = 0.5 * np.cos(turn) + 0.3 * np.cos(2 * turn + i)
    values[:first] = np.nan
    return values


def motion(person: str = "Ann", length: int = 1000, **known: float | str | None) -> Motion:
    conditions = Conditions(**{"stride_hz": 0.8, **known})  # type: ignore[arg-type]
    return Motion(person, f"{person}/walk", "made up", gait(length, 0.8), conditions)


def test_windows_are_the_motion_itself_from_where_they_say() -> None:
    one = motion(speed_ms=1.2, mass_kg=70.0, style="stiff_knee_l")
    windows = cut([one], stride=40)
    assert windows.values.shape == (22, WINDOW, len(CHANNELS))
    assert windows.values.dtype == windows.numbers.dtype == np.float32
    for values, start in zip(windows.values, windows.start, strict=True):
        np.testing.assert_array_equal(values, one.values[start : start + WINDOW])
    assert windows.start.tolist() == list(range(0, 851, 40))
    assert windows.style.tolist() == [STYLES.index("stiff_knee_l")] * 22
    np.testing.assert_allclose(windows.numbers[:, [0, 3]], np.tile([1.2, 70.0], (22, 1)), rtol=1e-6)
    assert np.isnan(windows.numbers[:, NUMBERS.index("height_m")]).all()


def test_a_motion_too_short_for_eight_windows_is_cut_more_closely_and_no_other_is() -> None:
    short, longer = motion("Ann", 192), motion("Bob", 1000)
    windows = cut([short, longer], least=8)
    assert windows.start[windows.person == "Ann"].tolist() == [0, 6, 12, 18, 24, 30, 36, 42]
    np.testing.assert_array_equal(np.diff(windows.start[windows.person == "Bob"]), 25)


def test_an_unknown_style_is_minus_one() -> None:
    assert set(cut([motion()]).style.tolist()) == {-1}


def test_a_window_of_which_a_fifth_is_not_known_is_left_out() -> None:
    values = gait(600, 0.8, first=300)
    one = Motion("Ann", "late", "made up", values, Conditions(stride_hz=0.8))
    starts = cut([one], stride=10).start
    # 10 of 22 channels over a share of the window: 20 % needs 66 of its 150 samples.
    assert starts.min() == 220
    assert starts.max() == 450


def test_one_leg_of_angles_is_enough() -> None:
    values = gait(300, 0.8)
    values[
        :, [i for i, name in enumerate(CHANNELS) if not name.endswith("_r") or "grf" in name]
    ] = np.nan
    assert np.isfinite(values[0]).sum() == 5
    assert len(cut([Motion("Ann", "leg", "made up", values)])) == 7


def test_what_is_too_short_or_empty_is_refused_in_one_sentence() -> None:
    with pytest.raises(RecordingError, match=r"None of the 2 motions holds 1\.5 s"):
        cut([motion(length=149), Motion("Bob", "b", "", gait(400, 0.8, first=400))])


def test_a_window_has_its_own_strides_per_second() -> None:
    pace = np.concatenate([np.full(1500, 0.7), np.full(1500, 1.0)])
    one = Motion("Ann", "faster", "made up", gait(3000, pace), Conditions(stride_hz=0.85))
    windows = cut([one])
    early, late = windows.start < 1000, windows.start > 1850
    np.testing.assert_allclose(windows.numbers[early, HZ], 0.7, atol=0.01)
    np.testing.assert_allclose(windows.numbers[late, HZ], 1.0, atol=0.01)


def test_a_motion_without_a_clock_gives_its_windows_none() -> None:
    assert np.isnan(cut([motion(stride_hz=np.nan)]).numbers[:, HZ]).all()


def test_where_nothing_repeats_itself_the_motion_speaks() -> None:
    values = gait(400, 0.8)
    values[:] = np.random.default_rng(1).normal(size=values.shape)
    one = Motion("Ann", "noise", "made up", values, Conditions(stride_hz=0.9))
    np.testing.assert_allclose(cut([one]).numbers[:, HZ], 0.9, rtol=1e-6)


def test_two_strides_taken_for_one_are_not_believed() -> None:
    values = gait(1000, 0.9) + 4 * gait(1000, 0.45)
    one = Motion("Ann", "odd", "made up", values, Conditions(stride_hz=0.9))
    assert stride_hz(values) == pytest.approx(0.45, rel=0.02)
    np.testing.assert_allclose(cut([one]).numbers[:, HZ], 0.9, rtol=1e-6)


@pytest.mark.parametrize("hz", [0.55, 0.7, 1.0, 1.4, 2.0])
def test_a_stride_is_not_taken_for_a_step_or_for_two_strides(hz: float) -> None:
    assert stride_hz(gait(450, hz)) == pytest.approx(hz, rel=0.01)


def test_a_still_person_and_a_straight_line_have_no_strides() -> None:
    still = np.zeros((450, len(CHANNELS)))
    assert np.isnan(stride_hz(still))
    still[:] = np.linspace(0.0, 1.0, 450)[:, None]
    assert np.isnan(stride_hz(still))


def test_the_usual_pace_passes_over_what_was_not_measured() -> None:
    values = gait(2000, 0.8)
    values[100:130] = np.nan
    assert usual_stride_hz(values) == pytest.approx(0.8, rel=0.01)
    assert np.isnan(usual_stride_hz(np.full_like(values, np.nan)))


def test_windows_are_kept_and_left_out_by_person() -> None:
    windows = cut([motion("Ann"), motion("Bob"), motion("Cec", length=400)])
    assert set(windows.of(["Ann", "Cec"]).person.tolist()) == {"Ann", "Cec"}
    rest = windows.without(["Ann", "Cec"])
    assert set(rest.person.tolist()) == {"Bob"}
    assert len(windows.of(["Ann", "Cec"])) + len(rest) == len(windows)
    assert len(rest.values) == len(rest.numbers) == len(rest.style) == len(rest.start)


def test_everybody_is_held_out_once_and_every_data_set_in_every_group_it_can_reach() -> None:
    sets = {
        "a": [f"a{i}" for i in range(8)],
        "b": [f"b{i}" for i in range(11)],
        "c": {"c0", "a3"},
    }
    groups = folds(sets)
    everybody = [person for group in groups for person in group]
    assert len(everybody) == len(set(everybody)) == 20
    assert {len(group) for group in groups} == {5}
    for name, most in (("a", 2), ("b", 3)):
        counts = [sum(p.startswith(name) for p in group) for group in groups]
        assert max(counts) <= most
        assert max(counts) - min(counts) <= 1


def test_groups_do_not_depend_on_the_order_in_which_people_come() -> None:
    sets = {"a": ["x", "y", "z"], "b": ["u", "v"]}
    again = {"b": {"v", "u"}, "a": ("z", "x", "y")}
    assert folds(sets, 2) == folds(again, 2)


def test_more_groups_than_people_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 people cannot be held out in 4 groups"):
        folds({"a": ["x", "y", "z"]})
