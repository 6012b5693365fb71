"""Writing what a command found, where the user asked for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from talaria_bridge.errors import RecordingError
from talaria_training import scoring
from talaria_training.commands.common import out


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


def write_report(file: Path | None, document: Mapping[str, Any]) -> None:
    """Write what ``--json`` asked for, if it did, and say so.

    Raises
    ------
    RecordingError
        If the file cannot be written.
    """
    if file is None:
        return
    with writing(file):
        scoring.write_json(file, document)
    out.print(f"Wrote {file}.", highlight=False, soft_wrap=True)
