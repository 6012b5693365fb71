"""A device made of software: recordings turned into frames, and a serial port that plays them."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import threading
import time
import tty
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import FrameFormatError
from talaria_bridge.frames import (
    DEFAULT_SCALE,
    DELIMITER,
    MAX_SAMPLES,
    U32,
    Hello,
    ImuFrame,
    encode_frame,
    encode_hello,
    quantise_acc,
    quantise_gyr,
)
from talaria_bridge.link import Chunk
from talaria_bridge.samples import SampleFlag

VIRTUAL_DEVICE_ID = 0x7461_6C61_7269_6100
_HELLO_EVERY_S = 1.0
_Array = NDArray[np.float64]


def schedule_frames(  # noqa: PLR0913  what a device is: its signal, its framing and its clock
    slots: Sequence[str],
    t_s: _Array,
    acc_ms2: _Array,
    gyr_rads: _Array,
    rate_hz: float,
    *,
    samples_per_frame: int = 1,
    device_us0: int = 1_000_000,
    clock_error: float = 0.0,
) -> list[tuple[float, bytes]]:
    """Turn a recording into what a device would have sent, and when.

    Parameters
    ----------
    slots : sequence of S str
        Where the sensors sit, in the order of axis 1.
    t_s : array, shape (T,)
        Seconds of the samples, rising. A step that is not one period ends the frame before it and
        flags the next ``TIME_GAP``.
    acc_ms2, gyr_rads : array, shape (T, S, 3)
        Specific force, m/s², and angular rate, rad/s, in the sensor frames.
    rate_hz : float
        Nominal rate.
    samples_per_frame : int
        Samples that share a frame, 1 to `MAX_SAMPLES`.
    device_us0 : int
        Device clock at the first sample, microseconds; it wraps at 2³² on the way.
    clock_error : float
        Relative error of the device clock's rate; positive runs fast.

    Returns
    -------
    list of (float, bytes)
        Seconds (on the clock of `t_s`) at which a frame is sent, which is when its last sample is
        taken, and its bytes. A HELLO comes first, after a delimiter, and once a second.

    Raises
    ------
    FrameFormatError
        If the shapes disagree or hold no sample, times do not rise, a value is not finite, or a
        number is out of range.
    """
    _check_recording(len(slots), t_s, acc_ms2, gyr_rads, samples_per_frame)
    acc, acc_clip = quantise_acc(acc_ms2, DEFAULT_SCALE)
    gyr, gyr_clip = quantise_gyr(gyr_rads, DEFAULT_SCALE)
    counts = np.concatenate([acc, gyr], axis=2)
    gaps = np.abs(np.diff(t_s, prepend=t_s[0] - 1 / rate_hz) * rate_hz - 1) > 0.5
    flags = np.where(acc_clip.any(axis=2), int(SampleFlag.ACC_CLIP), 0)
    flags |= np.where(gyr_clip.any(axis=2), int(SampleFlag.GYR_CLIP), 0)
    flags |= np.where(gaps, int(SampleFlag.TIME_GAP), 0)[:, np.newaxis]
    elapsed_us = (t_s - t_s[0]) * 1e6 * (1.0 + clock_error)
    device_us = np.rint(elapsed_us).astype(np.int64) + device_us0
    hello = encode_hello(
        Hello(VIRTUAL_DEVICE_ID, "talaria virtual", tuple(slots), round(rate_hz * 1000))
    )
    schedule = [(float(t_s[0]), DELIMITER + hello)]
    next_hello_s = float(t_s[0]) + _HELLO_EVERY_S
    for start, stop in _frame_bounds(gaps, samples_per_frame):
        sent_s = float(t_s[stop - 1])
        if sent_s >= next_hello_s:
            schedule.append((sent_s, hello))
            next_hello_s += _HELLO_EVERY_S
        for s, slot in enumerate(slots):
            frame = ImuFrame(
                slot,
                seq=start % U32,
                device_us=int(device_us[start]) % U32,
                period_us=round(1e6 / rate_hz),
                counts=tuple(map(tuple, counts[start:stop, s].tolist())),
                flags=SampleFlag(int(np.bitwise_or.reduce(flags[start:stop, s]))),
            )
            schedule.append((sent_s, encode_frame(frame)))
    return schedule


def schedule_chunks(
    slots: Sequence[str],
    t_s: _Array,
    acc_ms2: _Array,
    gyr_rads: _Array,
    rate_hz: float,
    link: str = "",
    **device: Any,
) -> list[Chunk]:
    """Like `schedule_frames`, with all that is sent at one instant in one `Chunk` of `link`."""
    frames = schedule_frames(slots, t_s, acc_ms2, gyr_rads, rate_hz, **device)
    return [Chunk(t_s, data, link) for t_s, data in _join(frames)]


class VirtualSerialDevice:
    """A serial port that a program can open, with a device behind it that plays a schedule.

    It starts `settle_s` after somebody first opens `port` (opening flushes the line, so what is
    sent at once is lost) and then keeps to the schedule in real time. What it sends while nobody
    has the port open is lost, as on a wire; a reader that is slow holds it up.

    Parameters
    ----------
    frames : iterable of (float, bytes)
        Seconds and bytes, in order, as `schedule_frames` makes them.
    pace : float
        How many times faster than real to play.
    settle_s : float
        Seconds from opening to the first byte.

    Attributes
    ----------
    port : str
        Path to open, such as ``/dev/pts/3``; valid inside the ``with`` block.
    """

    def __init__(
        self, frames: Iterable[tuple[float, bytes]], pace: float = 1.0, settle_s: float = 0.25
    ) -> None:
        self.port = ""
        self._frames = frames
        self._pace = pace
        self._settle_s = settle_s
        self._stopping = threading.Event()
        self._done = threading.Event()

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        self.port = os.ttyname(slave)
        os.set_blocking(self._master, False)
        os.close(slave)  # from here on a hang-up on our side means that nobody is listening
        self._thread = threading.Thread(target=self._run, name=f"virtual {self.port}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unplug()

    def unplug(self) -> None:
        """Stop playing and take the port away, as if the cable was pulled."""
        self._stopping.set()
        self._thread.join()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the whole schedule was sent; tell whether it was."""
        return self._done.wait(timeout_s)

    def _run(self) -> None:
        while not self._is_open():
            if self._stopping.wait(0.01):
                return
        tty.setraw(self._master)  # also sets the other end: no echo, no translation of bytes
        if self._stopping.wait(self._settle_s):
            return
        start = time.monotonic()
        first_s: float | None = None
        for t_s, data in _join(self._frames):
            first_s = t_s if first_s is None else first_s
            if self._stopping.wait(
                max(0.0, start + (t_s - first_s) / self._pace - time.monotonic())
            ):
                return
            self._send(data)
        self._done.set()

    def _send(self, data: bytes) -> None:
        while data and self._is_open() and not self._stopping.is_set():
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(self._master, data) :]
            if data:
                select.select([], [self._master], [], 0.05)

    def _is_open(self) -> bool:
        poll = select.poll()
        poll.register(self._master, 0)  # a hang-up is reported whether asked for or not
        return not any(event & select.POLLHUP for _, event in poll.poll(0))


