"""How much of a window is noise at each of the steps between the clean one and nothing but noise.

At step k a window is ``signal[k]`` times the clean one plus ``noise[k]`` times standard noise, and the squares
of the two add up to one. The cosine of Nichol and Dhariwal 2021 (arXiv 2102.09672, equation 17).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS = 1000
"""Steps that a denoiser is trained on."""
_OFFSET = 0.008
_LARGEST_BETA = 0.999
_CLEAREST, _FAINTEST = 3.0, -5.0  # logarithms of signal to noise


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Shares of signal and of noise, float64, shape (steps,) each."""

    signal: NDArray[np.float64]
    noise: NDArray[np.float64]


def cosine() -> Schedule:
    """Return the cosine schedule of `STEPS` steps, its last short of infinite noise."""
    at = (np.arange(STEPS + 1) / STEPS + _OFFSET) / (1.0 + _OFFSET)
    power = np.cos(0.5 * np.pi * at) ** 2
    beta = np.minimum(1.0 - power[1:] / power[:-1], _LARGEST_BETA)
    kept = np.cumprod(1.0 - beta)
    return Schedule(np.sqrt(kept), np.sqrt(1.0 - kept))


def step_at(share: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the step at a share, 0 to 1, of the way from nearly clean to nearly lost.

    Equal shares divide the ratio of signal to noise by equal factors, as Lu et al. 2022 advise (arXiv
    2206.00927). It ends far down: neighbouring samples and channels of gait tell much the same, so a window
    shows through more noise than any one of its values would.
    """
    schedule = cosine()
    ratio = np.log(schedule.signal / schedule.noise)
    wanted = _CLEAREST + share * (_FAINTEST - _CLEAREST)
    at: NDArray[np.int64] = np.round(np.interp(-wanted, -ratio, np.arange(STEPS))).astype(np.int64)
    return at


def visited(count: int) -> NDArray[np.int64]:
    """Return the `count` steps that a sampler visits, the noisiest first; fewer where two would be one.

    The first is the very last of the schedule, so that sampling starts from pure noise (Lin et al. 2023, arXiv
    2305.08891).
    """
    between = step_at(np.linspace(0.0, 1.0, count - 1))
    return np.unique([*between, STEPS - 1])[::-1]
