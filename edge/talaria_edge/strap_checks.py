"""Tell by a stance and a walk whether each sensor is tight on its segment; in sensor frames throughout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.calibration import Stretch
from talaria_edge.findings import Finding, Grade, Symptom
from talaria_edge.mounting import angle_between, flat_foot_up
from talaria_edge.placement import stride_period

FloatArray = NDArray[np.float64]

_TIGHTEN = "Tighten the strap of {}, then stand still and walk again."
_POINTS = 40
"""Of a mean stride."""
_REACH = 6
"""Points by which a half's mean stride may be shifted against the other's."""


@dataclass(frozen=True, slots=True)
class StrapParams:
    """Where the line is drawn between a tight strap and a loose one.

    Each number lies between what the walks of CapSense Sub01, Sub04 and Sub07 showed with and without a
    planted fault. Feet ring after a hard heel strike, so their lines were drawn, after a first look at
    the other five people, at the weakest 2 % of the planted rattles (8° to 15°).

    Attributes
    ----------
    rattle_hz : (float, float)
        Band of a sensor that swings on a loose strap.
    rattle_foot, rattle_thigh : float
        Rate in that band over the rate below 4 Hz.
    rattle_foot_rads, rattle_thigh_rads : float
        And RMS rate in it.
    slip_rad : float
        Turn between the mean strides of the walk's two halves.
    alike : float
        How well those must then agree (1 is perfectly) for the turn to mean anything.
    stance_rad : float
        Between gravity in a foot's sensor while standing and with the foot flat in the walk.
    """

    rattle_hz: tuple[float, float] = (5.0, 12.0)
    rattle_foot: float = 0.5
    rattle_thigh: float = 0.8
    rattle_foot_rads: float = 1.38
    rattle_thigh_rads: float = 0.85
    slip_rad: float = float(np.radians(11.5))
    alike: float = 0.78
    stance_rad: float = float(np.radians(6.5))


def examine_straps(stretch: Stretch, params: StrapParams | None = None) -> list[Finding]:
    """Find sensors that move on their segments, and feet that did not stand flat.

    Parameters
    ----------
    stretch : Stretch
    params : StrapParams, optional
    """
    params = params or StrapParams()
    acc, gyr = stretch.acc_ms2[stretch.walking], stretch.gyr_rads[stretch.walking]
    found = []
    for i, slot in enumerate(stretch.slots):
        found += _rattles(slot, gyr[:, i], stretch.rate_hz, params)
        if slot.startswith("calcn"):
            up = stretch.acc_ms2[stretch.still, i].mean(axis=0)
            flat = flat_foot_up(acc[:, i], gyr[:, i], stretch.rate_hz)
            found += _stands(slot, angle_between(up, flat), params)
    period = stride_period(gyr, stretch.rate_hz)
    return found + (_slips(stretch, period, params) if len(gyr) >= 2 * period else [])


def _rattles(slot: str, gyr_rads: FloatArray, rate_hz: float, params: StrapParams) -> list[Finding]:
    foot = slot.startswith("calcn")
    share, size_rads = rattle(gyr_rads, rate_hz, params.rattle_hz)
    least = params.rattle_foot_rads if foot else params.rattle_thigh_rads
    if share <= (params.rattle_foot if foot else params.rattle_thigh) or size_rads <= least:
        return []
    low_hz, high_hz = params.rattle_hz
    return [
        Finding(
            Symptom.LOOSE,
            (slot,),
            Grade.F,
            f"{slot} rattles at every step ({size_rads:.1f} rad/s between {low_hz:g} and "
            f"{high_hz:g} Hz).",
            _TIGHTEN.format(slot),
        )
    ]


def _stands(slot: str, tilt_rad: float, params: StrapParams) -> list[Finding]:
    if tilt_rad <= params.stance_rad:
        return []
    return [
        Finding(
            Symptom.FOOT_NOT_FLAT,
            (slot,),
            Grade.C,
            f"{slot} stood {np.degrees(tilt_rad):.0f}° away from how it lies flat while walking.",
            "Stand still again, both feet flat on the ground.",
        )
    ]


def _slips(stretch: Stretch, period: float, params: StrapParams) -> list[Finding]:
    acc, gyr = stretch.acc_ms2[stretch.walking], stretch.gyr_rads[stretch.walking]
    turns = [turn_between_halves(acc[:, i], gyr[:, i], period) for i in range(acc.shape[1])]
    if np.median([alike for _, alike in turns]) < params.alike:
        return [
            Finding(
                Symptom.UNEVEN,
                (),
                Grade.C,
                "The walk's second half is unlike its first.",
                "Walk straight ahead again, at an even pace.",
            )
        ]
    found = []
    for slot, (turn_rad, alike) in zip(stretch.slots, turns, strict=True):
        if alike < params.alike:
            found.append(
                Finding(
                    Symptom.OTHER_BODY,
                    (slot,),
                    Grade.F,
                    f"{slot} does not repeat its strides as the other sensors do, so it is not on this "
                    "body, or was knocked.",
                    f"Look who wears {slot}, then stand still and walk again.",
                )
            )
        elif turn_rad > params.slip_rad:
            found.append(
                Finding(
                    Symptom.SLIPPED,
                    (slot,),
                    Grade.F,
                    f"{slot} turned by {np.degrees(turn_rad):.0f}° on its segment during the walk.",
                    _TIGHTEN.format(slot),
                )
            )
    return found


def rattle(
    gyr_rads: FloatArray, rate_hz: float, band_hz: tuple[float, float]
) -> tuple[float, float]:
    """Rate of turn in a band: over that below 4 Hz, and in rad/s RMS; zeros if the rate is too low.

    Parameters
    ----------
    gyr_rads : ndarray, shape (T, 3)
        A walk, any frame fixed to the sensor.
    rate_hz : float
    band_hz : (float, float)
    """
    low, high = band_hz
    if rate_hz <= 2.2 * high:
        return 0.0, 0.0
    window = np.hanning(len(gyr_rads))
    swings = (gyr_rads - gyr_rads.mean(axis=0)) * window[:, None]
    power = (np.abs(np.fft.rfft(swings, axis=0)) ** 2).sum(axis=1)
    power *= 2.0 / len(swings) / (window**2).sum()
    hz = np.fft.rfftfreq(len(swings), 1.0 / rate_hz)
    inside = float(np.sqrt(power[(hz >= low) & (hz <= high)].sum()))
    below = float(np.sqrt(power[hz < 4.0].sum()))
    return inside / max(below, 1e-9), inside


def turn_between_halves(
    acc_ms2: FloatArray, gyr_rads: FloatArray, period: float
) -> tuple[float, float]:
    """By how much a sensor turned between the first and the second half of a walk, rad.

    The rotation that brings the mean stride of the one half best onto that of the other (Kabsch, both
    readings weighted alike, shifted in time as fits best), and how alike the two then are (at most 1).

    Parameters
    ----------
    acc_ms2, gyr_rads : ndarray, shape (T, 3)
        Any frame fixed to the sensor; at least two strides.
    period : float
        Samples in a stride.
    """
    readings = np.concatenate([acc_ms2 / _rms(acc_ms2), gyr_rads / _rms(gyr_rads)], axis=1)
    whole = int(len(readings) // period)
    at = (np.arange(whole)[:, None] + np.arange(_POINTS) / _POINTS) * period
    strides = np.stack(
        [np.interp(at, np.arange(len(readings)), column) for column in readings.T], axis=2
    )
    first, second = strides[: whole // 2].mean(axis=0), strides[-(whole // 2) :].mean(axis=0)
    shifts = range(-_REACH, _REACH + 1)
    alike, turn_rad = max(_align(first, np.roll(second, shift, axis=0)) for shift in shifts)
    return turn_rad, alike / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-9)


def _align(first: FloatArray, second: FloatArray) -> tuple[float, float]:
    """How much of one (N, 6) curve the best rotation of another explains, and how large it is, rad."""
    both = first[:, :3].T @ second[:, :3] + first[:, 3:].T @ second[:, 3:]
    left, fit, right = np.linalg.svd(both)
    flip = np.array([1.0, 1.0, np.linalg.det(left @ right)])  # a reflection is no rotation
    cosine = (np.trace((left * flip) @ right) - 1.0) / 2.0
    return float((fit * flip).sum()), float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def _rms(x: FloatArray) -> float:
    return max(float(np.sqrt((x**2).sum(axis=1).mean())), 1e-9)
