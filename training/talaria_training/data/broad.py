"""BROAD: one sensor with optical orientation, moved by hand, for judging attitude filters.

D. Laidig, M. Caruso, A. Cereatti, T. Seel: BROAD, a benchmark for robust inertial orientation
estimation. Data 6(7), 2021 (dlaidig/broad, CC BY 4.0). Each trial is one HDF5 file; a folder of them, at
any depth, or a zip is taken as it is. Needs `h5py`.
"""

from __future__ import annotations

import importlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError

FloatArray = NDArray[np.float64]

ARCHIVE = "broad_subset.zip"
_SUFFIX = ".hdf5"
_SHAPES = {"imu_acc": (3,), "imu_gyr": (3,), "opt_quat": (4,), "movement": ()}


@dataclass(frozen=True, slots=True, eq=False)
class BroadTrial:
    """One trial.

    Attributes
    ----------
    name : str
        Such as ``07_undisturbed_fast_rotation_B``.
    rate_hz : float
    acc_ms2, gyr_rads : ndarray, shape (T, 3)
        Specific force and angular rate in the sensor's frame.
    q_world_sensor : ndarray, shape (T, 4)
        Optical orientation, scalar first, world z up; NaN where the cameras lost it.
    moving : ndarray of bool, shape (T,)
        The part that errors are to be taken over; the sensor rests before and after.
    """

    name: str
    rate_hz: float
    acc_ms2: FloatArray
    gyr_rads: FloatArray
    q_world_sensor: FloatArray
    moving: NDArray[np.bool_]


def find_broad(data: Path) -> Path | None:
    """Look for BROAD at a path, inside a folder, or beside it."""
    for place in (data, data / ARCHIVE, data.parent / ARCHIVE):
        if place.exists() and next(_names(place), None) is not None:
            return place
    return None


def load_broad(path: Path) -> list[BroadTrial]:
    """Load every trial, in the order of their names.

    Raises
    ------
    RecordingError
        If there is no trial, `h5py` is not installed, or a file is not what it should be.
    """
    trials = [_trial(name, content) for name, content in _files(path)]
    if not trials:
        raise RecordingError(
            f"{path} holds no BROAD trial: give a folder or zip with its {_SUFFIX} files."
        )
    return trials


def _names(path: Path) -> Iterator[str]:
    if path.is_dir():
        yield from sorted(str(p) for p in path.rglob(f"*{_SUFFIX}"))
    elif path.suffix == _SUFFIX:
        yield str(path)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from sorted(name for name in archive.namelist() if name.endswith(_SUFFIX))


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if not path.exists():
        raise RecordingError(f"{path} does not exist: check the path.")
    packed = path.is_file() and path.suffix != _SUFFIX
    for name in _names(path):
        try:
            if packed:
                with zipfile.ZipFile(path) as archive:
                    yield name, archive.read(name)
            else:
                yield name, Path(name).read_bytes()
        except (OSError, zipfile.BadZipFile) as error:
            raise RecordingError(
                f"{name} cannot be read ({error}): fetch the data set again."
            ) from error


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise RecordingError(
            "BROAD's files are HDF5 and h5py is not installed: install it with pip install "
            "'talaria[fusion]'."
        ) from error


def _trial(name: str, content: bytes) -> BroadTrial:
    h5py = _h5py()
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            rate_hz = float(file.attrs["sampling_rate"])
            columns = {key: np.asarray(file[key][()]) for key in _SHAPES}
    except (OSError, KeyError, RuntimeError) as error:
        raise RecordingError(
            f"{name} is no BROAD trial ({error}): fetch it again from dlaidig/broad."
        ) from error
    length = len(columns["imu_acc"])
    for key, shape in _SHAPES.items():
        if columns[key].shape != (length, *shape):
            raise RecordingError(
                f"{name} has {key} of shape {columns[key].shape}, not {(length, *shape)}: fetch it "
                "again from dlaidig/broad."
            )
    return BroadTrial(
        Path(name).stem,
        rate_hz,
        columns["imu_acc"].astype(float),
        columns["imu_gyr"].astype(float),
        columns["opt_quat"].astype(float),
        columns["movement"].astype(bool),
    )
