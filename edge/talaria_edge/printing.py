"""What the command says when it is done, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from talaria_bridge.link import OWN_FAMILY
from talaria_bridge.receiver import LinkReport
from talaria_edge.force_log import ForceSummary
from talaria_edge.gait_log import GaitSummary
from talaria_edge.grading import CalibrationReport
from talaria_edge.machine import Check, Verdict
from talaria_edge.shake import ShakeOffset
from talaria_edge.sinks.calibration import render_report
from talaria_edge.spec import ModelSpec
from talaria_edge.summary import RunSummary

if TYPE_CHECKING:  # the radio's library is slow to load
    from talaria_bridge.ble import Found
    from talaria_edge.labels.attach import Labels  # and so is the library of statistics


def print_summary(summary: RunSummary) -> None:
    """Print what a session came to."""
    table = Table(title="Session", show_header=False)
    table.add_row("time", f"{summary.seconds:.1f} s, {summary.ticks} ticks")
    if summary.states:
        table.add_row("gait states", f"{summary.states} ({_counts(summary.validity)})")
    for slot, received in summary.received.items():
        table.add_row(slot, f"{received} samples, {summary.lost[slot]} lost")
    if summary.dropped_chunks:
        table.add_row("too slow", f"{summary.dropped_chunks} chunks dropped")
    if math.isfinite(summary.p50_ms):
        table.add_row("step", f"p50 {summary.p50_ms:.2f} ms, p99 {summary.p99_ms:.2f} ms")
    for output in summary.outputs:
        fate = f"{output.dropped} dropped" if output.dropped else "nothing dropped"
        table.add_row(Text(output.name), Text(", ".join(filter(None, (fate, output.trouble)))))
    if summary.folder is not None:
        table.add_row("recorded in", str(summary.folder))
    console = Console()
    console.print(table)
    if summary.forces is not None and any(summary.forces.statistics.used.values()):
        console.print(_forces(summary.forces))
    if summary.gait is not None and any(summary.gait.statistics.strides.values()):
        console.print(_gait(summary.gait))
    print_links(summary.links, console)


_STRIDE_ROWS = (
    ("stride time, s", "time_s", 1.0),
    ("step time, s", "step_time_s", 1.0),
    ("cadence, steps/min", "cadence_spm", 1.0),
    ("stance, %", "stance_ratio", 100.0),
    ("double support, %", "double_support_ratio", 100.0),
    ("stride length, m", "length_m", 1.0),
    ("speed, m/s", "speed_ms", 1.0),
    ("hip range, °", "hip_flexion_rom_rad", math.degrees(1.0)),
    ("knee range, °", "knee_angle_rom_rad", math.degrees(1.0)),
    ("ankle range, °", "ankle_angle_rom_rad", math.degrees(1.0)),
)


def _gait(gait: GaitSummary) -> Table:
    """Tabulate the strides: mean and variation of each leg, and how far the legs differ."""
    counts = gait.statistics.strides
    classes = ", ".join(f"{count} {name}" for name, count in gait.classes.items())
    table = Table("mean (variation, %)", title=f"Strides: {classes}", title_justify="left")
    for column in (f"right, {counts['r']}", f"left, {counts['l']}", "symmetry index, %"):
        table.add_column(column, justify="right")
    for label, name, scale in _STRIDE_ROWS:
        spread = gait.spread(name)
        if not any(side.count for side in spread.values()):
            continue
        cells = (
            f"{side.mean * scale:.2f} ({side.cv_percent:.1f})" if side.count else "–"
            for side in (spread["r"], spread["l"])
        )
        apart = gait.statistics.symmetry_percent[name]
        table.add_row(label, *cells, f"{apart:+.1f}" if math.isfinite(apart) else "–")
    return table


STANCE_ROWS = (
    ("first peak, BW", "first_peak_bw"),
    ("second peak, BW", "second_peak_bw"),
    ("highest vertical force, BW", "peak_bw"),
    ("loading rate, BW/s", "loading_rate_bw_s"),
    ("vertical impulse, BW s", "impulse_bw_s"),
    ("braking impulse, BW s", "braking_bw_s"),
    ("propulsive impulse, BW s", "propulsion_bw_s"),
    ("outward impulse, BW s", "lateral_bw_s"),
)
"""What the numbers of a stance are called."""


def _forces(forces: ForceSummary) -> Table:
    """Tabulate the stances as the strides are."""
    found = forces.statistics
    left_out = sum(found.left_out.values())
    table = Table(
        "mean (variation, %)", title=f"Stances: {left_out} left out", title_justify="left"
    )
    for column in (f"right, {found.used['r']}", f"left, {found.used['l']}", "symmetry index, %"):
        table.add_column(column, justify="right")
    for label, name in STANCE_ROWS:
        row = found.spread[name]
        cells = (
            f"{side.mean:.3f} ({side.cv_percent:.1f})" if side.count else "–"
            for side in (row["r"], row["l"])
        )
        apart = found.symmetry_percent[name]
        table.add_row(label, *cells, f"{apart:+.1f}" if math.isfinite(apart) else "–")
    return table


def print_calibration(report: CalibrationReport | None, profile: Path | None) -> None:
    """Print how good a calibration was, and where it is kept."""
    console = Console()
    if report is not None:
        console.print(render_report(report))
    if profile is not None:
        console.print(f"Kept in {profile}.", highlight=False, soft_wrap=True)


def print_links(links: Iterable[LinkReport], console: Console) -> None:
    """Print how each link has been doing."""
    for link in links:
        burst = max(link.longest_burst.values(), default=0)
        table = Table(title=link.name or "the link", title_justify="left", show_header=False)
        table.add_row("came", f"{link.messages} messages in {link.bytes_in} bytes")
        table.add_row("lost", f"{sum(link.lost.values())}, at most {burst} in a row")
        table.add_row("damaged or unused", _counts(link.faults))
        table.add_row("reconnections, restarts", f"{link.reconnects}, {link.restarts}")
        table.add_row("clock", _clock(link))
        console.print(table)
        for refusal in link.refusals:
            console.print(f"{link.name}: {refusal}")


def print_ports(ports: Sequence[tuple[str, str]]) -> None:
    """Print the serial ports something is plugged into."""
    table = Table("serial port", "calls itself", "source")
    for port, product in ports:
        table.add_row(port, product, f"serial:{port}")
    if ports:
        Console().print(table)


def print_found(found: Sequence[Found]) -> None:
    """Print the sensors a scan found."""
    console = Console()
    if not found:
        console.print("No sensor of a known family was heard: switch them on and come closer.")
        return
    table = Table("family", "name", "address", "battery", "signal", "source")
    for device in sorted(found, key=lambda device: -device.rssi_dbm):
        battery = "–" if device.battery is None else f"{device.battery:.0%}"
        signal = f"{device.rssi_dbm} dBm"
        slot = "" if device.family == OWN_FAMILY else "?slot=SLOT"
        spec = f"ble:{device.family}/{device.address}{slot}"
        table.add_row(device.family, device.name, device.address, battery, signal, spec)
    console.print(table)


def print_offsets(offsets: Mapping[str, ShakeOffset]) -> None:
    """Print how far apart sensors are, and what to add to their sources."""
    table = Table("sensor", "ahead by", "match", "better than the next by", "add to its source")
    for slot, found in offsets.items():
        add = f"offset={found.offset_s:.4f}"
        ahead = f"{found.offset_s * 1e3:.1f} ms"
        table.add_row(slot, ahead, f"{found.match:.2f}", f"{found.lead:.2f}", add)
    Console().print(table)


_COLOURS = {
    Verdict.OK: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.SKIPPED: "dim",
}


def print_checks(checks: Iterable[Check]) -> None:
    """Print what was looked at, what was seen, and what to do about it."""
    table = Table("check", "verdict", "found", "what to do")
    for check in checks:
        verdict = Text(check.verdict, style=_COLOURS[check.verdict])
        table.add_row(check.name, verdict, Text(check.found), Text(check.advice))
    Console().print(table)


def print_labels(labels: Labels) -> None:
    """Print what a reference file's labels are worth."""
    lag = labels.lag
    table = Table(title=f"{labels.file}", show_header=False)
    table.add_row("from", labels.reference)
    for note in labels.notes:
        table.add_row("", note)
    table.add_row("angles", ", ".join(labels.names))
    table.add_row("labelled", f"{labels.covered_s:.1f} s")
    table.add_row("lag", f"{lag.lag_s:.3f} s" + (", as given" if labels.given else ""))
    table.add_row("match", f"{lag.match:.3f} over {lag.overlap_s:.1f} s of walking")
    if math.isfinite(lag.lead):
        table.add_row("lead", f"{lag.lead:.2f} over the next best lag, {lag.runner_up_s:.2f} s")
    if math.isfinite(lag.scatter_s):
        drift = f"{lag.drift_seen * 1e6:.0f} ppm" + ("" if lag.drift else ", not corrected")
        table.add_row("drift", drift)
        table.add_row("stretches differ by", f"{lag.scatter_s * 1e3:.1f} ms")
    Console().print(table)


