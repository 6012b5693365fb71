"""Finding the files of CapSense trials in folders and zips, without reading them yet."""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from talaria_bridge.errors import RecordingError
from talaria_training.data.recording import DataIssue

Progress = Callable[[int, int, str], None]
"""Called with how many are done, how many there are, and the name of the next one."""

Skip = Callable[[DataIssue], None]
"""Called with the reason why a recording was left out altogether."""

_TRIAL_FILE = re.compile(
    r"^OpenSim_(?P<person>[^_/]+)_(?P<condition>[^_/]+)_(?P<kind>Accel|Gyro|Orientations|GRF)"
    r"\.(?:trc|sto|mot)$"
)
_SHEET = "MetaData.xlsx"
# The published repository holds a second study with a sheet of the same name, other people in it.
_OTHER_STUDY = "ShankOnly"


def log_skip(issue: DataIssue) -> None:
    """Report a skipped recording on the log (which prints warnings unless told otherwise)."""
    logging.getLogger("talaria").warning("%s", issue)


@dataclass(frozen=True, slots=True)
class Member:
    """One file, in a folder or in a zip.

    Attributes
    ----------
    path : Path
        The file, or the zip that holds it.
    inside : str or None
        Its name inside the zip.
    """

    path: Path
    inside: str | None = None

    @property
    def basename(self) -> str:
        """The file's own name, without folders."""
        return self.path.name if self.inside is None else self.inside.rsplit("/", 1)[-1]

    def source(self) -> tuple[str, bytes]:
        """Return the file's name for messages and its bytes; `RecordingError` if unreadable."""
        try:
            if self.inside is None:
                return str(self.path), self.path.read_bytes()
            with zipfile.ZipFile(self.path) as archive:
                return f"{self.path}:{self.inside}", archive.read(self.inside)
        except (OSError, zipfile.BadZipFile, RuntimeError, EOFError) as err:
            raise RecordingError(
                f"{self.inside or self.path.name} cannot be read from {self.path} ({err}): "
                "copy or download it again."
            ) from None


@dataclass(frozen=True, slots=True)
class Trial:
    """The files of one trial, by kind (``Accel``, ``Gyro``, ``Orientations``, ``GRF``)."""

    person: str
    condition: str
    files: dict[str, Member] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The recording's name, e.g. ``Sub02/CSBaseline``."""
        return f"{self.person}/{self.condition}"


def find_members(path: Path) -> tuple[list[Trial], Member | None]:
    """Return the trials at or under `path`, sorted by name, and the sheet about the people.

    Where a file is there twice, unpacked and zipped, the unpacked one counts.

    Raises
    ------
    RecordingError
        If `path` does not exist, or a zip under it cannot be opened.
    """
    trials: dict[tuple[str, str], Trial] = {}
    sheets: list[Member] = []
    for member in _members(path):
        match = _TRIAL_FILE.match(member.basename)
        if match:
            key = (match["person"], match["condition"])
            trials.setdefault(key, Trial(*key)).files.setdefault(match["kind"], member)
        elif member.basename == _SHEET and _OTHER_STUDY not in f"{member.path}/{member.inside}":
            sheets.append(member)
    return [trials[key] for key in sorted(trials)], sheets[0] if sheets else _sheet_above(path)


def _members(path: Path) -> Iterator[Member]:
    if not path.exists():
        raise RecordingError(f"{path} does not exist: check the path.")
    if path.is_file():
        if path.suffix.casefold() == ".zip":
            yield from _zip_members(path)
        return
    files = sorted(p for p in path.rglob("*") if p.is_file())
    yield from (Member(p) for p in files if p.suffix.casefold() != ".zip")
    for zipped in (p for p in files if p.suffix.casefold() == ".zip"):
        yield from _zip_members(zipped)


def _zip_members(path: Path) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(archive.namelist())
    except (OSError, zipfile.BadZipFile) as err:
        raise RecordingError(
            f"{path} cannot be opened as a zip ({err}): copy or download it again, or move it away."
        ) from None
    yield from (Member(path, name) for name in names)


def _sheet_above(path: Path) -> Member | None:
    """Look for the sheet beside a zip, or above one person's or one trial's folder."""
    above = list(path.resolve().parents[:2])
    return next((Member(p / _SHEET) for p in above if (p / _SHEET).is_file()), None)


def holds_trials(path: Path) -> bool:
    """Say whether `path` is or holds a CapSense trial; reads names only."""
    return any(_TRIAL_FILE.match(member.basename) for member in _members(path))
