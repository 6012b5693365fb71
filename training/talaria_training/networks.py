"""The streaming network: causal, with its whole memory in one explicit state."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from talaria_edge import spec
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_edge.spec import Head
from talaria_training import cores
from talaria_training.adapters import AngleScale, InputScale, LowRank
from talaria_training.cores import CoreName

CONTACT_DELAY_S = 0.03
"""The network says what a foot did so long ago: hindsight sharpens the moment of contact."""
GAIT_CLASSES = ("walking", "stiff_knee")
"""The classes there are recordings of; standing still needs no network."""
HEADS = (
    Head(name="spread", columns=ANGLES),
    Head(name="contact", columns=SIDES, delay_s=CONTACT_DELAY_S),
    Head(
        name="cycle", columns=tuple(f"{part}_{side}" for side in SIDES for part in ("cos", "sin"))
    ),
    Head(name="gait_class", columns=GAIT_CLASSES),
    Head(name="novelty", columns=("distance",)),
)
"""What every network of ours gives besides the angles; see `talaria_edge.spec.Head`."""
_PER_SLOT = 9


def head_columns(name: str) -> slice:
    """Where a head's columns lie in the network's output."""
    found = spec.head_columns(HEADS, name, len(ANGLES))
    if found is None:
        raise KeyError(name)
    return found


class GaitNet(nn.Module):
    """A memory beside a straight linear path from inputs to angles.

    The linear path carries what is plain geometry (a thigh's tilt is most of hip flexion); the
    memory fills in the segments that carry no sensor, and all heads read it. Normalisation lives
    inside, so a caller feeds raw SI features and reads radians. A slot that is not present enters as the
    mean of the training data, whatever stands in its channels.

    Parameters
    ----------
    channels : int
        Width of the feature vector: nine per slot, then one flag per slot.
    hidden, layers : int
        Size of the memory.
    dropout : float
        Between layers, while training only.
    core : str
        Which memory; see `talaria_training.cores`. Its weights stand under this name.
    """

    x_mean: Tensor
    x_std: Tensor
    y_mean: Tensor
    y_std: Tensor
    memory_mean: Tensor
    memory_white: Tensor
    # What `talaria_training.adapt` puts on while a network learns its wearer, and folds in after.
    low_rank: LowRank | None
    input_scale: InputScale | None
    angle_scale: AngleScale | None

    def __init__(
        self,
        channels: int,
        hidden: int = 96,
        layers: int = 2,
        dropout: float = 0.2,
        core: CoreName = "gru",
    ) -> None:
        super().__init__()
        self.hidden, self.layers, self.core = hidden, layers, core
        self.slots = channels // (_PER_SLOT + 1)
        angles = len(ANGLES)
        self.register_buffer("x_mean", torch.zeros(channels))
        self.register_buffer("x_std", torch.ones(channels))
        self.register_buffer("y_mean", torch.zeros(angles))
        self.register_buffer("y_std", torch.ones(angles))
        self.register_buffer("memory_mean", torch.zeros(hidden))
        self.register_buffer("memory_white", torch.zeros(hidden, hidden))
        self.dropout = nn.Dropout(dropout)
        self.add_module(core, cores.build(core, channels, hidden, layers, dropout))
        self.head = nn.Linear(hidden, angles)
        self.skip = nn.Linear(channels, angles, bias=False)
        # Novelty is a distance and has no weights of its own.
        self.heads = nn.Linear(hidden, sum(len(h.columns) for h in HEADS if h.name != "novelty"))
        self.low_rank = self.input_scale = self.angle_scale = None

    @property
    def cell(self) -> nn.Module:
        """The memory itself."""
        return self.get_submodule(self.core)

    def twin(self, dropout: float) -> GaitNet:
        """Return a copy with the same weights, to be trained further with its own dropout."""
        net = GaitNet(self.x_mean.numel(), self.hidden, self.layers, dropout, self.core)
        net.load_state_dict(self.state_dict())
        return net

    def start(self, batch: int = 1) -> Tensor:
        """Return the state before the first sample: zeros of shape (rows, batch, width)."""
        rows, width = cast("cores.Core", self.cell).state_shape
        return self.x_mean.new_zeros(rows, batch, width)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance over a stretch of samples.

        Parameters
        ----------
        x : Tensor, shape (B, T, channels)
        state : Tensor, shape (rows, B, width of the state)
            As `start` gives it.

        Returns
        -------
        y : Tensor, shape (B, T, width)
            Angles, rad; then the columns of `HEADS`.
        state : Tensor, shape (rows, B, width of the state)
        """
        x = self._normalised(x)
        memory, state = self._remember(x, state)
        read = self.dropout(memory)
        angles = self.head(read) + self.skip(x)
        # Nothing is learned through the distance, whose root has no slope at zero.
        far = (memory.detach() - self.memory_mean) @ self.memory_white
        novelty = (far * far).mean(dim=-1, keepdim=True).sqrt()
        spread, others = self.heads(read).split(
            [len(ANGLES), self.heads.out_features - len(ANGLES)], -1
        )
        if self.angle_scale is not None:
            angles, spread = self.angle_scale(angles, spread)
        angles = angles * self.y_std + self.y_mean
        spread = spread + self.y_std.log()
        return torch.cat([angles, spread, others, novelty], dim=-1), state

    def memory(self, x: Tensor) -> Tensor:
        """Return what the memory holds at every sample of x (B, T, channels)."""
        return self._remember(self._normalised(x), self.start(len(x)))[0]

    def _remember(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        if self.low_rank is None:
            return self.cell(x, state)  # type: ignore[no-any-return]
        weights = self.low_rank.weights(self.cell)
        return functional_call(self.cell, weights, (x, state))  # type: ignore[no-any-return]

    def _normalised(self, x: Tensor) -> Tensor:
        motion, present = x[..., : -self.slots], x[..., -self.slots :]
        motion = (motion - self.x_mean[: -self.slots]) / self.x_std[: -self.slots]
        if self.input_scale is not None:
            motion = self.input_scale(motion)
        return torch.cat([motion * present.repeat_interleave(_PER_SLOT, dim=-1), present], dim=-1)
