"""An explanation as a page: one file that loads nothing, readable in light and dark and on paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talaria_edge.svg import Band, Line, Plot, draw
from talaria_training.explain.maps import Bar, HeatMap, draw_bars, draw_map, shades
from talaria_training.explain.style import html, key, shade_key
from talaria_training.explain.wording import percent, unit_mark

Document = Mapping[str, Any]

_MOST_COUNTED = 12
"""Confusion matrices up to so many classes are written as numbers, up to the next as a heat map."""
_MOST_MAPPED = 100
_MOST_LISTED = 100
_BRIGHTEST = 99.5
"""Percentile of the relevance that gets the last shade, so that one point does not dim all others."""
_DASHES = ("", "dash2", "dash3", "dash4")
_BANDS = ("one", "two", "three", "four")
_ORDERS = {"most": "most relevant first", "random": "at random", "least": "least relevant first"}
_ORDER_CSS = {"most": "two", "random": "group", "least": "one"}


def page(document: Document) -> str:
    """Lay out what `talaria_training.explain.document.document` found as HTML."""
    sections: tuple[Callable[[Document], str], ...] = (
        _head,
        _curves,
        _maps,
        _shares,
        _confusion,
        _faithful,
        _seeds,
        _people,
        _methods,
    )
    return html(_title(document), "\n".join(section(document) for section in sections))


def _title(d: Document) -> str:
    about = d["about"]
    if about["is_identity"]:
        return f"Whose gait is it, and what tells? {about['model']}"
    return f"What tells {about['task']} apart? {about['model']}"


def _head(d: Document) -> str:
    said = d["said"]
    css = "decision yes" if said["is_shown"] else "decision"
    lines = [said[name] for name in ("judged_on", "trial_wise", "where", "faithful", "stable")]
    return (
        f'<h1>{escape(_title(d))}</h1>\n<p class="{css}">{escape(said["decision"])}</p>\n'
        + "".join(f"<p>{escape(line)}</p>" for line in lines if line)
        + f'<p class="soft">{escape(d["about"]["source"])}</p>'
    )


def _brightest(d: Document) -> float:
    every = np.array([group["relevance_percent"] for group in d["groups"]], dtype=float)
    return float(np.percentile(every, _BRIGHTEST)) or float(every.max())


def _curves(d: Document) -> str:
    plots = [
        draw(_channel_plot(d, k, channel), 360.0, 210.0)
        for k, channel in enumerate(d["about"]["channels"])
    ]
    names = [f"{g['name']} ({g['people']} people)" for g in d["groups"]]
    lines = {css or "solid": name for css, name in zip(_DASHES, names, strict=False)}
    fills = {
        f"fill {css}": f"{g['name']}: ± SD over people"
        for css, g in zip(_band_css(d), d["groups"], strict=True)
    }
    return (
        "<h2>Where in the movement</h2>\n"
        '<p class="soft">Mean over people of each one\'s mean curve. Its colour is the relevance there: how '
        "much that point spoke for the true class.</p>"
        f"{shade_key('no relevance', f'{_brightest(d):.2g} % of it at one point of one channel')}"
        f'{key(lines | fills)}<div class="plots">{"".join(plots)}</div>'
    )


def _band_css(d: Document) -> tuple[str, ...]:
    return _BANDS[: len(d["groups"])] if len(d["groups"]) > 1 else ("group",)


def _channel_plot(d: Document, k: int, channel: Mapping[str, str]) -> Plot:
    x = np.linspace(0.0, 100.0, d["about"]["points"]).tolist()
    lines, bands = [], []
    for dash, css, group in zip(_DASHES, _band_css(d), d["groups"], strict=False):
        mean, sd = (np.array(group[name][k]) for name in ("mean", "sd"))
        bands.append(Band(css, x, (mean - sd).tolist(), (mean + sd).tolist()))
        tones = shades(np.array(group["relevance_percent"][k]), _brightest(d))
        lines.append(Line(f"shaded {dash}".strip(), x, mean.tolist(), tones.tolist()))
    return Plot(
        channel["name"], f"{d['about']['cycle']}, %", unit_mark(channel["unit"]), lines, bands
    )


def _maps(d: Document) -> str:
    names = [channel["name"] for channel in d["about"]["channels"]]
    drawn = [
        draw_map(
            HeatMap(
                f"relevance for {group['name']}"
                if len(d["groups"]) > 1
                else "relevance for the true class",
                f"{d['about']['cycle']}, %",
                names,
                shades(np.array(group["relevance_percent"]), _brightest(d)),
            )
        )
        for group in d["groups"]
    ]
    return f"<h2>Channel by time</h2>\n{''.join(drawn)}"


def _shares(d: Document) -> str:
    by = d["summary"]["by"]["positive"]
    bars = [
        draw_bars(title, "%", [_bar(share) for share in by[name]])
        for title, name in (
            ("by joint, sensor or muscle", "joints"),
            ("by plane or axis", "planes"),
        )
        if len(by[name]) > 1
    ]
    bars.append(draw_bars("by phase", "%", [_bar(share) for share in by["phases"]]))
    middle, low, high = (np.array(row) for row in by["curve_percent"])
    x = np.linspace(0.0, 100.0, len(middle)).tolist()
    curve = Plot(
        "over the cycle",
        f"{d['about']['cycle']}, %",
        "% of relevance per point",
        (Line("one", x, middle.tolist()),),
        (Band("one", x, low.tolist(), high.tolist()),),
        zero=True,
    )
    groups = "".join(
        draw_bars(f"by joint, {name}", "%", [_bar(share) for share in shares_["joints"]])
        for name, shares_ in d["summary"]["by_group"].items()
    )
    return (
        "<h2>How much of the relevance</h2>\n"
        '<p class="soft">Shares of what spoke for the true class, people weighing the same; whiskers and '
        "band are 95 % intervals over people, the dotted mark is what even shares of all channels and times "
        "would be.</p>"
        f'<div class="plots">{"".join(bars)}{draw(curve)}{groups}</div>{_conventions(d)}'
    )


def _bar(share: Mapping[str, Any]) -> Bar:
    return Bar(
        share["name"] or "none", share["percent"], share["low"], share["high"], share["even"]
    )


def _conventions(d: Document) -> str:
    by = d["summary"]["by"]
    head = {
        "positive": "for the class",
        "absolute": "for and against",
        "net": "for less against",
    }
    rows = []
    for k, share in enumerate(by["positive"]["joints"]):
        cells = "".join(
            f"<td>{by[name]['joints'][k]['percent']:.1f} ({by[name]['joints'][k]['low']:.1f} to "
            f"{by[name]['joints'][k]['high']:.1f})</td>"
            if name in by
            else "<td>–</td>"
            for name in head
        )
        rows.append(f"<tr><td>{escape(share['name'])}</td>{cells}</tr>")
    names = "".join(f"<th>{said}</th>" for said in head.values())
    return (
        '<h3>The same by other ways of counting, %</h3><div class="wide"><table><thead><tr><th></th>'
        f"{names}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _confusion(d: Document) -> str:
    result = d["result"]
    counts, names = np.array(result["confusion"]), result["classes"]
    if len(names) <= _MOST_COUNTED:
        body = _counted(counts, names)
    elif len(names) <= _MOST_MAPPED:
        body = _mapped(counts, names) + _mistakes(counts, names)
    else:
        body = _mistakes(counts, names)
    return f"<h2>Right and wrong</h2>\n{body}"


def _counted(counts: NDArray[np.int64], names: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = []
    for k, name in enumerate(names):
        row = counts[k]
        cells = "".join(f"<td>{count}</td>" for count in row.tolist())
        right = percent(row[k] / row.sum()) if row.sum() else "–"
        rows.append(f"<tr><td>{escape(name)}</td>{cells}<td>{right}</td></tr>")
    return (
        '<p class="soft">Strides: true class by answer.</p><div class="wide"><table><thead><tr><th></th>'
        f"{head}<th>right</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _mapped(counts: NDArray[np.int64], names: Sequence[str]) -> str:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    row = max(6.0, 520.0 / len(names))
    labels = names if row >= 9.0 else ["" for _ in names]
    field = HeatMap(
        "true class (down) by answer (across)",
        "answered, in the same order",
        labels,
        shades(share, 1.0),
        columns=[""] * len(names),
    )
    return shade_key("none of its strides", "all") + draw_map(field, row=row)


def _mistakes(counts: NDArray[np.int64], names: Sequence[str]) -> str:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = [k for k in np.argsort(-wrong, axis=None, kind="stable")[:10].tolist() if wrong.flat[k]]
    if not order:
        return "<p>Every stride was answered right.</p>"
    pairs = [divmod(k, len(names)) for k in order]
    said = "; ".join(
        f"{names[true]} for {names[given]} ({wrong[true, given]} of {counts[true].sum()})"
        for true, given in pairs
    )
    return f"<p>Most often mistaken: {escape(said)}.</p>"


def _faithful(d: Document) -> str:
    found = d["perturbation"]
    x = [100.0 * fraction for fraction in found["fraction"]]
    plots = [
        draw(
            Plot(
                title,
                "points replaced, %",
                unit,
                [Line(_ORDER_CSS[o], x, found[what][o]["curve"]) for o in found["orders"]],
            )
        )
        for what, title, unit in (
            ("accuracy", "accuracy", "share of strides"),
            ("score", "score of the true class", "before softmax"),
        )
    ]
    rows = "".join(_area_row(found, order) for order in found["orders"])
    return (
        "<h2>Is the explanation faithful?</h2>\n"
        f"<p>{escape(d['said']['faithful'])}</p>"
        f"{key({_ORDER_CSS[o]: _ORDERS[o] for o in found['orders']})}"
        f'<div class="plots">{"".join(plots)}</div>'
        '<div class="wide"><table><thead><tr><th>replaced</th><th>area, accuracy</th>'
        "<th>below random's</th><th>area, score</th><th>below random's</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _area_row(found: Mapping[str, Any], order: str) -> str:
    cells = "".join(
        f"<td>{_interval(found[what][order]['area'])}</td>"
        f"<td>{'' if order == 'random' else _interval(found[what][order]['below_random'])}</td>"
        for what in ("accuracy", "score")
    )
    return f"<tr><td>{_ORDERS[order]}</td>{cells}</tr>"


def _interval(estimate: Mapping[str, float]) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def _seeds(d: Document) -> str:
    seeds = d["seeds"]
    if seeds is None:
        return ""
    head = "".join(f"<th>seed {seed}</th>" for seed in seeds["seeds"])
    right = "".join(f"<td>{percent(value)}</td>" for value in seeds["balanced"])
    rows = "".join(
        f"<tr><td>relevance at {escape(name)}</td>"
        + "".join(f"<td>{value:.1f} %</td>" for value in values)
        + f"<td>{seeds['joint_sd_points'][name]:.1f}</td></tr>"
        for name, values in seeds["joints"].items()
    )
    return (
        f"<h2>From seed to seed</h2>\n<p>{escape(d['said']['stable'])}</p>"
        f'<div class="wide"><table><thead><tr><th></th>{head}<th>SD, points</th></tr></thead>'
        f"<tbody><tr><td>strides right</td>{right}<td></td></tr>{rows}</tbody></table></div>"
    )


def _people(d: Document) -> str:
    people, shares_ = d["summary"]["people"], d["summary"]["per_person"]
    if len(people) > _MOST_LISTED:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in shares_)
    rows = "".join(
        f"<tr><td>{escape(person)}</td>"
        + "".join(f"<td>{values[k]:.1f}</td>" for values in shares_.values())
        + "</tr>"
        for k, person in enumerate(people)
    )
    return (
        "<h2>Person by person</h2>\n<details><summary>Share of the relevance at each joint, sensor or "
        f'muscle, %</summary><div class="wide"><table><thead><tr><th>person</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _methods(d: Document) -> str:
    return f'<h2>For a methods section</h2>\n<p class="methods">{escape(d["said"]["methods"])}</p>'
