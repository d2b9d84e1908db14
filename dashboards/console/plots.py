"""Data of plots, as static/plots.js draws them: two charts over one axis, bits above and -log10 p below."""

from collections.abc import Sequence
from math import log10
from typing import Any
from uuid import UUID

from pipeline.scan.trace import Panel
from pipeline.tenants.course import Point
from schemas.models import BIT


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


def of_points(points: Sequence[Point], marked: UUID) -> dict[str, Any]:
    """Anomalies of a stream, one of them marked."""
    return {
        "timed": True,
        "points": True,
        "x": [p.at.timestamp() for p in points],
        "bits": [round(p.score_bits / BIT, 2) for p in points],
        "decades": [round(p.surprisal / BIT * log10(2), 2) for p in points],
        "marks": [p.at.timestamp() for p in points if p.id == marked],
    }
