"""The published checkpoints: read safely, fitted exactly, exported faithfully."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv1d, layer_norm, linear, relu, silu, softplus

from talaria_bridge.errors import ExportError, ModelContractError, RecordingError
from talaria_training.kinetics import cycle_models
from talaria_training.kinetics.cycle_models import CycleModel, made_up_cycles, release
from talaria_training.kinetics.cycle_nets import PUBLISHED, CycleNet, answers
from talaria_training.kinetics.gait2hip import INPUTS
from talaria_training.kinetics.published import (
    Checkpoint,
    network,
    read_checkpoint,
    read_checkpoints,
)
from talaria_training.kinetics.selective_scan import scan

ARCHIVE = "gait2hip60_weights.zip"
NAMES = [f"{net}_{task}60" for task in ("JM", "MF") for net in ("LSTM", "Mamba", "Transformer")]
SMALL: dict[str, dict[str, float]] = {
    "lstm": {"hidden": 6, "layers": 2, "dropout": 0.1},
    "transformer": {
        "d_model": 8,
        "nhead": 2,
        "num_layers": 1,
        "dim_feedforward": 8,
        "max_len": 180,
        "dropout": 0.1,
    },
    "mamba": {"d_model": 4, "d_state": 3, "d_conv": 4, "expand": 2, "layers": 2, "dropout": 0.1},
}


@pytest.fixture(scope="session")
def released(data_root: Path) -> dict[str, Checkpoint]:
    return {c.name: c for c in read_checkpoints(data_root / ARCHIVE)}


def written(architecture: str = "lstm", **changes: Any) -> bytes:
    """A checkpoint of the published layout, of a tiny network."""
    torch.manual_seed(3)
    mean, spread = np.zeros(10, np.float32), np.ones(10, np.float32)
    net = CycleNet(architecture, SMALL[architecture], mean, spread, 1)
    said = {
        "model_type": architecture,
        "target_unit": "Nm/kg",
        "state_dict": net.core.state_dict(),
        "mu_x": mean,
        "sd_x": spread,
        "in_cols": list(INPUTS),
        "out_cols": ["hip_flexion_r_moment"],
        "hparams": {**SMALL[architecture], "d_in": 10, "d_out": 1, "T": 180},
        "test_subjects": ["H29"],
        "test_metrics_subject_mean": {"RMSE": 0.1, "MAE": 0.05, "R2": 0.8},
    }
    buffer = io.BytesIO()
    torch.save(said | changes, buffer)
    return buffer.getvalue()


# A plain reading: tensors by the names in the file, and the formulas of the papers, one sample at a time.


def read_plainly(said: Checkpoint, x_deg: NDArray[np.float32]) -> NDArray[np.float64]:
    w = {name: tensor.double() for name, tensor in said.tensors.items()}
    x = torch.from_numpy((x_deg - said.mean_deg) / said.spread_deg).double()
    plain = {"lstm": plain_lstm, "transformer": plain_transformer, "mamba": plain_mamba}
    return plain[said.architecture](w, x).numpy()


def plain_lstm(w: dict[str, Tensor], x: Tensor) -> Tensor:
    for layer in range(2):
        suffix, out = f"_l{layer}", []
        h = c = torch.zeros(len(x), 128, dtype=torch.float64)
        for t in range(x.shape[1]):
            into = linear(x[:, t], w[f"lstm.weight_ih{suffix}"], w[f"lstm.bias_ih{suffix}"])
            back = linear(h, w[f"lstm.weight_hh{suffix}"], w[f"lstm.bias_hh{suffix}"])
            i, f, g, o = (into + back).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            out.append(h)
        x = torch.stack(out, 1)
    return linear(x, w["fc.weight"], w["fc.bias"])


def plain_transformer(w: dict[str, Tensor], x: Tensor) -> Tensor:
    x = linear(x, w["input_proj.weight"], w["input_proj.bias"])
    x = x + w["pos_encoder.pos_embed.weight"][: x.shape[1]]
    for layer in range(2):
        own = {
            k.removeprefix(p): v
            for k, v in w.items()
            if k.startswith(p := f"encoder.layers.{layer}.")
        }
        mixed = linear(x, own["self_attn.in_proj_weight"], own["self_attn.in_proj_bias"])
        heads = []
        for head in range(4):
            q, k, v = (part[..., 32 * head : 32 * head + 32] for part in mixed.split(128, -1))
            heads.append((q @ k.transpose(1, 2) / 32**0.5).softmax(-1) @ v)
        seen = linear(
            torch.cat(heads, -1), own["self_attn.out_proj.weight"], own["self_attn.out_proj.bias"]
        )
        x = layer_norm(x + seen, (128,), own["norm1.weight"], own["norm1.bias"])
        wide = relu(linear(x, own["linear1.weight"], own["linear1.bias"]))
        narrow = linear(wide, own["linear2.weight"], own["linear2.bias"])
        x = layer_norm(x + narrow, (128,), own["norm2.weight"], own["norm2.bias"])
    return linear(x, w["output_proj.weight"], w["output_proj.bias"])


def plain_mamba(w: dict[str, Tensor], x: Tensor) -> Tensor:
    x = linear(x, w["input_proj.weight"], w["input_proj.bias"])
    for layer in range(2):
        own = {k.removeprefix(p): v for k, v in w.items() if k.startswith(p := f"blocks.{layer}.")}
        u, gate = linear(x, own["in_proj.weight"]).split(256, -1)
        early = torch.nn.functional.pad(u.transpose(1, 2), (3, 0))
        u = silu(conv1d(early, own["conv1d.weight"], own["conv1d.bias"], groups=256)).transpose(
            1, 2
        )
        low, write, read = linear(u, own["x_proj.weight"]).split([8, 16, 16], -1)
        step = softplus(linear(low, own["dt_proj.weight"], own["dt_proj.bias"]))
        memory, out = torch.zeros(len(x), 256, 16, dtype=torch.float64), []
        for t in range(x.shape[1]):
            kept = torch.exp(step[:, t, :, None] * -own["A_log"].exp())
            memory = kept * memory + step[:, t, :, None] * write[:, t, None] * u[:, t, :, None]
            out.append((memory * read[:, t, None]).sum(-1) + own["D"] * u[:, t])
        x = x + linear(torch.stack(out, 1) * silu(gate), own["out_proj.weight"])
    normed = layer_norm(x, (128,), w["norm.weight"], w["norm.bias"])
    return linear(normed, w["output_proj.weight"], w["output_proj.bias"])


@pytest.mark.parametrize("name", NAMES)
def test_every_released_model_in_onnxruntime_equals_a_plain_reading_of_its_checkpoint(
    released: dict[str, Checkpoint], tmp_path: Path, name: str
) -> None:
    said = released[name]
    release(said, tmp_path / name)
    model = CycleModel.load(tmp_path / name)
    x = made_up_cycles(said.mean_deg, said.spread_deg, count=3)
    plain = read_plainly(said, x)
    scale = np.abs(plain).max()
    assert scale > 0.3
    for some in (x, x[:1]):
        assert np.abs(model.answer(some) - plain[: len(some)]).max() <= 1e-5 * scale


def test_released_settings_are_the_published_ones_and_every_unit_is_per_kilogram(
    released: dict[str, Checkpoint],
) -> None:
    assert sorted(released) == sorted(NAMES)
    for name, said in released.items():
        assert dict(said.settings) == dict(PUBLISHED[said.architecture])
        assert said.unit == ("Nm/kg" if "JM" in name else "N/kg")
        assert len(said.outputs) == (3 if "JM" in name else 14)


@pytest.mark.parametrize("length", [1, 11, 12, 13, 180])
def test_the_scan_equals_a_loop_and_forgets_at_any_rate(length: int) -> None:
    random = np.random.default_rng(length)
    decay = torch.from_numpy(random.uniform(0.0, 1.0, (2, length, 3, 4)) ** 8)
    new = torch.from_numpy(random.standard_normal((2, length, 3, 4)))
    memory, loop = torch.zeros(2, 3, 4, dtype=torch.float64), []
    for t in range(length):
        memory = decay[:, t] * memory + new[:, t]
        loop.append(memory)
    torch.testing.assert_close(scan(decay, new), torch.stack(loop, 1))


@pytest.mark.parametrize("architecture", SMALL)
def test_a_model_folder_says_what_it_is_and_its_sums_hold(
    tmp_path: Path, architecture: str
) -> None:
    said = read_checkpoint("x/tiny.pt", written(architecture))
    release(said, tmp_path / "tiny")
    assert sorted(p.name for p in (tmp_path / "tiny").iterdir()) == [
        "SHA256SUMS",
        "card.md",
        "model.onnx",
        "model.safetensors",
    ]
    model = CycleModel.load(tmp_path / "tiny")
    assert model.spec.outputs == ("hip_flexion_r_moment",)
    card = (tmp_path / "tiny" / "card.md").read_text(encoding="utf-8")
    assert "180" in card
    assert "Nm/kg" in card
    x = made_up_cycles(said.mean_deg, said.spread_deg, count=3)
    np.testing.assert_allclose(model.answer(x), answers(network(said), x), atol=1e-6)
    with pytest.raises(ModelContractError, match=r"not an array of shape \(3, 90, 10\)"):
        model.answer(x[:, ::2])


def test_degrees_go_in_and_the_scaling_is_inside_the_graph(tmp_path: Path) -> None:
    mean, spread = np.linspace(-5, 20, 10, dtype=np.float32), np.full(10, 7.0, np.float32)
    plain = read_checkpoint("plain.pt", written())
    scaled = read_checkpoint("scaled.pt", written(mu_x=mean, sd_x=spread))
    release(scaled, tmp_path)
    z = made_up_cycles(plain.mean_deg, plain.spread_deg, count=2)
    deg = (mean + spread * z).astype(np.float32)
    wanted = answers(network(plain), z)
    np.testing.assert_allclose(CycleModel.load(tmp_path).answer(deg), wanted, atol=1e-5)


def test_a_graph_that_disagrees_is_not_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(net: CycleNet, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return answers(net, x) * np.float32(1.0001)

    monkeypatch.setattr(cycle_models, "answers", off)
    with pytest.raises(ExportError, match="is not released"):
        release(read_checkpoint("tiny.pt", written()), tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()


class _Harm:
    """What a pickle can do: write a file when it is read."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.victim,))


