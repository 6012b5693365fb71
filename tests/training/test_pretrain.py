"""Pre-training looks at no label, hides what it asks for, and hands over a network to go on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from talaria_bridge.errors import TalariaError
from talaria_bridge.walker import UPRIGHT, gait_curve
from talaria_edge.kinematics import ANGLES
from talaria_training.commands import app
from talaria_training.pretrain import MaskConfig, masked, on_virtual, silence
from talaria_training.pretrain_study import BUDGET_S, STARTS, Effort, compare
from talaria_training.train import TrainConfig, predict
from talaria_training.trials import Trial
from talaria_training.virtual import Movement, leg_chain, read, trial_of

TINY = TrainConfig(hidden=8, layers=1, dropout=0.0, steps=6, batch=4, window=128, warmup=16)
MASK = MaskConfig(train=replace(TINY, absent=0.0))


@pytest.fixture(scope="module")
def walks() -> list[Trial]:
    """Two people of unlike pace who walk on the spot."""
    made = []
    for person, stride_s in (("A", 1.1), ("B", 1.4)):
        t_s = np.arange(0.0, 9.0, 0.01)
        phase = {"r": t_s / stride_s, "l": t_s / stride_s + 0.5}
        angles = {name: gait_curve(name[:-2], phase[name[-1]]) for name in ANGLES}
        pelvis = UPRIGHT * Rotation.from_euler("Y", np.zeros((len(t_s), 1)))
        pose, origin = leg_chain(angles, pelvis, np.zeros((len(t_s), 3)), 1.7)
        moved = Movement(person, "walk", f"{person}/walk", 1.7, t_s, pose, origin, angles)
        made.append(trial_of(read(moved)))
    return made


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().ravel() for p in module.parameters()])


def test_masked_pretraining_looks_at_no_angle(walks: list[Trial]) -> None:
    other = [replace(t, angles_rad=np.full_like(t.angles_rad, np.nan)) for t in walks]
    assert torch.equal(weights(masked(walks, MASK).cell), weights(masked(other, MASK).cell))


def test_masked_pretraining_learns_to_fill_in(walks: list[Trial]) -> None:
    told: list[float] = []
    config = replace(MASK, train=replace(MASK.train, steps=40, hidden=16, lr=1e-2))
    masked(walks, config, lambda step, steps, loss: told.append(loss / (1 - 0.98**step)))
    assert told[-1] < 0.8 * told[4]


def test_masked_pretraining_leaves_the_way_to_the_angles_untouched(walks: list[Trial]) -> None:
    short, long = (masked(walks, replace(MASK, train=replace(MASK.train, steps=n))) for n in (2, 9))
    assert torch.equal(weights(short.skip), weights(long.skip))
    assert not torch.equal(weights(short.cell), weights(long.cell))


def test_a_window_is_never_silent_altogether() -> None:
    x = torch.ones(400, 30, 40)
    seen = silence(x, replace(MASK, slots=0.6, span=0.4), np.random.default_rng(0))
    assert seen[..., 36:].sum(dim=-1).min() >= 1
    assert torch.equal(x[..., :36], seen[..., :36])
    assert x.min() == 1, "the target must stay as it is"


def test_sensors_are_silent_as_often_as_asked_for() -> None:
    x = torch.ones(3000, 40, 40)
    seen = silence(x, replace(MASK, slots=0.4, span=0.4), np.random.default_rng(0))[..., 36:]
    whole = (seen.sum(dim=1) == 0).float().mean()
    assert abs(whole - 0.75 * 0.4) < 0.03  # one of four is spared


def test_virtual_pretraining_keeps_the_real_recordings_statistics(walks: list[Trial]) -> None:
    virtual = [replace(t, features=2 * t.features) for t in walks]
    net = on_virtual(virtual, walks, TINY)
    real = np.concatenate([t.features for t in walks])
    assert np.allclose(net.x_mean.numpy(), real.mean(axis=0), atol=1e-4)


def test_virtual_pretraining_learns_from_the_virtual_trials(walks: list[Trial]) -> None:
    bent = [replace(t, angles_rad=t.angles_rad + np.float32(0.4)) for t in walks[:1]]
    quick = replace(TINY, steps=25, lr=2e-2)
    as_they_are, as_told = (
        predict(on_virtual(virtual, walks, quick), walks[0].features) for virtual in (walks, bent)
    )
    assert np.mean(as_told - as_they_are) > 0.1


def test_the_study_scores_every_start_before_and_after_fine_tuning(walks: list[Trial]) -> None:
    effort = Effort(before=2, base=replace(TINY, steps=4), tuning=replace(TINY, steps=2))
    rows = [
        row
        for start in STARTS
        for row in compare("A", start, trials=walks, virtual=walks[1:], effort=effort)
    ]
    said = {(row.approach, row.budget_s) for row in rows}
    assert said == {(s, None) for s in STARTS} | {(f"{s}, tuned", BUDGET_S) for s in STARTS}
    assert {row.person for row in rows} == {"A"}


def run(*arguments: str) -> str:
    with pytest.raises(TalariaError) as refused:
        CliRunner().invoke(app, ["pretrain-study", *arguments], catch_exceptions=False)
    return str(refused.value)


def test_the_command_refuses_what_leaves_nothing_to_train(tmp_path: Path) -> None:
    asked = ("--data", str(tmp_path), "--movements", str(tmp_path), "--hold-out", "A")
    assert "--before 9 leaves no step" in run(*asked, "--steps", "9", "--before", "9")
    assert "holds no" in run(*asked)
