"""The stride table: time-normalised strides with named channels, and who, when and what each one was.

The file is a plain .npz (no pickle) that anybody can write with ``numpy.savez``:

``values``
    (N, channels, points) numbers, without gaps.
``channel_name``, and optionally ``channel_group``, ``channel_axis``, ``channel_unit``
    (channels,) text each; see `Channel`. A group that is not given is the name.
``column_person``, and optionally ``column_session``, ``column_side``, ``column_condition``
    (N,) text each; any further ``column_NAME`` is one more label.
``order``
    (N,) running number of a stride in its recording, optional.
``cycle``, ``source``
    One text each, optional: ``stride`` or ``stance``, and where the strides are from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_training.strides import checks
from talaria_training.strides.npz import read_arrays

POINTS = 101
"""Instants of a stride: 0 to 100 % of the cycle, both ends included."""
COLUMNS = ("person", "session", "side", "condition")
"""Columns of every table, in the order they are shown."""
CYCLES = ("stride", "stance")


@dataclass(frozen=True, slots=True)
class Channel:
    """One row of a stride.

    Attributes
    ----------
    name : str
        Unique in its table: ``knee_angle``, ``GRF_V``, ``femur_acc_x``, ``VL``.
    group : str
        Joint, sensor, muscle or plate: ``knee``, ``femur``, ``VL``, ``force``.
    axis : str
        ``sagittal``, ``frontal`` or ``transverse``; ``x``; ``vertical``; empty where there is none.
    unit : str
        ``deg``, ``m/s2``, ``rad/s``, ``BW``; ``1`` for a share.
    """

    name: str
    group: str
    axis: str
    unit: str


@dataclass(frozen=True, slots=True, eq=False)
class StrideTable:
    """Strides of some people.

    Attributes
    ----------
    values : ndarray of float32, shape (N, channels, points)
        First and last point are the two ends of the cycle.
    channels : tuple of Channel
    columns : mapping of str to ndarray of str, shape (N,)
        At least ``person``, ``session``, ``side`` (r, l or empty) and ``condition``.
    order : ndarray of int64, shape (N,)
        Running number of a stride in its recording, in time.
    cycle : str
        ``stride`` (initial contact to initial contact) or ``stance``.
    source : str
        One sentence: where from, and what the channels were measured by.

    Raises
    ------
    RecordingError
        If a value is missing, or the parts do not belong together.
    """

    values: NDArray[np.float32]
    channels: tuple[Channel, ...]
    columns: Mapping[str, NDArray[np.str_]]
    order: NDArray[np.int64]
    cycle: str
    source: str

    def __post_init__(self) -> None:
        """Refuse a table that no classifier should see."""
        lengths = {name: len(column) for name, column in self.columns.items()}
        checks.check_shapes(self.values, len(self.channels), {**lengths, "order": len(self.order)})
        names = [channel.name for channel in self.channels]
        checks.check_channel_names(names)
        missing = [name for name in COLUMNS if name not in self.columns]
        if missing:
            raise RecordingError(
                f"The strides have no column {missing[0]!r}: say it for every stride, empty if unknown."
            )
        if self.cycle not in CYCLES:
            raise RecordingError(
                f"cycle is {self.cycle!r}, which is neither {' nor '.join(CYCLES)}: say which it is."
            )
        checks.check_finite(self.values, names)
        checks.check_spellings(self.columns, COLUMNS)

    def __len__(self) -> int:
        """Count the strides."""
        return len(self.values)

    def column(self, name: str) -> NDArray[np.str_]:
        """Return one column, shape (N,); `RecordingError` if there is none of that name."""
        if name not in self.columns:
            raise RecordingError(
                f"The strides have no column {name!r}: choose one of {', '.join(self.columns)}."
            )
        return self.columns[name]

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> StrideTable:
        """Return the strides that `rows`, a mask or indices, names."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return StrideTable(
            self.values[rows], self.channels, columns, self.order[rows], self.cycle, self.source
        )

    def save(self, path: Path) -> None:
        """Write the table as a plain .npz, whole or not at all."""
        arrays: dict[str, Any] = {"values": self.values, "order": self.order}
        for field in ("name", "group", "axis", "unit"):
            arrays[f"channel_{field}"] = np.array([getattr(c, field) for c in self.channels], str)
        arrays |= {f"column_{name}": column for name, column in self.columns.items()}
        arrays |= {"cycle": np.array(self.cycle), "source": np.array(self.source)}
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.part.npz")
        np.savez(scratch, allow_pickle=False, **arrays)
        scratch.replace(path)

    @classmethod
    def load(cls, path: Path) -> StrideTable:
        """Read a table.

        Raises
        ------
        RecordingError
            If the file is no .npz, an array is missing, of a wrong length or holds gaps, or a column
            spells one number in two ways.
        """
        try:
            return _from_arrays(read_arrays(path))
        except RecordingError as error:
            raise RecordingError(f"{path}: {error}") from None


