"""An explained stride in words and as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from talaria_edge.classify import ClassParams
from talaria_edge.gait import GaitClass
from talaria_edge.occlusion import Part
from talaria_edge.why import Knee, Why

_SIDES = {"r": "right", "l": "left"}
_SEGMENTS = {"femur": "thigh", "calcn": "foot", "tibia": "shank", "pelvis": "pelvis"}
_KINDS = {"acc": "specific force", "gyr": "angular rate", "up": "tilt"}
_WORTH_NAMING = 0.1
_MOST_NAMED = 3
_HALF = 0.5


def sentence(why: Why) -> str:
    """Say in one breath what the class was and what made it so."""
    if why.gait_class is GaitClass.UNKNOWN:
        return f"{why.gait_class}, because {_unfamiliar(why)}."
    if why.gait_class is not why.said:
        return f"{why.gait_class}, because {_overruled(why)}."
    return f"{why.gait_class}, {_because(why.parts)}."


def remarks(why: Why) -> list[str]:
    """Say what the numbers cannot be read rightly without."""
    said = []
    if why.gait_class is not why.said:
        chosen = f"The network alone favoured {why.said} over {why.against}, {_because(why.parts)}"
        said.append(f"{chosen}: that is what the rows below explain.")
    said += _about_knees(why)
    if why.said is GaitClass.STIFF_KNEE:
        said.append(
            "A stiff knee is a movement that is missing, and what is missing cannot be taken out: sensors of "
            "the stiff leg may seem to speak against it."
        )
    said += _about_legs(why)
    said.append(_about_sum(why))
    if why.limit < math.inf:
        beyond = sum(part.novelty > why.limit for part in why.parts)
        if beyond and not why.novelty > why.limit:
            said.append(
                f"Without {beyond} of the {len(why.parts)} vectors the stride is itself unlike those the model "
                f"learned from (novelty above {why.limit:.2f}): read those rows with care."
            )
    absent = dict.fromkeys(named(p.name).rpartition("'s ")[0] for p in why.parts if p.absent)
    if absent:
        said.append(f"No data in this stride from the {' and the '.join(absent)}.")
    return said


def print_why(why: Why) -> None:
    """Print one stride's answer: the sentence, the rows, the remarks."""
    console = Console()
    span = why.span
    which = f"Stride {span.number} of {why.strides}, {_SIDES[span.side]} leg"
    when = f"{span.start_s:.2f} to {span.end_s:.2f} s"
    console.print(f"{which}, {when}, by {why.model_id}:", highlight=False, soft_wrap=True)
    console.print(sentence(why), highlight=False, soft_wrap=True)
    table = Table("held still", f"fall of {why.said}'s lead", "share", "novelty")
    for column in table.columns[1:]:
        column.justify = "right"
    for part in sorted(why.parts, key=lambda part: -part.fall if not part.absent else math.inf):
        table.add_row(named(part.name), *_cells(part))
    table.add_section()
    for leg in why.legs:
        table.add_row(f"{_SIDES[leg.name]} leg as the other", *_cells(leg))
    table.add_section()
    fall = f"{why.lead - why.lead_held:.2f}"
    table.add_row("all movement", fall, "", _number(why.novelty_held))
    table.add_row("nothing", "0.00", "", _number(why.novelty))
    console.print(table)
    for remark in remarks(why):
        console.print(remark, highlight=False, soft_wrap=True)


def named(part: str) -> str:
    """Call a vector what a person would: ``"femur_r.gyr"`` is the right thigh's angular rate."""
    slot, _, kind = part.partition(".")
    segment, _, side = slot.partition("_")
    where = " ".join(filter(None, (_SIDES.get(side), _SEGMENTS.get(segment, segment))))
    return f"{where}'s {_KINDS.get(kind, kind)}"


def _because(parts: Sequence[Part]) -> str:
    known = sorted((p for p in parts if p.share > 0.0), key=lambda p: -p.share)
    if not known:
        return "though no movement of any one sensor speaks for it alone"
    listed = [known[0], *(p for p in known[1:_MOST_NAMED] if p.share >= _WORTH_NAMING)]
    first, *more = (f"the {named(p.name)} ({p.share:.0%})" for p in listed)
    return ", then ".join([f"because of {first}", *more])


def _unfamiliar(why: Why) -> str:
    own = (
        f"its novelty of {why.novelty:.2f} is above {why.limit:.2f}, beyond which a stride is unlike those the "
        "model learned from"
    )
    known = [part for part in why.parts if not part.absent]
    least = min(known, key=lambda part: part.novelty, default=None)
    if least is None or not least.novelty < why.novelty:
        return f"{own}; no vector held still makes it more familiar"
    return f"{own}; the {named(least.name)} held still lowers it most, to {least.novelty:.2f}"


def _overruled(why: Why) -> str:
    held = ClassParams().held
    least = min(why.knees, key=lambda knee: knee.share, default=None)
    if least is None:
        return f"the network's {why.said} was overruled"
    knee = f"{_SIDES[least.side]} knee moved {_moved(least)}"
    return f"even the {knee}, and a stiff one moves less than {held:.0%}"


def _about_knees(why: Why) -> list[str]:
    if GaitClass.STIFF_KNEE not in (why.said, why.gait_class):
        return []
    if not why.knees:
        return [
            "How far this wearer's knees usually move is not known here, so the network's word stands alone."
        ]
    each = " and ".join(f"the {_SIDES[knee.side]} {_moved(knee)}" for knee in why.knees)
    return [f"The knees moved: {each}."]


def _moved(knee: Knee) -> str:
    return f"{knee.range_deg:.0f}° where {knee.usual_deg:.0f}° is usual ({knee.share:.0%})"


def _about_legs(why: Why) -> list[str]:
    """Say which leg the class hangs on, where one of them turns it or takes half of its lead."""
    least = _HALF * why.lead
    told = [leg for leg in why.legs if leg.fall >= least]
    if not told or why.said is not GaitClass.STIFF_KNEE:
        return []
    leg = max(told, key=lambda leg: leg.fall)
    side, other = _SIDES[leg.name], _SIDES["l" if leg.name == "r" else "r"]
    left = why.lead - leg.fall
    end = (
        f"the network would say {why.against}"
        if left < 0.0
        else f"{left:.2f} of the lead would be left"
    )
    return [f"Had the {side} leg moved as the {other} did half a stride earlier, {end}."]


def _about_sum(why: Why) -> str:
    alone = sum(part.fall for part in why.parts if not part.absent)
    together = why.lead - why.lead_held
    return (
        f"The lead of {why.said} over {why.against} was {why.lead:.2f} (mean log-likelihood). Held still one "
        f"at a time, the vectors take {alone:.2f} off it in sum, and all at once {together:.2f}: they do not "
        "add up, for they act together and stand in for one another. With all movement held still the lead "
        f"is {why.lead_held:.2f}: from posture, from stillness itself, and from what the network still "
        "remembered of earlier strides. Shares are of the falls above zero."
    )


def _cells(part: Part) -> tuple[str, str, str]:
    if part.absent:
        return "absent", "–", "–"
    return f"{part.fall:.2f}", _number(part.share, "{:.0%}"), _number(part.novelty)


def _number(value: float, form: str = "{:.2f}") -> str:
    return form.format(value) if math.isfinite(value) else "–"
