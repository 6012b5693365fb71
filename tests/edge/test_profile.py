"""A wearer's file survives, is readable, and is refused when it is not what it claims."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talaria_bridge.errors import CalibrationError, ConfigError
from talaria_edge.calibration import Calibration, SlotCalibration, segment_axes
from talaria_edge.calibration_walk import CalibrationWalk, UsualKnees
from talaria_edge.gait import GaitClass
from talaria_edge.profile import (
    PROFILE_VERSION,
    CalibrationOrigin,
    UserProfile,
    load_profile,
    profile_path,
    save_profile,
)
from talaria_edge.toml_out import toml_text

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    # TOML, like every text file in UTF-8, cannot hold half a surrogate pair.
    st.text(st.characters(exclude_categories=["Cs"])),
)
DOCUMENTS = st.recursive(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.one_of(SCALARS, st.lists(SCALARS))
    ),
    lambda inner: st.dictionaries(st.text("abc. \"'-"), inner),
    max_leaves=6,
)


@given(DOCUMENTS)
def test_what_is_written_as_toml_reads_back_the_same(data: dict[str, object]) -> None:
    assert tomllib.loads(toml_text(data)) == data


def test_toml_leaves_out_none_and_keeps_nan() -> None:
    read = tomllib.loads(toml_text({"a": None, "b": math.nan, "c": {"d": np.eye(2)}}))
    assert "a" not in read
    assert math.isnan(read["b"])
    assert read["c"]["d"] == [[1.0, 0.0], [0.0, 1.0]]


@pytest.fixture
def worn() -> Calibration:
    rng = np.random.default_rng(0)
    rotation = segment_axes(rng.normal(size=3), rng.normal(size=3))
    return Calibration({"calcn_r": SlotCalibration("calcn_r", rotation, rng.normal(size=3))})


def test_a_profile_reads_back_exactly(tmp_path: Path, worn: Calibration) -> None:
    save_profile(UserProfile("anna", worn, tmp_path / "m", "s1", "2026-11-21"), tmp_path)
    read = load_profile("anna", tmp_path)
    assert (read.model, read.session, read.saved) == (tmp_path / "m", "s1", "2026-11-21")
    assert read.calibration is not None
    entry = read.calibration.slots["calcn_r"]
    assert np.array_equal(entry.r_segment_sensor, worn.slots["calcn_r"].r_segment_sensor)
    assert np.array_equal(entry.gyr_bias_rads, worn.slots["calcn_r"].gyr_bias_rads)


def test_a_grade_and_its_recording_read_back(tmp_path: Path, worn: Calibration) -> None:
    grade = {"overall": "C", "findings": ["a"], "calcn_r": {"grade": "C", "reasons": ["a", "b"]}}
    origin = CalibrationOrigin("ab12", grade)
    path = save_profile(UserProfile("anna", worn, None, "s1", "now", origin), tmp_path)
    assert load_profile("anna", tmp_path).origin == origin
    assert 'overall = "C"' in path.read_text()


def test_a_profile_of_version_1_is_still_read(tmp_path: Path, worn: Calibration) -> None:
    path = save_profile(UserProfile("anna", worn, None, "s1", "now"), tmp_path)
    text = path.read_text()
    assert f"version = {PROFILE_VERSION}" in text
    path.write_text(text.replace(f"version = {PROFILE_VERSION}", "version = 1"))
    read = load_profile("anna", tmp_path)
    assert read.calibration is not None
    assert read.origin is None


WALK = CalibrationWalk(
    GaitClass.WALKING,
    {"calcn_r": (0.0, 0.6, 0.8)},
    UsualKnees({"r": 1.0625, "l": 0.75}, 5, "ab12"),
)


def test_a_walk_reads_back(tmp_path: Path, worn: Calibration) -> None:
    path = save_profile(UserProfile("anna", worn, walk=WALK), tmp_path)
    assert load_profile("anna", tmp_path).walk == WALK
    assert 'gait = "walking"' in path.read_text()


def test_a_profile_of_version_2_is_read_without_a_walk(tmp_path: Path, worn: Calibration) -> None:
    grade = CalibrationOrigin("ab12", {"overall": "A"})
    path = save_profile(UserProfile("anna", worn, None, "s1", "now", grade), tmp_path)
    text = path.read_text()
    assert "[walk" not in text
    path.write_text(text.replace(f"version = {PROFILE_VERSION}", "version = 2"))
    read = load_profile("anna", tmp_path)
    assert read.calibration is not None
    assert read.origin == grade
    assert read.walk is None


def test_a_damaged_walk_names_its_file(tmp_path: Path, worn: Calibration) -> None:
    path = save_profile(UserProfile("anna", worn, walk=WALK), tmp_path)
    path.write_text(path.read_text().replace('gait = "walking"', 'gait = "hopping"'))
    with pytest.raises(CalibrationError, match=r"anna\.toml.*walk is damaged"):
        load_profile("anna", tmp_path)


def test_a_new_calibration_takes_the_old_walk_away(tmp_path: Path, worn: Calibration) -> None:
    old = UserProfile("anna", worn, walk=WALK)
    assert old.calibrated(worn, None, CalibrationOrigin(None, {}), None).walk is None


def test_a_new_user_has_an_empty_profile(tmp_path: Path) -> None:
    assert load_profile("nobody", tmp_path) == UserProfile("nobody")


@pytest.mark.parametrize("name", ["", "../evil", "a/b", ".hidden", "x" * 65, "a\n"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="letters"):
        profile_path(name, tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not toml", "cannot be read"),
        ('name = "anna"', "version None"),
        ("version = 99", "version 99"),
        ("version = 1\nshoe = 42", "'shoe'"),
        ("version = 1\nmodel = 3", "not text"),
        ("version = 1\ncalibration = 3", "calibration that is not a table"),
        ("version = 2\ngrade = 3", "grade that is not a table"),
        ("version = 3\nwalk = 3", "walk that is not a table"),
        ("version = 2\nsession_sha256 = 3", "not text"),
    ],
)
def test_a_file_that_is_no_profile_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = profile_path("anna", tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        load_profile("anna", tmp_path)
    assert str(path) in str(caught.value)


def test_a_damaged_calibration_names_its_file(tmp_path: Path, worn: Calibration) -> None:
    path = save_profile(UserProfile("anna", worn), tmp_path)
    path.write_text(path.read_text().replace("gyr_bias_rads", "gyr_bias"))
    with pytest.raises(CalibrationError, match=r"anna\.toml"):
        load_profile("anna", tmp_path)
