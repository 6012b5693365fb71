"""What faults cost a wearer, and what they see of it: `make faults`.

A person's walk goes through four virtual sensors, each with a link and a clock of its own, then
through one fault, then through the code that ships: receiver, common clock, filters, network. Every row is
compared with the same walk without the fault. Real data if there is any (`--person`), else a simulated walker.
The table goes to docs/reliability.md; `--soak` runs a day's time through the first half instead.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge import faults
from talaria_bridge.faults import Window
from talaria_bridge.frames import ImuFrame, encode_frame
from talaria_bridge.link import Chunk, Item, Link
from talaria_bridge.receiver import LinkReport, Receiver
from talaria_bridge.samples import LEG_SLOTS
from talaria_bridge.vendors import FAMILIES
from talaria_bridge.vendors.virtual.devices import started
from talaria_bridge.virtual import schedule_chunks
from talaria_edge.alignment import Alignment, SlotStatus, Tick
from talaria_edge.app import LOOK_S, SILENCE_S
from talaria_edge.kinematics import ANGLES
from talaria_edge.model import StreamingModel
from talaria_edge.pipeline import GaitState, Pipeline, Validity
from talaria_training.data.load import load_recordings
from talaria_training.demo import Walk, choose_base, real_walk, simulated_walk

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
RESULTS = ROOT / "docs" / "results" / "reliability.json"
SECONDS = 60.0
FAULT: Window = (30.0, 5.0)
"""Faults that begin and end do so here; the filters have long settled."""
SICK = "femur_r"
"""The sensor that has the fault, where only one has."""
WATCHDOG_S = SILENCE_S + LOOK_S
"""At most so long after the last byte of all sensors the application says so."""
BASE_DELAY_S = 0.008
"""A radio's connection interval, roughly; jitter comes on top."""

BEGIN, END = "<!-- make faults: begin -->", "<!-- make faults: end -->"

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sensor:
    """One virtual sensor: its signal, and what is wrong with its clock."""

    slot: str
    t_s: Array
    acc_ms2: Array
    gyr_rads: Array
    clock_error: float = 0.0
    device_us0: int = 1_000_000
    samples_per_frame: int = 1

    @property
    def link(self) -> str:
        return f"virtual:{self.slot}"

    def chunks(self, rate_hz: float) -> list[Chunk]:
        sent = schedule_chunks(
            (self.slot,),
            self.t_s,
            self.acc_ms2[:, None],
            self.gyr_rads[:, None],
            rate_hz,
            self.link,
            samples_per_frame=self.samples_per_frame,
            device_us0=self.device_us0,
            clock_error=self.clock_error,
        )
        late = [replace(chunk, t_s=chunk.t_s + BASE_DELAY_S) for chunk in sent]
        return list(faults.delay(late, 0.002, seed=LEG_SLOTS.index(self.slot)))


