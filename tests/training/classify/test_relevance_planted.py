"""A difference planted at one joint and moment receives the relevance, and replacing it costs the most."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from talaria_training.classify.learning import standard
from talaria_training.classify.models import Classifier, LinearClassifier, fit
from talaria_training.relevance.explain import class_index, explain
from talaria_training.relevance.perturbation import (
    Faithfulness,
    PerturbationParams,
    Spoiled,
    faithfulness,
)
from talaria_training.relevance.rules import preset
from talaria_training.relevance.stability import stability
from talaria_training.relevance.summary import Convention, Summary, person_maps, summarise
from talaria_training.strides.table import Channel

JOINTS, PLANES = ("hip", "knee", "ankle"), ("sagittal", "frontal")
CHANNELS = tuple(Channel(f"{j}_{p}", j, p, "deg") for j in JOINTS for p in PLANES)
POINTS, PEOPLE, EACH = 101, 80, 4
KNEE = 2
WINDOW = slice(20, 31)
MODELS = ("template", "mlp", "cnn-a", "cnn-c3")


@cache
def walk(seed: int) -> tuple[NDArray[np.float32], NDArray[np.str_], NDArray[np.str_]]:
    """People with smooth curves of their own; one group's knee bends further at 20-30 %."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(PEOPLE), EACH)
    group = np.where(who % 2 == 0, "less", "more")
    bell = np.exp(-0.5 * (np.arange(-15, 16) / 5.0) ** 2)
    noise = rng.normal(size=(PEOPLE + len(who), len(CHANNELS), POINTS + 30))
    smooth = np.apply_along_axis(np.convolve, 2, noise, bell / np.linalg.norm(bell), "valid")
    values = 30.0 + 7.0 * (smooth[:PEOPLE][who] + smooth[PEOPLE:])
    values[:, KNEE, WINDOW] += 20.0 * np.where(group == "less", -1.0, 1.0)[:, None]
    return values.astype(np.float32), group, np.char.add("P", who.astype(str))


@cache
def trained(name: str, seed: int = 0, *, shuffled: bool = False) -> Classifier:
    values, group, _ = walk(1)
    if shuffled:
        group = np.random.default_rng(0).permutation(group)
    if name != "template":
        return fit(name, values, group, seed, epochs=12)
    by = standard(values, np.arange(len(values)))
    x = by.apply(values).reshape(len(values), -1).astype(float)
    weight = np.stack([x[group == one].mean(axis=0) for one in ("less", "more")])
    return LinearClassifier(name, ("less", "more"), by, weight, np.zeros(2))


@cache
def explained(
    name: str, rules: str, seed: int = 0, *, shuffled: bool = False
) -> NDArray[np.float32]:
    """Relevance of other people's strides than those learned from."""
    values, group, _ = walk(2)
    classifier = trained(name, seed, shuffled=shuffled)
    return explain(classifier, values, class_index(classifier.classes, group), preset(rules))


def summary(found: NDArray[np.float32], convention: Convention) -> Summary:
    return summarise(person_maps(found, walk(2)[2], convention=convention), CHANNELS)


def spoiled(
    name: str, relevance: NDArray[np.float32], params: PerturbationParams | None = None
) -> Faithfulness:
    values, group, people = walk(2)
    classifier = trained(name)
    target = class_index(classifier.classes, group)
    strides = Spoiled(values, relevance, target, people, classifier.mean, classifier.scale)
    return faithfulness(classifier.scores, strides, params)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_learns_the_planted_difference(name: str) -> None:
    values, group, _ = walk(2)
    classifier = trained(name)
    said = classifier.scores(values).argmax(axis=1)
    assert (said == class_index(classifier.classes, group)).mean() > 0.9


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rules", ["epsilon", "horst", "composite"])
def test_the_planted_joint_and_moment_receive_the_relevance(name: str, rules: str) -> None:
    found = explained(name, rules)
    # The knee is 33 % of the channels, the window 1.8 % of the points.
    knee = {one.name: one for one in summary(found, "positive").joints}["knee"]
    assert knee.percent > 50
    assert knee.low > 48
    net = {one.name: one for one in summary(found, "net").joints}["knee"]
    assert net.percent > 65
    assert net.low > 60
    maps = person_maps(found, walk(2)[2], convention="net").maps
    assert maps[:, KNEE, WINDOW].sum() / maps.sum() > 0.55
    peak = np.unravel_index(maps.mean(axis=0).argmax(), maps.shape[1:])
    assert peak[0] == KNEE
    assert WINDOW.start <= peak[1] < WINDOW.stop


def test_labels_drawn_at_random_leave_the_knee_its_share_of_the_channels() -> None:
    knee = summary(explained("mlp", "epsilon", shuffled=True), "positive").joints[1]
    assert knee.percent == pytest.approx(100 / 3, abs=8)


@pytest.mark.parametrize("name", MODELS)
def test_the_most_relevant_points_cost_most(name: str) -> None:
    found = spoiled(name, explained(name, "horst"), PerturbationParams(steps=5))
    assert found.accuracy_below_random["most"].low > 0.3
    assert found.score_below_random["most"].low > 0.0
    assert found.accuracy_below_random["least"].high < 0.0
    assert found.accuracy_below_random["random"].value == 0.0


def test_relevance_of_no_meaning_is_no_better_than_chance() -> None:
    noise = np.random.default_rng(5).normal(size=walk(2)[0].shape).astype(np.float32)
    found = spoiled("template", noise)
    assert abs(found.accuracy_below_random["most"].value) < 0.05


def test_relevance_turned_round_turns_the_orders_round() -> None:
    right = explained("mlp", "epsilon")
    a, b = spoiled("mlp", right), spoiled("mlp", -right)
    assert b.accuracy_below_random["most"].high < 0.0
    # Blocks of equal relevance may change places.
    np.testing.assert_allclose(a.accuracy["most"], b.accuracy["least"], atol=0.01)


def test_a_linear_score_falls_by_just_the_relevance_that_was_replaced() -> None:
    found = explained("template", "zero")
    params = PerturbationParams(block_points=1, steps=5, upto=0.5)
    curve = spoiled("template", found, params)
    flat = -np.sort(-found.reshape(len(found), -1), axis=1)
    replaced = [round(share * flat.shape[1]) for share in curve.fraction]
    expected = [(flat.sum(axis=1) - flat[:, :count].sum(axis=1)).mean() for count in replaced]
    np.testing.assert_allclose(curve.score["most"], expected, rtol=1e-3, atol=1e-2)


def test_two_seeds_tell_the_same_story() -> None:
    runs = [person_maps(explained("mlp", "epsilon", seed), walk(2)[2]) for seed in range(3)]
    found = stability(np.stack([run.maps.mean(axis=0) for run in runs]), CHANNELS)
    assert found.networks == 3
    assert found.rank_least > 0.4
    assert found.joint_sd_points["knee"] < 5.0
    noise = np.random.default_rng(0).random((3, len(CHANNELS), POINTS))
    assert abs(stability(noise, CHANNELS).rank_mean) < 0.1
