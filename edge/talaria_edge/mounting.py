"""Tell whether a sensor has been turned or moved since it was calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.calibration import (
    Calibration,
    CalibrationCollector,
    CalibrationParams,
    Stretch,
    foot_moving,
)

FloatArray = NDArray[np.float64]

_PATIENCE_S = 30.0
"""A stance of which no walk comes is forgotten after this long, or it would pile up."""


@dataclass(frozen=True, slots=True)
class MountingParams:
    """By how much a mounting may seem to change although nobody touched it.

    Set beyond what the same mounting differed by between two recordings of CapSense Sub01, Sub04 and
    Sub07, one of them with a stiff knee, which turns the flexion axis of that thigh.

    Attributes
    ----------
    foot_tilt_rad, thigh_tilt_rad : float
        Direction of gravity between two stances.
    foot_turn_rad, thigh_turn_rad : float
        Direction of the flexion axis about the vertical between two walks.
    """

    foot_tilt_rad: float = float(np.radians(8.0))
    thigh_tilt_rad: float = float(np.radians(16.0))
    foot_turn_rad: float = float(np.radians(25.0))
    thigh_turn_rad: float = float(np.radians(40.0))


@dataclass(frozen=True, slots=True)
class MountingChange:
    """How one sensor's mounting differs from the calibrated one.

    Attributes
    ----------
    tilt_rad : float
        Angle between the vertical then and now, seen from the sensor.
    turn_rad : float
        Turn about that vertical, from the flexion axis; nan where only a stance was seen.
    """

    tilt_rad: float
    turn_rad: float = float("nan")

    def exceeds(self, slot: str, params: MountingParams) -> bool:
        """Tell whether this is more than standing and walking differently explains."""
        foot = slot.startswith("calcn")
        tilt = params.foot_tilt_rad if foot else params.thigh_tilt_rad
        turn = params.foot_turn_rad if foot else params.thigh_turn_rad
        return bool(self.tilt_rad > tilt or abs(self.turn_rad) > turn)

    def __str__(self) -> str:
        tilt = f"tilted by {np.degrees(self.tilt_rad):.0f}°"
        if not np.isfinite(self.turn_rad):
            return tilt
        return f"{tilt} and turned by {np.degrees(abs(self.turn_rad)):.0f}°"


def check_mounting(
    calibration: Calibration, slots: Sequence[str], acc_ms2: FloatArray
) -> dict[str, MountingChange]:
    """Compare where gravity points in each sensor with where it pointed at the calibration.

    Parameters
    ----------
    calibration : Calibration
    slots : sequence of str
    acc_ms2 : ndarray, shape (T, S, 3)
        Standing still, sensor frames.

    Returns
    -------
    dict of slot to MountingChange
        Without turns: standing says nothing about them.

    Raises
    ------
    CalibrationError
        If a slot was never calibrated.
    """
    rotations, _ = calibration.stacked(slots)
    up = acc_ms2.mean(axis=0)
    return {
        slot: MountingChange(angle_between(rotation[1], seen))
        for slot, rotation, seen in zip(slots, rotations, up, strict=True)
    }


def mounting_change(before: Calibration, after: Calibration) -> dict[str, MountingChange]:
    """Compare two calibrations, for the slots that both know."""
    changes = {}
    for slot, row in after.slots.items():
        if slot in before.slots:
            between = before.slots[slot].r_segment_sensor @ row.r_segment_sensor.T
            x, _, z = between[:, 2]  # the new flexion axis in the old segment frame
            tilt_rad = float(np.arccos(np.clip(between[1, 1], -1.0, 1.0)))
            changes[slot] = MountingChange(tilt_rad, float(np.arctan2(x, z)))
    return changes


def mounting_seen(calibration: Calibration, stretch: Stretch) -> dict[str, MountingChange]:
    """Compare a stance and a walk with a calibration, at a hundredth of the cost of calibrating again.

    Two half turns remain unseen: a foot's sensor turned back to front about the vertical, and any
    sensor's turn beyond a right angle counts as its supplement. A thigh's sensor turned back to front
    is seen, because the thigh then seems to swing against its foot.

    Raises
    ------
    CalibrationError
        If a slot was never calibrated.
    """
    acc, gyr = stretch.acc_ms2[stretch.still], stretch.gyr_rads[stretch.walking]
    rotations, _ = calibration.stacked(stretch.slots)
    changes = check_mounting(calibration, stretch.slots, acc)
    for i, slot in enumerate(stretch.slots):
        tilt_rad = changes[slot].tilt_rad
        if slot.startswith("calcn"):
            # Who stands on tiptoe now walks flat all the same; a sensor that was moved differs in both.
            flat = flat_foot_up(stretch.acc_ms2[stretch.walking, i], gyr[:, i], stretch.rate_hz)
            tilt_rad = min(tilt_rad, angle_between(rotations[i][1], flat))
        x, _, z = rotations[i] @ _level_axis(acc[:, i].mean(axis=0), gyr[:, i])
        turn_rad = float(np.arctan(x / z) if z else np.pi / 2)
        foot = f"calcn_{slot[-1]}"
        if slot.startswith("femur") and foot in stretch.slots:
            moving = foot_moving(
                gyr[:, stretch.slots.index(foot)], stretch.rate_hz, CalibrationParams()
            )
            if (gyr[moving, i] @ rotations[i][2]).sum() < 0.0:
                turn_rad -= np.copysign(np.pi, turn_rad)
        changes[slot] = MountingChange(tilt_rad, turn_rad)
    return changes


def flat_foot_up(acc_ms2: FloatArray, gyr_rads: FloatArray, rate_hz: float) -> FloatArray:
    """Specific force of a foot's sensor while the foot lies flattest in a walk, shape (3,).

    Parameters
    ----------
    acc_ms2, gyr_rads : ndarray, shape (T, 3)
        A walk, sensor frame.
    rate_hz : float
    """
    width = max(1, round(0.15 * rate_hz))
    rates = np.convolve(np.linalg.norm(gyr_rads, axis=1), np.ones(width) / width, "valid")
    calm = np.flatnonzero(rates <= np.percentile(rates, 15)) + width // 2
    return np.asarray(np.median(acc_ms2[calm], axis=0))


def _level_axis(up: FloatArray, gyr_rads: FloatArray) -> FloatArray:
    """Direction square to `up` about which a sensor turns most, up to its sign."""
    up = up / np.linalg.norm(up)
    level = gyr_rads - np.outer(gyr_rads @ up, up)
    return np.asarray(np.linalg.eigh(level.T @ level)[1][:, -1])


def moved_slots(
    changes: Mapping[str, MountingChange], params: MountingParams | None = None
) -> dict[str, MountingChange]:
    """Keep the changes that are too large to be none."""
    params = params or MountingParams()
    return {slot: change for slot, change in changes.items() if change.exceeds(slot, params)}


class MountingWatch:
    """Looks, during a session, whether the sensors still sit as they did when they were calibrated.

    It answers once: after the wearer has stood still and then walked for some seconds.

    Parameters
    ----------
    calibration : Calibration
        What the session runs on.
    rate_hz : float
    slots : sequence of str
    params : MountingParams, optional
    """

    def __init__(
        self,
        calibration: Calibration,
        rate_hz: float,
        slots: Sequence[str],
        params: MountingParams | None = None,
    ) -> None:
        self.done = False
        self._calibration = calibration
        self._params = params or MountingParams()
        self._rate_hz = rate_hz
        self._slots = tuple(slots)
        self.restart()

    def restart(self) -> None:
        """Begin again, because readings were missing."""
        self._collector = CalibrationCollector(self._rate_hz, self._slots)
        self._ticks = 0

    def update(self, acc_ms2: FloatArray, gyr_rads: FloatArray) -> dict[str, MountingChange]:
        """Take one tick, rows of shape (S, 3); return the sensors that were moved, usually none.

        `done` tells that the answer has been given.
        """
        if self.done:
            return {}
        self._ticks += 1
        stretch = self._collector.collect(acc_ms2, gyr_rads)
        if stretch is None:
            if self._ticks > _PATIENCE_S * self._rate_hz and not self._walking:
                self.restart()
            return {}
        self.done = True
        return moved_slots(mounting_seen(self._calibration, stretch), self._params)

    @property
    def _walking(self) -> bool:
        return self._collector.progress.stage == "walking"


def angle_between(a: FloatArray, b: FloatArray) -> float:
    """Angle of two vectors of any length, rad."""
    return float(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b))
