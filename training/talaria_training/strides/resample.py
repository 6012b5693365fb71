"""A stretch of a recording read at 0 to 100 % of its length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from talaria_training.strides.table import POINTS


def at_percent(
    series: NDArray[np.float64], first: float, last: float, points: int = POINTS
) -> NDArray[np.float32]:
    """Read a series between two of its rows, linearly between samples.

    Parameters
    ----------
    series : ndarray, shape (T, C)
    first, last : float
        Rows, not necessarily whole.
    points : int

    Returns
    -------
    ndarray of float32, shape (C, points)
        NaN throughout where the stretch is not wholly inside, and at points beside a missing sample.
    """
    if first < 0.0 or last > len(series) - 1 or len(series) < 2:
        return np.full((series.shape[1], points), np.nan, np.float32)
    at = np.linspace(first, last, points)
    before = np.minimum(at.astype(np.intp), len(series) - 2)
    share = (at - before)[:, None]
    read = np.where(
        share > 0.0, series[before] * (1.0 - share) + series[before + 1] * share, series[before]
    )
    return read.T.astype(np.float32)
