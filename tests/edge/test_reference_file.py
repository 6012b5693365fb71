"""Reference angles find their place on a session's clock, or are refused in one sentence."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from talaria_bridge.errors import CalibrationError, RecordingError
from talaria_bridge.link import Chunk
from talaria_bridge.recorder import SessionLogWriter
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk, WalkerParams, random_params, simulate_walk
from talaria_bridge.virtual import schedule_frames
from talaria_edge.__main__ import app
from talaria_edge.app import record_session
from talaria_edge.config import Config
from talaria_edge.export import load_session
from talaria_edge.kinematics import SAGITTAL
from talaria_edge.labels.attach import REFERENCE_FILE, Labels, label_session, reference_curves
from talaria_edge.labels.columns import read_column, read_time
from talaria_edge.labels.lag import Curves, find_lag, given_lag
from talaria_edge.labels.reference import ReferenceMotion, read_reference, resample
from talaria_edge.sinks.opensim import MotWriter
from talaria_edge.tables.motion import read_table
from talaria_edge.toml_out import toml_text

Angles = dict[str, np.ndarray]
EVEN = WalkerParams(cadence_drift=0.0, stride_variability=0.0, amplitude_variability=0.0)


@pytest.fixture(scope="module")
def walked() -> SimulatedWalk:
    return simulate_walk(seed=6, seconds=32.0)


@pytest.fixture(scope="module")
def session(walked: SimulatedWalk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(walked, tmp_path_factory.mktemp("sessions"))


def record(walk: SimulatedWalk, out: Path) -> Path:
    frames = schedule_frames(LEG_SLOTS, walk.t_s, walk.acc_ms2, walk.gyr_rads, walk.rate_hz)
    with SessionLogWriter(out / "all.mcap") as log:
        for t_s, data in frames:
            log.write(Chunk(t_s, data))
    source = f"replay:{out / 'all.mcap'}?pace=fast"
    record_session(Config(source=(source,), record_dir=out / "s", display=False))
    (folder,) = (out / "s").iterdir()
    return folder


@cache
def origin_s(session: Path, walk: SimulatedWalk) -> float:
    """Where the session's own clock begins on the walk's: the first samples may not make a tick."""
    first = load_session(session, links=False).gyr_rads[0]
    return float(walk.t_s[np.abs(walk.gyr_rads[:50] - first).sum(axis=(1, 2)).argmin()])


def cut(
    walk: SimulatedWalk, start_s: float, stop_s: float, rate_hz: float = 60.0
) -> tuple[np.ndarray, Angles]:
    """Angles of part of a walk, at another rate, on the walk's clock."""
    t_s = np.arange(start_s, stop_s, 1.0 / rate_hz)
    return t_s, {n: np.interp(t_s, walk.t_s, walk.angles_rad[n]) for n in SAGITTAL}


def mot(path: Path, t_s: np.ndarray, angles: Angles) -> Path:
    with MotWriter(path, list(angles)) as file:
        for k, t in enumerate(t_s.tolist()):
            file.write(t, {name: float(values[k]) for name, values in angles.items()})
    return path


