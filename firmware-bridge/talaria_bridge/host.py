"""The host's side of the talk with a Talaria device: what to write, and when. Sans-IO."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from talaria_bridge import commands
from talaria_bridge.commands import AskHello, Ping, SetRate, Start, Stop, encode_command
from talaria_bridge.errors import FrameFormatError
from talaria_bridge.frames import (
    DELIMITER,
    MAX_RATE_MILLIHZ,
    Ack,
    Capability,
    DeviceState,
    Hello,
    ImuFrame,
    Message,
    Nack,
    NackReason,
    Status,
)

PING_EVERY_S = 1.0
ANSWER_S = 1.0
"""A command unanswered for so long was lost on the way (the device has 0.5 s)."""
TRIES = 5
_KEPT_REFUSALS = 8
_NAMES = {
    commands.ASK_HELLO: "ASK_HELLO",
    commands.PING: "PING",
    commands.SET_RATE: "SET_RATE",
    commands.START: "START",
    commands.STOP: "STOP",
    commands.IDENTIFY: "IDENTIFY",
}
_WHY = {
    NackReason.UNKNOWN: "because it does not know it: update its firmware",
    NackReason.LENGTH: "because it found its length wrong: update its firmware or this Talaria",
    NackReason.VALUE: "because it cannot do that value: ask for another rate",
    NackReason.UNSUPPORTED: "because it cannot do that: leave it as it is",
    NackReason.BUSY: "because it was busy: wait, it is asked again every second",
}


class HostLink:
    """Get one device to stream at the wanted rate, keep it at it, and compare clocks.

    What a device can do its HELLO says, so nothing but ASK_HELLO is sent before that has come. What
    it refuses, or leaves unanswered `TRIES` times, is not asked again until it is connected again.

    Parameters
    ----------
    rate_hz : float or None
        The rate to ask for; None takes the one the device is set to.

    Attributes
    ----------
    refusals : deque of str
        The last things the device would not do, one sentence each.

    Raises
    ------
    FrameFormatError
        If SET_RATE cannot carry the rate.
    """

    def __init__(self, rate_hz: float | None = None) -> None:
        self._rate_millihz = None if rate_hz is None else _millihertz(rate_hz)
        self.refusals: deque[str] = deque(maxlen=_KEPT_REFUSALS)
        self._tag = 0
        self._hello: Hello | None = None
        self._forget()

    def opened(self, now_s: float) -> bytes:
        """Return what to write to a device that has just been connected."""
        self._forget()
        self._next_ping_s = now_s
        return DELIMITER + encode_command(AskHello(self._next_tag()))

    def heard(self, messages: Iterable[Message], now_s: float) -> bytes:
        """Take in what the device said; return what to answer."""
        out = b""
        for message in messages:
            if isinstance(message, ImuFrame):
                self._last_data_s = now_s
                self._waiting.pop(commands.START, None)  # obeyed, even if the ACK was lost
            elif isinstance(message, Ack):
                self._note_ack(message)
            elif isinstance(message, Nack):
                self._note_refusal(message, now_s)
            elif isinstance(message, Hello):
                self._hello = message
                out += self._see_to_rate(message, now_s)
                out += self._see_to_stream(None, now_s)
            elif isinstance(message, Status):
                out += self._see_to_stream(message.state, now_s)
        return out

    def due(self, now_s: float) -> bytes:
        """Return what it is time to write; ask ten times a second.

        The host time in a PING is `now_s` in microseconds: it must be of the clock of `Chunk.t_s`.
        """
        out = b""
        for waiting in list(self._waiting.values()):
            if now_s - waiting.sent_s >= ANSWER_S:
                out += self._ask(waiting.command, now_s, waiting.tries + 1)
        if now_s >= self._next_ping_s and self._obeys(Capability.PING, commands.PING):
            self._next_ping_s = now_s + PING_EVERY_S
            out += encode_command(Ping(round(now_s * 1e6)))
        return out

    def closing(self) -> bytes:
        """Return what to write before leaving."""
        if not self._obeys(Capability.START_STOP, commands.STOP):
            return b""
        return encode_command(Stop(self._next_tag()))

    def _forget(self) -> None:
        self._hello = None
        self._last_data_s = -math.inf
        self._next_ping_s = math.inf
        self._waiting: dict[int, _Waiting] = {}
        self._given_up: set[int] = set()
        self._rate_acked = False
        self._kept_millihz: int | None = None

    def _see_to_rate(self, hello: Hello, now_s: float) -> bytes:
        wanted, has = self._rate_millihz, hello.rate_millihz
        if wanted is None or commands.SET_RATE in (*self._waiting, *self._given_up):
            return b""
        acked, self._rate_acked = self._rate_acked, False
        if has == wanted:
            self._kept_millihz = None
            return b""
        can = Capability.SET_RATE in hello.capabilities
        if can and not acked and has != self._kept_millihz:
            return self._ask(SetRate(self._next_tag(), wanted), now_s)
        # It obeyed as well as it can: to ask again would only tear gaps into the stream.
        self._kept_millihz = has
        self._tell(
            f"the device samples at {has / 1000:g} Hz and not at the {wanted / 1000:g} Hz asked for, "
            "because it cannot: ask for the rate it has."
        )
        return b""

    def _see_to_stream(self, state: DeviceState | None, now_s: float) -> bytes:
        """Start a device that does not stream: it is new, or it restarted and forgot."""
        silent = now_s - self._last_data_s >= ANSWER_S
        if state is DeviceState.STREAMING or not (silent or state is DeviceState.IDLE):
            return b""
        if commands.START in self._waiting:
            return b""
        if not self._obeys(Capability.START_STOP, commands.START):
            return b""
        return self._ask(Start(self._next_tag()), now_s)

    def _obeys(self, capability: Capability, kind: int) -> bool:
        told = self._hello is not None and capability in self._hello.capabilities
        return told and kind not in self._given_up

    def _ask(self, command: SetRate | Start, now_s: float, tries: int = 1) -> bytes:
        kind = commands.SET_RATE if isinstance(command, SetRate) else commands.START
        if tries > TRIES:
            self._give_up(kind)
            self._tell(
                f"the device did not answer {_NAMES[kind]}, sent {TRIES} times, because nothing "
                "reaches it or it hangs: check the line to it, or restart it."
            )
            return b""
        self._waiting[kind] = _Waiting(command, now_s, tries)
        return encode_command(command)

    def _note_ack(self, ack: Ack) -> None:
        self._waiting.pop(ack.command, None)
        if ack.command == commands.SET_RATE:
            self._rate_acked = True

    def _note_refusal(self, nack: Nack, now_s: float) -> None:
        waiting = self._waiting.get(nack.command)
        if nack.reason is not NackReason.BUSY:
            self._give_up(nack.command)  # asking again would only be refused again
        elif waiting is not None:
            self._waiting[nack.command] = replace(waiting, sent_s=now_s, tries=0)
        name = _NAMES.get(nack.command, f"command 0x{nack.command:02X}")
        self._tell(f"the device refused {name} {_WHY[nack.reason]}.")

    def _give_up(self, kind: int) -> None:
        self._waiting.pop(kind, None)
        self._given_up.add(kind)

    def _tell(self, sentence: str) -> None:
        if sentence not in self.refusals:
            self.refusals.append(sentence)

    def _next_tag(self) -> int:
        self._tag = (self._tag + 1) % 256
        return self._tag


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A command that has not been answered yet."""

    command: SetRate | Start
    sent_s: float
    tries: int


def _millihertz(rate_hz: float) -> int:
    if not 1e-3 <= rate_hz <= MAX_RATE_MILLIHZ / 1000:
        raise FrameFormatError(
            f"a rate of {rate_hz:g} Hz cannot be asked of a device, because SET_RATE cannot carry "
            f"it: ask for 0.001 to {MAX_RATE_MILLIHZ // 1000} Hz."
        )
    return round(rate_hz * 1000)