def print_spec(spec: ModelSpec, file: Path) -> None:
    """Print a model's spec for a person to read."""
    console = Console()
    about = Table(title=spec.model_id, show_header=False)
    about.add_row("file", str(file))
    about.add_row("sensors", ", ".join(spec.slots))
    about.add_row("rate", f"{spec.rate_hz:g} Hz")
    about.add_row("features", f"version {spec.feature_version}, {len(spec.channels)} channels")
    about.add_row("calibration", spec.calibration)
    about.add_row("trained on", spec.trained_on)
    if spec.held_out is not None:
        about.add_row("held-out error", f"{spec.held_out.protocol}, {spec.held_out.reference}")
    forces = spec.gives == "forces"
    if forces:
        about.add_row("delay", f"{spec.delay_s * 1e3:.0f} ms")
    console.print(about)
    measure = "held-out mean absolute error" if forces else "held-out RMSE"
    what = "angle"
    if forces:
        moments = any(output.unit != "BW" for output in spec.outputs)
        what = "force or moment" if moments else "force"
    outputs = Table(what, "positive", "kind", "certainty", measure)
    known = spec.held_out
    errors = {} if known is None else known.mae if forces else known.rmse_deg
    for output in spec.outputs:
        error = "–"
        if output.name in errors:
            value = errors[output.name]
            error = f"{value:.3f} {output.unit}" if forces else f"{value:.1f}°"
        outputs.add_row(output.name, output.sign, output.kind, output.certainty, error)
    console.print(outputs)


def _clock(link: LinkReport) -> str:
    return f"jitter {link.jitter_s * 1e3:.1f} ms, off by {link.drift * 1e6:.0f} ppm"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
