"""The forces of a recorded session, read back: every instant's and every stance's."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_bridge.recorder import read_session_log
from talaria_edge.belief import Validity
from talaria_edge.dashboard.band import BAND_POINTS
from talaria_edge.export import about_session
from talaria_edge.forces import MOMENT_JOINTS
from talaria_edge.gait import SIDES
from talaria_edge.sinks.csv_table import STANCE_COLUMNS
from talaria_edge.sinks.fields import stance_fields
from talaria_edge.sinks.recording import FORCES_TOPIC
from talaria_edge.stances import FORCE_AXES, METRICS, Stance, StanceMetrics

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ForceSession:
    """A session's forces in memory.

    Attributes
    ----------
    folder : Path
    about : dict
        What ``session.toml`` says.
    t_s : array, shape (T,)
        Instants of the forces, host seconds.
    force_bw : dict of side to array, shape (T, 3)
        Columns `FORCE_AXES`; NaN where no force was given.
    moment_nm_kg : dict of side to array, shape (T, 3)
        Columns `MOMENT_JOINTS`; NaN where none was given, which is everywhere for a model without moments.
    stances : tuple of Stance
    disagreeing_s : dict of side to float
        How long force and contact contradicted each other.
    """

    folder: Path
    about: dict[str, Any]
    t_s: _Array
    force_bw: dict[str, _Array]
    moment_nm_kg: dict[str, _Array]
    stances: tuple[Stance, ...]
    disagreeing_s: dict[str, float]

    def curves(self, side: str) -> _Array:
        """Return the forces of every good stance of one foot over 0 to 100 % of it, shape (N, 101, 3)."""
        return self._over_stances(side, self.force_bw[side])

    def moment_curves(self, side: str) -> _Array:
        """Return the moments of one leg over the same stances, shape (N, 101, 3); NaN where there is none."""
        return self._over_stances(side, self.moment_nm_kg[side])

    def _over_stances(self, side: str, columns: _Array) -> _Array:
        grid = np.linspace(0.0, 1.0, BAND_POINTS)
        found = []
        for stance in self.stances:
            if stance.side != side or stance.validity is not Validity.GOOD:
                continue
            at_s = stance.start_s + grid * (stance.end_s - stance.start_s)
            found.append([np.interp(at_s, self.t_s, column) for column in columns.T])
        return np.array(found).reshape(-1, columns.shape[1], BAND_POINTS).transpose(0, 2, 1)


def load_forces(folder: Path) -> ForceSession:
    """Read the forces of a session folder.

    Raises
    ------
    RecordingError
        If it is none, or was run without a force model.
    """
    about = about_session(folder)
    rows = list(read_session_log(folder).messages(FORCES_TOPIC))
    if not rows:
        raise RecordingError(
            f"{folder} holds no forces: record it with 'talaria run --kinetics MODEL', or run it once more "
            f"with 'talaria run --source replay:{folder} --model MODEL --kinetics MODEL'."
        )
    tick_s = 1.0 / float(about.get("rate_hz", 100.0))
    counts = Counter(side for row in rows for side in row["disagreeing"])
    force_bw = {side: np.array([_forces(row, side) for row in rows], dtype=float) for side in SIDES}
    moments = {side: np.array([_moments(row, side) for row in rows], dtype=float) for side in SIDES}
    return ForceSession(
        folder,
        about,
        np.array([row["t_s"] for row in rows]),
        force_bw,
        moments,
        tuple(_stance(fields) for row in rows for fields in row["stances"]),
        {side: counts[side] * tick_s for side in SIDES},
    )


def write_stances(stances: Sequence[Stance], path: Path) -> Path:
    """Write one row per stance, left out or not.

    Raises
    ------
    RecordingError
        If the file exists already, or cannot be made.
    """
    try:
        with path.open("x", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, STANCE_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(stance_fields(stance) for stance in stances)
    except OSError as err:
        raise RecordingError(
            f"{path} cannot be made ({err.strerror}): name another file after --csv."
        ) from None
    return path


def _forces(row: Mapping[str, Any], side: str) -> list[float]:
    told = row["force_bw"]
    return [_number(told.get(f"grf_{axis}_{side}")) for axis in FORCE_AXES]


def _moments(row: Mapping[str, Any], side: str) -> list[float]:
    told = row.get("moment_nm_kg", {})
    return [_number(told.get(f"{joint}_moment_{side}")) for joint in MOMENT_JOINTS]


def _stance(fields: Mapping[str, Any]) -> Stance:
    return Stance(
        side=fields["side"],
        start_s=fields["start_s"],
        end_s=fields["end_s"],
        metrics=StanceMetrics(**{name: _number(fields[name]) for name in METRICS}),
        validity=Validity(fields["validity"]),
        reason=fields["reason"],
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
