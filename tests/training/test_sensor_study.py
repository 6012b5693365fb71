"""Sets of sensors: what each sees, who is left out, and what is said of the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from talaria_bridge.errors import ConfigError, RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk, simulate_walk
from talaria_edge.features import channels
from talaria_edge.kinematics import ANGLES, CHAIN_SLOTS
from talaria_training import sensor_chain, sensor_study, sensor_tables, trials
from talaria_training.commands import app
from talaria_training.data.recording import Recording
from talaria_training.hur2025 import HurSettings, Passes
from talaria_training.scoring import Row
from talaria_training.sensor_chain import Walk, feature_columns, mirrored
from talaria_training.sensor_sets import Schedule, SensorSet, StudySettings, every_set, pairs_of
from talaria_training.trials import Trial, calibrate_recording, stream_features

QUICK = Schedule(2, 2, 1e-3, 1.0, 0.0)
TINY = StudySettings(
    sets=(SensorSet("F_C", "both"),),
    published=(SensorSet("C", "right"),),
    hidden=8,
    window=64,
    warmup=8,
    base=QUICK,
    tune=QUICK,
    single=QUICK,
    hur=HurSettings(lstm=Passes(1, 1, 1), single=Passes(1, 1, 1), tune=Passes(1, 1, 1), batch=32),
)


JOINTS = ("hip_flexion", "knee_angle", "ankle_angle")


def walk(person: str, seed: int, seconds: float = 9.0) -> Walk:
    random = np.random.default_rng(seed)
    n = round(100 * seconds)
    phase = 2 * np.pi * np.arange(n)[:, None] / 110
    motion = np.sin(phase + np.arange(63)) + 0.05 * random.standard_normal((n, 63))
    features = np.concatenate([motion, np.ones((n, 7))], axis=1).astype(np.float32)
    angles = 0.4 * np.sin(phase + 0.5 * np.arange(len(ANGLES)) + 0.1 * seed)
    return Walk(
        person,
        f"{person}/walk",
        "full_chain",
        features,
        motion.astype(np.float32),
        angles.astype(np.float32),
    )


@pytest.fixture(scope="module")
def walks() -> list[Walk]:
    return [walk(person, seed) for seed, person in enumerate("ABCD")]


@pytest.fixture(scope="module")
def simulated() -> SimulatedWalk:
    return simulate_walk(seed=5, seconds=18.0, slots=CHAIN_SLOTS)


@pytest.fixture(scope="module")
def chain(simulated: SimulatedWalk) -> Recording:
    s = simulated
    return Recording(
        "Sim5",
        "walk",
        "Sim5/walk",
        s.rate_hz,
        s.t_s,
        CHAIN_SLOTS,
        s.acc_ms2,
        s.gyr_rads,
        dict(s.q_world_sensor),
        angles_rad=dict(s.angles_rad),
    )


def test_sets_are_every_combination_on_both_legs_and_on_one() -> None:
    sets = every_set()
    assert len(sets) == len(set(sets)) == 29
    assert len({frozenset(s.slots) for s in sets}) == 29
    assert SensorSet("F_C", "both").slots == LEG_SLOTS
    assert SensorSet("P_T", "right").slots == ("pelvis", "tibia_r")
    assert SensorSet("P_T_F_C", "both").slots == CHAIN_SLOTS


def test_neighbours_are_left_out_together_and_an_odd_one_alone() -> None:
    assert pairs_of(["D", "B", "A", "C", "A", "E"]) == [("A", "B"), ("C", "D"), ("E",)]
    with pytest.raises(RecordingError, match="takes four of them, and there are 3"):
        pairs_of(["A", "B", "C"])


@pytest.mark.parametrize("name", ["F_C", "C", "P_T", "P_T_F_C"])
def test_a_set_sees_its_own_channels_in_the_runtimes_order(name: str) -> None:
    slots = SensorSet(name, "both").slots
    whole = [channel.name for channel in channels(CHAIN_SLOTS)]
    assert [whole[i] for i in feature_columns(slots)] == [c.name for c in channels(slots)]


def test_every_segment_is_calibrated_as_it_is_worn(
    simulated: SimulatedWalk, chain: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor_chain, "CALIBRATION_PART", 0.8)
    found = sensor_chain.calibrate_chain(chain)
    assert found is not None
    assert set(found.slots) == set(CHAIN_SLOTS)
    standing = slice(20, 60)
    for slot, row in found.slots.items():
        sensor = Rotation.from_quat(simulated.q_world_sensor[slot][standing], scalar_first=True)
        bone = Rotation.from_quat(simulated.q_world_segment[slot][standing], scalar_first=True)
        true = (bone.inv() * sensor).mean().as_matrix()
        off = Rotation.from_matrix(row.r_segment_sensor @ true.T).magnitude()
        assert np.degrees(off) < 20.0, slot  # a turned or flipped axis would be off by 90° or more


@pytest.fixture
def labelled(chain: Recording, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """The short walk's angles, and leave to calibrate from most of it."""
    for module in (sensor_chain, trials):
        monkeypatch.setattr(module, "CALIBRATION_PART", 0.8)
    calibration = calibrate_recording(chain)
    assert calibration is not None
    nothing = np.full((len(chain.t_s), 2), np.nan, np.float32)
    angles = np.stack([(chain.angles_rad or {})[name] for name in ANGLES], axis=1)
    return Trial(
        person=chain.person,
        condition=chain.condition,
        name=chain.name,
        rate_hz=chain.rate_hz,
        features=stream_features(chain, calibration),
        angles_rad=angles.astype(np.float32),
        reference="given",
        calibration=calibration,
        contact=nothing,
        cycle=nothing,
    )


