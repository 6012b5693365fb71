"""What a tick costs, stage by stage, what a session takes, and what OpenSim takes for the same: `make bench`.

One thread, a simulated minute at 4 × 100 Hz. The machine may be shared, so beside the time that passed stands
the processor's time, to which others add nothing. We have not measured a Raspberry Pi.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from footprint import Footprint, measure
from talaria_bridge.decoder import FrameDecoder, SampleAssembler
from talaria_bridge.link import Chunk
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import random_params, simulate_walk
from talaria_bridge.vendors import FAMILIES
from talaria_bridge.vendors.virtual.devices import VIRTUAL, started
from talaria_bridge.virtual import schedule_chunks
from talaria_edge.alignment import Alignment, Tick
from talaria_edge.app import run_session
from talaria_edge.calibration import Calibration, CalibrationCollector
from talaria_edge.config import Config
from talaria_edge.features import FeatureStage
from talaria_edge.model import StreamingModel
from talaria_edge.pipeline import Pipeline

HOME = Path(__file__).parents[1]
MODEL = HOME / "models" / "talaria-legs-2"
SECONDS = 60.0
RATE_HZ = 100.0
WATCHED_S = 30.0
"""How long a session's processor time and memory are watched, once with a dashboard and once without."""
OPENSIM_S = (20.0, 30.0)
"""Which part of Sub02's recording OpenSim solves; its optical angles begin at 20 s."""
STEP = "Pipeline.step"


