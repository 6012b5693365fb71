"""A comparison of a person with a group as plain numbers and sentences, for the page and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from talaria_training.explain.against import words
from talaria_training.explain.against.band import LEVEL, Held, Span
from talaria_training.explain.against.compare import compare
from talaria_training.explain.plain import plain
from talaria_training.strides.table import Channel, StrideTable


def document(person: StrideTable, group: StrideTable) -> dict[str, Any]:
    """Hold a person against a group; errors as of `talaria_training.explain.against.compare.compare`.

    Returns
    -------
    dict
        Of plain numbers, texts, lists and None, ready for JSON.
    """
    found = compare(person, group)
    names = found.sides if found.symmetry is None else ("l", "r")
    counts = [int((person.column("side") == s).sum()) if s else len(person) for s in names]
    numbers: dict[str, Any] = plain(
        {
            "person": person.column("person")[0].item(),
            "condition": words.values_of(person, "condition"),
            "strides": dict(zip(names, counts, strict=True)),
            "cycle": person.cycle,
            "channels": [{"name": c.name, "unit": c.unit} for c in person.channels],
            "group": {
                "people": found.people,
                "condition": words.values_of(group, "condition"),
                "dropped": found.dropped,
                "was_inside": found.was_inside,
            },
            "level": LEVEL,
            "sides": found.sides,
            "legs": _numbers(found.legs, person, [words.SIDE[side] for side in found.sides]),
            "symmetry": found.symmetry and _numbers(found.symmetry, person, ["right less left "]),
        }
    )
    return numbers | {"said": words.said(found, person, group, min(counts))}


def _numbers(held: Held, table: StrideTable, rows: Sequence[str]) -> dict[str, Any]:
    return {
        "bound": held.bound,
        "alarms": len(held.alarms),
        "tried": held.tried,
        "spans": [_span(span, table, rows) for span in held.spans],
        "curves": [
            {
                "side": rows[row].strip(),
                "channel": channel.name,
                "unit": channel.unit,
                "person": held.curves[row, k],
                "mean": held.mean[row, k],
                "sd": held.sd[row, k],
                "z": held.z[row, k],
                "largest": _largest(held, row, k, channel),
            }
            for k, channel in enumerate(table.channels)
            for row in range(len(rows))
        ],
    }


def _largest(held: Held, row: int, k: int, channel: Channel) -> dict[str, Any]:
    z, difference = held.z[row, k], held.curves[row, k] - held.mean[row, k]
    peak = int(np.abs(z).argmax())
    return {
        "percent": words.percent_of_cycle(peak, len(z)),
        "difference": difference[peak],
        "z": z[peak],
        "mean_difference": difference.mean(),
        "outside_percent": 100.0 * float((np.abs(z) > held.bound).mean()),
    }


def _span(span: Span, table: StrideTable, rows: Sequence[str]) -> dict[str, Any]:
    points = table.values.shape[2]
    channel = table.channels[span.channel]
    return {
        "side": rows[span.row].strip(),
        "channel": channel.name,
        "unit": channel.unit,
        "from_percent": words.percent_of_cycle(span.begin, points),
        "to_percent": words.percent_of_cycle(span.end, points),
        "at_percent": words.percent_of_cycle(span.peak, points),
        "difference": span.difference,
        "z": span.z,
        "mass": span.mass,
    }
