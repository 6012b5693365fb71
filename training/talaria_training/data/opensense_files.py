"""Finding what belongs to one trial of the OpenSense layout: sensors, mapping, motion capture."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from talaria_bridge.errors import RecordingError

_SENSOR_FILE = re.compile(r"^(?P<trial>MT_.+)_(?P<sensor>[0-9A-Fa-f]{8})\.txt$")
_PERSON = re.compile(r"^(?:sub|subject|s|p|participant|person)[ _-]?\d+$", re.IGNORECASE)
# Folders that say how the data was made and not what was done.
_PLAIN_FOLDERS = frozenset({"imu", "imudata", "imus", "xsens", "raw", "txt", "lowerextremity"})
# Inverse kinematics of the same sensors is a rival and no reference.
_FROM_SENSORS = re.compile(r"imu|orientation|opensense|xsens|madgwick|mahony", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SensorTrial:
    """The files of one trial.

    Attributes
    ----------
    folder : Path
    prefix : str
        What the sensors' file names share, such as ``MT_012005D6_009-001``.
    files : dict of sensor id to Path
    person, condition : str
        From the folders' names.
    """

    folder: Path
    prefix: str
    files: dict[str, Path]
    person: str
    condition: str

    @property
    def name(self) -> str:
        """The recording's name."""
        return f"{self.person}/{self.condition}"


def find_opensense(path: str | Path) -> list[SensorTrial]:
    """Return the trials at or under `path`, by name; empty where there are no such files."""
    root = Path(path)
    groups: dict[tuple[Path, str], dict[str, Path]] = defaultdict(dict)
    for file in sorted(root.rglob("MT_*.txt")) if root.is_dir() else []:
        match = _SENSOR_FILE.match(file.name)
        if match:
            groups[file.parent, match["trial"]][match["sensor"].upper()] = file
    per_folder = [folder for folder, _ in groups]
    found = [
        SensorTrial(
            folder,
            prefix,
            files,
            *_who_and_what(root, folder, prefix, per_folder.count(folder) > 1),
        )
        for (folder, prefix), files in groups.items()
    ]
    return sorted(found, key=lambda trial: (trial.name, trial.prefix))


def mapping_of(trial: SensorTrial, root: Path) -> dict[str, str]:
    """Return the nearest mapping at or above the files; the one for this trial where several are."""
    for folder in (trial.folder, *trial.folder.parents):
        files = sorted(p for p in folder.glob("*") if p.suffix.casefold() in {".xml", ".csv"})
        found = [mapping for file in files if (mapping := read_mapping(file)) is not None]
        mine = [segments for prefix, segments in found if prefix == trial.prefix]
        if mine or len(found) == 1:
            return mine[0] if mine else found[0][1]
        if found:
            raise RecordingError(
                f"{folder} holds {len(found)} mappings and none says trial_prefix {trial.prefix}: "
                "keep the right one, or correct its prefix"
            )
        if folder.resolve() == root.resolve().parent:
            break
    raise RecordingError(
        "no mapping says which sensor sits where: put OpenSim's myIMUMappings.xml, or a CSV with "
        "lines such as 00B421E6,calcn_l, beside the text files"
    )


def reference_files(trial: SensorTrial, root: Path) -> list[Path]:
    """Return the nearest ``.mot`` files, up to the person's folder; of several, the trial's own."""
    for folder in (trial.folder, *trial.folder.parents):
        motions = [p for p in sorted(folder.rglob("*.mot")) if _is_reference(p, folder)]
        own = [p for p in motions if _names_trial(p.relative_to(folder), trial)]
        if motions:
            return own or motions
        if folder.name == trial.person or folder.resolve() == root.resolve():
            break
    return []


def _is_reference(file: Path, folder: Path) -> bool:
    if _FROM_SENSORS.search(str(file.relative_to(folder))):
        return False
    head = file.read_bytes()[:4096].decode("utf-8", errors="replace")
    return "hip_flexion" in head or "knee_angle" in head


def _names_trial(file: Path, trial: SensorTrial) -> bool:
    words = {trial.condition.casefold(), trial.prefix.casefold()}
    return any(word in str(file).casefold() for word in words)


def read_mapping(file: Path) -> tuple[str, dict[str, str]] | None:
    """Read which sensor sits where, from OpenSim's XML or a CSV of two columns.

    Parameters
    ----------
    file : Path

    Returns
    -------
    prefix, segments : str, dict of sensor id to str
        The trial the mapping says it is for (empty if it does not), and the segments as written. None
        where the file is no mapping.
    """
    try:
        if file.suffix.casefold() == ".xml":
            return _xml_mapping(ElementTree.parse(file).getroot())
        rows = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, ElementTree.ParseError, csv.Error):
        return None
    found = {
        sensor.strip()[-8:].upper(): segment.strip()
        for sensor, segment in (row for row in rows if len(row) == 2)
        if re.fullmatch(r".*[0-9A-Fa-f]{8}", sensor.strip())
    }
    return ("", found) if found else None


def _xml_mapping(root: ElementTree.Element) -> tuple[str, dict[str, str]] | None:
    found = {
        str(sensor.get("name", "")).strip()[-8:].upper(): (
            sensor.findtext("name_in_model") or ""
        ).strip()
        for sensor in root.iter("ExperimentalSensor")
    }
    return ((root.findtext(".//trial_prefix") or "").strip(), found) if found else None


def _who_and_what(root: Path, folder: Path, prefix: str, several: bool) -> tuple[str, str]:
    """Read person and condition from the folders; the trial's own name where they do not tell."""
    parts = folder.resolve().parts
    first = len(root.resolve().parts) - 1
    named = [i for i in range(first, len(parts)) if _PERSON.match(parts[i])]
    who = named[-1] if named else min(first, len(parts) - 1)
    below = [part for part in parts[who + 1 :] if part.casefold() not in _PLAIN_FOLDERS]
    if not below:
        return parts[who], prefix
    return parts[who], f"{below[0]}-{prefix.rsplit('-', 1)[-1]}" if several else below[0]
