"""The page's server: what comes through the pipe goes to every browser; what they wish goes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from talaria_edge.dashboard.charts import find_charts
from talaria_edge.dashboard.commands import command_line, parse_command
from talaria_edge.dashboard.security import Guard

PAGE = Path(__file__).parent / "page"
STRIDES_SHOWN = 10
"""So many of the last stances, too."""
MAX_PAGES = 16
"""Browsers served at once; more would be a mistake or worse."""
_BEHIND = 40
"""Messages that wait for a slow browser, two seconds' worth; then it starts over from the present."""
_PASSING = ("kind", "trace", "events", "strides", "forces", "stances")
"""What a message tells once; everything else holds until it is told anew."""
_MAX_LINE = 1 << 20


class Board:
    """What is known now, and the browsers that want to know it."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._strides: deque[Any] = deque(maxlen=STRIDES_SHOWN)
        self._stances: deque[Any] = deque(maxlen=STRIDES_SHOWN)
        self._readers: set[Reader] = set()

    def tell(self, line: str) -> None:
        """Remember a line, and hand it to every browser."""
        message = json.loads(line)
        self._strides.extend(message.get("strides", ()))
        self._stances.extend(message.get("stances", ()))
        self._known |= {key: value for key, value in message.items() if key not in _PASSING}
        for reader in self._readers:
            reader.offer(line)

    def present(self) -> str:
        """Tell everything that holds now, for a browser that knows nothing."""
        recent = {"strides": list(self._strides), "stances": list(self._stances)}
        return json.dumps({"kind": "hello", **self._known, **recent})

    @contextlib.contextmanager
    def reader(self) -> Iterator[Reader]:
        """Take part for a while."""
        reader = Reader(self)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    @property
    def full(self) -> bool:
        """Whether no further browser fits."""
        return len(self._readers) >= MAX_PAGES


class Reader:
    """One browser's place in the stream; how slow it is matters to nobody else."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._waiting: deque[str] = deque()
        self._news = asyncio.Event()
        self._lost = True  # knows nothing yet

    def offer(self, line: str) -> None:
        """Put a line in the queue; a full queue is thrown away for a fresh start."""
        if len(self._waiting) >= _BEHIND:
            self._lost = True
            self._waiting.clear()
        self._waiting.append(line)
        self._news.set()

    async def next(self) -> str:
        """Wait for what to send next."""
        if self._lost:
            self._lost = False
            self._waiting.clear()
            return self._board.present()
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()


def make_app(board: Board, token: str | None) -> Starlette:
    """Put page, charts and stream behind one guard."""

    async def index(_: Request) -> FileResponse:
        return FileResponse(PAGE / "index.html")

    async def live(browser: WebSocket) -> None:
        await browser.accept()
        if board.full:
            await browser.close(1013)
            return
        with board.reader() as reader:
            sending = asyncio.create_task(_send(browser, reader))
            try:
                await _listen(browser)
            finally:
                sending.cancel()

    return Starlette(
        routes=[
            Route("/", index),
            WebSocketRoute("/live", live),
            Mount("/page", StaticFiles(directory=PAGE)),
            Mount("/charts", StaticFiles(directory=find_charts())),
        ],
        middleware=[Middleware(Guard, token=token)],
    )


async def serve(listening: socket.socket) -> None:
    """Serve until standard input ends: lines of JSON come in there, commands leave by standard output."""
    lines = await _standard_input()
    token = json.loads(await lines.readline())["token"]
    board = Board()
    os.set_blocking(sys.stdout.fileno(), False)
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(board, token),
            loop="asyncio",
            http="h11",
            ws="websockets-sansio",
            ws_max_size=4096,  # a command; pages have nothing longer to say
            ws_per_message_deflate=False,
            lifespan="off",
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
    )
    reading = asyncio.create_task(_pass_on(lines, board, server))
    await server.serve(sockets=[listening])
    reading.cancel()


async def _pass_on(lines: asyncio.StreamReader, board: Board, server: uvicorn.Server) -> None:
    while line := await lines.readline():
        board.tell(line.decode().rstrip("\n"))
    await asyncio.sleep(0.1)  # for the last line to reach the pages
    server.should_exit = True


async def _send(browser: WebSocket, reader: Reader) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await browser.send_text(await reader.next())


async def _listen(browser: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect, KeyError):
        while True:
            command = parse_command(await browser.receive_text())
            if command is not None:
                # A session that does not read its commands gets no more of them.
                with contextlib.suppress(BlockingIOError, BrokenPipeError):
                    os.write(sys.stdout.fileno(), command_line(command))


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=_MAX_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader
