"""Tiny trainings on simulated people: the path, not the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from talaria_edge.features import FeatureStage, channels
from talaria_edge.kinematics import ANGLES
from talaria_training.data.recording import Recording
from talaria_training.networks import GaitNet
from talaria_training.train import (
    FINETUNE,
    MULTI_USER,
    SWAP_X,
    SWAP_Y,
    Windows,
    finetune,
    predict,
    train,
    turn_slots,
)
from talaria_training.trials import Trial, calibrate_recording, prepare, prepare_person

TINY = replace(MULTI_USER, hidden=16, layers=1, dropout=0.0, steps=60, batch=8, window=128)


@pytest.fixture(scope="module")
def net(trials: list[Trial]) -> GaitNet:
    return train(trials, TINY)


def rmse(net: GaitNet, trial: Trial) -> float:
    return float(np.sqrt(np.nanmean((predict(net, trial.features) - trial.angles_rad) ** 2)))


def test_training_beats_the_mean_angle(net: GaitNet, trials: list[Trial]) -> None:
    for trial in trials:
        assert rmse(net, trial) < 0.7 * float(trial.angles_rad.std(axis=0).mean())


def test_training_twice_gives_the_same_network(trials: list[Trial]) -> None:
    quick = replace(TINY, steps=5)
    one, other = train(trials, quick), train(trials, quick)
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_finetuning_helps_its_person_and_leaves_the_base_alone(trials: list[Trial]) -> None:
    base = train(trials[:1], TINY)
    before = {name: value.clone() for name, value in base.state_dict().items()}
    stranger = trials[1]
    personal = finetune(base, [stranger], replace(FINETUNE, steps=60, window=128, dropout=0.0))
    assert rmse(personal, stranger) < 0.8 * rmse(base, stranger)
    for name, value in base.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(personal.x_mean, base.x_mean)  # nothing of the person sets a scale


def test_one_step_at_a_time_equals_the_whole_recording(net: GaitNet, trials: list[Trial]) -> None:
    x = torch.from_numpy(trials[0].features[:300])
    state, steps = net.start(), []
    with torch.no_grad():
        for row in x:
            y, state = net(row[None, None], state)
            steps.append(y[0, 0].numpy())
    np.testing.assert_allclose(steps, predict(net, x.numpy()), atol=1e-5)


def test_the_future_cannot_reach_the_present(net: GaitNet, trials: list[Trial]) -> None:
    x = trials[0].features[:300].copy()
    before = predict(net, x)
    x[200:] += 5.0
    np.testing.assert_array_equal(predict(net, x)[:200], before[:200])


def test_features_never_use_a_later_sample(recordings: list[Recording]) -> None:
    """Everything a live device could not know is out: cut the recording, nothing before changes."""
    whole = recordings[0]
    trial = prepare_person([whole]).trials[0]
    calibration = calibrate_recording(whole)
    assert calibration is not None
    stage = FeatureStage(whole.rate_hz, calibration)
    live = [
        stage.update(a, g) for a, g in zip(whole.acc_ms2[:400], whole.gyr_rads[:400], strict=True)
    ]
    np.testing.assert_allclose(live, trial.features[:400], atol=1e-6)


def test_swapping_legs_twice_changes_nothing() -> None:
    names = [channel.name for channel in channels()]
    swapped = [names[i] for i in SWAP_X]
    assert swapped[0] == "femur_l.acc_x"
    assert [swapped[i] for i in SWAP_X] == names
    assert ANGLES[SWAP_Y[0]] == "hip_flexion_l"
    assert [[ANGLES[i] for i in SWAP_Y][j] for j in SWAP_Y] == list(ANGLES)


def test_a_turned_mounting_keeps_every_length(trials: list[Trial]) -> None:
    x = torch.from_numpy(trials[0].features[:10])[None]
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]).expand(1, 4, 3, 3)
    turned = turn_slots(x, quarter)
    before, after = (v.reshape(-1, 3).norm(dim=1) for v in (x, turned))
    torch.testing.assert_close(before, after)
    torch.testing.assert_close(turned[..., 0], -x[..., 1])


def test_unknown_angles_do_not_spoil_the_others(trials: list[Trial]) -> None:
    blind = trials[0].angles_rad.copy()
    blind[:, 3:] = np.nan
    net = train([replace(trials[0], angles_rad=blind)], replace(TINY, steps=5))
    assert np.isfinite(predict(net, trials[0].features[:50])).all()


def test_windows_come_from_inside_the_trials(trials: list[Trial]) -> None:
    x, y = Windows(trials, replace(TINY, tilt_deg=0.0, swap_legs=False))(32)
    known = np.concatenate([trial.angles_rad for trial in trials])
    assert x.shape == (32, 128, 36)
    assert np.isin(y[:, 0, 0].numpy(), known[:, 0]).all()


def test_prepared_people_are_kept_and_read_back_the_same(recordings: list[Recording]) -> None:
    short = [recordings[0]]
    first, again = prepare([short]), prepare([short])
    np.testing.assert_array_equal(first.trials[0].features, again.trials[0].features)
    np.testing.assert_array_equal(first.trials[0].angles_rad, again.trials[0].angles_rad)
    assert first.notes == again.notes


def test_a_dead_thigh_leaves_the_recording_out_by_name(recordings: list[Recording]) -> None:
    prepared = prepare_person([replace(recordings[0], dead_slots=("femur_l",))])
    assert prepared.trials == ()
    assert "femur_l" in prepared.notes[0]
