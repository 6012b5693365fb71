"""What walkers are worth: who learns from whom, and that each model draws once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talaria_edge.calibration import Calibration
from talaria_edge.kinematics import ANGLES
from talaria_training.engine import Engine
from talaria_training.generate import gain
from talaria_training.trials import Trial


def _trial(person: str) -> Trial:
    angles = np.tile(np.linspace(0.0, 1.0, 300, dtype=np.float32)[:, None], (1, len(ANGLES)))
    still = np.full((300, 2), np.nan, np.float32)
    nobody = Calibration({})
    return Trial(
        person, "walk", f"{person}/walk", 100.0, angles, angles, "given", nobody, still, still
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, list[Any]]:
    """A study without networks, which notes who was drawn and who was learned from."""
    noted: dict[str, list[Any]] = {"drawn": [], "learned": []}
    monkeypatch.setenv("TALARIA_CACHE", str(tmp_path))

    def draw_walkers(model: str, count: int, seed: int, outing: object) -> list[str]:
        noted["drawn"].append(model)
        return [model]

    def base_from(start: str, real: Sequence[Trial], virtual: Sequence[str], effort: object) -> str:
        noted["learned"].append((start, tuple(t.person for t in real), tuple(virtual)))
        return start

    monkeypatch.setattr(gain.Generator, "open", lambda folder: folder)
    monkeypatch.setattr(gain, "draw_walkers", draw_walkers)
    monkeypatch.setattr(gain, "trials_of", lambda walkers: (list(walkers), []))
    monkeypatch.setattr(gain, "base_from", base_from)
    monkeypatch.setattr(gain, "predict", lambda base, features: features + (base == "nothing"))
    return noted


def _study(people: list[str], engine: Engine) -> dict[str, Any]:
    trials = [_trial(person) for person in "ABCDE"]
    models = {"A": "models/one", "B": "models/one", "C": "models/two"}
    return gain.study(people, trials, models.__getitem__, gain.GainProtocol(counts=(1, 4)), engine)


def test_each_model_draws_once_and_nobody_learns_from_whom_they_are_tested_on(
    asked: dict[str, list[Any]], new_engine: Callable[[], Engine]
) -> None:
    _study(["A", "B", "C"], new_engine())
    assert asked["drawn"] == ["models/one", "models/two"]
    assert len(asked["learned"]) == 12
    assert asked["learned"][0] == ("nothing", ("B",), ())
    assert asked["learned"][3] == ("virtual", ("B", "C", "D", "E"), ("models/one",))
    assert asked["learned"][-2] == ("virtual", ("D",), ("models/two",))


def test_what_is_finished_is_not_drawn_again(
    asked: dict[str, list[Any]], new_engine: Callable[[], Engine]
) -> None:
    _study(["A"], new_engine())
    asked["drawn"].clear()
    again = _study(["A"], new_engine())
    assert asked["drawn"] == []
    assert len(asked["learned"]) == 4
    told = {row["approach"] for row in again["rows"]}
    assert told == {
        f"{start}, {count} real" for start in ("nothing", "walkers") for count in (1, 4)
    }
