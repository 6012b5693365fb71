"""Two simulated people, prepared once: enough to train tiny networks on."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import random_params, simulate_walk
from talaria_edge.generate.motion import CHANNELS
from talaria_training.data.recording import Contact, Recording
from talaria_training.engine import Job, Outcome, attempt
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


class Here:
    """An engine without processes, which remembers what it was given to do."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def outcomes(self, jobs: Mapping[str, Job], shared: Mapping[str, Any]) -> Iterator[Outcome]:
        for name, job in jobs.items():
            self.ran.append(name)
            yield attempt(name, pickle.dumps(job), shared)


@pytest.fixture(scope="session")
def new_engine() -> Callable[[], Here]:
    return Here


@pytest.fixture(scope="session")
def striding() -> Callable[[NDArray[np.float64], float], NDArray[np.float32]]:
    """Let somebody made up walk through the phases of their strides, at so many m/s."""

    def values(phase: NDArray[np.float64], forward_ms: float) -> NDArray[np.float32]:
        found = np.zeros((len(phase), len(CHANNELS)), np.float32)
        for i, name in enumerate(CHANNELS):
            mine = (phase + 0.5 * name.endswith("_l")) % 1.0
            if name.startswith("hip_flexion"):
                found[:, i] = 0.15 + 0.4 * np.cos(2 * np.pi * mine)
            elif name.startswith("knee"):
                found[:, i] = 0.5 - 0.45 * np.cos(2 * np.pi * (mine - 0.25))
            elif name.startswith("ankle"):
                found[:, i] = 0.2 * np.sin(2 * np.pi * mine)
            elif name.startswith("grf_vertical"):
                found[:, i] = np.where(mine < 0.6, np.sin(np.pi * mine / 0.6), 0.0)
            elif name == "velocity_forward":
                found[:, i] = forward_ms
        return found

    return values


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
