"""Data of plots, as static/plots.js draws them: two charts over one axis, bits above and -log10 p below."""

from typing import Any

from pipeline.scan.trace import Panel


def of_panel(panel: Panel, *, timed: bool) -> dict[str, Any]:
    """A stream of a scan: x is seconds since 1970 or the event's number."""
    x = (panel.time / 1000).tolist() if timed else panel.number.tolist()
    return {
        "timed": timed,
        "x": x,
        "bits": [round(b, 2) for b in panel.bits.tolist()],
        "decades": [round(d, 2) for d in panel.decades.tolist()],
        "marks": [_place(panel, mark.first, x) for mark in panel.marks],
    }


def _place(panel: Panel, number: int, x: list[float]) -> float:
    """Where an event lies on the axis: at the run that holds it."""
    width = int(panel.number[1] - panel.number[0]) if len(panel.number) > 1 else 1
    return x[min(number // width, len(x) - 1)]
