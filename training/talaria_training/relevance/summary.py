"""Relevance per joint, plane, channel and phase, with intervals over people.

Three conventions, because the published percentages do not say theirs:

* *positive*: of what spoke for the class. Every stride weighs the same within its person, every person the
  same within the whole.
* *absolute*: of all there is, for and against, weighed likewise.
* *net*: what spoke against is set off against what spoke for, over strides and people, so that what has no
  bearing on the class averages out. Shares may be negative; people weigh by their scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_training.classify.worth import RESAMPLES
from talaria_training.strides.table import Channel

Floats = NDArray[np.float64]
Convention = Literal["positive", "absolute", "net"]

EARLY_PERCENT = 47
"""Last percent of the early phase: Xu et al. 2022 compare 1-47 % of stance with 48-100 %."""
_BATCH = 2000
_LEVEL = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class PersonMaps:
    """Where each person's relevance lay: one map per person, or per person and group.

    Attributes
    ----------
    maps : ndarray, shape (M, channels, points)
        Mean over the strides: of their shares, so that each map adds up to 1 (or to 0 where a person had
        none); with *net*, of the relevance itself.
    people, groups : ndarray of str, shape (M,)
        Groups are "" where none were asked for.
    strides : ndarray of int, shape (M,)
    """

    maps: Floats
    people: NDArray[np.str_]
    groups: NDArray[np.str_]
    strides: NDArray[np.int64]

    def of(self, group: str) -> PersonMaps:
        """Keep one group."""
        keep = self.groups == group
        return PersonMaps(self.maps[keep], self.people[keep], self.groups[keep], self.strides[keep])


@dataclass(frozen=True, slots=True)
class Share:
    """Part of the relevance, in percent, with its bootstrap interval over people."""

    name: str
    percent: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """Where the relevance of some people lay, in percent.

    Attributes
    ----------
    channels, joints, planes, phases : tuple of Share
        Each set adds up to 100. Joints are the channels' groups and planes their axes.
    curve : ndarray, shape (3, points)
        Over the cycle, adding up to 100; then the low and the high edge of its interval.
    people, strides : int
    """

    channels: tuple[Share, ...]
    joints: tuple[Share, ...]
    planes: tuple[Share, ...]
    phases: tuple[Share, ...]
    curve: Floats
    people: int
    strides: int


def shares(relevance: NDArray[np.floating], convention: Convention = "positive") -> Floats:
    """Turn relevance (N, channels, points) into shares that add up to 1 per stride; *net* leaves it as it is.

    A stride without any (or, *positive*, with nothing that spoke for its class) gives zeros.
    """
    if convention == "net":
        return relevance.astype(np.float64)
    kept = np.maximum(relevance, 0.0) if convention == "positive" else np.abs(relevance)
    kept = kept.astype(np.float64)
    total = kept.sum(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(kept, total, out=np.zeros_like(kept), where=total > 0))


def person_maps(
    relevance: NDArray[np.floating],
    people: NDArray[np.str_],
    groups: NDArray[np.str_] | None = None,
    convention: Convention = "positive",
) -> PersonMaps:
    """Average shares over each person's strides, or over those of each person in each group.

    Parameters
    ----------
    relevance : ndarray, shape (N, channels, points)
    people : ndarray of str, shape (N,)
    groups : ndarray of str, shape (N,), optional
        Class, condition or side of every stride.
    convention : "positive", "absolute" or "net"

    Raises
    ------
    RecordingError
        If there are no strides, or one of them has relevance that is no number.
    """
    if not len(relevance) or not np.isfinite(relevance).all():
        raise RecordingError(
            f"Of {len(relevance)} strides {int((~np.isfinite(relevance)).any(axis=(1, 2)).sum())} have "
            "relevance that is no number: look for a stride with gaps, or explain with other rules."
        )
    named = np.full(len(people), "") if groups is None else groups
    keys = np.stack([people, named], axis=1)
    unique, index = np.unique(keys, axis=0, return_inverse=True)
    index = index.reshape(-1)
    maps = np.zeros((len(unique), *relevance.shape[1:]))
    for start in range(0, len(relevance), _BATCH):
        part = slice(start, start + _BATCH)
        np.add.at(maps, index[part], shares(relevance[part], convention))
    count = np.bincount(index)
    return PersonMaps(maps / count[:, None, None], unique[:, 0], unique[:, 1], count)


def summarise(
    found: PersonMaps, channels: Sequence[Channel], cycle: str = "stance", seed: int = 0
) -> Summary:
    """Say where the relevance lay, people weighing the same, with 95 % intervals over people.

    Parameters
    ----------
    found : PersonMaps
        Of one group, or of all; a person who is in several counts as one in the resampling.
    channels : sequence of Channel
    cycle : str
        What 100 % is: "stance" or "stride"; for the names of the phases.
    seed : int
        Of the resampling.

    Raises
    ------
    RecordingError
        If there is no relevance, or (*net*) more against the classes than for them.
    """
    points = found.maps.shape[2]
    weights = _resampled(found, seed)

    def table(matrix: Floats, names: Sequence[str]) -> tuple[Share, ...]:
        return tuple(
            Share(name, *map(float, row))
            for name, row in zip(names, _percent(matrix, weights).T, strict=True)
        )

    per_channel, per_point = found.maps.sum(axis=2), found.maps.sum(axis=1)
    joints, planes = [c.group for c in channels], [c.axis for c in channels]
    early = phase_mask(points)
    names = (f"0-{EARLY_PERCENT} % of {cycle}", f"{EARLY_PERCENT + 1}-100 % of {cycle}")
    phases = np.stack([per_point[:, early].sum(axis=1), per_point[:, ~early].sum(axis=1)], axis=1)
    curve = _percent(per_point, weights)
    return Summary(
        table(per_channel, [channel.name for channel in channels]),
        table(*pooled(per_channel, joints)),
        table(*pooled(per_channel, planes)),
        table(phases, names),
        curve,
        len(np.unique(found.people)),
        int(found.strides.sum()),
    )


def phase_mask(points: int, last_percent: float = EARLY_PERCENT) -> NDArray[np.bool_]:
    """Tell which points (points,) lie in the early phase, counting 0 % as the start of it."""
    return np.linspace(0.0, 100.0, points) < last_percent + 0.5


def percent_per_person(found: PersonMaps, channels: Sequence[Channel]) -> Mapping[str, Floats]:
    """Percent (M,) of each person's relevance at each joint, for every row of `found`."""
    joints, names = pooled(found.maps.sum(axis=2), [channel.group for channel in channels])
    return {name: 100.0 * joints[:, k] for k, name in enumerate(names)}


