"""Four sensors over Bluetooth LE for as long as you like, and what it costs: `make ble`.

bleak's BlueZ backend as on a Raspberry Pi, with a double of bluetoothd on a private D-Bus (in a process of its
own, so that this process's time is the runtime's alone): calibration, filters, network and recording included.
There is no radio in it, so no loss but that of `--lose` and `--burst-s`. `--startup` measures instead how soon
the first angle comes after the last sensor has connected, with a calibration at hand.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from talaria_bridge.link import LinkEvent, LinkNews
from talaria_bridge.recorder import read_session_log
from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.app import run_session
from talaria_edge.calibration import Calibration, SlotCalibration
from talaria_edge.config import Config
from talaria_edge.pipeline import GaitState, Validity
from talaria_edge.printing import print_summary

ROOT = Path(__file__).parents[1]
FAKE = ROOT / "tests" / "bridge" / "ble" / "fake_bluez.py"
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--lose", type=float, default=0.0, help="share of notifications lost")
    parser.add_argument(
        "--startup", action="store_true", help="time of the first angle, five times"
    )
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "talaria-legs-2")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bus = Path(scratch) / "bus"
        config = Path(scratch) / "bus.conf"
        config.write_text(BUS.format(path=bus), encoding="utf-8")
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={bus}"
        daemon = [
            "dbus-daemon",
            f"--config-file={config}",
            "--nofork",
            "--nopidfile",
            "--print-address",
        ]
        fake = [sys.executable, str(FAKE), "--seconds", "60", "--lose", str(options.lose)]
        with (
            subprocess.Popen(daemon, stdout=subprocess.PIPE, text=True) as bus_process,
            _started(bus_process),
            subprocess.Popen(fake, stdout=subprocess.PIPE, text=True) as fake_process,
            _started(fake_process),
        ):
            if options.startup:
                for _ in range(5):
                    startup(options.model, Path(scratch))
            else:
                run(options.seconds, options.model, Path(scratch))


class _started:  # noqa: N801  a context manager used like a function
    """Wait for a process's first line; end it afterwards."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __enter__(self) -> None:
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def __exit__(self, *_: object) -> None:
        self._process.kill()


def configure(seconds: float, model: Path, scratch: Path) -> Config:
    sensors = {
        slot: f"ble:talaria/{':'.join([f'F{i + 1}'] * 6)}" for i, slot in enumerate(LEG_SLOTS)
    }
    return Config(sensors=sensors, model=model, record_dir=scratch, display=False, seconds=seconds)


def startup(model: Path, scratch: Path) -> None:
    """Print how long each step took, from the session's making to the first good angles."""
    first: dict[Validity, float] = {}

    def note(state: GaitState) -> None:
        first.setdefault(state.validity, time.monotonic())

    calibration = Calibration(
        {slot: SlotCalibration(slot, np.eye(3), np.zeros(3)) for slot in LEG_SLOTS}
    )
    begun_s = time.monotonic()
    summary = run_session(configure(6.0, model, scratch), note, calibration)
    assert summary.folder is not None
    news = [item for item in read_session_log(summary.folder) if isinstance(item, LinkEvent)]
    connected_s = [event.t_s for event in news if event.news is LinkNews.CONNECTED]
    last_s = max(connected_s)
    print(
        f"first sensor {min(connected_s) - begun_s:.2f} s and last {last_s - begun_s:.2f} s after the start; "
        f"from there to the first angle {first[Validity.DEGRADED] - last_s:.2f} s, "
        f"to the first good one {first[Validity.GOOD] - last_s:.2f} s."
    )


def run(seconds: float, model: Path, scratch: Path) -> None:
    config = configure(seconds, model, scratch)
    busy_s, start_s = time.process_time(), time.monotonic()
    summary = run_session(config)
    busy_s, took_s = time.process_time() - busy_s, time.monotonic() - start_s
    print_summary(summary)
    assert summary.folder is not None
    size = (summary.folder / "session.mcap").stat().st_size
    peak = Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]
    print(
        f"{took_s:.0f} s on the clock, {busy_s:.1f} s of one core = {busy_s / took_s:.1%}; "
        f"{int(peak) / 1024:.0f} MB resident at most; recording {size / took_s / 1e3:.1f} kB/s."
    )


if __name__ == "__main__":
    main()
