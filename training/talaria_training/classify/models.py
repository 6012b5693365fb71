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
    Lesson,
    Standard,
    chunks,
    learn_linear,
    learn_nets,
    reduced,
    standard,
)
from talaria_training.classify.nets import BUILDERS, Shape
from talaria_training.classify.splits import Fold

LINEAR = ("svm", "logistic")
MODELS = (*LINEAR, *BUILDERS)
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
    name: str, values: NDArray[np.float32], labels: NDArray[np.str_], seed: int, **hyper: Any
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
    **hyper
        ``C`` of linear models; of networks, what their builder takes, and ``epochs``.

    Raises
    ------
    ConfigError
        If there is no such model or setting, or there is one class only.
    RecordingError
        If a value is missing.
    """
    if name in LINEAR:
        return next(fit_each(name, values, labels, [hyper]))
    every = Fold("all", np.arange(len(labels)), np.arange(0))
    return fit_together(name, values, labels, seed, [every], hyper)[0]


def fit_each(
    name: str,
    values: NDArray[np.float32],
    labels: NDArray[np.str_],
    settings: Sequence[Mapping[str, Any]],
    held: NDArray[np.bool_] | None = None,
) -> Iterator[LinearClassifier]:
    """Fit a linear model once per setting, when asked; what does not depend on the setting is shared.

    Parameters and errors as of `fit`; strides that are `held` (N,) are not learned from.
    """
    names, targets = _known(name, values, labels)
    rows = np.arange(len(labels)) if held is None else np.flatnonzero(~held)
    by = standard(values, rows)
    strides = reduced(values, rows, by)
    for hyper in settings:
        if not hyper.keys() <= {"C"}:
            raise _unknown(name, hyper)
        weight, bias = learn_linear(name, strides, targets[rows], hyper.get("C", 1.0))
        yield LinearClassifier(name, names, by, weight, bias, dict(hyper))


def fit_together(
    name: str,
    values: NDArray[np.float32],
    labels: NDArray[np.str_],
    seed: int,
    folds: Sequence[Fold],
    hyper: Mapping[str, Any],
) -> list[NetClassifier]:
    """Learn one network per fold, all for the number of epochs that is best for them on average.

    Parameters and errors as of `fit`. The strides a fold would judge are those its network is watched by;
    where no fold has any, all epochs are run.
    """
    names, targets = _known(name, values, labels)
    settings = {key: value for key, value in hyper.items() if key != "epochs"}
    shape = Shape(values.shape[1], values.shape[2], len(names))
    torch.manual_seed(seed)
    lessons = [
        Lesson(build(name, shape, settings), standard(values, fold.train), fold.train, fold.test)
        for fold in folds
    ]
    rate = _RATES.get(name, Effort().rate)
    effort = Effort(hyper.get("epochs", Effort().epochs), rate=rate)
    used = learn_nets(lessons, values, targets, effort)
    told = settings | {"epochs": used}
    return [
        NetClassifier(name, names, one.by, one.net.requires_grad_(False), told) for one in lessons
    ]


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


def _known(
    name: str, values: NDArray[np.float32], labels: NDArray[np.str_]
) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Classes, and the number of each stride's, once they are known to be fit to learn from."""
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
    return tuple(str(label) for label in classes), np.searchsorted(classes, labels)
