"""A generative model judged on people it has not seen: one training per fold, then every question.

Folds are by person, over all data sets. Whatever moves at `SPEED_LEFT_OUT_MS` is left out of every training, so
that what the model says of that speed is no memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from talaria_bridge.errors import RecordingError
from talaria_edge.generate.motion import NUMBERS, Motion
from talaria_edge.generate.sampler import Sampling
from talaria_training.cache import cache_folder, source_digest
from talaria_training.engine import Engine, Store, run_jobs
from talaria_training.generate.batches import FitConfig, source_weights
from talaria_training.generate.denoiser import REFINER, DenoiserConfig
from talaria_training.generate.fit import fit, fit_refiner
from talaria_training.generate.gaps import GapRow, judge_gaps, long_enough
from talaria_training.generate.judge import FillRow, ForceFillRow, judge_fill, judge_forces
from talaria_training.generate.release import About, Forces, load_denoiser, release, seen_in
from talaria_training.generate.sources import people_by_source
from talaria_training.generate.speed import SpeedRow, judge_speed, runners
from talaria_training.generate.widening import intervals
from talaria_training.generate.windows import Windows, cut, folds

SPEED_LEFT_OUT_MS = 5.0
SPEEDS_MS = (3.0, SPEED_LEFT_OUT_MS)
"""From and to which runners are asked to go."""
_SPEED_APART_MS = 0.3
_FEWEST = 8  # windows of every motion, where it is long enough
SHARES = MappingProxyType({"CapSense": 0.55, "biomechZoo": 0.15, "OpenSim": 0.2, "BMC-RIC": 0.1})
"""How often each data set is drawn: most from whom everything was measured, least from single legs' cycles."""
NEVER_SEEN = (
    "patients (its stiff knees are healthy people's pretence), old age, crutches",
    "standing, starting, stopping, turning, stairs and slopes",
    f"any movement at {SPEED_LEFT_OUT_MS:g} m/s; forces of running but for a few seconds",
)
_CODE = tuple(
    f"talaria_training.generate.{name}"
    for name in ("batches", "denoiser", "fit", "masks", "windows")
)
_RELEASED_BY = (
    "talaria_training.generate.release",
    *(f"talaria_edge.generate.{name}" for name in ("contract", "forces", "graphs")),
)
_JUDGED_BY = (
    *(
        f"talaria_training.generate.{name}"
        for name in ("ask", "gaps", "judge", "scenarios", "simple_fill", "speed", "whatif")
    ),
    *(
        f"talaria_edge.generate.{name}"
        for name in ("forces", "generator", "rehearsal", "repair", "ridge", "sampler")
    ),
)
FORCE_STEPS = 4000
"""Optimiser steps of a network of forces: it is smaller than a denoiser, and has less to learn."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a study trains and asks."""

    folds: int = 4
    fit: FitConfig = field(default_factory=FitConfig)
    size: DenoiserConfig = field(default_factory=DenoiserConfig)
    refiner_steps: int = FORCE_STEPS  # of the network of forces; 0 for none
    most: int = 4  # windows judged of every recording
    steps: int = 20  # of denoising


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of all folds."""

    fills: list[FillRow]
    forces: list[ForceFillRow]
    speeds: list[SpeedRow]
    gaps: list[GapRow] = field(default_factory=list)


def windows_of(motions: Sequence[Motion]) -> Windows:
    """Cut motions into windows to learn from, and to judge by."""
    return cut(motions, least=_FEWEST)


def learnable(windows: Windows) -> Windows:
    """Leave out what moves at `SPEED_LEFT_OUT_MS`."""
    speed = windows.numbers[:, NUMBERS.index("speed_ms")]
    return windows.select(~(np.abs(speed - SPEED_LEFT_OUT_MS) < _SPEED_APART_MS))


def weights_of(windows: Windows, source_of: Mapping[str, str]) -> dict[str, float]:
    """Say how often each person is drawn: data sets by `SHARES`, people of one alike.

    Raises
    ------
    RecordingError
        If somebody is of another data set.
    """
    named = {}
    for person in dict.fromkeys(windows.person.tolist()):
        named[person] = next((n for n in SHARES if source_of[person].startswith(n)), "")
        if not named[person]:
            raise RecordingError(
                f"{person} is of {source_of[person]!r}, which has no share in training: give one of "
                f"{', '.join(SHARES)}."
            )
    return source_weights(named, SHARES)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """One model per fold: its folder, and the people that it has not seen.

    Attributes
    ----------
    windows : Windows
        Everybody's.
    unseen : mapping of folder to tuple of str
    key : str
        Digest of the windows, the settings and the code that trained.
    """

    windows: Windows
    unseen: Mapping[str, tuple[str, ...]]
    key: str

    def without(self, person: str) -> str:
        """Return the folder of the model that has not seen somebody."""
        return next(folder for folder, group in self.unseen.items() if person in group)


def train_folds(
    motions: Sequence[Motion],
    protocol: Protocol,
    engine: Engine,
    done: Callable[[str], object] = lambda name: None,
) -> Trained:
    """Train one model per fold; those that are finished are found in the cache, those that stopped go on.

    Raises
    ------
    TalariaError
        If a training failed.
    """
    windows = windows_of(motions)
    groups = folds(people_by_source(motions), protocol.folds)
    key = _key(windows, (protocol.fit, protocol.size, protocol.folds, dict(SHARES)), _CODE)
    source_of = {motion.person: motion.source for motion in motions}
    shared = {"windows": windows, "protocol": protocol, "source_of": source_of}
    jobs = {f"fold {k}": (train_fold, k, group, key) for k, group in enumerate(groups)}
    folders = run_jobs(jobs, Store.cached("generate", key), engine, shared, done)
    return Trained(windows, {folders[f"fold {k}"]: group for k, group in enumerate(groups)}, key)


def train_forces(
    motions: Sequence[Motion],
    trained: Trained,
    protocol: Protocol,
    engine: Engine,
    done: Callable[[str], object] = lambda name: None,
) -> Trained:
    """Train a network of forces beside each fold's model; see `train_folds`, whose folders stay as they are.

    Returns
    -------
    Trained
        With folders that hold both.

    Raises
    ------
    TalariaError
        If a training failed.
    """
    config = replace(protocol.fit, steps=protocol.refiner_steps)
    # A network's own training does not depend on the denoiser's; the folder that holds both does.
    kept = _key(trained.windows, (config, REFINER, protocol.folds, dict(SHARES)), _CODE)
    said = f"{trained.key}{kept}{source_digest(*_RELEASED_BY)}"
    key = hashlib.sha256(said.encode()).hexdigest()[:16]
    source_of = {motion.person: motion.source for motion in motions}
    shared = {"windows": trained.windows, "config": config, "source_of": source_of}
    cache = cache_folder("generate")
    jobs = {
        f"forces {k}": (
            train_force_fold,
            group,
            folder,
            str(cache / f"{kept}-forces-{k}.state"),
            str(cache / f"{key}-fold-{k}"),
        )
        for k, (folder, group) in enumerate(trained.unseen.items())
    }
    folders = run_jobs(jobs, Store.cached("generate", key), engine, shared, done)
    groups = trained.unseen.values()
    return Trained(trained.windows, dict(zip(folders.values(), groups, strict=True)), key)


def _key(windows: Windows, settings: tuple[Any, ...], code: Sequence[str]) -> str:
    """Digest windows, settings and the code that trains."""
    digest = hashlib.sha256(windows.values.tobytes() + windows.numbers.tobytes())
    digest.update(f"{settings!r}{source_digest(*code)}".encode())
    return digest.hexdigest()[:16]


def study(
    motions: Sequence[Motion],
    trained: Trained,
    protocol: Protocol,
    engine: Engine,
    done: Callable[[str], object] = lambda name: None,
) -> Found:
    """Judge each fold's model on the fold's people; what is judged already is not judged again.

    Raises
    ------
    TalariaError
        If a job failed.
    """
    jobs: dict[str, tuple[Any, ...]] = {}
    for folder, group in trained.unseen.items():
        fold = Path(folder).name
        if measured_all(trained.windows, group):
            jobs[f"fill {fold}"] = (fill_job, folder, group)
            jobs[f"forces {fold}"] = (force_job, folder, group)
        for person in long_measured(motions, group):
            theirs = [motion for motion in motions if motion.person == person]
            jobs[f"gaps {fold} {person}"] = (gap_job, folder, group, theirs)
        for person in runners(trained.windows, SPEEDS_MS):
            jobs[f"speed {fold} {person}"] = (speed_job, folder, person)
    said = f"{trained.key}{protocol.most}{protocol.steps}{source_digest(*_JUDGED_BY)}"
    store = Store.cached("generate", hashlib.sha256(said.encode()).hexdigest()[:16])
    shared = {"windows": trained.windows, "protocol": protocol}
    results = run_jobs(jobs, store, engine, shared, done)

    def rows(kind: str) -> list[dict[str, Any]]:
        return [row for name in jobs if name.startswith(kind) for row in results[name]]

    return Found(
        [FillRow(**row) for row in rows("fill")],
        [ForceFillRow(**row) for row in rows("forces")],
        [SpeedRow(**row) for row in rows("speed")],
        [GapRow(**row) for row in rows("gaps")],
    )


def long_measured(motions: Sequence[Motion], group: Sequence[str]) -> list[str]:
    """Keep the people who have a recording in which a gap can be made."""
    able = {motion.person for motion in motions if long_enough(motion)}
    return [person for person in group if person in able]


def measured_all(windows: Windows, group: Sequence[str]) -> list[str]:
    """Keep the people of whom all angles of both legs were measured at least in one window."""
    whole = np.isfinite(windows.values[:, :, :10]).all(axis=(1, 2))
    return [person for person in group if (whole & (windows.person == person)).any()]


def train_fold(
    number: int,
    group: Sequence[str],
    key: str,
    *,
    windows: Windows,
    protocol: Protocol,
    source_of: Mapping[str, str],
) -> str:
    """Train on everybody else and release the model into the cache; returns its folder."""
    others = learnable(windows.without(group))
    folder = cache_folder("generate") / f"{key}-fold-{number}"
    state = folder.with_suffix(".state")
    net, scale = fit(others, protocol.fit, protocol.size, state, weights_of(others, source_of))
    release(net, scale, _about(folder, others), folder)
    return str(folder)


def train_force_fold(
    group: Sequence[str],
    denoiser: str,
    state: str,
    both: str,
    *,
    windows: Windows,
    config: FitConfig,
    source_of: Mapping[str, str],
) -> str:
    """Train a network of forces on everybody else and release it with a fold's denoiser; returns the folder."""
    others = learnable(windows.without(group))
    weights = weights_of(others, source_of)
    forces = Forces(*fit_refiner(others, config, checkpoint=Path(state), weights=weights))
    net, spec = load_denoiser(Path(denoiser))
    release(net, spec.scale, _about(Path(both), others), Path(both), forces)
    return both


