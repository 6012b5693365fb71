"""A serial port as a source: the only module that imports pyserial."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections import deque
from types import TracebackType
from typing import Self

import serial

from talaria_bridge.errors import SourceError
from talaria_bridge.recorder import Chunk

DEFAULT_BAUD = 921600
_POLL_S = 0.1
_PLUG_IN = (
    "plug the device in and look for its name with 'ls /dev/ttyACM* /dev/ttyUSB*' (it may have "
    "changed)"
)
_REMEDY = {
    errno.ENOENT: f"there is no such port: {_PLUG_IN}",
    errno.ENODEV: f"no device is behind it: {_PLUG_IN}",
    errno.ENXIO: f"no device is behind it: {_PLUG_IN}",
    errno.EACCES: "permission was denied: add yourself to the group that owns it with "
    "'sudo usermod -aG dialout $USER' and log in again",
    errno.EBUSY: "another program has it open: close that program",
    errno.EAGAIN: "another program has it open: close that program",
}


class SerialSource:
    """Read a serial port in a thread of its own and hand the chunks to the event loop.

    Parameters
    ----------
    port : str
        Path of the port, such as ``/dev/ttyACM0``.
    baud : int
        Bits per second; a USB port ignores it.
    max_chunks : int
        Chunks kept for a slow reader. Beyond that the oldest goes, and is counted.

    Attributes
    ----------
    dropped_chunks : int
        Chunks the reader of this source came too late for.
    """

    def __init__(self, port: str, baud: int = DEFAULT_BAUD, max_chunks: int = 1024) -> None:
        self.name = f"serial:{port}"
        self.dropped_chunks = 0
        self._port = port
        self._baud = baud
        self._chunks: deque[Chunk] = deque(maxlen=max_chunks)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._failure: str | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._serial = _open(self._port, self._baud)
        self._thread = threading.Thread(target=self._read, name=self.name, daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)
        self._serial.close()
        self._ready.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        while True:
            with self._lock:
                if self._chunks:
                    return self._chunks.popleft()
            if self._failure is not None:
                raise SourceError(self._failure)
            if self._stopping.is_set():
                raise StopAsyncIteration
            self._ready.clear()
            # A chunk that came since the look above has its wake-up still queued in the loop.
            await self._ready.wait()

    def _read(self) -> None:
        while not self._stopping.is_set():
            try:
                data = self._serial.read(self._serial.in_waiting or 1)
            except OSError as err:
                self._failure = (
                    f"serial port {self._port} stopped answering ({err}): the device was unplugged "
                    "or lost power; plug it in and start again."
                )
                self._wake()
                return
            if data:
                self._put(Chunk(time.monotonic(), data))

    def _put(self, chunk: Chunk) -> None:
        with self._lock:
            self.dropped_chunks += len(self._chunks) == self._chunks.maxlen
            self._chunks.append(chunk)
        self._wake()

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ready.set)


def _open(port: str, baud: int) -> serial.Serial:
    try:
        return serial.Serial(port, baud, timeout=_POLL_S, exclusive=True)
    except serial.SerialException as err:
        remedy = _REMEDY.get(err.errno or 0, f"{err}: check that it is a serial port and try again")
        raise SourceError(f"serial port {port} cannot be opened, {remedy}.") from None
    except (ValueError, OverflowError) as err:
        raise SourceError(
            f"serial port {port} does not take {baud} baud ({err}): give the rate the firmware "
            f"uses, such as {DEFAULT_BAUD}."
        ) from None
