"""A session log keeps what it was given, whatever becomes of the machine."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from mcap.reader import make_reader

from talaria_bridge import recorder
from talaria_bridge.errors import RecordingError
from talaria_bridge.link import Chunk, Item, Link, LinkEvent, LinkNews
from talaria_bridge.recorder import LOG_FILE, SessionLogWriter, read_session_log

LINKS = (
    Link("ble:dot/D4:22:CD:00:11:22", "dot", "femur_r", 60.0, "ble"),
    Link("serial:/dev/ttyACM0"),
)
SCHEMA = {"type": "object", "properties": {"t_s": {"type": "number"}}}


def items(count: int = 60) -> list[Item]:
    rng = random.Random(5)
    found: list[Item] = [LinkEvent(99.5, LINKS[0].name, LinkNews.CONNECTED)]
    for k in range(count):
        t_s = 100.0 + k * 0.0371 + rng.random() * 1e-9  # a time no decimal fraction can hold
        link, stream = ((LINKS[0].name, "data"), (LINKS[1].name, ""))[k % 2]
        found.append(Chunk(t_s, rng.randbytes(rng.randrange(1, 60)), link, stream))
    found.append(LinkEvent(103.0, LINKS[0].name, LinkNews.BATTERY, "low", 0.125))
    return found


def write(path: Path, what: list[Item]) -> Path:
    with SessionLogWriter(path, LINKS) as log:
        for item in what:
            log.write(item)
            log.write_json("/ticks", item.t_s, {"t_s": item.t_s, "knee": 0.5}, SCHEMA)
    return path


def test_what_was_written_is_read_to_the_last_bit(tmp_path: Path) -> None:
    path = write(tmp_path / LOG_FILE, items())
    reader = read_session_log(path)
    assert reader.links == LINKS
    assert list(reader) == items()
    assert (reader.damaged, reader.torn_bytes, reader.complete) == (0, 0, True)
    assert list(read_session_log(tmp_path)) == items()  # the folder will do


def test_json_of_a_topic_is_read_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", items())
    values = list(read_session_log(path).messages("/ticks"))
    assert [value["t_s"] for value in values] == [item.t_s for item in items()]
    assert list(read_session_log(path).messages("/nothing")) == []


def test_other_programs_find_an_index_schemas_and_plausible_times(tmp_path: Path) -> None:
    wall_ns = 1_795_000_000_000_000_000
    with SessionLogWriter(tmp_path / "a.mcap", LINKS, wall_ns) as log:
        for item in items():
            log.write(item)
            log.write_json("/ticks", item.t_s, {"t_s": item.t_s}, SCHEMA)
    with (tmp_path / "a.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == 2 * len(items())
        topics = {channel.topic for channel in summary.channels.values()}
        schemas = {json.loads(s.data)["type"] for s in summary.schemas.values()}
        seconds = [(m.log_time - wall_ns) / 1e9 for _, _, m in reader.iter_messages("/ticks")]
    raw = {f"/raw/{LINKS[0].name}/data", f"/raw/{LINKS[1].name}"}
    assert topics == {*raw, "/links", "/ticks"}
    assert schemas == {"object"}
    assert seconds == pytest.approx(sorted(item.t_s - 99.5 for item in items()), abs=1e-6)


def test_a_file_cut_anywhere_gives_what_is_whole_and_never_an_exception(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.mcap", items(12)).read_bytes()
    wanted = items(12)
    longest = -1
    for length in range(len(whole)):
        (tmp_path / "cut.mcap").write_bytes(whole[:length])
        reader = read_session_log(tmp_path / "cut.mcap")
        got = list(reader)
        assert got == wanted[: len(got)]
        assert len(got) >= longest  # more of the file never gives less
        longest = len(got)
        assert reader.damaged == 0
        assert not reader.complete
    assert longest == len(wanted)


def test_a_damaged_chunk_is_counted_and_the_others_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", items())
    whole, rest_read = path.read_bytes(), 0
    for at in range(len(whole) // 4, len(whole) // 2, 17):
        data = bytearray(whole)
        data[at] ^= 0xFF
        path.write_bytes(data)
        reader = read_session_log(path)
        got = list(reader)
        assert all(item in items() for item in got)
        if got != items():
            assert reader.damaged + reader.torn_bytes > 0 or not reader.complete
            rest_read += reader.damaged > 0 and got[-1] == items()[-1]
    assert rest_read > 10


def test_the_links_survive_damage_to_the_first_record(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", items())
    data = path.read_bytes()
    path.write_bytes(data.replace(b"femur_r", b"femur_x", 1))
    reader = read_session_log(path)
    assert reader.links == LINKS
    assert list(reader) == items()


def test_damage_anywhere_never_gives_a_wrong_item(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.mcap", items()).read_bytes()
    rng, wanted = random.Random(1), items()
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 8))):
            data[rng.randrange(16, len(data))] ^= 1 << rng.randrange(8)
        (tmp_path / "bad.mcap").write_bytes(data)
        with contextlib.suppress(RecordingError):
            assert all(item in wanted for item in read_session_log(tmp_path / "bad.mcap"))


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", items(3))
    before = path.read_bytes()
    with pytest.raises(RecordingError, match="never overwritten"):
        SessionLogWriter(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"time,knee\n0,1\n", "not a Talaria session log"), (b"\x89PNG\r\n\x1a\n", "not a Talaria")],
)
def test_another_file_is_refused_in_one_sentence(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(RecordingError, match=why) as caught:
        read_session_log(tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_a_log_of_another_version_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", items(3))
    data = path.read_bytes()
    old = b"\x07\x00\x00\x00version\x01\x00\x00\x001"
    assert old in data
    path.write_bytes(data.replace(old, old[:-1] + b"9"))
    with pytest.raises(RecordingError, match="version 9"):
        read_session_log(path)


def test_a_newer_logs_link_is_read_for_what_this_one_knows() -> None:
    assert recorder._link(asdict(LINKS[0]) | {"colour": "red"}) == LINKS[0]


def test_a_missing_file_and_a_missing_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be opened"):
        read_session_log(tmp_path / "none.mcap")
    with pytest.raises(RecordingError, match="cannot be created"):
        SessionLogWriter(tmp_path / "none" / "a.mcap")


def test_a_full_disk_is_one_sentence_and_closing_is_quiet() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full to stand for a full disk")
    program = """
