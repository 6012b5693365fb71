"""What fills gaps without knowing gait: the mean curve at the stride's phase, and a linear regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.generate.motion import CHANNELS, PELVIS, RATE_HZ, mirrored
from talaria_edge.generate.ridge import Ridge
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_training.generate.windows import Windows

Floats = NDArray[np.float64]

_POINTS = 100
_ON_GROUND_BW = 0.05
_WINDOWS = 600  # learned from
_VERTICAL = [CHANNELS.index(f"grf_vertical_{side}") for side in SIDES]
_SIDE = np.array([SIDES.index("l") if name.endswith("_l") else 0 for name in CHANNELS])
"""Whose stride tells a channel's phase: the left foot's for the left leg, else the right one's."""


def stride_phase(values: NDArray[np.floating], stride_hz: float) -> Floats:
    """Return the phase 0 to 1 of each foot's stride in one window, shape (WINDOW, 2).

    Counted from where the vertical force begins; a foot without a landing in the window is taken half a
    stride from the other. NaN where no foot lands, or the stride's rate is not known. It is read off the true
    forces, which favours who uses it.
    """
    at = np.arange(len(values))
    phase = np.full((len(values), len(SIDES)), np.nan)
    for i, column in enumerate(_VERTICAL):
        down = values[:, column] > _ON_GROUND_BW
        known = np.isfinite(values[:-1, column]) & np.isfinite(values[1:, column])
        lands = np.flatnonzero(down[1:] & ~down[:-1] & known) + 1
        if len(lands) and np.isfinite(stride_hz):
            nearest = lands[np.abs(at[:, None] - lands).argmin(axis=1)]
            phase[:, i] = ((at - nearest) * stride_hz / RATE_HZ) % 1.0
    for i in range(len(SIDES)):
        if np.isnan(phase[:, i]).all():
            phase[:, i] = (phase[:, 1 - i] + 0.5) % 1.0
    return phase


@dataclass(frozen=True, slots=True, eq=False)
class MeanCurve:
    """The mean of every channel over the stride, shape (styles, 100, channels), by way of moving."""

    curve: Floats

    @classmethod
    def of(cls, windows: Windows) -> MeanCurve:
        """Average windows; a style nobody showed keeps NaN."""
        styles = int(windows.style.max(initial=-1)) + 2  # the last one: not known
        total = np.zeros((styles, _POINTS, len(CHANNELS)))
        count = np.zeros_like(total)
        for values, numbers, style in zip(
            windows.values, windows.numbers, windows.style, strict=True
        ):
            phase = stride_phase(values, numbers[1])[:, _SIDE]
            known = np.isfinite(phase) & np.isfinite(values)
            rows, channels = np.nonzero(known)
            at = np.round(phase[known] * _POINTS).astype(int) % _POINTS
            np.add.at(total[style], (at, channels), values[rows, channels])
            np.add.at(count[style], (at, channels), 1)
        return cls(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))

    def at(self, values: NDArray[np.floating], stride_hz: float, style: int) -> Floats:
        """Read the curves at one window's phases, shape (WINDOW, channels)."""
        phase = stride_phase(values, stride_hz)[:, _SIDE]
        grid = np.arange(_POINTS) / _POINTS
        curve = self.curve[style]
        said = [np.interp(phase[:, j], grid, curve[:, j], period=1.0) for j in range(len(CHANNELS))]
        return np.where(np.isfinite(phase), np.stack(said, axis=1), np.nan)


def regression(windows: Windows, given: Sequence[int], missing: Sequence[int]) -> Ridge:
    """Fit on windows in which every channel asked about is known, and on their mirror images."""
    wanted = [*given, *missing]
    whole = np.flatnonzero(np.isfinite(windows.values[:, :, wanted]).all(axis=(1, 2)))
    some = windows.values[whole[:: max(1, len(whole) // _WINDOWS)]]
    return Ridge.of([*some, *mirrored(some)], given, missing)


KINEMATIC = tuple(CHANNELS.index(name) for name in (*ANGLES, *PELVIS))
"""Columns that movement alone gives; velocities are left out, since on plates they come from the forces."""
