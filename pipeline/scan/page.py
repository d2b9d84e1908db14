"""`scan --plot FILE.html`: one page that stands alone. No script, no font, no request: SVG, and titles that show on hovering.

Written by hand rather than by a plotting library: each episode must carry its sentence, escaped, and the page must work where
nothing but `driftlock` is installed.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np
from numpy.typing import NDArray

from pipeline.scan.trace import Mark, Panel

WIDTH, BITS, DECADES, LEFT, GAP = 1000, 120, 60, 46, 14
"""Pixels: of the drawing, of its two parts, of the room for labels, and between the parts."""
_LEAST = 3.0
"""Pixels of the narrowest mark: one event must still be hit by a mouse."""
_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1060px;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.3rem}h2{font-size:1rem;margin:1.6rem 0 .2rem}svg{width:100%;height:auto;display:block}
.b{stroke:#3465a4;fill:none;stroke-width:1}.p{stroke:#6b7280;fill:none;stroke-width:1}.a{stroke:#c3c8d0}text{font-size:10px;fill:#57606a}
.low{fill:#b8860b}.medium{fill:#d9730d}.high{fill:#cf222e}.critical{fill:#8250df}rect.m{fill-opacity:.28}rect.m:hover{fill-opacity:.6}
ol{padding-left:1.4rem}li{margin:.4rem 0}code{font-size:12px;overflow-wrap:anywhere;color:#57606a}.swatch{display:inline-block;width:.7em;height:.7em;margin-right:.4em}
@media(prefers-color-scheme:dark){body{background:#15181c;color:#e3e6ea}.b{stroke:#7aa7e0}.a{stroke:#3a4048}text,code{fill:#9aa4b0;color:#9aa4b0}}
"""
_COLOURS = {"low": "#b8860b", "medium": "#d9730d", "high": "#cf222e", "critical": "#8250df"}


def page(panels: Sequence[Panel], *, timed: bool) -> bytes:
    """A page with a drawing for each stream and its anomalies below, in the order of the panels."""
    found = sum(len(p.marks) for p in panels)
    what = "no anomalies" if not found else "1 anomaly" if found == 1 else f"{found:,} anomalies"
    keys = " ".join(
        f'<span class="swatch" style="background:{colour}"></span>{name}' for name, colour in _COLOURS.items()
    )
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>DriftLock scan: {what}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{what} in {sum(p.events for p in panels):,} events</h1>",
        f"<p>Upper line: bits, the evidence against each event. Lower line: -log₁₀ p. Marked: {keys}. Hover a mark for its sentence.</p>",
        *(_section(panel, timed=timed) for panel in panels),
        "</body></html>\n",
    ]
    return "\n".join(parts).encode("utf-8", "replace")


def _section(panel: Panel, *, timed: bool) -> str:
    height = BITS + GAP + DECADES + 18
    place = _places(panel, timed=timed)
    below = BITS + GAP + DECADES
    return "\n".join(
        [
            f"<h2>{escape(panel.stream)}</h2>",
            f'<svg viewBox="0 0 {WIDTH + LEFT} {height}" role="img" aria-label="{escape(_spoken(panel))}">',
            f'<path class="a" fill="none" d="M{LEFT} {BITS}H{WIDTH + LEFT}M{LEFT} {below}H{WIDTH + LEFT}"/>',
            _bars("b", place, panel.bits, 0, BITS, "bits"),
            _bars("p", place, panel.decades, BITS + GAP, DECADES, "-log₁₀ p"),
            *(_rectangle(mark, panel, place, below) for mark in panel.marks),
            *_ends(panel, height, timed=timed),
            "</svg>",
            "<ol>" if panel.marks else "",
            *(
                f'<li><span class="swatch" style="background:{_COLOURS.get(mark.severity, "#888")}"></span>{escape(mark.title)}<br>'
                f"{escape(mark.sentence)}<br><code>{escape(mark.event)}</code></li>"
                for mark in panel.marks
            ),
            "</ol>" if panel.marks else "",
        ]
    )


def _spoken(panel: Panel) -> str:
    return f"{panel.events:,} events of {panel.stream}, {len(panel.marks)} marked"


def _places(panel: Panel, *, timed: bool) -> NDArray[np.float64]:
    """float64[k + 1]: pixels at which runs begin, and at which the last ends; by time, or by event number where there is none."""
    at = np.maximum.accumulate(panel.time.astype(np.float64)) if timed else panel.number.astype(np.float64)
    if not len(at) or at[-1] <= at[0]:
        at = np.arange(len(at), dtype=np.float64)
    whole = max(1.0, (at[-1] - at[0]) * len(at) / max(1, len(at) - 1)) if len(at) else 1.0
    pixels: NDArray[np.float64] = LEFT + WIDTH * np.minimum(1.0, (np.r_[at, at[:1] + whole] - at[:1].sum()) / whole)
    return pixels


def _bars(kind: str, place: NDArray[np.float64], value: NDArray[np.float64], top: int, height: int, unit: str) -> str:
    most = float(value.max(initial=0.0)) or 1.0
    level = top + height - height * value / most
    bars = "".join(f"M{x:.1f} {top + height}V{y:.1f}" for x, y, v in zip(place, level, value, strict=False) if v > 0)
    label = f'<text x="{LEFT - 4}" y="{top + 9}" text-anchor="end">{most:.3g}</text><text x="{LEFT - 4}" y="{top + 21}" text-anchor="end">{unit}</text>'
    return f'<path class="{kind}" d="{bars}"/>{label}'


def _rectangle(mark: Mark, panel: Panel, place: NDArray[np.float64], height: int) -> str:
    width = int(panel.number[1] - panel.number[0]) if len(panel.number) > 1 else 1
    left, right = float(place[mark.first // width]), float(place[min(mark.last // width + 1, len(place) - 1)])
    wide = max(_LEAST, right - left)
    told = escape(f"{mark.title}\n{mark.sentence}\n{mark.event}")
    return f'<rect class="m {escape(mark.severity)}" x="{left:.1f}" y="0" width="{wide:.1f}" height="{height}"><title>{told}</title></rect>'


def _ends(panel: Panel, height: int, *, timed: bool) -> list[str]:
    if not panel.events:
        return []
    ends = [moment(int(t)) for t in (panel.time[0], panel.time.max())] if timed else ["1", f"{panel.events:,}"]
    return [
        f'<text x="{LEFT}" y="{height - 4}">{escape(ends[0])}</text>',
        f'<text x="{WIDTH + LEFT}" y="{height - 4}" text-anchor="end">{escape(ends[1])}</text>',
    ]


def moment(ms: int) -> str:
    """A time in ms since 1970 as ISO 8601 in UTC; the number itself where no calendar has it."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(ms)
