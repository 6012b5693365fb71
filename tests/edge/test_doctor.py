"""The doctor sees every fault planted in a made-up machine, and none where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge import doctor, machine
from talaria_edge.__main__ import app
from talaria_edge.calibration import Calibration
from talaria_edge.config import Config
from talaria_edge.doctor import any_failed, checks_json, examine
from talaria_edge.machine import Check, Host, Ran, Verdict, run_program, write_speed_mb_s
from talaria_edge.profile import UserProfile, profile_path, save_profile

NOT_THERE = Ran(127, "")
SENSORS = {slot: f"ble:dot/D4:22:CD:00:11:2{i}" for i, slot in enumerate(LEG_SLOTS)}
HEALTHY = {
    "bluetoothctl --timeout 3 show": Ran(0, "Controller B8:27\n\tPowered: yes\n"),
    "bluetoothctl --version": Ran(0, "bluetoothctl: 5.66\n"),
    "iw dev": Ran(0, "phy#0\n\tInterface wlan0\n\t\tchannel 36 (5180 MHz), width: 80 MHz\n"),
    "timedatectl show -p NTPSynchronized --value": Ran(0, "yes\n"),
    "vcgencmd get_throttled": Ran(0, "throttled=0x0\n"),
    f"{sys.executable} -c import onnxruntime": Ran(0, ""),
}
PI4_FEATURES = "fp asimd evtstrm crc32 cpuid"
PI5_FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid"


def plant(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def pi(root: Path) -> Host:
    """A Raspberry Pi 5 with nothing wrong."""
    plant(root, "proc/cpuinfo", f"processor\t: 0\nFeatures\t: {PI5_FEATURES}\n")
    plant(root, "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    plant(root, "sys/class/thermal/thermal_zone0/temp", "54321\n")
    plant(root, "sys/class/rfkill/rfkill0/type", "bluetooth\n")
    plant(root, "sys/class/rfkill/rfkill0/soft", "0\n")
    plant(root, "sys/class/rfkill/rfkill0/hard", "0\n")
    plant(root, "run/dbus/system_bus_socket")
    (root / "sys/devices/platform/soc/serial0/hci0").mkdir(parents=True)
    (root / "sys/class/bluetooth").mkdir()
    (root / "sys/class/bluetooth/hci0").symlink_to(root / "sys/devices/platform/soc/serial0/hci0")
    return Host(
        root,
        programs({}),
        machine="aarch64",
        bits=64,
        installed={"onnxruntime": "1.23.2"}.get,
        free_bytes=lambda _: 20_000_000_000,
        write_mb_s=lambda _: 15.0,
    )


def programs(changed: dict[str, Ran]) -> Callable[[Sequence[str]], Ran]:
    return lambda command: (HEALTHY | changed).get(" ".join(command), NOT_THERE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def config(
    tmp_path: Path, tiny_model: Path, upright: Calibration, monkeypatch: pytest.MonkeyPatch
) -> Config:
    monkeypatch.setenv("TALARIA_HOME", str(tmp_path / "home"))
    save_profile(UserProfile("anna", upright))
    return make_config(tmp_path, model=tiny_model)


def make_config(tmp_path: Path, **more: Any) -> Config:
    fields = {"sensors": SENSORS, "user": "anna", "record_dir": tmp_path / "sessions"}
    return Config.model_validate(fields | more)


def test_a_healthy_pi_with_everything_in_place_passes_every_check(
    root: Path, config: Config
) -> None:
    checks = examine(config, pi(root))
    assert {check.verdict for check in checks} == {Verdict.OK}, checks
    assert not any(check.advice for check in checks)
    assert not any_failed(checks)
    assert len({check.name for check in checks}) == len(checks) >= 12


def rfkill(root: Path, host: Host) -> Host:
    plant(root, "sys/class/rfkill/rfkill0/soft", "1\n")
    return host


def no_adapter(root: Path, host: Host) -> Host:
    (root / "sys/class/bluetooth/hci0").unlink()
    (root / "sys/class/bluetooth/hci0:64").mkdir()  # a connection, not an adapter
    return host


def pi_4(root: Path, host: Host, onnxruntime: str = "1.21.0") -> Host:
    plant(root, "proc/cpuinfo", f"processor\t: 0\nFeatures\t: {PI4_FEATURES}\n")
    return replace(host, installed={"onnxruntime": onnxruntime}.get)


def no_bus(root: Path, host: Host) -> Host:
    (root / "run/dbus/system_bus_socket").unlink()
    return host


def hot(root: Path, host: Host) -> Host:
    plant(root, "sys/class/thermal/thermal_zone1/temp", "83000\n")
    return replace(host, run=programs({"vcgencmd get_throttled": NOT_THERE}))


def says(**answers: Ran) -> Callable[[Path, Host], Host]:
    names = {name.split()[0]: name for name in HEALTHY}
    names["version"] = "bluetoothctl --version"
    names["show"] = "bluetoothctl --timeout 3 show"
    names["python"] = f"{sys.executable} -c import onnxruntime"
    changed = {names[name]: ran for name, ran in answers.items()}
    return lambda _, host: replace(host, run=programs(changed))


def has(**changes: Any) -> Callable[[Path, Host], Host]:
    return lambda _, host: replace(host, **changes)


FAULTS: list[tuple[Callable[[Path, Host], Host], str, str, str]] = [
    (no_adapter, "Bluetooth adapter", "fail", "none"),
    (rfkill, "Bluetooth adapter", "fail", "rfkill"),
    (says(show=Ran(0, "\tPowered: no\n")), "Bluetooth adapter", "fail", "hci0 is off"),
    (says(show=Ran(124, "")), "Bluetooth adapter", "fail", "does not answer"),
    (says(version=Ran(0, "bluetoothctl: 5.50\n")), "BlueZ", "fail", "5.55"),
    (says(version=NOT_THERE), "BlueZ", "fail", "not there"),
    (says(iw=Ran(0, "channel 6 (2437 MHz), width: 20 MHz")), "radio", "warn", "2.4 GHz"),
    (has(machine="armv7l", bits=32), "system", "fail", "32-bit"),
    (has(bits=32), "system", "fail", "32-bit"),
    (pi_4, "onnxruntime", "fail", "SIGILL"),
    (says(python=Ran(-4, "")), "onnxruntime", "fail", "SIGILL"),
    (says(python=Ran(1, "Traceback\nImportError: libgomp")), "onnxruntime", "fail", "libgomp"),
    (has(installed=lambda _: None), "onnxruntime", "fail", "not installed"),
    (says(timedatectl=Ran(0, "no\n")), "clock", "warn", "not synchronised"),
    (says(vcgencmd=Ran(0, "throttled=0x50005\n")), "heat and power", "fail", "under-voltage, thr"),
    (says(vcgencmd=Ran(0, "throttled=0x2\n")), "heat and power", "warn", "now: clock capped"),
    (says(vcgencmd=Ran(0, "throttled=0x50000\n")), "heat and power", "warn", "since the start"),
    (hot, "heat and power", "warn", "83 °C"),
    (has(free_bytes=lambda _: 400_000_000), "disk", "fail", "0.40 GB free"),
    (has(free_bytes=lambda _: 600_000_000), "disk", "warn", "enough for 0 h"),
    (has(write_mb_s=lambda _: 0.3), "disk", "warn", "0 MB/s"),
    (no_bus, "permissions", "fail", "system_bus_socket"),
]


@pytest.mark.parametrize(("fault", "name", "verdict", "found"), FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(
    root: Path,
    config: Config,
    fault: Callable[[Path, Host], Host],
    name: str,
    verdict: str,
    found: str,
) -> None:
    checks = examine(config, fault(root, pi(root)))
    odd = [check for check in checks if check.verdict in {Verdict.WARN, Verdict.FAIL}]
    assert [(check.name, check.verdict) for check in odd] == [(name, verdict)]
    assert found in odd[0].found
    assert odd[0].advice
    assert any_failed(checks) == (verdict == "fail")


def test_a_pi_4_is_well_with_another_onnxruntime(root: Path) -> None:
    assert machine.check_runtime(pi_4(root, pi(root), "1.22.0")).verdict is Verdict.OK


def test_where_onnxruntime_dies_the_model_is_not_loaded(
    root: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "check_model", lambda _: pytest.fail("it would take us along"))
    (model,) = (c for c in examine(config, pi_4(root, pi(root))) if c.name == "model")
    assert model.verdict is Verdict.SKIPPED


def test_a_usb_adapter_gets_on_with_any_wifi(root: Path) -> None:
    host = says(iw=Ran(0, "channel 6 (2437 MHz)"))(root, pi(root))
    (root / "sys/class/bluetooth/hci0").unlink()
    (root / "sys/devices/usb1/1-1/hci0").mkdir(parents=True)
    (root / "sys/class/bluetooth/hci0").symlink_to(root / "sys/devices/usb1/1-1/hci0")
    assert machine.check_coexistence(host).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("leap", "verdict"), [("Normal", Verdict.OK), ("Not synchronised", Verdict.WARN)]
)
def test_chrony_is_asked_where_timedatectl_is_not_there(
    root: Path, leap: str, verdict: Verdict
) -> None:
    answers = {
        "timedatectl show -p NTPSynchronized --value": NOT_THERE,
        "chronyc tracking": Ran(0, f"Stratum         : 3\nLeap status     : {leap}\n"),
    }
    host = replace(pi(root), run=lambda command: answers[" ".join(command)])
    assert machine.check_clock(host).verdict is verdict


def test_a_laptop_without_any_of_it_is_skipped_not_failed(root: Path, config: Config) -> None:
    root.mkdir()
    host = replace(pi(root / "pi"), root=root, run=lambda _: NOT_THERE, machine="x86_64")
    for check in (machine.check_clock(host), machine.check_heat(host)):
        assert check.verdict is Verdict.SKIPPED
    assert machine.check_coexistence(host).verdict is Verdict.SKIPPED


def test_bluetooth_matters_only_to_who_uses_it(root: Path, tmp_path: Path) -> None:
    host = no_adapter(root, pi(root))
    for sensors, source, verdict in (
        (SENSORS, (), Verdict.FAIL),
        ({}, (), Verdict.WARN),  # nobody has said yet
        ({}, ("sim:",), Verdict.SKIPPED),
    ):
        config = make_config(tmp_path, sensors=sensors, source=source, user=None)
        radio = [c for c in examine(config, host) if c.name.startswith("Bluetooth")]
        assert [check.verdict for check in radio] == [verdict]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"sensors": {s: SENSORS[s] for s in LEG_SLOTS[:3]}}, "calcn_l has no source"),
        (
            {"source": ("ble:dot/D4:22:CD:00:11:99?slot=femur_r",)},
            "femur_r has two sources",
        ),
        ({"sensors": {}, "source": ("serial:/dev/ttyACM0",)}, "/dev/ttyACM0 is not there"),
        ({"sensors": {}, "source": ("replay:nowhere.mcap",)}, "nowhere.mcap is not there"),
        ({"sensors": {}, "source": ("radio:",)}, "names no source"),
        ({"sensors": {"femur_r": "ble:hat/00:11"}}, "no family"),
    ],
)
def test_sensors_that_cannot_be_read_are_named(
    root: Path, tmp_path: Path, changes: dict[str, Any], found: str
) -> None:
    check = doctor.check_sensors(make_config(tmp_path, **changes), pi(root))
    assert check.verdict is Verdict.FAIL
    assert found in check.found
    assert check.advice


def test_a_port_of_our_own_device_brings_its_slots_itself(root: Path, tmp_path: Path) -> None:
    plant(root, "dev/ttyACM0")
    config = make_config(tmp_path, sensors={}, source=("serial:/dev/ttyACM0",))
    assert doctor.check_sensors(config, pi(root)).verdict is Verdict.OK


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open and write everything")
def test_closed_doors_are_seen(root: Path, tmp_path: Path) -> None:
    plant(root, "dev/ttyACM0")
    (root / "dev/ttyACM0").chmod(0)
    config = make_config(tmp_path, sensors={}, source=("serial:/dev/ttyACM0",))
    check = doctor.check_permissions(config, pi(root))
    assert check.verdict is Verdict.FAIL
    assert "dialout" in check.advice
    (tmp_path / "shut").mkdir(mode=0o500)
    config = make_config(tmp_path, record_dir=tmp_path / "shut")
    assert "shut" in doctor.check_permissions(config, pi(root)).found


def test_a_port_not_ours_is_seen(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(root, "dev/ttyACM0")
    monkeypatch.setattr(os, "access", lambda *_: False)
    config = make_config(tmp_path, sensors={}, source=("serial:/dev/ttyACM0",))
    assert "dialout" in doctor.check_permissions(config, pi(root)).advice


def test_a_session_folder_that_cannot_be_is_seen(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    config = make_config(tmp_path, record_dir=tmp_path / "file" / "sessions")
    assert doctor.check_permissions(config, pi(root)).verdict is Verdict.FAIL


def test_a_model_that_does_not_fit_is_told_with_what_to_do(
    tmp_path: Path, make_model: Callable[..., Path], config: Config
) -> None:
    del config  # only its profile is needed
    damaged = make_model(tmp_path / "damaged" / "model.onnx", parity_error_rad=0.1)
    for changes, found in (
        ({"model": damaged}, "does not compute here what it computed in training"),
        ({"model": tmp_path / "nowhere"}, "no model at"),
        ({"model": damaged, "rate_hz": 50.0}, "50 Hz"),
        ({"model": damaged, "slots": LEG_SLOTS[:2]}, "femur_l"),
    ):
        check = doctor.check_model(make_config(tmp_path, **changes))
        assert check.verdict is Verdict.FAIL
        assert found in check.found
        assert check.advice[0].isupper()
    assert doctor.check_model(make_config(tmp_path)).verdict is Verdict.SKIPPED


def test_a_calibration_that_is_missing_or_falls_short_is_told(
    tmp_path: Path, upright: Calibration, config: Config
) -> None:
    assert doctor.check_profile(config).verdict is Verdict.OK
    assert doctor.check_profile(make_config(tmp_path, user="ben")).verdict is Verdict.WARN
    assert doctor.check_profile(make_config(tmp_path, user=None)).verdict is Verdict.SKIPPED
    part = Calibration({slot: upright.slots[slot] for slot in LEG_SLOTS[:3]})
    save_profile(UserProfile("cleo", part))
    short = doctor.check_profile(make_config(tmp_path, user="cleo"))
    assert (short.verdict, "calcn_l" in short.found) == (Verdict.FAIL, True)
    profile_path("cleo").write_text("version = ")
    assert doctor.check_profile(make_config(tmp_path, user="cleo")).verdict is Verdict.FAIL


def test_json_says_what_the_table_says() -> None:
    checks = [Check("disk", Verdict.OK, "20 GB"), Check("radio", Verdict.FAIL, "none", "Buy one.")]
    told = json.loads(checks_json(checks))
    assert told["verdict"] == "fail"
    assert told["checks"][1] == {
        "name": "radio",
        "verdict": "fail",
        "found": "none",
        "advice": "Buy one.",
    }
    assert json.loads(checks_json(checks[:1]))["verdict"] == "ok"


def test_a_program_that_is_missing_hangs_or_dies_is_only_a_status(tmp_path: Path) -> None:
    assert run_program([str(tmp_path / "nobody")]).status == 127
    assert run_program(["sleep", "20"], timeout_s=0.1).status == 124
    assert run_program([sys.executable, "-c", "import os; os.kill(os.getpid(), 4)"]).status == -4
    assert run_program(["echo", "hello"]) == Ran(0, "hello\n")


def test_the_speed_of_the_disk_is_measured_and_leaves_nothing(tmp_path: Path) -> None:
    assert write_speed_mb_s(tmp_path / "not" / "yet") > 0
    assert not list(tmp_path.iterdir())


def test_the_command_ends_with_1_where_something_is_wrong(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["doctor", "--source", "sim:", "--user", "anna", "--model"]
    healthy = CliRunner().invoke(app, [*arguments, str(config.model), "--json"])
    assert healthy.exit_code == 0, healthy.output
    assert json.loads(healthy.stdout)["verdict"] == "ok"
    ill = CliRunner().invoke(app, [*arguments, "nowhere"], env={"COLUMNS": "200"})
    assert ill.exit_code == 1
    assert "no model at" in ill.output
    wrong = CliRunner().invoke(app, ["doctor", "--config", "nowhere.toml"])
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("talaria: ")


def test_the_doctor_starts_where_onnxruntime_would_kill_it() -> None:
    program = "import sys, talaria_edge.__main__; sys.exit('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == 0
