"""What a 64-bit Raspberry Pi OS would be given: resolved here, for its Python and its glibc."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = ("dashboard",)
"""Those meant for the Pi beside the base install."""
PI_OS = {"bookworm": ("3.11", 36), "trixie": ("3.13", 41)}
"""Release -> its Python, and the minor version of its glibc 2."""
NO_NETWORK = (
    "Connection",
    "connection",
    "Temporary failure",
    "timed out",
    "Network is unreachable",
)


def resolve(
    wanted: list[str], python: str, platforms: list[str]
) -> subprocess.CompletedProcess[str]:
    """Ask pip what it would install there; nothing is installed."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-"),
            *("--disable-pip-version-check", "--retries", "1", "--ignore-installed"),
            *("--target", "nowhere", "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", python, *(f"--platform={name}" for name in platforms)),
            *("--constraint", str(HOME / "constraints.txt"), *wanted),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def skip_without_network(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode != 0 and any(sign in done.stderr for sign in NO_NETWORK):
        pytest.skip("the package index cannot be reached")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("release", sorted(PI_OS))
def test_every_wheel_for_64_bit_pi_os_exists(release: str) -> None:
    python, glibc = PI_OS[release]
    extras = [line for name in EXTRAS for line in PROJECT["optional-dependencies"].get(name, ())]
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(glibc, 16, -1)]
    done = resolve(
        [*PROJECT["dependencies"], *extras], python, [*platforms, "manylinux2014_aarch64"]
    )
    skip_without_network(done)
    assert done.returncode == 0, done.stderr
    files = [
        item["download_info"]["url"].rpartition("/")[2]
        for item in json.loads(done.stdout)["install"]
    ]
    assert any(file.startswith("onnxruntime-") for file in files)
    assert all("aarch64" in file or file.endswith("-none-any.whl") for file in files), files


@pytest.mark.timeout(120)
def test_a_32_bit_pi_os_is_refused_by_resolution() -> None:
    done = resolve(["onnxruntime"], "3.11", ["manylinux_2_36_armv7l", "manylinux2014_armv7l"])
    skip_without_network(done)
    assert done.returncode != 0
    assert "ERROR" in done.stderr
    assert "onnxruntime" in done.stderr
