"""Where other people's sensors sit, in their words, as one of our slots."""

from __future__ import annotations

import re

_SEGMENTS = {
    "torso": ("torso", "trunk", "thorax", "chest", "sternum", "upperback"),
    "pelvis": ("pelvis", "sacrum", "lowerback", "waist", "lumbar", "l5", "hips"),
    "femur": ("femur", "thigh", "upperleg", "upleg"),
    "tibia": ("tibia", "shank", "lowerleg", "shin", "calf"),
    "calcn": ("calcn", "foot", "calcaneus", "heel", "toe", "toes", "shoe", "instep"),
}
_SIDED = ("femur", "tibia", "calcn")
_SIDES = {"r": "r", "right": "r", "l": "l", "left": "l"}
_FILLERS = frozenset({"imu", "sensor", "offset", "body", "segment", "mtw", "dot"})

KNOWN = "left_foot, right_thigh, shank_l, pelvis, sternum"
"""Examples for messages."""


def slot_of(words: str) -> str | None:
    """Return the slot that a name of a place means, or None if it is none or not clear.

    Parameters
    ----------
    words : str
        Such as ``left_thigh``, ``RightFoot``, ``femur_r_imu``, ``LowerBack`` or ``shank L``. A word that
        is not understood makes the whole name not understood: half a guess would be a label.
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", words)
    parts = [part for part in re.split(r"[^a-z0-9]+", spaced.casefold()) if part]
    sides = {_SIDES[part] for part in parts if part in _SIDES}
    rest = [part for part in parts if part not in _SIDES and part not in _FILLERS]
    if len(rest) == 1 and not sides and rest[0] not in _all_words():
        sides, rest = _glued(rest[0])
    segments = [s for s, names in _SEGMENTS.items() if "".join(rest) in names]
    if len(segments) != 1 or len(sides) > 1:
        return None
    segment = segments[0]
    if segment in _SIDED:
        return f"{segment}_{sides.pop()}" if sides else None
    return None if sides else segment


def _all_words() -> set[str]:
    return {word for names in _SEGMENTS.values() for word in names}


def _glued(word: str) -> tuple[set[str], list[str]]:
    """Split a side off the front, as in ``rfoot`` or ``leftthigh``."""
    for side in sorted(_SIDES, key=len, reverse=True):
        if word.startswith(side) and word[len(side) :] in _all_words():
            return {_SIDES[side]}, [word[len(side) :]]
    return set(), [word]
