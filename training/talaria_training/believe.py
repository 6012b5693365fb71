"""Whether labels can be believed, without better ones to compare them with.

Two witnesses speak. The thigh and foot sensors measure how their segments pitch: a hip must flex as its
thigh does, and ankle less knee must turn as the foot does against the thigh, in size and in time. What
these two leave open, a knee and an ankle wrong by the same amount, the base model is asked about: it
never saw the labels, and it may be wrong by degrees, but not late, mirrored or asleep.

Limits were chosen on CapSense's Sub01, 04 and 07 against their full-chain angles, with room for Sub02's
optical ones, which share no sensor with the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_training.networks import GaitNet
from talaria_training.train import predict
from talaria_training.trials import Trial
from talaria_training.witnesses import PER_SLOT, Facts, Floats, pieces, segment_pitch

Limits = tuple[float, float]

_SMOOTH_S = 0.03
_ALIKE_RAD = 1e-6
_LEG = {"r": "right leg", "l": "left leg"}


@dataclass(frozen=True, slots=True)
class BeliefParams:
    """What labels must keep to: (least, most).

    The worst piece of four seconds counts, but the middle one for zeros and for what the base model says.

    Attributes
    ----------
    foot_r, foot_slope, foot_rest_deg, foot_lag_s : (float, float)
        Ankle less knee against the foot's pitch less the thigh's: correlation, size, what remains of
        the difference without its mean, delay. The attitude filters are 7 ms late on some people.
    thigh_r, thigh_slope, thigh_rest_deg, thigh_lag_s : (float, float)
        The hip against the thigh's pitch, which lacks what the pelvis does.
    knee_r, knee_slope, knee_lag_s : (float, float)
        The knee against the base model's.
    foot_zero_deg, thigh_zero_deg, knee_zero_deg : (float, float)
        Mean differences; outside, the labels have another zero than the wearer's quiet stance, which
        is reported and refuses nothing.
    foot_drift_deg, thigh_drift_deg, knee_drift_deg : (float, float)
        A piece's mean difference against the middle piece's.
    noise_deg : (float, float)
        What a low pass of 30 ms takes away.
    frozen_s : (float, float)
        Longest time without any change.
    """

    foot_r: Limits = (0.96, 1.0)
    foot_slope: Limits = (0.92, 1.10)
    foot_rest_deg: Limits = (0.0, 6.5)
    foot_lag_s: Limits = (-0.014, 0.010)
    thigh_r: Limits = (0.82, 1.0)
    thigh_slope: Limits = (0.65, 1.35)
    thigh_rest_deg: Limits = (0.0, 5.5)
    thigh_lag_s: Limits = (-0.07, 0.05)
    knee_r: Limits = (0.65, 1.0)
    knee_slope: Limits = (0.5, 1.7)
    knee_lag_s: Limits = (-0.06, 0.06)
    foot_zero_deg: Limits = (-4.5, 4.0)
    thigh_zero_deg: Limits = (-3.5, 9.0)
    knee_zero_deg: Limits = (-8.0, 8.0)
    foot_drift_deg: Limits = (-3.5, 3.5)
    thigh_drift_deg: Limits = (-5.5, 5.5)
    knee_drift_deg: Limits = (-7.0, 7.0)
    noise_deg: Limits = (0.0, 1.5)
    frozen_s: Limits = (0.0, 0.06)


@dataclass(frozen=True, slots=True)
class Check:
    """One question put to the labels.

    Attributes
    ----------
    name : str
        The limit's name in `BeliefParams`.
    question, where : str
        What was asked, and of which leg and recording.
    value, low, high : float
        The answer, and its limits; in `unit`.
    unit : str
    """

    name: str
    question: str
    where: str
    value: float
    low: float
    high: float
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the value is within its limits; NaN is not."""
        return bool(self.low <= self.value <= self.high)

    @property
    def zero(self) -> bool:
        """Whether it asks about nothing but the labels' zero."""
        return self.name.endswith("_zero_deg")

    @property
    def strain(self) -> float:
        """Distance from the middle of the limits in half widths: above 1 is outside."""
        if not np.isfinite(self.value):
            return float("inf")
        return abs(2.0 * self.value - self.low - self.high) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Belief:
    """Every check, and in words what is probably wrong; empty where the labels can be believed."""

    checks: tuple[Check, ...]
    fault: str

    @property
    def believed(self) -> bool:
        """Whether the labels may be learned from, their zero apart."""
        return not self.fault

    @property
    def strange_zeros(self) -> tuple[Check, ...]:
        """What does not fit the wearer's quiet stance."""
        return tuple(c for c in self.checks if c.zero and not c.passed)


