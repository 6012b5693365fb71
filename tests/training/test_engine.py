"""Jobs: each is run once, none takes another down, and no engine changes a result."""

from __future__ import annotations

import multiprocessing
import operator
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talaria_bridge.errors import CalibrationError, ConfigError, TalariaError
from talaria_training.engine import (
    Engine,
    Job,
    LocalEngine,
    Outcome,
    Store,
    _Worker,
    attempt,
    attempt_jobs,
    open_engine,
    run_jobs,
)
from talaria_training.ray_engine import RayEngine, gpu_share

DRAW = "(__import__('random').random(), float(__import__('torch').rand(1)))"
MIXED: dict[str, Job] = {
    "first": (eval, DRAW),
    "raises": (operator.truediv, 1, 0),
    "dies": (os._exit, 3),
    "second/with a slash": (eval, DRAW),
    "third": (max, [1, 7]),
}


class Inline:
    """The smallest engine: no process of its own."""

    def outcomes(self, jobs: Mapping[str, Job], shared: Mapping[str, Any]) -> Iterator[Outcome]:
        for name, job in jobs.items():
            yield attempt(name, pickle.dumps(job), shared)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "key")


def without_death(jobs: Mapping[str, Job]) -> dict[str, Job]:
    return {name: job for name, job in jobs.items() if name != "dies"}


def test_processes_lose_only_the_job_that_raises_and_the_one_that_dies(store: Store) -> None:
    results = attempt_jobs(MIXED, store, LocalEngine(2))
    assert list(results.values) == ["first", "second/with a slash", "third"]
    assert results.failures["dies"] == "its process ended with exit code 3"
    assert "ZeroDivisionError" in results.failures["raises"]
    assert "engine.py" in results.failures["raises"]  # where it happened, without a traceback
    expected = attempt_jobs(without_death(MIXED), Store(store.folder, "other"), Inline())
    assert results.values == expected.values
    assert multiprocessing.active_children() == []


def test_a_process_killed_between_two_jobs_says_so_at_the_next() -> None:
    worker = _Worker(pickle.dumps({}))
    worker._process.kill()
    worker._process.join()
    worker.give("late", (max, [1]))
    assert worker.outcome().failure == "its process was killed by signal 9"
    worker.stop()


def test_a_process_computes_with_one_thread_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    jobs: dict[str, Job] = {
        name: (os.getenv, name) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    }
    told = {one.name: one.text for one in LocalEngine(1).outcomes(jobs, {})}
    assert told == {"OPENBLAS_NUM_THREADS": '"1"', "OMP_NUM_THREADS": '"3"'}
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_order_and_neighbours_change_no_result(store: Store) -> None:
    jobs = without_death(MIXED)
    one = attempt_jobs(jobs, store, Inline()).values
    backwards = {name: jobs[name] for name in reversed(jobs)}
    other = attempt_jobs(backwards, Store(store.folder, "other"), Inline()).values
    assert other == one
    assert one["first"] != one["second/with a slash"]  # each draws numbers of its own


def test_a_finished_job_never_runs_again_and_a_failed_one_does(
    store: Store, tmp_path: Path
) -> None:
    def runs(name: str) -> int:
        return len(list(tmp_path.glob(f"ran-{name}*")))

    jobs: dict[str, Job] = {"good": (_mark, tmp_path, "good"), "bad": (_mark, tmp_path, "bad")}
    for _ in range(2):
        with pytest.raises(TalariaError, match=r"1 of 2 jobs failed \(bad: The strap slipped\.\)"):
            run_jobs(jobs, store, Inline())
    assert (runs("good"), runs("bad")) == (1, 2)
    good = {"good": jobs["good"]}
    assert run_jobs(good, store, Inline()) == {"good": "done"}
    assert runs("good") == 1
    run_jobs(good, Store(store.folder, "changed"), Inline())
    assert runs("good") == 2  # another key knows nothing


def _mark(folder: Path, name: str) -> str:
    tempfile.mkdtemp(prefix=f"ran-{name}", dir=folder)
    if name == "bad":
        raise CalibrationError("The strap slipped.")
    return "done"


def test_an_interruption_keeps_what_has_finished_and_leaves_no_process(store: Store) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    jobs: dict[str, Job] = {
        "quick": (max, [1, 2]),
        "endless": (eval, "__import__('time').sleep(99)"),
    }
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, store, LocalEngine(2), done=interrupt)
    assert store.read("quick") == "2"
    assert store.read("endless") is None
    assert multiprocessing.active_children() == []


