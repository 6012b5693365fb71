"""Messages in a byte stream that are known by a mark, tell their length, and can be checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter

from talaria_bridge.samples import Reading
from talaria_bridge.vendors.family import Fault


class MarkedStream(ABC):
    """What such decoders share: finding a message, waiting for its end, and going on after a bad one.

    A message that fails its check is passed over by one byte only, because its length may be what is
    wrong, and the next message may begin inside it. At most one message is kept.
    """

    mark: bytes
    """How a message begins."""
    head: int
    """Bytes from there that tell its length."""

    def __init__(self) -> None:
        self.faults: Counter[Fault] = Counter()
        self._buffer = bytearray()

    def feed(self, data: bytes, stream: str = "") -> list[Reading]:
        """Take in the next bytes; return the readings they complete."""
        self._buffer += data
        buffer, at = self._buffer, 0
        readings: list[Reading] = []
        while (start := self._seek(at)) >= 0:
            at = start
            if len(buffer) - at < self.head:
                break
            size = self.size(buffer, at)
            if size > len(buffer) - at:
                break
            found = self.read(bytes(buffer[at : at + size])) if size else Fault.LENGTH
            if isinstance(found, list):
                readings += found
                at += size
            else:
                at += self._pass_over(found, size)
        else:
            at = self._give_up(at)
        del buffer[:at]
        return readings

    def reset(self) -> None:
        """Forget an unfinished message; keep the counts."""
        self._buffer.clear()

    @abstractmethod
    def size(self, buffer: bytearray, at: int) -> int:
        """Length of the message whose mark is at `at`; 0 if none can begin so."""

    @abstractmethod
    def read(self, message: bytes) -> list[Reading] | Fault:
        """Read one message of that length."""

    def _pass_over(self, fault: Fault, size: int) -> int:
        """Count a message that gave nothing; return how far to go on from its mark."""
        self.faults[fault] += 1
        if size and fault not in (Fault.CHECKSUM, Fault.LENGTH):
            return size
        self.faults[Fault.SKIPPED] += 1
        return 1

    def _seek(self, at: int) -> int:
        start = self._buffer.find(self.mark, at)
        if start > at:
            self.faults[Fault.SKIPPED] += start - at
        return start

    def _give_up(self, at: int) -> int:
        """Pass over what holds no mark, save a beginning of one at the very end."""
        end = len(self._buffer)
        keep = next(
            (
                n
                for n in range(len(self.mark) - 1, 0, -1)
                if self._buffer.endswith(self.mark[:n], at)
            ),
            0,
        )
        self.faults[Fault.SKIPPED] += end - keep - at
        return end - keep
