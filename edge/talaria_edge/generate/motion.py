"""What a generative model of gait speaks of: a second and a half of movement and force, and who it is of.

A window is 150 samples at 100 Hz of the channels below, SI units, NaN where nobody measured. Angles have
OpenSim's names and signs as everywhere in Talaria; forces are those of `talaria_edge.stances.FORCE_AXES`, in
body weights, per foot. The body's velocity is that of its centre over the ground (a belt's speed added):
forwards, up, and to the person's right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_edge.stances import FORCE_AXES

RATE_HZ = 100.0
WINDOW = 150
PELVIS = ("pelvis_tilt", "pelvis_list", "pelvis_rotation")
"""OpenSim's names and signs (tilt backwards, right side down, turn to the left positive), rad; rotation is
against the mean direction of travel."""
VELOCITY = ("velocity_forward", "velocity_up", "velocity_right")
FORCES = tuple(f"grf_{axis}_{side}" for side in SIDES for axis in FORCE_AXES)
CHANNELS = (*ANGLES, *PELVIS, *VELOCITY, *FORCES)
"""The columns of every window."""
UNITS = MappingProxyType(
    dict.fromkeys((*ANGLES, *PELVIS), "rad")
    | dict.fromkeys(VELOCITY, "m/s")
    | dict.fromkeys(FORCES, "BW")
)
STYLES = ("walking", "stiff_knee_r", "stiff_knee_l", "running")
"""Ways of moving that a model may have seen."""
_FLIPPED = ("pelvis_list", "pelvis_rotation", "velocity_right")
_LARGEST = MappingProxyType({"rad": 3.2, "m/s": 15.0, "BW": 8.0})
_DEGREES, _NEWTONS = 10.0, 30.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """Who moves and how; NaN or None is "not known", and a model may be asked without it.

    Attributes
    ----------
    speed_ms, stride_hz : float
        Over the ground, and strides (two steps) per second.
    height_m, mass_kg : float
    style : str or None
        One of `STYLES`.
    """

    speed_ms: float = np.nan
    stride_hz: float = np.nan
    height_m: float = np.nan
    mass_kg: float = np.nan
    style: str | None = None

    def mirrored(self) -> Conditions:
        """Return those of the mirror image."""
        return replace(self, style=mirrored_style(self.style))


NUMBERS = ("speed_ms", "stride_hz", "height_m", "mass_kg")
"""The numbers of `Conditions`, in the order in which models take them."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """One stretch of movement, of any length.

    Attributes
    ----------
    person, name : str
    source : str
        Data set, and what its angles and forces are (optical, derived from sensors, plates).
    values : ndarray of float32, shape (T, len(CHANNELS))
        At `RATE_HZ`; NaN where not measured.
    conditions : Conditions
        `stride_hz` is the stretch's mean; windows are given their own.
    """

    person: str
    name: str
    source: str
    values: NDArray[np.float32]
    conditions: Conditions = field(default_factory=Conditions)


def columns(names: Sequence[str]) -> list[int]:
    """Return where channels are.

    Raises
    ------
    RecordingError
        If one has no such name.
    """
    unknown = [name for name in names if name not in CHANNELS]
    if unknown:
        raise RecordingError(
            f"There is no channel {', '.join(unknown)}: a window of gait has {', '.join(CHANNELS)}."
        )
    return [CHANNELS.index(name) for name in names]


def mirrored(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Exchange right and left, of (..., len(CHANNELS))."""
    other = {"r": "l", "l": "r"}
    order = [
        CHANNELS.index(f"{name[:-1]}{other[name[-1]]}") if name[-2:] in ("_r", "_l") else i
        for i, name in enumerate(CHANNELS)
    ]
    sign = np.where([name in _FLIPPED for name in CHANNELS], -1.0, 1.0).astype(values.dtype)
    return values[..., order] * sign


def mirrored_style(style: str | None) -> str | None:
    """Return the way of moving that a mirror shows."""
    return {"stiff_knee_r": "stiff_knee_l", "stiff_knee_l": "stiff_knee_r"}.get(style or "", style)


def check_values(values: NDArray[np.floating], name: str) -> None:
    """Refuse what is not a stretch of gait in this module's channels and units.

    Raises
    ------
    RecordingError
        With the channel, the value, and what it probably is (degrees, newtons, another order).
    """
    if values.ndim != 2 or values.shape[1] != len(CHANNELS):
        raise RecordingError(
            f"{name} has the shape {values.shape} and not (samples, {len(CHANNELS)}): give one column "
            f"for each of {', '.join(CHANNELS)}, NaN where it was not measured."
        )
    known = np.isfinite(values).any(axis=0)
    peak = np.full(len(CHANNELS), 0.0)
    peak[known] = np.nanmax(np.abs(values[:, known]), axis=0)
    for i, channel in enumerate(CHANNELS):
        unit = UNITS[channel]
        if peak[i] <= _LARGEST[unit]:
            continue
        guess = "an order other than the channels'"
        if unit == "rad" and peak[i] > _DEGREES:
            guess = "degrees"
        elif unit == "BW" and peak[i] > _NEWTONS:
            guess = "newtons"
        raise RecordingError(
            f"{channel} of {name} reaches {peak[i]:.3g} {unit}, which no gait does: the values look like "
            f"{guess}; give {unit}, in the order of the channels."
        )


def check_size(conditions: Conditions, name: str) -> None:
    """Refuse a person without a body size, or with an impossible one.

    Raises
    ------
    RecordingError
        With the value and what to give.
    """
    for what, value, least, most, unit in (
        ("height", conditions.height_m, 0.5, 2.5, "m"),
        ("mass", conditions.mass_kg, 5.0, 350.0, "kg"),
    ):
        if not np.isfinite(value):
            raise RecordingError(
                f"The {what} of {name} is not known, and forces and sensors scale with it: give it in {unit}."
            )
        if not least <= value <= most:
            raise RecordingError(
                f"The {what} of {name} is {value:g} {unit}, which is nobody's: give it in {unit}."
            )
