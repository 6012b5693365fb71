"""Items that are known beforehand, from a session log or a simulation, given out as a source."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from talaria_bridge.errors import SourceError
from talaria_bridge.link import Item, Link
from talaria_bridge.recorder import log_path, read_session_log

Pace = Literal["real", "fast"]


class PacedSource:
    """Give out items with the times they carry, never those of the wall clock.

    Parameters
    ----------
    name : str
        What to call the source in messages.
    open_items : callable
        Called once on entering; returns the items in order of time, and may have `links`.
    pace : {"real", "fast"}
        Whether to wait as long between items as their times say, or not at all.
    """

    dropped_chunks = 0

    def __init__(self, name: str, open_items: Callable[[], Iterable[Item]], pace: Pace) -> None:
        self.name = name
        self.links: Sequence[Link] = ()
        self._open_items = open_items
        self._pace = pace
        self._items: Iterator[Item] = iter(())
        self._start_s: float | None = None

    def send(self, link: str, data: bytes) -> None:
        """Do nothing: nobody is there any more to hear it."""

    async def __aenter__(self) -> Self:
        items = self._open_items()
        self.links = getattr(items, "links", ())
        self._items = iter(items)
        self._start_s = None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:
            close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        item = next(self._items, None)
        if item is None:
            raise StopAsyncIteration
        await asyncio.sleep(self._wait_s(item.t_s))
        return item

    def _wait_s(self, t_s: float) -> float:
        if self._pace == "fast":
            return 0.0
        now_s = asyncio.get_running_loop().time()
        if self._start_s is None:
            self._start_s = now_s - t_s
        return max(0.0, self._start_s + t_s - now_s)


def replay_source(path: str | Path, pace: Pace = "fast") -> PacedSource:
    """Make a source of a session folder or its log.

    Raises
    ------
    SourceError
        If there is no such file. (One that is no session log raises `RecordingError` on entering.)
    """
    if not log_path(path).is_file():
        raise SourceError(
            f"there is no recording at {path}: give a session folder, or the .mcap file in it, "
            "after 'replay:'."
        )
    return PacedSource(f"replay:{path}", lambda: read_session_log(path), pace)