def test_processes_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    job = (
        f"__import__('pathlib').Path({str(noted)!r}).write_text(str(__import__('os').getpid())) "
        "and __import__('time').sleep(99)"
    )
    script = (
        "from talaria_training.engine import LocalEngine\n"
        "if __name__ == '__main__':\n"
        f"    jobs = {{'endless': (eval, {job!r})}}\n"
        "    list(LocalEngine(1).outcomes(jobs, {}))\n"
    )
    (tmp_path / "parent.py").write_text(script)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")])
    try:
        assert _soon(lambda: noted.exists() and noted.read_text() != "")
    finally:
        parent.kill()
        parent.wait()
    worker = int(noted.read_text())
    assert _soon(lambda: not _runs(worker))


def _soon(true: Callable[[], bool]) -> bool:
    give_up_s = time.monotonic() + 60.0
    while not true() and time.monotonic() < give_up_s:
        time.sleep(0.05)
    return true()


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"  # nobody here may be there to collect it


@dataclass
class Counted:
    """Arrives as the number 7, and counts how often it was packed."""

    packed: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        self.packed += 1
        return int, (7,)


def test_what_all_jobs_share_is_packed_once(store: Store) -> None:
    big = Counted()
    jobs: dict[str, Job] = {name: (dict, [("mine", name)]) for name in "abcd"}
    results = run_jobs(jobs, store, LocalEngine(2), {"big": big})
    assert results["c"] == {"mine": "c", "big": 7}
    assert big.packed == 1


def test_a_result_is_the_same_whether_it_was_kept_or_just_made(store: Store) -> None:
    jobs: dict[str, Job] = {"numbers": (np.float32, 0.1), "rows": (Outcome, "a", None)}
    fresh = run_jobs(jobs, store, Inline())
    assert fresh == run_jobs(jobs, store, Inline())
    assert fresh["rows"] == {"name": "a", "text": None, "failure": ""}


def test_a_result_that_cannot_be_kept_is_a_failure_of_its_job_alone(store: Store) -> None:
    jobs: dict[str, Job] = {"set": (set, [1]), "list": (list, [1])}
    results = attempt_jobs(jobs, store, Inline())
    assert results.values == {"list": [1]}
    assert "a set cannot be kept" in results.failures["set"]


def test_everybody_is_told_of_every_job(store: Store) -> None:
    told: list[str] = []
    jobs = without_death(MIXED)
    for _ in range(2):
        attempt_jobs(jobs, store, Inline(), done=told.append)
    assert sorted(told) == sorted([*jobs, *jobs])


def test_many_failures_stay_one_sentence(store: Store) -> None:
    jobs: dict[str, Job] = {f"job{i}": (operator.truediv, i, 0) for i in range(30)}
    with pytest.raises(TalariaError, match="and 25 more") as caught:
        run_jobs(jobs, store, Inline())
    assert "\n" not in str(caught.value)


def test_an_engine_is_found_by_its_name() -> None:
    assert open_engine("local", 3) == LocalEngine(3)
    with pytest.raises(ConfigError, match="--engine dask"):
        open_engine("dask")
    with pytest.raises(ConfigError, match="--address here:1"):
        open_engine("local", address="here:1")


def test_without_ray_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"\.\[scale\]"):
        open_engine("ray")


def test_all_workers_fit_on_the_gpus_there_are() -> None:
    assert gpu_share(0.0, 4) == 0.0
    assert gpu_share(8.0, 4) == 1.0
    for gpus, workers in ((1, 3), (2, 7), (1, 64)):
        assert 0.0 < gpu_share(gpus, workers) * workers <= gpus


@pytest.mark.timeout(300)  # a Ray of its own takes a while to start on a busy machine
def test_ray_gives_what_processes_give(store: Store) -> None:
    pytest.importorskip("ray", reason="the scale extra is not installed")
    engine: Engine = RayEngine(2, "local")
    results = attempt_jobs(MIXED, store, engine)
    expected = attempt_jobs(without_death(MIXED), Store(store.folder, "other"), Inline())
    assert results.values == expected.values
    assert "ZeroDivisionError" in results.failures["raises"]
    assert "its process was lost" in results.failures["dies"]


def test_a_cluster_that_is_not_there_is_one_sentence(store: Store) -> None:
    pytest.importorskip("ray", reason="the scale extra is not installed")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1 .*--address"):
        run_jobs({"a": (max, [1])}, store, RayEngine(1, "127.0.0.1:1"))
