"""A recorded session once more: the same bytes, model and calibration, so the same gait states."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from talaria_bridge.errors import RecordingError
from talaria_edge.calibration import Calibration
from talaria_edge.calibration_walk import CalibrationWalk
from talaria_edge.config import Config, load_config
from talaria_edge.sinks.recording import SESSION_FILE


def config_of(
    folder: Path,
    model: Path | None,
    pace: Literal["real", "fast"],
    **more: Any,
) -> tuple[Config, Calibration | None]:
    """Read how a session was run.

    Parameters
    ----------
    folder : Path
        Session folder.
    model : Path or None
        Another model than the one it was run with.
    pace : {"real", "fast"}
    **more
        Further fields of `Config`, such as ``display`` and ``sinks``, over those of the session; None
        means that the option was not given.

    Returns
    -------
    Config
        What to run; records nothing, and knows no user, so that no profile is touched.
    Calibration or None
        The one it began with; None where it calibrated itself on the way, as the replay then will.

    Raises
    ------
    RecordingError
        If the folder holds no session.
    ConfigError
        If no model is named and the session was recorded without one.
    """
    about = _read(folder / SESSION_FILE)
    known, forces = (about.get(key, {}).get("path") for key in ("model", "kinetics"))
    calibration = None
    if "calibration" in about and not about.get("calibrated_live", False):
        calibration = Calibration.from_dict(about["calibration"])
    fields: dict[str, Any] = {
        "source": f"replay:{folder}?pace={pace}",
        "model": model or (None if known is None else Path(known)),
        "kinetics": None if forces is None else Path(forces),
        "mass_kg": about.get("mass_kg"),
        "rate_hz": about.get("rate_hz"),
        "slots": tuple(about["slots"]) if "slots" in about else None,
        "alignment": about.get("alignment"),
        "usual_gait": about.get("usual_gait"),
        "record_dir": False,
    }
    given = {key: value for key, value in more.items() if value is not None}
    return load_config(None, **(fields | given)), calibration


def walk_of(folder: Path) -> CalibrationWalk | None:
    """Read what a session knew of the walk it was calibrated by; None if nothing.

    Raises
    ------
    RecordingError
        If the folder holds no session.
    CalibrationError
        If that part of it is damaged.
    """
    walk = _read(folder / SESSION_FILE).get("walk")
    return None if walk is None else CalibrationWalk.from_dict(walk)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as err:
        raise RecordingError(
            f"{file.parent} holds no session ({err.strerror} for {file.name}): give a folder that "
            "'talaria run' or 'talaria record' made."
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise RecordingError(
            f"{file} is damaged ({err}): replay its recording with 'talaria run --source "
            f"replay:{file.parent} --model MODEL'."
        ) from None
