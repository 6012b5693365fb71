"""Messages and the bytes they become: the sender's half of ``wire-format.md``, version 1."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talaria_bridge.errors import FrameFormatError
from talaria_bridge.samples import SLOTS, SampleFlag

WIRE_VERSION = 1
TYPE_HELLO = 0x01
TYPE_DATA = 0x02
TYPE_STATUS = 0x03
TYPE_PONG = 0x04
TYPE_ACK = 0x05
TYPE_NACK = 0x06

DELIMITER = b"\x00"
MAX_BODY = 242
"""Longest body, CRC included: block and delimiter then fit one BLE notification of 244 bytes."""
MAX_BLOCK = MAX_BODY + 1
"""Longest COBS block without its delimiter. A body below 254 bytes costs exactly one COBS byte."""
MAX_SAMPLES = 18
MAX_NAME = 32
MAX_PERIOD_US = 1_000_000
MAX_RATE_MILLIHZ = 1_000_000_000
U32 = 1 << 32

DATA_HEADER = struct.Struct("<BBIIIBBBBB")
"""type, version, device_us, seq, period_us, slot, flags, acc scale, gyr scale, sample count."""
HELLO_HEADER = struct.Struct("<BBBQHHIBBB")
"""type, version, protocol, device id, slots, capabilities, rate (mHz), acc, gyr, name length."""
STATUS_BODY = struct.Struct("<BBIBBIH")
"""type, version, device_us, state, battery, dropped, refused."""
PONG_BODY = struct.Struct("<BBQII")
"""type, version, host_us, device_us, hold_us."""
ACK_BODY = struct.Struct("<BBBB")
"""type, version, command, tag."""
NACK_BODY = struct.Struct("<BBBBB")
"""type, version, command, tag, reason."""
CRC = struct.Struct("<I")
SAMPLE_BYTES = 12
COUNTS = tuple(struct.Struct(f"<{6 * n}h") for n in range(MAX_SAMPLES + 1))

STANDARD_GRAVITY_MS2 = 9.80665
ACC_FULL_SCALE_G = {0: 2, 1: 4, 2: 8, 3: 16, 4: 32}
"""Scale id -> the acceleration that 32768 counts would mean, in standard gravities."""
GYR_FULL_SCALE_DPS = {0: 250, 1: 500, 2: 1000, 3: 2000, 4: 4000}
"""Scale id -> the angular rate that 32768 counts would mean, in degrees per second."""
ACC_MS2_PER_COUNT = {i: g * STANDARD_GRAVITY_MS2 / 32768 for i, g in ACC_FULL_SCALE_G.items()}
GYR_RADS_PER_COUNT = {i: math.radians(d) / 32768 for i, d in GYR_FULL_SCALE_DPS.items()}
DEFAULT_SCALE = 3
"""±16 g and ±2000 deg/s: a foot strikes the ground harder than ±8 g."""

FLAG_MASK = 0x1F
CAPABILITY_MASK = 0x1F
SLOT_NUMBER = {slot: number for number, slot in enumerate(SLOTS)}

UNKNOWN_BATTERY = 255

Counts = tuple[int, int, int, int, int, int]


class Capability(IntFlag):
    """Which commands a device obeys, and whether it sends STATUS."""

    NONE = 0
    START_STOP = 1
    SET_RATE = 2
    PING = 4
    IDENTIFY = 8
    STATUS = 16


class DeviceState(IntEnum):
    """What a device is doing."""

    IDLE = 0
    STREAMING = 1
    FAULT = 2


class NackReason(IntEnum):
    """Why a device refused a command."""

    UNKNOWN = 1
    LENGTH = 2
    VALUE = 3
    UNSUPPORTED = 4
    BUSY = 5


@dataclass(frozen=True, slots=True)
class ImuFrame:
    """A DATA message: consecutive samples of one slot, as the sensor counted them.

    Attributes
    ----------
    slot : str
        One of `SLOTS`.
    seq : int
        Number of the first sample, 0 .. 2³² - 1, wrapping.
    device_us : int
        Device clock at the first sample, microseconds, 0 .. 2³² - 1, wrapping every 71.6 min.
    period_us : int
        Spacing of the samples in this frame, microseconds.
    counts : tuple of N tuples of 6 int
        acc x, y, z, gyr x, y, z of each sample, int16.
    acc_scale, gyr_scale : int
        Keys of `ACC_MS2_PER_COUNT` and `GYR_RADS_PER_COUNT`.
    flags : SampleFlag
        What the sensor knows to be odd about these samples.
    """

    slot: str
    seq: int
    device_us: int
    period_us: int
    counts: tuple[Counts, ...]
    acc_scale: int = DEFAULT_SCALE
    gyr_scale: int = DEFAULT_SCALE
    flags: SampleFlag = SampleFlag.NONE


@dataclass(frozen=True, slots=True)
class Hello:
    """A HELLO message: who is talking, and what it will send.

    Attributes
    ----------
    device_id : int
        The chip's own 64-bit number.
    name : str
        Printable ASCII, at most `MAX_NAME` characters.
    slots : tuple of str
        The slots this device sends, in wire order.
    rate_millihz : int
        Nominal sample rate of every slot in thousandths of a hertz.
    acc_scale, gyr_scale : int
        Scale ids the device is set to; each DATA frame repeats those that hold for it.
    protocol : int
        Highest wire format version the device speaks.
    capabilities : Capability
        Which commands it obeys.
    """

    device_id: int
    name: str
    slots: tuple[str, ...]
    rate_millihz: int
    acc_scale: int = DEFAULT_SCALE
    gyr_scale: int = DEFAULT_SCALE
    protocol: int = WIRE_VERSION
    capabilities: Capability = Capability.NONE


@dataclass(frozen=True, slots=True)
class Status:
    """A STATUS message: how the device is.

    Attributes
    ----------
    device_us : int
        Device clock at sending, microseconds, wrapping.
    state : DeviceState
    battery : float or None
        Charge, 0 to 1 in steps of 0.01; None where the device cannot tell.
    dropped : int
        Samples that were numbered but found no room on the way out, wrapping.
    refused : int
        Blocks from the host that were damaged, too long or no command; stays at 65 535.
    """

    device_us: int
    state: DeviceState
    battery: float | None
    dropped: int
    refused: int


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a PING: its host time, the device time of its arrival, and how long it lay."""

    host_us: int
    device_us: int
    hold_us: int


