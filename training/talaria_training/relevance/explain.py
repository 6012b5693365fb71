"""Relevance of many strides for one classifier, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError
from talaria_training.classify.models import Classifier
from talaria_training.relevance.lrp import Start, propagate
from talaria_training.relevance.rules import Rules

BATCH = 500
"""Strides gone through at once: some tens of megabytes in a network of a few hundred units."""


def explain(
    classifier: Classifier,
    values: NDArray[np.float32],
    target: NDArray[np.intp],
    rules: Rules,
    start: Start = "score",
    tick: Callable[[int], None] = lambda strides: None,
) -> NDArray[np.float32]:
    """Say of every point how much of the stride's score came from it.

    Points stand for what they differ by from the training mean, in the scale the classifier has learned: a
    channel that is constant in training and in the stride has none.

    Parameters
    ----------
    classifier : Classifier
    values : ndarray, shape (N, channels, points)
        In the channels' own units.
    target : ndarray of int, shape (N,)
        The class whose score is explained; see `class_index`.
    rules : Rules
    start : "score" or "margin"
    tick : callable
        Told after each batch how many strides it had.

    Returns
    -------
    ndarray, shape (N, channels, points)
        In units of the score.
    """
    found = np.empty(values.shape, dtype=np.float32)
    for part in batches(len(values), BATCH):
        x = (values[part] - classifier.mean) / classifier.scale
        done = propagate(
            classifier.net,
            torch.as_tensor(x, dtype=torch.float32),
            torch.as_tensor(target[part]),
            rules,
            start,
        )
        found[part] = done.relevance.numpy()
        tick(len(x))
    return found


def class_index(classes: Sequence[str], labels: NDArray[np.str_]) -> NDArray[np.intp]:
    """Find each label's place among a classifier's classes.

    Raises
    ------
    ConfigError
        If a label is none of them.
    """
    place = {name: k for k, name in enumerate(classes)}
    strange = sorted(set(labels.tolist()) - set(place))
    if strange:
        raise ConfigError(
            f"There are strides labelled {strange[0]!r}, which the classifier was not trained on: explain "
            f"strides of {', '.join(list(classes)[:5])}{' ...' if len(classes) > 5 else ''}."
        )
    return np.array([place[label] for label in labels.tolist()], dtype=np.intp)


def batches(count: int, size: int) -> Iterator[slice]:
    """Cut `count` rows into slices of `size`."""
    for begin in range(0, count, size):
        yield slice(begin, min(begin + size, count))
