"""What the machine under a session is like: processor, radio, clock, heat.

Each check reads a few files below ``/proc``, ``/sys`` and ``/dev`` and asks a program or two; where what
it would ask is not there it is *skipped*, for a laptop has no ``vcgencmd`` and is none the worse.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from talaria_edge.disk import free_bytes
from talaria_edge.metrics import temperature_c

OLDEST_BLUEZ = (5, 55)
"""bleak's own requirement."""
HOT_C = 80.0
"""A Raspberry Pi begins to slow down at 80 °C and does so in earnest at 85 °C."""
_NO_ATOMICS_NEEDS = {"1.21.0"}
"""onnxruntime wheels with instructions that a processor without ``atomics`` (ARMv8.0, such as the
Raspberry Pi 4's and 3's) does not have; https://github.com/microsoft/onnxruntime/issues/23957."""
_TIMED_OUT = 124
_NOT_THERE = 127
_PROBE_BYTES = 4_000_000
_THROTTLE_NOW = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "temperature limit"}
"""Bits of ``vcgencmd get_throttled``; the same bits 16 higher tell what has been since the start."""


class Verdict(StrEnum):
    """What a check came to; only *fail* keeps a session from running."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    Attributes
    ----------
    name : str
    verdict : Verdict
    found : str
        What was seen.
    advice : str
        What to do about it; empty where nothing need be done.
    """

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program left behind; a negative status is the signal that killed it."""

    status: int
    output: str


def run_program(command: Sequence[str], timeout_s: float = 20.0) -> Ran:
    """Run a program without a terminal; one that is not there or hangs has a shell's status for it."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ran(_TIMED_OUT, "")
    except OSError:
        return Ran(_NOT_THERE, "")
    return Ran(done.returncode, done.stdout.decode(errors="replace"))


