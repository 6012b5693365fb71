"""Training, fine-tuning and single-user training: one straight path with three entrances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    smooth_l1_loss,
)

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.kinematics import ANGLES, SAGITTAL
from talaria_training.networks import CONTACT_DELAY_S, GAIT_CLASSES, GaitNet, head_columns
from talaria_training.trials import Trial

_SETTLED = 300
"""Samples before the network's memory has filled and the attitudes have levelled."""

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
    heads_weight: float = 0.2  # contact, cycle, class and spread, each against the angles' one
    absent: float = 0.4  # share of windows that miss one or more sensors for a while
    seed: int = 0


MULTI_USER = TrainConfig()
"""From nothing on many people."""

FINETUNE = TrainConfig(steps=300, batch=16, lr=2e-3, swap_legs=False, tilt_deg=1.0, noise=0.02)
"""From a trained base on one person's first minute."""

SINGLE_USER = TrainConfig(steps=600, batch=16, swap_legs=False, tilt_deg=1.0, noise=0.02)
"""From nothing on one person's first minute."""


class Batch(NamedTuple):
    """Windows of trials; labels are NaN where they are not known.

    Attributes
    ----------
    x : Tensor, shape (B, T, C)
    angles : Tensor, shape (B, T, len(ANGLES)), rad
    contact, cycle : Tensor, shape (B, T, 2)
        See `Trial`; contact is that of the network's `CONTACT_DELAY_S` ago.
    gait_class : Tensor of int, shape (B,)
        Index into `GAIT_CLASSES`, -1 where not known.
    """

    x: Tensor
    angles: Tensor
    contact: Tensor
    cycle: Tensor
    gait_class: Tensor


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
    net = GaitNet(trials[0].features.shape[1], config.hidden, config.layers, config.dropout)
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
    """Fine-tune a copy of `base` on one person's trials; the base stays as it is.

    Only the angles, and how far off they are, are learned anew: who fine-tunes has no force plates, so
    contact, cycle and class are held to what the base says of the same windows.
    """
    torch.manual_seed(config.seed)
    net = GaitNet(base.x_mean.numel(), base.hidden, base.layers, config.dropout)
    net.load_state_dict(base.state_dict())
    return fit(net, trials, config, progress, teacher=base.eval())


def fit(
    net: GaitNet,
    trials: Sequence[Trial],
    config: TrainConfig,
    progress: Progress | None = None,
    teacher: GaitNet | None = None,
) -> GaitNet:
    """Optimise `net` in place on random windows of the trials, and return it ready to predict.

    With a `teacher`, its contact, cycle and class take the place of measured ones.
    """
    draw = Windows(trials, config)
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=config.lr, total_steps=config.steps, pct_start=0.1
    )
    net.train()
    running = 0.0
    for step in range(config.steps):
        batch = draw(config.batch)
        noise = config.noise * net.x_std * torch.randn_like(batch.x)
        noise[..., -net.slots :] = 0.0  # a sensor is there or it is not
        y, _ = net(batch.x + noise, net.start(len(batch.x)))
        judged = slice(config.warmup, None)
        loss = _angle_loss(net, y[:, judged], batch.angles[:, judged], config)
        if teacher is None:
            labels = _head_loss(y[:, judged], batch, judged)
        else:
            labels = _teacher_loss(y[:, judged], teacher, batch.x, judged)
        loss = loss + config.heads_weight * labels
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running = 0.98 * running + 0.02 * loss.item()
        if progress is not None:
            progress(step + 1, config.steps, running)
    _learn_familiar(net.eval(), trials)
    return net


def _angle_loss(net: GaitNet, y: Tensor, angles: Tensor, config: TrainConfig) -> Tensor:
    """Angles by Huber's loss; their spread by Laplace's likelihood of the error as it stands."""
    weight = torch.tensor([1.0 if a in SAGITTAL else config.out_of_plane_weight for a in ANGLES])
    predicted, log_scale = y[..., : len(ANGLES)], y[..., head_columns("spread")]
    known = torch.isfinite(angles)
    error = (predicted - torch.where(known, angles, predicted)) / net.y_std
    loss = (smooth_l1_loss(error, torch.zeros_like(error), reduction="none") * weight).mean()
    relative = log_scale - net.y_std.log()
    unlikely = relative + error.detach().abs() * torch.exp(-relative)
    return loss + config.heads_weight * (unlikely * known).mean()


def _head_loss(y: Tensor, batch: Batch, judged: slice) -> Tensor:
    """Contact, cycle and class, each over the samples where it is known."""
    contact, cycle = batch.contact[:, judged], batch.cycle[:, judged]
    known = torch.isfinite(contact)
    said = y[..., head_columns("contact")]
    loss = _mean_of(
        binary_cross_entropy_with_logits(said, contact.nan_to_num(), reduction="none"), known
    )
    known = torch.isfinite(cycle)
    angle = 2.0 * torch.pi * cycle.nan_to_num()
    circle = torch.stack([angle.cos(), angle.sin()], dim=-1).flatten(-2)
    off = (y[..., head_columns("cycle")] - circle) ** 2
    loss = loss + _mean_of(off, known.repeat_interleave(2, dim=-1))
    walking = known.any(dim=-1) & (batch.gait_class >= 0)[:, None]
    wanted = batch.gait_class.clamp(min=0)[:, None].expand(walking.shape)
    wrong = cross_entropy(
        y[..., head_columns("gait_class")].movedim(-1, 1), wanted, reduction="none"
    )
    return loss + _mean_of(wrong, walking)