def _check_recording(
    n_slots: int, t_s: _Array, acc_ms2: _Array, gyr_rads: _Array, samples_per_frame: int
) -> None:
    wanted = (len(t_s), n_slots, 3)
    if t_s.ndim != 1 or not len(t_s) or acc_ms2.shape != wanted or gyr_rads.shape != wanted:
        raise FrameFormatError(
            f"times of shape {t_s.shape}, accelerations of shape {acc_ms2.shape} and angular rates "
            f"of shape {gyr_rads.shape} do not make a recording of {n_slots} slots: they must have "
            "shapes (T,), (T, S, 3) and (T, S, 3) with T at least 1."
        )
    if not np.isfinite(t_s).all() or not (np.diff(t_s) > 0).all():
        raise FrameFormatError(
            f"the {len(t_s)} times of the recording do not rise from each to the next: "
            "sort the samples by time and leave out repeated ones."
        )
    if not 1 <= samples_per_frame <= MAX_SAMPLES:
        raise FrameFormatError(
            f"{samples_per_frame} samples per frame do not fit: use 1 to {MAX_SAMPLES}."
        )


def _frame_bounds(gaps: NDArray[np.bool_], size: int) -> Iterator[tuple[int, int]]:
    """First and past-the-last sample of each frame: at most `size`, never across a gap."""
    breaks = [*np.flatnonzero(gaps).tolist(), len(gaps)]
    start = 0
    for stop in breaks:
        for at in range(start, stop, size):
            yield at, min(at + size, stop)
        start = stop


def _join(frames: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    for t_s, group in groupby(frames, key=lambda frame: frame[0]):
        yield t_s, b"".join(data for _, data in group)
