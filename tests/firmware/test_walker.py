"""The synthetic person of the qemu board stands and walks as the runtime expects of one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.frames import ACC_MS2_PER_COUNT, GYR_RADS_PER_COUNT
from talaria_bridge.samples import LEG_SLOTS, SLOTS
from talaria_edge.calibration import Calibration, CalibrationCollector

RATE_HZ = 100.0
SECONDS = 20
STAND = slice(0, 480)
STRIDE = 2**20 / 1e4
"""Ticks of one stride."""


class CWalker(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("stand", "ramp", "phase", "noise"))


@pytest.fixture(scope="module")
def walk(shared_object: Callable[..., ctypes.CDLL], firmware_root: Path) -> dict[str, np.ndarray]:
    """Counts of every leg slot, shape (N, 6)."""
    c = shared_object("walker", firmware_root / "boards" / "qemu-mps2" / "walker.c")
    person, counts = CWalker(), (ctypes.c_int16 * 6)()
    rows: dict[str, list[list[int]]] = {slot: [] for slot in LEG_SLOTS}
    c.walker_start(ctypes.byref(person))
    for _ in range(int(SECONDS * RATE_HZ)):
        c.walker_advance(ctypes.byref(person), ctypes.c_uint32(round(1e6 / RATE_HZ)))
        for slot in LEG_SLOTS:
            c.walker_read(ctypes.byref(person), ctypes.c_uint8(SLOTS.index(slot)), counts)
            rows[slot].append(list(counts))
    return {slot: np.array(values) for slot, values in rows.items()}


def test_it_stands_still_with_gravity_along_y_and_is_not_stuck(walk: dict[str, np.ndarray]) -> None:
    for counts in walk.values():
        still = counts[STAND]
        assert np.abs(still.mean(axis=0) - [0, 2048, 0, 0, 0, 0]).max() < 0.5
        assert np.abs(still - [0, 2048, 0, 0, 0, 0]).max() <= 3
        assert (still.std(axis=0) > 1).all()


def test_rates_swing_about_z_and_left_is_half_a_stride_later(walk: dict[str, np.ndarray]) -> None:
    for slot, low, high in (("femur", 100, 150), ("calcn", 150, 270)):
        right, left = (walk[f"{slot}_{side}"][700:, 5] for side in "rl")
        assert low < np.abs(right).max() / 16.384 < high
        grid = np.arange(len(right) - 60)
        later = np.interp(grid + STRIDE / 2, np.arange(len(left)), left)
        assert np.abs(later - right[: len(grid)]).max() < 60  # 4 deg/s: noise and the grid
        assert np.abs(walk[f"{slot}_r"][:, 3:5]).max() <= 3


def test_a_foot_ends_each_stride_flat_and_at_rest(walk: dict[str, np.ndarray]) -> None:
    foot = walk["calcn_r"][700:]
    turned_rad = foot[:, 5].cumsum() * GYR_RADS_PER_COUNT[3] / RATE_HZ
    flat = np.abs(foot[:, 5]) <= 3
    assert flat.mean() > 0.5
    assert np.abs(turned_rad[flat] - turned_rad[0]).max() < np.radians(2)
    push_ms2 = foot[:, 0] * ACC_MS2_PER_COUNT[3]
    assert np.ptp(push_ms2) > 20


def test_the_runtime_calibrates_on_it(walk: dict[str, np.ndarray]) -> None:
    acc = np.stack([walk[slot][:, :3] for slot in LEG_SLOTS], axis=1) * ACC_MS2_PER_COUNT[3]
    gyr = np.stack([walk[slot][:, 3:] for slot in LEG_SLOTS], axis=1) * GYR_RADS_PER_COUNT[3]
    collector = CalibrationCollector(RATE_HZ, LEG_SLOTS)
    found = (collector.update(a, g) for a, g in zip(acc, gyr, strict=True))
    calibration = next(result for result in found if result is not None)
    assert isinstance(calibration, Calibration)
    for slot in LEG_SLOTS:
        np.testing.assert_allclose(calibration.slots[slot].r_segment_sensor, np.eye(3), atol=0.02)
