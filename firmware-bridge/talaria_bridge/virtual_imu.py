"""Virtual inertial sensors: what a sensor strapped to a moving bone would read.

Both instruments are derived from one smooth pose: the gyroscope is its exact rate of turn, the
accelerometer its exact second derivative minus gravity. Soft tissue, skin and heel strike move that
*pose*, so both instruments see them alike; bias, noise and clipping are added afterwards.

Springs and shocks are set by hand so that peaks and spectra come near those of the CapSense
recordings (MIT, opearl-cmu/CapacitiveSensingDataset); real sensors still carry more above 5 Hz.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.signal import bilinear, lfilter
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

GRAVITY_MS2 = 9.80665


@dataclass(frozen=True, slots=True)
class SensorParams:
    """What is imperfect about the virtual sensors and how they are worn.

    ``mounting_deg`` is the largest extra rotation, about a random axis, on top of the nominal
    placement. ``soft_tissue`` scales the spring that lets a sensor move against the bone under
    acceleration, ``skin_slide`` the skin's own rotation with the joint angles, and
    ``heel_strike_ms2`` is the height of the impact that each initial contact sends up the leg.
    """

    acc_noise_ms2: float = 0.03
    gyr_noise_rads: float = 0.003
    acc_bias_ms2: float = 0.05
    gyr_bias_rads: float = 0.008
    mounting_deg: float = 25.0
    soft_tissue: float = 1.0
    skin_slide: float = 1.0
    heel_strike_ms2: float = 45.0
    acc_range_ms2: float = 16 * 9.80665
    gyr_range_rads: float = float(np.radians(2000.0))

    @classmethod
    def perfect(cls) -> SensorParams:
        """Sensors without any error, bolted to the bone in their nominal placement."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class _Mount:
    """Nominal place of a sensor, for the right side; the left is its mirror image.

    ``axes`` are the sensor's x, y, z in segment coordinates, ``place`` its position as a share of
    body height. The rest is the flesh in between: a spring of ``spring_hz`` and ``damping``,
    turning the sensor as much as a shift would at ``lever_m``; ``shock`` is the share of a heel
    strike that arrives.
    """

    axes: tuple[tuple[float, float, float], ...]
    place: tuple[float, float, float]
    spring_hz: float
    damping: float
    lever_m: float
    shock: float


