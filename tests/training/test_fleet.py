"""Simulated users: the same ones for the same seed, tested on what they did not learn from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from talaria_bridge.errors import ConfigError
from talaria_edge.features import channels
from talaria_training import artefacts, fleet, fleet_walks
from talaria_training.commands import fleet as command
from talaria_training.commands.app import app
from talaria_training.engine import Results
from talaria_training.fleet import Plan, one_user, report, rows_of, shared_of, user_jobs
from talaria_training.fleet_walks import Visit, simulated_user, walks_key
from talaria_training.networks import GaitNet
from talaria_training.trials import Trial

VISIT = Visit(rate_hz=50.0, seconds=18.0)
PLAN = Plan(VISIT, replace(fleet.FLEET_TUNE, hidden=8, steps=5, batch=2, window=48))


@pytest.fixture(scope="module")
def base() -> GaitNet:
    torch.manual_seed(0)
    net = GaitNet(len(channels()), hidden=8, layers=2).eval()
    net.memory_white.copy_(torch.eye(8))  # as if it had been trained
    return net


def test_a_user_is_the_same_every_time_and_walks_only_once(
    base: GaitNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = shared_of(base, PLAN)
    first = one_user(3, **shared)
    assert first["failure"] == ""
    monkeypatch.setattr(fleet_walks, "simulated_user", None)  # it is kept, so nobody calls it
    again = one_user(3, **shared)
    for key in ("base_deg", "personal_deg"):
        assert again[key] == first[key]
    for stage in fleet_walks.WALK_STAGES:  # what it cost is not forgotten
        assert again["cpu_s"][stage] == first["cpu_s"][stage] > 0.0


def test_neighbouring_seeds_share_no_user() -> None:
    short = replace(VISIT, seconds=1.0)
    one, other = simulated_user(1, short), simulated_user(0, replace(short, seed=1))
    assert one.params != other.params
    same = simulated_user(1, short)
    np.testing.assert_array_equal(same.acc_ms2, one.acc_ms2)


def test_nothing_is_learned_from_the_seconds_that_are_tested(
    base: GaitNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Trial] = []
    judged: list[int] = []

    def remember(net: GaitNet, trials: Sequence[Trial], config: object) -> GaitNet:
        seen.extend(trials)
        return net

    def count(*args: Any) -> list[Any]:
        judged.append(len(args[-1][0][1]))
        return [SimpleNamespace(joint="knee_angle_r", rmse_deg=1.0)]

    monkeypatch.setattr(fleet, "finetune", remember)
    monkeypatch.setattr(fleet, "score", count)
    result = one_user(3, **shared_of(base, PLAN))
    learned = round(VISIT.learn_s * VISIT.rate_hz)
    assert [len(trial.features) for trial in seen] == [learned]
    tested = round((VISIT.seconds - VISIT.learn_s - 1.0) * VISIT.rate_hz)
    assert judged == [tested, tested]
    assert result["base_deg"] == 1.0


def test_who_is_not_calibrated_in_the_time_to_learn_is_a_reason_and_not_an_end(
    base: GaitNet,
) -> None:
    plan = Plan(replace(VISIT, learn_s=4.0), PLAN.tune)  # the walk goes on, which must not help
    result = one_user(0, **shared_of(base, plan))
    assert result["failure"] == "not calibrated within 4 s"
    assert result["cpu_s"]["calibrate"] > 0.0


def user(before: float, after: float, failure: str = "") -> dict[str, Any]:
    cpu_s = {"simulate": 10.0, "calibrate": 1.0, "features": 2.0, "finetune": 3.0, "evaluate": 1.2}
    return {
        "failure": failure,
        "base_deg": before,
        "personal_deg": after,
        "cpu_s": cpu_s,
        "peak_mb": before,
    }


def test_a_report_counts_failures_by_reason_and_projects_without_the_simulation() -> None:
    users = {"a": user(6.0, 2.0), "b": user(4.0, 5.0), "c": user(9.0, 0.0, "fell")}
    document = report(Results(users, {"d": "its process was killed"}), PLAN, 0.5, {"model": "m"})
    assert document["users"] == 4
    assert document["failures"] == {"fell": 1, "its process was killed": 1}
    assert document["improved"] == 0.5
    assert document["base_deg"]["mean"] == 5.0
    assert document["change_deg"]["median"] == -1.5
    assert document["peak_mb"] == 9.0
    assert document["million"]["core_hours"] == pytest.approx(7.2e6 / 3600)
    assert document["million"]["dollars"] == pytest.approx(0.5 * 2000)
    assert ("users; failed", "4; 2") in rows_of(json.loads(json.dumps(document)))


def test_a_fleet_of_failures_still_gets_a_report() -> None:
    document = report(Results({}, {"a": "its process was killed"}), PLAN, 0.04, {})
    assert document["improved"] is None
    assert document["million"] is None
    assert rows_of(document)[0] == ("users; failed", "1; 1")


def test_other_walks_and_other_code_get_another_key() -> None:
    assert walks_key(VISIT) == walks_key(VISIT)
    assert walks_key(VISIT) != walks_key(replace(VISIT, seed=1))


def test_no_users_are_no_fleet() -> None:
    with pytest.raises(ConfigError, match="--users 0"):
        user_jobs(0)


def test_the_command_goes_on_where_it_was_and_writes_what_it_found(
    new_engine: Callable[[], Any], base: GaitNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SimpleNamespace(rate_hz=VISIT.rate_hz, model_id="tiny")
    monkeypatch.setattr(artefacts, "load", lambda folder: (base, spec))
    monkeypatch.setattr(command, "open_engine", lambda *given: new_engine())
    monkeypatch.setattr(fleet, "FLEET_TUNE", PLAN.tune)
    file = tmp_path / "fleet.json"
    arguments = ["fleet", "--base", "any", "--users", "1", "--steps", "5", "--json", str(file)]
    kept = []
    for _ in range(2):
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0
        assert "SIMULATED" in done.output
        kept.append(json.loads(file.read_text())["kept_from_before"])
    assert kept == [0, 1]
