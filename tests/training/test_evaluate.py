"""The arithmetic of the evaluation, and the wall between people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import ANGLES
from talaria_training import baselines, evaluate
from talaria_training.engine import LocalEngine
from talaria_training.evaluate import Recipe
from talaria_training.scoring import Row, held_out, report, score, summarise, write_json
from talaria_training.train import FINETUNE, MULTI_USER, SINGLE_USER
from talaria_training.trials import Trial

TINY = Recipe(
    *(
        replace(config, hidden=8, layers=1, dropout=0.0, steps=2, batch=2, window=64, warmup=8)
        for config in (MULTI_USER, FINETUNE, SINGLE_USER)
    ),
    budgets_s=(5.0, 20.0),
)


def test_error_offset_and_correlation_of_a_known_case() -> None:
    t = np.linspace(0, 20 * np.pi, 2000)
    true = np.tile(np.radians(10 * np.sin(t))[:, None], (1, len(ANGLES)))
    rows = score("a", "full_chain", "P", [(true + np.radians(3.0), true)])
    assert len(rows) == len(ANGLES)
    assert rows[0].rmse_deg == pytest.approx(3.0)
    assert rows[0].rmse_offset_removed_deg == pytest.approx(0.0, abs=1e-9)
    assert rows[0].r == pytest.approx(1.0)


def test_a_constant_has_no_correlation_and_missing_truth_no_row() -> None:
    true = np.random.default_rng(0).normal(size=(100, len(ANGLES)))
    true[:, 1] = np.nan
    rows = score("person_mean", "full_chain", "P", [(np.zeros_like(true), true)])
    assert ANGLES[1] not in {row.joint for row in rows}
    assert all(row.r is None for row in rows)


def test_summary_is_mean_and_spread_over_people() -> None:
    rows = [
        Row("multi_user", "full_chain", person, joint, error, error / 2, 0.9)
        for person, error in (("A", 2.0), ("B", 4.0))
        for joint in ANGLES
    ]
    entry = summarise(rows)["multi_user/full_chain"]["sagittal_mean"]
    assert entry["rmse_deg_mean"] == pytest.approx(3.0)
    assert entry["rmse_deg_sd"] == pytest.approx(np.sqrt(2.0))


def test_nothing_of_the_test_person_reaches_the_multi_user_model(
    trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    real = evaluate.train

    def spy(given: list[Trial], config: object, *_: object) -> object:
        seen.append({trial.person for trial in given})
        return real(given, config)

    monkeypatch.setattr(evaluate, "train", spy)
    evaluate.fold("Sim11", trials=trials, recipe=TINY)
    assert seen == [
        {"Sim12"},
        {"Sim11"},
        {"Sim11"},
    ]  # the base, then a single-user model per budget


def test_test_samples_change_no_prediction_before_them(trials: list[Trial]) -> None:
    """Destroy the last 60 % of the test person's labels: every trained network stays the same."""
    mine = trials[0]
    broken = mine.angles_rad.copy()
    broken[round(0.4 * len(broken)) :] += 1.0
    honest = evaluate.fold("Sim11", trials=trials, recipe=TINY)
    moved = [replace(mine, angles_rad=broken), trials[1]]
    shifted = evaluate.fold("Sim11", trials=moved, recipe=TINY)
    for a, b in zip(honest.rows, shifted.rows, strict=True):
        # A label that moved by one radian moves the error, and nothing else: the residual stays.
        assert a.rmse_offset_removed_deg == pytest.approx(b.rmse_offset_removed_deg, rel=1e-3)


def test_leave_one_out_gives_every_row_and_keeps_its_folds(
    trials: list[Trial], tmp_path: Path
) -> None:
    found = evaluate.leave_one_out(trials, TINY, None, LocalEngine(2))
    rows = found.rows
    approaches = {"multi_user", "fine_tuned", "single_user", "person_mean", "train_mean"}
    assert {row.approach for row in rows} == approaches
    of_a_budget = {(row.approach, row.budget_s) for row in rows if row.budget_s is not None}
    assert of_a_budget == {
        (approach, budget_s)
        for approach in ("fine_tuned", "single_user", "person_mean")
        for budget_s in TINY.budgets_s
    }
    assert len(rows) == 2 * (2 + 3 * 2) * len(ANGLES)
    assert len(found.evidence) == 2 * (1 + 2 * 2) * len(ANGLES)
    calls: list[str] = []
    again = evaluate.leave_one_out(trials, TINY, None, LocalEngine(2), calls.append)
    assert again == found
    assert calls == ["Sim11", "Sim12"]
    write_json(tmp_path / "deep" / "report.json", report("loso", rows, ["a note"], {}))
    document = json.loads((tmp_path / "deep" / "report.json").read_text())
    assert {"protocol", "people", "rows", "summary"} <= set(document)
    keys = {"approach", "reference", "person", "joint", "rmse_deg", "rmse_offset_removed_deg", "r"}
    assert set(document["rows"][0]) == keys | {"budget_s"}
    assert {"multi_user/given", "fine_tuned@5s/given"} <= set(document["summary"])
    assert held_out(tmp_path / "deep" / "report.json").rmse_deg.keys() == set(ANGLES)


def test_one_person_cannot_be_left_out(trials: list[Trial]) -> None:
    with pytest.raises(RecordingError, match="leaves nobody"):
        evaluate.leave_one_out(trials[:1], TINY, None, LocalEngine(1))


def test_a_foreign_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(RecordingError, match="not a report"):
        held_out(tmp_path / "x.json")


def test_the_mean_curve_of_one_walker_fits_that_walker(trials: list[Trial]) -> None:
    curve = baselines.mean_curve(trials[:1])
    guess = baselines.curve_at(curve, trials[0].features)
    inner = slice(1500, 5000)
    error = guess[inner, 1] - trials[0].angles_rad[inner, 1]
    assert np.sqrt(np.mean(error**2)) < 0.5 * trials[0].angles_rad[inner, 1].std()
