"""One live session, straight through: source, recording, samples, ticks, gait, sinks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

from talaria_bridge.source import open_source
from talaria_edge.config import Config
from talaria_edge.pipeline import GaitState
from talaria_edge.session import Session
from talaria_edge.summary import RunSummary

_SILENCE_S = 2.0


def run_session(config: Config, on_state: Callable[[GaitState], None] | None = None) -> RunSummary:
    """Run one session until its source ends, its time is over, or Ctrl-C or SIGTERM stops it.

    Parameters
    ----------
    config : Config
    on_state : callable, optional
        Given every gait state, in order; an error it raises ends the session.

    Returns
    -------
    RunSummary

    Raises
    ------
    TalariaError
        One sentence on what was wrong. What had been recorded until then is complete.
    """
    return asyncio.run(_run(config, on_state))


async def _run(config: Config, on_state: Callable[[GaitState], None] | None) -> RunSummary:
    session = Session(config, on_state)
    try:
        reader = asyncio.create_task(_read(session))
        with _signals_cancel(reader):
            await asyncio.wait({reader})
        if not reader.cancelled():
            reader.result()
    finally:
        summary = session.close()
    session.check()
    return summary


async def _read(session: Session) -> None:
    async with open_source(session.config.source) as source:
        session.start()
        watch = asyncio.create_task(_watch_silence(session))
        try:
            async for chunk in source:
                session.take(chunk)
                session.dropped_chunks = source.dropped_chunks
                if session.finished:
                    break
        finally:
            watch.cancel()


async def _watch_silence(session: Session) -> None:
    """Say so when no byte comes: nothing else in a session can notice that."""
    seen, since_s = -1, time.monotonic()
    while True:
        await asyncio.sleep(_SILENCE_S)
        now_s = time.monotonic()
        if session.bytes_in != seen:
            seen, since_s = session.bytes_in, now_s
        else:
            session.silence(now_s - since_s)


@contextlib.contextmanager
def _signals_cancel(task: asyncio.Task[None]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the task, and with it the session, in good order."""
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
