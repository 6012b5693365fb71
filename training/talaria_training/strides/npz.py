"""Plain arrays out of an .npz, without pickle."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read every array; `RecordingError`, without the path, if the file is no .npz of plain arrays."""
    if not path.exists():
        raise RecordingError("does not exist: check the path.")
    try:
        # numpy leaves a file open that it opened and could not read.
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise RecordingError("is one array and no .npz table: write it with numpy.savez.")
            with stored:
                return {name: _plain(name, stored) for name in stored.files}
    except RecordingError:  # a ValueError too
        raise
    except OSError as error:
        why = "it is a folder" if path.is_dir() else error.strerror or str(error)
    except (zipfile.BadZipFile, EOFError, ValueError):
        why = "it is no .npz archive"
    raise RecordingError(
        f"cannot be read as a stride table ({why}): make one with `talaria-train strides make`."
    )


def _plain(name: str, stored: Any) -> NDArray[Any]:
    try:
        return np.asarray(stored[name])
    except ValueError:
        raise RecordingError(
            f"{name} is stored as Python objects, which are not read: save it with .astype(str)."
        ) from None
