"""Sagittal joint moments of a window of gait: what the joints of a standing leg do.

A window says how hard the ground pushes, and not where. That place is taken to roll over the foot as it
does in everybody: `ROLL_OVER`, the mean over CapSense's people. The rest is as in the moments that were made
of CapSense's plates (`talaria_training.kinetics.belt`): a foot turns about its heel while its toes are up,
about its ball while its heel is, and the hip moves steadily. The zeros of angles differ between people and
data sets, and a degree of the leg's lean is 0.14 N·m/kg at the hip; so each leg is leaned until its foot is
flat in mid-stance. Who never stands on a flat foot is told wrong moments. Where the ground pushes in
running is another matter, and no moment of it is told.

`python -m talaria_training.generate.roll_over` says how near this comes to measured centres of pressure.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from talaria_bridge.walker import UPRIGHT
from talaria_edge.generate.body import legs
from talaria_edge.generate.motion import PELVIS, RATE_HZ, Conditions, columns
from talaria_edge.kinematics import ANGLES, SIDES
from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_training.kinetics.belt import CUTOFF_HZ
from talaria_training.kinetics.dynamics import JOINTS, MOMENTS, Ground, Leg, joint_loads
from talaria_training.kinetics.segments import ANKLE_AHEAD, ANKLE_HEIGHT, BALL_AHEAD, FOOT_LENGTH
from talaria_training.kinetics.stances import loaded_runs

Floats = NDArray[np.float64]

SHARES = np.linspace(0.0, 1.0, 11)
"""Of a stance, from landing to leaving."""
ROLL_OVER = 1e-4 * np.array([-142, -63, 67, 163, 272, 367, 451, 548, 641, 751, 845])
"""How far ahead of the ankle over a flat foot the ground pushes, shares of body height, at `SHARES`."""
PEAKS = MappingProxyType(
    {
        "peak hip extension moment": (JOINTS.index("hip_flexion"), -1.0),
        "peak hip flexion moment": (JOINTS.index("hip_flexion"), 1.0),
        "peak knee extension moment": (JOINTS.index("knee_angle"), -1.0),
        "peak knee flexion moment": (JOINTS.index("knee_angle"), 1.0),
        "peak ankle push-off moment": (JOINTS.index("ankle_angle"), -1.0),
    }
)
"""Column of a leg's moments and its sign, by name."""
CHANGING = tuple(PEAKS)[:-1]
"""Peaks of which a change can be told. The push-off's cannot, for it lies in where the ground pushes: what a
stiff knee changes of it in CapSense is told with a correlation of 0.0, of the others with 0.76 to 0.97."""
# Drawn swings carry some hundredths of a body weight; a step carries more than half of one.
_DOWN_BW, _STANDS_BW = 0.05, 0.5
_FLAT = (0.2, 0.5)
"""Shares of a stance between which a walking foot is flat on the ground."""
_FASTEST_WALK_MS = 2.2
"""About where people begin to run."""
_HEEL, _BALL, _TOE = (FOOT_LENGTH * (at - ANKLE_AHEAD) for at in (0.0, BALL_AHEAD, 1.0))


def stances_of(vertical_bw: NDArray[np.floating]) -> list[slice]:
    """Return the stances of one foot, (T,), that begin and end in what is known."""
    vertical = np.asarray(vertical_bw, dtype=np.float64)
    known = np.concatenate([[False], np.isfinite(vertical), [False]])
    runs = loaded_runs(vertical, _STANDS_BW, _DOWN_BW)
    return [run for run in runs if known[run.start] and known[run.stop + 1]]


def stance_moments(
    values: NDArray[np.floating], conditions: Conditions, roll_over: Floats = ROLL_OVER
) -> Floats:
    """Return the internal moments of both legs while they stand.

    Parameters
    ----------
    values : ndarray, shape (T, len(CHANNELS))
        A window, or a longer stretch.
    conditions : Conditions
        The height is needed; the mass is not.
    roll_over : ndarray, shape (len(SHARES),), optional

    Returns
    -------
    ndarray, shape (T, 6)
        `MOMENTS`, N·m/kg, OpenSim's signs; NaN outside stances that begin and end in the window, and all of it
        where the height or one of the angles or of the pelvis' is not known, or nobody walks.
    """
    known = np.asarray(values, dtype=np.float64)
    found = np.full((len(known), len(MOMENTS)), np.nan)
    posed = np.isfinite(known[:, columns((*ANGLES, *PELVIS))]).all()
    if not (posed and np.isfinite(conditions.height_m) and _walks(conditions)):
        return found
    legs_m = _places(known, conditions.height_m)
    for i, side in enumerate(SIDES):
        push_bw = known[:, columns([f"grf_anterior_{side}", f"grf_vertical_{side}"])]
        stances = stances_of(push_bw[:, 1])
        if stances:
            places = _flattened(legs_m[side], stances)
            ahead_m = conditions.height_m * _ahead(roll_over, stances, len(known))
            moments = _moments(places, push_bw, ahead_m, conditions.height_m)
            for stance in stances:
                found[stance, len(JOINTS) * i : len(JOINTS) * (i + 1)] = moments[stance]
    return found


