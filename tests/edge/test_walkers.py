"""Walkers who do not exist: they stand, they walk, they are the same again, and nobody moves as nobody did."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from talaria_bridge.errors import ConfigError
from talaria_edge.generate.contract import Seen
from talaria_edge.generate.motion import CHANNELS, RATE_HZ, Conditions
from talaria_edge.generate.walkers import AT_ONCE, Outing, draw_person, draw_walkers

_SEEN = (
    Seen(style="walking", numbers=(1.2, 0.9, 1.7, 70.0)),
    Seen(style="running", numbers=(3.0, None, None, 70.0)),
)


class Draws:
    """Draws legs that swing, feet that land in turn, another phase for everyone."""

    spec: Any = SimpleNamespace(model_id="made-up", seen=_SEEN)

    def generate(
        self,
        asked: list[Conditions],
        count: int,
        rng: np.random.Generator,
        samples: int,
        sampling: object,
    ) -> np.ndarray:
        values = np.zeros((count, samples, len(CHANNELS)), np.float32)
        for row, (who, late) in enumerate(zip(asked, rng.random(count), strict=True)):
            phase = np.arange(samples) / RATE_HZ * who.stride_hz + late
            for i, name in enumerate(CHANNELS):
                mine = (phase + 0.5 * name.endswith("_l")) % 1.0
                if name.startswith("hip_flexion"):
                    values[row, :, i] = 0.15 + 0.4 * np.cos(2 * np.pi * mine)
                elif name.startswith("knee"):
                    values[row, :, i] = 0.5 - 0.45 * np.cos(2 * np.pi * (mine - 0.25))
                elif name.startswith("grf_vertical"):
                    values[row, :, i] = np.where(mine < 0.6, np.sin(np.pi * mine / 0.6), 0.0)
                elif name == "velocity_forward":
                    values[row, :, i] = who.speed_ms
        return values


def test_a_walker_stands_still_and_then_walks() -> None:
    (walker,) = draw_walkers(Draws(), 1, 3, Outing(8.0, stand_s=2.0))  # type: ignore[arg-type]
    for slot, reading in walker.readings.items():
        turning = np.linalg.norm(reading.gyr_rads, axis=1)
        assert turning[:180].max() < 0.1, slot
        assert turning[400:].max() > 1.0, slot
    assert len(walker.values) == 800
    both = walker.values[0, [CHANNELS.index(f"grf_vertical_{side}") for side in "rl"]]
    np.testing.assert_allclose(both, 0.5)
    forward = [CHANNELS.index(f"grf_anterior_{side}") for side in "rl"]
    pushed_ms = 9.80665 * walker.values[:, forward].sum() / RATE_HZ
    assert pushed_ms == pytest.approx(
        walker.conditions.speed_ms, rel=0.1
    )  # it takes a push to start
    moved_m = walker.body.origin_m["pelvis"][:, 0]
    assert abs(moved_m[150] - moved_m[0]) < 0.05
    pace_ms = (moved_m[750] - moved_m[450]) / 3.0
    assert pace_ms == pytest.approx(walker.conditions.speed_ms, rel=0.25)


def test_the_same_seed_draws_the_same_people_in_one_go_or_in_parts() -> None:
    outing = Outing(4.0, stand_s=1.0, slots=("calcn_r",))
    whole = list(draw_walkers(Draws(), AT_ONCE + 2, 5, outing))  # type: ignore[arg-type]
    part = list(draw_walkers(Draws(), 2, 5, outing, first=AT_ONCE))  # type: ignore[arg-type]
    other = next(draw_walkers(Draws(), 1, 6, outing))  # type: ignore[arg-type]
    assert [w.name for w in part] == [w.name for w in whole[AT_ONCE:]]
    for a, b in zip(whole[AT_ONCE:], part, strict=True):
        np.testing.assert_array_equal(a.readings["calcn_r"].acc_ms2, b.readings["calcn_r"].acc_ms2)
    assert other.conditions != whole[0].conditions


@pytest.mark.parametrize("style", ["running", "stiff_knee_r"])
def test_nobody_is_drawn_after_people_of_unknown_size_or_of_another_style(style: str) -> None:
    with pytest.raises(ConfigError, match=f"of known size do '{style}': ask for walking"):
        draw_person(Draws.spec, np.random.default_rng(0), style)


def test_an_outing_without_a_window_of_walking_is_refused() -> None:
    with pytest.raises(ConfigError, match="ask for one or more, and for 4"):
        next(draw_walkers(Draws(), 1, 0, Outing(4.0)))  # type: ignore[arg-type]