def csv(path: Path, header: str, *columns: np.ndarray) -> Path:
    rows = "\n".join(",".join(f"{v:.6f}" for v in row) for row in zip(*columns, strict=True))
    path.write_text(f"{header}\n{rows}\n".replace("nan", ""))
    return path


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(RecordingError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize(
    ("label", "name", "sign", "unit"),
    [
        ("knee_angle_r", "knee_angle_r", 1.0, None),
        ("hip_adduction_l", "hip_adduction_l", 1.0, None),
        ("/jointset/hip_r/hip_flexion_r/value", "hip_flexion_r", 1.0, None),
        ("RKneeAngles_X", "knee_angle_r", 1.0, None),
        ("LHipAngles.Y", "hip_adduction_l", 1.0, None),
        ("Right Knee Flexion (deg)", "knee_angle_r", 1.0, "deg"),
        ("left_ankle_plantarflexion_rad", "ankle_angle_l", -1.0, "rad"),
        ("knee_extension_r [°]", "knee_angle_r", -1.0, "deg"),
        ("hip_flexion_extension_l", "hip_flexion_l", 1.0, None),
        ("hip_external_rotation_r", "hip_rotation_r", -1.0, None),
        ("Hip_Abduction_L", "hip_adduction_l", -1.0, None),
    ],
)
def test_a_column_is_understood_by_its_words(
    label: str, name: str, sign: float, unit: str | None
) -> None:
    found = read_column(label)
    assert found is not None
    assert (found.name, found.sign, found.unit) == (name, sign, unit)


@pytest.mark.parametrize(
    "label",
    [
        "knee_angle_r_beta",
        "/jointset/hip_r/hip_flexion_r/speed",
        "hip_flexion_r_moment",
        "pelvis_tilt",
        "subtalar_angle_r",
        "RKneeAngles_Y",
        "hip_r",
        "hip_angle_r",
        "knee_angle",
        "hip_ab_adduction_r",
        "knee_angle_rl",
    ],
)
def test_a_column_with_a_word_not_understood_is_left_alone(label: str) -> None:
    assert read_column(label) is None


def test_time_columns_know_their_unit() -> None:
    labels = ("time", "Time (ms)", "t", "timestamp_us", "time_s", "frame")
    assert [read_time(x) for x in labels] == [1.0, 1e-3, 1.0, 1e-6, 1.0, None]


def test_motion_files_and_csv_say_the_same(walked: SimulatedWalk, tmp_path: Path) -> None:
    t_s, angles = cut(walked, 10.0, 14.0)
    knee, ankle = angles["knee_angle_r"], angles["ankle_angle_r"]
    one = read_reference(mot(tmp_path / "a.mot", t_s, angles))
    header = "Time (ms),RKneeAngles_X,right ankle plantarflexion (rad)"
    two = read_reference(
        csv(tmp_path / "b.csv", header, t_s * 1e3, np.degrees(knee), -ankle), "deg"
    )
    np.testing.assert_allclose(one.t_s, two.t_s, atol=1e-5)
    assert set(two.angles_rad) == {"knee_angle_r", "ankle_angle_r"}
    for name, values in two.angles_rad.items():
        np.testing.assert_allclose(values, one.angles_rad[name], atol=1e-5)
        np.testing.assert_allclose(values, angles[name], atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 180.0 / math.pi])
def test_the_unit_is_concluded_only_where_the_size_allows_one(
    walked: SimulatedWalk, tmp_path: Path, scale: float
) -> None:
    t_s, angles = cut(walked, 10.0, 14.0)
    path = csv(tmp_path / "a.csv", "time,knee_angle_r", t_s, angles["knee_angle_r"] * scale)
    found = read_reference(path)
    np.testing.assert_allclose(found.angles_rad["knee_angle_r"], angles["knee_angle_r"], atol=1e-5)
    assert "by the size" in found.notes[0]
    small = csv(tmp_path / "b.csv", "time,knee_angle_r", t_s, 0.001 * angles["knee_angle_r"])
    assert "--unit" in refusal(lambda: read_reference(small))
    other = "deg" if scale == 1.0 else "rad"
    assert "looks like" in refusal(lambda: read_reference(path, other))


def test_a_unit_that_contradicts_the_header_is_refused(
    walked: SimulatedWalk, tmp_path: Path
) -> None:
    path = mot(tmp_path / "a.mot", *cut(walked, 10.0, 14.0))
    assert "--unit says rad" in refusal(lambda: read_reference(path, "rad"))


def test_a_knee_that_bends_backwards_is_turned_round(walked: SimulatedWalk, tmp_path: Path) -> None:
    t_s, angles = cut(walked, 10.0, 14.0)
    turned = angles | {"knee_angle_r": -angles["knee_angle_r"]}
    found = read_reference(mot(tmp_path / "a.mot", t_s, turned))
    np.testing.assert_allclose(found.angles_rad["knee_angle_r"], angles["knee_angle_r"], atol=1e-5)
    np.testing.assert_allclose(found.angles_rad["knee_angle_l"], angles["knee_angle_l"], atol=1e-5)
    assert found.notes == ("knee_angle_r turned round: the file counts extension positive",)


def test_files_that_cannot_be_labels_are_refused(tmp_path: Path) -> None:
    t_s = np.arange(10.0)
    cases = {
        "a.c3d": ("", "no .mot, .sto or .csv"),
        "b.csv": ("time,elbow_r\n1,2\n", "no angle of a hip, knee or ankle"),
        "c.csv": ("frame,knee_angle_r\n1,2\n", "no time column"),
        "d.csv": ("time,knee_angle_r,RKneeAngles_X\n1,2,3\n", "knee_angle_r twice"),
        "e.mot": ("nothing\n", "endheader"),
        "f.csv": ("time,knee_angle_r\n1,2\n1,3\n", "line 3 has time 1 s"),
        "g.csv": ("time,knee_angle_r\n1,2\n,3\n", "time"),
    }
    for name, (text, hint) in cases.items():
        (tmp_path / name).write_text(text)
        path = tmp_path / name
        assert hint in refusal(lambda path=path: read_reference(path))
    assert len(t_s) == 10


