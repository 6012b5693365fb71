"""Intervals that hold what they promise on people held out, and how wide they are.

An interval's half-width is the network's own scale at that moment times a factor per angle. The factor is
read off the errors of other people than the one it is used on: split conformal prediction (Lei et al. 2018,
section 5.2) with people in place of samples, because a person's errors go together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ModelContractError, RecordingError
from talaria_edge.kinematics import ANGLES
from talaria_edge.spec import Intervals
from talaria_training.networks import head_columns
from talaria_training.splits import TEST_PART
from talaria_training.trials import Trial

LEVEL = 0.9
Floats = NDArray[np.float64]
_GRID = np.linspace(0.0, 1.0, 201)


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far off one approach was on one person's angle, in units of its own scale.

    Attributes
    ----------
    approach, person, joint : str
    budget_s : float or None
    scores : list of float
        Quantiles of the absolute error over the scale, from the least to the greatest.
    scale_deg : float
        Mean scale.
    """

    approach: str
    person: str
    joint: str
    budget_s: float | None
    scores: list[float]
    scale_deg: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the intervals held on people held out, and at what width.

    Attributes
    ----------
    approach, joint : str
    budget_s : float or None
    coverage, worst : float
        Share of the test samples within the interval: mean over people, and the worst of them.
    half_width_deg : float
        Mean over people.
    """

    approach: str
    joint: str
    budget_s: float | None
    coverage: float
    worst: float
    half_width_deg: float


def evidence(
    approach: str,
    trials: Sequence[Trial],
    outputs: Sequence[NDArray[np.float32]],
    budget_s: float | None = None,
) -> list[Evidence]:
    """Gather one person's scores on the last 60 % of every recording.

    Parameters
    ----------
    approach : str
    trials : sequence of Trial
        One person's.
    outputs : sequence of ndarray, shape (T, width)
        All columns of the network, for the whole of each trial.
    budget_s : float, optional
    """
    cuts = [slice(*(round(edge * len(y)) for edge in TEST_PART)) for y in outputs]
    y = np.concatenate([y[cut] for y, cut in zip(outputs, cuts, strict=True)]).astype(float)
    true = np.concatenate([t.angles_rad[cut] for t, cut in zip(trials, cuts, strict=True)])
    error = np.abs(y[:, : len(ANGLES)] - true)
    scale = np.exp(y[:, head_columns("spread")])
    found = []
    for j, joint in enumerate(ANGLES):
        known = np.isfinite(error[:, j])
        if known.any():
            scores = np.quantile(error[known, j] / scale[known, j], _GRID)
            width = float(np.degrees(scale[known, j].mean()))
            found.append(
                Evidence(approach, trials[0].person, joint, budget_s, scores.tolist(), width)
            )
    return found


def factor(people: Sequence[Floats], level: float = LEVEL) -> float:
    """Find the factor whose intervals hold `level` of a further person's errors.

    Parameters
    ----------
    people : sequence of ndarray
        Each person's scores; people count alike, however many they have.
    level : float

    Notes
    -----
    The plain quantile over a handful of people covers the next one a little too seldom. What is taken is
    the smallest that held `level` of each of these people's errors, on average, when the factor was read
    off the others.
    """
    return quantile(people, _corrected(people, level))


def quantile(people: Sequence[Floats], level: float) -> float:
    """Quantile of several people's scores, every person weighing the same."""
    flat = np.concatenate(people)
    weight = np.concatenate([np.full(len(scores), 1.0 / len(scores)) for scores in people])
    order = np.argsort(flat)
    reached = np.cumsum(weight[order]) / weight.sum()
    return float(flat[order][min(int(np.searchsorted(reached, level)), len(flat) - 1)])


def _corrected(people: Sequence[Floats], level: float) -> float:
    """Find the quantile that covers as much as asked for when each person in turn is left out.

    Where none does, because one of them is unlike all others, stretching the intervals would not help
    the next either: the plain quantile it is.
    """
    if len(people) < 2:
        return level
    for tried in np.arange(level, 1.0, 0.005):
        covered = []
        for i, mine in enumerate(people):
            others = [scores for k, scores in enumerate(people) if k != i]
            covered.append(float((mine <= quantile(others, tried)).mean()))
        if np.mean(covered) >= level:
            return float(tried)
    return level


