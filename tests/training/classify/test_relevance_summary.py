"""Summaries of relevance, and replacing points, do what they say, shown on numbers made by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_training.classify.learning import Standard
from talaria_training.classify.models import LinearClassifier
from talaria_training.relevance.explain import class_index, explain
from talaria_training.relevance.linear import linear_relevance
from talaria_training.relevance.lrp import Start
from talaria_training.relevance.perturbation import PerturbationParams, Spoiled, faithfulness
from talaria_training.relevance.rules import preset
from talaria_training.relevance.stability import stability
from talaria_training.relevance.summary import (
    percent_per_person,
    person_maps,
    phase_mask,
    shares,
    summarise,
)
from talaria_training.strides.table import Channel

CHANNELS = (
    Channel("knee_x", "knee", "sagittal", "deg"),
    Channel("ankle_x", "ankle", "sagittal", "deg"),
    Channel("knee_y", "knee", "frontal", "deg"),
)
POINTS = 101


def noise(count: int, seed: int = 0) -> NDArray[np.float32]:
    shape = (count, len(CHANNELS), POINTS)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def names(count: int) -> NDArray[np.str_]:
    return np.array([f"P{k}" for k in range(count)])


def test_shares_are_of_what_spoke_for_or_of_all() -> None:
    one = np.array([[[3.0, -1.0], [1.0, 0.0]]])
    np.testing.assert_allclose(shares(one, "positive"), [[[0.75, 0.0], [0.25, 0.0]]])
    np.testing.assert_allclose(shares(one, "absolute"), [[[0.6, 0.2], [0.2, 0.0]]])
    np.testing.assert_array_equal(shares(one, "net"), one)
    assert shares(-np.abs(one)).sum() == 0.0


def test_every_table_adds_up_to_a_hundred() -> None:
    found = summarise(person_maps(noise(12), names(12)), CHANNELS)
    for table in (found.channels, found.joints, found.planes, found.phases):
        assert sum(share.percent for share in table) == pytest.approx(100.0)
        assert all(share.low <= share.percent <= share.high for share in table)
    assert found.curve[0].sum() == pytest.approx(100.0)
    assert [share.name for share in found.joints] == ["knee", "ankle"]
    assert [share.name for share in found.planes] == ["sagittal", "frontal"]
    by_name = {share.name: share.percent for share in found.channels}
    assert found.joints[0].percent == pytest.approx(by_name["knee_x"] + by_name["knee_y"])


def test_the_early_phase_ends_at_47_percent() -> None:
    mask = phase_mask(101)
    assert mask[:48].all()
    assert not mask[48:].any()
    assert phase_mask(201).sum() == 95  # 0, 0.5, ... 47 %
    point = np.zeros((1, 3, POINTS))
    point[0, 1, 47] = 1.0
    phases = summarise(person_maps(point, names(1)), CHANNELS, "stance").phases
    assert [share.percent for share in phases] == [100.0, 0.0]
    assert [share.name for share in phases] == ["0-47 % of stance", "48-100 % of stance"]


def test_people_weigh_the_same_however_many_strides_they_have() -> None:
    knee, ankle = np.zeros((1, 3, POINTS)), np.zeros((1, 3, POINTS))
    knee[:, 0, 10], ankle[:, 1, 10] = 5.0, 0.01
    relevance = np.concatenate([knee] * 9 + [ankle])
    people = np.array(["A"] * 9 + ["B"])
    found = summarise(person_maps(relevance, people), CHANNELS)
    assert [share.percent for share in found.joints] == pytest.approx([50.0, 50.0])
    assert (found.people, found.strides) == (2, 10)
    each = percent_per_person(person_maps(relevance, people), CHANNELS)
    np.testing.assert_allclose(each["knee"], [100.0, 0.0])


def test_what_averages_out_has_no_net_share() -> None:
    relevance = np.zeros((2, 3, POINTS))
    relevance[:, 0, 5] = 1.0
    relevance[:, 1, 5] = [4.0, -4.0]
    maps = person_maps(relevance, names(2), convention="net")
    assert [s.percent for s in summarise(maps, CHANNELS).joints] == pytest.approx([100.0, 0.0])


def test_intervals_are_over_people_not_strides() -> None:
    relevance, people = noise(10), names(10)
    once = summarise(person_maps(relevance, people), CHANNELS)
    often = summarise(
        person_maps(np.repeat(relevance, 20, axis=0), np.repeat(people, 20)), CHANNELS
    )
    apart = summarise(person_maps(np.repeat(relevance, 20, axis=0), names(200)), CHANNELS)
    for a, b, c in zip(once.joints, often.joints, apart.joints, strict=True):
        assert (a.low, a.high) == pytest.approx((b.low, b.high))
        assert c.high - c.low < 0.5 * (a.high - a.low)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    truth = 100.0 / 3
    covered = 0
    for seed in range(60):
        joint = summarise(person_maps(noise(25, seed), names(25)), CHANNELS, seed=seed).joints[1]
        covered += joint.low <= truth <= joint.high
    assert 50 <= covered <= 60


def test_groups_are_kept_apart_and_a_person_in_both_is_drawn_as_one() -> None:
    people, groups = np.repeat(names(5), 2), np.array(["a", "b"] * 5)
    found = person_maps(noise(10), people, groups)
    assert found.maps.shape[0] == 10
    assert found.of("a").people.tolist() == names(5).tolist()
    assert summarise(found, CHANNELS).people == 5
    once, twice = noise(5), np.concatenate([noise(5), noise(5)])
    alone = summarise(person_maps(once, names(5)), CHANNELS)
    both = person_maps(twice, np.tile(names(5), 2), np.repeat(["a", "b"], 5))
    for a, b in zip(alone.joints, summarise(both, CHANNELS).joints, strict=True):
        assert (a.low, a.high) == pytest.approx((b.low, b.high))


def test_relevance_with_gaps_is_refused() -> None:
    relevance = noise(3)
    relevance[1, 0, 0] = np.nan
    with pytest.raises(RecordingError, match="Of 3 strides 1 have relevance that is no number"):
        person_maps(relevance, names(3))
    with pytest.raises(RecordingError, match="Of 0 strides"):
        person_maps(relevance[:0], names(0))


def test_no_relevance_has_no_shares() -> None:
    with pytest.raises(RecordingError, match="adds up to 0, of which there are no shares"):
        summarise(person_maps(np.zeros((2, 3, POINTS)), names(2)), CHANNELS)
    with pytest.raises(RecordingError, match="adds up to -"):
        summarise(person_maps(-np.abs(noise(2)), names(2), convention="net"), CHANNELS)


def test_stability_tells_the_mean_the_least_and_the_spread() -> None:
    maps = np.zeros((3, 3, 2))
    maps[:2] = [[0.0, 0.1], [0.2, 0.3], [0.15, 0.25]]  # ankle: half
    maps[2] = [[0.3, 0.2], [0.1, 0.0], [0.15, 0.05]]  # the other way round; ankle: a tenth
    found = stability(maps, CHANNELS)
    assert found.rank_least == pytest.approx(-1.0)
    assert found.rank_mean == pytest.approx(-1.0 / 3)
    assert found.joint_sd_points["ankle"] == pytest.approx(np.std([50, 50, 10], ddof=1))
    assert np.isnan(found.joint_rank_mean)  # of two joints there is no rank to speak of


def test_stability_of_one_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="train two or more"):
        stability(np.ones((1, 3, POINTS)), CHANNELS)


def model(seed: int = 3) -> LinearClassifier:
    rng = np.random.default_rng(seed)
    shape = (len(CHANNELS), POINTS)
    by = Standard(
        rng.normal(size=shape).astype(np.float32),
        rng.uniform(1, 2, (len(CHANNELS), 1)).astype(np.float32),
    )
    weight = 0.1 * rng.normal(size=(3, len(CHANNELS) * POINTS))
    return LinearClassifier("svm", ("a", "b", "c"), by, weight, rng.normal(size=3))


@pytest.mark.parametrize("start", ["score", "margin"])
def test_a_linear_classifier_is_explained_by_its_terms_in_any_batch(start: Start) -> None:
    linear, values = model(), noise(1203)
    target = np.arange(1203) % 3
    told: list[int] = []
    found = explain(linear, values, target, preset("zero"), start, told.append)
    closed = linear_relevance(linear.weight, linear.by.apply(values), target, start)
    np.testing.assert_allclose(found, closed, atol=1e-5)
    assert sum(told) == 1203
    if start == "score":
        whole = found.sum(axis=(1, 2)) + linear.bias[target]
        np.testing.assert_allclose(whole, linear.scores(values)[range(1203), target], atol=1e-4)


def test_weights_of_another_shape_are_refused() -> None:
    with pytest.raises(ConfigError, match="one weight per class and point"):
        linear_relevance(model().weight[:, 1:], noise(4), np.zeros(4, dtype=int))


def test_labels_the_classifier_does_not_know_are_named() -> None:
    assert class_index(("a", "b"), np.array(["b", "a"])).tolist() == [1, 0]
    with pytest.raises(ConfigError, match="labelled 'z', which the classifier was not trained on"):
        class_index(("a", "b"), np.array(["a", "z"]))


def strides(count: int = 60) -> Spoiled:
    linear, values = model(), noise(count)
    target = linear.scores(values).argmax(axis=1)
    relevance = explain(linear, values, target, preset("zero"))
    people = np.array([f"P{k % 10}" for k in range(count)])
    return Spoiled(values, relevance, target, people, linear.mean, linear.scale)


def test_untouched_strides_score_as_they_did_and_spent_ones_all_alike() -> None:
    given = strides()
    found = faithfulness(model().scores, given, PerturbationParams(upto=1.0))
    mine = model().scores(given.values)[range(60), given.target].mean()
    for order in ("most", "random", "least"):
        assert found.accuracy[order][0] == 1.0
        assert found.score[order][0] == pytest.approx(mine)
        assert found.score[order][-1] == pytest.approx(model().bias[given.target].mean(), abs=1e-4)
    assert (found.people, found.strides) == (10, 60)


def test_areas_are_the_mean_height_of_the_curves() -> None:
    found = faithfulness(model().scores, strides(), PerturbationParams(steps=4))
    curve = found.accuracy["most"]
    assert found.fraction.tolist() == [0.0, 0.125, 0.25, 0.375, 0.5]
    expected = np.interp(np.linspace(0, 0.5, 4001), found.fraction, curve).mean()
    area = found.accuracy_area["most"]
    assert area.value == pytest.approx(expected, abs=1e-3)
    assert area.low <= area.value <= area.high
    below = found.accuracy_area["random"].value - area.value
    assert found.accuracy_below_random["most"].value == pytest.approx(below)


def test_noise_replaces_what_the_mean_would_and_a_seed_settles_it() -> None:
    params = PerturbationParams(noise=True, block_points=7)
    a, b, c = (faithfulness(model().scores, strides(), params, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.score["most"], b.score["most"])
    assert not np.array_equal(a.score["most"], c.score["most"])
    assert a.accuracy_below_random["most"].low > 0.0


def test_blocks_hold_a_few_points_of_one_channel() -> None:
    seen: list[NDArray[np.float32]] = []
    given = strides(1)

    def score(values: NDArray[np.float32]) -> NDArray[np.float64]:
        seen.append(values)
        return model().scores(values)

    params = PerturbationParams(block_points=50, steps=9, upto=1.0, random_orders=1)
    faithfulness(score, given, params)
    # Channels of 101 points are cut into 50, 50 and 1.
    gone = [(was != given.values)[0] for was in seen[:10]]
    sizes = {int(b.sum() - a.sum()) for a, b in pairwise(gone)}
    assert sizes == {1, 50}
    added = gone[1] & ~gone[0]
    assert added.any(axis=1).sum() == 1


@pytest.mark.parametrize(
    "params",
    [
        PerturbationParams(block_points=0),
        PerturbationParams(block_points=102),
        PerturbationParams(upto=0.0),
        PerturbationParams(upto=1.1),
        PerturbationParams(steps=0),
        PerturbationParams(random_orders=0),
        PerturbationParams(strides=0),
    ],
)
def test_perturbations_that_cannot_be_are_refused(params: PerturbationParams) -> None:
    with pytest.raises(ConfigError, match="cannot be done to strides of 101 points"):
        faithfulness(model().scores, strides(), params)


def test_of_a_large_table_each_person_gives_as_many_strides() -> None:
    given = strides(60)
    people = np.array(["A"] * 50 + ["B"] * 8 + ["C"] * 2)
    many = Spoiled(given.values, given.relevance, given.target, people, given.mean, given.scale)
    found = faithfulness(model().scores, many, PerturbationParams(strides=12))
    assert (found.people, found.strides) == (3, 4 + 4 + 2)
    assert faithfulness(model().scores, many, PerturbationParams(strides=60)).strides == 60


def test_nothing_to_replace_is_refused() -> None:
    given = strides()
    empty = Spoiled(
        given.values[:0],
        given.relevance[:0],
        given.target[:0],
        given.people[:0],
        given.mean,
        given.scale,
    )
    with pytest.raises(RecordingError, match="no strides to replace points of"):
        faithfulness(model().scores, empty)
