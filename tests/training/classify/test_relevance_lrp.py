"""Relevance adds up, agrees with what is known in closed form, and finds what was planted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from talaria_bridge.errors import ConfigError, ModelContractError
from talaria_training.classify.nets import Residual
from talaria_training.relevance.linear import explained_weights, linear_relevance
from talaria_training.relevance.lrp import Start, dominant, propagate, relevance
from talaria_training.relevance.rules import (
    PRESETS,
    AlphaBeta,
    Bounded,
    Epsilon,
    Flat,
    Gamma,
    Rule,
    Rules,
    SquaredWeights,
    preset,
)
from talaria_training.relevance.sharing import Affine

CHANNELS, POINTS, CLASSES = 4, 21, 3
CONSERVING: dict[str, Rule] = {
    "epsilon": Epsilon(1e-9),
    "gamma": Gamma(),
    "alpha1beta0": AlphaBeta(1.0),
    "alpha2beta1": AlphaBeta(2.0),
}
FIRST: dict[str, Rule] = {
    "flat": Flat(),
    "squared weights": SquaredWeights(),
    "bounded": Bounded(-6.0, 6.0),
}


def conv_net(*, bias: bool = True) -> nn.Sequential:
    """Every layer there may be."""
    hidden = 6
    return nn.Sequential(
        nn.Conv1d(CHANNELS, hidden, 5, padding=2, bias=bias),
        nn.BatchNorm1d(hidden, affine=bias),
        nn.ReLU(),
        nn.MaxPool1d(2),
        Residual(
            nn.Sequential(
                nn.Conv1d(hidden, hidden, 3, padding=2, dilation=2, bias=bias),
                nn.ReLU(),
                nn.Conv1d(hidden, hidden, 3, padding="same", bias=bias),
            )
        ),
        nn.ReLU(),
        nn.AvgPool1d(2),
        nn.Conv1d(hidden, hidden, 2, stride=2, bias=bias),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(hidden, CLASSES, bias=bias),
    )


def dense_net(*, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(CHANNELS * POINTS, 16, bias=bias),
        nn.ReLU(),
        nn.Linear(16, 16, bias=bias),
        nn.ReLU(),
        nn.Linear(16, CLASSES, bias=bias),
    )


def linear_net(*, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * POINTS, CLASSES, bias=bias))


NETS = {"conv": conv_net, "dense": dense_net, "linear": linear_net}


def made(name: str, seed: int = 0, *, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(seed)
    net = NETS[name](bias=bias)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d) and bias:
            layer.running_mean = torch.randn(layer.num_features)
            layer.running_var = torch.rand(layer.num_features) + 0.5
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return net.eval()


def strides(count: int = 8, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    x = torch.randn(count, CHANNELS, POINTS, generator=noise, dtype=torch.float64)
    return x.clamp(-5.9, 5.9).to(dtype)


def targets(count: int = 8) -> Tensor:
    return torch.arange(count) % CLASSES


def score(net: nn.Sequential, x: Tensor, target: Tensor) -> Tensor:
    with torch.no_grad():
        return net.to(x.dtype)(x).gather(1, target[:, None])[:, 0]


def largest(values: Tensor) -> float:
    return float(values.abs().max())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("rule", CONSERVING)
def test_without_biases_relevance_adds_up_to_the_score(name: str, rule: str) -> None:
    net, x = made(name, bias=False), strides()
    rules = Rules(CONSERVING[rule], CONSERVING[rule], rest=Epsilon(1e-9))
    found = relevance(net, x, targets(), rules)
    assert largest(found.sum((1, 2)) - score(net, x, targets())) < 1e-6


@pytest.mark.parametrize("name", ["conv", "dense"])
@pytest.mark.parametrize("rule", FIRST)
def test_rules_for_the_input_conserve_what_comes_to_it(name: str, rule: str) -> None:
    net, x = made(name, bias=False), strides()
    rules = Rules(Epsilon(1e-9), Gamma(), first=FIRST[rule], rest=Epsilon(1e-9))
    found = relevance(net, x, targets(), rules)
    assert largest(found.sum((1, 2)) - score(net, x, targets())) < 1e-6


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("rules", PRESETS)
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_with_biases_the_books_balance(
    name: str, rules: str, dtype: torch.dtype, within: float
) -> None:
    net, x = made(name), strides(dtype=dtype)
    found = propagate(net, x, targets(), PRESETS[rules])
    assert largest(found.start - score(net, x, targets())) < within
    closed = found.relevance.sum((1, 2)) + found.bias + found.lost
    assert largest(closed - found.start) < within
    if not (
        name == "linear" and rules == "composite-flat"
    ):  # the one layer there is gives it nothing
        assert largest(found.bias) > 1e-3


def test_presets_lose_little_to_their_stabilisers() -> None:
    net, x = made("conv"), strides(32)
    for name in ("epsilon", "horst", "composite"):
        found = propagate(net, x, targets(32), PRESETS[name])
        assert largest(found.lost) < 1e-3, name


@pytest.mark.parametrize("start", ["score", "margin"])
def test_a_linear_network_agrees_with_the_closed_form(start: Start) -> None:
    net, x = made("linear").double(), strides()
    found = propagate(net, x, targets(), PRESETS["zero"], start)
    weight, bias = (value.detach().numpy() for value in net[1].parameters())
    closed = linear_relevance(weight, x.numpy(), targets().numpy(), start)
    np.testing.assert_allclose(found.relevance.numpy(), closed, atol=1e-9)
    whole = closed.sum((1, 2)) + explained_weights(bias, start)[targets().numpy()]
    np.testing.assert_allclose(found.start.numpy(), whole, atol=1e-9)


def test_epsilon_shrinks_a_linear_score_by_epsilon_and_no_more() -> None:
    net, x = made("linear").double(), strides()
    plain, damped = (propagate(net, x, targets(), PRESETS[name]) for name in ("zero", "epsilon"))
    shrunk = plain.start.abs() / (plain.start.abs() + 1e-5)
    expected = plain.relevance * shrunk[:, None, None]
    assert largest(damped.relevance - expected) < 1e-12


def test_a_margin_forgets_what_all_classes_share() -> None:
    weight, x = np.random.default_rng(0).normal(size=(CLASSES, CHANNELS * POINTS)), strides()
    common = np.random.default_rng(1).normal(size=CHANNELS * POINTS)
    plain = linear_relevance(weight, x.numpy(), targets().numpy(), "margin")
    shifted = linear_relevance(weight + common, x.numpy(), targets().numpy(), "margin")
    np.testing.assert_allclose(plain, shifted, atol=1e-9)


def test_without_biases_the_zero_rule_is_gradient_times_input() -> None:
    net, x = made("conv", bias=False).double(), strides().requires_grad_()
    net(x).gather(1, targets()[:, None]).sum().backward()
    found = relevance(net, x, targets(), PRESETS["zero"])
    assert largest(found - x.grad * x.detach()) < 1e-6


@pytest.mark.parametrize("rules", ["zero", "epsilon", "horst", "composite", "z-plus"])
@pytest.mark.parametrize("name", NETS)
def test_a_constant_channel_has_no_relevance(name: str, rules: str) -> None:
    x = strides()
    x[:, 2] = 0.0  # what standardisation makes of a channel that never changes
    found = relevance(made(name), x, targets(), PRESETS[rules])
    assert largest(found[:, 2]) == 0.0
    assert largest(found[:, 1]) > 0.0


def test_the_flat_rule_cannot_tell_channels_apart() -> None:
    found = relevance(made("conv"), strides(), targets(), PRESETS["composite-flat"])
    assert largest(found - found.mean(dim=1, keepdim=True)) < 1e-9
    assert float(found.std(dim=2).min()) > 0.0


@pytest.mark.parametrize("rules", PRESETS)
def test_renaming_classes_renames_and_no_more(rules: str) -> None:
    net, x = made("conv"), strides()
    turned = made("conv")
    turn = torch.tensor([2, 0, 1])
    turned[-1].weight.data = net[-1].weight.data[turn]
    turned[-1].bias.data = net[-1].bias.data[turn]
    target = targets()
    there = torch.argsort(turn)[target]
    a, b = (relevance(n, x, t, PRESETS[rules]) for n, t in ((net, target), (turned, there)))
    assert largest(a - b) < 1e-12


def test_a_stride_is_explained_alike_alone_and_in_a_batch() -> None:
    net, x = made("conv"), strides()
    whole = relevance(net, x, targets(), PRESETS["horst"])
    for k in range(len(x)):
        alone = relevance(net, x[k : k + 1], targets()[k : k + 1], PRESETS["horst"])
        assert largest(alone[0] - whole[k]) < 1e-9


def test_the_network_is_left_as_it_was_and_dropout_is_off() -> None:
    net, x = made("conv").train(), strides(dtype=torch.float32)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    a, b = (relevance(net, x, targets(), PRESETS["composite"]) for _ in range(2))
    assert torch.equal(a, b)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_folding_normalisation_changes_no_score() -> None:
    net, x = made("conv"), strides()
    best = dominant(net, x)
    found = propagate(net, x, best, PRESETS["epsilon"])
    assert torch.equal(best, net.double()(x).argmax(dim=1))
    assert largest(found.start - score(net, x, best)) < 1e-9


def unsettled(width: int) -> nn.BatchNorm1d:
    layer = nn.BatchNorm1d(width)
    layer.running_mean, layer.running_var = torch.randn(width), torch.rand(width) + 0.5
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer.eval()


def test_normalisation_with_nothing_before_it_is_a_linear_layer() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(unsettled(CHANNELS), *made("linear")).double()
    found = propagate(net, strides(), targets(), PRESETS["zero"])
    first = net[0]
    slope = (first.weight / (first.running_var + first.eps).sqrt()).detach()
    per_point = net[2].weight.detach()[targets()].reshape(-1, CHANNELS, POINTS)
    assert largest(found.relevance - per_point * slope[:, None] * strides()) < 1e-9
    assert largest(found.relevance.sum((1, 2)) + found.bias - found.start) < 1e-9


def test_normalisation_within_a_residual_block_is_folded_as_elsewhere() -> None:
    torch.manual_seed(0)
    taps, norm = nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1).eval(), unsettled(CHANNELS)
    ends = (nn.Flatten(), nn.Linear(CHANNELS * POINTS, CLASSES))
    loose = nn.Sequential(Residual(nn.Sequential(taps, norm)), *ends)
    folded = nn.utils.fusion.fuse_conv_bn_eval(taps, norm)
    tight = nn.Sequential(Residual(nn.Sequential(folded)), *ends)
    a, b = (relevance(net, strides(), targets(), PRESETS["horst"]) for net in (loose, tight))
    assert largest(a - b) < 1e-4 * largest(a)


def test_the_winner_of_a_window_takes_it_all() -> None:
    net = nn.Sequential(nn.MaxPool1d(3), nn.Flatten(), nn.Linear(2, 1, bias=False))
    nn.init.ones_(net[2].weight)
    x = torch.tensor([[[1.0, 5.0, 2.0, 7.0, 0.0, 3.0]]])
    found = relevance(net, x, torch.tensor([0]), PRESETS["zero"])
    assert found.tolist() == [[[0.0, 5.0, 0.0, 7.0, 0.0, 0.0]]]


def test_a_residual_block_divides_in_proportion() -> None:
    net = nn.Sequential(
        Residual(nn.Sequential(nn.Conv1d(1, 1, 1, bias=False))),
        nn.Flatten(),
        nn.Linear(2, 1, bias=False),
    )
    nn.init.constant_(net[0].body[0].weight, 3.0)
    nn.init.ones_(net[2].weight)
    x = torch.tensor([[[2.0, 1.0]]])
    found = relevance(net, x, torch.tensor([0]), PRESETS["zero"])
    assert found.tolist() == [[[8.0, 4.0]]]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # Contributions 2, 6, -3 and bias 1 make 6; worked out by hand from the equations.
        (Epsilon(0.0), [2.0, 6.0, -3.0]),
        (Epsilon(6.0), [1.0, 3.0, -1.5]),
        (Gamma(1.0), [4.0 * 6 / 15, 12.0 * 6 / 15, -3.0 * 6 / 15]),
        (AlphaBeta(1.0), [2.0 * 6 / 9, 6.0 * 6 / 9, 0.0]),
        (AlphaBeta(2.0), [2.0 * 12 / 9, 6.0 * 12 / 9, -6.0]),
        (Flat(), [2.0, 2.0, 2.0]),
        (SquaredWeights(), [4.0 * 6 / 14, 9.0 * 6 / 14, 1.0 * 6 / 14]),
        # x w - low w+ - high w-: (2 + 8), (6 + 12), (-3 + 4).
        (Bounded(-4.0, 4.0), [10.0 * 6 / 29, 18.0 * 6 / 29, 1.0 * 6 / 29]),
    ],
)
def test_each_rule_gives_what_its_equation_gives(rule: Rule, expected: list[float]) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 1))
    net[1].weight.data = torch.tensor([[2.0, 3.0, -1.0]])
    net[1].bias.data = torch.tensor([1.0])
    x = torch.tensor([[[1.0, 2.0, 3.0]]], dtype=torch.float64)
    found = propagate(net, x, torch.tensor([0]), Rules(rule, rule))
    np.testing.assert_allclose(found.relevance.flatten().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "x", "expected"),
    [
        (AlphaBeta(2.0), (-1.0, -1.0), [2.0, -1.0]),  # contributes 2 and -1
        (AlphaBeta(2.0), (1.0, 1.0), [1.0, -2.0]),  # contributes -2 and 1
        (Gamma(1.0), (-1.0, -1.0), [4.0 / 3, -1.0 / 3]),
        (Gamma(1.0), (1.0, 1.0), [-4.0 / 3, 1.0 / 3]),
    ],
)
def test_signed_inputs_are_sorted_by_what_they_contribute(
    rule: Rule, x: tuple[float, float], expected: list[float]
) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    net[1].weight.data = torch.tensor([[-2.0, 1.0]])
    stride = torch.tensor([[x]], dtype=torch.float64)
    found = relevance(net, stride, torch.tensor([0]), Rules(rule, rule))
    assert found.flatten().tolist() == pytest.approx(expected)


def test_an_output_with_contributions_of_one_sign_hands_on_what_it_got() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    net[1].weight.data = torch.tensor([[1.0, 3.0]])
    x = torch.ones(1, 1, 2, dtype=torch.float64)
    found = relevance(net, x, torch.tensor([0]), PRESETS["z-plus"])
    twice = relevance(net, x, torch.tensor([0]), Rules(AlphaBeta(2.0), AlphaBeta(2.0)))
    assert found.flatten().tolist() == twice.flatten().tolist() == pytest.approx([1.0, 3.0])
    against = relevance(net, -x, torch.tensor([0]), PRESETS["z-plus"])
    assert against.flatten().tolist() == pytest.approx([-1.0, -3.0])


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    widths=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.integers(0, 2),
    rule=st.sampled_from(sorted(CONSERVING)),
    first=st.sampled_from([None, *sorted(FIRST)]),
    seed=st.integers(0, 10_000),
)
def test_any_small_network_balances(
    widths: list[int],
    kernel: int,
    stride: int,
    dilation: int,
    padding: int,
    rule: str,
    first: str | None,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    before = CHANNELS
    for k, width in enumerate(widths):
        shape = (stride, padding, dilation) if k == 0 else (1, padding, 1)
        layers += [nn.Conv1d(before, width, kernel if k == 0 else 1, *shape), nn.ReLU()]
        before = width
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(before, CLASSES))
    rules = Rules(CONSERVING[rule], CONSERVING[rule], FIRST[first] if first else None)
    found = propagate(net, strides(4, seed), targets(4), rules)
    closed = found.relevance.sum((1, 2)) + found.bias + found.lost
    assert torch.isfinite(found.relevance).all()
    # What AlphaBeta(2) hands on grows from layer to layer, and rounding with it.
    assert largest(closed - found.start) < 1e-9 * max(1.0, largest(found.relevance))


def test_nothing_in_gives_no_relevance_and_no_nan() -> None:
    net, x = made("conv", bias=False), torch.zeros(2, CHANNELS, POINTS)
    for name, rules in PRESETS.items():
        found = propagate(net, x, targets(2), rules)
        assert largest(found.relevance) == 0.0, name


def test_contributions_that_cancel_hand_nothing_on_by_the_zero_rule() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    net[1].weight.data = torch.tensor([[1.0, -1.0]])
    found = relevance(net, torch.ones(1, 1, 2), torch.tensor([0]), PRESETS["zero"])
    assert found.flatten().tolist() == [0.0, 0.0]


@pytest.mark.parametrize("rule", [Epsilon(0.0), Gamma(), AlphaBeta(1.0), AlphaBeta(2.0)])
def test_what_finds_nothing_to_go_to_is_booked_as_lost(rule: Rule) -> None:
    layer = Affine(nn.functional.linear, torch.ones(2, 3), torch.zeros(2))
    found = rule.share(layer, torch.zeros(1, 3), torch.tensor([[2.0, 3.0]]))
    assert found.inputs.tolist() == [[0.0, 0.0, 0.0]]
    assert (found.bias.tolist(), found.lost.tolist()) == ([0.0], [5.0])


def test_an_unknown_layer_is_named() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * POINTS, CLASSES), nn.Softplus())
    with pytest.raises(ModelContractError, match="has a Softplus layer"):
        relevance(net, strides(), targets(), PRESETS["zero"])


def test_circular_padding_is_refused() -> None:
    net = nn.Sequential(
        nn.Conv1d(CHANNELS, CLASSES, 3, padding=1, padding_mode="circular"),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
    )
    with pytest.raises(ModelContractError, match="padded with 'circular'"):
        relevance(net, strides(), targets(), PRESETS["zero"])


def test_batch_statistics_are_refused() -> None:
    net = nn.Sequential(nn.BatchNorm1d(CHANNELS, track_running_stats=False), *made("dense"))
    with pytest.raises(ModelContractError, match="keep running statistics"):
        relevance(net, strides(), targets(), PRESETS["zero"])


def test_a_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="from 0 to 2 per stride"):
        relevance(made("dense"), strides(), targets() + 1, PRESETS["zero"])


def test_inputs_outside_the_bounds_are_refused() -> None:
    rules = Rules(Epsilon(), Epsilon(), first=Bounded(-0.1, 0.1))
    with pytest.raises(ConfigError, match=r"outside the bounds -0\.1 and 0\.1"):
        relevance(made("dense"), strides(), targets(), rules)


def test_rules_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="no rules called 'deep'"):
        preset("deep")
