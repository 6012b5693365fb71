"""Sensors that count the same packets, laid side by side, with lost packets as gaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.tables.textfile import Floats
from talaria_training.data.health import longest_run
from talaria_training.data.recording import DataIssue
from talaria_training.data.xsens import COUNTER_WRAP, XsensText

# A sensor that lost so much is of no use, and must not cost the others their data.
_LOST_SENSOR = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """The part of the common counter that is used.

    Attributes
    ----------
    rows : ndarray of int, shape (T,)
        Samples since the first instant that all sensors saw.
    at : dict of slot to ndarray of int, shape (T,)
        Each sensor's own row for it, -1 where that packet was lost.
    """

    rows: NDArray[np.int64]
    at: dict[str, NDArray[np.int64]]

    def take(self, slot: str, values: Floats) -> Floats:
        """Return one sensor's values on the common counter, NaN where the packet was lost."""
        taken = values[self.at[slot]]
        taken[self.at[slot] < 0] = np.nan
        return np.asarray(taken)


def lay_on_counter(
    name: str, texts: Mapping[str, XsensText], longest: int
) -> tuple[Laid, list[DataIssue]]:
    """Lay sensors on their common counter and keep the longest part without a long gap.

    Parameters
    ----------
    name : str
        The recording, for the issues.
    texts : mapping of slot to XsensText
        All of one rate.
    longest : int
        Lost packets in a row that can be bridged.

    Returns
    -------
    laid : Laid
    issues : list of DataIssue
        How many packets were lost and what was cut because of it.

    Raises
    ------
    RecordingError
        If the sensors share no packet.
    """
    packets = _unwrapped({slot: text.packet for slot, text in texts.items()})
    first = max(int(p[0]) for p in packets.values())
    last = min(int(p[-1]) for p in packets.values())
    if last < first:
        raise RecordingError("its sensors share no packet: they are not of one recording")
    at = {slot: _rows_of(packet, first, last) for slot, packet in packets.items()}
    lost = {slot: rows < 0 for slot, rows in at.items()}
    issues = [
        DataIssue(
            f"{name}, {slot}",
            f"{gone.sum()} of {len(gone)} packets were lost",
            "they are gaps and not closed up",
        )
        for slot, gone in lost.items()
        if gone.any()
    ]
    begin, length = _longest_whole(list(lost.values()), longest)
    if length < last - first + 1:
        rate_hz = next(iter(texts.values())).rate_hz
        what = f"gaps of more than {longest / rate_hz:g} s cut it into parts"
        span = f"from {begin / rate_hz:.1f} to {(begin + length) / rate_hz:.1f} s"
        issues.append(DataIssue(name, what, f"only the longest part is used, {span}"))
    part = slice(begin, begin + length)
    rows = np.arange(begin, begin + length)
    return Laid(rows, {slot: own[part] for slot, own in at.items()}), issues


def _unwrapped(packets: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """Bring counters together of which some had begun anew when the recording started."""
    top = max(int(p[0]) for p in packets.values())
    return {
        slot: p + COUNTER_WRAP if top - int(p[0]) > COUNTER_WRAP // 2 else p
        for slot, p in packets.items()
    }


def _rows_of(packet: NDArray[np.int64], first: int, last: int) -> NDArray[np.int64]:
    rows = np.full(last - first + 1, -1, dtype=np.int64)
    inside = np.flatnonzero((packet >= first) & (packet <= last))
    rows[packet[inside] - first] = inside
    return rows


def _longest_whole(lost: list[NDArray[np.bool_]], longest: int) -> tuple[int, int]:
    """Return start and length of the longest run without a gap of more than `longest`."""
    broken = np.zeros(len(lost[0]), dtype=bool)
    for gone in lost:
        if gone.mean() <= _LOST_SENSOR:
            broken |= _in_long_run(gone, longest)
    return longest_run(~broken)


def _in_long_run(flags: NDArray[np.bool_], longest: int) -> NDArray[np.bool_]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    out = np.zeros(len(flags), dtype=bool)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        out[start:stop] = stop - start > longest
    return out
