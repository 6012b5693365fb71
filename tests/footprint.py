"""What a live session takes of the machine: processor and memory of its processes, seen from outside."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SETTLING_S = 5.0
"""Loading is not running: before this the processor's time is not counted. Memory always is."""
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
# Everything the command `talaria` loads is loaded here too.
_SESSION = """
import sys
from pathlib import Path
import talaria_edge.__main__
from talaria_edge.again import config_of
from talaria_edge.app import run_session
from talaria_edge.config import DashboardConfig
folder, model, port, out = sys.argv[1:]
config, calibration = config_of(Path(folder), Path(model), "real", display=False)
if int(port):
    config = config.model_copy(update={"dashboard": DashboardConfig(on=True, port=int(port))})
if out:
    config = config.model_copy(update={"record_dir": Path(out)})
run_session(config, calibration=calibration)
"""


@dataclass(frozen=True, slots=True)
class Footprint:
    """A session and the processes it started.

    Attributes
    ----------
    core_share : float
        Processor time over time, 1 is one core: all processes.
    session_mb, all_mb : float
        Most that was resident: of the session's process; of all of them, shared pages counted each time.
    session_pss_mb, all_pss_mb : float
        The same with every shared page divided among those who share it, on the whole machine.
    """

    core_share: float
    session_mb: float
    all_mb: float
    session_pss_mb: float
    all_pss_mb: float


def measure(
    session: Path, model: Path, *, dashboard: bool = False, out: Path | None = None
) -> Footprint:
    """Replay `session` in real time in a process of its own.

    Parameters
    ----------
    session, model : Path
    dashboard : bool
        Whether there is one, and somebody who watches.
    out : Path, optional
        Where it is recorded once more, as ``talaria run`` does; not at all by default.
    """
    port = _free_port() if dashboard else 0
    given = [str(session), str(model), str(port), str(out or "")]
    command = [sys.executable, "-c", _SESSION, *given]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with _browser(port):
        seen = list(_watch(child))
    assert child.stderr is not None
    said = child.stderr.read().strip()
    if child.returncode != 0:
        raise SystemExit(f"bench: the session failed: {said.splitlines()[-1] if said else '?'}")
    steady = [look for look in seen if look[0] >= SETTLING_S]
    busy_s, passed_s = steady[-1][1] - steady[0][1], steady[-1][0] - steady[0][0]
    return Footprint(
        busy_s / passed_s, *(max(kb) / 1024 for kb in list(zip(*seen, strict=True))[2:])
    )


def _watch(child: subprocess.Popen[str]) -> Iterator[tuple[float, float, int, int, int, int]]:
    """Look every quarter of a second: time, processor's seconds, and the four kinds of kB."""
    start_s = time.monotonic()
    while child.poll() is None:
        with contextlib.suppress(OSError, IndexError):  # one may end while it is being looked at
            pids = [child.pid, *_descendants(child.pid)]
            memory = [_memory_kb(pid) for pid in pids]
            busy_s = sum(_busy_s(pid) for pid in pids)
            rss, pss = (sum(kinds) for kinds in zip(*memory, strict=True))
            yield (time.monotonic() - start_s, busy_s, memory[0][0], rss, memory[0][1], pss)
        time.sleep(0.25)


def _descendants(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [one for child in map(int, found) for one in (child, *_descendants(child))]


def _memory_kb(pid: int) -> tuple[int, int]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return int(text.split("Rss:")[1].split()[0]), int(text.split("Pss:")[1].split()[0])


def _busy_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextlib.contextmanager
def _browser(port: int) -> Iterator[None]:
    """Take what a page would, for as long as the session lasts; nothing where there is no port."""
    if port == 0:
        yield
        return
    got: list[int] = []
    reader = threading.Thread(target=_read_page, args=(port, got), daemon=True)
    reader.start()
    yield
    reader.join(5.0)
    if len(got) < 10:
        raise SystemExit(f"bench: the dashboard told its page {len(got)} times only.")


def _read_page(port: int, got: list[int]) -> None:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    for _ in range(100):
        time.sleep(0.2)
        with contextlib.suppress(OSError, WebSocketException):
            with connect(f"ws://127.0.0.1:{port}/live", max_size=None) as page:
                got.extend(len(message) for message in page)
            return