def _about(folder: Path, others: Windows) -> About:
    people = tuple(dict.fromkeys(others.person.tolist()))
    return About(folder.name, "a fold of a study", people, NEVER_SEEN, seen=seen_in(others))


def fill_job(
    folder: str, group: Sequence[str], *, windows: Windows, protocol: Protocol
) -> list[FillRow]:
    """Judge what the missing joints of a fold's people are filled with."""
    people, seen = _asked(windows, group)
    return judge_fill(Path(folder), people, protocol.most, windows=seen, steps=protocol.steps)


def force_job(
    folder: str, group: Sequence[str], *, windows: Windows, protocol: Protocol
) -> list[ForceFillRow]:
    """Judge the forces that the movements of a fold's people are given."""
    people, seen = _asked(windows, group)
    return judge_forces(Path(folder), people, protocol.most, windows=seen, steps=protocol.steps)


def gap_job(
    folder: str,
    group: Sequence[str],
    theirs: Sequence[Motion],
    *,
    windows: Windows,
    protocol: Protocol,
) -> list[GapRow]:
    """Judge what gaps in one person's recordings are filled with."""
    person = theirs[0].person
    seen = windows.without([who for who in group if who != person])
    return judge_gaps(Path(folder), theirs, seen, protocol.steps)


def speed_job(folder: str, person: str, *, windows: Windows, protocol: Protocol) -> list[SpeedRow]:
    """Judge what a runner's forces would be at the speed that was left out."""
    sampling = Sampling(protocol.steps)
    return judge_speed(Path(folder), person, SPEEDS_MS, windows=windows, sampling=sampling)