def join(tables: Sequence[StrideTable]) -> StrideTable:
    """Put tables of the same channels one after the other; a column that one lacks is empty there.

    Raises
    ------
    RecordingError
        If there is no table, or channels or cycles differ.
    """
    if not tables:
        raise RecordingError("There are no strides to put together: check what was selected.")
    first = tables[0]
    for table in tables:
        if (table.channels, table.cycle) != (first.channels, first.cycle):
            raise RecordingError(
                f"Strides of different channels or cycles ({_said(first)}; {_said(table)}) make no one "
                "table: cut them the same way first."
            )
    names = list(dict.fromkeys(name for table in tables for name in table.columns))
    columns = {
        name: np.concatenate(
            [np.asarray(t.columns.get(name, np.full(len(t), "")), str) for t in tables]
        )
        for name in names
    }
    return StrideTable(
        np.concatenate([t.values for t in tables]),
        first.channels,
        columns,
        np.concatenate([t.order for t in tables]),
        first.cycle,
        first.source,
    )


def _said(table: StrideTable) -> str:
    return f"{len(table.channels)} channels from {table.channels[0].name}, {table.cycle}"


def _from_arrays(arrays: Mapping[str, NDArray[Any]]) -> StrideTable:
    for name in ("values", "channel_name", "column_person"):
        if name not in arrays:
            raise RecordingError(
                f"the array {name} is missing ({', '.join(arrays) or 'nothing'} is there): see "
                "docs/signatures.md for the arrays of a stride table."
            )
    values = arrays["values"]
    if values.dtype.kind not in "fiu":
        raise RecordingError(
            f"values is stored as {values.dtype}, not as numbers: save it with .astype('float32')."
        )
    columns = {
        name.removeprefix("column_"): _text(array)
        for name, array in arrays.items()
        if name.startswith("column_")
    }
    count = len(columns["person"])
    columns = {name: columns.get(name, np.full(count, "")) for name in COLUMNS} | columns
    return StrideTable(
        values.astype(np.float32, copy=False),
        _channels(arrays),
        columns,
        _order(arrays, columns),
        str(arrays.get("cycle", "stride")),
        str(arrays.get("source", "Source not given.")),
    )


def _text(array: NDArray[Any]) -> NDArray[np.str_]:
    return np.atleast_1d(array).astype(np.str_)


def _channels(arrays: Mapping[str, NDArray[Any]]) -> tuple[Channel, ...]:
    names = _text(arrays["channel_name"]).tolist()
    fields: list[list[str]] = []
    for field, default in (
        ("group", names),
        ("axis", [""] * len(names)),
        ("unit", ["1"] * len(names)),
    ):
        given = arrays.get(f"channel_{field}")
        fields.append(default if given is None else _text(given).tolist())
        if len(fields[-1]) != len(names):
            raise RecordingError(
                f"channel_{field} has {len(fields[-1])} entries for {len(names)} channels: give one each."
            )
    return tuple(Channel(*row) for row in zip(names, *fields, strict=True))


def _order(
    arrays: Mapping[str, NDArray[Any]], columns: Mapping[str, NDArray[np.str_]]
) -> NDArray[np.int64]:
    if "order" in arrays:
        if arrays["order"].dtype.kind not in "iu":
            raise RecordingError(
                f"order is stored as {arrays['order'].dtype}: number the strides with whole numbers."
            )
        return arrays["order"].astype(np.int64)
    return running_number(*(columns[name] for name in COLUMNS))


def running_number(*keys: NDArray[np.str_]) -> NDArray[np.int64]:
    """Count from 0 through the rows that share all `keys`, each of shape (N,), as they stand."""
    seen: dict[tuple[str, ...], int] = defaultdict(int)
    found = np.zeros(len(keys[0]), np.int64)
    for row, key in enumerate(zip(*(key.tolist() for key in keys), strict=True)):
        found[row] = seen[key]
        seen[key] += 1
    return found
