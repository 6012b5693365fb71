"""Ten million bytes of anything into every decoder: no exception, nothing kept but one message.

Noise, one byte over and over, valid messages each with damage done to it, the same with their check made right
again, so that the damage gets past it, and streams of those cut anywhere.
The decoders run side by side in processes of their own, from fixed seeds.
"""

from __future__ import annotations

import json
import math
import random
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from talaria_bridge.commands import CommandDecoder
from talaria_bridge.decoder import FrameDecoder, cobs_decode
from talaria_bridge.frames import seal
from talaria_bridge.vendors import FAMILIES
from talaria_bridge.vendors.family import Fault
from talaria_bridge.vendors.virtual.devices import VIRTUAL, started

BYTES = 10_000_000
SHARES = (40, 40, 19, 0.3)
MAX_KEPT_BYTES = 20_000  # the longest message anywhere has 4096
VECTORS = Path(__file__).parents[2] / "firmware-bridge" / "vectors"
OWN = [("talaria", "device"), ("talaria", "host")]
PAIRS = [*OWN, *sorted(VIRTUAL)]

Message = tuple[str, bytes]  # stream, bytes


@dataclass(frozen=True)
class Outcome:
    """What became of one decoder."""

    fed: int
    kept_early: int
    kept_at_most: int
    kept_at_last: int
    found: int
    faults: dict[str, int]


def decoder_of(family: str, transport: Any) -> Any:
    if family != "talaria":
        return FAMILIES[family].decoder(transport)
    return FrameDecoder() if transport == "device" else CommandDecoder()


def feed(decoder: Any, stream: str, data: bytes) -> list[Any]:
    own = isinstance(decoder, (FrameDecoder, CommandDecoder))
    found: list[Any] = decoder.feed(data) if own else decoder.feed(data, stream)
    return found


def faults_of(decoder: Any) -> dict[str, int]:
    if isinstance(decoder, CommandDecoder):
        return {"refused": decoder.refused}
    if isinstance(decoder, FrameDecoder):
        names = ("crc_errors", "cobs_errors", "too_long", "unknown", "malformed", "duplicates")
        return {name: getattr(decoder.counters, name) for name in names}
    return dict(+decoder.faults)


def valid_messages(family: str, transport: Any) -> list[Message]:
    """What the vectors hold, and what a device made of software sends."""
    if family == "talaria":
        return own_messages(transport)
    written = json.loads((VECTORS / "vendors" / f"{family}.json").read_text())
    vectors = [v for v in written if (v["transport"] == "ble") == (transport == "ble") and v["hex"]]
    return [
        *((v["stream"], bytes.fromhex(v["hex"])) for v in vectors),
        *streamed(family, transport),
    ]


def own_messages(transport: Any) -> list[Message]:
    file = "valid.json" if transport == "device" else "commands.json"
    vectors = json.loads((VECTORS / file).read_text())["vectors"]
    return [("", bytes.fromhex(vector["wire"])) for vector in vectors]


def streamed(family: str, transport: Any) -> list[Message]:
    device = started(FAMILIES[family], transport)
    rng = random.Random(1)
    messages = []
    for k in range(200):
        x, y, z, u, v, w = (rng.gauss(0, 10) for _ in range(6))
        messages += device.sample(k / 100, (x, y, z), (u, v, w))
    return messages


def damaged(rng: random.Random, chunk: bytes) -> bytes:
    kind = rng.randrange(8)
    at = rng.randrange(len(chunk))
    if kind == 0:
        return chunk[:at] + bytes([chunk[at] ^ 1 << rng.randrange(8)]) + chunk[at + 1 :]
    if kind == 1:
        return chunk[:at] + chunk[at + rng.randrange(1, 9) :]
    if kind == 2:
        return chunk[:at] + rng.randbytes(rng.randrange(1, 9)) + chunk[at:]
    if kind == 3:
        return chunk[:at]
    return chunk + chunk if kind == 4 else chunk


def seal_own(rng: random.Random, data: bytes) -> bytes:
    body = cobs_decode(data.strip(b"\0"))
    if body is None or len(body) < 5:
        return data
    return seal(damaged(rng, body[:-4])[:238])


def seal_capture2go(rng: random.Random, data: bytes) -> bytes:
    body = damaged(rng, data[6 : 8 + data[5]])[:238].ljust(2, b"\0")
    return struct.pack("<BIB", 2, zlib.crc32(body), len(body) - 2) + body


def seal_xbus(rng: random.Random, data: bytes) -> bytes:
    payload = damaged(rng, data[4:-1])[:254]
    body = bytes([0xFF, data[2], len(payload)]) + payload
    return b"\xfa" + body + bytes([-sum(body) % 256])


def seal_witmotion(rng: random.Random, data: bytes) -> bytes:
    body = b"\x55" + damaged(rng, data[1:10])[:9].ljust(9, b"\0")
    return body + bytes([sum(body) % 256])


