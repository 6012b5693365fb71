"""A made-up walk on two plates whose forces and sensors obey Newton's second law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from talaria_bridge.samples import SLOTS
from talaria_training.data.recording import Plates, Recording

G_MS2 = 9.80665
STRIDE_S, STANCE = 1.2, 0.64


@dataclass
class PlateWalk:
    """What is wrong with the plates is said here; forces in N, x forward, y up, z right."""

    seconds: float = 36.0
    mass_kg: float = 60.0
    lag_s: dict[str, float] = field(default_factory=lambda: {"r": 0.0, "l": 0.0})
    offset_n: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    drift_n: float = 0.0
    jump_at_s: float = np.inf
    jump_s: float = 0.05
    slots: tuple[str, ...] = SLOTS
    known_mass: bool = True
    edit: Callable[[dict[str, np.ndarray], np.ndarray], None] | None = None

    def push_n(self, t_s: np.ndarray, side: str) -> np.ndarray:
        """The true force of one foot, zero in swing."""
        at = (t_s / STRIDE_S + (0.5 if side == "l" else 0.0)) % 1.0 / STANCE
        inside = np.clip(at, 0.0, 1.0)
        arch = np.sin(np.pi * inside)
        up = np.where(at < 1, 1.1 * arch**0.7 - 0.25 * arch**6, 0.0)
        along = np.where(at < 1, -0.15 * np.sin(2 * np.pi * inside), 0.0)
        outward = np.where(at < 1, -0.06 * arch, 0.0)
        weight = self.mass_kg * G_MS2
        # Both feet together carry the weight on average.
        share = weight * 1.0 / (2 * STANCE * self._mean_arch())
        return np.column_stack(
            [weight * along, share * up, weight * outward * (1 if side == "r" else -1)]
        )

    @staticmethod
    def _mean_arch() -> float:
        arch = np.sin(np.pi * np.linspace(0, 1, 20001))
        return float(np.mean(1.1 * arch**0.7 - 0.25 * arch**6))

    def plates(self) -> Plates:
        t_s = np.arange(round(self.seconds * 100)) / 100
        force = {}
        for side in "rl":
            late = self.lag_s[side] + np.where(t_s > self.jump_at_s, self.jump_s, 0.0)
            moved = np.asarray(self.offset_n.get(side, (0.0, 0.0, 0.0)))
            force[side] = self.push_n(t_s - late, side) + moved
            force[side][:, 2] += self.drift_n * t_s / self.seconds
        if self.edit:
            self.edit(force, t_s)
        ok = {side: np.isfinite(f).all(axis=1) for side, f in force.items()}
        return Plates(t_s, force, ok, lag_s={"r": 0.01, "l": 0.01})

    def recording(self) -> Recording:
        t_s = np.arange(round(self.seconds * 100)) / 100
        total = sum(self.push_n(t_s, side)[:, 1] for side in "rl") / self.mass_kg
        acc = np.zeros((len(t_s), len(self.slots), 3))
        acc[:, :, 2] = total[:, None]  # specific force: what the ground gives per kilogram
        gyr = np.zeros_like(acc)
        for side in "rl":
            swinging = self.push_n(t_s, side)[:, 1] == 0.0
            gyr[swinging, self.slots.index(f"calcn_{side}"), 0] = 5.0
        upright = np.tile([1.0, 0.0, 0.0, 0.0], (len(t_s), 1))
        return Recording(
            person="Made",
            condition="walk",
            name="Made/walk",
            rate_hz=100.0,
            t_s=t_s,
            slots=self.slots,
            acc_ms2=acc,
            gyr_rads=gyr,
            orientation=dict.fromkeys(self.slots, upright),
            plates=self.plates(),
            height_m=1.75,
            mass_kg=self.mass_kg if self.known_mass else None,
        )


@pytest.fixture
def plate_walk() -> type[PlateWalk]:
    return PlateWalk
