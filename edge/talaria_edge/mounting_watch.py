"""Looks, as a session begins, whether the sensors still sit where they were calibrated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from talaria_edge.calibration import Calibration, CalibrationCollector
from talaria_edge.mounting import (
    MountingChange,
    MountingParams,
    StanceUp,
    mounting_seen,
    moved_slots,
)

FloatArray = NDArray[np.float64]

_PATIENCE_S = 30.0
"""A stance of which no walk comes is forgotten after this long, or it would pile up."""


class MountingWatch:
    """Looks, during a session, whether the sensors still sit as they did when they were calibrated.

    It answers once: after the wearer has stood still and then walked for some seconds.

    Parameters
    ----------
    calibration : Calibration
        What the session runs on.
    rate_hz : float
    slots : sequence of str
    params : MountingParams, optional
    stance_up : StanceUp, optional
        Of the walk it was calibrated by.
    """

    def __init__(
        self,
        calibration: Calibration,
        rate_hz: float,
        slots: Sequence[str],
        params: MountingParams | None = None,
        stance_up: StanceUp | None = None,
    ) -> None:
        self.done = False
        self._stance_up = stance_up
        self._calibration = calibration
        self._params = params or MountingParams()
        self._rate_hz = rate_hz
        self._slots = tuple(slots)
        self.restart()

    def restart(self) -> None:
        """Begin again, because readings were missing."""
        self._collector = CalibrationCollector(self._rate_hz, self._slots)
        self._ticks = 0

    def update(self, acc_ms2: FloatArray, gyr_rads: FloatArray) -> dict[str, MountingChange]:
        """Take one tick, rows of shape (S, 3); return the sensors that were moved, usually none.

        `done` tells that the answer has been given.
        """
        if self.done:
            return {}
        self._ticks += 1
        stretch = self._collector.collect(acc_ms2, gyr_rads)
        if stretch is None:
            if self._ticks > _PATIENCE_S * self._rate_hz and not self._walking:
                self.restart()
            return {}
        self.done = True
        return moved_slots(mounting_seen(self._calibration, stretch, self._stance_up), self._params)

    @property
    def _walking(self) -> bool:
        return self._collector.progress.stage == "walking"