def _asked(windows: Windows, group: Sequence[str]) -> tuple[list[str], Windows]:
    """Say who of a fold is asked about, and leave the fold's others out: nobody learns from them."""
    people = measured_all(windows, group)
    return people, windows.without([who for who in group if who not in people])


def document(found: Found, protocol: Protocol, source_of: Mapping[str, str]) -> dict[str, Any]:
    """Put a study together as JSON says it; means are over people, each alike, apart by data set.

    Parameters
    ----------
    found : Found
    protocol : Protocol
    source_of : mapping of person to data set
    """
    fills = [asdict(row) | {"source": source_of[row.person]} for row in found.fills]
    forces = [asdict(row) | {"source": source_of[row.person]} for row in found.forces]
    gaps = [asdict(row) | {"source": source_of[row.person]} for row in found.gaps]
    return {
        "protocol": asdict(protocol),
        "sources": {row["person"]: row["source"] for row in (*fills, *forces, *gaps)},
        "fills": _means(
            fills, ("source", "missing", "channel", "approach"), ("rmse", "offset_free", "held")
        ),
        "forces": _means(
            forces, ("source", "missing", "approach", "axis"), ("mae_bw_pct", "peak_bw_pct")
        ),
        "intervals": [_plain(row) for row in intervals(found.fills, found.forces)],
        "speeds": [_plain(asdict(row)) for row in found.speeds],
        "gaps": _means(gaps, ("source", "missing", "channel", "approach"), ("rmse_deg", "held")),
        "rows": {
            "fills": [_plain(asdict(row)) for row in found.fills],
            "forces": [_plain(asdict(row)) for row in found.forces],
            "gaps": [_plain(asdict(row)) for row in found.gaps],
        },
    }


def _means(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str], numbers: Sequence[str]
) -> list[dict[str, Any]]:
    table = []
    for at in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        mine = [row for row in rows if tuple(row[key] for key in keys) == at]
        people = sorted({row["person"] for row in mine})
        entry: dict[str, Any] = dict(zip(keys, at, strict=True)) | {"people": len(people)}
        for what in numbers:
            each = [np.mean([r[what] for r in mine if r["person"] == p]) for p in people]
            known = np.array(each)[np.isfinite(each)]
            entry[what] = round(float(known.mean()), 4) if len(known) else None
            entry[f"{what}_sd"] = round(float(known.std(ddof=1)), 4) if len(known) > 1 else None
        table.append(entry)
    return table


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON can say it: four decimals, None for what there was nothing to make of."""
    return {
        name: (round(value, 4) if np.isfinite(value) else None)
        if isinstance(value, float)
        else value
        for name, value in row.items()
        if name != "scores"  # long, and said in few numbers under ``intervals``
    }
