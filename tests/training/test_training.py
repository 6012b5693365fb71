"""Tiny trainings on simulated people: the path, not the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from talaria_edge.features import FeatureStage, channels
from talaria_edge.kinematics import ANGLES
from talaria_training.adapt import Part
from talaria_training.cores import CORES, CoreName
from talaria_training.data.recording import Contact, Recording
from talaria_training.networks import CONTACT_DELAY_S, GaitNet, head_columns
from talaria_training.train import (
    FINETUNE,
    MULTI_USER,
    SWAP_X,
    SWAP_Y,
    Windows,
    _angle_loss,
    _head_loss,
    _teacher_loss,
    at_pace,
    finetune,
    new_net,
    outputs,
    predict,
    train,
    turn_slots,
)
from talaria_training.trials import (
    Trial,
    calibrate_recording,
    gait_labels,
    prepare,
    prepare_person,
)

TINY = replace(
    MULTI_USER, hidden=16, layers=1, dropout=0.0, steps=80, batch=8, window=128, absent=0.1
)
QUICK = replace(FINETUNE, dropout=0.0, steps=10, batch=4, window=128)


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
    np.testing.assert_allclose(steps, outputs(net, x.numpy()), atol=1e-4)


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
    x = torch.from_numpy(trials[0].features[:10, :36])[None]
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
    batch = Windows(trials, replace(TINY, tilt_deg=0.0, swap_legs=False))(32)
    known = np.concatenate([trial.angles_rad for trial in trials])
    assert batch.x.shape == (32, 128, 40)
    assert np.isin(batch.angles[:, 0, 0].numpy(), known[:, 0]).all()


def test_labels_say_what_a_foot_did_and_where_in_its_cycle_it_was() -> None:
    walk = [
        Contact(0.095, "l", "initial"),
        Contact(0.695, "l", "final"),
        Contact(1.095, "l", "initial"),
        Contact(1.795, "l", "final"),
        Contact(9.0, "l", "initial"),  # after a pause: no swing, and no stride
    ]
    contact, cycle = gait_labels(walk, 1000, 100.0)
    assert np.isnan(contact[:, 0]).all()  # the right foot was on no plate
    assert np.isnan(contact[:10, 1]).all()
    assert contact[10:70, 1].tolist() == [1.0] * 60
    assert contact[70:110, 1].tolist() == [0.0] * 40
    assert np.isnan(contact[180:900, 1]).all()
    np.testing.assert_allclose(cycle[10:110, 1], np.arange(0.005, 1.0, 0.01), atol=1e-6)
    assert np.isnan(cycle[110:, 1]).all()


def test_swapped_windows_swap_the_labels_with_the_legs(trials: list[Trial]) -> None:
    plain = Windows(trials[:1], replace(TINY, tilt_deg=0.0, absent=0.0, swap_legs=False))(64)
    mixed = Windows(trials[:1], replace(TINY, tilt_deg=0.0, absent=0.0))(64)
    swapped = (mixed.angles != plain.angles).any(dim=-1).any(dim=-1)
    assert 20 < int(swapped.sum()) < 44
    assert torch.equal(mixed.x[swapped], plain.x[swapped][..., SWAP_X])
    torch.testing.assert_close(
        mixed.contact[swapped], plain.contact[swapped].flip(-1), equal_nan=True
    )
    torch.testing.assert_close(mixed.cycle[swapped], plain.cycle[swapped].flip(-1), equal_nan=True)


def test_contact_is_learned_with_hindsight(trials: list[Trial]) -> None:
    batch = Windows(trials[:1], replace(TINY, tilt_deg=0.0, absent=0.0, swap_legs=False))(1)
    whole = trials[0].features[:, 0]
    at = int(np.flatnonzero(np.isclose(whole, batch.x[0, 0, 0].item()))[0])
    delay = round(CONTACT_DELAY_S * 100)
    expected = trials[0].contact[at - delay : at - delay + 128]
    np.testing.assert_array_equal(batch.contact[0].numpy(), expected)


def test_some_windows_miss_sensors_and_none_misses_all(trials: list[Trial]) -> None:
    present = Windows(trials, replace(TINY, absent=0.5))(400).x[..., 36:]
    complete = present.bool().all(dim=-1).all(dim=-1)
    assert 140 < int(complete.sum()) < 260
    assert present.any(dim=-1).all()


def test_an_absent_sensor_is_not_looked_at(net: GaitNet, trials: list[Trial]) -> None:
    x = trials[0].features[:200].copy()
    x[:, 36 + 1] = 0.0
    before = outputs(net, x)
    x[:, 9:18] = 7.0
    np.testing.assert_array_equal(outputs(net, x), before)
    x[:, 0] += 1.0
    assert not np.array_equal(outputs(net, x), before)


def test_contacts_and_cycle_are_learned(trials: list[Trial]) -> None:
    net = train(trials, replace(TINY, steps=150, absent=0.0))
    y, trial = outputs(net, trials[0].features)[300:], trials[0]
    said, true = y[:, head_columns("contact")] > 0, trial.contact[297:-3]
    known = np.isfinite(true)
    assert (said == (true > 0.5))[known].mean() > 0.93
    c = y[:, head_columns("cycle")]
    off = np.arctan2(c[:, 1], c[:, 0]) / (2 * np.pi) - trial.cycle[300:, 0]
    off = (off[np.isfinite(off)] + 0.5) % 1 - 0.5
    assert np.sqrt(np.mean(off**2)) < 0.06


def test_finetuning_keeps_the_base_s_word_on_contact(trials: list[Trial]) -> None:
    base = train(trials[:1], TINY)
    nowhere = np.full_like(trials[1].contact, np.nan)
    blind = replace(trials[1], contact=nowhere, cycle=nowhere)
    quick = replace(FINETUNE, steps=60, window=128, dropout=0.0)
    personal = finetune(base, [blind], quick)
    again = finetune(base, [trials[1]], quick)
    heads = slice(head_columns("contact").start, head_columns("gait_class").stop)
    x = trials[1].features
    np.testing.assert_array_equal(outputs(personal, x), outputs(again, x))  # no plate is looked at
    moved = np.abs(outputs(personal, x)[300:, heads] - outputs(base, x)[300:, heads]).mean()
    assert moved < 0.4 * np.abs(outputs(base, x)[300:, heads]).mean()


def test_novelty_tells_a_strange_movement_from_a_walk(net: GaitNet, trials: list[Trial]) -> None:
    usual = outputs(net, trials[0].features)[300:, head_columns("novelty")]
    assert 0.7 < float(np.mean(usual**2)) < 1.4  # about 1 on what it was trained on
    strange = trials[0].features.copy()
    strange[:, 3:6] *= 3.0
    strange[:, 21:24] *= -2.0
    assert outputs(net, strange)[300:, head_columns("novelty")].mean() > 1.3 * usual.mean()


def test_a_few_own_seconds_do_not_make_the_rest_of_the_walk_strange(
    net: GaitNet, trials: list[Trial]
) -> None:
    """Six seconds are no ellipsoid of sixteen dimensions: the base's counts as well."""
    mine = trials[0]
    short = mine.part(0.3, 0.3 + 600 / len(mine.features))
    personal = finetune(net, [short], replace(QUICK, steps=5))
    novelty = outputs(personal, mine.features)[600:, head_columns("novelty")]
    assert np.isfinite(novelty).all()
    assert np.median(novelty) < 1.5


