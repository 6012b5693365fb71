"""Gaps filled after the fact: only gaps, only in a walk, marked, and in one sentence where that cannot be."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.errors import ExportError, RecordingError
from talaria_edge.generate.motion import CHANNELS, RATE_HZ, Conditions, Motion
from talaria_edge.generate.rehearsal import Gap, rehearse
from talaria_edge.generate.repair import read_motion, repair, write_repaired
from talaria_edge.kinematics import ANGLES

_KNEE = CHANNELS.index("knee_angle_r")


class Fills:
    """Fills with 1 and 2, and counts the samples it was shown."""

    def __init__(self, widening: dict[str, float] | None = None) -> None:
        self.shown = 0
        self.widening = dict.fromkeys(CHANNELS, 2.0) if widening is None else widening

    def fill_long(
        self, values: np.ndarray, conditions: Conditions, count: int, rng: np.random.Generator
    ) -> np.ndarray:
        self.shown += len(values)
        draws = np.where(np.isfinite(values), values, 1.0)[None].repeat(count, axis=0)
        draws[1::2][:, ~np.isfinite(values)] = 2.0
        return draws


def _walk(seconds: float = 20.0) -> Motion:
    t_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    values = np.full((len(t_s), len(CHANNELS)), np.nan, np.float32)
    for i in range(len(ANGLES)):
        values[:, i] = 0.4 * np.sin(2 * np.pi * 0.9 * t_s + i)
    return Motion("anna", "walk", "made up", values, Conditions(1.2, 0.9, 1.7, 70.0))


def test_only_gaps_are_drawn_and_every_drawn_number_is_marked() -> None:
    motion, model = _walk(6.5), Fills()
    true = motion.values.copy()
    motion.values[300:400, _KNEE] = np.nan
    done = repair(motion, model, 4, np.random.default_rng(0))
    assert done.drawn.sum() == 100
    assert done.drawn[300:400, _KNEE].all()
    np.testing.assert_array_equal(done.motion.values[~done.drawn], true[~done.drawn])
    np.testing.assert_allclose(done.motion.values[done.drawn], 1.5)
    assert (done.half_width[done.drawn] > 0).all()
    assert not done.half_width[:, : len(ANGLES)][~done.drawn[:, : len(ANGLES)]].any()
    assert model.shown < 400  # a gap and what is around it, not the whole recording


def test_intervals_are_as_wide_as_people_held_out_need_them_and_unknown_where_nobody_knows() -> (
    None
):
    widths = []
    for widening in ({"knee_angle_r": 1.0}, {"knee_angle_r": 3.0}, {}):
        motion = _walk(6.5)  # too short to rehearse
        motion.values[300:400, _KNEE] = np.nan
        done = repair(motion, Fills(widening), 4, np.random.default_rng(0))
        widths.append(done.half_width[350, _KNEE])
    drawn_sd = np.std([1.0, 2.0, 1.0, 2.0], ddof=1)
    assert widths[0] == pytest.approx(1.645 * np.sqrt(1.25) * drawn_sd, rel=1e-5)
    assert widths[1] == pytest.approx(3.0 * widths[0], rel=1e-5)
    assert np.isnan(widths[2])


class Wanders:
    """Knows every movement, but for a constant that it is off by and for noise."""

    widening: dict[str, float] = {}  # noqa: RUF012  (read, never written)

    def __init__(self, true: np.ndarray, off: float, noise: float) -> None:
        self.true, self.off, self.noise = true, off, noise

    def fill_long(
        self, values: np.ndarray, conditions: Conditions, count: int, rng: np.random.Generator
    ) -> np.ndarray:
        known = np.isfinite(values[:, 0])
        rows = self.true[:, 0]
        start = next(
            i
            for i in range(len(rows))
            if np.array_equal(rows[i : i + len(values)][known], values[known, 0])
        )
        wrong = self.off + self.noise * rng.standard_normal((count, *values.shape))
        there = self.true[start : start + len(values)] + wrong
        return np.where(np.isfinite(values), values, there).astype(np.float32)


def test_what_filling_misses_on_somebody_is_taken_away_and_its_interval_holds() -> None:
    motion = _walk(60.0)
    motion.values[:, _KNEE] = 0.4 * np.random.default_rng(1).standard_normal(
        6000
    )  # nobody else knows
    true = motion.values.copy()
    motion.values[2000:3000, _KNEE] = np.nan
    model = Wanders(true, 0.2, 0.01)
    done = repair(motion, model, 4, np.random.default_rng(0))
    off = np.abs(done.motion.values[:, _KNEE] - true[:, _KNEE])
    assert off[2100:2900].max() < 0.05  # a fifth of a radian before
    assert off[2000] == pytest.approx(0.2, abs=0.05)  # beside what was measured nothing is shifted
    half = done.half_width[2500, _KNEE]
    assert (off[2100:2900] < half).mean() > 0.85
    assert half < 0.1


def test_a_sensor_that_stays_dead_is_corrected_to_the_end() -> None:
    motion = _walk(60.0)
    motion.values[:, _KNEE] = 0.4 * np.random.default_rng(1).standard_normal(6000)
    true = motion.values.copy()
    motion.values[4000:, _KNEE] = np.nan
    done = repair(motion, Wanders(true, 0.2, 0.0), 2, np.random.default_rng(0))
    np.testing.assert_allclose(done.motion.values[4100:, _KNEE], true[4100:, _KNEE], atol=1e-3)


def test_nothing_is_rehearsed_where_too_little_is_whole() -> None:
    motion = _walk(20.0)
    motion.values[500:, _KNEE] = np.nan
    good = np.ones(len(motion.values), bool)
    model = Wanders(motion.values, 0.2, 0.0)
    gap = Gap(np.array([_KNEE]), np.array([0, 1]), 1500)
    args = (motion.conditions, model, np.random.default_rng(0))
    assert rehearse(motion.values, gap, good, *args) is None


def test_what_a_persons_other_joints_tell_better_than_the_model_fills_the_gap() -> None:
    motion = _walk(60.0)
    true = motion.values.copy()
    motion.values[2000:3000, _KNEE] = np.nan
    model = Wanders(
        true, 0.2, 0.3
    )  # and every joint is a sine, which a line through the others knows
    done = repair(motion, model, 4, np.random.default_rng(0))
    off = np.abs(done.motion.values[2080:2920, _KNEE] - true[2080:2920, _KNEE])
    assert off.max() < 0.01
    assert done.half_width[2500, _KNEE] < 0.01
    assert done.drawn[2000:3000, _KNEE].all()


def test_gaps_of_someone_who_stands_are_left() -> None:
    motion = _walk()
    motion.values[1000:, : len(ANGLES)] = 0.05
    motion.values[1500:1600, _KNEE] = np.nan
    done = repair(motion, Fills(), 2, np.random.default_rng(0))
    assert not done.drawn.any()
    assert done.left_s == pytest.approx(1.0)
    assert np.isnan(done.motion.values[1500:1600, _KNEE]).all()


def test_a_recording_without_a_gap_is_refused_in_one_sentence() -> None:
    with pytest.raises(RecordingError, match="no gap"):
        repair(_walk(), Fills(), 2, np.random.default_rng(0))


def test_a_mot_comes_back_filled_and_marked(tmp_path: Path) -> None:
    motion = _walk(6.0)
    names = [n for n in ANGLES if n != "knee_angle_l"]
    rows = np.degrees(motion.values[:, [CHANNELS.index(n) for n in names]])
    head = (
        f"walk\nversion=1\nnRows={len(rows)}\nnColumns={len(names) + 1}\ninDegrees=yes\nendheader\n"
    )
    body = "\n".join(
        "\t".join(f"{v:.6f}" for v in (k / RATE_HZ, *row)) for k, row in enumerate(rows)
    )
    file = tmp_path / "walk.mot"
    file.write_text(head + "\t".join(["time", *names]) + "\n" + body + "\n")
    read = read_motion(file, motion.conditions)
    assert np.isnan(read.values[:, CHANNELS.index("knee_angle_l")]).all()
    done = repair(read, Fills(), 2, np.random.default_rng(0))
    mot, table = write_repaired(done, tmp_path / "out")
    again = read_motion(mot, motion.conditions)
    np.testing.assert_allclose(again.values[:, CHANNELS.index("knee_angle_l")], 1.5, atol=1e-4)
    with table.open() as opened:
        first = next(csv.DictReader(opened))
    assert first["knee_angle_l_drawn"] == "1"
    assert first["knee_angle_r_drawn"] == "0"
    with pytest.raises(ExportError, match="exists already"):
        write_repaired(done, tmp_path / "out")


def test_a_file_without_legs_is_refused(tmp_path: Path) -> None:
    rows = "\n".join(f"{k / 100:.2f}\t1.0" for k in range(300))
    file = tmp_path / "arm.mot"
    file.write_text(
        f"arm\nversion=1\nnRows=300\nnColumns=2\ninDegrees=yes\nendheader\ntime\telbow\n{rows}\n"
    )
    with pytest.raises(RecordingError, match="no angles of a leg"):
        read_motion(file, Conditions())
