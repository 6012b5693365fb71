"""Recordings made ready for learning: the edge's own calibration and features beside reference angles.

Nothing here looks past the first fifth of a recording to calibrate the inputs, and nothing is scaled:
what a live device would have computed is what the network sees.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import Calibration, CalibrationCollector, average
from talaria_edge.features import FEATURE_VERSION, FeatureStage
from talaria_edge.kinematics import ANGLES
from talaria_training.data.recording import Recording
from talaria_training.reference import full_chain_reference

CALIBRATION_PART = 0.2
"""Share of each recording a calibration may use: the same fifth that fine-tuning may use."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One recording as a network sees it.

    Attributes
    ----------
    person, condition, name : str
    rate_hz : float
    features : ndarray of float32, shape (T, C)
    angles_rad : ndarray of float32, shape (T, len(ANGLES))
        Reference angles; NaN where an angle was not measured.
    reference : str
        ``full_chain`` or ``given`` (an angles file of the recording's own).
    calibration : Calibration
        What turned sensors into segments, for streaming the same recording through the edge.
    """

    person: str
    condition: str
    name: str
    rate_hz: float
    features: NDArray[np.float32]
    angles_rad: NDArray[np.float32]
    reference: str
    calibration: Calibration

    def part(self, start: float, stop: float) -> Trial:
        """Cut out the samples between two fractions of the trial's length."""
        n = len(self.features)
        cut = slice(round(start * n), round(stop * n))
        return Trial(
            self.person,
            self.condition,
            self.name,
            self.rate_hz,
            self.features[cut],
            self.angles_rad[cut],
            self.reference,
            self.calibration,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """Trials of some people, and a line for every recording that was left out or needs a caveat."""

    trials: tuple[Trial, ...]
    notes: tuple[str, ...]


def calibrate_recording(recording: Recording) -> Calibration | None:
    """Run the live calibration over the first fifth of a recording; None if it never completes."""
    rows = [recording.slots.index(slot) for slot in LEG_SLOTS]
    collector = CalibrationCollector(recording.rate_hz, LEG_SLOTS)
    stop = round(CALIBRATION_PART * len(recording.t_s))
    for acc, gyr in zip(recording.acc_ms2[:stop, rows], recording.gyr_rads[:stop, rows], strict=True):
        calibration = collector.update(acc, gyr)
        if calibration is not None:
            return calibration
    return None


def stream_features(recording: Recording, calibration: Calibration) -> NDArray[np.float32]:
    """Features of a whole recording, shape (T, C), by the live stage in a plain loop."""
    rows = [recording.slots.index(slot) for slot in LEG_SLOTS]
    stage = FeatureStage(recording.rate_hz, calibration, LEG_SLOTS)
    acc, gyr = recording.acc_ms2[:, rows], recording.gyr_rads[:, rows]
    return np.array([stage.update(a, g) for a, g in zip(acc, gyr, strict=True)])


def prepare_person(recordings: Sequence[Recording]) -> Prepared:
    """Prepare all recordings of one person."""
    notes: list[str] = []
    usable: list[Recording] = []
    for recording in recordings:
        lost = [s for s in LEG_SLOTS if s not in recording.slots or s in recording.dead_slots]
        if lost:
            notes.append(f"{recording.name}: left out, no living sensor at {', '.join(lost)}")
        else:
            usable.append(recording)
    calibrations = _calibrations(usable, notes)
    trials: list[Trial] = []
    for recording, (angles, source, note) in zip(usable, _labels(usable), strict=True):
        calibration = calibrations.get(recording.mounting)
        if note:
            notes.append(note)
        if angles is None:
            continue
        if calibration is None:
            notes.append(f"{recording.name}: left out, nobody stood still before walking in any trial")
            continue
        features = stream_features(recording, calibration)
        trials.append(
            Trial(
                recording.person,
                recording.condition,
                recording.name,
                recording.rate_hz,
                features,
                angles,
                source,
                calibration,
            )
        )
    return Prepared(tuple(trials), tuple(notes))


def _calibrations(recordings: Iterable[Recording], notes: list[str]) -> dict[str, Calibration]:
    found: dict[str, list[Calibration]] = defaultdict(list)
    mountings: dict[str, None] = {}
    for recording in recordings:
        mountings[recording.mounting] = None
        calibration = calibrate_recording(recording)
        if calibration is not None:
            found[recording.mounting].append(calibration)
    pooled = [calibration for group in found.values() for calibration in group]
    merged = {}
    for mounting in mountings:
        if found[mounting]:
            merged[mounting] = average(found[mounting])
        elif pooled:
            merged[mounting] = average(pooled)
            notes.append(f"{mounting}: input calibration from the person's other mountings")
    return merged


def _labels(
    recordings: Sequence[Recording],
) -> list[tuple[NDArray[np.float32] | None, str, str]]:
    labels: list[tuple[NDArray[np.float32] | None, str, str]] = []
    for recording, chain in zip(recordings, full_chain_reference(recordings), strict=True):
        if recording.angles_rad is not None:
            labels.append((_table(recording.angles_rad, len(recording.t_s)), "given", ""))
        elif chain.angles_rad is not None:
            labels.append((_table(chain.angles_rad, len(recording.t_s)), "full_chain", chain.note))
        else:
            labels.append((None, "", chain.note))
    return labels


def _table(angles_rad: dict[str, NDArray[np.float64]], length: int) -> NDArray[np.float32]:
    missing = np.full(length, np.nan)
    return np.stack([angles_rad.get(name, missing) for name in ANGLES], axis=1).astype(np.float32)
