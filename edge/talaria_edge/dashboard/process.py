"""The pipe to the server's process: lines go in without ever waiting, commands come out."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys

from talaria_bridge.errors import ConfigError
from talaria_edge.dashboard.charts import find_charts
from talaria_edge.dashboard.commands import Command, parse_command

_LEAVE_S = 3.0
"""How long the server may take to say goodbye to its pages."""
_MAX_LINE = 4096


class DashboardProcess:
    """A server of its own, fed through a pipe.

    The listening socket is opened here and handed over, so that a port in use is known at once.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        0 lets the system choose.
    token : str or None
        What a browser must know; None asks for nothing.

    Attributes
    ----------
    port : int
        The one listened on.
    alive : bool
        False once the server was found gone.

    Raises
    ------
    ConfigError
        If the packages the dashboard is made of are not installed, or the address cannot be had.
    """

    def __init__(self, host: str, port: int, token: str | None) -> None:
        find_charts()  # here, where the user can be told
        with _listen(host, port) as listening:
            self.port: int = listening.getsockname()[1]
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "talaria_edge.dashboard", str(listening.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(listening.fileno(),),
                start_new_session=True,  # Ctrl-C is for the session; the server follows it
            )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._in, self._out = self._child.stdin.fileno(), self._child.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self.alive = True
        self._closed = False
        self._unsent = b""
        self._unread = b""
        # Not an argument and not in the environment, where others on the machine could read it.
        self.send(json.dumps({"token": token}).encode() + b"\n")

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._child.pid

    def ready(self) -> bool:
        """Push on what is left of the last line; say whether another may be sent."""
        while self._unsent and self.alive:
            try:
                self._unsent = self._unsent[os.write(self._in, self._unsent) :]
            except BlockingIOError:
                return False
            except BrokenPipeError:
                self.alive = False
        return self.alive

    def send(self, line: bytes) -> None:
        """Send a line, the part of it that does not fit later; only when `ready`."""
        self._unsent = line
        self.ready()

    def commands(self) -> list[Command]:
        """Return what the page has asked for since the last call."""
        with contextlib.suppress(BlockingIOError):
            self._unread += os.read(self._out, 1 << 16)
        *lines, rest = self._unread.split(b"\n")
        self._unread = rest[-_MAX_LINE:]
        return [command for line in lines if (command := parse_command(line)) is not None]

    def close(self, last: bytes = b"") -> None:
        """Send a last line, and see the server out; may be called twice."""
        if self._closed:
            return
        self._closed, self.alive = True, self.ready()
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        if self.alive:
            self.send(last)
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()
        self.alive = False


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as err:
        raise ConfigError(
            f"The dashboard cannot be served on {host}:{port} ({err.strerror or err}): choose another "
            "with --dashboard-host and --dashboard-port, or close what is using it."
        ) from None
