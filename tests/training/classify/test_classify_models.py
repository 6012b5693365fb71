from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_training.classify import nets
from talaria_training.classify.learning import CHUNK, principal, standard
from talaria_training.classify.models import LINEAR, MODELS, Classifier, fit, fit_each, fit_together
from talaria_training.classify.splits import Fold
from talaria_training.classify.stored import load, save

Strides = tuple[NDArray[np.float32], NDArray[np.str_]]


def strides(classes: int = 3, each: int = 14, channels: int = 3, seed: int = 0) -> Strides:
    """Waves whose phase is the class, in channels of very different size."""
    random = np.random.default_rng(seed)
    t = np.linspace(0.0, 2.0 * np.pi, 101)
    label = np.repeat(np.arange(classes), each)
    phase = label[:, None] * 0.8 + 0.15 * random.normal(size=(len(label), channels))
    size = 10.0 ** np.arange(channels)
    values = size[:, None] * (np.sin(t + phase[..., None]) + 5.0)
    return values.astype(np.float32), np.array([f"P{k}" for k in label])


def briefly(name: str) -> dict[str, Any]:
    return {} if name in LINEAR else {"epochs": 2}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_tells_planted_classes_apart(name: str) -> None:
    values, labels = strides()
    hyper: dict[str, Any] = {} if name in LINEAR else {"epochs": 25}
    found = fit(name, values, labels, seed=0, **hyper)
    again, true = strides(seed=1)
    answers = np.array(found.classes)[found.scores(again).argmax(axis=1)]
    assert (answers == true).mean() >= 0.9


@pytest.mark.parametrize("name", MODELS)
def test_the_network_gives_the_scores_from_standardised_strides(name: str) -> None:
    values, labels = strides()
    found = fit(name, values, labels, seed=0, **briefly(name))
    x = torch.as_tensor((values - found.mean) / found.scale, dtype=torch.float32)
    np.testing.assert_allclose(found.net(x).numpy(), found.scores(values), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["svm", "logistic", "cnn-a", "small", "mlp"])
def test_a_saved_classifier_answers_as_before(name: str, tmp_path: Path) -> None:
    values, labels = strides()
    found = fit(name, values, labels, seed=0, **briefly(name))
    save(found, tmp_path / "model", {"channels": ["a", "b", "c"]})
    back, about = load(tmp_path / "model")
    assert (back.name, back.classes, about) == (name, found.classes, {"channels": ["a", "b", "c"]})
    np.testing.assert_array_equal(back.scores(values), found.scores(values))


def test_a_folder_without_a_classifier_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="holds no classifier") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["svm", "cnn-a"])
def test_held_strides_teach_nothing(name: str) -> None:
    values, labels = strides()
    held = np.arange(len(labels)) % 4 == 0
    fold = Fold("a fold", np.flatnonzero(~held), np.flatnonzero(held))
    spoilt = values.copy()
    spoilt[held] = spoilt[held][:, :, ::-1] * 3.0 + 1.0

    def learned(from_values: NDArray[np.float32]) -> Classifier:
        if name in LINEAR:
            return next(fit_each(name, from_values, labels, [{}], held))
        return fit_together(name, from_values, labels, 0, [fold], {"epochs": 1})[0]

    clean, dirty = learned(values), learned(spoilt)
    np.testing.assert_array_equal(clean.mean, dirty.mean)
    np.testing.assert_array_equal(clean.scale, dirty.scale)
    np.testing.assert_allclose(clean.scores(values), dirty.scores(values), rtol=1e-6)


@pytest.mark.parametrize("name", ["svm", "small"])
def test_the_same_seed_gives_the_same_classifier(name: str) -> None:
    values, labels = strides()
    first, second = (fit(name, values, labels, 3, **briefly(name)).scores(values) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_network_stops_where_the_held_strides_get_worse() -> None:
    values, labels = strides()
    random = np.random.default_rng(0)
    noise = random.normal(size=values.shape).astype(np.float32)
    labels = random.permutation(labels)
    held = np.arange(len(labels)) % 4 == 0
    fold = Fold("a fold", np.flatnonzero(~held), np.flatnonzero(held))
    (found,) = fit_together("mlp", noise, labels, 0, [fold], {})
    epochs = found.hyper["epochs"]
    assert epochs < 10
    again = fit("mlp", noise[~held], labels[~held], 0, epochs=epochs)
    np.testing.assert_array_equal(found.scores(noise), again.scores(noise))


@pytest.mark.parametrize("name", LINEAR)
def test_a_rare_class_counts_as_much_as_a_frequent_one(name: str) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(220, 1, 8)).astype(np.float32)
    labels = np.array(["often"] * 200 + ["seldom"] * 20)
    values[200:] += 1.0
    again = random.normal(size=(400, 1, 8)).astype(np.float32) + 1.0
    found = fit(name, values, labels, 0, C=0.1)
    answers = found.scores(again).argmax(axis=1)
    assert answers.mean() > 0.8  # without weights, a third


