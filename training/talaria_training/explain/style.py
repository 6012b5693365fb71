"""What pages of explanations share: the frame, the colours in light, dark and print, and the key to them."""

from __future__ import annotations

from html import escape

from talaria_training.explain.maps import SHADES

Colour = tuple[int, int, int]
_LIGHT: tuple[Colour, ...] = ((205, 211, 219), (240, 170, 60), (160, 12, 40))
_DARK: tuple[Colour, ...] = ((62, 68, 79), (190, 100, 40), (255, 232, 130))

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --page: #fff; --card: #f6f7f9;
  --rule: #d5dae0; --band: #8a939d; --one: #0b62c4; --two: #b65a00; --three: #7a4fb0; --four: #1a6b34;
  --good: #1a6b34; --bad: #a81c1c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a3acb7; --page: #14171b;
  --card: #1d2127; --rule: #363c45; --band: #9aa3ad; --one: #6db3ff; --two: #ff9d45; --three: #c3a0f2;
  --four: #6fd08c; --good: #6fd08c; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px 48px; max-width: 1080px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 12px; } h2 { font-size: 17px; margin: 34px 0 8px; }
h3 { font-size: 14px; margin: 18px 0 6px; }
p, li { margin: 6px 0; max-width: 76ch; } .soft { color: var(--soft); }
.decision { border-left: 5px solid var(--bad); background: var(--card); padding: 12px 16px;
  font-size: 17px; max-width: none; }
.decision.yes { border-color: var(--good); }
.methods { background: var(--card); border-radius: 6px; padding: 12px 16px; max-width: none;
  user-select: all; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--rule); text-align: right; }
th { font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); gap: 14px; }
.plots.large { grid-template-columns: repeat(auto-fill, minmax(460px, 1fr)); }
svg { width: 100%; height: auto; display: block; background: var(--card); border-radius: 6px; }
svg.map { max-width: 860px; margin: 0 0 10px; }
svg text { fill: var(--soft); font: 10px system-ui, sans-serif; }
svg .title { fill: var(--ink); font-size: 12px; font-weight: 600; }
svg .mid { text-anchor: middle; } svg .end { text-anchor: end; }
svg path { fill: none; } svg .grid { stroke: var(--rule); stroke-width: .6; }
svg .axis { stroke: var(--soft); stroke-width: .8; }
svg .mark { stroke: var(--soft); stroke-dasharray: 2 3; }
svg .line { stroke-width: 1.7; stroke-linejoin: round; } svg .line.shaded { stroke-width: 3; }
svg .dash2 { stroke-dasharray: 8 3; } svg .dash3 { stroke-dasharray: 2.5 2.5; }
svg .dash4 { stroke-dasharray: 9 3 2 3; }
svg .band { stroke: none; fill: var(--band); opacity: .22; }
svg .one { stroke: var(--one); } svg .two { stroke: var(--two); stroke-dasharray: 6 3; }
svg .person { stroke: var(--two); stroke-width: 2.2; } svg .three { stroke: var(--three);
  stroke-dasharray: 2 2.5; } svg .group { stroke: var(--band); }
svg .band.one, svg .band.two, svg .band.three, svg .band.four, svg .band.group { stroke: none; }
svg .band.one { fill: var(--one); } svg .band.two { fill: var(--two); }
svg .band.three { fill: var(--three); } svg .band.four { fill: var(--four); }
svg .band.out { fill: var(--bad); opacity: .16; stroke: none; }
svg .bar { fill: var(--one); opacity: .75; } svg .whisker { stroke: var(--ink); stroke-width: 1.1; }
svg .even { stroke: var(--bad); stroke-width: 1.4; stroke-dasharray: 2 2; }
.key { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 6px 0 10px; font-size: 13px;
  align-items: center; }
.key span::before { content: ""; display: inline-block; width: 26px; margin-right: 7px;
  vertical-align: middle; border-top: 3px solid var(--band); }
.key .one::before { border-color: var(--one); } .key .two::before { border-top: 3px dashed var(--two); }
.key .person::before { border-color: var(--two); }
.key .three::before { border-top: 3px dotted var(--three); } .key .four::before { border-color: var(--four); }
.key .dash2::before { border-top-style: dashed; } .key .dash3::before { border-top-style: dotted; }
.key .dash4::before { border-top-style: double; }
.key .fill::before { height: 12px; border: 0; background: var(--band); opacity: .45; }
.key .fill.one::before { background: var(--one); } .key .fill.two::before { background: var(--two); }
.key .fill.three::before { background: var(--three); } .key .fill.four::before { background: var(--four); }
.key .fill.out::before { background: var(--bad); opacity: .3; }
.key svg { width: 170px; background: none; border-radius: 0; display: inline; vertical-align: middle; }
@media print { :root { --ink: #000; --soft: #444; --page: #fff; --card: #fff; --rule: #bbb;
  --band: #777; --one: #0b62c4; --two: #b65a00; --three: #7a4fb0; --four: #1a6b34; --good: #1a6b34;
  --bad: #a81c1c; } body { padding: 0; font-size: 11pt; } svg { border: 1px solid var(--rule); }
  h2 { break-after: avoid; } svg, tr, .decision { break-inside: avoid; }
  .plots { grid-template-columns: repeat(3, 1fr); } .plots.large { grid-template-columns: 1fr 1fr; } }
"""


def html(title: str, body: str) -> str:
    """Put a body into a page of its own, which loads nothing."""
    style = (
        f"{_STYLE}{_ramp(_LIGHT)}@media (prefers-color-scheme: dark) {{ {_ramp(_DARK)} }}\n"
        f"@media print {{ {_ramp(_LIGHT)} }}"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _ramp(colours: tuple[Colour, ...]) -> str:
    """Style every shade, from the first colour over the second to the third."""
    found = []
    for k in range(SHADES):
        place = 2.0 * k / (SHADES - 1)
        part = int(place >= 1.0)
        mixed = [
            round(a + (b - a) * (place - part))
            for a, b in zip(colours[part], colours[part + 1], strict=True)
        ]
        colour = "#" + "".join(f"{value:02x}" for value in mixed)
        found.append(f"svg .s{k} {{ fill: {colour}; stop-color: {colour}; }}")
    return "\n".join(found)


def shade_key(least: str, most: str) -> str:
    """Show what the shades stand for."""
    cells = "".join(
        f'<rect class="s{k}" x="{14 * k}" y="0" width="14.3" height="10"/>' for k in range(SHADES)
    )
    return (
        f'<div class="key">{escape(least)} <svg viewBox="0 0 {14 * SHADES} 10" role="img" '
        f'aria-label="from {escape(least)} to {escape(most)}">{cells}</svg> {escape(most)}</div>'
    )


def key(entries: dict[str, str]) -> str:
    """Show what lines and bands stand for, by their style class."""
    spans = "".join(f'<span class="{css}">{escape(said)}</span>' for css, said in entries.items())
    return f'<div class="key">{spans}</div>'
