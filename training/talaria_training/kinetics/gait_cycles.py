"""Recordings of one's own as whole cycles of ten angles, and published models applied to them.

A demonstration, and never a measurement: the models were trained on marker-based angles of OpenSim's inverse
kinematics, whose zeros are those of a skeleton, and full-chain angles are zero at quiet standing and have no
mean hip rotation. `gap` says in figures how far apart the two are. Nor is it published where in a stride the
180 points begin: right contact to right contact is assumed here, but the published means of left and right
angles differ (knees by 9 degrees), which those of whole strides of symmetric walking would not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import ANGLES
from talaria_training.data.capsense import find_trials
from talaria_training.data.metadata import PersonFacts
from talaria_training.data.recording import Recording
from talaria_training.kinetics.cycle_models import CycleModel, CycleSpec
from talaria_training.kinetics.dynamics import MOMENTS
from talaria_training.kinetics.gait2hip import INPUTS, POINTS
from talaria_training.kinetics.moment_data import measured_moments
from talaria_training.kinetics.pooled import errors
from talaria_training.strides.events import spans
from talaria_training.strides.resample import at_percent
from talaria_training.trials import Trial

Note = Callable[[str], None]
_ORDER = [ANGLES.index(name) for name in INPUTS]


@dataclass(frozen=True, slots=True, eq=False)
class OwnCycles:
    """Cycles of somebody's own recordings, each from right initial contact to the next.

    Attributes
    ----------
    x_deg : ndarray of float32, shape (N, POINTS, len(INPUTS))
    recording, person, condition : tuple of str, length N
    duration_s : ndarray, shape (N,)
    moment_nm_kg : ndarray, shape (N, POINTS)
        Hip flexion moment of the right leg by inverse dynamics; NaN where none was given.
    """

    x_deg: NDArray[np.float32]
    recording: tuple[str, ...]
    person: tuple[str, ...]
    condition: tuple[str, ...]
    duration_s: NDArray[np.float64]
    moment_nm_kg: NDArray[np.float32]


def cut_cycles(
    trials: Sequence[Trial],
    moments_nm_kg: Mapping[str, NDArray[np.floating[Any]]] | None = None,
    note: Note = print,
) -> OwnCycles:
    """Cut trials into right cycles of `POINTS` points.

    Parameters
    ----------
    trials : sequence of Trial
    moments_nm_kg : mapping of a trial's name to ndarray, shape (T,), optional
        Right hip flexion moment, sample by sample of the trial, flexion positive, NaN where unknown.
    note : callable
        Told of every trial that was left out.

    Raises
    ------
    RecordingError
        If no whole cycle with all ten angles is left.
    """
    moments = moments_nm_kg or {}
    rows = [row for trial in trials for row in _cut(trial, moments.get(trial.name), note)]
    if not rows:
        raise RecordingError(
            "There is no whole cycle with all ten angles in these recordings: give full-chain recordings, with "
            "sensors on pelvis, thighs, shanks and feet."
        )
    values = np.stack([values for _, values, _ in rows])
    owners = [trial for trial, _, _ in rows]
    return OwnCycles(
        values[..., : len(INPUTS)],
        tuple(trial.name for trial in owners),
        tuple(trial.person for trial in owners),
        tuple(trial.condition for trial in owners),
        np.array([duration_s for _, _, duration_s in rows]),
        values[..., len(INPUTS)],
    )


def _cut(
    trial: Trial, moment: NDArray[np.floating[Any]] | None, note: Note
) -> list[tuple[Trial, NDArray[np.float32], float]]:
    length = len(trial.angles_rad)
    beside = np.full(length, np.nan) if moment is None else np.asarray(moment, np.float64)
    if beside.shape != (length,):
        raise RecordingError(
            f"{trial.name} has {length} samples and moments of shape {beside.shape}: give one per sample."
        )
    angles_deg = np.rad2deg(trial.angles_rad[:, _ORDER].astype(np.float64))
    series = np.column_stack([angles_deg, beside])
    found = []
    for span in (s for s in spans(trial) if s.side == "r"):
        rows = span.start_s * trial.rate_hz, span.stop_s * trial.rate_hz
        values = at_percent(series, *rows, POINTS).T
        if np.isfinite(values[:, : len(INPUTS)]).all():
            found.append((trial, values, span.stop_s - span.start_s))
    if not found:
        note(f"{trial.name}: left out, it has no whole right cycle with all ten angles")
    return found


def hip_moments(
    data: Path, recordings: Sequence[Recording], trials: Sequence[Trial], note: Note = print
) -> dict[str, NDArray[np.float64]]:
    """Right hip flexion moments by inverse dynamics, N·m/kg, for the trials that have what it takes.

    Parameters
    ----------
    data : Path
        The CapSense tree or zips that both came from.
    recordings : sequence of Recording
    trials : sequence of Trial
    note : callable
        Told of every trial that has none, and why.

    Returns
    -------
    dict of trial name to ndarray, shape (T,)
    """
    facts = find_trials(data)[1]
    by_name = {recording.name: recording for recording in recordings}
    found = {}
    for trial in trials:
        try:
            own = facts.get(trial.person, PersonFacts())
            moments = measured_moments(data, by_name[trial.name], trial, own)
        except RecordingError as error:
            note(f"{trial.name}: no inverse dynamics beside it: {error}")
            continue
        if moments is not None:
            found[trial.name] = moments[:, MOMENTS.index("hip_flexion_moment_r")]
    return found


@dataclass(frozen=True, slots=True)
class Gap:
    """How one input of some cycles differs from what a model was trained on, degrees."""

    angle: str
    mean_deg: float
    trained_deg: float
    apart_sd: float


def gap(x_deg: NDArray[np.float32], spec: CycleSpec) -> tuple[Gap, ...]:
    """Compare the mean of every angle with the training people's, in their standard deviations."""
    means = x_deg.mean(axis=(0, 1), dtype=np.float64)
    return tuple(
        Gap(name, float(mean), trained, float((mean - trained) / spread))
        for name, mean, trained, spread in zip(
            spec.inputs, means, spec.mean_deg, spec.spread_deg, strict=True
        )
    )


