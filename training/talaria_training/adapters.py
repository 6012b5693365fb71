"""Small modules that a network wears while it learns its wearer; each begins as the identity."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InputScale(nn.Module):
    """Scale and shift every normalised input channel; the scale stays positive, so it can be folded."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return x (..., channels), scaled and shifted."""
        return x * self.log_gain.exp() + self.shift


class AngleScale(nn.Module):
    """Scale and shift every angle, in standard deviations of training, and every log-spread."""

    def __init__(self, angles: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(angles))
        self.shift = nn.Parameter(torch.zeros(angles))
        self.log_spread = nn.Parameter(torch.zeros(angles))

    def forward(self, angles: Tensor, log_spread: Tensor) -> tuple[Tensor, Tensor]:
        """Return both (..., angles), adapted."""
        return angles * (1.0 + self.gain) + self.shift, log_spread + self.log_spread


class LowRank(nn.Module):
    """A product of two thin matrices beside every weight matrix of a module (Hu et al. 2021, LoRA).

    Deviation from the paper: no scale, for the rank is fixed.
    """

    def __init__(self, of: nn.Module, rank: int) -> None:
        super().__init__()
        wide = {n: w for n, w in of.named_parameters() if w.ndim == 2 and min(w.shape) > 2 * rank}
        self.names = tuple(wide)
        self.down = nn.ParameterList(
            [torch.randn(rank, w.shape[1]) / w.shape[1] ** 0.5 for w in wide.values()]
        )
        self.up = nn.ParameterList([torch.zeros(len(w), rank) for w in wide.values()])

    def weights(self, of: nn.Module) -> dict[str, Tensor]:
        """Return the module's adapted weights by name."""
        pairs = zip(self.names, self.up, self.down, strict=True)
        return {name: of.get_parameter(name) + up @ down for name, up, down in pairs}
