"""A recorded session is held against a population, by the angles a model estimates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_edge.spec import METADATA_KEY
from talaria_training import artefacts
from talaria_training.commands import app
from talaria_training.networks import GaitNet
from talaria_training.strides import events
from talaria_training.strides.cut import Cutting, cut_strides
from talaria_training.strides.signals import Signals
from talaria_training.strides.table import StrideTable
from talaria_training.trials import Trial


def drop(said: str) -> None:
    """Drop a note."""


@pytest.fixture(scope="module")
def net(trials: list[Trial]) -> GaitNet:
    """Untrained: its angles are some function of the sensors, which is all this asks of them."""
    torch.manual_seed(0)
    return GaitNet(trials[0].features.shape[1], 8, 2, 0.0).eval()


@pytest.fixture(scope="module")
def model(net: GaitNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights alone, which is what is read; an export takes long."""
    spec = artefacts.model_spec(net, artefacts.Provenance("tiny", "nothing", ("Sim11",), 100.0))
    about = {"core": net.core, "layers": str(net.layers), "hidden": str(net.hidden)}
    folder = tmp_path_factory.mktemp("models")
    said = about | {METADATA_KEY: spec.model_dump_json()}
    save_file(net.state_dict(), folder / artefacts.WEIGHTS_FILE, metadata=said)
    return folder


@pytest.fixture(scope="module")
def population(net: GaitNet, trials: list[Trial], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six people, made of two walkers' strides of both legs."""
    table = cut_strides(trials, {}, Cutting(Signals.ESTIMATE), net, drop)
    dealt = np.array([f"P{k // 2 % 6}" for k in range(len(table))])
    condition = np.full(len(table), "normal")
    columns = dict(table.columns) | {"person": dealt, "condition": condition}
    file = tmp_path_factory.mktemp("tables") / "population.npz"
    replace(table, columns=columns).save(file)
    return file


@pytest.fixture(autouse=True)
def contacts_by_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained network knows of no contacts."""
    monkeypatch.setattr(events, "_by_network", lambda trial, net: events._by_rules(trial))


def command(*arguments: object) -> Any:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*map(str, arguments)])


def test_a_session_is_held_against_a_population_by_estimated_angles(
    session_folder: Path, population: Path, model: Path, tmp_path: Path
) -> None:
    report, numbers, own = tmp_path / "ann.html", tmp_path / "ann.json", tmp_path / "ann.npz"
    files = ("--report", report, "--json", numbers)
    done = command("explain", session_folder, "--against", population, "--estimator", model, *files)
    assert done.exit_code == 0, done.exception
    assert "ann against 6 people" in report.read_text(encoding="utf-8")
    found = json.loads(numbers.read_text(encoding="utf-8"))
    assert found["person"] == "ann"
    assert min(found["strides"].values()) > 10
    assert "estimated by a model" in found["said"]["caveats"][0]
    cut = ("strides", "make", "--from", "session", session_folder, "--out", own)
    assert command(*cut, "--signals", "estimate", "--model", model).exit_code == 0
    table = StrideTable.load(own)
    right = table.values[table.column("side") == "r"].mean(axis=0)
    curves = {c["channel"]: c["person"] for c in found["legs"]["curves"] if c["side"] == "right"}
    for channel, mean in zip(table.channels, right, strict=True):
        np.testing.assert_allclose(curves[channel.name], mean, rtol=1e-3, atol=1e-3)


def test_a_session_without_angles_asks_for_an_estimator(
    session_folder: Path, population: Path, tmp_path: Path
) -> None:
    report = ("--report", tmp_path / "o.html")
    done = command("explain", session_folder, "--against", population, *report)
    assert isinstance(done.exception, RecordingError)
    assert "explain --estimator" in str(done.exception)


def test_options_that_would_do_nothing_are_refused(
    session_folder: Path, population: Path, tmp_path: Path
) -> None:
    report = ("--report", tmp_path / "o.html")
    for arguments, said in (
        ((population, "--person", "P0"), "--person is about the person held --against"),
        ((population, "--estimator", "m"), "--estimator is about the person held --against"),
        ((population, "--against", population, "--estimator", "m"), "is a stride table"),
    ):
        done = command("explain", *arguments, *report)
        assert isinstance(done.exception, ConfigError)
        assert said in str(done.exception)


def test_a_session_alone_is_no_table(session_folder: Path, tmp_path: Path) -> None:
    done = command("explain", session_folder, "--report", tmp_path / "o.html")
    assert isinstance(done.exception, RecordingError)
    assert "it is a folder" in str(done.exception)
