"""What a look at a calibration can find, and how much each finding costs it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How far a calibration may be trusted; ``F`` is refused unless forced."""

    A = "A"
    B = "B"
    C = "C"
    F = "F"


def worst(grades: Iterable[Grade]) -> Grade:
    """Return the worst of some grades; A if there is none."""
    return max(grades, default=Grade.A)


class Symptom(StrEnum):
    """What is wrong, by name."""

    UNITS_ACC = "acceleration in the wrong unit"
    UNITS_GYR = "rate of turn in the wrong unit"
    GRAVITY_OFF = "gravity reads wrong"
    RESTLESS = "moved while standing"
    FOOT_NOT_FLAT = "foot not flat while standing"
    NO_BIAS = "gyroscope bias not measurable"
    SATURATED = "at the end of its range"
    RATE = "wrong sample rate"
    NOT_WORN = "not worn"
    OTHER_BODY = "not on this body"
    WRONG_PLACE = "in the wrong place"
    SWAPPED_THIGH_FOOT = "thigh and foot swapped"
    SWAPPED_THIGHS = "thighs swapped"
    SWAPPED_FEET = "feet swapped"
    SWAPPED_LEGS = "legs swapped"
    SIDES_UNSURE = "right and left not told apart"
    LOOSE = "loose strap"
    SLIPPED = "slipped while walking"
    UNEVEN = "uneven walk"
    FEW_STEPS = "too few steps"
    AXIS_UNCLEAR = "flexion axis ambiguous"
    NO_AXES = "no axes found"
    TURNED = "mounted another way than before"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    symptom : Symptom
    slots : tuple of str
        The sensors concerned; empty where it concerns the session.
    grade : Grade
        The best a calibration with this finding can be.
    text : str
        What was seen, with its value, in one sentence.
    step : str
        What to do, as an order to the wearer.
    """

    symptom: Symptom
    slots: tuple[str, ...]
    grade: Grade
    text: str
    step: str

    def __str__(self) -> str:
        return f"{self.text} {self.step}"
