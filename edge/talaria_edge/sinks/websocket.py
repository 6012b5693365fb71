"""Gait states as JSON over a WebSocket, for browsers, games and whatever speaks neither LSL nor OSC."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import http
import re
import threading
from collections import deque
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from talaria_bridge.errors import ConfigError
from talaria_edge.pipeline import GaitState
from talaria_edge.sinks.message import Stream, hello_message, state_message

if TYPE_CHECKING:  # an extra, and slow to load
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

_KEPT = 100
"""Messages that wait for a slow client: a second at 100 Hz."""
_START_S = 5.0
_OWN_PAGES = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")


class _Client:
    """One connection's mailbox; filled from the gait loop's thread, emptied from the server's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.dropped = 0
        self._loop = loop
        self._box: deque[str] = deque()
        self._wake = asyncio.Event()

    def put(self, text: str) -> None:
        """Leave a message; the oldest goes where there are too many."""
        if len(self._box) >= _KEPT:
            with contextlib.suppress(IndexError):  # emptied meanwhile
                self._box.popleft()
                self.dropped += 1
        self._box.append(text)
        self._loop.call_soon_threadsafe(self._wake.set)

    async def take(self) -> str:
        """Wait for the next message."""
        while not self._box:
            self._wake.clear()
            await self._wake.wait()
        return self._box.popleft()


class WebSocketServer:
    """Serve every state to every client, from a thread of its own; a `Sink`.

    Parameters
    ----------
    host, port : str, int
        Port 0 takes a free one, see `port`.
    stream : Stream
        For the first message.
    token : str or None
        What a client must add as ``?token=``; None lets programs of this machine in, and no web page
        but its own.

    Attributes
    ----------
    name : str
    port : int
        The one it listens on.
    dropped : int
        Messages that slow clients never got.
    trouble : str
        Always empty: what ails a client ends its connection only.

    Raises
    ------
    ConfigError
        If the address cannot be used, or the library is not installed.
    """

    def __init__(self, host: str, port: int, stream: Stream, token: str | None = None) -> None:
        self.name = f"ws:{host}:{port}"
        self.trouble = ""
        self._hello = hello_message(stream)
        self._token = token
        self._clients: set[_Client] = set()
        self._gone_dropped = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=self.name, daemon=True)
        self._thread.start()
        try:
            self._server = self._run(self._listen(host, port)).result(_START_S)
        except OSError as err:
            self._end_loop()
            raise ConfigError(
                f"{self.name} cannot be listened on ({err.strerror}): take another port, or an "
                "address of this machine."
            ) from None
        except ImportError:
            self._end_loop()
            raise ConfigError(
                "The sink ws: needs websockets, which is not installed: pip install "
                "'talaria[websocket]'."
            ) from None
        self.port = int(next(iter(self._server.sockets)).getsockname()[1])

    @property
    def dropped(self) -> int:
        """Messages that slow clients never got."""
        return self._gone_dropped + sum(client.dropped for client in tuple(self._clients))

    def show(self, state: GaitState) -> None:
        """Post one state to every client; never waits for one."""
        clients = tuple(self._clients)
        if clients:
            text = state_message(state)
            for client in clients:
                client.put(text)

    def close(self) -> None:
        """Say goodbye to every client; may be called twice."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(TimeoutError):
            self._run(self._stop()).result(_START_S)
        self._end_loop()

    async def _listen(self, host: str, port: int) -> Server:
        from websockets.asyncio.server import serve  # noqa: PLC0415

        return await serve(
            self._attend,
            host,
            port,
            process_request=self._admit,
            origins=None if self._token else [None, _OWN_PAGES],
            close_timeout=1.0,
            max_size=1024,  # clients have nothing to say
            compression=None,  # costs more than it saves on a few hundred bytes
        )

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse who does not know the token."""
        if self._token is None:
            return None
        told = parse_qs(urlsplit(request.path).query).get("token", [""])[0]
        if hmac.compare_digest(told.encode(), self._token.encode()):
            return None
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "Add ?token= to the address.\n")

    async def _attend(self, connection: ServerConnection) -> None:
        """Feed one client until it leaves."""
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415

        client = _Client(self._loop)
        with contextlib.suppress(ConnectionClosed):
            await connection.send(self._hello)
            self._clients.add(client)
            feeding = asyncio.create_task(self._feed(client, connection))
            try:
                async for _ in connection:  # whatever it says is passed over; its leaving is not
                    pass
            finally:
                feeding.cancel()
                self._clients.discard(client)
                self._gone_dropped += client.dropped

    async def _feed(self, client: _Client, connection: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415

        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.send(await client.take())

    async def _stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_S)
        if not self._thread.is_alive():
            self._loop.close()