def pooled(per_channel: Floats, labels: Sequence[str]) -> tuple[Floats, list[str]]:
    """Add up the columns (M, channels) of one label; labels keep the order in which they first come."""
    names = list(dict.fromkeys(labels))
    belongs = np.array([[label == name for name in names] for label in labels], dtype=float)
    return per_channel @ belongs, names


def _resampled(found: PersonMaps, seed: int) -> Floats:
    """Percent (1 + resamples, M) that a row weighs: plainly, then with people drawn with replacement."""
    unique, index = np.unique(found.people, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(unique), np.full(len(unique), 1.0 / len(unique)), size=RESAMPLES)
    counts = np.concatenate([np.ones((1, len(unique))), drawn])[:, index]
    whole = counts @ found.maps.sum(axis=(1, 2))
    if not whole[0] > 0.0:
        raise RecordingError(
            f"The relevance of {len(unique)} people adds up to {whole[0]:.3g}, of which there are no shares: "
            "explain the class that the classifier names, or summarise by the absolute convention."
        )
    return np.asarray(100.0 * counts / whole[:, None])


def _percent(values: Floats, weights: Floats) -> Floats:
    """Mean and interval (3, K), in percent, of values (M, K)."""
    means = weights @ values
    edge = 100.0 * (1.0 - _LEVEL) / 2.0
    return np.stack([means[0], *np.percentile(means[1:], [edge, 100.0 - edge], axis=0)])
