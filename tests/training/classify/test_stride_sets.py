"""Published and simulated sets become tables with the right people, channels and labels."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_training.strides.c3d_events import C3dCutting, read_c3d
from talaria_training.strides.published import read_mat
from talaria_training.strides.running import read_running
from talaria_training.strides.simulated import Planted, Population, simulate_strides
from talaria_training.strides.table import StrideTable

HEADER = "Time\tHip_Z\tHip_X\tHip_Y\tKnee_Z\tKnee_X\tKnee_Y\tAnkle_Z\tAnkle_X\tAnkle_Y"
BODIES = {
    "g01s01": "22.0\t181.0\t62.0",
    "g01s02": "38.0\t183.0\t80.0",
    "g02s01": "22.0\t181.0\t62.0",
}


def running_set(folder: Path) -> Path:
    """Three runners; the second laboratory's has the body of one who said how far she runs."""
    root = folder / "set"
    (root / "angles").mkdir(parents=True)
    rows = ["\tGroup\tSubject\tTrial\tFilename\tSpeed\tAge\tHeight\tMass"]
    for number, (person, body) in enumerate(BODIES.items()):
        for trial in (10, 2):
            name = f"{person}t{trial:02d}.txt"
            values = 100 * number + trial + np.arange(9) / 10
            lines = ["\t".join(map(str, (t, *(values + t / 1000)))) for t in range(101)]
            (root / "angles" / name).write_text("\n".join((HEADER, *lines)) + "\n")
            lab = "BMC" if person.startswith("g01") else "RIC"
            rows.append(f"0\t{lab}\t{number}\t{trial}\t{name}\t2.5\t{body}")
    (root / "metadata.txt").write_text("\n".join(rows) + "\n")
    (root / "derived_mileage_map.csv").write_text(
        "Subject,Age,Height,Mass,RBDS,Volume,Level\n"
        "7,38.0,183.0,80.0,2,36-45 km,Elite\n"
        "9,22.0,181.0,62.0,1,>45 km,Competitive\n"
    )
    return root


def zipped(folder: Path) -> Path:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder))
    return target


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_running_strides_keep_runner_order_and_planes(tmp_path: Path, form: str) -> None:
    root = running_set(tmp_path)
    reports: list[tuple[int, int]] = []
    table = read_running(root if form == "folder" else zipped(root), lambda *a: reports.append(a))
    assert table.column("person").tolist() == [p for p in BODIES for _ in range(2)]
    assert table.order.tolist() == [2, 10] * 3
    assert reports[-1] == (6, 6)
    names = [c.name for c in table.channels]
    knee = table.values[1, names.index("knee_frontal")]
    assert knee == pytest.approx(10 + 0.4 + np.arange(101) / 1000, abs=1e-4)


def test_volume_is_matched_on_the_body_and_only_in_its_laboratory(tmp_path: Path) -> None:
    table = read_running(running_set(tmp_path))
    told = dict(zip(table.column("person"), table.column("mileage"), strict=True))
    assert told == {"g01s01": "higher", "g01s02": "lower", "g02s01": ""}
    assert set(table.column("volume")[:4].tolist()) == {">45 km", "36-45 km"}


def test_running_strides_do_without_the_tables_about_people(tmp_path: Path) -> None:
    root = running_set(tmp_path)
    (root / "derived_mileage_map.csv").unlink()
    assert set(read_running(root).column("mileage").tolist()) == {""}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.replace("Hip_Z", "Pelvis"), "has the columns"),
        (lambda text: text.replace("\n50\t", "\nx\t"), "is not ten numbers"),
        (lambda text: "\n".join(text.split("\n")[:-4]), "has 98 rows and not 101"),
    ],
)
def test_a_spoilt_running_file_is_named(tmp_path: Path, spoil: Any, said: str) -> None:
    root = running_set(tmp_path)
    file = root / "angles" / "g01s02t02.txt"
    file.write_text(spoil(file.read_text()))
    with pytest.raises(RecordingError, match=f"g01s02t02.txt.*{said}"):
        read_running(root)


def test_a_folder_without_running_strides_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="holds no file like g01s01t01"):
        read_running(tmp_path)
    with pytest.raises(RecordingError, match="does not exist"):
        read_running(tmp_path / "gone")


def one_hot(classes: np.ndarray, count: int) -> np.ndarray:
    return np.eye(count, dtype=np.uint8)[classes]


