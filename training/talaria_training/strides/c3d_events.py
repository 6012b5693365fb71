"""Strides out of C3D files that hold events and a model's angles, as Vicon's Plug-in Gait leaves them.

A stride runs from one foot strike to the next of the same foot with a foot off between them, so that marks
somebody set while a person stood are none; a stance from foot strike to foot off. Needs ezc3d (extra ``c3d``).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.kinematics import SIDES
from talaria_training.data.c3d import open_c3d
from talaria_training.strides.archive import Archive, Progress, open_archive, silent
from talaria_training.strides.events import LONGEST_S, SHORTEST_S
from talaria_training.strides.resample import at_percent
from talaria_training.strides.table import POINTS, Channel, StrideTable

Floats = NDArray[np.float64]

ANGLE_CHANNELS = tuple(
    Channel(f"{joint}_{plane}", joint, plane, "deg")
    for joint in ("hip", "knee", "ankle")
    for plane in ("sagittal", "frontal", "transverse")
)
FORCE_CHANNEL = Channel("GRF_V", "force", "vertical", "BW")
"""Horizontal forces are left out: their axes are the laboratory's, and people walk both ways."""
SOURCE = "C3D files with events: joint angles of the laboratory's own model, from optical markers."

_LONGEST_S = {"stride": LONGEST_S, "stance": 1.6}
_SHORTEST_S = {"stride": SHORTEST_S, "stance": 0.15}
_LOADED = 0.9
"""Share of a stance that a plate must have measured for its force to count."""
_GRAVITY_MS2 = 9.80665


@dataclass(frozen=True, slots=True)
class C3dCutting:
    """How C3D files are cut: ``stride`` or ``stance``, and whether only those on a plate, with its force."""

    cycle: str = "stride"
    force: bool = False


def read_c3d(
    path: Path,
    how: C3dCutting | None = None,
    progress: Progress = silent,
    note: Callable[[str], None] = print,
) -> StrideTable:
    """Cut every C3D file under `path`.

    Parameters
    ----------
    path : Path
        A folder or a zip. A file's person is the subject it names, else its folder's parent; its
        condition is its folder where that lies in a folder of the person.
    how : C3dCutting, optional
    progress : callable (done, total), optional
    note : callable
        Told of each file that was left out, and why.

    Returns
    -------
    StrideTable
        Angles in degrees, signs as in the file; columns also ``recording``.

    Raises
    ------
    RecordingError
        If there is no file with a stride.
    ConfigError
        If ezc3d is not installed.
    """
    how = how or C3dCutting()
    found: list[tuple[_File, list[_Cycle]]] = []
    seen: dict[str, str] = {}
    with open_archive(path) as archive:
        names = [name for name in archive.names if name.casefold().endswith(".c3d")]
        # Of two copies of one file the deeper one knows its condition.
        names.sort(key=lambda name: (-name.count("/"), name))
        for done, name in enumerate(names, 1):
            try:
                file = _File.read(archive, name, seen)
                found.append((file, file.cycles(how)))
            except RecordingError as error:
                note(str(error))
            progress(done, len(names))
    cycles = [(file, cycle) for file, cut in found for cycle in cut]
    if not cycles:
        raise RecordingError(
            f"{path} holds no C3D file with a whole {how.cycle} between its events: mark foot strikes and foot "
            "offs and run the laboratory's model first."
        )
    return StrideTable(
        np.stack([cycle.values for _, cycle in cycles]),
        (*ANGLE_CHANNELS, *((FORCE_CHANNEL,) if how.force else ())),
        _columns(cycles),
        np.array([n for _, cut in found for n in range(len(cut))], np.int64),
        how.cycle,
        SOURCE,
    )


@dataclass(frozen=True, slots=True)
class _Cycle:
    """One stride or stance, shape (channels, 101)."""

    side: str
    start_s: float
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _File:
    """What one C3D file says; event times in seconds since its first frame."""

    name: str
    person: str
    condition: str
    rate_hz: float
    angles_deg: Mapping[str, Floats]
    force_bw: Mapping[str, Floats]
    strikes_s: Mapping[str, list[float]]
    offs_s: Mapping[str, list[float]]

    @classmethod
    def read(cls, archive: Archive, name: str, seen: dict[str, str]) -> _File:
        content = archive.read(name)
        twin = seen.setdefault(hashlib.sha256(content).hexdigest(), name)
        if twin != name:
            raise RecordingError(f"{name} is the same file as {twin}: it is read once.")
        return _parse(name, _opened(name, content))

    def cycles(self, how: C3dCutting) -> list[_Cycle]:
        """Cut both legs, by the time a cycle begins."""
        found = [c for side in SIDES for c in self._of_leg(side, how)]
        if not found:
            raise RecordingError(
                f"{self.name} has no whole {how.cycle} between its events"
                f"{' on a force plate' if how.force else ''}: it is left out."
            )
        return sorted(found, key=lambda c: c.start_s)

    def _of_leg(self, side: str, how: C3dCutting) -> Iterator[_Cycle]:
        for start_s, off_s, stop_s in _borders(self.strikes_s[side], self.offs_s[side], how.cycle):
            rows = start_s * self.rate_hz, stop_s * self.rate_hz
            parts = [at_percent(self.angles_deg[side], *rows)]
            if how.force:
                parts.append(self._force(side, start_s, off_s, stop_s))
            values = np.concatenate(parts)
            if np.isfinite(values).all():
                yield _Cycle(side, start_s, values)

    def _force(self, side: str, start_s: float, off_s: float, stop_s: float) -> NDArray[np.float32]:
        """Vertical force over a cycle, shape (1, 101): zero where the foot left the plate, NaN without one."""
        if side not in self.force_bw:
            return np.full((1, POINTS), np.nan, np.float32)
        force = at_percent(self.force_bw[side], start_s * self.rate_hz, stop_s * self.rate_hz)
        stance = np.linspace(start_s, stop_s, POINTS) <= off_s
        if np.isfinite(force[0, stance]).mean() < _LOADED:
            return np.full_like(force, np.nan)
        return np.nan_to_num(force, nan=0.0)


