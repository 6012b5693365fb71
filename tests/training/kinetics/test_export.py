"""What is released of a force network is what was trained, and the runtime takes it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from talaria_bridge.errors import ExportError, ModelContractError, RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.features import channels
from talaria_edge.force_band import FORCE_BAND_FILE, load_force_band
from talaria_edge.model import StreamingModel
from talaria_edge.spec import Intervals
from talaria_training import artefacts
from talaria_training.kinetics import export
from talaria_training.kinetics.force_files import ForceProvenance
from talaria_training.kinetics.force_net import ForceNet, force_outputs
from talaria_training.kinetics.targets import OUTPUTS, ForceTrial
from talaria_training.train import MULTI_USER

WIDTH = len(channels(LEG_SLOTS))
ABOUT = ForceProvenance(
    "tiny-forces",
    "nobody",
    ("Sim11",),
    100.0,
    Intervals(level=0.9, factor=dict.fromkeys(OUTPUTS, 2.0), protocol="made up"),
    (("anterior", 1.5), ("lateral", 1.0), ("vertical", 3.5)),
)


@pytest.fixture(scope="module")
def net() -> ForceNet:
    torch.manual_seed(3)
    return ForceNet(WIDTH, replace(MULTI_USER, hidden=8, layers=2)).eval()


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    values = np.random.default_rng(5).standard_normal((200, WIDTH)).astype(np.float32)
    values[:, -4:] = 1.0
    return values


@pytest.fixture(scope="module")
def folder(net: ForceNet, x: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("forces") / "tiny"
    export.release_forces(net, 3, ABOUT, place, [x], {"force_band.json": {"people": 0}})
    return place


def test_the_runtime_streams_what_torch_gives(net: ForceNet, folder: Path, x: np.ndarray) -> None:
    model = StreamingModel.load(folder, slots=LEG_SLOTS, rate_hz=100.0, gives="forces")
    streamed = np.array([model.step(row) for row in x])
    assert np.abs(streamed - force_outputs(net, x)).max() < 1e-4


def test_the_spec_says_what_comes_out_and_of_when(folder: Path) -> None:
    spec = StreamingModel.load(folder, slots=LEG_SLOTS, rate_hz=100.0, gives="forces").spec
    assert tuple(output.name for output in spec.outputs) == OUTPUTS
    assert {output.unit for output in spec.outputs} == {"BW"}
    assert spec.delay_s == pytest.approx(0.03)
    assert spec.columns("spread") == slice(6, 12)
    assert spec.columns("contact") == slice(12, 14)
    assert spec.held_out is not None
    assert spec.held_out.mae["grf_vertical_l"] == pytest.approx(0.035)


def test_a_force_model_is_refused_where_angles_belong(folder: Path) -> None:
    with pytest.raises(ModelContractError, match="--kinetics"):
        StreamingModel.load(folder, slots=LEG_SLOTS, rate_hz=100.0)


def test_weights_come_back_the_same(net: ForceNet, folder: Path) -> None:
    again, spec = export.load_forces(folder)
    assert spec.people == ("Sim11",)
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_checksums_card_and_what_lies_beside_are_true(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert {line.split()[1] for line in lines} == {
        "card.md",
        "model.onnx",
        "model.safetensors",
        "force_band.json",
    }
    for line in lines:
        digest, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    card = (folder / "card.md").read_text()
    assert "| grf_vertical_r | up + | 3.50 % BW |" in card
    assert "30 ms before" in card


def test_a_network_that_computes_something_else_is_not_released(
    net: ForceNet, x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = export.force_outputs
    calls = []

    def off(net: ForceNet, features: np.ndarray) -> np.ndarray:
        calls.append(1)
        return true(net, features) + (2e-4 if len(calls) > 1 else 0.0)  # the parity vector is sound

    monkeypatch.setattr(export, "force_outputs", off)
    with pytest.raises(ExportError, match=r"differ by 2\.\d+e-04 BW"):
        export.release_forces(net, 3, ABOUT, tmp_path / "bad", [x])
    assert not (tmp_path / "bad").exists()


def test_nothing_to_check_means_nothing_is_released(net: ForceNet, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no recording"):
        export.release_forces(net, 3, ABOUT, tmp_path / "bad", [])


def test_weights_of_something_else_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelContractError, match="gives forces and was named where a model that"):
        artefacts.load(folder)
    assert list(artefacts.bases(folder.parent)) == []
    with pytest.raises(ModelContractError, match="no force network"):
        export.load_forces(tmp_path)


def walker(person: str, peak: float) -> ForceTrial:
    share = np.linspace(0.0, 1.0, 70)
    one = np.zeros((110, 6), np.float32)
    one[20:90, 2] = peak * np.sin(np.pi * share) + 0.02
    one[20:90, 0] = -0.2 * np.sin(2 * np.pi * share)
    force = np.vstack([one] * 5)
    force[:, 3:] = np.roll(force[:, :3], 55, axis=0)
    return ForceTrial(person, f"{person}/walk", "walk", 100.0, 70.0, force, (0.0, 0.0), ())


def test_a_band_is_the_people_s_mean_and_the_runtime_reads_it(tmp_path: Path) -> None:
    people = [walker("A", 1.0), walker("A", 1.0), walker("B", 1.2)]
    band = export.force_band(people, "two made-up people")
    (tmp_path / FORCE_BAND_FILE).write_text(json.dumps(band))
    read = load_force_band(tmp_path)
    assert read is not None
    assert read.protocol == "two made-up people"
    assert read.metrics["peak_bw"] == pytest.approx(
        (1.12, 0.1), abs=2e-3
    )  # A's two walks count as one
    assert "second_peak_bw" not in read.metrics  # a bow has but one
    assert read.curves["vertical"].mean_bw[50] == pytest.approx(1.12, abs=2e-3)
    assert read.curves["anterior"].sd_bw[25] == pytest.approx(0.0, abs=1e-6)


def test_no_stance_makes_no_band() -> None:
    standing = walker("A", 0.0)
    with pytest.raises(RecordingError, match="no band of usual walking"):
        export.force_band([standing], "")
