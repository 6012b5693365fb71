"""A sink that may be slow, kept off the gait loop by a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections import deque

from talaria_bridge.errors import TalariaError
from talaria_edge.pipeline import GaitState
from talaria_edge.sinks import Sink

log = logging.getLogger("talaria")

_KEPT = 1000
"""States that wait at most: ten seconds at 100 Hz, about what a busy memory card takes to recover."""
_LAST_WISH_S = 3.0
"""How long a closing session waits for what is still to be written."""


class Background:
    """Hand states to a sink in a thread; the oldest that wait are dropped, and counted.

    Parameters
    ----------
    name : str
        For the summary.
    inner : Sink
        Opened already; used by the thread alone from now on.
    kept : int
        States that may wait.

    Attributes
    ----------
    name : str
    dropped : int
        States that the inner sink never got.
    trouble : str
        Why it was given up; empty while it works.
    """

    def __init__(self, name: str, inner: Sink, kept: int = _KEPT) -> None:
        self.name = name
        self.dropped = 0
        self.trouble = ""
        self._inner = inner
        self._waiting: deque[GaitState] = deque()
        self._kept = kept
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def show(self, state: GaitState) -> None:
        """Take one state; never waits for the inner sink."""
        with self._lock:
            if self.trouble or len(self._waiting) >= self._kept:
                self.dropped += 1
                if self.trouble:
                    return
                self._waiting.popleft()
            self._waiting.append(state)
        self._news.set()

    def close(self) -> None:
        """Let the inner sink finish, if it does so within seconds; may be called twice."""
        self._closing = True
        self._news.set()
        self._thread.join(_LAST_WISH_S)
        with self._lock:
            self.dropped += len(self._waiting)
            self._waiting.clear()

    def _work(self) -> None:
        try:
            while (state := self._next()) is not None:
                self._inner.show(state)
        except (OSError, TalariaError) as err:
            self._give_up(err)
        try:
            self._inner.close()
        except (OSError, TalariaError) as err:
            self._give_up(err)

    def _next(self) -> GaitState | None:
        while True:
            with self._lock:
                if self._waiting:
                    return self._waiting.popleft()
                if self._closing:
                    return None
                self._news.clear()
            self._news.wait()

    def _give_up(self, err: Exception) -> None:
        with self._lock:
            if self.trouble:
                return
            self.trouble = str(err)
            self.dropped += 1 + len(self._waiting)
            self._waiting.clear()
        log.warning("The sink %s is given up and the session goes on: %s", self.name, err)
