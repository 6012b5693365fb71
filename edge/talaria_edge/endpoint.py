"""Where a running session can be asked how it is: ``/metrics`` for Prometheus, ``/healthz`` for anybody.

A few lines of HTTP/1.1 on asyncio: two pages that never change place need no framework. One answer
costs about a millisecond of the session's loop, and a client that does not read is left after a
moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from talaria_bridge.errors import ConfigError
from talaria_edge.metrics import Vitals, health_json, render
from talaria_edge.service import Health

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"
_PATIENCE_S = 5.0
_MAX_REQUEST = 8192
_MAX_CLIENTS = 8


class MetricsServer:
    """Answer ``/metrics`` and ``/healthz`` in the session's own event loop.

    It is in that loop on purpose: a loop that hangs does not answer.

    Parameters
    ----------
    address : (str, int) or None
        Host and port; None serves nothing.
    look : callable
        Gives the session's vitals and health.

    Raises
    ------
    ConfigError
        On entering, if nobody may listen there.
    """

    def __init__(
        self, address: tuple[str, int] | None, look: Callable[[], tuple[Vitals, Health]]
    ) -> None:
        self._address = address
        self._look = look
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port it listens on; worth asking where 0 was given."""
        assert self._server is not None  # entered, and with an address
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        if self._address is None:
            return self
        host, port = self._address
        try:
            self._server = await asyncio.start_server(
                self._serve, host, port, limit=_MAX_REQUEST, reuse_address=True
            )
        except OSError as err:
            raise ConfigError(
                f"metrics = {f'{host}:{port}'!r} cannot be served ({err.strerror or err}): choose "
                "another port of this machine, or metrics = false."
            ) from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        clients = tuple(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # called by the loop
        self._clients.add(task)
        try:
            if len(self._clients) > _MAX_CLIENTS:
                return
            async with asyncio.timeout(_PATIENCE_S):
                # Whatever a client does wrong or not at all is its own affair.
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
                    request = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(request.split(b"\r\n", 1)[0]))
                    await writer.drain()
        except (TimeoutError, asyncio.LimitOverrunError):
            return
        finally:
            self._clients.discard(task)
            writer.close()

    def _answer(self, line: bytes) -> bytes:
        method, _, rest = line.decode("latin-1").partition(" ")
        if method not in {"GET", "HEAD"}:
            return _reply("405 Method Not Allowed", _TEXT, "GET only.\n")
        vitals, health = self._look()
        match rest.partition(" ")[0].partition("?")[0]:
            case "/metrics":
                return _reply("200 OK", _TEXT, render(vitals, health), method)
            case "/healthz":
                status = "200 OK" if health.flows else "503 Service Unavailable"
                return _reply(status, _JSON, health_json(vitals, health) + "\n", method)
            case _:
                return _reply("404 Not Found", _TEXT, "/metrics or /healthz.\n", method)


def _reply(status: str, kind: str, body: str, method: str = "GET") -> bytes:
    data = body.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == "HEAD" else data)
