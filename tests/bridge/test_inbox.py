"""The queue between a device's thread and the reader."""

from __future__ import annotations

import asyncio
import threading

import pytest

from talaria_bridge.backoff import Backoff
from talaria_bridge.errors import SourceError
from talaria_bridge.inbox import Inbox
from talaria_bridge.link import Chunk, LinkEvent, LinkNews


def chunk(k: int) -> Chunk:
    return Chunk(float(k), bytes([k]))


async def test_items_come_out_in_order_from_any_thread() -> None:
    inbox = Inbox()

    def fill() -> None:
        for k in range(100):
            inbox.put(chunk(k))

    thread = threading.Thread(target=fill)
    thread.start()
    got = [await asyncio.wait_for(inbox.get(), 5) for _ in range(100)]
    thread.join()
    assert got == [chunk(k) for k in range(100)]


async def test_a_full_queue_drops_the_oldest_chunk_and_counts_it() -> None:
    inbox = Inbox(max_items=3)
    for k in range(5):
        inbox.put(chunk(k))
    assert [await inbox.get() for _ in range(3)] == [chunk(2), chunk(3), chunk(4)]
    assert inbox.dropped_chunks == 2


async def test_news_of_a_link_is_never_dropped() -> None:
    inbox = Inbox(max_items=2)
    news = LinkEvent(0.0, "x", LinkNews.LOST)
    inbox.put(news)
    for k in range(5):
        inbox.put(chunk(k))
    assert [await inbox.get(), await inbox.get()] == [news, chunk(4)]


async def test_a_failure_is_told_after_what_came_before() -> None:
    inbox = Inbox()
    inbox.put(chunk(1))
    inbox.fail("the device was unplugged.")
    assert await inbox.get() == chunk(1)
    with pytest.raises(SourceError, match="unplugged"):
        await inbox.get()


async def test_a_closed_queue_ends_a_waiting_reader() -> None:
    inbox = Inbox()
    reader = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(asyncio.shield(reader), 5)


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(0.1, 1.0)
    assert [backoff.next_s() for _ in range(6)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    backoff.reset()
    assert backoff.next_s() == pytest.approx(0.1)
