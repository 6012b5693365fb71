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
    *,
    display: bool,
    sinks: tuple[str, ...] = (),
) -> tuple[Config, Calibration | None]:
    """Read how a session was run.

    Parameters
    ----------
    folder : Path
        Session folder.
    model : Path or None
        Another model than the one it was run with.
    pace : {"real", "fast"}
    display : bool
    sinks : tuple of str
        Where the states go.

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
    known = about.get("model", {}).get("path")
    calibration = None
    if "calibration" in about and not about.get("calibrated_live", False):
        calibration = Calibration.from_dict(about["calibration"])
    config = load_config(
        None,
        source=f"replay:{folder}?pace={pace}",
        model=model or (None if known is None else Path(known)),
        rate_hz=about.get("rate_hz"),
        slots=tuple(about["slots"]) if "slots" in about else None,
        alignment=about.get("alignment"),
        usual_gait=about.get("usual_gait"),
        record_dir=False,
        display=display,
        sinks=sinks,
    )
    return config, calibration


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
