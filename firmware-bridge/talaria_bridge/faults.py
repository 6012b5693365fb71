"""What goes wrong between a sensor and its reader, done to chunks on purpose and repeatably.

Every fault takes the chunks of one link in order of arrival and gives items in order of arrival.
Faults of the sensor itself (a stuck axis, a wrong clock) are made before the bytes are:
see `talaria_bridge.virtual`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from talaria_bridge.link import Chunk, Item, LinkEvent, LinkNews

Window = tuple[float, float]
"""First instant and length, seconds."""


def lose(chunks: Iterable[Chunk], share: float, seed: int) -> Iterator[Chunk]:
    """Lose each chunk with the same chance, whatever became of the others."""
    rng = np.random.default_rng(seed)
    return (chunk for chunk in chunks if rng.random() >= share)


def lose_bursts(
    chunks: Iterable[Chunk], first_s: float, every_s: float, length_s: float
) -> Iterator[Chunk]:
    """Lose all of `length_s`, again and again."""
    return (
        chunk
        for chunk in chunks
        if chunk.t_s < first_s or (chunk.t_s - first_s) % every_s >= length_s
    )


def repeat(chunks: Iterable[Chunk], share: float, seed: int) -> Iterator[Chunk]:
    """Deliver some chunks twice."""
    rng = np.random.default_rng(seed)
    for chunk in chunks:
        yield chunk
        if rng.random() < share:
            yield chunk


def overtake(chunks: Sequence[Chunk], share: float, seed: int) -> Iterator[Chunk]:
    """Let some chunks arrive after the one that was sent behind them."""
    rng = np.random.default_rng(seed)
    held: Chunk | None = None
    for chunk in chunks:
        if held is not None:
            yield chunk
            yield replace(held, t_s=chunk.t_s)
            held = None
        elif rng.random() < share:
            held = chunk
        else:
            yield chunk
    if held is not None:
        yield held


def truncate(chunks: Iterable[Chunk], share: float, seed: int) -> Iterator[Chunk]:
    """Cut the end off some chunks."""
    rng = np.random.default_rng(seed)
    for chunk in chunks:
        if rng.random() < share and len(chunk.data) > 1:
            yield replace(chunk, data=chunk.data[: int(rng.integers(1, len(chunk.data)))])
        else:
            yield chunk


def flip_bits(chunks: Iterable[Chunk], share: float, seed: int) -> Iterator[Chunk]:
    """Turn one bit over in some chunks."""
    rng = np.random.default_rng(seed)
    for chunk in chunks:
        if rng.random() < share and chunk.data:
            data = bytearray(chunk.data)
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
            yield replace(chunk, data=bytes(data))
        else:
            yield chunk


def split(chunks: Iterable[Chunk], size: int) -> Iterator[Chunk]:
    """Cut every chunk into pieces no longer than `size`, as a small MTU does."""
    for chunk in chunks:
        for start in range(0, len(chunk.data), size):
            yield replace(chunk, data=chunk.data[start : start + size])


def delay(chunks: Iterable[Chunk], mean_s: float, seed: int) -> Iterator[Chunk]:
    """Let every chunk wait for a time of exponential distribution; none overtakes another."""
    rng = np.random.default_rng(seed)
    latest_s = -np.inf
    for chunk in chunks:
        latest_s = max(latest_s, chunk.t_s + float(rng.exponential(mean_s)))
        yield replace(chunk, t_s=latest_s)


def stall(chunks: Iterable[Chunk], window: Window) -> Iterator[Chunk]:
    """Hold back what arrives within a window, and deliver it all at the window's end."""
    start_s, length_s = window
    for chunk in chunks:
        inside = start_s <= chunk.t_s < start_s + length_s
        yield replace(chunk, t_s=start_s + length_s) if inside else chunk


def silence(chunks: Iterable[Chunk], window: Window) -> Iterator[Chunk]:
    """Lose everything within a window, without a word: a flat battery, a body in between."""
    start_s, length_s = window
    return (c for c in chunks if not start_s <= c.t_s < start_s + length_s)


def disconnect(chunks: Iterable[Chunk], window: Window, failed: int = 0) -> Iterator[Item]:
    """Lose the link within a window; `failed` attempts to get it back are made within it."""
    start_s, length_s = window
    end_s = start_s + length_s
    told = back = False
    for chunk in chunks:
        if chunk.t_s >= start_s and not told:
            told = True
            yield LinkEvent(start_s, chunk.link, LinkNews.LOST, "the link was lost")
            for k in range(failed):
                t_s = start_s + length_s * (k + 1) / (failed + 1)
                yield LinkEvent(t_s, chunk.link, LinkNews.FAILED, "no answer")
        if start_s <= chunk.t_s < end_s:
            continue
        if told and not back:
            back = True
            yield LinkEvent(end_s, chunk.link, LinkNews.CONNECTED)
        yield chunk
