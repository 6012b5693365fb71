"""What a session came to, for the caller and for the recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talaria_bridge.receiver import LinkReport
from talaria_edge.force_log import ForceSummary
from talaria_edge.gait_log import GaitSummary


@dataclass(frozen=True, slots=True)
class OutputReport:
    """What became of one sink: its name, what its consumer never got, and why it was given up."""

    name: str
    dropped: int
    trouble: str


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a session came to.

    Attributes
    ----------
    ticks, states : int
        Instants of the common clock, and those after calibration, for which there is a gait state.
    seconds : float
        From the first tick to the last, in the sensors' time.
    validity : dict of str to int
        States that were good, degraded, invalid.
    received, lost : dict of slot to int
        Samples that reached the clock, and those missing from the sensors' own numbering.
    links : tuple of LinkReport
        What happened to the bytes of each device.
    dropped_chunks : int
        Chunks lost because this program was too slow.
    p50_ms, p99_ms : float
        Time of one `Pipeline.step` over the last ten minutes; NaN without a state.
    folder : Path or None
        Where it was recorded.
    outputs : tuple of OutputReport
        What became of each sink that was asked for.
    gait : GaitSummary or None
        The walking in it; None where no model ran.
    forces : ForceSummary or None
        What was under the feet; None where no force model ran.
    """

    ticks: int
    states: int
    seconds: float
    validity: dict[str, int]
    received: dict[str, int]
    lost: dict[str, int]
    links: tuple[LinkReport, ...]
    dropped_chunks: int
    p50_ms: float
    p99_ms: float
    folder: Path | None
    outputs: tuple[OutputReport, ...] = ()
    gait: GaitSummary | None = None
    forces: ForceSummary | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``session.toml`` keeps them."""
        return {
            "ticks": self.ticks,
            "states": self.states,
            "seconds": self.seconds,
            "dropped_chunks": self.dropped_chunks,
            "step_p50_ms": self.p50_ms,
            "step_p99_ms": self.p99_ms,
            "validity": self.validity,
            "received": self.received,
            "lost": self.lost,
            "sinks": {o.name: {"dropped": o.dropped, "trouble": o.trouble} for o in self.outputs},
            "gait": None if self.gait is None else self.gait.to_dict(),
            "forces": None if self.forces is None else self.forces.to_dict(),
            "links": {link.name or "only": _link(link) for link in self.links},
        }


def _link(link: LinkReport) -> dict[str, Any]:
    return {
        "family": link.family,
        "bytes_in": link.bytes_in,
        "messages": link.messages,
        "reconnects": link.reconnects,
        "restarts": link.restarts,
        "duplicates": link.duplicates,
        "jitter_s": link.jitter_s,
        "drift": link.drift,
        "battery": link.battery,
        "signal_dbm": link.signal_dbm,
        "refusals": link.refusals,
        "faults": dict(link.faults),
        "lost": dict(link.lost),
        "longest_burst": dict(link.longest_burst),
    }
