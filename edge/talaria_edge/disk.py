"""A disk that fills slowly must never end a session: what is kept, what is removed, what is free."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from talaria_bridge.errors import RecordingError, TalariaError
from talaria_bridge.recorder import LOG_FILE
from talaria_edge.config import DiskConfig
from talaria_edge.profile import load_profile, talaria_home
from talaria_edge.sinks.recording import SESSION_FILE

log = logging.getLogger("talaria")

GB = 1e9


@dataclass(frozen=True, slots=True)
class Kept:
    """One session folder.

    Attributes
    ----------
    folder : Path
    started : str
        When, ISO 8601, as it says itself; empty where it does not.
    finished : bool
        Whether it was closed in good order.
    size_bytes : int
    """

    folder: Path
    started: str
    finished: bool
    size_bytes: int


def free_bytes(path: Path) -> int:
    """Bytes free where a path is or will be."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def sessions_in(record_dir: Path) -> list[Kept]:
    """List the session folders in a folder, the oldest first; other things in it are not seen."""
    if not record_dir.is_dir():
        return []
    folders = [
        path
        for path in record_dir.iterdir()
        if path.is_dir() and not path.is_symlink() and (path / SESSION_FILE).is_file()
    ]
    kept = [_kept(folder) for folder in folders if (folder / LOG_FILE).is_file()]
    return sorted(kept, key=lambda one: (one.started, one.folder.name))


def remove_oldest(record_dir: Path, max_gb: float, spare: Collection[Path] = ()) -> list[Path]:
    """Remove finished sessions, the oldest first, until those left are no more than ``max_gb``.

    A session that was cut off is never removed, for somebody may be looking for it; nor are those to be
    spared.

    Parameters
    ----------
    record_dir : Path
    max_gb : float
        Gigabytes (1e9 bytes) that the sessions may take.
    spare : collection of Path
        Session folders to keep, such as those that calibrations came from.

    Returns
    -------
    list of Path
        The folders removed.
    """
    kept = sessions_in(record_dir)
    over = sum(one.size_bytes for one in kept) - max_gb * GB
    spared = {path.resolve() for path in spare}
    removed = []
    for one in kept:
        if over <= 0:
            break
        if not one.finished or one.folder.resolve() in spared:
            continue
        try:
            shutil.rmtree(one.folder)
        except OSError as err:
            log.warning(
                "%s could not be removed (%s): the sessions go on taking more than disk.max_gb.",
                one.folder,
                err.strerror,
            )
            continue
        over -= one.size_bytes
        removed.append(one.folder)
        size_mb = one.size_bytes / 1e6
        log.info("%s (%.0f MB) was removed to stay within disk.max_gb.", one.folder, size_mb)
    if over > 0:
        log.warning(
            "The sessions in %s take %.1f GB more than disk.max_gb allows, and none of them may be "
            "removed: move some elsewhere.",
            record_dir,
            over / GB,
        )
    return removed


def calibrated_from() -> list[Path]:
    """List the recordings that the users' calibrations came from: without them nobody can check those."""
    sources = []
    for file in (talaria_home() / "users").glob("*.toml"):
        with contextlib.suppress(TalariaError):
            session = load_profile(file.stem).session
            if session is not None:
                sources.append(Path(session))
    return sources


def make_room(record_dir: Path, disk: DiskConfig) -> None:
    """Get the disk ready for a recording; do it before the source is open, for it may take a while.

    Raises
    ------
    RecordingError
        If less is free than must stay free: the recording would have to be cut short at once.
    """
    if disk.max_gb is not None:
        remove_oldest(record_dir, disk.max_gb, calibrated_from())
    free = free_bytes(record_dir)
    if free < disk.keep_free_gb * GB:
        raise RecordingError(
            f"Only {free / GB:.2f} GB are free where sessions go ({record_dir}) and disk.keep_free_gb = "
            f"{disk.keep_free_gb:g} must stay free: free the disk, set disk.max_gb so that old sessions make "
            "room, or give --no-record."
        )


def _kept(folder: Path) -> Kept:
    about: dict[str, object] = {}
    with contextlib.suppress(OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        about = tomllib.loads((folder / SESSION_FILE).read_text(encoding="utf-8"))
    size = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            size += file.lstat().st_size
    return Kept(folder, str(about.get("started", "")), "ended" in about, size)
