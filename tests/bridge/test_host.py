"""A host gets a device to stream as asked, and never nags one that cannot."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from talaria_bridge.commands import (
    AskHello,
    Command,
    CommandDecoder,
    Ping,
    SetRate,
    Start,
    Stop,
)
from talaria_bridge.errors import FrameFormatError
from talaria_bridge.frames import (
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
)
from talaria_bridge.host import TRIES, HostLink
from talaria_bridge.samples import LEG_SLOTS

EVERYTHING = Capability(31)
HELLO = Hello(1, "hub", LEG_SLOTS, 100_000, capabilities=EVERYTHING)
DATA = ImuFrame("femur_r", 0, 0, 10_000, ((0, 2048, 0, 0, 0, 0),))
IDLE = Status(0, DeviceState.IDLE, None, 0, 0)
STREAMING = replace(IDLE, state=DeviceState.STREAMING)


class Talk:
    """A host link, and what the device at the other end understands of it."""

    def __init__(self, rate_hz: float | None = None) -> None:
        self.link = HostLink(rate_hz)
        self._device = CommandDecoder()
        self.opening = self._read(self.link.opened(0.0))

    def _read(self, wire: bytes) -> list[Command]:
        found = self._device.feed(wire)
        assert self._device.refused == 0
        return [outcome for outcome in found if not isinstance(outcome, Nack)]

    def hear(self, now_s: float, *messages: Message) -> list[Command]:
        return self._read(self.link.heard(messages, now_s))

    def wait(self, until_s: float, since_s: float = 0.0) -> list[Command]:
        """What the host writes of its own accord, asked ten times a second; pings left out."""
        said = []
        for k in range(round((until_s - since_s) * 10)):
            said += self._read(self.link.due(since_s + k / 10))
        return [command for command in said if not isinstance(command, Ping)]


def kinds(commands: list[Command]) -> list[type]:
    return [type(command) for command in commands]


def test_nothing_but_ask_hello_is_said_to_a_stranger() -> None:
    talk = Talk(200.0)
    assert kinds(talk.opening) == [AskHello]
    assert talk.link.opened(0.0)[0] == 0  # what noise came before it ends there
    assert talk.hear(0.1, DATA, IDLE, Ack(0x84, 1), Pong(0, 0, 0)) == []
    assert talk.link.due(10.0) == b""
    assert talk.link.closing() == b""


def test_new_device_is_set_to_the_rate_and_started() -> None:
    said = Talk(200.0).hear(0.1, HELLO)
    assert kinds(said) == [SetRate, Start]
    assert said[0].rate_millihz == 200_000
    assert len({command.tag for command in said}) == 2


@pytest.mark.parametrize("rate_hz", [None, 100.0])
def test_rate_is_left_alone_where_it_is_right_or_not_asked(rate_hz: float | None) -> None:
    assert kinds(Talk(rate_hz).hear(0.1, HELLO)) == [Start]


def test_device_that_obeys_is_left_in_peace() -> None:
    talk = Talk(200.0)
    set_rate, start = talk.hear(0.1, HELLO)
    at_rate = replace(HELLO, rate_millihz=200_000)
    assert talk.hear(0.2, Ack(0x83, set_rate.tag), at_rate, Ack(0x84, start.tag)) == []
    for k in range(1, 20):
        assert talk.hear(k, DATA, at_rate, STREAMING) == []
        assert talk.wait(k + 1, since_s=k) == []
    assert not talk.link.refusals


def test_device_without_commands_hears_nothing_more() -> None:
    talk = Talk(200.0)
    for k in range(10):
        assert talk.hear(k, replace(HELLO, capabilities=Capability.STATUS), STREAMING) == []
        assert talk.link.due(k) == b""
    assert talk.link.closing() == b""
    (sentence,) = talk.link.refusals
    assert "100 Hz" in sentence
    assert "200 Hz" in sentence


def test_lost_start_is_said_again_until_it_is_answered() -> None:
    talk = Talk()
    (start,) = talk.hear(0.0, HELLO)
    assert talk.wait(0.9) == []
    assert talk.wait(2.5) == [start, start]
    talk.hear(2.6, Ack(0x84, start.tag))
    assert talk.wait(9.0, since_s=2.6) == []


def test_data_shows_that_start_was_obeyed_though_its_ack_was_lost() -> None:
    talk = Talk()
    talk.hear(0.0, HELLO)
    talk.hear(0.5, DATA)
    assert talk.wait(0.9 + TRIES) == []


def test_deaf_device_is_asked_five_times_and_its_user_told_once() -> None:
    talk = Talk(200.0)
    said = talk.hear(0.0, HELLO)
    for k in range(30):
        said += talk.wait(k + 1, since_s=k)
        said += talk.hear(k + 1, HELLO, IDLE)
    assert kinds(said).count(Start) == TRIES
    assert kinds(said).count(SetRate) == TRIES
    assert len(talk.link.refusals) == 2
    assert all("did not answer" in sentence for sentence in talk.link.refusals)
    talk.link.opened(40.0)
    assert kinds(talk.hear(40.1, HELLO)) == [SetRate, Start]


def test_restarted_device_is_set_up_and_started_again() -> None:
    talk = Talk(200.0)
    talk.hear(0.0, HELLO)
    talk.hear(0.1, Ack(0x83, 2), replace(HELLO, rate_millihz=200_000), Ack(0x84, 3), DATA)
    assert kinds(talk.hear(5.0, HELLO)) == [SetRate, Start]


def test_idle_device_is_started_at_once_and_once() -> None:
    talk = Talk()
    talk.hear(0.0, HELLO, Ack(0x84, 2))
    talk.hear(5.0, DATA)
    assert kinds(talk.hear(5.1, IDLE)) == [Start]
    assert talk.hear(5.2, IDLE, HELLO) == []


def test_device_that_says_it_streams_is_not_started_though_it_is_silent() -> None:
    talk = Talk()
    talk.hear(0.0, HELLO, Ack(0x84, 2))
    assert talk.hear(9.0, STREAMING) == []


def test_rate_the_device_came_as_near_to_as_it_can_is_not_asked_again() -> None:
    talk = Talk(104.0)
    (set_rate, _) = talk.hear(0.0, HELLO)
    near = replace(HELLO, rate_millihz=104_170)
    assert SetRate not in kinds(talk.hear(0.1, Ack(0x83, set_rate.tag), near, near))
    assert SetRate not in kinds(talk.hear(5.0, near))
    (sentence,) = talk.link.refusals
    assert "104.17 Hz" in sentence
    # after a restart it has its first rate again, and is asked again
    assert SetRate in kinds(talk.hear(9.0, HELLO))
    assert SetRate not in kinds(talk.hear(9.1, Ack(0x83, 9), near))
    # once it had the rate it can have it again
    exact = replace(HELLO, rate_millihz=104_000)
    assert SetRate in kinds(talk.hear(12.0, exact, near))


@pytest.mark.parametrize("reason", [r for r in NackReason if r is not NackReason.BUSY])
def test_refused_command_is_told_and_not_said_again(reason: NackReason) -> None:
    talk = Talk(200.0)
    talk.hear(0.0, HELLO)
    talk.hear(0.1, Nack(0x83, 2, reason), Nack(0x83, 2, reason), Nack(0x84, 3, reason))
    for k in range(10):
        assert talk.hear(k, HELLO, IDLE) == []
        assert talk.wait(k + 1, since_s=k) == []
    rate, start = talk.link.refusals
    assert rate.startswith("the device refused SET_RATE because ")
    assert start.startswith("the device refused START because ")


def test_busy_device_is_asked_again_every_second_for_as_long_as_it_says_so() -> None:
    talk = Talk()
    said = talk.hear(0.0, HELLO)
    for k in range(20):
        talk.hear(k + 0.05, Nack(0x84, 2, NackReason.BUSY))
        said += talk.wait(k + 1.2, since_s=k + 0.2)
    assert kinds(said) == [Start] * 21
    assert "busy" in talk.link.refusals[0]


def test_ping_goes_out_once_a_second_with_the_hosts_time() -> None:
    talk = Talk()
    talk.hear(0.0, HELLO, Ack(0x84, 2), DATA)
    device = CommandDecoder()
    sent = [device.feed(talk.link.due(1000 + k / 10)) for k in range(35)]
    assert [bool(pings) for pings in sent[:21]] == [True, *[False] * 9] * 2 + [True]
    pings = [ping for pings in sent for ping in pings]
    assert pings == [Ping(1_000_000_000 + 1_000_000 * k) for k in range(4)]


@pytest.mark.parametrize("missing", [Capability.PING, Capability.START_STOP, Capability.SET_RATE])
def test_what_a_device_cannot_do_is_not_asked_of_it(missing: Capability) -> None:
    talk = Talk(200.0)
    hello = replace(HELLO, capabilities=EVERYTHING & ~missing)
    said = talk.hear(0.0, hello, IDLE) + CommandDecoder().feed(talk.link.due(0.0))
    said += CommandDecoder().feed(talk.link.closing())
    unasked = {
        Capability.PING: {Ping},
        Capability.START_STOP: {Start, Stop},
        Capability.SET_RATE: {SetRate},
    }
    assert set(kinds(said)) == {SetRate, Start, Stop, Ping} - unasked[missing]


def test_leaving_says_stop() -> None:
    talk = Talk()
    talk.hear(0.0, HELLO)
    assert kinds(CommandDecoder().feed(talk.link.closing())) == [Stop]


def test_refusals_are_bounded_whatever_the_device_refuses() -> None:
    talk = Talk()
    for command in range(256):
        talk.hear(1.0, *[Nack(command, tag, NackReason.UNKNOWN) for tag in range(4)])
    assert len(talk.link.refusals) == 8


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, math.nan, math.inf, 1.1e6])
def test_rate_that_set_rate_cannot_carry_is_refused_at_once(rate_hz: float) -> None:
    with pytest.raises(FrameFormatError, match="Hz"):
        HostLink(rate_hz)
