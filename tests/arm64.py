"""The base install on an aarch64 userland, emulated: `make arm64`.

Unpacks Debian's own Python for arm64, lets this machine's pip fetch the aarch64 wheels of the base install, and
replays a simulated minute under qemu; the same minute on this machine says what the angles must be. Nothing is
installed here, nothing needs root, and neither apt nor pip is emulated. It shows that the wheels exist, load
and compute the same. It says nothing about speed: emulation is tens of times slower than a Raspberry Pi.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(__file__).parents[1]
BUILD = HOME / "build" / "arm64"
ROOT = BUILD / "root"
SITE = Path("/opt/talaria")
WORK = Path("/work")
"""Both inside the emulated system."""
SUITE = "bookworm"
"""What 64-bit Raspberry Pi OS is made from; its glibc is 2.36 and its Python 3.11."""
PYTHON = "3.11"
QEMU = "qemu-aarch64-static"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS = {QEMU: "qemu-user-static", "apt-get": "apt", "dpkg-deb": "dpkg", "chroot": "coreutils"}
"""Program -> the Debian package it comes in."""
TOLERANCE_RAD = 1e-4
SECONDS = 60.0


def main() -> None:
    """Build the userland, replay on both machines, compare."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", type=Path, help="Folder; the first released one if absent.")
    options.add_argument("--mirror", default="http://deb.debian.org/debian")
    options.add_argument("--replay", type=Path, help="Only replay this session, into --out.")
    options.add_argument("--out", type=Path)
    asked = options.parse_args()
    if asked.replay is not None:
        replay(asked.replay, asked.model, asked.out)
        return
    model = asked.model or HOME / "models" / "talaria-legs-2"
    check_tools()
    start_s = time.monotonic()
    if not (ROOT / "usr" / "bin" / f"python{PYTHON}").exists():
        unpack_userland(asked.mirror)
    say(start_s, f"Debian {SUITE} arm64 with Python {PYTHON}")
    install()
    say(start_s, f"base install from aarch64 wheels: {megabytes(inside(SITE))} MB")
    session = record(model)
    here, there = BUILD / "here.npz", inside(WORK) / "there.npz"
    run("The replay on this machine", [sys.executable, __file__, *replay_args(session, here)])
    say(start_s, "replayed on this machine")
    arguments = replay_args(WORK / "session", WORK / "there.npz", WORK / "model")
    emulate("The emulated replay", [f"{WORK}/arm64.py", *arguments])
    say(start_s, "replayed under emulation")
    print(emulate("The emulated command", ["-m", "talaria_edge", "--version"]).strip())
    compare(here, there)


def say(start_s: float, what: str) -> None:
    print(f"[{time.monotonic() - start_s:5.0f} s] {what}", flush=True)


def inside(path: Path) -> Path:
    """Where a path of the emulated system lies on this one."""
    return ROOT / path.relative_to("/")


def megabytes(folder: Path) -> int:
    files = (path.stat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return round(sum(file.st_size for file in files) / 1e6)


def check_tools() -> None:
    missing = sorted(package for tool, package in TOOLS.items() if shutil.which(tool) is None)
    if not KEYRING.exists():
        missing.append("debian-archive-keyring")
    if os.geteuid() != 0 and shutil.which("unshare") is None:
        missing.append("util-linux")
    if missing:
        raise SystemExit(
            f"arm64: {', '.join(missing)} is missing: apt-get install it and try again."
        )


def run(what: str, command: list[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise SystemExit(f"arm64: {what} ended with status {done.returncode}:\n{said}")
    return done.stdout


def unpack_userland(mirror: str) -> None:
    """Download and unpack, with apt's state kept apart from this machine's; no maintainer script runs."""
    shutil.rmtree(BUILD, ignore_errors=True)
    apt = BUILD / "apt"
    for folder in ("lists/partial", "cache/archives/partial", "preferences"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    sources = apt / "sources.list"
    sources.write_text(
        f"deb [arch=arm64 signed-by={KEYRING}] {mirror} {SUITE} main\n", encoding="utf-8"
    )
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "1",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": apt / "preferences",
        "Dir::State::Lists": apt / "lists",
        "Dir::State::Status": apt / "status",
    }
    apt_get = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in settings.items())]
    run("Fetching Debian's list of arm64 packages", [*apt_get, "update"])
    wanted = ["--yes", "--download-only", "install", "python3", "libstdc++6", "libgcc-s1"]
    run("Fetching Debian's Python for arm64", [*apt_get, *wanted])
    half = BUILD / "root.part"
    half.mkdir()
    for deb in sorted((apt / "cache" / "archives").glob("*.deb")):
        run(f"Unpacking {deb.name}", ["dpkg-deb", "--extract", str(deb), str(half)])
    shutil.copy(str(shutil.which(QEMU)), half)
    half.rename(ROOT)


def install() -> None:
    """What `pip install talaria` would choose on the Pi, chosen here by this machine's pip."""
    shutil.rmtree(inside(SITE), ignore_errors=True)
    # aarch64 has had wheels since glibc 2.17; bookworm's 2.36 takes them all, but pip here must be told each.
    tags = [f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)]
    platforms = [f"--platform={tag}" for tag in (*tags, "manylinux2014_aarch64")]
    run(
        "pip for aarch64",
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", str(inside(SITE)), "--only-binary=:all:", *platforms),
            *("--implementation=cp", f"--python-version={PYTHON}"),
            *("--constraint", str(HOME / "constraints.txt"), str(HOME)),
        ],
    )


