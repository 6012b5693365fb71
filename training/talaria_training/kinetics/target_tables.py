"""Tables of what was measured: forces per recording, steps per file, and our moments beside OpenSim's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from talaria_edge.stances import measure
from talaria_training.kinetics.opensim_check import CUTOFF_HZ, Agreement
from talaria_training.kinetics.overground import GroundStep
from talaria_training.kinetics.stances import stance_forces
from talaria_training.kinetics.targets import FORCE_AXES, ForceTrial

Row = dict[str, Any]
_SHOWN = {
    "first_peak_bw": "1st peak, BW",
    "second_peak_bw": "2nd peak, BW",
    "loading_rate_bw_s": "loading, BW/s",
    "braking_bw_s": "braking, BW·s",
    "propulsion_bw_s": "propulsion, BW·s",
    "lateral_bw_s": "lateral, BW·s",
}


def trial_rows(trial: ForceTrial) -> list[Row]:
    """Return one row per foot: its lag, how much is trusted, and medians over its stances."""
    rows = []
    for column, side in enumerate("rl"):
        force_bw = trial.force_bw[:, 3 * column : 3 * column + len(FORCE_AXES)]
        stances = stance_forces(force_bw, trial.rate_hz, trial.mass_kg)
        rows.append(
            {
                "recording": trial.name,
                "side": side,
                "lag_s": _number(trial.lag_s[column]),
                "trusted": float(np.isfinite(force_bw[:, 2]).mean()),
                "stances": len(stances),
                **_medians([asdict(stance.metrics) for stance in stances]),
                "notes": list(trial.notes),
            }
        )
    return rows


def step_rows(steps: Iterable[GroundStep]) -> list[Row]:
    """Return one row per recording and foot: how many steps, and medians over them."""
    grouped: dict[tuple[str, str, str], list[GroundStep]] = {}
    for step in steps:
        key = (step.person, step.recording, step.side)
        grouped.setdefault(key, []).append(step)
    return [
        {
            "recording": f"{person}/{recording}",
            "side": side,
            "mass_kg": round(mine[0].mass_kg, 1),
            "stances": len(mine),
            **_medians([asdict(measure(s.force_bw, s.rate_hz)) for s in mine]),
        }
        for (person, recording, side), mine in sorted(grouped.items())
    ]


def trials_table(rows: Sequence[Row]) -> Table:
    """Show `trial_rows`."""
    table = Table(title="Measured forces on the clock of the sensors")
    table.caption = (
        "Medians over whole stances; lag: how much later the plate's file is than the sensors."
    )
    first = {"lag_s": "lag, s", "trusted": "trusted", "stances": "stances"}
    return _filled(table, rows, first | _SHOWN)


def steps_table(rows: Sequence[Row]) -> Table:
    """Show `step_rows`."""
    table = Table(title="Steps of one foot on one plate")
    table.caption = "Medians over whole steps."
    return _filled(table, rows, {"mass_kg": "kg", "stances": "steps"} | _SHOWN)


def moments_table(rows: Sequence[Agreement]) -> Table:
    """Show how far our planar moments are from OpenSim's."""
    table = Table(title="Sagittal moments against OpenSim's inverse dynamics, N·m/kg")
    table.caption = (
        f"Same joint places, smoothed at {CUTOFF_HZ:g} Hz; ours in one plane, published masses."
    )
    for name in ("run", "joint", "RMS difference", "r", "largest (OpenSim)", "ours larger by"):
        table.add_column(name, justify="left" if name in ("run", "joint") else "right")
    for row in rows:
        numbers = (row.rms_nm_kg, row.r, row.largest_nm_kg, row.peak_off_nm_kg)
        shown = (
            f"{numbers[0]:.3f}",
            f"{numbers[1]:.4f}",
            f"{numbers[2]:.2f}",
            f"{numbers[3]:+.2f}",
        )
        table.add_row(row.run, row.joint, *shown)
    return table


def _filled(table: Table, rows: Sequence[Row], columns: Mapping[str, str]) -> Table:
    table.add_column("recording", no_wrap=True)
    table.add_column("")
    for title in columns.values():
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(row["recording"], row["side"], *(_shown(row[key]) for key in columns))
    return table


def _shown(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def _medians(rows: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    return {key: _median(np.array([row[key] for row in rows])) for key in _SHOWN}


def _median(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
