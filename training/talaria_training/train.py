"""Training, fine-tuning and single-user training: one straight path with three entrances."""

from __future__ import annotations

import copy
import math
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
from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_training.adapt import Part, merge, tunable
from talaria_training.cores import CoreName
from talaria_training.networks import CONTACT_DELAY_S, GAIT_CLASSES, GaitNet, head_columns
from talaria_training.trials import Trial

_SETTLED = 300
"""Samples before the network's memory has filled and the attitudes have levelled."""

_FAMILIAR_EVERY = 5
"""Neighbouring samples say the same: every so many are enough to know what is familiar."""
_FAMILIAR_BEFORE = 1200
"""What a base knows counts like so many samples of a personal network's own."""

Progress = Callable[[int, int, float], None]
"""Called with steps done, steps in all, and the running loss."""
Watch = Callable[[int, GaitNet], bool]
"""Called now and then with steps done and the network, ready to predict; true stops the training."""


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
    pace: float = 0.0  # standard deviation of a window's relative change of pace
    heads_weight: float = 0.2  # contact, cycle, class and spread, each against the angles' one
    absent: float = 0.4  # share of windows that miss one or more sensors for a while
    core: CoreName = "gru"  # what remembers; see `talaria_training.cores`
    tune: Part = "all"  # which weights a fine-tuning changes; see `talaria_training.adapt`
    watch_every: int = 25  # steps from one call of a watch to the next
    seed: int = 0


MULTI_USER = TrainConfig()
"""From nothing on many people."""

FINETUNE = TrainConfig(
    steps=250, batch=16, lr=4e-3, swap_legs=False, tilt_deg=1.0, noise=0.02, absent=0.1
)
"""From a trained base on one person's first minute."""

SINGLE_USER = TrainConfig(
    steps=400, batch=16, swap_legs=False, tilt_deg=1.0, noise=0.02, absent=0.1
)
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

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        return Batch(*(tensor.to(device) for tensor in self))


def train(
    trials: Sequence[Trial],
    config: TrainConfig,
    progress: Progress | None = None,
    watch: Watch | None = None,
    start: GaitNet | None = None,
) -> GaitNet:
    """Train a new network on the given trials, whoever's they are.

    Input and output statistics come from these trials only. With `start`, its weights are where the
    training sets out from, and its own statistics are kept.

    Raises
    ------
    ValueError
        If there is nothing to train on.
    """
    torch.manual_seed(config.seed)
    if start is not None:
        return fit(start.twin(config.dropout), trials, config, progress, watch)
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
    return fit(net, trials, config, progress, watch)


def new_net(channels: int, config: TrainConfig) -> GaitNet:
    """Build an untrained network of a configuration's shape."""
    return GaitNet(channels, config.hidden, config.layers, config.dropout, config.core)


