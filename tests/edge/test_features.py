"""The network's input: names, mirror, memory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import CalibrationError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import Calibration, SlotCalibration
from talaria_edge.features import FeatureStage, channels
from talaria_edge.orientation import track, up_in_sensor

UPRIGHT = Calibration({s: SlotCalibration(s, np.eye(3), np.zeros(3)) for s in LEG_SLOTS})
MIRROR = np.array([1.0, 1.0, -1.0])


def test_every_channel_has_a_name_and_a_unit() -> None:
    names = [channel.name for channel in channels()]
    assert len(names) == len(set(names)) == 40
    assert names[0] == "femur_r.acc_x"
    assert {channel.unit for channel in channels()} == {"m/s^2", "rad/s", "1"}
    assert len(FeatureStage(100.0, UPRIGHT).update(np.ones((4, 3)), np.ones((4, 3)))) == 40


def test_a_mirrored_left_leg_looks_like_the_right_one() -> None:
    random = np.random.default_rng(0)
    stage = FeatureStage(100.0, UPRIGHT)
    for _ in range(50):
        acc = np.array([0.0, 9.81, 0.0]) + random.normal(size=(4, 3))
        gyr = random.normal(size=(4, 3))
        # The left leg does what the right one does, seen in a mirror.
        acc[[1, 3]], gyr[[1, 3]] = acc[[0, 2]] * MIRROR, -gyr[[0, 2]] * MIRROR
        x = stage.update(acc, gyr)[:36].reshape(4, 9)
    np.testing.assert_allclose(x[[1, 3], :6], x[[0, 2], :6], atol=1e-5)
    # ahrs' gradient is normalised before it is made a rotation, which is not quite mirror-symmetric.
    np.testing.assert_allclose(x[[1, 3], 6:], x[[0, 2], 6:], atol=0.02)


def test_channels_are_calibrated_readings_and_the_vertical_each_filter_found() -> None:
    random = np.random.default_rng(5)
    mounted = Calibration(
        {
            slot: SlotCalibration(slot, rotation.as_matrix(), 0.05 * random.normal(size=3))
            for slot, rotation in zip(LEG_SLOTS, Rotation.random(4, random_state=6), strict=True)
        }
    )
    acc = np.array([0.0, 9.81, 0.0]) + random.normal(size=(60, 4, 3))
    gyr = random.normal(size=(60, 4, 3))
    stage = FeatureStage(100.0, mounted)
    x = np.array([stage.update(a, g) for a, g in zip(acc, gyr, strict=True)])
    for i, (slot, at) in enumerate(mounted.slots.items()):
        force = acc[:, i] @ at.r_segment_sensor.T
        rate = (gyr[:, i] - at.gyr_bias_rads) @ at.r_segment_sensor.T
        up = up_in_sensor(track(force, rate, 100.0))
        side = np.where(slot.endswith("_l"), [1, 1, -1, -1, -1, 1, 1, 1, -1], 1)
        expected = np.hstack([force, rate, up]) * side
        np.testing.assert_allclose(x[:, 9 * i : 9 * i + 9], expected, rtol=1e-6, atol=1e-6)
    assert (x[:, 36:] == 1.0).all()


def test_what_a_tick_returned_is_not_touched_by_the_next() -> None:
    stage = FeatureStage(100.0, UPRIGHT)
    first = stage.update(np.ones((4, 3)), np.ones((4, 3)))
    kept = first.copy()
    stage.update(np.full((4, 3), 2.0), np.zeros((4, 3)))
    np.testing.assert_array_equal(first, kept)


def test_resumed_equals_continuous_bit_for_bit() -> None:
    random = np.random.default_rng(1)
    acc = np.array([0.0, 9.81, 0.0]) + random.normal(size=(80, 4, 3))
    gyr = random.normal(size=(80, 4, 3))
    whole = FeatureStage(100.0, UPRIGHT)
    expected = [whole.update(a, g) for a, g in zip(acc, gyr, strict=True)][50:]
    first, second = FeatureStage(100.0, UPRIGHT), FeatureStage(100.0, UPRIGHT)
    for a, g in zip(acc[:50], gyr[:50], strict=True):
        first.update(a, g)
    second.state = first.state
    resumed = [second.update(a, g) for a, g in zip(acc[50:], gyr[50:], strict=True)]
    np.testing.assert_array_equal(resumed, expected)


def test_reset_forgets() -> None:
    stage = FeatureStage(100.0, UPRIGHT)
    acc, gyr = np.tile([0.0, 9.81, 0.0], (4, 1)), np.full((4, 3), 0.3)
    fresh = stage.update(acc, gyr)
    for _ in range(20):
        stage.update(acc, gyr)
    stage.reset()
    np.testing.assert_array_equal(stage.update(acc, gyr), fresh)


def test_a_missing_slot_is_refused_at_once() -> None:
    partial = Calibration({"femur_r": UPRIGHT.slots["femur_r"]})
    with pytest.raises(CalibrationError, match="calcn_l"):
        FeatureStage(100.0, partial)


def test_rotation_made_up_for_moves_attitudes_and_nothing_else() -> None:
    still = np.tile([0.0, 9.81, 0.0], (4, 1))
    plain, caught_up = FeatureStage(100.0, UPRIGHT), FeatureStage(100.0, UPRIGHT)
    for stage in (plain, caught_up):
        for _ in range(400):  # past the quick start, when gravity would undo it at once
            stage.update(still, np.zeros((4, 3)))
    turn = np.zeros((4, 3))
    turn[1, 2] = 0.2
    x = plain.update(still, np.zeros((4, 3)))[:36].reshape(4, 9)
    y = caught_up.update(still, np.zeros((4, 3)), turn)[:36].reshape(4, 9)
    np.testing.assert_allclose(y[:, :6], x[:, :6], atol=1e-6)  # the readings are what they were
    np.testing.assert_allclose(y[[0, 2, 3], 6:], x[[0, 2, 3], 6:], atol=1e-6)
    angle = np.arccos(np.clip(x[1, 6:] @ y[1, 6:], -1, 1))
    assert angle == pytest.approx(0.2, abs=0.01)


def test_what_stands_in_for_an_absent_sensor_cannot_be_seen() -> None:
    random = np.random.default_rng(2)
    present = (True, False, True, True)
    stage, other = FeatureStage(100.0, UPRIGHT), FeatureStage(100.0, UPRIGHT)
    for _ in range(20):
        acc = np.array([0.0, 9.81, 0.0]) + random.normal(size=(4, 3))
        gyr = random.normal(size=(4, 3))
        x = stage.update(acc, gyr, None, present)
        acc[1] = np.nan
        y = other.update(acc, gyr, None, present)
        np.testing.assert_array_equal(x, y)
        assert x[-4:].tolist() == [1.0, 0.0, 1.0, 1.0]
        assert not x[9:18].any()
