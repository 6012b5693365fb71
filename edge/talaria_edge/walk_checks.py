"""Tell by a walk whether each sensor is where its name says and on this body."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.calibration import CalibrationParams, Stretch, foot_moving
from talaria_edge.findings import Finding, Grade, Symptom
from talaria_edge.placement import (
    FLATNESS_LIMIT,
    SideScores,
    flatness,
    harmonics,
    out_of_time_s,
    side_scores,
    stride_period,
)

FloatArray = NDArray[np.float64]

_SIDES = {"r": "right", "l": "left"}
_WALK = "Walk straight ahead again, at an even pace."


@dataclass(frozen=True, slots=True)
class WalkParams:
    """Where the line is drawn between a good walk and a mistake.

    Each lies between what the walks of CapSense Sub01, Sub04 and Sub07 showed with and without the
    mistake; which measures to draw lines through was decided with all eight people in view.

    Attributes
    ----------
    sure_feet, sure_legs, sure_pairing : float
        Sizes of the scores of `placement` below which right and left are not told apart.
    stray_s : tuple of (float, float)
        A sensor whose strides stray from the others' by so many seconds, and by so many times more than
        theirs do, is on another body; any of the pairs will do.
    late_rad, late_stray_s : float
        So is one that swings at the wrong moment by this much and strays by so much at least.
    odd_leg : (float, float)
        So is the thigh or foot of the one leg whose pairing is below the first number where the other
        leg's is above the second.
    few_steps, enough_steps : int
        Strides per foot for a C and for an A.
    axis_thigh, axis_foot : float
        Ratio of the two level principal rates (amplitudes) below which an axis is unclear.
    """

    sure_feet: float = 0.25
    sure_legs: float = 0.5
    sure_pairing: float = 0.8
    stray_s: tuple[tuple[float, float], ...] = ((0.045, 1.8), (0.025, 2.5))
    late_rad: float = float(np.radians(75.0))
    late_stray_s: float = 0.01
    odd_leg: tuple[float, float] = (0.1, 1.0)
    few_steps: int = 3
    enough_steps: int = 5
    axis_thigh: float = 1.2
    axis_foot: float = 1.5


def examine_places(stretch: Stretch, skip: Collection[str] = ()) -> list[Finding]:
    """Find sensors that do not move like the segment they are named after.

    Works on sensor frames, so it needs no calibration: where thigh and foot are swapped there may be none.

    Parameters
    ----------
    stretch : Stretch
    skip : collection of str
        Slots whose straps are loose: a foot's sensor that rattles never lies flat.
    """
    flat = flatness(stretch.gyr_rads[stretch.walking])
    looks = {
        slot: ("calcn" if value < FLATNESS_LIMIT else "femur")
        for slot, value in zip(stretch.slots, flat, strict=True)
        if slot not in skip
    }
    wrong = [slot for slot, like in looks.items() if not slot.startswith(like)]
    thighs = [slot for slot in wrong if slot.startswith("femur")]
    feet = [slot for slot in wrong if slot.startswith("calcn")]
    if len(thighs) == len(feet) > 0:
        both = _names(sorted(wrong))
        return [
            Finding(
                Symptom.SWAPPED_THIGH_FOOT,
                tuple(sorted(wrong)),
                Grade.F,
                f"The thigh sensor lies flat in every stride and the foot sensor never does: {both} "
                "are swapped.",
                f"Swap {both}, then stand still and walk again.",
            )
        ]
    return [
        Finding(
            Symptom.WRONG_PLACE,
            (slot,),
            Grade.F,
            f"{slot} does not move like a {'thigh' if slot.startswith('femur') else 'foot'}.",
            f"Look where the sensor named {slot} sits, then stand still and walk again.",
        )
        for slot in wrong
    ]


def examine_walk(
    stretch: Stretch,
    acc_ms2: FloatArray,
    gyr_rads: FloatArray,
    params: WalkParams | None = None,
    *,
    sides: bool = True,
) -> list[Finding]:
    """Examine a walk whose sensors move like thighs and feet.

    Parameters
    ----------
    stretch : Stretch
    acc_ms2, gyr_rads : ndarray, shape (T, S, 3)
        The walking part in the segment frames that the calibration gives.
    params : WalkParams, optional
    sides : bool
        Whether right and left are in question.
    """
    params = params or WalkParams()
    slots, rate_hz = stretch.slots, stretch.rate_hz
    period = stride_period(gyr_rads, rate_hz)
    if not len(gyr_rads) >= 2 * period:
        return [
            Finding(
                Symptom.FEW_STEPS,
                (),
                Grade.F,
                f"No two strides are alike in {len(gyr_rads) / rate_hz:.0f} s of walking.",
                _WALK,
            )
        ]
    score = side_scores(slots, acc_ms2, gyr_rads, period)
    found = _body(slots, gyr_rads, (rate_hz, period), score, params)
    if not found and sides:
        found = _sides(slots, score, params)
    for i, slot in enumerate(slots):
        found += _quality(slot, gyr_rads[:, i], rate_hz, params)
    return found


def _body(
    slots: Sequence[str],
    gyr_rads: FloatArray,
    beat: tuple[float, float],
    score: SideScores,
    params: WalkParams,
) -> list[Finding]:
    rate_hz, period = beat
    stray_s = out_of_time_s(gyr_rads, rate_hz)
    if np.isnan(stray_s).any():
        return []
    late_rad = abs(_lateness(slots, gyr_rads, period))
    worst = int(np.argmax(stray_s))
    usual_s = float(np.median(np.delete(stray_s, worst)))
    late = np.flatnonzero((late_rad > params.late_rad) & (stray_s > params.late_stray_s))
    odd: tuple[str, ...] = ()
    if any(stray_s[worst] > max(least, times * usual_s) for least, times in params.stray_s):
        odd = (slots[worst],)
    elif len(late):
        odd = (slots[late[np.argmax(late_rad[late])]],)
    elif len(score.pairing_of) == len(_SIDES):
        low, high = sorted(score.pairing_of, key=lambda side: score.pairing_of[side])
        if score.pairing_of[low] < params.odd_leg[0] and score.pairing_of[high] > params.odd_leg[1]:
            odd = (f"femur_{low}", f"calcn_{low}")
    if not odd:
        return []
    who = " or ".join(odd)
    return [
        Finding(
            Symptom.OTHER_BODY,
            odd,
            Grade.F,
            f"{who} does not keep step with the other sensors, so it is not on this body.",
            f"Look who wears {who}, then stand still and walk again.",
        )
    ]


_SWING_RAD = {"femur": np.radians(60.0), "calcn": 0.0}
"""By how much a thigh's turning runs ahead of its foot's at the rate of the stride."""


def _lateness(slots: Sequence[str], gyr_rads: FloatArray, period: float) -> FloatArray:
    """Angle by which each sensor's swing misses its usual moment, given the others', shape (S,)."""
    beats = harmonics(gyr_rads[:, :, 2], period, 1)[0]
    usual = np.array([_SWING_RAD[s[:5]] + (np.pi if s.endswith("_l") else 0.0) for s in slots])
    unit = beats / np.maximum(np.abs(beats), 1e-9) * np.exp(-1j * usual)
    others = unit.sum() - unit
    return np.asarray(np.angle(unit * others.conj()))


def _sides(slots: Sequence[str], score: SideScores, params: WalkParams) -> list[Finding]:
    legs = score.feet + (score.thighs if score.pairing_of else 0.0)
    thighs = tuple(slot for slot in slots if slot.startswith("femur"))
    feet = tuple(slot for slot in slots if slot.startswith("calcn"))
    if score.pairing < -params.sure_pairing:
        if score.feet < 0.0:
            return [_swap(Symptom.SWAPPED_FEET, feet, abs(score.feet) > params.sure_feet)]
        return [_swap(Symptom.SWAPPED_THIGHS, thighs, score.feet > params.sure_feet)]
    if legs < -(params.sure_legs if thighs else params.sure_feet):
        return [_swap(Symptom.SWAPPED_LEGS, tuple(slots), sure=True)]
    if legs > params.sure_legs and not score.pairing <= 0.0:  # nan: feet alone
        return []
    return [
        Finding(
            Symptom.SIDES_UNSURE,
            tuple(slots),
            Grade.B,
            "This walk does not show beyond doubt which sensors are right and which are left.",
            "Check the sides by eye, or calibrate with --swing.",
        )
    ]


def _swap(symptom: Symptom, slots: tuple[str, ...], sure: bool) -> Finding:
    what = {
        Symptom.SWAPPED_THIGHS: "Each thigh moves with the other leg's foot, and the feet are on their sides",
        Symptom.SWAPPED_FEET: "Each foot moves with the other leg's thigh, and the feet are on the wrong sides",
        Symptom.SWAPPED_LEGS: "Both legs roll and turn as the opposite leg does",
    }[symptom]
    doubt = "" if sure else " (or the other pair is: feet and thighs look exchanged)"
    return Finding(
        symptom,
        slots,
        Grade.F,
        f"{what}: {_names(slots)} look swapped between right and left{doubt}.",
        "Swap them, then stand still and walk again; --swing settles any doubt.",
    )


def _quality(slot: str, gyr_rads: FloatArray, rate_hz: float, params: WalkParams) -> list[Finding]:
    foot = slot.startswith("calcn")
    found = []
    steps = _steps(gyr_rads, rate_hz) if foot else params.enough_steps
    if steps < params.enough_steps:
        found.append(
            Finding(
                Symptom.FEW_STEPS,
                (slot,),
                Grade.B if steps > params.few_steps else Grade.C,
                f"{slot} made only {steps} steps in {len(gyr_rads) / rate_hz:.0f} s.",
                "Walk at least six steps with each foot.",
            )
        )
    small, large = np.linalg.eigvalsh(np.cov(gyr_rads[:, [0, 2]].T))
    ratio = float(np.sqrt(large / max(small, 1e-12)))
    if ratio < (params.axis_foot if foot else params.axis_thigh):
        found.append(
            Finding(
                Symptom.AXIS_UNCLEAR,
                (slot,),
                Grade.C,
                f"{slot} turned almost as much sideways as forward (ratio {ratio:.1f}), so its "
                "flexion axis is uncertain.",
                "Walk straight ahead, a little faster, without turning.",
            )
        )
    return found


def _steps(gyr_rads: FloatArray, rate_hz: float) -> int:
    moving = foot_moving(gyr_rads, rate_hz, CalibrationParams()).astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], moving, [0]])))
    return int((edges[1::2] - edges[::2] > 0.25 * rate_hz).sum())


def _names(slots: Sequence[str]) -> str:
    return " and ".join([", ".join(slots[:-1]), slots[-1]] if len(slots) > 1 else slots)
