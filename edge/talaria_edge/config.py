"""One TOML per device says what a session is; the command line may override it."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from talaria_bridge.errors import ConfigError
from talaria_bridge.samples import LEG_SLOTS, SLOTS
from talaria_edge.alignment import AlignmentParams


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
    user : str or None
        Whose profile to use and to keep; None keeps nothing.
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
    seconds : float or None
        Stop after this much of the sensors' time.
    alignment : AlignmentConfig
    """

    source: tuple[str, ...] = ()
    sensors: dict[str, str] = Field(default_factory=dict)
    model: Path | None = None
    user: str | None = None
    rate_hz: float = Field(default=100.0, gt=0, le=1000)
    slots: tuple[str, ...] = LEG_SLOTS
    record_dir: Path | None = Path("sessions")
    display: bool = True
    recalibrate: bool = False
    seconds: float | None = Field(default=None, gt=0)
    alignment: AlignmentConfig = AlignmentConfig()

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source, with the slot of those that are worn as one sensor each."""
        worn = (
            f"{spec}{'&' if '?' in spec else '?'}slot={slot}" for slot, spec in self.sensors.items()
        )
        return (*self.source, *worn)

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


def load_config(path: Path | None, **overrides: Any) -> Config:
    """Read a device's TOML and lay the command line's options over it.

    Parameters
    ----------
    path : Path or None
        None when the options say everything. Relative paths in the file are meant from its folder.
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
    data |= given
    if not data.get("source") and not data.get("sensors"):
        raise ConfigError(
            f"No source of samples is named in {where}: give --source serial:PORT, "
            "ble:FAMILY/ADDRESS?slot=SLOT, replay:SESSION or sim:."
        )
    try:
        return Config.model_validate(data)
    except ValidationError as err:
        first = err.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{key} = {first['input']!r} in {where} is wrong ({first['msg']}): change it and start "
            "again."
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
    for key in ("model", "record_dir"):
        if isinstance(data.get(key), str):
            data[key] = path.parent / Path(data[key]).expanduser()
    return data


def _check_keys(data: dict[str, Any], where: str) -> None:
    """Refuse unknown keys here, because pydantic cannot say which key was meant."""
    levels: list[tuple[dict[str, Any], type[BaseModel], str]] = [(data, Config, "")]
    if isinstance(data.get("alignment"), dict):
        levels.append((data["alignment"], AlignmentConfig, "alignment."))
    for table, model, prefix in levels:
        for key in table:
            if key in model.model_fields:
                continue
            near = difflib.get_close_matches(key, model.model_fields, n=1)
            fix = f"did you mean '{near[0]}'?" if near else "remove it."
            known = "" if near else f" (known: {', '.join(model.model_fields)})"
            raise ConfigError(f"Unknown key '{prefix}{key}' in {where}{known}: {fix}")
