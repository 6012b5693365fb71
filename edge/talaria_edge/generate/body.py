"""A body that moves as a window of gait says: segments, and where they are.

A window holds angles, forces and, perhaps, the velocity of the body's centre, but no places. The path of
the pelvis is the one that agrees best with all that is known at once, by weighted least squares: the
point of the sole that a loaded foot stands on does not move, the body accelerates as the forces say (the
pelvis taken for the body's centre), and it goes as fast as the velocity says. Where nothing is loaded,
only the last two are left, and the body flies.

World: x the mean direction of travel, z up. Segment frames and signs as in `docs/frames.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import RecordingError
from talaria_bridge.walker import UPRIGHT, WalkerParams
from talaria_edge.generate.motion import (
    PELVIS,
    RATE_HZ,
    VELOCITY,
    Conditions,
    check_size,
    check_values,
    columns,
)
from talaria_edge.generate.pelvis_path import Foot, Push, acceleration_ms2, carried
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_edge.stances import FORCE_AXES, OUTWARDS

Floats = NDArray[np.float64]

SMOOTH_HZ = 10.0
"""What a walk's angles hold above it is mostly noise, which acceleration magnifies: of 6, 8, 10 and 12 Hz the
one with the best balance of thighs' and feet's accelerations on CapSense's Sub01, Sub04 and Sub07."""
_SHORTEST = 30
# From the ankle and from the middle of the pelvis, shares of height, as in `talaria_bridge.walker`.
_HEEL, _BALL, _HIP_ASIDE = (-0.030, -0.039, 0.0), (0.075, -0.039, 0.0), 0.05
# Above this a foot has landed; plates are taken as loaded from 20 N, which is 0.03 of most people.
_LANDED_BW = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """The pelvis and both legs as rigid segments, at T instants.

    Attributes
    ----------
    height_m : float
    t_s : ndarray, shape (T,)
        From 0, at `RATE_HZ`.
    pose : dict of slot to Rotation of length T
        Segment to world.
    origin_m : dict of slot to ndarray, shape (T, 3)
        World position of each segment's proximal joint, of the pelvis its middle; the ground is z = 0.
    angles_rad : dict of OpenSim name to ndarray, shape (T,)
    contacts_s : dict of side to ndarray
        When each foot lands, by its force; empty where the force is not known.
    """

    height_m: float
    t_s: Floats
    pose: Mapping[str, Rotation]
    origin_m: Mapping[str, Floats]
    angles_rad: Mapping[str, Floats]
    contacts_s: Mapping[str, Floats]


def body_of(
    values: NDArray[np.floating],
    conditions: Conditions,
    name: str = "this movement",
    smooth_hz: float = SMOOTH_HZ,
) -> Body:
    """Build the body of a stretch of gait.

    Parameters
    ----------
    values : ndarray, shape (T, len(CHANNELS))
        Angles of joints and pelvis complete; of forces and velocity either may be NaN.
    conditions : Conditions
        Height and mass are needed. The speed is the body's on average; where it is not known, the velocity
        tells, and without both the standing feet.
    name : str
        For messages.
    smooth_hz : float
        Cut-off of the angles, fourth order, without delay.

    Raises
    ------
    RecordingError
        If the values are no gait, too short, incomplete, or nobody's size is known.
    """
    check_values(values, name)
    check_size(conditions, name)
    known = np.asarray(values, dtype=np.float64)
    _check_complete(known, name)
    smooth = _smoothed(known[:, columns((*ANGLES, *PELVIS))], smooth_hz)
    angles = {joint: smooth[:, i] for i, joint in enumerate(ANGLES)}
    pelvis = UPRIGHT * Rotation.from_euler("ZXY", smooth[:, len(ANGLES) :])
    still = np.zeros((len(known), 3))
    pose, origin = legs(angles, pelvis, still, conditions.height_m)
    force = {side: _force(known, side) for side in SIDES}
    feet = [_foot(pose, origin, side, force[side][:, 2], conditions.height_m) for side in SIDES]
    path = carried(feet, _push(known, force, conditions), RATE_HZ)
    t_s = np.arange(len(known)) / RATE_HZ
    moved = {slot: place + path for slot, place in origin.items()}
    landed = {side: _landings(force[side][:, 2]) for side in SIDES}
    return Body(conditions.height_m, t_s, pose, moved, angles, landed)