def coverage(found: Iterable[Evidence], level: float = LEVEL) -> list[Coverage]:
    """Measure intervals on each person with a factor from the others; needs three people or more."""
    rows = []
    for (approach, budget_s, joint), group in _grouped(found):
        if len(group) < 3:
            continue
        scores = [np.array(one.scores) for one in group]
        held, widths = [], []
        for i, mine in enumerate(scores):
            chosen = factor([other for k, other in enumerate(scores) if k != i], level)
            held.append(float((mine <= chosen).mean()))
            widths.append(chosen * group[i].scale_deg)
        rows.append(
            Coverage(
                approach,
                joint,
                budget_s,
                float(np.mean(held)),
                min(held),
                float(np.mean(widths)),
            )
        )
    return rows


def factors(found: Iterable[Evidence]) -> list[dict[str, Any]]:
    """Give the factors a further person would get, per approach and budget."""
    table: dict[tuple[str, float | None], dict[str, float]] = {}
    for (approach, budget_s, joint), group in _grouped(found):
        chosen = factor([np.array(one.scores) for one in group])
        table.setdefault((approach, budget_s), {})[joint] = round(chosen, 4)
    return [
        {"approach": approach, "budget_s": budget_s, "level": LEVEL, "factor": factor_}
        for (approach, budget_s), factor_ in table.items()
    ]


def _grouped(
    found: Iterable[Evidence],
) -> list[tuple[tuple[str, float | None, str], list[Evidence]]]:
    def key(one: Evidence) -> tuple[str, float, int]:
        return one.approach, one.budget_s or 0.0, ANGLES.index(one.joint)

    groups = [list(group) for _, group in groupby(sorted(found, key=key), key)]
    return [((g[0].approach, g[0].budget_s, g[0].joint), g) for g in groups]


def document(found: Sequence[Evidence]) -> dict[str, Any]:
    """Put what was covered, and the factors for anybody further, as JSON says it.

    ``personal`` has the factors of fine-tuned models: of all people, and of all but each.
    """
    tuned = [one for one in found if one.approach == "fine_tuned"]
    people = sorted({one.person for one in tuned})
    left = {"all": tuned} | {p: [one for one in tuned if one.person != p] for p in people}
    return {
        "coverage": [asdict(row) for row in coverage(found)],
        "factors": factors(found),
        "personal": {name: _by_seconds(some) for name, some in left.items() if some},
    }


def _by_seconds(found: Sequence[Evidence]) -> list[dict[str, Any]]:
    who = ", ".join(sorted({one.person for one in found}))
    return [
        {
            "learned_s": row["budget_s"],
            "level": row["level"],
            "factor": row["factor"],
            "protocol": f"chosen on {who}, each fine-tuned on {row['budget_s']:g} s of own walking from a "
            "network trained without that person",
        }
        for row in factors(found)
    ]


PERSONAL_FILE = "personal_intervals.json"
"""Beside a base model: how to read the spread of what is fine-tuned from it."""


def personal_of(report: Path, left_out: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Read the factors of fine-tuned models off a report: of all people, or of all but the one left out.

    Raises
    ------
    RecordingError
        If the file is not such a report, or knows nothing without that person.
    """
    try:
        known = json.loads(report.read_text(encoding="utf-8"))["intervals"]["personal"]
        return list(known[",".join(left_out) or "all"])
    except (OSError, ValueError, KeyError, TypeError):
        raise RecordingError(
            f"{report} is no report of 'talaria-train evaluate --protocol loso' that covers this choice of "
            "people: run it on the same recordings with --json, and leave out one person at most."
        ) from None


def personal_intervals(base: Path, learned_s: float) -> Intervals | None:
    """Find how to read the spread of a model fine-tuned from `base` on so many seconds.

    Of the amounts measured, the greatest that is not above `learned_s`, or the least of all; None where
    nothing lies beside the base.

    Raises
    ------
    ModelContractError
        If what lies there cannot be read.
    """
    file = (base if base.is_dir() else base.parent) / PERSONAL_FILE
    if not file.is_file():
        return None
    try:
        rows = {float(r.pop("learned_s")): r for r in json.loads(file.read_text(encoding="utf-8"))}
        enough = [s for s in rows if s <= learned_s]
        return Intervals.model_validate(rows[max(enough) if enough else min(rows)])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelContractError(
            f"{file} does not say how to read intervals ({error}): restore it from the model's release, or "
            "delete it, and personal models will keep the base's."
        ) from None