def test_a_checkpoint_that_would_run_code_is_refused_unread(tmp_path: Path) -> None:
    victim = tmp_path / "harmed"
    with pytest.raises(RecordingError, match="to read that is to run it"):
        read_checkpoint("evil.pt", written(extra=_Harm(victim)))
    with pytest.raises(RecordingError, match="is not read as a checkpoint"):
        read_checkpoint("evil.pt", pickle.dumps(_Harm(victim)))
    assert not victim.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "gru"}, "KeyError: 'gru'"),
        ({"in_cols": list(INPUTS[::-1])}, "its inputs are 180 points of ankle_angle_l"),
        ({"target_unit": "Nm"}, "its outputs are in Nm"),
        ({"mu_x": np.zeros(9, np.float32)}, "ValueError"),
        ({"hparams": {"T": 180}}, "KeyError: 'hidden'"),
        ({"state_dict": None}, "TypeError"),
    ],
)
def test_another_kind_of_checkpoint_is_refused_in_one_sentence(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecordingError, match="is no checkpoint of Gait2Hip-60") as caught:
        read_checkpoint("odd.pt", written(**changes))
    assert said in str(caught.value)


def test_every_tensor_is_accounted_for() -> None:
    said = read_checkpoint("tiny.pt", written())
    tensors = dict(said.tensors)
    bias = tensors.pop("fc.bias")
    for odd, what in (
        (tensors, "no fc.bias"),
        ({**said.tensors, "fc.extra": bias}, "an unknown fc.extra"),
        ({**said.tensors, "fc.bias": torch.zeros(2)}, r"fc.bias of shape \(2,\) instead of \(1,\)"),
    ):
        with pytest.raises(RecordingError, match=what):
            network(replace(said, tensors=odd))


