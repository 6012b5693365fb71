"""Mistakes planted into real calibrations: which ones are noticed, and how often one is seen in vain.

A calibration needs half a second of standing and eight of walking. Each recording's calmest start is
joined to stretches of walking from all over it, one mistake of each kind is planted in each, and the
graded result is looked at. The thresholds and rules of the edge were chosen on `CHOSEN_ON`; the other
people are the test.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import CalibrationError, RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import (
    Calibration,
    CalibrationCollector,
    CalibrationParams,
    Stretch,
    foot_moving,
)
from talaria_edge.findings import Grade, Symptom
from talaria_edge.grading import CalibrationReport, grade_calibration
from talaria_edge.mounting import StanceUp, mounting_seen, moved_slots, stance_up_of
from talaria_training.data.recording import Recording
from talaria_training.reference import mounting_of

FloatArray = NDArray[np.float64]
Plant = Callable[[Stretch, np.random.Generator, Stretch], Stretch]

CHOSEN_ON = ("Sub01", "Sub04", "Sub07")
"""People whose walks every threshold and weight of the checks was chosen on."""

LEAD_IN_S = 3.0
"""Walking between the joined stance and the walk that is judged: the attitude filters level again."""

RATTLE_DEG = (8.0, 15.0)
RATTLE_HZ = (6.0, 12.0)
RATTLE_DECAY_S = 0.2
SLIP_DEG = (30.0, 60.0)
MOVED_DEG = (30.0, 45.0, 60.0, 90.0)

MISTAKE_SYMPTOMS = frozenset(
    {
        Symptom.UNITS_ACC,
        Symptom.UNITS_GYR,
        Symptom.NOT_WORN,
        Symptom.OTHER_BODY,
        Symptom.WRONG_PLACE,
        Symptom.SWAPPED_THIGH_FOOT,
        Symptom.SWAPPED_THIGHS,
        Symptom.SWAPPED_FEET,
        Symptom.SWAPPED_LEGS,
        Symptom.LOOSE,
        Symptom.SLIPPED,
        Symptom.TURNED,
        Symptom.NO_AXES,
    }
)
"""Seen without a plant, any of these is a false alarm. Restlessness and the like are no mistakes."""

UNALTERED = ("none", "not moved since")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one look.

    Attributes
    ----------
    person, recording : str
    mistake : str
        ``none`` where nothing was planted.
    named : bool
        The planted mistake, or where there was none any mistake, was named.
    refused : bool
        The grade is F.
    symptoms : tuple of str
        All that was found.
    """

    person: str
    recording: str
    mistake: str
    named: bool
    refused: bool
    symptoms: tuple[str, ...]

    @property
    def wrong(self) -> bool:
        """Whether a mistake was missed, or one was seen where there was none."""
        return self.named is (self.mistake in UNALTERED)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One good stretch, with what is needed to spoil it.

    Attributes
    ----------
    person, recording : str
    stretch : Stretch
    donor : Stretch
        Another person's.
    previous : Calibration or None
        From another recording, or another part of this one, in the same mounting.
    stance_up : StanceUp or None
        Of the walk it was made from.
    seed : int
    """

    person: str
    recording: str
    stretch: Stretch
    donor: Stretch
    previous: Calibration | None
    stance_up: StanceUp | None
    seed: int


def stretches(recording: Recording, count: int) -> list[Stretch]:
    """Cut up to `count` calibrations out of one recording; none where nobody stood still first.

    Parameters
    ----------
    recording : Recording
    count : int
        Evenly spread; the first is the one that a live session would have taken.
    """
    rows = [recording.slots.index(slot) for slot in LEG_SLOTS]
    acc, gyr = recording.acc_ms2[:, rows], recording.gyr_rads[:, rows]
    collector = CalibrationCollector(recording.rate_hz, LEG_SLOTS)
    live, first = None, 0
    while live is None and first < len(acc):
        live = collector.collect(acc[first], gyr[first])
        first += 1
    if live is None:
        return []
    length = live.walking.stop - live.walking.start
    lead = round(LEAD_IN_S * recording.rate_hz)
    stops = np.linspace(first, len(acc) - round(2 * recording.rate_hz), count).astype(int)[1:]
    cuts = [slice(int(stop) - length - lead, int(stop)) for stop in stops if stop >= first + length]
    return [live] + [_joined(live, acc[cut], gyr[cut], lead) for cut in cuts]


def _joined(live: Stretch, acc: FloatArray, gyr: FloatArray, lead: int) -> Stretch:
    stance = live.still.stop - live.still.start
    return Stretch(
        live.slots,
        live.rate_hz,
        np.concatenate([live.acc_ms2[live.still], acc]),
        np.concatenate([live.gyr_rads[live.still], gyr]),
        slice(0, stance),
        slice(stance + lead, stance + len(acc)),
    )


def swap(stretch: Stretch, *pairs: tuple[str, str]) -> Stretch:
    """Exchange the names of sensors."""
    order = list(range(len(stretch.slots)))
    for one, other in pairs:
        i, k = stretch.slots.index(one), stretch.slots.index(other)
        order[i], order[k] = order[k], order[i]
    return replace(stretch, acc_ms2=stretch.acc_ms2[:, order], gyr_rads=stretch.gyr_rads[:, order])


def scale(stretch: Stretch, slot: int, acc: float = 1.0, gyr: float = 1.0) -> Stretch:
    """Let one sensor speak in another unit."""
    factor_acc, factor_gyr = np.ones((len(stretch.slots), 1)), np.ones((len(stretch.slots), 1))
    factor_acc[slot], factor_gyr[slot] = acc, gyr
    return replace(
        stretch,
        acc_ms2=stretch.acc_ms2 * factor_acc,
        gyr_rads=stretch.gyr_rads * factor_gyr,
    )


def turn(stretch: Stretch, slot: int, rotation: Rotation, start: int = 0) -> Stretch:
    """Turn one sensor on its segment from a sample on."""
    acc, gyr = stretch.acc_ms2.copy(), stretch.gyr_rads.copy()
    acc[start:, slot], gyr[start:, slot] = (
        rotation.apply(acc[start:, slot]),
        rotation.apply(gyr[start:, slot]),
    )
    return replace(stretch, acc_ms2=acc, gyr_rads=gyr)


def rattle(stretch: Stretch, slot: int, rng: np.random.Generator) -> Stretch:
    """Let one sensor swing on its strap after each landing of its foot.

    A damped oscillation about a random axis, which turns both readings, adds its own rate to the
    gyroscope and its acceleration, 2 cm off the axis, to the accelerometer.
    """
    foot = stretch.slots.index(f"calcn_{stretch.slots[slot][-1]}")
    moving = foot_moving(stretch.gyr_rads[:, foot], stretch.rate_hz, CalibrationParams())
    landings = np.flatnonzero(np.diff(moving.astype(int)) < 0) / stretch.rate_hz - 0.08
    t_s = np.arange(len(moving)) / stretch.rate_hz
    since_s = t_s[:, None] - landings
    swing = np.exp(-since_s / RATTLE_DECAY_S) * np.sin(
        2 * np.pi * rng.uniform(*RATTLE_HZ) * since_s
    )
    size_rad = np.radians(rng.uniform(*RATTLE_DEG))
    angle_rad = size_rad * np.where(since_s > 0.0, swing, 0.0).sum(axis=1)
    rate_rads = np.gradient(angle_rad, 1 / stretch.rate_hz)
    axis, lever_m = _direction(rng), 0.02 * _direction(rng)
    back = Rotation.from_rotvec(angle_rad[:, None] * axis).inv()
    push = np.gradient(rate_rads, 1 / stretch.rate_hz)[:, None] * np.cross(axis, lever_m)
    acc, gyr = stretch.acc_ms2.copy(), stretch.gyr_rads.copy()
    acc[:, slot] = back.apply(acc[:, slot] + push)
    gyr[:, slot] = back.apply(gyr[:, slot]) + rate_rads[:, None] * axis
    return replace(stretch, acc_ms2=acc, gyr_rads=gyr)


def slip(stretch: Stretch, slot: int, rng: np.random.Generator) -> Stretch:
    """Turn one sensor at once, about a random axis, in the middle half of the walk."""
    walk = stretch.walking
    at = rng.uniform(0.25, 0.75) * (walk.stop - walk.start) + walk.start
    angle_rad = np.radians(rng.uniform(*SLIP_DEG))
    return turn(stretch, slot, Rotation.from_rotvec(angle_rad * _direction(rng)), int(at))


def give_away(stretch: Stretch, slot: int, donor: Stretch) -> Stretch:
    """Put one sensor on another person, who stands and walks at the same time."""
    acc, gyr = stretch.acc_ms2.copy(), stretch.gyr_rads.copy()
    for part in ("still", "walking"):
        here, there = getattr(stretch, part), getattr(donor, part)
        length = here.stop - here.start
        acc[here, slot] = donor.acc_ms2[there, slot][:length]
        gyr[here, slot] = donor.gyr_rads[there, slot][:length]
    return replace(stretch, acc_ms2=acc, gyr_rads=gyr)


def lay_down(stretch: Stretch, slot: int, rng: np.random.Generator) -> Stretch:
    """Leave one sensor on a table."""
    acc, gyr = stretch.acc_ms2.copy(), stretch.gyr_rads.copy()
    up = acc[stretch.still, slot].mean(axis=0)
    acc[:, slot] = up + rng.normal(0.0, 0.03, acc[:, slot].shape)
    gyr[:, slot] = rng.normal(0.0, 0.003, gyr[:, slot].shape)
    return replace(stretch, acc_ms2=acc, gyr_rads=gyr)


def upside_down(stretch: Stretch, slot: int, rng: np.random.Generator) -> Stretch:
    """Mount one sensor the other way up: half a turn about a random level axis."""
    up = stretch.acc_ms2[stretch.still, slot].mean(axis=0)
    level = np.cross(up, _direction(rng))
    return turn(stretch, slot, Rotation.from_rotvec(np.pi * level / np.linalg.norm(level)))


def _direction(rng: np.random.Generator) -> FloatArray:
    axis = rng.normal(size=3)
    return np.asarray(axis / np.linalg.norm(axis))


def _any_slot(rng: np.random.Generator) -> int:
    return int(rng.integers(len(LEG_SLOTS)))


def _swap_thigh_foot(stretch: Stretch, rng: np.random.Generator) -> Stretch:
    side = "rl"[int(rng.integers(2))]
    return swap(stretch, (f"femur_{side}", f"calcn_{side}"))


_THIGHS, _FEET = ("femur_r", "femur_l"), ("calcn_r", "calcn_l")
MISTAKES: dict[str, tuple[Plant, frozenset[Symptom]]] = {
    "thighs swapped": (
        lambda s, rng, donor: swap(s, _THIGHS),
        frozenset({Symptom.SWAPPED_THIGHS}),
    ),
    "feet swapped": (lambda s, rng, donor: swap(s, _FEET), frozenset({Symptom.SWAPPED_FEET})),
    "legs swapped": (
        lambda s, rng, donor: swap(s, _THIGHS, _FEET),
        frozenset({Symptom.SWAPPED_LEGS}),
    ),
    "thigh and foot swapped": (
        lambda s, rng, donor: _swap_thigh_foot(s, rng),
        frozenset({Symptom.SWAPPED_THIGH_FOOT}),
    ),
    "upside down since last time": (
        lambda s, rng, donor: upside_down(s, _any_slot(rng), rng),
        frozenset({Symptom.TURNED}),
    ),
    "acceleration in g": (
        lambda s, rng, donor: scale(s, _any_slot(rng), acc=1 / 9.80665),
        frozenset({Symptom.UNITS_ACC}),
    ),
    "rates in °/s": (
        lambda s, rng, donor: scale(s, _any_slot(rng), gyr=180 / np.pi),
        frozenset({Symptom.UNITS_GYR}),
    ),
    "rates divided by 57 twice": (
        lambda s, rng, donor: scale(s, _any_slot(rng), gyr=np.pi / 180),
        frozenset({Symptom.UNITS_GYR}),
    ),
    "strap rattles": (
        lambda s, rng, donor: rattle(s, _any_slot(rng), rng),
        frozenset({Symptom.LOOSE}),
    ),
    "strap slips in the walk": (
        lambda s, rng, donor: slip(s, _any_slot(rng), rng),
        frozenset({Symptom.SLIPPED}),
    ),
    "on another walking person": (
        lambda s, rng, donor: give_away(s, _any_slot(rng), donor),
        frozenset({Symptom.OTHER_BODY}),
    ),
    "left on a table": (
        lambda s, rng, donor: lay_down(s, _any_slot(rng), rng),
        frozenset({Symptom.NOT_WORN}),
    ),
}
"""How each mistake is planted, and what it must be called to count as found."""


def examine_case(case: Case) -> list[Outcome]:
    """Look at a case as it is, with each mistake planted in it, and with each sensor moved after it."""
    rng = np.random.default_rng(case.seed)
    outcomes = [_outcome(case, UNALTERED[0], grade_calibration(case.stretch, (), case.previous))]
    for name, (plant, symptoms) in MISTAKES.items():
        if case.previous is None and Symptom.TURNED in symptoms:
            continue  # nobody can know without an earlier calibration
        spoiled = plant(case.stretch, rng, case.donor)
        found = grade_calibration(spoiled, (), case.previous)
        outcomes.append(_outcome(case, name, found, symptoms))
    return outcomes + _moved(case, rng)


def _outcome(
    case: Case,
    mistake: str,
    found: CalibrationReport,
    symptoms: Iterable[Symptom] = MISTAKE_SYMPTOMS,
) -> Outcome:
    return Outcome(
        case.person,
        case.recording,
        mistake,
        any(found.has(symptom) for symptom in symptoms),
        found.grade is Grade.F,
        tuple(sorted({str(finding.symptom) for finding in found.findings})),
    )


def _moved(case: Case, rng: np.random.Generator) -> list[Outcome]:
    """Look for sensors moved after the earlier calibration, by this stance and walk."""
    if case.previous is None:
        return []
    previous = case.previous

    def look(mistake: str, slot: int, rotation: Rotation) -> Outcome:
        now = turn(case.stretch, slot, rotation)
        seen = tuple(moved_slots(mounting_seen(previous, now, case.stance_up)))
        named = now.slots[slot] in seen if rotation.magnitude() else bool(seen)
        return Outcome(case.person, case.recording, mistake, named, False, seen)

    outcomes = [look(UNALTERED[1], 0, Rotation.identity())]
    for size_deg in MOVED_DEG:
        axis = np.radians(size_deg) * _direction(rng)
        outcomes.append(
            look(f"moved since by {size_deg:g}°", _any_slot(rng), Rotation.from_rotvec(axis))
        )
    return outcomes


def cases(people: Sequence[Sequence[Recording]], count: int = 5, seed: int = 0) -> list[Case]:
    """Make cases of every recording that begins with a stance.

    Parameters
    ----------
    people : sequence of sequences of Recording
    count : int
        Stretches per recording.
    seed : int

    Raises
    ------
    RecordingError
        If there are not two people with usable recordings: sensors are also put on another person.
    """
    cut: dict[str, list[tuple[Recording, list[Stretch]]]] = defaultdict(list)
    for recording in (recording for group in people for recording in group):
        if not recording.missing(LEG_SLOTS):
            found = stretches(recording, count)
            if found:
                cut[recording.person].append((recording, found))
    if len(cut) < 2:
        raise RecordingError(
            f"Only {len(cut)} of the people stand still and walk with all four sensors, and the study "
            "puts sensors of one on another: give recordings of two people or more."
        )
    rng = np.random.default_rng(seed)
    made = []
    for person, recordings in cut.items():
        donors = [s for name, other in cut.items() if name != person for _, f in other for s in f]
        for recording, found in recordings:
            for k, stretch in enumerate(found):
                donor = donors[int(rng.integers(len(donors)))]
                previous, stance_up = _previous(recording, k, recordings)
                number = int(rng.integers(2**31))
                made.append(
                    Case(person, recording.name, stretch, donor, previous, stance_up, number)
                )
    return made


def _previous(
    recording: Recording, k: int, recordings: Sequence[tuple[Recording, list[Stretch]]]
) -> tuple[Calibration | None, StanceUp | None]:
    """Calibrate as a live session did earlier: in the mounting's other recording, if there is one."""
    same = [
        found[0]
        for other, found in recordings
        if other is not recording and mounting_of(other) == mounting_of(recording)
    ]
    own = next(found for other, found in recordings if other is recording)
    earlier = same or own[:k]
    if not earlier:
        return None, None
    try:
        return earlier[0].calibrate(), stance_up_of(earlier[0])
    except CalibrationError:
        return None, None


