"""Questions put to a generator in the units and words of who asks: speed, cadence, a stiff knee."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import CHANNELS, WINDOW, Conditions, Motion
from talaria_edge.generate.sampler import Sampling
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_training.generate.whatif import Effect, effects, stiff_knee
from talaria_training.generate.windows import Windows, cut

_FASTEST_MS = 12.0
_LEAST_KNOWN = 0.9


@dataclass(frozen=True, slots=True)
class Change:
    """What should be different; None for what should stay.

    Attributes
    ----------
    speed_ms : float or None
    cadence : float or None
        Factor on strides per second.
    knee : float or None
        Share of the knee's movement that is left.
    sides : tuple of "r", "l"
        Whose knee.
    """

    speed_ms: float | None = None
    cadence: float | None = None
    knee: float | None = None
    sides: tuple[str, ...] = SIDES

    def conditions(self, before: Conditions) -> Conditions:
        """Return what is asked of the windows afterwards; a new speed leaves the cadence open."""
        after = before
        if self.speed_ms is not None:
            after = replace(after, speed_ms=self.speed_ms, stride_hz=float("nan"))
        if self.cadence is not None:
            after = replace(after, stride_hz=before.stride_hz * self.cadence)
        return after


def change_of(speed: float | None, cadence: str | None, knee: str | None) -> Change:
    """Read a change as a command line says it.

    Parameters
    ----------
    speed : float or None
        m/s.
    cadence : str or None
        ``+10%``, ``-5%``.
    knee : str or None
        ``stiff:0.3``, ``stiff:0.3:r``.

    Raises
    ------
    ConfigError
        If nothing is asked for, or it cannot be read.
    """
    if speed is None and cadence is None and knee is None:
        raise ConfigError(
            "Nothing is to be changed: give --speed 1.4, --cadence +10% or --knee stiff:0.3."
        )
    if speed is not None and not 0 < speed <= _FASTEST_MS:
        raise ConfigError(f"--speed {speed:g} is nobody's: give m/s, 1.4 for example.")
    share, sides = (None, SIDES) if knee is None else _knee(knee)
    return Change(speed, None if cadence is None else _factor(cadence), share, sides)


def _factor(text: str) -> float:
    try:
        percent = float(text.strip().removesuffix("%"))
    except ValueError:
        percent = float("nan")
    if not -50.0 <= percent <= 100.0 or not text.strip().endswith("%"):
        raise ConfigError(f"--cadence {text!r} is no change: give it in per cent, +10% or -5%.")
    return 1.0 + percent / 100.0


def _knee(text: str) -> tuple[float, tuple[str, ...]]:
    kind, _, rest = text.partition(":")
    share, _, side = rest.partition(":")
    try:
        left = float(share)
    except ValueError:
        left = float("nan")
    if kind != "stiff" or not 0 <= left <= 1 or side not in ("", *SIDES):
        raise ConfigError(
            f"--knee {text!r} is no change: give stiff:0.3 for knees that keep 30 % of their movement, "
            "stiff:0.3:r for the right one."
        )
    return left, (side,) if side else SIDES


def windows_of(motion: Motion, most: int) -> tuple[Windows, list[Conditions]]:
    """Cut at most so many windows out of a movement, of which nearly all angles are known.

    Raises
    ------
    RecordingError
        If there is none.
    """
    windows = cut([motion], stride=WINDOW)
    columns = [CHANNELS.index(name) for name in ANGLES]
    share = np.isfinite(windows.values[:, :, columns]).mean(axis=(1, 2))
    good = np.flatnonzero(share >= _LEAST_KNOWN)
    if not len(good):
        raise RecordingError(
            f"{motion.name} holds no {WINDOW / 100:g} s with its angles known: fill it first "
            "('talaria-train generate fill')."
        )
    kept = good[np.unique(np.linspace(0, len(good) - 1, min(most, len(good))).round().astype(int))]
    chosen = windows.select(kept)
    stride = [float(n[1]) for n in chosen.numbers]
    return chosen, [replace(motion.conditions, stride_hz=hz) for hz in stride]


def ask(
    model: Generator,
    windows: Sequence[NDArray[np.floating]],
    conditions: Sequence[Conditions],
    change: Change,
    count: int,
    rng: np.random.Generator,
    sampling: Sampling | None = None,
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]], list[Effect]]:
    """Change windows, and tell what else changes.

    Parameters
    ----------
    model : Generator
    windows : sequence of ndarray, shape (WINDOW, len(CHANNELS))
    conditions : sequence of Conditions
        One for each.
    change : Change
    count : int
        Draws of every window.
    rng : Generator
    sampling : Sampling, optional

    Returns
    -------
    before, after : list of ndarray, shape (count, WINDOW, len(CHANNELS))
        One entry per window; before with its gaps filled.
    found : list of Effect
        Of what is not known of the windows, forces for example, before is drawn too.
    """
    before, after = [], []
    asked = [(was, change.conditions(was)) for was in conditions]
    for window, (was, then) in zip(windows, asked, strict=True):
        held = None
        if change.knee is not None:
            held = np.full(np.shape(window), np.nan, np.float32)
            for name, curve in stiff_knee(
                np.asarray(window, np.float32), change.knee, change.sides
            ).items():
                held[:, CHANNELS.index(name)] = curve
        old, new = model.edit(window, was, then, count, rng, held=held, sampling=sampling)
        before.append(old)
        after.append(new)
    return before, after, effects(before, after, asked)
