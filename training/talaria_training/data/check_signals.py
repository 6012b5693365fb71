"""Clocks, dead and doubled channels, ranges and units, one sensor at a time and without a calibration."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2, SensorParams
from talaria_training.data.faults import Fault, Severity
from talaria_training.data.health import check_sensors
from talaria_training.data.recording import Recording

Floats = NDArray[np.float64]

_GAP_PERIODS = 1.5
_RATE_OFF = 0.01
# A share of samples that are the one before, to the last digit of all six channels.
_REPEATED = 0.02
# Nothing measured hits its own largest value more than once or twice, unless that is the end of the range.
_CLIPPED, _LEAST_CLIPPED = 0.0005, 5
_SAME = 0.99
_REST_S = 0.5
_REST_SHARE = 0.05
_UNITS = {
    "g": 1.0,
    "m/s²": STANDARD_GRAVITY_MS2,
    "cm/s² or mg": 990.0,
    "mm/s²": 1e3 * STANDARD_GRAVITY_MS2,
}
_UNIT_BAND = 1.4
# At rest a sensor whose gravity was taken out reads next to nothing of what it reads in a step.
_NO_GRAVITY = 0.06


def check_clock(recording: Recording) -> list[Fault]:
    """Look at the time column: order, gaps and rate."""
    steps = np.diff(recording.t_s)
    period = 1.0 / recording.rate_hz

    def fault(severity: Severity, what: str, action: str) -> list[Fault]:
        return [Fault(severity, recording.name, "clock", what, action)]

    back = np.flatnonzero(~(steps > 0))
    if len(back):
        return fault(
            Severity.SPOILS,
            f"time does not increase at {len(back)} places, first after {recording.t_s[back[0]]:.2f} s",
            "sort the rows, and delete those that are there twice",
        )
    found = 1.0 / float(np.median(steps)) if len(steps) else recording.rate_hz
    if abs(found / recording.rate_hz - 1.0) > _RATE_OFF:
        return fault(
            Severity.SPOILS,
            f"it is said to run at {recording.rate_hz:g} Hz but its time column runs at {found:.2f} Hz",
            "correct whichever is wrong",
        )
    gaps = steps > _GAP_PERIODS * period
    if gaps.any():
        lost = round(float(np.sum(steps[gaps] / period - 1.0)))
        return fault(
            Severity.WEAKENS if steps.max() > 0.1 else Severity.NOTE,
            f"about {lost} samples are missing in {gaps.sum()} gaps, the longest of {steps.max():.2f} s",
            "leave the gap as empty rows, so that what follows is not taken to follow at once",
        )
    return []


def check_channels(recording: Recording) -> list[Fault]:
    """Look for dead, doubled, held and clipped channels."""
    found: list[Fault] = []
    sick = check_sensors(
        recording.name,
        recording.rate_hz,
        recording.slots,
        recording.acc_ms2,
        recording.gyr_rads,
    )
    for issue in sick[3]:
        slot = issue.where.rsplit(", ", 1)[-1]
        if issue not in recording.issues and slot not in recording.dead_slots:
            severity = Severity.SPOILS if slot in sick[2] else Severity.NOTE
            action = "take this sensor out" if slot in sick[2] else "nothing, it can be bridged"
            found.append(Fault(severity, recording.name, slot, issue.what, action))
    dead = set(sick[2]) | set(recording.dead_slots)
    alive = [slot for slot in recording.slots if slot not in dead]
    for slot in alive:
        found += _one_sensor(recording.name, slot, _six(recording, slot))
    return found + list(_doubles(recording, alive))


def check_units(recording: Recording) -> list[Fault]:
    """Judge units by gravity at rest and by how fast a leg can turn."""
    found: list[Fault] = []
    for slot in recording.slots:
        if recording.missing(slots=(slot,)):
            continue
        acc, gyr = recording.acc(slot), recording.gyr(slot)
        known = np.isfinite(acc).all(axis=1) & np.isfinite(gyr).all(axis=1)
        if known.sum() > _REST_S * recording.rate_hz * 4:
            found += _acc_unit(recording, slot, acc[known])
            found += _gyr_unit(recording, slot, acc[known], gyr[known])
    return found


def rest_level(acc: Floats, rate_hz: float) -> float:
    """Return what a sensor reads where it is calmest, in whatever unit; shape (T, 3) in."""
    width = round(_REST_S * rate_hz)
    windows = np.lib.stride_tricks.sliding_window_view(acc, width, axis=0)[:: max(1, width // 4)]
    spread = windows.std(axis=2).sum(axis=1)
    calm = spread <= np.quantile(spread, _REST_SHARE)
    return float(np.median(np.linalg.norm(windows[calm].mean(axis=2), axis=1)))


def _six(recording: Recording, slot: str) -> Floats:
    return np.hstack([recording.acc(slot), recording.gyr(slot)])


def _one_sensor(name: str, slot: str, six: Floats) -> Iterator[Fault]:
    held = float((np.diff(six, axis=0) == 0.0).all(axis=1).mean())
    if held > _REPEATED:
        yield Fault(
            Severity.WEAKENS,
            name,
            slot,
            f"{held:.0%} of its samples repeat the one before",
            "it was recorded at a lower rate, or its link lost samples: record or export it at its own rate",
        )
    for kind, three in (("accelerometer", six[:, :3]), ("gyroscope", six[:, 3:])):
        ends = np.nanmax(np.abs(three), axis=0)
        at_end = (np.abs(three) == ends).sum(axis=0)
        share = float(at_end.max()) / len(three)
        if share > _CLIPPED and at_end.max() >= _LEAST_CLIPPED:
            axis = int(at_end.argmax())
            yield Fault(
                Severity.WEAKENS,
                name,
                slot,
                f"its {kind} is at the end of its range ({ends[axis]:.4g} on {'xyz'[axis]}) in "
                f"{share:.2%} of the samples",
                "set a wider range (feet need ±16 g and ±2000 °/s), and trust its peaks less",
            )


def _doubles(recording: Recording, alive: list[str]) -> Iterator[Fault]:
    columns = {slot: _six(recording, slot) for slot in alive}
    for one, other in combinations(alive, 2):
        same = (columns[one] == columns[other]).all(axis=1).mean()
        if same > _SAME:
            yield Fault(
                Severity.SPOILS,
                recording.name,
                f"{one} and {other}",
                "they hold the same numbers",
                "one of them was copied or exported under the other's name: export both again",
            )
    for slot, six in columns.items():
        for i, k in combinations(range(6), 2):
            if (six[:, i] == six[:, k]).mean() > _SAME:
                names = [f"{'acc' if c < 3 else 'gyr'}_{'xyz'[c % 3]}" for c in (i, k)]
                yield Fault(
                    Severity.SPOILS,
                    recording.name,
                    slot,
                    f"its {names[0]} and {names[1]} hold the same numbers",
                    "correct which column is which",
                )


def _acc_unit(recording: Recording, slot: str, acc: Floats) -> Iterator[Fault]:
    rest = rest_level(acc, recording.rate_hz)
    steps = float(np.percentile(np.linalg.norm(acc, axis=1), 95))
    params = SensorParams()
    if rest < _NO_GRAVITY * steps:
        yield Fault(
            Severity.SPOILS,
            recording.name,
            slot,
            f"it reads {rest:.2g} at rest and {steps:.3g} in steps, so gravity has been taken out",
            "export the acceleration with gravity in it (not 'free' or 'linear' acceleration)",
        )
        return
    low, high = params.gravity_ratio
    if not low <= rest / STANDARD_GRAVITY_MS2 <= high:
        near = [u for u, size in _UNITS.items() if 1 / _UNIT_BAND < rest / size < _UNIT_BAND]
        guess = f"as if it were in {near[0]}" if near else "as raw counts would"
        yield Fault(
            Severity.SPOILS,
            recording.name,
            slot,
            f"it reads {rest:.4g} at rest where gravity is 9.81 m/s², {guess}",
            f"say its unit, or multiply its accelerometer by {STANDARD_GRAVITY_MS2 / rest:.4g}",
        )
        return
    off = abs(rest - STANDARD_GRAVITY_MS2)
    if off > params.gravity_b_ms2:
        yield Fault(
            Severity.WEAKENS if off > params.gravity_c_ms2 else Severity.NOTE,
            recording.name,
            slot,
            f"it reads {rest:.1f} m/s² at rest instead of 9.8",
            "its accelerometer has a wrong scale or a bias: calibrate it, or trust its inclination less",
        )


def _gyr_unit(recording: Recording, slot: str, acc: Floats, gyr: Floats) -> Iterator[Fault]:
    params = SensorParams()
    usual, fastest = np.percentile(np.linalg.norm(gyr, axis=1), [90, 99])
    leg = slot.startswith(("femur", "tibia", "calcn"))
    if fastest > params.fastest_rads:
        yield Fault(
            Severity.SPOILS,
            recording.name,
            slot,
            f"it turns at {fastest:.0f} rad/s, faster than a leg can, as if its rates were in °/s",
            "say that its unit is °/s, or multiply its gyroscope by 0.01745",
        )
        return
    shaken = np.linalg.norm(acc, axis=1).std() * STANDARD_GRAVITY_MS2
    shaken /= max(rest_level(acc, recording.rate_hz), 1e-9)
    if leg and usual < params.slowest_rads and shaken > params.shaken_ms2:
        yield Fault(
            Severity.SPOILS,
            recording.name,
            slot,
            f"it is shaken by steps but turns at only {usual:.2g} rad/s, as if °/s had been converted twice",
            "say that its unit is rad/s, or multiply its gyroscope by 57.3",
        )
