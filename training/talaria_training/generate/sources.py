"""Every data set that a generative model of gait learns from, as motions.

Data sets differ in more than their people, and no correction is hidden here: CapSense's and biomechZoo's angles
are zero in quiet standing, those of OpenSim's models in the model's own zero, BMC-RIC's in its laboratory's;
CapSense's angles come from inertial sensors, all others from cameras; CapSense's velocity is that of the
centre of mass, all others' that of the pelvis. `Motion.source` says which is which.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

import numpy as np

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_edge.generate.motion import Conditions, Motion, check_values
from talaria_training.cache import cache_folder, source_digest
from talaria_training.generate.sources_c3d import read_c3d
from talaria_training.generate.sources_capsense import read_capsense
from talaria_training.generate.sources_cycles import read_cycles
from talaria_training.generate.sources_opensim import read_opensim

Note = Callable[[str], None]
Reader = Callable[[Path, Note], list[Motion]]

SETS: Mapping[str, Reader] = MappingProxyType(
    {
        "capsense": read_capsense,
        "biomechzoo_c3d": read_c3d,
        "opensim_running": read_opensim,
        "bmc_ric_running": read_cycles,
    }
)
"""Data sets by the name of their folder or zip, and what reads them."""
_CODE = (
    *(f"talaria_training.generate.{part}" for part in (
        "windows", "sources", "sources_curves", "sources_capsense", "sources_c3d", "sources_opensim",
        "sources_cycles",
    )),
    *(f"talaria_training.data.{part}" for part in ("c3d", "capsense", "opensim")),
    *(f"talaria_training.kinetics.{part}" for part in (
        "targets", "plate_lags", "overground", "stances",
    )),
    "talaria_training.strides.running", "reference", "trials", "virtual",
    "talaria_edge.kinematics", "talaria_edge.calibration", "talaria_edge.generate.motion",
)  # fmt: skip


def read_motions(data: Path, note: Note) -> list[Motion]:
    """Read every known data set in a folder; each is kept ready in the cache.

    Parameters
    ----------
    data : Path
        Holds some of `SETS`, each as a folder or as a zip of that name.
    note : callable
        Told of each data set that is not there, and of each recording that was left out, and why.

    Raises
    ------
    RecordingError
        If no data set gives a motion.
    """
    found: list[Motion] = []
    for name, reader in SETS.items():
        path = next((p for p in (data / name, data / f"{name}.zip") if p.exists()), None)
        if path is None:
            note(f"{data} has no {name}: it is left out.")
            continue
        try:
            motions, notes = _cached(name, path, reader)
        except (RecordingError, ConfigError) as error:
            note(f"{name} is left out: {error}")
            continue
        for said in notes:
            note(said)
        found += motions
    if not found:
        raise RecordingError(
            f"{data} holds no gait to learn from: give the folder that holds {', '.join(SETS)}, each as a "
            "folder or a zip."
        )
    return found


def people_by_source(motions: Sequence[Motion]) -> dict[str, set[str]]:
    """Return who is in which data set, as `talaria_training.generate.windows.folds` takes it."""
    people: dict[str, set[str]] = defaultdict(set)
    for motion in motions:
        people[motion.source].add(motion.person)
    return dict(people)


def _cached(name: str, path: Path, reader: Reader) -> tuple[list[Motion], list[str]]:
    file = cache_folder("generate") / f"{name}-{_key(path)}.npz"
    if file.exists():
        return _load(file)
    notes: list[str] = []
    motions = reader(path, notes.append)
    for motion in motions:
        check_values(motion.values, motion.name)
    _save(file, motions, notes)
    return motions, notes


def _key(path: Path) -> str:
    """Digest the code and the names and sizes of the files."""
    digest = hashlib.sha256(source_digest(*_CODE).encode())
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        digest.update(f"{file.relative_to(path.parent)} {file.stat().st_size}\n".encode())
    return digest.hexdigest()[:24]


def _save(file: Path, motions: Sequence[Motion], notes: Sequence[str]) -> None:
    facts = [
        {"person": m.person, "name": m.name, "source": m.source, "conditions": asdict(m.conditions)}
        for m in motions
    ]
    about = json.dumps({"motions": facts, "notes": list(notes)})
    scratch = file.with_suffix(f".{os.getpid()}.npz")
    arrays = {f"x{i}": motion.values for i, motion in enumerate(motions)}
    np.savez(scratch, about=np.array(about), allow_pickle=False, **arrays)
    scratch.replace(file)


def _load(file: Path) -> tuple[list[Motion], list[str]]:
    with np.load(file) as stored:
        about = json.loads(str(stored["about"]))
        motions = [
            Motion(
                **{**facts, "conditions": Conditions(**facts["conditions"])}, values=stored[f"x{i}"]
            )
            for i, facts in enumerate(about["motions"])
        ]
    return motions, about["notes"]
