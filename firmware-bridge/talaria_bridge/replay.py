"""Chunks that are known beforehand, from a frame log or a simulation, given out as a source."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from talaria_bridge.errors import SourceError
from talaria_bridge.recorder import Chunk, read_frame_log

Pace = Literal["real", "fast"]


class PacedSource:
    """Give out chunks with the arrival times they carry, never those of the wall clock.

    Parameters
    ----------
    name : str
        What to call the source in messages.
    open_chunks : callable
        Called once on entering; returns the chunks in order of time.
    pace : {"real", "fast"}
        Whether to wait as long between chunks as their arrival times say, or not at all.
    """

    dropped_chunks = 0

    def __init__(self, name: str, open_chunks: Callable[[], Iterable[Chunk]], pace: Pace) -> None:
        self.name = name
        self._open_chunks = open_chunks
        self._pace = pace
        self._chunks: Iterator[Chunk] = iter(())
        self._start_s: float | None = None

    async def __aenter__(self) -> Self:
        self._chunks = iter(self._open_chunks())
        self._start_s = None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise StopAsyncIteration
        await asyncio.sleep(self._wait_s(chunk.t_s))
        return chunk

    def _wait_s(self, t_s: float) -> float:
        if self._pace == "fast":
            return 0.0
        now_s = asyncio.get_running_loop().time()
        if self._start_s is None:
            self._start_s = now_s - t_s
        return max(0.0, self._start_s + t_s - now_s)


def replay_source(path: str | Path, pace: Pace = "fast") -> PacedSource:
    """Make a source of a frame log.

    Raises
    ------
    SourceError
        If there is no such file. (One that is no frame log raises `RecordingError` on entering.)
    """
    if not Path(path).is_file():
        raise SourceError(
            f"there is no recording at {path}: give the path of a frame log (.tlog) after "
            "'replay:'."
        )
    return PacedSource(f"replay:{path}", lambda: read_frame_log(path), pace)
