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
Quat = tuple[float, float, float, float]


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


@dataclass(frozen=True, slots=True)
class Reading:
    """What one message of a vendor's sensor says, before it has a place on the body and a host time.

    Attributes
    ----------
    acc_ms2, gyr_rads : tuple of 3 floats or None
        As in `ImuSample`; None where the message does not say. Families that send them apart are
        paired afterwards.
    quat_wxyz : tuple of 4 floats or None
        The sensor's own orientation, scalar first, unit length, sensor to world.
    ticks : int or None
        Instant of measurement in the family's ticks, wrapping as they do.
    seq : int or None
        The sensor's own sample number, wrapping.
    flags : SampleFlag
    battery : float or None
        Charge, 0 to 1, where the message tells it.
    """

    acc_ms2: Vec3 | None = None
    gyr_rads: Vec3 | None = None
    quat_wxyz: Quat | None = None
    ticks: int | None = None
    seq: int | None = None
    flags: SampleFlag = SampleFlag.NONE
    battery: float | None = None
