"""Runs people can look at: what a training came to, step by step, for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talaria_bridge.errors import ConfigError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """One run's curves.

    `progress` is a `talaria_training.train.Progress`, to be given to a training as it is or called by another.
    """

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def progress(self, step: int, steps: int, loss: float) -> None:
        """Write the running loss after so many steps."""
        del steps
        self.scalar("loss", step, loss)

    def scalar(self, name: str, step: int, value: float) -> None:
        """Write any other number of a run, such as a held-out error in degrees."""
        self._writer.add_scalar(name, value, step)


@contextmanager
def open_run(folder: Path, name: str, config: Any) -> Iterator[RunLog]:
    """Log one run below a folder that TensorBoard is pointed to.

    Parameters
    ----------
    folder : Path
        What ``--log-dir`` names; a run is a folder in it.
    name : str
        Of the run; runs of one name lie side by side, the later one numbered.
    config : dataclass or mapping
        Written as text beside the curves.

    Raises
    ------
    ConfigError
        If TensorBoard is not installed, or the folder cannot be written.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (an extra)
    except ImportError:
        raise ConfigError(
            "--log-dir needs TensorBoard, which is not installed: install the extra with "
            "pip install -c constraints.txt -e '.[logs]', or leave --log-dir out."
        ) from None
    try:
        writer = SummaryWriter(str(_fresh(folder, name)))
    except OSError as error:
        raise ConfigError(
            f"--log-dir {folder} cannot be written ({error.strerror}): name another folder."
        ) from None
    try:
        writer.add_text("config", _table(config))
        yield RunLog(writer)
    finally:
        writer.close()


def _fresh(folder: Path, name: str) -> Path:
    """Two runs in one folder would be drawn as one jagged curve."""
    run, number = folder / name, 2
    while run.exists():
        run, number = folder / f"{name}-{number}", number + 1
    return run


def _table(config: Any) -> str:
    """Say a configuration as a Markdown table, which is what TensorBoard's text tab renders."""
    values: Mapping[str, Any] = (
        asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
    )
    return "\n".join(
        ["| setting | value |", "|---|---|", *(f"| {k} | {v} |" for k, v in values.items())]
    )
