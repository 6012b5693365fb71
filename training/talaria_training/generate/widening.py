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

Scores = Mapping[tuple[str, str], Mapping[str, NDArray[np.float64]]]
"""Errors over half-widths, by what (a channel without its side), who told it, and person."""
_FEWEST = 3


def intervals(fills: Sequence[FillRow], forces: Sequence[ForceFillRow]) -> list[dict[str, Any]]:
    """Measure intervals on each person with factors from the others; needs three people or more.

    Returns
    -------
    list of dict
        Per ``what`` and ``approach`` (``model`` or ``refined``), both sides pooled: ``people``; ``own``, the
        share that the draws' own intervals held; ``held`` and ``worst``, of the widened ones, on average and of
        one person; ``factor`` for a further one.
    """
    found = []
    for (what, approach), people in _scores(fills, forces).items():
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
                "approach": approach,
                "level": LEVEL,
                "people": len(people),
                "own": float(np.mean([(scores <= 1.0).mean() for scores in each])),
                "held": float(np.mean(held)),
                "worst": min(held),
                "factor": factor(each),
            }
        )
    return found


def widening_of(report: Path, approach: str = "model") -> dict[str, float]:
    """Read the factors of every channel from a report of ``generate evaluate``.

    Parameters
    ----------
    report : Path
    approach : str
        ``model`` for what is drawn, ``refined`` for forces that a network tells from the draws.

    Raises
    ------
    RecordingError
        If it is none.
    """
    try:
        rows = json.loads(report.read_text(encoding="utf-8"))["intervals"]
        known = {
            str(row["what"]): float(row["factor"])
            for row in rows
            # Reports from before there was a network of forces speak of draws alone.
            if row.get("approach", "model") == approach
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordingError(
            f"{report} is no report of 'talaria-train generate evaluate' ({error!r:.80}): give the file that "
            "its --json wrote."
        ) from None
    return {name: known[what] for name in CHANNELS if (what := _sideless(name)) in known}


def _scores(fills: Sequence[FillRow], forces: Sequence[ForceFillRow]) -> Scores:
    gathered: dict[tuple[str, str], dict[str, list[float]]] = {}
    rows: list[tuple[str, FillRow | ForceFillRow]]
    rows = [(_sideless(row.channel), row) for row in fills]
    rows += [(f"grf_{row.axis}", row) for row in forces]
    for what, row in rows:
        people = gathered.setdefault((what, row.approach), {})
        people.setdefault(row.person, []).extend(row.scores)
    return {
        at: known
        for at, people in gathered.items()
        if (known := {who: np.array(scores) for who, scores in people.items() if scores})
    }


def _sideless(channel: str) -> str:
    return channel[:-2] if channel[-2:] in [f"_{side}" for side in SIDES] else channel
