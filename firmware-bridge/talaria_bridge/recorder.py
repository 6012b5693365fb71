"""The session log: everything a session saw, in one MCAP file that a power cut cannot spoil.

One file (https://mcap.dev) holds every byte off every link with its arrival time, what happened to
the links, and whatever else is given to it as JSON with a schema, so that Foxglove plots it. It is
only ever appended to, in chunks with checksums: what is torn at its end is at most the last of them.

========================  =========================================================================
topic                     message
========================  =========================================================================
``/raw/LINK[/STREAM]``    encoding ``talaria.chunk``: arrival time as a little-endian float64 in
                          seconds of the session's clock, then the bytes as they came
``/links``                JSON: `LinkEvent`
any other                 JSON: ``{"t_s": ..., ...}``
========================  =========================================================================

A metadata record ``talaria`` at the file's beginning tells the version of all this and the links, and
each raw channel's metadata tells its `Link` again, so that a replay needs nothing but the file.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import math
import os
import struct
import threading
import time
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Footer, Message, Metadata, Statistics
from mcap.records import Chunk as McapChunk
from mcap.stream_reader import StreamReader, get_chunk_data_stream
from mcap.writer import Writer

from talaria_bridge.errors import RecordingError
from talaria_bridge.link import Chunk, Item, Link, LinkEvent, LinkNews

LOG_FILE = "session.mcap"
LOG_VERSION = "1"
_MAGIC = b"\x89MCAP0\r\n"
_ABOUT = "talaria"
_RAW = "/raw/"
_LINKS = "/links"
_CHUNK_ENCODING = "talaria.chunk"
_TIME = struct.Struct("<d")
_RECORD = struct.Struct("<BQ")  # opcode, length
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_LINK_FIELDS = tuple(field.name for field in fields(Link))
_FLUSH_S = 0.25
_SYNC_S = 0.5
"""Together they bound what a power cut takes: what waits for a flush, and then for the disk."""
_MAX_RECORD = 1 << 26
_JSON = json.JSONEncoder(allow_nan=False)
_LINKS_SCHEMA = {
    "type": "object",
    "properties": {
        "t_s": {"type": "number"},
        "link": {"type": "string"},
        "news": {"type": "string"},
        "detail": {"type": "string"},
        "value": {"type": ["number", "null"]},
    },
}


class SessionLogWriter:
    """Append to a new session log. An existing file is never touched.

    Four times a second what has come is closed off as a chunk and given to the operating system;
    twice a second a thread of its own sees to it that the disk has it, so that a slow card never
    holds up the samples.

    Parameters
    ----------
    path : Path
    links : sequence of Link
        The links whose bytes will be written.
    wall_ns : int, optional
        Wall clock of the first message, nanoseconds since 1970; now by default. Only what reads the
        file with a calendar in mind looks at it.

    Raises
    ------
    RecordingError
        If the file exists or cannot be created, or later if the disk does not take a record.
    """

    def __init__(
        self, path: str | Path, links: Sequence[Link] = (), wall_ns: int | None = None
    ) -> None:
        self.path = Path(path)
        self._wall_ns = time.time_ns() if wall_ns is None else wall_ns
        self._start_s: float | None = None
        self._flushed_s = -math.inf
        self._channels: dict[str, int] = {}
        self._sequence = 0
        self._failed = False
        self._links = {link.name: link for link in links}
        self._file = _create(self.path)
        self._writer = Writer(self._file)
        with self._disk():
            self._writer.start("talaria", "talaria")
            told = json.dumps([asdict(link) for link in links])
            about = {"version": LOG_VERSION, "links": told, "crc32": _crc(told)}
            self._writer.add_metadata(_ABOUT, about)
            self._writer.flush()  # type: ignore[no-untyped-call]
        self._closing = threading.Event()
        self._syncer = threading.Thread(target=self._sync, name=f"sync {path}", daemon=True)
        self._syncer.start()

    def write(self, item: Item) -> None:
        """Append one item of a source."""
        if isinstance(item, LinkEvent):
            self.write_json(_LINKS, item.t_s, asdict(item), _LINKS_SCHEMA)
            return
        topic = f"{_RAW}{item.link}/{item.stream}" if item.stream else f"{_RAW}{item.link}"
        channel = self._channels.get(topic)
        if channel is None:
            link = self._links.get(item.link, Link(item.link))
            told = json.dumps(asdict(link))
            about = {"link": told, "stream": item.stream, "crc32": _crc(told + item.stream)}
            channel = self._writer.register_channel(topic, _CHUNK_ENCODING, 0, about)
            self._channels[topic] = channel
        self._put(channel, item.t_s, _TIME.pack(item.t_s) + item.data)

    def write_json(
        self, topic: str, t_s: float, value: Mapping[str, Any], schema: Mapping[str, Any]
    ) -> None:
        """Append one value to a topic; the first one's `schema` (JSON Schema) is the topic's.

        Numbers that are not finite must have become None: JSON has no word for them.
        """
        channel = self._channels.get(topic)
        if channel is None:
            name = f"talaria.{topic.strip('/').replace('/', '.')}"
            known = self._writer.register_schema(name, "jsonschema", json.dumps(schema).encode())
            channel = self._writer.register_channel(topic, "json", known)
            self._channels[topic] = channel
        self._put(channel, t_s, _JSON.encode(value).encode())

    def close(self) -> None:
        """Write the index, wait until the disk has everything, and close; may be called twice."""
        if self._file.closed:
            return
        self._closing.set()
        self._syncer.join()
        try:
            with self._disk():
                self._writer.finish()  # type: ignore[no-untyped-call]
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            with contextlib.suppress(OSError):
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

    def _put(self, channel: int, t_s: float, data: bytes) -> None:
        if self._start_s is None:
            self._start_s = t_s
        log_ns = max(0, self._wall_ns + round((t_s - self._start_s) * 1e9))
        self._sequence += 1
        with self._disk():
            self._writer.add_message(channel, log_ns, data, log_ns, self._sequence)
            if not self._flushed_s <= t_s < self._flushed_s + _FLUSH_S:
                self._flushed_s = t_s
                self._writer.flush()  # type: ignore[no-untyped-call]

    def _sync(self) -> None:
        while not self._closing.wait(_SYNC_S):
            # A disk that has failed says so to the next write as well, where it can be reported.
            with contextlib.suppress(OSError, ValueError):
                os.fsync(self._file.fileno())

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as err:
            again, self._failed = self._failed, True
            if not again:
                why = err.strerror if isinstance(err, OSError) else "it was closed"
                raise RecordingError(
                    f"{self.path} could not be continued ({why}): "
                    "make room on the disk; what was recorded until now can be read."
                ) from None


def _create(path: Path) -> BinaryIO:
    try:
        return path.open("xb")
    except FileExistsError:
        raise RecordingError(
            f"{path} exists already and a recording is never overwritten: choose another name."
        ) from None
    except OSError as err:
        raise RecordingError(
            f"{path} cannot be created ({err.strerror}): "
            "choose a folder that exists and may be written to."
        ) from None


class SessionLogReader(Iterator[Item]):
    """Read the items of a session log in the order of writing, up to the last whole chunk.

    Parameters
    ----------
    path : Path
        The file, or the session folder it lies in.

    Attributes
    ----------
    links : tuple of Link
        The links whose bytes it holds.
    damaged : int
        Messages so far that are missing or could not be read.
    torn_bytes : int
        Bytes after the last whole record, known once the log has been read to its end.
    complete : bool
        Whether its end was found, so that nothing can be missing unseen; known as late.

    Raises
    ------
    RecordingError
        If the file cannot be opened, is no session log, or is of another version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = log_path(path)
        self.damaged = 0
        self.torn_bytes = 0
        self.complete = False
        self.links = _links(self.path)
        self._items: Generator[Item, None, None] = self._read()

    def __next__(self) -> Item:
        """Return the next item."""
        return next(self._items)

    def close(self) -> None:
        """Close the file; reading to the end does so too."""
        self._items.close()

    def messages(self, topic: str) -> Iterator[dict[str, Any]]:
        """Read the JSON messages of one topic, in the order of writing."""
        for channel, message in _messages(self.path, self):
            if channel.topic == topic:
                value = _json(message.data)
                if value is None:
                    self.damaged += 1
                else:
                    yield value

    def _read(self) -> Generator[Item, None, None]:
        for channel, message in _messages(self.path, self):
            if channel.topic != _LINKS and channel.message_encoding != _CHUNK_ENCODING:
                continue
            item = _item(channel, message.data)
            if item is None:
                self.damaged += 1
            else:
                yield item


