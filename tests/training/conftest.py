"""Two simulated people, prepared once: enough to train tiny networks on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch

from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import random_params, simulate_walk
from talaria_training.data.recording import Contact, Recording
from talaria_training.trials import Trial, prepare_person


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALARIA_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _kind(name: str) -> Literal["initial", "final"]:
    return "initial" if name == "initial" else "final"


def simulated_recording(seed: int, seconds: float = 70.0) -> Recording:
    walk = simulate_walk(seed=seed, params=random_params(seed), seconds=seconds)
    return Recording(
        person=f"Sim{seed}",
        condition="walk",
        name=f"Sim{seed}/walk",
        rate_hz=walk.rate_hz,
        t_s=walk.t_s,
        slots=LEG_SLOTS,
        acc_ms2=walk.acc_ms2,
        gyr_rads=walk.gyr_rads,
        angles_rad=dict(walk.angles_rad),
        contacts=tuple(Contact(t, "r" if s == "r" else "l", _kind(k)) for t, s, k in walk.contacts),
    )


@pytest.fixture(scope="session")
def recordings() -> list[Recording]:
    return [simulated_recording(11), simulated_recording(12)]


@pytest.fixture(scope="session")
def trials(recordings: list[Recording]) -> list[Trial]:
    return [prepare_person([recording]).trials[0] for recording in recordings]
