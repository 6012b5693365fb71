"""A session's numbers as Prometheus reads them, and its health as a person does.

The text is Prometheus' exposition format 0.0.4; times are in seconds and sizes in bytes, as its naming
guide asks. `talaria_edge.endpoint` serves it.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from talaria_bridge.receiver import LinkReport
from talaria_edge.alignment import SlotStatus
from talaria_edge.pipeline import GaitState
from talaria_edge.service import Health
from talaria_edge.summary import RunSummary

STEP_BOUNDS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Upper bounds of the step-time buckets; a tick at 100 Hz has 0.01 s."""


@dataclass(slots=True)
class StepTimes:
    """How long pipeline steps took: counts per bucket, so that its size never grows.

    Attributes
    ----------
    counts : list of int
        One per bound of `STEP_BOUNDS_S`, and one for longer steps; not cumulative.
    total_s : float
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(STEP_BOUNDS_S) + 1))
    total_s: float = 0.0

    def add(self, step_s: float) -> None:
        """Count one step."""
        self.counts[bisect.bisect_left(STEP_BOUNDS_S, step_s)] += 1
        self.total_s += step_s


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a session says of itself while it runs.

    Attributes
    ----------
    summary : RunSummary
        Its counters so far; the percentiles in it are not used.
    records : bool
        Whether it is being recorded now.
    model : str
        The model's name; empty without one.
    state : GaitState or None
        The newest.
    steps : StepTimes
    """

    summary: RunSummary
    records: bool
    model: str = ""
    state: GaitState | None = None
    steps: StepTimes = field(default_factory=StepTimes)


def render(vitals: Vitals, health: Health, root: Path = Path("/")) -> str:
    """Write a session's numbers in the exposition format.

    Parameters
    ----------
    vitals : Vitals
    health : Health
    root : Path
        Where ``proc`` and ``sys`` are.
    """
    summary = vitals.summary
    page = _Page()
    labels = {"version": version("talaria"), "model": vitals.model}
    page.add("talaria_info", "gauge", "What runs.", [(labels, 1)])
    page.add("talaria_flowing", "gauge", "1 while ticks flow.", _one(health.flows))
    page.add(
        "talaria_recording", "gauge", "1 while the session is being recorded.", _one(vitals.records)
    )
    page.add("talaria_ticks_total", "counter", "Instants of the common clock.", _one(summary.ticks))
    page.add("talaria_states_total", "counter", "Gait states.", _by("validity", summary.validity))
    page.add("talaria_samples_total", "counter", "Samples.", _by("slot", summary.received))
    page.add("talaria_samples_lost_total", "counter", "Samples lost.", _by("slot", summary.lost))
    dropped = summary.dropped_chunks
    page.add(
        "talaria_dropped_chunks_total", "counter", "Lost because Talaria was slow.", _one(dropped)
    )
    _add_slots(page, vitals.state, summary.received)
    _add_links(page, summary.links)
    page.histogram("talaria_step_seconds", "Time of one pipeline step.", vitals.steps)
    _add_host(page, summary.folder, root)
    return page.text()


def health_json(vitals: Vitals, health: Health) -> str:
    """Say in one line of JSON how the session is."""
    state = vitals.state
    return json.dumps(
        {
            "life": health.life,
            "reason": health.reason,
            "ticks": vitals.summary.ticks,
            "recording": vitals.records,
            "validity": None if state is None else state.validity,
            "validity_reason": None if state is None else state.reason,
        }
    )


