"""The sinks a session can be told to feed: ``csv:``, ``mot:``, ``grf:``, ``osc:``, ``ws:``, ``lsl:``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from talaria_bridge.errors import ConfigError
from talaria_edge.output_spec import OutputSpec, parse_output
from talaria_edge.pipeline import GaitState
from talaria_edge.sinks import Sink
from talaria_edge.sinks.background import Background
from talaria_edge.sinks.message import Stream
from talaria_edge.sinks.opensim import MotWriter
from talaria_edge.summary import OutputReport


class Output(Sink, Protocol):
    """A sink that says how it fared."""

    name: str
    trouble: str

    @property
    def dropped(self) -> int:
        """States (or messages) that its consumer never got."""


def open_outputs(specs: Sequence[str], stream: Stream) -> list[Output]:
    """Open every sink asked for; if one cannot be, none is left open.

    Raises
    ------
    ConfigError, RecordingError
        One sentence on the first that cannot be opened.
    """
    opened: list[Output] = []
    try:
        for text in specs:
            opened.append(_open(parse_output(text), stream))  # noqa: PERF401  closed if one fails
    except BaseException:
        for output in opened:
            output.close()
        raise
    return opened


def close_outputs(outputs: Sequence[Output]) -> tuple[OutputReport, ...]:
    """Finish every sink, and say what became of it."""
    for output in outputs:
        output.close()
    return tuple(OutputReport(o.name, o.dropped, o.trouble) for o in outputs)


def _open(spec: OutputSpec, stream: Stream) -> Output:
    openers: dict[str, Callable[[OutputSpec, Stream], Output]] = {
        "csv": _open_csv,
        "mot": _open_mot,
        "grf": _open_grf,
        "osc": _open_osc,
        "ws": _open_ws,
        "lsl": _open_lsl,
    }
    return openers[spec.kind](spec, stream)


def _open_csv(spec: OutputSpec, stream: Stream) -> Output:
    from talaria_edge.sinks.csv_table import CsvTable  # noqa: PLC0415  only who asks pays for it

    path = _unused(Path(spec.target))
    return Background(f"csv:{path}", CsvTable(path, stream.names, stream.forces, stream.moments))


def _open_mot(spec: OutputSpec, stream: Stream) -> Output:
    path = _unused(Path(spec.target))
    return Background(f"mot:{path}", _MotSink(path, stream.names))


def _open_grf(spec: OutputSpec, stream: Stream) -> Output:
    from talaria_edge.sinks.external_loads import ExternalLoadsSink  # noqa: PLC0415

    if not stream.forces:
        raise ConfigError(
            "The sink grf: writes forces and this session has no force model: name one after --kinetics."
        )
    if stream.mass_kg is None:
        raise ConfigError(
            "The sink grf: writes newtons and the wearer's mass is not known: give --mass-kg, once, and the "
            "user's profile keeps it."
        )
    path = _unused(Path(spec.target))
    return Background(f"grf:{path}", ExternalLoadsSink(path, stream.mass_kg))


def _open_osc(spec: OutputSpec, _: Stream) -> Output:
    from talaria_edge.sinks.osc import OscSender  # noqa: PLC0415

    return OscSender(spec.target, spec.port)


def _open_ws(spec: OutputSpec, stream: Stream) -> Output:
    from talaria_edge.sinks.websocket import WebSocketServer  # noqa: PLC0415

    return WebSocketServer(spec.target, spec.port, stream, spec.token)


def _open_lsl(spec: OutputSpec, stream: Stream) -> Output:
    from talaria_edge.sinks.lsl import LslOutlet  # noqa: PLC0415

    return LslOutlet(spec.target, stream)


class _MotSink:
    """A motion file whose time begins with the first state."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._file = MotWriter(path, names)
        self._t0_s: float | None = None

    def show(self, state: GaitState) -> None:
        if self._t0_s is None:
            self._t0_s = state.t_s
        self._file.write(state.t_s - self._t0_s, state.angles_rad)

    def close(self) -> None:
        self._file.close()


def _unused(path: Path) -> Path:
    """Find a name nothing has yet: a service that starts anew must not wipe what it wrote before."""
    path = path.expanduser()
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: name a file in it.")
    for number in range(1, 10_000):
        free = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        if not free.exists():
            return free
    raise ConfigError(f"{path} and 9999 numbered ones after it exist: name another file.")
