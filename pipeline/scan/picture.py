"""`scan --plot FILE.png`: the same as the page, as a picture for a README or a chat, by matplotlib (the extra `plots`)."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.scan.trace import Panel

MOST = 4
"""Streams in one picture."""
_LAST_MS = 253_000_000_000_000
COLOURS = {"low": "#b8860b", "medium": "#d9730d", "high": "#cf222e", "critical": "#8250df"}


def picture(panels: Sequence[Panel], *, timed: bool) -> bytes:
    """A PNG of the first MOST panels; those without an event are left out."""
    shown = [p for p in panels if p.events][:MOST]
    out = io.BytesIO()
    with rc_context({"date.converter": "concise", "date.interval_multiples": True}):
        figure = Figure(figsize=(9, 1.6 * max(1, len(shown))), dpi=90, layout="constrained")
        grid = figure.subplots(max(1, len(shown)), 2, squeeze=False)
        for row, panel in zip(grid, shown, strict=False):
            at = _places(panel, timed=timed)
            for axes, value, what in ((row[0], panel.bits, "bits"), (row[1], panel.decades, "-log₁₀ p")):
                _draw(axes, panel, at, value)
                axes.set_title(f"{_plain(panel.stream)}: {what}", fontsize=8, loc="left")
        figure.savefig(out, format="png", metadata={"Software": "driftlock"})
    return out.getvalue()


def _plain(text: str) -> str:
    """Without dollars, between which matplotlib reads mathematics, and without what its fonts lack."""
    return text.replace("$", "\\$").encode("latin-1", "replace").decode("latin-1")


def _places(panel: Panel, *, timed: bool) -> NDArray[Any]:
    """datetime64[k] or int64[k]: where runs begin. Years beyond 9999, which no calendar here has, are drawn as its last day."""
    return np.clip(panel.time, 0, _LAST_MS).astype("datetime64[ms]") if timed else panel.number


def _draw(axes: Axes, panel: Panel, at: NDArray[Any], value: NDArray[np.float64]) -> None:
    axes.vlines(at, 0, value, color="#3465a4", linewidth=0.6)
    axes.set_ylim(0, max(1.0, float(value.max()) * 1.05))
    width = int(panel.number[1] - panel.number[0]) if len(panel.number) > 1 else 1
    for mark in panel.marks:
        left, right = at[mark.first // width], at[min(mark.last // width, len(at) - 1)]
        colour = COLOURS.get(mark.severity, "#888888")
        axes.axvspan(left, right, color=colour, alpha=0.25, linewidth=0)
        axes.plot([left], [0], marker="^", markersize=4, color=colour, clip_on=False)
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.xaxis.get_offset_text().set_fontsize(7)
