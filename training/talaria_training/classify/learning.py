"""How classifiers learn: linear ones by scikit-learn, networks by gradient descent with early stopping.

Strides come standardised by the training strides alone: less their mean curve, over each channel's spread.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import block_diag
from torch import Tensor, nn

from talaria_bridge.errors import ConfigError
from talaria_training.classify.worth import balanced_accuracy

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

CHUNK = 512
"""Strides standardised at once, so that no second copy of a large table is ever made."""
_KEPT_VARIANCE = 0.9999
_KEPT_OF_CHANNEL = 0.99999
_CONSTANT = 1e-6
_PATIENCE = 12
_WORTHWHILE = 1e-3
"""A held loss that falls by less, in nats, does not change an answer."""
_WORTHWHILE_ERROR = 0.005
"""A mean balanced error that falls by less is a stride or two of one person's."""


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """What strides are measured by.

    Attributes
    ----------
    mean : ndarray, shape (channels, points)
        The training strides' mean curve, in the channels' units.
    scale : ndarray, shape (channels, 1)
        Standard deviation about that curve; 1 for a channel that does not change.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise strides (N, channels, points)."""
        return ((values - self.mean) / self.scale).astype(np.float32, copy=False)


def standard(values: NDArray[np.float32], rows: Rows) -> Standard:
    """Measure the mean curve and each channel's spread of some strides, chunk by chunk."""
    total = sum(values[part].sum(axis=0, dtype=np.float64) for part in chunks(rows))
    mean = total / len(rows)
    squares = sum(((values[part] - mean) ** 2).mean(axis=2).sum(axis=0) for part in chunks(rows))
    scale = np.sqrt(squares / len(rows))
    still = scale <= _CONSTANT * np.abs(mean).max(axis=1)
    scale = np.where(still, 1.0, scale)
    return Standard(mean.astype(np.float32), scale[:, None].astype(np.float32))


def chunks(rows: Rows, size: int = CHUNK) -> Iterator[Rows]:
    """Cut row numbers into parts of `size`."""
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]


def balance(targets: Rows, classes: int) -> Floats:
    """Weights (classes,) that make classes count alike, however many strides each has."""
    counts = np.bincount(targets, minlength=classes)
    return len(targets) / (classes * np.maximum(counts, 1))


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """Training strides in the few directions that hold nearly all of their variance.

    With a penalty on the weights' length, a linear model's weights lie in the span of its strides, and
    curves are smooth: a thousand people's 2 424 points are a few hundred directions.

    Attributes
    ----------
    x : ndarray, shape (n, k)
        Of length 1 on average, so that one ``C`` means the same for any number of channels.
    back : ndarray, shape (k, channels * points)
        Turns weights on `x` into weights on standardised strides.
    """

    x: Floats
    back: Floats


def reduced(values: NDArray[np.float32], rows: Rows, by: Standard) -> Reduced:
    """Turn some strides into their principal directions, 99.99 % of the variance kept."""
    directions = principal(values, rows, by)
    x = np.concatenate([_flat(values[part], by) @ directions.T for part in chunks(rows)])
    size = np.sqrt((x**2).sum(axis=1).mean()) or 1.0
    return Reduced(x / size, directions / size)


def learn_linear(name: str, strides: Reduced, targets: Rows, C: float) -> tuple[Floats, Floats]:
    """Fit a linear support vector machine or logistic regression, classes balanced by weights.

    Parameters
    ----------
    name : "svm" or "logistic"
        One-versus-rest with squared hinge loss, or multinomial.
    strides : Reduced
    targets : ndarray of int, shape (n,)
        The number of each one's class.
    C : float
        Inverse strength of the penalty, scikit-learn's.

    Returns
    -------
    weight : ndarray, shape (classes, channels * points)
        On standardised strides; two classes have opposite weights.
    bias : ndarray, shape (classes,)

    Raises
    ------
    ConfigError
        If scikit-learn is not installed.
    """
    model = _linear_model(name, C, several=int(targets.max()) > 1)
    with warnings.catch_warnings():
        # A fit that has not quite converged is judged by its answers like any other.
        warnings.simplefilter("ignore", UserWarning)
        model.fit(strides.x, targets)
    weight, bias = model.coef_ @ strides.back, model.intercept_
    if len(weight) == 1:
        half = 1.0 if name == "svm" else 0.5  # softmax of +-z/2 is the logistic function of z
        weight, bias = (
            half * np.concatenate([-weight, weight]),
            half * np.concatenate([-bias, bias]),
        )
    return weight, bias


def _linear_model(name: str, C: float, *, several: bool) -> Any:
    try:
        from sklearn import linear_model, svm  # noqa: PLC0415 (an extra)
    except ImportError:
        raise ConfigError(
            "Linear classifiers need scikit-learn, which is not installed: install the extra with "
            "pip install -c constraints.txt -e '.[classify]', or choose a network."
        ) from None
    if name == "svm":
        # One class against all others is mostly settled, which the dual solver makes use of.
        return svm.LinearSVC(
            C=C, class_weight="balanced", dual=several, max_iter=2000, random_state=0
        )
    return linear_model.LogisticRegression(C=C, class_weight="balanced", max_iter=1000)


