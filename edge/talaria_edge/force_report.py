"""A session's forces on one page for a clinician or a coach, and as a table: `talaria forces`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import RecordingError
from talaria_edge.belief import Validity
from talaria_edge.dashboard.band import BAND_POINTS
from talaria_edge.force_band import ForceBand, load_force_band
from talaria_edge.force_log import StanceStatistics, stance_statistics
from talaria_edge.force_session import ForceSession, load_forces, write_stances
from talaria_edge.forces import MOMENT_JOINTS, SIDE_WORDS
from talaria_edge.gait import SIDES
from talaria_edge.printing import STANCE_ROWS
from talaria_edge.sensor_checks import STANDARD_GRAVITY_MS2
from talaria_edge.stances import FORCE_AXES
from talaria_edge.svg import Band, Line, Plot, draw
from talaria_edge.variability import Spread, spread_of, symmetry_percent

REPORT_FILE = "forces.html"
_AXIS_WORDS = {
    "vertical": "Vertical, up +",
    "anterior": "Along the walk, forwards +",
    "lateral": "Sideways, outwards +",
}
_JOINT_WORDS = {
    "hip_flexion": "Hip, flexion +",
    "knee_angle": "Knee, flexion +",
    "ankle_angle": "Ankle, dorsiflexion +",
}
_MOMENT_PEAKS = (
    ("hip extension", "hip_flexion", -1.0),
    ("hip flexion", "hip_flexion", 1.0),
    ("knee extension", "knee_angle", -1.0),
    ("knee flexion", "knee_angle", 1.0),
    ("ankle plantarflexion", "ankle_angle", -1.0),
)
"""What a peak of a stance is called, whose it is, and its sign in the curve."""
_TRENDS = (
    ("Highest vertical force", "peak_bw", "BW"),
    ("Loading rate", "loading_rate_bw_s", "BW/s"),
    ("Propulsive impulse", "propulsion_bw_s", "BW s"),
)
_OUTSIDE_SD = 2.0
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --page: #fff; --card: #f6f7f9;
  --rule: #d5dae0; --band: #8a939d; --right: #0072b8; --left: #b65a00; --odd: #a81c1c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a3acb7; --page: #14171b; --card: #1d2127;
  --rule: #363c45; --right: #4cc2ff; --left: #ffb454; --odd: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px 20px 48px; max-width: 1080px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 23px; margin: 0 0 8px; } h2 { font-size: 17px; margin: 30px 0 8px; }
p, li { margin: 6px 0; max-width: 76ch; } .soft { color: var(--soft); } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 4px 14px 4px 0; border-bottom: 1px solid var(--rule); text-align: right;
  white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; } th:first-child, td:first-child { text-align: left; }
td.odd { color: var(--odd); font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); gap: 14px; }
svg { width: 100%; height: auto; display: block; background: var(--card); border-radius: 6px; }
svg text { fill: var(--soft); font: 10px system-ui, sans-serif; }
svg .title { fill: var(--ink); font-size: 12px; font-weight: 600; }
svg .mid { text-anchor: middle; } svg .end { text-anchor: end; } svg path { fill: none; }
svg .grid { stroke: var(--rule); stroke-width: .6; } svg .axis { stroke: var(--soft); stroke-width: .8; }
svg .line { stroke-width: 1.8; stroke-linejoin: round; }
svg .r { stroke: var(--right); } svg .l { stroke: var(--left); stroke-dasharray: 7 3; }
svg path.band { stroke: none; opacity: .2; fill: var(--band); }
svg path.band.r { fill: var(--right); } svg path.band.l { fill: var(--left); }
.key { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 13px; margin: 6px 0 10px; }
.key span::before { content: ""; display: inline-block; width: 26px; margin-right: 7px; vertical-align: middle;
  border-top: 3px solid var(--right); }
.key .l::before { border-top: 3px dashed var(--left); }
.key .usual::before { height: 12px; border: 0; background: var(--band); opacity: .35; }
@media print { :root { --ink: #000; --soft: #444; --page: #fff; --card: #fff; --rule: #bbb; --right: #0072b8;
  --left: #b65a00; } body { padding: 0; font-size: 11pt; } svg, tr { break-inside: avoid; } }
"""


