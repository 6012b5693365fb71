"""Starting points for training: weights that have seen movement before they see reference angles.

Two of them. `on_virtual` learns angles from virtual sensors on measured movement (`virtual`), which
cost nobody a session. `masked` learns no angle at all: sensors fall silent, and the memory has to tell
what they would have read, now and a moment later, from the others and from the past. Both leave a
network whose statistics are those of the real recordings, so that training can simply go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from talaria_training.networks import GaitNet
from talaria_training.train import MULTI_USER, Progress, TrainConfig, Windows, fit, new_net
from talaria_training.trials import Trial

_PER_SLOT = 9


@dataclass(frozen=True, slots=True)
class MaskConfig:
    """Everything that shapes masked pre-training."""

    train: TrainConfig = field(default_factory=lambda: replace(MULTI_USER, steps=400, absent=0.0))
    slots: float = 0.35  # chance that a sensor is silent for a whole window
    span: float = 0.35  # chance that it is silent for a stretch of it instead
    ahead: int = 5  # samples: also tell what the silent sensors will read so much later


def on_virtual(
    virtual: Sequence[Trial],
    real: Sequence[Trial],
    config: TrainConfig,
    progress: Progress | None = None,
) -> GaitNet:
    """Train on virtual sensors, in the units and spreads of the real ones.

    Parameters
    ----------
    virtual : sequence of Trial
        From `virtual.trial_of`; at least one longer than three seconds.
    real : sequence of Trial
        What training goes on with; only means and spreads are taken from them.
    config : TrainConfig
        Of the virtual training; `hidden` and `layers` must be those of the real one.
    """
    torch.manual_seed(config.seed)
    return fit(untrained(real, config), virtual, config, progress)


def masked(
    trials: Sequence[Trial], config: MaskConfig, progress: Progress | None = None
) -> GaitNet:
    """Learn to fill in silent sensors; no label is looked at.

    Parameters
    ----------
    trials : sequence of Trial
        Of people who may be trained on. Trials without angles are welcome.
    config : MaskConfig

    Returns
    -------
    GaitNet
        With a trained memory; the linear path and the heads are as at the start.
    """
    torch.manual_seed(config.train.seed)
    net = untrained(trials, config.train)
    draw = Windows(trials, config.train)
    motion = _PER_SLOT * net.slots
    head = nn.Linear(net.hidden, 2 * motion)
    weights = [*net.cell.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(
        weights, lr=config.train.lr, weight_decay=config.train.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=config.train.lr, total_steps=config.train.steps, pct_start=0.1
    )
    random = np.random.default_rng(config.train.seed)
    net.train()
    running = 0.0
    for step in range(config.train.steps):
        x = draw(config.train.batch).x
        seen = silence(x, config, random)
        loss = _fill_in_loss(net, head(net.memory(seen)), x, seen, config)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        running = 0.98 * running + 0.02 * loss.item()
        if progress is not None:
            progress(step + 1, config.train.steps, running)
    return net.eval()


def silence(x: Tensor, config: MaskConfig, random: np.random.Generator) -> Tensor:
    """Let sensors fall silent for all or part of each window, never all of them at once.

    Parameters
    ----------
    x : Tensor, shape (B, T, 10 S)
    config : MaskConfig
    random : Generator

    Returns
    -------
    Tensor, shape (B, T, 10 S)
        A copy; a silent slot's flag is 0 and its channels are left for the network to ignore.
    """
    batch, length, width = x.shape
    slots = width // (_PER_SLOT + 1)
    present: NDArray[np.float32] = np.ones((batch, length, slots), np.float32)
    fate = random.random((batch, slots))
    fate[np.arange(batch), random.integers(0, slots, batch)] = 1.0
    for row, slot in zip(*np.nonzero(fate < config.slots + config.span), strict=True):
        start, stop = np.sort(random.integers(0, length + 1, 2))
        whole = fate[row, slot] < config.slots
        present[row, 0 if whole else start : length if whole else stop, slot] = 0.0
    return torch.cat([x[..., :-slots], x[..., -slots:] * torch.from_numpy(present)], dim=-1)


def _fill_in_loss(
    net: GaitNet, said: Tensor, x: Tensor, seen: Tensor, config: MaskConfig
) -> Tensor:
    """Huber's loss of silent sensors' readings, now and `ahead` samples later, in spreads."""
    motion = _PER_SLOT * net.slots
    target = (x[..., :motion] - net.x_mean[:motion]) / net.x_std[:motion]
    hidden = (1.0 - seen[..., motion:]) * x[..., motion:]
    hidden = hidden.repeat_interleave(_PER_SLOT, dim=-1)
    now = slice(config.train.warmup, said.shape[1] - config.ahead)
    later = slice(config.train.warmup + config.ahead, said.shape[1])
    loss = said.new_zeros(())
    for part, when in ((said[:, now, :motion], now), (said[:, now, motion:], later)):
        wrong = smooth_l1_loss(part, target[:, when], reduction="none") * hidden[:, now]
        loss = loss + wrong.sum() / hidden[:, now].sum().clamp(min=1.0)
    return loss


def untrained(trials: Sequence[Trial], config: TrainConfig) -> GaitNet:
    """Make a new network that knows the means and spreads of the trials, and nothing else."""
    net = new_net(trials[0].features.shape[1], config)
    x = np.concatenate([trial.features for trial in trials])
    y = np.concatenate([trial.angles_rad for trial in trials])
    with torch.no_grad():
        net.x_mean.copy_(torch.from_numpy(x.mean(axis=0)))
        net.x_std.copy_(torch.from_numpy(x.std(axis=0) + 1e-6))
        # An angle nobody measured keeps 0 and 1.
        for j in np.flatnonzero(np.isfinite(y).any(axis=0)):
            net.y_mean[j] = float(np.nanmean(y[:, j]))
            net.y_std[j] = float(np.nanstd(y[:, j])) + 1e-6
    return net
