"""What the sensor-combination study says: tables, a picture and one paragraph."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from talaria_bridge.errors import ConfigError
from talaria_edge.kinematics import SAGITTAL
from talaria_training.sensor_sets import APPROACHES, NETWORKS

Entry = Mapping[str, Any]

_TITLES = {"single_user": "single-user", "multi_user": "multi-user", "fine_tuned": "fine-tuned"}
_CALLED = {"ours": "ours, small", "hur2025_lstm": "Hur 2025"}
_JOINTS = ("hip_flexion", "knee_angle", "ankle_angle")


def summarise(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean over people per set, network and approach, degrees.

    Parameters
    ----------
    cells : sequence of dict
        ``set``, ``legs``, ``network`` and the cell's ``rows``.

    Returns
    -------
    list of dict
        Per set, network and approach: for the ``right`` and the ``left`` leg, hip, knee and ankle RMSE;
        for each leg and for ``all``, the mean of its sagittal angles, with its spread over people and
        with the offset removed.
    """
    grouped: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for cell in cells:
        for row in cell["rows"]:
            key = (cell["set"], cell["legs"], cell["network"], row["approach"])
            grouped.setdefault(key, []).append(row)
    return [
        {
            **dict(zip(("set", "legs", "network", "approach"), key, strict=True)),
            "people": len({row["person"] for row in rows}),
            "right": _leg(rows, "r"),
            "left": _leg(rows, "l"),
            "all": _leg(rows, "rl"),
        }
        for key, rows in grouped.items()
    ]


def _leg(rows: Sequence[dict[str, Any]], sides: str) -> dict[str, float]:
    entry = {}
    for joint in _JOINTS:
        names = [f"{joint}_{side}" for side in sides]
        entry[joint] = float(np.mean([r["rmse_deg"] for r in rows if r["joint"] in names]))
    mine = [r for r in rows if r["joint"] in SAGITTAL and r["joint"][-1] in sides]
    people = sorted({r["person"] for r in mine})
    each = [np.mean([r["rmse_deg"] for r in mine if r["person"] == p]) for p in people]
    entry["sagittal"] = float(np.mean(each))
    entry["sagittal_sd"] = float(np.std(each, ddof=1)) if len(each) > 1 else 0.0
    entry["offset_removed"] = float(np.mean([r["rmse_offset_removed_deg"] for r in mine]))
    return entry


def _sets(summary: Sequence[Entry], legs: str, network: str) -> dict[str, dict[str, Entry]]:
    """Entries by set and approach, fewer sensors first, then in alphabetical order."""
    found: dict[str, dict[str, Entry]] = {}
    for entry in summary:
        if entry["legs"] == legs and entry["network"] == network:
            found.setdefault(entry["set"], {})[entry["approach"]] = entry
    return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))


def tables(summary: Sequence[Entry]) -> list[Table]:
    """Hip / knee / ankle RMSE per approach, one table for both legs and one for the right leg alone."""
    shown = []
    for legs, sides in (("both", ("all",)), ("right", ("right", "left"))):
        table = Table(
            title="Sensors on both legs: RMSE in °, hip / knee / ankle"
            if legs == "both"
            else "Sensors on the right leg, and the pelvis in sets with P: RMSE in °, hip / knee / ankle"
        )
        table.add_column("set")
        table.add_column("network")
        if legs == "right":
            table.add_column("leg")
        for approach in APPROACHES:
            table.add_column(_TITLES[approach], justify="right")
        for network in NETWORKS:
            for name, entries in _sets(summary, legs, network).items():
                for side in sides:
                    lead = [name, _CALLED[network], *([side] if legs == "right" else [])]
                    table.add_row(*lead, *(_cell(entries.get(a), side) for a in APPROACHES))
            table.add_section()
        table.caption = (
            "P pelvis, T shank, F thigh, C foot. Mean over people held out in pairs; the reference is the "
            "full inertial chain, which is computed from these very sensors."
        )
        if table.row_count:
            shown.append(table)
    return shown


def _cell(entry: Entry | None, side: str) -> str:
    if entry is None:
        return "–"
    return " / ".join(f"{entry[side][joint]:.2f}" for joint in _JOINTS)


def verdict(summary: Sequence[Entry]) -> list[str]:
    """Say whether thigh and foot are the best pair, and what one leg or one segment costs.

    Returns
    -------
    list of str
        One sentence per approach for the pairs, then one per approach for the costs; none where the
        sets they need were not run.
    """
    both, right = (_sets(summary, legs, "ours") for legs in ("both", "right"))
    pairs = {name: e for name, e in both.items() if name.count("_") == 1}
    lines = [_rank(pairs, approach) for approach in APPROACHES if "F_C" in pairs and len(pairs) > 1]
    return lines + [line for a in APPROACHES for line in _costs(both, right, a)]


