"""What a force network of each core costs on the wearer."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.features import channels
from talaria_edge.model import MODEL_FILE, StreamingModel
from talaria_training.core_figures import step_us
from talaria_training.cores import CoreName
from talaria_training.kinetics.export import release_forces
from talaria_training.kinetics.force_files import ForceProvenance
from talaria_training.kinetics.force_net import ForceConfig, ForceNet, with_core

_RATE_HZ = 100.0


@dataclass(frozen=True, slots=True)
class ForceCost:
    """One core's cost; `step_us` is the median time of an onnxruntime step on one thread."""

    core: CoreName
    hidden: int
    layers: int
    parameters: int
    state_values: int
    step_us: float
    onnx_bytes: int


def cost(core: CoreName, config: ForceConfig, steps: int = 2000) -> ForceCost:
    """Measure one core with random weights, which cost what trained ones do.

    Parameters
    ----------
    core : str
    config : ForceConfig
    steps : int
        onnxruntime steps to time.
    """
    torch.manual_seed(0)
    run = with_core(config, core, 0).windows
    wide = len(channels(LEG_SLOTS))
    net = ForceNet(wide, run).eval()
    x = np.random.default_rng(0).standard_normal((steps, wide)).astype(np.float32)
    about = ForceProvenance(f"{core}-random", "nothing", (), _RATE_HZ)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / core
        release_forces(net, config.delay, about, folder, [x[:100]])
        size = (folder / MODEL_FILE).stat().st_size
        model = StreamingModel.load(folder, slots=LEG_SLOTS, rate_hz=_RATE_HZ, gives="forces")
        took_us = step_us(model, x)
    return ForceCost(
        core,
        run.hidden,
        run.layers,
        sum(parameter.numel() for parameter in net.parameters()),
        net.start().numel(),
        took_us,
        size,
    )
