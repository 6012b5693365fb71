"""The acceptance report as a page: one file, readable in light and dark and on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

from talaria_edge.svg import Band, Line, Plot, draw

_MODELS = {
    "base": "base model",
    "previous": "previous personal model",
    "personal": "personal model",
}
_SENSE = {
    "hip_flexion": "hip flexion",
    "knee_angle": "knee flexion",
    "ankle_angle": "ankle dorsiflexion",
    "hip_adduction": "hip adduction",
    "hip_rotation": "hip rotation",
}
_SIDE = {"r": "right", "l": "left"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --page: #fff; --card: #f6f7f9;
  --rule: #d5dae0; --labels: #7a828b; --base: #b65a00; --previous: #7a4fb0; --personal: #0b62c4;
  --good: #1a6b34; --bad: #a81c1c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a3acb7; --page: #14171b;
  --card: #1d2127; --rule: #363c45; --labels: #9aa3ad; --base: #ff9d45; --previous: #c3a0f2;
  --personal: #6db3ff; --good: #6fd08c; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px 48px; max-width: 1080px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 12px; } h2 { font-size: 17px; margin: 34px 0 8px; }
p { margin: 6px 0; max-width: 76ch; } .soft { color: var(--soft); }
.decision { border-left: 5px solid var(--bad); background: var(--card); padding: 12px 16px;
  font-size: 17px; max-width: none; }
.decision.yes { border-color: var(--good); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; margin: 16px 0 0; }
dt { color: var(--soft); } dd { margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--rule); text-align: right; }
th { font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
.no { color: var(--bad); font-weight: 600; } td.yes { color: var(--good); }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); gap: 14px; }
svg { width: 100%; height: auto; display: block; background: var(--card); border-radius: 6px; }
svg text { fill: var(--soft); font: 10px system-ui, sans-serif; }
svg .title { fill: var(--ink); font-size: 12px; font-weight: 600; }
svg .mid { text-anchor: middle; } svg .end { text-anchor: end; }
svg path { fill: none; } svg .grid { stroke: var(--rule); stroke-width: .6; }
svg .axis { stroke: var(--soft); stroke-width: .8; }
svg .mark { stroke: var(--soft); stroke-dasharray: 2 3; }
svg .line { stroke-width: 1.7; stroke-linejoin: round; }
svg .labels { stroke: var(--labels); } svg .band.labels { fill: var(--labels); stroke: none;
  opacity: .28; }
svg .base { stroke: var(--base); stroke-dasharray: 5 3; }
svg .previous { stroke: var(--previous); stroke-dasharray: 1.5 2.5; }
svg .personal { stroke: var(--personal); }
.key { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 6px 0 10px; font-size: 13px; }
.key span::before { content: ""; display: inline-block; width: 26px; margin-right: 7px;
  vertical-align: middle; border-top: 2px solid var(--labels); }
.key .base::before { border-top: 2px dashed var(--base); }
.key .previous::before { border-top: 2px dotted var(--previous); }
.key .personal::before { border-color: var(--personal); }
@media print { :root { --ink: #000; --soft: #444; --page: #fff; --card: #fff; --rule: #bbb;
  --labels: #777; --base: #b65a00; --previous: #7a4fb0; --personal: #0b62c4; --good: #1a6b34;
  --bad: #a81c1c; } body { padding: 0; font-size: 11pt; } svg { border: 1px solid var(--rule); }
  h2 { break-after: avoid; } svg, tr, .decision { break-inside: avoid; }
  .plots { grid-template-columns: repeat(3, 1fr); } }
"""


