"""What sensors worn on a generated body would read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import ConfigError
from talaria_bridge.samples import LEG_SLOTS, SLOTS
from talaria_bridge.virtual_imu import (
    Bone,
    Reading,
    SensorParams,
    quaternions,
    sense,
    skin_slide_rad,
)
from talaria_edge.generate.body import Body
from talaria_edge.generate.motion import RATE_HZ
from talaria_edge.kinematics import SIDES

Floats = NDArray[np.float64]

BODY_SLOTS = tuple(slot for slot in SLOTS if slot != "torso")
"""Where sensors can be put."""

_FINE_HZ = 400.0


@dataclass(frozen=True, slots=True)
class Tissue:
    """What lies between sensor and bone, as `SensorParams` counts it."""

    soft_tissue: float
    skin_slide: float
    heel_strike_ms2: float

    def worn(self, sensors: SensorParams, size: float = 1.0) -> SensorParams:
        """Put it under sensors, so many times as thick."""
        return replace(
            sensors,
            soft_tissue=size * self.soft_tissue,
            skin_slide=size * self.skin_slide,
            heel_strike_ms2=size * self.heel_strike_ms2,
        )


SUB02: Mapping[str, Tissue] = MappingProxyType(
    {
        "pelvis": Tissue(1.0, 1.0, 20.0),
        "femur": Tissue(1.0, 2.0, 20.0),
        "tibia": Tissue(1.5, 1.0, 45.0),
        "calcn": Tissue(0.0, 1.0, 45.0),
    }
)
"""By segment: what `talaria_training.generate.soft_tissue` finds on CapSense's Sub02, CSBaseline, 20 to 42 s
(MIT, opearl-cmu/CapacitiveSensingKinematics). One healthy person at 0.73 m/s; runners will differ."""


def sense_body(
    body: Body,
    worn: SensorParams | Mapping[str, SensorParams],
    seed: int,
    slots: Sequence[str] = LEG_SLOTS,
) -> dict[str, Reading]:
    """Read sensors worn on a body, at `RATE_HZ`; one slot's reading does not depend on the others.

    Parameters
    ----------
    body : Body
    worn : SensorParams, or mapping of segment (``femur``, …) to SensorParams
    seed : int
    slots : sequence of str

    Raises
    ------
    ConfigError
        If a slot is unknown.
    """
    unknown = [slot for slot in slots if slot not in BODY_SLOTS]
    if unknown:
        raise ConfigError(
            f"A generated body cannot wear a sensor at {', '.join(unknown)}, because it has only a "
            f"pelvis and legs: choose from {', '.join(BODY_SLOTS)}."
        )
    return {
        slot: sense(
            worn if isinstance(worn, SensorParams) else worn[slot.partition("_")[0]],
            bone_of(body, slot),
            np.random.default_rng([seed, SLOTS.index(slot)]),
            slice(0, None, round(_FINE_HZ / RATE_HZ)),
        )
        for slot in slots
    }


def bone_of(body: Body, slot: str) -> Bone:
    """Return one segment of a body at 400 Hz, smoothly in between, as `virtual_imu.sense` wants it."""
    finer = round(_FINE_HZ / RATE_HZ)
    fine_s = np.arange((len(body.t_s) - 1) * finer + 1) / _FINE_HZ

    def fine(values: Floats) -> Floats:
        return np.asarray(CubicSpline(body.t_s, values)(fine_s))

    side = slot.partition("_")[2]
    landed = [body.contacts_s[s] for s in SIDES if side in ("", s)]
    return Bone(
        slot,
        body.height_m,
        fine_s,
        Rotation.from_quat(fine(quaternions(body.pose[slot])), scalar_first=True),
        fine(body.origin_m[slot]),
        np.sort(np.concatenate(landed)),
        fine(skin_slide_rad(slot, body.angles_rad)),
    )
