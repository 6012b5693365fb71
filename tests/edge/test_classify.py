"""A verdict per stride: what the network says on average, unless the stride is like none it knows."""

from __future__ import annotations

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
