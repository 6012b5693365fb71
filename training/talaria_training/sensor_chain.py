"""Every sensor of pelvis and legs, calibrated: the data of the sensor-combination study.

The runtime calibrates thighs and feet. Here shanks are calibrated by the same procedure, and the pelvis,
which hardly swings, takes its axis from the thighs through the devices' own orientations. Every set of
sensors is judged with this one calibration, so sets differ in what they see and not in how well they were
strapped on; a set without feet would in practice have to be told which way is forward.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import CalibrationError
from talaria_edge.calibration import (
    Calibration,
    CalibrationCollector,
    SlotCalibration,
    Stretch,
    average,
    calibrate,
    segment_axes,
)
from talaria_edge.features import FeatureStage
from talaria_edge.kinematics import ANGLES, CHAIN_SLOTS, SIDES
from talaria_training.cache import cache_folder, source_digest
from talaria_training.data.recording import Recording
from talaria_training.hur2025_data import device_channels
from talaria_training.reference import mounting_of
from talaria_training.trials import CALIBRATION_PART, Trial

Floats = NDArray[np.float32]

_EDGE_MODULES = ("calibration", "features", "kinematics", "orientation")
_LEGS = tuple(slot for slot in CHAIN_SLOTS if slot != "pelvis")
_WIDTH = 9


@dataclass(frozen=True, slots=True)
class Walk:
    """One recording with all sensors of pelvis and legs.

    Attributes
    ----------
    person, name, reference : str
    features : ndarray of float32, shape (T, 70)
        The runtime's features for `CHAIN_SLOTS`: nine per slot, then the flags.
    device : ndarray of float32, shape (T, 63)
        What the published recipe sees of the same slots.
    angles_rad : ndarray of float32, shape (T, len(ANGLES))
    """

    person: str
    name: str
    reference: str
    features: Floats
    device: Floats
    angles_rad: Floats


def calibrate_chain(recording: Recording) -> Calibration | None:
    """Calibrate all of `CHAIN_SLOTS` within the recording's first fifth; None if that never completes."""
    rows = [recording.slots.index(slot) for slot in CHAIN_SLOTS]
    collector = CalibrationCollector(recording.rate_hz, CHAIN_SLOTS)
    stop = round(CALIBRATION_PART * len(recording.t_s))
    ticks = zip(recording.acc_ms2[:stop, rows], recording.gyr_rads[:stop, rows], strict=True)
    for last, (acc, gyr) in enumerate(ticks):
        stretch = collector.collect(acc, gyr)
        if stretch is not None:
            return _of_stretch(recording, stretch, last + 1 - len(stretch.acc_ms2))
    return None


def _of_stretch(recording: Recording, stretch: Stretch, begin: int) -> Calibration | None:
    rows = [CHAIN_SLOTS.index(slot) for slot in _LEGS]
    try:
        legs = calibrate(
            _LEGS,
            stretch.acc_ms2[:, rows],
            stretch.gyr_rads[:, rows],
            stretch.still,
            stretch.walking,
            stretch.rate_hz,
        )
    except CalibrationError:
        return None
    known = recording.orientation or {}
    walk = slice(begin + stretch.walking.start, begin + stretch.walking.stop)

    def turned(slot: str) -> Rotation:
        return Rotation.from_quat(known[slot][walk], scalar_first=True)

    # The pelvis' axis is where the thighs' axes point, seen from its own sensor.
    thighs = [
        turned(slot).apply(legs.slots[slot].r_segment_sensor[2]).mean(axis=0)
        for slot in (f"femur_{side}" for side in SIDES)
    ]
    right = turned("pelvis").inv().apply(np.sum(thighs, axis=0)).mean(axis=0)
    up = stretch.acc_ms2[stretch.still, CHAIN_SLOTS.index("pelvis")].mean(axis=0)
    weight = legs.slots["femur_r"].weight
    pelvis = SlotCalibration("pelvis", segment_axes(up, right), np.zeros(3), weight)
    return Calibration({**legs.slots, "pelvis": pelvis})


def _calibrations(recordings: Sequence[Recording]) -> dict[str, Calibration]:
    """One per mounting; a mounting where nobody stood still borrows the person's others."""
    found: dict[str, list[Calibration]] = defaultdict(list)
    for recording in recordings:
        calibration = calibrate_chain(recording)
        if calibration is not None:
            found[mounting_of(recording)].append(calibration)
    pooled = [calibration for group in found.values() for calibration in group]
    mountings = {mounting_of(recording) for recording in recordings} if pooled else set()
    return {m: average(found[m] or pooled) for m in mountings}


