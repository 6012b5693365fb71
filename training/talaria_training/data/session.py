"""``session.toml``: what a plain folder says about its own files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from talaria_bridge.errors import RecordingError
from talaria_bridge.samples import SLOTS
from talaria_edge.tables.motion import AngleUnit

SESSION_FILE = "session.toml"
Columns = tuple[str, str, str]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SensorFile(_Strict):
    """Where one sensor's numbers are: a file, and the columns in it."""

    file: str
    acc: Columns = ("acc_x", "acc_y", "acc_z")
    gyr: Columns = ("gyr_x", "gyr_y", "gyr_z")


class Session(_Strict):
    """One session, as its ``session.toml`` describes it."""

    rate_hz: Positive
    acc_unit: Literal["m/s^2", "g"]
    gyr_unit: Literal["rad/s", "deg/s"]
    sensors: dict[str, SensorFile] = Field(min_length=1)
    time_column: str = "time"
    time_unit: Literal["s", "ms", "us"] = "s"
    condition: str | None = None
    height_m: Annotated[float, Field(gt=0.5, lt=2.6)] | None = None
    mass_kg: Annotated[float, Field(gt=5, lt=400)] | None = None
    leg_m: Annotated[float, Field(gt=0.2, lt=1.6)] | None = None
    mounting: str = ""
    angles_unit: AngleUnit | None = None

    @model_validator(mode="after")
    def _known_slots(self) -> Self:
        unknown = sorted(set(self.sensors) - set(SLOTS))
        if unknown:
            raise ValueError(
                f"'{unknown[0]}' is no place for a sensor, use one of {', '.join(SLOTS)}"
            )
        return self

    @property
    def seconds_per_time_unit(self) -> float:
        """Factor from the time column to seconds."""
        return {"s": 1.0, "ms": 1e-3, "us": 1e-6}[self.time_unit]


def is_recorded(file: Path) -> bool:
    """Say whether a ``session.toml`` was written by the runtime and not by a person."""
    try:
        about = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False
    return "sensors" not in about and {"version", "source", "slots"} <= set(about)


def read_session(path: Path) -> Session:
    """Read a ``session.toml``.

    Raises
    ------
    RecordingError
        If it is no TOML, a key is unknown, missing or wrong; names the file and the key.
    """
    try:
        return Session.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise RecordingError(f"{path} cannot be read as TOML ({err}): correct it there.") from None
    except ValidationError as err:
        raise RecordingError(_first_fault(path, err)) from None


def _first_fault(path: Path, err: ValidationError) -> str:
    fault = err.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{path} has an unknown key '{key}': remove it or correct its spelling."
    if fault["type"] == "missing":
        return f"{path} lacks the key '{key}': add it, see training/README.md."
    what = fault["msg"].removeprefix("Value error, ")
    at = f"key '{key}': " if key else ""
    return f"{path} is wrong ({at}{what}): correct it, see training/README.md."
