"""A stride table keeps what it was given, and refuses in one sentence what no classifier should see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talaria_bridge.errors import RecordingError
from talaria_training.strides.checks import as_numbers
from talaria_training.strides.look import look_at
from talaria_training.strides.table import Channel, StrideTable, join, running_number

PLAIN: dict[str, Any] = {
    "values": np.arange(4 * 2 * 101, dtype=float).reshape(4, 2, 101),
    "channel_name": np.array(["knee", "hip"]),
    "column_person": np.array(["a", "a", "b", "b"]),
}


def written(path: Path, **changes: Any) -> Path:
    arrays = {k: v for k, v in (PLAIN | changes).items() if v is not None}
    np.savez(path / "t.npz", **arrays)
    return path / "t.npz"


def refusal(path: Path) -> str:
    with pytest.raises(RecordingError) as caught:
        StrideTable.load(path)
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    return said


def same(a: StrideTable, b: StrideTable) -> bool:
    arrays = (a.values, a.order, *a.columns.values()), (b.values, b.order, *b.columns.values())
    told = (a.channels, a.cycle, a.source, list(a.columns))
    return told == (b.channels, b.cycle, b.source, list(b.columns)) and all(
        np.array_equal(x, y) for x, y in zip(*arrays, strict=True)
    )


def test_a_table_comes_back_as_it_was_saved(strides: StrideTable, tmp_path: Path) -> None:
    strides.save(tmp_path / "below" / "t.npz")
    assert same(StrideTable.load(tmp_path / "below" / "t.npz"), strides)
    assert [f.name for f in (tmp_path / "below").iterdir()] == ["t.npz"]


def test_the_file_needs_no_pickle(strides: StrideTable, tmp_path: Path) -> None:
    strides.save(tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz", allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)


def test_anybodys_three_arrays_are_a_table(tmp_path: Path) -> None:
    table = StrideTable.load(written(tmp_path))
    assert table.channels == (Channel("knee", "knee", "", "1"), Channel("hip", "hip", "", "1"))
    assert set(table.columns) == {"person", "session", "side", "condition"}
    assert table.order.tolist() == [0, 1, 0, 1]
    assert (table.cycle, table.values.dtype) == ("stride", np.float32)


def test_people_may_be_numbers(tmp_path: Path) -> None:
    table = StrideTable.load(written(tmp_path, column_person=np.array([1, 1, 2, 2])))
    assert table.column("person").tolist() == ["1", "1", "2", "2"]


def test_selected_rows_keep_their_labels(strides: StrideTable) -> None:
    mask = strides.column("person") == "P3"
    chosen = strides.select(mask)
    assert set(chosen.column("person").tolist()) == {"P3"}
    assert np.array_equal(chosen.values, strides.values[mask])
    back = strides.select(np.arange(len(strides))[::-1])
    assert np.array_equal(back.order, strides.order[::-1])
    assert np.array_equal(back.column("person"), strides.column("person")[::-1])


def test_joined_tables_stand_one_after_the_other(strides: StrideTable) -> None:
    halves = [strides.select(np.arange(len(strides)) % 2 == k) for k in (0, 1)]
    more = replace(halves[1], columns={**halves[1].columns, "shoe": np.full(len(halves[1]), "x")})
    both = join([halves[0], more])
    assert len(both) == len(strides)
    assert both.column("shoe").tolist() == [""] * len(halves[0]) + ["x"] * len(more)
    with pytest.raises(RecordingError, match="different channels or cycles"):
        join([halves[0], replace(halves[1], cycle="stance")])


def test_a_channel_with_gaps_is_named(tmp_path: Path) -> None:
    values = PLAIN["values"].copy()
    values[2, 1, 50] = np.nan
    said = refusal(written(tmp_path, values=values))
    assert "Channel hip is not a number in 1 of 4 strides" in said


@pytest.mark.parametrize("missing", ["values", "channel_name", "column_person"])
def test_a_missing_array_is_named(tmp_path: Path, missing: str) -> None:
    assert f"the array {missing} is missing" in refusal(written(tmp_path, **{missing: None}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"column_group": np.array(["x"] * 3)}, "group has 3 entries for 4 strides"),
        ({"order": np.arange(5)}, "order has 5 entries for 4 strides"),
        ({"order": np.arange(4.0)}, "order is stored as float64"),
        ({"channel_name": np.array(["knee"])}, "1 channels are named but values has 2"),
        ({"channel_name": np.array(["knee", "knee"])}, "both called 'knee'"),
        ({"channel_unit": np.array(["deg"])}, "channel_unit has 1 entries for 2 channels"),
        ({"values": np.zeros((4, 101))}, "shape (4, 101)"),
        ({"values": np.zeros((0, 2, 101)), "column_person": np.array([], str)}, "shape (0, 2, 101)"),
        ({"values": np.full((4, 2, 101), "1")}, "not as numbers"),
        ({"cycle": np.array("swing")}, "'swing'"),
        ({"column_person": np.array(["a", "a", "b", None], object)}, "stored as Python objects"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    assert said in refusal(written(tmp_path, **changes))


def test_one_number_spelled_two_ways_is_refused(tmp_path: Path) -> None:
    said = refusal(written(tmp_path, column_km=np.array(["30", "30.0", "45", "45"])))
    assert "Column km holds numbers stored as text" in said
    assert "'30' and '30.0'" in said


def test_numbers_stored_as_text_are_said(tmp_path: Path) -> None:
    table = StrideTable.load(written(tmp_path, column_km=np.array(["30.5", "31", "45", ""])))
    assert any("km holds numbers stored as text" in w for w in look_at(table).warnings)
    text = StrideTable.load(written(tmp_path, column_km=np.array(["low", "31", "45", "45"])))
    assert not any("stored as text" in w for w in look_at(text).warnings)


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04broken"])
def test_a_file_that_is_no_table_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.npz").write_bytes(content)
    assert "cannot be read as a stride table" in refusal(tmp_path / "t.npz")


def test_a_single_array_is_no_table(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.zeros(3))
    assert "one array" in refusal(tmp_path / "t.npy")
    assert "does not exist" in refusal(tmp_path / "gone.npz")


def test_an_unknown_column_names_those_there_are(strides: StrideTable) -> None:
    with pytest.raises(RecordingError, match=r"no column 'mileage'.*person, session"):
        strides.column("mileage")


def test_numbers_are_read_only_where_all_are_numbers() -> None:
    found = as_numbers(np.array(["1", "", "2.5"]))
    assert found is not None
    assert np.array_equal(found, [1.0, np.nan, 2.5], equal_nan=True)
    assert as_numbers(np.array(["1", "low"])) is None
    assert as_numbers(np.array(["", ""])) is None


def test_strides_are_numbered_within_their_recording() -> None:
    people, sessions = np.array(["a", "b", "a", "a"]), np.array(["1", "1", "1", "2"])
    assert running_number(people, sessions).tolist() == [0, 0, 1, 0]


def test_a_look_counts_people_sessions_and_labels(strides: StrideTable) -> None:
    found = look_at(strides)
    assert (found.people, found.strides_per_person, found.sessions_per_person) == (
        8,
        (20, 20, 20),
        (2, 2),
    )
    groups = {v.text: (v.strides, v.people) for v in found.labels["group"]}
    assert groups == {"control": (80, 4), "affected": (80, 4)}


def test_what_a_classifier_would_stumble_over_is_said(strides: StrideTable) -> None:
    session = strides.column("session").copy()
    session[strides.column("person") == "P2"] = "1"
    values = strides.values.copy()
    values[:, 0] = 5.0
    columns = {**strides.columns, "session": session, "lab": np.full(len(strides), "BMC")}
    said = " ".join(look_at(replace(strides, columns=columns, values=values)).warnings)
    assert "P2 has one session only" in said
    assert "Column lab holds one class only (BMC)" in said
    assert "Channel hip_sagittal never changes" in said
    assert "session only" not in " ".join(look_at(strides).warnings)