_INSTEP_RAD = np.radians(25.0)  # the back of the foot slopes down towards the toes
_ON_INSTEP = (
    (np.cos(_INSTEP_RAD), -np.sin(_INSTEP_RAD), 0.0),
    (0.0, 0.0, -1.0),
    (np.sin(_INSTEP_RAD), np.cos(_INSTEP_RAD), 0.0),
)
_UP, _FRONT, _RIGHT, _BACK, _LEFT = (0, 1, 0), (1, 0, 0), (0, 0, 1), (-1, 0, 0), (0, 0, -1)
_MOUNTS = {
    "torso": _Mount((_UP, _RIGHT, _FRONT), (0.06, 0.15, 0.0), 10.0, 0.5, 0.15, 0.03),
    "pelvis": _Mount((_UP, _LEFT, _BACK), (-0.06, 0.03, 0.0), 10.0, 0.5, 0.15, 0.06),
    "femur": _Mount((_UP, _BACK, _RIGHT), (0.0, -0.14, 0.045), 10.0, 0.35, 0.10, 0.12),
    "tibia": _Mount((_UP, _RIGHT, _FRONT), (0.025, -0.10, 0.0), 16.0, 0.4, 0.05, 0.4),
    "calcn": _Mount(_ON_INSTEP, (0.045, -0.012, 0.0), 25.0, 0.4, 0.06, 1.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Bone:
    """The segment that carries a sensor, at N evenly spaced instants.

    Attributes
    ----------
    slot : str
        Which segment.
    height_m : float
        Of the whole person; the sensor's place scales with it.
    t_s : (N,) seconds.
    pose : N rotations from segment to world.
    origin_m : (N, 3) world position of the segment's proximal joint, m.
    impacts_s : (M,) instants at which a heel strike passes through.
    slide_rad : (N, 3) rotation vector by which the skin turns over the bone, segment axes.
    """

    slot: str
    height_m: float
    t_s: Array
    pose: Rotation
    origin_m: Array
    impacts_s: Array
    slide_rad: Array


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one sensor read at T instants, and its true pose there.

    ``acc_ms2`` and ``gyr_rads`` (T, 3) in the sensor frame; ``q_world_sensor`` (T, 4) scalar first;
    ``position_m`` (T, 3) in the world.
    """

    acc_ms2: Array
    gyr_rads: Array
    q_world_sensor: Array
    position_m: Array


def nominal_mount(slot: str) -> tuple[Rotation, Array]:
    """Nominal sensor axes (sensor to segment) and place (share of body height) on a segment."""
    mount = _MOUNTS[slot.partition("_")[0]]
    axes, place = np.array(mount.axes, dtype=float).T, np.array(mount.place)
    if slot.endswith("_l"):
        # Mirrored positions, but a sensor stays right-handed: y is flipped back.
        mirror = np.diag([1.0, 1.0, -1.0])
        axes, place = mirror @ axes @ np.diag([1.0, -1.0, 1.0]), mirror @ place
    return Rotation.from_matrix(axes), place


def sense(worn: SensorParams, bone: Bone, rng: np.random.Generator, kept: slice) -> Reading:
    """Read the sensor on `bone` at the instants `kept`; `rng` decides mounting, bias and noise."""
    nominal, place = nominal_mount(bone.slot)
    place_m = place * bone.height_m
    axis = rng.standard_normal(3)
    extra = np.radians(worn.mounting_deg) * rng.uniform() * axis / np.linalg.norm(axis)
    shift, twist = _wobble(worn, bone, place_m)
    pose = bone.pose * Rotation.from_rotvec(twist) * (nominal * Rotation.from_rotvec(extra))
    position = bone.origin_m + bone.pose.apply(place_m + shift)
    force, rate, q = instruments(bone.t_s, pose, position, kept)
    acc = _misread(rng, force, worn.acc_bias_ms2, worn.acc_noise_ms2, worn.acc_range_ms2)
    gyr = _misread(rng, rate, worn.gyr_bias_rads, worn.gyr_noise_rads, worn.gyr_range_rads)
    return Reading(acc, gyr, q, position[kept])


def instruments(
    t_s: Array, pose: Rotation, position_m: Array, kept: slice
) -> tuple[Array, Array, Array]:
    """Give exact specific force and angular rate in the frame of `pose`, and its quaternion."""
    q = quaternions(pose)
    path = make_interp_spline(t_s, np.hstack([q, position_m]), k=5)
    velocity, acceleration = path.derivative(1)(t_s[kept]), path.derivative(2)(t_s[kept])
    q, q_dot = q[kept], velocity[:, :4]
    w, v, w_dot, v_dot = q[:, :1], q[:, 1:], q_dot[:, :1], q_dot[:, 1:]
    # Angular rate in the moving frame: twice the vector part of conj(q) q_dot.
    rate = 2 * (w * v_dot - w_dot * v - np.cross(v, v_dot))
    up = np.array([0.0, 0.0, GRAVITY_MS2])
    force = pose[kept].apply(acceleration[:, 4:] + up, inverse=True)
    return force, rate, q


def quaternions(rotation: Rotation) -> Array:
    """Scalar-first quaternions (N, 4) without sign flips from one instant to the next."""
    q = np.asarray(rotation.as_quat(scalar_first=True))
    flips = np.where(np.sum(q[1:] * q[:-1], axis=1) < 0, -1.0, 1.0)
    signs = np.cumprod(np.concatenate([[1.0], flips]))
    return np.asarray(q * signs[:, None])


def skin_slide_rad(slot: str, angles_rad: Mapping[str, Array]) -> Array:
    """Return how the skin turns over a bone with the joints beside it, (N, 3), segment axes.

    The skin of the thigh is pulled along by hip and knee, and lags behind hip rotation most.
    """
    slide = np.zeros((len(next(iter(angles_rad.values()))), 3))
    segment, _, side = slot.partition("_")
    if segment == "femur":
        outwards = 1.0 if side == "r" else -1.0
        slide[:, 0] = outwards * 0.05 * angles_rad[f"knee_angle_{side}"]
        slide[:, 1] = outwards * -0.3 * angles_rad[f"hip_rotation_{side}"]
        slide[:, 2] = -0.06 * angles_rad[f"hip_flexion_{side}"]
    return slide


def _wobble(worn: SensorParams, bone: Bone, place_m: Array) -> tuple[Array, Array]:
    """Shift (m) and turn (rotation vector, rad) of the sensor against its bone, (N, 3) each."""
    mount = _MOUNTS[bone.slot.partition("_")[0]]
    rigid = bone.origin_m + bone.pose.apply(place_m)
    force, _, _ = instruments(bone.t_s, bone.pose, rigid, slice(None))
    # The flesh lags behind the bone; its sag in quiet standing is part of the mounting.
    push = -worn.soft_tissue * (force - force[0])
    push += worn.heel_strike_ms2 * mount.shock * _impacts(bone)
    omega = 2 * np.pi * mount.spring_hz
    b, a = bilinear([1.0], [1.0, 2 * mount.damping * omega, omega**2], fs=1 / bone.t_s[1])
    shift = np.asarray(lfilter(b, a, push, axis=0))
    twist = np.cross(place_m / np.linalg.norm(place_m), shift) / mount.lever_m
    return shift, twist + worn.skin_slide * bone.slide_rad


def _impacts(bone: Bone) -> Array:
    """Pulses (N, 3) of height 1, up and backwards along the segment, just after each contact."""
    pulses = np.zeros(len(bone.t_s))
    for t_s in bone.impacts_s:
        near = slice(*np.searchsorted(bone.t_s, [t_s - 0.04, t_s + 0.08]))
        pulses[near] += np.exp(-0.5 * ((bone.t_s[near] - t_s - 0.02) / 0.006) ** 2)
    return np.asarray(pulses[:, None] * np.array([-0.4, 0.9, 0.0]))


def _misread(
    rng: np.random.Generator, true: Array, bias: float, noise: float, limit: float
) -> Array:
    offset = bias * rng.standard_normal(3)
    measured: Array = np.clip(
        true + offset + noise * rng.standard_normal(true.shape), -limit, limit
    )
    return measured
