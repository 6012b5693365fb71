"""Passing relevance back through one layer that is linear in its input and in its weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NOTHING = 1e-30
"""A sum this small is no sum: what it would divide is dropped, and entered as lost."""


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """A layer that is linear in its input and in its weight.

    Attributes
    ----------
    apply : callable
        Takes an input (N, ...) and a weight of the shape of `weight`; gives the output (N, ...) without bias.
    weight : Tensor
    bias : Tensor
        Broadcasts against the output; zero where there is none.
    """

    apply: Callable[[Tensor, Tensor], Tensor]
    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Where a layer's relevance went; the three add up to what came in.

    Attributes
    ----------
    inputs : Tensor, shape of the layer's input
    bias : Tensor, shape (N,)
    lost : Tensor, shape (N,)
        What the stabiliser took, and what came to outputs that had nothing to divide it by.
    """

    inputs: Tensor
    bias: Tensor
    lost: Tensor


def stabilised(total: Tensor, epsilon: float) -> Tensor:
    """Move a sum away from zero by epsilon; a sum of zero counts as positive."""
    return total + epsilon * torch.where(total >= 0, 1.0, -1.0).to(total.dtype)


def ratio(relevance: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Divide, except by nothing; also return the relevance (N,) that was lost thereby."""
    empty = total.abs() <= NOTHING
    divided = relevance / torch.where(empty, torch.ones_like(total), total)
    return divided.masked_fill(empty, 0.0), per_sample(relevance * empty)


@dataclass(frozen=True, slots=True, eq=False)
class Summed:
    """Contributions ``x_i w_ij`` added up, ready to be gone back through.

    Attributes
    ----------
    leaves : sequence of Tensor
        The inputs they were made of.
    made : Tensor
        Their sum, still tied to the leaves.
    bias : Tensor
    """

    leaves: Sequence[Tensor]
    made: Tensor
    bias: Tensor

    @property
    def total(self) -> Tensor:
        """The sum with the bias."""
        return self.made.detach() + self.bias


def summed(layer: Affine, parts: Sequence[tuple[Tensor, Tensor]], bias: Tensor) -> Summed:
    """Add up contributions over the (x, w) of `parts`."""
    # Behind a ReLU nothing is negative, and half of the work is with zeros.
    used = [part for part in parts if part[0].any()] or parts[:1]
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x, _ in used]
        outputs = [layer.apply(x, w) for x, (_, w) in zip(leaves, used, strict=True)]
        made = torch.stack(outputs).sum(dim=0) if len(outputs) > 1 else outputs[0]
    return Summed(leaves, made, bias)


def divide(given: Summed, relevance: Tensor, epsilon: float) -> Shared:
    """Share relevance (N, outputs) in proportion to the contributions, over their sum moved by epsilon."""
    total = given.total
    wider = stabilised(total, epsilon)
    each, lost = ratio(relevance, wider)
    slopes = torch.autograd.grad(given.made, given.leaves, each)
    brought = [x.detach() * by for x, by in zip(given.leaves, slopes, strict=True)]
    return Shared(
        torch.stack(brought).sum(dim=0),
        per_sample(each * given.bias),
        lost + per_sample(each * (wider - total)),
    )


def added(found: Sequence[Shared]) -> Shared:
    """Add up what was shared in several ways."""
    columns = zip(*((one.inputs, one.bias, one.lost) for one in found), strict=True)
    return Shared(*(torch.stack(list(column)).sum(dim=0) for column in columns))


def per_sample(values: Tensor) -> Tensor:
    """Sum (N,) of all there is of each stride."""
    return values.flatten(1).sum(dim=1)
