"""Does the never-worse gate hold? Fine-tunings on labels spoiled at random, judged on clean ones.

Every trial takes a held-out person, a recording, a stretch of it and a way to spoil its labels, runs
the whole of `personalise`, and then compares base and personal model where neither the stretch nor
the spoiling reached: on clean labels of the rest of that recording.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import ANGLES, SAGITTAL
from talaria_training import evaluate, spoil
from talaria_training.cache import source_digest
from talaria_training.engine import Engine, Job, Store, run_jobs
from talaria_training.held_strides import cut_rows
from talaria_training.networks import GaitNet
from talaria_training.personal import Options, personalise
from talaria_training.train import FINETUNE, TrainConfig, class_of, predict
from talaria_training.trials import Trial

SHORTEST_S, LONGEST_S = 5.0, 60.0
CLEAN_SHARE = 0.2
PART_SHARE = 0.25
QUICK = replace(FINETUNE, steps=80, batch=8)
"""Shorter than what `talaria-train finetune` runs: two hundred of those would take a day of one core."""
_CODE = (
    *evaluate.NET_CODE,
    "gate_study",
    "spoil",
    "personal",
    "gate",
    "believe",
    "witnesses",
    "held_strides",
)
_MARGIN_S = 1.0
_SETTLE = 200


@dataclass(frozen=True, slots=True)
class Case:
    """One trial, drawn.

    Attributes
    ----------
    number : int
    person, recording : str
    start_s, length_s : float
        The stretch that is labelled.
    kind : str
        ``none``, a key of `spoil.KINDS`, ``trial`` or ``person``.
    what : str
        What was done, in words.
    """

    number: int
    person: str
    recording: str
    start_s: float
    length_s: float
    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case; errors are the mean RMSE over the six sagittal angles on clean labels, degrees.

    Attributes
    ----------
    case : Case
    shipped : bool
    decision : str
    base_deg, personal_deg : float or None
        On the rest of the same recording; None where nothing was handed out.
    others : dict of str to (float, float)
        Base's and personal model's on the person's other recordings, of other gaits and mountings.
    """

    case: Case
    shipped: bool
    decision: str
    base_deg: float | None = None
    personal_deg: float | None = None
    others: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def harm_deg(self) -> float:
        """How much worse what was handed out is than the base: 0 where the base stayed."""
        if self.personal_deg is None or self.base_deg is None:
            return 0.0
        return self.personal_deg - self.base_deg


def draw(number: int, trials: Sequence[Trial], seed: int) -> tuple[Case, Trial]:
    """Draw one case and its labelled, perhaps spoiled, stretch: the same ones for a number and a seed."""
    random = np.random.default_rng([seed, number])
    labelled = [t for t in trials if t.reference != "none"]
    people = sorted({t.person for t in labelled})
    person = people[int(random.integers(len(people)))]
    mine = [t for t in labelled if t.person == person]
    trial = mine[int(random.integers(len(mine)))]
    whole_s = len(trial.features) / trial.rate_hz
    longest_s = min(LONGEST_S, 0.7 * whole_s)
    length_s = float(random.uniform(SHORTEST_S, longest_s))
    start_s = float(random.uniform(0.0, whole_s - length_s))
    first = round(start_s * trial.rate_hz)
    stretch = cut_rows(trial, first, first + round(length_s * trial.rate_hz))
    kinds = [*spoil.KINDS, "trial", "person"]
    kind = "none" if random.random() < CLEAN_SHARE else str(random.choice(kinds))
    spoiled = _spoil(kind, stretch, trial, labelled, random)
    case = Case(number, person, trial.name, start_s, length_s, kind, spoiled.what)
    # The contacts a plate measured would not come with a camera's angles.
    given = replace(stretch, angles_rad=spoiled.angles_rad, reference="given", contacts=())
    return case, given


def _spoil(
    kind: str, stretch: Trial, trial: Trial, labelled: Sequence[Trial], random: Generator
) -> spoil.Spoiled:
    clean = stretch.angles_rad
    if kind == "none":
        return spoil.Spoiled(clean, "nothing")
    if kind in ("trial", "person"):
        same = kind == "trial"
        donors = [
            t for t in labelled if (t.person == trial.person) == same and t.name != trial.name
        ]
        # A person with one recording lends its own angles, from elsewhere in it.
        made = spoil.foreign(clean, [t.angles_rad for t in donors or [trial]], random)
    else:
        made = spoil.KINDS[kind](clean, trial.rate_hz, random)
    return spoil.in_part(clean, made, random) if random.random() < PART_SHARE else made


def run_case(
    number: int,
    *,
    trials: Sequence[Trial],
    bases: Mapping[str, GaitNet],
    config: TrainConfig,
    options: Options,
    seed: int,
) -> Result:
    """Personalise on one case's stretch and judge on the person's clean recordings."""
    case, stretch = draw(number, trials, seed)
    base = bases[case.person]
    try:
        outcome = personalise(base, [stretch], config, options)
    except RecordingError as error:
        return Result(case, shipped=False, decision=str(error))
    if not outcome.shipped or outcome.net is None:
        return Result(case, shipped=False, decision=outcome.decision)
    clean = [t for t in trials if t.person == case.person and t.reference != "none"]
    return _judged(case, outcome.decision, outcome.net, clean, base)


def _judged(
    case: Case, decision: str, personal: GaitNet, clean: Sequence[Trial], base: GaitNet
) -> Result:
    errors = {t.name: (_error_deg(base, t, case), _error_deg(personal, t, case)) for t in clean}
    before, after = errors.pop(case.recording)
    return Result(
        case,
        shipped=True,
        decision=decision,
        base_deg=before,
        personal_deg=after,
        others=errors,
    )


