"""Training of the denoiser and of the network that says forces: stopped and gone on with at will.

Every random number is drawn on the CPU by one generator whose state is kept with the weights, so that a
training that was stopped and went on ends where one that never stopped does.
"""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from talaria_bridge.errors import ConfigError
from talaria_edge.generate.contract import Scale
from talaria_edge.generate.motion import FORCES, columns
from talaria_edge.generate.schedule import STEPS, cosine, step_at
from talaria_training.generate.batches import Batch, Draw, FitConfig
from talaria_training.generate.denoiser import (
    KINEMATICS,
    REFINER,
    Denoiser,
    DenoiserConfig,
    ForceRefiner,
)
from talaria_training.generate.masks import draw_channels, draw_known
from talaria_training.generate.windows import Windows
from talaria_training.train import Progress

_KINEMATIC, _FORCE = columns(KINEMATICS), columns(FORCES)
_WHOLE = 0.5  # share of windows whose kinematics the network of forces sees without gaps
_Net = TypeVar("_Net", bound=nn.Module)


class Hidden(NamedTuple):
    """What is done to a batch of windows before a network sees them.

    Attributes
    ----------
    known : Tensor, shape (B, WINDOW, len(CHANNELS))
        1 where shown.
    noise : Tensor, shape (B, WINDOW, len(CHANNELS))
    step : Tensor of int64, shape (B,)
        Of the schedule.
    """

    known: Tensor
    noise: Tensor
    step: Tensor


_Loss = Callable[[_Net, Batch, Hidden], Tensor]


