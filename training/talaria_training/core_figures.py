"""What each core costs, at equal parameters: a step on the wearer, a training on this machine, a file."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.features import channels
from talaria_edge.model import MODEL_FILE, StreamingModel
from talaria_training import artefacts
from talaria_training.cores import CORES, MATCHED, CoreName
from talaria_training.networks import GaitNet
from talaria_training.train import MULTI_USER

_RATE_HZ = 100.0
_STEPS = 2000
_ROUNDS = 6


@dataclass(frozen=True, slots=True)
class CoreFigures:
    """What one core costs.

    Attributes
    ----------
    core : str
    hidden, layers : int
    parameters : int
        Of the whole network.
    state_values : int
        Numbers carried from step to step.
    step_us : float
        Median time of one onnxruntime step.
    windows_per_s : float
        Windows of the multi-user training's length, forwards, backwards and through the optimiser, per
        second of processor time: the best of a few batches.
    onnx_bytes : int
    """

    core: CoreName
    hidden: int
    layers: int
    parameters: int
    state_values: int
    step_us: float
    windows_per_s: float
    onnx_bytes: int


def measure(steps: int = _STEPS, rounds: int = _ROUNDS) -> Iterator[CoreFigures]:
    """Measure every core in turn; its weights are random, for they cost what trained ones do.

    Parameters
    ----------
    steps : int
        onnxruntime steps to time.
    rounds : int
        Training batches to time.
    """
    for core in CORES:
        torch.manual_seed(0)
        hidden, layers = MATCHED[core]
        net = GaitNet(len(channels(LEG_SLOTS)), hidden, layers, MULTI_USER.dropout, core)
        step_us, size = _step(net, steps)
        yield CoreFigures(
            core=core,
            hidden=hidden,
            layers=layers,
            parameters=sum(parameter.numel() for parameter in net.parameters()),
            state_values=net.start().numel(),
            step_us=step_us,
            windows_per_s=_training_speed(net, rounds),
            onnx_bytes=size,
        )


def _noise(net: GaitNet, *shape: int) -> Tensor:
    x = torch.randn(*shape, net.x_mean.numel())
    x[..., -net.slots :] = 1.0
    return x


def _step(net: GaitNet, steps: int) -> tuple[float, int]:
    """Median microseconds of a step, and the size of the file it ran from."""
    x = _noise(net, steps).numpy()
    about = artefacts.Provenance(f"{net.core}-random", "nothing", (), _RATE_HZ)
    with tempfile.TemporaryDirectory() as scratch:
        folder = artefacts.release(net, about, Path(scratch) / net.core, [x[:100]])
        size = (folder / MODEL_FILE).stat().st_size
        model = StreamingModel.load(folder, slots=LEG_SLOTS, rate_hz=_RATE_HZ)
        return step_us(model, x), size


def step_us(model: StreamingModel, x: NDArray[np.float32]) -> float:
    """Median microseconds of a step, over rows of features (T, C)."""
    return statistics.median(_seconds(model, row) for row in x) * 1e6


def _seconds(model: StreamingModel, x: NDArray[np.float32]) -> float:
    start = time.perf_counter()
    model.step(x)
    return time.perf_counter() - start


def _training_speed(net: GaitNet, rounds: int) -> float:
    net.train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4)
    took = []
    for _ in range(rounds):
        x = _noise(net, MULTI_USER.batch, MULTI_USER.window)
        start = time.process_time()
        y, _ = net(x, net.start(len(x)))
        optimiser.zero_grad()
        y.square().mean().backward()
        optimiser.step()
        took.append(time.process_time() - start)
    return MULTI_USER.batch / min(took)


def table(figures: Sequence[CoreFigures]) -> Table:
    """Set the cores side by side."""
    shown = Table(title="Cores at about the parameters of the GRU")
    shown.caption = (
        f"Step: median of {_STEPS} in onnxruntime, one thread. Training: windows of {MULTI_USER.window} "
        f"samples, {MULTI_USER.batch} at a time, per second of processor time."
    )
    shown.add_column("core", no_wrap=True)
    for name in ("size", "weights", "state", "step µs", "windows/s", "ONNX kB"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in figures:
        shown.add_row(
            row.core,
            f"{row.hidden} × {row.layers}",
            f"{row.parameters:,}",
            f"{row.state_values:,}",
            f"{row.step_us:.0f}",
            f"{row.windows_per_s:.0f}",
            f"{row.onnx_bytes / 1e3:.0f}",
        )
    return shown
