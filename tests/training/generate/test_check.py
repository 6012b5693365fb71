"""A check that passes a model which draws real gait, and fails one which draws something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from talaria_edge.generate.motion import CHANNELS, RATE_HZ, Conditions, Motion
from talaria_training.generate import check

_PEOPLE = [f"p{i}" for i in range(6)]


def _gait(rng: np.random.Generator, samples: int, gain: float = 1.0) -> np.ndarray:
    """Someone's steps: their own size of every movement, feet that land and leave in turn."""
    size = 1.0 + 0.1 * rng.standard_normal(len(CHANNELS))
    phase = (np.arange(samples) / RATE_HZ * 0.9 + rng.random()) % 1.0
    values = np.empty((samples, len(CHANNELS)), np.float32)
    for i, name in enumerate(CHANNELS):
        mine = (phase + 0.5 * name.endswith("_l")) % 1.0
        values[:, i] = 0.2 * gain * size[i] * np.sin(2 * np.pi * mine + i)
        if name.startswith("grf_"):
            values[:, i] = np.where(mine < 0.6, size[i] * np.sin(np.pi * mine / 0.6), 0.0)
    return values


class Draws:
    """Draws gait like that of `_gait`, or movement of another size."""

    gain = 1.0

    @classmethod
    def open(cls, folder: str) -> Draws:
        return cls()

    def generate(
        self, asked: list[Conditions], count: int, rng: np.random.Generator, samples: int, *_: Any
    ) -> np.ndarray:
        return np.stack([_gait(rng, samples, self.gain) for _ in range(count)])


def _checked(monkeypatch: pytest.MonkeyPatch, gain: float) -> dict[str, Any]:
    monkeypatch.setattr(check, "Generator", Draws)
    monkeypatch.setattr(Draws, "gain", gain)
    rng = np.random.default_rng(1)
    who = Conditions(1.0, 0.9, 1.7, 70.0, "walking")
    motions = [Motion(p, f"{p}/walk", "made up", _gait(rng, 2000), who) for p in _PEOPLE]
    unseen = {"a": tuple(_PEOPLE[:3]), "b": tuple(_PEOPLE[3:])}
    return check.check(motions, unseen, 6, 5)


def test_gait_of_another_size_is_told_from_real_gait(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    found = _checked(monkeypatch, 3.0)
    assert max(one["accuracy"]["value"] for one in found["told"]) > 0.9
    assert any(abs(one["shift"]["value"]) > 2 for one in found["distances"])


def test_a_check_says_who_was_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    found = _checked(monkeypatch, 1.0)
    assert {one["style"] for one in found["coverage"]} == {"all", "walking"}
    assert len(found["privacy"]) == 2
    assert found["told"][0]["real"] == found["told"][0]["generated"] == 36


def test_what_nobody_measured_does_not_tell_generated_from_real() -> None:
    who = Conditions(1.0, 0.9, 1.7, 70.0, "walking")
    values = _gait(np.random.default_rng(1), 2000)
    values[:, CHANNELS.index("velocity_up")] = np.nan
    real = check.stretches([Motion("p", "p/walk", "made up", values, who)], 3)
    assert real is not None
    drawn = check.draw_like(Draws(), real, 5)  # type: ignore[arg-type]  # stands for a Generator
    unknown = np.isnan(drawn.values).all(axis=(0, 1))
    assert [CHANNELS[i] for i in np.flatnonzero(unknown)] == ["velocity_up"]