@dataclass(frozen=True, slots=True)
class Ack:
    """A command was obeyed."""

    command: int
    tag: int


@dataclass(frozen=True, slots=True)
class Nack:
    """A command was refused."""

    command: int
    tag: int
    reason: NackReason


Message = ImuFrame | Hello | Status | Pong | Ack | Nack
"""What a device sends."""


def encode_data(  # noqa: PLR0913  one argument per field of the frame
    slot: str,
    seq: int,
    device_us: int,
    period_us: int,
    acc_ms2: ArrayLike,
    gyr_rads: ArrayLike,
    *,
    acc_scale: int = DEFAULT_SCALE,
    gyr_scale: int = DEFAULT_SCALE,
    flags: SampleFlag = SampleFlag.NONE,
) -> bytes:
    """Put SI samples of one slot into one DATA frame, delimiter included.

    Parameters
    ----------
    acc_ms2, gyr_rads : array_like, shape (N, 3) or (3,)
        Specific force in m/s² and angular rate in rad/s, sensor frame. What lies beyond the full
        scale is clipped and flagged ``ACC_CLIP`` or ``GYR_CLIP``.

    Raises
    ------
    FrameFormatError
        If a field is out of its range, the shapes disagree, or a value is not finite.
    """
    acc, acc_clip = quantise_acc(np.atleast_2d(np.asarray(acc_ms2, dtype=float)), acc_scale)
    gyr, gyr_clip = quantise_gyr(np.atleast_2d(np.asarray(gyr_rads, dtype=float)), gyr_scale)
    if acc.shape != gyr.shape or acc.ndim != 2 or acc.shape[1] != 3:
        raise FrameFormatError(
            f"acceleration of shape {acc.shape} and angular rate of shape {gyr.shape} do not make "
            "samples of one sensor: both must have shape (N, 3)."
        )
    flags |= SampleFlag.ACC_CLIP if acc_clip.any() else SampleFlag.NONE
    flags |= SampleFlag.GYR_CLIP if gyr_clip.any() else SampleFlag.NONE
    counts = tuple(tuple(row) for row in np.hstack([acc, gyr]).tolist())
    return encode_frame(
        ImuFrame(slot, seq, device_us, period_us, counts, acc_scale, gyr_scale, flags)
    )


