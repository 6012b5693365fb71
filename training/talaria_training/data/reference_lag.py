"""Angles with a clock of their own, put on the clock of the sensors that watched the same walk."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter1d

from talaria_bridge.errors import CalibrationError, RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import Calibration, CalibrationCollector
from talaria_edge.kinematics import ANGLES
from talaria_edge.labels.attach import reference_curves
from talaria_edge.labels.lag import GRID_HZ, ClockLag, Curves, find_lag
from talaria_edge.labels.reference import ReferenceMotion, resample
from talaria_training.data.recording import DataIssue, Recording

Floats = NDArray[np.float64]

SMALL_LAG_S = 0.01
"""A lag up to one sample is not worth a line: labels are no better known in time."""
_SMOOTH_S = 0.03


def put_on_clock(
    recording: Recording, reference: ReferenceMotion
) -> tuple[dict[str, Floats] | None, list[DataIssue]]:
    """Find a reference's lag behind a recording and read it at the recording's instants.

    Parameters
    ----------
    recording : Recording
        With a calibration, or with somebody who stands still and then walks.
    reference : ReferenceMotion

    Returns
    -------
    angles_rad : dict of OpenSim name to ndarray, shape (T,), or None
        NaN where the reference has nothing; None where the lag cannot be told, because angles at the
        wrong instant are worse than none.
    issues : list of DataIssue
        The lag, what was concluded about the file, or why its angles are not used.
    """
    where = f"{recording.name}, reference"
    try:
        lag = find_lag(sensor_curves(recording), reference_curves(reference))
    except (CalibrationError, RecordingError) as err:
        return None, [DataIssue(where, str(err).rstrip("."), "its angles are not used")]
    at_s = lag.to_reference(recording.t_s)
    angles = {
        name: resample(reference.t_s, reference.angles_rad[name], at_s)
        for name in ANGLES
        if name in reference.angles_rad
    }
    issues = [DataIssue(where, note, "it is read that way") for note in reference.notes]
    return angles, issues + _said(where, lag)


def sensor_curves(recording: Recording) -> Curves:
    """Pitch rates of the thighs and feet whose sensors work, on the recording's clock.

    Raises
    ------
    CalibrationError
        If no foot works, or nobody stands still before walking.
    """
    calibration = recording.calibration or calibrate_anywhere(recording)
    slots = [slot for slot in calibratable(recording) if slot in calibration.slots]
    rotations, bias_rads = calibration.stacked(slots)
    grid_s = np.arange(recording.t_s[0], recording.t_s[-1] + 1e-9, 1.0 / GRID_HZ)
    return Curves(
        float(grid_s[0]),
        {
            f"pitch of {slot}": _smooth(
                resample(recording.t_s, (recording.gyr(slot) - bias) @ rotation[2], grid_s)
            )
            for slot, rotation, bias in zip(slots, rotations, bias_rads, strict=True)
        },
    )


def calibratable(recording: Recording) -> list[str]:
    """Return the slots a calibration can be made for: feet, and thighs whose own foot works too."""
    works = [s for s in LEG_SLOTS if not recording.missing(slots=(s,))]
    return [s for s in works if s.startswith("calcn") or f"calcn_{s[-1]}" in works]


def calibrate_anywhere(recording: Recording) -> Calibration:
    """Calibrate as a live session would, but over the whole recording: good for looking, not for training.

    Raises
    ------
    CalibrationError
        If no foot works, or nobody stands still before walking.
    """
    slots = calibratable(recording)
    if not slots:
        raise CalibrationError(
            f"{recording.name} has no working foot sensor, so it cannot be calibrated: name at least "
            "one sensor calcn_r or calcn_l."
        )
    collector = CalibrationCollector(recording.rate_hz, slots)
    acc = np.stack([recording.acc(slot) for slot in slots], axis=1)
    gyr = np.stack([recording.gyr(slot) for slot in slots], axis=1)
    known = np.isfinite(acc).all(axis=(1, 2)) & np.isfinite(gyr).all(axis=(1, 2))
    for i in np.flatnonzero(known):
        calibration = collector.update(acc[i], gyr[i])
        if calibration is not None:
            return calibration
    collector.finish()
    raise AssertionError  # finish always raises


def _said(where: str, lag: ClockLag) -> list[DataIssue]:
    if abs(lag.lag_s) <= SMALL_LAG_S and not lag.drift:
        return []
    drift = f", and drifts by {lag.drift * 1e6:+.0f} µs each second" if lag.drift else ""
    what = f"its clock is {lag.lag_s:+.3f} s off the sensors' (match {lag.match:.2f}){drift}"
    return [DataIssue(where, what, "it is shifted by that")]


def _smooth(rate_rads: Floats) -> Floats:
    """Low-pass on both sides; NaN wherever a gap has a say."""
    missing = ~np.isfinite(rate_rads)
    if missing.all():
        return rate_rads
    width = _SMOOTH_S * GRID_HZ
    rows = np.arange(len(rate_rads))
    out = gaussian_filter1d(
        np.interp(rows, rows[~missing], rate_rads[~missing]), width, truncate=3.0
    )
    out[binary_dilation(missing, iterations=math.ceil(3 * width))] = np.nan
    return np.asarray(out)