def _walks(conditions: Conditions) -> bool:
    return conditions.style != "running" and not conditions.speed_ms > _FASTEST_WALK_MS


def _places(values: Floats, height_m: float) -> dict[str, Floats]:
    """Return hip, knee, ankle, and the sole's heel, ball and toe of each leg, (6, T, 2): forward, up."""
    angles = {name: values[:, columns([name])[0]] for name in ANGLES}
    pelvis = UPRIGHT * Rotation.from_euler("ZXY", values[:, columns(PELVIS)])
    pose, origin = legs(angles, pelvis, np.zeros((len(values), 3)), height_m)
    found = {}
    for side in SIDES:
        joints = [origin[f"{segment}_{side}"] for segment in ("femur", "tibia", "calcn")]
        sole = [
            joints[-1] + pose[f"calcn_{side}"].apply(height_m * np.array([at, -ANKLE_HEIGHT, 0.0]))
            for at in (_HEEL, _BALL, _TOE)
        ]
        found[side] = np.stack([*joints, *sole])[:, :, [0, 2]]
    return found


def _flattened(places: Floats, stances: Sequence[slice]) -> Floats:
    """Turn a leg, (6, T, 2), about its hip until its foot is flat in the middle of its stances."""
    *_, heel, _, toe = places
    up_rad = np.unwrap(np.arctan2(*(toe - heel).T[::-1]))
    first, last = _FLAT
    flat = [
        up_rad[
            round(s.start + first * (s.stop - s.start)) : round(s.start + last * (s.stop - s.start))
        ]
        for s in stances
    ]
    off = float(np.median(np.concatenate(flat)))
    c, s = np.cos(off), np.sin(off)
    return np.asarray((places - places[0]) @ np.array([[c, -s], [s, c]]))


def _ahead(roll_over: Floats, stances: Sequence[slice], length: int) -> Floats:
    """Return where the ground pushes ahead of a flat foot's ankle, (T,), shares of height; NaN in swing."""
    found = np.full(length, np.nan)
    for stance in stances:
        share = np.linspace(0.0, 1.0, stance.stop - stance.start)
        found[stance] = np.interp(share, SHARES, roll_over)
    return found


def _moments(places: Floats, push_bw: Floats, ahead_m: Floats, height_m: float) -> Floats:
    """Return a leg's moments, (T, 3) in N·m/kg; `places` as `_flattened` gives them."""
    hip, knee, ankle, heel, ball, toe = places
    toes_up = (toe - heel)[:, 1:] > 0.0
    pivot = np.where(toes_up, heel, ball) - ankle
    flat_m = height_m * np.where(toes_up, _HEEL, _BALL)
    arm = pivot + np.column_stack([ahead_m[:, None] - flat_m, np.zeros(len(hip))])
    leg = Leg(RATE_HZ, hip, knee, ankle, heel, toe).smoothed(CUTOFF_HZ)
    push_n_kg = push_bw * STANDARD_GRAVITY_MS2
    return joint_loads(leg, Ground(push_n_kg, leg.ankle_m + arm), 1.0).moment_nm


def peak_moments(
    values: NDArray[np.floating], conditions: Conditions, names: Sequence[str] = CHANGING
) -> dict[str, dict[str, float]]:
    """Return peaks of each side by name, N·m/kg: means over the whole stances, NaN where there is none.

    Parameters
    ----------
    values, conditions
        As in `stance_moments`.
    names : sequence of str
        Of `PEAKS`.
    """
    moments = stance_moments(values, conditions)
    found: dict[str, dict[str, float]] = {}
    for i, side in enumerate(SIDES):
        stances = stances_of(values[:, columns([f"grf_vertical_{side}"])[0]])
        found[side] = {}
        for name in names:
            joint, sign = PEAKS[name]
            curve = sign * moments[:, len(JOINTS) * i + joint]
            peaks = [float(curve[stance].max()) for stance in stances]
            found[side][name] = float(np.mean(peaks)) if peaks else float("nan")
    return found
