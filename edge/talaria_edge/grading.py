"""How good a calibration is, what is wrong with it, and the one step that would mend it most.

Everything is told from the readings that the calibration itself was made from (`Stretch`): a still
moment and a walk. A sensor may be mounted in any rotation, so "upside down" has no meaning in one
calibration; it has one against an earlier calibration of the same straps (`previous`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from talaria_bridge.errors import CalibrationError
from talaria_edge.calibration import Calibration, Stretch
from talaria_edge.findings import Finding, Grade, Symptom, worst
from talaria_edge.mounting import mounting_change
from talaria_edge.sensor_checks import examine_sensors
from talaria_edge.strap_checks import examine_straps
from talaria_edge.walk_checks import examine_places, examine_walk

_TURNED_RAD = float(np.radians(60.0))
"""A strap that is put on anew rarely ends up turned by more, unless the sensor is in it the other way."""


@dataclass(frozen=True, slots=True)
class SlotGrade:
    """One sensor's share in a calibration: its grade, and what costs it a better one."""

    grade: Grade
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """A calibration with its grade.

    Attributes
    ----------
    grade : Grade
        The worst of all findings.
    slots : dict of slot to SlotGrade
    findings : tuple of Finding
        Worst first.
    calibration : Calibration or None
        None where the readings gave no axes.
    """

    grade: Grade
    slots: dict[str, SlotGrade]
    findings: tuple[Finding, ...]
    calibration: Calibration | None

    @property
    def step(self) -> str:
        """The step to repeat; empty where nothing costs more than a B."""
        serious = [f for f in self.findings if f.grade > Grade.B]
        return serious[0].step if serious else ""

    def has(self, symptom: Symptom) -> bool:
        """Tell whether a symptom was found."""
        return any(finding.symptom is symptom for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a profile."""
        return {
            "overall": str(self.grade),
            "findings": [str(finding) for finding in self.findings],
            **{
                slot: {"grade": str(one.grade), "reasons": list(one.reasons)}
                for slot, one in self.slots.items()
            },
        }


def grade_calibration(
    stretch: Stretch,
    more: Iterable[Finding] = (),
    previous: Calibration | None = None,
    *,
    sides: bool = True,
) -> CalibrationReport:
    """Calibrate from a stretch, and judge the result.

    Parameters
    ----------
    stretch : Stretch
    more : iterable of Finding
        What else is known of this session: see `examine_stream` and `examine_swings`.
    previous : Calibration, optional
        The same wearer's last one.
    sides : bool
        Whether to tell right from left by the walk; not where each leg has been swung by itself.

    Returns
    -------
    CalibrationReport
    """
    found = [*more, *examine_sensors(stretch)]
    calibration = None
    if not any(f.symptom in _UNREADABLE for f in found):
        straps = examine_straps(stretch)
        wild = [f for f in straps if f.symptom in (Symptom.LOOSE, Symptom.OTHER_BODY)]
        places = examine_places(stretch, {slot for f in wild for slot in f.slots})
        found += straps + places
        try:
            calibration = stretch.calibrate()
        except CalibrationError as err:
            found.append(Finding(Symptom.NO_AXES, (), Grade.F, str(err), "Walk again."))
        if calibration is not None and not places:
            found += _turned(calibration, previous)
            found += [] if wild else _walk(stretch, calibration, sides=sides)
    return report(stretch.slots, found, calibration)


_UNREADABLE = (Symptom.UNITS_ACC, Symptom.UNITS_GYR, Symptom.NOT_WORN)


def report(
    slots: Iterable[str], findings: Iterable[Finding], calibration: Calibration | None
) -> CalibrationReport:
    """Put findings together, worst first."""
    ordered = tuple(sorted(findings, key=lambda f: f.grade, reverse=True))
    graded = {}
    for slot in slots:
        own = [f for f in ordered if slot in f.slots]
        graded[slot] = SlotGrade(worst(f.grade for f in own), tuple(f.text for f in own))
    return CalibrationReport(worst(f.grade for f in ordered), graded, ordered, calibration)


def _walk(stretch: Stretch, calibration: Calibration, *, sides: bool) -> list[Finding]:
    rotations, bias_rads = calibration.stacked(stretch.slots)
    acc = np.einsum("sij,tsj->tsi", rotations, stretch.acc_ms2[stretch.walking])
    gyr = np.einsum("sij,tsj->tsi", rotations, stretch.gyr_rads[stretch.walking] - bias_rads)
    return examine_walk(stretch, acc, gyr, sides=sides)


def _turned(calibration: Calibration, previous: Calibration | None) -> list[Finding]:
    changes = {} if previous is None else mounting_change(previous, calibration)
    return [
        Finding(
            Symptom.TURNED,
            (slot,),
            Grade.B,
            f"{slot} sits {change} against this wearer's last calibration.",
            f"Nothing, if {slot} was strapped on that way on purpose: this calibration allows for it.",
        )
        for slot, change in changes.items()
        if max(change.tilt_rad, abs(change.turn_rad)) > _TURNED_RAD
    ]
