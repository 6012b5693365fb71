"""What families share in turning their numbers into ours."""

from __future__ import annotations

import math
from collections.abc import Sequence

from talaria_bridge.samples import Quat, SampleFlag, Vec3

STANDARD_GRAVITY_MS2 = 9.80665
RAD_PER_DEG = math.pi / 180.0
_MAX_NORM_ERROR = 0.02


def vector(x: float, y: float, z: float, scale: float = 1.0) -> Vec3:
    """Scale three numbers."""
    return (x * scale, y * scale, z * scale)


def is_finite(values: Sequence[float]) -> bool:
    """Tell whether no number is NaN or infinite."""
    return math.isfinite(sum(values)) or all(map(math.isfinite, values))


def unit_quaternion(w: float, x: float, y: float, z: float) -> Quat | None:
    """Bring a quaternion to unit length; None if it is too far from it to be one."""
    norm = math.sqrt(w * w + x * x + y * y + z * z) if is_finite((w, x, y, z)) else 0.0
    if abs(norm - 1.0) > _MAX_NORM_ERROR:
        return None
    return (w / norm, x / norm, y / norm, z / norm)


def clip_flags(
    acc_ms2: Vec3, gyr_rads: Vec3, acc_range_g: float, gyr_range_dps: float
) -> SampleFlag:
    """Flag values at the end of a range, for families that do not say it themselves."""
    flags = SampleFlag.NONE
    if max(map(abs, acc_ms2)) >= 0.999 * acc_range_g * STANDARD_GRAVITY_MS2:
        flags |= SampleFlag.ACC_CLIP
    if max(map(abs, gyr_rads)) >= 0.999 * gyr_range_dps * RAD_PER_DEG:
        flags |= SampleFlag.GYR_CLIP
    return flags


def to_i16(value: float, per_count: float) -> int:
    """Turn a value into the nearest 16-bit count there is."""
    return max(-32768, min(32767, round(value / per_count)))


def at_least(rate_hz: float, rates_hz: Sequence[float]) -> float:
    """Return the slowest rate that is not below the wanted one, or the fastest there is."""
    return next((rate for rate in rates_hz if rate >= rate_hz), rates_hz[-1])