import talaria_bridge.recorder as recorder
from pathlib import Path
from talaria_bridge import recorder
from talaria_bridge.errors import RecordingError
from talaria_bridge.link import Chunk
recorder._create = lambda path: open("/dev/full", "wb")
try:
    recorder.SessionLogWriter("x")
except RecordingError as err:
    print(err)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "make room on the disk" in done.stdout
    assert "Traceback" not in done.stderr


KILLED = """
import sys, time
from talaria_bridge.link import Chunk
from talaria_bridge.recorder import SessionLogWriter
log = SessionLogWriter(sys.argv[1])
start = time.monotonic()
k = 0
while True:
    time.sleep(max(0.0, start + k / 400 - time.monotonic()))
    now = time.monotonic()
    log.write(Chunk(now, k.to_bytes(4, "little") * 9))
    sys.stdout.write(f"{k} {now!r}\\n")
    sys.stdout.flush()
    k += 1
"""


def kill_one(path: Path, after_s: float) -> tuple[int, float]:
    """Kill a recording; return how many chunks were lost, and how long before its end they began."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    timer = subprocess.Popen(["sleep", f"{after_s}"])
    timer.wait()
    os.kill(process.pid, signal.SIGKILL)
    said = [first, *process.stdout]
    process.wait()
    process.stdout.close()
    written = [line.split() for line in said if line.endswith("\n")]
    got = list(read_session_log(path))
    assert [int.from_bytes(c.data[:4], "little") for c in got if isinstance(c, Chunk)] == list(
        range(len(got))
    )
    last_s = float(written[-1][1])
    lost_since_s = float(written[len(got)][1]) if len(got) < len(written) else last_s
    return len(written) - len(got), last_s - lost_since_s


def test_killed_at_fifty_moments_every_file_opens_and_a_second_at_most_is_lost(
    tmp_path: Path,
) -> None:
    rng = random.Random(2)
    moments = [rng.uniform(0.02, 2.2) for _ in range(50)]
    with ThreadPoolExecutor(max_workers=10) as pool:
        paths = [tmp_path / f"{n}.mcap" for n in range(50)]
        results = list(pool.map(kill_one, paths, moments))
    assert max(seconds for _, seconds in results) <= 1.0
    assert any(lost for lost, _ in results)  # or the kills came too late to show anything
