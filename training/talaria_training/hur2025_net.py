"""The two published networks, and how a whole recording is predicted and judged with them.

Hur, Baek, Kang, Kim, Sci Rep 2025, 15:5287; see `talaria_training.hur2025`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import ANGLES
from talaria_training.hur2025_data import STRIDE, WINDOW, Floats, Take

Kind = Literal["lstm", "cnn"]

_EVAL_BATCH = 512


class HurNet(nn.Module):
    """One of the two published networks, between the scales of its training data.

    Parameters
    ----------
    kind : str
        ``lstm``: 3 x 128, dropout 0.2, a linear layer; ``cnn``: convolutions of 5 samples to 24, 8
        and the angles, as the paper prints it (its code differs).
    channels : int
    """

    x_mean: Tensor
    x_std: Tensor
    y_mean: Tensor
    y_std: Tensor

    def __init__(self, kind: Kind, channels: int) -> None:
        super().__init__()
        self.kind = kind
        for name, width in (("x", channels), ("y", len(ANGLES))):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_std", torch.ones(width))
        if kind == "lstm":
            self.lstm = nn.LSTM(channels, 128, 3, batch_first=True, dropout=0.2)
            self.head = nn.Linear(128, len(ANGLES))
        else:
            self.conv = nn.Sequential(
                nn.Conv1d(channels, 24, 5, padding="same"),
                nn.ReLU(),
                nn.Conv1d(24, 8, 5, padding="same"),
                nn.ReLU(),
                nn.Conv1d(8, len(ANGLES), 5, padding="same"),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Angles (B, T, len(ANGLES)) in standard deviations of the training data, from x (B, T, C)."""
        x = (x - self.x_mean) / self.x_std
        if self.kind == "lstm":
            return self.head(self.lstm(x)[0])  # type: ignore[no-any-return]
        return self.conv(x.movedim(1, 2)).movedim(1, 2)  # type: ignore[no-any-return]

    def scale_to(self, takes: Sequence[Take]) -> None:
        """Take the scales of inputs and angles from the given recordings."""
        x = np.concatenate([take.x for take in takes]).astype(np.float64)
        y = np.concatenate([take.y for take in takes]).astype(np.float64)
        with torch.no_grad():
            self.x_mean.copy_(torch.from_numpy(x.mean(axis=0)))
            self.x_std.copy_(torch.from_numpy(x.std(axis=0) + 1e-6))
            for j in np.flatnonzero(np.isfinite(y).any(axis=0)):
                self.y_mean[j] = float(np.nanmean(y[:, j]))
                self.y_std[j] = float(np.nanstd(y[:, j])) + 1e-6


@torch.no_grad()
def stitched(net: HurNet, x: Floats) -> Floats:
    """Angles (T, len(ANGLES)) in rad for a whole recording: the mean over the windows a sample lies in.

    Raises
    ------
    RecordingError
        If the recording is shorter than a window.
    """
    if len(x) < WINDOW:
        raise RecordingError(
            f"A recording of {len(x)} samples is shorter than the window of {WINDOW}: leave it out."
        )
    starts = [*range(0, len(x) - WINDOW, STRIDE), len(x) - WINDOW]
    total = np.zeros((len(x), len(ANGLES)))
    count = np.zeros((len(x), 1))
    for first in range(0, len(starts), _EVAL_BATCH):
        some = starts[first : first + _EVAL_BATCH]
        out = net(torch.from_numpy(np.stack([x[s : s + WINDOW] for s in some])))
        for start, y in zip(some, (out * net.y_std + net.y_mean).numpy(), strict=True):
            total[start : start + WINDOW] += y
            count[start : start + WINDOW] += 1
    return (total / count).astype(np.float32)


def squares(net: HurNet, x: Tensor, y: Tensor) -> Tensor:
    """Squared errors in standard deviations, zero where an angle was not measured; and how many were."""
    known = torch.isfinite(y)
    out = net(x)
    wanted = torch.where(known, (y - net.y_mean) / net.y_std, out)
    return torch.stack([((out - wanted) ** 2).sum(), known.sum()])


@torch.no_grad()
def validation_rmse(net: HurNet, x: Tensor, y: Tensor) -> float:
    """Error over all windows and angles, in standard deviations of the training data's angles."""
    net.eval()
    total = torch.zeros(2, dtype=torch.float64)
    for some, wanted in zip(torch.split(x, _EVAL_BATCH), torch.split(y, _EVAL_BATCH), strict=True):
        total += squares(net, some, wanted)
    return float((total[0] / total[1].clamp(min=1)).sqrt())
