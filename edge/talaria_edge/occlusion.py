"""Why a stride was given its class: what each sensor's movement did for it, by taking it away.

The stride is run through the exported model again with one vector of one sensor held at its own mean over
the stride and this leg's stride before, all else as it was, and the lead of the class over the next is
compared (occlusion: Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014,
who cover parts of a picture with grey). The stride before belongs to it because the network remembers: on
stiff-knee walking of CapSense Sub02, with a network that had not met him, holding still the right foot's
specific force took 3.7 off a lead of 6.2, and 1.6 where the one stride alone was changed; two strides
more added 0.2. It works for any network, and needs neither its weights nor torch. What it cannot say:

* What is missing cannot be taken out. A leg held still is more like a stiff one, so that the sensors of a
  stiff leg may seem to speak against it. For that a second question is asked: what if this leg had moved as
  the other one did, half a stride earlier?
* Posture is not asked about: a mean stays as it is.
* Vectors stand in for one another and act together, so that the falls do not add up to the lead.
* A foot that turns without accelerating does not exist. The network may never have met the like, which is
  why every row carries the novelty that it makes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talaria_edge.gait import SIDES
from talaria_edge.heads import Heads
from talaria_edge.hearing import HeardStride
from talaria_edge.pipeline import Model

_PRESENT = ".present"
_ENDS = tuple(f"_{side}" for side in SIDES)


@dataclass(frozen=True, slots=True)
class Part:
    """What became of the stride with some of its movement taken out.

    Attributes
    ----------
    name : str
        ``"femur_r.gyr"``, one channel of it, ``"femur_r.gyr_z"``, or the side of a whole leg.
    fall : float
        Mean log-likelihood by which the lead fell; negative where the movement spoke against the class,
        NaN where the sensor was absent throughout.
    share : float
        Of the falls of all parts that spoke for the class, 0 to 1; NaN where none did, the sensor was absent,
        or the part is a whole leg.
    novelty : float
        Mean novelty of the stride without it; NaN where the model gives none.
    """

    name: str
    fall: float = math.nan
    share: float = math.nan
    novelty: float = math.nan

    @property
    def absent(self) -> bool:
        """Whether there was no such sensor in the stride."""
        return math.isnan(self.fall)


class Occlusion:
    """One stride of one model, asked again and again with some of its movement changed.

    Parameters
    ----------
    model : Model
        Its state is changed; see `as_it_was`.
    stride : HeardStride

    Attributes
    ----------
    said, against : int
        The classes the model favoured most over the stride, and next.
    lead : float
        Mean log-likelihood of the one less that of the other.
    novelty : float
        Mean novelty of the stride; NaN where the model gives none.
    """

    def __init__(self, model: Model, stride: HeardStride) -> None:
        self._model, self._stride = model, stride
        self._heads = Heads(model.spec)
        self._names = [channel.name for channel in model.spec.channels]
        self._flags = [i for i, name in enumerate(self._names) if name.endswith(_PRESENT)]
        mean = self._mean(stride.x)
        order = np.argsort(-mean[:-1], kind="stable").tolist()
        self.said, self.against = order[:2]
        self.lead, self.novelty = self._lead(mean), float(mean[-1])

    @property
    def vectors(self) -> dict[str, list[int]]:
        """Columns of every vector that tells of movement, by name."""
        found: dict[str, list[int]] = {}
        for name, (column,) in self.channels.items():
            found.setdefault(name.rpartition("_")[0], []).append(column)
        return found

    @property
    def channels(self) -> dict[str, list[int]]:
        """The column of every channel that tells of movement, by name."""
        return {name: [i] for i, name in enumerate(self._names) if i not in self._flags}

    def held(self, groups: Mapping[str, Sequence[int]]) -> tuple[Part, ...]:
        """Hold each group of columns still in turn."""
        parts = [self._held(name, columns) for name, columns in groups.items()]
        total = sum(part.fall for part in parts if part.fall > 0.0)
        if total == 0.0:
            return tuple(parts)
        return tuple(
            part if part.absent else replace(part, share=max(part.fall, 0.0) / total)
            for part in parts
        )

    def swapped(self) -> tuple[Part, ...]:
        """Let each leg in turn move as the other did half a stride earlier.

        Nothing where a leg lacks a sensor that the other has, in the model or for a while.
        """
        slots = {slot for slot in self._model.spec.slots if slot[-2:] in _ENDS}
        paired = slots == {_twin(slot) for slot in slots}
        if not (paired and slots and self._stride.x[:, self._flags].all()):
            return ()
        return tuple(self._like_the_other(side) for side in SIDES)

    def _held(self, name: str, columns: Sequence[int]) -> Part:
        """Hold columns at their means over the ticks on which their sensors were there."""
        original, first = self._stride.x, self._stride.lead_in
        x, known = original.copy(), False
        for column in columns:
            slot = self._names[column].partition(".")[0]
            there = original[:, self._names.index(slot + _PRESENT)] > 0.0
            if there[first:].any():
                x[there, column] = original[there, column].mean(dtype=np.float64)
                known = True
        return self._part(name, x) if known else Part(name)

    def _like_the_other(self, side: str) -> Part:
        original = self._stride.x
        x, later = original.copy(), (len(original) - self._stride.lead_in) // 2
        for column, name in enumerate(self._names):
            slot, dot, rest = name.partition(".")
            if slot.endswith(f"_{side}"):
                # Features of a left leg are mirrored: they are those of a right one.
                twin = self._names.index(_twin(slot) + dot + rest)
                x[:, column] = np.roll(original[:, twin], later)
        return self._part(side, x)

    def _part(self, name: str, x: NDArray[np.float32]) -> Part:
        mean = self._mean(x)
        return Part(name, self.lead - self._lead(mean), math.nan, float(mean[-1]))

    def _lead(self, mean: NDArray[np.float64]) -> float:
        return float(mean[self.said] - mean[self.against])

    def _mean(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Class log-likelihoods, then novelty: means over the ticks that `ClassStage` counts."""
        self._model.state = dict(self._stride.memory)
        rows = []
        for k, tick in enumerate(x):
            y: list[float] = self._model.step(tick).tolist()
            if k >= self._stride.lead_in and tick[self._flags].any():
                rows.append([*self._heads.classes_of(y), self._heads.novelty(y)])
        mean: NDArray[np.float64] = np.mean(rows, axis=0, dtype=np.float64)
        return mean


@contextmanager
def as_it_was(model: Model) -> Iterator[None]:
    """Give a model its state back afterwards."""
    before = model.state
    try:
        yield
    finally:
        model.state = before


def _twin(slot: str) -> str:
    return slot[:-1] + ("l" if slot.endswith("r") else "r")
