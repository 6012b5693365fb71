"""Bad input ends in one sentence and exit code 2, never in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from talaria_edge.__main__ import app
from talaria_edge.config import load_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALARIA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def complaint(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2, result.output
    text = " ".join(result.stderr.split())
    assert text.startswith("talaria: ")
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("radio:", "names no source"),
        ("replay:missing.mcap", "missing.mcap"),
        ("serial:/dev/no-such-port", "no such port"),
        ("sim:?sede=1", "sede"),
        ("sim:?seconds=never", "never"),
    ],
)
def test_wrong_sources_are_named(tiny_model: Path, source: str, cause: str) -> None:
    said = complaint(
        "run", "--source", source, "--model", str(tiny_model), "--no-record", "--quiet"
    )
    assert cause in said


def test_a_missing_model_says_where_to_look() -> None:
    assert "model.onnx" in complaint("run", "--source", "sim:", "--model", "nowhere", "--no-record")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a network")
    said = complaint("run", "--source", "sim:", "--model", str(tmp_path), "--no-record", "--quiet")
    assert "onnx" in said.lower()


def test_an_unknown_key_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text('source = "sim:"\nrate_hertz = 100\n')
    said = complaint("run", "--config", "device.toml", "--quiet")
    assert "rate_hertz" in said
    assert "device.toml" in said


def test_a_wrong_value_is_named(tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text('source = "sim:"\nrate_hz = -1\n')
    assert "rate_hz" in complaint("run", "--config", "device.toml", "--quiet")


def test_a_broken_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text("source = \n")
    assert "device.toml" in complaint("run", "--config", "device.toml", "--quiet")


def test_a_foreign_file_is_no_recording(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "x.mcap").write_text("hello")
    said = complaint("run", "--source", "replay:x.mcap", "--model", str(tiny_model), "--quiet")
    assert "not a Talaria session log" in said


def test_the_example_configuration_is_valid() -> None:
    config = load_config(ROOT / "edge" / "deploy" / "example.toml")
    assert config.sources[0].startswith("serial:")


def test_a_model_can_be_looked_into(tiny_model: Path) -> None:
    result = CliRunner().invoke(app, ["model", str(tiny_model)])
    assert result.exit_code == 0
    assert "knee_angle_r" in result.output