def encode_frame(frame: ImuFrame) -> bytes:
    """Encode a DATA message, delimiter included.

    Raises
    ------
    FrameFormatError
        If a field is out of its range (it names the field).
    """
    n = len(frame.counts)
    check_field("sample count", n, 1, MAX_SAMPLES)
    check_field("seq", frame.seq, 0, U32 - 1)
    check_field("device_us", frame.device_us, 0, U32 - 1)
    check_field("period_us", frame.period_us, 1, MAX_PERIOD_US)
    _check_scales(frame.acc_scale, frame.gyr_scale)
    header = DATA_HEADER.pack(
        TYPE_DATA,
        WIRE_VERSION,
        frame.device_us,
        frame.seq,
        frame.period_us,
        _slot_number(frame.slot),
        int(frame.flags) & FLAG_MASK,
        frame.acc_scale,
        frame.gyr_scale,
        n,
    )
    try:
        samples = COUNTS[n].pack(*[count for sample in frame.counts for count in sample])
    except struct.error as err:
        raise FrameFormatError(
            f"the counts of slot {frame.slot} do not fit a frame ({err}): "
            "each sample must be six whole numbers from -32768 to 32767."
        ) from None
    return seal(header + samples)


def encode_hello(hello: Hello) -> bytes:
    """Encode a HELLO message, delimiter included.

    Raises
    ------
    FrameFormatError
        If a field is out of its range (it names the field).
    """
    check_field("protocol", hello.protocol, 1, 255)
    check_field("device_id", hello.device_id, 0, (1 << 64) - 1)
    check_field("rate_millihz", hello.rate_millihz, 1, MAX_RATE_MILLIHZ)
    _check_scales(hello.acc_scale, hello.gyr_scale)
    check_field("number of slots", len(hello.slots), 1, len(SLOTS))
    check_field("length of the name", len(hello.name), 0, MAX_NAME)
    if not is_plain_name(hello.name):
        raise FrameFormatError(
            f"the device name {hello.name!r} has characters other than printable ASCII, "
            "which a terminal might obey: rename the device."
        )
    header = HELLO_HEADER.pack(
        TYPE_HELLO,
        WIRE_VERSION,
        hello.protocol,
        hello.device_id,
        sum(1 << number for number in {_slot_number(slot) for slot in hello.slots}),
        int(hello.capabilities) & CAPABILITY_MASK,
        hello.rate_millihz,
        hello.acc_scale,
        hello.gyr_scale,
        len(hello.name),
    )
    return seal(header + hello.name.encode("ascii"))


def encode_status(status: Status) -> bytes:
    """Encode a STATUS message, delimiter included.

    Raises
    ------
    FrameFormatError
        If a field is out of its range (it names the field).
    """
    battery = UNKNOWN_BATTERY
    if status.battery is not None:
        if not 0.0 <= status.battery <= 1.0:
            raise FrameFormatError(
                f"battery is {status.battery!r}, which STATUS cannot carry: it must be from 0 to 1, "
                "or None where the device cannot tell."
            )
        battery = round(100 * status.battery)
    check_field("device_us", status.device_us, 0, U32 - 1)
    check_field("state", status.state, 0, max(DeviceState))
    check_field("dropped", status.dropped, 0, U32 - 1)
    check_field("refused", status.refused, 0, 0xFFFF)
    return seal(
        STATUS_BODY.pack(
            TYPE_STATUS,
            WIRE_VERSION,
            status.device_us,
            status.state,
            battery,
            status.dropped,
            status.refused,
        )
    )


