"""Gait of people held out, through the runtime's own pipeline: events, cycle, class, intervals, losses.

Every person's recordings are streamed, tick by tick, through `talaria_edge.pipeline.Pipeline` with a
network that never saw that person, as a device would have done it. Events are judged against force
plates (or the recording's own contacts), angles against the reference of `Trial`.
"""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.alignment import SlotStatus, Tick
from talaria_edge.calibration_walk import knee_ranges, usual_of
from talaria_edge.gait import SIDES, EventKind, GaitClass, GaitEvent, GaitStage
from talaria_edge.kinematics import ANGLES
from talaria_edge.pipeline import GaitState, Pipeline
from talaria_edge.sanitiser import SlotFlag
from talaria_edge.spec import Familiarity, Intervals, ModelSpec
from talaria_training.artefacts import Provenance, model_spec
from talaria_training.class_study import (
    calibration_stretch,
    class_row,
    class_summary,
    stride_classes,
    true_class,
)
from talaria_training.data.recording import Recording
from talaria_training.evaluate import held_out_net
from talaria_training.intervals import LEVEL, factor, quantile
from talaria_training.networks import GAIT_CLASSES, GaitNet, head_columns
from talaria_training.reference import mounting_of
from talaria_training.train import TrainConfig, outputs
from talaria_training.trials import Trial

_SETTLED = 300
_THIN = 7
"""Every so many ticks are enough to read a quantile off; neighbours say the same."""
TOLERANCE_S = 0.1
"""An event further than this from the plate's is a false one, and the plate's is missed."""
Floats = NDArray[np.float64]


