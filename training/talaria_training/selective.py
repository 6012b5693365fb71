"""A selective state space: a linear memory whose forgetting depends on what comes in.

Source: Gu and Dao 2023 (Mamba) and Dao and Gu 2024 (Mamba-2), whose scalar decay per head turns a chunk of
the recurrence into matrix products. Deviations: layer instead of root-mean-square normalisation, and none
between gate and outlet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu, softplus

_CHUNK = 32
_DIRECTIONS = 16
_HEADS = 8
_TAPS = 4


class StateSpace(nn.Module):
    """Layers of selective state space with a straight path beside each.

    Parameters
    ----------
    channels, hidden, layers : int
        `hidden` is a multiple of 4, for twice as many units are shared among 8 heads.
    dropout : float

    Raises
    ------
    ValueError
        If the hidden units cannot be shared among the heads.
    """

    def __init__(self, channels: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        if 2 * hidden % _HEADS:
            raise ValueError(f"{2 * hidden} inner units cannot be shared among {_HEADS} heads")
        self.inlet = nn.Linear(channels, hidden)
        self.blocks = nn.ModuleList(_Block(hidden, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        wide = 2 * hidden + 2 * _DIRECTIONS
        self.state_shape = (layers, (_TAPS - 1) * wide + 2 * hidden * _DIRECTIONS)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance over x (B, T, channels); the state has one row per layer: last inputs, then memory."""
        x = self.inlet(x)
        kept = []
        for block, row in zip(self.blocks, state, strict=True):
            x, row = block(x, row)  # noqa: PLW2901 (the block's own row, moved on)
            kept.append(row)
        return self.norm(x), torch.stack(kept)


class _Block(nn.Module):
    """Short convolution, selective memory and gate, on normalised input."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.inner = 2 * hidden
        self.wide = self.inner + 2 * _DIRECTIONS
        self.norm = nn.LayerNorm(hidden)
        self.inlet = nn.Linear(hidden, self.inner + self.wide + _HEADS, bias=False)
        self.taps = nn.Parameter(torch.empty(_TAPS, self.wide).uniform_(-0.5, 0.5))
        self.taps_bias = nn.Parameter(torch.zeros(self.wide))
        # The papers' starting values: memories from a sample to some seconds long.
        self.log_rate = nn.Parameter(torch.empty(_HEADS).uniform_(1.0, 16.0).log())
        step = torch.empty(_HEADS).uniform_(-6.9, -2.3).exp()
        self.step_bias = nn.Parameter(step.expm1().log())
        self.through = nn.Parameter(torch.ones(_HEADS))
        self.outlet = nn.Linear(self.inner, hidden, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        batch, length, _ = x.shape
        mixed = self.inlet(self.norm(x))
        gate, wide, step = torch.split(mixed, [self.inner, self.wide, _HEADS], -1)
        recent = (_TAPS - 1) * self.wide
        seen = torch.cat([row[:, :recent].reshape(batch, _TAPS - 1, self.wide), wide], dim=1)
        mixed = silu(_convolved(seen, self.taps) + self.taps_bias)
        u, write, read = torch.split(mixed, [self.inner, _DIRECTIONS, _DIRECTIONS], -1)
        u = torch.unflatten(u, -1, (_HEADS, -1))
        step = softplus(step + self.step_bias)
        memory = row[:, recent:].reshape(batch, _HEADS, _DIRECTIONS, -1)
        advance = _one if length == 1 else _many
        y, memory = advance(u * step[..., None], -step * self.log_rate.exp(), write, read, memory)
        y = (y + u * self.through[:, None]).flatten(-2) * silu(gate)
        row = torch.cat([seen[:, length:].flatten(1), memory.flatten(1)], dim=1)
        return x + self.dropout(self.outlet(y)), row


def _convolved(seen: Tensor, taps: Tensor) -> Tensor:
    """Weigh each sample (B, T + taps - 1, C) and those before it, channel by channel."""
    length = seen.shape[1] - len(taps) + 1
    if length == 1:  # the same in two operations, which is what a step on the wearer costs
        return (seen * taps).sum(dim=1, keepdim=True)
    return torch.stack([seen[:, i : i + length] * tap for i, tap in enumerate(taps)]).sum(dim=0)


def _one(
    u: Tensor, log_decay: Tensor, write: Tensor, read: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """Advance by one sample; shapes as in `_many`, with T = 1."""
    forgotten = log_decay[:, 0, :, None, None].exp() * memory
    memory = forgotten + write[:, 0, None, :, None] * u[:, 0, :, None]
    return (read[:, :, None] @ memory).transpose(1, 2), memory


def _many(
    u: Tensor, log_decay: Tensor, write: Tensor, read: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """Advance over a stretch: within a chunk by matrix products, from chunk to chunk in turn.

    Parameters
    ----------
    u : Tensor, shape (B, T, heads, P)
    log_decay : Tensor, shape (B, T, heads)
    write, read : Tensor, shape (B, T, N)
        Directions in which the memory is written and read.
    memory : Tensor, shape (B, heads, N, P)

    Returns
    -------
    y : Tensor, shape (B, T, heads, P)
    memory : Tensor, shape (B, heads, N, P)
        After the last sample.
    """
    length = u.shape[1]
    spare = -length % _CHUNK  # filled with samples that write nothing and forget nothing
    u, log_decay, write, read = (
        torch.unflatten(pad(v, (0, 0, 0, spare)), 1, (-1, _CHUNK))
        for v in (u.flatten(2), log_decay, write, read)
    )
    u = torch.unflatten(u, -1, (memory.shape[1], -1)).transpose(2, 3)
    passed = log_decay.transpose(2, 3).cumsum(-1)
    later = torch.ones(_CHUNK, _CHUNK, dtype=torch.bool, device=u.device).triu(1)
    between = (passed[..., :, None] - passed[..., None, :]).masked_fill(later, -torch.inf).exp()
    within = (between * (read @ write.transpose(-1, -2))[:, :, None]) @ u
    left = (passed[..., -1:] - passed).exp()[..., None]
    written = write.transpose(-1, -2)[:, :, None] @ (u * left)
    before = []
    for decay, new in zip(passed[..., -1].exp().unbind(1), written.unbind(1), strict=True):
        before.append(memory)
        memory = decay[..., None, None] * memory + new
    recalled = (read[:, :, None] @ torch.stack(before, dim=1)) * passed.exp()[..., None]
    return (within + recalled).transpose(2, 3).flatten(1, 2)[:, :length], memory
