"""The filter study: what it judges, that gains are chosen on other people, and BROAD's files."""

from __future__ import annotations

import importlib
import json
import math
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy.spatial.transform import Rotation

from talaria_bridge.errors import RecordingError
from talaria_edge.orientation import MahonyParams, track
from talaria_training import fusion, inclination
from talaria_training.data.broad import BroadTrial, find_broad, load_broad
from talaria_training.data.recording import Recording
from talaria_training.inclination import Score, Stretch

WEAK, STRONG = MahonyParams(0.2), MahonyParams(0.9)
RATE_HZ = 50.0


def walking(recording: Recording, seconds: float = 36.0) -> Recording:
    """A short part of a simulated walk, with orientations a device might have given."""
    rows = slice(0, round(seconds * recording.rate_hz))
    acc, gyr = recording.acc_ms2[rows], recording.gyr_rads[rows]
    orientation = {
        slot: track(acc[:, i], gyr[:, i], recording.rate_hz)
        for i, slot in enumerate(recording.slots[:2])
    }
    return replace(
        recording, t_s=recording.t_s[rows], acc_ms2=acc, gyr_rads=gyr, orientation=orientation
    )


@pytest.fixture(scope="module")
def stretches(recordings: list[Recording]) -> list[Stretch]:
    return inclination.walking_stretches([walking(recordings[0])])


def test_only_sensors_with_a_reference_are_judged(stretches: list[Stretch]) -> None:
    assert [s.group for s in stretches] == ["thigh", "thigh"]
    assert {s.person for s in stretches} == {"Sim11"}
    assert not stretches[0].judged[: round(5.9 * stretches[0].rate_hz)].any()


def test_a_filter_agrees_with_itself_and_its_heading_does_not_drift(
    stretches: list[Stretch],
) -> None:
    found = inclination.score(stretches[0], MahonyParams())
    assert found.rmse_deg < 1e-5
    assert found.start_deg < 1e-5
    assert found.heading_deg_min == pytest.approx(0.0, abs=1e-5)
    assert found.live_heading_deg_min == pytest.approx(0.0, abs=1e-5)


def test_tilt_and_heading_drift_of_the_reference_come_out_apart(stretches: list[Stretch]) -> None:
    stretch = stretches[0]
    t_s = np.arange(len(stretch.judged)) / stretch.rate_hz
    tilt = Rotation.from_rotvec([np.deg2rad(4.0), 0.0, 0.0])
    drift = Rotation.from_rotvec(np.outer(np.deg2rad(9.0) / 60 * t_s, [0.0, 0.0, 1.0]))
    reference = Rotation.from_quat(stretch.q_world_sensor, scalar_first=True)
    tilted = replace(stretch, q_world_sensor=(tilt * reference).as_quat(scalar_first=True))
    turned = replace(stretch, q_world_sensor=(drift * reference).as_quat(scalar_first=True))
    assert inclination.score(tilted, MahonyParams()).rmse_deg == pytest.approx(4.0, abs=1e-3)
    found = inclination.score(turned, MahonyParams())
    assert found.rmse_deg < 1e-5
    assert found.heading_deg_min == pytest.approx(-9.0, abs=0.01)
    assert found.live_heading_deg_min == pytest.approx(-9.0, abs=0.5)


def result(person: str, group: str, params: MahonyParams, rmse_deg: float) -> fusion.Result:
    return fusion.Result("x", person, group, "mahony", params, Score(rmse_deg, 1.0, 0.0, 0.0))


def test_nobody_is_judged_with_gains_chosen_on_themselves() -> None:
    """Anna's own best would be the strong gain, but the two others do best with the weak one."""
    results = [
        result(person, group, params, rmse_deg)
        for person, errors in (("Anna", (9.0, 1.0)), ("Ben", (1.0, 3.0)), ("Cem", (1.0, 3.0)))
        for group in ("thigh", "foot")
        for params, rmse_deg in zip((WEAK, STRONG), errors, strict=True)
    ]
    results += [result("", "tapping", params, 2.0) for params in (WEAK, STRONG)]
    chosen = fusion.held_out(results, "mahony")
    assert {r.params for r in chosen if r.person == "Anna"} == {WEAK}
    assert {r.params for r in chosen if r.person == "Ben"} == {STRONG}
    assert len([r for r in chosen if r.group == "tapping"]) == 1


def test_every_candidate_is_run_on_every_stretch(stretches: list[Stretch]) -> None:
    rows = slice(0, round(7.0 * stretches[0].rate_hz))
    short = replace(
        stretches[0],
        person="",
        acc_ms2=stretches[0].acc_ms2[rows],
        gyr_rads=stretches[0].gyr_rads[rows],
        q_world_sensor=stretches[0].q_world_sensor[rows],
        judged=stretches[0].judged[rows],
    )
    asked: list[int] = []
    results = fusion.run([short], 1, lambda: asked.append(1), {"mahony": (WEAK, MahonyParams())})
    assert len(asked) == len(results) == 2
    assert results[1].score.rmse_deg < 1e-5 < results[0].score.rmse_deg


