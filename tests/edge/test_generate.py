"""Sampling windows of gait: the numpy loop against distributions known in closed form, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talaria_bridge.errors import ModelContractError, RecordingError
from talaria_edge.generate.contract import (
    INPUTS,
    OUTPUT,
    SPEC_FILE,
    SUMS_FILE,
    GeneratorSpec,
    parity_of,
)
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import (
    CHANNELS,
    NUMBERS,
    RATE_HZ,
    STYLES,
    UNITS,
    WINDOW,
    Conditions,
)
from talaria_edge.generate.sampler import (
    Asked,
    Denoise,
    Held,
    Sampling,
    invert,
    redraw,
    sample,
)
from talaria_edge.generate.schedule import STEPS, cosine, visited

KNEE = CHANNELS.index("knee_angle_r")
SOMEBODY = Conditions(speed_ms=1.0, height_m=1.7, mass_kg=70.0)
_MEAN, _STD = 0.1, 0.2


def _gaussian(spread: float) -> Denoise:
    """Know that every value is normal around the first number asked for, all independent."""
    schedule = cosine()

    def denoise(x: Any, given: Any, known: Any, step: Any, numbers: Any, *rest: Any) -> Any:
        signal = schedule.signal[step][:, None, None]
        noise = schedule.noise[step][:, None, None]
        mean = numbers[:, 0, None, None]
        gain = spread**2 * signal / (signal**2 * spread**2 + noise**2)
        return (mean + gain * (x - signal * mean)).astype(np.float32)

    return denoise


def _constant() -> Denoise:
    """Know that a channel is one standard normal value, the same all through a window."""
    schedule = cosine()

    def denoise(x: Any, given: Any, known: Any, step: Any, *rest: Any) -> Any:
        signal, noise = schedule.signal[step][:, None], schedule.noise[step][:, None]
        heard = signal * x.sum(axis=1) / (signal**2 * x.shape[1] + noise**2)
        count = known.sum(axis=1)
        level = np.where(count > 0, given.sum(axis=1) / np.maximum(count, 1), heard)
        return np.broadcast_to(level[:, None], x.shape).astype(np.float32)

    return denoise


def _asked(mean: float, count: int) -> Asked:
    numbers = np.zeros((count, 4), np.float32)
    numbers[:, 0] = mean
    return Asked(numbers, np.ones_like(numbers), np.zeros(count, np.int64))


def _nothing_held(shape: tuple[int, ...]) -> Held:
    return Held(np.zeros(shape, np.float32), np.zeros(shape, np.float32))


def _spec(denoise: Denoise, **changes: Any) -> GeneratorSpec:
    width = len(CHANNELS)
    fields: dict[str, Any] = {
        "model_id": "stub",
        "rate_hz": RATE_HZ,
        "window": WINDOW,
        "channels": CHANNELS,
        "units": tuple(UNITS[name] for name in CHANNELS),
        "mean": (_MEAN,) * width,
        "std": (_STD,) * width,
        "numbers": NUMBERS,
        "numbers_mean": (0.0,) * len(NUMBERS),
        "numbers_std": (1.0,) * len(NUMBERS),
        "styles": STYLES,
        "trained_on": "nothing",
        "people": (),
        "never_seen": ("anything",),
        "parity": parity_of(denoise).tolist(),
    }
    return GeneratorSpec.model_validate(fields | changes)


def _generator(denoise: Denoise) -> Generator:
    return Generator(denoise, _spec(denoise))


def _values(seed: int = 0, length: int = WINDOW) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((length, len(CHANNELS)))
    return (_MEAN + _STD * noise).astype(np.float32)


def _half(x: Any, *rest: Any) -> Any:
    return 0.5 * x


def _write_graph(path: Path, inputs: tuple[str, ...] = INPUTS) -> None:
    from onnx import TensorProto, helper, save

    shapes: dict[str, list[Any]] = {name: ["batch", WINDOW, len(CHANNELS)] for name in INPUTS[:3]}
    shapes |= {"step": ["batch"], "style": ["batch"]}
    shapes |= {name: ["batch", len(NUMBERS)] for name in ("numbers", "numbers_known")}
    whole = ("step", "style")
    kinds = {n: TensorProto.INT64 if n in whole else TensorProto.FLOAT for n in INPUTS}
    half = helper.make_tensor("half", TensorProto.FLOAT, [], [0.5])
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "half"], [OUTPUT])],
        "half",
        [helper.make_tensor_value_info(name, kinds[name], shapes[name]) for name in inputs],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shapes["x"])],
        [half],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    save(model, str(path))


def _write_sums(folder: Path) -> None:
    names = [file.name for file in sorted(folder.iterdir()) if file.name != SUMS_FILE]
    sums = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / SUMS_FILE).write_text("".join(sums))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / SPEC_FILE).write_text(_spec(_half).model_dump_json())
    _write_graph(tmp_path / "model.onnx")
    _write_sums(tmp_path)
    return tmp_path


def test_signal_and_noise_add_up_to_one_and_noise_wins() -> None:
    schedule = cosine()
    np.testing.assert_allclose(schedule.signal**2 + schedule.noise**2, 1.0)
    assert np.all(np.diff(schedule.signal) < 0)
    assert schedule.signal[0] > 0.999
    assert schedule.signal[-1] < 1e-3


@pytest.mark.parametrize("count", [1, 2, 25, 100])
def test_a_sampler_goes_down_from_pure_noise(count: int) -> None:
    steps = visited(count)
    assert min(count, 50) <= len(steps) <= count
    assert steps[0] == STEPS - 1
    assert steps[-1] >= 0
    assert np.all(np.diff(steps) < 0)


@pytest.mark.parametrize(("steps", "eta"), [(25, 0.0), (200, 1.0)])
def test_samples_are_spread_as_the_denoiser_knows(steps: int, eta: float) -> None:
    shape = (256, 20, 4)
    drawn = sample(
        _gaussian(0.5),
        _asked(2.0, shape[0]),
        _nothing_held(shape),
        np.random.default_rng(0),
        Sampling(steps=steps, eta=eta),
    )
    assert drawn.mean() == pytest.approx(2.0, abs=0.02)
    assert drawn.std() == pytest.approx(0.5, rel=0.05)


def test_known_values_are_noised_truth_at_every_step_and_exact_at_the_end() -> None:
    shape = (2, 10, 3)
    rng = np.random.default_rng(1)
    known = (rng.random(shape) < 0.5).astype(np.float32)
    held = Held(rng.standard_normal(shape).astype(np.float32) * known, known)
    schedule, inner, noises = cosine(), _gaussian(1.0), []

    def spying(x: Any, given: Any, shown: Any, step: Any, *rest: Any) -> Any:
        assert np.array_equal(given, held.given)
        assert np.array_equal(shown, known)
        noises.append((x - schedule.signal[step[0]] * given) / schedule.noise[step[0]])
        return inner(x, given, shown, step, *rest)

    drawn = sample(spying, _asked(0.0, 2), held, rng, Sampling(steps=10))
    assert np.array_equal(drawn[known > 0], held.given[known > 0])
    for noise in noises:
        np.testing.assert_allclose(noise[known > 0], noises[0][known > 0], atol=1e-5)


def test_guidance_goes_beyond_what_is_asked_and_away_from_nothing() -> None:
    args = (_gaussian(0.5), _asked(1.0, 64), _nothing_held((64, 10, 2)))
    plain = sample(*args, np.random.default_rng(0), Sampling(steps=20))
    guided = sample(*args, np.random.default_rng(0), Sampling(steps=20, guidance=1.0))
    # Nothing asked means numbers of 0 here, so what is asked counts twice.
    assert plain.mean() == pytest.approx(1.0, abs=0.05)
    assert guided.mean() == pytest.approx(2.0, abs=0.05)


def test_a_window_asked_for_what_it_is_comes_back_as_it_is() -> None:
    clean = np.random.default_rng(2).standard_normal((3, 12, 4)).astype(np.float32)
    denoise, asked = _gaussian(0.7), _asked(0.3, 3)
    path = invert(denoise, clean, asked, Sampling(steps=10))
    again = redraw(denoise, path, asked, asked, _nothing_held(clean.shape), Sampling(steps=10))
    np.testing.assert_allclose(again, clean, atol=1e-5)


def test_inverted_windows_look_like_noise() -> None:
    rng = np.random.default_rng(3)
    clean = (1.0 + 0.5 * rng.standard_normal((8, 50, 4))).astype(np.float32)
    path = invert(_gaussian(0.5), clean, _asked(1.0, 8), Sampling(steps=50))
    assert path[0].mean() == pytest.approx(0.0, abs=0.05)
    assert path[0].std() == pytest.approx(1.0, abs=0.15)
    assert np.array_equal(path[-1], clean)


def test_what_is_asked_changes_and_the_rest_stays() -> None:
    clean = np.random.default_rng(4).standard_normal((2, 12, 4)).astype(np.float32)
    denoise, before, after = _gaussian(0.7), _asked(0.0, 2), _asked(1.5, 2)
    path = invert(denoise, clean, before, Sampling(steps=25))
    now = redraw(denoise, path, before, after, _nothing_held(clean.shape))
    np.testing.assert_allclose(now - clean, 1.5, atol=0.05)


def test_filled_values_are_si_and_known_ones_untouched() -> None:
    values = _values()
    values[:, KNEE] = np.nan
    values[40:60] = np.nan
    drawn = _generator(_gaussian(1.0)).fill(values, SOMEBODY, 9, np.random.default_rng(0))
    known = np.isfinite(values)
    assert drawn.shape == (9, WINDOW, len(CHANNELS))
    assert drawn.dtype == np.float32
    assert all(np.array_equal(one[known], values[known]) for one in drawn)
    # The speed asked for, 1, is the stub's mean, in standard deviations.
    assert drawn[:, :, KNEE].mean() == pytest.approx(_MEAN + _STD, abs=0.03)
    assert drawn[:, :, KNEE].std() == pytest.approx(_STD, rel=0.15)
    assert drawn[:, ~known].std(axis=0).min() > 0


def test_a_long_recording_goes_on_where_its_last_window_was() -> None:
    length = 4 * WINDOW + 37
    model = _generator(_constant())
    drawn = model.generate(SOMEBODY, 3, np.random.default_rng(0), samples=length)
    assert drawn.shape == (3, length, len(CHANNELS))
    assert np.ptp(drawn, axis=1).max() < 0.01 * _STD
    assert drawn.std(axis=0).min() > 0


def test_a_long_recording_keeps_what_was_measured() -> None:
    values = _values(5, 400)
    values[:, KNEE] = np.nan
    values[220:380] = np.nan
    drawn = _generator(_gaussian(1.0)).fill_long(values, SOMEBODY, 2, np.random.default_rng(0))
    known = np.isfinite(values)
    assert all(np.array_equal(one[known], values[known]) for one in drawn)
    assert np.isfinite(drawn).all()


def test_the_same_seed_draws_the_same() -> None:
    model, values = _generator(_gaussian(1.0)), np.full((WINDOW, len(CHANNELS)), np.nan)
    one, same = (model.fill(values, SOMEBODY, 2, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one[0], one[1])


def test_each_of_many_people_gets_what_was_asked_for_it() -> None:
    each = [Conditions(speed_ms=float(i), height_m=1.7, mass_kg=70.0) for i in range(12)]
    drawn = _generator(_gaussian(0.2)).generate(each, 12, np.random.default_rng(0))
    wanted = _MEAN + _STD * np.arange(12)
    np.testing.assert_allclose(drawn.mean(axis=(1, 2)), wanted, atol=0.01)


def test_an_edit_changes_what_is_asked_and_holds_what_is_held() -> None:
    model, values = _generator(_gaussian(0.5)), _values(6)
    faster = Conditions(speed_ms=2.0, height_m=1.7, mass_kg=70.0)
    held = np.full_like(values, np.nan)
    held[:, KNEE] = 0.25
    rng = np.random.default_rng(0)
    was, now = model.edit(values, SOMEBODY, faster, 1, rng, held)
    assert np.array_equal(was[0], values)
    assert np.all(now[0, :, KNEE] == np.float32(0.25))
    free = np.delete(now[0] - was[0], KNEE, axis=1)
    np.testing.assert_allclose(free, _STD, atol=0.02)
    _, same = model.edit(values, SOMEBODY, SOMEBODY, 1, rng)
    np.testing.assert_allclose(same[0], values, atol=1e-5)


def _refused(call: Callable[[], object], *words: str) -> None:
    with pytest.raises(RecordingError) as caught:
        call()
    said = str(caught.value)
    assert all(word in said for word in words), said
    assert said.count(". ") == 0, said


def test_what_is_no_window_is_refused_in_one_sentence() -> None:
    model, rng, good = _generator(_gaussian(1.0)), np.random.default_rng(0), _values()
    degrees, infinite = np.degrees(good) * 5, good.copy()
    infinite[0, 0] = np.inf
    for values, word in (
        (good[:, :5], "shape"),
        (degrees, "degrees"),
        (good[:100], "100 samples"),
        (infinite, "inf rad"),
    ):
        _refused(lambda v=values: model.fill(v, SOMEBODY, 1, rng), word)
    _refused(lambda: model.fill_long(good[:100], SOMEBODY, 1, rng), "100 samples")
    _refused(lambda: model.edit(good, SOMEBODY, SOMEBODY, 1, rng, good[:9]), "9 samples")


def test_a_body_that_nobody_has_is_refused_in_one_sentence() -> None:
    model, rng, good = _generator(_gaussian(1.0)), np.random.default_rng(0), _values()
    good[:, KNEE] = np.nan
    _refused(lambda: model.fill(good, Conditions(height_m=170.0), 1, rng), "170 m")
    _refused(lambda: model.generate(Conditions(speed_ms=1.0), 1, rng), "height", "not known")
    _refused(lambda: model.fill(good, Conditions(style="hopping"), 1, rng), "'hopping'", "walking")
    _refused(lambda: model.generate([SOMEBODY], 2, rng), "1 conditions", "2 people")
    assert np.isfinite(model.fill(good, Conditions(), 1, rng)).all()


def test_a_released_folder_opens_and_samples(folder: Path) -> None:
    model = Generator.open(folder)
    drawn = model.generate(SOMEBODY, 3, np.random.default_rng(0))
    assert drawn.shape == (3, WINDOW, len(CHANNELS))


def _contract_broken(folder: Path, *words: str) -> None:
    with pytest.raises(ModelContractError) as caught:
        Generator.open(folder)
    said = str(caught.value)
    assert all(word in said for word in words), said
    assert said.count(". ") == 0, said


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    _contract_broken(tmp_path / "nowhere", "no generative model")
    (tmp_path / SPEC_FILE).write_text("{}")
    _contract_broken(tmp_path, "model_id")


def test_a_damaged_file_is_refused(folder: Path) -> None:
    file = folder / "model.onnx"
    file.write_bytes(file.read_bytes() + b"\0")
    _contract_broken(folder, "model.onnx", "damaged")
    file.unlink()
    _contract_broken(folder, "lacks model.onnx")
    (folder / SUMS_FILE).unlink()
    _contract_broken(folder, SUMS_FILE, "missing")


def test_a_file_without_a_checksum_is_not_believed(folder: Path) -> None:
    lines = (folder / SUMS_FILE).read_text().splitlines(keepends=True)
    (folder / SUMS_FILE).write_text("".join(line for line in lines if "model.onnx" not in line))
    _contract_broken(folder, "model.onnx", SUMS_FILE)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"channels": [*CHANNELS[1:], CHANNELS[0]]}, "channels"),
        ({"rate_hz": 60.0}, "rate_hz"),
        ({"styles": ["walking"]}, "styles"),
        ({"std": [0.0] * len(CHANNELS)}, "standard deviation"),
        ({"mean": [0.0]}, "mean"),
        ({"more": 1}, "more"),
    ],
)
def test_a_model_of_other_windows_is_refused(
    folder: Path, changes: dict[str, Any], word: str
) -> None:
    said = json.loads((folder / SPEC_FILE).read_text())
    (folder / SPEC_FILE).write_text(json.dumps(said | changes))
    _write_sums(folder)
    _contract_broken(folder, word)


def test_a_graph_that_computes_something_else_is_refused(folder: Path) -> None:
    said = json.loads((folder / SPEC_FILE).read_text())
    said["parity"][0][0][0] += 0.01
    (folder / SPEC_FILE).write_text(json.dumps(said))
    _write_sums(folder)
    _contract_broken(folder, "off by 0.01")


def test_a_graph_with_other_inputs_is_refused(folder: Path) -> None:
    _write_graph(folder / "model.onnx", INPUTS[:-1])
    _write_sums(folder)
    _contract_broken(folder, "style")
