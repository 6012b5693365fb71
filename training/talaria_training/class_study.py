"""Gait class of people held out, stride by stride: what is scored, and how well it was named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import CalibrationCollector, Stretch
from talaria_edge.gait import EventKind, GaitClass
from talaria_edge.pipeline import GaitState
from talaria_training.data.recording import Recording
from talaria_training.networks import GAIT_CLASSES
from talaria_training.train import class_of
from talaria_training.trials import CALIBRATION_PART, Trial

Counts = Mapping[tuple[str, str], int]
"""Strides by their true class and the one they were given."""


def calibration_stretch(recording: Recording) -> Stretch | None:
    """Return what a live calibration would have been made from, within `CALIBRATION_PART`."""
    rows = [recording.slots.index(slot) for slot in LEG_SLOTS]
    collector = CalibrationCollector(recording.rate_hz, LEG_SLOTS)
    stop = round(CALIBRATION_PART * len(recording.t_s))
    for acc, gyr in zip(
        recording.acc_ms2[:stop, rows], recording.gyr_rads[:stop, rows], strict=True
    ):
        stretch = collector.collect(acc, gyr)
        if stretch is not None:
            return stretch
    return None


def stride_classes(trial: Trial, states: Sequence[GaitState]) -> list[GaitClass]:
    """Class of every stride that ended on an initial contact while somebody walked.

    The calibration's part of a normal recording is left out: what is usual was read off it.
    """
    walked = np.asarray(np.isfinite(trial.cycle).any(axis=1))
    if true_class(trial) == GaitClass.WALKING:
        walked[: round(CALIBRATION_PART * len(walked))] = False
    return [
        state.gait_class
        for state, walking in zip(states, walked, strict=True)
        for event in state.events
        if event.kind is EventKind.INITIAL_CONTACT and walking
    ]


def true_class(trial: Trial) -> str | None:
    """Say what kind of strides the recording's condition names."""
    index = class_of(trial.condition)
    return None if index < 0 else GAIT_CLASSES[index]


def class_summary(people: Sequence[Counts]) -> dict[str, float | None]:
    """Say in three numbers how well some people's strides were named."""
    accuracies = [balanced_accuracy(strides) for strides in people]
    accuracies = [value for value in accuracies if not math.isnan(value)]
    return {
        "balanced_accuracy_mean": rounded(float(np.mean(accuracies))) if accuracies else None,
        "balanced_accuracy_worst": round(min(accuracies), 4) if accuracies else None,
        "called_unknown": share_unknown(people),
    }


def class_row(person: str, alone: Counts, beside_usual: Counts) -> dict[str, Any]:
    """Say of one person how many strides of each kind were named rightly, without and with the usual."""
    row: dict[str, Any] = {"person": person}
    for how, strides in (("alone", alone), ("beside_usual", beside_usual)):
        row[how] = {kind: rounded(_recall(strides, kind)) for kind in GAIT_CLASSES}
        row[how]["unknown"] = share_unknown([strides])
    return row


def balanced_accuracy(strides: Counts) -> float:
    """Mean over the true classes of the share of their strides named rightly; *unknown* is wrong."""
    shares = [_recall(strides, kind) for kind in GAIT_CLASSES]
    shares = [share for share in shares if not math.isnan(share)]
    return float(np.mean(shares)) if shares else math.nan


def _recall(strides: Counts, kind: str) -> float:
    mine = {said: n for (true, said), n in strides.items() if true == kind}
    return mine.get(kind, 0) / sum(mine.values()) if mine else math.nan


def share_unknown(people: Sequence[Counts]) -> float | None:
    """Share of all strides that were called unknown; None if there are none."""
    counts = [(said, n) for strides in people for (_, said), n in strides.items()]
    total = sum(n for _, n in counts)
    unknown = sum(n for said, n in counts if said == GaitClass.UNKNOWN.value)
    return round(unknown / total, 4) if total else None


def rounded(value: float) -> float | None:
    """Return a number as reports carry it; None for NaN."""
    return round(value, 4) if math.isfinite(value) else None