def report_forces(
    folder: Path, out: Path | None, table: Path | None, kinetics: Path | None
) -> list[Path]:
    """Write the report of a recorded session.

    Parameters
    ----------
    folder : Path
        A session folder.
    out : Path or None
        The page; ``forces.html`` in the folder if None. An older report is replaced.
    table : Path or None
        Where the stances go as CSV, if anywhere; must not exist.
    kinetics : Path or None
        Model whose band is drawn; the session's own if None.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    RecordingError
        If the session cannot be read or holds no forces, or a file cannot be written.
    ConfigError
        If the model's band is damaged.
    """
    session = load_forces(folder)
    named = session.about.get("kinetics", {}).get("path")
    model = kinetics or (None if named is None else Path(named))
    band = None if model is None else load_force_band(model)
    written = [] if table is None else [write_stances(session.stances, table)]
    page = out or folder / REPORT_FILE
    try:
        page.write_text(force_page(session, band), encoding="utf-8")
    except OSError as err:
        raise RecordingError(
            f"{page} cannot be written ({err.strerror}): name another file with --out."
        ) from None
    return [page, *written]


def force_page(session: ForceSession, band: ForceBand | None) -> str:
    """Write the whole page, which needs nothing beside itself."""
    found = stance_statistics(session.stances)
    title = f"Forces under the feet · {session.about.get('user') or session.folder.name}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *_origin(session),
        "<h2>What was left out</h2>",
        *_validity(session, found),
    ]
    if any(found.used.values()):
        parts += [
            "<h2>Over the stance</h2>",
            _key(band),
            '<div class="plots">',
            *(_over_stance(session, axis, band) for axis in reversed(FORCE_AXES)),
            "</div>",
            "<h2>In numbers</h2>",
            *_numbers(found, band),
            *_moments(session),
            "<h2>From stance to stance</h2>",
            '<div class="plots">',
            *(_trend(session, *trend) for trend in _TRENDS),
            "</div>",
        ]
    return "\n".join([*parts, "</body></html>\n"])


def _origin(session: ForceSession) -> Iterator[str]:
    about = session.about
    model = about.get("kinetics", {}).get("id", "an unnamed model")
    sensors = ", ".join(about.get("slots", ()))
    weight = about.get("mass_kg")
    newtons = (weight or 0.0) * STANDARD_GRAVITY_MS2
    mass = "" if weight is None else f" 1 BW is {newtons:.0f} N ({weight:g} kg)."
    yield (
        f"<p>Estimated by <b>{escape(str(model))}</b> from sensors on {escape(sensors)}; "
        f"no force plate was there. {escape(str(about.get('started', '')))}, session "
        f"{escape(session.folder.name)}. BW: body weights.{mass}</p>"
    )
    yield '<p class="soft">Not a medical device; no diagnosis follows from it.</p>'


def _validity(session: ForceSession, found: StanceStatistics) -> Iterator[str]:
    used = ", ".join(f"{found.used[side]} {SIDE_WORDS[side]}" for side in SIDES)
    count = sum(found.left_out.values())
    left = f"{count} were left out" if count else "none was left out"
    yield f"<p>{used} stances are counted; {left}.</p>"
    if found.reasons:
        rows = (f"<li>{n} × {escape(reason)}</li>" for reason, n in found.reasons.items())
        yield f"<ul>{''.join(rows)}</ul>"
    apart = [
        f"{seconds:.1f} s on the {SIDE_WORDS[side]}"
        for side, seconds in session.disagreeing_s.items()
        if seconds
    ]
    if apart:
        yield f"<p>Force and contact contradicted each other for {' and '.join(apart)}.</p>"


def _key(band: ForceBand | None) -> str:
    usual = (
        "<span>no band of usual walking lies beside the model</span>"
        if band is None
        else f'<span class="usual">usual, mean ± {_OUTSIDE_SD:g} SD ({escape(band.protocol)})</span>'
    )
    sides = "".join(
        f'<span class="{side}">{SIDE_WORDS[side]}, mean ± SD of this session</span>'
        for side in SIDES
    )
    return f'<p class="key">{sides}{usual}</p>'


def _over_stance(session: ForceSession, axis: str, band: ForceBand | None) -> str:
    areas = []
    if band is not None:
        mean, sd = (np.array(v) for v in (band.curves[axis].mean_bw, band.curves[axis].sd_bw))
        low, high = mean - _OUTSIDE_SD * sd, mean + _OUTSIDE_SD * sd
        areas.append(Band("usual", _PERCENT, low.tolist(), high.tolist()))
    curves = {side: session.curves(side)[:, :, FORCE_AXES.index(axis)] for side in SIDES}
    return _mean_curves(_AXIS_WORDS[axis], "BW", curves, areas)


_PERCENT = np.linspace(0.0, 100.0, BAND_POINTS).tolist()


