"""Simulated strides of as many people as one likes, with a difference between groups where it is planted.

Every curve is a sum of a few harmonics of the stride: a common one, a person's own part, an offset per session
(sensors sit a little differently every time), and a part that differs from stride to stride.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError
from talaria_training.strides.table import POINTS, Channel, StrideTable

SOURCE = (
    "Simulated strides: harmonics of the gait cycle with a part per person, session and stride."
)
GROUPS = ("control", "affected")

CHANNELS = tuple(
    Channel(f"{joint}_{plane}", joint, plane, "deg")
    for joint in ("hip", "knee", "ankle")
    for plane in ("sagittal", "frontal", "transverse")
)
_RANGE_DEG = {"sagittal": 25.0, "frontal": 5.0, "transverse": 6.0}


@dataclass(frozen=True, slots=True)
class Planted:
    """What makes the affected group different.

    Attributes
    ----------
    channel : str
    start, stop : float
        Shares of the cycle between which it is; one raised cosine.
    size_deg : float
        Its peak.
    """

    channel: str = "knee_sagittal"
    start: float = 0.2
    stop: float = 0.3
    size_deg: float = 10.0


@dataclass(frozen=True, slots=True)
class Population:
    """Who is simulated.

    Attributes
    ----------
    people, sessions, strides : int
        People, sessions of each, and strides of each session.
    person_deg, session_deg, stride_deg : float
        Standard deviations: of a curve between people, of an offset between sessions, of a curve
        between strides.
    harmonics : int
        Of the stride, in every curve.
    planted : Planted or None
        Every second person is of the affected group; without it the groups do not differ.
    seed : int
    """

    people: int = 20
    sessions: int = 1
    strides: int = 20
    person_deg: float = 3.0
    session_deg: float = 1.0
    stride_deg: float = 1.0
    harmonics: int = 6
    planted: Planted | None = None
    seed: int = 0


def simulate_strides(population: Population | None = None) -> StrideTable:
    """Simulate strides.

    Parameters
    ----------
    population : Population, optional

    Returns
    -------
    StrideTable
        (people x sessions x strides, 9, 101), columns also ``group``; the sides take turns.

    Raises
    ------
    ConfigError
        If nobody is to be simulated, or the difference is planted at a channel that is not there.
    """
    about = population or Population()
    _check(about)
    random = np.random.default_rng(about.seed)
    n, c = about.people * about.sessions * about.strides, len(CHANNELS)
    person = np.repeat(np.arange(about.people), about.sessions * about.strides)
    session = np.tile(np.repeat(np.arange(about.sessions), about.strides), about.people)
    order = np.tile(np.arange(about.strides), about.people * about.sessions)
    basis = _basis(about.harmonics)
    own = _common(random, basis) + about.person_deg * _curves(random, about.people, basis)
    own[1::2] += _effect(about.planted)
    offset = about.session_deg * random.standard_normal(
        (about.people, about.sessions, c), np.float32
    )
    values = np.empty((n, c, POINTS), np.float32)
    for first in range(0, n, _BLOCK):
        rows = slice(first, min(first + _BLOCK, n))
        values[rows] = own[person[rows]] + offset[person[rows], session[rows], :, None]
        values[rows] += about.stride_deg * _curves(random, rows.stop - rows.start, basis)
    columns = {
        "person": _named("P", person),
        "session": _named("", session + 1),
        "side": np.where(order % 2, "l", "r"),
        "condition": np.full(n, "walking"),
        "group": np.array(GROUPS)[person % 2],
    }
    return StrideTable(values, CHANNELS, columns, order.astype(np.int64), "stride", SOURCE)


_BLOCK = 4096
"""Strides made at once: a hundred thousand must not need their noise in memory twice."""


def _check(about: Population) -> None:
    least = min(about.people, about.sessions, about.strides, about.harmonics)
    if least < 1:
        raise ConfigError(
            f"{about.people} people, {about.sessions} sessions, {about.strides} strides and {about.harmonics} "
            "harmonics make no strides: ask for at least one of each."
        )
    names = [channel.name for channel in CHANNELS]
    if about.planted is not None and about.planted.channel not in names:
        raise ConfigError(
            f"There is no channel {about.planted.channel!r} to plant a difference at: choose one of "
            f"{', '.join(names)}."
        )


def _basis(harmonics: int) -> NDArray[np.float32]:
    """Make cosines and sines that fall off with their order, shape (1 + 2 harmonics, 101).

    Their squares add up to one on average, so that weights of unit variance give curves of unit variance.
    """
    turn = 2.0 * np.pi * np.linspace(0.0, 1.0, POINTS)
    waves = [f(k * turn) / k for k in range(1, harmonics + 1) for f in (np.cos, np.sin)]
    basis = np.stack([np.full(POINTS, 0.5), *waves])
    return np.asarray(basis / np.sqrt((basis**2).sum(axis=0).mean()), np.float32)


def _curves(
    random: np.random.Generator, count: int, basis: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Draw curves of unit standard deviation, shape (count, channels, 101)."""
    drawn = random.standard_normal((count, len(CHANNELS), len(basis)), np.float32)
    return np.asarray(drawn @ basis)


def _common(random: np.random.Generator, basis: NDArray[np.float32]) -> NDArray[np.float32]:
    """Draw what everybody shares, shape (channels, 101), each plane with its usual range."""
    curves = _curves(random, 1, basis)[0]
    ranges = np.array([_RANGE_DEG[channel.axis] for channel in CHANNELS], np.float32)
    return np.asarray(curves * (ranges / np.ptp(curves, axis=1))[:, None])


def _effect(planted: Planted | None) -> NDArray[np.float32]:
    """Shape the difference, (channels, 101)."""
    effect = np.zeros((len(CHANNELS), POINTS), np.float32)
    if planted is not None:
        at = (np.linspace(0.0, 1.0, POINTS) - planted.start) / (planted.stop - planted.start)
        bump = np.where((at > 0.0) & (at < 1.0), 0.5 - 0.5 * np.cos(2.0 * np.pi * at), 0.0)
        row = [channel.name for channel in CHANNELS].index(planted.channel)
        effect[row] = planted.size_deg * bump
    return effect


def _named(prefix: str, numbers: NDArray[np.int64]) -> NDArray[np.str_]:
    width = len(str(int(numbers.max())))
    return np.char.add(prefix, np.char.zfill(numbers.astype(np.str_), width))