def run_study(
    made: Sequence[Case], workers: int = 1, done: Callable[[str], None] = lambda name: None
) -> list[Outcome]:
    """Examine all cases.

    Parameters
    ----------
    made : sequence of Case
    workers : int
    done : callable
        Told each finished case's recording.
    """
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for case, found in zip(made, pool.map(examine_case, made), strict=True):
            outcomes += found
            done(case.recording)
    return outcomes


def summarise(outcomes: Iterable[Outcome]) -> dict[str, dict[str, Any]]:
    """Count, per mistake, over the people it was not chosen on, over those it was, and over all.

    Returns
    -------
    dict
        ``{mistake: {group: {"cases", "named", "refused"}}}``; the last two are shares.
    """
    groups: dict[str, dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    for outcome in outcomes:
        which = "chosen on" if outcome.person in CHOSEN_ON else "held out"
        groups[outcome.mistake][which].append(outcome)
        groups[outcome.mistake]["all"].append(outcome)
    return {
        mistake: {
            which: {
                "cases": len(rows),
                "named": float(np.mean([row.named for row in rows])),
                "refused": float(np.mean([row.refused for row in rows])),
            }
            for which, rows in found.items()
        }
        for mistake, found in groups.items()
    }


def write_study(path: Path, outcomes: Sequence[Outcome], effects: Sequence[Any] = ()) -> None:
    """Write the summary, and every outcome that was not as it should be, as JSON.

    Parameters
    ----------
    path : Path
    outcomes : sequence of Outcome
    effects : sequence of MountingEffect, optional
    """
    document = {
        "chosen_on": CHOSEN_ON,
        "planted": {
            "rattle_deg": RATTLE_DEG,
            "rattle_hz": RATTLE_HZ,
            "rattle_decay_s": RATTLE_DECAY_S,
            "slip_deg": SLIP_DEG,
        },
        "summary": summarise(outcomes),
        "wrong": [asdict(outcome) for outcome in outcomes if outcome.wrong],
        "mountings": [asdict(effect) for effect in effects],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
