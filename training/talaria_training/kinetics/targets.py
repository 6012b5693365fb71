"""Ground reaction forces of each foot as targets: body weights, one row per sensor sample.

CapSense's plates give x forwards, y up and z to the person's right, found out from the forces
themselves: the vertical ones sum to one body weight over a walk, the one along x brakes in early and
drives in late stance, and each foot is pushed inwards, the right one towards -z and the left one
towards +z. `towards_outside` turns z into the outer side of each foot, so that one sign holds for both.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from talaria_bridge.errors import RecordingError
from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_edge.stances import FORCE_AXES, OUTWARDS
from talaria_training.data.metadata import PersonFacts
from talaria_training.data.plates import SIDE_NAMES, SIDES
from talaria_training.data.recording import Plates, Recording, Side
from talaria_training.kinetics.plate_lags import TRUNK, newton_lags
from talaria_training.kinetics.stances import loaded_runs

__all__ = ["FORCE_AXES", "OUTPUTS", "ForceTrial", "force_trial", "settle", "towards_outside"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

OUTPUTS = tuple(f"grf_{axis}_{side}" for side in SIDES for axis in FORCE_AXES)
"""The columns of `ForceTrial.force_bw`, right foot first."""

# A swing shorter than this shows no offset; its ends still carry the foot that leaves or lands.
_SWING_S, _EDGE_S = 0.2, 0.05
# An offset is the median of this many swings, so that one swing with a foot on the plate is outvoted.
_SWINGS = 5
_ROUGHLY_UNLOADED = 0.05
# A loaded foot rolls off its toes in its last quarter of a second; a swing turns it this fast (rad/s)
# further inside.
_ROLL_OFF_S, _SWINGING_RADS = 0.3, 2.5
_WEIGHT_OFF = 0.03
_LIGHTEST_KG = 10.0
_WORTH_SAYING_N = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class ForceTrial:
    """The plates of one recording on the clock of its sensors.

    Attributes
    ----------
    person, name, condition : str
        As in the recording.
    rate_hz : float
        Of the sensors.
    mass_kg : float
        As it is known, or else what the plates carry on average.
    force_bw : ndarray, shape (T, 6)
        Columns `OUTPUTS`; row i is sensor sample i. Exactly zero where a foot is off its plate, NaN where
        the plate cannot be trusted: no lag found, outside its span, after a jump of its clock, or with
        the wrong foot on it.
    lag_s : (right, left)
        How much later each plate's file shows a contact than the foot sensor did.
    notes : tuple of str
        What was found and what was done about it.
    """

    person: str
    name: str
    condition: str
    rate_hz: float
    mass_kg: float
    force_bw: NDArray[np.float32]
    lag_s: tuple[float, float]
    notes: tuple[str, ...]


def force_trial(recording: Recording, facts: PersonFacts | None) -> ForceTrial | None:
    """Return the forces of a recording, None if it has no plates.

    Offsets: the median force of each swing (running median of 5 swings, straight lines between them), of
    this recording only and on all three axes; between stances (see `loaded_runs`: 20 N, from and to
    10 N) the force is then zero. Lags: see `newton_lags`; without a trunk sensor those that
    `talaria_training.data.plates` found from the feet. Loads during which the sensor of that foot swings
    (faster than 2.5 rad/s more than 0.3 s from both ends) come from the other foot: both feet are NaN
    there, as nobody knows how the load was shared.

    Parameters
    ----------
    recording : Recording
    facts : PersonFacts or None
        Gives the mass where the recording does not.

    Raises
    ------
    RecordingError
        If the mass is not known and the plates never weighed the person either.
    """
    if recording.plates is None:
        return None
    notes: list[str] = []
    plates = settled(recording.plates, notes)
    mass_kg = _mass_kg(recording, facts, plates, notes)
    lag_s, trusted = _lags(recording, plates, mass_kg, notes)
    force_n = {s: on_sensor_clock(plates, s, recording.t_s, lag_s[s]) for s in SIDES}
    for side in SIDES:
        force_n[side][~trusted[side]] = np.nan
    spoilt = np.zeros(len(recording.t_s), dtype=bool)
    for side in SIDES:
        wrong = _wrong_foot(recording, side, loaded_runs(force_n[side][:, 1]))
        spoilt |= wrong
        if wrong.any():
            seconds = wrong.sum() / recording.rate_hz
            notes.append(f"the other foot is on the {SIDE_NAMES[side]} plate for {seconds:.1f} s")
    both_n = np.concatenate([towards_outside(force_n[side], side) for side in SIDES], axis=1)
    both_n[spoilt] = np.nan
    carried = _carried_kg(both_n[:, 2] + both_n[:, 5]) / mass_kg
    if abs(carried - 1.0) > _WEIGHT_OFF:
        notes.append(f"the plates carry {carried:.1%} of the body weight on average")
    return ForceTrial(
        recording.person,
        recording.name,
        recording.condition,
        recording.rate_hz,
        mass_kg,
        (both_n / (mass_kg * STANDARD_GRAVITY_MS2)).astype(np.float32),
        (lag_s["r"], lag_s["l"]),
        tuple(notes),
    )


def on_sensor_clock(plates: Plates, side: Side, t_s: Floats, lag_s: float) -> Floats:
    """Return one plate's force at sensor times, shape (T, 3), NaN outside its span or without a lag."""
    return np.column_stack(
        [
            np.interp(t_s + lag_s, plates.t_s, axis, left=np.nan, right=np.nan)
            for axis in plates.force_n[side].T
        ]
    )