def test_a_watch_is_called_and_can_stop(trials: list[Trial]) -> None:
    seen: list[tuple[int, bool]] = []

    def watch(step: int, net: GaitNet) -> bool:
        seen.append((step, net.training))
        return step >= 20

    taken: list[int] = []
    train(trials[:1], replace(TINY, watch_every=10), lambda step, *_: taken.append(step), watch)
    assert seen == [(10, False), (20, False)]
    assert taken[-1] == 20


def test_a_training_can_set_out_from_another_network(net: GaitNet, trials: list[Trial]) -> None:
    still = train(trials[:1], replace(TINY, steps=1, lr=0.0, weight_decay=0.0), start=net)
    np.testing.assert_allclose(still.head.weight.detach(), net.head.weight.detach())
    np.testing.assert_array_equal(still.x_mean, net.x_mean)


@pytest.mark.parametrize("what", ["affine", "norm", "low_rank", "head"])
def test_part_of_a_network_can_learn_and_comes_back_whole(
    net: GaitNet, trials: list[Trial], what: Part
) -> None:
    config = replace(QUICK, tune=what, lr=1e-2)
    personal = finetune(net, trials[:1], config)
    assert personal.state_dict().keys() == net.state_dict().keys()
    assert not np.allclose(predict(personal, trials[0].features), predict(net, trials[0].features))


