"""Tables for people: what the commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from talaria_edge.kinematics import ANGLES, HIP_OUT_OF_PLANE, SAGITTAL
from talaria_training.data.recording import Recording
from talaria_training.demo import LiveResult, Walk
from talaria_training.evaluate import OPTICAL_BUDGET_S
from talaria_training.optical import RECORDING, Optical
from talaria_training.reference import full_chain_reference
from talaria_training.scoring import Row, score

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
    "fine_tuned_optical": f"tuned on {OPTICAL_BUDGET_S:g} s of optics",
    "opensense": "OpenSense",
}
_KINDS = ("multi_user", "fine_tuned", "single_user")


def evaluation(document: Mapping[str, Any]) -> Sequence[Table]:
    """Build the tables of a report: per reference, joints by approach, and errors by budget."""
    entries = [(*_approach(key), entry) for key, entry in document["summary"].items()]
    shown = []
    for reference in dict.fromkeys(reference for _, _, reference, _ in entries):
        mine = [(a, budget, e) for a, budget, r, e in entries if r == reference]
        budgets = sorted({budget for _, budget, _ in mine if budget is not None})
        # A minute is what a calibration session has.
        main = 60.0 if 60.0 in budgets else max(budgets, default=None)
        columns = {a: e for a, budget, e in mine if budget in (None, main, OPTICAL_BUDGET_S)}
        ours = {a: e for a, e in columns.items() if not a.startswith("hur2025")}
        theirs = {a: e for a, e in columns.items() if a.startswith("hur2025")}
        shown.append(_by_joint(ours, _title(reference, main)))
        if len(budgets) > 1:
            shown.append(_by_budget(mine, budgets, reference))
        if theirs:
            shown.append(_beside(ours, theirs, reference))
    held = document.get("intervals", {}).get("coverage")
    return [*shown, _coverage(held)] if held else shown


def _coverage(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Show how much the 90 % intervals held and how wide they were, approach and budget across."""
    table = Table(title="90 % intervals: share held, and half-width in °")
    table.caption = (
        "Factors from the other people; mean over people held out, the worst in brackets."
    )
    table.add_column("angle")
    columns = list(dict.fromkeys((row["approach"], row["budget_s"]) for row in rows))
    columns = [c for c in columns if c[1] in (None, 10.0, 60.0) and c[0] != "single_user"]
    for approach, budget in columns:
        said = f", {budget:g} s" if budget else ""
        table.add_column(_SHORT.get(approach, approach) + said, justify="right")
    found = {(row["approach"], row["budget_s"], row["joint"]): row for row in rows}
    for joint in ANGLES:
        cells = (found.get((*column, joint)) for column in columns)
        table.add_row(joint, *("–" if cell is None else _held(cell) for cell in cells))
    return table


def _held(row: Mapping[str, Any]) -> str:
    return f"{row['coverage']:.1%} ({row['worst']:.0%}), {row['half_width_deg']:.1f}"


def _approach(key: str) -> tuple[str, float | None, str]:
    """Split a summary's key into approach, budget in seconds, and reference."""
    name, reference = key.split("/")
    approach, _, budget = name.partition("@")
    return approach, float(budget.rstrip("s")) if budget else None, reference


def _title(reference: str, budget_s: float | None) -> str:
    said = f", {budget_s:g} s of the person's own" if budget_s else ""
    return f"RMSE (offset removed) in ° against {_REFERENCES.get(reference, reference)}{said}"


def _by_joint(columns: Mapping[str, Any], title: str) -> Table:
    people = max(entry["people"] for entry in columns.values())
    table = Table(title=title)
    table.caption = f"{people} people held out, mean over people; ± is their standard deviation."
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
    return table


def _by_budget(
    entries: Sequence[tuple[str, float | None, Any]], budgets: Sequence[float], reference: str
) -> Table:
    """Show the mean of the six sagittal angles, seconds of one's own down, approaches across."""
    approaches = list(dict.fromkeys(a for a, budget, _ in entries if budget is not None))
    found = {(a, budget): e["sagittal_mean"] for a, budget, e in entries}
    table = Table(title=f"Six sagittal angles by seconds of own walking, against {reference}")
    table.add_column("seconds", justify="right")
    for approach in approaches:
        table.add_column(_SHORT.get(approach, approach), justify="right")
    for budget in budgets:
        cells = (found.get((a, budget)) for a in approaches)
        table.add_row(f"{budget:g}", *("" if cell is None else _cell(cell) for cell in cells))
    return table


def _beside(ours: Mapping[str, Any], theirs: Mapping[str, Any], reference: str) -> Table:
    """Set every published network beside our approach of the same kind."""
    table = Table(
        title=f"Beside the recipe of Hur et al. 2025, six sagittal angles, against {reference}"
    )
    for heading in ("published", "its error", "ours", "our error", "ours / published"):
        table.add_column(heading, justify="left" if heading in ("published", "ours") else "right")
    for name, entry in theirs.items():
        kind = next((a for a in _KINDS if a in name), None)
        if kind is None or kind not in ours:
            continue
        a, b = entry["sagittal_mean"], ours[kind]["sagittal_mean"]
        ratio = b["rmse_deg_mean"] / a["rmse_deg_mean"]
        said = name.removeprefix("hur2025_").replace("_", " ")
        table.add_row(said, _cell(a), _SHORT[kind], _cell(b), f"{ratio:.2f}")
    return table


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
    usual = summary["beside_usual"]
    table = Table(
        "", "network alone", "beside own usual", title="Gait class and cycle, people held out"
    )
    for name, key, shape in (
        ("balanced accuracy, mean over people", "balanced_accuracy_mean", "{:.3f}"),
        ("of the worst person", "balanced_accuracy_worst", "{:.3f}"),
        ("strides called unknown", "called_unknown", "{:.2%}"),
    ):
        table.add_row(name, _number(summary[key], shape), _number(usual[key], shape))
    for row in summary["classes"]:
        cells = [
            ", ".join(f"{kind} {_number(share, '{:.3f}')}" for kind, share in row[how].items())
            for how in ("alone", "beside_usual")
        ]
        table.add_row(row["person"], *cells)
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


def unfamiliar(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Show what intervals held, and how wide they were, as walks get stranger."""
    table = Table(title="90 % intervals of six sagittal angles, people held out")
    for name in ("walk", "novelty", "RMSE", "held", "half-width", "widened: held", "half-width"):
        table.add_column(name, justify="left" if name == "walk" else "right")
    for row in rows:
        worst = f"{row['coverage_widened']:.1%} (worst {row['coverage_widened_worst']:.0%})"
        table.add_row(
            row["walk"],
            f"{row['novelty']:.2f}",
            f"{row['rmse_deg']:.1f}°",
            f"{row['coverage']:.1%}",
            f"{row['half_width_deg']:.1f}°",
            worst,
            f"{row['half_width_widened_deg']:.1f}°",
        )
    return table
