"""By what a generative model's intervals are widened, so that they hold the truth of people it has not seen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.generate.motion import CHANNELS
from talaria_edge.kinematics import SIDES
from talaria_training.generate.judge import FillRow, ForceFillRow
from talaria_training.intervals import LEVEL, factor

Scores = Mapping[str, Mapping[str, NDArray[np.float64]]]
"""Errors over half-widths, by what (a channel without its side) and person."""
_FEWEST = 3


def intervals(fills: Sequence[FillRow], forces: Sequence[ForceFillRow]) -> list[dict[str, Any]]:
    """Measure intervals on each person with factors from the others; needs three people or more.

    Returns
    -------
    list of dict
        Per ``what``, both sides pooled: ``people``; ``own``, the share that the draws' own intervals held;
        ``held`` and ``worst``, of the widened ones, on average and of one person; ``factor`` for a further one.
    """
    found = []
    for what, people in _scores(fills, forces).items():
        if len(people) < _FEWEST:
            continue
        held = []
        for person, mine in people.items():
            others = [scores for other, scores in people.items() if other != person]
            held.append(float((mine <= factor(others)).mean()))
        each = list(people.values())
        found.append(
            {
                "what": what,
                "level": LEVEL,
                "people": len(people),
                "own": float(np.mean([(scores <= 1.0).mean() for scores in each])),
                "held": float(np.mean(held)),
                "worst": min(held),
                "factor": factor(each),
            }
        )
    return found


def widening_of(report: Path) -> dict[str, float]:
    """Read the factors of every channel from a report of ``generate evaluate``.

    Raises
    ------
    RecordingError
        If it is none.
    """
    try:
        rows = json.loads(report.read_text(encoding="utf-8"))["intervals"]
        known = {str(row["what"]): float(row["factor"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordingError(
            f"{report} is no report of 'talaria-train generate evaluate' ({error!r:.80}): give the file that "
            "its --json wrote."
        ) from None
    return {name: known[what] for name in CHANNELS if (what := _sideless(name)) in known}


def _scores(fills: Sequence[FillRow], forces: Sequence[ForceFillRow]) -> Scores:
    gathered: dict[str, dict[str, list[float]]] = {}
    for row in fills:
        gathered.setdefault(_sideless(row.channel), {}).setdefault(row.person, []).extend(
            row.scores
        )
    for told in forces:
        gathered.setdefault(f"grf_{told.axis}", {}).setdefault(told.person, []).extend(told.scores)
    return {
        what: {person: np.array(scores) for person, scores in people.items() if scores}
        for what, people in gathered.items()
    }


def _sideless(channel: str) -> str:
    return channel[:-2] if channel[-2:] in [f"_{side}" for side in SIDES] else channel
