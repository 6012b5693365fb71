"""Life under a service manager: say that it runs, stop in good order, and speak plainly in the log.

The manager is told by one datagram to ``$NOTIFY_SOCKET`` (systemd's sd_notify protocol, sd_notify(3)
and sd_watchdog_enabled(3)); without that variable nothing is sent. Its watchdog is petted only while
the session does what it is for: an `asyncio` loop that merely turns is not enough.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

STALE_S = 5.0
"""After so long without a tick a session no longer flows: fifty times the longest bridged gap."""
_STATUS_EVERY_S = 1.0
_PETS_PER_LIMIT = 4
"""The manual asks for two; at four, one late look costs nothing."""


class Life(StrEnum):
    """What a session is doing, as far as its counters tell."""

    STARTING = "starting"
    WAITING = "waiting"
    FLOWING = "flowing"
    STUCK = "stuck"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Health:
    """How a session is.

    Attributes
    ----------
    life : Life
        *starting*: its source is not open yet. *waiting*: no sensor sends anything, and the source
        keeps trying. *flowing*: ticks come. *stuck*: bytes come and no tick is made of them.
    reason : str
        One sentence; empty while ticks flow.
    """

    life: Life
    reason: str = ""

    @property
    def flows(self) -> bool:
        """Whether there is something to see now."""
        return self.life is Life.FLOWING

    @property
    def deserves_life(self) -> bool:
        """Whether the manager should let it go on: a fresh start would not help who only waits."""
        return self.life is not Life.STUCK


class Pulse:
    """Tell a session's health from its counters alone.

    Parameters
    ----------
    stale_s : float
        How long a counter may stand still.

    Attributes
    ----------
    health : Health
        As of the last look.
    """

    def __init__(self, stale_s: float = STALE_S) -> None:
        self.health = Health(Life.STARTING, "the source of samples is being opened")
        self._stale_s = stale_s
        self._bytes, self._byte_s = 0, float("nan")
        self._ticks, self._tick_s = 0, float("nan")

    def look(self, now_s: float, bytes_in: int, ticks: int) -> Health:
        """Judge by how many bytes came and how many ticks were made of them.

        The first look says that the source is open.

        Parameters
        ----------
        now_s : float
            A clock that never goes back.
        bytes_in, ticks : int
            Since the session began.
        """
        if self.health.life is Life.STARTING:
            self._byte_s = self._tick_s = now_s
        if bytes_in != self._bytes:
            if now_s - self._byte_s > self._stale_s:
                self._tick_s = now_s  # a silence has ended: its ticks get their time to come
            self._bytes, self._byte_s = bytes_in, now_s
        if ticks != self._ticks:
            self._ticks, self._tick_s = ticks, now_s
        self.health = self._judge(now_s)
        return self.health

    def _judge(self, now_s: float) -> Health:
        if self._ticks and now_s - self._tick_s <= self._stale_s:
            return Health(Life.FLOWING)
        if self._bytes == 0:
            return Health(Life.WAITING, "no sensor has sent anything yet")
        silent_s = now_s - self._byte_s
        if silent_s > self._stale_s:
            return Health(Life.WAITING, f"no data from any sensor for {silent_s:.0f} s")
        barren_s = now_s - self._tick_s
        if barren_s > self._stale_s:
            why = f"bytes come, but nothing could be made of them for {barren_s:.0f} s"
            return Health(Life.STUCK, why)
        return Health(Life.WAITING, "the sensors' first common instant has not come yet")


class Notifier:
    """Tell the service manager how the process is.

    Parameters
    ----------
    environment : mapping, optional
        Where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are looked up; the process's
        own by default.

    Attributes
    ----------
    watchdog_s : float or None
        The manager kills the process after so long without a word; None where it does not.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog_s(environment)
        self._petted_s = self._told_s = float("-inf")
        self._status = ""

    def ready(self) -> None:
        """Say that the source is open."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Say that the session is being closed in good order."""
        self._send("STOPPING=1\nSTATUS=Stopping: the recording is being finished.")

    def look(self, now_s: float, health: Health, status: str) -> None:
        """Pet the watchdog if it is due and deserved, and keep ``systemctl status`` up to date.

        Parameters
        ----------
        now_s : float
            A clock that never goes back.
        health : Health
        status : str
            One line for a person.
        """
        if self._address is None:
            return
        due = self.watchdog_s is not None and (
            now_s - self._petted_s >= self.watchdog_s / _PETS_PER_LIMIT
        )
        if due and health.deserves_life:
            self._petted_s = now_s
            self._send("WATCHDOG=1")
        if status != self._status and now_s - self._told_s >= _STATUS_EVERY_S:
            self._status, self._told_s = status, now_s
            self._send(f"STATUS={' '.join(status.split())}")

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        # A manager that is gone or busy must not cost the session a tick: the next word follows.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line,
        ):
            line.setblocking(False)
            line.sendto(text.encode(), self._address)


def _address(told: str) -> str | None:
    """Take the socket's address; a leading ``@`` stands for the abstract namespace's zero byte."""
    if told.startswith("@"):
        return "\0" + told[1:]
    return told if told.startswith("/") else None


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    told, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not (told.isascii() and told.isdigit()) or int(told) == 0:
        return None
    # Meant for the process the manager started, not for one that only inherited its variables.
    return int(told) * 1e-6 if pid in {"", str(os.getpid())} else None


class _JournalFormatter(logging.Formatter):
    """One line with the priority the journal reads; it adds the time itself."""

    _PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))

    def format(self, record: logging.LogRecord) -> str:
        priority = next(p for level, p in self._PRIORITIES if record.levelno >= level)
        return f"<{priority}>{super().format(record)}"


def configure_logging(*, display: bool, environment: Mapping[str, str] | None = None) -> None:
    """Send Talaria's log to standard error, as lines a person can read.

    Parameters
    ----------
    display : bool
        Whether a live view is drawn: it shows the news itself, so that only warnings remain.
    environment : mapping, optional
        ``JOURNAL_STREAM`` in it means that the journal reads along.
    """
    environment = os.environ if environment is None else environment
    handler = logging.StreamHandler(sys.stderr)
    if environment.get("JOURNAL_STREAM"):
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("talaria")
    log.handlers[:] = [handler]
    log.setLevel(logging.WARNING if display else logging.INFO)
    log.propagate = False
