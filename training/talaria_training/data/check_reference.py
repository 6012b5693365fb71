"""Whether a recording's angles are in radians, plausible, of the right side, and on the sensors' clock."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import CalibrationError, RecordingError
from talaria_edge.kinematics import SAGITTAL
from talaria_edge.labels.attach import reference_curves
from talaria_edge.labels.lag import ClockLag, Curves, find_lag, given_lag
from talaria_edge.labels.reference import ReferenceMotion
from talaria_edge.tables.motion import unit_of_values
from talaria_training.data.faults import Fault, Severity
from talaria_training.data.recording import Recording
from talaria_training.data.reference_lag import sensor_curves

Floats = NDArray[np.float64]

_PART = "reference"
# OpenSim's Rajagopal model's ranges with a fifth of a radian on top.
_RANGES_RAD = {
    "hip_flexion": (-1.0, 2.3),
    "hip_adduction": (-1.1, 0.8),
    "hip_rotation": (-1.0, 1.0),
    "knee_angle": (-0.35, 2.6),
    "ankle_angle": (-1.1, 0.9),
}
_OUTSIDE = 0.01
_FASTEST_RADS = 25.0
# A walking hip, knee or ankle moves by 0.35 rad; what moves by less than a twentieth was divided by 57.
_STILL_RAD = 0.02
_BENT_RAD = 0.35
_LEAST_KNOWN = 0.05
_LATE_S, _SMALL_S = 0.05, 0.02
_MATCH = 0.8
_CROSS_LEAD = 0.2
_SWAPPED = {"r": "l", "l": "r"}


def check_reference(recording: Recording) -> list[Fault]:
    """Look at the angles themselves, and then at how they fit the sensors."""
    angles = recording.angles_rad
    if not angles:
        return []
    known = {name: a for name, a in angles.items() if np.isfinite(a).mean() > _LEAST_KNOWN}
    if not known:
        what = "hardly any of its instants has an angle"
        action = "look whether both are of the same session and on the same clock"
        return [Fault(Severity.WEAKENS, recording.name, _PART, what, action)]
    found = list(_values(recording, known))
    if any(fault.severity is Severity.SPOILS for fault in found):
        return found
    return found + list(_fit(recording, known))


def _values(recording: Recording, angles: dict[str, Floats]) -> Iterator[Fault]:
    """Units, signs, ranges and jumps."""
    name = recording.name
    sagittal = [a for a in angles if a in SAGITTAL]
    values = np.column_stack([angles[a] for a in sagittal]) if sagittal else np.empty((0, 0))
    if sagittal and unit_of_values(sagittal, values) == "deg":
        what = f"its angles reach {np.nanmax(np.abs(values)):.3g}, so they are in degrees and not radians"
        yield Fault(Severity.SPOILS, name, _PART, what, "say that their unit is degrees")
        return
    moved = (
        float(np.max(np.nanmax(values, axis=0) - np.nanmin(values, axis=0))) if sagittal else 1.0
    )
    if moved < _STILL_RAD and _walks(recording):
        what = f"its angles move by only {moved:.3g} rad while the sensors walk, as if radians had been "
        yield Fault(
            Severity.SPOILS,
            name,
            _PART,
            f"{what}taken for degrees",
            "say that their unit is radians",
        )
        return
    for angle, curve in angles.items():
        yield from _one_angle(recording, angle, curve)


def _one_angle(recording: Recording, angle: str, curve: Floats) -> Iterator[Fault]:
    seen = curve[np.isfinite(curve)]
    part = f"{_PART}, {angle}"
    if angle.startswith("knee") and seen.min() < -_BENT_RAD and seen.max() < _BENT_RAD:
        what = f"the knee bends to {seen.min():.2f} rad, so extension counts positive"
        yield Fault(
            Severity.SPOILS, recording.name, part, what, "turn its sign: flexion is positive"
        )
        return
    low, high = _RANGES_RAD.get(angle[:-2], (-np.inf, np.inf))
    outside = float(np.mean((seen < low) | (seen > high)))
    if outside > _OUTSIDE:
        what = f"{outside:.0%} of it is outside {low:g} to {high:g} rad (it runs from {seen.min():.2f} to "
        yield Fault(
            Severity.WEAKENS,
            recording.name,
            part,
            f"{what}{seen.max():.2f})",
            "look at the model's scaling and zero, or leave this angle out",
        )
    speed = np.abs(np.diff(curve)) * recording.rate_hz
    fast = int(np.nansum(speed > _FASTEST_RADS))
    if fast:
        what = f"it jumps {fast} times (fastest {np.nanmax(speed):.0f} rad/s)"
        action = "look for swapped or lost markers there, and leave those instants empty"
        yield Fault(Severity.WEAKENS, recording.name, part, what, action)


def _fit(recording: Recording, angles: dict[str, Floats]) -> Iterator[Fault]:
    """Lag and sides, by how the legs turned."""
    name = recording.name
    try:
        ours = sensor_curves(recording)
    except CalibrationError:
        return  # said among the places
    theirs = reference_curves(ReferenceMotion(name, recording.t_s, angles, ()))
    shared = set(ours.rates_rads) & set(theirs.rates_rads)
    if not shared:
        return
    here = _match_at(ours, theirs, 0.0)
    straight, crossed = _best(ours, theirs), _best(ours, _crossed(theirs))
    if crossed is not None and _evidence(crossed.match) * (1 - _CROSS_LEAD) > _evidence(
        max(here, straight.match if straight else 0.0)
    ):
        yield Fault(
            Severity.SPOILS,
            name,
            _PART,
            f"its right leg moves as the left sensors do and its left as the right ones (match "
            f"{crossed.match:.2f}, and {max(here, straight.match if straight else 0.0):.2f} as named)",
            "exchange right and left in the angles, or in the sensors' names if these are wrong",
        )
    elif straight is not None:
        yield from _lag(name, straight)
    elif here < _MATCH:
        yield Fault(
            Severity.SPOILS,
            name,
            _PART,
            f"its angles do not move with the sensors (match {here:.2f} where {_MATCH:g} is the least), at "
            "this lag or any other",
            "look whether they are of this session, and whether signs and names of the angles are right",
        )


def _lag(name: str, found: ClockLag) -> Iterator[Fault]:
    sure = f"match {found.match:.2f}, lead {found.lead:.2f}"
    if abs(found.lag_s) > _SMALL_S:
        late = "ahead of" if found.lag_s > 0 else "behind"
        yield Fault(
            Severity.SPOILS if abs(found.lag_s) > _LATE_S else Severity.WEAKENS,
            name,
            _PART,
            f"its angles are {abs(found.lag_s):.3f} s {late} the sensors ({sure})",
            f"add {found.lag_s:+.3f} s to their times",
        )
    if found.drift:
        yield Fault(
            Severity.WEAKENS,
            name,
            _PART,
            f"its clock drifts by {found.drift * 1e3:+.2f} ms each second against the sensors' ({sure})",
            "correct the rate that one of them was exported with",
        )


def _best(ours: Curves, theirs: Curves) -> ClockLag | None:
    try:
        return find_lag(ours, theirs)
    except RecordingError:
        return None


def _match_at(ours: Curves, theirs: Curves, lag_s: float) -> float:
    try:
        return given_lag(ours, theirs, lag_s).match
    except RecordingError:
        return 0.0


def _evidence(match: float) -> float:
    return -float(np.log1p(-(min(match, 0.9999) ** 2)))


def _crossed(curves: Curves) -> Curves:
    return Curves(
        curves.start_s,
        {f"{n[:-1]}{_SWAPPED[n[-1]]}": rate for n, rate in curves.rates_rads.items()},
    )


def _walks(recording: Recording) -> bool:
    feet = [
        s for s in recording.slots if s.startswith("calcn") and not recording.missing(slots=(s,))
    ]
    rates = [np.nanpercentile(np.linalg.norm(recording.gyr(s), axis=1), 75) for s in feet]
    return bool(rates) and max(rates) > 1.0