class Stopwatch:
    """Collects how long each call of a stage took: passed, and on the processor."""

    def __init__(self) -> None:
        self.took_us: dict[str, list[tuple[float, float]]] = {}

    def __call__(self, stage: str, work: Callable[[], Any]) -> Any:
        passed_ns, busy_ns = time.perf_counter_ns(), time.thread_time_ns()
        result = work()
        busy_ns = time.thread_time_ns() - busy_ns
        passed_ns = time.perf_counter_ns() - passed_ns
        self.took_us.setdefault(stage, []).append((passed_ns / 1000, busy_ns / 1000))
        return result

    def whole_us(self) -> NDArray[np.float64]:
        """Bytes to `GaitState`, shape (ticks, 2): the last ticks, where every stage worked."""
        parts = [self.took_us[stage] for stage in ("decode", "clock", "align", STEP)]
        count = min(len(part) for part in parts)
        return np.sum([part[-count:] for part in parts], axis=0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--opensim", default=sys.executable, help="A Python that has pyopensim.")
    options.add_argument("--data", type=Path, help="Folder of the real recordings.")
    asked = options.parse_args()
    walk = simulate_walk(seed=1, params=random_params(1), seconds=SECONDS)
    readings = (walk.t_s, walk.acc_ms2, walk.gyr_rads)
    show(time_stages(*readings, calibrate_on(*readings[1:]), inside=True))
    decoders()
    footprints()
    data = asked.data or Path(os.environ.get("TALARIA_DATA", HOME.parent / "shared" / "data"))
    Console(soft_wrap=True).print(beside_opensim(asked.opensim, data))


def calibrate_on(acc_ms2: NDArray[np.float64], gyr_rads: NDArray[np.float64]) -> Calibration:
    collector = CalibrationCollector(RATE_HZ, LEG_SLOTS)
    readings = zip(acc_ms2, gyr_rads, strict=True)
    return next(c for c in (collector.update(a, g) for a, g in readings) if c is not None)


def time_stages(
    t_s: NDArray[np.float64],
    acc_ms2: NDArray[np.float64],
    gyr_rads: NDArray[np.float64],
    calibration: Calibration,
    *,
    inside: bool,
) -> Stopwatch:
    """Take readings, shape (T, 4) and (T, 4, 3), from bytes to gait states; `inside` splits the step."""
    model = StreamingModel.load(MODEL, slots=LEG_SLOTS, rate_hz=RATE_HZ)
    pipeline = Pipeline(model, calibration, RATE_HZ)
    features = FeatureStage(RATE_HZ, calibration)
    other = StreamingModel.load(MODEL, slots=LEG_SLOTS, rate_hz=RATE_HZ)
    decoder, assembler = FrameDecoder(), SampleAssembler()
    alignment = Alignment(LEG_SLOTS, RATE_HZ)
    watch = Stopwatch()

    def align(samples: Sequence[Any]) -> list[Tick]:
        return [tick for sample in samples for tick in alignment.push(sample)]

    def decode(chunk: Chunk) -> list[Tick]:
        messages = watch("decode", lambda: decoder.feed(chunk.data))
        samples = watch("clock", lambda: assembler.push(messages, chunk.t_s))
        ticks: list[Tick] = watch("align", lambda: align(samples))
        return ticks

    for chunk in schedule_chunks(LEG_SLOTS, t_s, acc_ms2, gyr_rads, RATE_HZ):
        for tick in decode(chunk):
            if inside:
                x = watch(
                    "fuse and features", lambda t=tick: features.update(t.acc_ms2, t.gyr_rads)
                )
                watch("infer", lambda v=x: other.step(v))
            watch(STEP, lambda t=tick: pipeline.step(t))
    return watch


def show(watch: Stopwatch) -> None:
    table = Table(title=f"Cost per tick, 4 sensors, {MODEL.name}, one thread (µs)")
    for heading in ("stage", "p50", "p99", "p50 processor", "p99 processor"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    rows = {stage: np.array(took) for stage, took in watch.took_us.items()}
    rows |= {"total, bytes to GaitState": watch.whole_us()}
    for stage, took in rows.items():
        if stage.startswith("total"):
            table.add_section()
        passed, busy = np.percentile(took, [50, 99], axis=0).T
        table.add_row(stage, *(f"{value:.0f}" for value in (*passed, *busy)))
    Console().print(table)


def decoders() -> None:
    """What one core could decode, as a multiple of four sensors at 200 Hz."""
    table = Table(title="Decoders, one thread")
    for heading in ("family", "over", "µs a sample", "× real time of 4 × 200 Hz"):
        table.add_column(heading, justify="left" if heading in {"family", "over"} else "right")
    count = 2000
    walk = simulate_walk(seed=1, params=random_params(1), seconds=count / RATE_HZ)
    rows = [
        tuple(map(tuple, pair))
        for pair in zip(walk.acc_ms2[:, 0].tolist(), walk.gyr_rads[:, 0].tolist(), strict=True)
    ]
    own = schedule_chunks(
        LEG_SLOTS[:1], walk.t_s, walk.acc_ms2[:, :1], walk.gyr_rads[:, :1], RATE_HZ
    )
    decoder = FrameDecoder()
    took_us = _took_us(lambda: [decoder.feed(chunk.data) for chunk in own]) / count
    table.add_row("talaria", "any", f"{took_us:.1f}", f"{1e6 / took_us / 800:.0f}")
    for family, transport in sorted(VIRTUAL):
        device = started(FAMILIES[family], transport)
        sent = [part for k, pair in enumerate(rows) for part in device.sample(k / RATE_HZ, *pair)]
        reader = FAMILIES[family].decoder(transport)
        took_us = (
            _took_us(lambda r=reader, s=sent: [r.feed(data, name) for name, data in s]) / count
        )
        table.add_row(family, transport, f"{took_us:.1f}", f"{1e6 / took_us / 800:.0f}")
    Console().print(table)


def _took_us(work: Callable[[], Any]) -> float:
    """The best of five: what else the machine does only ever adds."""
    times = []
    for _ in range(5):
        start = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - start) / 1000)
    return min(times)


