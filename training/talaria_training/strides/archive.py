"""Files of a data set, whether it was unpacked or is still one zip."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from talaria_bridge.errors import RecordingError

Progress = Callable[[int, int], None]
"""Called with how many files are done and how many there are."""


def silent(done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Names of the files in a folder or a zip, with forward slashes, and a way to read one."""

    path: Path
    names: tuple[str, ...]
    read_bytes: Callable[[str], bytes]

    def read(self, name: str) -> bytes:
        """Return a file's content; `RecordingError` if it cannot be read."""
        try:
            return self.read_bytes(name)
        except (OSError, zipfile.BadZipFile, RuntimeError, EOFError) as error:
            raise RecordingError(
                f"{name} cannot be read from {self.path} ({error}): copy or download it again."
            ) from None

    def text(self, name: str) -> str:
        """Return a text file; `RecordingError` if it is none."""
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise RecordingError(
                f"{name} in {self.path} is no text file: download it again."
            ) from None

    def named(self, basename: str) -> str | None:
        """Return the first file called `basename`, in whatever folder, or None."""
        return next((n for n in self.names if n.rsplit("/", 1)[-1] == basename), None)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a folder, or a zip for as long as the context lasts.

    Raises
    ------
    RecordingError
        If there is neither at `path`, or the zip is broken.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        names = tuple(p.relative_to(path).as_posix() for p in files)
        yield Archive(path, names, lambda name: (path / name).read_bytes())
        return
    if not path.exists():
        raise RecordingError(f"{path} does not exist: check the path.")
    try:
        zipped = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise RecordingError(
            f"{path} is neither a folder nor a zip ({error}): give the data set as one of the two."
        ) from None
    with zipped:
        names = tuple(sorted(n for n in zipped.namelist() if not n.endswith("/")))
        yield Archive(path, names, zipped.read)