def _mean_curves(
    title: str, unit: str, curves: Mapping[str, NDArray[np.float64]], areas: Sequence[Band] = ()
) -> str:
    """Draw the mean ± SD of each side's curves, (N, 101), over the stance."""
    shades, lines = list(areas), []
    for side, mine in curves.items():
        if len(mine):
            mean, sd = mine.mean(axis=0), mine.std(axis=0)
            shades.append(Band(side, _PERCENT, (mean - sd).tolist(), (mean + sd).tolist()))
            lines.append(Line(side, _PERCENT, mean.tolist()))
    return draw(Plot(title, "% of the stance", unit, lines, shades, zero=True))


def _moments(session: ForceSession) -> Iterator[str]:
    """Draw the moments of the joints over the stance, and their peaks; nothing where there are none."""
    curves = {side: session.moment_curves(side) for side in SIDES}
    known = {joint: _known(curves, k) for k, joint in enumerate(MOMENT_JOINTS)}
    if not any(len(found) for sides in known.values() for found in sides.values()):
        return
    yield "<h2>Joint moments over the stance</h2>"
    yield (
        '<p class="soft">Internal, from muscles and ligaments, in the sagittal plane, per kilogram of body '
        "mass. Each joint's are of the stances throughout which its moment is known.</p>"
    )
    yield '<div class="plots">'
    for joint, mine in known.items():
        title = f"{_JOINT_WORDS[joint]} ({len(mine['r'])} right, {len(mine['l'])} left)"
        yield _mean_curves(title, "N m/kg", mine)
    yield "</div>"
    heads = ("highest, N m/kg", "right", "variation", "left", "variation", "symmetry index")
    yield '<div class="wide"><table><tr>' + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"
    for label, joint, sign in _MOMENT_PEAKS:
        peaks = {s: spread_of((sign * c).max(axis=1).tolist()) for s, c in known[joint].items()}
        cells = [f"<td>{label}</td>", *_cells(peaks["r"], None), *_cells(peaks["l"], None)]
        cells.append(_apart(symmetry_percent(peaks["r"].mean, peaks["l"].mean)))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</table></div>"


def _known(curves: Mapping[str, NDArray[np.float64]], k: int) -> dict[str, NDArray[np.float64]]:
    """Keep of each side's curves (N, 101, 3) those of one joint that are known throughout, (n, 101)."""
    mine = {side: found[:, :, k] for side, found in curves.items()}
    return {side: found[np.isfinite(found).all(axis=1)] for side, found in mine.items()}


def _numbers(found: StanceStatistics, band: ForceBand | None) -> Iterator[str]:
    heads = ["", "right", "variation", "left", "variation", "symmetry index"]
    heads += [] if band is None else ["usual"]
    yield '<div class="wide"><table><tr>' + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"
    for label, name in STANCE_ROWS:
        usual = None if band is None else band.metrics.get(name)
        cells = [f"<td>{label}</td>"]
        for side in SIDES:
            cells += _cells(found.spread[name][side], usual)
        cells.append(_apart(found.symmetry_percent[name]))
        if band is not None:
            cells.append(f"<td>{usual[0]:.3f} ± {usual[1]:.3f}</td>" if usual else "<td>–</td>")
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</table></div>"
    outside = "" if band is None else f" Red: further than {_OUTSIDE_SD:g} SD from the usual mean."
    yield (
        '<p class="soft">Mean ± SD; variation is the coefficient of variation. Symmetry index: 0 is symmetric, '
        f"positive is a larger right side, in percent of the mean of both.{outside}</p>"
    )


def _apart(percent: float) -> str:
    return f"<td>{percent:+.1f} %</td>" if math.isfinite(percent) else "<td>–</td>"


def _cells(one: Spread, usual: tuple[float, float] | None) -> list[str]:
    if not one.count:
        return ["<td>–</td>", "<td>–</td>"]
    odd = usual is not None and abs(one.mean - usual[0]) > _OUTSIDE_SD * usual[1]
    spread = f" ± {one.sd:.3f}" if math.isfinite(one.sd) else ""
    variation = f"{one.cv_percent:.1f} %" if math.isfinite(one.cv_percent) else "–"
    return [
        f"<td{' class=odd' if odd else ''}>{one.mean:.3f}{spread}</td>",
        f"<td>{variation}</td>",
    ]


def _trend(session: ForceSession, title: str, name: str, unit: str) -> str:
    start_s = float(session.t_s[0])
    lines = []
    for side in SIDES:
        good = [s for s in session.stances if s.side == side and s.validity is Validity.GOOD]
        times = [stance.end_s - start_s for stance in good]
        lines.append(Line(side, times, [getattr(stance.metrics, name) for stance in good]))
    return draw(Plot(title, "s", unit, lines))