def test_features_are_nearly_the_runtimes_own_and_come_from_the_cache_the_second_time(
    chain: Recording, labelled: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = sensor_chain.walks_of([chain], [labelled])
    assert one.reference == "given"
    assert np.array_equal(one.angles_rad, labelled.angles_rad)
    mine = one.features[:, feature_columns(LEG_SLOTS)]
    # More sensors judge what is still, so the calibration may rest on another half second.
    for kind, allowed in ((slice(3, 6), 0.5), (slice(6, 9), 0.1)):
        off = np.concatenate(
            [(mine - labelled.features)[300:, 9 * slot :][:, kind] for slot in range(4)]
        )
        assert np.sqrt(np.mean(off**2)) < allowed
    monkeypatch.setattr(sensor_chain, "calibrate_chain", lambda _: 1 / 0)
    (again,) = sensor_chain.walks_of([chain], [labelled])
    assert np.array_equal(one.features, again.features)


def test_the_mirror_image_swaps_legs_and_turns_the_pelvis(walks: list[Walk]) -> None:
    one, other = walks[0], mirrored(walks[0])
    right, left = (feature_columns((f"tibia_{side}",)) for side in "rl")
    assert np.array_equal(other.features[:, right], one.features[:, left])
    pelvis = feature_columns(("pelvis",))[:9]
    sign = [1, 1, -1, -1, -1, 1, 1, 1, -1]  # force and up are vectors, a rate is a rotation
    assert np.array_equal(other.features[:, pelvis], one.features[:, pelvis] * sign)
    knees = [ANGLES.index(f"knee_angle_{side}") for side in "rl"]
    assert np.array_equal(other.angles_rad[:, knees], one.angles_rad[:, knees[::-1]])
    assert np.array_equal(mirrored(other).features, one.features)
    assert np.array_equal(mirrored(other).angles_rad, one.angles_rad)


def test_nothing_of_those_left_out_reaches_the_base(
    walks: list[Walk], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    real = sensor_study._fit

    def spy(net: Any, given: Sequence[Walk], *rest: Any) -> Any:
        seen.append({w.person for w in given})
        return real(net, given, *rest)

    monkeypatch.setattr(sensor_study, "_fit", spy)
    sensor_study.ours(SensorSet("C", "both"), ("A", "B"), walks, TINY)
    assert seen == [{"C", "D"}, {"A"}, {"A"}, {"B"}, {"B"}]


def test_test_labels_move_the_error_and_nothing_else(walks: list[Walk]) -> None:
    angles = walks[0].angles_rad.copy()
    angles[round(0.4 * len(angles)) :] += 1.0
    broken = [replace(walks[0], angles_rad=angles), *walks[1:]]
    for run, sensors in (
        (sensor_study.ours, SensorSet("F_C", "both")),
        (sensor_study.published, SensorSet("C", "right")),
    ):
        honest = run(sensors, ("A", "B"), walks, TINY)
        moved = run(sensors, ("A", "B"), broken, TINY)
        for a, b in zip(honest, moved, strict=True):
            assert a.rmse_offset_removed_deg == pytest.approx(b.rmse_offset_removed_deg, rel=1e-3)
            assert (a.rmse_deg == b.rmse_deg) == (a.person != "A")


def test_a_set_is_blind_to_sensors_it_lacks(walks: list[Walk]) -> None:
    def without(one: Walk, slots: Sequence[str]) -> Walk:
        features, device = one.features.copy(), one.device.copy()
        features[:, feature_columns(slots)] = 7.0
        device[:, sensor_chain.device_columns(slots)] = 7.0
        return replace(one, features=features, device=device)

    sensors = SensorSet("F_C", "both")
    spoiled = [without(one, ("pelvis", "tibia_r", "tibia_l")) for one in walks]
    seen = [without(one, ("calcn_l",)) for one in walks]
    for run in (sensor_study.ours, sensor_study.published):
        honest = run(sensors, ("A", "B"), walks, TINY)
        assert run(sensors, ("A", "B"), spoiled, TINY) == honest
        assert run(sensors, ("A", "B"), seen, TINY) != honest


def test_the_study_learns_from_what_it_sees(walks: list[Walk]) -> None:
    settings = replace(TINY, single=Schedule(60, 8, 1e-2, 0.0, 0.0))
    few, many = (
        [
            r.rmse_deg
            for r in sensor_study.ours(SensorSet("F_C", "both"), ("A",), walks, one)
            if r.approach == "single_user"
        ]
        for one in (TINY, settings)
    )
    assert np.mean(many) < 0.5 * np.mean(few)


def test_finished_cells_are_kept_and_repeat_exactly(
    new_engine: Callable[[], Any],
    walks: list[Walk],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = new_engine()
    document = sensor_study.study(walks, TINY, first)
    assert len(first.ran) == 2 * 2  # one set and a published one, two pairs of people
    assert document["left_out"] == [("A", "B"), ("C", "D")]
    again = new_engine()
    assert sensor_study.study(walks, TINY, again)["summary"] == document["summary"]
    assert again.ran == []
    more = new_engine()
    sensor_study.study(walks, replace(TINY, sets=(*TINY.sets, SensorSet("T", "both"))), more)
    assert more.ran == ["ours/T/both/A+B", "ours/T/both/C+D"]
    monkeypatch.setenv("TALARIA_CACHE", str(tmp_path / "elsewhere"))
    torch.manual_seed(99)
    afresh = sensor_study.study(walks, replace(TINY, published=()), new_engine())["summary"]
    assert afresh == [e for e in document["summary"] if e["network"] == "ours"]


def row(person: str, joint: str, error: float) -> dict[str, Any]:
    return asdict(Row("multi_user", "full_chain", person, joint, error, error / 2, 0.9))


def test_the_summary_is_the_mean_over_people_leg_by_leg() -> None:
    errors = {("A", "r"): 1.0, ("A", "l"): 2.0, ("B", "r"): 3.0, ("B", "l"): 6.0}
    cells = [
        {
            "set": "C",
            "legs": "right",
            "network": "ours",
            "rows": [
                row(p, f"{joint}_{side}", errors[p, side]) for side in "rl" for joint in JOINTS
            ],
        }
        for p in "AB"
    ]
    (entry,) = sensor_tables.summarise(cells)
    assert (entry["set"], entry["approach"], entry["people"]) == ("C", "multi_user", 2)
    assert entry["right"]["knee_angle"] == pytest.approx(2.0)
    assert entry["left"]["sagittal"] == pytest.approx(4.0)
    assert entry["all"]["sagittal"] == pytest.approx(3.0)
    assert entry["all"]["sagittal_sd"] == pytest.approx(np.std([1.5, 4.5], ddof=1))
    assert entry["all"]["offset_removed"] == pytest.approx(1.5)


def entry(name: str, legs: str, error: float) -> list[dict[str, Any]]:
    leg = {
        "hip_flexion": error,
        "knee_angle": error,
        "ankle_angle": error,
        "sagittal": error,
        "sagittal_sd": 0.1,
        "offset_removed": error,
    }
    return [
        {
            "set": name,
            "legs": legs,
            "network": "ours",
            "approach": approach,
            "people": 8,
            "right": leg,
            "left": {**leg, "sagittal": error + 1},
            "all": leg,
        }
        for approach in ("single_user", "multi_user", "fine_tuned")
    ]


def test_the_verdict_names_the_best_pair_and_the_cost_of_less() -> None:
    both = [("F_C", 3.0), ("T_C", 2.5), ("P_C", 5.0), ("C", 4.0), ("F", 4.5)]
    right = [("F_C", 3.2), ("C", 4.2)]
    summary = [e for name, error in both for e in entry(name, "both", error)]
    summary += [e for name, error in right for e in entry(name, "right", error)]
    lines = sensor_tables.verdict(summary)
    assert len(lines) == 6
    assert "thigh + foot is number 2 of 3 pairs" in lines[0]
    assert "T_C is best with 2.50°" in lines[0]
    assert "3.20° on that leg and 4.20° on the other, against 3.00°" in lines[3]
    assert "C on both legs, gives 4.00°" in lines[3]
    assert "C, 4.20° on the right leg and 5.20° on the left" in lines[3]
    best = sensor_tables.verdict([e for e in summary if e["set"] != "T_C"])
    assert "thigh + foot is the best of 2 pairs" in best[0]
    assert sensor_tables.verdict(entry("C", "both", 1.0)) == []


def test_table_and_picture_hold_every_set(tmp_path: Path) -> None:
    summary = [*entry("F_C", "both", 3.0), *entry("C", "right", 4.0), *entry("F", "right", 5.0)]
    both, right = sensor_tables.tables(summary)
    assert both.row_count == 1
    assert right.row_count == 4  # two sets, each with its own leg and the other
    file = tmp_path / "deep" / "sensors.png"
    sensor_tables.plot(summary, file)
    assert file.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match=r"\.xyz could not be written"):
        sensor_tables.plot(summary, tmp_path / "sensors.xyz")


def test_a_strange_set_is_refused_in_one_sentence() -> None:
    assert {s.name for s in StudySettings().only(["F_C", "C"]).sets} == {"F_C", "C"}
    with pytest.raises(ConfigError, match="at 'C_F'"):
        StudySettings().only(["C_F"])


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--sets", "C_F", "names no set"), ("--engine", "abacus", "abacus is unknown")],
)
def test_a_wrong_option_is_told_before_anything_is_read(
    tmp_path: Path, option: str, value: str, said: str
) -> None:
    arguments = ["sensors", "--data", str(tmp_path / "nowhere"), option, value]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)
