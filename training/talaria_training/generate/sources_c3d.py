"""biomechZoo's walks over ground as motions: optical angles and pelvis, and forces where a plate has a foot.

Angles are zero in the person's own static trial (`talaria_training.data.c3d`). The velocity is that of the
middle between the hips. A foot's force is known where it stands alone on a plate, and is zero while the foot
surely swings; elsewhere a foot may stand beside the plates, and nobody measured. Curves are smoothed
forwards and backwards.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_edge.generate.motion import RATE_HZ, WINDOW, Conditions, Motion
from talaria_edge.kinematics import SIDES
from talaria_edge.stances import FORCE_AXES
from talaria_training.data.c3d import load_walks
from talaria_training.generate.sources_curves import (
    channels_of,
    clock,
    force_curves,
    kinematics_at,
    pelvis_curves,
    steps_in,
    velocity_curves,
)
from talaria_training.generate.windows import usual_stride_hz
from talaria_training.kinetics.overground import GroundStep
from talaria_training.strides.archive import open_archive
from talaria_training.virtual import Movement

Floats = NDArray[np.float64]

SOURCE = (
    "biomechZoo sample study (McGill Motion Lab, MIT and Apache-2.0): walking over ground, angles from optical "
    "markers, forces of steps on plates, velocity of the pelvis."
)
STRAIGHT_RAD = np.radians(20.0)
"""A walk whose second half goes this much elsewhere than its first half is a turn."""
# Of the walking speed. Ankles of feet that still press were at most 2.0 times as fast in this set's steps, and
# below 0.6 times in the middle of them.
_SWINGS, _STANDS = 2.1, 0.8
_NEAR_S = (
    0.25  # from a step's end to where its ankle is surely too fast, and the same before a step
)


def read_c3d(path: Path, note: Callable[[str], None]) -> list[Motion]:
    """Read the straight walks of everybody with a static trial, from a folder or a zip.

    Raises
    ------
    ConfigError
        If ezc3d is not installed.
    RecordingError
        If `path` is neither.
    """
    with tempfile.TemporaryDirectory() as scratch, open_archive(path) as archive:
        folder = Path(scratch) / path.stem
        for name in archive.names:
            if name.casefold().endswith(".c3d"):
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(archive.read(name))
        walks = load_walks(folder, note)
        steps: dict[str, list[GroundStep]] = defaultdict(list)
        mass_kg: dict[str, float] = {}
        for step in steps_in(folder, note):
            steps[step.recording].append(step)
            mass_kg[step.person] = step.mass_kg
    found: list[Motion] = []
    for walk in walks:
        if turned_rad(walk) > STRAIGHT_RAD:
            note(f"{walk.name}: left out, a turn")
            continue
        if walk.t_s[-1] - walk.t_s[0] < (WINDOW - 1) / RATE_HZ:
            note(f"{walk.name}: left out, shorter than a window")
            continue
        own = [s for s in steps[walk.name.rpartition("/")[2]] if s.person == walk.person]
        found.append(motion_of(walk, own, mass_kg.get(walk.person, np.nan), note))
    return found


def turned_rad(walk: Movement) -> float:
    """Return the angle between where a walk's first and second half go."""
    way = walk.origin_m["pelvis"][:, :2]
    middle = len(way) // 2
    first, second = way[middle] - way[0], way[-1] - way[middle]
    cross = first[0] * second[1] - first[1] * second[0]
    return float(abs(np.arctan2(cross, first @ second)))


def motion_of(
    walk: Movement, steps: Sequence[GroundStep], mass_kg: float, note: Callable[[str], None]
) -> Motion:
    """Put a walk and the steps measured in it into channels."""
    at_s, place = clock(walk.t_s), walk.origin_m["pelvis"]
    way = place[-1, :2] - place[0, :2]
    heading = float(np.arctan2(way[1], way[0]))
    speed_ms = float(np.linalg.norm(way) / (walk.t_s[-1] - walk.t_s[0]))
    raw = dict(walk.angles_rad) | pelvis_curves(walk.pose["pelvis"], np.array(heading))
    raw |= velocity_curves(np.gradient(place, walk.t_s, axis=0), heading)
    smooth = kinematics_at(walk.t_s, np.column_stack(list(raw.values())))
    curves = dict(zip(raw, smooth.T, strict=True))
    for side in SIDES:
        ankle = np.gradient(walk.origin_m[f"calcn_{side}"], walk.t_s, axis=0)
        pace = np.interp(at_s, walk.t_s, np.linalg.norm(ankle, axis=1)) / speed_ms
        own = [step for step in steps if step.side == side]
        curves |= force_curves(side, force_of(own, pace, walk.name, note))
    values = channels_of(curves)
    known = Conditions(speed_ms, usual_stride_hz(values), walk.height_m, mass_kg, "walking")
    return Motion(walk.person, walk.name, SOURCE, values, known)


def force_of(
    steps: Sequence[GroundStep], pace: Floats, name: str, note: Callable[[str], None]
) -> Floats:
    """Lay one foot's steps out over a walk; zero where the foot swings, NaN where nobody knows.

    Parameters
    ----------
    steps : sequence of GroundStep
        Whose `start_s` is since the walk's first sample; those whose foot does not stand are left out.
    pace : ndarray, shape (T,)
        Speed of the ankle at `RATE_HZ`, in walking speeds.
    """
    force = np.full((len(pace), len(FORCE_AXES)), np.nan)
    swings = pace > _SWINGS
    force[swings] = 0.0
    near = round(_NEAR_S * RATE_HZ)
    for step in steps:
        grid_s = np.arange(len(step.force_bw)) / step.rate_hz
        rows = clock(grid_s)
        start = round(step.start_s * RATE_HZ)
        inside = slice(start, start + len(rows))
        third = len(rows) // 3
        if inside.stop > len(pace) or pace[start + third : inside.stop - third].max() > _STANDS:
            note(f"{name}: a step is left out, its foot does not stand while the plate is pressed")
            continue
        force[inside] = np.column_stack([np.interp(rows, grid_s, a) for a in step.force_bw.T])
        after = np.flatnonzero(swings[inside.stop : inside.stop + near])
        before = np.flatnonzero(swings[max(0, start - near) : start])
        if len(after):
            force[inside.stop : inside.stop + after[0]] = 0.0
        if len(before):
            force[max(0, start - near) + before[-1] + 1 : start] = 0.0
    return force
