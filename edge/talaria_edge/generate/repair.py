"""Gaps in a recorded movement filled after the fact, and marked as such wherever they are written.

A sensor that died, a joint that nobody measured, a leg without sensors: a generative model draws what could
have been there, several times over. Where enough of the recording is whole, the same gap is rehearsed there
first, also by a regression of the person's own, and the better of both fills it. It is written with an
interval and a mark on every number that was not measured. Where the person does not walk the model knows
nothing, and gaps stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_dilation,
    find_objects,
    label,
    maximum_filter1d,
    minimum_filter1d,
)

from talaria_bridge.errors import RecordingError
from talaria_edge.export import fresh, load_session, write_rows
from talaria_edge.generate.motion import (
    CHANNELS,
    PELVIS,
    RATE_HZ,
    UNITS,
    WINDOW,
    Conditions,
    Motion,
    check_values,
)
from talaria_edge.generate.rehearsal import Draws, Gap, Rehearsed, faded, rehearse
from talaria_edge.kinematics import ANGLES
from talaria_edge.sinks.opensim import MotWriter
from talaria_edge.tables.motion import read_table

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_Z90 = 1.645
_CONTEXT = WINDOW // 2
_WALKS_RAD = 0.25
"""A joint that moves by less than this in a second and a half takes no step."""


class Fills(Draws, Protocol):
    """A model that fills what is NaN, and knows how far its draws may be off."""

    @property
    def widening(self) -> Mapping[str, float]:
        """By what the draws' own intervals must be widened, by channel, to hold 90 % of new people's truth."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """A movement without gaps, and which of it was drawn.

    Attributes
    ----------
    motion : Motion
        What was measured; in gaps the mean of the draws, less what they missed where the same recording knows
        the truth, or the person's own regression where that came nearer (`talaria_edge.generate.rehearsal`).
    half_width : ndarray of float32, shape (T, channels)
        Of 90 % intervals, units as the channel's: from the same person's rehearsals, or else the draws'
        spread, widened by what it missed on people held out. 0 where measured; NaN where still unknown, and
        where neither tells.
    drawn : ndarray of bool, shape (T, channels)
    left_s : float
        Seconds with a gap that was left, for want of a walk around it.
    """

    motion: Motion
    half_width: Floats
    drawn: Bools
    left_s: float


def read_motion(path: Path, conditions: Conditions) -> Motion:
    """Read a recorded session's angles, or those of a ``.mot`` file, at the model's rate.

    Parameters
    ----------
    path : Path
        A session folder, or OpenSim storage, of which angles and the pelvis' turns are taken.
    conditions : Conditions
        Who it is, and how fast.

    Raises
    ------
    RecordingError
        If nothing there is an angle of a leg.
    """
    if path.is_dir():
        session = load_session(path, links=False)
        t_s = session.t_s
        found = {n: np.radians(v) for n, v in session.angles_deg.items() if n in CHANNELS}
    else:
        table = read_table(path)
        t_s = table.t_s
        names = [n for n in (*ANGLES, *PELVIS) if n in table.names]
        found = dict(zip(names, table.angles_rad(names).T, strict=True)) if names else {}
    found = {name: curve for name, curve in found.items() if np.isfinite(curve).any()}
    if not found or len(t_s) < WINDOW:
        raise RecordingError(
            f"{path} holds no angles of a leg over {WINDOW / RATE_HZ:g} s or more: give a session with "
            f"angles, or a .mot with some of {', '.join(ANGLES[:4])} and so on."
        )
    at_s = np.arange(t_s[0], t_s[-1], 1.0 / RATE_HZ)
    values = np.full((len(at_s), len(CHANNELS)), np.nan, np.float32)
    for name, curve in found.items():
        values[:, CHANNELS.index(name)] = _at(at_s, t_s, curve)
    check_values(values, str(path))
    return Motion(path.stem, path.name, str(path), values, conditions)


def _at(
    at_s: NDArray[np.float64], t_s: NDArray[np.float64], curve: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate between neighbours that are both known; NaN else."""
    known = np.isfinite(curve)
    value = np.interp(at_s, t_s[known], curve[known])
    return np.where(np.interp(at_s, t_s, (~known).astype(float)) > 0, np.nan, value)


def repair(
    motion: Motion,
    model: Fills,
    count: int,
    rng: np.random.Generator,
    names: Sequence[str] = ANGLES,
) -> Repaired:
    """Fill the gaps of a movement.

    Parameters
    ----------
    motion : Motion
    model : Fills
        `talaria_edge.generate.generator.Generator`.
    count : int
        Draws; 2 or more.
    rng : Generator
    names : sequence of str
        Channels to fill; the others are told by nobody and stay as they are.

    Raises
    ------
    RecordingError
        If there is no gap.
    """
    columns = [CHANNELS.index(name) for name in names]
    values = motion.values
    learned: dict[tuple[int, ...], Rehearsed | None] = {}
    gaps = np.zeros(values.shape, bool)
    gaps[:, columns] = ~np.isfinite(values[:, columns])
    if not gaps.any():
        raise RecordingError(f"{motion.name} has no gap in {', '.join(names)}: nothing to fill.")
    walks = _walks(values)
    todo = gaps.any(axis=1) & walks
    filled = gaps & todo[:, None]
    around = binary_dilation(todo, iterations=_CONTEXT)
    widening = np.array([model.widening.get(name, np.nan) for name in CHANNELS], np.float32)
    mean, half = values.copy(), np.where(gaps, np.nan, 0.0).astype(np.float32)
    for (run,) in find_objects(label(around)[0]):
        stretch = _at_least(run, len(values))
        drawn = model.fill_long(values[stretch], motion.conditions, count, rng)
        here = filled[stretch]
        mean[stretch] = np.where(here, drawn.mean(axis=0), mean[stretch])
        half[stretch] = np.where(here, widening * half_width(drawn), half[stretch])
        gone = np.flatnonzero(here.any(axis=0))
        given = np.flatnonzero(np.isfinite(values[stretch]).all(axis=0))
        key = (*gone.tolist(), -1, *given.tolist())
        if key not in learned:
            gap = Gap(gone, given, int(here.any(axis=1).sum()))
            learned[key] = rehearse(values, gap, walks, motion.conditions, model, rng)
        if (own := learned[key]) is not None:
            _corrected(mean, half, filled, stretch, gone, own)
    whole = Motion(motion.person, motion.name, motion.source, mean, motion.conditions)
    left = gaps.any(axis=1) & ~todo
    return Repaired(whole, half, filled, float(left.sum() / RATE_HZ))


