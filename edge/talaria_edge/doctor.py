"""What could keep a session from running here, looked at before anybody is wired up.

Every check is a small function of a `Host` and gives one `Check`; a host is a folder tree and a way to
run programs, so that a test can make one up. `talaria_edge.machine` has the checks of the machine, this
file those of the session.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from talaria_bridge.errors import TalariaError
from talaria_bridge.recorder import log_path
from talaria_bridge.source import SourceSpec, link_of, parse_source
from talaria_edge import machine
from talaria_edge.config import Config
from talaria_edge.disk import GB
from talaria_edge.machine import Check, Host, Verdict
from talaria_edge.profile import load_profile
from talaria_edge.spec import Gives

_GB_PER_HOUR = 0.3
"""What an hour of four sensors at 100 Hz records, rounded up: 2.3 MB a minute of log, 0.9 MB of angles."""
_SLOW_MB_S = 1.0
"""Well above what a recording needs, and below what the slowest class of SD card promises (2 MB/s)."""


def examine(config: Config, host: Host | None = None) -> list[Check]:
    """Run every check there is for a session.

    Parameters
    ----------
    config : Config
        Of the session that is to run; one without a source is examined as far as that goes.
    host : Host, optional
        This machine by default.
    """
    host = host or Host()
    runtime = machine.check_runtime(host)
    checks: list[Check] = [
        machine.check_userland(host),
        runtime,
        *_radio(config, host),
        machine.check_clock(host),
        machine.check_heat(host),
        check_disk(config, host),
        check_permissions(config, host),
        check_sensors(config, host),
    ]
    # Loading a model where its runtime dies would take the doctor along.
    if runtime.verdict is Verdict.FAIL:
        checks.append(Check("model", Verdict.SKIPPED, "onnxruntime does not run here"))
    else:
        checks.append(check_model(config))
        if config.kinetics is not None:
            checks.append(check_forces(config, config.kinetics))
    return [*checks, check_profile(config)]


def checks_json(checks: Iterable[Check]) -> str:
    """Write the checks and the verdict over all as JSON."""
    checks = list(checks)
    worst = Verdict.FAIL if any_failed(checks) else Verdict.OK
    return json.dumps({"verdict": worst, "checks": [asdict(check) for check in checks]}, indent=2)


def any_failed(checks: Iterable[Check]) -> bool:
    """Tell whether a session cannot be expected to run."""
    return any(check.verdict is Verdict.FAIL for check in checks)


def _radio(config: Config, host: Host) -> list[Check]:
    if config.sources and not any(text.startswith("ble:") for text in config.sources):
        why = "no source of this session is Bluetooth"
        return [Check("Bluetooth", Verdict.SKIPPED, why)]
    checks = [
        machine.check_adapter(host),
        machine.check_bluez(host),
        machine.check_coexistence(host),
    ]
    if config.sources:
        return checks
    # Nobody has said that Bluetooth is wanted.
    failed = Verdict.FAIL
    return [replace(c, verdict=Verdict.WARN) if c.verdict is failed else c for c in checks]


def check_disk(config: Config, host: Host) -> Check:
    """Look for room for a recording, and for a disk that keeps up with it."""
    name = "disk"
    if config.record_dir is None:
        return Check(name, Verdict.SKIPPED, "nothing is to be recorded")
    free_gb = host.free_bytes(config.record_dir) / GB
    left_gb = free_gb - config.disk.keep_free_gb
    if left_gb < 0:
        found = f"{free_gb:.2f} GB free, {config.disk.keep_free_gb:g} GB must stay free"
        return Check(name, Verdict.FAIL, found, "Free the disk, or set disk.max_gb.")
    speed_mb_s = host.write_mb_s(config.record_dir)
    found = (
        f"{free_gb:.1f} GB free, enough for {left_gb / _GB_PER_HOUR:.0f} h; {speed_mb_s:.0f} MB/s"
    )
    if speed_mb_s < _SLOW_MB_S:
        advice = "Use a faster card (class A1 or better), or record on a USB disk."
        return Check(name, Verdict.WARN, found, advice)
    if left_gb < _GB_PER_HOUR and config.disk.max_gb is None:
        return Check(name, Verdict.WARN, found, "Free the disk, or set disk.max_gb.")
    return Check(name, Verdict.OK, found)


def check_permissions(config: Config, host: Host) -> Check:
    """Look whether this user may open the ports, write the folder and speak to Bluetooth."""
    name = "permissions"
    ports = [spec.target for spec in _specs(config) if spec.kind == "serial"]
    for port in ports:
        if host.exists(port) and not host.may(port, os.R_OK | os.W_OK):
            found = f"{port} may not be opened by this user"
            advice = "sudo usermod -aG dialout $USER, then log in again."
            return Check(name, Verdict.FAIL, found, advice)
    if config.record_dir is not None and not _may_write(config.record_dir):
        advice = "Choose another record_dir, or make it this user's: sudo chown $USER."
        return Check(name, Verdict.FAIL, f"{config.record_dir} may not be written", advice)
    bus = "run/dbus/system_bus_socket"
    if any(spec.kind == "ble" for spec in _specs(config)) and not host.may(bus, os.W_OK):
        advice = "Start D-Bus, or let this user and this container reach it."
        return Check(name, Verdict.FAIL, f"/{bus} cannot be reached", advice)
    return Check(name, Verdict.OK, "ports, session folder and buses that are needed are open")


def check_sensors(config: Config, host: Host) -> Check:
    """Look whether every worn sensor has a source, and every port is there."""
    name = "sensors"
    if not config.sources:
        advice = "Name them in the TOML given with --config; 'talaria scan' lists them."
        return Check(name, Verdict.SKIPPED, "no sensors are named", advice)
    try:
        specs = [parse_source(text) for text in config.sources]
        links = [link_of(spec) for spec in specs if spec.kind in {"serial", "tcp", "ble"}]
    except TalariaError as err:
        return _refused(name, err)
    missing = _missing_port(specs, host)
    if missing:
        advice = "Plug the sensor in; 'talaria scan' lists the ports there are."
        return Check(name, Verdict.FAIL, f"{missing} is not there", advice)
    told = [link.slot for link in links if link.slot is not None]
    twice = [slot for slot in config.slots if told.count(slot) > 1]
    lacking = [slot for slot in config.slots if slot not in told]
    # Our own devices name their slots in every frame: what they bring is not known before.
    if twice or (lacking and len(told) == len(links) and links):
        found = f"{twice[0]} has two sources" if twice else f"{', '.join(lacking)} has no source"
        return Check(name, Verdict.FAIL, found, "Name each worn slot once under [sensors].")
    return Check(name, Verdict.OK, ", ".join(spec.name for spec in specs))


def check_model(config: Config) -> Check:
    """Load the model as a session would, and see that it computes what it computed in training."""
    name = "model"
    try:
        profile = None if config.user is None else load_profile(config.user)
        path = config.model or (None if profile is None else profile.model)
        if path is None:
            return Check(name, Verdict.SKIPPED, "no model is named", "Give --model or --user.")
        return _loaded(name, path, config, "angles")
    except TalariaError as err:
        return _refused(name, err)


def check_forces(config: Config, path: Path) -> Check:
    """Do the same for the force model, where there is to be one."""
    name = "force model"
    try:
        return _loaded(name, path, config, "forces")
    except TalariaError as err:
        return _refused(name, err)


def _loaded(name: str, path: Path, config: Config, gives: Gives) -> Check:
    from talaria_edge.model import StreamingModel  # noqa: PLC0415  it may kill the process

    model = StreamingModel.load(path, slots=config.slots, rate_hz=config.rate_hz, gives=gives)
    spec = model.spec
    parity = "as in training" if spec.parity is not None else "unchecked: it has no parity vector"
    found = f"{spec.model_id}: {len(spec.slots)} sensors, {spec.rate_hz:g} Hz; computes {parity}"
    return Check(name, Verdict.OK, found)


def check_profile(config: Config) -> Check:
    """Look whether the wearer's calibration is there and covers every worn sensor."""
    name = "profile"
    if config.user is None:
        return Check(name, Verdict.SKIPPED, "no user is named")
    try:
        calibration = load_profile(config.user).calibration
    except TalariaError as err:
        return _refused(name, err)
    if calibration is None:
        advice = "It is made when the session begins: stand still, then walk."
        return Check(name, Verdict.WARN, f"{config.user} has no calibration yet", advice)
    lacking = [slot for slot in config.slots if slot not in calibration.slots]
    if lacking:
        found = f"the calibration of {config.user} lacks {', '.join(lacking)}"
        return Check(name, Verdict.FAIL, found, "Calibrate again with --recalibrate.")
    return Check(name, Verdict.OK, f"{config.user} is calibrated on {', '.join(config.slots)}")


def _specs(config: Config) -> list[SourceSpec]:
    """Take the sources apart as far as they can be; `check_sensors` complains of the others."""
    specs = []
    for text in config.sources:
        with contextlib.suppress(TalariaError):
            specs.append(parse_source(text))
    return specs


def _missing_port(specs: Sequence[SourceSpec], host: Host) -> str | None:
    for spec in specs:
        where = log_path(spec.target) if spec.kind == "replay" else Path(spec.target)
        if spec.kind in {"serial", "replay"} and not host.exists(where):
            return spec.target
    return None


def _may_write(folder: Path) -> bool:
    """Try it: permission bits do not know of read-only disks, quotas and name spaces."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            return True
    except OSError:
        return False


def _refused(name: str, err: TalariaError) -> Check:
    """Turn an error's sentence, what happened and what to do, into a check's two."""
    found, _, advice = str(err).rpartition(": ")
    return Check(name, Verdict.FAIL, found, advice[:1].upper() + advice[1:])
