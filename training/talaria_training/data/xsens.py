"""One MTw sensor's text export, as Xsens' MT Manager writes it.

Comment lines say the rate, one line names the columns, and every packet that arrived is one row with
its ``PacketCounter``; a packet that was lost leaves no row. The columns vary with the export's settings;
what is needed is the counter, ``Acc_X`` to ``Acc_Z`` (gravity included), and ``Gyr_X`` to ``Gyr_Z`` or an
orientation (``Mat[i][j]`` or ``Quat_q0`` to ``Quat_q3``, sensor to a world that is z up).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from talaria_edge.tables.textfile import Floats, Source, TextFile

COUNTER_WRAP = 65536
_COUNTER, _FINE = "PacketCounter", "SampleTimeFine"
_FINE_HZ = 1e4
_RATE = re.compile(r"update\s*rate:?\s*([0-9.]+)\s*hz", re.IGNORECASE)
_ACC, _GYR = (tuple(f"{kind}_{axis}" for axis in "XYZ") for kind in ("Acc", "Gyr"))
_MAT = tuple(f"Mat[{row}][{column}]" for row in (1, 2, 3) for column in (1, 2, 3))
_QUATS = tuple(tuple(f"Quat_{key}" for key in keys) for keys in (("q0", "q1", "q2", "q3"), "wxyz"))


@dataclass(frozen=True, slots=True, eq=False)
class XsensText:
    """What one sensor exported.

    Attributes
    ----------
    name : str
        The file, for messages.
    rate_hz : float
    packet : ndarray of int, shape (T,)
        Number of each sample in steps of one, wraps taken out, rising; missing numbers were lost.
    acc_ms2 : ndarray, shape (T, 3)
    gyr_rads : ndarray, shape (T, 3), or None
        None where the export has no gyroscope.
    q : ndarray, shape (T, 4), or None
        Scalar first, sensor to a z-up world; NaN where the row has none. None where the export has none.
    """

    name: str
    rate_hz: float
    packet: NDArray[np.int64]
    acc_ms2: Floats
    gyr_rads: Floats | None
    q: Floats | None


def read_xsens(source: Source) -> XsensText:
    """Read an export.

    Raises
    ------
    RecordingError
        If it is none, lacks counter or accelerometer, has neither gyroscope nor orientation, says no
        rate, or its packet counter runs backwards.
    """
    text = TextFile.open(source)
    at, names, separator = _labels(text)
    kinds = {"acc": _ACC, "gyr": _GYR, "mat": _MAT, "quat": _QUATS[0], "quat_letters": _QUATS[1]}
    have = {kind: cols for kind, cols in kinds.items() if set(cols) <= set(names)}
    if "acc" not in have or len(have) < 2:
        lacks = "Acc_X, Acc_Y and Acc_Z" if "acc" not in have else "Gyr_X or an orientation"
        raise text.error(
            at, f"names no column for {lacks}", "export again with inertial data and orientation"
        )
    wanted = [_COUNTER, *(c for cols in have.values() for c in cols)]
    fine = names.index(_FINE) if _FINE in names else None
    table, lines = _rows(text, at, names, separator, wanted)
    packet, kept = _packets(text, table[:, 0], lines)
    columns = dict(zip(wanted, table[kept].T, strict=True))
    said = _said_rate(text, at)
    return XsensText(
        name=text.name,
        rate_hz=said or _fine_rate(text, at, fine, separator),
        packet=packet[kept],
        acc_ms2=np.column_stack([columns[c] for c in _ACC]),
        gyr_rads=np.column_stack([columns[c] for c in _GYR]) if "gyr" in have else None,
        q=_orientation(columns),
    )


def rates_from_orientation(q: Floats, rate_hz: float) -> Floats:
    """Angular rate in the sensor's frame from its orientation, looking back only, shape (T, 3).

    Parameters
    ----------
    q : ndarray, shape (T, 4)
        Scalar first, sensor to world; NaN where unknown, and the rate is then NaN for two samples.
    rate_hz : float
    """
    known = np.asarray(np.isfinite(q).all(axis=1))
    sound = np.where(known[:, None], q, (1.0, 0.0, 0.0, 0.0))
    turns = Rotation.from_quat(sound, scalar_first=True)
    rates = (turns[:-1].inv() * turns[1:]).as_rotvec() * rate_hz
    rates[~(known[:-1] & known[1:])] = np.nan
    return np.concatenate((rates[:1], rates))


def _labels(text: TextFile) -> tuple[int, list[str], str]:
    for at, line in enumerate(text.lines, start=1):
        if line.strip() and not line.startswith("//"):
            separator = max("\t,;", key=line.count)
            names = [c.strip() for c in line.split(separator)]
            if _COUNTER in names:
                return at, names, separator
            raise text.error(
                at, f"names no {_COUNTER} column", "give a text file that MT Manager exported"
            )
    raise text.error(1, "is followed by no column names", "export the recording again")


def _rows(
    text: TextFile, at: int, names: list[str], separator: str, wanted: list[str]
) -> tuple[Floats, list[int]]:
    """Return the wanted columns, shape (T, len(wanted)), NaN where a cell is empty, and their lines."""
    places = [names.index(name) for name in wanted]
    most = max(places)
    rows, lines = [], []
    for line, row in enumerate(text.lines[at:], start=at + 1):
        if not row.strip():
            continue
        cells = row.split(separator)
        if len(cells) <= most:
            if not any(later.strip() for later in text.lines[line:]):
                break  # the last row of an export that was cut short
            raise text.error(
                line,
                f"has {len(cells)} cells where the header names {len(names)} columns",
                "repair or delete that line",
            )
        try:
            rows.append([float(cells[p].strip() or "nan") for p in places])
        except ValueError as err:
            raise text.error(
                line, f"holds what is no number ({err})", "put a number there, or leave it empty"
            ) from None
        lines.append(line)
    if not rows:
        raise text.error(at, "is followed by no row of data", "export the recording again")
    return np.array(rows), lines


def _packets(
    text: TextFile, counter: Floats, lines: list[int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return each row's packet number in steps of one, and which rows to keep (a repeat is dropped)."""
    if not np.isfinite(counter).all():
        line = lines[int(np.argmin(np.isfinite(counter)))]
        raise text.error(line, f"has an empty {_COUNTER}", "repair or delete that line")
    steps = np.mod(np.diff(counter).astype(np.int64), COUNTER_WRAP)
    back = np.flatnonzero(steps > COUNTER_WRAP // 2)
    if len(back):
        raise text.error(
            lines[int(back[0]) + 1],
            f"counts back from packet {counter[back[0]]:.0f} to {counter[back[0] + 1]:.0f}",
            "two recordings were joined there, export them one by one",
        )
    moved = steps[steps > 0]
    step = int(np.bincount(moved).argmax()) if len(moved) else 1
    packet = int(counter[0]) + np.concatenate(([0], np.cumsum(steps)))
    kept = np.concatenate(([True], steps > 0))
    return np.asarray(packet // step, dtype=np.int64), np.asarray(kept)


def _said_rate(text: TextFile, at: int) -> float | None:
    for line in text.lines[: at - 1]:
        found = _RATE.search(line)
        if found and float(found[1]) > 0:
            return float(found[1])
    return None


def _fine_rate(text: TextFile, at: int, fine: int | None, separator: str) -> float:
    """Tell the rate by the sensor's own clock, where the comments do not say it."""
    rows = [row.split(separator) for row in text.lines[at : at + 200] if row.strip()]
    cells = [] if fine is None else [row[fine].strip() for row in rows if len(row) > fine]
    if len(cells) > 1 and all(cell.isdigit() for cell in cells):
        return _FINE_HZ / float(np.median(np.diff([int(cell) for cell in cells])))
    raise text.error(1, "is followed by no update rate", "write '// Update Rate: 100.0Hz' there")


def _orientation(columns: dict[str, Floats]) -> Floats | None:
    if _MAT[0] in columns:
        matrix = np.column_stack([columns[c] for c in _MAT]).reshape(-1, 3, 3)
        known = np.asarray(np.isfinite(matrix).all(axis=(1, 2)))
        turns = Rotation.from_matrix(np.where(known[:, None, None], matrix, np.eye(3)))
        q = turns.as_quat(scalar_first=True)
        q[~known] = np.nan
        return np.asarray(q)
    for names in _QUATS:
        if names[0] in columns:
            return np.column_stack([columns[c] for c in names])
    return None