def _error_deg(net: GaitNet, trial: Trial, case: Case) -> float:
    """Mean sagittal RMSE, degrees, over what lies outside the case's stretch."""
    off = np.degrees(predict(net, trial.features) - trial.angles_rad)[_SETTLE:]
    if trial.name == case.recording:
        t_s = (_SETTLE + np.arange(len(off))) / trial.rate_hz
        stop_s = case.start_s + case.length_s
        off = off[(t_s < case.start_s - _MARGIN_S) | (t_s > stop_s + _MARGIN_S)]
    sagittal = off[:, [ANGLES.index(j) for j in SAGITTAL]]
    return float(np.sqrt(np.nanmean(sagittal**2, axis=0)).mean())


@dataclass(frozen=True, slots=True)
class Plan:
    """What decides the study's results, the recordings apart.

    Attributes
    ----------
    bases : mapping of person to GaitNet
        Each trained without that person.
    config : TrainConfig
        Of every fine-tuning.
    options : Options
    seed : int
    """

    bases: Mapping[str, GaitNet]
    config: TrainConfig = QUICK
    options: Options = field(default_factory=Options)
    seed: int = 0


def study(
    trials: Sequence[Trial],
    plan: Plan,
    count: int,
    engine: Engine,
    done: Callable[[str], object] = lambda name: None,
) -> list[Result]:
    """Run cases 0 to `count`; finished ones are kept and not run again.

    Raises
    ------
    TalariaError
        If a case failed in any other way than being refused.
    """
    mine = [t for t in trials if t.person in plan.bases]
    shared = {
        "trials": mine,
        "bases": dict(plan.bases),
        "config": plan.config,
        "options": plan.options,
        "seed": plan.seed,
    }
    jobs: dict[str, Job] = {f"case {n}": (run_case, n) for n in range(count)}
    found = run_jobs(jobs, Store.cached("gate", _key(mine, plan)), engine, shared, done)
    return [Result(**{**found[name], "case": Case(**found[name]["case"])}) for name in jobs]


def _key(trials: Sequence[Trial], plan: Plan) -> str:
    said = f"{plan.config!r}{plan.options!r}{plan.seed}"
    digest = hashlib.sha256(said.encode() + source_digest(*_CODE).encode())
    for person in sorted(plan.bases):
        for tensor in plan.bases[person].state_dict().values():
            digest.update(tensor.numpy().tobytes())
    for trial in trials:
        digest.update(trial.name.encode() + trial.features.tobytes() + trial.angles_rad.tobytes())
    return digest.hexdigest()[:16]


def held_out_bases(
    trials: Sequence[Trial],
    people: Sequence[str],
    config: TrainConfig,
    done: Callable[[str], object] = lambda person: None,
) -> dict[str, GaitNet]:
    """Train a base without each of the people, or find the ones trained before."""
    bases = {}
    for person in people:
        bases[person] = evaluate.held_out_net(trials, (person,), config)
        done(person)
    return bases


def document(results: Sequence[Result], plan: Plan) -> dict[str, Any]:
    """Build the JSON document of the study."""
    shipped = [r for r in results if r.shipped]
    clean = [r for r in results if r.case.kind == "none"]
    return {
        "trials": len(results),
        "seed": plan.seed,
        "steps": plan.config.steps,
        "batch": plan.config.batch,
        "people": sorted({r.case.person for r in results}),
        "shipped": len(shipped),
        "worse": sum(r.harm_deg > 0.0 for r in shipped),
        "worst_harm_deg": max((r.harm_deg for r in shipped), default=None),
        "mean_gain_deg": float(np.mean([-r.harm_deg for r in shipped])) if shipped else None,
        "same_gait_elsewhere": _elsewhere(shipped, same_gait=True),
        "other_gait_elsewhere": _elsewhere(shipped, same_gait=False),
        "clean": len(clean),
        "clean_refused": sum(not r.shipped for r in clean),
        "by_kind": by_kind(results),
        "cases": [{**asdict(r), "harm_deg": r.harm_deg if r.shipped else None} for r in results],
    }


def _elsewhere(results: Sequence[Result], *, same_gait: bool) -> dict[str, Any]:
    """Say how models handed out fare on the person's other recordings, of the same gait or another."""
    harms = [
        after - before
        for r in results
        for name, (before, after) in r.others.items()
        if (_gait(name) == _gait(r.case.recording)) == same_gait
    ]
    return {
        "recordings": len(harms),
        "worse": sum(h > 0.0 for h in harms),
        "worst_harm_deg": max(harms, default=None),
        "mean_gain_deg": float(-np.mean(harms)) if harms else None,
    }


def _gait(recording: str) -> int:
    return class_of(recording.rpartition("/")[2])


def by_kind(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """Count, per kind of spoiling, what was shipped, why not, and the worst harm."""
    table: dict[str, dict[str, Any]] = {}
    for kind in ["none", *spoil.KINDS, "trial", "person"]:
        mine = [r for r in results if r.case.kind == kind]
        shipped = [r for r in mine if r.shipped]
        table[kind] = {
            "cases": len(mine),
            "shipped": len(shipped),
            "worse": sum(r.harm_deg > 0.0 for r in shipped),
            "worst_harm_deg": max((r.harm_deg for r in shipped), default=None),
            "reasons": dict(Counter(reason(r.decision) for r in mine if not r.shipped)),
        }
    return table


def reason(decision: str) -> str:
    """Shorten a refusal to its kind."""
    if "cannot be believed" in decision:
        return "labels not believed"
    return "too few strides" if "are the least that allow" in decision else "not surely better"
