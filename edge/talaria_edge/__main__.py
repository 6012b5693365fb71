"""The command ``talaria``: find sensors, run, record, replay, export, look into a model."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from talaria_bridge.errors import TalariaError
from talaria_bridge.link import Chunk
from talaria_bridge.recorder import read_session_log
from talaria_bridge.uart import serial_ports
from talaria_bridge.virtual import VirtualSerialDevice
from talaria_edge.again import config_of, walk_of
from talaria_edge.app import record_session, run_live, run_session
from talaria_edge.calibrate_session import CalibrateOptions, CalibrateSession
from talaria_edge.config import load_config
from talaria_edge.doctor import any_failed, checks_json, examine
from talaria_edge.export import export_session, load_session
from talaria_edge.findings import Grade
from talaria_edge.model import model_file, read_spec
from talaria_edge.printing import (
    print_calibration,
    print_checks,
    print_found,
    print_labels,
    print_offsets,
    print_ports,
    print_spec,
    print_summary,
)
from talaria_edge.service import configure_logging
from talaria_edge.shake import by_slot, shake_offsets
from talaria_edge.why import why_session
from talaria_edge.why_words import print_why

app = typer.Typer(
    help="Live joint angles and gait state from small inertial sensors on the legs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


SourceOption = Annotated[
    list[str] | None,
    typer.Option(
        help="serial:PORT, tcp:HOST:PORT, ble:FAMILY/ADDRESS?slot=SLOT, replay:SESSION or sim:; "
        "give it again for each further device."
    ),
]

SinkOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Where states go, too: csv:PATH, mot:PATH, grf:PATH, osc:HOST:PORT, ws:HOST:PORT or lsl:NAME; "
        "give it again for each further one."
    ),
]


UsualGaitOption = Annotated[
    Literal["walking", "stiff_knee"] | None,
    typer.Option(
        help="How the wearer walks while being calibrated: walking, the usual and unimpeded gait, if absent."
    ),
]


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


def _given(**options: Any) -> dict[str, Any] | None:
    """Keep the options of a table that were given; None if none was."""
    return {key: value for key, value in options.items() if value is not None} or None


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
    source: SourceOption = None,
    model: Annotated[Path | None, typer.Option(help="A model's folder or .onnx file.")] = None,
    kinetics: Annotated[
        Path | None,
        typer.Option(help="A force model's folder or .onnx file: forces beside the angles."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose profile to use and to keep.")] = None,
    mass_kg: Annotated[
        float | None,
        typer.Option(help="The wearer's mass, for forces in newtons; the profile keeps it."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A device's TOML.")] = None,
    record: Annotated[Path | None, typer.Option(help="Where session folders go.")] = None,
    no_record: Annotated[bool, typer.Option("--no-record", help="Write nothing.")] = False,
    seconds: Annotated[float | None, typer.Option(help="Stop after this long.")] = None,
    rate_hz: Annotated[float | None, typer.Option(help="Rate of the common clock.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No live view.")] = False,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Calibrate although the profile knows how.")
    ] = False,
    usual_gait: UsualGaitOption = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Show the session in a browser.")
    ] = False,
    dashboard_host: Annotated[
        str | None, typer.Option(help="Serve it here; 0.0.0.0 lets others in who know the token.")
    ] = None,
    dashboard_port: Annotated[int | None, typer.Option(help="Serve it on this port.")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Answer /metrics and /healthz on this [HOST:]PORT.")
    ] = None,
    sink: SinkOption = None,
) -> None:
    """Turn a stream of sensor frames into live joint angles, and record the session."""
    with _one_sentence():
        settings = load_config(
            config,
            source=source or None,
            model=model,
            kinetics=kinetics,
            user=user,
            mass_kg=mass_kg,
            record_dir=False if no_record else record,
            seconds=seconds,
            rate_hz=rate_hz,
            display=False if quiet else None,
            recalibrate=recalibrate or None,
            usual_gait=usual_gait,
            metrics=metrics,
            sinks=sink or None,
            dashboard=_given(on=dashboard or None, host=dashboard_host, port=dashboard_port),
        )
        if settings.dashboard.on:
            typer.echo(f"Dashboard: {settings.dashboard.url}", err=True)
        configure_logging(display=settings.display)
        print_summary(run_session(settings))


@app.command()
def calibrate(
    user: Annotated[str, typer.Option(help="In whose profile the calibration is kept.")],
    source: SourceOption = None,
    model: Annotated[
        Path | None, typer.Option(help="What measures how far the knees usually move.")
    ] = None,
    usual_gait: UsualGaitOption = None,
    config: Annotated[Path | None, typer.Option(help="A device's TOML.")] = None,
    record: Annotated[Path | None, typer.Option(help="Where session folders go.")] = None,
    no_record: Annotated[bool, typer.Option("--no-record", help="Write only the profile.")] = False,
    swing: Annotated[
        bool, typer.Option("--swing", help="Swing each leg too: that settles right and left.")
    ] = False,
    min_grade: Annotated[
        Literal["A", "B", "C"], typer.Option(help="Refuse a calibration that is worse.")
    ] = "C",
    force: Annotated[bool, typer.Option("--force", help="Keep it all the same.")] = False,
    seconds: Annotated[float | None, typer.Option(help="Stop after this long.")] = None,
    rate_hz: Annotated[float | None, typer.Option(help="Rate of the common clock.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No live view.")] = False,
) -> None:
    """Calibrate a wearer: stand still, walk, and see how good it was; the profile keeps it."""
    with _one_sentence():
        settings = load_config(
            config,
            source=source or None,
            model=model,
            user=user,
            usual_gait=usual_gait,
            record_dir=False if no_record else record,
            seconds=seconds,
            rate_hz=rate_hz,
            display=False if quiet else None,
        )
        configure_logging(display=settings.display)
        options = CalibrateOptions(Grade(min_grade), force=force, swing=swing)
        session = CalibrateSession(settings, options)
        try:
            run_live(session)
        finally:
            print_calibration(session.report, session.profile)


@app.command()
def play(
    session: Annotated[Path, typer.Argument(help="A session's folder.")],
) -> None:
    """Present a recording as a live serial device on a pseudo-terminal."""
    with _one_sentence():
        items = read_session_log(session)
        frames = [(item.t_s, item.data) for item in items if isinstance(item, Chunk)]
        with VirtualSerialDevice(frames) as device:
            typer.echo(f"{device.port}")
            typer.echo(
                f"Playing {session} as soon as it is opened: "
                f"talaria run --source serial:{device.port} --model MODEL",
                err=True,
            )
            with contextlib.suppress(KeyboardInterrupt):
                device.wait()


@app.command()
def scan(
    seconds: Annotated[float, typer.Option(help="How long to listen.")] = 5.0,
    battery: Annotated[
        bool, typer.Option("--battery", help="Connect to each device and ask for its charge.")
    ] = False,
) -> None:
    """List the sensors in reach: family, address, battery, signal."""
    with _one_sentence():
        from talaria_bridge import ble  # noqa: PLC0415  the radio's library is slow to load

        print_ports(serial_ports())
        print_found(asyncio.run(ble.scan(seconds, read_battery=battery)))


@app.command()
def record(
    source: SourceOption = None,
    config: Annotated[Path | None, typer.Option(help="A device's TOML.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where session folders go.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after this long.")] = None,
    slots: Annotated[
        str | None, typer.Option(help="The sensors worn, separated by commas.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whom the recording is of.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No live view.")] = False,
) -> None:
    """Record what the sensors send, without a model."""
    with _one_sentence():
        settings = load_config(
            config,
            source=source or None,
            record_dir=out,
            seconds=seconds,
            slots=None if slots is None else tuple(slots.split(",")),
            user=user,
            display=False if quiet else None,
        )
        configure_logging(display=settings.display)
        print_summary(record_session(settings))


@app.command()
def replay(
    session: Annotated[Path, typer.Argument(help="A session's folder.")],
    model: Annotated[Path | None, typer.Option(help="Another model than it was run with.")] = None,
    kinetics: Annotated[
        Path | None, typer.Option(help="A force model, or another than it was run with.")
    ] = None,
    mass_kg: Annotated[
        float | None, typer.Option(help="The wearer's mass, where the session does not know it.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Do not wait between samples.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No live view.")] = False,
    sink: SinkOption = None,
) -> None:
    """Show a recorded session once more, through the same model and calibration."""
    with _one_sentence():
        pace: Literal["real", "fast"] = "fast" if fast else "real"
        settings, calibration = config_of(
            session,
            model,
            pace,
            display=not quiet,
            sinks=sink or None,
            kinetics=kinetics,
            mass_kg=mass_kg,
        )
        print_summary(run_session(settings, calibration=calibration, walk=walk_of(session)))


@app.command()
def forces(
    session: Annotated[Path, typer.Argument(help="A session's folder.")],
    out: Annotated[
        Path | None, typer.Option(help="The report; SESSION/forces.html if absent.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--csv", help="The stances, too, one row each.")
    ] = None,
    kinetics: Annotated[
        Path | None, typer.Option(help="Whose band to draw; the session's force model if absent.")
    ] = None,
) -> None:
    """Report the forces under the feet: peaks, loading rate, impulse, symmetry, how far they vary."""
    with _one_sentence():
        from talaria_edge.force_report import report_forces  # noqa: PLC0415  only who asks pays for it

        for file in report_forces(session, out, table, kinetics):
            typer.echo(f"{file}")


@app.command()
def repair(
    session: Annotated[Path, typer.Argument(help="A session's folder, or a .mot of angles.")],
    model: Annotated[Path, typer.Option(help="A generative model's folder.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write; SESSION/repaired if absent.")
    ] = None,
    height_m: Annotated[float | None, typer.Option(help="The wearer's height, if known.")] = None,
    mass_kg: Annotated[float | None, typer.Option(help="The wearer's mass, if known.")] = None,
    speed_ms: Annotated[float | None, typer.Option(help="How fast they walked, if known.")] = None,
    samples: Annotated[int, typer.Option(min=2, help="Draws; more make intervals steadier.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same draws.")] = 0,
) -> None:
    """Fill gaps in a recorded session's angles with what a model draws, each marked as drawn."""
    with _one_sentence():
        from talaria_edge.generate.generator import Generator  # noqa: PLC0415  only who asks pays for it
        from talaria_edge.generate.motion import Conditions  # noqa: PLC0415
        from talaria_edge.generate.repair import repair_file, words_of  # noqa: PLC0415

        speed, height, mass = (
            float("nan") if value is None else value for value in (speed_ms, height_m, mass_kg)
        )
        who = Conditions(speed, height_m=height, mass_kg=mass)
        where = out or (session / "repaired" if session.is_dir() else session.parent / "repaired")
        files, done = repair_file(session, Generator.open(model), where, who, samples, seed)
        for file in files:
            typer.echo(f"{file}")
        typer.echo(words_of(done))