def _teacher_loss(y: Tensor, teacher: GaitNet, x: Tensor, judged: slice) -> Tensor:
    with torch.no_grad():
        known, _ = teacher(x, teacher.start(len(x)))
    heads = slice(head_columns("contact").start, head_columns("gait_class").stop)
    return smooth_l1_loss(y[..., heads], known[:, judged, heads])


def _mean_of(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp(min=1)


@torch.no_grad()
def _learn_familiar(net: GaitNet, trials: Sequence[Trial]) -> None:
    """Fit the ellipsoid that the network's memory keeps to on what it was trained on."""
    seen = [torch.from_numpy(trial.features)[None] for trial in trials]
    seen += [x[..., SWAP_X] for x in seen]  # a limp on the other side is as familiar
    memory = torch.cat([net.memory(x)[0, _SETTLED::5] for x in seen]).double()
    net.memory_mean.copy_(memory.mean(dim=0))
    # A little of the overall variance in every direction, or the rarest would decide alone.
    covariance = torch.cov(memory.T) + 0.01 * memory.var() * torch.eye(net.hidden)
    values, vectors = torch.linalg.eigh(covariance)
    net.memory_white.copy_(vectors / values.sqrt())


class Windows:
    """Random windows of trials, mirrored and slightly turned.

    Trials count by their length; people with more minutes are not weighted down.
    """

    def __init__(self, trials: Sequence[Trial], config: TrainConfig) -> None:
        if not trials:
            raise ValueError("no trials to train on")
        self.config = config
        self.window = min(config.window, *(len(t.features) for t in trials))
        delay = round(CONTACT_DELAY_S * trials[0].rate_hz)
        self._x = [torch.from_numpy(t.features) for t in trials]
        self._y = [torch.from_numpy(t.angles_rad) for t in trials]
        self._contact = [_delayed(torch.from_numpy(t.contact), delay) for t in trials]
        self._cycle = [torch.from_numpy(t.cycle) for t in trials]
        self._class = [class_of(t.condition) for t in trials]
        starts = np.array([len(x) - self.window + 1 for x in self._x], dtype=float)
        self._share = starts / starts.sum()
        self._random = np.random.default_rng(config.seed)

    def __call__(self, count: int) -> Batch:
        """Draw `count` windows."""
        chosen = self._random.choice(len(self._x), size=count, p=self._share)
        starts = [self._random.integers(0, len(self._x[i]) - self.window + 1) for i in chosen]

        def cut(of: Sequence[Tensor]) -> Tensor:
            pairs = zip(chosen, starts, strict=True)
            return torch.stack([of[i][start : start + self.window] for i, start in pairs])

        x, y, contact, cycle = map(cut, (self._x, self._y, self._contact, self._cycle))
        slots = x.shape[-1] // 10
        motion = turn_slots(x[..., : 9 * slots], self._rotations(count, slots))
        x = torch.cat([motion, x[..., 9 * slots :]], dim=-1)
        if self.config.swap_legs:
            swap = torch.from_numpy(self._random.random(count) < 0.5)[:, None, None]
            x, y = torch.where(swap, x[..., SWAP_X], x), torch.where(swap, y[..., SWAP_Y], y)
            contact, cycle = (torch.where(swap, v.flip(-1), v) for v in (contact, cycle))
        self._take_away(x, slots)
        return Batch(x, y, contact, cycle, torch.tensor([self._class[i] for i in chosen]))

    def _take_away(self, x: Tensor, slots: int) -> None:
        """Let sensors fall silent in some windows: mostly one of them, from some moment on."""
        for row in np.flatnonzero(self._random.random(len(x)) < self.config.absent):
            lost = self._random.permutation(slots)[: 1 + self._random.binomial(slots - 2, 0.25)]
            whole = self._random.random() < 0.7
            start = 0 if whole else self._random.integers(0, self.window)
            stop = self.window if whole else self._random.integers(start, self.window + 1)
            for slot in lost:
                x[row, start:stop, 9 * slots + slot] = 0.0

    def _rotations(self, count: int, slots: int) -> Tensor:
        angle = np.deg2rad(self.config.tilt_deg) * self._random.standard_normal((count, slots, 3))
        return torch.matrix_exp(torch.from_numpy(_cross_matrix(angle).astype(np.float32)))


def class_of(condition: str) -> int:
    """Which of `GAIT_CLASSES` a recording's condition names, -1 if none."""
    said = condition.lower()
    if "stiff" in said:
        return GAIT_CLASSES.index("stiff_knee")
    return GAIT_CLASSES.index("walking") if "baseline" in said or "walk" in said else -1


def _delayed(label: Tensor, samples: int) -> Tensor:
    late = torch.full_like(label, torch.nan)
    late[samples:] = label[: len(label) - samples]
    return late


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
SWAP_X = [9 * slot + k for slot in _swapped(LEG_SLOTS) for k in range(9)] + [
    9 * len(LEG_SLOTS) + slot for slot in _swapped(LEG_SLOTS)
]
"""Order of the features after left and right have changed places (the left is already mirrored)."""


@torch.no_grad()
def predict(net: GaitNet, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Angles (T, O) in rad for a whole recording's features (T, C), from an empty memory."""
    return outputs(net, features)[:, : len(ANGLES)]


@torch.no_grad()
def outputs(net: GaitNet, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Angles and heads (T, W) for a whole recording's features (T, C), from an empty memory."""
    y, _ = net(torch.from_numpy(features)[None], net.start())
    return np.asarray(y[0].numpy())
