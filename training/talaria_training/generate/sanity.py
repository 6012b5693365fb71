"""Whether windows of gait obey mechanics, real ones and generated ones by the same measures.

Feet and forces are judged on the body that `talaria_edge.generate.body` builds of a window: it agrees with
everything that the window says as well as anything can, so what is left is the window's own contradiction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_trapezoid

from talaria_bridge.errors import RecordingError
from talaria_edge.generate.body import Body, body_of, soles_m
from talaria_edge.generate.motion import NUMBERS, RATE_HZ, STYLES, VELOCITY, Conditions, columns
from talaria_edge.kinematics import SIDES
from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_edge.stances import OUTWARDS
from talaria_training.generate.gait_cycles import landings
from talaria_training.generate.windows import Windows

Floats = NDArray[np.float64]

MEASURES = (
    "under_ground_mm",
    "skating_mm_s",
    "force_without_contact",
    "contact_without_force",
    "mean_force_off_bw",
    "impulse_off_ms",
    "hyperextension_deg",
)
"""Each 0 where mechanics holds: how deep the sole goes; the median speed of the point of the sole that stands
under two fifths of the body weight; shares of all instants of both feet; by how much the vertical force
over whole strides misses one body weight; how far the velocity is from what the forces make of it, a
straight line apart (root mean square); and how far a knee bends backwards."""
# A foot this high has left the ground; this low and this slow it stands.
_OFF_M, _ON_M, _STILL_MS = 0.03, 0.01, 0.1
_AXES = ("anterior", "vertical", "lateral")
_LOADED_BW, _FREE_BW, _STANDS_BW = 0.1, 0.02, 0.4


@dataclass(frozen=True, slots=True)
class SanityRow:
    """One measure of real windows beside that of generated ones: medians and 95th percentiles."""

    measure: str
    real: float
    real_95: float
    generated: float
    generated_95: float


def sanity(windows: Windows) -> dict[str, Floats]:
    """Measure windows.

    Returns
    -------
    dict of measure to ndarray, shape (N,)
        `MEASURES`; NaN where a window lacks what the measure needs.
    """
    given = zip(windows.values, windows.numbers, windows.style, strict=True)
    rows = [_measured(*row) for row in given]
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in MEASURES}


def beside(real: dict[str, Floats], generated: dict[str, Floats]) -> list[SanityRow]:
    """Set what `sanity` measured of real windows beside that of generated ones."""
    return [
        SanityRow(name, *_middle_and_95(real[name]), *_middle_and_95(generated[name]))
        for name in MEASURES
    ]


def _middle_and_95(values: Floats) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return np.nan, np.nan
    return float(np.median(known)), float(np.quantile(known, 0.95))


def _measured(
    values: NDArray[np.floating], numbers: NDArray[np.floating], style: int
) -> dict[str, float]:
    window = np.asarray(values, dtype=np.float64)
    found = {
        "mean_force_off_bw": _mean_force_off_bw(window),
        "impulse_off_ms": _impulse_off_ms(window),
        "hyperextension_deg": _hyperextension_deg(window),
    }
    given = dict(zip(NUMBERS, map(float, numbers), strict=True))
    named = STYLES[style] if style >= 0 else None
    try:
        body = body_of(window, Conditions(**given, style=named))
    except RecordingError:  # not every window knows enough for a body
        return found
    return found | _of_feet(body, window)


def _of_feet(body: Body, values: Floats) -> dict[str, float]:
    soles = {side: soles_m(body, side) for side in SIDES}
    lowest = {side: points[:, :, 2].min(axis=0) for side, points in soles.items()}
    found = {"under_ground_mm": 1000 * max(0.0, -min(low.min() for low in lowest.values()))}
    force = {side: values[:, columns([f"grf_vertical_{side}"])[0]] for side in SIDES}
    if not all(np.isfinite(f).all() for f in force.values()):
        return found
    slip = {side: _slip_ms(points) for side, points in soles.items()}
    stands = np.concatenate([slip[s][force[s] > _STANDS_BW] for s in SIDES])
    if len(stands):
        found["skating_mm_s"] = 1000 * float(np.median(stands))
    held = [(lowest[s] > _OFF_M) & (force[s] > _LOADED_BW) for s in SIDES]
    idle = [(lowest[s] < _ON_M) & (slip[s] < _STILL_MS) & (force[s] < _FREE_BW) for s in SIDES]
    found["force_without_contact"] = float(np.mean(held))
    found["contact_without_force"] = float(np.mean(idle))
    return found


def _slip_ms(soles: Floats) -> Floats:
    """Return how fast the lower of heel and ball, (2, T, 3), goes across the ground, (T,)."""
    speed = np.linalg.norm(np.gradient(soles, 1 / RATE_HZ, axis=1)[:, :, :2], axis=2)
    return np.asarray(np.where(soles[0, :, 2] < soles[1, :, 2], speed[0], speed[1]))


def _mean_force_off_bw(values: Floats) -> float:
    right, left = (values[:, columns([f"grf_vertical_{side}"])[0]] for side in SIDES)
    landed = landings(right)
    if len(landed) < 2:
        return np.nan
    whole = slice(round(landed[0]), round(landed[-1]))
    return float(abs((right + left)[whole].mean() - 1.0))


def _impulse_off_ms(values: Floats) -> float:
    """Compare the velocity with the integral of the forces."""
    velocity = values[:, columns(VELOCITY)]
    total = _total_bw(values)
    if not (np.isfinite(velocity).all() and np.isfinite(total).all()):
        return np.nan
    # What gravity takes grows evenly, and goes with the straight line below.
    gained = cumulative_trapezoid(total * STANDARD_GRAVITY_MS2, dx=1 / RATE_HZ, axis=0, initial=0.0)
    off = velocity - gained
    line = np.column_stack([np.ones(len(off)), np.arange(len(off))])
    off = off - line @ np.linalg.lstsq(line, off, rcond=None)[0]
    return float(np.sqrt(np.mean(off**2)))


def _total_bw(values: Floats) -> Floats:
    """Return the force on both feet, (T, 3): forwards, up and to the right, as the velocity's channels."""
    feet = [
        values[:, columns([f"grf_{axis}_{side}" for axis in _AXES])] * [1, 1, OUTWARDS[side]]
        for side in SIDES
    ]
    return np.asarray(np.sum(feet, axis=0))


def _hyperextension_deg(values: Floats) -> float:
    knees = values[:, columns([f"knee_angle_{side}" for side in SIDES])]
    if not np.isfinite(knees).any():
        return np.nan
    return float(np.degrees(max(0.0, -np.nanmin(knees))))
