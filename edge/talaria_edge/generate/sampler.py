"""From noise to windows of gait, step by step, around whatever is known of them.

DDIM (Song et al. 2021, arXiv 2010.02502) over any function that says which clean window a noisy one came
from, with what it said a step earlier to see where it is heading (DPM-Solver++ 2M, Lu et al. 2022, arXiv
2211.01095; without it, 25 steps draw too alike). Known values are put in place of what it says at every step,
so that the noisy window always holds the truth at its own level of noise, and the last one the truth itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from talaria_edge.generate.schedule import cosine, visited

Floats = NDArray[np.float32]
VISITED = 25
"""Steps that a sampler visits if not told otherwise."""


class Denoise(Protocol):
    """Says which clean windows noisy ones came from; everything normalised."""

    def __call__(
        self,
        x: Floats,
        given: Floats,
        known: Floats,
        step: NDArray[np.int64],
        numbers: Floats,
        numbers_known: Floats,
        style: NDArray[np.int64],
        /,
    ) -> Floats:
        """Return clean windows, shape (B, T, C), for x, given and known of that shape and B of the rest."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What windows are asked to be.

    Attributes
    ----------
    numbers, numbers_known : ndarray of float32, shape (B, 4)
        Normalised `talaria_edge.generate.motion.NUMBERS`, 0 where not known; and 1 where known.
    style : ndarray of int64, shape (B,)
        0 where not known, else one more than the index into `STYLES`.
    """

    numbers: Floats
    numbers_known: Floats
    style: NDArray[np.int64]

    def nothing(self) -> Asked:
        """Return the same number of windows with nothing asked of them."""
        zeros = np.zeros_like(self.numbers)
        return Asked(zeros, zeros, np.zeros_like(self.style))


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What is known of windows: values (0 where unknown) and flags (0 or 1), float32, shape (B, T, C)."""

    given: Floats
    known: Floats


@dataclass(frozen=True, slots=True)
class Sampling:
    """How windows are sampled.

    Attributes
    ----------
    steps : int
        Steps visited of the schedule's.
    guidance : float
        What is asked counts (1 + guidance) times; anything but 0 takes twice as long.
    eta : float
        Share of fresh noise: 0 is DDIM's straight way, 1 is DDPM's.
    """

    steps: int = VISITED
    guidance: float = 0.0
    eta: float = 0.0


def sample(
    denoise: Denoise,
    asked: Asked,
    held: Held,
    rng: np.random.Generator,
    sampling: Sampling | None = None,
    start: Floats | None = None,
) -> Floats:
    """Draw windows.

    Parameters
    ----------
    denoise : Denoise
    asked : Asked
        Of B windows.
    held : Held
        Of B windows; known values are returned as they are.
    rng : Generator
    sampling : Sampling, optional
    start : ndarray, shape (B, T, C), optional
        The noise to start from; drawn if absent.

    Returns
    -------
    ndarray of float32, shape (B, T, C)
        Normalised.
    """
    sampling = sampling or Sampling()
    levels = _levels(sampling.steps)
    x = rng.standard_normal(held.given.shape) if start is None else start
    _, signal, noise = levels[0]
    x = np.where(held.known > 0, signal * held.given + noise * x, x)
    earlier: NDArray[np.float64] | None = None
    for i, (level, lower) in enumerate(zip(levels, [*levels[1:], _CLEAN], strict=True)):
        clean = _clean(denoise, x, level, asked, held, sampling.guidance)
        ahead = clean
        if earlier is not None and lower != _CLEAN and not sampling.eta:
            ahead = clean + _heading(levels[i - 1], level, lower) * (clean - earlier)
        x, earlier = _down(x, ahead, level, lower, sampling.eta, rng), clean
    drawn: Floats = x.astype(np.float32)
    return drawn


def invert(
    denoise: Denoise, clean: Floats, asked: Asked, sampling: Sampling | None = None
) -> NDArray[np.float64]:
    """Walk DDIM's way backwards, from clean windows to the noise that they come from.

    Parameters
    ----------
    denoise : Denoise
    clean : ndarray, shape (B, T, C)
        Normalised, without gaps.
    asked : Asked
        What the windows are.
    sampling : Sampling, optional
        Only `steps` is used: guidance would lead elsewhere.

    Returns
    -------
    ndarray, shape (steps + 1, B, T, C)
        The windows at every level visited, the noisiest first, the clean ones last.
    """
    levels = _levels((sampling or Sampling()).steps)
    nothing = _no_hold(clean.shape)
    lowest = levels[-1]
    x = lowest[1] * clean.astype(np.float64)
    path = [clean.astype(np.float64), x]
    for level, higher in zip(levels[:0:-1], levels[-2::-1], strict=True):
        x = _down(x, _clean(denoise, x, level, asked, nothing, 0.0), level, higher, 0.0, None)
        path.append(x)
    return np.stack(path[::-1])


