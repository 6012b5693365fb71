"""From whatever thread or callback a device speaks on, to the one task that reads."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from talaria_bridge.errors import SourceError
from talaria_bridge.link import Chunk, Item

MAX_ITEMS = 4096
"""Ten seconds of four sensors at 100 Hz."""


class Inbox:
    """A bounded queue that drops its oldest chunk, counts it, and never drops news of a link.

    Make it in the event loop that reads it; `put`, `fail` and `close` may be called on any thread.

    Parameters
    ----------
    max_items : int
        Items kept for a slow reader.

    Attributes
    ----------
    dropped_chunks : int
        Chunks the reader came too late for.
    """

    def __init__(self, max_items: int = MAX_ITEMS) -> None:
        self.dropped_chunks = 0
        self._max_items = max_items
        self._items: deque[Item] = deque()
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._ready = asyncio.Event()
        self._waited_for = False
        self._failure: str | None = None
        self._closed = False

    def put(self, item: Item) -> None:
        """Add one item."""
        with self._lock:
            if len(self._items) >= self._max_items:
                self._drop_oldest()
            self._items.append(item)
            waited_for, self._waited_for = self._waited_for, False
        # Waking a loop from outside goes through the kernel: once for all that comes until it looks.
        if waited_for:
            self._wake()

    def fail(self, why: str) -> None:
        """End with a `SourceError` once what came before has been read."""
        self._failure = why
        self._wake()

    def close(self) -> None:
        """End without one."""
        self._closed = True
        self._wake()

    async def get(self) -> Item:
        """Wait for the next item.

        Raises
        ------
        SourceError
            If the source failed.
        StopAsyncIteration
            If it was closed.
        """
        while True:
            with self._lock:
                if self._items:
                    return self._items.popleft()
                self._waited_for = True
            if self._failure is not None:
                raise SourceError(self._failure)
            if self._closed:
                raise StopAsyncIteration
            self._ready.clear()
            # An item that came since the look above has its wake-up still queued in the loop.
            await self._ready.wait()

    def _drop_oldest(self) -> None:
        for i, item in enumerate(self._items):
            if isinstance(item, Chunk):
                del self._items[i]
                self.dropped_chunks += 1
                return

    def _wake(self) -> None:
        if threading.get_ident() == self._thread:
            self._ready.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ready.set)
