"""What a run left for TensorBoard can be read back."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from talaria_bridge.errors import ConfigError
from talaria_training.runlog import open_run
from talaria_training.train import MULTI_USER


def read(folder: Path) -> Any:
    reader = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    return events


@pytest.fixture
def needs_tensorboard() -> None:
    pytest.importorskip("tensorboard", reason="the logs extra is not installed")


@pytest.mark.usefixtures("needs_tensorboard")
def test_loss_errors_and_settings_can_be_read_back(tmp_path: Path) -> None:
    with open_run(tmp_path, "base", MULTI_USER) as run:
        for step in (1, 2, 3):
            run.progress(step, 3, 1.0 / step)
        run.scalar("held_out_deg", 3, 4.5)
    events = read(tmp_path / "base")
    assert [(e.step, e.value) for e in events.Scalars("loss")][:2] == [(1, 1.0), (2, 0.5)]
    assert [(e.step, e.value) for e in events.Scalars("held_out_deg")] == [(3, 4.5)]
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert f"| hidden | {MULTI_USER.hidden} |" in text


@pytest.mark.usefixtures("needs_tensorboard")
def test_a_run_of_the_same_name_never_mixes_with_an_older_one(tmp_path: Path) -> None:
    for _ in range(3):
        with open_run(tmp_path, "tune/Anna", {"steps": 1}) as run:
            run.progress(1, 1, 1.0)
    assert sorted(p.name for p in (tmp_path / "tune").iterdir()) == ["Anna", "Anna-2", "Anna-3"]
    for folder in (tmp_path / "tune").iterdir():
        assert len(read(folder).Scalars("loss")) == 1


@pytest.mark.usefixtures("needs_tensorboard")
def test_an_interrupted_run_keeps_what_it_wrote(tmp_path: Path) -> None:
    def stopped() -> None:
        with open_run(tmp_path, "base", {}) as run:
            run.progress(1, 2, 0.25)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert read(tmp_path / "base").Scalars("loss")[0].value == 0.25


@pytest.mark.usefixtures("needs_tensorboard")
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--log-dir"), open_run(tmp_path / "file", "base", {}):
        pass


def test_without_tensorboard_one_sentence_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"\.\[logs\]"), open_run(tmp_path, "base", {}):
        pass