def test_a_faster_pace_is_the_same_posture_with_faster_rates() -> None:
    """A pendulum with a sensor: what it reads at 1.2 times the pace is known in closed form."""
    t_s = np.arange(0, 4, 0.01)
    for swing_hz, played in ((1.0, 1.2),):
        slow, fast = (_pendulum(t_s, swing_hz * factor) for factor in (1.0, played))
        again = _pendulum(t_s * played, swing_hz)
        moved = at_pace(torch.from_numpy(again), played).numpy()
        np.testing.assert_allclose(moved, fast, atol=1e-4)
        assert not np.allclose(slow, fast, atol=0.1)


def _pendulum(t_s: NDArray[np.float64], swing_hz: float) -> NDArray[np.float32]:
    """Read a sensor on a half-metre pendulum, about z: features of one slot repeated for four."""
    w = 2 * np.pi * swing_hz
    angle, rate, turn = (
        0.4 * np.sin(w * t_s),
        0.4 * w * np.cos(w * t_s),
        -0.4 * w**2 * np.sin(w * t_s),
    )
    up = np.stack([np.sin(angle), np.cos(angle), 0 * angle], axis=1)
    moved = np.stack([0.5 * turn, 0.5 * rate**2, 0 * angle], axis=1)
    gyr = np.stack([0 * angle, 0 * angle, rate], axis=1)
    slot = np.concatenate([9.80665 * up + moved, gyr, up], axis=1)
    return np.concatenate([np.tile(slot, 4), np.ones((len(t_s), 4))], axis=1).astype(np.float32)


def test_windows_at_many_paces_keep_their_labels(trials: list[Trial]) -> None:
    config = replace(TINY, pace=0.2, noise=0.0, tilt_deg=0.0, swap_legs=False, absent=0.0)
    batch = Windows(trials, config)(16)
    assert batch.x.shape == (16, 128, 40)
    rate = batch.x[..., 2 * 9 + 5]  # about the flexion axis of the right foot
    known = torch.isfinite(batch.angles).all()
    assert known
    assert set(batch.contact.nan_to_num(-1.0).unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert rate.abs().max() > 1.0


@pytest.mark.parametrize("core", CORES)
def test_a_step_of_training_stays_on_the_device_of_its_network(
    trials: list[Trial], core: CoreName
) -> None:
    config = replace(TINY, core=core)
    there = torch.device("meta")  # which refuses, as a GPU does, to mix with the CPU
    net = new_net(trials[0].features.shape[1], config).to(there)
    batch = Windows(trials, config)(2).to(there)
    y, _ = net(batch.x, net.start(2))
    judged = slice(config.warmup, None)
    loss = _angle_loss(net, y[:, judged], batch.angles[:, judged], config)
    loss = loss + _head_loss(y[:, judged], batch, judged)
    loss = loss + _teacher_loss(y[:, judged], net, batch.x, judged)
    loss.backward()
    assert all(p.grad is None or p.grad.device == there for p in net.parameters())


def test_prepared_people_are_kept_and_read_back_the_same(recordings: list[Recording]) -> None:
    short = [recordings[0]]
    first, again = prepare([short]), prepare([short])
    np.testing.assert_array_equal(first.trials[0].features, again.trials[0].features)
    np.testing.assert_array_equal(first.trials[0].angles_rad, again.trials[0].angles_rad)
    np.testing.assert_array_equal(first.trials[0].contact, again.trials[0].contact)
    assert first.trials[0].contacts == again.trials[0].contacts != ()
    assert first.notes == again.notes


def test_a_dead_thigh_leaves_the_recording_out_by_name(recordings: list[Recording]) -> None:
    prepared = prepare_person([replace(recordings[0], dead_slots=("femur_l",))])
    assert prepared.trials == ()
    assert "femur_l" in prepared.notes[0]
