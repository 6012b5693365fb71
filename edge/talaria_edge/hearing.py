"""Listening in on the network of a pipeline: what went into it during one chosen stride.

The pipeline is the live one: it is given the same model with an ear on it, and does not know.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_edge.alignment import Tick
from talaria_edge.calibration import Calibration
from talaria_edge.classify import ClassParams
from talaria_edge.gait import EventKind, GaitClass
from talaria_edge.pipeline import GaitState, Model, Pipeline
from talaria_edge.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Span:
    """One stride the classifier judged: its running number from 1, leg, and seconds since the start."""

    number: int
    side: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, eq=False)
class HeardStride:
    """One stride as the network met it.

    Attributes
    ----------
    span : Span
    x : float32 array, shape (L + T, C)
        The features of its T ticks, channels as in the model's spec, behind those of a lead-in.
    lead_in : int
        L: the ticks of this leg's stride before, where that was a whole one; else 0.
    memory : mapping of str to array
        The network's state just before the first tick.
    gait_class : GaitClass
        The verdict.
    confidence : float
    shares : (float, float)
        How far the right and the left knee moved in their last stride, as a share of the wearer's usual; NaN
        where that is not known.
    """

    span: Span
    x: NDArray[np.float32]
    lead_in: int
    memory: Mapping[str, NDArray[np.float32]]
    gait_class: GaitClass
    confidence: float
    shares: tuple[float, float]


Choose = Callable[[Span], bool]


@dataclass(frozen=True, slots=True, eq=False)
class _Contact:
    """An initial contact: when, after how many steps and fresh starts of the network, with what memory."""

    t_s: float
    steps: int
    resets: int
    memory: dict[str, NDArray[np.float32]]


class Ear:
    """A model that keeps what it was last given and otherwise is the one it stands for.

    Parameters
    ----------
    model : Model
    kept : int
        Ticks to remember.
    """

    def __init__(self, model: Model, kept: int) -> None:
        self.spec: ModelSpec = model.spec
        self.heard: deque[NDArray[np.float32]] = deque(maxlen=kept)
        self.steps = self.resets = 0
        self._model = model

    def step(self, x: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Advance by one tick."""
        self.heard.append(x)
        self.steps += 1
        return self._model.step(x)

    def reset(self) -> None:
        """Forget everything but what was heard."""
        self.resets += 1
        self._model.reset()

    @property
    def state(self) -> dict[str, NDArray[np.float32]]:
        """The model's own."""
        return self._model.state

    @state.setter
    def state(self, value: dict[str, NDArray[np.float32]]) -> None:
        self._model.state = value


class Listener:
    """A pipeline that keeps the newest of the strides it is asked to keep.

    Parameters
    ----------
    model : Model
    calibration : Calibration
    rate_hz : float
    usual_rad : mapping of side to float, optional
        How far the wearer's knees usually move; see `ClassStage`.
    choose : callable
        Says of a stride whether to keep it.

    Attributes
    ----------
    spans : list of Span
        Every stride that was judged; of two that ended on one tick, the one whose verdict was given out.
        One in which the network had to start afresh is left out.
    kept : HeardStride or None
    states, still : int
        Ticks so far, and those of them on which nobody moved.
    """

    def __init__(
        self,
        model: Model,
        calibration: Calibration,
        rate_hz: float,
        usual_rad: Mapping[str, float] | None,
        choose: Choose,
    ) -> None:
        self.model, self.usual_rad = model, usual_rad
        self.spans: list[Span] = []
        self.kept: HeardStride | None = None
        self.states = self.still = 0
        self._ear = Ear(model, math.ceil(2.0 * ClassParams().fresh_s * rate_hz))
        self._pipeline = Pipeline(self._ear, calibration, rate_hz, usual_knees_rad=usual_rad)
        self._choose = choose
        self._start_s = math.nan
        self._contacts: dict[
            str, tuple[_Contact, ...]
        ] = {}  # newest last, behind it a whole stride's start

    def step(self, tick: Tick) -> GaitState:
        """Advance by one tick; the state is the one the pipeline gives without a listener."""
        state = self._pipeline.step(tick)
        if not self.states:
            self._start_s = tick.t_s
        self.states += 1
        self.still += state.gait_class is GaitClass.STILL
        landed = [e.side for e in state.events if e.kind is EventKind.INITIAL_CONTACT]
        whole = [side for side in landed if self._is_whole(side, tick.t_s)]
        if whole:
            self._finish(whole[-1], tick.t_s)
        for side in landed:
            kept = self._contacts[side][-1:] if side in whole else ()
            now = _Contact(tick.t_s, self._ear.steps, self._ear.resets, self._ear.state)
            self._contacts[side] = (*kept, now)
        return state

    def _is_whole(self, side: str, t_s: float) -> bool:
        """Whether a stride ends here that was judged, and that the network met without a fresh start."""
        p, contacts = ClassParams(), self._contacts.get(side)
        if not contacts or contacts[-1].resets != self._ear.resets:
            return False
        return p.shortest_stride_s <= t_s - contacts[-1].t_s <= p.fresh_s

    def _finish(self, side: str, t_s: float) -> None:
        first, start = self._contacts[side][0], self._contacts[side][-1]
        times = (start.t_s - self._start_s, t_s - self._start_s)
        span = Span(len(self.spans) + 1, side, *times)
        self.spans.append(span)
        if self._choose(span):
            judged = self._pipeline.state.gait_class
            x = np.array(list(self._ear.heard)[first.steps - self._ear.steps :])
            verdict = (judged.verdict, judged.confidence, judged.shares)
            self.kept = HeardStride(span, x, start.steps - first.steps, first.memory, *verdict)
