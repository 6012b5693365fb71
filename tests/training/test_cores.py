"""Five memories, one contract: the same whatever way a stretch is fed, and blind to the future."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from talaria_bridge.errors import ModelContractError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.model import StreamingModel
from talaria_training import artefacts, core_figures
from talaria_training.attention import WINDOW
from talaria_training.cores import CORES, MATCHED, CoreName, build
from talaria_training.networks import GaitNet
from talaria_training.train import outputs

ABOUT = artefacts.Provenance("made-up", "noise", ("Nobody",), 100.0)
LENGTH = 330  # longer than two windows of attention, and no multiple of any block
MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(5)
    with torch.no_grad():
        yield


def lively(name: CoreName, channels: int = 6, hidden: int = 8, layers: int = 2) -> nn.Module:
    """Build a core in which everything counts: no weight is left at a neutral start."""
    core = build(name, channels, hidden, layers, 0.0).eval()
    for parameter in core.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return core


def start(core: nn.Module, batch: int) -> Tensor:
    rows, width = core.state_shape
    return torch.zeros(rows, batch, width)


@pytest.mark.parametrize("name", CORES)
def test_a_stretch_is_the_same_sample_by_sample(name: CoreName) -> None:
    core, x = lively(name), torch.randn(2, LENGTH, 6)
    whole, last = core(x, start(core, 2))
    state, steps = start(core, 2), []
    for t in range(LENGTH):
        y, state = core(x[:, t : t + 1], state)
        steps.append(y)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(state, last, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CORES)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cuts=st.sets(st.integers(1, LENGTH - 1), max_size=6))
def test_a_stretch_is_the_same_in_any_chunks(name: CoreName, cuts: set[int]) -> None:
    torch.manual_seed(6)
    core, x = lively(name), torch.randn(1, LENGTH, 6)
    whole, _ = core(x, start(core, 1))
    state, chunks = start(core, 1), []
    edges = [0, *sorted(cuts), LENGTH]
    for a, b in pairwise(edges):
        y, state = core(x[:, a:b], state)
        chunks.append(y)
    torch.testing.assert_close(torch.cat(chunks, dim=1), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", CORES)
def test_the_present_depends_on_the_past_and_not_on_the_future(name: CoreName) -> None:
    core, x = lively(name), torch.randn(1, LENGTH, 6)
    before, _ = core(x, start(core, 1))
    changed = x.clone()
    changed[:, 200:] += 3.0
    after, _ = core(changed, start(core, 1))
    torch.testing.assert_close(after[:, :200], before[:, :200], atol=1e-6, rtol=0)
    changed = x.clone()
    changed[:, 200] += 3.0
    after, _ = core(changed, start(core, 1))
    assert (after[:, 201:204] - before[:, 201:204]).abs().min() > 0


@pytest.mark.parametrize("name", CORES)
def test_walkers_in_a_batch_do_not_meet(name: CoreName) -> None:
    core, x = lively(name), torch.randn(3, 150, 6)
    first, state = core(x[:, :70], start(core, 3))
    second, _ = core(x[:, 70:], state)
    for i in range(3):
        alone, own = core(x[i : i + 1, :70], start(core, 1))
        torch.testing.assert_close(alone, first[i : i + 1], atol=1e-5, rtol=0)
        torch.testing.assert_close(own, state[:, i : i + 1], atol=1e-5, rtol=1e-5)
        later, _ = core(x[i : i + 1, 70:], own)
        torch.testing.assert_close(later, second[i : i + 1], atol=1e-5, rtol=0)


def test_attention_does_not_look_at_positions_that_are_not_there() -> None:
    core, x = lively("transformer"), torch.randn(1, 5, 6)
    garbage = torch.randn_like(start(core, 1))
    garbage[-1] = 0.0  # nothing is there, whatever stands there
    torch.testing.assert_close(core(x, garbage)[0], core(x, start(core, 1))[0])
    garbage[-1] = 1.0  # now the newest of each layer counts
    assert not torch.allclose(core(x, garbage)[0], core(x, start(core, 1))[0], atol=1e-3)


def test_attention_forgets_what_is_out_of_its_window() -> None:
    core, x = lively("transformer", layers=1), torch.randn(1, LENGTH, 6)
    before, _ = core(x, start(core, 1))
    x[:, 100] += 3.0
    after, _ = core(x, start(core, 1))
    moved = (after - before).abs().amax(dim=-1)[0] > 1e-6
    assert torch.nonzero(moved).flatten().tolist()[:: WINDOW - 1] == [100, 100 + WINDOW - 1]


def test_convolutions_reach_as_far_as_they_say() -> None:
    core, x = lively("tcn", layers=4), torch.randn(1, LENGTH, 6)
    before, _ = core(x, start(core, 1))
    x[:, 10] += 50.0
    after, _ = core(x, start(core, 1))
    moved = torch.nonzero((after - before).abs().amax(dim=-1)[0]).flatten()
    assert moved[0] == 10
    assert moved[-1] == 10 + core.state_shape[0]
    assert core.state_shape[0] == 255


@pytest.mark.parametrize("name", CORES)
def test_no_memory_runs_away(name: CoreName) -> None:
    core = lively(name)
    y, state = core(100.0 * torch.randn(1, 3000, 6), start(core, 1))
    assert torch.isfinite(y).all()
    assert torch.isfinite(state).all()


@pytest.mark.parametrize("name", CORES)
@torch.enable_grad()
def test_every_weight_learns_and_the_past_can_be_recalled(name: CoreName) -> None:
    core = build(name, 2, 16, 1, 0.0)
    out = nn.Linear(16, 2)
    optimiser = torch.optim.Adam([*core.parameters(), *out.parameters()], lr=2e-2)
    errors = []
    for step in range(100):
        x = torch.randn(8, 16, 2)
        y = out(core(x, start(core, 8))[0])
        error = ((y[:, 2:] - x[:, :-2]) ** 2).mean()
        optimiser.zero_grad()
        error.backward()
        if step == 1:
            for label, parameter in core.named_parameters():
                assert parameter.grad is not None, label
                assert torch.isfinite(parameter.grad).all(), label
                assert parameter.grad.abs().max() > 0, label
        optimiser.step()
        errors.append(error.item())
    assert np.mean(errors[-10:]) < 0.2 * np.mean(errors[:3])


@pytest.mark.parametrize("name", CORES)
def test_every_core_streams_in_onnxruntime_as_in_torch(name: CoreName, tmp_path: Path) -> None:
    net = GaitNet(40, *MATCHED[name], dropout=0.2, core=name).eval()
    for parameter in net.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    x = np.random.default_rng(1).standard_normal((LENGTH, 40)).astype(np.float32)
    x[:, 36:] = 1.0
    folder = artefacts.release(net, ABOUT, tmp_path / name, [x])
    model = StreamingModel.load(folder, slots=LEG_SLOTS, rate_hz=100.0)
    model.step(5.0 * x[0])
    model.reset()
    streamed = np.array([model.step(row) for row in x])
    np.testing.assert_allclose(streamed, outputs(net, x), atol=1e-5)
    assert (folder / "model.onnx").stat().st_size < 1_000_000
    assert f"{name.upper()} {net.layers} × {net.hidden}" in (folder / "card.md").read_text()
    again, _ = artefacts.load(folder)
    assert again.core == name
    np.testing.assert_array_equal(outputs(again, x), outputs(net, x))


@pytest.mark.parametrize("name", CORES)
def test_matched_sizes_match(name: CoreName) -> None:
    def size(which: CoreName) -> int:
        net = GaitNet(40, *MATCHED[which], core=which)
        return sum(parameter.numel() for parameter in net.parameters())

    assert abs(size(name) / size("gru") - 1.0) < 0.02


def test_the_gru_is_torch_s_own_under_its_old_names() -> None:
    net = GaitNet(40, 8, 2, 0.0).eval()
    plain = nn.GRU(40, 8, 2, batch_first=True)
    weights = {f"gru.{name}": value for name, value in plain.state_dict().items()}
    assert weights.keys() == {key for key in net.state_dict() if key.startswith("gru.")}
    net.load_state_dict(weights, strict=False)
    x = torch.randn(1, 50, 40)
    x[..., 36:] = 1.0
    assert torch.equal(net.memory(x), plain(x)[0])


@pytest.mark.parametrize("folder", sorted(MODELS.glob("talaria-legs-*/model.safetensors")))
def test_released_weights_still_give_what_they_gave(folder: Path) -> None:
    net, spec = artefacts.load(folder.parent)
    assert spec.parity is not None
    y = outputs(net, np.array(spec.parity.x, np.float32))[-1]
    np.testing.assert_allclose(y, spec.parity.y, atol=1e-5)


def test_a_core_of_a_later_version_ends_in_a_sentence() -> None:
    with pytest.raises(ModelContractError, match="core 'rwkv', and this version knows only gru"):
        artefacts.core_named("rwkv", Path("model.safetensors"))


@torch.enable_grad()
def test_a_core_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_figures, "CORES", ("lstm",))
    (row,) = core_figures.measure(steps=110, rounds=1)
    assert (row.core, row.state_values) == ("lstm", 4 * row.hidden)
    assert row.step_us > 0
    assert row.windows_per_s > 0
    assert 4 * row.parameters < row.onnx_bytes < 1_000_000
    assert core_figures.table([row]).row_count == 1


@pytest.mark.parametrize("name", ["transformer", "ssm"])
def test_units_that_cannot_be_shared_are_refused(name: CoreName) -> None:
    with pytest.raises(ValueError, match="cannot be shared among"):
        build(name, 6, 9, 1, 0.0)


def test_a_core_nobody_made_is_refused() -> None:
    with pytest.raises(ValueError, match="no core 'rwkv'"):
        build("rwkv", 6, 8, 1, 0.0)  # type: ignore[arg-type]