def test_files_that_hold_no_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be read"):
        read_checkpoints(tmp_path / "none.pt")
    (tmp_path / "bad.zip").write_text("no zip")
    with pytest.raises(RecordingError, match="cannot be read"):
        read_checkpoints(tmp_path / "bad.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(RecordingError, match=r"holds no checkpoint \(\.pt\)"):
        read_checkpoints(tmp_path / "empty.zip")
    (tmp_path / "torn.pt").write_bytes(written()[:500])
    with pytest.raises(RecordingError, match="damaged or of another kind"):
        read_checkpoints(tmp_path / "torn.pt")


def test_a_folder_that_is_no_cycle_model_is_refused(tmp_path: Path, data_root: Path) -> None:
    with pytest.raises(ModelContractError, match="cannot be opened as an ONNX model"):
        CycleModel.load(tmp_path)
    live = Path(__file__).parents[3] / "models" / "talaria-legs-2" / "model.onnx"
    with pytest.raises(ModelContractError, match="is no model of whole cycles"):
        CycleModel.load(live)


def test_settings_that_make_no_network_are_refused() -> None:
    ones = np.ones(10, np.float32)
    with pytest.raises(ModelContractError, match="There is no architecture 'gru'"):
        CycleNet("gru", {}, ones, ones, 1)
    with pytest.raises(ModelContractError, match="hidden does not agree"):
        CycleNet("lstm", {"layers": 1, "dropout": 0.0}, ones, ones, 1)
    with pytest.raises(ModelContractError, match="make no transformer"):
        CycleNet("transformer", {**SMALL["transformer"], "nhead": 3}, ones, ones, 1)


def test_the_spec_in_the_graph_is_that_beside_the_weights(tmp_path: Path) -> None:
    from safetensors import safe_open

    release(read_checkpoint("tiny.pt", written()), tmp_path)
    with safe_open(str(tmp_path / "model.safetensors"), framework="pt") as opened:
        said = json.loads(opened.metadata()[cycle_models.METADATA_KEY])
    assert said["architecture"] == "lstm"
    assert tuple(said["inputs"]) == CycleModel.load(tmp_path).spec.inputs
