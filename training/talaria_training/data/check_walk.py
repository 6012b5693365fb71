"""Is each sensor where its name says, on this body and tight: the runtime's own checks, on several strides.

The runtime looks at the first walk of a session; a recording is long enough to ask several times, and only
what most of its parts say is believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from talaria_bridge.errors import CalibrationError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import Stretch
from talaria_edge.findings import Finding, Symptom
from talaria_edge.grading import grade_calibration
from talaria_training.data.faults import Fault, Severity
from talaria_training.data.recording import Recording
from talaria_training.data.reference_lag import calibrate_anywhere
from talaria_training.planted import stretches

_PARTS = 7
# A planted mistake is named in nearly every part; one odd walk in two of a simulated person is not.
_MOST = 0.75
_RENAME = (
    "exchange their names, and look whether other recordings of this mounting have the same fault"
)
_ACTIONS: dict[Symptom, tuple[Severity, str]] = {
    Symptom.SWAPPED_THIGH_FOOT: (Severity.SPOILS, _RENAME),
    Symptom.SWAPPED_THIGHS: (Severity.SPOILS, _RENAME),
    Symptom.SWAPPED_FEET: (Severity.SPOILS, _RENAME),
    # Accelerometers that read -g along up look like this too.
    Symptom.SWAPPED_LEGS: (
        Severity.SPOILS,
        "exchange their names, or, if these are right, reverse the accelerometers (up must read +g)",
    ),
    Symptom.WRONG_PLACE: (Severity.SPOILS, "look where that sensor sat, and correct its name"),
    Symptom.OTHER_BODY: (
        Severity.SPOILS,
        "look whether its file is of this recording and this person",
    ),
    Symptom.NOT_WORN: (Severity.SPOILS, "leave the sensor out"),
    Symptom.LOOSE: (Severity.WEAKENS, "leave the recording out, or trust its angles less"),
    Symptom.SLIPPED: (Severity.WEAKENS, "use the part before it slipped only"),
}
# An unsteady tibia correlates with its own foot at 0.5 and more, and with the other at less than 0.
_SIDE_LEAD = 0.3


def check_places(recording: Recording) -> list[Fault]:
    """Look for swapped, misplaced, loose and foreign sensors."""
    found = _shanks(recording)
    if recording.missing(slots=LEG_SLOTS):
        return found + _calibration(recording)
    parts = stretches(recording, _PARTS)
    if not parts:
        return found + _calibration(recording)
    # Looking costs seconds: the other parts are only asked where one of three complains.
    hop = max(1, len(parts) // 2)
    said = _findings(parts[::hop])
    if not said:
        return found
    said += _findings([part for i, part in enumerate(parts) if i % hop])
    seen = Counter((finding.symptom, finding.slots) for finding in said)
    text = {(finding.symptom, finding.slots): finding.text for finding in said}
    for key, times in seen.items():
        if times > _MOST * len(parts):
            severity, action = _ACTIONS[key[0]]
            what = text[key].rstrip(".").replace(": ", ", ")
            what = f"{what} (in {times} of {len(parts)} parts)"
            found.append(Fault(severity, recording.name, ", ".join(key[1]), what, action))
    return found


def _findings(parts: Sequence[Stretch]) -> list[Finding]:
    return [
        finding
        for part in parts
        for finding in grade_calibration(part).findings
        if finding.symptom in _ACTIONS
    ]


def _calibration(recording: Recording) -> list[Fault]:
    """Say why a recording cannot be calibrated, where that is so."""
    if recording.calibration is not None:
        return []
    try:
        calibrate_anywhere(recording)
    except CalibrationError as err:
        what, _, action = str(err).rstrip(".").partition(": ")
        return [Fault(Severity.WEAKENS, recording.name, "calibration", what, action)]
    return []


def _shanks(recording: Recording) -> list[Fault]:
    """Tell swapped shanks by whose foot they turn with."""
    needed = ("tibia_r", "tibia_l", "calcn_r", "calcn_l")
    if recording.missing(slots=needed):
        return []
    turning = np.array([np.linalg.norm(recording.gyr(slot), axis=1) for slot in needed])
    turning = turning[:, np.isfinite(turning).all(axis=0)]
    if turning.std(axis=1).min() == 0.0:
        return []
    r = np.corrcoef(turning)
    own, crossed = 0.5 * (r[0, 2] + r[1, 3]), 0.5 * (r[0, 3] + r[1, 2])
    if crossed - own < _SIDE_LEAD:
        return []
    what = f"they turn with the feet of the other side (likeness {crossed:.2f}, with their own {own:.2f})"
    return [Fault(Severity.SPOILS, recording.name, "tibia_r, tibia_l", what, _RENAME)]