def _rank(pairs: Mapping[str, Mapping[str, Entry]], approach: str) -> str:
    means = {name: entries[approach]["all"]["sagittal"] for name, entries in pairs.items()}
    order = sorted(means, key=means.__getitem__)
    place, best = order.index("F_C") + 1, order[0]
    if place == 1:
        return (
            f"{_TITLES[approach]}: thigh + foot is the best of {len(order)} pairs of segments, "
            f"{means['F_C']:.2f}° over the six sagittal angles, {order[1]} next with {means[order[1]]:.2f}°."
        )
    return (
        f"{_TITLES[approach]}: thigh + foot is number {place} of {len(order)} pairs of segments, "
        f"{means['F_C']:.2f}° over the six sagittal angles; {best} is best with {means[best]:.2f}°."
    )


def _costs(
    both: Mapping[str, Mapping[str, Entry]],
    right: Mapping[str, Mapping[str, Entry]],
    approach: str,
) -> list[str]:
    if "F_C" not in both or "F_C" not in right:
        return []
    whole = both["F_C"][approach]["all"]["sagittal"]
    own, other = (right["F_C"][approach][side]["sagittal"] for side in ("right", "left"))
    said = (
        f"{_TITLES[approach]}: thigh + foot on the right leg alone gives {own:.2f}° on that leg and "
        f"{other:.2f}° on the other, against {whole:.2f}° with both legs"
    )
    singles = {n: e[approach]["all"]["sagittal"] for n, e in both.items() if "_" not in n}
    if singles:
        best = min(singles, key=singles.__getitem__)
        said += f"; the best single segment, {best} on both legs, gives {singles[best]:.2f}°"
    alone = {name: entries for name, entries in right.items() if "_" not in name}
    if "P" in both:
        alone["P"] = both["P"]
    if alone:
        legs = {
            n: [e[approach][s]["sagittal"] for s in ("right", "left")] for n, e in alone.items()
        }
        best = min(legs, key=lambda name: sum(legs[name]))
        said += (
            f", and the best single sensor for both legs together, {best}, {legs[best][0]:.2f}° on the right "
            f"leg and {legs[best][1]:.2f}° on the left"
        )
    return [f"{said}."]


def plot(summary: Sequence[Entry], file: Path) -> None:
    """Draw the mean sagittal error of every set, with its spread over people.

    Raises
    ------
    ConfigError
        If matplotlib is not installed, or the file cannot be written as a picture.
    """
    try:
        backend = importlib.import_module("matplotlib.backends.backend_agg")
        pictures = importlib.import_module("matplotlib.figure")
    except ImportError:
        raise ConfigError(
            "--plot needs matplotlib, which is not installed: install the extra 'training', or leave "
            "--plot out."
        ) from None
    figure = pictures.Figure(figsize=(11.0, 8.0), layout="constrained")
    backend.FigureCanvasAgg(figure)
    panels = figure.subplots(2, 1)
    for axes, (legs, sides) in zip(
        panels, (("both", ("all",)), ("right", ("right", "left"))), strict=True
    ):
        _draw(axes, summary, legs, sides)
    panels[0].set_title("Sensors on both legs")
    panels[1].set_title("Sensors on the right leg: full that leg, open the other")
    marks = panels[0].get_legend_handles_labels()
    figure.legend(*marks, loc="outside lower center", fontsize="small", ncols=3)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=130)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file} could not be written as a picture ({error}): give a path that ends in .png, .svg or .pdf."
        ) from None


def _draw(axes: Any, summary: Sequence[Entry], legs: str, sides: Sequence[str]) -> None:
    names = list(
        dict.fromkeys(name for network in NETWORKS for name in _sets(summary, legs, network))
    )
    names.sort(key=lambda name: (len(name), name))
    for k, approach in enumerate(APPROACHES):
        for network, mark in zip(NETWORKS, ("o", "x"), strict=True):
            known = {
                n: e[approach] for n, e in _sets(summary, legs, network).items() if approach in e
            }
            for side in sides if known else ():
                axes.errorbar(
                    [names.index(n) + 0.2 * (k - 1) for n in known],
                    [e[side]["sagittal"] for e in known.values()],
                    [e[side]["sagittal_sd"] for e in known.values()],
                    fmt=mark,
                    color=f"C{k}",
                    mfc="none" if side == "left" else f"C{k}",
                    elinewidth=0.8,
                    label=f"{_TITLES[approach]}, {_CALLED[network]}" if side != "left" else None,
                )
    axes.set_xticks(np.arange(len(names)), [name.replace("_", "+") for name in names])
    axes.set_ylabel("sagittal RMSE (°), ± SD of people")
    axes.set_ylim(bottom=0.0)
    axes.grid(axis="y", alpha=0.3)
