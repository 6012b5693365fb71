"""How one layer hands the relevance of its outputs to its inputs.

A layer whose output j is the sum of contributions ``x_i w_ij`` and a bias passes the relevance ``R_j`` on
in shares. The rules differ in what they take for input i's share. They are those of Bach et al. 2015
(PLOS ONE 10:e0130140), Montavon et al. 2017 (Pattern Recognition 65:211-222) and Montavon et al. 2019
(LNCS 11700, chapter 10), written from the equations.

A bias counts as one more input, which keeps what it is given: that part is returned, so that the books
balance. Nothing of it is spread over the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from talaria_bridge.errors import ConfigError
from talaria_training.relevance.sharing import NOTHING, Affine, Shared, added, divide, summed


@dataclass(frozen=True, slots=True)
class Epsilon:
    """Shares in proportion to ``x_i w_ij`` of ``z_j + epsilon sign(z_j)`` (Bach et al. 2015, equation 58).

    Attributes
    ----------
    epsilon : float
        In units of the layer's output; 0 gives the plain 0-rule, which blows up where contributions cancel.
    """

    epsilon: float = 1e-5

    def share(self, layer: Affine, x: Tensor, relevance: Tensor) -> Shared:
        """Hand on `relevance` (N, outputs) to the input `x` (N, inputs)."""
        return divide(summed(layer, [(x, layer.weight)], layer.bias), relevance, self.epsilon)


@dataclass(frozen=True, slots=True)
class Gamma:
    """Epsilon with contributions of the output's own sign raised by `gamma` (Montavon et al. 2019).

    The published rule raises positive weights and supposes inputs and outputs that are not negative. Here
    the positive *contributions* of a positive output are raised, and the negative ones of a negative output:
    the same where the published rule is defined, and free of cancellation elsewhere.
    """

    gamma: float = 0.25

    def share(self, layer: Affine, x: Tensor, relevance: Tensor) -> Shared:
        """Hand on `relevance` (N, outputs) to the input `x` (N, inputs)."""
        up, down = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
        positive = layer.apply(x, layer.weight) + layer.bias >= 0
        found = []
        for mine, (same, other) in ((positive, (up, down)), (~positive, (down, up))):
            parts = [
                (x.clamp(min=0), layer.weight + self.gamma * same),
                (x.clamp(max=0), layer.weight + self.gamma * other),
            ]
            sign = 1.0 if same is up else -1.0
            bias = layer.bias + sign * self.gamma * (sign * layer.bias).clamp(min=0)
            found.append(divide(summed(layer, parts, bias), relevance * mine, 0.0))
        return added(found)


@dataclass(frozen=True, slots=True)
class AlphaBeta:
    """Positive contributions share ``alpha R_j``, negative ones ``(1 - alpha) R_j`` (Bach et al. 2015, 60).

    Contributions are sorted by the sign of ``x_i w_ij``, so signed inputs are welcome; ``AlphaBeta(1.0)`` on
    inputs that are not negative is the z+ rule of Montavon et al. 2017. Where an output has contributions
    of one sign only, those share ``R_j`` itself. The published rule would there hand on ``alpha R_j``, or
    nothing, and so create or destroy relevance.

    Attributes
    ----------
    alpha : float
        1 or more; beta is alpha - 1.
    """

    alpha: float = 2.0

    def share(self, layer: Affine, x: Tensor, relevance: Tensor) -> Shared:
        """Hand on `relevance` (N, outputs) to the input `x` (N, inputs)."""
        up, down = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
        above, below = x.clamp(min=0), x.clamp(max=0)
        signs = (
            ([(above, up), (below, down)], layer.bias.clamp(min=0)),
            ([(above, down), (below, up)], layer.bias.clamp(max=0)),
        )
        sums = [summed(layer, parts, bias) for parts, bias in signs]
        there = [one.total.abs() > NOTHING for one in sums]
        both = there[0] & there[1]
        # What finds contributions of neither sign is given to the first, which enters it as lost.
        takes_all = (~there[1], there[1])
        found = []
        for one, alone, weight in zip(sums, takes_all, (self.alpha, 1 - self.alpha), strict=True):
            found.append(divide(one, torch.where(both, weight * relevance, relevance * alone), 0.0))
        return added(found)


@dataclass(frozen=True, slots=True)
class Flat:
    """Every input that reaches an output gets the same share, whatever its value or weight.

    After Lapuschkin et al. 2019 (Nature Communications 10:1096). A first layer that sees all channels at
    once gives them all the same by this rule: it then tells *when*, never *which channel*.
    """

    def share(self, layer: Affine, x: Tensor, relevance: Tensor) -> Shared:
        """Hand on `relevance` (N, outputs) to the input `x` (N, inputs)."""
        parts = [(torch.ones_like(x), torch.ones_like(layer.weight))]
        return divide(summed(layer, parts, torch.zeros_like(layer.bias)), relevance, 0.0)


@dataclass(frozen=True, slots=True)
class SquaredWeights:
    """Shares in proportion to ``w_ij ** 2`` (Montavon et al. 2017): the input's value has no say."""

    def share(self, layer: Affine, x: Tensor, relevance: Tensor) -> Shared:
        """Hand on `relevance` (N, outputs) to the input `x` (N, inputs)."""
        parts = [(torch.ones_like(x), layer.weight**2)]
        return divide(summed(layer, parts, torch.zeros_like(layer.bias)), relevance, 0.0)