def principal(values: NDArray[np.float32], rows: Rows, by: Standard) -> Floats:
    """Find orthonormal directions (k, channels * points) that hold 99.99 % of the strides' variance.

    First those of each channel by itself, which are few and quickly found because curves are smooth, then
    those of all channels together among them.
    """
    channels, points = by.mean.shape
    scatter = np.zeros((channels, points, points))
    for part in chunks(rows):
        x = by.apply(values[part]).transpose(1, 0, 2).astype(np.float64)
        scatter += x.transpose(0, 2, 1) @ x
    own = block_diag(*(_leading(one, _KEPT_OF_CHANNEL).T for one in scatter))
    together = np.zeros((own.shape[1], own.shape[1]))
    for part in chunks(rows):
        y = _flat(values[part], by) @ own
        together += y.T @ y
    found: Floats = _leading(together, _KEPT_VARIANCE) @ own.T
    return found


def _leading(scatter: Floats, share: float) -> Floats:
    """Eigenvectors (k, n) that hold a share of the trace, greatest first; at least one."""
    variance, vectors = np.linalg.eigh(scatter)
    held = np.cumsum(np.maximum(variance[::-1], 0.0))
    count = min(int(np.searchsorted(held, share * held[-1])) + 1, len(held))
    return np.asarray(vectors[:, ::-1][:, :count].T)


def _flat(values: NDArray[np.float32], by: Standard) -> Floats:
    return by.apply(values).reshape(len(values), -1).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how hard a network learns.

    Attributes
    ----------
    epochs, steps : int
        Times through the training strides, and batches until it is stopped, at most: the more strides,
        the fewer times.
    batch : int
        Strides a step.
    rate, decay : float
        Of AdamW.
    """

    epochs: int = 100
    steps: int = 4000
    batch: int = 64
    rate: float = 2e-3
    decay: float = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A network, and the strides it learns from.

    Attributes
    ----------
    net : nn.Sequential
    by : Standard
    train : ndarray of int
        Rows to learn from.
    held : ndarray of int
        Rows to be watched by; there may be none.
    """

    net: nn.Sequential
    by: Standard
    train: Rows
    held: Rows


def learn_nets(
    lessons: Sequence[Lesson], values: NDArray[np.float32], targets: Rows, effort: Effort
) -> int:
    """Fit networks side by side, left in evaluation mode.

    Parameters
    ----------
    lessons : sequence of Lesson
        All with rows held, or none.
    values : ndarray, shape (N, channels, points)
    targets : ndarray of int, shape (N,)
        Numbers of the classes.
    effort : Effort

    Returns
    -------
    int
        Epochs after which all of them are as they were left. A network by itself: where its loss on the rows
        held was least. Several: where the mean of their balanced errors was, because a loss has no bound,
        and the mean of several is soon that of the one person of whom a network is most surely wrong.
        Without rows held, all epochs are run and the last stands.
    """
    courses = [_Course.of(lesson, targets, effort) for lesson in lessons]
    watched = all(len(lesson.held) for lesson in lessons)
    least = _WORTHWHILE if len(lessons) == 1 else _WORTHWHILE_ERROR
    few = max(1, effort.steps * effort.batch // min(len(lesson.train) for lesson in lessons))
    epochs = min(effort.epochs, few) if watched else effort.epochs
    best, kept_epoch = np.inf, epochs
    kept: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        for course in courses:
            course.epoch(values, targets, effort.batch)
        if not watched:
            continue
        found = [course.watched(values, targets) for course in courses]
        now = found[0].loss if len(found) == 1 else float(np.mean([one.error for one in found]))
        if now < best - least:
            kept = [deepcopy(lesson.net.state_dict()) for lesson in lessons]
            best, kept_epoch = now, epoch
        elif epoch - kept_epoch >= _PATIENCE:
            break
    for lesson, state in zip(lessons, kept, strict=False):
        lesson.net.load_state_dict(state)
    for lesson in lessons:
        lesson.net.eval()
    return kept_epoch


@dataclass(frozen=True, slots=True, eq=False)
class _Course:
    """A lesson under way."""

    lesson: Lesson
    judge: nn.CrossEntropyLoss
    optimiser: torch.optim.Optimizer

    @classmethod
    def of(cls, lesson: Lesson, targets: Rows, effort: Effort) -> _Course:
        learned = targets[lesson.train]
        weight = torch.as_tensor(balance(learned, int(targets.max()) + 1), dtype=torch.float32)
        optimiser = torch.optim.AdamW(
            lesson.net.parameters(), lr=effort.rate, weight_decay=effort.decay
        )
        return cls(lesson, nn.CrossEntropyLoss(weight=weight), optimiser)

    def epoch(self, values: NDArray[np.float32], targets: Rows, batch: int) -> None:
        """Go through the training strides once."""
        net, by, train = self.lesson.net, self.lesson.by, self.lesson.train
        net.train()
        shuffled = train[torch.randperm(len(train)).numpy()]
        for part in chunks(shuffled, batch):
            loss = self.judge(net(_tensor(values[part], by)), torch.as_tensor(targets[part]))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()

    def watched(self, values: NDArray[np.float32], targets: Rows) -> _Watched:
        """Look at the rows that were not learned from."""
        held = self.lesson.held
        self.lesson.net.eval()
        with torch.no_grad():
            logits = torch.cat(
                [self.lesson.net(_tensor(values[part], self.lesson.by)) for part in chunks(held)]
            )
        true = targets[held]
        return _Watched(
            float(self.judge(logits, torch.as_tensor(true))),
            1.0 - balanced_accuracy(true, logits.argmax(dim=1).numpy()),
        )


@dataclass(frozen=True, slots=True)
class _Watched:
    """Mean loss, in nats, and balanced error of some strides."""

    loss: float
    error: float


def _tensor(values: NDArray[np.float32], by: Standard) -> Tensor:
    return torch.from_numpy(by.apply(values))