def page(document: Mapping[str, Any]) -> str:
    """Lay out a report.

    Parameters
    ----------
    document : mapping
        As `talaria_training.acceptance.document` builds it.

    Returns
    -------
    str
        HTML.
    """
    sections: tuple[Callable[[Mapping[str, Any]], str], ...] = (
        _head,
        _joints,
        _cycles,
        _residuals,
        _learning,
        _others,
        _checks,
    )
    title = escape(f"{document['model_id']}: acceptance report")
    body = "\n".join(section(document) for section in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def joint_name(angle: str) -> str:
    """Say an angle's name in words."""
    return f"{_SENSE[angle[:-2]]}, {_SIDE[angle[-1]]}"


def _head(d: Mapping[str, Any]) -> str:
    learned = d["learned"]
    joint, off = max(d["zero_off_deg"].items(), key=lambda pair: abs(pair[1]))
    apart = f"the two are up to {abs(off):.1f}° apart ({joint_name(joint)})"
    if d["zero"] == "base":
        zero = f"the base model's, since nothing can vouch for the labels'; {apart}"
    elif d["trust_zero"]:
        zero = f"the labels', as asked for with --trust-zero, not the base model's; {apart}"
    else:
        zero = f"the labels', the wearer's own quiet stance, not the base model's; {apart}"
    facts = {
        "Person": d["person"],
        "Model": f"{d['model_id']}, from {d['base_id']}",
        "Made": d["when"],
        "Recordings": ", ".join(d["recordings"]),
        "Labels": d["labels"],
        "Learned from": f"{learned['seconds']:.1f} s, {learned['strides']} strides of each leg",
        "Stopped by": f"{d['stopping_strides']} strides of either leg"
        if d["stopping_strides"]
        else "–",
        "Decided on": f"{d['deciding_strides']} strides of either leg, the last ones",
        "Zero": zero,
    }
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items())
    css = "decision yes" if d["shipped"] else "decision"
    return (
        f"<h1>{escape(d['model_id'])}: acceptance report</h1>\n"
        f'<p class="{css}">{escape(d["decision"])}</p>\n<dl>{rows}</dl>'
    )


def _present(d: Mapping[str, Any]) -> list[str]:
    return [name for name in _MODELS if name in d["stride_error_deg"]]


def _joints(d: Mapping[str, Any]) -> str:
    if not d["joints"]:
        return ""
    models = _present(d)
    head = "".join(f'<th colspan="3">{escape(_MODELS[m])}</th>' for m in models)
    units = "<th>RMSE °</th><th>offset removed °</th><th>r</th>" * len(models)
    rows = []
    for row in d["joints"]:
        cells = "".join(_cells(row[m]) for m in models)
        rows.append(f"<tr><td>{escape(joint_name(row['joint']))}</td>{cells}</tr>")
    tests = "".join(f"<p>{escape(_rival(r))}</p>" for r in d["rivals"])
    return (
        "<h2>Error on the strides that decided</h2>\n"
        '<p class="soft">Against the labels, which nothing was learned from there. RMSE; the same without '
        "its mean; correlation.</p>"
        f'<div class="wide"><table><thead><tr><th></th>{head}</tr><tr><th></th>{units}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{tests}"
    )


def _cells(numbers: Mapping[str, float | None]) -> str:
    r = "–" if numbers["r"] is None else f"{numbers['r']:.3f}"
    return (
        f"<td>{numbers['rmse_deg']:.2f}</td><td>{numbers['rmse_offset_removed_deg']:.2f}</td>"
        f"<td>{r}</td>"
    )


def _rival(rival: Mapping[str, Any]) -> str:
    said = (
        f"Against the {_MODELS[rival['name']]}: {rival['gain_deg']:+.2f}° per stride on average; chance "
        f"alone would do as well with a probability of {rival['p']:.4f} (sign-flip test over strides)."
    )
    worse = [f"{joint_name(w['joint'])} by {w['by_deg']:.1f}°" for w in rival["worse"]]
    return said + (f" Worse than allowed: {', '.join(worse)}." if worse else "")


def _key(names: Iterable[str]) -> str:
    words = {"labels": "labels", **_MODELS}
    spans = "".join(f'<span class="{n}">{escape(words[n])}</span>' for n in names)
    return f'<div class="key">{spans}</div>'


