"""Training, fine-tuning and single-user training: one straight path with three entrances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.kinematics import ANGLES, SAGITTAL
from talaria_training.networks import GaitNet
from talaria_training.trials import Trial

Progress = Callable[[int, int, float], None]
"""Called with steps done, steps in all, and the running loss."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that shapes a training run; the defaults are the multi-user model's."""

    hidden: int = 96  # recurrent units per layer
    layers: int = 2
    dropout: float = 0.2
    steps: int = 1200  # optimiser steps
    batch: int = 32  # windows per step
    window: int = 256  # samples per window, 2.56 s: two strides of slow walking
    warmup: int = 48  # first samples of a window, on which an empty memory is not judged
    lr: float = 3e-3  # peak of a one-cycle schedule
    weight_decay: float = 1e-3
    swap_legs: bool = True  # mirror half of the windows left to right
    tilt_deg: float = 4.0  # standard deviation of a random residual mounting rotation per slot
    noise: float = 0.05  # white noise, in standard deviations of each channel
    out_of_plane_weight: float = 0.3  # hip adduction and rotation have a weaker reference
    seed: int = 0


MULTI_USER = TrainConfig()
"""From nothing on many people."""

FINETUNE = TrainConfig(steps=300, batch=16, lr=2e-3, swap_legs=False, tilt_deg=1.0, noise=0.02)
"""From a trained base on one person's first minute."""

SINGLE_USER = TrainConfig(steps=600, batch=16, swap_legs=False, tilt_deg=1.0, noise=0.02)
"""From nothing on one person's first minute."""


def train(
    trials: Sequence[Trial], config: TrainConfig, progress: Progress | None = None
) -> GaitNet:
    """Train a new network on the given trials, whoever's they are.

    Input and output statistics come from these trials only.

    Raises
    ------
    ValueError
        If there is nothing to train on.
    """
    torch.manual_seed(config.seed)
    net = GaitNet(
        trials[0].features.shape[1], len(ANGLES), config.hidden, config.layers, config.dropout
    )
    x = np.concatenate([trial.features for trial in trials])
    y = np.concatenate([trial.angles_rad for trial in trials])
    with torch.no_grad():
        net.x_mean.copy_(torch.from_numpy(x.mean(axis=0)))
        net.x_std.copy_(torch.from_numpy(x.std(axis=0) + 1e-6))
        # An angle nobody measured keeps 0 and 1.
        for j in np.flatnonzero(np.isfinite(y).any(axis=0)):
            net.y_mean[j] = float(np.nanmean(y[:, j]))
            net.y_std[j] = float(np.nanstd(y[:, j])) + 1e-6
    return fit(net, trials, config, progress)


def finetune(
    base: GaitNet,
    trials: Sequence[Trial],
    config: TrainConfig = FINETUNE,
    progress: Progress | None = None,
) -> GaitNet:
    """Fine-tune a copy of `base` on one person's trials; the base stays as it is."""
    torch.manual_seed(config.seed)
    net = GaitNet(
        base.x_mean.numel(), base.y_mean.numel(), base.hidden, base.layers, config.dropout
    )
    net.load_state_dict(base.state_dict())
    return fit(net, trials, config, progress)


def fit(
    net: GaitNet, trials: Sequence[Trial], config: TrainConfig, progress: Progress | None = None
) -> GaitNet:
    """Optimise `net` in place on random windows of the trials, and return it ready to predict."""
    draw = Windows(trials, config)
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=config.lr, total_steps=config.steps, pct_start=0.1
    )
    weight = torch.tensor([1.0 if a in SAGITTAL else config.out_of_plane_weight for a in ANGLES])
    net.train()
    running = 0.0
    for step in range(config.steps):
        x, y = draw(config.batch)
        x = x + config.noise * net.x_std * torch.randn_like(x)
        predicted, _ = net(x, net.start(len(x)))
        known = torch.isfinite(y)
        error = (predicted - torch.where(known, y, predicted)) / net.y_std
        error = error[:, config.warmup :]
        loss = (smooth_l1_loss(error, torch.zeros_like(error), reduction="none") * weight).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running = 0.98 * running + 0.02 * loss.item()
        if progress is not None:
            progress(step + 1, config.steps, running)
    return net.eval()


class Windows:
    """Random windows of trials, mirrored and slightly turned.

    Trials count by their length; people with more minutes are not weighted down.
    """

    def __init__(self, trials: Sequence[Trial], config: TrainConfig) -> None:
        if not trials:
            raise ValueError("no trials to train on")
        self.config = config
        self.window = min(config.window, *(len(t.features) for t in trials))
        self._x = [torch.from_numpy(t.features) for t in trials]
        self._y = [torch.from_numpy(t.angles_rad) for t in trials]
        starts = np.array([len(x) - self.window + 1 for x in self._x], dtype=float)
        self._share = starts / starts.sum()
        self._random = np.random.default_rng(config.seed)

    def __call__(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw `count` windows: features (count, window, C) and angles (count, window, O)."""
        xs, ys = [], []
        for i in self._random.choice(len(self._x), size=count, p=self._share):
            start = self._random.integers(0, len(self._x[i]) - self.window + 1)
            xs.append(self._x[i][start : start + self.window])
            ys.append(self._y[i][start : start + self.window])
        x, y = torch.stack(xs), torch.stack(ys)
        x = turn_slots(x, self._rotations(count, x.shape[-1] // 9))
        if self.config.swap_legs:
            swap = torch.from_numpy(self._random.random(count) < 0.5)[:, None, None]
            x, y = torch.where(swap, x[..., SWAP_X], x), torch.where(swap, y[..., SWAP_Y], y)
        return x, y

    def _rotations(self, count: int, slots: int) -> Tensor:
        angle = np.deg2rad(self.config.tilt_deg) * self._random.standard_normal((count, slots, 3))
        return torch.matrix_exp(torch.from_numpy(_cross_matrix(angle).astype(np.float32)))


def _cross_matrix(v: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y, z = np.moveaxis(v, -1, 0)
    o = np.zeros_like(x)
    return np.stack([o, -z, y, z, o, -x, -y, x, o], axis=-1).reshape(*v.shape[:-1], 3, 3)


def turn_slots(x: Tensor, rotations: Tensor) -> Tensor:
    """Turn every slot's three vectors, as a slightly different mounting would.

    Parameters
    ----------
    x : Tensor, shape (B, T, 9 S)
        Features; the mirror of the left leg commutes with drawing rotations at random.
    rotations : Tensor, shape (B, S, 3, 3)
    """
    batch, length, _ = x.shape
    vectors = x.reshape(batch, length, -1, 3, 3)
    return torch.einsum("bsij,btskj->btski", rotations, vectors).reshape(x.shape)


def _swapped(names: Sequence[str]) -> list[int]:
    other = {"r": "l", "l": "r"}
    return [names.index(f"{name[:-1]}{other[name[-1]]}") for name in names]


SWAP_Y = _swapped(ANGLES)
"""Order of the angles after left and right have changed places."""
SWAP_X = [9 * slot + k for slot in _swapped(LEG_SLOTS) for k in range(9)]
"""Order of the features after left and right have changed places (the left is already mirrored)."""


@torch.no_grad()
def predict(net: GaitNet, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Angles (T, O) in rad for a whole recording's features (T, C), from an empty memory."""
    y, _ = net(torch.from_numpy(features)[None], net.start())
    return np.asarray(y[0].numpy())
