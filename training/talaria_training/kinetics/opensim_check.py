"""Our planar joint moments beside those of OpenSim's own inverse dynamics, on runs that have a model.

OpenSim moves its three-dimensional, scaled model (every segment with that model's own mass) through a
``NAME_ik.mot`` under the forces of ``NAME_grf.mot``. We are given where that model's joints then are,
look at their sagittal plane and know the person's mass alone. Needs pyopensim (extra ``opensim``).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_edge.tables.motion import MotionTable, read_table
from talaria_training.kinetics.dynamics import JOINTS, Ground, Leg, joint_loads
from talaria_training.kinetics.segments import BALL_AHEAD
from talaria_training.strides.archive import Archive, open_archive

Floats = NDArray[np.float64]

CUTOFF_HZ = 15.0
"""Both smooth the movement below this: running holds little above it."""
_EDGE_S = 0.15
_BODIES = ("femur", "tibia", "talus", "calcn", "toes")
_LOAD = """<ExternalForce name="{foot}"><applied_to_body>{foot}</applied_to_body>
<force_expressed_in_body>ground</force_expressed_in_body>
<point_expressed_in_body>ground</point_expressed_in_body>
<force_identifier>{prefix}_v</force_identifier><point_identifier>{prefix}_p</point_identifier>
<torque_identifier>{prefix}_m</torque_identifier></ExternalForce>"""
_LOADS = """<?xml version="1.0" encoding="UTF-8"?><OpenSimDocument Version="40000"><ExternalLoads name="loads">
<objects>{loads}</objects><datafile>{file}</datafile></ExternalLoads></OpenSimDocument>"""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One joint of one leg in one run: moments per kg of body mass, over the whole run.

    Attributes
    ----------
    run, joint : str
        As in ``run200`` and ``hip_flexion_r``.
    rms_nm_kg, r : float
        Of ours against OpenSim's.
    largest_nm_kg : float
        The largest moment OpenSim finds, without its sign.
    peak_off_nm_kg : float
        By how much our largest is larger.
    """

    run: str
    joint: str
    rms_nm_kg: float
    r: float
    largest_nm_kg: float
    peak_off_nm_kg: float


def check_dynamics(path: Path, note: Callable[[str], None] = print) -> list[Agreement]:
    """Compare every run under `path` that has a model, a movement and forces.

    Parameters
    ----------
    path : Path
        A folder or a zip with folders that hold ``*.osim``, ``NAME_ik.mot`` and ``NAME_grf.mot``.
    note : callable
        Told of every run that was left out, and why.

    Raises
    ------
    ConfigError
        If pyopensim is not installed.
    RecordingError
        If there is no such run.
    """
    osim = _pyopensim()
    found: list[Agreement] = []
    with open_archive(path) as archive, tempfile.TemporaryDirectory() as scratch:
        for run, files in _runs(archive):
            folder = Path(scratch) / run.replace("/", "_")
            folder.mkdir()
            for kind, name in files.items():
                (folder / kind).write_bytes(archive.read(name))
            try:
                with _quiet():
                    found += _compare(osim, run.rsplit("/", 1)[-1], folder)
            except RecordingError as error:
                note(f"{run} is left out: {error}")
    if not found:
        raise RecordingError(
            f"{path} holds no run with a model (*.osim) beside NAME_ik.mot and NAME_grf.mot that could be "
            "compared: give such a folder or zip."
        )
    return found


def _pyopensim() -> Any:
    try:
        import pyopensim  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  optional
        from pyopensim import common, tools  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"Comparing with OpenSim needs pyopensim, which cannot be loaded ({error}): pip install "
            "'talaria[opensim]', and the system's libopenblas0."
        ) from None
    common.Logger.setLevelString("Off")
    common.Logger.removeFileSink()
    return {"model": pyopensim.Model, "tool": tools.InverseDynamicsTool, "names": common.ArrayStr}


@contextmanager
def _quiet() -> Iterator[None]:
    """Send what OpenSim prints from inside to nowhere."""
    sys.stdout.flush()
    kept = os.dup(1)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def _runs(archive: Archive) -> Iterator[tuple[str, dict[str, str]]]:
    for name in archive.names:
        if not name.endswith("_ik.mot"):
            continue
        run, folder = name.removesuffix("_ik.mot"), name.rpartition("/")[0]
        models = [
            n for n in archive.names if n.endswith(".osim") and n.rpartition("/")[0] == folder
        ]
        if models and f"{run}_grf.mot" in archive.names:
            yield run, {"ik.mot": name, "grf.mot": f"{run}_grf.mot", "model.osim": models[0]}


