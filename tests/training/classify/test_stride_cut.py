"""Recordings are cut from contact to contact, into the same strides whoever found the contacts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from talaria_bridge.errors import RecordingError, TalariaError
from talaria_edge.kinematics import ANGLES
from talaria_training.commands import app
from talaria_training.data.recording import Recording
from talaria_training.networks import CONTACT_DELAY_S, GaitNet, head_columns
from talaria_training.strides import events
from talaria_training.strides.cut import Cutting, cut_strides, session_of
from talaria_training.strides.resample import at_percent
from talaria_training.strides.signals import Signals
from talaria_training.strides.table import StrideTable
from talaria_training.strides.unlabelled import unlabelled_trial
from talaria_training.trials import Trial, prepare_person


def quiet(said: str) -> None:
    """Drop a note."""


def landings(trial: Trial, side: str) -> list[float]:
    return [c.t_s for c in trial.contacts if (c.side, c.kind) == (side, "initial")]


def test_a_straight_line_is_read_at_every_percent() -> None:
    series = np.stack([np.arange(50.0), 2.0 * np.arange(50.0)], axis=1)
    read = at_percent(series, 3.25, 28.25)
    assert read[0] == pytest.approx(np.linspace(3.25, 28.25, 101))
    assert read[1] == pytest.approx(2.0 * read[0])
    assert at_percent(series, 0.0, 49.0)[0, [0, 100]] == pytest.approx([0.0, 49.0])


@pytest.mark.parametrize("ends", [(-0.1, 20.0), (30.0, 49.1)])
def test_a_stretch_beyond_the_recording_has_no_values(ends: tuple[float, float]) -> None:
    assert np.isnan(at_percent(np.zeros((50, 1)), *ends)).all()


def test_a_gap_stays_a_gap() -> None:
    series = np.zeros((50, 1))
    series[10] = np.nan
    assert np.isnan(at_percent(series, 5.0, 15.0)).any()
    assert np.isfinite(at_percent(series, 11.0, 20.0)).all()
    assert np.isfinite(at_percent(series, 0.0, 9.0)).all()


def test_strides_hold_their_own_legs_angles(trials: list[Trial]) -> None:
    trial = trials[0]
    table = cut_strides([trial], {}, note=quiet)
    starts = {side: landings(trial, side) for side in "rl"}
    for side in "rl":
        mine = table.select(table.column("side") == side)
        assert len(mine) == len(starts[side]) - 1
        knee = np.rad2deg(trial.angles_rad[:, ANGLES.index(f"knee_angle_{side}")])
        at_s = np.linspace(starts[side][4], starts[side][5], 101)
        wanted = np.interp(at_s, np.arange(len(knee)) / trial.rate_hz, knee)
        found = mine.values[4, [c.name for c in mine.channels].index("knee_angle")]
        assert found == pytest.approx(wanted, abs=1e-3)


def test_columns_say_whose_strides_and_where_from(trials: list[Trial]) -> None:
    moved = [replace(trials[0], condition="CSStiffKnee"), replace(trials[1], condition="stairs")]
    table = cut_strides(moved, {moved[0].name: "EMG"}, note=quiet)
    first = table.select(table.column("person") == "Sim11")
    second = table.select(table.column("person") == "Sim12")
    for column, expected in (
        ("session", ("EMG", "Sim12/walk")),
        ("condition", ("stiff-knee", "stairs")),
        ("events", ("measured", "measured")),
    ):
        assert set(first.column(column).tolist()) == {expected[0]}
        assert set(second.column(column).tolist()) == {expected[1]}
    assert first.order.tolist() == list(range(len(first)))
    assert {c.name: (c.group, c.axis) for c in table.channels}["hip_rotation"] == (
        "hip",
        "transverse",
    )


def test_a_condition_can_be_given_a_name(trials: list[Trial]) -> None:
    how = Cutting(condition="uphill")
    assert set(cut_strides(trials, {}, how, note=quiet).column("condition").tolist()) == {"uphill"}


def test_the_other_legs_channels_are_half_a_stride_off(trials: list[Trial]) -> None:
    table = cut_strides(trials, {}, Cutting(both_legs=True), note=quiet)
    names = [c.name for c in table.channels]
    assert len(names) == 10
    assert table.channels[names.index("other_knee_angle")].group == "other knee"
    mean = table.values.mean(axis=0)
    own, other = mean[names.index("knee_angle")], mean[names.index("other_knee_angle")]
    assert abs(int(own.argmax()) - int(other.argmax())) == pytest.approx(50, abs=8)


def test_sensor_axes_of_both_legs_agree(trials: list[Trial]) -> None:
    table = cut_strides(trials, {}, Cutting(Signals.IMU), note=quiet)
    assert len(table.channels) == 12
    right, left = (table.values[table.column("side") == s].mean(axis=0) for s in "rl")
    for i, channel in enumerate(table.channels):
        if np.ptp(right[i]) > 0.2:
            assert np.corrcoef(right[i], left[i])[0, 1] > 0.9, channel.name


def test_a_missed_contact_makes_no_double_stride(trials: list[Trial]) -> None:
    trial = trials[0]
    gone = landings(trial, "r")[6]
    fewer = replace(trial, contacts=tuple(c for c in trial.contacts if c.t_s != gone))
    whole, holed = (events.spans(t) for t in (trial, fewer))
    assert len(whole) - len(holed) == 2
    lengths = [s.stop_s - s.start_s for s in holed]
    assert max(lengths) < 1.35 * np.median(lengths)


def test_strides_with_gaps_are_left_out_and_said(trials: list[Trial]) -> None:
    angles = trials[0].angles_rad.copy()
    angles[2000:2010] = np.nan
    notes: list[str] = []
    whole = cut_strides([trials[0]], {}, note=notes.append)
    holed = cut_strides([replace(trials[0], angles_rad=angles)], {}, note=notes.append)
    assert 0 < len(whole) - len(holed) <= 4
    assert len(notes) == 1
    assert "have gaps and are left out" in notes[0]
    assert holed.order[-1] == whole.order[-1]


def test_a_channel_that_one_recording_lacks_is_left_out(trials: list[Trial]) -> None:
    angles = trials[0].angles_rad.copy()
    angles[:, ANGLES.index("hip_rotation_l")] = np.nan
    notes: list[str] = []
    table = cut_strides([replace(trials[0], angles_rad=angles), trials[1]], {}, note=notes.append)
    assert "hip_rotation" not in [c.name for c in table.channels]
    assert set(table.column("person").tolist()) == {"Sim11", "Sim12"}
    assert any("hip_rotation: left out, 1 of 2 recordings" in note for note in notes)


def test_rules_find_the_contacts_nobody_measured(trials: list[Trial]) -> None:
    blind = replace(trials[0], contacts=())
    found = events.spans(blind)
    assert {s.found_by for s in found} == {events.BY_RULES}
    for side in "rl":
        truth = np.array(landings(trials[0], side))
        starts = np.array([s.start_s for s in found if s.side == side])
        assert len(starts) > 0.8 * (len(truth) - 1)
        off = np.abs(truth[None] - starts[:, None]).min(axis=1)
        assert np.median(off) < 0.06


class _Oracle(GaitNet):
    """Knows a trial's contacts, and says them as late as networks do."""

    def tell(self, trial: Trial) -> _Oracle:
        late = round(CONTACT_DELAY_S * trial.rate_hz)
        down = np.nan_to_num(trial.contact, nan=1.0)
        odds = np.where(np.roll(down, late, axis=0) > 0.5, 4.0, -4.0)
        self.told = torch.from_numpy(odds.astype(np.float32))
        return self

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.zeros(1, x.shape[1], head_columns("novelty").stop)
        y[0, :, head_columns("contact")] = self.told
        return y, state


