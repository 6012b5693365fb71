"""How good it is on people it never saw: protocols, rows and their summary.

Every approach is tested on the last 60 % of every recording. Personal approaches see the first 20 % of
each; the fifth in between is left empty so that no window spans both. Input calibration uses the first
20 % too.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import ANGLES, SAGITTAL
from talaria_edge.spec import HeldOut
from talaria_training.cache import cache_folder, source_digest
from talaria_training.networks import GaitNet
from talaria_training.optical import RECORDING as OPTICAL_RECORDING
from talaria_training.optical import Optical
from talaria_training.train import (
    FINETUNE,
    MULTI_USER,
    SINGLE_USER,
    Progress,
    TrainConfig,
    finetune,
    predict,
    train,
)
from talaria_training.trials import Trial

TUNE_PART = (0.0, 0.2)
TEST_PART = (0.4, 1.0)
_CURVE_POINTS = 101
_FOOT_MOVING_RADS = 1.0

Angles = NDArray[np.float32]
Pair = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """One number triple: an approach, a reference, a person, a joint. Degrees; r is None if undefined.

    `rmse_deg` and `rmse_offset_removed_deg` pool the squares of all the person's test samples, the offset
    removed per recording; `r` is Pearson's, averaged over recordings.
    """

    approach: str
    reference: str
    person: str
    joint: str
    rmse_deg: float
    rmse_offset_removed_deg: float
    r: float | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """The three training runs of a fold."""

    base: TrainConfig = MULTI_USER
    finetune: TrainConfig = FINETUNE
    single: TrainConfig = SINGLE_USER

    @classmethod
    def quick(cls, steps: int) -> Recipe:
        """Cut the same runs to a few steps each: for a look at the plumbing, not at the numbers."""
        return cls(*(replace(c, steps=steps) for c in (MULTI_USER, FINETUNE, SINGLE_USER)))


def score(approach: str, reference: str, person: str, pairs: Sequence[Pair]) -> list[Row]:
    """Score predictions against a reference.

    Parameters
    ----------
    approach, reference, person : str
    pairs : sequence of (predicted, true), each ndarray of shape (T, len(ANGLES)), rad
        One per recording; NaN in the reference is left out.

    Returns
    -------
    list of Row
        One per angle that has a reference.
    """
    rows = []
    for j, joint in enumerate(ANGLES):
        errors, residuals, correlations = [], [], []
        for predicted, true in pairs:
            known = np.isfinite(true[:, j])
            if known.sum() < 2:
                continue
            p, t = np.degrees(predicted[known, j]), np.degrees(true[known, j])
            errors.append(p - t)
            residuals.append(p - t - np.mean(p - t))
            if np.ptp(p) > 0 and np.ptp(t) > 0:  # a constant has no correlation
                correlations.append(float(np.corrcoef(p, t)[0, 1]))
        if errors:
            rmse, rmse_free = (
                float(np.sqrt(np.mean(np.concatenate(e) ** 2))) for e in (errors, residuals)
            )
            r = float(np.mean(correlations)) if correlations else None
            rows.append(Row(approach, reference, person, joint, rmse, rmse_free, r))
    return rows


def summarise(rows: Iterable[Row]) -> dict[str, Any]:
    """Mean ± SD over people, per approach and reference: each joint, and the six sagittal angles' mean."""
    table: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        table.setdefault(f"{row.approach}/{row.reference}", {}).setdefault(row.person, []).append(
            row
        )
    summary: dict[str, Any] = {}
    for key, people in table.items():
        entry: dict[str, Any] = {"people": len(people), "joints": {}}
        for joint in ANGLES:
            entry["joints"][joint] = _spread(people, (joint,))
        entry["sagittal_mean"] = _spread(people, SAGITTAL)
        summary[key] = entry
    return summary


def _spread(people: Mapping[str, list[Row]], joints: Sequence[str]) -> dict[str, float | None]:
    entry: dict[str, float | None] = {}
    for field in ("rmse_deg", "rmse_offset_removed_deg", "r"):
        per_person = []
        for rows in people.values():
            values = [getattr(row, field) for row in rows if row.joint in joints]
            values = [value for value in values if value is not None]
            if values:
                per_person.append(float(np.mean(values)))
        entry[f"{field}_mean"] = float(np.mean(per_person)) if per_person else None
        entry[f"{field}_sd"] = float(np.std(per_person, ddof=1)) if len(per_person) > 1 else None
    return entry


