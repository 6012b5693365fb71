"""What pays is measured on people held out, and each variant is what its name says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.errors import RecordingError
from talaria_training import ablation
from talaria_training.ablation import Outcome, Variant
from talaria_training.commands.files import write_report
from talaria_training.engine import open_engine
from talaria_training.train import MULTI_USER
from talaria_training.trials import Trial

TINY = replace(MULTI_USER, hidden=8, layers=1, steps=4, batch=4, window=64, warmup=8)


def _outcomes(trials: list[Trial], *variants: Variant) -> list[Outcome]:
    return ablation.run(trials, variants, open_engine("local", 1), people=("Sim11",))


def test_a_mean_of_the_same_network_twice_is_that_network(trials: list[Trial]) -> None:
    one, two = _outcomes(trials, Variant("one", TINY), Variant("mean", TINY, teachers=(TINY, TINY)))
    assert two.rmse_deg == pytest.approx(one.rmse_deg, abs=1e-4)
    assert two.roughness == pytest.approx(one.roughness, rel=1e-4)


def test_a_taught_network_learns_its_teachers_and_not_the_reference(trials: list[Trial]) -> None:
    wrong = [replace(t, angles_rad=t.angles_rad + 0.5) for t in trials if t.person != "Sim11"]
    mine = [t for t in trials if t.person == "Sim11"]
    taught = Variant("taught", replace(TINY, steps=60), teachers=(TINY,), taught=True)
    teacher, pupil = _outcomes(mine + wrong, Variant("teacher", TINY), taught)
    assert teacher.rmse_deg > 20.0
    assert pupil.rmse_deg > 20.0
    assert pupil.rmse_deg != teacher.rmse_deg


def test_what_is_silent_reaches_nobody(trials: list[Trial]) -> None:
    loud = [replace(t, features=t.features.copy()) for t in trials]
    gyr = [9 * slot + axis for slot in range(4) for axis in (3, 4, 5)]
    for trial in loud:
        trial.features[:, gyr] *= 7.0
    quiet = Variant("quiet", TINY, silent="gyr")
    assert _outcomes(trials, quiet)[0].rmse_deg == _outcomes(loud, quiet)[0].rmse_deg
    assert _outcomes(trials, Variant("all", TINY)) != _outcomes(loud, Variant("all", TINY))


def test_a_low_pass_makes_angles_smoother_and_begins_where_they_begin(trials: list[Trial]) -> None:
    plain, smooth = _outcomes(
        trials, Variant("plain", TINY), Variant("smooth", TINY, low_pass_hz=3)
    )
    assert smooth.roughness < 0.8 * plain.roughness
    assert np.isfinite(smooth.rmse_deg)
    assert smooth.rmse_deg == pytest.approx(plain.rmse_deg, rel=0.2)


def test_settings_are_chosen_on_the_people_meant_for_it(trials: list[Trial]) -> None:
    with pytest.raises(RecordingError, match="Sub01, Sub04, Sub07 is not in the data"):
        ablation.run(trials, [Variant("one", TINY)], open_engine("local", 1))


def test_a_report_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=r"file.* cannot be written .*: give another path"):
        write_report(tmp_path / "file" / "report.json", {})
    write_report(tmp_path / "new" / "report.json", {"rows": []})
    assert (tmp_path / "new" / "report.json").read_text() == '{\n "rows": []\n}'