@pytest.mark.parametrize("name", LINEAR)
def test_two_classes_have_opposite_scores(name: str) -> None:
    values, labels = strides(classes=2)
    scores = fit(name, values, labels, 0).scores(values)
    np.testing.assert_allclose(scores[:, 0], -scores[:, 1])


def test_sharing_work_between_settings_changes_no_result() -> None:
    values, labels = strides()
    together = list(fit_each("svm", values, labels, [{"C": 0.1}, {"C": 10.0}]))
    alone = fit("svm", values, labels, 0, C=10.0)
    np.testing.assert_array_equal(together[1].scores(values), alone.scores(values))


@pytest.mark.parametrize(("count", "points"), [(400, 150), (90, 400), (20, 30), (40, 10)])
def test_principal_directions_hold_nearly_all_of_the_variance(count: int, points: int) -> None:
    random = np.random.default_rng(0)
    falling = 0.7 ** np.arange(points)
    values = (random.normal(size=(count, points)) * falling)[:, None].astype(np.float32)
    by = standard(values, np.arange(count))
    found = principal(values, np.arange(count), by)
    np.testing.assert_allclose(found @ found.T, np.eye(len(found)), atol=1e-6)
    x = by.apply(values)[:, 0]
    assert ((x @ found.T) ** 2).sum() >= 0.9998 * (x**2).sum()
    if min(count, points) > 130:
        assert len(found) < 20  # 0.7 ** 26 is the ten-thousandth of the variance


def test_a_linear_model_in_principal_directions_is_that_of_all_points() -> None:
    from sklearn.svm import LinearSVC

    values, labels = strides(each=40)
    found = fit("svm", values, labels, 0, C=1.0)
    x = ((values - found.mean) / found.scale).reshape(len(values), -1).astype(float)
    x /= np.sqrt((x**2).sum(axis=1).mean())
    full = LinearSVC(C=1.0, class_weight="balanced", max_iter=20000).fit(x, labels)
    np.testing.assert_allclose(found.scores(values), full.decision_function(x), atol=0.02)


def test_chunks_do_not_change_the_statistics() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(CHUNK + 40, 2, 11)).astype(np.float32)
    by = standard(values, np.arange(len(values)))
    np.testing.assert_allclose(by.mean, values.mean(axis=0), rtol=1e-4)
    spread = np.sqrt(((values - values.mean(axis=0)) ** 2).mean(axis=(0, 2)))
    np.testing.assert_allclose(by.scale[:, 0], spread, rtol=1e-4)


def test_a_channel_that_never_changes_is_left_at_zero() -> None:
    values, labels = strides()
    values[:, 1] = 9.81
    found = fit("svm", values, labels, 0)
    assert found.scale[1, 0] == 1.0
    assert np.abs(values[:, 1] - found.mean[1]).max() < 1e-5


def test_the_small_network_is_small_and_the_published_ones_have_their_shapes() -> None:
    weights = sum(w.numel() for w in nets.small(nets.Shape(40, 101, 100)).parameters())
    assert weights < 60_000
    forces = nets.Shape(6, 101, 57)
    wide = nets.cnn_a(forces)[-1]
    deep = nets.cnn_c3(forces)[-1]
    assert isinstance(wide, torch.nn.Linear)
    assert isinstance(deep, torch.nn.Linear)
    assert wide.in_features == deep.in_features == 96 * 32
    assert [type(layer).__name__ for layer in nets.mlp(forces, 3)].count("Linear") == 4


def test_bad_strides_are_one_sentence_each() -> None:
    values, labels = strides()
    gap = values.copy()
    gap[5, 2, 50] = np.nan
    cases: list[tuple[type[Exception], str, Any]] = [
        (ConfigError, "no model forest", lambda: fit("forest", values, labels, 0)),
        (ConfigError, "one class", lambda: fit("svm", values[:14], labels[:14], 0)),
        (ConfigError, "no strides", lambda: fit("svm", values[:0], labels[:0], 0)),
        (RecordingError, "Channel 2", lambda: fit("svm", gap, labels, 0)),
        (ConfigError, "7 points", lambda: fit("small", values[:, :, :7], labels, 0)),
        (ConfigError, "20 points", lambda: fit("cnn-a", values[:, :, :20], labels, 0, kernel=33)),
        (ConfigError, "colour", lambda: fit("mlp", values, labels, 0, colour=1)),
        (ConfigError, "colour", lambda: fit("svm", values, labels, 0, colour=1)),
    ]
    for kind, said, call in cases:
        with pytest.raises(kind, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_missing_scikit_learn_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    values, labels = strides()
    with pytest.raises(ConfigError, match=r"\[classify\]"):
        fit("svm", values, labels, 0)