def redraw(
    denoise: Denoise,
    path: NDArray[np.float64],
    before: Asked,
    after: Asked,
    held: Held,
    sampling: Sampling | None = None,
) -> Floats:
    """Walk an inverted way down again, asked for something else.

    What the way down under `before` misses of the way that was walked is added to the way down under
    `after` (Ju et al. 2024, arXiv 2310.01506), so that windows asked for what they are come back as they are.

    Parameters
    ----------
    denoise : Denoise
    path : ndarray, shape (steps + 1, B, T, C)
        From `invert` under `before`.
    before, after : Asked
    held : Held
        Values that the new windows must have.
    sampling : Sampling, optional
        With the steps that `invert` took.

    Returns
    -------
    ndarray of float32, shape (B, T, C)
    """
    sampling = sampling or Sampling()
    levels = _levels(sampling.steps)
    nothing = _no_hold(path.shape[1:])
    _, signal, noise = levels[0]
    x = np.where(held.known > 0, signal * held.given + noise * path[0], path[0])
    ways = zip(levels, [*levels[1:], _CLEAN], path[:-1], path[1:], strict=True)
    for level, lower, was, then in ways:
        old = _clean(denoise, was, level, before, nothing, sampling.guidance)
        new = _clean(denoise, x, level, after, held, sampling.guidance)
        missed = then - _down(was, old, level, lower, 0.0, None)
        x = _down(x, new, level, lower, 0.0, None) + np.where(held.known > 0, 0.0, missed)
    drawn: Floats = x.astype(np.float32)
    return drawn


_Level = tuple[int, float, float]
_CLEAN: _Level = (-1, 1.0, 0.0)


def _levels(count: int) -> list[_Level]:
    """Step, share of signal and share of noise, the noisiest first."""
    schedule = cosine()
    return [(int(k), float(schedule.signal[k]), float(schedule.noise[k])) for k in visited(count)]


def _no_hold(shape: tuple[int, ...]) -> Held:
    nothing = np.zeros(shape, np.float32)
    return Held(nothing, nothing)


def _clean(
    denoise: Denoise,
    x: NDArray[np.floating],
    level: _Level,
    asked: Asked,
    held: Held,
    guidance: float,
) -> NDArray[np.float64]:
    """Ask the denoiser, guide it, and put the known values in their places."""
    noisy = x.astype(np.float32)
    step = np.full(len(x), level[0], np.int64)

    def said(of: Asked) -> NDArray[np.float64]:
        y = denoise(noisy, held.given, held.known, step, of.numbers, of.numbers_known, of.style)
        return y.astype(np.float64)

    clean = said(asked)
    if guidance:
        clean = clean + guidance * (clean - said(asked.nothing()))
    kept: NDArray[np.float64] = np.where(held.known > 0, held.given, clean)
    return kept


def _heading(before: _Level, level: _Level, lower: _Level) -> float:
    """Tell how much of the last change of the clean windows half of the next step brings."""
    was, now, then = (float(np.log(signal / noise)) for _, signal, noise in (before, level, lower))
    return 0.5 * (then - now) / (now - was)


def _down(
    x: NDArray[np.floating],
    clean: NDArray[np.float64],
    level: _Level,
    to: _Level,
    eta: float,
    rng: np.random.Generator | None,
) -> NDArray[np.float64]:
    """Go from one level to another, in either direction."""
    _, signal, noise = level
    _, next_signal, next_noise = to
    fresh = 0.0
    if eta and next_noise:
        fresh = eta * next_noise / noise * np.sqrt(1.0 - (signal / next_signal) ** 2)
    kept = np.sqrt(next_noise**2 - fresh**2)
    moved: NDArray[np.float64] = next_signal * clean + kept * (x - signal * clean) / noise
    return moved if rng is None or not fresh else moved + fresh * rng.standard_normal(x.shape)
