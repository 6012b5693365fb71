"""What a change would change: a person's own windows again under another speed, cadence or knee."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.forces import SIDE_WORDS
from talaria_edge.generate.motion import CHANNELS, RATE_HZ
from talaria_edge.kinematics import SIDES

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
        Means over windows.
    low, high : float
        90 % interval of the change of one window, over windows and samples.
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


def numbers_of(values: NDArray[np.floating]) -> dict[str, tuple[float, str]]:
    """Tell what a window comes to on each side: peaks of force, time on the ground, movement of joints.

    Parameters
    ----------
    values : ndarray, shape (WINDOW, len(CHANNELS))

    Returns
    -------
    dict of str to (float, unit)
        Names end in ``right`` or ``left``. NaN where nothing was known.
    """
    found: dict[str, tuple[float, str]] = {}
    for side in SIDES:
        for what, told in _of_side(values, side).items():
            found[f"{what}, {SIDE_WORDS[side]}"] = told
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
    before: Sequence[NDArray[np.floating]], after: Sequence[NDArray[np.floating]]
) -> list[Effect]:
    """Set windows beside what became of them.

    Parameters
    ----------
    before : sequence of ndarray, shape (WINDOW, channels)
    after : sequence of ndarray, shape (samples, WINDOW, channels)
        One entry per window.
    """
    first = [numbers_of(window) for window in before]
    then = [[numbers_of(sample) for sample in samples] for samples in after]
    found = []
    for what, (_, unit) in first[0].items():
        start = np.array([numbers[what][0] for numbers in first])
        end = np.array([[numbers[what][0] for numbers in samples] for samples in then])
        change = end - start[:, None]
        if not np.isfinite(change).any():
            continue
        low, high = np.nanpercentile(change, [5.0, 95.0])
        found.append(Effect(what, unit, _mean(start), _mean(end.ravel()), float(low), float(high)))
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


def _mean(values: NDArray[np.floating]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
