"""A device of our own made of software, which obeys the commands of ``wire-format.md``. Sans-IO."""

from __future__ import annotations

from talaria_bridge import commands
from talaria_bridge.commands import (
    AskHello,
    Command,
    CommandDecoder,
    Identify,
    Ping,
    SetRate,
    Start,
)
from talaria_bridge.frames import (
    DELIMITER,
    U32,
    Ack,
    Capability,
    DeviceState,
    Hello,
    Nack,
    NackReason,
    Pong,
    Status,
    encode_answer,
    encode_data,
    encode_hello,
    encode_status,
)
from talaria_bridge.samples import SampleFlag, Vec3
from talaria_bridge.vendors.virtual.device import Outgoing

_STREAM = "data"
_EVERY_S = 1.0
_ALL = (
    Capability.START_STOP
    | Capability.SET_RATE
    | Capability.PING
    | Capability.IDENTIFY
    | Capability.STATUS
)


class VirtualTalaria:
    """One sensor of our own kind; a `VirtualDevice`.

    Parameters
    ----------
    slot : str
        Where it sits.
    rate_hz : float
        The rate it is set to at first.
    rates_hz : tuple of float
        The rates it can be set to.
    capabilities : Capability
        The commands it obeys.

    Attributes
    ----------
    streaming : bool
    rate_hz : float
        Its caller samples at this rate.
    """

    def __init__(
        self,
        slot: str,
        rate_hz: float = 100.0,
        rates_hz: tuple[float, ...] = (50.0, 100.0, 200.0),
        capabilities: Capability = _ALL,
    ) -> None:
        self.rate_hz = rate_hz
        self.streaming = Capability.START_STOP not in capabilities
        self._slot = slot
        self._rates_hz = rates_hz
        self._capabilities = capabilities
        self._decoder = CommandDecoder()
        self._seq = 0
        self._flags = SampleFlag.RESET
        self._device_s = 0.0
        self._next_news_s = 0.0

    def write(self, data: bytes, characteristic: str = "") -> Outgoing:
        """Take the host's bytes; return the answers."""
        answers = [
            encode_answer(found) if isinstance(found, Nack) else self._obey(found)
            for found in self._decoder.feed(data)
        ]
        return [(_STREAM, answer) for answer in answers]

    def sample(self, device_s: float, acc_ms2: Vec3, gyr_rads: Vec3) -> Outgoing:
        """Return what it sends at one instant: news of itself once a second, and data if started."""
        self._device_s = device_s
        out = b""
        if device_s >= self._next_news_s:
            self._next_news_s = device_s + _EVERY_S
            out = DELIMITER + self._hello() + self._status()
        if self.streaming:
            out += self._data(acc_ms2, gyr_rads)
        return [(_STREAM, out)] if out else []

    def _data(self, acc_ms2: Vec3, gyr_rads: Vec3) -> bytes:
        flags, self._flags = self._flags, SampleFlag.NONE
        frame = encode_data(
            self._slot,
            self._seq % U32,
            self._now_us(),
            round(1e6 / self.rate_hz),
            acc_ms2,
            gyr_rads,
            flags=flags,
        )
        self._seq += 1
        return frame

    def _obey(self, command: Command) -> bytes:
        if isinstance(command, AskHello):
            return self._hello()
        if isinstance(command, Ping):
            if Capability.PING in self._capabilities:
                return encode_answer(Pong(command.host_us, self._now_us(), 0))
            tag = command.host_us & 0xFF  # its third byte, as for every command
            return encode_answer(Nack(commands.PING, tag, NackReason.UNSUPPORTED))
        if isinstance(command, SetRate):
            return self._set_rate(command)
        if isinstance(command, Identify):
            return self._answer(commands.IDENTIFY, command.tag, Capability.IDENTIFY)
        kind = commands.START if isinstance(command, Start) else commands.STOP
        if Capability.START_STOP in self._capabilities:
            self._switch(isinstance(command, Start))
        return self._answer(kind, command.tag, Capability.START_STOP)

    def _switch(self, on: bool) -> None:
        if on and not self.streaming and self._seq:
            self._flags |= SampleFlag.TIME_GAP
        self.streaming = on

    def _set_rate(self, command: SetRate) -> bytes:
        rate_hz = command.rate_millihz / 1000
        if Capability.SET_RATE in self._capabilities and rate_hz not in self._rates_hz:
            return encode_answer(Nack(commands.SET_RATE, command.tag, NackReason.VALUE))
        answer = self._answer(commands.SET_RATE, command.tag, Capability.SET_RATE)
        if Capability.SET_RATE in self._capabilities and rate_hz != self.rate_hz:
            self.rate_hz = rate_hz
            self._flags |= SampleFlag.TIME_GAP
            answer += self._hello()
        return answer

    def _answer(self, kind: int, tag: int, needs: Capability) -> bytes:
        if needs in self._capabilities:
            return encode_answer(Ack(kind, tag))
        return encode_answer(Nack(kind, tag, NackReason.UNSUPPORTED))

    def _hello(self) -> bytes:
        rate = round(self.rate_hz * 1000)
        name = f"Talaria {self._slot}"
        return encode_hello(
            Hello(0x7461, name, (self._slot,), rate, capabilities=self._capabilities)
        )

    def _status(self) -> bytes:
        if Capability.STATUS not in self._capabilities:
            return b""
        state = DeviceState.STREAMING if self.streaming else DeviceState.IDLE
        return encode_status(Status(self._now_us(), state, 0.9, 0, self._decoder.refused))

    def _now_us(self) -> int:
        return round(self._device_s * 1e6) % U32
