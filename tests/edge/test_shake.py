"""One shared shake tells how far apart the times of sensors are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import CalibrationError
from talaria_bridge.samples import ImuSample
from talaria_edge.shake import by_slot, shake_offsets

OFFSETS_S = {"femur_r": 0.0, "femur_l": 0.137, "calcn_r": -0.4021, "calcn_l": 0.0263}


def shake(seed: int = 0, *, even: bool = False, size: float = 8.0) -> np.ndarray:
    """Angular rate of a hand, 6 s at 1000 Hz."""
    rng = np.random.default_rng(seed)
    t_s = np.arange(6000) / 1000
    if even:
        return size * np.stack([np.sin(2 * np.pi * 2.0 * t_s), 0 * t_s, 0 * t_s], axis=1)
    rate = np.zeros((6000, 3))
    for _ in range(12):
        frequency_hz, phase = rng.uniform(0.4, 5.0), rng.uniform(0, 6.3, 3)
        rate += rng.normal(0, 1, 3) * np.sin(2 * np.pi * frequency_hz * t_s[:, None] + phase)
    return size * rate / np.sqrt((rate**2).sum(axis=1).mean())


def readings(rate: np.ndarray, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The same shake as sensors of different rates, mountings, noise and clocks have it."""
    rng = np.random.default_rng(seed + 100)
    found = {}
    for k, (slot, offset_s) in enumerate(OFFSETS_S.items()):
        t_s = np.arange(0.05, 5.95, 1 / (60.0, 100.0, 104.0, 200.0)[k])
        columns = [np.interp(t_s, np.arange(6000) / 1000, column) for column in rate.T]
        turned = np.stack(columns, axis=1) @ Rotation.random(rng=rng).as_matrix()
        found[slot] = (t_s + offset_s, turned + rng.normal(0, 0.02, turned.shape))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_offsets_are_found_to_a_millisecond_and_a_half_however_sensors_lie(seed: int) -> None:
    found = shake_offsets(readings(shake(seed), seed), "femur_r")
    for slot, offset_s in OFFSETS_S.items():
        assert found[slot].offset_s == pytest.approx(offset_s, abs=1.5e-3)
        assert found[slot].match > 0.9
    assert found["femur_r"].offset_s == pytest.approx(0.0, abs=1e-6)


def test_an_even_rhythm_is_refused_because_it_matches_itself() -> None:
    with pytest.raises(CalibrationError, match="no even rhythm"):
        shake_offsets(readings(shake(even=True)), "femur_r")


def test_sensors_that_were_not_shaken_are_named() -> None:
    quiet = readings(shake())
    t_s, rate = quiet["calcn_r"]
    quiet["calcn_r"] = (t_s, 0.05 * rate)
    with pytest.raises(CalibrationError, match="calcn_r was hardly shaken"):
        shake_offsets(quiet, "femur_r")


def test_sensors_that_were_not_held_together_are_refused() -> None:
    apart = readings(shake(1))
    apart["femur_l"] = readings(shake(2))["femur_l"]
    with pytest.raises(CalibrationError, match="femur_l could not be told"):
        shake_offsets(apart, "femur_r")


def test_a_short_recording_is_refused() -> None:
    short = {slot: (t_s[:100], rate[:100]) for slot, (t_s, rate) in readings(shake()).items()}
    with pytest.raises(CalibrationError, match="shake them for 4 s"):
        shake_offsets(short, "femur_r")


def test_samples_are_sorted_by_sensor_and_one_alone_is_refused() -> None:
    samples = [
        ImuSample(slot, k, float(k), (0.0, 0.0, 0.0), (float(k), 0.0, 0.0))
        for k in range(3)
        for slot in ("calcn_r", "femur_r")
    ]
    readings, reference = by_slot(samples)
    assert reference == "calcn_r"
    assert readings["femur_r"][1].shape == (3, 3)
    with pytest.raises(CalibrationError, match="one alone"):
        by_slot(samples[::2])
