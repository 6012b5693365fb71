"""The tables of a BIDS-Motion data set: samples on an even clock, and what is known of the people."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from talaria_bridge.errors import RecordingError
from talaria_edge.tables.textfile import Floats, TextFile
from talaria_training.data.bids_channels import BidsChannel
from talaria_training.data.recording import DataIssue

_MISSING = frozenset({"n/a", "na", "nan", ""})
_UNEVEN = 0.05
"""Of a period: a clock that strays by less is even."""


@dataclass(frozen=True, slots=True, eq=False)
class Clocked:
    """A motion table on an even clock.

    Attributes
    ----------
    rate_hz : float
    t_s : ndarray, shape (T,)
    values : ndarray, shape (T, C)
        As in the file; NaN where it says n/a.
    """

    rate_hz: float
    t_s: Floats
    values: Floats

    def of(self, channels: Sequence[BidsChannel]) -> Floats:
        """Return some channels in SI and radians, shape (T, len(channels))."""
        scales = np.array([c.scale for c in channels])
        return np.asarray(self.values[:, [c.column for c in channels]] * scales)


def read_motion(
    name: str, path: Path, channels: Sequence[BidsChannel], about: dict[str, Any]
) -> tuple[Clocked, list[DataIssue]]:
    """Read a motion table; where it has a LATENCY channel, onto the even clock of its rate.

    Parameters
    ----------
    name : str
        The recording, for the issues.
    path : Path
    channels : sequence of BidsChannel
        One per column.
    about : dict
        The ``motion.json``.

    Raises
    ------
    RecordingError
        If a row does not fit the channels, a cell is no number, or the rate is not said.
    """
    text = TextFile.open(path)
    table = _numbers(text, [c.name for c in channels])
    rate_hz = _rate(path, about)
    latency = [c for c in channels if c.kind == "LATENCY"]
    even = Clocked(rate_hz, np.arange(len(table)) / rate_hz, table)
    if not latency:
        return even, []
    own_s = even.of(latency)[:, 0]
    if not (np.diff(own_s) > 0).all():
        raise RecordingError(
            f"{text.name} has a LATENCY that does not increase: sort its rows, or delete repeated ones"
        )
    if np.abs(own_s - own_s[0] - even.t_s).max() <= _UNEVEN / rate_hz:
        return Clocked(rate_hz, own_s, table), []
    what = "its samples are not evenly spaced (LATENCY)"
    done = f"they are interpolated at {rate_hz:g} Hz, and gaps stay gaps"
    return _evened(own_s, table, rate_hz), [DataIssue(name, what, done)]


def read_people(path: Path) -> dict[str, tuple[float | None, float | None]]:
    """Return height (m) and mass (kg) by ``sub`` label from ``participants.tsv``, beside or above.

    The sheet is a convenience: absent or unreadable, it costs the facts and not the recordings.
    """
    for folder in (path, *path.resolve().parents[:2]):
        sheet = folder / "participants.tsv"
        if sheet.is_file():
            with sheet.open(encoding="utf-8-sig", errors="replace", newline="") as file:
                rows = list(csv.DictReader(file, delimiter="\t"))
            return {
                str(row.get("participant_id", "")).removeprefix("sub-"): _body(row) for row in rows
            }
    return {}


def _body(row: dict[str, str]) -> tuple[float | None, float | None]:
    height = _fact(row, "height")
    # BIDS recommends centimetres; nobody is three metres tall.
    height_m = height / 100.0 if height is not None and height > 3.0 else height
    return height_m, _fact(row, "weight") or _fact(row, "mass")


def _fact(row: dict[str, str], name: str) -> float | None:
    try:
        value = float(row.get(name) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _numbers(text: TextFile, names: list[str]) -> Floats:
    rows: list[list[float]] = []
    for line, row in enumerate(text.lines, start=1):
        if not row.strip():
            continue
        cells = [cell.strip() for cell in row.split("\t")]
        if not rows and cells == names:
            continue  # BIDS wants no header, but an old draft had one
        if len(cells) != len(names):
            raise text.error(
                line,
                f"has {len(cells)} cells and channels.tsv names {len(names)}",
                "make one column per channel",
            )
        try:
            rows.append([math.nan if c.casefold() in _MISSING else float(c) for c in cells])
        except ValueError as err:
            raise text.error(
                line, f"holds what is no number ({err})", "put a number there, or n/a"
            ) from None
    if not rows:
        raise text.error(1, "is followed by no row of data", "export the recording again")
    return np.array(rows)


def _rate(path: Path, about: dict[str, Any]) -> float:
    for key in ("SamplingFrequencyEffective", "SamplingFrequency"):
        said = about.get(key)
        if isinstance(said, int | float) and math.isfinite(said) and said > 0:
            return float(said)
    raise RecordingError(
        f"the motion.json of {path.name} gives no SamplingFrequency: write the rate in Hz there"
    )


def _evened(own_s: Floats, table: Floats, rate_hz: float) -> Clocked:
    """Interpolate each column between its own samples; NaN where these are too far apart."""
    t_s = np.arange(own_s[0], own_s[-1] + 1e-9, 1.0 / rate_hz)
    out = np.full((len(t_s), table.shape[1]), np.nan)
    for column in range(table.shape[1]):
        known = np.flatnonzero(np.isfinite(table[:, column]))
        if len(known) < 2:
            continue
        times = own_s[known]
        out[:, column] = np.interp(t_s, times, table[known, column], np.nan, np.nan)
        after = np.clip(np.searchsorted(times, t_s), 1, len(times) - 1)
        out[times[after] - times[after - 1] > 1.75 / rate_hz, column] = np.nan
    return Clocked(rate_hz, t_s, out)
