"""The streaming network: causal, with its whole memory in one explicit state."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GaitNet(nn.Module):
    """A gated recurrent network beside a straight linear path from inputs to angles.

    The linear path carries what is plain geometry (a thigh's tilt is most of hip flexion); the
    recurrent path fills in the segments that carry no sensor. Normalisation lives inside, so a caller
    feeds raw SI features and reads radians.

    Parameters
    ----------
    channels, outputs : int
        Width of the feature vector and number of angles.
    hidden, layers : int
        Size of the recurrent path.
    dropout : float
        Between recurrent layers, while training only.
    """

    x_mean: Tensor
    x_std: Tensor
    y_mean: Tensor
    y_std: Tensor

    def __init__(
        self, channels: int, outputs: int, hidden: int = 96, layers: int = 2, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.hidden, self.layers = hidden, layers
        self.register_buffer("x_mean", torch.zeros(channels))
        self.register_buffer("x_std", torch.ones(channels))
        self.register_buffer("y_mean", torch.zeros(outputs))
        self.register_buffer("y_std", torch.ones(outputs))
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(channels, hidden, layers, batch_first=True, dropout=dropout)
        self.head = nn.Linear(hidden, outputs)
        self.skip = nn.Linear(channels, outputs, bias=False)

    def start(self, batch: int = 1) -> Tensor:
        """Return the state before the first sample: zeros of shape (layers, batch, hidden)."""
        return self.x_mean.new_zeros(self.layers, batch, self.hidden)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance over a stretch of samples.

        Parameters
        ----------
        x : Tensor, shape (B, T, channels)
        state : Tensor, shape (layers, B, hidden)

        Returns
        -------
        y : Tensor, shape (B, T, outputs)
            Angles, rad.
        state : Tensor, shape (layers, B, hidden)
        """
        x = (x - self.x_mean) / self.x_std
        memory, state = self.gru(x, state)
        y = self.head(self.dropout(memory)) + self.skip(x)
        return y * self.y_std + self.y_mean, state
