"""Settings, chosen inside the training strides: as simple a model as the people in them allow.

The strides to learn from are split once more, the same way as the study splits. Where strides of everybody are
on both sides, the best setting is taken, and networks are tried on one part alone, which has all there is to be
known of these people.

Where people are held out, there is a part for every person, up to `FOLDS` parts: with few people a single part
is one or two of them, and who they are would decide. Every setting is tried on every part. Of those whose mean
over the parts is within one standard error of the best mean, the most regularised is taken (Breiman et al.
1984, section 3.4.3; Hastie et al. 2009, section 7.10): the best of several noisy figures is best by luck too,
and a model that leans less on the people it knows has less to lose with others. Networks of one setting learn
on all parts side by side and are left after the epoch that is best for them on average; so many epochs the last
one learns, from all of the strides. That costs as many networks per setting as there are parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_training.classify.models import LINEAR, Classifier, fit, fit_each, fit_together
from talaria_training.classify.splits import Fold, Kind, inner
from talaria_training.classify.tasks import Labelled
from talaria_training.classify.worth import balanced_accuracy

GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "svm": {"C": (0.1, 1.0, 10.0, 100.0)},
    "logistic": {"C": (1.0, 10.0, 100.0, 1000.0)},
    "mlp": {"depth": (2, 3), "width": (64, 256, 1024)},
    "cnn-a": {"kernel": (6, 33)},
    "small": {"dropout": (0.5, 0.2)},
}
"""Settings to choose from inside the training strides, the most regularised or the smallest network first."""
_DIGITS = 6


def learn(
    model: str, kind: Kind, strides: Labelled, seed: int
) -> tuple[Classifier, dict[str, Any]]:
    """Choose settings by splitting the strides once more, then learn from all of them.

    Returns
    -------
    classifier : Classifier
    settings : dict
        Chosen; ``epochs`` is how long a network learned, ``chosen_by`` how the strides were split.
    """
    grid = GRIDS.get(model, {})
    candidates = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    folds, by = inner(kind, strides, seed)
    if model in LINEAR:
        figures, epochs = _linear_tried(model, strides, folds, candidates), None
    else:
        folds = folds if by == "person" else folds[:1]
        figures, epochs = _nets_tried(model, strides, folds, seed, candidates)
    best = simplest(figures if by == "person" else figures.mean(axis=1, keepdims=True))
    chosen = candidates[best] | ({} if epochs is None else {"epochs": epochs[best]})
    classifier = fit(model, strides.values, strides.labels, seed, **chosen)
    return classifier, chosen | {"chosen_by": by}


def simplest(figures: NDArray[np.float64]) -> int:
    """Choose the first setting that is not shown to be worse than the best.

    Parameters
    ----------
    figures : ndarray, shape (settings, parts)
        The higher the better; NaN for settings that need not have been tried.

    Returns
    -------
    int
        The first whose mean is within one standard error (of the best one's mean, over the parts) of the best.
    """
    means = np.round(figures.mean(axis=1), _DIGITS)
    best = int(np.nanargmax(means))
    parts = figures.shape[1]
    error = figures[best].std(ddof=1) / np.sqrt(parts) if parts > 1 else 0.0
    return int(np.flatnonzero(means >= means[best] - error)[0])


def _linear_tried(
    model: str,
    strides: Labelled,
    folds: Sequence[Fold],
    candidates: Sequence[Mapping[str, Any]],
) -> NDArray[np.float64]:
    """Balanced accuracy (settings, folds)."""
    figures = np.full((len(candidates), len(folds)), np.nan)
    for f, fold in enumerate(folds):
        part = strides.take(np.concatenate([fold.train, fold.test]))
        held = np.arange(len(part.labels)) >= len(fold.train)
        for k, one in enumerate(fit_each(model, part.values, part.labels, candidates, held)):
            answers = answered(one, part.values, np.flatnonzero(held))
            figures[k, f] = balanced_accuracy(part.labels[held], answers)
            if len(folds) == 1 and figures[k, f] == 1.0:
                break  # nothing later can be better, and the earlier wins a tie
    return figures


def _nets_tried(
    model: str,
    strides: Labelled,
    folds: Sequence[Fold],
    seed: int,
    candidates: Sequence[Mapping[str, Any]],
) -> tuple[NDArray[np.float64], list[int]]:
    """Balanced accuracy (settings, folds), and the epochs after which the networks were left."""
    figures = np.full((len(candidates), len(folds)), np.nan)
    epochs = []
    for k, told in enumerate(candidates):
        nets = fit_together(model, strides.values, strides.labels, seed, folds, told)
        epochs.append(int(nets[0].hyper["epochs"]))
        figures[k] = [
            balanced_accuracy(strides.labels[fold.test], answered(net, strides.values, fold.test))
            for net, fold in zip(nets, folds, strict=True)
        ]
        if np.all(figures[k] == 1.0):
            break
    return figures, epochs


def answered(
    classifier: Classifier, values: NDArray[np.float32], rows: NDArray[np.intp]
) -> NDArray[np.str_]:
    """Name the class with the highest score for each of some rows."""
    best = classifier.scores(values[rows]).argmax(axis=1)
    return np.array([classifier.classes[k] for k in best])