class TorchModel:
    """A network before its export, in the shape the pipeline asks for."""

    def __init__(self, net: GaitNet, spec: ModelSpec) -> None:
        self.spec = spec
        self._net = net
        self._memory = net.start()

    @torch.no_grad()
    def step(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Advance by one tick."""
        y, self._memory = self._net(torch.from_numpy(x)[None, None], self._memory)
        return np.asarray(y[0, 0].numpy())

    def reset(self) -> None:
        """Forget everything."""
        self._memory = self._net.start()

    @property
    def state(self) -> dict[str, NDArray[np.float32]]:
        """The memory, by name."""
        return {"state": self._memory.numpy().copy()}

    @state.setter
    def state(self, value: Mapping[str, NDArray[np.float32]]) -> None:
        self._memory = torch.from_numpy(value["state"].copy())


def ticks_of(recording: Recording, lost: Sequence[str] = ()) -> Iterator[Tick]:
    """Give a recording as the common clock would have, with some sensors never heard of."""
    rows = [recording.slots.index(slot) for slot in LEG_SLOTS]
    gone = [slot in lost for slot in LEG_SLOTS]
    status = tuple(SlotStatus.GONE if away else SlotStatus.MEASURED for away in gone)
    age_s = tuple(math.inf if away else 0.0 for away in gone)
    for i in range(len(recording.t_s)):
        yield Tick(
            index=i,
            t_s=i / recording.rate_hz,
            slots=LEG_SLOTS,
            acc_ms2=recording.acc_ms2[i, rows],
            gyr_rads=recording.gyr_rads[i, rows],
            status=status,
            age_s=age_s,
            loss=(0.0,) * len(rows),
            flags=(SlotFlag.NONE,) * len(rows),
        )


def stream(
    net: GaitNet,
    spec: ModelSpec,
    trial: Trial,
    recording: Recording,
    lost: Sequence[str] = (),
    usual_rad: Mapping[str, float] | None = None,
) -> list[GaitState]:
    """Every gait state of a recording, as the device would have given it."""
    pipeline = Pipeline(
        TorchModel(net, spec), trial.calibration, trial.rate_hz, usual_knees_rad=usual_rad
    )
    return [pipeline.step(tick) for tick in ticks_of(recording, lost)]


def usual_knees(
    net: GaitNet, spec: ModelSpec, trials: Sequence[Trial], recordings: Mapping[str, Recording]
) -> dict[str, Mapping[str, float]]:
    """How far one person's knees usually move, per mounting, as a calibration session measures it.

    From what a live calibration would have taken of the first `CALIBRATION_PART` of the mounting's normal
    recording; a mounting without such a stretch is left out.
    """
    found: dict[str, Mapping[str, float]] = {}
    for trial in trials:
        recording = recordings[trial.name]
        stretch = calibration_stretch(recording)
        if true_class(trial) != GaitClass.WALKING or stretch is None:
            continue
        usual = usual_of(knee_ranges(stretch, trial.calibration, TorchModel(net, spec)))
        if usual is not None:
            found.setdefault(mounting_of(recording), usual)
    return found


def rule_events(trial: Trial) -> list[tuple[float, GaitEvent]]:
    """Return what the rules alone announce, each with the instant of the announcement."""
    stage = GaitStage(trial.rate_hz)
    found = []
    for i, x in enumerate(trial.features):
        # The mirror of the left leg leaves pitch as it is.
        rates = {s: x[9 * slot + 3 : 9 * slot + 6] for s, slot in (("r", 2), ("l", 3))}
        t_s = i / trial.rate_hz
        found += [(t_s, event) for event in stage.update(t_s, rates)[1]]
    return found


@dataclass(frozen=True, slots=True)
class EventScore:
    """Events of one kind against the plate, over some recordings.

    Attributes
    ----------
    hits, false, missed : int
    error_s : ndarray
        Announced time minus the plate's, of the hits.
    delay_s : ndarray
        Instant of the announcement minus the plate's time, of the hits.
    """

    hits: int
    false: int
    missed: int
    error_s: Floats
    delay_s: Floats

    def __add__(self, other: EventScore) -> EventScore:
        return EventScore(
            self.hits + other.hits,
            self.false + other.false,
            self.missed + other.missed,
            np.concatenate([self.error_s, other.error_s]),
            np.concatenate([self.delay_s, other.delay_s]),
        )

    def summary(self) -> dict[str, float | None]:
        """F1, and in milliseconds the errors and delays, for a report."""
        judged = 2 * self.hits + self.false + self.missed
        if not judged:
            return {}
        row: dict[str, float | None] = {"events": self.hits + self.missed}
        row["f1"] = round(2 * self.hits / judged, 4)
        if self.hits:
            row["median_abs_error_ms"] = round(float(np.median(np.abs(self.error_s))) * 1e3, 1)
            row["bias_ms"] = round(float(np.median(self.error_s)) * 1e3, 1)
            row["p95_abs_error_ms"] = round(float(np.percentile(np.abs(self.error_s), 95)) * 1e3, 1)
            row["median_delay_ms"] = round(float(np.median(self.delay_s)) * 1e3, 1)
            row["p95_delay_ms"] = round(float(np.percentile(self.delay_s, 95)) * 1e3, 1)
        return row


NO_EVENTS = EventScore(0, 0, 0, np.zeros(0), np.zeros(0))


def score_events(
    trial: Trial, announced: Iterable[tuple[float, GaitEvent]], side: str, kind: EventKind
) -> EventScore:
    """Match announced events one to one with the plate's, nearest first, within `TOLERANCE_S`.

    Only where the plate is known to speak: an event elsewhere is neither right nor wrong.
    """
    truth = np.array([c.t_s for c in trial.contacts if c.side == side and c.kind == kind.value])
    covered = np.isfinite(trial.contact[:, SIDES.index(side)])
    mine = [
        (event.t_s, at_s)
        for at_s, event in announced
        if event.side == side
        and event.kind is kind
        and _covered(covered, event.t_s * trial.rate_hz)
    ]
    pairs = sorted(
        (abs(t_s - true), i, j)
        for i, (t_s, _) in enumerate(mine)
        for j, true in enumerate(truth)
        if abs(t_s - true) <= TOLERANCE_S
    )
    used_i: set[int] = set()
    used_j: set[int] = set()
    errors, delays = [], []
    for _, i, j in pairs:
        if i not in used_i and j not in used_j:
            used_i.add(i)
            used_j.add(j)
            errors.append(mine[i][0] - truth[j])
            delays.append(mine[i][1] - truth[j])
    # The plate's first contact and its last bound the stretch that is judged; an event that falls
    # just outside it was not false, and the contact is not missed if it was seen there.
    return EventScore(
        len(errors),
        len(mine) - len(errors),
        len(truth) - len(errors),
        np.array(errors),
        np.array(delays),
    )


def _covered(covered: NDArray[np.bool_], sample: float) -> bool:
    """Whether the plate speaks around this sample: one on either side is enough."""
    near = covered[max(round(sample) - 10, 0) : round(sample) + 11]
    return bool(near.any())


def cycle_error(trial: Trial, states: Sequence[GaitState], side: str) -> Floats:
    """Estimated minus true share of the cycle, wrapped to ±0.5, where both are known."""
    truth = trial.cycle[:, SIDES.index(side)]
    said = np.array([state.legs[side].cycle for state in states])
    error = said - truth
    return np.asarray((error[np.isfinite(error)] + 0.5) % 1.0 - 0.5)


@dataclass(frozen=True, slots=True)
class Errors:
    """Angles of one person against the reference, every tick of the given trials.

    Attributes
    ----------
    error_rad, scale_rad : ndarray, shape (N, len(ANGLES))
        Estimate minus reference (NaN where there is none) and what the network says of its spread.
    """

    error_rad: Floats
    scale_rad: Floats


def errors_of(net: GaitNet, trials: Sequence[Trial]) -> Errors:
    """Stream a network over trials and compare."""
    errors, scales = [], []
    for trial in trials:
        y = outputs(net, trial.features)[_SETTLED:].astype(float)
        errors.append(y[:, : len(ANGLES)] - trial.angles_rad[_SETTLED:])
        scales.append(np.exp(y[:, head_columns("spread")]))
    return Errors(np.concatenate(errors), np.concatenate(scales))


def interval_factors(people: Sequence[Errors], level: float = LEVEL) -> dict[str, float]:
    """Factor per angle whose intervals are to hold `level` of a further person's errors.

    The score is the absolute error over the network's own scale; see `talaria_training.intervals.factor`.
    """
    factors = {}
    for j, name in enumerate(ANGLES):
        scores = [_scores(person, j) for person in people]
        scores = [score for score in scores if len(score)]
        if scores:
            factors[name] = factor(scores, level)
    return factors


def _scores(person: Errors, j: int) -> Floats:
    known = np.isfinite(person.error_rad[:, j])
    return np.asarray(np.abs(person.error_rad[known, j]) / person.scale_rad[known, j])


def stride_novelty(net: GaitNet, trials: Sequence[Trial]) -> Floats:
    """Mean novelty of every whole stride of the left leg."""
    found = []
    for trial in trials:
        novelty = outputs(net, trial.features)[:, head_columns("novelty")][:, 0]
        starts = [c.t_s for c in trial.contacts if c.side == "l" and c.kind == "initial"]
        rows = [round(t_s * trial.rate_hz) for t_s in starts]
        found += [
            float(novelty[a:b].mean()) for a, b in pairwise(rows) if _SETTLED < a < b < a + 250
        ]
    return np.array(found)


LOSSES: tuple[tuple[str, ...], ...] = (
    (),
    ("femur_l",),
    ("calcn_l",),
    ("femur_l", "calcn_l"),
    ("femur_r", "femur_l"),
    ("calcn_r", "calcn_l"),
)
"""Which sensors are taken away, one set after the other; the network treats both legs alike."""
FALSE_ALARMS = 0.01
"""Share of strides of the people it is chosen on that the novelty limit calls unfamiliar."""


@dataclass(frozen=True, slots=True)
class Familiar:
    """What a fold says of its own person: errors of the angles, and novelty of every stride."""

    errors: Errors
    novelty: Floats


def look(trials: Sequence[Trial], person: str, config: TrainConfig) -> Familiar:
    """First pass over a person held out: what the other folds need to know of this one."""
    net = held_out_net(trials, (person,), config)
    mine = [trial for trial in trials if trial.person == person]
    errors = errors_of(net, mine)
    thinned = Errors(errors.error_rad[::_THIN], errors.scale_rad[::_THIN])
    return Familiar(thinned, stride_novelty(net, mine))


def calibrated(folds: Iterable[Familiar], who: str) -> tuple[Intervals, Familiarity]:
    """Read intervals and the novelty limit off some people's folds.

    The factors are those of whole sets of sensors; with a sensor gone the network widens its own scale.
    """
    folds = list(folds)
    factors = interval_factors([fold.errors for fold in folds])
    limit = quantile([fold.novelty for fold in folds if len(fold.novelty)], 1.0 - FALSE_ALARMS)
    said = f"chosen on {who}, each by a network trained without that person"
    return (
        Intervals(level=LEVEL, factor={k: round(v, 4) for k, v in factors.items()}, protocol=said),
        Familiarity(limit=round(limit, 4), protocol=said),
    )


Key = tuple[str, str, str, str, str]
"""Detector, sensors lost, class of gait, side, kind of event."""


@dataclass(frozen=True, slots=True)
class PersonResult:
    """Everything measured on one person held out.

    Attributes
    ----------
    person : str
    events : dict of Key to EventScore
    cycle_rms : dict of (lost, class, side) to float
        Root mean square error of the position in the cycle, share of a stride.
    strides, beside_usual : dict of (true class, said class) to int
        Judged by the network alone, and beside how far this person's knees usually move.
    angles : dict of (lost, angle) to (rmse_deg, coverage, half_width_deg, shown)
        `shown` is the share of ticks at which the angle was not refused.
    """

    person: str
    events: dict[Key, EventScore]
    cycle_rms: dict[tuple[str, str, str], float]
    strides: dict[tuple[str, str], int]
    beside_usual: dict[tuple[str, str], int]
    angles: dict[tuple[str, str], tuple[float, float, float, float]]


def measure(
    trials: Sequence[Trial],
    recordings: Sequence[Recording],
    person: str,
    config: TrainConfig,
    known: tuple[Intervals, Familiarity],
) -> PersonResult:
    """Second pass: stream the person's recordings through the pipeline, with every loss."""
    net = held_out_net(trials, (person,), config)
    about = Provenance(
        "held-out", "", (), trials[0].rate_hz, intervals=known[0], familiarity=known[1]
    )
    spec = model_spec(net, about)
    mine = [trial for trial in trials if trial.person == person]
    raw = {recording.name: recording for recording in recordings}
    result = PersonResult(person, {}, {}, {}, {}, {})
    for lost in LOSSES:
        runs = [(trial, stream(net, spec, trial, raw[trial.name], lost)) for trial in mine]
        name = "+".join(lost) or "none"
        _add_events(result, name, [(t, _announced(states)) for t, states in runs], "network")
        _add_cycles(result, name, runs)
        _add_angles(result, name, runs)
        if not lost:
            _add_events(result, name, [(trial, rule_events(trial)) for trial in mine], "rules")
            _add_strides(result.strides, runs)
            _add_strides(result.beside_usual, beside_usual(net, spec, runs, raw))
    return result


def beside_usual(
    net: GaitNet,
    spec: ModelSpec,
    alone: Sequence[tuple[Trial, list[GaitState]]],
    recordings: Mapping[str, Recording],
) -> Sequence[tuple[Trial, list[GaitState]]]:
    """Stream one person's trials once more, judged beside their usual knees.

    Where a mounting had no calibration of its own, the person's other one stands in, as it does for the
    axes of the sensors; where there is none at all, the verdicts stay as they were.
    """
    usual = usual_knees(net, spec, [trial for trial, _ in alone], recordings)
    if not usual:
        return alone
    any_rad = next(iter(usual.values()))
    runs = []
    for trial, _ in alone:
        recording = recordings[trial.name]
        usual_rad = usual.get(mounting_of(recording), any_rad)
        runs.append((trial, stream(net, spec, trial, recording, usual_rad=usual_rad)))
    return runs


def _add_strides(
    counts: dict[tuple[str, str], int], runs: Sequence[tuple[Trial, list[GaitState]]]
) -> None:
    for trial, states in runs:
        for said in stride_classes(trial, states):
            key = (true_class(trial) or "", said.value)
            counts[key] = counts.get(key, 0) + 1


def _announced(states: Sequence[GaitState]) -> list[tuple[float, GaitEvent]]:
    return [(state.t_s, event) for state in states for event in state.events]


def _add_events(
    result: PersonResult,
    lost: str,
    runs: Sequence[tuple[Trial, list[tuple[float, GaitEvent]]]],
    detector: str,
) -> None:
    for trial, announced in runs:
        for side in SIDES:
            for kind in EventKind:
                key = (detector, lost, true_class(trial) or "", side, kind.value)
                score = score_events(trial, announced, side, kind)
                result.events[key] = result.events.get(key, NO_EVENTS) + score


def _add_cycles(
    result: PersonResult, lost: str, runs: Sequence[tuple[Trial, list[GaitState]]]
) -> None:
    found: dict[tuple[str, str, str], list[Floats]] = {}
    for trial, states in runs:
        for side in SIDES:
            key = (lost, true_class(trial) or "", side)
            found.setdefault(key, []).append(cycle_error(trial, states, side))
    for key, errors in found.items():
        joined = np.concatenate(errors)
        if len(joined):
            result.cycle_rms[key] = float(np.sqrt(np.mean(joined**2)))


def _add_angles(
    result: PersonResult, lost: str, runs: Sequence[tuple[Trial, list[GaitState]]]
) -> None:
    for j, name in enumerate(ANGLES):
        said, half, true = [], [], []
        for trial, states in runs:
            said += [state.angles_rad[name] for state in states[_SETTLED:]]
            half += [state.interval_rad[name] for state in states[_SETTLED:]]
            true.append(trial.angles_rad[_SETTLED:, j])
        error = np.array(said) - np.concatenate(true)
        judged = np.isfinite(np.concatenate(true))
        shown = np.isfinite(error)
        if not judged.any():
            continue
        widths = np.array(half)[shown]
        held = np.abs(error[shown]) <= widths
        result.angles[lost, name] = (
            float(np.degrees(np.sqrt(np.mean(error[shown] ** 2)))) if shown.any() else math.nan,
            float(held.mean()) if shown.any() else math.nan,
            float(np.degrees(widths.mean())) if shown.any() else math.nan,
            float(shown.sum() / judged.sum()),
        )


def study(
    trials: Sequence[Trial],
    recordings: Sequence[Recording],
    config: TrainConfig,
    workers: int,
    done: Callable[[str], None] = lambda step: None,
) -> tuple[dict[str, Familiar], list[PersonResult]]:
    """Hold every person out in turn: two passes, several people at a time.

    Intervals and novelty limit of a person come from all other people's folds. Those networks were
    trained without the people they are read off, but with this one: 28 more networks would be needed to
    avoid that.
    """
    people = sorted({trial.person for trial in trials})
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
        looks = {person: pool.submit(look, trials, person, config) for person in people}
        folds = {}
        for person, future in looks.items():
            folds[person] = future.result()
            done(person)
        runs = []
        for person in people:
            others = [fold for name, fold in folds.items() if name != person]
            raw = [r for r in recordings if r.person == person]
            known = calibrated(others, "the others")
            # A network is found by what it was trained on, so all trials go along.
            runs.append(pool.submit(measure, trials, raw, person, config, known))
        results = []
        for person, run in zip(people, runs, strict=True):
            results.append(run.result())
            done(person)
    return folds, results


def document(folds: Mapping[str, Familiar], results: Sequence[PersonResult]) -> dict[str, Any]:
    """Build the JSON report: pooled over people, and person by person."""
    pooled: dict[Key, EventScore] = {}
    for result in results:
        for key, score in result.events.items():
            pooled[key] = pooled.get(key, NO_EVENTS) + score
    return {
        "protocol": "each person streamed through the runtime with a network trained on the others",
        "tolerance_s": TOLERANCE_S,
        "people": [result.person for result in results],
        "events": [_event_row("all", key, score) for key, score in pooled.items()]
        + [_event_row(r.person, key, score) for r in results for key, score in r.events.items()],
        "cycle": [
            {"person": r.person, "lost": lost, "class": kind, "side": side, "rms": round(rms, 4)}
            for r in results
            for (lost, kind, side), rms in r.cycle_rms.items()
        ],
        "strides": [
            {"person": r.person, "judged": how, "true": true, "said": said, "count": count}
            for r in results
            for how, counts in (("alone", r.strides), ("beside usual", r.beside_usual))
            for (true, said), count in counts.items()
        ],
        "angles": [
            dict(zip(_ANGLE_FIELDS, (r.person, *key, *map(_number, row)), strict=True))
            for r in results
            for key, row in r.angles.items()
        ],
        "known": {
            "all": _known(folds.values(), ", ".join(folds)),
            **{p: _known([f for q, f in folds.items() if q != p], f"all but {p}") for p in folds},
        },
        "summary": summary(results),
    }


def _known(folds: Iterable[Familiar], who: str) -> dict[str, Any]:
    intervals, familiarity = calibrated(folds, who)
    return {"intervals": intervals.model_dump(), "familiarity": familiarity.model_dump()}


def known_of(file: Path, left_out: Sequence[str] = ()) -> tuple[Intervals, Familiarity]:
    """Read what a model card needs off a report: of all people, or of all but the one left out.

    Raises
    ------
    RecordingError
        If the file is not such a report, or knows nothing without that person.
    """
    try:
        known = json.loads(file.read_text(encoding="utf-8"))["known"][",".join(left_out) or "all"]
        return (
            Intervals.model_validate(known["intervals"]),
            Familiarity.model_validate(known["familiarity"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise RecordingError(
            f"{file} is no report of 'talaria-train events' that covers this choice of people: run it "
            "on the same recordings with --json, and leave out one person at most."
        ) from None


_ANGLE_FIELDS = ("person", "lost", "angle", "rmse_deg", "coverage", "half_width_deg", "shown")


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _event_row(person: str, key: Key, score: EventScore) -> dict[str, Any]:
    names = ("detector", "lost", "class", "side", "kind")
    return {"person": person, **dict(zip(names, key, strict=True)), **score.summary()}


def summary(results: Sequence[PersonResult]) -> dict[str, Any]:
    """Say in a few numbers what the report is looked up for."""
    lost_sets = list(dict.fromkeys(lost for r in results for lost, _ in r.angles))
    return {
        **class_summary([r.strides for r in results]),
        "beside_usual": class_summary([r.beside_usual for r in results]),
        "classes": [class_row(r.person, r.strides, r.beside_usual) for r in results],
        "cycle_rms_mean": {kind: _mean(_cycles(results, kind)) for kind in GAIT_CLASSES},
        "angles": {
            field: {lost: _per_angle(results, lost, i) for lost in lost_sets}
            for i, field in enumerate(_ANGLE_FIELDS[3:])
        },
    }


def _per_angle(results: Sequence[PersonResult], lost: str, field: int) -> dict[str, float | None]:
    return {
        name: _mean([r.angles[lost, name][field] for r in results if (lost, name) in r.angles])
        for name in ANGLES
    }


def _cycles(results: Sequence[PersonResult], kind: str) -> list[float]:
    return [
        rms
        for result in results
        for (lost, of, _), rms in result.cycle_rms.items()
        if (lost, of) == ("none", kind)
    ]


def _mean(values: Iterable[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return round(float(np.mean(known)), 4) if known else None