def installed(package: str) -> str | None:
    """Version of an installed package, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_speed_mb_s(folder: Path) -> float:
    """Write four megabytes as a recording would, to the disk itself, and take the time."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            start_s = time.perf_counter()
            file.write(os.urandom(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
            return _PROBE_BYTES / 1e6 / (time.perf_counter() - start_s)
    except OSError:
        return 0.0


@dataclass(frozen=True, slots=True)
class Host:
    """The machine, or one made up.

    Attributes
    ----------
    root : Path
        Where ``proc``, ``sys``, ``dev`` and ``run`` are.
    run : callable
        Runs a program.
    machine : str
        Of the kernel, such as ``aarch64``.
    bits : int
        Of this Python's pointers: 32 where a 64-bit kernel carries a 32-bit system.
    installed : callable
        Version of a package by its name, or None.
    free_bytes, write_mb_s : callable
        Of the disk a folder is on.
    """

    root: Path = Path("/")
    run: Callable[[Sequence[str]], Ran] = run_program
    machine: str = platform.machine()
    bits: int = 64 if sys.maxsize > 2**32 else 32
    installed: Callable[[str], str | None] = installed
    free_bytes: Callable[[Path], int] = free_bytes
    write_mb_s: Callable[[Path], float] = write_speed_mb_s

    def path(self, path: str | Path) -> Path:
        """Find an absolute path of the host below its root."""
        return self.root / str(path).lstrip("/")

    def exists(self, path: str | Path) -> bool:
        """Tell whether a path is there; a relative one is meant from here."""
        return (self.path(path) if Path(path).is_absolute() else Path(path)).exists()

    def may(self, path: str | Path, mode: int) -> bool:
        """Tell whether this user may do that with a path."""
        return os.access(self.path(path), mode)

    def read(self, path: str) -> str:
        """Text of a file, empty where there is none."""
        try:
            return self.path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
        except OSError:
            return ""


def check_userland(host: Host) -> Check:
    """Look for a 64-bit system, the only one there are wheels for."""
    if host.bits == 64 and not host.machine.startswith(("armv6", "armv7")):
        return Check("system", Verdict.OK, f"{host.machine}, 64-bit")
    found = f"a 32-bit system ({host.machine}), for which NumPy and onnxruntime have no wheels"
    return Check("system", Verdict.FAIL, found, "Install the 64-bit Raspberry Pi OS.")


def check_runtime(host: Host) -> Check:
    """Look whether onnxruntime can run on this processor, in a process that may die of it."""
    name = "onnxruntime"
    found = host.installed("onnxruntime")
    if found is None:
        return Check(name, Verdict.FAIL, "not installed", "pip install talaria")
    features = re.search(r"^(?:Features|flags)\s*:(.*)$", host.read("proc/cpuinfo"), re.MULTILINE)
    has = set(features[1].split()) if features else set()
    another = "pip install 'onnxruntime!=1.21.0'"
    if host.machine == "aarch64" and has and "asimd" not in has:
        return Check(
            name, Verdict.FAIL, "this processor has no asimd", "Use a Raspberry Pi 3 or later."
        )
    if host.machine == "aarch64" and has and "atomics" not in has and found in _NO_ATOMICS_NEEDS:
        why = f"{found} has instructions that this processor lacks (atomics) and dies with SIGILL"
        return Check(name, Verdict.FAIL, why, another)
    ran = host.run([sys.executable, "-c", "import onnxruntime"])
    if ran.status == -4:
        why = f"{found} dies with SIGILL: its wheel has instructions that this processor lacks"
        return Check(name, Verdict.FAIL, why, "Install another version of onnxruntime.")
    if ran.status != 0:
        last = ran.output.strip().splitlines()[-1:] or [f"status {ran.status}"]
        return Check(
            name, Verdict.FAIL, f"{found} cannot be imported ({last[0]})", "Install it again."
        )
    return Check(name, Verdict.OK, f"{found} runs on this {host.machine}")


def check_adapter(host: Host) -> Check:
    """Look for a Bluetooth adapter that is on."""
    name = "Bluetooth adapter"
    adapters = [hci.name for hci in _adapters(host)]
    if not adapters:
        advice = "Plug in a USB Bluetooth adapter, or remove dtoverlay=disable-bt from config.txt."
        return Check(name, Verdict.FAIL, "none", advice)
    for switch in sorted(host.path("sys/class/rfkill").glob("rfkill*")):
        about = str(switch.relative_to(host.root))
        blocked = "1" in (host.read(f"{about}/soft"), host.read(f"{about}/hard"))
        if host.read(f"{about}/type") == "bluetooth" and blocked:
            return Check(
                name, Verdict.FAIL, "switched off by rfkill", "sudo rfkill unblock bluetooth"
            )
    shown = host.run(["bluetoothctl", "--timeout", "3", "show"])
    powered = re.search(r"Powered: (yes|no)", shown.output)
    if powered is None:
        advice = "sudo systemctl enable --now bluetooth, and apt install bluez if it is not there."
        return Check(
            name, Verdict.FAIL, f"{adapters[0]} is there, but BlueZ does not answer", advice
        )
    if powered[1] == "no":
        return Check(name, Verdict.FAIL, f"{adapters[0]} is off", "bluetoothctl power on")
    return Check(name, Verdict.OK, f"{', '.join(adapters)}, on")


def check_bluez(host: Host) -> Check:
    """Look for a BlueZ that bleak can work with."""
    name = "BlueZ"
    told = re.search(r"(\d+)\.(\d+)", host.run(["bluetoothctl", "--version"]).output)
    if told is None:
        return Check(name, Verdict.FAIL, "bluetoothctl is not there", "sudo apt install bluez")
    if (int(told[1]), int(told[2])) < OLDEST_BLUEZ:
        oldest = ".".join(map(str, OLDEST_BLUEZ))
        found = f"{told[0]}, and {oldest} is the oldest that works"
        return Check(name, Verdict.FAIL, found, "Update the system to Raspberry Pi OS 12 or later.")
    return Check(name, Verdict.OK, told[0])


def check_coexistence(host: Host) -> Check:
    """Look whether Wi-Fi takes the band of a Bluetooth that shares its chip and its antenna."""
    name = "radio"
    board = host.read("proc/device-tree/model")
    if not board.startswith("Raspberry Pi"):
        return Check(name, Verdict.SKIPPED, "not a Raspberry Pi")
    on_board = [hci.name for hci in _adapters(host) if "/usb" not in str(hci.resolve())]
    if not on_board:
        return Check(name, Verdict.OK, "the Bluetooth adapter is a USB one")
    channels = re.findall(r"channel \d+ \((\d+) MHz\)", host.run(["iw", "dev"]).output)
    if any(2400 <= int(mhz) < 2500 for mhz in channels):
        found = "Wi-Fi is on 2.4 GHz, on the chip and antenna of the on-board Bluetooth"
        advice = (
            "Use 5 GHz Wi-Fi, a cable or a USB Bluetooth adapter: four sensors would lose samples."
        )
        return Check(name, Verdict.WARN, found, advice)
    return Check(name, Verdict.OK, "no Wi-Fi on 2.4 GHz beside the on-board Bluetooth")


def check_clock(host: Host) -> Check:
    """Look whether the wall clock is kept right; it names sessions and ties them to other devices."""
    name = "clock"
    told = host.run(["timedatectl", "show", "-p", "NTPSynchronized", "--value"])
    answer = told.output.strip()
    if told.status != 0 or answer not in {"yes", "no"}:
        tracking = host.run(["chronyc", "tracking"])
        leap = re.search(r"Leap status\s*:\s*(.+)", tracking.output)
        if tracking.status != 0 or leap is None:
            return Check(name, Verdict.SKIPPED, "neither timedatectl nor chronyc answers")
        answer = "no" if "Not synchronised" in leap[1] else "yes"
    if answer == "yes":
        return Check(name, Verdict.OK, "synchronised")
    advice = (
        "Connect to a network once (sudo timedatectl set-ntp true); a Pi has no clock of its own."
    )
    return Check(name, Verdict.WARN, "not synchronised: sessions may carry a wrong date", advice)


def check_heat(host: Host) -> Check:
    """Look for a processor slowed down by heat or by a weak power supply."""
    name = "heat and power"
    told = re.search(r"throttled=0x([0-9a-fA-F]+)", host.run(["vcgencmd", "get_throttled"]).output)
    bits = int(told[1], 16) if told else 0
    now = [what for bit, what in _THROTTLE_NOW.items() if bits >> bit & 1]
    before = [what for bit, what in _THROTTLE_NOW.items() if bits >> (bit + 16) & 1]
    warmest = temperature_c(host.root)
    advice = "Use the official power supply or a stronger battery, and a heat sink or a fan."
    if now:
        # A cap on the clock costs time; too little voltage or a throttled clock costs samples.
        verdict = Verdict.FAIL if bits & 0b101 else Verdict.WARN
        return Check(name, verdict, f"now: {', '.join(now)}", advice)
    if before:
        return Check(name, Verdict.WARN, f"since the start: {', '.join(before)}", advice)
    if warmest is not None and warmest >= HOT_C:
        return Check(name, Verdict.WARN, f"{warmest:.0f} °C", "Give it air, a heat sink or a fan.")
    if told is None and warmest is None:
        return Check(name, Verdict.SKIPPED, "this machine tells neither")
    return Check(name, Verdict.OK, "not throttled" if warmest is None else f"{warmest:.0f} °C")


def _adapters(host: Host) -> list[Path]:
    # A connection such as hci0:64 is listed beside the adapters.
    found = sorted(host.path("sys/class/bluetooth").glob("hci*"))
    return [hci for hci in found if ":" not in hci.name]
