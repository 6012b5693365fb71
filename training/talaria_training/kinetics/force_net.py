"""The streaming network from thigh and foot sensors to the forces under both feet, and its training."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from talaria_training import cores
from talaria_training.cores import CoreName
from talaria_training.kinetics.force_data import CARRIED, VERTICAL, Walk, carried
from talaria_training.kinetics.targets import FORCE_AXES, OUTPUTS
from talaria_training.train import Progress, TrainConfig, Windows

COLUMNS = (
    *OUTPUTS,
    *(f"spread_{name}" for name in OUTPUTS),
    "contact_r",
    "contact_l",
)
"""What the network gives at every sample: forces, BW; log of the scale of each one's error; log-odds that
a foot is on the ground."""
FORCES, SPREAD, CONTACT = slice(0, 6), slice(6, 12), slice(12, 14)
MATCHED: Mapping[CoreName, tuple[int, int]] = MappingProxyType(
    {"gru": (64, 2), "lstm": (55, 2), "transformer": (52, 2), "ssm": (56, 2)}
)
"""Hidden units and layers that give each core about the same parameters."""
_PER_SLOT = 9
_CONTACT_BW = 0.05


class ForceNet(nn.Module):
    """A memory, and what each foot carries read off it: forces, how far off they are, and contact.

    A foot's three forces are multiplied by the network's own belief that the foot is on the ground, so
    that a foot in the air carries nothing. Normalisation lives inside: raw features in, body weights out.
    A slot that is not present enters as the mean of the training data.

    Parameters
    ----------
    channels : int
        Width of the feature vector: nine per slot, then one flag per slot.
    config : TrainConfig
        Its core, size and dropout are used.
    """

    x_mean: Tensor
    x_std: Tensor
    y_std: Tensor

    def __init__(self, channels: int, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.slots = channels // (_PER_SLOT + 1)
        self.register_buffer("x_mean", torch.zeros(channels))
        self.register_buffer("x_std", torch.ones(channels))
        self.register_buffer("y_std", torch.ones(len(OUTPUTS)))
        self.dropout = nn.Dropout(config.dropout)
        shape = (config.hidden, config.layers, config.dropout)
        self.memory = cores.build(config.core, channels, *shape)
        self.heads = nn.Linear(config.hidden, len(COLUMNS))
        self.skip = nn.Linear(channels, len(OUTPUTS), bias=False)

    def start(self, batch: int = 1) -> Tensor:
        """Return the state before the first sample: zeros of shape (rows, batch, width)."""
        rows, width = cast("cores.Core", self.memory).state_shape
        return self.x_mean.new_zeros(rows, batch, width)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance over a stretch of samples.

        Parameters
        ----------
        x : Tensor, shape (B, T, channels)
        state : Tensor, shape (rows, B, width of the state)
            As `start` gives it.

        Returns
        -------
        y : Tensor, shape (B, T, 14)
            `COLUMNS`.
        state : Tensor, shape (rows, B, width of the state)
        """
        motion, present = x[..., : -self.slots], x[..., -self.slots :]
        motion = (motion - self.x_mean[: -self.slots]) / self.x_std[: -self.slots]
        x = torch.cat([motion * present.repeat_interleave(_PER_SLOT, dim=-1), present], dim=-1)
        memory, state = self.memory(x, state)
        sizes = [len(OUTPUTS), len(OUTPUTS), 2]
        force, spread, contact = self.heads(self.dropout(memory)).split(sizes, -1)
        down = torch.sigmoid(contact).repeat_interleave(len(FORCE_AXES), dim=-1)
        force = (force + self.skip(x)) * down * self.y_std
        return torch.cat([force, spread + self.y_std.log(), contact], dim=-1), state


_WINDOWS = TrainConfig(
    core="lstm",
    hidden=55,
    steps=400,
    batch=16,
    window=224,
    warmup=64,
    lr=5e-3,
    dropout=0.1,
    noise=0.1,
)


@dataclass(frozen=True, slots=True)
class ForceConfig:
    """Everything that shapes a training run for forces."""

    windows: TrainConfig = _WINDOWS
    delay: int = 0  # samples of hindsight: the network says what the forces were so long ago
    contact_weight: float = 0.1  # both against the forces' one
    spread_weight: float = 0.1
    knee: float = 0.2  # errors below so many standard deviations count squared, those above by size


