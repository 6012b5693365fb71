"""The study of planted mistakes, for a person to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from talaria_training.rotated import MountingEffect

GROUPS = ("held out", "chosen on", "all")


def mistakes(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    """Table of `talaria_training.planted.summarise`: one row a mistake, one column a group of people."""
    table = Table(
        "planted",
        *(f"named, {group}" for group in GROUPS),
        "refused, all",
        title="Mistakes named (of cases); in the rows without a mistake: false alarms",
    )
    for mistake, groups in summary.items():
        cells = [
            f"{groups[group]['named']:.1%} of {groups[group]['cases']}" if group in groups else "–"
            for group in GROUPS
        ]
        table.add_row(mistake, *cells, f"{groups['all']['refused']:.1%}")
    return table


def mountings(effects: Sequence[MountingEffect]) -> Table:
    """Table of what turned sensors did to the angles of each recording."""
    table = Table("recording", "RMS °", "at most °", title="Every sensor turned at random")
    for effect in effects:
        table.add_row(effect.recording, f"{effect.rms_deg:.3f}", f"{effect.worst_deg:.3f}")
    worst = max(effect.worst_deg for effect in effects)
    table.add_row(
        "all",
        f"{np.mean([effect.rms_deg for effect in effects]):.3f}",
        f"{worst:.3f}",
        style="bold",
    )
    return table
