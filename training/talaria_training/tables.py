"""Tables for people: what the commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from talaria_edge.kinematics import ANGLES, HIP_OUT_OF_PLANE, SAGITTAL
from talaria_training.data.recording import Recording
from talaria_training.demo import LiveResult, Walk
from talaria_training.evaluate import Row, score
from talaria_training.optical import RECORDING, Optical
from talaria_training.reference import full_chain_reference

_REFERENCES = {
    "full_chain": "the full inertial chain (IMU-derived, shares sensors with the input)",
    "optical": "optical motion capture",
    "given": "the angles files that came with the recordings",
}


_SHORT = {
    "multi_user": "multi-user",
    "fine_tuned": "fine-tuned",
    "single_user": "single-user",
    "person_mean": "own mean",
    "train_mean": "mean curve",
}


def evaluation(document: Mapping[str, Any]) -> Sequence[Table]:
    """Build one table per reference: joints down, approaches across, degrees, mean over people."""
    shown = []
    summary = document["summary"]
    for reference in dict.fromkeys(key.split("/")[1] for key in summary):
        columns = {k.split("/")[0]: e for k, e in summary.items() if k.split("/")[1] == reference}
        people = max(entry["people"] for entry in columns.values())
        table = Table(
            title=f"RMSE (offset removed) in ° against {_REFERENCES.get(reference, reference)}"
        )
        table.caption = (
            f"{people} people held out, mean over people; ± is their standard deviation."
        )
        table.add_column("angle")
        for approach in columns:
            table.add_column(_SHORT.get(approach, approach), justify="right")
        for joint in ANGLES:
            if joint == HIP_OUT_OF_PLANE[0]:
                table.add_section()
            table.add_row(joint, *(_cell(entry["joints"][joint]) for entry in columns.values()))
        table.add_section()
        means = [entry["sagittal_mean"] for entry in columns.values()]
        table.add_row("six sagittal", *map(_cell, means))
        table.add_row("  SD of people", *(_number(m["rmse_deg_sd"], "± {:.2f}") for m in means))
        table.add_row("  Pearson r", *(_number(m["r_mean"], "{:.3f}") for m in means))
        shown.append(table)
    return shown


def _cell(entry: Mapping[str, float | None]) -> str:
    if entry["rmse_deg_mean"] is None:
        return "–"
    return f"{entry['rmse_deg_mean']:.2f} ({entry['rmse_offset_removed_deg_mean']:.2f})"


def _number(value: float | None, text: str) -> str:
    return "–" if value is None else text.format(value)


def reference(recordings: Sequence[Recording], optical: Optical) -> Table:
    """Set the full-chain reference and OpenSense against optics, on the same seconds."""
    chains = full_chain_reference(recordings)
    chain = next(c for c, r in zip(chains, recordings, strict=True) if r.name == RECORDING)
    recording = next(r for r in recordings if r.name == RECORDING)
    assert chain.angles_rad is not None  # Sub02 has everything the chain needs
    mine, theirs = optical.overlap(recording.t_s)
    ours = np.stack([chain.angles_rad[name][mine] for name in ANGLES], axis=1)
    rows = {
        "full chain": score("full_chain", "optical", "Sub02", [(ours, optical.angles_rad[theirs])]),
        "OpenSense": score(
            "opensense",
            "optical",
            "Sub02",
            [(optical.opensense_rad[theirs], optical.angles_rad[theirs])],
        ),
    }
    seconds = (theirs.stop - theirs.start) / recording.rate_hz
    table = Table(title=f"{RECORDING} against optics, {seconds:.0f} s: RMSE (offset removed) in °")
    table.add_column("angle")
    for name in rows:
        table.add_column(name, justify="right")
    for ours_row, their_row in zip(*rows.values(), strict=True):
        table.add_row(ours_row.joint, _pair(ours_row), _pair(their_row))
    table.caption = chain.note
    return table


def _pair(row: Row) -> str:
    return f"{row.rmse_deg:.1f} ({row.rmse_offset_removed_deg:.1f})"


def demo(walk: Walk, base: str, result: LiveResult) -> Table:
    """Error per joint before and after personalisation, and what the stream cost."""
    table = Table(
        title=f"Live stream of {result.seconds:.0f} s, {walk.person}", caption_justify="left"
    )
    for heading in ("angle", f"before: {base}", "after fine-tuning"):
        table.add_column(heading, justify="left" if heading == "angle" else "right")
    for joint, (before, after) in result.rmse_deg.items():
        table.add_row(joint, f"{before:.1f}°", f"{after:.1f}°")
    mean = np.array([result.rmse_deg[j] for j in SAGITTAL if j in result.rmse_deg]).mean(axis=0)
    table.add_section()
    table.add_row("[b]mean of six sagittal[/b]", f"[b]{mean[0]:.1f}°[/b]", f"[b]{mean[1]:.1f}°[/b]")
    same = "the same" if result.replay_equal else "OTHER"
    table.caption = (
        f"Errors are RMSE against {walk.truth}.\n"
        f"Pipeline latency per tick: p50 {result.p50_ms:.2f} ms, p99 {result.p99_ms:.2f} ms. "
        f"Samples lost: {result.lost} of {result.received + result.lost}. "
        f"Replaying the recorded session gave {same} angles, bit for bit."
    )
    return table


def gait(document: Mapping[str, Any]) -> Sequence[Table]:
    """Build the tables of an events report: contacts, then angles, without and with sensors lost."""
    return _contacts(document), _verdicts(document), _angles(document)


def _contacts(document: Mapping[str, Any]) -> Table:
    table = Table(
        title=f"Contacts within {document['tolerance_s'] * 1e3:.0f} ms of the plate's, people held out"
    )
    for column in ("detector", "lost", "class", "side", "kind", "events"):
        table.add_column(column)
    for column in ("F1", "|error| ms", "bias", "p95", "delay ms", "p95"):
        table.add_column(column, justify="right")
    for row in document["events"]:
        if row["person"] != "all" or "f1" not in row:
            continue
        said = [str(row[k]) for k in ("detector", "lost", "class", "side", "kind", "events")]
        numbers = (
            "median_abs_error_ms",
            "bias_ms",
            "p95_abs_error_ms",
            "median_delay_ms",
            "p95_delay_ms",
        )
        table.add_row(*said, f"{row['f1']:.3f}", *(_number(row.get(k), "{:.0f}") for k in numbers))
    return table


def _verdicts(document: Mapping[str, Any]) -> Table:
    summary = document["summary"]
    table = Table(title="Gait class and cycle, people held out", show_header=False)
    table.add_row(
        "balanced accuracy, mean over people", _number(summary["balanced_accuracy_mean"], "{:.3f}")
    )
    table.add_row("of the worst person", _number(summary["balanced_accuracy_worst"], "{:.3f}"))
    table.add_row("strides called unknown", _number(summary["called_unknown"], "{:.2%}"))
    for kind, rms in summary["cycle_rms_mean"].items():
        table.add_row(f"cycle RMS, {kind}", _number(rms, "{:.1%}"))
    return table


def _angles(document: Mapping[str, Any]) -> Table:
    angles = document["summary"]["angles"]
    table = Table(
        title="RMSE °, coverage of the 90 % intervals, their mean half-width °, share shown"
    )
    table.add_column("lost")
    for name in SAGITTAL:
        table.add_column(name, justify="right")
    for lost in angles["rmse_deg"]:
        cells = []
        for name in SAGITTAL:
            rmse, held, half, shown = (angles[field][lost][name] for field in angles)
            texts = (_number(rmse, "{:.1f}"), _number(held, "{:.0%}"), _number(half, "±{:.0f}"))
            cells.append(" ".join((*texts, _number(shown, "{:.0%}"))))
        table.add_row(lost, *cells)
    return table
