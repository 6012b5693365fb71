"""Joint moments as targets and as outputs: what is left out, what is read off a memory, how it is judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from talaria_bridge.errors import ModelContractError, RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.features import channels
from talaria_edge.model import StreamingModel
from talaria_edge.spec import Intervals
from talaria_training.commands.kinetics import kinetics_app
from talaria_training.cores import CoreName
from talaria_training.kinetics import (
    export,
    force_files,
    moment_release,
    moment_scores,
    moment_study,
    moment_tables,
)
from talaria_training.kinetics.dynamics import JOINTS, MOMENTS
from talaria_training.kinetics.force_data import Walk
from talaria_training.kinetics.force_files import ForceProvenance
from talaria_training.kinetics.force_net import (
    CONTACT,
    FORCES,
    MATCHED,
    SPREAD,
    ForceConfig,
    ForceNet,
    force_outputs,
    train_forces,
)
from talaria_training.kinetics.moment_data import MomentWalk, without_the_impossible
from talaria_training.kinetics.moment_net import (
    COLUMNS,
    MOMENT,
    MomentConfig,
    MomentNet,
    moment_outputs,
    train_moments,
)
from talaria_training.kinetics.moment_study import MomentProtocol
from talaria_training.kinetics.targets import OUTPUTS
from talaria_training.train import TrainConfig
from talaria_training.trials import Trial

WIDTH = len(channels(LEG_SLOTS))
_TINY = TrainConfig(
    hidden=8, layers=1, steps=2, batch=4, window=64, warmup=8, dropout=0.0, absent=0.0, core="lstm"
)
_FORCES = ForceConfig(windows=_TINY)
_PERIOD, _LOADED = 120, 70


def _walk(trial: Trial) -> MomentWalk:
    """Half sines under both feet in turn; every moment goes with the load of its foot."""
    length = len(trial.features)
    force = np.zeros((length, 6), np.float32)
    moment = np.zeros((length, 6), np.float32)
    for foot in range(2):
        phase = (np.arange(length) + foot * _PERIOD // 2) % _PERIOD
        load = np.where(phase < _LOADED, np.sin(np.pi * (phase + 0.5) / _LOADED), 0.0)
        mine = slice(3 * foot, 3 * foot + 3)
        force[:, mine] = load[:, None] * [0.1, -0.05, 1.0]
        moment[:, mine] = load[:, None] * [-0.5, 0.4, -1.1]
    return MomentWalk(Walk(trial, force, 70.0), moment)


@pytest.fixture(scope="module")
def walks(trials: list[Trial]) -> list[MomentWalk]:
    return [_walk(trial).part(0.1, 0.4) for trial in trials]


def _random_net(core: CoreName) -> ForceNet:
    torch.manual_seed(1)
    return ForceNet(WIDTH, replace(_TINY, core=core, hidden=16, layers=2)).eval()


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    values = np.random.default_rng(5).standard_normal((150, WIDTH)).astype(np.float32)
    values[:, -4:] = 1.0
    return values


# Targets


def _stance(walk: MomentWalk, number: int) -> slice:
    """The right foot's stances that are whole."""
    down = walk.walk.force_bw[:, 2] > 0.015
    starts = np.flatnonzero(np.diff(down.astype(int)) == 1) + 1
    start = int(starts[number])
    return slice(start, start + int(np.argmin(down[start:])))


def test_moments_as_people_walk_are_all_kept(walks: list[MomentWalk]) -> None:
    kept, legs = without_the_impossible(walks[0].walk, walks[0].moment_nm_kg.astype(float))
    assert np.array_equal(kept, walks[0].moment_nm_kg)
    assert [leg.side for leg in legs] == ["r", "l"]
    assert {leg.left_out for leg in legs} == {0}
    assert legs[0].push_off_nm_kg == pytest.approx(1.1, abs=0.01)
    assert legs[0].hip_extension_nm_kg == pytest.approx(0.5, abs=0.01)
    assert legs[0].knee_flexion_nm_kg == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(
    ("joint", "factor"), [("ankle", 1.5), ("ankle", 0.4), ("knee", 3.0), ("knee", -3.0), ("hip", 3)]
)
def test_a_stance_whose_peak_cannot_be_is_left_out_with_all_its_joints_and_no_other(
    walks: list[MomentWalk], joint: str, factor: float
) -> None:
    moments = walks[0].moment_nm_kg.astype(float)
    column = ("hip", "knee", "ankle").index(joint)
    bad = _stance(walks[0], 1)
    moments[bad, column] *= factor
    kept, (right, left) = without_the_impossible(walks[0].walk, moments)
    assert np.isnan(kept[bad, :3]).all()
    kept[bad, :3] = moments[bad, :3]
    assert np.array_equal(kept, moments)
    assert (getattr(right, joint), right.left_out, left.left_out) == (1, 1, 0)