@dataclass(frozen=True, slots=True)
class Stage:
    """A walk ready to be sent: the sensors, and what the edge needs to know of the wearer."""

    walk: Walk
    model: Path

    @property
    def sensors(self) -> dict[str, Sensor]:
        live = self.walk.live
        count = round(SECONDS * live.rate_hz)
        t_s = np.arange(min(count, len(live.acc_ms2))) / live.rate_hz
        return {
            slot: Sensor(slot, t_s, live.acc_ms2[: len(t_s), i], live.gyr_rads[: len(t_s), i])
            for i, slot in enumerate(LEG_SLOTS)
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """One tick as the wearer's device had it."""

    arrival_s: float
    tick: Tick
    state: GaitState


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    ``added_deg`` is how much larger the RMSE against the reference became, ``moved_deg`` the RMS difference to
    the same walk without the fault; both over the six sagittal angles and the ticks that claim to be usable.
    """

    fault: str
    added_deg: float
    moved_deg: float
    usable: float
    detect_s: float | None
    recover_s: float | None
    seen: str


Lane = Callable[[list[Chunk]], Iterable[Item]]
Scenario = Callable[[Stage], list[Iterable[Item]]]


def plain(stage: Stage) -> list[Iterable[Item]]:
    return [sensor.chunks(stage.walk.live.rate_hz) for sensor in stage.sensors.values()]


def on_lanes(do: Lane, slots: Sequence[str] = LEG_SLOTS) -> Scenario:
    """Do something to the chunks of some sensors."""

    def build(stage: Stage) -> list[Iterable[Item]]:
        rate_hz = stage.walk.live.rate_hz
        return [
            do(sensor.chunks(rate_hz)) if sensor.slot in slots else sensor.chunks(rate_hz)
            for sensor in stage.sensors.values()
        ]

    return build


def on_sensors(do: Callable[[Sensor], Sensor], slots: Sequence[str] = LEG_SLOTS) -> Scenario:
    """Do something to some sensors before they make frames."""

    def build(stage: Stage) -> list[Iterable[Item]]:
        rate_hz = stage.walk.live.rate_hz
        return [
            (do(sensor) if sensor.slot in slots else sensor).chunks(rate_hz)
            for sensor in stage.sensors.values()
        ]

    return build


def inside(sensor: Sensor) -> NDArray[np.bool_]:
    start_s, length_s = FAULT
    return (sensor.t_s >= start_s) & (sensor.t_s < start_s + length_s)


def stuck(sensor: Sensor) -> Sensor:
    acc, gyr = sensor.acc_ms2.copy(), sensor.gyr_rads.copy()
    rows = np.flatnonzero(inside(sensor))
    acc[rows], gyr[rows] = acc[rows[0]], gyr[rows[0]]
    return replace(sensor, acc_ms2=acc, gyr_rads=gyr)


def saturated(sensor: Sensor) -> Sensor:
    # As if set to ±2 g and ±250 °/s: everything beyond lies at the end of the range.
    acc, gyr = sensor.acc_ms2.copy(), sensor.gyr_rads.copy()
    rows = inside(sensor)
    acc[rows] = np.where(np.abs(acc[rows]) > 19.6, np.sign(acc[rows]) * 1e3, acc[rows])
    gyr[rows] = np.where(np.abs(gyr[rows]) > 4.36, np.sign(gyr[rows]) * 1e3, gyr[rows])
    return replace(sensor, acc_ms2=acc, gyr_rads=gyr)


def at_rate(sensor: Sensor, factor: float) -> Sensor:
    """Sample at another rate than the nominal one."""
    step_s = float(sensor.t_s[1] - sensor.t_s[0]) / factor
    t_s = np.arange(0.0, sensor.t_s[-1], step_s)

    def resampled(values: Array) -> Array:
        return np.stack([np.interp(t_s, sensor.t_s, column) for column in values.T], axis=1)

    return replace(
        sensor, t_s=t_s, acc_ms2=resampled(sensor.acc_ms2), gyr_rads=resampled(sensor.gyr_rads)
    )


def swapped(stage: Stage) -> list[Iterable[Item]]:
    sensors = stage.sensors
    right, left = sensors["femur_r"], sensors["femur_l"]
    sensors["femur_r"] = replace(right, acc_ms2=left.acc_ms2, gyr_rads=left.gyr_rads)
    sensors["femur_l"] = replace(left, acc_ms2=right.acc_ms2, gyr_rads=right.gyr_rads)
    return [sensor.chunks(stage.walk.live.rate_hz) for sensor in sensors.values()]


def restarted(stage: Stage) -> list[Iterable[Item]]:
    """One sensor restarts: 0.5 s of nothing, then numbers and time from zero."""
    rate_hz = stage.walk.live.rate_hz
    lanes: list[Iterable[Item]] = []
    for sensor in stage.sensors.values():
        if sensor.slot != SICK:
            lanes.append(sensor.chunks(rate_hz))
            continue
        before, after = sensor.t_s < FAULT[0], sensor.t_s >= FAULT[0] + 0.5
        first, second = (
            replace(
                sensor,
                t_s=sensor.t_s[rows],
                acc_ms2=sensor.acc_ms2[rows],
                gyr_rads=sensor.gyr_rads[rows],
                device_us0=start_us,
            )
            for rows, start_us in ((before, 1_000_000), (after, 20_000))
        )
        lanes.append([*first.chunks(rate_hz), *second.chunks(rate_hz)])
    return lanes


def not_a_number(stage: Stage) -> list[Iterable[Item]]:
    """One sensor of a kind that sends floating-point numbers sends NaN in every tenth."""
    rate_hz = stage.walk.live.rate_hz
    lanes: list[Iterable[Item]] = []
    for sensor in stage.sensors.values():
        if sensor.slot != SICK:
            lanes.append(sensor.chunks(rate_hz))
            continue
        lanes.append(_dot_chunks(sensor, np.flatnonzero(inside(sensor))[::10]))
    return lanes


def _dot_chunks(sensor: Sensor, bad: NDArray[np.intp]) -> list[Chunk]:
    device = started(FAMILIES["dot"], "ble")
    chunks = []
    for k, t_s in enumerate(sensor.t_s):
        acc = tuple(sensor.acc_ms2[k].tolist())
        gyr = (math.nan,) * 3 if k in set(bad.tolist()) else tuple(sensor.gyr_rads[k].tolist())
        for stream, data in device.sample(float(t_s), acc, gyr):
            chunks.append(Chunk(float(t_s) + BASE_DELAY_S, data, sensor.link, stream))
    return chunks


def scenarios() -> dict[str, tuple[Scenario, Window | None]]:
    """Fault -> how to make it, and when it is there (None: all the time)."""
    one = (SICK,)
    start_s = FAULT[0]
    return {
        "none": (plain, None),
        "5 % of packets lost, each sensor": (
            on_lanes(lambda c: faults.lose(c, 0.05, hash_of(c))),
            None,
        ),
        "20 % of packets lost, each sensor": (
            on_lanes(lambda c: faults.lose(c, 0.2, hash_of(c))),
            None,
        ),
        "100 ms lost every 2 s, all sensors at once": (
            on_lanes(lambda c: faults.lose_bursts(c, 5.0, 2.0, 0.1)),
            None,
        ),
        "100 ms lost every 2 s, one sensor": (
            on_lanes(lambda c: faults.lose_bursts(c, 5.0, 2.0, 0.1), one),
            None,
        ),
        "10 % of packets twice": (on_lanes(lambda c: faults.repeat(c, 0.1, hash_of(c))), None),
        "10 % of packets overtaken": (
            on_lanes(lambda c: faults.overtake(c, 0.1, hash_of(c))),
            None,
        ),
        "5 % of packets cut short": (
            on_lanes(lambda c: faults.truncate(c, 0.05, hash_of(c))),
            None,
        ),
        "5 % of packets with a bit turned": (
            on_lanes(lambda c: faults.flip_bits(c, 0.05, hash_of(c))),
            None,
        ),
        "packets of 20 bytes (smallest MTU)": (on_lanes(lambda c: faults.split(c, 20)), None),
        "6 samples a packet": (on_sensors(lambda s: replace(s, samples_per_frame=6)), None),
        "arrival 30 ms late on average": (
            on_lanes(lambda c: faults.delay(c, 0.03, hash_of(c))),
            None,
        ),
        "one link stalls for 1 s, then delivers all": (
            on_lanes(lambda c: faults.stall(c, (start_s, 1.0)), one),
            (start_s, 1.0),
        ),
        "one sensor dies for 5 s": (on_lanes(lambda c: faults.silence(c, FAULT), one), FAULT),
        "one link is lost for 5 s, two attempts fail": (
            on_lanes(lambda c: faults.disconnect(c, FAULT, failed=2), one),
            FAULT,
        ),
        "all links are lost for 5 s": (on_lanes(lambda c: faults.disconnect(c, FAULT)), FAULT),
        "one sensor restarts": (restarted, (start_s, 0.5)),
        "clocks wrong by ±500 ppm": (
            on_sensors(lambda s: replace(s, clock_error=5e-4 * (-1) ** LEG_SLOTS.index(s.slot))),
            None,
        ),
        "one clock 8 % fast": (on_sensors(lambda s: replace(s, clock_error=0.08), one), None),
        "one sensor samples 8 % too slowly": (on_sensors(lambda s: at_rate(s, 0.92), one), None),
        "32-bit clocks wrap": (
            on_sensors(lambda s: replace(s, device_us0=2**32 - round(start_s * 1e6))),
            (start_s, 0.01),
        ),
        "one sensor repeats itself for 5 s (stuck)": (on_sensors(stuck, one), FAULT),
        "a foot's sensor set to too small a range for 5 s": (
            on_sensors(saturated, ("calcn_r",)),
            FAULT,
        ),
        "NaN in every tenth sample of one sensor for 5 s": (not_a_number, FAULT),
        "thighs swapped": (swapped, None),
    }


def hash_of(chunks: Sequence[Chunk]) -> int:
    """A seed that differs from link to link."""
    return sum(chunks[0].link.encode())


def run(
    stage: Stage, lanes: Sequence[Iterable[Item]], *, vendor: bool
) -> tuple[list[Seen], tuple[LinkReport, ...]]:
    walk = stage.walk
    sick = Link(f"virtual:{SICK}", "dot", SICK, 100.0, "ble") if vendor else Link(f"virtual:{SICK}")
    receiver = Receiver([sick, *(Link(f"virtual:{slot}") for slot in LEG_SLOTS if slot != SICK)])
    alignment = Alignment(LEG_SLOTS, walk.live.rate_hz)
    model = StreamingModel.load(stage.model, slots=LEG_SLOTS, rate_hz=walk.live.rate_hz)
    pipeline = Pipeline(model, walk.calibration, walk.live.rate_hz)
    seen = [
        Seen(item.t_s, tick, pipeline.step(tick))
        for item in heapq.merge(*lanes, key=lambda item: item.t_s)
        for sample in receiver.push(item)
        for tick in alignment.push(sample)
    ]
    return seen, receiver.reports()


def measure(name: str, stage: Stage) -> Row:
    build, window = scenarios()[name]
    clean, _ = run(stage, plain(stage), vendor=False)
    seen, reports = run(stage, build(stage), vendor=build is not_a_number)
    t_clean, y_clean, _ = table(clean)
    t_seen, y_seen, usable = table(seen)
    keep = usable & (t_seen > 6.0)
    beside = np.stack([np.interp(t_seen, t_clean, column) for column in y_clean.T], axis=1)
    truth = reference(stage, t_seen - BASE_DELAY_S)
    moved = y_seen - beside
    error = rms(y_seen[keep] - truth[keep]) - rms(beside[keep] - truth[keep])
    detect_s, recover_s = (None, None) if window is None else times(seen, window)
    return Row(
        name,
        round(error, 2),
        round(rms(moved[keep]), 2),
        round(float(keep.sum() / (t_seen > 6.0).sum()), 3),
        detect_s,
        recover_s,
        what_is_seen(seen, reports),
    )


def table(seen: Sequence[Seen]) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Instants, sagittal angles in degrees, and whether they claim to be usable."""
    names = sagittal(seen[0].state)
    t_s = np.array([s.state.t_s for s in seen])
    y = np.degrees([[s.state.angles_rad[n] for n in names] for s in seen])
    return t_s, y, np.array([s.state.validity is not Validity.INVALID for s in seen])


def sagittal(state: GaitState) -> list[str]:
    kinds = ("hip_flexion", "knee_angle", "ankle_angle")
    return [name for name in state.angles_rad if name.startswith(kinds)]


def reference(stage: Stage, t_s: Array) -> Array:
    live = stage.walk.live
    columns = [i for i, n in enumerate(ANGLES) if n.startswith(("hip_flexion", "knee_", "ankle_"))]
    clock = np.arange(len(live.angles_rad)) / live.rate_hz
    truth = [np.interp(t_s, clock, np.degrees(live.angles_rad[:, i])) for i in columns]
    return np.stack(truth, axis=1)


def rms(errors: Array) -> float:
    return float(np.sqrt(np.nanmean(np.square(errors))))


def times(seen: Sequence[Seen], window: Window) -> tuple[float | None, float | None]:
    """From the fault's beginning until the wearer's device says so, and from its end until it is over."""
    start_s, end_s = window[0] + BASE_DELAY_S, window[0] + window[1] + BASE_DELAY_S
    bad = [s.arrival_s for s in seen if s.arrival_s >= start_s and not fine(s)]
    # Without a sample there is no tick: then it is the application's watchdog that speaks.
    arrivals = [s.arrival_s for s in seen]
    bad += [a + WATCHDOG_S for a, b in pairwise(arrivals) if b - a > WATCHDOG_S and b >= start_s]
    if not bad:
        return None, None
    bad.sort()
    back = [s.arrival_s for s in seen if s.arrival_s >= end_s and all_measured(s)]
    return round(bad[0] - start_s, 3), round(back[0] - end_s, 3) if back else None


def fine(seen: Seen) -> bool:
    return seen.state.validity is Validity.GOOD


def all_measured(seen: Seen) -> bool:
    return all(status is SlotStatus.MEASURED for status in seen.tick.status)


def what_is_seen(seen: Sequence[Seen], reports: Sequence[LinkReport]) -> str:
    """The commonest reason, numbers left out, and the counters that moved."""
    reasons = Counter(
        plain_words(s.state.reason) for s in seen if s.state.t_s > 6.0 and not fine(s)
    )
    counters: Counter[str] = Counter()
    for link in reports:
        counters.update(link.faults)
        counters["lost"] += sum(link.lost.values())
        counters["duplicates"] += link.duplicates
        counters["restarts"] += link.restarts
        counters["reconnects"] += link.reconnects
    words = [f"“{reason}”" for reason, _ in reasons.most_common(1)]
    words += [f"{n} {kind.replace('_', ' ')}" for kind, n in counters.items() if n]
    return ", ".join(words) or "nothing, and nothing is wrong"


def plain_words(reason: str) -> str:
    return re.sub(r"[\d.]+ ?%?", "… ", reason).replace("  ", " ")


@cache
def stage_of(data: str | None, person: str) -> Stage:
    """Load the walk once per process."""
    if data is None:
        walk = simulated_walk(3, SECONDS + 5.0)
    else:
        walk = real_walk(load_recordings(data, people=(person,)), SECONDS + 5.0)
    base = choose_base(ROOT / "models", walk.person)
    assert base is not None  # one is released
    return Stage(walk, ROOT / "models" / base.name)


def one_row(name: str, data: str | None, person: str) -> Row:
    return measure(name, stage_of(data, person))


def lab(data: str | None, person: str) -> None:
    """Measure every fault, on all cores, and write the page's table."""
    walk = stage_of(data, person)
    names = list(scenarios())
    with ProcessPoolExecutor(max_workers=4) as pool:
        jobs = [pool.submit(one_row, name, data, person) for name in names]
        rows = [job.result() for job in jobs]
    about = f"{walk.walk.about} Model {walk.model.name}; reference: {walk.walk.truth}."
    RESULTS.write_text(
        json.dumps({"walk": about, "rows": [asdict(row) for row in rows]}, indent=1) + "\n",
        encoding="utf-8",
    )
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page = f"{before}{BEGIN}\n{about}\n\n{markdown(rows)}\n{END}{after}"
    PAGE.write_text(page, encoding="utf-8")
    print(markdown(rows))


def markdown(rows: Sequence[Row]) -> str:
    lines = [
        "| fault | added error ° | moved ° | usable | announced after s | back after s | what the user sees |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        seconds = [("–" if s is None else f"{s:.2f}") for s in (row.detect_s, row.recover_s)]
        cells = (
            row.fault,
            f"{row.added_deg:+.2f}",
            f"{row.moved_deg:.2f}",
            f"{row.usable:.1%}",
            *seconds,
            row.seen,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def soak(hours: float) -> None:
    """Run a day of four sensors' time through receiver and clock: wraps, drift, losses, a restart a sensor."""
    rate_hz = 25.0  # 100 Hz would take four times as long and show nothing more
    errors_ppm = (-300.0, -40.0, 25.0, 400.0)
    links = [f"virtual:{slot}" for slot in LEG_SLOTS]
    receiver = Receiver([Link(name) for name in links])
    alignment = Alignment(LEG_SLOTS, rate_hz)
    rng = np.random.default_rng(0)
    count = round(hours * 3600 * rate_hz)
    start_rss = worst_s = 0.0
    ticks = 0
    for k in range(count):
        true_s = k / rate_hz
        for i, name in enumerate(links):
            if rng.random() < 0.01:
                continue
            device_us = round(true_s * 1e6 * (1 + errors_ppm[i] * 1e-6)) + 4_200_000_000
            counts = (k % 100, 2048 + (k * 7 + i) % 5, k % 3, k % 50, k % 11, k % 7)
            frame = ImuFrame(LEG_SLOTS[i], k % 2**32, device_us % 2**32, 40_000, (counts,))
            arrival_s = true_s + 0.004 + float(rng.exponential(0.004))
            for sample in receiver.push(Chunk(arrival_s, encode_frame(frame), name)):
                if true_s > 120.0:
                    worst_s = max(worst_s, abs(sample.t_s - true_s - 0.004))
                ticks += len(alignment.push(sample))
        if k == count // 24:
            start_rss = resident_mb()
        if k % (count // 24) == 0:
            print(
                f"{true_s / 3600:.0f} h: {resident_mb():.1f} MB, worst clock error {worst_s * 1e3:.2f} ms"
            )
    wraps = int(hours * 3600e6 // 2**32)
    lost = sum(sum(link.lost.values()) for link in receiver.reports())
    restarts = sum(link.restarts for link in receiver.reports())
    print(
        f"{hours:g} h of 4 sensors at {rate_hz:g} Hz, {wraps} wraps each: {ticks} ticks of {count}, "
        f"{lost} samples lost of {round(0.01 * 4 * count)} or so taken away, {restarts} restarts seen (none "
        f"made); output clock never more than {worst_s * 1e3:.1f} ms off; memory {start_rss:.1f} MB after an "
        f"hour, {resident_mb():.1f} MB at the end."
    )


def resident_mb() -> float:
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="recordings, such as the CapSense folder")
    parser.add_argument("--person", default="Sub02")
    parser.add_argument("--soak", action="store_true", help="a day of time instead of the table")
    parser.add_argument("--hours", type=float, default=24.0)
    options = parser.parse_args()
    if options.soak:
        soak(options.hours)
    else:
        lab(options.data, options.person)


if __name__ == "__main__":
    main()
