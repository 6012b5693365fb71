"""Read this first: what happens to one tick between the common clock and the wearer's angles.

    tick -> calibrated segment frames -> one orientation filter per slot -> features
         -> one network step -> angles;  foot rates -> stance, swing and contact events

`Pipeline.step` is an ordinary function of the ticks it has been given: no clock, no queue, nothing
that calls back. The live session, a replay and training's evaluation all call this one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ModelContractError
from talaria_edge.alignment import SlotStatus, Tick
from talaria_edge.calibration import Calibration
from talaria_edge.features import FeatureStage
from talaria_edge.gait import SIDES, FootMemory, GaitEvent, GaitParams, GaitStage, Phase
from talaria_edge.sanitiser import SlotFlag, names_of
from talaria_edge.spec import ModelSpec

_WHY_SILENT = SlotFlag.STUCK | SlotFlag.NOT_FINITE
"""What the sanitiser may have refused a slot's samples for."""


class Validity(StrEnum):
    """How far the angles of a tick may be believed."""

    GOOD = "good"
    DEGRADED = "degraded"
    INVALID = "invalid"


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
        NaN for every angle when ``validity`` is *invalid*: a stale angle is never shown as new.
    phase : dict of side to Phase
    events : tuple of GaitEvent
        Contacts seen on this tick, usually none.
    slot_status, slot_loss, slot_flags : tuple
        In the order of the tick's slots; see `Tick`.
    validity : Validity
    reason : str
        Why it is not good; empty when it is.
    """

    index: int
    t_s: float
    angles_rad: dict[str, float]
    phase: dict[str, Phase]
    events: tuple[GaitEvent, ...]
    slot_status: tuple[SlotStatus, ...]
    slot_loss: tuple[float, ...]
    slot_flags: tuple[SlotFlag, ...]
    validity: Validity
    reason: str


@dataclass(frozen=True, slots=True)
class PipelineParams:
    """How the pipeline starts, and how it comes back after a loss.

    Attributes
    ----------
    settle_s : float
        After a start the filters have not levelled and the network has not seen a stride; until
        then the angles are degraded.
    reset_after_s : float
        After a longer gap the old attitudes are worth less than a fresh start.
    max_loss : float
        Share of a slot's samples lost over the last second above which the angles are degraded.
    """

    settle_s: float = 3.0
    reset_after_s: float = 0.5
    max_loss: float = 0.1


@dataclass(frozen=True, slots=True)
class PipelineState:
    """Everything a pipeline carries from tick to tick."""

    features: list[NDArray[np.float64] | None]
    model: dict[str, NDArray[np.float32]]
    gait: dict[str, FootMemory]
    settled_at_s: float
    last_t_s: float


class Model(Protocol):
    """What the pipeline asks of a network; `talaria_edge.model.StreamingModel` is one."""

    spec: ModelSpec
    state: dict[str, NDArray[np.float32]]

    def step(self, x: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Advance by one tick: features in, radians out."""

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

    Raises
    ------
    ModelContractError
        If the model runs at another rate.
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
    ) -> None:
        if model.spec.rate_hz != rate_hz:
            raise ModelContractError(
                f"Model {model.spec.model_id} was trained at {model.spec.rate_hz:g} Hz but the "
                f"ticks come at {rate_hz:g} Hz: set rate_hz = {model.spec.rate_hz:g}."
            )
        self.slots = model.spec.slots
        self.output_names = tuple(output.name for output in model.spec.outputs)
        self.params = params or PipelineParams()
        self._model = model
        self._features = FeatureStage(rate_hz, calibration, self.slots)
        self._gait = GaitStage(rate_hz, gait_params)
        self._feet = {
            side: self.slots.index(f"calcn_{side}")
            for side in SIDES
            if f"calcn_{side}" in self.slots
        }
        self._nothing = dict.fromkeys(self.output_names, math.nan)
        self.reset()

    def reset(self) -> None:
        """Start as if nothing had been seen."""
        self._features.reset()
        self._model.reset()
        self._gait.reset()
        self._settled_at_s = math.nan
        self._last_t_s = math.nan

    @property
    def state(self) -> PipelineState:
        """What the pipeline carries; assign it back, here or in another process, to resume."""
        return PipelineState(
            self._features.state,
            self._model.state,
            self._gait.state,
            self._settled_at_s,
            self._last_t_s,
        )

    @state.setter
    def state(self, value: PipelineState) -> None:
        self._features.state = value.features
        self._model.state = value.model
        self._gait.state = value.gait
        self._settled_at_s = value.settled_at_s
        self._last_t_s = value.last_t_s

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
        gone = [i for i, status in enumerate(tick.status) if status is SlotStatus.GONE]
        if gone and not tick.t_s - self._last_t_s <= self.params.reset_after_s:
            return self._invalid(tick, _no_data(tick, gone))
        if not gone:
            self._resume(tick.t_s)
        # Through a short gap filters and network run on with the last reading: they must not
        # find, when it ends, that the legs have moved and time has not.
        x = self._features.update(tick.acc_ms2, tick.gyr_rads, tick.turn_rad)
        y = self._model.step(x).tolist()
        if gone:
            return self._invalid(tick, _no_data(tick, gone))
        if not all(map(math.isfinite, y)):
            self._model.reset()  # or its memory would stay poisoned for good
            why = "the model gave a number that is not finite"
            return self._invalid(tick, why, self._foot_rates(tick))
        phase, events = self._gait.update(tick.t_s, self._foot_rates(tick))
        validity, reason = self._judge(tick)
        angles = dict(zip(self.output_names, y, strict=True))
        return _state(tick, angles, phase, events, (validity, reason))

    def _resume(self, t_s: float) -> None:
        """Start afresh after a gap too long to bridge; ``last_t_s`` is the last tick with data."""
        gap_s = t_s - self._last_t_s
        if not gap_s <= self.params.reset_after_s:  # also true of the very first tick (NaN)
            self.reset()
            self._settled_at_s = t_s + self.params.settle_s
        self._last_t_s = t_s

    def _judge(self, tick: Tick) -> tuple[Validity, str]:
        held = [i for i, status in enumerate(tick.status) if status is SlotStatus.HELD]
        if held:
            return Validity.DEGRADED, "bridging " + ", ".join(_how_long(tick, i) for i in held)
        if tick.t_s < self._settled_at_s:
            return Validity.DEGRADED, "settling after a start"
        for slot, loss, flags in zip(tick.slots, tick.loss, tick.flags, strict=True):
            if SlotFlag.SATURATED in flags:
                return Validity.DEGRADED, f"{slot} at the end of its range"
            if loss > self.params.max_loss:
                return Validity.DEGRADED, f"{loss:.0%} of {slot} lost"
        return Validity.GOOD, ""

    def _invalid(
        self, tick: Tick, reason: str, rates: Mapping[str, NDArray[np.float64]] | None = None
    ) -> GaitState:
        """Say nothing about the angles; without foot rates, nothing about the phases either."""
        phase, events = self._gait.update(tick.t_s, rates or {})
        return _state(tick, dict(self._nothing), phase, events, (Validity.INVALID, reason))

    def _foot_rates(self, tick: Tick) -> dict[str, NDArray[np.float64]]:
        segment = self._features.segment
        assert segment is not None  # set by every update
        return {side: segment.gyr_rads[i] for side, i in self._feet.items()}


def _state(
    tick: Tick,
    angles_rad: dict[str, float],
    phase: dict[str, Phase],
    events: tuple[GaitEvent, ...],
    belief: tuple[Validity, str],
) -> GaitState:
    return GaitState(
        tick.index,
        tick.t_s,
        angles_rad,
        phase,
        events,
        tick.status,
        tick.loss,
        tick.flags,
        *belief,
    )


def _no_data(tick: Tick, gone: list[int]) -> str:
    """Say which slots are silent, for how long, and what is odd about them."""
    return "no data from " + ", ".join(_how_long(tick, i) for i in gone)


def _how_long(tick: Tick, i: int) -> str:
    age_s = tick.age_s[i]
    since = f"for {age_s:.2f} s" if math.isfinite(age_s) else "ever"
    why = ", ".join(names_of(tick.flags[i] & _WHY_SILENT))
    return f"{tick.slots[i]} {since}" + (f" ({why})" if why else "")
