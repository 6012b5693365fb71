from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talaria_bridge.errors import ConfigError
from talaria_training.classify.splits import Fold, Kind, check, inner, split
from talaria_training.classify.tasks import Labelled


def material(
    people: int = 8, each: int = 10, sessions: int = 2, within: bool = False, identity: bool = False
) -> Labelled:
    """Strides without values: half of the people in each group, or everybody in both."""
    person = np.repeat(np.arange(people), each * sessions)
    session = np.tile(np.repeat(np.arange(sessions), each), people)
    order = np.tile(np.arange(each), people * sessions)
    group = order % 2 if within else person % 2
    names = np.array([f"P{p:02d}" for p in person])
    said = np.array([f"S{s}" for s in session])
    return Labelled(
        values=np.zeros((len(person), 1, 1), np.float32),
        labels=names if identity else np.array([f"group {g}" for g in group]),
        person=names,
        session=said,
        recording=np.array([f"{a}/{b}" for a, b in zip(names, said, strict=True)]),
        order=order,
        identity=identity,
    )


@given(
    people=st.integers(4, 14), each=st.integers(2, 6), within=st.booleans(), seed=st.integers(0, 9)
)
def test_no_person_is_on_both_sides_of_a_split_by_person(
    people: int, each: int, within: bool, seed: int
) -> None:
    strides = material(people, each, 1, within)
    folds = split("person", strides, seed)
    for fold in folds:
        assert not set(strides.person[fold.train]) & set(strides.person[fold.test])
        assert set(strides.labels[fold.train]) == set(strides.labels)
    judged = np.concatenate([fold.test for fold in folds])
    assert sorted(judged.tolist()) == list(range(len(strides.labels)))


def test_groups_are_spread_evenly_over_the_parts() -> None:
    strides = material(people=12)
    for fold in split("person", strides, 1, 3):
        people = {p: strides.labels[strides.person == p][0] for p in strides.person[fold.test]}
        assert sorted(people.values()) == ["group 0", "group 0", "group 1", "group 1"]


def test_the_first_part_of_every_recording_is_before_its_last() -> None:
    strides = material(identity=True)
    shuffled = strides.take(np.random.default_rng(0).permutation(len(strides.labels)))
    (fold,) = split("first-last", shuffled, 0)
    for name in np.unique(shuffled.recording):
        train, test = (
            shuffled.order[rows[shuffled.recording[rows] == name]]
            for rows in (fold.train, fold.test)
        )
        assert (len(train), len(test)) == (7, 3)
        assert train.max() < test.min()


def test_each_session_is_judged_by_the_others() -> None:
    strides = material(identity=True)
    folds = split("across-sessions", strides, 0)
    assert [fold.name for fold in folds] == ["S1 to S0", "S0 to S1"]
    for fold in folds:
        assert not set(strides.session[fold.train]) & set(strides.session[fold.test])


def test_people_missing_from_a_session_are_left_out_of_both_sides() -> None:
    strides = material(identity=True)
    strides = strides.take(np.flatnonzero((strides.person != "P03") | (strides.session == "S0")))
    for fold in split("across-sessions", strides, 0):
        assert "P03" not in strides.person[fold.train]
        assert "P03" not in strides.person[fold.test]


def test_every_class_is_in_every_part_of_a_split_by_trial() -> None:
    strides = material(identity=True)
    for fold in split("trial", strides, 0):
        assert set(strides.labels[fold.test]) == set(strides.labels)


def test_settings_are_chosen_by_the_same_kind_of_split_where_it_can_be() -> None:
    kinds: list[tuple[Kind, Labelled, Kind]] = [
        ("person", material(), "person"),
        ("person", material(people=2), "first-last"),
        ("across-sessions", material(identity=True, sessions=3), "across-sessions"),
        ("across-sessions", material(identity=True, sessions=1), "first-last"),
        ("first-last", material(identity=True), "first-last"),
        ("trial", material(), "trial"),
    ]
    for kind, strides, expected in kinds:
        folds, found = inner(kind, strides, 0)
        assert found == expected
        assert folds


def test_recordings_of_one_stride_are_split_by_trial_inside() -> None:
    strides = material(people=2, sessions=1)
    strides = replace(
        strides, recording=np.arange(len(strides.labels)).astype(str), order=np.zeros(20, np.int64)
    )
    assert inner("person", strides, 0)[1] == "trial"


def test_a_fold_from_which_nothing_true_could_be_read_is_one_sentence() -> None:
    strides = material()
    rows = np.arange(len(strides.labels))
    one = np.flatnonzero(strides.labels == "group 0")
    other = np.flatnonzero(strides.labels == "group 1")
    half = len(one) // 2
    three = replace(strides, labels=np.where(strides.person == "P07", "rare", strides.labels))
    rare = np.flatnonzero(three.labels == "rare")
    cases = [
        (strides, Fold("x", rows[::2], rows[1::2]), True, "P00 on both sides"),
        (strides, Fold("x", rows, rows[:3]), False, "3 strides on both sides"),
        (strides, Fold("x", one[:half], other), False, "only 'group 0'"),
        (strides, Fold("x", rows, rows[:0]), False, "0 to judge"),
        (
            three,
            Fold("x", np.setdiff1d(rows, rare), rare),
            False,
            "'rare', of which there are none",
        ),
    ]
    for what, fold, by_person, said in cases:
        with pytest.raises(ConfigError, match=said) as caught:
            check(fold, what, by_person=by_person)
        assert "\n" not in str(caught.value)


def test_a_split_that_cannot_be_is_one_sentence() -> None:
    lonely = material()
    lonely = replace(lonely, labels=np.where(lonely.person == "P00", "alone", "others"))
    single = material(identity=True).take(np.array([0, 1, 20]))
    cases: list[tuple[Kind, Labelled, str]] = [
        ("person", material(identity=True), "cannot be told by name"),
        ("across-sessions", material(sessions=1), "of one session"),
        ("person", lonely, "'alone' has one person"),
        ("trial", single, "has one stride"),
    ]
    for kind, strides, said in cases:
        with pytest.raises(ConfigError, match=said) as caught:
            split(kind, strides, 0)
        assert "\n" not in str(caught.value)
