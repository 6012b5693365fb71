"""One common clock for sensors that each keep their own: samples in, ticks out.

The clock is a grid of exact period that starts at the first instant every sensor has reached. Each
slot's value at an instant is the straight line between the two samples that bracket it; a sample
that falls on the instant passes through unchanged. The stage is driven by samples alone: time
advances only because a sample says so, and the same samples always give the same ticks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError
from talaria_bridge.samples import ImuSample, SampleFlag
from talaria_edge.sanitiser import Sanitiser, SanitiserParams, SlotFlag

Six = tuple[float, float, float, float, float, float]
"""Acceleration, then angular rate, of one reading."""

_KEPT = 64
"""Samples and guesses kept to make up for a gap; after a longer one attitudes start afresh."""
_CLIPS = SampleFlag.ACC_CLIP | SampleFlag.GYR_CLIP

NOTHING_YET: Six = (0.0,) * 6

_SATURATED_SHARE = 0.2
"""A foot clips for an instant at every contact; a sensor that clips more than this is set wrong."""


class SlotStatus(StrEnum):
    """Where a slot's value in a tick comes from."""

    MEASURED = "measured"
    HELD = "held"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Tick:
    """All slots at one instant of the common clock.

    Attributes
    ----------
    index : int
        Running number of the instant on the grid; a jump means no sensor spoke for a while.
    t_s : float
        The instant, host seconds.
    slots : tuple of str
        Order of the rows below.
    acc_ms2, gyr_rads : (S, 3) arrays
        Specific force (m/s²) and angular rate (rad/s) in each sensor's own frame, always finite.
    status : tuple of SlotStatus
        *measured*; *held* (bridged across lost samples, or the last value repeated); *gone*
        (nothing for longer than the stage may hold; the numbers are the last ones seen).
    age_s : tuple of float
        Time since the slot's last sample at the instant; infinite for a slot never heard.
    loss : tuple of float
        Share of the slot's samples lost or refused over the last second, 0 to 1; 1 when there was
        none.
    flags : tuple of SlotFlag
        What was odd about the slot since the last tick, and *saturated* for a fifth of the last
        second at the end of its range.
    turn_rad : (S, 3) array or None
        Rotation vectors, sensor frames: by how much each sensor turned in earlier ticks beyond what
        those ticks said, now that the late samples are there or the gap's other end is. None where
        there is nothing to make up for.
    """

    index: int
    t_s: float
    slots: tuple[str, ...]
    acc_ms2: NDArray[np.float64]
    gyr_rads: NDArray[np.float64]
    status: tuple[SlotStatus, ...]
    age_s: tuple[float, ...]
    loss: tuple[float, ...]
    flags: tuple[SlotFlag, ...]
    turn_rad: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class AlignmentParams:
    """How patient the common clock is.

    Attributes
    ----------
    max_wait_s : float
        An instant waits this long for late slots, measured by the newest sample of any slot.
    max_hold_s : float
        A slot silent for longer is gone. Together with `max_wait_s` it bounds how long a dead sensor
        goes unannounced: at 100 Hz, both and 20 ms.
    max_bridge_s : float
        The widest gap a line is drawn across where both of its ends have come in time.
    start_wait_s : float
        How long the first instant waits for slots that have not spoken at all.
    snap_s : float
        A sample this close to an instant is taken as measured at it.
    max_jump_s : float
        A sample further ahead of the clock than this is not believed until all agree.
    """

    max_wait_s: float = 0.045
    max_hold_s: float = 0.075
    max_bridge_s: float = 0.15
    start_wait_s: float = 1.0
    snap_s: float = 2e-4
    max_jump_s: float = 1.0


@dataclass(slots=True)
class SlotCounters:
    """What happened to one slot's samples on the way to the clock.

    ``lost`` are jumps in the sequence number, ``bad`` were refused by the sanitiser, ``late``
    arrived out of order, ``far`` claim a time too far ahead of the clock to be believed.
    """

    received: int = 0
    lost: int = 0
    bad: int = 0
    late: int = 0
    far: int = 0


