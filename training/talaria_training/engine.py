"""Many independent jobs, in processes here or on Ray: same functions, same results, kept as they finish.

A job is a function with its own small arguments. What all jobs need (the trials of everybody) is given
once, by name, and reaches a worker once. Every job starts from random numbers seeded by its own name, so
neither the engine, nor the number of workers, nor the order can change a result.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import pickle
import random
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
import torch

from talaria_bridge.errors import ConfigError, TalariaError
from talaria_training.cache import cache_folder

Job = tuple[Any, ...]
"""A function, then its positional arguments; the shared arguments follow by name."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_NAMED = 5
"""Failed jobs named in the one sentence that reports them."""


@dataclass(frozen=True, slots=True)
class Store:
    """Where finished jobs are kept, one JSON file each.

    Attributes
    ----------
    folder : Path
    key : str
        Digest of everything the results depend on, code included: another key finds nothing.
    """

    folder: Path
    key: str

    @classmethod
    def cached(cls, kind: str, key: str) -> Store:
        """Keep results in the cache's folder for this kind of thing."""
        return cls(cache_folder(kind), key)

    def read(self, name: str) -> str | None:
        """Return a finished job's JSON, or None."""
        file = self._file(name)
        return file.read_text(encoding="utf-8") if file.exists() else None

    def write(self, name: str, text: str) -> None:
        """Keep a finished job's JSON; whoever reads meanwhile sees all of it or nothing."""
        file = self._file(name)
        scratch = file.with_suffix(f".{os.getpid()}")
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(file)

    def _file(self, name: str) -> Path:
        return self.folder / f"{self.key}-{quote(name, safe='')}.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one job: its result as JSON, or why there is none."""

    name: str
    text: str | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Results:
    """Results of the jobs that finished, failures of the others, both in the order of the jobs."""

    values: dict[str, Any]
    failures: dict[str, str]


class Engine(Protocol):
    """Something that runs jobs."""

    def outcomes(self, jobs: Mapping[str, Job], shared: Mapping[str, Any]) -> Iterator[Outcome]:
        """Run all jobs and yield what became of each, as they finish."""
        ...


def open_engine(name: str, workers: int = 0, address: str | None = None) -> Engine:
    """Find an engine by the name a command's ``--engine`` gives it.

    Parameters
    ----------
    name : str
        ``local`` or ``ray``.
    workers : int
        Jobs at a time; 0 for as many as there are cores.
    address : str, optional
        Of a Ray cluster that is there already, ``ray://host:10001`` or ``host:port``; without it, that in
        ``RAY_ADDRESS``, else a Ray of its own on this machine.

    Raises
    ------
    ConfigError
        If there is no such engine, its extra is not installed, or an address is given to ``local``.
    """
    if name == "ray":
        from talaria_training.ray_engine import RayEngine  # noqa: PLC0415 (which imports us)

        return RayEngine(workers, address)
    if name != "local":
        raise ConfigError(f"--engine {name} is unknown: give local or ray.")
    if address is not None:
        raise ConfigError(
            f"--address {address} names a Ray cluster, which the local engine cannot use: add --engine ray."
        )
    return LocalEngine(workers)


def run_jobs(
    jobs: Mapping[str, Job],
    store: Store,
    engine: Engine,
    shared: Mapping[str, Any] | None = None,
    done: Callable[[str], object] = lambda name: None,
) -> dict[str, Any]:
    """Run every job that has not finished before, and return all results by name.

    Parameters
    ----------
    jobs : mapping of str to (function, argument, ...)
        Functions must be importable by name; they return what JSON can say, dataclasses included, and
        come back as plain lists and dicts.
    store : Store
    engine : Engine
    shared : mapping, optional
        Keyword arguments of every job.
    done : callable
        Told each job's name when it is settled, whether it ran, was kept from before, or failed.

    Raises
    ------
    TalariaError
        If jobs failed, named, once all others have finished; those are kept, and next time only the
        failed ones are run.
    """
    results = attempt_jobs(jobs, store, engine, shared, done)
    if results.failures:
        raise TalariaError(_failed(results.failures, len(jobs)))
    return results.values


