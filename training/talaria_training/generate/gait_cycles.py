"""Cycles of windows of gait, aligned by the right foot's landing, and the numbers that describe each."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from talaria_edge.generate.motion import CHANNELS, PELVIS, RATE_HZ, VELOCITY, columns
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_training.generate.windows import Windows
from talaria_training.kinetics.stances import loaded_runs

Floats = NDArray[np.float64]

POINTS = 101
"""Of a cycle, from one landing of the right foot to its next."""
ON_BW, OFF_BW = 0.1, 0.03
"""A foot lands where its vertical force passes the second and then reaches the first."""
_SHORTEST_S = 0.4
"""No stride, not even a sprinter's, is shorter; what is, is a knock."""


@dataclass(frozen=True, slots=True, eq=False)
class Cycles:
    """One cycle of each window that holds one.

    Attributes
    ----------
    values : ndarray, shape (M, POINTS, len(CHANNELS))
    stride_s : ndarray, shape (M,)
    person, name : ndarray of str, shape (M,)
        Who, and in which recording.
    style : ndarray of int64, shape (M,)
        Index into `talaria_edge.generate.motion.STYLES`, -1 unknown.
    row : ndarray of int, shape (M,)
        Which of the windows it was cut from.
    """

    values: Floats
    stride_s: Floats
    person: NDArray[np.str_]
    name: NDArray[np.str_]
    style: NDArray[np.int64]
    row: NDArray[np.intp]

    def __len__(self) -> int:
        """Count the cycles."""
        return len(self.values)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Cycles:
        """Keep the cycles that `rows`, a mask or indices, names."""
        return Cycles(*(getattr(self, field.name)[rows] for field in fields(self)))


def first_cycles(windows: Windows) -> Cycles:
    """Take the first whole cycle of each window; windows without one are left out.

    A window of 1.5 s holds a whole cycle only if it starts shortly before a landing, so few windows of a
    slow walk have one: real and generated alike, and longer ones may be given. A cycle that overlapping
    windows of one recording share is taken once.
    """
    found: dict[tuple[str, int], tuple[int, tuple[float, float]]] = {}
    for row, values in enumerate(windows.values):
        cycle = _first(values)
        if cycle is not None:
            landed = round(windows.start[row] + cycle[0])
            found.setdefault((str(windows.name[row]), landed), (row, cycle))
    rows = np.array([row for row, _ in found.values()], dtype=np.intp)
    stretched = [_stretched(windows.values[row], *cycle) for row, cycle in found.values()]
    return Cycles(
        np.array(stretched).reshape(len(rows), POINTS, len(CHANNELS)),
        np.array([(stop - start) / RATE_HZ for _, (start, stop) in found.values()]),
        windows.person[rows],
        windows.name[rows],
        windows.style[rows],
        rows,
    )


def landings(vertical_bw: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return at which sample, with its fraction, a foot's force, shape (T,), passes `OFF_BW` upwards."""
    force = np.asarray(vertical_bw, dtype=np.float64)
    starts = [
        run.start
        for run in loaded_runs(force, ON_BW, OFF_BW)
        if run.start > 0 and np.isfinite(force[run.start - 1])
    ]
    return np.array(
        [s - (force[s] - OFF_BW) / (force[s] - force[s - 1]) for s in starts], dtype=np.float64
    )


def statistics(cycles: Cycles) -> dict[str, Floats]:
    """Describe each cycle in numbers, (M,) each; NaN where its channels are not known.

    Means and ranges of the angles and of the velocity, steps a minute, and of each foot's force its share of
    the cycle, peaks, braking and propulsion; what both legs have also as the right's excess over the
    left in percent of their mean.
    """
    found: dict[str, Floats] = {"cadence_steps_min": 120.0 / cycles.stride_s}
    for channel in (*ANGLES, *PELVIS, *VELOCITY):
        curve = cycles.values[:, :, columns([channel])[0]]
        found[f"{channel} mean"] = curve.mean(axis=1)
        found[f"{channel} range"] = np.ptp(curve, axis=1)
    for side in SIDES:
        found |= _force_statistics(cycles, side)
    for name in ("knee_angle_{} range", "stance_share_{}", "peak_vertical_{} BW"):
        right, left = (found[name.format(side)] for side in SIDES)
        both = right + left
        found[name.format("excess") + " %"] = 200.0 * np.divide(
            right - left, both, out=np.full_like(both, np.nan), where=both != 0
        )
    return found


def _force_statistics(cycles: Cycles, side: str) -> dict[str, Floats]:
    anterior, lateral, vertical = (
        cycles.values[:, :, columns([f"grf_{axis}_{side}"])[0]]
        for axis in ("anterior", "lateral", "vertical")
    )
    known = np.isfinite(vertical).all(axis=1)
    return {
        f"stance_share_{side}": np.where(known, (vertical > OFF_BW).mean(axis=1), np.nan),
        f"peak_vertical_{side} BW": vertical.max(axis=1),
        f"mean_vertical_{side} BW": vertical.mean(axis=1),
        f"braking_{side} BW": anterior.min(axis=1),
        f"propulsion_{side} BW": anterior.max(axis=1),
        f"peak_lateral_{side} BW": np.abs(lateral).max(axis=1),
    }


def _first(values: NDArray[np.floating]) -> tuple[float, float] | None:
    landed = landings(values[:, columns(["grf_vertical_r"])[0]])
    long_enough = np.flatnonzero(np.diff(landed) >= _SHORTEST_S * RATE_HZ)
    if not len(long_enough):
        return None
    first = int(long_enough[0])
    return float(landed[first]), float(landed[first + 1])


def _stretched(values: NDArray[np.floating], start: float, stop: float) -> Floats:
    at = np.linspace(start, stop, POINTS)
    rows = np.arange(len(values))
    return np.column_stack([np.interp(at, rows, column) for column in values.T])
