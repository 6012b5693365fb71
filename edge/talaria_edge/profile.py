"""What is kept of a wearer between sessions: one readable TOML file per name."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from talaria_bridge.errors import CalibrationError, ConfigError
from talaria_edge.calibration import Calibration
from talaria_edge.calibration_walk import CalibrationWalk
from talaria_edge.toml_out import write_toml

PROFILE_VERSION = 4
_READABLE = (1, 2, 3, PROFILE_VERSION)
"""Version 1 had neither a grade nor a checksum, version 2 nothing of the calibration's walk, and version 3 no
mass; they are read as they are and written anew as the newest."""
HOME_VARIABLE = "TALARIA_HOME"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TABLES = ("calibration", "grade", "walk")
_KEYS = {"version", "name", "saved", "session", "session_sha256", "model", "mass_kg", *_TABLES}
_TEXTS = ("session", "session_sha256", "saved", "model")


@dataclass(frozen=True, slots=True)
class CalibrationOrigin:
    """What a stored calibration came from and how good it was.

    Attributes
    ----------
    session_sha256 : str or None
        Checksum of the session's ``session.mcap``, in hexadecimal; None where nothing was recorded.
    grade : mapping
        ``overall``, ``findings``, and per slot ``grade`` and ``reasons``; see
        `talaria_edge.grading.CalibrationReport.to_dict`.
    """

    session_sha256: str | None
    grade: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UserProfile:
    """One wearer.

    Attributes
    ----------
    name : str
        Letters, digits, ``-`` and ``_``.
    calibration : Calibration or None
        How the sensors sat when it was saved; it holds until they are taken off.
    model : Path or None
        A personal model, used when none is named.
    session : str or None
        The recording the calibration came from.
    saved : str or None
        When, in ISO 8601.
    origin : CalibrationOrigin or None
        None where the calibration was never graded.
    walk : CalibrationWalk or None
        What the calibration's walk told beside the axes; None in older profiles.
    mass_kg : float or None
        What turns body weights into newtons; None until somebody says it.
    """

    name: str
    calibration: Calibration | None = None
    model: Path | None = None
    session: str | None = None
    saved: str | None = None
    origin: CalibrationOrigin | None = None
    walk: CalibrationWalk | None = None
    mass_kg: float | None = None

    def calibrated(
        self,
        calibration: Calibration | None,
        session: Path | None,
        origin: CalibrationOrigin,
        walk: CalibrationWalk | None,
    ) -> UserProfile:
        """Return the same wearer with another calibration, as of now, from this session's folder."""
        return replace(
            self,
            calibration=calibration,
            session=None if session is None else str(session),
            saved=datetime.now().astimezone().isoformat(timespec="seconds"),
            origin=origin,
            walk=walk,
        )


def talaria_home() -> Path:
    """Where profiles live: ``$TALARIA_HOME``, else ``~/.local/share/talaria``."""
    named = os.environ.get(HOME_VARIABLE)
    return Path(named) if named else Path.home() / ".local" / "share" / "talaria"


def profile_path(name: str, home: Path | None = None) -> Path:
    """Return the file of a user's profile, whether or not it exists.

    Raises
    ------
    ConfigError
        If the name could not be a file's name.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be a user's name because it becomes a file name: use letters, "
            "digits, '-' and '_' only."
        )
    return (home or talaria_home()) / "users" / f"{name}.toml"


def load_profile(name: str, home: Path | None = None) -> UserProfile:
    """Read a user's profile; a user never seen before has an empty one.

    Raises
    ------
    ConfigError
        If the name is impossible, or the file is not a profile this version can read.
    CalibrationError
        If the calibration in it, or what it keeps of its walk, is damaged.
    """
    path = profile_path(name, home)
    if not path.exists():
        return UserProfile(name)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise ConfigError(
            f"The profile {path} cannot be read ({err}): mend it, or delete it and calibrate again."
        ) from None
    _check(data, path)
    calibration, walked = data.get("calibration"), data.get("walk")
    try:
        found = None if calibration is None else Calibration.from_dict(calibration)
        walk = None if walked is None else CalibrationWalk.from_dict(walked)
    except CalibrationError as err:
        raise CalibrationError(f"{path}: {err}") from None
    model, grade = data.get("model"), data.get("grade")
    return UserProfile(
        name,
        found,
        None if model is None else path.parent / model,
        data.get("session"),
        data.get("saved"),
        None if grade is None else CalibrationOrigin(data.get("session_sha256"), grade),
        walk,
        data.get("mass_kg"),
    )


def save_profile(profile: UserProfile, home: Path | None = None) -> Path:
    """Write a user's profile, replacing the old one in one move; return its path.

    Raises
    ------
    ConfigError
        If the name is impossible or the file cannot be written.
    """
    path = profile_path(profile.name, home)
    calibration, origin = profile.calibration, profile.origin
    data = {
        "version": PROFILE_VERSION,
        "name": profile.name,
        "saved": profile.saved,
        "session": profile.session,
        "session_sha256": None if origin is None else origin.session_sha256,
        "model": None if profile.model is None else profile.model.absolute(),
        "mass_kg": profile.mass_kg,
        "grade": None if origin is None else origin.grade,
        "calibration": None if calibration is None else calibration.to_dict(),
        "walk": None if profile.walk is None else profile.walk.to_dict(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_toml(path, data)
    except OSError as err:
        raise ConfigError(
            f"The profile {path} cannot be written ({err}): free the disk, or set {HOME_VARIABLE} "
            "to a folder you may write to."
        ) from None
    return path


def _check(data: dict[str, Any], path: Path) -> None:
    if data.get("version") not in _READABLE:
        raise ConfigError(
            f"The profile {path} has version {data.get('version')!r} and this Talaria reads "
            f"versions {_READABLE[0]} to {PROFILE_VERSION}: delete it and calibrate again."
        )
    unknown = sorted(set(data) - _KEYS)
    if unknown:
        raise ConfigError(
            f"The profile {path} has the unknown key '{unknown[0]}': remove it, or delete the "
            "profile and calibrate again."
        )
    if not all(isinstance(data.get(key, ""), str) for key in _TEXTS):
        raise ConfigError(
            f"The profile {path} has a session, checksum, saved or model that is not text: mend it, or "
            "delete it and calibrate again."
        )
    mass_kg = data.get("mass_kg", 1.0)
    if not isinstance(mass_kg, int | float) or not mass_kg > 0:
        raise ConfigError(
            f"The profile {path} has a mass_kg = {mass_kg!r} that is no mass: mend it, or delete the line."
        )
    for key in _TABLES:
        if not isinstance(data.get(key, {}), dict):
            raise ConfigError(
                f"The profile {path} has a {key} that is not a table: delete it and calibrate again."
            )