@app.command()
def why(
    session: Annotated[Path, typer.Argument(help="A session's folder.")],
    stride: Annotated[
        int | None, typer.Option(help="Its number, from 1; the last stride if absent.")
    ] = None,
    at: Annotated[
        float | None, typer.Option(help="Or an instant within it, seconds as in angles.mot.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Another model than it was run with.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Say why a stride was given its class: what each sensor's movement did for it."""
    with _one_sentence():
        found = why_session(session, stride=stride, at_s=at, model=model)
    if as_json:
        typer.echo(found.to_json())
    else:
        print_why(found)


@app.command()
def shake(
    session: Annotated[Path, typer.Argument(help="A session recorded while shaking.")],
) -> None:
    """Tell how far apart the times of sensors are that were shaken together in one hand."""
    with _one_sentence():
        samples = [s for link in load_session(session).links.values() for s in link]
        print_offsets(shake_offsets(*by_slot(samples)))


@app.command()
def label(
    session: Annotated[Path, typer.Argument(help="A session's folder.")],
    reference: Annotated[Path, typer.Option(help="Angles by something else: .mot, .sto or .csv.")],
    unit: Annotated[
        Literal["deg", "rad"] | None, typer.Option(help="Of the angles, if the file does not say.")
    ] = None,
    lag: Annotated[
        float | None,
        typer.Option(help="Seconds to add to the file's times, where you know better."),
    ] = None,
) -> None:
    """Bring measured joint angles onto a session's clock and keep them there to fine-tune on."""
    with _one_sentence():
        from talaria_edge.labels.attach import label_session  # noqa: PLC0415  scipy.stats is large

        print_labels(label_session(session, reference, unit, lag))


@app.command()
def export(
    session: Annotated[Path, typer.Argument(help="A session's folder.")],
    to: Annotated[str, typer.Option(help="bids, sto, csv or parquet.")],
    out: Annotated[Path | None, typer.Option(help="Where to write; SESSION/TO if absent.")] = None,
) -> None:
    """Turn a recorded session into files other programs read."""
    with _one_sentence():
        for file in export_session(session, to, out or session / to):
            typer.echo(f"{file}")


@app.command()
def model(
    path: Annotated[Path, typer.Argument(help="A model's folder or .onnx file.")],
) -> None:
    """Print what a model file says about itself."""
    with _one_sentence():
        print_spec(read_spec(path), model_file(path))


@app.command()
def doctor(
    source: SourceOption = None,
    model: Annotated[Path | None, typer.Option(help="A model's folder or .onnx file.")] = None,
    kinetics: Annotated[
        Path | None, typer.Option(help="A force model's folder or .onnx file.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose profile would be used.")] = None,
    config: Annotated[Path | None, typer.Option(help="A device's TOML.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Look for what would keep a session from running here; exit with 1 if there is something."""
    with _one_sentence():
        settings = load_config(
            config,
            needs_source=False,
            source=source or None,
            model=model,
            kinetics=kinetics,
            user=user,
        )
        checks = examine(settings)
    if as_json:
        typer.echo(checks_json(checks))
    else:
        print_checks(checks)
    raise typer.Exit(int(any_failed(checks)))


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
