"""Ridge regression of the channels that lack on those that are there, 0.3 s before to 0.3 s after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REACH = 30
"""Samples that it looks back and ahead."""
_LAGS = (-REACH, -20, -10, 0, 10, 20, REACH)
_SHRINK = 1e-3
_EVERY = 3  # samples of a stretch that are learned from: neighbours are alike


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """A linear model; build one with `Ridge.of`.

    Attributes
    ----------
    given, missing : tuple of int
        Columns.
    mean, sd, weights : ndarray
    """

    given: tuple[int, ...]
    missing: tuple[int, ...]
    mean: Floats
    sd: Floats
    weights: Floats

    @classmethod
    def of(
        cls,
        stretches: Sequence[NDArray[np.floating]],
        given: Sequence[int],
        missing: Sequence[int],
    ) -> Ridge:
        """Fit on stretches, each (T, channels), in which every column asked about is known."""
        x = np.concatenate([_lagged(part[:, given])[::_EVERY] for part in stretches])
        y = np.concatenate([part[::_EVERY, missing] for part in stretches]).astype(np.float64)
        mean, sd = x.mean(axis=0), x.std(axis=0) + 1e-9
        x = np.column_stack([(x - mean) / sd, np.ones(len(x))])
        gram = x.T @ x
        gram[np.diag_indices(len(gram) - 1)] += _SHRINK * len(x)
        return cls(tuple(given), tuple(missing), mean, sd, np.linalg.solve(gram, x.T @ y))

    def at(self, values: NDArray[np.floating]) -> Floats:
        """Tell the missing channels, (T, missing), of a stretch (T, channels)."""
        x = (_lagged(values[:, self.given]) - self.mean) / self.sd
        return np.asarray(np.column_stack([x, np.ones(len(x))]) @ self.weights)


def _lagged(given: NDArray[np.floating]) -> Floats:
    """Lay earlier and later samples beside each one; a stretch's ends repeat."""
    at = np.arange(len(given))
    parts = [given[np.clip(at + lag, 0, len(given) - 1)] for lag in _LAGS]
    return np.concatenate(parts, axis=1).astype(np.float64)
