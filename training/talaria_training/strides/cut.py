"""Strides of Talaria's own recordings: joint angles or raw sensor axes, from contact to contact.

Sensor axes are those of the calibrated segment (x forward, y up, z to the right, the left leg mirrored into
the right), which is what makes sessions with newly mounted sensors, and both legs, comparable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import SIDES
from talaria_edge.pipeline import PipelineParams
from talaria_training.data.recording import Recording
from talaria_training.networks import GAIT_CLASSES, GaitNet
from talaria_training.reference import mounting_of
from talaria_training.strides.events import Span, spans
from talaria_training.strides.resample import at_percent
from talaria_training.strides.signals import Signals, leg_channels, leg_series, of_other_leg
from talaria_training.strides.table import POINTS, StrideTable
from talaria_training.train import class_of
from talaria_training.trials import Trial

Floats = NDArray[np.float64]
Note = Callable[[str], None]

CONDITIONS = dict(zip(GAIT_CLASSES, ("normal", "stiff-knee"), strict=True))
"""What the condition column says for each gait class a recording's own condition names."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """How strides are cut.

    Attributes
    ----------
    signals : Signals
    both_legs : bool
        Add the other leg's channels, named ``other_…``, over the same stride.
    condition : str
        What to call the condition of every recording; empty takes it from the recording.
    """

    signals: Signals = Signals.ANGLES
    both_legs: bool = False
    condition: str = ""


def session_of(recording: Recording) -> str:
    """Name the session: recordings between which the sensors stayed on."""
    return mounting_of(recording).removeprefix(f"{recording.person}/")


def cut_strides(
    trials: Sequence[Trial],
    sessions: Mapping[str, str],
    how: Cutting | None = None,
    net: GaitNet | None = None,
    note: Note = print,
) -> StrideTable:
    """Cut trials into strides of either leg.

    Parameters
    ----------
    trials : sequence of Trial
    sessions : mapping of str to str
        A trial's name to its session; a trial that is not there is a session of its own.
    how : Cutting, optional
    net : GaitNet, optional
        Gives the angles of `Signals.ESTIMATE`, and finds contacts where nobody measured them.
    note : callable
        Told of every trial, channel and stride that was left out.

    Returns
    -------
    StrideTable
        (N, channels, 101); columns also ``recording``, and ``events``: how a stride's ends were found.

    Raises
    ------
    RecordingError
        If no stride is left, or an estimate was asked for without a model.
    """
    how = how or Cutting()
    if how.signals is Signals.ESTIMATE and net is None:
        raise RecordingError(
            "Estimated angles need the model that estimates them: give one with --model."
        )
    measured = [(t, s) for t in trials if (s := leg_series(t, how.signals, net)) is not None]
    for trial in trials:
        if all(trial is not kept for kept, _ in measured):
            note(f"{trial.name}: left out, it has no reference angles")
    if not measured:
        raise RecordingError(
            "None of these recordings has reference angles: label them, let a model estimate them (strides "
            "make --signals estimate --model, explain --estimator), or cut sensor axes (strides make "
            "--signals imu)."
        )
    wanted = _common(how.signals, [s for _, s in measured], note)
    cuts = [_cut(trial, series[:, :, wanted], how, net, note) for trial, series in measured]
    found = [cut for cut in cuts if len(cut.values)]
    if not found:
        raise RecordingError("There is no whole stride in these recordings: see the notes above.")
    own = [leg_channels(how.signals)[i] for i in wanted]
    return StrideTable(
        np.concatenate([cut.values for cut in found]),
        (*own, *(of_other_leg(c) for c in own if how.both_legs)),
        _columns(found, sessions, how),
        np.concatenate([cut.order for cut in found]),
        "stride",
        _source(how.signals, {cut.trial.reference for cut in found}),
    )


@dataclass(frozen=True, slots=True)
class _Cut:
    """One trial's strides."""

    trial: Trial
    spans: Sequence[Span]
    values: NDArray[np.float32]
    order: NDArray[np.int64]


def _cut(trial: Trial, series: Floats, how: Cutting, net: GaitNet | None, note: Note) -> _Cut:
    if how.both_legs:
        series = np.concatenate([series, series[::-1]], axis=2)
    # An estimate from an empty memory is not yet one of this walk.
    settled_s = PipelineParams().settle_s if how.signals is Signals.ESTIMATE else 0.0
    found = [s for s in spans(trial, net) if s.start_s >= settled_s]
    values = np.empty((len(found), series.shape[2], POINTS), np.float32)
    for row, span in enumerate(found):
        rows = span.start_s * trial.rate_hz, span.stop_s * trial.rate_hz
        values[row] = at_percent(series[SIDES.index(span.side)], *rows)
    whole = np.asarray(np.isfinite(values).all(axis=(1, 2)))
    if not found:
        note(f"{trial.name}: left out, it has no whole stride")
    elif not whole.all():
        note(f"{trial.name}: {(~whole).sum()} of {len(found)} strides have gaps and are left out")
    kept = [s for s, ok in zip(found, whole.tolist(), strict=True) if ok]
    return _Cut(trial, kept, values[whole], np.flatnonzero(whole).astype(np.int64))


def _common(signals: Signals, series: Sequence[Floats], note: Note) -> list[int]:
    """Channels that every trial has for both legs."""
    wanted = []
    for i, channel in enumerate(leg_channels(signals)):
        lacking = sum(not np.isfinite(s[:, :, i]).any(axis=1).all() for s in series)
        if lacking:
            note(f"{channel.name}: left out, {lacking} of {len(series)} recordings do not have it")
        else:
            wanted.append(i)
    if not wanted:
        raise RecordingError(
            "No channel is measured in all of these recordings: choose --people who have the same ones, or "
            "cut raw sensor axes."
        )
    return wanted


def _columns(
    found: Sequence[_Cut], sessions: Mapping[str, str], how: Cutting
) -> dict[str, NDArray[np.str_]]:
    rows = [
        (
            cut.trial.person,
            sessions.get(cut.trial.name, cut.trial.name),
            span.side,
            how.condition or _condition(cut.trial.condition),
            cut.trial.name,
            span.found_by,
        )
        for cut in found
        for span in cut.spans
    ]
    names = ("person", "session", "side", "condition", "recording", "events")
    return {
        name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def _condition(said: str) -> str:
    index = class_of(said)
    return said if index < 0 else CONDITIONS[GAIT_CLASSES[index]]


def _source(signals: Signals, references: set[str]) -> str:
    if signals is Signals.IMU:
        return "Talaria recordings: thigh and foot sensors in calibrated segment axes, the left leg mirrored."
    if signals is Signals.ESTIMATE:
        return "Talaria recordings: joint angles estimated by a model from thigh and foot sensors."
    by = {
        "full_chain": "inertial sensors on pelvis, thighs, shanks and feet, two of them also the input",
        "given": "the recording's own reference",
    }
    return f"Talaria recordings: joint angles measured by {' or '.join(by[r] for r in sorted(references))}."
