"""Joint moments of walks as targets: inverse dynamics stance by stance, without those that cannot be.

A stance is left out whole, all three joints of the leg, where a peak is far from anything reported of
walking so slowly: a foot that was placed wrong spoils every joint above it. No model has a say in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import ANGLES
from talaria_training.data.capsense import find_trials
from talaria_training.data.metadata import PersonFacts
from talaria_training.data.plates import SIDES
from talaria_training.data.recording import Recording
from talaria_training.kinetics.belt import moments_of, read_belt
from talaria_training.kinetics.dynamics import JOINTS, MOMENTS
from talaria_training.kinetics.force_data import Walk
from talaria_training.kinetics.stances import whole_stances
from talaria_training.kinetics.targets import force_trial
from talaria_training.trials import Trial

Floats = NDArray[np.float64]
Note = Callable[[str], None]

PUSH_OFF_NM_KG = (0.5, 1.6)
"""Peak plantarflexion of a stance: from half to five quarters of the 1.0 to 1.3 that are usual at 0.75 m/s."""
KNEE_NM_KG, HIP_NM_KG = 1.0, 1.2
"""Largest moment either way in a stance: twice the greatest that is usual at 0.75 m/s (0.5 and 0.6)."""
_FEWEST = 0.5
_WIDE = len(JOINTS)


@dataclass(frozen=True, slots=True, eq=False)
class MomentWalk:
    """A walk on force plates, and the moments of both legs beside its forces.

    Attributes
    ----------
    walk : Walk
    moment_nm_kg : ndarray of float32, shape (T, 6)
        Columns `MOMENTS`; NaN where not known, or not to be believed.
    """

    walk: Walk
    moment_nm_kg: NDArray[np.float32]

    @property
    def person(self) -> str:
        """Whose it is."""
        return self.walk.person

    def part(self, start: float, stop: float) -> MomentWalk:
        """Cut out the samples between two fractions of the walk's length."""
        n = len(self.moment_nm_kg)
        cut = slice(round(start * n), round(stop * n))
        return MomentWalk(self.walk.part(start, stop), self.moment_nm_kg[cut])

    def as_forces(self) -> Walk:
        """Return the walk with the moments in the forces' place.

        What carries, cuts and mirrors a foot's three forces does the same to a leg's three moments: legs
        change places, and no sign changes.
        """
        return replace(self.walk, force_bw=self.moment_nm_kg)


@dataclass(frozen=True, slots=True)
class LegTargets:
    """What the moments of one leg in one recording came to.

    Attributes
    ----------
    person, recording, side : str
    stances : int
        Whole ones, with moments.
    ankle, knee, hip : int
        Stances in which that joint's peaks cannot be; a stance may count at several.
    left_out : int
        Stances left out: all of them where fewer than half can be.
    push_off_nm_kg, knee_extension_nm_kg, knee_flexion_nm_kg, hip_extension_nm_kg, hip_flexion_nm_kg : float
        Medians over all stances of the peak of each, positive in the direction named; at the ankle of
        plantarflexion.
    """

    person: str
    recording: str
    side: str
    stances: int
    ankle: int
    knee: int
    hip: int
    left_out: int
    push_off_nm_kg: float
    knee_extension_nm_kg: float
    knee_flexion_nm_kg: float
    hip_extension_nm_kg: float
    hip_flexion_nm_kg: float


def measured_moments(
    data: Path, recording: Recording, trial: Trial, facts: PersonFacts
) -> Floats | None:
    """Return the moments (T, 6) of one recording, `MOMENTS`, in N·m/kg; None if it has no plates.

    Raises
    ------
    RecordingError
        If what inverse dynamics takes is missing; see `talaria_training.kinetics.belt`.
    """
    force = force_trial(recording, facts)
    if force is None:
        return None
    belt = read_belt(data, recording, force, facts)
    angles = {name: trial.angles_rad[:, k].astype(float) for k, name in enumerate(ANGLES)}
    return moments_of(recording, force, angles, belt)


