"""What a personal model may learn from: labelled walking, and never the part it is judged on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from talaria_training.splits import TUNE_END, first_walk, walk_start
from talaria_training.trials import Trial


def test_the_seconds_are_walked_and_start_with_the_first_steps(trials: list[Trial]) -> None:
    trial = trials[0]
    first = min(contact.t_s for contact in trial.contacts)
    assert walk_start(trial) / trial.rate_hz == pytest.approx(first, abs=1.5)
    (part,) = first_walk([trial], 8.0)
    start = walk_start(trial)
    assert len(part.features) == pytest.approx(800, abs=1)
    np.testing.assert_array_equal(part.features[5], trial.features[start + 5])


def test_recordings_share_the_seconds_evenly(trials: list[Trial]) -> None:
    parts = first_walk(trials, 10.0)
    assert [len(part.features) for part in parts] == pytest.approx([500, 500], abs=1)


def test_nothing_of_the_judged_part_is_given_however_much_is_asked(trials: list[Trial]) -> None:
    (part,) = first_walk(trials[:1], 1e4)
    whole = trials[0].features
    last = walk_start(trials[0]) + len(part.features)
    assert last <= TUNE_END * len(whole) + 1
    np.testing.assert_array_equal(part.features[-1], whole[last - 1])


def test_a_recording_without_angles_teaches_nothing(trials: list[Trial]) -> None:
    silent = replace(trials[0], reference="none")
    parts = first_walk([silent, trials[1]], 10.0)
    assert [part.person for part in parts] == [trials[1].person]
    assert len(parts[0].features) == pytest.approx(1000, abs=1)
    assert first_walk([silent], 10.0) == []
