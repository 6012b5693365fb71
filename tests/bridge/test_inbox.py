"""The queue between a device's thread and the reader."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

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


async def test_what_comes_before_the_reader_looks_wakes_the_loop_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inbox = Inbox()
    loop = asyncio.get_running_loop()
    woken: list[object] = []
    wake = loop.call_soon_threadsafe

    def count(*asked: Any) -> asyncio.Handle:
        woken.append(asked)
        return wake(*asked)

    monkeypatch.setattr(loop, "call_soon_threadsafe", count)
    reader = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)

    def fill() -> None:
        for k in range(50):
            inbox.put(chunk(k))

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
    assert len(woken) == 1
    assert [await asyncio.wait_for(reader, 5), *[await inbox.get() for _ in range(49)]] == [
        chunk(k) for k in range(50)
    ]


async def test_a_reader_wakes_for_each_of_many_items_that_come_one_by_one() -> None:
    inbox = Inbox()

    def fill() -> None:
        for k in range(200):
            inbox.put(chunk(k))
            taken.acquire(timeout=5)

    taken = threading.Semaphore(0)
    thread = threading.Thread(target=fill)
    thread.start()
    for k in range(200):
        assert await asyncio.wait_for(inbox.get(), 5) == chunk(k)
        taken.release()
    thread.join()


async def test_an_item_put_by_the_loop_itself_needs_no_wake_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inbox = Inbox()
    reader = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    monkeypatch.setattr(asyncio.get_running_loop(), "call_soon_threadsafe", None)
    inbox.put(chunk(7))
    assert await asyncio.wait_for(reader, 5) == chunk(7)


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(0.1, 1.0)
    assert [backoff.next_s() for _ in range(6)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    backoff.reset()
    assert backoff.next_s() == pytest.approx(0.1)