def test_gaps_are_not_bridged_by_invention() -> None:
    t_s = np.arange(0.0, 2.0, 0.01)
    values = np.sin(t_s)
    values[50:53] = np.nan
    values[100:120] = np.nan
    found = resample(t_s, values, t_s + 0.003)
    np.testing.assert_allclose(found[:97], np.sin(t_s + 0.003)[:97], atol=1e-6)
    assert np.isnan(found[100:119]).all()
    assert np.isfinite(found[120:-1]).all()


@pytest.mark.parametrize(
    ("start_s", "stop_s", "rate_hz", "lag_s"),
    [(0.0, 32.0, 60.0, 12.345), (14.0, 26.0, 120.0, -100.0)],
)
def test_a_reference_of_its_own_clock_and_rate_is_placed(
    session: Path,
    walked: SimulatedWalk,
    tmp_path: Path,
    start_s: float,
    stop_s: float,
    rate_hz: float,
    lag_s: float,
) -> None:
    t_s, angles = cut(walked, start_s, stop_s, rate_hz)
    labels = label_session(session, mot(tmp_path / "a.mot", t_s - lag_s, angles))
    assert labels.lag.lag_s == pytest.approx(lag_s - origin_s(session, walked), abs=0.005)
    assert labels.covered_s == pytest.approx(stop_s - start_s, abs=0.1)
    assert labels.names == SAGITTAL
    assert labels.lag.lead > 0.2
    table = read_table(session / REFERENCE_FILE)
    assert np.diff(table.t_s) == pytest.approx(0.01, abs=1e-6)
    at_s = table.t_s + origin_s(session, walked)
    for name in SAGITTAL:
        truth = np.interp(at_s, walked.t_s, walked.angles_rad[name])
        error = table.angles_rad([name])[:, 0] - truth
        assert np.sqrt(np.nanmean(error**2)) < np.radians(1.0), name


def test_the_session_remembers_where_its_labels_are_from(
    session: Path, walked: SimulatedWalk, tmp_path: Path
) -> None:
    before = tomllib.loads((session / "session.toml").read_text())
    t_s, angles = cut(walked, 10.0, 30.0)
    labels = label_session(session, mot(tmp_path / "a.mot", t_s, angles))
    about = tomllib.loads((session / "session.toml").read_text())
    said = about.pop("reference")
    before.pop("reference", None)
    assert toml_text(about) == toml_text(before)
    assert said["from"] == str(tmp_path / "a.mot")
    assert said["angles"] == list(SAGITTAL)
    assert said["lag_s"] == labels.lag.lag_s
    assert said["lag_given"] is False
    assert len(said["sha256"]) == 64


def test_a_hole_in_the_reference_stays_a_hole(
    session: Path, walked: SimulatedWalk, tmp_path: Path
) -> None:
    t_s, angles = cut(walked, 10.0, 30.0)
    angles["knee_angle_r"][300:600] = np.nan
    labels = label_session(session, mot(tmp_path / "a.mot", t_s, angles))
    table = read_table(session / REFERENCE_FILE)
    assert np.isnan(table.column("knee_angle_r")).sum() == pytest.approx(500, abs=10)
    assert np.isfinite(table.column("knee_angle_l")).all()
    assert labels.covered_s == pytest.approx(20.0, abs=0.1)


def test_an_even_walk_is_ambiguous_until_the_lag_is_given(tmp_path: Path) -> None:
    even = simulate_walk(seed=3, seconds=26.0, params=EVEN)
    folder = record(even, tmp_path)
    file = mot(tmp_path / "a.mot", *cut(even, 13.0, 24.0))
    message = refusal(lambda: label_session(folder, file))
    assert "ambiguous" in message
    assert "--lag" in message
    assert not (folder / REFERENCE_FILE).exists()
    labels = label_session(folder, file, lag_s=-0.02)
    assert labels.given
    assert labels.lag.lag_s == -0.02
    assert labels.lag.match > 0.9
    # The same walk with its start in view is not ambiguous.
    whole = mot(tmp_path / "b.mot", *cut(even, 0.0, 24.0))
    assert label_session(folder, whole).lag.lag_s == pytest.approx(
        -origin_s(folder, even), abs=0.005
    )


def test_somebody_elses_walk_is_refused(session: Path, tmp_path: Path) -> None:
    other = simulate_walk(seed=17, seconds=30.0)
    file = mot(tmp_path / "a.mot", *cut(other, 12.0, 30.0))
    refusal(lambda: label_session(session, file))


def test_a_part_of_the_walk_the_session_has_not_seen_is_refused(walked: SimulatedWalk) -> None:
    t_s, angles = cut(walked, 6.0, 32.0, 100.0)
    seen = reference_curves(ReferenceMotion("", t_s, angles, ()))
    early = Curves(seen.start_s, {n: v[:1250] for n, v in seen.rates_rads.items()})
    late = Curves(seen.start_s, {n: v[1300:] for n, v in seen.rates_rads.items()})
    refusal(lambda: find_lag(early, late))