@dataclass(frozen=True, slots=True)
class Bounded:
    """The z^B rule for inputs known to lie between two values (Montavon et al. 2017).

    Shares are in proportion to ``x_i w_ij - low w_ij+ - high w_ij-``, none of which is negative. The bias has
    no part in it.

    Attributes
    ----------
    low, high : float
        In the units of the input as the network gets it.
    """

    low: float
    high: float

    def share(self, layer: Affine, x: Tensor, relevance: Tensor) -> Shared:
        """Hand on `relevance` (N, outputs) to the input `x` (N, inputs).

        Raises
        ------
        ConfigError
            If an input lies outside the bounds.
        """
        if x.min() < self.low or x.max() > self.high:
            raise ConfigError(
                f"The inputs run from {x.min():.3g} to {x.max():.3g}, which is outside the bounds "
                f"{self.low:g} and {self.high:g} of the rule: give bounds that hold."
            )
        ones = torch.ones_like(x)
        parts = [
            (x, layer.weight),
            (-self.low * ones, layer.weight.clamp(min=0)),
            (-self.high * ones, layer.weight.clamp(max=0)),
        ]
        return divide(summed(layer, parts, torch.zeros_like(layer.bias)), relevance, 0.0)


Rule = Epsilon | Gamma | AlphaBeta | Flat | SquaredWeights | Bounded


@dataclass(frozen=True, slots=True)
class Rules:
    """Which rule for which layer.

    Attributes
    ----------
    dense, conv : Rule
        For fully connected and for convolutional layers.
    first : Rule or None
        For the first layer of either kind instead; None leaves it what it is.
    rest : Epsilon
        For averages, batch normalisation, and the sum at the end of a residual block.
    """

    dense: Rule
    conv: Rule
    first: Rule | None = None
    rest: Epsilon = Epsilon()


USUAL = "composite"
"""What is used where nobody asks for another assignment."""
PRESETS: Mapping[str, Rules] = MappingProxyType(
    {
        "zero": Rules(Epsilon(0.0), Epsilon(0.0), rest=Epsilon(0.0)),
        "epsilon": Rules(Epsilon(), Epsilon()),
        "horst": Rules(Epsilon(1e-5), AlphaBeta(2.0)),
        "composite": Rules(Epsilon(), Gamma()),
        "composite-flat": Rules(Epsilon(), Gamma(), first=Flat()),
        "z-plus": Rules(AlphaBeta(1.0), AlphaBeta(1.0)),
    }
)
"""Assignments by name: *horst* is that of Horst et al. 2019, *composite* after Montavon et al. 2019."""


def preset(name: str) -> Rules:
    """Look an assignment up.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in PRESETS:
        raise ConfigError(
            f"There are no rules called {name!r}: choose one of {', '.join(PRESETS)}."
        )
    return PRESETS[name]
