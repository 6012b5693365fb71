"""Joint moments of one leg by Newton and Euler, in the sagittal plane.

Axes as in OpenSim: x forward, y up, and turning from x to y is positive. The moments are internal, from
the upper segment on the lower one, and count along OpenSim's coordinates: ``hip_flexion`` and
``ankle_angle`` (dorsiflexion) turn the lower segment forwards-up and are positive, ``knee_angle`` (flexion)
turns it the other way. A push-off is therefore a negative ankle moment, and supporting the body at
the hip in early stance a negative one too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_training.kinetics.segments import FOOT, SHANK, THIGH, Segment

Floats = NDArray[np.float64]

JOINTS = ("hip_flexion", "knee_angle", "ankle_angle")
"""The columns of all moments of one leg."""
MOMENTS = tuple(f"{joint}_moment_{side}" for side in "rl" for joint in JOINTS)
"""The columns of the moments of both legs, N·m per kg of body mass."""
_SIGNS = np.array([1.0, -1.0, 1.0])
_GRAVITY = np.array([0.0, -STANDARD_GRAVITY_MS2])


@dataclass(frozen=True, slots=True, eq=False)
class Leg:
    """Where a leg's joints are over time, metres, each of shape (T, 2): forward, up."""

    rate_hz: float
    hip_m: Floats
    knee_m: Floats
    ankle_m: Floats
    heel_m: Floats
    toe_m: Floats

    def smoothed(self, cutoff_hz: float) -> Leg:
        """Return the leg without what is faster than `cutoff_hz`, fourth order, without delay.

        It looks ahead: for a reference, not for anything live.
        """
        sections = butter(2, cutoff_hz, fs=self.rate_hz, output="sos")  # twice two: there and back
        points = (self.hip_m, self.knee_m, self.ankle_m, self.heel_m, self.toe_m)
        return Leg(self.rate_hz, *(np.asarray(sosfiltfilt(sections, p, axis=0)) for p in points))


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What the ground does to the foot: force (T, 2) in N, and where, (T, 2) in m."""

    force_n: Floats
    centre_m: Floats


@dataclass(frozen=True, slots=True, eq=False)
class JointLoads:
    """Moments (T, 3) in N·m, in `JOINTS`, and the forces (T, 3, 2) in N of the upper segment on the lower."""

    moment_nm: Floats
    force_n: Floats


@dataclass(frozen=True, slots=True)
class LegSegments:
    """Thigh, shank and foot: shares of the body mass, and of their lengths."""

    thigh: Segment = THIGH
    shank: Segment = SHANK
    foot: Segment = FOOT


def joint_loads(
    leg: Leg, ground: Ground, mass_kg: float, segments: LegSegments | None = None
) -> JointLoads:
    """Solve from the foot upwards (Winter 2009, chapter 5).

    Parameters
    ----------
    leg : Leg
        Smooth enough to be differentiated twice; NaN gives NaN.
    ground : Ground
        The centre does not matter where the force is zero, and may be NaN there.
    mass_kg : float
        Of the whole body.
    segments : LegSegments, optional
        De Leva's means by default.
    """
    own = segments or LegSegments()
    # The ends of each segment: from where its centre of mass is measured, to where.
    chain = (
        (own.foot, leg.heel_m, leg.toe_m, leg.ankle_m),
        (own.shank, leg.knee_m, leg.ankle_m, leg.knee_m),
        (own.thigh, leg.hip_m, leg.knee_m, leg.hip_m),
    )
    loaded = np.any(ground.force_n != 0.0, axis=1)
    at = np.where(loaded[:, None], ground.centre_m, leg.ankle_m)
    below_n, below_nm = ground.force_n, np.zeros(len(at))
    moments, forces = [], []
    for segment, start, end, joint in chain:
        mass = segment.mass * mass_kg
        centre = start + segment.centre * (end - start)
        push = mass * (_second(centre, leg.rate_hz) - _GRAVITY) - below_n
        axis = end - start
        spin = _second(np.unwrap(np.arctan2(axis[:, 1], axis[:, 0])), leg.rate_hz)
        inertia = mass * (segment.gyration**2) * (axis**2).sum(axis=1)
        turn = inertia * spin - below_nm - cross(at - centre, below_n) - cross(joint - centre, push)
        moments.append(turn)
        forces.append(push)
        below_n, below_nm, at = -push, -turn, joint
    moment_nm = np.stack(moments[::-1], axis=1) * _SIGNS
    return JointLoads(moment_nm, np.stack(forces[::-1], axis=1))


def cross(a: Floats, b: Floats) -> Floats:
    """Return the moment of b at arm a, shapes (..., 2): positive from x to y."""
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _second(values: Floats, rate_hz: float) -> Floats:
    """Differentiate twice by central differences; the ends repeat their neighbours."""
    inner = (values[2:] - 2.0 * values[1:-1] + values[:-2]) * rate_hz**2
    return np.concatenate([inner[:1], inner, inner[-1:]])
