"""Heat maps and bars as inline SVG; as in `svg`, the page's style sheet gives the colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from talaria_edge.svg import ticks

SHADES = 12
"""Style classes ``s0`` (nothing) to ``s11`` (most)."""
_CHARACTER = 6.0
_ROW = 18.0
_TOP = 20.0


def shades(values: NDArray[np.float64], most: float | None = None) -> NDArray[np.intp]:
    """Turn numbers from 0 to `most` (the greatest of them, if not given) into shades of their shape."""
    top = float(np.max(values, initial=0.0)) if most is None else most
    if top <= 0.0:
        return np.zeros(np.shape(values), dtype=np.intp)
    scaled = np.clip(np.asarray(values, float) / top, 0.0, 1.0) * (SHADES - 1)
    return np.asarray(np.round(scaled), dtype=np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """Numbers as a field of colours.

    Attributes
    ----------
    title, x_label : str
    rows : sequence of str
        Names beside the rows; empty to leave them out.
    shades : ndarray of int, shape (rows, columns)
    x : tuple of two float
        What the first and the last column stand for.
    columns : sequence of str
        Names below the columns, instead of numbers.
    """

    title: str
    x_label: str
    rows: Sequence[str]
    shades: NDArray[np.intp]
    x: tuple[float, float] = (0.0, 100.0)
    columns: Sequence[str] = ()


def draw_map(field: HeatMap, width: float = 680.0, row: float = _ROW) -> str:
    """Draw a heat map as an ``<svg>`` element; `row` is the height of a row."""
    count, across = field.shades.shape
    left = 12.0 + _CHARACTER * max((len(name) for name in field.rows), default=0)
    cell = (width - left - 12.0) / across
    bottom = _TOP + count * row
    parts = [f'<text class="title" x="{left:.0f}" y="13">{escape(field.title)}</text>']
    for k, line in enumerate(field.shades.tolist()):
        parts.append(_cells(line, left, _TOP + k * row, (cell, row)))
    for k, name in enumerate(field.rows):
        y = _TOP + (k + 0.5) * row + 3.0
        parts.append(f'<text class="tick end" x="{left - 5:.1f}" y="{y:.1f}">{escape(name)}</text>')
    parts += _below(field, left, cell, bottom)
    height = bottom + 32.0
    return (
        f'<svg class="map" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(field.title)}">{"".join(parts)}</svg>'
    )


def _cells(line: Sequence[int], left: float, top: float, size: tuple[float, float]) -> str:
    """One row, neighbours of one shade joined; a little overlap leaves no seams."""
    parts, begin = [], 0
    for shade, run in groupby(line):
        count = len(list(run))
        x, width = left + begin * size[0], count * size[0] + 0.3
        parts.append(
            f'<rect class="s{shade}" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{size[1] - 0.6:.1f}"/>'
        )
        begin += count
    return "".join(parts)


def _below(field: HeatMap, left: float, cell: float, bottom: float) -> list[str]:
    across = field.shades.shape[1]
    parts = []
    if field.columns:
        marks = [(left + (k + 0.5) * cell, name) for k, name in enumerate(field.columns)]
    else:
        low, high = field.x
        scale = (across - 1) * cell / (high - low)
        marks = [
            (left + 0.5 * cell + (value - low) * scale, f"{value:g}")
            for value in ticks(low, high, 10)
        ]
    parts = [
        f'<text class="tick mid" x="{x:.1f}" y="{bottom + 13:.1f}">{escape(text)}</text>'
        for x, text in marks
    ]
    middle = left + 0.5 * across * cell
    label = escape(field.x_label)
    return [
        *parts,
        f'<text class="label mid" x="{middle:.1f}" y="{bottom + 27:.1f}">{label}</text>',
    ]


@dataclass(frozen=True, slots=True)
class Bar:
    """A number from 0 up, its interval, and what it would be if nothing stood out."""

    name: str
    value: float
    low: float
    high: float
    even: float


def draw_bars(title: str, unit: str, bars: Sequence[Bar], width: float = 330.0) -> str:
    """Draw bars that lie, whiskers for their intervals, as an ``<svg>`` element."""
    left = 12.0 + _CHARACTER * max(len(bar.name) for bar in bars)
    most = max(max(bar.value, bar.high, bar.even) for bar in bars) or 1.0
    scale = (width - left - 66.0) / most
    parts = [f'<text class="title" x="8" y="13">{escape(title)}</text>']
    for k, bar in enumerate(bars):
        parts.append(_bar(bar, left, _TOP + 3.0 + 22.0 * k, scale, unit))
    height = _TOP + 22.0 * len(bars) + 6.0
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _bar(bar: Bar, left: float, top: float, scale: float, unit: str) -> str:
    middle = top + 8.0
    low, high, even = (left + value * scale for value in (bar.low, bar.high, bar.even))
    beside = max(high, even, left + bar.value * scale) + 5.0
    return (
        f'<text class="tick end" x="{left - 5:.1f}" y="{middle + 3:.1f}">{escape(bar.name)}</text>'
        f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{max(bar.value, 0.0) * scale:.1f}" '
        f'height="16"/>'
        f'<path class="whisker" d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {top + 4:.1f}v8'
        f'M{high:.1f} {top + 4:.1f}v8"/><path class="even" d="M{even:.1f} {top - 2:.1f}v20"/>'
        f'<text class="tick" x="{beside:.1f}" y="{middle + 3:.1f}">{bar.value:.1f} {escape(unit)}</text>'
    )
