from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from talaria_training.classify.tasks import Labelled
from talaria_training.classify.worth import (
    balanced_accuracy,
    chance,
    names_swapped,
    relabelled,
    worth,
)


def people_in_groups(people: int, each: int, identity: bool = False) -> Labelled:
    person = np.repeat([f"P{p:02d}" for p in range(people)], each)
    group = np.repeat([f"g{p % 2}" for p in range(people)], each)
    count = len(person)
    return Labelled(
        np.zeros((count, 1, 1), np.float32),
        person if identity else group,
        person,
        np.full(count, "1"),
        person,
        np.tile(np.arange(each), people),
        identity,
    )


def test_an_interval_is_as_wide_as_the_people_make_it_not_their_strides() -> None:
    widths = []
    for each in (5, 200):
        strides = people_in_groups(10, each)
        wrong = np.isin(strides.person, ["P00", "P01", "P02"])
        other = np.where(strides.labels == "g0", "g1", "g0")
        answers = np.where(wrong, other, strides.labels)
        found = worth(strides, np.arange(len(answers)), answers, 0)
        assert found.accuracy.value == pytest.approx(0.7)
        widths.append(found.accuracy.high - found.accuracy.low)
    assert widths[1] == pytest.approx(widths[0], abs=1e-9)
    assert widths[0] > 0.4


def test_identity_resamples_strides_and_says_so() -> None:
    found = []
    for each in (20, 500):
        strides = people_in_groups(6, each, identity=True)
        answers = strides.labels.copy()
        answers[::10] = "P05"
        found.append(worth(strides, np.arange(len(answers)), answers, 0))
    assert {one.resampled for one in found} == {"strides"}
    narrow, wide = (one.accuracy.high - one.accuracy.low for one in found[::-1])
    assert narrow < 0.5 * wide


def test_recall_and_confusion_count_every_stride_once() -> None:
    strides = people_in_groups(4, 5)
    answers = np.full(20, "g0")
    found = worth(strides, np.arange(20), answers, 0)
    assert found.confusion == [[10, 0], [10, 0]]
    assert found.recall == [1.0, 0.0]
    assert found.balanced.value == 0.5


def test_people_who_are_not_judged_are_no_class() -> None:
    strides = people_in_groups(5, 4, identity=True)
    found = worth(strides, np.arange(8), np.array(["P00"] * 7 + ["P03"]), 0)
    assert found.classes == ["P00", "P01", "P03"]
    assert found.recall == [1.0, 0.0, None]
    assert found.balanced.value == 0.5


def test_balanced_accuracy_does_not_reward_the_frequent_class() -> None:
    true = np.array(["a"] * 90 + ["b"] * 10)
    assert balanced_accuracy(true, np.full(100, "a")) == 0.5


def test_labels_are_dealt_to_whole_people() -> None:
    strides = people_in_groups(10, 7)
    dealt = [relabelled(strides, seed).labels for seed in range(20)]
    for labels in dealt:
        for person in np.unique(strides.person):
            assert len(np.unique(labels[strides.person == person])) == 1
        assert (labels == "g0").sum() == 35
    assert len({tuple(labels) for labels in dealt}) > 10


def test_conditions_swap_within_each_person() -> None:
    strides = people_in_groups(6, 8)
    strides = replace(strides, labels=np.where(strides.order < 4, "normal", "stiff"))
    swapped = set()
    for seed in range(20):
        labels = relabelled(strides, seed).labels
        for person in np.unique(strides.person):
            mine = labels[strides.person == person]
            assert set(mine[:4]) | set(mine[4:]) == {"normal", "stiff"}
            assert len(set(mine[:4])) == len(set(mine[4:])) == 1
            swapped.add((str(person), str(mine[0])))
    assert len(swapped) == 12  # everybody both ways


def test_names_swapped_give_chance() -> None:
    perfect = (np.eye(20, dtype=int) * 30).tolist()
    found = names_swapped(perfect, 500, 0)
    assert np.mean(found) == pytest.approx(1 / 20, abs=0.01)


def test_p_is_never_zero_and_counts_ties() -> None:
    assert chance(0.9, [0.5] * 99) == pytest.approx(0.01)
    assert chance(0.5, [0.5] * 99) == 1.0
    assert chance(0.7, [0.1, 0.8, 0.7]) == pytest.approx(0.75)
