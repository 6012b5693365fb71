"""Sampling windows of gait: the numpy loop against distributions known in closed form, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talaria_bridge.errors import ModelContractError, RecordingError
from talaria_edge.generate.contract import (
    FORCE_INPUTS,
    FORCE_OUTPUT,
    FORCES_FILE,
    INPUTS,
    KINEMATICS,
    OUTPUT,
    SPEC_FILE,
    SUMS_FILE,
    GeneratorSpec,
    force_parity_of,
    parity_of,
)
from talaria_edge.generate.forces import lifted
from talaria_edge.generate.generator import ForcesTold, Generator
from talaria_edge.generate.motion import (
    CHANNELS,
    FORCES,
    NUMBERS,
    RATE_HZ,
    STYLES,
    UNITS,
    WINDOW,
    Conditions,
    columns,
    mirrored,
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
VERTICAL, ANTERIOR = CHANNELS.index("grf_vertical_l"), CHANNELS.index("grf_anterior_l")
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


def _force_spec(say: Any, **changes: Any) -> dict[str, Any]:
    width = len(CHANNELS)
    fields: dict[str, Any] = {
        "mean": (0.5,) * width,
        "std": (2.0,) * width,
        "numbers_mean": (0.0,) * len(NUMBERS),
        "numbers_std": (1.0,) * len(NUMBERS),
        "parity": force_parity_of(say).tolist(),
    }
    return fields | changes


def _by_knee(given: Any, known: Any, numbers: Any, numbers_known: Any, style: Any) -> Any:
    """Say that every force is the mean of the known knees' angles, or 1 where nobody knows one."""
    at = [KINEMATICS.index(f"knee_angle_{side}") for side in "rl"]
    count = known[..., at].sum(axis=-1)
    knee = np.where(count > 0, given[..., at].sum(axis=-1) / np.maximum(count, 1.0), 1.0)
    return np.repeat(knee[..., None], len(FORCES), axis=-1).astype(np.float32)


def _telling(denoise: Denoise, **changes: Any) -> Generator:
    drawn = {"knee_angle_r": 3.0, "grf_vertical_r": 9.0}
    spec = _spec(denoise, forces=_force_spec(_by_knee, **changes), widening=drawn)
    return Generator(denoise, spec, _by_knee)


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


