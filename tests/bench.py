"""What a tick costs, stage by stage, and what the whole process takes: `make bench`.

One thread, a simulated minute at 4 × 100 Hz, replayed as fast as it goes. The machine may be shared, so
the last line is a ratio to real time. We have not measured a Raspberry Pi.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from talaria_bridge.decoder import FrameDecoder, SampleAssembler
from talaria_bridge.recorder import SessionLogWriter
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.simulator import random_params, simulate_walk
from talaria_bridge.vendors import FAMILIES
from talaria_bridge.vendors.virtual.devices import VIRTUAL, started
from talaria_bridge.virtual import schedule_chunks
from talaria_edge.alignment import Alignment
from talaria_edge.app import run_session
from talaria_edge.calibration import CalibrationCollector
from talaria_edge.config import Config
from talaria_edge.features import FeatureStage
from talaria_edge.model import StreamingModel
from talaria_edge.pipeline import Pipeline

MODEL = sorted((Path(__file__).parents[1] / "models").glob("*/model.onnx"))[0].parent
SECONDS = 60.0
RATE_HZ = 100.0


class Stopwatch:
    """Collects how long each call of a stage took."""

    def __init__(self) -> None:
        self.took_us: dict[str, list[float]] = {}

    def __call__(self, stage: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter_ns()
        result = work()
        self.took_us.setdefault(stage, []).append((time.perf_counter_ns() - start) / 1000)
        return result


def main() -> None:
    walk = simulate_walk(seed=1, params=random_params(1), seconds=SECONDS)
    chunks = schedule_chunks(LEG_SLOTS, walk.t_s, walk.acc_ms2, walk.gyr_rads, walk.rate_hz)
    collector = CalibrationCollector(RATE_HZ, LEG_SLOTS)
    readings = zip(walk.acc_ms2, walk.gyr_rads, strict=True)
    calibration = next(c for c in (collector.update(a, g) for a, g in readings) if c is not None)
    model = StreamingModel.load(MODEL, slots=LEG_SLOTS, rate_hz=RATE_HZ)
    pipeline = Pipeline(model, calibration, RATE_HZ)
    features = FeatureStage(RATE_HZ, calibration)
    other = StreamingModel.load(MODEL, slots=LEG_SLOTS, rate_hz=RATE_HZ)
    decoder, assembler = FrameDecoder(), SampleAssembler()
    alignment = Alignment(LEG_SLOTS, RATE_HZ)
    watch = Stopwatch()
    for chunk in chunks:
        messages = watch("decode", lambda c=chunk: decoder.feed(c.data))
        samples = watch("clock", lambda m=messages, c=chunk: assembler.push(m, c.t_s))
        ticks = watch("align", lambda s=samples: [t for one in s for t in alignment.push(one)])
        for tick in ticks:
            x = watch("fuse and features", lambda t=tick: features.update(t.acc_ms2, t.gyr_rads))
            watch("infer", lambda v=x: other.step(v))
            watch("pipeline.step (fuse, features, infer, gait)", lambda t=tick: pipeline.step(t))
    show(watch)
    decoders()
    whole_process()


def show(watch: Stopwatch) -> None:
    table = Table(title=f"Cost per tick, 4 sensors, {MODEL.name}, one thread (µs)")
    for heading in ("stage", "p50", "p99"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    per_tick = {stage: np.array(took) for stage, took in watch.took_us.items()}
    for stage, took in per_tick.items():
        table.add_row(stage, *(f"{np.percentile(took, p):.0f}" for p in (50, 99)))
    parts = [per_tick[s] for s in ("decode", "clock", "align")]
    step = per_tick["pipeline.step (fuse, features, infer, gait)"]
    n = min(len(step), *(len(p) for p in parts))
    total = step[:n] + sum(p[:n] for p in parts)
    table.add_section()
    table.add_row(
        "total, bytes to GaitState", *(f"{np.percentile(total, p):.0f}" for p in (50, 99))
    )
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


def whole_process() -> None:
    """Replay a minute of frames through a whole session in a fresh process, so that nothing above counts."""
    walk = simulate_walk(seed=1, params=random_params(1), seconds=SECONDS)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "walk.mcap"
        with SessionLogWriter(file) as log:
            for chunk in schedule_chunks(
                LEG_SLOTS, walk.t_s, walk.acc_ms2, walk.gyr_rads, walk.rate_hz
            ):
                log.write(chunk)
        subprocess.run([sys.executable, __file__, str(file)], check=True)


def session(file: str) -> None:
    before = time.process_time()
    summary = run_session(
        Config(source=f"replay:{file}", model=MODEL, record_dir=None, display=False)
    )
    busy_s = time.process_time() - before
    status = Path("/proc/self/status").read_text(
        encoding="utf-8"
    )  # getrusage would count the parent
    resident = int(status.split("VmHWM:")[1].split()[0]) / 1024
    Console(soft_wrap=True).print(
        f"Whole session, {summary.seconds:.0f} s of stream: {busy_s:.1f} s of one core = "
        f"{busy_s / summary.seconds:.1%} CPU at 100 Hz × 4 sensors, "
        f"{summary.seconds / busy_s:.0f} × real time; at most {resident:.0f} MB resident."
    )


if __name__ == "__main__":
    if len(sys.argv) == 2:
        session(sys.argv[1])
    else:
        main()
