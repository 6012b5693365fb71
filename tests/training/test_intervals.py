"""Intervals hold what they promise on a person who had no say in them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.errors import ModelContractError, RecordingError
from talaria_edge.kinematics import ANGLES
from talaria_training.intervals import (
    PERSONAL_FILE,
    Evidence,
    coverage,
    document,
    evidence,
    factor,
    factors,
    personal_intervals,
    personal_of,
)
from talaria_training.networks import head_columns
from talaria_training.trials import Trial

RANDOM = np.random.default_rng(5)


def _person(name: str, size: float, budget_s: float | None = None) -> Evidence:
    scores = np.quantile(np.abs(RANDOM.normal(scale=size, size=4000)), np.linspace(0, 1, 201))
    return Evidence("multi_user", name, ANGLES[0], budget_s, scores.tolist(), 2.0)


def test_the_factor_of_like_people_is_the_normal_quantile() -> None:
    people = [np.array(_person(str(i), 1.0).scores) for i in range(6)]
    assert factor(people) == pytest.approx(1.645, abs=0.06)


def test_people_who_differ_are_covered_on_average() -> None:
    found = [
        _person(str(i), size) for i, size in enumerate((0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5))
    ]
    (row,) = coverage(found)
    assert 0.87 < row.coverage < 0.95
    assert row.worst < 0.87
    assert row.half_width_deg == pytest.approx(
        2.0 * factor([np.array(e.scores) for e in found]), rel=0.1
    )


def test_a_person_has_no_say_in_the_own_intervals() -> None:
    others = [_person(str(i), 1.0) for i in range(4)]
    wild = replace(_person("wild", 1.0), scores=[50.0] * 201)
    assert coverage([*others, wild])[0].worst == 0.0


def test_budgets_and_approaches_are_told_apart() -> None:
    found = [_person(str(i), 1.0) for i in range(3)] + [
        _person(str(i), 3.0, 10.0) for i in range(3)
    ]
    small, large = (entry["factor"][ANGLES[0]] for entry in factors(found))
    assert large / small == pytest.approx(3.0, rel=0.1)
    assert len(coverage(found)) == 2


def test_only_the_judged_part_of_a_recording_counts(trials: list[Trial]) -> None:
    trial = trials[0]
    y = np.zeros((len(trial.features), 40), np.float32)
    y[:, : len(ANGLES)] = trial.angles_rad
    y[: round(0.4 * len(y)), : len(ANGLES)] += 1.0
    (first, *_) = evidence("multi_user", [trial], [y])
    assert max(first.scores) == pytest.approx(0.0, abs=1e-6)
    y[-1, 0] += 0.5
    y[:, head_columns("spread")] = np.log(0.25)
    (first, *_) = evidence("multi_user", [trial], [y])
    assert max(first.scores) == pytest.approx(2.0, rel=1e-3)
    assert first.scale_deg == pytest.approx(np.degrees(0.25), rel=1e-6)


def test_a_personal_model_reads_its_spread_by_what_it_learned_from(tmp_path: Path) -> None:
    sizes = {5.0: 6.0, 60.0: 2.0}
    found = [
        replace(_person(name, size, budget), approach="fine_tuned")
        for budget, size in sizes.items()
        for name in ("Ann", "Bob", "Cid")
    ]
    wild = replace(found[0], person="Wil", scores=[99.0] * 201)
    report = tmp_path / "loso.json"
    report.write_text(json.dumps({"intervals": document([*found, wild])}))
    rows = personal_of(report, ["Wil"])
    (tmp_path / PERSONAL_FILE).write_text(json.dumps(rows))
    few, some, many = (personal_intervals(tmp_path, s) for s in (2.0, 59.0, 300.0))
    assert few == some
    assert some.factor[ANGLES[0]] == pytest.approx(6.0 * 1.645, rel=0.1)
    assert many.factor[ANGLES[0]] == pytest.approx(2.0 * 1.645, rel=0.1)
    assert "Wil" not in some.protocol
    assert personal_of(report)[0]["factor"] != rows[0]["factor"]


def test_what_says_nothing_of_personal_intervals_is_refused_in_a_sentence(tmp_path: Path) -> None:
    assert personal_intervals(tmp_path, 60.0) is None
    report = tmp_path / "loso.json"
    report.write_text("{}")
    with pytest.raises(RecordingError, match="evaluate --protocol loso"):
        personal_of(report)
    for broken in ("[]", "{}", "[1]", '[{"learned_s": 5}]', "no"):
        (tmp_path / PERSONAL_FILE).write_text(broken)
        with pytest.raises(ModelContractError, match="restore it"):
            personal_intervals(tmp_path, 60.0)
