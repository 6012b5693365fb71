"""A verdict per stride: what the network says on average, unless the stride is like none it knows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from talaria_edge.classify import ClassStage
from talaria_edge.gait import EventKind, GaitClass, GaitEvent

WALK, STIFF = np.array([2.0, 0.0], np.float32), np.array([0.0, 2.0], np.float32)


def stage(limit: float | None = 2.0) -> ClassStage:
    return ClassStage(("walking", "stiff_knee"), limit)


def strides(
    of: ClassStage, said: np.ndarray, novelty: float, start_s: float = 0.0, count: int = 3
) -> list[tuple[GaitClass, float]]:
    seen = []
    for i in range(round(count * 110) + 1):
        t_s = start_s + i / 100
        events = (GaitEvent(t_s, "r", EventKind.INITIAL_CONTACT),) if i % 110 == 0 else ()
        seen.append(of.update(t_s, 3.0, said, novelty, events))
    return seen


def test_a_stride_gets_the_class_the_network_favours() -> None:
    assert strides(stage(), WALK, 1.0)[-1] == (GaitClass.WALKING, pytest.approx(0.881, abs=1e-3))
    assert strides(stage(), STIFF, 1.0)[-1][0] is GaitClass.STIFF_KNEE


def test_before_the_first_whole_stride_nothing_is_claimed() -> None:
    assert {verdict for verdict, _ in strides(stage(), WALK, 1.0)[:110]} == {GaitClass.UNKNOWN}


def test_one_odd_moment_does_not_outvote_a_stride() -> None:
    of = stage()
    strides(of, WALK, 1.0)
    for i in range(1, 111):
        said = STIFF if i < 30 else WALK
        events = (GaitEvent(3.3 + i / 100, "r", EventKind.INITIAL_CONTACT),) if i == 110 else ()
        verdict, _ = of.update(3.3 + i / 100, 3.0, said, 1.0, events)
    assert verdict is GaitClass.WALKING


def test_a_stride_unlike_any_in_training_is_unknown() -> None:
    assert strides(stage(), WALK, 2.5)[-1] == (GaitClass.UNKNOWN, 0.0)
    assert strides(stage(None), WALK, 2.5)[-1][0] is GaitClass.WALKING


def test_who_stands_is_still_and_who_shuffles_without_a_stride_is_unknown() -> None:
    of = stage()
    strides(of, WALK, 1.0)
    for i in range(1, 401):
        verdict, _ = of.update(3.3 + i / 100, 0.1, WALK, 1.0, ())
    assert verdict is GaitClass.STILL
    for i in range(1, 50):
        verdict, sure = of.update(7.3 + i / 100, 2.0, WALK, 1.0, ())
    assert (verdict, sure) == (GaitClass.UNKNOWN, 0.0)


def test_resumed_equals_continuous() -> None:
    whole, first, second = stage(), stage(), stage()
    strides(whole, WALK, 1.0)
    expected = strides(whole, STIFF, 1.5, 3.37, 2)
    strides(first, WALK, 1.0)
    second.state = first.state
    assert strides(second, STIFF, 1.5, 3.37, 2) == expected


USUAL = {"r": 1.0, "l": 1.0}


def judged(
    said: np.ndarray, moves: tuple[float, float], usual: dict[str, float] | None = USUAL
) -> tuple[GaitClass, float]:
    """Verdict on strides of both legs whose knees move so far, rad."""
    of = ClassStage(("walking", "stiff_knee"), 2.0, usual_rad=usual)
    verdict = (GaitClass.UNKNOWN, 0.0)
    for i in range(441):
        t_s, swing = i / 100, 0.5 - 0.5 * math.cos(2 * math.pi * i / 110)
        side = "r" if i % 110 == 0 else "l"
        events = (GaitEvent(t_s, side, EventKind.INITIAL_CONTACT),) if i % 55 == 0 else ()
        verdict = of.update(t_s, 3.0, said, 1.0, events, (moves[0] * swing, moves[1] * swing))
    return verdict


def test_a_knee_that_moves_as_usual_is_not_stiff_whatever_the_network_says() -> None:
    assert judged(STIFF, (0.95, 0.95), usual=None)[0] is GaitClass.STIFF_KNEE
    verdict, sure = judged(STIFF, (0.95, 0.95))
    assert verdict is GaitClass.WALKING
    assert sure > 0.9


def test_one_knee_held_is_a_stiff_knee_if_the_network_says_so_too() -> None:
    assert judged(STIFF, (0.95, 0.6)) == judged(STIFF, (0.95, 0.6), usual=None)
    assert judged(STIFF, (0.6, 0.95))[0] is GaitClass.STIFF_KNEE
    assert judged(WALK, (0.6, 0.6))[0] is GaitClass.WALKING


def test_a_knee_is_compared_with_its_own_usual_and_not_with_the_other() -> None:
    usual = {"r": 1.0, "l": 0.7}
    assert judged(STIFF, (0.95, 0.66), usual)[0] is GaitClass.WALKING
    assert judged(STIFF, (0.66, 0.66), usual)[0] is GaitClass.STIFF_KNEE


def test_a_knee_nobody_sees_leaves_the_network_its_word() -> None:
    assert judged(STIFF, (math.nan, math.nan)) == judged(STIFF, (0.95, 0.95), usual=None)
    never = {"r": 0.0, "l": 0.0}  # a model whose knees stood still while the wearer was calibrated
    assert judged(STIFF, (0.95, 0.95), never) == judged(STIFF, (0.95, 0.95), usual=None)
    assert judged(STIFF, (math.nan, 0.95))[0] is GaitClass.WALKING


def test_a_moment_without_a_knee_takes_that_stride_s_range_away() -> None:
    of = ClassStage(("walking", "stiff_knee"), 2.0, usual_rad=USUAL)
    for i in range(221):
        events = (GaitEvent(i / 100, "r", EventKind.INITIAL_CONTACT),) if i % 110 == 0 else ()
        knee = math.nan if 150 < i < 160 else 0.95 * (i % 110) / 110
        verdict, _ = of.update(i / 100, 3.0, STIFF, 1.0, events, (knee, math.nan))
        if i == 219:
            assert verdict is GaitClass.WALKING
    assert verdict is GaitClass.STIFF_KNEE


@pytest.mark.parametrize("stop", [290, 300, 345])
def test_resumed_in_the_middle_of_a_stride_equals_continuous(stop: int) -> None:
    """Wherever it stops: the other leg's last stride has a say, and so have angles long gone by."""

    def run(of: ClassStage, start: int, stop: int) -> list[tuple[GaitClass, float]]:
        seen = []
        for i in range(start, stop):
            side = "r" if i % 110 == 0 else "l"
            events = (GaitEvent(i / 100, side, EventKind.INITIAL_CONTACT),) if i % 55 == 0 else ()
            swing = math.sin(math.pi * (i % 110) / 110)
            seen.append(of.update(i / 100, 3.0, STIFF, 1.0, events, (0.95 * swing, 0.84 * swing)))
        return seen

    whole, first, second = (
        ClassStage(("walking", "stiff_knee"), 2.0, usual_rad=USUAL) for _ in range(3)
    )
    expected = run(whole, 0, 400)
    assert run(first, 0, stop) == expected[:stop]
    second.state = first.state
    assert run(second, stop, 400) == expected[stop:]
