"""``*_channels.tsv``: what each column of a BIDS-Motion table measures, where, and in which unit."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from talaria_edge.tables.textfile import TextFile
from talaria_training.data.placement_names import slot_of

GRAVITY_MS2 = 9.80665
_REQUIRED = ("name", "component", "type", "tracked_point", "units")
_KINDS = {
    "ACCEL": "ACCEL",
    "ACC": "ACCEL",
    "ACCELEROMETER": "ACCEL",
    "GYRO": "GYRO",
    "GYR": "GYRO",
    "GYROSCOPE": "GYRO",
    "ORNT": "ORNT",
    "JNTANG": "JNTANG",
    "LATENCY": "LATENCY",
}
_COMPONENTS = {
    "ACCEL": ("x", "y", "z"),
    "GYRO": ("x", "y", "z"),
    "ORNT": ("quat_w", "quat_x", "quat_y", "quat_z"),
}
_UNITS: dict[str, dict[str, float]] = {
    "ACCEL": {
        **dict.fromkeys(("m/s^2", "m/s²", "m/s2", "m/s/s", "m·s^-2", "m s-2"), 1.0),
        **dict.fromkeys(("g", "g0"), GRAVITY_MS2),
        "mg": 1e-3 * GRAVITY_MS2,
        **dict.fromkeys(("cm/s^2", "cm/s²"), 1e-2),
        **dict.fromkeys(("mm/s^2", "mm/s²"), 1e-3),
    },
    "GYRO": {
        **dict.fromkeys(("rad/s", "rad s-1", "rad·s^-1"), 1.0),
        **dict.fromkeys(("deg/s", "°/s", "dps", "degree/s", "degrees/s"), math.pi / 180.0),
        "mdps": 1e-3 * math.pi / 180.0,
    },
    "JNTANG": {
        **dict.fromkeys(("deg", "°", "degree", "degrees"), math.pi / 180.0),
        **dict.fromkeys(("rad", "radian", "radians"), 1.0),
    },
    "LATENCY": {"s": 1.0, "ms": 1e-3, "us": 1e-6},
}


@dataclass(frozen=True, slots=True)
class BidsChannel:
    """One column.

    Attributes
    ----------
    column : int
    name : str
    kind : str
        ``ACCEL``, ``GYRO``, ``ORNT``, ``JNTANG`` or ``LATENCY``; empty for what we do not use.
    component : str
    point : str
        Tracked point, as written.
    scale : float
        Factor to SI and radians.
    """

    column: int
    name: str
    kind: str
    component: str
    point: str
    scale: float


def read_channels(path: Path) -> list[BidsChannel]:
    """Read a channels file.

    Raises
    ------
    RecordingError
        If a column is missing, a row is ragged, or a unit of what we use is not known.
    """
    text = TextFile.open(path)
    rows = [
        [cell.strip() for cell in row]
        for row in csv.reader(io.StringIO("\n".join(text.lines)), delimiter="\t")
    ]
    lacking = [name for name in _REQUIRED if name not in (rows[0] if rows else [])]
    if lacking:
        raise text.error(
            1,
            f"names no column '{lacking[0]}'",
            f"a channels file of BIDS-Motion has {', '.join(_REQUIRED)}",
        )
    places = [rows[0].index(name) for name in _REQUIRED]
    found: list[BidsChannel] = []
    for line, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        if len(row) < len(rows[0]):
            raise text.error(
                line, f"has {len(row)} of {len(rows[0])} cells", "write n/a where there is nothing"
            )
        name, component, kind, point, units = (row[p] for p in places)
        known = _KINDS.get(kind.upper(), "")
        scale = _scale(text, line, known, units)
        found.append(BidsChannel(len(found), name, known, component.casefold(), point, scale))
    return found


def by_point(
    channels: Sequence[BidsChannel],
) -> tuple[dict[str, dict[str, list[BidsChannel]]], list[tuple[str, str]]]:
    """Sort the channels of sensors by slot.

    Returns
    -------
    slots : dict of slot to dict of kind to channels in order of component
        Accelerometer and gyroscope are both there; the orientation may be.
    left_out : list of (point, reason)
    """
    slots: dict[str, dict[str, list[BidsChannel]]] = {}
    left_out: list[tuple[str, str]] = []
    for point in dict.fromkeys(c.point for c in channels if c.kind in _COMPONENTS):
        mine = [c for c in channels if c.point == point]
        sensor = {kind: _complete(mine, kind) for kind in _COMPONENTS}
        slot = slot_of(point)
        reason = _why_not(slot, sensor, slots)
        if reason:
            left_out.append((point, reason))
        elif slot is not None:
            slots[slot] = {kind: found for kind, found in sensor.items() if found}
    return slots, left_out


def _why_not(
    slot: str | None,
    sensor: dict[str, list[BidsChannel]],
    taken: dict[str, dict[str, list[BidsChannel]]],
) -> str:
    if slot is None:
        return "is on no segment that is known by that name"
    if slot in taken:
        return f"is a second sensor on {slot}"
    lacks = [kind for kind in ("ACCEL", "GYRO") if not sensor[kind]]
    return f"has no {' and no '.join(lacks)} channels x, y and z" if lacks else ""


def _complete(channels: Sequence[BidsChannel], kind: str) -> list[BidsChannel]:
    """Return one channel per component, in order, or nothing."""
    mine = {c.component: c for c in channels if c.kind == kind}
    wanted = _COMPONENTS[kind]
    return [mine[w] for w in wanted] if set(wanted) <= set(mine) else []


def _scale(text: TextFile, line: int, kind: str, units: str) -> float:
    known = _UNITS.get(kind)
    if known is None:
        return 1.0
    scale = known.get(units.casefold())
    if scale is None:
        raise text.error(
            line,
            f"gives {kind} in '{units}'",
            f"write one of {', '.join(list(known)[:2] + list(known)[-2:])} in column units",
        )
    return scale
