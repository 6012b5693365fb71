"""Stances out of the measured force of a foot: when it is loaded, and what each stance holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_edge.stances import StanceMetrics, measure

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ON_N = 20.0
"""A stance holds this much vertical force at least once (the usual threshold of force plates)."""
OFF_N = 10.0
"""A stance begins and ends where the vertical force passes this."""
SHORTEST_S = 0.1
"""Less than any stance of a run; what is shorter is a knock, or the other foot's."""


@dataclass(frozen=True, slots=True)
class StanceForces:
    """One stance, from its first to its last loaded sample, and its peaks, impulses and loading rate.

    Attributes
    ----------
    start_s, stop_s : float
        Since the first sample.
    metrics : StanceMetrics
        As the runtime reads them off a force it has estimated.
    """

    start_s: float
    stop_s: float
    metrics: StanceMetrics


def runs_of(flags: Bools) -> list[slice]:
    """Return every run of True as a slice, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def loaded_runs(vertical: Floats, on: float = ON_N, off: float = OFF_N) -> list[slice]:
    """Return the runs above `off` that reach `on`; NaN is not loaded.

    Parameters
    ----------
    vertical : ndarray, shape (T,)
        Vertical force of one foot, up positive, in the unit of the two thresholds.
    """
    above = np.asarray(vertical > off)  # false where NaN
    return [run for run in runs_of(above) if vertical[run].max() >= on]


def whole_stances(force_bw: NDArray[np.floating], rate_hz: float, mass_kg: float) -> list[slice]:
    """Return the stances of one foot that begin and end inside the trusted part of a recording.

    Parameters
    ----------
    force_bw : ndarray, shape (T, 3)
        Of one foot, in `FORCE_AXES`; NaN where it is not trusted.
    rate_hz, mass_kg : float
    """
    vertical = np.asarray(force_bw[:, 2], dtype=np.float64)
    weight_n = mass_kg * STANDARD_GRAVITY_MS2
    runs = loaded_runs(vertical, ON_N / weight_n, OFF_N / weight_n)
    sound = np.concatenate(([False], np.isfinite(vertical), [False]))
    return [
        run
        for run in runs
        if sound[run.start] and sound[run.stop + 1] and run.stop - run.start >= SHORTEST_S * rate_hz
    ]


def stance_forces(
    force_bw: NDArray[np.floating], rate_hz: float, mass_kg: float
) -> list[StanceForces]:
    """Return what every whole stance of one foot holds; see `whole_stances` for the parameters."""
    return [
        StanceForces(
            run.start / rate_hz,
            (run.stop - 1) / rate_hz,
            measure(np.asarray(force_bw[run], dtype=np.float64), rate_hz),
        )
        for run in whole_stances(force_bw, rate_hz, mass_kg)
    ]
