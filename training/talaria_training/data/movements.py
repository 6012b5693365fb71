"""Measured movement of the legs, from whatever motion capture left: OpenSim ``.mot`` and C3D."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_edge.tables.motion import read_table
from talaria_training.data.c3d import load_walks
from talaria_training.virtual import Movement, from_motion

_HEIGHT_M = 1.75  # a .mot does not say who moved
_SHORTEST_S = 1.5
Note = Callable[[str], None]


def load_movements(path: Path, note: Note = lambda said: None) -> list[Movement]:
    """Read every movement below a folder or inside a zip.

    Parameters
    ----------
    path : Path
        OpenSim's inverse kinematics (``.mot`` with pelvis, hips, knees and ankles) and people with a
        static trial in C3D, in any folders. A movement's person is the name of its folder.
    note : callable
        Told of each file that was left out, and why.

    Raises
    ------
    RecordingError
        If there is none, or `path` does not exist.
    """
    if not path.exists():
        raise RecordingError(f"{path} does not exist: check the path.")
    with _unpacked(path) as folder:
        found = [*_motions(folder, note), *_walks(folder, note)]
    if not found:
        raise RecordingError(
            f"{path} holds no movement of both legs: give OpenSim .mot files of inverse kinematics, or "
            "C3D files in PERSON/Static and beside it."
        )
    return found


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield path
        return
    if not zipfile.is_zipfile(path):
        raise RecordingError(f"{path} is neither a folder nor a zip: give one of the two.")
    with tempfile.TemporaryDirectory() as scratch:  # ezc3d opens files by name only
        with zipfile.ZipFile(path) as archive:
            wanted = [n for n in archive.namelist() if n.casefold().endswith((".mot", ".c3d"))]
            archive.extractall(scratch, wanted)
        yield Path(scratch)


def _motions(folder: Path, note: Note) -> Iterator[Movement]:
    for file in sorted(folder.rglob("*.mot")):
        try:
            table = read_table(file)
            moved = from_motion(table, file.parent.name, file.stem, _HEIGHT_M)
        except RecordingError as error:
            note(str(error))  # force plates are .mot files too
            continue
        lasts_s = moved.t_s[-1] - moved.t_s[0]
        if lasts_s < _SHORTEST_S:
            note(f"{file.name} lasts {lasts_s:.1f} s, less than two strides, and is left out.")
        else:
            yield moved


def _walks(folder: Path, note: Note) -> Iterator[Movement]:
    if any(folder.rglob("*.c3d")):
        try:
            yield from load_walks(folder, note)
        except ConfigError as error:
            note(str(error))