def _corrected(
    mean: Floats, half: Floats, gaps: Bools, stretch: slice, gone: NDArray[np.intp], own: Rehearsed
) -> None:
    """Mend what fills a stretch's gaps, in place, as rehearsals say, and take their intervals."""
    told = None if own.ridge is None else own.ridge.at(mean[stretch])
    for i, column in enumerate(gone.tolist()):
        for (gap,) in find_objects(label(gaps[stretch, column])[0]):
            run = slice(stretch.start + gap.start, stretch.start + gap.stop)
            weight = faded(run.stop - run.start, run.start > 0, run.stop < len(mean))
            if told is not None and own.by_ridge[i]:
                mean[run, column] += weight * (told[gap, i] - mean[run, column])
            else:
                mean[run, column] += own.shift[i] * weight
            half[run, column] = own.half_width[i]


def half_width(drawn: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the half-width of the 90 % interval that draws, along the first axis, span by themselves."""
    spread: NDArray[np.floating] = drawn.std(axis=0, ddof=1)
    return _Z90 * float(np.sqrt(1 + 1 / len(drawn))) * spread


def repair_file(
    path: Path,
    model: Fills,
    out: Path,
    conditions: Conditions,
    count: int,
    seed: int,
    names: Sequence[str] = ANGLES,
) -> tuple[list[Path], Repaired]:
    """Read a session or a ``.mot``, fill its gaps and write it: `read_motion`, `repair`, `write_repaired`."""
    motion = read_motion(path, conditions)
    done = repair(motion, model, count, np.random.default_rng(seed), names)
    return write_repaired(done, out), done


def words_of(done: Repaired) -> str:
    """Say in one sentence how much was drawn, and how much was not."""
    drawn_s = float(done.drawn.any(axis=1).sum() / RATE_HZ)
    left = (
        f"; {done.left_s:.1f} s of gaps were left, for want of a walk around them"
        if done.left_s
        else ""
    )
    return f"{drawn_s:.1f} s were drawn by a model and are marked as such{left}."


def _walks(values: Floats) -> Bools:
    """Whether something that was measured within the window around each sample takes steps."""
    moves = np.zeros(len(values), bool)
    for name in ANGLES:
        curve = values[:, CHANNELS.index(name)]
        known = np.isfinite(curve)
        if known.any():
            high = maximum_filter1d(np.where(known, curve, -np.inf), 2 * WINDOW)
            low = minimum_filter1d(np.where(known, curve, np.inf), 2 * WINDOW)
            moves |= high - low > _WALKS_RAD
    return moves


def _at_least(run: slice, length: int) -> slice:
    """Stretch a run to a whole window, within the recording."""
    start = max(0, min(run.start, length - WINDOW))
    return slice(start, max(run.stop, min(start + WINDOW, length)))


def write_repaired(repaired: Repaired, out: Path) -> list[Path]:
    """Write the angles as ``repaired.mot``, and as ``repaired.csv`` with intervals and marks.

    Raises
    ------
    ExportError
        If a file is there already.
    """
    values = repaired.motion.values
    names = [n for i, n in enumerate(CHANNELS) if np.isfinite(values[:, i]).any()]
    columns = [CHANNELS.index(name) for name in names]
    scale = [np.degrees(1.0) if UNITS[name] == "rad" else 1.0 for name in names]
    at_s = np.arange(len(values)) / RATE_HZ
    angles = [name for name in names if UNITS[name] == "rad"]
    mot = fresh(out / "repaired.mot")
    title = "talaria angles, gaps filled by a model: see repaired.csv for which"
    with MotWriter(mot, angles, title) as file:
        for t_s, row in zip(at_s.tolist(), values.tolist(), strict=True):
            file.write(t_s, {name: row[CHANNELS.index(name)] for name in angles})
    heads = ["t_s"]
    for name in names:
        unit = {"rad": "deg", "m/s": "ms", "BW": "bw"}[UNITS[name]]
        heads += [f"{name}_{unit}", f"{name}_half_width_{unit}", f"{name}_drawn"]
    rows = (
        [float(at_s[k])]
        + [
            cell
            for j, c in enumerate(columns)
            for cell in (
                float(values[k, c] * scale[j]),
                float(repaired.half_width[k, c] * scale[j]),
                int(repaired.drawn[k, c]),
            )
        ]
        for k in range(len(values))
    )
    table = write_rows(out / "repaired.csv", iter([heads, *rows]))
    return [mot, table]
