"""Running strides of the BMC and RIC laboratories, one text file of 101 rows per stride.

The set (Fukuchi et al., regifukuchi/BMC-RIC-running-biomechanics, CC BY 4.0) is taken unpacked or as one zip.
Runners of the first laboratory said how far they run in a week; that table is matched on age, height and
mass, as the laboratories number their runners differently.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_training.strides.archive import Archive, Progress, open_archive, silent
from talaria_training.strides.table import POINTS, Channel, StrideTable

SOURCE = (
    "BMC-RIC running set (Fukuchi et al., CC BY 4.0): treadmill running at 2.5 m/s, joint angles from "
    "optical markers, one session per runner."
)
MOST_KM = ">45 km"
"""The class of weekly volume that counts as higher mileage; every other one counts as lower."""

_STRIDE_FILE = re.compile(r"(?:^|/)(?P<person>g(?P<lab>0[12])s\d{2})t(?P<number>\d+)\.txt$")
_LABS = {"01": "BMC", "02": "RIC"}
_PLANES = {"Z": "sagittal", "X": "frontal", "Y": "transverse"}
_HEADER = ["Time", *(f"{joint}_{axis}" for joint in ("Hip", "Knee", "Ankle") for axis in _PLANES)]
CHANNELS = tuple(
    Channel(f"{joint}_{plane}", joint, plane, "deg")
    for joint in ("hip", "knee", "ankle")
    for plane in _PLANES.values()
)
_BODY = ("Age", "Height", "Mass")
Body = tuple[float, ...]


def read_running(path: Path, progress: Progress = silent) -> StrideTable:
    """Read the set.

    Parameters
    ----------
    path : Path
        The zip, or the unpacked folder at any level above the text files.
    progress : callable (done, total), optional

    Returns
    -------
    StrideTable
        Nine angles in degrees, signs as published. Beyond the columns of every table: ``lab``; and
        ``volume`` (kilometres a week, in four classes), ``mileage`` (``higher`` for `MOST_KM`, else
        ``lower``) and ``level``, empty for runners who were not asked.

    Raises
    ------
    RecordingError
        If no stride is there, or a file is not what the set's files are.
    """
    with open_archive(path) as archive:
        found = [m for m in map(_STRIDE_FILE.search, archive.names) if m]
        if not found:
            raise RecordingError(
                f"{path} holds no file like g01s01t01.txt: give the BMC-RIC set's zip or folder."
            )
        found.sort(key=lambda m: (m["person"], int(m["number"])))
        answers = _answers(archive)
        values = np.empty((len(found), len(CHANNELS), POINTS), np.float32)
        for row, match in enumerate(found):
            values[row] = _angles(archive, match.string)
            progress(row + 1, len(found))
    people = [m["person"] for m in found]
    columns = {
        "person": people,
        "session": ["1"] * len(found),
        "side": [""] * len(found),
        "condition": ["running"] * len(found),
        "lab": [_LABS[m["lab"]] for m in found],
    }
    for name in ("volume", "mileage", "level"):
        columns[name] = [answers.get(person, {}).get(name, "") for person in people]
    return StrideTable(
        values,
        CHANNELS,
        {name: np.array(column) for name, column in columns.items()},
        np.array([int(m["number"]) for m in found], np.int64),
        "stride",
        SOURCE,
    )


def _angles(archive: Archive, name: str) -> NDArray[np.float32]:
    """Read one stride, shape (9, 101)."""
    lines = archive.text(name).split("\n")
    header = lines[0].split()
    if header != _HEADER:
        raise RecordingError(
            f"{name} in {archive.path} has the columns {' '.join(header)[:60]!r} and not {' '.join(_HEADER)}: "
            "give the set as it was published."
        )
    try:
        table = np.array([line.split() for line in lines[1:] if line.strip()], np.float32)
    except ValueError:
        raise RecordingError(
            f"{name} in {archive.path} has a row that is not ten numbers: download it again."
        ) from None
    if table.shape != (POINTS, len(_HEADER)):
        raise RecordingError(
            f"{name} in {archive.path} has {len(table)} rows and not {POINTS}: download it again."
        )
    return table[:, 1:].T


def _answers(archive: Archive) -> dict[str, dict[str, str]]:
    """Match what runners of the first laboratory said; empty where the two tables are not there."""
    files = archive.named("metadata.txt"), archive.named("derived_mileage_map.csv")
    if files[0] is None or files[1] is None:
        return {}
    said = {_body(row): row for row in csv.DictReader(archive.text(files[1]).splitlines())}
    found: dict[str, dict[str, str]] = {}
    for row in csv.DictReader(archive.text(files[0]).splitlines(), delimiter="\t"):
        person, answer = row["Filename"][:6], said.get(_body(row))
        if person not in found and answer is not None and row["Group"] == _LABS["01"]:
            mileage = "higher" if answer["Volume"] == MOST_KM else "lower"
            found[person] = {
                "volume": answer["Volume"],
                "mileage": mileage,
                "level": answer["Level"],
            }
    return found


def _body(row: Mapping[str, str]) -> Body:
    return tuple(round(float(row[name]), 2) for name in _BODY)
