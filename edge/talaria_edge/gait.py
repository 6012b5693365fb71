"""Stance and swing of each leg, and the two events between them, from the foot's pitch rate.

During push-off the heel rises and the foot turns toes-down fast; as the foot leaves the ground the
turn reverses; in swing it turns toes-up; at heel contact it reverses once more. Each reversal is
one event. A foot that lies still is in stance, whatever came before. The detector looks at no
future sample: an event is announced on the tick in which it is seen, with its time interpolated
between that tick and the one before, plus a constant fitted against a force plate (which may put
the time up to `GaitParams.initial_offset_s` after the tick that announced it).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

SIDES = ("r", "l")
"""Right and left, in the order every per-side value is given."""


class Phase(StrEnum):
    """What a foot is doing."""

    UNKNOWN = "unknown"
    STANCE = "stance"
    SWING = "swing"


class SubPhase(StrEnum):
    """The parts of a gait cycle: stance's four, bounded by the other foot's contacts, and swing.

    Loading response ends as the other foot leaves the ground, mid-stance as the heel rises, terminal
    stance as the other foot lands, and pre-swing as this foot leaves the ground.
    """

    UNKNOWN = "unknown"
    LOADING_RESPONSE = "loading_response"
    MID_STANCE = "mid_stance"
    TERMINAL_STANCE = "terminal_stance"
    PRE_SWING = "pre_swing"
    SWING = "swing"


class GaitClass(StrEnum):
    """What kind of movement the legs make."""

    UNKNOWN = "unknown"
    STILL = "still"
    WALKING = "walking"
    STIFF_KNEE = "stiff_knee"


class EventKind(StrEnum):
    """The two moments that bound stance."""

    INITIAL_CONTACT = "initial"
    FINAL_CONTACT = "final"


@dataclass(frozen=True, slots=True)
class GaitEvent:
    """One contact event: when (host seconds), which side (``"r"`` or ``"l"``), which kind."""

    t_s: float
    side: str
    kind: EventKind


@dataclass(frozen=True, slots=True)
class LegState:
    """One leg at one instant.

    Attributes
    ----------
    phase : Phase
    sub_phase : SubPhase
    cycle : float
        Share of the gait cycle since this leg's initial contact, 0 to 1; NaN when unknown.
    confidence : float
        How sure the detector is of the phase, 0 to 1.
    """

    phase: Phase = Phase.UNKNOWN
    sub_phase: SubPhase = SubPhase.UNKNOWN
    cycle: float = math.nan
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class GaitParams:
    """Thresholds of the detector; pitch rate is positive toes-up.

    Chosen on CapSense Sub01-04 (left plate) and reported on Sub06-08.

    Attributes
    ----------
    push_rads : float
        Toes-down rate that arms the final contact.
    lift_rads : float
        Rate that, crossed upwards once armed, is the final contact.
    swing_rads : float
        Toes-up rate that arms the initial contact.
    land_rads : float
        Rate that, crossed downwards once armed, is the initial contact.
    still_rads, still_s : float
        A foot turning slower than this for this long is on the ground.
    min_swing_s, min_stance_s : float
        No phase is shorter. The slap of the forefoot after heel contact looks like a small
        push-off; the second number is what keeps it from counting as one.
    initial_offset_s, final_offset_s : float
        Constant between the crossing and the plate's 20 N crossing, added to the event time.
    """

    push_rads: float = 1.5
    lift_rads: float = -1.0
    swing_rads: float = 1.0
    land_rads: float = -0.5
    still_rads: float = 0.5
    still_s: float = 0.08
    min_swing_s: float = 0.15
    min_stance_s: float = 0.25
    initial_offset_s: float = 0.016
    final_offset_s: float = -0.015


@dataclass(frozen=True, slots=True)
class FootMemory:
    """What one foot's detector carries from tick to tick."""

    phase: Phase = Phase.UNKNOWN
    since_s: float = -math.inf
    armed: bool = False
    still_since_s: float = math.inf
    last_t_s: float = math.nan
    last_pitch_rads: float = math.nan