def test_a_study_ends_in_a_report_and_a_table(stretches: list[Stretch]) -> None:
    results = [
        result(person, group, params, rmse_deg)
        for person in ("A", "B")
        for group in ("thigh", "foot")
        for params, rmse_deg in ((STRONG, 2.0), (WEAK, 1.0))
    ]
    unknown = Score(3.0, math.nan, math.nan, math.nan)
    results.append(fusion.Result("24", "", "tapping", "mahony", WEAK, unknown))
    document = fusion.report(results, stretches[0])
    json.dumps(document, allow_nan=False)
    entry = document["filters"]["mahony"]
    assert entry["authors"]["thigh"]["rmse_deg"] == 2.0
    assert entry["held_out"]["foot"]["rmse_deg"] == 1.0
    assert entry["held_out"]["tapping"] == {"stretches": 1, "rmse_deg": 3.0, "worst_deg": 3.0}
    assert entry["chosen"]["A"]["gain_per_s"] == WEAK.gain_per_s
    assert entry["cost_us"]["authors"] > 0
    assert len(document["rows"]) == 9
    console = Console(width=100, record=True)
    console.print(fusion.table(document))
    shown = console.export_text()
    assert "held out" in shown
    assert "mahony" in shown


def test_broad_is_judged_where_it_moves_and_is_seen() -> None:
    q = np.tile([1.0, 0.0, 0.0, 0.0], (4, 1))
    q[1] = np.nan
    moving = np.array([False, True, True, True])
    vectors = np.tile([0.0, 0.0, 9.81], (4, 1))
    trial = BroadTrial("24_disturbed_tapping_A", RATE_HZ, vectors, 0 * vectors, q, moving)
    (stretch,) = inclination.optical_stretches([trial])
    assert stretch.group == "tapping"
    np.testing.assert_array_equal(stretch.judged, [False, False, True, True])
    found = inclination.score(stretch, MahonyParams())
    assert found.rmse_deg == pytest.approx(0.0, abs=1e-4)
    assert math.isnan(found.heading_deg_min)


@pytest.fixture
def h5py() -> Any:
    return pytest.importorskip("h5py", reason="the optional h5py is not installed")


def write_trial(h5py: Any, path: Path, **changes: Any) -> None:
    columns: dict[str, Any] = {
        "imu_acc": np.tile([0.0, 0.0, 9.81], (7, 1)),
        "imu_gyr": np.zeros((7, 3)),
        "opt_quat": np.tile([1.0, 0.0, 0.0, 0.0], (7, 1)),
        "movement": np.arange(7) > 2,
    }
    with h5py.File(path, "w") as file:
        file.attrs["sampling_rate"] = 2000 / 7
        for name, values in (columns | changes).items():
            if values is not None:
                file[name] = values


def test_broad_is_read_from_a_folder_and_from_a_zip(h5py: Any, tmp_path: Path) -> None:
    folder = tmp_path / "broad" / "data_hdf5"
    folder.mkdir(parents=True)
    for name in ("02_b", "01_a"):
        write_trial(h5py, folder / f"{name}.hdf5")
    packed = tmp_path / "broad_subset.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"data_hdf5/{file.name}")
    for place in (folder.parent, packed):
        trials = load_broad(place)
        assert [t.name for t in trials] == ["01_a", "02_b"]
        assert trials[0].rate_hz == pytest.approx(285.714, abs=1e-3)
        assert trials[0].moving.sum() == 4
    assert find_broad(tmp_path / "capsense") == packed
    assert find_broad(folder) == folder
    assert find_broad(tmp_path / "a" / "b") is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"opt_quat": None}, "no BROAD trial"),
        ({"imu_gyr": np.zeros((6, 3))}, r"imu_gyr of shape \(6, 3\), not \(7, 3\)"),
    ],
)
def test_a_broken_trial_is_named(
    h5py: Any, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_trial(h5py, tmp_path / "03_c.hdf5", **changes)
    with pytest.raises(RecordingError, match=message):
        load_broad(tmp_path)


def test_a_file_that_is_no_hdf5_is_named(h5py: Any, tmp_path: Path) -> None:
    (tmp_path / "04_d.hdf5").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(RecordingError, match=r"04_d\.hdf5 is no BROAD trial"):
        load_broad(tmp_path)


def test_nothing_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="holds no BROAD trial"):
        load_broad(tmp_path)
    with pytest.raises(RecordingError, match="does not exist"):
        load_broad(tmp_path / "no.zip")


def test_without_h5py_one_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "05_e.hdf5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError):
        importlib.import_module("h5py")
    with pytest.raises(RecordingError, match=r"h5py is not installed: .*talaria\[fusion\]"):
        load_broad(tmp_path)
