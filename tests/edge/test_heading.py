"""What the live heading drift promises, on attitudes whose drift is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import simulate_walk
from talaria_edge.calibration import Calibration, SlotCalibration
from talaria_edge.features import FeatureStage
from talaria_edge.heading import HeadingDrift
from talaria_edge.orientation import MadgwickParams, MahonyParams, OrientationFilter

RATE_HZ = 50.0
UPRIGHT = Rotation.from_euler("x", 90, degrees=True)  # segment y up: z, the flexion axis, is level
UNKNOWN = Calibration({s: SlotCalibration(s, np.eye(3), np.zeros(3)) for s in LEG_SLOTS})


def about_z(angle_rad: np.ndarray) -> Rotation:
    return Rotation.from_rotvec(np.outer(angle_rad, [0.0, 0.0, 1.0]))


def attitudes(seconds: float, drift_deg_min: list[float], turn_deg_s: float = 0.0) -> np.ndarray:
    """A leg swinging at stride pace, whose world turns; shape (T, S, 4)."""
    t_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    swing = about_z(0.5 * np.sin(2 * np.pi * t_s))
    columns = []
    for drift in drift_deg_min:
        heading = about_z(np.deg2rad(drift / 60 + turn_deg_s) * t_s)
        columns.append((heading * UPRIGHT * swing).as_quat(scalar_first=True))
    return np.stack(columns, axis=1)


def drift_deg_min(drift: HeadingDrift) -> np.ndarray:
    return np.rad2deg(drift.drift_rads) * 60


@pytest.mark.parametrize("turn_deg_s", [0.0, 12.0])
def test_drift_against_the_others_is_found_whoever_turns(turn_deg_s: float) -> None:
    drift = HeadingDrift(RATE_HZ, 4)
    for q in attitudes(90, [0.0, 0.0, 0.0, 20.0], turn_deg_s):
        drift.update(q)
    np.testing.assert_allclose(drift_deg_min(drift), [0.0, 0.0, 0.0, 20.0], atol=0.1)
    assert np.rad2deg(drift.common_rads) == pytest.approx(turn_deg_s, abs=0.01)


def test_nothing_is_said_before_two_blocks_are_whole() -> None:
    drift = HeadingDrift(RATE_HZ, 2)
    for q in attitudes(24.9, [0.0, 6.0]):
        drift.update(q)
    assert np.isnan(drift.drift_rads).all()
    assert np.isnan(drift.common_rads)


def test_only_the_last_two_minutes_count() -> None:
    drift = HeadingDrift(RATE_HZ, 3)
    for q in [*attitudes(125, [0.0, 0.0, 30.0]), *attitudes(140, [0.0, 0.0, 0.0])]:
        drift.update(q)
    np.testing.assert_allclose(drift_deg_min(drift), 0.0, atol=0.1)


def test_a_filter_that_begins_anew_does_not_count_as_drift() -> None:
    q = attitudes(95, [0.0, 0.0, 3.0])
    half = Rotation.from_euler("z", 150, degrees=True)
    later = half * Rotation.from_quat(q[2750:, 2], scalar_first=True)
    q[2750:, 2] = later.as_quat(scalar_first=True)
    drift = HeadingDrift(RATE_HZ, 3)
    for row in q:
        drift.update(row)
    np.testing.assert_allclose(drift_deg_min(drift), [0.0, 0.0, 3.0], atol=0.2)


def test_a_silent_sensor_sits_out_and_spoils_no_other() -> None:
    q = attitudes(95, [0.0, 0.0, 0.0, 9.0])
    q[2000:2010, 1] = np.nan
    drift = HeadingDrift(RATE_HZ, 4)
    for row in q:
        drift.update(row)
    np.testing.assert_allclose(drift_deg_min(drift), [0.0, 0.0, 0.0, 9.0], atol=0.1)


def test_resumed_equals_continuous() -> None:
    q = attitudes(60, [1.0, -2.0, 5.0])
    whole, first, second = (HeadingDrift(RATE_HZ, 3) for _ in range(3))
    for row in q:
        whole.update(row)
    for row in q[:1234]:
        first.update(row)
    second.state = first.state
    for row in q[1234:]:
        first.update(row)
        second.update(row)
    np.testing.assert_array_equal(second.drift_rads, whole.drift_rads)
    np.testing.assert_array_equal(first.drift_rads, whole.drift_rads)
    second.reset()
    assert np.isnan(second.drift_rads).all()


@pytest.mark.parametrize(
    "params", [MadgwickParams(), MadgwickParams(0.033, average_s=0.0), MahonyParams()]
)
def test_features_do_not_depend_on_the_heading_of_any_filter(
    params: MadgwickParams | MahonyParams,
) -> None:
    walk = simulate_walk(seed=3, seconds=12.0)
    straight, turned = (FeatureStage(walk.rate_hz, UNKNOWN) for _ in range(2))
    for stage in (straight, turned):
        stage._filters = [OrientationFilter(walk.rate_hz, params) for _ in LEG_SLOTS]
    for k in range(100):
        straight.update(walk.acc_ms2[k], walk.gyr_rads[k])
    turned.state = [
        with_heading(state, angle)
        for state, angle in zip(straight.state, [0.4, -1.9, 3.0, 1.2], strict=True)
    ]
    for k in range(100, 600):
        a = straight.update(walk.acc_ms2[k], walk.gyr_rads[k])
        b = turned.update(walk.acc_ms2[k], walk.gyr_rads[k])
        np.testing.assert_allclose(b, a, atol=2e-5)
    assert np.abs(turned._filters[0].state[:4] - straight._filters[0].state[:4]).max() > 0.1  # type: ignore[index]


def with_heading(state: np.ndarray | None, angle_rad: float) -> np.ndarray:
    """The same filter in a world turned about the vertical."""
    assert state is not None
    about = Rotation.from_euler("z", angle_rad)
    changed = state.copy()
    changed[:4] = (about * Rotation.from_quat(state[:4], scalar_first=True)).as_quat(
        scalar_first=True
    )
    changed[5:8] = about.apply(state[5:8])
    return changed