def _compare(osim: Mapping[str, Any], run: str, folder: Path) -> list[Agreement]:
    movement, forces = (read_table(folder / kind) for kind in ("ik.mot", "grf.mot"))
    model = osim["model"](str(folder / "model.osim"))
    state = model.initSystem()
    mass_kg = float(model.getTotalMass(state))
    places = _places(model, state, movement)
    plates = _plates(forces, movement.t_s, places)
    tool, muscles = osim["tool"](), osim["names"]()
    muscles.append("Muscles")  # a relaxed muscle's own pull is not part of the net moment
    tool.setExcludedForces(muscles)
    tool.setModel(model)
    theirs = _moments(tool, folder, plates, movement)
    rate_hz = (len(movement.t_s) - 1) / float(movement.t_s[-1] - movement.t_s[0])
    inside = slice(round(_EDGE_S * rate_hz), -round(_EDGE_S * rate_hz))
    found = []
    for side in "rl":
        leg = _leg(places, side, rate_hz).smoothed(CUTOFF_HZ)
        ground = _ground(forces, plates[side], movement.t_s)
        ours = joint_loads(leg, ground, mass_kg).moment_nm / mass_kg
        for column, joint in enumerate(JOINTS):
            name = f"{joint}_{side}"
            # Models of the gait2392 family count knee extension as positive.
            extends = joint == "knee_angle" and np.median(movement.column(name)) < 0.0
            other = theirs.column(f"{name}_moment") / mass_kg * (-1.0 if extends else 1.0)
            found.append(_agreement(run, name, ours[inside, column], other[inside]))
    return found


def _agreement(run: str, joint: str, ours: Floats, theirs: Floats) -> Agreement:
    largest = float(np.abs(theirs).max())
    return Agreement(
        run,
        joint,
        float(np.sqrt(np.mean((ours - theirs) ** 2))),
        float(np.corrcoef(ours, theirs)[0, 1]),
        largest,
        float(np.abs(ours).max()) - largest,
    )


def _places(model: Any, state: Any, movement: MotionTable) -> dict[str, Floats]:
    """Return where each leg body's own origin is, (T, 3): its proximal joint, or the heel."""
    coordinates = model.getCoordinateSet()
    known = [n for n in movement.names if coordinates.contains(n)]
    values = np.column_stack([movement.column(n) for n in known])
    names = [f"{body}_{side}" for body in _BODIES for side in "rl"]
    bodies = {name: model.getBodySet().get(name) for name in names}
    at: dict[str, list[list[float]]] = {name: [] for name in names}
    for row in values:
        for name, value in zip(known, row.tolist(), strict=True):
            coordinates.get(name).setValue(state, value, False)
        model.realizePosition(state)
        for name, body in bodies.items():
            place = body.getPositionInGround(state)
            at[name].append([place.get(axis) for axis in range(3)])
    return {name: np.array(rows) for name, rows in at.items()}


def _leg(places: Mapping[str, Floats], side: str, rate_hz: float) -> Leg:
    hip, knee, ankle, heel, ball = (places[f"{body}_{side}"][:, :2] for body in _BODIES)
    return Leg(rate_hz, hip, knee, ankle, heel, heel + (ball - heel) / BALL_AHEAD)


def _plates(forces: MotionTable, t_s: Floats, places: Mapping[str, Floats]) -> dict[str, str]:
    """Return the prefix of the force that acts nearest to each foot."""
    prefixes = sorted({n.removesuffix("_vy") for n in forces.names if n.endswith("_vy")})
    feet = {}
    for side in "rl":
        apart = {}
        for prefix in prefixes:
            ground = _ground(forces, prefix, t_s)
            loaded = ground.force_n[:, 1] > 0.5 * ground.force_n[:, 1].max()
            away = ground.centre_m[loaded] - places[f"calcn_{side}"][loaded, :2]
            apart[prefix] = float(np.median(np.linalg.norm(away, axis=1)))
        feet[side] = min(apart, key=apart.__getitem__)
    if feet["r"] == feet["l"]:
        raise RecordingError(
            f"both feet stand nearest to {feet['r']} in {forces.name}: give a file with one force per foot."
        )
    return feet


def _ground(forces: MotionTable, prefix: str, t_s: Floats) -> Ground:
    at = [f"{prefix}_{what}{axis}" for what in "vp" for axis in "xy"]
    columns = [np.interp(t_s, forces.t_s, forces.column(n)) for n in at]
    return Ground(np.column_stack(columns[:2]), np.column_stack(columns[2:]))


def _moments(
    tool: Any, folder: Path, plates: Mapping[str, str], movement: MotionTable
) -> MotionTable:
    loads = [_LOAD.format(foot=f"calcn_{side}", prefix=plates[side]) for side in "rl"]
    xml = folder / "loads.xml"
    xml.write_text(_LOADS.format(loads="".join(loads), file=folder / "grf.mot"), encoding="utf-8")
    tool.setCoordinatesFileName(str(folder / "ik.mot"))
    tool.setExternalLoadsFileName(str(xml))
    tool.setLowpassCutoffFrequency(CUTOFF_HZ)
    tool.setStartTime(float(movement.t_s[0]))
    tool.setEndTime(float(movement.t_s[-1]))
    tool.setResultsDir(str(folder))
    tool.setOutputGenForceFileName("moments.sto")
    if not tool.run():
        raise RecordingError(f"OpenSim's inverse dynamics gave up on {movement.name}.")
    return read_table(folder / "moments.sto")
