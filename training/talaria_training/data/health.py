"""Is a sensor alive? Frozen, empty and missing channels, found from the data alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from talaria_training.data.recording import DataIssue

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
# A gap this short is bridged by a straight line; a longer one hides part of a step.
LONGEST_BRIDGED_GAP_S = 0.1
# No sensor on a living person repeats all three axes to the last digit for a whole second.
LONGEST_FROZEN_S = 1.0


def check_sensors(
    name: str, rate_hz: float, slots: tuple[str, ...], acc_ms2: Floats, gyr_rads: Floats
) -> tuple[Floats, Floats, tuple[str, ...], list[DataIssue]]:
    """Bridge short gaps and find sensors that cannot be used.

    Parameters
    ----------
    name : str
        The recording, for the issues.
    rate_hz : float
    slots : tuple of str
    acc_ms2, gyr_rads : ndarray, shape (T, S, 3)

    Returns
    -------
    acc_ms2, gyr_rads : ndarray, shape (T, S, 3)
        With gaps of at most 0.1 s interpolated.
    dead : tuple of str
        Slots with a constant axis, more than a second frozen, or a longer gap.
    issues : list of DataIssue
    """
    acc_ms2, gyr_rads = acc_ms2.copy(), gyr_rads.copy()
    dead: list[str] = []
    issues: list[DataIssue] = []
    for i, slot in enumerate(slots):
        faults: list[str] = []
        for quantity, data in (("accelerometer", acc_ms2), ("gyroscope", gyr_rads)):
            data[:, i], bridged = _bridge(data[:, i], round(LONGEST_BRIDGED_GAP_S * rate_hz))
            if bridged:
                what = f"the {quantity} misses {bridged} samples in short gaps"
                issues.append(DataIssue(f"{name}, {slot}", what, "bridged by straight lines"))
            fault = _fault(data[:, i], rate_hz)
            if fault:
                faults.append(f"the {quantity} {fault}")
        if faults:
            dead.append(slot)
            issues.append(
                DataIssue(f"{name}, {slot}", " and ".join(faults), "this sensor is not used")
            )
    return acc_ms2, gyr_rads, tuple(dead), issues


def longest_run(flags: Bools | np.bool_) -> tuple[int, int]:
    """Return start and length of the longest run of True; (0, 0) if there is none."""
    edges = np.diff(np.concatenate(([0], np.asarray(flags, dtype=np.int8), [0])))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not len(starts):
        return 0, 0
    best = int(np.argmax(stops - starts))
    return int(starts[best]), int(stops[best] - starts[best])


def _fault(xyz: Floats, rate_hz: float) -> str | None:
    lost = ~np.isfinite(xyz).all(axis=1)
    if lost.all():
        return "never delivers a number"
    if lost.any():
        start, length = longest_run(lost)
        return f"delivers no numbers for {length / rate_hz:.1f} s from {start / rate_hz:.1f} s on"
    flat = np.ptp(xyz, axis=0) == 0.0
    if flat.any():
        axis = int(np.argmax(flat))
        return f"always says {xyz[0, axis]:g} on its {'xyz'[axis]} axis"
    start, length = longest_run((np.diff(xyz, axis=0) == 0.0).all(axis=1))
    if length > LONGEST_FROZEN_S * rate_hz:
        return f"is frozen for {length / rate_hz:.1f} s from {start / rate_hz:.1f} s on"
    return None


def _bridge(xyz: Floats, longest: int) -> tuple[Floats, int]:
    """Interpolate gaps of at most `longest` samples, unless a longer one makes it pointless."""
    lost = ~np.isfinite(xyz).all(axis=1)
    if not lost.any() or longest_run(lost)[1] > longest:
        return xyz, 0
    have = np.flatnonzero(~lost)
    at = np.arange(len(xyz))
    return np.column_stack([np.interp(at, have, xyz[have, k]) for k in range(3)]), int(lost.sum())
