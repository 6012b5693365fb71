"""Joint moments read off the memory of a trained force network, whose forces stay bit for bit as they were."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from talaria_training.kinetics.dynamics import JOINTS, MOMENTS
from talaria_training.kinetics.force_data import CARRIED, carried
from talaria_training.kinetics.force_net import CONTACT, FORCES, SPREAD, ForceNet
from talaria_training.kinetics.moment_data import MomentWalk
from talaria_training.kinetics.targets import OUTPUTS
from talaria_training.train import Progress, TrainConfig, Windows

COLUMNS = (
    *OUTPUTS,
    *MOMENTS,
    *(f"spread_{name}" for name in (*OUTPUTS, *MOMENTS)),
    "contact_r",
    "contact_l",
)
"""What the network gives at every sample: forces, BW; moments, N·m/kg; log of the scale of each one's error;
log-odds that a foot is on the ground."""
MOMENT, MOMENT_SPREAD = slice(6, 12), slice(18, 24)


class _Tap(nn.Module):
    """A memory that hands out what went in and what it remembers, beside its next state.

    A `ForceNet` gives on whatever its memory calls the next state: so its own forward pass is the one that
    runs, and moments are read off the very numbers that the forces come from.
    """

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core
        self.state_shape = core.state_shape

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        memory, state = self.core(x, state)
        return memory, (state, x, memory)


class MomentNet(nn.Module):
    """A force network, and the moments of hips, knees and ankles read off its memory.

    Parameters
    ----------
    forces : ForceNet
        Copied; its weights are not trained any further.
    hidden : int
        Units of the layer between the memory and the moments; 0 for none.
    """

    y_mean: Tensor
    y_std: Tensor

    def __init__(self, forces: ForceNet, hidden: int = 32) -> None:
        super().__init__()
        self.config = forces.config
        self.hidden = hidden
        self.register_buffer("y_mean", torch.zeros(len(MOMENTS)))
        self.register_buffer("y_std", torch.ones(len(MOMENTS)))
        self.forces = copy.deepcopy(forces)
        self.forces.memory = _Tap(self.forces.memory)
        self.forces.requires_grad_(requires_grad=False)
        wide = forces.config.hidden + forces.x_mean.numel()
        between = [nn.Linear(wide, hidden), nn.SiLU()] if hidden else []
        self.read = nn.Sequential(*between, nn.Linear(hidden or wide, 2 * len(MOMENTS)))

    @property
    def x_mean(self) -> Tensor:
        """Mean of the features it was trained on."""
        return self.forces.x_mean

    @property
    def x_std(self) -> Tensor:
        """Standard deviation of the features it was trained on."""
        return self.forces.x_std

    @property
    def slots(self) -> int:
        """Sensors it listens to."""
        return self.forces.slots

    def train(self, mode: bool = True) -> MomentNet:
        """Set the mode of what reads moments; the forces stay as they are."""
        super().train(mode)
        self.forces.eval()
        return self

    def start(self, batch: int = 1) -> Tensor:
        """Return the state before the first sample, as `ForceNet.start` does."""
        return self.forces.start(batch)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance over a stretch of samples.

        Parameters
        ----------
        x : Tensor, shape (B, T, channels)
        state : Tensor, shape (rows, B, width of the state)
            As `start` gives it.

        Returns
        -------
        y : Tensor, shape (B, T, 26)
            `COLUMNS`.
        state : Tensor, shape (rows, B, width of the state)
        """
        y, tapped = self.forces(x, state)
        state, seen, memory = cast("tuple[Tensor, Tensor, Tensor]", tapped)
        moment, spread = self.read(torch.cat([memory, seen], dim=-1)).chunk(2, dim=-1)
        moment = moment * self.y_std + self.y_mean
        spread = spread + self.y_std.log()
        parts = [y[..., FORCES], moment, y[..., SPREAD], spread, y[..., CONTACT]]
        return torch.cat(parts, dim=-1), state


