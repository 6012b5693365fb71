"""A labelled walk cut into strides: the first to learn from, some to stop by, the last to decide on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import ANGLES, SAGITTAL, SIDES
from talaria_training.networks import CONTACT_DELAY_S, GaitNet, head_columns
from talaria_training.train import outputs
from talaria_training.trials import Trial

GAP_S = 0.5
"""Left empty between parts, so that no stride is half in one and half in the next."""
LEAST_DECIDING = 4
"""Strides of one leg to decide on; with the other leg's, seven or eight errors to compare."""
LEAST_LEARNING = 8
"""Strides of one leg to learn from: models of fewer seconds than 11 were the only ones worse elsewhere."""
_SHORTEST_S, _LONGEST_S = 0.6, 2.5
_BLOCK_S = 2.0
_LABELLED = 0.8
"""Share of a stride that must carry labels."""


@dataclass(frozen=True, slots=True)
class Stride:
    """One cycle of one leg, rows `start` to `stop` of a trial; side "" is a block without contacts."""

    side: str
    start: int
    stop: int

    @property
    def joints(self) -> tuple[str, ...]:
        """Sagittal angles of the stride's leg; of both for a block."""
        return tuple(a for a in SAGITTAL if a.endswith(self.side))


@dataclass(frozen=True, slots=True)
class Kept:
    """Strides of one trial that nothing is learned from."""

    trial: Trial
    strides: tuple[Stride, ...]

    @property
    def rows(self) -> slice:
        """From the first stride's start to the last one's end."""
        return slice(min(s.start for s in self.strides), max(s.stop for s in self.strides))


@dataclass(frozen=True, slots=True)
class Division:
    """A session divided.

    Attributes
    ----------
    learn : tuple of Trial
        Cut to what is learned from.
    stop, decide : tuple of Kept
        `stop` is empty where there are too few strides to spare any.
    used : tuple of Trial
        From the first labelled stride to the last: where labels can be judged by movement.
    learn_strides : int
        Strides of the leg that is counted, in `learn`.
    """

    learn: tuple[Trial, ...]
    stop: tuple[Kept, ...]
    decide: tuple[Kept, ...]
    used: tuple[Trial, ...]
    learn_strides: int

    def shifted(self, by_rad: Sequence[NDArray[np.float64]]) -> Division:
        """Take a constant off every angle's labels, one row of angles per recording."""
        moved = {t.name: by for t, by in zip(self.used, by_rad, strict=True)}

        def trial(t: Trial) -> Trial:
            return replace(t, angles_rad=(t.angles_rad - moved[t.name]).astype(np.float32))

        return replace(
            self,
            learn=tuple(trial(t) for t in self.learn),
            stop=tuple(replace(k, trial=trial(k.trial)) for k in self.stop),
            decide=tuple(replace(k, trial=trial(k.trial)) for k in self.decide),
        )

    @property
    def learn_s(self) -> float:
        """Seconds to learn from."""
        return sum(len(t.features) / t.rate_hz for t in self.learn)

    @property
    def decide_strides(self) -> int:
        """Strides of either leg to decide on."""
        return sum(len(k.strides) for k in self.decide)


def cut_rows(trial: Trial, start: int, stop: int) -> Trial:
    """Cut out rows `start` to `stop`."""
    n = len(trial.features)
    return trial.part(start / n, stop / n)


def labelled_rows(trial: Trial, joints: Iterable[str] = SAGITTAL) -> NDArray[np.bool_]:
    """Say where any of the angles is labelled, shape (T,)."""
    columns = [ANGLES.index(j) for j in joints]
    return np.asarray(np.isfinite(trial.angles_rad[:, columns]).any(axis=1))


def strides_of(trial: Trial, base: GaitNet) -> tuple[Stride, ...]:
    """Find the labelled strides, in order of their starts.

    Measured contacts come first; a leg without any is cut by the base's contact head; where neither
    gives strides, blocks of two seconds stand in.
    """
    told = outputs(base, trial.features)[:, head_columns("contact")]
    found = []
    for column, side in enumerate(SIDES):
        starts = [round(c.t_s * trial.rate_hz) for c in trial.contacts if _is_initial(c, side)]
        if len(starts) < 2:
            starts = _landings(told[:, column], trial.rate_hz)
        found += [Stride(side, a, b) for a, b in pairwise(starts) if _plausible(b - a, trial)]
    kept = [s for s in found if _is_labelled(s, trial)]
    if len(kept) < 2:
        kept = [b for b in _blocks(trial) if _is_labelled(b, trial)]
    return tuple(sorted(kept, key=lambda s: s.start))


def _is_initial(contact: object, side: str) -> bool:
    return getattr(contact, "kind", "") == "initial" and getattr(contact, "side", "") == side


def _plausible(rows: int, trial: Trial) -> bool:
    return _SHORTEST_S <= rows / trial.rate_hz <= _LONGEST_S


