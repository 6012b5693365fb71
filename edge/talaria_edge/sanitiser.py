"""What stands between the sensors and everything that remembers: bad numbers end here.

One NaN or infinity poisons an orientation filter and a recurrent network for good, and a sensor that
repeats itself looks like one that stands still. What `Sanitiser.check` lets through is finite, within
what any sensor can measure, and alive; what it refuses is counted, by slot and reason.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from enum import IntFlag, StrEnum

from talaria_bridge.samples import ImuSample, SampleFlag, Vec3

_LATEST_S = 1e11
"""Past this a float no longer tells one tick from the next; seconds since 1970 are far below it."""


class SlotFlag(IntFlag):
    """What is odd about a slot at a tick, beside whether it was measured."""

    NONE = 0
    CLIP = 1
    SATURATED = 2
    NOT_FINITE = 4
    STUCK = 8
    GAP = 16
    LOW_BATTERY = 32


class Refusal(StrEnum):
    """Why a sample was refused."""

    NOT_FINITE = "not_finite"
    IMPOSSIBLE = "impossible"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class SanitiserParams:
    """What no sensor does.

    Attributes
    ----------
    max_acc_ms2, max_gyr_rads : float
        5 % beyond the widest ranges on the wire, ±32 g and ±4000 °/s.
    stuck_after_s : float
        The noise of a live sensor moves the last digit of an axis at every other sample or more
        often. Three axes that repeat exactly for so long are not alive.
    """

    max_acc_ms2: float = 1.05 * 32 * 9.80665
    max_gyr_rads: float = 1.05 * math.radians(4000)
    stuck_after_s: float = 0.25


_FLAG_OF = {
    Refusal.NOT_FINITE: SlotFlag.NOT_FINITE,
    Refusal.IMPOSSIBLE: SlotFlag.NOT_FINITE,
    Refusal.STUCK: SlotFlag.STUCK,
}
_PASSED_ON = (
    (SampleFlag.ACC_CLIP | SampleFlag.GYR_CLIP, SlotFlag.CLIP),
    (SampleFlag.TIME_GAP | SampleFlag.RESET, SlotFlag.GAP),
    (SampleFlag.LOW_BATTERY, SlotFlag.LOW_BATTERY),
)


class Sanitiser:
    """Check the samples of one slot, in order.

    Parameters
    ----------
    params : SanitiserParams, optional

    Attributes
    ----------
    refused : Counter of Refusal to int
    """

    def __init__(self, params: SanitiserParams | None = None) -> None:
        self._params = params or SanitiserParams()
        self.refused: Counter[Refusal] = Counter()
        self._flags = SlotFlag.NONE
        self._acc = _Repeat()
        self._gyr = _Repeat()

    def check(self, sample: ImuSample) -> bool:
        """Tell whether a sample may pass; never raises."""
        if sample.flags:
            for of_sample, of_slot in _PASSED_ON:
                if sample.flags & of_sample:
                    self._flags |= of_slot
        why = self._why_not(sample)
        if why is None:
            return True
        self.refused[why] += 1
        self._flags |= _FLAG_OF[why]
        return False

    def take_flags(self) -> SlotFlag:
        """Return what has been odd since this was last asked, and forget it."""
        flags, self._flags = self._flags, SlotFlag.NONE
        return flags

    def _why_not(self, sample: ImuSample) -> Refusal | None:
        params = self._params
        far_ms2, fast_rads = params.max_acc_ms2, params.max_gyr_rads
        x, y, z = sample.acc_ms2
        p, q, r = sample.gyr_rads
        # Also what is no number is not between two.
        if not (
            abs(sample.t_s) < _LATEST_S
            and -far_ms2 <= x <= far_ms2
            and -far_ms2 <= y <= far_ms2
            and -far_ms2 <= z <= far_ms2
            and -fast_rads <= p <= fast_rads
            and -fast_rads <= q <= fast_rads
            and -fast_rads <= r <= fast_rads
        ):
            finite = abs(sample.t_s) < _LATEST_S and all(map(math.isfinite, (x, y, z, p, q, r)))
            return Refusal.IMPOSSIBLE if finite else Refusal.NOT_FINITE
        acc_s = self._acc.lasts_s(sample.acc_ms2, sample.t_s)
        gyr_s = self._gyr.lasts_s(sample.gyr_rads, sample.t_s)
        return Refusal.STUCK if max(acc_s, gyr_s) > params.stuck_after_s else None


class _Repeat:
    """How long three numbers have been exactly the same."""

    __slots__ = ("_since_s", "_value")

    def __init__(self) -> None:
        self._value: Vec3 | None = None
        self._since_s = 0.0

    def lasts_s(self, value: Vec3, t_s: float) -> float:
        if value != self._value:
            self._value, self._since_s = value, t_s
        return t_s - self._since_s


def names_of(flags: SlotFlag) -> list[str]:
    """Name the flags that are set, as people read them."""
    if not flags:
        return []
    return [flag.name.lower().replace("_", " ") for flag in SlotFlag if flag in flags and flag.name]
