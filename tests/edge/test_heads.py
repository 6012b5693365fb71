"""What a network's output means beyond the angles."""

from __future__ import annotations

import math

import pytest

from talaria_edge.heads import Heads, Widening
from talaria_edge.kinematics import ANGLES
from talaria_edge.spec import Head, Intervals, ModelSpec, Output

CLASSES = ("walking", "stiff_knee")


def spec(*heads: Head, intervals: Intervals | None = None) -> ModelSpec:
    outputs = tuple(
        Output(name=name, sign="flexion", kind="inferred", certainty="normal") for name in ANGLES
    )
    return ModelSpec.model_construct(
        outputs=outputs, heads=heads, intervals=intervals, familiarity=None
    )


SPREAD = Head(name="spread", columns=ANGLES)
FULL = spec(
    SPREAD,
    Head(name="contact", columns=("r", "l"), delay_s=0.03),
    Head(name="cycle", columns=("cos_r", "sin_r", "cos_l", "sin_l")),
    Head(name="gait_class", columns=CLASSES),
    Head(name="novelty", columns=("novelty",)),
    intervals=Intervals(level=0.9, factor=dict.fromkeys(ANGLES, 2.0), protocol="none"),
)
ZEROS = [0.0] * len(ANGLES)


def test_each_head_reads_its_own_columns() -> None:
    y = [*ZEROS, *[math.log(0.05)] * len(ANGLES), 2.0, -2.0, 0.0, 1.0, -1.0, 0.0, -0.1, -3.0, 1.4]
    heads = Heads(FULL)
    assert heads.half_widths(y) == pytest.approx(dict.fromkeys(ANGLES, 0.1))
    assert heads.contact(y) == pytest.approx({"r": 0.880797, "l": 0.119203}, abs=1e-6)
    assert heads.cycle(y) == pytest.approx({"r": 0.25, "l": 0.5})
    assert heads.classes_of(y) == [-0.1, -3.0]
    assert heads.novelty(y) == 1.4
    assert heads.delay_s == 0.03


def test_a_model_without_heads_claims_nothing() -> None:
    heads = Heads(spec())
    assert all(map(math.isnan, heads.half_widths(ZEROS).values()))
    assert all(map(math.isnan, heads.contact(ZEROS).values()))
    assert all(map(math.isnan, heads.cycle(ZEROS).values()))
    assert heads.classes_of(ZEROS) == []
    assert math.isnan(heads.novelty(ZEROS))


def test_a_spread_that_nobody_measured_is_no_interval() -> None:
    widths = Heads(spec(SPREAD)).half_widths([*ZEROS, *ZEROS])
    assert all(map(math.isnan, widths.values()))


def test_output_that_is_no_number_or_enormous_ends_in_no_exception() -> None:
    heads = Heads(FULL)
    width = FULL.width
    lost = [math.nan] * width
    assert all(map(math.isnan, heads.half_widths(lost).values()))
    assert all(map(math.isnan, heads.contact(lost).values()))
    assert heads.classes_of(lost) == [0.0, 0.0]
    for size in (1e30, -1e30):
        far = [size] * width
        assert all(value >= 0.0 for value in heads.half_widths(far).values())
        assert heads.contact(far)["r"] == (1.0 if size > 0 else 0.0)


def test_intervals_grow_in_proportion_to_what_is_beyond_the_novelty_limit() -> None:
    widening = Widening(100.0, 1.25)
    assert [widening.update(1.2) for _ in range(1000)][-1] == 1.0
    grown = [widening.update(2.5) for _ in range(1000)]
    assert grown[0] == 1.0  # one strange tick is not a strange stride
    assert grown == sorted(grown)
    assert grown[-1] == pytest.approx(2.0, rel=1e-3)
    y = [*ZEROS, *[math.log(0.05)] * len(ANGLES)]
    heads = Heads(spec(SPREAD, intervals=FULL.intervals))
    assert heads.half_widths(y, 2.0) == pytest.approx(dict.fromkeys(ANGLES, 0.2))


def test_without_a_limit_or_a_number_nothing_grows() -> None:
    assert Widening(100.0, None).update(99.0) == 1.0
    widening = Widening(100.0, 1.0)
    before = [widening.update(3.0) for _ in range(100)][-1]
    assert widening.update(math.nan) == before > 1.0
    widening.reset()
    assert widening.update(math.nan) == 1.0
