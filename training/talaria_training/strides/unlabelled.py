"""Recordings that nothing can be learned from, and whose strides can be cut all the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from talaria_bridge.errors import CalibrationError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.kinematics import ANGLES
from talaria_training.data.recording import Recording
from talaria_training.trials import (
    Trial,
    calibrate_recording,
    contacts_of,
    gait_labels,
    stream_features,
)


def unlabelled_trial(recording: Recording, note: Callable[[str], None]) -> Trial | None:
    """Make a trial of a recording without reference angles, as a live session without labels is one.

    Returns None, and says why, where a sensor is missing or nobody stood still at the start.
    """
    lacks = recording.missing(LEG_SLOTS)
    if lacks:
        note(f"{recording.name}: left out, {', '.join(lacks)}")
        return None
    calibration = calibrate_recording(recording)
    if calibration is None:
        note(f"{recording.name}: left out, nobody stood still before walking")
        return None
    try:
        features = stream_features(recording, calibration)
    except CalibrationError as error:
        note(f"{recording.name}: left out, {error}")
        return None
    found = contacts_of(recording)
    contact, cycle = gait_labels(found, len(features), recording.rate_hz)
    return Trial(
        recording.person,
        recording.condition,
        recording.name,
        recording.rate_hz,
        features,
        np.full((len(features), len(ANGLES)), np.nan, np.float32),
        "none",
        calibration,
        contact,
        cycle,
        found,
    )