def towards_outside(force_n: Floats, side: Side) -> Floats:
    """Turn x forward, y up, z right, (T, 3), into `FORCE_AXES` of one foot."""
    forward, up, right = force_n.T
    return np.column_stack([forward, OUTWARDS[side] * right, up])


def settled(plates: Plates, notes: list[str]) -> Plates:
    """Return the plates without their offsets, zero between loads; notes say how far each was off."""
    rate_hz = (len(plates.t_s) - 1) / float(plates.t_s[-1] - plates.t_s[0])
    force_n: dict[str, Floats] = {}
    for side in SIDES:
        force_n[side], off_n = settle(plates.force_n[side], rate_hz)
        if off_n is None:
            notes.append(f"the {SIDE_NAMES[side]} plate shows no swing, so its offset is unknown")
        elif off_n.max() > _WORTH_SAYING_N:
            said = ", ".join(f"{v:.1f}" for v in off_n)
            notes.append(
                f"the {SIDE_NAMES[side]} plate was off by up to {said} N forward, up, right"
            )
    return replace(plates, force_n=force_n)


def settle(force_n: Floats, rate_hz: float) -> tuple[Floats, Floats | None]:
    """Remove one plate's offset and set it to zero between loads.

    Parameters
    ----------
    force_n : ndarray, shape (P, 3)
        x forward, y up, z right; NaN stays NaN.
    rate_hz : float

    Returns
    -------
    force_n : ndarray, shape (P, 3)
    largest_n : ndarray, shape (3,), or None
        How far each axis was off at most; None, and the force as it was, if there is no swing.
    """
    vertical = force_n[:, 1]
    if not np.isfinite(vertical).any():
        return force_n, None
    low = vertical < _ROUGHLY_UNLOADED * np.nanpercentile(vertical, 98)
    rough = np.median(vertical[low]) if low.any() else 0.0
    offset = _offset(force_n, _swings(loaded_runs(vertical - rough), rate_hz))
    if offset is None:
        return force_n, None
    level = force_n - offset
    loaded = ~np.isfinite(vertical)
    for run in loaded_runs(level[:, 1]):
        loaded[run] = True
    return np.where(loaded[:, None], level, 0.0), np.abs(offset).max(axis=0)


