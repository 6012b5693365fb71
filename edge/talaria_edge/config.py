"""One TOML per device says what a session is; the command line may override it."""

from __future__ import annotations

import difflib
import secrets
import socket
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from talaria_bridge.errors import ConfigError
from talaria_bridge.samples import LEG_SLOTS, SLOTS
from talaria_edge.alignment import AlignmentParams
from talaria_edge.dashboard.address import is_loopback
from talaria_edge.output_spec import beside, parse_output


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AlignmentConfig(_Strict):
    """Patience of the common clock; see `AlignmentParams`."""

    max_wait_s: float = Field(default=AlignmentParams().max_wait_s, gt=0, le=1.0)
    max_hold_s: float = Field(default=AlignmentParams().max_hold_s, ge=0, le=1.0)
    max_bridge_s: float = Field(default=AlignmentParams().max_bridge_s, ge=0, le=1.0)

    def params(self) -> AlignmentParams:
        """Return the same as the stage wants it."""
        return AlignmentParams(**self.model_dump())


class DiskConfig(_Strict):
    """How much of the disk recordings may take.

    Attributes
    ----------
    keep_free_gb : float
        A recording is closed, and none is begun, while less than this is free; 1 GB is 1e9 bytes.
    max_gb : float or None
        Before a session, finished ones are removed, the oldest first, until the rest fits; None
        removes nothing.
    """

    keep_free_gb: float = Field(default=0.5, ge=0)
    max_gb: float | None = Field(default=None, gt=0)