def finetune(
    base: GaitNet,
    trials: Sequence[Trial],
    config: TrainConfig = FINETUNE,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> GaitNet:
    """Fine-tune a copy of `base` on one person's trials; the base stays as it is.

    Only the angles, and how far off they are, are learned anew: who fine-tunes has no force plates, so
    contact, cycle and class are held to what the base says of the same windows.
    """
    torch.manual_seed(config.seed)
    net = base.twin(config.dropout)
    return merge(fit(net, trials, config, progress, watch, teacher=base.eval()))


def fit(
    net: GaitNet,
    trials: Sequence[Trial],
    config: TrainConfig,
    progress: Progress | None = None,
    watch: Watch | None = None,
    teacher: GaitNet | None = None,
) -> GaitNet:
    """Optimise `net` in place on random windows of the trials, and return it ready to predict.

    With a `teacher`, its contact, cycle and class take the place of measured ones. A GPU is used where there
    is one; `net` comes back from it, and every random number is drawn on the CPU, whichever it is.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net.to(device)
    there = None if teacher is None else copy.deepcopy(teacher).eval().to(device)
    draw = Windows(trials, config)
    optimiser = torch.optim.AdamW(
        tunable(net, config.tune), lr=config.lr, weight_decay=config.weight_decay
    )
    # The schedule cannot rise over exactly one step, so it rises over two, or in the very first.
    rise = max(0.1, 2 / config.steps) if config.steps > 2 else 0.1
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=config.lr, total_steps=config.steps, pct_start=rise
    )
    net.train()
    running = 0.0
    for step in range(config.steps):
        batch = draw(config.batch)
        noise = config.noise * net.x_std * torch.randn_like(batch.x).to(device)
        batch = batch.to(device)
        noise[..., -net.slots :] = 0.0  # a sensor is there or it is not
        y, _ = net(batch.x + noise, net.start(len(batch.x)))
        judged = slice(config.warmup, None)
        loss = _angle_loss(net, y[:, judged], batch.angles[:, judged], config)
        if there is None:
            labels = _head_loss(y[:, judged], batch, judged)
        else:
            labels = _teacher_loss(y[:, judged], there, batch.x, judged)
        loss = loss + config.heads_weight * labels
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running = 0.98 * running + 0.02 * loss.item()
        if progress is not None:
            progress(step + 1, config.steps, running)
        if watch is not None and (step + 1) % config.watch_every == 0:
            stop = watch(step + 1, net.eval())
            net.train()
            if stop:
                break
    _learn_familiar(net.eval().cpu(), trials, teacher)
    return net


def _angle_loss(net: GaitNet, y: Tensor, angles: Tensor, config: TrainConfig) -> Tensor:
    """Angles by Huber's loss; their spread by Laplace's likelihood of the error as it stands."""
    weight = net.y_std.new_tensor(
        [1.0 if a in SAGITTAL else config.out_of_plane_weight for a in ANGLES]
    )
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
def _learn_familiar(net: GaitNet, trials: Sequence[Trial], base: GaitNet | None) -> None:
    """Fit the ellipsoid that the network's memory keeps to on what it was trained on.

    A personal network's few seconds are no ellipsoid yet: its base's counts beside them.
    """
    seen = [torch.from_numpy(trial.features)[None] for trial in trials]
    seen += [x[..., SWAP_X] for x in seen]  # a limp on the other side is as familiar
    memory = torch.cat(
        [net.memory(x)[0, min(_SETTLED, x.shape[1] // 2) :: _FAMILIAR_EVERY] for x in seen]
    ).double()
    mean = memory.mean(dim=0)
    # A little of the overall variance in every direction, or the rarest would decide alone.
    spread = torch.cov(memory.T) + 0.01 * memory.var() * torch.eye(net.hidden)
    if base is not None and base.memory_white.any():  # an untrained one knows nothing
        white = base.memory_white.double()
        share = _FAMILIAR_BEFORE / (_FAMILIAR_BEFORE + len(memory))
        apart = base.memory_mean.double() - mean
        spread = (1 - share) * spread + share * torch.linalg.inv(white @ white.T)
        spread += share * (1 - share) * torch.outer(apart, apart)
        mean += share * apart
    net.memory_mean.copy_(mean)
    values, vectors = torch.linalg.eigh(spread)
    net.memory_white.copy_(vectors / values.sqrt())


class Windows:
    """Random windows of trials, mirrored, slightly turned, and played a little faster or slower.

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
        x, y, contact, cycle = self._cut(chosen)
        slots = x.shape[-1] // 10
        motion = turn_slots(x[..., : 9 * slots], self._rotations(count, slots))
        x = torch.cat([motion, x[..., 9 * slots :]], dim=-1)
        if self.config.swap_legs:
            swap = torch.from_numpy(self._random.random(count) < 0.5)[:, None, None]
            x, y = torch.where(swap, x[..., SWAP_X], x), torch.where(swap, y[..., SWAP_Y], y)
            contact, cycle = (torch.where(swap, v.flip(-1), v) for v in (contact, cycle))
        self._take_away(x, slots)
        return Batch(x, y, contact, cycle, torch.tensor([self._class[i] for i in chosen]))

    def _cut(self, chosen: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """Cut a window out of each chosen trial: features, angles, contact and cycle."""
        pace = np.ones(len(chosen))
        if self.config.pace:
            # Nobody walks a third faster than somebody who was recorded and still moves alike.
            pace = np.exp(
                np.clip(self.config.pace * self._random.standard_normal(len(chosen)), -0.3, 0.3)
            )
        rows = []
        for i, wanted in zip(chosen, pace, strict=True):
            last = len(self._x[i]) - 1
            p = min(wanted, last / (self.window - 1))
            start = self._random.integers(0, last - math.ceil(p * (self.window - 1)) + 1)
            at = torch.from_numpy(start + p * np.arange(self.window))
            rows.append(
                (
                    at_pace(_between(self._x[i], at), p),
                    _between(self._y[i], at),
                    *(label[i][at.round().long()] for label in (self._contact, self._cycle)),
                )
            )
        return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))

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


def _between(values: Tensor, at: Tensor) -> Tensor:
    """Read rows at fractional places, linearly between two; NaN where either is."""
    before = at.long()
    after = (before + 1).clamp(max=len(values) - 1)
    share = (at - before).float()[:, None]
    return torch.where(
        share > 0, values[before] * (1 - share) + values[after] * share, values[before]
    )


def at_pace(x: Tensor, pace: float) -> Tensor:
    """Change features (T, 10 S) resampled to `pace` times as fast into what the sensors would have read.

    The same postures passed through faster: rates grow with the pace, and what is left of the specific
    force without gravity grows with its square.
    """
    if pace == 1.0:
        return x
    slots = x.shape[-1] // 10
    force, rate, up = x[:, : 9 * slots].reshape(len(x), slots, 3, 3).unbind(dim=2)
    gravity = STANDARD_GRAVITY_MS2 * up
    moved = torch.stack([gravity + pace**2 * (force - gravity), pace * rate, up], dim=2)
    return torch.cat([moved.flatten(1), x[:, 9 * slots :]], dim=1)


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
    y, _ = net(torch.from_numpy(features)[None].to(net.x_mean.device), net.start())
    return np.asarray(y[0].cpu().numpy())