class _Page:
    """Lines of the exposition format, family by family."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(
        self, name: str, kind: str, told: str, rows: Iterable[tuple[Mapping[str, str], float]]
    ) -> None:
        rows = list(rows)
        if rows:
            self._lines += (f"# HELP {name} {told}", f"# TYPE {name} {kind}")
            self._lines += (f"{name}{_labels(labels)} {value:.12g}" for labels, value in rows)

    def histogram(self, name: str, told: str, times: StepTimes) -> None:
        self._lines += (f"# HELP {name} {told}", f"# TYPE {name} histogram")
        bounds = [*(f"{bound:g}" for bound in STEP_BOUNDS_S), "+Inf"]
        seen = 0
        for bound, count in zip(bounds, times.counts, strict=True):
            seen += count
            self._lines.append(f'{name}_bucket{{le="{bound}"}} {seen}')
        self._lines += (f"{name}_sum {times.total_s:.9g}", f"{name}_count {seen}")

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    quoted = (
        value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for value in labels.values()
    )
    pairs = (f'{name}="{value}"' for name, value in zip(labels, quoted, strict=True))
    return "{" + ",".join(pairs) + "}"


def _one(value: float) -> list[tuple[dict[str, str], float]]:
    return [({}, float(value))]


def _by(label: str, values: Mapping[str, float]) -> Iterator[tuple[dict[str, str], float]]:
    return (({label: name}, value) for name, value in values.items())


def _add_slots(page: _Page, state: GaitState | None, slots: Iterable[str]) -> None:
    if state is None:
        return
    here = dict(zip(slots, state.slot_status, strict=True))
    up = {slot: float(status is not SlotStatus.GONE) for slot, status in here.items()}
    page.add("talaria_slot_up", "gauge", "1 while the slot is heard.", _by("slot", up))
    loss = dict(zip(here, state.slot_loss, strict=True))
    page.add("talaria_slot_loss_ratio", "gauge", "Lost in the last second.", _by("slot", loss))


def _add_links(page: _Page, links: Iterable[LinkReport]) -> None:
    links = list(links)

    def rows(value: Callable[[LinkReport], float | None]) -> Iterator[tuple[dict[str, str], float]]:
        found = ((link.name, value(link)) for link in links)
        return (({"link": name}, number) for name, number in found if number is not None)

    up = rows(lambda link: float(link.connected))
    page.add("talaria_link_up", "gauge", "1 while the link is connected.", up)
    again = rows(lambda link: link.reconnects)
    page.add("talaria_link_reconnects_total", "counter", "Times the link came back.", again)
    came = rows(lambda link: link.bytes_in)
    page.add("talaria_link_bytes_total", "counter", "Bytes that came.", came)
    charge = rows(lambda link: link.battery)
    page.add("talaria_link_battery_ratio", "gauge", "Charge of the sensor, 0 to 1.", charge)
    signal = rows(lambda link: link.signal_dbm)
    page.add("talaria_link_signal_dbm", "gauge", "Received signal strength.", signal)
    faults = [
        ({"link": link.name, "kind": kind}, count)
        for link in links
        for kind, count in link.faults.items()
    ]
    page.add("talaria_link_faults_total", "counter", "Bytes and messages of no use.", faults)


def _add_host(page: _Page, folder: Path | None, root: Path) -> None:
    """Add what the machine says; a number it does not have is left out."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(folder or Path.cwd()).free
        page.add("talaria_disk_free_bytes", "gauge", "Where sessions are recorded.", _one(free))
    warmest = temperature_c(root)
    if warmest is not None:
        page.add("talaria_temperature_celsius", "gauge", "The warmest sensor.", _one(warmest))
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int((root / "proc/self/statm").read_text(encoding="ascii").split()[1])
        resident = pages * os.sysconf("SC_PAGE_SIZE")
        page.add("process_resident_memory_bytes", "gauge", "Resident memory.", _one(resident))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    busy_s = usage.ru_utime + usage.ru_stime
    page.add("process_cpu_seconds_total", "counter", "Processor time used.", _one(busy_s))


def temperature_c(root: Path = Path("/")) -> float | None:
    """Read the warmest of the machine's own temperature sensors; None where there is none."""
    found = []
    for file in sorted(root.glob("sys/class/thermal/thermal_zone*/temp")):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(file.read_text(encoding="ascii")) / 1000.0)
    return max(found, default=None)
