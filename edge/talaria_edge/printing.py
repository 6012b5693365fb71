"""What the command says when it is done, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from talaria_bridge.link import OWN_FAMILY
from talaria_bridge.receiver import LinkReport
from talaria_edge.shake import ShakeOffset
from talaria_edge.spec import ModelSpec
from talaria_edge.summary import RunSummary

if TYPE_CHECKING:  # the radio's library is slow to load
    from talaria_bridge.ble import Found


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
    if summary.folder is not None:
        table.add_row("recorded in", str(summary.folder))
    console = Console()
    console.print(table)
    print_links(summary.links, console)


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
    console.print(about)
    outputs = Table("angle", "positive", "kind", "certainty", "held-out RMSE")
    errors = spec.held_out.rmse_deg if spec.held_out is not None else {}
    for output in spec.outputs:
        error = f"{errors[output.name]:.1f}°" if output.name in errors else "–"
        outputs.add_row(output.name, output.sign, output.kind, output.certainty, error)
    console.print(outputs)


def _clock(link: LinkReport) -> str:
    return f"jitter {link.jitter_s * 1e3:.1f} ms, off by {link.drift * 1e6:.0f} ppm"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
