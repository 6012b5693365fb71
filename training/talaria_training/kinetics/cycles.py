"""LSTM, Transformer and Mamba on whole gait cycles under one protocol: same people, same folds, same budget.

Differs from the paper's cross-validation in one thing: the people whose loss says when to stop are others than
those who are judged. There the same people did both, and its cross-validated figures are that much too good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from talaria_bridge.errors import ConfigError
from talaria_training.cache import source_digest
from talaria_training.engine import Engine, Job, Store, run_jobs
from talaria_training.kinetics.cycle_nets import PUBLISHED, CycleNet, answers
from talaria_training.kinetics.gait2hip import CycleFold, Cycles, paper_split, person_folds
from talaria_training.kinetics.pooled import CycleErrors, Errors, cycle_errors, errors

MEAN_CURVE = "mean_curve"
MODELS = (*PUBLISHED, MEAN_CURVE)
SPLITS = ("people", "paper")
_STOP_PARTS = 5
_CODE = tuple(
    f"talaria_training.kinetics.{name}"
    for name in ("cycles", "cycle_nets", "selective_scan", "gait2hip", "pooled")
)


@dataclass(frozen=True, slots=True)
class Budget:
    """How long and how hard every architecture learns; the published values.

    Attributes
    ----------
    epochs, patience : int
        Times through the training cycles at most, and without a gain before it stops.
    batch : int
    rate, decay : float
        Of AdamW.
    clip : float
        Largest length of a gradient.
    """

    epochs: int = 300
    patience: int = 30
    batch: int = 64
    rate: float = 1e-4
    decay: float = 1e-5
    clip: float = 0.5


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is compared, and how.

    Attributes
    ----------
    models : tuple of str
        Of `MODELS`.
    seeds : tuple of int
    split : str
        ``people`` deals everybody to folds; ``paper`` has the paper's 12 test people alone.
    folds : int
        Of ``people``.
    budget : Budget
    settings : mapping
        Settings per architecture that differ from the published ones.
    """

    models: tuple[str, ...] = MODELS
    seeds: tuple[int, ...] = (0,)
    split: str = "people"
    folds: int = 5
    budget: Budget = field(default_factory=Budget)
    settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """One model of one seed on one person who was not learned from."""

    model: str
    seed: int
    fold: str
    person: str
    epochs: int
    errors: tuple[Errors, ...]
    cycles: tuple[CycleErrors, ...]


def folds_of(cycles: Cycles, protocol: Protocol) -> tuple[CycleFold, ...]:
    """Split as the protocol says.

    Raises
    ------
    ConfigError
        If it names no split or model there is, or no seed.
    RecordingError
        If there are too few people.
    """
    strange = [name for name in protocol.models if name not in MODELS]
    if strange or not protocol.models or not protocol.seeds:
        raise ConfigError(
            f"{strange[0] if strange else 'An empty list'} is nothing to compare: choose of "
            f"{', '.join(MODELS)}, with at least one seed."
        )
    if protocol.split == "paper":
        return (paper_split(cycles),)
    if protocol.split != "people":
        raise ConfigError(f"There is no split {protocol.split!r}: choose {' or '.join(SPLITS)}.")
    return person_folds(cycles, np.arange(len(cycles)), protocol.folds)


def jobs_of(cycles: Cycles, protocol: Protocol) -> dict[str, Job]:
    """All that is to be run, by name."""
    return {
        f"{model}, {fold.name}, seed {seed}": (run_fold, model, fold, seed, protocol)
        for model in protocol.models
        for fold in folds_of(cycles, protocol)
        for seed in (protocol.seeds if model != MEAN_CURVE else protocol.seeds[:1])
    }