def attempt_jobs(
    jobs: Mapping[str, Job],
    store: Store,
    engine: Engine,
    shared: Mapping[str, Any] | None = None,
    done: Callable[[str], object] = lambda name: None,
) -> Results:
    """Do as `run_jobs`, but return the failures beside the results."""
    texts: dict[str, str] = {}
    failures: dict[str, str] = {}
    for name in jobs:
        text = store.read(name)
        if text is not None:
            texts[name] = text
            done(name)
    todo = {name: job for name, job in jobs.items() if name not in texts}
    with closing(_outcomes(engine, todo, shared or {})) as outcomes:
        for outcome in outcomes:
            if outcome.text is None:
                failures[outcome.name] = outcome.failure
            else:
                store.write(outcome.name, outcome.text)
                texts[outcome.name] = outcome.text
            done(outcome.name)
    return Results(
        {name: json.loads(texts[name]) for name in jobs if name in texts},
        {name: failures[name] for name in jobs if name in failures},
    )


def _outcomes(
    engine: Engine, jobs: Mapping[str, Job], shared: Mapping[str, Any]
) -> Generator[Outcome, None, None]:
    if jobs:  # or an engine would start for nothing
        yield from engine.outcomes(jobs, shared)


def _failed(failures: Mapping[str, str], count: int) -> str:
    said = "; ".join(f"{name}: {why}" for name, why in list(failures.items())[:_NAMED])
    more = f"; and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
    return (
        f"{len(failures)} of {count} jobs failed ({said}{more}), while the others have finished and are "
        "kept: mend the cause and run the same command again."
    )


def attempt(name: str, job: bytes, shared: Mapping[str, Any]) -> Outcome:
    """Run one pickled job, whatever it does, and say what became of it.

    This is what every worker of every engine calls.
    """
    _seed(name)
    try:
        function, *arguments = pickle.loads(job)
        return Outcome(name, json.dumps(function(*arguments, **shared), default=_plain))
    except TalariaError as error:
        return Outcome(name, None, str(error))
    except Exception as error:  # noqa: BLE001 (a job may fail in any way; the others must go on)
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return Outcome(name, None, f"{type(error).__name__}: {error} ({where})")


def _seed(name: str) -> None:
    """Give a job random numbers of its own, or they would depend on who ran before it here."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (for code that draws from the global generator)
    torch.manual_seed(seed)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be kept as JSON")


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Processes on this machine, each with one thread; 0 workers means one for every core."""

    workers: int = 0

    def outcomes(self, jobs: Mapping[str, Job], shared: Mapping[str, Any]) -> Iterator[Outcome]:
        """Run all jobs and yield what became of each, as they finish."""
        handed = pickle.dumps(dict(shared))
        waiting = deque(jobs.items())
        team: dict[Connection, _Worker] = {}
        try:
            while waiting or team:
                while waiting and len(team) < (self.workers or os.cpu_count() or 1):
                    worker = _Worker(handed)
                    worker.give(*waiting.popleft())
                    team[worker.connection] = worker
                for connection in [c for c in wait(list(team)) if isinstance(c, Connection)]:
                    worker = team[connection]
                    outcome = worker.outcome()
                    if waiting and worker.alive:
                        worker.give(*waiting.popleft())
                    else:
                        team.pop(connection).stop()
                    yield outcome
        finally:
            for worker in team.values():
                worker.stop()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let numpy use one thread in processes started meanwhile, unless somebody has asked for another number.

    It reads these when it is imported. With every core taken by a process, more threads only wait for
    each other.
    """
    added = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


class _Worker:
    """One process and the job it has now: if it dies, that job alone is lost."""

    def __init__(self, handed: bytes) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of torch's threads can hang
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, handed), daemon=True)
        with _one_thread():
            self._process.start()
        theirs.close()  # or the end of the process would not end the conversation
        self._name = ""
        self.alive = True

    def give(self, name: str, job: Job) -> None:
        """Hand over a job."""
        self._name = name
        with suppress(BrokenPipeError):  # a process that has died says so when its outcome is read
            self.connection.send((name, pickle.dumps(job)))

    def outcome(self) -> Outcome:
        """Read what became of the job."""
        try:
            outcome: Outcome = self.connection.recv()
        except (EOFError, OSError):
            self.alive = False
            self._process.join()
            code = self._process.exitcode or 0
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            return Outcome(self._name, None, f"its process {how}")
        return outcome

    def stop(self) -> None:
        """End the process, even in the middle of a job."""
        self.connection.close()
        self._process.terminate()
        self._process.join()


def _leave_with_parent() -> None:
    """End with the parent however it ended: one that is killed cannot say so, and a job may take hours."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _serve(connection: Connection, handed: bytes) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    shared = pickle.loads(handed)
    with suppress(EOFError):
        while True:
            name, job = connection.recv()
            connection.send(attempt(name, job, shared))