def with_core(config: ForceConfig, core: CoreName, seed: int) -> ForceConfig:
    """Return a configuration with another core, at about the same parameters, and another seed."""
    hidden, layers = MATCHED[core]
    windows = replace(config.windows, core=core, hidden=hidden, layers=layers, seed=seed)
    return replace(config, windows=windows)


def train_forces(
    walks: Sequence[Walk], config: ForceConfig, progress: Progress | None = None
) -> ForceNet:
    """Train a new network on the given walks, whoever's they are; statistics come from these only.

    Raises
    ------
    ValueError
        If there is nothing to train on.
    """
    if not walks:
        raise ValueError("no walks to train on")
    torch.manual_seed(config.windows.seed)
    net = ForceNet(walks[0].trial.features.shape[1], config.windows)
    x = np.concatenate([walk.trial.features for walk in walks])
    y = np.concatenate([walk.force_bw for walk in walks]).reshape(-1, 2, len(FORCE_AXES))
    with torch.no_grad():
        net.x_mean.copy_(torch.from_numpy(x.mean(axis=0)))
        net.x_std.copy_(torch.from_numpy(x.std(axis=0) + 1e-6))
        # One scale for both feet, because windows are mirrored.
        scale = np.tile(np.nanstd(y, axis=(0, 1)) + 1e-6, 2)
        net.y_std.copy_(torch.from_numpy(scale))
    return _fit(net, walks, config, progress)


def tune_forces(base: ForceNet, walks: Sequence[Walk], config: ForceConfig) -> ForceNet:
    """Fine-tune a copy of `base` on one person's walks on plates; the base stays as it is."""
    torch.manual_seed(config.windows.seed)
    return _fit(copy.deepcopy(base), walks, config, None)


def _fit(
    net: ForceNet, walks: Sequence[Walk], config: ForceConfig, progress: Progress | None
) -> ForceNet:
    run = config.windows
    draw = Windows([carried(walk, config.delay) for walk in walks], run)
    optimiser = torch.optim.AdamW(net.parameters(), lr=run.lr, weight_decay=run.weight_decay)
    # The schedule cannot rise over exactly one step, so it rises over two, or in the very first.
    rise = max(0.1, 2 / run.steps) if run.steps > 2 else 0.1
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=run.lr, total_steps=run.steps, pct_start=rise
    )
    net.train()
    running = 0.0
    judged = slice(min(run.warmup, draw.window // 2), None)
    for step in range(run.steps):
        batch = draw(run.batch)
        noise = run.noise * net.x_std * torch.randn_like(batch.x)
        noise[..., -net.slots :] = 0.0  # a sensor is there or it is not
        y, _ = net(batch.x + noise, net.start(len(batch.x)))
        loss = _loss(net, y[:, judged], batch.angles[:, judged, CARRIED], config)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running = 0.98 * running + 0.02 * loss.item()
        if progress is not None:
            progress(step + 1, run.steps, running)
    return net.eval()


def _loss(net: ForceNet, y: Tensor, force: Tensor, config: ForceConfig) -> Tensor:
    """Sum Huber's loss of the forces, Laplace's likelihood of their spread, and that of contact."""
    known = torch.isfinite(force)
    count = known.sum().clamp(min=1)
    error = (y[..., FORCES] - torch.where(known, force, y[..., FORCES])) / net.y_std
    nought = torch.zeros_like(error)
    loss = smooth_l1_loss(error, nought, reduction="sum", beta=config.knee) / count
    relative = y[..., SPREAD] - net.y_std.log()
    unlikely = relative + error.detach().abs() * torch.exp(-relative)
    loss = loss + config.spread_weight * (unlikely * known).sum() / count
    vertical = force[..., VERTICAL]
    wrong = binary_cross_entropy_with_logits(
        y[..., CONTACT], (vertical > _CONTACT_BW).float(), reduction="none"
    )
    seen = torch.isfinite(vertical)
    return loss + config.contact_weight * (wrong * seen).sum() / seen.sum().clamp(min=1)


@torch.no_grad()
def force_outputs(net: ForceNet, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `COLUMNS` (T, 14) for a whole recording's features (T, C), from an empty memory."""
    y, _ = net(torch.from_numpy(features)[None], net.start())
    return np.asarray(y[0].numpy())


def aligned(y: NDArray[np.float32], delay: int) -> NDArray[np.float32]:
    """Set what a network said with hindsight at the moments it was said of; NaN at the end."""
    moved = np.full_like(y, np.nan)
    moved[: len(y) - delay] = y[delay:]
    return moved
