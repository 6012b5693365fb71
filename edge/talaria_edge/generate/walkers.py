"""People who do not exist, walking: drawn by a generative model, with a body, forces and sensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.virtual_imu import GRAVITY_MS2, Reading, SensorParams
from talaria_edge.generate.body import Body, body_of
from talaria_edge.generate.contract import GeneratorSpec
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import CHANNELS, FORCES, NUMBERS, RATE_HZ, WINDOW, Conditions
from talaria_edge.generate.sampler import Sampling
from talaria_edge.generate.worn import SUB02, sense_body
from talaria_edge.kinematics import SIDES

Floats = NDArray[np.float32]

SWIFT = Sampling(steps=10)
"""Enough for a walker; twice as many change little and take twice as long."""
_START_S = 1.5  # from standing to walking
AT_ONCE = 32
"""People whose walks are drawn together, and so from the same random numbers."""
_APART = np.array([0.06, 0.04, 0.03, 0.08])
"""How far drawn people are from those seen: shares of speed, cadence, height and mass (one SD, cut at two)."""
_FLESH = 0.3
"""Spread of how thick the flesh under the sensors is, against that of the one person in whom it was found."""
_WITHIN_SD = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Walker:
    """Someone who does not exist.

    Attributes
    ----------
    name : str
    conditions : Conditions
        Body size, and what pace was asked for.
    values : ndarray of float32, shape (T, len(CHANNELS))
        Movement and forces at `RATE_HZ`, standing first.
    body : Body
    readings : dict of slot to Reading
        What the sensors read.
    """

    name: str
    conditions: Conditions
    values: Floats
    body: Body
    readings: dict[str, Reading]


@dataclass(frozen=True, slots=True)
class Outing:
    """What walkers do, and what they wear.

    Attributes
    ----------
    seconds : float
        Of each, standing included.
    stand_s : float
        Quiet standing before the walk; 0 begins in mid-stride.
    style : str
        One of the styles that the model has seen.
    slots : tuple of str
        Where sensors are worn.
    sensors : SensorParams
        Their noise, bias, range and mounting; the flesh under them is each person's own.
    """

    seconds: float = 20.0
    stand_s: float = 3.0
    style: str = "walking"
    slots: tuple[str, ...] = LEG_SLOTS
    sensors: SensorParams = field(default_factory=SensorParams)


def draw_walkers(
    model: Generator, count: int, seed: int, outing: Outing | None = None, first: int = 0
) -> Iterator[Walker]:
    """Draw people and let each stand, then walk.

    Parameters
    ----------
    model : Generator
    count : int
    seed : int
        Same seed and count, same people.
    outing : Outing, optional
    first : int
        Begin with this one, a multiple of `AT_ONCE`, as if those before had been drawn: so that several
        processes draw what one would.

    Raises
    ------
    ConfigError
        If the length leaves no window of walking, or the model has not seen the style.
    """
    outing = outing or Outing()
    check_outing(model.spec, count, outing)
    samples = round((outing.seconds - outing.stand_s) * RATE_HZ)
    for start in range(first, first + count, AT_ONCE):
        some = range(start, min(start + AT_ONCE, first + count))
        people = [
            draw_person(model.spec, np.random.default_rng([seed, n, 1]), outing.style) for n in some
        ]
        rng = np.random.default_rng([seed, start, 2])
        walks = model.generate(people, len(people), rng, samples, SWIFT)
        for n, conditions, walk in zip(some, people, walks, strict=True):
            yield _walker(n, seed, conditions, walk, outing)


def check_outing(spec: GeneratorSpec, count: int, outing: Outing) -> None:
    """Refuse an outing that leaves no window of walking, and a style that the model has not seen.

    Raises
    ------
    ConfigError
    """
    shortest_s = outing.stand_s + WINDOW / RATE_HZ
    if count < 1 or outing.seconds < shortest_s:
        raise ConfigError(
            f"{count} walkers of {outing.seconds:g} s with {outing.stand_s:g} s of standing cannot be drawn: "
            f"ask for one or more, and for {shortest_s:g} s or more."
        )
    draw_person(spec, np.random.default_rng(0), outing.style)


def draw_person(spec: GeneratorSpec, rng: np.random.Generator, style: str) -> Conditions:
    """Draw a body size and a pace near those of someone whom a model has seen move in one style.

    Raises
    ------
    ConfigError
        If it has seen nobody of known size do so.
    """
    sized = [who.numbers for who in spec.seen if who.style == style and None not in who.numbers]
    if not sized:
        known = ", ".join(dict.fromkeys(w.style for w in spec.seen if None not in w.numbers))
        raise ConfigError(
            f"{spec.model_id} has seen nobody of known size do {style!r}: ask for {known or 'another model'}."
        )
    near = np.array(sized[int(rng.integers(len(sized)))], dtype=float)
    drawn = near * np.exp(
        _APART * np.clip(rng.standard_normal(len(NUMBERS)), -_WITHIN_SD, _WITHIN_SD)
    )
    speed, stride, height, mass = (float(v) for v in drawn)
    return Conditions(speed, stride, height, mass, style)


def standing_first(walk: Floats, stand_s: float) -> Floats:
    """Let a walk begin in quiet standing, with steps that grow over the first second and a half."""
    if not stand_s:
        return walk
    stands = np.zeros(len(CHANNELS), np.float32)
    stands[[CHANNELS.index(name) for name in FORCES if "_vertical_" in name]] = 0.5
    grown = np.clip(np.arange(len(walk)) / (_START_S * RATE_HZ), 0.0, 1.0)[:, None]
    grown = grown * grown * (3.0 - 2.0 * grown)
    begun = stands + grown * (walk - stands)
    _push_off(begun, walk, grown[:, 0])
    still = np.repeat(stands[None], round(stand_s * RATE_HZ), axis=0)
    return np.concatenate([still, begun]).astype(np.float32)


def _push_off(begun: Floats, walk: Floats, grown: NDArray[np.float64]) -> None:
    """Add the forward force that a start takes, in place, to the feet as they carry the weight."""
    forward = walk[:, CHANNELS.index("velocity_forward")]
    rise_ms2 = np.gradient(grown) * RATE_HZ * forward
    vertical, anterior = (
        [CHANNELS.index(f"grf_{axis}_{side}") for side in SIDES]
        for axis in ("vertical", "anterior")
    )
    carried = np.clip(begun[:, vertical], 0.0, None)
    share = carried / np.maximum(carried.sum(axis=1, keepdims=True), 0.1)
    begun[:, anterior] += (share * (rise_ms2 / GRAVITY_MS2)[:, None]).astype(np.float32)


def _walker(number: int, seed: int, conditions: Conditions, walk: Floats, outing: Outing) -> Walker:
    rng = np.random.default_rng([seed, number, 3])
    name = f"W{number + 1:04d}"
    values = standing_first(walk, outing.stand_s)
    # Someone who stands for a while does not go at the walk's speed on average: velocities tell.
    pace = replace(conditions, speed_ms=float("nan")) if outing.stand_s else conditions
    body = body_of(values, pace, name)
    size = float(np.exp(_FLESH * np.clip(rng.standard_normal(), -_WITHIN_SD, _WITHIN_SD)))
    worn = {segment: tissue.worn(outing.sensors, size) for segment, tissue in SUB02.items()}
    readings = sense_body(body, worn, int(rng.integers(2**31)), outing.slots)
    return Walker(name, conditions, values, body, readings)
