"""A serial port as a source: the only module that imports pyserial."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from types import TracebackType
from typing import Self

import serial
from serial.tools import list_ports

from talaria_bridge.backoff import Backoff
from talaria_bridge.errors import SourceError
from talaria_bridge.inbox import MAX_ITEMS, Inbox
from talaria_bridge.link import Chunk, Item, Link, LinkEvent, LinkNews

DEFAULT_BAUD = 921600
_POLL_S = 0.1
_WRITE_TIMEOUT_S = 0.2
"""A device that does not take a short command in this time has stopped reading."""
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
    """Read a serial port in a thread of its own; when the device goes, wait for it to come back.

    Parameters
    ----------
    link : Link
        What the port is called and who is behind it.
    port : str
        Path of the port, such as ``/dev/ttyACM0``.
    baud : int
        Bits per second; a USB port ignores it.
    retry_s : float
        How long to wait for a device that has gone before the source fails.
    max_items : int
        Chunks kept for a slow reader. Beyond that the oldest goes, and is counted.
    """

    def __init__(
        self,
        link: Link,
        port: str,
        baud: int = DEFAULT_BAUD,
        retry_s: float = float("inf"),
        max_items: int = MAX_ITEMS,
    ) -> None:
        self.name = link.name
        self.links = (link,)
        self._port = port
        self._baud = baud
        self._retry_s = retry_s
        self._max_items = max_items
        self._stopping = threading.Event()
        self._inbox: Inbox | None = None

    @property
    def dropped_chunks(self) -> int:
        """Chunks the reader of this source came too late for."""
        return 0 if self._inbox is None else self._inbox.dropped_chunks

    def send(self, link: str, data: bytes) -> None:
        """Write to the device; what it does not take is lost, as on a wire."""
        if link == self.name:
            with contextlib.suppress(OSError):  # the reader notices a port that has gone
                self._serial.write(data)

    async def __aenter__(self) -> Self:
        self._inbox = Inbox(self._max_items)
        self._serial = _open(self._port, self._baud)
        self._say(LinkNews.CONNECTED)
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
        # At most one poll away; awaiting here would let a cancelled session leave the port open.
        self._thread.join()
        self._serial.close()
        self._box.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return await self._box.get()

    @property
    def _box(self) -> Inbox:
        assert self._inbox is not None  # entered
        return self._inbox

    def _read(self) -> None:
        while not self._stopping.is_set():
            try:
                data = self._serial.read(1)
            except OSError as err:
                if not self._reopen(err):
                    return
                continue
            if data:
                # What came with the byte that was waited for: a packet makes one chunk, not two.
                with contextlib.suppress(OSError):  # the next read meets it again
                    data += self._serial.read(self._serial.in_waiting)
                self._box.put(Chunk(time.monotonic(), data, self.name))

    def _reopen(self, err: OSError) -> bool:
        """Wait until the port can be opened again; False when that took too long."""
        self._say(LinkNews.LOST, f"serial port {self._port} stopped answering ({err})")
        self._serial.close()
        backoff = Backoff()
        until_s = time.monotonic() + self._retry_s
        while time.monotonic() < until_s and not self._stopping.wait(backoff.next_s()):
            with contextlib.suppress(SourceError):
                self._serial = _open(self._port, self._baud)
                self._say(LinkNews.CONNECTED)
                return True
        self._box.fail(
            f"serial port {self._port} stopped answering ({err}): the device was unplugged "
            "or lost power; plug it in and start again."
        )
        return False

    def _say(self, news: LinkNews, detail: str = "") -> None:
        self._box.put(LinkEvent(time.monotonic(), self.name, news, detail))


def serial_ports() -> list[tuple[str, str]]:
    """List the ports something is plugged into: path, and what it calls itself."""
    return sorted(
        (port.device, port.product or port.description)
        for port in list_ports.comports()
        if port.vid is not None
    )


def _open(port: str, baud: int) -> serial.Serial:
    try:
        return serial.Serial(
            port, baud, timeout=_POLL_S, write_timeout=_WRITE_TIMEOUT_S, exclusive=True
        )
    except serial.SerialException as err:
        remedy = _REMEDY.get(err.errno or 0, f"{err}: check that it is a serial port and try again")
        raise SourceError(f"serial port {port} cannot be opened, {remedy}.") from None
    except (ValueError, OverflowError) as err:
        raise SourceError(
            f"serial port {port} does not take {baud} baud ({err}): give the rate the firmware "
            f"uses, such as {DEFAULT_BAUD}."
        ) from None
