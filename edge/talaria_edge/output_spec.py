"""What ``--sink`` and the ``sinks`` of a device's TOML may say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

from talaria_edge.dashboard.address import is_loopback

_LOOPBACK = "127.0.0.1"
_LEAST_TOKEN = 16
_FILES = ("csv", "mot", "grf")
FORMS = "csv:PATH, mot:PATH, grf:PATH, osc:HOST:PORT, ws:HOST:PORT or lsl:"


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """What one ``--sink`` asks for.

    Attributes
    ----------
    kind : str
        ``csv``, ``mot``, ``grf``, ``osc``, ``ws`` or ``lsl``.
    target : str
        A path, a host, or the name of a stream.
    port : int
    token : str or None
    """

    kind: str
    target: str
    port: int = 0
    token: str | None = None


def parse_output(text: str) -> OutputSpec:
    """Understand one ``--sink``.

    Raises
    ------
    ValueError
        With half a sentence on what is wrong.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in {*_FILES, "osc", "ws", "lsl"}:
        raise ValueError(f"{text!r} is no sink, write {FORMS}")
    if kind == "lsl":
        return OutputSpec(kind, rest or "Talaria")
    if kind in _FILES:
        if not rest:
            raise ValueError(f"{text!r} names no file")
        return OutputSpec(kind, rest)
    address, _, query = rest.partition("?")
    host, port = _address(address)
    if kind == "osc":
        if query:
            raise ValueError("osc: takes no options after a '?'")
        return OutputSpec(kind, host, port)
    return OutputSpec(kind, host, port, _token(host, query))


def beside(text: str, folder: Path) -> str:
    """Take a relative path in a sink as meant from a folder."""
    kind, _, rest = text.partition(":")
    if kind not in _FILES or not rest:
        return text
    return f"{kind}:{folder / Path(rest).expanduser()}"


def _address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        raise ValueError(f"{address!r} names no port from 1 to 65535")  # a token stays out of sight
    return host.strip("[]") or _LOOPBACK, int(port)


def _token(host: str, query: str) -> str | None:
    options = parse_qs(query, keep_blank_values=True)
    unknown = sorted(set(options) - {"token"})
    if unknown:
        raise ValueError(f"the option '{unknown[0]}' is unknown, ws: takes token= only")
    token = options["token"][0] if "token" in options else None
    if token is not None and len(token) < _LEAST_TOKEN:
        raise ValueError(f"the token has {len(token)} characters, {_LEAST_TOKEN} are the least")
    if token is None and not is_loopback(host):
        raise ValueError(
            f"{host} can be reached from other machines, so add ?token= and a secret of at least "
            f"{_LEAST_TOKEN} characters"
        )
    return token