@dataclass(frozen=True, slots=True)
class MomentConfig:
    """Everything that shapes what is read off a force network's memory."""

    hidden: int = 32  # units between the memory and the moments; 0 for none
    steps: int = 400
    batch: int = 16
    lr: float = 5e-3
    weight_decay: float = 1e-3
    noise: float = 0.1  # white noise, in standard deviations of each channel
    spread_weight: float = 0.1  # against the moments' one
    knee: float = 0.2  # errors below so many standard deviations count squared, those above by size


def train_moments(
    forces: ForceNet,
    walks: Sequence[MomentWalk],
    config: MomentConfig,
    progress: Progress | None = None,
) -> MomentNet:
    """Learn to read moments off a force network's memory; statistics come from the given walks only.

    Parameters
    ----------
    forces : ForceNet
        Trained, of no delay, on nobody who is held out.
    walks : sequence of MomentWalk
        Those without any known moment are passed over.
    config : MomentConfig
    progress : callable, optional

    Raises
    ------
    ValueError
        If no moment is known.
    """
    known = [walk for walk in walks if np.isfinite(walk.moment_nm_kg).any()]
    if not known:
        raise ValueError("no moments to train on")
    torch.manual_seed(forces.config.seed)
    net = MomentNet(forces, config.hidden)
    y = np.concatenate([walk.moment_nm_kg for walk in known]).reshape(-1, 2, len(JOINTS))
    with torch.no_grad():
        # One mean and one scale for both legs, because windows are mirrored.
        net.y_mean.copy_(torch.from_numpy(np.tile(np.nanmean(y, axis=(0, 1)), 2)))
        net.y_std.copy_(torch.from_numpy(np.tile(np.nanstd(y, axis=(0, 1)) + 1e-6, 2)))
    run = replace(
        forces.config,
        steps=config.steps,
        batch=config.batch,
        lr=config.lr,
        weight_decay=config.weight_decay,
        noise=config.noise,
    )
    return _fit(net, known, run, config, progress)


def _fit(
    net: MomentNet,
    walks: Sequence[MomentWalk],
    run: TrainConfig,
    config: MomentConfig,
    progress: Progress | None,
) -> MomentNet:
    draw = Windows([carried(walk.as_forces(), 0) for walk in walks], run)
    optimiser = torch.optim.AdamW(net.read.parameters(), lr=run.lr, weight_decay=run.weight_decay)
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
        loss = moment_loss(net, y[:, judged], batch.angles[:, judged, CARRIED], config)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(net.read.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running = 0.98 * running + 0.02 * loss.item()
        if progress is not None:
            progress(step + 1, run.steps, running)
    return net.eval()


def moment_loss(net: MomentNet, y: Tensor, moment: Tensor, config: MomentConfig) -> Tensor:
    """Sum Huber's loss of the moments and Laplace's likelihood of their spread.

    Parameters
    ----------
    net : MomentNet
    y : Tensor, shape (B, T, 26)
        `COLUMNS`.
    moment : Tensor, shape (B, T, 6)
        `MOMENTS`; NaN where not known, which teaches nothing.
    config : MomentConfig
    """
    known = torch.isfinite(moment)
    count = known.sum().clamp(min=1)
    said = y[..., MOMENT]
    error = (said - torch.where(known, moment, said)) / net.y_std
    nought = torch.zeros_like(error)
    loss = smooth_l1_loss(error, nought, reduction="sum", beta=config.knee) / count
    relative = y[..., MOMENT_SPREAD] - net.y_std.log()
    unlikely = relative + error.detach().abs() * torch.exp(-relative)
    return loss + config.spread_weight * (unlikely * known).sum() / count


@torch.no_grad()
def moment_outputs(net: MomentNet, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `COLUMNS` (T, 26) for a whole recording's features (T, C), from an empty memory."""
    y, _ = net(torch.from_numpy(features)[None], net.start())
    return np.asarray(y[0].numpy())
