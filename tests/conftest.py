"""Where the real recordings are, for the tests that want them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real recordings; the test is skipped, with a reason, where there is none."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("TALARIA_DATA", beside))
    if not root.is_dir():
        pytest.skip(f"no real recordings at {root}: set TALARIA_DATA to a folder that holds them")
    return root


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """A command sets up the program's log; the next test must find it as pytest had it."""
    log = logging.getLogger("talaria")
    before = (log.handlers[:], log.level, log.propagate)
    yield
    log.handlers[:], level, log.propagate = before
    log.setLevel(level)
