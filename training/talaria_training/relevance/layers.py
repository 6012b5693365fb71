"""A network of `talaria_training.classify.nets` as a plain list of layers, to be gone through backwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, linear
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from talaria_bridge.errors import ModelContractError
from talaria_training.classify.nets import Residual
from talaria_training.relevance.sharing import Affine

PASSED_ON = (nn.ReLU, nn.Dropout)
"""Layers that hand relevance on as it is."""
AVERAGES = (nn.AvgPool1d, nn.AdaptiveAvgPool1d)
_KNOWN = (
    *PASSED_ON,
    *AVERAGES,
    nn.Linear,
    nn.Conv1d,
    nn.BatchNorm1d,
    nn.MaxPool1d,
    nn.Flatten,
    Residual,
)


def unrolled(net: nn.Sequential, dtype: torch.dtype) -> list[nn.Module]:
    """Copy a network's layers in order, as they act in evaluation, with batch normalisation folded away.

    Normalisation that stands right behind a fully connected or convolutional layer becomes part of its
    weights; elsewhere it stays a layer of its own. A `Residual` is one layer.

    Parameters
    ----------
    net : nn.Sequential
        Left as it is.
    dtype : torch.dtype
        Of the copy.

    Raises
    ------
    ModelContractError
        If there is a layer that no rule is known for.
    """
    layers: list[nn.Module] = []
    for layer in _flattened(deepcopy(net).to(dtype).eval().requires_grad_(False)):
        _check(layer)
        if isinstance(layer, Residual):
            layer.body = nn.Sequential(*unrolled(layer.body, dtype))
        before = layers[-1] if layers else None
        if isinstance(layer, nn.BatchNorm1d) and isinstance(before, nn.Conv1d):
            layers[-1] = fuse_conv_bn_eval(before, layer)
        elif isinstance(layer, nn.BatchNorm1d) and isinstance(before, nn.Linear):
            layers[-1] = fuse_linear_bn_eval(before, layer)
        else:
            layers.append(layer)
    return layers


def _flattened(net: nn.Sequential) -> Iterator[nn.Module]:
    for layer in net:
        if isinstance(layer, nn.Sequential):
            yield from _flattened(layer)
        else:
            yield layer


def _check(layer: nn.Module) -> None:
    if not isinstance(layer, _KNOWN):
        raise ModelContractError(
            f"The network has a {type(layer).__name__} layer, for which no relevance rule is known: "
            f"build it of {', '.join(kind.__name__ for kind in _KNOWN)}."
        )
    if isinstance(layer, nn.Conv1d) and layer.padding_mode != "zeros":
        raise ModelContractError(
            f"The network has a convolution padded with {layer.padding_mode!r}, through which relevance "
            "cannot be followed: pad with zeros."
        )
    if isinstance(layer, nn.BatchNorm1d) and layer.running_mean is None:
        raise ModelContractError(
            "The network normalises by the statistics of each batch, so a stride's relevance would hang "
            "on its neighbours: keep running statistics."
        )


def affine(layer: nn.Module, x: Tensor) -> Affine | None:
    """Look at a layer, about to get `x`, as linear in input and weight; None if it is not."""
    if isinstance(layer, nn.Linear):
        return Affine(linear, layer.weight, _bias(layer.bias, layer.weight))
    if isinstance(layer, nn.Conv1d):
        return Affine(_convolution(layer), layer.weight, _bias(layer.bias, layer.weight)[:, None])
    if isinstance(layer, nn.BatchNorm1d):
        return _normalisation(layer, x)
    if isinstance(layer, AVERAGES):
        # One weight of 1 for all that is averaged.
        return Affine(lambda x, weight: layer(x) * weight, x.new_ones(()), x.new_zeros(()))
    return None


def _bias(bias: Tensor | None, weight: Tensor) -> Tensor:
    return weight.new_zeros(len(weight)) if bias is None else bias


def _convolution(layer: nn.Conv1d) -> Callable[[Tensor, Tensor], Tensor]:
    def apply(x: Tensor, weight: Tensor) -> Tensor:
        return conv1d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)

    return apply


def _normalisation(layer: nn.BatchNorm1d, x: Tensor) -> Affine:
    scale = (cast("Tensor", layer.running_var) + layer.eps).rsqrt()
    scale = scale * layer.weight if layer.affine else scale
    shift = -cast("Tensor", layer.running_mean) * scale
    shift = shift + layer.bias if layer.affine else shift
    per_channel = (-1,) + (1,) * (x.ndim - 2)
    return Affine(torch.mul, scale.reshape(per_channel), shift.reshape(per_channel))
