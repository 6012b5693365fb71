"""Questions in the words of who asks them, and the windows they are asked of."""

from __future__ import annotations

import numpy as np
import pytest

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_edge.generate.motion import CHANNELS, RATE_HZ, WINDOW, Conditions, Motion
from talaria_edge.kinematics import ANGLES
from talaria_training.generate.ask import Change, ask, change_of, windows_of

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