def _landings(logit: NDArray[np.float32], rate_hz: float) -> list[int]:
    """Rows where the foot comes down: up through one from below minus one, so that doubt is no step."""
    starts: list[int] = []
    in_air = False
    for row, value in enumerate(logit.tolist()):
        if value < -1.0:
            in_air = True
        elif value > 1.0 and in_air:
            in_air = False
            at = row - round(CONTACT_DELAY_S * rate_hz)
            if not starts or at - starts[-1] > _SHORTEST_S * rate_hz:
                starts.append(max(at, 0))
    return starts


def _blocks(trial: Trial) -> list[Stride]:
    width = round(_BLOCK_S * trial.rate_hz)
    known = np.flatnonzero(labelled_rows(trial))
    if not len(known):
        return []
    return [
        Stride("", a, a + width) for a in range(int(known[0]), int(known[-1]) + 2 - width, width)
    ]


def _is_labelled(stride: Stride, trial: Trial) -> bool:
    known = labelled_rows(trial, stride.joints)[stride.start : stride.stop]
    return len(known) == stride.stop - stride.start and float(known.mean()) >= _LABELLED


def divide(
    trials: Sequence[Trial],
    base: GaitNet,
    seconds: float | None = None,
    strides: int | None = None,
) -> Division:
    """Divide one person's labelled recordings.

    The last fifth of each recording's strides decides, the fifth before it stops the training, the
    rest is learned from, up to a budget. Two gaps of half a second lie between.

    Parameters
    ----------
    trials : sequence of Trial
    base : GaitNet
        Its contact head finds the strides where nothing measured them.
    seconds, strides : optional
        Learn only from the first so much, shared equally by the recordings.

    Raises
    ------
    RecordingError
        If there are too few labelled strides to learn from some and decide on others.
    """
    labelled = [(t, s) for t in trials if (s := strides_of(t, base))]
    count = max(1, len(labelled))
    # One stride of one leg has hardly any of the other leg's beside it.
    least = [max(2, math.ceil(total / count)) for total in (LEAST_LEARNING, LEAST_DECIDING)]
    parts = [p for t, s in labelled if (p := _divide_one(t, s, *least)) is not None]
    if sum(p.learning for p in parts) < LEAST_LEARNING:
        seen = sum(len(_ticks(s)) for _, s in labelled)
        raise RecordingError(
            f"The session has {seen} labelled strides, and {LEAST_LEARNING + LEAST_DECIDING} of one leg are "
            "the least that allow to learn from some and to decide on others: label a longer walk, twenty "
            "seconds or more."
        )
    share = None if strides is None else math.ceil(strides / len(parts))
    limited = [p.limited(None if seconds is None else seconds / len(parts), share) for p in parts]
    return Division(
        learn=tuple(cut_rows(p.trial, p.first, p.until) for p in limited),
        stop=tuple(p.stop for p in limited if p.stop is not None),
        decide=tuple(p.decide for p in limited),
        used=tuple(cut_rows(p.trial, p.strides[0].start, p.decide.rows.stop) for p in limited),
        learn_strides=sum(len(_ticks(p.learned)) for p in limited),
    )


@dataclass(frozen=True, slots=True)
class _One:
    """One recording divided; rows `first` to `until`, `learning` strides, are learned from."""

    trial: Trial
    first: int
    until: int
    learning: int
    strides: tuple[Stride, ...]
    stop: Kept | None
    decide: Kept

    @property
    def learned(self) -> list[Stride]:
        return [s for s in self.strides if self.first <= s.start and s.stop <= self.until]

    def limited(self, seconds: float | None, strides: int | None) -> _One:
        until = self.until
        if seconds is not None:
            until = min(until, self.first + round(seconds * self.trial.rate_hz))
        if strides is not None:
            ticks = _ticks(self.learned)[:strides]
            until = min(until, ticks[-1].stop)
        return replace(self, until=until)


def _ticks(strides: Sequence[Stride]) -> list[Stride]:
    """Strides of the leg with more of them: what is counted as a number of strides."""
    sides = sorted({s.side for s in strides})
    groups = [[s for s in strides if s.side == side] for side in sides]
    return max(groups, key=len, default=[])


def _divide_one(
    trial: Trial, strides: tuple[Stride, ...], least_learning: int, least_deciding: int
) -> _One | None:
    ticks = _ticks(strides)
    n, gap = len(ticks), round(GAP_S * trial.rate_hz)
    deciding = max(least_deciding, n // 5)
    stopping = n // 5
    learning = n - deciding - stopping - 1  # the stride before the deciding ones is the gap
    if learning < least_learning or not stopping:
        stopping, learning = 0, n - deciding
    if learning < least_learning:
        return None
    border, end = ticks[n - deciding].start, ticks[-1].stop
    decide = Kept(trial, tuple(s for s in strides if s.start >= border and s.stop <= end))
    edge = ticks[learning].start if stopping else border
    inside = tuple(s for s in strides if s.start >= edge and s.stop <= border - gap)
    stop = Kept(trial, inside) if inside else None
    first = int(np.flatnonzero(labelled_rows(trial))[0])
    return _One(trial, first, (edge if stop else border) - gap, learning, strides, stop, decide)
