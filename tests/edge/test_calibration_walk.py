"""What is kept of a calibration's walk: where up was with a foot down, and the wearer's usual knees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talaria_bridge.errors import CalibrationError
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import simulate_walk
from talaria_edge.calibration import CalibrationCollector, Stretch
from talaria_edge.calibration_walk import (
    CalibrationWalk,
    knee_ranges,
    look_at_walk,
    usual_of,
)
from talaria_edge.gait import GaitClass
from talaria_edge.model import StreamingModel


@pytest.fixture(scope="module")
def stretch() -> Stretch:
    walk = simulate_walk(seed=3, seconds=13.0)
    collector = CalibrationCollector(walk.rate_hz, LEG_SLOTS)
    for acc, gyr in zip(walk.acc_ms2, walk.gyr_rads, strict=True):
        found = collector.collect(acc, gyr)
        if found is not None:
            return found
    raise AssertionError("the walker did not walk long enough")


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> StreamingModel:
    return StreamingModel.load(tiny_model, slots=LEG_SLOTS, rate_hz=100.0)


@pytest.fixture(scope="module")
def looked(stretch: Stretch, model: StreamingModel) -> CalibrationWalk:
    return look_at_walk(stretch, stretch.calibrate(), model)


def test_the_usual_knees_are_those_of_the_model_that_saw_them(
    looked: CalibrationWalk, model: StreamingModel
) -> None:
    assert looked.knees is not None
    assert looked.knees.strides >= 3
    assert set(looked.usual_rad(model.sha256) or {}) == {"r", "l"}
    assert looked.usual_rad("another") is None


def test_a_measurement_leaves_no_trace_in_the_model_it_used(
    stretch: Stretch, model: StreamingModel
) -> None:
    calibration = stretch.calibrate()
    once = knee_ranges(stretch, calibration, model)
    assert knee_ranges(stretch, calibration, model) == once


def test_the_walk_of_an_impeded_gait_is_nobody_s_usual(
    stretch: Stretch, model: StreamingModel
) -> None:
    walk = look_at_walk(stretch, stretch.calibrate(), model, GaitClass.STIFF_KNEE)
    assert walk.knees is None
    assert walk.gait is GaitClass.STIFF_KNEE
    assert set(walk.stance_up) == set(LEG_SLOTS)


def test_without_a_model_or_enough_strides_nothing_is_called_usual(
    stretch: Stretch, model: StreamingModel
) -> None:
    calibration = stretch.calibrate()
    assert look_at_walk(stretch, calibration, None).knees is None
    start = stretch.walking.start
    short = replace(stretch, walking=slice(start, start + 300))
    assert look_at_walk(short, calibration, model).knees is None
    assert usual_of({"r": [1.0] * 5, "l": [1.0] * 2}) is None
    assert usual_of({"r": [0.9, 1.0, 3.0], "l": [1.0] * 4}) == {"r": 1.0, "l": 1.0}


def test_up_is_told_with_the_foot_on_the_ground(stretch: Stretch, looked: CalibrationWalk) -> None:
    """A foot that is flat when it stands is flat in mid-stance, whatever it does in between."""
    for slot in ("calcn_r", "calcn_l"):
        stood = stretch.acc_ms2[stretch.still, LEG_SLOTS.index(slot)].mean(axis=0)
        cosine = np.array(looked.stance_up[slot]) @ stood / np.linalg.norm(stood)
        assert np.degrees(np.arccos(cosine)) < 5.0


def test_what_is_written_reads_back(looked: CalibrationWalk) -> None:
    assert CalibrationWalk.from_dict(looked.to_dict()) == looked
    bare = replace(looked, knees=None)
    assert CalibrationWalk.from_dict(bare.to_dict()) == bare


@pytest.mark.parametrize(
    "change",
    [
        {"gait": "hopping"},
        {"stance_up": {"calcn_r": [0.0, 1.0]}},
        {"stance_up": {"calcn_r": [0.0, 3.0, 0.0]}},
        {"stance_up": 3},
        {"usual_knees": {"range_rad": {"r": 1.0}, "strides": 4, "model_sha256": "a"}},
        {"usual_knees": {"range_rad": {"r": 1.0, "l": 0.0}, "strides": 4, "model_sha256": "a"}},
    ],
)
def test_what_is_damaged_is_refused_in_one_sentence(
    looked: CalibrationWalk, change: dict[str, Any]
) -> None:
    with pytest.raises(CalibrationError, match=r"damaged.*calibrate again"):
        CalibrationWalk.from_dict(looked.to_dict() | change)
