"""What a study of a generative model learns from, and what it makes of rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.errors import RecordingError
from talaria_edge.generate.motion import CHANNELS, FORCES, WINDOW, columns
from talaria_training.generate import held_out
from talaria_training.generate.batches import Draw, FitConfig
from talaria_training.generate.judge import FillRow, ForceFillRow
from talaria_training.generate.speed import runners
from talaria_training.generate.widening import intervals, widening_of
from talaria_training.generate.windows import Windows


def _windows(speeds_ms: list[float]) -> Windows:
    count = len(speeds_ms)
    values = np.random.default_rng(0).standard_normal((count, WINDOW, len(CHANNELS)))
    numbers = np.tile(np.array([0.0, 1.0, 1.7, 70.0], np.float32), (count, 1))
    numbers[:, 0] = speeds_ms
    names = np.array([f"p{i % 2}" for i in range(count)])
    zero = np.zeros(count, np.int64)
    return Windows(values.astype(np.float32), numbers, zero, names, names, zero)


def test_whoever_moves_at_the_speed_left_out_teaches_nothing() -> None:
    kept = held_out.learnable(_windows([3.5, 4.0, 5.0, 5.19, float("nan")]))
    assert kept.numbers[:2, 0].tolist() == [3.5, 4.0]
    assert np.isnan(kept.numbers[2, 0])
    assert len(kept) == 3


def test_data_sets_are_drawn_by_their_shares_whoever_many_their_people_are() -> None:
    windows = _windows([1.0] * 4)
    weights = held_out.weights_of(windows, {"p0": "CapSense: belts", "p1": "BMC-RIC: runners"})
    assert weights["p0"] / weights["p1"] == pytest.approx(0.55 / 0.1)
    with pytest.raises(RecordingError, match="has no share"):
        held_out.weights_of(windows, {"p0": "CapSense", "p1": "somebody's"})


def test_only_runners_measured_at_both_speeds_are_asked() -> None:
    windows = _windows([3.0, 3.0, 5.0, 1.0])
    assert runners(windows, (3.0, 5.0)) == ["p0"]
    windows.values[2][:, columns(FORCES)] = np.nan
    assert runners(windows, (3.0, 5.0)) == []


def test_angles_are_shifted_and_stretched_and_nothing_else_is() -> None:
    windows = _windows([1.0] * 4)
    swing = np.sin(np.linspace(0.0, 4.0 * np.pi, WINDOW))
    windows.values[:] = 0.5 * swing[None, :, None]
    windows.values[:, :20, 3] = np.nan
    draw = Draw(windows, FitConfig(batch=400), None)
    batch = draw(np.random.default_rng(3))
    x = batch.x.numpy() * draw.scale.std + draw.scale.mean
    angles, forces = np.delete(x[:, :, :10], 3, axis=2), x[:, :, columns(FORCES)]
    half_mirrored = np.abs(np.ptp(forces, axis=1) - np.ptp(0.5 * swing))
    assert half_mirrored.max() < 1e-5
    assert angles.mean(axis=1).std() == pytest.approx(0.045, rel=0.1)
    assert np.log(np.ptp(angles, axis=1)).std() == pytest.approx(0.06, rel=0.1)
    hidden = [CHANNELS[i] for i in np.flatnonzero((batch.measured[:, :20] == 0).any(dim=(0, 1)))]
    assert set(hidden) == {CHANNELS[3], f"{CHANNELS[3][:-1]}r"}


def test_a_document_means_over_people_apart_by_data_set() -> None:
    rows = [
        FillRow(who, "walking", "knee r", "knee_angle_r", "model", rmse, rmse, 0.9, 3, [])
        for who, rmse in (("a", 2.0), ("a", 4.0), ("b", 5.0), ("c", 9.0))
    ]
    forces = [
        ForceFillRow("a", "walking", "nothing", "model", "vertical", 3.0, float("nan"), 3, [])
    ]
    found = held_out.Found(rows, forces, [])
    said = held_out.document(found, held_out.Protocol(), {"a": "X", "b": "X", "c": "Y"})
    (one, other) = said["fills"]
    assert (one["source"], one["people"], one["rmse"]) == ("X", 2, 4.0)
    assert (other["source"], other["rmse"]) == ("Y", 9.0)
    assert said["forces"][0]["peak_bw_pct"] is None
    assert said["rows"]["forces"][0]["peak_bw_pct"] is None


def test_intervals_too_narrow_by_half_are_widened_to_twice(tmp_path: Path) -> None:
    grid = np.linspace(
        0.0, 2.0 / 0.9, 21
    ).tolist()  # 90 % of the errors are below twice the half-width
    rows = [
        FillRow(who, "walking", "knee r", f"knee_angle_{side}", "model", 1.0, 1.0, 0.4, 3, grid)
        for who in "abcd"
        for side in "rl"
    ]
    (found,) = intervals(rows, [])
    assert (found["what"], found["people"]) == ("knee_angle", 4)
    assert found["own"] == pytest.approx(0.45, abs=0.05)
    assert found["held"] >= 0.9
    assert found["factor"] == pytest.approx(2.0, abs=0.15)
    file = tmp_path / "report.json"
    file.write_text(json.dumps({"intervals": [found]}))
    assert set(widening_of(file)) == {"knee_angle_r", "knee_angle_l"}
    file.write_text("{}")
    with pytest.raises(RecordingError, match="no report of"):
        widening_of(file)