def levelled(own: OwnCycles, spec: CycleSpec) -> NDArray[np.float32]:
    """Shift each person's angles so that their means are the training people's: other zeros taken out.

    It takes out as well by how much a person really differs on average.
    """
    x, people = own.x_deg.copy(), np.array(own.person)
    for person in dict.fromkeys(own.person):
        mine = people == person
        x[mine] += np.asarray(spec.mean_deg, np.float32) - x[mine].mean(axis=(0, 1))
    return x


def demonstrate(model: CycleModel, own: OwnCycles) -> dict[str, Any]:
    """Apply a model to one's own cycles, as they are and with their means levelled.

    Returns
    -------
    dict
        ``curves``: per recording and input (``as_is``, ``levelled``) the mean curve of every output; ``gap``;
        and ``against``: per person and input the errors about the inverse-dynamics hip flexion moment, where
        that is known and the model gives one.
    """
    spec = model.spec
    said = {"as_is": model.answer(own.x_deg), "levelled": model.answer(levelled(own, spec))}
    return {
        "model": spec.model_id,
        "unit": spec.unit,
        "outputs": list(spec.outputs),
        "cycles": len(own.x_deg),
        "gap": gap(own.x_deg, spec),
        "curves": [row for how, y in said.items() for row in _curves(own, spec, how, y)],
        "against": [row for how, y in said.items() for row in _against(own, spec, how, y)],
    }


def _curves(
    own: OwnCycles, spec: CycleSpec, how: str, y: NDArray[np.float32]
) -> list[dict[str, Any]]:
    names, rows = np.array(own.recording), []
    for name in dict.fromkeys(own.recording):
        mine = y[names == name]
        rows.append(
            {
                "recording": name,
                "input": how,
                "cycles": len(mine),
                "mean": dict(zip(spec.outputs, mine.mean(axis=0).T.tolist(), strict=True)),
                "sd": dict(zip(spec.outputs, mine.std(axis=0).T.tolist(), strict=True)),
            }
        )
    return rows


_FLEXION = "hip_flexion_r_moment"


def _against(
    own: OwnCycles, spec: CycleSpec, how: str, y: NDArray[np.float32]
) -> list[dict[str, Any]]:
    known = np.isfinite(own.moment_nm_kg).all(axis=1)
    if _FLEXION not in spec.outputs or not known.any():
        return []
    said, people = y[..., spec.outputs.index(_FLEXION)], np.array(own.person)
    rows = []
    for person in np.unique(people[known]):
        mine = known & (people == person)
        true, mean = own.moment_nm_kg[mine], said[mine].mean(axis=0)
        found = errors(true[..., None], said[mine][..., None], (_FLEXION,))[0]
        rows.append(
            {
                "person": str(person),
                "input": how,
                "cycles": int(mine.sum()),
                "rmse": found.rmse,
                "mae": found.mae,
                "r2": found.r2,
                "r_of_mean_curves": float(np.corrcoef(true.mean(axis=0), mean)[0, 1]),
            }
        )
    return rows
