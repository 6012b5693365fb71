"""A person against a group as a page: one file that loads nothing, for the screen and for the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from talaria_edge.svg import Band, Line, Plot, draw
from talaria_training.explain.maps import HeatMap, draw_map, shades
from talaria_training.explain.style import html, key, shade_key
from talaria_training.explain.wording import unit_mark

Document = Mapping[str, Any]

_MOST_ROWS = 40
_OF = {"l": " of the left leg", "r": " of the right leg", "": ""}


def page(document: Document) -> str:
    """Lay out what `talaria_training.explain.against.document.document` found as HTML."""
    title = f"{document['person']} against {len(document['group']['people'])} people"
    body = "\n".join(
        (
            _head(document, title),
            _plots(document["legs"], document["cycle"], "Leg by leg"),
            _map(document),
            _symmetry(document),
            _table(document),
            _caveats(document),
        )
    )
    return html(title, body)


def _head(d: Document, title: str) -> str:
    said = d["said"]
    css = "decision" if said["is_different"] else "decision yes"
    strides = " and ".join(f"{count}{_OF[side]}" for side, count in d["strides"].items())
    walk = f" ({', '.join(d['condition'])})" if d["condition"] else ""
    more = f"<p>{said['more']} smaller ones are in the tables.</p>" if said["more"] else ""
    return (
        f'<h1>{escape(title)}</h1>\n<p class="{css}">{escape(said["decision"])}</p>\n'
        f"<p>Strides: {escape(strides)}{escape(walk)}.</p>{_list(said['legs'])}{more}"
        + "".join(f'<p class="soft">{escape(line)}</p>' for line in said["alarms"])
    )


def _list(lines: Sequence[str]) -> str:
    return f"<ol>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ol>" if lines else ""


def _plots(held: Mapping[str, Any], cycle: str, title: str) -> str:
    drawn = "".join(
        draw(_plot(curve, held["bound"], cycle), 480.0, 210.0) for curve in held["curves"]
    )
    return (
        f"<h2>{escape(title)}</h2>\n"
        + key(
            {
                "person": "this person",
                "solid": "group's mean",
                "fill": "group ± SD, and its band",
                "fill out": "outside the band",
            }
        )
        + f'<div class="plots large">{drawn}</div>'
    )


def _plot(curve: Mapping[str, Any], bound: float, cycle: str) -> Plot:
    person, mean, sd, z = (np.array(curve[name]) for name in ("person", "mean", "sd", "z"))
    x = np.linspace(0.0, 100.0, len(mean))
    bands = [
        Band("group", x.tolist(), (mean - k * sd).tolist(), (mean + k * sd).tolist())
        for k in (bound, 1.0)
    ]
    outside = np.flatnonzero(np.abs(z) > bound)
    for run in np.split(outside, np.flatnonzero(np.diff(outside) > 1) + 1):
        if len(run):
            # One point further on either side, so that a single point is seen too.
            part = slice(max(run[0] - 1, 0), run[-1] + 2)
            low, high = np.minimum(person, mean)[part], np.maximum(person, mean)[part]
            bands.append(Band("out", x[part].tolist(), low.tolist(), high.tolist()))
    lines = (
        Line("group", x.tolist(), mean.tolist()),
        Line("person", x.tolist(), person.tolist()),
    )
    title = f"{curve['side']} {curve['channel']}".strip()
    return Plot(title, f"{cycle}, %", unit_mark(curve["unit"]), lines, bands)


def _map(d: Document) -> str:
    curves = d["legs"]["curves"]
    z = np.abs(np.array([curve["z"] for curve in curves]))
    field = HeatMap(
        "departure from the group",
        f"{d['cycle']}, %",
        [f"{curve['side']} {curve['channel']}".strip() for curve in curves],
        shades(z, d["legs"]["bound"]),
    )
    most = f"the end of the band, {d['legs']['bound']:.1f} standard deviations, or beyond"
    return f"<h2>Where in the cycle</h2>\n{shade_key('none', most)}{draw_map(field)}"


def _symmetry(d: Document) -> str:
    if d["symmetry"] is None:
        return ""
    said = d["said"]["symmetry"] or [
        "The legs differ from one another no more than the group's do."
    ]
    return f"{_plots(d['symmetry'], d['cycle'], 'Right against left')}{_list(said)}"


def _table(d: Document) -> str:
    held = [d["legs"], *([d["symmetry"]] if d["symmetry"] else [])]
    spans = [span for one in held for span in one["spans"]]
    rows = "".join(_span_row(span) for span in spans[:_MOST_ROWS])
    every = "".join(_curve_row(curve) for one in held for curve in one["curves"])
    outside = (
        '<h3>Outside the band, the gravest first</h3><div class="wide"><table><thead><tr><th></th>'
        "<th>from %</th><th>to %</th><th>most at %</th><th>difference</th><th>z</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
    return (
        f"<h2>Numbers</h2>\n{outside if rows else ''}"
        '<h3>All channels</h3><div class="wide"><table><thead><tr><th></th><th>mean difference</th>'
        "<th>largest by z</th><th>at %</th><th>z</th><th>outside, % of cycle</th></tr></thead>"
        f"<tbody>{every}</tbody></table></div>"
    )


def _name(curve: Mapping[str, Any]) -> str:
    return escape(f"{curve['side']} {curve['channel']}".strip())


def _span_row(span: Mapping[str, Any]) -> str:
    return (
        f"<tr><td>{_name(span)}</td>"
        f"<td>{span['from_percent']:g}</td><td>{span['to_percent']:g}</td><td>{span['at_percent']:g}</td>"
        f"<td>{span['difference']:+.2f} {unit_mark(span['unit'])}</td><td>{span['z']:+.1f}</td></tr>"
    )


def _curve_row(curve: Mapping[str, Any]) -> str:
    largest, unit = curve["largest"], unit_mark(curve["unit"])
    return (
        f"<tr><td>{_name(curve)}</td>"
        f"<td>{largest['mean_difference']:+.2f} {unit}</td><td>{largest['difference']:+.2f} {unit}</td>"
        f"<td>{largest['percent']:g}</td><td>{largest['z']:+.1f}</td>"
        f"<td>{largest['outside_percent']:.0f}</td></tr>"
    )


def _caveats(d: Document) -> str:
    return "<h2>Before relying on it</h2>\n" + "".join(
        f"<p>{escape(line)}</p>" for line in d["said"]["caveats"]
    )
