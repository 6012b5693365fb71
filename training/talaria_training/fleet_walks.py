"""What a fleet's users bring: a simulated walk, calibrated as a device calibrates, kept for the next study."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from talaria_bridge.errors import CalibrationError, RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk, random_params, simulate_walk
from talaria_edge.calibration import Calibration, CalibrationCollector
from talaria_edge.kinematics import ANGLES
from talaria_training.cache import cache_folder, source_digest
from talaria_training.data.recording import Recording
from talaria_training.trials import Trial, gait_labels, prepare_person

WALK_STAGES = ("simulate", "calibrate", "features")
"""What is timed here, in processor seconds."""

_CODE = (
    "fleet_walks",
    "trials",
    "talaria_bridge.simulator",
    "talaria_bridge.walker",
    "talaria_bridge.virtual_imu",
    "talaria_edge.calibration",
    "talaria_edge.features",
    "talaria_edge.kinematics",
    "talaria_edge.orientation",
)


@dataclass(frozen=True, slots=True)
class Visit:
    """What every user does; times in seconds since the recording began."""

    rate_hz: float
    seconds: float = 20.0
    stand_s: float = 2.0
    learn_s: float = 13.0  # calibration and fine-tuning see this much
    seed: int = 0


def walks_key(visit: Visit) -> str:
    """Digest what a user's walk depends on besides the user's number, code included."""
    return hashlib.sha256(f"{visit!r}{source_digest(*_CODE)}".encode()).hexdigest()[:16]


def user_trial(number: int, visit: Visit, key: str, cpu_s: dict[str, float]) -> Trial:
    """Make a user's trial, or find it: half a megabyte of the cache for each.

    Parameters
    ----------
    number : int
    visit : Visit
    key : str
        Of `walks_key(visit)`, which is too slow to work out for every user.
    cpu_s : dict
        Receives the processor seconds of `WALK_STAGES`: those of the time when it was made.

    Raises
    ------
    TalariaError
        If the user cannot be calibrated.
    """
    file = cache_folder("walkers") / f"{key}-{number:07d}.npz"
    if file.exists():
        return _read(file, number, visit, cpu_s)
    with timed(cpu_s, "simulate"):
        walk = simulated_user(number, visit)
    with timed(cpu_s, "calibrate"):
        calibration = _calibrated(walk, visit)
    with timed(cpu_s, "features"):
        prepared = prepare_person([_recording(number, walk, calibration)])
    if not prepared.trials:
        raise RecordingError("; ".join(prepared.notes))
    _write(file, prepared.trials[0], cpu_s)
    return prepared.trials[0]


def simulated_user(number: int, visit: Visit) -> SimulatedWalk:
    """Let one user of the fleet stand and walk; the same number and seed, the same walk."""
    # Not seed + number: the fleets of two seeds would share nearly all their users.
    seed = int(np.random.SeedSequence([visit.seed, number]).generate_state(1)[0])
    params = replace(random_params(seed), seconds=visit.seconds, stand_s=visit.stand_s)
    return simulate_walk(seed, replace(params, rate_hz=visit.rate_hz))


@contextmanager
def timed(cpu_s: dict[str, float], stage: str) -> Iterator[None]:
    """Note the processor seconds of a stage, also if it fails."""
    start = time.process_time()
    try:
        yield
    finally:
        cpu_s[stage] = time.process_time() - start


def _calibrated(walk: SimulatedWalk, visit: Visit) -> Calibration:
    """Run the live calibration over the part that may be learned from."""
    collector = CalibrationCollector(walk.rate_hz, LEG_SLOTS)
    until = round(visit.learn_s * walk.rate_hz)
    for acc, gyr in zip(walk.acc_ms2[:until], walk.gyr_rads[:until], strict=True):
        calibration = collector.update(acc, gyr)
        if calibration is not None:
            return calibration
    raise CalibrationError(f"not calibrated within {visit.learn_s:g} s")


def _person(number: int) -> str:
    return f"simulated user {number}"


def _recording(number: int, walk: SimulatedWalk, calibration: Calibration) -> Recording:
    return Recording(
        person=_person(number),
        condition="walk",
        name=f"{_person(number)}/walk",
        rate_hz=walk.rate_hz,
        t_s=walk.t_s,
        slots=LEG_SLOTS,
        acc_ms2=walk.acc_ms2,
        gyr_rads=walk.gyr_rads,
        angles_rad={name: walk.angles_rad[name] for name in ANGLES},
        calibration=calibration,
    )


def _write(file: Path, trial: Trial, cpu_s: dict[str, float]) -> None:
    about = json.dumps({"calibration": trial.calibration.to_dict(), "cpu_s": cpu_s})
    scratch = file.with_suffix(f".{os.getpid()}.npz")
    np.savez(scratch, about=np.array(about), x=trial.features, y=trial.angles_rad)
    scratch.replace(file)


def _read(file: Path, number: int, visit: Visit, cpu_s: dict[str, float]) -> Trial:
    with np.load(file) as stored:
        about = json.loads(str(stored["about"]))
        features, angles_rad = stored["x"], stored["y"]
    cpu_s |= about["cpu_s"]
    return Trial(
        _person(number),
        "walk",
        f"{_person(number)}/walk",
        visit.rate_hz,
        features,
        angles_rad,
        "given",
        Calibration.from_dict(about["calibration"]),
        *gait_labels((), len(features), visit.rate_hz),  # nobody brings force plates
    )
