"""Generated gait beside that of people the model has not seen: like it, physical, and nobody's own.

For every real stretch of somebody held out, one is drawn from nothing but who that is and how fast they go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from talaria_bridge.errors import ConfigError
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import FORCES, RATE_HZ, STYLES, Motion, columns
from talaria_edge.generate.sampler import Sampling
from talaria_edge.kinematics import ANGLES
from talaria_training.generate.gait_cycles import Cycles, first_cycles
from talaria_training.generate.honesty import coverage, distances, privacy
from talaria_training.generate.judge import conditions_of
from talaria_training.generate.sanity import beside, sanity
from talaria_training.generate.telling import told_apart
from talaria_training.generate.windows import Windows, cut

STRETCH = 300
"""Samples: a window of a slow walk seldom holds a whole cycle, twice as much always does."""
_NEEDED = columns((*ANGLES, *FORCES))


def check(
    motions: Sequence[Motion],
    unseen: Mapping[str, tuple[str, ...]],
    most: int,
    steps: int,
    done: Callable[[str], object] = lambda name: None,
) -> dict[str, Any]:
    """Draw as many stretches as there are real ones of people held out, and compare.

    Parameters
    ----------
    motions : sequence of Motion
        Everybody's.
    unseen : mapping of folder to people
        Models, and whom each has not seen.
    most : int
        Stretches of every recording.
    steps : int
        Of denoising.
    done : callable
        Told each model's folder.

    Returns
    -------
    dict
        ``told`` (how well real and generated are told apart), ``distances``, ``coverage``, ``sanity``, and
        ``privacy``, a list with one entry for each model.

    Raises
    ------
    ConfigError
        If there are too few people, or nothing is wholly measured.
    """
    everybody = stretches(motions, most)
    if everybody is None:
        raise ConfigError(
            f"None of the {len(motions)} motions holds {STRETCH / RATE_HZ:g} s with all angles and forces "
            "measured: give walks on force plates."
        )
    real, drawn, close = [], [], []
    for folder, group in unseen.items():
        theirs, learned = everybody.of(group), everybody.without(group)
        if not len(theirs):
            continue
        generated = draw_like(Generator.open(folder), theirs, steps)
        if len(learned):
            cycles = [first_cycles(w) for w in (learned, theirs, generated)]
            close.append(asdict(privacy(*cycles)))
        real.append(theirs)
        drawn.append(generated)
        done(folder)
    ours, made = _joined(real), _joined(drawn)
    pair: tuple[Cycles, Cycles] = (first_cycles(ours), first_cycles(made))
    return {
        "told": [asdict(one) for one in told_apart(*pair)],
        "distances": [asdict(one) for one in distances(*pair)],
        "coverage": [asdict(one) | {"style": _named(one.style)} for one in coverage(*pair)],
        "sanity": [asdict(row) for row in beside(sanity(ours), sanity(made))],
        "privacy": close,
    }


def stretches(motions: Sequence[Motion], most: int) -> Windows | None:
    """Cut some stretches of `STRETCH` samples, wholly measured, out of every recording, evenly over it.

    A stretch is asked for by the stride rate of its first window. None if there is none.
    """
    values, rows = [], []
    windows = cut(motions, stride=25) if motions else None
    if windows is None:
        return None
    for motion in motions:
        mine = np.flatnonzero(windows.name == motion.name)
        whole = []
        for i in mine:
            start = int(windows.start[i])
            part = motion.values[start : start + STRETCH, _NEEDED]
            if len(part) == STRETCH and np.isfinite(part).all():
                whole.append(int(i))
        for at in np.unique(
            np.linspace(0, len(whole) - 1, min(most, len(whole))).round().astype(int)
        ):
            start = int(windows.start[whole[at]])
            values.append(motion.values[start : start + STRETCH])
            rows.append(whole[at])
    if not rows:
        return None
    kept = windows.select(np.array(rows))
    return Windows(np.stack(values), kept.numbers, kept.style, kept.person, kept.name, kept.start)


def draw_like(model: Generator, real: Windows, steps: int) -> Windows:
    """Draw one stretch for each real one, of the same size of person, pace and style."""
    asked = [conditions_of(real, i) for i in range(len(real))]
    rng = np.random.default_rng(0)
    samples = real.values.shape[1]
    drawn = model.generate(asked, len(asked), rng, samples, Sampling(steps))
    # What was not measured of the real ones must not tell the two apart.
    drawn[:, :, np.isnan(real.values).all(axis=(0, 1))] = np.nan
    return Windows(drawn, real.numbers, real.style, real.person, real.name, real.start)


def _joined(parts: Sequence[Windows]) -> Windows:
    names = ("values", "numbers", "style", "person", "name", "start")
    return Windows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _named(style: int | None) -> str:
    if style is None:
        return "all"
    return STYLES[style] if style >= 0 else "not known"
