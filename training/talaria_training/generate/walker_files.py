"""Walkers as everybody else's recordings: plain folders, and trials for learning."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from talaria_bridge.samples import LEG_SLOTS
from talaria_edge.calibration import Calibration, CalibrationCollector
from talaria_edge.export import fresh, write_rows
from talaria_edge.generate.generator import Generator
from talaria_edge.generate.motion import CHANNELS, FORCES, RATE_HZ
from talaria_edge.generate.walkers import AT_ONCE, Outing, Walker, check_outing, draw_walkers
from talaria_training.data.plates import SIDES
from talaria_training.data.recording import Contact, Recording
from talaria_training.engine import Engine, Store, run_jobs
from talaria_training.trials import Trial, prepare_person

_AXES = "xyz"
_SESSION = """# A walker who does not exist, drawn by {model}. forces.csv: body weights, per foot.
rate_hz = {rate:.1f}
acc_unit = "m/s^2"
gyr_unit = "rad/s"
condition = "{condition}"
height_m = {height:.3f}
mass_kg = {mass:.1f}
angles_unit = "rad"
"""
_SENSOR = """
[sensors.{slot}]
file = "{slot}.csv"
"""


def write_walkers(
    model: Path,
    count: int,
    seed: int,
    outing: Outing,
    folder: Path,
    engine: Engine,
    done: Callable[[str], object] = lambda name: None,
) -> None:
    """Draw walkers in several processes, and write each as `write_walker` does.

    Raises
    ------
    ExportError
        If there are sessions of these names already.
    ConfigError
        As `check_outing`.
    ModelContractError
        If the model cannot be opened.
    """
    check_outing(Generator.open(model).spec, count, outing)
    named = [f"W{n + 1:04d}" for n in range(count)]
    for name in named:
        fresh(folder / name / "walk" / "session.toml")
    jobs = {
        f"walkers from {first}": (
            write_some,
            model,
            min(AT_ONCE, count - first),
            seed,
            outing,
            folder,
            first,
        )
        for first in range(0, count, AT_ONCE)
    }
    with tempfile.TemporaryDirectory() as scratch:
        run_jobs(jobs, Store(Path(scratch), "walkers"), engine, {}, done)


def write_some(model: Path, count: int, seed: int, outing: Outing, folder: Path, first: int) -> int:
    """Draw some of the walkers and write them; returns how many."""
    generator = Generator.open(model)
    for walker in draw_walkers(generator, count, seed, outing, first):
        write_walker(walker, generator.spec.model_id, folder)
    return count


def write_walker(walker: Walker, model: str, folder: Path) -> None:
    """Write one walker as a plain session, which every command reads: sensors, true angles, landings, forces.

    Raises
    ------
    ExportError
        If there is a session of that name already.
    """
    session = folder / walker.name / "walk"
    known = walker.conditions
    text = _SESSION.format(
        model=model,
        rate=RATE_HZ,
        condition=known.style or "walking",
        height=known.height_m,
        mass=known.mass_kg,
    )
    text += "".join(_SENSOR.format(slot=slot) for slot in walker.readings)
    fresh(session / "session.toml").write_text(text, encoding="utf-8")
    at_s = walker.body.t_s
    for slot, reading in walker.readings.items():
        heads = ["time", *(f"{kind}_{axis}" for kind in ("acc", "gyr") for axis in _AXES)]
        table = np.column_stack([at_s, reading.acc_ms2, reading.gyr_rads])
        write_rows(session / f"{slot}.csv", iter([heads, *table.tolist()]))
    angles = walker.body.angles_rad
    rows = np.column_stack([at_s, *angles.values()]).tolist()
    write_rows(session / "angles.csv", iter([["time", *angles], *rows]))
    lands = sorted(
        (float(t_s), side, "initial")
        for side, all_s in walker.body.contacts_s.items()
        for t_s in all_s
    )
    write_rows(session / "contacts.csv", iter([["time", "side", "kind"], *lands]))
    columns = [CHANNELS.index(name) for name in FORCES]
    force = np.column_stack([at_s, walker.values[:, columns]]).tolist()
    write_rows(session / "forces.csv", iter([["time", *FORCES], *force]))


def recording_of(walker: Walker) -> Recording:
    """Return what a walker's sensors recorded, with true angles and landings."""
    slots = tuple(walker.readings)
    lands = sorted(
        (
            Contact(float(t_s), side, "initial")
            for side in SIDES
            for t_s in walker.body.contacts_s[side]
        ),
        key=lambda contact: contact.t_s,
    )
    return Recording(
        person=walker.name,
        condition=walker.conditions.style or "walking",
        name=f"{walker.name}/walk",
        rate_hz=RATE_HZ,
        t_s=walker.body.t_s,
        slots=slots,
        acc_ms2=np.stack([walker.readings[slot].acc_ms2 for slot in slots], axis=1),
        gyr_rads=np.stack([walker.readings[slot].gyr_rads for slot in slots], axis=1),
        angles_rad=dict(walker.body.angles_rad),
        contacts=tuple(lands),
        height_m=walker.conditions.height_m,
        mass_kg=walker.conditions.mass_kg,
    )


def trials_of(walkers: Iterable[Walker]) -> tuple[list[Trial], list[str]]:
    """Calibrate walkers as everybody is, from standing and walking, for angle models to learn from.

    Returns
    -------
    trials : list of Trial
    notes : list of str
        Why somebody is not among them.
    """
    trials: list[Trial] = []
    notes: list[str] = []
    for walker in walkers:
        recording = recording_of(walker)
        calibration = _calibrated(recording)
        if calibration is None:
            notes.append(f"{recording.name}: left out, its calibration never completed")
            continue
        trials += prepare_person([replace(recording, calibration=calibration)]).trials
    return trials, notes


def _calibrated(recording: Recording) -> Calibration | None:
    """Run the live calibration over all of a walk: nobody is to be tested on it."""
    rows = [recording.slots.index(slot) for slot in LEG_SLOTS]
    collector = CalibrationCollector(recording.rate_hz, LEG_SLOTS)
    readings = zip(recording.acc_ms2[:, rows], recording.gyr_rads[:, rows], strict=True)
    for acc, gyr in readings:
        if (calibration := collector.update(acc, gyr)) is not None:
            return calibration
    return None
