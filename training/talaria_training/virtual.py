"""Sensors that were never worn: what thigh and foot sensors would have read of a measured movement.

Motion capture gives each segment's pose; `talaria_bridge.virtual_imu` straps a sensor on it, with soft
tissue, noise and bias, and here the edge's own features are computed from its readings. The mounting
is known because it was chosen, so no calibration is run; what a real one would miss is a small random
turn on top. Nothing strikes the ground: optical movement is too smooth to hold an impact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.signal import butter, sosfiltfilt
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.virtual_imu import (
    GRAVITY_MS2,
    Bone,
    SensorParams,
    nominal_mount,
    quaternions,
    sense,
)
from talaria_bridge.walker import UPRIGHT
from talaria_edge.calibration import Calibration, SlotCalibration
from talaria_edge.features import FeatureStage
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_edge.tables.motion import MotionTable
from talaria_training.data.recording import Recording
from talaria_training.trials import Trial, gait_labels

Floats = NDArray[np.float64]

RATE_HZ = 100.0
WORN = SensorParams(mounting_deg=4.0, gyr_bias_rads=0.002, heel_strike_ms2=0.0)
"""Sensors after a calibration: most of their mounting and of their bias is known by then."""

_FINE_HZ = 400.0
_LONG_AGO_S = 60.0  # a filter of this age trusts its attitude
_SMOOTH_HZ = (
    12.0  # optical walking holds little but noise above it, and acceleration magnifies noise
)
# Shares of body height: thigh and shank after Winter 2009, table 4.1; the hips as in Sub02's model.
_FEMUR, _TIBIA = 0.245, 0.246
_HIP = (-0.033, -0.042, 0.050)
_PELVIS = ("pelvis_tilt", "pelvis_list", "pelvis_rotation")
_PLACE = ("pelvis_tx", "pelvis_ty", "pelvis_tz")


@dataclass(frozen=True, slots=True, eq=False)
class Movement:
    """A measured movement of the legs as rigid segments.

    Attributes
    ----------
    person, condition, name : str
    height_m : float
        Body height, which the sensors' places scale with.
    t_s : ndarray, shape (T,)
    pose : dict of slot to Rotation of length T
        Segment to world (z up); segment axes as in `docs/frames.md`.
    origin_m : dict of slot to ndarray, shape (T, 3)
        World position of each segment's proximal joint.
    angles_rad : dict of OpenSim name to ndarray, shape (T,)
    """

    person: str
    condition: str
    name: str
    height_m: float
    t_s: Floats
    pose: Mapping[str, Rotation]
    origin_m: Mapping[str, Floats]
    angles_rad: Mapping[str, Floats]


def leg_chain(
    angles_rad: Mapping[str, Floats], pelvis: Rotation, pelvis_m: Floats, height_m: float
) -> tuple[dict[str, Rotation], dict[str, Floats]]:
    """Place both legs' segments below a moving pelvis.

    Parameters
    ----------
    angles_rad : mapping of OpenSim name to ndarray, shape (T,)
        Every name in `ANGLES`.
    pelvis : Rotation of length T
        Pelvis to world.
    pelvis_m : ndarray, shape (T, 3)
    height_m : float

    Returns
    -------
    pose, origin_m : dict
        As in `Movement`; knee and ankle are hinges about the segments' z.
    """
    pose, origin = {"pelvis": pelvis}, {"pelvis": pelvis_m}
    for side, mirror in (("r", 1.0), ("l", -1.0)):
        hip = [angles_rad[f"hip_{a}_{side}"] for a in ("flexion", "adduction", "rotation")]
        turns = np.stack([hip[0], mirror * hip[1], mirror * hip[2]], axis=1)
        femur = pelvis * Rotation.from_euler("ZXY", turns)
        tibia = femur * Rotation.from_euler("Z", -angles_rad[f"knee_angle_{side}"][:, None])
        calcn = tibia * Rotation.from_euler("Z", angles_rad[f"ankle_angle_{side}"][:, None])
        pose |= {f"femur_{side}": femur, f"tibia_{side}": tibia, f"calcn_{side}": calcn}
        hip_m = pelvis_m + pelvis.apply(height_m * np.array(_HIP) * [1.0, 1.0, mirror])
        knee_m = hip_m + femur.apply([0.0, -_FEMUR * height_m, 0.0])
        ankle_m = knee_m + tibia.apply([0.0, -_TIBIA * height_m, 0.0])
        origin |= {f"femur_{side}": hip_m, f"tibia_{side}": knee_m, f"calcn_{side}": ankle_m}
    return pose, origin


def from_motion(table: MotionTable, person: str, condition: str, height_m: float) -> Movement:
    """Read OpenSim's inverse kinematics as a movement.

    Rotations of the pelvis are taken in the order of OpenSim's gait models up to 4.x (tilt, list,
    rotation, each about the axis as already turned). Knees whose flexion is negative, as in gait2392,
    are turned round. The model's own zero is kept, which is not quiet standing.

    Raises
    ------
    RecordingError
        If a coordinate is missing or its unit unknown.
    """
    values = table.angles_rad((*_PELVIS, *ANGLES))
    place = np.column_stack([table.column(name) for name in _PLACE])
    smooth = smoothed(table.t_s, np.column_stack([values, place]))
    angles = {name: smooth[:, len(_PELVIS) + j] for j, name in enumerate(ANGLES)}
    for side in SIDES:
        knee = f"knee_angle_{side}"
        if np.median(angles[knee]) < 0:
            angles[knee] = -angles[knee]
    pelvis = UPRIGHT * Rotation.from_euler("ZXY", smooth[:, : len(_PELVIS)])
    pelvis_m = UPRIGHT.apply(smooth[:, -len(_PLACE) :])
    pose, origin = leg_chain(angles, pelvis, pelvis_m, height_m)
    return Movement(person, condition, table.name, height_m, table.t_s, pose, origin, angles)


def read(movement: Movement, worn: SensorParams = WORN, seed: int = 0) -> Recording:
    """Strap a sensor on every thigh and foot of a movement and read it at `RATE_HZ`.

    Returns
    -------
    Recording
        With the movement's angles and the calibration that the nominal mounting makes true. The
        segments' orientations are its `orientation`: of the segments, not of the sensors.
    """
    lasts_s = movement.t_s[-1] - movement.t_s[0]
    fine_s = movement.t_s[0] + np.arange(int(lasts_s * _FINE_HZ + 1e-6) + 1) / _FINE_HZ
    kept = slice(0, None, round(_FINE_HZ / RATE_HZ))
    random = np.random.default_rng(seed)
    acc, gyr, orientation = [], [], {}
    for slot in LEG_SLOTS:
        q = CubicSpline(movement.t_s, quaternions(movement.pose[slot]))(fine_s)
        pose = Rotation.from_quat(q, scalar_first=True)
        origin = CubicSpline(movement.t_s, movement.origin_m[slot])(fine_s)
        still = np.zeros((len(fine_s), 3))
        bone = Bone(slot, movement.height_m, fine_s - fine_s[0], pose, origin, np.empty(0), still)
        reading = sense(worn, bone, random, kept)
        acc.append(reading.acc_ms2)
        gyr.append(reading.gyr_rads)
        orientation[slot] = quaternions(pose[kept])
    t_s = fine_s[kept]
    angles = {n: np.interp(t_s, movement.t_s, a) for n, a in movement.angles_rad.items()}
    return Recording(
        movement.person,
        movement.condition,
        movement.name,
        RATE_HZ,
        t_s,
        LEG_SLOTS,
        np.stack(acc, axis=1),
        np.stack(gyr, axis=1),
        orientation=orientation,
        angles_rad=angles,
        height_m=movement.height_m,
        calibration=nominal_calibration(),
    )


def nominal_calibration() -> Calibration:
    """Say what a calibration finds that sees every sensor where `virtual_imu` puts it."""
    return Calibration(
        {s: SlotCalibration(s, nominal_mount(s)[0].as_matrix(), np.zeros(3)) for s in LEG_SLOTS}
    )


def trial_of(recording: Recording) -> Trial:
    """Compute a virtual recording's features with the edge's own stage, attitudes true at the start.

    A measured clip begins in mid-stride; a filter that had to find its attitude there would spend a
    short clip on it.

    Raises
    ------
    RecordingError
        If the recording lacks the segments' orientations, the angles or the calibration.
    """
    if recording.calibration is None or recording.orientation is None:
        raise RecordingError(
            f"{recording.name} has no known mounting or attitude, so it is no virtual recording: "
            "prepare measured recordings with trials.prepare_person."
        )
    angles = recording.angles_rad or {}
    stage = FeatureStage(recording.rate_hz, recording.calibration, LEG_SLOTS)
    rows = [recording.slots.index(slot) for slot in LEG_SLOTS]
    acc, gyr = recording.acc_ms2[:, rows], recording.gyr_rads[:, rows]
    stage.update(acc[0], gyr[0])
    stage.state = [
        _settled(state, recording.orientation[slot][0])
        for state, slot in zip(stage.state, LEG_SLOTS, strict=True)
    ]
    features = np.array([stage.update(a, g) for a, g in zip(acc, gyr, strict=True)])
    unknown = np.full(len(features), np.nan)
    return Trial(
        recording.person,
        recording.condition,
        recording.name,
        recording.rate_hz,
        features,
        np.stack([angles.get(name, unknown) for name in ANGLES], axis=1).astype(np.float32),
        "given",
        recording.calibration,
        *gait_labels((), len(features), recording.rate_hz),
    )


def _settled(state: Floats | None, q_world_segment: Floats) -> Floats:
    """Put the true attitude into a filter's state, with a long rest behind it."""
    assert state is not None  # the filter has had a reading
    known = [*q_world_segment, _LONG_AGO_S, 0.0, 0.0, GRAVITY_MS2]
    return np.concatenate([known, state[len(known) :]])


def smoothed(t_s: Floats, values: Floats) -> Floats:
    """Take out of optical curves, (T, C), what is faster than walking, without delay."""
    rate_hz = 1.0 / float(np.median(np.diff(t_s)))
    sections = butter(4, _SMOOTH_HZ, fs=rate_hz, output="sos")
    return np.asarray(sosfiltfilt(sections, values, axis=0))
