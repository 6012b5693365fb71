"""What of a window a generative model is shown while it learns: nothing, some channels, some time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from talaria_edge.generate.motion import CHANNELS, FORCES, PELVIS, VELOCITY, WINDOW, columns
from talaria_edge.kinematics import ANGLES, SIDES

Bools = NDArray[np.bool_]

_NOTHING, _CHANNELS, _TIME = 0.25, 0.4, 0.2
"""Shares of windows of which nothing, some channels, or all but a stretch is shown; the rest lack both."""
_FORCES_ASKED = (
    0.25  # share of the windows with channels missing that lack the forces and nothing else
)
_ANGLES_ALONE, _LACKING = 0.35, 0.7
"""What cameras and body-worn sensors leave is the commonest question: angles, neither forces nor velocity."""
_SHORTEST = 10
_MOST_GROUPS = 3


def _groups() -> tuple[tuple[str, ...], ...]:
    """Channels that go missing together, or are all there is."""
    legs = tuple(tuple(name for name in ANGLES if name.endswith(side)) for side in SIDES)
    joints = tuple(
        tuple(name for name in ANGLES if name.startswith(joint))
        for joint in ("hip", "knee", "ankle")
    )
    thighs = tuple(tuple(name for name in leg if name.startswith(("hip", "knee"))) for leg in legs)
    feet = tuple(tuple(name for name in FORCES if name.endswith(side)) for side in SIDES)
    single = tuple((name,) for name in (*ANGLES, *PELVIS, *VELOCITY))
    kinematics = tuple(name for name in CHANNELS if name not in FORCES)
    return (*legs, *joints, *thighs, *feet, PELVIS, VELOCITY, FORCES, kinematics, *single)


_GROUPS = np.array([[name in group for name in CHANNELS] for group in _groups()])
_ANGLE = np.isin(np.arange(len(CHANNELS)), columns((*ANGLES, *PELVIS)))
_FORCE = np.isin(np.arange(len(CHANNELS)), columns(FORCES))


def draw_known(count: int, rng: np.random.Generator) -> Bools:
    """Draw what is shown of so many windows, as if all were measured.

    Returns
    -------
    ndarray of bool, shape (count, WINDOW, len(CHANNELS))
    """
    return np.stack([_one(rng) for _ in range(count)])


def draw_channels(rng: np.random.Generator) -> Bools:
    """Draw which channels are shown, shape (len(CHANNELS),).

    Forces alone may lack; angles may be all there is, with a joint missing; a few groups may lack, or be
    all there is; or each channel may be there or not.
    """
    share = rng.random()
    if share < _FORCES_ASKED:
        return ~_FORCE
    if share < _FORCES_ASKED + _ANGLES_ALONE:
        lacking = _GROUPS[rng.integers(len(_GROUPS))] if rng.random() < _LACKING else _FORCE
        angles: Bools = _ANGLE & ~lacking
        return angles
    kind = rng.integers(3)
    if kind == 2:
        drawn: Bools = rng.random(len(CHANNELS)) < rng.random()
        return drawn
    chosen = rng.choice(len(_GROUPS), size=rng.integers(1, _MOST_GROUPS + 1), replace=False)
    some: Bools = np.asarray(_GROUPS[chosen].any(axis=0))
    return some if kind else ~some


def draw_time(rng: np.random.Generator) -> Bools:
    """Draw at which samples a window is shown, shape (WINDOW,): all but one stretch."""
    start = int(rng.integers(WINDOW - _SHORTEST))
    length = int(rng.integers(_SHORTEST, WINDOW))
    shown = np.ones(WINDOW, bool)
    shown[start : start + length] = False
    return shown


def _one(rng: np.random.Generator) -> Bools:
    share = rng.random()
    channels, time = np.zeros(len(CHANNELS), bool), np.zeros(WINDOW, bool)
    if share >= _NOTHING:
        channels = draw_channels(rng)
        time = draw_time(rng)
    if share < _NOTHING + _CHANNELS:
        return np.broadcast_to(channels, (WINDOW, len(CHANNELS)))
    if share < _NOTHING + _CHANNELS + _TIME:
        return np.broadcast_to(time[:, None], (WINDOW, len(CHANNELS)))
    # A sensor that dies for a while, or one that is absent while all die for a while.
    if rng.random() < 0.5:
        return time[:, None] | channels
    return time[:, None] & channels