def believe(trials: Sequence[Trial], base: GaitNet, params: BeliefParams | None = None) -> Belief:
    """Judge one person's labels.

    Parameters
    ----------
    trials : sequence of Trial
        Labelled stretches; the base is run over each from an empty memory.
    base : GaitNet
        A model that never saw these labels.
    params : BeliefParams, optional
    """
    params = params or BeliefParams()
    found: dict[tuple[str, str], list[Check]] = {}
    witnessed = [(trial, predict(base, trial.features)) for trial in trials]
    for trial, angles in witnessed:
        for side in SIDES:
            for check in _leg_checks(trial, angles.astype(float), side, params):
                found.setdefault((check.name, side), []).append(check)
        for check in _curve_checks(trial, params):
            found.setdefault((check.name, ""), []).append(check)
    checks = tuple(max(group, key=lambda c: c.strain) for group in found.values())
    return Belief(checks, _fault(trials, checks))


def _leg_checks(trial: Trial, told: Floats, side: str, params: BeliefParams) -> Iterator[Check]:
    hip, knee, ankle = (_angle(trial, f"{j}_{side}") for j in _JOINTS)
    thigh, foot = segment_pitch(trial, f"femur_{side}"), segment_pitch(trial, f"calcn_{side}")
    settle = min(round(_SETTLE_S * trial.rate_hz), len(hip) // 4)
    base_knee = told[:, ANGLES.index(f"knee_angle_{side}")]
    witnesses = {
        "foot": pieces(trial, foot - thigh, ankle - knee),
        "thigh": pieces(trial, thigh, hip),
        "knee": pieces(trial, base_knee[settle:], knee[settle:]),
    }
    where = f"{_LEG[side]}, {trial.name}"
    for witness, found in witnesses.items():
        facts = list(found)
        if facts:
            for name, value in _answers(witness, facts).items():
                if hasattr(params, name):
                    yield _check(name, where, value, params)


_JOINTS = ("hip_flexion", "knee_angle", "ankle_angle")
_SETTLE_S = 1.0
"""The base model's memory is empty at first."""


def _angle(trial: Trial, name: str) -> Floats:
    return np.asarray(trial.angles_rad[:, ANGLES.index(name)], dtype=float)


def _answers(witness: str, facts: Sequence[Facts]) -> dict[str, float]:
    """Return the value of every check by its name: the worst piece's, or the middle one's."""
    slope = np.array([f.slope for f in facts])
    lag = np.array([f.lag_s for f in facts])
    zero = np.degrees([f.zero_rad for f in facts])
    drift = zero - np.median(zero)
    worst = witness != "knee"
    return {
        f"{witness}_r": float((np.min if worst else np.median)([f.r for f in facts])),
        f"{witness}_slope": _farthest(slope, 1.0) if worst else float(np.median(slope)),
        f"{witness}_rest_deg": float(np.degrees(max(f.rest_rad for f in facts))),
        f"{witness}_lag_s": _farthest(lag, 0.0) if worst else float(np.median(lag)),
        f"{witness}_zero_deg": float(np.median(zero)),
        f"{witness}_drift_deg": _farthest(drift, 0.0),
    }


def _farthest(values: Floats, middle: float) -> float:
    return float(values[np.abs(values - middle).argmax()])


def _curve_checks(trial: Trial, params: BeliefParams) -> Iterator[Check]:
    """Look at each labelled curve alone: how rough it is, and how long it stands still while walking."""
    rough, frozen = [0.0], [0.0]
    walking = np.abs(trial.features[:, _GYR_Z]).mean(axis=1) > _WALKING_RADS
    for name in ANGLES:
        values = _angle(trial, name)
        known = np.isfinite(values)
        if known.mean() < 0.5:
            continue
        rows = np.arange(len(values))
        whole = np.interp(rows, rows[known], values[known])
        rest = whole - gaussian_filter1d(whole, _SMOOTH_S * trial.rate_hz)
        rough.append(float(np.degrees(np.sqrt(np.mean(rest[walking & known] ** 2)))))
        still = np.abs(np.diff(values, prepend=np.nan)) < _ALIKE_RAD
        frozen.append(_longest(still & walking) / trial.rate_hz)
    yield _check("noise_deg", trial.name, max(rough), params)
    yield _check("frozen_s", trial.name, max(frozen), params)


_GYR_Z = [PER_SLOT * i + 5 for i in range(len(LEG_SLOTS))]
_WALKING_RADS = 0.5


def _longest(where: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], where.astype(int), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


_WITNESSES = {
    "foot": "ankle less knee, against the foot's pitch less the thigh's",
    "thigh": "hip, against the thigh's pitch",
    "knee": "knee, against the base model's",
}
_QUESTIONS = {
    "r": ("correlation", ""),
    "slope": ("size", ""),
    "rest_deg": ("difference", "°"),
    "lag_s": ("delay", " s"),
    "zero_deg": ("zero off by", "°"),
    "drift_deg": ("wandering", "°"),
}


def _question(name: str) -> tuple[str, str]:
    """Say in words what a limit is about, and its unit."""
    if name == "noise_deg":
        return "roughness of the curves", "°"
    if name == "frozen_s":
        return "longest standstill while walking", " s"
    witness, _, kind = name.partition("_")
    question, unit = _QUESTIONS[kind]
    return f"{_WITNESSES[witness]}: {question}", unit


def _check(name: str, where: str, value: float, params: BeliefParams) -> Check:
    question, unit = _question(name)
    low, high = getattr(params, name)
    return Check(name, question, where, value, low, high, unit)


def _fault(trials: Sequence[Trial], checks: Sequence[Check]) -> str:
    """Say what is probably wrong, from the failed check that is worst; nothing if all passed."""
    if not any(c.name in ("foot_r", "thigh_r", "knee_r") for c in checks):
        return (
            "no hip or knee is labelled while walking, so nothing measured can vouch for the labels: "
            "label hips, or knees with ankles"
        )
    failed = [c for c in checks if not c.passed and not c.zero]
    if not failed:
        return ""
    worst = max(failed, key=lambda c: c.strain)
    said = f"{worst.where}: {worst.question} {worst.value:.3g}{worst.unit}, allowed are "
    said += f"{worst.low:.3g} to {worst.high:.3g}{worst.unit}"
    return f"{_cause(trials, checks, failed)} ({said})"


def _cause(trials: Sequence[Trial], checks: Sequence[Check], failed: Sequence[Check]) -> str:
    names = {c.name for c in failed}
    alike = {c.name: abs(c.value) > 0.8 for c in checks if c.name.endswith("_r")}
    for witness in ("foot", "thigh", "knee"):
        slope = next((abs(c.value) for c in failed if c.name == f"{witness}_slope"), 1.0)
        if alike.get(f"{witness}_r") and not 0.05 < slope < 20.0:
            return (
                "the angles are of another unit than they are said to be, check degrees and radians"
            )
    if {"foot_r", "thigh_r"} & names and _swapped_fits(trials):
        return "left and right have changed places, exchange the columns"
    if any(c.value < -0.9 for c in failed if c.name in ("foot_r", "thigh_r")):
        return "an angle counts the other way round, check its sign against docs/frames.md"
    if "frozen_s" in names:
        return "an angle stands still while the leg moves, cut the stretch where the system lost it"
    if names <= {"foot_lag_s", "thigh_lag_s", "knee_lag_s", "foot_rest_deg", "foot_r", "thigh_r"}:
        return "the labels are late or early, align them again with 'talaria label' or give --lag"
    if names <= {"foot_drift_deg", "thigh_drift_deg", "knee_drift_deg", "foot_rest_deg"}:
        return "the labels wander along the recording, use a shorter stretch or mend the reference"
    if names == {"noise_deg"}:
        return "the labels jump from sample to sample, filter the reference as its makers advise"
    return "the labels are not of this movement, or part of them is not: check file, person and stretch"


def _swapped_fits(trials: Sequence[Trial]) -> bool:
    """Tell whether each leg's labels follow the other leg's foot better than their own."""
    own, other = [], []
    for trial in trials:
        foot = {
            s: segment_pitch(trial, f"calcn_{s}") - segment_pitch(trial, f"femur_{s}")
            for s in SIDES
        }
        for side, opposite in zip(SIDES, SIDES[::-1], strict=True):
            label = _angle(trial, f"ankle_angle_{side}") - _angle(trial, f"knee_angle_{side}")
            own += [f.r for f in pieces(trial, foot[side], label)]
            other += [f.r for f in pieces(trial, foot[opposite], label)]
    return bool(own) and bool(np.median(other) > max(0.9, float(np.median(own))))
