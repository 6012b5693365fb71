"""Forces under the feet and moments of the joints: a second network on the same features of the same tick.

    features -> one step of the force network -> forces of a fixed moment ago, with intervals
             -> what of them to believe -> stances, and whether force and contact agree

What it says at a tick is of `Loads.t_s`, a constant delay before the tick: with a few samples of hindsight
the network is surer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from talaria_edge.belief import Belief, Doubt, Validity, believe, nothing
from talaria_edge.gait import SIDES, GaitEvent, LegState, Phase
from talaria_edge.heads import Heads
from talaria_edge.spec import ModelSpec
from talaria_edge.stances import FORCE_AXES, Force, Stance, StanceMemory, StanceStage

if TYPE_CHECKING:
    from talaria_edge.pipeline import Model

SIDE_WORDS = {"r": "right", "l": "left"}
MOMENT_JOINTS = ("hip_flexion", "knee_angle", "ankle_angle")
"""Whose sagittal moments a model may give, as ``<joint>_moment_<side>``. They are internal (what muscles and
ligaments do), and OpenSim's signs are theirs: flexion and dorsiflexion positive, a push-off negative."""
_ORDER = (Validity.GOOD, Validity.DEGRADED, Validity.INVALID)


@dataclass(frozen=True, slots=True)
class Loads:
    """What ground and joints carried at one instant; empty without a force model.

    Attributes
    ----------
    t_s : float
        The instant, host seconds: the model's delay before the gait state that holds this.
    force_bw, force_interval_bw : dict of output name to float
        Body weights, ``grf_<axis>_<side>``, axes as in `talaria_edge.stances.FORCE_AXES`; half-widths of
        the intervals that hold the true force 90 % of the time. NaN where *invalid*.
    moment_nm_kg, moment_interval_nm_kg : dict of output name to float
        The same of joint moments, N m per kilogram of body mass; empty where the model gives none.
    output_validity : dict of output name to Validity
    disagreeing : tuple of str
        Sides whose force says for long that the foot stands when the contact detector says that it
        swings, or the reverse.
    stances : tuple of Stance
        Completed on this tick, usually none.
    validity : Validity
        *Good* if every force is (every moment, where there are only moments), *invalid* if none can be given.
    reason : str
        Why it is not good; empty when it is.
    """

    t_s: float = math.nan
    force_bw: dict[str, float] = field(default_factory=dict)
    force_interval_bw: dict[str, float] = field(default_factory=dict)
    moment_nm_kg: dict[str, float] = field(default_factory=dict)
    moment_interval_nm_kg: dict[str, float] = field(default_factory=dict)
    output_validity: dict[str, Validity] = field(default_factory=dict)
    disagreeing: tuple[str, ...] = ()
    stances: tuple[Stance, ...] = ()
    validity: Validity = Validity.INVALID
    reason: str = ""

    def __bool__(self) -> bool:
        """Whether there is a force model at all."""
        return bool(self.output_validity)

    @property
    def values(self) -> dict[str, float]:
        """Forces and moments together, by name, each in its own unit."""
        return self.force_bw | self.moment_nm_kg

    @property
    def half_widths(self) -> dict[str, float]:
        """Half-widths of the intervals of `values`."""
        return self.force_interval_bw | self.moment_interval_nm_kg


NO_LOADS = Loads()
"""Of a session without a force model."""


@dataclass(frozen=True, slots=True)
class ForceParams:
    """What forces are shown, and when they contradict the contact detector.

    Attributes
    ----------
    max_vertical_bw, max_horizontal_bw, max_moment_nm_kg : float
        A number known no better than this half-width is not shown: about half of what it changes by
        in a step.
    stands_bw : float
        Vertical force above which a foot stands.
    apart_s : float
        Force and contact may differ for so long: their delays differ, and so do their thresholds.
    """

    max_vertical_bw: float = 0.5
    max_horizontal_bw: float = 0.15
    max_moment_nm_kg: float = 0.6
    stands_bw: float = 0.05
    apart_s: float = 0.2

    def limit(self, name: str, unit: str) -> float:
        """Return the largest half-width with which an output is shown."""
        if unit != "BW":
            return self.max_moment_nm_kg
        return self.max_vertical_bw if "_vertical_" in name else self.max_horizontal_bw


@dataclass(frozen=True, slots=True)
class ForceMemory:
    """Everything the stage carries from tick to tick."""

    model: dict[str, NDArray[np.float32]]
    agreed_s: dict[str, float]
    stances: dict[str, StanceMemory]


