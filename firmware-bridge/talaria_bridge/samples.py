"""What a sensor said, in SI units, and where on the body it sat."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

SLOTS = (
    "torso",
    "pelvis",
    "femur_r",
    "femur_l",
    "tibia_r",
    "tibia_l",
    "calcn_r",
    "calcn_l",
)
"""Every place on the body a sensor can sit, in wire order: the index is the slot number in a frame."""

LEG_SLOTS = ("femur_r", "femur_l", "calcn_r", "calcn_l")
"""The four slots of an everyday session: thigh and foot, both legs."""

Vec3 = tuple[float, float, float]


class SampleFlag(IntFlag):
    """What the sensor itself knows to be odd about a sample."""

    NONE = 0
    GYR_CLIP = 1
    ACC_CLIP = 2
    TIME_GAP = 4
    RESET = 8
    LOW_BATTERY = 16


@dataclass(frozen=True, slots=True)
class ImuSample:
    """One reading of one inertial sensor.

    Attributes
    ----------
    slot : str
        Where the sensor sits, one of `SLOTS`.
    seq : int
        Running sample number of this slot, unwrapped; a jump is a loss.
    t_s : float
        Host seconds of the instant of measurement (not of arrival).
    acc_ms2 : tuple of 3 floats
        Specific force in the sensor frame, m/s²; +9.81 along up at rest.
    gyr_rads : tuple of 3 floats
        Angular rate in the sensor frame, rad/s.
    flags : SampleFlag
        What the sensor reported about itself.
    """

    slot: str
    seq: int
    t_s: float
    acc_ms2: Vec3
    gyr_rads: Vec3
    flags: SampleFlag = SampleFlag.NONE
