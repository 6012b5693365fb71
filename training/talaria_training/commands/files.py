"""Writing what a command found, where the user asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from talaria_bridge.errors import RecordingError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a file that cannot be written into a sentence; `path` where the file system names none.

    Raises
    ------
    RecordingError
        With its name, where the file system refused.
    """
    try:
        yield
    except OSError as error:
        raise RecordingError(
            f"{error.filename or path} cannot be written ({error.strerror}): give another path."
        ) from None
