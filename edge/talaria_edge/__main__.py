"""The command ``talaria``: run, play back, and look into a model."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from talaria_bridge.errors import TalariaError
from talaria_bridge.recorder import read_frame_log
from talaria_bridge.virtual import VirtualSerialDevice
from talaria_edge.app import run_session
from talaria_edge.config import load_config
from talaria_edge.model import model_file, read_spec
from talaria_edge.spec import ModelSpec
from talaria_edge.summary import RunSummary

app = typer.Typer(
    help="Live joint angles and gait state from small inertial sensors on the legs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@contextlib.contextmanager
def _one_sentence() -> Iterator[None]:
    """End a command that failed with one sentence and exit status 2."""
    try:
        yield
    except TalariaError as err:
        typer.echo(f"talaria: {err}", err=True)
        raise typer.Exit(2) from None
    except OSError as err:
        what = err.filename or "a file"
        typer.echo(
            f"talaria: The system refused {what} ({err.strerror or err}): check the disk and the "
            "permissions.",
            err=True,
        )
        raise typer.Exit(2) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"talaria {version('talaria')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Live joint angles and gait state from small inertial sensors on the legs."""


@app.command()
def run(
    source: Annotated[
        str | None, typer.Option(help="serial:PORT, replay:FILE.tlog or sim:")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="A model's folder or .onnx file.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose profile to use and to keep.")] = None,
    config: Annotated[Path | None, typer.Option(help="A device's TOML.")] = None,
    record: Annotated[Path | None, typer.Option(help="Where session folders go.")] = None,
    no_record: Annotated[bool, typer.Option("--no-record", help="Write nothing.")] = False,
    seconds: Annotated[float | None, typer.Option(help="Stop after this long.")] = None,
    rate_hz: Annotated[float | None, typer.Option(help="Rate of the common clock.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No live view.")] = False,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Calibrate although the profile knows how.")
    ] = False,
) -> None:
    """Turn a stream of sensor frames into live joint angles, and record the session."""
    with _one_sentence():
        settings = load_config(
            config,
            source=source,
            model=model,
            user=user,
            record_dir=False if no_record else record,
            seconds=seconds,
            rate_hz=rate_hz,
            display=False if quiet else None,
            recalibrate=recalibrate or None,
        )
        print_summary(run_session(settings))


@app.command()
def play(
    file: Annotated[Path, typer.Argument(help="A frame log, such as SESSION/frames.tlog.")],
) -> None:
    """Present a recording as a live serial device on a pseudo-terminal."""
    with _one_sentence():
        frames = [(chunk.t_s, chunk.data) for chunk in read_frame_log(file)]
        with VirtualSerialDevice(frames) as device:
            typer.echo(f"{device.port}")
            typer.echo(
                f"Playing {file} as soon as it is opened: "
                f"talaria run --source serial:{device.port} --model MODEL",
                err=True,
            )
            with contextlib.suppress(KeyboardInterrupt):
                device.wait()


@app.command()
def model(
    path: Annotated[Path, typer.Argument(help="A model's folder or .onnx file.")],
) -> None:
    """Print what a model file says about itself."""
    with _one_sentence():
        print_spec(read_spec(path), model_file(path))


def print_summary(summary: RunSummary) -> None:
    """Print what a session came to."""
    table = Table(title="Session", show_header=False)
    table.add_row("time", f"{summary.seconds:.1f} s, {summary.ticks} ticks")
    table.add_row("gait states", f"{summary.states} ({_counts(summary.validity)})")
    for slot, received in summary.received.items():
        table.add_row(slot, f"{received} samples, {summary.lost[slot]} lost")
    decoder = summary.decoder
    damaged = decoder.crc_errors + decoder.cobs_errors + decoder.too_long + decoder.malformed
    table.add_row("bytes", f"{decoder.bytes_in}, {decoder.frames} frames, {damaged} damaged")
    if summary.dropped_chunks:
        table.add_row("too slow", f"{summary.dropped_chunks} chunks dropped")
    if math.isfinite(summary.p50_ms):
        table.add_row("step", f"p50 {summary.p50_ms:.2f} ms, p99 {summary.p99_ms:.2f} ms")
    if summary.folder is not None:
        table.add_row("recorded in", str(summary.folder))
    Console().print(table)


def print_spec(spec: ModelSpec, file: Path) -> None:
    """Print a model's spec for a person to read."""
    console = Console()
    about = Table(title=spec.model_id, show_header=False)
    about.add_row("file", str(file))
    about.add_row("sensors", ", ".join(spec.slots))
    about.add_row("rate", f"{spec.rate_hz:g} Hz")
    about.add_row("features", f"version {spec.feature_version}, {len(spec.channels)} channels")
    about.add_row("calibration", spec.calibration)
    about.add_row("trained on", spec.trained_on)
    if spec.held_out is not None:
        about.add_row("held-out error", f"{spec.held_out.protocol}, {spec.held_out.reference}")
    console.print(about)
    outputs = Table("angle", "positive", "kind", "certainty", "held-out RMSE")
    errors = spec.held_out.rmse_deg if spec.held_out is not None else {}
    for output in spec.outputs:
        error = f"{errors[output.name]:.1f}°" if output.name in errors else "–"
        outputs.add_row(output.name, output.sign, output.kind, output.certainty, error)
    console.print(outputs)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
