"""Two published examples of walking with sensors on the feet alone, for judging stride length.

gaitmap's example (mad-lab-fau/gaitmap, MIT; Küderle et al. 2024, doi 10.1109/OJEMB.2024.3356791): one
healthy person walks 20 m, turns, and walks back, 204.8 Hz on both feet, with optical markers on the
shoes at 100 Hz. Both start together; the foot's pitch rate and the markers' agree to 2 ms.

x-io's walks (xioTechnologies/Gait-Tracking, MIT): one foot, about 400 Hz, on loops of about 25 m and
about 60 m.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_training.data.recording import Recording

Floats = NDArray[np.float64]

GAITMAP_ARCHIVE = "gaitmap_example.zip"
XIO_ARCHIVE = "xio_gait_tracking.zip"

_GAITMAP_RATE_HZ = 204.8
_MARKER_RATE_HZ = 100.0
_SENSORS = {"calcn_r": "right_sensor", "calcn_l": "left_sensor"}
# The loops' lengths as its README gives them.
_XIO_WALKS = {"short_walk.csv": 25.0, "long_walk.csv": 60.0}
_XIO_RATE_HZ = 200.0
_XIO_COLUMNS = 7
_STANDARD_GRAVITY_MS2 = 9.80665


@dataclass(frozen=True, slots=True, eq=False)
class MarkedWalk:
    """A walk with optical markers on both shoes, on one clock.

    Attributes
    ----------
    recording : Recording
        Slots ``calcn_r`` and ``calcn_l``.
    t_s : ndarray, shape (M,)
        Time of each optical frame.
    heel_m, toe_m : dict of side to ndarray, shape (M, 3)
        Marker positions, z up.
    """

    recording: Recording
    t_s: Floats
    heel_m: dict[str, Floats]
    toe_m: dict[str, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """A walk of roughly known length that ends where it began.

    Attributes
    ----------
    recording : Recording
        Slot ``calcn_r``: which foot it was is not said, and does not matter for a length.
    path_m : float
        About how long, as published.
    """

    recording: Recording
    path_m: float


def load_gaitmap(path: Path) -> MarkedWalk:
    """Read gaitmap's healthy example, packed or unpacked.

    Raises
    ------
    RecordingError
        If a file is missing or is not what it claims to be.
    """
    head, rows = _csv(path, "imu_sample.csv", 2)
    columns = {pair: i for i, pair in enumerate(zip(*head, strict=True))}
    motion = np.stack([_triples(rows, columns, sensor) for sensor in _SENSORS.values()], axis=1)
    recording = Recording(
        person="gaitmap",
        condition="healthy",
        name="gaitmap/healthy",
        rate_hz=_GAITMAP_RATE_HZ,
        t_s=np.arange(len(rows)) / _GAITMAP_RATE_HZ,
        slots=tuple(_SENSORS),
        acc_ms2=motion[..., :3],
        gyr_rads=np.deg2rad(motion[..., 3:]),
    )
    (labels, _), frames = _csv(path, "mocap_sample.csv", 2)
    heel, toe = (
        {side: _marker(labels, frames, f"{side.upper()}_{label}") for side in ("r", "l")}
        for label in ("FCC", "TOE")
    )
    return MarkedWalk(recording, np.arange(len(frames)) / _MARKER_RATE_HZ, heel, toe)


def load_xio(path: Path) -> tuple[Loop, ...]:
    """Read x-io's two walks, packed or unpacked, on a common clock of 200 Hz.

    Its time stamps repeat and jump (packets of samples), so readings of one stamp are averaged and the
    rest interpolated, as live alignment would.

    Raises
    ------
    RecordingError
        If a file is missing or is not what it claims to be.
    """
    loops = []
    for name, path_m in _XIO_WALKS.items():
        (labels,), rows = _csv(path, name, 1)
        if len(labels) != _XIO_COLUMNS:
            raise RecordingError(
                f"{name} has {len(labels)} columns and not time and two vectors: download "
                f"{XIO_ARCHIVE} again."
            )
        stamps, first = np.unique(rows[:, 0], return_index=True)
        counts = np.diff(np.append(first, len(rows)))
        motion = np.add.reduceat(rows[:, 1:], first, axis=0) / counts[:, None]
        t_s = np.arange(round(float(stamps[-1]) * _XIO_RATE_HZ)) / _XIO_RATE_HZ
        even = np.column_stack([np.interp(t_s, stamps, column) for column in motion.T])
        recording = Recording(
            person="xio",
            condition=name.removesuffix(".csv"),
            name=f"xio/{name.removesuffix('.csv')}",
            rate_hz=_XIO_RATE_HZ,
            t_s=t_s,
            slots=("calcn_r",),
            acc_ms2=even[:, None, 3:] * _STANDARD_GRAVITY_MS2,
            gyr_rads=np.deg2rad(even[:, None, :3]),
        )
        loops.append(Loop(recording, path_m))
    return tuple(loops)


def find_archive(data: Path, name: str) -> Path | None:
    """Look for an archive at, inside, or beside a path."""
    places = (data, data / name, data.parent / name)
    return next((p for p in places if p.name == name and p.exists()), None)


def _triples(rows: Floats, columns: dict[tuple[str, ...], int], sensor: str) -> Floats:
    names = [f"{kind}_{axis}" for kind in ("acc", "gyr") for axis in "xyz"]
    try:
        return rows[:, [columns[sensor, name] for name in names]]
    except KeyError as err:
        raise RecordingError(
            f"imu_sample.csv has no column {' '.join(err.args[0])}: download {GAITMAP_ARCHIVE} again."
        ) from None


def _marker(labels: list[str], frames: Floats, name: str) -> Floats:
    """Return a marker's place in m, shape (M, 3), from the first of its three columns in mm."""
    if name not in labels:
        raise RecordingError(
            f"mocap_sample.csv has no marker {name}: download {GAITMAP_ARCHIVE} again."
        )
    first = labels.index(name)
    return frames[:, first : first + 3] / 1000.0


def _csv(path: Path, name: str, heading: int) -> tuple[list[list[str]], Floats]:
    """Return a file's heading lines, split, and its numbers."""
    text = _text(path, name)
    lines = text.splitlines()
    try:
        rows = np.loadtxt(lines[heading:], delimiter=",", ndmin=2)
    except ValueError as err:
        raise RecordingError(
            f"{name} in {path} is no table of numbers ({err}): download it again."
        ) from None
    head = [line.split(",") for line in lines[:heading]]
    if any(len(names) != rows.shape[1] for names in head):
        raise RecordingError(
            f"{name} in {path} has rows of {rows.shape[1]} values under a heading of "
            f"{len(head[0])}: download it again."
        )
    return head, rows


def _text(path: Path, name: str) -> str:
    if path.is_dir():
        found = sorted(path.rglob(name))
        if found:
            return found[0].read_text(encoding="utf-8")
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.rsplit("/", 1)[-1] == name:
                    with io.TextIOWrapper(archive.open(member), encoding="utf-8") as file:
                        return file.read()
    raise RecordingError(
        f"{path} holds no {name}: give the archive as it was downloaded, packed or unpacked."
    )
