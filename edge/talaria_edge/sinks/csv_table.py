"""Gait states and strides as two tables that any program reads."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from talaria_bridge.errors import RecordingError
from talaria_edge.forces import Loads
from talaria_edge.gait import SIDES, LegState
from talaria_edge.pipeline import GaitState
from talaria_edge.sinks.fields import stance_fields, stride_fields
from talaria_edge.stances import METRICS

_FLUSH_S = 1.0
_STATE = ("t_s", "index", "validity", "reason", "gait_class", "class_confidence", "events")
_LEG = ("phase", "sub_phase", "cycle", "confidence")
_STRIDE = (
    "side",
    "start_s",
    "end_s",
    "stance_s",
    "step_time_s",
    "cadence_spm",
    "stance_ratio",
    "double_support_ratio",
    "length_m",
    "speed_ms",
    "gait_class",
)

STANCE_COLUMNS = ("side", "start_s", "end_s", *METRICS, "validity", "reason")
"""Of a table of stances, as `talaria_edge.sinks.fields.stance_fields` names them."""


class CsvTable:
    """Write one row per gait state, and one per stride in a second file; a `Sink`.

    Angles are in degrees, forces in body weights and moments in N m/kg at ``forces_t_s``, times in host
    seconds; a number that is not known is an empty cell.

    Parameters
    ----------
    path : Path
        The table of states; strides go to ``<stem>-strides.csv`` beside it, and with forces stances to
        ``<stem>-stances.csv``. None may exist.
    names : sequence of str
        Angles, in column order.
    forces, moments : sequence of str
        What the force model gives, in column order.

    Raises
    ------
    RecordingError
        If a file cannot be made.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        forces: Sequence[str] = (),
        moments: Sequence[str] = (),
    ) -> None:
        self._names = tuple(names)
        self._forces, self._moments = tuple(forces), tuple(moments)
        self._flushed_t_s = -math.inf
        self._files: list[IO[str]] = []
        angles = [f"{n}_{what}" for n in names for what in ("deg", "interval_deg", "validity")]
        legs = [f"{what}_{side}" for side in SIDES for what in _LEG]
        self._states = self._open(path, [*_STATE, *angles, *legs, *self._force_header()])
        strides = path.with_name(f"{path.stem}-strides{path.suffix}")
        self._strides = self._open(strides, [*_STRIDE, *(f"{n}_range_deg" for n in names)])
        self._stances = None
        if forces:
            self._stances = self._open(
                path.with_name(f"{path.stem}-stances{path.suffix}"), STANCE_COLUMNS
            )

    def show(self, state: GaitState) -> None:
        """Write one state, and the strides it completed."""
        self._states.writerow(self._row(state))
        for stride in state.strides:
            fields = stride_fields(stride)
            ranges = fields["rom_deg"]
            self._strides.writerow(
                [*(fields[key] for key in _STRIDE), *(ranges.get(name) for name in self._names)]
            )
        if self._stances is not None:
            for stance in state.loads.stances:
                self._stances.writerow(stance_fields(stance).values())
        if not 0.0 <= state.t_s - self._flushed_t_s < _FLUSH_S:
            self._flushed_t_s = state.t_s
            for file in self._files:
                file.flush()

    def close(self) -> None:
        """Finish every file; a second call does nothing."""
        for file in self._files:
            file.close()

    def _open(self, path: Path, header: Iterable[str]) -> Any:
        try:
            file = path.open("x", newline="", encoding="utf-8")
        except OSError as err:
            self.close()
            raise RecordingError(
                f"{path} cannot be made ({err.strerror}): name another file after csv:."
            ) from None
        self._files.append(file)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        return writer

    def _row(self, state: GaitState) -> list[Any]:
        events = " ".join(f"{e.side}:{e.kind}@{e.t_s:.4f}" for e in state.events)
        row = [
            f"{state.t_s:.6f}",
            state.index,
            state.validity,
            state.reason,
            state.gait_class,
            _cell(state.class_confidence),
            events,
        ]
        for name in self._names:
            row += [
                _cell(math.degrees(state.angles_rad.get(name, math.nan))),
                _cell(math.degrees(state.interval_rad.get(name, math.nan))),
                state.angle_validity.get(name, ""),
            ]
        for side in SIDES:
            leg = state.legs.get(side, LegState())
            row += [leg.phase, leg.sub_phase, _cell(leg.cycle), _cell(leg.confidence)]
        return row + self._force_cells(state.loads)

    def _force_header(self) -> list[str]:
        if not self._forces and not self._moments:
            return []
        header = ["forces_t_s", "forces_reason"]
        for names, unit in ((self._forces, "bw"), (self._moments, "nm_kg")):
            for name in names:
                header += [f"{name}_{unit}", f"{name}_interval_{unit}", f"{name}_validity"]
        return header

    def _force_cells(self, loads: Loads) -> list[Any]:
        if not self._forces and not self._moments:
            return []
        row: list[Any] = [f"{loads.t_s:.6f}", loads.reason]
        for names, values, halves in (
            (self._forces, loads.force_bw, loads.force_interval_bw),
            (self._moments, loads.moment_nm_kg, loads.moment_interval_nm_kg),
        ):
            for name in names:
                row += [_cell(values[name]), _cell(halves[name]), loads.output_validity[name]]
        return row


def _cell(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else ""
