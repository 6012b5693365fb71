"""A vendor's readings to samples: paired, numbered, and on the host's time.

What a family tells decides how: with a clock, its ticks give time and, by their spacing, losses; with a
number, the number gives losses; with neither, time is made of arrival and count (`CountClock`), and
what is lost before the host cannot be seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from talaria_bridge.clock import DeviceClock, Ticks
from talaria_bridge.samples import ImuSample, Reading, SampleFlag
from talaria_bridge.vendors.family import Family

_SILENCE_S = 0.3
"""A silence longer than radios hide by retrying: what came in between is lost, not late."""
_BACKLOG_S = 0.1
"""What comes so soon after the end of a silence may be what was held back during it."""
_MAX_GAP = 1 << 16
"""A larger jump of a number is a device that restarted."""
_REPEAT_WINDOW = 64
_KEPT_SPACINGS = 64
_LEARNT_AFTER = 16
"""Spacings seen before a period is believed; asking every time would cost more than it brings."""


class CountClock:
    """Time for readings that carry none: the k-th was taken k periods after the first.

    The period may be up to 12 % off the nominal one; the line below the cloud of arrivals finds it
    (`DeviceClock`, with the count as its ticks). Good to a few milliseconds while nothing is lost.

    Parameters
    ----------
    rate_hz : float
        Nominal rate.
    """

    def __init__(self, rate_hz: float) -> None:
        self._period_s = 1.0 / rate_hz
        self.clock = DeviceClock(ticks=Ticks(self._period_s, 64))
        self._count = -1
        self._last_arrival_s = 0.0
        self._silence_ended_s = float("-inf")
        self._last_s = float("-inf")

    def time(self, arrival_s: float) -> tuple[float, bool]:
        """Give the next reading its time.

        Returns
        -------
        t_s : float
            Host seconds, later than every one before.
        after_gap : bool
            Whether readings were lost before it, how many nobody knows.
        """
        silence_s = arrival_s - self._last_arrival_s
        after_gap = self._count >= 0 and silence_s > _SILENCE_S
        if after_gap:
            self._silence_ended_s = arrival_s
            self._count += self._missed(silence_s)
        self._count += 1
        self._last_arrival_s = arrival_s
        t_s = self.clock.to_host_s(self.clock.update(self._count, arrival_s))
        ahead = round((t_s - arrival_s) / self._period_s)
        if ahead >= 1 and arrival_s - self._silence_ended_s < _BACKLOG_S:
            # Not lost but late, and now coming all at once: the count had run ahead of them.
            self._count -= ahead
            t_s = arrival_s
        self._last_s = max(t_s, self._last_s + 1e-6)
        return self._last_s, after_gap

    def _missed(self, silence_s: float) -> int:
        return max(0, round(silence_s / (self._period_s * (1.0 + self.clock.drift))) - 1)


class ReadingAssembler:
    """Turn the readings of one vendor's sensor into samples.

    Parameters
    ----------
    slot : str
        Where it sits.
    family : Family
        What its readings carry.
    rate_hz : float or None
        The rate it was asked for; None for the family's default.

    Attributes
    ----------
    clock : DeviceClock
    lost : int
        Samples missing from the sensor's own number or time.
    duplicates : int
        Readings whose number or time had been seen; they are left out.
    restarts : int
        Times the sensor's number or clock began again.
    unpaired : int
        Accelerations or angular rates that never got their partner.
    battery : float or None
        Charge as last told, 0 to 1.
    """

    def __init__(self, slot: str, family: Family, rate_hz: float | None = None) -> None:
        self._slot = slot
        self._rate_hz = rate_hz or family.rates_hz[-1]
        self._seq_bits = family.seq_bits
        self._counted = CountClock(self._rate_hz) if family.ticks is None else None
        ticks = family.ticks or Ticks(1.0, 64)
        self.clock = DeviceClock(ticks=ticks) if self._counted is None else self._counted.clock
        self._tick_s = ticks.tick_s
        self._period_s = 0.0
        self._spacings: deque[float] = deque(maxlen=_KEPT_SPACINGS)
        self._spaced = 0
        self.lost = self.duplicates = self.restarts = self.unpaired = 0
        self.battery: float | None = None
        self._number = -1
        self._last_seq: int | None = None
        self._last_ticks: int | None = None
        self._epoch = 0
        self._half: Reading | None = None
        self._flags = SampleFlag.NONE

    def push(self, readings: Iterable[Reading], arrival_s: float) -> list[ImuSample]:
        """Take in what one chunk held; return the samples it completed, in order.

        Parameters
        ----------
        readings : iterable of Reading
        arrival_s : float
            Host seconds at which the chunk arrived.
        """
        samples = []
        for reading in readings:
            if reading.battery is not None:
                self.battery = reading.battery
            whole = self._pair(reading)
            if whole is not None:
                sample = self._sample(whole, arrival_s)
                if sample is not None:
                    samples.append(sample)
        return samples

    def link_lost(self) -> None:
        """Mark the first sample after this; numbering goes on."""
        self._half = None
        self._flags |= SampleFlag.TIME_GAP

    def _pair(self, reading: Reading) -> Reading | None:
        """Join the halves of families that send acceleration and angular rate apart."""
        if reading.acc_ms2 is None and reading.gyr_rads is None:
            return None
        if reading.acc_ms2 is not None and reading.gyr_rads is not None:
            return reading
        half, self._half = self._half, None
        if half is None or (half.acc_ms2 is None) == (reading.acc_ms2 is None):
            self.unpaired += half is not None
            self._half = reading
            return None
        return replace(
            reading,
            acc_ms2=reading.acc_ms2 or half.acc_ms2,
            gyr_rads=reading.gyr_rads or half.gyr_rads,
            flags=reading.flags | half.flags,
        )

    def _sample(self, reading: Reading, arrival_s: float) -> ImuSample | None:
        t_s, missed = self._time(reading, arrival_s)
        if reading.seq is not None and self._seq_bits is not None:
            missed = self._gap(reading.seq, self._seq_bits)
        if missed is None:
            self.duplicates += 1
            return None
        self.lost += missed
        self._number += missed + 1
        flags, self._flags = reading.flags | self._flags, SampleFlag.NONE
        assert reading.acc_ms2 is not None  # paired
        assert reading.gyr_rads is not None
        return ImuSample(self._slot, self._number, t_s, reading.acc_ms2, reading.gyr_rads, flags)

    def _time(self, reading: Reading, arrival_s: float) -> tuple[float, int | None]:
        """Give the host time, and how many samples are missing before it (None: seen before)."""
        if self._counted is not None or reading.ticks is None:
            counted = self._counted or CountClock(self._rate_hz)
            self._counted = counted  # a family with a clock whose messages lack it
            t_s, after_gap = counted.time(arrival_s)
            self._flags |= SampleFlag.TIME_GAP if after_gap else SampleFlag.NONE
            return t_s, 0
        if reading.ticks == self._last_ticks:
            return 0.0, None
        self._last_ticks = reading.ticks
        before, epoch = self.clock.newest, self.clock.epoch
        ticks = self.clock.update(reading.ticks, arrival_s)
        if epoch >= 0 and self.clock.epoch != epoch:
            self.restarts += 1
            self._flags |= SampleFlag.RESET
            return self.clock.to_host_s(ticks), 0
        missed = 0 if epoch < 0 else self._spacing(ticks - before)
        return self.clock.to_host_s(ticks), missed

    def _spacing(self, ticks: int) -> int | None:
        """Count the samples missing in an advance of the device's clock; learn the true period."""
        if ticks <= 0:
            return None
        spacing_s = ticks * self._tick_s
        self._spacings.append(spacing_s)
        self._spaced += 1
        if self._spaced % _LEARNT_AFTER == 0:
            # The lower quartile: as long as fewer than three in four are missing, it is one period.
            self._period_s = sorted(self._spacings)[len(self._spacings) // 4]
        return max(0, round(spacing_s / self._period_s) - 1) if self._period_s else 0

    def _gap(self, seq: int, bits: int) -> int | None:
        """Count the samples missing before this number (None: seen before)."""
        last, wrap = self._last_seq, 1 << bits
        self._last_seq = seq
        if last is None:
            return 0
        gap = (seq - last - 1 + wrap // 2) % wrap - wrap // 2
        if -_REPEAT_WINDOW <= gap < 0:
            self._last_seq = last
            return None
        if not 0 <= gap < _MAX_GAP:
            self.restarts += 1
            self._flags |= SampleFlag.RESET
            return 0
        return gap
