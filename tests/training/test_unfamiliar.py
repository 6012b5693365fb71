"""Walks made strange are what a body so moved would be measured as, and intervals are wider for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from talaria_training.train import MULTI_USER
from talaria_training.trials import Trial
from talaria_training.unfamiliar import WALKS, backwards, faster, study

_G_MS2 = 9.81


def swinging(trial: Trial, times: float) -> Trial:
    """A rod turning about its upper end, sensor half a metre below: everything is known in closed form."""
    n, rate_hz = 2000, trial.rate_hz
    t_s, turn = np.arange(n) / rate_hz, 2 * np.pi * times
    angle = 0.5 * np.sin(turn * t_s)
    rate, bend = 0.5 * turn * np.cos(turn * t_s), -0.5 * turn**2 * np.sin(turn * t_s)
    features = np.zeros((n, 40), np.float32)
    features[:, 36:] = 1.0
    for slot in range(4):
        first = 9 * slot
        up = np.stack([np.sin(angle), np.cos(angle), 0 * angle], axis=1)
        force = np.stack([0.5 * bend, 0.5 * rate**2, 0 * angle], axis=1)
        features[:, first : first + 3] = _G_MS2 * up + force
        features[:, first + 5] = rate
        features[:, first + 6 : first + 9] = up
    angles = np.tile(angle[:, None], (1, trial.angles_rad.shape[1])).astype(np.float32)
    blank = np.full((n, 2), np.nan, np.float32)
    return replace(
        trial, features=features, angles_rad=angles, contact=blank, cycle=blank, contacts=()
    )


def test_a_rod_played_faster_is_a_rod_that_swings_faster(trials: list[Trial]) -> None:
    made, true = faster(swinging(trials[0], 1.0), 2.0), swinging(trials[0], 2.0)
    n = len(made.features)
    np.testing.assert_allclose(made.features, true.features[:n], atol=0.02)
    np.testing.assert_allclose(made.angles_rad, true.angles_rad[:n], atol=1e-3)


def test_a_rod_played_backwards_swings_the_other_way(trials: list[Trial]) -> None:
    # A sine played from its end is the same sine turned round: only the start of the swing moves.
    rod = swinging(trials[0], 1.0)
    made = backwards(rod)
    rate = np.gradient(made.angles_rad[:, 0].astype(float), 1 / rod.rate_hz)
    np.testing.assert_allclose(made.features[5:-5, 5], rate[5:-5], atol=0.02)
    np.testing.assert_allclose(backwards(made).features, rod.features, atol=1e-6)


def test_every_walk_is_measured_on_everybody_by_what_the_others_showed(
    trials: list[Trial],
) -> None:
    people = [replace(trials[i % len(trials)], person=f"P{i}") for i in range(3)]
    small = replace(
        MULTI_USER, hidden=8, layers=1, dropout=0.0, steps=10, batch=4, window=128, absent=0.0
    )
    rows = study(people, small)
    assert [row["walk"] for row in rows] == list(WALKS)
    for row in rows:
        assert row["coverage_widened"] >= row["coverage"]
        assert row["half_width_widened_deg"] >= row["half_width_deg"]
    assert rows[-2]["novelty"] > rows[0]["novelty"]
