"""How each sensor sits on its segment: vertical from standing still, medio-lateral axis from walking.

No heading, no magnetometer, no prescribed mounting: any sensor may be strapped on in any rotation.
Standing gives the segment's long axis (it is taken to be vertical then), walking gives the axis it
flexes about, and the direction of the swing tells right from left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import CalibrationError
from talaria_edge.kinematics import rotate
from talaria_edge.orientation import track

FloatArray = NDArray[np.float64]
PROCEDURE = "stand still, then walk straight (v1)"
"""Named in model specs: the calibration a model's inputs assume."""


@dataclass(frozen=True, slots=True)
class CalibrationParams:
    """What counts as still, as walking, and how much of each is wanted."""

    still_s: float = 0.5  # people about to walk rarely stand still for longer
    still_rads: float = 0.15  # mean rate over all sensors; a calm stance is near 0.03
    bias_rads: float = (
        0.01  # only a spread below this is a resting gyroscope and not a swaying person
    )
    walk_s: float = 8.0  # about six strides
    walk_rads: float = 0.7  # mean rate of the feet over a second; slow walking is above 1
    foot_moving_rads: float = 1.0  # a foot flat on the ground is well below


@dataclass(frozen=True, slots=True)
class SlotCalibration:
    """One sensor on one segment.

    Attributes
    ----------
    slot : str
    r_segment_sensor : ndarray, shape (3, 3)
        Maps sensor-frame vectors to the segment frame; its rows are the segment's x (anterior),
        y (proximal) and z (right) axes seen from the sensor.
    gyr_bias_rads : ndarray, shape (3,)
        Gyroscope reading at rest, sensor frame; zeros where the wearer was not calm enough to tell.
    weight : float
        Trust when several calibrations are averaged: one over the squared restlessness.
    """

    slot: str
    r_segment_sensor: FloatArray
    gyr_bias_rads: FloatArray
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """All sensors of one wearer in one mounting."""

    slots: Mapping[str, SlotCalibration]

    def stacked(self, slots: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Rotations (S, 3, 3) and biases (S, 3) in the order asked for.

        Raises
        ------
        CalibrationError
            If a slot was never calibrated.
        """
        missing = [slot for slot in slots if slot not in self.slots]
        if missing:
            raise CalibrationError(
                f"The calibration knows nothing of {', '.join(missing)}, so those readings cannot be "
                "turned into segment frames: calibrate again with all sensors on."
            )
        rows = [self.slots[slot] for slot in slots]
        return (
            np.array([row.r_segment_sensor for row in rows]),
            np.array([row.gyr_bias_rads for row in rows]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain nested lists and numbers, for a TOML or JSON profile."""
        return {
            slot: {
                "r_segment_sensor": row.r_segment_sensor.tolist(),
                "gyr_bias_rads": row.gyr_bias_rads.tolist(),
            }
            for slot, row in self.slots.items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Read `to_dict`'s output back.

        Raises
        ------
        CalibrationError
            If an entry is missing, of the wrong shape, or not a rotation.
        """
        slots = {}
        for slot, entry in data.items():
            try:
                rotation = np.array(entry["r_segment_sensor"], dtype=float)
                bias = np.array(entry["gyr_bias_rads"], dtype=float)
                sound = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
                sound = sound and bias.shape == (3,) and bool(np.isfinite(bias).all())
            except (KeyError, TypeError, ValueError):
                sound = False
            if not sound:
                raise CalibrationError(
                    f"The stored calibration of {slot} is damaged (no rotation and rate bias in it): "
                    "delete the profile or calibrate again."
                )
            slots[slot] = SlotCalibration(slot, rotation, bias)
        return cls(slots)


def segment_axes(up: FloatArray, right: FloatArray) -> FloatArray:
    """Rotation sensor to segment from the two measured axes; the vertical is the one kept exact.

    Parameters
    ----------
    up, right : ndarray, shape (3,)
        The segment's long axis and its flexion axis (to the wearer's right) in the sensor frame.

    Returns
    -------
    ndarray, shape (3, 3)
        Rows x (anterior), y (proximal), z (right).
    """
    y = up / np.linalg.norm(up)
    z = right - y * (y @ right)
    z = z / np.linalg.norm(z)
    return np.stack([np.cross(y, z), y, z])


def flexion_axis(gyr_rads: FloatArray, q_world_sensor: FloatArray) -> FloatArray:
    """Axis a segment swings about while walking, up to its sign, in the sensor frame.

    The principal direction of the *horizontal* angular rate in a levelled world: a leg's turning about
    its own length, which soft tissue exaggerates, then does not tilt the axis.

    Parameters
    ----------
    gyr_rads : ndarray, shape (T, 3)
    q_world_sensor : ndarray, shape (T, 4)
        Scalar first; a slowly drifting heading does no harm over some seconds.

    Returns
    -------
    ndarray, shape (3,)
    """
    level = rotate(q_world_sensor, gyr_rads)[:, :2]
    level = level - level.mean(axis=0)
    _, vectors = np.linalg.eigh(level.T @ level)
    axis = np.array([*vectors[:, -1], 0.0])
    return np.asarray(rotate(q_world_sensor * [1.0, -1.0, -1.0, -1.0], axis).mean(axis=0))


def foot_moving(
    gyr_rads: FloatArray, rate_hz: float, params: CalibrationParams
) -> NDArray[np.bool_]:
    """Say when a foot is off the ground or rolling, shape (T,), from its rate (T, 3)."""
    width = max(1, round(0.05 * rate_hz))
    smooth = np.convolve(np.linalg.norm(gyr_rads, axis=1), np.ones(width) / width, "same")
    return np.asarray(smooth > params.foot_moving_rads)


def stride_direction(
    acc_ms2: FloatArray, q_world_sensor: FloatArray, moving: NDArray[np.bool_], rate_hz: float
) -> FloatArray:
    """Where the foot travels, from flat to flat, in the world of its own filter.

    Doubly integrated specific force with the foot at rest at both ends. On a treadmill the belt is an
    inertial frame like any other, so the same holds.

    Parameters
    ----------
    acc_ms2 : ndarray, shape (T, 3)
    q_world_sensor : ndarray, shape (T, 4)
    moving : ndarray of bool, shape (T,)
    rate_hz : float

    Returns
    -------
    ndarray, shape (3,)
        Sum of the horizontal displacements of all whole swings, m.
    """
    free = rotate(q_world_sensor, acc_ms2)
    margin = round(0.05 * rate_hz)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], moving.astype(int), [0]])))
    total = np.zeros(3)
    for start, stop in zip(edges[::2] - margin, edges[1::2] + margin, strict=True):
        if start < 0 or stop > len(free) or stop - start < 0.25 * rate_hz:
            continue  # cut by an end of the recording, or a shuffle
        push = free[start:stop] - free[start : start + margin].mean(axis=0)
        speed = np.cumsum(push, axis=0) / rate_hz
        speed -= np.linspace(0.0, 1.0, len(speed))[:, None] * speed[-1]
        total += speed.sum(axis=0) / rate_hz
    total[2] = 0.0
    return total


def calibrate(
    slots: Sequence[str],
    acc_ms2: FloatArray,
    gyr_rads: FloatArray,
    still: slice,
    walking: slice,
    rate_hz: float,
    params: CalibrationParams | None = None,
) -> Calibration:
    """Calibrate thighs and feet from one stretch that holds a still window and a walk.

    Parameters
    ----------
    slots : sequence of str
        ``femur_*`` and ``calcn_*``; a thigh needs the foot of its own side.
    acc_ms2, gyr_rads : ndarray, shape (T, S, 3)
        Readings in sensor frames, beginning with (or before) the still window.
    still, walking : slice
        Sample ranges within the stretch.
    rate_hz : float
    params : CalibrationParams, optional

    Raises
    ------
    CalibrationError
        If a thigh has no foot to tell forward by, or no whole stride was found.
    """
    params = params or CalibrationParams()
    index = {slot: i for i, slot in enumerate(slots)}
    found: dict[str, SlotCalibration] = {}
    for slot, i in index.items():
        foot = index.get(f"calcn_{slot[-1]}")
        if foot is None:
            raise CalibrationError(
                f"{slot} has no foot sensor on its own leg to tell forward from backward by: "
                f"put a sensor on calcn_{slot[-1]}."
            )
        # The attitude filter is not exactly indifferent to how a sensor is turned, so it is always
        # shown the same turn, whatever the mounting.
        coarse = _coarse_axes(acc_ms2[still, i], gyr_rads[walking, i])
        acc, gyr = acc_ms2[:, i] @ coarse.T, gyr_rads[:, i] @ coarse.T
        q = track(acc[still.start :], gyr[still.start :], rate_hz)
        walk = slice(walking.start - still.start, walking.stop - still.start)
        moving = foot_moving(gyr_rads[walking, foot], rate_hz, params)
        right = flexion_axis(gyr[walking], q[walk])
        if slot.startswith("calcn"):
            sign = _foot_sign(acc[walking], q[walk], right, moving, rate_hz)
        else:
            sign = float(np.sign((gyr[walking] @ right)[moving].sum()))
        if sign == 0.0:
            raise CalibrationError(
                f"No whole stride of {slot} was found in {(walking.stop - walking.start) / rate_hz:.0f} s "
                "of walking, so forward is unknown: walk at least five steps straight ahead."
            )
        rotation = segment_axes(acc[still].mean(axis=0), sign * right) @ coarse
        bias, restless = _rest(gyr_rads[still, i], params)
        found[slot] = SlotCalibration(slot, rotation, bias, 1.0 / (0.03**2 + restless**2))
    return Calibration(found)


def _coarse_axes(still_ms2: FloatArray, walking_rads: FloatArray) -> FloatArray:
    """Sensor to a frame that turns with the sensor: up at rest, and the main level axis of turning.

    Its sign follows the skew of the swing: arbitrary, but the same for every mounting.
    """
    up = still_ms2.mean(axis=0)
    up = up / np.linalg.norm(up)
    level = walking_rads - np.outer(walking_rads @ up, up)
    axis = np.linalg.eigh(level.T @ level)[1][:, -1]
    swing = level @ axis
    return segment_axes(up, axis if (swing**3).sum() >= 0.0 else -axis)


def _foot_sign(
    acc_ms2: FloatArray,
    q: FloatArray,
    right: FloatArray,
    moving: NDArray[np.bool_],
    rate_hz: float,
) -> float:
    forward = stride_direction(acc_ms2, q, moving, rate_hz)
    right_world = rotate(q, right).mean(axis=0)
    # Up is world z, so forward x up points to the right.
    return float(np.sign(np.cross(forward, [0.0, 0.0, 1.0]) @ right_world))


def _rest(gyr_rads: FloatArray, params: CalibrationParams) -> tuple[FloatArray, float]:
    restless = float(np.linalg.norm(gyr_rads, axis=1).mean())
    spread_rads = float(np.linalg.eigvalsh(np.cov(gyr_rads.T))[-1]) ** 0.5
    calm = spread_rads < params.bias_rads
    return (gyr_rads.mean(axis=0) if calm else np.zeros(3)), restless


def average(calibrations: Iterable[Calibration]) -> Calibration:
    """Average several calibrations of one mounting, the calmer stances counting more.

    Raises
    ------
    CalibrationError
        If there is none to average.
    """
    rows: dict[str, list[SlotCalibration]] = {}
    for calibration in calibrations:
        for slot, row in calibration.slots.items():
            rows.setdefault(slot, []).append(row)
    if not rows:
        raise CalibrationError(
            "There is no calibration to average: no recording of this mounting has a still moment "
            "followed by walking; record one, standing still first."
        )
    merged = {}
    for slot, same in rows.items():
        weights = np.array([row.weight for row in same])
        mean = np.average([row.r_segment_sensor for row in same], axis=0, weights=weights)
        bias = np.average([row.gyr_bias_rads for row in same], axis=0, weights=weights)
        merged[slot] = SlotCalibration(slot, segment_axes(mean[1], mean[2]), bias, weights.sum())
    return Calibration(merged)


@dataclass(frozen=True, slots=True)
class CalibrationProgress:
    """Where the session stands: stage, how much of it is done (0 to 1), and what the wearer should do."""

    stage: Literal["standing", "walking", "swinging", "done"]
    fraction: float
    hint: str


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """What a calibration is made from: a still moment and a walk, in one unbroken run of ticks.

    Attributes
    ----------
    slots : tuple of str
    rate_hz : float
    acc_ms2, gyr_rads : ndarray, shape (T, S, 3)
        Readings in sensor frames.
    still, walking : slice
        Sample ranges of the two.
    """

    slots: tuple[str, ...]
    rate_hz: float
    acc_ms2: FloatArray
    gyr_rads: FloatArray
    still: slice
    walking: slice

    def calibrate(self, params: CalibrationParams | None = None) -> Calibration:
        """Calibrate from this stretch; see `calibrate`."""
        return calibrate(
            self.slots,
            self.acc_ms2,
            self.gyr_rads,
            self.still,
            self.walking,
            self.rate_hz,
            params,
        )


class CalibrationCollector:
    """Watches ticks until it has seen a still moment and then enough walking.

    The calmest moment before the first steps is the one used. Sample-driven: no clock of its own.

    Parameters
    ----------
    rate_hz : float
    slots : sequence of str
        Order of the rows given to `update`.
    params : CalibrationParams, optional
    """

    def __init__(
        self, rate_hz: float, slots: Sequence[str], params: CalibrationParams | None = None
    ) -> None:
        self.params = params or CalibrationParams()
        self.rate_hz = rate_hz
        self.slots = tuple(slots)
        self._feet = [i for i, slot in enumerate(slots) if slot.startswith("calcn")]
        self._still_ticks = round(self.params.still_s * rate_hz)
        self._walk_ticks = round(self.params.walk_s * rate_hz)
        self._restart("Stand still.")

    def _restart(self, hint: str) -> None:
        self._kept: list[tuple[FloatArray, FloatArray]] = []  # from the best still window onwards
        self._recent: deque[tuple[FloatArray, FloatArray, float]] = deque(maxlen=self._still_ticks)
        self._best_rads = self.params.still_rads
        self._has_still = False
        self._stride_rads = 0.0
        self._walk_start: int | None = None
        self._hint = hint

    @property
    def progress(self) -> CalibrationProgress:
        """What to show the wearer now."""
        if self._walk_start is None:
            fraction = min(1.0, len(self._recent) / self._still_ticks)
            if self._has_still:
                return CalibrationProgress("standing", 1.0, "Good. Now walk straight ahead.")
            return CalibrationProgress("standing", 0.9 * fraction, self._hint)
        fraction = (len(self._kept) - self._walk_start) / self._walk_ticks
        if fraction >= 1.0:
            return CalibrationProgress("done", 1.0, "Calibrated.")
        return CalibrationProgress("walking", fraction, "Keep walking straight ahead.")

    def update(self, acc_ms2: FloatArray, gyr_rads: FloatArray) -> Calibration | None:
        """Take one tick, rows of shape (S, 3) in sensor frames; return the calibration once it is there.

        A walk that gives no usable axes starts the session over, with the reason as the hint.
        """
        stretch = self.collect(acc_ms2, gyr_rads)
        if stretch is None:
            return None
        try:
            return stretch.calibrate(self.params)
        except CalibrationError as err:
            self._restart(f"{err} Starting over: stand still.")
            return None

    def collect(self, acc_ms2: FloatArray, gyr_rads: FloatArray) -> Stretch | None:
        """Take one tick like `update`, but return the readings themselves once there are enough."""
        rates = np.linalg.norm(gyr_rads, axis=1)
        self._recent.append((acc_ms2.copy(), gyr_rads.copy(), float(rates.mean())))
        if self._has_still:
            self._kept.append((acc_ms2.copy(), gyr_rads.copy()))
        step = 1.0 / self.rate_hz
        foot_rads = float(rates[self._feet].mean()) if self._feet else float(rates.mean())
        self._stride_rads += step * (foot_rads - self._stride_rads)  # a one-second memory
        if self._walk_start is None:
            self._watch_standing()
            return None
        if len(self._kept) - self._walk_start < self._walk_ticks:
            return None
        return self._stretch()

    def _watch_standing(self) -> None:
        if self._stride_rads > self.params.walk_rads:
            if self._has_still:
                self._walk_start = len(self._kept)
            else:
                self._hint = "Walking began before a still moment was seen: stop, and stand still."
            return
        if len(self._recent) < self._still_ticks:
            return
        level = sum(row[2] for row in self._recent) / self._still_ticks
        if level < self._best_rads:
            self._best_rads = level
            self._has_still = True
            self._kept = [(acc, gyr) for acc, gyr, _ in self._recent]

    def _stretch(self) -> Stretch:
        assert self._walk_start is not None  # only called while walking
        acc = np.array([row[0] for row in self._kept])
        gyr = np.array([row[1] for row in self._kept])
        still, walking = slice(0, self._still_ticks), slice(self._walk_start, len(self._kept))
        return Stretch(self.slots, self.rate_hz, acc, gyr, still, walking)

    def finish(self) -> None:
        """Say why there is no calibration, when the samples have ended without one.

        Raises
        ------
        CalibrationError
            Always: it names the stage that was not completed.
        """
        if self._walk_start is None and not self._has_still:
            raise CalibrationError(
                f"The wearer was never still for {self.params.still_s:g} s before walking, so the vertical "
                "of each segment is unknown: record again, standing still first, or give a saved --user."
            )
        seen = (
            0.0 if self._walk_start is None else (len(self._kept) - self._walk_start) / self.rate_hz
        )
        raise CalibrationError(
            f"Only {seen:.1f} s of the {self.params.walk_s:g} s of walking that calibration needs were "
            "seen after standing still: walk on, or give a saved --user."
        )
