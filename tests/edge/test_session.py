"""A whole session: live over a real serial port, recorded, and replayed."""

from __future__ import annotations

import math
import threading
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

from talaria_bridge.commands import Start, encode_command
from talaria_bridge.device import VirtualTalaria
from talaria_bridge.errors import CalibrationError, ModelContractError, SourceError
from talaria_bridge.link import Chunk, Item, Link, LinkEvent, LinkNews
from talaria_bridge.recorder import SessionLogWriter
from talaria_bridge.replay import PacedSource
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import SimulatedWalk
from talaria_bridge.vendors import FAMILIES
from talaria_bridge.virtual import VirtualSerialDevice, schedule_frames
from talaria_edge.app import SILENCE_S, record_session, run_session
from talaria_edge.calibration import Calibration
from talaria_edge.capture import Capture
from talaria_edge.config import Config
from talaria_edge.kinematics import ANGLES
from talaria_edge.pipeline import GaitState, Validity
from talaria_edge.profile import UserProfile, load_profile, save_profile
from talaria_edge.session import Session

Schedule = list[tuple[float, bytes]]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upright: Calibration) -> None:
    monkeypatch.setenv("TALARIA_HOME", str(tmp_path / "home"))
    save_profile(UserProfile("anna", upright))


@pytest.fixture(scope="module")
def schedule(walk: SimulatedWalk) -> Schedule:
    return schedule_frames(LEG_SLOTS, walk.t_s, walk.acc_ms2, walk.gyr_rads, walk.rate_hz)


def write_log(path: Path, schedule: Schedule) -> Path:
    with SessionLogWriter(path) as log:
        for t_s, data in schedule:
            log.write(Chunk(t_s, data))
    return path


def config(source: str, model: Path, **more: object) -> Config:
    fields: dict[str, object] = {"user": "anna", "record_dir": None, "display": False}
    return Config.model_validate({"source": source, "model": model} | fields | more)


def key(state: GaitState) -> tuple[object, ...]:
    angles = tuple("nan" if math.isnan(v) else v for v in state.angles_rad.values())
    return state.index, state.t_s, angles, state.validity, tuple(state.events), state.reason


def test_replay_equals_live_bit_for_bit(
    tiny_model: Path, schedule: Schedule, tmp_path: Path
) -> None:
    live: list[GaitState] = []
    five_seconds = [frame for frame in schedule if frame[0] < 5.0]
    with VirtualSerialDevice(five_seconds) as device:
        unplugged = threading.Thread(target=lambda: (device.wait(30.0), device.unplug()))
        unplugged.start()
        with pytest.raises(SourceError, match="unplugged"):
            run_session(
                config(f"serial:{device.port}?retry=0", tiny_model, record_dir=tmp_path / "s"),
                live.append,
            )
        unplugged.join()
    (folder,) = (tmp_path / "s").iterdir()
    again: list[GaitState] = []
    run_session(config(f"replay:{folder / 'session.mcap'}", tiny_model), again.append)
    assert len(live) > 450
    assert list(map(key, live)) == list(
        map(key, again)
    )  # an unplugged device lost nothing recorded


def test_a_recorded_session_says_what_it_was_and_opens_as_a_motion_file(
    tiny_model: Path, schedule: Schedule, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "walk.mcap", schedule)
    states: list[GaitState] = []
    summary = run_session(
        config(f"replay:{log}", tiny_model, record_dir=tmp_path / "out"), states.append
    )
    assert summary.folder is not None
    about = tomllib.loads((summary.folder / "session.toml").read_text())
    assert about["model"]["id"] == "tiny"
    assert about["ended"]["states"] == len(states)
    lines = (summary.folder / "angles.mot").read_text().splitlines()
    header = lines[: lines.index("endheader")]
    assert "inDegrees=yes" in header
    assert f"nColumns={1 + len(ANGLES)}" in header
    labels, *rows = lines[len(header) + 1 :]
    assert labels.split("\t") == ["time", *ANGLES]
    assert len(rows) == int(next(line for line in header if line.startswith("nRows"))[6:])
    assert all(len(row.split("\t")) == 1 + len(ANGLES) for row in rows)
    middle = np.array(rows[700].split("\t"), dtype=float)
    expected = np.degrees(list(states[700].angles_rad.values()))
    np.testing.assert_allclose(middle[1:], expected, atol=1e-5)


def test_a_new_wearer_is_calibrated_from_the_stream_and_kept(
    tiny_model: Path, schedule: Schedule, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "walk.mcap", schedule)
    states: list[GaitState] = []
    run_session(config(f"replay:{log}", tiny_model, user="ben"), states.append)
    assert states
    assert states[0].index > 800  # standing, then eight seconds of walking, came first
    assert load_profile("ben").calibration is not None


def test_a_stream_that_ends_before_the_calibration_says_what_was_missing(
    tiny_model: Path, schedule: Schedule, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "short.mcap", schedule[:2500])
    with pytest.raises(CalibrationError, match="of walking"):
        run_session(config(f"replay:{log}", tiny_model, user="ben"))


