"""Recordings made ready for learning: the edge's own calibration and features beside reference angles.

Nothing here looks past the first fifth of a recording to calibrate the inputs, and nothing is scaled:
what a live device would have computed is what the network sees.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import Calibration, CalibrationCollector, average
from talaria_edge.features import FeatureStage
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_training.cache import cache_folder, source_digest
from talaria_training.data.plates import contacts as plate_contacts
from talaria_training.data.recording import Contact, Recording
from talaria_training.reference import full_chain_reference, mounting_of

_EDGE_MODULES = ("calibration", "features", "kinematics", "orientation")

_LONGEST_SWING_S, _LONGEST_STRIDE_S = 1.2, 2.5

CALIBRATION_PART = 0.2
"""Share of each recording a calibration may use: the same fifth that fine-tuning may use."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One recording as a network sees it.

    Attributes
    ----------
    person, condition, name : str
    rate_hz : float
    features : ndarray of float32, shape (T, C)
    angles_rad : ndarray of float32, shape (T, len(ANGLES))
        Reference angles; NaN where an angle was not measured.
    reference : str
        ``full_chain``, ``given`` (an angles file of the recording's own), or ``none``.
    calibration : Calibration
        What turned sensors into segments, for streaming the same recording through the edge.
    contact : ndarray of float32, shape (T, 2)
        Per side (r, l): 1 on the ground, 0 in the air, NaN where no force plate says.
    cycle : ndarray of float32, shape (T, 2)
        Per side: share of the gait cycle since initial contact, NaN outside whole strides.
    contacts : tuple of Contact
        The force plates' contacts, seconds since the trial's first sample.
    """

    person: str
    condition: str
    name: str
    rate_hz: float
    features: NDArray[np.float32]
    angles_rad: NDArray[np.float32]
    reference: str
    calibration: Calibration
    contact: NDArray[np.float32]
    cycle: NDArray[np.float32]
    contacts: tuple[Contact, ...] = ()

    def part(self, start: float, stop: float) -> Trial:
        """Cut out the samples between two fractions of the trial's length."""
        n = len(self.features)
        cut = slice(round(start * n), round(stop * n))
        t0_s, length_s = cut.start / self.rate_hz, (cut.stop - cut.start) / self.rate_hz
        moved = (replace(c, t_s=c.t_s - t0_s) for c in self.contacts)
        return replace(
            self,
            features=self.features[cut],
            angles_rad=self.angles_rad[cut],
            contact=self.contact[cut],
            cycle=self.cycle[cut],
            contacts=tuple(c for c in moved if 0.0 <= c.t_s < length_s),
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """Trials of some people, and a line for every recording that was left out or needs a caveat."""

    trials: tuple[Trial, ...]
    notes: tuple[str, ...]


def calibrate_recording(recording: Recording) -> Calibration | None:
    """Return the recording's own calibration, or run the live one over its first fifth.

    None if there is none and it never completes.
    """
    if recording.calibration is not None:
        return recording.calibration
    rows = [recording.slots.index(slot) for slot in LEG_SLOTS]
    collector = CalibrationCollector(recording.rate_hz, LEG_SLOTS)
    stop = round(CALIBRATION_PART * len(recording.t_s))
    for acc, gyr in zip(
        recording.acc_ms2[:stop, rows], recording.gyr_rads[:stop, rows], strict=True
    ):
        calibration = collector.update(acc, gyr)
        if calibration is not None:
            return calibration
    return None


def stream_features(recording: Recording, calibration: Calibration) -> NDArray[np.float32]:
    """Features of a whole recording, shape (T, C), by the live stage in a plain loop."""
    rows = [recording.slots.index(slot) for slot in LEG_SLOTS]
    stage = FeatureStage(recording.rate_hz, calibration, LEG_SLOTS)
    acc, gyr = recording.acc_ms2[:, rows], recording.gyr_rads[:, rows]
    return np.array([stage.update(a, g) for a, g in zip(acc, gyr, strict=True)])


def prepare_person(recordings: Sequence[Recording]) -> Prepared:
    """Prepare all recordings of one person."""
    notes: list[str] = []
    usable: list[Recording] = []
    for recording in recordings:
        lost = [s for s in LEG_SLOTS if s not in recording.slots or s in recording.dead_slots]
        if lost:
            notes.append(f"{recording.name}: left out, no living sensor at {', '.join(lost)}")
        else:
            usable.append(recording)
    calibrations = _calibrations(usable, notes)
    trials: list[Trial] = []
    for recording, (angles, source, note) in zip(usable, _labels(usable), strict=True):
        calibration = calibrations.get(mounting_of(recording))
        if note:
            notes.append(note)
        contacts = contacts_of(recording)
        if angles is None and not contacts:
            continue
        if calibration is None:
            notes.append(
                f"{recording.name}: left out, nobody stood still before walking in any trial"
            )
            continue
        features = stream_features(recording, calibration)
        trials.append(
            Trial(
                recording.person,
                recording.condition,
                recording.name,
                recording.rate_hz,
                features,
                # Without angles, steps and gait class can still be learned from it.
                _table({}, len(features)) if angles is None else angles,
                source or "none",
                calibration,
                *gait_labels(contacts, len(features), recording.rate_hz),
                contacts,
            )
        )
    return Prepared(tuple(trials), tuple(notes))


def contacts_of(recording: Recording) -> tuple[Contact, ...]:
    """Contacts as the recording gives them, else from its plates; seconds since its first sample."""
    found = recording.contacts
    if found is None:
        found = () if recording.plates is None else plate_contacts(recording.plates)
    t0_s = float(recording.t_s[0])
    return tuple(replace(c, t_s=c.t_s - t0_s) for c in found)


def gait_labels(
    contacts: Sequence[Contact], length: int, rate_hz: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Say for every sample whether a foot is down and where in its cycle it is.

    Parameters
    ----------
    contacts : sequence of Contact
        In time order, seconds since the first sample.
    length : int
        Samples.
    rate_hz : float

    Returns
    -------
    contact, cycle : ndarray of float32, shape (length, 2)
        Per side (r, l); NaN where nothing is known: before the first contact, after the last, and
        where two contacts of one foot lie further apart than any stride.
    """
    contact = np.full((length, len(SIDES)), np.nan, np.float32)
    cycle = np.full_like(contact, np.nan)
    for column, side in enumerate(SIDES):
        mine = [c for c in contacts if c.side == side]
        for a, b in pairwise(mine):
            if a.kind != b.kind and (a.kind == "initial" or b.t_s - a.t_s < _LONGEST_SWING_S):
                contact[_between(a, b, rate_hz), column] = float(a.kind == "initial")
        for a, b in pairwise(c for c in mine if c.kind == "initial"):
            if b.t_s - a.t_s < _LONGEST_STRIDE_S:
                rows = _between(a, b, rate_hz)
                t_s = np.arange(rows.start, min(rows.stop, length)) / rate_hz
                cycle[rows, column] = (t_s - a.t_s) / (b.t_s - a.t_s)
    return contact, cycle


def _between(a: Contact, b: Contact, rate_hz: float) -> slice:
    # A hair less, or a contact that falls on a sample may be rounded to the next.
    return slice(math.ceil(a.t_s * rate_hz - 1e-6), math.ceil(b.t_s * rate_hz - 1e-6))


def _calibrations(recordings: Iterable[Recording], notes: list[str]) -> dict[str, Calibration]:
    found: dict[str, list[Calibration]] = defaultdict(list)
    mountings: dict[str, None] = {}
    for recording in recordings:
        mountings[mounting_of(recording)] = None
        calibration = calibrate_recording(recording)
        if calibration is not None:
            found[mounting_of(recording)].append(calibration)
    pooled = [calibration for group in found.values() for calibration in group]
    merged = {}
    for mounting in mountings:
        if found[mounting]:
            merged[mounting] = average(found[mounting])
        elif pooled:
            merged[mounting] = average(pooled)
            notes.append(f"{mounting}: input calibration from the person's other mountings")
    return merged


def _labels(
    recordings: Sequence[Recording],
) -> list[tuple[NDArray[np.float32] | None, str, str]]:
    labels: list[tuple[NDArray[np.float32] | None, str, str]] = []
    for recording, chain in zip(recordings, full_chain_reference(recordings), strict=True):
        if recording.angles_rad is not None:
            labels.append((_table(recording.angles_rad, len(recording.t_s)), "given", ""))
        elif chain.angles_rad is not None:
            labels.append((_table(chain.angles_rad, len(recording.t_s)), "full_chain", chain.note))
        else:
            labels.append((None, "", chain.note))
    return labels


def _table(angles_rad: dict[str, NDArray[np.float64]], length: int) -> NDArray[np.float32]:
    missing = np.full(length, np.nan)
    return np.stack([angles_rad.get(name, missing) for name in ANGLES], axis=1).astype(np.float32)


def prepare(
    people: Sequence[Sequence[Recording]],
    workers: int = 1,
    done: Callable[[str], None] = lambda person: None,
) -> Prepared:
    """Prepare several people, each given as the list of their recordings, and keep the result cached.

    Parameters
    ----------
    people : sequence of sequences of Recording
    workers : int
        Processes to use for people that are not in the cache.
    done : callable
        Told each person's name when that person is ready.
    """
    results: dict[int, Prepared] = {}
    files = [cache_folder("trials") / f"{_key(recordings)}.npz" for recordings in people]
    todo = []
    for i, (file, recordings) in enumerate(zip(files, people, strict=True)):
        if file.exists():
            results[i] = _read(file)
            done(recordings[0].person)
        else:
            todo.append(i)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(prepare_person, people[i]): i for i in todo}
        for future in as_completed(running):
            i = running[future]
            results[i] = future.result()
            _write(files[i], results[i])
            done(people[i][0].person)
    ordered = [results[i] for i in range(len(people))]
    return Prepared(
        tuple(trial for one in ordered for trial in one.trials),
        tuple(note for one in ordered for note in one.notes),
    )


def _key(recordings: Sequence[Recording]) -> str:
    code = ("trials", "reference", *(f"talaria_edge.{m}" for m in _EDGE_MODULES))
    digest = hashlib.sha256(source_digest(*code).encode())
    for recording in recordings:
        said = (recording.name, mounting_of(recording), recording.slots, recording.dead_slots)
        own = recording.calibration and recording.calibration.to_dict()
        digest.update(repr((*said, recording.rate_hz, own)).encode())
        arrays = [recording.acc_ms2, recording.gyr_rads]
        arrays += list((recording.orientation or {}).values())
        arrays += list((recording.angles_rad or {}).values())
        digest.update(repr(contacts_of(recording)).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]


def _write(file: Path, prepared: Prepared) -> None:
    facts = [
        {
            "person": t.person,
            "condition": t.condition,
            "name": t.name,
            "rate_hz": t.rate_hz,
            "reference": t.reference,
            "calibration": t.calibration.to_dict(),
            "contacts": [asdict(c) for c in t.contacts],
        }
        for t in prepared.trials
    ]
    arrays = {f"x{i}": t.features for i, t in enumerate(prepared.trials)}
    arrays |= {f"y{i}": t.angles_rad for i, t in enumerate(prepared.trials)}
    arrays |= {f"contact{i}": t.contact for i, t in enumerate(prepared.trials)}
    arrays |= {f"cycle{i}": t.cycle for i, t in enumerate(prepared.trials)}
    about = json.dumps({"trials": facts, "notes": prepared.notes})
    scratch = file.with_suffix(f".{os.getpid()}.npz")
    np.savez(scratch, about=np.array(about), allow_pickle=False, **arrays)
    scratch.replace(file)


def _read(file: Path) -> Prepared:
    with np.load(file) as stored:
        about = json.loads(str(stored["about"]))
        trials = tuple(
            Trial(
                **{
                    **facts,
                    "calibration": Calibration.from_dict(facts["calibration"]),
                    "contacts": tuple(Contact(**c) for c in facts["contacts"]),
                },
                features=stored[f"x{i}"],
                angles_rad=stored[f"y{i}"],
                contact=stored[f"contact{i}"],
                cycle=stored[f"cycle{i}"],
            )
            for i, facts in enumerate(about["trials"])
        )
    return Prepared(trials, tuple(about["notes"]))
