"""Gait of people held out: how events, intervals and classes are judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from talaria_bridge.errors import RecordingError
from talaria_edge.calibration import Stretch
from talaria_edge.gait import EventKind, GaitClass, GaitEvent
from talaria_edge.kinematics import ANGLES
from talaria_training import gait_study, tables
from talaria_training.artefacts import Provenance, model_spec
from talaria_training.band import normal_band
from talaria_training.class_study import (
    balanced_accuracy,
    class_row,
    class_summary,
    stride_classes,
    true_class,
)
from talaria_training.data.recording import Contact, Recording
from talaria_training.gait_study import Errors, interval_factors, score_events
from talaria_training.networks import GaitNet
from talaria_training.train import MULTI_USER
from talaria_training.trials import Trial, gait_labels, prepare_person

TINY = replace(
    MULTI_USER, hidden=16, layers=1, dropout=0.0, steps=60, batch=8, window=128, absent=0.1
)


def walked(trial: Trial) -> Trial:
    """The trial with a left foot that lands every second from 1 s to 9 s, 0.6 s on the ground."""
    contacts = tuple(
        Contact(t + 0.6 * (kind == "final"), "l", kind)
        for t in np.arange(1.0, 9.5)
        for kind in ("initial", "final")
    )
    labels = gait_labels(contacts, 1000, 100.0)
    return replace(
        trial.part(0, 1000 / len(trial.features)),
        contact=labels[0],
        cycle=labels[1],
        contacts=contacts,
    )


def said(*times_s: float, late_s: float = 0.04) -> list[tuple[float, GaitEvent]]:
    return [(t + late_s, GaitEvent(t, "l", EventKind.INITIAL_CONTACT)) for t in times_s]


def test_events_are_matched_one_to_one(trials: list[Trial]) -> None:
    trial = walked(trials[0])
    times = [1.01, 2.0, 3.0, 4.0, 4.05, 5.3, 6.0, 7.0, 8.0, 9.0]
    score = score_events(trial, said(*times), "l", EventKind.INITIAL_CONTACT)
    assert (score.hits, score.false, score.missed) == (8, 2, 1)
    assert score.summary()["f1"] == pytest.approx(2 * 8 / (2 * 8 + 2 + 1), abs=1e-4)
    assert np.median(score.delay_s) == pytest.approx(0.04, abs=0.001)
    other = score_events(trial, said(*times), "l", EventKind.FINAL_CONTACT)
    assert (other.hits, other.missed) == (0, 9)


def test_an_event_where_the_plate_is_silent_is_neither_right_nor_wrong(trials: list[Trial]) -> None:
    trial = walked(trials[0])
    score = score_events(trial, said(*range(1, 10), 0.3, 9.9), "l", EventKind.INITIAL_CONTACT)
    assert (score.hits, score.false, score.missed) == (9, 0, 0)


def test_intervals_hold_what_they_promise_of_people_left_out() -> None:
    """On average over who happens to be measured; a plain quantile of few people promises too much."""
    random = np.random.default_rng(0)

    def people(count: int) -> list[Errors]:
        found = []
        for offset in random.normal(0, 0.1, count):
            error = np.full((40, len(ANGLES)), np.nan)  # angles nobody measured
            error[:, 0] = offset + 0.05 * random.standard_normal(40)
            found.append(Errors(error, np.full_like(error, 0.05)))
        return found

    again = np.array([p.error_rad[:, 0] for p in people(400)])
    held, plain = [], []
    for _ in range(40):
        known = people(6)
        factors = interval_factors(known)
        assert list(factors) == [ANGLES[0]]
        held.append((np.abs(again) <= factors[ANGLES[0]] * 0.05).mean())
        pooled = np.abs([p.error_rad[:, 0] for p in known])
        plain.append((np.abs(again) <= np.quantile(pooled, 0.9)).mean())
    assert np.mean(plain) < np.mean(held) - 0.01
    assert 0.89 < np.mean(held) < 0.93


def test_an_unknown_stride_is_not_a_right_one() -> None:
    strides = {
        ("walking", "walking"): 8,
        ("walking", "unknown"): 2,
        ("stiff_knee", "stiff_knee"): 3,
        ("stiff_knee", "walking"): 1,
    }
    assert balanced_accuracy(strides) == pytest.approx((0.8 + 0.75) / 2)


def test_the_walk_that_says_what_is_usual_is_not_scored(trials: list[Trial]) -> None:
    trial = walked(trials[0])
    states = [
        SimpleNamespace(
            gait_class=GaitClass.WALKING,
            events=(GaitEvent(i / 100, "l", EventKind.INITIAL_CONTACT),) if i % 100 == 50 else (),
        )
        for i in range(len(trial.cycle))
    ]
    normal, stiff = replace(trial, condition="Baseline"), replace(trial, condition="StiffKnee")
    assert true_class(normal) == "walking"
    assert len(stride_classes(stiff, states)) == 8
    assert len(stride_classes(normal, states)) == 7  # the one at 1.5 s lies in the first fifth


def test_recalls_are_given_per_person_without_and_beside_the_usual() -> None:
    alone = {("walking", "stiff_knee"): 3, ("walking", "walking"): 1, ("stiff_knee", "unknown"): 2}
    beside = {("walking", "walking"): 4, ("stiff_knee", "stiff_knee"): 2}
    row = class_row("Sub05", alone, beside)
    assert row["alone"] == {"walking": 0.25, "stiff_knee": 0.0, "unknown": 0.3333}
    assert row["beside_usual"] == {"walking": 1.0, "stiff_knee": 1.0, "unknown": 0.0}
    assert class_summary([alone, beside])["balanced_accuracy_mean"] == pytest.approx(0.5625)
    assert class_summary([alone, beside])["balanced_accuracy_worst"] == 0.125


def test_the_usual_knees_are_read_off_the_first_fifth_of_the_normal_walk(
    recordings: list[Recording], trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Stretch] = []

    def ranges(stretch: Stretch, *_: object) -> dict[str, list[float]]:
        seen.append(stretch)
        return {"r": [1.0, 1.1, 1.2], "l": [0.9] * 4}

    monkeypatch.setattr(gait_study, "knee_ranges", ranges)
    net = GaitNet(trials[0].features.shape[1], 8, 1, 0.0).eval()
    spec = model_spec(net, Provenance("tiny", "", (), 100.0))
    whole, mine = {recordings[0].name: recordings[0]}, [trials[0]]
    usual = gait_study.usual_knees(net, spec, mine, whole)
    assert usual == {recordings[0].name: {"r": 1.1, "l": 0.9}}
    fifth = recordings[0].acc_ms2[: len(recordings[0].t_s) // 5]
    last = seen[0].acc_ms2[-1, 0]  # both lay the thigh of the right leg first
    assert (fifth[:, recordings[0].slots.index("femur_r")] == last).all(axis=1).any()
    first = {recordings[0].name: recordings[0].part(0.0, 30.0)}  # of which a fifth is no walk
    assert gait_study.usual_knees(net, spec, mine, first) == {}
    stiff = replace(trials[0], condition="StiffKnee")
    assert gait_study.usual_knees(net, spec, [stiff], whole) == {}


def test_a_person_held_out_is_streamed_and_reported(
    recordings: list[Recording], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gait_study, "LOSSES", ((), ("calcn_l",)))
    short = [recording.part(0.0, 20.0) for recording in recordings]
    trials = [prepare_person([recording]).trials[0] for recording in recordings]
    trials = [trial.part(0.0, 20.0 / 70.0) for trial in trials]
    folds = {t.person: gait_study.look(trials, t.person, TINY) for t in trials}
    known = gait_study.calibrated(folds.values(), "both")
    results = [gait_study.measure(trials, short, t.person, TINY, known) for t in trials]
    report = gait_study.document(folds, results)
    rows = [r for r in report["events"] if r["person"] == "all" and r["lost"] == "calcn_l"]
    assert {r["detector"] for r in rows} == {"network"}
    rules = [r for r in report["events"] if r["person"] == "all" and r["detector"] == "rules"]
    assert all(r["f1"] > 0.9 for r in rules)
    assert set(report["summary"]["angles"]["rmse_deg"]) == {"none", "calcn_l"}
    assert {row["judged"] for row in report["strides"]} == {"alone", "beside usual"}
    assert [row["person"] for row in report["summary"]["classes"]] == ["Sim11", "Sim12"]
    assert all(table.row_count for table in tables.gait(report))
    (tmp_path / "gait.json").write_text(json.dumps(report))
    intervals, familiarity = gait_study.known_of(tmp_path / "gait.json", ["Sim11"])
    assert set(intervals.factor) == set(ANGLES)
    assert (
        familiarity.protocol
        == "chosen on all but Sim11, each by a network trained without that person"
    )
    with pytest.raises(RecordingError, match="leave out one person"):
        gait_study.known_of(tmp_path / "gait.json", ["Sim11", "Sim12"])


def test_the_usual_band_is_the_walker_s_own_curve(trials: list[Trial]) -> None:
    band = normal_band(trials[:1])
    assert set(band) == set(ANGLES)
    knee = trials[0].angles_rad[:, ANGLES.index("knee_angle_r")]
    assert max(band["knee_angle_r"]["mean_deg"]) == pytest.approx(np.degrees(knee.max()), abs=6.0)
    assert normal_band([replace(trials[0], condition="StiffKnee")]) == {}
