"""How the ground's push rolls over CapSense's feet, and what moments told by that are worth.

    python -m talaria_training.generate.roll_over ../shared/data/capsense

measures how the ground's push rolls over the foot, prints the mean as `stance_moments` holds it, and judges:
each person by the roll-over of the others, on windows of the reference angles and the plates' forces, against
inverse dynamics with the plates' own centres of pressure (`talaria_training.kinetics.belt`: an approximation
too, and this shares its lengths, axes, flat foot and steady hip, so no more is judged than the roll-over and
the leg's place). Beside it stand the others' mean moments over the stance, which know nothing of the window,
and what a stiff knee changes.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_training.data.capsense import find_trials
from talaria_training.data.load import load_recordings
from talaria_training.data.metadata import PersonFacts
from talaria_training.data.plates import SIDES
from talaria_training.data.recording import Recording
from talaria_training.generate.moments import PEAKS, SHARES, stances_of
from talaria_training.generate.moments_judged import (
    Stance,
    change_rows,
    joint_rows,
    peak_rows,
    stances_beside,
)
from talaria_training.generate.sources_capsense import read_capsense, walk_of
from talaria_training.kinetics.belt import MIDDLE, Belt, pressed_m, read_belt
from talaria_training.kinetics.dynamics import JOINTS
from talaria_training.kinetics.force_data import walks_of
from talaria_training.kinetics.moment_data import MomentWalk, moment_walks
from talaria_training.kinetics.segments import ANKLE_AHEAD, FOOT_LENGTH
from talaria_training.kinetics.targets import force_trial
from talaria_training.trials import prepare

Floats = NDArray[np.float64]

_WIDE = len(JOINTS)


def roll_overs(walk: MomentWalk, belt: Belt, height_m: float) -> list[Floats]:
    """Return how far ahead of the ankle each believable stance is pushed, shares of height, at `SHARES`.

    As in `talaria_training.kinetics.belt`: the middle of a stance's path is `MIDDLE` of the foot's length from
    its heel, and below `FIRM_BW` the centre is held.
    """
    found = []
    middle = (MIDDLE - ANKLE_AHEAD) * FOOT_LENGTH
    for i, side in enumerate(SIDES):
        vertical = walk.walk.force_bw[:, _WIDE * i + 2]
        for stance in stances_of(vertical):
            if not np.isfinite(walk.moment_nm_kg[stance, _WIDE * i]).all():
                continue
            press = pressed_m(stance, belt, side, vertical, walk.walk.rate_hz)
            ahead = (press - (press.min() + press.max()) / 2) / height_m + middle
            found.append(np.interp(SHARES * (len(press) - 1), np.arange(len(press)), ahead))
    return found


def read(data: Path) -> tuple[list[Stance], dict[str, Floats]]:
    """Measure everybody's mean roll-over, and tell everybody's moments by the others'.

    Parameters
    ----------
    data : Path
        The CapSense tree or zips.

    Returns
    -------
    stances : list of Stance
    roll_over : dict of person to ndarray, shape (len(SHARES),)
    """
    recordings = {r.name: r for r in load_recordings(data, on_skip=lambda issue: _say(str(issue)))}
    walks = _walks(data, list(recordings.values()))
    found: dict[str, list[Floats]] = defaultdict(list)
    for name, walk in walks.items():
        recording = recordings[name]
        if np.isfinite(walk.moment_nm_kg).any() and recording.height_m is not None:
            belt = _belt(data, recording)
            if belt is not None:
                found[walk.person] += roll_overs(walk, belt, recording.height_m)
    means = {person: np.mean(curves, axis=0) for person, curves in found.items()}
    stances = []
    for motion in read_capsense(data, _say):
        walking, mine = walk_of(recordings[motion.name]), walks.get(motion.name)
        if walking is None or mine is None:
            continue
        others = [curve for person, curve in means.items() if person != motion.person]
        stances += stances_beside(motion, mine, walking.start, np.mean(others, axis=0))
    return stances, means


def _walks(data: Path, recordings: Sequence[Recording]) -> dict[str, MomentWalk]:
    people: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        people[recording.person].append(recording)
    walks = walks_of(prepare(list(people.values())).trials, recordings)
    return {w.walk.trial.name: w for w in moment_walks(data, walks, recordings, _say)[0]}


def _belt(data: Path, recording: Recording) -> Belt | None:
    facts = find_trials(data)[1].get(recording.person, PersonFacts())
    force = force_trial(recording, facts)
    return None if force is None else read_belt(data, recording, force, facts)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _told(stances: Sequence[Stance]) -> None:
    """Print all tables."""
    for row in joint_rows(stances):
        _say(
            f"{row.person} {row.joint:12s} {row.stances:4d} stances  RMSE {row.rmse_nm_kg:.3f}"
            f"  mean curve {row.mean_curve_nm_kg:.3f}"
        )
    for peak in peak_rows(stances):
        _say(
            f"{peak.person} {peak.peak:28s} measured {peak.measured_nm_kg:.2f}  told {peak.told_nm_kg:.2f}"
            f"  off {peak.error_nm_kg:.3f}  mean peak off {peak.mean_peak_nm_kg:.3f}"
        )
    changes = change_rows(stances)
    for change in changes:
        _say(
            f"{change.person} {change.style} {change.side} {change.peak:28s}"
            f" measured {change.measured_nm_kg:+.2f}  told {change.told_nm_kg:+.2f}"
        )
    _say("changes by a stiff knee: correlation; error, and that of no change")
    for name in PEAKS:
        pairs = np.array([[r.measured_nm_kg, r.told_nm_kg] for r in changes if r.peak == name])
        if len(pairs) > 2:
            measured, told = pairs.T
            _say(
                f"  {name:28s} {len(pairs)} legs  r {np.corrcoef(measured, told)[0, 1]:+.2f}"
                f"  off {np.abs(told - measured).mean():.3f}  {np.abs(measured).mean():.3f}"
            )


def main() -> None:
    """Measure and judge on the CapSense folder in ``argv[1]``."""
    stances, means = read(Path(sys.argv[1]))
    mean = np.mean(list(means.values()), axis=0)
    _say(f"roll-over, 1e-4 of body height: {np.round(1e4 * mean).astype(int).tolist()}")
    _told(stances)


if __name__ == "__main__":
    main()
