"""How far a foot has travelled between two moments of rest: inertial dead reckoning, one step at a time.

While a foot stands it does not move. From the calmest instant of one stance to that of the next its
specific force is turned into the frame the foot had at the first, freed of gravity, and integrated
twice; what is left of the velocity at the second cannot be real and is taken out as if it had grown
evenly. No heading is needed, because the frame is the foot's own, and no world either: on a treadmill
the belt is the frame, and the length is what the foot covered on the belt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_GRAVITY_MS2 = 9.81
_WEIGHTLESS: FloatArray = np.zeros(3)


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


@dataclass(frozen=True, slots=True, eq=False)
class FootReading:
    """One foot at one tick, segment frame: specific force, angular rate, world up, each (3,)."""

    t_s: float
    acc_ms2: FloatArray
    gyr_rads: FloatArray
    up: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Travel:
    """Motion of one foot since a rest, in the frame the foot had then.

    Attributes
    ----------
    start_s, t_s : float
        The rest, and the last reading.
    up : ndarray, shape (3,)
        World up at the rest, in this frame.
    offset_ms2 : ndarray, shape (3,)
        What the accelerometer showed beyond gravity at the rest, in the frame of the moving foot.
    turn : ndarray, shape (3, 3)
        Maps vectors of the foot as it is now into this frame.
    gyr_rads : ndarray, shape (3,)
        Last rate of the foot.
    free_ms2, speed_ms, way_m : ndarray, shape (3,)
        Acceleration, velocity and displacement by plain integration.
    """

    start_s: float
    t_s: float
    up: FloatArray
    offset_ms2: FloatArray
    turn: FloatArray
    gyr_rads: FloatArray
    free_ms2: FloatArray
    speed_ms: FloatArray
    way_m: FloatArray

    @classmethod
    def begin(cls, reading: FootReading, resting_ms2: FloatArray) -> Travel:
        """Set out from a rest at which the accelerometer showed `resting_ms2` on average, (3,)."""
        offset = resting_ms2 - _GRAVITY_MS2 * reading.up
        return cls(
            reading.t_s,
            reading.t_s,
            reading.up,
            offset,
            np.eye(3),
            reading.gyr_rads,
            reading.acc_ms2 - resting_ms2,
            _WEIGHTLESS,
            _WEIGHTLESS,
        )

    def advance(self, reading: FootReading) -> Travel:
        """Go on by one reading, by the trapezoidal rule; time steps may differ."""
        step_s = reading.t_s - self.t_s
        turn = self.turn @ _rotation((self.gyr_rads + reading.gyr_rads) * (0.5 * step_s))
        free = turn @ (reading.acc_ms2 - self.offset_ms2) - _GRAVITY_MS2 * self.up
        speed = self.speed_ms + (self.free_ms2 + free) * (0.5 * step_s)
        way = self.way_m + (self.speed_ms + speed) * (0.5 * step_s)
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
        way = self.way_m - self.speed_ms * (0.5 * (self.t_s - self.start_s))
        return float(np.linalg.norm(way - (way @ self.up) * self.up))


@dataclass(frozen=True, slots=True, eq=False)
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
        if reading is None or not _is_finite((reading.acc_ms2, reading.gyr_rads, reading.up)):
            self._memory = TravelMemory(on_ground=m.on_ground)
            return
        recent = (*m.recent[-self._width + 1 :], reading)
        m = replace(m, recent=recent)
        if len(recent) == self._width:
            now = recent[self._width // 2]
            m = replace(
                m,
                travel=None if m.travel is None else m.travel.advance(now),
                fresh=None if m.fresh is None else m.fresh.advance(now),
            )
            m = self._rest(m, now) if m.on_ground else m
        self._memory = m

    def _rest(self, m: TravelMemory, now: FootReading) -> TravelMemory:
        calm = sum(float(r.gyr_rads @ r.gyr_rads) for r in m.recent) / len(m.recent)
        if calm > min(m.calm_rads2, self.params.rest_rads**2):
            return m
        resting = np.mean([r.acc_ms2 for r in m.recent], axis=0)
        length = math.nan if m.travel is None else m.travel.length_m
        return replace(m, fresh=Travel.begin(now, resting), calm_rads2=calm, length_m=length)


def _is_finite(vectors: Iterable[FloatArray]) -> bool:
    return all(math.isfinite(x) for vector in vectors for x in vector.tolist())


def _rotation(vector_rad: FloatArray) -> FloatArray:
    """Return the matrix of a rotation vector (Rodrigues), both shape (3,) and (3, 3)."""
    x, y, z = vector_rad.tolist()
    angle = math.sqrt(x * x + y * y + z * z)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-8:  # noise of a still foot: the series' first term is exact to 1e-16
        return np.asarray(np.eye(3) + cross)
    first = math.sin(angle) / angle
    second = (1.0 - math.cos(angle)) / angle**2
    matrix: FloatArray = np.eye(3) + first * cross + second * (cross @ cross)
    return matrix
