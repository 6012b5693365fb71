"""A device behind a TCP server, which goes and comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from talaria_bridge.errors import SourceError
from talaria_bridge.link import Chunk, Item, LinkEvent, LinkNews
from talaria_bridge.source import Source, open_source


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not done():  # noqa: ASYNC110  what is waited for is bytes in another task
            await asyncio.sleep(0.01)


class Server:
    """Says hello to whoever comes, keeps what it hears, and can hang up."""

    def __init__(self) -> None:
        self.heard = b""
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        self._writers.clear()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        writer.write(b"hello")
        while data := await reader.read(100):
            self.heard += data
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.stop()


async def next_of(source: Source, n: int) -> list[Item]:
    return [await asyncio.wait_for(anext(source), 10) for _ in range(n)]


async def test_bytes_and_news_come_in_order(server: Server) -> None:
    async with open_source(f"tcp:127.0.0.1:{server.port}") as source:
        news, chunk = await next_of(source, 2)
    assert isinstance(news, LinkEvent)
    assert news.news is LinkNews.CONNECTED
    assert isinstance(chunk, Chunk)
    assert (chunk.data, chunk.link) == (b"hello", f"tcp:127.0.0.1:{server.port}")
    assert chunk.t_s >= news.t_s


async def test_what_is_sent_arrives(server: Server) -> None:
    async with open_source(f"tcp:127.0.0.1:{server.port}") as source:
        await next_of(source, 2)
        source.send(source.name, b"start")
        source.send("tcp:another:1", b"stop")
        await until(lambda: bool(server.heard))
    assert server.heard == b"start"


async def test_a_server_that_comes_back_is_found_again_and_the_gap_is_marked(
    server: Server,
) -> None:
    async with open_source(f"tcp:127.0.0.1:{server.port}") as source:
        await next_of(source, 2)
        await server.stop()
        (lost,) = await next_of(source, 1)
        await server.start()
        back, chunk = await next_of(source, 2)
    assert isinstance(lost, LinkEvent)
    assert isinstance(back, LinkEvent)
    assert (lost.news, back.news) == (LinkNews.LOST, LinkNews.CONNECTED)
    assert lost.t_s < back.t_s
    assert isinstance(chunk, Chunk)


async def test_a_server_that_stays_away_ends_the_source_when_it_may_not_wait(
    server: Server,
) -> None:
    async with open_source(f"tcp:127.0.0.1:{server.port}?retry=0") as source:
        await next_of(source, 2)
        await server.stop()
        await next_of(source, 1)
        with pytest.raises(SourceError, match="gone for 0 s"):
            await next_of(source, 1)
    await server.start()


async def test_nobody_there_is_one_sentence() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(SourceError, match=r"does not answer .*check that the device") as caught:
        async with open_source(f"tcp:127.0.0.1:{port}"):
            pass
    assert "\n" not in str(caught.value)


async def test_two_devices_are_read_as_one_source(server: Server) -> None:
    other = Server()
    await other.start()
    specs = (f"tcp:127.0.0.1:{server.port}", f"tcp:127.0.0.1:{other.port}")
    async with open_source(*specs) as source:
        items = await next_of(source, 4)
        assert [link.name for link in source.links] == list(specs)
        source.send(specs[1], b"two")
        await until(lambda: bool(other.heard))
    await other.stop()
    assert {item.link for item in items if isinstance(item, Chunk)} == set(specs)
    assert (server.heard, other.heard) == (b"", b"two")
