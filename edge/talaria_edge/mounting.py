"""Tell whether a sensor has been turned or moved since it was calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.calibration import (
    Calibration,
    CalibrationParams,
    Stretch,
    foot_moving,
)

FloatArray = NDArray[np.float64]
StanceUp = Mapping[str, tuple[float, float, float]]
"""Per slot: unit mean specific force, sensor frame, while the foot of its side is on the ground."""


@dataclass(frozen=True, slots=True)
class MountingParams:
    """By how much a mounting may seem to change although nobody touched it.

    Set beyond what the same mounting differed by between two recordings of CapSense Sub01, Sub04 and
    Sub07, one of them with a stiff knee, which turns the flexion axis of that thigh.

    Attributes
    ----------
    foot_tilt_rad, thigh_tilt_rad : float
        Direction of gravity between two stances.
    foot_agreed_rad, thigh_agreed_rad : float
        The same where standing and walking must both have changed alike: at most 1.8° and 6.6° there.
    foot_turn_rad, thigh_turn_rad : float
        Direction of the flexion axis about the vertical between two walks.
    """

    foot_tilt_rad: float = float(np.radians(8.0))
    thigh_tilt_rad: float = float(np.radians(16.0))
    foot_agreed_rad: float = float(np.radians(5.0))
    thigh_agreed_rad: float = float(np.radians(8.0))
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
    agreed : bool
        Whether the tilt is what a stance and a walk have in common, each compared with its like.
    """

    tilt_rad: float
    turn_rad: float = float("nan")
    agreed: bool = False

    def exceeds(self, slot: str, params: MountingParams) -> bool:
        """Tell whether this is more than standing and walking differently explains."""
        foot = slot.startswith("calcn")
        lone = params.foot_tilt_rad if foot else params.thigh_tilt_rad
        tilt = (
            (params.foot_agreed_rad if foot else params.thigh_agreed_rad) if self.agreed else lone
        )
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


def mounting_seen(
    calibration: Calibration, stretch: Stretch, stance_up: StanceUp | None = None
) -> dict[str, MountingChange]:
    """Compare a stance and a walk with a calibration, at a hundredth of the cost of calibrating again.

    Nobody stands twice alike, and nobody walks with a stiff knee as without; but the two change a
    sensor's reading in ways of their own, and a sensor that was moved changes both alike. So where the
    calibration's own walk is known, the tilt is what both have in common.

    Two half turns remain unseen: a foot's sensor turned back to front about the vertical, and any
    sensor's turn beyond a right angle counts as its supplement. A thigh's sensor turned back to front
    is seen, because the thigh then seems to swing against its foot.

    Parameters
    ----------
    calibration : Calibration
    stretch : Stretch
    stance_up : StanceUp, optional
        Of the calibration's own stretch.

    Raises
    ------
    CalibrationError
        If a slot was never calibrated.
    """
    acc = stretch.acc_ms2[stretch.still].mean(axis=0)
    rotations, _ = calibration.stacked(stretch.slots)
    down = stance_up_of(stretch)
    changes = {}
    for i, slot in enumerate(stretch.slots):
        then = (stance_up or {}).get(slot)
        if then is None:
            tilt_rad = _lone_tilt(stretch, i, rotations[i])
        else:
            stood = rotations[i] @ _unit(acc[i]) - [0.0, 1.0, 0.0]
            walked = rotations[i] @ (np.array(down[slot]) - np.array(then))
            tilt_rad = _in_common(stood, walked)
        turn_rad = _turn(stretch, i, rotations[i])
        changes[slot] = MountingChange(tilt_rad, turn_rad, then is not None)
    return changes


def stance_up_of(stretch: Stretch) -> StanceUp:
    """Say where up is in each sensor while the foot of its side is on the ground, over a walk."""
    acc = stretch.acc_ms2[stretch.walking]
    ups = {}
    for i, slot in enumerate(stretch.slots):
        down = ~_foot_moves(stretch, slot)
        # A foot that never rests is no reason to have no answer: others judge the walk.
        x, y, z = _unit(acc[down if down.any() else slice(None), i].mean(axis=0)).tolist()
        ups[slot] = (x, y, z)
    return ups


def _foot_moves(stretch: Stretch, slot: str) -> NDArray[np.bool_]:
    """When in the walk the foot of a slot's side moves; never where it has no sensor."""
    gyr, foot = stretch.gyr_rads[stretch.walking], f"calcn_{slot[-1]}"
    if foot not in stretch.slots:
        return np.zeros(len(gyr), bool)
    return foot_moving(gyr[:, stretch.slots.index(foot)], stretch.rate_hz, CalibrationParams())


def _in_common(stood: FloatArray, walked: FloatArray) -> float:
    """Angle of what two displacements of the unit vector up share, axis by axis, rad."""
    both = np.where(stood * walked > 0.0, np.minimum(np.abs(stood), np.abs(walked)), 0.0)
    return float(2.0 * np.arcsin(min(1.0, float(np.linalg.norm(both)) / 2.0)))


def _lone_tilt(stretch: Stretch, i: int, rotation: FloatArray) -> float:
    """Tilt where nothing but the calibrated vertical is known."""
    tilt_rad = angle_between(rotation[1], stretch.acc_ms2[stretch.still, i].mean(axis=0))
    if stretch.slots[i].startswith("calcn"):
        # Who stands on tiptoe now walks flat all the same; a sensor that was moved differs in both.
        walk = stretch.walking
        flat = flat_foot_up(stretch.acc_ms2[walk, i], stretch.gyr_rads[walk, i], stretch.rate_hz)
        tilt_rad = min(tilt_rad, angle_between(rotation[1], flat))
    return tilt_rad


def _turn(stretch: Stretch, i: int, rotation: FloatArray) -> float:
    gyr = stretch.gyr_rads[stretch.walking, i]
    up = stretch.acc_ms2[stretch.still, i].mean(axis=0)
    x, _, z = rotation @ _level_axis(up, gyr)
    turn_rad = float(np.arctan(x / z) if z else np.pi / 2)
    if stretch.slots[i].startswith("femur"):
        moving = _foot_moves(stretch, stretch.slots[i])
        if (gyr[moving] @ rotation[2]).sum() < 0.0:
            turn_rad -= float(np.copysign(np.pi, turn_rad))
    return turn_rad


def _unit(v: FloatArray) -> FloatArray:
    return np.asarray(v / np.linalg.norm(v))


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
    up = _unit(up)
    level = gyr_rads - np.outer(gyr_rads @ up, up)
    return np.asarray(np.linalg.eigh(level.T @ level)[1][:, -1])


def moved_slots(
    changes: Mapping[str, MountingChange], params: MountingParams | None = None
) -> dict[str, MountingChange]:
    """Keep the changes that are too large to be none."""
    params = params or MountingParams()
    return {slot: change for slot, change in changes.items() if change.exceeds(slot, params)}


def angle_between(a: FloatArray, b: FloatArray) -> float:
    """Angle of two vectors of any length, rad."""
    return float(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b))
