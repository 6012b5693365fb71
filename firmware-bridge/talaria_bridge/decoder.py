"""Bytes to messages to samples: the receiver's half of ``wire-format.md``, version 1.

Nothing here raises on bad bytes; each kind is counted instead, so that the counters tell a bad
cable (`crc_errors`, `cobs_errors`, `too_long`) from a firmware that does not follow the format
(`unknown`, `malformed`) and from a link that loses whole frames (`lost_samples`).
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from talaria_bridge.clock import DeviceClock
from talaria_bridge.frames import (
    ACC_FULL_SCALE_G,
    ACC_MS2_PER_COUNT,
    ACK_BODY,
    CAPABILITY_MASK,
    COUNTS,
    CRC,
    DATA_HEADER,
    DELIMITER,
    FLAG_MASK,
    GYR_FULL_SCALE_DPS,
    GYR_RADS_PER_COUNT,
    HELLO_HEADER,
    MAX_BLOCK,
    MAX_NAME,
    MAX_PERIOD_US,
    MAX_RATE_MILLIHZ,
    MAX_SAMPLES,
    NACK_BODY,
    PONG_BODY,
    SAMPLE_BYTES,
    STATUS_BODY,
    TYPE_ACK,
    TYPE_DATA,
    TYPE_HELLO,
    TYPE_NACK,
    TYPE_PONG,
    TYPE_STATUS,
    U32,
    UNKNOWN_BATTERY,
    WIRE_VERSION,
    Ack,
    Capability,
    DeviceState,
    Hello,
    ImuFrame,
    Message,
    Nack,
    NackReason,
    Pong,
    Status,
    is_plain_name,
)
from talaria_bridge.samples import SLOTS, ImuSample, SampleFlag

_REPEAT_WINDOW = 64
"""A number at most this far behind is a repeat; one further behind is a device that restarted."""
_FIRST_ONLY = SampleFlag.TIME_GAP | SampleFlag.RESET
_FLAGS = tuple(SampleFlag(bits) for bits in range(FLAG_MASK + 1))


@dataclass(frozen=True, slots=True)
class DecoderCounters:
    """What a decoder has seen so far.

    Attributes
    ----------
    bytes_in : int
        Bytes fed.
    frames : int
        Messages returned.
    crc_errors, cobs_errors, too_long : int
        Damaged blocks, by the check that caught them.
    unknown : int
        Intact blocks of a type or version this decoder does not know.
    malformed : int
        Intact blocks of a known type that break its rules: the sender is wrong.
    duplicates : int
        Intact DATA messages that repeat samples already seen; they are not returned.
    restarts : int
        Times a slot's numbering started again.
    lost_samples : mapping of str to int
        Samples missing from each slot's numbering; only slots that were seen.
    """

    bytes_in: int
    frames: int
    crc_errors: int
    cobs_errors: int
    too_long: int
    unknown: int
    malformed: int
    duplicates: int
    restarts: int
    lost_samples: Mapping[str, int]


class FrameDecoder:
    """Find the messages in a byte stream that arrives in pieces of any size.

    Keeps at most one unfinished block (`MAX_BLOCK` bytes) and finds its feet again at the next
    delimiter, whatever it is fed.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the stream and the counters, as if new."""
        self._block = bytearray()
        self._skipping = False
        self._bytes_in = 0
        self._count: Counter[str] = Counter()
        self._numbering: dict[str, _Numbering] = {}

    @property
    def counters(self) -> DecoderCounters:
        """A snapshot of the counters."""
        count = self._count
        return DecoderCounters(
            bytes_in=self._bytes_in,
            frames=count["frames"],
            crc_errors=count["crc_errors"],
            cobs_errors=count["cobs_errors"],
            too_long=count["too_long"],
            unknown=count["unknown"],
            malformed=count["malformed"],
            duplicates=count["duplicates"],
            restarts=sum(numbering.restarts for numbering in self._numbering.values()),
            lost_samples=MappingProxyType({s: n.lost for s, n in self._numbering.items()}),
        )

    def feed(self, chunk: bytes) -> list[Message]:
        """Take in the next bytes of the stream, and return the messages they complete."""
        self._bytes_in += len(chunk)
        head, *rest = chunk.split(DELIMITER)
        self._extend(head)
        messages = []
        for piece in rest:
            message = self._end_block()
            if message is not None:
                messages.append(message)
            if piece:
                self._extend(piece)
        return messages

    def _extend(self, piece: bytes) -> None:
        if self._skipping:
            return
        if len(self._block) + len(piece) > MAX_BLOCK:
            self._count["too_long"] += 1
            self._skipping = True
            self._block.clear()
        else:
            self._block += piece

    def _end_block(self) -> Message | None:
        self._skipping = False
        if not self._block:
            return None
        outcome = read_block(bytes(self._block))
        self._block.clear()
        if isinstance(outcome, str):
            self._count[outcome] += 1
            return None
        if isinstance(outcome, ImuFrame) and self._is_repeat(outcome):
            self._count["duplicates"] += 1
            return None
        self._count["frames"] += 1
        return outcome

    def _is_repeat(self, frame: ImuFrame) -> bool:
        numbering = self._numbering.get(frame.slot)
        if numbering is None:
            numbering = self._numbering[frame.slot] = _Numbering()
        return numbering.advance(frame) is None


class SampleAssembler:
    """Turn the messages of one link into samples in SI units on the host's time.

    Parameters
    ----------
    clock : DeviceClock, optional
        The clock of the device at the other end; a new one by default.

    Attributes
    ----------
    hello : Hello or None
        What the device last said about itself.
    status : Status or None
        How it last said it was.
    """

    def __init__(self, clock: DeviceClock | None = None) -> None:
        self.clock = clock or DeviceClock()
        self.reset()

    def reset(self) -> None:
        """Forget the device, as if new."""
        self.clock.reset()
        self.hello: Hello | None = None
        self.status: Status | None = None
        self._numbering: dict[str, _Numbering] = {}
        self._epoch: dict[str, int] = {}

    def push(self, messages: Iterable[Message], arrival_s: float) -> list[ImuSample]:
        """Take in what one chunk held, and return its samples in the order they were sent.

        Parameters
        ----------
        messages : iterable of Message
            What `FrameDecoder.feed` returned for the chunk.
        arrival_s : float
            Host seconds at which the chunk arrived.

        Returns
        -------
        list of ImuSample
            Clip and battery flags of a frame hold for each of its samples, ``TIME_GAP`` and
            ``RESET`` for its first. ``RESET`` is also set where the clock saw the restart itself.
        """
        samples: list[ImuSample] = []
        for message in messages:
            if isinstance(message, ImuFrame):
                samples += self._samples(message, arrival_s)
            elif isinstance(message, Hello):
                self.hello = message
            elif isinstance(message, Status):
                self.status = message
            elif isinstance(message, Pong):
                self.clock.note_pong(message.host_us, message.device_us, message.hold_us, arrival_s)
        return samples

    def _samples(self, frame: ImuFrame, arrival_s: float) -> list[ImuSample]:
        numbering = self._numbering.get(frame.slot)
        if numbering is None:
            numbering = self._numbering[frame.slot] = _Numbering()
        seq = numbering.advance(frame)
        if seq is None:
            return []
        # A frame leaves when its last sample is taken: that is the instant its arrival tells of.
        span_us = (len(frame.counts) - 1) * frame.period_us
        restarted = bool(frame.flags) and SampleFlag.RESET in frame.flags
        last_us = self.clock.update((frame.device_us + span_us) % U32, arrival_s, restarted)
        flags = self._with_restart(frame)
        acc, gyr = ACC_MS2_PER_COUNT[frame.acc_scale], GYR_RADS_PER_COUNT[frame.gyr_scale]
        samples = []
        for k, (ax, ay, az, gx, gy, gz) in enumerate(frame.counts):
            samples.append(
                ImuSample(
                    frame.slot,
                    seq + k,
                    self.clock.to_host_s(last_us - span_us + k * frame.period_us),
                    (ax * acc, ay * acc, az * acc),
                    (gx * gyr, gy * gyr, gz * gyr),
                    flags,
                )
            )
            flags = flags and flags & ~_FIRST_ONLY
        return samples

    def _with_restart(self, frame: ImuFrame) -> SampleFlag:
        epoch = self.clock.epoch
        before = self._epoch.get(frame.slot, epoch)
        self._epoch[frame.slot] = epoch
        return frame.flags if before == epoch else frame.flags | SampleFlag.RESET


class _Numbering:
    """Follow one slot's wrapping sample numbers."""

    def __init__(self) -> None:
        self.lost = 0
        self.restarts = 0
        self._next_seq = 0
        self._next_number = 0
        self._last: ImuFrame | None = None

    def advance(self, frame: ImuFrame) -> int | None:
        """Return the unwrapped number of a frame's first sample, or None if it is a repeat.

        A device that restarts begins at 0 again; its samples are numbered on from the last one
        before, because how many were lost in between cannot be known.
        """
        if self._last is None:
            return self._accept(frame, frame.seq)
        gap = (frame.seq - self._next_seq + U32 // 2) % U32 - U32 // 2
        restarted = bool(frame.flags) and SampleFlag.RESET in frame.flags
        # The same frame again begins where it began, so only one that goes back can be it.
        if gap < 0 and (frame == self._last or (gap >= -_REPEAT_WINDOW and not restarted)):
            return None
        if gap < 0 or (restarted and gap > 0):
            self.restarts += 1
            return self._accept(frame, self._next_number)
        self.lost += gap
        return self._accept(frame, self._next_number + gap)

    def _accept(self, frame: ImuFrame, number: int) -> int:
        n = len(frame.counts)
        self._last = frame
        self._next_seq = (frame.seq + n) % U32
        self._next_number = number + n
        return number


def read_block(block: bytes) -> Message | str:
    """Read one COBS block without its delimiter.

    Returns
    -------
    Message or str
        The message, or the name of the counter in `DecoderCounters` that says why there is none.
    """
    body = cobs_decode(block)
    if body is None:
        return "cobs_errors"
    if (
        len(body) < 2 + CRC.size
        or zlib.crc32(body[: -CRC.size]) != CRC.unpack(body[-CRC.size :])[0]
    ):
        return "crc_errors"
    reader = _READERS.get(body[0])
    if reader is None or body[1] != WIRE_VERSION:
        return "unknown"
    return reader(body) or "malformed"


def cobs_decode(block: bytes) -> bytes | None:
    """Undo COBS for a block of at most `MAX_BLOCK` bytes; None if a code points past the end."""
    out = bytearray()
    at, end = 0, len(block)
    while at < end:
        following = at + block[at]
        if following > end:
            return None
        out += block[at + 1 : following]
        if following < end:
            out.append(0)
        at = following
    return bytes(out)


def _read_data(body: bytes) -> ImuFrame | None:
    if len(body) < DATA_HEADER.size + CRC.size:
        return None
    _, _, device_us, seq, period_us, slot, bits, acc, gyr, n = DATA_HEADER.unpack_from(body)
    if (
        not 1 <= n <= MAX_SAMPLES
        or len(body) != DATA_HEADER.size + SAMPLE_BYTES * n + CRC.size
        or not 1 <= period_us <= MAX_PERIOD_US
        or slot >= len(SLOTS)
        or acc not in ACC_FULL_SCALE_G
        or gyr not in GYR_FULL_SCALE_DPS
    ):
        return None
    flat = COUNTS[n].unpack_from(body, DATA_HEADER.size)
    counts = tuple(zip(*[iter(flat)] * 6, strict=True))
    return ImuFrame(
        SLOTS[slot], seq, device_us, period_us, counts, acc, gyr, _FLAGS[bits & FLAG_MASK]
    )


def _read_hello(body: bytes) -> Hello | None:
    if len(body) < HELLO_HEADER.size + CRC.size:
        return None
    header = HELLO_HEADER.unpack_from(body)
    _, _, protocol, device_id, mask, capabilities, rate, acc, gyr, length = header
    name = body[HELLO_HEADER.size : -CRC.size].decode("latin-1")
    slots = tuple(slot for number, slot in enumerate(SLOTS) if mask >> number & 1)
    if (
        length != len(name)
        or length > MAX_NAME
        or not is_plain_name(name)
        or not slots
        or protocol < 1
        or not 1 <= rate <= MAX_RATE_MILLIHZ
        or acc not in ACC_FULL_SCALE_G
        or gyr not in GYR_FULL_SCALE_DPS
    ):
        return None
    obeys = Capability(capabilities & CAPABILITY_MASK)
    return Hello(device_id, name, slots, rate, acc, gyr, protocol, obeys)


def _read_status(body: bytes) -> Status | None:
    if len(body) != STATUS_BODY.size + CRC.size:
        return None
    _, _, device_us, state, battery, dropped, refused = STATUS_BODY.unpack_from(body)
    if state > max(DeviceState) or 100 < battery < UNKNOWN_BATTERY:
        return None
    charge = None if battery == UNKNOWN_BATTERY else battery / 100
    return Status(device_us, DeviceState(state), charge, dropped, refused)


def _read_pong(body: bytes) -> Pong | None:
    if len(body) != PONG_BODY.size + CRC.size:
        return None
    return Pong(*PONG_BODY.unpack_from(body)[2:])


def _read_ack(body: bytes) -> Ack | None:
    if len(body) != ACK_BODY.size + CRC.size:
        return None
    return Ack(*ACK_BODY.unpack_from(body)[2:])


def _read_nack(body: bytes) -> Nack | None:
    if len(body) != NACK_BODY.size + CRC.size:
        return None
    _, _, command, tag, reason = NACK_BODY.unpack_from(body)
    if not min(NackReason) <= reason <= max(NackReason):
        return None
    return Nack(command, tag, NackReason(reason))


_READERS: dict[int, Callable[[bytes], Message | None]] = {
    TYPE_DATA: _read_data,
    TYPE_HELLO: _read_hello,
    TYPE_STATUS: _read_status,
    TYPE_PONG: _read_pong,
    TYPE_ACK: _read_ack,
    TYPE_NACK: _read_nack,
}
