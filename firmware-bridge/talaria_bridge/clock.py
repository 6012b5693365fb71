"""Device ticks to host seconds, without letting the jitter of arrival into the signal.

A frame arrives at ``host = device + offset + drift·device + delay`` with ``delay`` at least the
shortest the link can do. The frames that were delayed least lie on the lower edge of that cloud, so
the clock fits a line below it: the edge of the lower convex hull that spans the mean (Moon, Skelly
and Towsley 1999, "Estimation and removal of clock skew from network delay measurements"). Unlike
the paper it does so online, over a sliding window of per-bucket minima, and never steps: the time
it serves glides onto the line. The shortest delay itself cannot be known this way: the served time
is late by it, unless the device answers pings (`DeviceClock.note_pong`), which bound it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

_S_PER_US = 1e-6
_Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Ticks:
    """How a device counts time.

    Attributes
    ----------
    tick_s : float
        Nominal seconds of one tick.
    bits : int
        Width of the counter; it wraps at ``2 ** bits``.
    """

    tick_s: float
    bits: int


_KEPT_PONGS = 60
OWN_TICKS = Ticks(1e-6, 32)
"""Microseconds that wrap after 71.6 min, as ``wire-format.md`` has them."""


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
        Greatest believable relative rate error of a device clock; cheap sensors are up to 8 % off
        the rate they claim.
    gross_drift : float
        A rate error beyond this is no crystal's. It is believed early, after `gross_s` of minima, and
        followed at once, because waiting would cost more than a doubtful estimate.
    gross_s, gross_slew : float
        Seconds of minima it takes, and the rate of gliding that makes up for them.
    confirm : int
        Buckets in a row that must say so before a settled clock takes on a rate `gross_drift` away
        from its own: a link that clogs up looks like that for a while.
    back_s : float
        Device time going back by more than this is a restart (slots may overtake each other).
    ahead_s : float
        A frame measured this long after it arrived is a restart: that cannot be.
    pong_s : float
        A ping that took longer tells nothing.
    """

    bucket_s: float = 0.5
    window_s: float = 60.0
    baseline_s: float = 10.0
    young_tau_s: float = 1.0
    young_slew: float = 1e-2
    tau_s: float = 20.0
    slew: float = 1e-2
    max_drift: float = 0.12
    gross_drift: float = 1e-2
    gross_s: float = 2.0
    gross_slew: float = 0.05
    confirm: int = 8
    back_s: float = 0.5
    ahead_s: float = 1.0
    pong_s: float = 1.0


