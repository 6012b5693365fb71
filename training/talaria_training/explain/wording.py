"""How a share, a unit and a list are written in sentences and on pages."""

from __future__ import annotations

from collections.abc import Sequence

_MARKS = {"deg": "°", "1": "", "m/s2": "m/s²"}


def percent(share: float) -> str:
    """Write a share in percent."""
    return f"{100.0 * share:.1f} %"


def unit_mark(unit: str) -> str:
    """Write a channel's unit as a reader knows it; empty for a number without one."""
    return _MARKS.get(unit, unit)


def behind_number(unit: str) -> str:
    """Write a channel's unit so that it can follow a number: degrees close up, others with a space."""
    mark = unit_mark(unit)
    return mark if mark in {"", "°"} else f" {mark}"


def listed(names: Sequence[str]) -> str:
    """Write names with commas and a last *and*."""
    return " and ".join([part for part in (", ".join(names[:-1]), names[-1]) if part])
