"""A frame log gives back what it was given, and survives being cut off anywhere."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from talaria_bridge.errors import RecordingError
from talaria_bridge.recorder import Chunk, FrameLogWriter, read_frame_log

CHUNKS = [
    Chunk(1000.25, b"\x00\x01TALARLOG"),
    Chunk(1000.25, b"\xff" * 40),
    Chunk(1000.3000000000001, b"x"),
]


def write(path: Path, chunks: list[Chunk] = CHUNKS) -> Path:
    with FrameLogWriter(path) as log:
        for chunk in chunks:
            log.write(chunk)
    return path


def test_log_gives_back_every_chunk_exactly(tmp_path: Path) -> None:
    log = read_frame_log(write(tmp_path / "a.tlog"))
    assert list(log) == CHUNKS
    assert (log.damaged_records, log.torn_bytes) == (0, 0)


def test_log_cut_at_any_byte_is_readable(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.tlog").read_bytes()
    ends = [10]
    for chunk in CHUNKS:
        ends.append(ends[-1] + 8 + 4 + len(chunk.data) + 4)
    assert ends[-1] == len(whole)
    for size in range(len(whole) + 1):
        cut = tmp_path / f"{size}.tlog"
        cut.write_bytes(whole[:size])
        log = read_frame_log(cut)
        n = sum(end <= size for end in ends[1:])
        assert list(log) == CHUNKS[:n]
        assert log.torn_bytes == size - (ends[n] if size >= 10 else 0)


def test_every_record_is_readable_as_soon_as_it_is_written(tmp_path: Path) -> None:
    with FrameLogWriter(tmp_path / "a.tlog") as log:
        for n, chunk in enumerate(CHUNKS, start=1):
            log.write(chunk)
            assert list(read_frame_log(log.path)) == CHUNKS[:n]


def test_damaged_record_costs_only_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tlog")
    data = bytearray(path.read_bytes())
    data[10 + 12 + 3] ^= 1
    path.write_bytes(data)
    log = read_frame_log(path)
    assert list(log) == CHUNKS[1:]
    assert log.damaged_records == 1


def test_damaged_length_ends_the_log_without_reading_wild(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tlog")
    data = bytearray(path.read_bytes())
    data[10 + 8 : 10 + 12] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(data)
    log = read_frame_log(path)
    assert list(log) == []
    assert log.torn_bytes == len(data) - 10


def test_large_chunk_is_kept_whole_in_pieces(tmp_path: Path) -> None:
    data = os.urandom(2_500_000)
    chunks = list(read_frame_log(write(tmp_path / "a.tlog", [Chunk(1.0, data)])))
    assert b"".join(chunk.data for chunk in chunks) == data
    assert {chunk.t_s for chunk in chunks} == {1.0}


def test_existing_recording_is_never_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tlog")
    with pytest.raises(RecordingError, match="exists already"):
        FrameLogWriter(path)
    assert list(read_frame_log(path)) == CHUNKS


def test_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be created"):
        FrameLogWriter(tmp_path / "none" / "a.tlog")


def test_full_disk_is_said_in_one_sentence() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    log = FrameLogWriter.__new__(FrameLogWriter)
    log.path = full
    with full.open("wb", buffering=0) as file:
        log._file = file
        with pytest.raises(RecordingError, match="No space left"):
            log.write(CHUNKS[0])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"time,acc_x\n0,1\n", "is not a Talaria frame log"),
        (b"\x7fELF", "is not a Talaria frame log"),
        (b"TALARLOG\x02\x00", "of version 2"),
    ],
)
def test_file_of_another_kind_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=reason) as caught:
        read_frame_log(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"gone\.tlog cannot be opened"):
        read_frame_log(tmp_path / "gone.tlog")