def _write_force_graph(path: Path) -> None:
    """Write a graph that says of all six forces what the first channel given is."""
    from onnx import TensorProto, helper, save

    window, numbers = ["batch", WINDOW, len(KINEMATICS)], ["batch", len(NUMBERS)]
    shapes = dict(zip(FORCE_INPUTS, (window, window, numbers, numbers, ["batch"]), strict=True))
    kinds = {n: TensorProto.INT64 if n == "style" else TensorProto.FLOAT for n in FORCE_INPUTS}
    ends = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("from", 0), ("to", len(FORCES)), ("axis", 2))
    ]
    told = helper.make_tensor_value_info(
        FORCE_OUTPUT, TensorProto.FLOAT, ["batch", WINDOW, len(FORCES)]
    )
    graph = helper.make_graph(
        [helper.make_node("Slice", ["given", "from", "to", "axis"], [FORCE_OUTPUT])],
        "first",
        [helper.make_tensor_value_info(n, kinds[n], shapes[n]) for n in FORCE_INPUTS],
        [told],
        ends,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    save(model, str(path))


def _first(given: Any, *rest: Any) -> Any:
    return given[..., : len(FORCES)]


@pytest.fixture
def both(folder: Path) -> Path:
    """Add a network of forces to a model's folder."""
    spec = _spec(_half, forces=_force_spec(_first))
    (folder / SPEC_FILE).write_text(spec.model_dump_json())
    _write_force_graph(folder / FORCES_FILE)
    _write_sums(folder)
    return folder


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
    values[:, columns(FORCES)] = 0.5  # both feet stand, before and after
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


def test_a_foot_in_the_air_bears_nothing_and_what_was_measured_stays() -> None:
    values = np.zeros((2, WINDOW, len(CHANNELS)), np.float32)
    force, push = values[:, :, VERTICAL], values[:, :, ANTERIOR]
    push[:] = 0.2
    force[:, :2] = 0.06  # a step that began before, or was only about to end
    force[:, 20:30] = 0.06  # no step: never a tenth of the weight
    force[:, 40:80] = 0.8
    force[:, 80:84] = 0.04  # the end of the step
    force[:, 84:90] = 0.029
    force[:, 90:100] = -0.04
    known = np.zeros(values.shape, bool)
    known[1, 90:100, VERTICAL] = True
    known[1, 100:110, ANTERIOR] = True
    clean = lifted(values, known)
    stands = np.zeros(WINDOW, bool)
    stands[:2] = stands[40:84] = True
    assert np.array_equal(clean[0, :, VERTICAL], np.where(stands, force[0], 0.0))
    assert np.array_equal(clean[0, :, ANTERIOR], np.where(stands, push[0], 0.0))
    assert (clean[1, 90:100, VERTICAL] == np.float32(-0.04)).all()
    assert (clean[1, 100:110, ANTERIOR] == np.float32(0.2)).all()
    assert not clean[1, 90:100, ANTERIOR].any()
    other = [i for i, name in enumerate(CHANNELS) if not name.endswith("_l") or name not in FORCES]
    assert np.array_equal(clean[..., other], values[..., other])
    assert force[0, 90] == np.float32(-0.04)


def test_no_draw_pulls_on_the_ground() -> None:
    model, rng = _generator(_gaussian(1.0)), np.random.default_rng(0)
    drawn = model.generate(SOMEBODY, 4, rng, samples=2 * WINDOW)
    up = drawn[..., [CHANNELS.index("grf_vertical_r"), VERTICAL]]
    assert up.min() == 0.0
    assert not ((up > 0) & (up < 0.03)).any()
    air = drawn[..., VERTICAL] == 0.0
    assert 0.05 < air.mean() < 0.95
    assert not drawn[..., ANTERIOR][air].any()
    values = _values(8)
    was, now = model.edit(values, SOMEBODY, SOMEBODY, 1, rng)
    assert np.array_equal(was[0], values)  # measured
    assert now[..., VERTICAL].min() == 0.0


def test_forces_are_told_in_body_weights_by_a_scale_of_their_own() -> None:
    values = np.full((WINDOW, len(CHANNELS)), np.nan, np.float32)
    model = _telling(_gaussian(1.0))
    told = model.forces(values, Conditions())
    assert told.shape == (WINDOW, len(FORCES))
    np.testing.assert_allclose(told, 0.5 + 2.0 * 1.0)  # nothing known: 1 standard deviation
    values[:, KNEE] = np.linspace(0.2, 0.9, WINDOW)
    np.testing.assert_allclose(model.forces(values, SOMEBODY), values[:, [KNEE] * 6], atol=1e-6)


def test_forces_of_a_long_recording_have_no_joins() -> None:
    values = np.full((4 * WINDOW + 37, len(CHANNELS)), np.nan, np.float32)
    values[:, KNEE] = 0.6 + 0.3 * np.sin(np.arange(len(values)) / 9.0)
    told = _telling(_gaussian(1.0)).forces(values, SOMEBODY)
    np.testing.assert_allclose(told, values[:, [KNEE] * 6], atol=1e-5)


def test_windows_of_a_long_recording_that_disagree_are_faded_into_each_other() -> None:
    count = 0

    def counting(given: Any, *rest: Any) -> Any:
        nonlocal count
        count += 1
        return np.full((*given.shape[:2], len(FORCES)), (count - 1) % 5, np.float32)

    spec = _spec(_half, forces=_force_spec(_by_knee))
    values = np.full((3 * WINDOW, len(CHANNELS)), np.nan)
    told = Generator(_half, spec, counting).forces(values, SOMEBODY)[:, 0]
    assert told[0] == 0.5
    assert count == 10  # five windows, and their mirror images
    assert told[-1] == pytest.approx(0.5 + 2.0 * 4)
    assert np.abs(np.diff(told)).max() < 2.0 * 0.05


def test_a_model_that_leans_fills_and_tells_left_and_right_alike() -> None:
    def leans(x: Any, given: Any, known: Any, *rest: Any) -> Any:
        style = rest[-1][:, None, None]
        there = 0.1 * np.arange(len(CHANNELS), dtype=np.float32) + 0.3 * style
        return np.where(known > 0, given, there).astype(np.float32)

    def leaning(given: Any, *rest: Any) -> Any:
        return np.tile(np.arange(6.0, dtype=np.float32), (*given.shape[:2], 1))

    stiff, values = replace(SOMEBODY, style="stiff_knee_r"), _values(2)
    values[:, KNEE] = np.nan
    model = _generator(leans)
    one = model.fill(values, stiff, 2, np.random.default_rng(0)).mean(axis=0)
    assert stiff.mirrored().style == "stiff_knee_l"
    other = model.fill(mirrored(values), stiff.mirrored(), 2, np.random.default_rng(0)).mean(axis=0)
    np.testing.assert_allclose(one, mirrored(other), atol=1e-6)
    told = Generator(leans, _spec(leans, forces=_force_spec(leaning)), leaning).forces(
        values, stiff
    )
    np.testing.assert_allclose(told[:, :3], told[:, 3:])


def test_each_draws_forces_are_those_of_its_own_movement_and_measured_ones_stay() -> None:
    model, rng = _telling(_gaussian(1.0)), np.random.default_rng(0)
    values = _values(3, 2 * WINDOW)
    values[:, KNEE] = values[:, ANTERIOR] = np.nan
    values[100:120, VERTICAL] = np.nan
    drawn = model.fill_long(values, SOMEBODY, 4, rng)
    drawn[..., KNEE] += 4.0  # so that both feet stand throughout
    told = model.with_forces(drawn, values, SOMEBODY)
    knees = drawn[:, 100:120, [KNEE, CHANNELS.index("knee_angle_l")]].mean(axis=-1)
    np.testing.assert_allclose(told[:, 100:120, VERTICAL], knees, atol=1e-5)
    assert np.ptp(told[:, 110, VERTICAL]) > 0
    known = np.isfinite(values)
    assert all(np.array_equal(one[known], values[known]) for one in told)
    assert np.array_equal(told[..., KNEE], drawn[..., KNEE])


def test_told_forces_bear_nothing_in_the_air() -> None:
    values = np.full((WINDOW, len(CHANNELS)), np.nan)
    values[:, KNEE] = np.where(np.arange(WINDOW) < 50, 0.02, 0.8)
    told = _telling(_gaussian(1.0)).forces(values, SOMEBODY)
    assert not told[1:50].any()  # the first sample may be the end of a step
    np.testing.assert_allclose(told[50:], 0.8, atol=1e-6)


def test_a_model_can_be_asked_to_tell_forces_where_it_would_draw_them() -> None:
    wide = {"grf_vertical_l": 2.0}
    model = _telling(_gaussian(1.0), widening=wide)
    values = _values(3)
    values[:, columns(FORCES)] = np.nan
    told = ForcesTold(model).fill_long(values, SOMEBODY, 3, np.random.default_rng(0))
    wanted = model.forces(values, SOMEBODY)
    for one in told:
        np.testing.assert_array_equal(one[:, columns(FORCES)], wanted)
    assert ForcesTold(model).widening == {"knee_angle_r": 3.0} | wide


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
    _contract_broken(tmp_path, "Field required")


def test_a_damaged_file_is_refused(folder: Path) -> None:
    file = folder / "model.onnx"
    file.write_bytes(file.read_bytes() + b"\0")
    _contract_broken(folder, "model.onnx", "damaged")
    file.unlink()
    _contract_broken(folder, "lacks model.onnx")
    (folder / SUMS_FILE).unlink()
    _contract_broken(folder, SUMS_FILE, "missing")


def test_a_folder_with_a_network_of_forces_opens_and_tells(both: Path) -> None:
    model = Generator.open(both)
    assert model.tells_forces
    values = _values(2)
    values[:, : len(FORCES)] += 1.0
    told = model.forces(values, SOMEBODY)
    np.testing.assert_allclose(told, values[:, : len(FORCES)], atol=1e-6)


def test_a_folder_without_a_network_of_forces_opens_and_says_so(folder: Path) -> None:
    said = json.loads((folder / SPEC_FILE).read_text())
    del said["forces"]  # as folders were before there was one
    (folder / SPEC_FILE).write_text(json.dumps(said))
    _write_sums(folder)
    model = Generator.open(folder)
    assert not model.tells_forces
    with pytest.raises(ModelContractError) as caught:
        model.forces(_values(), SOMEBODY)
    assert "without a network of forces" in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_a_damaged_network_of_forces_is_refused(both: Path) -> None:
    file = both / FORCES_FILE
    whole = file.read_bytes()
    file.write_bytes(whole + b"\0")
    _contract_broken(both, FORCES_FILE, "damaged")
    file.unlink()
    _contract_broken(both, f"lacks {FORCES_FILE}")
    _write_sums(both)  # nor does it help to take it off the list
    _contract_broken(both, f"lacks {FORCES_FILE}")
    _write_graph(file)
    _write_sums(both)
    _contract_broken(both, FORCES_FILE, "other inputs or outputs", FORCE_OUTPUT)


def test_a_network_of_forces_that_says_something_else_is_refused(both: Path) -> None:
    said = json.loads((both / SPEC_FILE).read_text())
    said["forces"]["parity"][0][0][0] += 0.01
    (both / SPEC_FILE).write_text(json.dumps(said))
    _write_sums(both)
    _contract_broken(both, FORCES_FILE, "off by 0.01")


def test_what_forces_cannot_be_told_of_is_refused_in_one_sentence() -> None:
    model, good = _telling(_gaussian(1.0)), _values()
    _refused(lambda: model.forces(good[:100], SOMEBODY), "100 samples")
    _refused(lambda: model.forces(np.degrees(good) * 5, SOMEBODY), "degrees")
    _refused(lambda: model.forces(good, Conditions(style="hopping")), "'hopping'")
    _refused(lambda: model.forces(good, Conditions(mass_kg=7000.0)), "7000 kg")


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
        ({"forces": _force_spec(_first, std=[1.0])}, "forces.std has 1 entries"),
        ({"forces": _force_spec(_first, numbers_std=[0.0] * 4)}, "forces: "),
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