class GaitStage:
    """Streaming stance/swing detector of both feet.

    Parameters
    ----------
    rate_hz : float
        Rate of the ticks; times are taken from the ticks themselves.
    params : GaitParams
        Thresholds.
    """

    def __init__(self, rate_hz: float, params: GaitParams | None = None) -> None:
        self.rate_hz = rate_hz
        self.params = params or GaitParams()
        self.reset()

    def reset(self) -> None:
        """Forget both feet."""
        self._feet = {side: FootMemory() for side in SIDES}

    @property
    def state(self) -> dict[str, FootMemory]:
        """What the detector carries, per side; assign it back to resume."""
        return dict(self._feet)

    @state.setter
    def state(self, value: Mapping[str, FootMemory]) -> None:
        self._feet = dict(value)

    def update(
        self, t_s: float, gyr_rads: Mapping[str, NDArray[np.float64] | None]
    ) -> tuple[dict[str, Phase], tuple[GaitEvent, ...]]:
        """Advance by one tick.

        Parameters
        ----------
        t_s : float
            Instant of the tick, seconds.
        gyr_rads : mapping of side to (3,) array or None
            Angular rate of each foot in its segment frame (x anterior, y superior, z right),
            rad/s; None for a foot that nobody measures now, which forgets its phase.

        Returns
        -------
        phase : dict of side to Phase
        events : tuple of GaitEvent
            Those seen on this tick; usually none.
        """
        events = []
        for side in SIDES:
            rate = gyr_rads.get(side)
            if rate is None:
                self._feet[side] = FootMemory()
                continue
            x, y, z = rate.tolist()
            speed = math.sqrt(x * x + y * y + z * z)
            self._feet[side], event = self._step(side, t_s, z, speed)
            if event is not None:
                events.append(event)
        return {side: foot.phase for side, foot in self._feet.items()}, tuple(events)

    def _step(
        self, side: str, t_s: float, pitch: float, speed: float
    ) -> tuple[FootMemory, GaitEvent | None]:
        foot = self._feet[side]
        still_since_s = min(foot.still_since_s, t_s) if speed < self.params.still_rads else math.inf
        look = self._in_swing if foot.phase is Phase.SWING else self._on_ground
        phase, armed, at_s = look(foot, t_s, pitch, still_since_s)
        if phase is foot.phase:
            return FootMemory(phase, foot.since_s, armed, still_since_s, t_s, pitch), None
        event: GaitEvent | None = None
        if foot.phase is not Phase.UNKNOWN:
            landed = phase is Phase.STANCE
            kind = EventKind.INITIAL_CONTACT if landed else EventKind.FINAL_CONTACT
            event = GaitEvent(at_s, side, kind)
        return FootMemory(phase, t_s, False, still_since_s, t_s, pitch), event

    def _in_swing(
        self, foot: FootMemory, t_s: float, pitch: float, still_since_s: float
    ) -> tuple[Phase, bool, float]:
        """Say what a foot in swing does now, whether it is armed, and when it landed."""
        p = self.params
        armed = foot.armed or pitch > p.swing_rads
        if armed and t_s - foot.since_s >= p.min_swing_s and pitch < p.land_rads:
            at_s = _crossing(foot, t_s, pitch, p.land_rads)
            return Phase.STANCE, False, at_s + p.initial_offset_s
        if t_s - still_since_s >= p.still_s:
            return Phase.STANCE, False, still_since_s
        return Phase.SWING, armed, math.nan

    def _on_ground(
        self, foot: FootMemory, t_s: float, pitch: float, still_since_s: float
    ) -> tuple[Phase, bool, float]:
        """Say the same of a foot in stance, or of one whose phase is still unknown."""
        p = self.params
        armed = foot.armed or (pitch < -p.push_rads and t_s - foot.since_s >= p.min_stance_s)
        if armed and pitch > p.lift_rads:
            at_s = _crossing(foot, t_s, pitch, p.lift_rads)
            return Phase.SWING, False, at_s + p.final_offset_s
        if foot.phase is Phase.UNKNOWN and t_s - still_since_s >= p.still_s:
            return Phase.STANCE, False, math.nan
        return foot.phase, armed, math.nan


def _crossing(foot: FootMemory, t_s: float, pitch: float, level: float) -> float:
    """Instant at which the pitch rate passed ``level`` between the last tick and this one."""
    step = pitch - foot.last_pitch_rads
    before = (foot.last_pitch_rads - level) * (pitch - level) < 0
    if not before or step == 0.0:
        return t_s
    return foot.last_t_s + (level - foot.last_pitch_rads) / step * (t_s - foot.last_t_s)