def _swings(runs: list[slice], rate_hz: float) -> list[slice]:
    """Return the middles of the pauses between loads that are long enough to be swings."""
    edge = round(_EDGE_S * rate_hz)
    between = [(a.stop, b.start) for a, b in itertools.pairwise(runs)]
    return [slice(a + edge, b - edge) for a, b in between if b - a >= _SWING_S * rate_hz]


def _offset(force_n: Floats, swings: list[slice]) -> Floats | None:
    """Return the offset at every row, shape (P, 3); None without a swing."""
    whole = [s for s in swings if np.isfinite(force_n[s]).all()]
    if not whole:
        return None
    at = [(s.start + s.stop) / 2 for s in whole]
    level = np.array([np.median(force_n[s], axis=0) for s in whole])
    level = median_filter(level, size=(_SWINGS, 1), mode="nearest")
    return np.column_stack([np.interp(np.arange(len(force_n)), at, axis) for axis in level.T])


def _lags(
    recording: Recording, plates: Plates, mass_kg: float, notes: list[str]
) -> tuple[dict[Side, float], dict[Side, Bools]]:
    """Return each plate's lag, and the sensor samples at which it holds."""
    newton = newton_lags(recording, plates, mass_kg)
    if newton is not None:
        lost_s = float((~newton.trusted).sum() / recording.rate_hz)
        if lost_s:
            notes.append(f"{lost_s:.0f} s are left out because the plates' clock jumps there")
        lags = dict(zip(SIDES, newton.lag_s, strict=True))
        return lags, dict.fromkeys(SIDES, newton.trusted)
    if recording.missing(slots=TRUNK):
        notes.append(
            "aligned by the feet alone, to about 0.03 s, for want of a sensor on the trunk"
        )
        lags = {side: plates.lag_s.get(side, np.nan) for side in SIDES}
        last = {s: plates.valid_until_s.get(s, np.inf) - lags[s] for s in SIDES}
        return lags, {side: recording.t_s < last[side] for side in SIDES}
    notes.append(
        "left out: the plates never explain the body's acceleration, so their clock is lost"
    )
    nowhere = np.zeros(len(recording.t_s), dtype=bool)
    return dict.fromkeys(SIDES, np.nan), dict.fromkeys(SIDES, nowhere)


def _wrong_foot(recording: Recording, side: Side, runs: list[slice]) -> Bools:
    """Mark the loads that the foot over this plate cannot have made."""
    marked = np.zeros(len(recording.t_s), dtype=bool)
    slot = f"calcn_{side}"
    turning = np.zeros(len(marked))
    if not recording.missing(slots=(slot,)):
        turning = np.linalg.norm(recording.gyr(slot), axis=1)
    inside = round(_ROLL_OFF_S * recording.rate_hz)
    for run in runs:
        middle = turning[run.start + inside : run.stop - inside]
        if len(middle) and middle.max() > _SWINGING_RADS:
            marked[run] = True
    return marked


def _mass_kg(
    recording: Recording, facts: PersonFacts | None, plates: Plates, notes: list[str]
) -> float:
    known = recording.mass_kg or (facts.mass_kg if facts else None)
    if known is not None:
        return known
    weighed = _carried_kg(plates.force_n["r"][:, 1] + plates.force_n["l"][:, 1])
    if not weighed > _LIGHTEST_KG:
        raise RecordingError(
            f"The mass of {recording.person} is not known and the plates of {recording.name} carry "
            f"{weighed:.1f} kg: give the mass in MetaData.xlsx or person.toml."
        )
    notes.append(f"the mass is what the plates carry on average, {weighed:.1f} kg")
    return weighed


def _carried_kg(vertical_n: Floats) -> float:
    known = vertical_n[np.isfinite(vertical_n)]
    return float(known.mean()) / STANDARD_GRAVITY_MS2 if len(known) else np.nan
