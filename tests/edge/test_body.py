"""A generated body stands on its feet, flies by Newton, and carries sensors that read what it does."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_bridge.simulator import simulate_walk
from talaria_bridge.virtual_imu import GRAVITY_MS2, SensorParams
from talaria_bridge.walker import SIDES, UPRIGHT, BodyMotion, WalkerParams, move
from talaria_edge.generate.body import Body, body_of, soles_m
from talaria_edge.generate.motion import CHANNELS, PELVIS, VELOCITY, Conditions, columns
from talaria_edge.generate.worn import BODY_SLOTS, sense_body
from talaria_edge.kinematics import ANGLES

Floats = NDArray[np.float64]

STEADY = WalkerParams(
    seconds=8.0,
    stand_s=0.0,
    start_s=0.5,
    height_m=1.8,
    asymmetry=0.0,
    heading_wander_deg=0.0,
    sensors=SensorParams.perfect(),
)
SIZE = Conditions(height_m=1.8, mass_kg=75.0)
FROM, TO = 250, 700
FEET = [f"grf_vertical_{side}" for side in SIDES]


@cache
def walker() -> BodyMotion:
    return move(STEADY, np.arange(800) / 100, np.random.default_rng([4, 0]))


def true_path() -> Floats:
    return walker().origin_m["pelvis"]


def velocity_of(path: Floats) -> Floats:
    along, left, up = np.gradient(path, 0.01, axis=0).T
    return np.column_stack([along, up, -left])


def angles_only() -> Floats:
    moved = walker()
    values = np.full((800, len(CHANNELS)), np.nan)
    for name in ANGLES:
        values[:, columns([name])[0]] = moved.angles_rad[name]
    pelvis = UPRIGHT.inv() * moved.world_segment["pelvis"]
    values[:, columns(PELVIS)] = pelvis.as_euler("ZXY")
    return values


def with_velocity() -> Floats:
    values = angles_only()
    values[:, columns(VELOCITY)] = velocity_of(true_path())
    return values[FROM:TO]


def with_forces() -> Floats:
    """Forces that move the body as the walker went, shared by the feet that its phases let stand."""
    moved, values = walker(), angles_only()
    total = np.gradient(np.gradient(true_path(), 0.01, axis=0), 0.01, axis=0) / GRAVITY_MS2
    total += [0.0, 0.0, 1.0]
    stands = {s: np.interp((moved.phase[s] + 0.25) % 1 - 0.25, *SHARE) for s in SIDES}
    for side, outwards in SIDES.items():
        share = stands[side] / (stands["r"] + stands["l"])
        for axis, force in zip(
            ("anterior", "lateral", "vertical"),
            (total[:, 0], -outwards * total[:, 1], total[:, 2]),
            strict=True,
        ):
            values[:, columns([f"grf_{axis}_{side}"])[0]] = share * force
    return values[FROM:TO]


SHARE = ([-0.08, 0.10, 0.34, 0.56], [0.0, 1.0, 1.0, 0.0])
"""Of the cycle, and how much the walker lets a foot stand there."""


def path_error_m(body: Body) -> Floats:
    """Largest distance from the walker's path, a constant taken off across the ground."""
    off = body.origin_m["pelvis"] - true_path()[FROM:TO]
    off[:, :2] -= off[:, :2].mean(axis=0)
    return np.abs(off[20:-20]).max(axis=0)


def sole_heights_m(body: Body, side: str) -> Floats:
    return soles_m(body, side)[:, :, 2]


def test_the_pelvis_goes_where_the_walkers_went_by_forces_alone() -> None:
    assert path_error_m(body_of(with_forces(), SIZE)).max() < 0.025


def test_the_pelvis_goes_where_the_walkers_went_by_velocity_alone() -> None:
    assert path_error_m(body_of(with_velocity(), SIZE)).max() < 0.025


def test_a_standing_foot_stays_on_the_ground_and_in_its_place() -> None:
    values = with_forces()
    body = body_of(values, SIZE)
    for side, force in zip(SIDES, values[:, columns(FEET)].T, strict=True):
        stands = force > 0.8
        assert np.abs(sole_heights_m(body, side).min(axis=0)[stands]).max() < 0.02
        foot = np.gradient(body.origin_m[f"calcn_{side}"], 0.01, axis=0)[:, :2]
        flat = stands & (np.abs(np.diff(sole_heights_m(body, side), axis=0)[0]) < 0.005)
        assert flat.sum() > 40
        assert np.median(np.linalg.norm(foot[flat], axis=1)) < 0.05


def test_the_mean_speed_is_the_belts() -> None:
    for speed in (0.9, 1.3):
        body = body_of(with_forces(), replace(SIZE, speed_ms=speed))
        slope = np.polyfit(body.t_s, body.origin_m["pelvis"][:, :2], 1)[0]
        assert np.allclose(slope, [speed, 0.0], atol=1e-6)


def hopping() -> tuple[Floats, NDArray[np.bool_]]:
    """Hops on two flat feet that bend as much as the body sinks; and when they are in the air."""
    deep_m, ground_s = 0.12, 0.35
    start_ms = deep_m * np.pi / ground_s
    air_s = 2 * start_ms / GRAVITY_MS2
    t_s = np.arange(400) / 100 % (ground_s + air_s)
    air = t_s > ground_s
    down = np.where(air, 0.0, np.sin(np.pi * t_s / ground_s))
    leg_m = 0.491 * 1.8
    bend = np.arccos((0.97 * leg_m - deep_m * down) / leg_m)
    values = np.full((400, len(CHANNELS)), np.nan)
    values[:, : len(ANGLES) + len(PELVIS)] = 0.0
    for side in SIDES:
        for name, factor in (("hip_flexion", 1.0), ("knee_angle", 2.0), ("ankle_angle", 1.0)):
            values[:, columns([f"{name}_{side}"])[0]] = factor * bend
    values[:, columns([c for c in CHANNELS if c.startswith("grf")])] = 0.0
    push = 1 + deep_m * (np.pi / ground_s) ** 2 * down / GRAVITY_MS2
    values[:, columns(FEET)] = np.where(air, 0.0, push / 2)[:, None]
    return values, air


