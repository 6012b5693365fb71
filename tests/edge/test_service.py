"""The service manager hears the truth: ready, alive only while something flows, stopping."""

from __future__ import annotations

import configparser
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from talaria_edge.service import Health, Life, Notifier, Pulse, configure_logging

STALE_S = 5.0
UNIT = Path(__file__).parents[2] / "edge" / "deploy" / "talaria.service"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.setblocking(False)
        yield line


def heard(manager: socket.socket) -> list[str]:
    words = []
    while True:
        try:
            words.append(manager.recv(4096).decode())
        except BlockingIOError:
            return words


def environment(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname(), **more}


def test_ready_and_stopping_are_told(manager: socket.socket) -> None:
    notifier = Notifier(environment(manager))
    notifier.ready()
    notifier.stopping()
    ready, stopping = heard(manager)
    assert ready == "READY=1"
    assert stopping.startswith("STOPPING=1\n")


def test_an_abstract_socket_is_reached() -> None:
    name = f"talaria-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind("\0" + name)
        line.setblocking(False)
        Notifier({"NOTIFY_SOCKET": "@" + name}).ready()
        assert line.recv(100) == b"READY=1"


def test_without_a_manager_nothing_happens_and_a_dead_one_hurts_nobody(tmp_path: Path) -> None:
    for told in ("", "vsock:2:1", str(tmp_path / "nobody")):
        notifier = Notifier({"NOTIFY_SOCKET": told, "WATCHDOG_USEC": "1000000"})
        notifier.ready()
        notifier.look(0.0, Health(Life.FLOWING), "fine")


def test_a_full_socket_never_blocks(manager: socket.socket) -> None:
    notifier = Notifier(environment(manager, WATCHDOG_USEC="40000"))
    for i in range(5000):  # far more than the kernel queues
        notifier.look(float(i), Health(Life.FLOWING), f"second {i}")
    assert 0 < len(heard(manager)) < 10_000


def test_the_watchdog_is_petted_while_ticks_flow_and_while_sensors_are_awaited(
    manager: socket.socket,
) -> None:
    notifier = Notifier(environment(manager, WATCHDOG_USEC="20000000"))
    for now_s, life in ((0.0, Life.FLOWING), (6.0, Life.WAITING)):
        notifier.look(now_s, Health(life), "")
        notifier.look(now_s + 4.9, Health(life), "")  # a quarter of the limit is soon enough
        assert heard(manager) == ["WATCHDOG=1"]


def test_the_watchdog_bites_a_session_that_makes_nothing_of_its_bytes(
    manager: socket.socket,
) -> None:
    notifier = Notifier(environment(manager, WATCHDOG_USEC="20000000"))
    pulse = Pulse(STALE_S)
    for second in range(60):
        notifier.look(second, pulse.look(second, bytes_in=100 * (second + 1), ticks=0), "")
    assert len([word for word in heard(manager) if word == "WATCHDOG=1"]) == 2  # in its first 5 s


def test_a_watchdog_meant_for_another_process_is_not_petted(manager: socket.socket) -> None:
    told = environment(manager, WATCHDOG_USEC="20000000")
    assert Notifier(told | {"WATCHDOG_PID": str(os.getpid())}).watchdog_s == 20.0
    assert Notifier(told | {"WATCHDOG_PID": str(os.getpid() + 1)}).watchdog_s is None
    assert Notifier(told | {"WATCHDOG_USEC": "soon"}).watchdog_s is None
    assert Notifier(told | {"WATCHDOG_USEC": "0"}).watchdog_s is None


def test_the_status_is_told_when_it_changes_and_at_most_once_a_second(
    manager: socket.socket,
) -> None:
    notifier = Notifier(environment(manager))
    for now_s, status in ((0.0, "one"), (0.1, "two"), (1.2, "two"), (5.0, "two"), (9.0, "a\nb")):
        notifier.look(now_s, Health(Life.FLOWING), status)
    assert heard(manager) == ["STATUS=one", "STATUS=two", "STATUS=a b"]


def test_a_session_flows_from_its_first_tick_until_its_ticks_are_stale() -> None:
    pulse = Pulse(STALE_S)
    assert pulse.health.life is Life.STARTING
    assert pulse.look(0.0, 0, 0).life is Life.WAITING
    assert pulse.look(100.0, 0, 0).life is Life.WAITING  # sensors that are still in their case
    assert pulse.look(100.1, 50, 0).life is Life.WAITING  # the first bytes
    assert pulse.look(100.2, 90, 1).flows
    assert pulse.look(105.0, 90, 1).flows
    gone = pulse.look(107.0, 90, 1)
    assert (gone.life, gone.flows, gone.deserves_life) == (Life.WAITING, False, True)
    assert "7 s" in gone.reason


def test_bytes_without_ticks_are_stuck_but_a_silence_that_ends_is_not() -> None:
    pulse = Pulse(STALE_S)
    pulse.look(0.0, 10, 1)
    pulse.look(100.0, 10, 1)
    assert pulse.look(100.1, 20, 1).deserves_life  # they have only just come back
    for tenth in range(1, 60):
        health = pulse.look(100.1 + tenth / 10, 20 + tenth, 1)
    assert (health.life, health.deserves_life) == (Life.STUCK, False)
    assert pulse.look(106.1, 99, 2).flows


@pytest.mark.parametrize(
    ("journal", "expected"), [("8:1234", ["<6>calm\n", "<4>odd\n"]), ("", [" calm\n", " odd\n"])]
)
def test_log_lines_carry_a_priority_for_the_journal_and_the_time_for_a_person(
    capsys: pytest.CaptureFixture[str], journal: str, expected: list[str]
) -> None:
    log = logging.getLogger("talaria")
    before = (log.handlers[:], log.level, log.propagate)
    try:
        configure_logging(display=False, environment={"JOURNAL_STREAM": journal})
        log.info("calm")
        log.warning("odd")
        configure_logging(display=True, environment={"JOURNAL_STREAM": journal})
        log.info("not beside a live view")
    finally:
        log.handlers[:], log.level, log.propagate = before
    lines = capsys.readouterr().err.splitlines(keepends=True)
    assert [line[0 if journal else 8 :] for line in lines] == expected


def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(comment_prefixes="#", strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser


def test_the_unit_asks_for_what_the_session_tells() -> None:
    service = unit()["Service"]
    assert service["Type"] == "notify"
    # A silence or a barren spell must be judged before the watchdog can bite.
    assert float(service["WatchdogSec"]) > 2 * STALE_S
    command = service["ExecStart"].split()[1:]
    assert command == ["run", "--config", "/etc/talaria/device.toml", "--quiet"]


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/talaria/bin/talaria", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    # It also looks at the units ours names, which need not be in order on this machine.
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert ours == []