def _borders(
    strikes_s: Sequence[float], offs_s: Sequence[float], cycle: str
) -> Iterator[tuple[float, float, float]]:
    """Start, foot off and end of every cycle of one foot."""
    limits = _SHORTEST_S[cycle], _LONGEST_S[cycle]
    for start, following in pairwise([*strikes_s, np.inf]):
        between = [t for t in offs_s if start < t < following]
        if not between:
            continue
        stop = following if cycle == "stride" else between[0]
        if limits[0] <= stop - start <= limits[1]:
            yield start, between[0], stop


def _parse(name: str, opened: Any) -> _File:
    points, parameters = opened["data"]["points"], opened["parameters"]
    labels = list(parameters["POINT"]["LABELS"]["value"])
    wanted = [f"{s.upper()}{j}Angles" for s in SIDES for j in ("Hip", "Knee", "Ankle")]
    missing = sorted(set(wanted) - set(labels))
    if missing:
        raise RecordingError(
            f"{name} has no {', '.join(missing)}: run the laboratory's model before exporting it."
        )

    def rows(label: str) -> Floats:
        return np.asarray(points[:3, labels.index(label)].T, np.float64)

    angles = {s: np.hstack([rows(w) for w in wanted if w[0] == s.upper()]) for s in SIDES}
    strikes, offs = (_events(name, opened, kind) for kind in ("Foot Strike", "Foot Off"))
    person, condition = _who(name, parameters)
    rate_hz = float(parameters["POINT"]["RATE"]["value"][0])
    return _File(name, person, condition, rate_hz, angles, _forces(labels, rows), strikes, offs)


def _forces(labels: Sequence[str], rows: Callable[[str], Floats]) -> dict[str, Floats]:
    """Vertical force in body weights, (T, 1) per side that has one."""
    scales = {"NormalisedGRF": 0.01, "GroundReactionForce": 1.0 / _GRAVITY_MS2}
    found: dict[str, Floats] = {}
    for side in SIDES:
        for name, scale in scales.items():
            label = f"{side.upper()}{name}"
            if label in labels and side not in found:
                found[side] = rows(label)[:, 2:] * scale
    return found


def _events(name: str, opened: Any, kind: str) -> dict[str, list[float]]:
    events = opened["parameters"].get("EVENT", {})
    if "TIMES" not in events or not events["TIMES"]["value"].size:
        raise RecordingError(f"{name} has no events: mark foot strikes and foot offs in it.")
    rate_hz = float(opened["parameters"]["POINT"]["RATE"]["value"][0])
    t0_s = opened["header"]["points"]["first_frame"] / rate_hz
    minutes, seconds = np.asarray(events["TIMES"]["value"], np.float64)
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    rows = zip(
        events["CONTEXTS"]["value"],
        events["LABELS"]["value"],
        (60.0 * minutes + seconds - t0_s).tolist(),
        strict=True,
    )
    for context, label, t_s in rows:
        side = context[:1].casefold()
        if label.casefold() == kind.casefold() and side in found:
            found[side].append(t_s)
    return {side: sorted(times) for side, times in found.items()}


def _who(name: str, parameters: Any) -> tuple[str, str]:
    """Person and condition, by the subject's name in the file and by its folders."""
    folders = name.split("/")[:-1]
    said = [s.strip() for s in parameters.get("SUBJECTS", {}).get("NAMES", {}).get("value", [])]
    person = next(filter(None, said), folders[-2] if len(folders) > 1 else Path(name).stem)
    nested = len(folders) > 1 and folders[-2].casefold() == person.casefold()
    return person, folders[-1].casefold() if nested else ""


def _columns(cycles: Sequence[tuple[_File, _Cycle]]) -> dict[str, NDArray[np.str_]]:
    return {
        "person": np.array([file.person for file, _ in cycles]),
        "session": np.full(len(cycles), "1"),
        "side": np.array([cycle.side for _, cycle in cycles]),
        "condition": np.array([file.condition for file, _ in cycles]),
        "recording": np.array([Path(file.name).stem for file, _ in cycles]),
    }


def _opened(name: str, content: bytes) -> Any:
    with tempfile.NamedTemporaryFile(suffix=".c3d") as file:  # ezc3d reads files only
        file.write(content)
        file.flush()
        return open_c3d(Path(file.name), name)
