"""CapSense as motions: angles from sensors, forces from plates, and the body's velocity from those forces.

Everything is on the sensors' clock. The angles are `talaria_training.reference`'s, zero in quiet standing, and
the pelvis' are of the same kind. The velocity is Newton's second law integrated: what both plates give
beyond the weight, high-passed at 0.3 Hz forwards and backwards (offline, later samples are used), around
the belt's speed forwards and around zero up and to the right. Standing at either end is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_trapezoid
from scipy.signal import butter, sosfiltfilt
from scipy.spatial.transform import Rotation

from talaria_edge.calibration import segment_axes
from talaria_edge.generate.motion import RATE_HZ, VELOCITY, WINDOW, Conditions, Motion
from talaria_edge.kinematics import ANGLES, CHAIN_SLOTS, SIDES
from talaria_edge.orientation import up_in_sensor
from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_edge.stances import OUTWARDS
from talaria_training.data.capsense import find_trials
from talaria_training.data.load import load_recordings
from talaria_training.data.metadata import PersonFacts
from talaria_training.data.recording import DataIssue, Recording
from talaria_training.generate.sources_curves import (
    channels_of,
    pelvis_curves,
    slow_heading_rad,
)
from talaria_training.generate.windows import usual_stride_hz
from talaria_training.kinetics.stances import runs_of
from talaria_training.kinetics.targets import OUTPUTS, force_trial
from talaria_training.networks import GAIT_CLASSES
from talaria_training.reference import find_stance, mounting_of, right_axes, walking_samples
from talaria_training.train import class_of
from talaria_training.trials import prepare

Floats = NDArray[np.float64]

SOURCE = (
    "CapSense (Pearl et al. 2022, MIT): treadmill walking, angles derived from the full chain of inertial "
    "sensors, forces from two plates, velocity integrated from them."
)
DRIFT_HZ = 0.3
"""Below this an integrated force is drift; the slowest stride here lies at 0.5 Hz."""
_SETTLE_S = 1.0
_WALKING, _STIFF = GAIT_CLASSES.index("walking"), GAIT_CLASSES.index("stiff_knee")
_BELT_STARTS_S = 3.0
# The shank of a stiff leg turns this much less than the other one, each against the person's usual walk.
_STIFFER = 0.9


def read_capsense(folder: Path, note: Callable[[str], None]) -> list[Motion]:
    """Read every trial of a CapSense tree or its zips; notes say what was left out.

    Raises
    ------
    RecordingError
        If nothing usable is there.
    """

    def skip(issue: DataIssue) -> None:
        note(str(issue))

    recordings = load_recordings(folder, on_skip=skip)
    facts = find_trials(folder)[1]
    people: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        people[recording.person].append(recording)
    prepared = prepare(list(people.values()))
    for said in prepared.notes:
        note(said)
    trials = {trial.name: trial for trial in prepared.trials}
    found: list[Motion] = []
    for person, group in people.items():
        pelves, styles = pelvis_angles(group), styles_of(group)
        for recording in group:
            trial = trials.get(recording.name)
            walking = walk_of(recording)
            if trial is None or walking is None:
                note(f"{recording.name}: left out, nobody is seen to walk in it for long enough")
                continue
            if styles[recording.name] is None:
                note(f"{recording.name}: no knee moves less than usual, so its style is not known")
            curves = dict(zip(ANGLES, trial.angles_rad.T, strict=True))
            curves |= pelves.get(recording.name, {})
            known = facts.get(person, PersonFacts())
            found.append(_motion(recording, curves, walking, known, styles[recording.name]))
    return found


def _motion(
    recording: Recording,
    angles_rad: Mapping[str, NDArray[np.floating]],
    walking: slice,
    facts: PersonFacts,
    style: str | None,
) -> Motion:
    curves = {name: curve[walking] for name, curve in angles_rad.items()}
    speed_ms = np.nan if facts.speed_ms is None else facts.speed_ms
    force = force_trial(recording, facts)
    if force is not None:
        force_bw = force.force_bw[walking].astype(float)
        curves |= dict(zip(OUTPUTS, force_bw.T, strict=True))
        curves |= dict(zip(VELOCITY, velocity_ms(force_bw, speed_ms).T, strict=True))
    values = channels_of(curves)
    size = (recording.height_m or np.nan, recording.mass_kg or np.nan)
    conditions = Conditions(speed_ms, usual_stride_hz(values), *size, style)
    return Motion(recording.person, recording.name, SOURCE, values, conditions)


def walk_of(recording: Recording) -> slice | None:
    """Return the longest walk at the belt's speed, None if there is none of `WINDOW` samples."""
    if recording.rate_hz != RATE_HZ:
        return None
    runs = runs_of(walking_samples(recording))
    longest = max(runs, key=lambda run: run.stop - run.start, default=slice(0, 0))
    margin = round(_BELT_STARTS_S * RATE_HZ)
    inner = slice(longest.start + margin, longest.stop - margin)
    return inner if inner.stop - inner.start >= WINDOW else None


