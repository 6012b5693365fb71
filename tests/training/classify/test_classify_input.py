"""Whatever is wrong with a table or a path, the command says it in one sentence."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from typer.testing import CliRunner

from talaria_bridge.errors import TalariaError
from talaria_training.commands import app

PEOPLE, EACH = 8, 5
N = PEOPLE * EACH


def arrays(**changes: Any) -> dict[str, Any]:
    """A sound table; None leaves an array out."""
    values = np.random.default_rng(0).normal(size=(N, 3, 21)).astype(np.float32)
    whole = {
        "values": values,
        "channel_name": np.array(["a", "b", "c"]),
        "column_person": np.repeat([f"P{k}" for k in range(PEOPLE)], EACH),
        "column_group": np.repeat(["x", "y"], N // 2),
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def holed(*, channel: int, rows: slice) -> np.ndarray:
    values = arrays()["values"]
    values[rows, channel, 7] = np.nan
    return np.asarray(values)


def refused(*arguments: object) -> str:
    """Run a command that must end in one sentence, and return it."""
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*map(str, arguments)])
    assert isinstance(done.exception, TalariaError), (done.output, done.exception)
    said = str(done.exception)
    assert "\n" not in said
    return said


TABLES: list[tuple[dict[str, Any], tuple[str, ...], str]] = [
    ({"values": holed(channel=1, rows=slice(3, 4))}, (), "Channel b is not a number in 1 of 40"),
    ({"values": holed(channel=1, rows=slice(None))}, (), "Channel b is not a number in 40 of 40"),
    ({"values": np.full((N, 3, 21), np.inf)}, (), "Channel a is not a number"),
    ({"values": np.zeros((N, 21))}, (), r"shape \(40, 21\)"),
    ({"values": np.zeros((N, 3, 1))}, (), r"shape \(40, 3, 1\)"),
    ({"values": np.zeros((N, 0, 21)), "channel_name": np.array([], str)}, (), "shape"),
    ({"values": np.zeros((0, 3, 21)), "column_person": np.array([], str)}, (), "shape"),
    ({"values": np.full((N, 3, 21), "1.5")}, (), "not as numbers"),
    ({"column_person": np.array(["P"] * 3)}, (), "person has 3 entries for 40"),
    ({"column_person": None}, (), "column_person is missing"),
    ({"column_person": np.full(N, "")}, (), "No stride is left"),
    ({"channel_name": None}, (), "channel_name is missing"),
    ({"values": None}, (), "values is missing"),
    ({"column_group": np.full(N, "x")}, ("--task", "group"), "one class cannot be told"),
    ({"column_person": np.full(N, "x")}, (), "one class cannot be told"),
    (
        {"column_age": np.array([f"{k / 3:.2f}" for k in range(N)])},
        ("--task", "age"),
        "numbers stored as text",
    ),
    ({"column_group": np.array(["1", "1.0"] * (N // 2))}, ("--task", "group"), "spelled '1'"),
    (
        {"column_person": np.repeat(["A", "B"], N // 2)},
        ("--task", "group", "--split", "person"),
        "has one person",
    ),
    ({"column_split": np.array(["train", "test"] * (N // 2))}, ("--split", "split"), "no split"),
    ({}, ("--task", "age"), "no column age"),
    ({}, ("--where", "group=z"), "No stride has 'z'"),
    ({}, ("--where", "group=x", "--where", "person=P7"), "No stride is left"),
    ({}, ("--split", "across-sessions"), "of one session"),
    ({"values": np.zeros((N, 3, 7))}, ("--model", "cnn-a", "--workers", "1"), "too short"),
]


@pytest.mark.parametrize(("changes", "options", "said"), TABLES)
def test_what_is_wrong_in_a_table_is_one_sentence(
    changes: dict[str, Any], options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "t.npz", **arrays(**changes))
    answer = refused("classify", tmp_path / "t.npz", *options, "--permutations", "0")
    assert re.search(said, answer), answer


def _folder(file: Path) -> None:
    file.mkdir()


def _text(file: Path) -> None:
    file.write_text("no table")


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _one_array(file: Path) -> None:
    with file.open("wb") as out:
        np.save(out, np.zeros((3, 4)))


def _other_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("a.txt", "x")


def _gone(file: Path) -> None:
    assert not file.exists()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_folder, "it is a folder"),
        (_text, "it is no .npz archive"),
        (_empty, "it is no .npz archive"),
        (_one_array, "one array and no .npz table"),
        (_other_zip, "values is missing"),
        (_gone, "does not exist"),
    ],
)
def test_a_path_to_no_table_is_one_sentence_in_every_command(
    make: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    file, report = tmp_path / "t.npz", tmp_path / "o.html"
    make(file)
    assert said in refused("classify", file)
    assert said in refused("strides", "info", file)
    assert said in refused("explain", file, "--report", report)
    assert said in refused("explain", file, "--against", file, "--report", report)


def _mat(file: Path) -> None:
    savemat(file, {"weight": np.zeros((3, 4))})


@pytest.mark.parametrize(
    ("kind", "make", "said"),
    [
        ("mat", _mat, "no array of strides x channels x points among weight"),
        ("mat", _text, "cannot be read as a MATLAB file"),
        ("mat", _folder, "is a folder"),
        ("c3d", _text, "neither a folder nor a zip"),
        ("c3d", _folder, "holds no C3D file"),
        ("running", _text, "neither a folder nor a zip"),
        ("running", _other_zip, "holds no file like"),
        ("session", _folder, "holds no recordings"),
        ("session", _text, "holds no recordings"),
        ("capsense", _gone, "does not exist"),
    ],
)
def test_a_source_of_strides_that_is_none_is_one_sentence(
    kind: str, make: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "source.mat"
    make(path)
    out = tmp_path / "t.npz"
    assert said in refused("strides", "make", "--from", kind, path, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("option", ["--json", "--out"])
def test_results_that_cannot_be_written_are_one_sentence(option: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays())
    (tmp_path / "taken").write_text("")
    place = tmp_path / "taken" / "below"
    quick = ("--permutations", "0", "--workers", "1")
    answer = refused("classify", tmp_path / "t.npz", *quick, option, place)
    assert "cannot be written" in answer


def test_strides_that_never_change_have_no_relevance_to_share(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays(values=np.ones((N, 3, 21), np.float32)))
    quick = ("--permutations", "0", "--workers", "1", "--report", tmp_path / "o.html")
    assert "there are no shares" in refused("explain", tmp_path / "t.npz", *quick)
