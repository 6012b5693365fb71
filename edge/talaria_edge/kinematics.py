"""Joint angles from segment orientations, with OpenSim's names, axes and signs.

Segment frames are x anterior, y proximal, z to the wearer's right, on both legs; the world is z up.
`docs/frames.md` has the table of movements and signs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SIDES = ("r", "l")
SAGITTAL = tuple(
    f"{joint}_{side}" for side in SIDES for joint in ("hip_flexion", "knee_angle", "ankle_angle")
)
"""The six sagittal angles, flexion and dorsiflexion positive."""
HIP_OUT_OF_PLANE = tuple(
    f"hip_{axis}_{side}" for side in SIDES for axis in ("adduction", "rotation")
)
"""The four hip angles whose reference is itself weak: adduction and internal rotation positive."""
ANGLES = SAGITTAL + HIP_OUT_OF_PLANE
"""All angles, in the order every model and table uses."""
CHAIN_SLOTS = ("pelvis", "femur_r", "femur_l", "tibia_r", "tibia_l", "calcn_r", "calcn_l")
"""The segments needed to measure every angle."""


def sagittal_tilt_rad(up_segment: FloatArray) -> FloatArray:
    """How far a segment is pitched forward-up in its own sagittal plane; free of heading.

    Parameters
    ----------
    up_segment : ndarray, shape (..., 3)
        World up in the segment frame.

    Returns
    -------
    ndarray, shape (...)
        0 when upright, positive for the rotation that flexes a hip (the distal end swings forward).
    """
    return np.asarray(np.arctan2(up_segment[..., 0], up_segment[..., 1]))


def rotate(q_world_segment: FloatArray, vectors: FloatArray) -> FloatArray:
    """Express segment vectors in the world.

    Parameters
    ----------
    q_world_segment : ndarray, shape (..., 4)
        Scalar-first unit quaternions; conjugate them for the way back.
    vectors : ndarray, shape (..., 3)

    Returns
    -------
    ndarray, shape (..., 3)
    """
    scalar, axis = q_world_segment[..., :1], q_world_segment[..., 1:]
    aside = 2.0 * np.cross(axis, vectors)
    return np.asarray(vectors + scalar * aside + np.cross(axis, aside))


def align_headings(
    q_world_segment: dict[str, FloatArray], rate_hz: float, window_s: float = 8.0
) -> dict[str, FloatArray]:
    """Turn every segment about the vertical so that it points where the pelvis points, on average.

    Sensors without a shared, trusted heading need this before any angle that is not sagittal. The
    average runs over a sliding window, so a slow drift between two headings goes too; with it goes the
    mean hip rotation and toe-out, which such sensors cannot know.

    Parameters
    ----------
    q_world_segment : dict of slot to ndarray, shape (T, 4)
        Scalar-first, segment to world; must hold the pelvis.
    rate_hz : float
    window_s : float
        Length of the centred window: several strides. Uses later samples, so offline only.

    Returns
    -------
    dict of slot to ndarray, shape (T, 4)
        Headings are those of the pelvis plus each segment's own fast movement.
    """
    # scipy takes 25 MB, and what runs live does without it.
    from scipy.ndimage import uniform_filter1d  # noqa: PLC0415
    from scipy.spatial.transform import Rotation  # noqa: PLC0415

    width = max(1, round(window_s * rate_hz))
    rotation = {s: Rotation.from_quat(q, scalar_first=True) for s, q in q_world_segment.items()}
    right = {s: r.apply([0.0, 0.0, 1.0]) for s, r in rotation.items()}
    pointing = {s: v[:, 0] + 1j * v[:, 1] for s, v in right.items()}
    aligned = {}
    for slot, turning in pointing.items():
        apart = turning * np.conj(pointing["pelvis"])
        slow = uniform_filter1d(apart.real, width) + 1j * uniform_filter1d(apart.imag, width)
        back = Rotation.from_euler("z", -np.angle(slow)[:, None])
        aligned[slot] = (back * rotation[slot]).as_quat(scalar_first=True)
    return aligned


def joint_angles_rad(q_world_segment: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Hip, knee and ankle angles of both legs from segments that share a heading.

    Parameters
    ----------
    q_world_segment : dict of slot to ndarray, shape (T, 4)
        Orientations of all `CHAIN_SLOTS`.

    Returns
    -------
    dict of OpenSim name to ndarray, shape (T,)
        One entry per name in `ANGLES`.

    Notes
    -----
    Each joint is read as intrinsic z-x-y rotations (flexion, adduction, rotation), OpenSim's order
    for the hip. Left adduction and rotation change sign so that they mean the same movement.
    """
    from scipy.spatial.transform import Rotation  # noqa: PLC0415  as above

    rotation = {s: Rotation.from_quat(q, scalar_first=True) for s, q in q_world_segment.items()}
    angles: dict[str, FloatArray] = {}
    for side, mirror in (("r", 1.0), ("l", -1.0)):
        femur, tibia, foot = (rotation[f"{bone}_{side}"] for bone in ("femur", "tibia", "calcn"))
        hip = (rotation["pelvis"].inv() * femur).as_euler("ZXY")
        angles[f"hip_flexion_{side}"] = hip[:, 0]
        angles[f"hip_adduction_{side}"] = mirror * hip[:, 1]
        angles[f"hip_rotation_{side}"] = mirror * hip[:, 2]
        angles[f"knee_angle_{side}"] = -(femur.inv() * tibia).as_euler("ZXY")[:, 0]
        angles[f"ankle_angle_{side}"] = (tibia.inv() * foot).as_euler("ZXY")[:, 0]
    return {name: angles[name] for name in ANGLES}
