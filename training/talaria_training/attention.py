"""A small causal Transformer that looks back a bounded time, so that a stream may run for ever."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

WINDOW = 128
"""Samples an attention layer sees, the present one included: 1.28 s, a stride of brisk walking."""
_PAST = WINDOW - 1
_BLOCK = 64
_HEADS = 4


class Transformer(nn.Module):
    """Layers of attention over the last `WINDOW` samples.

    Positions enter as a bias per head and distance (Raffel et al. 2020), which knows no absolute time. It
    begins as the falling line of ALiBi (Press et al. 2022) and is learned from there: a straight line can
    only fade, and a gait is read at particular moments ago. A stretch is computed in blocks of queries, so
    cost grows with its length and not with the square of it.

    Parameters
    ----------
    channels, hidden, layers : int
        `hidden` is a multiple of 4, the number of attention heads.
    dropout : float

    Raises
    ------
    ValueError
        If the hidden units cannot be shared among the heads.
    """

    def __init__(self, channels: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        if hidden % _HEADS:
            raise ValueError(f"{hidden} hidden units cannot be shared among {_HEADS} heads")
        self.inlet = nn.Linear(channels, hidden)
        self.blocks = nn.ModuleList(_Block(hidden, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.state_shape = (layers * _PAST + 1, 2 * hidden)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance over x (B, T, channels).

        The state holds each layer's last keys and values, oldest first, and in its last row how many of
        them are there.
        """
        count = state[-1:, :, :1]
        sight = _sight(x.shape[1], _PAST - count[0, :, 0])
        x = self.inlet(x)
        kept = []
        pasts = torch.split(state[:-1].transpose(0, 1), _PAST, dim=1)
        for block, past in zip(self.blocks, pasts, strict=True):
            x, past = block(x, past, *sight)  # noqa: PLW2901 (the block's own past, moved on)
            kept.append(past)
        count = (count + x.shape[1]).clamp(max=_PAST).expand(1, -1, state.shape[-1])
        return self.norm(x), torch.cat([torch.cat(kept, dim=1).transpose(0, 1), count])


def _sight(length: int, missing: Tensor) -> tuple[Tensor, Tensor]:
    """Say how far keys lie from queries in a block, and which of them are out of sight.

    Parameters
    ----------
    length : int
        Samples in the stretch.
    missing : Tensor, shape (B,)
        How many of the `_PAST` positions before the stretch are not there yet.

    Returns
    -------
    distance : Tensor of int, shape (queries, keys)
        Samples, held within the window.
    unseen : Tensor of bool, shape (B, blocks, 1, queries, keys)
        Too far back, still to come, or not there yet.
    """
    queries = min(length, _BLOCK)
    there = missing.device
    keys = torch.arange(_PAST + queries, device=there)
    distance = torch.arange(queries, device=there)[:, None] + _PAST - keys
    outside = (distance < 0) | (distance > _PAST)
    position = torch.arange(0, length, queries, device=there)[:, None] + keys
    absent = position < missing[:, None, None]
    return distance.clamp(0, _PAST), outside | absent[:, :, None, None]


class _Block(nn.Module):
    """Attention, then a pointwise network; each on normalised input, each beside a straight path."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.before = nn.LayerNorm(hidden)
        self.query = nn.Linear(hidden, hidden)
        # A bias of the keys cancels in the softmax, one of the values is `out`'s.
        self.keep = nn.Linear(hidden, 2 * hidden, bias=False)
        slopes = torch.tensor([2.0 ** (-8.0 * (i + 1) / _HEADS) for i in range(_HEADS)])
        self.nearness = nn.Parameter(-slopes[:, None] * torch.arange(WINDOW))
        self.out = nn.Linear(hidden, hidden)
        self.between = nn.LayerNorm(hidden)
        self.widen = nn.Linear(hidden, 2 * hidden)
        self.narrow = nn.Linear(2 * hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, past: Tensor, distance: Tensor, unseen: Tensor
    ) -> tuple[Tensor, Tensor]:
        length = x.shape[1]
        bias = self.nearness[:, distance].masked_fill(unseen, -torch.inf)
        normed = self.before(x)
        seen = torch.cat([past, self.keep(normed)], dim=1)
        x = x + self.dropout(self.out(_attend(self.query(normed), seen, bias)))
        x = x + self.dropout(self.narrow(gelu(self.widen(self.between(x)))))
        return x, seen[:, length:]


def _attend(query: Tensor, seen: Tensor, bias: Tensor) -> Tensor:
    """Let each query (B, T, hidden) look at the keys and values (B, past + T, 2 hidden) before it.

    The bias of each pair has shape (B, blocks, heads, queries, keys).
    """
    batch, length, hidden = query.shape
    blocks, queries, reach = bias.shape[1], bias.shape[3], bias.shape[4]
    spare = blocks * queries - length
    if spare:
        query, seen = pad(query, (0, 0, 0, spare)), pad(seen, (0, 0, 0, spare))
    windows = torch.stack([seen[:, i * queries : i * queries + reach] for i in range(blocks)], 1)
    key, value = (
        torch.unflatten(part, -1, (_HEADS, -1)) for part in torch.split(windows, hidden, dim=-1)
    )
    asked = query.reshape(batch, blocks, queries, _HEADS, -1).transpose(2, 3)
    scores = asked @ key.permute(0, 1, 3, 4, 2) * (hidden // _HEADS) ** -0.5 + bias
    found: Tensor = scores.softmax(dim=-1) @ value.transpose(2, 3)
    return found.transpose(2, 3).reshape(batch, blocks * queries, hidden)[:, :length]