def footprints() -> None:
    """Replay in real time in fresh processes, so that nothing above counts."""
    table = Table(title=f"A live session, {WATCHED_S:.0f} s in real time (MB resident, at most)")
    for heading in ("", "of one core", "session", "its PSS", "all processes", "their PSS"):
        table.add_column(heading, justify="right" if heading else "left")
    walk = simulate_walk(seed=1, params=random_params(1), seconds=WATCHED_S)
    calibration = calibrate_on(walk.acc_ms2, walk.gyr_rads)
    with tempfile.TemporaryDirectory() as scratch:
        source = f"sim:?seed=1&seconds={WATCHED_S:g}"
        config = Config(source=source, model=MODEL, record_dir=Path(scratch), display=False)
        folder = run_session(config, calibration=calibration).folder
        assert folder is not None
        table.add_row("without dashboard", *_row(measure(folder, MODEL)))
        table.add_row("recorded", *_row(measure(folder, MODEL, out=Path(scratch))))
        table.add_row("with dashboard and a page", *_row(measure(folder, MODEL, dashboard=True)))
    Console().print(table)


def _row(taken: Footprint) -> tuple[str, ...]:
    memory = (taken.session_mb, taken.session_pss_mb, taken.all_mb, taken.all_pss_mb)
    return f"{taken.core_share:.1%}", *(f"{megabytes:.0f}" for megabytes in memory)


def beside_opensim(python: str, data: Path) -> str:
    """Solve one recording twice, and say what a frame of each took, or why there is no comparison."""
    tool = "from pyopensim import tools; tools.IMUInverseKinematicsTool"
    there = subprocess.run([python, "-c", tool], capture_output=True, text=True, check=False)
    if there.returncode != 0:
        said = (there.stdout + there.stderr).strip().splitlines()
        why = next((line for line in said if "cannot open shared" in line), said[-1])
        return f"Not beside OpenSim: {python} has no IMU inverse kinematics ({why.strip()})."
    try:
        from talaria_training.data.capsense import load_capsense
        from talaria_training.optical import ARCHIVE

        (walk,) = load_capsense(data, people={"Sub02"}, conditions={"CSBaseline"})
        with tempfile.TemporaryDirectory() as scratch:
            theirs = _opensim(
                python, data / ARCHIVE, data / "capsense" / "Sub02.zip", Path(scratch)
            )
    except (ImportError, OSError, ValueError, KeyError, subprocess.CalledProcessError) as err:
        return f"Not beside OpenSim: {str(err).rstrip('.')}."
    rows = [walk.slots.index(slot) for slot in LEG_SLOTS]
    acc, gyr = walk.acc_ms2[:, rows], walk.gyr_rads[:, rows]
    part = (walk.t_s >= OPENSIM_S[0]) & (walk.t_s < OPENSIM_S[1])
    watch = time_stages(walk.t_s[part], acc[part], gyr[part], calibrate_on(acc, gyr), inside=False)
    ours_us = watch.whole_us()[:, 1].mean()
    theirs_us = theirs["seconds"] / theirs["frames"] * 1e6
    return (
        f"Beside OpenSim, Sub02 {OPENSIM_S[0]:g}–{OPENSIM_S[1]:g} s, mean processor time a frame: "
        f"OpenSim's IMU inverse kinematics {theirs_us / 1000:.1f} ms (8 sensors whose orientations are "
        f"given, {theirs['frames']} frames), Talaria {ours_us / 1000:.2f} ms (4 sensors from bytes on, "
        f"orientations included): {theirs_us / ours_us:.0f} to 1."
    )


def _opensim(python: str, archive: Path, recording: Path, scratch: Path) -> dict[str, float]:
    model = _unpacked(archive, "_IMUCalibrated.osim", scratch)
    orientations = _unpacked(recording, "Sub02_CSBaseline_Orientations.sto", scratch)
    given = [str(model), str(orientations), *map(str, OPENSIM_S), str(scratch / "out")]
    command = [python, str(Path(__file__).with_name("opensim_ik.py")), *given]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def _unpacked(archive: Path, ending: str, scratch: Path) -> Path:
    with zipfile.ZipFile(archive) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(ending))
        return Path(packed.extract(name, scratch))


if __name__ == "__main__":
    main()