@pytest.mark.parametrize(("seed", "start"), [(3, 1750), (8, 2250)])
def test_a_session_hardly_longer_than_the_reference_makes_no_lag_lead(
    seed: int, start: int
) -> None:
    # Where few lags can be compared, the best of them would stand out for want of rivals.
    walk = simulate_walk(seed=seed, params=random_params(seed), seconds=60.0)
    whole = reference_curves(ReferenceMotion("", *cut(walk, 0.0, 60.0, 100.0), ()))
    rates = whole.rates_rads
    crop = Curves(0.0, {n: v[start : start + 1000] for n, v in rates.items()})
    unseen = Curves(0.0, {n: v[start + 1100 : start + 2200] for n, v in rates.items()})
    refusal(lambda: find_lag(unseen, crop))


@pytest.mark.parametrize("drift", [0.0, 1e-4, 1e-3])
def test_drift_is_seen_and_corrected_when_it_is_clear(walked: SimulatedWalk, drift: float) -> None:
    t_s, angles = cut(walked, 0.0, 32.0, 100.0)
    ours = reference_curves(ReferenceMotion("", t_s, angles, ()))
    noise = np.random.default_rng(2)
    rates = {n: v + noise.normal(0, 0.2, len(v)) for n, v in ours.rates_rads.items()}
    theirs = reference_curves(ReferenceMotion("", t_s * (1 - drift) + 7.0, angles, ()))
    found = find_lag(Curves(ours.start_s, rates), theirs)
    assert found.drift_seen == pytest.approx(drift, abs=5e-5)
    assert (found.drift != 0.0) == (drift == 1e-3)
    back = found.to_reference(t_s)
    assert np.abs(back - (t_s * (1 - drift) + 7.0)).max() < 0.005


def test_a_lag_far_outside_both_is_refused(walked: SimulatedWalk) -> None:
    curves = reference_curves(ReferenceMotion("", *cut(walked, 0.0, 20.0), ()))
    assert "share no instant" in refusal(lambda: given_lag(curves, curves, 1000.0))


def test_a_knee_alone_has_nothing_to_compare_without_a_model(
    session: Path, walked: SimulatedWalk, tmp_path: Path
) -> None:
    t_s, angles = cut(walked, 10.0, 30.0)
    file = mot(tmp_path / "a.mot", t_s, {"knee_angle_r": angles["knee_angle_r"]})
    assert "no movement in common" in refusal(lambda: label_session(session, file))


def test_too_short_a_reference_is_refused(
    session: Path, walked: SimulatedWalk, tmp_path: Path
) -> None:
    file = mot(tmp_path / "a.mot", *cut(walked, 20.0, 24.0))
    assert "give a longer reference" in refusal(lambda: label_session(session, file))


def test_a_session_nobody_stood_still_in_cannot_be_labelled(
    walked: SimulatedWalk, tmp_path: Path
) -> None:
    late = walked.t_s >= 15.0
    frames = schedule_frames(
        LEG_SLOTS,
        walked.t_s[late],
        walked.acc_ms2[late],
        walked.gyr_rads[late],
        walked.rate_hz,
    )
    with SessionLogWriter(tmp_path / "all.mcap") as log:
        for t_s, data in frames:
            log.write(Chunk(t_s, data))
    source = f"replay:{tmp_path / 'all.mcap'}?pace=fast"
    record_session(Config(source=(source,), record_dir=tmp_path / "s", display=False))
    (folder,) = (tmp_path / "s").iterdir()
    file = mot(tmp_path / "a.mot", *cut(walked, 18.0, 28.0))
    with pytest.raises(CalibrationError, match="never still"):
        label_session(folder, file)


@pytest.fixture
def labelled(session: Path, walked: SimulatedWalk, tmp_path: Path) -> tuple[Path, Labels]:
    file = mot(tmp_path / "a.mot", *cut(walked, 5.0, 30.0))
    return file, label_session(session, file)


def test_the_command_shows_lag_and_confidence(session: Path, labelled: tuple[Path, Labels]) -> None:
    file, labels = labelled
    result = CliRunner().invoke(app, ["label", str(session), "--reference", str(file)])
    assert result.exit_code == 0, result.output
    for shown in (f"{labels.lag.lag_s:.3f} s", "match", "lead", "ppm"):
        assert shown in result.output
    wrong = CliRunner().invoke(app, ["label", str(session), "--reference", "none.mot"])
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("talaria: none.mot cannot be read")