def moment_walks(
    data: Path, walks: Sequence[Walk], recordings: Sequence[Recording], note: Note = print
) -> tuple[list[MomentWalk], list[LegTargets]]:
    """Set moments beside the forces of walks, without what cannot be.

    Parameters
    ----------
    data : Path
        The CapSense tree or zips that all came from.
    walks : sequence of Walk
    recordings : sequence of Recording
    note : callable
        Told of every walk that has no moments, and why.

    Returns
    -------
    walks : list of MomentWalk
        All, in order; those without moments hold only NaN.
    legs : list of LegTargets
    """
    facts = find_trials(data)[1]
    by_name = {recording.name: recording for recording in recordings}
    found, legs = [], []
    for walk in walks:
        name = walk.trial.name
        own = facts.get(walk.person, PersonFacts())
        try:
            moments = measured_moments(data, by_name[name], walk.trial, own)
        except RecordingError as error:
            note(f"{name}: no inverse dynamics beside it: {error}")
            moments = None
        if moments is None:
            moments = np.full((len(walk.force_bw), len(MOMENTS)), np.nan)
        believed, told = without_the_impossible(walk, moments)
        found.append(MomentWalk(walk, believed.astype(np.float32)))
        legs += told
    return found, legs


def without_the_impossible(walk: Walk, moment_nm_kg: Floats) -> tuple[Floats, list[LegTargets]]:
    """Set stances to NaN whose moments cannot be, and legs of which that is more than half of the stances.

    Parameters
    ----------
    walk : Walk
    moment_nm_kg : ndarray, shape (T, 6)
        `MOMENTS`.

    Returns
    -------
    ndarray, shape (T, 6)
    list of LegTargets
        Of the legs that have a stance.
    """
    kept, legs = moment_nm_kg.copy(), []
    for column, side in enumerate(SIDES):
        mine = slice(_WIDE * column, _WIDE * (column + 1))
        stances = known_stances(walk, moment_nm_kg, column)
        if not stances:
            continue
        leg = moment_nm_kg[:, mine]
        wrong = np.array([_impossible(leg[stance]) for stance in stances])
        out = [stance for stance, how in zip(stances, wrong, strict=True) if how.any()]
        if len(out) > _FEWEST * len(stances):
            # Whose geometry is off this often is not to be believed where it happens to look right.
            out = stances
            kept[:, mine] = np.nan
        for stance in out:
            kept[stance, mine] = np.nan
        high = np.median([leg[s].max(axis=0) for s in stances], axis=0)
        low = np.median([leg[s].min(axis=0) for s in stances], axis=0)
        hip, knee, ankle = wrong.sum(axis=0).tolist()
        legs.append(
            LegTargets(
                *(walk.person, walk.trial.name, side, len(stances), ankle, knee, hip),
                len(out),
                *(-low[2], -low[1], high[1], -low[0], high[0]),
            )
        )
    return kept, legs


def known_stances(walk: Walk, moment_nm_kg: NDArray[np.floating], column: int) -> list[slice]:
    """Return the whole stances of one foot, 0 right and 1 left, in which all moments are known."""
    mine = slice(_WIDE * column, _WIDE * (column + 1))
    stances = whole_stances(walk.force_bw[:, mine], walk.rate_hz, walk.mass_kg)
    return [s for s in stances if np.isfinite(moment_nm_kg[s, mine]).all()]


def _impossible(leg_nm_kg: Floats) -> tuple[bool, bool, bool]:
    """Say of hip, knee and ankle over one stance, (n, 3), whether their peaks cannot be."""
    hip, knee = np.abs(leg_nm_kg[:, :2]).max(axis=0)
    low, high = PUSH_OFF_NM_KG
    return bool(hip > HIP_NM_KG), bool(knee > KNEE_NM_KG), not low <= -leg_nm_kg[:, 2].min() <= high
