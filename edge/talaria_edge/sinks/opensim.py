"""OpenSim motion files, written while the session runs and readable at any moment of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from talaria_bridge.errors import RecordingError

_COUNT_DIGITS = 12
"""Room for the row count, which is rewritten in place; OpenSim reads leading zeros."""


class MotWriter:
    """Append joint angles, in degrees, or other numbers to a ``.mot`` file with OpenSim's names.

    The header's row count is only ever raised after the rows it counts have been written, so the
    file is whole for a reader at any time, and after a kill at any time it lacks at most the rows
    of the last ``flush_s`` seconds.

    Parameters
    ----------
    path : Path
        The file to make; an existing one is replaced.
    names : sequence of str
        Columns; of a file of angles, OpenSim's coordinates.
    title : str
        First line of the file.
    flush_s : float
        Seconds of rows kept back before they are written.
    angles : bool
        Whether all columns are angles; other numbers are written as they come.

    Raises
    ------
    RecordingError
        If the file cannot be made or written.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        title: str = "talaria",
        flush_s: float = 1.0,
        *,
        angles: bool = True,
    ) -> None:
        self.path = path
        self.names = tuple(names)
        self.rows = 0
        self._flush_s = flush_s
        self._factor = math.degrees(1.0) if angles else 1.0
        degrees = "yes" if angles else "no"
        self._pending: list[str] = []
        self._flushed_t_s = -math.inf
        before = f"{title}\nversion=1\nnRows="
        after = f"\nnColumns={len(self.names) + 1}\ninDegrees={degrees}\nendheader\n"
        labels = "\t".join(("time", *self.names))
        self._count_at = len(before.encode())
        try:
            self._file = path.open("wb", buffering=0)
            self._file.write(f"{before}{0:0{_COUNT_DIGITS}}{after}{labels}\n".encode())
        except OSError as err:
            raise _cannot_write(path, err) from None

    def write(self, t_s: float, values: Mapping[str, float]) -> None:
        """Append one row.

        Parameters
        ----------
        t_s : float
            Time, seconds; OpenSim wants it to rise from row to row.
        values : mapping of name to float
            Angles in radians; NaN is written as ``nan``, which OpenSim's ``TimeSeriesTable`` reads as
            missing.

        Raises
        ------
        RecordingError
            If the disk refuses.
        """
        cells = (f"{self._factor * values[name]:.6f}" for name in self.names)
        self._pending.append("\t".join((f"{t_s:.6f}", *cells)) + "\n")
        if t_s - self._flushed_t_s >= self._flush_s:
            self._flushed_t_s = t_s
            self.flush()

    def flush(self) -> None:
        """Write what is kept back: the rows first, and then the count that includes them."""
        if self._file.closed or not self._pending:
            return
        try:
            self._file.write("".join(self._pending).encode())
            end = self._file.tell()
            self.rows += len(self._pending)
            self._pending.clear()
            self._file.seek(self._count_at)
            self._file.write(f"{self.rows:0{_COUNT_DIGITS}}".encode())
            self._file.seek(end)
        except OSError as err:
            raise _cannot_write(self.path, err) from None

    def close(self) -> None:
        """Write the rest and close; a second call does nothing."""
        try:
            self.flush()
        finally:
            self._file.close()

    def __enter__(self) -> MotWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _cannot_write(path: Path, err: OSError) -> RecordingError:
    return RecordingError(
        f"{path} cannot be written ({err.strerror}): free the disk, or choose another folder with "
        "--record."
    )
