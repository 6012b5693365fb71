"""A simulated walker: legs that move like people's, watched by virtual inertial sensors.

The walker is the source behind ``sim:``, the physical ground truth of the tests, and who walks in the
demo where no generative model is. `talaria_bridge.walker` moves the skeleton, `talaria_bridge.virtual_imu`
reads the sensors; here they are put together, and people are drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from talaria_bridge.errors import ConfigError
from talaria_bridge.samples import LEG_SLOTS, SLOTS
from talaria_bridge.virtual_imu import Array, Bone, SensorParams, quaternions, sense, skin_slide_rad
from talaria_bridge.walker import FINAL_CONTACT, SIDES, BodyMotion, WalkerParams, move

__all__ = ["SensorParams", "SimulatedWalk", "WalkerParams", "random_params", "simulate_walk"]

_FINE_HZ = 400.0
"""The pose is computed at least this often, so that its derivatives are exact when sampled."""


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedWalk:
    """What the virtual sensors measured in T samples of S slots, and the truth behind it.

    Attributes
    ----------
    slots : tuple of str
        Places on the body, in the order of the arrays' second axis.
    rate_hz : float
        Samples per second, the same and simultaneous for all slots.
    t_s : (T,) float
        Seconds from 0.
    acc_ms2, gyr_rads : (T, S, 3) float
        Specific force and angular rate in each sensor's own frame.
    angles_rad : dict of (T,) float
        True joint angles by OpenSim name, both sides, OpenSim signs, rad.
    contacts : tuple of (t_s, side, kind)
        True ground contacts in time order; side "r" or "l", kind "initial" or "final". Begins with
        the first step whose movement is at least half of a full one.
    q_world_segment : dict of (T, 4) float
        True bone orientation per slot, scalar first, segment to world.
    q_world_sensor : dict of (T, 4) float
        True sensor orientation per slot, including mounting and wobble.
    origin_m : dict of (T, 3) float
        True world position of each segment's proximal joint, m.
    sensor_m : dict of (T, 3) float
        True world position of each sensor, m.
    params : WalkerParams
        The person who walked.
    """

    slots: tuple[str, ...]
    rate_hz: float
    t_s: Array
    acc_ms2: Array
    gyr_rads: Array
    angles_rad: dict[str, Array]
    contacts: tuple[tuple[float, str, str], ...]
    q_world_segment: dict[str, Array]
    q_world_sensor: dict[str, Array]
    origin_m: dict[str, Array]
    sensor_m: dict[str, Array]
    params: WalkerParams


def random_params(seed: int) -> WalkerParams:
    """Draw a plausible adult: another size, pace, style and way of wearing the sensors per seed."""
    rng = np.random.default_rng([seed, 7])
    pace = rng.uniform(-1.0, 1.0)  # slow people take fewer and shorter steps
    return WalkerParams(
        height_m=float(np.clip(rng.normal(1.71, 0.09), 1.50, 1.95)),
        cadence_steps_min=104 + 12 * pace + rng.normal(0, 3),
        cadence_drift=rng.uniform(0.005, 0.03),
        stride_variability=rng.uniform(0.01, 0.03),
        amplitude_variability=rng.uniform(0.02, 0.05),
        asymmetry=rng.uniform(-0.06, 0.06),
        hip_scale=0.92 + 0.10 * pace + rng.normal(0, 0.04),
        knee_scale=0.96 + 0.05 * pace + rng.normal(0, 0.04),
        ankle_scale=0.95 + 0.10 * pace + rng.normal(0, 0.07),
        frontal_scale=rng.uniform(0.6, 1.3),
        pelvis_scale=rng.uniform(0.6, 1.3),
        hip_offset_deg=rng.normal(0, 3.0),
        knee_offset_deg=float(np.clip(rng.normal(1.5, 2.5), -2.0, 7.0)),
        ankle_offset_deg=rng.normal(0, 2.0),
        hip_rotation_offset_deg=rng.normal(0, 4.0),
        standing_flexion_deg=abs(rng.normal(0, 2.0)),
        heading_wander_deg=rng.uniform(1.0, 3.0),
        sensors=SensorParams(
            soft_tissue=rng.uniform(0.6, 1.5),
            skin_slide=rng.uniform(0.5, 1.5),
            heel_strike_ms2=rng.uniform(20.0, 70.0),
        ),
    )


def simulate_walk(
    seed: int = 0,
    params: WalkerParams | None = None,
    *,
    seconds: float | None = None,
    slots: Sequence[str] = LEG_SLOTS,
) -> SimulatedWalk:
    """Let a person stand, then walk, and record it with virtual sensors.

    Parameters
    ----------
    seed : int
        Decides everything random: without `params` also the person. Same seed, same walk; the
        choice of `slots` changes neither the movement nor the other slots' sensors.
    params : WalkerParams, optional
        The person; `random_params(seed)` if not given.
    seconds : float, optional
        Overrides ``params.seconds``.
    slots : sequence of str
        Any of `SLOTS`, each at most once.

    Raises
    ------
    ConfigError
        If a slot is unknown or repeated, or a duration, rate or body size is not usable.
    """
    params = params or random_params(seed)
    params = params if seconds is None else replace(params, seconds=seconds)
    _check(params, slots)
    finer = int(np.ceil(_FINE_HZ / params.rate_hz))
    count = round(params.seconds * params.rate_hz)
    fine_t_s = np.arange((count - 1) * finer + 1) / (params.rate_hz * finer)
    body = move(params, fine_t_s, np.random.default_rng([seed, 0]))
    kept = slice(None, None, finer)
    readings = {
        slot: sense(
            params.sensors,
            _bone(params, body, slot),
            np.random.default_rng([seed, 100 + SLOTS.index(slot)]),
            kept,
        )
        for slot in slots
    }
    return SimulatedWalk(
        slots=tuple(slots),
        rate_hz=params.rate_hz,
        t_s=fine_t_s[kept],
        acc_ms2=np.stack([r.acc_ms2 for r in readings.values()], axis=1),
        gyr_rads=np.stack([r.gyr_rads for r in readings.values()], axis=1),
        angles_rad={name: angle[kept] for name, angle in body.angles_rad.items()},
        contacts=_contacts(body),
        q_world_segment={slot: quaternions(body.world_segment[slot])[kept] for slot in slots},
        q_world_sensor={slot: r.q_world_sensor for slot, r in readings.items()},
        origin_m={slot: body.origin_m[slot][kept] for slot in slots},
        sensor_m={slot: r.position_m for slot, r in readings.items()},
        params=params,
    )


def _check(params: WalkerParams, slots: Sequence[str]) -> None:
    unknown = [slot for slot in slots if slot not in SLOTS]
    if unknown or not slots or len(set(slots)) != len(slots):
        raise ConfigError(
            f"The simulated walker cannot wear sensors at {', '.join(slots) or 'no place'}, "
            f"because each place must be known and named once: choose from {', '.join(SLOTS)}."
        )
    positive = ("seconds", "rate_hz", "height_m", "cadence_steps_min", "start_s", "turn_s")
    bad = [name for name in positive if not 0 < getattr(params, name) < np.inf]
    if not bad and params.seconds * params.rate_hz < 10:
        bad = ["seconds"]
    if bad:
        values = ", ".join(f"{name} = {getattr(params, name)}" for name in bad)
        raise ConfigError(
            f"A walk cannot be simulated with {values}, because these must be positive and the "
            "walk at least ten samples long: choose larger values."
        )


def _contacts(body: BodyMotion) -> tuple[tuple[float, str, str], ...]:
    events = []
    for side in SIDES:
        phase = body.phase[side]
        for share, kind in ((0.0, "initial"), (FINAL_CONTACT, "final")):
            cycles = np.arange(np.ceil(phase[0] - share), np.floor(phase[-1] - share) + 1) + share
            times = np.interp(cycles, phase, body.t_s)
            walked = np.interp(times, body.t_s, body.ramp) >= 0.5
            events += [(float(t), side, kind) for t in times[walked]]
    return tuple(sorted(events))


def _bone(params: WalkerParams, body: BodyMotion, slot: str) -> Bone:
    side = slot.partition("_")[2]
    impacts = [t for t, foot, kind in _contacts(body) if kind == "initial" and side in {"", foot}]
    return Bone(
        slot=slot,
        height_m=params.height_m,
        t_s=body.t_s,
        pose=body.world_segment[slot],
        origin_m=body.origin_m[slot],
        impacts_s=np.array(impacts),
        slide_rad=skin_slide_rad(slot, body.angles_rad),
    )


def main() -> None:
    """Write the readings of the walk of seed ``argv[1]``, ``argv[2]`` seconds long, to standard output."""
    walk = simulate_walk(int(sys.argv[1]), seconds=float(sys.argv[2]))
    np.savez(
        sys.stdout.buffer,
        t_s=walk.t_s,
        acc_ms2=walk.acc_ms2,
        gyr_rads=walk.gyr_rads,
        rate_hz=walk.rate_hz,
    )


if __name__ == "__main__":
    main()
