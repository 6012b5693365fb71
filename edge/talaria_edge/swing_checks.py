"""Each leg swung by itself: the one test of sides that leaves no doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from talaria_edge.findings import Finding, Grade, Symptom

FloatArray = NDArray[np.float64]

_NAMES = {"r": "right", "l": "left"}
_TIMES = 1.5
"""A leg that is swung turns by so much more than the one that is stood on."""


def examine_swings(slots: Sequence[str], swings: Mapping[str, FloatArray]) -> list[Finding]:
    """Tell from which sensors moved when each leg was swung whether their sides are right.

    Parameters
    ----------
    slots : sequence of str
    swings : mapping of side to ndarray, shape (T, S, 3)
        Rates of turn while that leg (``"r"``, ``"l"``) was swung and the other stood; any frame.

    Returns
    -------
    list of Finding
        Empty where each sensor moved most with the leg of its name.
    """
    size = {side: np.sqrt((rates**2).sum(axis=2).mean(axis=0)) for side, rates in swings.items()}
    wrong, unclear = [], []
    for i, slot in enumerate(slots):
        own, other = size[slot[-1]][i], size["l" if slot.endswith("r") else "r"][i]
        if other > _TIMES * own:
            wrong.append(slot)
        elif own <= _TIMES * other:
            unclear.append(slot)
    found = []
    if wrong:
        thighs = any(slot.startswith("femur") for slot in wrong)
        feet = any(slot.startswith("calcn") for slot in wrong)
        symptom = Symptom.SWAPPED_THIGHS if not feet else Symptom.SWAPPED_FEET
        found.append(
            Finding(
                Symptom.SWAPPED_LEGS if thighs and feet else symptom,
                tuple(wrong),
                Grade.F,
                f"{', '.join(wrong)} moved when the other leg was swung.",
                "Exchange them between right and left, then calibrate again.",
            )
        )
    if unclear:
        found.append(
            Finding(
                Symptom.SIDES_UNSURE,
                tuple(unclear),
                Grade.C,
                f"{', '.join(unclear)} moved as much with one leg's swing as with the other's.",
                "Swing one leg at a time, with the other standing still.",
            )
        )
    return found
