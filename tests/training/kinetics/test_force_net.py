"""Networks from sensors to forces: streaming, mirrors, training, files. Tiny nets on made-up walks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from talaria_bridge.errors import RecordingError
from talaria_training.cores import CoreName
from talaria_training.kinetics import force_costs, force_files
from talaria_training.kinetics.force_data import CARRIED, Walk, carried, first_forces
from talaria_training.kinetics.force_net import (
    CONTACT,
    FORCES,
    MATCHED,
    ForceConfig,
    ForceNet,
    aligned,
    force_outputs,
    train_forces,
    tune_forces,
    with_core,
)
from talaria_training.kinetics.targets import OUTPUTS
from talaria_training.train import SWAP_Y, TrainConfig
from talaria_training.trials import Trial

_TINY = TrainConfig(
    hidden=16, layers=1, steps=50, batch=8, window=96, warmup=24, lr=1e-2, dropout=0.0, absent=0.0
)
_CONFIG = ForceConfig(windows=_TINY)


@pytest.fixture(scope="module")
def walks(trials: list[Trial]) -> list[Walk]:
    """Walks whose forces follow from the contacts, so that there is something to learn."""
    made = []
    for trial in trials:
        down = np.nan_to_num(trial.contact)
        share = down / np.maximum(down.sum(axis=1, keepdims=True), 1.0)
        force = np.zeros((len(down), len(OUTPUTS)), np.float32)
        for i in range(2):
            force[:, 3 * i : 3 * i + 3] = share[:, i : i + 1] * [0.1, -0.05, 1.0]
        force[~np.isfinite(trial.contact).all(axis=1)] = np.nan
        made.append(Walk(trial, force, 70.0))
    return made


def _random_net(core: CoreName) -> ForceNet:
    torch.manual_seed(1)
    return ForceNet(40, replace(_TINY, core=core, hidden=16, layers=2)).eval()


def _features(length: int) -> torch.Tensor:
    torch.manual_seed(2)
    x = torch.randn(1, length, 40)
    x[..., 36:] = 1.0
    return x


@pytest.mark.parametrize("core", MATCHED)
@torch.no_grad()
def test_a_stream_gives_the_same_forces_as_a_batch(core: CoreName) -> None:
    net, x = _random_net(core), _features(200)
    whole, _ = net(x, net.start())
    state, streamed = net.start(), []
    for i in range(x.shape[1]):
        y, state = net(x[:, i : i + 1], state)
        streamed.append(y)
    assert torch.allclose(torch.cat(streamed, dim=1), whole, atol=1e-5)


@pytest.mark.parametrize("core", MATCHED)
@torch.no_grad()
def test_what_comes_later_changes_no_force(core: CoreName) -> None:
    net, x = _random_net(core), _features(60)
    other = x.clone()
    other[:, 40:] += 1.0
    before, after = net(x, net.start())[0], net(other, net.start())[0]
    assert torch.allclose(before[:, :40], after[:, :40], atol=1e-6)
    assert not torch.allclose(before[:, 40:], after[:, 40:], atol=1e-3)


@torch.no_grad()
def test_a_foot_believed_in_the_air_carries_nothing() -> None:
    net = _random_net("lstm")
    net.heads.bias[CONTACT.start] = -30.0
    y, _ = net(_features(50), net.start())
    assert y[..., :3].abs().max() < 1e-6
    assert y[..., 3:6].abs().max() > 1e-3


@torch.no_grad()
def test_what_stands_in_an_absent_sensors_channels_is_of_no_account() -> None:
    net, x = _random_net("lstm"), _features(50)
    x[..., 36] = 0.0
    other = x.clone()
    other[..., :9] = 7.0
    assert torch.equal(net(x, net.start())[0], net(other, net.start())[0])


def test_the_matched_sizes_have_about_the_same_parameters() -> None:
    sizes = [
        sum(p.numel() for p in ForceNet(40, with_core(ForceConfig(), core, 0).windows).parameters())
        for core in MATCHED
    ]
    assert max(sizes) < 1.06 * min(sizes)


def test_mirrored_legs_change_the_places_of_their_forces_and_no_sign(walks: list[Walk]) -> None:
    walk = replace(walks[0], force_bw=np.arange(600, dtype=np.float32).reshape(100, 6))
    force = carried(walk, 0).angles_rad
    assert np.array_equal(force[:, CARRIED], walk.force_bw)
    mirrored = force[:, SWAP_Y][:, CARRIED]
    assert np.array_equal(mirrored, walk.force_bw[:, [3, 4, 5, 0, 1, 2]])


def test_hindsight_and_its_removal_cancel(walks: list[Walk]) -> None:
    walk = walks[0]
    back = aligned(carried(walk, 4).angles_rad[:, CARRIED], 4)
    assert np.isnan(back[-4:]).all()
    assert np.array_equal(back[:-4], walk.force_bw[:-4], equal_nan=True)


def test_training_learns_who_carries_the_weight(walks: list[Walk]) -> None:
    net = train_forces(walks[:1], _CONFIG)
    y = force_outputs(net, walks[1].trial.features)[:, FORCES]
    late = slice(1000, None)
    error = np.nanmean(np.abs(y[late] - walks[1].force_bw[late]), axis=0)[[2, 5]]
    always_half = np.nanmean(np.abs(0.5 - walks[1].force_bw[late]), axis=0)[[2, 5]]
    assert (error < 0.5 * always_half).all()


def test_the_same_seed_trains_the_same_network(walks: list[Walk]) -> None:
    short = replace(_CONFIG, windows=replace(_TINY, steps=3, layers=2, dropout=0.2))
    first, again = (train_forces(walks, short).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_scales_come_from_the_walks_trained_on_alone(walks: list[Walk]) -> None:
    net = train_forces(walks[:1], replace(_CONFIG, windows=replace(_TINY, steps=2)))
    x = walks[0].trial.features
    assert np.allclose(net.x_mean.numpy(), x.mean(axis=0), atol=1e-4)
    assert torch.equal(net.y_std[:3], net.y_std[3:])


def test_fine_tuning_leaves_the_base_as_it_is(walks: list[Walk]) -> None:
    base = train_forces(walks[:1], replace(_CONFIG, windows=replace(_TINY, steps=2)))
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    tuned = tune_forces(base, walks[1:], replace(_CONFIG, windows=replace(_TINY, steps=2)))
    assert all(torch.equal(before[name], tensor) for name, tensor in base.state_dict().items())
    assert not torch.equal(tuned.heads.weight, base.heads.weight)


def test_samples_without_a_plate_teach_nothing(walks: list[Walk]) -> None:
    blind = replace(walks[0], force_bw=np.full_like(walks[0].force_bw, np.nan))
    seen = train_forces(walks[:1], replace(_CONFIG, windows=replace(_TINY, steps=1)))
    still = {name: tensor.clone() for name, tensor in seen.state_dict().items()}
    calm = replace(_CONFIG, windows=replace(_TINY, steps=3, weight_decay=0.0))
    after = tune_forces(seen, [blind], calm).state_dict()
    assert all(torch.equal(still[name], after[name]) for name in still)


def test_a_persons_own_seconds_lie_in_the_first_two_fifths(walks: list[Walk]) -> None:
    parts = first_forces(walks[:1], 10.0)
    assert len(parts[0].force_bw) == len(parts[0].trial.features) == 1000
    much = first_forces(walks[:1], 1000.0)
    assert len(much[0].force_bw) <= 0.4 * len(walks[0].force_bw)


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(ValueError, match="no walks"):
        train_forces([], _CONFIG)


_ABOUT = force_files.ForceProvenance("forces-test", "made-up walks", ("Sim11",), 100.0)


def test_a_card_quotes_the_approach_it_is_of_and_all_walking(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    summary = [
        {"approach": approach, "condition": condition, "axis": "vertical", "mae_bw_pct": error}
        for approach, condition, error in (
            ("lstm", "all", 3.1),
            ("lstm", "walking", 2.0),
            ("ssm", "all", 4.0),
        )
    ]
    held = {"approach": "lstm", "output": OUTPUTS[2], "level": 0.9, "factor": 2.5}
    document = {"summary": summary, "intervals": [held], "people": ["Sim11", "Sim12"]}
    file.write_text(json.dumps(document))
    about = force_files.known_of(file, "lstm", _ABOUT)
    assert about.held_out_bw_pct == (("vertical", 3.1),)
    assert about.intervals is not None
    assert about.intervals.factor == {OUTPUTS[2]: 2.5}


def test_a_step_is_timed_on_the_very_network_the_study_trains() -> None:
    found = force_costs.cost("lstm", ForceConfig(), steps=120)
    assert (found.hidden, found.layers) == MATCHED["lstm"]
    assert found.state_values == 4 * found.hidden
    assert found.step_us > 0.0


def test_a_report_of_something_else_gives_no_card_its_errors(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("{}")
    with pytest.raises(RecordingError, match="kinetics evaluate"):
        force_files.known_of(file, "lstm", _ABOUT)
