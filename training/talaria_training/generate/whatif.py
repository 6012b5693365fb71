"""What a change would change: a person's own windows again under another speed, cadence or knee."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.forces import SIDE_WORDS
from talaria_edge.generate.motion import CHANNELS, RATE_HZ, Conditions
from talaria_edge.kinematics import SIDES
from talaria_training.generate.moments import peak_moments

Floats = NDArray[np.float64]

_ON_GROUND_BW = 0.05
_JOINTS = ("hip_flexion", "knee_angle", "ankle_angle")


@dataclass(frozen=True, slots=True)
class Effect:
    """One number before and after, over windows and samples.

    Attributes
    ----------
    what, unit : str
    before, after : float
        Means over windows and samples, of those of which both are known.
    low, high : float
        90 % interval of the change of one sample, over windows and samples.
    """

    what: str
    unit: str
    before: float
    after: float
    low: float
    high: float

    @property
    def percent(self) -> float:
        """Change in per cent of before."""
        return 100.0 * (self.after / self.before - 1.0)


def numbers_of(
    values: NDArray[np.floating], conditions: Conditions | None = None
) -> dict[str, tuple[float, str]]:
    """Tell what a window comes to on each side: peaks of force and moment, time on the ground, joints' ranges.

    Parameters
    ----------
    values : ndarray, shape (WINDOW, len(CHANNELS))
    conditions : Conditions, optional
        Whose height moments need; see `talaria_training.generate.moments` for when they are told.

    Returns
    -------
    dict of str to (float, unit)
        Names end in ``right`` or ``left``. NaN where nothing was known.
    """
    found: dict[str, tuple[float, str]] = {}
    moments = peak_moments(values, conditions or Conditions())
    for side in SIDES:
        told = _of_side(values, side)
        told |= {what: (peak, "N·m/kg") for what, peak in moments[side].items()}
        found |= {f"{what}, {SIDE_WORDS[side]}": number for what, number in told.items()}
    return found


def _of_side(values: NDArray[np.floating], side: str) -> dict[str, tuple[float, str]]:
    vertical = _column(values, f"grf_vertical_{side}")
    anterior = _column(values, f"grf_anterior_{side}")
    down = vertical[np.isfinite(vertical)] > _ON_GROUND_BW
    found = {
        "peak vertical force": (_largest(vertical), "BW"),
        "peak driving force": (_largest(anterior), "BW"),
        "peak braking force": (_largest(-anterior), "BW"),
        "time on the ground": (100.0 * float(down.mean()) if len(down) else np.nan, "%"),
        "steepest rise of vertical force": (_largest(np.diff(vertical)) * RATE_HZ, "BW/s"),
    }
    for joint in _JOINTS:
        curve = np.degrees(_column(values, f"{joint}_{side}"))
        name = joint.replace("_", " ").removesuffix(" angle")
        found[f"{name}, largest"] = (_largest(curve), "deg")
        found[f"{name}, range"] = (_largest(curve) + _largest(-curve), "deg")
    return found


def effects(
    before: Sequence[NDArray[np.floating]],
    after: Sequence[NDArray[np.floating]],
    conditions: Sequence[tuple[Conditions, Conditions]] | None = None,
) -> list[Effect]:
    """Set samples of windows beside what became of each.

    A peak of a mean is lower than the mean of peaks, so samples are compared one by one, also where before
    nothing was measured and they are samples themselves.

    Parameters
    ----------
    before, after : sequence of ndarray, shape (samples, WINDOW, channels)
        One entry per window.
    conditions : sequence of (Conditions, Conditions), optional
        Each window's before and after; without them there are no moments.
    """
    asked = conditions or [(Conditions(), Conditions())] * len(before)
    first = [
        numbers_of(one, was)
        for samples, (was, _) in zip(before, asked, strict=True)
        for one in samples
    ]
    then = [
        numbers_of(one, now)
        for samples, (_, now) in zip(after, asked, strict=True)
        for one in samples
    ]
    found = []
    for what, (_, unit) in first[0].items():
        start, end = (np.array([numbers[what][0] for numbers in all_]) for all_ in (first, then))
        both = np.isfinite(end - start)
        if not both.any():
            continue
        low, high = np.percentile((end - start)[both], [5.0, 95.0])
        means = (float(start[both].mean()), float(end[both].mean()))
        found.append(Effect(what, unit, *means, float(low), float(high)))
    return found


def stiff_knee(
    values: NDArray[np.float32], share: float, sides: Sequence[str] = SIDES
) -> Mapping[str, NDArray[np.float32]]:
    """Return knee angles that move only by a share of what they do, about their stance's least flexion.

    Parameters
    ----------
    values : ndarray, shape (WINDOW, len(CHANNELS))
    share : float
        1 leaves the knee as it is, 0 keeps it straight.
    sides : sequence of "r", "l"

    Returns
    -------
    dict of channel to ndarray, shape (WINDOW,)
        To be held while everything else is drawn anew.
    """
    held = {}
    for side in sides:
        name = f"knee_angle_{side}"
        knee = values[:, CHANNELS.index(name)]
        least = float(np.nanmin(knee))
        held[name] = (least + share * (knee - least)).astype(np.float32)
    return held


def _column(values: NDArray[np.floating], name: str) -> Floats:
    return np.asarray(values[:, CHANNELS.index(name)], dtype=np.float64)


def _largest(values: Floats) -> float:
    """Return the largest known value; NaN where nothing is known."""
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else float("nan")
