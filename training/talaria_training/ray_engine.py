"""The same jobs on Ray: on a Ray of its own on this machine, or on a cluster that is there already."""

from __future__ import annotations

import math
import os
import pickle
import socket
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import torch

from talaria_bridge.errors import ConfigError
from talaria_training.engine import Job, Outcome, attempt

ADDRESS_VARIABLE = "RAY_ADDRESS"


class RayEngine:
    """Ray's remote tasks, one core each, and an equal share of the GPUs where there are any.

    A cluster's machines need the same Python, Ray and Talaria as this one.

    Parameters
    ----------
    workers : int
        Jobs at a time; 0 for as many as there are cores in the cluster.
    address : str, optional
        See `talaria_training.engine.open_engine`.

    Raises
    ------
    ConfigError
        If Ray is not installed.
    """

    def __init__(self, workers: int = 0, address: str | None = None) -> None:
        self.workers = workers
        self.address = address or os.environ.get(ADDRESS_VARIABLE) or "local"
        self._ray = _ray()

    def outcomes(self, jobs: Mapping[str, Job], shared: Mapping[str, Any]) -> Iterator[Outcome]:
        """Run all jobs and yield what became of each, as they finish.

        Raises
        ------
        ConfigError
            If no cluster answers at the address.
        """
        self._start()
        try:
            yield from self._outcomes(jobs, shared)
        finally:
            self._ray.shutdown()  # also ends what is still running

    def _start(self) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address == "local":
            options |= {"num_cpus": self.workers or os.cpu_count(), "include_dashboard": False}
        try:
            _reach(self.address)
            self._ray.init(self.address, **options)
        except (OSError, ValueError, RuntimeError, self._ray.exceptions.RayError) as error:
            raise ConfigError(
                f"Ray could not be started at {self.address} ({_first_line(error)}): give the address of a "
                "running cluster with --address, as ray://host:10001 or host:6379 (with its token as Ray's "
                "documentation says, if it asks for one), or none to run here."
            ) from None

    def _outcomes(self, jobs: Mapping[str, Job], shared: Mapping[str, Any]) -> Iterator[Outcome]:
        resources = self._ray.cluster_resources()
        workers = self.workers or max(1, int(resources.get("CPU", 1)))
        task = self._ray.remote(_task).options(
            num_cpus=1, num_gpus=gpu_share(resources.get("GPU", 0.0), workers), max_retries=0
        )
        common = self._ray.put(dict(shared))
        waiting = deque(jobs.items())
        running: dict[Any, str] = {}
        while waiting or running:
            while waiting and len(running) < workers:
                name, job = waiting.popleft()
                running[task.remote(name, pickle.dumps(job), common)] = name
            ready, _ = self._ray.wait(list(running), num_returns=1)
            for reference in ready:
                yield self._outcome(running.pop(reference), reference)

    def _outcome(self, name: str, reference: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return Outcome(name, None, f"its process was lost ({_first_line(error)})")
        return outcome


def gpu_share(gpus: float, workers: int) -> float:
    """Share of a GPU each of so many jobs may ask for, that all of them can run at once; 0 without one."""
    return min(1.0, math.floor(1000.0 * gpus / workers) / 1000.0)


def _reach(address: str) -> None:
    """Raise OSError if nobody listens there: Ray itself would try for more than a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=5.0).close()


def _task(name: str, job: bytes, shared: Mapping[str, Any]) -> Outcome:
    torch.set_num_threads(1)
    # Ray hands out the one copy there is, which nobody may write to; nobody does.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    return attempt(name, job, shared)


def _ray() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports to its makers
    os.environ.setdefault("RAY_worker_niceness", "0")  # else its workers yield to everything else
    try:
        import ray  # noqa: PLC0415 (an extra)
    except ImportError:
        raise ConfigError(
            "--engine ray needs Ray, which is not installed: install the extra with "
            "pip install -c constraints.txt -e '.[scale]', or use --engine local."
        ) from None
    return ray


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