def study(
    cycles: Cycles, protocol: Protocol, engine: Engine, done: Callable[[str], object]
) -> dict[str, Any]:
    """Run every model on every fold and seed; what was run before with the same data and code is kept.

    Returns
    -------
    dict
        ``unit``, ``outputs``, ``people``, ``cycles``, ``protocol``, and ``rows``: a `Judged` each, as dict.

    Raises
    ------
    TalariaError
        If the protocol does not fit the data, or a job failed.
    """
    jobs = jobs_of(cycles, protocol)
    store = Store.cached("cycles", _key(cycles, protocol))
    found = run_jobs(jobs, store, engine, {"cycles": cycles}, done)
    return {
        "unit": cycles.unit,
        "outputs": list(cycles.outputs),
        "people": len(np.unique(cycles.person)),
        "cycles": len(cycles),
        "protocol": asdict(protocol),
        "rows": [row for rows in found.values() for row in rows],
    }


def _key(cycles: Cycles, protocol: Protocol) -> str:
    digest = hashlib.sha256(source_digest(*_CODE).encode())
    for array in (cycles.x_deg, cycles.y_per_kg):
        digest.update(np.ascontiguousarray(array).tobytes())
    said = (cycles.person.tolist(), cycles.outputs, protocol.split, protocol.folds)
    digest.update(repr((said, protocol.budget, sorted(protocol.settings.items()))).encode())
    return digest.hexdigest()[:24]


def run_fold(
    model: str, fold: CycleFold, seed: int, protocol: Protocol, *, cycles: Cycles
) -> list[Judged]:
    """Learn from a fold's training people and judge each of its test people."""
    epochs = 0
    if model == MEAN_CURVE:
        curve = cycles.y_per_kg[fold.train].mean(axis=0)
        said = np.broadcast_to(curve, (len(fold.test), *curve.shape))
    else:
        torch.manual_seed(seed)
        settings = {**PUBLISHED[model], **protocol.settings.get(model, {})}
        net, epochs = learn(model, settings, cycles, fold.train, protocol.budget)
        said = answers(net, cycles.x_deg[fold.test])
    true, people = cycles.y_per_kg[fold.test], cycles.person[fold.test]
    rows = []
    for person in np.unique(people):
        mine = people == person
        rows.append(
            Judged(
                model,
                seed,
                fold.name,
                str(person),
                epochs,
                errors(true[mine], said[mine], cycles.outputs),
                cycle_errors(true[mine], said[mine], cycles.outputs),
            )
        )
    return rows


def learn(
    model: str,
    settings: Mapping[str, float],
    cycles: Cycles,
    rows: NDArray[np.intp],
    budget: Budget,
) -> tuple[CycleNet, int]:
    """Train one network, stopped by a fifth of the people it is given, whom it does not learn from.

    Returns
    -------
    net : CycleNet
        As it was when their loss was least; scaled by the others' angles.
    epochs : int
        When that was.
    """
    parts = min(_STOP_PARTS, len(np.unique(cycles.person[rows])))
    inner = person_folds(cycles, rows, parts)[0]
    x = cycles.x_deg[inner.train].reshape(-1, cycles.x_deg.shape[2])
    spread = np.maximum(x.std(axis=0), np.float32(1e-8))
    net = CycleNet(model, settings, x.mean(axis=0), spread, len(cycles.outputs))
    optimiser = torch.optim.AdamW(net.parameters(), lr=budget.rate, weight_decay=budget.decay)
    learned, held = (_tensors(cycles, part) for part in (inner.train, inner.test))
    best, kept, when = np.inf, net.state_dict(), 0
    for epoch in range(1, budget.epochs + 1):
        _epoch(net, optimiser, learned, budget)
        loss = float(np.mean((answers(net, held[0].numpy()) - held[1].numpy()) ** 2))
        if loss < best:
            best, kept, when = loss, deepcopy(net.state_dict()), epoch
        elif epoch - when >= budget.patience:
            break
    net.load_state_dict(kept)
    return net.eval(), when


def _tensors(cycles: Cycles, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(cycles.x_deg[rows]), torch.from_numpy(cycles.y_per_kg[rows])


def _epoch(
    net: CycleNet, optimiser: torch.optim.Optimizer, learned: tuple[Tensor, Tensor], budget: Budget
) -> None:
    net.train()
    for part in torch.split(torch.randperm(len(learned[0])), budget.batch):
        loss = nn.functional.mse_loss(net(learned[0][part]), learned[1][part])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        nn.utils.clip_grad_norm_(net.parameters(), budget.clip)
        optimiser.step()
