"""Faster than it was shown: forces of running told at a speed that was left out, beside those measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_edge.forces import SIDE_WORDS
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import FORCES, NUMBERS, columns
from talaria_edge.generate.sampler import Sampling
from talaria_training.generate.ask import Change, ask
from talaria_training.generate.judge import conditions_of
from talaria_training.generate.whatif import numbers_of
from talaria_training.generate.windows import Windows

TOLD = ("peak vertical force", "peak driving force", "peak braking force", "time on the ground")
_SPEED = NUMBERS.index("speed_ms")
_WITHIN_MS = 0.1
_FORCES = columns(FORCES)


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """One number's change from one speed to another.

    Attributes
    ----------
    person : str
    seen : bool
        Whether the model was trained on this person, at other speeds.
    what : str
    measured_pct, told_pct : float
        Change in per cent of the number at the lower speed.
    low_pct, high_pct : float
        90 % of windows and draws.
    """

    person: str
    seen: bool
    what: str
    measured_pct: float
    told_pct: float
    low_pct: float
    high_pct: float


def judge_speed(
    folder: Path,
    person: str,
    speeds_ms: tuple[float, float],
    *,
    windows: Windows,
    count: int = 8,
    sampling: Sampling | None = None,
) -> list[SpeedRow]:
    """Ask what a runner's windows at one speed would be at another, at which the runner was measured too.

    Parameters
    ----------
    folder : Path
        A generative model.
    person : str
    speeds_ms : (float, float)
        From and to.
    windows : Windows
        The person's, at both speeds.
    count : int
        Draws of each window; what was not measured (angles, where only plates were used) differs.
    sampling : Sampling, optional

    Returns
    -------
    list of SpeedRow
        One for each of `TOLD` and each side; empty if the person was not measured at both speeds.
    """
    mine = windows.of([person])
    slow, fast = (
        mine.select(np.abs(mine.numbers[:, _SPEED] - speed) < _WITHIN_MS) for speed in speeds_ms
    )
    if not len(slow) or not len(fast):
        return []
    model = Generator.open(folder)
    conditions = [replace(conditions_of(slow, i), style="running") for i in range(len(slow))]
    change = Change(speed_ms=speeds_ms[1])
    rng = np.random.default_rng(0)
    *_, found = ask(model, list(slow.values), conditions, change, count, rng, sampling)
    told = {effect.what: effect for effect in found}
    seen = person in model.spec.people
    rows = []
    for what in (f"{what}, {side}" for what in TOLD for side in SIDE_WORDS.values()):
        before, after = (_mean(windows_at.values, what) for windows_at in (slow, fast))
        effect = told[what]
        rows.append(
            SpeedRow(
                person,
                seen,
                what,
                100.0 * (after / before - 1.0),
                effect.percent,
                100.0 * effect.low / effect.before,
                100.0 * effect.high / effect.before,
            )
        )
    return rows


def runners(windows: Windows, speeds_ms: tuple[float, float]) -> list[str]:
    """Return who was measured on plates at both speeds."""
    felt = np.isfinite(windows.values[:, :, _FORCES]).any(axis=(1, 2))
    speed = windows.numbers[:, _SPEED]
    each = [
        set(windows.person[felt & (np.abs(speed - at) < _WITHIN_MS)].tolist()) for at in speeds_ms
    ]
    return sorted(each[0] & each[1])


def _mean(windows: NDArray[np.float32], what: str) -> float:
    return float(np.nanmean([numbers_of(window)[what][0] for window in windows]))