def personal_rows(
    base: GaitNet, trials: Sequence[Trial], recipe: Recipe, optical: Optical | None = None
) -> list[Row]:
    """Score one unseen person: the base as it is, fine-tuned, single-user, and the person's mean angle."""
    person = trials[0].person
    first = [trial.part(*TUNE_PART) for trial in trials]
    nets = {
        "multi_user": base,
        "fine_tuned": finetune(base, first, recipe.finetune),
        "single_user": train(first, recipe.single),
    }
    rows: list[Row] = []
    for approach, net in nets.items():
        outputs = [predict(net, trial.features) for trial in trials]
        rows += _test_rows(approach, person, trials, outputs, optical)
    mean = np.nanmean(np.concatenate([trial.angles_rad for trial in first]), axis=0)
    outputs = [np.broadcast_to(mean, trial.angles_rad.shape) for trial in trials]
    return rows + _test_rows("person_mean", person, trials, outputs, optical)


def held_out_net(
    trials: Sequence[Trial],
    left_out: Sequence[str],
    config: TrainConfig,
    progress: Progress | None = None,
) -> GaitNet:
    """Train on everybody but some people, or find the network that was trained so before."""
    others = [trial for trial in trials if trial.person not in left_out]
    key = _run_key(others, repr(config), "networks", "train")
    file = cache_folder("nets") / f"{key}.safetensors"
    if not file.exists():
        net = train(others, config, progress)
        scratch = file.with_suffix(f".{os.getpid()}")
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, scratch)
        scratch.replace(file)
    net = GaitNet(others[0].features.shape[1], config.hidden, config.layers, config.dropout)
    net.load_state_dict(load_file(file))
    return net.eval()


def fold(
    person: str, trials: Sequence[Trial], recipe: Recipe, optical: Optical | None = None
) -> list[Row]:
    """Hold one person out: train on all others, then score every approach on that person."""
    others = [trial for trial in trials if trial.person != person]
    mine = [trial for trial in trials if trial.person == person]
    rows = personal_rows(held_out_net(trials, (person,), recipe.base), mine, recipe, optical)
    curve = mean_curve(others)
    outputs = [curve_at(curve, trial.features) for trial in mine]
    return rows + _test_rows("train_mean", person, mine, outputs, optical)


def _test_rows(
    approach: str,
    person: str,
    trials: Sequence[Trial],
    outputs: Sequence[NDArray[Any]],
    optical: Optical | None,
) -> list[Row]:
    pairs: list[Pair] = []
    seen: list[Pair] = []
    for trial, output in zip(trials, outputs, strict=True):
        cut = slice(*(round(edge * len(output)) for edge in TEST_PART))
        pairs.append((output[cut], trial.angles_rad[cut]))
        if optical is not None and trial.name == OPTICAL_RECORDING:
            t_s = np.arange(len(output)) / trial.rate_hz
            mine, theirs = optical.overlap(t_s[cut])
            seen.append((output[cut][mine], optical.angles_rad[theirs]))
    reference = next((t.reference for t in trials if t.reference != "none"), "none")
    rows = score(approach, reference, person, pairs)
    return rows + (score(approach, "optical", person, seen) if seen else [])


def cycle_phase(features: NDArray[np.float32], foot: int) -> NDArray[np.float64]:
    """Gait phase 0 to 1 of one leg from the moments its foot starts to roll; NaN outside whole strides.

    Looks ahead to the end of the stride, which favours the baseline that uses it.
    """
    rate = np.linalg.norm(features[:, 9 * foot + 3 : 9 * foot + 6], axis=1)
    moving = np.convolve(rate, np.ones(9) / 9, "same") > _FOOT_MOVING_RADS
    starts = np.flatnonzero(np.diff(moving.astype(int)) == 1)
    kept: list[int] = []
    for start in starts:
        if not kept or start - kept[-1] > 60:  # nobody strides in under 0.6 s at these speeds
            kept.append(int(start))
    phase = np.full(len(features), np.nan)
    for a, b in pairwise(kept):
        if b - a < 300:
            phase[a:b] = np.arange(b - a) / (b - a)
    return phase


_FOOT_OF_SIDE = {"r": 2, "l": 3}


def mean_curve(trials: Sequence[Trial]) -> NDArray[np.float64]:
    """Mean angle over the gait cycle of its own leg, shape (101, len(ANGLES)), over all given trials."""
    sums = np.zeros((_CURVE_POINTS, len(ANGLES)))
    counts = np.zeros_like(sums)
    for trial in trials:
        for j, joint in enumerate(ANGLES):
            phase = cycle_phase(trial.features, _FOOT_OF_SIDE[joint[-1]])
            known = np.isfinite(phase) & np.isfinite(trial.angles_rad[:, j])
            bins = np.round(phase[known] * (_CURVE_POINTS - 1)).astype(int)
            np.add.at(sums[:, j], bins, trial.angles_rad[known, j])
            np.add.at(counts[:, j], bins, 1)
    return np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)