class DeviceClock:
    """Map one device's wrapping ticks to host seconds.

    One clock serves one link: all slots of a link share the device's clock. What it returns depends
    on the calls made so far and on nothing else.

    Parameters
    ----------
    params : ClockParams, optional
    ticks : Ticks
        How the device counts.

    Attributes
    ----------
    epoch : int
        Number of the device's current run, from 0; it grows when the device is seen to restart.
    jitter_s : float
        How much arrival varies from frame to frame, smoothed as in RFC 3550, section 6.4.1.
    """

    def __init__(self, params: ClockParams | None = None, ticks: Ticks = OWN_TICKS) -> None:
        self._params = params or ClockParams()
        self._tick_s = ticks.tick_s
        self._wrap = 1 << ticks.bits
        self.reset()

    def reset(self) -> None:
        """Forget everything, as if new."""
        self.epoch = -1
        self.jitter_s = 0.0
        self._arrival_s = self._drift = 0.0
        self._newest = 0

    @property
    def drift(self) -> float:
        """Relative rate error of the device clock, positive where it runs slow against the host."""
        return self._drift

    @property
    def newest(self) -> int:
        """The latest device time of this epoch, in ticks that do not wrap."""
        return self._newest

    def update(self, ticks: int, arrival_s: float, restarted: bool = False) -> int:
        """Take in one frame's device time and arrival, and return the device time unwrapped.

        Parameters
        ----------
        ticks : int
            Device time of the frame's last sample, wrapping.
        arrival_s : float
            Host seconds at which the frame arrived.
        restarted : bool
            Whether the frame itself says that the device restarted.

        Returns
        -------
        int
            Ticks of this epoch that no longer wrap; give them to `to_host_s`.
        """
        now = self._unwrap(ticks, arrival_s) if self.epoch >= 0 else ticks
        if self.epoch < 0 or self._is_restart(now, arrival_s, restarted):
            now = ticks
            self._begin(now, arrival_s)
        else:
            self._note(now, arrival_s)
        self._newest = max(self._newest, now)
        self._arrival_s = arrival_s
        return now

    def note_pong(self, host_us: int, device_us: int, hold_us: int, arrival_s: float) -> None:
        """Take in the answer to a ping, which bounds the delay that arrivals alone cannot show.

        Parameters
        ----------
        host_us : int
            Host clock at sending the ping, microseconds; the clock of `arrival_s`.
        device_us : int
            Device ticks at its arrival there, wrapping.
        hold_us : int
            Microseconds from then to the sending of the answer.
        arrival_s : float
            Host seconds of the answer's arrival.
        """
        round_trip_s = arrival_s - (host_us + hold_us) * _S_PER_US
        if self.epoch < 0 or not 0.0 <= round_trip_s <= self._params.pong_s:
            return
        now = self._unwrap(device_us, arrival_s)
        sent_s = host_us * _S_PER_US
        # Half-way between the earliest and the latest the device can have stamped it.
        offset_s = sent_s + round_trip_s / 2 - now * self._tick_s
        line_s = self._line_s((now - self._start) * self._tick_s)
        self._pongs.append((round_trip_s, min(max(line_s - offset_s, 0.0), round_trip_s)))

    def to_host_s(self, ticks: int) -> float:
        """Host seconds of an unwrapped device time of the current epoch."""
        return ticks * self._tick_s + self._offset_s(ticks)

    def _unwrap(self, ticks: int, arrival_s: float) -> int:
        # A silence can be longer than one wrap, so the host's clock says which turn this is.
        elapsed_s = (arrival_s - self._arrival_s) / (1.0 + self._drift)
        expected = self._newest + elapsed_s / self._tick_s
        return ticks + round((expected - ticks) / self._wrap) * self._wrap

    def _is_restart(self, now: int, arrival_s: float, restarted: bool) -> bool:
        params = self._params
        if restarted and (now - self._start) * self._tick_s > params.ahead_s:
            return True  # every slot's first frame says so, but it is one restart
        if (self._newest - now) * self._tick_s > params.back_s:
            return True
        silence_s = max(0.0, arrival_s - self._arrival_s)
        doubt_s = silence_s * (params.max_drift if self._young else params.gross_drift)
        if doubt_s > self._wrap * self._tick_s / 2:
            return True  # nobody can tell any more how often it wrapped
        return self.to_host_s(now) - arrival_s > params.ahead_s + doubt_s

    def _begin(self, now: int, arrival_s: float) -> None:
        self.epoch += 1
        self._start = self._anchor = self._newest = now
        self._anchor_offset_s = arrival_s - now * self._tick_s
        self._drift = self._glide = 0.0
        self._young = True
        self._doubts = 0
        self._last_delay_s = self._anchor_offset_s
        self._pongs: deque[tuple[float, float]] = deque(maxlen=_KEPT_PONGS)
        self._minima: deque[_Point] = deque()
        self._bucket = self._bucket_of(now)
        self._lowest: _Point = (0.0, self._anchor_offset_s)

    def _note(self, now: int, arrival_s: float) -> None:
        bucket = self._bucket_of(now)
        point = ((now - self._start) * self._tick_s, arrival_s - now * self._tick_s)
        self._note_jitter(point[1] - self._drift * point[0])
        if bucket < self._bucket:
            return  # overtaken by another slot; the minima must stay in order of time
        if bucket == self._bucket:
            low_x, low_y = self._lowest
            if point[1] - self._drift * point[0] < low_y - self._drift * low_x:
                self._lowest = point
            return
        self._minima.append(self._lowest)
        while point[0] - self._minima[0][0] > self._params.window_s and len(self._minima) > 1:
            self._minima.popleft()
        self._bucket, self._lowest = bucket, point
        self._steer(now)

    def _note_jitter(self, delay_s: float) -> None:
        self.jitter_s += (abs(delay_s - self._last_delay_s) - self.jitter_s) / 16
        self._last_delay_s = delay_s

    def _steer(self, now: int) -> None:
        """Aim the served time at the line below the cloud, from here on and without a step."""
        params = self._params
        served_s = self._offset_s(now)
        span_s = self._minima[-1][0] - self._minima[0][0]
        self._young = span_s < params.baseline_s
        tau_s, slew = (
            (params.young_tau_s, params.young_slew) if self._young else (params.tau_s, params.slew)
        )
        if span_s >= params.gross_s:
            self._take_rate(_slope_below(self._minima))
        if abs(self._drift) > params.gross_drift:
            tau_s, slew = params.young_tau_s, params.gross_slew
        delay_s = min(self._pongs)[1] if self._pongs else 0.0
        target_s = self._line_s((now - self._start) * self._tick_s) - delay_s
        self._glide = min(max((target_s - served_s) / tau_s, -slew), slew)
        self._anchor, self._anchor_offset_s = now, served_s

    def _take_rate(self, slope: float) -> None:
        """Believe a slope, unless a stalled link catching up explains it better."""
        params = self._params
        if abs(slope) > params.max_drift:
            return
        near = abs(slope - self._drift) <= params.gross_drift
        self._doubts = 0 if near else self._doubts + 1
        if self._young:
            # A small slope needs a long line to be told from jitter; a gross one does not.
            gross = abs(slope) > params.gross_drift and self._doubts != 1
            self._drift = slope if gross else self._drift
        elif near or self._doubts >= params.confirm:
            self._drift = slope

    def _line_s(self, x_s: float) -> float:
        """Offset of the line below the cloud, `x_s` seconds after the epoch began."""
        points = self._minima or (self._lowest,)
        return min(y + self._drift * (x_s - x) for x, y in points)

    def _offset_s(self, ticks: int) -> float:
        ahead_s = (ticks - self._anchor) * self._tick_s
        # The glide was meant for one bucket; a silence must not let it run on.
        glided_s = self._glide * min(ahead_s, self._params.bucket_s)
        return self._anchor_offset_s + self._drift * ahead_s + glided_s

    def _bucket_of(self, ticks: int) -> int:
        return int(ticks * self._tick_s // self._params.bucket_s)


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