class ForceStage:
    """Forces, moments and stances from a force network.

    Parameters
    ----------
    model : Model
        Checked against the session; its outputs are forces or moments.
    rate_hz : float
        Rate of the ticks.
    params : ForceParams, optional

    Attributes
    ----------
    output_names : tuple of str
    """

    def __init__(self, model: Model, rate_hz: float, params: ForceParams | None = None) -> None:
        spec: ModelSpec = model.spec
        self.params = params or ForceParams()
        self.output_names = tuple(output.name for output in spec.outputs)
        self._model = model
        self._delay_s = spec.delay_s
        self._heads = Heads(spec)
        self._limits = {o.name: self.params.limit(o.name, o.unit) for o in spec.outputs}
        self._force_names = tuple(o.name for o in spec.outputs if o.unit == "BW")
        self._moment_names = tuple(o.name for o in spec.outputs if o.unit != "BW")
        feet = {side: tuple(f"grf_{axis}_{side}" for axis in FORCE_AXES) for side in SIDES}
        self._feet = (
            feet if {n for foot in feet.values() for n in foot} <= set(self._limits) else {}
        )
        self._stances = StanceStage(rate_hz)
        self._y: list[float] = []
        self.reset()

    def reset(self) -> None:
        """Start as if nothing had been seen."""
        self._model.reset()
        self._stances.reset()
        self._agreed_s = dict.fromkeys(SIDES, math.inf)

    @property
    def state(self) -> ForceMemory:
        """What the stage carries; assign it back to resume."""
        return ForceMemory(self._model.state, dict(self._agreed_s), self._stances.state)

    @state.setter
    def state(self, value: ForceMemory) -> None:
        self._model.state = value.model
        self._agreed_s = dict(value.agreed_s)
        self._stances.state = value.stances

    def advance(self, x: NDArray[np.float32]) -> None:
        """Let the network take one tick's features, shape (C,), whatever comes of it."""
        self._y = self._model.step(x).tolist()

    def update(
        self,
        t_s: float,
        doubt: Doubt,
        widened: float,
        legs: Mapping[str, LegState],
        events: Sequence[GaitEvent],
    ) -> Loads:
        """Say what the last `advance` came to.

        Parameters
        ----------
        t_s : float
            Instant of the tick, seconds.
        doubt : Doubt
            What is wrong with the sensors.
        widened : float
            By how much intervals grow because the movement is unfamiliar.
        legs : mapping of side to LegState
        events : sequence of GaitEvent
            Contacts announced on this tick.
        """
        y = self._y
        if not math.isfinite(sum(y)):
            self._model.reset()  # or its memory would stay poisoned for good
            return self.silent(t_s, "the force model gave a number that is not finite", events)
        said = dict(zip(self.output_names, y, strict=False))
        widths = self._heads.half_widths(y, widened)
        # What is worth anything at all is judged by the forces: a moment not shown makes none of them worse.
        first = self._force_names or self._moment_names
        lead = believe(
            {name: said[name] for name in first},
            {name: widths[name] for name in first if name in widths},
            self._limits,
            doubt,
        )
        belief = believe(said, widths, self._limits, doubt)
        belief = replace(belief, overall=lead.overall, reason=lead.reason)
        apart = {side: self._apart_s(side, t_s, belief, legs) for side in self._feet}
        disagreeing = tuple(side for side in apart if apart[side] > self.params.apart_s)
        if disagreeing:
            belief = _objected(belief, disagreeing)
        return self._loads(t_s, belief, disagreeing, events)

    def silent(self, t_s: float, reason: str, events: Sequence[GaitEvent] = ()) -> Loads:
        """Say nothing, and why."""
        return self._loads(t_s, nothing(self.output_names, reason), (), events)

    def _apart_s(
        self, side: str, t_s: float, belief: Belief, legs: Mapping[str, LegState]
    ) -> float:
        """How long a foot's force and its contact have been saying different things."""
        vertical_bw = belief.values[self._feet[side][2]]
        phase = legs[side].phase
        stands = vertical_bw > self.params.stands_bw
        known = phase is not Phase.UNKNOWN and not math.isnan(vertical_bw)
        agree = not known or stands is (phase is Phase.STANCE)
        self._agreed_s[side] = t_s if agree else min(self._agreed_s[side], t_s)
        return t_s - self._agreed_s[side]

    def _loads(
        self,
        t_s: float,
        belief: Belief,
        disagreeing: tuple[str, ...],
        events: Sequence[GaitEvent],
    ) -> Loads:
        at_s = t_s - self._delay_s
        values, widths = belief.values, belief.widths
        return Loads(
            at_s,
            {name: values[name] for name in self._force_names},
            {name: widths[name] for name in self._force_names},
            {name: values[name] for name in self._moment_names},
            {name: widths[name] for name in self._moment_names},
            belief.validity,
            disagreeing,
            self._step_stances(at_s, belief, events),
            belief.overall,
            belief.reason,
        )

    def _step_stances(
        self, at_s: float, belief: Belief, events: Sequence[GaitEvent]
    ) -> tuple[Stance, ...]:
        if not self._feet:
            return ()
        forces: dict[str, Force] = {}
        worst = {}
        for side, (along, lateral, vertical) in self._feet.items():
            values, validity = belief.values, belief.validity
            forces[side] = (values[along], values[lateral], values[vertical])
            if belief.overall is Validity.GOOD:
                worst[side] = Validity.GOOD
            else:
                found = (validity[along], validity[lateral], validity[vertical])
                worst[side] = max(found, key=_ORDER.index)
        return self._stances.update(at_s, forces, worst, belief.reason, events)


def _objected(belief: Belief, sides: Sequence[str]) -> Belief:
    """Believe the forces of feet less that the contact detector sees elsewhere."""
    validity = {
        name: Validity.DEGRADED if how is Validity.GOOD and name[-1] in sides else how
        for name, how in belief.validity.items()
    }
    feet = " and ".join(SIDE_WORDS[side] for side in sides)
    objection = f"force and contact disagree on the {feet} foot"
    reason = "; ".join(filter(None, (belief.reason, objection)))
    overall = Validity.DEGRADED if belief.overall is Validity.GOOD else belief.overall
    return Belief(belief.values, belief.widths, validity, overall, reason)
