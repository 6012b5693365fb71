"""A recorded session as files other programs read: CSV, OpenSim storage, Parquet, BIDS-Motion."""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError, ExportError, RecordingError
from talaria_bridge.receiver import Receiver
from talaria_bridge.recorder import read_session_log
from talaria_bridge.samples import ImuSample
from talaria_edge.sinks.opensim import MotWriter
from talaria_edge.sinks.recording import FORCES_TOPIC, GAIT_TOPIC, SESSION_FILE, TICKS_TOPIC

_Array = NDArray[np.float64]
Column = NDArray[np.float64] | list[str]
_AXES = "xyz"


@dataclass(frozen=True, slots=True)
class Exported:
    """A session in memory, ready to be written.

    Attributes
    ----------
    folder : Path
    about : dict
        What ``session.toml`` says.
    rate_hz : float
    slots : tuple of S str
    t_s : array, shape (T,)
        Seconds from the first tick.
    acc_ms2, gyr_rads : array, shape (T, S, 3)
        Sensor frames; NaN where the sensor was gone.
    status : list of T lists of S str
    angles_deg : dict of name to array, shape (T,)
        NaN before the calibration was done, and where the angles were not to be believed.
    validity : list of T str
        Empty where there was no gait state.
    events : list of dict
        ``t_s`` from the first tick, ``side``, ``kind``.
    links : dict of name to list of ImuSample
        What each link brought, on its own clock, before the common one.
    origin_s : float
        The first tick on the session's clock.
    loads : dict of column name to array, shape (T,)
        Forces in body weights (``<name>_bw``) and moments (``<name>_nm_kg``), with the half-widths of their
        intervals; NaN where they were not to be believed. They are of ``forces_t_s``, seconds from the
        first tick. Empty without a force model.
    """

    folder: Path
    about: dict[str, Any]
    rate_hz: float
    slots: tuple[str, ...]
    t_s: _Array
    acc_ms2: _Array
    gyr_rads: _Array
    status: list[list[str]]
    angles_deg: dict[str, _Array]
    validity: list[str]
    events: list[dict[str, Any]]
    links: dict[str, list[ImuSample]]
    origin_s: float
    loads: dict[str, _Array] = field(default_factory=dict)

    def columns(self) -> dict[str, Column]:
        """Everything on the common clock, one named column each."""
        columns: dict[str, Column] = {"t_s": self.t_s}
        for i, slot in enumerate(self.slots):
            for kind, values in (("acc_ms2", self.acc_ms2), ("gyr_rads", self.gyr_rads)):
                columns |= {f"{slot}_{kind}_{_AXES[k]}": values[:, i, k] for k in range(3)}
            columns[f"{slot}_status"] = [row[i] for row in self.status]
        columns |= {f"{name}_deg": values for name, values in self.angles_deg.items()}
        if self.angles_deg:
            columns["validity"] = self.validity
        return columns | self.loads


def export_session(folder: Path, to: str, out: Path) -> list[Path]:
    """Write a recorded session in another format.

    Parameters
    ----------
    folder : Path
        A session folder.
    to : {"csv", "sto", "parquet", "bids"}
    out : Path
        Folder to write to; made if absent. No file in it is replaced.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ConfigError
        If there is no such format.
    RecordingError
        If the session cannot be read or holds nothing.
    ExportError
        If a file exists already, or a library the format needs is not installed.
    """
    from talaria_edge.bids import write_bids  # noqa: PLC0415  it builds on what is above

    writers: dict[str, Callable[[Exported, Path], list[Path]]] = {
        "bids": write_bids,
        "sto": _write_sto,
        "csv": _write_csv,
        "parquet": _write_parquet,
    }
    if to not in writers:
        raise ConfigError(f"There is no format {to!r} to export to: use {', '.join(writers)}.")
    session = load_session(folder)
    out.mkdir(parents=True, exist_ok=True)
    return writers[to](session, out)


def load_session(folder: Path, *, links: bool = True) -> Exported:
    """Read a session folder.

    Parameters
    ----------
    folder : Path
    links : bool
        Whether to decode what each link brought, too; `Exported.links` is empty otherwise.

    Raises
    ------
    RecordingError
        If it is none, or not one tick was recorded.
    """
    about = about_session(folder)
    ticks = list(read_session_log(folder).messages(TICKS_TOPIC))
    if not ticks:
        raise RecordingError(
            f"{folder} holds no instant at which all its sensors were there: nothing to export."
        )
    states = {state["index"]: state for state in read_session_log(folder).messages(GAIT_TOPIC)}
    slots = tuple(about.get("slots") or (key for key in ticks[0] if key not in {"t_s", "index"}))
    rows = [states.get(tick["index"]) for tick in ticks]
    names = next((list(row["angles_deg"]) for row in rows if row is not None), [])
    origin_s = float(ticks[0]["t_s"])
    status = [[str(tick[slot]["status"]) for slot in slots] for tick in ticks]
    gone = np.array([[how == "gone" for how in row] for row in status])
    return Exported(
        folder=folder,
        about=about,
        rate_hz=float(about.get("rate_hz", 100.0)),
        slots=slots,
        t_s=np.array([tick["t_s"] for tick in ticks]) - origin_s,
        acc_ms2=_vectors(ticks, slots, "acc_ms2", gone),
        gyr_rads=_vectors(ticks, slots, "gyr_rads", gone),
        status=status,
        angles_deg={
            name: np.array([_number(row, "angles_deg", name) for row in rows]) for name in names
        },
        validity=["" if row is None else str(row["validity"]) for row in rows],
        events=[
            {**event, "t_s": event["t_s"] - origin_s}
            for row in rows
            if row is not None
            for event in row["events"]
        ],
        links=_by_link(folder) if links else {},
        origin_s=origin_s,
        loads=_loads(folder, [tick["index"] for tick in ticks], origin_s),
    )