def encode_answer(answer: Pong | Ack | Nack) -> bytes:
    """Encode the answer to a command, delimiter included.

    Raises
    ------
    FrameFormatError
        If a field is out of its range (it names the field).
    """
    if isinstance(answer, Pong):
        check_field("host_us", answer.host_us, 0, (1 << 64) - 1)
        check_field("device_us", answer.device_us, 0, U32 - 1)
        check_field("hold_us", answer.hold_us, 0, U32 - 1)
        fields = (answer.host_us, answer.device_us, answer.hold_us)
        return seal(PONG_BODY.pack(TYPE_PONG, WIRE_VERSION, *fields))
    check_field("command", answer.command, 0, 255)
    check_field("tag", answer.tag, 0, 255)
    if isinstance(answer, Ack):
        return seal(ACK_BODY.pack(TYPE_ACK, WIRE_VERSION, answer.command, answer.tag))
    check_field("reason", answer.reason, min(NackReason), max(NackReason))
    fields = (answer.command, answer.tag, answer.reason)
    return seal(NACK_BODY.pack(TYPE_NACK, WIRE_VERSION, *fields))


def quantise_acc(
    acc_ms2: NDArray[np.float64], scale: int
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Turn m/s² of any shape into int16 counts, and say which were clipped.

    Raises
    ------
    FrameFormatError
        If the scale id is unknown or a value is not finite.
    """
    _check_scales(scale, DEFAULT_SCALE)
    return _quantise(acc_ms2, ACC_MS2_PER_COUNT[scale], "acceleration")


def quantise_gyr(
    gyr_rads: NDArray[np.float64], scale: int
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Turn rad/s of any shape into int16 counts, and say which were clipped.

    Raises
    ------
    FrameFormatError
        If the scale id is unknown or a value is not finite.
    """
    _check_scales(DEFAULT_SCALE, scale)
    return _quantise(gyr_rads, GYR_RADS_PER_COUNT[scale], "angular rate")


def seal(payload: bytes) -> bytes:
    """Close a message (type .. last field): append the CRC, COBS-encode, append the delimiter."""
    body = payload + CRC.pack(zlib.crc32(payload))
    return cobs_encode(body) + DELIMITER


def cobs_encode(body: bytes) -> bytes:
    """COBS-encode a body of at most `MAX_BODY` bytes (Cheshire and Baker 1999).

    Bodies are too short for the 254-byte run of the paper, so its 0xFF case is absent.
    """
    out = bytearray()
    for run in body.split(DELIMITER):
        out.append(len(run) + 1)
        out += run
    return bytes(out)


def is_plain_name(name: str) -> bool:
    """Tell whether a device name is printable ASCII only."""
    return name.isascii() and name.isprintable()


def _quantise(
    values: NDArray[np.float64], per_count: float, what: str
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    if not np.isfinite(values).all():
        raise FrameFormatError(
            f"the {what} has values that are not finite, which int16 cannot carry: "
            "leave those samples out, so that the receiver sees them as lost."
        )
    counts = np.rint(values / per_count)
    clipped = (counts < -32768) | (counts > 32767)
    return np.clip(counts, -32768, 32767).astype(np.int16), clipped


def check_field(field: str, value: int, low: int, high: int) -> None:
    """Refuse a number that its field in a frame cannot carry.

    Raises
    ------
    FrameFormatError
        If it is no whole number from `low` to `high`.
    """
    if not isinstance(value, Integral) or not low <= value <= high:
        raise FrameFormatError(
            f"{field} is {value!r}, which its field in the frame cannot carry: "
            f"it must be a whole number from {low} to {high}."
        )


def _check_scales(acc_scale: int, gyr_scale: int) -> None:
    for what, scale, table in (
        ("acceleration", acc_scale, ACC_FULL_SCALE_G),
        ("angular rate", gyr_scale, GYR_FULL_SCALE_DPS),
    ):
        if scale not in table:
            raise FrameFormatError(
                f"{what} scale id {scale!r} is not in the wire format's table: "
                f"use one of {sorted(table)}."
            )


def _slot_number(slot: str) -> int:
    number = SLOT_NUMBER.get(slot)
    if number is None:
        raise FrameFormatError(
            f"slot {slot!r} has no number on the wire: use one of {', '.join(SLOTS)}."
        )
    return number