def fit(
    windows: Windows,
    config: FitConfig | None = None,
    size: DenoiserConfig | None = None,
    checkpoint: Path | None = None,
    weights: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> tuple[Denoiser, Scale]:
    """Train a denoiser, or go on with its training.

    A GPU is used where there is one, with half-precision arithmetic.

    Parameters
    ----------
    windows : Windows
    config : FitConfig, optional
    size : DenoiserConfig, optional
    checkpoint : Path, optional
        Where the state of the training is kept; if it is there, training goes on from it.
    weights : mapping of person to float, optional
        How often each person is drawn; the square root of their windows' number if absent.
    progress : callable, optional

    Returns
    -------
    net : Denoiser
        With the average of its weights, on the CPU.
    scale : Scale
        From these windows and their mirror images.

    Raises
    ------
    ConfigError
        If there are no windows, someone has no weight, or the checkpoint is unreadable or another training's.
    """
    config = config or FitConfig()
    draw = Draw(windows, config, weights)
    torch.manual_seed(config.seed)
    net = Denoiser(size or DenoiserConfig())
    loss = denoising_loss(config.difference_weight)
    return _run(net, draw, hide, loss, checkpoint, progress), draw.scale


def fit_refiner(
    windows: Windows,
    config: FitConfig | None = None,
    size: DenoiserConfig = REFINER,
    checkpoint: Path | None = None,
    weights: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> tuple[ForceRefiner, Scale]:
    """Train a network that says forces, or go on with its training; see `fit`.

    Only windows with forces are learned from.

    Raises
    ------
    ConfigError
        As `fit`, or if no window has forces.
    """
    config = config or FitConfig()
    felt = np.asarray(np.isfinite(windows.values[..., _FORCE]).any(axis=(1, 2)))
    draw = Draw(windows.select(felt), config, weights)
    torch.manual_seed(config.seed)
    loss = refining_loss(config.difference_weight)
    return _run(ForceRefiner(size), draw, _hide_joints, loss, checkpoint, progress), draw.scale


def hide(batch: Batch, rng: np.random.Generator) -> Hidden:
    """Draw for a denoiser: what is shown of all that was measured, the noise and its step."""
    known = torch.from_numpy(draw_known(len(batch.x), rng)) * batch.measured
    noise = rng.standard_normal(batch.x.shape, dtype=np.float32)
    # Half where samplers go, half everywhere, so that no step is a stranger.
    often, any_step = step_at(rng.random(len(batch.x))), rng.integers(STEPS, size=len(batch.x))
    step = np.where(rng.random(len(batch.x)) < 0.5, often, any_step)
    return Hidden(known, torch.from_numpy(noise), torch.from_numpy(step))


def _hide_joints(batch: Batch, rng: np.random.Generator) -> Hidden:
    """Draw for a network of forces: which channels are shown; there is no noise."""
    shown = [
        np.ones(batch.x.shape[-1], bool) if rng.random() < _WHOLE else draw_channels(rng)
        for _ in batch.x
    ]
    known = torch.from_numpy(np.stack(shown))[:, None] * batch.measured
    return Hidden(known, torch.zeros(1), torch.zeros(1, dtype=torch.int64))


def denoising_loss(difference_weight: float) -> _Loss[Denoiser]:
    """Return how far a denoiser is off what was measured and not shown."""
    schedule = cosine()
    tables = [torch.tensor(one, dtype=torch.float32) for one in (schedule.signal, schedule.noise)]

    def loss(net: Denoiser, batch: Batch, hidden: Hidden) -> Tensor:
        step = hidden.step.cpu()
        signal, noise = (table[step][:, None, None].to(batch.x.device) for table in tables)
        # What was not measured is 0 here, and so enters as the noise of its level and nothing else.
        noisy = signal * batch.x + noise * hidden.noise
        clean = net(noisy, batch.x * hidden.known, hidden.known, hidden.step, *batch[2:])
        return _error(
            clean, batch.x, batch.measured, batch.measured - hidden.known, difference_weight
        )

    return loss


def refining_loss(difference_weight: float) -> _Loss[ForceRefiner]:
    """Return how far a network of forces is off those measured."""

    def loss(net: ForceRefiner, batch: Batch, hidden: Hidden) -> Tensor:
        known = hidden.known[..., _KINEMATIC]
        force = net(batch.x[..., _KINEMATIC] * known, known, *batch[2:])
        there = batch.measured[..., _FORCE]
        return _error(force, batch.x[..., _FORCE], there, there, difference_weight)

    return loss


def _error(said: Tensor, true: Tensor, measured: Tensor, judged: Tensor, weight: float) -> Tensor:
    """Mean squared error of the values judged, and of the differences that touch one."""
    off = said.float() - true
    loss = (off.square() * judged).sum() / judged.sum().clamp(min=1)
    both = measured[:, 1:] * measured[:, :-1] * torch.maximum(judged[:, 1:], judged[:, :-1])
    change = (off * judged).diff(dim=1)
    return loss + weight * (change.square() * both).sum() / both.sum().clamp(min=1)


class _Training(Generic[_Net]):
    """A network on its way: its weights, their average, the optimiser, the steps done and the random state."""

    def __init__(self, net: _Net, draw: Draw, checkpoint: Path | None) -> None:
        config = draw.config
        self.net, self.config = net, config
        self.average = copy.deepcopy(net).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            net.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        self.rng = np.random.default_rng(config.seed)
        self.step, self.running = 0, 0.0
        self._about = _identity(net, draw)
        if checkpoint is not None and checkpoint.exists():
            self._resume(checkpoint)

    def learn(self, loss: Tensor) -> None:
        """Take one step down a loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.step, self.config)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip)
        self.optimiser.step()
        self.step += 1
        # Early weights are far from the late ones: the average first follows, then settles.
        kept = min(self.config.ema, self.step / (self.step + 10))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.net.parameters(), strict=True):
                mean.lerp_(now, 1.0 - kept)
        self.running = loss.item() if self.step == 1 else 0.98 * self.running + 0.02 * loss.item()

    def save(self, path: Path) -> None:
        """Write all of it, or leave what was there."""
        part = path.with_name(f".{path.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "about": self._about,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "running": self.running,
            "rng": json.dumps(self.rng.bit_generator.state),
        }
        torch.save(state, part)
        part.replace(path)

    def _resume(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            about = state["about"]
        except (
            OSError,
            RuntimeError,
            EOFError,
            KeyError,
            TypeError,
            pickle.UnpicklingError,
        ) as err:
            reason = " ".join(str(err).split())[:100]
            raise ConfigError(
                f"{path} is no state of a training that could go on ({reason}): remove it to begin anew."
            ) from None
        if about != self._about:
            raise ConfigError(
                f"{path} is the state of a training with other settings or other windows: give another "
                "file, or remove it to begin anew."
            )
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.running = state["step"], state["running"]
        self.rng.bit_generator.state = json.loads(state["rng"])


def rate_at(step: int, config: FitConfig) -> float:
    """Return the learning rate of a step: up in a straight line, down as a cosine."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    left = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * left))


def _identity(net: nn.Module, draw: Draw) -> str:
    """Tell one training from another; how often it is saved changes nothing."""
    said = asdict(draw.config)
    for name in ("save_every", "compiled"):
        del said[name]
    shapes = {name: list(tensor.shape) for name, tensor in net.state_dict().items()}
    return json.dumps([said, shapes, draw.digest()])


def _run(
    net: _Net,
    draw: Draw,
    hide: Callable[[Batch, np.random.Generator], Hidden],
    loss_of: _Loss[_Net],
    checkpoint: Path | None,
    progress: Progress | None,
) -> _Net:
    """Optimise a network and return the average of its weights."""
    config = draw.config
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = _Training(net.to(device), draw, checkpoint)
    if config.compiled:
        net.compile()
    for step in range(training.step, config.steps):
        batch = draw(training.rng)
        hidden = hide(batch, training.rng)
        batch = Batch(*(tensor.to(device) for tensor in batch))
        hidden = Hidden(*(tensor.to(device) for tensor in hidden))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = loss_of(net, batch, hidden)
        training.learn(loss)
        if progress is not None:
            progress(step + 1, config.steps, training.running)
        if checkpoint is not None and (
            (step + 1) % config.save_every == 0 or step + 1 == config.steps
        ):
            training.save(checkpoint)
    return training.average.cpu()
