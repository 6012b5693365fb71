"""Adapters begin as nothing, learn alone, and leave no trace but in the weights."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from talaria_edge.kinematics import ANGLES
from talaria_training.adapt import Part, merge, tunable
from talaria_training.cores import CORES, CoreName
from talaria_training.networks import GaitNet
from talaria_training.train import FINETUNE, MULTI_USER, finetune, outputs, predict, train
from talaria_training.trials import Trial

PARTS: tuple[Part, ...] = get_args(Part)


def made_up(core: CoreName = "gru") -> GaitNet:
    torch.manual_seed(4)
    net = GaitNet(40, 16, 2, 0.0, core)
    with torch.no_grad():
        for name, scale in (("x_mean", 1.0), ("y_mean", 0.3)):
            net.get_buffer(name).normal_(0.0, scale)
        for name in ("x_std", "y_std"):
            net.get_buffer(name).uniform_(0.5, 2.0)
        net.memory_white.normal_()
    return net.eval()


def walk() -> Tensor:
    x = torch.randn(2, 60, 40, generator=torch.Generator().manual_seed(8))
    x[..., 36:] = 1.0
    x[0, 30:, 37] = 0.0
    return x


def heard(net: GaitNet) -> Tensor:
    with torch.no_grad():
        y: Tensor = net(walk(), net.start(2))[0]
    return y


@pytest.mark.parametrize("part", PARTS)
def test_what_is_put_on_changes_nothing_yet(part: Part) -> None:
    net = made_up()
    before = heard(net)
    tunable(net, part)
    torch.testing.assert_close(heard(net), before, atol=1e-6, rtol=0)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("part", PARTS)
def test_merged_weights_say_the_same_and_leave_the_graph_alone(part: Part, core: CoreName) -> None:
    net = made_up(core)
    names, before = list(net.state_dict()), heard(net)
    with torch.no_grad():
        for parameter in tunable(net, part):
            parameter.add_(0.1 * torch.randn_like(parameter))
    worn = heard(net)
    assert (worn - before).abs()[..., : 2 * len(ANGLES)].max() > 0.05
    merge(net)
    torch.testing.assert_close(heard(net), worn, atol=2e-5, rtol=1e-4)
    assert list(net.state_dict()) == names
    assert all(parameter.requires_grad for parameter in net.parameters())
    made_up(core).load_state_dict(net.state_dict())


@pytest.mark.parametrize("part", PARTS)
def test_only_the_part_learns_and_all_of_it(part: Part) -> None:
    net = made_up()
    found = tunable(net, part)
    before = {name: value.clone() for name, value in net.named_parameters()}
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)  # whatever it is given, frozen stays
    for _ in range(2):
        optimiser.zero_grad()
        y, _ = net(walk(), net.start(2))
        (y**2).mean().backward()
        optimiser.step()
    chosen = {id(parameter) for parameter in found}
    for name, parameter in net.named_parameters():
        assert (not torch.equal(parameter, before[name])) == (id(parameter) in chosen), name


def test_every_part_is_smaller_than_the_one_before() -> None:
    sizes = {part: sum(p.numel() for p in tunable(made_up(), part)) for part in PARTS}
    assert sizes["affine"] == 3 * len(ANGLES)
    assert sizes["norm"] == 3 * len(ANGLES) + 2 * 36
    assert sizes["norm"] < sizes["head"] < sizes["all"]
    assert sizes["low_rank"] < sizes["all"]


def test_the_spread_of_an_angle_does_not_grow_with_its_scale() -> None:
    net = made_up()
    before = heard(net)
    tunable(net, "affine")
    assert net.angle_scale is not None
    with torch.no_grad():
        net.angle_scale.gain[0] = 1.0
    for after in (heard(net), heard(merge(net))):
        changed = (after - before).abs().amax(dim=(0, 1)) > 1e-5
        assert torch.nonzero(changed).flatten().tolist() == [0]


def test_adapters_are_not_put_on_twice() -> None:
    net = made_up()
    tunable(net, "norm")
    with pytest.raises(ValueError, match="merge them first"):
        tunable(net, "low_rank")
    merge(net)
    tunable(net, "low_rank")


def walker(seed: int) -> Trial:
    """Make up somebody whose angles follow the features in a way of their own."""
    person, shared = np.random.default_rng(seed), np.random.default_rng(0)
    turn = 2.0 * np.pi * np.arange(800)[:, None] / 110.0
    motion = np.sin(turn * shared.integers(1, 4, 36) + shared.uniform(0.0, 6.0, 36))
    mix = shared.standard_normal((36, len(ANGLES))) / 6.0 + 0.1 * person.standard_normal((36, 10))
    unknown = np.full((800, 2), np.nan, np.float32)
    return Trial(
        person=f"Made{seed}",
        condition="walk",
        name=f"Made{seed}/walk",
        rate_hz=100.0,
        features=np.hstack([motion, np.ones((800, 4))]).astype(np.float32),
        angles_rad=(motion @ mix + 0.3 * person.standard_normal(10)).astype(np.float32),
        reference="given",
        calibration=None,  # type: ignore[arg-type]  # nothing is streamed
        contact=unknown,
        cycle=unknown,
    )


QUICK = {"batch": 8, "window": 96, "dropout": 0.0, "tilt_deg": 0.0}


@pytest.fixture(scope="module")
def base() -> GaitNet:
    return train([walker(1)], replace(MULTI_USER, hidden=10, layers=1, steps=50, **QUICK))


@pytest.mark.parametrize("part", PARTS)
def test_finetuning_any_part_helps_its_person(part: Part, base: GaitNet) -> None:
    mine = walker(2)
    quick = replace(FINETUNE, tune=part, steps=25, lr=1e-2, **QUICK)
    personal = finetune(base, [mine], quick)

    def error(net: GaitNet) -> float:
        return float(np.sqrt(np.nanmean((predict(net, mine.features) - mine.angles_rad) ** 2)))

    assert error(personal) < 0.95 * error(base)
    assert personal.state_dict().keys() == base.state_dict().keys()
    assert np.isfinite(outputs(personal, mine.features)).all()