def fresh(path: Path) -> Path:
    """Return the path, if nothing is there yet.

    Raises
    ------
    ExportError
        If something is.
    """
    if path.exists():
        raise ExportError(
            f"{path} exists already and is not replaced: give another folder with --out."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_rows(path: Path, rows: Iterator[Sequence[Any]], delimiter: str = ",") -> Path:
    """Write rows of a table; NaN is written as ``n/a``, which BIDS and pandas both know."""
    with fresh(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerows([_cell(value) for value in row] for row in rows)
    return path


def about_session(folder: Path) -> dict[str, Any]:
    """Return what a session's ``session.toml`` says; nothing where a power cut spoilt it.

    Raises
    ------
    RecordingError
        If the folder has none.
    """
    try:
        return tomllib.loads((folder / SESSION_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordingError(
            f"{folder} holds no {SESSION_FILE}: give a folder that 'talaria run' or "
            "'talaria record' made."
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}  # a power cut while it was being written; the log knows enough


def _vectors(
    ticks: Sequence[Mapping[str, Any]], slots: Sequence[str], kind: str, gone: NDArray[np.bool_]
) -> _Array:
    values = np.array([[tick[slot][kind] for slot in slots] for tick in ticks], dtype=float)
    values[gone] = math.nan
    return values


def _number(row: Mapping[str, Any] | None, kind: str, name: str) -> float:
    value = None if row is None else row[kind].get(name)
    return math.nan if value is None else float(value)


_LOADS = {
    "force_bw": "{}_bw",
    "interval_bw": "{}_interval_bw",
    "moment_nm_kg": "{}_nm_kg",
    "moment_interval_nm_kg": "{}_interval_nm_kg",
}
"""What a recorded message calls forces, moments and their intervals, and their columns here."""


def _loads(folder: Path, indices: Sequence[int], origin_s: float) -> dict[str, _Array]:
    """Read forces and moments, one row per tick; what they are called stands in every message."""
    told = {row["index"]: row for row in read_session_log(folder).messages(FORCES_TOPIC)}
    if not told:
        return {}
    rows = [told.get(index) for index in indices]
    first = next(iter(told.values()))
    at_s = [math.nan if row is None else float(row["t_s"]) for row in rows]
    columns = {"forces_t_s": np.array(at_s) - origin_s}
    for kind, column in _LOADS.items():
        for name in first.get(kind, ()):
            columns[column.format(name)] = np.array([_number(row, kind, name) for row in rows])
    return columns


def _by_link(folder: Path) -> dict[str, list[ImuSample]]:
    items = read_session_log(folder)
    receiver = Receiver(items.links)
    samples: dict[str, list[ImuSample]] = {}
    for item in items:
        samples.setdefault(item.link, []).extend(receiver.push(item))
    return {link: found for link, found in samples.items() if found}


def _write_csv(session: Exported, out: Path) -> list[Path]:
    columns = session.columns()
    table = zip(*columns.values(), strict=True)
    events = ((e["t_s"], e["side"], e["kind"]) for e in session.events)
    return [
        write_rows(out / "session.csv", _headed(list(columns), table)),
        write_rows(out / "events.csv", _headed(["t_s", "side", "kind"], events)),
    ]


def _headed(names: list[str], rows: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    yield names
    yield from rows


def _write_sto(session: Exported, out: Path) -> list[Path]:
    """Write what OpenSim reads as tables: angles, forces and moments, and the readings of the sensors."""
    written = []
    if session.angles_deg:
        path = fresh(out / "angles.sto")
        with MotWriter(path, list(session.angles_deg), session.folder.name) as file:
            for k, t_s in enumerate(session.t_s.tolist()):
                file.write(t_s, {n: math.radians(v[k]) for n, v in session.angles_deg.items()})
        written.append(path)
    if session.loads:
        # Their own instants, a moment before the ticks'; a tick without any has none.
        at_s, *values = session.loads.values()
        known = np.isfinite(at_s)
        table = np.column_stack([at_s, *values])[known]
        written.append(_write_storage(out, "forces", list(session.loads)[1:], table))
    names = [f"{slot}_imu_{axis}" for slot in session.slots for axis in _AXES]
    for kind, readings in (("acc_ms2", session.acc_ms2), ("gyr_rads", session.gyr_rads)):
        table = np.column_stack([session.t_s, readings.reshape(len(readings), -1)])
        written.append(_write_storage(out, kind, names, table))
    return written


def _write_storage(out: Path, title: str, names: Sequence[str], table: _Array) -> Path:
    """Write one OpenSim storage; the table's first column is time, s."""
    path = fresh(out / f"{title}.sto")
    head = (
        f"{title}\nversion=1\nnRows={len(table)}\nnColumns={len(names) + 1}\ninDegrees=no\n"
        f"endheader\n"
    )
    rows = "\n".join("\t".join(f"{v:.6f}" for v in row) for row in table)
    path.write_text(head + "\t".join(["time", *names]) + "\n" + rows + "\n", encoding="utf-8")
    return path


def _write_parquet(session: Exported, out: Path) -> list[Path]:
    try:
        import pyarrow  # noqa: PLC0415  an extra: it is larger than all the rest
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise ExportError(
            "Parquet needs pyarrow, which is not installed: pip install 'talaria[export]'."
        ) from None
    path = fresh(out / "session.parquet")
    parquet.write_table(pyarrow.table(session.columns()), path)
    return [path]


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6f}" if math.isfinite(value) else "n/a"
    return value
