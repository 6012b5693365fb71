"""How alike the relevance is when the same network is trained again from another seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from talaria_bridge.errors import ConfigError
from talaria_training.relevance.summary import pooled
from talaria_training.strides.table import Channel

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stability:
    """How alike the relevance of networks is that differ in their seed alone.

    Attributes
    ----------
    rank_mean, rank_least : float
        Spearman's correlation of the maps (channel x point) of two networks: mean and least over the pairs.
    joint_rank_mean : float
        The same of the joints' shares; NaN for fewer than three joints.
    joint_sd_points : mapping of str to float
        Spread of each joint's share over the networks, in percentage points.
    networks : int
    """

    rank_mean: float
    rank_least: float
    joint_rank_mean: float
    joint_sd_points: Mapping[str, float]
    networks: int


def stability(maps: Floats, channels: Sequence[Channel]) -> Stability:
    """Compare the mean maps of several networks.

    Parameters
    ----------
    maps : ndarray, shape (networks, channels, points)
        Each network's mean over people, as in `PersonMaps`.
    channels : sequence of Channel

    Raises
    ------
    ConfigError
        If there is but one network.
    """
    if len(maps) < 2:
        raise ConfigError(
            f"Stability over seeds was asked of {len(maps)} network: train two or more."
        )
    joints, names = pooled(100.0 * maps.sum(axis=2), [channel.group for channel in channels])
    ranks = _rank_correlations(maps.reshape(len(maps), -1))
    among = _rank_correlations(joints) if len(names) > 2 else np.array([np.nan])
    spread = joints.std(axis=0, ddof=1)
    return Stability(
        float(ranks.mean()),
        float(ranks.min()),
        float(among.mean()),
        dict(zip(names, spread.tolist(), strict=True)),
        len(maps),
    )


def _rank_correlations(rows: Floats) -> Floats:
    pairs = combinations(rows, 2)
    return np.array([spearmanr(a, b).statistic for a, b in pairs])
