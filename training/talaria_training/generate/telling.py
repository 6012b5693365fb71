"""How well classifiers tell generated gait from that of real people whom the model never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError
from talaria_training.classify.worth import Interval, balanced_accuracy
from talaria_training.generate.gait_cycles import Cycles, statistics
from talaria_training.generate.honesty import (
    FEWEST,
    common,
    each_own,
    interval,
    resampled,
)

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

FOLDS = 4
_EVERY = 5  # points of a cycle that the network skips; gait holds little above the tenth harmonic


@dataclass(frozen=True, slots=True)
class Told:
    """How well a classifier tells real from generated.

    Attributes
    ----------
    classifier : str
    accuracy : Interval
        Balanced over the two, folds by person; 0.5 is "not at all", 1 is "every time".
    real, generated : int
        Cycles judged.
    """

    classifier: str
    accuracy: Interval
    real: int
    generated: int


def told_apart(real: Cycles, generated: Cycles, seed: int = 0) -> list[Told]:
    """Train two classifiers to tell real from generated, and ask them about people they have not seen.

    Logistic regression sees the numbers of `statistics`, a small network the cycles themselves; both only
    what every cycle knows. In each fold as many of each kind are learned from; scaling is learned there too.

    Raises
    ------
    ConfigError
        If scikit-learn is missing, or there are too few people or cycles to judge by.
    """
    people = np.unique(real.person)
    if len(people) < 2 or min(len(real), len(generated)) < 2 * FEWEST:
        raise ConfigError(
            f"{len(real)} real cycles of {len(people)} people and {len(generated)} generated ones are too "
            f"few to tell apart: give {2 * FEWEST} or more of each, of two people or more."
        )
    inputs = {
        "logistic regression on numbers": common(*(_numbers(c) for c in (real, generated))),
        "network on cycles": common(*(_flat(c, _EVERY) for c in (real, generated))),
    }
    makers = dict(zip(inputs, _classifiers(seed), strict=True))
    kind = np.repeat([0, 1], [len(real), len(generated)])
    person = np.concatenate([real.person, each_own(generated)])
    found = []
    for name, x in inputs.items():
        said = np.full(len(x), -1)
        for learn, ask in _folds(person, kind, seed):
            said[ask] = makers[name]().fit(x[learn], kind[learn]).predict(x[ask])
        accuracy = _accuracy(kind, said, person, np.random.default_rng(seed))
        found.append(Told(name, accuracy, len(real), len(generated)))
    return found


def _numbers(cycles: Cycles) -> Floats:
    return np.column_stack(list(statistics(cycles).values()))


def _flat(cycles: Cycles, every: int) -> Floats:
    return cycles.values[:, ::every].reshape(len(cycles), -1)


def _folds(
    person: NDArray[np.str_], kind: NDArray[np.int64], seed: int
) -> Iterator[tuple[Rows, Rows]]:
    """Deal people into folds, real ones first, and give as many rows of each kind to learn from."""
    random = np.random.default_rng(seed)
    fold = np.zeros(len(person), dtype=np.int64)
    real = np.unique(person[kind == 0])
    for people in (real, np.setdiff1d(person, real)):
        dealt = random.permutation(len(people)) % min(FOLDS, len(real))
        for who, number in zip(people, dealt, strict=True):
            fold[person == who] = number
    for number in range(min(FOLDS, len(real))):
        rest = [np.flatnonzero((fold != number) & (kind == k)) for k in (0, 1)]
        count = min(map(len, rest))
        if count:
            learn = np.concatenate([random.choice(rows, count, replace=False) for rows in rest])
            yield learn, np.flatnonzero(fold == number)


def _classifiers(seed: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    try:
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  (an extra)
        from sklearn.neural_network import MLPClassifier  # noqa: PLC0415
        from sklearn.pipeline import make_pipeline  # noqa: PLC0415
        from sklearn.preprocessing import StandardScaler  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            "Telling real from generated needs scikit-learn, which is not installed: install the extra with "
            "pip install -c constraints.txt -e '.[classify]'."
        ) from None

    def logistic() -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))

    def network() -> Any:
        net = MLPClassifier(
            (32,), alpha=1e-2, max_iter=60, early_stopping=True, random_state=seed, tol=1e-3
        )
        return make_pipeline(StandardScaler(), net)

    return logistic, network


def _accuracy(
    kind: NDArray[np.int64],
    said: NDArray[np.int64],
    person: NDArray[np.str_],
    random: np.random.Generator,
) -> Interval:
    """Average the shares of real and of generated cycles told rightly; each kind's people are drawn apart."""
    shares = []
    for one in (0, 1):
        rows = (kind == one) & (said >= 0)
        weights = resampled(person[rows], random)
        shares.append(weights @ (said[rows] == one) / weights.sum(axis=1))
    judged = said >= 0
    return interval(balanced_accuracy(kind[judged], said[judged]), np.mean(shares, axis=0))
