"""What a host may ask of a device: both halves of section 7 of ``wire-format.md``.

The encoder serves hosts; the decoder serves devices made of software, and is what a firmware's
parser is checked against.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from talaria_bridge.decoder import cobs_decode
from talaria_bridge.frames import (
    CRC,
    DELIMITER,
    MAX_RATE_MILLIHZ,
    TYPE_HELLO,
    TYPE_NACK,
    WIRE_VERSION,
    Nack,
    NackReason,
    check_field,
    seal,
)

ASK_HELLO = 0x81
PING = 0x82
SET_RATE = 0x83
START = 0x84
STOP = 0x85
IDENTIFY = 0x86

MAX_COMMAND_BLOCK = 33
"""Longest block a device need hold: a body of 32 bytes and one byte of COBS."""

_TAGGED = struct.Struct("<BBB")
_PING = struct.Struct("<BBQ")
_SET_RATE = struct.Struct("<BBBI")
_IDENTIFY = struct.Struct("<BBBB")
_MAX_REFUSED = 0xFFFF


@dataclass(frozen=True, slots=True)
class AskHello:
    """Say who you are."""

    tag: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Say what your clock shows; `host_us` is the host's at sending, microseconds."""

    host_us: int


@dataclass(frozen=True, slots=True)
class SetRate:
    """Sample every slot at this rate, thousandths of a hertz."""

    tag: int
    rate_millihz: int


@dataclass(frozen=True, slots=True)
class Start:
    """Stream."""

    tag: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop streaming."""

    tag: int


@dataclass(frozen=True, slots=True)
class Identify:
    """Blink or buzz for some seconds, so that a person sees which device this is; 0 ends it."""

    tag: int
    duration_s: int


Command = AskHello | Ping | SetRate | Start | Stop | Identify
"""What a host sends."""


def encode_command(command: Command) -> bytes:
    """Encode a command, delimiter included.

    Raises
    ------
    FrameFormatError
        If a field is out of its range (it names the field).
    """
    if isinstance(command, Ping):
        check_field("host_us", command.host_us, 0, (1 << 64) - 1)
        return seal(_PING.pack(PING, WIRE_VERSION, command.host_us))
    check_field("tag", command.tag, 0, 255)
    if isinstance(command, SetRate):
        check_field("rate_millihz", command.rate_millihz, 1, MAX_RATE_MILLIHZ)
        return seal(_SET_RATE.pack(SET_RATE, WIRE_VERSION, command.tag, command.rate_millihz))
    if isinstance(command, Identify):
        check_field("duration_s", command.duration_s, 0, 255)
        return seal(_IDENTIFY.pack(IDENTIFY, WIRE_VERSION, command.tag, command.duration_s))
    types = {AskHello: ASK_HELLO, Start: START, Stop: STOP}
    return seal(_TAGGED.pack(types[type(command)], WIRE_VERSION, command.tag))


class CommandDecoder:
    """Find the commands in the bytes a host sends, cut anywhere.

    Keeps at most one unfinished block (`MAX_COMMAND_BLOCK` bytes) and raises on nothing.

    Attributes
    ----------
    refused : int
        Blocks that gave no command, answered with NACK or not; stays at 65 535, as in STATUS.
    """

    def __init__(self) -> None:
        self.refused = 0
        self._block = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[Command | Nack]:
        """Take in the next bytes; return the commands, and the refusals that must be answered."""
        found = []
        head, *rest = data.split(DELIMITER)
        self._extend(head)
        for piece in rest:
            outcome = self._end_block()
            if outcome is not None:
                found.append(outcome)
            self._extend(piece)
        return found

    def _extend(self, piece: bytes) -> None:
        if self._skipping or not piece:
            return
        if len(self._block) + len(piece) > MAX_COMMAND_BLOCK:
            self._refuse()
            self._skipping = True
            self._block.clear()
        else:
            self._block += piece

    def _end_block(self) -> Command | Nack | None:
        self._skipping = False
        if not self._block:
            return None
        body = cobs_decode(bytes(self._block))
        self._block.clear()
        outcome = None
        if body is not None and _is_intact(body):
            outcome = read_command(body[: -CRC.size])
        if not isinstance(outcome, Command):
            self._refuse()
        return outcome

    def _refuse(self) -> None:
        self.refused = min(self.refused + 1, _MAX_REFUSED)


def _is_intact(body: bytes) -> bool:
    if len(body) < 2 + CRC.size:
        return False
    return CRC.pack(zlib.crc32(body[: -CRC.size])) == body[-CRC.size :]


def read_command(payload: bytes) -> Command | Nack | None:
    """Read an intact message from a host (type .. last field, without the CRC).

    Returns
    -------
    Command, Nack or None
        None for what only devices send. It is an echo of our own, and answering it, the answer
        echoed again, would never end.
    """
    if TYPE_HELLO <= payload[0] <= TYPE_NACK:
        return None
    tag = payload[2] if len(payload) > 2 else 0
    known = _READERS.get(payload[0])
    if known is None or payload[1] != WIRE_VERSION:
        return Nack(payload[0], tag, NackReason.UNKNOWN)
    layout, make = known
    if len(payload) != layout.size:
        return Nack(payload[0], tag, NackReason.LENGTH)
    return make(*layout.unpack(payload)[2:])


def _set_rate(tag: int, rate_millihz: int) -> SetRate | Nack:
    if not 1 <= rate_millihz <= MAX_RATE_MILLIHZ:
        return Nack(SET_RATE, tag, NackReason.VALUE)
    return SetRate(tag, rate_millihz)


_READERS: dict[int, tuple[struct.Struct, Callable[..., Command | Nack]]] = {
    ASK_HELLO: (_TAGGED, AskHello),
    PING: (_PING, Ping),
    SET_RATE: (_SET_RATE, _set_rate),
    START: (_TAGGED, Start),
    STOP: (_TAGGED, Stop),
    IDENTIFY: (_IDENTIFY, Identify),
}
