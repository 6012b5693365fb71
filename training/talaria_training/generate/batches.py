"""Windows of gait drawn to learn from: mirrored or not, each person as often as they weigh."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from talaria_bridge.errors import ConfigError
from talaria_edge.generate.contract import Scale
from talaria_edge.generate.motion import CHANNELS, STYLES, UNITS, mirrored, mirrored_style
from talaria_training.generate.windows import Windows

_ANGLE = [i for i, name in enumerate(CHANNELS) if UNITS[name] == "rad"]
_MIRRORED_STYLE = np.array([STYLES.index(mirrored_style(style) or style) for style in STYLES])


@dataclass(frozen=True, slots=True)
class FitConfig:
    """Everything that shapes a training run."""

    steps: int = 16_000  # optimiser steps
    batch: int = 32  # windows per step
    lr: float = 1e-3  # peak; falls as a cosine
    warmup: int = 500  # steps on which the rate rises
    weight_decay: float = 0.01
    ema: float = 0.999  # what the average of the weights keeps per step, once it has settled
    clip: float = 1.0
    difference_weight: float = 1.0  # of errors of first differences, against errors of values
    shift_rad: float = 0.06  # spread of what is added to every angle: nobody's zero is another's
    stretch: float = 0.08  # spread of factors on every angle's movement about its mean
    forget_all: float = 0.1  # share of windows of which nothing is asked
    forget_each: float = 0.2  # share of the others' numbers, and styles, that are not asked
    save_every: int = 500
    compiled: bool = False  # by torch, worth it on a GPU
    seed: int = 0


class Batch(NamedTuple):
    """Windows ready to learn from; what was not measured, or is not known, is 0.

    Attributes
    ----------
    x, measured : Tensor, shape (B, WINDOW, len(CHANNELS))
        Normalised; and 1 where measured.
    numbers, numbers_known : Tensor, shape (B, len(NUMBERS))
    style : Tensor of int64, shape (B,)
    """

    x: Tensor
    measured: Tensor
    numbers: Tensor
    numbers_known: Tensor
    style: Tensor


def source_weights(
    source_of: Mapping[str, str], weight_of: Mapping[str, float]
) -> dict[str, float]:
    """Return weights of people such that each source is drawn as often as it weighs, its people alike.

    Parameters
    ----------
    source_of : mapping of person to source
    weight_of : mapping of source to float
    """
    sources = list(source_of.values())
    return {who: weight_of[source] / sources.count(source) for who, source in source_of.items()}


def scale_of(windows: Windows) -> Scale:
    """Return means and standard deviations of windows and their mirror images; 0 and 1 of what nobody has."""
    values = windows.values
    # A mirror image's sums are the mirrored sums.
    count = np.asarray(np.isfinite(values).sum(axis=(0, 1)), np.float64)
    total = np.asarray(np.nansum(values, axis=(0, 1), dtype=np.float64))
    square = np.asarray(np.nansum(np.square(values), axis=(0, 1), dtype=np.float64))
    count, square = (one + np.abs(mirrored(one)) for one in (count, square))
    return Scale(*_moments(count, total + mirrored(total), square), *_number_moments(windows))


class Draw:
    """Random windows of people, each person as often as they weigh, half of them mirrored."""

    def __init__(
        self, windows: Windows, config: FitConfig, weights: Mapping[str, float] | None
    ) -> None:
        if not len(windows.values):
            raise ConfigError(
                "There is no window of gait to learn from: give recordings of at least 1.5 s that hold "
                "some of the channels."
            )
        self.config = config
        self.scale = scale_of(windows)
        self._windows = windows
        people, owner, counts = np.unique(windows.person, return_inverse=True, return_counts=True)
        missing = [str(who) for who in people if weights is not None and who not in weights]
        if missing:
            raise ConfigError(
                f"{missing[0]} has windows and no weight: give every person's, or none."
            )
        weight = np.sqrt(counts) if weights is None else np.array([weights[w] for w in people])
        self._share = weight / weight.sum()
        self._rows = [np.flatnonzero(owner == i) for i in range(len(people))]

    def __call__(self, rng: np.random.Generator) -> Batch:
        """Draw a batch."""
        people = rng.choice(len(self._rows), size=self.config.batch, p=self._share)
        row = np.array([rng.choice(self._rows[i]) for i in people])
        values, style = self._windows.values[row], self._windows.style[row]
        mirror = rng.random(len(row)) < 0.5
        values[mirror] = mirrored(values[mirror])
        swap = mirror & (style >= 0)
        style[swap] = _MIRRORED_STYLE[style[swap]]
        self._vary(values, rng)
        asked = self.scale.asked(self._windows.numbers[row], style)
        measured = np.isfinite(values)
        x = np.where(measured, self.scale.normalised(values), 0.0).astype(np.float32)
        told, styled = self._told(asked.numbers_known, rng)
        arrays = (x, measured.astype(np.float32), asked.numbers * told, told, asked.style * styled)
        return Batch(*map(torch.from_numpy, arrays))

    def _vary(self, values: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Shift and stretch each angle of windows, in place: few people are many who differ a little."""
        shape = (len(values), 1, len(_ANGLE))
        stretch = np.exp(self.config.stretch * rng.standard_normal(shape))
        shift = self.config.shift_rad * rng.standard_normal(shape)
        angle = values[:, :, _ANGLE]
        count = np.maximum(np.isfinite(angle).sum(axis=1, keepdims=True), 1)
        mean = np.nansum(angle, axis=1, keepdims=True) / count
        values[:, :, _ANGLE] = mean + stretch * (angle - mean) + shift

    def _told(
        self, known: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Draw which numbers, and whether the style, are told of those known."""
        some = rng.random(len(known)) >= self.config.forget_all
        each = rng.random((len(known), known.shape[1] + 1)) >= self.config.forget_each
        told = each & some[:, None]
        return known * told[:, :-1], told[:, -1].astype(np.int64)

    def digest(self) -> str:
        """Tell this training's windows and shares from another's."""
        digest = hashlib.sha256(self._share.tobytes())
        for array in (self._windows.values, self._windows.numbers, self._windows.style):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update("\n".join(self._windows.person).encode())
        return digest.hexdigest()


def _moments(
    count: NDArray[np.float64], total: NDArray[np.float64], square: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mean = total / np.maximum(count, 1.0)
    std = np.sqrt(np.maximum(square / np.maximum(count, 1.0) - mean**2, 0.0))
    # What never changes has nothing to be measured by.
    std = np.where(std > 1e-4, std, 1.0)
    return mean.astype(np.float32), std.astype(np.float32)


def _number_moments(windows: Windows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    numbers = windows.numbers
    return _moments(
        np.isfinite(numbers).sum(axis=0).astype(np.float64),
        np.nansum(numbers, axis=0, dtype=np.float64),
        np.nansum(np.square(numbers, dtype=np.float64), axis=0),
    )