def cells(*texts: str) -> np.ndarray:
    """Labels as the published files nest them: a cell that holds a row of cells."""
    inner = np.empty((1, len(texts)), object)
    inner[0] = texts
    outer = np.empty((1, 1), object)
    outer[0, 0] = inner
    return outer


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def test_individual_gait_features_are_read_time_first(tmp_path: Path) -> None:
    features = values(6, 101, 2)
    savemat(
        tmp_path / "g.mat",
        {
            "Feature_GRF_AV": features,
            "Feature_GRF_AV_Label": cells("GRF vertical", "GRF other"),
            "Feature_JA_Lower": values(6, 101, 3),
            "Feature_JA_Lower_Label": cells("Knee sagittal", "hip frontal", "Toe"),
            "Target_SubjectID": one_hot(np.array([0, 0, 1, 1, 2, 2]), 3),
            "Target_Gender": np.array([[0], [0], [1], [1], [1], [1]], np.uint8),
        },
    )
    table = read_mat(tmp_path / "g.mat", "GRF_AV")
    assert np.allclose(table.values, features.transpose(0, 2, 1), atol=1e-6)
    assert table.column("person").tolist() == ["P001", "P001", "P002", "P002", "P003", "P003"]
    assert table.column("gender").tolist() == ["gender 1"] * 2 + ["gender 2"] * 4
    assert [c.name for c in table.channels] == ["GRF vertical", "GRF other"]
    joints = read_mat(tmp_path / "g.mat", "Feature_JA_Lower").channels
    assert [(c.group, c.axis) for c in joints] == [
        ("knee", "sagittal"),
        ("hip", "frontal"),
        ("Toe", ""),
    ]
    with pytest.raises(
        RecordingError, match="several features: choose one of Feature_GRF_AV, Feat"
    ):
        read_mat(tmp_path / "g.mat")
    with pytest.raises(RecordingError, match="no feature 'JA_Full'"):
        read_mat(tmp_path / "g.mat", "JA_Full")


def test_clinical_forces_are_named_by_leg_and_axis(tmp_path: Path) -> None:
    features = values(4, 6, 101)
    targets = {
        "Target_Injury": one_hot(np.array([0, 0, 3, 3]), 4),
        "Target_Subject": one_hot(np.array([5, 5, 190, 190]), 194),
    }
    savemat(tmp_path / "c.mat", {"Feature": features, **targets})
    table = read_mat(tmp_path / "c.mat")
    assert np.allclose(table.values, features, atol=1e-6)
    assert [c.name for c in table.channels][2:4] == ["affected_GRF_V", "unaffected_GRF_AP"]
    assert table.column("injury").tolist() == ["injury 1"] * 2 + ["injury 4"] * 2
    assert table.column("person").tolist() == ["P006"] * 2 + ["P191"] * 2
    assert table.order.tolist() == [0, 1, 0, 1]
    assert table.cycle == "stance"


