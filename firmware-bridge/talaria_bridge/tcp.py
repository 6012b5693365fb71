"""A TCP connection as a source: devices with Wi-Fi, and programs that stand in for devices."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Self

from talaria_bridge.backoff import Backoff
from talaria_bridge.errors import SourceError
from talaria_bridge.inbox import Inbox
from talaria_bridge.link import Chunk, Item, Link, LinkEvent, LinkNews

_CONNECT_S = 5.0
_READ_BYTES = 4096


class TcpSource:
    """Read a TCP server; when it goes, keep knocking until it is back.

    Parameters
    ----------
    link : Link
        What the connection is called and who is behind it.
    host : str
        Name or address.
    port : int
        TCP port.
    retry_s : float
        How long to wait for a server that has gone before the source fails.
    """

    def __init__(self, link: Link, host: str, port: int, retry_s: float = float("inf")) -> None:
        self.name = link.name
        self.links = (link,)
        self._host = host
        self._port = port
        self._retry_s = retry_s
        self._inbox: Inbox | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def dropped_chunks(self) -> int:
        """Chunks the reader of this source came too late for."""
        return 0 if self._inbox is None else self._inbox.dropped_chunks

    def send(self, link: str, data: bytes) -> None:
        """Write to the device; nothing happens while it is not connected."""
        if link == self.name and self._writer is not None:
            self._writer.write(data)

    async def __aenter__(self) -> Self:
        self._inbox = Inbox()
        try:
            reader = await self._connect()
        except (OSError, TimeoutError) as err:
            raise SourceError(
                f"{self.name} does not answer ({_why(err)}): check that the device is on and in "
                "the same network, and its address and port."
            ) from None
        self._task = asyncio.create_task(self._run(reader), name=self.name)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._hang_up()
        self._box.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return await self._box.get()

    @property
    def _box(self) -> Inbox:
        assert self._inbox is not None  # entered
        return self._inbox

    async def _connect(self) -> asyncio.StreamReader:
        async with asyncio.timeout(_CONNECT_S):
            reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._say(LinkNews.CONNECTED)
        return reader

    async def _run(self, reader: asyncio.StreamReader | None) -> None:
        while reader is not None:
            why = await self._read(reader)
            await self._hang_up()
            self._say(LinkNews.LOST, f"{self.name} {why}")
            reader = await self._reconnect()
        self._box.fail(
            f"{self.name} has been gone for {self._retry_s:g} s: check that the device is on, and "
            "start again."
        )

    async def _read(self, reader: asyncio.StreamReader) -> str:
        """Read until the end, and say how it came."""
        try:
            while data := await reader.read(_READ_BYTES):
                self._box.put(Chunk(time.monotonic(), data, self.name))
        except OSError as err:
            return f"broke the connection ({_why(err)})"
        return "closed the connection"

    async def _reconnect(self) -> asyncio.StreamReader | None:
        backoff = Backoff()
        until_s = time.monotonic() + self._retry_s
        while time.monotonic() < until_s:
            await asyncio.sleep(backoff.next_s())
            with contextlib.suppress(OSError, TimeoutError):
                return await self._connect()
        return None

    async def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
            self._writer = None

    def _say(self, news: LinkNews, detail: str = "") -> None:
        self._box.put(LinkEvent(time.monotonic(), self.name, news, detail))


def _why(err: BaseException) -> str:
    return (err.strerror if isinstance(err, OSError) else None) or "no answer in time"
