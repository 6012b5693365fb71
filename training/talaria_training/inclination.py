"""How well an attitude filter tells up from down on one recording of one sensor.

Judged is inclination, the angle between where the filter says up is and where it is: nothing downstream
uses heading. Two references: BROAD's optical orientation of a sensor moved by hand, and the orientation
that CapSense's own devices computed on walking thighs and feet. The latter is another filter's opinion,
not a measurement; what speaks for it is that turned by it the mean specific force of nearly every trial
lies within 1° of the vertical, as it must on a treadmill.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import flexion_axis, segment_axes
from talaria_edge.heading import HeadingDrift
from talaria_edge.orientation import OrientationFilter, Params, track, up_in_sensor
from talaria_training.data.broad import BroadTrial
from talaria_training.data.recording import Recording

FloatArray = NDArray[np.float64]

_START_S, _SETTLED_S = 3.0, 6.0
_STRETCH_S = 60.0
"""How much of each walk is used: the filters take a tenth of a millisecond a sample."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """One sensor for a while, with its true inclination.

    Attributes
    ----------
    name, person, group : str
        `group` is thigh, foot, rotation or tapping; the latter two are BROAD's and have no person.
    rate_hz : float
    acc_ms2, gyr_rads : ndarray, shape (T, 3)
    q_world_sensor : ndarray, shape (T, 4)
        The reference.
    judged : ndarray of bool, shape (T,)
        Where the reference is known and the errors count.
    """

    name: str
    person: str
    group: str
    rate_hz: float
    acc_ms2: FloatArray
    gyr_rads: FloatArray
    q_world_sensor: FloatArray
    judged: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Score:
    """How one filter did on one stretch, in degrees and degrees per minute.

    Attributes
    ----------
    rmse_deg : float
        Root mean square of the inclination error.
    start_deg : float
        The same from the third to the sixth second.
    heading_deg_min : float
        Slope of the heading against the reference's.
    live_heading_deg_min : float
        What `HeadingDrift` says of the same, without the reference.
    """

    rmse_deg: float
    start_deg: float
    heading_deg_min: float
    live_heading_deg_min: float


def walking_stretches(recordings: Iterable[Recording]) -> list[Stretch]:
    """Take the thigh and foot sensors of every recording that has its devices' orientations."""
    return [
        _stretch(recording, slot)
        for recording in recordings
        for slot in LEG_SLOTS
        if slot in (recording.orientation or {}) and slot not in recording.dead_slots
    ]


def _stretch(recording: Recording, slot: str) -> Stretch:
    length = min(len(recording.t_s), round(_STRETCH_S * recording.rate_hz))
    column = recording.slot_index(slot)
    return Stretch(
        f"{recording.name}, {slot}",
        recording.person,
        "thigh" if slot.startswith("femur") else "foot",
        recording.rate_hz,
        recording.acc_ms2[:length, column],
        recording.gyr_rads[:length, column],
        (recording.orientation or {})[slot][:length],
        np.arange(length) >= _SETTLED_S * recording.rate_hz,
    )


def optical_stretches(trials: Iterable[BroadTrial]) -> list[Stretch]:
    """Take BROAD's trials, judged where the sensor moves and the cameras see it."""
    return [
        Stretch(
            trial.name,
            "",
            "tapping" if "tapping" in trial.name else "rotation",
            trial.rate_hz,
            trial.acc_ms2,
            trial.gyr_rads,
            trial.q_world_sensor,
            trial.moving & np.isfinite(trial.q_world_sensor).all(axis=1),
        )
        for trial in trials
    ]


def score(stretch: Stretch, params: Params) -> Score:
    """Run one filter over one stretch."""
    q = track(stretch.acc_ms2, stretch.gyr_rads, stretch.rate_hz, params)
    cosine = (up_in_sensor(q) * up_in_sensor(stretch.q_world_sensor)).sum(axis=1)
    error_deg = np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0)))
    start = slice(round(_START_S * stretch.rate_hz), round(_SETTLED_S * stretch.rate_hz))
    walks = bool(stretch.person)
    return Score(
        _rms(error_deg[stretch.judged]),
        _rms(error_deg[start]) if walks else math.nan,
        _heading_slope_deg_min(stretch, q) if walks else math.nan,
        _live_heading_deg_min(stretch, q) if walks else math.nan,
    )


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _heading_slope_deg_min(stretch: Stretch, q: FloatArray) -> float:
    """Slope of the turn about the vertical that is left between filter and reference."""
    every = round(stretch.rate_hz)
    rows = np.flatnonzero(stretch.judged)[::every]
    left = _rotation(q[rows]) * _rotation(stretch.q_world_sensor[rows]).inv()
    heading_rad = np.unwrap(2.0 * np.arctan2(*left.as_quat().T[2:]))
    minutes = rows / stretch.rate_hz / 60.0
    return float(np.rad2deg(np.polyfit(minutes, heading_rad, 1)[0]))


def _live_heading_deg_min(stretch: Stretch, q: FloatArray) -> float:
    """Find what the runtime would log: this sensor beside two whose heading stays."""
    walking = stretch.judged
    right = flexion_axis(stretch.gyr_rads[walking], q[walking])
    up = up_in_sensor(q[walking]).mean(axis=0)
    mounting = Rotation.from_matrix(segment_axes(up, right))
    segment = _rotation(q) * mounting.inv()
    steady = _rotation(stretch.q_world_sensor) * mounting.inv()
    columns = [r.as_quat(scalar_first=True) for r in (segment, steady, steady)]
    drift = HeadingDrift(stretch.rate_hz, len(columns))
    for attitudes in np.stack(columns, axis=1):
        drift.update(attitudes)
    return float(np.rad2deg(drift.drift_rads[0]) * 60.0)


def _rotation(q: FloatArray) -> Rotation:
    return Rotation.from_quat(q, scalar_first=True)


def cost_us(params: Params, stretch: Stretch, updates: int = 1000) -> float:
    """Median time of one update, in microseconds, on this machine as busy as it is."""
    filter_ = OrientationFilter(stretch.rate_hz, params)
    took = []
    for acc, gyr in zip(stretch.acc_ms2[:updates], stretch.gyr_rads[:updates], strict=True):
        begun = time.perf_counter()
        filter_.update(acc, gyr)
        took.append(time.perf_counter() - begun)
    return float(np.median(took)) * 1e6
