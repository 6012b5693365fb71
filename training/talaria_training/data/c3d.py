"""Walking as Vicon's Plug-in Gait leaves it in a C3D file: the bones' own axes, frame by frame.

Plug-in Gait writes four virtual markers per bone (``RFEO``, ``RFEA``, ``RFEL``, ``RFEP``: origin,
anterior, lateral, proximal), the femur's proximal one in the hip. With a static trial of the same person
the segments' frames are turned to what a calibration by standing would have found, so that angles are
zero in quiet standing, as everywhere in Talaria. Needs ezc3d (BSD; extra ``c3d``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_bridge.virtual_imu import quaternions
from talaria_edge.calibration import segment_axes
from talaria_edge.kinematics import SIDES, joint_angles_rad
from talaria_training.virtual import Movement, smoothed

Floats = NDArray[np.float64]

_BONES = {"femur": "FE", "tibia": "TI", "calcn": "FO"}
# The proximal joint of each bone; Plug-in Gait's own origins are the distal ones.
_JOINTS = {"femur": "FEP", "tibia": "FEO", "calcn": "TIO"}
_SHORTEST_S = 1.5
_STATIC = "Static"


def load_walks(folder: Path, note: Callable[[str], None] = lambda said: None) -> list[Movement]:
    """Read the walks of every person who has a static trial beside them.

    Parameters
    ----------
    folder : Path
        Holds PERSON/Static/*.c3d and walks in PERSON's other folders, as biomechZoo's sample study does.
    note : callable
        Told of each file that was left out, and why.

    Raises
    ------
    ConfigError
        If ezc3d is not installed.
    """
    people: dict[Path, list[Path]] = defaultdict(list)
    for file in sorted(folder.rglob("*.c3d")):
        people[file.parent.parent].append(file)
    found: list[Movement] = []
    for home, files in people.items():
        statics = [file for file in files if file.parent.name == _STATIC]
        try:
            found += _walks_of(home.name, files, _Markers(statics[0])) if statics else []
        except RecordingError as error:
            note(str(error))
        if not statics:
            note(f"{home.name}: nobody stands in {home.name}/{_STATIC}, so its zero is unknown.")
    return found


def _walks_of(person: str, files: Sequence[Path], standing: _Markers) -> Iterator[Movement]:
    turn = standing.to_segments()
    for file in files:
        if file.parent.name != _STATIC:
            walk = _Markers(file)
            if len(walk.t_s) >= _SHORTEST_S * walk.rate_hz:
                condition = file.parent.name.lower()
                yield walk.movement(person, condition, turn, standing.height_m)


class _Markers:
    """Markers of one file over its longest stretch without a gap, metres, z up."""

    def __init__(self, file: Path) -> None:
        read = open_c3d(file, str(file))
        point = read["parameters"]["POINT"]
        self.rate_hz = float(point["RATE"]["value"][0])
        self.name = file.stem
        scale = {"mm": 1e-3, "m": 1.0}[point["UNITS"]["value"][0]]
        labels = point["LABELS"]["value"]
        wanted = [
            f"{side.upper()}{b}{a}" for side in SIDES for b in _BONES.values() for a in "OALP"
        ]
        wanted += [*(f"PEL{a}" for a in "OALP"), "LFHD"]
        missing = sorted(set(wanted) - set(labels))
        if missing:
            raise RecordingError(
                f"{file} has no {', '.join(missing)}: export it with Plug-in Gait's bones."
            )
        values = scale * np.stack(
            [read["data"]["points"][:3, labels.index(n)].T for n in wanted], 1
        )
        part = _longest_run(np.asarray(np.isfinite(values).all(axis=(1, 2))))
        self.t_s = np.arange(part.stop - part.start) / self.rate_hz
        flat = values[part].reshape(len(self.t_s), -1)
        values = smoothed(self.t_s, flat).reshape(-1, len(wanted), 3)
        self._at: Mapping[str, Floats] = dict(zip(wanted, np.moveaxis(values, 1, 0), strict=True))
        self.height_m = float(np.median(self._at["LFHD"][:, 2])) + 0.08  # the band sits on the brow

    def bones(self) -> dict[str, Rotation]:
        """Bone to world, x anterior, y proximal, z right, as Plug-in Gait has the bone."""
        names = {"pelvis": "PEL"}
        names |= {f"{b}_{s}": f"{s.upper()}{short}" for s in SIDES for b, short in _BONES.items()}
        return {slot: self._pose(name) for slot, name in names.items()}

    def _pose(self, name: str) -> Rotation:
        origin = self._at[f"{name}O"]
        x, left, y = (self._at[f"{name}{axis}"] - origin for axis in "ALP")
        axes = np.stack([x, y, -left], axis=-1)
        return Rotation.from_matrix(axes / np.linalg.norm(axes, axis=1, keepdims=True))

    def to_segments(self) -> dict[str, Rotation]:
        """Segment to bone, from this standing person: y is vertical, z stays the bone's."""
        found = {}
        for slot, pose in self.bones().items():
            up = pose.inv().apply([0.0, 0.0, 1.0]).mean(axis=0)
            found[slot] = Rotation.from_matrix(segment_axes(up, np.array([0.0, 0.0, 1.0])).T)
        return found

    def movement(
        self, person: str, condition: str, turn: Mapping[str, Rotation], height_m: float
    ) -> Movement:
        """Give this walk with the segment frames of a standing trial."""
        pose = {slot: bone * turn[slot] for slot, bone in self.bones().items()}
        hips = {s: self._at[f"{s.upper()}FEP"] for s in SIDES}
        origin = {"pelvis": (hips["r"] + hips["l"]) / 2}
        for side in SIDES:
            for bone, joint in _JOINTS.items():
                origin[f"{bone}_{side}"] = self._at[f"{side.upper()}{joint}"]
        angles = joint_angles_rad({slot: quaternions(p) for slot, p in pose.items()})
        name = f"{person}/{self.name}"
        return Movement(person, condition, name, height_m, self.t_s, pose, origin, angles)


def _longest_run(sound: NDArray[np.bool_]) -> slice:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], sound.astype(int), [0]])))
    runs = edges.reshape(-1, 2)
    if not len(runs):
        return slice(0, 0)
    start, stop = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return slice(int(start), int(stop))


def open_c3d(file: Path, name: str) -> Any:
    """Read a C3D file.

    Raises
    ------
    ConfigError
        If ezc3d is not installed.
    RecordingError
        If the file cannot be read; it is called `name`.
    """
    try:
        import ezc3d  # type: ignore[import-untyped]  # noqa: PLC0415  optional
    except ImportError:
        raise ConfigError(
            "Reading C3D files needs ezc3d, which is not installed: pip install 'talaria[c3d]'."
        ) from None
    try:
        return ezc3d.c3d(str(file))
    except (OSError, RuntimeError, ValueError) as error:
        raise RecordingError(f"{name} cannot be read as C3D ({error}): export it again.") from None
