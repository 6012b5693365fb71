"""Give a recorded session reference angles: find the lag, resample, write ``reference.mot``."""

from __future__ import annotations

import hashlib
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter1d

from talaria_bridge.errors import CalibrationError, RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import Calibration, CalibrationCollector
from talaria_edge.export import Exported, load_session
from talaria_edge.kinematics import ANGLES, SAGITTAL
from talaria_edge.labels.lag import GRID_HZ, ClockLag, Curves, find_lag, given_lag
from talaria_edge.labels.reference import ReferenceMotion, read_reference, resample
from talaria_edge.sinks.opensim import MotWriter
from talaria_edge.sinks.recording import SESSION_FILE
from talaria_edge.tables.motion import AngleUnit
from talaria_edge.tables.textfile import Floats
from talaria_edge.toml_out import write_toml

REFERENCE_FILE = "reference.mot"
_SMOOTH_S = 0.03
"""Width of the low pass on both sides: what remains is below 5 Hz, where legs walk."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What came of labelling a session.

    Attributes
    ----------
    file : Path
        ``reference.mot``, written.
    reference : str
        Where it came from.
    lag : ClockLag
        Session time counts from `t0_s`.
    given : bool
        Whether the lag was given instead of found.
    names : tuple of str
        Angles that are labelled.
    covered_s : float
        Time with at least one labelled angle.
    notes : tuple of str
        What was concluded about the file.
    """

    file: Path
    reference: str
    lag: ClockLag
    given: bool
    names: tuple[str, ...]
    covered_s: float
    notes: tuple[str, ...]


def label_session(
    folder: Path, file: Path, unit: AngleUnit | None = None, lag_s: float | None = None
) -> Labels:
    """Align a reference file with a session and keep its angles in the session's folder.

    Parameters
    ----------
    folder : Path
        What ``talaria run`` or ``talaria record`` made.
    file : Path
        ``.mot``, ``.sto`` or ``.csv`` with angles on a clock of its own.
    unit : {"deg", "rad"}, optional
        Of the angles, for files that do not say.
    lag_s : float, optional
        Seconds to add to the file's times to have seconds from the session's first gait state (from
        its first instant, where there was no model); found by comparison if absent.

    Raises
    ------
    RecordingError
        If either cannot be read, the lag is ambiguous, or nothing can be written.
    CalibrationError
        If the session cannot be calibrated, so that its legs' movements are unknown.
    """
    session = load_session(folder, links=False)
    reference = read_reference(file, unit)
    t0_s = float(session.about.get("t0_s", session.origin_s))
    ours, theirs = session_curves(session, t0_s), reference_curves(reference)
    found = find_lag(ours, theirs) if lag_s is None else given_lag(ours, theirs, lag_s)
    t_s = session.t_s + session.origin_s - t0_s
    at_s = found.to_reference(t_s)
    angles = {
        name: resample(reference.t_s, reference.angles_rad[name], at_s)
        for name in ANGLES
        if name in reference.angles_rad
    }
    covered = np.isfinite(list(angles.values())).any(axis=0)
    if not covered.any():
        raise RecordingError(
            f"{file} has no angle within the session at a lag of {found.lag_s:.2f} s: give the seconds "
            "to add to the file's times."
        )
    out = _write(folder / REFERENCE_FILE, t_s, angles, covered)
    labels = Labels(
        file=out,
        reference=str(file),
        lag=found,
        given=lag_s is not None,
        names=tuple(angles),
        covered_s=float(covered.sum()) / session.rate_hz,
        notes=reference.notes,
    )
    _note(folder, file, labels, t0_s)
    return labels


def session_curves(session: Exported, t0_s: float) -> Curves:
    """Pitch rates of thighs and feet over the whole session, and its angles' rates where it has any.

    Parameters
    ----------
    session : Exported
    t0_s : float
        Instant of the session's clock to count time from.
    """
    rows = [session.slots.index(slot) for slot in LEG_SLOTS if slot in session.slots]
    slots = [session.slots[i] for i in rows]
    to_segment, bias = calibration_of(session).stacked(slots)
    gyr = np.einsum("sij,tsj->tsi", to_segment, session.gyr_rads[:, rows] - bias)
    grid_s = np.arange(0.0, session.t_s[-1] + 1e-9, 1.0 / GRID_HZ)
    rates = {
        f"pitch of {slot}": _smooth(resample(session.t_s, gyr[:, i, 2], grid_s), 0)
        for i, slot in enumerate(slots)
    }
    angles = {
        name: _smooth(resample(session.t_s, np.deg2rad(values), grid_s), 1)
        for name, values in session.angles_deg.items()
        if name in SAGITTAL
    }
    return Curves(session.origin_s - t0_s, rates | angles)


