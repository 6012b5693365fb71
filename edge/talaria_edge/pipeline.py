"""Read this first: what happens to one tick between the common clock and the wearer's gait.

    tick -> calibrated segment frames -> one orientation filter per slot -> features
         -> one network step -> angles with intervals, contact, cycle, class
         -> phases and events per leg, beside the rules' -> strides -> what of it to believe
         -> with a force model: forces under the feet and what of them to believe -> stances

`Pipeline.step` is an ordinary function of the ticks it has been given: no clock, no queue, nothing
that calls back. The live session, a replay and training's evaluation all call this one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ModelContractError
from talaria_edge.alignment import SlotStatus, Tick
from talaria_edge.belief import Belief, Doubt, Validity, believe, nothing
from talaria_edge.calibration import Calibration
from talaria_edge.classify import ClassMemory, ClassStage
from talaria_edge.features import FeatureStage
from talaria_edge.forces import NO_LOADS, ForceMemory, ForceStage, Loads
from talaria_edge.gait import (
    SIDES,
    FootMemory,
    GaitClass,
    GaitEvent,
    GaitParams,
    GaitStage,
    LegState,
    Phase,
)
from talaria_edge.heads import Heads, Widening
from talaria_edge.legs import LegMemory, LegStage, LegView
from talaria_edge.sanitiser import SlotFlag, names_of
from talaria_edge.spec import ModelSpec
from talaria_edge.strides import Stride, StrideMemory, StrideStage

__all__ = [
    "GaitState",
    "Model",
    "Pipeline",
    "PipelineParams",
    "PipelineState",
    "Validity",
]

_WHY_SILENT = SlotFlag.STUCK | SlotFlag.NOT_FINITE
"""What the sanitiser may have refused a slot's samples for."""


@dataclass(frozen=True, slots=True)
class GaitState:
    """What the legs do at one instant.

    Attributes
    ----------
    index : int
        Number of the tick.
    t_s : float
        The instant, host seconds.
    angles_rad : dict of OpenSim name to float
        NaN where the angle is *invalid*: a stale angle is never shown as new.
    interval_rad : dict of OpenSim name to float
        Half-width of the interval that holds the true angle 90 % of the time; NaN where the model
        does not know, or the angle is invalid.
    angle_validity : dict of OpenSim name to Validity
    legs : dict of side to LegState
    events : tuple of GaitEvent
        Contacts announced on this tick, usually none.
    gait_class : GaitClass
        Of the last whole stride.
    class_confidence : float
        Its chance, 0 to 1.
    strides : tuple of Stride
        Completed on this tick, usually none.
    slot_status, slot_loss, slot_flags : tuple
        In the order of the tick's slots; see `Tick`.
    validity : Validity
        *Good* if every angle is, *invalid* if none can be given.
    reason : str
        Why it is not good; empty when it is.
    loads : Loads
        Forces and moments, of a fixed moment before; empty without a force model.
    """

    index: int
    t_s: float
    angles_rad: dict[str, float]
    interval_rad: dict[str, float]
    angle_validity: dict[str, Validity]
    legs: dict[str, LegState]
    events: tuple[GaitEvent, ...]
    gait_class: GaitClass
    class_confidence: float
    strides: tuple[Stride, ...]
    slot_status: tuple[SlotStatus, ...]
    slot_loss: tuple[float, ...]
    slot_flags: tuple[SlotFlag, ...]
    validity: Validity
    reason: str
    loads: Loads = NO_LOADS

    @property
    def phase(self) -> dict[str, Phase]:
        """Stance or swing, per side."""
        return {side: leg.phase for side, leg in self.legs.items()}


@dataclass(frozen=True, slots=True)
class PipelineParams:
    """How the pipeline starts, how it comes back after a loss, and what it refuses to show.

    Attributes
    ----------
    settle_s : float
        After a start the filters have not levelled and the network has not seen a stride; until
        then the angles are degraded.
    reset_after_s : float
        After a longer gap the old attitudes are worth less than a fresh start.
    max_loss : float
        Share of a slot's samples lost over the last second above which the angles are degraded.
    max_interval_rad : float
        An angle known no better than this half-width (20°) is not shown.
    """

    settle_s: float = 2.5
    reset_after_s: float = 0.5
    max_loss: float = 0.1
    max_interval_rad: float = 0.35


