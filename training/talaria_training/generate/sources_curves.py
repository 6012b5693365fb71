"""What all readers of motions share: curves put at one rate, into channels, and pelves into angles.

Filters here run forwards and backwards over whole recordings, so they use later samples: motions are what a
model learns from and is tested on, never a live input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfiltfilt
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import RecordingError
from talaria_bridge.walker import UPRIGHT
from talaria_edge.generate.motion import CHANNELS, PELVIS, RATE_HZ, VELOCITY, columns
from talaria_edge.stances import FORCE_AXES
from talaria_training.kinetics.overground import GroundStep, read_steps
from talaria_training.kinetics.stances import loaded_runs

Floats = NDArray[np.float64]

KINEMATICS_HZ, FORCE_HZ = 15.0, 35.0
"""What is faster is taken out of optical curves, and out of forces sampled faster than motions."""
HEADING_S = 8.0
"""The mean direction of a treadmill walk, as its sensors see it, is that of so many seconds around."""


def channels_of(curves: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float32]:
    """Put curves, (T,) each, into the channels of their names; the others are NaN."""
    length = len(next(iter(curves.values())))
    values = np.full((length, len(CHANNELS)), np.nan, np.float32)
    for at, curve in zip(columns(list(curves)), curves.values(), strict=True):
        values[:, at] = curve
    return values


def force_curves(side: str, force_bw: Floats) -> dict[str, Floats]:
    """Name the columns, `FORCE_AXES`, of one foot's force."""
    return {f"grf_{axis}_{side}": force_bw[:, i] for i, axis in enumerate(FORCE_AXES)}


def clock(t_s: Floats) -> Floats:
    """Return the instants at `RATE_HZ` within a recording's time."""
    rows = int((t_s[-1] - t_s[0]) * RATE_HZ + 1e-6) + 1
    return np.asarray(t_s[0] + np.arange(rows) / RATE_HZ)


def low_passed(t_s: Floats, curves: Floats, cutoff_hz: float) -> Floats:
    """Take what is faster than `cutoff_hz` out of curves, (T, ...), without delay."""
    rate_hz = 1.0 / float(np.median(np.diff(t_s)))
    if cutoff_hz >= 0.45 * rate_hz:
        return curves
    return np.asarray(sosfiltfilt(butter(2, cutoff_hz, fs=rate_hz, output="sos"), curves, axis=0))


def kinematics_at(t_s: Floats, curves: Floats) -> Floats:
    """Smooth optical curves, (T, C), and read them at `RATE_HZ`."""
    return np.asarray(CubicSpline(t_s, low_passed(t_s, curves, KINEMATICS_HZ))(clock(t_s)))


def forces_at(t_s: Floats, force: Floats, at_s: Floats, on: float, off: float) -> Floats:
    """Read one foot's force, (T, 3), `FORCE_AXES`, at other instants; exactly zero between its loads.

    Parameters
    ----------
    at_s : ndarray
        NaN results outside `t_s`.
    on, off : float
        Thresholds of a load, as in `talaria_training.kinetics.stances.loaded_runs`.
    """
    loaded = np.zeros(len(t_s))
    for run in loaded_runs(force[:, 2], on, off):
        loaded[run] = 1.0
    smooth = low_passed(t_s, force * loaded[:, None], FORCE_HZ)
    read = [np.interp(at_s, t_s, axis, left=np.nan, right=np.nan) for axis in smooth.T]
    down = np.interp(at_s, t_s, loaded)
    force_bw = np.where(down[:, None] == 0.0, 0.0, np.column_stack(read))
    force_bw[np.isnan(read[0])] = np.nan
    return force_bw


def pelvis_curves(pose: Rotation, heading_rad: NDArray[np.floating]) -> dict[str, Floats]:
    """Return OpenSim's three angles of the pelvis, turned about the axis as already turned, in that order.

    Parameters
    ----------
    pose : Rotation of length T
        Segment (x forward, y up, z right) to world, z up.
    heading_rad : ndarray, shape (T,) or ()
        The mean direction of travel in the world, from x to y.
    """
    back = Rotation.from_euler("z", -np.broadcast_to(heading_rad, len(pose))[:, None])
    turned = UPRIGHT.inv() * (back * pose)
    return dict(zip(PELVIS, turned.as_euler("ZXY").T, strict=True))


def slow_heading_rad(pose: Rotation, window_s: float = HEADING_S) -> Floats:
    """Return where a pelvis faces on average over a sliding window, (T,), from its axis to the right."""
    right = pose.apply([0.0, 0.0, 1.0])
    facing = 1j * (right[:, 0] + 1j * right[:, 1])
    width = max(1, round(window_s * RATE_HZ))
    slow = uniform_filter1d(facing.real, width) + 1j * uniform_filter1d(facing.imag, width)
    return np.asarray(np.angle(slow))


def velocity_curves(velocity_ms: Floats, heading_rad: float) -> dict[str, Floats]:
    """Name a velocity in a z-up world, (T, 3), by the direction of travel in it."""
    x, y, up = velocity_ms.T
    forward = np.cos(heading_rad) * x + np.sin(heading_rad) * y
    right = np.sin(heading_rad) * x - np.cos(heading_rad) * y
    return dict(zip(VELOCITY, (forward, up, right), strict=True))


def steps_in(path: Path, note: Callable[[str], None]) -> list[GroundStep]:
    """Read the steps on plates under `path`; a note says so where there are none."""
    try:
        return read_steps(path, note)
    except RecordingError as error:
        note(str(error))
        return []
