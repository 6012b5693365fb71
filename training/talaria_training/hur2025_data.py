"""Recordings as the published recipe sees them: what the devices say of themselves, cut into windows.

Hur, Baek, Kang, Kim, Sci Rep 2025, 15:5287; see `talaria_training.hur2025`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from talaria_bridge.errors import RecordingError
from talaria_training.data.recording import Recording
from talaria_training.splits import first_walk
from talaria_training.trials import Trial

Floats = NDArray[np.float32]

WINDOW, STRIDE = 50, 25
"""Samples of a window, and from one window to the next."""


@dataclass(frozen=True, slots=True)
class Take:
    """One recording as the published networks see it: x (T, 9 S) unscaled, y (T, len(ANGLES)) in rad."""

    person: str
    name: str
    x: Floats
    y: Floats

    def cut(self, start: int, stop: int) -> Take:
        """Keep the samples from `start` to before `stop`."""
        return Take(self.person, self.name, self.x[start:stop], self.y[start:stop])


def device_channels(recording: Recording, slots: Sequence[str]) -> Floats:
    """Nine channels per slot: specific force, angular rate, Euler angles of the device in the world.

    Parameters
    ----------
    recording : Recording
    slots : sequence of str

    Returns
    -------
    ndarray of float32, shape (T, 9 S)
        m/s², rad/s, and roll, pitch, yaw in rad, which wrap as the published ones do.

    Raises
    ------
    RecordingError
        If a sensor or its orientation is missing.
    """
    recording.require(slots, slots)
    known = recording.orientation or {}
    parts = []
    for slot in slots:
        turned = Rotation.from_quat(known[slot], scalar_first=True)
        yaw_pitch_roll = turned.as_euler("ZYX")
        parts += [recording.acc(slot), recording.gyr(slot), yaw_pitch_roll[:, ::-1]]
    return np.concatenate(parts, axis=1).astype(np.float32)


def takes_of(
    recordings: Sequence[Recording], trials: Sequence[Trial], slots: Sequence[str]
) -> list[Take]:
    """Pair trials' angles with what their recordings' devices said; those that lack either are left out."""
    known = {recording.name: recording for recording in recordings}
    takes = []
    for trial in trials:
        recording = known.get(trial.name)
        if recording is None or not np.isfinite(trial.angles_rad).any():
            continue
        if not recording.missing(slots, slots):
            takes.append(
                Take(trial.person, trial.name, device_channels(recording, slots), trial.angles_rad)
            )
    return takes


def first_takes(trials: Sequence[Trial], takes: Sequence[Take], seconds: float) -> list[Take]:
    """Cut out the same first seconds of walking that our own networks learn a person from.

    Parameters
    ----------
    trials, takes : sequence of Trial, of Take
        One person's, of the same recordings in the same order.
    seconds : float
        In all, see `talaria_training.splits.first_walk`.
    """
    width = trials[0].features.shape[1]
    joined = [
        replace(trial, features=np.concatenate([trial.features, take.x], axis=1))
        for trial, take in zip(trials, takes, strict=True)
    ]
    return [
        Take(part.person, part.name, part.features[:, width:], part.angles_rad)
        for part in first_walk(joined, seconds)
    ]


def windows(takes: Sequence[Take]) -> tuple[Tensor, Tensor]:
    """All windows of the recordings: x (N, 50, C) and y (N, 50, len(ANGLES)); none spans two recordings."""
    xs, ys = [], []
    for take in takes:
        for start in range(0, len(take.x) - WINDOW + 1, STRIDE):
            xs.append(take.x[start : start + WINDOW])
            ys.append(take.y[start : start + WINDOW])
    if not xs:
        raise RecordingError(
            f"No recording is as long as one window of {WINDOW} samples, so the published recipe has "
            "nothing to learn from: give longer recordings."
        )
    return torch.from_numpy(np.stack(xs)), torch.from_numpy(np.stack(ys))
