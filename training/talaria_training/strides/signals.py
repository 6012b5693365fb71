"""What the strides of Talaria's own recordings can be made of, leg by leg."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.features import channels as feature_channels
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_training.networks import GaitNet
from talaria_training.strides.table import Channel
from talaria_training.train import predict
from talaria_training.trials import Trial

Floats = NDArray[np.float64]

_PLANES = {
    "hip_flexion": "sagittal",
    "knee_angle": "sagittal",
    "ankle_angle": "sagittal",
    "hip_adduction": "frontal",
    "hip_rotation": "transverse",
}
_IMU = [
    f"{segment}_{{}}.{kind}_{axis}"
    for segment in ("femur", "calcn")
    for kind in ("acc", "gyr")
    for axis in "xyz"
]
"""The features of one leg that are read, whose side is still to be filled in."""
_UNITS = {"acc": "m/s2", "gyr": "rad/s"}
_FEATURES = [channel.name for channel in feature_channels(LEG_SLOTS)]


class Signals(StrEnum):
    """What a stride is made of."""

    ANGLES = "angles"
    """Reference joint angles: the full chain's, or the recording's own."""
    ESTIMATE = "estimate"
    """Joint angles a model gives from the thigh and foot sensors."""
    IMU = "imu"
    """Specific force and angular rate of thigh and foot, in segment axes."""


def leg_series(trial: Trial, signals: Signals, net: GaitNet | None) -> Floats | None:
    """Each leg's channels over the whole trial, shape (2, T, C); None where it has none."""
    if signals is Signals.IMU:
        x = trial.features.astype(np.float64)
        return np.stack(
            [x[:, [_FEATURES.index(name.format(side)) for name in _IMU]] for side in SIDES]
        )
    if signals is Signals.ESTIMATE:
        assert net is not None  # seen to by who cuts
        angles_rad = predict(net, trial.features)
    else:
        angles_rad = trial.angles_rad
        if not np.isfinite(angles_rad).any():
            return None
    degrees = np.rad2deg(angles_rad.astype(np.float64))
    return np.stack([degrees[:, [ANGLES.index(f"{a}_{s}") for a in _PLANES]] for s in SIDES])


def leg_channels(signals: Signals) -> tuple[Channel, ...]:
    """Name the channels of one leg."""
    if signals is Signals.IMU:
        return tuple(_sensor_axis(name) for name in _IMU)
    return tuple(Channel(a, a.split("_")[0], plane, "deg") for a, plane in _PLANES.items())


def _sensor_axis(feature: str) -> Channel:
    slot, signal = feature.split(".")
    segment, (kind, axis) = slot.removesuffix("_{}"), signal.split("_")
    return Channel(f"{segment}_{signal}", segment, axis, _UNITS[kind])


def of_other_leg(channel: Channel) -> Channel:
    """Name the same channel of the other leg."""
    return replace(channel, name=f"other_{channel.name}", group=f"other {channel.group}")
