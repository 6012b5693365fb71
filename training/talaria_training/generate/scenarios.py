"""What may be missing: joints, a leg, the pelvis, what a dead sensor takes with it."""

from __future__ import annotations

from types import MappingProxyType

from talaria_edge.generate.motion import PELVIS
from talaria_edge.kinematics import ANGLES, SIDES

_HIP = ("hip_flexion", "hip_adduction", "hip_rotation")


def _of(joints: tuple[str, ...], sides: str) -> tuple[str, ...]:
    return tuple(f"{joint}_{side}" for side in sides for joint in joints)


MISSING_JOINTS = MappingProxyType(
    {f"hip {side}": _of(_HIP, side) for side in SIDES}
    | {f"knee {side}": _of(("knee_angle",), side) for side in SIDES}
    | {f"ankle {side}": _of(("ankle_angle",), side) for side in SIDES}
    | {f"thigh sensor {side}": _of((*_HIP, "knee_angle"), side) for side in SIDES}
    | {f"leg {side}": tuple(name for name in ANGLES if name.endswith(side)) for side in SIDES}
    | {"pelvis": PELVIS}
)
"""Channels missing of one side; a thigh sensor's silence takes hip and knee with it."""
MISSING_FOR_FORCES = MappingProxyType(
    {
        "nothing": (),
        "pelvis": PELVIS,
        "hips": _of(_HIP, "rl"),
        "knees": _of(("knee_angle",), "rl"),
        "ankles": _of(("ankle_angle",), "rl"),
        "leg r": MISSING_JOINTS["leg r"],
        "leg l": MISSING_JOINTS["leg l"],
    }
)
"""Kinematics missing when forces are asked for."""
