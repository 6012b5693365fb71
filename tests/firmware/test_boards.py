"""The boards that cannot be run here at least compile, without a warning."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def test_nrf52840_skeleton_compiles(
    tool: Callable[..., str], firmware_root: Path, tmp_path: Path
) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed, so the nRF52840 code is not compiled here")
    tool("make", "-C", firmware_root / "boards" / "nrf52840", f"BUILD={tmp_path}")
    assert len(list(tmp_path.glob("*.o"))) == 6


def test_each_board_says_whether_it_ever_ran_on_hardware(firmware_root: Path) -> None:
    guide = (firmware_root / "boards" / "README.md").read_text()
    for folder in (firmware_root / "boards").iterdir():
        if folder.is_dir():
            assert f"| `{folder.name}` |" in guide
    for path in (firmware_root / "boards" / "nrf52840").iterdir():
        if path.is_file():
            assert "not run on hardware" in path.read_text().lower(), path.name
