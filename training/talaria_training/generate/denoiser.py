"""The transformer that says which clean window of gait a noisy one came from, and one that says forces.

After Peebles and Xie's diffusion transformer (arXiv 2212.09748): blocks whose scale, shift and gate come from
the step of the noise and from what the window is asked to be. Positions are rotations of queries and keys
(Su et al., arXiv 2104.09864), so that a gait is the same wherever in the window it begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention, silu

from talaria_edge.generate.motion import CHANNELS, FORCES, NUMBERS, STYLES, WINDOW

KINEMATICS = tuple(name for name in CHANNELS if name not in FORCES)
_SLOWEST = 10_000.0


@dataclass(frozen=True, slots=True)
class DenoiserConfig:
    """Size of a network; the defaults are the denoiser's."""

    patch: int = 10  # samples per token
    width: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 512


REFINER = DenoiserConfig(width=96, layers=3, feed_forward=384)
"""Size of the network that says forces."""


class Denoiser(nn.Module):
    """Clean windows from noisy ones, from what is known of them and from what they are asked to be.

    It says the clean window and not the noise: gait has few dimensions and passes through a narrow network,
    noise has all of them and does not (Li and He 2025, arXiv 2511.13720).

    Parameters
    ----------
    config : DenoiserConfig
    """

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        self.asked = _Asked(config.width)
        self.step = nn.Sequential(
            nn.Linear(config.width, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )
        self.body = _Body(config, 3 * len(CHANNELS), len(CHANNELS))

    def forward(
        self,
        x: Tensor,
        given: Tensor,
        known: Tensor,
        step: Tensor,
        numbers: Tensor,
        numbers_known: Tensor,
        style: Tensor,
    ) -> Tensor:
        """Say what the clean windows are.

        Parameters
        ----------
        x : Tensor, shape (B, WINDOW, len(CHANNELS))
            Normalised, at the noise of `step`.
        given, known : Tensor, shape (B, WINDOW, len(CHANNELS))
            True values, 0 where unknown; and 1 where known.
        step : Tensor of int64, shape (B,)
            Of `talaria_edge.generate.schedule.cosine`.
        numbers, numbers_known : Tensor, shape (B, len(NUMBERS))
            Normalised, 0 where unknown; and 1 where known.
        style : Tensor of int64, shape (B,)
            0 where unknown, else one more than the index into `STYLES`.

        Returns
        -------
        Tensor, shape (B, WINDOW, len(CHANNELS))
        """
        asked = self.asked(numbers, numbers_known, style) + self.step(
            _waves(step, self.config.width)
        )
        clean: Tensor = self.body(torch.cat([x, given, known], dim=-1), asked)
        return clean


class ForceRefiner(nn.Module):
    """Forces of both feet from a window's kinematics, whole or with gaps.

    Parameters
    ----------
    config : DenoiserConfig
    """

    def __init__(self, config: DenoiserConfig = REFINER) -> None:
        super().__init__()
        self.config = config
        self.asked = _Asked(config.width)
        self.body = _Body(config, 2 * len(KINEMATICS), len(FORCES))

    def forward(
        self, given: Tensor, known: Tensor, numbers: Tensor, numbers_known: Tensor, style: Tensor
    ) -> Tensor:
        """Say what the forces are.

        Parameters
        ----------
        given, known : Tensor, shape (B, WINDOW, len(KINEMATICS))
            Normalised, 0 where unknown; and 1 where known.
        numbers, numbers_known : Tensor, shape (B, len(NUMBERS))
        style : Tensor of int64, shape (B,)
            As the denoiser's.

        Returns
        -------
        Tensor, shape (B, WINDOW, len(FORCES))
            Normalised.
        """
        said: Tensor = self.body(
            torch.cat([given, known], dim=-1), self.asked(numbers, numbers_known, style)
        )
        return said


class _Asked(nn.Module):
    """What a window is asked to be, as one vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.numbers = nn.Sequential(
            nn.Linear(2 * len(NUMBERS), width), nn.SiLU(), nn.Linear(width, width)
        )
        self.style = nn.Embedding(1 + len(STYLES), width)

    def forward(self, numbers: Tensor, known: Tensor, style: Tensor) -> Tensor:
        said: Tensor = self.numbers(torch.cat([numbers * known, known], dim=-1)) + self.style(style)
        return said


class _Body(nn.Module):
    """Samples to tokens, blocks, and tokens to samples."""

    turn: Tensor

    def __init__(self, config: DenoiserConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.patch = config.patch
        tokens = WINDOW // config.patch
        self.enter = nn.Linear(inputs * config.patch, config.width)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.shape = nn.Linear(config.width, 2 * config.width)
        self.leave = nn.Linear(config.width, outputs * config.patch)
        for layer in (self.shape, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        half = config.width // config.heads // 2
        pace = _SLOWEST ** (-torch.arange(half) / half)
        angle = torch.arange(tokens)[:, None] * pace
        self.register_buffer("turn", torch.stack([angle.cos(), angle.sin()]), persistent=False)

    def forward(self, x: Tensor, asked: Tensor) -> Tensor:
        batch, length, channels = x.shape
        x = self.enter(x.reshape(batch, length // self.patch, self.patch * channels))
        asked = silu(asked)
        for block in self.blocks:
            x = block(x, asked, self.turn)
        scale, shift = self.shape(asked)[:, None].chunk(2, dim=-1)
        said: Tensor = self.leave(_shaped(x, scale, shift))
        return said.reshape(batch, length, -1)


class _Block(nn.Module):
    """Attention and a feed-forward, each shaped and gated by what is asked."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.shape = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.shape.weight)
        nn.init.zeros_(self.shape.bias)
        self.look = nn.Linear(width, 3 * width)
        self.seen = nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.Linear(width, config.feed_forward), nn.GELU(), nn.Linear(config.feed_forward, width)
        )

    def forward(self, x: Tensor, asked: Tensor, turn: Tensor) -> Tensor:
        scale, shift, gate, scale_2, shift_2, gate_2 = self.shape(asked)[:, None].chunk(6, dim=-1)
        x = x + gate * self._attend(_shaped(x, scale, shift), turn)
        out: Tensor = x + gate_2 * self.think(_shaped(x, scale_2, shift_2))
        return out

    def _attend(self, x: Tensor, turn: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        split = self.look(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        found = scaled_dot_product_attention(_turned(query, turn), _turned(key, turn), value)
        seen: Tensor = self.seen(found.transpose(1, 2).reshape(batch, tokens, width))
        return seen


def _shaped(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:]) * (1.0 + scale) + shift


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """Rotate pairs of the last axis of (B, heads, tokens, 2 n) by angles that grow along the tokens."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = turn[0].to(x.dtype), turn[1].to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def _waves(step: Tensor, width: int) -> Tensor:
    """Tell steps, shape (B,), apart by sines and cosines, shape (B, width)."""
    half = width // 2
    pace = torch.exp(-math.log(_SLOWEST) / half * torch.arange(half, device=step.device))
    angle = step[:, None].float() * pace
    return torch.cat([angle.cos(), angle.sin()], dim=-1)
