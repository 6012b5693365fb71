"""A personal model is handed out only if it is surely better, and can be taken back."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from talaria_bridge.errors import ModelContractError, RecordingError, TalariaError
from talaria_bridge.link import Chunk
from talaria_bridge.recorder import SessionLogWriter
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk, random_params, simulate_walk
from talaria_bridge.virtual import schedule_frames
from talaria_edge.app import record_session
from talaria_edge.config import Config
from talaria_edge.kinematics import ANGLES, CHAIN_SLOTS
from talaria_edge.sinks.opensim import MotWriter
from talaria_training import artefacts, gate_study, shelf, spoil
from talaria_training.believe import Belief, believe
from talaria_training.commands import app
from talaria_training.gate import GateParams, compare_on, sign_flip_p
from talaria_training.held_strides import Division, Kept, Stride, divide, strides_of
from talaria_training.intervals import PERSONAL_FILE
from talaria_training.networks import GaitNet
from talaria_training.personal import Options, Outcome, personalise
from talaria_training.train import FINETUNE, MULTI_USER, predict, train
from talaria_training.trials import Trial

pytestmark = pytest.mark.filterwarnings("ignore:dropout option adds dropout")  # one layer has none

SMALL = replace(
    MULTI_USER, hidden=12, layers=1, dropout=0.0, steps=200, batch=8, window=128, absent=0.0
)
QUICK = replace(FINETUNE, steps=40, batch=8, window=96, dropout=0.0, watch_every=10, absent=0.0)


@pytest.fixture(scope="module")
def base(trials: list[Trial]) -> GaitNet:
    """Knows the first simulated person only."""
    return train(trials[:1], SMALL)


@pytest.fixture(scope="module")
def wearer(trials: list[Trial]) -> Trial:
    """The second one, from the first step on."""
    return trials[1].part(0.05, 0.55)


def other_labels(trial: Trial, angles_rad: np.ndarray) -> Trial:
    return replace(trial, angles_rad=angles_rad.astype(np.float32))


def rmse_deg(net: GaitNet, trial: Trial) -> float:
    off = np.degrees(predict(net, trial.features) - trial.angles_rad)[200:, :6]
    return float(np.sqrt(np.mean(off**2)))


def mean_deg(net: GaitNet, trial: Trial) -> np.ndarray:
    off = np.degrees(predict(net, trial.features) - trial.angles_rad)[200:, :6]
    return np.asarray(off.mean(axis=0))


@pytest.fixture(scope="module")
def first(base: GaitNet, wearer: Trial) -> Outcome:
    return personalise(base, [wearer], QUICK, Options(trust_zero=True))


# Dividing


def test_nothing_decides_that_was_learned_from_or_stopped_by(base: GaitNet, wearer: Trial) -> None:
    found = divide([wearer], base)
    (learn,), (stop,), (decide,) = found.learn, found.stop, found.decide
    assert len(learn.features) <= stop.rows.start - 50
    assert stop.rows.stop <= decide.rows.start - 50
    assert decide.rows.stop <= len(wearer.features)
    np.testing.assert_array_equal(learn.features, wearer.features[: len(learn.features)])


def test_the_last_fifth_decides_and_never_less_than_four_strides(
    base: GaitNet, wearer: Trial
) -> None:
    for share, least in ((1.0, 5), (0.5, 4)):
        part = wearer.part(0.0, share)
        strides = strides_of(part, base)
        (decide,) = divide([part], base).decide
        of_a_leg = max(sum(s.side == side for s in decide.strides) for side in "rl")
        assert least <= of_a_leg <= max(4, len(strides) // 10 + 1)
        assert decide.rows.stop > strides[-1].start


def test_a_budget_shortens_what_is_learned_from_and_nothing_else(
    base: GaitNet, wearer: Trial
) -> None:
    whole = divide([wearer], base)
    by_time, by_strides = divide([wearer], base, seconds=8.0), divide([wearer], base, strides=5)
    assert by_time.learn_s == pytest.approx(8.0)
    assert by_strides.learn_strides == 5
    assert by_time.decide == by_strides.decide == whole.decide


def test_too_few_strides_are_refused_in_one_sentence(base: GaitNet, wearer: Trial) -> None:
    with pytest.raises(RecordingError, match="label a longer walk"):
        divide([wearer.part(0.2, 0.28)], base)


def test_unlabelled_strides_count_for_nothing(base: GaitNet, wearer: Trial) -> None:
    blind = wearer.angles_rad.copy()
    blind[: len(blind) // 2] = np.nan
    found = strides_of(other_labels(wearer, blind), base)
    assert min(s.start for s in found) > 0.45 * len(blind)


def test_blocks_of_two_seconds_stand_in_where_no_contact_is_known(
    base: GaitNet, wearer: Trial
) -> None:
    mute = base.twin(0.0)
    with torch.no_grad():
        mute.heads.weight.zero_()
        mute.heads.bias.zero_()
    found = strides_of(replace(wearer, contacts=()), mute.eval())
    assert {s.side for s in found} == {""}
    assert all(s.stop - s.start == 200 for s in found)


# Believing


def doubts(trial: Trial, base: GaitNet, angles_rad: np.ndarray) -> Belief:
    return believe([other_labels(trial, angles_rad)], base)


def test_sound_labels_are_believed(base: GaitNet, wearer: Trial) -> None:
    found = believe([wearer], base)
    assert found.believed, found.fault
    assert {c.name for c in found.checks} >= {"foot_r", "thigh_r", "knee_r", "noise_deg"}


@pytest.mark.parametrize("late_ms", [-300, -30, 30, 300])
def test_late_labels_are_refused(base: GaitNet, wearer: Trial, late_ms: int) -> None:
    found = doubts(wearer, base, np.roll(wearer.angles_rad, late_ms // 10, axis=0))
    assert not found.believed
    if abs(late_ms) < 100:
        assert "late or early" in found.fault


def test_swapped_sides_are_named(base: GaitNet, wearer: Trial) -> None:
    found = doubts(wearer, base, spoil.swapped(wearer.angles_rad, 100.0, _random()).angles_rad)
    assert "left and right" in found.fault


def test_a_turned_sign_is_named(base: GaitNet, wearer: Trial) -> None:
    assert "the other way round" in doubts(wearer, base, -wearer.angles_rad).fault


def test_radians_taken_for_degrees_are_named(base: GaitNet, wearer: Trial) -> None:
    assert "unit" in doubts(wearer, base, np.radians(wearer.angles_rad)).fault
    assert "unit" in doubts(wearer, base, np.degrees(wearer.angles_rad)).fault


def test_a_standstill_in_part_of_the_labels_is_found(base: GaitNet, wearer: Trial) -> None:
    angles = wearer.angles_rad.copy()
    angles[2000:2040, ANGLES.index("knee_angle_r")] = angles[2000, ANGLES.index("knee_angle_r")]
    assert "stands still" in doubts(wearer, base, angles).fault


def test_drift_and_noise_are_found(base: GaitNet, wearer: Trial) -> None:
    ramp = np.linspace(0.0, np.radians(20.0), len(wearer.angles_rad))[:, None]
    wandering = wearer.angles_rad.copy()
    wandering[:, 1] += ramp[:, 0]
    assert not doubts(wearer, base, wandering).believed
    noise = np.radians(3.0) * _random().standard_normal(wearer.angles_rad.shape)
    assert not doubts(wearer, base, wearer.angles_rad + noise).believed


def test_another_persons_labels_are_refused(
    base: GaitNet, wearer: Trial, trials: list[Trial]
) -> None:
    theirs = trials[0].angles_rad[500 : 500 + len(wearer.angles_rad)]
    n = len(theirs)
    mine = replace(wearer.part(0.0, n / len(wearer.angles_rad)), angles_rad=theirs)
    assert not believe([mine], base).believed


def test_labels_without_hip_or_knee_cannot_be_vouched_for(base: GaitNet, wearer: Trial) -> None:
    ankles = wearer.angles_rad.copy()
    ankles[:, [i for i, name in enumerate(ANGLES) if not name.startswith("ankle")]] = np.nan
    assert "vouch" in doubts(wearer, base, ankles).fault


def _random() -> np.random.Generator:
    return np.random.default_rng(3)


# Deciding


def test_a_better_model_is_handed_out_and_is_better_on_strides_nobody_saw(
    base: GaitNet, first: Outcome, trials: list[Trial]
) -> None:
    assert first.shipped, first.decision
    assert first.net is not None
    later = trials[1].part(0.6, 1.0)
    assert rmse_deg(first.net, later) < rmse_deg(base, later)


def test_labels_that_cannot_be_believed_train_nothing(base: GaitNet, wearer: Trial) -> None:
    late = other_labels(wearer, np.roll(wearer.angles_rad, 20, axis=0))
    found = personalise(base, [late], QUICK)
    assert not found.shipped
    assert found.net is None
    assert "base model stays" in found.decision


def test_a_worse_model_is_not_handed_out(base: GaitNet, wearer: Trial) -> None:
    # So large a step ruins the weights.
    found = personalise(base, [wearer], replace(QUICK, lr=3.0, steps=20))
    assert not found.shipped
    assert found.net is not None
    assert "The base model stays" in found.decision


def test_the_previous_personal_model_must_be_beaten_too(
    base: GaitNet, wearer: Trial, first: Outcome
) -> None:
    again = personalise(base, [wearer], QUICK, Options(trust_zero=True), previous=first.net)
    assert [r.name for r in again.rivals] == ["base", "previous"]
    assert not again.shipped
    assert "previous personal model stays" in again.decision


def test_a_zero_that_nobody_can_vouch_for_is_not_learned(base: GaitNet, wearer: Trial) -> None:
    slipped = wearer.angles_rad.copy()
    slipped[:, [ANGLES.index("knee_angle_r"), ANGLES.index("ankle_angle_r")]] += np.radians(12.0)
    labels = other_labels(wearer, slipped)
    kept = personalise(base, [labels], QUICK)
    taken = personalise(base, [labels], QUICK, Options(trust_zero=True))
    assert (kept.zero, taken.zero) == ("base", "labels")
    assert kept.net is not None
    assert taken.net is not None
    zeros = [mean_deg(net, wearer) for net in (base, kept.net, taken.net)]
    assert np.abs(zeros[1] - zeros[0]).max() < 2.5
    assert np.abs(zeros[2] - zeros[0]).max() > 6.0
    assert abs(kept.zero_off_deg["knee_angle_r"]) > 5.0


def test_labels_of_the_full_chain_bring_their_zero(base: GaitNet, wearer: Trial) -> None:
    found = personalise(base, [replace(wearer, reference="full_chain")], replace(QUICK, steps=5))
    assert found.zero == "labels"


def test_training_stops_early_and_keeps_the_best_weights(base: GaitNet, wearer: Trial) -> None:
    patience = Options(gate=GateParams(patience=1))
    found = personalise(base, [wearer], replace(QUICK, steps=400, lr=2e-2), patience)
    errors = dict(found.curve)
    assert found.kept_steps == min(errors, key=lambda step: errors[step])
    assert max(errors) < 400
    (stop,), net = found.division.stop, found.net
    assert net is not None
    off = np.degrees(predict(net, stop.trial.features) - stop.trial.angles_rad)
    rows = [off[s.start : s.stop, [ANGLES.index(j) for j in s.joints]] for s in stop.strides]
    error = np.mean([np.sqrt((r**2).mean(axis=0)).mean() for r in rows])
    assert error == pytest.approx(errors[found.kept_steps], abs=0.1)


def kept_of(like: Trial, count: int) -> Kept:
    rows = np.zeros((count * 100, len(ANGLES)), np.float32)
    trial = replace(like, features=rows, angles_rad=rows)
    return Kept(trial, tuple(Stride("r", 100 * k, 100 * k + 100) for k in range(count)))


def off_by(kept: Kept, deg: float | np.ndarray) -> np.ndarray:
    off = np.zeros_like(kept.trial.angles_rad)
    off[:] = np.radians(deg)
    return off


def test_three_strides_cannot_be_significant_and_five_can(wearer: Trial) -> None:
    assert sign_flip_p(np.full(3, -1.0)) == pytest.approx(1 / 8)
    assert sign_flip_p(np.full(5, -1.0)) == pytest.approx(1 / 32)
    assert sign_flip_p(np.full(40, -1.0)) < 1e-3
    assert sign_flip_p(np.array([-1.0, 1.0] * 10)) > 0.4
    for count, beaten in ((3, False), (5, True)):
        kept = kept_of(wearer, count)
        rival = compare_on([kept], [off_by(kept, 1.0)], [off_by(kept, 2.0)], "base", GateParams())
        assert rival.beaten is beaten


def test_a_small_gain_is_no_gain_where_nothing_vouches_for_the_zero(
    wearer: Trial, base: GaitNet
) -> None:
    kept = kept_of(wearer, 8)
    for ours, sure in ((1.7, False), (1.5, True)):
        errors = [off_by(kept, ours)], [off_by(kept, 2.0)]
        assert compare_on([kept], *errors, "base", GateParams()).beaten
        assert compare_on([kept], *errors, "base", GateParams(), margin=True).beaten is sure
    strict = Options(gate=GateParams(least_gain=1.0))
    for reference, shipped in (("given", False), ("full_chain", True)):
        found = personalise(base, [replace(wearer, reference=reference)], QUICK, strict)
        assert found.shipped is shipped, found.decision
        assert ("nothing can vouch" in found.decision) is not shipped


def test_one_joint_much_worse_is_one_too_many(wearer: Trial) -> None:
    kept = kept_of(wearer, 8)
    theirs = np.full(len(ANGLES), 4.0)
    ours = np.full(len(ANGLES), 1.0)
    ours[ANGLES.index("ankle_angle_r")] = 4.6
    rival = compare_on([kept], [off_by(kept, ours)], [off_by(kept, theirs)], "base", GateParams())
    assert rival.gain_deg < -1.0
    assert rival.p < 0.05
    assert [joint for joint, _ in rival.worse] == ["ankle_angle_r"]
    assert not rival.beaten


# Shipping and going back


def model(folder: Path, text: str) -> None:
    (folder / "model.onnx").write_text(text)
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  model.onnx\n")


def test_rolling_back_returns_the_version_before_and_twice_returns_the_present(
    tmp_path: Path,
) -> None:
    me = tmp_path / "me"
    for version in ("one", "two", "three"):
        shelf.ship(me, lambda new, v=version: model(new, v))  # type: ignore[misc]
    seen = [(me / "model.onnx").read_text()]
    for _ in range(2):
        shelf.rollback(me)
        seen.append((me / "model.onnx").read_text())
    assert seen == ["three", "two", "three"]
    assert not (me / "previous" / "previous").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["me"]


def test_a_failed_export_leaves_the_present_version(tmp_path: Path) -> None:
    me = tmp_path / "me"
    shelf.ship(me, lambda new: model(new, "one"))

    def fail(new: Path) -> None:
        model(new, "half")
        raise RecordingError("no")

    with pytest.raises(RecordingError):
        shelf.ship(me, fail)
    assert (me / "model.onnx").read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["me"]


def test_a_crash_between_the_two_renames_is_put_right(tmp_path: Path) -> None:
    me = tmp_path / "me"
    shelf.ship(me, lambda new: model(new, "one"))
    me.rename(tmp_path / ".me.old")
    (tmp_path / ".me.new").mkdir()
    shelf.ship(me, lambda new: model(new, "two"))
    shelf.rollback(me)
    assert (me / "model.onnx").read_text() == "one"


def test_a_damaged_previous_version_is_not_gone_back_to(tmp_path: Path) -> None:
    me = tmp_path / "me"
    shelf.ship(me, lambda new: model(new, "one"))
    with pytest.raises(ModelContractError, match="no previous version"):
        shelf.rollback(me)
    shelf.ship(me, lambda new: model(new, "two"))
    (me / "previous" / "model.onnx").write_text("ono")
    with pytest.raises(ModelContractError, match="checksum"):
        shelf.rollback(me)
    assert (me / "model.onnx").read_text() == "two"


# The commands


@pytest.fixture(scope="module")
def walk() -> SimulatedWalk:
    return simulate_walk(seed=12, params=random_params(12), seconds=40.0, slots=CHAIN_SLOTS)


def session_of(walk: SimulatedWalk, slots: Sequence[str], out: Path) -> Path:
    rows = [walk.slots.index(slot) for slot in slots]
    log = out / "all.mcap"
    with SessionLogWriter(log) as writer:
        frames = schedule_frames(
            tuple(slots), walk.t_s, walk.acc_ms2[:, rows], walk.gyr_rads[:, rows], 100.0
        )
        for at_s, data in frames:
            writer.write(Chunk(at_s, data))
    config = Config(
        source=(f"replay:{log}?pace=fast",),
        record_dir=out / "s",
        display=False,
        slots=tuple(slots),
        user="ann",
    )
    record_session(config)
    (folder,) = (out / "s").iterdir()
    return folder


@pytest.fixture(scope="module")
def leg_session(walk: SimulatedWalk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return session_of(walk, LEG_SLOTS, tmp_path_factory.mktemp("legs"))


@pytest.fixture(scope="module")
def base_folder(
    base: GaitNet, trials: list[Trial], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    about = artefacts.Provenance("legs", "a simulated person", ("Sim11",), 100.0)
    folder = tmp_path_factory.mktemp("models") / "legs"
    rows = [
        {"learned_s": s, "level": 0.9, "factor": dict.fromkeys(ANGLES, f), "protocol": "made up"}
        for s, f in ((5.0, 4.0), (60.0, 2.0))
    ]
    beside = {PERSONAL_FILE: rows}
    return artefacts.release(base, about, folder, [trials[0].features[:300]], beside)


def finetune(*arguments: object) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, ["finetune", *map(str, arguments)])
    return result.exit_code, result.output, result.exception


def test_a_session_of_the_full_chain_makes_a_personal_model_that_can_be_taken_back(
    base_folder: Path, walk: SimulatedWalk, tmp_path: Path
) -> None:
    session = session_of(walk, CHAIN_SLOTS, tmp_path)
    me = tmp_path / "me"
    given = ("--base", base_folder, "--session", session, "--out", me, "--steps", 25)
    code, said, error = finetune(*given, "--seconds", 15)
    assert code == 0, (said, error)
    shelf.verify(me)
    assert "full sensor chain" in (me / "acceptance.html").read_text(encoding="utf-8")
    spec = artefacts.load(me)[1]
    assert spec.people == ("Sim11", "ann")
    assert spec.intervals is not None
    assert spec.intervals.factor["knee_angle_r"] == 4.0
    assert spec.held_out is not None
    assert "ann's own, kept out" in spec.held_out.protocol
    assert 0.0 < spec.held_out.rmse_deg["knee_angle_r"] < 20.0
    before = (me / "model.safetensors").read_bytes()
    code, said, _ = finetune(*given, "--seconds", 15)  # the same again cannot be better
    assert code == 1
    assert "previous personal model stays" in " ".join(said.split())
    assert (me / "refused.html").exists()
    assert (me / "model.safetensors").read_bytes() == before
    result = CliRunner().invoke(app, ["rollback", str(me)])
    assert isinstance(result.exception, ModelContractError)


def test_a_reference_file_is_aligned_and_a_foreign_one_refused(
    base_folder: Path, leg_session: Path, tmp_path: Path
) -> None:
    session = Path(shutil.copytree(leg_session, tmp_path / "session"))
    files = {}
    for name, seed in (("mine", 12), ("theirs", 14)):
        other = simulate_walk(seed=seed, params=random_params(seed), seconds=40.0)
        files[name] = tmp_path / f"{name}.mot"
        with MotWriter(files[name], list(ANGLES)) as file:
            for k, t in enumerate(other.t_s.tolist()):
                file.write(t + 77.0, {a: float(other.angles_rad[a][k]) for a in ANGLES})
    given = ("--base", base_folder, "--session", session, "--out", tmp_path / "me", "--steps", 25)
    code, said, error = finetune(*given, "--reference", files["theirs"])
    assert isinstance(error, RecordingError), said
    assert not (tmp_path / "me").exists()
    code, said, error = finetune(*given, "--reference", files["mine"])
    assert code == 0, (said, error)
    assert "lag" in said
    assert artefacts.load(tmp_path / "me")[1].intervals is None  # the base's zero, so the base's
    report = (tmp_path / "me" / "acceptance.html").read_text(encoding="utf-8")
    assert "mine.mot" in report
    assert "the base model&#x27;s, since nothing can vouch" in report


def test_a_session_without_labels_writes_nothing_and_says_why(
    base_folder: Path, leg_session: Path, tmp_path: Path
) -> None:
    given = ("--base", base_folder, "--session", leg_session, "--out", tmp_path / "me")
    code, said, _ = finetune(*given)
    assert code == 0
    assert "nothing was written" in " ".join(said.split())
    assert not (tmp_path / "me").exists()


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (("--data", "d", "--person", "p", "--reference", "r.mot"), "--session"),
        (("--session", "s", "--seconds", "0"), "--seconds"),
        (("--session", "s", "--strides", "0"), "--strides"),
        (("--session", "s", "--part", "1.5"), "--part"),
    ],
)
def test_wrong_options_are_refused_by_name(
    base_folder: Path, wrong: tuple[str, ...], what: str
) -> None:
    _, _, error = finetune("--base", base_folder, "--out", "o", *wrong)
    assert isinstance(error, TalariaError)
    assert what in str(error)


# The gate, put to the test


def test_spoiled_labels_hand_out_nothing_worse(
    new_engine: Callable[[], Any], base: GaitNet, trials: list[Trial]
) -> None:
    plan = gate_study.Plan({trials[1].person: base}, replace(QUICK, steps=20))
    results = gate_study.study([trials[1]], plan, 8, new_engine())
    found = gate_study.document(results, plan)
    assert found["trials"] == 8
    assert found["worse"] == 0
    assert 0 < found["shipped"] < 8
    kinds = {r.case.kind for r in results if r.shipped}
    assert not kinds & {"shift", "swap", "sign", "person", "trial"}


def test_a_case_is_the_same_for_its_number_whatever_ran_before(trials: list[Trial]) -> None:
    for number in range(5):
        (one, a), (two, b) = (gate_study.draw(number, trials, 7) for _ in range(2))
        assert one == two
        np.testing.assert_array_equal(a.angles_rad, b.angles_rad)


@pytest.mark.parametrize("kind", list(spoil.KINDS))
def test_every_way_to_spoil_changes_the_labels(kind: str, trials: list[Trial]) -> None:
    clean = trials[0].angles_rad[500:1500]
    spoiled = spoil.KINDS[kind](clean, 100.0, _random()).angles_rad
    assert spoiled.shape == clean.shape
    assert not np.array_equal(spoiled, clean, equal_nan=True)


def test_a_division_knows_how_much_it_learned_from(base: GaitNet, wearer: Trial) -> None:
    found: Division = divide([wearer], base)
    assert found.learn_s == pytest.approx(len(found.learn[0].features) / 100.0)
    assert found.decide_strides == sum(len(k.strides) for k in found.decide)