def record(model: Path) -> Path:
    """Record a simulated minute with its model, where both machines can read it."""
    from talaria_edge.app import run_session
    from talaria_edge.config import Config

    shutil.rmtree(inside(WORK), ignore_errors=True)
    session = inside(WORK) / "session"
    inside(WORK).mkdir()
    shutil.copytree(model, inside(WORK) / "model")
    shutil.copy(__file__, inside(WORK) / "arm64.py")
    spec = f"sim:?seed=1&seconds={SECONDS:g}"
    made = run_session(Config(source=spec, model=model, record_dir=inside(WORK), display=False))
    assert made.folder is not None
    made.folder.rename(session)
    return session


def replay_args(session: Path, out: Path, model: Path | None = None) -> list[str]:
    chosen = inside(WORK) / "model" if model is None else model
    return ["--replay", str(session), "--model", str(chosen), "--out", str(out)]


def emulate(what: str, arguments: list[str]) -> str:
    """Run the emulated Python; chroot, because with -L alone onnxruntime dies on being imported."""
    alone = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]
    settings = {"PYTHONPATH": SITE, "PYTHONDONTWRITEBYTECODE": 1, "HOME": WORK, "LC_ALL": "C.UTF-8"}
    given = [part for key, value in settings.items() for part in ("-E", f"{key}={value}")]
    python = f"/usr/bin/python{PYTHON}"
    env = {"PATH": os.environ["PATH"]}  # nothing else of this machine's is meant for it
    return run(what, [*alone, "chroot", str(ROOT), f"/{QEMU}", *given, python, *arguments], env)


def replay(session: Path, model: Path, out: Path) -> None:
    """Do what `talaria replay SESSION --fast` does, and keep the angles."""
    import numpy as np

    from talaria_edge.again import config_of
    from talaria_edge.app import run_session
    from talaria_edge.pipeline import GaitState

    states: list[GaitState] = []
    config, calibration = config_of(session, model, "fast", display=False)
    run_session(config, on_state=states.append, calibration=calibration)
    np.savez(
        out,
        machine=os.uname().machine,
        names=list(states[0].angles_rad),
        t_s=[state.t_s for state in states],
        angles_rad=[list(state.angles_rad.values()) for state in states],
        events=[f"{e.side} {e.kind} {e.t_s:.3f}" for state in states for e in state.events],
    )


def compare(here: Path, there: Path) -> None:
    """Print how far the two machines are apart, and fail if that is too far."""
    import numpy as np

    with np.load(here) as a, np.load(there) as b:
        if b["machine"] != "aarch64":
            raise SystemExit(f"arm64: what replayed was {b['machine']}, so this shows nothing.")
        if not np.array_equal(a["t_s"], b["t_s"]) or not np.array_equal(a["names"], b["names"]):
            raise SystemExit(f"arm64: {len(a['t_s'])} states here, {len(b['t_s'])} others there.")
        apart_rad = np.abs(a["angles_rad"] - b["angles_rad"])
        same_gaps = np.array_equal(np.isnan(a["angles_rad"]), np.isnan(b["angles_rad"]))
        worst_rad = float(np.nanmax(apart_rad)) if same_gaps else np.inf
        events = "the same" if np.array_equal(a["events"], b["events"]) else "OTHER"
        print(
            f"{len(a['t_s'])} states of {len(a['names'])} angles: at most {worst_rad:.1e} rad apart "
            f"(allowed {TOLERANCE_RAD:g}); {len(a['events'])} contacts, {events}."
        )
        if not worst_rad <= TOLERANCE_RAD or events != "the same":
            raise SystemExit("arm64: aarch64 and this machine disagree.")


if __name__ == "__main__":
    main()
