"""Joint moments on a treadmill without cameras: where the foot stands follows from what it presses on.

An approximation, and to be called one. The plates say where along the belt a foot presses. In one
stance that path runs from the heel to the toes, so its middle tells where the foot stands; then the foot
moves back with the belt. It turns about its heel while its toes are up and about its ball while its heel is
up, and ankle, knee and hip stand above it at the person's joint angles and published proportions. The hip is
taken to move steadily: at walking speed the leg's own inertia is small beside the ground's push. Where the foot
stands is what is known least, and 0.01 m of it is 0.1 N·m/kg at every joint while one foot carries all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.calibration import segment_axes
from talaria_edge.kinematics import sagittal_tilt_rad
from talaria_edge.orientation import up_in_sensor
from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_edge.tables.motion import read_table
from talaria_training.data.capsense import find_trials
from talaria_training.data.metadata import PersonFacts
from talaria_training.data.plates import SIDES
from talaria_training.data.recording import Recording, Side
from talaria_training.kinetics.dynamics import JOINTS, Ground, Leg, joint_loads
from talaria_training.kinetics.segments import (
    ANKLE_AHEAD,
    ANKLE_HEIGHT,
    BALL_AHEAD,
    FOOT_LENGTH,
    SHANK_LENGTH,
    THIGH_LENGTH,
)
from talaria_training.kinetics.stances import whole_stances
from talaria_training.kinetics.targets import FORCE_AXES, ForceTrial
from talaria_training.reference import right_axes

Floats = NDArray[np.float64]

CUTOFF_HZ = 6.0
"""Walking's angles hold little above this (Winter 2009, chapter 3)."""
MIDDLE = 0.475
"""Share of the foot's length from the heel's back to the middle of the path of its pressure, which runs
from about 0.15 to 0.8 of it. The first press alone is worse: plates place a light load poorly."""
FIRM_BW = 0.3
"""Below this load CapSense's centres of pressure wander by more than a foot's length; they are held."""
_STILL_RADS, _STANDS_BW = 0.4, 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Belt:
    """Where each foot presses along the belt, (T,) in m, x forward on the sensor clock, and its speed."""

    press_m: Mapping[Side, Floats]
    speed_ms: float


def read_belt(data: Path, recording: Recording, trial: ForceTrial, facts: PersonFacts) -> Belt:
    """Read the centres of pressure that belong to `trial` from a CapSense tree or zips.

    Raises
    ------
    RecordingError
        If the plates' file is not there or lacks the columns, or the belt's speed is not known.
    """
    members = [t.files["GRF"] for t in find_trials(data)[0] if t.name == recording.name]
    if not members:
        raise RecordingError(
            f"{data} has no GRF file of {recording.name}, so where its feet press is unknown: give the data "
            "set that it came from."
        )
    if facts.speed_ms is None:
        raise RecordingError(
            f"The speed of the belt is not known for {recording.person}: give it in MetaData.xlsx."
        )
    table = read_table(members[0].source())
    press = {
        side: np.interp(recording.t_s + lag_s, table.t_s, table.column(f"{side}COPx"))
        for side, lag_s in zip(SIDES, trial.lag_s, strict=True)
    }
    return Belt(press, facts.speed_ms)


def moments_of(
    recording: Recording, trial: ForceTrial, angles_rad: Mapping[str, Floats], belt: Belt
) -> Floats:
    """Return the sagittal moments of both legs.

    Parameters
    ----------
    recording : Recording
        With orientations of the feet, and the height.
    trial : ForceTrial
        Of the same recording.
    angles_rad : mapping of OpenSim name to ndarray, shape (T,)
        Knees and ankles, zero in quiet standing (`talaria_training.reference.full_chain_reference`).
    belt : Belt

    Returns
    -------
    ndarray, shape (T, 6)
        `talaria_training.kinetics.dynamics.MOMENTS` in N·m/kg, OpenSim's signs; NaN where the force is, and
        in stances that are not whole.

    Raises
    ------
    RecordingError
        If the height, an angle or the orientation of a foot is missing.
    """
    if recording.height_m is None:
        raise RecordingError(
            f"The height of {recording.person} is not known, so no lever arm is: give it in MetaData.xlsx."
        )
    feet = [f"calcn_{side}" for side in SIDES]
    recording.require(slots=feet, orientations=feet)
    right = right_axes(recording)
    sides = []
    for column, side in enumerate(SIDES):
        force_bw = trial.force_bw[:, 3 * column : 3 * column + 3].astype(np.float64)
        foot = _foot_tilt_rad(recording, side, right[f"calcn_{side}"], force_bw[:, 2])
        leg, ankle = _leg(recording, side, angles_rad, foot)
        stances = whole_stances(force_bw, trial.rate_hz, trial.mass_kg)
        arm = np.full((len(foot), 2), np.nan)
        for stance in stances:
            arm[stance] = _arm(stance, belt, side, ankle, force_bw[:, 2], recording)
        sides.append(_moments(leg, force_bw, arm, trial.mass_kg))
    return np.concatenate(sides, axis=1)


