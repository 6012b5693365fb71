"""Line plots as inline SVG: coloured by the page's style sheet, so they follow light, dark and print."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

Points = Sequence[float]

_LEFT, _RIGHT, _TOP, _BOTTOM = 42.0, 14.0, 22.0, 32.0


@dataclass(frozen=True, slots=True)
class Line:
    """One curve; `name` is its style class and, in capitals or not, what the legend calls it.

    With `shades`, one whole number per point, the curve takes its colour from the style classes ``s0``,
    ``s1``, ... along the way; x must then rise.
    """

    name: str
    x: Points
    y: Points
    shades: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """The area between two curves over the same x."""

    name: str
    x: Points
    low: Points
    high: Points


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot to draw: what is on it and what its axes are called.

    Attributes
    ----------
    title, x_label, y_label : str
    lines : sequence of Line
    bands : sequence of Band
    marks : sequence of float
        Places on the x axis to mark with an upright line.
    zero : bool
        Whether y = 0 must be on the plot, with a line of its own.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    bands: Sequence[Band] = ()
    marks: Sequence[float] = ()
    zero: bool = False


@dataclass(frozen=True, slots=True)
class _Frame:
    """From data to the drawing's coordinates."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: float
    height: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            _LEFT + across * (self.width - _LEFT - _RIGHT),
            self.height - _BOTTOM - up * (self.height - _TOP - _BOTTOM),
        )


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers between two others: steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / most
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= raw * 0.999)
    first = np.ceil(low / step - 1e-9)
    count = int(np.floor(high / step + 1e-9) - first) + 1
    return [float((first + k) * step) for k in range(count)]


def draw(plot: Plot, width: float = 330.0, height: float = 210.0) -> str:
    """Draw a plot.

    Parameters
    ----------
    plot : Plot
    width, height : float
        In the drawing's own units; the page decides how large it is.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    frame = _frame(plot, width, height)
    parts = [
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(plot.title)}">',
        f'<text class="title" x="{_LEFT:g}" y="13">{escape(plot.title)}</text>',
        *_axes(plot, frame),
        *(_area(band, frame) for band in plot.bands),
        *(_curve(line, frame) for line in plot.lines),
        "</svg>",
    ]
    return "".join(parts)


def _frame(plot: Plot, width: float, height: float) -> _Frame:
    xs = [line.x for line in plot.lines] + [band.x for band in plot.bands]
    ys = [line.y for line in plot.lines] + [v for b in plot.bands for v in (b.low, b.high)]
    if plot.zero:
        ys.append([0.0])
    return _Frame(_range(xs, 0.0), _range(ys, 0.06), width, height)


def _range(values: Sequence[Points], margin: float) -> tuple[float, float]:
    every = np.concatenate([np.asarray(v, dtype=float) for v in values] or [np.zeros(1)])
    every = every[np.isfinite(every)]
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    pad = margin * (high - low)
    return low - pad, high + pad


def _axes(plot: Plot, frame: _Frame) -> list[str]:
    parts = []
    left, bottom = frame.at(frame.x[0], frame.y[0])
    right, top = frame.at(frame.x[1], frame.y[1])
    for value in ticks(*frame.y):
        y = frame.at(0.0, value)[1]
        parts.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
        parts.append(f'<text class="tick end" x="{left - 5:.1f}" y="{y + 3:.1f}">{value:g}</text>')
    for value in ticks(*frame.x):
        x = frame.at(value, 0.0)[0]
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{bottom + 13:.1f}">{value:g}</text>')
    if plot.zero:
        y = frame.at(0.0, 0.0)[1]
        parts.append(f'<path class="axis" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
    for value in plot.marks:
        x = frame.at(value, 0.0)[0]
        parts.append(f'<path class="mark" d="M{x:.1f} {bottom:.1f}V{top:.1f}"/>')
    middle = 0.5 * (left + right)
    parts.append(
        f'<text class="label mid" x="{middle:.1f}" y="{bottom + 27:.1f}">{escape(plot.x_label)}</text>'
    )
    parts.append(f'<text class="label end" x="{right:.1f}" y="13">{escape(plot.y_label)}</text>')
    return parts


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _curve(line: Line, frame: _Frame) -> str:
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(line.x, line.y, strict=True):
        if np.isfinite(y):
            runs[-1].append(frame.at(x, y))
        elif runs[-1]:
            runs.append([])
    path = "".join(_path(run) for run in runs if run)
    if line.shades is None:
        return f'<path class="line {escape(line.name)}" d="{path}"/>'
    ramp, name = _gradient(line.x, line.shades, frame)
    return f'{ramp}<path class="line {escape(line.name)}" style="stroke:url(#{name})" d="{path}"/>'


def _gradient(x: Points, shades: Sequence[int], frame: _Frame) -> tuple[str, str]:
    """Colours along the x axis, as an element and the name it goes by."""
    begin, end = frame.at(x[0], 0.0)[0], frame.at(x[-1], 0.0)[0]
    offsets = (np.asarray(x, float) - x[0]) / (x[-1] - x[0])
    stops = "".join(
        f'<stop class="s{shade}" offset="{offset:.3f}"/>'
        for offset, shade in zip(offsets.tolist(), shades, strict=True)
    )
    # Two of one name in a page are then the same ramp, so it matters not which is found.
    name = "g" + hashlib.sha256(f"{begin:.1f} {end:.1f} {stops}".encode()).hexdigest()[:12]
    where = f'gradientUnits="userSpaceOnUse" x1="{begin:.1f}" x2="{end:.1f}" y1="0" y2="0"'
    return f'<defs><linearGradient id="{name}" {where}>{stops}</linearGradient></defs>', name


def _area(band: Band, frame: _Frame) -> str:
    there = [frame.at(x, y) for x, y in zip(band.x, band.high, strict=True)]
    back = [frame.at(x, y) for x, y in zip(band.x, band.low, strict=True)][::-1]
    return f'<path class="band {escape(band.name)}" d="{_path(there + back)}Z"/>'
