"""A comparison of a person with a group in sentences, for who treats the person."""

from __future__ import annotations

from typing import Any

import numpy as np

from talaria_training.explain.against.band import LARGE, LEVEL, Held, Span
from talaria_training.explain.against.compare import Comparison
from talaria_training.explain.wording import behind_number, listed
from talaria_training.strides.table import Channel, StrideTable

_MOST_SAID = 8
_FEW_STRIDES = 10
SIDE = {"l": "left ", "r": "right ", "": ""}
_MORE = {
    "hip_flexion": ("hip", "more flexed", "less flexed"),
    "knee_angle": ("knee", "more flexed", "less flexed"),
    "ankle_angle": ("ankle", "more dorsiflexed", "less dorsiflexed"),
    "hip_adduction": ("hip", "more adducted", "less adducted"),
    "hip_rotation": ("hip", "more turned inward", "less turned inward"),
}
"""Joint, and what more and less of each of Talaria's angles is called (docs/frames.md)."""


def values_of(table: StrideTable, column: str) -> list[str]:
    """List the known values of a column."""
    return [value for value in np.unique(table.column(column)).tolist() if value]


def percent_of_cycle(point: int, points: int) -> float:
    """Place of a point in the cycle, in percent."""
    return round(100.0 * point / (points - 1), 1)


def said(
    found: Comparison, person: StrideTable, group: StrideTable, strides: int
) -> dict[str, Any]:
    """Say what a comparison found, how often it would be wrong, and what to mind before relying on it.

    Parameters
    ----------
    found : Comparison
    person, group : StrideTable
        As they were compared.
    strides : int
        Of the leg that has fewer.

    Returns
    -------
    dict
        ``decision``, ``legs``, ``symmetry``, ``alarms`` and ``caveats`` are sentences; ``is_different`` says
        whether anything is outside the band, and ``more`` how many spans are not among the sentences.
    """
    legs = [leg_sentence(s, found, person) for s in found.legs.spans[:_MOST_SAID]]
    symmetry = () if found.symmetry is None else found.symmetry.spans[:_MOST_SAID]
    return {
        "decision": _decision(found, person, group),
        "is_different": bool(legs or symmetry),
        "legs": legs,
        "more": max(0, len(found.legs.spans) - _MOST_SAID),
        "symmetry": [symmetry_sentence(span, found, person) for span in symmetry],
        "alarms": [_alarms(held, found) for held in (found.legs, found.symmetry) if held],
        "caveats": _caveats(found, person, group, strides),
    }


def _decision(found: Comparison, person: StrideTable, group: StrideTable) -> str:
    name, count = person.column("person")[0], len(found.people)
    walk = " and ".join(values_of(group, "condition"))
    those = f"{count} people{f' ({walk})' if walk else ''}"
    spans = found.legs.spans
    if not spans and not (found.symmetry and found.symmetry.spans):
        return (
            f"Nothing in the gait of {name} lies outside the band of {those}; their largest difference is "
            f"{_nearest(found, person)}."
        )
    where = dict.fromkeys(
        _place(person.channels[span.channel], SIDE[found.sides[span.row]]) for span in spans
    )
    said = f"The gait of {name} lies outside the band of {those}"
    if not where:
        return f"{said} in the difference between the legs only."
    return f"{said} at {listed(list(where)[:_MOST_SAID])}."


def _nearest(found: Comparison, person: StrideTable) -> str:
    z = np.abs(found.legs.z)
    row, k, point = np.unravel_index(int(z.argmax()), z.shape)
    difference = float((found.legs.curves - found.legs.mean)[row, k, point])
    channel = person.channels[int(k)]
    return (
        f"{difference:+.1f}{behind_number(channel.unit)} in {channel.name} "
        f"{f'of the {SIDE[found.sides[int(row)]]}leg ' if found.sides[int(row)] else ''}"
        f"at {percent_of_cycle(int(point), z.shape[2]):g} % of the {person.cycle} (z = "
        f"{found.legs.z[row, k, point]:+.1f}; the band ends at {found.legs.bound:.1f})"
    )


