"""The main job in one sitting: a walker's first minute, a personal model, a live stream, an honest table."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_bridge.receiver import Receiver
from talaria_bridge.recorder import read_session_log
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import random_params, simulate_walk
from talaria_bridge.virtual import VirtualSerialDevice, schedule_frames
from talaria_edge.app import run_session
from talaria_edge.calibration import Calibration
from talaria_edge.config import Config
from talaria_edge.generate.contract import SPEC_FILE, read_generator_spec
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.walkers import Outing, draw_walkers
from talaria_edge.kinematics import ANGLES
from talaria_edge.pipeline import GaitState, Validity
from talaria_edge.profile import HOME_VARIABLE, UserProfile, save_profile
from talaria_training import artefacts
from talaria_training.data.recording import Recording
from talaria_training.generate.walker_files import recording_of
from talaria_training.networks import GaitNet
from talaria_training.train import MULTI_USER, Progress, train
from talaria_training.trials import Trial, prepare_person

FIRST_S = 60.0
_QUICK_STEPS = 300
_USER = "demo"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Sensor readings to play live, and the angles they should give.

    Attributes
    ----------
    rate_hz : float
    acc_ms2, gyr_rads : ndarray, shape (T, S, 3)
        In sensor frames, slots as in `LEG_SLOTS`.
    angles_rad : ndarray, shape (T, len(ANGLES))
    """

    rate_hz: float
    acc_ms2: NDArray[np.float64]
    gyr_rads: NDArray[np.float64]
    angles_rad: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Walk:
    """One walker: what to learn from, what to stream, and where the truth comes from.

    `learned_from` names the people from whom a model learned to draw the walker; nobody if none drew it.
    """

    person: str
    about: str
    truth: str
    first: tuple[Trial, ...]
    live: Stretch
    calibration: Calibration
    learned_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Base:
    """A multi-user model that has not seen the walker, and the people whom it has seen."""

    name: str
    net: GaitNet
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What the live stream came to; `rmse_deg` maps each angle to (before, after)."""

    rmse_deg: dict[str, tuple[float, float]]
    seconds: float
    p50_ms: float
    p99_ms: float
    received: int
    lost: int
    replay_equal: bool


def choose_generator(models: Path) -> Generator | None:
    """Open the generative model that was trained on most people, None if the folder holds none.

    Raises
    ------
    ModelContractError
        If one is there and cannot be used: walking the simulator instead would hide that it is damaged.
    """
    found = [file.parent for file in sorted(models.glob(f"*/{SPEC_FILE}"))]
    if not found:
        return None
    return Generator.open(max((len(read_generator_spec(f).people), f) for f in found)[1])


def drawn_walk(generator: Generator, seed: int, live_s: float) -> Walk:
    """Draw a person who does not exist: stands, walks for the rest of a minute to learn from, and walks on.

    Raises
    ------
    ConfigError
        If the model has seen nobody of known size walk.
    RecordingError
        If the walker's sensors could not be calibrated.
    """
    (walker,) = draw_walkers(generator, 1, seed, Outing(FIRST_S + live_s, slots=LEG_SLOTS))
    person = f"drawn walker {seed}"
    people = generator.spec.people
    walk = _split(
        replace(recording_of(walker), person=person, name=f"{person}/walk"),
        f"DRAWN: no person walked here. {generator.spec.model_id}, which learned from {len(people)} people, "
        "drew the movement; virtual sensors with noise, bias, random mounting and soft tissue.",
        "the drawn walker's exact angles",
    )
    return replace(walk, learned_from=people)


def simulated_walk(seed: int, live_s: float) -> Walk:
    """Make up a person by formula: stands, walks for the rest of a minute to learn from, and walks on."""
    walk = simulate_walk(
        params=replace(random_params(seed), seconds=FIRST_S + live_s, rate_hz=100.0), seed=seed
    )
    rows = [walk.slots.index(slot) for slot in LEG_SLOTS]
    person = f"simulated walker {seed}"
    whole = Recording(
        person=person,
        condition="walk",
        name=f"{person}/walk",
        rate_hz=walk.rate_hz,
        t_s=walk.t_s,
        slots=LEG_SLOTS,
        acc_ms2=walk.acc_ms2[:, rows],
        gyr_rads=walk.gyr_rads[:, rows],
        angles_rad={name: walk.angles_rad[name] for name in ANGLES},
    )
    return _split(
        whole,
        "SIMULATED: no person walked here. Virtual sensors with noise, bias, random mounting and soft tissue.",
        "the simulator's exact angles",
    )


def _split(whole: Recording, about: str, truth: str) -> Walk:
    # A fifth of the recording is what calibration may look at: ample in a minute and more.
    prepared = prepare_person([whole])
    if not prepared.trials:
        raise RecordingError(
            f"The walker could not be calibrated ({'; '.join(prepared.notes)}): give another --seed."
        )
    trial = prepared.trials[0]
    first = round(FIRST_S * whole.rate_hz)
    live = Stretch(
        whole.rate_hz,
        whole.acc_ms2[first:],
        whole.gyr_rads[first:],
        np.stack([(whole.angles_rad or {})[name][first:] for name in ANGLES], axis=1),
    )
    part = trial.part(0.0, first / len(whole.t_s))
    return Walk(whole.person, about, truth, (part,), live, trial.calibration)


def real_walk(mine: Sequence[Recording], live_s: float) -> Walk:
    """Take a recorded person: the first fifth of each recording to learn from, the end of one to stream.

    Raises
    ------
    RecordingError
        If none of the person's recordings has everything it takes.
    """
    person = mine[0].person
    prepared = prepare_person(mine)
    if not prepared.trials:
        raise RecordingError(
            f"{person} cannot be used ({'; '.join(prepared.notes)}): choose another person."
        )
    trial = prepared.trials[0]
    recording = next(r for r in mine if r.name == trial.name)
    rows = [recording.slots.index(slot) for slot in LEG_SLOTS]
    count = min(round(live_s * trial.rate_hz), round(0.6 * len(trial.features)))
    live = Stretch(
        trial.rate_hz,
        recording.acc_ms2[-count:, rows],
        recording.gyr_rads[-count:, rows],
        trial.angles_rad[-count:].astype(float),
    )
    about = f"{person}, a real person; streaming the last {count / trial.rate_hz:.0f} s of {trial.name}."
    truth = (
        "the angles file of the recording"
        if trial.reference == "given"
        else "the full inertial sensor chain (IMU-derived, not optical)"
    )
    first = tuple(t.part(0.0, 0.2) for t in prepared.trials)
    return Walk(person, about, truth, first, live, trial.calibration)


def choose_base(models: Path, person: str) -> Base | None:
    """Find the base trained on most people, among those that never saw this one."""
    fitting = [(len(s.people), p) for p, s in artefacts.bases(models) if person not in s.people]
    if not fitting:
        return None
    folder = max(fitting)[1]
    net, spec = artefacts.load(folder)
    return Base(folder.name, net, spec.people)


def seen_by(base: Base, walk: Walk) -> str:
    """Say what a base model has to do with the walker."""
    shared = len({*base.people} & {*walk.learned_from})
    said = "which has never seen this walker"
    return f"{said}, but {shared} of those {len(walk.learned_from)} people" if shared else said


def quick_base(trials: Sequence[Trial], progress: Progress) -> Base:
    """Train a base on the spot, shorter than a released one."""
    net = train(trials, replace(MULTI_USER, steps=_QUICK_STEPS), progress)
    return Base("quick base (short training)", net, artefacts.names_of([t.person for t in trials]))


def export_pair(base: Base, personal: GaitNet, walk: Walk, folder: Path) -> dict[str, Path]:
    """Export base and personal model for the edge; `before` and `after` name their folders."""
    files = {}
    for name, net in (("before", base.net), ("after", personal)):
        about = artefacts.Provenance(
            model_id=f"demo-{name}",
            trained_on=base.name
            if name == "before"
            else f"{base.name}, fine-tuned on {walk.person}",
            people=(walk.person,) if name == "after" else (),
            rate_hz=walk.live.rate_hz,
        )
        check = (
            [walk.first[0].features[:500]] if name == "before" else [t.features for t in walk.first]
        )
        files[name] = artefacts.release(net, about, folder / name, check)
    return files


def live(
    walk: Walk, files: dict[str, Path], folder: Path, tick: Callable[[], object] = lambda: None
) -> LiveResult:
    """Stream the walk through a real serial port into the edge runtime, then replay what it recorded."""
    stretch = walk.live
    count = len(stretch.acc_ms2)
    t_s = np.arange(count) / stretch.rate_hz
    schedule = schedule_frames(LEG_SLOTS, t_s, stretch.acc_ms2, stretch.gyr_rads, stretch.rate_hz)
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    save_profile(UserProfile(_USER, walk.calibration), home)
    os.environ[HOME_VARIABLE] = str(home)  # the demo must not touch the wearer's own profiles
    sessions = folder / "recordings"
    states: list[GaitState] = []
    seconds = count / stretch.rate_hz

    def keep(state: GaitState) -> None:
        if len(states) % round(stretch.rate_hz) == 0:
            tick()
        states.append(state)

    with VirtualSerialDevice(schedule) as device:
        config = Config(
            source=(f"serial:{device.port}",),
            model=files["after"],
            user=_USER,
            rate_hz=stretch.rate_hz,
            record_dir=sessions,
            display=False,
            seconds=seconds - 0.5,  # the last instants wait for samples that never come
        )
        summary = run_session(config, keep)
    assert summary.folder is not None  # it was told where to record
    replay = config.model_copy(update={"source": (f"replay:{summary.folder}",), "record_dir": None})
    again: list[GaitState] = []
    run_session(replay, again.append)
    before: list[GaitState] = []
    run_session(replay.model_copy(update={"model": files["before"]}), before.append)
    clock = sample_times(summary.folder)
    errors = [_rmse_deg(run, clock, stretch) for run in (before, states)]
    return LiveResult(
        rmse_deg={name: (errors[0][j], errors[1][j]) for j, name in enumerate(ANGLES)},
        seconds=summary.seconds,
        p50_ms=summary.p50_ms,
        p99_ms=summary.p99_ms,
        received=sum(summary.received.values()),
        lost=sum(summary.lost.values()),
        replay_equal=_same(states, again),
    )


def sample_times(session: Path) -> NDArray[np.float64]:
    """Host seconds of every sample number of the first slot in a recorded session."""
    items = read_session_log(session)
    receiver = Receiver(items.links)
    times: dict[int, float] = {}
    for item in items:
        for sample in receiver.push(item):
            if sample.slot == LEG_SLOTS[0]:
                times[sample.seq] = sample.t_s
    return np.array([[seq, t_s] for seq, t_s in sorted(times.items())])


def _rmse_deg(
    states: Sequence[GaitState], clock: NDArray[np.float64], stretch: Stretch
) -> list[float]:
    """Error of every angle over the believable ticks, after the network's first two seconds."""
    good = [s for s in states if s.validity is Validity.GOOD]
    t_s = np.array([s.t_s for s in good])
    keep = t_s > clock[0, 1] + 2.0
    sample = np.interp(t_s[keep], clock[:, 1], clock[:, 0])
    errors = []
    for j, name in enumerate(ANGLES):
        estimate = np.array([s.angles_rad[name] for s in good])[keep]
        truth = np.interp(sample, np.arange(len(stretch.angles_rad)), stretch.angles_rad[:, j])
        errors.append(float(np.degrees(np.sqrt(np.mean((estimate - truth) ** 2)))))
    return errors


def _same(one: Sequence[GaitState], other: Sequence[GaitState]) -> bool:
    """Tell whether a replay gave what the live session gave, bit for bit, as far as both go."""
    both = min(len(one), len(other))
    alike = all(
        a.t_s == b.t_s
        and np.array_equal(list(a.angles_rad.values()), list(b.angles_rad.values()), equal_nan=True)
        for a, b in zip(one[:both], other[:both], strict=True)
    )
    return alike and both >= 0.95 * max(len(one), len(other))
