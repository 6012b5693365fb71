"""Single steps on force plates: walks as C3D files, and runs as OpenSim's tables.

In a C3D file the laboratory's own model (Plug-in Gait) gives a foot a force only while that foot alone stands
on one plate, so steps that share a plate or miss it are not there; those whose force starts or ends
above a quarter of the body weight are cut, and left out. In ``.mot`` files every force has its
foot: the one whose heel marker is nearest to where it pushes. Forward is the way the pelvis goes during
the step in a C3D file, and x, as OpenSim has it, in a ``.mot``.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_edge.tables.motion import MotionTable, read_table
from talaria_training.data.c3d import open_c3d
from talaria_training.data.opensim import TrcTable, read_trc
from talaria_training.data.plates import SIDES
from talaria_training.data.recording import Side
from talaria_training.kinetics.stances import runs_of, whole_stances
from talaria_training.kinetics.targets import towards_outside
from talaria_training.strides.archive import Archive, open_archive

Floats = NDArray[np.float64]

_SHORTEST_S = 0.3
_CUT_BW = 0.25
_HEELS = {"r": "RCAL", "l": "LCAL"}


@dataclass(frozen=True, slots=True, eq=False)
class GroundStep:
    """One whole step of one foot on the ground.

    Attributes
    ----------
    person, recording, condition : str
    side : {"r", "l"}
    rate_hz, mass_kg : float
    start_s : float
        Since the file's first row.
    force_bw : ndarray, shape (T, 3)
        `talaria_training.kinetics.targets.FORCE_AXES`, in body weights.
    """

    person: str
    recording: str
    condition: str
    side: Side
    rate_hz: float
    mass_kg: float
    start_s: float
    force_bw: Floats


def read_steps(path: Path, note: Callable[[str], None] = print) -> list[GroundStep]:
    """Read every step under `path`, of C3D files and of ``.mot`` forces with ``.trc`` markers beside them.

    Parameters
    ----------
    path : Path
        A folder or a zip. ``NAME_grf.mot`` goes with ``NAME.trc``, ``grf.mot`` with ``markers.trc``.
    note : callable
        Told of every file that was left out, and why.

    Raises
    ------
    RecordingError
        If there is no step.
    ConfigError
        If there is a C3D file, and ezc3d is not installed.
    """
    found: list[GroundStep] = []
    seen: set[str] = set()
    with open_archive(path) as archive:
        # Of two copies of one file the deeper one knows its condition.
        for name in sorted(archive.names, key=lambda name: (-name.count("/"), name)):
            try:
                if name.casefold().endswith(".c3d"):
                    content = archive.read(name)
                    if (known := hashlib.sha256(content).hexdigest()) not in seen:
                        found += _walked(name, content)
                    seen.add(known)
                elif name.endswith("grf.mot"):
                    found += _run(archive, name)
            except RecordingError as error:
                note(str(error))
    if not found:
        raise RecordingError(
            f"{path} holds no step on a force plate: give C3D files with a model's forces, or *_grf.mot with "
            "the markers' .trc beside it."
        )
    return found


def _walked(name: str, content: bytes) -> Iterator[GroundStep]:
    with tempfile.NamedTemporaryFile(suffix=".c3d") as file:  # ezc3d reads files only
        file.write(content)
        file.flush()
        opened = open_c3d(Path(file.name), name)
    point = opened["parameters"]["POINT"]
    labels = list(point["LABELS"]["value"])
    mass_kg = _mass_kg(name, opened["parameters"])
    rate_hz = float(point["RATE"]["value"][0])
    pelvis = _rows(name, opened, labels, "PELO")
    person, condition = _who(name, opened["parameters"])
    for side in SIDES:
        label = f"{side.upper()}GroundReactionForce"
        if label not in labels:
            continue
        force = _rows(name, opened, labels, label)
        for run in runs_of(np.asarray(np.isfinite(force).all(axis=1))):
            step = _along(force[run], pelvis[run]) / STANDARD_GRAVITY_MS2  # of N/kg
            if _is_whole(step[:, 1], rate_hz):
                yield GroundStep(
                    person,
                    Path(name).stem,
                    condition,
                    side,
                    rate_hz,
                    mass_kg,
                    run.start / rate_hz,
                    towards_outside(step, side),
                )


def _who(name: str, parameters: Any) -> tuple[str, str]:
    """Person and condition: the subject that the file names, and the folder it lies in."""
    *folders, file = name.split("/")
    said = parameters.get("SUBJECTS", {}).get("NAMES", {}).get("value", [])
    person = next(filter(None, (str(s).strip() for s in said)), Path(file).stem)
    return person, folders[-1].casefold() if folders else ""


def _rows(name: str, opened: Any, labels: Sequence[str], label: str) -> Floats:
    if label not in labels:
        raise RecordingError(
            f"{name} has no {label}: run the laboratory's model (Plug-in Gait) before exporting it."
        )
    return np.asarray(opened["data"]["points"][:3, labels.index(label)].T, np.float64)


def _mass_kg(name: str, parameters: Any) -> float:
    try:
        mass_kg = float(parameters["PROCESSING"]["Bodymass"]["value"][0])
    except (KeyError, IndexError):
        raise RecordingError(
            f"{name} does not say how heavy the person is: fill in Bodymass before exporting it."
        ) from None
    return mass_kg


def _along(force: Floats, pelvis: Floats) -> Floats:
    """Turn a laboratory's force, z up, (T, 3), to forward, up, right of where the pelvis goes."""
    way = pelvis[-1, :2] - pelvis[0, :2]
    x, y = way / np.linalg.norm(way)
    east, north, up = force.T
    return np.column_stack([x * east + y * north, up, y * east - x * north])


