"""Which part of a network learns its wearer: everything, the outputs, or a few numbers folded in after.

Every adapter is the identity when it is put on, and `merge` folds it into weights the network has anyway:
a personal network has the same tensors, the same graph and the same step time as its base.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from talaria_edge.kinematics import ANGLES
from talaria_training.adapters import AngleScale, InputScale, LowRank
from talaria_training.networks import GaitNet

Part = Literal["all", "head", "affine", "norm", "low_rank"]
RANK = 4


def tunable(net: GaitNet, what: Part) -> list[nn.Parameter]:
    """Freeze a network but for one part, and return that part's parameters.

    Call `merge` after training; until then the network cannot be saved as a release.

    Parameters
    ----------
    net : GaitNet
        Changed in place: adapters are put on, and `requires_grad` says what learns.
    what : {"all", "head", "affine", "norm", "low_rank"}
        ``all`` weights; ``head``, the output layers and the straight path; ``affine``, scale and shift of
        every angle and its spread; ``norm``, that and scale and shift of every input; ``low_rank``, the
        affine and `RANK` directions of every matrix of the memory.

    Raises
    ------
    ValueError
        If the network already carries adapters.
    """
    if net.low_rank or net.input_scale or net.angle_scale:
        raise ValueError("the network carries adapters already: merge them first")
    net.requires_grad_(what == "all")
    if what == "all":
        return list(net.parameters())
    if what == "head":
        found = [p for part in (net.head, net.skip, net.heads) for p in part.parameters()]
        for parameter in found:
            parameter.requires_grad_(True)
        return found
    net.angle_scale = AngleScale(len(ANGLES))
    if what == "norm":
        net.input_scale = InputScale(net.x_mean.numel() - net.slots)
    if what == "low_rank":
        net.low_rank = LowRank(net.cell, RANK)
    return [p for p in net.parameters() if p.requires_grad]


@torch.no_grad()
def merge(net: GaitNet) -> GaitNet:
    """Fold all adapters into the network's own weights, in place, and unfreeze it."""
    if net.low_rank:
        for name, weight in net.low_rank.weights(net.cell).items():
            net.cell.get_parameter(name).copy_(weight)
    if net.input_scale:
        motion = slice(None, -net.slots)
        net.x_std[motion] /= net.input_scale.log_gain.exp()
        net.x_mean[motion] -= net.input_scale.shift * net.x_std[motion]
    if net.angle_scale:
        _fold_angles(net, net.angle_scale)
    net.low_rank = net.input_scale = net.angle_scale = None
    net.requires_grad_(True)
    return net


def _fold_angles(net: GaitNet, scale: AngleScale) -> None:
    gain = 1.0 + scale.gain
    net.head.weight.mul_(gain[:, None])
    net.skip.weight.mul_(gain[:, None])
    net.head.bias.mul_(gain).add_(scale.shift)
    net.heads.bias[: len(ANGLES)].add_(scale.log_spread)