def _cycles(d: Mapping[str, Any]) -> str:
    if not d["cycles"]:
        return ""
    models = _present(d)
    plots = []
    for joint, curves in d["cycles"].items():
        x = list(range(len(curves["labels"])))
        pairs = list(zip(curves["labels"], curves["labels_sd"], strict=True))
        band = Band("labels", x, [m - s for m, s in pairs], [m + s for m, s in pairs])
        lines = [Line(name, x, curves[name]) for name in ("labels", *models)]
        plots.append(draw(Plot(joint_name(joint), "gait cycle, %", "°", lines, (band,))))
    return (
        "<h2>Over the gait cycle</h2>\n"
        '<p class="soft">Means over the deciding strides, from one contact of the leg to its next; the band '
        "is the labels' standard deviation.</p>"
        f'{_key(["labels", *models])}<div class="plots">{"".join(plots)}</div>'
    )


def _residuals(d: Mapping[str, Any]) -> str:
    found = d["residuals"]
    if not found or not found["joints"]:
        return ""
    models = [m for m in _present(d) if m != "previous"]
    plots = []
    for joint, errors in found["joints"].items():
        lines = [
            Line(m, found["t_s"], [float("nan") if v is None else v for v in errors[m]])
            for m in models
        ]
        plots.append(draw(Plot(joint_name(joint), "time, s", "model − label, °", lines, zero=True)))
    return (
        "<h2>What is left</h2>\n"
        f'<p class="soft">Model less label on the deciding strides of {escape(d["recordings"][0])}.</p>'
        f'{_key(models)}<div class="plots">{"".join(plots)}</div>'
    )


def _learning(d: Mapping[str, Any]) -> str:
    curve = d["learning_curve"]
    if not curve:
        if not d["kept_steps"]:
            return ""
        return (
            "<h2>Learning</h2><p>Too few strides to spare any for stopping by: trained for "
            f"{d['kept_steps']} steps.</p>"
        )
    line = Line("personal", [p[0] for p in curve], [p[1] for p in curve])
    plot = Plot("error on the stopping strides", "steps", "°", (line,), marks=(d["kept_steps"],))
    return (
        f"<h2>Learning</h2>\n<p class='soft'>The weights after {d['kept_steps']} steps were taken.</p>"
        f'<div class="plots">{draw(plot)}</div>'
    )


def _others(d: Mapping[str, Any]) -> str:
    if not d["others"]:
        return (
            "<h2>Other people</h2><p class='soft'>Not asked: give their labelled recordings with --others "
            "to see what the personal model has forgotten.</p>"
        )
    rows = "".join(
        f"<tr><td>{escape(o['person'])}</td><td>{o['base_deg']:.2f}</td>"
        f"<td>{o['personal_deg']:.2f}</td></tr>"
        for o in d["others"]
    )
    return (
        "<h2>Other people</h2>\n<p class='soft'>What the personal model has forgotten: mean RMSE of the "
        "sagittal angles. It is meant for one wearer only.</p>"
        "<table><thead><tr><th>person</th><th>base model °</th><th>personal model °</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _checks(d: Mapping[str, Any]) -> str:
    fault = f"<p class='no'>{escape(d['fault'])}.</p>" if d["fault"] else ""
    rows = "".join(_check(c) for c in d["checks"])
    return (
        "<h2>Can the labels be believed?</h2>\n"
        "<p class='soft'>Thigh and foot sensors measure how their segments pitch, and the base model never "
        "saw the labels: both were asked, every four seconds. The worst answer counts. Another zero "
        "refuses nothing.</p>"
        f'{fault}<div class="wide"><table><thead><tr><th class="text">question</th>'
        '<th class="text">where</th><th>answer</th><th>allowed</th><th></th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _check(c: Mapping[str, Any]) -> str:
    value = "–" if c["value"] is None else f"{c['value']:.3g}{c['unit']}"
    verdict = '<td class="yes">yes</td>' if c["passed"] else '<td class="no">no</td>'
    if c["name"].endswith("_zero_deg") and not c["passed"]:
        verdict = '<td class="soft">another zero</td>'
    return (
        f'<tr><td>{escape(c["question"])}</td><td class="text">{escape(c["where"])}</td>'
        f"<td>{escape(value)}</td><td>{c['low']:g} to {c['high']:g}</td>{verdict}</tr>"
    )
