"""When each leg's strides begin: measured contacts, else the events the live session would have given."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.features import channels as feature_channels
from talaria_edge.gait import EventKind, GaitStage
from talaria_edge.kinematics import SIDES
from talaria_edge.legs import LegStage, LegView
from talaria_training.networks import CONTACT_DELAY_S, GaitNet, head_columns
from talaria_training.train import outputs
from talaria_training.trials import Trial

SHORTEST_S, LONGEST_S = 0.4, 2.5
UNLIKE = 1.35
"""A stride this many times longer or shorter than the leg's median one is a missed or a false contact."""
MEASURED, BY_NETWORK, BY_RULES = "measured", "network", "rules"

_FEATURES = [channel.name for channel in feature_channels(LEG_SLOTS)]
_FEWEST = 3
"""Measured initial contacts of a leg below which its plate is taken to have been out of use."""


@dataclass(frozen=True, slots=True)
class Span:
    """One stride of one leg; seconds since the trial's first sample, and what found its ends."""

    side: str
    start_s: float
    stop_s: float
    found_by: str


def spans(trial: Trial, net: GaitNet | None = None) -> tuple[Span, ...]:
    """Find whole strides of both legs, by the time they begin.

    Parameters
    ----------
    trial : Trial
    net : GaitNet, optional
        Its contact head finds the events of a leg nobody measured; without it the rules of
        `talaria_edge.gait` do.
    """
    starts = {side: (_measured(trial, side), MEASURED) for side in SIDES}
    unknown = [side for side, (times_s, _) in starts.items() if len(times_s) < _FEWEST]
    if unknown:
        told = _by_rules(trial) if net is None else _by_network(trial, net)
        how = BY_RULES if net is None else BY_NETWORK
        starts |= {side: (told[side], how) for side in unknown}
    found = [s for side, (times_s, how) in starts.items() for s in _whole(side, times_s, how)]
    return tuple(sorted(found, key=lambda s: (s.start_s, s.side)))


def _measured(trial: Trial, side: str) -> list[float]:
    return [c.t_s for c in trial.contacts if c.kind == "initial" and c.side == side]


def _by_network(trial: Trial, net: GaitNet) -> dict[str, list[float]]:
    odds = outputs(net, trial.features)[:, head_columns("contact")].astype(np.float64)
    chance = 1.0 / (1.0 + np.exp(-odds.clip(-80.0, 80.0)))
    stage = LegStage(trial.rate_hz, CONTACT_DELAY_S)
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for tick, row in enumerate(chance.tolist()):
        views = {side: LegView(contact=p) for side, p in zip(SIDES, row, strict=True)}
        for event in stage.update(tick / trial.rate_hz, views)[1]:
            if event.kind is EventKind.INITIAL_CONTACT:
                found[event.side].append(event.t_s)
    return found


def _by_rules(trial: Trial) -> dict[str, list[float]]:
    # The features mirror the left foot, which changes neither its pitch rate nor its speed.
    feet = {side: foot_turning(trial, side) for side in SIDES}
    stage = GaitStage(trial.rate_hz)
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for tick in range(len(trial.features)):
        rates: dict[str, NDArray[np.float64] | None] = {s: feet[s][tick] for s in SIDES}
        for event in stage.update(tick / trial.rate_hz, rates)[1]:
            if event.kind is EventKind.INITIAL_CONTACT:
                found[event.side].append(event.t_s)
    return found


def foot_turning(trial: Trial, side: str) -> NDArray[np.float64]:
    """Angular rate of a foot as the features hold it, rad/s, shape (T, 3)."""
    first = _FEATURES.index(f"calcn_{side}.gyr_x")
    return trial.features[:, first : first + 3].astype(np.float64)


def _whole(side: str, starts_s: list[float], found_by: str) -> list[Span]:
    """Keep what lies between two contacts and is as long as this leg's strides are."""
    found = [
        Span(side, a, b, found_by)
        for a, b in pairwise(starts_s)
        if SHORTEST_S <= b - a <= LONGEST_S
    ]
    usual_s = float(np.median([s.stop_s - s.start_s for s in found])) if found else 1.0
    return [s for s in found if 1.0 / UNLIKE <= (s.stop_s - s.start_s) / usual_s <= UNLIKE]
