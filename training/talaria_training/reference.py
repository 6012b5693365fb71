"""Reference joint angles from the full sensor chain: pelvis, thighs, shanks and feet.

This reference is derived from inertial sensors, shares two of them per leg with the model's input, and
has its zero where the person stood still. It is not optical; `docs/accuracy.md` measures it against
optics on the one person who has them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from talaria_edge.calibration import (
    CalibrationParams,
    flexion_axis,
    foot_moving,
    segment_axes,
    stride_direction,
)
from talaria_edge.kinematics import CHAIN_SLOTS, align_headings, joint_angles_rad
from talaria_edge.orientation import up_in_sensor
from talaria_training.data.recording import Recording

FloatArray = NDArray[np.float64]

_MAX_STILL_WAIT_S = 3.0  # a quiet moment later than this is not the quiet start of a trial


@dataclass(frozen=True, slots=True)
class Stance:
    """The calmest moment at the start of a recording: samples `still`, mean rate `restless_rads`."""

    still: slice
    restless_rads: float


@dataclass(frozen=True, slots=True)
class Reference:
    """Angles of one recording, or the reason there are none.

    Attributes
    ----------
    angles_rad : dict of OpenSim name to ndarray, shape (T,), or None
    note : str
        Where the zero came from, or why the recording was left out.
    """

    angles_rad: dict[str, FloatArray] | None
    note: str


def find_stance(recording: Recording, params: CalibrationParams | None = None) -> Stance | None:
    """Find the calmest half second before the first step, judged by the leg sensors.

    Returns None when nothing in the first seconds is calm enough to be called standing.
    """
    params = params or CalibrationParams()
    legs = [i for i, slot in enumerate(recording.slots) if slot not in ("torso", "pelvis")]
    rate = np.linalg.norm(recording.gyr_rads[:, legs], axis=2).mean(axis=1)
    width = round(params.still_s * recording.rate_hz)
    horizon = min(len(rate), round(_MAX_STILL_WAIT_S * recording.rate_hz))
    if horizon <= width:
        return None
    level = np.convolve(rate[:horizon], np.ones(width) / width, "valid")
    start = int(level.argmin())
    if level[start] > params.still_rads:
        return None
    return Stance(slice(start, start + width), float(level[start]))


def full_chain_reference(recordings: Sequence[Recording]) -> list[Reference]:
    """Angles for all recordings of one person, one result per recording in the same order.

    Sensors that were not taken off between recordings (same `mounting`) share one calibration: the
    verticals of all their calm stances, calmer ones counting more, and the flexion axes of all their
    walking. A mounting without any calm stance borrows the verticals of the person's other mountings,
    and says so.
    """
    groups: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        if not _missing(recording):
            groups[mounting_of(recording)].append(recording)
    verticals = {key: _verticals(group) for key, group in groups.items()}
    known = [v for v in verticals.values() if v]
    results = []
    for recording in recordings:
        missing = _missing(recording)
        if missing:
            results.append(
                Reference(None, f"{recording.name}: no reference, for want of {missing}")
            )
            continue
        own = verticals[mounting_of(recording)]
        if not own and not known:
            note = f"{recording.name}: no reference, nobody stood still in any recording of this person"
            results.append(Reference(None, note))
            continue
        up = _merge(own or [pair for v in known for pair in v])
        note = _zero_note(recording, borrowed=not own)
        results.append(Reference(_angles(recording, groups[mounting_of(recording)], up), note))
    return results


def mounting_of(recording: Recording) -> str:
    """Name the mounting; a recording that does not say stands alone."""
    return recording.mounting or recording.name


def _missing(recording: Recording) -> str:
    orientation = recording.orientation or {}
    lost = [s for s in CHAIN_SLOTS if s not in recording.slots or s not in orientation]
    dead = [s for s in CHAIN_SLOTS if s in recording.dead_slots]
    parts = []
    if lost:
        parts.append(
            "orientations of "
            + (", ".join(lost) if len(lost) < len(CHAIN_SLOTS) else "all sensors")
        )
    if dead:
        parts.append("living sensors at " + ", ".join(dead))
    return " and ".join(parts)


def _zero_note(recording: Recording, *, borrowed: bool) -> str:
    if borrowed:
        return f"{recording.name}: zero from another mounting of the same person (no still start in its own)"
    if find_stance(recording) is None:
        return (
            f"{recording.name}: zero from another recording of the same mounting (no still start)"
        )
    return f"{recording.name}: zero from its mounting's still starts"


def _quaternions(recording: Recording) -> dict[str, FloatArray]:
    if recording.orientation is None:  # callers have checked; this tells the type checker
        raise ValueError(recording.name)
    return recording.orientation


def _verticals(group: Sequence[Recording]) -> list[tuple[float, dict[str, FloatArray]]]:
    found = []
    for recording in group:
        stance = find_stance(recording)
        if stance is not None:
            q = _quaternions(recording)
            up = {s: up_in_sensor(q[s][stance.still]).mean(axis=0) for s in CHAIN_SLOTS}
            found.append((1.0 / (0.03**2 + stance.restless_rads**2), up))
    return found


def _merge(found: list[tuple[float, dict[str, FloatArray]]]) -> dict[str, FloatArray]:
    weights = [weight for weight, _ in found]
    return {s: np.average([up[s] for _, up in found], axis=0, weights=weights) for s in CHAIN_SLOTS}


def _angles(
    recording: Recording, group: Sequence[Recording], up: dict[str, FloatArray]
) -> dict[str, FloatArray]:
    axes = [right_axes(member) for member in group]
    right = {s: np.mean([a[s] for a in axes], axis=0) for s in CHAIN_SLOTS}
    q = _quaternions(recording)
    segments = {}
    for slot in CHAIN_SLOTS:
        sensor_from_segment = Rotation.from_matrix(segment_axes(up[slot], right[slot]).T)
        whole = Rotation.from_quat(q[slot], scalar_first=True) * sensor_from_segment
        segments[slot] = whole.as_quat(scalar_first=True)
    return joint_angles_rad(align_headings(segments, recording.rate_hz))


def walking_samples(recording: Recording) -> NDArray[np.bool_]:
    """Mark the samples with the feet in motion over the surrounding two seconds."""
    feet = [recording.slots.index(s) for s in ("calcn_r", "calcn_l")]
    rate = np.linalg.norm(recording.gyr_rads[:, feet], axis=2).mean(axis=1)
    width = round(2.0 * recording.rate_hz)
    return np.asarray(
        np.convolve(rate, np.ones(width) / width, "same") > CalibrationParams().walk_rads
    )


def right_axes(recording: Recording) -> dict[str, FloatArray]:
    """Flexion axes to the wearer's right, in sensor frames, from the whole walk of one recording.

    Only the pelvis' axis needs orientations that share a heading; the legs' signs are told without.
    """
    walking = walking_samples(recording)
    q = _quaternions(recording)
    params = CalibrationParams()
    right: dict[str, FloatArray] = {}
    for side in ("r", "l"):
        swing: dict[
            str, FloatArray
        ] = {}  # each bone's rate about its own axis, signed so far or not
        for bone in ("calcn", "femur", "tibia"):
            slot = f"{bone}_{side}"
            gyr = recording.gyr_rads[walking, recording.slots.index(slot)]
            right[slot] = flexion_axis(gyr, q[slot][walking])
            swing[bone] = gyr @ right[slot]
        foot = recording.slots.index(f"calcn_{side}")
        moving = foot_moving(recording.gyr_rads[walking, foot], recording.rate_hz, params)
        q_foot, acc = q[f"calcn_{side}"][walking], recording.acc_ms2[walking, foot]
        forward = stride_direction(acc, q_foot, moving, recording.rate_hz)
        foot_world = Rotation.from_quat(q_foot, scalar_first=True).apply(right[f"calcn_{side}"])
        foot_sign = np.sign(foot_world.mean(axis=0) @ np.cross(forward, [0.0, 0.0, 1.0]))
        right[f"calcn_{side}"] *= foot_sign
        # Magnets under a treadmill turn the feet's headings by up to a right angle, so nothing here
        # compares headings: a thigh flexes while its foot is in the air, a shank turns with its foot.
        right[f"femur_{side}"] *= np.sign(swing["femur"][moving].sum())
        right[f"tibia_{side}"] *= np.sign(swing["tibia"] @ swing["calcn"]) * foot_sign
    # The pelvis hardly swings: its axis is where the thighs' axes point, seen from its own sensor.
    thighs = [
        Rotation.from_quat(q[s][walking], scalar_first=True).apply(right[s]).mean(axis=0)
        for s in ("femur_r", "femur_l")
    ]
    pelvis = Rotation.from_quat(q["pelvis"][walking], scalar_first=True)
    right["pelvis"] = pelvis.inv().apply(np.sum(thighs, axis=0)).mean(axis=0)
    return right
