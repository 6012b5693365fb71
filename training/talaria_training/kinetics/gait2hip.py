"""Gait2Hip-60's tables: whole gait cycles of ten joint angles, with hip moments or muscle forces.

Source: Zhang et al. 2026, arXiv 2605.30374; data doi 10.5281/zenodo.20175768. One cycle per trial, as 180
points; angles in degrees with OpenSim's names and signs; targets of the right hip by OpenSim's inverse dynamics
and static optimisation, in N m or N.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_training.strides.npz import read_arrays

POINTS = 180
INPUTS = (
    *(f"hip_{axis}_{side}" for side in "rl" for axis in ("flexion", "adduction", "rotation")),
    *(f"{joint}_angle_{side}" for side in "rl" for joint in ("knee", "ankle")),
)
"""The ten angles in the order of every table and checkpoint."""

TEST_SHARE, TEST_SEED, FOLDS = 0.2, 42, 5
_ARRAYS = ("X", "Y", "subject_id", "weight_kg", "speed_label", "in_cols", "out_cols")
_LARGEST_DEG = 180.0
_SMALLEST_RANGE_DEG = 5.0
"""Nobody's hip moves less than this many degrees in walking; in radians everybody's does."""
_MASS_KG = (20.0, 300.0)


@dataclass(frozen=True, slots=True, eq=False)
class Cycles:
    """Gait cycles of many people.

    Attributes
    ----------
    x_deg : ndarray of float32, shape (N, POINTS, len(INPUTS))
    y_per_kg : ndarray of float32, shape (N, POINTS, len(outputs))
        N m/kg or N/kg: what the file holds, over each person's mass.
    person, cadence : ndarray of str, shape (N,)
    mass_kg : ndarray of float32, shape (N,)
    outputs : tuple of str
    """

    x_deg: NDArray[np.float32]
    y_per_kg: NDArray[np.float32]
    person: NDArray[np.str_]
    cadence: NDArray[np.str_]
    mass_kg: NDArray[np.float32]
    outputs: tuple[str, ...]

    def __len__(self) -> int:
        """Count the cycles."""
        return len(self.x_deg)

    @property
    def unit(self) -> str:
        """Unit of the targets: moments are named so, and everything else is a muscle's force."""
        return "Nm/kg" if self.outputs[0].endswith("_moment") else "N/kg"


@dataclass(frozen=True, slots=True, eq=False)
class CycleFold:
    """Rows to learn from and to judge on; nobody is in both."""

    name: str
    train: NDArray[np.intp]
    test: NDArray[np.intp]


def load_cycles(path: Path) -> Cycles:
    """Read a Gait2Hip-60 table (.npz).

    Raises
    ------
    RecordingError
        If arrays are missing, pickled or of other shapes, the angles' names or order differ, angles cannot
        be degrees, or a mass cannot be a person's.
    """
    try:
        return _cycles(read_arrays(path))
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from None


def _cycles(arrays: Mapping[str, NDArray[Any]]) -> Cycles:
    lacking = [name for name in _ARRAYS if name not in arrays]
    if lacking:
        raise RecordingError(
            f"has no array {', '.join(lacking)}, so it is no table of Gait2Hip-60: give Gait2Hip_JM60.npz or "
            "Gait2Hip_MF60.npz, or write one with the same names."
        )
    outputs = tuple(arrays["out_cols"].astype(str).tolist())
    _check_shapes(arrays, outputs)
    x, y = arrays["X"].astype(np.float32), arrays["Y"].astype(np.float32)
    mass_kg = arrays["weight_kg"].astype(np.float32)
    _check_values(x, y, mass_kg)
    return Cycles(
        x,
        y / mass_kg[:, None, None],
        arrays["subject_id"].astype(str),
        arrays["speed_label"].astype(str),
        mass_kg,
        outputs,
    )


def _check_shapes(arrays: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> None:
    inputs = tuple(arrays["in_cols"].astype(str).tolist())
    if inputs != INPUTS:
        raise RecordingError(
            f"has the inputs {', '.join(inputs)}, but models know {', '.join(INPUTS)} in that order: "
            "reorder the columns of X and in_cols."
        )
    count = len(arrays["X"]) if arrays["X"].ndim else 0
    if not count or not outputs:
        raise RecordingError("holds no cycles or no outputs: X and Y must have at least one each.")
    wanted: dict[str, tuple[int, ...]] = {
        "X": (count, POINTS, len(INPUTS)),
        "Y": (count, POINTS, len(outputs)),
        **dict.fromkeys(("subject_id", "weight_kg", "speed_label"), (count,)),
    }
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise RecordingError(
                f"has {name} of shape {arrays[name].shape} instead of {shape}: give one row per cycle, and "
                f"resample every cycle to {POINTS} points."
            )


def _check_values(
    x: NDArray[np.float32], y: NDArray[np.float32], mass_kg: NDArray[np.float32]
) -> None:
    for name, values in {"X": x, "Y": y}.items():
        if not np.isfinite(values).all():
            raise RecordingError(f"has gaps in {name}: leave out the cycles that have them.")
    largest = float(np.abs(x).max())
    moved = float(np.median(np.ptp(x[..., INPUTS.index("hip_flexion_r")], axis=1)))
    if largest > _LARGEST_DEG or moved < _SMALLEST_RANGE_DEG:
        raise RecordingError(
            f"has angles up to {largest:.3g} and a hip that moves by {moved:.3g}, which are not degrees of "
            "walking: convert X to degrees."
        )
    odd = mass_kg[~((mass_kg >= _MASS_KG[0]) & (mass_kg <= _MASS_KG[1]))]
    if len(odd):
        raise RecordingError(
            f"has a body mass of {odd[0]:g} kg in weight_kg: give kilograms, from {_MASS_KG[0]:g} to "
            f"{_MASS_KG[1]:g}."
        )


def paper_split(cycles: Cycles) -> CycleFold:
    """Set aside the paper's test people: a fifth of them, drawn with seed 42."""
    people = np.unique(cycles.person)
    if len(people) < 2:
        raise RecordingError(
            f"There is only {people[0]}, and nobody to test on: give cycles of two people at least."
        )
    np.random.default_rng(TEST_SEED).shuffle(people)
    test = np.isin(cycles.person, people[: max(1, round(TEST_SHARE * len(people)))])
    return CycleFold("test", np.flatnonzero(~test), np.flatnonzero(test))


def person_folds(
    cycles: Cycles, rows: NDArray[np.intp], folds: int = FOLDS
) -> tuple[CycleFold, ...]:
    """Deal people to folds as scikit-learn's GroupKFold does: the fullest first, each to the emptiest fold.

    Parameters
    ----------
    cycles : Cycles
    rows : ndarray of int
        The rows to deal; those of the paper's 48.
    folds : int

    Raises
    ------
    RecordingError
        If there are fewer people than folds.
    """
    people, person, counts = np.unique(cycles.person[rows], return_inverse=True, return_counts=True)
    if folds < 2 or len(people) < folds:
        raise RecordingError(
            f"{len(people)} people cannot be dealt to {folds} folds: ask for at least 2 folds and at most as "
            "many as there are people."
        )
    fold_of, held = np.empty(len(people), np.intp), np.zeros(folds, np.intp)
    for one in np.argsort(counts, kind="stable")[::-1]:
        fold_of[one] = np.argmin(held)
        held[fold_of[one]] += counts[one]
    mine = fold_of[person]
    return tuple(CycleFold(f"fold {k + 1}", rows[mine != k], rows[mine == k]) for k in range(folds))
