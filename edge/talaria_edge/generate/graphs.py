"""The graphs of a released generative model, opened as functions of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ModelContractError
from talaria_edge.generate.contract import (
    FORCE_INPUTS,
    FORCE_OUTPUT,
    INPUTS,
    KINEMATICS,
    OUTPUT,
    SayForces,
)
from talaria_edge.generate.motion import CHANNELS, FORCES, NUMBERS, WINDOW
from talaria_edge.generate.sampler import Denoise, Floats
from talaria_edge.model import open_session

_MADE_BY = "talaria-train generate train"
_NUMBERS = [len(NUMBERS)]


def open_denoiser(file: Path) -> Denoise:
    """Open a graph as the function that a sampler asks.

    Raises
    ------
    ModelContractError
        If onnxruntime cannot open it, or it takes or gives something else than a denoiser.
    """
    window = [WINDOW, len(CHANNELS)]
    shapes: tuple[list[int], ...] = (window, window, window, [], _NUMBERS, _NUMBERS, [])
    return _open(file, dict(zip(INPUTS, shapes, strict=True)), {OUTPUT: window})


def open_forces(file: Path) -> SayForces:
    """Open a graph as the function that tells forces from kinematics.

    Raises
    ------
    ModelContractError
        If onnxruntime cannot open it, or it takes or gives something else than a network of forces.
    """
    window = [WINDOW, len(KINEMATICS)]
    shapes: tuple[list[int], ...] = (window, window, _NUMBERS, _NUMBERS, [])
    inputs = dict(zip(FORCE_INPUTS, shapes, strict=True))
    return _open(file, inputs, {FORCE_OUTPUT: [WINDOW, len(FORCES)]})


def _open(
    file: Path, inputs: Mapping[str, list[int]], outputs: Mapping[str, list[int]]
) -> Callable[..., Floats]:
    """Open a graph and compare the shapes that it takes and gives, but for the number of windows."""
    session = open_session(file, _MADE_BY)
    has = {n.name: n.shape[1:] for n in (*session.get_inputs(), *session.get_outputs())}
    wanted = {**inputs, **outputs}
    if has != wanted:
        odd = sorted(name for name in {*has, *wanted} if has.get(name) != wanted.get(name))
        raise ModelContractError(
            f"{file} is a graph with other inputs or outputs than a model of gait has ({', '.join(odd)}): "
            f"copy the model's folder again, or release it again with '{_MADE_BY}'."
        )

    def said(*values: NDArray[np.generic]) -> Floats:
        return cast("Floats", session.run(list(outputs), dict(zip(inputs, values, strict=True)))[0])

    return said
