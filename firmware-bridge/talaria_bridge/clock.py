"""Device microseconds to host seconds, without letting the jitter of arrival into the signal.

A frame arrives at ``host = device + offset + drift·device + delay`` with ``delay`` at least the
shortest the link can do. The frames that were delayed least lie on the lower edge of that cloud, so
the clock fits a line below it: the edge of the lower convex hull that spans the mean (Moon, Skelly
and Towsley 1999, "Estimation and removal of clock skew from network delay measurements"). Unlike
the paper it does so online, over a sliding window of per-bucket minima, and never steps: the time
it serves glides onto the line. The shortest delay itself cannot be known this way: the served time
is late by it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

_WRAP_US = 1 << 32
_S_PER_US = 1e-6
_Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ClockParams:
    """How quickly the clock believes what it sees.

    Attributes
    ----------
    bucket_s, window_s : float
        Device seconds that share one minimum, and seconds of minima that are kept.
    baseline_s : float
        Seconds of minima needed before drift is estimated; until then the epoch counts as young.
    young_tau_s, young_slew : float
        Time constant and greatest rate of gliding while young: the first frame may have been late.
    tau_s, slew : float
        The same once settled.
    max_drift : float
        Greatest believable relative rate error of a device clock.
    back_s : float
        Device time going back by more than this is a restart (slots may overtake each other).
    ahead_s : float
        A frame measured this long after it arrived is a restart: that cannot be.
    """

    bucket_s: float = 0.5
    window_s: float = 60.0
    baseline_s: float = 10.0
    young_tau_s: float = 1.0
    young_slew: float = 1e-2
    tau_s: float = 20.0
    slew: float = 1e-2
    max_drift: float = 1e-2
    back_s: float = 0.5
    ahead_s: float = 1.0


class DeviceClock:
    """Map one device's wrapping 32-bit microseconds to host seconds.

    One clock serves one link: all slots of a link share the device's clock. What it returns depends
    on the calls made so far and on nothing else.

    Attributes
    ----------
    epoch : int
        Number of the device's current run, from 0; it grows when the device is seen to restart.
    """

    def __init__(self, params: ClockParams | None = None) -> None:
        self._params = params or ClockParams()
        self.reset()

    def reset(self) -> None:
        """Forget everything, as if new."""
        self.epoch = -1
        self._arrival_s = self._drift = 0.0
        self._newest_us = 0

    @property
    def drift(self) -> float:
        """Relative rate error of the device clock, positive where it runs slow against the host."""
        return self._drift

    def update(self, device_us: int, arrival_s: float, restarted: bool = False) -> int:
        """Take in one frame's device time and arrival, and return the device time unwrapped.

        Parameters
        ----------
        device_us : int
            32-bit device time of the frame's last sample, microseconds.
        arrival_s : float
            Host seconds at which the frame arrived.
        restarted : bool
            Whether the frame itself says that the device restarted.

        Returns
        -------
        int
            Microseconds of this epoch that no longer wrap; give them to `to_host_s`.
        """
        us = self._unwrap(device_us, arrival_s) if self.epoch >= 0 else device_us
        if self.epoch < 0 or self._is_restart(us, arrival_s, restarted):
            us = device_us
            self._begin(us, arrival_s)
        else:
            self._note(us, arrival_s)
        self._newest_us = max(self._newest_us, us)
        self._arrival_s = arrival_s
        return us

    def to_host_s(self, us: int) -> float:
        """Host seconds of an unwrapped device time of the current epoch."""
        return us * _S_PER_US + self._offset_s(us)

    def _unwrap(self, device_us: int, arrival_s: float) -> int:
        # A silence can be longer than one wrap, so the host's clock says which turn this is.
        expected = self._newest_us + (arrival_s - self._arrival_s) / _S_PER_US
        return device_us + round((expected - device_us) / _WRAP_US) * _WRAP_US

    def _is_restart(self, us: int, arrival_s: float, restarted: bool) -> bool:
        params = self._params
        if restarted and (us - self._start_us) * _S_PER_US > params.ahead_s:
            return True  # every slot's first frame says so, but it is one restart
        if (self._newest_us - us) * _S_PER_US > params.back_s:
            return True
        silence_s = max(0.0, arrival_s - self._arrival_s)
        return self.to_host_s(us) - arrival_s > params.ahead_s + params.max_drift * silence_s

    def _begin(self, us: int, arrival_s: float) -> None:
        self.epoch += 1
        self._start_us = self._anchor_us = self._newest_us = us
        self._anchor_offset_s = arrival_s - us * _S_PER_US
        self._drift = self._glide = 0.0
        self._minima: deque[_Point] = deque()
        self._bucket = self._bucket_of(us)
        self._lowest: _Point = (0.0, self._anchor_offset_s)

    def _note(self, us: int, arrival_s: float) -> None:
        bucket = self._bucket_of(us)
        point = ((us - self._start_us) * _S_PER_US, arrival_s - us * _S_PER_US)
        if bucket < self._bucket:
            return  # overtaken by another slot; the minima must stay in order of time
        if bucket == self._bucket:
            self._lowest = min(self._lowest, point, key=lambda p: p[1])
            return
        self._minima.append(self._lowest)
        while point[0] - self._minima[0][0] > self._params.window_s and len(self._minima) > 1:
            self._minima.popleft()
        self._bucket, self._lowest = bucket, point
        self._steer(us)

    def _steer(self, us: int) -> None:
        """Aim the served time at the line below the cloud, from here on and without a step."""
        params = self._params
        now_s = (us - self._start_us) * _S_PER_US
        served_s = self._offset_s(us)
        young = self._minima[-1][0] - self._minima[0][0] < params.baseline_s
        if not young:
            slope = _slope_below(self._minima)
            # A slope no clock could have is a stalled link catching up.
            self._drift = slope if abs(slope) <= params.max_drift else self._drift
        target_s = min(y + self._drift * (now_s - x) for x, y in self._minima)
        tau_s, slew = (
            (params.young_tau_s, params.young_slew) if young else (params.tau_s, params.slew)
        )
        self._glide = min(max((target_s - served_s) / tau_s, -slew), slew)
        self._anchor_us, self._anchor_offset_s = us, served_s

    def _offset_s(self, us: int) -> float:
        ahead_s = (us - self._anchor_us) * _S_PER_US
        # The glide was meant for one bucket; a silence must not let it run on.
        glided_s = self._glide * min(ahead_s, self._params.bucket_s)
        return self._anchor_offset_s + self._drift * ahead_s + glided_s

    def _bucket_of(self, us: int) -> int:
        return int(us * _S_PER_US // self._params.bucket_s)


def _slope_below(points: Sequence[_Point]) -> float:
    """Slope of the lower-hull edge that spans the mean x; points in rising x, at least two."""
    hull: list[_Point] = []
    for x, y in points:
        while len(hull) > 1 and _turns_up_not(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    mean_x = sum(x for x, _ in points) / len(points)
    right = next(k for k in range(1, len(hull)) if hull[k][0] >= mean_x)
    (x0, y0), (x1, y1) = hull[right - 1], hull[right]
    return (y1 - y0) / (x1 - x0)


def _turns_up_not(a: _Point, b: _Point, c: _Point) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) <= (b[1] - a[1]) * (c[0] - a[0])