SEALS: dict[tuple[str, str], Callable[[random.Random, bytes], bytes]] = {
    ("talaria", "device"): seal_own,
    ("talaria", "host"): seal_own,
    ("capture2go", "serial"): seal_capture2go,
    ("capture2go", "ble"): lambda rng, data: b"\xfe" + seal_capture2go(rng, data[1:]),
    ("xbus", "serial"): seal_xbus,
    ("witmotion", "serial"): seal_witmotion,
}
"""What makes the check of a damaged message right, for those that have one."""


def sealed(pair: tuple[str, str], seed: int) -> list[Message]:
    """Messages that only their inside can refuse."""
    if pair not in SEALS:
        return []
    rng = random.Random(seed)
    whole = [("", data) for _, data in own_messages(pair[1])] if pair in OWN else streamed(*pair)
    return [(s, SEALS[pair](rng, data)) for s, data in rng.choices(whole, k=2000)]


def fuzz(rng: random.Random, valid: list[Message]) -> Iterator[Message]:
    streams = sorted({stream for stream, _ in valid})
    while True:
        (kind,) = rng.choices(("ones", "cut", "noise", "filler"), SHARES)
        stream = rng.choice(streams)
        if kind == "ones":
            for name, data in rng.choices(valid, k=20):
                yield name, damaged(rng, data)
        elif kind == "cut":
            whole = b"".join(damaged(rng, rng.choice(valid)[1]) for _ in range(20))
            cuts = sorted(rng.randrange(len(whole) + 1) for _ in range(12))
            for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
                yield stream, whole[start:end]
        elif kind == "noise":
            yield stream, rng.randbytes(rng.choice((1, 7, 20, 63, 244, 1500)))
        else:
            filler = bytes([rng.randrange(256)]) * rng.randrange(1, 3000)
            for _ in range(30):
                yield stream, filler


def kept_bytes(thing: Any, seen: set[int] | None = None) -> int:
    """Size of an object and all it holds."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, type):
        return 0
    seen.add(id(thing))
    size = sys.getsizeof(thing)
    if isinstance(thing, dict):
        return size + sum(kept_bytes(part, seen) for pair in thing.items() for part in pair)
    if isinstance(thing, (list, tuple, set, frozenset)):
        return size + sum(kept_bytes(part, seen) for part in thing)
    slots = getattr(type(thing), "__slots__", ())
    size += sum(kept_bytes(getattr(thing, name), seen) for name in slots if hasattr(thing, name))
    return size + kept_bytes(getattr(thing, "__dict__", None) or (), seen)


def is_sane(reading: Any) -> bool:
    numbers = [
        value
        for part in ("acc_ms2", "gyr_rads", "quat_wxyz")
        for value in getattr(reading, part, None) or ()
    ]
    return all(map(math.isfinite, numbers))


def survive(pair: tuple[str, str]) -> Outcome:
    """Feed one decoder what must not hurt it."""
    family, transport = pair
    decoder = decoder_of(family, transport)
    found = fed = early = most = late = 0
    look_at = step = BYTES // 2000
    rng = random.Random("/".join(pair))
    valid = valid_messages(family, transport)
    valid *= 1 + 2000 // len(valid)
    for stream, data in fuzz(rng, [*valid, *sealed(pair, 2)]):
        readings = feed(decoder, stream, data)
        if not all(map(is_sane, readings)):
            raise AssertionError(f"{pair} read {data.hex()} as {readings}")
        found += len(readings)
        fed += len(data)
        if fed >= look_at:
            look_at += step
            late = kept_bytes(decoder)
            most, early = max(most, late), early or late
            if fed >= BYTES:
                break
    return Outcome(fed, early, most, late, found, faults_of(decoder))


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str], Outcome]:
    # Fresh processes, because forking one with threads in it is a way to hang.
    with ProcessPoolExecutor(max_workers=4, mp_context=get_context("spawn")) as pool:
        return dict(zip(PAIRS, pool.map(survive, PAIRS), strict=True))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pair", PAIRS, ids="/".join)
def test_ten_million_bytes_of_anything_are_survived_and_not_kept(
    outcomes: dict[tuple[str, str], Outcome], pair: tuple[str, str]
) -> None:
    outcome = outcomes[pair]
    assert outcome.fed >= BYTES
    assert outcome.kept_at_most <= MAX_KEPT_BYTES
    assert outcome.kept_at_last <= outcome.kept_early + 2 * 4096


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pair", PAIRS, ids="/".join)
def test_fuzz_reaches_the_inside_of_the_decoder_and_its_damage_is_counted(
    outcomes: dict[tuple[str, str], Outcome], pair: tuple[str, str]
) -> None:
    outcome = outcomes[pair]
    assert outcome.found > 5_000
    assert sum(outcome.faults.values()) > 5_000
    if pair not in OWN:
        assert set(outcome.faults) <= set(Fault)


def test_fuzz_would_see_a_decoder_that_keeps_everything() -> None:
    hoard = FrameDecoder()
    before = kept_bytes(hoard)
    hoard._block += bytes(2 * MAX_KEPT_BYTES)
    hoard._count.update(Counter(str(k) for k in range(1000)))
    assert kept_bytes(hoard) > before + 2 * MAX_KEPT_BYTES
