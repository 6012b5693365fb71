"""Ten seconds of a recording whose sensor died, filled with what the rest of the recording tells of the person.

Unlike `judge`, where nobody's own minutes are there to learn from. The simple approaches get the same chance:
a mean curve and a regression of the person's own other minutes beside those of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import CHANNELS, STYLES, WINDOW, Conditions, Motion
from talaria_edge.generate.repair import repair
from talaria_training.generate.scenarios import MISSING_JOINTS
from talaria_training.generate.simple_fill import KINEMATIC, MeanCurve, regression
from talaria_training.generate.windows import Windows, stride_hz

Floats = NDArray[np.float64]
Values = NDArray[np.float32]

GAP = 1000
"""Samples that lack, in the middle of a recording."""
DRAWS = 8
_LONG_ENOUGH = 3 * GAP


@dataclass(frozen=True, slots=True)
class GapRow:
    """The error of one joint angle within one recording's gap.

    Attributes
    ----------
    person, recording, missing, channel : str
    approach : str
        ``model``, ``mean curve``, ``regression``, ``own mean curve`` or ``own regression``.
    rmse_deg : float
    held : float
        Share of true values within the model's 90 % intervals; NaN for the others.
    """

    person: str
    recording: str
    missing: str
    channel: str
    approach: str
    rmse_deg: float
    held: float


class Swift:
    """A generator that denoises in so many steps.

    Parameters
    ----------
    model : Generator
    steps : int
    """

    def __init__(self, model: Generator, steps: int) -> None:
        self._model, self._steps = model, steps

    @property
    def widening(self) -> Mapping[str, float]:
        """See `Generator.widening`."""
        return self._model.widening

    def fill_long(
        self, values: Values, conditions: Conditions, count: int, rng: np.random.Generator
    ) -> Values:
        """See `Generator.fill_long`."""
        return self._model.fill_long(values, conditions, count, rng, self._steps)


def judge_gaps(folder: Path, mine: Sequence[Motion], windows: Windows, steps: int) -> list[GapRow]:
    """Take joints away from ten seconds of each of a person's recordings, and fill them.

    Parameters
    ----------
    folder : Path
        A released generator that has not seen the person.
    mine : sequence of Motion
        The person's; those shorter than half a minute, or not wholly measured, are left out.
    windows : Windows
        The person's, and those of whom the model has seen.
    steps : int
        Of denoising.
    """
    model = Swift(Generator.open(folder), steps)
    long = [motion for motion in mine if long_enough(motion)]
    if not long:
        return []
    others = windows.without([long[0].person])
    curve = MeanCurve.of(others)
    rows: list[GapRow] = []
    for missing, names in MISSING_JOINTS.items():
        gone = [CHANNELS.index(name) for name in names if name.startswith(("hip", "knee", "ankle"))]
        if not gone:
            continue
        given = [c for c in KINEMATIC if c not in gone]
        ridge = regression(others, given, gone)
        for motion in long:
            gap = _gap(motion)
            rest = _rest(windows, motion, gap)
            simple = {
                "mean curve": _curve(curve, motion, gap)[:, gone],
                "own mean curve": _curve(MeanCurve.of(rest), motion, gap)[:, gone],
                "regression": ridge.at(motion.values[gap]),
                "own regression": regression(rest, given, gone).at(motion.values[gap]),
            }
            rows += _rows(model, motion, gap, missing, gone, simple)
    return rows


def _rows(
    model: Swift,
    motion: Motion,
    gap: slice,
    missing: str,
    gone: Sequence[int],
    simple: dict[str, Floats],
) -> list[GapRow]:
    seen = np.full_like(motion.values, np.nan)
    seen[:, KINEMATIC] = motion.values[:, KINEMATIC]
    seen[gap, gone] = np.nan
    lacking = Motion(motion.person, motion.name, motion.source, seen, motion.conditions)
    names = [CHANNELS[column] for column in gone]
    done = repair(lacking, model, DRAWS, np.random.default_rng(0), names)
    true = motion.values[gap][:, gone].astype(np.float64)
    filled = done.motion.values[gap][:, gone]
    inside = np.abs(filled - true) <= done.half_width[gap][:, gone]
    said = {"model": filled} | simple
    return [
        GapRow(
            motion.person,
            motion.name,
            missing,
            channel,
            approach,
            float(np.degrees(np.sqrt(np.mean((values[:, j] - true[:, j]) ** 2)))),
            float(inside[:, j].mean()) if approach == "model" else float("nan"),
        )
        for approach, values in said.items()
        for j, channel in enumerate(names)
    ]


def long_enough(motion: Motion) -> bool:
    """Tell whether a gap can be made in a recording: half a minute, wholly measured."""
    values = motion.values
    return len(values) >= _LONG_ENOUGH and bool(np.isfinite(values[:, KINEMATIC]).all())


def _gap(motion: Motion) -> slice:
    start = (len(motion.values) - GAP) // 2
    return slice(start, start + GAP)


def _rest(windows: Windows, motion: Motion, gap: slice) -> Windows:
    """Keep the recording's windows that do not touch the gap."""
    apart = (windows.start + WINDOW <= gap.start) | (windows.start >= gap.stop)
    return windows.select((windows.name == motion.name) & apart)


def _curve(curve: MeanCurve, motion: Motion, gap: slice) -> Floats:
    """Read a mean curve at the phases of a gap, window by window: nobody's pace is quite even."""
    style = -1 if motion.conditions.style is None else STYLES.index(motion.conditions.style)
    parts = []
    for start in range(gap.start, gap.stop, WINDOW):
        # A whole window, so that feet land in it; its part beyond the gap is not used.
        window = motion.values[start : start + WINDOW]
        pace_hz = stride_hz(
            motion.values[max(0, start - WINDOW) : start + 2 * WINDOW], motion.conditions.stride_hz
        )
        parts.append(curve.at(window, pace_hz, style)[: gap.stop - start])
    return np.concatenate(parts)