@dataclass(slots=True)
class _Lane:
    """One slot's last sample at or before the instant, and those after it."""

    sanitiser: Sanitiser
    history: deque[tuple[int, int, int]]
    counters: SlotCounters = field(default_factory=SlotCounters)
    clipped: int = 0
    t_s: float = -math.inf
    value: Six = NOTHING_YET
    ahead: deque[tuple[float, Six]] = field(default_factory=deque)
    newest_s: float = -math.inf
    next_seq: int | None = None
    passed: deque[tuple[float, Six]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    guessed: deque[tuple[float, Six]] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def advance(self, until_s: float) -> None:
        """Move past every sample at or before ``until_s``."""
        while self.ahead and self.ahead[0][0] <= until_s:
            self.t_s, self.value = self.ahead.popleft()
            self.passed.append((self.t_s, self.value))

    def owed(self, t_s: float, value: Six, how: SlotStatus) -> NDArray[np.float64] | None:
        """Say by how much the guesses at earlier ticks were off, as far as that is known by now.

        Returns
        -------
        array, shape (3,), or None
            Sum over those ticks of true less guessed angular rate, rad/s.
        """
        if how is SlotStatus.MEASURED and not self.guessed:
            self.passed.clear()
            self.passed.append((t_s, value))
            return None
        known = list(self.passed)
        known_until_s = self.t_s
        if how is SlotStatus.MEASURED:
            known.append((t_s, value))
            known_until_s = t_s
        else:
            self.guessed.append((t_s, value))
        settled = [guess for guess in self.guessed if guess[0] <= known_until_s]
        for _ in settled:
            self.guessed.popleft()
        if not self.guessed:
            self.passed.clear()
            self.passed.append(known[-1] if known else (t_s, value))
        if not settled:
            return None
        times, guesses = zip(*settled, strict=True)
        known_s = [at for at, _ in known]
        true = [np.interp(times, known_s, [v[k] for _, v in known]) for k in (3, 4, 5)]
        missed = np.stack(true, axis=1) - np.array(guesses)[:, 3:]
        return np.asarray(missed.sum(axis=0), dtype=float)


class Alignment:
    """Streaming alignment of several slots on one clock.

    Parameters
    ----------
    slots : sequence of str
        The slots of a tick, in order. Samples of other slots are counted in `ignored`.
    rate_hz : float
        Rate of the clock.
    params : AlignmentParams
        Patience.
    sanitiser : SanitiserParams
        What to refuse.

    Raises
    ------
    ConfigError
        If there is no slot, a slot twice, or a rate that is not positive.
    """

    def __init__(
        self,
        slots: Sequence[str],
        rate_hz: float,
        params: AlignmentParams | None = None,
        sanitiser: SanitiserParams | None = None,
    ) -> None:
        if not slots or len(set(slots)) != len(slots):
            raise ConfigError(
                f"The slots {list(slots)} cannot be aligned because each must be named exactly "
                "once: list every worn sensor once."
            )
        if not (math.isfinite(rate_hz) and rate_hz > 0):
            raise ConfigError(
                f"A clock of {rate_hz} Hz cannot run: set rate_hz to the rate of the model."
            )
        self.slots = tuple(slots)
        self.rate_hz = rate_hz
        self.params = params or AlignmentParams()
        self.ignored = 0
        self.jumps = 0
        second = max(2, round(rate_hz) + 1)
        self._lanes = {
            slot: _Lane(Sanitiser(sanitiser), deque([(0, 0, 0)], maxlen=second))
            for slot in self.slots
        }
        self._start_s: float | None = None
        self._index = 0
        self._newest_s = -math.inf
        self._far_run = 0

    @property
    def counters(self) -> dict[str, SlotCounters]:
        """Counters per slot, live."""
        return {slot: lane.counters for slot, lane in self._lanes.items()}

    def push(self, sample: ImuSample) -> list[Tick]:
        """Take one sample; return the ticks it completed, oldest first (usually none or one)."""
        lane = self._lanes.get(sample.slot)
        if lane is None:
            self.ignored += 1
            return []
        if not self._accept(lane, sample):
            return []
        if self._start_s is None and not self._start():
            return []
        return self._emit()

    def _accept(self, lane: _Lane, sample: ImuSample) -> bool:
        """Count the sample and queue it, unless it must be refused."""
        counters = lane.counters
        counters.received += 1
        if sample.flags and sample.flags & SampleFlag.RESET:
            lane.next_seq = None  # the sensor counts from zero again: no loss can be told
        if lane.next_seq is not None and sample.seq > lane.next_seq:
            counters.lost += sample.seq - lane.next_seq
        lane.next_seq = max(lane.next_seq or 0, sample.seq + 1)
        if not lane.sanitiser.check(sample):
            counters.bad += 1
            return False
        if sample.t_s <= lane.newest_s:
            counters.late += 1
            return False
        if not self._believe(sample.t_s):
            counters.far += 1
            return False
        if sample.flags:
            lane.clipped += bool(sample.flags & _CLIPS)
        lane.ahead.append((sample.t_s, (*sample.acc_ms2, *sample.gyr_rads)))
        lane.newest_s = sample.t_s
        self._newest_s = max(self._newest_s, sample.t_s)
        return True

    def _believe(self, t_s: float) -> bool:
        """Tell a pause of all sensors (jump the clock) from one sensor's wild time (refuse it)."""
        if self._newest_s == -math.inf or t_s - self._newest_s <= self.params.max_jump_s:
            self._far_run = 0
            return True
        self._far_run += 1
        # Two rounds of samples without one on the old time: the old time has ended.
        if self._far_run <= 2 * len(self.slots):
            return False
        self._far_run = 0
        self._jump_to(t_s)
        return True

    def _jump_to(self, t_s: float) -> None:
        if self._start_s is not None:
            self.jumps += 1
            self._index = max(self._index, math.ceil((t_s - self._start_s) * self.rate_hz - 1e-6))
        for lane in self._lanes.values():
            lane.advance(math.inf)

    def _start(self) -> bool:
        """Fix the first instant once all slots spoke, or the patience for the rest is over."""
        firsts = [lane.ahead[0][0] for lane in self._lanes.values() if lane.ahead]
        waited_s = self._newest_s - min(firsts)
        if len(firsts) < len(self.slots) and waited_s < self.params.start_wait_s:
            return False
        self._start_s = max(firsts)
        return True

    def _emit(self) -> list[Tick]:
        ticks: list[Tick] = []
        while self._start_s is not None:
            t_s = self._start_s + self._index / self.rate_hz
            waited_s = self._newest_s - t_s
            if waited_s < -self.params.snap_s:
                break
            if waited_s < self.params.max_wait_s and not self._is_complete(t_s):
                break
            reach = t_s + self.params.snap_s
            for lane in self._lanes.values():
                lane.advance(reach)
            ticks.append(self._tick(t_s))
            self._index += 1
        return ticks

    def _is_complete(self, t_s: float) -> bool:
        """Say whether every slot has reached the instant, or is gone: to wait would delay the others."""
        reached_s = t_s - self.params.snap_s
        gone_s = self.params.max_hold_s + self.params.max_wait_s
        for lane in self._lanes.values():
            if lane.newest_s < reached_s and t_s - lane.newest_s <= gone_s:
                return False
        return True

    def _tick(self, t_s: float) -> Tick:
        values: list[Six] = []
        status: list[SlotStatus] = []
        loss: list[float] = []
        flags: list[SlotFlag] = []
        turn: NDArray[np.float64] | None = None
        for i, lane in enumerate(self._lanes.values()):
            value, how = self._value(lane, t_s)
            values.append(value)
            status.append(how)
            owed = lane.owed(t_s, value, how)
            if owed is not None:
                turn = np.zeros((len(self.slots), 3)) if turn is None else turn
                turn[i] = owed / self.rate_hz
            lost_share, clipped_share = _last_second(lane)
            loss.append(lost_share)
            odd = lane.sanitiser.take_flags()
            flags.append(odd | SlotFlag.SATURATED if clipped_share > _SATURATED_SHARE else odd)
        rows = np.array(values)
        ages = tuple(max(0.0, t_s - lane.t_s) for lane in self._lanes.values())
        return Tick(
            self._index,
            t_s,
            self.slots,
            rows[:, :3],
            rows[:, 3:],
            tuple(status),
            ages,
            tuple(loss),
            tuple(flags),
            turn,
        )

    def _value(self, lane: _Lane, t_s: float) -> tuple[Six, SlotStatus]:
        """Give the slot's value at the instant, and say where it comes from."""
        age_s = t_s - lane.t_s
        if age_s <= self.params.snap_s:
            return lane.value, SlotStatus.MEASURED
        if lane.ahead:
            after_s, after = lane.ahead[0]
            gap_s = after_s - lane.t_s
            if gap_s <= self.params.max_bridge_s:
                whole = gap_s * self.rate_hz < 1.5
                value = _between(lane.value, after, age_s / gap_s)
                return value, SlotStatus.MEASURED if whole else SlotStatus.HELD
        if age_s <= self.params.max_hold_s:
            return lane.value, SlotStatus.HELD
        return lane.value, SlotStatus.GONE


def _last_second(lane: _Lane) -> tuple[float, float]:
    """Shares of the slot's samples that were lost or refused, and that were clipped."""
    counters = lane.counters
    missing = counters.lost + counters.bad + counters.late + counters.far
    good = counters.received - counters.bad - counters.late - counters.far
    now = (good, missing, lane.clipped)
    before = lane.history[0]
    lane.history.append(now)
    got = good - before[0]
    if got <= 0:
        return 1.0, 0.0
    absent = missing - before[1]
    return absent / (got + absent), (lane.clipped - before[2]) / got


def _between(a: Six, b: Six, weight: float) -> Six:
    """Return the point of the straight line from ``a`` (weight 0) to ``b`` (weight 1)."""
    keep = 1.0 - weight
    a0, a1, a2, a3, a4, a5 = a
    b0, b1, b2, b3, b4, b5 = b
    return (
        keep * a0 + weight * b0,
        keep * a1 + weight * b1,
        keep * a2 + weight * b2,
        keep * a3 + weight * b3,
        keep * a4 + weight * b4,
        keep * a5 + weight * b5,
    )
