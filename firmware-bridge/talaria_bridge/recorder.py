"""The frame log (``.tlog``): raw chunks and their arrival times, so that a session replays exactly.

Layout, little endian: the 8 bytes ``TALARLOG`` and a u16 version, then records of
``f64 host seconds | u32 length | bytes | u32 CRC-32`` with the CRC over all that precedes it in the
record. It is only ever appended to: a power cut tears at most its last record.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from talaria_bridge.errors import RecordingError

LOG_SUFFIX = ".tlog"
LOG_VERSION = 1
_MAGIC = b"TALARLOG"
_VERSION = struct.Struct("<H")
_HEADER = _MAGIC + _VERSION.pack(LOG_VERSION)
_RECORD = struct.Struct("<dI")
_CRC = struct.Struct("<I")
_MAX_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes as they came off a link.

    Attributes
    ----------
    t_s : float
        Host seconds of arrival, on a clock that never goes back.
    data : bytes
        Any number of bytes, cut anywhere.
    """

    t_s: float
    data: bytes


class FrameLogWriter:
    """Append chunks to a new frame log; every record goes to the operating system at once.

    A crash of the program loses nothing written; a power cut loses what the system still held.
    An existing file is never touched.

    Raises
    ------
    RecordingError
        If the file exists or cannot be created, or later if the disk does not take a record.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            # Unbuffered, so that no byte waits in this process for a flush that never comes.
            self._file = self.path.open("xb", buffering=0)
        except FileExistsError:
            raise RecordingError(
                f"{self.path} exists already and a recording is never overwritten: "
                "choose another name."
            ) from None
        except OSError as err:
            raise RecordingError(
                f"{self.path} cannot be created ({err.strerror}): "
                "choose a folder that exists and may be written to."
            ) from None
        self._put(_HEADER)

    def write(self, chunk: Chunk) -> None:
        """Append one chunk (of any length; an empty one is left out)."""
        for start in range(0, len(chunk.data), _MAX_CHUNK):
            piece = chunk.data[start : start + _MAX_CHUNK]
            record = _RECORD.pack(chunk.t_s, len(piece)) + piece
            self._put(record + _CRC.pack(zlib.crc32(record)))

    def close(self) -> None:
        """Wait until the disk has everything, and close the file."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _put(self, record: bytes) -> None:
        try:
            written = self._file.write(record)
        except OSError as err:
            raise self._full(err.strerror) from None
        if written != len(record):
            raise self._full("only part of a record was taken")

    def _full(self, why: str | None) -> RecordingError:
        return RecordingError(
            f"{self.path} could not be continued ({why}): "
            "make room on the disk; what was recorded until now can be read."
        )


class FrameLogReader(Iterator[Chunk]):
    """Read the chunks of a frame log in order, from its first to its last whole record.

    Attributes
    ----------
    damaged_records : int
        Records whose CRC failed so far; they are left out.
    torn_bytes : int
        Bytes after the last whole record, known once the log has been read to its end.

    Raises
    ------
    RecordingError
        If the file cannot be opened, is no frame log, or is of another version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damaged_records = 0
        self.torn_bytes = 0
        try:
            self._file = self.path.open("rb")
        except OSError as err:
            raise RecordingError(
                f"{self.path} cannot be opened ({err.strerror}): give the path of a frame log "
                f"({LOG_SUFFIX})."
            ) from None
        try:
            self._left = os.fstat(self._file.fileno()).st_size
            self._check_header(self._file.read(len(_HEADER)))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; reading to the end does so too."""
        self._file.close()

    def __next__(self) -> Chunk:
        """Return the next whole chunk."""
        while self._left >= _RECORD.size + _CRC.size:
            head = self._file.read(_RECORD.size)
            t_s, length = _RECORD.unpack(head)
            size = _RECORD.size + length + _CRC.size
            if length > _MAX_CHUNK or size > self._left:
                break
            data, crc = self._file.read(length), _CRC.unpack(self._file.read(_CRC.size))[0]
            self._left -= size
            if crc == zlib.crc32(data, zlib.crc32(head)) and math.isfinite(t_s):
                return Chunk(t_s, data)
            self.damaged_records += 1
        self.torn_bytes, self._left = self.torn_bytes + self._left, 0
        self.close()
        raise StopIteration

    def _check_header(self, header: bytes) -> None:
        self._left -= len(header)
        if len(header) < len(_HEADER) and _HEADER.startswith(header):
            self.torn_bytes = len(header)  # the power went while the header was being written
            return
        if not header.startswith(_MAGIC):
            raise RecordingError(
                f"{self.path} is not a Talaria frame log (it begins with {header[:8]!r}): "
                f"give a {LOG_SUFFIX} file written by 'talaria record' or 'talaria run'."
            )
        version = _VERSION.unpack(header[len(_MAGIC) :])[0]
        if version != LOG_VERSION:
            raise RecordingError(
                f"{self.path} is a frame log of version {version}, and this Talaria reads version "
                f"{LOG_VERSION}: read it with the Talaria that wrote it, or update this one."
            )


def read_frame_log(path: str | Path) -> FrameLogReader:
    """Open a frame log for reading; iterate over what this returns to get its `Chunk`s.

    Raises
    ------
    RecordingError
        If the file cannot be opened, is no frame log, or is of another version.
    """
    return FrameLogReader(path)
