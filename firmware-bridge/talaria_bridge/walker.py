"""How a simulated person's legs move: smooth joint angles on a rigid chain, feet that stay put.

The joint curves are Fourier series through hand-chosen points of textbook adult gait (Winter 2009,
*Biomechanics and Motor Control of Human Movement*; Perry & Burnfield 2010, *Gait Analysis*), moved
by a degree or two where that makes the pelvis travel more evenly, and timed (hip swing, heel rise)
after the angular rates of the CapSense recordings (MIT, opearl-cmu/CapacitiveSensingDataset). Two
things are then solved rather than prescribed, because detectors downstream rely on them:

* the foot lies flat and does not rotate from 10 % to 34 % of its cycle, so the ankle follows from
  the rest of the leg there (and takes up the few degrees of inversion and turn that a bare hinge
  would force on the foot; a real subtalar joint does the same);
* the pelvis is carried by whichever foot stands, which rolls over heel and ball without slipping.

Frames: world z up, walking towards +x at heading 0; segments x anterior, y superior, z to the
wearer's right. ``femur = pelvis Rz(flexion) Rx(s adduction) Ry(s rotation)``, ``tibia = femur
Rz(-knee)``, ``foot = tibia Rz(ankle) Rx(.) Ry(.)`` with s = +1 right, -1 left, so that adduction
(towards the midline) and internal rotation are positive on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from talaria_bridge.virtual_imu import Array, SensorParams

SIDES = {"r": 1.0, "l": -1.0}
"""Sign that mirrors adduction and rotation onto each leg."""

FINAL_CONTACT = 0.62
"""Share of the cycle at which the foot leaves the ground; initial contact is at 0."""

FOOT_FLAT = (0.10, 0.34)
"""Share of the cycle between which the foot lies flat and still; the heel then leaves slowly."""

START_PHASE = 0.55
"""Where in the right leg's cycle the first step begins: just before the right foot lifts."""

