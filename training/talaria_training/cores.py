"""Memories for the network: one contract, five ways to remember.

Every core maps a stretch x (B, T, channels) and a state (rows, B, width) to what it remembers at each sample
(B, T, hidden) and the state after the last. All are causal; a state of zeros means that nothing came before;
and a stretch gives the same whether it is fed whole, in chunks or sample by sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from talaria_training.attention import Transformer
from talaria_training.selective import StateSpace

CoreName = Literal["gru", "lstm", "tcn", "transformer", "ssm"]
CORES: tuple[CoreName, ...] = get_args(CoreName)
MATCHED: Mapping[CoreName, tuple[int, int]] = MappingProxyType(
    {"gru": (96, 2), "lstm": (82, 2), "tcn": (68, 4), "transformer": (76, 2), "ssm": (84, 2)}
)
"""Hidden units and layers that give each core about the parameters of the released GRU."""
_TAPS = 4


class Core(Protocol):
    """What the network asks of its memory."""

    state_shape: tuple[int, int]
    """Rows and width of the state."""

    def __call__(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance over x (B, T, channels) from a state (rows, B, width)."""


def build(name: CoreName, channels: int, hidden: int, layers: int, dropout: float) -> nn.Module:
    """Make a new core, which keeps the `Core` protocol.

    Raises
    ------
    ValueError
        If there is no core of that name.
    """
    if name not in CORES:
        raise ValueError(f"no core {name!r}, only {', '.join(CORES)}")
    kinds: Mapping[CoreName, type[nn.Module]] = {
        "gru": Gru,
        "lstm": Lstm,
        "tcn": Tcn,
        "transformer": Transformer,
        "ssm": StateSpace,
    }
    return kinds[name](channels, hidden, layers, dropout)


class Gru(nn.GRU):
    """Gated recurrent units; torch's own, so that its weights keep their names."""

    def __init__(self, channels: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__(channels, hidden, layers, batch_first=True, dropout=dropout)
        self.state_shape = (layers, hidden)


class Lstm(nn.LSTM):
    """Long short-term memory; the state stacks the hidden values of all layers on their cells."""

    def __init__(self, channels: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__(channels, hidden, layers, batch_first=True, dropout=dropout)
        self.state_shape = (2 * layers, hidden)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # one state
        """Advance over x (B, T, channels) from a state (2 layers, B, hidden)."""
        memory, (h, c) = super().forward(x, (state[: self.num_layers], state[self.num_layers :]))
        return memory, torch.cat([h, c])


class Tcn(nn.Module):
    """Causal convolutions whose reach grows fourfold from layer to layer (after Bai et al. 2018).

    Deviations from the paper: four taps and dilations 1, 4, 16, ... instead of two and powers of two, for
    fewer and wider layers cost less per step; one dilated convolution and one pointwise layer per residual
    block; layer normalisation before instead of weight normalisation within. Four layers reach back 255
    samples.

    Parameters
    ----------
    channels, hidden, layers : int
        `hidden` units in each of `layers` blocks.
    dropout : float
    """

    def __init__(self, channels: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.inlet = nn.Linear(channels, hidden)
        self.blocks = nn.ModuleList(_Dilated(hidden, _TAPS**i, dropout) for i in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.spans = [(_TAPS - 1) * _TAPS**i for i in range(layers)]
        self.state_shape = (sum(self.spans), hidden)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance over x (B, T, channels); the state holds each block's last inputs, oldest first."""
        x = self.inlet(x)
        kept = []
        pasts = torch.split(state.transpose(0, 1), self.spans, dim=1)
        for block, past in zip(self.blocks, pasts, strict=True):
            x, past = block(x, past)  # noqa: PLW2901 (the block's own past, moved on)
            kept.append(past)
        return self.norm(x), torch.cat(kept, dim=1).transpose(0, 1)


class _Dilated(nn.Module):
    """One residual block: what stood at `_TAPS` moments, `dilation` samples apart, mixed twice."""

    def __init__(self, hidden: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(hidden)
        self.taps = nn.Linear(_TAPS * hidden, hidden)
        self.mix = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        length = x.shape[1]
        seen = torch.cat([past, self.norm(x)], dim=1)
        # One matrix product over gathered taps is faster on a CPU than a dilated convolution.
        moments = [seen[:, i * self.dilation : i * self.dilation + length] for i in range(_TAPS)]
        y = self.mix(gelu(self.taps(torch.cat(moments, dim=-1))))
        return x + self.dropout(y), seen[:, length:]
