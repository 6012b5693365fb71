"""CapSense's Sub02, the one person whom cameras and sensors saw at once, as a body beside its recording."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from talaria_bridge.errors import RecordingError
from talaria_edge.generate.body import Body
from talaria_edge.kinematics import SIDES
from talaria_edge.tables.motion import read_table
from talaria_training.data.load import load_recordings
from talaria_training.data.recording import Recording
from talaria_training.generate.gait_cycles import landings
from talaria_training.kinetics.targets import OUTPUTS, force_trial
from talaria_training.optical import ARCHIVE, RECORDING
from talaria_training.virtual import Movement, from_motion

_OPTICAL = "IKoutput_20to65secs.mot"


def load_both(folder: Path) -> tuple[Body, Recording]:
    """Read the optical movement of Sub02 and what the sensors read of it, at the same instants.

    Raises
    ------
    RecordingError
        If either is missing.
    """
    archive, capsense = folder / ARCHIVE, folder / "capsense"
    if not archive.exists() or not capsense.exists():
        raise RecordingError(
            f"{folder} lacks {ARCHIVE} or a folder capsense, and only Sub02 was seen by cameras and sensors "
            "at once: give the folder that holds both."
        )
    person, _, condition = RECORDING.partition("/")
    whole = load_recordings(capsense, people={person}, conditions={condition})[0]
    moved = _movement(archive, whole.height_m or np.nan)
    recording = whole.part(moved.t_s[0] - 1e-6, moved.t_s[-1] + 1e-6)
    return _body(moved, whole), recording


def _movement(archive: Path, height_m: float) -> Movement:
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if name.endswith(_OPTICAL)]
        if not names:
            raise RecordingError(f"{archive} holds no {_OPTICAL}: download the archive afresh.")
        table = read_table((names[0], opened.read(names[0])))
    return from_motion(table, "Sub02", "walk", height_m)


def _body(moved: Movement, recording: Recording) -> Body:
    start_s = moved.t_s[0]
    forces = force_trial(recording, None)
    landed = {side: np.empty(0) for side in SIDES}
    if forces is not None:
        for side in SIDES:
            vertical = forces.force_bw[:, OUTPUTS.index(f"grf_vertical_{side}")]
            at_s = recording.t_s[0] + landings(vertical) / recording.rate_hz
            landed[side] = at_s[(at_s >= start_s) & (at_s < moved.t_s[-1])] - start_s
    return Body(
        moved.height_m, moved.t_s - start_s, moved.pose, moved.origin_m, moved.angles_rad, landed
    )
