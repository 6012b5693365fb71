"""A network's step written as ONNX, with text beside the graph and no trace of this machine."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn


def write_onnx(
    net: nn.Module,
    example: Mapping[str, Tensor],
    outputs: tuple[str, ...],
    texts: Mapping[str, str],
    path: Path,
    any_batch: bool = False,
) -> None:
    """Export a network.

    Parameters
    ----------
    net : nn.Module
    example : mapping of input name to Tensor
        In the order of the network's arguments; their shapes are the graph's.
    outputs : tuple of str
    texts : mapping
        For the file's ``metadata_props``.
    path : Path
    any_batch : bool
        Whether the first axis of every input, the same in all, may have any length.
    """
    batch = torch.export.Dim("batch")
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)  # it narrates its own steps
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's exporter warns about torch's own internals
            program = torch.onnx.export(
                net.eval(),
                tuple(example.values()),
                input_names=list(example),
                output_names=list(outputs),
                dynamic_shapes=tuple({0: batch} for _ in example) if any_batch else None,
                dynamo=True,
                verbose=False,
            )
    finally:
        exporter.setLevel(level)
    assert program is not None  # dynamo exports return their program
    model = program.model_proto
    # The exporter notes at every node which lines of which files it came from: paths of this machine.
    for part in (model.graph, *model.graph.node, *model.graph.value_info):
        del part.metadata_props[:]
    for key, text in texts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    onnx.save(model, str(path))
