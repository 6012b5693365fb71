"""The study of planted mistakes plants what it says, and keeps the people it was chosen on apart."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.findings import Symptom
from talaria_edge.model import StreamingModel
from talaria_training import planted
from talaria_training.data.load import load_recordings
from talaria_training.data.recording import Recording
from talaria_training.planted import Case, Outcome, cases, examine_case, stretches, summarise
from talaria_training.rotated import mounting_effects

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("TALARIA_DATA", ROOT.parent / "shared" / "data")) / "capsense"


@pytest.fixture(scope="module")
def made(recordings: list[Recording]) -> list[Case]:
    return cases([[recordings[0]], [recordings[1]]], count=2)


def test_stretches_begin_with_the_stance_and_lie_apart(recordings: list[Recording]) -> None:
    live, later = stretches(recordings[0], 2)
    np.testing.assert_array_equal(live.acc_ms2[live.still], later.acc_ms2[later.still])
    assert live.walking.stop - live.walking.start == later.walking.stop - later.walking.start
    assert not np.array_equal(live.gyr_rads[live.walking], later.gyr_rads[later.walking])


def test_a_swap_exchanges_two_sensors_and_nothing_else(made: list[Case]) -> None:
    good = made[0].stretch
    bad = planted.swap(good, ("femur_r", "femur_l"))
    np.testing.assert_array_equal(bad.acc_ms2[:, 0], good.acc_ms2[:, 1])
    np.testing.assert_array_equal(bad.gyr_rads[:, 2:], good.gyr_rads[:, 2:])


def test_a_rattle_is_what_it_claims_to_be(made: list[Case]) -> None:
    """The added rate is the derivative of the added angle, and only the walk of one slot is touched."""
    good = made[0].stretch
    bad = planted.rattle(good, 1, np.random.default_rng(0))
    np.testing.assert_array_equal(bad.gyr_rads[:, [0, 2, 3]], good.gyr_rads[:, [0, 2, 3]])
    np.testing.assert_array_equal(bad.gyr_rads[good.still], good.gyr_rads[good.still])
    added = np.linalg.norm(bad.gyr_rads[:, 1] - good.gyr_rads[:, 1], axis=1)
    # 8° to 15° at 6 to 12 Hz: peaks between 5 and 20 rad/s, a little less after discretisation.
    assert 3.0 < np.percentile(added, 99) < 25.0


def test_every_mistake_is_named_on_a_simulated_walker(made: list[Case]) -> None:
    outcomes = examine_case(made[1])
    by_name = {outcome.mistake: outcome for outcome in outcomes}
    assert not by_name["none"].named, by_name["none"].symptoms
    assert not by_name["not moved since"].named
    missed = [
        (o.mistake, o.symptoms) for o in outcomes if o.mistake in planted.MISTAKES and not o.named
    ]
    assert missed == []


def test_one_person_is_not_enough(recordings: list[Recording]) -> None:
    with pytest.raises(RecordingError, match="two people"):
        cases([[recordings[0]]], count=1)


def test_the_summary_keeps_the_people_it_was_chosen_on_apart(tmp_path: Path) -> None:
    def outcome(person: str, named: bool) -> Outcome:
        return Outcome(person, f"{person}/walk", "none", named, False, ())

    rows = [outcome("Sub01", False), outcome("Sub02", True), outcome("Sub03", False)]
    found = summarise(rows)["none"]
    assert found["chosen on"] == {"cases": 1, "named": 0.0, "refused": 0.0}
    assert found["held out"] == {"cases": 2, "named": 0.5, "refused": 0.0}
    planted.write_study(tmp_path / "a" / "study.json", rows)
    written = json.loads((tmp_path / "a" / "study.json").read_text())
    assert written["chosen_on"] == ["Sub01", "Sub04", "Sub07"]
    assert [row["person"] for row in written["wrong"]] == ["Sub02"]


def test_any_mounting_gives_the_same_angles_on_real_walks() -> None:
    model = ROOT / "models" / "talaria-legs-2"
    if not DATA.exists():
        pytest.skip(f"no CapSense recordings at {DATA}")
    recordings = load_recordings(DATA, people={"Sub02"}, conditions={"CSBaseline"})
    streaming = StreamingModel.load(model, slots=LEG_SLOTS, rate_hz=100.0)
    effects = list(mounting_effects(recordings, streaming))
    assert len(effects) == 1
    assert effects[0].worst_deg < 0.5


def test_swapped_legs_of_a_person_never_seen_are_named() -> None:
    if not DATA.exists():
        pytest.skip(f"no CapSense recordings at {DATA}")
    recordings = load_recordings(DATA, people={"Sub08"}, conditions={"CSStiffKnee"})
    good = stretches(recordings[0], 1)[0]
    swapped = planted.swap(good, ("femur_r", "femur_l"), ("calcn_r", "calcn_l"))
    assert planted.grade_calibration(swapped).has(Symptom.SWAPPED_LEGS)
    assert not planted.grade_calibration(good).has(Symptom.SWAPPED_LEGS)
