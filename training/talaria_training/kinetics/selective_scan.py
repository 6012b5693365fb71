"""The selective state space as first published: every channel and direction forgets at its own rate.

Source: Gu and Dao 2023 (Mamba). `talaria_training.selective` has the later form with one rate per head, whose
chunks are matrix products; weights trained in this form do not fit it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu, softplus

_CHUNK = 12
"""Samples advanced together: 180 are fifteen chunks, so 27 steps in turn stand for 180."""


def scan(decay: Tensor, new: Tensor) -> Tensor:
    """Advance ``memory = decay * memory + new`` over time, beginning with nothing.

    All chunks advance from nothing side by side; then what each inherits is handed on from chunk to chunk.
    Nothing is divided by, so decays may be as small as they like.

    Parameters
    ----------
    decay, new : Tensor, shape (B, T, ...)

    Returns
    -------
    Tensor, shape (B, T, ...)
        The memory after each sample.
    """
    length = decay.shape[1]
    spare = (0, 0) * (decay.dim() - 2) + (0, -length % _CHUNK)
    parts = (torch.unflatten(pad(v, spare), 1, (-1, _CHUNK)) for v in (decay, new))
    # Unbound once: every index into a whole would cost a whole of zeros on the way back.
    decays, news = (part.unbind(2) for part in parts)
    own, kept = [news[0]], [decays[0]]
    for forgets, adds in zip(decays[1:], news[1:], strict=True):
        own.append(forgets * own[-1] + adds)
        kept.append(forgets * kept[-1])
    inherited = [own[-1][:, 0]]
    for lost, found in zip(kept[-1].unbind(1)[1:-1], own[-1].unbind(1)[1:-1], strict=True):
        inherited.append(lost * inherited[-1] + found)
    # The first chunk inherits nothing. A tensor of zeros would fix the batch in an exported graph.
    before = pad(torch.stack(inherited, 1), (0, 0) * (decay.dim() - 2) + (1, 0))
    before = before[:, : len(kept[-1][0])]
    memory = torch.stack(own, 2) + torch.stack(kept, 2) * before[:, :, None]
    return memory.flatten(1, 2)[:, :length]


class SelectiveScan(nn.Module):
    """One layer: short convolution, selective memory and gate. Its tensors have the published names.

    Parameters
    ----------
    d_model, d_state, d_conv, expand : int
        Channels, directions of memory per channel, samples the convolution sees, inner channels per channel.
    """

    def __init__(self, d_model: int, d_state: int, d_conv: int, expand: int) -> None:
        super().__init__()
        inner, self.rank, self.directions = expand * d_model, math.ceil(d_model / 16), d_state
        self.in_proj = nn.Linear(d_model, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, d_conv, groups=inner, padding=d_conv - 1)
        self.x_proj = nn.Linear(inner, self.rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, d_model, bias=False)
        # The paper's starting steps: memories from a sample to some hundreds of samples long.
        step = torch.empty(inner).uniform_(math.log(1e-3), math.log(1e-1)).exp()
        with torch.no_grad():
            self.dt_proj.bias.copy_(step.expm1().log())

    def forward(self, x: Tensor) -> Tensor:
        """Advance over x (B, T, d_model)."""
        u, gate = self.in_proj(x).chunk(2, dim=-1)
        u = silu(self.conv1d(u.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        step, write, read = torch.split(
            self.x_proj(u), [self.rank, self.directions, self.directions], -1
        )
        step = softplus(self.dt_proj(step))[..., None]
        memory = scan((step * -self.A_log.exp()).exp(), step * u[..., None] * write[:, :, None])
        y = (memory @ read[..., None]).squeeze(-1) + self.D * u
        out: Tensor = self.out_proj(y * silu(gate))
        return out