UPRIGHT = Rotation.from_matrix([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""Segment to world for somebody who stands upright and faces world +x."""

# (share of the right cycle, degrees); 0 = right initial contact.
_KEY_POINTS: dict[str, tuple[tuple[float, float], ...]] = {
    "hip_flexion": (
        (0.00, 25), (0.08, 23), (0.15, 18.5), (0.25, 9), (0.35, -0.5), (0.45, -8),
        (0.52, -10), (0.57, -8), (0.62, -0.5), (0.68, 10.5), (0.75, 22.5), (0.82, 29),
        (0.88, 31), (0.94, 28.5),
    ),
    "knee_angle": (
        (0.00, 6), (0.05, 9.5), (0.13, 16), (0.20, 15), (0.30, 9), (0.40, 5),
        (0.47, 6.5), (0.54, 18), (0.60, 36), (0.66, 52.5), (0.72, 60), (0.78, 54),
        (0.84, 38), (0.90, 17), (0.95, 7),
    ),
    "ankle_angle": (
        (0.00, 0), (0.04, -4.5), (0.08, -3.5), (0.15, -1), (0.25, 5), (0.35, 9.5),
        (0.45, 10.5), (0.51, 7), (0.56, -5.5), (0.62, -18), (0.68, -11), (0.75, -3.5),
        (0.82, 1), (0.90, 2),
    ),
    "hip_adduction": (
        (0.00, -0.5), (0.10, 2.5), (0.20, 4.5), (0.35, 2.5), (0.50, -1), (0.60, -3.5),
        (0.70, -6.5), (0.85, -3.5),
    ),
    "hip_rotation": (
        (0.00, -3.5), (0.15, -3.5), (0.30, 1), (0.45, 4), (0.55, 2.5), (0.70, -3),
        (0.85, -4),
    ),
    "pelvis_tilt": (
        (0.00, -4.6), (0.12, -3.6), (0.25, -3.2), (0.38, -4.4),
        (0.50, -4.6), (0.62, -3.6), (0.75, -3.2), (0.88, -4.4),
    ),
    "pelvis_list": (
        (0.00, -0.5), (0.18, -4.5), (0.35, -2.5), (0.50, 0), (0.68, 4), (0.85, 2),
    ),
    "pelvis_rotation": ((0.00, 4), (0.25, 0.5), (0.50, -4), (0.75, -0.5)),
}  # fmt: skip
_HARMONICS = 8


@dataclass(frozen=True, slots=True)
class WalkerParams:
    """One person and one walk; the defaults are a middle-sized adult at about 1.0 m/s.

    ``*_scale`` multiply a joint's whole curve, ``*_offset_deg`` shift it while walking, and
    ``standing_flexion_deg`` bends the knees in quiet standing, which otherwise is all angles zero.
    ``stiff_knee`` runs from 0 (normal) to 1 (the knees hardly bend; hips abduct to clear the foot).
    ``cadence_drift``, ``stride_variability`` and ``amplitude_variability`` are relative sizes,
    ``asymmetry`` the relative difference of left over right. ``turn_deg`` (positive left) is one
    slow turn of ``turn_s`` that starts at ``turn_start_s``.
    """

    seconds: float = 60.0
    rate_hz: float = 100.0
    stand_s: float = 3.0
    start_s: float = 2.0
    height_m: float = 1.72
    cadence_steps_min: float = 108.0
    cadence_drift: float = 0.02
    stride_variability: float = 0.02
    amplitude_variability: float = 0.03
    asymmetry: float = 0.03
    hip_scale: float = 1.0
    knee_scale: float = 1.0
    ankle_scale: float = 1.0
    frontal_scale: float = 1.0
    pelvis_scale: float = 1.0
    hip_offset_deg: float = 0.0
    knee_offset_deg: float = 0.0
    ankle_offset_deg: float = 0.0
    hip_rotation_offset_deg: float = 0.0
    standing_flexion_deg: float = 0.0
    stiff_knee: float = 0.0
    sway_deg: float = 0.3
    heading_wander_deg: float = 2.0
    turn_deg: float = 0.0
    turn_start_s: float = 20.0
    turn_s: float = 6.0
    sensors: SensorParams = field(default_factory=SensorParams)

    @property
    def femur_m(self) -> float:
        """Hip to knee, from body height (Winter 2009, table 4.1)."""
        return 0.245 * self.height_m

    @property
    def tibia_m(self) -> float:
        """Knee to ankle, from body height (Winter 2009, table 4.1)."""
        return 0.246 * self.height_m


@dataclass(frozen=True, slots=True, eq=False)
class BodyMotion:
    """The rigid skeleton's motion on a fine time grid of N instants.

    Attributes
    ----------
    t_s : (N,) seconds.
    phase : per side, (N,) cycles; whole numbers are initial contacts.
    ramp : (N,) 0 in standing to 1 in full walking.
    angles_rad : per OpenSim joint name, (N,) rad.
    world_segment : per slot, N rotations from segment to world.
    origin_m : per slot, (N, 3) world position of the segment's proximal joint, m.
    """

    t_s: Array
    phase: dict[str, Array]
    ramp: Array
    angles_rad: dict[str, Array]
    world_segment: dict[str, Rotation]
    origin_m: dict[str, Array]


def smoothstep(x: Array) -> Array:
    """Rise from 0 to 1 over 0 <= x <= 1 with three continuous derivatives."""
    x = np.clip(x, 0.0, 1.0)
    return x**4 * (35 - 84 * x + 70 * x**2 - 20 * x**3)


def smooth_noise(rng: np.random.Generator, t_s: Array, period_s: float) -> Array:
    """Random wander of about unit size, bounded by 2, that changes on the scale of `period_s`."""
    knots = np.arange(t_s[0] - 2 * period_s, t_s[-1] + 3 * period_s, period_s)
    wander = CubicSpline(knots, rng.standard_normal(len(knots)))(t_s)
    return np.asarray(2 * np.tanh(wander / 2))


@cache
def _fourier(name: str) -> tuple[complex, ...]:
    share, value_deg = np.array([*_KEY_POINTS[name], (1.0, _KEY_POINTS[name][0][1])]).T
    curve = CubicSpline(share, np.radians(value_deg), bc_type="periodic")
    series = np.fft.rfft(curve(np.arange(128) / 128)) / 128
    return tuple(series[:1]) + tuple(2 * series[1 : _HARMONICS + 1])


def gait_curve(name: str, phase: Array) -> Array:
    """Evaluate a joint's normative curve (rad) at `phase` cycles; all derivatives continuous."""
    return np.asarray(np.polyval(_fourier(name)[::-1], np.exp(2j * np.pi * phase)).real)


def _cycle(phase: Array) -> Array:
    """Share of the cycle, from -0.25 (late swing) to 0.75, so that stance lies unbroken in it."""
    return np.asarray((phase + 0.25) % 1.0 - 0.25)


def _stance(phase: Array, lands: float) -> Array:
    """1 while the foot lies flat, blended in from `lands` and out over the push-off."""
    x = _cycle(phase)
    return smoothstep((x - lands) / (FOOT_FLAT[0] - lands)) * (
        1 - smoothstep((x - FOOT_FLAT[1]) / 0.22)
    )


def _phase(params: WalkerParams, t_s: Array, rng: np.random.Generator) -> Array:
    stride_s = 120.0 / params.cadence_steps_min
    drift = params.cadence_drift * smooth_noise(rng, t_s, 12.0)
    jitter = params.stride_variability * smooth_noise(rng, t_s, stride_s)
    strides_hz = smoothstep((t_s - params.stand_s) / 0.8) * (1 + drift + jitter) / stride_s
    return START_PHASE + np.asarray(cumulative_trapezoid(strides_hz, t_s, initial=0.0))


def _heading(params: WalkerParams, t_s: Array, rng: np.random.Generator) -> Array:
    wander = np.radians(params.heading_wander_deg) * smooth_noise(rng, t_s, 6.0)
    turn = np.radians(params.turn_deg) * smoothstep((t_s - params.turn_start_s) / params.turn_s)
    return np.asarray(wander * smoothstep((t_s - params.stand_s) / 4.0) + turn)


def _foot_heading(heading: Array, phase: Array) -> Array:
    """Heading of a foot: the body's at its mid-stance, held while it stands, moved in swing."""
    x = phase - 0.25
    stride = np.floor(x).astype(int)
    first = stride[0]
    planted = np.interp(np.arange(first, stride[-1] + 2), x, heading)
    here, there = planted[stride - first], planted[stride - first + 1]
    return np.asarray(here + (there - here) * smoothstep((x - stride - 0.40) / 0.30))


def _prescribed(
    params: WalkerParams, side: str, t_s: Array, phase: Array, ramp: Array, rng: np.random.Generator
) -> dict[str, Array]:
    """One leg's joint angles before the foot is laid flat, keyed without the side."""
    uneven = 1 - SIDES[side] * params.asymmetry / 2
    stride_s = 120.0 / params.cadence_steps_min
    bend = params.standing_flexion_deg
    stiff = params.stiff_knee
    # per joint: scale of the curve, offset while walking, angle in standing (both degrees)
    table = {
        "hip_flexion": (params.hip_scale, params.hip_offset_deg, bend / 2),
        "knee_angle": (params.knee_scale * (1 - 0.8 * stiff), params.knee_offset_deg, bend),
        "ankle_angle": (params.ankle_scale, params.ankle_offset_deg, bend / 2),
        "hip_adduction": (params.frontal_scale, 0.0, 0.0),
        "hip_rotation": (params.frontal_scale, params.hip_rotation_offset_deg, 0.0),
    }
    angles = {}
    for name, (scale, offset, standing) in table.items():
        gain = (
            scale * uneven * (1 + params.amplitude_variability * smooth_noise(rng, t_s, stride_s))
        )
        walking = gain * gait_curve(name, phase) + np.radians(offset)
        angles[name] = np.radians(standing) * (1 - ramp) + walking * ramp
    swing = smoothstep((_cycle(phase + 0.5) - 0.12) / 0.14) * smoothstep(
        (0.42 - _cycle(phase + 0.5)) / 0.14
    )
    angles["hip_adduction"] -= np.radians(6.0) * stiff * ramp * swing
    return angles


def _pelvis(
    params: WalkerParams, phase: Array, ramp: Array, heading: Array, sway: Array
) -> Rotation:
    size = params.pelvis_scale * ramp
    turn = heading + size * gait_curve("pelvis_rotation", phase)
    lean = size * gait_curve("pelvis_list", phase)
    tilt = size * gait_curve("pelvis_tilt", phase) - sway / 2
    return UPRIGHT * Rotation.from_euler("YXZ", np.stack([turn, lean, tilt], axis=1))


def _flat_foot(tibia: Rotation, ankle: Array, heading: Array, free: Array) -> Rotation:
    """Foot that follows its ankle where `free` is 1 and lies flat along `heading` where it is 0."""
    ground = UPRIGHT * Rotation.from_euler("Y", heading[:, None])
    hinged = tibia * Rotation.from_euler("Z", ankle[:, None])
    turn_roll_pitch = (ground.inv() * hinged).as_euler("YXZ")
    return ground * Rotation.from_euler("YXZ", free[:, None] * turn_roll_pitch)


def _leg_points(params: WalkerParams, side: str, segments: dict[str, Rotation]) -> dict[str, Array]:
    """Joint centres of one leg from the middle of the hips, m, world axes."""
    hip = segments["pelvis"].apply([0.0, 0.0, SIDES[side] * 0.05 * params.height_m])
    knee = hip + segments[f"femur_{side}"].apply([0.0, -params.femur_m, 0.0])
    ankle = knee + segments[f"tibia_{side}"].apply([0.0, -params.tibia_m, 0.0])
    return {f"femur_{side}": hip, f"tibia_{side}": knee, f"calcn_{side}": ankle}


def _pivot(params: WalkerParams, phase: Array) -> Array:
    """Point of the sole that stands on the ground, in the foot's frame: heel, later the ball."""
    heel, ball = np.array([-0.030, -0.039, 0.0]), np.array([0.075, -0.039, 0.0])
    roll = smoothstep((_cycle(phase) - 0.12) / 0.28)[:, None]
    return np.asarray((heel + roll * (ball - heel)) * params.height_m)


def _carried(
    params: WalkerParams, points: dict[str, Array], feet: dict[str, Rotation],
    phase: dict[str, Array], walking: Array, t_step_s: float,
) -> Array:  # fmt: skip
    """World path (N, 3) of the pelvis that keeps the standing foot where it stands."""
    share = {s: 0.5 * (1 - walking) + walking * _stance(phase[s], lands=-0.08) for s in SIDES}
    total = share["r"] + share["l"]
    path = np.zeros((len(walking), 3))
    for side in SIDES:
        weight = (share[side] / total)[:, None]
        pivot, ankle, axes = _pivot(params, phase[side]), points[side], feet[side].as_matrix()
        # Across the ground velocities are blended: the two feet need not agree on a position.
        middle = (pivot[1:] + pivot[:-1]) / 2
        step = np.diff(ankle, axis=0) + np.einsum("nij,nj->ni", np.diff(axes, axis=0), middle)
        path[1:, :2] -= np.cumsum((weight[1:] + weight[:-1]) / 2 * step, axis=0)[:, :2]
        # Upwards the positions are, so that small disagreements cannot pile up into a climb.
        path[:, 2:] -= weight * (ankle + np.einsum("nij,nj->ni", axes, pivot))[:, 2:]
    # Knees, heel pads and shoes give a little where the load changes over from foot to foot.
    give = 0.02 * 120.0 / params.cadence_steps_min / t_step_s
    path[:, 2] = gaussian_filter1d(path[:, 2], give, mode="nearest")
    return path


def move(params: WalkerParams, t_s: Array, rng: np.random.Generator) -> BodyMotion:
    """Move the skeleton of `params` through the instants `t_s` (evenly spaced, seconds)."""
    phase_r = _phase(params, t_s, rng)
    phase = {"r": phase_r, "l": phase_r + 0.5 + params.asymmetry / 4}
    ramp = smoothstep((t_s - params.stand_s) / params.start_s)
    heading = _heading(params, t_s, rng)
    sway = np.radians(params.sway_deg) * np.stack([smooth_noise(rng, t_s, 1.5) for _ in "xy"])
    segments = {"pelvis": _pelvis(params, phase_r, ramp, heading, sway[0])}
    angles: dict[str, Array] = {}
    points: dict[str, Array] = {}
    feet: dict[str, Rotation] = {}
    for side, sign in SIDES.items():
        leg = _prescribed(params, side, t_s, phase[side], ramp, rng)
        planted = _foot_heading(heading, phase[side])
        leg["hip_flexion"] += sway[0]
        leg["hip_adduction"] += sign * sway[1]
        # In a turn the hip follows the planted foot; half of it is left to the ankle.
        leg["hip_rotation"] += sign * 0.5 * (planted - heading)
        segments |= _leg_segments(params, side, leg, segments["pelvis"], planted, phase[side], ramp)
        ankle = segments[f"tibia_{side}"].inv() * segments[f"calcn_{side}"]
        leg["ankle_angle"] = ankle.as_euler("ZXY")[:, 0]
        angles |= {f"{name}_{side}": value for name, value in leg.items()}
        points |= _leg_points(params, side, segments)
        feet[side] = segments[f"calcn_{side}"]
    walking = smoothstep((t_s - params.stand_s) / 0.5)
    ankles = {side: points[f"calcn_{side}"] for side in SIDES}
    path = _carried(params, ankles, feet, phase, walking, t_s[1] - t_s[0])
    segments["torso"] = _torso(params, phase_r, ramp, heading)
    points["pelvis"] = np.zeros_like(path)
    points["torso"] = segments["pelvis"].apply([-0.03, 0.1, 0.0])
    origin = {slot: path + point for slot, point in points.items()}
    return BodyMotion(t_s, phase, ramp, angles, segments, origin)


def _leg_segments(
    params: WalkerParams, side: str, leg: dict[str, Array], pelvis: Rotation,
    planted: Array, phase: Array, ramp: Array,
) -> dict[str, Rotation]:  # fmt: skip
    sign = SIDES[side]
    hip = np.stack([leg["hip_flexion"], sign * leg["hip_adduction"], sign * leg["hip_rotation"]])
    femur = pelvis * Rotation.from_euler("ZXY", hip.T)
    tibia = femur * Rotation.from_euler("Z", -leg["knee_angle"][:, None])
    along = planted + sign * ramp * np.radians(params.hip_rotation_offset_deg)
    free = ramp * (1 - _stance(phase, lands=-0.02))
    foot = _flat_foot(tibia, leg["ankle_angle"], along, free)
    return {f"femur_{side}": femur, f"tibia_{side}": tibia, f"calcn_{side}": foot}


def _torso(params: WalkerParams, phase: Array, ramp: Array, heading: Array) -> Rotation:
    size = params.pelvis_scale * ramp
    counter = heading - 0.6 * size * gait_curve("pelvis_rotation", phase)
    lean = np.radians(-2.0) * ramp
    return UPRIGHT * Rotation.from_euler("YZ", np.stack([counter, lean], axis=1))
