"""What is released is what was trained, and says so."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from talaria_bridge.errors import ExportError, ModelContractError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.model import StreamingModel
from talaria_training import artefacts
from talaria_training.demo import choose_base
from talaria_training.networks import GaitNet
from talaria_training.train import MULTI_USER, outputs, train
from talaria_training.trials import Trial

TINY = replace(MULTI_USER, hidden=12, layers=2, steps=3, batch=4, window=64, warmup=8)
ABOUT = artefacts.Provenance("tiny", "two simulated walkers", ("Sim11", "Sim12"), 100.0)


@pytest.fixture(scope="module")
def net(trials: list[Trial]) -> GaitNet:
    return train(trials, TINY)


@pytest.fixture(scope="module")
def folder(net: GaitNet, trials: list[Trial], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "tiny"
    return artefacts.release(net, ABOUT, place, [trials[0].features[:300]])


def test_torch_and_onnxruntime_agree_over_a_whole_recording(
    net: GaitNet, folder: Path, trials: list[Trial]
) -> None:
    model = StreamingModel.load(folder, slots=LEG_SLOTS, rate_hz=100.0)
    streamed = np.array([model.step(x) for x in trials[1].features])
    assert np.abs(streamed - outputs(net, trials[1].features)).max() < 1e-4


def test_weights_come_back_the_same(net: GaitNet, folder: Path) -> None:
    again, spec = artefacts.load(folder)
    assert spec.people == ("Sim11", "Sim12")
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_a_personal_model_is_never_taken_for_a_base(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "base")
    shutil.copytree(folder, tmp_path / "personal")
    (tmp_path / "personal" / f"{artefacts.ACCEPTED}.json").write_text("{}")
    assert [place.name for place, _ in artefacts.bases(tmp_path)] == ["base"]
    found = choose_base(tmp_path, "Sim99")
    assert found is not None
    assert found.name == "base"


def test_checksums_and_card_are_true(folder: Path) -> None:
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    card = (folder / "card.md").read_text()
    assert "two simulated walkers" in card
    assert "| hip_adduction_r | adduction + | lower |" in card


def test_a_model_that_computes_something_else_is_not_released(
    net: GaitNet, trials: list[Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefacts, "outputs", lambda net, x: outputs(net, x) + 2e-4)
    with pytest.raises((ExportError, ModelContractError)):
        artefacts.release(net, ABOUT, tmp_path / "bad", [trials[0].features[:50]])
    assert not (tmp_path / "bad").exists()


def test_parity_is_checked_on_recordings_and_not_only_on_the_vector(
    net: GaitNet, folder: Path, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefacts, "outputs", lambda net, x: outputs(net, x) + 2e-4)
    with pytest.raises(ExportError, match=r"differ by 2\.\d+e-04 rad"):
        artefacts.check_parity(net, folder / "model.onnx", 100.0, [trials[0].features[:50]])


def test_nothing_to_check_means_nothing_is_released(net: GaitNet, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no recording"):
        artefacts.release(net, ABOUT, tmp_path / "bad", [])


@pytest.mark.parametrize("content", [None, b"not weights"])
def test_missing_or_foreign_weights_end_in_a_sentence(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelContractError, match="missing or not a safetensors file"):
        artefacts.load(tmp_path)


def test_a_model_names_no_file_of_the_machine_that_made_it(folder: Path) -> None:
    assert b"talaria_training/" not in (folder / "model.onnx").read_bytes()
