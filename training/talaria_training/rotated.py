"""What another mounting of the sensors does to the angles: after calibration, nearly nothing.

Every sensor of a real recording is turned by a rotation of its own, drawn uniformly (up to half a turn
about any axis). The turned readings are calibrated anew and streamed through the same model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import Stretch
from talaria_edge.features import FeatureStage
from talaria_edge.kinematics import SAGITTAL
from talaria_edge.model import StreamingModel
from talaria_training.data.recording import Recording
from talaria_training.planted import stretches

FloatArray = NDArray[np.float64]

SETTLE_S = 3.0
"""Left out at the start, where the attitude filters level and the angles are not yet called good."""


@dataclass(frozen=True, slots=True)
class MountingEffect:
    """Difference that a turned mounting makes to one recording's six sagittal angles, degrees.

    Attributes
    ----------
    person, recording : str
    rms_deg : float
        Of the angle that differs most.
    worst_deg : float
        Largest difference of any angle at any tick.
    """

    person: str
    recording: str
    rms_deg: float
    worst_deg: float


def mounting_effects(
    recordings: Sequence[Recording], model: StreamingModel, seed: int = 0
) -> Iterator[MountingEffect]:
    """Compare each recording that can be calibrated with itself in other mountings.

    Parameters
    ----------
    recordings : sequence of Recording
    model : StreamingModel
        Its state is reset.
    seed : int
        Of the rotations.

    Yields
    ------
    MountingEffect
    """
    rng = np.random.default_rng(seed)
    for recording in recordings:
        if recording.missing(LEG_SLOTS):
            continue
        turns = Rotation.random(len(LEG_SLOTS), rng=rng).as_matrix()
        for stretch in stretches(recording, 1):
            plain = stream(stretch, model)
            turned = stream(turned_stretch(stretch, turns), model)
            apart = np.degrees(turned - plain)[round(SETTLE_S * recording.rate_hz) :]
            yield MountingEffect(
                recording.person,
                recording.name,
                float(np.sqrt((apart**2).mean(axis=0)).max()),
                float(np.abs(apart).max()),
            )


def turned_stretch(stretch: Stretch, turns: FloatArray) -> Stretch:
    """Turn every sensor, by rotation matrices of shape (S, 3, 3)."""
    return replace(
        stretch,
        acc_ms2=np.einsum("sij,tsj->tsi", turns, stretch.acc_ms2),
        gyr_rads=np.einsum("sij,tsj->tsi", turns, stretch.gyr_rads),
    )


def stream(stretch: Stretch, model: StreamingModel) -> FloatArray:
    """Calibrate from a stretch and stream the same through a model: sagittal angles, (T, 6), rad."""
    stage = FeatureStage(stretch.rate_hz, stretch.calibrate(), stretch.slots)
    model.reset()
    rows = [
        model.step(stage.update(acc, gyr))
        for acc, gyr in zip(stretch.acc_ms2, stretch.gyr_rads, strict=True)
    ]
    names = [output.name for output in model.spec.outputs]
    return np.array(rows, dtype=float)[:, [names.index(name) for name in SAGITTAL]]
