"""A model folder and the version before it: put a new one there, or the old one back, all at once.

The folder is never half of each. A new version is written beside it and takes its place by two renames; a
crash between them leaves the old folder under another name, from where the next call puts it back.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from talaria_bridge.errors import ModelContractError

PREVIOUS = "previous"
_SUMS_FILE = "SHA256SUMS"


def ship(folder: Path, write: Callable[[Path], object]) -> None:
    """Replace a model folder's content by what `write` puts into an empty one.

    What was there, if it was a model, is kept in the folder's ``previous``; what was there before that is
    given up.

    Parameters
    ----------
    folder : Path
    write : callable
        Given the empty folder to fill. Whatever it raises leaves the old content in place.

    Raises
    ------
    ModelContractError
        If the old content is a model that does not match its checksums.
    """
    recover(folder)
    new = _beside(folder, "new")
    try:
        new.mkdir(parents=True)
        if holds_model(folder):
            verify(folder)
            shutil.copytree(folder, new / PREVIOUS, ignore=shutil.ignore_patterns(PREVIOUS))
        write(new)
        verify(new)
        _swap(folder, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def rollback(folder: Path) -> None:
    """Put the previous version back; the present one becomes the previous, so that twice is not at all.

    Raises
    ------
    ModelContractError
        If there is no previous version, or it does not match its checksums.
    """
    recover(folder)
    previous = folder / PREVIOUS
    if not holds_model(previous):
        raise ModelContractError(
            f"{folder} keeps no previous version, so there is nothing to go back to: fine-tune again, or "
            "use the base model."
        )
    verify(previous)
    new = _beside(folder, "new")
    try:
        shutil.copytree(previous, new)
        shutil.copytree(folder, new / PREVIOUS, ignore=shutil.ignore_patterns(PREVIOUS))
        _swap(folder, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def recover(folder: Path) -> None:
    """Put back what a crash in the middle of a swap left under another name."""
    old = _beside(folder, "old")
    if old.exists():
        if folder.exists():
            shutil.rmtree(old)
        else:
            old.rename(folder)
    shutil.rmtree(_beside(folder, "new"), ignore_errors=True)


def holds_model(folder: Path) -> bool:
    """Say whether a folder holds a released model."""
    return (folder / _SUMS_FILE).is_file()


def verify(folder: Path) -> None:
    """Compare every file that ``SHA256SUMS`` names with its sum.

    Raises
    ------
    ModelContractError
        If one is missing or differs.
    """
    for line in (folder / _SUMS_FILE).read_text(encoding="utf-8").splitlines():
        wanted, _, name = line.partition("  ")
        file = folder / name
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "none"
        if found != wanted:
            raise ModelContractError(
                f"{file} is {'missing' if found == 'none' else 'not what its checksum says'}, so the model "
                "was changed or damaged after it was written: put the file back from where it came, or "
                "move the folder away and fine-tune again."
            )


def _swap(folder: Path, new: Path) -> None:
    old = _beside(folder, "old")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(folder: Path, kind: str) -> Path:
    whole = Path(os.path.abspath(folder))  # noqa: PTH100 (resolving would follow a link to elsewhere)
    return whole.parent / f".{whole.name}.{kind}"
