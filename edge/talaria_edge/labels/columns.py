"""What a column of somebody's motion file means: which angle, of which sign, in which unit.

OpenSim's names pass as they are. Beside them come the habits of mocap exports: ``RKneeAngles_X``,
``right_knee_flexion (deg)``, ``/jointset/hip_r/hip_flexion_r/value``. A column with a word that is
not understood is left alone, because half a guess would be a label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from talaria_edge.tables.motion import AngleUnit

_SIDES = {"r": "r", "right": "r", "l": "l", "left": "l"}
_FILLERS = frozenset({"angle", "angles", "joint"})
# Plug-in Gait's X, Y, Z are flexion, adduction and internal rotation, each positive.
_FLEXION = {"flexion": 1.0, "flex": 1.0, "extension": -1.0, "x": 1.0}
_WORDS: dict[str, dict[str, dict[str, float]]] = {
    "hip": {
        "hip_flexion": _FLEXION,
        "hip_adduction": {"adduction": 1.0, "abduction": -1.0, "y": 1.0},
        "hip_rotation": {"rotation": 1.0, "internal": 1.0, "external": -1.0, "z": 1.0},
    },
    "knee": {"knee_angle": _FLEXION},
    "ankle": {"ankle_angle": {"dorsiflexion": 1.0, "plantarflexion": -1.0, **_FLEXION}},
}
_DEFAULT = {"knee": "knee_angle", "ankle": "ankle_angle"}
"""What a joint's angle is when no movement is named."""
_UNIT = re.compile(r"[\s_]*[\[(]?(?<![a-z])(deg|degrees|°|rad|radians)[\])]?\s*$", re.IGNORECASE)
_TIME = re.compile(
    r"(?:time|t|timestamp)(?:[\s_]*[\[(]?(s|sec|seconds|ms|us)[\])]?)?", re.IGNORECASE
)
_TIME_UNITS = {"ms": 1e-3, "us": 1e-6}


@dataclass(frozen=True, slots=True)
class AngleColumn:
    """One column understood.

    Attributes
    ----------
    name : str
        OpenSim coordinate, such as ``knee_angle_r``.
    sign : float
        -1.0 where the column counts the other way round.
    unit : {"deg", "rad"} or None
        As the column's own name says.
    """

    name: str
    sign: float
    unit: AngleUnit | None


def read_column(label: str) -> AngleColumn | None:
    """Understand a column's label, or return None for one that is no angle of hip, knee or ankle."""
    text, unit = _split_unit(_coordinate(label))
    words = _words(text)
    sides = {_SIDES[word] for word in words if word in _SIDES}
    joints = [word for word in words if word in _WORDS]
    if len(sides) != 1 or len(joints) != 1:
        return None
    rest = [w for w in words if w not in _SIDES and w not in _WORDS and w not in _FILLERS]
    found = _movement(joints[0], rest)
    if found is None:
        return None
    name, sign = found
    return AngleColumn(f"{name}_{sides.pop()}", sign, unit)


def read_time(label: str) -> float | None:
    """Return the factor from a time column's values to seconds, or None if it is no time column."""
    match = _TIME.fullmatch(label.strip())
    return None if match is None else _TIME_UNITS.get((match[1] or "s").casefold(), 1.0)


def _coordinate(label: str) -> str:
    """Take the coordinate's name out of an OpenSim state path; its speed is no angle."""
    parts = label.strip().split("/")
    if len(parts) < 3:
        return label.strip()
    return parts[-2] if parts[-1] == "value" else ""


def _split_unit(label: str) -> tuple[str, AngleUnit | None]:
    match = _UNIT.search(label)
    if match is None:
        return label, None
    unit: AngleUnit = "rad" if match[1].casefold().startswith("rad") else "deg"
    return label[: match.start()], unit


def _words(text: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    spaced = re.sub(r"\b([RLrl])(?=(?:hip|knee|ankle))", r"\1 ", spaced, flags=re.IGNORECASE)
    return [word.casefold() for word in re.split(r"[\s_./:-]+", spaced) if word]


def _movement(joint: str, words: list[str]) -> tuple[str, float] | None:
    """Say which angle the remaining words name, and its sign; None if one is not understood."""
    if not words:
        return (_DEFAULT[joint], 1.0) if joint in _DEFAULT else None
    for name, signs in _WORDS[joint].items():
        if all(word in signs for word in words):
            # "external rotation" is negative, but "flexion/extension" is flexion, as everywhere.
            both = "flexion" in words and "extension" in words
            return name, 1.0 if both else min(signs[word] for word in words)
    return None
