"""How far a foot has travelled between two moments of rest: inertial dead reckoning, one step at a time.

While a foot stands it does not move. From the calmest instant of one stance to that of the next its
specific force is turned into the frame the foot had at the first, freed of gravity, and integrated
twice; what is left of the velocity at the second cannot be real and is taken out as if it had grown
evenly. No heading is needed, because the frame is the foot's own, and no world either: on a treadmill
the belt is the frame, and the length is what the foot covered on the belt.

All of it is plain floats: for three numbers at a time numpy takes five times as long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from talaria_bridge.samples import Vec3

Matrix = tuple[Vec3, Vec3, Vec3]
"""Rows of a 3 by 3 matrix."""

_GRAVITY_MS2 = 9.81
_NOTHING: Vec3 = (0.0, 0.0, 0.0)
_UNTURNED: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class TravelParams:
    """What counts as rest.

    Attributes
    ----------
    window_s : float
        Rest is judged over so long, centred: readings are looked at half of this late.
    rest_rads : float
        A stance whose calmest window turns faster than this (root mean square) has no rest in it.
    settle_s : float
        A rest is taken for the calmest of its stance once nothing calmer followed for so long.
    """

    window_s: float = 0.08
    rest_rads: float = 1.0
    settle_s: float = 0.3


@dataclass(frozen=True, slots=True)
class FootReading:
    """One foot at one tick, segment frame: specific force, angular rate, world up."""

    t_s: float
    acc_ms2: Vec3
    gyr_rads: Vec3
    up: Vec3

    @property
    def is_finite(self) -> bool:
        """Whether every vector is a number."""
        return math.isfinite(sum(self.acc_ms2) + sum(self.gyr_rads) + sum(self.up))


@dataclass(frozen=True, slots=True)
class Travel:
    """Motion of one foot since a rest, in the frame the foot had then.

    Attributes
    ----------
    start_s, t_s : float
        The rest, and the last reading.
    up : tuple of 3 floats
        World up at the rest, in this frame.
    offset_ms2 : tuple of 3 floats
        What the accelerometer showed beyond gravity at the rest, in the frame of the moving foot.
    turn : 3 rows of 3 floats
        Maps vectors of the foot as it is now into this frame.
    gyr_rads : tuple of 3 floats
        Last rate of the foot.
    free_ms2, speed_ms, way_m : tuple of 3 floats
        Acceleration, velocity and displacement by plain integration.
    """

    start_s: float
    t_s: float
    up: Vec3
    offset_ms2: Vec3
    turn: Matrix
    gyr_rads: Vec3
    free_ms2: Vec3
    speed_ms: Vec3
    way_m: Vec3

    @classmethod
    def begin(cls, reading: FootReading, resting_ms2: Vec3) -> Travel:
        """Set out from a rest at which the accelerometer showed `resting_ms2` on average."""
        return cls(
            reading.t_s,
            reading.t_s,
            reading.up,
            _plus(resting_ms2, -_GRAVITY_MS2, reading.up),
            _UNTURNED,
            reading.gyr_rads,
            _plus(reading.acc_ms2, -1.0, resting_ms2),
            _NOTHING,
            _NOTHING,
        )

    def advance(self, reading: FootReading) -> Travel:
        """Go on by one reading, by the trapezoidal rule; time steps may differ."""
        half_s = 0.5 * (reading.t_s - self.t_s)
        turn = _turned_on(self.turn, _sum_times(self.gyr_rads, reading.gyr_rads, half_s))
        force = _apply(turn, _plus(reading.acc_ms2, -1.0, self.offset_ms2))
        free = _plus(force, -_GRAVITY_MS2, self.up)
        speed = _plus(self.speed_ms, 1.0, _sum_times(self.free_ms2, free, half_s))
        way = _plus(self.way_m, 1.0, _sum_times(self.speed_ms, speed, half_s))
        return Travel(
            self.start_s,
            reading.t_s,
            self.up,
            self.offset_ms2,
            turn,
            reading.gyr_rads,
            free,
            speed,
            way,
        )

    @property
    def length_m(self) -> float:
        """Horizontal distance from the rest, if the foot is at rest again now."""
        # A velocity error that grew evenly to its last value has displaced the foot by half of that.
        way = _plus(self.way_m, -0.5 * (self.t_s - self.start_s), self.speed_ms)
        return math.hypot(*_plus(way, -_dot(way, self.up), self.up))


@dataclass(frozen=True, slots=True)
class TravelMemory:
    """What one foot's journey carries from tick to tick.

    Attributes
    ----------
    recent : tuple of FootReading
        The last window.
    on_ground : bool
    travel, fresh : Travel or None
        Since the rest of the stance before this one, and since the calmest instant of this one.
    calm_rads2 : float
        Mean squared rate at that instant.
    length_m : float
        From the one rest to the other; NaN while there is none.
    """

    recent: tuple[FootReading, ...] = ()
    on_ground: bool = False
    travel: Travel | None = None
    fresh: Travel | None = None
    calm_rads2: float = math.inf
    length_m: float = math.nan


class FootTravel:
    """Streaming stride length of one foot, from rest to rest.

    Parameters
    ----------
    rate_hz : float
        Rate of the ticks, for the number of readings in a window; times are the readings' own.
    params : TravelParams, optional

    Notes
    -----
    Zero-velocity updates as surveyed by Skog, Händel, Nilsson and Rantakokko (2010), "Zero-velocity
    detection: an algorithm evaluation", IEEE Trans. Biomed. Eng. 57(11), with the angular-rate energy
    as the detector. Deviations: the calmest instant of a stance is taken and not every instant below
    a threshold; between two rests the velocity is corrected linearly instead of by a Kalman smoother;
    the accelerometer's deviation from gravity at rest is taken for an offset of the sensor. The last
    is what keeps a foot sensor that reads 12.2 m/s² at rest (CapSense's left one) from stretching
    every stride by 5 %.
    """

    def __init__(self, rate_hz: float, params: TravelParams | None = None) -> None:
        self.params = params or TravelParams()
        self._width = max(2, round(self.params.window_s * rate_hz))
        self.reset()

    def reset(self) -> None:
        """Forget the foot."""
        self.state = TravelMemory()

    @property
    def state(self) -> TravelMemory:
        """What is carried; assign it back to resume."""
        return self._memory

    @state.setter
    def state(self, value: TravelMemory) -> None:
        self._memory = value

    def land(self) -> None:
        """Take note that the foot met the ground: it may come to rest now."""
        self.lift()
        self._memory = replace(self._memory, on_ground=True)

    def lift(self) -> None:
        """Take note that the foot left the ground: the calmest instant so far was its rest."""
        m = self._memory
        travel = m.fresh if m.on_ground else m.travel
        self._memory = TravelMemory(m.recent, travel=travel)

    @property
    def length_m(self) -> float:
        """From the rest of the last stance to the calmest instant of this one, NaN if unknown."""
        return self._memory.length_m

    @property
    def settled(self) -> bool:
        """Whether the foot has been at rest in this stance, and is about to roll on."""
        m = self._memory
        return m.fresh is not None and m.fresh.t_s - m.fresh.start_s >= self.params.settle_s

    def update(self, reading: FootReading | None) -> None:
        """Advance by one tick; None (or a reading that is not finite) breaks the journey off."""
        m = self._memory
        if reading is None or not reading.is_finite:
            self._memory = TravelMemory(on_ground=m.on_ground)
            return
        recent = (*m.recent[-self._width + 1 :], reading)
        if len(recent) < self._width:
            self._memory = replace(m, recent=recent)
            return
        now = recent[self._width // 2]
        travel = None if m.travel is None else m.travel.advance(now)
        fresh = None if m.fresh is None else m.fresh.advance(now)
        m = TravelMemory(recent, m.on_ground, travel, fresh, m.calm_rads2, m.length_m)
        self._memory = self._rest(m, now) if m.on_ground else m

    def _rest(self, m: TravelMemory, now: FootReading) -> TravelMemory:
        count = len(m.recent)
        calm = sum(_dot(r.gyr_rads, r.gyr_rads) for r in m.recent) / count
        if calm > min(m.calm_rads2, self.params.rest_rads**2):
            return m
        x, y, z = (sum(axis) / count for axis in zip(*(r.acc_ms2 for r in m.recent), strict=True))
        length = math.nan if m.travel is None else m.travel.length_m
        return replace(m, fresh=Travel.begin(now, (x, y, z)), calm_rads2=calm, length_m=length)


def _dot(a: Vec3, b: Vec3) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _plus(a: Vec3, times: float, b: Vec3) -> Vec3:
    return (a[0] + times * b[0], a[1] + times * b[1], a[2] + times * b[2])


def _sum_times(a: Vec3, b: Vec3, times: float) -> Vec3:
    return ((a[0] + b[0]) * times, (a[1] + b[1]) * times, (a[2] + b[2]) * times)


def _apply(matrix: Matrix, v: Vec3) -> Vec3:
    first, second, third = matrix
    return (_dot(first, v), _dot(second, v), _dot(third, v))


def _turned_on(matrix: Matrix, vector_rad: Vec3) -> Matrix:
    """Turn a frame on by a rotation vector, given in the frame (Rodrigues)."""
    x, y, z = vector_rad
    angle = math.sqrt(x * x + y * y + z * z)
    if angle < 1e-8:  # noise of a still foot: the series' first term is exact to 1e-16
        first, second = 1.0, 0.0
    else:
        first, second = math.sin(angle) / angle, (1.0 - math.cos(angle)) / (angle * angle)
    sx, sy, sz = first * x, first * y, first * z
    xy, xz, yz = second * x * y, second * x * z, second * y * z
    xx, yy, zz = second * x * x, second * y * y, second * z * z
    a, b, c = 1.0 - yy - zz, xy - sz, xz + sy
    d, e, f = xy + sz, 1.0 - xx - zz, yz - sx
    g, h, i = xz - sy, yz + sx, 1.0 - xx - yy
    (p, q, r), (s, t, u), (v, w, k) = matrix
    return (
        (p * a + q * d + r * g, p * b + q * e + r * h, p * c + q * f + r * i),
        (s * a + t * d + u * g, s * b + t * e + u * h, s * c + t * f + u * i),
        (v * a + w * d + k * g, v * b + w * e + k * h, v * c + w * f + k * i),
    )
