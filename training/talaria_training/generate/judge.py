"""How well a model fills what is missing in people it has never seen, beside what knows nothing of gait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import CHANNELS, FORCES, STYLES, UNITS, Conditions
from talaria_edge.generate.repair import half_width
from talaria_edge.generate.ridge import Ridge
from talaria_edge.kinematics import SIDES
from talaria_edge.stances import FORCE_AXES
from talaria_training.generate.scenarios import MISSING_FOR_FORCES, MISSING_JOINTS
from talaria_training.generate.simple_fill import KINEMATIC, MeanCurve, regression
from talaria_training.generate.windows import Windows

Floats = NDArray[np.float64]

SAMPLES = 8
"""Drawn for every window; their mean is what is judged, their spread is the interval."""
_FORCES = [CHANNELS.index(name) for name in FORCES]
_VERTICAL = [CHANNELS.index(f"grf_vertical_{side}") for side in SIDES]


@dataclass(frozen=True, slots=True)
class FillRow:
    """The error of one channel that was missing, over one person's windows.

    Attributes
    ----------
    person, style : str
    missing : str
        What was missing, of `scenarios`.
    channel : str
    approach : str
        ``model``, ``mean curve`` or ``regression``.
    rmse : float
        Degrees for angles, the channel's unit else.
    offset_free : float
        The same without each window's mean difference.
    held : float
        Share of true values within the draws' own 90 % intervals; NaN for who draws none.
    windows : int
    scores : list of float
        Quantiles, 0 to 1 in steps of 0.05, of errors over those intervals' half-widths: what they are
        widened by. Empty for who draws none.
    """

    person: str
    style: str
    missing: str
    channel: str
    approach: str
    rmse: float
    offset_free: float
    held: float
    windows: int
    scores: list[float]


@dataclass(frozen=True, slots=True)
class ForceFillRow:
    """The error of forces told from what was left of the kinematics, over one person's windows.

    Attributes
    ----------
    person, style, missing : str
    approach : str
        ``model`` (drawn), ``refined`` (told by the network of forces from each draw's kinematics) or ``mean
        curve``.
    axis : str
        Of `talaria_edge.stances.FORCE_AXES`.
    mae_bw_pct : float
        Over both feet and all samples, swing included.
    peak_bw_pct : float
        Mean error of each window's largest vertical force per foot; NaN for the other axes.
    windows : int
    scores : list of float
        As of `FillRow`.
    """

    person: str
    style: str
    missing: str
    approach: str
    axis: str
    mae_bw_pct: float
    peak_bw_pct: float
    windows: int
    scores: list[float]


def conditions_of(windows: Windows, i: int) -> Conditions:
    """Return who window `i` is of, and how they move."""
    style = int(windows.style[i])
    speed, stride, height, mass = (float(value) for value in windows.numbers[i])
    return Conditions(speed, stride, height, mass, STYLES[style] if style >= 0 else None)


def spread_out(windows: Windows, most: int) -> list[int]:
    """Choose at most so many windows of every recording, evenly over it, that do not overlap."""
    chosen: list[int] = []
    for name in dict.fromkeys(windows.name):
        rows = np.flatnonzero(windows.name == name)
        apart = rows[windows.start[rows] % windows.values.shape[1] == 0]
        take = np.unique(np.linspace(0, len(apart) - 1, min(most, len(apart))).round().astype(int))
        chosen += apart[take].tolist()
    return chosen


def judge_fill(
    folder: Path, people: Sequence[str], most: int, *, windows: Windows, steps: int
) -> list[FillRow]:
    """Take channels away from windows of people the model in `folder` has not seen, and fill them again.

    What is given is every other angle and the pelvis, where they were measured; no force and no velocity.

    Parameters
    ----------
    folder : Path
        A released generator, trained without `people`.
    people : sequence of str
    most : int
        Windows of every recording.
    windows : Windows
        Everybody's.
    steps : int
        Of denoising.
    """
    model = Generator.open(folder)
    others = windows.without(people)
    curve = MeanCurve.of(others)
    rows: list[FillRow] = []
    for missing, names in MISSING_JOINTS.items():
        gone = [CHANNELS.index(name) for name in names]
        ridge = regression(others, [c for c in KINEMATIC if c not in gone], gone)
        for person in people:
            mine = windows.of([person])
            for chosen in _by_style(mine, most, KINEMATIC):
                rows += _filled(model, curve, ridge, mine, chosen, missing, steps)
    return rows


def _by_style(windows: Windows, most: int, columns: Sequence[int]) -> list[list[int]]:
    """Choose windows in which some channels are wholly known, apart by way of moving."""
    known = np.asarray(np.isfinite(windows.values[:, :, columns]).all(axis=(1, 2)))
    whole = [i for i in spread_out(windows, most) if known[i]]
    styles = sorted({int(windows.style[i]) for i in whole})
    return [[i for i in whole if windows.style[i] == style] for style in styles]


def _filled(
    model: Generator,
    curve: MeanCurve,
    ridge: Ridge,
    mine: Windows,
    chosen: Sequence[int],
    missing: str,
    steps: int,
) -> list[FillRow]:
    gone = list(ridge.missing)
    true = mine.values[chosen][:, :, gone].astype(np.float64)
    drawn = np.stack(
        [_draw(model, mine, i, ridge.given, steps)[:, :, gone] for i in chosen], axis=1
    )
    said = {
        "model": drawn.mean(axis=0),
        "mean curve": np.stack(
            [
                curve.at(mine.values[i], mine.numbers[i, 1], int(mine.style[i]))[:, gone]
                for i in chosen
            ]
        ),
        "regression": np.stack([ridge.at(mine.values[i]) for i in chosen]),
    }
    off = _over_half_widths(drawn, true)
    style = int(mine.style[chosen[0]])
    rows = []
    for approach, values in said.items():
        for j, channel in enumerate(gone):
            error = values[:, :, j] - true[:, :, j]
            unit = 180.0 / np.pi if UNITS[CHANNELS[channel]] == "rad" else 1.0
            level = error - error.mean(axis=1, keepdims=True)
            rows.append(
                FillRow(
                    str(mine.person[0]),
                    STYLES[style] if style >= 0 else "not known",
                    missing,
                    CHANNELS[channel],
                    approach,
                    unit * _rms(error),
                    unit * _rms(level),
                    float((off[..., j] <= 1.0).mean()) if approach == "model" else float("nan"),
                    len(chosen),
                    _grid(off[..., j]) if approach == "model" else [],
                )
            )
    return rows


def judge_forces(
    folder: Path, people: Sequence[str], most: int, *, windows: Windows, steps: int
) -> list[ForceFillRow]:
    """Ask for the forces of people the model has not seen, from all their kinematics and from less.

    Velocities are never given: on force plates they were made from the forces. Where a network of forces came
    with the model, it is judged beside the draws. Parameters as in `judge_fill`.
    """
    model = Generator.open(folder)
    curve = MeanCurve.of(windows.without(people))
    rows: list[ForceFillRow] = []
    for person in people:
        mine = windows.of([person])
        for chosen in _by_style(mine, most, [*KINEMATIC, *_FORCES]):
            style = int(mine.style[chosen[0]])
            true = mine.values[chosen][:, :, _FORCES].astype(np.float64)
            said: dict[tuple[str, str], Floats] = {
                ("nothing", "mean curve"): np.stack(
                    [
                        curve.at(mine.values[i], mine.numbers[i, 1], style)[:, _FORCES]
                        for i in chosen
                    ]
                )
            }
            off: dict[tuple[str, str], Floats] = {}
            for missing, names in MISSING_FOR_FORCES.items():
                given = [c for c in KINEMATIC if CHANNELS[c] not in names]
                for approach, drawn in _forces(model, mine, chosen, given, steps).items():
                    said[missing, approach] = drawn.mean(axis=0)
                    off[missing, approach] = _over_half_widths(drawn, true)
            rows += _force_rows(mine, style, true, said, off)
    return rows


def _forces(
    model: Generator, mine: Windows, chosen: Sequence[int], given: Sequence[int], steps: int
) -> dict[str, NDArray[np.float32]]:
    """Draw forces of windows, and have those told that go with the same draws' kinematics."""
    each = [_draw(model, mine, i, given, steps) for i in chosen]
    found = {"model": each}
    if model.tells_forces:
        nothing = np.full_like(each[0][0], np.nan)
        found["refined"] = [
            model.with_forces(drawn, nothing, conditions_of(mine, i))
            for drawn, i in zip(each, chosen, strict=True)
        ]
    return {what: np.stack(drawn, axis=1)[..., _FORCES] for what, drawn in found.items()}


def _force_rows(
    mine: Windows,
    style: int,
    true: Floats,
    said: Mapping[tuple[str, str], Floats],
    off: Mapping[tuple[str, str], Floats],
) -> list[ForceFillRow]:
    rows = []
    feet = len(FORCE_AXES)
    for (missing, approach), values in said.items():
        for j, axis in enumerate(FORCE_AXES):
            error = np.abs(values - true)[:, :, j::feet]
            tops = np.abs(values.max(axis=1) - true.max(axis=1))[:, j::feet]
            rows.append(
                ForceFillRow(
                    str(mine.person[0]),
                    STYLES[style] if style >= 0 else "not known",
                    missing,
                    approach,
                    axis,
                    100.0 * _mean(error),
                    100.0 * _mean(tops) if axis == "vertical" else float("nan"),
                    len(true),
                    _grid(off[missing, approach][..., j::feet])
                    if (missing, approach) in off
                    else [],
                )
            )
    return rows


def _draw(
    model: Generator, mine: Windows, i: int, given: Sequence[int], steps: int
) -> NDArray[np.float32]:
    """Draw samples of one window of which only some columns are given, (SAMPLES, WINDOW, channels)."""
    seen = np.full_like(mine.values[i], np.nan)
    seen[:, given] = mine.values[i][:, given]
    rng = np.random.default_rng([int(mine.start[i]), i])
    return model.fill(seen, conditions_of(mine, i), SAMPLES, rng, steps=steps)


def _over_half_widths(drawn: NDArray[np.floating], true: Floats) -> Floats:
    """Return errors of the draws' mean over the half-widths of their intervals, (windows, WINDOW, channels)."""
    half = half_width(drawn)
    return np.asarray(np.abs(true - drawn.mean(axis=0)) / np.maximum(half, 1e-9))


def _grid(off: Floats) -> list[float]:
    return [round(float(q), 3) for q in np.quantile(off, np.linspace(0.0, 1.0, 21))]


def _rms(error: Floats) -> float:
    return float(np.sqrt(_mean(error**2)))


def _mean(values: Floats) -> float:
    """Average what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
