"""Where the pelvis goes, from feet that stand, forces that push and a velocity: one weighted least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.special import expit

from talaria_bridge.virtual_imu import GRAVITY_MS2

Floats = NDArray[np.float64]

# How far each kind of knowledge may be off. The pelvis is not the body's centre, so forces push it only
# roughly; a foot under full load slips less than the angles' errors make it.
_SLIP_MS, _GROUND_M, _PUSH_MS2, _VELOCITY_MS = 0.05, 0.01, 1.0, 0.05
# Without any knowledge the path bends little (m/s³).
_JERK_MS3 = 300.0
# A body of which no foot ever stands has a height nobody knows; it must be some number.
_SOMEWHERE_M = 10.0
# The sole is a region: over this difference in height of heel and ball the load goes from one to the other.
_SOLE_M = 0.01
# Without forces, a foot this much above the other, or this fast, carries nothing; and it is only a guess,
# that must not wipe out a velocity.
_LOWER_M, _SLOW_MS, _GUESSED = 0.02, 0.5, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Foot:
    """One foot at T instants, as seen from the pelvis but with the world's axes.

    Attributes
    ----------
    ankle_m : ndarray, shape (T, 3)
    heel_m, ball_m : ndarray, shape (T, 3)
        From the ankle.
    load_bw : ndarray, shape (T,)
        Vertical force; NaN where not known.
    """

    ankle_m: Floats
    heel_m: Floats
    ball_m: Floats
    load_bw: Floats

    def sole_m(self) -> Floats:
        """Return the point that stands, if any does, from the pelvis: the heel, the ball, in between."""
        return self.ankle_m + self._pivot(self.heel_m, self.ball_m)

    def moved_m(self) -> Floats:
        """Return how far that material point moves in each interval, (T - 1, 3)."""
        share = self._ball_share()
        share = (share[1:] + share[:-1]) / 2
        turned = (1 - share) * np.diff(self.heel_m, axis=0) + share * np.diff(self.ball_m, axis=0)
        return np.asarray(np.diff(self.ankle_m, axis=0) + turned)

    def _pivot(self, heel: Floats, ball: Floats) -> Floats:
        share = self._ball_share()
        return np.asarray((1 - share) * heel + share * ball)

    def _ball_share(self) -> Floats:
        return np.asarray(expit((self.heel_m - self.ball_m)[:, 2:] / _SOLE_M))


@dataclass(frozen=True, slots=True, eq=False)
class Push:
    """What moves the pelvis at T instants, world axes, NaN where not known.

    Attributes
    ----------
    acc_ms2 : ndarray, shape (T, 3)
        The body's acceleration, gravity taken off.
    velocity_ms : ndarray, shape (T, 3)
    speed_ms : float
        Mean speed along x; NaN leaves it to the feet.
    """

    acc_ms2: Floats
    velocity_ms: Floats
    speed_ms: float


def carried(feet: Sequence[Foot], push: Push, rate_hz: float) -> Floats:
    """Find the path of the pelvis, (T, 3) in m, from x = y = 0 at the first instant and z over the ground.

    A standing foot that disagrees with the mean speed slips: a constant velocity more or less is
    nothing to any sensor.
    """
    load = loads(feet, push.velocity_ms, rate_hz)
    moved = np.stack([foot.moved_m() for foot in feet])
    across = _Squares(len(load[0]), rate_hz, push)
    across.place(np.zeros((len(load[0]), 3)), _first(len(load[0])), _GROUND_M)
    for share, steps in zip(load, moved, strict=True):
        across.velocity(-steps * rate_hz, (share[1:] + share[:-1]) / 2, _SLIP_MS)
    path = across.path()
    soles = [foot.sole_m()[:, 2] for foot in feet]
    path[:, 2] = _height(soles, load, push, rate_hz)
    path[:, :2] -= path[0, :2]
    t_s = np.arange(len(path)) / rate_hz
    wanted = np.array([push.speed_ms, 0.0])
    off = np.where(np.isfinite(wanted), wanted - np.polyfit(t_s, path[:, :2], 1)[0], 0.0)
    path[:, :2] += t_s[:, None] * off
    return path


def _first(length: int) -> Floats:
    return np.concatenate([[1.0], np.zeros(length - 1)])


def loads(feet: Sequence[Foot], velocity_ms: Floats, rate_hz: float) -> list[Floats]:
    """Return how much each foot stands, 0 to 1: by its force, or else by how low and slow it is."""
    heights = [foot.sole_m()[:, 2] for foot in feet]
    lowest = np.min(heights, axis=0)
    found = []
    for foot, height in zip(feet, heights, strict=True):
        guess = _GUESSED * np.exp(-(((height - lowest) / _LOWER_M) ** 2))
        slip = np.gradient(foot.ankle_m, 1 / rate_hz, axis=0) + velocity_ms
        speed = np.nan_to_num(np.linalg.norm(slip[:, :2], axis=1))
        guess = guess * np.exp(-((speed / _SLOW_MS) ** 2))
        known = np.isfinite(foot.load_bw)
        found.append(np.where(known, np.clip(foot.load_bw, 0.0, 1.0), guess))
    return found


def _height(soles: Sequence[Floats], load: Sequence[Floats], push: Push, rate_hz: float) -> Floats:
    """Stand the loaded feet on the ground; a second look lifts the body where a free foot was below it."""
    below = [np.zeros(len(sole)) for sole in soles]
    for _ in range(3):
        up = _Squares(len(soles[0]), rate_hz, push)
        up.place(np.zeros((len(soles[0]), 3)), np.ones(len(soles[0])), _SOMEWHERE_M)
        for sole, share, sunk in zip(soles, load, below, strict=True):
            up.place(np.tile(-sole[:, None], 3), np.maximum(share, sunk), _GROUND_M)
        path = up.path()[:, 2]
        below = [
            np.where(path + sole < 0, 1.0, sunk) for sole, sunk in zip(soles, below, strict=True)
        ]
    return path


class _Squares:
    """Normal equations of a path (T, 3), one band per axis: what is added wants it so, by its weight."""

    def __init__(self, length: int, rate_hz: float, push: Push) -> None:
        self._rate_hz = rate_hz
        self._band = np.zeros((3, 4, length))
        self._wanted = np.zeros((3, length))
        self._add(np.zeros((length - 3, 3)), np.full((length - 3, 3), _JERK_MS3**-2.0), 3)
        pushed = push.acc_ms2[1:-1]
        self._add(np.nan_to_num(pushed), np.isfinite(pushed) / _PUSH_MS2**2, 2)
        velocity = (push.velocity_ms[1:] + push.velocity_ms[:-1]) / 2
        self._add(np.nan_to_num(velocity), np.isfinite(velocity) / _VELOCITY_MS**2, 1)

    def place(self, wanted_m: Floats, weight: Floats, sigma_m: float) -> None:
        """Add wanted places, (T, 3), that may be off by `sigma_m` where the weight (T,) is 1."""
        self._add(wanted_m, np.tile(weight[:, None] / sigma_m**2, 3), 0)

    def velocity(self, wanted_ms: Floats, weight: Floats, sigma_ms: float) -> None:
        """Add wanted velocities of the T - 1 intervals, (T - 1, 3)."""
        self._add(wanted_ms, np.tile(weight[:, None] / sigma_ms**2, 3), 1)

    def _add(self, wanted: Floats, weight: Floats, order: int) -> None:
        """Want the derivative of some order to be so, (T - order, 3) both."""
        taps = np.array([1.0])
        for _ in range(order):
            taps = np.convolve(taps, [1.0, -1.0])[: order + 1]
        taps = taps[::-1] * self._rate_hz**order
        length = self._band.shape[2]
        for i, tap in enumerate(taps):
            rows = slice(i, length - order + i)
            self._wanted[:, rows] += tap * (weight * wanted).T
            for j, other in enumerate(taps[: i + 1]):
                self._band[:, i - j, j : length - order + j] += tap * other * weight.T

    def path(self) -> Floats:
        """Solve for the path, (T, 3)."""
        pairs = zip(self._band, self._wanted, strict=True)
        return np.column_stack([solveh_banded(band, want, lower=True) for band, want in pairs])


def acceleration_ms2(forward_bw: Floats, left_bw: Floats, up_bw: Floats) -> Floats:
    """Return what total forces (T,) in body weights do to the body, (T, 3), by Newton."""
    return np.column_stack([forward_bw, left_bw, up_bw - 1.0]) * GRAVITY_MS2
