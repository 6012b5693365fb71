"""Ten seconds without a sensor: what is shown, and whom the simple approaches may learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import CHANNELS, FORCES, VELOCITY, Conditions, Motion, columns
from talaria_training.generate import gaps
from talaria_training.generate.windows import cut

_KNEE = CHANNELS.index("knee_angle_r")
_OFF_RAD = 0.2


class Nothing:
    """Fills with 0 and keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []
        self.widening = dict.fromkeys(CHANNELS, 1.0)

    def fill_long(
        self, values: np.ndarray, conditions: Conditions, count: int, *_: object
    ) -> np.ndarray:
        self.shown.append(values)
        return np.where(np.isfinite(values), values, 0.0)[None].repeat(count, axis=0)


def _walk(person: str, knee_rad: float) -> Motion:
    t_s = np.arange(3 * gaps.GAP)[:, None] / 100.0
    later = np.array([0.5 * name.endswith("_l") for name in CHANNELS])
    values = 0.4 * np.sin(2 * np.pi * (t_s + later + 0.1 * np.arange(len(CHANNELS))))
    values[:, columns(FORCES)] = np.clip(values[:, columns(FORCES)], 0.0, None)
    values[:, _KNEE] += knee_rad
    who = Conditions(1.2, 1.0, 1.7, 70.0, "walking")
    return Motion(person, f"{person}/walk", "made up", values.astype(np.float32), who)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Nothing:
    nothing = Nothing()
    monkeypatch.setattr(Generator, "open", lambda folder: nothing)
    knees = {"knee r": ("knee_angle_r",), "pelvis": ("pelvis_tilt",)}
    monkeypatch.setattr(gaps, "MISSING_JOINTS", knees)
    return nothing


def test_a_person_is_known_by_their_own_minutes_and_by_nobody_elses(model: Nothing) -> None:
    mine = _walk("anna", _OFF_RAD)
    windows = cut([mine, _walk("bert", 0.0), _walk("carl", 0.0)])
    rows = gaps.judge_gaps(Path(), [mine], windows, 2)
    off = {row.approach: row.rmse_deg for row in rows}
    assert off["mean curve"] == pytest.approx(np.degrees(_OFF_RAD), abs=1.0)
    assert off["own mean curve"] < 1.0
    assert off["regression"] == pytest.approx(np.degrees(_OFF_RAD), abs=1.5)
    assert off["own regression"] < 1.0
    assert {row.channel for row in rows} == {"knee_angle_r"}  # a pelvis wears no sensor


def test_neither_model_nor_own_curve_sees_what_happened_in_the_gap(model: Nothing) -> None:
    mine = _walk("anna", 0.0)
    gap = slice(gaps.GAP, 2 * gaps.GAP)
    mine.values[gap, _KNEE] += _OFF_RAD
    windows = cut([mine, _walk("bert", 0.0), _walk("carl", 0.0)])
    rows = gaps.judge_gaps(Path(), [mine], windows, 2)
    off = {row.approach: row.rmse_deg for row in rows}
    assert off["own mean curve"] == pytest.approx(np.degrees(_OFF_RAD), abs=1.0)
    shown = max(model.shown, key=len)
    assert np.isnan(shown[:, columns((*FORCES, *VELOCITY))]).all()
    assert np.isnan(shown[:, _KNEE]).sum() == gaps.GAP


def test_recordings_too_short_or_not_whole_are_left_out(model: Nothing) -> None:
    mine = _walk("anna", 0.0)
    windows = cut([mine, _walk("bert", 0.0)])
    short = Motion("anna", "short", "made up", mine.values[:1000], mine.conditions)
    mine.values[5, 0] = np.nan
    assert gaps.judge_gaps(Path(), [mine, short], windows, 2) == []
