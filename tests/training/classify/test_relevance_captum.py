"""Where captum has the same rule for the same layer, it gives the same relevance.

captum's LRP knows no Conv1d, Flatten or average over one dimension of itself; each is given its rule by hand.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from talaria_training.classify.nets import Residual
from talaria_training.relevance.lrp import relevance
from talaria_training.relevance.rules import AlphaBeta, Epsilon, Gamma, Rule, Rules

captum = pytest.importorskip("captum.attr", reason="captum is not installed")
rules_of = pytest.importorskip("captum.attr._utils.lrp_rules")
captum_lrp = pytest.importorskip("captum.attr._core.lrp")

CHANNELS, POINTS, CLASSES, STRIDES = 3, 24, 4, 6


def conv_net(*, bias: bool) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv1d(CHANNELS, 8, 5, stride=2, bias=bias),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(8, 8, 3, padding=2, dilation=2, bias=bias),
        nn.ReLU(),
        nn.AvgPool1d(2),
        nn.Flatten(),
        nn.Linear(16, 12, bias=bias),
        nn.ReLU(),
        nn.Linear(12, CLASSES, bias=bias),
    ).double()


def theirs(
    net: nn.Sequential,
    x: Tensor,
    target: Tensor,
    dense: Callable[[], object],
    conv: Callable[[], object],
) -> Tensor:
    """Run captum with these rules, and its epsilon rule for everything else that is linear."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            layer.rule = dense()
        elif isinstance(layer, nn.Conv1d):
            layer.rule = conv()
        elif isinstance(layer, (nn.Flatten, nn.AvgPool1d, nn.AdaptiveAvgPool1d)):
            layer.rule = rules_of.EpsilonRule()
    found: Tensor = captum.LRP(net).attribute(x.requires_grad_(), target=target)
    return found.detach()


def strides(*, signed: bool) -> tuple[Tensor, Tensor]:
    x = torch.randn(STRIDES, CHANNELS, POINTS, dtype=torch.float64)
    return (x if signed else x.abs()), torch.arange(STRIDES) % CLASSES


@pytest.mark.parametrize("epsilon", [1e-9, 1e-2])
def test_epsilon_agrees_on_signed_strides_with_biases(epsilon: float) -> None:
    net = conv_net(bias=True)
    x, target = strides(signed=True)
    rest = Epsilon(1e-9)
    ours = relevance(net, x, target, Rules(Epsilon(epsilon), Epsilon(epsilon), rest=rest))

    def rule() -> object:
        return rules_of.EpsilonRule(epsilon)

    torch.testing.assert_close(ours, theirs(net, x, target, rule, rule), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("mine", "their"),
    [(AlphaBeta(1.0), "Alpha1_Beta0_Rule"), (Gamma(0.25), "GammaRule")],
)
def test_rules_for_positive_inputs_agree_where_captum_defines_them(mine: Rule, their: str) -> None:
    net = conv_net(bias=False)
    x, target = strides(signed=False)
    ours = relevance(net, x, target, Rules(Epsilon(1e-9), mine, rest=Epsilon(1e-9)))
    found = theirs(net, x, target, rules_of.EpsilonRule, getattr(rules_of, their))
    torch.testing.assert_close(ours, found, atol=1e-6, rtol=1e-5)


def test_a_sum_of_two_paths_agrees() -> None:
    torch.manual_seed(4)
    body = nn.Sequential(nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU())
    last = nn.Linear(CHANNELS, CLASSES)
    layers = nn.AdaptiveAvgPool1d(1), nn.Flatten(), last

    class Theirs(nn.Module):
        """captum follows a sum only where it is a module of its own kind."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.rest = body, nn.Sequential(*layers)
            self.add = captum_lrp.Addition_Module()

        def forward(self, x: Tensor) -> Tensor:
            return self.rest(self.add(x, self.body(x)))

    x, target = strides(signed=True)
    ours = nn.Sequential(Residual(body), *layers)
    found = relevance(ours, x, target, Rules(Epsilon(1e-9), Epsilon(1e-9), rest=Epsilon(1e-9)))
    expected = theirs(Theirs().double(), x, target, rules_of.EpsilonRule, rules_of.EpsilonRule)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
