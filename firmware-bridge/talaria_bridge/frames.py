"""Messages and the bytes they become: the sender's half of ``wire-format.md``, version 1."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talaria_bridge.errors import FrameFormatError
from talaria_bridge.samples import SLOTS, SampleFlag

WIRE_VERSION = 1
TYPE_HELLO = 0x01
TYPE_DATA = 0x02

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
HELLO_HEADER = struct.Struct("<BBBQHIBBB")
"""type, version, protocol, device id, slot mask, rate (mHz), acc scale, gyr scale, name length."""
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
SLOT_NUMBER = {slot: number for number, slot in enumerate(SLOTS)}

Counts = tuple[int, int, int, int, int, int]


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
    """

    device_id: int
    name: str
    slots: tuple[str, ...]
    rate_millihz: int
    acc_scale: int = DEFAULT_SCALE
    gyr_scale: int = DEFAULT_SCALE
    protocol: int = WIRE_VERSION


Message = ImuFrame | Hello


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
    _check("sample count", n, 1, MAX_SAMPLES)
    _check("seq", frame.seq, 0, U32 - 1)
    _check("device_us", frame.device_us, 0, U32 - 1)
    _check("period_us", frame.period_us, 1, MAX_PERIOD_US)
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
    _check("protocol", hello.protocol, 1, 255)
    _check("device_id", hello.device_id, 0, (1 << 64) - 1)
    _check("rate_millihz", hello.rate_millihz, 1, MAX_RATE_MILLIHZ)
    _check_scales(hello.acc_scale, hello.gyr_scale)
    _check("number of slots", len(hello.slots), 1, len(SLOTS))
    _check("length of the name", len(hello.name), 0, MAX_NAME)
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
        hello.rate_millihz,
        hello.acc_scale,
        hello.gyr_scale,
        len(hello.name),
    )
    return seal(header + hello.name.encode("ascii"))


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


def _check(field: str, value: int, low: int, high: int) -> None:
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
