"""Joint moments of windows, as `stance_moments` tells them, beside measured ones: curves, peaks, changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.generate.motion import WINDOW, Motion, columns
from talaria_edge.kinematics import SIDES
from talaria_training.generate.judge import conditions_of
from talaria_training.generate.moments import PEAKS, stance_moments, stances_of
from talaria_training.generate.windows import cut
from talaria_training.kinetics.dynamics import JOINTS
from talaria_training.kinetics.export import over_stance
from talaria_training.kinetics.moment_data import MomentWalk
from talaria_training.kinetics.pooled import errors

Floats = NDArray[np.float64]

_WIDE = len(JOINTS)


@dataclass(frozen=True, slots=True, eq=False)
class Stance:
    """The moments of one stance in a window, N·m/kg, (101, 3) in `JOINTS`: measured, and told.

    Attributes
    ----------
    person, side, style : str
    """

    person: str
    side: str
    style: str
    measured: Floats
    told: Floats


def stances_beside(motion: Motion, walk: MomentWalk, start: int, roll_over: Floats) -> list[Stance]:
    """Tell the moments of a motion's windows, one after the other, beside those measured.

    Parameters
    ----------
    motion : Motion
    walk : MomentWalk
        The whole recording.
    start : int
        Where in it the motion begins.
    roll_over : ndarray, shape (len(SHARES),)
    """
    found = []
    windows = cut([motion], stride=WINDOW)
    for row, values in enumerate(windows.values):
        told = stance_moments(values, conditions_of(windows, row), roll_over)
        first = start + int(windows.start[row])
        measured = walk.moment_nm_kg[first : first + WINDOW]
        for i, side in enumerate(SIDES):
            mine = slice(_WIDE * i, _WIDE * (i + 1))
            for stance in stances_of(values[:, columns([f"grf_vertical_{side}"])[0]]):
                pair = [over_stance(m[stance, mine]) for m in (measured, told)]
                if np.isfinite(pair).all():
                    style = motion.conditions.style or ""
                    found.append(Stance(motion.person, side, style, *pair))
    return found


@dataclass(frozen=True, slots=True)
class JointRow:
    """Errors of one joint of one person over stances, N·m/kg: told, and by the others' mean curve.

    Attributes
    ----------
    person, joint : str
    stances : int
    rmse_nm_kg, mean_curve_nm_kg : float
    """

    person: str
    joint: str
    stances: int
    rmse_nm_kg: float
    mean_curve_nm_kg: float


@dataclass(frozen=True, slots=True)
class PeakRow:
    """One peak of one person, N·m/kg.

    Attributes
    ----------
    person, peak : str
    measured_nm_kg, told_nm_kg : float
        Means over stances.
    error_nm_kg, mean_peak_nm_kg : float
        Mean absolute error of a stance's peak: told, and by the others' mean peak.
    """

    person: str
    peak: str
    measured_nm_kg: float
    told_nm_kg: float
    error_nm_kg: float
    mean_peak_nm_kg: float


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """How much one peak differs when a person walks with a stiff knee, N·m/kg, one leg.

    Attributes
    ----------
    person, style, side, peak : str
    measured_nm_kg, told_nm_kg : float
    """

    person: str
    style: str
    side: str
    peak: str
    measured_nm_kg: float
    told_nm_kg: float


def joint_rows(stances: Sequence[Stance]) -> list[JointRow]:
    """Compare curves, person by person."""
    rows = []
    for person, mine, others in _each(stances):
        measured, told = (_curves(mine, which) for which in ("measured", "told"))
        usual = np.broadcast_to(_mean_of_people(others), measured.shape)
        pairs = zip(errors(measured, told, JOINTS), errors(measured, usual, JOINTS), strict=True)
        rows += [
            JointRow(person, own.output, len(mine), own.rmse, mean.rmse)
            for own, mean in pairs
            if own.output in JOINTS
        ]
    return rows


def peak_rows(stances: Sequence[Stance]) -> list[PeakRow]:
    """Compare peaks of stances, person by person."""
    rows = []
    for person, mine, others in _each(stances):
        for name in PEAKS:
            measured, told = (_peaks(mine, which, name) for which in ("measured", "told"))
            usual = np.mean([_peaks(one, "measured", name).mean() for one in others])
            off, off_usual = np.abs(told - measured).mean(), np.abs(usual - measured).mean()
            figures = (measured.mean(), told.mean(), off, off_usual)
            rows.append(PeakRow(person, name, *(float(figure) for figure in figures)))
    return rows


def change_rows(stances: Sequence[Stance]) -> list[ChangeRow]:
    """Compare what a stiff knee changes, leg by leg, where a person walked in both ways."""
    groups: dict[tuple[str, str, str], list[Stance]] = defaultdict(list)
    for stance in stances:
        groups[stance.person, stance.style, stance.side].append(stance)
    rows = []
    for (person, style, side), stiff in groups.items():
        usual = groups.get((person, "walking", side), [])
        if style not in ("stiff_knee_r", "stiff_knee_l") or not usual:
            continue
        for name in PEAKS:
            change = [
                float(_peaks(stiff, which, name).mean() - _peaks(usual, which, name).mean())
                for which in ("measured", "told")
            ]
            rows.append(ChangeRow(person, style, side, name, *change))
    return rows


def _each(stances: Sequence[Stance]) -> list[tuple[str, list[Stance], list[list[Stance]]]]:
    """Return every person, theirs, and everybody else's."""
    groups: dict[str, list[Stance]] = defaultdict(list)
    for stance in stances:
        groups[stance.person].append(stance)
    return [
        (person, mine, [other for name, other in groups.items() if name != person])
        for person, mine in groups.items()
    ]


def _curves(stances: Sequence[Stance], which: str) -> Floats:
    return np.stack([getattr(stance, which) for stance in stances])


def _mean_of_people(people: Sequence[Sequence[Stance]]) -> Floats:
    return np.asarray(np.mean([_curves(one, "measured").mean(axis=0) for one in people], axis=0))


def _peaks(stances: Sequence[Stance], which: str, name: str) -> Floats:
    joint, sign = PEAKS[name]
    return np.asarray((sign * _curves(stances, which)[:, :, joint]).max(axis=1))
