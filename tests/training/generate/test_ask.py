"""Questions in the words of who asks them, and the windows they are asked of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import CHANNELS, RATE_HZ, WINDOW, Conditions, Motion
from talaria_edge.kinematics import ANGLES
from talaria_edge.sinks.opensim import MotWriter
from talaria_training.commands import app
from talaria_training.generate.ask import Change, ask, change_of, windows_of
from talaria_training.generate.whatif import Effect

_WHO = Conditions(1.1, 0.9, 1.7, 70.0, "walking")


@pytest.mark.parametrize(
    ("speed", "cadence", "knee"),
    [
        (None, None, None),
        (-1.0, None, None),
        (40.0, None, None),
        (None, "fast", None),
        (None, "0.1", None),
        (None, "+500%", None),
        (None, None, "stiff"),
        (None, None, "stiff:3"),
        (None, None, "bent:0.3"),
        (None, None, "stiff:0.3:x"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    speed: float | None, cadence: str | None, knee: str | None
) -> None:
    with pytest.raises(ConfigError, match="give"):
        change_of(speed, cadence, knee)


def test_a_new_speed_leaves_the_cadence_open_and_a_new_cadence_the_speed_as_it_is() -> None:
    faster = change_of(1.4, None, None).conditions(_WHO)
    assert faster.speed_ms == 1.4
    assert np.isnan(faster.stride_hz)
    shorter = change_of(None, "+10%", None).conditions(_WHO)
    assert shorter.stride_hz == pytest.approx(0.99)
    assert shorter.speed_ms == 1.1
    assert change_of(None, None, "stiff:0.3:l") == Change(knee=0.3, sides=("l",))


def _walk(seconds: float) -> Motion:
    t_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    values = np.full((len(t_s), len(CHANNELS)), np.nan, np.float32)
    for i in range(len(ANGLES)):
        values[:, i] = 0.3 * np.sin(2 * np.pi * 0.9 * t_s + i)
    return Motion("anna", "walk", "made up", values, _WHO)


def test_windows_with_gaps_are_not_asked_about() -> None:
    motion = _walk(9.0)
    motion.values[:300, CHANNELS.index("knee_angle_r")] = np.nan
    motion.values[:300, CHANNELS.index("knee_angle_l")] = np.nan
    windows, conditions = windows_of(motion, 10)
    assert windows.start.tolist() == [300, 450, 600, 750]
    assert conditions[0].stride_hz == pytest.approx(0.9, abs=0.02)
    motion.values[:, :5] = np.nan
    with pytest.raises(RecordingError, match="fill it first"):
        windows_of(motion, 10)


class Edits:
    """Adds 1 to what is free, and remembers what was held."""

    def __init__(self) -> None:
        self.held: np.ndarray | None = None

    def edit(
        self,
        values: np.ndarray,
        before: Conditions,
        after: Conditions,
        count: int,
        rng: np.random.Generator,
        held: np.ndarray | None = None,
        sampling: object = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        self.held = held
        was = np.nan_to_num(values)[None].repeat(count, axis=0)
        return was, was + 1.0


def test_a_stiff_knee_is_held_and_the_rest_is_free() -> None:
    windows, conditions = windows_of(_walk(3.0), 1)
    model = Edits()
    change = change_of(None, None, "stiff:0.5:r")
    _, after, found = ask(
        model,  # type: ignore[arg-type]  # stands for a Generator
        list(windows.values), conditions, change, 2, np.random.default_rng(0),
    )  # fmt: skip
    assert model.held is not None
    known = np.isfinite(model.held).all(axis=0)
    assert [CHANNELS[i] for i in np.flatnonzero(known)] == ["knee_angle_r"]
    assert after[0].shape == (2, WINDOW, len(CHANNELS))
    assert next(e for e in found if e.what == "peak vertical force, left").after == 1.0


class Lands(Edits):
    """Draws the right foot down at one instant and another, and then a tenth heavier."""

    def edit(self, values: np.ndarray, *args: object, **more: object) -> tuple[np.ndarray, ...]:
        was = np.zeros((2, WINDOW, len(CHANNELS)), np.float32)
        for draw, landing in enumerate((10, 80)):
            was[draw, landing : landing + 60, CHANNELS.index("grf_vertical_r")] = 1.0
        return was, 1.1 * was


def _told(change: Change) -> dict[str, Effect]:
    windows, conditions = windows_of(_walk(3.0), 1)
    *_, found = ask(
        Lands(),  # type: ignore[arg-type]  # stands for a Generator
        list(windows.values), conditions, change, 2, np.random.default_rng(0),
    )  # fmt: skip
    return {effect.what: effect for effect in found}


def test_forces_and_moments_before_are_those_of_each_draw_where_nothing_was_measured() -> None:
    """The mean of two draws that are out of step has neither's peak, nor a whole stance."""
    told = _told(change_of(1.4, None, None))
    assert told["peak vertical force, right"].before == pytest.approx(1.0)
    hip = told["peak hip extension moment, right"]
    assert hip.before > 0.5
    assert hip.percent == pytest.approx(10.0, abs=0.5)
    assert "peak hip extension moment, left" not in told  # it never stood
    assert all("moment" not in what for what in _told(change_of(3.5, None, None)))  # who would run


def test_the_command_says_where_moments_come_from_or_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "walk.mot"
    walk = _walk(3.0)
    with MotWriter(file, ANGLES) as writer:
        for i, row in enumerate(walk.values[:, : len(ANGLES)].tolist()):
            writer.write(i / RATE_HZ, dict(zip(ANGLES, row, strict=True)))
    monkeypatch.setattr(Generator, "open", lambda folder: Lands())
    asked = ["generate", "edit", str(file), "--model", "any", "--speed", "1.4", "--samples", "2"]
    runner = CliRunner(env={"COLUMNS": "200"})
    told = runner.invoke(app, [*asked, "--height-m", "1.7"])
    assert told.exit_code == 0, told.output
    assert "peak knee flexion moment, right" in told.output
    assert "off by 0.1 to 0.2 N·m/kg" in " ".join(told.output.split())
    nobody = runner.invoke(app, asked)
    assert nobody.exit_code == 0, nobody.output
    assert "No moments: they need --height-m" in " ".join(nobody.output.split())
    assert "flexion moment" not in nobody.output
