"""Recorded sessions become recordings to learn from, with labels on their own clock."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from talaria_bridge.errors import RecordingError, TalariaError
from talaria_bridge.link import Chunk
from talaria_bridge.recorder import SessionLogWriter
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk, random_params, simulate_walk
from talaria_bridge.virtual import schedule_frames
from talaria_edge.app import record_session
from talaria_edge.config import Config
from talaria_edge.export import Exported
from talaria_edge.kinematics import ANGLES, CHAIN_SLOTS, SAGITTAL
from talaria_edge.labels.attach import label_session, reference_curves, session_curves
from talaria_edge.labels.lag import Curves, find_lag
from talaria_edge.labels.reference import ReferenceMotion, read_reference, resample
from talaria_edge.sinks.opensim import MotWriter
from talaria_training.commands import app
from talaria_training.data.load import load_recordings
from talaria_training.data.recorded import find_recorded
from talaria_training.trials import prepare_person

OPTICAL = "IKoutput_20to65secs.mot"
CLOCKS_APART_S = 0.0103
"""What the published IMU clock is behind the published optical one, by the whole of both files."""


def record(
    out: Path,
    slots: tuple[str, ...],
    t_s: np.ndarray,
    acc_ms2: np.ndarray,
    gyr_rads: np.ndarray,
    user: str | None = None,
) -> Path:
    with SessionLogWriter(out / "all.mcap") as log:
        for at_s, data in schedule_frames(slots, t_s, acc_ms2, gyr_rads, 100.0):
            log.write(Chunk(at_s, data))
    source = f"replay:{out / 'all.mcap'}?pace=fast"
    record_session(
        Config(source=(source,), record_dir=out / "s", display=False, slots=slots, user=user)
    )
    (folder,) = (out / "s").iterdir()
    return folder


def mot(path: Path, t_s: np.ndarray, angles: dict[str, np.ndarray]) -> Path:
    with MotWriter(path, list(angles)) as file:
        for k, t in enumerate(t_s.tolist()):
            file.write(t, {name: float(values[k]) for name, values in angles.items()})
    return path


def off_deg(found: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square difference without its mean."""
    error = np.degrees(found - truth)
    return float(np.sqrt(np.nanmean((error - np.nanmean(error)) ** 2)))


@pytest.fixture(scope="module")
def walk() -> SimulatedWalk:
    return simulate_walk(seed=4, params=random_params(4), seconds=30.0, slots=CHAIN_SLOTS)


