"""Errors on people held out as rows, their summary, and the report a study writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import ANGLES, SAGITTAL
from talaria_edge.spec import HeldOut
from talaria_training.optical import RECORDING as OPTICAL_RECORDING
from talaria_training.optical import Optical
from talaria_training.splits import TEST_PART
from talaria_training.trials import Trial

Pair = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """One number triple: an approach, a reference, a person, a joint. Degrees; r is None if undefined.

    `budget_s` is how many seconds of the person's own labels the approach was given; None if none.

    `rmse_deg` and `rmse_offset_removed_deg` pool the squares of all the person's test samples, the offset
    removed per recording; `r` is Pearson's, averaged over recordings.
    """

    approach: str
    reference: str
    person: str
    joint: str
    rmse_deg: float
    rmse_offset_removed_deg: float
    r: float | None
    budget_s: float | None = None


def score(
    approach: str,
    reference: str,
    person: str,
    pairs: Sequence[Pair],
    budget_s: float | None = None,
) -> list[Row]:
    """Score predictions against a reference.

    Parameters
    ----------
    approach, reference, person : str
    pairs : sequence of (predicted, true), each ndarray of shape (T, len(ANGLES)), rad
        One per recording; NaN in the reference is left out.
    budget_s : float, optional
        Seconds of the person's own labels that the approach was given.

    Returns
    -------
    list of Row
        One per angle that has a reference.
    """
    rows = []
    for j, joint in enumerate(ANGLES):
        errors, residuals, correlations = [], [], []
        for predicted, true in pairs:
            known = np.isfinite(true[:, j])
            if known.sum() < 2:
                continue
            p, t = np.degrees(predicted[known, j]), np.degrees(true[known, j])
            errors.append(p - t)
            residuals.append(p - t - np.mean(p - t))
            if np.ptp(p) > 0 and np.ptp(t) > 0:  # a constant has no correlation
                correlations.append(float(np.corrcoef(p, t)[0, 1]))
        if errors:
            rmse, rmse_free = (
                float(np.sqrt(np.mean(np.concatenate(e) ** 2))) for e in (errors, residuals)
            )
            r = float(np.mean(correlations)) if correlations else None
            rows.append(Row(approach, reference, person, joint, rmse, rmse_free, r, budget_s))
    return rows


def summarise(rows: Iterable[Row]) -> dict[str, Any]:
    """Mean ± SD over people: each joint, and the six sagittal angles' mean.

    Keys are ``approach/reference``, and ``approach@10s/reference`` where there was a budget.
    """
    table: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        budget = "" if row.budget_s is None else f"@{row.budget_s:g}s"
        people = table.setdefault(f"{row.approach}{budget}/{row.reference}", {})
        people.setdefault(row.person, []).append(row)
    summary: dict[str, Any] = {}
    for key, people in table.items():
        entry: dict[str, Any] = {"people": len(people), "joints": {}}
        for joint in ANGLES:
            entry["joints"][joint] = _spread(people, (joint,))
        entry["sagittal_mean"] = _spread(people, SAGITTAL)
        summary[key] = entry
    return summary


def judged_rows(
    approach: str,
    trials: Sequence[Trial],
    outputs: Sequence[NDArray[Any]],
    optical: Optical | None,
    budget_s: float | None = None,
) -> list[Row]:
    """Score one person's predictions on the last 60 % of every recording, against every reference.

    Parameters
    ----------
    approach : str
    trials : sequence of Trial
        One person's.
    outputs : sequence of ndarray, shape (T, len(ANGLES)), rad
        For the whole of each trial.
    optical : Optical, optional
        What the one optical recording is judged against as well.
    budget_s : float, optional
        See `score`.
    """
    pairs: list[Pair] = []
    seen: list[Pair] = []
    for trial, output in zip(trials, outputs, strict=True):
        cut = slice(*(round(edge * len(output)) for edge in TEST_PART))
        pairs.append((output[cut], trial.angles_rad[cut]))
        if optical is not None and trial.name == OPTICAL_RECORDING:
            t_s = np.arange(len(output)) / trial.rate_hz
            mine, theirs = optical.overlap(t_s[cut])
            seen.append((output[cut][mine], optical.angles_rad[theirs]))
    person = trials[0].person
    reference = next((t.reference for t in trials if t.reference != "none"), "none")
    rows = score(approach, reference, person, pairs, budget_s)
    return rows + (score(approach, "optical", person, seen, budget_s) if seen else [])


def _spread(people: Mapping[str, list[Row]], joints: Sequence[str]) -> dict[str, float | None]:
    entry: dict[str, float | None] = {}
    for field in ("rmse_deg", "rmse_offset_removed_deg", "r"):
        per_person = []
        for rows in people.values():
            values = [getattr(row, field) for row in rows if row.joint in joints]
            values = [value for value in values if value is not None]
            if values:
                per_person.append(float(np.mean(values)))
        entry[f"{field}_mean"] = float(np.mean(per_person)) if per_person else None
        entry[f"{field}_sd"] = float(np.std(per_person, ddof=1)) if len(per_person) > 1 else None
    return entry


def report(
    protocol: str, rows: Sequence[Row], notes: Sequence[str], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Build the JSON document a protocol writes."""
    return {
        "protocol": protocol,
        "people": sorted({row.person for row in rows}),
        **extra,
        "rows": [asdict(row) for row in rows],
        "summary": summarise(rows),
        "notes": list(notes),
    }


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a report where the user asked for it, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, allow_nan=False), encoding="utf-8")


def held_out(file: Path, people: Sequence[str] = ()) -> HeldOut:
    """Quote a leave-one-out report on a model card: the multi-user error per joint, in degrees.

    Parameters
    ----------
    file : Path
        Written by ``evaluate --protocol loso --json``.
    people : sequence of str
        Only these people's folds; all of them if empty.

    Raises
    ------
    RecordingError
        If the file is not such a report.
    """
    try:
        rows = [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise RecordingError(
            f"{file} is not a report of 'talaria-train evaluate': run it with --protocol loso --json."
        ) from None
    mine = [r for r in rows if r.approach == "multi_user" and r.reference != "optical"]
    mine = [r for r in mine if not people or r.person in people]
    rmse = {
        joint: round(float(np.mean([r.rmse_deg for r in mine if r.joint == joint])), 2)
        for joint in ANGLES
        if any(r.joint == joint for r in mine)
    }
    who = ", ".join(sorted({r.person for r in mine}))
    return HeldOut(
        protocol=f"models of the same recipe, each trained without the person it is tested on ({who})",
        reference="full inertial sensor chain",
        rmse_deg=rmse,
    )
