"""Layer-wise relevance propagation: which points of a stride a network's score came from.

After Bach et al. 2015 (PLOS ONE 10:e0130140). The score is handed back layer by layer, each layer by the
rule that `talaria_training.relevance.rules` assigns to it, until it lies on the input. What biases keep
and stabilisers take is returned beside it, so that all of it adds up to the score.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from talaria_bridge.errors import ConfigError
from talaria_training.classify.nets import Residual
from talaria_training.relevance.layers import PASSED_ON, affine, unrolled
from talaria_training.relevance.rules import Rules
from talaria_training.relevance.sharing import Shared, per_sample, ratio, stabilised

Start = Literal["score", "margin"]
"""*score*: the target class's own, before softmax. *margin*: that less the mean of the other classes'."""


@dataclass(frozen=True, slots=True, eq=False)
class Propagation:
    """A score, and where it came from: ``relevance.sum((1, 2)) + bias + lost`` is ``start``.

    Attributes
    ----------
    relevance : Tensor, shape (N, channels, points)
        In units of the score.
    start, bias, lost : Tensor, shape (N,)
        What was handed back; what of it the biases kept; what the stabilisers took.
    """

    relevance: Tensor
    start: Tensor
    bias: Tensor
    lost: Tensor


def relevance(net: nn.Sequential, x: Tensor, target: Tensor, rules: Rules) -> Tensor:
    """Relevance (N, channels, points) of strides for their target's score; see `propagate`."""
    return propagate(net, x, target, rules).relevance


def propagate(
    net: nn.Sequential, x: Tensor, target: Tensor, rules: Rules, start: Start = "score"
) -> Propagation:
    """Hand the scores of some strides back to their points.

    Parameters
    ----------
    net : nn.Sequential
        Of the layers of `talaria_training.classify.nets`; gives (N, classes). Dropout and batch normalisation
        act as in evaluation. It is left as it is.
    x : Tensor, shape (N, channels, points)
        As the network gets them, so standardised; float64 for exact books.
    target : Tensor of int, shape (N,)
        Index of the class to explain: the true one, or the dominant one (`dominant`).
    rules : Rules
    start : "score" or "margin"

    Raises
    ------
    ConfigError
        If the target names no class of the network.
    ModelContractError
        If there is a layer that no rule is known for.
    """
    layers = unrolled(net, x.dtype)
    with torch.no_grad():
        seen = _forward(layers, x.detach())
        begin = _beginning(seen[-1], target, start)
        shared = _backward(layers, seen, begin, rules, is_first=True)
    return Propagation(shared.inputs, begin.sum(dim=1), shared.bias, shared.lost)


def dominant(net: nn.Sequential, x: Tensor) -> Tensor:
    """Index (N,) of the class that a network gives most."""
    with torch.no_grad():
        return _forward(unrolled(net, x.dtype), x)[-1].argmax(dim=1)


def _forward(layers: list[nn.Module], x: Tensor) -> list[Tensor]:
    """Return the input of every layer, and the output of the last."""
    seen = [x]
    for layer in layers:
        seen.append(layer(seen[-1]))
    return seen


def _beginning(scores: Tensor, target: Tensor, start: Start) -> Tensor:
    classes = scores.shape[1]
    if target.shape != scores.shape[:1] or target.min() < 0 or target.max() >= classes:
        raise ConfigError(
            f"The classes to explain are {tuple(target.shape)} numbers from {target.min()} to "
            f"{target.max()}, but the network tells {classes} classes of {len(scores)} strides: give "
            f"one number from 0 to {classes - 1} per stride."
        )
    mine = torch.nn.functional.one_hot(target.long(), classes).to(scores)
    if start == "margin":
        mine = mine - (1.0 - mine) / (classes - 1)
    return mine * scores


def _backward(
    layers: list[nn.Module], seen: list[Tensor], given: Tensor, rules: Rules, *, is_first: bool
) -> Shared:
    """Go through layers from the last to the first; `is_first` if the first of them sees the stride."""
    bias = lost = given.new_zeros(len(given))
    first = _first_weighted(layers) if is_first else -1
    for k in reversed(range(len(layers))):
        step = _step(layers[k], seen[k], given, rules, is_first=k == first)
        given, bias, lost = step.inputs, bias + step.bias, lost + step.lost
    return Shared(given, bias, lost)


def _first_weighted(layers: list[nn.Module]) -> int:
    kinds = (nn.Linear, nn.Conv1d)
    return next((k for k, layer in enumerate(layers) if isinstance(layer, kinds)), -1)


def _step(layer: nn.Module, x: Tensor, given: Tensor, rules: Rules, *, is_first: bool) -> Shared:
    nil = given.new_zeros(len(given))
    if isinstance(layer, PASSED_ON):
        return Shared(given, nil, nil)
    if isinstance(layer, nn.Flatten):
        return Shared(given.reshape(x.shape), nil, nil)
    if isinstance(layer, nn.MaxPool1d):
        return Shared(_to_winners(layer, x, given), nil, nil)
    if isinstance(layer, Residual):
        return _split(layer, x, given, rules)
    seen = affine(layer, x)
    if seen is None:
        raise AssertionError(layer)  # `unrolled` let none but these pass
    rule = {nn.Linear: rules.dense, nn.Conv1d: rules.conv}.get(type(layer), rules.rest)
    if is_first and rules.first is not None:
        rule = rules.first
    return rule.share(seen, x, given)


def _to_winners(layer: nn.MaxPool1d, x: Tensor, given: Tensor) -> Tensor:
    """Give each window's relevance to its greatest value."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(layer(leaf), leaf, given)[0]


def _split(layer: Residual, x: Tensor, given: Tensor, rules: Rules) -> Shared:
    """Divide between the straight path and the body in proportion to what each brought."""
    body = list(layer.body)
    seen = _forward(body, x)
    total = x + seen[-1]
    wider = stabilised(total, rules.rest.epsilon)
    each, lost = ratio(given, wider)
    inner = _backward(body, seen, each * seen[-1], rules, is_first=False)
    lost = lost + per_sample(each * (wider - total))
    return replace(inner, inputs=inner.inputs + each * x, lost=inner.lost + lost)