def velocity_ms(force_bw: Floats, speed_ms: float) -> Floats:
    """Integrate the forces of both feet to the velocity of the body's centre.

    Parameters
    ----------
    force_bw : ndarray, shape (T, 6)
        Columns `OUTPUTS` at `RATE_HZ`, NaN where a plate is not trusted.
    speed_ms : float
        Of the belt.

    Returns
    -------
    ndarray, shape (T, 3)
        `VELOCITY`; NaN where a force is, and for a second at each end of what is whole.
    """
    right, left = (force_bw[:, 3 * i : 3 * i + 3] for i in range(len(SIDES)))
    push_bw = np.column_stack(
        [
            right[:, 0] + left[:, 0],
            right[:, 2] + left[:, 2] - 1.0,
            OUTWARDS["r"] * right[:, 1] + OUTWARDS["l"] * left[:, 1],
        ]
    )
    found = np.full_like(push_bw, np.nan)
    edge, mean_ms = round(_SETTLE_S * RATE_HZ), np.array([speed_ms, 0.0, 0.0])
    sections = butter(2, DRIFT_HZ, "highpass", fs=RATE_HZ, output="sos")
    for run in runs_of(np.asarray(np.isfinite(push_bw).all(axis=1))):
        if run.stop - run.start <= 4 * edge:
            continue
        push_ms2 = push_bw[run] * STANDARD_GRAVITY_MS2
        # Newton would have a body that goes on walking on the spot pushed by nothing on average.
        push_ms2 -= push_ms2.mean(axis=0)
        gained = cumulative_trapezoid(push_ms2, dx=1.0 / RATE_HZ, axis=0, initial=0.0)
        kept = slice(run.start + edge, run.stop - edge)
        found[kept] = sosfiltfilt(sections, gained, axis=0)[edge:-edge] + mean_ms
    return found


def pelvis_angles(group: Sequence[Recording]) -> dict[str, dict[str, Floats]]:
    """Return the pelvis' three angles of one person's recordings, by recording.

    Tilt and list are zero in the person's quiet standing, calmer stances counting more, as in
    `talaria_training.reference`; rotation is against the mean direction of the eight seconds around, which
    takes the drift of the heading with it. Recordings without an orientation of the pelvis are not there.
    """
    known = [r for r in group if not r.missing(slots=("pelvis",), orientations=("pelvis",))]
    known = [r for r in known if not r.missing(orientations=CHAIN_SLOTS)]
    stood: dict[str, list[tuple[float, Floats]]] = defaultdict(list)
    right: dict[str, list[Floats]] = defaultdict(list)
    for recording in known:
        right[mounting_of(recording)].append(right_axes(recording)["pelvis"])
        stance = find_stance(recording)
        if stance is not None:
            up = up_in_sensor(_pelvis_q(recording)[stance.still]).mean(axis=0)
            weight = 1.0 / (0.03**2 + stance.restless_rads**2)
            stood[mounting_of(recording)].append((weight, up))
    anywhere = [pair for pairs in stood.values() for pair in pairs]
    found: dict[str, dict[str, Floats]] = {}
    for recording in known:
        stances = stood.get(mounting_of(recording)) or anywhere
        if not stances:
            continue
        up = np.average([u for _, u in stances], axis=0, weights=[w for w, _ in stances])
        axes = segment_axes(up, np.mean(right[mounting_of(recording)], axis=0))
        pose = Rotation.from_quat(_pelvis_q(recording), scalar_first=True)
        pose = pose * Rotation.from_matrix(axes.T)
        found[recording.name] = pelvis_curves(pose, slow_heading_rad(pose))
    return found


def _pelvis_q(recording: Recording) -> Floats:
    recording.require(orientations=("pelvis",))
    return (recording.orientation or {})["pelvis"]


def styles_of(group: Sequence[Recording]) -> dict[str, str | None]:
    """Say of one person's recordings how the person walked; None where that is not known.

    Nobody wrote down which knee was held stiff. Where a condition is called stiff, it is the one whose shank
    turns less than the other's, each against the same shank in the person's usual walking (angular rate, RMS).
    """
    usual = [_shanks(r) for r in group if class_of(r.condition) == _WALKING]
    found: dict[str, str | None] = {}
    for recording in group:
        found[recording.name] = "walking" if class_of(recording.condition) == _WALKING else None
        if class_of(recording.condition) == _STIFF and usual:
            right, left = _shanks(recording) / np.mean(usual, axis=0)
            if min(right, left) < _STIFFER * max(right, left):
                found[recording.name] = "stiff_knee_r" if right < left else "stiff_knee_l"
    return found


def _shanks(recording: Recording) -> Floats:
    walking = walking_samples(recording)
    turning = [recording.gyr(f"tibia_{side}")[walking] for side in SIDES]
    return np.array([np.sqrt(np.mean(np.sum(gyr**2, axis=1))) for gyr in turning])