@pytest.fixture(scope="module")
def chain_session(walk: SimulatedWalk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("chain")
    return record(out, CHAIN_SLOTS, walk.t_s, walk.acc_ms2, walk.gyr_rads, "ann")


@pytest.fixture(scope="module")
def leg_session(walk: SimulatedWalk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [walk.slots.index(slot) for slot in LEG_SLOTS]
    out = tmp_path_factory.mktemp("legs")
    return record(out, LEG_SLOTS, walk.t_s, walk.acc_ms2[:, rows], walk.gyr_rads[:, rows], "ann")


def test_sensors_worn_only_now_yield_labels(chain_session: Path, walk: SimulatedWalk) -> None:
    # The sensors have no magnetometers: a pelvis taken to face backwards would flex where it extends.
    (recording,) = load_recordings(chain_session)
    assert (recording.person, recording.slots) == ("ann", CHAIN_SLOTS)
    (trial,) = prepare_person([recording]).trials
    assert trial.reference == "full_chain"
    assert trial.features.shape[0] == len(recording.t_s)
    walking = slice(800, len(trial.angles_rad))
    for i, name in enumerate(ANGLES):
        found, truth = trial.angles_rad[walking, i], walk.angles_rad[name][walking]
        assert off_deg(found, truth[: len(found)]) < 4.0, name
        if name in SAGITTAL:
            assert np.corrcoef(found, truth[: len(found)])[0, 1] > 0.97, name


def test_a_labelled_session_is_learnt_from(
    leg_session: Path, walk: SimulatedWalk, tmp_path: Path
) -> None:
    t_s = np.arange(6.0, 28.0, 1.0 / 60.0)
    angles = {n: np.interp(t_s, walk.t_s, walk.angles_rad[n]) for n in SAGITTAL}
    label_session(leg_session, mot(tmp_path / "a.mot", t_s + 500.0, angles))
    (recording,) = load_recordings(leg_session.parent)
    (trial,) = prepare_person([recording]).trials
    assert (trial.person, trial.reference) == ("ann", "given")
    for name in SAGITTAL:
        found = trial.angles_rad[:, ANGLES.index(name)]
        assert np.isfinite(found).sum() == pytest.approx(2200, abs=5)
        assert np.isnan(found[:590]).all()
        truth = walk.angles_rad[name][: len(found)]
        assert np.sqrt(np.nanmean((found - truth) ** 2)) < np.radians(1.0), name
    assert np.isnan(trial.angles_rad[:, ANGLES.index("hip_adduction_r")]).all()


def test_the_sessions_own_calibration_is_used(leg_session: Path) -> None:
    # A fifth of thirty seconds does not hold the walk that a calibration takes.
    (recording,) = load_recordings(leg_session)
    assert recording.calibration is not None
    assert set(recording.calibration.slots) == set(LEG_SLOTS)


def test_labels_moved_off_the_sessions_instants_are_refused(
    leg_session: Path, walk: SimulatedWalk, tmp_path: Path
) -> None:
    t_s = np.arange(0.0, 28.0, 0.01)
    angles = {n: np.interp(t_s, walk.t_s, walk.angles_rad[n]) for n in SAGITTAL}
    labels = label_session(leg_session, mot(tmp_path / "a.mot", t_s, angles))
    found = read_reference(labels.file)
    mot(labels.file, found.t_s + 0.004, found.angles_rad)
    with pytest.raises(RecordingError, match="label the session again"):
        load_recordings(leg_session)


def test_recorded_and_written_sessions_are_told_apart(leg_session: Path, tmp_path: Path) -> None:
    assert find_recorded(leg_session) == [leg_session]
    assert find_recorded(leg_session / "session.toml") == [leg_session]
    example = Path(__file__).parents[2] / "docs" / "examples" / "plain"
    assert find_recorded(example) == []
    (tmp_path / "session.toml").write_text("source = ")
    assert find_recorded(tmp_path) == []


@pytest.mark.parametrize(
    "given", [[], ["--data", "a"], ["--data", "a", "--person", "b", "--session", "c"]]
)
def test_finetune_wants_either_a_person_of_a_data_set_or_a_session(given: list[str]) -> None:
    result = CliRunner().invoke(app, ["finetune", "--base", "m", "--out", "o", *given])
    assert isinstance(result.exception, TalariaError)
    assert "--session" in str(result.exception)


@pytest.fixture(scope="module")
def sub02(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Curves, Path]:
    """Sub02's walk as a session of its own, and the optical angles' file."""
    out = tmp_path_factory.mktemp("sub02")
    archive, capsense = data_root / "capsense_sub02_optical.zip", data_root / "capsense"
    if not (archive.exists() and (capsense / "Sub02.zip").exists()):
        pytest.skip(f"no optical angles at {archive}")
    (walked,) = load_recordings(capsense / "Sub02.zip", conditions={"CSBaseline"})
    rows = [walked.slots.index(slot) for slot in LEG_SLOTS]
    session = Exported(
        folder=out,
        about={},
        rate_hz=walked.rate_hz,
        slots=LEG_SLOTS,
        t_s=walked.t_s - walked.t_s[0],
        acc_ms2=walked.acc_ms2[:, rows],
        gyr_rads=walked.gyr_rads[:, rows],
        status=[],
        angles_deg={},
        validity=[],
        events=[],
        links={},
        origin_s=float(walked.t_s[0]),
    )
    with zipfile.ZipFile(archive) as packed:
        (member,) = [name for name in packed.namelist() if name.endswith(OPTICAL)]
        (out / OPTICAL).write_bytes(packed.read(member))
    return session_curves(session, 0.0), out / OPTICAL


@pytest.mark.data
@pytest.mark.parametrize("rate_hz", [60.0, 120.0])
@pytest.mark.parametrize("length_s", [10.0, 20.0, 45.0])
def test_optical_angles_find_their_place_in_a_real_session(
    sub02: tuple[Curves, Path], rate_hz: float, length_s: float
) -> None:
    session, file = sub02
    optical = read_reference(file)
    rng = np.random.default_rng(int(rate_hz + length_s))
    for _ in range(3):
        start_s = 20.0 + rng.uniform(0.0, 45.0 - length_s)
        shift_s = rng.uniform(-500.0, 500.0)
        t_s = np.arange(start_s, start_s + length_s, 1.0 / rate_hz)
        angles = {n: resample(optical.t_s, v, t_s) for n, v in optical.angles_rad.items()}
        cut = ReferenceMotion("", t_s - shift_s, angles, ())
        found = find_lag(session, reference_curves(cut))
        assert found.lag_s - shift_s == pytest.approx(CLOCKS_APART_S, abs=0.003)
        assert found.match > 0.95
        assert found.lead > 0.25


@pytest.mark.data
@pytest.mark.parametrize("length_s", [10.0, 20.0])
def test_optical_angles_of_another_stretch_are_refused(
    sub02: tuple[Curves, Path], length_s: float
) -> None:
    session, file = sub02
    optical = read_reference(file)
    rng = np.random.default_rng(3)
    for _ in range(5):
        start_s = 20.0 + rng.uniform(15.0, 45.0 - length_s)
        t_s = np.arange(start_s, start_s + length_s, 0.01)
        angles = {n: resample(optical.t_s, v, t_s) for n, v in optical.angles_rad.items()}
        before = round((start_s - 0.5 - session.start_s) * 100.0)
        unseen = Curves(session.start_s, {n: v[:before] for n, v in session.rates_rads.items()})
        with pytest.raises(RecordingError):
            find_lag(unseen, reference_curves(ReferenceMotion("", t_s, angles, ())))