class DashboardConfig(_Strict):
    """The page in the browser.

    Attributes
    ----------
    on : bool
    host : str
        Address to serve it on; by default only this machine can reach it.
    port : int
    token : str or None
        What a browser must know. Beyond this machine one is made up where none is given.
    """

    on: bool = False
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8765, ge=0, le=65535)
    token: str | None = Field(default=None, min_length=16, pattern=r"^[A-Za-z0-9._~-]+$")

    @model_validator(mode="before")
    @classmethod
    def _never_open(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("token") is None:
            host = data.get("host", "127.0.0.1")
            if isinstance(host, str) and not is_loopback(host):
                return {**data, "token": secrets.token_urlsafe(16)}
        return data

    @property
    def url(self) -> str:
        """What to open in a browser."""
        everywhere = self.host in {"0.0.0.0", "::"}
        host = socket.gethostname() if everywhere else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")


class Config(_Strict):
    """One session.

    Attributes
    ----------
    source : tuple of str
        What to read: ``serial:PORT``, ``tcp:HOST:PORT``, ``ble:FAMILY/ADDRESS``, ``replay:SESSION``
        or ``sim:``. One may be given as a plain string.
    sensors : dict of slot to str
        The same for one worn sensor each: its slot, and the source that speaks for it.
    model : Path or None
        A model's folder or ``.onnx`` file; None takes the one named in the user's profile.
    kinetics : Path or None
        A force model's folder or ``.onnx`` file; None gives angles alone.
    user : str or None
        Whose profile to use and to keep; None keeps nothing.
    mass_kg : float or None
        The wearer's, for forces in newtons; kept in the user's profile, and None takes the one there.
    rate_hz : float
        Rate of the common clock; must be the model's.
    slots : tuple of str
        The worn sensors, in the model's order.
    record_dir : Path or None
        Where session folders go; None records nothing.
    display : bool
        Whether to draw the live view.
    recalibrate : bool
        Calibrate although the profile holds a calibration.
    usual_gait : {"walking", "stiff_knee"}
        How the wearer walks while being calibrated: *walking* is their usual, unimpeded gait, beside
        which later strides are judged.
    seconds : float or None
        Stop after this much of the sensors' time.
    alignment : AlignmentConfig
    disk : DiskConfig
    metrics : str or None
        ``HOST:PORT`` to answer ``/metrics`` and ``/healthz`` on; a port alone means this machine
        only. None answers nobody.
    dashboard : DashboardConfig
    sinks : tuple of str
        Where gait states go beside the recording; see `talaria_edge.output_spec`.
    """

    source: tuple[str, ...] = ()
    sensors: dict[str, str] = Field(default_factory=dict)
    model: Path | None = None
    kinetics: Path | None = None
    user: str | None = None
    mass_kg: float | None = Field(default=None, gt=10, le=400)
    rate_hz: float = Field(default=100.0, gt=0, le=1000)
    slots: tuple[str, ...] = LEG_SLOTS
    record_dir: Path | None = Path("sessions")
    display: bool = True
    recalibrate: bool = False
    usual_gait: Literal["walking", "stiff_knee"] = "walking"
    seconds: float | None = Field(default=None, gt=0)
    alignment: AlignmentConfig = AlignmentConfig()
    disk: DiskConfig = DiskConfig()
    metrics: str | None = None
    dashboard: DashboardConfig = DashboardConfig()
    sinks: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source, with the slot of those that are worn as one sensor each."""
        worn = (
            f"{spec}{'&' if '?' in spec else '?'}slot={slot}" for slot, spec in self.sensors.items()
        )
        return (*self.source, *worn)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of `metrics`."""
        if self.metrics is None:
            return None
        host, _, port = self.metrics.rpartition(":")
        return host.strip("[]") or "127.0.0.1", int(port)

    @field_validator("metrics", mode="before")
    @classmethod
    def _known_address(cls, value: Any) -> Any:
        if value is False or value is None:
            return None
        text = str(value)
        host, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdigit() and int(port) <= 65535) or "/" in host:
            raise ValueError("write host:port, a port, or false")
        return text

    @field_validator("sinks")
    @classmethod
    def _known_sinks(cls, sinks: tuple[str, ...]) -> tuple[str, ...]:
        for text in sinks:
            parse_output(text)
        return sinks

    @field_validator("source", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("sensors")
    @classmethod
    def _known_places(cls, sensors: dict[str, str]) -> dict[str, str]:
        unknown = [slot for slot in sensors if slot not in SLOTS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not one of {', '.join(SLOTS)}")
        return sensors

    @field_validator("slots")
    @classmethod
    def _known_slots(cls, slots: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [slot for slot in slots if slot not in SLOTS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not one of {', '.join(SLOTS)}")
        if not slots or len(set(slots)) != len(slots):
            raise ValueError("name at least one slot, and none twice")
        return slots

    @field_validator("record_dir", mode="before")
    @classmethod
    def _no_recording(cls, value: Any) -> Any:
        # TOML has no null, so false says that nothing is to be recorded.
        return None if value is False else value


_TABLES: dict[str, type[BaseModel]] = {
    "alignment": AlignmentConfig,
    "disk": DiskConfig,
    "dashboard": DashboardConfig,
}


def load_config(path: Path | None, *, needs_source: bool = True, **overrides: Any) -> Config:
    """Read a device's TOML and lay the command line's options over it.

    Parameters
    ----------
    path : Path or None
        None when the options say everything. Relative paths in the file are meant from its folder.
    needs_source : bool
        Whether to refuse a configuration that names no source.
    **overrides
        Fields of `Config`; None means that the option was not given.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key or value in it or in the options is wrong.
    """
    data = {} if path is None else _read(path)
    where = "the options" if path is None else str(path)
    _check_keys(data, where)
    given = {key: value for key, value in overrides.items() if value is not None}
    if "source" in given:
        data.pop("sensors", None)  # the command line names the whole of what to read, or nothing
    if "dashboard" in given:
        given["dashboard"] = {**data.get("dashboard", {}), **given["dashboard"]}
    data |= given
    if needs_source and not data.get("source") and not data.get("sensors"):
        raise ConfigError(
            f"No source of samples is named in {where}: give --source serial:PORT, "
            "ble:FAMILY/ADDRESS?slot=SLOT, replay:SESSION or sim:."
        )
    try:
        return Config.model_validate(data)
    except ValidationError as err:
        first = err.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        value = (
            "..." if "token" in f"{key}{first['input']}" else repr(first["input"])
        )  # a secret stays one
        raise ConfigError(
            f"{key} = {value} in {where} is wrong ({first['msg']}): change it and start again."
        ) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(
            f"The configuration {path} cannot be read ({err.strerror}): give --config a TOML file "
            "like edge/deploy/example.toml."
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise ConfigError(
            f"The configuration {path} is not TOML ({err}): mend that line."
        ) from None
    for key in ("model", "kinetics", "record_dir"):
        if isinstance(data.get(key), str):
            data[key] = path.parent / Path(data[key]).expanduser()
    if isinstance(data.get("sinks"), list):
        data["sinks"] = [beside(s, path.parent) if isinstance(s, str) else s for s in data["sinks"]]
    return data


def _check_keys(data: dict[str, Any], where: str) -> None:
    """Refuse unknown keys here, because pydantic cannot say which key was meant."""
    levels: list[tuple[dict[str, Any], type[BaseModel], str]] = [(data, Config, "")]
    for table, model in _TABLES.items():
        if isinstance(data.get(table), dict):
            levels.append((data[table], model, f"{table}."))
    for keys, level, prefix in levels:
        for key in keys:
            if key in level.model_fields:
                continue
            near = difflib.get_close_matches(key, level.model_fields, n=1)
            fix = f"did you mean '{near[0]}'?" if near else "remove it."
            known = "" if near else f" (known: {', '.join(level.model_fields)})"
            raise ConfigError(f"Unknown key '{prefix}{key}' in {where}{known}: {fix}")