def test_damaged_bytes_end_in_counters(
    tiny_model: Path, schedule: Schedule, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    damaged: Schedule = []
    for i, (t_s, frame) in enumerate(schedule):
        if i % 50 == 7:
            damaged.append((t_s, frame[: len(frame) // 2] + b"\x00"))  # truncated
        elif i % 50 == 31:
            damaged.append((t_s, random.bytes(40) + b"\x00" + frame))  # noise on the line
        else:
            damaged.append((t_s, frame))
    log = write_log(tmp_path / "damaged.mcap", damaged)
    states: list[GaitState] = []
    summary = run_session(config(f"replay:{log}", tiny_model), states.append)
    (link,) = summary.links
    assert sum(link.faults.values()) > 50
    assert 0 < sum(summary.lost.values()) < 0.03 * len(schedule)
    settled = states[300:]
    assert sum(s.validity is Validity.GOOD for s in settled) > 0.9 * len(settled)


def test_a_dead_sensor_invalidates_and_does_not_crash(
    tiny_model: Path, walk: SimulatedWalk, tmp_path: Path
) -> None:
    rows = [i for i, slot in enumerate(LEG_SLOTS) if slot != "calcn_r"]
    slots = tuple(LEG_SLOTS[i] for i in rows)
    part = schedule_frames(
        slots, walk.t_s, walk.acc_ms2[:, rows], walk.gyr_rads[:, rows], walk.rate_hz
    )
    whole = schedule_frames(LEG_SLOTS, walk.t_s, walk.acc_ms2, walk.gyr_rads, walk.rate_hz)
    died_s = 6.0
    # The survivors' own numbering runs on; the dead one simply stops.
    mixed = [f for f in whole if f[0] < died_s] + [f for f in part if f[0] >= died_s]
    log = write_log(tmp_path / "dead.mcap", mixed)
    states: list[GaitState] = []
    run_session(config(f"replay:{log}", tiny_model), states.append)
    after = [s for s in states if s.validity is Validity.INVALID]
    assert len(after) > 800
    assert all("calcn_r" in s.reason for s in after)
    assert all(math.isnan(v) for s in after for v in s.angles_rad.values())


def test_a_model_for_another_rate_or_other_slots_is_refused(
    tiny_model: Path, schedule: Schedule, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "walk.mcap", schedule[:50])
    with pytest.raises(ModelContractError, match="100 Hz"):
        run_session(config(f"replay:{log}", tiny_model, rate_hz=50.0))
    with pytest.raises(ModelContractError, match="femur_l"):
        run_session(config(f"replay:{log}", tiny_model, slots=("femur_r", "calcn_r")))


def test_frames_of_many_samples_arrive_slot_by_slot_and_nothing_is_missed(
    tiny_model: Path, walk: SimulatedWalk, tmp_path: Path
) -> None:
    batched = schedule_frames(
        LEG_SLOTS, walk.t_s, walk.acc_ms2, walk.gyr_rads, walk.rate_hz, samples_per_frame=10
    )
    joined: dict[float, bytes] = {}
    for t_s, frame in batched:
        joined[t_s] = joined.get(t_s, b"") + frame
    log = write_log(tmp_path / "batched.mcap", list(joined.items()))
    states: list[GaitState] = []
    run_session(config(f"replay:{log}", tiny_model), states.append)
    assert len(states) > 1550
    assert all(status == "measured" for state in states for status in state.slot_status)


def test_a_sensor_lost_while_calibrating_is_not_calibrated_from_a_frozen_reading(
    tiny_model: Path, schedule: Schedule, walk: SimulatedWalk, tmp_path: Path
) -> None:
    rows = [i for i, slot in enumerate(LEG_SLOTS) if slot != "calcn_r"]
    part = schedule_frames(
        tuple(LEG_SLOTS[i] for i in rows),
        walk.t_s,
        walk.acc_ms2[:, rows],
        walk.gyr_rads[:, rows],
        walk.rate_hz,
    )
    lost = [f for f in schedule if not 7.0 <= f[0] < 8.0] + [f for f in part if 7.0 <= f[0] < 8.0]
    log = write_log(tmp_path / "lost.mcap", sorted(lost, key=lambda frame: frame[0]))
    with pytest.raises(CalibrationError, match="still"):
        run_session(config(f"replay:{log}", tiny_model, user="ben"))
    assert load_profile("ben").calibration is None


def test_what_a_sensor_cannot_tell_is_said_when_it_is_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    capture = Capture(config("sim:", tmp_path))
    links = [Link(f"ble:witmotion/{k}", "witmotion", slot) for k, slot in enumerate(LEG_SLOTS)]
    capture.open(links, (), {})
    assert [record.getMessage() for record in caplog.records] == [FAMILIES["witmotion"].caveat]


def test_a_line_on_which_everybody_falls_silent_is_announced_while_it_lasts(
    tiny_model: Path, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced_s: list[float] = []
    monkeypatch.setattr(Session, "silence", lambda _, seconds: announced_s.append(seconds))
    one_second = [frame for frame in schedule if frame[0] < 1.0]
    with VirtualSerialDevice(one_second) as device:

        def unplug_a_while_later() -> None:
            device.wait(30.0)
            time.sleep(0.6)
            device.unplug()

        unplugged = threading.Thread(target=unplug_a_while_later)
        unplugged.start()
        with pytest.raises(SourceError, match="unplugged"):
            run_session(config(f"serial:{device.port}?retry=0", tiny_model))
        unplugged.join()
    assert announced_s
    assert SILENCE_S < announced_s[-1] < 0.5  # well before the device is gone for good


def test_devices_are_told_to_stop_when_they_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    device, link = VirtualTalaria("femur_r"), Link("test:", slot="femur_r")
    device.write(encode_command(Start(1)))
    items: list[Item] = [LinkEvent(0.0, link.name, LinkNews.CONNECTED)]
    for k in range(200):
        acc, gyr = (0.01 * (k % 7), 9.8, 0.0), (0.01 * (k % 5), 0.0, 0.0)
        items += [Chunk(k / 100, d, link.name) for _, d in device.sample(k / 100, acc, gyr)]
    source = PacedSource("test:", lambda: items, "fast")
    monkeypatch.setattr(source, "send", lambda _, data: device.write(data))
    monkeypatch.setattr("talaria_edge.app.open_source", lambda *_: source)
    assert device.streaming
    record_session(Config(source="test:", slots=("femur_r",), record_dir=None, display=False))
    assert not device.streaming
