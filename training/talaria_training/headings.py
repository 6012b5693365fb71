"""Orientations of a chain of sensors without magnetometers, turned so that all of them face forward.

A 6-axis filter knows up but not where north is, so two sensors share no heading. On a walking body
they can be given one: each leg sensor's flexion axis points to the wearer's right, and the pelvis,
which hardly flexes, is pushed forward and held back at every step just as the two thighs are on
average.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfiltfilt
from scipy.spatial.transform import Rotation

from talaria_edge.calibration import CalibrationParams
from talaria_edge.kinematics import CHAIN_SLOTS
from talaria_edge.orientation import track, up_in_sensor
from talaria_training.data.recording import Recording
from talaria_training.reference import find_stance, right_axes, walking_samples

FloatArray = NDArray[np.float64]

_FOLLOW_S = 2.0
"""A heading is followed over about two strides: fast enough for a turn, slow enough for a step."""
_STEP_BAND_HZ = (0.7, 6.0)
"""Where the pushing and braking of steps is."""
_LEAST_WALK_S = 5.0


def facing_orientations(recording: Recording) -> dict[str, FloatArray] | None:
    """Track every sensor of the chain and turn each so that its wearer walks along world x.

    Parameters
    ----------
    recording : Recording
        With all `CHAIN_SLOTS`; its own orientations are not looked at.

    Returns
    -------
    dict of slot to ndarray, shape (T, 4), or None
        Scalar first, sensor to a world that is z up and x forward and turns with the wearer. None
        where a sensor is missing or dead, or less than five seconds were walked.
    """
    if any(s not in recording.slots or s in recording.dead_slots for s in CHAIN_SLOTS):
        return None
    rows = [recording.slots.index(slot) for slot in CHAIN_SLOTS]
    bias = _bias_rads(recording)
    tracked = {
        slot: track(recording.acc_ms2[:, i], recording.gyr_rads[:, i] - bias[i], recording.rate_hz)
        for slot, i in zip(CHAIN_SLOTS, rows, strict=True)
    }
    own = replace(recording, orientation=tracked)
    walking = walking_samples(own)
    if walking.sum() < _LEAST_WALK_S * recording.rate_hz:
        return None
    right = right_axes(own)
    facing = {
        slot: _face(q, right[slot], recording.rate_hz)
        for slot, q in tracked.items()
        if slot != "pelvis"
    }
    pushed = np.mean([_level_acc(own, s, facing[s])[:, 0] for s in ("femur_r", "femur_l")], axis=0)
    axis = _pelvis_right(own, tracked["pelvis"], pushed, walking)
    return facing | {"pelvis": _face(tracked["pelvis"], axis, recording.rate_hz)}


def _bias_rads(recording: Recording) -> FloatArray:
    """Gyroscope readings at rest, shape (S, 3); zeros for a sensor that was not calm."""
    stance = find_stance(recording)
    if stance is None:
        return np.zeros((len(recording.slots), 3))
    still = recording.gyr_rads[stance.still]
    calm = (still.std(axis=0) < CalibrationParams().bias_rads).all(axis=1)
    return np.where(calm[:, None], still.mean(axis=0), 0.0)


def _face(q: FloatArray, right: FloatArray, rate_hz: float) -> FloatArray:
    """Turn an orientation about the vertical until its axis `right` points along world -y."""
    back = Rotation.from_euler("z", -_heading_rad(q, right, rate_hz)[:, None] - np.pi / 2)
    turned = back * Rotation.from_quat(q, scalar_first=True)
    return np.asarray(turned.as_quat(scalar_first=True))


def _heading_rad(q: FloatArray, axis: FloatArray, rate_hz: float) -> FloatArray:
    """Where an axis of the sensor points in the level plane, followed over two strides, (T,)."""
    level = Rotation.from_quat(q, scalar_first=True).apply(axis)[:, :2]
    return np.asarray(
        np.arctan2(*uniform_filter1d(level, round(_FOLLOW_S * rate_hz), axis=0).T[::-1])
    )


def _level_acc(recording: Recording, slot: str, q: FloatArray) -> FloatArray:
    """Horizontal specific force of one sensor in the world of `q`, in the band of steps, (T, 2)."""
    acc = Rotation.from_quat(q, scalar_first=True).apply(recording.acc(slot))[:, :2]
    band = butter(2, _STEP_BAND_HZ, "bandpass", fs=recording.rate_hz, output="sos")
    return np.asarray(sosfiltfilt(band, acc, axis=0))


def _pelvis_right(
    recording: Recording, q: FloatArray, pushed: FloatArray, walking: NDArray[np.bool_]
) -> FloatArray:
    """Axis of the pelvis sensor to the wearer's right, in the sensor frame.

    Parameters
    ----------
    recording : Recording
    q : ndarray, shape (T, 4)
        The pelvis, of any heading.
    pushed : ndarray, shape (T,)
        Forward acceleration of the thighs on average, m/s².
    walking : ndarray of bool, shape (T,)
    """
    up = up_in_sensor(q[walking]).mean(axis=0)
    up /= np.linalg.norm(up)
    some = np.cross(
        up, np.eye(3)[np.argmin(np.abs(up))]
    )  # any level axis that turns with the sensor
    some /= np.linalg.norm(some)
    level = _level_acc(recording, "pelvis", _face(q, some, recording.rate_hz))[walking]
    forward, left = np.linalg.lstsq(level, pushed[walking], rcond=None)[0]
    # `some` points along world -y, so world x is up x ... seen from the sensor.
    ahead = np.cross(up, some)
    forward_axis = forward * ahead - left * some
    return np.asarray(np.cross(forward_axis, up) / np.linalg.norm(forward_axis))
