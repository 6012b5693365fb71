"""BMC-RIC's running strides as motions: one leg's angles, consecutive strides joined, on an assumed clock.

The set gives strides as 101 points without their durations. Files that follow one another are strides that
followed one another (half of the joins agree to one degree), so they are joined again; but how long a
stride took is not known, and every one is given the same time. `stride_hz` is therefore NaN, and velocities
of joints are only roughly right. The set writes every joint's proximal segment as seen from the distal one:
with z to the right, flexion of hip and ankle, adduction and inward rotation change sign, and flexion of the
knee does not. That holds for a right leg, which is taken for granted: everybody's curves have the same signs.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from talaria_edge.generate.motion import RATE_HZ, WINDOW, Conditions, Motion
from talaria_training.generate.sources_curves import channels_of
from talaria_training.strides.archive import open_archive
from talaria_training.strides.running import read_running
from talaria_training.strides.table import POINTS, StrideTable

Floats = NDArray[np.float64]

SOURCE = (
    "BMC-RIC running set (Fukuchi et al., CC BY 4.0): treadmill running at 2.5 m/s, one leg's angles from "
    "optical markers, stride by stride; the strides' durations are assumed."
)
ASSUMED_STRIDE_HZ = 1.33
"""What the two runners of Hamner and Delp take between 2 and 3 m/s."""
SIGNS = {
    "hip_flexion_r": ("hip_sagittal", -1.0, 70.0),
    "hip_adduction_r": ("hip_frontal", -1.0, 30.0),
    "hip_rotation_r": ("hip_transverse", -1.0, 45.0),
    "knee_angle_r": ("knee_sagittal", 1.0, 140.0),
    "ankle_angle_r": ("ankle_sagittal", -1.0, 50.0),
}
"""Our name: the set's channel, what it is multiplied by, and beyond what it is a fault (deg): where a marker of
the pelvis was lost, one stride in twenty of some runners, the hip leaps to 180 degrees."""
_JOIN_DEG = 4.0  # nineteen of twenty joins are closer


def read_cycles(path: Path, note: Callable[[str], None]) -> list[Motion]:
    """Read the set, a folder or a zip; each motion is a chain of strides that followed one another.

    Raises
    ------
    RecordingError
        If no stride is there, or a file is not what the set's files are.
    """
    table = read_running(path)
    sizes = _sizes(path)
    found: list[Motion] = []
    used = 0
    for person in sorted(set(table.column("person").tolist())):
        own = table.select(table.column("person") == person)
        speed_ms, height_m, mass_kg = sizes.get(person, (np.nan, np.nan, np.nan))
        known = Conditions(speed_ms, np.nan, height_m, mass_kg, "running")
        for number, chain in enumerate(chains_of(own)):
            values = on_a_clock(chain)
            if len(values) < WINDOW:
                continue
            used += len(chain)
            found.append(Motion(person, f"{person}/{number}", SOURCE, values, known))
    note(
        f"{path.name}: {len(table) - used} of {len(table)} strides are faulty or join no neighbour"
    )
    note(
        f"{path.name}: how long a stride took is not known; every one is given {1 / ASSUMED_STRIDE_HZ:.2f} s"
    )
    return found


def chains_of(table: StrideTable) -> list[Floats]:
    """Return one person's strides as chains, (strides, len(SIGNS), POINTS) in rad and our signs.

    A chain ends where the numbering skips, or where the next stride does not begin where this one ends.
    Strides with an angle that no runner has (`SIGNS`) are left out, and end one too.
    """
    columns = [[c.name for c in table.channels].index(name) for name, _, _ in SIGNS.values()]
    most = np.array([most for _, _, most in SIGNS.values()])
    sign = np.array([sign for _, sign, _ in SIGNS.values()])
    order = np.argsort(table.order)
    number, degrees = table.order[order], table.values[order][:, columns] * sign[:, None]
    sound = (np.abs(degrees).max(axis=2) < most).all(axis=1)
    apart = np.abs(degrees[1:, :, 0] - degrees[:-1, :, -1]).max(axis=1)
    joins = (np.diff(number) == 1) & (apart < _JOIN_DEG) & sound[1:] & sound[:-1]
    parts = np.split(np.arange(len(degrees)), np.flatnonzero(~joins) + 1)
    return [np.radians(degrees[part].astype(float)) for part in parts if sound[part].all()]


def on_a_clock(chain: Floats) -> NDArray[np.float32]:
    """Read a chain of strides at `RATE_HZ`, each stride taking as long; where two join, the mean of both."""
    strides, angles, _ = chain.shape
    phase = np.arange(strides * (POINTS - 1) + 1) / (POINTS - 1)
    curve = np.empty((len(phase), angles))
    curve[:-1] = chain[:, :, :-1].swapaxes(1, 2).reshape(-1, angles)
    curve[-1] = chain[-1, :, -1]
    inner = np.arange(1, strides)
    curve[inner * (POINTS - 1)] = (chain[1:, :, 0] + chain[:-1, :, -1]) / 2
    at = np.arange(int(strides * RATE_HZ / ASSUMED_STRIDE_HZ) + 1) * ASSUMED_STRIDE_HZ / RATE_HZ
    return channels_of(dict(zip(SIGNS, CubicSpline(phase, curve)(at).T, strict=True)))


def _sizes(path: Path) -> dict[str, tuple[float, float, float]]:
    """Return speed, height and mass by person; empty without the set's table of strides."""
    with open_archive(path) as archive:
        name = archive.named("metadata.txt")
        rows = [] if name is None else archive.text(name).splitlines()
    return {
        row["Filename"][:6]: (float(row["Speed"]), float(row["Height"]) / 100.0, float(row["Mass"]))
        for row in csv.DictReader(rows, delimiter="\t")
    }