def legs(
    angles_rad: Mapping[str, Floats], pelvis: Rotation, pelvis_m: Floats, height_m: float
) -> tuple[dict[str, Rotation], dict[str, Floats]]:
    """Hang both legs on a pelvis: hips of three angles, knees and ankles as hinges.

    Parameters
    ----------
    angles_rad : mapping of OpenSim name to ndarray, shape (T,)
        Every name in `ANGLES`.
    pelvis : Rotation of length T
        Pelvis to world.
    pelvis_m : ndarray, shape (T, 3)
        Middle between the hips.
    height_m : float

    Returns
    -------
    pose, origin_m : dict
        As in `Body`.
    """
    size = WalkerParams(height_m=height_m)
    pose, origin = {"pelvis": pelvis}, {"pelvis": pelvis_m}
    for side in SIDES:
        mirror = OUTWARDS[side]
        flexion, adduction, rotation = (
            angles_rad[f"hip_{about}_{side}"] for about in ("flexion", "adduction", "rotation")
        )
        turns = np.column_stack([flexion, mirror * adduction, mirror * rotation])
        femur = pelvis * Rotation.from_euler("ZXY", turns)
        tibia = femur * Rotation.from_euler("Z", -angles_rad[f"knee_angle_{side}"][:, None])
        calcn = tibia * Rotation.from_euler("Z", angles_rad[f"ankle_angle_{side}"][:, None])
        hip = pelvis_m + pelvis.apply([0.0, 0.0, mirror * _HIP_ASIDE * height_m])
        knee = hip + femur.apply([0.0, -size.femur_m, 0.0])
        ankle = knee + tibia.apply([0.0, -size.tibia_m, 0.0])
        pose |= {f"femur_{side}": femur, f"tibia_{side}": tibia, f"calcn_{side}": calcn}
        origin |= {f"femur_{side}": hip, f"tibia_{side}": knee, f"calcn_{side}": ankle}
    return pose, origin


def soles_m(body: Body, side: str) -> Floats:
    """Return where heel and ball of one foot are, world axes, (2, T, 3)."""
    pose, ankle = body.pose[f"calcn_{side}"], body.origin_m[f"calcn_{side}"]
    points = (pose.apply(body.height_m * np.array(point)) for point in (_HEEL, _BALL))
    return np.stack([ankle + point for point in points])


def _check_complete(values: Floats, name: str) -> None:
    if len(values) < _SHORTEST:
        raise RecordingError(
            f"{name} has {len(values)} samples, too few for a body to walk: give {_SHORTEST} or more."
        )
    lost = [c for c in (*ANGLES, *PELVIS) if not np.isfinite(values[:, columns([c])]).all()]
    if lost:
        raise RecordingError(
            f"{name} lacks {', '.join(lost)}, and a body needs every angle at every instant: fill them "
            "first (talaria-train generate fill)."
        )
    forces = [f"grf_vertical_{side}" for side in SIDES]
    known = np.isfinite(values)
    if not (known[:, columns(forces)].any() or known[:, columns(VELOCITY)].any()):
        raise RecordingError(
            f"{name} has neither forces nor a velocity, so nothing says where the body goes: give one of "
            "the two, or fill them first (talaria-train generate fill)."
        )


def _smoothed(values: Floats, cutoff_hz: float) -> Floats:
    sections = butter(2, cutoff_hz, fs=RATE_HZ, output="sos")  # twice two: there and back
    return np.asarray(sosfiltfilt(sections, values, axis=0))


def _force(values: Floats, side: str) -> Floats:
    """Return the force on one foot, (T, 3) in `FORCE_AXES`."""
    return values[:, columns([f"grf_{axis}_{side}" for axis in FORCE_AXES])]


def _foot(
    pose: Mapping[str, Rotation],
    origin: Mapping[str, Floats],
    side: str,
    load_bw: Floats,
    height_m: float,
) -> Foot:
    turned = pose[f"calcn_{side}"]
    heel, ball = (turned.apply(height_m * np.array(point)) for point in (_HEEL, _BALL))
    return Foot(origin[f"calcn_{side}"], heel, ball, load_bw)


def _push(values: Floats, force: Mapping[str, Floats], conditions: Conditions) -> Push:
    forward, right_bw, up = np.sum(
        [force[side] * [1.0, OUTWARDS[side], 1.0] for side in SIDES], axis=0
    ).T
    along, upward, right = values[:, columns(VELOCITY)].T
    velocity = np.column_stack([along, -right, upward])
    return Push(acceleration_ms2(forward, -right_bw, up), velocity, conditions.speed_ms)


def _landings(load_bw: Floats) -> Floats:
    """Return when a foot's force begins, s."""
    loaded = load_bw > _LANDED_BW
    known = np.isfinite(load_bw)
    return (np.flatnonzero(loaded[1:] & ~loaded[:-1] & known[:-1]) + 1) / RATE_HZ
