"""Reference angles spoiled on purpose, as cameras, clocks, people and files spoil them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from talaria_edge.kinematics import ANGLES
from talaria_training.train import SWAP_Y

Angles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Spoiled:
    """Angles (T, len(ANGLES)), rad, and what was done to them, in words."""

    angles_rad: Angles
    what: str


def _some(random: Generator) -> NDArray[np.bool_]:
    """Draw which angles are hit: all of them half of the time, else at least one."""
    if random.random() < 0.5:
        return np.ones(len(ANGLES), bool)
    chosen = random.random(len(ANGLES)) < 0.4
    chosen[random.integers(len(ANGLES))] = True
    return chosen


def _size(random: Generator, low: float, high: float) -> float:
    """Draw a size, small ones as often as large ones."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def shifted(angles: Angles, rate_hz: float, random: Generator) -> Spoiled:
    """Everything early or late by 20 to 500 ms."""
    late_s = _size(random, 0.02, 0.5) * random.choice([-1.0, 1.0])
    rows = np.arange(len(angles))
    at = rows - late_s * rate_hz
    moved = np.stack([np.interp(at, rows, c, np.nan, np.nan) for c in angles.T], axis=1)
    return Spoiled(moved.astype(np.float32), f"{late_s * 1e3:+.0f} ms late")


def noisy(angles: Angles, rate_hz: float, random: Generator) -> Spoiled:
    """White noise of 1 to 15°."""
    deg = _size(random, 1.0, 15.0)
    out = angles + np.radians(deg) * random.standard_normal(angles.shape) * _some(random)
    return Spoiled(out.astype(np.float32), f"noise of {deg:.1f}°")


def drifting(angles: Angles, rate_hz: float, random: Generator) -> Spoiled:
    """Let the zero run away, 2 to 20° from first to last."""
    deg = _size(random, 2.0, 20.0)
    sign = random.choice([-1.0, 1.0], len(ANGLES)) * _some(random)
    out = angles + np.radians(deg) * np.linspace(0.0, 1.0, len(angles))[:, None] * sign
    return Spoiled(out.astype(np.float32), f"drift of {deg:.1f}°")


def offset(angles: Angles, rate_hz: float, random: Generator) -> Spoiled:
    """Another zero for each angle, 1 to 15°."""
    deg = _size(random, 1.0, 15.0)
    shift = np.radians(deg) * random.uniform(-1.0, 1.0, len(ANGLES)) * _some(random)
    return Spoiled((angles + shift).astype(np.float32), f"offsets up to {deg:.1f}°")


def shank_off(angles: Angles, rate_hz: float, random: Generator) -> Spoiled:
    """Knee and ankle off by the same, as by a slipped shank marker: thigh and foot cannot see it."""
    deg = _size(random, 1.0, 15.0) * random.choice([-1.0, 1.0])
    legs = str(random.choice(["r", "l", "rl"]))
    hit = [name[:-2] in ("knee_angle", "ankle_angle") and name[-1] in legs for name in ANGLES]
    out = angles + np.radians(deg) * np.array(hit)
    return Spoiled(out.astype(np.float32), f"shank off by {deg:+.1f}° ({legs})")


def swapped(angles: Angles, rate_hz: float, random: Generator) -> Spoiled:
    """Left and right in each other's place."""
    return Spoiled(angles[:, SWAP_Y], "sides swapped")


def flipped(angles: Angles, rate_hz: float, random: Generator) -> Spoiled:
    """One joint, or all, counted the other way round."""
    joint = str(random.choice(["hip_flexion", "knee_angle", "ankle_angle", ""]))
    sign = np.where([name.startswith(joint) for name in ANGLES], -1.0, 1.0)
    return Spoiled((angles * sign).astype(np.float32), f"sign of {joint or 'everything'}")


def scaled(angles: Angles, rate_hz: float, random: Generator) -> Spoiled:
    """Make some angles too large or too small, by up to twice, or take radians for degrees."""
    factor = 180.0 / np.pi if random.random() < 0.1 else _size(random, 0.5, 2.0)
    out = angles * np.where(_some(random), factor, 1.0)
    return Spoiled(out.astype(np.float32), f"times {factor:.2f}")


def frozen(angles: Angles, rate_hz: float, random: Generator) -> Spoiled:
    """Lost for a while again and again, and the last value repeated."""
    out, hit = angles.copy(), _some(random)
    length_s = _size(random, 0.1, 1.5)
    share = random.uniform(0.1, 0.6)
    for start in range(0, len(out), max(1, round(length_s / share * rate_hz))):
        begin = start + int(random.integers(0, max(1, round(length_s * rate_hz))))
        rows = slice(begin, begin + round(length_s * rate_hz))
        if begin < len(out):
            out[rows] = np.where(hit, out[begin], out[rows])
    return Spoiled(out, f"frozen for {length_s:.2f} s at a time")


KINDS: dict[str, Callable[[Angles, float, Generator], Spoiled]] = {
    "shift": shifted,
    "noise": noisy,
    "drift": drifting,
    "offset": offset,
    "shank": shank_off,
    "swap": swapped,
    "sign": flipped,
    "scale": scaled,
    "frozen": frozen,
}
"""What can be done to the angles themselves."""


def foreign(angles: Angles, others: Sequence[Angles], random: Generator) -> Spoiled:
    """Put the angles of another recording, from anywhere in it, in their place."""
    donor = others[int(random.integers(len(others)))]
    start = int(random.integers(0, max(1, len(donor) - len(angles))))
    piece = donor[start : start + len(angles)]
    out = np.full_like(angles, np.nan)
    out[: len(piece)] = piece
    return Spoiled(out, "another recording's angles")


def in_part(angles: Angles, spoiled: Spoiled, random: Generator) -> Spoiled:
    """Keep the spoiling to a stretch of a fifth to four fifths of the labels."""
    n = len(angles)
    length = int(random.uniform(0.2, 0.8) * n)
    start = int(random.integers(0, n - length + 1))
    out = angles.copy()
    out[start : start + length] = spoiled.angles_rad[start : start + length]
    return Spoiled(out, f"{spoiled.what}, in {length / n:.0%} of it")