def test_a_leg_that_is_mostly_impossible_is_left_out_whole(walks: list[MomentWalk]) -> None:
    moments = walks[0].moment_nm_kg.astype(float)
    moments[_stance(walks[0], 2).start :, 3] *= 3.0  # the left hip's
    kept, (right, left) = without_the_impossible(walks[0].walk, moments)
    assert np.isnan(kept[:, 3:]).all()
    assert np.isfinite(kept[:, :3]).all()
    assert left.left_out == left.stances > left.hip > 0
    assert right.left_out == 0


# The network


@pytest.mark.parametrize("core", MATCHED)
def test_the_forces_are_bit_for_bit_those_of_the_force_network(
    core: CoreName, x: np.ndarray
) -> None:
    base = _random_net(core)
    y, said = moment_outputs(MomentNet(base).eval(), x), force_outputs(base, x)
    assert y.shape == (len(x), len(COLUMNS))
    assert np.array_equal(y[:, :6], said[:, FORCES])
    assert np.array_equal(y[:, 12:18], said[:, SPREAD])
    assert np.array_equal(y[:, 24:], said[:, CONTACT])


@pytest.mark.parametrize("core", MATCHED)
@torch.no_grad()
def test_odd_chunks_give_what_the_whole_gives(core: CoreName, x: np.ndarray) -> None:
    net = MomentNet(_random_net(core)).eval()
    whole = moment_outputs(net, x)
    given, state, streamed = torch.from_numpy(x)[None], net.start(), []
    edges = np.cumsum([0, 1, 7, 1, 13, 3, 29, 2, 31, 5, 58])
    assert edges[-1] == len(x)
    for a, b in pairwise(edges):
        y, state = net(given[:, a:b], state)
        streamed.append(y[0])
    assert np.abs(torch.cat(streamed).numpy() - whole).max() < 1e-5


def test_training_learns_moments_and_leaves_the_forces(walks: list[MomentWalk]) -> None:
    config = replace(_FORCES, windows=replace(_TINY, steps=25, lr=1e-2, warmup=16))
    base = train_forces([walk.walk for walk in walks], config)
    before = {name: value.clone() for name, value in base.state_dict().items()}
    net = train_moments(base, walks, MomentConfig(steps=50, batch=4, lr=2e-2))
    inside = {
        n.replace("memory.core.", "memory.", 1): v for n, v in net.forces.state_dict().items()
    }
    assert before.keys() == inside.keys()
    for name, value in before.items():
        assert torch.equal(value, base.state_dict()[name])
        assert torch.equal(value, inside[name])
    said = moment_outputs(net, walks[0].walk.trial.features)[200:, MOMENT]
    true = walks[0].moment_nm_kg[200:]
    assert np.abs(said - true).mean() < 0.7 * np.abs(true - true.mean(axis=0)).mean()


def test_moments_that_nobody_knows_teach_nothing(walks: list[MomentWalk]) -> None:
    base = _random_net("lstm")
    silent = MomentWalk(walks[1].walk, np.full_like(walks[1].moment_nm_kg, np.nan))
    with_it, without = (
        train_moments(base, some, MomentConfig(steps=2, batch=2)).state_dict()
        for some in ([walks[0], silent], [walks[0]])
    )
    assert all(torch.equal(value, without[name]) for name, value in with_it.items())
    with pytest.raises(ValueError, match="no moments"):
        train_moments(base, [silent], MomentConfig())


def test_one_unknown_sample_does_not_spoil_the_rest(walks: list[MomentWalk]) -> None:
    holes = walks[0].moment_nm_kg.copy()
    holes[::3, 2] = np.nan
    net = train_moments(
        _random_net("lstm"), [MomentWalk(walks[0].walk, holes)], MomentConfig(steps=3, batch=2)
    )
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())


# Files

ABOUT = ForceProvenance(
    "tiny-moments",
    "nobody",
    ("Sim11",),
    100.0,
    Intervals(level=0.9, factor=dict.fromkeys((*OUTPUTS, *MOMENTS), 2.0), protocol="made up"),
    (("anterior", 1.5), ("lateral", 1.0), ("vertical", 3.5)),
    (("hip_flexion", 0.2), ("knee_angle", 0.15), ("ankle_angle", 0.1)),
)


