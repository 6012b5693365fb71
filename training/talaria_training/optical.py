"""Optical angles of CapSense Sub02, the one person who has them, and OpenSense's result beside them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import ANGLES
from talaria_edge.tables.motion import MotionTable, read_table

RECORDING = "Sub02/CSBaseline"
"""Name of the one recording the optical angles belong to."""
_OPTICAL = "IKoutput_20to65secs.mot"
_OPENSENSE = "ik_OpenSim_Sub02_CSBaseline_Orientations.mot"
ARCHIVE = "capsense_sub02_optical.zip"


@dataclass(frozen=True, slots=True)
class Optical:
    """Angles by marker-based inverse kinematics, on the recording's own clock.

    Attributes
    ----------
    t_s : ndarray, shape (T,)
    angles_rad : ndarray, shape (T, len(ANGLES))
    opensense_rad : ndarray, shape (T, len(ANGLES))
        The authors' own inverse kinematics on all eight IMUs, for the same instants.
    """

    t_s: NDArray[np.float64]
    angles_rad: NDArray[np.float64]
    opensense_rad: NDArray[np.float64]

    def overlap(self, t_s: NDArray[np.float64]) -> tuple[slice, slice]:
        """Find the stretches of a recording's `t_s` and of this that show the same instants.

        Raises
        ------
        RecordingError
            If they have none in common.
        """
        start, stop = max(t_s[0], self.t_s[0]), min(t_s[-1], self.t_s[-1])
        if start >= stop:
            raise RecordingError(
                f"{RECORDING} ({t_s[0]:g}–{t_s[-1]:g} s) and its optical angles "
                f"({self.t_s[0]:g}–{self.t_s[-1]:g} s) share no instant: give the whole recording."
            )
        mine, theirs = (
            slice(*(int(np.searchsorted(t, edge - 1e-6)) for edge in (start, stop)))
            for t in (t_s, self.t_s)
        )
        return mine, theirs

    def rest(self, seconds: float) -> Optical:
        """Leave out the first so many seconds."""
        later = self.t_s >= self.t_s[0] + seconds
        return Optical(self.t_s[later], self.angles_rad[later], self.opensense_rad[later])


def load_optical(path: Path) -> Optical:
    """Read the published archive, packed or unpacked.

    Raises
    ------
    RecordingError
        If a file is missing or cannot be read.
    """
    optical, opensense = (_table(path, name) for name in (_OPTICAL, _OPENSENSE))
    rows = min(len(optical.t_s), len(opensense.t_s))
    if not np.allclose(optical.t_s[:rows], opensense.t_s[:rows], atol=1e-3):
        raise RecordingError(
            f"{_OPTICAL} and {_OPENSENSE} in {path} run on different clocks: unpack the archive afresh."
        )
    return Optical(
        optical.t_s[:rows],
        optical.angles_rad(ANGLES)[:rows],
        opensense.angles_rad(ANGLES)[:rows],
    )


def find_optical(data: Path) -> Path | None:
    """Look for the archive beside or inside a CapSense folder."""
    for place in (data / ARCHIVE, data.parent / ARCHIVE):
        if place.exists():
            return place
    return None


def _table(path: Path, name: str) -> MotionTable:
    if path.is_dir():
        found = sorted(path.rglob(name))
        if found:
            return read_table(found[0])
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith(name):
                    return read_table((f"{path.name}:{member}", archive.read(member)))
    raise RecordingError(
        f"{path} holds no {name}, so there is nothing optical to compare with: give {ARCHIVE}, packed or "
        "unpacked."
    )
