"""One live session, straight through: source, recording, samples, ticks, gait, sinks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from talaria_bridge.link import Item, Link
from talaria_bridge.receiver import Outgoing
from talaria_bridge.source import Source, open_source
from talaria_edge.calibration import Calibration
from talaria_edge.calibration_walk import CalibrationWalk
from talaria_edge.capture import Capture
from talaria_edge.config import Config
from talaria_edge.disk import make_room
from talaria_edge.endpoint import MetricsServer
from talaria_edge.metrics import Vitals
from talaria_edge.pipeline import GaitState
from talaria_edge.record import RecordSession
from talaria_edge.service import Notifier, Pulse
from talaria_edge.session import Session
from talaria_edge.summary import RunSummary

LOOK_S = 0.04
"""How often to look for silence and for what is due to be written."""
SILENCE_S = 0.1
"""All sensors silent for so long is announced: no sample can tell of it."""
_TIMES_USUAL = 3.0
"""Sensors that speak seldom are silent only after so many of their usual pauses."""
_AGAIN_S = 1.0
WATCH_S = 0.25
"""How often the session's health is judged."""


class LiveSession(Protocol):
    """What lives between a source and its reader's end; its `capture` holds what came from there."""

    config: Config
    capture: Capture
    finished: bool
    dropped_chunks: int

    def vitals(self) -> Vitals:
        """Return what the session says of itself while it runs."""

    def start(self, links: Sequence[Link]) -> None:
        """Begin, with the source open."""

    def take(self, item: Item) -> None:
        """Take one item."""

    def poll(self) -> None:
        """Do what the people who watch have asked for."""

    def silence(self, seconds: float) -> None:
        """Say that nothing has come for so long."""

    def close(self) -> RunSummary:
        """Finish."""

    def check(self) -> None:
        """Explain a session that gave nothing."""


def run_session(
    config: Config,
    on_state: Callable[[GaitState], None] | None = None,
    calibration: Calibration | None = None,
    walk: CalibrationWalk | None = None,
) -> RunSummary:
    """Run one session until its source ends, its time is over, or Ctrl-C or SIGTERM stops it.

    Parameters
    ----------
    config : Config
    on_state : callable, optional
        Given every gait state, in order; an error it raises ends the session.
    calibration : Calibration, optional
        To begin with, instead of the one in the user's profile.
    walk : CalibrationWalk, optional
        What is known of that calibration's walk.

    Returns
    -------
    RunSummary

    Raises
    ------
    TalariaError
        One sentence on what was wrong. What had been recorded until then is complete.
    """
    return asyncio.run(_run(Session(config, on_state, calibration, walk)))


def record_session(config: Config) -> RunSummary:
    """Record until the source ends, the time is over, or Ctrl-C or SIGTERM stops it.

    Raises
    ------
    TalariaError
        One sentence on what was wrong. What had been recorded until then is complete.
    """
    return asyncio.run(_run(RecordSession(config)))


def run_live(session: LiveSession) -> RunSummary:
    """Run any kind of session until its source or it ends, or Ctrl-C or SIGTERM stops it.

    Raises
    ------
    TalariaError
        One sentence on what was wrong. What had been recorded until then is complete.
    """
    return asyncio.run(_run(session))


async def _run(session: LiveSession) -> RunSummary:
    if session.config.record_dir is not None:
        make_room(session.config.record_dir, session.config.disk)
    notifier, pulse = Notifier(), Pulse()
    caught: list[signal.Signals] = []
    try:
        reader = asyncio.create_task(_serve(session, notifier, pulse))
        with _signals_cancel(reader, caught):
            await asyncio.wait({reader})
        notifier.stopping()
        if not reader.cancelled():
            reader.result()
    finally:
        summary = session.close()
    if signal.SIGTERM not in caught:  # whoever stops a service does not ask why nothing came
        session.check()
    return summary


async def _serve(session: LiveSession, notifier: Notifier, pulse: Pulse) -> None:
    address = session.config.metrics_address
    async with MetricsServer(address, lambda: (session.vitals(), pulse.health)):
        await _read(session, notifier, pulse)


async def _read(session: LiveSession, notifier: Notifier, pulse: Pulse) -> None:
    async with open_source(*session.config.sources) as source:
        session.start(source.links)
        notifier.ready()
        reader = asyncio.current_task()
        assert reader is not None  # this runs in one
        chores = asyncio.create_task(_chores(session, source, reader))
        watch = asyncio.create_task(_watch(session, notifier, pulse))
        try:
            async for item in source:
                session.take(item)
                session.dropped_chunks = source.dropped_chunks
                if session.finished:
                    break
        finally:
            chores.cancel()
            watch.cancel()
            _write(source, session.capture.closing())


async def _chores(session: LiveSession, source: Source, reader: asyncio.Task[None]) -> None:
    """Talk to the devices, and say so when no byte comes: nothing else in a session notices that."""
    seen, since_s, announced_s, usual_s = -1, time.monotonic(), 0.0, 0.0
    while True:
        await asyncio.sleep(LOOK_S)
        now_s = time.monotonic()
        _write(source, session.capture.outgoing(now_s))
        session.poll()
        if session.finished:
            reader.cancel()  # which may be waiting for sensors that are silent
        if session.capture.bytes_in != seen:
            usual_s = 0.9 * usual_s + 0.1 * min(now_s - since_s, _AGAIN_S)
            seen, since_s, announced_s = session.capture.bytes_in, now_s, 0.0
            continue
        limit_s = max(SILENCE_S, _TIMES_USUAL * (usual_s - LOOK_S))
        if now_s - since_s > limit_s and now_s - announced_s > _AGAIN_S:
            announced_s = now_s
            session.silence(now_s - since_s)


async def _watch(session: LiveSession, notifier: Notifier, pulse: Pulse) -> None:
    """Judge the session, and tell the service manager; it kills a loop that no longer gets here."""
    while True:
        now_s = time.monotonic()
        health = pulse.look(now_s, session.capture.bytes_in, session.capture.ticks)
        notifier.look(now_s, health, health.reason or f"live, {session.capture.ticks} ticks")
        await asyncio.sleep(WATCH_S)


def _write(source: Source, outgoing: Iterable[Outgoing]) -> None:
    for link, data in outgoing:
        source.send(link, data)


@contextlib.contextmanager
def _signals_cancel(task: asyncio.Task[None], caught: list[signal.Signals]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the task, and with it the session, in good order."""

    def stop(number: signal.Signals) -> None:
        caught.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