@pytest.mark.parametrize("shape", [(4, 200, 8), (4, 8, 200)])
def test_muscle_activity_is_read_whichever_way_it_lies(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    muscles = ("VL", "RF", "VM", "GL", "GM", "SOL", "TA", "BF")
    features = values(*shape)
    targets = {"Target_Subject": one_hot(np.array([0, 0, 1, 1]), 2)}
    savemat(
        tmp_path / "e.mat",
        {"Feature": features, "Feature_EMG_Label": cells(*muscles), **targets},
    )
    table = read_mat(tmp_path / "e.mat")
    wanted = features if shape[2] == 200 else features.transpose(0, 2, 1)
    assert np.allclose(table.values, wanted, atol=1e-6)
    assert [(c.name, c.group) for c in table.channels] == [(m, m) for m in muscles]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Target_Subject": np.array([[1, 1], [1, 0], [0, 1], [0, 1]])}, "not one-hot in 1 of 4 rows"),
        ({"Target_Subject": np.array([[1, 0], [0, 0], [0, 1], [0, 1]])}, "not one-hot in 1 of 4 rows"),
        ({"Target_Subject": np.array([[2, 0], [0, 1], [0, 1], [0, 1]])}, "not one-hot in 1 of 4 rows"),
        ({"Target_Subject": one_hot(np.array([0, 1, 0]), 2)}, r"shape \(3, 2\) for 4 strides"),
        ({"Target_Subject": None}, "neither Target_SubjectID nor Target_Subject"),
        ({"Feature": values(4, 6, 90)}, "no axis is 101 or 200 points long"),
        ({"Feature": values(4, 101, 101)}, "more than one axis"),
        ({"Feature": None}, "no array of strides x channels x points"),
        ({"Feature": np.full((4, 6, 101), np.nan)}, "is not a number in 4 of 4 strides"),
    ],
)  # fmt: skip
def test_a_spoilt_mat_file_is_one_sentence(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    arrays = {
        "Feature": values(4, 6, 101),
        "Target_Subject": one_hot(np.array([0, 0, 1, 1]), 2),
    } | changes
    savemat(tmp_path / "s.mat", {k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(RecordingError, match=said) as caught:
        read_mat(tmp_path / "s.mat")
    assert "\n" not in str(caught.value)


def test_what_is_no_mat_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "s.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + b" " * 200)
    with pytest.raises(RecordingError, match="cannot be read as a MATLAB file"):
        read_mat(tmp_path / "s.mat")


RATE_HZ, FIRST_FRAME = 100.0, 50
STRIKES = {"Left": (0.6, 1.7, 2.8), "Right": (1.15, 2.25)}
OFFS = {"Left": (1.3, 2.4), "Right": (0.8, 1.85, 2.9)}


def c3d_file(path: Path, events: bool = True, angles: bool = True, standing: bool = False) -> Path:
    """Four seconds whose angles are ramps, so that a stride says where it was cut."""
    ezc3d = pytest.importorskip("ezc3d")
    file = ezc3d.c3d()
    labels = [f"{s}{j}Angles" for s in "LR" for j in ("Hip", "Knee", "Ankle")]
    labels = (labels if angles else labels[:2]) + ["LNormalisedGRF"]
    frames = 400
    points = np.zeros((4, len(labels), frames))
    for row, _ in enumerate(labels):
        points[:3, row] = np.arange(frames) / 10 + 100 * row + np.arange(3)[:, None]
    force = np.where((np.arange(frames) >= 60) & (np.arange(frames) < 130), 110.0, np.nan)
    points[:3, -1] = force
    file["header"]["points"]["first_frame"] = FIRST_FRAME
    file["parameters"]["POINT"]["RATE"]["value"] = [RATE_HZ]
    file["parameters"]["POINT"]["LABELS"]["value"] = labels
    file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    file["data"]["points"] = points
    if events:
        told = [(side, "Foot Strike", t) for side in STRIKES for t in STRIKES[side]]
        told += [(side, "Foot Off", t) for side in OFFS for t in OFFS[side] if not standing]
        file.add_parameter("EVENT", "USED", [len(told)])
        file.add_parameter("EVENT", "CONTEXTS", [c for c, _, _ in told])
        file.add_parameter("EVENT", "LABELS", [kind for _, kind, _ in told])
        times = np.array([[0.0, t + FIRST_FRAME / RATE_HZ] for _, _, t in told]).T
        file.add_parameter("EVENT", "TIMES", times)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.write(str(path))
    return path


def test_c3d_strides_run_from_strike_to_strike(tmp_path: Path) -> None:
    c3d_file(tmp_path / "study" / "ann" / "Turn" / "a1.c3d")
    table = read_c3d(tmp_path, note=pytest.fail)
    assert table.column("side").tolist() == ["l", "r", "l"]
    assert set(table.column("person").tolist()) == {"ann"}
    assert set(table.column("condition").tolist()) == {"turn"}
    names = [c.name for c in table.channels]
    # A left hip starts at ten times its strike's second, the right ankle lies 500 higher.
    assert table.values[0, names.index("hip_sagittal"), [0, 100]] == pytest.approx([6.0, 17.0])
    assert table.values[1, names.index("ankle_transverse"), [0, 100]] == pytest.approx(
        [11.5 + 502, 22.5 + 502]
    )
    assert table.order.tolist() == [0, 1, 2]


def test_c3d_stances_end_at_foot_off(tmp_path: Path) -> None:
    c3d_file(tmp_path / "ann" / "Turn" / "a1.c3d")
    table = read_c3d(tmp_path, C3dCutting("stance"))
    assert table.cycle == "stance"
    assert len(table) == 4
    assert table.values[0, 0, [0, 100]] == pytest.approx([6.0, 13.0])


def test_c3d_forces_keep_only_steps_on_a_plate(tmp_path: Path) -> None:
    c3d_file(tmp_path / "ann" / "Turn" / "a1.c3d")
    table = read_c3d(tmp_path, C3dCutting("stride", force=True))
    assert len(table) == 1
    force = table.values[0, -1]
    assert table.channels[-1].unit == "BW"
    assert force[[1, 50]] == pytest.approx([1.1, 1.1])
    assert force[[80, 100]] == pytest.approx([0.0, 0.0])


def test_c3d_files_without_strides_are_left_out_by_name(tmp_path: Path) -> None:
    good = c3d_file(tmp_path / "ann" / "Turn" / "good.c3d")
    c3d_file(tmp_path / "ann" / "Static" / "standing.c3d", standing=True)
    c3d_file(tmp_path / "ann" / "Turn" / "silent.c3d", events=False)
    c3d_file(tmp_path / "ann" / "Turn" / "bare.c3d", angles=False)
    (tmp_path / "ann" / "Turn" / "torn.c3d").write_bytes(good.read_bytes()[:700])
    (tmp_path / "twin.c3d").write_bytes(good.read_bytes())
    notes: list[str] = []
    table = read_c3d(tmp_path, note=notes.append)
    assert len(table) == 3
    assert set(table.column("condition").tolist()) == {"turn"}
    for name, said in (
        ("standing", "no whole stride"),
        ("silent", "has no events"),
        ("bare", "has no LAnkleAngles"),
        ("torn", "cannot be read as C3D"),
        ("twin", "is the same file as ann/Turn/good.c3d"),
    ):
        assert any(name in note and said in note for note in notes), (name, notes)
    with pytest.raises(RecordingError, match="holds no C3D file with a whole stride"):
        read_c3d(tmp_path / "ann" / "Static", note=notes.append)


def test_simulated_people_are_themselves_across_sessions() -> None:
    table = simulate_strides(Population(people=30, sessions=2, strides=4))
    first, second = (table.select(table.column("session") == s) for s in "12")
    means = [t.values.reshape(30, 4, -1).mean(axis=1) for t in (first, second)]
    nearest = ((means[0][:, None] - means[1]) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == np.arange(30)).all()


def test_a_planted_difference_is_where_it_was_planted(planted_strides: StrideTable) -> None:
    plain = simulate_strides(Population(people=24, strides=10, seed=2))
    apart = planted_strides.values - plain.values
    affected = planted_strides.column("group") == "affected"
    names = [c.name for c in planted_strides.channels]
    moved = np.abs(apart).max(axis=0) > 1e-3
    assert not apart[~affected].any()
    assert moved.any(axis=1).nonzero()[0].tolist() == [names.index("knee_sagittal")]
    assert set(moved.any(axis=0).nonzero()[0].tolist()) == set(range(21, 30))


def test_simulated_strides_spread_as_told() -> None:
    table = simulate_strides(
        Population(people=1, strides=4000, session_deg=0.0, person_deg=0.0, stride_deg=2.0)
    )
    assert np.sqrt((table.values.std(axis=0) ** 2).mean()) == pytest.approx(2.0, rel=0.05)


def test_simulated_strides_repeat_with_their_seed() -> None:
    a, b = (simulate_strides(Population(people=3, seed=5)) for _ in range(2))
    assert np.array_equal(a.values, b.values)
    assert not np.array_equal(a.values, simulate_strides(Population(people=3, seed=6)).values)


def test_nobody_and_nowhere_cannot_be_simulated() -> None:
    with pytest.raises(ConfigError, match="0 people"):
        simulate_strides(Population(people=0))
    with pytest.raises(ConfigError, match="no channel 'toe'"):
        simulate_strides(Population(planted=Planted("toe")))


def test_the_real_running_set_is_whole(data_root: Path) -> None:
    file = data_root / "bmc_ric_running.zip"
    if not file.exists():
        pytest.skip(f"no {file.name} in {data_root}")
    table = read_running(file)
    assert table.values.shape == (1614, 9, 101)
    people = table.column("person")
    assert len(np.unique(people)) == 46
    runners = {
        level: len(np.unique(people[table.column("mileage") == level]))
        for level in ("higher", "lower", "")
    }
    assert runners == {"higher": 10, "lower": 13, "": 23}


def test_the_real_c3d_files_give_knees_that_bend_in_swing(data_root: Path) -> None:
    pytest.importorskip("ezc3d")
    file = data_root / "biomechzoo_c3d.zip"
    if not file.exists():
        pytest.skip(f"no {file.name} in {data_root}")
    table = read_c3d(file, note=lambda said: None)
    assert (len(table), len(np.unique(table.column("person")))) == (67, 12)
    knee = table.values[:, [c.name for c in table.channels].index("knee_sagittal")]
    peak = knee.argmax(axis=1)
    assert ((peak > 60) & (peak < 85)).all()