def test_a_networks_contacts_are_as_early_as_the_measured(trials: list[Trial]) -> None:
    net = _Oracle(trials[0].features.shape[1], 8, 1, 0.0).tell(trials[0])
    found = events.spans(replace(trials[0], contacts=()), net)
    assert {s.found_by for s in found} == {events.BY_NETWORK}
    for side in "rl":
        truth = np.array(landings(trials[0], side))
        starts = np.array([s.start_s for s in found if s.side == side])
        assert len(starts) > 0.8 * len(truth)
        off = np.abs(truth[None] - starts[:, None]).min(axis=1)
        assert off.max() < 0.011


def test_estimated_angles_come_from_the_model_once_it_has_settled(trials: list[Trial]) -> None:
    net = GaitNet(trials[0].features.shape[1], 8, 1, 0.0).eval()
    with torch.no_grad():
        net.y_mean.fill_(0.5)
        for weights in (net.head.weight, net.head.bias, net.skip.weight):
            weights.zero_()
    walking = trials[0].part(0.4, 1.0)
    table = cut_strides([walking], {}, Cutting(Signals.ESTIMATE), net, quiet)
    assert table.values == pytest.approx(np.rad2deg(0.5), abs=1e-3)
    early = [s for s in events.spans(walking) if s.start_s < 2.5]
    assert len(early) > 2
    assert len(table) == len(events.spans(walking)) - len(early)
    with pytest.raises(RecordingError, match="give one with --model"):
        cut_strides(trials, {}, Cutting(Signals.ESTIMATE), note=quiet)