def _is_whole(vertical_bw: Floats, rate_hz: float) -> bool:
    long_enough = len(vertical_bw) >= _SHORTEST_S * rate_hz
    return bool(long_enough and max(vertical_bw[0], vertical_bw[-1]) < _CUT_BW)


def _run(archive: Archive, name: str) -> Iterator[GroundStep]:
    markers = name.removesuffix("_grf.mot") + ".trc"
    if name.rpartition("/")[2] == "grf.mot":
        markers = name.removesuffix("grf.mot") + "markers.trc"
    if markers not in archive.names:
        raise RecordingError(f"{name} has no {markers} beside it, so whose force it is is unknown.")
    table = read_table((name, archive.read(name)))
    trc = read_trc((markers, archive.read(markers)))
    rate_hz = (len(table.t_s) - 1) / float(table.t_s[-1] - table.t_s[0])
    feet = _feet(table, trc)
    total_n = sum((table.column(f"{p}_vy") for p in feet.values()), np.zeros(len(table.t_s)))
    mass_kg = _weighed_kg(name, table, feet, total_n)
    *_, folder, recording = (
        "",
        *markers.removesuffix("/markers.trc").removesuffix(".trc").split("/"),
    )
    for side, prefix in feet.items():
        force_n = np.column_stack([table.column(f"{prefix}_v{axis}") for axis in "xyz"])
        force_bw = towards_outside(force_n, side) / (mass_kg * STANDARD_GRAVITY_MS2)
        for run in whole_stances(force_bw, rate_hz, mass_kg):
            yield GroundStep(
                folder if folder != "trials" else markers.split("/")[-4],
                recording,
                "run",
                side,
                rate_hz,
                mass_kg,
                float(table.t_s[run.start] - table.t_s[0]),
                force_bw[run],
            )


def _feet(table: MotionTable, trc: TrcTable) -> dict[Side, str]:
    """Return the prefix of each foot's columns."""
    scale = {"mm": 1e-3, "m": 1.0}.get(trc.units, 1.0)
    prefixes = [n.removesuffix("_vy") for n in table.names if n.endswith("_vy")]
    found: dict[Side, str] = {}
    for side in SIDES:
        heel = scale * trc.vector(_HEELS[side])
        apart = {}
        for prefix in prefixes:
            up = table.column(f"{prefix}_vy")
            loaded = up > 0.5 * up.max()
            at = np.column_stack([table.column(f"{prefix}_p{axis}")[loaded] for axis in "xz"])
            near = np.column_stack(
                [np.interp(table.t_s[loaded], trc.t_s, heel[:, axis]) for axis in (0, 2)]
            )
            apart[prefix] = float(np.median(np.linalg.norm(at - near, axis=1)))
        found[side] = min(apart, key=apart.__getitem__)
    if found["r"] == found["l"]:
        raise RecordingError(
            f"Both heels are nearest to {found['r']} in {table.name}: give a file with one force per foot."
        )
    return found


def _weighed_kg(name: str, table: MotionTable, feet: dict[Side, str], total_n: Floats) -> float:
    """Return the mass from the mean force over whole strides: a run on the spot neither rises nor sinks."""
    up = table.column(f"{feet['r']}_vy")
    landings = [run.start for run in runs_of(np.asarray(up > 0.05 * up.max()))]
    landings = [at for at in landings if at > 0]
    if len(landings) < 2:
        raise RecordingError(f"{name} holds no whole stride of the right foot: give a longer one.")
    return float(total_n[landings[0] : landings[-1]].mean()) / STANDARD_GRAVITY_MS2
