"""Classifiers of strides, all with the same few attributes, whatever is inside.

A classifier takes strides in the channels' own units; what they are standardised by is part of it, as `mean`
and `scale`, and outside its network, so that relevance can be asked of the network alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_training.classify.learning import (
    Effort,
    Standard,
    chunks,
    learn_linear,
    learn_net,
    reduced,
    standard,
)
from talaria_training.classify.nets import BUILDERS, Shape

LINEAR = ("svm", "logistic")
MODELS = (*LINEAR, *BUILDERS)
_HELD = 0.15
_RATES = {"small": 6e-3}  # its normalised layers bear three times the others' steps
_LEAST_POINTS = 8  # three halvings leave one


class Classifier(Protocol):
    """Something that scores strides for each of its classes."""

    @property
    def name(self) -> str:
        """What kind it is, one of `MODELS`."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the scores."""
        ...

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean curve (channels, points) of the strides it learned from."""
        ...

    @property
    def scale(self) -> NDArray[np.float32]:
        """Spread (channels, 1) about that curve."""
        ...

    @property
    def hyper(self) -> Mapping[str, Any]:
        """What it was told beside the strides; of a network, ``epochs`` after which it was left."""
        ...

    @property
    def net(self) -> nn.Sequential:
        """From standardised strides (N, channels, points) to scores (N, classes)."""
        ...

    def scores(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score strides (N, channels, points) for each class, before softmax: (N, classes)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LinearClassifier:
    """A linear support vector machine or logistic regression.

    Attributes
    ----------
    name : str
    classes : tuple of str
    by : Standard
    weight : ndarray, shape (classes, channels * points)
        On standardised strides.
    bias : ndarray, shape (classes,)
    hyper : mapping
        What it was told beside the strides.
    """

    name: str
    classes: tuple[str, ...]
    by: Standard
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    hyper: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean curve (channels, points) of the training strides."""
        return self.by.mean

    @property
    def scale(self) -> NDArray[np.float32]:
        """Spread (channels, 1) about the mean curve."""
        return self.by.scale

    @property
    def net(self) -> nn.Sequential:
        """The same as a network of one layer, in single precision."""
        layer = nn.Linear(self.weight.shape[1], len(self.classes))
        layer.load_state_dict(
            {"weight": torch.tensor(self.weight), "bias": torch.tensor(self.bias)}
        )
        return nn.Sequential(nn.Flatten(), layer).eval().requires_grad_(False)

    def scores(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score strides (N, channels, points): (N, classes)."""
        found = np.empty((len(values), len(self.classes)))
        for part in chunks(np.arange(len(values))):
            x = self.by.apply(values[part]).reshape(len(part), -1)
            found[part] = x.astype(np.float64) @ self.weight.T + self.bias
        return found


@dataclass(frozen=True, slots=True, eq=False)
class NetClassifier:
    """A network of `talaria_training.classify.nets`.

    Attributes
    ----------
    name : str
    classes : tuple of str
    by : Standard
    net : nn.Sequential
        In evaluation mode.
    hyper : mapping
        What it was told beside the strides; ``epochs`` after which it was left.
    """

    name: str
    classes: tuple[str, ...]
    by: Standard
    net: nn.Sequential
    hyper: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean curve (channels, points) of the training strides."""
        return self.by.mean

    @property
    def scale(self) -> NDArray[np.float32]:
        """Spread (channels, 1) about the mean curve."""
        return self.by.scale

    def scores(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score strides (N, channels, points): (N, classes)."""
        found = np.empty((len(values), len(self.classes)))
        with torch.no_grad():
            for part in chunks(np.arange(len(values))):
                found[part] = self.net(torch.from_numpy(self.by.apply(values[part]))).numpy()
        return found


def fit(
    name: str,
    values: NDArray[np.float32],
    labels: NDArray[np.str_],
    seed: int,
    held: NDArray[np.bool_] | None = None,
    **hyper: Any,
) -> Classifier:
    """Learn to tell labels apart; classes are balanced by weights.

    Parameters
    ----------
    name : str
        One of `MODELS`.
    values : ndarray, shape (N, channels, points)
    labels : ndarray of str, shape (N,)
    seed : int
        Of a network's first weights and the order of its strides.
    held : ndarray of bool, shape (N,), optional
        Strides not to learn from: a network stops by them. Where they are not given, a network that
        stops keeps 15 % of each class for it, drawn by the seed.
    **hyper
        ``C`` of linear models; of networks, what their builder takes, and ``epochs``, which turns early
        stopping off.

    Raises
    ------
    ConfigError
        If there is no such model or setting, or there is one class only.
    RecordingError
        If a value is missing.
    """
    return next(fit_each(name, values, labels, seed, [hyper], held))


def fit_each(
    name: str,
    values: NDArray[np.float32],
    labels: NDArray[np.str_],
    seed: int,
    settings: Sequence[Mapping[str, Any]],
    held: NDArray[np.bool_] | None = None,
) -> Iterator[Classifier]:
    """Do as `fit` once per setting, when asked; linear models share what does not depend on it."""
    _check(name, values, labels)
    classes, targets = np.unique(labels, return_inverse=True)
    names = tuple(str(label) for label in classes)
    if name not in LINEAR:
        for hyper in settings:
            yield _fit_net(name, values, (names, targets), seed, held, hyper)
        return
    rows = np.arange(len(labels)) if held is None else np.flatnonzero(~held)
    by = standard(values, rows)
    strides = reduced(values, rows, by)
    for hyper in settings:
        if not hyper.keys() <= {"C"}:
            raise _unknown(name, hyper)
        weight, bias = learn_linear(name, strides, targets[rows], hyper.get("C", 1.0))
        yield LinearClassifier(name, names, by, weight, bias, dict(hyper))


def _fit_net(
    name: str,
    values: NDArray[np.float32],
    known: tuple[tuple[str, ...], NDArray[np.intp]],
    seed: int,
    held: NDArray[np.bool_] | None,
    hyper: Mapping[str, Any],
) -> NetClassifier:
    names, targets = known
    settings = dict(hyper)
    epochs = settings.pop("epochs", None)
    if held is None and epochs is None:
        held = _drawn(targets, seed)
    rows = np.arange(len(targets)) if held is None else np.flatnonzero(~held)
    by = standard(values, rows)
    torch.manual_seed(seed)
    net = build(name, Shape(values.shape[1], values.shape[2], len(names)), settings)
    rate = _RATES.get(name, Effort().rate)
    effort = Effort(rate=rate) if epochs is None else Effort(rate=rate, epochs=epochs)
    stop_by = np.flatnonzero(held) if held is not None and epochs is None else None
    used = learn_net(net, values, targets, rows, stop_by, by, effort)
    return NetClassifier(name, names, by, net.requires_grad_(False), settings | {"epochs": used})


def build(name: str, shape: Shape, settings: Mapping[str, Any]) -> nn.Sequential:
    """Make an untrained network by its model's name.

    Raises
    ------
    ConfigError
        If the strides are too short for it, or it has no such setting.
    """
    if shape.points < max(_LEAST_POINTS, settings.get("kernel", 0)):
        raise ConfigError(
            f"Strides of {shape.points} points are too short for the model {name}: choose svm, or resample "
            "the strides to 101 points."
        )
    try:
        return BUILDERS[name](shape, **settings)
    except TypeError:
        raise _unknown(name, settings) from None


def _unknown(name: str, settings: Mapping[str, Any]) -> ConfigError:
    return ConfigError(
        f"The model {name} was given {', '.join(sorted(settings))}, not all of which it has: see "
        "talaria_training.classify.models.fit for what can be set."
    )


def _drawn(targets: NDArray[np.intp], seed: int) -> NDArray[np.bool_]:
    """Draw 15 % of each class, of whom at least one stays on either side where there are two."""
    random = np.random.default_rng(seed)
    held = np.zeros(len(targets), dtype=bool)
    for one in np.unique(targets):
        rows = random.permutation(np.flatnonzero(targets == one))
        held[rows[: min(max(1, round(_HELD * len(rows))), len(rows) - 1)]] = True
    return held


def _check(name: str, values: NDArray[np.float32], labels: NDArray[np.str_]) -> None:
    if name not in MODELS:
        raise ConfigError(f"There is no model {name}: choose of {', '.join(MODELS)}.")
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ConfigError(
            f"All {len(labels)} strides are labelled {str(classes[0])!r}, and one class cannot be told from "
            "another: give strides of at least two."
            if len(classes)
            else "There are no strides to learn from: choose others."
        )
    missing = [c for c in range(values.shape[1]) if not np.isfinite(values[:, c]).all()]
    if missing:
        raise RecordingError(
            f"Channel {missing[0]} has values that are missing or infinite, which no classifier can weigh: "
            "leave the channel or those strides out."
        )