def curve_at(curve: NDArray[np.float64], features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Read the mean curve at a recording's phases; its overall mean where no phase is known."""
    out = np.tile(curve.mean(axis=0), (len(features), 1))
    for j, joint in enumerate(ANGLES):
        phase = cycle_phase(features, _FOOT_OF_SIDE[joint[-1]])
        known = np.isfinite(phase)
        out[known, j] = np.interp(phase[known], np.linspace(0, 1, _CURVE_POINTS), curve[:, j])
    return out


def leave_one_out(
    trials: Sequence[Trial],
    recipe: Recipe,
    optical: Optical | None,
    workers: int,
    done: Callable[[str], None] = lambda person: None,
) -> list[Row]:
    """Run every fold, several at a time; finished folds are kept and not run again.

    Raises
    ------
    RecordingError
        If there are not two people.
    """
    people = sorted({trial.person for trial in trials})
    if len(people) < 2:
        raise RecordingError(
            f"Leaving one person out of {len(people)} leaves nobody to train on: give recordings of "
            "at least two people."
        )
    jobs = {person: (fold, person, trials, recipe, optical) for person in people}
    return _run_all(jobs, _rows_key(trials, recipe, optical), workers, done)


def unseen(
    base: GaitNet,
    trials: Sequence[Trial],
    recipe: Recipe,
    optical: Optical | None,
    workers: int,
    done: Callable[[str], None] = lambda person: None,
) -> list[Row]:
    """Score a released model on people it never saw: as it is, fine-tuned, and against single-user."""
    jobs = {}
    for person in sorted({trial.person for trial in trials}):
        mine = [trial for trial in trials if trial.person == person]
        jobs[person] = (personal_rows, base, mine, recipe, optical)
    weights = b"".join(v.numpy().tobytes() for v in base.state_dict().values())
    return _run_all(jobs, _rows_key(trials, recipe, optical, weights), workers, done)


def _run_all(
    jobs: Mapping[str, tuple[Any, ...]], key: str, workers: int, done: Callable[[str], None]
) -> list[Row]:
    files = {person: cache_folder("folds") / f"{key}-{person}.json" for person in jobs}
    rows: dict[str, list[Row]] = {}
    for person, file in files.items():
        if file.exists():
            rows[person] = [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))]
            done(person)
    workers = max(1, min(workers, len(jobs) - len(rows)))
    context = multiprocessing.get_context(
        "spawn"
    )  # a fork of a process with torch threads can hang
    with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
        running = {pool.submit(*job): person for person, job in jobs.items() if person not in rows}
        for future in as_completed(running):
            person = running[future]
            rows[person] = future.result()
            text = json.dumps([asdict(row) for row in rows[person]])
            files[person].write_text(text, encoding="utf-8")
            done(person)
    return [row for person in jobs for row in rows[person]]


def _rows_key(
    trials: Sequence[Trial], recipe: Recipe, optical: Optical | None, weights: bytes = b""
) -> str:
    said = f"{recipe!r}{optical is not None}{hashlib.sha256(weights).hexdigest()}"
    return _run_key(trials, said, "networks", "train", "evaluate")


def _run_key(trials: Sequence[Trial], said: str, *code: str) -> str:
    digest = hashlib.sha256(said.encode() + source_digest(*code).encode())
    for trial in trials:
        digest.update(trial.name.encode())
        for array in (trial.features, trial.angles_rad, trial.contact, trial.cycle):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def report(
    protocol: str, rows: Sequence[Row], notes: Sequence[str], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Build the JSON document a protocol writes."""
    return {
        "protocol": protocol,
        "people": sorted({row.person for row in rows}),
        **extra,
        "rows": [asdict(row) for row in rows],
        "summary": summarise(rows),
        "notes": list(notes),
    }


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a report where the user asked for it, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, allow_nan=False), encoding="utf-8")


def held_out(file: Path, people: Sequence[str] = ()) -> HeldOut:
    """Quote a leave-one-out report on a model card: the multi-user error per joint, in degrees.

    Parameters
    ----------
    file : Path
        Written by ``evaluate --protocol loso --json``.
    people : sequence of str
        Only these people's folds; all of them if empty.

    Raises
    ------
    RecordingError
        If the file is not such a report.
    """
    try:
        rows = [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise RecordingError(
            f"{file} is not a report of 'talaria-train evaluate': run it with --protocol loso --json."
        ) from None
    mine = [r for r in rows if r.approach == "multi_user" and r.reference != "optical"]
    mine = [r for r in mine if not people or r.person in people]
    rmse = {
        joint: round(float(np.mean([r.rmse_deg for r in mine if r.joint == joint])), 2)
        for joint in ANGLES
        if any(r.joint == joint for r in mine)
    }
    who = ", ".join(sorted({r.person for r in mine}))
    return HeldOut(
        protocol=f"models of the same recipe, each trained without the person it is tested on ({who})",
        reference="full inertial sensor chain",
        rmse_deg=rmse,
    )
