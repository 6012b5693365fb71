"""The demo's made-up walker: drawn where a generative model is, simulated where none is, and called so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from talaria_bridge.errors import ModelContractError, RecordingError, TalariaError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.generate.contract import SPEC_FILE, GeneratorSpec, Scale, Seen, parity_of
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import CHANNELS, NUMBERS, RATE_HZ, STYLES, UNITS, WINDOW
from talaria_edge.generate.walkers import Outing, draw_walkers
from talaria_edge.kinematics import ANGLES
from talaria_training import artefacts, demo
from talaria_training.commands.app import app
from talaria_training.generate.denoiser import Denoiser, DenoiserConfig
from talaria_training.generate.release import About, release
from talaria_training.networks import GaitNet

SEEN = (Seen(style="walking", numbers=(1.2, 1.3, 1.7, 70.0)),)
TINY = DenoiserConfig(patch=10, width=16, layers=1, heads=2, feed_forward=32)
LIVE_S = 3.0


@pytest.fixture(scope="module")
def generator(striding: Callable[..., np.ndarray]) -> Generator:
    # One window of two strides: windows that begin half a window apart go on in step.
    gait = striding(np.arange(WINDOW) / (WINDOW // 2), 1.2)

    def steady(x: Any, *_rest: Any) -> Any:
        # The same gait whatever the noise; a little of the noise is left, so that draws differ.
        return (gait + 0.001 * np.tanh(x)).astype(np.float32)

    width, numbers = len(CHANNELS), len(NUMBERS)
    spec = GeneratorSpec(
        model_id="made-up-gait",
        rate_hz=RATE_HZ,
        window=WINDOW,
        channels=CHANNELS,
        units=tuple(UNITS[name] for name in CHANNELS),
        mean=(0.0,) * width,
        std=(1.0,) * width,
        numbers=NUMBERS,
        numbers_mean=(0.0,) * numbers,
        numbers_std=(1.0,) * numbers,
        styles=STYLES,
        trained_on="nothing",
        people=("P01", "P02", "P03"),
        never_seen=("anything",),
        seen=SEEN,
        parity=parity_of(steady).tolist(),
    )
    return Generator(steady, spec)


@pytest.fixture(scope="module")
def walk(generator: Generator) -> demo.Walk:
    return demo.drawn_walk(generator, 7, LIVE_S)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Release a tiny generative model, and nothing else."""
    folder = tmp_path_factory.mktemp("models")
    channels, numbers = (
        (0 * np.arange(n, dtype=np.float32)) for n in (len(CHANNELS), len(NUMBERS))
    )
    scale = Scale(channels, channels + 1, numbers, numbers + 1)
    about = About("gait", "nothing", ("P01", "P02"), ("anything",), seen=SEEN)
    release(Denoiser(TINY), scale, about, folder / "gait")
    return folder


def test_a_drawn_walker_learns_from_the_first_minute_and_streams_the_rest(
    generator: Generator, walk: demo.Walk
) -> None:
    (drawn,) = draw_walkers(generator, 1, 7, Outing(demo.FIRST_S + LIVE_S))
    first = round(demo.FIRST_S * RATE_HZ)
    (trial,) = walk.first
    assert len(trial.features) == first
    assert walk.live.acc_ms2.shape == (round(LIVE_S * RATE_HZ), len(LEG_SLOTS), 3)
    for column, slot in enumerate(LEG_SLOTS):
        reading = drawn.readings[slot]
        np.testing.assert_array_equal(walk.live.acc_ms2[:, column], reading.acc_ms2[first:])
        np.testing.assert_array_equal(walk.live.gyr_rads[:, column], reading.gyr_rads[first:])
    for column, name in enumerate(ANGLES):
        truth = drawn.body.angles_rad[name]
        np.testing.assert_array_equal(walk.live.angles_rad[:, column], truth[first:])
        np.testing.assert_allclose(trial.angles_rad[:, column], truth[:first], atol=1e-6)


def test_a_drawn_walker_is_said_to_be_nobody(walk: demo.Walk) -> None:
    assert walk.about.startswith("DRAWN: no person walked here. made-up-gait, which learned from")
    assert "3 people" in walk.about
    assert walk.truth == "the drawn walker's exact angles"
    assert walk.person == walk.first[0].person == "drawn walker 7"