@dataclass(frozen=True, slots=True)
class PipelineState:
    """Everything a pipeline carries from tick to tick."""

    features: list[NDArray[np.float64] | None]
    model: dict[str, NDArray[np.float32]]
    gait: dict[str, FootMemory]
    legs: dict[str, LegMemory]
    gait_class: ClassMemory
    novelty: float
    strides: StrideMemory
    settled_at_s: tuple[float, ...]
    last_t_s: tuple[float, ...]
    forces: ForceMemory | None = None


class Model(Protocol):
    """What the pipeline asks of a network; `talaria_edge.model.StreamingModel` is one."""

    spec: ModelSpec
    state: dict[str, NDArray[np.float32]]

    def step(self, x: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Advance by one tick: features in; the spec's outputs and heads out."""

    def reset(self) -> None:
        """Forget everything."""


class Pipeline:
    """Ticks in, gait states out.

    Parameters
    ----------
    model : Model
        A network that has been checked against the session.
    calibration : Calibration
        The wearer's, for every slot of the model.
    rate_hz : float
        Rate of the ticks.
    params : PipelineParams, optional
    gait_params : GaitParams, optional
    usual_knees_rad : mapping of side to float, optional
        How far the wearer's knees usually move in a stride, as this model sees it; see `ClassStage`.
    force_model : Model, optional
        A network of the same inputs that gives forces and moments.

    Raises
    ------
    ModelContractError
        If a model runs at another rate, or the two have different sensors or features.
    CalibrationError
        If the calibration lacks a slot of the model.
    """

    def __init__(
        self,
        model: Model,
        calibration: Calibration,
        rate_hz: float,
        params: PipelineParams | None = None,
        gait_params: GaitParams | None = None,
        usual_knees_rad: Mapping[str, float] | None = None,
        force_model: Model | None = None,
    ) -> None:
        spec = model.spec
        if spec.rate_hz != rate_hz:
            raise ModelContractError(
                f"Model {spec.model_id} was trained at {spec.rate_hz:g} Hz but the "
                f"ticks come at {rate_hz:g} Hz: set rate_hz = {spec.rate_hz:g}."
            )
        if force_model is not None:
            _check_pair(spec, force_model.spec)
        self.slots = spec.slots
        self.output_names = tuple(output.name for output in spec.outputs)
        self.params = params or PipelineParams()
        self._model = model
        self._heads = Heads(spec)
        self._features = FeatureStage(rate_hz, calibration, self.slots)
        self._gait = GaitStage(rate_hz, gait_params)
        self._legs = LegStage(rate_hz, self._heads.delay_s)
        limit = None if spec.familiarity is None else spec.familiarity.limit
        self._class = ClassStage(self._heads.classes, limit, usual_rad=usual_knees_rad)
        self._widening = Widening(rate_hz, limit)
        self._feet = {
            side: self.slots.index(f"calcn_{side}")
            for side in SIDES
            if f"calcn_{side}" in self.slots
        }
        self._strides = StrideStage(rate_hz, self._feet)
        self._limits = dict.fromkeys(self.output_names, self.params.max_interval_rad)
        self._forces = None if force_model is None else ForceStage(force_model, rate_hz)
        self.reset()

    def reset(self) -> None:
        """Start as if nothing had been seen."""
        self._features.reset()
        self._model.reset()
        self._gait.reset()
        self._legs.reset()
        self._class.reset()
        self._widening.reset()
        self._strides.reset()
        if self._forces is not None:
            self._forces.reset()
        self._settled_at_s = [math.nan] * len(self.slots)
        self._last_t_s = [-math.inf] * len(self.slots)

    @property
    def attitude(self) -> NDArray[np.float64] | None:
        """Attitudes of the segments at the last tick, shape (S, 4), segment to world; headings drift."""
        return self._features.attitude

    @property
    def state(self) -> PipelineState:
        """What the pipeline carries; assign it back, here or in another process, to resume."""
        return PipelineState(
            self._features.state,
            self._model.state,
            self._gait.state,
            self._legs.state,
            self._class.state,
            self._widening.state,
            self._strides.state,
            tuple(self._settled_at_s),
            tuple(self._last_t_s),
            None if self._forces is None else self._forces.state,
        )

    @state.setter
    def state(self, value: PipelineState) -> None:
        self._features.state = value.features
        self._model.state = value.model
        self._gait.state = value.gait
        self._legs.state = value.legs
        self._class.state = value.gait_class
        self._widening.state = value.novelty
        self._strides.state = value.strides
        self._settled_at_s = list(value.settled_at_s)
        self._last_t_s = list(value.last_t_s)
        if self._forces is not None and value.forces is not None:
            self._forces.state = value.forces

    def step(self, tick: Tick) -> GaitState:
        """Advance by one tick.

        Raises
        ------
        ModelContractError
            If the tick has other slots than the model.
        """
        if tick.slots != self.slots:
            raise ModelContractError(
                f"The model needs {', '.join(self.slots)} but the tick has "
                f"{', '.join(tick.slots)}: align exactly the model's slots, in its order."
            )
        present = [status is not SlotStatus.GONE for status in tick.status]
        if not any(present) and tick.t_s - max(self._last_t_s) > self.params.reset_after_s:
            return self._silent(tick, _no_data(tick, range(len(present))))
        self._resume(tick.t_s, present)
        # Through a short gap filters and network run on with the last reading: they must not
        # find, when it ends, that the legs have moved and time has not.
        x = self._features.update(tick.acc_ms2, tick.gyr_rads, tick.turn_rad, present)
        y: list[float] = self._model.step(x).tolist()
        if self._forces is not None:
            self._forces.advance(x)
        if not any(present):
            return self._silent(tick, _no_data(tick, range(len(present))))
        sound = math.isfinite(sum(y))  # no sum of numbers that fit into 32 bits overflows in 64
        if not sound:
            self._model.reset()  # or its memory would stay poisoned for good
            y = [math.nan] * len(y)
        legs, events = self._step_legs(tick.t_s, present, y)
        verdict = self._classify(tick.t_s, present, y, events)
        doubt = self._doubt(tick, present)
        # Without a sensor any memory is strange, and there the scale has learned to grow by itself.
        widened = self._widening.update(self._heads.novelty(y)) if doubt.complete else 1.0
        if sound:
            values = dict(zip(self.output_names, y, strict=False))
            widths = self._heads.half_widths(y, widened)
            belief = believe(values, widths, self._limits, doubt)
        else:
            belief = nothing(self.output_names, "the model gave a number that is not finite")
        loads = NO_LOADS
        if self._forces is not None:
            loads = self._forces.update(tick.t_s, doubt, widened, legs, events)
        return self._state(tick, present, legs, events, verdict, belief, loads)

    def _resume(self, t_s: float, present: Sequence[bool]) -> None:
        """Start afresh what was away for too long to bridge: one slot, or everything."""
        reset_after_s = self.params.reset_after_s
        if t_s - max(self._last_t_s) > reset_after_s:  # also the very first tick
            self.reset()
        for i, there in enumerate(present):
            if not there:
                continue
            if t_s - self._last_t_s[i] > reset_after_s:
                self._features.restart(i)
                self._settled_at_s[i] = t_s + self.params.settle_s
            self._last_t_s[i] = t_s

    def _step_legs(
        self, t_s: float, present: Sequence[bool], y: Sequence[float]
    ) -> tuple[dict[str, LegState], tuple[GaitEvent, ...]]:
        segment = self._features.segment
        assert segment is not None  # set by every update
        rates = {side: segment.gyr_rads[i] for side, i in self._feet.items() if present[i]}
        rules, rule_events = self._gait.update(t_s, rates)
        contact, cycle = self._heads.contact(y), self._heads.cycle(y)
        views = {}
        for side in SIDES:
            if side not in rates and math.isnan(contact[side]):
                continue
            pitch = float(rates[side][2]) if side in rates else math.nan
            views[side] = LegView(contact[side], cycle[side], rules[side], pitch)
        return self._legs.update(t_s, views, rule_events)

    def _classify(
        self,
        t_s: float,
        present: Sequence[bool],
        y: Sequence[float],
        events: tuple[GaitEvent, ...],
    ) -> tuple[GaitClass, float]:
        segment = self._features.segment
        assert segment is not None
        feet = [i for i in self._feet.values() if present[i]]
        watched = feet or [i for i, there in enumerate(present) if there]
        rates = segment.gyr_rads.tolist()
        fastest = max(abs(rate) for i in watched for rate in rates[i])
        said, novelty = self._heads.classes_of(y), self._heads.novelty(y)
        # Where a sensor is gone the network guesses at knees, and its word on the class is the better guess.
        knees_rad = self._heads.knees(y) if all(present) else (math.nan, math.nan)
        return self._class.update(t_s, fastest, said, novelty, events, knees_rad)

    def _doubt(self, tick: Tick, present: Sequence[bool]) -> Doubt:
        """Say which sides are not to be believed fully, and why."""
        found: dict[int, str] = {}
        for i, status in enumerate(tick.status):
            if not present[i]:
                found[i] = "no data from " + _how_long(tick, i)
            elif status is SlotStatus.HELD:
                found[i] = "bridging " + _how_long(tick, i)
            elif tick.t_s < self._settled_at_s[i]:
                found[i] = f"{tick.slots[i]} settling after a start"
            elif tick.flags[i] and SlotFlag.SATURATED in tick.flags[i]:
                found[i] = f"{tick.slots[i]} at the end of its range"
            elif tick.loss[i] > self.params.max_loss:
                found[i] = f"{tick.loss[i]:.0%} of {tick.slots[i]} lost"
        reasons = list(found.values())
        if len(reasons) > 1 and all("settling" in reason for reason in reasons):
            reasons = ["settling after a start"]
        return Doubt(frozenset(self.slots[i][-1] for i in found), tuple(reasons), all(present))

    def _silent(self, tick: Tick, reason: str) -> GaitState:
        """Say nothing about the legs, which no sensor sees."""
        self._gait.update(tick.t_s, {})
        legs, events = self._legs.update(tick.t_s, {})
        unseen = [False] * len(self.slots)
        verdict = (GaitClass.UNKNOWN, 0.0)
        loads = NO_LOADS
        if self._forces is not None:
            loads = self._forces.silent(tick.t_s, reason, events)
        belief = nothing(self.output_names, reason)
        return self._state(tick, unseen, legs, events, verdict, belief, loads)

    def _state(
        self,
        tick: Tick,
        present: Sequence[bool],
        legs: dict[str, LegState],
        events: tuple[GaitEvent, ...],
        verdict: tuple[GaitClass, float],
        belief: Belief,
        loads: Loads,
    ) -> GaitState:
        strides = self._strides.update(
            tick.t_s, events, self._features.segment, belief.values, verdict[0], present
        )
        return GaitState(
            tick.index,
            tick.t_s,
            belief.values,
            belief.widths,
            belief.validity,
            legs,
            events,
            *verdict,
            strides,
            tick.status,
            tick.loss,
            tick.flags,
            belief.overall,
            belief.reason,
            loads,
        )


def _check_pair(angles: ModelSpec, forces: ModelSpec) -> None:
    """Refuse a force model that wants other inputs than the model of the angles."""
    theirs, ours = (
        (spec.slots, spec.rate_hz, spec.feature_version, spec.channels) for spec in (forces, angles)
    )
    if theirs != ours:
        raise ModelContractError(
            f"Model {forces.model_id} takes {', '.join(forces.slots)} at {forces.rate_hz:g} Hz and model "
            f"{angles.model_id} takes {', '.join(angles.slots)} at {angles.rate_hz:g} Hz, or their features "
            "differ: choose two that were made for the same sensors, rate and version."
        )


def _no_data(tick: Tick, gone: Sequence[int]) -> str:
    """Say which slots are silent, for how long, and what is odd about them."""
    return "no data from " + ", ".join(_how_long(tick, i) for i in gone)


def _how_long(tick: Tick, i: int) -> str:
    age_s = tick.age_s[i]
    since = f"for {age_s:.2f} s" if math.isfinite(age_s) else "ever"
    why = ", ".join(names_of(tick.flags[i] & _WHY_SILENT))
    return f"{tick.slots[i]} {since}" + (f" ({why})" if why else "")
