"""Networks from whole cycles of joint angles to hip moments or muscle forces, in the published shapes.

Source: Zhang et al. 2026 (Gait2Hip-60, arXiv 2605.30374) and its six checkpoints. A whole cycle is there
before the first answer: the Transformer looks both ways, LSTM and Mamba back from each point to the start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from talaria_bridge.errors import ModelContractError
from talaria_training.kinetics.selective_scan import SelectiveScan

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "lstm": {"hidden": 128, "layers": 2, "dropout": 0.1},
    "transformer": {
        "d_model": 128,
        "nhead": 4,
        "num_layers": 2,
        "dim_feedforward": 256,
        "max_len": 500,
        "dropout": 0.1,
    },
    "mamba": {
        "d_model": 128,
        "d_state": 16,
        "d_conv": 4,
        "expand": 2,
        "layers": 2,
        "dropout": 0.1,
    },
}
"""The published settings of each architecture, by the published names."""


class CycleNet(nn.Module):
    """A network with its scaling inside: angles in degrees to forces or moments per kilogram.

    Parameters
    ----------
    architecture : str
        Of `PUBLISHED`.
    settings : mapping
        As in `PUBLISHED`, all of them.
    mean_deg, spread_deg : ndarray, shape (inputs,)
        What the training people's angles are measured by.
    outputs : int

    Raises
    ------
    ModelContractError
        If the settings are not those of the architecture, or make no network.
    """

    mean_deg: Tensor
    spread_deg: Tensor

    def __init__(
        self,
        architecture: str,
        settings: Mapping[str, float],
        mean_deg: NDArray[np.float32],
        spread_deg: NDArray[np.float32],
        outputs: int,
    ) -> None:
        super().__init__()
        self.architecture, self.settings = architecture, _checked(architecture, settings)
        # Copies: a frozen array must not become a tensor that can be written to.
        self.register_buffer("mean_deg", torch.tensor(np.asarray(mean_deg, np.float32)))
        self.register_buffer("spread_deg", torch.tensor(np.asarray(spread_deg, np.float32)))
        try:
            self.core = _CORES[architecture](len(mean_deg), outputs, self.settings)
        except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
            raise ModelContractError(
                f"The settings {dict(self.settings)} make no {architecture} ({error}): use the published ones, "
                f"{dict(PUBLISHED[architecture])}."
            ) from None

    def forward(self, angles_deg: Tensor) -> Tensor:
        """Answer for cycles (N, T, inputs): (N, T, outputs)."""
        answer: Tensor = self.core((angles_deg - self.mean_deg) / self.spread_deg)
        return answer


def answers(net: CycleNet, x_deg: NDArray[np.float32], batch: int = 64) -> NDArray[np.float32]:
    """Answer for cycles (N, T, inputs), in evaluation mode: (N, T, outputs)."""
    net.eval()
    with torch.no_grad():
        parts = [net(part) for part in torch.split(torch.from_numpy(x_deg), batch)]
    return torch.cat(parts).numpy()


def _checked(architecture: str, settings: Mapping[str, float]) -> dict[str, Any]:
    if architecture not in PUBLISHED:
        raise ModelContractError(
            f"There is no architecture {architecture!r}: choose of {', '.join(PUBLISHED)}."
        )
    wanted = PUBLISHED[architecture]
    odd = sorted(set(wanted) ^ set(settings))
    if odd:
        raise ModelContractError(
            f"The settings of a {architecture} are {', '.join(wanted)}, and {', '.join(odd)} does not agree: "
            "give exactly those."
        )
    return {name: type(usual)(settings[name]) for name, usual in wanted.items()}


class _Lstm(nn.Module):
    def __init__(self, inputs: int, outputs: int, own: Mapping[str, Any]) -> None:
        super().__init__()
        # torch warns of a dropout that no layer follows.
        between = own["dropout"] if own["layers"] > 1 else 0.0
        self.lstm = nn.LSTM(inputs, own["hidden"], own["layers"], batch_first=True, dropout=between)
        self.fc = nn.Linear(own["hidden"], outputs)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.fc(self.lstm(x)[0])
        return answer


class _Transformer(nn.Module):
    def __init__(self, inputs: int, outputs: int, own: Mapping[str, Any]) -> None:
        super().__init__()
        width = own["d_model"]
        self.input_proj = nn.Linear(inputs, width)
        self.positions = nn.Embedding(own["max_len"], width)
        layer = nn.TransformerEncoderLayer(
            width, own["nhead"], own["dim_feedforward"], own["dropout"], batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, own["num_layers"], enable_nested_tensor=False)
        self.output_proj = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        placed = self.input_proj(x) + self.positions.weight[: x.shape[1]]
        answer: Tensor = self.output_proj(self.encoder(placed))
        return answer


class _Mamba(nn.Module):
    def __init__(self, inputs: int, outputs: int, own: Mapping[str, Any]) -> None:
        super().__init__()
        width = own["d_model"]
        self.input_proj = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            SelectiveScan(width, own["d_state"], own["d_conv"], own["expand"])
            for _ in range(own["layers"])
        )
        self.dropout = nn.Dropout(own["dropout"])
        self.norm = nn.LayerNorm(width)
        self.output_proj = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_proj(x)
        for block in self.blocks:
            x = x + self.dropout(block(x))
        answer: Tensor = self.output_proj(self.norm(x))
        return answer


_CORES: Mapping[str, Callable[..., nn.Module]] = {
    "lstm": _Lstm,
    "transformer": _Transformer,
    "mamba": _Mamba,
}