def reference_curves(reference: ReferenceMotion) -> Curves:
    """Pitch rates of the thighs and feet that a reference's angles imply, and the angles' rates.

    A thigh is taken to pitch as its hip flexes: what the pelvis adds is slow and small in walking.
    """
    t_s = reference.t_s
    grid_s = np.arange(t_s[0], t_s[-1] + 1e-9, 1.0 / GRID_HZ)
    angles = {
        name: resample(t_s, values, grid_s)
        for name, values in reference.angles_rad.items()
        if name in SAGITTAL
    }
    known = dict(angles)
    for side in ("r", "l"):
        hip, knee, ankle = (
            angles.get(f"{joint}_{side}") for joint in ("hip_flexion", "knee_angle", "ankle_angle")
        )
        if hip is not None:
            known[f"pitch of femur_{side}"] = hip
        if hip is not None and knee is not None and ankle is not None:
            known[f"pitch of calcn_{side}"] = hip - knee + ankle
    return Curves(float(grid_s[0]), {name: _smooth(curve, 1) for name, curve in known.items()})


def _smooth(values: Floats, order: int) -> Floats:
    """Low-pass, differentiated `order` times; NaN wherever a gap has a say in the result."""
    missing = ~np.isfinite(values)
    if missing.all():
        return values
    width = _SMOOTH_S * GRID_HZ
    rows = np.arange(len(values))
    whole = np.interp(rows, rows[~missing], values[~missing])
    out = gaussian_filter1d(whole, width, order=order, truncate=3.0) * GRID_HZ**order
    out[binary_dilation(missing, iterations=math.ceil(3 * width))] = np.nan
    return np.asarray(out)


def calibration_of(session: Exported) -> Calibration:
    """Return the session's own calibration, or make one as a live session would have.

    Raises
    ------
    CalibrationError
        If it has none, and nobody stood still before walking.
    """
    if "calibration" in session.about:
        return Calibration.from_dict(session.about["calibration"])
    rows = [session.slots.index(slot) for slot in LEG_SLOTS if slot in session.slots]
    collector = CalibrationCollector(session.rate_hz, [session.slots[i] for i in rows])
    for acc, gyr in zip(session.acc_ms2[:, rows], session.gyr_rads[:, rows], strict=True):
        if not np.isfinite(gyr).all():
            continue
        calibration = collector.update(acc, gyr)
        if calibration is not None:
            return calibration
    try:
        collector.finish()
    except CalibrationError as err:
        raise CalibrationError(f"{session.folder} has no calibration. {err}") from None
    raise AssertionError  # finish always raises


def _write(path: Path, t_s: Floats, angles: dict[str, Floats], covered: Any) -> Path:
    first, last = np.flatnonzero(covered)[[0, -1]].tolist()
    with MotWriter(path, list(angles), "reference angles on the session's clock") as file:
        for k in range(first, last + 1):
            file.write(float(t_s[k]), {name: float(values[k]) for name, values in angles.items()})
    return path


def _note(folder: Path, file: Path, labels: Labels, t0_s: float) -> None:
    """Say in ``session.toml`` where the labels are from and how well they fit."""
    path = folder / SESSION_FILE
    lag = labels.lag
    try:
        about = tomllib.loads(path.read_text(encoding="utf-8"))
        about["reference"] = {
            "file": REFERENCE_FILE,
            "t0_s": t0_s,
            "from": file.absolute(),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "angles": labels.names,
            "lag_s": lag.lag_s,
            "lag_given": labels.given,
            "drift": lag.drift,
            "drift_seen": lag.drift_seen,
            "match": lag.match,
            "lead": lag.lead,
            "scatter_s": lag.scatter_s,
            "overlap_s": lag.overlap_s,
        }
        write_toml(path, about)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise RecordingError(
            f"{path} cannot be brought up to date ({err}), so the labels would not be found: mend it "
            "and label again."
        ) from None