def leg_sentence(span: Span, found: Comparison, table: StrideTable) -> str:
    """Say how one leg is different over one span."""
    channel = table.channels[span.channel]
    side = SIDE[found.sides[span.row]]
    amount = f"up to {abs(span.difference):.{_digits(span)}f}{behind_number(channel.unit)}"
    if channel.name in _MORE:
        joint, more, less = _MORE[channel.name]
        subject = f"The {side}{joint} is {amount} {more if span.difference > 0 else less}"
    else:
        leg = f" of the {side}leg" if side else ""
        subject = f"{channel.name}{leg} is {amount} {'more' if span.difference > 0 else 'less'}"
    return f"{subject} than the group's mean {_when(span, table)}."


def symmetry_sentence(span: Span, found: Comparison, table: StrideTable) -> str:
    """Say how the legs differ over one span, and how the group's do there."""
    assert found.symmetry is not None
    channel = table.channels[span.channel]
    there = (0, span.channel, span.peak)
    mine, usual = found.symmetry.curves[there], found.symmetry.mean[there]
    digits, unit = _digits(span), behind_number(channel.unit)
    if channel.name in _MORE:
        joint, more, less = _MORE[channel.name]
        subject = f"The right {joint} is {abs(mine):.{digits}f}{unit} {more if mine > 0 else less}"
    else:
        way = "more" if mine > 0 else "less"
        subject = f"{channel.name} of the right leg is {abs(mine):.{digits}f}{unit} {way}"
    return f"{subject} than the left (the group's: {usual:+.{digits}f}{unit}) {_when(span, table)}."


def _when(span: Span, table: StrideTable) -> str:
    points = table.values.shape[2]
    begin, end, peak = (percent_of_cycle(p, points) for p in (span.begin, span.end, span.peak))
    if begin == end:
        return f"at {begin:g} % of the {table.cycle} (z = {span.z:+.1f})"
    return f"between {begin:g} and {end:g} % of the {table.cycle} (most at {peak:g} %, z = {span.z:+.1f})"


def _alarms(held: Held, found: Comparison) -> str:
    what = "the legs" if held is found.legs else "the difference of the legs"
    who = f" ({', '.join(found.people[k] for k in held.alarms)})" if held.alarms else ""
    supposed = "" if len(found.people) >= LARGE else " if people scatter normally"
    return (
        f"False alarms: the band of {what} is {held.bound:.1f} standard deviations wide either way, everywhere "
        f"at once, so that one person like the group in {1.0 / (1.0 - LEVEL):.0f} leaves it by chance"
        f"{supposed}; each held against the others, {len(held.alarms)} of {held.tried} people of the group "
        f"did{who}."
    )


def _caveats(found: Comparison, person: StrideTable, group: StrideTable, strides: int) -> list[str]:
    said = [f"This person: {person.source}", f"The group: {group.source}"]
    if person.source != group.source:
        said.append(
            "The two were not measured the same way, so part of any difference may be the measurement's."
        )
    said.append(
        "A difference that lasts over the whole cycle may be where zero was set rather than a gait; one "
        "smaller than the error of what measured it is none."
    )
    if found.was_inside:
        said.append("The person was in the population too, and was taken out of the group.")
    if found.dropped:
        said.append(f"Left out of the group for lack of one leg: {', '.join(found.dropped)}.")
    if strides < _FEW_STRIDES:
        said.append(
            f"Only {strides} strides of one leg: their mean is less certain than the group's, and lies "
            "outside the band more easily."
        )
    return said


def _place(channel: Channel, side: str) -> str:
    if channel.name in _MORE:
        return f"the {side}{_MORE[channel.name][0]}"
    return f"{channel.name} of the {side}leg" if side else channel.name


def _digits(span: Span) -> int:
    return 0 if abs(span.difference) >= 9.95 else 1 if abs(span.difference) >= 0.95 else 2
