"""The denoiser and its training on made-up gait: sines that a mirror, a mask and a mean know about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from talaria_bridge.errors import ConfigError, ExportError, ModelContractError
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import CHANNELS, FORCES, WINDOW, Conditions, columns
from talaria_training.generate import release as releases
from talaria_training.generate.batches import Draw, FitConfig, scale_of, source_weights
from talaria_training.generate.denoiser import (
    KINEMATICS,
    Denoiser,
    DenoiserConfig,
    ForceRefiner,
)
from talaria_training.generate.fit import (
    Hidden,
    denoising_loss,
    fit,
    fit_refiner,
    hide,
    rate_at,
)
from talaria_training.generate.masks import draw_known
from talaria_training.generate.release import (
    About,
    Forces,
    denoise_of,
    forces_of,
    generator_of,
    load_denoiser,
    load_forces,
    release,
)
from talaria_training.generate.windows import Windows

KNEE = CHANNELS.index("knee_angle_r")
TINY = DenoiserConfig(patch=10, width=16, layers=1, heads=2, feed_forward=32)
SMALL = DenoiserConfig(patch=10, width=32, layers=2, heads=2, feed_forward=64)
ABOUT = About("made-up", "sines", ("a", "b", "a"), ("anything but sines",))
_FORCE, _KINEMATIC = columns(FORCES), columns(KINEMATICS)


def _sines(count: int, seed: int) -> Windows:
    """Legs half a stride apart, at a swing that the speed gives."""
    rng = np.random.default_rng(seed)
    t_s = np.arange(WINDOW)[:, None] / 100.0
    hz, begin, speed = rng.uniform([[0.7], [0.0], [0.8]], [[1.3], [1.0], [1.8]], (3, count))
    later = np.array([0.5 * name.endswith("_l") for name in CHANNELS])
    cycle = hz[:, None, None] * t_s + begin[:, None, None] + later
    values = 0.3 * speed[:, None, None] * np.sin(2 * np.pi * cycle)
    numbers = np.stack([speed, hz, np.full(count, 1.7), np.full(count, np.nan)], axis=1)
    person = np.array([f"p{i % 4}" for i in range(count)])
    zero = np.zeros(count, np.int64)
    values, numbers = values.astype(np.float32), numbers.astype(np.float32)
    return Windows(values, numbers, zero, person, person, zero)


def _awake(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give every weight a value: a new network says 0 whatever it is asked."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in net.parameters():
            weight.normal_(0.0, 0.1)
    return net.eval()


@pytest.fixture(scope="module")
def windows() -> Windows:
    return _sines(300, 0)


def test_a_trained_denoiser_fills_a_missing_knee_far_better_than_the_mean(
    windows: Windows,
) -> None:
    seen: list[int] = []
    config = FitConfig(steps=250, batch=16, lr=5e-3, warmup=20, ema=0.97)
    net, scale = fit(windows, config, SMALL, progress=lambda step, *_: seen.append(step))
    assert seen == list(range(1, 251))
    model, others = generator_of(net, scale, ABOUT), _sines(6, 1)
    off, mean_off = [], []
    for values in others.values:
        gap = values.copy()
        gap[:, KNEE] = np.nan
        drawn = model.fill(gap, Conditions(), 4, np.random.default_rng(0), steps=8)
        off.append(np.mean((drawn[..., KNEE].mean(axis=0) - values[:, KNEE]) ** 2))
        mean_off.append(np.mean((scale.mean[KNEE] - values[:, KNEE]) ** 2))
    assert np.sqrt(np.mean(off)) < 0.4 * np.sqrt(np.mean(mean_off))


def test_forces_are_learned_from_kinematics_with_gaps(windows: Windows) -> None:
    config = FitConfig(steps=150, batch=16, lr=5e-3, warmup=10, ema=0.95)
    net, scale = fit_refiner(windows, config, SMALL)
    others = _sines(16, 1)
    x = torch.from_numpy(scale.normalised(others.values))
    given = x[..., _KINEMATIC].clone()
    known = torch.ones_like(given)
    known[..., 0] = given[..., 0] = 0.0
    asked = scale.asked(others.numbers, others.style)
    with torch.no_grad():
        said = net(
            given,
            known,
            torch.from_numpy(asked.numbers),
            torch.from_numpy(asked.numbers_known),
            torch.from_numpy(asked.style),
        )
    assert (said - x[..., _FORCE]).square().mean() < 0.2 * x[..., _FORCE].square().mean()


def test_training_that_stopped_ends_where_training_that_did_not(
    windows: Windows, tmp_path: Path
) -> None:
    config = FitConfig(steps=6, batch=4, warmup=2, save_every=3)
    whole, _ = fit(windows, config, TINY)

    def stop(step: int, total: int, loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    file, done = tmp_path / "kept" / "state.pt", []
    with pytest.raises(KeyboardInterrupt):
        fit(windows, config, TINY, file, progress=stop)
    again, _ = fit(windows, config, TINY, file, progress=lambda step, *_: done.append(step))
    assert done == [4, 5, 6]
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [path.name for path in file.parent.iterdir()] == ["state.pt"]


def test_another_trainings_state_is_refused(windows: Windows, tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    config = FitConfig(steps=2, batch=2, save_every=1)
    fit(windows, config, TINY, file)
    fit(windows, replace(config, save_every=2), TINY, file)
    with pytest.raises(ConfigError, match="other settings"):
        fit(windows, replace(config, lr=1e-5), TINY, file)
    with pytest.raises(ConfigError, match="other windows"):
        fit(_sines(300, 5), config, TINY, file)
    file.write_bytes(b"no state")
    with pytest.raises(ConfigError, match="begin anew"):
        fit(windows, config, TINY, file)


def test_nothing_to_learn_from_is_refused(windows: Windows) -> None:
    with pytest.raises(ConfigError, match="no window"):
        fit(windows.of(["nobody"]), FitConfig(steps=1), TINY)
    bare = windows.select(np.arange(4))
    bare.values[..., _FORCE] = np.nan
    with pytest.raises(ConfigError, match="no window"):
        fit_refiner(bare, FitConfig(steps=1), TINY)
    with pytest.raises(ConfigError, match="p1 has windows and no weight"):
        fit(windows, FitConfig(steps=1), TINY, weights={"p0": 1.0})


def test_what_was_not_measured_is_neither_shown_nor_judged(windows: Windows) -> None:
    gaps = windows.select(np.arange(8))
    gaps.values[:, :, KNEE] = np.nan
    gaps.values[:, 50:90, 2] = np.nan
    rng = np.random.default_rng(0)
    batch = Draw(gaps, FitConfig(batch=8), None)(rng)
    hidden = hide(batch, rng)
    assert torch.isfinite(batch.x).all()
    assert (hidden.known <= batch.measured).all()
    assert (batch.measured == 0).any()
    net = _awake(Denoiser(TINY))
    said: list[torch.Tensor] = []
    net.register_forward_hook(lambda _net, _inputs, y: (y.retain_grad(), said.append(y))[1])
    denoising_loss(1.0)(net, batch, hidden).backward()
    judged = said[0].grad != 0
    assert not (judged & (batch.measured == 0)).any()
    assert not (judged & (hidden.known == 1)).any()
    assert judged[(batch.measured == 1) & (hidden.known == 0)].all()


def test_what_was_not_measured_looks_like_noise_of_its_step(windows: Windows) -> None:
    gaps = windows.select(np.arange(8))
    gaps.values[:, :, KNEE] = np.nan
    batch = Draw(gaps, FitConfig(batch=8), None)(np.random.default_rng(0))
    noise = torch.randn(batch.x.shape, generator=torch.Generator().manual_seed(0))
    hidden = Hidden(torch.zeros_like(batch.x), noise, torch.full((8,), 500))
    seen: list[torch.Tensor] = []
    net = _awake(Denoiser(TINY))
    net.register_forward_pre_hook(lambda _net, inputs: seen.append(inputs[0]))
    denoising_loss(1.0)(net, batch, hidden)
    unmeasured = batch.measured == 0
    share = (seen[0] / noise)[unmeasured]
    assert share.std() < 1e-5
    assert 0.0 < share.mean() < 1.0


def test_masks_ask_every_kind_of_question() -> None:
    known = draw_known(400, np.random.default_rng(0))
    force = np.isin(np.arange(len(CHANNELS)), _FORCE)
    constant = known[:, :1].repeat(WINDOW, axis=1) == known
    by_channel = constant.all(axis=(1, 2))
    nothing = ~known.any(axis=(1, 2))
    forces = by_channel & (known[:, 0] == ~force).all(axis=1)
    one_joint = by_channel & ((~known[:, 0]).sum(axis=1) == 1)
    stretch = (known.all(axis=2) | ~known.any(axis=2)).all(axis=1) & ~by_channel
    both = ~by_channel & ~stretch
    assert 0.2 < nothing.mean() < 0.3
    assert 0.05 < forces.mean() < 0.2
    assert one_joint.sum() >= 4
    assert 0.12 < stretch.mean() < 0.28
    assert 0.05 < both.mean() < 0.25
    assert not known.all(axis=(1, 2)).mean() > 0.05


def test_means_are_those_of_windows_and_their_mirror_images(windows: Windows) -> None:
    tilted = windows.select(np.arange(20))
    tilted.values[..., CHANNELS.index("pelvis_list")] += 0.5
    tilted.values[..., KNEE] += 1.0
    tilted.values[:10, :, CHANNELS.index("knee_angle_l")] = np.nan
    tilted.values[..., CHANNELS.index("velocity_up")] = np.nan
    scale = scale_of(tilted)
    left = CHANNELS.index("knee_angle_l")
    assert scale.mean[CHANNELS.index("pelvis_list")] == pytest.approx(0.0, abs=1e-6)
    assert scale.std[CHANNELS.index("pelvis_list")] > 0.5
    assert scale.mean[KNEE] == scale.mean[left]
    # Twice as many right knees as left ones were measured.
    assert scale.mean[KNEE] == pytest.approx(2.0 / 3.0, abs=0.05)
    assert (scale.mean[14], scale.std[14]) == (0.0, 1.0)
    assert (scale.numbers_mean[3], scale.numbers_std[3]) == (0.0, 1.0)


def test_people_are_drawn_as_they_weigh(windows: Windows) -> None:
    one_person = np.flatnonzero(windows.person == "p0")[:1]
    rows = np.concatenate([one_person, np.flatnonzero(windows.person == "p1")[:64]])
    few = windows.select(rows)
    few.style[0] = 3
    config = FitConfig(batch=900, forget_all=0.0, forget_each=0.0)
    rng = np.random.default_rng(0)
    share = float((Draw(few, config, None)(rng).style == 4).float().mean())
    assert share == pytest.approx(1.0 / 9.0, abs=0.04)
    even = Draw(few, config, source_weights({"p0": "one", "p1": "other"}, {"one": 1, "other": 1}))
    assert float((even(rng).style == 4).float().mean()) == pytest.approx(0.5, abs=0.06)


def test_a_source_counts_as_it_weighs_however_many_people_it_has() -> None:
    found = source_weights({"a": "lab", "b": "lab", "c": "track"}, {"lab": 1.0, "track": 3.0})
    assert found == {"a": 0.5, "b": 0.5, "c": 3.0}


def test_a_mirrored_stiff_knee_is_the_other_knees(windows: Windows) -> None:
    stiff = windows.select(np.arange(1))
    stiff.style[:] = 1
    stiff.values[..., KNEE] = 0.0
    config = FitConfig(batch=64, forget_all=0.0, forget_each=0.0)
    batch = Draw(stiff, config, None)(np.random.default_rng(0))
    swing = batch.x.std(dim=1)
    right = swing[:, KNEE] < swing[:, CHANNELS.index("knee_angle_l")]
    assert 10 < int(right.sum()) < 54
    assert torch.equal(right, batch.style == 2)
    assert torch.equal(~right, batch.style == 3)


def test_conditions_are_forgotten_now_and_then(windows: Windows) -> None:
    batch = Draw(windows, FitConfig(batch=2000), None)(np.random.default_rng(0))
    told = batch.numbers_known.numpy()
    assert told[:, 3].sum() == 0
    assert told[:, :3].mean() == pytest.approx(0.9 * 0.8, abs=0.03)
    assert (told.sum(axis=1) + batch.style.numpy() == 0).mean() > 0.09
    assert not batch.numbers[batch.numbers_known == 0].any()


def test_the_rate_rises_and_falls() -> None:
    config = FitConfig(steps=100, warmup=10, lr=1.0)
    rates = [rate_at(step, config) for step in range(100)]
    assert rates[9] == rates[10] == 1.0
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] < 1e-3


def test_a_style_and_a_number_change_what_is_said() -> None:
    net = _awake(Denoiser(TINY))
    x, given, known, step, numbers, there, style = releases.example(1)
    with torch.no_grad():
        said = net(x, given, known, step, numbers, there, style)
        for other in (
            net(x, given, known, step, numbers, there, style + 1),
            net(x, given, known, step, numbers + 1, there, style),
            net(x, given, known, step + 300, numbers, there, style),
            net(x, given, known, step, numbers, there * 0, style),
        ):
            assert (said - other).abs().max() > 1e-3
        hidden = net(x, given, known, step, numbers + 1, there * 0, style)
    assert torch.equal(hidden, other)


def test_a_refiner_has_the_shape_of_the_forces() -> None:
    given = torch.zeros(2, WINDOW, len(KINEMATICS))
    numbers, style = torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)
    assert ForceRefiner(TINY)(given, given, numbers, numbers, style).shape == (2, WINDOW, 6)


def test_a_released_model_says_in_onnxruntime_what_it_says_in_torch(
    windows: Windows, tmp_path: Path
) -> None:
    net, folder = _awake(Denoiser(TINY)), tmp_path / "made-up"
    worst = release(net, scale_of(windows), ABOUT, folder)
    assert worst < 1e-4
    names = {"SHA256SUMS", "card.md", "model.onnx", "model.safetensors", "spec.json"}
    assert {path.name for path in folder.iterdir()} == names
    model, again = Generator.open(folder), load_denoiser(folder)[0]
    inputs = tuple(tensor.numpy() for tensor in releases.example(3))
    np.testing.assert_array_equal(denoise_of(again)(*inputs), denoise_of(net)(*inputs))
    gap = windows.values[0].copy()
    gap[:, KNEE] = np.nan
    by_torch = generator_of(net, scale_of(windows), ABOUT)
    drawn, wanted = (
        one.fill(gap, Conditions(), 3, np.random.default_rng(0)) for one in (model, by_torch)
    )
    np.testing.assert_allclose(drawn, wanted, atol=1e-3)
    assert model.spec.people == ("a", "b")
    assert "anything but sines" in (folder / "card.md").read_text()
    assert not any(b"/tmp/" in path.read_bytes() for path in folder.iterdir())


def test_a_released_network_of_forces_says_in_onnxruntime_what_it_says_in_torch(
    windows: Windows, tmp_path: Path
) -> None:
    half = windows.select(np.arange(100))
    scales = scale_of(windows), scale_of(half)
    forces = Forces(_awake(ForceRefiner(TINY)), scales[1])
    about = replace(ABOUT, force_widening={"grf_vertical_r": 2.5})
    net, folder = _awake(Denoiser(TINY)), tmp_path / "made-up"
    assert release(net, scales[0], about, folder, forces) < 1e-4
    names = {"SHA256SUMS", "card.md", "model.onnx", "model.safetensors", "spec.json"}
    both = names | {"forces.onnx", "forces.safetensors"}
    assert {path.name for path in folder.iterdir()} == both
    model, again = Generator.open(folder), load_forces(folder)[0]
    inputs = tuple(tensor.numpy() for tensor in releases.example_kinematics(3))
    np.testing.assert_array_equal(forces_of(again)(*inputs), forces_of(forces.net)(*inputs))
    assert load_denoiser(folder)[1] == model.spec
    by_torch = generator_of(net, scales[0], ABOUT, forces)
    values = windows.values[0].copy()
    values[:, KNEE] = np.nan
    told, wanted = (one.forces(values, Conditions(1.0)) for one in (model, by_torch))
    np.testing.assert_allclose(told, wanted, atol=1e-4)
    assert np.ptp(told) > 0
    assert model.spec.forces is not None
    assert model.spec.forces.widening == {"grf_vertical_r": 2.5}
    assert (
        f"{sum(p.numel() for p in forces.net.parameters()):,}" in (folder / "card.md").read_text()
    )
    assert not any(b"/tmp/" in path.read_bytes() for path in folder.iterdir())


def test_a_graph_of_forces_that_differs_is_not_released(
    windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale, other = scale_of(windows), forces_of(_awake(ForceRefiner(TINY), seed=1))
    monkeypatch.setattr(releases, "open_forces", lambda _file: other)
    forces = Forces(_awake(ForceRefiner(TINY)), scale)
    with pytest.raises(ExportError, match="differ"):
        release(_awake(Denoiser(TINY)), scale, ABOUT, tmp_path / "made-up", forces)
    assert not (tmp_path / "made-up").exists()


def test_a_graph_that_differs_is_not_released(
    windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = denoise_of(_awake(Denoiser(TINY), seed=1))
    monkeypatch.setattr(releases, "open_denoiser", lambda _file: other)
    with pytest.raises(ExportError, match="differ"):
        release(_awake(Denoiser(TINY)), scale_of(windows), ABOUT, tmp_path / "made-up")
    assert not (tmp_path / "made-up").exists()


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    for load in (load_denoiser, load_forces):
        with pytest.raises(ModelContractError, match="holds no generative model"):
            load(tmp_path)