def _moments(leg: Leg, force_bw: Floats, arm: Floats, mass_kg: float) -> Floats:
    """Return (T, 3) in N·m/kg from where the ground pushes, (T, 2) from the ankle."""
    push = force_bw[:, [FORCE_AXES.index("anterior"), FORCE_AXES.index("vertical")]]
    force_n = np.nan_to_num(push) * (mass_kg * STANDARD_GRAVITY_MS2)
    loads = joint_loads(leg, Ground(force_n, leg.ankle_m + arm), mass_kg)
    moments = loads.moment_nm / mass_kg
    unknown = ~np.isfinite(push).all(axis=1)
    moments[unknown] = np.nan
    return moments


def _foot_tilt_rad(recording: Recording, side: Side, right: Floats, vertical_bw: Floats) -> Floats:
    """Return how far the toes are up, zero where the loaded foot rests flat."""
    slot = f"calcn_{side}"
    up = up_in_sensor((recording.orientation or {})[slot])
    still = np.linalg.norm(recording.gyr(slot), axis=1) < _STILL_RADS
    flat = still & (np.nan_to_num(vertical_bw) > _STANDS_BW)
    if not flat.any():
        raise RecordingError(
            f"The {slot} of {recording.name} never rests under load, so when it is flat is unknown: leave "
            "this recording out."
        )
    axes = segment_axes(np.median(up[flat], axis=0), right)
    return sagittal_tilt_rad(up @ axes.T)


def _leg(
    recording: Recording, side: Side, angles_rad: Mapping[str, Floats], foot_rad: Floats
) -> tuple[Leg, Floats]:
    """Return the leg hung from a hip at rest, and the ankle (T, 2) over a flat foot's heel on the belt."""
    missing = [n for n in (f"{j}_{side}" for j in JOINTS[1:]) if n not in angles_rad]
    if missing:
        raise RecordingError(
            f"{recording.name} has no {' and no '.join(missing)}: give all angles."
        )
    height = recording.height_m or np.nan
    shank_rad = foot_rad - angles_rad[f"ankle_angle_{side}"]
    thigh_rad = shank_rad + angles_rad[f"knee_angle_{side}"]
    hip = np.zeros((len(foot_rad), 2))
    knee = hip - THIGH_LENGTH * height * _upwards(thigh_rad)
    ankle = knee - SHANK_LENGTH * height * _upwards(shank_rad)
    length = FOOT_LENGTH * height
    joint = np.array([ANKLE_AHEAD * length, ANKLE_HEIGHT * height])
    heel = ankle + _turned(-joint, foot_rad)
    toe = heel + _turned(np.array([length, 0.0]), foot_rad)
    # A foot rolls over its heel's back or over its ball: whichever is down stays where it is.
    pivot = np.where(foot_rad[:, None] > 0.0, [0.0, 0.0], [BALL_AHEAD * length, 0.0])
    over_heel = pivot + _turned(joint - pivot, foot_rad)
    return Leg(recording.rate_hz, hip, knee, ankle, heel, toe).smoothed(CUTOFF_HZ), over_heel


def _arm(
    stance: slice, belt: Belt, side: Side, ankle: Floats, vertical_bw: Floats, recording: Recording
) -> Floats:
    """Return where the ground pushes in one stance, seen from the ankle, (n, 2); NaN if never firmly."""
    press = pressed_m(stance, belt, side, vertical_bw, recording.rate_hz)
    middle = (press.min() + press.max()) / 2
    heel = middle - MIDDLE * FOOT_LENGTH * (recording.height_m or np.nan)
    return np.column_stack([press - heel, np.zeros(len(press))]) - ankle[stance]


def pressed_m(
    stance: slice, belt: Belt, side: Side, vertical_bw: NDArray[np.floating], rate_hz: float
) -> Floats:
    """Return where on the belt the ground pushes in one stance, (n,); NaN if never firmly.

    While less than `FIRM_BW` is carried, the place is held.
    """
    rows = np.arange(stance.start, stance.stop)
    firm = vertical_bw[stance] > FIRM_BW
    if not firm.any():
        return np.full(len(rows), np.nan)
    # On the belt, where a standing foot stays.
    on_belt = belt.press_m[side][stance] + belt.speed_ms * (rows - rows[0]) / rate_hz
    return np.asarray(np.interp(rows, rows[firm], on_belt[firm]))


def _upwards(tilt_rad: Floats) -> Floats:
    """Return the direction from a segment's distal end to its proximal one, (T, 2)."""
    return np.column_stack([-np.sin(tilt_rad), np.cos(tilt_rad)])


def _turned(vectors: Floats, by_rad: Floats) -> Floats:
    """Turn (2,) or (T, 2) towards up from forward."""
    x, y = np.broadcast_to(vectors, (len(by_rad), 2)).T
    c, s = np.cos(by_rad), np.sin(by_rad)
    return np.column_stack([c * x - s * y, s * x + c * y])