def test_a_hopping_body_flies_by_newton_and_lands_on_its_feet() -> None:
    values, air = hopping()
    body = body_of(values, SIZE)
    falls = np.gradient(np.gradient(body.origin_m["pelvis"][:, 2], 0.01), 0.01)
    inside = air & np.roll(air, 4) & np.roll(air, -4)
    inner = slice(60, -60)
    assert np.allclose(falls[inner][inside[inner]], -GRAVITY_MS2, atol=1.5)
    soles = sole_heights_m(body, "r").min(axis=0)[inner]
    assert np.abs(soles[~air[inner]]).max() < 0.025
    assert soles.max() == pytest.approx(0.059, abs=0.02)


def test_a_body_that_has_not_landed_yet_falls_all_the_same() -> None:
    values, air = hopping()
    last = np.flatnonzero(air[1:] < air[:-1])[-1] + 1
    height = body_of(values[:last], SIZE).origin_m["pelvis"][:, 2]
    assert air[last - 15 : last].all()
    assert np.allclose(np.diff(height[last - 15 :], 2) * 1e4, -GRAVITY_MS2, atol=0.5)


def test_sideways_forces_push_to_their_own_side() -> None:
    values = with_forces()
    pushed = values.copy()
    # Half a body weight outwards under the right foot alone, for 0.1 s, while nobody else pushes.
    pushed[200:210, columns(["grf_lateral_r"])] += 0.5
    off = [
        body_of(v, SIZE).origin_m["pelvis"][:, 1] @ np.eye(450)[[199, 205, 211]].T
        for v in (values, pushed)
    ]
    bend = (off[1] - off[0]) @ [1.0, -2.0, 1.0]
    assert bend < 0  # to the right is towards -y


def test_sensors_on_the_body_read_what_the_walkers_own_sensors_read() -> None:
    real = simulate_walk(seed=4, params=STEADY, slots=BODY_SLOTS)
    mine = sense_body(body_of(with_velocity(), SIZE), SensorParams.perfect(), 0, BODY_SLOTS)
    for row, slot in enumerate(BODY_SLOTS):
        inner = slice(30, -30)
        rates = real.gyr_rads[FROM:TO, row][inner], mine[slot].gyr_rads[inner]
        assert np.sqrt(np.mean((rates[0] - rates[1]) ** 2)) < 0.2, slot
        forces = real.acc_ms2[FROM:TO, row][inner], mine[slot].acc_ms2[inner]
        assert np.sqrt(np.mean((forces[0] - forces[1]) ** 2)) < 1.2, slot


def test_what_else_is_worn_changes_no_reading() -> None:
    body = body_of(with_velocity(), SIZE)
    alone = sense_body(body, SensorParams(), 7, ("tibia_l",))["tibia_l"]
    among = sense_body(body, SensorParams(), 7, BODY_SLOTS)["tibia_l"]
    assert np.array_equal(alone.acc_ms2, among.acc_ms2)
    assert not np.array_equal(
        alone.gyr_rads, sense_body(body, SensorParams(), 8, ("tibia_l",))["tibia_l"].gyr_rads
    )


def test_feet_land_when_their_force_begins() -> None:
    values = with_forces()
    body = body_of(values, SIZE)
    for side, force in zip(SIDES, values[:, columns(FEET)].T, strict=True):
        assert len(body.contacts_s[side]) >= 3
        for first in np.searchsorted(body.t_s, body.contacts_s[side] - 1e-6):
            assert force[first] > 0.03
            assert force[first - 1] < 0.03
    assert not any(len(found) for found in body_of(with_velocity(), SIZE).contacts_s.values())


def test_bodies_of_other_sizes_have_other_legs() -> None:
    body = body_of(with_velocity(), replace(SIZE, height_m=1.5))
    thigh = body.origin_m["tibia_r"] - body.origin_m["femur_r"]
    assert np.allclose(np.linalg.norm(thigh, axis=1), 0.245 * 1.5)
    assert isinstance(body.pose["femur_r"], Rotation)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda v: v[:10], "too few for a body"),
        (lambda v: np.where(np.arange(len(CHANNELS)) == 0, np.nan, v), "lacks hip_flexion_r"),
        (lambda v: np.where(np.arange(len(CHANNELS)) > 12, np.nan, v), "neither forces nor"),
        (np.degrees, "degrees"),
    ],
)
def test_a_window_without_a_body_is_refused(spoil: object, said: str) -> None:
    assert callable(spoil)
    with pytest.raises(RecordingError, match=said):
        body_of(spoil(with_velocity()), SIZE)


def test_nobodys_size_and_unknown_places_are_refused() -> None:
    with pytest.raises(RecordingError, match="height"):
        body_of(with_velocity(), Conditions(mass_kg=70.0))
    with pytest.raises(ConfigError, match="torso"):
        sense_body(body_of(with_velocity(), SIZE), SensorParams(), 0, ("torso",))