@pytest.fixture(scope="module", params=["lstm"])
def released(
    request: pytest.FixtureRequest, x: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> tuple[MomentNet, Path]:
    net = MomentNet(_random_net(request.param)).eval()
    folder = tmp_path_factory.mktemp("moments") / "tiny"
    moment_release.release_moments(net, ABOUT, folder, [x])
    return net, folder


def test_the_runtime_streams_forces_and_moments_as_torch_gives_them(
    released: tuple[MomentNet, Path], x: np.ndarray
) -> None:
    net, folder = released
    model = StreamingModel.load(folder, slots=LEG_SLOTS, rate_hz=100.0, gives="forces")
    streamed = np.array([model.step(row) for row in x])
    assert np.abs(streamed - moment_outputs(net, x)).max() < 1e-4
    spec = model.spec
    assert tuple(output.name for output in spec.outputs) == (*OUTPUTS, *MOMENTS)
    assert [output.unit for output in spec.outputs] == ["BW"] * 6 + ["N m/kg"] * 6
    assert (spec.columns("spread"), spec.columns("contact")) == (slice(12, 24), slice(24, 26))
    assert spec.held_out is not None
    assert spec.held_out.mae["ankle_angle_moment_l"] == 0.1
    assert spec.held_out.mae["grf_vertical_l"] == pytest.approx(0.035)


def test_a_card_says_in_what_unit_and_by_what_reference(released: tuple[MomentNet, Path]) -> None:
    card = (released[1] / "card.md").read_text()
    assert "| grf_vertical_r | up + | 3.50 % BW |" in card
    assert "| hip_flexion_moment_l | flexion + | 0.20 N m/kg |" in card
    assert "moments that nobody measured" in card


def test_weights_come_back_the_same_and_are_no_plain_force_network(
    released: tuple[MomentNet, Path],
) -> None:
    net, folder = released
    again, _ = moment_release.load_moments(folder)
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    with pytest.raises(ModelContractError, match="no force network"):
        export.load_forces(folder)


def _report(path: Path, of: str, error: str, output: str, level: float = 0.9) -> Path:
    entry = {"approach": "lstm", "condition": "all", of: "one", error: 0.25}
    found = {
        "summary": [entry, entry | {"condition": "walking", error: 9.0}],
        "intervals": [{"approach": "lstm", "output": output, "factor": 2.5, "level": level}],
        "people": ["A", "B", "C"],
    }
    path.write_text(json.dumps(found))
    return path


def test_what_is_known_of_moments_joins_what_is_known_of_forces(tmp_path: Path) -> None:
    plain = ForceProvenance("m", "nobody", (), 100.0)
    forces = _report(tmp_path / "f.json", "axis", "mae_bw_pct", "grf_vertical_r")
    moments = _report(tmp_path / "m.json", "joint", "mae_nm_kg", "knee_angle_moment_r")
    both = force_files.moments_known_of(
        moments, "lstm", force_files.known_of(forces, "lstm", plain)
    )
    assert both.intervals is not None
    assert both.intervals.factor == {"grf_vertical_r": 2.5, "knee_angle_moment_r": 2.5}
    assert both.held_out_nm_kg == (("one", 0.25),)
    assert both.held_out_bw_pct == (("one", 0.25),)
    with pytest.raises(RecordingError, match="kinetics moments --core lstm"):
        force_files.moments_known_of(forces, "lstm", plain)
    other = _report(tmp_path / "o.json", "joint", "mae_nm_kg", "knee_angle_moment_r", 0.8)
    with pytest.raises(RecordingError, match="80% intervals"):
        force_files.moments_known_of(other, "lstm", both)


# Scores


def _rows(walk: MomentWalk, said: np.ndarray) -> dict[str, moment_scores.MomentRow]:
    rows = moment_scores.score_moments("x", 0, [walk], [said])
    return {row.joint: row for row in rows if row.condition == "all"}


def test_the_truth_scores_nought(walks: list[MomentWalk]) -> None:
    rows = _rows(walks[0], walks[0].moment_nm_kg)
    assert set(rows) == {*JOINTS, "pooled"}
    for row in rows.values():
        assert (row.rmse_nm_kg, row.mae_nm_kg, row.r2) == (0.0, 0.0, 1.0)
    assert rows["hip_flexion"].highest_nm_kg == rows["hip_flexion"].lowest_nm_kg == 0.0


def test_errors_are_per_joint_over_the_last_three_fifths(walks: list[MomentWalk]) -> None:
    said = walks[0].moment_nm_kg.copy()
    said[:, [0, 3]] += 0.1
    said[: round(0.4 * len(said))] = 9.0  # where nothing is judged
    rows = _rows(walks[0], said)
    assert rows["hip_flexion"].mae_nm_kg == pytest.approx(0.1, abs=1e-6)
    assert rows["knee_angle"].mae_nm_kg == 0.0
    assert rows["hip_flexion"].lowest_nm_kg == pytest.approx(0.1, abs=1e-5)


def test_a_level_that_is_off_costs_nothing_levelled(walks: list[MomentWalk]) -> None:
    row = _rows(walks[0], walks[0].moment_nm_kg + np.float32(0.2))["ankle_angle"]
    assert row.rmse_nm_kg == pytest.approx(0.2, abs=1e-5)
    assert row.level_rmse_nm_kg == pytest.approx(0.0, abs=1e-5)


def test_pooling_about_one_mean_inflates_what_is_explained(walks: list[MomentWalk]) -> None:
    mean = np.nanmean(walks[0].moment_nm_kg.reshape(-1, 3), axis=0)
    rows = _rows(walks[0], np.tile(mean, (len(walks[0].moment_nm_kg), 2)).astype(np.float32))
    assert max(rows[joint].r2 or 0.0 for joint in JOINTS) < 0.05
    assert rows["pooled"].r2 is not None
    assert rows["pooled"].r2 > 0.2


def test_what_was_left_out_is_not_judged(walks: list[MomentWalk]) -> None:
    holes = walks[0].moment_nm_kg.copy()
    holes[1200:1400] = np.nan
    said = walks[0].moment_nm_kg.copy()
    said[1200:1400] += 5.0
    assert _rows(MomentWalk(walks[0].walk, holes), said)["pooled"].rmse_nm_kg == 0.0


# The study


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> MomentProtocol:
    def small(config: ForceConfig, core: Any, seed: int) -> ForceConfig:
        return replace(config, windows=replace(config.windows, core=core, seed=seed))

    monkeypatch.setattr(moment_study, "with_core", small)
    return MomentProtocol(forces=_FORCES, moments=MomentConfig(steps=2, batch=2))


def test_a_study_judges_everybody_beside_the_mean_curve_and_is_kept(
    new_engine: Callable[[], Any], walks: list[MomentWalk], tiny: MomentProtocol
) -> None:
    engine = new_engine()
    found = moment_study.study(walks, tiny, engine)
    assert len(engine.ran) == 4
    assert {(r.approach, r.person) for r in found.rows} == {
        (approach, person) for approach in ("mean_curve", "lstm") for person in ("Sim11", "Sim12")
    }
    assert len(found.evidence) == 2 * len(MOMENTS)
    _, legs = without_the_impossible(walks[0].walk, walks[0].moment_nm_kg.astype(float))
    document = json.loads(json.dumps(moment_study.document(found, legs, tiny)))
    console = Console(record=True, width=200)
    console.print(*moment_tables.tables(document))
    shown = console.export_text()
    assert "ankle_angle" in shown
    assert "stances left out" in shown
    again = new_engine()
    moment_study.study(walks, tiny, again)
    assert again.ran == []


def test_nothing_is_learned_from_the_person_held_out(
    walks: list[MomentWalk], tiny: MomentProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    for name in ("train_forces", "train_moments", "mean_moment"):
        true = getattr(moment_study, name)

        def watched(*given: Any, _true: Any = true) -> Any:
            lists = [value for value in given if isinstance(value, list)]
            seen.append({walk.person for walk in lists[0]})
            return _true(*given)

        monkeypatch.setattr(moment_study, name, watched)
    moment_study.fold("Sim11", tiny.forces, tiny.moments, walks=walks)
    moment_study.baseline("Sim11", walks=walks)
    assert seen == [{"Sim12"}] * 3


def test_the_mean_curve_of_the_others_fits_who_walks_like_them(walks: list[MomentWalk]) -> None:
    rows = moment_study.baseline("Sim11", walks=walks).rows
    assert max(row.mae_nm_kg for row in rows) < 0.01


def test_intervals_are_said_in_the_moments_own_unit(walks: list[MomentWalk]) -> None:
    true = walks[0].moment_nm_kg
    said, spread = true + np.float32(0.2), np.full_like(true, np.log(0.1))
    (one, *_) = moment_scores.moment_evidence("lstm", 0, walks[:1], [said], [spread])
    three = [replace(one, person=person) for person in "ABC"]
    found = moment_study.Found([], three)
    (row,) = moment_study.document(found, [], MomentProtocol())["intervals"]
    assert row["half_width_nm_kg"] == pytest.approx(0.2, rel=1e-4)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["moments", "--core", "gru,lstm"], "--core gru,lstm names 2 cores"),
        (["moments", "--seeds", "0"], "--seeds 0"),
        (["train", "--out", "x", "--moments-evaluated", "r.json"], "add --moments"),
    ],
)
def test_the_commands_refuse_what_they_cannot_do(
    given: list[str], said: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(kinetics_app, [*given, "--data", str(tmp_path)])
    assert said in str(result.exception)


def test_one_person_alone_cannot_be_held_out(
    new_engine: Callable[[], Any], walks: list[MomentWalk], tiny: MomentProtocol
) -> None:
    with pytest.raises(RecordingError, match="at least two"):
        moment_study.study(walks[:1], tiny, new_engine())