def _features(recording: Recording, calibration: Calibration) -> Floats:
    rows = [recording.slots.index(slot) for slot in CHAIN_SLOTS]
    stage = FeatureStage(recording.rate_hz, calibration, CHAIN_SLOTS)
    ticks = zip(recording.acc_ms2[:, rows], recording.gyr_rads[:, rows], strict=True)
    return np.array([stage.update(acc, gyr) for acc, gyr in ticks])


def walks_of(recordings: Sequence[Recording], trials: Sequence[Trial]) -> list[Walk]:
    """Make one person's recordings ready, and keep the features cached.

    Parameters
    ----------
    recordings : sequence of Recording
        All of one person.
    trials : sequence of Trial
        The same person's, for the reference angles.

    Returns
    -------
    list of Walk
        One per recording that has reference angles, every sensor of `CHAIN_SLOTS` with its device
        orientation, and a calibration.
    """
    labels = {t.name: t for t in trials if np.isfinite(t.angles_rad).any()}
    usable = [r for r in recordings if r.name in labels and not r.missing(CHAIN_SLOTS, CHAIN_SLOTS)]
    if not usable:
        return []
    file = cache_folder("chains") / f"{_key(usable)}.npz"
    if not file.exists():
        _write(file, usable)
    with np.load(file) as stored:
        return [
            Walk(
                r.person,
                r.name,
                labels[r.name].reference,
                stored[r.name],
                device_channels(r, CHAIN_SLOTS),
                labels[r.name].angles_rad,
            )
            for r in usable
            if r.name in stored
        ]


def _write(file: Path, recordings: Sequence[Recording]) -> None:
    calibrations = _calibrations(recordings)
    arrays = {
        r.name: _features(r, calibrations[mounting_of(r)])
        for r in recordings
        if mounting_of(r) in calibrations
    }
    scratch = file.with_suffix(f".{os.getpid()}.npz")
    np.savez(scratch, allow_pickle=False, **arrays)
    scratch.replace(file)


def _key(recordings: Sequence[Recording]) -> str:
    code = ("sensor_chain", *(f"talaria_edge.{m}" for m in _EDGE_MODULES))
    digest = hashlib.sha256(source_digest(*code).encode())
    for recording in recordings:
        digest.update(repr((recording.name, mounting_of(recording), recording.rate_hz)).encode())
        known = recording.orientation or {}
        for array in (recording.acc_ms2, recording.gyr_rads, *known.values()):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]


def _mirror_order() -> tuple[list[int], Floats]:
    other = {"r": "l", "l": "r"}
    swapped = [
        CHAIN_SLOTS.index(slot if slot == "pelvis" else f"{slot[:-1]}{other[slot[-1]]}")
        for slot in CHAIN_SLOTS
    ]
    order = [_WIDTH * s + k for s in swapped for k in range(_WIDTH)]
    order += [_WIDTH * len(CHAIN_SLOTS) + s for s in swapped]
    sign = np.ones(len(order), np.float32)
    start = _WIDTH * CHAIN_SLOTS.index("pelvis")
    # Legs are stored as if right; the pelvis is not, so its own mirror image takes signs.
    sign[start : start + _WIDTH] = [1, 1, -1, -1, -1, 1, 1, 1, -1]
    return order, sign


_MIRROR, _MIRROR_SIGN = _mirror_order()
_MIRROR_Y = [ANGLES.index(f"{name[:-1]}{'l' if name[-1] == 'r' else 'r'}") for name in ANGLES]


def mirrored(walk: Walk) -> Walk:
    """Return the walk of this person's mirror image, for training; the device channels stay behind."""
    return Walk(
        walk.person,
        f"{walk.name} mirrored",
        walk.reference,
        walk.features[:, _MIRROR] * _MIRROR_SIGN,
        walk.device[:, :0],
        walk.angles_rad[:, _MIRROR_Y],
    )


def feature_columns(slots: Sequence[str]) -> list[int]:
    """Columns of `Walk.features` that belong to some slots, laid out as the runtime would for them."""
    at = [CHAIN_SLOTS.index(slot) for slot in slots]
    flags = [_WIDTH * len(CHAIN_SLOTS) + i for i in at]
    return [_WIDTH * i + k for i in at for k in range(_WIDTH)] + flags


def device_columns(slots: Sequence[str]) -> list[int]:
    """Columns of `Walk.device` that belong to some slots."""
    return [_WIDTH * CHAIN_SLOTS.index(slot) + k for slot in slots for k in range(_WIDTH)]


def gather(
    people: Sequence[Sequence[Recording]],
    trials: Sequence[Trial],
    done: Callable[[str], None] = lambda person: None,
) -> list[Walk]:
    """Make all people's walks ready, one person after the other; see `walks_of`."""
    walks: list[Walk] = []
    for recordings in people:
        person = recordings[0].person
        walks += walks_of(recordings, [t for t in trials if t.person == person])
        done(person)
    return walks
