"""Running from OpenSim's tables as motions: inverse kinematics, forces, or either alone.

Angles keep their model's own zero, which is not quiet standing: a pelvis that leans forward in one model
leans into the hips' flexion there. Runs without inverse kinematics have forces and velocity only. Belt and
ground speeds are those that the files' names give, in cm/s; where they give none, the speed is that at which
the ankles go back under the body, to about 0.2 m/s. Curves are smoothed forwards and backwards.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.generate.motion import PELVIS, VELOCITY, Conditions, Motion
from talaria_edge.kinematics import ANGLES
from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_edge.tables.motion import MotionTable, read_table
from talaria_training.data.opensim import read_trc
from talaria_training.data.plates import SIDES
from talaria_training.generate.sources_curves import (
    channels_of,
    clock,
    force_curves,
    forces_at,
    kinematics_at,
    steps_in,
)
from talaria_training.generate.windows import usual_stride_hz
from talaria_training.kinetics.overground import GroundStep
from talaria_training.kinetics.stances import OFF_N, ON_N
from talaria_training.kinetics.targets import towards_outside
from talaria_training.strides.archive import Archive, open_archive
from talaria_training.virtual import from_motion

Floats = NDArray[np.float64]

SOURCE = (
    "OpenSim running (Hamner and Delp 2013, a sprinter, welk002 and welk007; in nimblephysics, BSD): angles by "
    "inverse kinematics with each model's own zero, forces from a treadmill's plates, velocity of the pelvis."
)
_PLACE = ("pelvis_tx", "pelvis_ty", "pelvis_tz")
_WAIST = ("RASI", "LASI", "RPSI", "LPSI")
_SPEED = re.compile(r"run_?0*(\d+)(?:cms)?(?:_ik)?$")
# Of body height: where OpenSim's gait models have the origin of the pelvis.
_PELVIS_HEIGHT = 0.54
_FASTEST_BACK = 5.0  # percentile of the ankle's speed that is taken for the belt's
_OVERGROUND_M = 3.0


def read_opensim(path: Path, note: Callable[[str], None]) -> list[Motion]:
    """Read every ``.mot`` of inverse kinematics and of forces under `path`, a folder or a zip.

    Raises
    ------
    RecordingError
        If `path` is neither.
    """
    steps: dict[tuple[str, str], list[GroundStep]] = defaultdict(list)
    for step in steps_in(path, note):
        steps[step.person, step.recording].append(step)
    found: list[Motion] = []
    with open_archive(path) as archive:
        for name in archive.names:
            try:
                if name.endswith("grf.mot"):
                    if _beside(name) not in archive.names:
                        found.append(_pushed(archive, name, steps))
                elif name.endswith(".mot"):
                    found.append(_moved(archive, name, steps))
            except RecordingError as error:
                note(str(error))
    return found


def _beside(name: str) -> str:
    """Return the name of the kinematics that belong to forces, or the other way round."""
    if name.endswith("_grf.mot"):
        return name.removesuffix("_grf.mot") + "_ik.mot"
    return name.removesuffix("_ik.mot") + "_grf.mot"


def _run_of(name: str) -> tuple[str, str]:
    """Return person and recording, as `talaria_training.kinetics.overground` has them."""
    stem = re.sub(r"([_/]grf|_ik)?\.mot$", "", name)
    *_, above, folder, recording = ("", "", *stem.split("/"))
    return (above if folder == "trials" else folder), recording


def _moved(
    archive: Archive, name: str, steps: Mapping[tuple[str, str], Sequence[GroundStep]]
) -> Motion:
    """Read inverse kinematics, and the forces beside them."""
    table = read_table((name, archive.read(name)))
    person, recording = _run_of(name)
    angles = table.angles_rad((*PELVIS, *ANGLES))
    for side in SIDES:
        knee = len(PELVIS) + ANGLES.index(f"knee_angle_{side}")
        # Some models, such as gait2392, have extension positive.
        angles[:, knee] *= np.sign(np.median(angles[:, knee]))
    place = np.column_stack([table.column(axis) for axis in _PLACE])
    velocity = np.gradient(place, table.t_s, axis=0)
    speed_ms = speed_of(table, recording)
    velocity[:, 0] += speed_ms - velocity[:, 0].mean()
    smooth = kinematics_at(table.t_s, np.column_stack([angles, velocity]))
    curves = dict(zip((*PELVIS, *ANGLES, *VELOCITY), smooth.T, strict=True))
    own = steps.get((person, recording), ())
    if own and _beside(name) in archive.names:
        curves |= _forces(archive, _beside(name), own, clock(table.t_s))
    return _motion(person, recording, curves, speed_ms, own)


def _pushed(
    archive: Archive, name: str, steps: Mapping[tuple[str, str], Sequence[GroundStep]]
) -> Motion:
    """Read forces that have markers beside them and no kinematics."""
    person, recording = _run_of(name)
    own = steps.get((person, recording), ())
    if not own:
        raise RecordingError(f"{name} is left out: it holds no whole step of a known foot.")
    markers = name.removesuffix("grf.mot") + "markers.trc"
    trc = read_trc((markers, archive.read(markers)))
    at_s = clock(read_table((name, archive.read(name))).t_s)
    waist = np.mean([trc.vector(n) for n in _WAIST], axis=0) * {"mm": 1e-3}.get(trc.units, 1.0)
    speed_ms = _named_speed(recording)
    velocity = np.gradient(waist, trc.t_s, axis=0)
    velocity[:, 0] += speed_ms - velocity[:, 0].mean()
    smooth = kinematics_at(trc.t_s, velocity)
    read = [np.interp(at_s, clock(trc.t_s), v, left=np.nan, right=np.nan) for v in smooth.T]
    curves = dict(zip(VELOCITY, read, strict=True)) | _forces(archive, name, own, at_s)
    return _motion(person, recording, curves, speed_ms, own)


def _motion(
    person: str,
    recording: str,
    curves: Mapping[str, Floats],
    speed_ms: float,
    steps: Sequence[GroundStep],
) -> Motion:
    values = channels_of(curves)
    mass_kg = steps[0].mass_kg if steps else np.nan
    known = Conditions(speed_ms, usual_stride_hz(values), np.nan, mass_kg, "running")
    return Motion(person, f"{person}/{recording}", SOURCE, values, known)


def _forces(
    archive: Archive, name: str, steps: Sequence[GroundStep], at_s: Floats
) -> dict[str, Floats]:
    """Read both feet's whole forces; a foot's columns are those that hold its first step."""
    table = read_table((name, archive.read(name)))
    prefixes = [n.removesuffix("_vy") for n in table.names if n.endswith("_vy")]
    curves: dict[str, Floats] = {}
    for side in SIDES:
        step = next((s for s in steps if s.side == side), None)
        if step is None:
            continue
        weight_n = step.mass_kg * STANDARD_GRAVITY_MS2
        start = round(step.start_s * step.rate_hz)
        rows = slice(start, start + len(step.force_bw))
        there_n = step.force_bw[:, 2] * weight_n
        apart = {p: np.abs(table.column(f"{p}_vy")[rows] - there_n).max() for p in prefixes}
        prefix = min(apart, key=apart.__getitem__)
        force_n = np.column_stack([table.column(f"{prefix}_v{axis}") for axis in "xyz"])
        force_bw = towards_outside(force_n, side) / weight_n
        thresholds = ON_N / weight_n, OFF_N / weight_n
        curves |= force_curves(side, forces_at(table.t_s, force_bw, at_s, *thresholds))
    return curves


def _named_speed(recording: str) -> float:
    said = _SPEED.search(recording)
    return int(said[1]) / 100.0 if said else np.nan


def speed_of(table: MotionTable, recording: str) -> float:
    """Return the speed of the pelvis over ground, or else of the belt that it stays above, m/s."""
    along_m = table.column("pelvis_tx")
    way_m = float(along_m[-1] - along_m[0])
    if abs(way_m) > _OVERGROUND_M:
        return way_m / float(table.t_s[-1] - table.t_s[0])
    if np.isfinite(_named_speed(recording)):
        return _named_speed(recording)
    height_m = float(np.median(table.column("pelvis_ty"))) / _PELVIS_HEIGHT
    origin_m = from_motion(table, "", "", height_m).origin_m
    ankles = [np.gradient(origin_m[f"calcn_{side}"][:, 0], table.t_s) for side in SIDES]
    return float(-np.percentile(np.concatenate(ankles), _FASTEST_BACK))