def test_recordings_without_angles_still_give_sensor_axes(recordings: list[Recording]) -> None:
    bare = replace(recordings[0], angles_rad=None, contacts=None)
    assert not prepare_person([bare]).trials
    trial = unlabelled_trial(bare, quiet)
    assert trial is not None
    notes: list[str] = []
    assert len(cut_strides([trial], {}, Cutting(Signals.IMU), note=notes.append)) > 40
    with pytest.raises(RecordingError, match="None of these recordings has reference"):
        cut_strides([trial], {}, note=notes.append)


def test_a_recording_without_a_foot_is_left_out_by_name(recordings: list[Recording]) -> None:
    notes: list[str] = []
    one_dead = replace(recordings[0], dead_slots=("calcn_l",))
    assert unlabelled_trial(one_dead, notes.append) is None
    assert "calcn_l" in notes[0]
    assert unlabelled_trial(recordings[0].part(20.0, 60.0), notes.append) is None
    assert "stood still" in notes[1]


def test_a_session_is_a_mounting_or_the_recording_itself(recordings: list[Recording]) -> None:
    assert session_of(replace(recordings[0], mounting="Sim11/EMG")) == "EMG"
    assert session_of(recordings[0]) == "walk"


def test_a_recorded_session_becomes_a_table(session_folder: Path, tmp_path: Path) -> None:
    folder, run, file = session_folder, CliRunner(), tmp_path / "t.npz"
    made = [
        "strides",
        "make",
        "--from",
        "session",
        str(folder),
        "--signals",
        "imu",
        "--out",
        str(file),
    ]
    result = run.invoke(app, [*made, "--condition", "normal"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    table = StrideTable.load(file)
    assert set(table.column("person").tolist()) == {"ann"}
    assert set(table.column("condition").tolist()) == {"normal"}
    assert len(table) > 20
    shown = run.invoke(app, ["strides", "info", str(file)]).output
    assert "femur_acc_x" in shown
    assert "rules" in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--from", "running"], "needs a path"),
        (["--from", "c3d", "x", "--cycle", "swing"], "--cycle is 'swing'"),
        (["--from", "simulated", "--walkers", "0"], "0 people"),
        (["--from", "simulated", "--difference", "toe"], "no channel 'toe'"),
        (["--from", "mat", "gone.mat"], "does not exist"),
    ],
)
def test_a_wrong_request_is_one_sentence(tmp_path: Path, options: list[str], said: str) -> None:
    with pytest.raises(TalariaError, match=said):
        CliRunner().invoke(
            app,
            ["strides", "make", *options, "--out", str(tmp_path / "t.npz")],
            catch_exceptions=False,
        )


def test_a_table_is_made_and_shown_by_one_command(tmp_path: Path) -> None:
    file = tmp_path / "t.npz"
    options = ["--walkers", "4", "--sessions", "2", "--difference", "knee_sagittal"]
    made = CliRunner().invoke(
        app, ["strides", "make", "--from", "simulated", *options, "--out", str(file)]
    )
    assert made.exit_code == 0, made.output
    assert len(StrideTable.load(file)) == 160
    assert "affected" in made.output