def test_another_seed_draws_another_walker(generator: Generator, walk: demo.Walk) -> None:
    other = demo.drawn_walk(generator, 8, LIVE_S)
    assert other.person == "drawn walker 8"
    assert not np.allclose(other.live.acc_ms2, walk.live.acc_ms2, atol=0.5)


def test_what_a_base_has_of_those_whom_a_drawn_walker_was_learned_from_is_told(
    walk: demo.Walk,
) -> None:
    base = demo.Base("base", GaitNet(4, 4, 2), ("P02", "P03", "P04"))
    assert demo.seen_by(base, walk) == ("which has never seen this walker, but 2 of those 3 people")
    stranger = demo.Base("base", GaitNet(4, 4, 2), ("P04",))
    assert demo.seen_by(stranger, walk) == "which has never seen this walker"


def test_the_generative_model_of_most_people_draws(models: Path, tmp_path: Path) -> None:
    assert demo.choose_generator(tmp_path) is None
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    said = json.loads((models / "gait" / SPEC_FILE).read_text())
    (tmp_path / "of-one").mkdir()
    (tmp_path / "of-one" / SPEC_FILE).write_text(json.dumps(said | {"people": ["P01"]}))
    (tmp_path / "legs").mkdir()
    (tmp_path / "legs" / "model.onnx").write_bytes(b"of another kind")
    chosen = demo.choose_generator(tmp_path)
    assert chosen is not None
    assert chosen.spec.model_id == "gait"


def test_a_generative_model_is_never_taken_for_a_base(models: Path) -> None:
    assert list(artefacts.bases(models)) == []
    assert demo.choose_base(models, "drawn walker 7") is None


def _demo(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["demo", *map(str, arguments)])


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the demo where its walker is known."""

    def drawn(generator: Generator, seed: int, live_s: float) -> demo.Walk:
        raise RecordingError(f"drawn by {generator.spec.model_id}: {seed}, {live_s:g} s")

    def simulated(seed: int, live_s: float) -> demo.Walk:
        raise RecordingError(f"simulated: {seed}, {live_s:g} s")

    monkeypatch.setattr(demo, "drawn_walk", drawn)
    monkeypatch.setattr(demo, "simulated_walk", simulated)


@pytest.mark.usefixtures("told")
def test_the_demo_walks_a_drawn_walker_unless_the_simulator_is_asked_for(models: Path) -> None:
    result = _demo("--models", models)
    assert str(result.exception) == "drawn by gait: 7, 30 s"
    result = _demo("--models", models, "--simulator", "--seed", 3, "--live-seconds", 5)
    assert str(result.exception) == "simulated: 3, 5 s"
    assert result.output == ""


@pytest.mark.usefixtures("told")
def test_without_a_generative_model_the_demo_says_so_and_simulates(tmp_path: Path) -> None:
    result = _demo("--models", tmp_path)
    assert str(result.exception) == "simulated: 7, 30 s"
    assert "holds no generative model of gait, so the simulator's walker walks." in result.output


@pytest.mark.usefixtures("told")
def test_a_damaged_generative_model_is_named_and_not_passed_over(
    models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    (tmp_path / "gait" / "model.onnx").write_bytes(b"cut short")
    result = _demo("--models", tmp_path)
    assert isinstance(result.exception, ModelContractError)
    assert "model.onnx is not the file that SHA256SUMS speaks of" in str(result.exception)
    (tmp_path / "gait" / SPEC_FILE).write_text("{}")
    assert isinstance(_demo("--models", tmp_path).exception, ModelContractError)


def test_real_people_and_the_simulator_at_once_are_refused(tmp_path: Path) -> None:
    result = _demo("--data", tmp_path, "--person", "P01", "--simulator")
    assert isinstance(result.exception, TalariaError)
    assert str(result.exception) == "--data and --simulator ask for two walkers: give one of them."


def test_a_walker_who_cannot_be_calibrated_ends_in_a_sentence(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object) -> None:
        return None

    monkeypatch.setattr("talaria_training.trials.calibrate_recording", nobody)
    with pytest.raises(RecordingError, match=r"drawn walker 7/walk: left out.*give another --seed"):
        demo.drawn_walk(generator, 7, LIVE_S)