def read_session_log(path: str | Path) -> SessionLogReader:
    """Open a session log, or the one in a session folder; iterate over what this returns.

    Raises
    ------
    RecordingError
        If it cannot be opened, is no session log, or is of another version.
    """
    return SessionLogReader(path)


def log_path(path: str | Path) -> Path:
    """Find the session log: the file itself, or the one in a session folder."""
    path = Path(path)
    return path / LOG_FILE if path.is_dir() else path


def _open(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
    except OSError as err:
        raise RecordingError(
            f"{path} cannot be opened ({err.strerror}): give a session folder or its {LOG_FILE}."
        ) from None
    magic = file.read(len(_MAGIC))
    if magic != _MAGIC[: len(magic)]:
        file.close()
        raise RecordingError(
            f"{path} is not a Talaria session log (it begins with {magic!r}): give a session "
            f"folder, or its {LOG_FILE}, written by 'talaria record' or 'talaria run'."
        )
    file.seek(0)
    return file


def _links(path: Path) -> tuple[Link, ...]:
    with _open(path) as file:
        about = next((r for r in _records(file) if isinstance(r, Metadata)), None)
    known = {} if about is None or about.name != _ABOUT else about.metadata
    told = known.get("links", "")
    if known.get("crc32") == _crc(told):
        version = known.get("version")
        if version != LOG_VERSION:
            raise RecordingError(
                f"{path} is a session log of version {version}, and this Talaria reads version "
                f"{LOG_VERSION}: read it with the Talaria that wrote it, or update this one."
            )
        return tuple(_link(one) for one in json.loads(told))
    # The file's first record is damaged, or it is somebody else's MCAP, which has no such channels.
    with _open(path) as file:
        parts = [part for r in _records(file) if isinstance(r, McapChunk) for part in _parts(r)]
    raw = [p for p in parts if isinstance(p, Channel) and p.message_encoding == _CHUNK_ENCODING]
    return tuple(dict.fromkeys(_link_of(channel) for channel in raw))


def _is_intact(channel: Channel) -> bool:
    if channel.message_encoding != _CHUNK_ENCODING:
        return channel.message_encoding == "json"
    about = channel.metadata
    return about.get("crc32") == _crc(about.get("link", "") + about.get("stream", ""))


def _link_of(channel: Channel) -> Link:
    return _link_told(channel.metadata["link"])


@functools.lru_cache(maxsize=64)  # asked for every chunk of a replay, and a session has few links
def _link_told(told: str) -> Link:
    return _link(json.loads(told))


def _link(told: dict[str, Any]) -> Link:
    # What a newer Talaria tells beside is passed over: the bytes are the same.
    return Link(**{name: told[name] for name in _LINK_FIELDS if name in told})


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _messages(path: Path, counts: SessionLogReader) -> Iterator[tuple[Channel, Message]]:
    """Walk through a log chunk by chunk, counting what is damaged."""
    with _open(path) as file:
        # The end of a whole file repeats them, should the chunk that tells them first be damaged;
        # there they lie under no checksum but their own.
        told = [r for r in _records(file) if isinstance(r, Channel) and _is_intact(r)]
    channels = {channel.id: channel for channel in told}
    last = end = 0
    with _open(path) as file:
        for record in _records(file):
            end = file.tell()
            if isinstance(record, Footer) and file.read() == _MAGIC:
                end += len(_MAGIC)
                counts.complete = True
            if isinstance(record, Statistics):
                counts.damaged += max(0, record.message_count - last)
            for part in _parts(record) if isinstance(record, McapChunk) else ():
                if isinstance(part, Channel):
                    channels[part.id] = part
                elif part.channel_id in channels:
                    # Messages are numbered, so whatever is missing shows here, whyever it is.
                    counts.damaged += max(0, part.sequence - last - 1)
                    last = part.sequence
                    yield channels[part.channel_id], part
        counts.torn_bytes = file.seek(0, os.SEEK_END) - end


def _records(file: BinaryIO) -> Iterator[Any]:
    """Read whole records until the end or until nothing sensible follows."""
    records = StreamReader(file, emit_chunks=True, record_size_limit=_MAX_RECORD).records
    # Whatever bytes a crash or a bad disk left there, the records before them are good; the
    # library raises a dozen kinds of errors on such bytes, some of them plain struct and Unicode ones.
    with contextlib.suppress(Exception):
        yield from records


def _parts(chunk: McapChunk) -> list[Channel | Message]:
    """Take a chunk apart; nothing comes of a damaged one."""
    if chunk.uncompressed_size > _MAX_RECORD:
        return []
    try:
        stream, size = get_chunk_data_stream(chunk, validate_crc=True)
        return list(_parts_of(stream.read(size)))
    except Exception:  # noqa: BLE001  as above, whatever is wrong with it
        return []


def _parts_of(data: bytes) -> Iterator[Channel | Message]:
    """Read the records of a chunk; the library takes five times as long, a tenth of a live replay."""
    at = 0
    while at < len(data):
        opcode, size = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        end = at + size
        if end > len(data):
            raise EOFError
        if opcode == Opcode.MESSAGE:
            channel, sequence, log_ns, publish_ns = _MESSAGE.unpack_from(data, at)
            yield Message(channel, log_ns, data[at + _MESSAGE.size : end], publish_ns, sequence)
        elif opcode == Opcode.CHANNEL:
            yield Channel.read(ReadDataStream(io.BytesIO(data[at:end])))
        at = end


def _item(channel: Channel, data: bytes) -> Item | None:
    if channel.topic != _LINKS:
        if len(data) < _TIME.size:
            return None
        (t_s,) = _TIME.unpack_from(data)
        stream = channel.metadata.get("stream", "")
        return Chunk(t_s, data[_TIME.size :], _link_of(channel).name, stream)
    value = _json(data)
    try:
        return LinkEvent(**(value or {}) | {"news": LinkNews((value or {})["news"])})
    except (KeyError, TypeError, ValueError):
        return None


def _json(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
